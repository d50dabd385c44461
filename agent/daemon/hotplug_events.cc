// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/hotplug_events.h"

#include <string_view>

namespace fairlead {

HotplugEvents::HotplugEvents(const std::vector<HotplugPortConfig>& ports) {
  for (const HotplugPortConfig& port : ports) ports_.insert(port.port);
}

std::optional<NicId> HotplugEvents::PortOf(const Uevent& event) const {
  // "add" of a function comes before its driver and its netdev, which say more; "move"
  // is a netdev's new name. "change" says nothing that sysfs shows here.
  if (event.lost || event.action == "change") return std::nullopt;
  // "/devices/pci0000:00/0000:00:1c.0/0000:02:00.0/virtio3/net/eth1": whatever is at or
  // below the port. Of ports below each other the lowest is meant.
  std::optional<NicId> found;
  std::string_view rest = event.devpath;
  while (!rest.empty()) {
    rest.remove_prefix(1);  // its slash
    const std::string_view name = rest.substr(0, rest.find('/'));
    rest.remove_prefix(name.size());
    const absl::StatusOr<PciAddress> address = PciAddress::Parse(name);
    if (address.ok() && ports_.contains(*address)) found = NicId(*address);
  }
  return found;
}

std::optional<PciAddress> DriverChangeOf(const Uevent& event) {
  if (event.subsystem != "pci" || (event.action != "bind" && event.action != "unbind")) {
    return std::nullopt;
  }
  const absl::StatusOr<PciAddress> address =
      PciAddress::Parse(std::string_view(event.devpath).substr(event.devpath.rfind('/') + 1));
  return address.ok() ? std::optional<PciAddress>(*address) : std::nullopt;
}

}  // namespace fairlead
