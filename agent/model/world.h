// SPDX-License-Identifier: Apache-2.0
//
// Purpose: all accepted objects, in memory, with the indices that validation and
// compiling need, so that no one-object change walks all objects.
//
// Threading: owned by the loop thread. Ownership: holds the objects by value;
// pointers and references live until the next Apply.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "agent/model/intent.h"

namespace fairlead {

// An accepted change: what the store commits and World applies.
struct Change {
  std::vector<StoredObject> upserts;  // with new generation and ordinal
  std::vector<ObjectRef> removes;     // of objects that are there
  uint32_t next_ordinal = 1;          // the counter after this change
  bool empty() const { return upserts.empty() && removes.empty(); }
};

// Endpoints ascending by id; lower_bound takes an id, too.
struct ByEndpointId {
  using is_transparent = void;
  static std::string_view IdOf(const StoredObject* stored) {
    return std::get<Endpoint>(stored->object).id;
  }
  static std::string_view IdOf(std::string_view id) { return id; }
  template <typename A, typename B>
  bool operator()(const A& a, const B& b) const {
    return IdOf(a) < IdOf(b);
  }
};
using EndpointSet = absl::btree_set<const StoredObject*, ByEndpointId>;

class World {
 public:
  World() = default;
  World(std::vector<StoredObject> objects, uint32_t next_ordinal);

  const StoredObject* Find(const ObjectRef& ref) const;
  const Vpc* FindVpc(std::string_view id) const;
  const Subnet* FindSubnet(std::string_view id) const;
  const Vm* FindVm(std::string_view id) const;
  const Port* FindPort(std::string_view id) const;
  const Endpoint* FindEndpoint(std::string_view id) const;

  // Ids, ascending. Empty set when there is no such parent.
  const std::set<std::string>& SubnetsOfVpc(std::string_view vpc) const;
  const std::set<std::string>& PortsOfVpc(std::string_view vpc) const;
  const std::set<std::string>& PortsOfSubnet(std::string_view subnet) const;
  const std::set<std::string>& PortsOfVm(std::string_view vm) const;
  const EndpointSet& EndpointsOfVpc(std::string_view vpc) const;
  const EndpointSet& EndpointsOfSubnet(std::string_view subnet) const;
  // Endpoints behind an outer address, of all VPCs.
  const EndpointSet& EndpointsOfVtep(const IpAddress& vtep) const;
  void ForEachVtep(const std::function<void(const IpAddress&)>& fn) const;

  // Who has this VNI or VLAN, or this MAC or address within a VPC; none if free. Of a gateway's
  // address that is its subnet.
  std::optional<ObjectRef> OwnerOfVni(Vni vni) const;
  std::optional<ObjectRef> OwnerOfVlan(VlanId vlan) const;
  std::optional<ObjectRef> OwnerOfMac(std::string_view vpc, const MacAddress& mac) const;
  std::optional<ObjectRef> OwnerOfAddress(std::string_view vpc, const IpAddress& address) const;
  std::optional<ObjectRef> OwnerOfUuid(const Uuid& uuid) const;

  size_t size() const { return objects_.size(); }
  void ForEach(const std::function<void(const StoredObject&)>& fn) const;  // by ref, ascending

  uint32_t next_ordinal() const { return next_ordinal_; }
  // True while some object has it (a wrapped counter skips these).
  bool OrdinalInUse(uint32_t ordinal) const { return FindByOrdinal(ordinal) != nullptr; }
  const StoredObject* FindByOrdinal(uint32_t ordinal) const;

  // Applies an admitted change. Upserts replace; removes of absent are ignored.
  void Apply(const Change& change);

 private:
  void Index(const StoredObject& object, bool add);

  // Shared with copies of this world, and never changed.
  std::map<ObjectRef, std::shared_ptr<const StoredObject>> objects_;
  uint32_t next_ordinal_ = 1;
  std::map<std::string, std::set<std::string>, std::less<>> subnets_of_vpc_, ports_of_vpc_,
      ports_of_subnet_, ports_of_vm_;
  std::map<std::string, EndpointSet, std::less<>> endpoints_of_vpc_, endpoints_of_subnet_;
  std::map<IpAddress, EndpointSet> endpoints_of_vtep_;
  std::map<Vni, ObjectRef> by_vni_;
  std::map<VlanId, ObjectRef> by_vlan_;
  std::map<Uuid, ObjectRef> by_uuid_;
  absl::flat_hash_map<std::pair<std::string, MacAddress>, ObjectRef> by_mac_;
  absl::flat_hash_map<std::pair<std::string, IpAddress>, ObjectRef> by_address_;
  absl::flat_hash_map<uint32_t, const StoredObject*> by_ordinal_;
};

}  // namespace fairlead
