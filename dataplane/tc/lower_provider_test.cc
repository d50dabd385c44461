// SPDX-License-Identifier: Apache-2.0
//
// Provider networks in TC: every compiled rule is one that TC takes, and what would touch the
// host's own traffic at an uplink is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/text.h"
#include "agent/ports/tc/tc_codec.h"
#include "dataplane/pipeline/provider.h"
#include "dataplane/tc/lower.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kStore = 0x01020304;
const NicId kPf = MacAddress({0x02, 0, 0, 0, 0, 1});

std::optional<std::string> Name(uint32_t ifindex) { return StrCat("rep", ifindex); }

std::vector<FlowRule> Rules(const std::optional<VlanId>& vlan, size_t count) {
  const ProviderContext context{vlan, 7, kPf, 10};
  std::vector<BoundPort> ports(count);
  std::vector<const BoundPort*> all;
  for (size_t i = 0; i < count; ++i) {
    ports[i].ordinal = static_cast<uint32_t>(20 + i);
    ports[i].vf = {kPf, static_cast<uint16_t>(i)};
    ports[i].representor_ifindex = static_cast<uint32_t>(100 + i);
    ports[i].mac = MacAddress({0x52, 0x54, 0, 0, 1, static_cast<uint8_t>(i)});
    ports[i].addresses = {*IpAddress::Parse("10.0.0.7"), *IpAddress::Parse("fd00::7")};
    all.push_back(&ports[i]);
  }
  std::vector<FlowRule> rules = CompileProviderVpcRules(context, all);
  for (const BoundPort& port : ports) {
    std::vector<FlowRule> more = CompileProviderPortRules(context, port);
    std::move(more.begin(), more.end(), std::back_inserter(rules));
  }
  return rules;
}

TEST(LowerProvider, TcTakesEachRuleAlsoWithTheMostPorts) {
  for (const auto& vlan : {std::optional(*VlanId::Make(100)), std::optional<VlanId>()}) {
    for (const FlowRule& rule : Rules(vlan, kMostProviderPorts)) {
      const auto filter = Lower(rule, Name, kStore);
      ASSERT_TRUE(filter.ok()) << rule.ToString() << ": " << filter.status();
      const auto at = AttachPointOf(rule.location.table, 10);
      const auto message = netlink::PutFilterRequest(at, *filter);
      ASSERT_TRUE(message.ok()) << rule.ToString() << ": " << message.status();
    }
  }
}

TEST(LowerProvider, OnePortMoreIsNotTaken) {
  bool refused = false;
  for (const FlowRule& rule : Rules(*VlanId::Make(100), kMostProviderPorts + 1)) {
    const auto filter = Lower(rule, Name, kStore);
    refused |= filter.ok() && !netlink::CheckFilter(*filter).ok();
  }
  EXPECT_TRUE(refused) << "the limit could be higher";
}

TEST(LowerProvider, TheTagComesOffFirstAndGoesOnLast) {
  const std::vector<FlowRule> rules = Rules(*VlanId::Make(100), 2);
  int seen = 0;
  for (const FlowRule& rule : rules) {
    const std::vector<TcAction> actions = Lower(rule, Name, kStore)->actions;
    if (rule.location.priority == kPrioGroup) {
      ++seen;
      ASSERT_EQ(actions.size(), 3u);
      EXPECT_TRUE(std::holds_alternative<TcMirror>(actions[0])) << "neighbours get it untagged";
      EXPECT_EQ(actions[1], TcAction(TcVlanPush{100}));
      EXPECT_EQ(actions[2], TcAction(TcMirred{10}));
    } else if (rule.location.priority == kPrioUplinkVlanGroup) {
      ++seen;
      EXPECT_EQ(actions, (std::vector<TcAction>{TcVlanPop{}, TcMirror{100}, TcMirred{101}}));
    }
  }
  EXPECT_EQ(seen, 3);
}

class AtUplink : public ::testing::Test {
 protected:
  AtUplink() {
    rule_.location = {UplinkTable(kPf), 0, kPrioUplinkVlan, 7};
    rule_.match.ethertype = kEtherVlan;
    rule_.match.vlan = *VlanId::Make(100);
    rule_.match.dst_mac = MacAddress({0x52, 0x54, 0, 0, 0, 1});
    rule_.actions = {ActionVlanPop{}, ActionRedirect{{DeviceRef::Kind::kRepresentor, {}, 11}}};
  }
  std::string Refusal() { return std::string(Lower(rule_, Name, kStore).status().message()); }
  FlowRule rule_;
};

TEST_F(AtUplink, ADeliveryIsTaken) { EXPECT_EQ(Refusal(), ""); }

TEST_F(AtUplink, NothingIsDroppedOrTrapped) {
  rule_.actions = {ActionDrop{}};
  EXPECT_THAT(Refusal(), HasSubstr("may deliver and nothing else"));
  rule_.actions = {ActionTrap{}};
  EXPECT_THAT(Refusal(), HasSubstr("may deliver and nothing else"));
}

TEST_F(AtUplink, WhateverVlanIsRefused) {
  rule_.match.vlan.reset();
  EXPECT_THAT(Refusal(), HasSubstr("the tag of whatever VLAN"));
  rule_.match.ethertype = kEtherAll;
  rule_.actions.erase(rule_.actions.begin());
  EXPECT_THAT(Refusal(), HasSubstr("the host's own frames of whatever VLAN"));
}

TEST_F(AtUplink, UntaggedGroupsAreCopiedAndNotTaken) {
  rule_.match.vlan.reset();
  rule_.match.ethertype = kEtherArp;
  rule_.match.dst_mac.reset();
  rule_.match.dst_group = true;
  rule_.actions.erase(rule_.actions.begin());
  EXPECT_THAT(Refusal(), HasSubstr("the host's own"));
  rule_.actions = {ActionMirror{{DeviceRef::Kind::kRepresentor, {}, 11}}, ActionPass{}};
  EXPECT_EQ(Refusal(), "");
}

TEST_F(AtUplink, WhateverDestinationIsRefused) {
  rule_.match.dst_mac.reset();
  EXPECT_THAT(Refusal(), HasSubstr("the host's own"));
}

TEST_F(AtUplink, TheMarkOfTheQdiscDoesNothing) {
  const auto filter = Lower(UplinkMarkRule(kPf), Name, kStore);
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_NE(filter->id.chain, 0u);
  const TcGact nothing{.verdict = TcGact::Verdict::kContinue, .chain = 0};
  EXPECT_EQ(filter->actions, std::vector<TcAction>{nothing});
}

TEST(LowerProvider, ATagIsForAnUplinkAlone) {
  FlowRule rule;
  rule.location = {{.kind = RuleTable::Kind::kProviderBlock, .pf = kPf, .vlan = 100}, 7, 1000, 7};
  rule.match.dst_mac = MacAddress({0x52, 0x54, 0, 0, 0, 1});
  rule.actions = {ActionVlanPush{*VlanId::Make(100)},
                  ActionRedirect{{DeviceRef::Kind::kRepresentor, {}, 11}}};
  EXPECT_THAT(std::string(Lower(rule, Name, kStore).status().message()),
              HasSubstr("right before an uplink"));
}

}  // namespace
}  // namespace fairlead
