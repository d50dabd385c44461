// SPDX-License-Identifier: Apache-2.0
//
// VFs that were given back: what is known of them, those that could not be proven clean, and
// an operator's way out for these.
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/plan/sanitation.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

// How often a VF is cleaned, and looked at, before it is given up for dirty.
constexpr int kMostCleanings = 5;

bool IsGoing(const Attachment& attachment) {
  return attachment.phase == AttachmentPhase::kReleasing ||
         attachment.phase == AttachmentPhase::kRollingBack;
}

std::string WordsOf(const absl::Status& status) { return std::string(status.message()); }

}  // namespace

// What the NIC, or the kernel, refuses for good is left, so that the rest is cleaned all the
// same; what may pass is tried until it does.
bool Engine::CleaningRefused(Unit& unit, const Operation& operation, const ApplyResult& result) {
  const Attachment* attachment =
      unit.ref.kind == UnitKind::kPort ? AttachmentOf(unit.ref.id) : nullptr;
  const ResourceKey& key = operation.resource.key;
  const bool of_vf = key.kind == ResourceKind::kVf || key.kind == ResourceKind::kRepresentor ||
                     key.kind == ResourceKind::kDriverBinding;
  if (attachment == nullptr || !of_vf || operation.verb != Operation::Verb::kDelete ||
      !IsGoing(*attachment) || attachment->vf.pf.is_hotplug_port()) {
    return false;
  }
  GivingBack& back = unit.giving_back;
  if (result.cleaning) back.did = result.cleaning;
  if (result.status.ok()) {
    back.refused.erase(key);
    if (key.kind == ResourceKind::kVf) back.cleaned = true;
    return false;
  }
  if (IsTransient(result.status)) return false;
  GivingBack::Refusal& refusal = back.refused[key];
  refusal.words = WordsOf(result.status);
  return ++refusal.times >= kMostCleanings;
}

bool Engine::GivenUp(const Unit& unit, const ResourceKey& key) {
  const auto refused = unit.giving_back.refused.find(key);
  return refused != unit.giving_back.refused.end() && refused->second.times >= kMostCleanings;
}

// Of a lease whose operations never began there is nothing to clean.
void Engine::CleanOnce(const Unit& unit, const Attachment& attachment) {
  if (attachment.vf.pf.is_hotplug_port() || unit.fresh_lease || unit.giving_back.cleaned ||
      GivenUp(unit, VfKey(attachment.vf))) {
    return;
  }
  CountAsSet(attachment);
}

SanitationEvidence Engine::EvidenceOf(const Unit& unit, const Attachment& attachment) const {
  const GivingBack& back = unit.giving_back;
  const auto words = [&](const ResourceKey& key) {
    return GivenUp(unit, key) ? back.refused.at(key).words : std::string();
  };
  SanitationEvidence evidence;
  if (const VfFacts* facts = facts_.FindVf(attachment.vf)) {
    evidence.seen = *facts;
  } else {
    evidence.seen.gone = true;
  }
  evidence.vf_driver = config_.compile.vf_driver;
  evidence.own_mac = attachment.vf_mac;
  evidence.mtu = attachment.mtu;
  evidence.cleaning = back.did;
  evidence.binding_kept = words(DriverBindingKey(attachment.vf));
  evidence.representor_kept = words(RepresentorKey(attachment.vf));
  evidence.settings_kept = words(VfKey(attachment.vf));
  if (const ObservedResource* seen = observed_.Find(RepresentorKey(attachment.vf))) {
    evidence.representor = std::get<RepresentorSpec>(seen->spec);
  }
  evidence.counters = back.counters;
  return evidence;
}

std::optional<SanitationRecord> Engine::Sanitize(Unit& unit, const Attachment& attachment) {
  const SanitationEvidence evidence = EvidenceOf(unit, attachment);
  GivingBack& back = unit.giving_back;
  SanitationRecord record;
  record.findings = JudgeVf(evidence);
  const bool busy = evidence.seen.driver == kBusyDriver;
  const bool given_up = GivenUp(unit, VfKey(attachment.vf)) ||
                        GivenUp(unit, RepresentorKey(attachment.vf)) ||
                        GivenUp(unit, DriverBindingKey(attachment.vf));
  if (busy || (AnyDirty(record.findings) && !given_up && ++back.dirty_looks < kMostCleanings)) {
    unit.step = "vf check";
    unit.waits_for = busy ? "the kernel is at work on its VF"
                          : WhyQuarantined(record.findings, SanitationPolicy());
    unit.verified = back.cleaned = false;
    RetryLater(unit);
    return std::nullopt;
  }
  record.vf = attachment.vf;
  record.reason = WhyQuarantined(record.findings, config_.sanitation);
  record.verdict = record.reason.empty() ? Verdict::kClean : Verdict::kQuarantined;
  record.checked_at = clock_->WallNow();
  record.lease = attachment.lease;
  record.port = attachment.port;
  record.vm = attachment.vm;
  record.own_mac = attachment.vf_mac;
  record.mtu = attachment.mtu;
  return record;
}

void Engine::SetSanitation(SanitationRecord record) {
  const VfId vf = record.vf;
  if (record.verdict == Verdict::kQuarantined) {
    quarantined_[vf] = record.reason;
  } else {
    quarantined_.erase(vf);
  }
  sanitation_.insert_or_assign(vf, std::move(record));
}

const SanitationRecord* Engine::SanitationOf(const VfId& vf) const {
  const auto it = sanitation_.find(vf);
  return it == sanitation_.end() ? nullptr : &it->second;
}

// --- An operator's way out.

struct Engine::VfRelease {
  VfId vf;
  std::string who;
  std::function<void(StoreBatch&)> sign;
  Lease lease = 0;  // of the cleaning; 0: nothing is done to it
  ReleaseDone done;
  SanitationEvidence evidence = {};
};

absl::Status Engine::WhyNotToRelease(const VfId& vf, bool force) const {
  const std::string name = absl::StrCat("VF ", vf.ToString());
  if (const auto lease = attachments_.find(vf); lease != attachments_.end()) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, " is not quarantined: it is leased to port ", lease->second.port));
  }
  const bool there = facts_.FindVf(vf) != nullptr;
  const SanitationRecord* record = SanitationOf(vf);
  const auto nic = pf_scope_.find(vf.pf);
  const bool will_be_known = nic != pf_scope_.end() && !nic->second.known;
  if (!there && will_be_known && (record == nullptr || !force)) {
    return absl::UnavailableError(absl::StrCat("the NIC of ", name, " is being observed"));
  }
  if (record == nullptr) {
    if (!there) return absl::NotFoundError(absl::StrCat(name, " is not on this host"));
    return absl::FailedPreconditionError(
        absl::StrCat(name, " is not quarantined: no port of this agent has had it"));
  }
  if (record->verdict != Verdict::kQuarantined) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, " is not quarantined: ",
                     record->verdict == Verdict::kClean
                         ? std::string("it was found clean")
                         : absl::StrCat("it was released by ", record->released_by)));
  }
  if (releasing_.contains(vf)) {
    return absl::UnavailableError(absl::StrCat(name, " is being released already"));
  }
  if (force) return absl::OkStatus();
  if (!there) {
    return absl::NotFoundError(
        absl::StrCat(name, " is not there to be checked; by force it is freed as it is"));
  }
  if (const PfFacts& pf = facts_.pfs.at(vf.pf); !pf.refused.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, " cannot be checked: its PF is not used: ", pf.refused));
  }
  return absl::OkStatus();
}

void Engine::ReleaseVf(const VfId& vf, bool force, const std::string& who,
                       std::function<void(StoreBatch&)> sign, ReleaseDone done) {
  if (absl::Status refused = WhyNotToRelease(vf, force); !refused.ok()) return done(refused);
  releasing_.insert(vf);
  auto release =
      std::make_shared<VfRelease>(VfRelease{vf, who, std::move(sign), 0, std::move(done)});
  if (force) {
    SanitationRecord record = sanitation_.at(vf);
    record.verdict = Verdict::kReleased;
    StoreRelease(release, std::move(record));
    return;
  }
  // What is done to it has a lease of its own, as ever.
  release->lease = next_lease_++;
  StoreBatch batch;
  batch.next_lease = next_lease_;
  executor_->Commit(std::move(batch), [this, alive = std::weak_ptr<bool>(alive_),
                                       release](const absl::Status& status) {
    if (alive.expired()) return;
    if (!status.ok()) return EndRelease(release, absl::AbortedError(status.message()));
    executor_->LeaseGranted(release->lease);
    ObserveReleased(release,
                    [this, release](const VfObservation& seen) { CleanReleased(release, seen); });
  });
}

void Engine::ObserveReleased(const std::shared_ptr<VfRelease>& release,
                             std::function<void(const VfObservation&)> then) {
  executor_->ObserveVf(release->vf, [this, alive = std::weak_ptr<bool>(alive_), release,
                                     then = std::move(then)](absl::StatusOr<VfObservation> seen) {
    if (alive.expired()) return;
    if (!seen.ok()) return EndRelease(release, seen.status());
    if (seen->facts.gone) {
      return EndRelease(
          release, absl::NotFoundError(absl::StrCat("VF ", release->vf.ToString(), " is gone")));
    }
    TakeVf(release->vf, seen->facts, seen->resources);
    then(*seen);
  });
}

void Engine::CleanReleased(const std::shared_ptr<VfRelease>& release, const VfObservation& seen) {
  const VfId& vf = release->vf;
  // Bound by us still, or busy, it says itself what hinders.
  if (seen.facts.driver != config_.compile.vf_driver && seen.facts.driver != kBusyDriver) {
    if (const std::string why = WhyInUse(seen.facts, config_.compile.vf_driver); !why.empty()) {
      return EndRelease(
          release, absl::FailedPreconditionError(absl::StrCat("VF ", vf.ToString(), " is ", why)));
    }
  }
  std::vector<Operation> operations;
  const auto remove = [&](const ResourceKey& key, ResourceSpec spec) {
    Operation operation;
    operation.verb = Operation::Verb::kDelete;
    operation.resource.key = key;
    operation.resource.spec = std::move(spec);
    operation.resource.lease = release->lease;
    operations.push_back(std::move(operation));
  };
  for (const ResourceKey& key : {DriverBindingKey(vf), RepresentorKey(vf)}) {
    for (const ObservedResource& resource : seen.resources) {
      if (resource.key == key && resource.ours) remove(key, resource.spec);
    }
  }
  remove(VfKey(vf), VfSpec{vf, sanitation_.at(vf).own_mac, {}});
  const std::string lane = LaneOf(operations.back().resource);
  executor_->Apply(lane, operations,
                   [this, alive = std::weak_ptr<bool>(alive_), release,
                    operations](const std::vector<ApplyResult>& results) {
                     if (alive.expired()) return;
                     SanitationEvidence& evidence = release->evidence;
                     for (size_t i = 0; i < operations.size() && i < results.size(); ++i) {
                       if (results[i].cleaning) evidence.cleaning = results[i].cleaning;
                       if (results[i].status.ok()) continue;
                       const ResourceKind kind = operations[i].resource.key.kind;
                       (kind == ResourceKind::kVf            ? evidence.settings_kept
                        : kind == ResourceKind::kRepresentor ? evidence.representor_kept
                                                             : evidence.binding_kept) =
                           WordsOf(results[i].status);
                     }
                     ObserveReleased(release, [this, release](const VfObservation& seen) {
                       JudgeReleased(release, seen);
                     });
                   });
}

// No rule can name it: the last one was seen to be gone before its lease ended.
void Engine::JudgeReleased(const std::shared_ptr<VfRelease>& release, const VfObservation& seen) {
  SanitationRecord record = sanitation_.at(release->vf);
  SanitationEvidence& evidence = release->evidence;
  evidence.seen = seen.facts;
  evidence.vf_driver = config_.compile.vf_driver;
  evidence.own_mac = record.own_mac;
  evidence.mtu = record.mtu;
  evidence.counters = seen.counters;
  for (const ObservedResource& resource : seen.resources) {
    if (resource.key == RepresentorKey(release->vf)) {
      evidence.representor = std::get<RepresentorSpec>(resource.spec);
    }
  }
  record.findings = JudgeVf(evidence);
  record.checked_at = clock_->WallNow();
  const std::string why = WhyQuarantined(record.findings, config_.sanitation);
  if (why.empty()) {
    record.verdict = Verdict::kClean;
  } else {
    record.reason = why;
  }
  StoreRelease(release, std::move(record));
}

// A lease that no object has: over before anybody can have the VF.
void Engine::StoreRelease(const std::shared_ptr<VfRelease>& release, SanitationRecord record) {
  if (record.verdict != Verdict::kQuarantined) {
    record.released_by = release->who;
    record.released_at = clock_->WallNow();
  }
  StoreBatch batch;
  batch.sanitation.push_back(record);
  release->sign(batch);
  executor_->Commit(std::move(batch), [this, alive = std::weak_ptr<bool>(alive_), release,
                                       record](const absl::Status& status) {
    if (alive.expired()) return;
    if (!status.ok()) return EndRelease(release, absl::AbortedError(status.message()));
    SetSanitation(record);
    EndRelease(release, record);
    WakeFailedPorts();
  });
}

void Engine::EndRelease(const std::shared_ptr<VfRelease>& release,
                        absl::StatusOr<SanitationRecord> result) {
  if (release->lease != 0) executor_->LeaseEnded(release->lease);
  releasing_.erase(release->vf);
  release->done(std::move(result));
}

}  // namespace fairlead
