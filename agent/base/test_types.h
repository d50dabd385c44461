// SPDX-License-Identifier: Apache-2.0
//
// Purpose: for tests only: addresses as a test writes them. What does not parse ends the program.
// Threading: pure functions.
#pragma once

#include <cstdint>
#include <string_view>

#include "agent/base/types.h"

namespace fairlead {

inline IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }
inline MacAddress Mac(std::string_view text) { return *MacAddress::Parse(text); }

// 52:54:00:00 and the two lower bytes of `n`.
inline MacAddress Mac(uint32_t n) {
  return MacAddress({0x52, 0x54, 0, 0, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)});
}

}  // namespace fairlead
