// SPDX-License-Identifier: Apache-2.0
//
// Purpose: rules that belong to a device and not to what runs over it: the one that ends a table,
// made before the device goes up, and the one that marks the qdisc of an uplink, with which it
// comes. Threading: blocks; on the lane that owns `tc`.
#pragma once

#include "absl/status/statusor.h"
#include "agent/model/flow_rule.h"
#include "agent/ports/tc/tc_port.h"
#include "agent/providers/own_marks.h"

namespace fairlead {

absl::Status PutDefaultDrop(TcPort& tc, const RuleTable& table, const TcAttachPoint& at,
                            const OwnMarks& marks);

// Whether it stands there, as this store's agent made it.
absl::StatusOr<bool> HasDefaultDrop(TcPort& tc, const RuleTable& table, const TcAttachPoint& at,
                                    const OwnMarks& marks);

// A clsact qdisc for a PF's netdev, with UplinkMarkRule, and the id of the store whose agent made
// the one that is there; 0: none did.
absl::Status AddUplinkQdisc(TcPort& tc, const NicId& pf, uint32_t ifindex, const OwnMarks& marks);
absl::StatusOr<uint32_t> StoreOfUplinkQdisc(TcPort& tc, const NicId& pf, uint32_t ifindex);

}  // namespace fairlead
