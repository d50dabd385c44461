// SPDX-License-Identifier: Apache-2.0
//
// Purpose: devlink messages as values and back, without a socket: what
// LinuxDevlinkPort sends and how it reads the answers. `family` is the number that
// the kernel gave to "devlink" (netlink/generic.h).
//
// Threading: pure functions.
// Errors: Decode* answer kDataLoss for a payload (behind the netlink header) that is
// malformed or holds an eswitch setting that is unknown here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/ports/devlink/devlink_port.h"
#include "agent/ports/netlink/message.h"

namespace fairlead::netlink {

// DEVLINK_GENL_NAME and its group (uapi/linux/devlink.h).
inline constexpr char kDevlinkFamily[] = "devlink";
inline constexpr char kDevlinkGroup[] = "config";

// One setting out of several, with its name ("eswitch mode switchdev"): sent by
// itself, so that a refusal has a name.
template <typename T>
struct OneSetting {
  std::string what;
  T value;
};
// In the order of their effect, which is the kernel's; none for nothing.
std::vector<OneSetting<DevlinkEswitch>> OneByOne(const DevlinkEswitch& wanted);
std::vector<OneSetting<DevlinkPortFunction>> OneByOne(const DevlinkPortFunction& wanted);
std::vector<OneSetting<DevlinkRateSettings>> OneByOne(const DevlinkRateSettings& wanted);

Message ListDevicesRequest(uint16_t family);
Message GetDeviceRequest(uint16_t family, const DevlinkHandle& device);
Message GetEswitchRequest(uint16_t family, const DevlinkHandle& device);
Message SetEswitchRequest(uint16_t family, const DevlinkHandle& device,
                          const DevlinkEswitch& wanted);
// Old kernels (6.1) answer with the ports of all devices.
Message ListPortsRequest(uint16_t family, const DevlinkHandle& device);
Message GetPortRequest(uint16_t family, const DevlinkHandle& device, uint32_t index);
Message SetPortFunctionRequest(uint16_t family, const DevlinkHandle& device, uint32_t index,
                               const DevlinkPortFunction& wanted);
// Old kernels (6.1) answer with the rates of all devices.
Message ListRatesRequest(uint16_t family, const DevlinkHandle& device);
Message SetRateRequest(uint16_t family, const DevlinkHandle& device, const DevlinkRateId& id,
                       const DevlinkRateSettings& wanted);
Message AddRateNodeRequest(uint16_t family, const DevlinkHandle& device, const std::string& name);
Message DeleteRateNodeRequest(uint16_t family, const DevlinkHandle& device,
                              const std::string& name);
Message GetInfoRequest(uint16_t family, const DevlinkHandle& device);
Message ReloadRequest(uint16_t family, const DevlinkHandle& device);

absl::StatusOr<DevlinkDevice> DecodeDevlinkDevice(Bytes payload);
absl::StatusOr<DevlinkEswitch> DecodeEswitch(Bytes payload);
absl::StatusOr<DevlinkPortInfo> DecodeDevlinkPort(Bytes payload);
absl::StatusOr<DevlinkRate> DecodeDevlinkRate(Bytes payload);
absl::StatusOr<DevlinkInfo> DecodeDevlinkInfo(Bytes payload);
// Empty for a message of no interest: the group carries much else.
absl::StatusOr<std::optional<DevlinkPort::Event>> DecodeDevlinkEvent(uint16_t family,
                                                                     const MessageView& message);

// Of DEVLINK_PORT_FN_ATTR_*, what the headers of 6.1 lack (uapi/linux/devlink.h).
inline constexpr uint16_t kPortFunctionCaps = 4;      // DEVLINK_PORT_FN_ATTR_CAPS, bitfield32
inline constexpr uint16_t kPortFunctionMaxIoEqs = 6;  // DEVLINK_PORT_FN_ATTR_MAX_IO_EQS, u32
// DEVLINK_PORT_FN_CAP_*.
inline constexpr uint32_t kCapRoce = 1U << 0;
inline constexpr uint32_t kCapMigratable = 1U << 1;
inline constexpr uint32_t kCapIpsecCrypto = 1U << 2;
inline constexpr uint32_t kCapIpsecPacket = 1U << 3;

}  // namespace fairlead::netlink
