// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what each command does. Everything outside comes in as an argument,
// so that a test runs a command line from its words to its exit code.
//
// Threading: blocks the caller. Errors: as text on `err` and an exit code
// (options.h). Output that cannot be written is one: kOutput, unless something
// worse came first.
#pragma once

#include <chrono>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/ctl/options.h"
#include "agent/transport/client.h"

namespace fairlead {

struct CtlWorld {
  std::istream* in = nullptr;
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  std::function<int()> out_error;  // the errno with which writing to `out` failed; may be null
  bool terminal = false;           // err is one: progress is shown
  Defaults defaults;
  std::function<absl::StatusOr<std::unique_ptr<Client>>(const std::string& endpoint)> connect;
  std::function<absl::StatusOr<std::unique_ptr<Subscriber>>(const std::string& endpoint)>
      subscribe;  // to all topics
  std::function<std::chrono::steady_clock::time_point()> now;
  std::function<std::chrono::system_clock::time_point()> wall;
  std::function<void(std::chrono::milliseconds)> sleep;
  std::function<void()> catch_signals;  // from here on they set `stopped`
  std::function<bool()> stopped;        // a signal came, or nobody reads `out` any more
};

// `args` without the program's name.
int RunCtl(std::vector<std::string> args, const CtlWorld& world);

}  // namespace fairlead
