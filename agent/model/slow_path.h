// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the slow path answers guests by, as values. agent/reconcile derives them from
// the intent and the bound ports; agent/ports/slow_path tells them to the process.
//
// Threading: plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/base/types.h"
#include "agent/model/intent.h"

namespace fairlead {

struct SlowPathSubnet {
  std::string id;
  std::optional<IpPrefix> prefix4, prefix6;
  std::optional<IpAddress> gateway4, gateway6;  // none: not routed in this family
  std::vector<IpAddress> dns_servers;
  uint32_t mtu = 0;  // of the guests' IP packets, bytes; 576 .. 65535
  friend bool operator==(const SlowPathSubnet&, const SlowPathSubnet&) = default;
};

// A representor. What comes in there is answered.
struct SlowPathPort {
  std::string id;
  std::string subnet;
  uint32_t ifindex = 0;
  std::string netdev;  // what the ifindex is called, for people
  MacAddress mac;
  std::vector<IpAddress> addresses;
  std::vector<AddressPair> pairs;
  std::string host_name;  // "" = none is told
  friend bool operator==(const SlowPathPort&, const SlowPathPort&) = default;
};

// Who has an address of a subnet, on whatever host.
struct SlowPathNeighbour {
  std::string subnet;
  IpAddress address;
  MacAddress mac;
  friend bool operator==(const SlowPathNeighbour&, const SlowPathNeighbour&) = default;
};

using SlowPathEntry = std::variant<SlowPathSubnet, SlowPathPort, SlowPathNeighbour>;

struct SlowPathKey {
  enum class Kind : uint8_t { kSubnet, kPort, kNeighbour };
  Kind kind = Kind::kSubnet;
  std::string id;     // of the subnet (a neighbour's too), or of the port
  IpAddress address;  // kNeighbour only
  friend auto operator<=>(const SlowPathKey&, const SlowPathKey&) = default;
};
SlowPathKey KeyOf(const SlowPathEntry& entry);

// Counters of the process, since it started. proto/fairlead/v1/slow_path.proto says what each is.
struct SlowPathCounters {
  uint64_t received = 0, answered = 0, over_rate = 0, malformed = 0, spoofed = 0, unknown = 0,
           not_sent = 0;
  friend bool operator==(const SlowPathCounters&, const SlowPathCounters&) = default;
};

// Of each list of a report (proto/fairlead/v1/slow_path.proto, SlowPathReply).
inline constexpr size_t kMaxSlowPathTold = 64;

struct SlowPathReport {
  std::vector<std::string> problems;    // what could not be taken
  std::vector<std::string> deaf_ports;  // without a packet socket, and why: "port ID: why"
  SlowPathCounters counters;
};

}  // namespace fairlead
