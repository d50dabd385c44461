// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/error.h"
#include "agent/ports/rtnetlink/rtnetlink_contract.h"
#include "agent/ports/rtnetlink/rtnetlink_vf_contract.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;

class FakeEnv final : public RtnetlinkEnv {
 public:
  RtnetlinkPort& port() override { return port_; }
  uint32_t AddEthernet(const std::string& name) override {
    LinkInfo info;
    info.name = name;
    info.mtu = 1500;
    info.kind = "veth";
    info.mac = MacAddress({2, 0, 0, 0, 1, ++next_});
    return network_->AddLink(info);
  }
  void AddAddress(uint32_t ifindex, const IpAddress& address, const IpPrefix& network) override {
    network_->AddAddress(ifindex, address, network);
  }
  void AddPermanentNeighbour(uint32_t ifindex, const IpAddress& address,
                             const MacAddress& mac) override {
    NeighbourInfo entry;
    entry.ifindex = ifindex;
    entry.address = address;
    entry.mac = mac;
    entry.state = NudState::kValid;
    entry.state_name = "PERMANENT";
    // The kernel keeps the mark of an entry that was there.
    if (auto there = port_.GetNeighbour(ifindex, address); there.ok()) {
      entry.protocol = there->protocol;
    }
    network_->SetNeighbour(entry);
  }
  void AddDefaultRoute(uint32_t ifindex, const IpAddress& gateway) override {
    network_->AddRoute(*IpPrefix::Parse("0.0.0.0/0"),
                       {.ifindex = ifindex, .gateway = gateway, .source = {}, .local = false});
  }

 private:
  std::shared_ptr<FakeNetwork> network_ = std::make_shared<FakeNetwork>();
  FakeRtnetlinkPort port_{network_};
  uint8_t next_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Fake, RtnetlinkContract,
                         ::testing::Values([] { return std::make_unique<FakeEnv>(); }));

class FakeVfEnv final : public RtnetlinkVfEnv {
 public:
  explicit FakeVfEnv(const FakeVfDriver& driver) : driver_(driver) {}
  RtnetlinkPort& port() override { return port_; }
  uint32_t Pf() override {
    LinkInfo info;
    info.name = "pf0";
    info.up = info.carrier = true;
    info.vfs.emplace(RtnetlinkVfContract::kVfs, driver_.fresh);
    for (uint16_t i = 0; i < RtnetlinkVfContract::kVfs; ++i) (*info.vfs)[i].index = i;
    const uint32_t ifindex = network_->AddLink(info);
    network_->SetVfDriver(ifindex, driver_);
    return ifindex;
  }

 private:
  const FakeVfDriver driver_;
  std::shared_ptr<FakeNetwork> network_ = std::make_shared<FakeNetwork>();
  FakeRtnetlinkPort port_{network_};
};

std::unique_ptr<RtnetlinkVfEnv> MakeNetdevsim() {
  return std::make_unique<FakeVfEnv>(FakeVfDriver());
}
std::unique_ptr<RtnetlinkVfEnv> MakeIgb() {
  return std::make_unique<FakeVfEnv>(FakeVfDriver::Igb());
}

INSTANTIATE_TEST_SUITE_P(FakeNetdevsim, RtnetlinkVfContract, ::testing::Values(MakeNetdevsim));
INSTANTIATE_TEST_SUITE_P(FakeNetdevsim, RtnetlinkNetdevsimVfContract,
                         ::testing::Values(MakeNetdevsim));
INSTANTIATE_TEST_SUITE_P(FakeIgb, RtnetlinkVfContract, ::testing::Values(MakeIgb));
INSTANTIATE_TEST_SUITE_P(FakeIgb, RtnetlinkIgbVfContract, ::testing::Values(MakeIgb));

TEST(FakeRtnetlinkPort, AVfsMacIsSetThroughItsPf) {
  auto network = std::make_shared<FakeNetwork>();
  FakeRtnetlinkPort port(network);
  LinkInfo pf;
  pf.name = "pf0";
  pf.vfs = std::vector<VfInfo>(2);
  (*pf.vfs)[1].index = 1;
  const uint32_t ifindex = network->AddLink(pf);
  const MacAddress mac = *MacAddress::Parse("02:00:00:00:00:05");
  EXPECT_TRUE(port.SetVfMac(ifindex, 1, mac).ok());
  EXPECT_EQ((*port.GetLinkWithVfs(ifindex)->vfs)[1].mac, mac);
  EXPECT_FALSE(port.GetLink(ifindex)->vfs.has_value());
  EXPECT_EQ(ErrnoOf(port.SetVfMac(ifindex, 2, mac)), EINVAL);
}

TEST(FakeRtnetlinkPort, WhatADriverHasNoCallForIsNotSupported) {
  auto network = std::make_shared<FakeNetwork>();
  FakeRtnetlinkPort port(network);
  LinkInfo pf;
  pf.name = "pf0";
  pf.vfs = std::vector<VfInfo>(1);
  const uint32_t ifindex = network->AddLink(pf);
  network->SetVfDriver(ifindex, {.spoof_check = false});
  EXPECT_EQ(ErrnoOf(port.SetVfSpoofCheck(ifindex, 0, true)), EOPNOTSUPP);
  EXPECT_TRUE(port.SetVfTrust(ifindex, 0, true).ok());
}

TEST(FakeRtnetlinkPort, AnInjectedFaultComesOnceAndIsLogged) {
  auto network = std::make_shared<FakeNetwork>();
  FakeRtnetlinkPort port(network);
  network->FailNext("SetMtu", SystemError(EBUSY, "injected"));
  EXPECT_EQ(ErrnoOf(port.SetMtu(1, 1400)), EBUSY);
  EXPECT_TRUE(port.SetMtu(1, 1400).ok());
  EXPECT_THAT(network->Calls(), ElementsAre("SetMtu(1, 1400)", "SetMtu(1, 1400)"));
}

TEST(FakeRtnetlinkPort, AManagedNeighbourFollowsItsStation) {
  auto network = std::make_shared<FakeNetwork>();
  FakeRtnetlinkPort port(network);
  const IpAddress peer = *IpAddress::Parse("192.0.2.2");
  ASSERT_TRUE(port.ManageNeighbour(1, peer).ok());
  EXPECT_EQ(port.GetNeighbour(1, peer)->state, NudState::kFailed);
  network->SetStation(peer, *MacAddress::Parse("02:00:00:00:00:05"));
  EXPECT_EQ(port.GetNeighbour(1, peer)->state, NudState::kValid);
  network->SetStation(peer, std::nullopt);
  EXPECT_EQ(port.GetNeighbour(1, peer)->state, NudState::kFailed);
}

TEST(FakeRtnetlinkPort, LostEventsAreTold) {
  auto network = std::make_shared<FakeNetwork>();
  FakeRtnetlinkPort port(network);
  int lost = 0;
  auto subscription = port.Subscribe(
      [&](const RtnetlinkEvent& event) { lost += event.kind == RtnetlinkEvent::Kind::kLost; });
  ASSERT_TRUE(subscription.ok());
  network->LoseLinkEvents();
  EXPECT_EQ(lost, 1);
}

}  // namespace
}  // namespace fairlead
