// SPDX-License-Identifier: Apache-2.0
#include "agent/intent/admit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/text.h"
#include "agent/intent/test_admission.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

Change Accepted(const std::string& text, const World& world, const HostKnowledge& host = {}) {
  auto result = Admit(RequestFromText(text), world, host, {});
  if (auto* violations = std::get_if<std::vector<Violation>>(&result)) {
    for (const Violation& v : *violations) ADD_FAILURE() << v.path << ": " << v.reason;
    return {};
  }
  return std::get<Change>(result);
}

TEST(Admit, ListsEveryMistakeOfAMessage) {
  auto list = Refusal(
      "apply { upsert { vpc { id: '!' vni: 0 } } "
      "upsert { port { id: 'p' vpc: 'no' subnet: 'no' mac: 'x' addresses: 'y' } } "
      "remove { id: '' } }",
      SmallWorld());
  std::vector<std::string> paths;
  for (const Violation& v : list) paths.push_back(v.path);
  EXPECT_THAT(paths,
              ::testing::UnorderedElementsAre(
                  "apply.upsert[0].vpc.id", "apply.upsert[0].vpc.vni", "apply.upsert[1].port.mac",
                  "apply.upsert[1].port.addresses[0]", "apply.upsert[1].port.vpc",
                  "apply.upsert[1].port.subnet", "apply.remove[0].kind", "apply.remove[0].id"));
}

TEST(Admit, BoundsTheListAndSaysHowManyMore) {
  std::string text = "apply {";
  for (int i = 0; i < 400; ++i) text += " upsert { }";
  auto list = Refusal(text + "}", World());
  ASSERT_EQ(list.size(), kMaxViolations);
  EXPECT_THAT(list.back().reason, HasSubstr("145 or more"));
}

TEST(Admit, RefusesMoreItemsThanAMessageMayHold) {
  std::string text = "apply { remove { kind: OBJECT_KIND_VM id: 'x' }";
  for (size_t i = 0; i < kMaxItemsPerMessage; ++i) {
    text += StrCat(" upsert { vpc { id: 'v", i, "' vni: ", i + 1, " } }");
  }
  auto list = Refusal(text + "}", World());
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].path, "apply");
  EXPECT_THAT(list[0].reason, HasSubstr("1024"));
}

TEST(Admit, RefusesMoreAddressesThanAnObjectMayHave) {
  std::string addresses;
  for (int i = 1; i <= 17; ++i) addresses += StrCat("addresses: '10.0.0.", 20 + i, "' ");
  auto list = Refusal(
      StrCat("apply { upsert { endpoint { id: 'e' vpc: 'red' ", addresses, MAC1, VTEP1, " } } }"),
      SmallWorld());
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].endpoint.addresses");
  EXPECT_THAT(list[0].reason, HasSubstr("17 addresses"));
}

TEST(Admit, RefusesMorePairsAndDnsServersThanAnObjectMayHave) {
  std::string pairs, servers;
  for (int i = 1; i <= 32; ++i) StrAppend(&pairs, "allowed_pairs { prefix: '10.0.0.", i, "' } ");
  for (int i = 1; i <= 8; ++i) StrAppend(&servers, "dns_servers: '10.0.0.", i, "' ");
  const auto message = [&](const char* pair, const char* server) {
    return StrCat("apply { upsert { port { id: 'p' vpc: 'red' subnet: 'red-1' ", pairs, pair,
                  "} } upsert { subnet { id: 's' vpc: 'red' prefixes: '10.2.0.0/24' ", servers,
                  server, "} } }");
  };
  const World world = SmallWorld();
  const Change change = Accepted(message("", ""), world);
  ASSERT_EQ(change.upserts.size(), 2U);
  EXPECT_EQ(std::get<Subnet>(change.upserts[0].object).dns_servers.size(), 8U);
  EXPECT_EQ(std::get<Port>(change.upserts[1].object).allowed_pairs.size(), 32U);
  auto list = Refusal(message("allowed_pairs { } ", "dns_servers: '' "), world);
  ASSERT_EQ(list.size(), 2U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].port.allowed_pairs");
  EXPECT_THAT(list[0].reason, HasSubstr("33 pairs; 32 are possible"));
  EXPECT_EQ(list[1].path, "apply.upsert[1].subnet.dns_servers");
  EXPECT_THAT(list[1].reason, HasSubstr("9 DNS servers; 8 are possible"));
}

TEST(Admit, RefusesAVtepOfTheOtherFamilyThanTheHostsTunnel) {
  AdmissionLimits limits;
  limits.tunnel_local = *IpAddress::Parse("192.0.2.1");
  const auto endpoint = [](const std::string& vtep) {
    return StrCat("apply { upsert { endpoint { id: 'e' vpc: 'red' " ADDR1 MAC1 "vtep: '", vtep,
                  "' } } }");
  };
  auto list = Refusal(endpoint("2001:db8::7"), SmallWorld(), {}, limits);
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].endpoint.vtep");
  EXPECT_EQ(list[0].code, ViolationCode::kUnsupported);
  EXPECT_THAT(list[0].reason, HasSubstr("192.0.2.1"));
  EXPECT_TRUE(Refusal(endpoint("192.0.2.7"), SmallWorld(), {}, limits).empty());
}

TEST(Admit, RefusesTheMacThatAPortGotWithItsVf) {
  HostKnowledge host;
  host.port_with_mac = [](const std::string& vpc,
                          const MacAddress& mac) -> std::optional<std::string> {
    if (vpc != "red" || mac != *MacAddress::Parse("52:54:00:00:0f:0f")) return std::nullopt;
    return "a0";
  };
  const auto refusal = [&](const std::string& rest) {
    return Refusal(StrCat("apply { upsert { endpoint { id: 'e' " ADDR1 VTEP1, rest), SmallWorld(),
                   host);
  };
  auto list = refusal("vpc: 'red' mac: '52:54:00:00:0f:0f' } } }");
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].endpoint.mac");
  EXPECT_THAT(list[0].reason, HasSubstr("port/a0"));
  EXPECT_TRUE(refusal("vpc: 'blue' mac: '52:54:00:00:0f:0f' } } }").empty()) << "another VPC";
  EXPECT_TRUE(refusal("vpc: 'red' mac: '52:54:00:00:0f:0f' } } "
                      "remove { kind: OBJECT_KIND_PORT id: 'a0' } }")
                  .empty())
      << "the port goes in the same message";
}

TEST(Admit, RefusesMoreObjectsThanTheHostMayHold) {
  const World world = SmallWorld();
  AdmissionLimits limits;
  limits.max_objects = world.size();
  auto list = Refusal("apply { upsert { vpc { id: 'x' vni: 5 } } }", world, {}, limits);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].path, "apply");
  EXPECT_TRUE(Refusal("apply { upsert { vpc { id: 'x' vni: 5 } } "
                      "remove { kind: OBJECT_KIND_VM id: 'b' } }",
                      world, {}, limits)
                  .empty());
  EXPECT_TRUE(
      Refusal("apply { upsert { vpc { id: 'red' vni: 100 } } }", world, {}, limits).empty());
}

TEST(Admit, NamesOnlyAFewOfManyUsers) {
  World world = SmallWorld();
  std::string text = "apply {";
  for (int i = 0; i < 20; ++i) {
    text += StrCat(" upsert { port { id: 'b", i, "' vm: 'b' vpc: 'red' subnet: 'red-2' } }");
  }
  MustApply(text + "}", &world);
  auto list = Refusal("apply { remove { kind: OBJECT_KIND_VM id: 'b' } }", world);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_THAT(list[0].reason, HasSubstr("and more"));
  EXPECT_LT(list[0].reason.size(), 300U);
}

TEST(Admit, TwoPortsMaySwapAddressesAndMacsInOneMessage) {
  World world = SmallWorld();
  MustApply("apply { " PORT("addresses: '10.0.0.6' mac: '52:54:00:00:00:06'") " }", &world);
  Change change = Accepted(
      "apply { upsert { port { id: 'a0' vm: 'a' vpc: 'red' subnet: 'red-1' addresses: '10.0.0.6' "
      "mac: '52:54:00:00:00:06' } } " PORT("addresses: '10.0.0.5' mac: '52:54:00:00:00:0a'") " }",
      world);
  EXPECT_EQ(change.upserts.size(), 2U);
  world.Apply(change);
  EXPECT_EQ(BrokenInvariant(world), "");
}

TEST(Admit, AnAddressMovesFromARemovedPortOrEndpointToANewPort) {
  World world = SmallWorld();
  world.Apply(
      Accepted("apply { remove { kind: OBJECT_KIND_PORT id: 'a0' } "
               "remove { kind: OBJECT_KIND_ENDPOINT id: 'far' } " PORT(
                   "addresses: '10.0.0.5' addresses: '10.0.0.9' mac: '52:54:00:00:00:0f'") " }",
               world));
  EXPECT_EQ(BrokenInvariant(world), "");
  EXPECT_EQ(world.OwnerOfAddress("red", *IpAddress::Parse("10.0.0.9"))->id, "p");
}

// red-1 with gateways, at 10.0.0.1 and 2001:db8::1.
World RoutedWorld() {
  World world = SmallWorld();
  MustApply(
      "apply { upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/24' prefixes: "
      "'2001:db8::/64' gateways: '10.0.0.1' gateways: '2001:db8::1' } } }",
      &world);
  return world;
}

TEST(Admit, AStoredGatewaysAddressIsNobodyElses) {
  const World world = RoutedWorld();
  auto list = Refusal("apply { " PORT(ADDR1 "addresses: '10.0.0.1'") " }", world);
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].port.addresses[1]");
  EXPECT_EQ(list[0].code, kConflict);
  EXPECT_EQ(list[0].reason, "10.0.0.1 in vpc/red is taken by subnet/red-1 as its gateway");
  list = Refusal("apply { " ENDPOINT(MAC1 VTEP1 "addresses: '2001:db8::1'") " }", world);
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].endpoint.addresses[0]");
  EXPECT_EQ(list[0].reason, "2001:db8::1 in vpc/red is taken by subnet/red-1 as its gateway");
  list = Refusal(
      "add_vm_to_vpc { vm { id: 'b' } vpc: 'red' subnet: 'red-1' addresses: '10.0.0.1' }", world);
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "add_vm_to_vpc.addresses[0]");
  EXPECT_TRUE(Refusal("apply { upsert { port { id: 'p' vpc: 'blue' subnet: 'blue-1' addresses: "
                      "'10.0.0.1' } } }",
                      world)
                  .empty())
      << "another VPC";
}

TEST(Admit, AnAddressMayMoveBetweenAPortAndTheGatewayInOneMessage) {
  World world = RoutedWorld();
  const std::string subnet =
      "upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/24' prefixes: '2001:db8::/64' "
      "gateways: '10.0.0.5' } } ";
  const std::string port =
      "upsert { port { id: 'a0' vm: 'a' vpc: 'red' subnet: 'red-1' addresses: '10.0.0.1' } } ";
  World other = world;
  MustApply(StrCat("apply { ", subnet, port, "}"), &world);
  MustApply(StrCat("apply { ", port, subnet, "}"), &other);
  EXPECT_EQ(Dump(world), Dump(other));
  EXPECT_EQ(BrokenInvariant(world), "");
  const auto owner = [&](const char* address) {
    const auto ref = world.OwnerOfAddress("red", *IpAddress::Parse(address));
    return ref ? ref->ToString() : "nobody";
  };
  EXPECT_EQ(owner("10.0.0.5"), "subnet/red-1");
  EXPECT_EQ(owner("10.0.0.1"), "port/a0");
  EXPECT_EQ(owner("2001:db8::1"), "nobody");
}

TEST(Admit, ASubnetThatLosesAGatewaysPrefixMustLoseTheGateway) {
  const World world = RoutedWorld();
  auto list = Refusal(
      "apply { upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/24' gateways: "
      "'10.0.0.1' gateways: '2001:db8::1' } } }",
      world);
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].subnet.gateways[1]");
  EXPECT_EQ(Accepted("apply { upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/24' "
                     "gateways: '10.0.0.1' } } }",
                     world)
                .upserts.size(),
            1U);
}

TEST(Admit, AVpcWithGatewaysOrDnsServersDoesNotBecomeAVlan) {
  World world;
  MustApply(
      "apply { upsert { vpc { id: 'v' vni: 5 } } upsert { subnet { id: 's' vpc: 'v' prefixes: "
      "'10.0.0.0/24' gateways: '10.0.0.1' } } upsert { subnet { id: 't' vpc: 'v' prefixes: "
      "'10.0.1.0/24' dns_servers: '10.0.0.2' } } upsert { subnet { id: 'u' vpc: 'v' "
      "prefixes: '10.0.2.0/24' } } }",
      &world);
  const std::string vlan = "apply { upsert { vpc { id: 'v' vlan: 5 } } ";
  auto list = Refusal(vlan + "}", world);
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].vpc.vlan");
  EXPECT_EQ(list[0].code, kConflict);
  EXPECT_THAT(list[0].reason, HasSubstr("(subnet/s, subnet/t)"));
  EXPECT_TRUE(Refusal(vlan + "upsert { subnet { id: 's' vpc: 'v' prefixes: '10.0.0.0/24' } } "
                             "remove { kind: OBJECT_KIND_SUBNET id: 't' } }",
                      world)
                  .empty());
}

TEST(Admit, ASlash31AndASlash127HaveRoomForAGatewayAndOnePort) {
  EXPECT_TRUE(
      Refusal("apply { upsert { vpc { id: 'v' vni: 5 } } upsert { subnet { id: 's' vpc: 'v' "
              "prefixes: '10.0.0.0/31' prefixes: '2001:db8::/127' gateways: '10.0.0.0' "
              "gateways: '2001:db8::' } } upsert { port { id: 'p' vpc: 'v' subnet: 's' "
              "addresses: '10.0.0.1' addresses: '2001:db8::1' } } }",
              World())
          .empty());
}

TEST(Admit, AWholeVpcGoesInOneMessage) {
  World world = SmallWorld();
  Change change = Accepted(
      "apply { remove { kind: OBJECT_KIND_VPC id: 'red' } "
      "remove { kind: OBJECT_KIND_SUBNET id: 'red-1' } "
      "remove { kind: OBJECT_KIND_SUBNET id: 'red-2' } "
      "remove { kind: OBJECT_KIND_PORT id: 'a0' } "
      "remove { kind: OBJECT_KIND_ENDPOINT id: 'far' } "
      "remove { kind: OBJECT_KIND_VM id: 'gone-before' } }",
      world);
  EXPECT_EQ(change.removes.size(), 5U);  // what is not there is left out
  world.Apply(change);
  EXPECT_EQ(BrokenInvariant(world), "");
}

TEST(Admit, OrderWithinAMessageHasNoEffect) {
  const char* vpc = "upsert { vpc { id: 'v' vni: 5 } } ";
  const char* subnet = "upsert { subnet { id: 's' vpc: 'v' prefixes: '10.0.0.0/24' } } ";
  const char* port = "upsert { port { id: 'p' vpc: 'v' subnet: 's' addresses: '10.0.0.4' } } ";
  const char* endpoint =
      "upsert { endpoint { id: 'e' vpc: 'v' addresses: '10.0.0.5' "
      "mac: '52:54:00:00:00:01' vtep: '192.0.2.1' } } ";
  World forward, backward;
  MustApply(StrCat("apply { ", vpc, subnet, port, endpoint, "}"), &forward);
  MustApply(StrCat("apply { ", endpoint, port, subnet, vpc, "}"), &backward);
  EXPECT_EQ(Dump(forward), Dump(backward));
  EXPECT_EQ(forward.FindEndpoint("e")->subnet, "s");
}

TEST(Admit, AnUpsertWithoutChangesIsLeftOut) {
  const World world = SmallWorld();
  Change change = Accepted(
      "apply { upsert { vpc { id: 'red' vni: 100 } } upsert { endpoint { "
      "id: 'far' vpc: 'red' mac: '52:54:00:00:00:0F' addresses: '10.0.0.9' "
      "vtep: '192.0.2.2' } } }",
      world);
  EXPECT_TRUE(change.empty());
  EXPECT_EQ(change.next_ordinal, world.next_ordinal());
}

TEST(Admit, AChangedObjectKeepsItsOrdinalAndGetsTheNextGeneration) {
  const World world = SmallWorld();
  const StoredObject* before = world.Find({ObjectKind::kPort, "a0"});
  Change change = Accepted(
      "apply { upsert { port { id: 'a0' vm: 'b' vpc: 'blue' "
      "subnet: 'blue-1' } } }",
      world);
  ASSERT_EQ(change.upserts.size(), 1U);
  EXPECT_EQ(change.upserts[0].generation, before->generation + 1);
  EXPECT_EQ(change.upserts[0].ordinal, before->ordinal);
}

TEST(Admit, OrdinalsWrapAndSkipThoseInUse) {
  World world({{Vpc{"one", *Vni::Make(1)}, 1, 1}, {Vpc{"last", *Vni::Make(2)}, 1, kMaxOrdinal}},
              kMaxOrdinal);
  Change change = Accepted(
      "apply { upsert { vpc { id: 'x' vni: 5 } } "
      "upsert { vpc { id: 'y' vni: 6 } } "
      "remove { kind: OBJECT_KIND_VPC id: 'one' } }",
      world);
  ASSERT_EQ(change.upserts.size(), 2U);
  // 1 is of an object that only this change removes.
  EXPECT_EQ(change.upserts[0].ordinal, 2U);
  EXPECT_EQ(change.upserts[1].ordinal, 3U);
  EXPECT_EQ(change.next_ordinal, 4U);
}

TEST(Admit, ASubnetMayGrowAndAVpcWithoutPortsMayChangeItsVni) {
  World world = SmallWorld();
  Change change = Accepted(
      "apply { upsert { subnet { id: 'red-1' vpc: 'red' "
      "prefixes: '2001:db8::/60' prefixes: '10.0.0.0/24' } } "
      "upsert { vpc { id: 'blue' vni: 201 } } }",
      world);
  EXPECT_EQ(change.upserts.size(), 2U);
}

TEST(Admit, ASlash31HasNoNetworkAddress) {
  EXPECT_TRUE(Refusal("apply { upsert { vpc { id: 'v' vni: 5 } } "
                      "upsert { subnet { id: 's' vpc: 'v' prefixes: '10.0.0.0/31' } } "
                      "upsert { port { id: 'p' vpc: 'v' subnet: 's' addresses: '10.0.0.0' "
                      "addresses: '10.0.0.1' } } }",
                      World())
                  .empty());
}

TEST(Admit, RefusesARequestThatIsNoChange) {
  EXPECT_EQ(Refusal("get { }", World()).size(), 1U);
  EXPECT_EQ(Refusal("", World()).size(), 1U);
}

// A NIC like the lab's: its PF cannot set the MAC of a VF.
HostFacts FixedMacHost() {
  HostFacts facts;
  PfFacts pf;
  pf.id = *MacAddress::Parse("52:54:00:00:01:00");
  pf.pci = *PciAddress::Parse("0000:01:00.0");
  pf.netdev = "pf0";
  pf.driver = "virtio-pci";
  for (uint16_t i = 0; i < 2; ++i) {
    VfFacts vf;
    vf.index = i;
    vf.mac = MacAddress({0x52, 0x54, 0, 0, 2, static_cast<uint8_t>(i)});
    pf.vfs.push_back(vf);
  }
  facts.pfs[pf.id] = pf;
  return facts;
}

constexpr char kOtherMac[] = "apply { " PORT("mac: '52:54:00:00:09:09'") " }";

TEST(HostMac, AMacThatNoVfCanHaveIsRefusedByName) {
  HostFacts facts = FixedMacHost();
  auto list = Refusal(kOtherMac, SmallWorld(), {&facts, {}});
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].path, "apply.upsert[0].port.mac");
  EXPECT_EQ(list[0].code, ViolationCode::kUnsupported);
  EXPECT_THAT(list[0].reason, HasSubstr("pf0"));
  EXPECT_THAT(list[0].reason, HasSubstr("cannot set a VF's MAC"));
  EXPECT_THAT(list[0].reason, HasSubstr("52:54:00:00:02:00, 52:54:00:00:02:01"));
}

TEST(HostMac, OneOfTheVfsMacsIsAccepted) {
  HostFacts facts = FixedMacHost();
  EXPECT_TRUE(Refusal("apply { " PORT("mac: '52:54:00:00:02:01'") " }", SmallWorld(), {&facts, {}})
                  .empty());
}

TEST(HostMac, NothingIsSaidWhileItIsNotKnownOrAnotherNicCan) {
  const World world = SmallWorld();
  const MacAddress key = *MacAddress::Parse("52:54:00:00:01:00");
  HostFacts facts = FixedMacHost();
  facts.pfs[key].vfs[1].mac.reset();
  EXPECT_TRUE(Refusal(kOtherMac, world, {&facts, {}}).empty());
  facts = FixedMacHost();
  facts.pfs[key].vfs.clear();
  EXPECT_TRUE(Refusal(kOtherMac, world, {&facts, {}}).empty());
  facts = FixedMacHost();
  facts.pfs[key].can_set_vf_mac = true;
  EXPECT_TRUE(Refusal(kOtherMac, world, {&facts, {}}).empty());
  facts = FixedMacHost();
  facts.pfs[key].network = NetworkKind::kConverged;
  EXPECT_TRUE(Refusal(kOtherMac, world, {&facts, {}}).empty());
}

TEST(HostMac, ANicThatMayNotBeUsedDoesNotCount) {
  HostFacts facts = FixedMacHost();
  PfFacts other;
  other.id = *MacAddress::Parse("52:54:00:00:01:01");
  other.can_set_vf_mac = true;
  other.refused = "carries the default route";
  facts.pfs[other.id] = other;
  EXPECT_EQ(Refusal(kOtherMac, SmallWorld(), {&facts, {}}).size(), 1U);
}

TEST(HostMac, APortThatWasAcceptedIsNotRefusedWhenSentAgain) {
  const World world = SmallWorld();
  HostFacts facts = FixedMacHost();
  Change change = Accepted(
      "apply { upsert { port { id: 'a0' vm: 'a' vpc: 'red' subnet: 'red-1' "
      "mac: '52:54:00:00:00:0a' addresses: '10.0.0.6' } } }",
      world, {&facts, {}});
  EXPECT_EQ(change.upserts.size(), 1U);
}

}  // namespace
}  // namespace fairlead
