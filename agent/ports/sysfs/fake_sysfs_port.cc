// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/sysfs/fake_sysfs_port.h"

namespace fairlead {

absl::StatusOr<PciDevice> FakeSysfsPort::Device(const PciAddress& address) {
  return host_.Device(address);
}
absl::StatusOr<std::vector<PciAddress>> FakeSysfsPort::Behind(const PciAddress& bridge) {
  return host_.Behind(bridge);
}
absl::StatusOr<PciAddress> FakeSysfsPort::PciOfNetdev(std::string_view netdev) {
  return host_.PciOfNetdev(netdev);
}
absl::StatusOr<std::vector<PciAddress>> FakeSysfsPort::IommuGroup(uint32_t group) {
  return host_.IommuGroup(group);
}
absl::Status FakeSysfsPort::SetNumVfs(const PciAddress& pf, uint16_t count, Deadline) {
  return host_.SetNumVfs(pf, count);
}
absl::Status FakeSysfsPort::SetAutoprobe(const PciAddress& pf, bool on) {
  return host_.SetAutoprobe(pf, on);
}
absl::Status FakeSysfsPort::SetDriverOverride(const PciAddress& address, std::string_view driver) {
  return host_.SetDriverOverride(address, driver);
}
absl::Status FakeSysfsPort::Probe(const PciAddress& address, Deadline) {
  return host_.Probe(address);
}
absl::Status FakeSysfsPort::Unbind(const PciAddress& address, Deadline) {
  return host_.Unbind(address);
}
absl::Status FakeSysfsPort::Reset(const PciAddress& address, Deadline) {
  return host_.Reset(address);
}
absl::StatusOr<VfioNode> FakeSysfsPort::GetVfioNode(uint32_t group) {
  return host_.GetVfioNode(group);
}
absl::Status FakeSysfsPort::SetVfioNode(uint32_t group, std::optional<uint32_t> uid,
                                        std::optional<uint32_t> gid, std::optional<uint32_t> mode) {
  return host_.SetVfioNode(group, uid, gid, mode);
}
absl::StatusOr<bool> FakeSysfsPort::VfioGroupInUse(uint32_t group) {
  return host_.VfioGroupInUse(group);
}
bool FakeSysfsPort::Outstanding(const PciAddress& address) { return host_.Outstanding(address); }

}  // namespace fairlead
