// SPDX-License-Identifier: Apache-2.0
//
// The life of a port: place, lease, attach, repair. Its end is in engine_release.cc.
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
  if (port.vm != attachment.vm || port.vpc != attachment.vpc) return true;
  if (vpc != nullptr && vpc->vni != attachment.vni) return true;
  if (vm != nullptr && vm->uuid != attachment.vm_uuid) return true;
  // What follows compares with the configuration too: an edit of that must not
  // unplug a VM, only a newer intent may.
  if (object.generation <= attachment.generation) return false;
  const auto pf = facts_.pfs.find(attachment.vf.pf);
  if (pf == facts_.pfs.end()) return false;
  if (pf->second.network != port.network) return true;
  if (!port.mac) return false;
  const VfFacts* vf = facts_.FindVf(attachment.vf);
  return !pf->second.can_set_vf_mac && vf != nullptr && vf->mac && *vf->mac != *port.mac;
}

uint64_t Engine::FactsFingerprint(const std::string& vm) const {
  std::string text;
  for (const auto& [mac, pf] : facts_.pfs) {
    absl::StrAppend(&text, mac.ToString(), "/", pf.num_vfs, pf.refused, pf.can_set_vf_mac);
    for (const VfFacts& vf : pf.vfs) {
      absl::StrAppend(&text, "|", vf.index, vf.driver, vf.netdev, vf.netdev_up, vf.representor,
                      vf.iommu_group.value_or(0), vf.mac ? vf.mac->ToString() : "");
      absl::StrAppend(&text, attachments_.contains(VfId{mac, vf.index}) ? "L" : "");
    }
  }
  const auto it = vms_.find(vm);
  if (it != vms_.end() && it->second.facts) {
    for (const VmFacts::RootPort& port : it->second.facts->root_ports) {
      absl::StrAppend(&text, "|", port.id, "=", port.occupant);
    }
  }
  absl::StrAppend(&text, facts_.tunnel ? facts_.tunnel->ifindex : 0);
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

void Engine::TryAttach(Unit& unit, const StoredObject& object) {
  const Port& port = std::get<Port>(object.object);
  const std::string vm_id = port.vm;
  if (unit.failed && unit.failed_generation == object.generation && !IsTransient(unit.error) &&
      unit.step != "vm connect" && unit.failed_facts == FactsFingerprint(vm_id)) {
    return;  // the same again would fail the same way
  }
  unit.waits_for.clear();
  if (port.vm.empty()) {
    unit.failed = false;
    unit.waits_for = "the port has no VM yet";
    return;
  }
  for (const MacAddress& pf : config_.pfs) {
    if (!pf_scope_[pf].known) {
      unit.waits_for = "the host's NICs are being observed";
      return;
    }
  }
  VmState& vm = vms_[port.vm];
  if (!vm.known || (!vm.error.ok() && !vm.asking && unit.failed)) {
    // An unreachable VM is asked again at each attempt.
    vm.known = false;
    unit.failed = false;
    unit.waits_for = absl::StrCat("the monitor of VM ", port.vm, " is being asked");
    ObserveVm(port.vm);
    return;
  }
  if (!vm.error.ok()) {
    AttachFailed(unit, "vm connect", vm.error, object.generation);
    return;
  }

  Attachment attachment;
  attachment.lease = next_lease_;
  absl::StatusOr<std::string> bus = PlaceGuestDevice(
      *vm.facts, GuestDeviceId(config_.compile.store_id, object.ordinal, attachment.lease),
      /*previous=*/"", TakenRootPorts(port.vm, port.id));
  if (!bus.ok()) {
    AttachFailed(unit, "guest-device placement", bus.status(), object.generation);
    return;
  }
  absl::StatusOr<VfId> vf =
      PlacePort(port, facts_, config_.compile.vf_driver, LeasedVfs(), shunned_);
  if (!vf.ok() && !shunned_.empty()) {
    vf = PlacePort(port, facts_, config_.compile.vf_driver, LeasedVfs(), /*held=*/{});
  }
  if (absl::IsUnavailable(vf.status())) {
    // VFs are still to come; unless making them failed.
    for (const MacAddress& pf : config_.pfs) {
      const Unit* pool = FindUnit({UnitKind::kPool, pf.ToString()});
      if (pool == nullptr || pool->error.ok()) continue;
      AttachFailed(unit, pool->step, pool->error, object.generation);
      return;
    }
    unit.waits_for = std::string(vf.status().message());
    return;
  }
  if (!vf.ok()) {
    AttachFailed(unit, "vf placement", vf.status(), object.generation);
    return;
  }
  attachment.vf = *vf;
  attachment.transaction = next_transaction_;
  attachment.generation = object.generation;
  attachment.phase = AttachmentPhase::kApplying;
  attachment.port = port.id;
  attachment.port_ordinal = object.ordinal;
  attachment.vm = port.vm;
  attachment.vm_uuid = vm.facts->uuid;
  attachment.bus = *bus;
  attachment.vpc = port.vpc;
  attachment.vni = world_.FindVpc(port.vpc)->vni;
  ++next_lease_;
  ++next_transaction_;

  // The VF is taken at once, so that no other port can be given it meanwhile;
  // nothing is done to it before the lease is durable.
  attachments_[attachment.vf] = attachment;
  vf_of_port_[port.id] = attachment.vf;
  unit.failed = false;
  unit.error = absl::OkStatus();  // of the attempt before
  unit.scanned = true;            // a VF that is free has nothing of ours on it
  unit.fresh_lease = unit.refresh = true;
  unit.ready_generation = 0;
  unit.keys.clear();
  failed_ports_.erase(port.id);
  MarkHost();  // the first lease brings the tunnel
  unit.step = "lease";
  unit.in_flight = true;
  StoreBatch batch;
  batch.attachments.push_back(attachment);
  batch.next_lease = next_lease_;
  batch.next_transaction = next_transaction_;
  executor_->Commit(std::move(batch), [this, alive = std::weak_ptr<bool>(alive_), ref = unit.ref,
                                       attachment](absl::Status status) {
    if (alive.expired()) return;
    Unit* unit = FindUnit(ref);
    if (unit == nullptr) return;
    unit->in_flight = false;
    if (status.ok()) {
      executor_->LeaseGranted(attachment.lease);
      MarkDirty(ref);
      return;
    }
    attachments_.erase(attachment.vf);
    vf_of_port_.erase(attachment.port);
    AttachFailed(*unit, "lease", status, attachment.generation);
    Announce({ObjectKind::kPort, ref.id});
  });
}

std::string Engine::MissingObservation(Unit& unit, const Attachment& attachment) {
  const auto pf = pf_scope_.find(attachment.vf.pf);
  if (pf == pf_scope_.end()) {
    return absl::StrCat("the PF ", attachment.vf.pf.ToString(),
                        " of its VF is not in the configuration, or not on this host");
  }
  if (!pf->second.known) return "the NIC is being observed";
  if (!pf->second.error.ok()) return std::string(pf->second.error.message());
  for (const RuleTable& table : {RuleTable{RuleTable::Kind::kVpcBlock, attachment.vni},
                                 RuleTable{RuleTable::Kind::kTunnelIngress, {}}}) {
    Scope& scope = table_scope_[table];
    if (!scope.known) {
      ObserveTable(table);
      return "the rules are being observed";
    }
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

// After a restart the unit does not know yet what it had made: the attachment
// names it, and rules carry the port's ordinal as their handle.
void Engine::ClaimLeftBehind(Unit& unit, const Attachment& attachment) {
  std::vector<ResourceKey> keys = {VfKey(attachment.vf), RepresentorKey(attachment.vf),
                                   DriverBindingKey(attachment.vf)};
  if (!attachment.vm.empty()) keys.push_back(GuestDeviceKey(attachment.vm, attachment.port));
  if (!unit.scanned) {
    for (const auto& [key, observed] : observed_) {
      const auto* rule = std::get_if<FlowRuleSpec>(&observed.spec);
      if (rule == nullptr || !observed.ours) continue;
      if (rule->rule.location.chain == 0 && rule->rule.location.priority != kPrioDefaultDrop &&
          rule->rule.location.handle == attachment.port_ordinal) {
        keys.push_back(key);
      }
    }
    // A VF is there as long as its PF has it: whether its settings are ours
    // cannot be seen, so what is leased counts as set until it was cleaned.
    if (!observed_.contains(VfKey(attachment.vf))) {
      ObservedResource vf;
      vf.key = VfKey(attachment.vf);
      VfSpec spec{attachment.vf, std::nullopt};
      if (const VfFacts* facts = facts_.FindVf(attachment.vf)) spec.mac = facts->mac;
      vf.spec = spec;
      observed_[vf.key] = vf;
    }
    unit.scanned = true;
  }
  for (const ResourceKey& key : keys) {
    unit.keys.insert(key);
    claimant_[key] = unit.ref;
  }
}

std::set<std::string> Engine::TakenRootPorts(const std::string& vm, const std::string& but) const {
  std::set<std::string> taken;
  for (const auto& [vf, attachment] : attachments_) {
    if (attachment.vm == vm && attachment.port != but && !attachment.bus.empty()) {
      taken.insert(attachment.bus);
    }
  }
  return taken;
}

// A VM that was started anew may have other root ports free than before. True
// when the port goes on elsewhere, or cannot.
bool Engine::PlaceAgain(Unit& unit, const StoredObject& object, const Attachment& attachment) {
  if (attachment.vm.empty() || observed_.contains(GuestDeviceKey(attachment.vm, attachment.port))) {
    return false;
  }
  const VmState& vm = vms_[attachment.vm];
  if (!vm.error.ok() || !vm.facts) return false;
  absl::StatusOr<std::string> bus = PlaceGuestDevice(
      *vm.facts, GuestDeviceId(config_.compile.store_id, object.ordinal, attachment.lease),
      attachment.bus, TakenRootPorts(attachment.vm, attachment.port));
  if (!bus.ok()) {
    PortUnitFailed(unit, "guest-device placement", bus.status());
    return true;
  }
  if (*bus == attachment.bus) return false;
  Attachment moved = attachment;
  moved.bus = *bus;
  SetPhase(unit, moved, attachment.phase);
  return true;
}

void Engine::ContinueAttach(Unit& unit, const StoredObject& object, Attachment& attachment) {
  const Port& port = std::get<Port>(object.object);
  unit.waits_for = MissingObservation(unit, attachment);
  if (!unit.waits_for.empty()) return;
  if (std::exchange(unit.fresh_lease, false)) {
    // The facts that the VF was chosen by may have been old: it is looked at once
    // more, and nothing is done to one that somebody took meanwhile.
    std::set<VfId> others = LeasedVfs();
    others.erase(attachment.vf);
    const VfFacts* vf = facts_.FindVf(attachment.vf);
    const auto pf = facts_.pfs.find(attachment.vf.pf);
    const std::string why =
        vf == nullptr || pf == facts_.pfs.end()
            ? "it is gone"
            : fairlead::WhyNotFree(pf->second, *vf, config_.compile.vf_driver, others, {});
    if (!why.empty()) {
      unit.cause = absl::UnavailableError(
          absl::StrCat("VF ", attachment.vf.ToString(), " was taken meanwhile: ", why));
      unit.cause_step = "vf placement";
      EndLease(unit, attachment);
      return;
    }
  }
  ClaimLeftBehind(unit, attachment);
  const bool was_ready = attachment.phase == AttachmentPhase::kReady;
  if (!facts_.tunnel) {
    const Unit* host = FindUnit({UnitKind::kHost, ""});
    if (host != nullptr && !host->error.ok()) {
      PortUnitFailed(unit, host->step, host->error);
      return;
    }
    unit.step = "tunnel create";
    unit.waits_for = "the host's tunnel is being made";
    return;
  }

  PortContext context;
  context.object = &object;
  context.vpc = world_.FindVpc(port.vpc);
  context.attachment = &attachment;
  if (const StoredObject* subnet = world_.Find({ObjectKind::kSubnet, port.subnet})) {
    context.subnet_ordinal = subnet->ordinal;
  }
  const auto peers = bound_of_subnet_.find(port.subnet);
  if (peers != bound_of_subnet_.end()) {
    for (const std::string& other : peers->second) {
      if (other != port.id) context.peers.push_back(bound_.at(other));
    }
  }
  unit.waits_for = UnobservedNicOf(port.vpc);
  if (!unit.waits_for.empty()) return;
  if (PlaceAgain(unit, object, attachment)) return;
  absl::StatusOr<std::vector<Resource>> wanted = CompilePort(config_.compile, context, facts_);
  if (!wanted.ok()) {
    unit.waits_for = std::string(wanted.status().message());
    if (!absl::IsUnavailable(wanted.status()) || was_ready) {
      PortUnitFailed(unit, "compile", wanted.status());
    }
    return;
  }
  if (!attachment.vm.empty()) {
    const VmState& vm = vms_[attachment.vm];
    if (!vm.error.ok()) {
      PortUnitFailed(unit, "vm connect", vm.error);
      return;
    }
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
  if (!VpcSettled(port.vpc) && !observed_.contains(DriverBindingKey(attachment.vf)) &&
      observed_.contains(RepresentorKey(attachment.vf))) {
    bool own_rules_stand = true;
    for (const Resource& resource : *wanted) {
      if (resource.key.kind == ResourceKind::kFlowRule && !observed_.contains(resource.key)) {
        own_rules_stand = false;
      }
    }
    if (own_rules_stand) {
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
  unit.step.clear();
  unit.waits_for.clear();
  if (!was_ready || attachment.generation != object.generation) {
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
      unit->removal_asked.reset();
      unit->removal_overdue = false;
      UpdateBound(attachment.port);
      MarkDirty(ref);
    } else {
      unit->step = "journal";
      unit->error = status;
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
        (unit.step.starts_with("guest-device") || unit.step == "vm connect")) {
      vms_[attachment->vm].known = false;  // what QEMU has now is asked, not assumed
    }
    if (attachment->phase == AttachmentPhase::kApplying) {
      if (unit.step.starts_with("vf ") || unit.step.starts_with("representor") ||
          unit.step.starts_with("driver-binding")) {
        shunned_.insert(attachment->vf);
      }
      unit.cause = unit.error;
      unit.cause_step = unit.step;
      SetPhase(unit, *attachment, AttachmentPhase::kRollingBack);
    } else {
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
