// SPDX-License-Identifier: Apache-2.0
//
// What of a route is refused, and by which words; and which subnets its presence forbids.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/text.h"
#include "agent/intent/admit.h"
#include "agent/intent/parse.h"
#include "agent/intent/test_admission.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

// Of a change.
std::vector<Violation> RefusalOf(const std::string& apply, const World& world) {
  return Refusal(StrCat("apply { ", apply, " }"), world);
}

// SmallWorld with gateways in red-1, in both families, and in red-2; red-3 without; a VLAN; and
// route "out" to 10.8.0.0/16 by port a0's address.
World RoutedWorld() {
  World world = SmallWorld();
  MustApply(
      "apply { upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/24' prefixes: "
      "'2001:db8::/64' gateways: '10.0.0.1' gateways: '2001:db8::1' } } "
      "upsert { subnet { id: 'red-2' vpc: 'red' prefixes: '10.0.1.0/24' gateways: '10.0.1.1' } } "
      "upsert { subnet { id: 'red-3' vpc: 'red' prefixes: '10.0.3.0/24' } } "
      "upsert { vpc { id: 'lan' vlan: 7 } } "
      "upsert { route { id: 'out' vpc: 'red' prefix: '10.8.0.0/16' next_hop: '10.0.0.5' } } }",
      &world);
  return world;
}

class RouteMistake : public ::testing::TestWithParam<Mistake> {};

TEST_P(RouteMistake, IsNamedAtItsFieldAndNothingElseIs) {
  ExpectRefused(GetParam(), RoutedWorld());
}

#define ROUTE(prefix, hop) \
  "upsert { route { id: 'r' vpc: 'red' prefix: '" prefix "' next_hop: '" hop "' } }"

INSTANTIATE_TEST_SUITE_P(
    Routes, RouteMistake,
    ::testing::Values(
        Mistake{"NoId",
                "upsert { route { vpc: 'red' prefix: '10.9.0.0/16' next_hop: '10.0.0.5' } }",
                "apply.upsert[0].route.id", kInvalid, "missing"},
        Mistake{"NoVpc", "upsert { route { id: 'r' prefix: '10.9.0.0/16' next_hop: '10.0.0.5' } }",
                "apply.upsert[0].route.vpc", kInvalid, "missing"},
        Mistake{
            "UnknownVpc",
            "upsert { route { id: 'r' vpc: 'pink' prefix: '10.9.0.0/16' next_hop: '10.0.0.5' } }",
            "apply.upsert[0].route.vpc", kNotFound, "vpc/pink is not there"},
        Mistake{"RemovedVpc",
                "upsert { route { id: 'r' vpc: 'lan' prefix: '10.9.0.0/16' next_hop: '10.0.0.5' } "
                "} remove { kind: OBJECT_KIND_VPC id: 'lan' }",
                "apply.upsert[0].route.vpc", kNotFound, "removed by apply.remove[0]"},
        Mistake{
            "InAVlan",
            "upsert { route { id: 'r' vpc: 'lan' prefix: '10.9.0.0/16' next_hop: '10.0.0.5' } }",
            "apply.upsert[0].route.vpc", kUnsupported, "vpc/lan is VLAN 7"},
        Mistake{"NoPrefix", ROUTE("", "10.0.0.5"), "apply.upsert[0].route.prefix", kInvalid,
                "missing"},
        Mistake{"NoPrefixLength", ROUTE("10.9.0.0", "10.0.0.5"), "apply.upsert[0].route.prefix",
                kInvalid, "no prefix length"},
        Mistake{"HostBits", ROUTE("10.9.0.1/16", "10.0.0.5"), "apply.upsert[0].route.prefix",
                kInvalid, "the network is 10.9.0.0/16"},
        Mistake{"Multicast", ROUTE("239.1.0.0/16", "10.0.0.5"), "apply.upsert[0].route.prefix",
                kInvalid, "lies in 224.0.0.0/4, multicast"},
        Mistake{"LinkLocal", ROUTE("fe80::/64", "2001:db8::5"), "apply.upsert[0].route.prefix",
                kInvalid, "lies in fe80::/10"},
        Mistake{"OfASubnet", ROUTE("10.0.1.0/24", "10.0.0.5"), "apply.upsert[0].route.prefix",
                kConflict, "10.0.1.0/24 is that of subnet/red-2"},
        Mistake{"InASubnet", ROUTE("10.0.1.8/29", "10.0.0.5"), "apply.upsert[0].route.prefix",
                kConflict, "10.0.1.8/29 lies in 10.0.1.0/24 of subnet/red-2"},
        Mistake{"InASubnetThatIsNotRouted", ROUTE("10.0.3.8/29", "10.0.0.5"),
                "apply.upsert[0].route.prefix", kConflict, "lies in 10.0.3.0/24 of subnet/red-3"},
        Mistake{
            "InASubnetOfTheMessage",
            ROUTE("10.4.0.8/29",
                  "10.0.0.5") " upsert { subnet { id: 's' vpc: 'red' prefixes: '10.4.0.0/24' } }",
            "apply.upsert[0].route.prefix", kConflict, "lies in 10.4.0.0/24 of subnet/s"},
        Mistake{"PrefixTaken", ROUTE("10.8.0.0/16", "10.0.0.9"), "apply.upsert[0].route.prefix",
                kConflict,
                "10.8.0.0/16 in vpc/red is that of route/out; a prefix has one next hop"},
        Mistake{"PrefixTwiceInAMessage",
                ROUTE("10.9.0.0/16", "10.0.0.5") " upsert { route { id: 'r2' vpc: 'red' prefix: "
                                                 "'10.9.0.0/16' next_hop: '10.0.0.9' } }",
                "apply.upsert[1].route.prefix", kConflict, "also that of route/r (apply.upsert[0]"},
        Mistake{"NoNextHop", ROUTE("10.9.0.0/16", ""), "apply.upsert[0].route.next_hop", kInvalid,
                "missing"},
        Mistake{"NoAddress", ROUTE("10.9.0.0/16", "10.0.0.5/24"), "apply.upsert[0].route.next_hop",
                kInvalid, "10.0.0.5/24"},
        Mistake{"OtherFamily", ROUTE("10.9.0.0/16", "2001:db8::5"),
                "apply.upsert[0].route.next_hop", kInvalid, "2001:db8::5 is IPv6"},
        Mistake{"NextHopInNoSubnet", ROUTE("10.9.0.0/16", "10.9.0.5"),
                "apply.upsert[0].route.next_hop", kNotFound,
                "no subnet of vpc/red has the next hop 10.9.0.5"},
        Mistake{"NextHopIsTheGateway", ROUTE("0.0.0.0/0", "10.0.0.1"),
                "apply.upsert[0].route.next_hop", kInvalid, "is the gateway of subnet/red-1"},
        Mistake{"NextHopIsTheNetwork", ROUTE("0.0.0.0/0", "10.0.0.0"),
                "apply.upsert[0].route.next_hop", kInvalid, "the network address"},
        Mistake{"NextHopIsTheBroadcast", ROUTE("0.0.0.0/0", "10.0.0.255"),
                "apply.upsert[0].route.next_hop", kInvalid, "the broadcast address"},
        Mistake{"NextHopInASubnetWithoutGateway", ROUTE("0.0.0.0/0", "10.0.3.5"),
                "apply.upsert[0].route.next_hop", kInvalid, "subnet/red-3, which has"},
        Mistake{"ASubnetComesAroundARoute",
                "upsert { subnet { id: 's' vpc: 'red' prefixes: '10.8.0.0/15' } }",
                "apply.upsert[0].subnet.prefixes", kConflict,
                "route/out would no longer fit: 10.8.0.0/16 lies in 10.8.0.0/15 of subnet/s"},
        Mistake{"ASubnetGrowsAroundARoute",
                "upsert { subnet { id: 'red-3' vpc: 'red' prefixes: '10.8.0.0/16' } }",
                "apply.upsert[0].subnet.prefixes", kConflict,
                "10.8.0.0/16 is that of subnet/red-3"},
        Mistake{"TheGatewayMovesToTheNextHop",
                "upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/24' prefixes: "
                "'2001:db8::/64' gateways: '10.0.0.5' } } "
                "upsert { port { id: 'a0' vm: 'a' vpc: 'red' subnet: 'red-1' addresses: '10.0.0.6' "
                "} }",
                "apply.upsert[0].subnet.gateways", kConflict, "10.0.0.5 is the gateway of"},
        Mistake{"TheGatewayGoes",
                "upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/24' prefixes: "
                "'2001:db8::/64' gateways: '2001:db8::1' } }",
                "apply.upsert[0].subnet.gateways", kConflict, "has no IPv4 gateway"},
        Mistake{"TheNextHopsSubnetGoes",
                "remove { kind: OBJECT_KIND_SUBNET id: 'red-1' } remove { kind: OBJECT_KIND_PORT "
                "id: 'a0' } remove { kind: OBJECT_KIND_ENDPOINT id: 'far' }",
                "apply.remove[0]", kConflict,
                "route/out would no longer fit: no subnet of vpc/red has the next hop 10.0.0.5"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(RouteAdmission, WhatIsRightIsAccepted) {
  for (const char* apply : {
           ROUTE("0.0.0.0/0", "10.0.0.5"),    // its next hop lies in it, and so do subnets
           ROUTE("::/0", "2001:db8::5"),      // that nobody has yet
           ROUTE("10.0.0.0/16", "10.0.1.7"),  // around the VPC's subnets
           ROUTE("10.8.7.0/24", "10.0.0.9"),  // within another route
           ROUTE("10.9.9.9/32", "10.0.0.9"),
           // Another VPC may route the same.
           "upsert { subnet { id: 'blue-1' vpc: 'blue' prefixes: '10.0.0.0/24' gateways: "
           "'10.0.0.1' } } upsert { route { id: 'r' vpc: 'blue' prefix: '10.8.0.0/16' next_hop: "
           "'10.0.0.5' } }",
           // The prefix goes from one to another.
           ROUTE("10.8.0.0/16", "10.0.0.9") " remove { kind: OBJECT_KIND_ROUTE id: 'out' }",
           // With the subnet that they need, in whatever order.
           ROUTE("10.8.8.0/24", "10.4.0.5") " upsert { subnet { id: 's' vpc: 'red' prefixes: "
                                            "'10.4.0.0/24' gateways: '10.4.0.1' } }",
           // The owner of a next hop may go: it is not the route's.
           "remove { kind: OBJECT_KIND_PORT id: 'a0' }",
       }) {
    World world = RoutedWorld();
    const auto list = RefusalOf(apply, world);
    EXPECT_TRUE(list.empty()) << apply << ": " << list[0].path << ": " << list[0].reason;
    MustApply(StrCat("apply { ", apply, " }"), &world);
    EXPECT_EQ(BrokenInvariant(world), "") << apply;
  }
}

TEST(RouteAdmission, ARouteKeepsItsVpcAndItsKindOfNetwork) {
  World world = RoutedWorld();
  MustApply(
      "apply { upsert { vpc { id: 'bare' vni: 300 } } "
      "upsert { subnet { id: 'bare-1' vpc: 'bare' prefixes: '10.0.0.0/24' gateways: '10.0.0.1' } } "
      "upsert { route { id: 'r' vpc: 'bare' prefix: '0.0.0.0/0' next_hop: '10.0.0.5' } } }",
      &world);
  auto list = RefusalOf(
      "remove { kind: OBJECT_KIND_VPC id: 'bare' } "
      "remove { kind: OBJECT_KIND_SUBNET id: 'bare-1' }",
      world);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_THAT(list[0].reason, HasSubstr("vpc/bare is still used by route/r"));
  list = RefusalOf(
      "upsert { vpc { id: 'bare' vlan: 9 } } "
      "upsert { subnet { id: 'bare-1' vpc: 'bare' prefixes: '10.0.0.0/24' gateways: '10.0.0.1' } }",
      world);
  ASSERT_FALSE(list.empty());
  EXPECT_THAT(list[0].reason, HasSubstr("while it has routes (route/r)"));
  EXPECT_TRUE(RefusalOf("remove { kind: OBJECT_KIND_VPC id: 'bare' } "
                        "remove { kind: OBJECT_KIND_SUBNET id: 'bare-1' } "
                        "remove { kind: OBJECT_KIND_ROUTE id: 'r' }",
                        world)
                  .empty());
}

TEST(RouteAdmission, OneMistakeInASubnetIsToldOnce) {
  const auto list = RefusalOf(
      ROUTE("0.0.0.0/0", "10.0.0.5")
      " upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.7/24' gateways: '10.0.0.1' } }",
      RoutedWorld());
  ASSERT_EQ(list.size(), 1U) << list[1].reason;
  EXPECT_EQ(list[0].path, "apply.upsert[1].subnet.prefixes[0]");
}

TEST(RouteAdmission, AVpcHasSoManyRoutesAndNoMore) {
  World world = RoutedWorld();  // with one
  std::string apply;
  for (size_t i = 0; i + 1 < kMaxRoutes; ++i) {
    StrAppend(&apply, "upsert { route { id: 'r", i, "' vpc: 'red' prefix: '10.9.", i / 256, ".",
              i % 256, "/32' next_hop: '10.0.0.5' } } ");
  }
  MustApply(StrCat("apply { ", apply, " }"), &world);
  const auto list = RefusalOf(ROUTE("0.0.0.0/0", "10.0.0.5"), world);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].path, "apply.upsert[0].route");
  EXPECT_THAT(list[0].reason, HasSubstr("would have 1025 routes; 1024 are possible"));
  EXPECT_TRUE(
      RefusalOf(ROUTE("0.0.0.0/0", "10.0.0.5") " remove { kind: OBJECT_KIND_ROUTE id: 'r7' }",
                world)
          .empty());
  EXPECT_TRUE(RefusalOf("upsert { route { id: 'r7' vpc: 'red' prefix: '0.0.0.0/0' next_hop: "
                        "'10.0.0.5' } }",
                        world)
                  .empty());
}

}  // namespace
}  // namespace fairlead
