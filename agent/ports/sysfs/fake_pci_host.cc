// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/sysfs/fake_pci_host.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

bool IsVfioDriver(std::string_view driver) {
  return driver == "vfio-pci" || driver.ends_with("-vfio-pci") || driver.ends_with("_vfio_pci");
}

// Routing ID arithmetic of the SR-IOV specification: bus, device and function
// are one 16-bit number.
PciAddress VfAddress(const FakePfOptions& pf, uint16_t index) {
  const PciAddress& at = pf.address;
  const uint32_t rid = (uint32_t{at.bus} << 8 | uint32_t{at.device} << 3 | at.function) +
                       pf.vf_offset + uint32_t{pf.vf_stride} * index;
  PciAddress address;
  address.domain = at.domain;
  address.bus = static_cast<uint8_t>(rid >> 8);
  address.device = static_cast<uint8_t>(rid >> 3 & 31);
  address.function = static_cast<uint8_t>(rid & 7);
  return address;
}

}  // namespace

void FakePciHost::AddPf(const FakePfOptions& options, std::optional<PciAddress> bridge) {
  std::lock_guard lock(mutex_);
  Function pf;
  pf.parent = bridge;
  pf.pf = options;
  pf.native_driver = options.driver;
  pf.netdev = options.netdev;
  pf.device.address = options.address;
  pf.device.vendor = options.vendor;
  pf.device.device = options.device;
  pf.device.class_code = 0x020000;  // Ethernet
  pf.device.numa_node = options.numa_node;
  pf.device.iommu_group = next_group_++;
  pf.device.autoprobe = options.autoprobe;
  if (options.sriov) pf.device.total_vfs = options.total_vfs;
  Bind(functions_[options.address] = std::move(pf), options.driver);
}

void FakePciHost::AddDevice(const PciDevice& device) {
  std::lock_guard lock(mutex_);
  Function function;
  function.device = device;
  function.native_driver = device.driver;
  function.netdev = device.netdevs.empty() ? "" : device.netdevs.front();
  function.bridge = device.driver == "pcieport";
  functions_[device.address] = std::move(function);
  UpdateVfioNode(device.iommu_group);
}

void FakePciHost::AddBridge(const PciAddress& address) {
  PciDevice bridge;
  bridge.address = address;
  bridge.driver = "pcieport";
  bridge.class_code = kPciClassBridge << 8;
  AddDevice(bridge);
}

void FakePciHost::Plug(const PciAddress& bridge, const FakeFunctionOptions& options) {
  std::lock_guard lock(mutex_);
  Function function;
  function.parent = bridge;
  function.native_driver = options.driver;
  function.netdev = options.netdev;
  function.resettable = options.resettable;
  function.device.address = options.address;
  function.device.vendor = options.vendor;
  function.device.device = options.device;
  function.device.class_code = options.class_code;
  function.device.iommu_group = next_group_++;
  ProbeFunction(functions_[options.address] = std::move(function));
}

void FakePciHost::RemoveDevice(const PciAddress& address) {
  std::lock_guard lock(mutex_);
  const auto found = functions_.find(address);
  if (found == functions_.end()) return;
  std::vector<PciAddress> doomed = found->second.device.virtfns;
  doomed.push_back(address);
  for (const PciAddress& one : doomed) {
    const auto it = functions_.find(one);
    if (it == functions_.end()) continue;
    if (!Leave(it->second)) Erase(one);
  }
}

// Whether its removal has to wait.
bool FakePciHost::Leave(Function& function) {
  if (!IsVfioDriver(function.device.driver) || !HeldOpen(function)) return function.leaving;
  function.leaving = true;
  function.device.driver.clear();  // its link is what goes first
  return true;
}

// A write that hangs is one of the child that does it, and not of the function.
void FakePciHost::Erase(const PciAddress& address) {
  const auto it = functions_.find(address);
  if (it == functions_.end()) return;
  const std::optional<uint32_t> group = it->second.device.iommu_group;
  functions_.erase(it);
  UpdateVfioNode(group);
}

bool FakePciHost::HeldOpen(const Function& function) const {
  return function.device.iommu_group && open_groups_.contains(*function.device.iommu_group);
}

bool FakePciHost::Busy(const Function& function) const {
  return (function.leaving && removal_holds_lock_) ||
         outstanding_.contains(function.device.address);
}

std::optional<PciDevice> FakePciHost::Find(const PciAddress& address) const {
  std::lock_guard lock(mutex_);
  const auto found = functions_.find(address);
  if (found == functions_.end()) return std::nullopt;
  return found->second.device;
}

int FakePciHost::ResetCount(const PciAddress& address) const {
  std::lock_guard lock(mutex_);
  const auto found = functions_.find(address);
  return found == functions_.end() ? 0 : found->second.resets;
}

int FakePciHost::Calls(SysfsMethod method) const {
  std::lock_guard lock(mutex_);
  const auto found = calls_.find(method);
  return found == calls_.end() ? 0 : found->second;
}

void FakePciHost::SetIommuGroup(const PciAddress& address, std::optional<uint32_t> group) {
  std::lock_guard lock(mutex_);
  const auto found = functions_.find(address);
  if (found == functions_.end()) return;
  const std::optional<uint32_t> before = std::exchange(found->second.device.iommu_group, group);
  UpdateVfioNode(before);
  UpdateVfioNode(group);
}

void FakePciHost::SetResetFails(const PciAddress& address, absl::Status status) {
  std::lock_guard lock(mutex_);
  const auto found = functions_.find(address);
  if (found != functions_.end()) found->second.reset_fails = std::move(status);
}

void FakePciHost::SetUnreadable(const PciAddress& address, absl::Status status) {
  std::lock_guard lock(mutex_);
  const auto found = functions_.find(address);
  if (found != functions_.end()) found->second.unreadable = std::move(status);
}

void FakePciHost::SetDriverLoaded(std::string_view driver, bool loaded) {
  std::lock_guard lock(mutex_);
  if (loaded) {
    loaded_.emplace(driver);
  } else if (const auto found = loaded_.find(driver); found != loaded_.end()) {
    loaded_.erase(found);
  }
}

void FakePciHost::SetRemovalHoldsLock(bool holds) {
  std::lock_guard lock(mutex_);
  removal_holds_lock_ = holds;
}

void FakePciHost::SetNetdevs(const PciAddress& address, std::vector<std::string> netdevs) {
  std::lock_guard lock(mutex_);
  const auto found = functions_.find(address);
  if (found != functions_.end()) found->second.device.netdevs = std::move(netdevs);
}

void FakePciHost::FailNext(SysfsMethod method, absl::Status status,
                           std::optional<PciAddress> address) {
  std::lock_guard lock(mutex_);
  failures_.push_back({method, std::move(status), address});
}

void FakePciHost::HangNext(SysfsMethod method, const PciAddress& address) {
  std::lock_guard lock(mutex_);
  hangs_.emplace_back(address, method);
}

bool FakePciHost::Release(const PciAddress& address) {
  std::lock_guard lock(mutex_);
  return ReleaseLocked(address);
}

bool FakePciHost::ReleaseLocked(const PciAddress& address) {
  const auto found = outstanding_.find(address);
  if (found == outstanding_.end()) return false;
  const Write write = found->second;
  outstanding_.erase(found);
  // The caller of that write has gone: nobody is left to hear how it ended.
  Apply(address, write, "late write").IgnoreError();
  return true;
}

void FakePciHost::SetHook(std::function<void(SysfsMethod, const PciAddress&)> hook) {
  std::lock_guard lock(mutex_);
  hook_ = std::move(hook);
}

void FakePciHost::SetVfsChanged(std::function<void(const PciAddress&, uint16_t)> told) {
  std::lock_guard lock(mutex_);
  vfs_changed_ = std::move(told);
}

void FakePciHost::RunHook(SysfsMethod method, const PciAddress& address) {
  std::function<void(SysfsMethod, const PciAddress&)> hook;
  {
    std::lock_guard lock(mutex_);
    hook = hook_;
  }
  if (hook) hook(method, address);
}

absl::Status FakePciHost::Enter(SysfsMethod method, const PciAddress* address) {
  ++calls_[method];
  const auto found = std::find_if(failures_.begin(), failures_.end(), [&](const Failure& failure) {
    return failure.method == method &&
           (!failure.address.has_value() || (address != nullptr && *failure.address == *address));
  });
  if (found == failures_.end()) return absl::OkStatus();
  absl::Status status = std::move(found->status);
  failures_.erase(found);
  return status;
}

absl::StatusOr<FakePciHost::Function*> FakePciHost::Get(const PciAddress& address,
                                                        std::string_view asked) {
  const auto found = functions_.find(address);
  if (found != functions_.end()) return &found->second;
  return absl::NotFoundError(StrCat(asked, ": there is no PCI device ", address.ToString()));
}

absl::Status FakePciHost::CheckIdle(const PciAddress& address, std::string_view asked) const {
  if (!outstanding_.contains(address)) return absl::OkStatus();
  return absl::UnavailableError(
      StrCat(asked, ": an earlier request has not come back from the kernel yet"));
}

absl::StatusOr<PciDevice> FakePciHost::Device(const PciAddress& address) {
  std::lock_guard lock(mutex_);
  FAIRLEAD_RETURN_IF_ERROR(Enter(SysfsMethod::kDevice, &address));
  const std::string asked = StrCat("read PCI device ", address.ToString());
  FAIRLEAD_ASSIGN_OR_RETURN(Function * function, Get(address, asked));
  if (!function->unreadable.ok()) return Annotate(function->unreadable, asked);
  PciDevice device = function->device;
  device.can_reset = function->resettable;
  device.busy = Busy(*function);
  if (device.busy) {
    device.driver_override.clear();
    device.num_vfs = 0;
    device.virtfns.clear();
  }
  return device;
}

absl::StatusOr<std::vector<PciAddress>> FakePciHost::Behind(const PciAddress& bridge) {
  std::lock_guard lock(mutex_);
  FAIRLEAD_RETURN_IF_ERROR(Enter(SysfsMethod::kBehind, &bridge));
  const std::string asked = StrCat("look behind the PCI bridge ", bridge.ToString());
  FAIRLEAD_ASSIGN_OR_RETURN(const Function* function, Get(bridge, asked));
  if (!function->bridge) {
    return absl::FailedPreconditionError(StrCat(asked, ": it is no PCI bridge"));
  }
  std::vector<PciAddress> behind;
  for (const auto& [address, other] : functions_) {
    if (other.parent == bridge) behind.push_back(address);
  }
  return behind;
}

absl::StatusOr<PciAddress> FakePciHost::PciOfNetdev(std::string_view netdev) {
  std::lock_guard lock(mutex_);
  FAIRLEAD_RETURN_IF_ERROR(Enter(SysfsMethod::kPciOfNetdev, nullptr));
  for (const auto& [address, function] : functions_) {
    const std::vector<std::string>& netdevs = function.device.netdevs;
    if (std::find(netdevs.begin(), netdevs.end(), netdev) != netdevs.end()) return address;
  }
  return absl::NotFoundError(StrCat("netdev ", netdev, " has no device behind it"));
}

absl::StatusOr<std::vector<PciAddress>> FakePciHost::IommuGroup(uint32_t group) {
  std::lock_guard lock(mutex_);
  FAIRLEAD_RETURN_IF_ERROR(Enter(SysfsMethod::kIommuGroup, nullptr));
  bool there = false;
  std::vector<PciAddress> members;
  for (const auto& [address, function] : functions_) {
    if (function.device.iommu_group != group) continue;
    there = true;
    if (!function.bridge) members.push_back(address);
  }
  if (!there) return absl::NotFoundError(StrCat("there is no IOMMU group ", group));
  return members;
}

absl::Status FakePciHost::LongWrite(const PciAddress& address, const Write& write,
                                    std::string_view asked) {
  FAIRLEAD_RETURN_IF_ERROR(Enter(write.method, &address));
  FAIRLEAD_ASSIGN_OR_RETURN(const Function* function, Get(address, asked));
  FAIRLEAD_RETURN_IF_ERROR(CheckIdle(address, asked));
  // The link that unbind goes by is gone; the override has a lock of its own on newer kernels.
  bool waits = function->leaving && write.method != SysfsMethod::kUnbind &&
               (removal_holds_lock_ || write.method == SysfsMethod::kReset);
  if (write.method == SysfsMethod::kSetNumVfs && write.count == 0) {
    for (const PciAddress& vf : function->device.virtfns) waits |= Leave(functions_.at(vf));
  }
  const auto hang = std::find(hangs_.begin(), hangs_.end(), std::make_pair(address, write.method));
  if (hang != hangs_.end()) {
    hangs_.erase(hang);
  } else if (!waits) {
    return Apply(address, write, asked);
  }
  outstanding_[address] = write;
  return absl::DeadlineExceededError(
      StrCat(asked, ": the kernel has not answered in time; the write goes on"));
}

absl::Status FakePciHost::Apply(const PciAddress& address, const Write& write,
                                std::string_view asked) {
  FAIRLEAD_ASSIGN_OR_RETURN(Function * function, Get(address, asked));
  switch (write.method) {
    case SysfsMethod::kSetNumVfs:
      return ApplyNumVfs(*function, write.count, asked);
    case SysfsMethod::kSetDriverOverride:
      function->device.driver_override = write.driver;
      return absl::OkStatus();
    case SysfsMethod::kProbe:
      ProbeFunction(*function);
      return absl::OkStatus();
    case SysfsMethod::kUnbind:
      UnbindFunction(*function);
      return absl::OkStatus();
    case SysfsMethod::kReset:
      if (!function->resettable) {
        return absl::UnimplementedError(
            StrCat(asked, ": the device offers no reset of one function"));
      }
      if (!function->reset_fails.ok()) return Annotate(function->reset_fails, asked);
      ++function->resets;
      return absl::OkStatus();
    default:
      return absl::InternalError("not a write that can hang");
  }
}

absl::Status FakePciHost::ApplyNumVfs(Function& pf, uint16_t count, std::string_view asked) {
  PciDevice& device = pf.device;
  if (!device.total_vfs.has_value()) {
    return absl::UnimplementedError(StrCat(asked, ": the device offers no SR-IOV"));
  }
  // The order of sriov_numvfs_store, drivers/pci/iov.c.
  if (count > *device.total_vfs) return SystemError(ERANGE, asked);
  if (count == device.num_vfs) return absl::OkStatus();
  if (device.driver != pf.native_driver || device.driver.empty()) {
    return PeerError(absl::StatusCode::kFailedPrecondition, asked,
                     "no driver that can make VFs is bound to the PF");
  }
  if (count != 0 && device.num_vfs != 0) return SystemError(EBUSY, asked);

  if (count == 0) {
    const std::vector<PciAddress> gone = std::exchange(device.virtfns, {});
    device.num_vfs = 0;
    if (vfs_changed_) vfs_changed_(device.address, 0);
    for (const PciAddress& address : gone) Erase(address);
    return absl::OkStatus();
  }
  device.num_vfs = count;
  for (uint16_t i = 0; i < count; ++i) {
    const PciAddress address = VfAddress(pf.pf, i);
    device.virtfns.push_back(address);
    Function vf;
    vf.native_driver = pf.pf.vf_driver;
    vf.netdev = StrCat(pf.pf.netdev, "v", i);
    vf.resettable = pf.pf.resettable_vfs;
    vf.device.address = address;
    vf.device.vendor = pf.pf.vendor;
    vf.device.device = pf.pf.vf_device;
    vf.device.class_code = 0x020000;
    vf.device.numa_node = pf.pf.numa_node;
    vf.device.iommu_group = next_group_++;
    vf.device.physfn = device.address;
    ProbeFunction(functions_[address] = std::move(vf));
  }
  if (vfs_changed_) vfs_changed_(device.address, count);
  return absl::OkStatus();
}

void FakePciHost::Bind(Function& function, const std::string& driver) {
  if (!loaded_.contains(driver)) return;
  function.device.driver = driver;
  if (driver == function.native_driver && !function.netdev.empty()) {
    function.device.netdevs = {function.netdev};
  }
  UpdateVfioNode(function.device.iommu_group);
}

void FakePciHost::ProbeFunction(Function& function) {
  PciDevice& device = function.device;
  if (!device.driver.empty() || function.leaving) return;
  if (!device.driver_override.empty()) {
    Bind(function, device.driver_override);
    return;
  }
  // pci_device_can_probe, drivers/pci/pci-driver.c.
  if (device.physfn.has_value()) {
    const auto pf = functions_.find(*device.physfn);
    if (pf != functions_.end() && !pf->second.device.autoprobe) return;
  }
  if (!function.native_driver.empty()) Bind(function, function.native_driver);
}

void FakePciHost::UnbindFunction(Function& function) {
  function.device.driver.clear();
  function.device.netdevs.clear();
  UpdateVfioNode(function.device.iommu_group);
}

void FakePciHost::UpdateVfioNode(std::optional<uint32_t> group) {
  if (!group.has_value()) return;
  const bool held = std::any_of(functions_.begin(), functions_.end(), [&](const auto& entry) {
    return entry.second.device.iommu_group == group &&
           (IsVfioDriver(entry.second.device.driver) || entry.second.leaving);
  });
  if (!held) {
    nodes_.erase(*group);
  } else if (!nodes_.contains(*group)) {
    nodes_[*group] = VfioNode{StrCat("/dev/vfio/", *group), 0, 0, 0600};
  }
}

absl::Status FakePciHost::SetNumVfs(const PciAddress& pf, uint16_t count) {
  RunHook(SysfsMethod::kSetNumVfs, pf);
  std::lock_guard lock(mutex_);
  return LongWrite(pf, {SysfsMethod::kSetNumVfs, count},
                   StrCat("set the number of VFs of ", pf.ToString(), " to ", count));
}

absl::Status FakePciHost::SetAutoprobe(const PciAddress& pf, bool on) {
  std::lock_guard lock(mutex_);
  FAIRLEAD_RETURN_IF_ERROR(Enter(SysfsMethod::kSetAutoprobe, &pf));
  const std::string asked = StrCat("set autoprobe of the VFs of ", pf.ToString());
  FAIRLEAD_ASSIGN_OR_RETURN(Function * function, Get(pf, asked));
  if (!function->device.total_vfs.has_value()) {
    return absl::UnimplementedError(StrCat(asked, ": the device offers no SR-IOV"));
  }
  FAIRLEAD_RETURN_IF_ERROR(CheckIdle(pf, asked));
  function->device.autoprobe = on;
  return absl::OkStatus();
}

absl::Status FakePciHost::SetDriverOverride(const PciAddress& address, std::string_view driver) {
  RunHook(SysfsMethod::kSetDriverOverride, address);
  std::lock_guard lock(mutex_);
  return LongWrite(address, {SysfsMethod::kSetDriverOverride, 0, std::string(driver)},
                   StrCat("set the driver override of ", address.ToString()));
}

absl::Status FakePciHost::Probe(const PciAddress& address) {
  RunHook(SysfsMethod::kProbe, address);
  std::lock_guard lock(mutex_);
  return LongWrite(address, {SysfsMethod::kProbe},
                   StrCat("probe a driver for ", address.ToString()));
}

absl::Status FakePciHost::Unbind(const PciAddress& address) {
  RunHook(SysfsMethod::kUnbind, address);
  std::lock_guard lock(mutex_);
  return LongWrite(address, {SysfsMethod::kUnbind}, StrCat("unbind ", address.ToString()));
}

absl::Status FakePciHost::Reset(const PciAddress& address) {
  RunHook(SysfsMethod::kReset, address);
  std::lock_guard lock(mutex_);
  return LongWrite(address, {SysfsMethod::kReset}, StrCat("reset ", address.ToString()));
}

void FakePciHost::SetGroupOpen(uint32_t group, bool open) {
  std::lock_guard lock(mutex_);
  if (open) {
    open_groups_.insert(group);
    return;
  }
  open_groups_.erase(group);
  std::vector<PciDevice> gone;
  for (const auto& [address, function] : functions_) {
    if (function.leaving && !HeldOpen(function)) gone.push_back(function.device);
  }
  for (const PciDevice& device : gone) {
    Erase(device.address);
    ReleaseLocked(device.address);  // what waited for its lock, or for its end, comes back
    if (device.physfn) ReleaseLocked(*device.physfn);
  }
}

absl::StatusOr<bool> FakePciHost::VfioGroupInUse(uint32_t group) {
  std::lock_guard lock(mutex_);
  FAIRLEAD_RETURN_IF_ERROR(Enter(SysfsMethod::kVfioGroupInUse, nullptr));
  return nodes_.contains(group) && open_groups_.contains(group);
}

absl::StatusOr<VfioNode> FakePciHost::GetVfioNode(uint32_t group) {
  std::lock_guard lock(mutex_);
  FAIRLEAD_RETURN_IF_ERROR(Enter(SysfsMethod::kGetVfioNode, nullptr));
  const auto found = nodes_.find(group);
  if (found != nodes_.end()) return found->second;
  return absl::NotFoundError(
      StrCat("there is no /dev/vfio/", group, ": no VFIO driver holds a device of that group"));
}

absl::Status FakePciHost::SetVfioNode(uint32_t group, std::optional<uint32_t> uid,
                                      std::optional<uint32_t> gid, std::optional<uint32_t> mode) {
  std::lock_guard lock(mutex_);
  FAIRLEAD_RETURN_IF_ERROR(Enter(SysfsMethod::kSetVfioNode, nullptr));
  if (mode.has_value() && *mode > 0777) {
    return absl::InvalidArgumentError(StrCat(*mode, " are no permission bits: 0 to 0777"));
  }
  const auto found = nodes_.find(group);
  if (found == nodes_.end()) {
    return absl::NotFoundError(
        StrCat("there is no /dev/vfio/", group, ": no VFIO driver holds a device of that group"));
  }
  if (uid.has_value()) found->second.uid = *uid;
  if (gid.has_value()) found->second.gid = *gid;
  if (mode.has_value()) found->second.mode = *mode;
  return absl::OkStatus();
}

bool FakePciHost::Outstanding(const PciAddress& address) {
  std::lock_guard lock(mutex_);
  return outstanding_.contains(address);
}

}  // namespace fairlead
