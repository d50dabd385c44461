// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "agent/base/test_types.h"
#include "agent/model/facts.h"
#include "agent/model/flow_rule.h"
#include "agent/model/resource.h"
#include "agent/model/rule_list.h"
#include "agent/model/status.h"

namespace fairlead {
namespace {

Vni VniOf(uint32_t n) { return *Vni::Make(n); }
VfId Vf(uint16_t index) { return {Mac("52:54:00:00:00:01"), index}; }

FlowRule SampleRule() {
  FlowRule rule;
  rule.location = {{RuleTable::Kind::kVpcBlock, VniOf(1000)}, 0, 2000, 7};
  rule.match.dst_mac = Mac("52:54:00:00:01:0a");
  rule.actions = {ActionEncap{VniOf(1000), Ip("10.0.0.1"), Ip("10.0.0.2")},
                  ActionRedirect{{DeviceRef::Kind::kTunnel, {}, 9}}};
  return rule;
}

// A rule of the kernel is kept over restarts and upgrades because its hash says
// that it is right. Another hash would replace every rule of every host.
TEST(FlowRuleTest, TextAndHashesStayTheSameOverBuilds) {
  FlowRule rule = SampleRule();
  EXPECT_EQ(rule.ToString(),
            "block-1000/0/2000/7 all dst_mac 52:54:00:00:01:0a -> encap vni 1000 local 10.0.0.1 "
            "remote 10.0.0.2 port 4789 ttl 64, redirect tunnel@9 [offload prefer]");
  EXPECT_EQ(rule.ContentHash(), 10239571724692843994ULL);
  EXPECT_EQ(rule.MatchHash(), 3531812852U);

  FlowRule from_tunnel;
  from_tunnel.location = {{RuleTable::Kind::kTunnelIngress, {}}, 0, 400, 8};
  from_tunnel.match.ethertype = kEtherIpv6;
  from_tunnel.match.dst_ip = *IpPrefix::Parse("fd00::/64");
  from_tunnel.match.vni = VniOf(1000);
  from_tunnel.match.outer_dst = Ip("10.0.0.1");
  from_tunnel.match.outer_udp_port = 4789;
  from_tunnel.actions = {ActionDecap{},
                         ActionRoute{Mac("02:00:00:00:00:01"), Mac("52:54:00:00:01:0a")},
                         ActionRedirect{{DeviceRef::Kind::kRepresentor, Vf(3), 12}}};
  EXPECT_EQ(from_tunnel.ToString(),
            "tunnel/0/400/8 ipv6 dst_ip fd00::/64 vni 1000 outer_dst 10.0.0.1 outer_port 4789 -> "
            "decap, route src 02:00:00:00:00:01 dst 52:54:00:00:01:0a, redirect "
            "representor(52:54:00:00:00:01/3)@12 [offload prefer]");
  EXPECT_EQ(from_tunnel.ContentHash(), 6386847108633584163ULL);

  FlowRule to_slow_path;
  to_slow_path.location = {{RuleTable::Kind::kVpcBlock, VniOf(1000)}, 1, 300, 9};
  to_slow_path.match.ethertype = kEtherIpv4;
  to_slow_path.match.in_device = DeviceRef{DeviceRef::Kind::kRepresentor, Vf(3), 12};
  to_slow_path.match.src_mac = Mac("52:54:00:00:01:0a");
  to_slow_path.match.dst_mac = Mac("02:00:00:00:00:01");
  to_slow_path.match.src_ip = *IpPrefix::Parse("10.1.0.0/16");
  to_slow_path.match.dst_ip = *IpPrefix::Parse("10.1.0.1/32");
  to_slow_path.match.ttl_expiring = true;
  MatchUdp(to_slow_path.match, 67);
  to_slow_path.actions = {ActionTrap{}};
  EXPECT_EQ(to_slow_path.ToString(),
            "block-1000/1/300/9 ip in representor(52:54:00:00:00:01/3)@12 src_mac "
            "52:54:00:00:01:0a dst_mac 02:00:00:00:00:01 src_ip 10.1.0.0/16 dst_ip 10.1.0.1/32 "
            "ttl <2 udp port 67 -> trap [offload prefer]");

  FlowRule solicitation;
  solicitation.location = {{RuleTable::Kind::kVpcBlock, VniOf(1000)}, 1, 301, 10};
  solicitation.match.ethertype = kEtherIpv6;
  MatchIcmp6(solicitation.match, 135);
  solicitation.actions = {ActionGotoChain{3}};
  EXPECT_EQ(solicitation.ToString(),
            "block-1000/1/301/10 ipv6 icmpv6 type 135 -> goto 3 [offload prefer]");
}

TEST(FlowRuleTest, EveryFieldChangesTheContentHash) {
  const std::vector<std::function<void(FlowRule&)>> edits = {
      [](FlowRule&) {},
      [](FlowRule& r) { r.location.table.kind = RuleTable::Kind::kTunnelIngress; },
      [](FlowRule& r) { r.location.table.vni = VniOf(1001); },
      [](FlowRule& r) { r.location.chain = 1; },
      [](FlowRule& r) { r.location.priority = 1; },
      [](FlowRule& r) { r.location.handle = 1; },
      [](FlowRule& r) { r.match.ethertype = kEtherIpv4; },
      [](FlowRule& r) { r.match.ethertype = 0x88cc; },
      [](FlowRule& r) {
        r.match.in_device = DeviceRef{DeviceRef::Kind::kRepresentor, Vf(1), 3};
      },
      [](FlowRule& r) {
        r.match.in_device = DeviceRef{DeviceRef::Kind::kRepresentor, Vf(1), 4};
      },
      [](FlowRule& r) {
        r.match.in_device = DeviceRef{DeviceRef::Kind::kRepresentor, Vf(2), 3};
      },
      [](FlowRule& r) {
        r.match.in_device = DeviceRef{DeviceRef::Kind::kTunnel, {}, 3};
      },
      [](FlowRule& r) { r.match.dst_mac.reset(); },
      [](FlowRule& r) { r.match.dst_mac = Mac("52:54:00:00:01:0b"); },
      [](FlowRule& r) { r.match.src_mac = Mac("52:54:00:00:01:0a"); },
      [](FlowRule& r) { r.match.src_mac = Mac("52:54:00:00:01:0b"); },
      [](FlowRule& r) { r.match.src_ip = *IpPrefix::Parse("10.0.0.0/8"); },
      [](FlowRule& r) { r.match.src_ip = *IpPrefix::Parse("10.0.0.0/9"); },
      [](FlowRule& r) { r.match.dst_ip = *IpPrefix::Parse("10.0.0.0/8"); },
      [](FlowRule& r) { r.match.dst_ip = *IpPrefix::Parse("10.0.0.0/9"); },
      [](FlowRule& r) { r.match.ttl_expiring = true; },
      [](FlowRule& r) { MatchIcmp6(r.match, 0); },
      [](FlowRule& r) { MatchIcmp6(r.match, 135); },
      [](FlowRule& r) { MatchUdp(r.match, 67); },
      [](FlowRule& r) { MatchUdp(r.match, 135); },
      [](FlowRule& r) { r.match.vni = VniOf(1); },
      [](FlowRule& r) { r.match.outer_src = *IpPrefix::Parse("10.0.0.0/8"); },
      [](FlowRule& r) { r.match.outer_src = *IpPrefix::Parse("10.0.0.0/9"); },
      [](FlowRule& r) { r.match.outer_dst = Ip("10.0.0.1"); },
      [](FlowRule& r) { r.match.outer_udp_port = 4789; },
      [](FlowRule& r) { std::get<ActionEncap>(r.actions[0]).vni = VniOf(2); },
      [](FlowRule& r) { std::get<ActionEncap>(r.actions[0]).local = Ip("10.0.0.9"); },
      [](FlowRule& r) { std::get<ActionEncap>(r.actions[0]).remote = Ip("10.0.0.9"); },
      [](FlowRule& r) { std::get<ActionEncap>(r.actions[0]).udp_port = 8472; },
      [](FlowRule& r) { std::get<ActionEncap>(r.actions[0]).ttl = 1; },
      [](FlowRule& r) { std::get<ActionRedirect>(r.actions[1]).to.ifindex = 10; },
      [](FlowRule& r) {
        r.actions[1] = ActionRoute{Mac("02:00:00:00:00:01"), Mac("02:00:00:00:00:02")};
      },
      [](FlowRule& r) {
        r.actions[1] = ActionRoute{Mac("02:00:00:00:00:02"), Mac("02:00:00:00:00:02")};
      },
      [](FlowRule& r) {
        r.actions[1] = ActionRoute{Mac("02:00:00:00:00:02"), Mac("02:00:00:00:00:01")};
      },
      [](FlowRule& r) { r.actions[1] = ActionGotoChain{5}; },
      [](FlowRule& r) { r.actions[1] = ActionGotoChain{6}; },
      [](FlowRule& r) { r.actions[1] = ActionDrop{}; },
      [](FlowRule& r) { r.actions[1] = ActionTrap{}; },
      [](FlowRule& r) { r.actions[1] = ActionDecap{}; },
      [](FlowRule& r) { r.actions.clear(); },
      [](FlowRule& r) { r.offload = OffloadWish::kMust; },
      [](FlowRule& r) { r.offload = OffloadWish::kOff; },
  };
  std::set<uint64_t> hashes;
  for (size_t i = 0; i < edits.size(); ++i) {
    FlowRule rule = SampleRule();
    edits[i](rule);
    EXPECT_TRUE(hashes.insert(rule.ContentHash()).second) << i << ": " << rule.ToString();
  }
}

TEST(FlowRuleTest, ItsOutputIsWhatItRedirectsTo) {
  const FlowRule rule = SampleRule();
  ASSERT_NE(OutputOf(rule), nullptr);
  EXPECT_EQ(*OutputOf(rule), (DeviceRef{DeviceRef::Kind::kTunnel, {}, 9}));
  for (const RuleAction& last :
       {RuleAction(ActionTrap{}), RuleAction(ActionDrop{}), RuleAction(ActionGotoChain{5})}) {
    FlowRule none = rule;
    none.actions = {last};
    EXPECT_EQ(OutputOf(none), nullptr);
  }
}

TEST(FlowRuleTest, WhatAProviderNetworkMatchesAndDoesIsInTheHash) {
  const FlowRule rule = SampleRule();
  std::set<uint64_t> hashes = {rule.ContentHash()};
  const std::function<void(FlowRule&)> changes[] = {
      [](FlowRule& r) { r.match.dst_group = false; },
      [](FlowRule& r) { r.match.dst_group = true; },
      [](FlowRule& r) { r.match.vlan = *VlanId::Make(100); },
      [](FlowRule& r) { r.match.vlan = *VlanId::Make(101); },
      [](FlowRule& r) { r.match.arp_sender_mac = Mac("52:54:00:00:00:09"); },
      [](FlowRule& r) { r.match.arp_sender_ip = *IpPrefix::Parse("10.0.0.9/32"); },
      [](FlowRule& r) { r.actions.insert(r.actions.begin(), ActionVlanPop{}); },
      [](FlowRule& r) { r.actions.insert(r.actions.begin(), ActionVlanPush{*VlanId::Make(7)}); },
      [](FlowRule& r) { r.actions.insert(r.actions.begin(), ActionMirror{}); },
      [](FlowRule& r) { r.actions.back() = ActionPass{}; },
      [](FlowRule& r) { r.location.table = UplinkTable(Mac("52:54:00:00:00:01")); },
      [](FlowRule& r) { r.location.table = UplinkTable(Mac("52:54:00:00:00:02")); },
      [](FlowRule& r) {
        r.location.table = {.kind = RuleTable::Kind::kProviderBlock,
                            .pf = Mac("52:54:00:00:00:01")};
      },
      [](FlowRule& r) {
        r.location.table = {
            .kind = RuleTable::Kind::kProviderBlock, .pf = Mac("52:54:00:00:00:01"), .vlan = 100};
      }};
  for (const auto& change : changes) {
    FlowRule other = rule;
    change(other);
    EXPECT_TRUE(hashes.insert(other.ContentHash()).second) << other.ToString();
  }
}

TEST(FlowRuleTest, TheMatchHashIsOfTablePriorityAndMatchAlone) {
  const FlowRule rule = SampleRule();
  FlowRule same = rule;
  same.location.chain = 4;
  same.location.handle = 8;
  same.actions = {ActionTrap{}};
  same.offload = OffloadWish::kOff;
  EXPECT_EQ(same.MatchHash(), rule.MatchHash());
  FlowRule other = rule;
  MatchUdp(other.match, 67);
  EXPECT_NE(other.MatchHash(), rule.MatchHash());
}

TEST(BlockIndexTest, IsRecognisedAndDistinctForEveryVni) {
  EXPECT_EQ(BlockIndexOf(VniOf(1000)), 0x460003e8U);
  const RuleTable most{.kind = RuleTable::Kind::kVpcBlock, .vni = VniOf(Vni::kMax)};
  EXPECT_EQ(BlockOfIndex(BlockIndexOf(most), Mac("52:54:00:00:00:01")), most);
  EXPECT_EQ(BlockOfIndex(1000, Mac("52:54:00:00:00:01")), std::nullopt);
}

TEST(BlockIndexTest, OfAProviderNetworkNamesVlanAndPfAndIsTakenForNoOthers) {
  const NicId pf = Mac("52:54:00:00:a1:b2"), other = Mac("52:54:00:00:a1:b3");
  RuleTable block{.kind = RuleTable::Kind::kProviderBlock, .pf = pf, .vlan = 4094};
  EXPECT_EQ(BlockIndexOf(block), 0x5ffea1b2U);
  EXPECT_EQ(BlockOfIndex(0x5ffea1b2U, pf), block);
  EXPECT_EQ(BlockOfIndex(0x5ffea1b2U, other), std::nullopt) << "its representor is no other PF's";
  EXPECT_EQ(BlockOfIndex(0x5fffa1b2U, pf), std::nullopt) << "4095 is no VLAN";
  block.vlan = 0;
  EXPECT_EQ(BlockOfIndex(BlockIndexOf(block), pf), block) << "the flat network";
  EXPECT_EQ(block.ToString(), "flat@52:54:00:00:a1:b2");
  EXPECT_EQ(BlockIndexOf(UplinkTable(pf)), 0U);
}

TEST(ResourceKeyTest, KeysAreTextThatSurvivesARename) {
  EXPECT_EQ(RepresentorKey(Vf(3)).ToString(), "representor/52:54:00:00:00:01/3");
  EXPECT_EQ(VfPoolKey(Mac("52:54:00:00:00:01")).ToString(), "vf-pool/52:54:00:00:00:01");
  EXPECT_EQ(TunnelKey().ToString(), "tunnel/host");
  EXPECT_EQ(NeighbourKey(Ip("fd00::2")).ToString(), "neighbour/fd00::2");
  EXPECT_EQ(VfKey(Vf(0)).ToString(), "vf/52:54:00:00:00:01/0");
  EXPECT_EQ(DriverBindingKey(Vf(0)).ToString(), "driver-binding/52:54:00:00:00:01/0");
  EXPECT_EQ(GuestDeviceKey("vm", "port").ToString(), "guest-device/vm/port");
  EXPECT_EQ(FlowRuleKey(SampleRule().location).ToString(), "flow-rule/block-1000/0/2000/7");
  EXPECT_EQ(GuestDeviceId(0x1a2b, 17, 42), "fairlead-00001a2b-p17-l42");
}

TEST(ResourceKeyTest, LocationsThatDifferNeverShareAKey) {
  RuleLocation a = SampleRule().location;
  RuleLocation b = a;
  b.table = {RuleTable::Kind::kTunnelIngress, VniOf(1000)};
  EXPECT_NE(FlowRuleKey(a), FlowRuleKey(b));
}

TEST(RuleLocationTest, IsReadBackFromItsTextAndFromNoOther) {
  const NicId pf = Mac("52:54:00:00:a1:b2");
  for (const RuleTable& table :
       {RuleTable{.vni = VniOf(Vni::kMax)}, RuleTable{.kind = RuleTable::Kind::kTunnelIngress},
        RuleTable{.kind = RuleTable::Kind::kProviderBlock, .pf = pf, .vlan = 4094},
        RuleTable{.kind = RuleTable::Kind::kProviderBlock, .pf = pf}, UplinkTable(pf)}) {
    for (const RuleLocation& at :
         {RuleLocation{table, 0, 0, 0}, RuleLocation{table, UINT32_MAX, UINT16_MAX, UINT32_MAX}}) {
      const absl::StatusOr<RuleLocation> read = RuleLocation::Parse(at.ToString());
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_EQ(*read, at);
    }
  }
  for (const char* text : {"",
                           "/",
                           "tunnel",
                           "tunnel/0/1",
                           "tunnel/0/1/",
                           "tunnel//1/2",
                           "tunnel/0/65536/1",
                           "tunnel/4294967296/1/1",
                           "tunnel/-1/1/1",
                           "tunnel/01/1/1",
                           "tunnel/0/1/1 ",
                           "x/0/1/1",
                           "block-/0/1/1",
                           "block-0/0/1/1",
                           "block-16777216/0/1/1",
                           "block-01/0/1/1",
                           "vlan-100/0/1/1",
                           "vlan-0@52:54:00:00:a1:b2/0/1/1",
                           "vlan-4095@52:54:00:00:a1:b2/0/1/1",
                           "vlan-1@x/0/1/1",
                           "flat@/0/1/1",
                           "uplink/0/1/1",
                           "@52:54:00:00:a1:b2/0/1/1"}) {
    EXPECT_FALSE(RuleLocation::Parse(text).ok()) << text;
  }
}

TEST(NamesTest, EveryValueHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (int i = 0; i < 10; ++i) names.insert(ResourceKindName(static_cast<ResourceKind>(i)));
  EXPECT_EQ(names.size(), 10U);
  names.clear();
  for (ObjectKind kind : kAllObjectKinds) names.insert(ObjectKindName(kind));
  EXPECT_EQ(names, (std::set<std::string_view>{"vpc", "subnet", "vm", "port", "endpoint", "route",
                                               "security-group"}));
  names.clear();
  for (int i = 0; i < 6; ++i) names.insert(ObjectStateName(static_cast<ObjectState>(i)));
  EXPECT_EQ(names.size(), 6U);
  names.clear();
  for (int i = 0; i < 4; ++i) names.insert(AttachmentPhaseName(static_cast<AttachmentPhase>(i)));
  EXPECT_EQ(names.size(), 4U);
  names.clear();
  for (int i = 0; i < 9; ++i) names.insert(RuleStateName(static_cast<RuleState>(i)));
  EXPECT_EQ(names.size(), 9U);
}

TEST(RefOfTest, NamesKindAndIdOfEveryObject) {
  EXPECT_EQ(RefOf(Vpc{"a", {}}).ToString(), "vpc/a");
  EXPECT_EQ(RefOf(Subnet{"a", "", {}, {}}).ToString(), "subnet/a");
  EXPECT_EQ(RefOf(Vm{"a", {}}).ToString(), "vm/a");
  Port port;
  port.id = "a";
  EXPECT_EQ(RefOf(port).ToString(), "port/a");
  Endpoint endpoint;
  endpoint.id = "a";
  EXPECT_EQ(RefOf(endpoint).ToString(), "endpoint/a");
  EXPECT_EQ(RefOf(Route{"a", "", {}, {}}).ToString(), "route/a");
}

TEST(HostFactsTest, AVfIsFoundByItsIndexAndNotByItsPlaceInTheList) {
  HostFacts facts;
  PfFacts pf;
  pf.id = Mac("52:54:00:00:00:01");
  pf.vfs.resize(2);
  pf.vfs[0].index = 1;
  pf.vfs[1].index = 3;
  facts.pfs[pf.id] = pf;
  ASSERT_NE(facts.FindVf(Vf(3)), nullptr);
  EXPECT_EQ(facts.FindVf(Vf(3))->index, 3);
  EXPECT_EQ(facts.FindVf(Vf(0)), nullptr);
  EXPECT_EQ(facts.FindVf({Mac("52:54:00:00:00:02"), 1}), nullptr);
}

}  // namespace
}  // namespace fairlead
