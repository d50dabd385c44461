// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what can be said and asked of a NIC's eswitch, in one vocabulary for the
// configuration, the compiler and devlink. Numbers as in uapi/linux/devlink.h, names
// as devlink(8) prints them.
//
// Threading: pure functions on plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace fairlead {

// DEVLINK_ESWITCH_MODE_*: kSwitchdevInactive (representors are there, but no packet
// passes) is in 7.2, not in 6.12.
enum class EswitchMode : uint16_t { kLegacy, kSwitchdev, kSwitchdevInactive };
// DEVLINK_ESWITCH_INLINE_MODE_*: how much of a packet a VF must put into its
// descriptors.
enum class EswitchInlineMode : uint8_t { kNone, kLink, kNetwork, kTransport };
// DEVLINK_ESWITCH_ENCAP_MODE_*: whether rules may encapsulate.
enum class EswitchEncapMode : uint8_t { kNone, kBasic };
std::string_view Name(EswitchMode mode);  // "switchdev"
std::string_view Name(EswitchInlineMode mode);
std::string_view Name(EswitchEncapMode mode);

// What can be wished for: not switchdev_inactive, in which no packet passes.
// kInvalidArgument names what is.
absl::StatusOr<EswitchMode> ParseEswitchMode(std::string_view text);
absl::StatusOr<EswitchInlineMode> ParseEswitchInlineMode(std::string_view text);
absl::StatusOr<EswitchEncapMode> ParseEswitchEncapMode(std::string_view text);

// What an eswitch shows, or is to be: an absent one is not reported, or left alone.
// A device without an eswitch reports nothing.
struct EswitchSettings {
  std::optional<EswitchMode> mode;
  std::optional<EswitchInlineMode> inline_mode;
  std::optional<EswitchEncapMode> encap_mode;

  bool empty() const { return !mode && !inline_mode && !encap_mode; }
  std::string ToString() const;  // "mode switchdev, encap basic"; "nothing"
  friend bool operator==(const EswitchSettings&, const EswitchSettings&) = default;
};

// Where `seen` is not as `wanted`: "mode legacy, wanted switchdev; encap none, wanted
// basic"; "" when it is. What `wanted` leaves open does not count.
std::string EswitchDifference(const EswitchSettings& wanted, const EswitchSettings& seen);

}  // namespace fairlead
