// SPDX-License-Identifier: Apache-2.0
//
// Purpose: networks -> rules. Compiled unit by unit (a VPC, a subnet, a port, an
// endpoint), so that a change of one recompiles only what depends on it. No
// unit holds the product of ports and endpoints: what all ports of a VPC share
// lives once, in the TC block that its representors share.
//
// Tables (README.md of this folder has the picture and the reasons):
//   block of a VPC, chain 0: frames that a VM of the VPC sends
//     VLAN-tagged           -> drop
//     ARP broadcast, ND     -> copies to the sender's subnet: local ports here
//                              (but the sender), then goto chain <subnet ordinal>
//     dst_mac = local port  -> redirect to its representor
//     dst_mac = endpoint    -> encapsulate (VNI, VTEP), redirect to the tunnel
//     dst_mac = local port that must be in hardware -> drop (the proof, see below)
//     anything              -> drop (made with the representor, see providers)
//   block of a VPC, chain <subnet ordinal>: multicast dst_mac -> a copy to each
//     VTEP of the subnet; then drop
//   ingress of the tunnel device, chain 0; every rule matches VNI, outer
//   destination and outer UDP port
//     VLAN-tagged           -> drop
//     ARP for a subnet, ND from a subnet -> decapsulate, copies to its local ports
//     dst_mac = local port  -> decapsulate, redirect to its representor
//     anything              -> drop (made with the tunnel device)
//
// Match-all redirects are never produced; every forwarding rule names VNI (by
// its block, or by match) and destination MAC.
//
// A VPC is an overlay here: one with a VLAN has no rules, and none is asked for.
//
// Threading: pure functions.
#pragma once

#include <string>
#include <vector>

#include "agent/model/facts.h"
#include "agent/model/intent.h"
#include "agent/model/resource.h"

namespace fairlead {

// Priorities; one protocol each, as TC wants it. A flood list takes as many
// consecutive priorities as it needs chunks (see kFloodChunks).
inline constexpr uint16_t kPrioVlan = 5;
inline constexpr uint16_t kPrioQinQ = 6;
inline constexpr uint16_t kPrioArpFlood = 100;
inline constexpr uint16_t kPrioNsFlood = 400;
inline constexpr uint16_t kPrioNaFlood = 700;
inline constexpr uint16_t kFloodChunks = 256;
inline constexpr uint16_t kPrioForward = 2000;
// Of a port that must be served by hardware: a drop of what is addressed to it and
// was not delivered, which nothing reaches. It asks for hardware alone, as the
// delivery cannot (see CompilePortRules), so a NIC that offloads nothing refuses it.
inline constexpr uint16_t kPrioHardwareProof = 60000;
inline constexpr uint16_t kPrioDefaultDrop = 65000;
// The handle of rules that belong to a whole table and of which there is one.
inline constexpr uint32_t kTableHandle = 1;

// A local port that has a representor in the block of its VPC.
struct BoundPort {
  std::string port;
  uint32_t ordinal = 0;
  std::string vpc;
  std::string subnet;
  VfId vf;
  uint32_t representor_ifindex = 0;
  MacAddress mac;
  OffloadWish offload = OffloadWish::kPrefer;
  friend bool operator==(const BoundPort&, const BoundPort&) = default;
};

// The default drop of a table; the providers of representor and tunnel make it
// before the device goes up.
FlowRule DefaultDropRule(const RuleTable& table);

// What belongs to the VPC as a whole: VLAN-tagged frames are dropped, in its
// block and from the tunnel with its VNI. `ordinal` is the VPC's.
std::vector<FlowRule> CompileVpcRules(const Vpc& vpc, uint32_t ordinal, const TunnelFacts& tunnel);

// Replication of ARP and ND for a subnet: chain <ordinal> to the VTEPs, and from
// the tunnel to the local ports. `local` holds the subnet's bound ports,
// `vteps` the outer addresses of its endpoints (the host's own left out).
std::vector<FlowRule> CompileSubnetRules(const Vpc& vpc, const Subnet& subnet, uint32_t ordinal,
                                         const std::vector<BoundPort>& local,
                                         const std::vector<IpAddress>& vteps,
                                         const TunnelFacts& tunnel);

// Delivery to the port (from its block, from the tunnel) and replication of what
// it sends. `peers` are the other bound ports of the subnet.
std::vector<FlowRule> CompilePortRules(const Vpc& vpc, uint32_t subnet_ordinal,
                                       const BoundPort& port, const std::vector<BoundPort>& peers,
                                       const TunnelFacts& tunnel);

// Encapsulation towards an endpoint. None when its VTEP is this host.
std::vector<FlowRule> CompileEndpointRules(const Vpc& vpc, const Endpoint& endpoint,
                                           uint32_t ordinal, const TunnelFacts& tunnel);

}  // namespace fairlead
