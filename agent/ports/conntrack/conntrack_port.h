// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the one door to the kernel's connection tracking: the connections of one zone, as TC's
// `ct` action makes them (TcCt), read and deleted.
//
// Threading: calls block; call from a lane. One instance belongs to one thread at a time (its own
// netlink socket).
// Errors: SystemError with the kernel's errno and its extended-ACK text. Zone 0 is the host's own:
// every call for it is kInvalidArgument and does not reach the kernel. kUnimplemented where the
// kernel tells of no connections (nf_conntrack_netlink). Messages from the kernel are validated; a
// malformed one is kDataLoss.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/base/connection.h"

namespace fairlead {

class ConntrackPort {
 public:
  virtual ~ConntrackPort() = default;

  // All connections of a zone, in the order of their original tuples. Others come and go meanwhile;
  // kUnavailable when the kernel says that its table changed under the dump (NLM_F_DUMP_INTR): ask
  // again.
  virtual absl::StatusOr<std::vector<Connection>> Dump(uint16_t zone) = 0;

  // The one whose original or reply tuple this is; none: there is none. An ICMP error is of no
  // connection of its own. kInvalidArgument when the addresses are of two families.
  virtual absl::StatusOr<std::optional<Connection>> Find(uint16_t zone,
                                                         const ConnectionTuple& tuple) = 0;

  // Deletes those, many messages a system call, and answers each one for itself: a refused one does
  // not stop the next. Result i belongs to connection i. A connection is known by its zone, its
  // original tuple and its id, so that a new one with the same tuple is not hit; what is gone
  // already is success. The next packet begins a new connection, if the rules let it: of a flow
  // table at once (flow_offload_lookup, net/netfilter/nf_flow_table_core.c), of a NIC's after the
  // table's next round, one a second (nf_flow_offload_gc_step).
  virtual std::vector<absl::Status> Delete(std::span<const Connection> connections) = 0;
};

}  // namespace fairlead
