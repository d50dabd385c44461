// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the wire form of questions about rules, and of what they are answered.
//
// Threading: pure functions. Errors: as violations, each with the path of its field.
#pragma once

#include <variant>
#include <vector>

#include "agent/intent/admit.h"
#include "agent/model/rule_list.h"

namespace fairlead::v1 {
class Counters;
class ListRules;
class RuleList;
class Traffic;
}  // namespace fairlead::v1

namespace fairlead {

std::variant<RuleQuestion, std::vector<Violation>> ParseRuleQuestion(const v1::ListRules& wire);

void ToProto(const RuleCounters& counters, v1::Counters* out);
void ToProto(const PortTraffic& traffic, v1::Traffic* out);
void ToProto(const RuleList& list, v1::RuleList* out);

}  // namespace fairlead
