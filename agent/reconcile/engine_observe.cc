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

constexpr std::chrono::milliseconds kObserveAgain{2000};
constexpr RuleTable kTunnelTable{RuleTable::Kind::kTunnelIngress, {}};

// The part of a rule's key name that all rules of its table share.
std::string TablePrefix(const RuleTable& table) {
  const std::string name = RuleLocation{table, 0, 0, 0}.ToString();
  return name.substr(0, name.find('/') + 1);
}

bool SameEvidence(const ObservedResource& a, const ObservedResource& b) {
  return a.spec == b.spec && a.ours == b.ours && a.hardware == b.hardware &&
         a.in_hw_count == b.in_hw_count && a.content_hash == b.content_hash &&
         a.neighbour == b.neighbour && a.neighbour_detail == b.neighbour_detail &&
         a.ifindex == b.ifindex;
}

}  // namespace

void Engine::SetObserved(const ResourceKey& key, std::optional<ObservedResource> observed) {
  const auto it = observed_.find(key);
  if (observed ? (it != observed_.end() && SameEvidence(it->second, *observed))
               : it == observed_.end()) {
    return;
  }
  if (observed) {
    observed_[key] = std::move(*observed);
  } else {
    observed_.erase(it);
  }
  const auto claimant = claimant_.find(key);
  if (claimant != claimant_.end()) MarkDirty(UnitRef(claimant->second));
  if (key.kind == ResourceKind::kRepresentor) {
    for (const auto& [vf, attachment] : attachments_) {
      if (RepresentorKey(vf) == key) {
        UpdateBound(attachment.port);
        // The kernel takes a shared block and its rules away with its last user.
        if (!BlockInUse(attachment.vni)) {
          const RuleTable table{RuleTable::Kind::kVpcBlock, attachment.vni};
          Scope& scope = table_scope_[table];
          scope.stale = scope.in_flight;
          TakeTable(table, {});
          MarkVpcNetwork(std::string(attachment.vpc));
        }
        break;
      }
    }
  } else if (key.kind == ResourceKind::kTunnel) {
    TunnelChanged();
  } else if (key.kind == ResourceKind::kNeighbour) {
    const absl::StatusOr<IpAddress> outer = IpAddress::Parse(key.name);
    if (!outer.ok()) return;
    std::set<std::string> subnets;
    for (const std::string& id : world_.EndpointsOfVtep(*outer)) {
      Announce({ObjectKind::kEndpoint, id});
      subnets.insert(world_.FindEndpoint(id)->subnet);
    }
    for (const std::string& subnet : subnets) {
      const auto ports = bound_of_subnet_.find(subnet);
      if (ports == bound_of_subnet_.end()) continue;
      for (const std::string& port : ports->second) Announce({ObjectKind::kPort, port});
    }
  }
}

bool Engine::BlockInUse(Vni vni) const {
  return std::any_of(attachments_.begin(), attachments_.end(), [&](const auto& entry) {
    if (entry.second.vni != vni) return false;
    const auto it = observed_.find(RepresentorKey(entry.first));
    return it != observed_.end() && std::get<RepresentorSpec>(it->second.spec).vni == vni;
  });
}

bool Engine::TablesKnown(Vni vni) const {
  for (const RuleTable& table : {RuleTable{RuleTable::Kind::kVpcBlock, vni}, kTunnelTable}) {
    const auto scope = table_scope_.find(table);
    if (scope == table_scope_.end() || !scope->second.known) return false;
  }
  return true;
}

// What is compiled from the ports of a VPC is compiled from all of them: after a
// restart one NIC answers before another, and its rules must not lose the rest.
std::string Engine::UnobservedNicOf(const std::string& vpc) const {
  for (const auto& [vf, attachment] : attachments_) {
    if (attachment.vpc != vpc) continue;
    const auto scope = pf_scope_.find(vf.pf);
    if (scope != pf_scope_.end() && !scope->second.known) {
      return absl::StrCat("the NIC ", vf.pf.ToString(), " of port ", attachment.port,
                          " is being observed");
    }
  }
  return "";
}

bool Engine::LeadsToChain(Vni vni, uint32_t chain) const {
  const std::string prefix = TablePrefix({RuleTable::Kind::kVpcBlock, vni});
  for (auto it = observed_.lower_bound({ResourceKind::kFlowRule, prefix});
       it != observed_.end() && it->first.kind == ResourceKind::kFlowRule &&
       it->first.name.starts_with(prefix);
       ++it) {
    const RuleLocation& at = std::get<FlowRuleSpec>(it->second.spec).rule.location;
    if (!it->second.ours || at.chain != 0 || at.priority == kPrioDefaultDrop) continue;
    // What a rule does shows in its hash alone: one that is not as wanted may lead
    // anywhere.
    const auto wanted = wanted_.find(it->first);
    if (wanted == wanted_.end()) return true;
    const FlowRule& rule = std::get<FlowRuleSpec>(wanted->second.spec).rule;
    if (rule.ContentHash() != it->second.content_hash) return true;
    for (const RuleAction& action : rule.actions) {
      const auto* jump = std::get_if<ActionGotoChain>(&action);
      if (jump != nullptr && jump->chain == chain) return true;
    }
  }
  return false;
}

// A bound port: its representor stands in its VPC's block, and it is not being
// taken apart.
void Engine::UpdateBound(const std::string& port) {
  std::optional<BoundPort> now;
  std::string vpc;
  const Attachment* attachment = AttachmentOf(port);
  const StoredObject* object = world_.Find({ObjectKind::kPort, port});
  if (attachment != nullptr && object != nullptr && !Outdated(*object, *attachment) &&
      (attachment->phase == AttachmentPhase::kApplying ||
       attachment->phase == AttachmentPhase::kReady)) {
    const auto it = observed_.find(RepresentorKey(attachment->vf));
    if (it != observed_.end() && it->second.ours &&
        std::get<RepresentorSpec>(it->second.spec).vni == attachment->vni) {
      absl::StatusOr<BoundPort> bound = BindPort(*object, *attachment, facts_);
      if (bound.ok()) now = *std::move(bound);
    }
  }
  const auto old = bound_.find(port);
  if (now ? (old != bound_.end() && old->second == *now) : old == bound_.end()) return;

  std::set<std::string> subnets;
  if (old != bound_.end()) {
    subnets.insert(old->second.subnet);
    bound_of_subnet_[old->second.subnet].erase(port);
    for (auto& [id, ports] : bound_of_vpc_) {
      if (ports.erase(port) > 0) vpc = id;
    }
    bound_.erase(old);
  }
  if (now) {
    vpc = attachment->vpc;
    subnets.insert(now->subnet);
    bound_of_subnet_[now->subnet].insert(port);
    bound_of_vpc_[vpc].insert(port);
    bound_[port] = *std::move(now);
  }
  MarkDirty({UnitKind::kPort, port});
  for (const std::string& subnet : subnets) {
    if (world_.FindSubnet(subnet) != nullptr) MarkDirty({UnitKind::kSubnet, subnet});
    for (const std::string& peer : bound_of_subnet_[subnet]) MarkDirty({UnitKind::kPort, peer});
  }
  // The first port of a VPC brings its network here, the last one takes it away.
  if (bound_of_vpc_[vpc].size() <= 1) MarkVpcNetwork(vpc);
}

void Engine::ObservePf(const MacAddress& pf) {
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

void Engine::OnPfObserved(const MacAddress& pf, absl::StatusOr<PfObservation> result) {
  Scope& scope = pf_scope_[pf];
  const bool first = !scope.known;
  const bool as_before = scope.known && scope.error.ok() == result.ok();
  scope.in_flight = false;
  scope.known = true;
  scope.error = result.status();
  if (result.ok()) {
    const auto old = facts_.pfs.find(pf);
    const bool changed = old == facts_.pfs.end() || !(old->second == result->facts);
    // VFs that vanished take what was known of them along.
    if (old != facts_.pfs.end()) {
      for (const VfFacts& vf : old->second.vfs) {
        if (vf.index < result->facts.num_vfs) continue;
        SetObserved(RepresentorKey({pf, vf.index}), std::nullopt);
        SetObserved(DriverBindingKey({pf, vf.index}), std::nullopt);
      }
    }
    facts_.pfs[pf] = result->facts;
    for (const ObservedResource& resource : result->resources) {
      if (resource.key == VfPoolKey(pf)) SetObserved(resource.key, resource);
    }
    for (const VfFacts& vf : result->facts.vfs) {
      TakeVf({pf, vf.index}, vf, result->resources);
    }
    if (changed) {
      WakeFailedPorts();
      for (const auto& [vf, attachment] : attachments_) {
        if (vf.pf == pf) MarkDirty({UnitKind::kPort, attachment.port});
      }
    }
  }
  if (!result.ok()) {
    // Ports that stand there stay; no other is given to it.
    if (const auto it = facts_.pfs.find(pf); it != facts_.pfs.end()) {
      it->second.refused = std::string(result.status().message());
    }
    // A PF whose driver comes late, or whose VFs are just changing.
    executor_->After(kObserveAgain, [this, alive = std::weak_ptr<bool>(alive_), pf] {
      if (!alive.expired() && !pf_scope_[pf].error.ok()) ObservePf(pf);
    });
  }
  if (!as_before) {
    for (const auto& [vf, attachment] : attachments_) {
      if (vf.pf != pf) continue;
      MarkDirty({UnitKind::kPort, attachment.port});
      if (first) MarkVpcNetwork(std::string(attachment.vpc));
    }
  }
  MarkHost();
  WakeWaitingPorts();
  if (std::exchange(scope.again, false)) ObservePf(pf);
}

void Engine::TakeVf(const VfId& vf, const VfFacts& facts,
                    const std::vector<ObservedResource>& resources) {
  if (const auto pf = facts_.pfs.find(vf.pf); pf != facts_.pfs.end()) {
    for (VfFacts& known : pf->second.vfs) {
      if (known.index == vf.index) known = facts;
    }
  }
  const auto it = attachments_.find(vf);
  if (it == attachments_.end()) return;  // not ours: nothing of it is to be compared
  for (const ResourceKey& key : {RepresentorKey(vf), DriverBindingKey(vf)}) {
    const auto seen = std::find_if(resources.begin(), resources.end(),
                                   [&](const ObservedResource& r) { return r.key == key; });
    SetObserved(key,
                seen == resources.end() ? std::nullopt : std::optional<ObservedResource>(*seen));
  }
  if (const auto known = observed_.find(VfKey(vf)); known != observed_.end()) {
    ObservedResource updated = known->second;
    std::get<VfSpec>(updated.spec).mac = facts.mac;
    SetObserved(VfKey(vf), updated);
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
    if (unit != nullptr) unit->refreshing = false;
    if (result.ok()) {
      TakeVf(vf, result->facts, result->resources);
      if (unit != nullptr) {
        unit->verified = verify;
        MarkDirty(waiting);
      }
    } else if (unit != nullptr) {
      unit->refresh = true;
      unit->waits_for = std::string(result.status().message());
      RetryLater(*unit);
    }
  });
}

void Engine::ObserveTunnel() {
  if (tunnel_scope_.in_flight) {
    tunnel_scope_.again = true;
    return;
  }
  tunnel_scope_.in_flight = true;
  executor_->ObserveTunnel([this, alive = std::weak_ptr<bool>(alive_)](
                               absl::StatusOr<std::optional<ObservedResource>> result) {
    if (alive.expired()) return;
    tunnel_scope_.in_flight = false;
    tunnel_scope_.error = result.status();
    if (result.ok()) {
      tunnel_scope_.known = true;
      SetObserved(TunnelKey(), *std::move(result));
    } else {
      executor_->After(kObserveAgain, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) ObserveTunnel();
      });
    }
    MarkHost();
    if (std::exchange(tunnel_scope_.again, false)) ObserveTunnel();
  });
}

void Engine::TunnelChanged() {
  const auto it = observed_.find(TunnelKey());
  std::optional<TunnelFacts> now;
  if (it != observed_.end() && it->second.ours) {
    const auto& spec = std::get<TunnelSpec>(it->second.spec);
    now = TunnelFacts{spec.device, it->second.ifindex, spec.local, spec.udp_port, spec.mtu};
  }
  if (now == facts_.tunnel) return;
  // Rules go with their device. (The first observation is no change of device.)
  const bool another_device = facts_.tunnel && (!now || now->ifindex != facts_.tunnel->ifindex);
  facts_.tunnel = now;
  if (another_device && table_scope_[kTunnelTable].known) TakeTable(kTunnelTable, {});
  for (const auto& [vpc, ports] : bound_of_vpc_) MarkVpcNetwork(vpc);
  for (const auto& [vf, attachment] : attachments_) MarkDirty({UnitKind::kPort, attachment.port});
}

void Engine::ObserveTable(const RuleTable& table) {
  Scope& scope = table_scope_[table];
  if (scope.in_flight) {
    scope.again = true;
    return;
  }
  scope.in_flight = true;
  executor_->ObserveTable(table, [this, alive = std::weak_ptr<bool>(alive_),
                                  table](absl::StatusOr<std::vector<ObservedResource>> result) {
    if (alive.expired()) return;
    Scope& scope = table_scope_[table];
    scope.in_flight = false;
    if (std::exchange(scope.stale, false)) {
      scope.again = false;
      ObserveTable(table);
      return;
    }
    scope.error = result.status();
    if (result.ok()) {
      const bool first = !scope.known;
      scope.known = true;
      // A dump that was overtaken by the end of its block; only where it is known
      // which representors stand.
      const bool known = std::all_of(config_.pfs.begin(), config_.pfs.end(),
                                     [this](const auto& pf) { return pf_scope_[pf].known; });
      if (table.kind == RuleTable::Kind::kVpcBlock && known && !BlockInUse(table.vni)) {
        result->clear();
      }
      TakeTable(table, *result);
      orphans_pending_ = true;
      if (first) {
        for (const auto& [vpc, ports] : bound_of_vpc_) MarkVpcNetwork(vpc);
        WakeWaitingPorts();
      }
      SchedulePump();
    } else {
      // A dump that was torn is asked for again.
      executor_->After(config_.retry_first, [this, alive = std::weak_ptr<bool>(alive_), table] {
        if (!alive.expired()) ObserveTable(table);
      });
    }
    if (std::exchange(scope.again, false)) ObserveTable(table);
  });
}

void Engine::TakeTable(const RuleTable& table, const std::vector<ObservedResource>& rules) {
  std::map<ResourceKey, const ObservedResource*> now;
  for (const ObservedResource& rule : rules) now[rule.key] = &rule;
  const std::string prefix = TablePrefix(table);
  std::vector<ResourceKey> gone;
  for (auto it = observed_.lower_bound({ResourceKind::kFlowRule, prefix});
       it != observed_.end() && it->first.kind == ResourceKind::kFlowRule &&
       it->first.name.starts_with(prefix);
       ++it) {
    if (!now.contains(it->first)) gone.push_back(it->first);
  }
  for (const ResourceKey& key : gone) SetObserved(key, std::nullopt);
  for (const auto& [key, rule] : now) SetObserved(key, *rule);
}

void Engine::ObserveNeighbours() {
  if (neighbour_scope_.in_flight) {
    neighbour_scope_.again = true;
    return;
  }
  neighbour_scope_.in_flight = true;
  std::vector<IpAddress> outer;
  for (const auto& [ref, unit] : units_) {
    if (ref.kind != UnitKind::kVtep) continue;
    if (absl::StatusOr<IpAddress> address = IpAddress::Parse(ref.id); address.ok()) {
      outer.push_back(*address);
    }
  }
  executor_->ObserveNeighbours(
      std::move(outer), [this, alive = std::weak_ptr<bool>(alive_)](
                            absl::StatusOr<std::vector<ObservedResource>> result) {
        if (alive.expired()) return;
        neighbour_scope_.in_flight = false;
        neighbour_scope_.error = result.status();
        if (result.ok()) {
          std::set<ResourceKey> present;
          for (const ObservedResource& neighbour : *result) {
            present.insert(neighbour.key);
            SetObserved(neighbour.key, neighbour);
          }
          std::vector<ResourceKey> gone;
          for (const auto& [key, observed] : observed_) {
            if (key.kind == ResourceKind::kNeighbour && !present.contains(key)) {
              gone.push_back(key);
            }
          }
          for (const ResourceKey& key : gone) SetObserved(key, std::nullopt);
          if (!std::exchange(neighbour_scope_.known, true)) {
            for (const auto& [ref, unit] : units_) {
              if (ref.kind == UnitKind::kVtep) MarkDirty(UnitRef(ref));
            }
          }
          orphans_pending_ = true;
          SchedulePump();
        } else {
          executor_->After(kObserveAgain, [this, alive = std::weak_ptr<bool>(alive_)] {
            if (!alive.expired()) ObserveNeighbours();
          });
        }
        if (std::exchange(neighbour_scope_.again, false)) ObserveNeighbours();
      });
}

std::set<VfId> Engine::LeasedVfs() const {
  std::set<VfId> leased;
  for (const auto& [vf, attachment] : attachments_) leased.insert(vf);
  return leased;
}

void Engine::OnPfChanged(const MacAddress& pf) {
  if (pf_scope_.contains(pf)) ObservePf(pf);
}

void Engine::OnPfHung(const MacAddress& pf) {
  Scope& scope = pf_scope_[pf];
  if (scope.known) return;  // its ports say themselves what they wait for
  scope.known = true;
  scope.error =
      absl::DeadlineExceededError(absl::StrCat("the NIC ", pf.ToString(), " does not answer"));
  for (const auto& [vf, attachment] : attachments_) {
    if (attachment.vpc.empty() || vf.pf == pf) continue;
    MarkVpcNetwork(std::string(attachment.vpc));  // it waited for this NIC too
  }
  MarkHost();
  WakeWaitingPorts();
}

void Engine::OnTunnelChanged() { ObserveTunnel(); }

void Engine::OnNeighbourChanged() {
  // The entry that changed may be a gateway of many peers: all are looked at, in
  // one request that further events join.
  if (std::any_of(observed_.lower_bound({ResourceKind::kNeighbour, ""}), observed_.end(),
                  [](const auto& e) { return e.first.kind == ResourceKind::kNeighbour; })) {
    ObserveNeighbours();
  }
}

void Engine::OnTableChanged(const RuleTable& table) {
  if (table_scope_.contains(table)) ObserveTable(table);
}

void Engine::OnLinkChanged(uint32_t ifindex, const std::string& name) {
  if (name == config_.compile.tunnel_device ||
      (facts_.tunnel && facts_.tunnel->ifindex == ifindex)) {
    ObserveTunnel();
    return;
  }
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
}

void Engine::OnBlockChanged(Vni vni) {
  if (!BlockInUse(vni)) return;  // it went with the last representor, as it should
  std::set<MacAddress> pfs;
  for (const auto& [vf, attachment] : attachments_) {
    if (attachment.vni == vni) pfs.insert(vf.pf);
  }
  for (const MacAddress& pf : pfs) ObservePf(pf);
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
  for (const MacAddress& pf : config_.pfs) ObservePf(pf);
  ObserveTunnel();
  ObserveNeighbours();
  ObserveTable(kTunnelTable);
  std::set<Vni> vnis;
  std::set<std::string> vms;
  for (const auto& [vf, attachment] : attachments_) {
    vnis.insert(attachment.vni);
    if (!attachment.vm.empty()) vms.insert(attachment.vm);
  }
  for (const Vni vni : vnis) ObserveTable({RuleTable::Kind::kVpcBlock, vni});
  for (const std::string& vm : vms) ObserveVm(vm);
}

void Engine::ScheduleAudit() {
  executor_->After(config_.audit_every, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    Audit();
    ScheduleAudit();
  });
}

}  // namespace fairlead
