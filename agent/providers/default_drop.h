// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the rule that ends a table, made before its device goes up.
// Threading: blocks; on the lane that owns `tc`.
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

}  // namespace fairlead
