// SPDX-License-Identifier: Apache-2.0
//
// Purpose: reads of sysfs files that wait for the lock of a device, which the kernel may
// hold for as long as a guest likes: by a child that lives on and is asked again. One that
// does not answer in time is left alone, remembered, and reaped when it has ended; another
// is started when one is needed.
//
// Threading: safe from several threads at once; each has a child for itself while it reads.
// Ownership: children end with this object, but for those that are left in the kernel,
// which the process's end hands to init.
// Errors: SystemError with the errno that the child reports; kDataLoss for content that is
// too long; kDeadlineExceeded past the deadline; kUnavailable while an earlier read of the
// same device has not come back, or too many have not.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/types.h"
#include "agent/base/unique_fd.h"

namespace fairlead {

class ChildReader {
 public:
  // `helper`: absolute path of fairlead-sysfs-write; `root`: what it may read below.
  ChildReader(std::string helper, std::string root);
  ~ChildReader();

  // The content of `path`, an attribute of `device`, without trailing white space; nullopt
  // when there is no such file.
  absl::StatusOr<std::optional<std::string>> Read(const PciAddress& device, const std::string& path,
                                                  std::chrono::milliseconds deadline);
  // A read that passed its deadline has not come back.
  bool Outstanding(const PciAddress& device);

 private:
  struct Child {
    pid_t pid = -1;
    UniqueFd talk;
    bool used = false;
  };
  struct Left {
    pid_t pid;
    PciAddress device;
  };
  absl::StatusOr<Child> Take(const PciAddress& device, std::string_view asked);

  const std::string helper_;
  const std::string root_;
  std::mutex mutex_;
  std::vector<Child> idle_;
  std::vector<Left> left_;
};

}  // namespace fairlead
