// SPDX-License-Identifier: Apache-2.0
//
// Purpose: replies as the service sends them.
// Threading: pure functions.
#pragma once

#include <string>
#include <vector>

#include "agent/intent/admit.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {

std::string Serialise(const v1::Reply& reply);
v1::Reply ReplyTo(const v1::Request& request);  // without a body
std::string Rejection(const v1::Request& request, const std::vector<Violation>& violations);

}  // namespace fairlead
