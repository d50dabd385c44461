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
namespace {

// How often it is tried to cut a VF off, where what keeps failing may pass, before the
// guest is asked all the same.
constexpr int kMostCutOffTries = 5;

}  // namespace

void Engine::Teardown(Unit& unit, Attachment& attachment) {
  if (CutOff(unit, attachment)) return;
  unit.waits_for = MissingObservation(unit, attachment);
  if (!unit.waits_for.empty()) return;
  CleanOnce(unit, attachment);
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
  if (unit.removal_asked && observed_.Contains(device)) {
    const auto waited = clock_->Now() - *unit.removal_asked;
    if (waited < config_.removal_ask_again) {
      unit.removal_overdue = waited >= config_.removal_patience;
      unit.step = "guest-device delete";
      unit.waits_for = absl::StrCat(
          "QEMU was asked to remove ", GuestDeviceIdOf(config_.compile.store_id, attachment),
          " from VM ", attachment.vm, " and has not confirmed it",
          unit.removal_overdue
              ? absl::StrCat(" for ",
                             std::chrono::duration_cast<std::chrono::seconds>(waited).count(),
                             " s: the guest does not let go of it")
              : "",
          unit.not_cut_off.empty() ? "" : "; ", unit.not_cut_off);
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
    unit.not_cut_off.clear();  // tried again too
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
  const std::string rule = StillSentTo(attachment);
  if (!rule.empty()) {
    // Whoever got the VF next would get another tenant's frames.
    unit.step = "flow-rule delete";
    unit.waits_for = absl::StrCat("the rule ", rule, " may still send to its VF");
    RetryLater(unit);
    return;
  }
  unit.waits_for = ConnectionsLeft(attachment);
  if (!unit.waits_for.empty()) {
    unit.step = "connections";
    return;
  }
  // What hot-plug brought goes back to whoever brought it.
  if (unit.fresh_lease || attachment.vf.pf.is_hotplug_port()) return EndLease(unit, attachment);
  if (std::optional<SanitationRecord> record = Sanitize(unit, attachment)) {
    EndLease(unit, attachment, std::move(record));
  }
}

bool Engine::MaySendTo(const ResourceKey& key, const VfId& vf) const {
  const Observed::Rule* seen =
      key.kind == ResourceKind::kFlowRule ? observed_.FindRule(key.rule) : nullptr;
  if (seen == nullptr || !seen->ours) return false;
  const auto wanted = wanted_.find(key);
  if (wanted == wanted_.end()) return true;  // what it does is not known
  const FlowRule& rule = std::get<FlowRuleSpec>(wanted->second.spec).rule;
  if (rule.ContentHash() != seen->content_hash) return true;
  return std::any_of(rule.actions.begin(), rule.actions.end(), [&](const RuleAction& action) {
    const auto* mirror = std::get_if<ActionMirror>(&action);
    const auto* redirect = std::get_if<ActionRedirect>(&action);
    const DeviceRef* to = mirror != nullptr     ? &mirror->to
                          : redirect != nullptr ? &redirect->to
                                                : nullptr;
    return to != nullptr && to->kind == DeviceRef::Kind::kRepresentor && to->vf == vf;
  });
}

std::string Engine::StillSentTo(const Attachment& attachment) const {
  if (!attachment.block()) return "";  // no rule knows it
  if (std::string route = RouteStillSentTo(attachment); !route.empty()) return route;
  // Else only the port's own rules name its VF, and those that nobody wants may; in a provider
  // network those of the VPC too, which copy what is sent to a group.
  const auto vpc = units_.find({UnitKind::kVpc, attachment.vpc});
  if (attachment.uplink && vpc != units_.end()) {
    for (const ResourceKey& key : vpc->second.keys) {
      if (MaySendTo(key, attachment.vf)) return key.rule.ToString();
    }
  }
  const auto stands = [this](const ResourceKey& key) {
    return key.kind == ResourceKind::kFlowRule && observed_.IsOurs(key);
  };
  if (const auto orphans = units_.find({UnitKind::kOrphans, ""}); orphans != units_.end()) {
    const std::set<ResourceKey>& keys = orphans->second.keys;
    const auto left = std::find_if(keys.begin(), keys.end(), stands);
    if (left != keys.end()) return left->rule.ToString();
  }
  if (!orphans_pending_ && !orphans_left_) return "";
  // After a restart rules may stand that nobody has claimed yet. Those of other VPCs
  // are told by their owners' ordinals.
  std::set<uint32_t> of_others;
  for (const auto& [vf, other] : attachments_) {
    if (other.block() == attachment.block()) {
      const auto owner = units_.find({UnitKind::kPort, other.port});
      if (vf == attachment.vf || (owner != units_.end() && owner->second.scanned)) continue;
      return absl::StrCat("(of port ", other.port, ", not known yet)");
    }
    of_others.insert(other.port_ordinal);
    if (const StoredObject* vpc = world_.Find({ObjectKind::kVpc, other.vpc})) {
      of_others.insert(vpc->ordinal);
    }
  }
  for (const RuleTable& table : TablesOf(attachment.block())) {
    for (const auto& [place, rule] : observed_.TableOf(table).rules) {
      if (!rule.ours || (place.chain == 0 && place.priority == kPrioDefaultDrop)) continue;
      if (StageOfChain(place.chain) != Stage::kDeliver) continue;  // it sends to no device
      if (!table.is_block() && of_others.contains(place.handle)) continue;
      const RuleLocation at = At(table, place);
      if (!Claimed(at)) return at.ToString();
    }
  }
  return "";
}

// The guest may take long to let go, its monitor may be held and its NIC hang:
// nothing of that is waited for. The rules go first, so that the port's MAC is
// free for others; then its link, because the rules of the others match where a
// frame goes to and not where it comes from. In a VLAN that is all there is, and the
// VF's own.
bool Engine::CutOff(Unit& unit, const Attachment& attachment) {
  // Nothing here leads to it, and whether it is there must be seen before it is claimed.
  if (attachment.vf.pf.is_hotplug_port()) {
    unit.not_cut_off = "this host cannot cut it off meanwhile: whoever brings its function can";
    return false;
  }
  if (TablesKnown(attachment.block())) ClaimLeftBehind(unit, attachment);
  if (DeleteRulesFirst(unit)) return true;
  if (unit.refresh || unit.refreshing) return false;
  std::optional<Operation> off = LinkOff(unit, attachment);
  if (!off) return false;
  unit.step = absl::StrCat(std::string(ResourceKindName(off->resource.key.kind)), " down");
  Dispatch(unit, {*std::move(off)});
  return true;
}

std::optional<Operation> Engine::LinkOff(const Unit& unit, const Attachment& attachment) const {
  Operation operation;
  operation.verb = Operation::Verb::kUpdate;
  operation.detail = "up -> down";
  if (!attachment.block() && attachment.vlan) {
    // Only the PF's driver can do it, and only what was handed out needs it.
    const ObservedResource* vf = observed_.Find(VfKey(attachment.vf));
    if (vf == nullptr || !observed_.Contains(DriverBindingKey(attachment.vf)) ||
        std::get<VfSpec>(vf->spec).settings.link_disabled != false || !unit.not_cut_off.empty()) {
      return std::nullopt;
    }
    operation.resource.key = vf->key;
    operation.resource.spec = VfSpec{attachment.vf, {}, {.link_disabled = true}};
    operation.current = *vf;
    return operation;
  }
  const ObservedResource* seen = observed_.Find(RepresentorKey(attachment.vf));
  if (seen == nullptr || !seen->ours || !unit.not_cut_off.empty()) return std::nullopt;
  RepresentorSpec spec = std::get<RepresentorSpec>(seen->spec);
  if (!spec.up || spec.block != attachment.block()) return std::nullopt;
  spec.up = false;
  spec.default_drop = true;
  operation.resource.key = seen->key;
  operation.resource.spec = spec;
  operation.current = *seen;
  return operation;
}

bool Engine::CutOffRefused(Unit& unit, const Operation& operation, const absl::Status& status) {
  const auto* vf = std::get_if<VfSpec>(&operation.resource.spec);
  const auto* representor = std::get_if<RepresentorSpec>(&operation.resource.spec);
  const bool of_vf = vf != nullptr && vf->settings.link_disabled == true;
  const bool of_representor =
      representor != nullptr && !representor->up && operation.verb == Operation::Verb::kUpdate;
  if ((!of_vf && !of_representor) || status.ok()) return false;
  // Not every NIC has a call for the link of a VF; a representor can be taken down, so that
  // it is not counts only when it is refused for good, time and again.
  const bool early = unit.attempts < kMostCutOffTries;
  if (of_vf ? IsTransient(status) && early : IsTransient(status) || early) return false;
  unit.not_cut_off =
      absl::StrCat("its VF cannot be cut off on this NIC meanwhile: ", status.message());
  return true;
}

bool Engine::DeleteRulesFirst(Unit& unit) {
  std::vector<Operation> operations;
  for (const ResourceKey& key : unit.keys) {
    if (key.kind != ResourceKind::kFlowRule || !observed_.IsOurs(key)) continue;
    wanted_.erase(key);
    Operation operation;
    operation.verb = Operation::Verb::kDelete;
    operation.resource.key = key;
    operation.current = observed_.Get(key);
    operation.resource.spec = operation.current->spec;
    operations.push_back(std::move(operation));
  }
  if (operations.empty()) return false;
  unit.step = "flow-rule delete";
  Dispatch(unit, std::move(operations));
  return true;
}

void Engine::ReleaseVmIfUnused(const std::string& vm) {
  if (vm.empty() || !vms_.contains(vm) || !world_.PortsOfVm(vm).empty()) return;
  if (leases_of_vm_.contains(vm)) return;
  vms_.erase(vm);
  NoteForeignDevices(vm, {});
  executor_->ReleaseVm(vm);
}

// What is known of a block that no attachment has any more; it is dumped again
// when the next one comes.
void Engine::ForgetBlockIfUnused(const std::optional<RuleTable>& block) {
  if (!block || leases_of_block_.contains(*block)) return;
  const auto scope = table_scope_.find(*block);
  if (scope != table_scope_.end() && !scope->second.in_flight) table_scope_.erase(scope);
}

void Engine::EndLease(Unit& unit, const Attachment& attachment,
                      std::optional<SanitationRecord> record) {
  unit.in_flight = true;
  StoreBatch batch;
  batch.released.push_back(attachment.vf);
  if (record) batch.sanitation.push_back(*record);
  executor_->Commit(std::move(batch), [this, alive = std::weak_ptr<bool>(alive_), ref = unit.ref,
                                       attachment, record](absl::Status status) {
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
    if (record) SetSanitation(*record);
    DropLease(attachment);
    UpdateBound(attachment.port);
    // What is seen of the VF from now on is not ours to compare.
    for (const ResourceKey& key :
         {VfKey(attachment.vf), RepresentorKey(attachment.vf), DriverBindingKey(attachment.vf)}) {
      observed_.Erase(key);
      claimant_.erase(key);
      wanted_.erase(key);
    }
    const std::optional<RuleTable> block = attachment.block();
    ForgetBlockIfUnused(block);
    // The last one took the block along, for which the VPC's network may wait.
    if (!leases_of_vpc_.contains(attachment.vpc) || (block && !leases_of_block_.contains(*block))) {
      MarkVpcNetwork(attachment.vpc);
    }
    unit->keys.clear();
    unit->removal_asked.reset();
    unit->removal_overdue = false;
    unit->verified = false;
    unit->giving_back = {};
    const bool failed = attachment.phase != AttachmentPhase::kReleasing;
    const StoredObject* object = world_.Find({ObjectKind::kPort, attachment.port});
    const bool lost = !unit->function_lost.empty();  // it waits for another
    if (failed && !lost && !unit->cause.ok() && object != nullptr &&
        object->generation == attachment.generation) {
      AttachFailed(*unit, unit->cause_step, unit->cause, attachment.generation);
      // What is wrong with one VF need not be wrong with the next.
      if (shunned_.contains(attachment.vf) && AnotherVfIsFree(attachment.port)) {
        unit->failed_facts = 0;
      }
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
