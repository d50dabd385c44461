// SPDX-License-Identifier: Apache-2.0
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>

#include "agent/base/text.h"
#include "agent/ports/rtnetlink/rtnetlink_codec.h"

namespace fairlead::netlink {
namespace {

Bytes AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

uint8_t FamilyOf(const IpAddress& address) { return address.is_v4() ? AF_INET : AF_INET6; }

Message LinkMessage(uint16_t type, uint16_t flags, uint32_t ifindex) {
  Message message(type, flags);
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_index = static_cast<int>(ifindex);
  message.Header(header);
  return message;
}

// One setting of one VF, which rtnetlink takes through its PF.
template <typename Setting>
Message VfMessage(uint32_t pf_ifindex, uint16_t type, const Setting& setting) {
  Message message = LinkMessage(RTM_NEWLINK, NLM_F_ACK, pf_ifindex);
  message.Begin(IFLA_VFINFO_LIST).Begin(IFLA_VF_INFO).PutStruct(type, setting).End().End();
  return message;
}

Message NeighbourMessage(uint16_t type, uint16_t flags, uint32_t ifindex,
                         const IpAddress& address) {
  Message message(type, flags);
  ndmsg header{};
  header.ndm_family = FamilyOf(address);
  header.ndm_ifindex = static_cast<int>(ifindex);
  message.Header(header).PutIp(NDA_DST, address);
  return message;
}

}  // namespace

absl::Status CheckIfName(std::string_view name) {
  // What dev_valid_name() refuses (net/core/dev.c).
  const bool bad_character = std::any_of(name.begin(), name.end(), [](unsigned char c) {
    return c <= ' ' || c == '/' || c == ':' || c == 0x7f;
  });
  if (!name.empty() && name.size() <= kMaxIfName && !bad_character && name != "." && name != "..") {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(StrCat("'", CleanText(AsBytes(name), 64),
                                           "' cannot be the name of a network device: 1 to ",
                                           kMaxIfName, " characters without spaces, '/' and ':'"));
}

Message GetLinkRequest(uint32_t ifindex, std::string_view name, bool with_vfs) {
  Message message = LinkMessage(RTM_GETLINK, NLM_F_ACK, ifindex);
  // Since Linux 7.2 a device is without IFLA_STATS64 too when statistics are to be skipped; each VF
  // brings its own when they are not.
  if (with_vfs) message.PutU32(IFLA_EXT_MASK, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS);
  if (ifindex == 0) message.PutString(IFLA_IFNAME, name);
  return message;
}

Message ListLinksRequest() {
  Message message = LinkMessage(RTM_GETLINK, NLM_F_DUMP, 0);
  message.PutU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return message;
}

Message SetFlagRequest(uint32_t ifindex, uint32_t flag, bool on) {
  Message message(RTM_NEWLINK, NLM_F_ACK);
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(ifindex);
  header.ifi_flags = on ? flag : 0;
  header.ifi_change = flag;
  message.Header(header);
  return message;
}

Message SetMtuRequest(uint32_t ifindex, uint32_t mtu) {
  Message message = LinkMessage(RTM_NEWLINK, NLM_F_ACK, ifindex);
  message.PutU32(IFLA_MTU, mtu);
  return message;
}

Message SetAliasRequest(uint32_t ifindex, std::string_view name, std::string_view alias) {
  Message message = LinkMessage(RTM_NEWLINK, NLM_F_ACK, ifindex);
  if (ifindex == 0) message.PutString(IFLA_IFNAME, name);
  // Without its NUL: the kernel counts the bytes, and none at all clears it.
  message.Put(IFLA_IFALIAS, AsBytes(alias));
  return message;
}

Message SetAddrGenRequest(uint32_t ifindex, bool none) {
  Message message = LinkMessage(RTM_NEWLINK, NLM_F_ACK, ifindex);
  message.Begin(IFLA_AF_SPEC)
      .Begin(AF_INET6)
      .PutU8(IFLA_INET6_ADDR_GEN_MODE, none ? IN6_ADDR_GEN_MODE_NONE : IN6_ADDR_GEN_MODE_EUI64)
      .End()
      .End();
  return message;
}

Message SetVfMacRequest(uint32_t ifindex, uint16_t vf, const MacAddress& mac) {
  ifla_vf_mac setting{};
  setting.vf = vf;
  std::copy(mac.bytes().begin(), mac.bytes().end(), setting.mac);
  return VfMessage(ifindex, IFLA_VF_MAC, setting);
}

Message SetVfVlanRequest(uint32_t ifindex, uint16_t vf, uint16_t vlan) {
  return VfMessage(ifindex, IFLA_VF_VLAN, ifla_vf_vlan{.vf = vf, .vlan = vlan, .qos = 0});
}

Message SetVfSpoofCheckRequest(uint32_t ifindex, uint16_t vf, bool on) {
  return VfMessage(ifindex, IFLA_VF_SPOOFCHK, ifla_vf_spoofchk{.vf = vf, .setting = on});
}

Message SetVfTrustRequest(uint32_t ifindex, uint16_t vf, bool on) {
  return VfMessage(ifindex, IFLA_VF_TRUST, ifla_vf_trust{.vf = vf, .setting = on});
}

Message SetVfRateRequest(uint32_t ifindex, uint16_t vf, uint32_t max_tx_mbps,
                         uint32_t min_tx_mbps) {
  return VfMessage(ifindex, IFLA_VF_RATE,
                   ifla_vf_rate{.vf = vf, .min_tx_rate = min_tx_mbps, .max_tx_rate = max_tx_mbps});
}

Message SetVfLinkDisabledRequest(uint32_t ifindex, uint16_t vf, bool disabled) {
  const uint32_t state = disabled ? IFLA_VF_LINK_STATE_DISABLE : IFLA_VF_LINK_STATE_AUTO;
  return VfMessage(ifindex, IFLA_VF_LINK_STATE, ifla_vf_link_state{.vf = vf, .link_state = state});
}

Message CreateTunnelRequest(const TunnelParams& params) {
  Message message = LinkMessage(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, 0);
  message.PutString(IFLA_IFNAME, params.name)
      .Begin(IFLA_LINKINFO)
      .PutString(IFLA_INFO_KIND, Name(params.encapsulation))
      .Begin(IFLA_INFO_DATA);
  if (params.encapsulation == Encapsulation::kVxlan) {
    message.PutU8(IFLA_VXLAN_COLLECT_METADATA, 1)
        .PutBe16(IFLA_VXLAN_PORT, params.udp_port)
        .PutU8(IFLA_VXLAN_LEARNING, 0)
        .PutU8(IFLA_VXLAN_UDP_ZERO_CSUM6_RX, 1);
  } else {
    message
        .Put(IFLA_GENEVE_COLLECT_METADATA, Bytes())  // a flag: it has no value
        .PutBe16(IFLA_GENEVE_PORT, params.udp_port)
        .PutU8(IFLA_GENEVE_UDP_ZERO_CSUM6_RX, 1);
  }
  message.End().End();
  return message;
}

Message DeleteLinkRequest(uint32_t ifindex) { return LinkMessage(RTM_DELLINK, NLM_F_ACK, ifindex); }

Message GetRouteRequest(const IpAddress& destination) {
  Message message(RTM_GETROUTE, NLM_F_ACK);
  rtmsg header{};
  header.rtm_family = FamilyOf(destination);
  header.rtm_dst_len = static_cast<uint8_t>(destination.bits());
  message.Header(header).PutIp(RTA_DST, destination);
  return message;
}

Message ListRoutesRequest(bool ipv6) {
  Message message(RTM_GETROUTE, NLM_F_DUMP);
  rtmsg header{};
  header.rtm_family = ipv6 ? AF_INET6 : AF_INET;
  message.Header(header);
  return message;
}

Message ListAddressesRequest(bool ipv6, uint32_t ifindex) {
  Message message(RTM_GETADDR, NLM_F_DUMP);
  ifaddrmsg header{};
  header.ifa_family = ipv6 ? AF_INET6 : AF_INET;
  header.ifa_index = ifindex;
  message.Header(header);
  return message;
}

Message GetNeighbourRequest(uint32_t ifindex, const IpAddress& address) {
  return NeighbourMessage(RTM_GETNEIGH, NLM_F_ACK, ifindex, address);
}

Message ManageNeighbourRequest(uint32_t ifindex, const IpAddress& address) {
  // Without NLM_F_REPLACE and NDA_LLADDR: an entry that is there keeps its
  // link address.
  Message message = NeighbourMessage(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE, ifindex, address);
  message.PutU32(NDA_FLAGS_EXT, NTF_EXT_MANAGED).PutU8(NDA_PROTOCOL, kFairleadProtocol);
  return message;
}

Message DeleteNeighbourRequest(uint32_t ifindex, const IpAddress& address) {
  return NeighbourMessage(RTM_DELNEIGH, NLM_F_ACK, ifindex, address);
}

Message ListNeighboursRequest() {
  Message message(RTM_GETNEIGH, NLM_F_DUMP);
  message.Header(ndmsg{});
  return message;
}

}  // namespace fairlead::netlink
