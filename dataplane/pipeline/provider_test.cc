// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/provider.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/base/text.h"

// Who gets what is the matter of tests/pipeline_model. Here are the shapes that hardware, the
// host's own traffic and upkeep ask for.
namespace fairlead {
namespace {

const NicId kPf = MacAddress({0x02, 0, 0, 0, 0, 1});

class Network {
 public:
  explicit Network(size_t count, std::optional<VlanId> vlan = *VlanId::Make(100)) {
    context = {vlan, 7, kPf, 10};
    for (size_t i = 0; i < count; ++i) {
      BoundPort port;
      port.port = StrCat("p", i);
      port.ordinal = static_cast<uint32_t>(20 + i);
      port.vf = {kPf, static_cast<uint16_t>(i)};
      port.representor_ifindex = static_cast<uint32_t>(100 + i);
      port.mac = MacAddress({0x52, 0x54, 0, 0, 0, static_cast<uint8_t>(i)});
      port.addresses = {*IpAddress::Parse(StrCat("10.0.0.", 10 + i)),
                        *IpAddress::Parse(StrCat("fd00::", 10 + i))};
      port.offload = OffloadWish::kMust;
      ports.push_back(port);
    }
  }
  std::vector<FlowRule> OfVpc() const {
    std::vector<const BoundPort*> all;
    for (const BoundPort& port : ports) all.push_back(&port);
    return CompileProviderVpcRules(context, all);
  }
  std::vector<FlowRule> Rules() const {
    std::vector<FlowRule> rules = OfVpc();
    for (const BoundPort& port : ports) {
      std::vector<FlowRule> more = CompileProviderPortRules(context, port);
      std::move(more.begin(), more.end(), std::back_inserter(rules));
    }
    return rules;
  }
  ProviderContext context;
  std::vector<BoundPort> ports;
};

bool AtUplink(const FlowRule& rule) { return rule.location.table == UplinkTable(kPf); }

TEST(ProviderTest, AtTheUplinkEachRuleNamesWhatIsNotTheHostsAndNothingIsDropped) {
  for (const auto& vlan : {std::optional(*VlanId::Make(100)), std::optional<VlanId>()}) {
    int seen = 0;
    for (const FlowRule& rule : Network(3, vlan).Rules()) {
      if (!AtUplink(rule)) continue;
      ++seen;
      EXPECT_EQ(rule.location.chain, 0u) << rule.ToString();
      EXPECT_GE(rule.location.priority, kPrioUplinkVlan) << rule.ToString();
      EXPECT_EQ(rule.match.vlan, vlan) << rule.ToString();
      EXPECT_NE(rule.match.ethertype, kEtherAll) << rule.ToString();
      EXPECT_TRUE(rule.match.dst_mac || rule.match.dst_group == true) << rule.ToString();
      EXPECT_FALSE(std::holds_alternative<ActionDrop>(rule.actions.back())) << rule.ToString();
      EXPECT_FALSE(std::holds_alternative<ActionTrap>(rule.actions.back())) << rule.ToString();
      // What the host needs too it gets.
      const bool takes = rule.match.dst_mac || vlan;
      EXPECT_EQ(std::holds_alternative<ActionPass>(rule.actions.back()), !takes) << rule.ToString();
    }
    EXPECT_EQ(seen, vlan ? 3 + 1 : 3 * 3 + 3);
  }
}

TEST(ProviderTest, OnlyWhatWasAdmittedLeavesByTheUplink) {
  for (const FlowRule& rule : Network(2).Rules()) {
    const DeviceRef* to = OutputOf(rule);
    if (to == nullptr || to->kind != DeviceRef::Kind::kUplink) continue;
    if (rule.location.chain == 0) {
      EXPECT_TRUE(rule.match.in_device && rule.match.src_mac && rule.match.src_ip &&
                  rule.match.dst_mac)
          << rule.ToString();
    } else {
      EXPECT_TRUE(rule.match.dst_group.has_value()) << rule.ToString();
    }
  }
}

TEST(ProviderTest, TheChainsOfTheBlockEndInADrop) {
  const std::vector<FlowRule> rules = Network(1).Rules();
  EXPECT_TRUE(std::any_of(rules.begin(), rules.end(), [](const FlowRule& rule) {
    return rule.location.chain == 7 && rule.location.priority == kPrioDefaultDrop &&
           rule.match == RuleMatch() && rule.actions == std::vector<RuleAction>{ActionDrop{}};
  }));
}

TEST(ProviderTest, ABroadcastIsCopiedToEachOtherPortAndNotBackToItsSender) {
  const Network network(4);
  for (const FlowRule& rule : network.OfVpc()) {
    if (rule.location.priority != kPrioGroup) continue;
    std::vector<DeviceRef> copies;
    for (const RuleAction& action : rule.actions) {
      if (const auto* mirror = std::get_if<ActionMirror>(&action)) copies.push_back(mirror->to);
    }
    EXPECT_EQ(copies.size(), 3u);
    EXPECT_EQ(std::count(copies.begin(), copies.end(), *rule.match.in_device), 0);
  }
}

// A port that comes changes what is copied, and no rule of another port.
TEST(ProviderTest, ARuleOfAPortDoesNotChangeWhenAnotherComes) {
  const Network one(1), two(2);
  EXPECT_EQ(CompileProviderPortRules(one.context, one.ports[0]),
            CompileProviderPortRules(two.context, two.ports[0]));
}

TEST(ProviderTest, WhatNoNicLooksAtAsksForNoHardware) {
  for (const FlowRule& rule : Network(2, std::nullopt).Rules()) {
    const bool software = rule.match.arp_sender_mac.has_value() ||
                          std::holds_alternative<ActionPass>(rule.actions.back());
    EXPECT_EQ(rule.offload == OffloadWish::kOff, software) << rule.ToString();
  }
}

}  // namespace
}  // namespace fairlead
