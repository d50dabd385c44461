// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/sysfs/sysfs_contract.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cerrno>

#include "agent/base/error.h"

namespace fairlead {
namespace {

// Long: an emulated host may be slow, and no test waits for it to pass.
constexpr SysfsPort::Deadline kDeadline{60000};
constexpr PciAddress kNowhere{0xfffe, 0xfe, 0x1e, 6};

}  // namespace

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SysfsContract);

void SysfsContract::SetUp() {
  host_ = GetParam()();
  ASSERT_NE(host_, nullptr);
  const PciDevice pf = Pf();
  ASSERT_TRUE(pf.total_vfs.has_value());
  ASSERT_GE(*pf.total_vfs, 1);
  ASSERT_EQ(pf.num_vfs, 0);
}

void SysfsContract::TearDown() {
  if (host_ == nullptr) return;
  EXPECT_TRUE(port().SetNumVfs(host_->pf(), 0, kDeadline).ok());
  EXPECT_TRUE(port().SetAutoprobe(host_->pf(), true).ok());
}

PciDevice SysfsContract::Pf() {
  absl::StatusOr<PciDevice> device = port().Device(host_->pf());
  EXPECT_TRUE(device.ok()) << device.status();
  return device.value_or(PciDevice());
}

void SysfsContract::MakeUnboundVf(PciAddress* vf) {
  ASSERT_TRUE(port().SetAutoprobe(host_->pf(), false).ok());
  ASSERT_TRUE(port().SetNumVfs(host_->pf(), 1, kDeadline).ok());
  const PciDevice pf = Pf();
  ASSERT_EQ(pf.virtfns.size(), 1U);
  *vf = pf.virtfns[0];
}

void SysfsContract::BindToVfio(const PciAddress& vf) {
  ASSERT_TRUE(port().SetDriverOverride(vf, "vfio-pci").ok());
  const absl::Status probed = port().Probe(vf, kDeadline);
  ASSERT_TRUE(probed.ok()) << probed;
  const absl::StatusOr<PciDevice> device = port().Device(vf);
  ASSERT_TRUE(device.ok()) << device.status();
  ASSERT_EQ(device->driver, "vfio-pci");
}

TEST_P(SysfsContract, PfShowsItsDriverNetdevAndGroup) {
  const PciDevice pf = Pf();
  EXPECT_EQ(pf.address, host_->pf());
  EXPECT_NE(pf.vendor, 0);
  EXPECT_FALSE(pf.driver.empty());
  EXPECT_TRUE(pf.iommu_group.has_value());
  EXPECT_FALSE(pf.physfn.has_value());
  EXPECT_THAT(pf.netdevs, ::testing::Contains(host_->pf_netdev()));
}

TEST_P(SysfsContract, NetdevLeadsToItsPciDevice) {
  const absl::StatusOr<PciAddress> address = port().PciOfNetdev(host_->pf_netdev());
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(*address, host_->pf());
  EXPECT_TRUE(absl::IsNotFound(port().PciOfNetdev("lo").status()));
  EXPECT_TRUE(absl::IsNotFound(port().PciOfNetdev("nosuchnetdev").status()));
}

TEST_P(SysfsContract, BehindABridgeAreTheFunctionsThatItLeadsTo) {
  const absl::StatusOr<std::vector<PciAddress>> before = port().Behind(host_->bridge());
  ASSERT_TRUE(before.ok()) << before.status();
  EXPECT_THAT(*before, ::testing::Contains(host_->pf()));
  EXPECT_TRUE(absl::IsFailedPrecondition(port().Behind(host_->pf()).status()));
  EXPECT_TRUE(absl::IsNotFound(port().Behind(kNowhere).status()));
}

TEST_P(SysfsContract, AFunctionShowsItsClass) {
  EXPECT_EQ(Pf().class_code >> 16, kPciBaseClassNetwork);
  EXPECT_EQ(port().Device(host_->bridge())->class_code >> 8, kPciClassBridge);
}

TEST_P(SysfsContract, WhatIsNotThereIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(port().Device(kNowhere).status()));
  EXPECT_TRUE(absl::IsNotFound(port().SetNumVfs(kNowhere, 1, kDeadline)));
  EXPECT_TRUE(absl::IsNotFound(port().SetAutoprobe(kNowhere, false)));
  EXPECT_TRUE(absl::IsNotFound(port().SetDriverOverride(kNowhere, "vfio-pci")));
  EXPECT_TRUE(absl::IsNotFound(port().Probe(kNowhere, kDeadline)));
  EXPECT_TRUE(absl::IsNotFound(port().Unbind(kNowhere, kDeadline)));
  EXPECT_TRUE(absl::IsNotFound(port().Reset(kNowhere, kDeadline)));
  EXPECT_TRUE(absl::IsNotFound(port().IommuGroup(1000000).status()));
  EXPECT_TRUE(absl::IsNotFound(port().GetVfioNode(1000000).status()));
  EXPECT_TRUE(absl::IsNotFound(port().SetVfioNode(1000000, 0, 0, 0600)));
  EXPECT_FALSE(port().Outstanding(kNowhere));
}

TEST_P(SysfsContract, NumVfsMakesVfsThatPointBack) {
  PciAddress vf;
  ASSERT_NO_FATAL_FAILURE(MakeUnboundVf(&vf));
  EXPECT_EQ(Pf().num_vfs, 1);
  const absl::StatusOr<PciDevice> device = port().Device(vf);
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(device->physfn, host_->pf());
  EXPECT_FALSE(device->total_vfs.has_value());
  ASSERT_TRUE(port().SetNumVfs(host_->pf(), 0, kDeadline).ok());
  EXPECT_TRUE(absl::IsNotFound(port().Device(vf).status()));
  EXPECT_TRUE(Pf().virtfns.empty());
}

TEST_P(SysfsContract, NumVfsSaysWhatTheKernelSays) {
  const PciDevice pf = Pf();
  const uint16_t total = *pf.total_vfs;
  EXPECT_EQ(ErrnoOf(port().SetNumVfs(pf.address, static_cast<uint16_t>(total + 1), kDeadline)),
            ERANGE);
  ASSERT_TRUE(port().SetAutoprobe(pf.address, false).ok());
  ASSERT_TRUE(port().SetNumVfs(pf.address, total, kDeadline).ok());
  EXPECT_TRUE(port().SetNumVfs(pf.address, total, kDeadline).ok());
  EXPECT_EQ(Pf().virtfns.size(), total);
  if (total > 1) {
    EXPECT_EQ(ErrnoOf(port().SetNumVfs(pf.address, static_cast<uint16_t>(total - 1), kDeadline)),
              EBUSY);
    EXPECT_EQ(Pf().num_vfs, total);
  }
}

TEST_P(SysfsContract, AutoprobeOffKeepsHostDriversAwayEvenOnProbe) {
  PciAddress vf;
  ASSERT_NO_FATAL_FAILURE(MakeUnboundVf(&vf));
  EXPECT_FALSE(Pf().autoprobe);
  EXPECT_EQ(port().Device(vf)->driver, "");
  EXPECT_TRUE(port().Probe(vf, kDeadline).ok());
  EXPECT_EQ(port().Device(vf)->driver, "");
}

TEST_P(SysfsContract, AutoprobeOnBindsTheHostDriver) {
  ASSERT_TRUE(port().SetAutoprobe(host_->pf(), true).ok());
  ASSERT_TRUE(port().SetNumVfs(host_->pf(), 1, kDeadline).ok());
  const PciDevice pf = Pf();
  ASSERT_EQ(pf.virtfns.size(), 1U);
  EXPECT_NE(port().Device(pf.virtfns[0])->driver, "");
  EXPECT_TRUE(port().Unbind(pf.virtfns[0], kDeadline).ok());
  EXPECT_EQ(port().Device(pf.virtfns[0])->driver, "");
}

TEST_P(SysfsContract, DriverOverrideReadsBackAndClears) {
  PciAddress vf;
  ASSERT_NO_FATAL_FAILURE(MakeUnboundVf(&vf));
  EXPECT_EQ(port().Device(vf)->driver_override, "");
  ASSERT_TRUE(port().SetDriverOverride(vf, "vfio-pci").ok());
  EXPECT_EQ(port().Device(vf)->driver_override, "vfio-pci");
  ASSERT_TRUE(port().SetDriverOverride(vf, "").ok());
  EXPECT_EQ(port().Device(vf)->driver_override, "");
}

TEST_P(SysfsContract, OverrideOfAnUnknownDriverBindsNothing) {
  PciAddress vf;
  ASSERT_NO_FATAL_FAILURE(MakeUnboundVf(&vf));
  ASSERT_TRUE(port().SetDriverOverride(vf, "no-such-driver").ok());
  EXPECT_TRUE(port().Probe(vf, kDeadline).ok());
  EXPECT_EQ(port().Device(vf)->driver, "");
}

TEST_P(SysfsContract, VfioBindingMakesANodeForTheGroupAndUnbindTakesItAway) {
  PciAddress vf;
  ASSERT_NO_FATAL_FAILURE(MakeUnboundVf(&vf));
  const absl::StatusOr<PciDevice> before = port().Device(vf);
  ASSERT_TRUE(before.ok() && before->iommu_group.has_value());
  const uint32_t group = *before->iommu_group;
  const absl::StatusOr<std::vector<PciAddress>> members = port().IommuGroup(group);
  ASSERT_TRUE(members.ok()) << members.status();
  EXPECT_THAT(*members, ::testing::ElementsAre(vf));
  EXPECT_TRUE(absl::IsNotFound(port().GetVfioNode(group).status()));

  ASSERT_NO_FATAL_FAILURE(BindToVfio(vf));
  const absl::StatusOr<VfioNode> node = port().GetVfioNode(group);
  ASSERT_TRUE(node.ok()) << node.status();
  EXPECT_EQ(node->path, "/dev/vfio/" + std::to_string(group));
  EXPECT_EQ(node->uid, 0U);
  EXPECT_THAT(port().VfioGroupInUse(group),
              ::testing::ResultOf([](const auto& s) { return s.ok() && !*s; }, true))
      << "nobody has it open";

  ASSERT_TRUE(port().Unbind(vf, kDeadline).ok());
  EXPECT_EQ(port().Device(vf)->driver, "");
  EXPECT_TRUE(absl::IsNotFound(port().GetVfioNode(group).status()));
  EXPECT_TRUE(port().Unbind(vf, kDeadline).ok()) << "no driver bound is success";
}

TEST_P(SysfsContract, VfioNodeTakesOwnerAndModeEachForItself) {
  PciAddress vf;
  ASSERT_NO_FATAL_FAILURE(MakeUnboundVf(&vf));
  ASSERT_NO_FATAL_FAILURE(BindToVfio(vf));
  const uint32_t group = *port().Device(vf)->iommu_group;
  ASSERT_TRUE(port().SetVfioNode(group, 1234, std::nullopt, 0640).ok());
  EXPECT_EQ(port().GetVfioNode(group)->uid, 1234U);
  EXPECT_EQ(port().GetVfioNode(group)->gid, 0U);
  EXPECT_EQ(port().GetVfioNode(group)->mode, 0640U);
  ASSERT_TRUE(port().SetVfioNode(group, std::nullopt, 4321, std::nullopt).ok());
  EXPECT_EQ(port().GetVfioNode(group)->uid, 1234U);
  EXPECT_EQ(port().GetVfioNode(group)->gid, 4321U);
  EXPECT_TRUE(absl::IsInvalidArgument(port().SetVfioNode(group, {}, {}, 04755)));
}

TEST_P(SysfsContract, ResetOfAFunctionSucceeds) {
  PciAddress vf;
  ASSERT_NO_FATAL_FAILURE(MakeUnboundVf(&vf));
  const absl::Status status = port().Reset(vf, kDeadline);
  EXPECT_TRUE(status.ok()) << status;
}

TEST_P(SysfsContract,
       AFunctionThatIsRemovedWhileSomebodyHasItOpenHasNoDriverAndKeepsItsNodeUntilThatLetsGo) {
  PciAddress vf;
  ASSERT_NO_FATAL_FAILURE(MakeUnboundVf(&vf));
  ASSERT_NO_FATAL_FAILURE(BindToVfio(vf));
  const uint32_t group = *port().Device(vf)->iommu_group;
  ASSERT_NO_FATAL_FAILURE(host_->Hold(vf, group));
  constexpr SysfsPort::Deadline kShort{3000};
  EXPECT_TRUE(absl::IsDeadlineExceeded(port().SetNumVfs(host_->pf(), 0, kShort)));
  EXPECT_TRUE(port().Outstanding(host_->pf()));
  EXPECT_TRUE(Pf().busy);
  const absl::StatusOr<PciDevice> leaving = port().Device(vf);
  ASSERT_TRUE(leaving.ok()) << leaving.status();
  EXPECT_EQ(leaving->driver, "") << "that link goes first";
  EXPECT_FALSE(port().Outstanding(vf)) << "nobody wrote to it";
  EXPECT_THAT(port().VfioGroupInUse(group),
              ::testing::ResultOf([](const auto& s) { return s.ok() && *s; }, true));
  host_->LetGo();
  while (port().Outstanding(host_->pf())) ::usleep(1000);
  EXPECT_TRUE(absl::IsNotFound(port().Device(vf).status()));
  EXPECT_FALSE(Pf().busy);
  EXPECT_EQ(Pf().num_vfs, 0);
}

TEST_P(SysfsContract, DeviceWithoutSriovSaysUnimplemented) {
  PciAddress vf;
  ASSERT_NO_FATAL_FAILURE(MakeUnboundVf(&vf));
  EXPECT_TRUE(absl::IsUnimplemented(port().SetNumVfs(vf, 1, kDeadline)));
  EXPECT_TRUE(absl::IsUnimplemented(port().SetAutoprobe(vf, true)));
}

}  // namespace fairlead
