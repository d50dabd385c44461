// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the host's one tunnel, as the configuration has it; what carries it; and the MTU that
// follows from both.
//
// Threading: plain values, pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/base/encapsulation.h"
#include "agent/base/types.h"

namespace fairlead {

// IPv6 needs as much of a link (RFC 8200 section 5).
inline constexpr uint32_t kLeastTunnelMtu = 1280;
// A rule of each port stands once for each of them.
inline constexpr size_t kMaxTunnelPeers = 8;

// What is done where `mtu` is more than the underlay carries.
enum class TunnelMtuPolicy : uint8_t { kRefuse, kClamp };

struct TunnelConfig {
  Encapsulation encapsulation = Encapsulation::kVxlan;
  std::string device = std::string(DefaultTunnelDevice(Encapsulation::kVxlan));  // netdev name
  IpAddress local;  // outer source address; must be an address of the host
  uint16_t udp_port = DefaultUdpPort(Encapsulation::kVxlan);
  std::optional<uint32_t> mtu;  // bytes of the guests' IP packets; none: what the underlay carries
  TunnelMtuPolicy mtu_policy = TunnelMtuPolicy::kRefuse;
  // Who may send by the tunnel: of `local`'s family, no two overlap. None: anyone may.
  std::vector<IpPrefix> peers;
  friend bool operator==(const TunnelConfig&, const TunnelConfig&) = default;
};

// Where the tunnel's outer packets leave the host.
struct UnderlayFacts {
  // That has the local address; where that is no NIC's (a loopback's, say), those of the default
  // routes. Ascending.
  std::vector<uint32_t> links;
  std::string netdev;   // of these the one with the least MTU
  uint32_t mtu = 0;     // its MTU, bytes; 0: it is not known
  std::string unknown;  // why it is not
  friend bool operator==(const UnderlayFacts&, const UnderlayFacts&) = default;
};

// Whether `config` has it, or anyone, among who may send by the tunnel.
bool IsPeer(const TunnelConfig& config, const IpAddress& vtep);

// The largest MTU of a tunnel over an underlay of `underlay_mtu`; 0 when no packet fits.
uint32_t TunnelMtuOver(uint32_t underlay_mtu, bool outer_ipv6);

struct TunnelMtu {
  uint32_t mtu = kLeastTunnelMtu;  // that the tunnel is to have
  std::string problem;             // why no port is to be attached by it; "" = none
  std::string note;                // in what it is not as asked for; "" = nothing
  friend bool operator==(const TunnelMtu&, const TunnelMtu&) = default;
};
TunnelMtu WorkOutMtu(const TunnelConfig& config, const UnderlayFacts& underlay);

}  // namespace fairlead
