// SPDX-License-Identifier: Apache-2.0
//
// Purpose: one running agent with its endpoints. Everything is built here by
// constructor; whoever has ports (the kernel's or fakes) can have one.
//
// Threading: construct, use and destroy on the thread that runs the loop.
// Ownership: owns core and server; borrows the loop, the clock and what Ports
// points to.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "agent/daemon/core.h"
#include "agent/runtime/loop.h"
#include "agent/transport/server.h"

namespace fairlead {

class Agent {
 public:
  // Opens the store and the endpoints and starts. Errors name what to do.
  static absl::StatusOr<std::unique_ptr<Agent>> Start(Loop* loop, const Clock* clock,
                                                      DaemonConfig config, Ports ports);

 private:
  std::unique_ptr<Server> server_;
  std::unique_ptr<Core> core_;  // ends first: it publishes
};

}  // namespace fairlead
