// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the slow path answers by: subnets, ports, neighbours. Begin and Whole bracket
// a telling of everything: what was not put between them goes at Whole, and is answered by
// until then (mark and sweep).
//
// Threading: one thread. Errors: Put refuses what is beyond the limits; all else succeeds.
// Entries were checked before (CheckSlowPathEntry).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "agent/model/slow_path.h"

namespace fairlead::slowpath {

// A host that asks for more is wrong: memory is bounded (some 50 bytes a neighbour).
struct TableLimits {
  size_t subnets = 65'536;
  size_t ports = 16'384;
  size_t neighbours = 1'000'000;
};

class Tables {
 public:
  explicit Tables(TableLimits limits = {}) : limits_(limits) {}

  void Begin() { ++epoch_; }
  void Whole();
  // The port at that netdev, its subnet and that one's neighbours are as if put again.
  void Keep(uint32_t ifindex);
  // A port takes the netdev of another that has its ifindex; that other one goes: a new
  // tenant is told before the old one's entry is swept.
  absl::Status Put(const SlowPathEntry& entry);
  void Remove(const SlowPathKey& key);

  const SlowPathSubnet* FindSubnet(std::string_view id) const;
  const SlowPathPort* FindPort(std::string_view id) const;
  std::optional<MacAddress> FindNeighbour(std::string_view subnet, const IpAddress& address) const;

  struct Port {
    SlowPathPort value;
    uint32_t epoch = 0;
  };
  using Ports = std::map<std::string, Port, std::less<>>;
  const Ports& ports() const { return ports_; }
  size_t subnets() const { return with_value_; }
  size_t neighbours() const { return neighbours_; }

 private:
  struct Neighbour {
    MacAddress mac;
    uint32_t epoch = 0;
  };
  // What has neighbours may itself be unknown.
  struct Subnet {
    std::optional<SlowPathSubnet> value;
    uint32_t epoch = 0;
    absl::flat_hash_map<IpAddress, Neighbour> neighbours;
  };
  using Subnets = std::map<std::string, Subnet, std::less<>>;

  absl::Status PutSubnet(const SlowPathSubnet& subnet);
  absl::Status PutPort(const SlowPathPort& port);
  absl::Status PutNeighbour(const SlowPathNeighbour& neighbour);
  void RemovePort(Ports::iterator port);
  void Forget(Subnets::iterator subnet);  // unless something of it is left

  TableLimits limits_;
  uint32_t epoch_ = 1;
  Subnets subnets_;
  Ports ports_;
  absl::flat_hash_map<uint32_t, std::string> port_of_ifindex_;
  size_t with_value_ = 0;
  size_t neighbours_ = 0;
};

}  // namespace fairlead::slowpath
