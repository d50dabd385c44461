// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile/engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/base/error.h"

namespace fairlead {
namespace {

// Units handled in one go before the loop gets its turn.
constexpr int kUnitsPerPump = 2000;
// What a slice of a sweep counts for.
constexpr int kUnitsPerSweep = 500;
// Rules sent in one call; keeps one refused giant from holding the lane.
constexpr size_t kRulesPerBatch = 4096;

UnitRef RefOfObject(const ObjectRef& ref) {
  switch (ref.kind) {
    case ObjectKind::kVpc:
      return {UnitKind::kVpc, ref.id};
    case ObjectKind::kSubnet:
      return {UnitKind::kSubnet, ref.id};
    case ObjectKind::kPort:
      return {UnitKind::kPort, ref.id};
    case ObjectKind::kEndpoint:
      return {UnitKind::kEndpoint, ref.id};
    case ObjectKind::kRoute:
      return {UnitKind::kRoute, ref.id};
    case ObjectKind::kVm:
      break;
  }
  return {UnitKind::kHost, ""};  // a VM has no resources of its own
}

bool IsNetworkUnit(UnitKind kind) {
  return kind == UnitKind::kVpc || kind == UnitKind::kSubnet || kind == UnitKind::kRoute ||
         kind == UnitKind::kEndpoint || kind == UnitKind::kEndpoints;
}

std::string StepName(const Operation& operation) {
  return absl::StrCat(std::string(ResourceKindName(operation.resource.key.kind)), " ",
                      std::string(VerbName(operation.verb)));
}

}  // namespace

std::string UnitRef::ToString() const {
  switch (kind) {
    case UnitKind::kPool:
      return absl::StrCat("pool/", id);
    case UnitKind::kHost:
      return "host";
    case UnitKind::kUplink:
      return absl::StrCat("uplink/", id);
    case UnitKind::kVtep:
      return absl::StrCat("vtep/", id);
    case UnitKind::kVpc:
      return absl::StrCat("vpc/", id);
    case UnitKind::kSubnet:
      return absl::StrCat("subnet/", id);
    case UnitKind::kRoute:
      return absl::StrCat("route/", id);
    case UnitKind::kEndpoint:
      return absl::StrCat("endpoint/", id);
    case UnitKind::kEndpoints:
      return absl::StrCat("endpoints/", id);
    case UnitKind::kPort:
      return absl::StrCat("port/", id);
    case UnitKind::kOrphans:
      break;
  }
  return "orphans";
}

std::string RulesLane(const RuleTable& table) { return absl::StrCat("rules ", table.ToString()); }

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

Engine::Engine(EngineConfig config, Executor* executor, const Clock* clock, Listener* listener)
    : config_(std::move(config)), executor_(executor), clock_(clock), listener_(listener) {}

Engine::~Engine() = default;

void Engine::Start(StoreContents contents) {
  started_at_ = clock_->Now();
  world_ = World(std::move(contents.objects), contents.next_ordinal);
  next_lease_ = contents.next_lease;
  next_transaction_ = contents.next_transaction;
  for (const TakenOverStore& store : contents.taken_over) {
    if (store.keep) kept_.insert(store.id);
  }
  for (Attachment& attachment : contents.attachments) {
    executor_->LeaseGranted(attachment.lease);
    TakeLease(std::move(attachment));
  }
  for (SanitationRecord& record : contents.sanitation) SetSanitation(std::move(record));
  for (const auto& [vf, attachment] : attachments_) {
    UnitOf({UnitKind::kPort, attachment.port}, attachment.vpc);
    if (world_.FindPort(attachment.port) == nullptr) {  // whoever removed it may still ask
      Port port;
      port.id = attachment.port;
      port.vm = attachment.vm;
      port.vpc = attachment.vpc;
      port.mac = attachment.mac;
      removed_.insert_or_assign(ObjectRef{ObjectKind::kPort, port.id}, Object(port));
      Announce({ObjectKind::kPort, attachment.port});
    }
    MarkDirty({UnitKind::kPort, attachment.port});
  }
  world_.ForEach([this](const StoredObject& stored) {
    const ObjectRef ref = RefOf(stored.object);
    if (ref.kind == ObjectKind::kVm || ref.kind == ObjectKind::kEndpoint) return;
    std::string vpc;
    if (ref.kind == ObjectKind::kVpc) {
      vpc = ref.id;
      MarkEndpoints(vpc);
    }
    if (const auto* s = std::get_if<Subnet>(&stored.object)) vpc = s->vpc;
    if (const auto* p = std::get_if<Port>(&stored.object)) vpc = p->vpc;
    if (const auto* r = std::get_if<Route>(&stored.object)) vpc = r->vpc;
    UnitOf(RefOfObject(ref), vpc);
    MarkDirty(RefOfObject(ref));
  });
  world_.ForEachVtep([this](const IpAddress& vtep) {
    MarkDirty({UnitKind::kVtep, vtep.ToString()});
  });
  MarkHost();
  for (auto& [ref, unit] : units_) unit.since_start = true;
  Audit();
  ScheduleAudit();
}

void Engine::OnChange(const Change& change) {
  // What the changed objects touched before, and touch after, is looked at again.
  std::set<std::string> vms, vteps, moved_vpcs, rerouted;   // the last: subnets
  std::map<std::string, std::vector<IpAddress>> next_hops;  // maybe, by VPC
  const auto note_addresses = [&](const auto& station) {
    std::vector<IpAddress>& of_vpc = next_hops[station.vpc];
    of_vpc.insert(of_vpc.end(), station.addresses.begin(), station.addresses.end());
  };
  auto note = [&](const Object& object) {
    if (const auto* p = std::get_if<Port>(&object)) {
      if (!p->vm.empty()) vms.insert(p->vm);
      note_addresses(*p);
    } else if (const auto* e = std::get_if<Endpoint>(&object)) {
      vteps.insert(e->vtep.ToString());
      note_addresses(*e);
    }
  };
  for (const StoredObject& stored : change.upserts) {
    if (const StoredObject* old = world_.Find(RefOf(stored.object))) {
      if (std::holds_alternative<Endpoint>(old->object)) WakeEndpoint(*old);
      MarkSlowPath(old->object);
      note(old->object);
      const auto* vpc = std::get_if<Vpc>(&stored.object);
      const auto* before = std::get_if<Vpc>(&old->object);
      if (vpc && before &&
          (vpc->vni != before->vni || vpc->vlan != before->vlan || vpc->flat != before->flat)) {
        moved_vpcs.insert(vpc->id);
      }
      const auto* subnet = std::get_if<Subnet>(&stored.object);
      const auto* earlier = std::get_if<Subnet>(&old->object);
      if (subnet && earlier &&
          (subnet->gateway4.has_value() != earlier->gateway4.has_value() ||
           subnet->gateway6.has_value() != earlier->gateway6.has_value())) {
        rerouted.insert(subnet->id);
      }
    }
    note(stored.object);
  }
  for (const ObjectRef& ref : change.removes) {
    if (const StoredObject* old = world_.Find(ref)) {
      if (std::holds_alternative<Endpoint>(old->object)) WakeEndpoint(*old);
      MarkSlowPath(old->object);
      note(old->object);
      removed_.insert_or_assign(ref, old->object);
    }
  }
  world_.Apply(change);

  for (const StoredObject& stored : change.upserts) MarkSlowPath(stored.object);
  for (const StoredObject& stored : change.upserts) {
    const ObjectRef ref = RefOf(stored.object);
    if (ref.kind == ObjectKind::kVm) {
      vms.insert(ref.id);
      for (const std::string& port : world_.PortsOfVm(ref.id)) MarkDirty({UnitKind::kPort, port});
      Announce(ref);
      continue;
    }
    std::string vpc;
    if (ref.kind == ObjectKind::kVpc) vpc = ref.id;
    if (const auto* s = std::get_if<Subnet>(&stored.object)) vpc = s->vpc;
    if (const auto* p = std::get_if<Port>(&stored.object)) vpc = p->vpc;
    if (const auto* e = std::get_if<Endpoint>(&stored.object)) vpc = e->vpc;
    if (const auto* r = std::get_if<Route>(&stored.object)) vpc = r->vpc;
    Unit& moved = UnitOf(RefOfObject(ref), vpc);
    if (moved.vpc != vpc) {
      // What is under way counts for the VPC that it is under way for.
      const bool settled = moved.settled;
      SetSettled(moved, true);
      moved.vpc = vpc;
      SetSettled(moved, settled);
    }
    moved.retry_at.reset();  // a new generation is tried at once
    if (ref.kind == ObjectKind::kPort) {
      UpdateBound(ref.id);
    } else {
      moved.attempts = 0;
      moved.error = absl::OkStatus();  // was the former one's
      moved.step.clear();
    }
    MarkDirty(RefOfObject(ref));
    Announce(ref);
  }
  for (const ObjectRef& ref : change.removes) {
    if (ref.kind == ObjectKind::kVm) {
      Announce(ref);
      continue;
    }
    if (ref.kind == ObjectKind::kPort) UpdateBound(ref.id);
    if (ref.kind == ObjectKind::kVpc) MarkEndpoints(ref.id);
    if (Unit* unit = FindUnit(RefOfObject(ref))) unit->retry_at.reset();
    MarkDirty(RefOfObject(ref));
    Announce(ref);
  }
  for (const std::string& vpc : moved_vpcs) {
    for (const std::string& port : world_.PortsOfVpc(vpc)) {
      UpdateBound(port);
      MarkDirty({UnitKind::kPort, port});
    }
  }
  for (const std::string& subnet : rerouted) {
    for (const std::string& id : world_.PortsOfSubnet(subnet)) MarkDirty({UnitKind::kPort, id});
    if (const Subnet* now = world_.FindSubnet(subnet)) MarkEndpoints(now->vpc);
  }
  for (const std::string& vtep : vteps) MarkDirty({UnitKind::kVtep, vtep});
  for (const auto& [vpc, addresses] : next_hops) MarkRoutesBy(vpc, addresses);
  for (const std::string& vm : vms) {
    ReleaseVmIfUnused(vm);
    AnnounceVm(vm);
  }
  MarkHost();
}

Unit& Engine::UnitOf(const UnitRef& ref, std::string_view vpc) {
  auto [it, added] = units_.try_emplace(ref);
  if (added) {
    it->second.ref = ref;
    it->second.vpc = std::string(vpc);
    it->second.settled = true;
  }
  return it->second;
}

Unit* Engine::FindUnit(const UnitRef& ref) {
  const auto it = units_.find(ref);
  return it == units_.end() ? nullptr : &it->second;
}

void Engine::MarkDirty(const UnitRef& ref) {
  Unit& unit = UnitOf(ref);
  if (unit.in_flight || unit.queued) return;  // what is in flight marks it when it is back
  if (IsNetworkUnit(ref.kind)) SetSettled(unit, false);
  unit.queued = true;
  queue_.push_back(ref);
  SchedulePump();
}

void Engine::MarkHost() {
  MarkDirty({UnitKind::kHost, ""});
  for (const NicId& pf : config_.pfs) {
    MarkDirty({UnitKind::kPool, pf.ToString()});
    const UnitRef uplink{UnitKind::kUplink, pf.ToString()};
    if (CarriesProviderNetworks(pf) || FindUnit(uplink) != nullptr) MarkDirty(uplink);
  }
}

void Engine::MarkVpcNetwork(const std::string& vpc) {
  if (world_.FindVpc(vpc) != nullptr) MarkDirty({UnitKind::kVpc, vpc});
  for (const std::string& id : world_.SubnetsOfVpc(vpc)) MarkDirty({UnitKind::kSubnet, id});
  for (const StoredObject* route : world_.RoutesOfVpc(vpc)) {
    MarkDirty({UnitKind::kRoute, IdOf(route->object)});
  }
  MarkEndpoints(vpc);
  world_.ForEachVtep([this](const IpAddress& vtep) {
    MarkDirty({UnitKind::kVtep, vtep.ToString()});
  });
  // What was removed and still has something here waits for the same things.
  for (const auto& [ref, object] : removed_) {
    const Unit* unit = UnitOfObject(ref);
    if (unit != nullptr && unit->vpc == vpc) MarkDirty(unit->ref);
  }
  const auto it = bound_of_vpc_.find(vpc);
  if (it == bound_of_vpc_.end()) return;
  for (const std::string& id : it->second) MarkDirty({UnitKind::kPort, id});
}

void Engine::SchedulePump() {
  if (pump_scheduled_ || in_pump_) return;
  pump_scheduled_ = true;
  executor_->After(std::chrono::milliseconds(0), [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    pump_scheduled_ = false;
    Pump();
  });
}

void Engine::Pump() {
  in_pump_ = true;
  int done = 0;
  while (done < kUnitsPerPump && !queue_.empty()) {
    const UnitRef ref = std::move(queue_.front());
    queue_.pop_front();
    Unit* unit = FindUnit(ref);
    if (unit == nullptr) continue;
    unit->queued = false;
    done += ref.kind == UnitKind::kEndpoints ? kUnitsPerSweep : 1;
    Reconcile(*unit);
  }
  if (queue_.empty() && orphans_pending_) CollectOrphans();
  FlushRules();
  if (!start_.complete && queue_.empty()) FinishStart();
  in_pump_ = false;
  if (!queue_.empty()) SchedulePump();
}

void Engine::Reconcile(Unit& unit) {
  if (unit.in_flight) return;
  if (unit.retry_at && clock_->Now() < *unit.retry_at) {
    if (IsNetworkUnit(unit.ref.kind)) SetSettled(unit, true);
    return;  // the timer marks it again
  }
  unit.retry_at.reset();
  if (unit.ref.kind == UnitKind::kPort) {
    ReconcilePort(unit);
  } else if (unit.ref.kind == UnitKind::kEndpoints) {
    SweepEndpoints(unit);
  } else {
    ReconcileNetwork(unit);
  }
}

bool Engine::Within(Extent extent, const ResourceKey& key) {
  switch (extent) {
    case Extent::kAll:
      return true;
    case Extent::kOnHost:
      return key.kind != ResourceKind::kGuestDevice && key.kind != ResourceKind::kDriverBinding;
    case Extent::kRules:
      break;
  }
  return key.kind == ResourceKind::kFlowRule;
}

Engine::Progress Engine::Converge(Unit& unit, const std::vector<Resource>& resources,
                                  Extent extent) {
  WantedSet wanted;
  for (const Resource& resource : resources) {
    if (Within(extent, resource.key)) wanted.emplace(resource.key, resource);
  }
  unit.wanted_rules = static_cast<uint32_t>(
      std::count_if(resources.begin(), resources.end(),
                    [](const Resource& r) { return r.key.kind == ResourceKind::kFlowRule; }));
  for (const ResourceKey& key : unit.keys) {
    if (!wanted.contains(key) && Within(extent, key)) wanted_.erase(key);
  }
  for (const auto& [key, resource] : wanted) {
    wanted_[key] = resource;
    claimant_[key] = unit.ref;
    unit.keys.insert(key);
  }
  ObservedSet seen;
  for (const ResourceKey& key : unit.keys) {
    // They are shared: made and kept, never taken away for not being wanted.
    const bool of_nic = key.kind == ResourceKind::kVfPool || key.kind == ResourceKind::kPf;
    if (of_nic && !wanted.contains(key)) continue;
    if (!Within(extent, key) || GivenUp(unit, key)) continue;
    if (auto now = observed_.Get(key)) seen.emplace(key, *std::move(now));
  }
  const DiffResult diff = Diff(wanted, seen, DiffOptions{.prune = true});
  if (!diff.conflicts.empty()) {
    std::vector<std::string> names;
    for (const ResourceKey& key : diff.conflicts) {
      const std::string whose = observed_.Get(key)->owner_words;
      names.push_back(
          absl::StrCat(key.ToString(), whose.empty() ? "" : " (", whose, whose.empty() ? "" : ")"));
    }
    unit.waits_for =
        absl::StrCat("somebody else's object is in the place of ", absl::StrJoin(names, ", "),
                     "; remove it, or keep it and remove "
                     "this object");
    return Progress::kConflict;
  }
  if (diff.operations.empty()) {
    if (extent == Extent::kAll) SettleClaims(unit, wanted);
    if (unit.drifts > 0 && extent == Extent::kAll) DriftsMended(unit);
    return Progress::kSettled;
  }
  std::vector<Operation> group;
  for (const Operation& operation : diff.operations) {
    if (!group.empty() && (operation.resource.key.kind != ResourceKind::kFlowRule ||
                           group.front().resource.key.kind != ResourceKind::kFlowRule)) {
      break;
    }
    if (operation.verb != Operation::Verb::kDelete) {
      const auto missing =
          std::find_if(operation.resource.depends.begin(), operation.resource.depends.end(),
                       [this](const ResourceKey& key) { return !observed_.Contains(key); });
      if (missing != operation.resource.depends.end()) {
        if (group.empty()) {
          unit.waits_for = absl::StrCat("waits for ", missing->ToString());
          unit.step = StepName(operation);
          return Progress::kWaiting;
        }
        break;
      }
    }
    group.push_back(operation);
    auto* vf = std::get_if<VfSpec>(&group.back().resource.spec);
    if (vf != nullptr && operation.verb == Operation::Verb::kDelete) {
      vf->mac = attachments_.at(vf->vf).vf_mac;
    }
  }
  unit.step = StepName(group.front());
  Dispatch(unit, std::move(group));
  return Progress::kWorking;
}

// Keys that are neither wanted nor there are nobody's any more.
void Engine::SettleClaims(Unit& unit, const WantedSet& wanted) {
  std::erase_if(unit.keys, [&](const ResourceKey& key) {
    if (wanted.contains(key)) return false;
    if (observed_.IsOurs(key)) return false;
    const auto it = claimant_.find(key);
    if (it != claimant_.end() && it->second == unit.ref) claimant_.erase(it);
    return true;
  });
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

void Engine::SetSettled(Unit& unit, bool settled) {
  if (unit.settled == settled) return;
  unit.settled = settled;
  if (!IsNetworkUnit(unit.ref.kind)) return;
  int& count = unsettled_of_vpc_[unit.vpc];
  count += settled ? -1 : 1;
  if (count > 0) return;
  const auto waiting = waiting_on_vpc_.find(unit.vpc);
  unsettled_of_vpc_.erase(unit.vpc);
  if (waiting == waiting_on_vpc_.end()) return;
  const std::set<std::string> ports = std::move(waiting->second);
  waiting_on_vpc_.erase(waiting);
  for (const std::string& port : ports) MarkDirty({UnitKind::kPort, port});
}

bool Engine::VpcSettled(const std::string& vpc) const { return !unsettled_of_vpc_.contains(vpc); }

std::vector<std::string> Engine::unobserved() const {
  std::vector<std::string> missing;
  for (const NicId& pf : config_.pfs) {
    const auto it = pf_scope_.find(pf);
    if (it == pf_scope_.end() || !it->second.known) {
      missing.push_back(absl::StrCat("NIC ", pf.ToString()));
    }
  }
  if (!tunnel_scope_.known) missing.push_back("the tunnel");
  if (!neighbour_scope_.known) missing.push_back("the neighbours");
  const auto tables = std::count_if(table_scope_.begin(), table_scope_.end(),
                                    [](const auto& entry) { return !entry.second.known; });
  if (tables > 0) missing.push_back(absl::StrCat(tables, " tables of rules"));
  return missing;
}

}  // namespace fairlead
