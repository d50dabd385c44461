// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the rules of this host, listed for people a page at a time, and the traffic of a port;
// proto/fairlead/v1/agent.proto says what each field means to a reader.
//
// Threading: plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/counters.h"
#include "agent/model/flow_rule.h"

namespace fairlead {

inline constexpr uint32_t kMostRulesListed = 1000;  // of a page

struct RuleQuestion {
  std::string match;
  std::string port;                   // "" = of whomever
  std::optional<RuleLocation> after;  // none: from the first one on
  uint32_t limit = kMostRulesListed;
  bool counters = false;
};

enum class RuleState : uint8_t {
  kInHardware,
  kInPart,
  kInSoftware,
  kSlowPath,
  kRefused,
  kMissing,
  kOtherContent,
  kUnwanted,
  kForeign,
};
std::string_view RuleStateName(RuleState state);  // "in hardware", "slow path", ...

struct RuleView {
  RuleLocation location;
  std::string stage;
  std::string text;
  std::string owner;
  RuleState state = RuleState::kMissing;
  std::string detail;
  uint32_t in_hw_count = 0;        // 0 in hardware: not read since the start
  uint32_t offered = 0;            // to so many devices; 0: that is not known
  uint16_t ethertype = kEtherAll;  // of what stands there
  std::optional<RuleCounters> counters;
};

struct RuleList {
  std::vector<RuleView> rules;
  std::optional<RuleLocation> next;  // none: there are no more
  std::string counters_problem;
};

struct PortTraffic {
  RuleCounters sent, received;
};

}  // namespace fairlead
