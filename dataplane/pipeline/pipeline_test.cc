// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/base/test_types.h"
#include "agent/base/text.h"
#include "dataplane/pipeline/simulator.h"

// Who gets what is the matter of tests/pipeline_model, for random networks and frames. Here are
// the shapes that hardware and upkeep ask for, and what a reader should find spelled out.
namespace fairlead {
namespace {

using ::testing::Each;
using ::testing::Field;
using ::testing::IsEmpty;

RuleTable Block(uint32_t vni) { return {RuleTable::Kind::kVpcBlock, *Vni::Make(vni)}; }
const RuleTable kTunnelTable{RuleTable::Kind::kTunnelIngress, {}};

// One VPC with two routed subnets, "10.0.0.0/16" and "10.1.0.0/16", and their IPv6.
class Network {
 public:
  Network(int ports, int endpoints) {
    vpc.vni = *Vni::Make(100);
    vpc.ordinal = 1;
    vpc.tunnel.device = "fl-vxlan0";
    vpc.tunnel.ifindex = 1000;
    vpc.tunnel.local = Ip("192.0.2.1");
    for (int s = 0; s < 2; ++s) {
      Subnet& subnet = subnets[s];
      subnet.id = StrCat("s", s);
      subnet.prefix4 = *IpPrefix::Parse(StrCat("10.", s, ".0.0/16"));
      subnet.prefix6 = *IpPrefix::Parse(StrCat("fd00:0:0:", s, "::/64"));
      subnet.gateway4 = Ip(StrCat("10.", s, ".0.1"));
      subnet.gateway6 = Ip(StrCat("fd00:0:0:", s, "::1"));
      for (int p = 0; p < ports; ++p) {
        BoundPort port;
        port.port = StrCat("p", s, "-", p);
        port.ordinal = next_++;
        port.subnet = subnet.id;
        port.vf = {Mac(0xff01), static_cast<uint16_t>(next_)};
        port.representor_ifindex = 2000U + next_;
        port.mac = Mac(next_);
        port.addresses = {Ip(StrCat("10.", s, ".1.", p)), Ip(StrCat("fd00:0:0:", s, "::a:", p))};
        port.offload = OffloadWish::kMust;
        bound[s].push_back(port);
      }
      for (int e = 0; e < endpoints; ++e) {
        Endpoint endpoint;
        endpoint.id = StrCat("e", s, "-", e);
        endpoint.mac = Mac(next_);
        endpoint.addresses = {Ip(StrCat("10.", s, ".9.", e)),
                              Ip(StrCat("fd00:0:0:", s, "::e:", e))};
        endpoint.vtep = Ip(StrCat("192.0.2.", 2 + e));
        far[s].push_back({endpoint, next_++});
      }
    }
  }
  SubnetContext Context(int s) const { return ContextOf(subnets[s], 2U + s); }
  std::vector<FlowRule> Rules() const {
    std::vector<FlowRule> out{DefaultDropRule(Block(100)), DefaultDropRule(kTunnelTable)};
    const auto add = [&out](std::vector<FlowRule> rules) {
      std::move(rules.begin(), rules.end(), std::back_inserter(out));
    };
    add(CompileVpcRules(vpc));
    for (int s = 0; s < 2; ++s) {
      add(CompileSubnetRules(vpc, subnets[s], Context(s).ordinal));
      for (const BoundPort& port : bound[s]) add(CompilePortRules(vpc, Context(s), port));
      for (const auto& [endpoint, ordinal] : far[s]) {
        add(CompileEndpointRules(vpc, Context(s), endpoint, ordinal));
      }
    }
    for (size_t i = 0; i < routes.size(); ++i) {
      const auto& [route, next_hop] = routes[i];
      add(CompileRouteRules(vpc, route, 5000U + static_cast<uint32_t>(i), next_hop));
    }
    return out;
  }
  void AddRoute(const std::string& prefix, const NextHop& next_hop) {
    routes.push_back({{"r", "v", *IpPrefix::Parse(prefix), {}}, next_hop});
  }
  FlowOutcome Send(const BoundPort& from, const IpAddress& source, const MacAddress& to,
                   const IpAddress& target) {
    PipelineSimulator simulator;
    simulator.Add(Rules());
    FlowPacket packet;
    packet.in = {DeviceRef::Kind::kRepresentor, from.vf, from.representor_ifindex};
    packet.ethertype = target.is_v4() ? kEtherIpv4 : kEtherIpv6;
    packet.src_mac = from.mac;
    packet.src_ip = source;
    packet.dst_mac = to;
    packet.dst_ip = target;
    FlowOutcome out = simulator.Run(Block(100), packet);
    EXPECT_THAT(simulator.faults(), IsEmpty());
    return out;
  }

  VpcContext vpc;
  Subnet subnets[2];
  std::vector<BoundPort> bound[2];
  std::vector<std::pair<Endpoint, uint32_t>> far[2];
  std::vector<std::pair<Route, NextHop>> routes;

 private:
  uint32_t next_ = 10;
};

TEST(PipelineTest, AFrameToAnotherSubnetIsRoutedOnceAndKeepsItsVni) {
  Network net(1, 1);
  const BoundPort& from = net.bound[0][0];
  for (size_t family : {0U, 1U}) {
    const FlowOutcome here =
        net.Send(from, from.addresses[family], kGatewayMac, net.bound[1][0].addresses[family]);
    EXPECT_EQ(here.to.vf, net.bound[1][0].vf) << here.ToString();
    EXPECT_EQ(here.src_mac, kGatewayMac);
    EXPECT_EQ(here.dst_mac, net.bound[1][0].mac);
    EXPECT_EQ(here.ttl, 63);
    const Endpoint& far = net.far[1][0].first;
    const FlowOutcome there =
        net.Send(from, from.addresses[family], kGatewayMac, far.addresses[family]);
    EXPECT_EQ(there.to.kind, DeviceRef::Kind::kTunnel) << there.ToString();
    EXPECT_EQ(there.dst_mac, far.mac);
    ASSERT_TRUE(there.header);
    EXPECT_EQ(there.header->vni, net.vpc.vni);
    EXPECT_EQ(there.header->remote, far.vtep);
    EXPECT_EQ(there.ttl, 63);
  }
}

TEST(PipelineTest, AStaticRouteLeadsToItsNextHopWithOneHopLess) {
  Network net(1, 1);
  const BoundPort& from = net.bound[0][0];
  const BoundPort& here = net.bound[1][0];
  const Endpoint& far = net.far[1][0].first;
  net.AddRoute("198.51.100.0/24", &here);
  net.AddRoute("2001:db8:9::/48", &far);
  const FlowOutcome near = net.Send(from, from.addresses[0], kGatewayMac, Ip("198.51.100.7"));
  EXPECT_EQ(near.to.vf, here.vf) << near.ToString();
  EXPECT_EQ(near.src_mac, kGatewayMac);
  EXPECT_EQ(near.dst_mac, here.mac);
  EXPECT_EQ(near.ttl, 63);
  const FlowOutcome away = net.Send(from, from.addresses[1], kGatewayMac, Ip("2001:db8:9::7"));
  EXPECT_EQ(away.to.kind, DeviceRef::Kind::kTunnel) << away.ToString();
  ASSERT_TRUE(away.header);
  EXPECT_EQ(away.header->remote, far.vtep);
  EXPECT_EQ(away.header->vni, net.vpc.vni);
  EXPECT_EQ(away.dst_mac, far.mac);
  EXPECT_EQ(away.ttl, 63);
  EXPECT_EQ(net.Send(from, from.addresses[0], kGatewayMac, Ip("198.51.101.7")).kind,
            FlowOutcome::Kind::kDropped);
}

TEST(PipelineTest, TheLongestOfTheRoutesThatCoverADestinationCounts) {
  Network net(2, 0);
  const BoundPort& from = net.bound[0][0];
  for (const char* prefix : {"0.0.0.0/0", "198.51.100.0/24", "198.51.100.128/25", "::/0",
                             "2001:db8::/32", "2001:db8::9/128"}) {
    net.AddRoute(prefix, &net.bound[1][net.routes.size() % 2]);
  }
  const auto takes = [&](const char* to) {
    const size_t family = Ip(to).is_v6() ? 1 : 0;
    return net.Send(from, from.addresses[family], kGatewayMac, Ip(to)).to.vf;
  };
  EXPECT_EQ(takes("203.0.113.1"), net.bound[1][0].vf);
  EXPECT_EQ(takes("198.51.100.1"), net.bound[1][1].vf);
  EXPECT_EQ(takes("198.51.100.129"), net.bound[1][0].vf);
  EXPECT_EQ(takes("2001:db9::1"), net.bound[1][1].vf);
  EXPECT_EQ(takes("2001:db8::1"), net.bound[1][0].vf);
  EXPECT_EQ(takes("2001:db8::9"), net.bound[1][1].vf);
}

// Else a shorter route would carry what the longer one stands for.
TEST(PipelineTest, ARouteWithoutANextHopDropsWhatItCovers) {
  Network net(1, 1);
  const BoundPort& from = net.bound[0][0];
  net.AddRoute("0.0.0.0/0", &net.bound[1][0]);
  net.AddRoute("198.51.100.0/24", NextHop());
  Endpoint& behind_this_host = net.far[1][0].first;
  behind_this_host.vtep = net.vpc.tunnel.local;
  net.AddRoute("203.0.113.0/24", &behind_this_host);
  const auto sent = [&](const char* to) {
    return net.Send(from, from.addresses[0], kGatewayMac, Ip(to)).kind;
  };
  EXPECT_EQ(sent("192.0.2.1"), FlowOutcome::Kind::kSent);
  EXPECT_EQ(sent("198.51.100.1"), FlowOutcome::Kind::kDropped);
  EXPECT_EQ(sent("203.0.113.1"), FlowOutcome::Kind::kDropped);
}

TEST(PipelineTest, NoRouteCarriesAnUnknownAddressOfASubnet) {
  Network net(1, 0);
  net.subnets[1].gateway4.reset();  // routed or not
  const BoundPort& from = net.bound[0][0];
  net.AddRoute("0.0.0.0/0", &net.bound[0][0]);
  net.AddRoute("10.0.0.0/8", &net.bound[0][0]);
  for (const char* to : {"10.0.1.77", "10.1.1.77", "10.1.1.0"}) {
    EXPECT_EQ(net.Send(from, from.addresses[0], kGatewayMac, Ip(to)).kind,
              FlowOutcome::Kind::kDropped)
        << to;
  }
  EXPECT_EQ(net.Send(from, from.addresses[0], kGatewayMac, Ip("10.2.0.1")).kind,
            FlowOutcome::Kind::kSent);
}

TEST(PipelineTest, TheOffloadWishOfAStaticRouteIsThatOfThePortItLeadsTo) {
  Network net(1, 1);
  const Route route{"r", "v", *IpPrefix::Parse("::/0"), {}};
  BoundPort& port = net.bound[0][0];
  for (const OffloadWish wish : {OffloadWish::kOff, OffloadWish::kPrefer, OffloadWish::kMust}) {
    port.offload = wish;
    EXPECT_EQ(CompileRouteRules(net.vpc, route, 9, &port).at(0).offload, wish);
  }
  EXPECT_EQ(CompileRouteRules(net.vpc, route, 9, &net.far[0][0].first).at(0).offload,
            OffloadWish::kPrefer);
  EXPECT_EQ(CompileRouteRules(net.vpc, route, 9, NextHop()).at(0).offload, OffloadWish::kPrefer);
}

TEST(PipelineTest, WhatAPortDoesNotOwnDoesNotLeaveIt) {
  Network net(2, 0);
  const BoundPort& from = net.bound[0][0];
  const BoundPort& to = net.bound[0][1];
  EXPECT_EQ(net.Send(from, from.addresses[0], to.mac, to.addresses[0]).to.vf, to.vf);
  EXPECT_EQ(net.Send(from, Ip("10.0.1.77"), to.mac, to.addresses[0]).kind,
            FlowOutcome::Kind::kDropped);
  EXPECT_EQ(net.Send(from, Ip("fe80::1"), to.mac, to.addresses[1]).kind,
            FlowOutcome::Kind::kDropped);
  BoundPort other_mac = from;
  other_mac.mac = to.mac;
  EXPECT_EQ(net.Send(other_mac, from.addresses[0], to.mac, to.addresses[0]).kind,
            FlowOutcome::Kind::kDropped);
}

TEST(PipelineTest, AnAllowedPairLeavesThePortAndIsLedToNobody) {
  Network net(2, 0);
  BoundPort& from = net.bound[0][0];
  const BoundPort& to = net.bound[0][1];
  from.pairs = {{std::nullopt, *IpPrefix::Parse("10.0.7.0/24")},
                {Mac(0x99), *IpPrefix::Parse("10.0.8.1/32")}};
  EXPECT_EQ(net.Send(from, Ip("10.0.7.3"), to.mac, to.addresses[0]).to.vf, to.vf);
  EXPECT_EQ(net.Send(from, Ip("10.0.8.1"), to.mac, to.addresses[0]).kind,
            FlowOutcome::Kind::kDropped);  // with the port's own MAC
  EXPECT_EQ(net.Send(to, to.addresses[0], Mac(0x99), Ip("10.0.8.1")).kind,
            FlowOutcome::Kind::kDropped);
}

TEST(PipelineTest, EveryRuleKeepsTheShapeThatHardwareAndIsolationAskFor) {
  const std::vector<FlowRule> rules = Network(3, 3).Rules();
  for (const FlowRule& rule : rules) {
    const bool default_drop =
        rule.location.handle == kTableHandle && rule.location.priority == kPrioDefaultDrop;
    if (OutputOf(rule) != nullptr) {
      ASSERT_TRUE(rule.match.dst_mac || rule.match.dst_ip) << rule.ToString();
    }
    if (rule.location.table.kind == RuleTable::Kind::kTunnelIngress && !default_drop) {
      ASSERT_TRUE(rule.match.vni && rule.match.outer_dst && rule.match.outer_udp_port)
          << rule.ToString();
      ASSERT_FALSE(rule.match.in_device) << rule.ToString();
    } else {
      ASSERT_FALSE(rule.match.vni) << rule.ToString();
    }
    ASSERT_LE(rule.actions.size(), 4U) << rule.ToString();
    ASSERT_GT(rule.location.priority, 0);
    ASSERT_GT(rule.location.handle, 0U);
  }
}

TEST(PipelineTest, WhatComesByTheTunnelIsOfAPeerOrIsCountedByItsVpc) {
  Network net(1, 0);
  net.vpc.tunnel.local = Ip("192.0.2.1");
  net.vpc.peers = {*IpPrefix::Parse("192.0.2.0/25"), *IpPrefix::Parse("198.51.100.0/24")};
  const BoundPort& port = net.bound[0][0];
  const auto receive = [&](const std::string& from, Vni vni, const MacAddress& to) {
    FlowPacket packet;
    packet.in = {DeviceRef::Kind::kTunnel, {}, net.vpc.tunnel.ifindex};
    packet.dst_mac = to;
    packet.vni = vni;
    packet.outer_src = Ip(from);
    packet.outer_dst = net.vpc.tunnel.local;
    packet.outer_udp_port = net.vpc.tunnel.udp_port;
    std::vector<FlowRule> rules = net.Rules();
    std::sort(rules.begin(), rules.end(),
              [](const FlowRule& a, const FlowRule& b) { return a.location < b.location; });
    const FlowWalk walk = WalkRules(rules, kTunnelTable, packet);
    EXPECT_THAT(walk.faults, IsEmpty());
    return walk.outcome.kind == FlowOutcome::Kind::kSent
               ? StrCat("to VF ", walk.outcome.to.vf.index)
               : StrCat("dropped at ", walk.hits.back()->location.priority, " of ",
                        walk.hits.back()->location.handle);
  };
  const std::string here = StrCat("to VF ", port.vf.index);
  const std::string counted = StrCat("dropped at ", kPrioUntaken, " of ", net.vpc.ordinal);
  EXPECT_EQ(receive("192.0.2.2", net.vpc.vni, port.mac), here);
  EXPECT_EQ(receive("198.51.100.9", net.vpc.vni, port.mac), here);
  EXPECT_EQ(receive("192.0.2.128", net.vpc.vni, port.mac), counted);
  EXPECT_EQ(receive("192.0.2.2", net.vpc.vni, Mac(0x77)), counted);
  EXPECT_EQ(receive("192.0.2.2", *Vni::Make(7), port.mac),
            StrCat("dropped at ", kPrioDefaultDrop, " of ", kTableHandle));
  net.vpc.peers.clear();
  EXPECT_EQ(receive("203.0.113.5", net.vpc.vni, port.mac), here) << "anyone may";
}

TEST(PipelineTest, EachChainEndsInADropOfItsOwn) {
  const std::vector<FlowRule> rules = Network(1, 1).Rules();
  for (const FlowRule& rule : rules) {
    const bool ends = std::any_of(rules.begin(), rules.end(), [&](const FlowRule& end) {
      return end.location.table == rule.location.table &&
             end.location.chain == rule.location.chain &&
             end.location.priority == kPrioDefaultDrop && end.match.ethertype == kEtherAll &&
             std::holds_alternative<ActionDrop>(end.actions.back());
    });
    EXPECT_TRUE(ends) << rule.ToString();
  }
}

TEST(PipelineTest, TheNumberOfRulesIsTheSumOfPortsAndEndpointsNotTheirProduct) {
  const auto count = [](int ports, int endpoints) {
    return Network(ports, endpoints).Rules().size();
  };
  const size_t base = count(0, 0);
  // Of each of two subnets; a port with an address of each family: 2 deliveries, a proof, and
  // 2 to admit and 2 to route. An endpoint: a delivery, 2 to route.
  EXPECT_EQ(count(10, 0), base + 2 * 10 * 7);
  EXPECT_EQ(count(10, 50), base + 2 * 10 * 7 + 2 * 50 * 3);
}

TEST(PipelineTest, ARuleOfAPortDoesNotChangeWhenAnotherComes) {
  const Network one(1, 0), two(1, 40);
  EXPECT_EQ(CompilePortRules(one.vpc, one.Context(0), one.bound[0][0]),
            CompilePortRules(two.vpc, two.Context(0), two.bound[0][0]));
}

TEST(PipelineTest, ThisHostIsNoVtepOfItsOwn) {
  Network net(1, 1);
  Endpoint& endpoint = net.far[0][0].first;
  endpoint.vtep = net.vpc.tunnel.local;
  EXPECT_THAT(CompileEndpointRules(net.vpc, net.Context(0), endpoint, 99), IsEmpty());
}

TEST(PipelineTest, ThePortsOffloadWishIsThatOfAllItsRules) {
  Network net(1, 0);
  for (const OffloadWish wish : {OffloadWish::kOff, OffloadWish::kPrefer, OffloadWish::kMust}) {
    BoundPort& port = net.bound[0][0];
    port.offload = wish;
    EXPECT_THAT(CompilePortRules(net.vpc, net.Context(0), port),
                Each(Field(&FlowRule::offload, wish)));
  }
}

TEST(PipelineTest, ASubnetThatIsNotRoutedIsReachedByItsOwnAlone) {
  Network net(1, 1);
  net.subnets[1].gateway4.reset();
  const BoundPort& from = net.bound[0][0];
  EXPECT_EQ(net.Send(from, from.addresses[0], kGatewayMac, net.bound[1][0].addresses[0]).kind,
            FlowOutcome::Kind::kDropped);
  EXPECT_EQ(net.Send(from, from.addresses[1], kGatewayMac, net.bound[1][0].addresses[1]).to.vf,
            net.bound[1][0].vf);
}

}  // namespace
}  // namespace fairlead
