// SPDX-License-Identifier: Apache-2.0
//
// Functions that hot-plug brings: which one a port means, what it is compiled to, and
// when it is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/compile/compile.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr PciAddress kSlot{0, 0, 4, 0};
constexpr PciAddress kOtherSlot{0, 0, 5, 0};

MacAddress Mac(uint8_t n) { return MacAddress({2, 0, 0, 0, 0, n}); }

class FunctionTest : public ::testing::Test {
 protected:
  FunctionTest() {
    for (const PciAddress& slot : {kSlot, kOtherSlot}) {
      PfFacts& port = facts.pfs[slot];
      port.id = slot;
      port.name = slot == kSlot ? "dpu0" : "dpu1";
      port.deadline = std::chrono::seconds(slot == kSlot ? 5 : 9);
    }
    VfFacts function;
    function.pci = {0, 2, 0, 0};
    function.driver = "virtio-pci";
    function.netdev = "eth1";
    function.mac = Mac(1);
    function.iommu_group = 12;
    facts.pfs[kSlot].vfs = {function};
    facts.pfs[kSlot].num_vfs = 1;
    port.id = "p";
    port.vm = "vm";
    port.function = FunctionSource::kHotplug;
    port.mac = Mac(1);
    attachment.vf = {kSlot, 0};
    attachment.lease = 42;
    attachment.port = "p";
    attachment.port_ordinal = 17;
    attachment.vm = "vm";
    attachment.bus = "rp1";
  }
  PfFacts& slot() { return facts.pfs[kSlot]; }
  VfFacts& function() { return slot().vfs[0]; }
  absl::StatusOr<VfId> Placed() {
    return PlacePort(port, vpc, facts, "vfio-pci", leased, shunned,
                     [](const MacAddress&) { return std::nullopt; });
  }
  std::string Waits() {
    const absl::Status status = Placed().status();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    return std::string(status.message());
  }
  std::string Refused() {
    const absl::Status status = Placed().status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    return std::string(status.message());
  }
  std::string Lost() { return WhyFunctionLost(port, attachment, facts, "vfio-pci"); }

  HostFacts facts;
  Port port;
  Vpc vpc{"v", *Vni::Make(100)};
  Attachment attachment;
  std::set<VfId> leased, shunned;
};

TEST_F(FunctionTest, TheOneWithThePortsMacIsTakenWhateverSlotItIsIn) {
  ASSERT_TRUE(Placed().ok()) << Placed().status();
  EXPECT_EQ(*Placed(), (VfId{kSlot, 0}));
  facts.pfs[kOtherSlot].vfs = slot().vfs;
  slot().vfs.clear();
  EXPECT_EQ(*Placed(), (VfId{kOtherSlot, 0}));
}

TEST_F(FunctionTest, ItWaitsForTheRightOneAndSaysWhatIsThere) {
  function().mac = Mac(2);
  EXPECT_THAT(Waits(), AllOf(HasSubstr("with MAC 02:00:00:00:00:01"), HasSubstr("dpu0"),
                             HasSubstr("dpu1"), HasSubstr("shows MAC 02:00:00:00:00:02")));
  function().mac.reset();
  function().netdev.clear();
  EXPECT_THAT(Waits(), HasSubstr("shows no MAC yet"));
  function().driver.clear();
  EXPECT_THAT(Waits(), HasSubstr("no driver of the host has it"));
  function().driver = "vfio-pci";
  EXPECT_THAT(Waits(), HasSubstr("bound to vfio-pci"));
  slot().refused = "there is no such device";
  slot().vfs.clear();
  EXPECT_THAT(Waits(), HasSubstr("is not used: there is no such device"));
}

TEST_F(FunctionTest, WhatHindersTheRightOneIsSaidAndOnlyWhatPassesIsWaitedFor) {
  function().refused = "the host uses it";
  EXPECT_THAT(Refused(), AllOf(HasSubstr("0000:02:00.0"), HasSubstr("the host uses it")));
  function().refused.clear();
  function().iommu_group.reset();
  EXPECT_THAT(Refused(), HasSubstr("no IOMMU group"));
  function().iommu_group = 12;
  function().group_peers = {{0, 2, 0, 1}};
  EXPECT_THAT(Refused(), HasSubstr("0000:02:00.1"));
  function().group_peers.clear();
  leased = {{kSlot, 0}};
  EXPECT_THAT(Waits(), HasSubstr("leased to another port"));
  leased.clear();
  shunned = {{kSlot, 0}};
  EXPECT_THAT(Waits(), HasSubstr("failed a moment ago"));
}

TEST_F(FunctionTest, ANetdevThatIsUpIsNoUseByItself) {
  function().netdev_up = true;
  EXPECT_TRUE(Placed().ok()) << Placed().status();
}

TEST_F(FunctionTest, ASlotThatIsKnownByItselfNeedsNoMacAndRefusesAnotherOneThanWasNamed) {
  slot().identity = FunctionIdentity::kSlot;
  port.mac.reset();
  EXPECT_EQ(*Placed(), (VfId{kSlot, 0}));
  function().driver.clear();
  function().netdev.clear();
  function().mac.reset();
  EXPECT_EQ(*Placed(), (VfId{kSlot, 0}));
  port.mac = Mac(1);
  EXPECT_EQ(*Placed(), (VfId{kSlot, 0})) << "nothing speaks against it";
  function().mac = Mac(2);
  EXPECT_THAT(Waits(), HasSubstr("shows MAC 02:00:00:00:00:02"));
}

TEST_F(FunctionTest, OnlySlotsOfItsNetworkThatCanKnowItAreLookedAt) {
  facts.pfs[kOtherSlot].network = NetworkKind::kConverged;
  port.mac = Mac(9);
  EXPECT_THAT(Waits(), Not(HasSubstr("dpu1")));
  EXPECT_EQ(FunctionDeadline(port, facts), std::chrono::seconds(5));
  port.mac.reset();
  EXPECT_THAT(Refused(), HasSubstr("by their slot"));
  facts.pfs.clear();
  EXPECT_THAT(Refused(), HasSubstr("hotplug_ports"));
}

TEST_F(FunctionTest, APortOfTheHostsVfsGetsNoFunctionAndNoPoolIsMadeForASlot) {
  port.function = FunctionSource::kVf;
  EXPECT_THAT(Refused(), HasSubstr("no PF of the compute network"));
  EXPECT_TRUE(CompileHost({}, facts, false).empty());
}

TEST_F(FunctionTest, ItIsLeasedBoundAndPluggedOnAndNoRuleIsMade) {
  const StoredObject object{port, 1, 17}, vpc{this->vpc, 1, 1}, subnet{Subnet(), 1, 2};
  const auto wanted = CompilePort({}, {&object, &vpc, &subnet, &attachment}, facts);
  ASSERT_TRUE(wanted.ok()) << wanted.status();  // there is no tunnel, and none is needed
  std::vector<ResourceKey> keys;
  for (const Resource& resource : *wanted) {
    keys.push_back(resource.key);
    EXPECT_EQ(resource.lease, 42U);
  }
  EXPECT_THAT(keys, ElementsAre(VfKey(attachment.vf), DriverBindingKey(attachment.vf),
                                GuestDeviceKey("vm", "p")));
  EXPECT_EQ(std::get<DriverBindingSpec>((*wanted)[1].spec).shows_mac, Mac(1));
  EXPECT_EQ(std::get<GuestDeviceSpec>((*wanted)[2].spec).host, function().pci);
  EXPECT_THAT((*wanted)[2].depends, ElementsAre(DriverBindingKey(attachment.vf)));
  slot().identity = FunctionIdentity::kSlot;
  EXPECT_FALSE(std::get<DriverBindingSpec>(
                   (*CompilePort({}, {&object, &vpc, &subnet, &attachment}, facts))[1].spec)
                   .shows_mac);
  slot().vfs.clear();
  EXPECT_TRUE(
      absl::IsUnavailable(CompilePort({}, {&object, &vpc, &subnet, &attachment}, facts).status()));
}

TEST_F(FunctionTest, ItIsLostWhenItIsGoneOrAnotherOneIsInItsPlace) {
  EXPECT_EQ(Lost(), "") << "not bound yet";
  function().mac = Mac(2);
  EXPECT_THAT(Lost(), HasSubstr("came in its place"));
  function().mac.reset();
  EXPECT_EQ(Lost(), "") << "it is looked at again right before it is bound";
  attachment.phase = AttachmentPhase::kReady;
  EXPECT_THAT(Lost(), HasSubstr("bound to virtio-pci")) << "one of ours would not be";
  function().driver = "vfio-pci";
  EXPECT_EQ(Lost(), "");
  function().driver.clear();
  EXPECT_THAT(Lost(), HasSubstr("without a driver"));
  function().driver_override = "vfio-pci";
  EXPECT_EQ(Lost(), "") << "unbound by hand: it is bound again";
  function().driver_override.clear();
  function().driver = kBusyDriver;
  EXPECT_EQ(Lost(), "") << "not known";
  slot().vfs.clear();
  EXPECT_EQ(Lost(), "the function went away");
}

TEST_F(FunctionTest, OneThatIsBeingPulledIsNotTakenAndTheNextOneWaitedFor) {
  for (const FunctionIdentity identity : {FunctionIdentity::kMac, FunctionIdentity::kSlot}) {
    slot().identity = identity;
    function().driver = kBusyDriver;
    function().leaving = true;
    function().refused = "it is being pulled, and a VM still holds it";
    EXPECT_THAT(Waits(), HasSubstr("being pulled"));
  }
}

}  // namespace
}  // namespace fairlead
