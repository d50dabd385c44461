// SPDX-License-Identifier: Apache-2.0
//
// The daemon's configuration: any bytes give a configuration or an error that
// names a line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "agent/daemon/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<fairlead::DaemonConfig> config =
      fairlead::ParseConfig({reinterpret_cast<const char*>(data), size});
  if (config.ok() && config->providers.pfs.size() != config->engine.pfs.size()) std::abort();
  if (!config.ok() && config.status().message().empty()) std::abort();
  return 0;
}
