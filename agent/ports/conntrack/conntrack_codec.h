// SPDX-License-Identifier: Apache-2.0
//
// Purpose: messages of ctnetlink (uapi/linux/netfilter/nfnetlink_conntrack.h), both ways, without a
// socket.
// Threading: pure functions. Errors: kDataLoss for what is malformed.
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "agent/base/connection.h"
#include "agent/ports/netlink/message.h"

namespace fairlead::netlink {

// All of a zone, as far as the kernel filters by it.
Message DumpConnectionsRequest(uint16_t zone);
Message GetConnectionRequest(uint16_t zone, const ConnectionTuple& tuple);
// By its zone, its original tuple and its id.
Message DeleteConnectionRequest(const Connection& connection);
// Of IPCTNL_MSG_CT_NEW, the answer to both.
absl::StatusOr<Connection> DecodeConnection(Bytes payload);
bool IsConnection(uint16_t type);

}  // namespace fairlead::netlink
