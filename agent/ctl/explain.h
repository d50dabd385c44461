// SPDX-License-Identifier: Apache-2.0
//
// Purpose: explain flow: what becomes of one packet, rule by rule.
//
// Threading: blocks the caller. Errors: as text on `err` and an exit code.
#pragma once

#include <string>

#include "agent/ctl/options.h"

namespace fairlead::v1 {
class FlowExplanation;
}  // namespace fairlead::v1

namespace fairlead {

class Session;

// What is wrong with the options of the command line, which it makes plain values of; "" =
// nothing. What they mean on a host is the agent's to say.
std::string ReadFlow(FlowOptions* flow);

int RunExplainFlow(Session& session);
std::string RenderFlow(const v1::FlowExplanation& flow);

}  // namespace fairlead
