// SPDX-License-Identifier: Apache-2.0
#include "dataplane/tc/lower.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "agent/base/text.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kStore = 0x01020304;
constexpr uint32_t kRep = 11;
constexpr uint32_t kTunnelDevice = 20;

std::optional<std::string> Name(uint32_t ifindex) {
  if (ifindex == kRep) return "rep0";
  return std::nullopt;
}

DeviceRef Rep() {
  return {.kind = DeviceRef::Kind::kRepresentor,
          .vf = {.pf = MacAddress({2, 0, 0, 0, 0, 1}), .index = 3},
          .ifindex = kRep};
}
DeviceRef Tunnel() {
  return {.kind = DeviceRef::Kind::kTunnel, .vf = {}, .ifindex = kTunnelDevice};
}
ActionEncap Encap() {
  return {.vni = *Vni::Make(1000),
          .local = *IpAddress::Parse("192.0.2.1"),
          .remote = *IpAddress::Parse("192.0.2.2"),
          .udp_port = 4789,
          .ttl = 64};
}

ActionRoute Route() {
  return {.src_mac = *MacAddress::Parse("02:00:00:00:00:01"),
          .dst_mac = *MacAddress::Parse("52:54:00:00:00:02")};
}

FlowRule Rule(std::vector<RuleAction> actions, RuleTable::Kind table = RuleTable::Kind::kVpcBlock) {
  FlowRule rule;
  rule.location.table.kind = table;
  if (table == RuleTable::Kind::kVpcBlock) rule.location.table.vni = *Vni::Make(1000);
  rule.location.priority = 2000;
  rule.location.handle = 7;
  rule.match.dst_mac = *MacAddress::Parse("52:54:00:00:00:02");
  rule.actions = std::move(actions);
  return rule;
}

TEST(Lower, ForwardsToARepresentor) {
  auto filter = Lower(Rule({ActionRedirect{Rep()}}), Name, kStore);
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->id, (TcFilterId{0, 2000, 7}));
  EXPECT_EQ(filter->match.dst_mac, *MacAddress::Parse("52:54:00:00:00:02"));
  EXPECT_EQ(filter->match.ethertype, kEtherAll);
  EXPECT_EQ(filter->actions, (std::vector<TcAction>{TcMirred{kRep}}));
}

TEST(Lower, EncapsulatesForAnotherHost) {
  auto filter = Lower(Rule({Encap(), ActionRedirect{Tunnel()}}), Name, kStore);
  ASSERT_TRUE(filter.ok()) << filter.status();
  ASSERT_EQ(filter->actions.size(), 2u);
  const auto& set = std::get<TcTunnelSet>(filter->actions[0]);
  EXPECT_EQ(set.key_id, 1000u);
  EXPECT_EQ(set.src, Encap().local);
  EXPECT_EQ(set.dst, Encap().remote);
  EXPECT_EQ(set.dst_port, 4789);
  EXPECT_EQ(set.ttl, 64);
  EXPECT_TRUE(set.no_csum);
  EXPECT_EQ(filter->actions[1], TcAction(TcMirred{kTunnelDevice}));
}

FlowRule Routed(uint16_t ethertype, std::vector<RuleAction> actions,
                RuleTable::Kind table = RuleTable::Kind::kVpcBlock) {
  FlowRule rule = Rule(std::move(actions), table);
  rule.match.ethertype = ethertype;
  rule.match.dst_mac.reset();
  rule.match.dst_ip =
      *IpPrefix::Parse(ethertype == kEtherIpv6 ? "2001:db8:1::7/128" : "10.1.0.7/32");
  return rule;
}

TEST(Lower, RoutesAndMendsTheChecksumOfIpv4) {
  const TcPedit v4{.eth_src = Route().src_mac, .eth_dst = Route().dst_mac, .v6 = false};
  TcPedit v6 = v4;
  v6.v6 = true;
  auto filter = Lower(Routed(kEtherIpv4, {Route(), ActionRedirect{Rep()}}), Name, kStore);
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->match.dst_ip, *IpPrefix::Parse("10.1.0.7/32"));
  EXPECT_EQ(filter->actions, (std::vector<TcAction>{v4, TcCsum{}, TcMirred{kRep}}));

  filter = Lower(Routed(kEtherIpv6, {Route(), ActionRedirect{Rep()}}), Name, kStore);
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->actions, (std::vector<TcAction>{v6, TcMirred{kRep}}));

  filter = Lower(Routed(kEtherIpv4, {Route(), Encap(), ActionRedirect{Tunnel()}}), Name, kStore);
  ASSERT_TRUE(filter.ok()) << filter.status();
  ASSERT_EQ(filter->actions.size(), 4u);
  EXPECT_EQ(filter->actions[0], TcAction(v4));
  EXPECT_EQ(filter->actions[1], TcAction(TcCsum{}));
  EXPECT_TRUE(std::holds_alternative<TcTunnelSet>(filter->actions[2]));
  EXPECT_EQ(filter->actions[3], TcAction(TcMirred{kTunnelDevice}));

  filter = Lower(Routed(kEtherIpv4, {ActionDecap{}, Route(), ActionRedirect{Rep()}},
                        RuleTable::Kind::kTunnelIngress),
                 Name, kStore);
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->actions,
            (std::vector<TcAction>{TcTunnelUnset{}, v4, TcCsum{}, TcMirred{kRep}}));
}

TEST(Lower, RoutesOnlyWhatIsOfIpAndNamed) {
  const auto refusal = [](const std::function<void(FlowRule&)>& change) {
    FlowRule rule = Routed(kEtherIpv4, {Route(), ActionRedirect{Rep()}});
    change(rule);
    const absl::Status status = Lower(rule, Name, kStore).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(refusal([](FlowRule& r) { r.match.ethertype = kEtherAll; }), HasSubstr("only IPv4"));
  EXPECT_THAT(refusal([](FlowRule& r) { r.match.ethertype = kEtherArp; }), HasSubstr("only IPv4"));
  EXPECT_THAT(refusal([](FlowRule& r) { r.match.dst_ip.reset(); }), HasSubstr("destination"));
  EXPECT_THAT(refusal([](FlowRule& r) {
                r.match.dst_ip.reset();
                r.match.dst_mac = Route().src_mac;
              }),
              HasSubstr("names where to"));
}

TEST(Lower, TrapsToTheSlowPath) {
  FlowRule rule = Rule({ActionTrap{}});
  rule.match = {};
  rule.match.ethertype = kEtherIpv4;
  rule.match.src_mac = *MacAddress::Parse("52:54:00:00:00:02");
  MatchUdp(rule.match, 67);
  rule.match.ttl_expiring = true;
  auto filter = Lower(rule, Name, kStore);
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->match.src_mac, rule.match.src_mac);
  EXPECT_EQ(filter->match.ip_proto, 17);
  EXPECT_EQ(filter->match.dst_port, TcPortMask{67});
  EXPECT_TRUE(filter->match.ttl_expiring);
  EXPECT_EQ(filter->actions, (std::vector<TcAction>{TcGact{TcGact::Verdict::kTrap, 0}}));
  EXPECT_EQ(filter->flags, TcFilter::Flags::kNone);
}

TEST(Lower, TakesTheOuterHeaderIntoTheMatch) {
  FlowRule rule = Rule({ActionDecap{}, ActionRedirect{Rep()}}, RuleTable::Kind::kTunnelIngress);
  rule.match.vni = *Vni::Make(1000);
  rule.match.outer_src = *IpPrefix::Parse("2001:db8::/32");
  rule.match.outer_dst = *IpAddress::Parse("2001:db8::1");
  rule.match.outer_udp_port = 4789;
  auto filter = Lower(rule, Name, kStore);
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->match.enc_key_id, 1000u);
  EXPECT_EQ(filter->match.enc_src, *IpPrefix::Parse("2001:db8::/32"));
  EXPECT_EQ(filter->match.enc_dst, *IpAddress::Parse("2001:db8::1"));
  EXPECT_EQ(filter->match.enc_dst_port, 4789);
  EXPECT_EQ(filter->actions, (std::vector<TcAction>{TcTunnelUnset{}, TcMirred{kRep}}));
}

TEST(Lower, TakesEveryOtherKey) {
  FlowRule rule = Rule({ActionGotoChain{9}});
  rule.match.ethertype = kEtherIpv6;
  rule.match.in_device = Rep();
  rule.match.src_ip = *IpPrefix::Parse("2001:db8::/64");
  MatchIcmp6(rule.match, 135);
  auto filter = Lower(rule, Name, kStore);
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->match.indev, "rep0");
  EXPECT_EQ(filter->match.ethertype, 0x86dd);
  EXPECT_EQ(filter->match.src_ip, *IpPrefix::Parse("2001:db8::/64"));
  EXPECT_EQ(filter->match.ip_proto, 58);
  EXPECT_EQ(filter->match.icmp_type, 135);
  EXPECT_EQ(filter->actions, (std::vector<TcAction>{TcGact{TcGact::Verdict::kGotoChain, 9}}));
}

struct OrderCase {
  const char* name;
  std::vector<RuleAction> actions;
  const char* refusal;  // "" = taken
};
class LowerOrder : public ::testing::TestWithParam<OrderCase> {};

TEST_P(LowerOrder, IsOneThatTheEswitchTakes) {
  FlowRule rule = Rule(GetParam().actions);
  rule.match.ethertype = kEtherIpv4;
  rule.match.dst_ip = *IpPrefix::Parse("10.1.0.0/16");
  auto filter = Lower(rule, Name, kStore);
  if (*GetParam().refusal == '\0') {
    EXPECT_TRUE(filter.ok()) << filter.status();
    return;
  }
  EXPECT_EQ(filter.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(filter.status().message()), HasSubstr(GetParam().refusal));
}

INSTANTIATE_TEST_SUITE_P(
    Table, LowerOrder,
    ::testing::Values(
        OrderCase{"drop", {ActionDrop{}}, ""}, OrderCase{"trap", {ActionTrap{}}, ""},
        OrderCase{"jump", {ActionGotoChain{1}}, ""},
        OrderCase{"decap_redirect", {ActionDecap{}, ActionRedirect{Rep()}}, ""},
        OrderCase{"encap_redirect", {Encap(), ActionRedirect{Tunnel()}}, ""},
        OrderCase{"route_redirect", {Route(), ActionRedirect{Rep()}}, ""},
        OrderCase{"route_encap", {Route(), Encap(), ActionRedirect{Tunnel()}}, ""},
        OrderCase{"decap_route", {ActionDecap{}, Route(), ActionRedirect{Rep()}}, ""},
        OrderCase{"nothing", {}, "no actions"}, OrderCase{"no_verdict", {ActionDecap{}}, "verdict"},
        OrderCase{"after_verdict", {ActionDrop{}, ActionDrop{}}, "verdict"},
        OrderCase{"two_redirects", {ActionRedirect{Rep()}, ActionRedirect{Rep()}}, "verdict"},
        OrderCase{"late_decap", {Route(), ActionDecap{}, ActionRedirect{Rep()}}, "this order"},
        OrderCase{"two_decaps", {ActionDecap{}, ActionDecap{}, ActionRedirect{Rep()}}, "at most"},
        OrderCase{"two_routes", {Route(), Route(), ActionRedirect{Rep()}}, "at most"},
        OrderCase{"late_route", {Encap(), Route(), ActionRedirect{Tunnel()}}, "this order"},
        OrderCase{"encap_twice", {Encap(), Encap(), ActionRedirect{Tunnel()}}, "at most"},
        OrderCase{"decap_goto", {ActionDecap{}, ActionGotoChain{1}}, "only action"},
        OrderCase{"decap_drop", {ActionDecap{}, ActionDrop{}}, "only action"},
        OrderCase{"decap_trap", {ActionDecap{}, ActionTrap{}}, "only action"},
        OrderCase{"route_trap", {Route(), ActionTrap{}}, "only action"},
        OrderCase{"route_goto", {Route(), ActionGotoChain{1}}, "only action"},
        OrderCase{"encap_to_representor", {Encap(), ActionRedirect{Rep()}}, "right before"},
        OrderCase{"encap_then_drop", {Encap(), ActionDrop{}}, "only action"},
        OrderCase{"encap_goto", {Encap(), ActionGotoChain{1}}, "only action"},
        OrderCase{"bare_to_tunnel", {ActionRedirect{Tunnel()}}, "must be encapsulated"},
        OrderCase{
            "routed_bare_to_tunnel", {Route(), ActionRedirect{Tunnel()}}, "must be encapsulated"}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(Lower, RefusesAMatchAllRedirect) {
  FlowRule rule = Rule({ActionRedirect{Rep()}});
  rule.match.dst_mac.reset();
  auto filter = Lower(rule, Name, kStore);
  EXPECT_EQ(filter.status().code(), absl::StatusCode::kInvalidArgument);
  rule.actions = {ActionDrop{}};  // a match-all drop is how every table ends
  EXPECT_TRUE(Lower(rule, Name, kStore).ok());
  rule.match.ethertype = kEtherIpv4;
  rule.actions = {ActionRedirect{Rep()}};
  rule.match.dst_ip = *IpPrefix::Parse("10.1.0.7/32");
  EXPECT_TRUE(Lower(rule, Name, kStore).ok());
}

TEST(Lower, ADeviceThatIsNotThereIsAPrecondition) {
  FlowRule rule = Rule({ActionDrop{}});
  rule.match.in_device = Rep();
  rule.match.in_device->ifindex = 99;
  EXPECT_EQ(Lower(rule, Name, kStore).status().code(), absl::StatusCode::kFailedPrecondition);
  DeviceRef gone = Rep();
  gone.ifindex = 0;
  EXPECT_EQ(Lower(Rule({ActionRedirect{gone}}), Name, kStore).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

struct FlagsCase {
  const char* name;
  OffloadWish wish;
  RuleTable::Kind table;
  bool in_device;
  TcFilter::Flags want;
};
class LowerFlags : public ::testing::TestWithParam<FlagsCase> {};

TEST_P(LowerFlags, FollowTheWishWhereTheHardwareAllows) {
  const FlagsCase& c = GetParam();
  FlowRule rule = Rule({ActionDrop{}}, c.table);
  rule.offload = c.wish;
  if (c.in_device) rule.match.in_device = Rep();
  auto filter = Lower(rule, Name, kStore);
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->flags, c.want);
}

INSTANTIATE_TEST_SUITE_P(
    Table, LowerFlags,
    ::testing::Values(FlagsCase{"must_in_block", OffloadWish::kMust, RuleTable::Kind::kVpcBlock,
                                false, TcFilter::Flags::kSkipSw},
                      FlagsCase{"must_never_on_the_tunnel", OffloadWish::kMust,
                                RuleTable::Kind::kTunnelIngress, false, TcFilter::Flags::kNone},
                      FlagsCase{"must_with_indev", OffloadWish::kMust, RuleTable::Kind::kVpcBlock,
                                true, TcFilter::Flags::kNone},
                      FlagsCase{"prefer", OffloadWish::kPrefer, RuleTable::Kind::kVpcBlock, false,
                                TcFilter::Flags::kNone},
                      FlagsCase{"off", OffloadWish::kOff, RuleTable::Kind::kVpcBlock, false,
                                TcFilter::Flags::kSkipHw},
                      FlagsCase{"off_on_the_tunnel", OffloadWish::kOff,
                                RuleTable::Kind::kTunnelIngress, false, TcFilter::Flags::kSkipHw}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(Lower, ADeliveryWithinItsBlockIsNeverForHardwareAlone) {
  FlowRule rule = Rule({ActionRedirect{Rep()}}, RuleTable::Kind::kVpcBlock);
  rule.offload = OffloadWish::kMust;
  auto filter = Lower(rule, Name, kStore);
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->flags, TcFilter::Flags::kNone) << "mlx5: can't forward from a VF to itself";
}

TEST(Lower, ARoutedFrameToTheTunnelMayBeForHardwareAlone) {
  FlowRule rule = Routed(kEtherIpv4, {Route(), Encap(), ActionRedirect{Tunnel()}});
  rule.offload = OffloadWish::kMust;
  auto filter = Lower(rule, Name, kStore);
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->flags, TcFilter::Flags::kSkipSw);
  EXPECT_FALSE(SendsWithinBlock(rule));
  EXPECT_TRUE(SendsWithinBlock(Routed(kEtherIpv4, {Route(), ActionRedirect{Rep()}})));
}

TEST(Cookie, TellsStoreMatchAndContent) {
  const FlowRule rule = Rule({ActionDrop{}});
  const TcCookie cookie = MakeCookie(kStore, rule);
  EXPECT_EQ(cookie[0], 1);  // big endian
  EXPECT_EQ(cookie[3], 4);
  auto parts = ParseCookie(cookie);
  ASSERT_TRUE(parts.has_value());
  EXPECT_EQ(parts->store_id, kStore);
  EXPECT_EQ(parts->match_hash, rule.MatchHash());
  EXPECT_EQ(parts->content_hash, rule.ContentHash());
}

TEST(Cookie, WithoutAStoreIsNotOurs) {
  TcCookie foreign{};
  foreign[15] = 1;
  EXPECT_FALSE(ParseCookie(foreign).has_value());
}

TEST(AttachPoint, IsTheBlockOfTheVpcOrTheTunnel) {
  RuleTable block{.kind = RuleTable::Kind::kVpcBlock, .vni = *Vni::Make(1000)};
  EXPECT_EQ(AttachPointOf(block, 20), (TcAttachPoint{0x460003e8, 0}));
  RuleTable tunnel{.kind = RuleTable::Kind::kTunnelIngress, .vni = {}};
  EXPECT_EQ(AttachPointOf(tunnel, 20), (TcAttachPoint{0, 20}));
}

}  // namespace
}  // namespace fairlead
