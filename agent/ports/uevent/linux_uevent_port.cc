// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/uevent/linux_uevent_port.h"

#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/base/unique_fd.h"
#include "agent/ports/uevent/uevent_codec.h"

namespace fairlead {
namespace {

// The kernel's own group; udevd sends what it made of it to group 2.
constexpr uint32_t kKernelGroup = 1;
// A burst of hot-plug is some hundred messages of 1 KiB.
constexpr int kReceiveBuffer = 2 << 20;

// The kernel sends from port 0, and its messages carry no process (SCM_CREDENTIALS
// with pid 0 and uid 0, lib/kobject_uevent.c). Any process with CAP_NET_ADMIN may
// send to the group.
bool FromTheKernel(const msghdr& header, const sockaddr_nl& from) {
  if (header.msg_namelen != sizeof(from) || from.nl_pid != 0) return false;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr;
       part = CMSG_NXTHDR(const_cast<msghdr*>(&header), part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_CREDENTIALS) continue;
    if (part->cmsg_len < CMSG_LEN(sizeof(ucred))) return false;
    ucred sender;
    std::memcpy(&sender, CMSG_DATA(part), sizeof(sender));
    return sender.pid == 0 && sender.uid == 0;
  }
  return false;
}

class Listening final : public UeventPort::Subscription {
 public:
  Listening(UniqueFd socket, UniqueFd stop, UeventPort::Handler handler)
      : socket_(std::move(socket)),
        stop_(std::move(stop)),
        handler_(std::move(handler)),
        thread_([this] { Loop(); }) {}

  ~Listening() override {
    const uint64_t one = 1;
    // An eventfd that holds less than its maximum cannot refuse.
    [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof(one));
    thread_.join();
  }

 private:
  void Loop() {
    // Signals are for the thread that waits for them.
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    while (true) {
      std::array<pollfd, 2> fds{{{socket_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
      if (::poll(fds.data(), fds.size(), -1) < 0 && errno == EINTR) continue;
      if (fds[1].revents != 0) return;
      Receive();
    }
  }

  void Receive() {
    sockaddr_nl from{};
    iovec part{buffer_.data(), buffer_.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
    msghdr header{};
    header.msg_name = &from;
    header.msg_namelen = sizeof(from);
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    const ssize_t size = ::recvmsg(socket_.get(), &header, MSG_DONTWAIT);
    if (size < 0) {
      Uevent lost;
      lost.lost = true;
      if (errno == ENOBUFS) handler_(lost);
      return;  // else nothing was there after all, or a signal came
    }
    if ((header.msg_flags & MSG_TRUNC) != 0 || !FromTheKernel(header, from)) return;
    const absl::StatusOr<Uevent> event = ParseUevent({buffer_.data(), static_cast<size_t>(size)});
    if (event.ok()) handler_(*event);
  }

  const UniqueFd socket_;
  const UniqueFd stop_;
  const UeventPort::Handler handler_;
  std::array<uint8_t, kMaxUeventBytes> buffer_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace

absl::StatusOr<std::unique_ptr<UeventPort::Subscription>> LinuxUeventPort::Subscribe(
    Handler handler) {
  constexpr std::string_view kAsked = "listen to the kernel's uevents";
  UniqueFd socket(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT));
  if (!socket.valid()) return SystemError(errno, kAsked);
  // FORCE needs CAP_NET_ADMIN; without it the host's limit is what we get.
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer,
                   sizeof(kReceiveBuffer)) != 0) {
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof(kReceiveBuffer));
  }
  const int on = 1;
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0) {
    return SystemError(errno, kAsked);
  }
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = kKernelGroup;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return SystemError(errno, kAsked);
  }
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC));
  if (!stop.valid()) return SystemError(errno, "create an eventfd");
  return std::make_unique<Listening>(std::move(socket), std::move(stop), std::move(handler));
}

}  // namespace fairlead
