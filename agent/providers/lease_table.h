// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the fence. Every operation on a VF carries the lease that it was
// planned for; the lanes ask here, right before they act, whether that lease is
// still the VF's.
// Threading: safe from any thread.
#pragma once

#include <mutex>
#include <set>

#include "absl/status/status.h"
#include "agent/base/types.h"

namespace fairlead {

class LeaseTable {
 public:
  void Grant(Lease lease);
  void End(Lease lease);
  // kFailedPrecondition for a lease that ended or never was. 0 (no VF) is fine.
  absl::Status Check(Lease lease) const;

 private:
  mutable std::mutex mutex_;
  std::set<Lease> granted_;
};

}  // namespace fairlead
