// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/policy.h"

#include <algorithm>

#include "agent/base/text.h"
#include "agent/base/types.h"

namespace fairlead {
namespace {

std::vector<PolicyShape> ShapesOf(const SecurityRule& rule) {
  std::vector<PolicyShape> shapes;
  for (const bool v4 : {true, false}) {
    if (rule.v4.value_or(v4) != v4) continue;
    PolicyShape shape{v4, rule.protocol, std::nullopt, rule.icmp_type, rule.icmp_code};
    if (!rule.ports) {
      shapes.push_back(shape);
      continue;
    }
    for (const PortMask& mask : MasksOf(*rule.ports)) {
      shape.port = mask;
      shapes.push_back(shape);
    }
  }
  return shapes;
}

void Add(const SecurityGroup& group, Policy& policy) {
  for (const SecurityRule& rule : group.rules) {
    PolicySide& side = rule.ingress ? policy.ingress : policy.egress;
    for (const PolicyShape& shape : ShapesOf(rule)) {
      if (rule.remote_group.empty()) {
        side.entries.emplace(shape, rule.remote);
      } else {
        side.members[rule.remote_group].insert(shape);
      }
    }
  }
}

std::string TextOf(const PolicyShape& shape) {
  FlowRule rule;
  shape.MatchIn(rule.match);
  return StrCat(rule.MatchHash());
}

// By what the shape is, and not by what others there are: where two meet, the greater moves on.
void GiveSlots(PolicySide& side) {
  std::set<uint16_t> taken;
  for (const auto& [group, shapes] : side.members) {
    for (const PolicyShape& shape : shapes) side.slots.try_emplace(shape, 0);
  }
  for (auto& [shape, slot] : side.slots) {
    slot = static_cast<uint16_t>(StableHash(TextOf(shape)) % kMemberSlots);
    while (!taken.insert(slot).second) slot = static_cast<uint16_t>((slot + 1) % kMemberSlots);
  }
}

Policy Everything() {
  Policy policy;
  for (PolicySide* side : {&policy.ingress, &policy.egress}) {
    for (const bool v4 : {true, false}) {
      side->entries.emplace(PolicyShape{v4, {}, {}, {}, {}}, std::nullopt);
    }
  }
  return policy;
}

bool Takes(const PolicyShape& shape, const PolicyQuestion& q) {
  if (shape.v4 != q.other.is_v4()) return false;
  if (shape.protocol && *shape.protocol != q.protocol) return false;
  if (shape.port && (!q.dst_port || !shape.port->Matches(*q.dst_port))) return false;
  if (shape.icmp_type && shape.icmp_type != q.icmp_type) return false;
  return !shape.icmp_code || shape.icmp_code == q.icmp_code;
}

}  // namespace

void PolicyShape::MatchIn(RuleMatch& match) const {
  match.ethertype = v4 ? kEtherIpv4 : kEtherIpv6;
  match.protocol = protocol;
  match.dst_port = port;
  match.icmp_type = icmp_type;
  match.icmp_code = icmp_code;
}

std::set<PolicyShape> PolicySide::Of(const std::vector<std::string>& groups) const {
  std::set<PolicyShape> shapes;
  for (const std::string& group : groups) {
    const auto allowed = members.find(group);
    if (allowed != members.end()) shapes.insert(allowed->second.begin(), allowed->second.end());
  }
  return shapes;
}

VpcPolicies PoliciesOf(const World& world, const StoredObject& vpc) {
  const auto& object = std::get<Vpc>(vpc.object);
  VpcPolicies policies;
  policies.mode = world.SecurityModeOf(object.id);
  policies.ct_zone = object.ct_zone.value_or(0);
  if (policies.mode == SecurityMode::kNone) return policies;
  policies.by_number.emplace(vpc.ordinal, Everything());
  for (const auto& [number, ports] : world.PoliciesOfVpc(object.id)) {
    Policy& policy = policies.by_number[number];
    for (const std::string& group : world.FindPort(*ports.begin())->security_groups) {
      Add(*world.FindSecurityGroup(group), policy);
    }
    GiveSlots(policy.ingress);
    GiveSlots(policy.egress);
  }
  return policies;
}

bool Allows(const PolicySide& side, const PolicyQuestion& question) {
  const auto takes = [&](const PolicyShape& shape) { return Takes(shape, question); };
  for (const auto& [shape, remote] : side.entries) {
    if (takes(shape) && (!remote || remote->Contains(question.other))) return true;
  }
  const std::set<PolicyShape> of_member = side.Of(question.groups);
  return std::any_of(of_member.begin(), of_member.end(), takes);
}

}  // namespace fairlead
