// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/lease_table.h"

#include "absl/strings/str_cat.h"

namespace fairlead {

void LeaseTable::Grant(Lease lease) {
  const std::lock_guard lock(mutex_);
  granted_.insert(lease);
}

void LeaseTable::End(Lease lease) {
  const std::lock_guard lock(mutex_);
  granted_.erase(lease);
}

absl::Status LeaseTable::Check(Lease lease) const {
  if (lease == 0) return absl::OkStatus();
  const std::lock_guard lock(mutex_);
  if (granted_.contains(lease)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("a late operation of lease ", lease,
                   ", which has ended: refused, the VF may belong to somebody else now"));
}

}  // namespace fairlead
