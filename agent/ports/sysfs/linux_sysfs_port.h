// SPDX-License-Identifier: Apache-2.0
//
// Purpose: SysfsPort on the files of a Linux kernel.
//
// Threading: safe from several threads at once.
// Errors: as sysfs_port.h says, and:
//   kUnavailable     an earlier write to that device is outstanding (any write), or
//                    its VFs are just changing
//   kUnimplemented   the device offers no SR-IOV, or no reset
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ports/sysfs/child_reader.h"
#include "agent/ports/sysfs/child_writer.h"
#include "agent/ports/sysfs/sysfs_port.h"

namespace fairlead {

struct LinuxSysfsOptions {
  std::string sysfs = "/sys";
  std::string dev = "/dev";
  // Absolute path of the program that does what may block for long.
  std::string write_helper = "/usr/libexec/fairlead/fairlead-sysfs-write";
  // For what takes a device's lock and no time: past it the device counts as busy.
  std::chrono::milliseconds lock_deadline{2000};
};

class LinuxSysfsPort final : public SysfsPort {
 public:
  explicit LinuxSysfsPort(LinuxSysfsOptions options);

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
  std::string Folder(const PciAddress& address) const;
  std::string NodePath(uint32_t group) const;
  absl::Status CheckPresent(const PciAddress& address, std::string_view asked) const;
  // The attribute must be there, else kUnimplemented with `missing` as the words.
  absl::Status CheckOffered(const PciAddress& address, std::string_view attribute,
                            std::string_view asked, std::string_view missing) const;

  const LinuxSysfsOptions options_;
  ChildWriter writer_;
  ChildReader reader_;
};

}  // namespace fairlead
