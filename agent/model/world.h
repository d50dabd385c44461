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
  // Conntrack zones that a VPC had until now: nobody else's before they were emptied.
  std::vector<uint16_t> left_zones = {};
  bool empty() const { return upserts.empty() && removes.empty(); }
};

// Stored objects of one kind, by their ids; also found by an id alone.
struct ById {
  using is_transparent = void;
  static std::string_view Id(const StoredObject* stored) { return IdOf(stored->object); }
  static std::string_view Id(std::string_view id) { return id; }
  template <typename A, typename B>
  bool operator()(const A& a, const B& b) const {
    return Id(a) < Id(b);
  }
};
using ObjectSet = absl::btree_set<const StoredObject*, ById>;
using EndpointSet = ObjectSet;  // each holds an Endpoint
using RouteSet = ObjectSet;     // each holds a Route

// How a VPC's security groups judge: packets, or connections. None: it has no groups.
enum class SecurityMode : uint8_t { kNone, kStateless, kStateful };

class World {
 public:
  World() = default;
  // Fastest where `objects` are in ascending order of their ids within each kind.
  World(std::vector<StoredObject> objects, uint32_t next_ordinal,
        std::set<uint16_t> left_zones = {});
  World(const World& other);
  World(World&&) = default;
  World& operator=(const World& other) { return *this = World(other); }
  World& operator=(World&&) = default;

  const StoredObject* Find(const ObjectRef& ref) const;
  const Vpc* FindVpc(std::string_view id) const;
  const Subnet* FindSubnet(std::string_view id) const;
  const Vm* FindVm(std::string_view id) const;
  const Port* FindPort(std::string_view id) const;
  const Endpoint* FindEndpoint(std::string_view id) const;
  const Route* FindRoute(std::string_view id) const;
  const SecurityGroup* FindSecurityGroup(std::string_view id) const;
  const StoredObject* FindByOrdinal(uint32_t ordinal) const;

  // Ids, or endpoints and routes by their ids, ascending. Empty set when there is no such parent.
  const std::set<std::string>& SubnetsOfVpc(std::string_view vpc) const;
  const std::set<std::string>& PortsOfVpc(std::string_view vpc) const;
  const std::set<std::string>& PortsOfSubnet(std::string_view subnet) const;
  const std::set<std::string>& PortsOfVm(std::string_view vm) const;
  const EndpointSet& EndpointsOfVpc(std::string_view vpc) const;
  const EndpointSet& EndpointsOfSubnet(std::string_view subnet) const;
  const RouteSet& RoutesOfVpc(std::string_view vpc) const;
  // Those whose next hop it is.
  const RouteSet& RoutesBy(std::string_view vpc, const IpAddress& next_hop) const;
  const std::set<std::string>& GroupsOfVpc(std::string_view vpc) const;
  // A security group's members.
  const std::set<std::string>& PortsOfGroup(std::string_view group) const;
  const EndpointSet& EndpointsOfGroup(std::string_view group) const;
  // Port::policy numbers of the VPC, each with the ports that have it.
  const std::map<uint32_t, std::set<std::string>>& PoliciesOfVpc(std::string_view vpc) const;
  SecurityMode SecurityModeOf(std::string_view vpc) const;
  // Conntrack zones that no VPC has any more and that were not emptied yet.
  const std::set<uint16_t>& left_zones() const { return left_zones_; }
  std::optional<ObjectRef> OwnerOfZone(uint16_t zone) const;
  bool ZoneInUse(uint16_t zone) const {
    return by_zone_.contains(zone) || left_zones_.contains(zone);
  }
  // Endpoints behind an outer address, of all VPCs.
  const EndpointSet& EndpointsOfVtep(const IpAddress& vtep) const;
  void ForEachVtep(const std::function<void(const IpAddress&)>& fn) const;  // ascending

  // Who has this VNI or VLAN, or is the flat network, or has this MAC or address within a VPC; none
  // if free. Of a gateway's address that is its subnet.
  std::optional<ObjectRef> OwnerOfVni(Vni vni) const;
  bool HasOverlays() const { return !by_vni_.empty(); }
  std::optional<ObjectRef> OwnerOfVlan(VlanId vlan) const;
  std::optional<ObjectRef> FlatVpc() const;
  std::optional<ObjectRef> OwnerOfMac(std::string_view vpc, const MacAddress& mac) const;
  std::optional<ObjectRef> OwnerOfAddress(std::string_view vpc, const IpAddress& address) const;
  std::optional<ObjectRef> OwnerOfUuid(const Uuid& uuid) const;
  // The VPC's route with just this prefix; none if there is none.
  std::optional<ObjectRef> RouteTo(std::string_view vpc, const IpPrefix& prefix) const;

  size_t size() const { return objects_.size(); }
  void ForEach(const std::function<void(const StoredObject&)>& fn) const;  // by ref, ascending

  uint32_t next_ordinal() const { return next_ordinal_; }
  // True while some object or policy has it (a wrapped counter skips these).
  bool OrdinalInUse(uint32_t ordinal) const {
    return FindByOrdinal(ordinal) != nullptr || policies_.contains(ordinal);
  }

  // Applies an admitted change. Upserts replace; removes of absent are ignored.
  void Apply(const Change& change);
  // It was emptied.
  void ForgetZone(uint16_t zone) { left_zones_.erase(zone); }

 private:
  using Key = std::pair<ObjectKind, std::string_view>;
  struct ByKey {
    using is_transparent = void;
    static Key Of(const StoredObject& stored) {
      return {KindOf(stored.object), IdOf(stored.object)};
    }
    static Key Of(const Key& key) { return key; }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return Of(a) < Of(b);
    }
  };
  using Objects = std::set<StoredObject, ByKey>;  // whose nodes the indices point to

  // What lies in one VPC, and in one subnet.
  struct InVpc {
    std::set<std::string> subnets, ports;
    EndpointSet endpoints;
    absl::flat_hash_map<MacAddress, const StoredObject*> by_mac;
    absl::flat_hash_map<IpAddress, const StoredObject*> by_address;
    RouteSet routes;
    std::map<IpPrefix, const StoredObject*> by_prefix;  // the routes
    std::map<IpAddress, RouteSet> by_next_hop;          // likewise
    std::set<std::string> groups;
    std::map<uint32_t, std::set<std::string>> policies;
    bool empty() const;
  };
  struct InSubnet {
    std::set<std::string> ports;
    EndpointSet endpoints;
    bool empty() const { return ports.empty() && endpoints.empty(); }
  };

  struct InGroup {
    std::set<std::string> ports;
    EndpointSet endpoints;
    bool empty() const { return ports.empty() && endpoints.empty(); }
  };

  const StoredObject* FindKey(const Key& key) const;
  Objects::iterator Put(Objects::iterator hint, StoredObject object);
  Objects::iterator Remove(Objects::iterator it);
  void Index(const StoredObject& object, bool add);

  Objects objects_;
  uint32_t next_ordinal_ = 1;
  absl::flat_hash_map<std::string, InVpc> in_vpc_;
  absl::flat_hash_map<std::string, InSubnet> in_subnet_;
  std::map<std::string, std::set<std::string>, std::less<>> ports_of_vm_;
  std::map<IpAddress, EndpointSet> endpoints_of_vtep_;
  std::map<Vni, const StoredObject*> by_vni_;
  std::map<VlanId, const StoredObject*> by_vlan_;
  std::map<bool, const StoredObject*> flat_;  // of true only
  std::map<Uuid, const StoredObject*> by_uuid_;
  std::map<uint16_t, const StoredObject*> by_zone_;
  std::set<uint16_t> left_zones_;
  absl::flat_hash_map<std::string, InGroup> in_group_;
  std::map<uint32_t, std::set<std::string>> policies_;  // of all VPCs: ports
  absl::flat_hash_map<uint32_t, const StoredObject*> by_ordinal_;
};

}  // namespace fairlead
