// SPDX-License-Identifier: Apache-2.0
//
// What rules have met, read from the kernel when somebody asks.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/text.h"
#include "agent/reconcile/engine.h"
#include "dataplane/pipeline/pipeline.h"

namespace fairlead {
namespace {

// Whether it takes what the guest behind the representor of `vf` sends, and lets it pass.
bool AdmitsFrom(const FlowRule& rule, const VfId& vf) {
  const std::optional<DeviceRef>& in = rule.match.in_device;
  return rule.location.chain == 0 && in && in->kind == DeviceRef::Kind::kRepresentor &&
         in->vf == vf && !rule.actions.empty() &&
         !std::holds_alternative<ActionDrop>(rule.actions.back());
}

bool DeliversTo(const FlowRule& rule, const VfId& vf) {
  const DeviceRef* out = OutputOf(rule);
  return out != nullptr && out->kind == DeviceRef::Kind::kRepresentor && out->vf == vf;
}

RuleCounters Sum(const std::vector<RuleLocation>& rules, const Engine::Counts& counts) {
  RuleCounters sum;
  for (const RuleLocation& rule : rules) {
    const auto it = counts.find(rule);
    if (it != counts.end()) sum += it->second.counters;
  }
  return sum;
}

}  // namespace

// Of the loop thread alone.
struct Engine::CountInquiry : Inquiry<Counts> {
  using Inquiry::Inquiry;
  std::map<RuleTable, std::vector<RuleToCount>> open;  // not read yet
  Counts counts;
};

void Engine::CountRules(const std::vector<RuleToCount>& rules,
                        std::function<void(absl::StatusOr<Counts>)> done) {
  if (rules.empty()) return done(Counts());
  auto inquiry = std::make_shared<CountInquiry>(std::move(done));
  for (const RuleToCount& rule : rules) inquiry->open[rule.location.table].push_back(rule);
  EndAfter(
      *executor_, config_.count_within, inquiry,
      [within = config_.count_within](const CountInquiry& late) {
        std::vector<std::string> tables;
        for (const auto& [table, rules] : late.open) tables.push_back(table.ToString());
        return absl::DeadlineExceededError(StrCat("the counters of ", StrJoin(tables, ", "),
                                                  " were not read within ", within.count(), " ms"));
      });
  for (const auto& [table, of_table] : std::map(inquiry->open)) {
    table_reads_.Count(
        table, of_table, [inquiry] { return inquiry->over(); },
        [inquiry, table = table](const absl::StatusOr<Executor::RuleCounts>& counts) {
          if (!counts.ok()) return inquiry->End(counts.status());
          const auto read = inquiry->open.extract(table);
          for (size_t i = 0; i < read.mapped().size() && i < counts->size(); ++i) {
            if ((*counts)[i]) inquiry->counts[read.mapped()[i].location] = *(*counts)[i];
          }
          if (inquiry->open.empty()) inquiry->End(std::move(inquiry->counts));
        });
  }
}

void Engine::CountTunnelDrops(std::function<void(absl::StatusOr<TunnelDrops>)> done) {
  if (!facts_.tunnel) return done(TunnelDrops());
  const FlowRule end = DefaultDropRule(kTunnelTable);
  std::vector<RuleToCount> rules = {{end.location, end.match.ethertype}};
  const Observed::Rules& seen = observed_.TableOf(kTunnelTable).rules;
  for (auto rule = seen.lower_bound({0, kPrioUntaken, 0});
       rule != seen.end() && rule->first.chain == 0 && rule->first.priority == kPrioUntaken;
       ++rule) {
    rules.push_back({At(kTunnelTable, rule->first), rule->second.ethertype});
  }
  CountRules(rules, [this, alive = std::weak_ptr<bool>(alive_), end = end.location,
                     done = std::move(done)](const absl::StatusOr<Counts>& counts) {
    if (alive.expired()) return;
    if (!counts.ok()) return done(counts.status());
    TunnelDrops drops;
    for (const auto& [at, met] : *counts) {
      if (at == end) drops.unknown_vni = met.counters.all.packets;
      const StoredObject* owner = world_.FindByOrdinal(at.handle);
      const Vpc* vpc = owner == nullptr ? nullptr : std::get_if<Vpc>(&owner->object);
      if (at != end && vpc != nullptr) drops.by_vpc[vpc->id] = met.counters.all.packets;
    }
    done(std::move(drops));
  });
}

void Engine::CountPort(const std::string& port,
                       std::function<void(absl::StatusOr<std::optional<PortTraffic>>)> done) {
  const Attachment* attachment = AttachmentOf(port);
  if (attachment == nullptr || !attachment->block()) return done(std::nullopt);
  std::vector<RuleLocation> sent, received;
  std::vector<RuleToCount> rules;
  const auto take = [&](const UnitRef& of) {
    const Unit* unit = FindUnit(of);
    if (unit == nullptr) return;
    for (const ResourceKey& key : unit->keys) {
      const auto wanted = wanted_.find(key);
      if (key.kind != ResourceKind::kFlowRule || wanted == wanted_.end()) continue;
      const FlowRule& rule = std::get<FlowRuleSpec>(wanted->second.spec).rule;
      const bool admits = AdmitsFrom(rule, attachment->vf);
      if (!admits && !DeliversTo(rule, attachment->vf)) continue;
      (admits ? sent : received).push_back(key.rule);
      rules.push_back({key.rule, rule.match.ethertype});
    }
  };
  take({UnitKind::kPort, port});
  if (const Port* object = world_.FindPort(port)) {
    for (const IpAddress& address : object->addresses) {
      for (const StoredObject* route : world_.RoutesBy(object->vpc, address)) {
        take({UnitKind::kRoute, IdOf(route->object)});
      }
    }
  }
  CountRules(rules, [sent, received, done = std::move(done)](const absl::StatusOr<Counts>& counts) {
    if (!counts.ok()) return done(counts.status());
    done(PortTraffic{Sum(sent, *counts), Sum(received, *counts)});
  });
}

}  // namespace fairlead
