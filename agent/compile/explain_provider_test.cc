// SPDX-License-Identifier: Apache-2.0
//
// What is said of packets in provider networks, by rules on an uplink.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/test_types.h"
#include "agent/base/text.h"
#include "agent/compile/explain_fixture.h"
#include "dataplane/pipeline/provider.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Kind = FlowVerdict::Kind;

const NicId kPf = Mac(0xf0), kOtherPf = Mac(0xf1);

// VPC "lan" on VLAN 100 with ports a and b on one PF and c on another, VPC "plain" untagged with
// port p on the first; d in "lan" is attached nowhere.
class ExplainProvider : public ExplainFixture {
 protected:
  ExplainProvider() {
    for (const NicId& id : {kPf, kOtherPf}) {
      PfFacts& pf = pfs_[id];
      pf.id = id;
      pf.netdev = id == kPf ? "pf0" : "pf1";
      pf.ifindex = id == kPf ? 10 : 11;
      pf.eswitch.mode = EswitchMode::kSwitchdev;
    }
    Put(Vpc{"lan", {}, *VlanId::Make(100)}, 2);
    Put(Vpc{"plain", {}, {}, true}, 3);
    for (const char* vpc : {"lan", "plain"}) {
      Put(Subnet{StrCat(vpc, "-1"), vpc, *IpPrefix::Parse("10.0.0.0/24"), {}}, next_++);
    }
    PutPort("a", "lan", 1, kPf);
    PutPort("b", "lan", 2, kPf);
    PutPort("c", "lan", 3, kOtherPf);
    PutPort("d", "lan", 4, std::nullopt);
    PutPort("p", "plain", 5, kPf);
    for (const char* vpc : {"lan", "plain"}) {
      for (const NicId& pf : {kPf, kOtherPf}) CompileOn(vpc, pf);
    }
    Stand();
    states_[{ObjectKind::kPort, "d"}] = "pending: no free VF";
    not_answered_ = "nobody asks this";
  }
  void PutPort(const std::string& id, const std::string& vpc, uint8_t n,
               const std::optional<NicId>& pf) {
    Port port;
    port.id = id;
    port.vpc = vpc;
    port.subnet = StrCat(vpc, "-1");
    port.mac = Mac(n);
    port.addresses = {Ip(StrCat("10.0.0.", n))};
    Put(port, 20U + n);
    if (!pf) return;
    bound_[id] = {id,     20U + n,        vpc, port.subnet,         {*pf, n}, 100U + n,
                  Mac(n), port.addresses, {},  OffloadWish::kPrefer};
  }
  void CompileOn(const std::string& vpc, const NicId& pf) {
    const StoredObject& stored = *world_.Find({ObjectKind::kVpc, vpc});
    const ProviderContext context{world_.FindVpc(vpc)->vlan, stored.ordinal, pf, pfs_[pf].ifindex};
    std::vector<const BoundPort*> ports;
    for (const auto& [id, port] : bound_) {
      if (port.vpc == vpc && port.vf.pf == pf) ports.push_back(&port);
    }
    if (ports.empty()) return;
    compiled_.push_back(DefaultDropRule(BlockOf(context)));
    AddCompiled(CompileProviderVpcRules(context, ports));
    for (const BoundPort* port : ports) AddCompiled(CompileProviderPortRules(context, *port));
  }
  FlowHost Host() override {
    FlowHost host = ExplainFixture::Host();
    host.pfs = &pfs_;
    return host;
  }
  FlowExplanation Explain(const FlowQuestion& question) { return ExplainWith(question, nullptr); }
  static FlowQuestion FromUplink(const std::string& uplink, std::optional<uint16_t> vlan,
                                 const MacAddress& to) {
    FlowQuestion question;
    question.uplink = uplink;
    if (vlan) question.vlan = *VlanId::Make(*vlan);
    question.dst_mac = to;
    return question;
  }
  std::string WhyRefused(const FlowQuestion& question) {
    return std::string(Refused(question).message());
  }

  uint32_t next_ = 4;
  std::map<NicId, PfFacts> pfs_;
};

TEST_F(ExplainProvider, WhatIsNotHereLeavesByTheUplinkWithTheTag) {
  const FlowExplanation flow = Explain(From("a", "10.0.0.99"));
  EXPECT_EQ(flow.verdict.kind, Kind::kUplink);
  EXPECT_EQ(flow.verdict.uplink, "pf0");
  EXPECT_EQ(flow.verdict.vlan, *VlanId::Make(100));
  EXPECT_EQ(flow.path, FlowPath::kHardware);
  EXPECT_THAT(flow.lookup->why, HasSubstr("whoever has it on the fabric"));
  EXPECT_FALSE(flow.packet.dst_mac) << "it is not known here";
  EXPECT_FALSE(flow.out);
  ASSERT_EQ(flow.steps.size(), 2u);
  EXPECT_EQ(flow.steps[0].stage, "admit");
  EXPECT_THAT(flow.steps[1].does, HasSubstr("tagged with VLAN 100; out of the uplink pf0"));
}

TEST_F(ExplainProvider, ANeighbourOnThisNicGetsItAndOneOnAnotherNicByTheFabric) {
  const FlowExplanation here = Explain(From("a", "10.0.0.2"));
  EXPECT_EQ(here.verdict.kind, Kind::kDelivered);
  EXPECT_EQ(here.verdict.port, "b");
  EXPECT_EQ(here.lookup->why, "the guest of port/b answers");
  const FlowExplanation there = Explain(From("a", "10.0.0.3"));
  EXPECT_EQ(there.verdict.kind, Kind::kUplink);
  EXPECT_EQ(there.packet.dst_mac, Mac(3));
}

TEST_F(ExplainProvider, ABroadcastLeavesAndIsCopiedToNeighbours) {
  const FlowExplanation flow = Explain(From("a", "10.0.0.255"));
  EXPECT_EQ(flow.verdict.kind, Kind::kUplink);
  EXPECT_THAT(flow.verdict.copies, ElementsAre("b"));
}

TEST_F(ExplainProvider, ASpoofedSourceIsDroppedAndSaidWhy) {
  FlowQuestion question = From("a", "10.0.0.99");
  question.src = Ip("10.0.0.2");
  const FlowExplanation flow = Explain(question);
  EXPECT_EQ(flow.verdict.kind, Kind::kDropped);
  EXPECT_THAT(flow.verdict.why, HasSubstr("10.0.0.2 is not the port's"));
}

TEST_F(ExplainProvider, WhatIsOutsideOfTheSubnetGoesToTheFabricsRouter) {
  const FlowExplanation flow = Explain(From("a", "8.8.8.8"));
  EXPECT_EQ(flow.verdict.kind, Kind::kUplink);
  EXPECT_THAT(flow.notes, ElementsAre(HasSubstr("its router, which is the fabric's")));
}

TEST_F(ExplainProvider, TheFlatNetworkIsUntagged) {
  const FlowExplanation flow = Explain(From("p", "10.0.0.99"));
  EXPECT_EQ(flow.verdict.kind, Kind::kUplink);
  EXPECT_EQ(flow.verdict.vlan, std::nullopt);
}

TEST_F(ExplainProvider, FromTheUplinkVlanAndMacSayWhoGetsIt) {
  EXPECT_EQ(Explain(FromUplink("pf0", 100, Mac(1))).verdict.port, "a");
  EXPECT_EQ(Explain(FromUplink(kPf.ToString(), 100, Mac(1))).verdict.port, "a");
  EXPECT_EQ(Explain(FromUplink("pf1", 100, Mac(3))).verdict.port, "c");
  const FlowExplanation other = Explain(FromUplink("pf1", 100, Mac(1)));
  EXPECT_EQ(other.verdict.kind, Kind::kToHost);
  EXPECT_THAT(other.verdict.why, HasSubstr("no port of VPC lan on pf1 has the MAC"));
  EXPECT_EQ(Explain(FromUplink("pf0", 101, Mac(1))).verdict.why,
            "no VPC of this host has the VLAN 101");
  EXPECT_EQ(Explain(FromUplink("pf0", std::nullopt, Mac(1))).verdict.kind, Kind::kToHost)
      << "it is in the VLAN";
}

TEST_F(ExplainProvider, BroadcastsOfTheUplinkAreCopiedAndTheUntaggedOnesAreTheHostsToo) {
  const MacAddress all({0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  const FlowExplanation vlan = Explain(FromUplink("pf0", 100, all));
  EXPECT_EQ(vlan.verdict.kind, Kind::kDelivered);
  EXPECT_EQ(vlan.verdict.port, "b");
  EXPECT_THAT(vlan.verdict.copies, ElementsAre("a"));
  const FlowExplanation flat = Explain(FromUplink("pf0", std::nullopt, all));
  EXPECT_EQ(flat.verdict.kind, Kind::kToHost);
  EXPECT_THAT(flat.verdict.copies, ElementsAre("p"));
}

TEST_F(ExplainProvider, AMissingRuleOfTheUplinkIsTold) {
  std::erase_if(seen_[UplinkTable(kPf)].rules,
                [](const ObservedRule& rule) { return rule.place.handle == 21; });
  const FlowExplanation flow = Explain(FromUplink("pf0", 100, Mac(1)));
  EXPECT_EQ(flow.verdict.kind, Kind::kToHost);
  EXPECT_THAT(flow.verdict.why, HasSubstr("does not stand as compiled"));
  EXPECT_EQ(flow.compiled.port, "a");
  EXPECT_THAT(flow.disagreements, ElementsAre(HasSubstr("is missing")));
}

TEST_F(ExplainProvider, SomebodyElsesFilterBeforeOursMakesItUnknown) {
  PutForeign({UplinkTable(kPf), 0, 1, 1});
  const FlowExplanation flow = Explain(FromUplink("pf0", 100, Mac(1)));
  EXPECT_EQ(flow.verdict.kind, Kind::kUnknown);
  EXPECT_THAT(flow.verdict.why, HasSubstr("is somebody else's, a matchall rule"));
}

TEST_F(ExplainProvider, WhatMeetsNoRuleIsRefusedByName) {
  EXPECT_THAT(WhyRefused(From("d", "10.0.0.1")),
              AllOf(HasSubstr("port/d is not attached here"), HasSubstr("no free VF")));
  bound_.erase("b");  // ready, on a NIC that keeps VLANs by itself
  EXPECT_THAT(WhyRefused(From("b", "10.0.0.1")), HasSubstr("its NIC forwards by MAC and VLAN"));
  EXPECT_THAT(WhyRefused(FromUplink("eth9", 100, Mac(1))), HasSubstr("'eth9' is no PF"));
}

TEST_F(ExplainProvider, ByTheUplinkOfANicWithoutAnEswitchNoRuleIsMet) {
  pfs_[kPf].eswitch.mode = EswitchMode::kLegacy;
  EXPECT_THAT(WhyRefused(FromUplink("pf0", 100, Mac(1))),
              HasSubstr("pf0 forwards by MAC and VLAN: its packets meet no rule of this host"));
}

TEST_F(ExplainProvider, AnArpThatLiesIsHandedToTheHostAndDroppedThere) {
  FlowQuestion question = From("a", "10.0.0.2");
  question.neighbour = true;
  EXPECT_EQ(Explain(question).verdict.kind, Kind::kUplink) << "and not by hardware alone";
  EXPECT_EQ(Explain(question).out->ttl, 0) << "ARP has none";
  question.src = Ip("10.0.0.77");
  EXPECT_EQ(Explain(question).verdict.kind, Kind::kDropped);
  EXPECT_EQ(Explain(question).path, FlowPath::kSlowPath);
}

}  // namespace
}  // namespace fairlead
