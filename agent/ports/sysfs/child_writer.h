// SPDX-License-Identifier: Apache-2.0
//
// Purpose: sysfs writes that may block for minutes, each in a child process
// with a deadline. A child past its deadline is left alone (a write inside the
// kernel cannot be called back), remembered, and reaped by any later call.
//
// Threading: safe from several threads at once; no thread of its own.
// Ownership: children that still run when this object goes away run on; the
// process's end hands them to init.
// Errors: SystemError with the errno that the child reports;
// kDeadlineExceeded past the deadline; kUnavailable while an earlier write for
// the same device has not come back.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "agent/base/types.h"

namespace fairlead {

class ChildWriter {
 public:
  // `helper`: absolute path of fairlead-sysfs-write; `root`: what it may write below.
  ChildWriter(std::string helper, std::string root);

  // Writes `value` to `path` on behalf of `device`. `asked` is for the message.
  absl::Status Write(const PciAddress& device, const std::string& path, const std::string& value,
                     std::string_view asked, std::chrono::milliseconds deadline);

  bool Outstanding(const PciAddress& device);
  // OK, or kUnavailable with the words of what is still under way for `device`.
  absl::Status CheckIdle(const PciAddress& device, std::string_view asked);

 private:
  struct Left {
    pid_t pid;
    PciAddress device;
    std::string asked;
  };
  void ReapLocked();

  const std::string helper_;
  const std::string root_;
  std::mutex mutex_;
  std::vector<Left> left_;
};

}  // namespace fairlead
