// SPDX-License-Identifier: Apache-2.0
#include "agent/model/world.h"

#include <iterator>
#include <utility>

#include "agent/base/text.h"

namespace fairlead {
namespace {

// Claims or gives up a unique key. Giving up what somebody else has claimed
// since is no change: within one Change, a key may move from object to object.
template <typename Map, typename Key>
void Claim(Map& map, const Key& key, const StoredObject* stored, bool add) {
  if (add) {
    map.insert_or_assign(key, stored);
    return;
  }
  auto it = map.find(key);
  if (it != map.end() && it->second == stored) map.erase(it);
}

template <typename Set, typename Value>
void Member(Set& set, const Value& value, bool add) {
  if (add) {
    set.insert(set.end(), value);  // where it goes, when a sorted world is made
  } else {
    set.erase(value);
  }
}

// What `map` has at `key`, to be changed by `change`. Nothing empty stays behind, so that equal
// worlds have equal indices.
template <typename Map, typename Key, typename Change>
void At(Map& map, const Key& key, const Change& change) {
  auto& entry = map[key];
  change(entry);
  if (entry.empty()) map.erase(key);
}

template <typename Map, typename Key>
std::optional<ObjectRef> OwnerAt(const Map& map, const Key& key) {
  auto it = map.find(key);
  if (it == map.end()) return std::nullopt;
  return RefOf(it->second->object);
}

// An empty one where there is none.
template <typename Map, typename Key>
const typename Map::mapped_type& ValueAt(const Map& map, const Key& key) {
  static const typename Map::mapped_type kEmpty;
  auto it = map.find(key);
  return it == map.end() ? kEmpty : it->second;
}

template <typename T>
const T* As(const StoredObject* object) {
  return object == nullptr ? nullptr : std::get_if<T>(&object->object);
}

}  // namespace

bool World::InVpc::empty() const {
  return subnets.empty() && ports.empty() && endpoints.empty() && by_mac.empty() &&
         by_address.empty() && routes.empty() && by_prefix.empty() && by_next_hop.empty() &&
         groups.empty() && policies.empty();
}

World::World(std::vector<StoredObject> objects, uint32_t next_ordinal,
             std::set<uint16_t> left_zones)
    : next_ordinal_(next_ordinal), left_zones_(std::move(left_zones)) {
  by_ordinal_.reserve(objects.size());
  auto next = objects_.end();
  for (StoredObject& object : objects) next = std::next(Put(next, std::move(object)));
}

// Its indices point into its own objects.
World::World(const World& other)
    : World({other.objects_.begin(), other.objects_.end()}, other.next_ordinal_,
            other.left_zones_) {}

const StoredObject* World::FindKey(const Key& key) const {
  auto it = objects_.find(key);
  return it == objects_.end() ? nullptr : &*it;
}

const StoredObject* World::Find(const ObjectRef& ref) const { return FindKey({ref.kind, ref.id}); }
const Vpc* World::FindVpc(std::string_view id) const {
  return As<Vpc>(FindKey({ObjectKind::kVpc, id}));
}
const Subnet* World::FindSubnet(std::string_view id) const {
  return As<Subnet>(FindKey({ObjectKind::kSubnet, id}));
}
const Vm* World::FindVm(std::string_view id) const {
  return As<Vm>(FindKey({ObjectKind::kVm, id}));
}
const Port* World::FindPort(std::string_view id) const {
  return As<Port>(FindKey({ObjectKind::kPort, id}));
}
const Endpoint* World::FindEndpoint(std::string_view id) const {
  return As<Endpoint>(FindKey({ObjectKind::kEndpoint, id}));
}
const Route* World::FindRoute(std::string_view id) const {
  return As<Route>(FindKey({ObjectKind::kRoute, id}));
}
const SecurityGroup* World::FindSecurityGroup(std::string_view id) const {
  return As<SecurityGroup>(FindKey({ObjectKind::kSecurityGroup, id}));
}
const StoredObject* World::FindByOrdinal(uint32_t ordinal) const {
  auto it = by_ordinal_.find(ordinal);
  return it == by_ordinal_.end() ? nullptr : it->second;
}

const std::set<std::string>& World::SubnetsOfVpc(std::string_view vpc) const {
  return ValueAt(in_vpc_, AbslView(vpc)).subnets;
}
const std::set<std::string>& World::PortsOfVpc(std::string_view vpc) const {
  return ValueAt(in_vpc_, AbslView(vpc)).ports;
}
const std::set<std::string>& World::PortsOfSubnet(std::string_view subnet) const {
  return ValueAt(in_subnet_, AbslView(subnet)).ports;
}
const std::set<std::string>& World::PortsOfVm(std::string_view vm) const {
  return ValueAt(ports_of_vm_, vm);
}
const EndpointSet& World::EndpointsOfVpc(std::string_view vpc) const {
  return ValueAt(in_vpc_, AbslView(vpc)).endpoints;
}
const EndpointSet& World::EndpointsOfSubnet(std::string_view subnet) const {
  return ValueAt(in_subnet_, AbslView(subnet)).endpoints;
}
const RouteSet& World::RoutesOfVpc(std::string_view vpc) const {
  return ValueAt(in_vpc_, AbslView(vpc)).routes;
}
const RouteSet& World::RoutesBy(std::string_view vpc, const IpAddress& next_hop) const {
  return ValueAt(ValueAt(in_vpc_, AbslView(vpc)).by_next_hop, next_hop);
}
const std::set<std::string>& World::GroupsOfVpc(std::string_view vpc) const {
  return ValueAt(in_vpc_, AbslView(vpc)).groups;
}
const std::set<std::string>& World::PortsOfGroup(std::string_view group) const {
  return ValueAt(in_group_, AbslView(group)).ports;
}
const EndpointSet& World::EndpointsOfGroup(std::string_view group) const {
  return ValueAt(in_group_, AbslView(group)).endpoints;
}
const std::map<uint32_t, std::set<std::string>>& World::PoliciesOfVpc(std::string_view vpc) const {
  return ValueAt(in_vpc_, AbslView(vpc)).policies;
}
SecurityMode World::SecurityModeOf(std::string_view vpc) const {
  const Vpc* object = FindVpc(vpc);
  if (object != nullptr && object->ct_zone) return SecurityMode::kStateful;
  return GroupsOfVpc(vpc).empty() ? SecurityMode::kNone : SecurityMode::kStateless;
}
const EndpointSet& World::EndpointsOfVtep(const IpAddress& vtep) const {
  return ValueAt(endpoints_of_vtep_, vtep);
}

std::optional<ObjectRef> World::OwnerOfVni(Vni vni) const { return OwnerAt(by_vni_, vni); }
std::optional<ObjectRef> World::OwnerOfVlan(VlanId vlan) const { return OwnerAt(by_vlan_, vlan); }
std::optional<ObjectRef> World::FlatVpc() const { return OwnerAt(flat_, true); }
std::optional<ObjectRef> World::OwnerOfMac(std::string_view vpc, const MacAddress& mac) const {
  return OwnerAt(ValueAt(in_vpc_, AbslView(vpc)).by_mac, mac);
}
std::optional<ObjectRef> World::OwnerOfAddress(std::string_view vpc,
                                               const IpAddress& address) const {
  return OwnerAt(ValueAt(in_vpc_, AbslView(vpc)).by_address, address);
}
std::optional<ObjectRef> World::OwnerOfUuid(const Uuid& uuid) const {
  return OwnerAt(by_uuid_, uuid);
}

std::optional<ObjectRef> World::OwnerOfZone(uint16_t zone) const { return OwnerAt(by_zone_, zone); }
std::optional<ObjectRef> World::RouteTo(std::string_view vpc, const IpPrefix& prefix) const {
  return OwnerAt(ValueAt(in_vpc_, AbslView(vpc)).by_prefix, prefix);
}

void World::ForEachVtep(const std::function<void(const IpAddress&)>& fn) const {
  for (const auto& [vtep, endpoints] : endpoints_of_vtep_) fn(vtep);
}

void World::ForEach(const std::function<void(const StoredObject&)>& fn) const {
  for (const StoredObject& object : objects_) fn(object);
}

// In place of what has its key. `at` is where it goes, if it does: sorted objects go each behind
// the one before.
World::Objects::iterator World::Put(Objects::iterator at, StoredObject object) {
  const Key key = ByKey::Of(object);
  const bool follows = at == objects_.begin() || ByKey::Of(*std::prev(at)) < key;
  if (!follows || (at != objects_.end() && ByKey::Of(*at) < key)) at = objects_.lower_bound(key);
  if (at != objects_.end() && ByKey::Of(*at) == key) at = Remove(at);
  at = objects_.insert(at, std::move(object));
  Index(*at, true);
  return at;
}

World::Objects::iterator World::Remove(Objects::iterator it) {
  Index(*it, false);
  return objects_.erase(it);
}

void World::Apply(const Change& change) {
  // All that goes is taken out before anything comes in: a MAC or a VNI may move
  // from one object to another within one change.
  const auto remove = [this](const Key& key) {
    if (auto it = objects_.find(key); it != objects_.end()) Remove(it);
  };
  for (const ObjectRef& ref : change.removes) remove({ref.kind, ref.id});
  for (const StoredObject& object : change.upserts) remove(ByKey::Of(object));
  // The same object twice in one change: the last one counts.
  for (const StoredObject& object : change.upserts) Put(objects_.end(), object);
  next_ordinal_ = change.next_ordinal;
  left_zones_.insert(change.left_zones.begin(), change.left_zones.end());
}

void World::Index(const StoredObject& stored, bool add) {
  Claim(by_ordinal_, stored.ordinal, &stored, add);
  if (const auto* vpc = std::get_if<Vpc>(&stored.object)) {
    if (vpc->vni) Claim(by_vni_, *vpc->vni, &stored, add);
    if (vpc->vlan) Claim(by_vlan_, *vpc->vlan, &stored, add);
    if (vpc->flat) Claim(flat_, true, &stored, add);
    if (vpc->ct_zone) Claim(by_zone_, *vpc->ct_zone, &stored, add);
  } else if (const auto* subnet = std::get_if<Subnet>(&stored.object)) {
    At(in_vpc_, subnet->vpc, [&](InVpc& in) {
      Member(in.subnets, subnet->id, add);
      for (const std::optional<IpAddress>& gateway : {subnet->gateway4, subnet->gateway6}) {
        if (gateway) Claim(in.by_address, *gateway, &stored, add);
      }
    });
  } else if (const auto* vm = std::get_if<Vm>(&stored.object)) {
    Claim(by_uuid_, vm->uuid, &stored, add);
  } else if (const auto* port = std::get_if<Port>(&stored.object)) {
    At(in_vpc_, port->vpc, [&](InVpc& in) {
      Member(in.ports, port->id, add);
      if (port->mac) Claim(in.by_mac, *port->mac, &stored, add);
      for (const IpAddress& address : port->addresses) {
        Claim(in.by_address, address, &stored, add);
      }
      if (port->policy == 0) return;
      At(in.policies, port->policy,
         [&](std::set<std::string>& ports) { Member(ports, port->id, add); });
    });
    for (const std::string& group : port->security_groups) {
      At(in_group_, group, [&](InGroup& in) { Member(in.ports, port->id, add); });
    }
    if (port->policy != 0) {
      At(policies_, port->policy,
         [&](std::set<std::string>& ports) { Member(ports, port->id, add); });
    }
    At(in_subnet_, port->subnet, [&](InSubnet& in) { Member(in.ports, port->id, add); });
    if (!port->vm.empty()) {
      At(ports_of_vm_, port->vm, [&](std::set<std::string>& in) { Member(in, port->id, add); });
    }
  } else if (const auto* endpoint = std::get_if<Endpoint>(&stored.object)) {
    At(in_vpc_, endpoint->vpc, [&](InVpc& in) {
      Member(in.endpoints, &stored, add);
      Claim(in.by_mac, endpoint->mac, &stored, add);
      for (const IpAddress& address : endpoint->addresses) {
        Claim(in.by_address, address, &stored, add);
      }
    });
    At(in_subnet_, endpoint->subnet, [&](InSubnet& in) { Member(in.endpoints, &stored, add); });
    At(endpoints_of_vtep_, endpoint->vtep, [&](EndpointSet& in) { Member(in, &stored, add); });
    for (const std::string& group : endpoint->security_groups) {
      At(in_group_, group, [&](InGroup& in) { Member(in.endpoints, &stored, add); });
    }
  } else if (const auto* group = std::get_if<SecurityGroup>(&stored.object)) {
    At(in_vpc_, group->vpc, [&](InVpc& in) { Member(in.groups, group->id, add); });
  } else if (const auto* route = std::get_if<Route>(&stored.object)) {
    At(in_vpc_, route->vpc, [&](InVpc& in) {
      Member(in.routes, &stored, add);
      Claim(in.by_prefix, route->prefix, &stored, add);
      At(in.by_next_hop, route->next_hop, [&](RouteSet& by) { Member(by, &stored, add); });
    });
  }
}

}  // namespace fairlead
