// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/netlink/generic.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>

#include "agent/base/text.h"

namespace fairlead::netlink {
namespace {

constexpr uint8_t kControlVersion = 2;  // of every kernel that has multicast groups by name

}  // namespace

Message GenericRequest(uint16_t family, uint8_t command, uint8_t version, uint16_t flags) {
  Message message(family, flags);
  genlmsghdr header{};
  header.cmd = command;
  header.version = version;
  message.Header(header);
  return message;
}

uint8_t GenericCommand(Bytes payload) {
  const auto header = ReadStruct<genlmsghdr>(payload);
  return header ? header->cmd : 0;
}

Bytes GenericAttributes(Bytes payload) { return AfterHeader(payload, GENL_HDRLEN); }

Message FamilyRequest(std::string_view name) {
  Message message = GenericRequest(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, kControlVersion, NLM_F_ACK);
  message.PutString(CTRL_ATTR_FAMILY_NAME, name);
  return message;
}

absl::StatusOr<GenericFamily> DecodeFamily(Bytes payload) {
  DecodeError error;
  const AttributeSet attributes(GenericAttributes(payload), &error);
  GenericFamily family;
  if (auto id = attributes.U16(CTRL_ATTR_FAMILY_ID)) {
    family.id = *id;
  } else {
    error.Set("it has no number");
  }
  attributes.Nested(CTRL_ATTR_MCAST_GROUPS).ForEach([&](uint16_t, Bytes bytes) {
    const AttributeSet group(bytes, &error);
    const auto name = group.String(CTRL_ATTR_MCAST_GRP_NAME, GENL_NAMSIZ - 1);
    const auto id = group.U32(CTRL_ATTR_MCAST_GRP_ID);
    if (name && id && *id <= INT32_MAX) family.groups[*name] = static_cast<int>(*id);
  });
  if (!error.ok()) return error.ToStatus("a netlink family");
  return family;
}

absl::StatusOr<GenericFamily> ResolveFamily(RequestSocket& socket, std::string_view name) {
  Message request = FamilyRequest(name);
  const Answer answer = socket.Transact(request);
  if (answer.transport.ok() && answer.error == ENOENT) {
    return absl::UnimplementedError(StrCat("this kernel has no ", name));
  }
  if (!answer.ok()) return answer.ToStatus(StrCat("look up the netlink family ", name));
  for (const OwnedMessage& reply : answer.replies) {
    if (reply.type == GENL_ID_CTRL) return DecodeFamily(reply.payload);
  }
  return absl::DataLossError(StrCat("the kernel said nothing about the netlink family ", name));
}

}  // namespace fairlead::netlink
