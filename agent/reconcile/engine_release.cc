// SPDX-License-Identifier: Apache-2.0
//
// The end of a port, removed or rolled back: cut off, taken apart, verified, its
// lease ended.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {

void Engine::Teardown(Unit& unit, Attachment& attachment) {
  if (CutOff(unit, attachment)) return;
  unit.waits_for = MissingObservation(unit, attachment);
  if (!unit.waits_for.empty()) return;
  ClaimLeftBehind(unit, attachment);
  const ResourceKey device = GuestDeviceKey(attachment.vm, attachment.port);
  if (!attachment.vm.empty()) {
    const VmState& vm = vms_[attachment.vm];
    if (!vm.error.ok()) {
      // Nobody listens, or another VM does: the device went with its VM. (The
      // driver binding still refuses to let a VF go that somebody holds open.)
      // A monitor that another client holds says nothing: wait for it.
      const bool vm_is_gone = absl::IsUnavailable(vm.error) || absl::IsFailedPrecondition(vm.error);
      if (!vm_is_gone) {
        unit.waits_for = std::string(vm.error.message());
        vms_[attachment.vm].known = false;
        RetryLater(unit);
        return;
      }
      SetObserved(device, std::nullopt);
    }
  }
  if (unit.removal_asked && observed_.contains(device)) {
    const auto waited = clock_->Now() - *unit.removal_asked;
    if (waited < config_.removal_ask_again) {
      unit.removal_overdue = waited >= config_.removal_patience;
      unit.step = "guest-device delete";
      unit.waits_for = absl::StrCat(
          "QEMU was asked to remove ",
          GuestDeviceId(config_.compile.store_id, attachment.port_ordinal, attachment.lease),
          " from VM ", attachment.vm, " and has not confirmed it",
          unit.removal_overdue
              ? absl::StrCat(" for ",
                             std::chrono::duration_cast<std::chrono::seconds>(waited).count(),
                             " s: the guest does not let go of it")
              : "");
      const auto next = unit.removal_overdue
                            ? config_.removal_ask_again -
                                  std::chrono::duration_cast<std::chrono::milliseconds>(waited)
                            : config_.removal_patience -
                                  std::chrono::duration_cast<std::chrono::milliseconds>(waited);
      executor_->After(std::max(next, std::chrono::milliseconds(1)),
                       [this, alive = std::weak_ptr<bool>(alive_), ref = unit.ref] {
                         if (!alive.expired() && FindUnit(ref) != nullptr) MarkDirty(ref);
                       });
      return;
    }
    unit.removal_asked.reset();
  }
  switch (Converge(unit, {})) {
    case Progress::kWorking:
      return;
    case Progress::kWaiting:
    case Progress::kConflict:
      RetryLater(unit);
      return;
    case Progress::kSettled:
      break;
  }
  if (!unit.verified) {
    // Nothing is left by what is known; now by what is seen.
    RefreshVf(attachment.vf, unit.ref, /*verify=*/true);
    return;
  }
  EndLease(unit, attachment);
}

// The guest may take long to let go, its monitor may be held and its NIC hang:
// nothing of that is waited for. The rules go first, so that the port's MAC is
// free for others; then its link, because the rules of the others match where a
// frame goes to and not where it comes from.
bool Engine::CutOff(Unit& unit, const Attachment& attachment) {
  if (TablesKnown(attachment.vni)) ClaimLeftBehind(unit, attachment);
  if (DeleteRulesFirst(unit)) return true;
  const auto it = observed_.find(RepresentorKey(attachment.vf));
  if (it == observed_.end() || !it->second.ours || unit.refresh || unit.refreshing) return false;
  Operation operation;
  operation.verb = Operation::Verb::kUpdate;
  operation.resource.key = it->first;
  RepresentorSpec spec = std::get<RepresentorSpec>(it->second.spec);
  if (!spec.up || spec.vni != attachment.vni) return false;
  spec.up = false;
  operation.resource.spec = spec;
  operation.current = it->second;
  operation.detail = "up -> down";
  unit.step = "representor down";
  const std::string lane = LaneOf(operation.resource);
  Dispatch(unit, lane, {std::move(operation)});
  return true;
}

bool Engine::DeleteRulesFirst(Unit& unit) {
  std::vector<Operation> operations;
  for (const ResourceKey& key : unit.keys) {
    const auto it = observed_.find(key);
    if (key.kind != ResourceKind::kFlowRule || it == observed_.end() || !it->second.ours) continue;
    wanted_.erase(key);
    Operation operation;
    operation.verb = Operation::Verb::kDelete;
    operation.resource.key = key;
    operation.resource.spec = it->second.spec;
    operation.current = it->second;
    operations.push_back(std::move(operation));
  }
  if (operations.empty()) return false;
  unit.step = "flow-rule delete";
  Dispatch(unit, "rules", std::move(operations));
  return true;
}

void Engine::ReleaseVmIfUnused(const std::string& vm) {
  if (vm.empty() || !vms_.contains(vm) || !world_.PortsOfVm(vm).empty()) return;
  if (std::any_of(attachments_.begin(), attachments_.end(),
                  [&](const auto& entry) { return entry.second.vm == vm; })) {
    return;
  }
  vms_.erase(vm);
  executor_->ReleaseVm(vm);
}

void Engine::EndLease(Unit& unit, const Attachment& attachment) {
  unit.in_flight = true;
  StoreBatch batch;
  batch.released.push_back(attachment.vf);
  executor_->Commit(std::move(batch), [this, alive = std::weak_ptr<bool>(alive_), ref = unit.ref,
                                       attachment](absl::Status status) {
    if (alive.expired()) return;
    Unit* unit = FindUnit(ref);
    if (unit == nullptr) return;
    unit->in_flight = false;
    if (!status.ok()) {
      unit->waits_for = std::string(status.message());
      RetryLater(*unit);
      return;
    }
    executor_->LeaseEnded(attachment.lease);
    attachments_.erase(attachment.vf);
    vf_of_port_.erase(attachment.port);
    UpdateBound(attachment.port);
    // What is seen of the VF from now on is not ours to compare.
    for (const ResourceKey& key :
         {VfKey(attachment.vf), RepresentorKey(attachment.vf), DriverBindingKey(attachment.vf)}) {
      observed_.erase(key);
      claimant_.erase(key);
      wanted_.erase(key);
    }
    unit->keys.clear();
    unit->removal_asked.reset();
    unit->removal_overdue = false;
    unit->verified = false;
    const bool failed = attachment.phase != AttachmentPhase::kReleasing;
    if (failed && !unit->cause.ok() &&
        world_.Find({ObjectKind::kPort, attachment.port}) != nullptr) {
      AttachFailed(*unit, unit->cause_step, unit->cause, attachment.generation);
    } else {
      unit->error = absl::OkStatus();
      unit->step.clear();
      unit->waits_for.clear();
      MarkDirty(ref);
    }
    ReleaseVmIfUnused(attachment.vm);
    if (vms_.contains(attachment.vm)) ObserveVm(attachment.vm);  // its root port is free again
    MarkHost();
    WakeFailedPorts();
    Announce({ObjectKind::kPort, attachment.port});
    AnnounceVm(attachment.vm);
  });
}

}  // namespace fairlead
