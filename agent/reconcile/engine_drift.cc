// SPDX-License-Identifier: Apache-2.0
//
// What others changed under the agent, and what a start made of what it found.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/reconcile/engine.h"

namespace fairlead {

// Drift is what stood as wanted, is not being worked on, and is seen to be otherwise.
void Engine::NoteDrift(const ResourceKey& key, const std::optional<ObservedResource>& now) {
  const auto wanted = wanted_.find(key);
  const auto claimant = claimant_.find(key);
  if (wanted == wanted_.end() || claimant == claimant_.end()) return;
  const std::optional<ObservedResource> before = observed_.Get(key);
  Unit* unit = FindUnit(claimant->second);
  if (!before || unit == nullptr || unit->in_flight || !before->ours) return;
  const ResourceSpec& spec = wanted->second.spec;
  if (!Differences(spec, *before).empty()) return;
  std::string change;
  if (!now) {
    change = absl::StrCat(Summary(before->spec.index() == spec.index() ? spec : before->spec),
                          " -> gone");
  } else if (!now->ours) {
    change =
        absl::StrCat("ours -> ", now->owner_words.empty() ? "somebody else's" : now->owner_words);
  } else if (!Differences(spec, *now).empty()) {
    change = key.kind == ResourceKind::kFlowRule
                 ? absl::StrCat(Summary(spec), " -> another content")
                 : absl::StrJoin(Differences(now->spec, *before), ", ");
  }
  if (change.empty()) return;
  ++drifts_noticed_;
  ++unit->drifts;
  unit->retry_at.reset();  // that something else of it failed is no reason to wait with this
  drifts_.push_back(
      {unit->ref.ToString(), key.ToString(), std::move(change), clock_->WallNow(), std::nullopt});
  if (drifts_.size() > kDriftsKept) drifts_.pop_front();
  listener_->OnDrift(drifts_.back());
}

// The unit is as wanted again.
void Engine::DriftsMended(Unit& unit) {
  drifts_repaired_ += std::exchange(unit.drifts, 0);
  const std::string owner = unit.ref.ToString();
  for (Drift& drift : drifts_) {
    if (drift.repaired || drift.owner != owner) continue;
    drift.repaired = clock_->WallNow();
    listener_->OnDrift(drift);
  }
}

void Engine::CountForStart(const Unit* unit, const Operation& operation) {
  const ResourceKey& key = operation.resource.key;
  // What nobody wants has no unit but that of the orphans, or one that is on its way out.
  if (operation.verb == Operation::Verb::kDelete) {
    if (!wanted_.contains(key)) ++start_.removed;
  } else if (unit != nullptr && unit->since_start) {
    touched_.insert(key);
  }
}

bool Engine::LookedAtAll() const {
  if (!observed_once() || orphans_pending_) return false;
  return std::all_of(units_.begin(), units_.end(), [this](const auto& entry) {
    const Unit& unit = entry.second;
    if (!unit.since_start && unit.ref.kind != UnitKind::kOrphans) return true;
    if (unit.retry_at || !unit.error.ok()) return true;  // it says itself what keeps it
    if (unit.queued || unit.in_flight) return false;
    if (unit.ref.kind != UnitKind::kPort) return true;
    const Attachment* attachment = AttachmentOf(unit.ref.id);
    if (attachment == nullptr || !pf_scope_.contains(attachment->vf.pf)) return true;
    return attachment->phase != AttachmentPhase::kReady || unit.ready_generation != 0;
  });
}

void Engine::FinishStart() {
  if (!LookedAtAll()) return;
  for (const auto& [key, resource] : wanted_) {
    if (touched_.contains(key)) {
      ++start_.repaired;
    } else if (observed_.IsOurs(key)) {
      ++start_.adopted;
    }
  }
  for (const auto& [table, seen] : observed_.tables()) {
    for (const auto& [place, rule] : seen.rules) {
      if (!rule.claimed) continue;
      const bool touched = !touched_.empty() && touched_.contains(FlowRuleKey(At(table, place)));
      ++(touched ? start_.repaired : start_.adopted);
    }
  }
  start_.foreign = Foreign().size();
  touched_.clear();
  start_.complete = true;
  if (!slow_path_.whole) TellSlowPathSoon();  // also of nothing: it may know of what is gone
  start_.took = std::chrono::duration_cast<std::chrono::milliseconds>(clock_->Now() - started_at_);
  listener_->OnStarted(start_);
}

}  // namespace fairlead
