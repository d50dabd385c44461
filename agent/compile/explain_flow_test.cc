// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/text.h"
#include "agent/compile/explain_fixture.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Kind = FlowVerdict::Kind;

// VPC "red" with routed subnets red-1 and red-2, and red-3, which is not; "blue" with the same
// addresses. Ports a and b are in red-1, c in red-2, e in red-3, x in blue; d is not attached.
class ExplainFlowTest : public ExplainFixture {
 protected:
  ExplainFlowTest() {
    Put(Vpc{"red", *Vni::Make(1000)}, 1);
    Put(Vpc{"blue", *Vni::Make(2000)}, 2);
    Put(Vpc{"lan", {}, *VlanId::Make(100)}, 3);
    PutSubnet("red-1", "red", "10.0.0", 11, true, "fd00:0:0:1");
    PutSubnet("red-2", "red", "10.0.1", 12, true, "fd00:0:0:2");
    PutSubnet("red-3", "red", "10.0.3", 13, false);
    PutSubnet("blue-1", "blue", "10.0.0", 14, true);
    PutSubnet("lan-1", "lan", "10.0.0", 15, false);
    PutPort("a", "red-1", {"10.0.0.5", "fd00:0:0:1::5"}, 21);
    PutPort("b", "red-1", {"10.0.0.6", "fd00:0:0:1::6"}, 22);
    PutPort("c", "red-2", {"10.0.1.5", "fd00:0:0:2::5"}, 23);
    PutPort("d", "red-1", {"10.0.0.7"}, 24, /*attached=*/false);
    PutPort("e", "red-3", {"10.0.3.5"}, 25);
    PutPort("n", "red-1", {}, 26);
    PutPort("x", "blue-1", {"10.0.0.6"}, 27);
    PutPort("l", "lan-1", {"10.0.0.5"}, 28, /*attached=*/false);
    PutEndpoint("near", "red-1", {"10.0.0.20"}, 31);
    PutEndpoint("far", "red-2", {"10.0.1.20", "fd00:0:0:2::20"}, 32);
    states_[{ObjectKind::kPort, "d"}] = "pending: no free VF";
  }

  void PutSubnet(const std::string& id, const std::string& vpc, const std::string& net,
                 uint32_t ordinal, bool routed, const std::string& net6 = "") {
    Subnet subnet{id, vpc, *IpPrefix::Parse(net + ".0/24"), {}};
    if (routed) subnet.gateway4 = Ip(net + ".1");
    if (!net6.empty()) {
      subnet.prefix6 = *IpPrefix::Parse(net6 + "::/64");
      subnet.gateway6 = Ip(net6 + "::1");
    }
    Put(subnet, ordinal);
  }
  static std::vector<IpAddress> Ips(const std::vector<std::string>& texts) {
    std::vector<IpAddress> out;
    for (const std::string& text : texts) out.push_back(Ip(text));
    return out;
  }
  void PutPort(const std::string& id, const std::string& subnet,
               const std::vector<std::string>& addresses, uint8_t ordinal, bool attached = true) {
    Port port;
    port.id = id;
    port.subnet = subnet;
    port.vpc = world_.FindSubnet(subnet)->vpc;
    port.mac = Mac(ordinal);
    port.addresses = Ips(addresses);
    Put(port, ordinal);
    if (!attached) return;
    BoundPort& bound = bound_[id];
    bound.port = id;
    bound.ordinal = ordinal;
    bound.vpc = port.vpc;
    bound.subnet = subnet;
    bound.vf = {Mac(0xff), ordinal};
    bound.representor_ifindex = 100U + ordinal;
    bound.mac = *port.mac;
    bound.addresses = port.addresses;
  }
  void PutEndpoint(const std::string& id, const std::string& subnet,
                   const std::vector<std::string>& addresses, uint8_t ordinal) {
    Put(Endpoint{id, world_.FindSubnet(subnet)->vpc, subnet, Mac(ordinal), Ips(addresses),
                 Ip("192.0.2.2")},
        ordinal);
  }

  void PutRoute(const std::string& id, const std::string& prefix, const std::string& next_hop,
                uint32_t ordinal) {
    Put(Route{id, "red", *IpPrefix::Parse(prefix), Ip(next_hop)}, ordinal);
  }
  NextHop NextHopOf(const Route& route) const {
    const std::optional<ObjectRef> owner = world_.OwnerOfAddress(route.vpc, route.next_hop);
    if (owner && owner->kind == ObjectKind::kEndpoint) return world_.FindEndpoint(owner->id);
    if (owner && bound_.contains(owner->id)) return &bound_.at(owner->id);
    return {};
  }

  // As the engine would have it, and a kernel that has all of it in hardware.
  void Compile() {
    compiled_ = {DefaultDropRule(kTunnel)};
    for (const char* id : {"red", "blue"}) {
      const StoredObject& vpc = *world_.Find({ObjectKind::kVpc, id});
      const VpcContext context{*world_.FindVpc(id)->vni, vpc.ordinal, tunnel_,
                               tunnel_config_.peers};
      compiled_.push_back(DefaultDropRule({RuleTable::Kind::kVpcBlock, context.vni}));
      AddCompiled(CompileVpcRules(context));
      for (const std::string& name : world_.SubnetsOfVpc(id)) {
        const Subnet& subnet = *world_.FindSubnet(name);
        const SubnetContext of =
            ContextOf(subnet, world_.Find({ObjectKind::kSubnet, name})->ordinal);
        AddCompiled(CompileSubnetRules(context, subnet, of.ordinal));
        for (const auto& [port, bound] : bound_) {
          if (bound.subnet == name) AddCompiled(CompilePortRules(context, of, bound));
        }
        for (const StoredObject* stored : world_.EndpointsOfSubnet(name)) {
          AddCompiled(CompileEndpointRules(context, of, std::get<Endpoint>(stored->object),
                                           stored->ordinal));
        }
      }
      for (const StoredObject* stored : world_.RoutesOfVpc(id)) {
        const auto& route = std::get<Route>(stored->object);
        AddCompiled(CompileRouteRules(context, route, stored->ordinal, NextHopOf(route)));
      }
    }
    Stand();
  }
  FlowHost Host() override {
    FlowHost host = ExplainFixture::Host();
    host.tunnel = &tunnel_;
    host.tunnel_config = &tunnel_config_;
    return host;
  }
  FlowExplanation Explain(const FlowQuestion& question) {
    if (seen_.empty()) Compile();
    ObservedResource hop;
    hop.neighbour = next_hop_;
    hop.neighbour_detail = "192.0.2.2 FAILED";
    return ExplainWith(question, &hop);
  }
  FlowExplanation Explain(const std::string& port, const std::string& to) {
    return Explain(From(port, to));
  }
  static std::vector<std::string> Stages(const FlowExplanation& flow) {
    std::vector<std::string> out;
    for (const FlowStep& step : flow.steps) out.push_back(step.stage);
    return out;
  }

  const RuleTable kTunnel{RuleTable::Kind::kTunnelIngress, {}};
  const RuleTable kRed{RuleTable::Kind::kVpcBlock, *Vni::Make(1000)};
  TunnelConfig tunnel_config_;
  TunnelFacts tunnel_{"fl-vxlan0", 7, Ip("192.0.2.1"), 4789, 1450};
  NeighbourState next_hop_ = NeighbourState::kResolved;
};

TEST_F(ExplainFlowTest, ToAPortOfTheSameSubnet) {
  for (const char* to : {"10.0.0.6", "fd00:0:0:1::6"}) {
    const FlowExplanation flow = Explain("a", to);
    EXPECT_EQ(flow.verdict.kind, Kind::kDelivered) << flow.verdict.why;
    EXPECT_EQ(flow.verdict.port, "b");
    EXPECT_EQ(flow.verdict, flow.compiled);
    ASSERT_TRUE(flow.lookup);
    EXPECT_THAT(flow.lookup->question, HasSubstr(StrCat("who has ", to, "?")));
    EXPECT_EQ(flow.lookup->mac, Mac(22));
    EXPECT_EQ(flow.lookup->why, "port/b");
    EXPECT_THAT(Stages(flow), ElementsAre("admit", "subnet red-1"));
    EXPECT_EQ(flow.steps[0].does, "on to subnet red-1");
    EXPECT_EQ(flow.steps[1].does, "out of the representor of port/b");
    EXPECT_EQ(flow.steps[1].standing, RuleStanding::kHardware);
    EXPECT_EQ(flow.steps[1].in_hw_count, 9U);
    EXPECT_TRUE(flow.steps[1].reached);
    EXPECT_EQ(flow.path, FlowPath::kHardware) << flow.path_why;
    EXPECT_EQ(flow.out->ttl, 64);
    EXPECT_THAT(flow.disagreements, IsEmpty());
    EXPECT_THAT(flow.notes, IsEmpty());
  }
}

TEST_F(ExplainFlowTest, ToAPortOfAnotherSubnet) {
  for (const char* to : {"10.0.1.5", "fd00:0:0:2::5"}) {
    const FlowExplanation flow = Explain("a", to);
    EXPECT_EQ(flow.verdict.port, "c") << flow.verdict.why;
    EXPECT_EQ(flow.lookup->mac, kGatewayMac);
    EXPECT_THAT(Stages(flow), ElementsAre("admit", "subnet red-1", "routes of VPC red"));
    EXPECT_EQ(flow.steps[1].does, "on to routes of VPC red");
    EXPECT_EQ(flow.out->src_mac, kGatewayMac);
    EXPECT_EQ(flow.out->dst_mac, Mac(23));
    EXPECT_EQ(flow.out->ttl, 63);
  }
}

TEST_F(ExplainFlowTest, ToAnotherHost) {
  const FlowExplanation same = Explain("a", "10.0.0.20");
  EXPECT_EQ(same.verdict.kind, Kind::kEncapsulated);
  EXPECT_EQ(same.verdict.vtep, Ip("192.0.2.2"));
  EXPECT_EQ(same.verdict.vni, *Vni::Make(1000));
  EXPECT_EQ(same.header->local, tunnel_.local);
  EXPECT_EQ(same.lookup->why, "endpoint/near");
  EXPECT_EQ(same.path, FlowPath::kHardware);
  const FlowExplanation other = Explain("a", "10.0.1.20");
  EXPECT_EQ(other.verdict, same.verdict);
  EXPECT_EQ(other.out->dst_mac, Mac(32));
  EXPECT_EQ(other.out->ttl, 63);
}

TEST_F(ExplainFlowTest, ANextHopThatIsNotResolvedMakesItTheSlowPath) {
  for (const NeighbourState state :
       {NeighbourState::kUnresolved, NeighbourState::kNoRoute, NeighbourState::kUnknown}) {
    next_hop_ = state;
    const FlowExplanation flow = Explain("a", "10.0.0.20");
    EXPECT_EQ(flow.verdict.kind, Kind::kEncapsulated);
    EXPECT_EQ(flow.path, FlowPath::kSlowPath);
    EXPECT_EQ(flow.path_why, "the next hop to 192.0.2.2 is not resolved: 192.0.2.2 FAILED");
  }
}

TEST_F(ExplainFlowTest, WhatAPortDoesNotOwnIsDroppedAtOnce) {
  FlowQuestion question = From("a", "10.0.0.6");
  question.src = Ip("10.0.0.66");
  FlowExplanation flow = Explain(question);
  EXPECT_EQ(flow.verdict.kind, Kind::kDropped);
  EXPECT_EQ(flow.verdict.why,
            "the source address 10.0.0.66 is not the port's, nor in its allowed pairs");
  EXPECT_THAT(Stages(flow), ElementsAre("admit"));
  question = From("a", "10.0.0.6");
  question.src_mac = Mac(77);
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("the source MAC 52:54:00:00:00:4d is not"));
}

// dataplane/slowpath/arp_nd_test.cc holds the slow path to the same.
TEST_F(ExplainFlowTest, AQuestionForAMacIsForTheSlowPathWhichAnswersWhatItKnows) {
  struct Cell {
    const char *to, *mac, *why;
  };
  const std::string gateway = kGatewayMac.ToString();
  for (const auto& [to, mac, why] :
       {Cell{"10.0.0.6", "52:54:00:00:00:16", "port/b"},
        {"fd00:0:0:1::6", "52:54:00:00:00:16", "port/b"},
        {"10.0.0.20", "52:54:00:00:00:1f", "endpoint/near"},
        {"10.0.0.1", gateway.c_str(), "the gateway of subnet red-1"},
        {"10.0.0.77", "", "no port or endpoint of VPC red has 10.0.0.77"},
        {"10.0.1.5", "", "10.0.1.5 is not in 10.0.0.0/24 of subnet red-1"},
        {"10.0.0.5", "", "it is the port's own"}}) {
    FlowQuestion question = From("a", to);
    question.neighbour = true;
    const FlowExplanation flow = Explain(question);
    EXPECT_EQ(flow.verdict.kind, Kind::kSlowPath) << to << flow.verdict.why;
    EXPECT_THAT(Stages(flow), ElementsAre("admit")) << to;
    EXPECT_EQ(flow.path, FlowPath::kSlowPath) << to;
    ASSERT_TRUE(flow.lookup) << to;
    EXPECT_EQ(flow.lookup->mac ? flow.lookup->mac->ToString() : "", mac) << to;
    EXPECT_EQ(flow.lookup->why, why);
    EXPECT_EQ(flow.verdict.why, *mac == '\0' ? StrCat("the slow path answers nothing: ", why)
                                             : StrCat("the slow path answers: ", mac));
  }
}

TEST_F(ExplainFlowTest, AQuestionInAnothersNameIsAnsweredNothing) {
  FlowQuestion question = From("a", "10.0.0.20");
  question.neighbour = true;
  question.src = Ip("10.0.0.6");
  EXPECT_THAT(Explain(question).verdict.why,
              HasSubstr("answers nothing: the source address 10.0.0.6 is not the port's"));
  question.src.reset();
  question.arp_mac = Mac(22);
  EXPECT_THAT(Explain(question).verdict.why,
              HasSubstr("the sender's MAC in the ARP, 52:54:00:00:00:16, is not the frame's"));
  question.arp_mac.reset();
  question.src = Ip("0.0.0.0");
  EXPECT_TRUE(Explain(question).lookup->mac) << "a probe names no sender";
  question.arp_mac = Mac(22);
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("is not the frame's")) << "but its MAC";
  question.arp_mac.reset();
  question.src_mac = Mac(22);
  EXPECT_FALSE(Explain(question).lookup->mac);
  question = From("a", "10.0.0.20");
  question.neighbour = true;
  question.vlan = *VlanId::Make(5);
  EXPECT_FALSE(Explain(question).lookup->mac) << "nobody is asked by a frame with a tag";
  question = From("a", "fd00:0:0:1::6");
  question.neighbour = true;
  question.src = Ip("fd00:0:0:1::7");
  EXPECT_FALSE(Explain(question).lookup->mac);
  question.src = Ip("fe80::1");
  EXPECT_TRUE(Explain(question).lookup->mac);
}

TEST_F(ExplainFlowTest, WhatAGuestSaysOfRoutersAndWhatItTagsIsDroppedAndSaidWhy) {
  FlowQuestion question = From("a", "fd00:0:0:1::6");
  question.icmp_type = 134;
  EXPECT_EQ(Explain(question).verdict.kind, Kind::kDropped);
  EXPECT_EQ(Explain(question).verdict.why,
            "what a guest says of routers and neighbours reaches nobody");
  question.icmp_type = 133;
  question.ttl = 255;
  EXPECT_EQ(Explain(question).verdict.kind, Kind::kSlowPath);
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("answers with a router advertisement"));
  question.src = Ip("fe80::5");
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("answers with a router advertisement"));
  question.src = Ip("fd00:0:0:1::9");
  EXPECT_THAT(Explain(question).verdict.why,
              HasSubstr("answers nothing: the source address fd00:0:0:1::9 is not the port's"));
  question.src.reset();
  question.ttl = 64;
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("its hop limit is 64 and not 255"));
  question = From("a", "10.0.0.6");
  question.vlan = *VlanId::Make(5);
  EXPECT_EQ(Explain(question).verdict.kind, Kind::kDropped);
  EXPECT_THAT(Explain(question).verdict.why,
              HasSubstr("no frame of an overlay or of a guest has a tag"));
  question = From("a", "10.0.0.1");
  question.icmp_type = 13;
  EXPECT_EQ(Explain(question).verdict.why, "the gateway answers pings and nothing else");
}

TEST_F(ExplainFlowTest, AnAllowedPairLeavesThePortWithItsOwnMacAlone) {
  bound_["a"].pairs = {{Mac(77), *IpPrefix::Parse("10.0.0.64/26")}};
  FlowQuestion question = From("a", "10.0.0.6");
  question.src = Ip("10.0.0.66");
  EXPECT_EQ(Explain(question).verdict.why,
            "the port may not send from 10.0.0.66 with the MAC 52:54:00:00:00:15");
  question.src_mac = Mac(77);
  EXPECT_EQ(Explain(question).verdict.port, "b");
}

TEST_F(ExplainFlowTest, AGuestThatGetsNoAnswerSendsNothing) {
  FlowExplanation flow = Explain("a", "10.0.0.9");
  EXPECT_EQ(flow.verdict.kind, Kind::kNotSent);
  EXPECT_EQ(flow.verdict.why,
            "no port or endpoint of VPC red has 10.0.0.9, so nobody answers the guest");
  EXPECT_EQ(flow.path, FlowPath::kNone);
  EXPECT_THAT(flow.steps, IsEmpty());
  EXPECT_THAT(Explain("a", "10.0.0.7").verdict.why,
              HasSubstr("port/d is not attached here (pending: no free VF), so nobody"));
  EXPECT_THAT(Explain("a", "10.0.0.5").verdict.why, HasSubstr("the port's own address"));
  flow = Explain("e", "10.0.1.5");
  EXPECT_EQ(flow.verdict.why,
            "10.0.1.5 is not in 10.0.3.0/24 of subnet red-3, which has no IPv4 gateway");
  EXPECT_FALSE(flow.lookup);
}

TEST_F(ExplainFlowTest, AGuestThatSendsAllTheSameIsDropped) {
  FlowQuestion question = From("a", "10.0.0.9");
  question.dst_mac = Mac(99);
  EXPECT_EQ(Explain(question).verdict.kind, Kind::kDropped);
  EXPECT_EQ(Explain(question).verdict.why,
            "no port or endpoint of VPC red has the MAC 52:54:00:00:00:63");
  question.dst_mac = Mac(24);
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("port/d is not attached here (pending"));
  question.dst_mac = Mac(23);
  EXPECT_THAT(
      Explain(question).verdict.why,
      HasSubstr("is that of port/c in subnet red-2, which is reached by the gateway alone"));
  question = From("e", "10.0.1.5");
  question.dst_mac = kGatewayMac;
  EXPECT_EQ(Explain(question).verdict.why, "subnet red-3 has no IPv4 gateway");
}

TEST_F(ExplainFlowTest, AStaticRouteIsNamedWithItsNextHop) {
  PutRoute("out", "0.0.0.0/0", "10.0.1.5", 41);         // port c
  PutRoute("lab", "198.51.100.0/24", "10.0.1.20", 42);  // endpoint far
  FlowExplanation flow = Explain("a", "203.0.113.9");
  EXPECT_EQ(flow.verdict.kind, Kind::kDelivered);
  EXPECT_EQ(flow.verdict.port, "c");
  ASSERT_EQ(flow.steps.size(), 3U);
  EXPECT_EQ(flow.steps[2].stage, "routes of VPC red");
  EXPECT_EQ(flow.steps[2].does,
            "route/out, 0.0.0.0/0 by 10.0.1.5; routed: other MACs, one hop less; out of the "
            "representor of port/c");
  flow = Explain("a", "198.51.100.9");
  EXPECT_EQ(flow.verdict.kind, Kind::kEncapsulated);
  EXPECT_EQ(flow.verdict.vtep, Ip("192.0.2.2"));
  EXPECT_THAT(flow.steps[2].does, HasSubstr("route/lab, 198.51.100.0/24 by 10.0.1.20; routed"));
  // Neither takes what a subnet has, known or not.
  EXPECT_THAT(Explain("a", "10.0.1.20").steps[2].does, Not(HasSubstr("route/")));
  EXPECT_EQ(Explain("a", "10.0.1.77").verdict.why, "no port or endpoint of VPC red has 10.0.1.77");
}

TEST_F(ExplainFlowTest, ARouteThatLeadsNowhereSaysWhy) {
  PutRoute("out", "0.0.0.0/0", "10.0.1.5", 41);
  PutRoute("lab", "198.51.100.0/24", "10.0.0.7", 42);  // port d, which is not attached
  states_[{ObjectKind::kRoute, "lab"}] = "pending: port/d is not attached here";
  const FlowExplanation flow = Explain("a", "198.51.100.9");
  EXPECT_EQ(flow.verdict.kind, Kind::kDropped);
  EXPECT_EQ(flow.verdict.why, "route/lab is pending: port/d is not attached here");
  EXPECT_EQ(flow.steps.back().does, "route/lab, 198.51.100.0/24 by 10.0.0.7; dropped");
  EXPECT_EQ(Explain("a", "203.0.113.9").verdict.port, "c") << "the other one leads on";
}

TEST_F(ExplainFlowTest, ARouteWhoseRuleIsMissingIsNotTakenForAShorterOne) {
  PutRoute("out", "0.0.0.0/0", "10.0.1.5", 41);
  PutRoute("lab", "198.51.100.0/24", "10.0.1.20", 42);
  Compile();
  Remove("block-1000/1/2408/42");
  const FlowExplanation flow = Explain("a", "198.51.100.9");
  EXPECT_EQ(flow.compiled.kind, Kind::kEncapsulated);
  EXPECT_EQ(flow.verdict.port, "c") << "as the rules stand";
  EXPECT_THAT(flow.disagreements, ElementsAre("block-1000/1/2408/42 is missing"));
}

TEST_F(ExplainFlowTest, WhereNoRouteLeadsIsSaid) {
  EXPECT_EQ(Explain("a", "10.0.1.77").verdict.why, "no port or endpoint of VPC red has 10.0.1.77");
  EXPECT_EQ(Explain("a", "198.51.100.1").verdict.why,
            "no subnet of VPC red has 198.51.100.1, and none of its routes leads there");
  EXPECT_EQ(Explain("a", "10.0.3.5").verdict.why,
            "10.0.3.5 is that of port/e in subnet red-3, which has no IPv4 gateway");
  for (const char* to : {"10.0.1.77", "198.51.100.1", "10.0.3.5"}) {
    EXPECT_EQ(Explain("a", to).verdict.kind, Kind::kDropped) << to;
  }
}

TEST_F(ExplainFlowTest, AnEndpointBehindThisHostIsReachedByNobody) {
  Endpoint near = *world_.FindEndpoint("near");
  near.vtep = tunnel_.local;
  Put(near, 31);
  EXPECT_THAT(Explain("a", "10.0.0.20").verdict.why,
              HasSubstr("endpoint/near is said to be behind this host's own VTEP"));
}

TEST_F(ExplainFlowTest, TheSameAddressInAnotherVpcIsAnotherPort) {
  EXPECT_EQ(Explain("a", "10.0.0.6").verdict.port, "b");
  EXPECT_THAT(Explain("x", "10.0.0.5").verdict.why,
              HasSubstr("no port or endpoint of VPC blue has 10.0.0.5"));
}

TEST_F(ExplainFlowTest, WhatTheSlowPathGets) {
  FlowQuestion question = From("a", "10.0.1.5");
  question.ttl = 1;
  FlowExplanation flow = Explain(question);
  EXPECT_EQ(flow.verdict.kind, Kind::kSlowPath);
  EXPECT_THAT(flow.verdict.why, HasSubstr("its TTL of 1 ends at the gateway"));
  EXPECT_EQ(flow.path, FlowPath::kSlowPath);
  question.icmp_type = 3;
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("no error is answered with an error"));
  question.icmp_type = 13;
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("the slow path answers"));
  question.icmp_type.reset();
  question.to = Ip("fd00:0:0:2::5");
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("its hop limit of 1 ends"));
  question.icmp_type = 1;
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("no error is answered with an error"));
  question.icmp_type.reset();
  question.to = Ip("10.0.0.6");
  EXPECT_EQ(Explain(question).verdict.kind, Kind::kDelivered) << "nobody routes in a subnet";

  EXPECT_EQ(Explain("a", "10.0.0.1").verdict.why, "the slow path answers the ping, as the gateway");
  EXPECT_THAT(Explain("a", "10.0.1.1").verdict.why, HasSubstr("a gateway of another subnet"));
  question = From("a", "10.0.0.1");
  question.protocol = kProtocolTcp;
  EXPECT_EQ(Explain(question).verdict.why, "the gateway answers pings and nothing else");
}

TEST_F(ExplainFlowTest, BroadcastsGoToDhcpOrToNobody) {
  FlowQuestion question = From("a", "255.255.255.255");
  EXPECT_EQ(Explain(question).verdict.why, "broadcasts and multicasts go to nobody");
  question.protocol = kProtocolUdp;
  question.dst_port = 67;
  EXPECT_EQ(Explain(question).verdict.kind, Kind::kSlowPath);
  question = From("a", "ff02::1:2");
  question.protocol = kProtocolUdp;
  question.dst_port = 547;
  FlowExplanation flow = Explain(question);
  EXPECT_EQ(flow.verdict.kind, Kind::kSlowPath);
  EXPECT_EQ(flow.packet.dst_mac->ToString(), "33:33:00:01:00:02");
  question = From("a", "10.0.0.255");
  EXPECT_EQ(Explain(question).packet.dst_mac->ToString(), "ff:ff:ff:ff:ff:ff");
  question = From("a", "10.0.0.6");
  question.protocol = kProtocolUdp;
  question.dst_port = 68;
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("no DHCP server"));
}

TEST_F(ExplainFlowTest, AFragmentsPortIsSeenByNoRule) {
  FlowQuestion question = From("a", "10.0.0.6");
  question.protocol = kProtocolUdp;
  question.dst_port = 68;
  EXPECT_EQ(Explain(question).verdict.kind, Kind::kDropped);
  question.fragment = true;
  const FlowExplanation flow = Explain(question);
  EXPECT_EQ(flow.verdict.kind, Kind::kDelivered);
  EXPECT_TRUE(flow.packet.fragment);
  question = From("a", "10.0.1.5");
  question.fragment = true;
  question.ttl = 1;
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("answers the first fragment, as 10.0.0.1"));
  question = From("a", "10.0.0.1");
  question.fragment = true;
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("no ping that comes in fragments"));
}

TEST_F(ExplainFlowTest, ARuleThatIsMissingIsToldWithWhatTakesThePacketInstead) {
  Compile();
  Remove("block-1000/11/1000/22");
  const FlowExplanation flow = Explain("a", "10.0.0.6");
  EXPECT_EQ(flow.verdict.kind, Kind::kDropped);
  EXPECT_THAT(flow.verdict.why, HasSubstr("block-1000/11/1000/22, which would take it, does not"));
  EXPECT_EQ(flow.compiled.kind, Kind::kDelivered);
  EXPECT_EQ(flow.compiled.port, "b");
  EXPECT_THAT(flow.disagreements, ElementsAre("block-1000/11/1000/22 is missing"));
  ASSERT_EQ(flow.steps.size(), 3U);
  EXPECT_TRUE(flow.steps[0].reached);
  EXPECT_EQ(flow.steps[1].standing, RuleStanding::kMissing);
  EXPECT_FALSE(flow.steps[1].reached);
  EXPECT_EQ(flow.steps[2].location.ToString(), "block-1000/11/65000/11");
  EXPECT_TRUE(flow.steps[2].reached);
}

TEST_F(ExplainFlowTest, WhatTheCompiledWayHasBehindAMissingRuleIsToldToo) {
  Compile();
  Remove("block-1000/0/1100/21");
  Remove("block-1000/11/1000/22");
  const FlowExplanation flow = Explain("a", "10.0.0.6");
  EXPECT_THAT(flow.disagreements,
              ElementsAre("block-1000/0/1100/21 is missing", "block-1000/11/1000/22 is missing"));
  EXPECT_THAT(Stages(flow), ElementsAre("admit", "subnet red-1", "admit"));
}

TEST_F(ExplainFlowTest, AChainWithoutItsEndGoesToTheHost) {
  Compile();
  Remove("block-1000/11/1000/22");
  Remove("block-1000/11/65000/11");
  const FlowExplanation flow = Explain("a", "10.0.0.6");
  EXPECT_EQ(flow.verdict.kind, Kind::kToHost);
  EXPECT_THAT(flow.verdict.why, HasSubstr("chain 11 of block-1000 has no end"));
  EXPECT_EQ(flow.path, FlowPath::kNone);
}

TEST_F(ExplainFlowTest, AnotherContentMayTakeAnything) {
  Compile();
  At("block-1000/11/1000/22").content_hash ^= 1;
  const FlowExplanation flow = Explain("a", "10.0.0.6");
  EXPECT_EQ(flow.verdict.kind, Kind::kUnknown);
  EXPECT_EQ(flow.compiled.kind, Kind::kDelivered);
  EXPECT_THAT(flow.disagreements,
              ElementsAre("block-1000/11/1000/22 has another content than was compiled"));
  EXPECT_EQ(flow.steps[1].standing, RuleStanding::kOtherContent);
  EXPECT_FALSE(flow.out);
  EXPECT_EQ(Explain("a", "10.0.1.5").verdict.kind, Kind::kUnknown)
      << "what it matches is not known, and it is asked before the gateway's";
}

TEST_F(ExplainFlowTest, SomebodyElsesRuleMayTakeWhatItIsAskedForFirst) {
  Compile();
  PutForeign({kRed, 0, 1, 1});
  FlowExplanation flow = Explain("a", "10.0.0.6");
  EXPECT_EQ(flow.verdict.kind, Kind::kUnknown);
  EXPECT_EQ(
      flow.verdict.why,
      "block-1000/0/1/1 is somebody else's, a matchall rule that this agent did not make, and "
      "may take the packet first");
  EXPECT_FALSE(flow.steps[0].reached);
  EXPECT_EQ(flow.compiled.port, "b");

  Compile();
  PutForeign({kRed, 0, 1, 1}, kEtherIpv6);
  PutForeign({kRed, 0, 2000, 1});
  flow = Explain("a", "10.0.0.6");
  EXPECT_EQ(flow.verdict.kind, Kind::kDelivered) << "of another protocol, or asked later";
  EXPECT_THAT(flow.disagreements, IsEmpty());

  Compile();
  At("block-1000/11/1000/22").ours = false;
  flow = Explain("a", "10.0.0.6");
  EXPECT_EQ(flow.steps[1].standing, RuleStanding::kForeign);
  EXPECT_EQ(flow.verdict.kind, Kind::kUnknown);
}

TEST_F(ExplainFlowTest, AnOwnRuleThatNobodyWantsIsTold) {
  Compile();
  FlowRule old = compiled_.front();
  old.location = {kRed, 0, 1150, 90};
  old.match = {};
  PutInKernel(old);
  EXPECT_THAT(Explain("a", "10.0.0.6").disagreements, IsEmpty()) << "it is asked later";
  old.location.priority = 1;
  PutInKernel(old);
  EXPECT_THAT(Explain("a", "10.0.0.6").disagreements,
              ElementsAre("block-1000/0/1/90 is wanted by nobody any more"));
}

TEST_F(ExplainFlowTest, ManyStrangersAreCounted) {
  Compile();
  for (uint32_t i = 1; i <= 20; ++i) PutForeign({kRed, 0, 1, i});
  const FlowExplanation flow = Explain("a", "10.0.0.6");
  ASSERT_EQ(flow.disagreements.size(), 17U);
  EXPECT_EQ(flow.disagreements.back(), "and 4 more rules on its way");
}

TEST_F(ExplainFlowTest, SoftwareAnywhereIsSoftware) {
  Compile();
  At("block-1000/11/1000/22").hardware = RuleHardware::kSoftware;
  const FlowExplanation flow = Explain("a", "10.0.0.6");
  EXPECT_EQ(flow.verdict.kind, Kind::kDelivered);
  EXPECT_EQ(flow.path, FlowPath::kSoftware);
  EXPECT_EQ(flow.path_why, "block-1000/11/1000/22 runs in software");
  EXPECT_THAT(flow.disagreements, IsEmpty());
}

// Of the ports of "red" that are attached, the one that it leads to does not take a delivery.
TEST_F(ExplainFlowTest, FewerDevicesThanItIsOfferedToIsHardwareInPart) {
  Compile();
  At("block-1000/11/1000/22").in_hw_count = 4;
  EXPECT_EQ(Explain("a", "10.0.0.6").path, FlowPath::kHardware);
  At("block-1000/11/1000/22").in_hw_count = 3;
  const FlowExplanation flow = Explain("a", "10.0.0.6");
  EXPECT_EQ(flow.path, FlowPath::kPartly);
  EXPECT_EQ(flow.path_why,
            "block-1000/11/1000/22 is in hardware for 3 of the 4 ports of the VPC here");
}

TEST_F(ExplainFlowTest, WhatKeepsTheGuestFromAskingIsNoted) {
  not_answered_ = "its ARP, ND and DHCP are not answered: nobody there";
  states_[{ObjectKind::kPort, "a"}] = "degraded: " + not_answered_;
  const FlowExplanation flow = Explain("a", "10.0.0.6");
  EXPECT_EQ(flow.verdict.kind, Kind::kDelivered) << "it may know the MAC from before";
  EXPECT_THAT(flow.notes, ElementsAre("port/a is degraded: " + not_answered_));
}

TEST_F(ExplainFlowTest, WhatAilsTheTargetIsNoted) {
  states_[{ObjectKind::kPort, "b"}] = "degraded: its VM is away";
  states_[{ObjectKind::kEndpoint, "near"}] = "degraded: no route";
  EXPECT_THAT(Explain("a", "10.0.0.6").notes, ElementsAre("port/b is degraded: its VM is away"));
  EXPECT_THAT(Explain("a", "10.0.0.20").notes, ElementsAre("endpoint/near is degraded: no route"));
  EXPECT_THAT(Explain("a", "10.0.0.7").notes, IsEmpty()) << "it is the verdict's reason";
}

TEST_F(ExplainFlowTest, APacketByTheTunnel) {
  FlowQuestion question;
  question.vtep = Ip("192.0.2.2");
  question.vni = *Vni::Make(1000);
  question.dst_mac = Mac(21);
  FlowExplanation flow = Explain(question);
  EXPECT_EQ(flow.from, "vtep/192.0.2.2");
  EXPECT_EQ(flow.verdict.port, "a");
  EXPECT_EQ(flow.steps[0].does, "the header is taken off; out of the representor of port/a");
  EXPECT_EQ(flow.path, FlowPath::kHardware);
  question.dst_mac = Mac(99);
  EXPECT_EQ(Explain(question).verdict.why,
            "no port of VPC red has the MAC 52:54:00:00:00:63 on this host");
  question.dst_mac = Mac(24);
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("port/d is not attached here"));
  question.vni = *Vni::Make(5);
  EXPECT_EQ(Explain(question).verdict.why, "no VPC of this host has the VNI 5");
  question.vtep = tunnel_.local;
  EXPECT_THAT(Refused(question).message(), HasSubstr("this host's own"));
  question.vtep = Ip("2001:db8::2");
  EXPECT_THAT(Refused(question).message(), HasSubstr("another address family"));
}

TEST_F(ExplainFlowTest, APacketOfNoPeerIsDroppedWithTheReason) {
  FlowQuestion question;
  question.vni = *Vni::Make(1000);
  question.dst_mac = Mac(21);
  tunnel_config_.peers = {*IpPrefix::Parse("192.0.2.0/25"), *IpPrefix::Parse("198.51.100.0/24")};
  Compile();
  question.vtep = Ip("198.51.100.3");
  EXPECT_EQ(Explain(question).verdict.port, "a");
  question.vtep = Ip("192.0.2.200");
  const FlowExplanation flow = Explain(question);
  EXPECT_EQ(flow.verdict.kind, FlowVerdict::Kind::kDropped);
  EXPECT_EQ(flow.steps.back().location.priority, kPrioUntaken);
  EXPECT_EQ(flow.verdict.why,
            "the VTEP 192.0.2.200 is none of the hosts that may send by the tunnel (tunnel.peers: "
            "192.0.2.0/25, 198.51.100.0/24)");
}

TEST_F(ExplainFlowTest, WhatCannotBeAskedIsRefusedInWords) {
  EXPECT_TRUE(absl::IsNotFound(Refused(From("zz", "10.0.0.6"))));
  EXPECT_TRUE(absl::IsFailedPrecondition(Refused(From("d", "10.0.0.6"))));
  EXPECT_THAT(Refused(From("d", "10.0.0.6")).message(),
              HasSubstr("port/d is not attached here (pending: no free VF)"));
  EXPECT_THAT(Refused(From("l", "10.0.0.6")).message(), HasSubstr("port/l is in VLAN 100"));
  EXPECT_EQ(Refused(From("e", "fd00::1")).message(),
            "fd00::1 is IPv6, and subnet red-3 of port/e has no such prefix");
  EXPECT_THAT(Refused(From("n", "10.0.0.6")).message(), HasSubstr("has no IPv4 address"));
  EXPECT_THAT(Refused(From("a", "0.0.0.0")).message(), HasSubstr("no address to send to"));
  EXPECT_THAT(Refused(From("a", "::1")).message(), HasSubstr("no address to send to"));
  EXPECT_TRUE(absl::IsUnimplemented(Refused(From("a", "fe80::1"))));
  FlowQuestion question = From("a", "10.0.0.6");
  question.src = Ip("fd00:0:0:1::5");
  EXPECT_THAT(Refused(question).message(), HasSubstr("the source fd00:0:0:1::5 is IPv6"));
}

TEST_F(ExplainFlowTest, APortWithoutAddressesMayBeAskedAboutBySource) {
  FlowQuestion question = From("n", "10.0.0.6");
  question.src = Ip("10.0.0.50");
  EXPECT_THAT(Explain(question).verdict.why, HasSubstr("the source address 10.0.0.50 is not"));
}

}  // namespace
}  // namespace fairlead
