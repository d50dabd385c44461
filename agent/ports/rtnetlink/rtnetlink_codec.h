// SPDX-License-Identifier: Apache-2.0
//
// Purpose: rtnetlink messages as values and back, without a socket: what
// LinuxRtnetlinkPort sends and how it reads the answers.
//
// Threading: pure functions.
// Errors: Decode* answer kDataLoss for a payload that is malformed. A decoder
// that answers an empty optional met a message of no interest (an entry of
// another family).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "agent/ports/netlink/message.h"
#include "agent/ports/rtnetlink/rtnetlink_port.h"

namespace fairlead::netlink {

// Longest netdev name (IFNAMSIZ - 1) and ifalias (IFALIASZ - 1, linux/if.h).
inline constexpr size_t kMaxIfName = 15;
inline constexpr size_t kMaxIfAlias = 255;

// kInvalidArgument unless `name` can be a netdev's.
absl::Status CheckIfName(std::string_view name);

// Either by ifindex (name empty) or by name (ifindex 0). Statistics are left
// out: drivers take locks for them, and 254 VFs' worth does not fit an attribute.
Message GetLinkRequest(uint32_t ifindex, std::string_view name, bool with_vfs);
Message ListLinksRequest();
Message SetFlagRequest(uint32_t ifindex, uint32_t flag, bool on);
Message SetMtuRequest(uint32_t ifindex, uint32_t mtu);
Message SetAliasRequest(uint32_t ifindex, std::string_view name, std::string_view alias);
Message SetAddrGenRequest(uint32_t ifindex, bool none);
Message SetVfMacRequest(uint32_t ifindex, uint16_t vf, const MacAddress& mac);
Message SetVfVlanRequest(uint32_t ifindex, uint16_t vf, uint16_t vlan);
Message SetVfSpoofCheckRequest(uint32_t ifindex, uint16_t vf, bool on);
Message SetVfTrustRequest(uint32_t ifindex, uint16_t vf, bool on);
Message SetVfRateRequest(uint32_t ifindex, uint16_t vf, uint32_t max_tx_mbps, uint32_t min_tx_mbps);
Message SetVfLinkDisabledRequest(uint32_t ifindex, uint16_t vf, bool disabled);
Message CreateTunnelRequest(const TunnelParams& params);
Message DeleteLinkRequest(uint32_t ifindex);
Message GetRouteRequest(const IpAddress& destination);
Message ListRoutesRequest(bool ipv6);
Message ListAddressesRequest(bool ipv6, uint32_t ifindex);
Message GetNeighbourRequest(uint32_t ifindex, const IpAddress& address);
Message ManageNeighbourRequest(uint32_t ifindex, const IpAddress& address);
Message DeleteNeighbourRequest(uint32_t ifindex, const IpAddress& address);
Message ListNeighboursRequest();

// RTM_NEWLINK, RTM_DELLINK. Empty for another family's view of a link (a
// bridge says RTM_DELLINK when a port leaves it).
absl::StatusOr<std::optional<LinkInfo>> DecodeLink(Bytes payload);

struct DecodedNeighbour {
  NeighbourInfo info;
  uint16_t nud_state = 0;  // NUD_*
};
// RTM_NEWNEIGH, RTM_DELNEIGH. Empty for what is neither IPv4 nor IPv6.
absl::StatusOr<std::optional<DecodedNeighbour>> DecodeNeighbour(Bytes payload);

struct DecodedRoute {
  RouteInfo info;
  uint8_t type = 0;  // RTN_*
  uint8_t prefix_length = 0;
  std::vector<uint32_t> links;  // of every next hop
};
// RTM_NEWROUTE. Empty for what is neither IPv4 nor IPv6.
absl::StatusOr<std::optional<DecodedRoute>> DecodeRoute(Bytes payload);

struct DecodedAddress {
  uint32_t ifindex = 0;
  IpAddress address;
};
// RTM_NEWADDR. Empty for what is neither IPv4 nor IPv6.
absl::StatusOr<std::optional<DecodedAddress>> DecodeAddress(Bytes payload);

// What a multicast message tells a subscriber. Empty for what does not matter;
// a malformed one is an error, which a subscriber hears as kLost.
absl::StatusOr<std::optional<RtnetlinkEvent>> DecodeEvent(const MessageView& message);

}  // namespace fairlead::netlink
