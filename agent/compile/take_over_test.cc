// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/take_over.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/test_types.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint32_t kLost = 0x0a1b2c3d;

Uuid UuidOfVm() { return *Uuid::Parse("6f9619ff-8b86-4d01-b42d-00c04fc964ff"); }

// A host of one NIC with four VFs, VPC "red" with VNI 1000 and a subnet, VM "a".
class TakeOverPlanTest : public ::testing::Test {
 protected:
  TakeOverPlanTest() {
    PfFacts pf;
    pf.id = NicId(Mac("52:54:00:00:00:01"));
    for (uint16_t i = 0; i < 4; ++i) {
      VfFacts vf;
      vf.index = i;
      vf.pci = *PciAddress::Parse(StrCat("0000:01:00.", i + 1));
      vf.mac = MacAddress({0x52, 0x54, 0, 0, 1, static_cast<uint8_t>(i)});
      vf.representor = StrCat("rep", i);
      vf.representor_ifindex = 100U + i;
      pf.vfs.push_back(vf);
    }
    facts_.pfs[pf.id] = pf;
    found_.store = kLost;
    found_.tunnel = TunnelFacts{"fl-vxlan0", 9, Ip("192.0.2.1"), 4789, 1450};
    Accept(Vpc{"red", *Vni::Make(1000)});
    Accept(Subnet{"red-1", "red", *IpPrefix::Parse("10.0.0.0/24"), std::nullopt});
    Accept(Vm{"a", UuidOfVm()});
  }

  void Accept(Object object) {
    objects_.push_back({std::move(object), 1, static_cast<uint32_t>(objects_.size() + 1)});
  }
  Port AcceptPort(const std::string& id, std::optional<MacAddress> mac = std::nullopt) {
    Port port;
    port.id = id;
    port.vm = "a";
    port.vpc = "red";
    port.subnet = "red-1";
    port.mac = mac;
    Accept(port);
    return port;
  }
  VfId Vf(uint16_t index) const { return {NicId(Mac("52:54:00:00:00:01")), index}; }
  // As the lost store's agent left it: a VF in VM "a" of a port with this number.
  void Find(uint16_t vf, uint32_t ordinal) {
    found_.representors[Vf(vf)] = RepresentorSpec{Vf(vf), RuleTable{.vni = *Vni::Make(1000)}};
    found_.devices.push_back({"a", UuidOfVm(), GuestDeviceId(kLost, ordinal, 7U + vf),
                              *PciAddress::Parse(StrCat("0000:01:00.", vf + 1)), StrCat("rp", vf)});
  }
  // Rules as they were compiled under that number.
  void FindRules(const std::vector<FlowRule>& rules) {
    for (const FlowRule& rule : rules) {
      found_.rules.push_back({rule.location, rule.MatchHash()});
    }
  }
  OwnState Own() {
    world_ = World(objects_, static_cast<uint32_t>(objects_.size() + 1));
    return {&world_, &facts_, &attachments_, 5, 6};
  }
  uint32_t OrdinalAfter(const TakeOver& plan, const ObjectRef& ref) {
    World world = world_;
    world.Apply(plan.change);
    return world.Find(ref)->ordinal;
  }

  HostFacts facts_;
  FoundObjects found_;
  std::vector<StoredObject> objects_;
  World world_;
  std::map<VfId, Attachment> attachments_;
};

TEST_F(TakeOverPlanTest, ObjectsGetBackTheNumbersThatTheirRulesHave) {
  AcceptPort("p");
  Endpoint far{"far", "red", "red-1", Mac("52:54:00:00:09:01"), {Ip("10.0.0.9")}, Ip("192.0.2.2")};
  Accept(far);
  Find(2, 41);
  const VpcContext red{*Vni::Make(1000), 43, *found_.tunnel};
  FindRules(CompileEndpointRules(red, {44, false, false}, far, 42));
  FindRules(CompileVpcRules(red));
  const Route out{"out", "red", *IpPrefix::Parse("0.0.0.0/0"), Ip("10.0.0.9")};
  Accept(out);
  FindRules(CompileRouteRules(red, out, 45, &far));
  const OwnState own = Own();
  const absl::StatusOr<TakeOver> plan = PlanAdoption(found_, own);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->left, IsEmpty());
  EXPECT_EQ(OrdinalAfter(*plan, {ObjectKind::kPort, "p"}), 41U);
  EXPECT_EQ(OrdinalAfter(*plan, {ObjectKind::kEndpoint, "far"}), 42U);
  EXPECT_EQ(OrdinalAfter(*plan, {ObjectKind::kVpc, "red"}), 43U);
  EXPECT_EQ(OrdinalAfter(*plan, {ObjectKind::kSubnet, "red-1"}), 44U)
      << "the chain of its endpoint";
  EXPECT_EQ(OrdinalAfter(*plan, {ObjectKind::kRoute, "out"}), 45U);
  ASSERT_EQ(plan->attachments.size(), 1U);
  const Attachment& attachment = plan->attachments[0];
  EXPECT_EQ(attachment.vf, Vf(2));
  EXPECT_EQ(attachment.lease, 5U) << "a lease of this store";
  EXPECT_EQ(attachment.guest_id, GuestDeviceId(kLost, 41, 9));
  EXPECT_EQ(attachment.port_ordinal, 41U);
  EXPECT_EQ(attachment.phase, AttachmentPhase::kReady);
  EXPECT_EQ(plan->next_lease, 6U);
}

TEST_F(TakeOverPlanTest, AnObjectInTheWayOfANumberGetsAnotherThatNobodyHas) {
  AcceptPort("p");  // has 4 here
  Find(0, 1);       // and had 1, which is the VPC's now
  const OwnState own = Own();
  const absl::StatusOr<TakeOver> plan = PlanAdoption(found_, own);
  ASSERT_TRUE(plan.ok()) << plan.status();
  std::set<uint32_t> ordinals;
  World world = world_;
  world.Apply(plan->change);
  world.ForEach([&](const StoredObject& stored) { ordinals.insert(stored.ordinal); });
  EXPECT_EQ(ordinals.size(), objects_.size()) << "each its own";
  EXPECT_EQ(OrdinalAfter(*plan, {ObjectKind::kPort, "p"}), 1U);
  EXPECT_GT(plan->change.next_ordinal, *ordinals.rbegin());
}

TEST_F(TakeOverPlanTest, TwoPortsOfAVmAreToldApartByTheirMacsOnly) {
  AcceptPort("p0");
  AcceptPort("p1");
  Find(0, 11);
  Find(1, 12);
  OwnState own = Own();
  absl::StatusOr<TakeOver> plan = PlanAdoption(found_, own);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->taken, IsEmpty());
  EXPECT_THAT(plan->left, Contains(HasSubstr("name the MAC in the port")));

  objects_.resize(3);
  AcceptPort("p0", Mac("52:54:00:00:01:01"));
  AcceptPort("p1", Mac("52:54:00:00:01:00"));
  own = Own();
  plan = PlanAdoption(found_, own);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->attachments.size(), 2U);
  for (const Attachment& attachment : plan->attachments) {
    EXPECT_EQ(attachment.vf, Vf(attachment.port == "p0" ? 1 : 0));
  }
}

TEST_F(TakeOverPlanTest, WhatAPortOfThisStoreHasIsNotGivenAway) {
  AcceptPort("p");
  Find(0, 11);
  Attachment mine;
  mine.vf = Vf(0);
  mine.port = "other";
  mine.vlan = *VlanId::Make(100);
  attachments_[mine.vf] = mine;
  const OwnState own = Own();
  for (const auto& plan : {PlanAdoption(found_, own), PlanPurge(found_, own)}) {
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_THAT(plan->attachments, IsEmpty());
    EXPECT_THAT(plan->left, Contains(HasSubstr("port/other has it")));
  }
}

TEST_F(TakeOverPlanTest, APurgeEndsEachTenancyUnderANumberOfItsOwn) {
  AcceptPort("p");
  Find(0, 1);
  found_.representors[Vf(3)] =
      RepresentorSpec{Vf(3), RuleTable{.vni = *Vni::Make(1000)}};  // no VM has it
  found_.devices.push_back(
      {"a", UuidOfVm(), GuestDeviceId(kLost, 9, 9), *PciAddress::Parse("0000:99:00.1"), "rp9"});
  const OwnState own = Own();
  const absl::StatusOr<TakeOver> plan = PlanPurge(found_, own);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->attachments.size(), 2U);
  std::set<uint32_t> numbers;
  std::set<std::string> names;
  for (const Attachment& attachment : plan->attachments) {
    EXPECT_EQ(attachment.phase, AttachmentPhase::kReleasing);
    EXPECT_GE(attachment.port_ordinal, 5U) << "no object's, and none of the lost store's";
    numbers.insert(attachment.port_ordinal);
    names.insert(attachment.port);
  }
  EXPECT_EQ(numbers.size(), 2U);
  EXPECT_EQ(names.size(), 2U);
  EXPECT_THAT(plan->left, ElementsAre(HasSubstr("of no PF that the configuration lists")));
}

}  // namespace
}  // namespace fairlead
