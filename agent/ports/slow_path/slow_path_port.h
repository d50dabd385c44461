// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the one door to the slow path's process. It keeps what it was told when the agent
// goes away, and forgets it when it is started anew: so a connection begins with all there is.
//
// Threading: calls block, at most until the port's deadline; call from a lane. One instance
// belongs to one thread at a time.
// Errors: kUnavailable: no process answers at the socket, or it went away: connect again, tell
// all again. kDeadlineExceeded: it did not answer in time; the same. kDataLoss: its answer is
// not one. kInvalidArgument: an entry that no message holds.
#pragma once

#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/model/slow_path.h"

namespace fairlead {

class SlowPathSocket {
 public:
  virtual ~SlowPathSocket() = default;

  // Connects, ends an earlier connection, and tells `all`, in as many messages as it takes.
  // With `whole` that is then everything that the process knows: until the last message it
  // answers by what it knew before, too. Without, it keeps that until a telling with it.
  // `keep`: ifindexes of representors whose port it keeps all the same, with its subnet.
  virtual absl::StatusOr<SlowPathReport> TellAll(std::span<const SlowPathEntry> all, bool whole,
                                                 std::span<const uint32_t> keep) = 0;
  // A change of what was told. kFailedPrecondition without a connection.
  virtual absl::StatusOr<SlowPathReport> Tell(std::span<const SlowPathEntry> put,
                                              std::span<const SlowPathKey> remove) = 0;
};

}  // namespace fairlead
