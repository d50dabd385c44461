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
    case ObjectKind::kSecurityGroup:  // policies have units
      break;
  }
  return {UnitKind::kHost, ""};  // a VM has no resources of its own
}

bool IsNetworkUnit(UnitKind kind) {
  return kind == UnitKind::kVpc || kind == UnitKind::kSubnet || kind == UnitKind::kRoute ||
         kind == UnitKind::kEndpoint || kind == UnitKind::kEndpoints || kind == UnitKind::kPolicy ||
         kind == UnitKind::kArrivals;
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
    case UnitKind::kPolicy:
      return absl::StrCat("policy/", id);
    case UnitKind::kArrivals:
      return absl::StrCat("arrivals/", id);
    case UnitKind::kPort:
      return absl::StrCat("port/", id);
    case UnitKind::kOrphans:
      break;
  }
  return "orphans";
}

Engine::Engine(EngineConfig config, Executor* executor, const Clock* clock, Listener* listener)
    : config_(std::move(config)), executor_(executor), clock_(clock), listener_(listener) {}

Engine::~Engine() = default;

void Engine::Start(StoreContents contents) {
  started_at_ = clock_->Now();
  world_ =
      World(std::move(contents.objects), contents.next_ordinal, std::move(contents.left_zones));
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
  std::vector<std::string> vpcs;
  world_.ForEach([this, &vpcs](const StoredObject& stored) {
    const ObjectRef ref = RefOf(stored.object);
    if (ref.kind == ObjectKind::kVm || ref.kind == ObjectKind::kEndpoint) return;
    if (ref.kind == ObjectKind::kSecurityGroup) return;
    if (ref.kind == ObjectKind::kVpc) {
      MarkEndpoints(ref.id);
      vpcs.push_back(ref.id);
    }
    UnitOf(RefOfObject(ref), VpcOf(stored.object));
    MarkDirty(RefOfObject(ref));
  });
  world_.ForEachVtep([this](const IpAddress& vtep) {
    MarkDirty({UnitKind::kVtep, vtep.ToString()});
  });
  for (const std::string& vpc : vpcs) RefreshPolicies(vpc);
  for (const uint16_t zone : world_.left_zones()) MarkZone(zone, "");
  MarkHost();
  for (auto& [ref, unit] : units_) unit.since_start = true;
  Audit();
  ScheduleAudit();
}

void Engine::OnChange(const Change& change) {
  // What the changed objects touched before, and touch after, is looked at again.
  std::set<std::string> vms, vteps, moved_vpcs, rerouted;   // the last: subnets
  std::set<std::string> judged_anew;                        // VPCs with other groups or members
  std::map<std::string, std::vector<IpAddress>> next_hops;  // maybe, by VPC
  const auto note_addresses = [&](const auto& station) {
    std::vector<IpAddress>& of_vpc = next_hops[station.vpc];
    of_vpc.insert(of_vpc.end(), station.addresses.begin(), station.addresses.end());
  };
  auto note = [&](const Object& object) {
    if (const auto* p = std::get_if<Port>(&object)) {
      if (!p->vm.empty()) vms.insert(p->vm);
      note_addresses(*p);
      if (p->policy != 0) judged_anew.insert(p->vpc);
    } else if (const auto* e = std::get_if<Endpoint>(&object)) {
      vteps.insert(e->vtep.ToString());
      note_addresses(*e);
      if (!e->security_groups.empty()) judged_anew.insert(e->vpc);
    } else if (const auto* vpc = std::get_if<Vpc>(&object)) {
      judged_anew.insert(vpc->id);
    } else if (const auto* group = std::get_if<SecurityGroup>(&object)) {
      judged_anew.insert(group->vpc);
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
  std::map<uint16_t, std::string> zones_before;  // whose those were that are left
  for (const uint16_t zone : change.left_zones) {
    if (const auto owner = world_.OwnerOfZone(zone)) zones_before[zone] = owner->id;
  }
  world_.Apply(change);

  for (const StoredObject& stored : change.upserts) MarkSlowPath(stored.object);
  for (const StoredObject& stored : change.upserts) {
    const ObjectRef ref = RefOf(stored.object);
    if (ref.kind == ObjectKind::kSecurityGroup) {
      Announce(ref);
      continue;
    }
    if (ref.kind == ObjectKind::kVm) {
      vms.insert(ref.id);
      for (const std::string& port : world_.PortsOfVm(ref.id)) MarkDirty({UnitKind::kPort, port});
      Announce(ref);
      continue;
    }
    const std::string& vpc = VpcOf(stored.object);
    if (ref.kind == ObjectKind::kEndpoint && FindUnit(RefOfObject(ref)) == nullptr) {
      Arrive(vpc, world_.Find(ref)->ordinal);  // any other was woken
      Announce(ref);
      continue;
    }
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
    if (ref.kind == ObjectKind::kVm || ref.kind == ObjectKind::kSecurityGroup) {
      Announce(ref);
      continue;
    }
    if (ref.kind == ObjectKind::kPort) UpdateBound(ref.id);
    if (ref.kind == ObjectKind::kVpc) MarkEndpoints(ref.id);
    if (Unit* unit = FindUnit(RefOfObject(ref))) unit->retry_at.reset();
    MarkDirty(RefOfObject(ref));
    Announce(ref);
  }
  for (const uint16_t zone : change.left_zones) {
    const auto known = zones_.find(zone);
    MarkZone(zone, known == zones_.end() ? zones_before[zone] : known->second.vpc);
  }
  for (const std::string& vpc : judged_anew) {
    RefreshPolicies(vpc);
    MarkConnections(vpc);
    AnnounceGroups(vpc);
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
  MarkPolicies(vpc);
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
    const bool many = ref.kind == UnitKind::kEndpoints || ref.kind == UnitKind::kArrivals;
    done += many ? kUnitsPerSweep : 1;
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
  } else if (unit.ref.kind == UnitKind::kArrivals) {
    TakeArrivals(unit);
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

void Engine::SetSettled(Unit& unit, bool settled) {
  if (unit.settled == settled) return;
  unit.settled = settled;
  if (!IsNetworkUnit(unit.ref.kind)) return;
  int& count = unsettled_of_vpc_[unit.vpc];
  count += settled ? -1 : 1;
  if (count > 0) return;
  const auto waiting = waiting_on_vpc_.find(unit.vpc);
  unsettled_of_vpc_.erase(unit.vpc);
  if (!zones_.empty()) JudgeZonesSoon();
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
