// SPDX-License-Identifier: Apache-2.0
//
// Purpose: waiting for what was accepted to become so, by asking again.
//
// Threading: blocks the caller, through the injected sleep. Errors: an agent
// that does not answer for a while (a restart) is asked again until the time is
// over.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "absl/status/status.h"

namespace fairlead::v1 {
class GetReply;
class ObjectStatus;
}  // namespace fairlead::v1

namespace fairlead {

struct WaitResult {
  int exit_code = 0;   // an ExitCode
  std::string reason;  // for a person; "" when OK
};

struct WaitTools {
  // At least what is waited for, with its status.
  std::function<absl::Status(v1::GetReply*)> get_objects;
  std::function<std::chrono::steady_clock::time_point()> now;
  std::function<void(std::chrono::milliseconds)> sleep;
  std::function<void(const std::string&)> progress;  // each time it changes
};

// "port/a0" -> generation that was accepted (0: any). Nothing to wait for is done
// at once.
using Generations = std::map<std::string, uint64_t>;

// Failed or degraded, with what no further try mends: it stays so until something else
// changes.
bool IsTroubledForGood(const v1::ObjectStatus& status);

// Until each is ready in at least that generation. One that is in trouble for good, or
// gone, ends it; one that failed and will be tried again does not, nor does trouble that
// an older generation had: the status keeps it while the new one is tried.
WaitResult WaitReady(const Generations& wanted, std::chrono::milliseconds timeout,
                     const WaitTools& tools);
// Until none of them is there any more.
WaitResult WaitGone(const Generations& wanted, std::chrono::milliseconds timeout,
                    const WaitTools& tools);

}  // namespace fairlead
