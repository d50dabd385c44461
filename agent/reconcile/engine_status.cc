// SPDX-License-Identifier: Apache-2.0
//
// What the engine says about objects.
#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/compile/explain_flow.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

constexpr std::pair<ObjectKind, UnitKind> kUnitKinds[] = {
    {ObjectKind::kVpc, UnitKind::kVpc},
    {ObjectKind::kSubnet, UnitKind::kSubnet},
    {ObjectKind::kRoute, UnitKind::kRoute},
    {ObjectKind::kPort, UnitKind::kPort},
    {ObjectKind::kEndpoint, UnitKind::kEndpoint}};

// `out`: an ObjectStatus or an ErrorRecord.
template <typename Words>
void TakeError(const absl::Status& error, std::string_view step, Words& out) {
  out.reason = std::string(error.message());
  out.step = std::string(step);
  out.peer_words = PeerWords(error);
  out.permanent = !IsTransient(error);
}

// What the unit's error came from, also when a later step is under way.
const std::string& StepOf(const Unit& unit) {
  return AbslView(unit.last_error.reason) == unit.error.message() ? unit.last_error.step
                                                                  : unit.step;
}

}  // namespace

const Unit* Engine::UnitOfObject(const ObjectRef& ref) const {
  for (const auto& [object_kind, unit_kind] : kUnitKinds) {
    if (object_kind != ref.kind) continue;
    const auto it = units_.find({unit_kind, ref.id});
    return it == units_.end() ? nullptr : &it->second;
  }
  return nullptr;
}

void Engine::Record(const ObjectRef& ref, std::string_view step, const absl::Status& error,
                    ErrorRecord& record) const {
  const auto now = clock_->WallNow();
  if (record.times == 0 || record.step != step || AbslView(record.reason) != error.message()) {
    record = {};
    record.first = now;
  }
  TakeError(error, step, record);
  record.last = now;
  ++record.times;
  if (const StoredObject* object = world_.Find(ref)) record.generation = object->generation;
}

void Engine::Record(Unit& unit, std::string_view step, const absl::Status& error) const {
  for (const auto& [object_kind, unit_kind] : kUnitKinds) {
    if (unit_kind == unit.ref.kind) {
      Record({object_kind, unit.ref.id}, step, error, unit.last_error);
    }
  }
}

std::optional<ErrorRecord> Engine::LastErrorOf(const ObjectRef& ref) const {
  ErrorRecord record;
  if (ref.kind == ObjectKind::kVm) {
    const auto it = vms_.find(ref.id);
    if (it != vms_.end()) record = it->second.last_error;
  } else if (const Unit* unit = UnitOfObject(ref)) {
    record = unit->last_error;
    if (unit->retry_at && !unit->error.ok() && !record.permanent) {
      record.retry_in =
          std::max(std::chrono::milliseconds(1),
                   std::chrono::ceil<std::chrono::milliseconds>(*unit->retry_at - clock_->Now()));
    }
  } else if (ref.kind == ObjectKind::kEndpoint) {
    const auto it = errors_at_rest_.find(ref.id);
    if (it != errors_at_rest_.end()) record = it->second;
  }
  if (record.times == 0) return std::nullopt;
  return record;
}

ObjectStatus Engine::MakeStatus(const ObjectRef& ref) const {
  ObjectStatus status;
  status.ref = ref;
  const StoredObject* object = world_.Find(ref);
  if (object != nullptr) status.generation = object->generation;

  if (ref.kind == ObjectKind::kVm) {
    status.state = ObjectState::kReady;
    const auto it = vms_.find(ref.id);
    const bool wanted = !world_.PortsOfVm(ref.id).empty();
    if (wanted && it != vms_.end() && it->second.known && !it->second.error.ok()) {
      status.state = ObjectState::kDegraded;
      TakeError(it->second.error, "vm connect", status);
      status.permanent = false;
    } else if (wanted && (it == vms_.end() || !it->second.known)) {
      status.state = ObjectState::kPending;
      status.reason = "its monitor has not been asked yet";
    }
    status.observed_generation = status.state == ObjectState::kReady ? status.generation : 0;
    return status;
  }

  if (ref.kind == ObjectKind::kSecurityGroup) return StatusOfGroup(ref);

  const Unit* const found = UnitOfObject(ref);
  if (found == nullptr) {
    if (object != nullptr && ref.kind == ObjectKind::kEndpoint) return StatusAtRest(*object);
    status.state = object == nullptr ? ObjectState::kRemoving : ObjectState::kPending;
    return status;
  }
  const Unit& unit = *found;
  status.rules_wanted = unit.wanted_rules;
  for (const ResourceKey& key : unit.keys) {
    if (key.kind != ResourceKind::kFlowRule) continue;
    const Observed::Rule* seen = observed_.FindRule(key.rule);
    if (seen == nullptr || !seen->ours) continue;
    ++status.rules_observed;
    if (seen->hardware == RuleHardware::kInHardware) ++status.rules_in_hardware;
  }
  status.step = unit.step;
  status.reason = unit.waits_for;

  if (ref.kind != ObjectKind::kPort) {
    if (object == nullptr) {
      status.state = ObjectState::kRemoving;
      if (!unit.error.ok()) TakeError(unit.error, unit.step, status);
    } else if (!unit.error.ok()) {
      status.state = ObjectState::kDegraded;
      TakeError(unit.error, StepOf(unit), status);
    } else if (!unit.settled) {
      status.state = ObjectState::kApplying;
    } else {
      status.state = ObjectState::kReady;
      status.step.clear();
      status.reason.clear();
    }
    if (const auto* endpoint = object ? std::get_if<Endpoint>(&object->object) : nullptr;
        endpoint != nullptr && status.state == ObjectState::kReady) {
      AddPeer(*endpoint, status);
    }
    if (const auto* route = object ? std::get_if<Route>(&object->object) : nullptr;
        route != nullptr && status.state == ObjectState::kReady) {
      AddNextHop(*route, status);
    }
    if (status.state == ObjectState::kReady) status.observed_generation = status.generation;
    return status;
  }

  status.observed_generation = unit.ready_generation;
  const Attachment* attachment = AttachmentOf(ref.id);
  if (attachment == nullptr) {
    if (object == nullptr) {
      status.state = ObjectState::kRemoving;
    } else if (unit.failed) {
      status.state = ObjectState::kFailed;
      TakeError(unit.error, unit.step, status);
      status.rolled_back = true;  // without an attachment nothing of it is left
      if (unit.step == "vm connect") status.permanent = false;
    } else {
      status.state = ObjectState::kPending;
    }
    return status;
  }
  status.vf = attachment->vf.ToString();
  if (attachment->vlan) status.vlan = attachment->vlan->value();
  status.lease = attachment->lease;
  status.guest_bus = attachment->bus;
  if (!attachment->vm.empty()) {
    status.guest_device = GuestDeviceIdOf(config_.compile.store_id, *attachment);
  }
  if (const VfFacts* vf = facts_.FindVf(attachment->vf)) {
    status.vf_pci = vf->pci.ToString();
    status.representor = vf->representor;
    if (vf->mac) status.mac = vf->mac->ToString();
  }
  if (object != nullptr && std::get<Port>(object->object).mac) {
    status.mac = std::get<Port>(object->object).mac->ToString();
  }
  switch (attachment->phase) {
    case AttachmentPhase::kApplying:
      status.state = ObjectState::kApplying;
      if (!unit.error.ok()) TakeError(unit.error, unit.step, status);
      break;
    case AttachmentPhase::kReady:
      // Before this agent has seen it ready, the journal knows that it was.
      if (unit.ready_generation == 0) status.observed_generation = attachment->generation;
      if (const auto pf = pf_scope_.find(attachment->vf.pf); pf == pf_scope_.end()) {
        status.state = ObjectState::kDegraded;
        status.reason = NotListed(*attachment);
        status.permanent = true;
      } else if (const absl::Status nic = ErrorOfNic(attachment->vf); !nic.ok()) {
        status.state = ObjectState::kDegraded;
        TakeError(nic, pf->second.error.ok() ? "vf observe" : "pf observe", status);
        status.permanent = false;
      } else if (!unit.error.ok()) {
        status.state = ObjectState::kDegraded;
        TakeError(unit.error, StepOf(unit), status);
      } else if (!unit.waits_for.empty() || unit.in_flight) {
        status.state = unit.ready_generation == 0 ? ObjectState::kApplying : ObjectState::kReady;
        if (unit.ready_generation != status.generation) status.state = ObjectState::kApplying;
      } else {
        status.state = unit.ready_generation == status.generation ? ObjectState::kReady
                                                                  : ObjectState::kApplying;
      }
      break;
    case AttachmentPhase::kRollingBack:
      status.state = ObjectState::kFailed;
      status.reason = "the agent was restarted during the attach";
      if (!unit.cause.ok()) TakeError(unit.cause, unit.cause_step, status);
      absl::StrAppend(&status.reason, "; being rolled back", unit.waits_for.empty() ? "" : ": ",
                      unit.waits_for);
      status.permanent = false;
      break;
    case AttachmentPhase::kReleasing:
      // It moves, or came back before its earlier life was over.
      status.state = ObjectState::kPending;
      status.observed_generation = 0;
      if (status.reason.empty()) status.reason = "its earlier attachment is being taken apart";
      if (!unit.function_lost.empty()) {
        status.reason = absl::StrCat(unit.function_lost, "; ", status.reason);
      }
      if (!unit.error.ok()) {
        TakeError(unit.error, unit.step, status);
        status.permanent = false;
        if (!unit.waits_for.empty()) absl::StrAppend(&status.reason, "; ", unit.waits_for);
      }
      break;
  }
  // From the moment that the object is gone, whatever its attachment still says.
  if (object == nullptr) status.state = ObjectState::kRemoving;
  if (status.state == ObjectState::kReady) {
    status.step.clear();
    status.reason = WhyNotInHardware(*attachment);
    const std::string unanswered = WhyNotAnswered(*attachment);
    const std::string tunnel = attachment->vni ? tunnel_problem() : "";
    if (!tunnel.empty()) {
      status.state = ObjectState::kDegraded;
      status.step = "tunnel mtu";
      status.reason = tunnel;
    } else if (!status.reason.empty()) {
      status.state = ObjectState::kDegraded;
      status.step = "offload";
    } else if (!unanswered.empty()) {
      status.state = ObjectState::kDegraded;
      status.step = "slow path";
      status.reason = unanswered;
    } else {
      status.reason = WhyApart(*attachment);
    }
  }
  return status;
}

// What an endpoint whose rules stand owes to its VTEP.
void Engine::AddPeer(const Endpoint& endpoint, ObjectStatus& status) const {
  if (endpoint.vtep == config_.compile.tunnel.local) {
    status.reason = "its VTEP is this host's own: only a port here can be reached, no rule is made";
  }
  if (status.rules_wanted == 0) return;
  if (!IsPeer(config_.compile.tunnel, endpoint.vtep)) {
    status.state = ObjectState::kDegraded;
    status.step = "tunnel peers";
    status.reason = absl::StrCat("its VTEP ", endpoint.vtep.ToString(),
                                 " is none of tunnel.peers in the configuration: what it sends is "
                                 "dropped");
    return;
  }
  const ObservedResource* seen = observed_.Find(NeighbourKey(endpoint.vtep));
  if (seen == nullptr) {
    status.state = ObjectState::kApplying;
    status.step = "neighbour create";
  } else if (seen->neighbour != NeighbourState::kResolved) {
    status.state = ObjectState::kDegraded;
    status.step = "neighbour";
    status.reason =
        absl::StrCat(seen->neighbour == NeighbourState::kNoRoute ? "there is no route to "
                                                                 : "not resolved: the next hop to ",
                     endpoint.vtep.ToString(), ": ", seen->neighbour_detail);
  }
}

std::string Engine::tunnel_problem() const {
  // Before that it is the observation that is waited for.
  return tunnel_scope_.known ? WorkOutMtu(config_.compile.tunnel, facts_.underlay).problem : "";
}

std::string Engine::tunnel_note() const {
  return facts_.tunnel ? WorkOutMtu(config_.compile.tunnel, facts_.underlay).note : "";
}

std::string Engine::WhyApart(const Attachment& attachment) const {
  if (!attachment.vf.pf.is_hotplug_port()) return "";
  for (const VfId& vf : leases_of_vpc_.at(attachment.vpc)) {
    if (vf.pf.is_hotplug_port()) continue;
    return absl::StrCat("no rule of this host leads from port ", attachments_.at(vf).port,
                        " to it, nor back: whoever brought its function has to carry that");
  }
  return "";
}

// Why what `of` has to deliver to a port that must be served by hardware is not there, or not
// wholly; "" = it is, or need not be.
std::string Engine::WhyRulesNotInHardware(const UnitRef& of, const Attachment& attachment) const {
  const auto unit = units_.find(of);
  const auto of_vpc = bound_of_vpc_.find(attachment.vpc);
  if (unit == units_.end() || of_vpc == bound_of_vpc_.end()) return "";
  for (const ResourceKey& key : unit->second.keys) {
    const auto wanted = wanted_.find(key);
    if (key.kind != ResourceKind::kFlowRule || wanted == wanted_.end()) continue;
    const Observed::Rule* seen = observed_.FindRule(key.rule);
    const auto* spec = std::get_if<FlowRuleSpec>(&wanted->second.spec);
    if (seen == nullptr || spec->rule.offload != OffloadWish::kMust) continue;
    const DeviceRef* to = OutputOf(spec->rule);
    const bool delivers_in_block = spec->rule.location.table.is_block() && to != nullptr &&
                                   to->kind == DeviceRef::Kind::kRepresentor;
    if (!delivers_in_block) {
      if (seen->hardware != RuleHardware::kSoftware) continue;
      return absl::StrCat("the rule ", key.rule.ToString(),
                          " must run in hardware and runs in software");
    }
    if (BlockBeingRead(attachment)) continue;  // the count may be of before a port came
    const size_t others = OfferedTo(spec->rule, BoundOn(spec->rule.location.table));
    if (seen->in_hw_count >= others) continue;
    return absl::StrCat("the rule ", key.rule.ToString(), " must run in hardware and does for ",
                        seen->in_hw_count, " of the ", others, " other ports of its VPC here");
  }
  return "";
}

std::string Engine::WhyOwnRulesNotInHardware(const Attachment& attachment) const {
  return WhyRulesNotInHardware({UnitKind::kPort, attachment.port}, attachment);
}

// Why a port that must be served by hardware is not; "" = it is, or need not be.
std::string Engine::WhyNotInHardware(const Attachment& attachment) const {
  const Port* port = world_.FindPort(attachment.port);
  if (port == nullptr || port->offload != OffloadWish::kMust) return "";
  if (!attachment.block()) return "";  // no rule carries it: the NIC itself does
  if (const std::string why = WhyOwnRulesNotInHardware(attachment); !why.empty()) return why;
  for (const IpAddress& address : port->addresses) {
    for (const StoredObject* route : world_.RoutesBy(port->vpc, address)) {
      const UnitRef unit{UnitKind::kRoute, IdOf(route->object)};
      if (const std::string why = WhyRulesNotInHardware(unit, attachment); !why.empty()) return why;
    }
  }
  const Subnet* own = world_.FindSubnet(port->subnet);
  const auto reached = [&](const Object& object) {
    if (const auto* route = std::get_if<Route>(&object)) {
      const bool v4 = route->next_hop.is_v4();
      return route->vpc == port->vpc && (v4 ? own->gateway4 : own->gateway6).has_value();
    }
    const auto* endpoint = std::get_if<Endpoint>(&object);
    if (endpoint == nullptr || endpoint->vpc != port->vpc) return false;
    if (endpoint->subnet == port->subnet) return true;
    const Subnet* subnet = world_.FindSubnet(endpoint->subnet);
    return (own->gateway4 && subnet->gateway4) || (own->gateway6 && subnet->gateway6);
  };
  const RuleTable block = *attachment.block();
  if (const Observed::Table& seen = observed_.TableOf(block); seen.in_software > 0) {
    for (const auto& [place, rule] : seen.rules) {
      if (rule.hardware != RuleHardware::kSoftware) continue;
      const RuleLocation at = At(block, place);
      const StoredObject* owner = world_.FindByOrdinal(OwnerOf(place));
      if (owner == nullptr || !reached(owner->object) || !Claimed(at)) continue;
      return absl::StrCat("the rule ", at.ToString(), " of ", RefOf(owner->object).ToString(),
                          " runs in software");
    }
  }
  for (auto it = units_.lower_bound({UnitKind::kVtep, ""});
       it != units_.end() && it->first.kind == UnitKind::kVtep; ++it) {
    const absl::StatusOr<IpAddress> outer = IpAddress::Parse(it->first.id);
    const ObservedResource* seen = outer.ok() ? observed_.Find(NeighbourKey(*outer)) : nullptr;
    if (seen == nullptr || seen->neighbour == NeighbourState::kResolved) continue;
    for (const StoredObject* stored : world_.EndpointsOfVtep(*outer)) {
      if (!reached(stored->object)) continue;
      return absl::StrCat(
          "slow path: the next hop to ", outer->ToString(),
          " is not resolved, so the NIC cannot encapsulate: ", seen->neighbour_detail);
    }
  }
  return "";
}

std::optional<ObjectStatus> Engine::StatusOf(const ObjectRef& ref) const {
  if (world_.Find(ref) != nullptr) return MakeStatus(ref);
  const auto it = announced_.find(ref);
  if (it == announced_.end()) return std::nullopt;
  return MakeStatus(ref);
}

std::vector<ObjectStatus> Engine::Removing() const {
  std::vector<ObjectStatus> result;
  for (const auto& [ref, last] : announced_) {
    if (last.state == ObjectState::kRemoving && world_.Find(ref) == nullptr) {
      result.push_back(MakeStatus(ref));
    }
  }
  return result;
}

const Object* Engine::RemovedObject(const ObjectRef& ref) const {
  const auto it = removed_.find(ref);
  return it == removed_.end() ? nullptr : &it->second;
}

void Engine::Announce(const ObjectRef& ref, bool anyway) {
  // An endpoint that is not remembered here is known as ready, with nothing to say of it; before
  // the sweep that is not known.
  if (ref.kind == ObjectKind::kEndpoint && !anyway && !announced_.contains(ref)) {
    const Endpoint* endpoint = world_.FindEndpoint(ref.id);
    const bool rests = endpoint != nullptr && UnitOfObject(ref) == nullptr;
    if (rests && (SimplyReady(*endpoint) || !SweptEndpointsOf(endpoint->vpc))) return;
  }
  const bool gone = world_.Find(ref) == nullptr && UnitOfObject(ref) == nullptr;
  ObjectStatus status = MakeStatus(ref);
  const auto it = announced_.find(ref);
  if (gone) {
    removed_.erase(ref);
    if (it == announced_.end()) return;
    announced_.erase(it);
    status.state = ObjectState::kRemoving;
    listener_->OnStatus(status, true);
    return;
  }
  if (!anyway && it != announced_.end() && it->second == status) return;
  const Endpoint* endpoint =
      ref.kind == ObjectKind::kEndpoint ? world_.FindEndpoint(ref.id) : nullptr;
  if (endpoint != nullptr && SimplyReady(*endpoint)) {
    announced_.erase(ref);
  } else {
    announced_[ref] = status;
  }
  listener_->OnStatus(status, false);
}

void Engine::AnnounceVm(const std::string& vm) {
  if (!vm.empty()) Announce({ObjectKind::kVm, vm});
}

void Engine::AnnouncePortsOf(const std::string& subnet) {
  const auto ports = bound_of_subnet_.find(subnet);
  if (ports == bound_of_subnet_.end()) return;
  for (const std::string& port : ports->second) Announce({ObjectKind::kPort, port});
}

void Engine::AnnounceMustPorts(const RuleTable& block) {
  if (!block.is_block()) return;
  for (const auto& [vf, attachment] : attachments_) {
    if (attachment.block() != block) continue;
    const auto bound = bound_.find(attachment.port);
    if (bound == bound_.end() || bound->second.offload != OffloadWish::kMust) continue;
    Announce({ObjectKind::kPort, attachment.port});
  }
}

std::vector<NicId> Engine::missing_pfs() const {
  std::vector<NicId> missing;
  for (const NicId& pf : config_.pfs) {
    if (!facts_.pfs.contains(pf)) missing.push_back(pf);
  }
  return missing;
}

std::string Engine::pf_error(const NicId& pf) const {
  const auto it = pf_scope_.find(pf);
  if (it == pf_scope_.end() || (!it->second.known && it->second.error.ok())) {
    return "not observed yet";
  }
  return std::string(it->second.error.message());
}

bool Engine::Misses(const RuleLocation& location) const {
  const auto scope = table_scope_.find(location.table);
  if (scope == table_scope_.end() || !scope->second.known) return true;  // it is being read
  // What was read and is not compiled yet, after a start, or is an endpoint's.
  const auto misses = [this](const RuleLocation& at) {
    const ResourceKey key = FlowRuleKey(at);
    if (wanted_.contains(key)) return true;
    const Observed::Rule* seen = observed_.FindRule(at);
    return seen != nullptr && seen->ours && !claimant_.contains(key);
  };
  if (Comes(location.handle)) return true;
  if (location.handle != 0 && location.priority != 0) return misses(location);
  // What is not named is any.
  const bool of_table = location.priority == 0;
  const RulePlace first = of_table ? RulePlace() : RulePlace{location.chain, location.priority, 0};
  const auto named = [&](const RulePlace& place) {
    return of_table || (place.chain == location.chain && place.priority == location.priority);
  };
  const auto wanted = wanted_.lower_bound(FlowRuleKey(At(location.table, first)));
  if (wanted != wanted_.end() && IsRuleOf(wanted->first, location.table) &&
      named(PlaceOf(wanted->first.rule))) {
    return true;
  }
  const Observed::Rules& rules = observed_.TableOf(location.table).rules;
  for (auto it = rules.lower_bound(first); it != rules.end() && named(it->first); ++it) {
    if (misses(At(location.table, it->first))) return true;
  }
  return false;
}

std::string Engine::WhyNotFree(const VfId& vf) const {
  const auto pf = facts_.pfs.find(vf.pf);
  const VfFacts* facts = facts_.FindVf(vf);
  if (pf == facts_.pfs.end() || facts == nullptr) return "not on this host";
  return fairlead::WhyNotFree(pf->second, *facts, config_.compile.vf_driver, LeasedVfs(), {},
                              quarantined_);
}

bool Engine::InUseByOthers(const VfId& vf) const {
  const VfFacts* facts = facts_.FindVf(vf);
  return facts != nullptr && !attachments_.contains(vf) && InUse(*facts, config_.compile.vf_driver);
}

std::optional<std::string> Engine::PortWithMac(const std::string& vpc,
                                               const MacAddress& mac) const {
  const auto it = bound_macs_.find({vpc, mac});
  if (it != bound_macs_.end()) return it->second;
  // What no rule carries is not bound to a block.
  for (const auto& [vf, attachment] : attachments_) {
    if (attachment.block() || attachment.vpc != vpc) continue;
    const VfFacts* facts = facts_.FindVf(vf);
    if (facts != nullptr && facts->mac == mac) return attachment.port;
  }
  return std::nullopt;
}

std::vector<std::string> Engine::problems() const {
  std::vector<std::string> all;
  for (const auto& [ref, unit] : units_) {
    const bool of_host =
        ref.kind == UnitKind::kHost || ref.kind == UnitKind::kUplink || ref.kind == UnitKind::kVtep;
    if (!of_host || unit.error.ok()) continue;
    all.push_back(absl::StrCat(ref.ToString(), ": ", unit.step, ": ", unit.error.message()));
  }
  return all;
}

}  // namespace fairlead
