// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile/observed.h"

#include <utility>

namespace fairlead {

RuleEvidence RuleEvidenceOf(const ObservedResource& rule) {
  RuleEvidence seen;
  seen.content_hash = rule.content_hash;
  seen.match_hash = rule.match_hash;
  seen.mark = rule.mark;
  seen.in_hw_count = rule.in_hw_count;
  seen.ethertype = std::get<FlowRuleSpec>(rule.spec).rule.match.ethertype;
  seen.ours = rule.ours;
  seen.hardware = rule.hardware;
  return seen;
}

ObservedResource RuleResource(const RuleLocation& at, const RuleEvidence& seen,
                              std::string foreign) {
  ObservedResource out;
  out.key = FlowRuleKey(at);
  FlowRuleSpec spec;
  spec.rule.location = at;
  spec.rule.match.ethertype = seen.ethertype;
  out.spec = std::move(spec);
  out.ours = seen.ours;
  out.mark = seen.mark;
  out.owner_words = std::move(foreign);
  out.hardware = seen.hardware;
  out.in_hw_count = seen.in_hw_count;
  out.content_hash = seen.content_hash;
  out.match_hash = seen.match_hash;
  return out;
}

bool Observed::Contains(const ResourceKey& key) const {
  return key.kind == ResourceKind::kFlowRule ? FindRule(key.rule) != nullptr
                                             : others_.contains(key);
}

bool Observed::IsOurs(const ResourceKey& key) const {
  if (key.kind == ResourceKind::kFlowRule) {
    const Rule* rule = FindRule(key.rule);
    return rule != nullptr && rule->ours;
  }
  const ObservedResource* found = Find(key);
  return found != nullptr && found->ours;
}

std::optional<ObservedResource> Observed::Get(const ResourceKey& key) const {
  if (key.kind != ResourceKind::kFlowRule) {
    const auto it = others_.find(key);
    return it == others_.end() ? std::nullopt : std::optional(it->second);
  }
  const Rule* rule = FindRule(key.rule);
  if (rule == nullptr) return std::nullopt;
  const auto& foreign = TableOf(key.rule.table).foreign;
  const auto words = foreign.find(PlaceOf(key.rule));
  return RuleResource(key.rule, *rule, words == foreign.end() ? "" : words->second);
}

void Observed::Set(const ResourceKey& key, ObservedResource observed) {
  if (key.kind == ResourceKind::kFlowRule) {
    SetRule(key.rule, RuleEvidenceOf(observed), std::move(observed.owner_words));
  } else {
    others_.insert_or_assign(key, std::move(observed));
  }
}

void Observed::Erase(const ResourceKey& key) {
  if (key.kind == ResourceKind::kFlowRule) {
    EraseRule(key.rule);
  } else {
    others_.erase(key);
  }
}

const ObservedResource* Observed::Find(const ResourceKey& key) const {
  const auto it = others_.find(key);
  return it == others_.end() ? nullptr : &it->second;
}

const Observed::Table& Observed::TableOf(const RuleTable& table) const {
  static const Table kNone;
  const auto it = tables_.find(table);
  return it == tables_.end() ? kNone : it->second;
}

const Observed::Rule* Observed::FindRule(const RuleLocation& at) const {
  const Rules& rules = TableOf(at.table).rules;
  const auto it = rules.find(PlaceOf(at));
  return it == rules.end() ? nullptr : &it->second;
}

void Observed::SetRule(const RuleLocation& at, const RuleEvidence& seen, std::string foreign) {
  Table& table = tables_[at.table];
  const RulePlace place = PlaceOf(at);
  // Most come in order, one after the other.
  const auto last = table.rules.empty() ? table.rules.end() : std::prev(table.rules.end());
  const bool at_the_end = last == table.rules.end() || last->first < place;
  const size_t before = table.rules.size();
  Rule& rule = (at_the_end ? table.rules.try_emplace(table.rules.end(), place)
                           : table.rules.try_emplace(place).first)
                   ->second;
  table.in_software -= rule.hardware == RuleHardware::kSoftware ? 1 : 0;
  const uint32_t counted = rule.in_hw_count;
  const bool same = table.rules.size() == before && rule.content_hash == seen.content_hash;
  static_cast<RuleEvidence&>(rule) = seen;
  if (seen.in_hw_count == RuleEvidence::kNotCounted && same) rule.in_hw_count = counted;
  table.in_software += rule.hardware == RuleHardware::kSoftware ? 1 : 0;
  if (seen.ours) {
    table.foreign.erase(place);
  } else {
    table.foreign[place] = std::move(foreign);
  }
}

void Observed::EraseRule(const RuleLocation& at) {
  const auto it = tables_.find(at.table);
  if (it == tables_.end()) return;
  Table& table = it->second;
  const auto rule = table.rules.find(PlaceOf(at));
  if (rule == table.rules.end()) return;
  table.in_software -= rule->second.hardware == RuleHardware::kSoftware ? 1 : 0;
  table.foreign.erase(rule->first);
  table.rules.erase(rule);
  if (table.rules.empty()) tables_.erase(it);
}

void Observed::Claim(const RuleLocation& at, bool claimed) {
  const auto table = tables_.find(at.table);
  if (table == tables_.end()) return;
  const auto rule = table->second.rules.find(PlaceOf(at));
  if (rule != table->second.rules.end()) rule->second.claimed = rule->second.renewed = claimed;
}

void Observed::ClaimNone(const RuleTable& table) {
  const auto it = tables_.find(table);
  if (it == tables_.end()) return;
  for (auto& [place, rule] : it->second.rules) rule.claimed = rule.renewed = false;
}

void Observed::RenewNone(const RuleTable& table, const std::function<bool(const RulePlace&)>& of) {
  const auto it = tables_.find(table);
  if (it == tables_.end()) return;
  for (auto& [place, rule] : it->second.rules) {
    if (rule.claimed && of(place)) rule.renewed = false;
  }
}

void Observed::RenewNone(const RuleTable& table) {
  const auto it = tables_.find(table);
  if (it == tables_.end()) return;
  for (auto& [place, rule] : it->second.rules) rule.renewed = false;
}

void Observed::CountNone() {
  for (auto& [at, table] : tables_) {
    for (auto& [place, rule] : table.rules) rule.in_hw_count = RuleEvidence::kNotCounted;
  }
}

}  // namespace fairlead
