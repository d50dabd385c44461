// SPDX-License-Identifier: Apache-2.0
//
// Rules of endpoints that are simply not there yet. They come in tens of thousands, with a VPC's
// first port or from a controller that fills a VPC, and there is nothing to decide about any of
// them: they are compiled a slice at a time, sent together, and the endpoint is at rest when they
// stand. A unit is made for one of which something was refused, or that is changed meanwhile.
#include <algorithm>
#include <utility>

#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

// Of a VPC, sent and not answered: the next is compiled while the kernel takes one.
constexpr int kConsignmentsAtOnce = 3;
constexpr size_t kArrivalsPerSlice = 500;

}  // namespace

bool Engine::Comes(uint32_t ordinal) const { return !coming_.empty() && coming_.contains(ordinal); }

bool Engine::AnySent(const std::string& vpc) const {
  const auto it = arrivals_.find(vpc);
  return it != arrivals_.end() && it->second.sent > 0;
}

bool Engine::SentEnough(const std::string& vpc) const {
  const auto it = arrivals_.find(vpc);
  return it != arrivals_.end() && it->second.sent >= kConsignmentsAtOnce;
}

// Nothing of it can be here yet, and it has no unit.
void Engine::Arrive(const std::string& vpc, uint32_t ordinal) {
  coming_[ordinal] = Coming::kWaits;
  arrivals_[vpc].waiting.push_back(ordinal);
  UnitOf({UnitKind::kArrivals, vpc}, vpc);
  MarkDirty({UnitKind::kArrivals, vpc});
}

void Engine::TakeArrivals(Unit& unit) {
  const std::string vpc = unit.ref.id;
  absl::StatusOr<std::optional<EndpointContext>> context = EndpointContextOf(vpc);
  if (!context.ok()) {
    unit.waits_for = std::string(context.status().message());
    return;  // whatever it waits for marks it
  }
  unit.waits_for.clear();
  if (SentEnough(vpc)) {
    unit.in_flight = true;  // an answer marks it
    return;
  }
  Arrivals& arrivals = arrivals_[vpc];
  Consignment rules = ConsignmentFor(vpc, *context);
  for (size_t i = 0; i < kArrivalsPerSlice && !arrivals.waiting.empty(); ++i) {
    const uint32_t ordinal = arrivals.waiting.front();
    arrivals.waiting.pop_front();
    const auto coming = coming_.find(ordinal);
    if (coming == coming_.end() || coming->second != Coming::kWaits) continue;
    coming_.erase(coming);
    const StoredObject* stored = world_.FindByOrdinal(ordinal);
    const auto* endpoint = stored == nullptr ? nullptr : std::get_if<Endpoint>(&stored->object);
    if (endpoint == nullptr) continue;
    if (*context) {
      LookAtEndpoint((*context)->vpc, SubnetContextOf(endpoint->subnet), *stored, rules);
    }
    if (!Comes(ordinal)) Announce({ObjectKind::kEndpoint, endpoint->id});
  }
  Send(std::move(rules));
  if (!arrivals.waiting.empty()) return MarkDirty(UnitRef(unit.ref));
  if (arrivals.sent > 0) {
    unit.in_flight = true;
    return;
  }
  SetSettled(unit, true);
  arrivals_.erase(vpc);
  units_.erase({UnitKind::kArrivals, vpc});
}

Engine::Consignment Engine::ConsignmentFor(const std::string& vpc,
                                           const std::optional<EndpointContext>& context) const {
  Consignment out;
  out.vpc = vpc;
  if (!context) return out;
  out.block = {RuleTable::Kind::kVpcBlock, context->vpc.vni};
  // What an endpoint's rules stand on; a unit says what it waits for.
  out.possible =
      observed_.Contains(RepresentorKey(context->any_vf)) && observed_.Contains(TunnelKey());
  return out;
}

// True when all that is missing of it is on its way, or will be; what stands is claimed.
bool Engine::AddToConsignment(const StoredObject& stored, std::vector<FlowRule> rules,
                              Consignment& out) {
  if (!out.possible) return false;
  const auto& endpoint = std::get<Endpoint>(stored.object);
  uint32_t missing = 0;
  for (FlowRule& rule : rules) {
    if (observed_.FindRule(rule.location) != nullptr) {
      observed_.Claim(rule.location, true);
      continue;
    }
    ++missing;
    out.places.push_back(PlaceOf(rule.location));
    out.rules.push_back(std::move(rule));
  }
  out.items.push_back({stored.ordinal, endpoint.id, missing});
  coming_[stored.ordinal] = Coming::kSent;
  return true;
}

void Engine::Send(Consignment rules) {
  if (rules.items.empty()) return;
  ++arrivals_[rules.vpc].sent;
  consignments_.push_back(std::move(rules));
  if (!in_pump_) FlushRules();
}

void Engine::FlushConsignments() {
  while (!consignments_.empty()) {
    auto sent = std::make_shared<Consignment>(std::move(consignments_.front()));
    consignments_.pop_front();
    executor_->PutRules(sent->block, std::move(sent->rules),
                        [this, alive = std::weak_ptr<bool>(alive_),
                         sent](std::vector<absl::StatusOr<RuleEvidence>> results) {
                          if (!alive.expired()) OnConsignment(*sent, results);
                        });
  }
}

void Engine::OnConsignment(const Consignment& sent,
                           const std::vector<absl::StatusOr<RuleEvidence>>& results) {
  size_t next = 0;
  for (const Consignment::Item& item : sent.items) {
    const size_t first = next;
    next += item.rules;
    coming_.erase(item.ordinal);
    Unit* unit = FindUnit({UnitKind::kEndpoint, item.id});
    std::map<RuleLocation, absl::Status> refused;
    for (size_t i = first; i < next; ++i) {
      const RuleLocation at = At(sent.block, sent.places[i]);
      if (i >= results.size() || !results[i].ok()) {
        refused.emplace(
            at, i < results.size() ? results[i].status() : absl::InternalError("no result"));
        continue;
      }
      observed_.SetRule(at, *results[i]);
      if (unit == nullptr) observed_.Claim(at, true);
      if (!start_.complete) touched_.insert(FlowRuleKey(at));
    }
    const ObjectRef object{ObjectKind::kEndpoint, item.id};
    if (unit != nullptr) {  // it was changed or removed meanwhile, and waits for this
      unit->in_flight = false;
      MarkDirty(UnitRef(unit->ref));
    } else if (!refused.empty()) {
      OnRefused(item, refused);
    } else if (announced_.contains(object)) {
      Announce(object);
    }
  }
  const auto arrivals = arrivals_.find(sent.vpc);
  if (--arrivals->second.sent == 0 && arrivals->second.waiting.empty()) arrivals_.erase(arrivals);
  for (const UnitKind kind : {UnitKind::kEndpoints, UnitKind::kArrivals}) {
    Unit* unit = FindUnit({kind, sent.vpc});
    if (unit == nullptr || !unit->in_flight) continue;
    unit->in_flight = false;
    MarkDirty(UnitRef(unit->ref));
  }
}

// From here on it goes the way of every unit: it says so, and tries again.
void Engine::OnRefused(const Consignment::Item& item,
                       const std::map<RuleLocation, absl::Status>& refused) {
  const StoredObject* stored = world_.FindByOrdinal(item.ordinal);
  if (stored == nullptr) return;
  Unit& unit = WakeEndpoint(*stored);
  absl::StatusOr<std::vector<Resource>> wanted = CompileEndpointUnit(unit);
  if (!wanted.ok()) return MarkDirty(UnitRef(unit.ref));
  std::vector<Operation> operations;
  std::vector<ApplyResult> results;
  for (Resource& rule : *wanted) {
    const auto why = refused.find(rule.key.rule);
    if (why == refused.end()) continue;
    unit.keys.insert(rule.key);
    claimant_[rule.key] = unit.ref;
    wanted_[rule.key] = rule;
    operations.push_back({Operation::Verb::kCreate, std::move(rule), std::nullopt, ""});
    results.push_back({why->second, std::nullopt, false});
  }
  unit.wanted_rules = static_cast<uint32_t>(wanted->size());
  if (operations.empty()) return MarkDirty(UnitRef(unit.ref));
  unit.in_flight = true;
  unit.step = StepName(operations.front());
  SetSettled(unit, false);
  OnApplied(UnitRef(unit.ref), operations, std::move(results));
}

}  // namespace fairlead
