// SPDX-License-Identifier: Apache-2.0
//
// Endpoints are many and mostly at rest: one that stands as it is wanted has no unit. Its rules
// are compiled when somebody asks, and in the table each is marked as claimed. A unit ("awake")
// is there while something is to be done or to be said: it is made by a change of the object, by
// a change of a claimed rule, or by the sweep of its VPC, which compares all of them after
// whatever they have in common has changed.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

// Looked at in one go, before others have their turn.
constexpr size_t kEndpointsPerSlice = 500;

const Endpoint* AsEndpoint(const StoredObject* stored) {
  return stored == nullptr ? nullptr : std::get_if<Endpoint>(&stored->object);
}

}  // namespace

absl::StatusOr<std::optional<Engine::EndpointContext>> Engine::EndpointContextOf(
    const std::string& vpc) const {
  const StoredObject* stored = world_.Find({ObjectKind::kVpc, vpc});
  const std::set<RuleTable> blocks = BlocksOf(vpc);
  if (stored == nullptr || blocks.empty()) return std::nullopt;
  const auto& network = std::get<Vpc>(stored->object);
  if (!network.vni) return std::nullopt;  // it has no endpoints
  FAIRLEAD_RETURN_IF_ERROR(WhyNotToCompile(blocks));
  const auto bound = bound_of_vpc_.find(vpc);
  if (bound == bound_of_vpc_.end() || bound->second.empty()) return std::nullopt;
  if (const std::string nic = UnobservedNicOf(vpc); !nic.empty()) {
    return absl::UnavailableError(nic);
  }
  return EndpointContext{OverlayContextOf(*stored, *facts_.tunnel),
                         bound_.at(*bound->second.begin()).vf};
}

SubnetContext Engine::SubnetContextOf(const std::string& id) const {
  const StoredObject& subnet = *world_.Find({ObjectKind::kSubnet, id});
  return ContextOf(std::get<Subnet>(subnet.object), subnet.ordinal);
}

absl::StatusOr<std::vector<Resource>> Engine::CompileEndpointUnit(const Unit& unit) const {
  const StoredObject* stored = world_.Find({ObjectKind::kEndpoint, unit.ref.id});
  absl::StatusOr<std::optional<EndpointContext>> context = EndpointContextOf(unit.vpc);
  if (!context.ok()) return context.status();
  if (stored == nullptr || !*context) return std::vector<Resource>{};
  const auto& endpoint = std::get<Endpoint>(stored->object);
  FAIRLEAD_RETURN_IF_ERROR(WhyNotToEndpoint(endpoint));
  return CompileEndpoint((*context)->vpc, SubnetContextOf(endpoint.subnet), *stored,
                         (*context)->any_vf);
}

absl::Status Engine::WhyNotToEndpoint(const Endpoint& endpoint) const {
  if (endpoint.vtep.is_v4() != facts_.tunnel->local.is_v4()) {
    return absl::InvalidArgumentError(
        absl::StrCat("its VTEP ", endpoint.vtep.ToString(),
                     " is of another address family than the tunnel's local address ",
                     facts_.tunnel->local.ToString()));
  }
  const auto port = bound_macs_.find({endpoint.vpc, endpoint.mac});
  if (port == bound_macs_.end()) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat("its MAC ", endpoint.mac.ToString(),
                                               " is that of port ", port->second,
                                               ", which is on this host: frames go there"));
}

// What of the endpoint's rules is claimed becomes its unit's, as if that had made it. Where they
// are does not depend on what is observed, so that is not asked.
Unit& Engine::WakeEndpoint(const StoredObject& stored) {
  const auto& endpoint = std::get<Endpoint>(stored.object);
  const UnitRef ref{UnitKind::kEndpoint, endpoint.id};
  if (Unit* unit = FindUnit(ref)) return *unit;
  Unit& unit = UnitOf(ref, endpoint.vpc);
  unit.since_start = !start_.complete;
  const auto coming = coming_.find(stored.ordinal);
  const bool sent = coming != coming_.end() && coming->second == Coming::kSent;
  if (coming != coming_.end() && !sent) coming_.erase(coming);
  if (auto error = errors_at_rest_.extract(endpoint.id)) unit.last_error = error.mapped();
  const StoredObject* vpc = world_.Find({ObjectKind::kVpc, endpoint.vpc});
  const auto& network = std::get<Vpc>(vpc->object);
  if (!network.vni) return unit;
  TunnelFacts tunnel = facts_.tunnel.value_or(TunnelFacts());
  if (!facts_.tunnel) tunnel.local = config_.compile.tunnel.local;
  const VpcContext context = OverlayContextOf(*vpc, tunnel);
  const SubnetContext subnet = SubnetContextOf(endpoint.subnet);
  // Also where it was wanted before something that it has in common with others changed.
  const SubnetContext most{subnet.ordinal, true, true};
  Endpoint elsewhere = endpoint;
  elsewhere.vtep = IpAddress();
  for (const FlowRule& rule : CompileEndpointRules(context, most, elsewhere, stored.ordinal)) {
    const Observed::Rule* seen = observed_.FindRule(rule.location);
    if (!sent && (seen == nullptr || !seen->claimed)) continue;
    observed_.Claim(rule.location, false);
    unit.keys.insert(FlowRuleKey(rule.location));
    claimant_[FlowRuleKey(rule.location)] = ref;
  }
  for (Resource& rule : CompileEndpoint(context, subnet, stored, VfId())) {
    if (!unit.keys.contains(rule.key)) continue;
    ++unit.wanted_rules;
    wanted_[rule.key] = std::move(rule);
  }
  if (sent) {  // the answer marks it
    SetSettled(unit, false);
    unit.in_flight = true;
  }
  return unit;
}

// It stands as it is wanted, and there is nothing to say of it.
bool Engine::MayRest(const Unit& unit) const {
  return unit.ref.kind == UnitKind::kEndpoint && unit.settled && !unit.queued && !unit.in_flight &&
         unit.error.ok() && !unit.retry_at && unit.drifts == 0 &&
         world_.Find({ObjectKind::kEndpoint, unit.ref.id}) != nullptr;
}

void Engine::RestEndpoint(const Unit& unit) {
  for (const ResourceKey& key : unit.keys) {
    observed_.Claim(key.rule, true);
    claimant_.erase(key);
    wanted_.erase(key);
  }
  if (unit.last_error.times > 0) errors_at_rest_[unit.ref.id] = unit.last_error;
  units_.erase(UnitRef(unit.ref));
}

void Engine::MarkEndpoints(const std::string& vpc) {
  if (FindUnit({UnitKind::kArrivals, vpc}) != nullptr) MarkDirty({UnitKind::kArrivals, vpc});
  if (world_.EndpointsOfVpc(vpc).empty() && !sweeps_.contains(vpc)) return;
  Sweep& sweep = sweeps_[vpc];
  sweep.next.clear();
  sweep.ended = false;
  UnitOf({UnitKind::kEndpoints, vpc}, vpc);
  MarkDirty({UnitKind::kEndpoints, vpc});
}

void Engine::SweepEndpoints(Unit& unit) {
  const std::string vpc = unit.ref.id;
  absl::StatusOr<std::optional<EndpointContext>> context = EndpointContextOf(vpc);
  if (!context.ok()) {
    unit.waits_for = std::string(context.status().message());
    return;  // whatever it waits for marks it
  }
  unit.waits_for.clear();
  Sweep& sweep = sweeps_[vpc];
  // What was sent for another state of things comes in before anything is compared with this one.
  const bool from_first = !*context || sweep.ended || sweep.next.empty();
  if (from_first ? AnySent(vpc) : SentEnough(vpc)) {
    unit.in_flight = true;  // an answer marks it
    return;
  }
  if (!*context) {
    // Nothing is wanted of them: whoever is awake takes its own away, the rest goes with the block,
    // and is claimed until then.
    for (auto it = units_.lower_bound({UnitKind::kEndpoint, ""});
         it != units_.end() && it->first.kind == UnitKind::kEndpoint; ++it) {
      if (it->second.vpc == vpc) MarkDirty(UnitRef(it->first));
    }
    return EndSweep(unit, sweep);
  }
  if (sweep.ended) {
    TakeUnrenewed(vpc, {RuleTable::Kind::kVpcBlock, *sweep.vni});
    TakeUnrenewed(vpc, kTunnelTable);
    return EndSweep(unit, sweep);
  }
  if (sweep.next.empty()) {
    const Vni vni = (*context)->vpc.vni;
    if (sweep.vni && sweep.vni != vni) {
      observed_.ClaimNone({RuleTable::Kind::kVpcBlock, *sweep.vni});
    }
    sweep.vni = vni;
    observed_.RenewNone({RuleTable::Kind::kVpcBlock, vni});
    observed_.RenewNone(kTunnelTable, [&](const RulePlace& place) {
      const Endpoint* endpoint = EndpointOfRule(At(kTunnelTable, place));
      return endpoint != nullptr && endpoint->vpc == vpc;
    });
  }
  const EndpointSet& endpoints = world_.EndpointsOfVpc(vpc);
  std::string subnet;
  SubnetContext in_subnet;
  Consignment missing = ConsignmentFor(vpc, *context);
  auto it = endpoints.lower_bound(std::string_view(sweep.next));
  for (size_t i = 0; i < kEndpointsPerSlice && it != endpoints.end(); ++i, ++it) {
    const auto& endpoint = std::get<Endpoint>((*it)->object);
    if (endpoint.subnet != subnet) {
      subnet = endpoint.subnet;
      in_subnet = SubnetContextOf(subnet);
    }
    LookAtEndpoint((*context)->vpc, in_subnet, **it, missing);
  }
  Send(std::move(missing));
  if (it == endpoints.end()) {
    sweep.ended = true;
    return MarkDirty(UnitRef(unit.ref));
  }
  sweep.next = std::get<Endpoint>((*it)->object).id;
  MarkDirty(UnitRef(unit.ref));
}

void Engine::LookAtEndpoint(const VpcContext& vpc, const SubnetContext& subnet,
                            const StoredObject& stored, Consignment& missing) {
  const auto& endpoint = std::get<Endpoint>(stored.object);
  const auto coming = coming_.find(stored.ordinal);
  if (coming != coming_.end() && coming->second == Coming::kSent) return;
  if (FindUnit({UnitKind::kEndpoint, endpoint.id}) == nullptr && WhyNotToEndpoint(endpoint).ok()) {
    std::vector<FlowRule> rules = CompileEndpointRules(vpc, subnet, endpoint, stored.ordinal);
    bool all_there = true, none_otherwise = true;
    for (const FlowRule& rule : rules) {
      const Observed::Rule* seen = observed_.FindRule(rule.location);
      all_there &= seen != nullptr;
      none_otherwise &= seen == nullptr || (seen->ours && seen->content_hash == rule.ContentHash());
    }
    if (all_there && none_otherwise) {
      for (const FlowRule& rule : rules) observed_.Claim(rule.location, true);
      return;
    }
    // A member's rules lead to chains that may still be made: a unit waits for these.
    const bool simple = vpc.policies == nullptr || endpoint.security_groups.empty();
    if (simple && none_otherwise && AddToConsignment(stored, std::move(rules), missing)) return;
  }
  WakeEndpoint(stored);
  MarkDirty({UnitKind::kEndpoint, endpoint.id});
}

// What an endpoint had and does not want any more is its unit's to take away; what has no owner
// any more is the orphans'.
void Engine::TakeUnrenewed(const std::string& vpc, const RuleTable& block) {
  std::vector<RulePlace> left;
  for (const auto& [place, rule] : observed_.TableOf(block).rules) {
    if (rule.ours && !(rule.claimed && rule.renewed)) left.push_back(place);
  }
  for (const RulePlace& place : left) {
    const RuleLocation at = At(block, place);
    const StoredObject* owner = world_.FindByOrdinal(OwnerOf(place));
    const Endpoint* endpoint = AsEndpoint(owner);
    if (!block.is_block() && (endpoint == nullptr || endpoint->vpc != vpc)) continue;
    const bool kept = kept_.contains(observed_.FindRule(at)->mark);
    const ResourceKey key = FlowRuleKey(at);
    if (!kept && endpoint != nullptr && endpoint->vpc == vpc && !claimant_.contains(key)) {
      Unit& unit = WakeEndpoint(*owner);
      unit.keys.insert(key);
      claimant_[key] = unit.ref;
      MarkDirty(UnitRef(unit.ref));
    }
    observed_.Claim(at, false);
  }
}

void Engine::EndSweep(Unit& unit, Sweep& sweep) {
  const std::string vpc = unit.ref.id;
  sweep.next.clear();
  sweep.ended = false;
  SetSettled(unit, true);
  orphans_pending_ = true;
  if (world_.FindVpc(vpc) == nullptr) {
    sweeps_.erase(vpc);
    units_.erase({UnitKind::kEndpoints, vpc});
    return;
  }
  // Of those at rest only what is not simply ready has to be said, and what was asked for.
  for (auto it = units_.lower_bound({UnitKind::kVtep, ""});
       it != units_.end() && it->first.kind == UnitKind::kVtep; ++it) {
    const absl::StatusOr<IpAddress> outer = IpAddress::Parse(it->first.id);
    if (!outer.ok() || (Resolved(*outer) && IsPeer(config_.compile.tunnel, *outer))) continue;
    for (const StoredObject* stored : world_.EndpointsOfVtep(*outer)) {
      const auto& endpoint = std::get<Endpoint>(stored->object);
      if (endpoint.vpc == vpc) asked_.insert(endpoint.id);
    }
  }
  TellAsked();
}

void Engine::TellAsked() {
  std::vector<std::string> ready;
  for (const std::string& id : asked_) {
    const Endpoint* endpoint = world_.FindEndpoint(id);
    if (endpoint == nullptr || SweptEndpointsOf(endpoint->vpc)) ready.push_back(id);
    if (ready.size() == kEndpointsPerSlice) break;
  }
  for (const std::string& id : ready) {
    asked_.erase(id);
    const ObjectRef ref{ObjectKind::kEndpoint, id};
    if (world_.Find(ref) != nullptr) Announce(ref, /*anyway=*/!announced_.contains(ref));
  }
  if (ready.size() < kEndpointsPerSlice) return;
  executor_->After(std::chrono::milliseconds(0), [this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) TellAsked();
  });
}

bool Engine::Resolved(const IpAddress& outer) const {
  const ObservedResource* neighbour = observed_.Find(NeighbourKey(outer));
  return neighbour != nullptr && neighbour->neighbour == NeighbourState::kResolved;
}

bool Engine::SweptEndpointsOf(const std::string& vpc) const {
  const auto sweep = units_.find({UnitKind::kEndpoints, vpc});
  return sweep == units_.end() || sweep->second.settled;
}

bool Engine::SimplyReady(const Endpoint& endpoint) const {
  if (units_.contains({UnitKind::kEndpoint, endpoint.id}) || !SweptEndpointsOf(endpoint.vpc)) {
    return false;
  }
  const ObjectRef ref{ObjectKind::kEndpoint, endpoint.id};
  if (!coming_.empty() && Comes(world_.Find(ref)->ordinal)) return false;
  if (endpoint.vtep == config_.compile.tunnel.local) return false;   // that is said
  if (!IsPeer(config_.compile.tunnel, endpoint.vtep)) return false;  // likewise
  const auto bound = bound_of_vpc_.find(endpoint.vpc);
  return bound == bound_of_vpc_.end() || bound->second.empty() || Resolved(endpoint.vtep);
}

ObjectStatus Engine::StatusAtRest(const StoredObject& stored) const {
  const auto& endpoint = std::get<Endpoint>(stored.object);
  ObjectStatus status;
  status.ref = RefOf(stored.object);
  status.generation = stored.generation;
  if (!SweptEndpointsOf(endpoint.vpc)) {
    status.state = ObjectState::kApplying;
    status.reason = units_.at({UnitKind::kEndpoints, endpoint.vpc}).waits_for;
    asked_.insert(endpoint.id);  // whoever heard this hears what becomes of it
    return status;
  }
  if (Comes(stored.ordinal)) {
    const auto arrivals = units_.find({UnitKind::kArrivals, endpoint.vpc});
    status.state = ObjectState::kApplying;
    if (arrivals != units_.end()) status.reason = arrivals->second.waits_for;
    return status;
  }
  status.state = ObjectState::kReady;
  const absl::StatusOr<std::optional<EndpointContext>> context = EndpointContextOf(endpoint.vpc);
  std::vector<FlowRule> rules;
  if (context.ok() && *context) {
    rules = CompileEndpointRules((*context)->vpc, SubnetContextOf(endpoint.subnet), endpoint,
                                 stored.ordinal);
  }
  for (const FlowRule& rule : rules) {
    ++status.rules_wanted;
    const Observed::Rule* seen = observed_.FindRule(rule.location);
    if (seen == nullptr || !seen->ours) continue;
    ++status.rules_observed;
    if (seen->hardware == RuleHardware::kInHardware) ++status.rules_in_hardware;
  }
  AddPeer(endpoint, status);
  if (status.state == ObjectState::kReady) status.observed_generation = status.generation;
  return status;
}

ObjectState Engine::StateOf(const StoredObject& stored) const {
  const Endpoint* endpoint = AsEndpoint(&stored);
  if (endpoint != nullptr && !units_.contains({UnitKind::kEndpoint, endpoint->id})) {
    if (!SweptEndpointsOf(endpoint->vpc)) return ObjectState::kApplying;
    if (SimplyReady(*endpoint)) return ObjectState::kReady;
  }
  return MakeStatus(RefOf(stored.object)).state;
}

const Endpoint* Engine::EndpointOfRule(const RuleLocation& at) const {
  return AsEndpoint(world_.FindByOrdinal(OwnerOf(PlaceOf(at))));
}

bool Engine::Claimed(const RuleLocation& at) const {
  const Observed::Rule* seen = observed_.FindRule(at);
  return (seen != nullptr && seen->claimed) || claimant_.contains(FlowRuleKey(at));
}

}  // namespace fairlead
