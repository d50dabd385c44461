// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/hotplug_events.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

class HotplugEventsTest : public ::testing::Test {
 protected:
  HotplugEventsTest() {
    for (const PciAddress& address : {kPort, kBelow}) {
      HotplugPortConfig port;
      port.port = address;
      ports.push_back(port);
    }
  }
  std::optional<NicId> PortOf(const std::string& action, const std::string& devpath) {
    Uevent event;
    event.action = action;
    event.devpath = devpath;
    return HotplugEvents(ports).PortOf(event);
  }
  static constexpr PciAddress kPort{0, 0, 0x1c, 0};
  static constexpr PciAddress kBelow{0, 5, 1, 0};
  std::vector<HotplugPortConfig> ports;
};

TEST_F(HotplugEventsTest, WhatIsAtOrBehindAConfiguredPortIsItsEvent) {
  const std::string function = "/devices/pci0000:00/0000:00:1c.0/0000:02:00.0";
  for (const char* action : {"add", "remove", "bind", "unbind"}) {
    EXPECT_EQ(PortOf(action, function), NicId(kPort)) << action;
  }
  EXPECT_EQ(PortOf("add", function + "/virtio3/net/eth1"), NicId(kPort));
  EXPECT_EQ(PortOf("move", function + "/virtio3/net/eth1"), NicId(kPort));
  EXPECT_EQ(PortOf("remove", "/devices/pci0000:00/0000:00:1c.0"), NicId(kPort));
  EXPECT_EQ(PortOf("change", function), std::nullopt);
}

TEST_F(HotplugEventsTest, OfPortsBelowEachOtherTheLowestIsMeant) {
  EXPECT_EQ(
      PortOf("add", "/devices/pci0000:00/0000:00:1c.0/0000:04:00.0/0000:05:01.0/0000:06:00.0"),
      NicId(kBelow));
}

TEST_F(HotplugEventsTest, WhatIsElsewhereIsNobodysEvent) {
  EXPECT_EQ(PortOf("add", "/devices/pci0000:00/0000:00:1d.0/0000:02:00.0"), std::nullopt);
  EXPECT_EQ(PortOf("add", "/devices/virtual/net/lo"), std::nullopt);
  EXPECT_EQ(PortOf("add", ""), std::nullopt);
  EXPECT_EQ(PortOf("add", "/"), std::nullopt);
  EXPECT_EQ(PortOf("add", "//0000:00:1c.0x/"), std::nullopt);
  Uevent lost;
  lost.lost = true;
  EXPECT_EQ(HotplugEvents(ports).PortOf(lost), std::nullopt);
}

}  // namespace
}  // namespace fairlead
