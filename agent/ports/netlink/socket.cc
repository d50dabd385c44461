// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/netlink/socket.h"

#include <errno.h>
#include <linux/netlink.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <thread>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/base/unique_fd.h"

namespace fairlead::netlink {
namespace {

static_assert(static_cast<int>(Protocol::kRoute) == NETLINK_ROUTE);
static_assert(static_cast<int>(Protocol::kNetfilter) == NETLINK_NETFILTER);
static_assert(static_cast<int>(Protocol::kGeneric) == NETLINK_GENERIC);

// An acknowledgement takes about 1 KiB of the receiver's buffer (the smallest
// sk_buff counts 768 bytes), a filter that is told back (NLM_F_ECHO) up to 3 KiB; 64 of them
// fit in the smallest default of 208 KiB even when each carries text.
constexpr size_t kMaxInFlight = 64;
constexpr int kMaxSendBytes = 32 * 1024;
constexpr int kRequestBuffer = 1 << 20;
constexpr int kListenBuffer = 8 << 20;
// A link of 254 VFs takes about 45 KiB without statistics; dumps come in 32 KiB, the most that the
// kernel fills at a time, and which it fills only for a receiver that has the room.
constexpr size_t kReceiveBytes = 256 * 1024;
// Datagrams read in one system call, of answers to a batch and of news; each may then take that
// part of the buffer. The kernel puts what it tells of one filter into 8 KiB (NLMSG_GOODSIZE).
constexpr size_t kMaxAtOnce = 16;
// Requests run to their end inside sendmsg, so an answer that is not there
// after this long will never come.
constexpr int kAnswerTimeoutMs = 10'000;

absl::StatusOr<SocketPtr> OpenSocket(Protocol protocol, int buffer_bytes) {
  SocketPtr socket(nl_socket_alloc());
  if (socket == nullptr) return SystemError(ENOMEM, "open a netlink socket");
  if (int rc = nl_connect(socket.get(), static_cast<int>(protocol)); rc < 0) {
    return absl::UnavailableError(StrCat("open a netlink socket: ", nl_geterror(rc)));
  }
  const int fd = nl_socket_get_fd(socket.get());
  // libnl's own default of 32 KiB is too small for a batch. FORCE needs CAP_NET_ADMIN; without it
  // the host's limit is what we get.
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof(buffer_bytes)) != 0) {
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(buffer_bytes));
  }
  const int send_bytes = 4 * kMaxSendBytes;
  ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof(send_bytes));
  const int one = 1;
  // Without these the agent still works, with fewer words and larger answers.
  for (int option : {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK}) {
    ::setsockopt(fd, SOL_NETLINK, option, &one, sizeof(one));
  }
  return socket;
}

// Datagrams of the kernel, many a system call. Views of `buffer`, which is divided by `at_once`;
// none: nothing has come. What came from somebody else is left out.
absl::StatusOr<size_t> ReceiveDatagrams(int fd, std::vector<uint8_t>& buffer, size_t at_once,
                                        std::array<Bytes, kMaxAtOnce>& datagrams) {
  std::array<sockaddr_nl, kMaxAtOnce> from{};
  std::array<iovec, kMaxAtOnce> parts;
  std::array<mmsghdr, kMaxAtOnce> headers{};
  const size_t room = buffer.size() / at_once;
  for (size_t i = 0; i < at_once; ++i) {
    parts[i] = {buffer.data() + i * room, room};
    headers[i].msg_hdr.msg_name = &from[i];
    headers[i].msg_hdr.msg_namelen = sizeof(from[i]);
    headers[i].msg_hdr.msg_iov = &parts[i];
    headers[i].msg_hdr.msg_iovlen = 1;
  }
  int count;
  do {
    count = ::recvmmsg(fd, headers.data(), static_cast<unsigned>(at_once), MSG_DONTWAIT, nullptr);
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    const int err = errno;
    if (err == EAGAIN) return 0;
    if (err == ENOBUFS) {
      return absl::UnavailableError(
          "answers of the kernel were lost (the socket's buffer was full)");
    }
    return SystemError(err, "receive from the kernel's netlink socket");
  }
  size_t kept = 0;
  for (int i = 0; i < count; ++i) {
    const msghdr& header = headers[i].msg_hdr;
    if ((header.msg_flags & MSG_TRUNC) != 0) {
      return absl::DataLossError(StrCat("a netlink message of the kernel is larger than the ", room,
                                        " bytes that Fairlead takes"));
    }
    // Any process may send to a netlink socket's address; the kernel is port 0.
    if (header.msg_namelen != sizeof(sockaddr_nl) || from[i].nl_pid != 0) continue;
    datagrams[kept++] = Bytes(static_cast<const uint8_t*>(parts[i].iov_base), headers[i].msg_len);
  }
  return kept;
}

class ListenerThread final : public Listener {
 public:
  ListenerThread(SocketPtr socket, UniqueFd stop,
                 std::function<void(const MessageView&)> on_message, std::function<void()> on_lost)
      : socket_(std::move(socket)),
        stop_(std::move(stop)),
        on_message_(std::move(on_message)),
        on_lost_(std::move(on_lost)),
        thread_([this] { Loop(); }) {}

  ~ListenerThread() override {
    const uint64_t one = 1;
    // An eventfd that holds less than its maximum cannot refuse.
    [[maybe_unused]] ssize_t written = ::write(stop_.get(), &one, sizeof(one));
    thread_.join();
  }

 private:
  void Loop() {
    std::vector<uint8_t> buffer(kMaxAtOnce * kReceiveBytes);
    const int fd = nl_socket_get_fd(socket_.get());
    while (true) {
      std::array<pollfd, 2> fds{{{fd, POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
      if (::poll(fds.data(), fds.size(), -1) < 0 && errno == EINTR) continue;
      if (fds[1].revents != 0) return;
      std::array<Bytes, kMaxAtOnce> datagrams;
      const auto count = ReceiveDatagrams(fd, buffer, kMaxAtOnce, datagrams);
      if (!count.ok()) {
        on_lost_();
        continue;
      }
      for (size_t i = 0; i < *count; ++i) Tell(datagrams[i]);
    }
  }
  // All of a datagram, or nothing.
  void Tell(Bytes datagram) {
    for (Bytes left = datagram; !left.empty();) {
      if (!TakeMessage(&left).ok()) return on_lost_();
    }
    while (!datagram.empty()) {
      const MessageView message = *TakeMessage(&datagram);
      if (message.type >= NLMSG_MIN_TYPE) on_message_(message);
    }
  }

  SocketPtr socket_;
  UniqueFd stop_;
  std::function<void(const MessageView&)> on_message_;
  std::function<void()> on_lost_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace

void CloseSocket::operator()(nl_sock* socket) const { nl_socket_free(socket); }

absl::StatusOr<std::unique_ptr<RequestSocket>> RequestSocket::Open(Protocol protocol) {
  std::unique_ptr<RequestSocket> self(new RequestSocket(protocol));
  self->buffer_.resize(kReceiveBytes);
  FAIRLEAD_RETURN_IF_ERROR(self->Reopen());
  return self;
}

absl::Status RequestSocket::Reopen() {
  socket_.reset();
  FAIRLEAD_ASSIGN_OR_RETURN(socket_, OpenSocket(protocol_, kRequestBuffer));
  return absl::OkStatus();
}

Answer RequestSocket::Transact(Message& request) {
  return std::move(Transact(std::span<Message>(&request, 1)).front());
}

Answer RequestSocket::Dump(Message& request,
                           const std::function<void(const MessageView&)>& on_message) {
  if (absl::Status bad = request.status(); !bad.ok()) {
    return {.transport = bad, .error = 0, .words = {}, .replies = {}};
  }
  return std::move(
      TransactBatch({&request, 1}, [&](size_t, const MessageView& m) { on_message(m); }).front());
}

std::vector<Answer> RequestSocket::Transact(std::span<Message> requests, const OnReply& on_reply) {
  std::vector<Answer> answers;
  answers.reserve(requests.size());
  while (!requests.empty()) {
    if (absl::Status bad = requests.front().status(); !bad.ok()) {
      answers.push_back({.transport = bad, .error = 0, .words = {}, .replies = {}});
      requests = requests.subspan(1);
      continue;
    }
    size_t count = 0;
    size_t bytes = 0;
    // A dump goes alone: the kernel runs one at a time on a socket.
    while (count < std::min(requests.size(), kMaxInFlight) && requests[count].status().ok()) {
      const size_t size = NLMSG_ALIGN(requests[count].bytes().size());
      if (count > 0 && (bytes + size > size_t{kMaxSendBytes} || requests[count].is_dump())) break;
      bytes += size;
      ++count;
      if (requests[count - 1].is_dump()) break;
    }
    OnReply of_batch;
    if (on_reply != nullptr) {
      of_batch = [&on_reply, first = answers.size()](size_t request, const MessageView& reply) {
        on_reply(first + request, reply);
      };
    }
    auto batch = TransactBatch(requests.first(count), std::move(of_batch));
    std::move(batch.begin(), batch.end(), std::back_inserter(answers));
    requests = requests.subspan(count);
  }
  return answers;
}

std::vector<Answer> RequestSocket::TransactBatch(std::span<Message> batch, OnReply on_reply) {
  AnswerCollector collector(sequence_ + 1, batch.size(), std::move(on_reply));
  if (!batch.back().asks_for_ack()) batch.back().AskForAck();
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!batch[i].asks_for_ack()) collector.NoAckOf(i);
  }
  // The sequence stays the caller's own even when opening fails below.
  if (socket_ == nullptr) {
    if (absl::Status opened = Reopen(); !opened.ok()) {
      collector.Abort(opened);
      return collector.Take();
    }
  }
  std::vector<iovec> parts;
  parts.reserve(batch.size());
  for (Message& message : batch) {
    message.SetSequence(++sequence_);
    // Padded to NLMSG_ALIGNTO, which the kernel steps by.
    parts.push_back({const_cast<uint8_t*>(message.bytes().data()), message.bytes().size()});
  }
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  msghdr header{};
  header.msg_name = &kernel;
  header.msg_namelen = sizeof(kernel);
  header.msg_iov = parts.data();
  header.msg_iovlen = parts.size();
  const int fd = nl_socket_get_fd(socket_.get());
  ssize_t sent;
  do {
    sent = ::sendmsg(fd, &header, 0);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) {
    const int err = errno;
    collector.Abort(err == ENOBUFS || err == ENOMEM
                        ? absl::UnavailableError("the kernel has no memory for the request")
                        : SystemError(err, "send to the kernel's netlink socket"));
    return collector.Take();
  }
  // A request runs to its end inside sendmsg: its answer is there, and waited for only if not.
  const size_t at_once = std::min(batch.size(), kMaxAtOnce);
  while (!collector.complete()) {
    std::array<Bytes, kMaxAtOnce> datagrams;
    absl::Status failed;
    const auto count = ReceiveDatagrams(fd, buffer_, at_once, datagrams);
    if (!count.ok()) {
      failed = count.status();
    } else if (*count > 0) {
      for (size_t i = 0; i < *count; ++i) collector.Feed(datagrams[i]);
    } else {
      pollfd ready{fd, POLLIN, 0};
      const int rc = ::poll(&ready, 1, kAnswerTimeoutMs);
      if (rc == 0) {
        failed = absl::DeadlineExceededError(
            StrCat("the kernel did not answer in ", kAnswerTimeoutMs, " ms"));
      }
    }
    if (!failed.ok()) {
      collector.Abort(failed);
      // A dump that was cut off would make the next one fail with EBUSY.
      socket_.reset();
    }
  }
  return collector.Take();
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Start(
    std::span<const int> groups, std::function<void(const MessageView&)> on_message,
    std::function<void()> on_lost, Protocol protocol) {
  FAIRLEAD_ASSIGN_OR_RETURN(SocketPtr socket, OpenSocket(protocol, kListenBuffer));
  for (int group : groups) {
    if (int rc = nl_socket_add_membership(socket.get(), group); rc < 0) {
      return absl::UnavailableError(
          StrCat("listen to netlink group ", group, ": ", nl_geterror(rc)));
    }
  }
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC));
  if (!stop.valid()) return SystemError(errno, "create an eventfd");
  return std::make_unique<ListenerThread>(std::move(socket), std::move(stop), std::move(on_message),
                                          std::move(on_lost));
}

}  // namespace fairlead::netlink
