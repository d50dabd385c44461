// SPDX-License-Identifier: Apache-2.0
#include "agent/intent/admit.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "agent/intent/check.h"
#include "agent/intent/draft.h"
#include "agent/intent/expand.h"
#include "agent/intent/overlay.h"
#include "agent/intent/parse.h"
#include "agent/intent/violations.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

// Numbers for new objects: the counter, less what is in use after a wrap.
class Ordinals {
 public:
  explicit Ordinals(const World& world) : world_(world), next_(world.next_ordinal()) {}

  // Ends: there are far fewer objects than ordinals (CheckRoom).
  uint32_t Take() {
    while (next_ < 1 || next_ > kMaxOrdinal || world_.OrdinalInUse(next_) ||
           taken_.contains(next_)) {
      Advance();
    }
    const uint32_t ordinal = next_;
    taken_.insert(ordinal);
    Advance();
    return ordinal;
  }
  uint32_t next() const { return next_; }

 private:
  void Advance() { next_ = next_ < 1 || next_ >= kMaxOrdinal ? 1 : next_ + 1; }

  const World& world_;
  uint32_t next_;
  std::set<uint32_t> taken_;
};

// The number that stands for a port's groups, in its VPC.
class Policies {
 public:
  Policies(const World& world, Ordinals* ordinals) : world_(world), ordinals_(*ordinals) {}

  uint32_t Of(const Port& port) {
    if (port.security_groups.empty()) return 0;
    const auto [made, inserted] = made_.try_emplace({port.vpc, port.security_groups}, 0);
    if (!inserted) return made->second;
    for (const auto& [number, ports] : world_.PoliciesOfVpc(port.vpc)) {
      const Port* other = world_.FindPort(*ports.begin());
      if (other->security_groups == port.security_groups) return made->second = number;
    }
    return made->second = ordinals_.Take();
  }

 private:
  const World& world_;
  Ordinals& ordinals_;
  std::map<std::pair<std::string, std::vector<std::string>>, uint32_t> made_;
};

Change Build(Draft draft, const World& world) {
  Change change;
  // By reference, so that the order within a message has no effect.
  std::sort(draft.upserts.begin(), draft.upserts.end(), [](const Candidate& a, const Candidate& b) {
    return RefOf(a.object) < RefOf(b.object);
  });
  Ordinals ordinals(world);
  Policies policies(world, &ordinals);
  for (Candidate& c : draft.upserts) {
    if (auto* port = std::get_if<Port>(&c.object)) port->policy = policies.Of(*port);
    const StoredObject* before = world.Find(RefOf(c.object));
    if (before == nullptr) {
      change.upserts.push_back({std::move(c.object), 1, ordinals.Take()});
    } else if (before->object != c.object) {
      change.upserts.push_back({std::move(c.object), before->generation + 1, before->ordinal});
    }
  }
  change.next_ordinal = ordinals.next();
  for (const Removal& r : draft.removals) {
    if (world.Find(r.ref) != nullptr) change.removes.push_back(r.ref);
  }
  std::sort(change.removes.begin(), change.removes.end());
  return change;
}

void CheckRoom(const Draft& draft, const World& world, const AdmissionLimits& limits,
               const std::string& path, Violations* out) {
  size_t added = 0, removed = 0;
  for (const Candidate& c : draft.upserts) added += world.Find(RefOf(c.object)) == nullptr;
  for (const Removal& r : draft.removals) removed += world.Find(r.ref) != nullptr;
  // Half of the ordinals: the search for a free one stays short.
  const size_t limit = std::min<size_t>(limits.max_objects, kMaxOrdinal / 2);
  if (added <= removed || world.size() + added - removed <= limit) return;
  out->Add(path, ViolationCode::kInvalid,
           StrCat("the host would hold ", world.size() + added - removed, " objects; its limit is ",
                  limit));
}

}  // namespace

std::variant<Change, std::vector<Violation>> Admit(const v1::Request& request, const World& world,
                                                   const HostKnowledge& host,
                                                   const AdmissionLimits& limits) {
  Violations out;
  Draft draft;
  std::string path;
  switch (request.body_case()) {
    case v1::Request::kApply: {
      path = "apply";
      const size_t items = static_cast<size_t>(request.apply().upsert_size()) +
                           static_cast<size_t>(request.apply().remove_size());
      if (items > kMaxItemsPerMessage) {
        out.Add(path, ViolationCode::kInvalid,
                StrCat(items, " objects in one message; ", kMaxItemsPerMessage,
                       " are possible at most, so send several messages"));
        return std::move(out).Take();
      }
      draft = ParseApply(request.apply(), &out);
      break;
    }
    case v1::Request::kAddVmToVpc:
      path = "add_vm_to_vpc";
      draft = Expand(request.add_vm_to_vpc(), world, &out);
      break;
    case v1::Request::kRemoveVmFromVpc:
      path = "remove_vm_from_vpc";
      draft = Expand(request.remove_vm_from_vpc(), world, &out);
      break;
    default:
      out.Add("", ViolationCode::kInvalid,
              "the request asks for no change (apply, add_vm_to_vpc or remove_vm_from_vpc)");
      return std::move(out).Take();
  }

  Overlay overlay(world, draft);
  CheckDuplicates(draft, overlay, &out);
  DeriveEndpointSubnets(&draft, &overlay, &out);
  CheckResult(draft, host, &overlay, &out);
  CheckRoutes(draft, &overlay, &out);
  CheckSecurityGroups(draft, &overlay, &out);
  if (host.facts != nullptr) CheckMacAgainstHost(draft, world, *host.facts, &out);
  CheckHotplugPorts(draft, world, limits.hotplug_ports, &out);
  if (limits.tunnel_local) CheckVtepFamilies(draft, *limits.tunnel_local, &out);
  CheckRoom(draft, world, limits, path, &out);
  if (!out.empty()) return std::move(out).Take();
  std::vector<uint16_t> left_zones;
  AssignZones(Overlay(world, draft), &draft, &left_zones, &out);
  if (!out.empty()) return std::move(out).Take();
  Change change = Build(std::move(draft), world);
  change.left_zones = std::move(left_zones);
  return change;
}

}  // namespace fairlead
