// SPDX-License-Identifier: Apache-2.0
//
// The contract on a real kernel: needs the lab's guest, whose PF $LAB_FACTS
// names, and changes its VFs. There is no skipping: without the facts it fails.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>

#include <filesystem>

#include "agent/base/unique_fd.h"
#include "agent/ports/sysfs/linux_sysfs_port.h"
#include "agent/ports/sysfs/sysfs_contract.h"
#include "agent/ports/test_lab.h"

namespace fairlead {
namespace {

class LabHost final : public SysfsContractHost {
 public:
  LabHost(PciAddress pf, std::string netdev) : pf_(pf), netdev_(std::move(netdev)) {}
  SysfsPort& port() override { return port_; }
  PciAddress pf() const override { return pf_; }
  std::string pf_netdev() const override { return netdev_; }
  PciAddress bridge() const override {
    const std::string device = "/sys/bus/pci/devices/" + pf_.ToString();
    const auto above = std::filesystem::canonical(device).parent_path().filename();
    return PciAddress::Parse(above.string()).value_or(PciAddress());
  }

  // The order of vfio.rst.
  void Hold(const PciAddress& function, uint32_t group) override {
    container_ = UniqueFd(::open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC));
    group_ = UniqueFd(::open(("/dev/vfio/" + std::to_string(group)).c_str(), O_RDWR | O_CLOEXEC));
    int container = container_.get();
    ASSERT_EQ(::ioctl(group_.get(), VFIO_GROUP_SET_CONTAINER, &container), 0);
    ASSERT_EQ(::ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
    device_ =
        UniqueFd(::ioctl(group_.get(), VFIO_GROUP_GET_DEVICE_FD, function.ToString().c_str()));
    ASSERT_TRUE(device_.valid());
  }
  void LetGo() override {
    device_ = UniqueFd();
    group_ = UniqueFd();
    container_ = UniqueFd();
  }

 private:
  UniqueFd container_, group_, device_;
  const PciAddress pf_;
  const std::string netdev_;
  LinuxSysfsPort port_{{"/sys", "/dev", FAIRLEAD_SYSFS_WRITE}};
};

std::unique_ptr<SysfsContractHost> MakeLab() {
  const nlohmann::json pf = LabFacts().at("pfs").at(0);
  const absl::StatusOr<PciAddress> address = PciAddress::Parse(pf.at("pci").get<std::string>());
  if (!address.ok()) {
    ADD_FAILURE() << "$LAB_FACTS: " << address.status();
    return nullptr;
  }
  return std::make_unique<LabHost>(*address, pf.at("netdev").get<std::string>());
}

INSTANTIATE_TEST_SUITE_P(Lab, SysfsContract, ::testing::Values(&MakeLab));

}  // namespace
}  // namespace fairlead
