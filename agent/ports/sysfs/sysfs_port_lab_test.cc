// SPDX-License-Identifier: Apache-2.0
//
// The contract on a real kernel: needs the lab's guest, whose PF $LAB_FACTS
// names, and changes its VFs. There is no skipping: without the facts it fails.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "agent/ports/sysfs/linux_sysfs_port.h"
#include "agent/ports/sysfs/sysfs_contract.h"

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
  const char* path = std::getenv("LAB_FACTS");
  if (path == nullptr) {
    ADD_FAILURE() << "LAB_FACTS is not set: run this in the lab's guest (tests/lab/run)";
    return nullptr;
  }
  std::ifstream file(path);
  const nlohmann::json facts = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!facts.is_object() || !facts.contains("pfs") || facts["pfs"].empty()) {
    ADD_FAILURE() << path << " names no PF";
    return nullptr;
  }
  const nlohmann::json& pf = facts["pfs"][0];
  const absl::StatusOr<PciAddress> address = PciAddress::Parse(pf.value("pci", ""));
  if (!address.ok()) {
    ADD_FAILURE() << path << ": " << address.status();
    return nullptr;
  }
  return std::make_unique<LabHost>(*address, pf.value("netdev", ""));
}

INSTANTIATE_TEST_SUITE_P(Lab, SysfsContract, ::testing::Values(&MakeLab));

}  // namespace
}  // namespace fairlead
