// SPDX-License-Identifier: Apache-2.0
//
// What is asked of the executor and what becomes of it: the lane of each operation, rules of
// many units in one call, failures and when they are tried again.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

// Rules sent in one call; keeps one refused giant from holding the lane.
constexpr size_t kRulesPerBatch = 4096;

}  // namespace

std::string RulesLane(const RuleTable& table) {
  const std::string name = table.ToString();
  if (!table.is_block()) return absl::StrCat("rules ", name);
  return absl::StrCat("rules ", StableHash(name) % kBlockLanes);
}

std::string LaneOf(const Resource& resource) {
  struct Visitor {
    std::string operator()(const VfPoolSpec& s) { return absl::StrCat("pf ", s.pf.ToString()); }
    std::string operator()(const PfSpec& s) { return absl::StrCat("pf ", s.pf.ToString()); }
    std::string operator()(const UplinkSpec& s) { return absl::StrCat("pf ", s.pf.ToString()); }
    std::string operator()(const VfSpec& s) { return absl::StrCat("pf ", s.vf.pf.ToString()); }
    std::string operator()(const RepresentorSpec& s) {
      return absl::StrCat("pf ", s.vf.pf.ToString());
    }
    std::string operator()(const DriverBindingSpec& s) {
      return absl::StrCat("pf ", s.vf.pf.ToString());
    }
    std::string operator()(const GuestDeviceSpec& s) { return absl::StrCat("vm ", s.vm); }
    std::string operator()(const TunnelSpec&) { return "net"; }
    std::string operator()(const NeighbourSpec&) { return "net"; }
    std::string operator()(const FlowRuleSpec& s) { return RulesLane(s.rule.location.table); }
  };
  return std::visit(Visitor{}, resource.spec);
}

void Engine::Dispatch(Unit& unit, std::vector<Operation> operations) {
  if (const Attachment* attachment =
          unit.ref.kind == UnitKind::kPort ? AttachmentOf(unit.ref.id) : nullptr) {
    for (Operation& operation : operations) operation.resource.lease = attachment->lease;
  }
  unit.in_flight = true;
  unit.verified = false;
  if (operations.front().resource.key.kind == ResourceKind::kFlowRule) {
    rule_batch_.push_back({unit.ref, std::move(operations)});
    if (!in_pump_) FlushRules();
    return;
  }
  executor_->Apply(LaneOf(operations.front().resource), operations,
                   [this, alive = std::weak_ptr<bool>(alive_), ref = unit.ref,
                    operations](std::vector<ApplyResult> results) {
                     if (!alive.expired()) OnApplied(ref, operations, std::move(results));
                   });
}

// Rules of many units that travel together, and what became of them.
struct Engine::RuleBatch {
  using Place = RuleBatchPlace;
  std::vector<RuleBatchItem> items;
  std::vector<std::vector<ApplyResult>> results;
  std::vector<size_t> open;  // of each item: operations that are not answered yet

  void Add(RuleBatchItem item) {
    open.push_back(item.operations.size());
    results.emplace_back(item.operations.size(),
                         ApplyResult{absl::InternalError("no result"), {}, false});
    items.push_back(std::move(item));
  }
  const Operation& At(const Place& place) const {
    return items[place.first].operations[place.second];
  }
  // Deletions first: a MAC that goes from one rule to another must have left the first.
  std::map<RuleTable, std::vector<Place>> ByTable() const {
    std::map<RuleTable, std::vector<Place>> tables;
    for (const bool deletions : {true, false}) {
      for (size_t i = 0; i < items.size(); ++i) {
        for (size_t o = 0; o < items[i].operations.size(); ++o) {
          const Operation& operation = items[i].operations[o];
          if ((operation.verb == Operation::Verb::kDelete) != deletions) continue;
          tables[operation.resource.key.rule.table].emplace_back(i, o);
        }
      }
    }
    return tables;
  }
};

// Each table goes its own way: one that is held up holds up no other.
void Engine::FlushRules() {
  while (!rule_batch_.empty()) {
    auto batch = std::make_shared<RuleBatch>();
    size_t count = 0;
    while (!rule_batch_.empty() &&
           (count == 0 || count + rule_batch_.front().operations.size() <= kRulesPerBatch)) {
      count += rule_batch_.front().operations.size();
      batch->Add(std::move(rule_batch_.front()));
      rule_batch_.pop_front();
    }
    for (const auto& [table, places] : batch->ByTable()) {
      std::vector<Operation> operations;
      operations.reserve(places.size());
      for (const RuleBatch::Place& place : places) operations.push_back(batch->At(place));
      executor_->Apply(RulesLane(table), std::move(operations),
                       [this, alive = std::weak_ptr<bool>(alive_), batch,
                        places = places](std::vector<ApplyResult> results) {
                         if (!alive.expired()) OnRulesApplied(*batch, places, std::move(results));
                       });
    }
  }
  FlushConsignments();  // what was deleted makes room for what is new
}

void Engine::OnRulesApplied(RuleBatch& batch, const std::vector<RuleBatchPlace>& places,
                            std::vector<ApplyResult> results) {
  std::set<size_t> answered;
  for (size_t i = 0; i < places.size(); ++i) {
    const auto& [item, operation] = places[i];
    if (i < results.size()) batch.results[item][operation] = std::move(results[i]);
    if (--batch.open[item] == 0) answered.insert(item);
  }
  for (const size_t item : answered) {
    OnApplied(batch.items[item].unit, batch.items[item].operations, std::move(batch.results[item]));
  }
}

void Engine::OnApplied(const UnitRef& ref, const std::vector<Operation>& operations,
                       std::vector<ApplyResult> results) {
  absl::Status error;
  std::string step;
  Unit* unit = FindUnit(ref);
  if (unit != nullptr) unit->rules_refused.clear();
  for (size_t i = 0; i < operations.size() && i < results.size(); ++i) {
    const Operation& operation = operations[i];
    ApplyResult& result = results[i];
    if (result.status.ok() && result.observed && operation.verb != Operation::Verb::kDelete) {
      // Taken and not done would be asked for again without end.
      const std::vector<std::string> wrong = Differences(operation.resource.spec, *result.observed);
      if (!wrong.empty()) {
        SetObserved(operation.resource.key, std::move(result.observed));
        result.status = absl::FailedPreconditionError(absl::StrCat(
            "it was set without an error and reads back otherwise: ", absl::StrJoin(wrong, ", ")));
      }
    }
    if (unit != nullptr && CutOffRefused(*unit, operation, result.status)) continue;
    if (unit != nullptr && CleaningRefused(*unit, operation, result)) continue;
    const auto* rule = std::get_if<FlowRuleSpec>(&operation.resource.spec);
    if (!result.status.ok() && rule != nullptr &&
        (ref.kind == UnitKind::kPort || IsTransient(result.status))) {
      // It may stand all the same: the answer was lost, or the way back failed.
      DistrustTable(rule->rule.location.table);
      if (unit != nullptr) unit->scanned = false;
    }
    const bool judged =
        !absl::IsDeadlineExceeded(result.status) && !absl::IsUnavailable(result.status);
    if (!result.status.ok() && judged && rule != nullptr && unit != nullptr) {
      unit->rules_refused[rule->rule.location] = std::string(result.status.message());
    }
    if (result.status.ok() && result.observed && result.observed->table_is_new) {
      OnBlockMadeAnew(*std::get<RepresentorSpec>(result.observed->spec).block);
    }
    if (const auto* eswitch = std::get_if<PfSpec>(&operation.resource.spec)) {
      ObservePf(eswitch->pf);  // representors came or went, maybe also when it failed
    }
    if (result.status.ok()) {
      if (!start_.complete) CountForStart(unit, operation);
      SetObserved(operation.resource.key, std::move(result.observed));
      if (result.removal_pending && unit != nullptr && !unit->removal_asked) {
        unit->removal_asked = clock_->Now();
      }
      if (const auto* pool = std::get_if<VfPoolSpec>(&operation.resource.spec)) {
        ObservePf(pool->pf);
      }
      continue;
    }
    if (error.ok()) {
      error = result.status;
      step = StepName(operation);
    }
  }
  if (unit == nullptr) return;
  unit->in_flight = false;
  if (!error.ok()) {
    if (ref.kind == UnitKind::kPort) {
      PortUnitFailed(*unit, std::move(step), std::move(error));
    } else {
      UnitFailed(*unit, std::move(step), std::move(error));
    }
  } else {
    MarkDirty(ref);
  }
}

// For units other than ports: keep what works, say so, try again.
void Engine::UnitFailed(Unit& unit, std::string step, absl::Status error) {
  unit.step = std::move(step);
  unit.error = std::move(error);
  Record(unit, unit.step, unit.error);
  SetSettled(unit, true);  // a port does not wait for what may never come
  RetryLater(unit);
  if (OfHost(unit.ref.kind)) WakeWaitingPorts();  // they say what is wrong with it
  if (unit.ref.kind == UnitKind::kVpc) Announce({ObjectKind::kVpc, unit.ref.id});
  if (unit.ref.kind == UnitKind::kSubnet) Announce({ObjectKind::kSubnet, unit.ref.id});
  if (unit.ref.kind == UnitKind::kRoute) Announce({ObjectKind::kRoute, unit.ref.id});
  if (unit.ref.kind == UnitKind::kEndpoint) Announce({ObjectKind::kEndpoint, unit.ref.id});
}

std::chrono::milliseconds Engine::BackOff(const Unit& unit) const {
  if (EswitchRefused(unit)) return config_.audit_every;
  return BackOff(unit.ref.ToString(), unit.attempts);
}

std::chrono::milliseconds Engine::BackOff(std::string_view who, int attempts) const {
  const auto base =
      std::min(config_.retry_most, config_.retry_first * (1 << std::min(attempts, 12)));
  // Up to a quarter more, so that those which failed together do not return
  // together; derived, so that a run can be repeated.
  const uint64_t spread = StableHash(absl::StrCat(std::string(who), attempts)) % 256;
  return base + std::chrono::milliseconds(base.count() * static_cast<int64_t>(spread) / 1024);
}

void Engine::RetryLater(Unit& unit) {
  const auto delay = BackOff(unit);
  ++unit.attempts;
  unit.retry_at = clock_->Now() + delay;
  executor_->After(
      delay, [this, alive = std::weak_ptr<bool>(alive_), ref = unit.ref, when = *unit.retry_at] {
        Unit* unit = alive.expired() ? nullptr : FindUnit(ref);
        if (unit == nullptr) return;
        if (unit->retry_at == when) unit->retry_at.reset();
        MarkDirty(ref);
      });
}

}  // namespace fairlead
