// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a connection as the kernel's connection tracking knows it.
// Threading: plain values.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "agent/base/types.h"

namespace fairlead {

// What the packets of one direction of a connection have in common.
struct ConnectionTuple {
  IpAddress src, dst;  // of one family
  uint8_t protocol = 0;
  // TCP, UDP and SCTP; the keys of GRE. 0 of what the kernel knows no ports of, as 7.2 of UDP-Lite.
  uint16_t src_port = 0, dst_port = 0;
  // ICMP and ICMPv6: of a query, and of its answer the other way.
  uint8_t icmp_type = 0, icmp_code = 0;
  uint16_t icmp_id = 0;

  std::string ToString() const;  // "TCP 10.0.0.1:1024 -> 10.0.0.2:80", for people
  friend auto operator<=>(const ConnectionTuple&, const ConnectionTuple&) = default;
};

struct Connection {
  uint16_t zone = 0;
  ConnectionTuple original;  // the direction of its first packet
  ConnectionTuple reply;
  bool seen_reply = false;
  bool assured = false;      // traffic in both directions: not dropped early when the table is full
  bool confirmed = false;    // its first packet passed, committed
  bool dying = false;        // on its way out
  bool offloaded = false;    // IPS_OFFLOAD: in a flow table, which passes its packets
  bool in_hardware = false;  // IPS_HW_OFFLOAD: in that of a NIC too
  // "ESTABLISHED", as conntrack(8) has it; "" when it is no TCP. Of one that is in a flow table the
  // kernel tells neither this nor the time (ctnetlink_dump_info,
  // net/netfilter/nf_conntrack_netlink.c).
  std::string tcp_state;
  // Made by the kernel of its own place in memory and its tuple (nf_ct_get_id,
  // net/netfilter/nf_conntrack_core.c): a later connection, with the same tuple even, has another
  // one, unless it comes to lie in the same place.
  uint32_t id = 0;
  uint32_t timeout_s = 0;  // without a packet it ends in so many seconds
  friend bool operator==(const Connection&, const Connection&) = default;
};

}  // namespace fairlead
