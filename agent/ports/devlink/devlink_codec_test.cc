// SPDX-License-Identifier: Apache-2.0
//
// devlink's messages: those that the kernels 6.1 and 7.2 were seen to send for a
// netdevsim device, and ours attribute by attribute as uapi/linux/devlink.h has them.
#include "agent/ports/devlink/devlink_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/devlink.h>
#include <linux/netlink.h>

#include "absl/strings/escaping.h"
#include "agent/ports/netlink/generic.h"

namespace fairlead::netlink {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = DevlinkPort::Event::Kind;

constexpr uint16_t kFamily = 24;
const DevlinkHandle kDevice{"netdevsim", "netdevsim6990"};

std::vector<uint8_t> FromHex(const char* hex) {
  const std::string bytes = absl::HexStringToBytes(hex);
  return {bytes.begin(), bytes.end()};
}

Bytes Payload(const Message& message) { return message.bytes().subspan(sizeof(nlmsghdr)); }
uint16_t Flags(const Message& message) {
  return ReadStruct<nlmsghdr>(message.bytes())->nlmsg_flags;
}

// PORT_GET of a VF's representor; 6.1 calls it DEVLINK_CMD_NEW in a dump.
constexpr char kPort61[] =
    "030100000e0001006e657464657673696d000000120002006e657464657673696d36393930000000"
    "08000300810000000600040002000000080006000a00000009000700657468320000000005009400"
    "0000000006004d0004000000080096000000000006007f0000000000060080000100000005009500"
    "00000000";
constexpr char kPort72[] =
    "070100000e0001006e657464657673696d000000120002006e657464657673696d36393930000000"
    "0800b8001700000008000300810000000600040002000000080006000a0000000900070065746832"
    "00000000050094000000000006004d0004000000080096000000000006007f000000000006008000"
    "010000000500950000000000";
constexpr char kEswitch72[] =
    "1d0100000e0001006e657464657673696d000000120002006e657464657673696d36393930000000"
    "0800b800170000000600190001000000";
constexpr char kDevice72[] =
    "030100000e0001006e657464657673696d000000120002006e657464657673696d36393930000000"
    "0800b8001700000005008800000000008c009c8028009d802400a28005009900010000001800a380"
    "14009e8005009f00000000000800a000000000006000a1802400a28005009900010000001800a380"
    "14009e8005009f00000000000800a000000000003800a28005009900020000002c00a38014009e80"
    "05009f00000000000800a0000000000014009e8005009f00010000000800a00000000000";
constexpr char kInfo72[] =
    "330100000e0001006e657464657673696d000000120002006e657464657673696d36393930000000"
    "0800b80017000000200066000c00670066772e6d676d74000d00680031302e32302e333000000000"
    "200065000c00670066772e6d676d74000d00680031302e32302e3330000000000e0062006e657464"
    "657673696d000000";
// Whole datagrams of the group.
constexpr char kPortChanged72[] =
    "80000000180000000000000000000000070100000e0001006e657464657673696d00000012000200"
    "6e657464657673696d363939300000000800b8001700000008000300810000000600040002000000"
    "050094000000000006004d0004000000080096000000000006007f00000000000600800001000000"
    "0500950000000000";
constexpr char kPortGone72[] =
    "80000000180000000000000000000000080100000e0001006e657464657673696d00000012000200"
    "6e657464657673696d363939300000000800b8001700000008000300810000000600040000000000"
    "050094000000000006004d0004000000080096000000000006007f00000000000600800001000000"
    "0500950000000000";
constexpr char kRateGone61[] =
    "600000001500000000000000000000004d0100000e0001006e657464657673696d00000012000200"
    "6e657464657673696d363939300000000600a5000000000008000300810000000c00a60000000000"
    "000000000c00a7000000000000000000";

TEST(DecodeDevlinkPort, ReadsWhatKernelsSayOfARepresentor) {
  for (const char* hex : {kPort61, kPort72}) {
    const auto port = DecodeDevlinkPort(FromHex(hex));
    ASSERT_TRUE(port.ok()) << port.status();
    DevlinkPortInfo expected;
    expected.device = kDevice;
    expected.index = 129;
    expected.type = DevlinkPortType::kEthernet;
    expected.ifindex = 10;
    expected.netdev = "eth2";
    expected.flavour = DevlinkFlavour::kPciVf;
    expected.controller = 0;
    expected.pf = 0;
    expected.vf = 1;
    EXPECT_EQ(*port, expected);
  }
}

TEST(DecodeEswitch, ReadsWhatIsThereAndNoMore) {
  const auto eswitch = DecodeEswitch(FromHex(kEswitch72));
  ASSERT_TRUE(eswitch.ok()) << eswitch.status();
  DevlinkEswitch expected;
  expected.mode = EswitchMode::kSwitchdev;
  EXPECT_EQ(*eswitch, expected);
}

TEST(DecodeDevlinkDevice, ReadsItsHandle) {
  const auto device = DecodeDevlinkDevice(FromHex(kDevice72));
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(*device, (DevlinkDevice{kDevice, false}));
}

TEST(DecodeDevlinkInfo, ReadsVersionsByTheirKind) {
  const auto info = DecodeDevlinkInfo(FromHex(kInfo72));
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->driver, "netdevsim");
  EXPECT_EQ(info->serial_number, "");
  EXPECT_THAT(info->running, ElementsAre(DevlinkInfo::Version{"fw.mgmt", "10.20.30"}));
  EXPECT_THAT(info->stored, ElementsAre(DevlinkInfo::Version{"fw.mgmt", "10.20.30"}));
  EXPECT_TRUE(info->fixed.empty());
}

std::optional<DevlinkPort::Event> Event(const char* hex, uint16_t family = kFamily) {
  const auto datagram = FromHex(hex);
  const auto messages = SplitDatagram(datagram);
  EXPECT_TRUE(messages.ok()) << messages.status();
  const auto event = DecodeDevlinkEvent(family, messages->front());
  EXPECT_TRUE(event.ok()) << event.status();
  return event.ok() ? *event : std::nullopt;
}

TEST(DecodeDevlinkEvent, TellsOfPorts) {
  const auto changed = Event(kPortChanged72);
  ASSERT_TRUE(changed.has_value());
  EXPECT_EQ(changed->kind, Kind::kPortChanged);
  EXPECT_EQ(changed->device.handle, kDevice);
  EXPECT_EQ(changed->port->vf, 1);
  EXPECT_EQ(changed->port->ifindex, 0u);
  const auto gone = Event(kPortGone72);
  ASSERT_TRUE(gone.has_value());
  EXPECT_EQ(gone->kind, Kind::kPortGone);
  EXPECT_EQ(gone->port->index, 129u);
}

TEST(DecodeDevlinkEvent, WhatElseTheGroupCarriesIsNoEvent) {
  EXPECT_FALSE(Event(kRateGone61, 21).has_value());
  EXPECT_FALSE(Event(kPortGone72, kFamily + 1).has_value());
}

Message Answer(uint8_t command) {
  Message message = GenericRequest(kFamily, command, DEVLINK_GENL_VERSION, 0);
  message.PutString(DEVLINK_ATTR_BUS_NAME, "pci").PutString(DEVLINK_ATTR_DEV_NAME, "0000:01:00.0");
  return message;
}

TEST(DecodeDevlinkPort, ReadsAllThatAFunctionShows) {
  Message message = Answer(DEVLINK_CMD_PORT_NEW);
  message.PutU32(DEVLINK_ATTR_PORT_INDEX, 65537)
      .PutU16(DEVLINK_ATTR_PORT_TYPE, DEVLINK_PORT_TYPE_NOTSET)
      .PutU16(DEVLINK_ATTR_PORT_FLAVOUR, DEVLINK_PORT_FLAVOUR_PCI_SF)
      .PutU32(DEVLINK_ATTR_PORT_CONTROLLER_NUMBER, 1)
      .PutU16(DEVLINK_ATTR_PORT_PCI_PF_NUMBER, 2)
      .PutU32(DEVLINK_ATTR_PORT_PCI_SF_NUMBER, 88)
      .PutU8(DEVLINK_ATTR_PORT_EXTERNAL, 1)
      .PutU8(DEVLINK_ATTR_PORT_SPLITTABLE, 1)
      .PutU32(DEVLINK_ATTR_PORT_LANES, 4)
      .Begin(DEVLINK_ATTR_PORT_FUNCTION)
      .Put(DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR, MacAddress({2, 0, 0, 0, 0, 9}).bytes())
      .PutU8(DEVLINK_PORT_FN_ATTR_STATE, DEVLINK_PORT_FN_STATE_ACTIVE)
      .PutU8(DEVLINK_PORT_FN_ATTR_OPSTATE, DEVLINK_PORT_FN_OPSTATE_DETACHED)
      .PutStruct(kPortFunctionCaps, nla_bitfield32{kCapRoce, kCapRoce | kCapIpsecPacket})
      .PutU32(kPortFunctionMaxIoEqs, 8)
      .End();
  const auto port = DecodeDevlinkPort(Payload(message));
  ASSERT_TRUE(port.ok()) << port.status();
  EXPECT_EQ(port->flavour, DevlinkFlavour::kPciSf);
  EXPECT_EQ(port->controller, 1u);
  EXPECT_EQ(port->pf, 2);
  EXPECT_EQ(port->sf, 88u);
  EXPECT_FALSE(port->vf.has_value());
  EXPECT_TRUE(port->external);
  EXPECT_TRUE(port->splittable);
  EXPECT_EQ(port->lanes, 4u);
  DevlinkPortFunction expected;
  expected.hw_addr = MacAddress({2, 0, 0, 0, 0, 9});
  expected.active = true;
  expected.attached = false;
  expected.roce = true;
  expected.ipsec_packet = false;
  expected.max_io_eqs = 8;
  EXPECT_EQ(port->function, expected);
}

TEST(DecodeDevlinkPort, AFlavourOfANewerKernelIsNotAnError) {
  Message message = Answer(DEVLINK_CMD_PORT_NEW);
  message.PutU32(DEVLINK_ATTR_PORT_INDEX, 1).PutU16(DEVLINK_ATTR_PORT_FLAVOUR, 99);
  EXPECT_EQ(DecodeDevlinkPort(Payload(message))->flavour, DevlinkFlavour::kOther);
}

TEST(DecodeDevlinkPort, AnInfinibandAddressIsNoMac) {
  Message message = Answer(DEVLINK_CMD_PORT_NEW);
  message.PutU32(DEVLINK_ATTR_PORT_INDEX, 1)
      .Begin(DEVLINK_ATTR_PORT_FUNCTION)
      .Put(DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR, std::vector<uint8_t>(20, 1))
      .End();
  const auto port = DecodeDevlinkPort(Payload(message));
  ASSERT_TRUE(port.ok()) << port.status();
  ASSERT_TRUE(port->function.has_value());
  EXPECT_FALSE(port->function->hw_addr.has_value());
}

Message Rate(uint16_t type) {
  Message message = GenericRequest(kFamily, DEVLINK_CMD_RATE_NEW, 1, 0);
  message.PutString(DEVLINK_ATTR_BUS_NAME, kDevice.bus)
      .PutString(DEVLINK_ATTR_DEV_NAME, kDevice.device)
      .PutU16(DEVLINK_ATTR_RATE_TYPE, type);
  return message;
}

TEST(DecodeDevlinkRate, ReadsLeavesAndNodes) {
  Message leaf = Rate(DEVLINK_RATE_TYPE_LEAF);
  leaf.PutU32(DEVLINK_ATTR_PORT_INDEX, 128)
      .PutU64(DEVLINK_ATTR_RATE_TX_SHARE, 125'000)
      .PutU64(DEVLINK_ATTR_RATE_TX_MAX, 12'500'000'000)
      .PutString(DEVLINK_ATTR_RATE_PARENT_NODE_NAME, "tenant-1");
  const auto read = DecodeDevlinkRate(Payload(leaf));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, (DevlinkRate{DevlinkRateId::Leaf(128), 125'000, 12'500'000'000, "tenant-1"}));
  Message node = Rate(DEVLINK_RATE_TYPE_NODE);
  node.PutString(DEVLINK_ATTR_RATE_NODE_NAME, "tenant-1");
  EXPECT_EQ(*DecodeDevlinkRate(Payload(node)),
            (DevlinkRate{*DevlinkRateId::Node("tenant-1"), 0, 0, ""}));
}

TEST(DecodeDevlinkRate, WhatNamesNoPlaceInTheTreeIsRefused) {
  for (const int type : {int{DEVLINK_RATE_TYPE_LEAF}, int{DEVLINK_RATE_TYPE_NODE}, 2}) {
    EXPECT_TRUE(
        absl::IsDataLoss(DecodeDevlinkRate(Payload(Rate(static_cast<uint16_t>(type)))).status()))
        << type;
  }
}

TEST(SetRateRequest, HasTheKernelsTypesAndNumbers) {
  const Message leaf =
      SetRateRequest(kFamily, kDevice, DevlinkRateId::Leaf(128), {{}, 125'000, {}});
  EXPECT_EQ(GenericCommand(Payload(leaf)), DEVLINK_CMD_RATE_SET);
  DecodeError error;
  const AttributeSet set(GenericAttributes(Payload(leaf)), &error);
  EXPECT_EQ(set.U32(DEVLINK_ATTR_PORT_INDEX), 128U);
  EXPECT_EQ(set.U64(DEVLINK_ATTR_RATE_TX_MAX), 125'000U);
  EXPECT_FALSE(set.Has(DEVLINK_ATTR_RATE_TX_SHARE) || set.Has(DEVLINK_ATTR_RATE_NODE_NAME) ||
               set.Has(DEVLINK_ATTR_RATE_PARENT_NODE_NAME));
  const Message node =
      SetRateRequest(kFamily, kDevice, *DevlinkRateId::Node("gold"), {1, {}, std::string()});
  const AttributeSet other(GenericAttributes(Payload(node)), &error);
  EXPECT_EQ(other.String(DEVLINK_ATTR_RATE_NODE_NAME, 255), "gold");
  EXPECT_EQ(other.String(DEVLINK_ATTR_RATE_PARENT_NODE_NAME, 255), "") << "none from now on";
  EXPECT_FALSE(other.Has(DEVLINK_ATTR_PORT_INDEX));
  EXPECT_TRUE(error.ok());
}

TEST(OneByOne, RatesGoShareFirstAndByTheirNames) {
  std::vector<std::string> names;
  for (const auto& one : OneByOne(DevlinkRateSettings{125'000, 0, "gold"})) {
    names.push_back(one.what);
  }
  EXPECT_THAT(names, ElementsAre("tx_share 125000 bytes/s", "tx_max 0 bytes/s", "parent gold"));
  EXPECT_EQ(OneByOne(DevlinkRateSettings{{}, {}, ""}).front().what, "no parent");
  EXPECT_TRUE(OneByOne(DevlinkRateSettings{}).empty());
}

TEST(Decode, WhatIsMalformedIsRefused) {
  const auto refused = [](const absl::Status& status) {
    return status.code() == absl::StatusCode::kDataLoss;
  };
  const Message no_handle = GenericRequest(kFamily, DEVLINK_CMD_NEW, DEVLINK_GENL_VERSION, 0);
  EXPECT_TRUE(refused(DecodeDevlinkDevice(Payload(no_handle)).status()));
  const Message no_index = Answer(DEVLINK_CMD_PORT_NEW);
  EXPECT_TRUE(refused(DecodeDevlinkPort(Payload(no_index)).status()));
  Message short_caps = Answer(DEVLINK_CMD_PORT_NEW);
  short_caps.PutU32(DEVLINK_ATTR_PORT_INDEX, 1)
      .Begin(DEVLINK_ATTR_PORT_FUNCTION)
      .PutU32(kPortFunctionCaps, 1)
      .End();
  EXPECT_TRUE(refused(DecodeDevlinkPort(Payload(short_caps)).status()));
  auto cut = FromHex(kPort72);
  cut.resize(cut.size() - 4);
  EXPECT_TRUE(refused(DecodeDevlinkPort(cut).status()));
}

// A mode that is not known must not look like none.
TEST(DecodeEswitch, AValueThatIsNotKnownIsAnErrorThatSaysIt) {
  Message message = Answer(DEVLINK_CMD_ESWITCH_GET);
  message.PutU16(DEVLINK_ATTR_ESWITCH_MODE, 7);
  const absl::Status status = DecodeEswitch(Payload(message)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("mode 7"));
}

TEST(DecodeDevlinkInfo, TextOfTheDeviceIsMadePrintable) {
  Message message = Answer(DEVLINK_CMD_INFO_GET);
  message.PutString(DEVLINK_ATTR_INFO_SERIAL_NUMBER, "MT\x1b[2J1")
      .PutString(DEVLINK_ATTR_INFO_BOARD_SERIAL_NUMBER, std::string(2000, 'x'));
  const auto info = DecodeDevlinkInfo(Payload(message));
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->serial_number, "MT?[2J1");
  EXPECT_EQ(info->board_serial_number.size(), 256u);
}

AttributeSet Attributes(const Message& message, DecodeError* error) {
  return AttributeSet(GenericAttributes(Payload(message)), error);
}

TEST(Requests, SayTheirCommandAndDevice) {
  const std::pair<Message, int> requests[] = {
      {GetDeviceRequest(kFamily, kDevice), DEVLINK_CMD_GET},
      {GetEswitchRequest(kFamily, kDevice), DEVLINK_CMD_ESWITCH_GET},
      {SetEswitchRequest(kFamily, kDevice, {}), DEVLINK_CMD_ESWITCH_SET},
      {ListPortsRequest(kFamily, kDevice), DEVLINK_CMD_PORT_GET},
      {GetPortRequest(kFamily, kDevice, 1), DEVLINK_CMD_PORT_GET},
      {SetPortFunctionRequest(kFamily, kDevice, 1, {}), DEVLINK_CMD_PORT_SET},
      {GetInfoRequest(kFamily, kDevice), DEVLINK_CMD_INFO_GET},
      {ReloadRequest(kFamily, kDevice), DEVLINK_CMD_RELOAD}};
  for (const auto& [message, command] : requests) {
    EXPECT_TRUE(message.status().ok());
    EXPECT_EQ(ReadStruct<nlmsghdr>(message.bytes())->nlmsg_type, kFamily);
    EXPECT_EQ(GenericCommand(Payload(message)), command);
    DecodeError error;
    const AttributeSet attributes = Attributes(message, &error);
    EXPECT_EQ(attributes.String(DEVLINK_ATTR_BUS_NAME, 255), kDevice.bus);
    EXPECT_EQ(attributes.String(DEVLINK_ATTR_DEV_NAME, 255), kDevice.device);
    EXPECT_NE(Flags(message) & (NLM_F_ACK | NLM_F_DUMP), 0);
  }
  EXPECT_TRUE(ListDevicesRequest(kFamily).is_dump());
  EXPECT_TRUE(ListPortsRequest(kFamily, kDevice).is_dump());
}

TEST(SetEswitchRequest, HasTheKernelsTypesAndNumbers) {
  DevlinkEswitch wanted;
  wanted.mode = EswitchMode::kSwitchdevInactive;
  wanted.inline_mode = EswitchInlineMode::kTransport;
  wanted.encap_mode = EswitchEncapMode::kBasic;
  const Message message = SetEswitchRequest(kFamily, kDevice, wanted);
  DecodeError error;
  const AttributeSet attributes = Attributes(message, &error);
  EXPECT_EQ(attributes.U16(DEVLINK_ATTR_ESWITCH_MODE), 2);  // ..._SWITCHDEV_INACTIVE
  EXPECT_EQ(attributes.U8(DEVLINK_ATTR_ESWITCH_INLINE_MODE), DEVLINK_ESWITCH_INLINE_MODE_TRANSPORT);
  EXPECT_EQ(attributes.U8(DEVLINK_ATTR_ESWITCH_ENCAP_MODE), DEVLINK_ESWITCH_ENCAP_MODE_BASIC);
  EXPECT_TRUE(error.ok());
}

TEST(OneByOne, SettingsGoInTheKernelsOrderEachByItsName) {
  DevlinkEswitch eswitch;
  eswitch.encap_mode = EswitchEncapMode::kNone;
  eswitch.mode = EswitchMode::kSwitchdev;
  const auto modes = OneByOne(eswitch);
  ASSERT_EQ(modes.size(), 2u);
  EXPECT_EQ(modes[0].what, "eswitch mode switchdev");
  EXPECT_FALSE(modes[0].value.encap_mode.has_value());
  EXPECT_EQ(modes[1].what, "eswitch encap mode none");
  EXPECT_FALSE(modes[1].value.mode.has_value());

  DevlinkPortFunction function;
  function.active = true;
  function.max_io_eqs = 4;
  function.ipsec_crypto = true;
  function.roce = false;
  function.hw_addr = MacAddress({2, 0, 0, 0, 0, 9});
  std::vector<std::string> names;
  for (const auto& one : OneByOne(function)) names.push_back(one.what);
  EXPECT_THAT(names, ElementsAre("function hw_addr 02:00:00:00:00:09", "function roce off",
                                 "function ipsec_crypto on", "function max_io_eqs 4",
                                 "function state active"));
  EXPECT_TRUE(OneByOne(DevlinkEswitch{}).empty());
  EXPECT_TRUE(OneByOne(DevlinkPortFunction{}).empty());
}

TEST(SetPortFunctionRequest, WhatIsSetIsReadBack) {
  DevlinkPortFunction wanted;
  wanted.hw_addr = MacAddress({2, 0, 0, 0, 0, 9});
  wanted.roce = false;
  wanted.migratable = true;
  wanted.max_io_eqs = 4;
  wanted.active = false;
  const Message message = SetPortFunctionRequest(kFamily, kDevice, 129, wanted);
  const auto port = DecodeDevlinkPort(Payload(message));
  ASSERT_TRUE(port.ok()) << port.status();
  EXPECT_EQ(port->index, 129u);
  EXPECT_EQ(port->function, wanted);
  DecodeError error;
  const AttributeSet function = Attributes(message, &error).Nested(DEVLINK_ATTR_PORT_FUNCTION);
  const auto caps = *function.Struct<nla_bitfield32>(kPortFunctionCaps);
  EXPECT_EQ(caps.selector, kCapRoce | kCapMigratable);
  EXPECT_EQ(caps.value, kCapMigratable);
}

}  // namespace
}  // namespace fairlead::netlink
