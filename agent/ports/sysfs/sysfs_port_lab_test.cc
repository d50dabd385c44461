// SPDX-License-Identifier: Apache-2.0
//
// The contract on a real kernel: needs the lab's guest, whose PF $LAB_FACTS
// names, and changes its VFs. There is no skipping: without the facts it fails.
#include <gtest/gtest.h>

#include <filesystem>

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

 private:
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
