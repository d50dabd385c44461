// SPDX-License-Identifier: Apache-2.0
//
// Purpose: conntrack in memory, for tests and simulated hosts: what a test says that the kernel
// knows.
// Threading: any; a lock inside. Errors: as ConntrackPort's.
#pragma once

#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "agent/ports/conntrack/conntrack_port.h"

namespace fairlead {

class FakeConntrack {
 public:
  // As if packets of it had passed: an id and a reply tuple of its own, unless it is known already.
  void Add(uint16_t zone, const ConnectionTuple& original);
  std::vector<Connection> In(uint16_t zone) const;
  void Delete(const Connection& connection);

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<uint16_t, ConnectionTuple>, Connection> connections_;  // by original tuple
  uint32_t next_id_ = 1;
};

class FakeConntrackPort final : public ConntrackPort {
 public:
  explicit FakeConntrackPort(FakeConntrack* conntrack) : conntrack_(conntrack) {}

  absl::StatusOr<std::vector<Connection>> Dump(uint16_t zone) override;
  absl::StatusOr<std::optional<Connection>> Find(uint16_t zone,
                                                 const ConnectionTuple& tuple) override;
  std::vector<absl::Status> Delete(std::span<const Connection> connections) override;

 private:
  FakeConntrack* conntrack_;
};

// What answers it: the ends change places, and of an ICMP request it is the reply (RFC 792, RFC
// 4443 section 4).
ConnectionTuple ReplyOf(const ConnectionTuple& original);

}  // namespace fairlead
