// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the two encapsulations that the host's tunnel may have, in one vocabulary for the
// configuration, the compiler and rtnetlink; and what they cost.
//
// Threading: pure functions.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace fairlead {

enum class Encapsulation : uint8_t { kVxlan, kGeneve };
// "vxlan", "geneve": also the kernel's kind of the device (IFLA_INFO_KIND).
std::string_view Name(Encapsulation encapsulation);
// kInvalidArgument names what there is.
absl::StatusOr<Encapsulation> ParseEncapsulation(std::string_view text);

// As IANA assigned it: 4789 (RFC 7348 section 8) and 6081 (RFC 8926 section 3.3; mlx5 offloads
// Geneve at this port alone).
uint16_t DefaultUdpPort(Encapsulation encapsulation);
// "fl-vxlan0", "fl-geneve0".
std::string_view DefaultTunnelDevice(Encapsulation encapsulation);

// By how many bytes an outer packet, as the underlay's MTU counts it, is longer than the guest's
// IP packet in it: outer IP header (20, RFC 791 section 3.1; IPv6: 40, RFC 8200 section 3), UDP (8,
// RFC 768), VXLAN (8, RFC 7348 section 5) or Geneve without options (8, RFC 8926 section 3.4), and
// the inner Ethernet header (14). 50 or 70.
constexpr uint32_t TunnelOverhead(bool outer_ipv6) { return (outer_ipv6 ? 40 : 20) + 8 + 8 + 14; }

}  // namespace fairlead
