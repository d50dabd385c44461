// SPDX-License-Identifier: Apache-2.0
#include "agent/model/tunnel.h"

#include <algorithm>

#include "agent/base/text.h"

namespace fairlead {

bool IsPeer(const TunnelConfig& config, const IpAddress& vtep) {
  return config.peers.empty() ||
         std::any_of(config.peers.begin(), config.peers.end(),
                     [&vtep](const IpPrefix& peers) { return peers.Contains(vtep); });
}

uint32_t TunnelMtuOver(uint32_t underlay_mtu, bool outer_ipv6) {
  const uint32_t overhead = TunnelOverhead(outer_ipv6);
  return underlay_mtu < overhead ? 0 : underlay_mtu - overhead;
}

TunnelMtu WorkOutMtu(const TunnelConfig& config, const UnderlayFacts& underlay) {
  TunnelMtu out;
  if (underlay.mtu == 0) {
    const std::string unknown =
        StrCat("the MTU of the tunnel's underlay is not known: ", underlay.unknown);
    if (config.mtu) {
      out.mtu = *config.mtu;
      out.note = StrCat(unknown, "; that it carries tunnel.mtu, ", out.mtu, ", is not checked");
    } else {
      out.problem = StrCat(unknown, ": set tunnel.mtu in the configuration");
    }
    return out;
  }
  const bool outer_ipv6 = config.local.is_v6();
  const uint32_t overhead = TunnelOverhead(outer_ipv6);
  const uint32_t most = TunnelMtuOver(underlay.mtu, outer_ipv6);
  const std::string carries =
      StrCat("the underlay ", underlay.netdev, " has an MTU of ", underlay.mtu, " and carries ",
             most, " (", overhead, " bytes are outer headers)");
  if (most < kLeastTunnelMtu) {
    out.mtu = most;
    out.problem =
        StrCat(carries, ", less than the ", kLeastTunnelMtu, " that IPv6 needs: raise the MTU of ",
               underlay.netdev, " to ", kLeastTunnelMtu + overhead, " or more");
    return out;
  }
  out.mtu = config.mtu.value_or(most);
  if (out.mtu <= most) return out;
  const std::string too_large = StrCat("tunnel.mtu is ", out.mtu, ", but ", carries);
  if (config.mtu_policy == TunnelMtuPolicy::kClamp) {
    out.note = StrCat(too_large, ": ", most, " is used");
    out.mtu = most;
  } else {
    out.problem = StrCat(too_large, ": raise the MTU of ", underlay.netdev, " to ",
                         out.mtu + overhead, ", or in the configuration lower tunnel.mtu to ", most,
                         " or let tunnel.mtu_policy be clamp");
  }
  return out;
}

}  // namespace fairlead
