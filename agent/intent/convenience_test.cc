// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/text.h"
#include "agent/intent/test_admission.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

std::variant<Change, std::vector<Violation>> Ask(const std::string& text, const World& world) {
  return Admit(RequestFromText(text), world, {}, {});
}

constexpr char kUuidC[] = "00000000-0000-4000-8000-00000000000c";

TEST(AddVmToVpc, StoresWhatAnApplyOfTheSameObjectsStores) {
  World by_intent = SmallWorld(), by_apply = SmallWorld();
  MustApply(StrCat("add_vm_to_vpc { vm { id: 'c' uuid: '", kUuidC,
                   "' } vpc: 'blue' "
                   "mac: '52:54:00:00:00:01' addresses: '10.0.0.5' addresses: '10.0.0.6' "
                   "network: NETWORK_KIND_CONVERGED offload: OFFLOAD_WISH_MUST }"),
            &by_intent);
  MustApply(StrCat("apply { upsert { port { id: 'c-blue-1' vm: 'c' vpc: 'blue' subnet: 'blue-1' "
                   "mac: '52:54:00:00:00:01' addresses: '10.0.0.5' addresses: '10.0.0.6' "
                   "network: NETWORK_KIND_CONVERGED offload: OFFLOAD_WISH_MUST } } "
                   "upsert { vm { id: 'c' uuid: '",
                   kUuidC, "' } } }"),
            &by_apply);
  EXPECT_EQ(Dump(by_intent), Dump(by_apply));
  EXPECT_NE(by_intent.FindPort("c-blue-1"), nullptr);
}

TEST(AddVmToVpc, ASecondTimeChangesNothing) {
  World world = SmallWorld();
  const std::string text = StrCat("add_vm_to_vpc { vm { id: 'c' uuid: '", kUuidC,
                                  "' } vpc: 'blue' addresses: '10.0.0.5' }");
  MustApply(text, &world);
  auto result = Ask(text, world);
  ASSERT_TRUE(std::holds_alternative<Change>(result));
  EXPECT_TRUE(std::get<Change>(result).empty());
}

TEST(AddVmToVpc, AKnownVmNeedsNoUuid) {
  World world = SmallWorld();
  MustApply("add_vm_to_vpc { vm { id: 'b' } vpc: 'red' subnet: 'red-2' port: 'nic' }", &world);
  EXPECT_EQ(world.FindPort("nic")->vm, "b");
  EXPECT_EQ(world.FindVm("b")->uuid.ToString(), "00000000-0000-4000-8000-00000000000b");
}

TEST(AddVmToVpc, TakesAPortThatWaitsForAVm) {
  World world = SmallWorld();
  MustApply("apply { upsert { port { id: 'w' vpc: 'blue' subnet: 'blue-1' } } }", &world);
  MustApply("add_vm_to_vpc { vm { id: 'b' } vpc: 'blue' port: 'w' }", &world);
  EXPECT_EQ(world.FindPort("w")->vm, "b");
}

TEST(AddVmToVpc, NamesTheFieldsThatTheUserWrote) {
  ExpectRefused("add_vm_to_vpc { vm { id: 'c' } vpc: 'blue' }", "add_vm_to_vpc.vm.uuid",
                ViolationCode::kNotFound, "its UUID is needed");
  ExpectRefused("add_vm_to_vpc { vm { id: 'c' uuid: 'u' } vpc: 'blue' }", "add_vm_to_vpc.vm.uuid",
                ViolationCode::kInvalid, "'u'");
  ExpectRefused("add_vm_to_vpc { vm { id: '/c' } vpc: 'blue' }", "add_vm_to_vpc.vm.id",
                ViolationCode::kInvalid, "/c");
  ExpectRefused("add_vm_to_vpc { vpc: 'blue' }", "add_vm_to_vpc.vm.id", ViolationCode::kInvalid,
                "missing");
  ExpectRefused("add_vm_to_vpc { vm { id: 'b' } vpc: 'no' }", "add_vm_to_vpc.vpc",
                ViolationCode::kNotFound, "vpc/no");
  ExpectRefused("add_vm_to_vpc { vm { id: 'b' } }", "add_vm_to_vpc.vpc", ViolationCode::kInvalid,
                "missing");
  ExpectRefused("add_vm_to_vpc { vm { id: 'b' } vpc: 'red' }", "add_vm_to_vpc.subnet",
                ViolationCode::kInvalid, "2 subnets (red-1, red-2)");
  ExpectRefused("add_vm_to_vpc { vm { id: 'b' } vpc: 'red' subnet: 'no' }", "add_vm_to_vpc.subnet",
                ViolationCode::kNotFound, "subnet/no");
  ExpectRefused("add_vm_to_vpc { vm { id: 'b' } vpc: 'red' subnet: 'n o' }", "add_vm_to_vpc.subnet",
                ViolationCode::kInvalid, "n o");
  ExpectRefused("add_vm_to_vpc { vm { id: 'b' } vpc: 'blue' port: '!' }", "add_vm_to_vpc.port",
                ViolationCode::kInvalid, "!");
  ExpectRefused("add_vm_to_vpc { vm { id: 'b' } vpc: 'blue' mac: 'm' }", "add_vm_to_vpc.mac",
                ViolationCode::kInvalid, "'m'");
  ExpectRefused("add_vm_to_vpc { vm { id: 'b' } vpc: 'blue' mac: '02:66:6c:00:00:01' }",
                "add_vm_to_vpc.mac", ViolationCode::kInvalid, "every subnet's gateway");
  ExpectRefused("add_vm_to_vpc { vm { id: 'b' } vpc: 'red' subnet: 'red-1' addresses: '10.0.0.5' }",
                "add_vm_to_vpc.addresses[0]", ViolationCode::kConflict, "port/a0");
}

TEST(AddVmToVpc, AVpcWithoutSubnetIsSaid) {
  World world = SmallWorld();
  MustApply("apply { upsert { vpc { id: 'bare' vni: 7 } } }", &world);
  auto result = Ask("add_vm_to_vpc { vm { id: 'b' } vpc: 'bare' }", world);
  auto& list = std::get<std::vector<Violation>>(result);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].path, "add_vm_to_vpc.subnet");
  EXPECT_THAT(list[0].reason, HasSubstr("has no subnet"));
}

TEST(AddVmToVpc, ADefaultPortIdThatIsTooLongIsRefused) {
  const std::string vm(60, 'v');
  World world = SmallWorld();
  MustApply(StrCat("apply { upsert { vm { id: '", vm, "' uuid: '", kUuidC, "' } } }"), &world);
  auto result = Ask(StrCat("add_vm_to_vpc { vm { id: '", vm, "' } vpc: 'blue' }"), world);
  auto& list = std::get<std::vector<Violation>>(result);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].path, "add_vm_to_vpc.port");
  EXPECT_THAT(list[0].reason, HasSubstr("give a port id"));
}

TEST(AddVmToVpc, DoesNotTakeAnotherVmsPort) {
  ExpectRefused("add_vm_to_vpc { vm { id: 'b' } vpc: 'red' subnet: 'red-1' port: 'a0' }",
                "add_vm_to_vpc.port", ViolationCode::kConflict, "belongs to vm/a");
  ExpectRefused("add_vm_to_vpc { vm { id: 'a' } vpc: 'blue' port: 'a0' }", "add_vm_to_vpc.port",
                ViolationCode::kConflict, "is in vpc/red");
}

TEST(AddVmToVpc, OfAPortInAVlanWhatIsLeftUnsaidStays) {
  World world = SmallWorld();
  MustApply(
      "apply { upsert { vpc { id: 'lan' vlan: 100 } } upsert { subnet { id: 'lan-1' vpc: 'lan' "
      "prefixes: '10.0.0.0/24' } } }",
      &world);
  MustApply(
      "add_vm_to_vpc { vm { id: 'b' } vpc: 'lan' port: 'n' spoof_check: SPOOF_CHECK_OFF trust: "
      "true "
      "max_tx_mbps: 500 min_tx_mbps: 100 }",
      &world);
  MustApply("add_vm_to_vpc { vm { id: 'b' } vpc: 'lan' port: 'n' max_tx_mbps: 600 }", &world);
  const Port* port = world.FindPort("n");
  EXPECT_EQ(port->spoof_check, false);
  EXPECT_TRUE(port->trust);
  EXPECT_EQ(port->max_tx_mbps, 600u);
  EXPECT_EQ(port->min_tx_mbps, 100u);
  EXPECT_EQ(world.OwnerOfVlan(*VlanId::Make(100)), (ObjectRef{ObjectKind::kVpc, "lan"}));
  EXPECT_EQ(BrokenInvariant(world), "");
}

TEST(AddVmToVpc, LeavesThePairsOfAPortAsTheyAre) {
  World world = SmallWorld();
  MustApply(
      "apply { upsert { port { id: 'n' vm: 'b' vpc: 'red' subnet: 'red-2' allowed_pairs { prefix: "
      "'10.0.1.100' } allowed_pairs { mac: '02:00:5e:00:01:07' prefix: '10.0.0.0/8' } } } }",
      &world);
  const std::vector<AddressPair> pairs = world.FindPort("n")->allowed_pairs;
  ASSERT_EQ(pairs.size(), 2U);
  MustApply(
      "add_vm_to_vpc { vm { id: 'b' } vpc: 'red' subnet: 'red-2' port: 'n' addresses: "
      "'10.0.1.9' }",
      &world);
  EXPECT_EQ(world.FindPort("n")->allowed_pairs, pairs);
  EXPECT_EQ(world.FindPort("n")->addresses.size(), 1U);
}

TEST(RemoveVmFromVpc, TheVmGoesWithItsLastPort) {
  World world = SmallWorld();
  MustApply("add_vm_to_vpc { vm { id: 'a' } vpc: 'blue' }", &world);
  MustApply("remove_vm_from_vpc { vm: 'a' vpc: 'red' }", &world);
  EXPECT_EQ(world.FindPort("a0"), nullptr);
  EXPECT_NE(world.FindVm("a"), nullptr);
  MustApply("remove_vm_from_vpc { vm: 'a' vpc: 'blue' port: 'a-blue-1' }", &world);
  EXPECT_EQ(world.FindVm("a"), nullptr);
  EXPECT_EQ(BrokenInvariant(world), "");
}

TEST(RemoveVmFromVpc, RemovingWhatIsNotThereChangesNothing) {
  const World world = SmallWorld();
  for (const char* text :
       {"remove_vm_from_vpc { vm: 'zz' vpc: 'red' }", "remove_vm_from_vpc { vm: 'b' vpc: 'red' }",
        "remove_vm_from_vpc { vm: 'a' vpc: 'red' port: 'zz' }"}) {
    auto result = Ask(text, world);
    ASSERT_TRUE(std::holds_alternative<Change>(result)) << text;
    EXPECT_TRUE(std::get<Change>(result).empty()) << text;
  }
}

TEST(RemoveVmFromVpc, RefusesAPortOfSomebodyElse) {
  ExpectRefused("remove_vm_from_vpc { vm: 'b' vpc: 'red' port: 'a0' }", "remove_vm_from_vpc.port",
                ViolationCode::kConflict, "of vm/a");
  ExpectRefused("remove_vm_from_vpc { vm: 'a' vpc: 'blue' port: 'a0' }", "remove_vm_from_vpc.port",
                ViolationCode::kConflict, "in vpc/red");
  ExpectRefused("remove_vm_from_vpc { vpc: 'red' }", "remove_vm_from_vpc.vm",
                ViolationCode::kInvalid, "missing");
}

}  // namespace
}  // namespace fairlead
