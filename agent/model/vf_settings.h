// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what a VF can be told through its PF beside its MAC (rtnetlink's
// IFLA_VF_INFO), as it is wanted and as it is observed.
//
// Threading: plain values.
#pragma once

#include <cstdint>
#include <optional>

namespace fairlead {

// Wanted: what is absent is not compared and not touched. Observed: what is absent,
// the NIC does not report.
struct VfSettings {
  std::optional<uint16_t> vlan = {};  // 802.1Q, 1..4094; 0: none
  std::optional<bool> spoof_check = {};
  std::optional<bool> trust = {};            // may change its MAC and see what is not meant for it
  std::optional<uint32_t> max_tx_mbps = {};  // Mbit/s; 0: no limit
  std::optional<uint32_t> min_tx_mbps = {};  // Mbit/s; 0: none
  std::optional<bool> link_disabled = {};    // it sends and receives nothing
  friend bool operator==(const VfSettings&, const VfSettings&) = default;
};

}  // namespace fairlead
