// SPDX-License-Identifier: Apache-2.0
//
// Purpose: starts and reaps the children that touch what may block in the kernel. Private
// to this folder.
// Threading: free functions; safe from any thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fairlead {

// Runs args[0], an absolute path, with /dev/null, or `talk` as its input and output, and
// nothing else of ours. `asked` is for the message. kFailedPrecondition: cannot be started.
absl::StatusOr<pid_t> StartChild(std::vector<std::string> args, std::string_view asked,
                                 int talk = -1);
// waitpid without EINTR.
pid_t WaitChild(pid_t pid, int* status, int flags);
// Whether it still runs; one that does not is reaped.
bool ChildRuns(pid_t pid);

}  // namespace fairlead
