// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the host as the wire protocol shows it.
// Threading: pure functions; on the loop thread, which owns the engine.
#pragma once

#include <vector>

#include "agent/model/intent.h"
#include "agent/reconcile/engine.h"
#include "agent/runtime/lane.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {

void FillHostState(const Engine& engine, uint32_t store_id, const std::vector<LaneStats>& lanes,
                   bool with_rules, v1::HostState& out);

}  // namespace fairlead
