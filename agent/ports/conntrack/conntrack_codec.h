// SPDX-License-Identifier: Apache-2.0
//
// Purpose: messages of connection tracking (ctnetlink) as values and back, without a socket: what
// LinuxConntrackPort sends and how it reads the answers.
//
// Threading: pure functions.
// Errors: requests for what must not or cannot be asked are kInvalidArgument; Decode* answer
// kDataLoss for a payload that is malformed.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/connection.h"
#include "agent/ports/netlink/message.h"

namespace fairlead::netlink {

// The fake asks these too.
absl::Status CheckZone(uint16_t zone);
absl::Status CheckTuple(const ConnectionTuple& tuple);
// What a deletion needs.
absl::Status CheckConnection(const Connection& connection);

// Kernels before 6.8 know no filter of zones, and tell of all of them.
absl::StatusOr<Message> DumpConnectionsRequest(uint16_t zone);
absl::StatusOr<Message> FindConnectionRequest(uint16_t zone, const ConnectionTuple& tuple);
// Always has a tuple: without one the kernel deletes all that it has
// (ctnetlink_del_conntrack, net/netfilter/nf_conntrack_netlink.c).
absl::StatusOr<Message> DeleteConnectionRequest(const Connection& connection);

// The type of a message that tells of a connection.
bool TellsConnection(uint16_t type);
// Its payload. Empty for a connection of another zone, of which nothing else is read.
absl::StatusOr<std::optional<Connection>> DecodeConnection(Bytes payload, uint16_t zone);

// The connections of a zone, taken from the messages of a dump as they come.
struct ConnectionDump {
  explicit ConnectionDump(uint16_t of) : zone(of) {}
  void Take(const MessageView& message);
  // In order. A connection that the kernel told of twice, as it may when others of its hash bucket
  // go meanwhile, is there once.
  std::vector<Connection> Finish();

  const uint16_t zone;
  std::vector<Connection> connections;
  absl::Status status;  // of the first message that is malformed; nothing is taken after it
};

}  // namespace fairlead::netlink
