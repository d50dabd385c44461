// SPDX-License-Identifier: Apache-2.0
//
// Purpose: whether the world that a draft would leave is consistent: references
// resolve, what must be unique is, addresses fit their subnets, nothing that is
// still used goes away.
//
// Threading: pure functions. Errors: as violations.
#pragma once

#include <optional>
#include <string>

#include "agent/intent/draft.h"
#include "agent/intent/overlay.h"
#include "agent/intent/violations.h"
#include "agent/model/facts.h"

namespace fairlead {

// Two entries for one object, or one that is both upserted and removed.
void CheckDuplicates(const Draft& draft, const Overlay& overlay, Violations* out);

// Writes the subnet of each endpoint, which its addresses tell.
void DeriveEndpointSubnets(Draft* draft, Overlay* overlay, Violations* out);

void CheckResult(const Draft& draft, const HostKnowledge& host, Overlay* overlay, Violations* out);

// Routes beside the subnets, and beside each other: those of the draft, and those that it would
// leave behind without a place for their next hop, or within a subnet.
void CheckRoutes(const Draft& draft, Overlay* overlay, Violations* out);

// Security groups beside who names them, their VPC, and each other.
void CheckSecurityGroups(const Draft& draft, Overlay* overlay, Violations* out);
// A VPC's groups as the draft would leave them.
std::vector<const SecurityGroup*> GroupsAfter(const std::string& vpc, const Draft& draft,
                                              const Overlay& overlay);
// Gives each VPC that the draft leaves with stateful groups its conntrack zone, and takes that of
// others (`left`); a VPC that is not in the draft joins it for that. Of a draft without mistakes.
void AssignZones(const Overlay& overlay, Draft* draft, std::vector<uint16_t>* left,
                 Violations* out);

// Why `address` cannot be a station's or the gateway's in `subnet`; none if it can.
std::optional<std::string> Misfit(const Subnet& subnet, const IpAddress& address);

// A port's MAC that no NIC of its network can give to a VF: every usable PF of
// that network cannot set a VF's MAC, and none of their VFs has it. Says nothing
// while that is not known of each of them, or where the port is stored already
// with this MAC.
void CheckMacAgainstHost(const Draft& draft, const World& world, const HostFacts& facts,
                         Violations* out);

// Ports whose function hot-plug brings, against the host's hot-plug ports: there must be
// one of the network, the MAC must say which function is meant where it is known by
// that, and cannot change; an offload wish cannot be honoured.
void CheckHotplugPorts(const Draft& draft, const World& world,
                       const std::vector<AdmissionLimits::HotplugPort>& here, Violations* out);

// An endpoint behind a VTEP of the other family than the host's own tunnel end.
void CheckVtepFamilies(const Draft& draft, const IpAddress& tunnel_local, Violations* out);

}  // namespace fairlead
