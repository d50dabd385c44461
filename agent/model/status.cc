// SPDX-License-Identifier: Apache-2.0
#include "agent/model/status.h"

namespace fairlead {

std::string_view ObjectStateName(ObjectState state) {
  switch (state) {
    case ObjectState::kPending:
      return "pending";
    case ObjectState::kApplying:
      return "applying";
    case ObjectState::kReady:
      return "ready";
    case ObjectState::kDegraded:
      return "degraded";
    case ObjectState::kFailed:
      return "failed";
    case ObjectState::kRemoving:
      return "removing";
  }
  return "unknown";
}

}  // namespace fairlead
