// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/simulator.h"

#include "agent/base/text.h"

namespace fairlead {
namespace {

bool Matches(const RuleMatch& m, const SimPacket& p) {
  if (m.ethertype != kEtherAll && m.ethertype != p.ethertype) return false;
  if (m.in_device && *m.in_device != p.in) return false;
  if (m.src_mac && *m.src_mac != p.src_mac) return false;
  if (m.dst_mac && *m.dst_mac != p.dst_mac) return false;
  if (m.src_ip && !m.src_ip->Contains(p.src_ip)) return false;
  if (m.dst_ip && !m.dst_ip->Contains(p.dst_ip)) return false;
  if (m.ttl_expiring && p.ttl > 1) return false;
  if (m.icmpv6_type && m.icmpv6_type != p.icmpv6_type) return false;
  if (m.udp_dst_port && m.udp_dst_port != p.udp_dst_port) return false;
  if (m.vni && m.vni != p.vni) return false;
  if (m.outer_dst && m.outer_dst != p.outer_dst) return false;
  return !m.outer_udp_port || m.outer_udp_port == p.outer_udp_port;
}

bool IsVerdict(const RuleAction& action) {
  return !std::holds_alternative<ActionEncap>(action) &&
         !std::holds_alternative<ActionDecap>(action) &&
         !std::holds_alternative<ActionRoute>(action);
}

}  // namespace

std::string SimOutcome::ToString() const {
  switch (kind) {
    case Kind::kDropped:
      return "dropped";
    case Kind::kTrapped:
      return "trapped";
    case Kind::kPassedToHost:
      return "passed to the host";
    case Kind::kSent:
      break;
  }
  return StrCat("sent to ", to.kind == DeviceRef::Kind::kTunnel ? "the tunnel" : to.vf.ToString(),
                " from ", src_mac.ToString(), " to ", dst_mac.ToString(), " ttl ", ttl,
                vni ? StrCat(" vni ", vni->value(), " remote ", remote->ToString()) : "");
}

void PipelineSimulator::Add(const std::vector<FlowRule>& rules) {
  for (const FlowRule& rule : rules) {
    if (++used_[rule.location] > 1) {
      faults_.push_back(StrCat("location used twice: ", rule.ToString()));
    }
    Chain& chain = chains_[{rule.location.table, rule.location.chain}];
    auto& same = chain[rule.location.priority];
    if (!same.empty() && same.front().match.ethertype != rule.match.ethertype) {
      faults_.push_back(StrCat("two protocols in one priority: ", rule.ToString()));
    }
    same.push_back(rule);
    all_.push_back(rule);
  }
}

const FlowRule* PipelineSimulator::Hit(const std::vector<FlowRule>& rules,
                                       const SimPacket& packet) {
  const FlowRule* hit = nullptr;
  for (const FlowRule& rule : rules) {
    if (!Matches(rule.match, packet)) continue;
    if (hit != nullptr) {
      faults_.push_back(StrCat("ambiguous: ", hit->ToString(), " and ", rule.ToString()));
    }
    hit = &rule;
  }
  return hit;
}

std::optional<uint32_t> PipelineSimulator::Do(const FlowRule& rule, SimPacket& packet,
                                              SimOutcome& out) {
  std::optional<ActionEncap> around;
  for (size_t i = 0; i < rule.actions.size(); ++i) {
    const RuleAction& action = rule.actions[i];
    if (IsVerdict(action) != (i + 1 == rule.actions.size())) {
      faults_.push_back(StrCat("a verdict is the last action, and only that: ", rule.ToString()));
    }
    if (const auto* encap = std::get_if<ActionEncap>(&action)) {
      if (packet.vni) faults_.push_back(StrCat("encapsulated twice: ", rule.ToString()));
      around = *encap;
    } else if (std::holds_alternative<ActionDecap>(action)) {
      packet.vni.reset();
      packet.outer_dst.reset();
      packet.outer_udp_port.reset();
    } else if (const auto* route = std::get_if<ActionRoute>(&action)) {
      packet.src_mac = route->src_mac;
      packet.dst_mac = route->dst_mac;
      --packet.ttl;
    } else if (const auto* redirect = std::get_if<ActionRedirect>(&action)) {
      const bool into_tunnel = redirect->to.kind == DeviceRef::Kind::kTunnel;
      if (into_tunnel != around.has_value()) {
        faults_.push_back(StrCat(into_tunnel ? "into the tunnel bare: " : "a header for nobody: ",
                                 rule.ToString()));
      }
      if (!into_tunnel && packet.vni) {
        faults_.push_back(StrCat("out with its outer header: ", rule.ToString()));
      }
      out = {SimOutcome::Kind::kSent,
             redirect->to,
             packet.src_mac,
             packet.dst_mac,
             packet.ttl,
             {},
             {}};
      if (around) out.vni = around->vni, out.remote = around->remote;
    } else if (const auto* jump = std::get_if<ActionGotoChain>(&action)) {
      return jump->chain;
    } else {
      out.kind = std::holds_alternative<ActionTrap>(action) ? SimOutcome::Kind::kTrapped
                                                            : SimOutcome::Kind::kDropped;
    }
  }
  return std::nullopt;
}

SimOutcome PipelineSimulator::Run(const RuleTable& table, SimPacket packet) {
  SimOutcome out;
  uint32_t at = 0;
  for (int passes = 0; passes < 8; ++passes) {  // more gotos than the pipeline has
    const FlowRule* hit = nullptr;
    for (const auto& [priority, rules] : chains_[{table, at}]) {
      hit = Hit(rules, packet);
      if (hit != nullptr) break;
    }
    if (hit == nullptr) {
      faults_.push_back(StrCat("chain ", at, " of ", table.ToString(), " ends in no drop"));
      out.kind = SimOutcome::Kind::kPassedToHost;
      return out;
    }
    const std::optional<uint32_t> next = Do(*hit, packet, out);
    if (!next) return out;
    at = *next;
  }
  faults_.push_back("gotos without end");
  return out;
}

}  // namespace fairlead
