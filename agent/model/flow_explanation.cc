// SPDX-License-Identifier: Apache-2.0
#include "agent/model/flow_explanation.h"

namespace fairlead {

std::string_view RuleStandingName(RuleStanding standing) {
  switch (standing) {
    case RuleStanding::kHardware:
      return "hardware";
    case RuleStanding::kSoftware:
      return "software";
    case RuleStanding::kMissing:
      return "missing";
    case RuleStanding::kOtherContent:
      return "another content";
    case RuleStanding::kForeign:
      return "somebody else's";
  }
  return "";
}

std::string_view FlowVerdictName(FlowVerdict::Kind kind) {
  switch (kind) {
    case FlowVerdict::Kind::kDelivered:
      return "delivered";
    case FlowVerdict::Kind::kEncapsulated:
      return "encapsulated";
    case FlowVerdict::Kind::kUplink:
      return "leaves by the uplink";
    case FlowVerdict::Kind::kSlowPath:
      return "slow path";
    case FlowVerdict::Kind::kDropped:
      return "dropped";
    case FlowVerdict::Kind::kNotSent:
      return "not sent";
    case FlowVerdict::Kind::kToHost:
      return "passed to the host";
    case FlowVerdict::Kind::kUnknown:
      return "unknown";
  }
  return "";
}

std::string_view FlowPathName(FlowPath path) {
  switch (path) {
    case FlowPath::kNone:
      return "";
    case FlowPath::kHardware:
      return "hardware";
    case FlowPath::kPartly:
      return "hardware in part";
    case FlowPath::kSoftware:
      return "software";
    case FlowPath::kSlowPath:
      return "slow path";
  }
  return "";
}

}  // namespace fairlead
