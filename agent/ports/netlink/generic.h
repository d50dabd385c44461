// SPDX-License-Identifier: Apache-2.0
//
// Purpose: generic netlink (uapi/linux/genetlink.h): the number that the kernel
// has given to a family ("devlink") and to its multicast groups, and the head of
// its messages.
//
// Threading: pure functions; ResolveFamily as its socket.
// Errors: kUnimplemented when the kernel does not have the family, kDataLoss for
// an answer that is malformed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "agent/ports/netlink/message.h"
#include "agent/ports/netlink/socket.h"

namespace fairlead::netlink {

struct GenericFamily {
  uint16_t id = 0;  // the type of its messages
  std::map<std::string, int, std::less<>> groups;
};

// A request to a family: its head, without attributes.
Message GenericRequest(uint16_t family, uint8_t command, uint8_t version, uint16_t flags);

// The command of a message of a family, 0 (none has it) for one that is cut short.
uint8_t GenericCommand(Bytes payload);
// Its attributes, behind the head.
Bytes GenericAttributes(Bytes payload);

// CTRL_CMD_GETFAMILY, and its answer.
Message FamilyRequest(std::string_view name);
absl::StatusOr<GenericFamily> DecodeFamily(Bytes payload);

// `socket` is one of Protocol::kGeneric. May load the family's module.
absl::StatusOr<GenericFamily> ResolveFamily(RequestSocket& socket, std::string_view name);

}  // namespace fairlead::netlink
