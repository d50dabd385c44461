// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the single values of a host model: what each may be. host_model.h says which limits
// they have.
//
// Threading: pure functions. Errors: kInvalidArgument, whose text goes on after the key's name
// ("must be ...").
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "agent/base/types.h"
#include "agent/simulate/host_model.h"

namespace fairlead::host_model_values {

absl::StatusOr<std::string> ParseId(const std::string& text);
// Of the host.
absl::StatusOr<std::string> ParseName(const std::string& text);
// Of a netdev.
bool IsDeviceName(const std::string& text);
absl::StatusOr<std::string> ParseDeviceName(const std::string& text);
// Of the names of representors; "" for "none".
absl::StatusOr<std::string> ParsePattern(const std::string& text);
absl::StatusOr<std::string> ParseWord(const std::string& text);
// It is a folder of sysfs.
absl::StatusOr<std::string> ParseDriver(const std::string& text);
// Of a single NIC.
absl::StatusOr<MacAddress> ParseStationMac(const std::string& text);
absl::StatusOr<NetworkKind> ParseNetwork(const std::string& text);
absl::StatusOr<std::optional<EswitchMode>> ParseEswitch(const std::string& text);
// Vendor and device, "15b3:1021".
absl::StatusOr<std::pair<uint16_t, uint16_t>> ParsePciId(const std::string& text);
// Of one host, that others can send to.
absl::StatusOr<IpAddress> ParseStation(const std::string& text);
// "192.0.2.1/24": an address with the length of its network.
absl::StatusOr<InterfaceAddress> ParseInterfaceAddress(const std::string& text);
// Whether it is the address of one host in its network. In IPv4 a network's first address is its
// own, and its last all of its hosts'; one of two addresses has neither (RFC 3021).
bool IsStationThere(const InterfaceAddress& at);
// "1500ms"; 0 to 10 minutes.
absl::StatusOr<std::chrono::microseconds> ParseDuration(const std::string& text);

}  // namespace fairlead::host_model_values
