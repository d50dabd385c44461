// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/conntrack/conntrack_codec.h"

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <tuple>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead::netlink {
namespace {

// By the numbers of uapi/linux/netfilter/nf_conntrack_tcp.h.
constexpr std::array<std::string_view, TCP_CONNTRACK_MAX> kTcpStates = {
    "",           "SYN_SENT", "SYN_RECV",  "ESTABLISHED", "FIN_WAIT",
    "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",       "SYN_SENT2"};

constexpr char kWhat[] = "a connection";

constexpr uint16_t TypeOf(int message) {
  return static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | message);
}

// The attributes of ICMP and of ICMPv6.
struct IcmpKey {
  uint16_t id, type, code;
};
constexpr IcmpKey kIcmp4 = {CTA_PROTO_ICMP_ID, CTA_PROTO_ICMP_TYPE, CTA_PROTO_ICMP_CODE};
constexpr IcmpKey kIcmp6 = {CTA_PROTO_ICMPV6_ID, CTA_PROTO_ICMPV6_TYPE, CTA_PROTO_ICMPV6_CODE};

// The kernel goes by the protocol alone, whatever the family.
const IcmpKey* IcmpOf(uint8_t protocol) {
  if (protocol == IPPROTO_ICMP) return &kIcmp4;
  return protocol == IPPROTO_ICMPV6 ? &kIcmp6 : nullptr;
}

void PutTuple(Message& message, uint16_t type, const ConnectionTuple& tuple) {
  const bool v4 = tuple.src.is_v4();
  message.Begin(type)
      .Begin(CTA_TUPLE_IP)
      .PutIp(v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, tuple.src)
      .PutIp(v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, tuple.dst)
      .End()
      .Begin(CTA_TUPLE_PROTO)
      .PutU8(CTA_PROTO_NUM, tuple.protocol);
  if (const IcmpKey* icmp = IcmpOf(tuple.protocol); icmp != nullptr) {
    message.PutBe16(icmp->id, tuple.icmp_id)
        .PutU8(icmp->type, tuple.icmp_type)
        .PutU8(icmp->code, tuple.icmp_code);
  } else {
    // What has no ports does not look at them.
    message.PutBe16(CTA_PROTO_SRC_PORT, tuple.src_port).PutBe16(CTA_PROTO_DST_PORT, tuple.dst_port);
  }
  message.End().End();
}

Message Request(int what, uint16_t flags, uint8_t family, uint16_t zone) {
  Message message(TypeOf(what), flags);
  const nfgenmsg header{.nfgen_family = family, .version = NFNETLINK_V0, .res_id = 0};
  message.Header(header).PutBe16(CTA_ZONE, zone);
  return message;
}

uint8_t FamilyOf(const ConnectionTuple& tuple) { return tuple.src.is_v4() ? AF_INET : AF_INET6; }

// An address whose attribute says its family.
IpAddress ReadAddress(const AttributeSet& ip, uint16_t v4, uint16_t v6, DecodeError* error) {
  const uint16_t type = ip.Has(v4) ? v4 : v6;
  const auto address = ip.Ip(type);
  if (!address) {
    error->Set("it has no address");
    return {};
  }
  if (address->is_v4() != (type == v4)) error->Set("an address of it is of another family");
  return *address;
}

ConnectionTuple ReadTuple(const AttributeSet& tuple, DecodeError* error) {
  const AttributeSet ip = tuple.Nested(CTA_TUPLE_IP);
  const AttributeSet protocol = tuple.Nested(CTA_TUPLE_PROTO);
  ConnectionTuple out;
  out.src = ReadAddress(ip, CTA_IP_V4_SRC, CTA_IP_V6_SRC, error);
  out.dst = ReadAddress(ip, CTA_IP_V4_DST, CTA_IP_V6_DST, error);
  if (out.src.is_v4() != out.dst.is_v4()) error->Set("its addresses are of two families");
  const auto number = protocol.U8(CTA_PROTO_NUM);
  if (!number) {
    error->Set("it has no protocol");
    return out;
  }
  out.protocol = *number;
  if (const IcmpKey* icmp = IcmpOf(out.protocol); icmp != nullptr) {
    out.icmp_id = protocol.Be16(icmp->id).value_or(0);
    out.icmp_type = protocol.U8(icmp->type).value_or(0);
    out.icmp_code = protocol.U8(icmp->code).value_or(0);
  } else {
    out.src_port = protocol.Be16(CTA_PROTO_SRC_PORT).value_or(0);
    out.dst_port = protocol.Be16(CTA_PROTO_DST_PORT).value_or(0);
  }
  return out;
}

std::string_view ReadTcpState(const AttributeSet& connection) {
  const uint8_t state = connection.Nested(CTA_PROTOINFO)
                            .Nested(CTA_PROTOINFO_TCP)
                            .U8(CTA_PROTOINFO_TCP_STATE)
                            .value_or(TCP_CONNTRACK_NONE);
  // One that a newer kernel may have is as good as not told.
  return state < kTcpStates.size() ? kTcpStates[state] : "";
}

}  // namespace

absl::Status CheckZone(uint16_t zone) {
  if (zone != 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "connections of zone 0 are the host's own and none of Fairlead's");
}

absl::Status CheckTuple(const ConnectionTuple& tuple) {
  if (tuple.src.is_v4() == tuple.dst.is_v4()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("no connection has addresses of two families: ", tuple.ToString()));
}

absl::Status CheckConnection(const Connection& connection) {
  FAIRLEAD_RETURN_IF_ERROR(CheckZone(connection.zone));
  return CheckTuple(connection.original);
}

absl::StatusOr<Message> DumpConnectionsRequest(uint16_t zone) {
  FAIRLEAD_RETURN_IF_ERROR(CheckZone(zone));
  return Request(IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC, zone);
}

absl::StatusOr<Message> FindConnectionRequest(uint16_t zone, const ConnectionTuple& tuple) {
  FAIRLEAD_RETURN_IF_ERROR(CheckZone(zone));
  FAIRLEAD_RETURN_IF_ERROR(CheckTuple(tuple));
  Message message = Request(IPCTNL_MSG_CT_GET, NLM_F_ACK, FamilyOf(tuple), zone);
  // The tuple of either direction: the kernel looks in the one table that has both.
  PutTuple(message, CTA_TUPLE_ORIG, tuple);
  FAIRLEAD_RETURN_IF_ERROR(message.status());
  return message;
}

absl::StatusOr<Message> DeleteConnectionRequest(const Connection& connection) {
  FAIRLEAD_RETURN_IF_ERROR(CheckConnection(connection));
  Message message =
      Request(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, FamilyOf(connection.original), connection.zone);
  PutTuple(message, CTA_TUPLE_ORIG, connection.original);
  message.PutBe32(CTA_ID, connection.id);
  FAIRLEAD_RETURN_IF_ERROR(message.status());
  return message;
}

bool TellsConnection(uint16_t type) { return type == TypeOf(IPCTNL_MSG_CT_NEW); }

absl::StatusOr<std::optional<Connection>> DecodeConnection(Bytes payload, uint16_t zone) {
  DecodeError error;
  if (!ReadStruct<nfgenmsg>(payload)) {
    error.Set("it is cut short");
    return error.ToStatus(kWhat);
  }
  const AttributeSet set(AfterHeader(payload, sizeof(nfgenmsg)), &error);
  Connection connection;
  // None: the host's own, or of a zone that is another one for each direction.
  connection.zone = set.Be16(CTA_ZONE).value_or(0);
  if (!error.ok()) return error.ToStatus(kWhat);
  if (connection.zone != zone) return std::nullopt;
  connection.original = ReadTuple(set.Nested(CTA_TUPLE_ORIG), &error);
  connection.reply = ReadTuple(set.Nested(CTA_TUPLE_REPLY), &error);
  const auto status = set.Be32(CTA_STATUS);
  if (!status) error.Set("it has no status");
  const auto is = [&](uint32_t bit) { return (status.value_or(0) & bit) != 0; };
  connection.seen_reply = is(IPS_SEEN_REPLY);
  connection.assured = is(IPS_ASSURED);
  connection.confirmed = is(IPS_CONFIRMED);
  connection.dying = is(IPS_DYING);
  connection.offloaded = is(IPS_OFFLOAD);
  connection.in_hardware = is(IPS_HW_OFFLOAD);
  connection.tcp_state = ReadTcpState(set);
  connection.timeout_s = set.Be32(CTA_TIMEOUT).value_or(0);
  const auto id = set.Be32(CTA_ID);
  if (!id) error.Set("it has no id");  // it could never be deleted
  connection.id = id.value_or(0);
  if (!error.ok()) return error.ToStatus(kWhat);
  return connection;
}

void ConnectionDump::Take(const MessageView& message) {
  if (!TellsConnection(message.type) || !status.ok()) return;
  auto connection = DecodeConnection(message.payload, zone);
  if (!connection.ok()) {
    status = connection.status();
  } else if (*connection) {
    connections.push_back(**std::move(connection));
  }
}

std::vector<Connection> ConnectionDump::Finish() {
  const auto key = [](const Connection& connection) {
    return std::tie(connection.original, connection.id);
  };
  std::sort(connections.begin(), connections.end(),
            [&](const Connection& a, const Connection& b) { return key(a) < key(b); });
  connections.erase(
      std::unique(connections.begin(), connections.end(),
                  [&](const Connection& a, const Connection& b) { return key(a) == key(b); }),
      connections.end());
  return std::move(connections);
}

}  // namespace fairlead::netlink
