// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the host as the wire protocol shows it, and as a line for an operator does.
// Threading: pure functions; on the loop thread, which owns the engine.
#pragma once

#include <string>
#include <vector>

#include "agent/model/intent.h"
#include "agent/reconcile/engine.h"
#include "agent/runtime/lane.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {

void ToProto(const absl::StatusOr<Engine::TunnelDrops>& drops, v1::HostState::TunnelDrops& out);
void FillHostState(const Engine& engine, uint32_t store_id, const std::vector<LaneStats>& lanes,
                   const std::string& store_problem, v1::HostState& out);

struct Standing {
  std::string unobserved;  // what was not observed yet since the start; "" = nothing
  std::string counts;      // "3 objects: 2 ready, 1 failed; 1 of 4 VFs leased"
};

Standing StandingOf(const Engine& engine);

void ToProto(const SanitationRecord& record, v1::HostState::Vf::Sanitation& out);

}  // namespace fairlead
