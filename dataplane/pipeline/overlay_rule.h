// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the compilers of an overlay's rules have in common; of this folder alone.
// Threading: pure functions.
#pragma once

#include <utility>

#include "dataplane/pipeline/pipeline.h"

namespace fairlead::overlay {

inline RuleTable BlockOf(const VpcContext& vpc) { return {RuleTable::Kind::kVpcBlock, vpc.vni}; }
inline RuleTable TunnelTable() { return {RuleTable::Kind::kTunnelIngress, Vni()}; }

inline DeviceRef Representor(const BoundPort& port) {
  return {DeviceRef::Kind::kRepresentor, port.vf, port.representor_ifindex};
}
// What every rule of the tunnel device matches: mlx5.md section 1 wants outer
// port and outer destination in each, and the VNI keeps the VPCs apart.
inline void MatchOuter(const VpcContext& vpc, RuleMatch& match) {
  match.vni = vpc.vni;
  match.outer_dst = vpc.tunnel.local;
  match.outer_udp_port = vpc.tunnel.udp_port;
}

inline FlowRule Rule(const RuleLocation& location, uint16_t ethertype, RuleAction verdict) {
  FlowRule rule;
  rule.location = location;
  rule.match.ethertype = ethertype;
  rule.actions = {std::move(verdict)};
  return rule;
}

// The end of a chain of its own, which its number names twice.
inline FlowRule EndOfChain(const VpcContext& vpc, uint32_t chain) {
  return Rule({BlockOf(vpc), chain, kPrioDefaultDrop, chain}, kEtherAll, ActionDrop{});
}

inline uint16_t EtherTypeOf(const IpAddress& address) {
  return address.is_v4() ? kEtherIpv4 : kEtherIpv6;
}

// Goes on to a chain; `ct`: through conntrack, which is told of the connection (commit) or asked.
inline std::vector<RuleAction> Goto(const VpcContext& vpc, Stage stage, uint32_t ordinal,
                                    bool ct = false, bool commit = false) {
  std::vector<RuleAction> actions{ActionGotoChain{ChainOf(stage, ordinal)}};
  if (ct && vpc.security() == SecurityMode::kStateful) {
    actions.insert(actions.begin(), ActionCt{vpc.policies->ct_zone, commit});
  }
  return actions;
}
// Only the first packet of a connection is judged, where connections are known.
inline void MatchNew(const VpcContext& vpc, RuleMatch& match) {
  if (vpc.security() == SecurityMode::kStateful) match.ct = CtState::kNew;
}
inline uint32_t PolicyOf(const VpcContext& vpc, const BoundPort& port) {
  return port.policy == 0 ? vpc.ordinal : port.policy;
}

// Of policy_rules.cc: what security groups add to the rules of each.
void AddVpcSecurity(const VpcContext& vpc, std::vector<FlowRule>& out);
void AddSubnetSecurity(const VpcContext& vpc, const Subnet& subnet, uint32_t ordinal,
                       std::vector<FlowRule>& out);
void AddPortSecurity(const VpcContext& vpc, const SubnetContext& subnet, const BoundPort& port,
                     std::vector<FlowRule>& out);
void AddRouteSecurity(const VpcContext& vpc, const Route& route, uint32_t ordinal,
                      const NextHop& next_hop, std::vector<FlowRule>& out);

}  // namespace fairlead::overlay
