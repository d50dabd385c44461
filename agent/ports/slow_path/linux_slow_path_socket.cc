// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/slow_path/linux_slow_path_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "dataplane/slowpath/wire/slow_path_wire.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

int PollTimeout(steady_clock::time_point until) {
  const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now()).count();
  return static_cast<int>(std::clamp<milliseconds::rep>(left, 0, 60 * 60 * 1000));
}

// Whatever the errno: a process that is not there now may come.
absl::Status Unavailable(int err, std::string_view asked) {
  const absl::Status status = SystemError(err, asked);
  absl::Status out(absl::StatusCode::kUnavailable, status.message());
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { out.SetPayload(url, payload); });
  return out;
}

absl::Status Late() {
  return absl::DeadlineExceededError("the slow path has not answered in time");
}

}  // namespace

absl::StatusOr<SlowPathReport> LinuxSlowPathSocket::TellAll(std::span<const SlowPathEntry> all,
                                                            bool whole,
                                                            std::span<const uint32_t> keep) {
  const Time until = steady_clock::now() + options_.deadline;
  connection_.reset();
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<std::string> messages,
                            EncodeSlowPathUpdates(1, true, whole, all, {}, keep));
  FAIRLEAD_RETURN_IF_ERROR(Connect(until));
  return Send(messages, until);
}

absl::StatusOr<SlowPathReport> LinuxSlowPathSocket::Tell(std::span<const SlowPathEntry> put,
                                                         std::span<const SlowPathKey> remove) {
  if (!connection_.valid()) {
    return absl::FailedPreconditionError("no connection to the slow path: tell all first");
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<std::string> messages,
                            EncodeSlowPathUpdates(sequence_ + 1, false, false, put, remove));
  return Send(messages, steady_clock::now() + options_.deadline);
}

absl::Status LinuxSlowPathSocket::Connect(Time until) {
  const std::string asked = StrCat("connect to the slow path at ", options_.path);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (options_.path.empty() || options_.path.size() >= sizeof(address.sun_path) ||
      options_.path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(
        StrCat(asked, ": the path must have 1 to ", sizeof(address.sun_path) - 1, " characters"));
  }
  std::memcpy(address.sun_path, options_.path.data(), options_.path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return SystemError(errno, asked);
  // A whole message must fit. Where the host allows less, sending says so.
  const int buffer = 2 * static_cast<int>(kMaxSlowPathMessage);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
  while (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    const int err = errno;
    if (err == EINTR) continue;
    if (err != EAGAIN) return Unavailable(err, asked);
    // Its queue of connections is full: it hangs, or is about to take them.
    const int left = PollTimeout(until);
    if (left == 0) return Late();
    ::poll(nullptr, 0, std::min(left, 20));
  }
  connection_ = std::move(fd);
  sequence_ = 0;
  return absl::OkStatus();
}

absl::StatusOr<SlowPathReport> LinuxSlowPathSocket::Send(const std::vector<std::string>& messages,
                                                         Time until) {
  SlowPathReport out;
  for (const std::string& message : messages) {
    absl::StatusOr<SlowPathReport> report = Ask(message, until);
    if (!report.ok()) {
      connection_.reset();
      return report.status();
    }
    // The last one's is how things stand; problems are of each.
    report->problems.insert(report->problems.begin(), out.problems.begin(), out.problems.end());
    out = *std::move(report);
    if (out.problems.size() > kMaxSlowPathTold) out.problems.resize(kMaxSlowPathTold);
  }
  return out;
}

absl::StatusOr<SlowPathReport> LinuxSlowPathSocket::Ask(const std::string& message, Time until) {
  while (::send(connection_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return Unavailable(errno, "write to the slow path");
    FAIRLEAD_RETURN_IF_ERROR(Wait(POLLOUT, until));
  }
  ++sequence_;
  std::string answer(kMaxSlowPathMessage, '\0');
  ssize_t size = 0;
  while ((size = ::recv(connection_.get(), answer.data(), answer.size(), MSG_TRUNC)) < 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return Unavailable(errno, "read from the slow path");
    FAIRLEAD_RETURN_IF_ERROR(Wait(POLLIN, until));
  }
  if (size == 0) {
    return absl::UnavailableError("the slow path has closed the connection");
  }
  if (static_cast<size_t>(size) > answer.size()) {
    return absl::DataLossError("the slow path's reply is too long");
  }
  answer.resize(static_cast<size_t>(size));
  absl::StatusOr<SlowPathReply> reply = DecodeSlowPathReply(answer);
  if (!reply.ok()) {
    return absl::DataLossError(StrCat("from the slow path: ", reply.status().message()));
  }
  if (reply->sequence != sequence_) {
    return absl::DataLossError(StrCat("the slow path answers message ", reply->sequence, " where ",
                                      sequence_, " was asked"));
  }
  return std::move(reply->report);
}

absl::Status LinuxSlowPathSocket::Wait(short events, Time until) const {
  while (true) {
    pollfd watch{connection_.get(), events, 0};
    const int ready = ::poll(&watch, 1, PollTimeout(until));
    if (ready > 0) return absl::OkStatus();
    if (ready == 0) return Late();
    if (errno != EINTR) return SystemError(errno, "wait for the slow path");
  }
}

}  // namespace fairlead
