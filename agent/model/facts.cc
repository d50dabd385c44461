// SPDX-License-Identifier: Apache-2.0
#include "agent/model/facts.h"

namespace fairlead {

const VfFacts* HostFacts::FindVf(const VfId& id) const {
  auto pf = pfs.find(id.pf);
  if (pf == pfs.end()) return nullptr;
  // Not indexed directly: a VF that is just coming up may be missing.
  for (const VfFacts& vf : pf->second.vfs) {
    if (vf.index == id.index) return &vf;
  }
  return nullptr;
}

std::string_view AttachmentPhaseName(AttachmentPhase phase) {
  switch (phase) {
    case AttachmentPhase::kApplying:
      return "applying";
    case AttachmentPhase::kReady:
      return "ready";
    case AttachmentPhase::kRollingBack:
      return "rolling-back";
    case AttachmentPhase::kReleasing:
      return "releasing";
  }
  return "attachment";
}

}  // namespace fairlead
