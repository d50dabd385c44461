// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/conntrack/conntrack_codec.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <iterator>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead::netlink {
namespace {

// Bits of uapi/linux/netfilter/nf_conntrack_common.h that an older header may lack.
constexpr uint32_t kOffloaded = 1U << 14;   // IPS_OFFLOAD
constexpr uint32_t kInHardware = 1U << 15;  // IPS_HW_OFFLOAD

constexpr uint16_t TypeOf(uint16_t message) {
  return static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | message);
}

Message Request(uint16_t message, uint16_t flags, uint8_t family) {
  Message request(TypeOf(message), static_cast<uint16_t>(NLM_F_REQUEST | flags));
  nfgenmsg header{};
  header.nfgen_family = family;
  header.version = NFNETLINK_V0;
  request.Header(header);
  return request;
}

uint8_t FamilyOf(const IpAddress& address) { return address.is_v4() ? AF_INET : AF_INET6; }

void PutTuple(Message& message, const ConnectionTuple& tuple) {
  const bool v4 = tuple.src.is_v4();
  message.Begin(CTA_TUPLE_ORIG)
      .Begin(CTA_TUPLE_IP)
      .PutIp(v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, tuple.src)
      .PutIp(v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, tuple.dst)
      .End()
      .Begin(CTA_TUPLE_PROTO)
      .PutU8(CTA_PROTO_NUM, tuple.protocol);
  switch (tuple.protocol) {
    case IPPROTO_ICMP:
      message.PutBe16(CTA_PROTO_ICMP_ID, tuple.icmp_id)
          .PutU8(CTA_PROTO_ICMP_TYPE, tuple.icmp_type)
          .PutU8(CTA_PROTO_ICMP_CODE, tuple.icmp_code);
      break;
    case IPPROTO_ICMPV6:
      message.PutBe16(CTA_PROTO_ICMPV6_ID, tuple.icmp_id)
          .PutU8(CTA_PROTO_ICMPV6_TYPE, tuple.icmp_type)
          .PutU8(CTA_PROTO_ICMPV6_CODE, tuple.icmp_code);
      break;
    default:
      message.PutBe16(CTA_PROTO_SRC_PORT, tuple.src_port)
          .PutBe16(CTA_PROTO_DST_PORT, tuple.dst_port);
  }
  message.End().End();
}

ConnectionTuple ReadTuple(const AttributeSet& attributes, DecodeError* error) {
  ConnectionTuple tuple;
  const AttributeSet ip = attributes.Nested(CTA_TUPLE_IP);
  const bool v4 = ip.Has(CTA_IP_V4_SRC);
  const auto address = [&](uint16_t type4, uint16_t type6) {
    const std::optional<IpAddress> found = ip.Ip(v4 ? type4 : type6);
    if (!found || found->is_v4() != v4) {
      error->Set("a tuple without both its addresses");
      return IpAddress();
    }
    return *found;
  };
  tuple.src = address(CTA_IP_V4_SRC, CTA_IP_V6_SRC);
  tuple.dst = address(CTA_IP_V4_DST, CTA_IP_V6_DST);
  const AttributeSet proto = attributes.Nested(CTA_TUPLE_PROTO);
  const std::optional<uint8_t> number = proto.U8(CTA_PROTO_NUM);
  if (!number) error->Set("a tuple without a protocol");
  tuple.protocol = number.value_or(0);
  const bool icmp6 = tuple.protocol == IPPROTO_ICMPV6;
  if (tuple.protocol == IPPROTO_ICMP || icmp6) {
    tuple.icmp_id = proto.Be16(icmp6 ? CTA_PROTO_ICMPV6_ID : CTA_PROTO_ICMP_ID).value_or(0);
    tuple.icmp_type = proto.U8(icmp6 ? CTA_PROTO_ICMPV6_TYPE : CTA_PROTO_ICMP_TYPE).value_or(0);
    tuple.icmp_code = proto.U8(icmp6 ? CTA_PROTO_ICMPV6_CODE : CTA_PROTO_ICMP_CODE).value_or(0);
  } else {
    tuple.src_port = proto.Be16(CTA_PROTO_SRC_PORT).value_or(0);
    tuple.dst_port = proto.Be16(CTA_PROTO_DST_PORT).value_or(0);
  }
  return tuple;
}

// As conntrack(8) says it; enum tcp_conntrack.
std::string TcpStateName(uint8_t state) {
  constexpr std::string_view kNames[] = {"NONE",     "SYN_SENT",   "SYN_RECV", "ESTABLISHED",
                                         "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT",
                                         "CLOSE",    "SYN_SENT2"};
  return state < std::size(kNames) ? std::string(kNames[state]) : StrCat("state ", state);
}

}  // namespace

Message DumpConnectionsRequest(uint16_t zone) {
  Message request = Request(IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC);
  request.PutBe16(CTA_ZONE, zone);
  return request;
}

Message GetConnectionRequest(uint16_t zone, const ConnectionTuple& tuple) {
  Message request = Request(IPCTNL_MSG_CT_GET, NLM_F_ACK, FamilyOf(tuple.src));
  PutTuple(request, tuple);
  request.PutBe16(CTA_ZONE, zone);
  return request;
}

Message DeleteConnectionRequest(const Connection& connection) {
  Message request = Request(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, FamilyOf(connection.original.src));
  PutTuple(request, connection.original);
  request.PutBe16(CTA_ZONE, connection.zone).PutBe32(CTA_ID, connection.id);
  return request;
}

bool IsConnection(uint16_t type) { return type == TypeOf(IPCTNL_MSG_CT_NEW); }

absl::StatusOr<Connection> DecodeConnection(Bytes payload) {
  DecodeError error;
  if (!ReadStruct<nfgenmsg>(payload)) error.Set("its head is cut short");
  const AttributeSet attributes(AfterHeader(payload, sizeof(nfgenmsg)), &error);
  Connection connection;
  connection.zone = attributes.Be16(CTA_ZONE).value_or(0);
  connection.original = ReadTuple(attributes.Nested(CTA_TUPLE_ORIG), &error);
  connection.reply = ReadTuple(attributes.Nested(CTA_TUPLE_REPLY), &error);
  const uint32_t status = attributes.Be32(CTA_STATUS).value_or(0);
  connection.seen_reply = (status & IPS_SEEN_REPLY) != 0;
  connection.assured = (status & IPS_ASSURED) != 0;
  connection.confirmed = (status & IPS_CONFIRMED) != 0;
  connection.dying = (status & IPS_DYING) != 0;
  connection.offloaded = (status & kOffloaded) != 0;
  connection.in_hardware = (status & kInHardware) != 0;
  connection.id = attributes.Be32(CTA_ID).value_or(0);
  connection.timeout_s = attributes.Be32(CTA_TIMEOUT).value_or(0);
  const AttributeSet tcp = attributes.Nested(CTA_PROTOINFO).Nested(CTA_PROTOINFO_TCP);
  if (const std::optional<uint8_t> state = tcp.U8(CTA_PROTOINFO_TCP_STATE)) {
    connection.tcp_state = TcpStateName(*state);
  }
  FAIRLEAD_RETURN_IF_ERROR(error.ToStatus("a connection"));
  return connection;
}

}  // namespace fairlead::netlink
