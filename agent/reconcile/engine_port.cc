// SPDX-License-Identifier: Apache-2.0
//
// The life of a port: attach, repair. It begins in engine_placement.cc. Its end is in
// engine_release.cc.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {

Attachment* Engine::AttachmentOf(const std::string& port) {
  const auto it = vf_of_port_.find(port);
  return it == vf_of_port_.end() ? nullptr : &attachments_.at(it->second);
}

const Attachment* Engine::AttachmentOf(const std::string& port) const {
  const auto it = vf_of_port_.find(port);
  return it == vf_of_port_.end() ? nullptr : &attachments_.at(it->second);
}

// True when the port now asks for something that this attachment cannot become.
bool Engine::Outdated(const StoredObject& object, const Attachment& attachment) const {
  const Port& port = std::get<Port>(object.object);
  const Vpc* vpc = world_.FindVpc(port.vpc);
  const Vm* vm = world_.FindVm(port.vm);
  if (object.ordinal != attachment.port_ordinal) return true;  // removed and made again
  const bool brought = port.function == FunctionSource::kHotplug;
  if (brought != attachment.vf.pf.is_hotplug_port()) return true;
  if (port.vm != attachment.vm || port.vpc != attachment.vpc) return true;
  const bool untagged = attachment.uplink && !attachment.vlan;
  if (vpc != nullptr &&
      ((attachment.vni && vpc->vni != attachment.vni) ||
       (attachment.vlan && vpc->vlan != attachment.vlan) || (untagged && !vpc->flat))) {
    return true;
  }
  if (vm != nullptr && vm->uuid != attachment.vm_uuid) return true;
  // What follows compares with the configuration too: an edit of that must not
  // unplug a VM, only a newer intent may.
  if (object.generation <= attachment.generation) return false;
  const auto pf = facts_.pfs.find(attachment.vf.pf);
  if (pf == facts_.pfs.end()) return false;
  if (pf->second.network != port.network) return true;
  // A running guest is not told of another MAC: its VF's driver takes it when it is loaded.
  const VfFacts* vf = facts_.FindVf(attachment.vf);
  const auto has = attachment.mac || vf == nullptr ? attachment.mac : vf->mac;
  return port.mac && has && *has != *port.mac;
}

uint64_t Engine::FactsFingerprint(const std::string& vm) const {
  std::string text;
  for (const auto& [mac, pf] : facts_.pfs) {
    absl::StrAppend(&text, mac.ToString(), "/", pf.num_vfs, pf.refused, pf.can_set_vf_mac,
                    pf.eswitch.ToString());
    if (pf.max_hardware_rules != 0) absl::StrAppend(&text, "/", HardwareRulesOf(mac));
    for (const VfFacts& vf : pf.vfs) {
      absl::StrAppend(&text, "|", vf.index, vf.driver, vf.netdev, vf.netdev_up, vf.representor,
                      vf.representor_ifindex, vf.representor_refused, vf.representor_awaited,
                      vf.refused, vf.unreadable, vf.iommu_group.value_or(0),
                      vf.mac ? vf.mac->ToString() : "");
      absl::StrAppend(&text, attachments_.contains(VfId{mac, vf.index}) ? "L" : "",
                      quarantined_.contains(VfId{mac, vf.index}) ? "Q" : "");
    }
  }
  const auto it = vms_.find(vm);
  if (it != vms_.end() && it->second.facts) {
    for (const VmFacts::RootPort& port : it->second.facts->root_ports) {
      absl::StrAppend(&text, "|", port.id, "=", port.occupant);
    }
  }
  // The tunnel comes and goes with the first lease, which is no news; that it cannot be
  // made is.
  absl::StrAppend(&text, tunnel_problem());
  const auto host = units_.find({UnitKind::kHost, ""});
  if (host != units_.end()) absl::StrAppend(&text, host->second.error.message());
  return StableHash(text);
}

void Engine::WakeFailedPorts() {
  for (const std::string& port : failed_ports_) MarkDirty({UnitKind::kPort, port});
}

void Engine::WakeWaitingPorts() {
  for (const std::string& port : std::exchange(waiting_ports_, {})) {
    if (FindUnit({UnitKind::kPort, port}) != nullptr) MarkDirty({UnitKind::kPort, port});
  }
}

void Engine::ReconcilePort(Unit& unit) {
  const std::string id = unit.ref.id;
  const ObjectRef ref{ObjectKind::kPort, id};
  const StoredObject* object = world_.Find(ref);
  Attachment* attachment = AttachmentOf(id);
  if (attachment == nullptr) {
    if (object != nullptr) {
      TryAttach(unit, *object);
      if (!unit.waits_for.empty()) waiting_ports_.insert(id);
      Announce(ref);
      return;
    }
    failed_ports_.erase(id);
    units_.erase(UnitRef{UnitKind::kPort, id});
    if (const Object* removed = RemovedObject(ref)) {
      ReleaseVmIfUnused(std::string(std::get<Port>(*removed).vm));
    }
    Announce(ref);
    return;
  }
  // Whatever is wrong with its NIC or its VM: others wait for what it has.
  const auto nic = pf_scope_.find(attachment->vf.pf);
  const bool nic_known = nic == pf_scope_.end() || nic->second.known;
  if (!unit.scanned && nic_known && TablesKnown(attachment->block())) {
    ClaimLeftBehind(unit, *attachment);
  }
  const bool going = attachment->phase == AttachmentPhase::kReleasing ||
                     attachment->phase == AttachmentPhase::kRollingBack;
  if (!going && (object == nullptr || Outdated(*object, *attachment))) {
    SetPhase(unit, *attachment, AttachmentPhase::kReleasing);
  } else if (going) {
    Teardown(unit, *attachment);
  } else {
    ContinueAttach(unit, *object, *attachment);
  }
  if (!unit.waits_for.empty()) waiting_ports_.insert(id);
  Announce(ref);
}

std::string Engine::NotListed(const Attachment& attachment) {
  return absl::StrCat(attachment.vf.pf.is_hotplug_port() ? "the hot-plug port " : "the PF ",
                      attachment.vf.pf.ToString(),
                      " of its VF is not in the configuration any more, so nothing of it is "
                      "touched: list it again");
}

std::string Engine::MissingForRules(const Attachment& attachment) {
  const auto pf = pf_scope_.find(attachment.vf.pf);
  if (pf == pf_scope_.end()) {
    return NotListed(attachment);
  }
  if (!pf->second.known) {
    return pf->second.error.ok() ? "the NIC is being observed"
                                 : std::string(pf->second.error.message());
  }
  for (const RuleTable& table : TablesOf(attachment.block())) {
    Scope& scope = table_scope_[table];
    if (!scope.known) {
      ObserveTable(table);
      return "the rules are being observed";
    }
  }
  return "";
}

absl::Status Engine::ErrorOfNic(const VfId& vf) const {
  const auto pf = pf_scope_.find(vf.pf);
  if (pf == pf_scope_.end() || !pf->second.error.ok()) {
    return pf == pf_scope_.end() ? absl::OkStatus() : pf->second.error;
  }
  const VfFacts* facts = facts_.FindVf(vf);
  if (facts == nullptr || facts->unreadable.empty()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("its VF cannot be observed: ", facts->unreadable));
}

std::string Engine::MissingObservation(Unit& unit, const Attachment& attachment) {
  const std::string missing = MissingForRules(attachment);
  if (!missing.empty()) return missing;
  if (const absl::Status nic = ErrorOfNic(attachment.vf); !nic.ok()) {
    return std::string(nic.message());
  }
  if (!attachment.vm.empty()) {
    VmState& vm = vms_[attachment.vm];
    if (!vm.known) {
      ObserveVm(attachment.vm);
      return absl::StrCat("the monitor of VM ", attachment.vm, " is being asked");
    }
  }
  if (unit.refresh && !unit.refreshing) RefreshVf(attachment.vf, unit.ref);
  if (unit.refreshing) return "the VF is being observed";
  return "";
}

// A VM that is trusted may give its VF another MAC, which is no drift.
VfSpec Engine::SpecAsSeen(const Attachment& attachment, const VfFacts& facts) const {
  const Port* port = world_.FindPort(attachment.port);
  const bool its_own = port != nullptr && port->trust && facts.settings.trust == true &&
                       attachment.phase == AttachmentPhase::kReady;
  return {attachment.vf, its_own ? port->mac : facts.mac, facts.settings};
}

// A VF is there as long as its PF has it: whether its settings are ours cannot be seen, so
// what is leased counts as set until it was cleaned.
void Engine::CountAsSet(const Attachment& attachment) {
  const VfFacts* facts = facts_.FindVf(attachment.vf);
  const bool there = !attachment.vf.pf.is_hotplug_port() || facts != nullptr;
  if (!there || observed_.Contains(VfKey(attachment.vf))) return;
  ObservedResource vf;
  vf.key = VfKey(attachment.vf);
  const VfSpec spec =
      facts == nullptr ? VfSpec{attachment.vf, {}, {}} : SpecAsSeen(attachment, *facts);
  vf.spec = spec;
  observed_.Set(vf.key, vf);
}

// After a restart the unit does not know yet what it had made: the attachment
// names it, and rules carry the port's ordinal as their handle.
void Engine::ClaimLeftBehind(Unit& unit, const Attachment& attachment) {
  std::vector<ResourceKey> keys = {VfKey(attachment.vf), RepresentorKey(attachment.vf),
                                   DriverBindingKey(attachment.vf)};
  if (!attachment.vm.empty()) keys.push_back(GuestDeviceKey(attachment.vm, attachment.port));
  if (!unit.scanned) {
    for (const RuleTable& table : TablesOf(attachment.block())) {
      for (const auto& [place, rule] : observed_.TableOf(table).rules) {
        if (place.chain != 0) break;
        if (rule.ours && place.priority != kPrioDefaultDrop &&
            place.handle == attachment.port_ordinal) {
          keys.push_back(FlowRuleKey(At(table, place)));
        }
      }
    }
    CountAsSet(attachment);
    unit.scanned = true;
  }
  for (const ResourceKey& key : keys) {
    unit.keys.insert(key);
    claimant_[key] = unit.ref;
  }
}

absl::StatusOr<std::vector<Resource>> Engine::CompilePortUnit(const StoredObject& object,
                                                              const Attachment& attachment) const {
  const Port& port = std::get<Port>(object.object);
  PortContext context;
  context.object = &object;
  context.vpc = world_.Find({ObjectKind::kVpc, port.vpc});
  context.subnet = world_.Find({ObjectKind::kSubnet, port.subnet});
  context.attachment = &attachment;
  const auto policies = policies_.find(port.vpc);
  if (policies != policies_.end()) context.policies = &policies->second;
  return CompilePort(config_.compile, context, facts_);
}

bool Engine::OwnRulesStand(const std::vector<Resource>& wanted) const {
  return std::all_of(wanted.begin(), wanted.end(), [this](const Resource& resource) {
    return resource.key.kind != ResourceKind::kFlowRule || observed_.Contains(resource.key);
  });
}

void Engine::ContinueAttach(Unit& unit, const StoredObject& object, Attachment& attachment) {
  if (attachment.vf.pf.is_hotplug_port()) return ContinueFunction(unit, object, attachment);
  const Port& port = std::get<Port>(object.object);
  const bool was_ready = attachment.phase == AttachmentPhase::kReady;
  if (GiveUpHung(unit, attachment)) return;
  unit.waits_for = MissingForRules(attachment);
  if (!unit.waits_for.empty()) return;
  const std::string missing = MissingObservation(unit, attachment);
  if (!missing.empty() && !was_ready) {
    unit.waits_for = missing;
    return;
  }
  if (missing.empty() && GiveUpTaken(unit, attachment)) return;
  if (const std::string why = WhyAnothers(attachment); !was_ready && !why.empty()) {
    // While the agent was down, or the lease could not be given up.
    unit.step = "vf placement";
    unit.waits_for = absl::StrCat("VF ", attachment.vf.ToString(), " is ", why,
                                  ", and nothing is done to it until that is over");
    RetryLater(unit);
    return;
  }
  ClaimLeftBehind(unit, attachment);
  if (const std::string why = tunnel_problem();
      attachment.vni && !why.empty() && (!was_ready || !facts_.tunnel)) {
    PortUnitFailed(unit, "tunnel mtu", absl::FailedPreconditionError(why));
    return;
  }
  if (attachment.vni && !facts_.tunnel) {
    const Unit* host = FindUnit({UnitKind::kHost, ""});
    if (host != nullptr && !host->error.ok()) {
      PortUnitFailed(unit, host->step, host->error);
      return;
    }
    unit.step = "tunnel create";
    unit.waits_for = "the host's tunnel is being made";
    return;
  }
  if (attachment.uplink && !observed_.Contains(UplinkKey(attachment.vf.pf))) {
    const Unit* uplink = FindUnit({UnitKind::kUplink, attachment.vf.pf.ToString()});
    if (uplink != nullptr && !uplink->error.ok()) {
      PortUnitFailed(unit, uplink->step, uplink->error);
      return;
    }
    unit.step = "uplink create";
    unit.waits_for = "the NIC's uplink is being prepared";
    return;
  }
  if (attachment.block()) unit.waits_for = UnobservedNicOf(port.vpc);
  if (!unit.waits_for.empty()) return;
  if (missing.empty() && PlaceAgain(unit, attachment)) return;
  absl::StatusOr<std::vector<Resource>> wanted = CompilePortUnit(object, attachment);
  if (!wanted.ok()) {
    unit.waits_for = missing.empty() ? std::string(wanted.status().message()) : missing;
    if (missing.empty() && (!absl::IsUnavailable(wanted.status()) || was_ready)) {
      PortUnitFailed(unit, "compile", wanted.status());
    }
    return;
  }
  const absl::Status vm_error = vms_[attachment.vm].error;
  if (!missing.empty() || !vm_error.ok()) {
    // A port that serves is kept as it is wanted as far as it can be seen: without its monitor
    // all that is on the host, without its NIC its rules.
    const Extent extent = missing.empty() ? Extent::kOnHost : Extent::kRules;
    if (was_ready && Converge(unit, *wanted, extent) == Progress::kWorking) return;
    if (!missing.empty()) {
      unit.waits_for = missing;
    } else {
      PortUnitFailed(unit, "vm connect", vm_error);
    }
    return;
  }
  // The VF is handed out only when what its VPC shares is in place too.
  for (const UnitRef& shared :
       {UnitRef{UnitKind::kVpc, port.vpc}, UnitRef{UnitKind::kSubnet, port.subnet}}) {
    const Unit* other = FindUnit(shared);
    if (!was_ready && other != nullptr && !other->error.ok()) {
      PortUnitFailed(unit, other->step, other->error);
      return;
    }
  }
  if (!observed_.Contains(DriverBindingKey(attachment.vf)) &&
      observed_.Contains(RepresentorKey(attachment.vf)) && OwnRulesStand(*wanted)) {
    if (!was_ready && port.offload == OffloadWish::kMust && BlockBeingRead(attachment)) {
      unit.step = "offload";
      unit.waits_for = "what the NIC took of the VPC's rules is being read";
      return;
    }
    if (const std::string why = WhyOwnRulesNotInHardware(attachment); !was_ready && !why.empty()) {
      PortUnitFailed(unit, "offload", absl::FailedPreconditionError(why));
      return;
    }
    if (!VpcSettled(port.vpc)) {
      waiting_on_vpc_[port.vpc].insert(port.id);
      unit.step = "vpc rules";
      unit.waits_for = "the rules that its VPC shares are being made";
      return;
    }
  }
  switch (Converge(unit, *wanted)) {
    case Progress::kWorking:
      return;
    case Progress::kWaiting:
      waiting_on_vpc_[port.vpc].insert(port.id);  // its subnet's chain, above all
      return;
    case Progress::kConflict:
      PortUnitFailed(unit, "compare", absl::AlreadyExistsError(unit.waits_for));
      return;
    case Progress::kSettled:
      break;
  }
  if (!VpcSettled(port.vpc)) {
    waiting_on_vpc_[port.vpc].insert(port.id);
    unit.step = "vpc rules";
    unit.waits_for = "the rules that its VPC shares are being made";
    return;
  }
  if (!was_ready && SlowPathIsBeingTold(port.id)) {
    unit.step = "slow path";
    unit.waits_for = "the slow path is being told of it";
    return;
  }
  TakeAsReady(unit, object, attachment);
}

// Everything of it was observed to be as wanted.
void Engine::TakeAsReady(Unit& unit, const StoredObject& object, const Attachment& attachment) {
  unit.step.clear();
  unit.waits_for.clear();
  if (attachment.phase != AttachmentPhase::kReady || attachment.generation != object.generation) {
    SetPhase(unit, attachment, AttachmentPhase::kReady);
    return;
  }
  unit.attempts = 0;
  unit.error = absl::OkStatus();
  unit.ready_generation = object.generation;
  shunned_.erase(attachment.vf);
}

// Writes the phase to the store, then goes on.
void Engine::SetPhase(Unit& unit, Attachment attachment, AttachmentPhase phase) {
  const bool new_transaction =
      attachment.phase != phase &&
      (phase == AttachmentPhase::kReleasing || phase == AttachmentPhase::kRollingBack);
  attachment.phase = phase;
  StoreBatch batch;
  if (new_transaction) {
    attachment.transaction = next_transaction_++;
    batch.next_transaction = next_transaction_;
  }
  if (const StoredObject* object = world_.Find({ObjectKind::kPort, attachment.port});
      object != nullptr && phase == AttachmentPhase::kReady) {
    attachment.generation = object->generation;
    attachment.mac = std::get<Port>(object->object).mac;
  }
  batch.attachments.push_back(attachment);
  unit.in_flight = true;
  executor_->Commit(std::move(batch), [this, alive = std::weak_ptr<bool>(alive_), ref = unit.ref,
                                       attachment](absl::Status status) {
    if (alive.expired()) return;
    Unit* unit = FindUnit(ref);
    if (unit == nullptr) return;
    unit->in_flight = false;
    const auto it = attachments_.find(attachment.vf);
    if (status.ok() && it != attachments_.end() && it->second.lease == attachment.lease) {
      it->second = attachment;
      unit->verified = false;
      unit->giving_back = {};
      unit->removal_asked.reset();
      unit->removal_overdue = false;
      unit->not_cut_off.clear();
      UpdateBound(attachment.port);
      MarkDirty(ref);
    } else {
      unit->step = "journal";
      unit->error = status;
      Record(*unit, unit->step, unit->error);
      RetryLater(*unit);
    }
    Announce({ObjectKind::kPort, ref.id});
  });
}

void Engine::PortUnitFailed(Unit& unit, std::string step, absl::Status error) {
  Attachment* attachment = AttachmentOf(unit.ref.id);
  unit.step = std::move(step);
  unit.error = std::move(error);
  unit.waits_for.clear();
  if (attachment == nullptr) {
    AttachFailed(unit, unit.step, unit.error, 0);
  } else {
    unit.refresh = true;
    if (!attachment->vm.empty() &&
        (unit.step.starts_with("guest-device") || unit.step == "vm connect" ||
         !vms_[attachment->vm].error.ok())) {
      vms_[attachment->vm].known = false;  // what QEMU has now is asked, not assumed
    }
    if (attachment->phase == AttachmentPhase::kApplying) {
      if (unit.step.starts_with("vf ") || unit.step.starts_with("representor") ||
          unit.step.starts_with("driver-binding")) {
        shunned_.insert(attachment->vf);
      }
      unit.cause = unit.error;
      unit.cause_step = unit.step;
      SetPhase(unit, *attachment, AttachmentPhase::kRollingBack);  // which ends in AttachFailed
    } else {
      Record(unit, unit.step, unit.error);
      RetryLater(unit);  // a ready port is repaired; a teardown goes on
    }
  }
  Announce({ObjectKind::kPort, unit.ref.id});
}

void Engine::AttachFailed(Unit& unit, std::string step, absl::Status error, uint64_t generation) {
  const StoredObject* object = world_.Find({ObjectKind::kPort, unit.ref.id});
  unit.step = std::move(step);
  unit.error = std::move(error);
  unit.waits_for.clear();
  Record(unit, unit.step, unit.error);
  unit.failed = true;
  unit.failed_generation = generation;
  unit.failed_at = clock_->Now();
  unit.failed_facts = FactsFingerprint(object == nullptr ? "" : std::get<Port>(object->object).vm);
  failed_ports_.insert(unit.ref.id);
  // A permanent failure comes back for a changed fact only (TryAttach looks),
  // and even then not in a tight circle.
  RetryLater(unit);
}

}  // namespace fairlead
