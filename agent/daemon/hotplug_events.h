// SPDX-License-Identifier: Apache-2.0
//
// Purpose: which hot-plug port a uevent is about: that a function behind it comes, goes,
// gets a driver or loses it, or that a driver made a netdev of it.
//
// Threading: const after construction; safe from any thread.
#pragma once

#include <optional>
#include <set>
#include <vector>

#include "agent/ports/uevent/uevent_port.h"
#include "agent/providers/config.h"

namespace fairlead {

class HotplugEvents {
 public:
  explicit HotplugEvents(const std::vector<HotplugPortConfig>& ports);
  // None: it is about nothing that is configured, or changes nothing that is looked at.
  std::optional<NicId> PortOf(const Uevent& event) const;

 private:
  std::set<PciAddress> ports_;
};

// The function whose driver came or went; none: it is about something else.
std::optional<PciAddress> DriverChangeOf(const Uevent& event);

}  // namespace fairlead
