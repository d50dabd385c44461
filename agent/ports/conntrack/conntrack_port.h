// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the one door to the kernel's conntrack: the connections of a zone, one of them, and
// their end.
//
// Zone 0 is the host's own and refused everywhere (kInvalidArgument): nothing of the host's can be
// touched through this door.
//
// Threading: calls block; call from a lane. One instance belongs to one thread at a time (its own
// netlink socket).
// Errors: SystemError with the kernel's errno and its extended-ACK text; kUnimplemented where the
// kernel has no conntrack over netlink (nf_conntrack_netlink). Messages from the kernel are
// validated; a malformed one is kDataLoss.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/connection.h"

namespace fairlead {

class ConntrackPort {
 public:
  virtual ~ConntrackPort() = default;

  // All connections of a zone. kUnavailable when the kernel's table changed under the dump
  // (NLM_F_DUMP_INTR): ask again.
  virtual absl::StatusOr<std::vector<Connection>> Dump(uint16_t zone) = 0;
  // The one whose original or reply tuple this is; none: there is none.
  virtual absl::StatusOr<std::optional<Connection>> Find(uint16_t zone,
                                                         const ConnectionTuple& tuple) = 0;
  // Many messages a system call; result i belongs to connection i. What is gone is success, and so
  // is another connection in its place, which is left alone.
  virtual std::vector<absl::Status> Delete(std::span<const Connection> connections) = 0;
};

}  // namespace fairlead
