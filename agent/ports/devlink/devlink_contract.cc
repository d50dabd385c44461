// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/devlink/devlink_contract.h"

#include <errno.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>

#include "agent/base/error.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using Kind = DevlinkPort::Event::Kind;

std::string Text(const absl::Status& status) { return std::string(status.message()); }

const DevlinkDevice* FindDevice(const std::vector<DevlinkDevice>& devices,
                                const DevlinkHandle& handle) {
  const auto found = std::find_if(devices.begin(), devices.end(), [&](const DevlinkDevice& device) {
    return device.handle == handle;
  });
  return found == devices.end() ? nullptr : &*found;
}

TEST_P(DevlinkContract, DevicesAreListedWhileTheyAreThere) {
  const DevlinkHandle second = env_->AddDevice();
  auto devices = port().ListDevices();
  ASSERT_TRUE(devices.ok()) << devices.status();
  ASSERT_NE(FindDevice(*devices, device_), nullptr);
  EXPECT_FALSE(FindDevice(*devices, device_)->reload_failed);
  EXPECT_NE(FindDevice(*devices, second), nullptr);
  env_->RemoveDevice(second);
  devices = port().ListDevices();
  ASSERT_TRUE(devices.ok()) << devices.status();
  EXPECT_EQ(FindDevice(*devices, second), nullptr);
}

TEST_P(DevlinkContract, ADeviceBeginsInLegacyModeWithItsPhysicalPorts) {
  const auto eswitch = port().GetEswitch(device_);
  ASSERT_TRUE(eswitch.ok()) << eswitch.status();
  EXPECT_EQ(eswitch->mode, EswitchMode::kLegacy);
  EXPECT_FALSE(eswitch->inline_mode.has_value());
  EXPECT_FALSE(eswitch->encap_mode.has_value());
  EXPECT_TRUE(Ports(DevlinkFlavour::kPciVf).empty());
  const auto ports = Ports(DevlinkFlavour::kPhysical);
  ASSERT_EQ(ports.size(), 2u);
  EXPECT_EQ(ports[0].device, device_);
  EXPECT_EQ(ports[0].index, 0u);
  EXPECT_EQ(ports[0].port_number, 1u);
  EXPECT_EQ(ports[0].type, DevlinkPortType::kEthernet);
  EXPECT_FALSE(ports[0].pf.has_value());
  EXPECT_FALSE(ports[0].vf.has_value());
  EXPECT_NE(ports[0].ifindex, 0u);
  EXPECT_EQ(env_->NetdevName(ports[0].ifindex), ports[0].netdev);
}

TEST_P(DevlinkContract, PortsOfOtherDevicesAreNotListed) {
  const DevlinkHandle second = env_->AddDevice();
  EXPECT_EQ(Ports(DevlinkFlavour::kPhysical).size(), 2u);
  EXPECT_EQ(port().ListPorts(second)->size(), 2u);
}

TEST_P(DevlinkContract, LegacyModeHasNoRepresentors) {
  env_->SetVfCount(device_, 3);
  EXPECT_TRUE(Ports(DevlinkFlavour::kPciVf).empty());
}

TEST_P(DevlinkContract, SwitchdevBringsARepresentorForEachVf) {
  env_->SetVfCount(device_, 3);
  const absl::Status set = SetMode(EswitchMode::kSwitchdev);
  ASSERT_TRUE(set.ok()) << set;
  EXPECT_EQ(port().GetEswitch(device_)->mode, EswitchMode::kSwitchdev);
  const auto ports = Ports(DevlinkFlavour::kPciVf);
  ASSERT_EQ(ports.size(), 3u);
  std::set<uint32_t> netdevs;
  for (const DevlinkPortInfo& port : ports) {
    EXPECT_EQ(port.pf, 0);
    EXPECT_EQ(port.controller.value_or(0), 0u);
    EXPECT_FALSE(port.external);
    EXPECT_FALSE(port.sf.has_value());
    EXPECT_EQ(port.type, DevlinkPortType::kEthernet);
    EXPECT_EQ(env_->NetdevName(port.ifindex), port.netdev);
    EXPECT_FALSE(port.netdev.empty());
    EXPECT_FALSE(port.function.has_value());
    netdevs.insert(port.ifindex);
  }
  EXPECT_EQ(netdevs.size(), 3u);
  EXPECT_EQ(Ports(DevlinkFlavour::kPhysical).size(), 2u);
}

TEST_P(DevlinkContract, ARepresentorIsFoundByItsNumbers) {
  env_->SetVfCount(device_, 3);
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  const auto ports = port().ListPorts(device_);
  ASSERT_TRUE(ports.ok()) << ports.status();
  const auto second = FindVfRepresentor(*ports, {.vf = 1, .pf = 0});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->vf, 1);
  EXPECT_EQ(env_->NetdevName(second->ifindex), second->netdev);
  EXPECT_TRUE(absl::IsNotFound(FindVfRepresentor(*ports, {.vf = 3, .pf = 0}).status()));
  EXPECT_TRUE(absl::IsNotFound(FindVfRepresentor(*ports, {.vf = 1, .pf = 1}).status()));
  // By its index too.
  const auto again = port().GetPort(device_, second->index);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, *second);
}

TEST_P(DevlinkContract, LegacyModeTakesTheRepresentorsAway) {
  env_->SetVfCount(device_, 2);
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  const auto ports = Ports(DevlinkFlavour::kPciVf);
  ASSERT_EQ(ports.size(), 2u);
  const absl::Status set = SetMode(EswitchMode::kLegacy);
  ASSERT_TRUE(set.ok()) << set;
  EXPECT_EQ(port().GetEswitch(device_)->mode, EswitchMode::kLegacy);
  EXPECT_TRUE(Ports(DevlinkFlavour::kPciVf).empty());
  EXPECT_EQ(env_->NetdevName(ports[0].ifindex), "");
  EXPECT_EQ(ErrnoOf(port().GetPort(device_, ports[0].index).status()), ENODEV);
}

TEST_P(DevlinkContract, TheModeThatIsThereChangesNothing) {
  env_->SetVfCount(device_, 2);
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  const auto before = Ports(DevlinkFlavour::kPciVf);
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  EXPECT_EQ(Ports(DevlinkFlavour::kPciVf), before);
  EXPECT_TRUE(port().SetEswitch(device_, {}).ok());
}

TEST_P(DevlinkContract, VfsThatComeInSwitchdevBringTheirRepresentors) {
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  EXPECT_TRUE(Ports(DevlinkFlavour::kPciVf).empty());
  env_->SetVfCount(device_, 2);
  EXPECT_EQ(Ports(DevlinkFlavour::kPciVf).size(), 2u);
  env_->SetVfCount(device_, 0);
  EXPECT_TRUE(Ports(DevlinkFlavour::kPciVf).empty());
  // Of netdevsim alone.
  EXPECT_EQ(port().GetEswitch(device_)->mode, EswitchMode::kLegacy);
}

TEST_P(DevlinkContract, WhatTheEswitchDoesNotTakeIsRefusedByName) {
  DevlinkEswitch wanted;
  wanted.encap_mode = EswitchEncapMode::kBasic;
  absl::Status refused = port().SetEswitch(device_, wanted);
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented) << refused;
  EXPECT_THAT(Text(refused), HasSubstr("encap mode basic"));
  // What came before a refusal stays.
  wanted.mode = EswitchMode::kSwitchdev;
  wanted.inline_mode = EswitchInlineMode::kTransport;
  refused = port().SetEswitch(device_, wanted);
  EXPECT_EQ(ErrnoOf(refused), EOPNOTSUPP) << refused;
  EXPECT_THAT(Text(refused), HasSubstr("inline mode transport"));
  EXPECT_THAT(Text(refused), HasSubstr(device_.ToString()));
  EXPECT_EQ(port().GetEswitch(device_)->mode, EswitchMode::kSwitchdev);
}

// Kernels that do not know it and drivers that do not take it say different things.
TEST_P(DevlinkContract, AModeThatIsNotKnownIsRefusedByName) {
  const absl::Status refused = SetMode(EswitchMode::kSwitchdevInactive);
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << refused;
  EXPECT_THAT(Text(refused), HasSubstr("eswitch mode switchdev_inactive"));
  EXPECT_EQ(port().GetEswitch(device_)->mode, EswitchMode::kLegacy);
}

TEST_P(DevlinkContract, WhatAFunctionDoesNotTakeIsRefusedInTheKernelsWords) {
  env_->SetVfCount(device_, 1);
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  const auto ports = Ports(DevlinkFlavour::kPciVf);
  ASSERT_EQ(ports.size(), 1u);
  DevlinkPortFunction wanted;
  EXPECT_TRUE(port().SetPortFunction(device_, ports[0].index, wanted).ok());
  wanted.hw_addr = MacAddress({0x52, 0x54, 0, 0, 0, 1});
  absl::Status refused = port().SetPortFunction(device_, ports[0].index, wanted);
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented) << refused;
  EXPECT_THAT(PeerWords(refused), HasSubstr("Port doesn't support function attributes"));
  EXPECT_THAT(Text(refused), HasSubstr("hw_addr 52:54:00:00:00:01"));
  wanted = {};
  wanted.active = true;
  refused = port().SetPortFunction(device_, ports[0].index, wanted);
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented) << refused;
  EXPECT_THAT(PeerWords(refused), HasSubstr("Function does not support state setting"));
}

TEST_P(DevlinkContract, CapabilitiesAreRefusedByName) {
  env_->SetVfCount(device_, 1);
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  const uint32_t index = Ports(DevlinkFlavour::kPciVf).at(0).index;
  const std::pair<const char*, std::optional<bool> DevlinkPortFunction::*> capabilities[] = {
      {"roce off", &DevlinkPortFunction::roce},
      {"migratable off", &DevlinkPortFunction::migratable},
      {"ipsec_crypto off", &DevlinkPortFunction::ipsec_crypto},
      {"ipsec_packet off", &DevlinkPortFunction::ipsec_packet}};
  for (const auto& [name, field] : capabilities) {
    DevlinkPortFunction wanted;
    wanted.*field = false;
    const absl::Status refused = port().SetPortFunction(device_, index, wanted);
    EXPECT_FALSE(refused.ok());
    EXPECT_FALSE(PeerWords(refused).empty()) << refused;
    EXPECT_THAT(Text(refused), HasSubstr(name));
  }
  DevlinkPortFunction wanted;
  wanted.max_io_eqs = 8;
  EXPECT_THAT(Text(port().SetPortFunction(device_, index, wanted)), HasSubstr("max_io_eqs 8"));
}

TEST_P(DevlinkContract, WhetherADriverIsAttachedCannotBeSet) {
  DevlinkPortFunction wanted;
  wanted.attached = true;
  EXPECT_EQ(port().SetPortFunction(device_, 0, wanted).code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(DevlinkContract, WhatIsNotThereIsNotFound) {
  const DevlinkHandle nobody{"netdevsim", "netdevsim9999"};
  DevlinkEswitch mode;
  mode.mode = EswitchMode::kSwitchdev;
  DevlinkPortFunction active;
  active.active = true;
  for (const absl::Status& status :
       {port().GetEswitch(nobody).status(), port().SetEswitch(nobody, mode),
        port().ListPorts(nobody).status(), port().GetPort(nobody, 0).status(),
        port().GetPort(device_, 77).status(), port().SetPortFunction(device_, 77, active),
        port().GetInfo(nobody).status(), port().Reload(nobody)}) {
    EXPECT_TRUE(absl::IsNotFound(status)) << status;
    EXPECT_EQ(ErrnoOf(status), ENODEV) << status;
  }
}

TEST_P(DevlinkContract, TheDriverIsNamed) {
  const auto info = port().GetInfo(device_);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->driver, "netdevsim");
}

TEST_P(DevlinkContract, AReloadBringsThePortsAnew) {
  env_->SetVfCount(device_, 2);
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  const absl::Status reloaded = port().Reload(device_);
  ASSERT_TRUE(reloaded.ok()) << reloaded;
  const auto ports = Ports(DevlinkFlavour::kPhysical);
  ASSERT_EQ(ports.size(), 2u);
  EXPECT_EQ(env_->NetdevName(ports[0].ifindex), ports[0].netdev);
  // Of netdevsim alone: its VFs are gone and the mode with them.
  EXPECT_TRUE(Ports(DevlinkFlavour::kPciVf).empty());
  EXPECT_EQ(port().GetEswitch(device_)->mode, EswitchMode::kLegacy);
}

TEST_P(DevlinkContract, AReloadThatFailsIsSaidAndCanBeTriedAgain) {
  env_->SetReloadFails(device_, true);
  const absl::Status failed = port().Reload(device_);
  EXPECT_EQ(ErrnoOf(failed), EINVAL) << failed;
  EXPECT_THAT(PeerWords(failed), HasSubstr("setup the reload to fail"));
  auto devices = port().ListDevices();
  ASSERT_TRUE(devices.ok()) << devices.status();
  ASSERT_NE(FindDevice(*devices, device_), nullptr);
  EXPECT_TRUE(FindDevice(*devices, device_)->reload_failed);
  EXPECT_TRUE(port().ListPorts(device_)->empty());
  env_->SetReloadFails(device_, false);
  const absl::Status reloaded = port().Reload(device_);
  ASSERT_TRUE(reloaded.ok()) << reloaded;
  devices = port().ListDevices();
  EXPECT_FALSE(FindDevice(*devices, device_)->reload_failed);
  EXPECT_EQ(Ports(DevlinkFlavour::kPhysical).size(), 2u);
}

TEST_P(DevlinkContract, AReloadThatTheDriverForbidsChangesNothing) {
  env_->SetVfCount(device_, 2);
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  const auto before = port().ListPorts(device_);
  ASSERT_TRUE(before.ok()) << before.status();
  env_->SetReloadForbidden(device_, true);
  const absl::Status refused = port().Reload(device_);
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented) << refused;
  EXPECT_THAT(PeerWords(refused), HasSubstr("User forbid the reload"));
  EXPECT_EQ(*port().ListPorts(device_), *before);
  EXPECT_EQ(port().GetEswitch(device_)->mode, EswitchMode::kSwitchdev);
  const auto devices = port().ListDevices();
  ASSERT_TRUE(devices.ok()) << devices.status();
  EXPECT_FALSE(FindDevice(*devices, device_)->reload_failed);
  env_->SetReloadForbidden(device_, false);
  EXPECT_TRUE(port().Reload(device_).ok());
}

// Events, and waiting for the one that must come.
class Heard {
 public:
  std::function<void(const DevlinkPort::Event&)> Callback() {
    return [this](const DevlinkPort::Event& event) {
      std::lock_guard<std::mutex> lock(mutex_);
      events_.push_back(event);
      changed_.notify_all();
    };
  }
  testing::AssertionResult Wait(const std::function<bool(const DevlinkPort::Event&)>& wanted) {
    std::unique_lock<std::mutex> lock(mutex_);
    const bool heard = changed_.wait_for(lock, std::chrono::seconds(30), [&] {
      return std::any_of(events_.begin(), events_.end(), wanted);
    });
    return heard ? testing::AssertionSuccess()
                 : testing::AssertionFailure() << "not among " << events_.size() << " events";
  }
  void Clear() {
    std::lock_guard<std::mutex> lock(mutex_);
    events_.clear();
  }
  bool Lost() {
    std::lock_guard<std::mutex> lock(mutex_);
    return std::any_of(events_.begin(), events_.end(),
                       [](const auto& event) { return event.kind == Kind::kLost; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<DevlinkPort::Event> events_;
};

TEST_P(DevlinkContract, ASubscriberHearsOfDevices) {
  Heard heard;
  auto subscription = port().Subscribe(heard.Callback());
  ASSERT_TRUE(subscription.ok()) << subscription.status();
  const DevlinkHandle second = env_->AddDevice();
  EXPECT_TRUE(heard.Wait([&](const DevlinkPort::Event& event) {
    return event.kind == Kind::kDeviceChanged && event.device.handle == second;
  }));
  env_->RemoveDevice(second);
  EXPECT_TRUE(heard.Wait([&](const DevlinkPort::Event& event) {
    return event.kind == Kind::kDeviceGone && event.device.handle == second;
  }));
  env_->SetReloadFails(device_, true);
  EXPECT_FALSE(port().Reload(device_).ok());
  EXPECT_TRUE(heard.Wait([&](const DevlinkPort::Event& event) {
    return event.kind == Kind::kDeviceChanged && event.device.handle == device_ &&
           event.device.reload_failed;
  }));
  env_->SetReloadFails(device_, false);
  EXPECT_TRUE(port().Reload(device_).ok());
  EXPECT_FALSE(heard.Lost());
}

TEST_P(DevlinkContract, ASubscriberHearsOfRepresentors) {
  env_->SetVfCount(device_, 2);
  Heard heard;
  auto subscription = port().Subscribe(heard.Callback());
  ASSERT_TRUE(subscription.ok()) << subscription.status();
  const auto is_second = [&](const DevlinkPort::Event& event) {
    return event.device.handle == device_ && event.port &&
           event.port->flavour == DevlinkFlavour::kPciVf && event.port->vf == 1;
  };
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  EXPECT_TRUE(heard.Wait([&](const DevlinkPort::Event& event) {
    return event.kind == Kind::kPortChanged && is_second(event) && event.port->ifindex != 0 &&
           !event.port->netdev.empty();
  }));
  heard.Clear();
  ASSERT_TRUE(SetMode(EswitchMode::kLegacy).ok());
  EXPECT_TRUE(heard.Wait([&](const DevlinkPort::Event& event) {
    return event.kind == Kind::kPortGone && is_second(event);
  }));
  EXPECT_FALSE(heard.Lost());
}

}  // namespace
}  // namespace fairlead
