// SPDX-License-Identifier: Apache-2.0
//
// Purpose: whether a connection that conntrack knows would be allowed to begin now, by the
// security groups of the VPC whose zone it is in. Who its ends are is told by their addresses;
// where that leaves several ports (allowed pairs, routers), one that is allowed it is enough.
//
// Threading: pure functions.
#pragma once

#include <functional>
#include <string>

#include "agent/base/connection.h"
#include "agent/model/world.h"
#include "dataplane/pipeline/policy.h"

namespace fairlead {

// Not owned.
struct ConnectionHost {
  const World* world = nullptr;
  std::function<bool(const std::string& port)> bound;  // it is attached here
};

// A connection of no port here is allowed by nobody.
bool IsAllowed(const ConnectionHost& host, const StoredObject& vpc, const VpcPolicies& policies,
               const ConnectionTuple& tuple);

}  // namespace fairlead
