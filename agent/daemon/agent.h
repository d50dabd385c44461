// SPDX-License-Identifier: Apache-2.0
//
// Purpose: one running agent with its endpoints. Everything is built here by
// constructor; whoever has ports (the kernel's or fakes) can have one.
//
// A store that cannot be used for now (a full or read-only disk, a damaged file) keeps an
// agent from nothing but its work: every request is refused with the reason, the host and
// its VMs stay as they are, and the agent begins when the store is mended.
//
// Threading: construct, use and destroy on the thread that runs the loop.
// Ownership: owns core and server; borrows the loop, the clock and what Ports
// points to.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "agent/daemon/core.h"
#include "agent/runtime/loop.h"
#include "agent/transport/server.h"

namespace fairlead {

class Agent {
 public:
  // Opens the endpoints, then the store, and starts. Errors name what to do: what waiting
  // does not mend (a second agent, a path that is none) ends here. It waits for a store that
  // cannot be used, and refuses what it is asked meanwhile.
  static absl::StatusOr<std::unique_ptr<Agent>> Start(Loop* loop, const Clock* clock,
                                                      DaemonConfig config, Ports ports);

  // How it stands; of one that waits for its store, that.
  Standing standing();

 private:
  Agent(Loop* loop, const Clock* clock, DaemonConfig config, Ports ports);
  void OnRequest(const ReplyAddress& from, std::string_view payload, bool malformed);
  // Opens the store and starts the core; when the store is to blame, a while later again.
  absl::Status Begin();
  void TryAgainLater(const std::string& problem);

  Loop* loop_;
  const Clock* clock_;
  DaemonConfig config_;
  Ports ports_;
  std::string problem_;  // why there is no core
  std::unique_ptr<Server> server_;
  std::unique_ptr<Core> core_;  // ends first: it publishes
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace fairlead
