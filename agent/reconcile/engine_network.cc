// SPDX-License-Identifier: Apache-2.0
//
// Every unit but ports: the host, its pools and peers, VPCs, subnets, routes,
// endpoints; and what is left of units that are no more.
#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

// Of them taken away at a time.
constexpr size_t kMostOrphans = 4096;

// A rule that does nothing but drop what nothing else took.
bool EndsInDrop(const Resource& resource) {
  const auto* spec = std::get_if<FlowRuleSpec>(&resource.spec);
  return spec != nullptr && spec->rule.actions.size() == 1 &&
         std::holds_alternative<ActionDrop>(spec->rule.actions[0]);
}

}  // namespace

// Every unit but ports: compile, converge, and keep trying.
void Engine::ReconcileNetwork(Unit& unit) {
  const UnitRef ref = unit.ref;
  if (StandsStill(unit)) {
    SetSettled(unit, true);
    return Announce({ObjectKind::kRoute, ref.id});
  }
  absl::StatusOr<std::vector<Resource>> wanted = CompileNetwork(unit);
  if (!wanted.ok()) {
    unit.waits_for = std::string(wanted.status().message());
    if (absl::IsUnavailable(wanted.status())) return;
    // What an earlier and better version of it made does not stay.
    if (Converge(unit, {}) != Progress::kWorking) UnitFailed(unit, "compile", wanted.status());
    return;
  }
  if (wanted->empty() && unit.keys.empty() &&
      (ref.kind == UnitKind::kVtep || ref.kind == UnitKind::kUplink)) {
    units_.erase(ref);  // nobody's peer any more, or no provider network's
    return;
  }
  const std::string held = HoldEswitch(*wanted);
  switch (Converge(unit, *wanted)) {
    case Progress::kWorking:
      break;
    case Progress::kWaiting:
      WaitForVpc(unit);
      break;
    case Progress::kConflict:
      UnitFailed(unit, "compare", absl::AlreadyExistsError(unit.waits_for));
      break;
    case Progress::kSettled:
      unit.attempts = 0;
      unit.error = absl::OkStatus();
      unit.step.clear();
      unit.waits_for = held;
      SetSettled(unit, true);
      if (KeepsOldEnds(unit, *wanted)) RetryLater(unit);
      if (ref.kind == UnitKind::kVpc) {
        for (const std::string& id : world_.SubnetsOfVpc(ref.id)) {
          const Unit* subnet = FindUnit({UnitKind::kSubnet, id});
          if (subnet != nullptr && !subnet->waits_for.empty()) MarkDirty(subnet->ref);
        }
      }
      WakeJudged(unit);
      break;
  }
  if (OfHost(ref.kind) && !unit.in_flight) WakeWaitingPorts();
  ObjectKind kind;
  switch (ref.kind) {
    case UnitKind::kVpc:
      kind = ObjectKind::kVpc;
      break;
    case UnitKind::kSubnet:
      kind = ObjectKind::kSubnet;
      break;
    case UnitKind::kRoute:
      kind = ObjectKind::kRoute;
      break;
    case UnitKind::kEndpoint:
      kind = ObjectKind::kEndpoint;
      if (MayRest(unit)) {
        RestEndpoint(unit);
        return Announce({kind, ref.id});
      }
      break;
    case UnitKind::kPolicy:
      AnnounceGroups(unit.vpc);
      if (unit.settled && unit.keys.empty() && !IsPolicy(ref)) units_.erase(ref);
      return;
    default:
      return;
  }
  const ObjectRef object{kind, ref.id};
  if (unit.settled && world_.Find(object) == nullptr) {
    if (unit.keys.empty()) {
      units_.erase(ref);
    } else if (!unit.retry_at) {
      RetryLater(unit);  // a drop that is kept until nothing leads there any more
    }
  }
  Announce(object);
}

absl::StatusOr<std::vector<Resource>> Engine::CompileNetwork(const Unit& unit) const {
  if (unit.ref.kind == UnitKind::kOrphans) return std::vector<Resource>{};
  if (unit.ref.kind == UnitKind::kHost || unit.ref.kind == UnitKind::kPool) {
    if (!tunnel_scope_.known) return absl::UnavailableError("the tunnel is being observed");
    // Rules of an adopted store that nobody claims stand on it.
    const ObservedResource* tunnel = observed_.Find(TunnelKey());
    const bool kept = tunnel != nullptr && kept_.contains(tunnel->mark);
    std::vector<Resource> wanted =
        CompileHost(config_.compile, facts_, /*tunnel_wanted=*/kept || AnyLeaseInOverlay());
    // Each pool is a unit of its own: a PF that hangs or fails holds up no other.
    std::erase_if(wanted, [&](const Resource& r) {
      const bool of_nic = r.key.kind == ResourceKind::kVfPool || r.key.kind == ResourceKind::kPf;
      if (!of_nic) return unit.ref.kind == UnitKind::kPool;
      return unit.ref.kind == UnitKind::kHost || r.key.name != unit.ref.id;
    });
    return wanted;
  }
  if (unit.ref.kind == UnitKind::kUplink) {
    const absl::StatusOr<NicId> pf = NicId::Parse(unit.ref.id);
    if (!pf.ok()) return pf.status();
    if (!CarriesProviderNetworks(*pf)) return std::vector<Resource>{};
    const auto nic = pf_scope_.find(*pf);
    if (nic == pf_scope_.end() || !nic->second.known) {
      return absl::UnavailableError("the NIC is being observed");
    }
    Resource uplink;
    uplink.key = UplinkKey(*pf);
    uplink.spec = UplinkSpec{*pf, std::nullopt};
    return std::vector<Resource>{uplink};
  }
  if (unit.ref.kind == UnitKind::kVtep) {
    absl::StatusOr<IpAddress> outer = IpAddress::Parse(unit.ref.id);
    if (!outer.ok()) return outer.status();
    if (*outer == config_.compile.tunnel.local) return std::vector<Resource>{};
    for (const StoredObject* stored : world_.EndpointsOfVtep(*outer)) {
      const auto bound = bound_of_vpc_.find(std::get<Endpoint>(stored->object).vpc);
      if (bound == bound_of_vpc_.end() || bound->second.empty()) continue;
      if (!neighbour_scope_.known) {
        return absl::UnavailableError("the host's neighbours are being observed");
      }
      Resource neighbour;
      neighbour.key = NeighbourKey(*outer);
      neighbour.spec = NeighbourSpec{*outer};
      return std::vector<Resource>{neighbour};
    }
    return std::vector<Resource>{};
  }

  if (unit.ref.kind == UnitKind::kEndpoint) return CompileEndpointUnit(unit);
  if (unit.ref.kind == UnitKind::kRoute) return CompileRouteUnit(unit);
  return CompileShared(unit);
}

bool Engine::CarriesProviderNetworks(const NicId& pf) const {
  const auto on_pf = [&](const auto& block) { return block.first.pf == pf; };
  if (std::any_of(leases_of_block_.begin(), leases_of_block_.end(), on_pf)) return true;
  const Observed::Rules& rules = observed_.TableOf(UplinkTable(pf)).rules;
  return std::any_of(rules.begin(), rules.end(), [](const auto& rule) { return rule.second.ours; });
}

std::vector<Resource> Engine::CompileProvider(const StoredObject& vpc) const {
  std::map<NicId, std::vector<const BoundPort*>> ports;
  for (const std::string& id : bound_of_vpc_.at(std::get<Vpc>(vpc.object).id)) {
    const BoundPort& port = bound_.at(id);
    ports[port.vf.pf].push_back(&port);
  }
  std::vector<Resource> wanted;
  for (const auto& [pf, there] : ports) {
    const auto context = ProviderContextOf(vpc, pf, facts_);
    if (!context) continue;
    std::vector<Resource> of_pf = CompileProviderVpc(*context, there);
    std::move(of_pf.begin(), of_pf.end(), std::back_inserter(wanted));
  }
  return wanted;
}

// What the ports of a VPC share, of the VPC or of one of its subnets.
absl::StatusOr<std::vector<Resource>> Engine::CompileShared(const Unit& unit) const {
  const auto bound = bound_of_vpc_.find(unit.vpc);
  const Vpc* vpc = world_.FindVpc(unit.vpc);
  const bool any_bound = vpc != nullptr && bound != bound_of_vpc_.end() && !bound->second.empty();
  if (vpc == nullptr) {
    const auto removed = removed_.find({ObjectKind::kVpc, unit.vpc});
    if (removed != removed_.end()) vpc = &std::get<Vpc>(removed->second);
  }
  const std::set<RuleTable> blocks = BlocksOf(unit.vpc);
  if (vpc == nullptr || blocks.empty()) return std::vector<Resource>{};
  FAIRLEAD_RETURN_IF_ERROR(WhyNotToCompile(blocks));
  // A port is being taken apart and its representor still stands: what ends in a
  // drop does so until that is gone.
  const auto drops = [&](const auto& of_table) {
    std::vector<Resource> kept;
    for (const ResourceKey& key : unit.keys) {
      const auto it = wanted_.find(key);
      if (it == wanted_.end() || !EndsInDrop(it->second)) continue;
      const RuleTable& table = std::get<FlowRuleSpec>(it->second.spec).rule.location.table;
      if ((!table.is_block() || blocks.contains(table)) && of_table(table)) {
        kept.push_back(it->second);
      }
    }
    return kept;
  };
  const auto before = [&](const RuleTable& table) {  // of another VNI or VLAN
    if (table.kind == RuleTable::Kind::kVpcBlock) return vpc->vni != table.vni;
    const uint16_t vlan = vpc->vlan ? vpc->vlan->value() : 0;
    return table.kind == RuleTable::Kind::kProviderBlock &&
           (!vpc->is_provider() || table.vlan != vlan);
  };
  const auto now = [&](const RuleTable& table) { return !before(table); };
  if (!any_bound) return drops([](const RuleTable&) { return true; });
  if (const std::string nic = UnobservedNicOf(unit.vpc); !nic.empty()) {
    return absl::UnavailableError(nic);
  }
  const VfId any_vf = bound_.at(*bound->second.begin()).vf;
  // A chain without its drop would let what is sent there pass to the host.
  const auto ends_led_to = [&] {
    std::vector<Resource> ends = drops(now);
    std::erase_if(ends, [&](const Resource& drop) {
      const RuleLocation& at = std::get<FlowRuleSpec>(drop.spec).rule.location;
      const bool of_another = at.chain != 0 && at.chain != at.handle;  // no end of its own chain
      return of_another || !LeadsToChain(at.table, at.chain);
    });
    return ends;
  };
  const StoredObject* stored_vpc = world_.Find({ObjectKind::kVpc, unit.vpc});
  std::vector<Resource> wanted;
  if (stored_vpc == nullptr) {
    wanted = ends_led_to();
  } else if (vpc->is_provider()) {
    if (unit.ref.kind == UnitKind::kVpc) wanted = CompileProvider(*stored_vpc);
    // On a PF where the last port is being taken apart.
    for (Resource& drop : drops(now)) {
      const RuleTable& table = drop.key.rule.table;
      const bool compiled = std::any_of(wanted.begin(), wanted.end(), [&](const Resource& rule) {
        return rule.key.rule.table == table;
      });
      if (!compiled) wanted.push_back(std::move(drop));
    }
  } else {
    const VpcContext context = OverlayContextOf(*stored_vpc, *facts_.tunnel);
    if (unit.ref.kind == UnitKind::kVpc) {
      wanted = CompileVpc(context, any_vf);
    } else if (unit.ref.kind == UnitKind::kPolicy) {
      wanted = IsPolicy(unit.ref) ? CompilePolicy(context, PolicyNumber(unit.ref), any_vf)
                                  : ends_led_to();
    } else {
      const StoredObject* stored = world_.Find({ObjectKind::kSubnet, unit.ref.id});
      wanted = stored == nullptr ? ends_led_to() : CompileSubnet(context, *stored, any_vf);
    }
  }
  if (stored_vpc != nullptr && !vpc->is_provider()) AddOldEnds(drops(now), wanted);
  std::vector<Resource> of_before = drops(before);
  std::move(of_before.begin(), of_before.end(), std::back_inserter(wanted));
  return wanted;
}

// Ends of chains that security groups led to, as long as a rule may lead there.
void Engine::AddOldEnds(std::vector<Resource> ends, std::vector<Resource>& wanted) const {
  std::erase_if(ends, [&](const Resource& end) {
    const RuleLocation& at = end.key.rule;
    const bool still = std::any_of(wanted.begin(), wanted.end(),
                                   [&](const Resource& now) { return now.key == end.key; });
    return still || at.chain == 0 || at.chain != at.handle || !LeadsToChain(at.table, at.chain);
  });
  std::move(ends.begin(), ends.end(), std::back_inserter(wanted));
}

std::set<RuleTable> Engine::BlocksOf(const std::string& vpc) const {
  std::set<RuleTable> blocks;
  const auto leases = leases_of_vpc_.find(vpc);
  if (leases == leases_of_vpc_.end()) return blocks;
  for (const VfId& vf : leases->second) {
    if (const auto block = attachments_.at(vf).block()) blocks.insert(*block);
  }
  std::erase_if(blocks, [this](const RuleTable& block) { return !BlockInUse(block); });
  return blocks;
}

absl::Status Engine::WhyNotToCompile(const std::set<RuleTable>& blocks) const {
  for (const RuleTable& block : blocks) {
    if (block.kind == RuleTable::Kind::kVpcBlock && !facts_.tunnel) {
      return absl::UnavailableError("the host's tunnel is being made");
    }
    if (!TablesKnown(block)) return absl::UnavailableError("the VPC's rules are being observed");
  }
  return absl::OkStatus();
}

// A subnet leads to the chain of its VPC, which marks it when that stands.
void Engine::WaitForVpc(Unit& unit) {
  const Unit* vpc =
      unit.ref.kind == UnitKind::kSubnet ? FindUnit({UnitKind::kVpc, unit.vpc}) : nullptr;
  if (vpc == nullptr || vpc->error.ok()) return;
  UnitFailed(unit, vpc->step,
             absl::UnavailableError(absl::StrCat("the rules of its VPC: ", vpc->error.message())));
}

// Removes what is ours and nobody wants. Only when everything is known: the
// intent is whole (it comes from the store at once), every scope was observed,
// no unit has work under way, and the attachments of that VPC stand.
void Engine::CollectOrphans() {
  if (!observed_once()) return;
  for (const auto& [ref, unit] : units_) {
    if (unit.queued || unit.in_flight) return;
  }
  for (const auto& [vf, attachment] : attachments_) {
    const Unit* unit = FindUnit({UnitKind::kPort, attachment.port});
    if (unit == nullptr || !unit->scanned) return;  // it has not claimed its own yet
  }
  orphans_pending_ = orphans_left_ = false;
  // A VPC whose port could not be observed whole has not compiled its rules:
  // nothing of it, and nothing on the tunnel, is known to be unwanted.
  std::set<RuleTable> unsure;
  for (const auto& [vf, attachment] : attachments_) {
    const bool going = attachment.phase == AttachmentPhase::kReleasing ||
                       attachment.phase == AttachmentPhase::kRollingBack;
    const bool compiled = bound_.contains(attachment.port) && VpcSettled(attachment.vpc);
    if (!going && !compiled) {
      for (const RuleTable& table : TablesOf(attachment.block())) unsure.insert(table);
    }
  }
  // What was adopted whole needs no purge.
  if (unsure.empty() && std::erase_if(kept_, [this](uint32_t s) { return !AnyLeftOf(s); }) > 0) {
    MarkHost();
  }
  // Neighbours carry no store's mark: they are that of the store whose tunnel it is.
  const ObservedResource* tunnel = observed_.Find(TunnelKey());
  const bool neighbours_of_others =
      !kept_.empty() || (tunnel != nullptr && tunnel->mark != 0 && !tunnel->ours);
  Unit& orphans = UnitOf({UnitKind::kOrphans, ""});
  bool more = false;
  const auto collect = [&](const ResourceKey& key) {
    if (orphans.keys.size() >= kMostOrphans) {
      more = true;
      return;
    }
    claimant_[key] = orphans.ref;
    orphans.keys.insert(key);
  };
  for (const auto& [key, observed] : observed_.others()) {
    if (key.kind == ResourceKind::kNeighbour && observed.ours && !neighbours_of_others &&
        !claimant_.contains(key) && unsure.empty()) {
      collect(key);
    }
  }
  for (const auto& [table, seen] : observed_.tables()) {
    const bool sure = !unsure.contains(table);
    for (const auto& [place, rule] : seen.rules) {
      if (rule.claimed || !rule.ours || kept_.contains(rule.mark)) continue;
      const ResourceKey key = FlowRuleKey(At(table, place));
      if (claimant_.contains(key)) continue;
      if (!sure) {
        orphans_left_ = true;
      } else if (place.priority != kPrioDefaultDrop || place.chain != 0) {
        collect(key);  // else part of the representor, or of the tunnel device
      }
    }
  }
  orphans_pending_ = more && !orphans.retry_at;
  if (!orphans.keys.empty()) MarkDirty(orphans.ref);
}

}  // namespace fairlead
