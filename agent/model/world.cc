// SPDX-License-Identifier: Apache-2.0
#include "agent/model/world.h"

namespace fairlead {
namespace {

template <typename Map, typename Key>
const typename Map::mapped_type& SetAt(const Map& map, const Key& key) {
  static const typename Map::mapped_type kEmpty;
  auto it = map.find(key);
  return it == map.end() ? kEmpty : it->second;
}

// Adds or takes away a member; no empty set stays behind, so that equal worlds have
// equal indices.
template <typename Map, typename Key, typename Member>
void Put(Map& map, const Key& key, const Member& member, bool add) {
  if (add) {
    map[key].insert(member);
    return;
  }
  auto it = map.find(key);
  if (it == map.end()) return;
  it->second.erase(member);
  if (it->second.empty()) map.erase(it);
}

// Claims or gives up a unique key. Giving up what somebody else has claimed
// since is no change: within one Change, a key may move from object to object.
template <typename Map, typename Key>
void Claim(Map& map, const Key& key, const ObjectRef& ref, bool add) {
  if (add) {
    map.insert_or_assign(key, ref);
    return;
  }
  auto it = map.find(key);
  if (it != map.end() && it->second == ref) map.erase(it);
}

template <typename Map, typename Key>
std::optional<ObjectRef> OwnerAt(const Map& map, const Key& key) {
  auto it = map.find(key);
  if (it == map.end()) return std::nullopt;
  return it->second;
}

template <typename T>
const T* As(const StoredObject* object) {
  return object == nullptr ? nullptr : std::get_if<T>(&object->object);
}

}  // namespace

World::World(std::vector<StoredObject> objects, uint32_t next_ordinal)
    : next_ordinal_(next_ordinal) {
  for (StoredObject& object : objects) {
    ObjectRef ref = RefOf(object.object);
    auto [it, fresh] = objects_.try_emplace(std::move(ref));
    if (!fresh) Index(*it->second, false);
    it->second = std::make_shared<const StoredObject>(std::move(object));
    Index(*it->second, true);
  }
}

const StoredObject* World::Find(const ObjectRef& ref) const {
  auto it = objects_.find(ref);
  return it == objects_.end() ? nullptr : it->second.get();
}
const Vpc* World::FindVpc(std::string_view id) const {
  return As<Vpc>(Find({ObjectKind::kVpc, std::string(id)}));
}
const Subnet* World::FindSubnet(std::string_view id) const {
  return As<Subnet>(Find({ObjectKind::kSubnet, std::string(id)}));
}
const Vm* World::FindVm(std::string_view id) const {
  return As<Vm>(Find({ObjectKind::kVm, std::string(id)}));
}
const Port* World::FindPort(std::string_view id) const {
  return As<Port>(Find({ObjectKind::kPort, std::string(id)}));
}
const Endpoint* World::FindEndpoint(std::string_view id) const {
  return As<Endpoint>(Find({ObjectKind::kEndpoint, std::string(id)}));
}

const std::set<std::string>& World::SubnetsOfVpc(std::string_view vpc) const {
  return SetAt(subnets_of_vpc_, vpc);
}
const std::set<std::string>& World::PortsOfVpc(std::string_view vpc) const {
  return SetAt(ports_of_vpc_, vpc);
}
const std::set<std::string>& World::PortsOfSubnet(std::string_view subnet) const {
  return SetAt(ports_of_subnet_, subnet);
}
const std::set<std::string>& World::PortsOfVm(std::string_view vm) const {
  return SetAt(ports_of_vm_, vm);
}
const EndpointSet& World::EndpointsOfVpc(std::string_view vpc) const {
  return SetAt(endpoints_of_vpc_, vpc);
}
const EndpointSet& World::EndpointsOfSubnet(std::string_view subnet) const {
  return SetAt(endpoints_of_subnet_, subnet);
}
const EndpointSet& World::EndpointsOfVtep(const IpAddress& vtep) const {
  return SetAt(endpoints_of_vtep_, vtep);
}

std::optional<ObjectRef> World::OwnerOfVni(Vni vni) const { return OwnerAt(by_vni_, vni); }
std::optional<ObjectRef> World::OwnerOfVlan(VlanId vlan) const { return OwnerAt(by_vlan_, vlan); }
std::optional<ObjectRef> World::OwnerOfMac(std::string_view vpc, const MacAddress& mac) const {
  return OwnerAt(by_mac_, std::pair(std::string(vpc), mac));
}
std::optional<ObjectRef> World::OwnerOfAddress(std::string_view vpc,
                                               const IpAddress& address) const {
  return OwnerAt(by_address_, std::pair(std::string(vpc), address));
}
std::optional<ObjectRef> World::OwnerOfUuid(const Uuid& uuid) const {
  return OwnerAt(by_uuid_, uuid);
}

void World::ForEach(const std::function<void(const StoredObject&)>& fn) const {
  for (const auto& [ref, object] : objects_) fn(*object);
}
void World::ForEachVtep(const std::function<void(const IpAddress&)>& fn) const {
  for (const auto& [vtep, endpoints] : endpoints_of_vtep_) fn(vtep);
}

const StoredObject* World::FindByOrdinal(uint32_t ordinal) const {
  const auto it = by_ordinal_.find(ordinal);
  return it == by_ordinal_.end() ? nullptr : it->second;
}

void World::Apply(const Change& change) {
  // All that goes is taken out before anything comes in: a MAC or a VNI may move
  // from one object to another within one change.
  for (const ObjectRef& ref : change.removes) {
    auto it = objects_.find(ref);
    if (it == objects_.end()) continue;
    Index(*it->second, false);
    objects_.erase(it);
  }
  for (const StoredObject& object : change.upserts) {
    auto it = objects_.find(RefOf(object.object));
    if (it == objects_.end()) continue;
    Index(*it->second, false);
    objects_.erase(it);
  }
  for (const StoredObject& object : change.upserts) {
    auto [it, fresh] = objects_.try_emplace(RefOf(object.object));
    // The same object twice in one change: the last one counts.
    if (!fresh) Index(*it->second, false);
    it->second = std::make_shared<const StoredObject>(object);
    Index(*it->second, true);
  }
  next_ordinal_ = change.next_ordinal;
}

void World::Index(const StoredObject& stored, bool add) {
  const ObjectRef ref = RefOf(stored.object);
  if (add) {
    by_ordinal_[stored.ordinal] = &stored;
  } else if (FindByOrdinal(stored.ordinal) == &stored) {
    by_ordinal_.erase(stored.ordinal);
  }
  if (const auto* vpc = std::get_if<Vpc>(&stored.object)) {
    if (vpc->vni) Claim(by_vni_, *vpc->vni, ref, add);
    if (vpc->vlan) Claim(by_vlan_, *vpc->vlan, ref, add);
  } else if (const auto* subnet = std::get_if<Subnet>(&stored.object)) {
    Put(subnets_of_vpc_, subnet->vpc, subnet->id, add);
    for (const std::optional<IpAddress>& gateway : {subnet->gateway4, subnet->gateway6}) {
      if (gateway) Claim(by_address_, std::pair(subnet->vpc, *gateway), ref, add);
    }
  } else if (const auto* vm = std::get_if<Vm>(&stored.object)) {
    Claim(by_uuid_, vm->uuid, ref, add);
  } else if (const auto* port = std::get_if<Port>(&stored.object)) {
    Put(ports_of_vpc_, port->vpc, port->id, add);
    Put(ports_of_subnet_, port->subnet, port->id, add);
    if (!port->vm.empty()) Put(ports_of_vm_, port->vm, port->id, add);
    if (port->mac) Claim(by_mac_, std::pair(port->vpc, *port->mac), ref, add);
    for (const IpAddress& address : port->addresses) {
      Claim(by_address_, std::pair(port->vpc, address), ref, add);
    }
  } else if (const auto* endpoint = std::get_if<Endpoint>(&stored.object)) {
    Put(endpoints_of_vpc_, endpoint->vpc, &stored, add);
    Put(endpoints_of_subnet_, endpoint->subnet, &stored, add);
    Put(endpoints_of_vtep_, endpoint->vtep, &stored, add);
    Claim(by_mac_, std::pair(endpoint->vpc, endpoint->mac), ref, add);
    for (const IpAddress& address : endpoint->addresses) {
      Claim(by_address_, std::pair(endpoint->vpc, address), ref, add);
    }
  }
}

}  // namespace fairlead
