// SPDX-License-Identifier: Apache-2.0
//
// Purpose: provider networks -> rules, on a NIC whose VFs have representors. Frames leave by the
// NIC's uplink, the PF's netdev, with the network's VLAN tag, or untagged in the flat one. The
// units are as in pipeline.h: a VPC on one PF, and a port.
//
// Tables (README.md of this folder has the picture and the reasons):
//   block of a VPC on a PF: frames that a VM of the VPC sends
//     chain 0, admit
//       VLAN-tagged                                        -> drop
//       router advertisements, redirects, DHCP replies     -> drop
//       own representor, MAC and
//         address                                          -> goto deliver
//         ARP with own MAC and address, or a probe         -> goto deliver (software)
//         neighbour discovery from its MAC's link-local
//         address                                          -> goto deliver
//         DHCP and router solicitation                     -> to the uplink
//       other ARP: a NIC hands it to the software, whose ARP rules judge it -> trap
//     chain <VPC ordinal>, deliver
//       dst_mac = port of the block                        -> its representor
//       representor, to a group            -> copies to the other ports, and to the uplink
//       to one station                                     -> to the uplink
//   ingress of the PF's netdev, chain 0
//     VLAN (flat: untagged ARP, IPv4, IPv6), dst_mac = port  -> pop the tag, its representor
//     VLAN (likewise), to a group          -> pop the tag, a copy to each port
//                                             (flat: and on to the host's own network stack)
//
// The chains of the block end in a drop; the ingress of the PF's netdev never does, nor has it a
// rule for whatever comes: the host's own traffic uses it too.
//
// Threading: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "agent/model/flow_rule.h"
#include "dataplane/pipeline/pipeline.h"

namespace fairlead {

// Ports of one VPC on one PF: a broadcast is one rule that names each of them. TC takes 32 actions
// a filter (TCA_ACT_MAX_PRIO, uapi/linux/pkt_cls.h), of which the tag needs one; mlx5 as many
// outputs (MLX5_MAX_FLOW_FWD_VPORTS).
inline constexpr size_t kMostProviderPorts = 31;

// Priorities, as in pipeline.h. Of chain 0; the n-th address of a port at the priority + n:
inline constexpr uint16_t kPrioArpProbe = 1290;
inline constexpr uint16_t kPrioArpOwn = 1300;
inline constexpr uint16_t kPrioArpOther = 1400;
inline constexpr uint16_t kPrioNdOwn = 1500;  // and the four after it
inline constexpr uint16_t kPrioDhcp4Out = 1510;
inline constexpr uint16_t kPrioDhcp6Out = 1511;
// Of the chain of a VPC:
inline constexpr uint16_t kPrioGroup = 1600;
inline constexpr uint16_t kPrioGroupByHost = 1610;
inline constexpr uint16_t kPrioToUplink = 1620;
// Of the ingress of a PF's netdev, which is not Fairlead's alone. The kernel gives filters without
// a priority those from 49152 downwards, and people take small numbers.
inline constexpr uint16_t kPrioUplinkVlan = 17920;
inline constexpr uint16_t kPrioUplinkVlanGroup = 17921;
inline constexpr uint16_t kPrioUplinkFlat = 17922;       // and the two after it: an EtherType each
inline constexpr uint16_t kPrioUplinkFlatGroup = 17925;  // likewise

// What all units of a VPC on a PF are compiled with. `ordinal`: the VPC's, and its chain.
struct ProviderContext {
  std::optional<VlanId> vlan;  // none: untagged
  uint32_t ordinal = 0;
  NicId pf;
  uint32_t uplink_ifindex = 0;
};

RuleTable BlockOf(const ProviderContext& vpc);

// What all frames of the VPC's ports on the PF meet, and who gets what is sent to a group.
// `ports`: those that are bound there, kMostProviderPorts at most.
std::vector<FlowRule> CompileProviderVpcRules(const ProviderContext& vpc,
                                              const std::vector<const BoundPort*>& ports);

// What may leave the port, and delivery to it: from the others of its block, from the uplink.
std::vector<FlowRule> CompileProviderPortRules(const ProviderContext& vpc, const BoundPort& port);

}  // namespace fairlead
