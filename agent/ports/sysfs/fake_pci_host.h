// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a host's PCI side in memory, behind FakeSysfsPort: functions,
// SR-IOV, drivers, IOMMU groups and VFIO nodes, with the kernel's answers, its
// errors, and faults on demand.
//
// What it imitates of the kernel:
//   - numvfs: above total ERANGE, non-zero to another non-zero EBUSY, no driver
//     on the PF kFailedPrecondition; new VFs get a group each and, with
//     autoprobe on, the PF's VF driver and a netdev
//   - probe: an override binds exactly that driver; without one, autoprobe off
//     keeps VFs unbound; a driver that is not loaded binds nothing; all success
//   - a bound VFIO driver makes /dev/vfio/GROUP (root, 0600), the last one
//     unbound takes it away
//   - a function that a process has open by its VFIO group is removed, or taken away by
//     numvfs, only when that closes it
//
// Threading: safe from any thread (one mutex).
// Ownership: must outlive every FakeSysfsPort on it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/types.h"
#include "agent/ports/sysfs/sysfs_port.h"

namespace fairlead {

enum class SysfsMethod : uint8_t {
  kDevice,
  kBehind,
  kPciOfNetdev,
  kIommuGroup,
  kSetNumVfs,
  kSetAutoprobe,
  kSetDriverOverride,
  kProbe,
  kUnbind,
  kReset,
  kGetVfioNode,
  kSetVfioNode,
  kVfioGroupInUse,
};

struct FakePfOptions {
  PciAddress address;
  std::string netdev = "pf0";  // VFs of a host driver get "<netdev>v<index>"
  uint16_t total_vfs = 8;
  bool sriov = true;
  bool autoprobe = true;
  std::string driver = "mlx5_core";
  std::string vf_driver = "mlx5_core";
  uint16_t vendor = 0x15b3;  // Mellanox, pci.ids
  uint16_t device = 0x101d;  // ConnectX-6 Dx
  uint16_t vf_device = 0x101e;
  int numa_node = 0;
  // First VF Offset and VF Stride of the SR-IOV capability.
  uint16_t vf_offset = 1;
  uint16_t vf_stride = 1;
  bool resettable_vfs = true;
};

// A function that hot-plug brings.
struct FakeFunctionOptions {
  PciAddress address;
  uint16_t vendor = 0x1af4;  // Red Hat, pci.ids: virtio
  uint16_t device = 0x1041;  // a modern virtio NIC
  uint32_t class_code = 0x020000;
  std::string driver = "virtio-pci";  // what matches it by its ids, "" for none
  std::string netdev;                 // what that driver makes, "" for none
  bool resettable = true;
};

class FakePciHost {
 public:
  // Adds a PF, bound to its driver, in an IOMMU group of its own; behind a bridge, if said.
  void AddPf(const FakePfOptions& options, std::optional<PciAddress> bridge = std::nullopt);
  // Adds any other function as it stands, its group included.
  void AddDevice(const PciDevice& device);
  // A root port, nothing behind it.
  void AddBridge(const PciAddress& address);
  // Hot-plug: the function comes behind the bridge, in an IOMMU group of its own, and
  // is offered to its driver.
  void Plug(const PciAddress& bridge, const FakeFunctionOptions& options);
  // Takes a function away, as hot-unplug does; a PF takes its VFs with it. One that a
  // process has open by its group is being removed until that closes it: without a
  // driver, its node still there, busy, and what is written to it hangs.
  void RemoveDevice(const PciAddress& address);

  // Without: such a function is not busy and only its reset hangs, as on kernels whose
  // driver_override does not wait for the lock of the device.
  void SetRemovalHoldsLock(bool holds);

  std::optional<PciDevice> Find(const PciAddress& address) const;
  int ResetCount(const PciAddress& address) const;
  // How often a method was called (FailNext and hangs included).
  int Calls(SysfsMethod method) const;

  // Puts a function into a group, to make one that is not viable.
  void SetIommuGroup(const PciAddress& address, std::optional<uint32_t> group);
  // A driver that is not loaded binds to nothing. mlx5_core, vfio-pci, virtio-pci,
  // igb and igbvf are loaded at first.
  void SetDriverLoaded(std::string_view driver, bool loaded);
  void SetNetdevs(const PciAddress& address, std::vector<std::string> netdevs);

  // A process (a VM) has opened, or closed, the node of a group.
  void SetGroupOpen(uint32_t group, bool open);

  // The next call of `method` (on `address` only, if given) fails with `status`
  // and does nothing. Several queue up.
  void FailNext(SysfsMethod method, absl::Status status,
                std::optional<PciAddress> address = std::nullopt);
  // From now on a reset of the function fails so, each time; OK: it does not any more.
  void SetResetFails(const PciAddress& address, absl::Status status);
  // From now on the function can be read by nobody; OK: it can again.
  void SetUnreadable(const PciAddress& address, absl::Status status);
  // The next call of kSetNumVfs, kSetDriverOverride, kProbe, kUnbind or kReset on
  // `address` hangs in the "kernel": it returns kDeadlineExceeded at once and is outstanding until
  // Release.
  void HangNext(SysfsMethod method, const PciAddress& address);
  // Lets what hangs on `address` come back; it then takes effect, as a write
  // that the kernel finishes late does. False when nothing hangs there.
  bool Release(const PciAddress& address);
  // Runs at the start of each of these five, without a lock: it may block the caller.
  void SetHook(std::function<void(SysfsMethod method, const PciAddress& address)> hook);

  // Told when a PF's driver has made VFs, or taken them away (0); must not call back.
  void SetVfsChanged(std::function<void(const PciAddress& pf, uint16_t count)> told);

  // The operations of FakeSysfsPort; contracts in sysfs_port.h.
  absl::StatusOr<PciDevice> Device(const PciAddress& address);
  absl::StatusOr<std::vector<PciAddress>> Behind(const PciAddress& bridge);
  absl::StatusOr<PciAddress> PciOfNetdev(std::string_view netdev);
  absl::StatusOr<std::vector<PciAddress>> IommuGroup(uint32_t group);
  absl::Status SetNumVfs(const PciAddress& pf, uint16_t count);
  absl::Status SetAutoprobe(const PciAddress& pf, bool on);
  absl::Status SetDriverOverride(const PciAddress& address, std::string_view driver);
  absl::Status Probe(const PciAddress& address);
  absl::Status Unbind(const PciAddress& address);
  absl::Status Reset(const PciAddress& address);
  absl::StatusOr<VfioNode> GetVfioNode(uint32_t group);
  absl::Status SetVfioNode(uint32_t group, std::optional<uint32_t> uid, std::optional<uint32_t> gid,
                           std::optional<uint32_t> mode);
  absl::StatusOr<bool> VfioGroupInUse(uint32_t group);
  bool Outstanding(const PciAddress& address);

 private:
  struct Function {
    PciDevice device;
    std::string native_driver;  // what matches it by its ids, "" for none
    std::string netdev;         // what that driver makes, "" for none
    bool bridge = false;
    std::optional<PciAddress> parent;  // the bridge that it is behind, if known
    bool resettable = true;
    absl::Status reset_fails, unreadable;
    bool leaving = false;  // see RemoveDevice
    int resets = 0;
    FakePfOptions pf;  // of a PF
  };
  struct Failure {
    SysfsMethod method;
    absl::Status status;
    std::optional<PciAddress> address;
  };
  struct Write {
    SysfsMethod method;
    uint16_t count = 0;       // kSetNumVfs
    std::string driver = {};  // kSetDriverOverride
  };

  void RunHook(SysfsMethod method, const PciAddress& address);
  absl::Status Enter(SysfsMethod method, const PciAddress* address);
  // A write that can hang: refuses behind an outstanding one, hangs if told to.
  absl::Status LongWrite(const PciAddress& address, const Write& write, std::string_view asked);
  absl::Status Apply(const PciAddress& address, const Write& write, std::string_view asked);
  absl::Status ApplyNumVfs(Function& pf, uint16_t count, std::string_view asked);
  void Bind(Function& function, const std::string& driver);
  void ProbeFunction(Function& function);
  void UnbindFunction(Function& function);
  bool ReleaseLocked(const PciAddress& address);
  bool Leave(Function& function);
  void Erase(const PciAddress& address);
  bool HeldOpen(const Function& function) const;
  bool Busy(const Function& function) const;
  void UpdateVfioNode(std::optional<uint32_t> group);
  absl::StatusOr<Function*> Get(const PciAddress& address, std::string_view asked);
  absl::Status CheckIdle(const PciAddress& address, std::string_view asked) const;

  mutable std::mutex mutex_;
  std::map<PciAddress, Function> functions_;
  std::map<uint32_t, VfioNode> nodes_;
  std::set<uint32_t> open_groups_;
  std::set<std::string, std::less<>> loaded_{"mlx5_core", "vfio-pci", "virtio-pci", "igb", "igbvf"};
  std::vector<Failure> failures_;
  std::vector<std::pair<PciAddress, SysfsMethod>> hangs_;
  std::map<PciAddress, Write> outstanding_;
  std::map<SysfsMethod, int> calls_;
  std::function<void(SysfsMethod, const PciAddress&)> hook_;
  std::function<void(const PciAddress&, uint16_t)> vfs_changed_;
  bool removal_holds_lock_ = true;
  uint32_t next_group_ = 10;
};

}  // namespace fairlead
