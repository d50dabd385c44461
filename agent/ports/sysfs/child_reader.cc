// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/sysfs/child_reader.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/sysfs/child_process.h"
#include "agent/ports/sysfs/sysfs_files.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A device has one at most. So many that hang at once are no guests that are slow, but a
// host that is broken.
constexpr size_t kMostLeft = 64;

// An errno, and what was read (sysfs_write_main.cc). kAborted: the child is gone.
absl::StatusOr<std::pair<int, std::string>> Ask(int talk, const std::string& path,
                                                steady_clock::time_point until) {
  const absl::Status gone = absl::AbortedError("the helper has ended");
  ssize_t n = ::send(talk, path.data(), path.size(), MSG_NOSIGNAL);
  if (n != static_cast<ssize_t>(path.size())) return gone;
  while (true) {
    const auto left =
        std::max(milliseconds(0), std::chrono::ceil<milliseconds>(until - steady_clock::now()));
    pollfd watch{talk, POLLIN, 0};
    const int ready = ::poll(&watch, 1, static_cast<int>(left.count()));
    if (ready > 0) break;
    if (ready == 0) return absl::DeadlineExceededError("");
    if (errno != EINTR) return gone;
  }
  int err = 0;
  std::string answer(sizeof(err) + kMaxSysfsFile + 1, '\0');
  n = ::recv(talk, answer.data(), answer.size(), 0);
  if (n < static_cast<ssize_t>(sizeof(err))) return gone;
  std::memcpy(&err, answer.data(), sizeof(err));
  answer.resize(static_cast<size_t>(n));
  return std::make_pair(err, answer.substr(sizeof(err)));
}

}  // namespace

ChildReader::ChildReader(std::string helper, std::string root)
    : helper_(std::move(helper)), root_(std::move(root)) {}

ChildReader::~ChildReader() {
  for (Child& child : idle_) {
    child.talk = UniqueFd();  // which ends it
    int status = 0;
    WaitChild(child.pid, &status, 0);
  }
}

absl::StatusOr<std::optional<std::string>> ChildReader::Read(const PciAddress& device,
                                                             const std::string& path,
                                                             milliseconds deadline) {
  const auto until = steady_clock::now() + deadline;
  const std::string asked = StrCat("read ", path);
  while (true) {
    FAIRLEAD_ASSIGN_OR_RETURN(Child child, Take(device, asked));
    auto answer = Ask(child.talk.get(), path, until);
    if (absl::IsAborted(answer.status())) {
      child.talk = UniqueFd();
      int status = 0;
      WaitChild(child.pid, &status, 0);
      // Somebody may have ended it while it had nothing to do: take another.
      if (child.used) continue;
      return Annotate(answer.status(), asked);
    }
    const std::lock_guard lock(mutex_);
    if (!answer.ok()) {
      left_.push_back({child.pid, device});
      return absl::DeadlineExceededError(
          StrCat(asked, ": the kernel has not answered within ", deadline.count(), " ms"));
    }
    child.used = true;
    idle_.push_back(std::move(child));
    auto& [err, content] = *answer;
    if (err == ENOENT || err == ENOTDIR) return std::optional<std::string>();
    if (err != 0) return SystemError(err, asked);
    if (content.size() > kMaxSysfsFile) {
      return absl::DataLossError(
          StrCat(path, " holds more than ", kMaxSysfsFile, " bytes, which no attribute does"));
    }
    absl::StripTrailingAsciiWhitespace(&content);
    return std::optional<std::string>(std::move(content));
  }
}

absl::StatusOr<ChildReader::Child> ChildReader::Take(const PciAddress& device,
                                                     std::string_view asked) {
  if (Outstanding(device)) {
    return absl::UnavailableError(
        StrCat(asked, ": an earlier read has not come back from the kernel yet"));
  }
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      Child child = std::move(idle_.back());
      idle_.pop_back();
      return child;
    }
    if (left_.size() >= kMostLeft) {
      return absl::UnavailableError(
          StrCat(asked, ": reads of ", left_.size(), " devices have not come back"));
    }
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return SystemError(errno, asked, "socketpair");
  }
  const UniqueFd theirs(ends[1]);
  Child child{-1, UniqueFd(ends[0]), /*used=*/false};
  FAIRLEAD_ASSIGN_OR_RETURN(child.pid,
                            StartChild({helper_, "--root", root_, "--read"}, asked, theirs.get()));
  return child;
}

bool ChildReader::Outstanding(const PciAddress& device) {
  const std::lock_guard lock(mutex_);
  std::erase_if(left_, [](const Left& left) { return !ChildRuns(left.pid); });
  return std::any_of(left_.begin(), left_.end(),
                     [&](const Left& left) { return left.device == device; });
}

}  // namespace fairlead
