// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a kernel's table of connections in memory, and ConntrackPort on it. It has what tests
// put into it: no packet of a fake makes a connection.
//
// Threading: safe from any thread, unlike the real port; its state is under the network's lock.
// Ownership: the table is lent to its ports and outlives them; it shares the network.
// Errors: as the kernel's, by SystemError. Faults, hook and the list of calls are the network's
// ("Dump(zone 5)", "Find(...)", "Delete(zone 5 TCP 10.0.0.1:1024 -> 10.0.0.2:80)").
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/ports/conntrack/conntrack_port.h"
#include "agent/ports/netlink/fake_network.h"

namespace fairlead {

// What answers it: the ends change places, and a query becomes its answer (RFC 792, RFC 4443
// section 4).
ConnectionTuple ReplyOf(const ConnectionTuple& original);

class FakeConntrack {
 public:
  // Without a network to share: one of its own.
  FakeConntrack() : FakeConntrack(std::make_shared<FakeNetwork>()) {}
  explicit FakeConntrack(std::shared_ptr<FakeNetwork> network) : network_(std::move(network)) {}

  // --- What packets and time do.
  // Of any zone. With an id of 0 it is given a new one, which is the answer. EEXIST when one of the
  // zone has one of its tuples.
  absl::StatusOr<uint32_t> Add(Connection connection);
  // One that packets of both directions have passed, unless it is there already.
  void Add(uint16_t zone, const ConnectionTuple& original);
  // Its tuples, zone and id stay. Nothing when it is not there.
  void Change(uint16_t zone, const ConnectionTuple& original,
              const std::function<void(Connection&)>& change);
  // It ended. Nothing when it is not there.
  void Remove(uint16_t zone, const ConnectionTuple& original);
  // Those of a zone, the host's own too, in order.
  std::vector<Connection> In(uint16_t zone) const;
  FakeNetwork& network() { return *network_; }

  // --- The operations of FakeConntrackPort; contracts in conntrack_port.h.
  absl::StatusOr<std::vector<Connection>> Dump(uint16_t zone);
  absl::StatusOr<std::optional<Connection>> Find(uint16_t zone, const ConnectionTuple& tuple);
  absl::Status Delete(const Connection& connection);

 private:
  struct Zone {
    // The connection whose original or reply tuple this is; null: none.
    Connection* Look(const ConnectionTuple& tuple);
    void Erase(const ConnectionTuple& original);

    std::map<ConnectionTuple, Connection> connections;   // by original tuple
    std::map<ConnectionTuple, ConnectionTuple> replies;  // to original
  };

  std::shared_ptr<FakeNetwork> network_;
  // Under the network's lock.
  std::map<uint16_t, Zone> zones_;
  uint32_t next_id_ = 1;
};

class FakeConntrackPort final : public ConntrackPort {
 public:
  explicit FakeConntrackPort(FakeConntrack* table) : table_(table) {}

  absl::StatusOr<std::vector<Connection>> Dump(uint16_t zone) override;
  absl::StatusOr<std::optional<Connection>> Find(uint16_t zone,
                                                 const ConnectionTuple& tuple) override;
  std::vector<absl::Status> Delete(std::span<const Connection> connections) override;

 private:
  FakeConntrack* table_;
};

}  // namespace fairlead
