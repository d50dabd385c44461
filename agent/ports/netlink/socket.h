// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the netlink socket of a port: requests with their answers, many
// requests a system call, and a thread that listens to multicast groups.
//
// Threading: a RequestSocket belongs to one thread at a time and blocks. A
// Listener's callbacks run on its own thread; its destructor waits for the one
// under way, so it must not run on that thread.
// Errors: failures of the socket are in Answer::transport. After a lost or late
// answer the socket is opened anew, and the outcome of what was outstanding is
// unknown: kUnavailable (lost) or kDeadlineExceeded (late).
// Ownership: sockets belong to the network namespace of the thread that opens
// them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/ports/netlink/message.h"

struct nl_sock;

namespace fairlead::netlink {

struct CloseSocket {
  void operator()(nl_sock* socket) const;
};
using SocketPtr = std::unique_ptr<nl_sock, CloseSocket>;

// Which part of the kernel a socket talks to (uapi/linux/netlink.h NETLINK_*).
enum class Protocol : int {
  kRoute = 0,
  kNetfilter = 12,
  kGeneric = 16,  // families by name, see generic.h
};

class RequestSocket {
 public:
  static absl::StatusOr<std::unique_ptr<RequestSocket>> Open(Protocol protocol = Protocol::kRoute);

  // Sends in order and answers each request for itself; answer i belongs to
  // request i. Requests carry NLM_F_ACK or NLM_F_DUMP; one without says no more than its error and
  // what it asked for, and the last of those that travel together is acknowledged for all. What is
  // in flight is bounded, so that the answers always fit in the socket's buffer.
  // `on_reply` gets what is not an acknowledgement as it comes, with the request's number, and
  // none of it is kept then; it must not use this socket.
  using OnReply = AnswerCollector::OnReply;
  std::vector<Answer> Transact(std::span<Message> requests, const OnReply& on_reply = {});
  Answer Transact(Message& request);
  // A dump that is not kept: `on_message` gets each message as it comes, a view that lives as
  // long as the call, and must not use this socket. What it got is the whole only if the
  // answer says so.
  Answer Dump(Message& request, const std::function<void(const MessageView&)>& on_message);

 private:
  explicit RequestSocket(Protocol protocol) : protocol_(protocol) {}
  absl::Status Reopen();
  std::vector<Answer> TransactBatch(std::span<Message> batch, OnReply on_reply);

  Protocol protocol_;
  SocketPtr socket_;
  uint32_t sequence_ = 0;
  std::vector<uint8_t> buffer_;
};

class Listener {
 public:
  // `on_message` gets every message of the groups (RTNLGRP_*, or a generic
  // family's); `on_lost` is called when the socket overflowed or what came could
  // not be read.
  static absl::StatusOr<std::unique_ptr<Listener>> Start(
      std::span<const int> groups, std::function<void(const MessageView&)> on_message,
      std::function<void()> on_lost, Protocol protocol = Protocol::kRoute);
  virtual ~Listener() = default;
};

// What a port's Subscribe returns: a `Subscription` of that port, which listens for
// as long as it lives.
template <typename Subscription>
class ListenerSubscription final : public Subscription {
 public:
  explicit ListenerSubscription(std::unique_ptr<Listener> listener)
      : listener_(std::move(listener)) {}

 private:
  const std::unique_ptr<Listener> listener_;
};

}  // namespace fairlead::netlink
