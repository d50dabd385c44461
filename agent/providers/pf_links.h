// SPDX-License-Identifier: Apache-2.0
//
// Purpose: which link is the netdev of a PF.
//
// Threading: blocks; on the lane that owns the ports. Ownership: borrows the ports.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "absl/status/statusor.h"
#include "agent/base/types.h"
#include "agent/ports/rtnetlink/rtnetlink_port.h"
#include "agent/ports/sysfs/sysfs_port.h"

namespace fairlead {

class PfLinks {
 public:
  PfLinks(SysfsPort* sysfs, RtnetlinkPort* rtnetlink) : sysfs_(sysfs), rtnetlink_(rtnetlink) {}

  // kNotFound: it is not on this host, or in another network namespace.
  absl::StatusOr<LinkInfo> Find(const NicId& pf);

  // The device of a link that is the PF's netdev; none: it is another's.
  static absl::StatusOr<std::optional<PciDevice>> DeviceOf(SysfsPort& sysfs, const LinkInfo& link,
                                                           const NicId& pf);

 private:
  SysfsPort* sysfs_;
  RtnetlinkPort* rtnetlink_;
  std::map<NicId, uint32_t> ifindices_;  // where each was found last
};

}  // namespace fairlead
