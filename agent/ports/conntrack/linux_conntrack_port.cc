// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/conntrack/linux_conntrack_port.h"

#include <errno.h>
#include <netinet/in.h>

#include <algorithm>
#include <string>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/conntrack/conntrack_codec.h"

namespace fairlead {
namespace {

using netlink::Answer;
using netlink::Message;

// Whether the kernel says that it has no such connection.
bool IsGone(const Answer& answer, const ConnectionTuple& tuple) {
  if (!answer.transport.ok()) return false;
  // What is neither query nor answer has no place in the table (icmp_nlattr_to_tuple,
  // net/netfilter/nf_conntrack_proto_icmp.c).
  const bool icmp = tuple.protocol == IPPROTO_ICMP || tuple.protocol == IPPROTO_ICMPV6;
  return answer.error == ENOENT || (icmp && answer.error == EINVAL);
}

absl::Status StatusOf(const Answer& answer, const std::string& asked) {
  // The answer to a subsystem that no module serves (nfnetlink_rcv_msg, net/netfilter/nfnetlink.c);
  // of a request of Fairlead's own nothing else is invalid.
  if (answer.transport.ok() && answer.error == EINVAL && answer.words.empty()) {
    return absl::UnimplementedError(
        StrCat(asked, ": Invalid argument; this kernel may have no nf_conntrack_netlink"));
  }
  return answer.ToStatus(asked);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ConntrackPort>> LinuxConntrackPort::Create() {
  FAIRLEAD_ASSIGN_OR_RETURN(auto socket,
                            netlink::RequestSocket::Open(netlink::Protocol::kNetfilter));
  return std::unique_ptr<ConntrackPort>(new LinuxConntrackPort(std::move(socket)));
}

absl::StatusOr<std::vector<Connection>> LinuxConntrackPort::Dump(uint16_t zone) {
  const std::string asked = StrCat("list the connections of zone ", zone);
  auto request = netlink::DumpConnectionsRequest(zone);
  if (!request.ok()) return Annotate(request.status(), asked);
  netlink::ConnectionDump dump(zone);
  const Answer answer =
      socket_->Dump(*request, [&](const netlink::MessageView& view) { dump.Take(view); });
  FAIRLEAD_RETURN_IF_ERROR(StatusOf(answer, asked));
  if (!dump.status.ok()) return Annotate(dump.status, asked);
  return dump.Finish();
}

absl::StatusOr<std::optional<Connection>> LinuxConntrackPort::Find(uint16_t zone,
                                                                   const ConnectionTuple& tuple) {
  const std::string asked = StrCat("look for ", tuple.ToString(), " in zone ", zone);
  auto request = netlink::FindConnectionRequest(zone, tuple);
  if (!request.ok()) return Annotate(request.status(), asked);
  const Answer answer = socket_->Transact(*request);
  if (IsGone(answer, tuple)) return std::nullopt;
  FAIRLEAD_RETURN_IF_ERROR(StatusOf(answer, asked));
  for (const netlink::OwnedMessage& reply : answer.replies) {
    if (!netlink::TellsConnection(reply.type)) continue;
    auto connection = netlink::DecodeConnection(reply.payload, zone);
    if (!connection.ok()) return Annotate(connection.status(), asked);
    return connection;
  }
  return absl::DataLossError(StrCat(asked, ": the kernel answered without a word"));
}

std::vector<absl::Status> LinuxConntrackPort::Delete(std::span<const Connection> connections) {
  const auto asked = [](const Connection& connection) {
    return StrCat("delete the connection ", connection.original.ToString(), " of zone ",
                  connection.zone);
  };
  std::vector<absl::Status> results(connections.size());
  // A part at a time: each message takes 8 KiB until it is sent.
  constexpr size_t kPart = 256;
  std::vector<Message> messages;
  std::vector<size_t> indices;
  for (size_t begin = 0; begin < connections.size(); begin += kPart) {
    messages.clear();
    indices.clear();
    for (size_t i = begin; i < std::min(begin + kPart, connections.size()); ++i) {
      auto message = netlink::DeleteConnectionRequest(connections[i]);
      if (!message.ok()) {
        results[i] = Annotate(message.status(), asked(connections[i]));
        continue;
      }
      messages.push_back(*std::move(message));
      indices.push_back(i);
    }
    const std::vector<Answer> answers = socket_->Transact(messages);
    for (size_t m = 0; m < answers.size(); ++m) {
      const Connection& connection = connections[indices[m]];
      if (IsGone(answers[m], connection.original)) continue;
      results[indices[m]] = StatusOf(answers[m], asked(connection));
    }
  }
  return results;
}

}  // namespace fairlead
