// SPDX-License-Identifier: Apache-2.0
//
// What of a security group is refused, and by which words; the zones and policy numbers that the
// agent gives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/text.h"
#include "agent/intent/admit.h"
#include "agent/intent/parse.h"
#include "agent/intent/test_admission.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

#define GROUP(id, rest) "upsert { security_group { id: '" id "' vpc: 'red' " rest " } } "
#define IN_WEB "rules { direction: DIRECTION_INGRESS protocol: 6 port_min: 443 } "
#define RULE(rest) GROUP("g", "rules { direction: DIRECTION_INGRESS " rest " }")

void Must(const std::string& apply, World* world) {
  MustApply(StrCat("apply { ", apply, " }"), world);
}

// SmallWorld with the group "web" in "red", which port a0 and endpoint e0 name, and a VLAN.
World WithGroups() {
  World world = SmallWorld();
  Must(GROUP("web", IN_WEB) "upsert { vpc { id: 'lan' vlan: 7 } } ", &world);
  Must(PORT("addresses: '10.0.0.77' security_groups: 'web'"), &world);
  return world;
}

class GroupMistake : public ::testing::TestWithParam<Mistake> {};

TEST_P(GroupMistake, IsNamedAtItsFieldAndNothingElseIs) { ExpectRefused(GetParam(), WithGroups()); }

INSTANTIATE_TEST_SUITE_P(
    Groups, GroupMistake,
    ::testing::Values(
        Mistake{"NoId", "upsert { security_group { vpc: 'red' } }",
                "apply.upsert[0].security_group.id", kInvalid, "missing"},
        Mistake{"UnknownVpc", "upsert { security_group { id: 'g' vpc: 'pink' } }",
                "apply.upsert[0].security_group.vpc", kNotFound, "vpc/pink is not there"},
        Mistake{"InAVlan", "upsert { security_group { id: 'g' vpc: 'lan' } }",
                "apply.upsert[0].security_group.vpc", kUnsupported, "overlays"},
        Mistake{"NoDirection", GROUP("g", "rules { protocol: 6 }"),
                "apply.upsert[0].security_group.rules[0].direction", kInvalid, "missing"},
        Mistake{"Protocol256", RULE("protocol: 256"),
                "apply.upsert[0].security_group.rules[0].protocol", kInvalid, "0 to 255"},
        Mistake{"PortsWithoutProtocol", RULE("port_min: 80"),
                "apply.upsert[0].security_group.rules[0].port_min", kInvalid, "TCP"},
        Mistake{"PortsTurnedRound", RULE("protocol: 6 port_min: 80 port_max: 79"),
                "apply.upsert[0].security_group.rules[0].port_max", kInvalid, "80 (port_min)"},
        Mistake{"PortMaxAlone", RULE("protocol: 6 port_max: 79"),
                "apply.upsert[0].security_group.rules[0].port_min", kInvalid, "missing"},
        Mistake{"Port65536", RULE("protocol: 17 port_min: 65536"),
                "apply.upsert[0].security_group.rules[0].port_min", kInvalid, "65535"},
        Mistake{"TypeOfTcp", RULE("protocol: 6 icmp_type: 8"),
                "apply.upsert[0].security_group.rules[0].icmp_type", kInvalid, "ICMP"},
        Mistake{"CodeWithoutType", RULE("protocol: 1 icmp_code: 0"),
                "apply.upsert[0].security_group.rules[0].icmp_code", kInvalid, "without icmp_type"},
        Mistake{"IcmpInIpv6", RULE("protocol: 1 family: ADDRESS_FAMILY_IPV6"),
                "apply.upsert[0].security_group.rules[0].protocol", kInvalid, "ICMP is of IPv4"},
        Mistake{"PrefixOfTheOtherFamily",
                RULE("family: ADDRESS_FAMILY_IPV4 remote_prefix: 'fd00::/8'"),
                "apply.upsert[0].security_group.rules[0].remote_prefix", kInvalid, "of IPv6"},
        Mistake{"BadPrefix", RULE("remote_prefix: '10.0.0.1/8'"),
                "apply.upsert[0].security_group.rules[0].remote_prefix", kInvalid, "10.0.0.1/8"},
        Mistake{"BothRemotes", RULE("remote_prefix: '10.0.0.0/8' remote_group: 'web'"),
                "apply.upsert[0].security_group.rules[0].remote_group", kInvalid, "one of the two"},
        Mistake{"UnknownRemote", RULE("remote_group: 'nobody'"),
                "apply.upsert[0].security_group.rules", kNotFound,
                "security-group/nobody is not there"},
        Mistake{"TwoKinds", GROUP("g", "stateless: true"),
                "apply.upsert[0].security_group.stateless", kConflict, "of one kind"},
        Mistake{"StillNamed", "remove { kind: OBJECT_KIND_SECURITY_GROUP id: 'web' }",
                "apply.remove[0]", kConflict, "still named by port/p"},
        Mistake{"UnknownGroupOfAPort", PORT("addresses: '10.0.0.77' security_groups: 'nobody'"),
                "apply.upsert[0].port.security_groups", kNotFound,
                "security-group/nobody is not there"},
        Mistake{"GroupTwice", PORT("addresses: '10.0.0.77' security_groups: ['web', 'web']"),
                "apply.upsert[0].port.security_groups[1]", kInvalid, "twice"},
        Mistake{"VpcGoes",
                "remove { kind: OBJECT_KIND_VPC id: 'lan' } " RULE("remote_group: 'x y'"),
                "apply.upsert[0].security_group.rules[0].remote_group", kInvalid, "x y"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(SecurityGroup, SoManyRulesOrMasksAreRefusedWithTheLimit) {
  std::string rules;
  for (size_t i = 0; i <= kMaxSecurityRules; ++i) {
    StrAppend(&rules, "rules { direction: DIRECTION_EGRESS protocol: 6 port_min: ", i, " } ");
  }
  ExpectRefused(StrCat("apply { upsert { security_group { id: 'g' vpc: 'red' ", rules, " } } }"),
                "apply.upsert[0].security_group.rules", kInvalid, "128 are possible at most");
  // 1..65534: 30 masks each.
  std::string wide;
  for (int i = 0; i < 2; ++i) {
    StrAppend(&wide, "rules { direction: DIRECTION_EGRESS protocol: ", i == 0 ? 6 : 17,
              " port_min: 1 port_max: 65534 remote_group: 'g' } ");
  }
  ExpectRefused(StrCat("apply { upsert { security_group { id: 'g' vpc: 'red' ", wide, " } } }"),
                "apply.upsert[0].security_group.rules", kInvalid, "32 are possible at most");
}

TEST(SecurityGroup, RulesAreKeptInOneFormWhateverTheirOrder) {
  World world = SmallWorld();
  Must(GROUP("g",
             "rules { direction: DIRECTION_INGRESS protocol: 6 port_min: 0 port_max: 65535 } "
             "rules { direction: DIRECTION_EGRESS remote_prefix: '0.0.0.0/0' } "
             "rules { direction: DIRECTION_EGRESS family: ADDRESS_FAMILY_IPV4 }"),
       &world);
  const std::vector<SecurityRule>& rules = world.FindSecurityGroup("g")->rules;
  ASSERT_THAT(rules, SizeIs(2)) << "all of IPv4 is said twice";
  EXPECT_FALSE(rules[0].ingress);
  EXPECT_FALSE(rules[0].remote.has_value());
  EXPECT_FALSE(rules[1].ports.has_value()) << "all ports is any port";
}

TEST(SecurityGroup, AZoneIsTheVpcsWhileItHasStatefulGroupsAndNobodysBeforeItWasEmptied) {
  World world = WithGroups();
  EXPECT_EQ(world.FindVpc("red")->ct_zone, kFirstCtZone);
  EXPECT_EQ(world.SecurityModeOf("red"), SecurityMode::kStateful);
  // A VPC that is said again keeps it.
  Must("upsert { vpc { id: 'red' vni: 100 } }", &world);
  EXPECT_EQ(world.FindVpc("red")->ct_zone, kFirstCtZone);
  Must(PORT("addresses: '10.0.0.77'") "remove { kind: OBJECT_KIND_SECURITY_GROUP id: 'web' }",
       &world);
  EXPECT_EQ(world.FindVpc("red")->ct_zone, std::nullopt);
  EXPECT_EQ(world.SecurityModeOf("red"), SecurityMode::kNone);
  EXPECT_THAT(world.left_zones(), ElementsAre(kFirstCtZone));
  Must(GROUP("web", IN_WEB), &world);
  EXPECT_EQ(world.FindVpc("red")->ct_zone, kFirstCtZone + 1);
  world.ForgetZone(kFirstCtZone);
  Must(
      "upsert { vpc { id: 'other' vni: 77 } } "
      "upsert { security_group { id: 'o' vpc: 'other' } }",
      &world);
  EXPECT_EQ(world.FindVpc("other")->ct_zone, kFirstCtZone);
  EXPECT_EQ(BrokenInvariant(world), "");
}

TEST(SecurityGroup, StatelessGroupsNeedNoZone) {
  World world = SmallWorld();
  Must(GROUP("g", "stateless: true " IN_WEB), &world);
  EXPECT_EQ(world.FindVpc("red")->ct_zone, std::nullopt);
  EXPECT_EQ(world.SecurityModeOf("red"), SecurityMode::kStateless);
  Must(GROUP("g", IN_WEB), &world);
  EXPECT_EQ(world.FindVpc("red")->ct_zone, kFirstCtZone);
}

TEST(SecurityGroup, ThereAreNoMoreZonesThanANicTellsApart) {
  World world;
  for (uint32_t n = 1; n <= kCtZones; ++n) {
    Must(StrCat("upsert { vpc { id: 'v", n, "' vni: ", n, " } } upsert { security_group { id: 'g",
                n, "' vpc: 'v", n, "' } }"),
         &world);
  }
  const auto refused = Refusal(
      "apply { upsert { vpc { id: 'last' vni: 999 } } "
      "upsert { security_group { id: 'g' vpc: 'last' } } }",
      world);
  ASSERT_THAT(refused, SizeIs(1));
  EXPECT_THAT(refused[0].reason, HasSubstr("all 255 are in use"));
}

TEST(SecurityGroup, PortsWithTheSameGroupsHaveOnePolicyWhateverTheirOrder) {
  World world = WithGroups();
  Must(GROUP("ssh", "rules { direction: DIRECTION_INGRESS protocol: 6 port_min: 22 }"), &world);
  const auto port = [&](const std::string& id, const std::string& groups) {
    Must(StrCat("upsert { port { id: '", id, "' vpc: 'red' subnet: 'red-1' ", groups, " } }"),
         &world);
    EXPECT_EQ(BrokenInvariant(world), "");
    return world.FindPort(id)->policy;
  };
  const uint32_t both = port("q", "security_groups: 'web' security_groups: 'ssh'");
  EXPECT_EQ(port("r", "security_groups: 'ssh' security_groups: 'web'"), both);
  const uint32_t web = world.FindPort("p")->policy;
  EXPECT_NE(web, both);
  EXPECT_EQ(port("q", "security_groups: 'web'"), web);
  EXPECT_EQ(port("r", ""), 0U);
  EXPECT_THAT(world.PoliciesOfVpc("red"), ElementsAre(Pair(web, ElementsAre("p", "q"))));
  // A number that was given up is given to somebody else at last.
  EXPECT_NE(port("r", "security_groups: 'ssh'"), web);
}

// "What is left unsaid here stays as it is."
TEST(SecurityGroup, AddVmToVpcKeepsGroupsThatItDoesNotName) {
  World world = WithGroups();
  MustApply(
      "add_vm_to_vpc { vm { id: 'x' uuid: '00000000-0000-4000-8000-00000000abcd' } vpc: 'red' "
      "subnet: 'red-1' port: 'x0' security_groups: 'web' }",
      &world);
  EXPECT_THAT(world.FindPort("x0")->security_groups, ElementsAre("web"));
  MustApply("add_vm_to_vpc { vm { id: 'x' } vpc: 'red' subnet: 'red-1' port: 'x0' }", &world);
  EXPECT_THAT(world.FindPort("x0")->security_groups, ElementsAre("web"));
}

TEST(PortRange, ComesToTheFewestMasksThatMatchJustIt) {
  const auto matches = [](const std::vector<PortMask>& masks, uint16_t port) {
    size_t count = 0;
    for (const PortMask& mask : masks) count += mask.Matches(port);
    return count;
  };
  for (const auto& [range, count] : {std::pair(PortRange{443, 443}, 1U),
                                     {{0, 65535}, 1U},
                                     {{1024, 65535}, 6U},
                                     {{1, 65534}, 30U},
                                     {{80, 443}, 8U}}) {
    const std::vector<PortMask> masks = MasksOf(range);
    EXPECT_EQ(masks.size(), count) << range.first << "-" << range.last;
    for (uint32_t port = 0; port <= 65535; ++port) {
      const bool inside = port >= range.first && port <= range.last;
      ASSERT_EQ(matches(masks, static_cast<uint16_t>(port)), inside ? 1U : 0U) << port;
    }
  }
}

}  // namespace
}  // namespace fairlead
