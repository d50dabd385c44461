// SPDX-License-Identifier: Apache-2.0
//
// What the engine learns: scopes are asked for one at a time, an answer replaces
// what was known of its scope, and whoever claims a changed key looks again.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

// As often a NIC may fail for a moment before it counts as one that fails.
constexpr int kTransientFailures = 10;

// The first of the VFs that could not be looked at, "" = none.
std::string UnreadableVf(const PfFacts& pf) {
  const auto vf = std::find_if(pf.vfs.begin(), pf.vfs.end(),
                               [](const VfFacts& one) { return !one.unreadable.empty(); });
  return vf == pf.vfs.end()
             ? ""
             : absl::StrCat("VF ", vf->index, " cannot be observed: ", vf->unreadable);
}

bool SameEvidence(const ObservedResource& a, const ObservedResource& b) {
  return a.spec == b.spec && a.ours == b.ours && a.neighbour == b.neighbour &&
         a.neighbour_detail == b.neighbour_detail && a.ifindex == b.ifindex;
}

bool SameRule(const RuleEvidence& before, const RuleEvidence& now) {
  const bool counted = now.in_hw_count != RuleEvidence::kNotCounted;
  return before.ours == now.ours && before.hardware == now.hardware &&
         before.content_hash == now.content_hash && before.mark == now.mark &&
         (!counted || before.in_hw_count == now.in_hw_count);
}

}  // namespace

bool Engine::AsKnown(const ResourceKey& key,
                     const std::optional<ObservedResource>& observed) const {
  const ObservedResource* known = observed_.Find(key);
  if (!observed) return known == nullptr;
  return known != nullptr && SameEvidence(*known, *observed);
}

void Engine::Saw(const ResourceKey& key, std::optional<ObservedResource> observed) {
  if (AsKnown(key, observed)) return;
  NoteDrift(key, observed);
  SetObserved(key, std::move(observed));
}

void Engine::SetObserved(const ResourceKey& key, std::optional<ObservedResource> observed) {
  if (key.kind == ResourceKind::kFlowRule) {
    if (!observed) return TakeRule(key.rule, nullptr, "", /*saw=*/false);
    const RuleEvidence now = RuleEvidenceOf(*observed);
    return TakeRule(key.rule, &now, observed->owner_words, /*saw=*/false);
  }
  if (AsKnown(key, observed)) return;
  const bool was_there = observed_.Contains(key);
  if (observed) {
    observed_.Set(key, std::move(*observed));
  } else {
    observed_.Erase(key);
  }
  const auto claimant = claimant_.find(key);
  if (claimant != claimant_.end()) MarkDirty(UnitRef(claimant->second));
  if (key.kind == ResourceKind::kDriverBinding) {
    TakeDriver(key);
  } else if (key.kind == ResourceKind::kRepresentor) {
    RepresentorChanged(key);
  } else if (key.kind == ResourceKind::kTunnel) {
    TunnelChanged();
  } else if (key.kind == ResourceKind::kUplink) {
    const absl::StatusOr<NicId> pf = NicId::Parse(key.name);
    if (pf.ok()) UplinkChanged(*pf, was_there);
  } else if (key.kind == ResourceKind::kNeighbour) {
    const absl::StatusOr<IpAddress> outer = IpAddress::Parse(key.name);
    if (!outer.ok()) return;
    std::set<std::string> subnets;
    for (const StoredObject* stored : world_.EndpointsOfVtep(*outer)) {
      Announce(RefOf(stored->object));
      AnnounceRoutesBy(std::get<Endpoint>(stored->object));
      subnets.insert(std::get<Endpoint>(stored->object).subnet);
    }
    for (const std::string& subnet : subnets) AnnouncePortsOf(subnet);
  }
}

void Engine::TakeRule(const RuleLocation& at, const RuleEvidence* now, const std::string& foreign,
                      bool saw) {
  const Observed::Rule* before = observed_.FindRule(at);
  if (now == nullptr ? before == nullptr : before != nullptr && SameRule(*before, *now)) return;
  const bool hardware_changed =
      before != nullptr && now != nullptr && before->hardware != now->hardware;
  const Endpoint* endpoint = EndpointOfRule(at);
  const bool rests = before != nullptr && before->claimed && endpoint != nullptr;
  if (rests && now != nullptr && now->ours && now->content_hash == before->content_hash) {
    observed_.SetRule(at, *now);
    if (!hardware_changed) return;
    Announce({ObjectKind::kEndpoint, endpoint->id}, /*anyway=*/true);
    return AnnouncePortsOf(endpoint->subnet);
  }
  if (rests) WakeEndpoint(*world_.FindByOrdinal(OwnerOf(PlaceOf(at))));
  const ResourceKey key = FlowRuleKey(at);
  if (saw && before != nullptr) {
    NoteDrift(key, now == nullptr ? std::nullopt : std::optional(RuleResource(at, *now, foreign)));
  }
  if (now != nullptr) {
    observed_.SetRule(at, *now, foreign);
  } else {
    observed_.EraseRule(at);
  }
  const auto claimant = claimant_.find(key);
  if (claimant == claimant_.end()) return;
  MarkDirty(UnitRef(claimant->second));
  if (hardware_changed && endpoint != nullptr) AnnouncePortsOf(endpoint->subnet);
}

void Engine::RepresentorChanged(const ResourceKey& key) {
  const absl::StatusOr<VfId> vf = VfId::Parse(key.name);
  const auto attached = vf.ok() ? attachments_.find(*vf) : attachments_.end();
  if (attached == attachments_.end()) return;
  const Attachment& attachment = attached->second;
  UpdateBound(attachment.port);
  // The kernel takes a shared block and its rules away with its last user.
  if (const auto block = attachment.block(); block && !BlockInUse(*block)) {
    Scope& scope = table_scope_[*block];
    scope.stale = scope.in_flight;
    ForgetTable(*block);
    MarkVpcNetwork(std::string(attachment.vpc));
  }
}

// Rules go with the qdisc, or the netdev, that they hang on.
void Engine::UplinkChanged(const NicId& pf, bool was_there) {
  const RuleTable table = UplinkTable(pf);
  if (was_there && table_scope_.contains(table)) DistrustTable(table);
  for (const auto& [vf, attachment] : attachments_) {
    if (!attachment.uplink || vf.pf != pf) continue;
    MarkDirty({UnitKind::kPort, attachment.port});
    MarkVpcNetwork(std::string(attachment.vpc));
  }
}

// The facts of a VF say what drives it, as the binding does.
void Engine::TakeDriver(const ResourceKey& binding) {
  const ObservedResource* seen = observed_.Find(binding);
  for (auto& [mac, pf] : facts_.pfs) {
    for (VfFacts& vf : pf.vfs) {
      if (DriverBindingKey({mac, vf.index}) != binding) continue;
      vf.driver = seen == nullptr ? "" : std::get<DriverBindingSpec>(seen->spec).driver;
      return;
    }
  }
}

// What is compiled from the ports of a VPC is compiled from all of them: after a
// restart one NIC answers before another, and its rules must not lose the rest.
std::string Engine::UnobservedNicOf(const std::string& vpc) const {
  const auto leases = leases_of_vpc_.find(vpc);
  if (leases == leases_of_vpc_.end()) return "";
  for (const VfId& vf : leases->second) {
    const Attachment& attachment = attachments_.at(vf);
    if (!attachment.block()) continue;  // no rule names it
    const auto scope = pf_scope_.find(vf.pf);
    if (scope != pf_scope_.end() && !scope->second.known) {
      return absl::StrCat("the NIC ", vf.pf.ToString(), " of port ", attachment.port,
                          " is being observed",
                          scope->second.error.ok()
                              ? ""
                              : absl::StrCat(": ", std::string(scope->second.error.message())));
    }
  }
  return "";
}

void Engine::ObservePf(const NicId& pf) {
  Scope& scope = pf_scope_[pf];
  if (scope.in_flight) {
    scope.again = true;
    return;
  }
  scope.in_flight = true;
  executor_->ObservePf(
      pf, [this, alive = std::weak_ptr<bool>(alive_), pf](absl::StatusOr<PfObservation> result) {
        if (!alive.expired()) OnPfObserved(pf, std::move(result));
      });
}

void Engine::OnPfObserved(const NicId& pf, absl::StatusOr<PfObservation> result) {
  Scope& scope = pf_scope_[pf];
  const bool first = !scope.known;
  scope.in_flight = scope.hangs = false;
  if (std::exchange(scope.stale, false)) {
    scope.again = false;
    return ObservePf(pf);
  }
  const std::string unreadable = result.ok() ? UnreadableVf(result->facts) : "";
  absl::Status error = unreadable.empty() ? result.status() : absl::UnavailableError(unreadable);
  scope.failures = error.ok() ? 0 : scope.failures + 1;
  // An answer that will be another one in a moment is none: rules must not be
  // compiled as if the NIC's ports were not there.
  const bool known =
      scope.known || error.ok() || !IsTransient(error) || scope.failures >= kTransientFailures;
  if (known && result.ok()) error = absl::OkStatus();  // that of a VF is its port's alone
  const bool as_before = scope.known && scope.error.ok() == error.ok();
  scope.known = known;
  scope.error = error;
  if (result.ok()) {
    const auto old = facts_.pfs.find(pf);
    for (VfFacts& vf : result->facts.vfs) {
      const VfFacts* before = facts_.FindVf({pf, vf.index});
      if (vf.unreadable.empty() || before == nullptr) continue;
      std::string why = std::move(vf.unreadable);
      vf = *before;
      vf.unreadable = std::move(why);
    }
    const bool changed = old == facts_.pfs.end() || !(old->second == result->facts);
    // VFs that vanished take what was known of them along.
    if (old != facts_.pfs.end()) {
      for (const VfFacts& vf : old->second.vfs) {
        const auto same = [&vf](const VfFacts& now) { return now.index == vf.index; };
        if (std::any_of(result->facts.vfs.begin(), result->facts.vfs.end(), same)) continue;
        Saw(RepresentorKey({pf, vf.index}), std::nullopt);
        Saw(DriverBindingKey({pf, vf.index}), std::nullopt);
      }
    }
    facts_.pfs[pf] = result->facts;
    for (const ObservedResource& resource : result->resources) {
      if (resource.key == VfPoolKey(pf) || resource.key == PfKey(pf)) {
        Saw(resource.key, resource);
      }
    }
    if (!pf.is_hotplug_port()) TakeUplink(pf, result->resources);
    for (const VfFacts& vf : result->facts.vfs) {
      if (vf.unreadable.empty()) TakeVf({pf, vf.index}, vf, result->resources);
    }
    if (pf.is_hotplug_port()) OnHotplugPortObserved(pf);
    if (changed) {
      WakeFailedPorts();
      for (const auto& [vf, attachment] : attachments_) {
        if (vf.pf != pf) continue;
        MarkDirty({UnitKind::kPort, attachment.port});
        MarkRoutesBy(attachment.port);
      }
    }
  }
  if (!result.ok()) {
    // Ports that stand there stay; no other is given to it.
    if (const auto it = facts_.pfs.find(pf); it != facts_.pfs.end()) {
      it->second.refused = std::string(result.status().message());
    }
  }
  if (scope.failures > 0) {
    // A PF whose driver comes late, or whose VFs are just changing.
    if (!std::exchange(scope.retry_due, true)) {
      executor_->After(BackOff(pf.ToString(), scope.failures - 1),
                       [this, alive = std::weak_ptr<bool>(alive_), pf] {
                         if (alive.expired()) return;
                         pf_scope_[pf].retry_due = false;
                         if (pf_scope_[pf].failures > 0) ObservePf(pf);
                       });
    }
  }
  if (!as_before) {
    for (const auto& [vf, attachment] : attachments_) {
      if (vf.pf != pf) continue;
      MarkDirty({UnitKind::kPort, attachment.port});
      MarkRoutesBy(attachment.port);
      if (first && scope.known) MarkVpcNetwork(std::string(attachment.vpc));
    }
  }
  MarkHost();
  WakeWaitingPorts();
  if (std::exchange(scope.again, false)) ObservePf(pf);
}

void Engine::TakeUplink(const NicId& pf, const std::vector<ObservedResource>& resources) {
  const ResourceKey key = UplinkKey(pf);
  const auto seen = std::find_if(resources.begin(), resources.end(),
                                 [&](const ObservedResource& r) { return r.key == key; });
  const bool there = seen != resources.end();
  if (there && std::get<UplinkSpec>(seen->spec).made == true) {
    // Also one that an earlier run had no time to take away.
    const UnitRef unit{UnitKind::kUplink, pf.ToString()};
    claimant_[key] = unit;
    UnitOf(unit).keys.insert(key);
    const RuleTable table = UplinkTable(pf);
    if (!table_scope_.contains(table)) ObserveTable(table);
  }
  Saw(key, there ? std::optional(*seen) : std::nullopt);
}

void Engine::TakeVf(const VfId& vf, const VfFacts& facts,
                    const std::vector<ObservedResource>& resources) {
  if (const auto pf = facts_.pfs.find(vf.pf); pf != facts_.pfs.end()) {
    for (VfFacts& known : pf->second.vfs) {
      if (known.index == vf.index) known = facts;
    }
    if (vf.pf.is_hotplug_port() && facts.gone) {
      std::erase_if(pf->second.vfs, [&](const VfFacts& known) { return known.index == vf.index; });
    }
  }
  const auto representor =
      std::find_if(resources.begin(), resources.end(),
                   [&](const ObservedResource& r) { return r.key == RepresentorKey(vf); });
  const auto it = attachments_.find(vf);
  const bool none = representor == resources.end() || it != attachments_.end();
  NoteForeign(vf, none ? nullptr : &*representor);
  if (it == attachments_.end()) return;  // not ours: nothing of it is to be compared
  if (vf.pf.is_hotplug_port() && facts.gone) LoseFunction(it->second);
  for (const ResourceKey& key : {RepresentorKey(vf), DriverBindingKey(vf)}) {
    const auto seen = std::find_if(resources.begin(), resources.end(),
                                   [&](const ObservedResource& r) { return r.key == key; });
    Saw(key, seen == resources.end() ? std::nullopt : std::optional<ObservedResource>(*seen));
  }
  if (const ObservedResource* known = observed_.Find(VfKey(vf))) {
    ObservedResource updated = *known;
    std::get<VfSpec>(updated.spec) = SpecAsSeen(it->second, facts);
    Saw(VfKey(vf), updated);
  }
  UpdateBound(it->second.port);
}

void Engine::RefreshVf(const VfId& vf, const UnitRef& waiting, bool verify) {
  Unit& asking = UnitOf(waiting);
  asking.refresh = false;
  asking.refreshing = true;
  executor_->ObserveVf(vf, [this, alive = std::weak_ptr<bool>(alive_), vf, waiting,
                            verify](absl::StatusOr<VfObservation> result) {
    if (alive.expired()) return;
    Unit* unit = FindUnit(waiting);
    const Attachment* attachment = AttachmentOf(waiting.id);
    if (attachment != nullptr && attachment->vf != vf) unit = nullptr;  // it went to another
    if (unit != nullptr) unit->refreshing = false;
    if (result.ok()) {
      TakeVf(vf, result->facts, result->resources);
      if (unit != nullptr) {
        unit->verified = verify;
        unit->giving_back.counters = result->counters;
        MarkDirty(waiting);
      }
    } else if (unit != nullptr) {
      unit->refresh = true;
      unit->waits_for = std::string(result.status().message());
      RetryLater(*unit);
    }
  });
}

std::set<VfId> Engine::LeasedVfs() const {
  std::set<VfId> leased;
  for (const auto& [vf, attachment] : attachments_) leased.insert(vf);
  return leased;
}

void Engine::OnPfChanged(const NicId& pf) {
  if (pf_scope_.contains(pf)) ObservePf(pf);
}

// What the agent binds itself is looked at by whoever asked for it.
void Engine::OnDriverChanged(const PciAddress& function) {
  for (const auto& [vf, attachment] : attachments_) {
    const VfFacts* facts = facts_.FindVf(vf);
    if (facts == nullptr || facts->pci != function) continue;
    Unit* unit = FindUnit({UnitKind::kPort, attachment.port});
    if (unit != nullptr && !unit->in_flight && !unit->refreshing) RefreshVf(vf, unit->ref);
  }
}

// The first look at a NIC may have passed what changed.
void Engine::OnUnknownNicChanged() {
  for (auto& [pf, scope] : pf_scope_) {
    if (scope.in_flight && !facts_.pfs.contains(pf)) scope.again = true;
  }
}

void Engine::OnPfHung(const NicId& pf) {
  Scope& scope = pf_scope_[pf];
  scope.hangs = true;
  const std::string why = absl::StrCat("the NIC ", pf.ToString(), " does not answer");
  // No other port is given to it until it was observed again.
  if (const auto it = facts_.pfs.find(pf); it != facts_.pfs.end()) it->second.refused = why;
  for (const auto& [vf, attachment] : attachments_) {
    if (vf.pf == pf) MarkDirty({UnitKind::kPort, attachment.port});
  }
  if (scope.known) return;  // its ports say themselves what they wait for
  scope.known = true;
  scope.error = absl::DeadlineExceededError(why);
  for (const auto& [vf, attachment] : attachments_) {
    if (attachment.vpc.empty() || vf.pf == pf) continue;
    MarkVpcNetwork(std::string(attachment.vpc));  // it waited for this NIC too
  }
  MarkHost();
  WakeWaitingPorts();
}

void Engine::OnLinkChanged(uint32_t ifindex, const std::string& name) {
  if (name == config_.compile.tunnel.device ||
      (facts_.tunnel && facts_.tunnel->ifindex == ifindex)) {
    ObserveTunnel();
    return;
  }
  const auto& underlay = facts_.underlay.links;
  if (std::find(underlay.begin(), underlay.end(), ifindex) != underlay.end()) ObserveTunnel();
  for (const auto& [mac, pf] : facts_.pfs) {
    if (pf.ifindex == ifindex || (!name.empty() && pf.netdev == name)) {
      ObservePf(mac);
      return;
    }
    for (const VfFacts& vf : pf.vfs) {
      if (vf.representor_ifindex == ifindex ||
          (!name.empty() && (vf.representor == name || vf.netdev == name))) {
        ObservePf(mac);
        return;
      }
    }
  }
  OnUnknownNicChanged();
  // One that nobody knows yet may be the representor that devlink will name.
  for (const auto& [mac, pf] : facts_.pfs) {
    const bool waits = std::any_of(pf.vfs.begin(), pf.vfs.end(), [](const VfFacts& vf) {
      return vf.representor.empty() && vf.representor_ifindex == 0;
    });
    const bool legacy = pf.eswitch.mode.value_or(EswitchMode::kLegacy) == EswitchMode::kLegacy;
    if (!legacy && waits) ObservePf(mac);
  }
}

void Engine::Audit() {
  orphans_pending_ = true;
  // Not every cure is a fact that the engine sees (a module that is loaded, a
  // qdisc that is removed): what failed for good is tried once more.
  shunned_.clear();
  for (const std::string& port : failed_ports_) {
    Unit& unit = UnitOf({UnitKind::kPort, port});
    if (clock_->Now() - unit.failed_at < config_.audit_every) continue;
    unit.failed_generation = 0;
    MarkDirty({UnitKind::kPort, port});
  }
  ObserveLinks();
  ObserveTables();
  for (const auto& [vm, leases] : leases_of_vm_) ObserveVm(vm);
}

void Engine::ObserveNics() {
  for (const NicId& pf : config_.pfs) {
    if (!pf.is_hotplug_port()) ObservePf(pf);
  }
}

void Engine::ObserveHotplugPorts() {
  for (const NicId& pf : config_.pfs) {
    if (pf.is_hotplug_port()) ObservePf(pf);
  }
}

void Engine::ObserveTables() {
  std::set<RuleTable> tables = {kTunnelTable};
  for (const auto& [block, leases] : leases_of_block_) {
    for (const RuleTable& table : TablesOf(block)) tables.insert(table);
  }
  for (const RuleTable& table : tables) ObserveTable(table);
}

// A function at a hot-plug port has a netdev too.
void Engine::ObserveLinks() {
  ObserveNics();
  ObserveHotplugPorts();
  ObserveTunnel();
  ObserveNeighbours();
}

// The qdisc and the drop of the tunnel and of each representor are told of like any rule.
void Engine::ObserveRules() {
  ObserveTunnel();
  std::set<NicId> pfs;
  for (const auto& [block, leases] : leases_of_block_) {
    for (const VfId& vf : leases) pfs.insert(vf.pf);
  }
  for (const NicId& pf : pfs) OnPfChanged(pf);
  ObserveTables();
}

void Engine::ScheduleAudit() {
  executor_->After(config_.audit_every, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    Audit();
    ScheduleAudit();
  });
}

}  // namespace fairlead
