// SPDX-License-Identifier: Apache-2.0
//
// What the engine learns of VMs: their devices, and the events of QEMU.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {

std::vector<const Attachment*> Engine::AttachmentsOfVm(const std::string& vm) const {
  std::vector<const Attachment*> out;
  if (const auto leases = leases_of_vm_.find(vm); leases != leases_of_vm_.end()) {
    for (const VfId& vf : leases->second) out.push_back(&attachments_.at(vf));
  }
  return out;
}

std::optional<Uuid> Engine::UuidOf(const std::string& vm) const {
  // As long as something of an earlier VM of this name is to be taken apart, that
  // VM is meant.
  const std::vector<const Attachment*> attached = AttachmentsOfVm(vm);
  if (!attached.empty()) return attached.front()->vm_uuid;
  if (const Vm* object = world_.FindVm(vm)) return object->uuid;
  return std::nullopt;
}

void Engine::ObserveVm(const std::string& vm) {
  const std::optional<Uuid> uuid = UuidOf(vm);
  if (!uuid) return;
  VmState& state = vms_[vm];
  if (state.asking) {
    state.ask_again = true;
    return;
  }
  state.asking = true;
  executor_->ObserveVm(
      vm, *uuid,
      [this, alive = std::weak_ptr<bool>(alive_), vm](absl::StatusOr<VmObservation> result) {
        if (!alive.expired()) OnVmObserved(vm, std::move(result));
      });
}

void Engine::OnVmObserved(const std::string& vm, absl::StatusOr<VmObservation> result) {
  const auto it = vms_.find(vm);
  if (it == vms_.end()) return;  // let go meanwhile
  VmState& state = it->second;
  state.asking = false;
  state.known = true;
  state.error = result.status();
  if (!state.error.ok()) {
    Record({ObjectKind::kVm, vm}, "vm connect", state.error, state.last_error);
  }
  if (result.ok()) {
    state.facts = std::move(result->facts);
    NoteForeignDevices(vm, result->devices);
    for (const Attachment* attached : AttachmentsOfVm(vm)) {
      const Attachment& attachment = *attached;
      const std::string id = GuestDeviceIdOf(config_.compile.store_id, attachment);
      const auto seen = std::find_if(result->devices.begin(), result->devices.end(),
                                     [&](const GuestDeviceInfo& d) { return d.id == id; });
      const ResourceKey key = GuestDeviceKey(vm, attachment.port);
      if (seen == result->devices.end()) {
        Saw(key, std::nullopt);
        continue;
      }
      ObservedResource device;
      device.key = key;
      device.spec =
          GuestDeviceSpec{vm, attachment.vm_uuid, attachment.port, seen->id, seen->host, seen->bus};
      Saw(key, device);
    }
  }
  for (const Attachment* attachment : AttachmentsOfVm(vm)) {
    MarkDirty({UnitKind::kPort, attachment->port});
  }
  for (const std::string& port : world_.PortsOfVm(vm)) MarkDirty({UnitKind::kPort, port});
  AnnounceVm(vm);
  if (std::exchange(state.ask_again, false)) ObserveVm(vm);
}

void Engine::OnVmChanged(const std::string& vm) {
  if (vms_.contains(vm)) ObserveVm(vm);
}

std::optional<std::string> Engine::PortOfDevice(const std::string& vm,
                                                const std::string& device) const {
  for (const Attachment* attachment : AttachmentsOfVm(vm)) {
    if (GuestDeviceIdOf(config_.compile.store_id, *attachment) == device) return attachment->port;
  }
  return std::nullopt;
}

void Engine::OnGuestDeviceDeleted(const std::string& vm, const std::string& device_id) {
  const std::optional<std::string> port = PortOfDevice(vm, device_id);
  if (!port) {
    OnVmChanged(vm);  // a root port became free
    return;
  }
  Unit& unit = UnitOf({UnitKind::kPort, *port});
  const Attachment& attachment = *AttachmentOf(*port);
  const bool asked = attachment.phase == AttachmentPhase::kReleasing ||
                     attachment.phase == AttachmentPhase::kRollingBack;
  if (!asked) {
    unit.step = "guest-device";
    unit.error = absl::UnavailableError(absl::StrCat(
        "VM ", vm, " gave ", device_id,
        " back without being asked (a guest that is booting does that",
        attachment.vf.pf.is_hotplug_port() ? ", and QEMU when the function is pulled" : "",
        "); it will be plugged in again"));
    Record(unit, unit.step, unit.error);
    RetryLater(unit);
    unit.retry_at = std::max(*unit.retry_at, clock_->Now() + config_.replug_after);
    executor_->After(config_.replug_after,
                     [this, alive = std::weak_ptr<bool>(alive_), ref = unit.ref] {
                       if (!alive.expired() && FindUnit(ref) != nullptr) MarkDirty(ref);
                     });
  } else {
    unit.retry_at.reset();
    unit.removal_asked.reset();
    unit.removal_overdue = false;
  }
  Saw(GuestDeviceKey(vm, *port), std::nullopt);
  OnVmChanged(vm);
  Announce({ObjectKind::kPort, *port});
}

void Engine::OnGuestUnplugError(const std::string& vm, const std::string& device_id) {
  const std::optional<std::string> port = PortOfDevice(vm, device_id);
  if (!port) return;
  Unit& unit = UnitOf({UnitKind::kPort, *port});
  unit.step = "guest-device delete";
  unit.error =
      PeerError(absl::StatusCode::kUnavailable, absl::StrCat("remove ", device_id, " from VM ", vm),
                "the guest refused (DEVICE_UNPLUG_GUEST_ERROR)");
  Record(unit, unit.step, unit.error);
  Announce({ObjectKind::kPort, *port});
}

}  // namespace fairlead
