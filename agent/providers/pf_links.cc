// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/pf_links.h"

#include <vector>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {

absl::StatusOr<std::optional<PciDevice>> PfLinks::DeviceOf(SysfsPort& sysfs, const LinkInfo& link,
                                                           const NicId& pf) {
  if (!link.kind.empty()) return std::nullopt;  // a bond or VLAN can show its NIC's address
  if (NicId(link.permanent_mac.value_or(link.mac)) != pf) return std::nullopt;
  const absl::StatusOr<PciAddress> pci = sysfs.PciOfNetdev(link.name);
  if (!pci.ok()) return std::nullopt;
  FAIRLEAD_ASSIGN_OR_RETURN(PciDevice device, sysfs.Device(*pci));
  if (device.physfn) return std::nullopt;  // a VF, whatever MAC it shows
  return device;
}

absl::StatusOr<LinkInfo> PfLinks::Find(const NicId& pf) {
  const auto is_it = [&](const LinkInfo& link) -> absl::StatusOr<bool> {
    FAIRLEAD_ASSIGN_OR_RETURN(const std::optional<PciDevice> device, DeviceOf(*sysfs_, link, pf));
    return device.has_value();
  };
  if (const auto known = ifindices_.find(pf); known != ifindices_.end()) {
    const absl::StatusOr<LinkInfo> link = rtnetlink_->GetLink(known->second);
    if (!link.ok() && !absl::IsNotFound(link.status())) return link.status();
    if (link.ok()) {
      FAIRLEAD_ASSIGN_OR_RETURN(const bool still, is_it(*link));
      if (still) return *link;
    }
    ifindices_.erase(known);
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<LinkInfo> links, rtnetlink_->ListLinks());
  for (const LinkInfo& link : links) {
    FAIRLEAD_ASSIGN_OR_RETURN(const bool found, is_it(link));
    if (!found) continue;
    ifindices_[pf] = link.ifindex;
    return link;
  }
  return absl::NotFoundError(StrCat("no PF with the permanent MAC ", pf.ToString(), " is here"));
}

}  // namespace fairlead
