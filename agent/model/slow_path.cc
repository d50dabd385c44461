// SPDX-License-Identifier: Apache-2.0
#include "agent/model/slow_path.h"

namespace fairlead {

SlowPathKey KeyOf(const SlowPathEntry& entry) {
  if (const auto* subnet = std::get_if<SlowPathSubnet>(&entry)) {
    return {SlowPathKey::Kind::kSubnet, subnet->id, {}};
  }
  if (const auto* port = std::get_if<SlowPathPort>(&entry)) {
    return {SlowPathKey::Kind::kPort, port->id, {}};
  }
  const auto& neighbour = std::get<SlowPathNeighbour>(entry);
  return {SlowPathKey::Kind::kNeighbour, neighbour.subnet, neighbour.address};
}

}  // namespace fairlead
