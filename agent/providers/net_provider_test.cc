// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/net_provider.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/test_types.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

class NetProviderTest : public ::testing::Test {
 protected:
  NetProviderTest() {
    config.tunnel.local = Ip("192.0.2.1");
    config.marks = std::make_shared<OwnMarks>(7);
    LinkInfo underlay;
    underlay.name = "eth0";
    underlay.ifindex = 10;
    underlay.up = true;
    network->AddLink(underlay);
    network->AddAddress(10, Ip("192.0.2.1"), *IpPrefix::Parse("192.0.2.0/24"));
  }
  TunnelSpec Spec() { return {"fl-vxlan0", Ip("192.0.2.1"), 4789, 1450}; }

  ProviderConfig config;
  std::shared_ptr<FakeNetwork> network = std::make_shared<FakeNetwork>();
  FakeRtnetlinkPort links{network};
  FakeTcPort tc{network};
  NetProvider net{&config, &links, &tc};
};

TEST_F(NetProviderTest, ATunnelWithAnAddressThatIsNotOursIsRefusedBeforeAnythingIsMade) {
  TunnelSpec spec = Spec();
  spec.local = Ip("192.0.2.99");
  const auto tunnel = net.PutTunnel(spec);
  EXPECT_THAT(std::string(tunnel.status().message()), HasSubstr("192.0.2.99"));
  EXPECT_TRUE(absl::IsNotFound(links.GetLink("fl-vxlan0").status()));
}

TEST_F(NetProviderTest, ATunnelThatComesToNothingIsNotLeftBehind) {
  network->FailNext("AddClsact", absl::UnavailableError("not now"));
  EXPECT_FALSE(net.PutTunnel(Spec()).ok());
  EXPECT_TRUE(absl::IsNotFound(links.GetLink("fl-vxlan0").status()));
}

TEST_F(NetProviderTest, AForeignDeviceOfTheTunnelsNameIsNotTouched) {
  LinkInfo foreign;
  foreign.name = "fl-vxlan0";
  foreign.ifindex = 30;
  foreign.kind = "vxlan";
  network->AddLink(foreign);
  EXPECT_TRUE(absl::IsAlreadyExists(net.PutTunnel(Spec()).status()));
  const auto seen = net.ObserveTunnel();
  ASSERT_TRUE(seen.ok() && seen->has_value());
  EXPECT_FALSE((*seen)->ours);
  EXPECT_TRUE(absl::IsAlreadyExists(net.DeleteTunnel(Spec())));
}

TEST_F(NetProviderTest, ATunnelOfAnotherKindAndNameIsFoundByItsMarkAndMakesWay) {
  ASSERT_TRUE(net.PutTunnel(Spec()).ok());
  config.tunnel.device = "fl-geneve0";  // as after another start
  const auto seen = net.ObserveTunnel();
  ASSERT_TRUE(seen.ok() && seen->has_value()) << seen.status();
  const auto& old = std::get<TunnelSpec>((*seen)->spec);
  EXPECT_TRUE((*seen)->ours);
  EXPECT_EQ(old.device, "fl-vxlan0");
  EXPECT_EQ(old.encapsulation, Encapsulation::kVxlan);
  ASSERT_TRUE(net.DeleteTunnel(old).ok());
  TunnelSpec spec{"fl-geneve0", Ip("192.0.2.1"), 6081, 1450};
  spec.encapsulation = Encapsulation::kGeneve;
  const auto made = net.PutTunnel(spec);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(std::get<TunnelSpec>(made->spec), spec);
  EXPECT_EQ(links.GetLink("fl-geneve0")->kind, "geneve");
  EXPECT_TRUE(absl::IsNotFound(links.GetLink("fl-vxlan0").status()));
}

TEST_F(NetProviderTest, ARepresentorOfOursIsNotTakenForTheTunnel) {
  LinkInfo representor;
  representor.name = "pf0rep0";
  representor.alias = config.marks->Alias();
  network->AddLink(representor);
  const auto seen = net.ObserveTunnel();
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_FALSE(seen->has_value());
}

TEST_F(NetProviderTest, TheUnderlayIsTheLinkThatHasTheLocalAddress) {
  network->ChangeLink(10, [](LinkInfo& link) { link.mtu = 9000; });
  EXPECT_EQ(*net.ObserveUnderlay(), (UnderlayFacts{{10}, "eth0", 9000, ""}));
  network->RemoveAddress(10, Ip("192.0.2.1"));
  const auto gone = net.ObserveUnderlay();
  ASSERT_TRUE(gone.ok()) << gone.status();
  EXPECT_EQ(gone->mtu, 0U);
  EXPECT_THAT(gone->unknown, HasSubstr("192.0.2.1"));
}

TEST_F(NetProviderTest, OfALocalAddressOnTheLoopbackItIsTheDefaultRoutesLeastMtu) {
  network->RemoveAddress(10, Ip("192.0.2.1"));
  network->AddAddress(1, Ip("192.0.2.1"), *IpPrefix::Parse("192.0.2.1/32"));
  EXPECT_THAT(net.ObserveUnderlay()->unknown, HasSubstr("is on lo"));
  network->ChangeLink(10, [](LinkInfo& link) { link.mtu = 9000; });
  LinkInfo other;
  other.name = "eth1";
  other.ifindex = 11;
  other.up = true;
  other.mtu = 4000;
  network->AddLink(other);
  for (const uint32_t link : {10U, 11U}) {
    network->AddRoute(*IpPrefix::Parse("0.0.0.0/0"), {link, Ip("198.51.100.1"), {}, false});
  }
  EXPECT_EQ(*net.ObserveUnderlay(), (UnderlayFacts{{10, 11}, "eth1", 4000, ""}));
}

TEST_F(NetProviderTest, ATunnelWhoseDropRuleIsGoneShowsIt) {
  ASSERT_TRUE(net.PutTunnel(Spec()).ok());
  const uint32_t ifindex = links.GetLink("fl-vxlan0")->ifindex;
  ASSERT_TRUE(tc.DeleteClsact(ifindex).ok());
  const auto seen = net.ObserveTunnel();
  ASSERT_TRUE(seen.ok() && seen->has_value());
  EXPECT_FALSE(std::get<TunnelSpec>((*seen)->spec).default_drop);
  ASSERT_TRUE(net.PutTunnel(Spec()).ok());
  EXPECT_TRUE(std::get<TunnelSpec>((*net.ObserveTunnel())->spec).default_drop);
}

TEST_F(NetProviderTest, AGatewayIsKeptAsLongAsOnePeerIsBehindIt) {
  network->AddRoute(*IpPrefix::Parse("198.51.100.0/24"), {10, Ip("192.0.2.254"), {}, false});
  network->SetStation(Ip("192.0.2.254"), MacAddress({2, 0, 0, 0, 0, 1}));
  for (const char* peer : {"198.51.100.1", "198.51.100.2"}) {
    const auto made = net.PutNeighbour({Ip(peer)});
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(made->neighbour, NeighbourState::kResolved);
  }
  ASSERT_TRUE(net.DeleteNeighbour({Ip("198.51.100.1")}).ok());
  EXPECT_EQ(links.ListOwnNeighbours()->size(), 1U);
  ASSERT_TRUE(net.DeleteNeighbour({Ip("198.51.100.2")}).ok());
  EXPECT_EQ(links.ListOwnNeighbours()->size(), 0U);
}

TEST_F(NetProviderTest, APeerWithoutARouteIsObservedAsSuchAndNoError) {
  const auto made = net.PutNeighbour({Ip("203.0.113.1")});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->neighbour, NeighbourState::kNoRoute);
  EXPECT_TRUE(net.DeleteNeighbour({Ip("203.0.113.1")}).ok());
}

TEST_F(NetProviderTest, APermanentEntryOfAnOperatorServesAndOutlivesThePeer) {
  const IpAddress peer = Ip("192.0.2.2");
  NeighbourInfo permanent;
  permanent.ifindex = 10;
  permanent.address = peer;
  permanent.mac = MacAddress({2, 0, 0, 0, 0, 1});
  permanent.state = NudState::kValid;
  permanent.state_name = "PERMANENT";
  network->SetNeighbour(permanent);
  const auto made = net.PutNeighbour({peer});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->neighbour, NeighbourState::kResolved);
  const auto seen = net.ObserveNeighbours({&peer, 1});
  ASSERT_TRUE(seen.ok() && seen->size() == 1) << seen.status();
  EXPECT_EQ(seen->front().key, NeighbourKey(peer));
  EXPECT_EQ(seen->front().neighbour, NeighbourState::kResolved);
  ASSERT_TRUE(net.DeleteNeighbour({peer}).ok());
  const auto there = links.GetNeighbour(10, peer);
  ASSERT_TRUE(there.ok()) << there.status();
  EXPECT_EQ(there->mac, permanent.mac);
}

TEST_F(NetProviderTest, WhatAnEarlierRunLeftIsDeletedWhereItIsAndNotWhereTheRouteLeads) {
  LinkInfo other;
  other.name = "eth1";
  other.ifindex = 11;
  other.up = true;
  network->AddLink(other);
  network->AddAddress(11, Ip("203.0.113.1"), *IpPrefix::Parse("203.0.113.0/24"));
  ASSERT_TRUE(net.PutNeighbour({Ip("192.0.2.2")}).ok());
  ASSERT_TRUE(net.PutNeighbour({Ip("203.0.113.9")}).ok());
  network->AddRoute(*IpPrefix::Parse("192.0.2.2/32"), {11, Ip("203.0.113.9"), {}, false});
  NetProvider later(&config, &links, &tc);  // the agent was started anew
  ASSERT_TRUE(later.DeleteNeighbour({Ip("192.0.2.2")}).ok());
  EXPECT_TRUE(absl::IsNotFound(links.GetNeighbour(10, Ip("192.0.2.2")).status()));
  EXPECT_TRUE(links.GetNeighbour(11, Ip("203.0.113.9")).ok());
}

TEST_F(NetProviderTest, APeerWhoseRouteChangesLeavesNoEntryBehind) {
  network->AddRoute(*IpPrefix::Parse("198.51.100.0/24"), {10, Ip("192.0.2.254"), {}, false});
  ASSERT_TRUE(net.PutNeighbour({Ip("198.51.100.1")}).ok());
  network->AddRoute(*IpPrefix::Parse("198.51.100.1/32"), {10, Ip("192.0.2.253"), {}, false});
  ASSERT_TRUE(net.PutNeighbour({Ip("198.51.100.1")}).ok());
  ASSERT_EQ(links.ListOwnNeighbours()->size(), 1U);
  EXPECT_EQ(links.ListOwnNeighbours()->front().address, Ip("192.0.2.253"));
}

}  // namespace
}  // namespace fairlead
