// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what each command does. Everything outside comes in as an argument,
// so that a test runs a command line from its words to its exit code.
//
// Threading: blocks the caller. Errors: as text on `err` and an exit code
// (options.h).
#pragma once

#include <chrono>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/transport/client.h"

namespace fairlead {

struct CtlWorld {
  std::istream* in = nullptr;
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  bool terminal = false;         // err is one: progress is shown
  std::string default_endpoint;  // FAIRLEAD_ENDPOINT, "" if not set
  std::function<absl::StatusOr<std::unique_ptr<Client>>(const std::string& endpoint)> connect;
  std::function<std::chrono::steady_clock::time_point()> now;
  std::function<void(std::chrono::milliseconds)> sleep;
};

// `args` without the program's name.
int RunCtl(std::vector<std::string> args, const CtlWorld& world);

}  // namespace fairlead
