// SPDX-License-Identifier: Apache-2.0
//
// Purpose: judges a VF that was given back: what it and its representor show afterwards, and
// what giving it back met -> of what it is proven clean, what cannot be proven, what is left.
//
// Threading: pure functions on values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/model/facts.h"
#include "agent/model/resource.h"
#include "agent/model/sanitation.h"

namespace fairlead {

struct SanitationEvidence {
  VfFacts seen;           // afterwards; `gone`: the VF is no more
  std::string vf_driver;  // that VFs are handed out with
  // What it came with.
  std::optional<MacAddress> own_mac;
  std::optional<uint32_t> mtu;  // of its representor
  // What giving it back did; none: that did not come so far.
  std::optional<VfCleaning> cleaning;
  // What of that did not succeed, in the peer's words; "" = it did.
  std::string binding_kept, representor_kept, settings_kept;
  // Of its representor, when that is in a block or carries a mark of ours.
  std::optional<RepresentorSpec> representor;
  std::optional<TrafficCounters> counters;  // of its representor
};

// Each of kSanitationChecks once, in that order; without "representor" where it has none.
std::vector<Finding> JudgeVf(const SanitationEvidence& evidence);

// Why a VF with these findings is quarantined; "" = it is not.
std::string WhyQuarantined(const std::vector<Finding>& findings, const SanitationPolicy& policy);

bool AnyDirty(const std::vector<Finding>& findings);

}  // namespace fairlead
