// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/qmp/qmp_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

absl::Status ConnectError(int err, const std::string& path) {
  std::string_view advice = "check the monitor's path in the configuration";
  if (err == ENOENT || err == ENOTDIR) {
    advice = "is the VM running, and has it a monitor (-qmp) at that path?";
  } else if (err == ECONNREFUSED) {
    advice = "the socket is there but nobody listens: has its QEMU ended?";
  } else if (err == EACCES || err == EPERM) {
    advice = "may the agent's user write to the socket and search the folders above it?";
  }
  absl::Status status = SystemError(err, StrCat("connect to the monitor ", path));
  // Whatever the errno: the VM may come, and then it works.
  absl::Status out(absl::StatusCode::kUnavailable, StrCat(status.message(), "; ", advice));
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { out.SetPayload(url, payload); });
  return out;
}

}  // namespace

int PollTimeout(SteadyTime until) {
  const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now()).count();
  return static_cast<int>(std::clamp<milliseconds::rep>(left, 0, 60 * 60 * 1000));
}

absl::Status NoGreeting(const std::string& path) {
  return absl::DeadlineExceededError(
      StrCat("the monitor ", path,
             " takes the connection but sends no greeting: another client holds it (a QMP monitor "
             "serves one at a time), or QEMU hangs. Give Fairlead a monitor of its own"));
}

absl::StatusOr<UniqueFd> ConnectMonitor(const std::string& path, SteadyTime until) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path) ||
      path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(StrCat("the monitor's path ", Quoted(path),
                                             " must have 1 to ", sizeof(address.sun_path) - 1,
                                             " characters"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return SystemError(errno, "make a unix socket");
  while (true) {
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
      return fd;
    }
    const int err = errno;
    if (err == EINTR) continue;
    if (err != EAGAIN) return ConnectError(err, path);
    // The queue of the listening socket is full: others wait for the monitor too.
    const int left = PollTimeout(until);
    if (left == 0) return NoGreeting(path);
    ::poll(nullptr, 0, std::min(left, 20));
  }
}

absl::Status CheckPeer(int fd, const std::string& path, const std::vector<uint32_t>& allowed_uids) {
  if (allowed_uids.empty()) return absl::OkStatus();
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || size != sizeof(peer)) {
    return SystemError(errno, StrCat("ask who serves the monitor ", path));
  }
  if (std::find(allowed_uids.begin(), allowed_uids.end(), peer.uid) != allowed_uids.end()) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      StrCat("the monitor ", path, " is served by user ", peer.uid, " (process ", peer.pid,
             "), and the configuration allows only ", StrJoin(allowed_uids, ", ")));
}

absl::Status SendAll(int fd, std::string_view bytes, SteadyTime until, size_t* sent) {
  *sent = 0;
  while (*sent < bytes.size()) {
    const ssize_t n = ::send(fd, bytes.data() + *sent, bytes.size() - *sent, MSG_NOSIGNAL);
    if (n >= 0) {
      *sent += static_cast<size_t>(n);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return SystemError(errno, "write to the monitor");
    pollfd watch{fd, POLLOUT, 0};
    const int n_ready = ::poll(&watch, 1, PollTimeout(until));
    if (n_ready < 0 && errno != EINTR) return SystemError(errno, "wait for the monitor");
    if (n_ready == 0) {
      return absl::DeadlineExceededError("the monitor takes no more input: QEMU hangs");
    }
  }
  return absl::OkStatus();
}

absl::Status WaitReadable(int fd, int wake_fd, SteadyTime until, bool* woken) {
  *woken = false;
  while (true) {
    // poll leaves a negative descriptor out.
    pollfd watch[2] = {{fd, POLLIN, 0}, {wake_fd, POLLIN, 0}};
    const int n = ::poll(watch, 2, until == SteadyTime::max() ? -1 : PollTimeout(until));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError(errno, "wait for the monitor");
    if (n == 0) return absl::DeadlineExceededError("the monitor has not answered in time");
    *woken = watch[1].revents != 0;
    return absl::OkStatus();
  }
}

absl::StatusOr<std::string> ReceiveSome(int fd, size_t max) {
  std::string bytes(max, '\0');
  while (true) {
    const ssize_t n = ::recv(fd, bytes.data(), bytes.size(), 0);
    if (n > 0) {
      bytes.resize(static_cast<size_t>(n));
      return bytes;
    }
    if (n == 0) return absl::UnavailableError("the monitor has closed the connection");
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return std::string();
    return SystemError(errno, "read from the monitor");
  }
}

}  // namespace fairlead
