// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what compiled rules do to one packet, rule by rule: the tests of the pipeline judge the
// compiler by it, and agent/compile explains flows with it. As TC does it: in each chain the
// lowest priority first; a packet that no rule of a chain takes passes to the host, as it may at an
// uplink.
//
// Threading: pure functions. Errors: what TC would not do the same way each time, what no NIC
// takes, and a chain without an end is noted in `faults`.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/model/flow_rule.h"

namespace fairlead {

struct FlowPacket {
  DeviceRef in;                     // the sender's representor, the tunnel, or an uplink
  uint16_t ethertype = kEtherIpv4;  // kEtherVlan while it is tagged
  std::optional<VlanId> vlan;       // of its tag, where that is known
  MacAddress src_mac;
  MacAddress dst_mac;
  IpAddress src_ip, dst_ip;  // of IPv4 and IPv6
  uint8_t ttl = 64;
  std::optional<uint8_t> protocol;   // of IPv4 and IPv6
  std::optional<uint16_t> dst_port;  // of TCP and UDP, if it is no fragment
  std::optional<uint8_t> icmp_type, icmp_code;
  CtState connection = CtState::kNew;        // what conntrack says when it is asked
  bool tracked = false;                      // it was asked
  std::optional<MacAddress> arp_sender_mac;  // of ARP, like the next
  std::optional<IpAddress> arp_sender_ip;
  // The outer header, while the packet carries one.
  std::optional<Vni> vni;
  std::optional<IpAddress> outer_src;
  std::optional<IpAddress> outer_dst;
  std::optional<uint16_t> outer_udp_port;
};

struct FlowOutcome {
  enum class Kind : uint8_t { kDropped, kTrapped, kSent, kPassedToHost };
  Kind kind = Kind::kDropped;
  // kSent:
  DeviceRef to;
  MacAddress src_mac, dst_mac;  // as it comes out
  uint8_t ttl = 0;
  std::optional<ActionEncap> header;  // out of the tunnel device: what was put around it
  std::optional<VlanId> vlan;         // out of an uplink: its tag
  // Copies that went elsewhere before, each with its tag.
  struct Copy {
    DeviceRef to;
    std::optional<VlanId> vlan;
    friend bool operator==(const Copy&, const Copy&) = default;
  };
  std::vector<Copy> copies;
  std::optional<uint16_t> committed;  // the zone that its connection was made known in
  std::string ToString() const;
  friend bool operator==(const FlowOutcome&, const FlowOutcome&) = default;
};

struct FlowWalk {
  std::vector<const FlowRule*> hits;  // one a chain, in the order of the way; of the rules walked
  uint32_t chain = 0;                 // where it ended
  FlowOutcome outcome;
  std::vector<std::string> faults;
};

// Which of the rules count; of those that take the packet it is asked.
using RuleFilter = std::function<bool(const FlowRule&)>;

// `rules` are in the order of their locations. Without a filter all of them count.
FlowWalk WalkRules(std::span<const FlowRule> rules, const RuleTable& table, FlowPacket packet,
                   const RuleFilter& counts = nullptr);

}  // namespace fairlead
