// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/sysfs/linux_sysfs_port.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/base/unique_fd.h"
#include "agent/ports/sysfs/sysfs_files.h"

namespace fairlead {
namespace {

// IFNAMSIZ (uapi/linux/if.h) with its terminating zero.
constexpr size_t kMaxNetdevName = 15;
constexpr uint64_t kMaxGroup = INT_MAX;  // the kernel counts groups in an int

template <typename T>
absl::StatusOr<T> ReadNumber(const std::string& path, uint64_t max) {
  FAIRLEAD_ASSIGN_OR_RETURN(const std::string text, ReadSysfsFile(path));
  FAIRLEAD_ASSIGN_OR_RETURN(const uint64_t value, ParseSysfsNumber(text, max, path));
  return static_cast<T>(value);
}

absl::StatusOr<PciAddress> ParseAddress(std::string_view text, std::string_view path) {
  absl::StatusOr<PciAddress> address = PciAddress::Parse(text);
  if (address.ok()) return address;
  return absl::DataLossError(
      StrCat(path, " leads to no PCI address: ", address.status().message()));
}

// A name that is one path element and nothing else.
bool IsPlainName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return c > ' ' && c < 0x7f && c != '/'; });
}

// Names below net/ and, since virtio puts a device of its own between the PCI
// function and the netdev, below virtioN/net/.
absl::StatusOr<std::vector<std::string>> ReadNetdevs(const std::string& folder,
                                                     const std::vector<std::string>& entries) {
  std::vector<std::string> netdevs;
  for (const std::string& entry : entries) {
    std::string net;
    if (entry == "net") {
      net = StrCat(folder, "/net");
    } else if (entry.starts_with("virtio")) {
      net = StrCat(folder, "/", entry, "/net");
    } else {
      continue;
    }
    absl::StatusOr<std::vector<std::string>> names = ListFolder(net);
    if (absl::IsNotFound(names.status())) continue;
    if (!names.ok()) return names.status();
    netdevs.insert(netdevs.end(), names->begin(), names->end());
  }
  std::sort(netdevs.begin(), netdevs.end());
  return netdevs;
}

absl::StatusOr<std::vector<PciAddress>> ReadVirtfns(const std::string& folder,
                                                    const std::vector<std::string>& entries) {
  constexpr std::string_view kPrefix = "virtfn";
  std::map<uint64_t, PciAddress> by_index;
  for (const std::string& entry : entries) {
    if (!entry.starts_with(kPrefix)) continue;
    const std::string path = StrCat(folder, "/", entry);
    FAIRLEAD_ASSIGN_OR_RETURN(
        const uint64_t index,
        ParseSysfsNumber(std::string_view(entry).substr(kPrefix.size()), UINT16_MAX, path));
    FAIRLEAD_ASSIGN_OR_RETURN(const std::optional<std::string> name, ReadLinkName(path));
    if (!name.has_value()) continue;  // went away meanwhile; the check below tells
    FAIRLEAD_ASSIGN_OR_RETURN(by_index[index], ParseAddress(*name, path));
  }
  std::vector<PciAddress> virtfns;
  for (const auto& [index, address] : by_index) {
    // The kernel takes VFs away from virtfn0 upward: a gap would give every VF
    // behind it another VF's index.
    if (index != virtfns.size()) {
      return absl::UnavailableError(StrCat(folder, " shows virtfn", index, " but no virtfn",
                                           virtfns.size(),
                                           ": its VFs are just being made or removed; ask again"));
    }
    virtfns.push_back(address);
  }
  return virtfns;
}

}  // namespace

LinuxSysfsPort::LinuxSysfsPort(LinuxSysfsOptions options)
    : options_(std::move(options)),
      writer_(options_.write_helper, options_.sysfs),
      reader_(options_.write_helper, options_.sysfs) {}

std::string LinuxSysfsPort::Folder(const PciAddress& address) const {
  return StrCat(options_.sysfs, "/bus/pci/devices/", address.ToString());
}

std::string LinuxSysfsPort::NodePath(uint32_t group) const {
  return StrCat(options_.dev, "/vfio/", group);
}

absl::Status LinuxSysfsPort::CheckPresent(const PciAddress& address, std::string_view asked) const {
  const std::string folder = Folder(address);
  struct stat info;
  if (::stat(folder.c_str(), &info) == 0) return absl::OkStatus();
  if (errno == ENOENT || errno == ENOTDIR) {
    return absl::NotFoundError(StrCat(asked, ": there is no PCI device ", address.ToString(), " (",
                                      folder, " does not exist)"));
  }
  return SystemError(errno, asked);
}

absl::Status LinuxSysfsPort::CheckOffered(const PciAddress& address, std::string_view attribute,
                                          std::string_view asked, std::string_view missing) const {
  FAIRLEAD_RETURN_IF_ERROR(CheckPresent(address, asked));
  const std::string path = StrCat(Folder(address), "/", attribute);
  if (::access(path.c_str(), F_OK) == 0) return absl::OkStatus();
  if (errno != ENOENT) return SystemError(errno, asked);
  return absl::UnimplementedError(StrCat(asked, ": ", missing, " (no ", path, ")"));
}

absl::StatusOr<PciDevice> LinuxSysfsPort::Device(const PciAddress& address) {
  const std::string asked = StrCat("read PCI device ", address.ToString());
  FAIRLEAD_RETURN_IF_ERROR(CheckPresent(address, asked));
  const std::string folder = Folder(address);
  absl::StatusOr<std::vector<std::string>> entries = ListFolder(folder);
  if (!entries.ok()) return Annotate(entries.status(), asked);
  const auto path = [&](std::string_view name) { return StrCat(folder, "/", name); };

  PciDevice device;
  device.address = address;
  FAIRLEAD_ASSIGN_OR_RETURN(device.vendor, ReadNumber<uint16_t>(path("vendor"), UINT16_MAX));
  FAIRLEAD_ASSIGN_OR_RETURN(device.device, ReadNumber<uint16_t>(path("device"), UINT16_MAX));

  FAIRLEAD_ASSIGN_OR_RETURN(device.class_code, ReadNumber<uint32_t>(path("class"), 0xffffff));

  FAIRLEAD_ASSIGN_OR_RETURN(const auto driver, ReadLinkName(path("driver")));
  device.driver = driver.value_or("");
  device.busy = writer_.Outstanding(address) || reader_.Outstanding(address);
  // For what takes the device lock, which is held by a write of ours that hangs, and by the
  // removal of a function that a VM has open (vfio_unregister_group_dev waits for it). Where
  // the override has a lock of its own, which some kernels gave it, it is read all the same.
  const auto read_locked =
      [&](std::string_view name) -> absl::StatusOr<std::optional<std::string>> {
    if (device.busy) return std::optional<std::string>();
    auto content = reader_.Read(address, path(name), options_.lock_deadline);
    device.busy = absl::IsDeadlineExceeded(content.status()) || reader_.Outstanding(address);
    if (device.busy) return std::optional<std::string>();
    return content;
  };
  // driver_override_show, drivers/pci/pci-sysfs.c
  FAIRLEAD_ASSIGN_OR_RETURN(const auto override, read_locked("driver_override"));
  // printk's way to show a null string.
  if (override.has_value() && *override != "(null)") device.driver_override = *override;

  device.can_reset = std::binary_search(entries->begin(), entries->end(), "reset");

  FAIRLEAD_ASSIGN_OR_RETURN(const auto node, ReadOptionalSysfsFile(path("numa_node")));
  if (node.has_value()) {
    FAIRLEAD_ASSIGN_OR_RETURN(device.numa_node,
                              ParseSysfsInt(*node, -1, INT16_MAX, path("numa_node")));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const auto group, ReadLinkName(path("iommu_group")));
  if (group.has_value()) {
    FAIRLEAD_ASSIGN_OR_RETURN(const uint64_t number,
                              ParseSysfsNumber(*group, kMaxGroup, path("iommu_group")));
    device.iommu_group = static_cast<uint32_t>(number);
  }
  FAIRLEAD_ASSIGN_OR_RETURN(device.netdevs, ReadNetdevs(folder, *entries));
  FAIRLEAD_ASSIGN_OR_RETURN(const auto physfn, ReadLinkName(path("physfn")));
  if (physfn.has_value()) {
    FAIRLEAD_ASSIGN_OR_RETURN(device.physfn, ParseAddress(*physfn, path("physfn")));
  }

  FAIRLEAD_ASSIGN_OR_RETURN(const auto total, ReadOptionalSysfsFile(path("sriov_totalvfs")));
  if (!total.has_value()) return device;
  FAIRLEAD_ASSIGN_OR_RETURN(const uint64_t total_vfs,
                            ParseSysfsNumber(*total, UINT16_MAX, path("sriov_totalvfs")));
  device.total_vfs = static_cast<uint16_t>(total_vfs);
  // sriov_numvfs_show, drivers/pci/iov.c
  FAIRLEAD_ASSIGN_OR_RETURN(const auto count, read_locked("sriov_numvfs"));
  if (device.busy) return device;
  if (!count.has_value()) return SystemError(ENOENT, StrCat("read ", path("sriov_numvfs")));
  FAIRLEAD_ASSIGN_OR_RETURN(const uint64_t num_vfs,
                            ParseSysfsNumber(*count, UINT16_MAX, path("sriov_numvfs")));
  device.num_vfs = static_cast<uint16_t>(num_vfs);
  FAIRLEAD_ASSIGN_OR_RETURN(const auto autoprobe,
                            ReadOptionalSysfsFile(path("sriov_drivers_autoprobe")));
  if (autoprobe.has_value()) {
    FAIRLEAD_ASSIGN_OR_RETURN(const uint64_t on,
                              ParseSysfsNumber(*autoprobe, 1, path("sriov_drivers_autoprobe")));
    device.autoprobe = on == 1;
  }
  FAIRLEAD_ASSIGN_OR_RETURN(device.virtfns, ReadVirtfns(folder, *entries));
  return device;
}

absl::StatusOr<std::vector<PciAddress>> LinuxSysfsPort::Behind(const PciAddress& bridge) {
  const std::string asked = StrCat("look behind the PCI bridge ", bridge.ToString());
  FAIRLEAD_RETURN_IF_ERROR(CheckPresent(bridge, asked));
  const std::string folder = Folder(bridge);
  FAIRLEAD_ASSIGN_OR_RETURN(const uint32_t pci_class,
                            ReadNumber<uint32_t>(StrCat(folder, "/class"), 0xffffff));
  if (pci_class >> 8 != kPciClassBridge) {
    return absl::FailedPreconditionError(
        StrCat(asked, ": it is no PCI bridge (", folder, "/class)"));
  }
  // The folder of a device holds those of its children, among the bridge's own services.
  absl::StatusOr<std::vector<std::string>> names = ListFolder(folder);
  if (!names.ok()) return Annotate(names.status(), asked);
  std::vector<PciAddress> behind;
  for (const std::string& name : *names) {
    if (const auto address = PciAddress::Parse(name); address.ok()) behind.push_back(*address);
  }
  std::sort(behind.begin(), behind.end());
  return behind;
}

absl::StatusOr<PciAddress> LinuxSysfsPort::PciOfNetdev(std::string_view netdev) {
  if (!IsPlainName(netdev) || netdev.size() > kMaxNetdevName) {
    return absl::InvalidArgumentError(StrCat(Quoted(netdev), " is no name of a netdev"));
  }
  const std::string link = StrCat(options_.sysfs, "/class/net/", netdev, "/device");
  char real[PATH_MAX];
  if (::realpath(link.c_str(), real) == nullptr) {
    if (errno != ENOENT && errno != ENOTDIR) return SystemError(errno, StrCat("follow ", link));
    return absl::NotFoundError(
        StrCat("netdev ", netdev, " has no device behind it (no ", link, ")"));
  }
  std::string_view path = real;
  std::string_view name = path.substr(path.rfind('/') + 1);
  if (name.starts_with("virtio")) {
    path = path.substr(0, path.rfind('/'));
    name = path.substr(path.rfind('/') + 1);
  }
  absl::StatusOr<PciAddress> address = PciAddress::Parse(name);
  if (address.ok()) return address;
  return absl::NotFoundError(StrCat("netdev ", netdev, " is not on a PCI device, but on ", real));
}

absl::StatusOr<std::vector<PciAddress>> LinuxSysfsPort::IommuGroup(uint32_t group) {
  const std::string folder = StrCat(options_.sysfs, "/kernel/iommu_groups/", group, "/devices");
  absl::StatusOr<std::vector<std::string>> names = ListFolder(folder);
  if (!names.ok()) return Annotate(names.status(), StrCat("read IOMMU group ", group));
  std::vector<PciAddress> members;
  for (const std::string& name : *names) {
    absl::StatusOr<PciAddress> address = PciAddress::Parse(name);
    if (!address.ok()) continue;  // a platform device, which VFIO for PCI leaves alone
    const std::string path = StrCat(folder, "/", name, "/class");
    FAIRLEAD_ASSIGN_OR_RETURN(const uint32_t pci_class, ReadNumber<uint32_t>(path, 0xffffff));
    if (pci_class >> 8 == kPciClassBridge) continue;
    members.push_back(*address);
  }
  std::sort(members.begin(), members.end());
  return members;
}

absl::Status LinuxSysfsPort::SetNumVfs(const PciAddress& pf, uint16_t count, Deadline deadline) {
  const std::string asked = StrCat("set the number of VFs of ", pf.ToString(), " to ", count);
  FAIRLEAD_RETURN_IF_ERROR(CheckOffered(pf, "sriov_numvfs", asked, "the device offers no SR-IOV"));
  absl::Status status =
      writer_.Write(pf, StrCat(Folder(pf), "/sriov_numvfs"), StrCat(count), asked, deadline);
  // ENOENT is how sriov_numvfs_store (drivers/pci/iov.c) says that no driver, or
  // one without SR-IOV, is bound to the PF; "no such file" would mislead.
  if (ErrnoOf(status) == ENOENT && CheckPresent(pf, asked).ok()) {
    return PeerError(absl::StatusCode::kFailedPrecondition, asked,
                     "no driver that can make VFs is bound to the PF");
  }
  return status;
}

absl::Status LinuxSysfsPort::SetAutoprobe(const PciAddress& pf, bool on) {
  const std::string asked =
      StrCat("turn autoprobe of the VFs of ", pf.ToString(), on ? " on" : " off");
  FAIRLEAD_RETURN_IF_ERROR(
      CheckOffered(pf, "sriov_drivers_autoprobe", asked, "the device offers no SR-IOV"));
  FAIRLEAD_RETURN_IF_ERROR(writer_.CheckIdle(pf, asked));
  return WriteSysfsFile(StrCat(Folder(pf), "/sriov_drivers_autoprobe"), on ? "1" : "0", asked);
}

absl::Status LinuxSysfsPort::SetDriverOverride(const PciAddress& address, std::string_view driver) {
  const std::string asked =
      driver.empty() ? StrCat("clear the driver override of ", address.ToString())
                     : StrCat("set the driver override of ", address.ToString(), " to ", driver);
  if (!driver.empty() && (!IsPlainName(driver) || driver.size() > 64)) {
    return absl::InvalidArgumentError(StrCat(asked, ": that is no name of a driver"));
  }
  FAIRLEAD_RETURN_IF_ERROR(
      CheckOffered(address, "driver_override", asked, "the kernel has no driver override"));
  // The store takes the device lock too (driver_set_override, drivers/base/driver.c).
  // A lone line end is how the kernel takes "none": an empty write never reaches it.
  return writer_.Write(address, StrCat(Folder(address), "/driver_override"), StrCat(driver, "\n"),
                       asked, options_.lock_deadline);
}

absl::Status LinuxSysfsPort::Probe(const PciAddress& address, Deadline deadline) {
  const std::string asked = StrCat("probe a driver for ", address.ToString());
  FAIRLEAD_RETURN_IF_ERROR(CheckPresent(address, asked));
  return writer_.Write(address, StrCat(options_.sysfs, "/bus/pci/drivers_probe"),
                       address.ToString(), asked, deadline);
}

absl::Status LinuxSysfsPort::Unbind(const PciAddress& address, Deadline deadline) {
  std::string asked = StrCat("unbind ", address.ToString());
  FAIRLEAD_RETURN_IF_ERROR(CheckPresent(address, asked));
  FAIRLEAD_RETURN_IF_ERROR(writer_.CheckIdle(address, asked));
  const std::string link = StrCat(Folder(address), "/driver");
  FAIRLEAD_ASSIGN_OR_RETURN(const std::optional<std::string> driver, ReadLinkName(link));
  if (!driver.has_value()) return absl::OkStatus();
  StrAppend(&asked, " from ", *driver);
  absl::Status status =
      writer_.Write(address, StrCat(link, "/unbind"), address.ToString(), asked, deadline);
  if (status.ok() || absl::IsDeadlineExceeded(status)) return status;
  // Somebody else was faster: what was asked for is so.
  FAIRLEAD_ASSIGN_OR_RETURN(const std::optional<std::string> after, ReadLinkName(link));
  return after.has_value() ? status : absl::OkStatus();
}

absl::Status LinuxSysfsPort::Reset(const PciAddress& address, Deadline deadline) {
  const std::string asked = StrCat("reset ", address.ToString());
  FAIRLEAD_RETURN_IF_ERROR(
      CheckOffered(address, "reset", asked, "the device offers no reset of one function"));
  return writer_.Write(address, StrCat(Folder(address), "/reset"), "1", asked, deadline);
}

namespace {

absl::StatusOr<UniqueFd> OpenNode(const std::string& path, struct stat* info) {
  // O_PATH and O_NOFOLLOW: opening a VFIO group has effects, and a link in its
  // place would let its maker choose what we give away.
  UniqueFd fd(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return absl::NotFoundError(
          StrCat("there is no ", path, ": no VFIO driver holds a device of that group"));
    }
    return SystemError(errno, StrCat("open ", path));
  }
  if (::fstat(fd.get(), info) != 0) return SystemError(errno, StrCat("look at ", path));
  if (!S_ISCHR(info->st_mode)) {
    return absl::DataLossError(StrCat(path, " is not a character device"));
  }
  return fd;
}

}  // namespace

absl::StatusOr<bool> LinuxSysfsPort::VfioGroupInUse(uint32_t group) {
  const std::string path = NodePath(group);
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (fd.valid() || errno == ENOENT) return false;
  if (errno == EBUSY) return true;  // vfio_group_fops_open, drivers/vfio/group.c
  return SystemError(errno, StrCat("find out whether ", path, " is open"));
}

absl::StatusOr<VfioNode> LinuxSysfsPort::GetVfioNode(uint32_t group) {
  const std::string path = NodePath(group);
  struct stat info;
  FAIRLEAD_ASSIGN_OR_RETURN(const UniqueFd fd, OpenNode(path, &info));
  return VfioNode{path, info.st_uid, info.st_gid, info.st_mode & 07777U};
}

absl::Status LinuxSysfsPort::SetVfioNode(uint32_t group, std::optional<uint32_t> uid,
                                         std::optional<uint32_t> gid,
                                         std::optional<uint32_t> mode) {
  const std::string path = NodePath(group);
  if (mode.has_value() && *mode > 0777) {
    return absl::InvalidArgumentError(
        StrCat(*mode, " (decimal) are no permission bits for ", path, ": 0 to 0777 octal"));
  }
  // (uid_t)-1 means "leave" to chown(2), so it cannot be asked for.
  if (uid == UINT32_MAX || gid == UINT32_MAX) {
    return absl::InvalidArgumentError(StrCat(UINT32_MAX, " is no user or group id"));
  }
  struct stat info;
  FAIRLEAD_ASSIGN_OR_RETURN(const UniqueFd fd, OpenNode(path, &info));
  if (uid.has_value() || gid.has_value()) {
    const uid_t new_uid = uid.value_or(static_cast<uint32_t>(-1));
    const gid_t new_gid = gid.value_or(static_cast<uint32_t>(-1));
    if (::fchownat(fd.get(), "", new_uid, new_gid, AT_EMPTY_PATH) != 0) {
      return SystemError(errno, StrCat("change the owner of ", path));
    }
  }
  if (mode.has_value()) {
    // fchmod refuses an O_PATH descriptor, and fchmodat2 came with Linux 6.6.
    const std::string self = StrCat("/proc/self/fd/", fd.get());
    if (::chmod(self.c_str(), *mode) != 0) {
      return SystemError(errno, StrCat("change the mode of ", path));
    }
  }
  return absl::OkStatus();
}

bool LinuxSysfsPort::Outstanding(const PciAddress& address) { return writer_.Outstanding(address); }

}  // namespace fairlead
