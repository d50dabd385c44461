// SPDX-License-Identifier: Apache-2.0
//
// A simulated host's model: any bytes give a model whose configuration the daemon
// takes, or an error that says something.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "agent/simulate/host_config.h"
#include "agent/simulate/host_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<fairlead::HostModel> model =
      fairlead::ParseHostModel({reinterpret_cast<const char*>(data), size});
  if (!model.ok()) {
    if (model.status().message().empty()) std::abort();
    return 0;
  }
  if (!fairlead::ConfigOf(*model, "/run/fairlead-sim").ok()) std::abort();
  if (fairlead::DescribeHost(*model).empty()) std::abort();
  const absl::StatusOr<fairlead::HostModel> second = fairlead::NumberedHost(*model, 1);
  if (second.ok()) fairlead::ConfigOf(*second, "/run/fairlead-sim").IgnoreError();
  return 0;
}
