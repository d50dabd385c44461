// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the wire form of questions about flows and of what they are answered.
//
// Threading: pure functions. Errors: as violations, each with the path of its field.
#pragma once

#include <variant>
#include <vector>

#include "agent/intent/admit.h"
#include "agent/model/flow_explanation.h"

namespace fairlead::v1 {
class ExplainFlow;
class FlowExplanation;
}  // namespace fairlead::v1

namespace fairlead {

// Each field by itself, and which of them go together. What they mean on this host is
// agent/compile/explain_flow.h.
std::variant<FlowQuestion, std::vector<Violation>> ParseFlowQuestion(const v1::ExplainFlow& wire);

void ToProto(const FlowExplanation& explanation, v1::FlowExplanation* out);

}  // namespace fairlead
