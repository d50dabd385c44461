// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/conntrack/fake_conntrack.h"

#include <errno.h>
#include <netinet/in.h>

#include <string>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/conntrack/conntrack_codec.h"

namespace fairlead {
namespace {

using State = FakeNetwork::State;

std::string Of(uint16_t zone, const ConnectionTuple& tuple) {
  return StrCat("zone ", zone, " ", tuple.ToString());
}

}  // namespace

ConnectionTuple ReplyOf(const ConnectionTuple& original) {
  ConnectionTuple reply = original;
  std::swap(reply.src, reply.dst);
  std::swap(reply.src_port, reply.dst_port);
  if (original.protocol == IPPROTO_ICMP && original.icmp_type == 8) reply.icmp_type = 0;
  if (original.protocol == IPPROTO_ICMPV6 && original.icmp_type == 128) reply.icmp_type = 129;
  return reply;
}

Connection* FakeConntrack::Zone::Look(const ConnectionTuple& tuple) {
  auto found = connections.find(tuple);
  if (found == connections.end()) {
    const auto reply = replies.find(tuple);
    if (reply != replies.end()) found = connections.find(reply->second);
  }
  return found == connections.end() ? nullptr : &found->second;
}

void FakeConntrack::Zone::Erase(const ConnectionTuple& original) {
  const auto found = connections.find(original);
  if (found == connections.end()) return;
  replies.erase(found->second.reply);
  connections.erase(found);
}

absl::StatusOr<uint32_t> FakeConntrack::Add(Connection connection) {
  return network_->With([&](State&) -> absl::StatusOr<uint32_t> {
    Zone& zone = zones_[connection.zone];
    if (zone.Look(connection.original) != nullptr || zone.Look(connection.reply) != nullptr) {
      return SystemError(EEXIST, StrCat("add ", Of(connection.zone, connection.original)));
    }
    if (connection.id == 0) connection.id = next_id_++;
    zone.replies[connection.reply] = connection.original;
    return zone.connections.emplace(connection.original, connection).first->second.id;
  });
}

void FakeConntrack::Add(uint16_t zone, const ConnectionTuple& original) {
  Connection connection;
  connection.zone = zone;
  connection.original = original;
  connection.reply = ReplyOf(original);
  connection.seen_reply = connection.assured = connection.confirmed = true;
  if (original.protocol == IPPROTO_TCP) connection.tcp_state = "ESTABLISHED";
  connection.timeout_s = 120;
  Add(std::move(connection)).IgnoreError();  // EEXIST: it is there already
}

void FakeConntrack::Change(uint16_t zone, const ConnectionTuple& original,
                           const std::function<void(Connection&)>& change) {
  network_->With([&](State&) {
    auto& connections = zones_[zone].connections;
    const auto found = connections.find(original);
    if (found == connections.end()) return;
    Connection changed = found->second;
    change(changed);
    changed.zone = zone;
    changed.original = original;
    changed.reply = found->second.reply;
    changed.id = found->second.id;
    found->second = std::move(changed);
  });
}

void FakeConntrack::Remove(uint16_t zone, const ConnectionTuple& original) {
  network_->With([&](State&) { zones_[zone].Erase(original); });
}

std::vector<Connection> FakeConntrack::In(uint16_t zone) const {
  return network_->With([&](State&) {
    std::vector<Connection> those;
    const auto found = zones_.find(zone);
    if (found == zones_.end()) return those;
    for (const auto& [original, connection] : found->second.connections) {
      those.push_back(connection);
    }
    return those;
  });
}

absl::StatusOr<std::vector<Connection>> FakeConntrack::Dump(uint16_t zone) {
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(StrCat("Dump(zone ", zone, ")")));
  FAIRLEAD_RETURN_IF_ERROR(netlink::CheckZone(zone));
  return In(zone);
}

absl::StatusOr<std::optional<Connection>> FakeConntrack::Find(uint16_t zone,
                                                              const ConnectionTuple& tuple) {
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(StrCat("Find(", Of(zone, tuple), ")")));
  FAIRLEAD_RETURN_IF_ERROR(netlink::CheckZone(zone));
  FAIRLEAD_RETURN_IF_ERROR(netlink::CheckTuple(tuple));
  return network_->With([&](State&) {
    const Connection* found = zones_[zone].Look(tuple);
    return found == nullptr ? std::nullopt : std::optional(*found);
  });
}

absl::Status FakeConntrack::Delete(const Connection& connection) {
  FAIRLEAD_RETURN_IF_ERROR(
      network_->Enter(StrCat("Delete(", Of(connection.zone, connection.original), ")")));
  FAIRLEAD_RETURN_IF_ERROR(netlink::CheckConnection(connection));
  network_->With([&](State&) {
    Zone& zone = zones_[connection.zone];
    const Connection* found = zone.Look(connection.original);
    if (found == nullptr || found->id != connection.id) return;
    zone.Erase(ConnectionTuple(found->original));
  });
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Connection>> FakeConntrackPort::Dump(uint16_t zone) {
  return table_->Dump(zone);
}

absl::StatusOr<std::optional<Connection>> FakeConntrackPort::Find(uint16_t zone,
                                                                  const ConnectionTuple& tuple) {
  return table_->Find(zone, tuple);
}

std::vector<absl::Status> FakeConntrackPort::Delete(std::span<const Connection> connections) {
  std::vector<absl::Status> results;
  results.reserve(connections.size());
  for (const Connection& connection : connections) results.push_back(table_->Delete(connection));
  return results;
}

}  // namespace fairlead
