// SPDX-License-Identifier: Apache-2.0
//
// A port whose function hot-plug brings, as a DPU does. It waits for the function that
// it expects, and goes back to waiting whenever the function is pulled. Whoever brings
// it forwards for it: no rule, no representor, no tunnel is made here, and its VPC's
// units are not waited for.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

// The step that a port is at while its function is to come.
constexpr char kStep[] = "function";

}  // namespace

// Pending until the deadline, failed afterwards; attached whenever it comes.
void Engine::WaitForFunction(Unit& unit, const StoredObject& object, const absl::Status& why) {
  const Port& port = std::get<Port>(object.object);
  const auto deadline = FunctionDeadline(port, facts_);
  const bool anew = !unit.function_due || unit.function_generation != object.generation;
  if (anew) {
    unit.function_due = clock_->Now() + deadline;
    unit.function_generation = object.generation;
  }
  const std::string words =
      absl::StrCat(unit.function_lost, unit.function_lost.empty() ? "" : "; ", why.message());
  const auto left = *unit.function_due - clock_->Now();
  if (left <= left.zero()) {
    AttachFailed(unit, kStep,
                 absl::DeadlineExceededError(absl::StrCat(words, "; it did not come within ",
                                                          deadline.count(),
                                                          " ms, and is taken when it does")),
                 object.generation);
    return;
  }
  unit.failed = false;
  unit.error = absl::OkStatus();
  failed_ports_.erase(port.id);
  unit.step = kStep;
  unit.waits_for = words;
  if (!anew) return;
  executor_->After(std::chrono::ceil<std::chrono::milliseconds>(left),
                   [this, alive = std::weak_ptr<bool>(alive_), ref = unit.ref] {
                     if (!alive.expired() && FindUnit(ref) != nullptr) MarkDirty(ref);
                   });
}

void Engine::OnHotplugPortObserved(const NicId& port) {
  std::vector<Attachment> lost;
  for (const auto& [vf, attachment] : attachments_) {
    if (vf.pf == port && facts_.FindVf(vf) == nullptr) lost.push_back(attachment);
  }
  for (const Attachment& attachment : lost) LoseFunction(attachment);
  // One whose deadline passed looks again at once: it did nothing that could have made
  // what it sees now.
  for (const std::string& id : failed_ports_) {
    Unit* unit = FindUnit({UnitKind::kPort, id});
    if (unit != nullptr && unit->step == kStep) unit->retry_at.reset();
  }
}

// What was made of it went with it; what QEMU has is asked of QEMU.
void Engine::LoseFunction(const Attachment& attachment) {
  SetObserved(VfKey(attachment.vf), std::nullopt);
  SetObserved(DriverBindingKey(attachment.vf), std::nullopt);
  Unit& unit = UnitOf({UnitKind::kPort, attachment.port});
  if (!unit.function_lost.empty()) return;
  unit.function_lost = "the function went away";
  Record(unit, kStep, absl::UnavailableError(unit.function_lost));
  unit.retry_at.reset();  // whatever failed is over
  unit.error = absl::OkStatus();
  if (!attachment.vm.empty()) ObserveVm(attachment.vm);
  MarkDirty(unit.ref);
}

void Engine::ContinueFunction(Unit& unit, const StoredObject& object, Attachment& attachment) {
  const Port& port = std::get<Port>(object.object);
  unit.waits_for = MissingForRules(attachment);  // its NIC's port, that is
  if (!unit.waits_for.empty()) return;
  if (pf_scope_[attachment.vf.pf].error.ok()) {
    std::string lost = unit.function_lost;
    if (lost.empty()) {
      lost = WhyFunctionLost(port, attachment, facts_, config_.compile.vf_driver);
    }
    if (!lost.empty()) {
      if (unit.function_lost.empty()) Record(unit, kStep, absl::UnavailableError(lost));
      unit.function_lost = std::move(lost);
      unit.step = kStep;
      SetPhase(unit, attachment, AttachmentPhase::kReleasing);
      return;
    }
  }
  unit.waits_for = MissingObservation(unit, attachment);
  if (!unit.waits_for.empty()) return;
  if (GiveUpTaken(unit, attachment)) return;
  if (const VfFacts* vf = facts_.FindVf(attachment.vf); vf != nullptr && vf->leaving) {
    PortUnitFailed(unit, kStep,
                   absl::UnavailableError(absl::StrCat(
                       "the function is being pulled, and VM ", attachment.vm,
                       " still holds it: the kernel waits until the guest lets go of it")));
    return;
  }
  ClaimLeftBehind(unit, attachment);
  if (PlaceAgain(unit, attachment)) return;
  if (const absl::Status& error = vms_[attachment.vm].error; !error.ok()) {
    PortUnitFailed(unit, "vm connect", error);
    return;
  }
  const absl::StatusOr<std::vector<Resource>> wanted = CompilePortUnit(object, attachment);
  if (!wanted.ok()) {
    PortUnitFailed(unit, "compile", wanted.status());
    return;
  }
  switch (Converge(unit, *wanted)) {
    case Progress::kWorking:
    case Progress::kWaiting:
      return;
    case Progress::kConflict:
      PortUnitFailed(unit, "compare", absl::AlreadyExistsError(unit.waits_for));
      return;
    case Progress::kSettled:
      break;
  }
  TakeAsReady(unit, object, attachment);
}

}  // namespace fairlead
