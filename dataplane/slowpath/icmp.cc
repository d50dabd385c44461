// SPDX-License-Identifier: Apache-2.0
//
// The gateway's ICMP (RFC 792, RFC 1812) and ICMPv6 (RFC 4443): echo, and time exceeded.
#include <algorithm>

#include "dataplane/slowpath/answers.h"

namespace fairlead::slowpath {
namespace {

constexpr uint8_t kEchoReply4 = 0, kEcho4 = 8, kTimeExceeded4 = 11;
constexpr uint8_t kTimeExceeded6 = 3, kEcho6 = 128, kEchoReply6 = 129, kRedirect6 = 137;
constexpr size_t kMostError4 = 576;   // bytes of the whole packet, RFC 1812 section 4.3.2.3
constexpr size_t kMostError6 = 1280;  // RFC 4443 section 2.4 (c)
// Next headers that another one follows (RFC 8200 section 4.1).
constexpr uint8_t kHopByHop = 0, kRouting = 43, kFragment = 44, kDestination = 60;

// No error is ever answered with an error (RFC 1812 section 4.3.2.7): only what asks.
bool MayCauseError4(const Ip4& ip) {
  const uint8_t first = ip.destination.bytes()[0];
  // A host's address: not 0/8, 127/8, multicast, reserved, broadcast.
  if (first == 0 || first == 127 || first >= 224 || ip.fragment_offset != 0) return false;
  if (ip.protocol != kProtocolIcmp4) return true;
  if (ip.payload.empty()) return false;
  const uint8_t type = ip.payload[0];
  return type == kEchoReply4 || type == kEcho4 || (type >= 13 && type <= 18);  // RFC 792, RFC 950
}

// RFC 4443 section 2.4 (e).
bool MayCauseError6(const Ip6& ip) {
  if (ip.destination.IsMulticast() || ip.destination.IsUnspecified() ||
      ip.destination.IsLoopback()) {
    return false;
  }
  uint8_t next = ip.next_header;
  Reader in(ip.payload);
  // A header has 8 bytes at least, so that a few of them end the packet; eight are more than
  // anybody uses.
  for (int i = 0; i < 8; ++i) {
    if (next == kProtocolIcmp6) {
      const uint8_t type = in.U8();
      return in.ok() && type >= 128 && type != kRedirect6;
    }
    if (next != kHopByHop && next != kRouting && next != kFragment && next != kDestination) {
      return true;
    }
    const bool fragment = next == kFragment;
    next = in.U8();
    const uint8_t length = in.U8();
    const uint16_t word = in.U16();
    in.Skip(4 + (fragment ? 0U : length * 8U));
    if (!in.ok() || (fragment && (word & 0xfff8) != 0)) return false;
  }
  return false;
}

// A message with its first eight bytes, and what was asked behind them.
Writer EchoReply(uint8_t type, Bytes request) {
  Writer out;
  out.U8(type).U8(0).U16(0).Put(request.subspan(4));
  return out;
}

Writer TimeExceeded(uint8_t type, Bytes packet, size_t most) {
  Writer out;
  out.U8(type).U8(0).U16(0).U32(0).Put(packet.first(std::min(packet.size(), most)));
  return out;
}

}  // namespace

Answer AnswerRouted4(const Query& query, const Ip4& ip) {
  if (!query.MayClaim(ip.source)) return {Verdict::kSpoofed};
  const std::optional<IpAddress>& gateway = query.subnet.gateway4;
  if (!gateway) return {};
  const MacAddress& to_mac = query.ethernet.source;
  const Addressing to{kGatewayMac, to_mac, *gateway, ip.source};
  if (ip.destination == *gateway) {
    if (ip.IsFragment() || ip.protocol != kProtocolIcmp4) return {};
    if (!Icmp4Good(ip.payload, query.checksum_pending)) return {Verdict::kMalformed};
    if (ip.payload[0] != kEcho4 || ip.payload[1] != 0) return {};
    return Answered(Icmp4Frame(to, ip.tos, EchoReply(kEchoReply4, ip.payload)));
  }
  // A gateway of another subnet of the VPC: this process cannot tell whose it is.
  if (ip.ttl > 1) return {Verdict::kUnknown};
  if (!MayCauseError4(ip)) return {};
  return Answered(
      Icmp4Frame(to, 0, TimeExceeded(kTimeExceeded4, ip.packet, kMostError4 - kIp4Header - 8)));
}

Answer AnswerRouted6(const Query& query, const Ip6& ip) {
  if (!query.MayClaim6(ip.source)) return {Verdict::kSpoofed};
  const std::optional<IpAddress>& gateway = query.subnet.gateway6;
  if (!gateway) return {};
  const MacAddress& to_mac = query.ethernet.source;
  if (ip.destination == *gateway) {
    if (ip.next_header != kProtocolIcmp6) return {};
    if (ip.payload.size() < 8 || !Icmp6Good(ip, query.checksum_pending)) {
      return {Verdict::kMalformed};
    }
    if (ip.payload[0] != kEcho6 || ip.payload[1] != 0) return {};
    const Addressing to{kGatewayMac, to_mac, ip.destination, ip.source};
    return Answered(Icmp6Frame(to, kTtl, EchoReply(kEchoReply6, ip.payload)));
  }
  if (ip.hop_limit > 1) return {Verdict::kUnknown};
  // A link-local address never leaves its link (RFC 4291 section 2.5.6).
  if (!MayCauseError6(ip) || IsLinkLocal6(ip.source)) return {};
  const Addressing to{kGatewayMac, to_mac, *gateway, ip.source};
  return Answered(
      Icmp6Frame(to, kTtl, TimeExceeded(kTimeExceeded6, ip.packet, kMostError6 - kIp6Header - 8)));
}

}  // namespace fairlead::slowpath
