// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a forwarding rule that no back end has seen yet. dataplane/pipeline
// compiles networks to these; dataplane/tc lowers them to TC flower.
//
// Threading: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/types.h"
#include "agent/model/intent.h"

namespace fairlead {

// A netdev that a rule sends to or is bound to. The ifindex is the one that the
// facts named when the rule was compiled: part of the content, so that a
// recreated netdev makes another rule.
struct DeviceRef {
  // kUplink: a PF's netdev, which in switchdev mode is the representor of its wire.
  enum class Kind : uint8_t { kRepresentor, kTunnel, kUplink };
  Kind kind = Kind::kRepresentor;
  VfId vf;  // of a representor; of an uplink its PF, and index 0
  uint32_t ifindex = 0;
  friend auto operator<=>(const DeviceRef&, const DeviceRef&) = default;
};

// Where a rule lives: the TC block that an overlay's representors share, or those of a provider
// network on one PF; or the ingress of the host's one tunnel device, or of a PF's netdev.
struct RuleTable {
  enum class Kind : uint8_t { kVpcBlock, kTunnelIngress, kProviderBlock, kUplinkIngress };
  Kind kind = Kind::kVpcBlock;
  Vni vni = {};                  // kVpcBlock only
  NicId pf = {};                 // kProviderBlock and kUplinkIngress only
  uint16_t vlan = 0;             // kProviderBlock only; 0: of the flat network
  std::string ToString() const;  // "block-1000", "tunnel", "vlan-100@MAC", "flat@MAC", "uplink@MAC"
  bool is_block() const { return kind == Kind::kVpcBlock || kind == Kind::kProviderBlock; }
  friend auto operator<=>(const RuleTable&, const RuleTable&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const RuleTable& t) {
    return H::combine(std::move(h), t.kind, t.vni.value(), t.pf, t.vlan);
  }
};
inline RuleTable UplinkTable(const NicId& pf) {
  return {.kind = RuleTable::Kind::kUplinkIngress, .pf = pf};
}

struct RuleLocation {
  RuleTable table;
  uint32_t chain = 0;            // 0 .. 2^28 - 1
  uint16_t priority = 0;         // 1 .. 65535; lower is asked first
  uint32_t handle = 0;           // chosen by the agent; not 0
  std::string ToString() const;  // "block-1000/0/100/7", "tunnel/0/100/7"
  // And back; kInvalidArgument for any other text.
  static absl::StatusOr<RuleLocation> Parse(std::string_view text);
  friend auto operator<=>(const RuleLocation&, const RuleLocation&) = default;
};

// The same within its table.
struct RulePlace {
  uint32_t chain = 0;
  uint16_t priority = 0;
  uint32_t handle = 0;
  friend auto operator<=>(const RulePlace&, const RulePlace&) = default;
};
inline RulePlace PlaceOf(const RuleLocation& at) { return {at.chain, at.priority, at.handle}; }
inline RuleLocation At(const RuleTable& table, const RulePlace& place) {
  return {table, place.chain, place.priority, place.handle};
}

// EtherType values (IEEE 802 numbers, uapi/linux/if_ether.h).
inline constexpr uint16_t kEtherAll = 0x0003;  // ETH_P_ALL: any
inline constexpr uint16_t kEtherIpv4 = 0x0800;
inline constexpr uint16_t kEtherArp = 0x0806;
inline constexpr uint16_t kEtherVlan = 0x8100;
inline constexpr uint16_t kEtherIpv6 = 0x86dd;
inline constexpr uint16_t kEtherQinQ = 0x88a8;

// What conntrack says of a packet. Only a packet that an ActionCt looked up is tracked: it is the
// first of a connection (new), or belongs to one (established), or tells of one (related: an ICMP
// error).
enum class CtState : uint8_t { kNew, kEstablished, kRelated };

// All named fields must match. An absent one matches anything.
struct RuleMatch {
  uint16_t ethertype = kEtherAll;
  std::optional<DeviceRef> in_device;  // the representor that it came in by (TC "indev")
  std::optional<MacAddress> src_mac;
  std::optional<MacAddress> dst_mac;
  // Of which kind the destination MAC is: a group's (broadcast or multicast), or one station's.
  std::optional<bool> dst_group;
  std::optional<VlanId> vlan;  // of the outermost tag; EtherType 802.1Q
  // Who an ARP packet says that it is from (RFC 826: ar$sha, ar$spa); no NIC looks at it.
  std::optional<MacAddress> arp_sender_mac;
  std::optional<IpPrefix> arp_sender_ip;  // IPv4
  // Of the EtherType's family.
  std::optional<IpPrefix> src_ip;
  std::optional<IpPrefix> dst_ip;
  bool ttl_expiring = false;         // TTL or hop limit of 0 or 1: a router may not pass it on
  std::optional<uint8_t> protocol;   // IP protocol number
  std::optional<PortMask> dst_port;  // of TCP or UDP, in a packet that is no fragment
  std::optional<uint8_t> icmp_type;  // of ICMP with IPv4, of ICMPv6 with IPv6
  std::optional<uint8_t> icmp_code;  // likewise
  std::optional<CtState> ct;
  // The outer header, on the tunnel device.
  std::optional<Vni> vni;
  std::optional<IpPrefix> outer_src;
  std::optional<IpAddress> outer_dst;
  std::optional<uint16_t> outer_udp_port;
  friend bool operator==(const RuleMatch&, const RuleMatch&) = default;
};

// IP protocol numbers (IANA).
inline constexpr uint8_t kProtocolIcmp4 = 1;
inline constexpr uint8_t kProtocolTcp = 6;
inline constexpr uint8_t kProtocolUdp = 17;
inline constexpr uint8_t kProtocolIcmp6 = 58;
inline void MatchIcmp6(RuleMatch& match, uint8_t type) {
  match.protocol = kProtocolIcmp6;
  match.icmp_type = type;
}
inline void MatchUdp(RuleMatch& match, uint16_t port) {
  match.protocol = kProtocolUdp;
  match.dst_port = {port};
}
// Whether it matches just that.
inline bool MatchesIcmp6(const RuleMatch& match, uint8_t type) {
  return match.protocol == kProtocolIcmp6 && match.icmp_type == type;
}
inline bool MatchesUdp(const RuleMatch& match, uint16_t port) {
  return match.protocol == kProtocolUdp && match.dst_port == PortMask{port};
}

struct ActionEncap {  // one VXLAN or Geneve header; the packet goes on to the next action
  Vni vni;
  IpAddress local;
  IpAddress remote;
  uint16_t udp_port = 4789;  // RFC 7348 section 5
  uint8_t ttl = 64;
  friend bool operator==(const ActionEncap&, const ActionEncap&) = default;
};
struct ActionDecap {
  friend bool operator==(const ActionDecap&, const ActionDecap&) = default;
};
// What a router does to an IPv4 or IPv6 packet: other MACs, and one hop less to go.
struct ActionRoute {
  MacAddress src_mac;
  MacAddress dst_mac;
  friend bool operator==(const ActionRoute&, const ActionRoute&) = default;
};
struct ActionRedirect {  // out of `to`; last action
  DeviceRef to;
  friend bool operator==(const ActionRedirect&, const ActionRedirect&) = default;
};
struct ActionGotoChain {  // last action
  uint32_t chain = 0;
  friend bool operator==(const ActionGotoChain&, const ActionGotoChain&) = default;
};
// To the slow path, and nowhere else: a NIC hands the frame to the representor, where a
// packet socket sees it; the host's network stack does not. The only action.
struct ActionTrap {
  friend bool operator==(const ActionTrap&, const ActionTrap&) = default;
};
// Looks the packet up in a zone of conntrack, or (commit) makes its connection known there; a jump
// to a chain follows.
struct ActionCt {
  uint16_t zone = 0;
  bool commit = false;
  friend bool operator==(const ActionCt&, const ActionCt&) = default;
};
struct ActionDrop {  // last action
  friend bool operator==(const ActionDrop&, const ActionDrop&) = default;
};
struct ActionVlanPush {  // one 802.1Q tag, priority 0
  VlanId vlan;
  friend bool operator==(const ActionVlanPush&, const ActionVlanPush&) = default;
};
struct ActionVlanPop {  // the outermost tag
  friend bool operator==(const ActionVlanPop&, const ActionVlanPop&) = default;
};
struct ActionMirror {  // a copy, as the packet is now, out of `to`
  DeviceRef to;
  friend bool operator==(const ActionMirror&, const ActionMirror&) = default;
};
// The packet goes on as if no rule had taken it: to rules of other priorities, somebody else's
// too, and to the host's network stack. Last action.
struct ActionPass {
  friend bool operator==(const ActionPass&, const ActionPass&) = default;
};
// The hash of a rule's content counts them: a new one comes last.
using RuleAction =
    std::variant<ActionEncap, ActionDecap, ActionRoute, ActionRedirect, ActionGotoChain, ActionTrap,
                 ActionDrop, ActionVlanPush, ActionVlanPop, ActionMirror, ActionPass, ActionCt>;

struct FlowRule {
  RuleLocation location;
  RuleMatch match;
  std::vector<RuleAction> actions;
  OffloadWish offload = OffloadWish::kPrefer;

  // All of it, for people and `--dry-run`.
  std::string ToString() const;
  // A stable number of all of it: what a rule's cookie says that the rule does.
  uint64_t ContentHash() const;
  // Of table, priority and match alone: what finds the rule of an object whose chain and
  // handle, which its number in a store gave it, are not known.
  uint32_t MatchHash() const;
  friend bool operator==(const FlowRule&, const FlowRule&) = default;
};

// The device that a rule redirects to; null if none.
const DeviceRef* OutputOf(const FlowRule& rule);

// The index of a TC block, deterministic, so that it survives restarts: of an overlay 'F' in the
// top octet and the VNI below; of a provider network on a PF 5 in the top four bits, then the
// VLAN, and the last two octets of the PF's MAC (PFs that have the same are told apart by
// placement: only one of them carries provider networks). 0 for a table that is no block.
uint32_t BlockIndexOf(const RuleTable& block);
constexpr uint32_t BlockIndexOf(Vni vni) { return 0x46000000U | vni.value(); }
// Whose block has this index, if the device bound to it is a representor of `pf`; none: it is
// not one of Fairlead's.
std::optional<RuleTable> BlockOfIndex(uint32_t index, const NicId& pf);
// What of a PF is in its blocks' indices.
uint16_t BlockTagOf(const NicId& pf);

// What says in a PF's ingress that the clsact qdisc there is of Fairlead's making: a rule that
// does nothing, in a chain that nothing leads to.
FlowRule UplinkMarkRule(const NicId& pf);

}  // namespace fairlead
