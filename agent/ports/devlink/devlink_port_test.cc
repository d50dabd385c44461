// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/devlink/devlink_port.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead {
namespace {

using ::testing::HasSubstr;

DevlinkPortInfo Representor(uint32_t index, uint16_t pf, uint16_t vf) {
  DevlinkPortInfo port;
  port.device = {"pci", "0000:01:00.0"};
  port.index = index;
  port.type = DevlinkPortType::kEthernet;
  port.ifindex = 100 + index;
  port.netdev = "eth0";
  port.flavour = DevlinkFlavour::kPciVf;
  port.controller = 0;
  port.pf = pf;
  port.vf = vf;
  return port;
}

TEST(DevlinkHandle, IsABusAndADevice) {
  const auto handle = DevlinkHandle::Parse("pci/0000:01:00.0");
  ASSERT_TRUE(handle.ok()) << handle.status();
  EXPECT_EQ(handle->bus, "pci");
  EXPECT_EQ(handle->device, "0000:01:00.0");
  EXPECT_EQ(handle->ToString(), "pci/0000:01:00.0");
  EXPECT_EQ(*handle, DevlinkHandle::Pci(*PciAddress::Parse("0000:01:00.0")));
  EXPECT_TRUE(DevlinkHandle::Parse("auxiliary/mlx5_core.eth.0").ok());
  for (const std::string& wrong : {std::string(), std::string("pci"), std::string("/x"),
                                   std::string("pci/"), std::string("pci/0000:01:00.0/1"),
                                   std::string("pci/a\0b", 7), "pci/" + std::string(256, 'a')}) {
    EXPECT_EQ(DevlinkHandle::Parse(wrong).status().code(), absl::StatusCode::kInvalidArgument)
        << wrong;
  }
}

TEST(DevlinkRateId, ANodesNameIsOneThatDevlinkTakesForNoPort) {
  EXPECT_EQ(DevlinkRateId::Node("tenant-1")->ToString(), "node tenant-1");
  EXPECT_EQ(DevlinkRateId::Leaf(128).ToString(), "leaf 128");
  EXPECT_TRUE(DevlinkRateId::Node("1a").ok());
  for (const std::string& bad :
       {std::string(), std::string("128"), std::string("a b"), std::string("a/b"),
        std::string(".."), std::string("\x1b[2J"), std::string(256, 'a'), std::string("a\0b", 3)}) {
    const auto node = DevlinkRateId::Node(bad);
    EXPECT_EQ(node.status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(Names, AreThoseOfTheDevlinkCommand) {
  EXPECT_EQ(Name(EswitchMode::kSwitchdevInactive), "switchdev_inactive");
  EXPECT_EQ(Name(EswitchInlineMode::kTransport), "transport");
  EXPECT_EQ(Name(EswitchEncapMode::kBasic), "basic");
  EXPECT_EQ(Name(DevlinkFlavour::kPciVf), "pcivf");
}

TEST(FindVfRepresentor, GoesByFlavourAndNumbersAndNeverByName) {
  std::vector<DevlinkPortInfo> ports = {Representor(1, 0, 0), Representor(2, 0, 1)};
  DevlinkPortInfo function = Representor(3, 0, 2);
  function.flavour = DevlinkFlavour::kPciSf;
  ports.push_back(function);
  EXPECT_EQ(FindVfRepresentor(ports, {.vf = 1, .pf = 0})->index, 2u);
  EXPECT_EQ(FindVfRepresentor(ports, {.vf = 1, .pf = {}})->index, 2u);
  const absl::Status other_flavour = FindVfRepresentor(ports, {.vf = 2, .pf = 0}).status();
  EXPECT_TRUE(absl::IsNotFound(other_flavour)) << other_flavour;
  EXPECT_THAT(std::string(other_flavour.message()), HasSubstr("VF 2 of PF 0"));
  EXPECT_TRUE(absl::IsNotFound(FindVfRepresentor(ports, {.vf = 1, .pf = 1}).status()));
}

TEST(FindVfRepresentor, TheVfsOfOtherHostsAreNotOurs) {
  std::vector<DevlinkPortInfo> ports = {Representor(1, 0, 0), Representor(2, 0, 0)};
  ports[0].external = true;
  ports[0].controller = 1;
  EXPECT_EQ(FindVfRepresentor(ports, {.vf = 0, .pf = 0})->index, 2u);
  ports.pop_back();
  EXPECT_TRUE(absl::IsNotFound(FindVfRepresentor(ports, {.vf = 0, .pf = 0}).status()));
}

TEST(FindVfRepresentor, TwoThatFitAreAnErrorAndNotAGuess) {
  const std::vector<DevlinkPortInfo> ports = {Representor(1, 0, 0), Representor(2, 1, 0)};
  EXPECT_EQ(FindVfRepresentor(ports, {.vf = 0, .pf = {}}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(FindVfRepresentor(ports, {.vf = 0, .pf = 1})->index, 2u);
}

TEST(FindVfRepresentor, OneWithoutANetdevIsNotThereYet) {
  std::vector<DevlinkPortInfo> ports = {Representor(1, 0, 0)};
  ports[0].ifindex = 0;
  EXPECT_TRUE(absl::IsUnavailable(FindVfRepresentor(ports, {.vf = 0, .pf = 0}).status()));
}

}  // namespace
}  // namespace fairlead
