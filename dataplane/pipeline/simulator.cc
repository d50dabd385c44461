// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/simulator.h"

#include "agent/base/text.h"

namespace fairlead {
namespace {

bool MaskedEqual(const MacAddress& a, const MacAddress& b, const MacAddress& mask) {
  for (size_t i = 0; i < 6; ++i) {
    if (((a.bytes()[i] ^ b.bytes()[i]) & mask.bytes()[i]) != 0) return false;
  }
  return true;
}

bool Matches(const RuleMatch& m, const SimPacket& p) {
  if (m.ethertype != kEtherAll && m.ethertype != p.ethertype) return false;
  if (m.in_device && *m.in_device != p.in) return false;
  if (m.dst_mac && !MaskedEqual(*m.dst_mac, p.dst_mac, m.dst_mac_mask)) return false;
  if (m.src_ip && (!p.src_ip || !m.src_ip->Contains(*p.src_ip))) return false;
  if (m.arp_target && (!p.arp_target || !m.arp_target->Contains(*p.arp_target))) return false;
  if (m.icmpv6_type && m.icmpv6_type != p.icmpv6_type) return false;
  if (m.vni && m.vni != p.vni) return false;
  if (m.outer_dst && m.outer_dst != p.outer_dst) return false;
  return !m.outer_udp_port || m.outer_udp_port == p.outer_udp_port;
}

}  // namespace

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

std::vector<SimDelivery> PipelineSimulator::Run(const RuleTable& table, SimPacket packet) {
  std::vector<SimDelivery> out;
  std::optional<ActionEncap> around;
  uint32_t chain_index = 0;
  for (int passes = 0; passes < 8; ++passes) {  // more gotos than the pipeline has
    std::optional<uint32_t> next_chain;
    for (const auto& [priority, rules] : chains_[{table, chain_index}]) {
      const FlowRule* hit = nullptr;
      for (const FlowRule& rule : rules) {
        if (!Matches(rule.match, packet)) continue;
        if (hit != nullptr) {
          faults_.push_back(StrCat("ambiguous: ", hit->ToString(), " and ", rule.ToString()));
        }
        hit = &rule;
      }
      if (hit == nullptr) continue;
      bool ask_next = false, verdict = false;
      auto send = [&](const DeviceRef& to) {
        SimDelivery delivery{to, {}, {}};
        if (to.kind == DeviceRef::Kind::kTunnel) {
          if (!around) faults_.push_back(StrCat("into the tunnel bare: ", hit->ToString()));
          if (around) delivery.vni = around->vni, delivery.remote = around->remote;
        }
        out.push_back(delivery);
      };
      for (const RuleAction& action : hit->actions) {
        if (verdict) faults_.push_back(StrCat("an action after the last: ", hit->ToString()));
        if (const auto* encap = std::get_if<ActionEncap>(&action)) {
          around = *encap;
        } else if (std::holds_alternative<ActionDecap>(action)) {
          // Later rules can no longer see the outer header.
          packet.vni.reset();
          packet.outer_dst.reset();
          packet.outer_udp_port.reset();
        } else if (const auto* mirror = std::get_if<ActionMirror>(&action)) {
          send(mirror->to);
        } else if (const auto* redirect = std::get_if<ActionRedirect>(&action)) {
          send(redirect->to);
          verdict = true;
        } else if (const auto* jump = std::get_if<ActionGotoChain>(&action)) {
          next_chain = jump->chain;
          verdict = true;
        } else if (std::holds_alternative<ActionContinue>(action)) {
          ask_next = true;
          verdict = true;
        } else {
          verdict = true;
        }
      }
      if (!verdict) faults_.push_back(StrCat("no verdict: ", hit->ToString()));
      if (!ask_next) break;
    }
    if (!next_chain) return out;
    chain_index = *next_chain;
  }
  faults_.push_back("gotos without end");
  return out;
}

}  // namespace fairlead
