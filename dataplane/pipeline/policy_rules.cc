// SPDX-License-Identifier: Apache-2.0
//
// The chains between admission and delivery that a VPC with security groups has. pipeline.h has
// the picture.
#include <iterator>
#include <set>
#include <utility>

#include "agent/base/text.h"
#include "dataplane/pipeline/overlay_rule.h"

namespace fairlead {
namespace overlay {
namespace {

FlowRule Rule(const RuleLocation& location, uint16_t ethertype, std::vector<RuleAction> actions) {
  FlowRule rule;
  rule.location = location;
  rule.match.ethertype = ethertype;
  rule.actions = std::move(actions);
  return rule;
}

// On to the rules that deliver, whatever is behind them.
std::vector<RuleAction> Onward(const VpcContext& vpc, bool commit) {
  return Goto(vpc, Stage::kOnward, vpc.ordinal, commit, commit);
}

FlowRule EndOnTunnel(const VpcContext& vpc, uint32_t chain) {
  FlowRule rule = Rule({TunnelTable(), chain, kPrioDefaultDrop, chain}, kEtherAll,
                       std::vector<RuleAction>{ActionDrop{}});
  MatchOuter(vpc, rule.match);
  return rule;
}

// What goes on without a judgement, in a chain that follows a lookup. No NIC can match "related":
// it never has such a packet either, for its lookup finds connections alone.
void AddKnown(const RuleTable& table, uint32_t chain, uint32_t handle,
              const std::vector<RuleAction>& onward, const VpcContext* outer,
              std::vector<FlowRule>& out) {
  struct Known {
    uint16_t priority, ethertype;
    CtState state;
  };
  for (const Known& known : {Known{kPrioEstablished4, kEtherIpv4, CtState::kEstablished},
                             Known{kPrioEstablished6, kEtherIpv6, CtState::kEstablished},
                             Known{kPrioRelated4, kEtherIpv4, CtState::kRelated},
                             Known{kPrioRelated6, kEtherIpv6, CtState::kRelated}}) {
    FlowRule rule = Rule({table, chain, known.priority, handle}, known.ethertype, onward);
    rule.match.ct = known.state;
    if (outer != nullptr) MatchOuter(*outer, rule.match);
    if (known.state == CtState::kRelated) rule.offload = OffloadWish::kOff;
    out.push_back(std::move(rule));
  }
}

// Where a policy judges what begins with its ports, what begins with others here, and what comes
// from the tunnel.
struct Judge {
  RuleTable table;
  uint32_t chain = 0;
  std::vector<RuleAction> allowed;
  bool egress = false;
  bool tunnel = false;
};

Judge EgressOf(const VpcContext& vpc, uint32_t number) {
  return {BlockOf(vpc), ChainOf(Stage::kEgress, number), Goto(vpc, Stage::kReceiver, vpc.ordinal),
          /*egress=*/true};
}
Judge IngressOf(const VpcContext& vpc, uint32_t number) {
  return {BlockOf(vpc), ChainOf(Stage::kIngress, number), Onward(vpc, /*commit=*/true)};
}
Judge TunnelIngressOf(const VpcContext& vpc, uint32_t number) {
  return {TunnelTable(), ChainOf(Stage::kIngress, number),
          Goto(vpc, Stage::kDeliver, vpc.ordinal, /*ct=*/true, /*commit=*/true),
          /*egress=*/false, /*tunnel=*/true};
}

FlowRule Allowance(const VpcContext& vpc, const Judge& judge, uint16_t priority, uint32_t handle,
                   const PolicyShape& shape, const std::optional<IpPrefix>& other) {
  FlowRule rule = Rule({judge.table, judge.chain, priority, handle}, kEtherAll, judge.allowed);
  shape.MatchIn(rule.match);
  (judge.egress ? rule.match.dst_ip : rule.match.src_ip) = other;
  MatchNew(vpc, rule.match);
  if (judge.tunnel) MatchOuter(vpc, rule.match);
  return rule;
}

// The handle of what a policy itself allows is by what it is, so that one that comes moves none of
// the others: two filters of one priority with one match are refused by TC.
void AddAllowances(const VpcContext& vpc, const Judge& judge, const PolicySide& side,
                   std::vector<FlowRule>& out) {
  std::set<uint32_t> taken;
  for (const auto& [shape, remote] : side.entries) {
    const uint16_t priority = shape.v4 ? kPrioAllow4 : kPrioAllow6;
    FlowRule rule = Allowance(vpc, judge, priority, 0, shape, remote);
    uint32_t handle = rule.MatchHash() & kMaxOrdinal;
    while (handle == 0 || !taken.insert(handle).second) handle = (handle + 1) & kMaxOrdinal;
    rule.location.handle = handle;
    out.push_back(std::move(rule));
  }
}

void AddMember(const VpcContext& vpc, const Judge& judge, const PolicySide& side,
               const std::vector<std::string>& groups, const std::vector<IpAddress>& addresses,
               uint32_t ordinal, std::vector<FlowRule>& out) {
  for (const PolicyShape& shape : side.Of(groups)) {
    const uint16_t slot = side.slots.at(shape);
    for (uint32_t n = 0; n < addresses.size(); ++n) {
      if (addresses[n].is_v4() != shape.v4) continue;
      const auto priority = static_cast<uint16_t>((shape.v4 ? kPrioMember4 : kPrioMember6) + slot);
      out.push_back(Allowance(vpc, judge, priority, MemberHandle(ordinal, n), shape,
                              IpPrefix::Host(addresses[n])));
    }
  }
}

}  // namespace

void AddVpcSecurity(const VpcContext& vpc, std::vector<FlowRule>& out) {
  if (vpc.security() == SecurityMode::kNone) return;
  const uint32_t receiver = ChainOf(Stage::kReceiver, vpc.ordinal);
  for (const auto& [priority, ethertype] :
       {std::pair(kPrioElsewhere4, kEtherIpv4), std::pair(kPrioElsewhere6, kEtherIpv6)}) {
    out.push_back(Rule({BlockOf(vpc), receiver, priority, vpc.ordinal}, ethertype,
                       Onward(vpc, /*commit=*/true)));
  }
  out.push_back(EndOfChain(vpc, receiver));
  out.push_back(EndOfChain(vpc, ChainOf(Stage::kOnward, vpc.ordinal)));
  out.push_back(EndOnTunnel(vpc, vpc.ordinal));
}

void AddSubnetSecurity(const VpcContext& vpc, const Subnet& subnet, uint32_t ordinal,
                       std::vector<FlowRule>& out) {
  if (vpc.security() == SecurityMode::kNone) return;
  if (vpc.security() == SecurityMode::kStateful) {
    const uint32_t state = ChainOf(Stage::kState, ordinal);
    AddKnown(BlockOf(vpc), state, ordinal, {ActionGotoChain{ordinal}}, nullptr, out);
    out.push_back(EndOfChain(vpc, state));
  }
  // No static route leads to an address of a subnet (CompileSubnetRules).
  for (const auto& [prefix, priority] :
       {std::pair(subnet.prefix4, kPrioNoReceiver4), std::pair(subnet.prefix6, kPrioNoReceiver6)}) {
    if (!prefix) continue;
    FlowRule rule = Rule({BlockOf(vpc), ChainOf(Stage::kReceiver, vpc.ordinal), priority, ordinal},
                         EtherTypeOf(prefix->address()), Onward(vpc, /*commit=*/true));
    rule.match.dst_mac = kGatewayMac;
    rule.match.dst_ip = prefix;
    out.push_back(std::move(rule));
  }
}

void AddPortSecurity(const VpcContext& vpc, const SubnetContext& subnet, const BoundPort& port,
                     std::vector<FlowRule>& out) {
  const uint32_t policy = PolicyOf(vpc, port);
  if (vpc.security() == SecurityMode::kStateful) {
    for (const auto& [priority, ethertype] :
         {std::pair(kPrioNew4, kEtherIpv4), std::pair(kPrioNew6, kEtherIpv6)}) {
      FlowRule rule =
          Rule({BlockOf(vpc), ChainOf(Stage::kState, subnet.ordinal), priority, port.ordinal},
               ethertype, Goto(vpc, Stage::kEgress, policy));
      rule.match.in_device = Representor(port);
      MatchNew(vpc, rule.match);
      out.push_back(std::move(rule));
    }
  }
  FlowRule onward =
      Rule({BlockOf(vpc), ChainOf(Stage::kOnward, vpc.ordinal), kPrioOnward, port.ordinal},
           kEtherAll, std::vector<RuleAction>{ActionGotoChain{subnet.ordinal}});
  onward.match.in_device = Representor(port);
  out.push_back(std::move(onward));

  const std::vector<RuleAction> judged = Goto(vpc, Stage::kIngress, policy);
  const uint32_t receiver = ChainOf(Stage::kReceiver, vpc.ordinal);
  FlowRule direct = Rule({BlockOf(vpc), receiver, kPrioReceiver, port.ordinal}, kEtherAll, judged);
  direct.match.dst_mac = port.mac;
  out.push_back(std::move(direct));
  uint16_t next4 = kPrioReceiver4, next6 = kPrioReceiver6;
  for (const IpAddress& address : port.addresses) {
    FlowRule routed =
        Rule({BlockOf(vpc), receiver, address.is_v4() ? next4++ : next6++, port.ordinal},
             EtherTypeOf(address), judged);
    routed.match.dst_mac = kGatewayMac;
    routed.match.dst_ip = IpPrefix::Host(address);
    out.push_back(std::move(routed));
  }

  for (const auto& [first, ethertype] :
       {std::pair(kPrioToPolicy4, kEtherIpv4), std::pair(kPrioToPolicy6, kEtherIpv6)}) {
    FlowRule arrival = Rule({TunnelTable(), 0, first, port.ordinal}, ethertype,
                            Goto(vpc, Stage::kIngress, policy, /*ct=*/true));
    arrival.match.dst_mac = port.mac;
    MatchOuter(vpc, arrival.match);
    if (vpc.peers.empty()) out.push_back(arrival);
    for (const IpPrefix& peers : vpc.peers) {
      arrival.match.outer_src = peers;
      out.push_back(arrival);
      ++arrival.location.priority;
    }
  }
  std::vector<FlowRule> of_member =
      CompileMemberRules(vpc, port.security_groups, port.addresses, port.ordinal, /*here=*/true);
  std::move(of_member.begin(), of_member.end(), std::back_inserter(out));
}

void AddRouteSecurity(const VpcContext& vpc, const Route& route, uint32_t ordinal,
                      const NextHop& next_hop, std::vector<FlowRule>& out) {
  if (vpc.security() == SecurityMode::kNone) return;
  const IpAddress& network = route.prefix.address();
  const uint16_t first = network.is_v4() ? kPrioReceiverStatic4 : kPrioReceiverStatic6;
  const auto priority = static_cast<uint16_t>(first + network.bits() - route.prefix.length());
  const auto* port = std::get_if<const BoundPort*>(&next_hop);
  FlowRule rule = Rule({BlockOf(vpc), ChainOf(Stage::kReceiver, vpc.ordinal), priority, ordinal},
                       EtherTypeOf(network),
                       port == nullptr ? Onward(vpc, /*commit=*/true)
                                       : Goto(vpc, Stage::kIngress, PolicyOf(vpc, **port)));
  rule.match.dst_mac = kGatewayMac;
  rule.match.dst_ip = route.prefix;
  out.push_back(std::move(rule));
}

}  // namespace overlay

using namespace overlay;  // NOLINT: of this folder

std::vector<FlowRule> CompilePolicyRules(const VpcContext& vpc, uint32_t number) {
  std::vector<FlowRule> out;
  const Policy& policy = vpc.policies->by_number.at(number);
  const Judge tunnel = TunnelIngressOf(vpc, number);
  AddAllowances(vpc, EgressOf(vpc, number), policy.egress, out);
  AddAllowances(vpc, IngressOf(vpc, number), policy.ingress, out);
  AddAllowances(vpc, tunnel, policy.ingress, out);
  if (vpc.security() == SecurityMode::kStateful) {
    AddKnown(TunnelTable(), tunnel.chain, number, Goto(vpc, Stage::kDeliver, vpc.ordinal), &vpc,
             out);
  }
  out.push_back(EndOfChain(vpc, ChainOf(Stage::kEgress, number)));
  out.push_back(EndOfChain(vpc, ChainOf(Stage::kIngress, number)));
  out.push_back(EndOnTunnel(vpc, tunnel.chain));
  return out;
}

std::vector<FlowRule> CompileMemberRules(const VpcContext& vpc,
                                         const std::vector<std::string>& groups,
                                         const std::vector<IpAddress>& addresses, uint32_t ordinal,
                                         bool here) {
  std::vector<FlowRule> out;
  if (vpc.policies == nullptr || groups.empty()) return out;
  for (const auto& [number, policy] : vpc.policies->by_number) {
    AddMember(vpc, EgressOf(vpc, number), policy.egress, groups, addresses, ordinal, out);
    AddMember(vpc, here ? IngressOf(vpc, number) : TunnelIngressOf(vpc, number), policy.ingress,
              groups, addresses, ordinal, out);
  }
  return out;
}

}  // namespace fairlead
