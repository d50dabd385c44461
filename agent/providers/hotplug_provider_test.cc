// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/hotplug_provider.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/test_types.h"
#include "agent/base/text.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/sysfs/fake_sysfs_port.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr PciAddress kPort{0, 0, 4, 0};
constexpr PciAddress kPci{0, 2, 0, 0};
constexpr uint32_t kLink = 50;
const VfId kFunction{kPort, 0};

class HotplugProviderTest : public ::testing::Test {
 protected:
  HotplugProviderTest() {
    HotplugPortConfig port;
    port.port = kPort;
    port.name = "dpu0";
    config.hotplug_ports.push_back(port);
    config.group_close_patience = std::chrono::milliseconds(10);
    pci.AddBridge(kPort);
  }
  HotplugPortConfig& port() { return config.hotplug_ports[0]; }

  void Plug(FakeFunctionOptions function = {}) {
    function.address = kPci;
    function.netdev = "eth1";
    pci.Plug(kPort, function);
    AddNetdev();
  }
  void AddNetdev() {
    LinkInfo link;
    link.name = "eth1";
    link.ifindex = kLink;
    link.mac = kMac;
    network->AddLink(link);
  }
  void Unplug() {
    network->RemoveLink(kLink);
    pci.RemoveDevice(kPci);
  }
  VfFacts Function() {
    const auto seen = provider.Observe(kPort);
    EXPECT_TRUE(seen.ok()) << seen.status();
    if (!seen.ok() || seen->facts.vfs.size() != 1) return {};
    return seen->facts.vfs[0];
  }
  std::string Refused() { return Function().refused; }
  DriverBindingSpec Wanted() {
    DriverBindingSpec spec{kFunction, "vfio-pci", {}, {}, {}};
    spec.shows_mac = kMac;
    return spec;
  }
  std::string WhyNotBound() {
    const auto bound = provider.PutBinding(Wanted());
    return std::string(bound.status().message());
  }

  const MacAddress kMac{{0x52, 0x54, 0, 0, 4, 0}};
  ProviderConfig config;
  FakePciHost pci;
  std::shared_ptr<FakeNetwork> network = std::make_shared<FakeNetwork>();
  FakeSysfsPort sysfs{pci};
  FakeRtnetlinkPort links{network};
  HotplugProvider provider{&config, &sysfs, &links};
};

TEST_F(HotplugProviderTest, APortShowsWhatIsBehindItNow) {
  auto seen = provider.Observe(kPort);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->facts.id, NicId(kPort));
  EXPECT_EQ(seen->facts.name, "dpu0");
  EXPECT_THAT(seen->facts.vfs, IsEmpty());
  Plug();
  const VfFacts function = Function();
  EXPECT_EQ(function.pci, kPci);
  EXPECT_EQ(function.driver, "virtio-pci");
  EXPECT_EQ(function.netdev, "eth1");
  EXPECT_EQ(function.mac, kMac);
  EXPECT_EQ(function.vendor, 0x1af4);
  EXPECT_EQ(function.device, 0x1041);
  EXPECT_TRUE(function.iommu_group);
  EXPECT_EQ(function.refused, "");
  Unplug();
  EXPECT_THAT(provider.Observe(kPort)->facts.vfs, IsEmpty());
  EXPECT_TRUE(provider.ObserveFunction(kFunction)->facts.gone);
}

TEST_F(HotplugProviderTest, APortThatIsNotThereOrNoBridgeIsRefusedAndHasNoFunctions) {
  Plug();
  pci.RemoveDevice(kPort);
  auto seen = provider.Observe(kPort);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_THAT(seen->facts.refused, HasSubstr("0000:00:04.0"));
  EXPECT_THAT(seen->facts.vfs, IsEmpty());
  port().port = kPci;
  seen = provider.Observe(kPci);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_THAT(seen->facts.refused, HasSubstr("no PCI bridge"));
}

TEST_F(HotplugProviderTest, BridgesAndVfsThatOthersMadeAreNotBroughtByThePort) {
  PciDevice vf;
  FakePfOptions pf;
  pf.address = kPci;
  pf.netdev = "eth1";
  pci.AddPf(pf, kPort);
  ASSERT_TRUE(pci.SetNumVfs(kPci, 2).ok());
  const auto seen = provider.Observe(kPort);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->facts.vfs.size(), 1U);
}

TEST_F(HotplugProviderTest, OnlyNetworkFunctionsAreTakenUnlessTheConfigurationSaysWhich) {
  FakeFunctionOptions disk;
  disk.vendor = 0x1b36;
  disk.device = 0x0010;
  disk.class_code = 0x010802;
  Plug(disk);
  EXPECT_THAT(Refused(), HasSubstr("no network function (1b36:0010, class 010802)"));
  port().devices = {{0x15b3, 0x101e}};
  EXPECT_THAT(Refused(), HasSubstr("1b36:0010 is not among the devices"));
  EXPECT_THAT(Refused(), HasSubstr("15b3:101e"));
  EXPECT_THAT(WhyNotBound(), HasSubstr("not among the devices"));
  EXPECT_EQ(pci.Find(kPci)->driver, "virtio-pci") << "it is left alone";
  port().devices = {{0x15b3, 0x101e}, {0x1b36, 0x0010}};
  EXPECT_EQ(Refused(), "");
}

TEST_F(HotplugProviderTest, AFunctionThatTheHostUsesIsRefusedByNameAndLeftAlone) {
  Plug();
  network->ChangeLink(kLink, [](LinkInfo& link) { link.up = true; });
  EXPECT_EQ(Refused(), "") << "something on the host brings every netdev up";
  network->AddAddress(kLink, Ip("fe80::1"), *IpPrefix::Parse("fe80::/64"));
  EXPECT_EQ(Refused(), "") << "which gives it a link-local address";
  network->AddAddress(kLink, Ip("198.51.100.7"), *IpPrefix::Parse("198.51.100.0/24"));
  EXPECT_THAT(Refused(),
              HasSubstr("the host uses it: its netdev eth1 has the address 198.51.100.7"));
  EXPECT_THAT(WhyNotBound(), HasSubstr("the host uses it"));
  EXPECT_EQ(pci.Find(kPci)->driver, "virtio-pci");
  EXPECT_EQ(pci.Find(kPci)->driver_override, "");
  network->ChangeLink(kLink, [](LinkInfo& link) { link.up = false; });
  EXPECT_THAT(Refused(), HasSubstr("198.51.100.7")) << "it is set up, and may be brought up";
  network->RemoveAddress(kLink, Ip("198.51.100.7"));
  EXPECT_EQ(Refused(), "");
}

TEST_F(HotplugProviderTest, AFunctionThatHasVfsIsRefusedByNameAsTheyWouldGoWithItsDriver) {
  FakePfOptions pf;
  pf.address = kPci;
  pf.netdev = "eth1";
  pci.AddPf(pf, kPort);
  AddNetdev();
  EXPECT_EQ(Refused(), "");
  ASSERT_TRUE(pci.SetNumVfs(kPci, 2).ok());
  EXPECT_THAT(Refused(), HasSubstr("it has 2 VFs, which would go with its driver"));
  EXPECT_THAT(WhyNotBound(), HasSubstr("it has 2 VFs"));
  EXPECT_EQ(pci.Find(kPci)->num_vfs, 2);
  ASSERT_TRUE(pci.SetNumVfs(kPci, 0).ok());
  EXPECT_EQ(WhyNotBound(), "");
}

TEST_F(HotplugProviderTest, AFunctionWithTheDefaultRouteInABridgeOrWithAVlanOnItIsInUse) {
  Plug();
  LinkInfo bridge;
  bridge.name = "br0";
  bridge.ifindex = 60;
  bridge.kind = "bridge";
  network->AddLink(bridge);
  network->ChangeLink(kLink, [](LinkInfo& link) { link.master = 60; });
  EXPECT_THAT(Refused(), HasSubstr("eth1 is a part of br0"));
  network->ChangeLink(kLink, [](LinkInfo& link) { link.master = 0; });
  network->ChangeLink(60, [](LinkInfo& link) { link.lower = kLink; });
  EXPECT_THAT(Refused(), HasSubstr("eth1 carries br0"));
  network->ChangeLink(60, [](LinkInfo& link) { link.lower = 0; });
  EXPECT_EQ(Refused(), "");
  network->AddRoute(*IpPrefix::Parse("0.0.0.0/0"), {kLink, Ip("198.51.100.1"), {}, false});
  EXPECT_THAT(Refused(), HasSubstr("default route"));
}

TEST_F(HotplugProviderTest, EveryNetdevOfAFunctionIsLookedAt) {
  Plug();
  pci.SetNetdevs(kPci, {"eth1", "eth2"});
  LinkInfo second;
  second.name = "eth2";
  second.ifindex = kLink + 1;
  network->AddLink(second);
  EXPECT_EQ(Refused(), "");
  EXPECT_EQ(Function().mac, kMac) << "it is known by its first one";
  network->AddRoute(*IpPrefix::Parse("0.0.0.0/0"), {kLink + 1, Ip("198.51.100.1"), {}, false});
  EXPECT_THAT(Refused(), HasSubstr("its netdev eth2 carries the default route"));
  EXPECT_THAT(WhyNotBound(), HasSubstr("its netdev eth2 carries the default route"));
  EXPECT_EQ(pci.Find(kPci)->driver, "virtio-pci");
}

TEST_F(HotplugProviderTest, ANetdevThatCannotBeReadIsNotTakenForOneThatIsNotUsed) {
  Plug();
  network->FailNext("GetLink", absl::UnavailableError("not now"), 3);
  EXPECT_TRUE(absl::IsUnavailable(provider.Observe(kPort).status()));
  EXPECT_TRUE(absl::IsUnavailable(provider.ObserveFunction(kFunction).status()));
  EXPECT_EQ(WhyNotBound(), "not now");
  EXPECT_EQ(pci.Find(kPci)->driver, "virtio-pci");
}

// As one that was given to a container: sysfs does not show it here either.
TEST_F(HotplugProviderTest, AFunctionWhoseNetdevIsNotSeenIsNotTakenFromItsDriver) {
  DriverBindingSpec by_its_slot = Wanted();
  by_its_slot.shows_mac.reset();
  const auto refused = [&] {
    const absl::Status status = provider.PutBinding(by_its_slot).status();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_EQ(pci.Find(kPci)->driver, "virtio-pci");
    return std::string(status.message());
  };
  Plug();
  pci.SetNetdevs(kPci, {"eth1", "eth2"});
  EXPECT_THAT(refused(), HasSubstr("no netdev of it is visible")) << "eth2 is not";
  EXPECT_EQ(Function().netdev, "") << "placement waits, too";
  pci.SetNetdevs(kPci, {});
  EXPECT_THAT(refused(), HasSubstr("no netdev of it is visible"));
  pci.SetNetdevs(kPci, {"eth1"});
  EXPECT_TRUE(provider.PutBinding(by_its_slot).ok());
}

TEST_F(HotplugProviderTest, APfOfTheConfigurationIsNeverAFunctionToHandOut) {
  PfConfig pf;
  pf.mac = kMac;
  config.pfs.push_back(pf);
  Plug();
  EXPECT_THAT(Refused(), HasSubstr("it is the PF " + kMac.ToString()));
}

TEST_F(HotplugProviderTest, ItIsTakenFromItsDriverAndGivenBackToItReset) {
  Plug();
  const auto bound = provider.PutBinding(Wanted());
  ASSERT_TRUE(bound.ok()) << bound.status();
  EXPECT_EQ(pci.Find(kPci)->driver, "vfio-pci");
  EXPECT_EQ(provider.ObserveFunction(kFunction)->resources.size(), 1U);
  ASSERT_TRUE(provider.DeleteBinding(kFunction).ok());
  ASSERT_TRUE(provider.DeleteFunction(kFunction).ok());
  EXPECT_EQ(pci.Find(kPci)->driver, "virtio-pci") << "as it came";
  EXPECT_EQ(pci.Find(kPci)->driver_override, "");
  EXPECT_EQ(pci.ResetCount(kPci), 1);
  EXPECT_THAT(provider.ObserveFunction(kFunction)->resources, IsEmpty());
  EXPECT_EQ(Function().mac, kMac) << "the next port can recognise it";
  ASSERT_TRUE(provider.DeleteFunction(kFunction).ok());
  ASSERT_TRUE(provider.DeleteBinding(kFunction).ok());
  EXPECT_EQ(pci.ResetCount(kPci), 1) << "what the host has again is not reset";
}

TEST_F(HotplugProviderTest, AFunctionThatWasNotTakenIsNeitherResetNorOfferedToADriver) {
  Plug();
  ASSERT_TRUE(sysfs.Unbind(kPci, SysfsPort::Deadline(1000)).ok());
  EXPECT_FALSE(provider.PutBinding(Wanted()).ok()) << "it is another one, or may be";
  ASSERT_TRUE(provider.DeleteBinding(kFunction).ok());
  ASSERT_TRUE(provider.DeleteFunction(kFunction).ok());
  EXPECT_EQ(pci.Find(kPci)->driver, "");
  EXPECT_EQ(pci.ResetCount(kPci), 0);
}

TEST_F(HotplugProviderTest, WhatBreaksOffWhileItIsGivenBackIsGoneOnWithAlsoByTheNextAgent) {
  Plug();
  ASSERT_TRUE(provider.PutBinding(Wanted()).ok());
  for (const SysfsMethod method : {SysfsMethod::kReset, SysfsMethod::kProbe}) {
    pci.FailNext(method, absl::UnavailableError("not now"));
    EXPECT_EQ(provider.DeleteBinding(kFunction).message(), "not now");
    EXPECT_EQ(provider.ObserveFunction(kFunction)->resources.size(), 1U) << "seen to be ours";
  }
  HotplugProvider next{&config, &sysfs, &links};
  ASSERT_TRUE(next.DeleteBinding(kFunction).ok());
  ASSERT_TRUE(next.DeleteFunction(kFunction).ok());
  EXPECT_EQ(pci.Find(kPci)->driver, "virtio-pci");
  EXPECT_EQ(pci.Find(kPci)->driver_override, "");
}

TEST_F(HotplugProviderTest, AnotherFunctionInTheSlotThanTheOneThatWasChosenIsNotTaken) {
  Plug();
  network->ChangeLink(kLink, [](LinkInfo& link) { link.mac = MacAddress({2, 0, 0, 0, 0, 9}); });
  EXPECT_THAT(WhyNotBound(), HasSubstr("shows the MAC 02:00:00:00:00:09, not"));
  EXPECT_EQ(pci.Find(kPci)->driver, "virtio-pci");
  ASSERT_TRUE(sysfs.Unbind(kPci, SysfsPort::Deadline(1000)).ok());
  EXPECT_THAT(WhyNotBound(), HasSubstr("shows no MAC"));
  EXPECT_EQ(pci.Find(kPci)->driver, "");
}

TEST_F(HotplugProviderTest, WhatAnAttemptLeftHalfDoneIsStillTheFunctionThatWasChosen) {
  Plug();
  pci.FailNext(SysfsMethod::kProbe, absl::UnavailableError("not now"));
  EXPECT_FALSE(provider.PutBinding(Wanted()).ok());
  network->RemoveLink(kLink);  // its driver is gone, and so is what showed its MAC
  EXPECT_EQ(pci.Find(kPci)->driver, "");
  EXPECT_TRUE(provider.PutBinding(Wanted()).ok());
}

// The kernel tells of a function before it offers it to a driver.
TEST_F(HotplugProviderTest, ADriverThatIsFasterThanTheOverrideIsUnboundToo) {
  Plug();
  ASSERT_TRUE(sysfs.Unbind(kPci, SysfsPort::Deadline(1000)).ok());
  pci.SetHook([&](SysfsMethod method, const PciAddress& address) {
    if (method != SysfsMethod::kSetDriverOverride) return;
    ASSERT_TRUE(pci.Probe(address).ok());
    ASSERT_EQ(pci.Find(address)->driver, "virtio-pci");
  });
  DriverBindingSpec by_its_slot = Wanted();
  by_its_slot.shows_mac.reset();
  const auto bound = provider.PutBinding(by_its_slot);
  EXPECT_TRUE(bound.ok()) << bound.status();
  EXPECT_EQ(pci.Find(kPci)->driver, "vfio-pci");
}

TEST_F(HotplugProviderTest, AFunctionThatIsPulledMeanwhileHasGoneAwayAndIsNoFailureToRemove) {
  Plug();
  Unplug();
  EXPECT_TRUE(absl::IsUnavailable(provider.PutBinding(Wanted()).status()));
  EXPECT_THAT(WhyNotBound(), HasSubstr("went away"));
  EXPECT_TRUE(absl::IsUnavailable(provider.PutFunction({kFunction, std::nullopt}).status()));
  EXPECT_TRUE(provider.DeleteBinding(kFunction).ok());
  EXPECT_TRUE(provider.DeleteFunction(kFunction).ok());
}

TEST_F(HotplugProviderTest, AnOperationThatHangsKeepsTheFunctionFromBeingGivenOn) {
  Plug();
  ASSERT_TRUE(provider.PutBinding(Wanted()).ok());
  pci.HangNext(SysfsMethod::kUnbind, kPci);
  EXPECT_TRUE(absl::IsDeadlineExceeded(provider.DeleteBinding(kFunction)));
  EXPECT_TRUE(absl::IsUnavailable(provider.DeleteFunction(kFunction)));
  EXPECT_EQ(Function().driver, kBusyDriver);
  ASSERT_TRUE(pci.Release(kPci));
  EXPECT_TRUE(provider.DeleteBinding(kFunction).ok());
  EXPECT_TRUE(provider.DeleteFunction(kFunction).ok());
}

TEST_F(HotplugProviderTest, AnOperationThatHangsOnAFunctionThatIsPulledIsWaitedFor) {
  Plug();
  ASSERT_TRUE(provider.PutBinding(Wanted()).ok());
  pci.HangNext(SysfsMethod::kReset, kPci);
  EXPECT_TRUE(absl::IsDeadlineExceeded(provider.DeleteBinding(kFunction)));
  Unplug();
  EXPECT_TRUE(absl::IsUnavailable(provider.DeleteBinding(kFunction)));
  EXPECT_TRUE(absl::IsUnavailable(provider.DeleteFunction(kFunction)));
  EXPECT_TRUE(absl::IsUnavailable(provider.ObserveFunction(kFunction).status()));
  ASSERT_TRUE(pci.Release(kPci));
  EXPECT_TRUE(provider.DeleteFunction(kFunction).ok());
  EXPECT_TRUE(provider.ObserveFunction(kFunction)->facts.gone);
}

TEST_F(HotplugProviderTest, AFunctionThatIsPulledWhileAVmHoldsItIsLeavingAndNotTouched) {
  for (const bool holds_lock : {true, false}) {
    SCOPED_TRACE(holds_lock ? "the kernel holds its lock" : "its lock can be had");
    pci.SetRemovalHoldsLock(holds_lock);
    Plug();
    ASSERT_TRUE(provider.PutBinding(Wanted()).ok());
    EXPECT_FALSE(Function().leaving);
    const uint32_t group = *pci.Find(kPci)->iommu_group;
    pci.SetGroupOpen(group, true);
    Unplug();
    EXPECT_TRUE(Function().leaving);
    EXPECT_EQ(Function().driver, kBusyDriver);
    EXPECT_THAT(Refused(), HasSubstr("being pulled, and a VM still holds it"));
    EXPECT_EQ(provider.ObserveFunction(kFunction)->resources.size(), 1U) << "not taken for gone";
    EXPECT_TRUE(absl::IsUnavailable(provider.PutBinding(Wanted()).status()));
    EXPECT_TRUE(absl::IsUnavailable(provider.DeleteBinding(kFunction)));
    EXPECT_FALSE(sysfs.Outstanding(kPci)) << "nothing was begun on it";
    pci.SetGroupOpen(group, false);
    EXPECT_TRUE(provider.ObserveFunction(kFunction)->facts.gone);
    EXPECT_TRUE(provider.DeleteBinding(kFunction).ok());
  }
}

TEST_F(HotplugProviderTest, ADriverlessFunctionWhoseGroupOthersShareIsNotTakenForOneThatLeaves) {
  Plug();
  ASSERT_TRUE(sysfs.Unbind(kPci, SysfsPort::Deadline(1000)).ok());
  PciDevice other;
  other.address = {0, 3, 0, 0};
  other.driver = "vfio-pci";
  other.iommu_group = pci.Find(kPci)->iommu_group;
  pci.AddDevice(other);
  pci.SetGroupOpen(*other.iommu_group, true);
  EXPECT_FALSE(Function().leaving);
  EXPECT_EQ(pci.Calls(SysfsMethod::kVfioGroupInUse), 0) << "a VM may be about to open it";
}

// spdk 3205: the removal of a device and its release by VFIO waited for each other.
TEST_F(HotplugProviderTest, AFunctionThatAVmHoldsOpenIsNotUnbound) {
  Plug();
  ASSERT_TRUE(provider.PutBinding(Wanted()).ok());
  pci.SetGroupOpen(*pci.Find(kPci)->iommu_group, true);
  EXPECT_THAT(std::string(provider.DeleteBinding(kFunction).message()), HasSubstr("still holds"));
  EXPECT_EQ(pci.Find(kPci)->driver, "vfio-pci");
}

}  // namespace
}  // namespace fairlead
