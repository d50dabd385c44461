// SPDX-License-Identifier: Apache-2.0
//
// Purpose: networks -> rules. Compiled unit by unit (a VPC, a subnet, a port, an
// endpoint), so that a change of one recompiles only what depends on it. No
// unit holds the product of ports and endpoints: what all ports of a VPC share
// lives once, in the TC block that its representors share.
//
// Tables (README.md of this folder has the picture and the reasons):
//   block of a VPC: frames that a VM of the VPC sends
//     chain 0, admit
//       VLAN-tagged                                  -> drop
//       ARP, ND, DHCP, router solicitation           -> trap: the slow path answers
//       other routers', neighbours', DHCP servers'   -> drop
//       representor, MAC and address of a port       -> goto the chain of its subnet
//     chain <subnet ordinal>, deliver within the subnet
//       dst_mac = local port    -> redirect to its representor
//       dst_mac = endpoint      -> encapsulate (VNI, VTEP), redirect to the tunnel
//       dst_mac = the gateway's, in a family that the subnet is routed in
//                               -> goto the chain of the VPC
//     chain <VPC ordinal>, route between its subnets
//       TTL or hop limit spent  -> trap
//       dst_ip = a gateway      -> trap
//       dst_ip = local port     -> route, redirect to its representor
//       dst_ip = endpoint       -> route, encapsulate, redirect to the tunnel
//       dst_ip in a subnet      -> drop: it is nobody's
//       dst_ip in a static route's prefix
//                               -> as for the port or endpoint that has its next hop, or drop
//   ingress of the tunnel device, chain 0; every rule matches VNI, outer
//   destination and outer UDP port
//     VLAN-tagged               -> drop
//     dst_mac = local port, outer source among the peers
//                               -> decapsulate, redirect to its representor
//     what is left of a VNI     -> drop
//   Every chain ends in a drop of what is left.
//
// In a VPC with security groups (policy.h) admission leads elsewhere first, and comes back to
// deliver:
//     state <subnet>       established, related     -> deliver
//       (stateful)         new, by its representor  -> egress <policy of the port>
//     egress <policy>      what it allows           -> receiver
//     receiver <VPC>       to a port here           -> ingress <policy of that port>
//                          to anybody else          -> [commit,] onward
//     ingress <policy>     what it allows           -> [commit,] onward
//     onward <VPC>         by its representor       -> deliver
// so that both ends judge after one lookup, and nothing is known to conntrack that one of them
// forbids. From the tunnel: dst_mac = local port -> [ct,] ingress <policy>, and from there to the
// VPC's chain, which decapsulates.
//
// Match-all redirects are never produced; every forwarding rule names VNI (by
// its block, or by match) and destination. Nothing is copied or flooded.
//
// A VPC is an overlay here: one with a VLAN has no rules, and none is asked for.
//
// Threading: pure functions.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "agent/model/facts.h"
#include "agent/model/intent.h"
#include "agent/model/resource.h"
#include "dataplane/pipeline/policy.h"

namespace fairlead {

// Priorities, one protocol each, as TC wants it, and each in one kind of chain alone. Of chain 0:
inline constexpr uint16_t kPrioVlan = 5;
inline constexpr uint16_t kPrioQinQ = 6;
inline constexpr uint16_t kPrioArp = 10;
inline constexpr uint16_t kPrioNd = 11;  // and the four after it: a type of ICMPv6 each
inline constexpr uint16_t kPrioDhcp4 = 20;
inline constexpr uint16_t kPrioDhcp6 = 21;
inline constexpr uint16_t kPrioDhcpReply4 = 22;
inline constexpr uint16_t kPrioDhcpReply6 = 23;
// The n-th address that a port may send from, of either family, is at this priority + n.
inline constexpr uint16_t kPrioAdmit4 = 1100;
inline constexpr uint16_t kPrioAdmit6 = 1200;
// Of a subnet's chain, and of the tunnel's:
inline constexpr uint16_t kPrioDeliver = 1000;  // on the tunnel + n, of the n-th of the peers
inline constexpr uint16_t kPrioGateway4 = 1010;
inline constexpr uint16_t kPrioGateway6 = 1011;
// Of a VPC's chain; the n-th address of a port or an endpoint at the priority + n:
inline constexpr uint16_t kPrioExpired4 = 2000;
inline constexpr uint16_t kPrioExpired6 = 2001;
inline constexpr uint16_t kPrioToGateway4 = 2010;
inline constexpr uint16_t kPrioToGateway6 = 2011;
inline constexpr uint16_t kPrioRoute4 = 2100;
inline constexpr uint16_t kPrioRoute6 = 2200;
// What is left of the addresses of a subnet:
inline constexpr uint16_t kPrioConnected4 = 2300;
inline constexpr uint16_t kPrioConnected6 = 2301;
// A static route at the priority + what its prefix is shorter than an address: of those that cover
// a destination the longest is asked first, and one alone has its priority.
inline constexpr uint16_t kPrioStatic4 = 2400;
inline constexpr uint16_t kPrioStatic6 = 2500;
inline constexpr uint16_t kPrioLastStatic = kPrioStatic6 + 128;
// Of a state chain, and of an ingress chain on the tunnel:
inline constexpr uint16_t kPrioEstablished4 = 3000;
inline constexpr uint16_t kPrioEstablished6 = 3001;
inline constexpr uint16_t kPrioRelated4 = 3002;
inline constexpr uint16_t kPrioRelated6 = 3003;
inline constexpr uint16_t kPrioNew4 = 3010;
inline constexpr uint16_t kPrioNew6 = 3011;
// Of the chains of a policy: what it allows to anybody or a prefix, and to members at the priority
// + the slot of the shape.
inline constexpr uint16_t kPrioAllow4 = 3100;
inline constexpr uint16_t kPrioAllow6 = 3101;
inline constexpr uint16_t kPrioMember4 = 3200;
inline constexpr uint16_t kPrioMember6 = kPrioMember4 + kMemberSlots;
// Of a receiver chain, as of a subnet's and a VPC's:
inline constexpr uint16_t kPrioReceiver = 4000;
inline constexpr uint16_t kPrioReceiver4 = 4100;
inline constexpr uint16_t kPrioReceiver6 = 4200;
inline constexpr uint16_t kPrioNoReceiver4 = 4300;
inline constexpr uint16_t kPrioNoReceiver6 = 4301;
inline constexpr uint16_t kPrioReceiverStatic4 = 4400;
inline constexpr uint16_t kPrioReceiverStatic6 = 4500;
inline constexpr uint16_t kPrioElsewhere4 = 4700;
inline constexpr uint16_t kPrioElsewhere6 = 4701;
inline constexpr uint16_t kPrioOnward = 4800;
// On the tunnel, + n of the n-th of the peers:
inline constexpr uint16_t kPrioToPolicy4 = 4900;
inline constexpr uint16_t kPrioToPolicy6 = 4950;
// Of a port that must be served by hardware, in its subnet's chain: a drop of what is
// addressed to it and was not delivered, which nothing reaches. It asks for hardware alone, as
// the delivery cannot (see CompilePortRules), so a NIC that offloads nothing refuses it.
inline constexpr uint16_t kPrioHardwareProof = 60000;
// Of the tunnel's chain: what a VPC's VNI names and nobody takes, which is counted by it.
inline constexpr uint16_t kPrioUntaken = 64000;
inline constexpr uint16_t kPrioDefaultDrop = 65000;
// The handle of rules that belong to a whole table and of which there is one.
inline constexpr uint32_t kTableHandle = 1;

// What a chain is of its object's: its number is this and an ordinal, or a policy's number, which
// no ordinal has.
enum class Stage : uint8_t { kDeliver, kState, kEgress, kReceiver, kIngress, kOnward };
constexpr uint32_t ChainOf(Stage stage, uint32_t ordinal) {
  return static_cast<uint32_t>(stage) << kOrdinalBits | ordinal;
}
constexpr uint32_t OrdinalOfChain(uint32_t chain) { return chain & kMaxOrdinal; }
constexpr Stage StageOfChain(uint32_t chain) { return static_cast<Stage>(chain >> kOrdinalBits); }
// The handle of a member's rule for its n-th address; and whose it is, as of any handle that is an
// ordinal.
constexpr uint32_t MemberHandle(uint32_t ordinal, uint32_t n) {
  return n << kOrdinalBits | ordinal;
}
// 0: the handle is nobody's ordinal.
constexpr uint32_t OwnerOf(const RulePlace& place) {
  const bool of_policy = place.priority == kPrioAllow4 || place.priority == kPrioAllow6;
  return of_policy ? 0 : place.handle & kMaxOrdinal;
}

// A local port that has a representor in the block of its VPC.
struct BoundPort {
  std::string port;
  uint32_t ordinal = 0;
  std::string vpc;
  std::string subnet;
  VfId vf;
  uint32_t representor_ifindex = 0;
  MacAddress mac;
  std::vector<IpAddress> addresses;
  std::vector<AddressPair> pairs;
  OffloadWish offload = OffloadWish::kPrefer;
  std::vector<std::string> security_groups = {};
  uint32_t policy = 0;  // 0: its VPC's own
  friend bool operator==(const BoundPort&, const BoundPort&) = default;
};

// What all units of a VPC are compiled with. `ordinal`: the VPC's, and its chain.
struct VpcContext {
  Vni vni;
  uint32_t ordinal = 0;
  TunnelFacts tunnel;
  // Who may send by the tunnel (TunnelConfig::peers); only a port's rules ask.
  std::vector<IpPrefix> peers = {};
  const VpcPolicies* policies = nullptr;  // not owned; null: it has no security groups

  SecurityMode security() const {
    return policies == nullptr ? SecurityMode::kNone : policies->mode;
  }
};
// Of a port's or an endpoint's subnet: its chain, and whether it is routed.
struct SubnetContext {
  uint32_t ordinal = 0;
  bool routed4 = false;
  bool routed6 = false;
};
SubnetContext ContextOf(const Subnet& subnet, uint32_t ordinal);

// The default drop of a table; the providers of representor and tunnel make it
// before the device goes up.
FlowRule DefaultDropRule(const RuleTable& table);

// What all frames of the VPC meet first, and the end of its routing.
std::vector<FlowRule> CompileVpcRules(const VpcContext& vpc);

// The subnet's chain: to its gateway, and its end; and the end of its addresses in the VPC's
// routing, whether it is routed or not.
std::vector<FlowRule> CompileSubnetRules(const VpcContext& vpc, const Subnet& subnet,
                                         uint32_t ordinal);

// What may leave the port, and delivery to it: in its subnet, from others, from the tunnel.
std::vector<FlowRule> CompilePortRules(const VpcContext& vpc, const SubnetContext& subnet,
                                       const BoundPort& port);

// Encapsulation towards an endpoint, in its subnet and from others. None when its VTEP is
// this host.
std::vector<FlowRule> CompileEndpointRules(const VpcContext& vpc, const SubnetContext& subnet,
                                           const Endpoint& endpoint, uint32_t ordinal);

// Who has a route's next hop: a port here, an endpoint, or none of them. Not owned.
using NextHop = std::variant<std::monostate, const BoundPort*, const Endpoint*>;

// What a policy of the VPC allows, and the ends of its chains.
std::vector<FlowRule> CompilePolicyRules(const VpcContext& vpc, uint32_t number);
// What policies of the VPC allow to a member of groups. `here`: it is a port of this host.
std::vector<FlowRule> CompileMemberRules(const VpcContext& vpc,
                                         const std::vector<std::string>& groups,
                                         const std::vector<IpAddress>& addresses, uint32_t ordinal,
                                         bool here);

// The static route: on to its next hop as to a host there; with none, or with an endpoint whose
// VTEP is this host, a drop, so that no shorter route takes what this one covers.
std::vector<FlowRule> CompileRouteRules(const VpcContext& vpc, const Route& route, uint32_t ordinal,
                                        const NextHop& next_hop);
// Whether a rule at this place is a static route's that sends.
bool IsStaticRoute(const RulePlace& place);

}  // namespace fairlead
