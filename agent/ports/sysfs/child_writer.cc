// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/sysfs/child_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
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

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kHelperRefused = 255;  // sysfs_write_main.cc

// What the child inherits: nothing but three ends of /dev/null and default
// signals. A netlink or monitor socket that slipped into a child which hangs for
// minutes would stay open as long.
class SpawnSetup {
 public:
  SpawnSetup() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDWR, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, 0, 1);
    ::posix_spawn_file_actions_adddup2(&actions_, 0, 2);
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, 3);
    ::posix_spawnattr_init(&attributes_);
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    // A group of its own: an interrupt typed at a terminal is for the agent.
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    ::posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;
  ~SpawnSetup() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  int Spawn(pid_t* pid, const char* program, char* const argv[]) {
    char* const no_environment[] = {nullptr};
    return ::posix_spawn(pid, program, &actions_, &attributes_, argv, no_environment);
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

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

pid_t Wait(pid_t pid, int* status, int flags) {
  pid_t got;
  do {
    got = ::waitpid(pid, status, flags);
  } while (got < 0 && errno == EINTR);
  return got;
}

}  // namespace

ChildWriter::ChildWriter(std::string helper, std::string root)
    : helper_(std::move(helper)), root_(std::move(root)) {}

absl::Status ChildWriter::Write(const PciAddress& device, const std::string& path,
                                const std::string& value, std::string_view asked,
                                milliseconds deadline) {
  const auto until = steady_clock::now() + deadline;
  FAIRLEAD_RETURN_IF_ERROR(CheckIdle(device, asked));

  std::string args[] = {helper_, "--root", root_, path, value};
  char* argv[] = {args[0].data(), args[1].data(), args[2].data(),
                  args[3].data(), args[4].data(), nullptr};
  pid_t pid = -1;
  if (const int err = SpawnSetup().Spawn(&pid, helper_.c_str(), argv); err != 0) {
    // Not SystemError: the errno of a status of this class is sysfs's own.
    return absl::FailedPreconditionError(StrCat(asked, ": cannot start the helper ", helper_, " (",
                                                strerrordesc_np(err),
                                                "); check that Fairlead is installed whole"));
  }
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
  if (Wait(pid, &status, 0) != pid) {
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
  // Anything but "still running" means that the child is gone.
  std::erase_if(left_, [](const Left& left) {
    int status = 0;
    return Wait(left.pid, &status, WNOHANG) != 0;
  });
}

}  // namespace fairlead
