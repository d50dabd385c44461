// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/pipeline.h"

#include <iterator>
#include <utility>

#include "dataplane/pipeline/overlay_rule.h"

namespace fairlead {
namespace {

using namespace overlay;  // NOLINT: of this folder

constexpr MacAddress kBroadcast({0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
// All_DHCP_Relay_Agents_and_Servers, ff02::1:2 (RFC 8415 section 7.1), over Ethernet (RFC 2464
// section 7).
constexpr MacAddress kDhcp6Multicast({0x33, 0x33, 0x00, 0x01, 0x00, 0x02});
// RFC 2131 section 4.1 and RFC 8415 section 7.2.
constexpr uint16_t kDhcp4ServerPort = 67;
constexpr uint16_t kDhcp6ServerPort = 547;
constexpr uint16_t kDhcp4ClientPort = 68;
constexpr uint16_t kDhcp6ClientPort = 546;
static_assert(kPrioDeliver + kMaxTunnelPeers <= kPrioGateway4);

DeviceRef TunnelDevice(const TunnelFacts& tunnel) {
  return {DeviceRef::Kind::kTunnel, VfId(), tunnel.ifindex};
}

bool Routed(const SubnetContext& subnet, const IpAddress& address) {
  return address.is_v4() ? subnet.routed4 : subnet.routed6;
}

RuleAction Encap(const VpcContext& vpc, const Endpoint& endpoint) {
  return ActionEncap{vpc.vni, vpc.tunnel.local, endpoint.vtep, vpc.tunnel.udp_port};
}

// A VTEP that is this host would send the frame in circles; mlx5 refuses it too.
bool IsHere(const VpcContext& vpc, const Endpoint& endpoint) {
  return endpoint.vtep == vpc.tunnel.local;
}

// What is addressed to one of `addresses` gets another MAC, and goes on by `rest`.
void AddRoutes(const VpcContext& vpc, const SubnetContext& subnet,
               const std::vector<IpAddress>& addresses, const MacAddress& mac, uint32_t handle,
               OffloadWish offload, const std::vector<RuleAction>& rest,
               std::vector<FlowRule>& out) {
  uint16_t next4 = kPrioRoute4, next6 = kPrioRoute6;
  for (const IpAddress& address : addresses) {
    const uint16_t priority = address.is_v4() ? next4++ : next6++;
    if (!Routed(subnet, address)) continue;
    FlowRule rule = Rule({BlockOf(vpc), vpc.ordinal, priority, handle}, EtherTypeOf(address),
                         ActionRoute{kGatewayMac, mac});
    rule.match.dst_ip = IpPrefix::Host(address);
    rule.actions.insert(rule.actions.end(), rest.begin(), rest.end());
    rule.offload = offload;
    out.push_back(std::move(rule));
  }
}

}  // namespace

SubnetContext ContextOf(const Subnet& subnet, uint32_t ordinal) {
  return {ordinal, subnet.gateway4.has_value(), subnet.gateway6.has_value()};
}

FlowRule DefaultDropRule(const RuleTable& table) {
  return Rule({table, 0, kPrioDefaultDrop, kTableHandle}, kEtherAll, ActionDrop{});
}

std::vector<FlowRule> CompileVpcRules(const VpcContext& vpc) {
  const RuleTable block = BlockOf(vpc);
  std::vector<FlowRule> out;
  const auto add = [&](uint32_t chain, uint16_t priority, uint16_t ethertype,
                       RuleAction verdict) -> RuleMatch& {
    out.push_back(Rule({block, chain, priority, vpc.ordinal}, ethertype, std::move(verdict)));
    return out.back().match;
  };
  // Without these, a rule of "all" protocols would forward a tagged frame by its
  // MAC alone, and a tenant could reach past what an untagged rule guards.
  for (auto [priority, ethertype] :
       {std::pair(kPrioVlan, kEtherVlan), std::pair(kPrioQinQ, kEtherQinQ)}) {
    add(0, priority, ethertype, ActionDrop{});
    out.push_back(Rule({TunnelTable(), 0, priority, vpc.ordinal}, ethertype, ActionDrop{}));
    MatchOuter(vpc, out.back().match);
  }
  out.push_back(Rule({TunnelTable(), 0, kPrioUntaken, vpc.ordinal}, kEtherAll, ActionDrop{}));
  MatchOuter(vpc, out.back().match);
  // The slow path answers, and no guest hears another's: what a guest says of addresses
  // reaches nobody.
  add(0, kPrioArp, kEtherArp, ActionTrap{});
  struct NdType {
    uint8_t type;
    bool answered;
  };
  // RFC 4861 sections 4.1 to 4.5.
  constexpr NdType kNdTypes[] = {
      {133, true}, {135, true}, {134, false}, {136, false}, {137, false}};
  uint16_t priority = kPrioNd;
  for (const NdType& nd : kNdTypes) {
    MatchIcmp6(
        add(0, priority++, kEtherIpv6, nd.answered ? RuleAction(ActionTrap{}) : ActionDrop{}),
        nd.type);
  }
  RuleMatch& dhcp4 = add(0, kPrioDhcp4, kEtherIpv4, ActionTrap{});
  dhcp4.dst_mac = kBroadcast;
  MatchUdp(dhcp4, kDhcp4ServerPort);
  RuleMatch& dhcp6 = add(0, kPrioDhcp6, kEtherIpv6, ActionTrap{});
  dhcp6.dst_mac = kDhcp6Multicast;
  MatchUdp(dhcp6, kDhcp6ServerPort);

  // What only a server sends, and the slow path is the only one.
  MatchUdp(add(0, kPrioDhcpReply4, kEtherIpv4, ActionDrop{}), kDhcp4ClientPort);
  MatchUdp(add(0, kPrioDhcpReply6, kEtherIpv6, ActionDrop{}), kDhcp6ClientPort);

  add(vpc.ordinal, kPrioExpired4, kEtherIpv4, ActionTrap{}).ttl_expiring = true;
  add(vpc.ordinal, kPrioExpired6, kEtherIpv6, ActionTrap{}).ttl_expiring = true;
  out.push_back(EndOfChain(vpc, vpc.ordinal));
  AddVpcSecurity(vpc, out);
  return out;
}

std::vector<FlowRule> CompileSubnetRules(const VpcContext& vpc, const Subnet& subnet,
                                         uint32_t ordinal) {
  std::vector<FlowRule> out;
  out.push_back(EndOfChain(vpc, ordinal));
  struct Family {
    const std::optional<IpAddress>& gateway;
    uint16_t to_chain, to_gateway;  // priorities
  };
  for (const auto& [prefix, priority] :
       {std::pair(subnet.prefix4, kPrioConnected4), std::pair(subnet.prefix6, kPrioConnected6)}) {
    if (!prefix) continue;
    FlowRule drop = Rule({BlockOf(vpc), vpc.ordinal, priority, ordinal},
                         EtherTypeOf(prefix->address()), ActionDrop{});
    drop.match.dst_ip = prefix;
    out.push_back(std::move(drop));
  }
  for (const Family& family : {Family{subnet.gateway4, kPrioGateway4, kPrioToGateway4},
                               Family{subnet.gateway6, kPrioGateway6, kPrioToGateway6}}) {
    if (!family.gateway) continue;
    const uint16_t ethertype = EtherTypeOf(*family.gateway);
    FlowRule trap =
        Rule({BlockOf(vpc), vpc.ordinal, family.to_gateway, ordinal}, ethertype, ActionTrap{});
    trap.match.dst_ip = IpPrefix::Host(*family.gateway);
    out.push_back(std::move(trap));
    FlowRule jump = Rule({BlockOf(vpc), ordinal, family.to_chain, ordinal}, ethertype,
                         ActionGotoChain{vpc.ordinal});
    jump.match.dst_mac = kGatewayMac;
    out.push_back(std::move(jump));
  }
  AddSubnetSecurity(vpc, subnet, ordinal, out);
  return out;
}

std::vector<FlowRule> CompilePortRules(const VpcContext& vpc, const SubnetContext& subnet,
                                       const BoundPort& port) {
  std::vector<FlowRule> out;
  FlowRule deliver = Rule({BlockOf(vpc), subnet.ordinal, kPrioDeliver, port.ordinal}, kEtherAll,
                          ActionRedirect{Representor(port)});
  deliver.match.dst_mac = port.mac;
  deliver.offload = port.offload;
  out.push_back(deliver);
  if (port.offload == OffloadWish::kMust) {
    // The block's rules are offered to each of its representors, and mlx5 refuses a
    // redirect to the one that a frame came from: the delivery is proven by counting
    // who took it, and that they take anything at all by a rule that all must take.
    FlowRule proof = deliver;
    proof.location.priority = kPrioHardwareProof;
    proof.actions = {ActionDrop{}};
    out.push_back(std::move(proof));
  }
  AddRoutes(vpc, subnet, port.addresses, port.mac, port.ordinal, port.offload, deliver.actions,
            out);

  const bool judged = vpc.security() != SecurityMode::kNone;
  deliver.location = {TunnelTable(), judged ? vpc.ordinal : 0, kPrioDeliver, port.ordinal};
  MatchOuter(vpc, deliver.match);
  deliver.actions.insert(deliver.actions.begin(), ActionDecap{});
  if (vpc.peers.empty() || judged) {
    out.push_back(deliver);
  } else {
    for (const IpPrefix& peers : vpc.peers) {
      deliver.match.outer_src = peers;
      out.push_back(deliver);
      ++deliver.location.priority;
    }
  }

  const std::vector<RuleAction> admitted =
      vpc.security() == SecurityMode::kStateful
          ? Goto(vpc, Stage::kState, subnet.ordinal, /*ct=*/true)
          : Goto(vpc, Stage::kEgress, PolicyOf(vpc, port));
  std::vector<AddressPair> owned;
  for (const IpAddress& address : port.addresses) {
    owned.push_back({port.mac, IpPrefix::Host(address)});
  }
  owned.insert(owned.end(), port.pairs.begin(), port.pairs.end());
  uint16_t next4 = kPrioAdmit4, next6 = kPrioAdmit6;
  for (const AddressPair& pair : owned) {
    const bool v4 = pair.prefix.address().is_v4();
    FlowRule admit = Rule({BlockOf(vpc), 0, v4 ? next4++ : next6++, port.ordinal},
                          EtherTypeOf(pair.prefix.address()), ActionGotoChain{subnet.ordinal});
    if (judged) admit.actions = admitted;
    admit.match.in_device = Representor(port);
    admit.match.src_mac = pair.mac.value_or(port.mac);
    admit.match.src_ip = pair.prefix;
    admit.offload = port.offload;
    out.push_back(std::move(admit));
  }
  if (judged) AddPortSecurity(vpc, subnet, port, out);
  return out;
}

std::vector<FlowRule> CompileEndpointRules(const VpcContext& vpc, const SubnetContext& subnet,
                                           const Endpoint& endpoint, uint32_t ordinal) {
  if (IsHere(vpc, endpoint)) return {};
  std::vector<FlowRule> out;
  FlowRule deliver =
      Rule({BlockOf(vpc), subnet.ordinal, kPrioDeliver, ordinal}, kEtherAll, Encap(vpc, endpoint));
  deliver.match.dst_mac = endpoint.mac;
  deliver.actions.push_back(ActionRedirect{TunnelDevice(vpc.tunnel)});
  AddRoutes(vpc, subnet, endpoint.addresses, endpoint.mac, ordinal, OffloadWish::kPrefer,
            deliver.actions, out);
  out.insert(out.begin(), std::move(deliver));
  std::vector<FlowRule> of_member = CompileMemberRules(vpc, endpoint.security_groups,
                                                       endpoint.addresses, ordinal, /*here=*/false);
  std::move(of_member.begin(), of_member.end(), std::back_inserter(out));
  return out;
}

std::vector<FlowRule> CompileRouteRules(const VpcContext& vpc, const Route& route, uint32_t ordinal,
                                        const NextHop& next_hop) {
  const IpAddress& network = route.prefix.address();
  const uint16_t first = network.is_v4() ? kPrioStatic4 : kPrioStatic6;
  const auto priority = static_cast<uint16_t>(first + network.bits() - route.prefix.length());
  FlowRule rule =
      Rule({BlockOf(vpc), vpc.ordinal, priority, ordinal}, EtherTypeOf(network), ActionDrop{});
  rule.match.dst_ip = route.prefix;
  if (const auto* port = std::get_if<const BoundPort*>(&next_hop)) {
    rule.actions = {ActionRoute{kGatewayMac, (*port)->mac}, ActionRedirect{Representor(**port)}};
    rule.offload = (*port)->offload;
  } else if (const auto* endpoint = std::get_if<const Endpoint*>(&next_hop);
             endpoint != nullptr && !IsHere(vpc, **endpoint)) {
    rule.actions = {ActionRoute{kGatewayMac, (*endpoint)->mac}, Encap(vpc, **endpoint),
                    ActionRedirect{TunnelDevice(vpc.tunnel)}};
  }
  std::vector<FlowRule> out{std::move(rule)};
  AddRouteSecurity(vpc, route, ordinal, next_hop, out);
  return out;
}

bool IsStaticRoute(const RulePlace& place) {
  return place.priority >= kPrioStatic4 && place.priority <= kPrioLastStatic;
}

}  // namespace fairlead
