// SPDX-License-Identifier: Apache-2.0
//
// Security groups: what they allow together is a policy, which has a unit; that members of a group
// are allowed something is theirs, a port's or an endpoint's. A change of who names which groups is
// compared with what it was: a port that joins a policy touches nothing of others.
#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

// What members are allowed, of all policies: the rules of members hang on that.
std::map<std::pair<uint32_t, bool>, std::map<PolicyShape, uint16_t>> SlotsOf(
    const VpcPolicies& policies) {
  std::map<std::pair<uint32_t, bool>, std::map<PolicyShape, uint16_t>> all;
  for (const auto& [number, policy] : policies.by_number) {
    all[{number, true}] = policy.ingress.slots;
    all[{number, false}] = policy.egress.slots;
  }
  std::erase_if(all, [](const auto& side) { return side.second.empty(); });
  return all;
}

bool SameMembers(const VpcPolicies& a, const VpcPolicies& b) {
  if (SlotsOf(a) != SlotsOf(b)) return false;
  return std::all_of(a.by_number.begin(), a.by_number.end(), [&b](const auto& entry) {
    const auto other = b.by_number.find(entry.first);
    if (other == b.by_number.end()) return true;  // without slots: nobody's member is in it
    return entry.second.ingress.members == other->second.ingress.members &&
           entry.second.egress.members == other->second.egress.members;
  });
}

bool Same(const Policy& a, const Policy& b) {
  return a.ingress.entries == b.ingress.entries && a.egress.entries == b.egress.entries;
}

}  // namespace

VpcContext Engine::OverlayContextOf(const StoredObject& vpc, const TunnelFacts& tunnel) const {
  const auto& network = std::get<Vpc>(vpc.object);
  VpcContext context{*network.vni, vpc.ordinal, tunnel};
  const auto policies = policies_.find(network.id);
  if (policies != policies_.end()) context.policies = &policies->second;
  return context;
}

UnitRef Engine::PolicyRef(const std::string& vpc, uint32_t number) const {
  return {UnitKind::kPolicy, absl::StrCat(vpc, "/", number)};
}

uint32_t Engine::PolicyNumber(const UnitRef& ref) {
  uint32_t number = 0;
  const char* const end = ref.id.data() + ref.id.size();
  std::from_chars(ref.id.data() + ref.id.rfind('/') + 1, end, number);
  return number;
}

bool Engine::IsPolicy(const UnitRef& ref) const {
  const auto policies = policies_.find(ref.id.substr(0, ref.id.rfind('/')));
  return policies != policies_.end() && policies->second.by_number.contains(PolicyNumber(ref));
}

void Engine::MarkPolicies(const std::string& vpc) {
  std::vector<UnitRef> marked;
  for (auto it = units_.lower_bound({UnitKind::kPolicy, absl::StrCat(vpc, "/")});
       it != units_.end() && it->first.kind == UnitKind::kPolicy && it->second.vpc == vpc; ++it) {
    marked.push_back(it->first);
  }
  if (const auto now = policies_.find(vpc); now != policies_.end()) {
    for (const auto& [number, policy] : now->second.by_number) {
      marked.push_back(PolicyRef(vpc, number));
    }
  }
  for (const UnitRef& ref : marked) {
    UnitOf(ref, vpc);
    MarkDirty(ref);
  }
}

void Engine::RefreshPolicies(const std::string& vpc) {
  const StoredObject* stored = world_.Find({ObjectKind::kVpc, vpc});
  VpcPolicies now;
  if (stored != nullptr) now = PoliciesOf(world_, *stored);
  const auto known = policies_.find(vpc);
  const VpcPolicies before = known == policies_.end() ? VpcPolicies() : known->second;
  if (now.mode == SecurityMode::kNone) {
    policies_.erase(vpc);
  } else {
    policies_[vpc] = now;
  }
  if (now.mode != before.mode || now.ct_zone != before.ct_zone) {
    MarkVpcNetwork(vpc);
    MarkPolicies(vpc);
    MarkConnections(vpc);
    return;
  }
  bool changed = false;
  const auto mark = [&](uint32_t number) {
    changed = true;
    UnitOf(PolicyRef(vpc, number), vpc).retry_at.reset();
    MarkDirty(PolicyRef(vpc, number));
  };
  for (const auto& [number, policy] : before.by_number) {
    const auto other = now.by_number.find(number);
    if (other == now.by_number.end() || !Same(policy, other->second)) mark(number);
  }
  for (const auto& [number, policy] : now.by_number) {
    if (!before.by_number.contains(number)) mark(number);
  }
  if (!SameMembers(before, now)) {
    changed = true;
    MarkEndpoints(vpc);
    for (const std::string& port : world_.PortsOfVpc(vpc)) {
      if (!world_.FindPort(port)->security_groups.empty()) MarkDirty({UnitKind::kPort, port});
    }
  }
  if (changed) MarkConnections(vpc);
}

// Policies lead to chains of the VPC, members' rules and routes to those and to policies'.
void Engine::WakeJudged(const Unit& settled) {
  const bool leads = settled.ref.kind == UnitKind::kVpc || settled.ref.kind == UnitKind::kPolicy;
  if (!leads || !policies_.contains(settled.vpc)) return;
  std::vector<UnitRef> waiting;
  for (const auto& [ref, unit] : units_) {
    const bool follows = ref.kind == UnitKind::kPolicy || ref.kind == UnitKind::kRoute ||
                         ref.kind == UnitKind::kEndpoint;
    if (follows && unit.vpc == settled.vpc && !unit.waits_for.empty()) waiting.push_back(ref);
  }
  for (const UnitRef& ref : waiting) MarkDirty(ref);
}

bool Engine::KeepsOldEnds(const Unit& unit, const std::vector<Resource>& wanted) const {
  const bool shared = unit.ref.kind == UnitKind::kVpc || unit.ref.kind == UnitKind::kSubnet ||
                      unit.ref.kind == UnitKind::kPolicy;
  if (!shared) return false;
  if (unit.ref.kind == UnitKind::kPolicy) return !wanted.empty() && !IsPolicy(unit.ref);
  const SecurityMode mode = world_.SecurityModeOf(unit.vpc);
  return std::any_of(wanted.begin(), wanted.end(), [mode](const Resource& resource) {
    const RuleLocation& at = resource.key.rule;
    const Stage stage = StageOfChain(at.chain);
    const bool on_tunnel = at.table == kTunnelTable && at.chain != 0;
    if (stage == Stage::kState) return mode != SecurityMode::kStateful;
    return mode == SecurityMode::kNone && (stage != Stage::kDeliver || on_tunnel);
  });
}

void Engine::AnnounceGroups(const std::string& vpc) {
  for (const std::string& group : world_.GroupsOfVpc(vpc)) {
    Announce({ObjectKind::kSecurityGroup, group});
  }
}

// It stands when the rules of all policies that it is part of do, and those of its members.
ObjectStatus Engine::StatusOfGroup(const ObjectRef& ref) const {
  ObjectStatus status;
  status.ref = ref;
  const StoredObject* object = world_.Find(ref);
  if (object == nullptr) {
    status.state = ObjectState::kRemoving;
    return status;
  }
  status.generation = object->generation;
  status.state = ObjectState::kReady;
  const std::string& vpc = std::get<SecurityGroup>(object->object).vpc;
  for (const auto& [number, ports] : world_.PoliciesOfVpc(vpc)) {
    const std::vector<std::string>& groups = world_.FindPort(*ports.begin())->security_groups;
    const auto unit = units_.find(PolicyRef(vpc, number));
    if (unit == units_.end() || !std::binary_search(groups.begin(), groups.end(), ref.id)) continue;
    status.rules_wanted += unit->second.wanted_rules;
    for (const ResourceKey& key : unit->second.keys) {
      const Observed::Rule* seen = observed_.FindRule(key.rule);
      if (seen == nullptr || !seen->ours) continue;
      ++status.rules_observed;
      if (seen->hardware == RuleHardware::kInHardware) ++status.rules_in_hardware;
    }
    if (!unit->second.error.ok()) {
      status.state = ObjectState::kDegraded;
      status.step = unit->second.step;
      status.reason = std::string(unit->second.error.message());
      return status;
    }
    if (!unit->second.settled) {
      status.state = ObjectState::kApplying;
      status.reason = unit->second.waits_for;
    }
  }
  if (status.state == ObjectState::kReady) {
    if (const std::string why = WhyConnectionsUnjudged(vpc); !why.empty()) {
      status.state = ObjectState::kApplying;
      status.step = "connections";
      status.reason = why;
    }
  }
  if (status.state == ObjectState::kReady) status.observed_generation = status.generation;
  return status;
}

}  // namespace fairlead
