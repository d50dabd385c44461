// SPDX-License-Identifier: Apache-2.0
#include <linux/devlink.h>
#include <linux/netlink.h>
#include <net/if.h>

#include "agent/base/text.h"
#include "agent/ports/devlink/devlink_codec.h"
#include "agent/ports/netlink/generic.h"

namespace fairlead::netlink {
namespace {

constexpr size_t kMaxIbName = 63;     // IB_DEVICE_NAME_MAX - 1, rdma/ib_verbs.h
constexpr size_t kMaxInfoText = 256;  // serial numbers and versions are far shorter

DevlinkHandle Handle(const AttributeSet& attributes, DecodeError* error) {
  const auto bus = attributes.String(DEVLINK_ATTR_BUS_NAME, DevlinkHandle::kMaxName);
  const auto device = attributes.String(DEVLINK_ATTR_DEV_NAME, DevlinkHandle::kMaxName);
  if (!bus || bus->empty() || !device || device->empty()) {
    error->Set("it does not say of which device it is");
    return {};
  }
  return {*bus, *device};
}

// The value of an enumeration that ends with `last`.
template <typename Enum, typename Number>
std::optional<Enum> Enumerated(std::optional<Number> value, Enum last, std::string_view name,
                               DecodeError* error) {
  if (!value) return std::nullopt;
  if (*value > static_cast<Number>(last)) {
    error->Set(StrCat(name, " ", *value, " is unknown to this version of Fairlead"));
    return std::nullopt;
  }
  return static_cast<Enum>(*value);
}

std::optional<bool> Flag(std::optional<uint8_t> value) {
  if (!value) return std::nullopt;
  return *value != 0;
}

std::optional<bool> Capability(const nla_bitfield32& caps, uint32_t bit) {
  if ((caps.selector & bit) == 0) return std::nullopt;
  return (caps.value & bit) != 0;
}

DevlinkPortFunction Function(const AttributeSet& attributes) {
  DevlinkPortFunction function;
  function.hw_addr = attributes.Mac(DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR);
  if (const auto caps = attributes.Struct<nla_bitfield32>(kPortFunctionCaps)) {
    function.roce = Capability(*caps, kCapRoce);
    function.migratable = Capability(*caps, kCapMigratable);
    function.ipsec_crypto = Capability(*caps, kCapIpsecCrypto);
    function.ipsec_packet = Capability(*caps, kCapIpsecPacket);
  }
  function.max_io_eqs = attributes.U32(kPortFunctionMaxIoEqs);
  function.active = Flag(attributes.U8(DEVLINK_PORT_FN_ATTR_STATE));
  function.attached = Flag(attributes.U8(DEVLINK_PORT_FN_ATTR_OPSTATE));
  return function;
}

std::string InfoText(const AttributeSet& attributes, uint16_t type) {
  const auto raw = attributes.Raw(type);
  return raw ? CleanText(*raw, kMaxInfoText) : std::string();
}

DevlinkDevice Device(const AttributeSet& attributes, DecodeError* error) {
  DevlinkDevice device;
  device.handle = Handle(attributes, error);
  device.reload_failed = attributes.U8(DEVLINK_ATTR_RELOAD_FAILED).value_or(0) != 0;
  return device;
}

DevlinkPortInfo Port(const AttributeSet& attributes, DecodeError* error) {
  DevlinkPortInfo port;
  port.device = Handle(attributes, error);
  if (const auto index = attributes.U32(DEVLINK_ATTR_PORT_INDEX)) {
    port.index = *index;
  } else {
    error->Set("it has no port index");
  }
  port.type = Enumerated(attributes.U16(DEVLINK_ATTR_PORT_TYPE), DevlinkPortType::kInfiniband,
                         "port type", error)
                  .value_or(DevlinkPortType::kNotSet);
  const uint32_t ifindex = attributes.U32(DEVLINK_ATTR_PORT_NETDEV_IFINDEX).value_or(0);
  if (ifindex > INT32_MAX) error->Set(StrCat("ifindex ", ifindex, " is not one of a device"));
  port.ifindex = ifindex;
  port.netdev = attributes.String(DEVLINK_ATTR_PORT_NETDEV_NAME, IFNAMSIZ - 1).value_or("");
  port.ibdev = attributes.String(DEVLINK_ATTR_PORT_IBDEV_NAME, kMaxIbName).value_or("");
  // A flavour that is not known here is of no use here, and no error.
  const auto flavour = attributes.U16(DEVLINK_ATTR_PORT_FLAVOUR);
  if (flavour && *flavour <= static_cast<uint16_t>(DevlinkFlavour::kPciSf)) {
    port.flavour = static_cast<DevlinkFlavour>(*flavour);
  }
  port.port_number = attributes.U32(DEVLINK_ATTR_PORT_NUMBER);
  port.controller = attributes.U32(DEVLINK_ATTR_PORT_CONTROLLER_NUMBER);
  port.pf = attributes.U16(DEVLINK_ATTR_PORT_PCI_PF_NUMBER);
  port.vf = attributes.U16(DEVLINK_ATTR_PORT_PCI_VF_NUMBER);
  port.sf = attributes.U32(DEVLINK_ATTR_PORT_PCI_SF_NUMBER);
  port.external = attributes.U8(DEVLINK_ATTR_PORT_EXTERNAL).value_or(0) != 0;
  port.splittable = attributes.U8(DEVLINK_ATTR_PORT_SPLITTABLE).value_or(0) != 0;
  port.lanes = attributes.U32(DEVLINK_ATTR_PORT_LANES).value_or(0);
  if (attributes.Has(DEVLINK_ATTR_PORT_FUNCTION)) {
    port.function = Function(attributes.Nested(DEVLINK_ATTR_PORT_FUNCTION));
  }
  return port;
}

}  // namespace

absl::StatusOr<DevlinkDevice> DecodeDevlinkDevice(Bytes payload) {
  DecodeError error;
  DevlinkDevice device = Device(AttributeSet(GenericAttributes(payload), &error), &error);
  if (!error.ok()) return error.ToStatus("a devlink device");
  return device;
}

absl::StatusOr<DevlinkEswitch> DecodeEswitch(Bytes payload) {
  DecodeError error;
  const AttributeSet attributes(GenericAttributes(payload), &error);
  DevlinkEswitch eswitch;
  eswitch.mode = Enumerated(attributes.U16(DEVLINK_ATTR_ESWITCH_MODE),
                            EswitchMode::kSwitchdevInactive, "mode", &error);
  eswitch.inline_mode = Enumerated(attributes.U8(DEVLINK_ATTR_ESWITCH_INLINE_MODE),
                                   EswitchInlineMode::kTransport, "inline mode", &error);
  eswitch.encap_mode = Enumerated(attributes.U8(DEVLINK_ATTR_ESWITCH_ENCAP_MODE),
                                  EswitchEncapMode::kBasic, "encap mode", &error);
  if (!error.ok()) return error.ToStatus("an eswitch");
  return eswitch;
}

absl::StatusOr<DevlinkPortInfo> DecodeDevlinkPort(Bytes payload) {
  DecodeError error;
  DevlinkPortInfo port = Port(AttributeSet(GenericAttributes(payload), &error), &error);
  if (!error.ok()) return error.ToStatus("a devlink port");
  return port;
}

absl::StatusOr<DevlinkRate> DecodeDevlinkRate(Bytes payload) {
  DecodeError error;
  const AttributeSet attributes(GenericAttributes(payload), &error);
  DevlinkRate rate;
  const auto type = attributes.U16(DEVLINK_ATTR_RATE_TYPE);
  if (type == DEVLINK_RATE_TYPE_LEAF) {
    rate.id.port = attributes.U32(DEVLINK_ATTR_PORT_INDEX);
    if (!rate.id.port) error.Set("it is a leaf without a port index");
  } else if (type == DEVLINK_RATE_TYPE_NODE) {
    rate.id.node =
        attributes.String(DEVLINK_ATTR_RATE_NODE_NAME, DevlinkRateId::kMaxNode).value_or("");
    if (rate.id.node.empty()) error.Set("it is a node without a name");
  } else {
    error.Set("it is neither a leaf nor a node");
  }
  rate.share = attributes.U64(DEVLINK_ATTR_RATE_TX_SHARE).value_or(0);
  rate.max = attributes.U64(DEVLINK_ATTR_RATE_TX_MAX).value_or(0);
  rate.parent =
      attributes.String(DEVLINK_ATTR_RATE_PARENT_NODE_NAME, DevlinkRateId::kMaxNode).value_or("");
  if (!error.ok()) return error.ToStatus("a devlink rate");
  return rate;
}

absl::StatusOr<DevlinkInfo> DecodeDevlinkInfo(Bytes payload) {
  DecodeError error;
  const AttributeSet attributes(GenericAttributes(payload), &error);
  DevlinkInfo info;
  info.driver = InfoText(attributes, DEVLINK_ATTR_INFO_DRIVER_NAME);
  info.serial_number = InfoText(attributes, DEVLINK_ATTR_INFO_SERIAL_NUMBER);
  info.board_serial_number = InfoText(attributes, DEVLINK_ATTR_INFO_BOARD_SERIAL_NUMBER);
  attributes.ForEach([&](uint16_t type, Bytes bytes) {
    std::vector<DevlinkInfo::Version>* versions = nullptr;
    if (type == DEVLINK_ATTR_INFO_VERSION_FIXED) versions = &info.fixed;
    if (type == DEVLINK_ATTR_INFO_VERSION_RUNNING) versions = &info.running;
    if (type == DEVLINK_ATTR_INFO_VERSION_STORED) versions = &info.stored;
    if (versions == nullptr) return;
    const AttributeSet version(bytes, &error);
    versions->push_back({InfoText(version, DEVLINK_ATTR_INFO_VERSION_NAME),
                         InfoText(version, DEVLINK_ATTR_INFO_VERSION_VALUE)});
  });
  if (!error.ok()) return error.ToStatus("a device's versions");
  return info;
}

absl::StatusOr<std::optional<DevlinkPort::Event>> DecodeDevlinkEvent(uint16_t family,
                                                                     const MessageView& message) {
  using Kind = DevlinkPort::Event::Kind;
  if (message.type != family) return std::nullopt;
  DecodeError error;
  DevlinkPort::Event event;
  const AttributeSet attributes(GenericAttributes(message.payload), &error);
  switch (GenericCommand(message.payload)) {
    case DEVLINK_CMD_NEW:
    case DEVLINK_CMD_DEL:
      event.kind = GenericCommand(message.payload) == DEVLINK_CMD_NEW ? Kind::kDeviceChanged
                                                                      : Kind::kDeviceGone;
      event.device = Device(attributes, &error);
      break;
    case DEVLINK_CMD_PORT_NEW:
    case DEVLINK_CMD_PORT_DEL:
      event.kind = GenericCommand(message.payload) == DEVLINK_CMD_PORT_NEW ? Kind::kPortChanged
                                                                           : Kind::kPortGone;
      event.port = Port(attributes, &error);
      event.device.handle = event.port->device;
      break;
    default:
      return std::nullopt;
  }
  if (!error.ok()) return error.ToStatus("a devlink device or port");
  return event;
}

}  // namespace fairlead::netlink
