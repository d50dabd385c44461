// SPDX-License-Identifier: Apache-2.0
//
// Purpose: SysfsPort on a FakePciHost, without a kernel.
// Threading: safe from any thread; nothing blocks, deadlines are not waited for.
// Errors: those of LinuxSysfsPort; faults are set on the FakePciHost.
#pragma once

#include <string_view>
#include <vector>

#include "agent/ports/sysfs/fake_pci_host.h"
#include "agent/ports/sysfs/sysfs_port.h"

namespace fairlead {

class FakeSysfsPort final : public SysfsPort {
 public:
  explicit FakeSysfsPort(FakePciHost& host) : host_(host) {}

  absl::StatusOr<PciDevice> Device(const PciAddress& address) override;
  absl::StatusOr<std::vector<PciAddress>> Behind(const PciAddress& bridge) override;
  absl::StatusOr<PciAddress> PciOfNetdev(std::string_view netdev) override;
  absl::StatusOr<std::vector<PciAddress>> IommuGroup(uint32_t group) override;
  absl::Status SetNumVfs(const PciAddress& pf, uint16_t count, Deadline deadline) override;
  absl::Status SetAutoprobe(const PciAddress& pf, bool on) override;
  absl::Status SetDriverOverride(const PciAddress& address, std::string_view driver) override;
  absl::Status Probe(const PciAddress& address, Deadline deadline) override;
  absl::Status Unbind(const PciAddress& address, Deadline deadline) override;
  absl::Status Reset(const PciAddress& address, Deadline deadline) override;
  absl::StatusOr<VfioNode> GetVfioNode(uint32_t group) override;
  absl::Status SetVfioNode(uint32_t group, std::optional<uint32_t> uid, std::optional<uint32_t> gid,
                           std::optional<uint32_t> mode) override;
  absl::StatusOr<bool> VfioGroupInUse(uint32_t group) override;
  bool Outstanding(const PciAddress& address) override;

 private:
  FakePciHost& host_;
};

}  // namespace fairlead
