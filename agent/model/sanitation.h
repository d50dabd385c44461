// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what is known of a VF that was given back: of what it was seen to be free, what
// its NIC cannot show, and what is left of its last tenant. A VF of which something is left
// is quarantined: nobody gets it until an operator releases it.
//
// Threading: plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/types.h"

namespace fairlead {

// What is looked at, in the order of a record.
inline constexpr const char* kSanitationChecks[] = {
    "driver",     "reset",       "mac", "vlan",  "spoof-check", "trust", "max-rate", "min-rate",
    "link-state", "representor", "mtu", "rules", "counters",    "guid",  "pkey"};

enum class FindingState : uint8_t {
  kClean,       // seen to be as nobody's
  kUnprovable,  // there is no way to see it; `why` says what is missing
  kDirty,       // seen to be another, or known not to be done; `why` says what it should be
};
inline constexpr FindingState kAllFindingStates[] = {
    FindingState::kClean, FindingState::kUnprovable, FindingState::kDirty};
std::string_view FindingStateName(FindingState state);  // "clean", ...

struct Finding {
  std::string what;  // of kSanitationChecks
  FindingState state = FindingState::kDirty;
  std::string value;             // as it was seen; "" = it was not
  std::string why;               // "" when clean
  std::string ToString() const;  // "vlan is 100: should be none"
  friend bool operator==(const Finding&, const Finding&) = default;
};

enum class Verdict : uint8_t {
  kClean,        // it may be handed out
  kQuarantined,  // it may not
  kReleased,     // it may: an operator said so, whatever was found
};
inline constexpr Verdict kAllVerdicts[] = {Verdict::kClean, Verdict::kQuarantined,
                                           Verdict::kReleased};
std::string_view VerdictName(Verdict verdict);  // "clean", ...

// Of the last lease of a VF that ended.
struct SanitationRecord {
  VfId vf;
  Verdict verdict = Verdict::kQuarantined;
  std::string reason;  // why it is, or was before its release, quarantined; "" = it was not
  std::vector<Finding> findings;
  std::chrono::system_clock::time_point checked_at;
  // Its last tenant.
  Lease lease = 0;
  std::string port;
  std::string vm;  // "" = none
  // What it came to that tenant with, which a later check compares with.
  std::optional<MacAddress> own_mac = {};
  std::optional<uint32_t> mtu = {};
  // Set together when an operator released it: after a check that found it clean, or not.
  std::string released_by = {};  // the controller that asked; "" = nobody
  std::chrono::system_clock::time_point released_at = {};
  friend bool operator==(const SanitationRecord&, const SanitationRecord&) = default;
};

// What is dirty always quarantines.
struct SanitationPolicy {
  bool unprovable_quarantines = false;
  std::set<std::string> accepted = {};  // checks that may be unprovable all the same
  friend bool operator==(const SanitationPolicy&, const SanitationPolicy&) = default;
};

// What giving a VF back did.
struct VfCleaning {
  enum class Reset : uint8_t { kDone, kNone, kFailed };  // kNone: it offers none
  Reset reset = Reset::kFailed;
  std::string reset_words;  // of the failure
  // Checks for whose setting the NIC has no call: nobody can have set that through it.
  std::set<std::string> no_call = {};
  friend bool operator==(const VfCleaning&, const VfCleaning&) = default;
};

}  // namespace fairlead
