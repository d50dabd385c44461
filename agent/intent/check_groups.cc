// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "agent/base/text.h"
#include "agent/intent/check.h"
#include "agent/intent/parse.h"

namespace fairlead {
namespace {

ObjectRef Ref(const std::string& group) { return {ObjectKind::kSecurityGroup, group}; }

class GroupChecker {
 public:
  GroupChecker(const Draft& draft, Overlay* overlay, Violations* out)
      : draft_(draft), overlay_(*overlay), world_(overlay->world()), out_(*out) {}

  void Run() {
    for (const Candidate& c : draft_.upserts) {
      if (out_.full()) return;
      if (const auto* group = std::get_if<SecurityGroup>(&c.object)) {
        Check(c, *group);
      } else if (const auto* port = std::get_if<Port>(&c.object)) {
        CheckNamed(c, port->vpc, port->security_groups);
        CheckServed(c, *port);
      } else if (const auto* endpoint = std::get_if<Endpoint>(&c.object)) {
        CheckNamed(c, endpoint->vpc, endpoint->security_groups);
      }
    }
    for (const auto& [vpc, path] : changed_vpcs_) CheckKinds(vpc, path);
    for (const Removal& removal : draft_.removals) {
      if (removal.ref.kind == ObjectKind::kSecurityGroup) CheckUnnamed(removal);
    }
  }

 private:
  // Null when it is not there, or its VPC could not be read.
  const SecurityGroup* Find(const std::string& id) const {
    if (const Candidate* c = overlay_.Upserted(Ref(id))) {
      return c->Ok("vpc") ? &std::get<SecurityGroup>(c->object) : nullptr;
    }
    return overlay_.Removed(Ref(id)) == nullptr ? world_.FindSecurityGroup(id) : nullptr;
  }

  void Check(const Candidate& c, const SecurityGroup& group) {
    if (!c.Ok("id") || !c.Ok("vpc")) return;
    const ObjectRef vpc_ref{ObjectKind::kVpc, group.vpc};
    if (!overlay_.Exists(vpc_ref)) {
      const Removal* removal = overlay_.Removed(vpc_ref);
      out_.Add(c.origin.Field("vpc"), ViolationCode::kNotFound,
               removal == nullptr ? StrCat(vpc_ref.ToString(), " is not there")
                                  : StrCat(vpc_ref.ToString(), " is removed by ", removal->path));
      return;
    }
    const Vpc* vpc = overlay_.FindVpc(group.vpc);
    if (vpc != nullptr && vpc->is_provider()) {
      out_.Add(c.origin.Field("vpc"), ViolationCode::kUnsupported,
               StrCat("vpc/", vpc->id, " is ", SegmentName(*vpc),
                      " of the NIC's own fabric: this version has security groups in overlays "
                      "(vni) only"));
      return;
    }
    const SecurityGroup* before = world_.FindSecurityGroup(group.id);
    if (before != nullptr && before->vpc != group.vpc) {
      out_.Add(c.origin.Field("vpc"), ViolationCode::kConflict,
               StrCat(Ref(group.id).ToString(), " belongs to vpc/", before->vpc,
                      " and cannot move to vpc/", group.vpc, "; remove it and create another"));
      return;
    }
    changed_vpcs_.try_emplace(group.vpc, c.origin.Field("stateless"));
    std::set<std::string> said;
    for (const SecurityRule& rule : group.rules) {
      if (rule.remote_group.empty() || !said.insert(rule.remote_group).second) continue;
      Resolve(c, "rules", group.vpc, rule.remote_group);
    }
  }

  void Resolve(const Candidate& c, std::string_view field, const std::string& vpc,
               const std::string& id) {
    if (!overlay_.Exists(Ref(id))) {
      const Removal* removal = overlay_.Removed(Ref(id));
      out_.Add(c.origin.Field(field), ViolationCode::kNotFound,
               removal == nullptr ? StrCat(Ref(id).ToString(), " is not there")
                                  : StrCat(Ref(id).ToString(), " is removed by ", removal->path));
      return;
    }
    const SecurityGroup* group = Find(id);
    if (group == nullptr || group->vpc == vpc) return;
    out_.Add(c.origin.Field(field), ViolationCode::kInvalid,
             StrCat(Ref(id).ToString(), " is in vpc/", group->vpc, ", not in vpc/", vpc));
  }

  void CheckNamed(const Candidate& c, const std::string& vpc,
                  const std::vector<std::string>& groups) {
    if (!c.Ok("vpc") || !c.Ok("security_groups")) return;
    for (const std::string& group : groups) Resolve(c, "security_groups", vpc, group);
  }

  void CheckServed(const Candidate& c, const Port& port) {
    if (port.security_groups.empty() || port.function != FunctionSource::kHotplug) return;
    out_.Add(c.origin.Field("security_groups"), ViolationCode::kUnsupported,
             "the port's function is brought by hot-plug, and whoever brings it forwards for it; "
             "leave it out");
  }

  // All groups of a VPC judge in one way.
  void CheckKinds(const std::string& vpc, const std::string& path) {
    std::string stateless, stateful;
    for (const SecurityGroup* group : GroupsAfter(vpc, draft_, overlay_)) {
      (group->stateless ? stateless : stateful) = group->id;
    }
    if (stateless.empty() || stateful.empty()) return;
    out_.Add(path, ViolationCode::kConflict,
             StrCat(Ref(stateless).ToString(), " would be stateless and ", Ref(stateful).ToString(),
                    " stateful: all groups of vpc/", vpc, " are of one kind"));
  }

  // Who still names a group that goes; upserts that do have a violation of their own.
  void CheckUnnamed(const Removal& removal) {
    const std::string& id = removal.ref.id;
    const auto used = [&](const ObjectRef& by) {
      if (overlay_.Touched(by)) return false;
      out_.Add(removal.path, ViolationCode::kConflict,
               StrCat(removal.ref.ToString(), " is still named by ", by.ToString(),
                      "; change or remove that first or in the same message"));
      return true;
    };
    for (const std::string& port : world_.PortsOfGroup(id)) {
      if (used({ObjectKind::kPort, port})) return;
    }
    for (const StoredObject* endpoint : world_.EndpointsOfGroup(id)) {
      if (used(RefOf(endpoint->object))) return;
    }
    const SecurityGroup* group = world_.FindSecurityGroup(id);
    if (group == nullptr) return;
    for (const std::string& other : world_.GroupsOfVpc(group->vpc)) {
      if (other == id) continue;  // its own rules go with it
      for (const SecurityRule& rule : world_.FindSecurityGroup(other)->rules) {
        if (rule.remote_group == id && used(Ref(other))) return;
      }
    }
  }

  const Draft& draft_;
  Overlay& overlay_;
  const World& world_;
  Violations& out_;
  std::map<std::string, std::string> changed_vpcs_;  // where to say so
};

}  // namespace

std::vector<const SecurityGroup*> GroupsAfter(const std::string& vpc, const Draft& draft,
                                              const Overlay& overlay) {
  std::vector<const SecurityGroup*> groups;
  for (const std::string& id : overlay.world().GroupsOfVpc(vpc)) {
    if (!overlay.Touched(Ref(id))) groups.push_back(overlay.world().FindSecurityGroup(id));
  }
  for (const Candidate& c : draft.upserts) {
    const auto* group = std::get_if<SecurityGroup>(&c.object);
    if (group != nullptr && group->vpc == vpc && overlay.Upserted(Ref(group->id)) == &c) {
      groups.push_back(group);
    }
  }
  return groups;
}

void CheckSecurityGroups(const Draft& draft, Overlay* overlay, Violations* out) {
  GroupChecker(draft, overlay, out).Run();
}

void AssignZones(const Overlay& overlay, Draft* draft, std::vector<uint16_t>* left,
                 Violations* out) {
  const World& world = overlay.world();
  std::map<std::string, std::string> vpcs;  // where to say what is wrong
  for (const Candidate& c : draft->upserts) {
    if (const auto* vpc = std::get_if<Vpc>(&c.object)) vpcs.try_emplace(vpc->id, c.origin.base);
    if (const auto* group = std::get_if<SecurityGroup>(&c.object)) {
      vpcs.try_emplace(group->vpc, c.origin.Field("stateless"));
    }
  }
  for (const Removal& removal : draft->removals) {
    if (removal.ref.kind == ObjectKind::kVpc) {
      const Vpc* vpc = world.FindVpc(removal.ref.id);
      if (vpc != nullptr && vpc->ct_zone) left->push_back(*vpc->ct_zone);
    } else if (const SecurityGroup* group = removal.ref.kind == ObjectKind::kSecurityGroup
                                                ? world.FindSecurityGroup(removal.ref.id)
                                                : nullptr) {
      vpcs.try_emplace(group->vpc, removal.path);
    }
  }
  std::vector<Candidate> joining;  // later: the overlay points into the draft
  std::set<uint16_t> taken;
  const auto take = [&]() -> std::optional<uint16_t> {
    for (uint16_t zone = kFirstCtZone; zone < kFirstCtZone + kCtZones; ++zone) {
      if (!world.ZoneInUse(zone) && taken.insert(zone).second) return zone;
    }
    return std::nullopt;
  };
  for (const auto& [id, path] : vpcs) {
    if (overlay.Removed({ObjectKind::kVpc, id}) != nullptr) continue;
    bool stateful = false;
    for (const SecurityGroup* group : GroupsAfter(id, *draft, overlay)) {
      stateful = stateful || !group->stateless;
    }
    const Vpc* before = world.FindVpc(id);
    std::optional<uint16_t> zone = before == nullptr ? std::nullopt : before->ct_zone;
    if (stateful && !zone) {
      zone = take();
      if (!zone) {
        out->Add(
            path, ViolationCode::kConflict,
            StrCat("vpc/", id, " needs a conntrack zone for stateful groups, and all ", kCtZones,
                   " are in use (a NIC tells no more apart): make its groups stateless, or "
                   "remove those of another VPC"));
        return;
      }
    } else if (!stateful && zone) {
      left->push_back(*zone);
      zone.reset();
    }
    const auto own =
        std::find_if(draft->upserts.begin(), draft->upserts.end(), [&id = id](const Candidate& c) {
          const auto* vpc = std::get_if<Vpc>(&c.object);
          return vpc != nullptr && vpc->id == id;
        });
    if (own != draft->upserts.end()) {
      std::get<Vpc>(own->object).ct_zone = zone;
    } else if (before != nullptr && before->ct_zone != zone) {
      Vpc vpc = *before;
      vpc.ct_zone = zone;
      joining.push_back({.origin = {path}, .object = std::move(vpc), .bad = {}, .positions = {}});
    }
  }
  std::move(joining.begin(), joining.end(), std::back_inserter(draft->upserts));
}

}  // namespace fairlead
