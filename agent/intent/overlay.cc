// SPDX-License-Identifier: Apache-2.0
#include "agent/intent/overlay.h"

#include <algorithm>

namespace fairlead {
namespace {

void AddPrefixes(const Subnet& subnet, const Candidate* candidate, std::vector<SubnetPrefix>* out) {
  if (subnet.prefix4) out->push_back({*subnet.prefix4, &subnet, candidate});
  if (subnet.prefix6) out->push_back({*subnet.prefix6, &subnet, candidate});
}

}  // namespace

Overlay::Overlay(const World& world, const Draft& draft) : world_(world), draft_(draft) {
  for (const Candidate& c : draft.upserts) {
    if (c.Ok("id")) upserts_.try_emplace(RefOf(c.object), &c);
  }
  for (const Removal& r : draft.removals) removals_.try_emplace(r.ref, &r);
}

const Candidate* Overlay::Upserted(const ObjectRef& ref) const {
  auto it = upserts_.find(ref);
  return it == upserts_.end() ? nullptr : it->second;
}

const Removal* Overlay::Removed(const ObjectRef& ref) const {
  auto it = removals_.find(ref);
  return it == removals_.end() ? nullptr : it->second;
}

bool Overlay::Exists(const ObjectRef& ref) const {
  if (Upserted(ref) != nullptr) return true;
  return Removed(ref) == nullptr && world_.Find(ref) != nullptr;
}

const Vpc* Overlay::FindVpc(const std::string& id) const {
  const ObjectRef ref{ObjectKind::kVpc, id};
  if (const Candidate* c = Upserted(ref)) {
    return c->Ok("vni") ? &std::get<Vpc>(c->object) : nullptr;
  }
  return Removed(ref) == nullptr ? world_.FindVpc(id) : nullptr;
}

const Subnet* Overlay::FindSubnet(const std::string& id) const {
  const ObjectRef ref{ObjectKind::kSubnet, id};
  if (const Candidate* c = Upserted(ref)) {
    return c->Ok("vpc") && c->Ok("prefixes") ? &std::get<Subnet>(c->object) : nullptr;
  }
  return Removed(ref) == nullptr ? world_.FindSubnet(id) : nullptr;
}

const std::vector<SubnetPrefix>& Overlay::PrefixesOf(const std::string& vpc) {
  auto [it, inserted] = prefixes_.try_emplace(vpc);
  std::vector<SubnetPrefix>& list = it->second;
  if (!inserted) return list;
  for (const std::string& id : world_.SubnetsOfVpc(vpc)) {
    if (Touched({ObjectKind::kSubnet, id})) continue;
    if (const Subnet* subnet = world_.FindSubnet(id)) AddPrefixes(*subnet, nullptr, &list);
  }
  for (const Candidate& c : draft_.upserts) {
    const Subnet* subnet = std::get_if<Subnet>(&c.object);
    if (subnet == nullptr || subnet->vpc != vpc || !c.Ok("id") || !c.Ok("vpc")) continue;
    if (Upserted(RefOf(c.object)) == &c) AddPrefixes(*subnet, &c, &list);
  }
  std::sort(list.begin(), list.end(),
            [](const SubnetPrefix& a, const SubnetPrefix& b) { return a.prefix < b.prefix; });
  return list;
}

const Subnet* Overlay::SubnetOf(const std::string& vpc, const IpAddress& address) {
  const std::vector<SubnetPrefix>& list = PrefixesOf(vpc);
  // Prefixes of a VPC do not overlap, so only the last one that begins at or
  // before the address can have it.
  auto it = std::upper_bound(
      list.begin(), list.end(), address,
      [](const IpAddress& a, const SubnetPrefix& p) { return a < p.prefix.address(); });
  if (it == list.begin()) return nullptr;
  --it;
  return it->prefix.Contains(address) ? it->subnet : nullptr;
}

}  // namespace fairlead
