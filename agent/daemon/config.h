// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the daemon's configuration file. packaging/fairleadd.yaml documents
// every key.
//
// Threading: free functions on values. Errors: kInvalidArgument with every
// mistake, one a line, each with line number and key; an unknown key is one.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "agent/compile/compile.h"
#include "agent/providers/config.h"
#include "agent/reconcile/engine.h"
#include "agent/transport/server.h"

namespace fairlead {

struct DaemonConfig {
  std::string state_dir = "/var/lib/fairlead";
  std::string log_level = "info";  // trace, debug, info, warning, error
  ServerOptions server;
  ProviderConfig providers;  // marks are filled in later
  EngineConfig engine;       // compile settings follow from the above
};

inline constexpr size_t kMaxConfigBytes = 1 << 20;

absl::StatusOr<DaemonConfig> ParseConfig(std::string_view yaml);
absl::StatusOr<DaemonConfig> LoadConfig(const std::string& path);

}  // namespace fairlead
