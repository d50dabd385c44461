// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/sysfs/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agent/base/text.h"

namespace fairlead {
namespace {

// What the child inherits: nothing but three descriptors and default signals. A netlink
// or monitor socket that slipped into a child which hangs for minutes would stay open as
// long.
class SpawnSetup {
 public:
  explicit SpawnSetup(int talk) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_addopen(&actions_, 2, "/dev/null", O_RDWR, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, talk < 0 ? 2 : talk, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, 0, 1);
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
  int Spawn(pid_t* pid, char* const argv[]) {
    char* const no_environment[] = {nullptr};
    return ::posix_spawn(pid, argv[0], &actions_, &attributes_, argv, no_environment);
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

}  // namespace

absl::StatusOr<pid_t> StartChild(std::vector<std::string> args, std::string_view asked, int talk) {
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int err = SpawnSetup(talk).Spawn(&pid, argv.data());
  if (err == 0) return pid;
  // Not SystemError: the errno of a status of this folder is sysfs's own.
  return absl::FailedPreconditionError(StrCat(asked, ": cannot start the helper ", args[0], " (",
                                              strerrordesc_np(err),
                                              "); check that Fairlead is installed whole"));
}

pid_t WaitChild(pid_t pid, int* status, int flags) {
  pid_t got;
  do {
    got = ::waitpid(pid, status, flags);
  } while (got < 0 && errno == EINTR);
  return got;
}

bool ChildRuns(pid_t pid) {
  int status = 0;
  return WaitChild(pid, &status, WNOHANG) == 0;
}

}  // namespace fairlead
