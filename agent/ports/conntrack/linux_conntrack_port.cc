// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/conntrack/linux_conntrack_port.h"

#include <errno.h>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/conntrack/conntrack_codec.h"

namespace fairlead {
namespace {

using netlink::Answer;
using netlink::Message;

absl::Status CheckZone(uint16_t zone) {
  if (zone != 0) return absl::OkStatus();
  return absl::InvalidArgumentError("zone 0 of conntrack is the host's own");
}

// nfnetlink answers EINVAL to a subsystem that no module serves (nfnetlink_rcv_msg).
absl::Status StatusOf(const Answer& answer, const std::string& asked) {
  if (answer.transport.ok() && answer.error == EINVAL && answer.words.empty()) {
    return absl::UnimplementedError(
        StrCat(asked, ": Invalid argument; the kernel may lack nf_conntrack_netlink"));
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
  FAIRLEAD_RETURN_IF_ERROR(CheckZone(zone));
  const std::string asked = StrCat("list the connections of conntrack zone ", zone);
  std::vector<Connection> connections;
  absl::Status bad;
  Message request = netlink::DumpConnectionsRequest(zone);
  const Answer answer = socket_->Dump(request, [&](const netlink::MessageView& message) {
    if (!bad.ok() || !netlink::IsConnection(message.type)) return;
    absl::StatusOr<Connection> connection = netlink::DecodeConnection(message.payload);
    if (!connection.ok()) {
      bad = Annotate(connection.status(), asked);
    } else if (connection->zone == zone) {  // not every kernel filters by it
      connections.push_back(*std::move(connection));
    }
  });
  FAIRLEAD_RETURN_IF_ERROR(StatusOf(answer, asked));
  FAIRLEAD_RETURN_IF_ERROR(bad);
  return connections;
}

absl::StatusOr<std::optional<Connection>> LinuxConntrackPort::Find(uint16_t zone,
                                                                   const ConnectionTuple& tuple) {
  FAIRLEAD_RETURN_IF_ERROR(CheckZone(zone));
  const std::string asked = StrCat("look a connection up in conntrack zone ", zone);
  Message request = netlink::GetConnectionRequest(zone, tuple);
  const Answer answer = socket_->Transact(request);
  if (answer.transport.ok() && answer.error == ENOENT) return std::optional<Connection>();
  FAIRLEAD_RETURN_IF_ERROR(StatusOf(answer, asked));
  for (const netlink::OwnedMessage& reply : answer.replies) {
    if (!netlink::IsConnection(reply.type)) continue;
    absl::StatusOr<Connection> connection = netlink::DecodeConnection(reply.payload);
    if (!connection.ok()) return Annotate(connection.status(), asked);
    return std::optional<Connection>(*std::move(connection));
  }
  return absl::DataLossError(StrCat(asked, ": the kernel answered without a word"));
}

std::vector<absl::Status> LinuxConntrackPort::Delete(std::span<const Connection> connections) {
  std::vector<absl::Status> results(connections.size());
  std::vector<Message> requests;
  std::vector<size_t> of;
  for (size_t i = 0; i < connections.size(); ++i) {
    results[i] = CheckZone(connections[i].zone);
    if (!results[i].ok()) continue;
    requests.push_back(netlink::DeleteConnectionRequest(connections[i]));
    of.push_back(i);
  }
  const std::vector<Answer> answers = socket_->Transact(requests);
  for (size_t n = 0; n < answers.size(); ++n) {
    const Answer& answer = answers[n];
    if (answer.transport.ok() && answer.error == ENOENT) continue;  // it, or its id, is no more
    results[of[n]] =
        StatusOf(answer, StrCat("delete a connection of conntrack zone ", connections[of[n]].zone));
  }
  return results;
}

}  // namespace fairlead
