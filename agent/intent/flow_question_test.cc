// SPDX-License-Identifier: Apache-2.0
#include "agent/intent/flow_question.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/text.h"
#include "agent/intent/intent_test_util.h"
#include "agent/intent/question_test_util.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

auto Parse(const std::string& fields) {
  return ParseFlowQuestion(RequestFromText("explain_flow { " + fields + " }").explain_flow());
}

FlowQuestion Good(const std::string& fields) { return Taken(Parse(fields)); }
std::string Bad(const std::string& fields) { return Mistakes(Parse(fields)); }

TEST(FlowQuestion, LittleIsNeeded) {
  const FlowQuestion question = Good("port: 'a0' to: '10.0.0.6'");
  EXPECT_EQ(question.port, "a0");
  EXPECT_EQ(question.to->ToString(), "10.0.0.6");
  EXPECT_EQ(question.ttl, 64);
  EXPECT_FALSE(question.protocol || question.src || question.dst_mac || question.vtep);
}

TEST(FlowQuestion, EveryFieldIsTaken) {
  const FlowQuestion question = Good(
      "port: 'a0' to: '2001:db8::6' src: '2001:db8::5' src_mac: '52:54:00:00:00:01' "
      "dst_mac: '52:54:00:00:00:02' protocol: 6 src_port: 0 dst_port: 65535 ttl: 0");
  EXPECT_EQ(question.src->ToString(), "2001:db8::5");
  EXPECT_EQ(question.src_mac->ToString(), "52:54:00:00:00:01");
  EXPECT_EQ(question.dst_mac->ToString(), "52:54:00:00:00:02");
  EXPECT_EQ(question.protocol, kProtocolTcp);
  EXPECT_EQ(question.src_port, 0);
  EXPECT_EQ(question.dst_port, 65535);
  EXPECT_EQ(question.ttl, 0);
  EXPECT_FALSE(question.fragment);
  EXPECT_TRUE(Good("port: 'a0' to: '10.0.0.6' protocol: 17 fragment: true").fragment);
}

TEST(FlowQuestion, APacketByTheTunnelHasVniAndMac) {
  const FlowQuestion question =
      Good("vtep: '192.0.2.2' vni: 16777215 dst_mac: '52:54:00:00:00:02'");
  EXPECT_EQ(question.vtep->ToString(), "192.0.2.2");
  EXPECT_EQ(question.vni->value(), 16777215U);
  EXPECT_EQ(Good("vtep: '192.0.2.2' vni: 5 dst_mac: '52:54:00:00:00:02' vlan: 7").vlan->value(),
            7U);
  EXPECT_TRUE(question.port.empty());
}

TEST(FlowQuestion, ThereIsOneSender) {
  EXPECT_THAT(Bad(""), HasSubstr("explain_flow.port: is missing"));
  EXPECT_THAT(Bad("port: 'a0' vtep: '192.0.2.2' to: '10.0.0.6'"),
              HasSubstr("explain_flow.vtep: excludes port"));
}

TEST(FlowQuestion, APacketByAnUplinkHasAMacAndMaybeAVlan) {
  const FlowQuestion tagged = Good("uplink: 'pf0' vlan: 4094 dst_mac: '52:54:00:00:00:02'");
  EXPECT_EQ(tagged.uplink, "pf0");
  EXPECT_EQ(tagged.vlan, *VlanId::Make(4094));
  EXPECT_EQ(Good("uplink: 'pf0' dst_mac: '52:54:00:00:00:02'").vlan, std::nullopt);
  EXPECT_THAT(Bad("uplink: 'pf0' vlan: 4095 dst_mac: '52:54:00:00:00:02'"),
              HasSubstr("explain_flow.vlan: "));
  EXPECT_THAT(Bad("uplink: 'pf0' vlan: 5"), HasSubstr("explain_flow.dst_mac: is missing"));
  EXPECT_THAT(Bad("uplink: 'pf0' dst_mac: '52:54:00:00:00:02' to: '10.0.0.6'"),
              HasSubstr("explain_flow.to: makes no difference by the uplink"));
  EXPECT_THAT(Bad("uplink: 'a-name-that-no-netdev-has' dst_mac: '52:54:00:00:00:02'"),
              HasSubstr("explain_flow.uplink: "));
  EXPECT_THAT(Bad("port: 'a0' uplink: 'pf0' to: '10.0.0.6'"),
              HasSubstr("explain_flow.uplink: excludes port"));
}

TEST(FlowQuestion, EachBadFieldIsNamed) {
  const std::string port = "port: 'a0' to: '10.0.0.6' ";
  EXPECT_THAT(Bad("port: 'a 0' to: '10.0.0.6'"), HasSubstr("explain_flow.port: "));
  EXPECT_THAT(Bad("port: 'a0'"), HasSubstr("explain_flow.to: is missing"));
  EXPECT_THAT(Bad("port: 'a0' to: '10.0.0.256'"),
              HasSubstr("explain_flow.to: '10.0.0.256' is not an IPv4 or IPv6 address"));
  EXPECT_THAT(Bad(port + "src: '10.0.0.5/24'"), HasSubstr("explain_flow.src: "));
  EXPECT_THAT(Bad(port + "src_mac: 'x'"), HasSubstr("explain_flow.src_mac: 'x' is not a MAC"));
  EXPECT_THAT(Bad(port + "dst_mac: 'x'"), HasSubstr("explain_flow.dst_mac: 'x' is not a MAC"));
  EXPECT_THAT(Bad(port + "protocol: 256"),
              HasSubstr("explain_flow.protocol: 256 is out of range: 0 to 255"));
  EXPECT_THAT(Bad(port + "ttl: 256"), HasSubstr("explain_flow.ttl: 256 is out of range"));
  EXPECT_THAT(Bad(port + "protocol: 17 dst_port: 65536"),
              HasSubstr("explain_flow.dst_port: 65536 is out of range: 0 to 65535"));
  EXPECT_THAT(Bad(port + "protocol: 17 src_port: 65536"), HasSubstr("explain_flow.src_port: "));
  EXPECT_THAT(Bad(port + "vni: 5"), HasSubstr("explain_flow.vni: is of a packet by the tunnel"));
}

TEST(FlowQuestion, PortsNeedAProtocolThatHasThem) {
  const std::string port = "port: 'a0' to: '10.0.0.6' ";
  EXPECT_THAT(Bad(port + "dst_port: 80"),
              HasSubstr("explain_flow.dst_port: is of TCP (6) and UDP (17) alone, not of the echo "
                        "request that is asked about by default"));
  EXPECT_THAT(Bad(port + "protocol: 1 src_port: 80"), HasSubstr("alone, not of protocol 1"));
  EXPECT_THAT(Bad(port + "protocol: 6"), IsEmpty());
  EXPECT_THAT(Bad(port + "protocol: 17 fragment: true dst_port: 67"),
              HasSubstr("explain_flow.dst_port: no rule is told a port of a fragment"));
}

TEST(FlowQuestion, AQuestionForAMacIsNothingElse) {
  const std::string port = "port: 'a0' to: '10.0.0.6' neighbour: true ";
  const FlowQuestion question = Good(port + "arp_mac: '52:54:00:00:00:02' vlan: 5");
  EXPECT_TRUE(question.neighbour);
  EXPECT_EQ(question.arp_mac->ToString(), "52:54:00:00:00:02");
  EXPECT_EQ(question.vlan->value(), 5U);
  const std::string bad =
      Bad(port + "protocol: 6 src_port: 1 dst_port: 2 ttl: 3 fragment: true icmp_type: 8");
  for (const char* field : {"protocol", "src_port", "dst_port", "ttl", "fragment", "icmp_type"}) {
    EXPECT_THAT(bad, HasSubstr(StrCat("explain_flow.", field, ": is not of a question for a MAC")));
  }
  EXPECT_THAT(Bad("port: 'a0' to: 'fd00::6' neighbour: true arp_mac: '52:54:00:00:00:02'"),
              HasSubstr("explain_flow.arp_mac: is of ARP alone"));
  EXPECT_THAT(Bad("port: 'a0' to: '10.0.0.6' arp_mac: '52:54:00:00:00:02'"),
              HasSubstr("explain_flow.arp_mac: is of ARP alone"));
  EXPECT_THAT(Bad("port: 'a0' to: '10.0.0.6' vlan: 4095"),
              HasSubstr("explain_flow.vlan: VLAN 4095"));
}

TEST(FlowQuestion, ATypeIsOfIcmpAlone) {
  EXPECT_EQ(Good("port: 'a0' to: '10.0.0.6' icmp_type: 13").icmp_type, 13);
  EXPECT_EQ(Good("port: 'a0' to: 'fd00::6' protocol: 58 icmp_type: 134").icmp_type, 134);
  EXPECT_EQ(Good("port: 'a0' to: 'ff02::2' icmp_type: 133").ttl, 255) << "as a guest's stack does";
  EXPECT_EQ(Good("port: 'a0' to: 'ff02::2' icmp_type: 133 ttl: 64").ttl, 64);
  EXPECT_EQ(Good("port: 'a0' to: 'fd00::6' icmp_type: 128").ttl, 64);
  EXPECT_THAT(Bad("port: 'a0' to: '10.0.0.6' icmp_type: 256"), HasSubstr("256 is out of range"));
  EXPECT_THAT(Bad("port: 'a0' to: '10.0.0.6' protocol: 6 icmp_type: 8"),
              HasSubstr("explain_flow.icmp_type: is of ICMP (1) alone, not of protocol 6"));
  EXPECT_THAT(Bad("port: 'a0' to: 'fd00::6' icmp_type: 135"), HasSubstr("set neighbour"));
  EXPECT_THAT(Bad("port: 'a0' to: '10.0.0.6' icmp_type: 8 fragment: true"),
              HasSubstr("explain_flow.icmp_type: no rule is told the type of a fragment"));
}

TEST(FlowQuestion, WhatNoRuleOfTheTunnelAsksForIsRefusedByName) {
  const std::string bad =
      Bad("vtep: '192.0.2.2' vni: 5 dst_mac: '52:54:00:00:00:02' to: '10.0.0.6' src: '10.0.0.5' "
          "src_mac: '52:54:00:00:00:01' protocol: 6 src_port: 1 dst_port: 2 ttl: 3 fragment: true");
  for (const char* field :
       {"to", "src", "src_mac", "protocol", "src_port", "dst_port", "ttl", "fragment"}) {
    EXPECT_THAT(bad, HasSubstr("explain_flow." + std::string(field) + ": makes no difference"));
  }
  EXPECT_THAT(Bad("vtep: 'x'"), HasSubstr("explain_flow.vtep: 'x' is not an IPv4"));
  EXPECT_THAT(Bad("vtep: '192.0.2.2'"), HasSubstr("explain_flow.vni: is missing"));
  EXPECT_THAT(Bad("vtep: '192.0.2.2' vni: 0"),
              HasSubstr("explain_flow.vni: VNI 0 is out of range"));
  EXPECT_THAT(Bad("vtep: '0.0.0.0'"), HasSubstr("explain_flow.vtep: is the unspecified address"));
  EXPECT_THAT(Bad("vtep: '239.1.1.1'"), HasSubstr("explain_flow.vtep: is a multicast address"));
  EXPECT_THAT(Bad("vtep: '192.0.2.2'"), HasSubstr("explain_flow.dst_mac: is missing"));
}

TEST(FlowQuestion, TheAnswerHasWhatIsKnownAndNothingElse) {
  FlowExplanation explanation;
  explanation.from = "port/a0";
  explanation.verdict = explanation.compiled = {FlowVerdict::Kind::kDropped, "", {}, {}, "why"};
  v1::FlowExplanation same;
  ToProto(explanation, &same);
  EXPECT_EQ(same.verdict().kind(), "dropped");
  EXPECT_FALSE(same.has_compiled() || same.has_lookup() || same.has_out() || same.has_header());
  EXPECT_FALSE(same.packet().has_protocol());

  FlowStep step;
  step.location = {{RuleTable::Kind::kVpcBlock, *Vni::Make(1000)}, 2, 1000, 7};
  step.standing = RuleStanding::kOtherContent;
  explanation.steps = {step};
  explanation.compiled = {FlowVerdict::Kind::kEncapsulated, "", *IpAddress::Parse("192.0.2.2"),
                          *Vni::Make(1000), ""};
  explanation.header =
      ActionEncap{*Vni::Make(1000), *IpAddress::Parse("192.0.2.1"), *IpAddress::Parse("192.0.2.2")};
  explanation.path = FlowPath::kPartly;
  v1::FlowExplanation out;
  ToProto(explanation, &out);
  EXPECT_EQ(out.steps(0).location(), "block-1000/2/1000/7");
  EXPECT_EQ(out.steps(0).table(), "block-1000");
  EXPECT_EQ(out.steps(0).chain(), 2U);
  EXPECT_EQ(out.steps(0).state(), "another content");
  EXPECT_EQ(out.compiled().kind(), "encapsulated");
  EXPECT_EQ(out.compiled().vtep(), "192.0.2.2");
  EXPECT_EQ(out.header().udp_port(), 4789U);
  EXPECT_EQ(out.path(), "hardware in part");
}

}  // namespace
}  // namespace fairlead
