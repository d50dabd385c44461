// SPDX-License-Identifier: Apache-2.0
#include "dataplane/slowpath/tables.h"

#include <utility>
#include <variant>

#include "agent/base/text.h"

namespace fairlead::slowpath {
namespace {

absl::Status Full(std::string_view what, size_t limit) {
  return absl::ResourceExhaustedError(StrCat("there are ", limit, " ", what, " already"));
}

}  // namespace

void Tables::Whole() {
  for (auto it = ports_.begin(); it != ports_.end();) {
    const auto port = it++;
    if (port->second.epoch != epoch_) RemovePort(port);
  }
  for (auto it = subnets_.begin(); it != subnets_.end();) {
    const auto subnet = it++;
    Subnet& state = subnet->second;
    if (state.value && state.epoch != epoch_) {
      state.value.reset();
      --with_value_;
    }
    neighbours_ -= absl::erase_if(
        state.neighbours, [this](const auto& entry) { return entry.second.epoch != epoch_; });
    Forget(subnet);
  }
}

void Tables::Keep(uint32_t ifindex) {
  const auto at = port_of_ifindex_.find(ifindex);
  if (at == port_of_ifindex_.end()) return;
  Port& port = ports_.find(at->second)->second;
  port.epoch = epoch_;
  const auto subnet = subnets_.find(port.value.subnet);
  if (subnet == subnets_.end()) return;
  subnet->second.epoch = epoch_;
  for (auto& [address, neighbour] : subnet->second.neighbours) neighbour.epoch = epoch_;
}

absl::Status Tables::Put(const SlowPathEntry& entry) {
  if (const auto* subnet = std::get_if<SlowPathSubnet>(&entry)) return PutSubnet(*subnet);
  if (const auto* port = std::get_if<SlowPathPort>(&entry)) return PutPort(*port);
  return PutNeighbour(std::get<SlowPathNeighbour>(entry));
}

absl::Status Tables::PutSubnet(const SlowPathSubnet& subnet) {
  const auto there = subnets_.find(subnet.id);
  const bool is_new = there == subnets_.end() || !there->second.value;
  if (is_new && with_value_ >= limits_.subnets) return Full("subnets", limits_.subnets);
  Subnet& state = there == subnets_.end() ? subnets_[subnet.id] : there->second;
  if (is_new) ++with_value_;
  state.value = subnet;
  state.epoch = epoch_;
  return absl::OkStatus();
}

absl::Status Tables::PutPort(const SlowPathPort& port) {
  const auto there = ports_.find(port.id);
  if (there == ports_.end() && ports_.size() >= limits_.ports) return Full("ports", limits_.ports);
  if (there != ports_.end()) port_of_ifindex_.erase(there->second.value.ifindex);
  if (const auto other = port_of_ifindex_.find(port.ifindex); other != port_of_ifindex_.end()) {
    ports_.erase(ports_.find(other->second));
  }
  port_of_ifindex_[port.ifindex] = port.id;
  ports_[port.id] = Port{port, epoch_};
  return absl::OkStatus();
}

absl::Status Tables::PutNeighbour(const SlowPathNeighbour& neighbour) {
  const auto subnet = subnets_.find(neighbour.subnet);
  const bool is_new =
      subnet == subnets_.end() || !subnet->second.neighbours.contains(neighbour.address);
  if (is_new && neighbours_ >= limits_.neighbours) return Full("neighbours", limits_.neighbours);
  Subnet& state = subnet == subnets_.end() ? subnets_[neighbour.subnet] : subnet->second;
  state.neighbours[neighbour.address] = Neighbour{neighbour.mac, epoch_};
  if (is_new) ++neighbours_;
  return absl::OkStatus();
}

void Tables::Remove(const SlowPathKey& key) {
  if (key.kind == SlowPathKey::Kind::kPort) {
    if (const auto port = ports_.find(key.id); port != ports_.end()) RemovePort(port);
    return;
  }
  const auto subnet = subnets_.find(key.id);
  if (subnet == subnets_.end()) return;
  Subnet& state = subnet->second;
  if (key.kind == SlowPathKey::Kind::kNeighbour) {
    neighbours_ -= state.neighbours.erase(key.address);
  } else if (state.value) {
    state.value.reset();
    --with_value_;
  }
  Forget(subnet);
}

void Tables::RemovePort(Ports::iterator port) {
  port_of_ifindex_.erase(port->second.value.ifindex);
  ports_.erase(port);
}

void Tables::Forget(Subnets::iterator subnet) {
  if (!subnet->second.value && subnet->second.neighbours.empty()) subnets_.erase(subnet);
}

const SlowPathSubnet* Tables::FindSubnet(std::string_view id) const {
  const auto it = subnets_.find(id);
  return it == subnets_.end() || !it->second.value ? nullptr : &*it->second.value;
}

const SlowPathPort* Tables::FindPort(std::string_view id) const {
  const auto it = ports_.find(id);
  return it == ports_.end() ? nullptr : &it->second.value;
}

std::optional<MacAddress> Tables::FindNeighbour(std::string_view subnet,
                                                const IpAddress& address) const {
  const auto it = subnets_.find(subnet);
  if (it == subnets_.end()) return std::nullopt;
  const auto neighbour = it->second.neighbours.find(address);
  if (neighbour == it->second.neighbours.end()) return std::nullopt;
  return neighbour->second.mac;
}

}  // namespace fairlead::slowpath
