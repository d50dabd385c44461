// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/sysfs/child_writer.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/base/unique_fd.h"
#include "agent/ports/sysfs/child_process.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kHelperRefused = 255;  // sysfs_write_main.cc

// True when the child has ended before the deadline.
bool WaitForEnd(int pidfd, steady_clock::time_point until) {
  while (true) {
    const auto left =
        std::max(milliseconds(0), std::chrono::ceil<milliseconds>(until - steady_clock::now()));
    pollfd watch{pidfd, POLLIN, 0};
    const int timeout = static_cast<int>(std::min<milliseconds::rep>(left.count(), 60 * 60 * 1000));
    const int n = ::poll(&watch, 1, timeout);
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) return false;
    if (left.count() == 0) return false;
  }
}

}  // namespace

ChildWriter::ChildWriter(std::string helper, std::string root)
    : helper_(std::move(helper)), root_(std::move(root)) {}

absl::Status ChildWriter::Write(const PciAddress& device, const std::string& path,
                                const std::string& value, std::string_view asked,
                                milliseconds deadline) {
  const auto until = steady_clock::now() + deadline;
  FAIRLEAD_RETURN_IF_ERROR(CheckIdle(device, asked));

  FAIRLEAD_ASSIGN_OR_RETURN(const pid_t pid,
                            StartChild({helper_, "--root", root_, path, value}, asked));
  // The pid cannot be reused before we reap it, so there is no race here.
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const int pidfd_error = pidfd.valid() ? 0 : errno;
  if (!pidfd.valid() || !WaitForEnd(pidfd.get(), until)) {
    std::lock_guard lock(mutex_);
    left_.push_back({pid, device, std::string(asked)});
    if (pidfd_error != 0) {
      return absl::InternalError(StrCat(asked, ": pidfd_open: ", strerrordesc_np(pidfd_error)));
    }
    return absl::DeadlineExceededError(
        StrCat(asked, ": the kernel has not answered within ", deadline.count(),
               " ms; the write goes on and cannot be called back. Look into the kernel log "
               "for what the device's driver waits for"));
  }
  int status = 0;
  if (WaitChild(pid, &status, 0) != pid) {
    return SystemError(errno, StrCat(asked, ": wait for the helper"));
  }
  if (WIFSIGNALED(status)) {
    return absl::InternalError(
        StrCat(asked, ": the helper was ended by signal ", WTERMSIG(status)));
  }
  const int code = WEXITSTATUS(status);
  if (code == 0) return absl::OkStatus();
  if (code == kHelperRefused) {
    return absl::InternalError(
        StrCat(asked, ": the helper refuses to write to ", path, " below ", root_));
  }
  return SystemError(code, asked);
}

bool ChildWriter::Outstanding(const PciAddress& device) {
  std::lock_guard lock(mutex_);
  ReapLocked();
  return std::any_of(left_.begin(), left_.end(),
                     [&](const Left& left) { return left.device == device; });
}

absl::Status ChildWriter::CheckIdle(const PciAddress& device, std::string_view asked) {
  std::lock_guard lock(mutex_);
  ReapLocked();
  for (const Left& left : left_) {
    if (left.device != device) continue;
    return absl::UnavailableError(StrCat(
        asked, ": an earlier request has not come back from the kernel yet (", left.asked, ")"));
  }
  return absl::OkStatus();
}

void ChildWriter::ReapLocked() {
  std::erase_if(left_, [](const Left& left) { return !ChildRuns(left.pid); });
}

}  // namespace fairlead
