// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a connection as the kernel's conntrack knows it.
// Threading: plain values.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "agent/base/types.h"

namespace fairlead {

// What tells the packets of one direction. Of ICMP and ICMPv6 type, code and identifier, of others
// the ports, where the protocol has them.
struct ConnectionTuple {
  IpAddress src, dst;
  uint8_t protocol = 0;
  uint16_t src_port = 0, dst_port = 0;
  uint8_t icmp_type = 0, icmp_code = 0;
  uint16_t icmp_id = 0;
  friend auto operator<=>(const ConnectionTuple&, const ConnectionTuple&) = default;
};

struct Connection {
  uint16_t zone = 0;
  ConnectionTuple original;  // of who began it
  ConnectionTuple reply;
  bool seen_reply = false;
  bool assured = false;  // packets went both ways: it is not dropped early
  bool confirmed = false;
  bool dying = false;
  bool offloaded = false;    // it is in a flow table (IPS_OFFLOAD)
  bool in_hardware = false;  // and a NIC has it (IPS_HW_OFFLOAD)
  std::string tcp_state;     // "ESTABLISHED"; "": it is no TCP
  uint32_t id = 0;           // the kernel's, of this entry alone
  uint32_t timeout_s = 0;    // until it is forgotten, if nothing more comes
  friend bool operator==(const Connection&, const Connection&) = default;
};

}  // namespace fairlead
