// SPDX-License-Identifier: Apache-2.0
#include "agent/model/sanitation.h"

#include "agent/base/text.h"

namespace fairlead {

std::string_view FindingStateName(FindingState state) {
  switch (state) {
    case FindingState::kClean:
      return "clean";
    case FindingState::kUnprovable:
      return "unprovable";
    case FindingState::kDirty:
      return "dirty";
  }
  return "finding";
}

std::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kClean:
      return "clean";
    case Verdict::kQuarantined:
      return "quarantined";
    case Verdict::kReleased:
      return "released";
  }
  return "verdict";
}

std::string Finding::ToString() const {
  return StrCat(what, value.empty() ? "" : " is ", value,
                state == FindingState::kUnprovable ? " (unprovable)" : "", why.empty() ? "" : ": ",
                why);
}

}  // namespace fairlead
