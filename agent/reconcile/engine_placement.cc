// SPDX-License-Identifier: Apache-2.0
//
// Which VF and root port a port gets, and the lease on them.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {

absl::StatusOr<VfId> Engine::Place(const Port& port, const std::set<VfId>& shunned) const {
  const auto of_vpc = leases_of_vpc_.find(port.vpc);
  return PlacePort(
      port, *world_.FindVpc(port.vpc), facts_, config_.compile.vf_driver, LeasedVfs(), shunned,
      [&](const MacAddress& mac) { return world_.OwnerOfMac(port.vpc, mac); }, quarantined_,
      of_vpc == leases_of_vpc_.end() ? std::set<VfId>() : of_vpc->second,
      [&](const PfFacts& pf) { return WhyFull(port, pf); });
}

bool Engine::AnotherVfIsFree(const std::string& port) const {
  const Port* object = world_.FindPort(port);
  return object != nullptr && Place(*object, shunned_).ok();
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
  for (const NicId& pf : config_.pfs) {
    if (!pf_scope_[pf].known && pf_scope_[pf].error.ok()) {
      unit.waits_for = "the host's NICs are being observed";
      return;
    }
  }
  // A segment that was another VPC's a moment ago: the block, or the segment, is
  // that VPC's until its last port is gone.
  const Vpc& vpc = *world_.FindVpc(port.vpc);
  const bool forwards = port.function == FunctionSource::kVf;
  for (const auto& [vf, other] : attachments_) {
    const bool same =
        forwards && ((vpc.vni && other.vni == vpc.vni) || (vpc.vlan && other.vlan == vpc.vlan) ||
                     (vpc.flat && other.uplink && !other.vlan));
    if (!same || other.vpc == port.vpc) continue;
    unit.waits_for = absl::StrCat(SegmentName(vpc), " is still used by port ", other.port,
                                  " of VPC ", other.vpc, ", which is being taken apart");
    return;
  }
  VmState& vm = vms_[port.vm];
  if (const Uuid& uuid = world_.FindVm(port.vm)->uuid; vm.facts && vm.facts->uuid != uuid) {
    for (const Attachment* other : AttachmentsOfVm(port.vm)) {
      if (other->vm_uuid == uuid) continue;
      unit.waits_for =
          absl::StrCat("port ", other->port, " is still being taken out of the VM that ", port.vm,
                       " was before");
      return;
    }
    vm.facts.reset();  // they are another VM's
    vm.known = false;
  }
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

  unit.waits_for = WhyMayBeFound(port);
  if (!unit.waits_for.empty()) {
    unit.step = "vf placement";
    unit.failed = false;
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
  if (port.mac) {
    // A port that asked for none may have got a VF with this MAC.
    const auto other = PortWithMac(port.vpc, *port.mac);
    if (other && world_.FindPort(*other) == nullptr) {
      unit.waits_for = absl::StrCat("the VF of port ", *other, ", which is being taken apart, ",
                                    "still has the MAC ", port.mac->ToString());
      return;
    }
    if (other && *other != port.id) {
      AttachFailed(unit, "vf placement",
                   absl::AlreadyExistsError(
                       absl::StrCat("mac: ", port.mac->ToString(), " is that of the VF which port ",
                                    *other, " of this VPC has; give one of them another")),
                   object.generation);
      return;
    }
  }
  absl::StatusOr<VfId> vf = Place(port, shunned_);
  if (!vf.ok() && !shunned_.empty()) vf = Place(port, /*shunned=*/{});
  if (absl::IsUnavailable(vf.status()) && port.function == FunctionSource::kHotplug) {
    WaitForFunction(unit, object, vf.status());
    return;
  }
  if (absl::IsUnavailable(vf.status())) {
    WaitForNic(unit, object, vf.status());
    return;
  }
  if (!vf.ok()) {
    AttachFailed(unit, "vf placement", WithErrorsOfNics(port, vf.status()), object.generation);
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
  attachment.mac = port.mac;
  if (forwards) {
    attachment.vni = vpc.vni;
    attachment.vlan = vpc.vlan;
    attachment.uplink =
        vpc.is_provider() && facts_.pfs.at(vf->pf).serves() == PfFacts::Serves::kByRules;
    const VfFacts* facts = facts_.FindVf(*vf);
    if (facts->mac && facts->mac->IsUnicast()) attachment.vf_mac = facts->mac;
    if (facts->representor_ifindex != 0) attachment.mtu = facts->representor_mtu;
  }
  ++next_lease_;
  ++next_transaction_;

  // The VF is taken at once, so that no other port can be given it meanwhile;
  // nothing is done to it before the lease is durable.
  TakeLease(attachment);
  unit.failed = false;
  unit.error = absl::OkStatus();  // of the attempt before
  unit.scanned = true;            // a VF that is free has nothing of ours on it
  unit.fresh_lease = unit.refresh = true;
  unit.function_lost.clear();
  unit.function_due.reset();
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
    DropLease(attachment);
    AttachFailed(*unit, "lease", status, attachment.generation);
    Announce({ObjectKind::kPort, ref.id});
  });
}

void Engine::TakeLease(Attachment attachment) {
  const VfId vf = attachment.vf;
  vf_of_port_[attachment.port] = vf;
  leases_of_vpc_[attachment.vpc].insert(vf);
  if (!attachment.vm.empty()) leases_of_vm_[attachment.vm].insert(vf);
  if (const auto block = attachment.block()) leases_of_block_[*block].insert(vf);
  attachments_[vf] = std::move(attachment);
}

void Engine::DropLease(const Attachment& attachment) {
  const auto drop = [&](auto& index, const auto& key) {
    const auto it = index.find(key);
    if (it == index.end()) return;
    it->second.erase(attachment.vf);
    if (it->second.empty()) index.erase(it);
  };
  drop(leases_of_vpc_, attachment.vpc);
  drop(leases_of_vm_, attachment.vm);
  if (const auto block = attachment.block()) drop(leases_of_block_, *block);
  vf_of_port_.erase(attachment.port);
  attachments_.erase(attachment.vf);
}

// A NIC that cannot be observed just now may be all that is missing.
absl::Status Engine::WithErrorsOfNics(const Port& port, const absl::Status& refused) const {
  std::string words(refused.message());
  bool may_pass = false;
  for (const NicId& id : config_.pfs) {
    const auto pf = facts_.pfs.find(id);
    if (pf == facts_.pfs.end()) {
      absl::StrAppend(&words, "; PF ", id.ToString(), ": ", pf_error(id));
    } else if (pf->second.network != port.network) {
      continue;
    }
    const auto scope = pf_scope_.find(id);
    may_pass |= scope != pf_scope_.end() && IsTransient(scope->second.error);
  }
  return absl::Status(may_pass ? absl::StatusCode::kUnavailable : refused.code(), words);
}

void Engine::WaitForNic(Unit& unit, const StoredObject& object, const absl::Status& why) {
  const Port& port = std::get<Port>(object.object);
  const Vpc& vpc = *world_.FindVpc(port.vpc);
  std::vector<std::pair<std::string, const Unit*>> failed;  // PF
  std::string words(why.message());
  bool one_comes = false;
  for (const auto& [id, pf] : facts_.pfs) {
    if (pf.network != port.network) continue;
    if (WhatIsToCome(vpc, pf, config_.compile.vf_driver).empty()) continue;
    const std::string name = absl::StrCat("PF ", id.ToString());
    const Unit* pool = FindUnit({UnitKind::kPool, id.ToString()});
    if (pool != nullptr && !pool->error.ok()) {
      failed.emplace_back(name, pool);
      absl::StrAppend(&words, "; ", name, ": ", pool->error.message());
      continue;
    }
    one_comes = true;
    if (pool != nullptr && !pool->waits_for.empty()) {
      absl::StrAppend(&words, "; ", name, ": ", pool->waits_for);
    }
  }
  if (one_comes || failed.empty()) {
    unit.failed = false;
    unit.error = absl::OkStatus();
    failed_ports_.erase(port.id);
    unit.waits_for = words;
    return;
  }
  // The port's error is that of one of them, best of one that may pass, with the others'
  // words before it, and those of the NICs where nothing is to come.
  const auto passes = [](const auto& entry) { return IsTransient(entry.second->error); };
  auto one = std::find_if(failed.begin(), failed.end(), passes);
  if (one == failed.end()) one = failed.begin();
  std::iter_swap(one, failed.end() - 1);
  const auto& [name, pool] = failed.back();
  std::string context = absl::StrCat(why.message(), "; ");
  for (auto other = failed.begin(); other != failed.end() - 1; ++other) {
    absl::StrAppend(&context, other->first, ": ", other->second->error.message(), "; ");
  }
  AttachFailed(unit, pool->step, Annotate(pool->error, context + name), object.generation);
}

std::set<std::string> Engine::TakenRootPorts(const std::string& vm, const std::string& but) const {
  std::set<std::string> taken;
  for (const Attachment* attachment : AttachmentsOfVm(vm)) {
    if (attachment->port != but && !attachment->bus.empty()) taken.insert(attachment->bus);
  }
  return taken;
}

// A VM that was started anew may have other root ports free than before. True
// when the port goes on elsewhere, or cannot.
bool Engine::PlaceAgain(Unit& unit, const Attachment& attachment) {
  if (attachment.vm.empty() || observed_.Contains(GuestDeviceKey(attachment.vm, attachment.port))) {
    return false;
  }
  const VmState& vm = vms_[attachment.vm];
  if (!vm.error.ok() || !vm.facts) return false;
  absl::StatusOr<std::string> bus =
      PlaceGuestDevice(*vm.facts, GuestDeviceIdOf(config_.compile.store_id, attachment),
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

// The facts that the VF was chosen by may have been old: "" = nobody took it meanwhile.
std::string Engine::WhyTakenMeanwhile(const Attachment& attachment) const {
  std::set<VfId> others = LeasedVfs();
  others.erase(attachment.vf);
  const VfFacts* vf = facts_.FindVf(attachment.vf);
  const auto pf = facts_.pfs.find(attachment.vf.pf);
  if (vf == nullptr || pf == facts_.pfs.end()) return "it is gone";
  return fairlead::WhyNotFree(pf->second, *vf, config_.compile.vf_driver, others, {}, quarantined_);
}

std::string Engine::WhyAnothers(const Attachment& attachment) const {
  const VfFacts* vf = facts_.FindVf(attachment.vf);
  if (vf == nullptr || attachment.vf.pf.is_hotplug_port()) return "";
  if (vf->driver == config_.compile.vf_driver || vf->driver == kBusyDriver) return "";
  return WhyInUse(*vf, config_.compile.vf_driver);
}

bool Engine::GiveUpHung(Unit& unit, const Attachment& attachment) {
  const auto scope = pf_scope_.find(attachment.vf.pf);
  if (!unit.fresh_lease || scope == pf_scope_.end() || !scope->second.hangs) return false;
  unit.refreshing = false;  // whenever that comes back, it is of no use
  shunned_.insert(attachment.vf);
  unit.cause = absl::UnavailableError(
      absl::StrCat("the NIC of VF ", attachment.vf.ToString(), " does not answer"));
  unit.cause_step = "vf placement";
  EndLease(unit, attachment);
  return true;
}

bool Engine::GiveUpTaken(Unit& unit, const Attachment& attachment) {
  if (!unit.fresh_lease) return false;
  const std::string why = WhyTakenMeanwhile(attachment);
  if (why.empty()) {
    unit.fresh_lease = false;
    return false;
  }
  const std::string_view what = attachment.vf.pf.is_hotplug_port() ? "the function " : "VF ";
  unit.cause = absl::UnavailableError(
      absl::StrCat(std::string(what), attachment.vf.ToString(), " was taken meanwhile: ", why));
  unit.cause_step = "vf placement";
  EndLease(unit, attachment);
  return true;
}

}  // namespace fairlead
