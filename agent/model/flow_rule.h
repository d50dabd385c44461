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
#include <variant>
#include <vector>

#include "agent/base/types.h"
#include "agent/model/intent.h"

namespace fairlead {

// A netdev that a rule sends to or is bound to. The ifindex is the one that the
// facts named when the rule was compiled: part of the content, so that a
// recreated netdev makes another rule.
struct DeviceRef {
  enum class Kind : uint8_t { kRepresentor, kTunnel };
  Kind kind = Kind::kRepresentor;
  VfId vf;  // representors only
  uint32_t ifindex = 0;
  friend auto operator<=>(const DeviceRef&, const DeviceRef&) = default;
};

// Where a rule lives: the TC block that a VPC's representors share, or the
// ingress of the host's one tunnel device.
struct RuleTable {
  enum class Kind : uint8_t { kVpcBlock, kTunnelIngress };
  Kind kind = Kind::kVpcBlock;
  Vni vni;                       // kVpcBlock only
  std::string ToString() const;  // "block-1000", "tunnel"
  friend auto operator<=>(const RuleTable&, const RuleTable&) = default;
};

struct RuleLocation {
  RuleTable table;
  uint32_t chain = 0;            // 0 .. kMaxOrdinal
  uint16_t priority = 0;         // 1 .. 65535; lower is asked first
  uint32_t handle = 0;           // chosen by the agent; 1 .. kMaxOrdinal
  std::string ToString() const;  // "block-1000/0/100/7", "tunnel/0/100/7"
  friend auto operator<=>(const RuleLocation&, const RuleLocation&) = default;
};

// EtherType values (IEEE 802 numbers, uapi/linux/if_ether.h).
inline constexpr uint16_t kEtherAll = 0x0003;  // ETH_P_ALL: any
inline constexpr uint16_t kEtherIpv4 = 0x0800;
inline constexpr uint16_t kEtherArp = 0x0806;
inline constexpr uint16_t kEtherVlan = 0x8100;
inline constexpr uint16_t kEtherIpv6 = 0x86dd;
inline constexpr uint16_t kEtherQinQ = 0x88a8;

// All named fields must match. An absent one matches anything.
struct RuleMatch {
  uint16_t ethertype = kEtherAll;
  std::optional<DeviceRef> in_device;  // the representor that it came in by (TC "indev")
  std::optional<MacAddress> dst_mac;
  MacAddress dst_mac_mask{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
  std::optional<IpPrefix> src_ip;      // IPv4 or IPv6 source
  std::optional<IpPrefix> arp_target;  // ARP target protocol address
  std::optional<uint8_t> icmpv6_type;
  // The outer header, on the tunnel device.
  std::optional<Vni> vni;
  std::optional<IpAddress> outer_dst;
  std::optional<uint16_t> outer_udp_port;
  friend bool operator==(const RuleMatch&, const RuleMatch&) = default;
};

struct ActionEncap {  // one VXLAN header; the packet goes on to the next action
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
struct ActionMirror {  // a copy out of `to`; the packet goes on
  DeviceRef to;
  friend bool operator==(const ActionMirror&, const ActionMirror&) = default;
};
struct ActionRedirect {  // out of `to`; last action
  DeviceRef to;
  friend bool operator==(const ActionRedirect&, const ActionRedirect&) = default;
};
struct ActionGotoChain {  // last action
  uint32_t chain = 0;
  friend bool operator==(const ActionGotoChain&, const ActionGotoChain&) = default;
};
struct ActionContinue {  // ask the next priority; last action
  friend bool operator==(const ActionContinue&, const ActionContinue&) = default;
};
struct ActionDrop {  // last action
  friend bool operator==(const ActionDrop&, const ActionDrop&) = default;
};
using RuleAction = std::variant<ActionEncap, ActionDecap, ActionMirror, ActionRedirect,
                                ActionGotoChain, ActionContinue, ActionDrop>;

// The most actions that one TC filter holds (TCA_ACT_MAX_PRIO, uapi/linux/pkt_cls.h).
inline constexpr size_t kMaxRuleActions = 32;

struct FlowRule {
  RuleLocation location;
  RuleMatch match;
  std::vector<RuleAction> actions;
  OffloadWish offload = OffloadWish::kPrefer;

  // A stable text of all of it, for people, `--dry-run`, and ContentHash.
  std::string ToString() const;
  uint64_t ContentHash() const;
  // Of table, priority and match alone: what finds the rule of an object whose chain and
  // handle, which its number in a store gave it, are not known.
  uint32_t MatchHash() const;
  friend bool operator==(const FlowRule&, const FlowRule&) = default;
};

// The devices that a rule copies or redirects to, in its order.
std::vector<DeviceRef> OutputsOf(const FlowRule& rule);

// The index of the TC block that the representors of a VPC share: 'F' in the
// top octet, the VNI below. Deterministic, so that it survives restarts.
constexpr uint32_t BlockIndexOf(Vni vni) { return 0x46000000U | vni.value(); }
constexpr bool IsFairleadBlock(uint32_t index) { return (index & 0xff000000U) == 0x46000000U; }

}  // namespace fairlead
