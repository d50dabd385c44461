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

}  // namespace

std::string Engine::HoldEswitch(std::vector<Resource>& wanted) const {
  const auto eswitch = std::find_if(wanted.begin(), wanted.end(), [](const Resource& resource) {
    return resource.key.kind == ResourceKind::kPf;
  });
  if (eswitch == wanted.end()) return "";
  const auto seen = observed_.find(eswitch->key);
  if (seen != observed_.end() && Differences(eswitch->spec, seen->second).empty()) return "";
  const NicId& pf = std::get<PfSpec>(eswitch->spec).pf;
  std::vector<std::string> in_use;
  for (auto it = attachments_.lower_bound({pf, 0}); it != attachments_.end() && it->first.pf == pf;
       ++it) {
    in_use.push_back(absl::StrCat("VF ", it->first.index, " is leased to port ", it->second.port));
  }
  for (const VfFacts& vf : facts_.pfs.at(pf).vfs) {
    if (attachments_.contains({pf, vf.index})) continue;
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

// Each attempt shakes the NIC (its driver takes its netdevs down and up): one that said
// no for good is asked again at the next audit, not at once.
bool Engine::EswitchRefused(const Unit& unit) {
  return unit.ref.kind == UnitKind::kPool && unit.step == "pf update" && !unit.error.ok() &&
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

}  // namespace fairlead
