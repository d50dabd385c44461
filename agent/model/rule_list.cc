// SPDX-License-Identifier: Apache-2.0
#include "agent/model/rule_list.h"

namespace fairlead {

std::string_view RuleStateName(RuleState state) {
  switch (state) {
    case RuleState::kInHardware:
      return "in hardware";
    case RuleState::kInPart:
      return "in hardware in part";
    case RuleState::kInSoftware:
      return "in software";
    case RuleState::kSlowPath:
      return "slow path";
    case RuleState::kRefused:
      return "refused";
    case RuleState::kMissing:
      return "missing";
    case RuleState::kOtherContent:
      return "another content";
    case RuleState::kUnwanted:
      return "unwanted";
    case RuleState::kForeign:
      return "somebody else's";
  }
  return "";
}

}  // namespace fairlead
