// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/interpreter.h"

#include <algorithm>

#include "agent/base/text.h"

namespace fairlead {
namespace {

bool Matches(const RuleMatch& m, const FlowPacket& p) {
  if (m.ethertype != kEtherAll && m.ethertype != p.ethertype) return false;
  if (m.in_device && *m.in_device != p.in) return false;
  if (m.src_mac && *m.src_mac != p.src_mac) return false;
  if (m.dst_mac && *m.dst_mac != p.dst_mac) return false;
  if (m.dst_group && *m.dst_group != p.dst_mac.IsMulticast()) return false;
  if (m.vlan && m.vlan != p.vlan) return false;
  if (m.arp_sender_mac && m.arp_sender_mac != p.arp_sender_mac) return false;
  if (m.arp_sender_ip && (!p.arp_sender_ip || !m.arp_sender_ip->Contains(*p.arp_sender_ip))) {
    return false;
  }
  if (m.src_ip && !m.src_ip->Contains(p.src_ip)) return false;
  if (m.dst_ip && !m.dst_ip->Contains(p.dst_ip)) return false;
  if (m.ttl_expiring && p.ttl > 1) return false;
  if (m.protocol && m.protocol != p.protocol) return false;
  if (m.dst_port && (!p.dst_port || !m.dst_port->Matches(*p.dst_port))) return false;
  if (m.icmp_type && m.icmp_type != p.icmp_type) return false;
  if (m.icmp_code && m.icmp_code != p.icmp_code) return false;
  if (m.ct && (!p.tracked || m.ct != p.connection)) return false;
  if (m.vni && m.vni != p.vni) return false;
  if (m.outer_src && (!p.outer_src || !m.outer_src->Contains(*p.outer_src))) return false;
  if (m.outer_dst && m.outer_dst != p.outer_dst) return false;
  return !m.outer_udp_port || m.outer_udp_port == p.outer_udp_port;
}

bool IsVerdict(const RuleAction& action) {
  return !std::holds_alternative<ActionEncap>(action) &&
         !std::holds_alternative<ActionDecap>(action) &&
         !std::holds_alternative<ActionRoute>(action) &&
         !std::holds_alternative<ActionVlanPush>(action) &&
         !std::holds_alternative<ActionVlanPop>(action) &&
         !std::holds_alternative<ActionMirror>(action) && !std::holds_alternative<ActionCt>(action);
}

// The rule of the chain that takes the packet; null: none does.
const FlowRule* Hit(std::span<const FlowRule> rules, const RuleTable& table, uint32_t chain,
                    const FlowPacket& packet, const RuleFilter& counts,
                    std::vector<std::string>& faults) {
  const FlowRule* hit = nullptr;
  auto it = std::lower_bound(
      rules.begin(), rules.end(), RuleLocation{table, chain, 0, 0},
      [](const FlowRule& rule, const RuleLocation& at) { return rule.location < at; });
  for (; it != rules.end() && it->location.table == table && it->location.chain == chain; ++it) {
    if (hit != nullptr && it->location.priority != hit->location.priority) break;
    if (!Matches(it->match, packet) || (counts && !counts(*it))) continue;
    if (hit != nullptr && hit->actions != it->actions) {
      faults.push_back(StrCat("ambiguous: ", hit->ToString(), " and ", it->ToString()));
    }
    if (hit == nullptr) hit = &*it;
  }
  return hit;
}

// What the rule does; the chain that it goes on to, if any.
std::optional<uint32_t> Do(const FlowRule& rule, FlowPacket& packet, FlowWalk& walk) {
  std::optional<ActionEncap> around;
  std::vector<std::string>& faults = walk.faults;
  for (size_t i = 0; i < rule.actions.size(); ++i) {
    const RuleAction& action = rule.actions[i];
    if (IsVerdict(action) != (i + 1 == rule.actions.size())) {
      faults.push_back(StrCat("a verdict is the last action, and only that: ", rule.ToString()));
    }
    if (const auto* encap = std::get_if<ActionEncap>(&action)) {
      if (packet.vni) faults.push_back(StrCat("encapsulated twice: ", rule.ToString()));
      around = *encap;
    } else if (std::holds_alternative<ActionDecap>(action)) {
      packet.vni.reset();
      packet.outer_src.reset();
      packet.outer_dst.reset();
      packet.outer_udp_port.reset();
    } else if (const auto* route = std::get_if<ActionRoute>(&action)) {
      packet.src_mac = route->src_mac;
      packet.dst_mac = route->dst_mac;
      --packet.ttl;
    } else if (const auto* push = std::get_if<ActionVlanPush>(&action)) {
      if (packet.vlan) faults.push_back(StrCat("tagged twice: ", rule.ToString()));
      packet.vlan = push->vlan;
    } else if (std::holds_alternative<ActionVlanPop>(action)) {
      if (!packet.vlan) faults.push_back(StrCat("no tag to take off: ", rule.ToString()));
      packet.vlan.reset();
    } else if (const auto* mirror = std::get_if<ActionMirror>(&action)) {
      if (mirror->to == packet.in)
        faults.push_back(StrCat("back to its sender: ", rule.ToString()));
      walk.outcome.copies.push_back({mirror->to, packet.vlan});
    } else if (const auto* redirect = std::get_if<ActionRedirect>(&action)) {
      const bool into_tunnel = redirect->to.kind == DeviceRef::Kind::kTunnel;
      if (into_tunnel != around.has_value()) {
        faults.push_back(StrCat(into_tunnel ? "into the tunnel bare: " : "a header for nobody: ",
                                rule.ToString()));
      }
      if (!into_tunnel && packet.vni) {
        faults.push_back(StrCat("out with its outer header: ", rule.ToString()));
      }
      if (redirect->to.kind == DeviceRef::Kind::kRepresentor && packet.vlan) {
        faults.push_back(StrCat("to a guest with its tag: ", rule.ToString()));
      }
      FlowOutcome& out = walk.outcome;  // which has the copies
      out.kind = FlowOutcome::Kind::kSent;
      out.to = redirect->to;
      out.src_mac = packet.src_mac;
      out.dst_mac = packet.dst_mac;
      out.ttl = packet.ttl;
      out.header = around;
      out.vlan = packet.vlan;
    } else if (const auto* ct = std::get_if<ActionCt>(&action)) {
      if (ct->commit) {
        if (!packet.tracked) faults.push_back(StrCat("commits what is unknown: ", rule.ToString()));
        walk.outcome.committed = ct->zone;
      } else if (packet.tracked) {
        faults.push_back(StrCat("looked up twice: ", rule.ToString()));
      }
      packet.tracked = true;
    } else if (const auto* jump = std::get_if<ActionGotoChain>(&action)) {
      return jump->chain;
    } else if (std::holds_alternative<ActionPass>(action)) {
      walk.outcome.kind = FlowOutcome::Kind::kPassedToHost;
    } else {
      walk.outcome.kind = std::holds_alternative<ActionTrap>(action) ? FlowOutcome::Kind::kTrapped
                                                                     : FlowOutcome::Kind::kDropped;
    }
  }
  return std::nullopt;
}

std::string NameOf(const DeviceRef& device) {
  if (device.kind == DeviceRef::Kind::kTunnel) return "the tunnel";
  return device.kind == DeviceRef::Kind::kUplink ? StrCat("uplink ", device.vf.pf.ToString())
                                                 : device.vf.ToString();
}

std::string Tag(const std::optional<VlanId>& vlan) {
  return vlan ? StrCat(" vlan ", vlan->value()) : "";
}

}  // namespace

std::string FlowOutcome::ToString() const {
  std::string also = committed ? StrCat(", committed in zone ", *committed) : "";
  for (const Copy& copy : copies) StrAppend(&also, ", copied to ", NameOf(copy.to), Tag(copy.vlan));
  switch (kind) {
    case Kind::kDropped:
      return StrCat("dropped", also);
    case Kind::kTrapped:
      return StrCat("trapped", also);
    case Kind::kPassedToHost:
      return StrCat("passed to the host", also);
    case Kind::kSent:
      break;
  }
  return StrCat(
      "sent to ", NameOf(to), " from ", src_mac.ToString(), " to ", dst_mac.ToString(), " ttl ",
      ttl,
      header ? StrCat(" vni ", header->vni.value(), " remote ", header->remote.ToString()) : "",
      Tag(vlan), also);
}

FlowWalk WalkRules(std::span<const FlowRule> rules, const RuleTable& table, FlowPacket packet,
                   const RuleFilter& counts) {
  FlowWalk walk;
  for (int passes = 0; passes < 8; ++passes) {  // more gotos than the pipeline has
    const FlowRule* hit = Hit(rules, table, walk.chain, packet, counts, walk.faults);
    if (hit == nullptr) {
      if (table.kind != RuleTable::Kind::kUplinkIngress) {
        walk.faults.push_back(
            StrCat("chain ", walk.chain, " of ", table.ToString(), " ends in no drop"));
      }
      walk.outcome.kind = FlowOutcome::Kind::kPassedToHost;
      return walk;
    }
    walk.hits.push_back(hit);
    const std::optional<uint32_t> next = Do(*hit, packet, walk);
    if (!next) return walk;
    walk.chain = *next;
  }
  walk.faults.push_back("gotos without end");
  return walk;
}

}  // namespace fairlead
