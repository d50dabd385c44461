// SPDX-License-Identifier: Apache-2.0
//
// The rules of this host, listed a page at a time. There may be hundreds of thousands: a page
// costs what is looked at for it, and those of endpoints at rest are compiled for it alone.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/text.h"
#include "agent/compile/explain_flow.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

// Looked at for one page, before others have their turn.
constexpr size_t kRulesPerPage = 5000;

// Where it runs, once it is known how many devices have it.
void JudgeCount(RuleView& view) {
  if (view.state != RuleState::kInHardware || view.in_hw_count == 0) return;
  if (view.in_hw_count >= view.offered) return;
  view.state = RuleState::kInPart;
  view.detail =
      StrCat("in hardware for ", view.in_hw_count, " of the ", view.offered, " ports of its block");
}

// By a count that was read just now: devices that come to a block take its rules, of which the
// kernel tells nobody.
void JudgeAnew(RuleView& view) {
  if (view.state != RuleState::kInHardware && view.state != RuleState::kInPart &&
      view.state != RuleState::kInSoftware) {
    return;
  }
  view.state = view.in_hw_count > 0 ? RuleState::kInHardware : RuleState::kInSoftware;
  view.detail.clear();
  JudgeCount(view);
}

}  // namespace

// Reads what the engine knows.
class Engine::RuleLister {
 public:
  explicit RuleLister(const Engine& engine) : e_(engine) {}
  RuleList Page(const RuleQuestion& question) const;

 private:
  // Behind `after`; none: there is no more.
  std::optional<RuleLocation> NextOfAll(const std::optional<RuleLocation>& after) const;
  static std::optional<RuleLocation> NextOf(const Unit& unit,
                                            const std::optional<RuleLocation>& after);
  std::string OwnerOf(const RuleLocation& at) const;
  // Null: it is no endpoint's that wants it.
  const Endpoint* ClaimingEndpoint(const RuleLocation& at) const;
  std::optional<FlowRule> WantedAt(const RuleLocation& at) const;
  std::string WhySlowPath(const FlowRule& rule) const;  // "" = it does not go there
  void JudgeMissing(RuleView& view) const;
  void Judge(const std::optional<FlowRule>& wanted, RuleView& view) const;
  RuleView ViewOf(const RuleLocation& at, std::string owner) const;

  const Engine& e_;
};

std::optional<RuleLocation> Engine::RuleLister::NextOfAll(
    const std::optional<RuleLocation>& after) const {
  std::optional<RuleLocation> next;
  const auto& tables = e_.observed_.tables();
  for (auto table = after ? tables.lower_bound(after->table) : tables.begin();
       table != tables.end() && !next; ++table) {
    const Observed::Rules& rules = table->second.rules;
    const bool begun = after && table->first == after->table;
    const auto rule = begun ? rules.upper_bound(PlaceOf(*after)) : rules.begin();
    if (rule != rules.end()) next = At(table->first, rule->first);
  }
  const auto wanted = after ? e_.wanted_.upper_bound(FlowRuleKey(*after))
                            : e_.wanted_.lower_bound({ResourceKind::kFlowRule, ""});
  if (wanted != e_.wanted_.end() && wanted->first.kind == ResourceKind::kFlowRule &&
      (!next || wanted->first.rule < *next)) {
    next = wanted->first.rule;
  }
  return next;
}

std::optional<RuleLocation> Engine::RuleLister::NextOf(const Unit& unit,
                                                       const std::optional<RuleLocation>& after) {
  const auto key = after ? unit.keys.upper_bound(FlowRuleKey(*after))
                         : unit.keys.lower_bound({ResourceKind::kFlowRule, ""});
  if (key == unit.keys.end() || key->kind != ResourceKind::kFlowRule) return std::nullopt;
  return key->rule;
}

const Endpoint* Engine::RuleLister::ClaimingEndpoint(const RuleLocation& at) const {
  const Observed::Rule* seen = e_.observed_.FindRule(at);
  return seen != nullptr && seen->claimed ? e_.EndpointOfRule(at) : nullptr;
}

std::string Engine::RuleLister::OwnerOf(const RuleLocation& at) const {
  const auto claimant = e_.claimant_.find(FlowRuleKey(at));
  if (claimant != e_.claimant_.end()) return claimant->second.ToString();
  const Endpoint* endpoint = ClaimingEndpoint(at);
  return endpoint == nullptr ? "" : StrCat("endpoint/", endpoint->id);
}

std::optional<FlowRule> Engine::RuleLister::WantedAt(const RuleLocation& at) const {
  const auto wanted = e_.wanted_.find(FlowRuleKey(at));
  if (wanted != e_.wanted_.end()) return std::get<FlowRuleSpec>(wanted->second.spec).rule;
  // It belongs to the device.
  const FlowRule end = DefaultDropRule(at.table);
  if (at == end.location && at.table.kind != RuleTable::Kind::kUplinkIngress) return end;
  const Endpoint* endpoint = ClaimingEndpoint(at);
  if (endpoint == nullptr) return std::nullopt;
  const auto context = e_.EndpointContextOf(endpoint->vpc);
  if (!context.ok() || !*context) return std::nullopt;
  for (FlowRule& rule : CompileEndpointRules((*context)->vpc, e_.SubnetContextOf(endpoint->subnet),
                                             *endpoint, fairlead::OwnerOf(PlaceOf(at)))) {
    if (rule.location == at) return std::move(rule);
  }
  return std::nullopt;
}

// A NIC cannot encapsulate towards a host whose next hop it does not know.
std::string Engine::RuleLister::WhySlowPath(const FlowRule& rule) const {
  for (const RuleAction& action : rule.actions) {
    const auto* encap = std::get_if<ActionEncap>(&action);
    if (encap == nullptr || e_.Resolved(encap->remote)) continue;
    const ObservedResource* seen = e_.observed_.Find(NeighbourKey(encap->remote));
    const std::string words = seen == nullptr ? "" : seen->neighbour_detail;
    return StrCat("the next hop to ", encap->remote.ToString(), " is not resolved",
                  words.empty() ? "" : ": ", words);
  }
  return "";
}

void Engine::RuleLister::JudgeMissing(RuleView& view) const {
  const auto claimant = e_.claimant_.find(FlowRuleKey(view.location));
  if (claimant == e_.claimant_.end()) return;
  const auto unit = e_.units_.find(claimant->second);
  if (unit == e_.units_.end()) return;
  const auto refused = unit->second.rules_refused.find(view.location);
  if (refused != unit->second.rules_refused.end()) {
    view.state = RuleState::kRefused;
    view.detail = refused->second;
    return;
  }
  view.detail = std::string(unit->second.error.message());
  if (view.detail.empty()) view.detail = "the agent is at work on it";
}

void Engine::RuleLister::Judge(const std::optional<FlowRule>& wanted, RuleView& view) const {
  const Observed::Rule* seen = e_.observed_.FindRule(view.location);
  if (seen == nullptr) return JudgeMissing(view);
  view.ethertype = seen->ethertype;
  if (seen->in_hw_count != RuleEvidence::kNotCounted) view.in_hw_count = seen->in_hw_count;
  if (!seen->ours) {
    const auto& foreign = e_.observed_.TableOf(view.location.table).foreign;
    const auto words = foreign.find(PlaceOf(view.location));
    view.state = RuleState::kForeign;
    if (words != foreign.end()) view.detail = words->second;
  } else if (!wanted) {
    view.state = RuleState::kUnwanted;
  } else if (wanted->ContentHash() != seen->content_hash) {
    view.state = RuleState::kOtherContent;
  } else {
    view.detail = WhySlowPath(*wanted);
    const bool hardware = seen->hardware == RuleHardware::kInHardware;
    view.state = !view.detail.empty() ? RuleState::kSlowPath
                 : hardware           ? RuleState::kInHardware
                                      : RuleState::kInSoftware;
  }
}

RuleView Engine::RuleLister::ViewOf(const RuleLocation& at, std::string owner) const {
  RuleView view;
  view.location = at;
  view.owner = std::move(owner);
  view.stage = StageOf(e_.world_, at.table, at.chain);
  const std::optional<FlowRule> wanted = WantedAt(at);
  if (wanted) view.text = wanted->ToString().substr(at.ToString().size() + 1);
  if (wanted) view.offered = static_cast<uint32_t>(OfferedTo(*wanted, e_.BoundOn(at.table)));
  Judge(wanted, view);
  JudgeCount(view);
  return view;
}

RuleList Engine::RuleLister::Page(const RuleQuestion& question) const {
  RuleList list;
  std::optional<RuleLocation> at = question.after;
  const auto of = e_.units_.find({UnitKind::kPort, question.port});
  if (!question.port.empty() && of == e_.units_.end()) return list;
  for (size_t looked = 0;; ++looked) {
    const auto next = question.port.empty() ? NextOfAll(at) : NextOf(of->second, at);
    if (!next) return list;
    if (list.rules.size() == question.limit || looked == kRulesPerPage) {
      list.next = at;
      return list;
    }
    at = next;
    std::string owner = OwnerOf(*at);
    const bool asked_for = question.match.empty() ||
                           owner.find(question.match) != std::string::npos ||
                           at->ToString().find(question.match) != std::string::npos;
    if (asked_for) list.rules.push_back(ViewOf(*at, std::move(owner)));
  }
}

void Engine::ListRules(const RuleQuestion& question,
                       std::function<void(absl::StatusOr<RuleList>)> done) {
  // One that is being taken apart has rules, too.
  const UnitRef port{UnitKind::kPort, question.port};
  if (!question.port.empty() && world_.FindPort(question.port) == nullptr &&
      FindUnit(port) == nullptr) {
    return done(absl::NotFoundError(StrCat("port/", question.port, " is not there")));
  }
  auto list = std::make_shared<RuleList>(RuleLister(*this).Page(question));
  if (!question.counters) return done(std::move(*list));
  std::vector<RuleToCount> rules;
  for (const RuleView& rule : list->rules) {
    if (observed_.FindRule(rule.location) != nullptr) {
      rules.push_back({rule.location, rule.ethertype});
    }
  }
  CountRules(rules, [list, done = std::move(done)](const absl::StatusOr<Counts>& counts) {
    if (!counts.ok()) list->counters_problem = std::string(counts.status().message());
    for (RuleView& rule : list->rules) {
      if (!counts.ok()) break;
      const auto met = counts->find(rule.location);
      if (met == counts->end()) continue;
      rule.counters = met->second.counters;
      rule.in_hw_count = met->second.in_hw_count;
      JudgeAnew(rule);
    }
    done(std::move(*list));
  });
}

}  // namespace fairlead
