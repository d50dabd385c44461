// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the one door to sysfs and to /dev/vfio: PCI devices, SR-IOV pools,
// driver binding, IOMMU groups. Says and does; decides nothing.
//
// Threading: calls block; call from a lane, never from the loop. One instance
// may be used from several threads at once.
// Errors: SystemError with the errno of the failed file operation; what sysfs
// holds is bounded (64 KiB a file) and validated, junk is kDataLoss. Writes
// that can block for minutes (numvfs, override, unbind, probe, reset) run in a
// child process and return kDeadlineExceeded when `deadline`, or a short one of the
// port's own, passes; the child is then left to finish, since a write inside the
// kernel cannot be called back, and `Outstanding` tells about it. So do reads that
// wait for a device's lock; `PciDevice::busy` tells about them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/types.h"

namespace fairlead {

// PCI Code and ID Assignment Specification: base class 02h, and 06h with sub-class 04h.
inline constexpr uint32_t kPciBaseClassNetwork = 0x02;
inline constexpr uint32_t kPciClassBridge = 0x0604;

// One PCI function as sysfs shows it.
struct PciDevice {
  PciAddress address;
  uint16_t vendor = 0;
  uint16_t device = 0;
  uint32_t class_code = 0;      // 24 bits: base class, sub-class, interface
  std::string driver;           // "" = none bound
  std::string driver_override;  // "" = none
  // Its lock is held: a write to it has not come back from the kernel (`Outstanding`), or
  // the kernel does something of its own to it for long, as some kernels do while they
  // remove a function that a VM has open (on others only sriov_numvfs waits for the lock).
  // driver_override, num_vfs and virtfns were not read, and nothing can be done to it.
  bool busy = false;
  bool can_reset = false;  // it offers a reset of its own
  int numa_node = -1;
  std::optional<uint32_t> iommu_group;
  std::vector<std::string> netdevs;  // names below net/
  std::optional<PciAddress> physfn;  // of a VF
  // SR-IOV capable devices only:
  std::optional<uint16_t> total_vfs;
  uint16_t num_vfs = 0;
  bool autoprobe = true;
  std::vector<PciAddress> virtfns;  // by VF index; virtfn0 first
};

struct VfioNode {
  std::string path;  // "/dev/vfio/12"
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mode = 0;  // permission bits
};

class SysfsPort {
 public:
  using Deadline = std::chrono::milliseconds;

  virtual ~SysfsPort() = default;

  // kNotFound when there is no such device.
  virtual absl::StatusOr<PciDevice> Device(const PciAddress& address) = 0;
  // The functions directly behind a PCI bridge (a root port, a switch's port) now,
  // ascending. kNotFound when there is no such device, kFailedPrecondition when it is
  // no bridge.
  virtual absl::StatusOr<std::vector<PciAddress>> Behind(const PciAddress& bridge) = 0;
  // The PCI device behind a netdev (through /sys/class/net/NAME/device, a
  // virtio netdev's own parent included). kNotFound for a virtual netdev.
  virtual absl::StatusOr<PciAddress> PciOfNetdev(std::string_view netdev) = 0;
  // Members of an IOMMU group, PCI bridges (class 0x0604) left out, ascending.
  virtual absl::StatusOr<std::vector<PciAddress>> IommuGroup(uint32_t group) = 0;

  // sriov_numvfs. From non-zero to another non-zero is the kernel's EBUSY.
  virtual absl::Status SetNumVfs(const PciAddress& pf, uint16_t count, Deadline deadline) = 0;
  // sriov_drivers_autoprobe.
  virtual absl::Status SetAutoprobe(const PciAddress& pf, bool on) = 0;
  // "" clears it.
  virtual absl::Status SetDriverOverride(const PciAddress& address, std::string_view driver) = 0;
  // drivers_probe; success says only that the kernel was asked: read Device.
  virtual absl::Status Probe(const PciAddress& address, Deadline deadline) = 0;
  // Unbinds from whatever driver is bound. No driver bound is success.
  virtual absl::Status Unbind(const PciAddress& address, Deadline deadline) = 0;
  // Function level reset through `reset`.
  virtual absl::Status Reset(const PciAddress& address, Deadline deadline) = 0;

  // The node of an IOMMU group; kNotFound while no VFIO driver holds a member.
  virtual absl::StatusOr<VfioNode> GetVfioNode(uint32_t group) = 0;
  virtual absl::Status SetVfioNode(uint32_t group, std::optional<uint32_t> uid,
                                   std::optional<uint32_t> gid, std::optional<uint32_t> mode) = 0;

  // Whether some process has a device of the group open, as a VM does that holds
  // a VF. No node: false. Found out by opening the node, which only one may do at
  // a time (EBUSY): never ask while a VM is about to take a device of the group.
  virtual absl::StatusOr<bool> VfioGroupInUse(uint32_t group) = 0;

  // True while a write that passed its deadline has not yet come back.
  virtual bool Outstanding(const PciAddress& address) = 0;
};

}  // namespace fairlead
