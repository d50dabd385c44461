// SPDX-License-Identifier: Apache-2.0
//
// The rules' part of a flow: walked as compiled, and once more over those of them that stand.
#include "agent/compile/explain_flow.h"

#include <algorithm>

#include "agent/base/text.h"

namespace fairlead {
namespace {

// So many strangers on a packet's way are told one by one.
constexpr size_t kMostTold = 16;

using SeenRules = std::map<RuleLocation, const RuleEvidence*>;

RuleStanding StandingOf(const FlowRule& rule, const RuleEvidence* seen) {
  if (seen == nullptr) return RuleStanding::kMissing;
  if (!seen->ours) return RuleStanding::kForeign;
  if (seen->content_hash != rule.ContentHash()) return RuleStanding::kOtherContent;
  return seen->hardware == RuleHardware::kInHardware ? RuleStanding::kHardware
                                                     : RuleStanding::kSoftware;
}

class Explainer {
 public:
  Explainer(const FlowScene& scene, std::span<const FlowRule> compiled, const ObservedRules& seen)
      : scene_(scene), compiled_(compiled), foreign_(seen.foreign), out_(scene.begun) {
    for (const ObservedRule& rule : seen.rules) {
      // Of chains that the packet cannot meet there may be many.
      if (scene.chains.contains(rule.place.chain)) {
        seen_[fairlead::At(scene.table, rule.place)] = &rule.seen;
      }
    }
  }

  FlowExplanation Run() {
    const FlowWalk meant = WalkRules(compiled_, scene_.table, scene_.packet);
    const FlowWalk real = WalkRules(
        compiled_, scene_.table, scene_.packet,
        [this](const FlowRule& rule) { return StandsAsCompiled(StandingOf(rule, Seen(rule))); });
    size_t same = 0;  // rules from the first on that both walks meet
    while (same < std::min(meant.hits.size(), real.hits.size()) &&
           meant.hits[same] == real.hits[same]) {
      ++same;
    }
    std::optional<RuleLocation> stranger;  // the first that may take the packet
    const size_t sure = FindStrangers(real, &stranger);
    for (size_t i = 0; i < meant.hits.size(); ++i) {
      AddStep(*meant.hits[i], i < std::min(same, sure));
    }
    for (size_t i = same; i < real.hits.size(); ++i) AddStep(*real.hits[i], i < sure);
    out_.compiled = VerdictOf(meant, nullptr);
    const FlowRule* lost = same < meant.hits.size() ? meant.hits[same] : nullptr;
    out_.verdict = VerdictOf(real, lost);
    if (stranger) {
      out_.verdict = {};
      out_.verdict.why = StrCat(Stranger(*stranger), ", and may take the packet first");
    } else if (real.outcome.kind == FlowOutcome::Kind::kSent && scene_.begun.packet.dst_mac) {
      // Of what arrives from elsewhere nobody has said them.
      if (scene_.begun.packet.src_mac) {
        const uint8_t ttl = scene_.packet.ethertype == kEtherArp ? 0 : real.outcome.ttl;
        out_.out = {real.outcome.src_mac, real.outcome.dst_mac, ttl};
      }
      out_.header = real.outcome.header;
    }
    return std::move(out_);
  }

 private:
  const RuleEvidence* Seen(const FlowRule& rule) const {
    const auto it = seen_.find(rule.location);
    return it == seen_.end() ? nullptr : it->second;
  }
  const FlowRule* CompiledAt(const RuleLocation& at) const {
    const auto it = std::lower_bound(
        compiled_.begin(), compiled_.end(), at,
        [](const FlowRule& rule, const RuleLocation& place) { return rule.location < place; });
    return it != compiled_.end() && it->location == at ? &*it : nullptr;
  }

  std::string WordsOf(const RuleLocation& at) const {
    const auto it = foreign_.find(PlaceOf(at));
    return it == foreign_.end() ? "" : it->second;
  }
  // Of a rule that is there.
  std::string Stranger(const RuleLocation& location) const {
    const std::string at = location.ToString();
    if (!seen_.at(location)->ours) {
      const std::string words = WordsOf(location);
      return StrCat(at, " is somebody else's", words.empty() ? "" : StrCat(", ", words));
    }
    return StrCat(at, CompiledAt(location) != nullptr ? " has another content than was compiled"
                                                      : " is wanted by nobody any more");
  }

  // Tells each rule in the kernel that is not as compiled and that is asked not later than the one
  // that takes the packet. How many rules of the walk surely take it.
  size_t FindStrangers(const FlowWalk& real, std::optional<RuleLocation>* first) {
    size_t told = 0;
    size_t sure = real.hits.size();
    const bool ends = real.outcome.kind != FlowOutcome::Kind::kPassedToHost;
    for (size_t i = 0; i < real.hits.size() + (ends ? 0 : 1); ++i) {
      const FlowRule* hit = i < real.hits.size() ? real.hits[i] : nullptr;
      const uint32_t chain = hit != nullptr ? hit->location.chain : real.chain;
      for (auto it = seen_.lower_bound({scene_.table, chain, 0, 0});
           it != seen_.end() && it->first.table == scene_.table && it->first.chain == chain &&
           (hit == nullptr || it->first.priority <= hit->location.priority);
           ++it) {
        const uint16_t ethertype = it->second->ethertype;
        if (ethertype != kEtherAll && ethertype != scene_.packet.ethertype) continue;
        const FlowRule* compiled = CompiledAt(it->first);
        if (compiled != nullptr && StandsAsCompiled(StandingOf(*compiled, it->second))) continue;
        if (!*first) {
          *first = it->first;
          sure = i;
        }
        if (++told <= kMostTold) out_.disagreements.push_back(Stranger(it->first));
      }
    }
    if (told > kMostTold) {
      out_.disagreements.push_back(StrCat("and ", told - kMostTold, " more rules on its way"));
    }
    return sure;
  }

  void AddStep(const FlowRule& rule, bool reached) {
    FlowStep step;
    step.location = rule.location;
    const auto chain = scene_.chains.find(rule.location.chain);
    if (chain != scene_.chains.end()) step.stage = chain->second.name;
    step.rule = rule.ToString().substr(rule.location.ToString().size() + 1);
    step.does = WhatItDoes(rule);
    step.to_cpu = !rule.actions.empty() && std::holds_alternative<ActionTrap>(rule.actions.back());
    const RuleEvidence* seen = Seen(rule);
    step.standing = StandingOf(rule, seen);
    step.offered = OfferedTo(rule, scene_.ports.size());
    step.reached = reached;
    if (seen != nullptr) {
      step.in_hw_count = seen->in_hw_count;
      step.ethertype = seen->ethertype;
      step.detail = WordsOf(rule.location);
    }
    // Of one that is there otherwise FindStrangers tells, if the packet comes as far.
    if (!StandsAsCompiled(step.standing)) {
      const std::string words = seen != nullptr ? Stranger(rule.location)
                                                : StrCat(rule.location.ToString(), " is missing");
      if (std::find(out_.disagreements.begin(), out_.disagreements.end(), words) ==
          out_.disagreements.end()) {
        out_.disagreements.push_back(words);
      }
    }
    out_.steps.push_back(std::move(step));
  }

  std::string Behind(const DeviceRef& device) const {
    if (device.kind == DeviceRef::Kind::kTunnel) return "the tunnel device";
    if (device.kind == DeviceRef::Kind::kUplink) return StrCat("the uplink ", scene_.uplink);
    const auto port = scene_.ports.find(device.vf);
    return StrCat("the representor of ", port == scene_.ports.end()
                                             ? StrCat("VF ", device.vf.ToString())
                                             : StrCat("port/", port->second));
  }

  // Null: the rule is no static route's.
  const FlowScene::StaticRoute* StaticRouteOf(const FlowRule& rule) const {
    if (!IsStaticRoute(PlaceOf(rule.location))) return nullptr;
    const auto route = scene_.routes.find(rule.location.handle);
    return route == scene_.routes.end() ? nullptr : &route->second;
  }

  std::string WhatItDoes(const FlowRule& rule) const {
    std::vector<std::string> does;
    if (const auto* route = StaticRouteOf(rule)) does.push_back(route->words);
    for (const RuleAction& action : rule.actions) {
      if (const auto* encap = std::get_if<ActionEncap>(&action)) {
        does.push_back(
            StrCat("one header, VNI ", encap->vni.value(), ", to ", encap->remote.ToString()));
      } else if (std::holds_alternative<ActionDecap>(action)) {
        does.push_back("the header is taken off");
      } else if (std::holds_alternative<ActionRoute>(action)) {
        does.push_back("routed: other MACs, one hop less");
      } else if (const auto* push = std::get_if<ActionVlanPush>(&action)) {
        does.push_back(StrCat("tagged with VLAN ", push->vlan.value()));
      } else if (std::holds_alternative<ActionVlanPop>(action)) {
        does.push_back("the tag is taken off");
      } else if (const auto* mirror = std::get_if<ActionMirror>(&action)) {
        does.push_back(StrCat("a copy out of ", Behind(mirror->to)));
      } else if (std::holds_alternative<ActionPass>(action)) {
        does.push_back("and on to the host's own network stack");
      } else if (const auto* redirect = std::get_if<ActionRedirect>(&action)) {
        does.push_back(StrCat("out of ", Behind(redirect->to)));
      } else if (const auto* jump = std::get_if<ActionGotoChain>(&action)) {
        const auto chain = scene_.chains.find(jump->chain);
        does.push_back(chain == scene_.chains.end() ? StrCat("on to chain ", jump->chain)
                                                    : StrCat("on to ", chain->second.name));
      } else {
        const bool trap = std::holds_alternative<ActionTrap>(action);
        does.push_back(trap && !InProviderBlock() ? "to the slow path" : "dropped");
      }
    }
    return StrJoin(does, "; ");
  }

  // Where no slow path listens.
  bool InProviderBlock() const { return scene_.table.kind == RuleTable::Kind::kProviderBlock; }

  // `lost`: the rule that would take the packet and does not stand.
  FlowVerdict VerdictOf(const FlowWalk& walk, const FlowRule* lost) const {
    using Kind = FlowVerdict::Kind;
    FlowVerdict verdict;
    const FlowRule* last = walk.hits.empty() ? nullptr : walk.hits.back();
    const std::string why = lost == nullptr
                                ? ""
                                : StrCat(lost->location.ToString(),
                                         ", which would take it, does not stand as compiled");
    for (const FlowOutcome::Copy& copy : walk.outcome.copies) {
      const auto port = scene_.ports.find(copy.to.vf);
      if (port != scene_.ports.end()) verdict.copies.push_back(port->second);
    }
    switch (walk.outcome.kind) {
      case FlowOutcome::Kind::kSent:
        if (walk.outcome.to.kind == DeviceRef::Kind::kUplink) {
          verdict.kind = Kind::kUplink;
          verdict.uplink = scene_.uplink;
          verdict.vlan = walk.outcome.vlan;
        } else if (walk.outcome.header) {
          verdict.kind = Kind::kEncapsulated;
          verdict.vtep = walk.outcome.header->remote;
          verdict.vni = walk.outcome.header->vni;
        } else {
          verdict.kind = Kind::kDelivered;
          const auto port = scene_.ports.find(walk.outcome.to.vf);
          if (port != scene_.ports.end()) verdict.port = port->second;
        }
        verdict.why = why;
        break;
      case FlowOutcome::Kind::kTrapped:
        if (!InProviderBlock()) {
          verdict.kind = Kind::kSlowPath;
          verdict.why = why.empty() ? WhyTrapped(*last) : why;
          break;
        }
        [[fallthrough]];
      case FlowOutcome::Kind::kDropped:
        verdict.kind = Kind::kDropped;
        verdict.why = why.empty() ? WhyDropped(*last) : why;
        break;
      case FlowOutcome::Kind::kPassedToHost:
        verdict.kind = Kind::kToHost;
        if (scene_.table.kind == RuleTable::Kind::kUplinkIngress) {
          verdict.why = why.empty() ? WhyNotTaken(last) : why;
          break;
        }
        verdict.why = StrCat("chain ", walk.chain, " of ", scene_.table.ToString(),
                             " has no end that stands: the host's own network stack gets it");
        break;
    }
    return verdict;
  }

  // At an uplink, where what no rule takes is the host's own.
  std::string WhyNotTaken(const FlowRule* passed) const {
    if (passed != nullptr) return "the host's own network stack gets it too";
    const auto chain = scene_.chains.find(0);
    return chain == scene_.chains.end() ? "" : chain->second.why;
  }

  std::string WhyTrapped(const FlowRule& rule) const {
    switch (rule.location.priority) {
      case kPrioExpired4:
      case kPrioExpired6:
        return scene_.expired;
      case kPrioToGateway4:
      case kPrioToGateway6:
        return scene_.for_gateway;
      case kPrioDhcp4:
      case kPrioDhcp6:
        return "the slow path answers DHCP";
      default:  // ARP and ND
        return scene_.asked;
    }
  }

  std::string WhyDropped(const FlowRule& rule) const {
    const uint16_t priority = rule.location.priority;
    if (priority == kPrioDhcpReply4 || priority == kPrioDhcpReply6) {
      return "a guest is no DHCP server: nothing that it sends to a client's port leaves it";
    }
    if (rule.match.ethertype == kEtherVlan) {
      return "no frame of an overlay or of a guest has a tag: its port or its VNI says whose it is";
    }
    if (rule.match.protocol == kProtocolIcmp6 && rule.location.chain == 0) {
      return "what a guest says of routers and neighbours reaches nobody";
    }
    if (const auto* route = StaticRouteOf(rule)) return route->why;
    const auto chain = scene_.chains.find(rule.location.chain);
    if (chain == scene_.chains.end() || chain->second.why.empty()) {
      return "no rule of this chain takes it";
    }
    return chain->second.why;
  }

  const FlowScene& scene_;
  std::span<const FlowRule> compiled_;
  const std::map<RulePlace, std::string>& foreign_;
  SeenRules seen_;
  FlowExplanation out_;
};

}  // namespace

FlowExplanation ExplainFlow(const FlowScene& scene, std::span<const FlowRule> compiled,
                            const ObservedRules& seen) {
  if (!scene.not_sent.empty()) {
    FlowExplanation out = scene.begun;
    out.verdict.kind = out.compiled.kind = FlowVerdict::Kind::kNotSent;
    out.verdict.why = out.compiled.why = scene.not_sent;
    return out;
  }
  return Explainer(scene, compiled, seen).Run();
}

size_t OfferedTo(const FlowRule& rule, size_t ports) {
  const RuleTable::Kind table = rule.location.table.kind;
  if (table == RuleTable::Kind::kTunnelIngress) return 0;
  if (rule.match.in_device || table == RuleTable::Kind::kUplinkIngress) return 1;
  const DeviceRef* out = OutputOf(rule);
  const bool delivers = out != nullptr && out->kind == DeviceRef::Kind::kRepresentor;
  return delivers && ports > 0 ? ports - 1 : ports;
}

void JudgePath(const ObservedResource* next_hop, FlowExplanation& explanation) {
  if (explanation.header && next_hop != nullptr) explanation.next_hop = next_hop->neighbour_detail;
  switch (explanation.verdict.kind) {
    case FlowVerdict::Kind::kNotSent:
    case FlowVerdict::Kind::kToHost:
    case FlowVerdict::Kind::kUnknown:
      return;
    case FlowVerdict::Kind::kSlowPath:
      explanation.path = FlowPath::kSlowPath;
      return;
    default:
      break;
  }
  if (explanation.header &&
      (next_hop == nullptr || next_hop->neighbour != NeighbourState::kResolved)) {
    explanation.path = FlowPath::kSlowPath;
    explanation.path_why =
        StrCat("the next hop to ", explanation.header->remote.ToString(), " is not resolved",
               explanation.next_hop.empty() ? "" : StrCat(": ", explanation.next_hop));
    return;
  }
  explanation.path = FlowPath::kHardware;
  for (const FlowStep& step : explanation.steps) {
    if (!step.reached) continue;
    if (step.to_cpu) {
      explanation.path = FlowPath::kSlowPath;
      explanation.path_why =
          StrCat(step.location.ToString(), " hands it to the host, where nobody takes it");
      return;
    }
    if (step.standing == RuleStanding::kSoftware) {
      explanation.path = FlowPath::kSoftware;
      explanation.path_why = StrCat(step.location.ToString(), " runs in software");
      return;
    }
    if (step.in_hw_count < step.offered && explanation.path == FlowPath::kHardware) {
      explanation.path = FlowPath::kPartly;
      explanation.path_why =
          StrCat(step.location.ToString(), " is in hardware for ", step.in_hw_count, " of the ",
                 step.offered, " ports of the VPC here");
    }
  }
}

}  // namespace fairlead
