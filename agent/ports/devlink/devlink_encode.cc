// SPDX-License-Identifier: Apache-2.0
#include <linux/devlink.h>
#include <linux/netlink.h>

#include "agent/base/text.h"
#include "agent/ports/devlink/devlink_codec.h"
#include "agent/ports/netlink/generic.h"

namespace fairlead::netlink {
namespace {

Message Request(uint16_t family, uint8_t command, const DevlinkHandle& device,
                uint16_t flags = NLM_F_ACK) {
  Message message = GenericRequest(family, command, DEVLINK_GENL_VERSION, flags);
  message.PutString(DEVLINK_ATTR_BUS_NAME, device.bus)
      .PutString(DEVLINK_ATTR_DEV_NAME, device.device);
  return message;
}

std::string OnOff(std::string_view name, bool on) {
  return StrCat("function ", name, on ? " on" : " off");
}

}  // namespace

std::vector<OneSetting<DevlinkEswitch>> OneByOne(const DevlinkEswitch& wanted) {
  std::vector<OneSetting<DevlinkEswitch>> settings;
  const auto add = [&](auto DevlinkEswitch::*field, std::string_view name) {
    if (!(wanted.*field)) return;
    DevlinkEswitch one;
    one.*field = wanted.*field;
    settings.push_back({StrCat("eswitch ", name, " ", Name(*(wanted.*field))), one});
  };
  add(&DevlinkEswitch::mode, "mode");
  add(&DevlinkEswitch::inline_mode, "inline mode");
  add(&DevlinkEswitch::encap_mode, "encap mode");
  return settings;
}

std::vector<OneSetting<DevlinkPortFunction>> OneByOne(const DevlinkPortFunction& wanted) {
  std::vector<OneSetting<DevlinkPortFunction>> settings;
  const auto add = [&](auto DevlinkPortFunction::*field, auto what) {
    if (!(wanted.*field)) return;
    DevlinkPortFunction one;
    one.*field = wanted.*field;
    settings.push_back({what(*(wanted.*field)), one});
  };
  const auto on_off = [](std::string_view name) {
    return [name](bool on) { return OnOff(name, on); };
  };
  add(&DevlinkPortFunction::hw_addr,
      [](const MacAddress& mac) { return StrCat("function hw_addr ", mac.ToString()); });
  add(&DevlinkPortFunction::roce, on_off("roce"));
  add(&DevlinkPortFunction::migratable, on_off("migratable"));
  add(&DevlinkPortFunction::ipsec_crypto, on_off("ipsec_crypto"));
  add(&DevlinkPortFunction::ipsec_packet, on_off("ipsec_packet"));
  add(&DevlinkPortFunction::max_io_eqs,
      [](uint32_t queues) { return StrCat("function max_io_eqs ", queues); });
  // Last: a function that becomes active has all the rest.
  add(&DevlinkPortFunction::active,
      [](bool active) { return StrCat("function state ", active ? "active" : "inactive"); });
  return settings;
}

std::vector<OneSetting<DevlinkRateSettings>> OneByOne(const DevlinkRateSettings& wanted) {
  std::vector<OneSetting<DevlinkRateSettings>> settings;
  const auto add = [&](auto DevlinkRateSettings::*field, std::string what) {
    if (!(wanted.*field)) return;
    DevlinkRateSettings one;
    one.*field = wanted.*field;
    settings.push_back({std::move(what), std::move(one)});
  };
  add(&DevlinkRateSettings::share, StrCat("tx_share ", wanted.share.value_or(0), " bytes/s"));
  add(&DevlinkRateSettings::max, StrCat("tx_max ", wanted.max.value_or(0), " bytes/s"));
  const std::string parent = wanted.parent.value_or("");
  add(&DevlinkRateSettings::parent, parent.empty() ? "no parent" : StrCat("parent ", parent));
  return settings;
}

Message ListDevicesRequest(uint16_t family) {
  return GenericRequest(family, DEVLINK_CMD_GET, DEVLINK_GENL_VERSION, NLM_F_DUMP);
}

Message GetDeviceRequest(uint16_t family, const DevlinkHandle& device) {
  return Request(family, DEVLINK_CMD_GET, device);
}

Message GetEswitchRequest(uint16_t family, const DevlinkHandle& device) {
  return Request(family, DEVLINK_CMD_ESWITCH_GET, device);
}

Message SetEswitchRequest(uint16_t family, const DevlinkHandle& device,
                          const DevlinkEswitch& wanted) {
  Message message = Request(family, DEVLINK_CMD_ESWITCH_SET, device);
  if (wanted.mode) {
    message.PutU16(DEVLINK_ATTR_ESWITCH_MODE, static_cast<uint16_t>(*wanted.mode));
  }
  if (wanted.inline_mode) {
    message.PutU8(DEVLINK_ATTR_ESWITCH_INLINE_MODE, static_cast<uint8_t>(*wanted.inline_mode));
  }
  if (wanted.encap_mode) {
    message.PutU8(DEVLINK_ATTR_ESWITCH_ENCAP_MODE, static_cast<uint8_t>(*wanted.encap_mode));
  }
  return message;
}

Message ListPortsRequest(uint16_t family, const DevlinkHandle& device) {
  return Request(family, DEVLINK_CMD_PORT_GET, device, NLM_F_DUMP);
}

Message GetPortRequest(uint16_t family, const DevlinkHandle& device, uint32_t index) {
  Message message = Request(family, DEVLINK_CMD_PORT_GET, device);
  message.PutU32(DEVLINK_ATTR_PORT_INDEX, index);
  return message;
}

Message SetPortFunctionRequest(uint16_t family, const DevlinkHandle& device, uint32_t index,
                               const DevlinkPortFunction& wanted) {
  Message message = Request(family, DEVLINK_CMD_PORT_SET, device);
  message.PutU32(DEVLINK_ATTR_PORT_INDEX, index).Begin(DEVLINK_ATTR_PORT_FUNCTION);
  if (wanted.hw_addr) {
    message.Put(DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR, wanted.hw_addr->bytes());
  }
  nla_bitfield32 caps{};
  const auto capability = [&](std::optional<bool> on, uint32_t bit) {
    if (!on) return;
    caps.selector |= bit;
    if (*on) caps.value |= bit;
  };
  capability(wanted.roce, kCapRoce);
  capability(wanted.migratable, kCapMigratable);
  capability(wanted.ipsec_crypto, kCapIpsecCrypto);
  capability(wanted.ipsec_packet, kCapIpsecPacket);
  if (caps.selector != 0) message.PutStruct(kPortFunctionCaps, caps);
  if (wanted.max_io_eqs) message.PutU32(kPortFunctionMaxIoEqs, *wanted.max_io_eqs);
  if (wanted.active) {
    message.PutU8(DEVLINK_PORT_FN_ATTR_STATE,
                  *wanted.active ? DEVLINK_PORT_FN_STATE_ACTIVE : DEVLINK_PORT_FN_STATE_INACTIVE);
  }
  message.End();
  return message;
}

Message ListRatesRequest(uint16_t family, const DevlinkHandle& device) {
  return Request(family, DEVLINK_CMD_RATE_GET, device, NLM_F_DUMP);
}

Message SetRateRequest(uint16_t family, const DevlinkHandle& device, const DevlinkRateId& id,
                       const DevlinkRateSettings& wanted) {
  Message message = Request(family, DEVLINK_CMD_RATE_SET, device);
  if (id.port) {
    message.PutU32(DEVLINK_ATTR_PORT_INDEX, *id.port);
  } else {
    message.PutString(DEVLINK_ATTR_RATE_NODE_NAME, id.node);
  }
  if (wanted.share) message.PutU64(DEVLINK_ATTR_RATE_TX_SHARE, *wanted.share);
  if (wanted.max) message.PutU64(DEVLINK_ATTR_RATE_TX_MAX, *wanted.max);
  if (wanted.parent) message.PutString(DEVLINK_ATTR_RATE_PARENT_NODE_NAME, *wanted.parent);
  return message;
}

Message AddRateNodeRequest(uint16_t family, const DevlinkHandle& device, const std::string& name) {
  Message message = Request(family, DEVLINK_CMD_RATE_NEW, device);
  message.PutString(DEVLINK_ATTR_RATE_NODE_NAME, name);
  return message;
}

Message DeleteRateNodeRequest(uint16_t family, const DevlinkHandle& device,
                              const std::string& name) {
  Message message = Request(family, DEVLINK_CMD_RATE_DEL, device);
  message.PutString(DEVLINK_ATTR_RATE_NODE_NAME, name);
  return message;
}

Message GetInfoRequest(uint16_t family, const DevlinkHandle& device) {
  return Request(family, DEVLINK_CMD_INFO_GET, device);
}

Message ReloadRequest(uint16_t family, const DevlinkHandle& device) {
  // Without an action: driver_reinit, and no answer but the acknowledgement.
  return Request(family, DEVLINK_CMD_RELOAD, device);
}

}  // namespace fairlead::netlink
