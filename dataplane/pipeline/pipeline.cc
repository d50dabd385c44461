// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/pipeline.h"

#include <algorithm>
#include <span>

namespace fairlead {
namespace {

constexpr MacAddress kBroadcast({0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
// IPv6 multicast over Ethernet: 33:33 and the group's last 32 bits (RFC 2464 section 7).
constexpr MacAddress kIpv6Multicast({0x33, 0x33, 0, 0, 0, 0});
constexpr MacAddress kIpv6MulticastMask({0xff, 0xff, 0, 0, 0, 0});
// The group bit (IEEE 802 section 8.2): set in every broadcast and multicast address.
constexpr MacAddress kGroupBit({0x01, 0, 0, 0, 0, 0});
// RFC 4861 sections 4.3 and 4.4.
constexpr uint8_t kNeighbourSolicitation = 135;
constexpr uint8_t kNeighbourAdvertisement = 136;

// One action is the verdict; to a VTEP go two, an encapsulation and a copy.
constexpr size_t kMirrorsPerRule = kMaxRuleActions - 1;
constexpr size_t kVtepsPerRule = (kMaxRuleActions - 1) / 2;

RuleTable BlockOf(const Vpc& vpc) { return {RuleTable::Kind::kVpcBlock, *vpc.vni}; }
RuleTable TunnelTable() { return {RuleTable::Kind::kTunnelIngress, Vni()}; }

DeviceRef Representor(const BoundPort& port) {
  return {DeviceRef::Kind::kRepresentor, port.vf, port.representor_ifindex};
}
DeviceRef TunnelDevice(const TunnelFacts& tunnel) {
  return {DeviceRef::Kind::kTunnel, VfId(), tunnel.ifindex};
}

// What every rule of the tunnel device matches: mlx5.md section 1 wants outer
// port and outer destination in each, and the VNI keeps the VPCs apart.
void MatchOuter(const Vpc& vpc, const TunnelFacts& tunnel, RuleMatch& match) {
  match.vni = vpc.vni;
  match.outer_dst = tunnel.local;
  match.outer_udp_port = tunnel.udp_port;
}

// The three kinds of frames that are flooded, each at priorities of its own
// because TC takes one protocol a priority, and ND twice because flower has no
// "or" of ICMPv6 types.
struct Flood {
  uint16_t priority;
  RuleMatch match;
};
std::vector<Flood> Floods() {
  Flood arp{kPrioArpFlood, {}};
  arp.match.ethertype = kEtherArp;
  // Unicast ARP, replies above all, takes the way of all unicast.
  arp.match.dst_mac = kBroadcast;
  Flood solicitation{kPrioNsFlood, {}};
  solicitation.match.ethertype = kEtherIpv6;
  solicitation.match.dst_mac = kIpv6Multicast;
  solicitation.match.dst_mac_mask = kIpv6MulticastMask;
  solicitation.match.icmpv6_type = kNeighbourSolicitation;
  Flood advertisement = solicitation;
  advertisement.priority = kPrioNaFlood;
  advertisement.match.icmpv6_type = kNeighbourAdvertisement;
  return {arp, solicitation, advertisement};
}

// Cuts `to` into rules: each but the last asks the next priority, the last ends
// in `verdict`. With `decap`, the last one takes the outer header's metadata off:
// not an earlier one, because the rules after it still match that header.
void AddFlood(const RuleLocation& first, const RuleMatch& match, std::span<const DeviceRef> to,
              bool decap, const RuleAction& verdict, OffloadWish offload,
              std::vector<FlowRule>& out) {
  const size_t in_last = kMirrorsPerRule - (decap ? 1 : 0);
  for (uint16_t chunk = 0;; ++chunk) {
    FlowRule rule;
    rule.location = first;
    rule.location.priority = static_cast<uint16_t>(first.priority + chunk);
    rule.match = match;
    rule.offload = offload;
    // A host has not 7,936 VFs (256 chunks of 31); were it so, the list would end
    // here rather than run into the next kind's priorities.
    const bool last = to.size() <= in_last || chunk + 1 == kFloodChunks;
    const size_t count = std::min(to.size(), last ? in_last : kMirrorsPerRule);
    if (last && decap) rule.actions.push_back(ActionDecap{});
    for (const DeviceRef& device : to.first(count)) rule.actions.push_back(ActionMirror{device});
    rule.actions.push_back(last ? verdict : RuleAction(ActionContinue{}));
    out.push_back(std::move(rule));
    if (last) return;
    to = to.subspan(count);
  }
}

FlowRule DropRule(const RuleLocation& location, uint16_t ethertype) {
  FlowRule rule;
  rule.location = location;
  rule.match.ethertype = ethertype;
  rule.actions = {ActionDrop{}};
  return rule;
}

// The chain that carries a sender's multicast on to the subnet's VTEPs.
void AddVtepChain(const Vpc& vpc, uint32_t ordinal, const std::vector<IpAddress>& vteps,
                  const TunnelFacts& tunnel, std::vector<FlowRule>& out) {
  std::vector<IpAddress> remote;
  std::copy_if(vteps.begin(), vteps.end(), std::back_inserter(remote),
               [&](const IpAddress& vtep) { return vtep != tunnel.local; });
  uint16_t priority = 1;
  for (size_t at = 0; at < remote.size() && priority < kPrioDefaultDrop;
       at += kVtepsPerRule, ++priority) {
    FlowRule rule;
    rule.location = {BlockOf(vpc), ordinal, priority, ordinal};
    rule.match.dst_mac = kGroupBit;
    rule.match.dst_mac_mask = kGroupBit;
    for (size_t i = at; i < std::min(at + kVtepsPerRule, remote.size()); ++i) {
      rule.actions.push_back(ActionEncap{*vpc.vni, tunnel.local, remote[i], tunnel.udp_port});
      rule.actions.push_back(ActionMirror{TunnelDevice(tunnel)});
    }
    rule.actions.push_back(ActionContinue{});
    out.push_back(std::move(rule));
  }
  out.push_back(DropRule({BlockOf(vpc), ordinal, kPrioDefaultDrop, ordinal}, kEtherAll));
}

}  // namespace

FlowRule DefaultDropRule(const RuleTable& table) {
  return DropRule({table, 0, kPrioDefaultDrop, kTableHandle}, kEtherAll);
}

std::vector<FlowRule> CompileVpcRules(const Vpc& vpc, uint32_t ordinal, const TunnelFacts& tunnel) {
  std::vector<FlowRule> out;
  // Without these, a rule of "all" protocols would forward a tagged frame by its
  // MAC alone, and a tenant could reach past what an untagged rule guards.
  for (auto [priority, ethertype] :
       {std::pair(kPrioVlan, kEtherVlan), std::pair(kPrioQinQ, kEtherQinQ)}) {
    out.push_back(DropRule({BlockOf(vpc), 0, priority, ordinal}, ethertype));
    out.push_back(DropRule({TunnelTable(), 0, priority, ordinal}, ethertype));
    MatchOuter(vpc, tunnel, out.back().match);
  }
  return out;
}

std::vector<FlowRule> CompileSubnetRules(const Vpc& vpc, const Subnet& subnet, uint32_t ordinal,
                                         const std::vector<BoundPort>& local,
                                         const std::vector<IpAddress>& vteps,
                                         const TunnelFacts& tunnel) {
  std::vector<FlowRule> out;
  // Nobody here sends in this subnet and nobody listens.
  if (local.empty()) return out;
  AddVtepChain(vpc, ordinal, vteps, tunnel, out);

  std::vector<DeviceRef> to;
  for (const BoundPort& port : local) to.push_back(Representor(port));
  for (Flood& flood : Floods()) {
    // Which subnet of the VPC is meant must be read off the frame.
    if (flood.match.ethertype == kEtherArp) {
      if (!subnet.prefix4) continue;
      flood.match.arp_target = subnet.prefix4;
    } else {
      if (!subnet.prefix6) continue;
      flood.match.src_ip = subnet.prefix6;
    }
    MatchOuter(vpc, tunnel, flood.match);
    AddFlood({TunnelTable(), 0, flood.priority, ordinal}, flood.match, to, true, ActionDrop{},
             OffloadWish::kPrefer, out);
  }
  return out;
}

std::vector<FlowRule> CompilePortRules(const Vpc& vpc, uint32_t subnet_ordinal,
                                       const BoundPort& port, const std::vector<BoundPort>& peers,
                                       const TunnelFacts& tunnel) {
  std::vector<FlowRule> out;
  FlowRule deliver;
  deliver.location = {BlockOf(vpc), 0, kPrioForward, port.ordinal};
  deliver.match.dst_mac = port.mac;
  deliver.actions = {ActionRedirect{Representor(port)}};
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

  deliver.location.table = TunnelTable();
  MatchOuter(vpc, tunnel, deliver.match);
  deliver.actions = {ActionDecap{}, ActionRedirect{Representor(port)}};
  out.push_back(std::move(deliver));

  std::vector<DeviceRef> to;
  for (const BoundPort& peer : peers) {
    if (peer.vf != port.vf) to.push_back(Representor(peer));
  }
  // "must" cannot hold for floods: mlx5 takes neither "continue" nor rules that
  // match the incoming device with skip_sw. "off" can.
  const OffloadWish wish =
      port.offload == OffloadWish::kOff ? OffloadWish::kOff : OffloadWish::kPrefer;
  for (Flood& flood : Floods()) {
    flood.match.in_device = Representor(port);
    AddFlood({BlockOf(vpc), 0, flood.priority, port.ordinal}, flood.match, to, false,
             ActionGotoChain{subnet_ordinal}, wish, out);
  }
  return out;
}

std::vector<FlowRule> CompileEndpointRules(const Vpc& vpc, const Endpoint& endpoint,
                                           uint32_t ordinal, const TunnelFacts& tunnel) {
  // A VTEP that is this host would send the frame in circles; mlx5 refuses it too.
  if (endpoint.vtep == tunnel.local) return {};
  FlowRule rule;
  rule.location = {BlockOf(vpc), 0, kPrioForward, ordinal};
  rule.match.dst_mac = endpoint.mac;
  rule.actions = {ActionEncap{*vpc.vni, tunnel.local, endpoint.vtep, tunnel.udp_port},
                  ActionRedirect{TunnelDevice(tunnel)}};
  return {rule};
}

}  // namespace fairlead
