// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/conntrack/fake_conntrack.h"

namespace fairlead {
namespace {

absl::Status CheckZone(uint16_t zone) {
  if (zone != 0) return absl::OkStatus();
  return absl::InvalidArgumentError("zone 0 of conntrack is the host's own");
}

}  // namespace

ConnectionTuple ReplyOf(const ConnectionTuple& original) {
  ConnectionTuple reply = original;
  std::swap(reply.src, reply.dst);
  std::swap(reply.src_port, reply.dst_port);
  if (original.protocol == 1 && original.icmp_type == 8) reply.icmp_type = 0;
  if (original.protocol == 58 && original.icmp_type == 128) reply.icmp_type = 129;
  return reply;
}

void FakeConntrack::Add(uint16_t zone, const ConnectionTuple& original) {
  const std::lock_guard lock(mutex_);
  const auto [it, added] = connections_.try_emplace({zone, original});
  if (!added) return;
  Connection& connection = it->second;
  connection.zone = zone;
  connection.original = original;
  connection.reply = ReplyOf(original);
  connection.seen_reply = connection.assured = connection.confirmed = true;
  connection.id = next_id_++;
  connection.timeout_s = 120;
}

std::vector<Connection> FakeConntrack::In(uint16_t zone) const {
  const std::lock_guard lock(mutex_);
  std::vector<Connection> found;
  for (const auto& [key, connection] : connections_) {
    if (key.first == zone) found.push_back(connection);
  }
  return found;
}

void FakeConntrack::Delete(const Connection& connection) {
  const std::lock_guard lock(mutex_);
  const auto it = connections_.find({connection.zone, connection.original});
  if (it != connections_.end() && it->second.id == connection.id) connections_.erase(it);
}

absl::StatusOr<std::vector<Connection>> FakeConntrackPort::Dump(uint16_t zone) {
  if (absl::Status zone_ok = CheckZone(zone); !zone_ok.ok()) return zone_ok;
  return conntrack_->In(zone);
}

absl::StatusOr<std::optional<Connection>> FakeConntrackPort::Find(uint16_t zone,
                                                                  const ConnectionTuple& tuple) {
  if (absl::Status zone_ok = CheckZone(zone); !zone_ok.ok()) return zone_ok;
  for (Connection& connection : conntrack_->In(zone)) {
    if (connection.original == tuple || connection.reply == tuple) {
      return std::optional<Connection>(std::move(connection));
    }
  }
  return std::optional<Connection>();
}

std::vector<absl::Status> FakeConntrackPort::Delete(std::span<const Connection> connections) {
  std::vector<absl::Status> results;
  for (const Connection& connection : connections) {
    results.push_back(CheckZone(connection.zone));
    if (results.back().ok()) conntrack_->Delete(connection);
  }
  return results;
}

}  // namespace fairlead
