// SPDX-License-Identifier: Apache-2.0
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <string>

#include "agent/base/text.h"
#include "agent/ports/rtnetlink/rtnetlink_codec.h"

namespace fairlead::netlink {
namespace {

// The place of addr_gen_mode in IFLA_INET6_CONF (DEVCONF_ADDR_GEN_MODE of
// linux/ipv6.h, which does not go together with netinet/in.h). The attribute of
// its own is left out together with the statistics.
constexpr size_t kDevconfAddrGenMode = 47;
constexpr size_t kMaxKind = 64;

bool IsIp(uint8_t family) { return family == AF_INET || family == AF_INET6; }

bool DecodeAddrGenNone(const AttributeSet& link) {
  if (!link.Has(IFLA_AF_SPEC)) return false;
  const AttributeSet families = link.Nested(IFLA_AF_SPEC);
  // Where IPv6 is off for the device there is no such part, and nothing that
  // would make an address either.
  if (!families.Has(AF_INET6)) return true;
  const AttributeSet inet6 = families.Nested(AF_INET6);
  if (auto mode = inet6.U8(IFLA_INET6_ADDR_GEN_MODE)) return *mode == IN6_ADDR_GEN_MODE_NONE;
  const auto conf = inet6.Raw(IFLA_INET6_CONF);
  if (!conf || conf->size() < (kDevconfAddrGenMode + 1) * sizeof(int32_t)) return false;
  return ReadStruct<int32_t>(conf->subspan(kDevconfAddrGenMode * sizeof(int32_t))) ==
         IN6_ADDR_GEN_MODE_NONE;
}

// The head of rtnl_link_stats64, which grows with the kernel.
std::optional<TrafficCounters> DecodeCounters(const AttributeSet& link) {
  struct Head {
    uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes;
  };
  const auto head = link.Struct<Head>(IFLA_STATS64);
  if (!head) return std::nullopt;
  return TrafficCounters{head->rx_packets, head->tx_packets, head->rx_bytes, head->tx_bytes};
}

std::vector<VfInfo> DecodeVfs(const AttributeSet& list, DecodeError* error) {
  std::vector<VfInfo> vfs;
  list.ForEach([&](uint16_t type, Bytes payload) {
    if (type != IFLA_VF_INFO) return;
    const AttributeSet vf(payload, error);
    const auto mac = vf.Struct<ifla_vf_mac>(IFLA_VF_MAC);
    if (!mac || mac->vf > UINT16_MAX) {
      error->Set("a VF without its number");
      return;
    }
    VfInfo info;
    info.index = static_cast<uint16_t>(mac->vf);
    info.mac = *MacAddress::FromBytes(Bytes(mac->mac).first(6));
    if (auto vlan = vf.Struct<ifla_vf_vlan>(IFLA_VF_VLAN)) {
      info.vlan = static_cast<uint16_t>(vlan->vlan);
    }
    // A driver that does not say puts -1.
    if (auto check = vf.Struct<ifla_vf_spoofchk>(IFLA_VF_SPOOFCHK); check && check->setting <= 1) {
      info.spoof_check = check->setting == 1;
    }
    if (auto trust = vf.Struct<ifla_vf_trust>(IFLA_VF_TRUST); trust && trust->setting <= 1) {
      info.trust = trust->setting == 1;
    }
    if (auto rate = vf.Struct<ifla_vf_rate>(IFLA_VF_RATE)) {
      info.max_tx_mbps = rate->max_tx_rate;
      info.min_tx_mbps = rate->min_tx_rate;
    }
    if (auto link = vf.Struct<ifla_vf_link_state>(IFLA_VF_LINK_STATE)) {
      info.link_disabled = link->link_state == IFLA_VF_LINK_STATE_DISABLE;
    }
    vfs.push_back(info);
  });
  return vfs;
}

std::string NudName(uint16_t state) {
  switch (state) {
    case NUD_NONE:
      return "NONE";
    case NUD_INCOMPLETE:
      return "INCOMPLETE";
    case NUD_REACHABLE:
      return "REACHABLE";
    case NUD_STALE:
      return "STALE";
    case NUD_DELAY:
      return "DELAY";
    case NUD_PROBE:
      return "PROBE";
    case NUD_FAILED:
      return "FAILED";
    case NUD_NOARP:
      return "NOARP";
    case NUD_PERMANENT:
      return "PERMANENT";
    default:
      return StrCat("state ", state);
  }
}

NudState NudOf(uint16_t state) {
  // NUD_VALID of include/net/neighbour.h.
  constexpr uint16_t kValid =
      NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY;
  if (state & kValid) return NudState::kValid;
  if (state & NUD_INCOMPLETE) return NudState::kIncomplete;
  if (state & NUD_FAILED) return NudState::kFailed;
  return NudState::kNone;
}

void DecodeNextHops(Bytes hops, std::vector<uint32_t>* links, DecodeError* error) {
  while (!hops.empty()) {
    const auto hop = ReadStruct<rtnexthop>(hops);
    if (!hop || hop->rtnh_len < sizeof(rtnexthop) || hop->rtnh_len > hops.size()) {
      error->Set("a next hop that is cut short");
      return;
    }
    if (hop->rtnh_ifindex > 0) links->push_back(static_cast<uint32_t>(hop->rtnh_ifindex));
    hops = AfterHeader(hops, hop->rtnh_len);
  }
}

}  // namespace

absl::StatusOr<std::optional<LinkInfo>> DecodeLink(Bytes payload) {
  DecodeError error;
  const auto header = ReadStruct<ifinfomsg>(payload);
  if (!header || header->ifi_index <= 0) {
    error.Set("no device is named");
    return error.ToStatus("a network device");
  }
  if (header->ifi_family != AF_UNSPEC) return std::nullopt;
  const AttributeSet link(AfterHeader(payload, sizeof(ifinfomsg)), &error);
  LinkInfo info;
  info.ifindex = static_cast<uint32_t>(header->ifi_index);
  info.up = (header->ifi_flags & IFF_UP) != 0;
  info.carrier = (header->ifi_flags & IFF_LOWER_UP) != 0;
  info.loopback = (header->ifi_flags & IFF_LOOPBACK) != 0;
  info.name = link.String(IFLA_IFNAME, kMaxIfName).value_or("");
  if (info.name.empty()) error.Set("the device has no name");
  info.mtu = link.U32(IFLA_MTU).value_or(0);
  info.mac = link.Mac(IFLA_ADDRESS).value_or(MacAddress());
  info.permanent_mac = link.Mac(IFLA_PERM_ADDRESS);
  info.alias = link.String(IFLA_IFALIAS, kMaxIfAlias).value_or("");
  info.addr_gen_none = DecodeAddrGenNone(link);
  info.counters = DecodeCounters(link);
  info.master = link.U32(IFLA_MASTER).value_or(0);
  // With a namespace's number the index is one of that namespace (half a veth pair).
  if (!link.Has(IFLA_LINK_NETNSID)) info.lower = link.U32(IFLA_LINK).value_or(0);
  const AttributeSet kind = link.Nested(IFLA_LINKINFO);
  info.kind = kind.String(IFLA_INFO_KIND, kMaxKind).value_or("");
  if (info.kind == "vxlan") {
    const AttributeSet vxlan = kind.Nested(IFLA_INFO_DATA);
    info.tunnel_collect_md = vxlan.U8(IFLA_VXLAN_COLLECT_METADATA).value_or(0) != 0;
    info.tunnel_port = vxlan.Be16(IFLA_VXLAN_PORT).value_or(0);
  } else if (info.kind == "geneve") {
    const AttributeSet geneve = kind.Nested(IFLA_INFO_DATA);
    info.tunnel_collect_md = geneve.Has(IFLA_GENEVE_COLLECT_METADATA);
    info.tunnel_port = geneve.Be16(IFLA_GENEVE_PORT).value_or(0);
  }
  if (link.Has(IFLA_VFINFO_LIST)) info.vfs = DecodeVfs(link.Nested(IFLA_VFINFO_LIST), &error);
  if (!error.ok()) return error.ToStatus("a network device");
  return info;
}

absl::StatusOr<std::optional<DecodedNeighbour>> DecodeNeighbour(Bytes payload) {
  DecodeError error;
  const auto header = ReadStruct<ndmsg>(payload);
  if (!header) {
    error.Set("it is cut short");
    return error.ToStatus("a neighbour");
  }
  if (!IsIp(header->ndm_family)) return std::nullopt;
  const AttributeSet entry(AfterHeader(payload, sizeof(ndmsg)), &error);
  DecodedNeighbour result;
  NeighbourInfo& info = result.info;
  const auto address = entry.Ip(NDA_DST);
  if (!address || header->ndm_ifindex <= 0 || address->is_v4() != (header->ndm_family == AF_INET)) {
    error.Set("no address or no device is named");
    return error.ToStatus("a neighbour");
  }
  info.ifindex = static_cast<uint32_t>(header->ndm_ifindex);
  info.address = *address;
  info.mac = entry.Mac(NDA_LLADDR);
  result.nud_state = header->ndm_state;
  info.state = NudOf(header->ndm_state);
  info.state_name = NudName(header->ndm_state);
  info.managed = (entry.U32(NDA_FLAGS_EXT).value_or(0) & NTF_EXT_MANAGED) != 0;
  info.protocol = entry.U8(NDA_PROTOCOL).value_or(0);
  if (!error.ok()) return error.ToStatus("a neighbour");
  return result;
}

absl::StatusOr<std::optional<DecodedRoute>> DecodeRoute(Bytes payload) {
  DecodeError error;
  const auto header = ReadStruct<rtmsg>(payload);
  if (!header) {
    error.Set("it is cut short");
    return error.ToStatus("a route");
  }
  if (!IsIp(header->rtm_family)) return std::nullopt;
  const AttributeSet route(AfterHeader(payload, sizeof(rtmsg)), &error);
  DecodedRoute result;
  result.type = header->rtm_type;
  result.prefix_length = header->rtm_dst_len;
  result.info.ifindex = route.U32(RTA_OIF).value_or(0);
  if (result.info.ifindex != 0) result.links.push_back(result.info.ifindex);
  result.info.gateway = route.Ip(RTA_GATEWAY);
  // An IPv4 route through an IPv6 gateway carries family and address here.
  if (auto via = route.Raw(RTA_VIA)) {
    if (auto address = IpAddress::FromBytes(via->subspan(std::min<size_t>(2, via->size())))) {
      result.info.gateway = address;
    } else {
      error.Set("a gateway of another family");
    }
  }
  result.info.source = route.Ip(RTA_PREFSRC);
  result.info.local = header->rtm_type == RTN_LOCAL;
  if (auto hops = route.Raw(RTA_MULTIPATH)) DecodeNextHops(*hops, &result.links, &error);
  if (!error.ok()) return error.ToStatus("a route");
  return result;
}

absl::StatusOr<std::optional<DecodedAddress>> DecodeAddress(Bytes payload) {
  DecodeError error;
  const auto header = ReadStruct<ifaddrmsg>(payload);
  if (!header) {
    error.Set("it is cut short");
    return error.ToStatus("an address");
  }
  if (!IsIp(header->ifa_family)) return std::nullopt;
  const AttributeSet entry(AfterHeader(payload, sizeof(ifaddrmsg)), &error);
  // On a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL ours.
  auto address = entry.Ip(IFA_LOCAL);
  if (!address) address = entry.Ip(IFA_ADDRESS);
  if (!address) error.Set("no address is named");
  if (!error.ok()) return error.ToStatus("an address");
  return DecodedAddress{header->ifa_index, *address};
}

absl::StatusOr<std::optional<RtnetlinkEvent>> DecodeEvent(const MessageView& message) {
  using Kind = RtnetlinkEvent::Kind;
  RtnetlinkEvent event;
  switch (message.type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: {
      auto link = DecodeLink(message.payload);
      if (!link.ok()) return link.status();
      if (!*link) return std::nullopt;
      event.kind = message.type == RTM_NEWLINK ? Kind::kLinkChanged : Kind::kLinkGone;
      event.ifindex = (*link)->ifindex;
      event.name = (*link)->name;
      return event;
    }
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH: {
      auto neighbour = DecodeNeighbour(message.payload);
      if (!neighbour.ok()) return neighbour.status();
      if (!*neighbour) return std::nullopt;
      event.kind = Kind::kNeighbourChanged;
      event.ifindex = (*neighbour)->info.ifindex;
      event.neighbour = (*neighbour)->info.address;
      return event;
    }
    case RTM_NEWADDR:
    case RTM_DELADDR: {
      auto address = DecodeAddress(message.payload);
      if (!address.ok()) return address.status();
      if (!*address) return std::nullopt;
      event.kind = Kind::kAddressOrRouteChanged;
      event.ifindex = (*address)->ifindex;
      return event;
    }
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      auto route = DecodeRoute(message.payload);
      if (!route.ok()) return route.status();
      if (!*route) return std::nullopt;
      event.kind = Kind::kAddressOrRouteChanged;
      event.ifindex = (*route)->info.ifindex;
      return event;
    }
    default:
      return std::nullopt;
  }
}

}  // namespace fairlead::netlink
