// SPDX-License-Identifier: Apache-2.0
//
// The eswitch of a NIC, which is changed with its VF pool's unit, and only while none
// of its VFs is in use.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

// A reason names this many VFs; a NIC may have hundreds.
constexpr size_t kMostNamed = 8;
// The step of a pool's unit that is about the eswitch; any other is about the VFs.
constexpr char kEswitchStep[] = "pf update";

}  // namespace

std::string Engine::HoldEswitch(std::vector<Resource>& wanted) const {
  const auto eswitch = std::find_if(wanted.begin(), wanted.end(), [](const Resource& resource) {
    return resource.key.kind == ResourceKind::kPf;
  });
  if (eswitch == wanted.end()) return "";
  const ObservedResource* seen = observed_.Find(eswitch->key);
  if (seen != nullptr && Differences(eswitch->spec, *seen).empty()) return "";
  const NicId& pf = std::get<PfSpec>(eswitch->spec).pf;
  std::vector<std::string> in_use;
  for (const VfFacts& vf : facts_.pfs.at(pf).vfs) {
    const auto lease = attachments_.find({pf, vf.index});
    if (lease != attachments_.end() && MayBeHandedOut(lease->second)) {
      in_use.push_back(absl::StrCat("VF ", vf.index, " is leased to port ", lease->second.port));
      continue;
    }
    const std::string why = WhyInUse(vf, config_.compile.vf_driver);
    if (!why.empty()) in_use.push_back(absl::StrCat("VF ", vf.index, " is ", why));
  }
  if (in_use.empty()) return "";
  const size_t unnamed = in_use.size() > kMostNamed ? in_use.size() - kMostNamed : 0;
  in_use.resize(in_use.size() - unnamed);
  wanted.erase(eswitch);
  return absl::StrCat(
      "the eswitch is not changed while a VF there is in use: ", absl::StrJoin(in_use, ", "),
      unnamed == 0 ? "" : absl::StrCat(" and ", unnamed, " more"));
}

// A host that was booted has the leases of before and NICs in the mode after boot: those
// leases wait for representors, which come with the other mode only.
bool Engine::MayBeHandedOut(const Attachment& attachment) const {
  const auto unit = units_.find({UnitKind::kPort, attachment.port});
  return (unit != units_.end() && unit->second.in_flight) ||
         observed_.Contains(DriverBindingKey(attachment.vf));
}

// Each attempt shakes the NIC (its driver takes its netdevs down and up): one that said
// no for good is asked again at the next audit, not at once.
bool Engine::EswitchRefused(const Unit& unit) {
  return unit.ref.kind == UnitKind::kPool && unit.step == kEswitchStep && !unit.error.ok() &&
         !IsTransient(unit.error);
}

std::string Engine::eswitch_problem(const NicId& pf) const {
  const auto facts = facts_.pfs.find(pf);
  if (facts == facts_.pfs.end() || !facts->second.refused.empty()) return "";
  const std::string differs =
      EswitchDifference(facts->second.wanted_eswitch, facts->second.eswitch);
  if (differs.empty()) return "";
  std::string why;
  const auto pool = units_.find({UnitKind::kPool, pf.ToString()});
  if (pool != units_.end()) {
    why = pool->second.error.ok() ? pool->second.waits_for
                                  : std::string(pool->second.error.message());
  }
  return absl::StrCat(differs, why.empty() ? "" : "; ", why);
}

std::string Engine::pool_problem(const NicId& pf) const {
  const auto pool = units_.find({UnitKind::kPool, pf.ToString()});
  if (pool == units_.end() || pool->second.step == kEswitchStep) return "";
  return std::string(pool->second.error.message());
}

}  // namespace fairlead
