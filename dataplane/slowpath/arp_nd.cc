// SPDX-License-Identifier: Apache-2.0
//
// ARP (RFC 826, RFC 5227), neighbour and router discovery (RFC 4861, RFC 8106).
#include <algorithm>

#include "dataplane/slowpath/answers.h"

namespace fairlead::slowpath {
namespace {

constexpr uint8_t kRouterAdvertisement = 134;     // RFC 4861 section 4.2
constexpr uint8_t kNeighbourAdvertisement = 136;  // section 4.4
// Options: section 4.6, RFC 8106 section 5.1.
constexpr uint8_t kSourceLinkLayer = 1, kTargetLinkLayer = 2, kPrefixInformation = 3, kMtu = 5,
                  kRecursiveDns = 25;
constexpr uint32_t kNaRouter = 1U << 31, kNaSolicited = 1U << 30, kNaOverride = 1U << 29;
constexpr uint8_t kRaManaged = 0x80, kRaOther = 0x40, kPrefixOnLink = 0x80;
constexpr uint16_t kRouterLifetime = 1800;  // seconds: three times the longest silence
constexpr uint32_t kInfinite = 0xffffffff;  // the prefix is on-link for as long as we live
constexpr uint32_t kMinMtu6 = 1280;         // RFC 8200 section 5

// Well-formed options (RFC 4861 section 6.1.1, 7.1.1), with at most one source link-layer
// address that means anything: the first.
struct NdOptions {
  bool good = false;
  std::optional<MacAddress> source;
};

NdOptions ReadOptions(Reader in) {
  NdOptions out;
  while (in.left() > 0) {
    const uint8_t type = in.U8();
    const size_t length = in.U8() * 8U;  // in units of 8 octets, with type and length
    if (length == 0) return {};
    Reader option(in.Take(length - 2));
    if (!in.ok()) return {};
    if (type == kSourceLinkLayer && !out.source) {
      if (length != 8) return {};  // Ethernet (RFC 2464 section 6)
      out.source = option.Mac();
    }
  }
  out.good = true;
  return out;
}

}  // namespace

Answer AnswerArp(const Query& query) {
  Reader in(query.ethernet.payload);
  const uint16_t hardware = in.U16(), protocol = in.U16();
  const uint8_t hardware_size = in.U8(), protocol_size = in.U8();
  const uint16_t operation = in.U16();
  const MacAddress sender_mac = in.Mac();
  const IpAddress sender = in.Ip4();
  in.Skip(6);  // the target's MAC: what is asked for
  const IpAddress target = in.Ip4();
  if (!in.ok() || hardware != 1 || protocol != kEtherTypeIp4 || hardware_size != 6 ||
      protocol_size != 4) {
    return {Verdict::kMalformed};
  }
  if (sender_mac != query.ethernet.source) return {Verdict::kSpoofed};
  const bool probe = sender.IsUnspecified();  // RFC 5227 section 2.1.1
  if (!probe && !query.MayClaim(sender)) return {Verdict::kSpoofed};
  // An announcement asks nothing (RFC 5227 section 2.3), and who may claim an address is told
  // of no conflict.
  if (operation != 1 || sender == target || query.IsOwn(target)) return {};
  const std::optional<MacAddress> owner = query.OwnerOf(target);
  if (!owner) return {Verdict::kUnknown};
  if (IsMacOf(query.port, *owner)) return {};
  Writer out;
  out.Put(sender_mac).Put(*owner).U16(kEtherTypeArp);
  out.U16(1).U16(kEtherTypeIp4).U8(6).U8(4).U16(2);
  out.Put(*owner).Put(target).Put(sender_mac).Put(sender);
  return Answered(out.Take());
}

Answer AnswerNeighbourSolicitation(const Query& query, const Ip6& ip) {
  Reader in(ip.payload);
  in.Skip(1);  // the type
  const uint8_t code = in.U8();
  in.Skip(6);
  const IpAddress target = in.Ip6();
  if (!in.ok() || code != 0 || ip.hop_limit != kNdHopLimit || target.IsMulticast() ||
      !Icmp6Good(ip, query.checksum_pending)) {
    return {Verdict::kMalformed};
  }
  const NdOptions options = ReadOptions(in);
  const bool probe = ip.source.IsUnspecified();
  if (!options.good || (ip.destination != SolicitedNodeOf(target) && ip.destination != target) ||
      (probe && (options.source || ip.destination == target))) {
    return {Verdict::kMalformed};
  }
  if (options.source && *options.source != query.ethernet.source) return {Verdict::kSpoofed};
  if (!probe && !query.MayClaim6(ip.source)) return {Verdict::kSpoofed};
  if (ip.source == target || query.IsOwn(target)) return {};
  const std::optional<MacAddress> owner = query.OwnerOf(target);
  if (!owner) {
    // Nobody tells of link-local addresses; looking for doubles of one is no mistake.
    return {probe && IsLinkLocal6(target) ? Verdict::kQuiet : Verdict::kUnknown};
  }
  if (IsMacOf(query.port, *owner)) return {};
  const bool router = *owner == kGatewayMac && query.subnet.gateway6.has_value();
  Writer out;
  out.U8(kNeighbourAdvertisement).U8(0).U16(0);
  out.U32((router ? kNaRouter : 0) | (probe ? 0 : kNaSolicited) | kNaOverride).Put(target);
  out.U8(kTargetLinkLayer).U8(1).Put(*owner);
  // Section 7.2.4: who has no address yet is told with all others.
  const IpAddress to = probe ? AllNodes() : ip.source;
  const MacAddress to_mac = probe ? MulticastMac6(to) : query.ethernet.source;
  return Answered(Icmp6Frame({*owner, to_mac, target, to}, kNdHopLimit, std::move(out)));
}

Answer AnswerRouterSolicitation(const Query& query, const Ip6& ip) {
  Reader in(ip.payload);
  in.Skip(1);
  const uint8_t code = in.U8();
  in.Skip(6);
  if (!in.ok() || code != 0 || ip.hop_limit != kNdHopLimit ||
      !Icmp6Good(ip, query.checksum_pending)) {
    return {Verdict::kMalformed};
  }
  const NdOptions options = ReadOptions(in);
  const bool anonymous = ip.source.IsUnspecified();
  if (!options.good || (anonymous && options.source)) return {Verdict::kMalformed};
  if (options.source && *options.source != query.ethernet.source) return {Verdict::kSpoofed};
  if (!anonymous && !query.MayClaim6(ip.source)) return {Verdict::kSpoofed};
  if (!query.subnet.prefix6) return {Verdict::kUnknown};
  const IpAddress to = anonymous ? AllNodes() : ip.source;
  const MacAddress to_mac = anonymous ? MulticastMac6(to) : query.ethernet.source;
  return Answered(RouterAdvertisement(query.subnet, to_mac, to));
}

std::vector<uint8_t> RouterAdvertisement(const SlowPathSubnet& subnet, const MacAddress& to_mac,
                                         const IpAddress& to) {
  Writer out;
  out.U8(kRouterAdvertisement).U8(0).U16(0);
  // Addresses come by DHCPv6. Who is no router says so with a lifetime of 0, and is heard all
  // the same.
  out.U8(kTtl).U8(kRaManaged | kRaOther).U16(subnet.gateway6 ? kRouterLifetime : 0);
  out.U32(0).U32(0);  // reachable and retransmission time: the guest's own
  out.U8(kSourceLinkLayer).U8(1).Put(kGatewayMac);
  if (subnet.mtu >= kMinMtu6) out.U8(kMtu).U8(1).U16(0).U32(subnet.mtu);
  if (subnet.prefix6) {
    out.U8(kPrefixInformation).U8(4).U8(static_cast<uint8_t>(subnet.prefix6->length()));
    out.U8(kPrefixOnLink).U32(kInfinite).U32(kInfinite).U32(0).Put(subnet.prefix6->address());
  }
  Writer servers;
  for (const IpAddress& server : subnet.dns_servers) {
    if (server.is_v6()) servers.Put(server);
  }
  if (servers.size() > 0) {
    out.U8(kRecursiveDns).U8(static_cast<uint8_t>(1 + servers.size() / 8)).U16(0);
    out.U32(kRouterLifetime).Put(servers.bytes());
  }
  return Icmp6Frame({kGatewayMac, to_mac, GatewayLinkLocal(), to}, kNdHopLimit, std::move(out));
}

}  // namespace fairlead::slowpath
