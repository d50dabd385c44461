// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the state of objects and its changes, as lines: what `fairleadctl watch`
// prints.
//
// The picture is first asked for, then kept by events. It is asked for anew when a
// gap in the events' sequence or a restart of the agent shows, and now and then
// without a reason: an event that is lost before the first one arrived, or before
// a long silence, leaves no gap that could be seen.
//
// Threading: blocks the caller, in `next_event`. Errors: an agent that goes away
// later on is told and asked again; only the first answer must come.
#pragma once

#include <chrono>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/ctl/options.h"
#include "agent/ctl/wait.h"

namespace fairlead::v1 {
class GetReply;
}

namespace fairlead {

struct WatchRequest {
  std::vector<WatchedItem> items;  // empty: all objects
  bool json = false;
  std::string until;                                // "", "ready", "gone"
  std::optional<std::chrono::milliseconds> within;  // set with `until`
};

struct WatchTools {
  // At least what is watched, over a connection of its own. May fail once `stopped`;
  // kFailedPrecondition: the agent refused.
  std::function<absl::Status(v1::GetReply*)> get_objects;
  // As Subscriber::Next; of all topics, or there would be gaps.
  std::function<absl::StatusOr<std::pair<std::string, std::string>>(std::chrono::milliseconds)>
      next_event;
  std::function<std::chrono::steady_clock::time_point()> now;
  std::function<std::chrono::system_clock::time_point()> wall;
  std::function<void(std::chrono::milliseconds)> sleep;
  std::function<bool()> stopped;  // a signal came, or nobody reads any more
  std::ostream* out = nullptr;
};

// kOk: `until` came true, or, without one, stopped or `out` fails; kRejected: the agent refused;
// kUnreachable: no first answer, or no events can be had; kFailed, kTimedOut: of `until`, the
// latter also when stopped before it came true.
WaitResult Watch(const WatchRequest& request, const WatchTools& tools);

}  // namespace fairlead
