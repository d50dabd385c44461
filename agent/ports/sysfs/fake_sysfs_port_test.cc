// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/sysfs/fake_sysfs_port.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/error.h"
#include "agent/ports/sysfs/sysfs_contract.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr PciAddress kBridge{0, 0, 1, 0};
constexpr PciAddress kPf{0, 0x03, 0, 0};
constexpr PciAddress kVf0{0, 0x03, 0, 2};
constexpr PciAddress kVf1{0, 0x03, 0, 3};
constexpr SysfsPort::Deadline kDeadline{10};

class FakeContractHost final : public SysfsContractHost {
 public:
  FakeContractHost() {
    FakePfOptions options;
    options.address = kPf;
    host_.AddBridge(kBridge);
    host_.AddPf(options, kBridge);
  }
  SysfsPort& port() override { return port_; }
  PciAddress pf() const override { return kPf; }
  PciAddress bridge() const override { return kBridge; }
  std::string pf_netdev() const override { return "pf0"; }
  void Hold(const PciAddress&, uint32_t group) override {
    held_ = group;
    host_.SetGroupOpen(group, true);
  }
  void LetGo() override { host_.SetGroupOpen(held_, false); }

 private:
  FakePciHost host_;
  FakeSysfsPort port_{host_};
  uint32_t held_ = 0;
};

std::unique_ptr<SysfsContractHost> MakeFake() { return std::make_unique<FakeContractHost>(); }
INSTANTIATE_TEST_SUITE_P(Fake, SysfsContract, ::testing::Values(&MakeFake));

class FakeSysfsPortTest : public ::testing::Test {
 protected:
  FakeSysfsPortTest() {
    FakePfOptions options;
    options.address = kPf;
    options.vf_offset = 2;
    host_.AddPf(options);
  }
  FakePciHost host_;
  FakeSysfsPort port_{host_};
};

TEST_F(FakeSysfsPortTest, AFunctionThatIsPluggedInIsBoundByItsDriverAndGoesWithAllThatItHad) {
  constexpr PciAddress kFunction{0, 0x02, 0, 0};
  host_.AddBridge(kBridge);
  EXPECT_THAT(*port_.Behind(kBridge), IsEmpty());
  FakeFunctionOptions function;
  function.address = kFunction;
  function.netdev = "eth1";
  host_.Plug(kBridge, function);
  EXPECT_THAT(*port_.Behind(kBridge), ElementsAre(kFunction));
  EXPECT_EQ(port_.Device(kFunction)->driver, "virtio-pci");
  EXPECT_THAT(port_.Device(kFunction)->netdevs, ElementsAre("eth1"));
  EXPECT_NE(port_.Device(kFunction)->iommu_group, port_.Device(kPf)->iommu_group);
  ASSERT_TRUE(port_.SetDriverOverride(kFunction, "vfio-pci").ok());
  host_.RemoveDevice(kFunction);
  EXPECT_THAT(*port_.Behind(kBridge), IsEmpty());
  host_.Plug(kBridge, function);
  EXPECT_EQ(port_.Device(kFunction)->driver_override, "") << "another device, although the same";
}

TEST_F(FakeSysfsPortTest, VfsLieAtOffsetAndStrideAndGetNetdevsFromTheHostDriver) {
  ASSERT_TRUE(port_.SetNumVfs(kPf, 2, kDeadline).ok());
  EXPECT_THAT(port_.Device(kPf)->virtfns, ElementsAre(kVf0, kVf1));
  EXPECT_THAT(port_.Device(kVf1)->netdevs, ElementsAre("pf0v1"));
  EXPECT_EQ(*port_.PciOfNetdev("pf0v1"), kVf1);
  EXPECT_NE(port_.Device(kVf0)->iommu_group, port_.Device(kVf1)->iommu_group);
}

TEST_F(FakeSysfsPortTest, NumVfsWithoutPfDriverIsAFailedPrecondition) {
  ASSERT_TRUE(port_.Unbind(kPf, kDeadline).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(port_.SetNumVfs(kPf, 2, kDeadline)));
}

TEST_F(FakeSysfsPortTest, FailNextHitsTheNamedMethodOnce) {
  host_.FailNext(SysfsMethod::kProbe, SystemError(EINVAL, "probe"), kVf1);
  ASSERT_TRUE(port_.SetNumVfs(kPf, 2, kDeadline).ok());
  EXPECT_TRUE(port_.Probe(kVf0, kDeadline).ok());
  EXPECT_EQ(ErrnoOf(port_.Probe(kVf1, kDeadline)), EINVAL);
  EXPECT_TRUE(port_.Probe(kVf1, kDeadline).ok());
  EXPECT_EQ(host_.Calls(SysfsMethod::kProbe), 3);
}

TEST_F(FakeSysfsPortTest, HungWriteIsOutstandingUntilItTakesEffectLate) {
  host_.HangNext(SysfsMethod::kSetNumVfs, kPf);
  EXPECT_TRUE(absl::IsDeadlineExceeded(port_.SetNumVfs(kPf, 2, kDeadline)));
  EXPECT_TRUE(port_.Outstanding(kPf));
  EXPECT_THAT(host_.Find(kPf)->virtfns, IsEmpty());
  EXPECT_TRUE(port_.Device(kPf)->busy);
  EXPECT_TRUE(absl::IsUnavailable(port_.SetNumVfs(kPf, 0, kDeadline)));
  EXPECT_TRUE(host_.Release(kPf));
  EXPECT_FALSE(port_.Outstanding(kPf));
  EXPECT_THAT(port_.Device(kPf)->virtfns, ElementsAre(kVf0, kVf1));
  EXPECT_FALSE(host_.Release(kPf));
}

TEST_F(FakeSysfsPortTest, AVfWithAHungWriteIsShownAsBusy) {
  ASSERT_TRUE(port_.SetNumVfs(kPf, 2, kDeadline).ok());
  ASSERT_TRUE(port_.SetDriverOverride(kVf0, "vfio-pci").ok());
  host_.HangNext(SysfsMethod::kReset, kVf0);
  EXPECT_TRUE(absl::IsDeadlineExceeded(port_.Reset(kVf0, kDeadline)));
  EXPECT_TRUE(port_.Device(kVf0)->busy);
  EXPECT_EQ(port_.Device(kVf0)->driver_override, "");
  EXPECT_FALSE(port_.Device(kVf1)->busy);
  EXPECT_TRUE(host_.Release(kVf0));
  EXPECT_FALSE(port_.Device(kVf0)->busy);
  EXPECT_EQ(port_.Device(kVf0)->driver_override, "vfio-pci");
}

TEST_F(FakeSysfsPortTest, AFunctionThatIsPulledWhileAVmHoldsItIsBusyUntilThatLetsGo) {
  ASSERT_TRUE(port_.SetNumVfs(kPf, 1, kDeadline).ok());
  ASSERT_TRUE(port_.Unbind(kVf0, kDeadline).ok());
  ASSERT_TRUE(port_.SetDriverOverride(kVf0, "vfio-pci").ok());
  ASSERT_TRUE(port_.Probe(kVf0, kDeadline).ok());
  const uint32_t group = *port_.Device(kVf0)->iommu_group;
  host_.SetGroupOpen(group, true);
  host_.RemoveDevice(kVf0);
  const auto leaving = port_.Device(kVf0);
  ASSERT_TRUE(leaving.ok()) << leaving.status();
  EXPECT_TRUE(leaving->busy);
  EXPECT_EQ(leaving->driver, "");
  EXPECT_TRUE(*port_.VfioGroupInUse(group));
  EXPECT_FALSE(port_.Outstanding(kVf0)) << "nothing of ours hangs";
  EXPECT_TRUE(port_.Unbind(kVf0, kDeadline).ok()) << "it has no driver";
  EXPECT_TRUE(absl::IsDeadlineExceeded(port_.SetDriverOverride(kVf0, "")));
  EXPECT_TRUE(port_.Outstanding(kVf0));
  host_.SetGroupOpen(group, false);
  EXPECT_TRUE(absl::IsNotFound(port_.Device(kVf0).status()));
  EXPECT_FALSE(port_.Outstanding(kVf0));
  EXPECT_TRUE(absl::IsNotFound(port_.GetVfioNode(group).status()));
}

TEST_F(FakeSysfsPortTest, SharedGroupListsAllMembersButBridges) {
  ASSERT_TRUE(port_.SetNumVfs(kPf, 2, kDeadline).ok());
  PciDevice bridge;
  bridge.address = {0, 0x02, 0, 0};
  bridge.driver = "pcieport";
  bridge.iommu_group = 99;
  host_.AddDevice(bridge);
  host_.SetIommuGroup(kVf0, 99);
  host_.SetIommuGroup(kVf1, 99);
  EXPECT_THAT(*port_.IommuGroup(99), ElementsAre(kVf0, kVf1));
}

TEST_F(FakeSysfsPortTest, ResetsAreCountedPerFunction) {
  ASSERT_TRUE(port_.SetNumVfs(kPf, 2, kDeadline).ok());
  ASSERT_TRUE(port_.Reset(kVf1, kDeadline).ok());
  EXPECT_EQ(host_.ResetCount(kVf0), 0);
  EXPECT_EQ(host_.ResetCount(kVf1), 1);
}

TEST_F(FakeSysfsPortTest, RemovedPfTakesItsVfsAlong) {
  ASSERT_TRUE(port_.SetNumVfs(kPf, 2, kDeadline).ok());
  host_.RemoveDevice(kPf);
  EXPECT_TRUE(absl::IsNotFound(port_.Device(kVf0).status()));
}

}  // namespace
}  // namespace fairlead
