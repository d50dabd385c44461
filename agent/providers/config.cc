// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/config.h"

#include <algorithm>

namespace fairlead {

const PfConfig* ProviderConfig::FindPf(const NicId& id) const {
  const auto it =
      std::find_if(pfs.begin(), pfs.end(), [&](const PfConfig& pf) { return NicId(pf.mac) == id; });
  return it == pfs.end() ? nullptr : &*it;
}

const HotplugPortConfig* ProviderConfig::FindHotplugPort(const NicId& id) const {
  const auto it =
      std::find_if(hotplug_ports.begin(), hotplug_ports.end(),
                   [&](const HotplugPortConfig& port) { return NicId(port.port) == id; });
  return it == hotplug_ports.end() ? nullptr : &*it;
}

}  // namespace fairlead
