// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the one door to rtnetlink for links, VF configuration, routes and
// neighbours. Requests name one link at a time: a dump of all links with VF
// info is never sent (it holds rtnl for most of a second on real hosts).
//
// Threading: calls block; call from a lane. Each call is complete when it
// returns. One instance belongs to one thread at a time. Subscribe's callback
// runs on a thread of the port's own.
// Errors: SystemError with the kernel's errno and its extended-ACK text.
// Messages from the kernel are validated attribute by attribute; a short or
// malformed one is kDataLoss and never read past its end.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/encapsulation.h"
#include "agent/base/types.h"

namespace fairlead {

struct VfInfo {  // IFLA_VF_INFO
  uint16_t index = 0;
  MacAddress mac;
  uint16_t vlan = 0;                       // 0: none
  std::optional<bool> spoof_check, trust;  // absent: the driver does not say
  uint32_t max_tx_mbps = 0;                // Mbit/s; 0: no limit
  uint32_t min_tx_mbps = 0;                // Mbit/s; 0: nothing is kept for it
  bool link_disabled = false;              // IFLA_VF_LINK_STATE_DISABLE; else auto or enable
  friend bool operator==(const VfInfo&, const VfInfo&) = default;
};

struct LinkInfo {
  std::string name;
  uint32_t ifindex = 0;
  bool up = false;       // IFF_UP
  bool carrier = false;  // IFF_LOWER_UP
  uint32_t mtu = 0;
  MacAddress mac;
  std::optional<MacAddress> permanent_mac;
  std::string alias;                        // ifalias, where ownership shows
  std::string kind;                         // IFLA_INFO_KIND: "vxlan", "" for hardware
  bool loopback = false;                    // IFF_LOOPBACK
  uint32_t master = 0;                      // the bond or bridge that it is a part of (IFLA_MASTER)
  uint32_t lower = 0;                       // what a VLAN or macvlan stands on (IFLA_LINK)
  bool addr_gen_none = false;               // no IPv6 link-local address by itself
  uint32_t ingress_block = 0;               // not filled here; see TcPort
  std::optional<TrafficCounters> counters;  // GetLink only: IFLA_STATS64
  std::optional<std::vector<VfInfo>> vfs;   // GetLinkWithVfs only; absent: the NIC reports none
  // Kinds "vxlan" and "geneve":
  bool tunnel_collect_md = false;
  uint16_t tunnel_port = 0;
  friend bool operator==(const LinkInfo&, const LinkInfo&) = default;
};

struct RouteInfo {
  uint32_t ifindex = 0;              // 0 for none
  std::optional<IpAddress> gateway;  // absent: on link
  std::optional<IpAddress> source;   // preferred source
  bool local = false;                // RTN_LOCAL: an address of this host
};

enum class NudState : uint8_t { kNone, kIncomplete, kValid, kFailed };

// Fairlead's mark in NDA_PROTOCOL (the kernel leaves values from 4 up to users,
// uapi/linux/rtnetlink.h, RTPROT_STATIC and above).
inline constexpr uint8_t kFairleadProtocol = 70;

struct NeighbourInfo {
  uint32_t ifindex = 0;
  IpAddress address;
  std::optional<MacAddress> mac;
  NudState state = NudState::kNone;  // kValid: REACHABLE, STALE, DELAY, PROBE, PERMANENT, NOARP
  std::string state_name;            // "REACHABLE"
  bool managed = false;              // NTF_EXT_MANAGED
  uint8_t protocol = 0;              // NDA_PROTOCOL, who made it

  bool permanent() const { return state_name == "PERMANENT"; }
  // We make no permanent ones: one with our mark was ours before an operator took
  // it over, which leaves the mark as it was.
  bool ours() const { return protocol == kFairleadProtocol && !permanent(); }
  // An operator's permanent one, or one that another agent has the kernel keep.
  bool kept_by_others() const { return permanent() || (managed && protocol != kFairleadProtocol); }
};

struct TunnelParams {
  std::string name;
  Encapsulation encapsulation = Encapsulation::kVxlan;
  uint16_t udp_port = 4789;
  std::string alias;
};

// What a subscriber is told. kLost: messages were lost (ENOBUFS); observe anew.
struct RtnetlinkEvent {
  enum class Kind : uint8_t {
    kLinkChanged,
    kLinkGone,
    kNeighbourChanged,
    kAddressOrRouteChanged,
    kLost
  };
  Kind kind = Kind::kLost;
  uint32_t ifindex = 0;
  std::string name;                    // links
  std::optional<IpAddress> neighbour;  // neighbours
};

class RtnetlinkPort {
 public:
  virtual ~RtnetlinkPort() = default;

  // kNotFound when there is no such link.
  virtual absl::StatusOr<LinkInfo> GetLink(std::string_view name) = 0;
  virtual absl::StatusOr<LinkInfo> GetLink(uint32_t ifindex) = 0;
  // The same, with RTEXT_FILTER_VF, for a PF.
  virtual absl::StatusOr<LinkInfo> GetLinkWithVfs(uint32_t ifindex) = 0;
  // All links without VF info, ascending ifindex.
  virtual absl::StatusOr<std::vector<LinkInfo>> ListLinks() = 0;

  virtual absl::Status SetLinkUp(uint32_t ifindex, bool up) = 0;
  virtual absl::Status SetMtu(uint32_t ifindex, uint32_t mtu) = 0;
  virtual absl::Status SetAlias(uint32_t ifindex, std::string_view alias) = 0;
  // IN6_ADDR_GEN_MODE_NONE when `none`, else EUI-64.
  virtual absl::Status SetAddrGenNone(uint32_t ifindex, bool none) = 0;
  // What is set on a VF through its PF, one call each. A driver that has no such call
  // answers EOPNOTSUPP, and EINVAL to a value that its NIC cannot have.
  virtual absl::Status SetVfMac(uint32_t pf_ifindex, uint16_t vf, const MacAddress& mac) = 0;
  // 802.1Q, priority 0. 0: frames leave as the VF sends them.
  virtual absl::Status SetVfVlan(uint32_t pf_ifindex, uint16_t vf, uint16_t vlan) = 0;
  virtual absl::Status SetVfSpoofCheck(uint32_t pf_ifindex, uint16_t vf, bool on) = 0;
  virtual absl::Status SetVfTrust(uint32_t pf_ifindex, uint16_t vf, bool on) = 0;
  // Both at once, in Mbit/s; 0: none. The kernel refuses a minimum above the maximum.
  virtual absl::Status SetVfRate(uint32_t pf_ifindex, uint16_t vf, uint32_t max_tx_mbps,
                                 uint32_t min_tx_mbps) = 0;
  // Disabled, the VF sends and receives nothing; else its link follows the PF's (auto).
  virtual absl::Status SetVfLinkDisabled(uint32_t pf_ifindex, uint16_t vf, bool disabled) = 0;

  // An external (collect_md) VXLAN or Geneve device, made down, that accepts UDP over IPv6 with a
  // checksum of zero (RFC 6935) and learns nothing. Returns its ifindex.
  virtual absl::StatusOr<uint32_t> CreateTunnel(const TunnelParams& params) = 0;
  // A link that is gone is success.
  virtual absl::Status DeleteLink(uint32_t ifindex) = 0;

  // The route that a packet to `destination` would take. kNotFound or
  // SystemError(ENETUNREACH) when there is none.
  virtual absl::StatusOr<RouteInfo> GetRoute(const IpAddress& destination) = 0;
  // The link that has this address. kNotFound: none has.
  virtual absl::StatusOr<uint32_t> LinkOfAddress(const IpAddress& address) = 0;
  // Interfaces that carry a default route of either family, ascending.
  virtual absl::StatusOr<std::vector<uint32_t>> DefaultRouteLinks() = 0;
  // Addresses of a link, both families.
  virtual absl::StatusOr<std::vector<IpAddress>> LinkAddresses(uint32_t ifindex) = 0;

  // kNotFound when the kernel has no entry.
  virtual absl::StatusOr<NeighbourInfo> GetNeighbour(uint32_t ifindex,
                                                     const IpAddress& address) = 0;
  // An entry that the kernel keeps resolved, marked kFairleadProtocol. An entry
  // that is there keeps its link address; a permanent one is left as it is.
  virtual absl::Status ManageNeighbour(uint32_t ifindex, const IpAddress& address) = 0;
  // Of entries that are not ours() nothing is deleted. That, and gone, is success.
  virtual absl::Status DeleteNeighbour(uint32_t ifindex, const IpAddress& address) = 0;
  // All entries that are ours().
  virtual absl::StatusOr<std::vector<NeighbourInfo>> ListOwnNeighbours() = 0;

  // Calls `on_event` from now until the returned handle is destroyed; the
  // destructor waits for a callback under way.
  class Subscription {
   public:
    virtual ~Subscription() = default;
  };
  virtual absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(
      std::function<void(const RtnetlinkEvent&)> on_event) = 0;
};

}  // namespace fairlead
