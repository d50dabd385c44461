// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what security groups allow, as a compiler of rules needs it. A *policy* is what the
// groups of a port allow together; ports of a VPC that name the same groups share one
// (Port::policy). Ports that name none have the VPC's own, which allows everything.
//
// What a policy allows to anybody or to a prefix is the policy's own; what it allows to the members
// of a group is a rule a member, which belongs to the member: who joins or leaves a group touches
// its own rules.
//
// Threading: pure functions, plain values.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/model/flow_rule.h"
#include "agent/model/world.h"

namespace fairlead {

// What is asked of a packet beside who is at its other end.
struct PolicyShape {
  bool v4 = true;
  std::optional<uint8_t> protocol;
  std::optional<PortMask> port;
  std::optional<uint8_t> icmp_type, icmp_code;
  void MatchIn(RuleMatch& match) const;
  friend auto operator<=>(const PolicyShape&, const PolicyShape&) = default;
};

// One way of a policy.
struct PolicySide {
  // To (or from) anybody, or addresses of a prefix.
  std::set<std::pair<PolicyShape, std::optional<IpPrefix>>> entries;
  std::map<std::string, std::set<PolicyShape>> members;  // by group: what its members may
  // A small number for each shape in `members`; a change of others rarely moves it.
  std::map<PolicyShape, uint16_t> slots;
  // What a member of these groups may.
  std::set<PolicyShape> Of(const std::vector<std::string>& groups) const;
};
// More slots than shapes (agent/intent/parse.h: kMaxSecurityGroups x kMaxMemberMasks).
inline constexpr uint16_t kMemberSlots = 256;

struct Policy {
  PolicySide ingress, egress;
};

// Those of a VPC's ports, by number.
struct VpcPolicies {
  SecurityMode mode = SecurityMode::kNone;  // none: there are no policies
  uint16_t ct_zone = 0;                     // if stateful
  std::map<uint32_t, Policy> by_number;
};

VpcPolicies PoliciesOf(const World& world, const StoredObject& vpc);

// Whether a policy lets a connection, or a packet, begin. `other`: who is at the other end;
// `groups`: of which it is a member.
struct PolicyQuestion {
  uint8_t protocol = 0;
  std::optional<uint16_t> dst_port;  // TCP, UDP
  std::optional<uint8_t> icmp_type, icmp_code;
  IpAddress other;
  std::vector<std::string> groups;
};
bool Allows(const PolicySide& side, const PolicyQuestion& question);

}  // namespace fairlead
