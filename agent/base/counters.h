// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what a forwarding rule has met.
//
// Threading: plain values.
#pragma once

#include <cstdint>

namespace fairlead {

struct PacketCount {
  uint64_t packets = 0;
  uint64_t bytes = 0;  // as whoever counts has them: the kernel without the Ethernet header
  PacketCount& operator+=(const PacketCount& more) {
    packets += more.packets;
    bytes += more.bytes;
    return *this;
  }
  friend bool operator==(const PacketCount&, const PacketCount&) = default;
};

// Since the rule was made, or made anew.
struct RuleCounters {
  PacketCount all;
  PacketCount hardware;  // of all, what the NIC handled; as its driver reported it last
  RuleCounters& operator+=(const RuleCounters& more) {
    all += more.all;
    hardware += more.hardware;
    return *this;
  }
  friend bool operator==(const RuleCounters&, const RuleCounters&) = default;
};

}  // namespace fairlead
