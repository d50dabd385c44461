// SPDX-License-Identifier: Apache-2.0
#include "dataplane/slowpath/responder.h"

#include <algorithm>

#include "dataplane/slowpath/answers.h"

namespace fairlead::slowpath {
namespace {

constexpr uint8_t kRouterSolicitation = 133;     // RFC 4861 section 4.1
constexpr uint8_t kNeighbourSolicitation = 135;  // section 4.3
constexpr uint16_t kDhcp4Server = 67;            // RFC 2131 section 4.1
constexpr uint16_t kDhcp6Server = 547;           // RFC 8415 section 7.2

bool IsUdpTo(uint8_t protocol, Bytes segment, uint16_t port) {
  return protocol == kProtocolUdp && segment.size() >= 4 && (segment[2] << 8 | segment[3]) == port;
}

Answer Respond4(const Query& query) {
  const std::optional<Ip4> ip = ParseIp4(query.ethernet.payload);
  if (!ip) return {Verdict::kMalformed};
  const bool routed = query.ethernet.destination == kGatewayMac;
  if (!routed && query.ethernet.destination != kBroadcastMac) return {};
  if (!ip->IsFragment() && IsUdpTo(ip->protocol, ip->payload, kDhcp4Server) &&
      (ip->destination == Ip4Of(255, 255, 255, 255) || ip->destination == ServerId(query.subnet))) {
    return AnswerDhcp4(query, *ip);
  }
  return routed ? AnswerRouted4(query, *ip) : Answer{};
}

Answer Respond6(const Query& query) {
  const std::optional<Ip6> ip = ParseIp6(query.ethernet.payload);
  if (!ip) return {Verdict::kMalformed};
  if (ip->next_header == kProtocolIcmp6 && !ip->payload.empty()) {
    if (ip->payload[0] == kNeighbourSolicitation) return AnswerNeighbourSolicitation(query, *ip);
    if (ip->payload[0] == kRouterSolicitation) return AnswerRouterSolicitation(query, *ip);
  }
  if (ip->destination == AllDhcpServers6() && IsUdpTo(ip->next_header, ip->payload, kDhcp6Server)) {
    return AnswerDhcp6(query, *ip);
  }
  return query.ethernet.destination == kGatewayMac ? AnswerRouted6(query, *ip) : Answer{};
}

}  // namespace

bool IsMacOf(const SlowPathPort& port, const MacAddress& mac) {
  return mac == port.mac || std::any_of(port.pairs.begin(), port.pairs.end(),
                                        [&mac](const AddressPair& p) { return p.mac == mac; });
}

bool Query::MayClaim(const IpAddress& address) const {
  if (address.IsUnspecified() || address.IsMulticast() || address.IsLoopback()) return false;
  if (ethernet.source == port.mac &&
      std::find(port.addresses.begin(), port.addresses.end(), address) != port.addresses.end()) {
    return true;
  }
  return std::any_of(port.pairs.begin(), port.pairs.end(), [&](const AddressPair& pair) {
    return pair.mac.value_or(port.mac) == ethernet.source && pair.prefix.Contains(address);
  });
}

bool Query::MayClaim6(const IpAddress& address) const {
  return IsLinkLocal6(address) || MayClaim(address);
}

bool Query::IsOwn(const IpAddress& address) const {
  return std::find(port.addresses.begin(), port.addresses.end(), address) != port.addresses.end();
}

std::optional<MacAddress> Query::OwnerOf(const IpAddress& address) const {
  if (address.is_v4()) {
    if (!subnet.prefix4 || !subnet.prefix4->Contains(address)) return std::nullopt;
    if (subnet.gateway4 == address) return kGatewayMac;
  } else {
    if (!subnet.prefix6) return std::nullopt;
    if (subnet.gateway6 == address || GatewayLinkLocal() == address) return kGatewayMac;
    if (!subnet.prefix6->Contains(address) && !IsLinkLocal6(address)) return std::nullopt;
  }
  return tables.FindNeighbour(subnet.id, address);
}

Answer Respond(const SlowPathPort& port, const Tables& tables, std::span<const uint8_t> frame,
               bool checksum_pending) {
  const std::optional<Ethernet> ethernet = ParseEthernet(frame);
  if (!ethernet) return {Verdict::kMalformed};
  if (!IsMacOf(port, ethernet->source)) return {Verdict::kSpoofed};
  const SlowPathSubnet* subnet = tables.FindSubnet(port.subnet);
  if (subnet == nullptr) return {Verdict::kUnknown};
  const Query query{port, *subnet, tables, *ethernet, checksum_pending};
  switch (ethernet->type) {
    case kEtherTypeArp:
      return AnswerArp(query);
    case kEtherTypeIp4:
      return Respond4(query);
    case kEtherTypeIp6:
      return Respond6(query);
    default:
      return {};
  }
}

std::vector<uint8_t> UnsolicitedAdvertisement(const SlowPathPort& port, const Tables& tables) {
  const SlowPathSubnet* subnet = tables.FindSubnet(port.subnet);
  if (subnet == nullptr || !subnet->prefix6) return {};
  return RouterAdvertisement(*subnet, MulticastMac6(AllNodes()), AllNodes());
}

}  // namespace fairlead::slowpath
