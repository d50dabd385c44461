// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the configuration that a real host like the model would have: what follows
// from the model, and the model's `config` section, which may hold every key of
// fairleadd.yaml that does not follow from it. Read by the daemon's own reader.
//
// Threading: free functions on values. Errors: kInvalidArgument.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/daemon/config.h"
#include "agent/simulate/host_model.h"

namespace fairlead {

// The monitor of a VM: there is no such file, the hypervisor is simulated too.
inline constexpr char kMonitorPrefix[] = "/simulated/";
// Of the root ports' ids; a number follows.
inline constexpr char kRootPortPrefix[] = "fairlead";

struct ConfigText {
  std::string yaml;                 // a whole fairleadd.yaml
  std::vector<int> lines_of_model;  // for each of its lines; 0: not taken from the model as it is
};
// `folder`: absolute, for sockets and store, where the model does not say otherwise.
ConfigText WriteConfig(const HostModel& model, const std::string& folder);

absl::StatusOr<DaemonConfig> ConfigOf(const HostModel& model, const std::string& folder);

// Where the model's `config` section says this key, one of its own level; 0: it does not.
int LineOfConfig(const HostModel& model, std::string_view key);

// What the daemon's reader says against the configuration.
struct ConfigMistake {
  int line = 0;      // in the model's `config` or `hotplug_ports`; 0: not of them alone
  std::string path;  // "config.tunnel.mtu", "hotplug_ports[0].name"
  std::string what;
};
std::vector<ConfigMistake> ConfigMistakes(const HostModel& model);

}  // namespace fairlead
