// SPDX-License-Identifier: Apache-2.0
//
// Purpose: agents on simulated machines, one or many in a process: the real agent with
// its loop, lanes, store and endpoints. They share nothing but the process.
//
// Threading: Start and destroy on one thread; each host's agent runs on a thread of its
// own. Ownership: owns all; the stores stay in the run folder.
// Errors: kInvalidArgument, SystemError for folders, and the agent's own, each with the
// host's name.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/simulate/host_model.h"

namespace fairlead {

inline constexpr uint32_t kMostSimulatedHosts = 256;

struct SimulationOptions {
  // For sockets and stores, a folder below it for each host. Made with mode 0700; one that
  // is there must be ours alone to write.
  std::string run_dir;
  // One: the host of the model. More: NAME-0, NAME-1 ...; see NumberedHost.
  uint32_t hosts = 1;
  bool latency = false;
};

class Simulation {
 public:
  static absl::StatusOr<std::unique_ptr<Simulation>> Start(const HostModel& model,
                                                           const SimulationOptions& options);
  virtual ~Simulation() = default;

  struct Host {
    std::string name;
    std::string folder;    // holds fairleadd.yaml too, the configuration that it runs with
    std::string requests;  // endpoints
    std::string events;
    std::string tunnel;  // outer address
  };
  virtual const std::vector<Host>& hosts() const = 0;
};

// The hosts that Start would run, by everything that can be said before: with names, MACs and
// addresses of their own, and their stores below the run folder. kInvalidArgument.
absl::StatusOr<std::vector<HostModel>> SimulatedHosts(const HostModel& model,
                                                      const SimulationOptions& options);

// File descriptors that so many hosts need, and room for a few clients of each.
uint64_t FilesOfSimulation(uint32_t hosts);

// $XDG_RUNTIME_DIR/fairlead-sim, or /tmp/fairlead-sim-UID.
std::string DefaultRunDir();

// Of the calling thread, for the log; "" on others than an agent's loop thread.
const std::string& SimulatedHostName();

}  // namespace fairlead
