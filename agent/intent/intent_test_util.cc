// SPDX-License-Identifier: Apache-2.0
#include "agent/intent/intent_test_util.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>

#include "agent/base/text.h"

namespace fairlead {
namespace {

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::abort();
}

class Inspector {
 public:
  explicit Inspector(const World& world) : world_(world) {}

  std::string Run() {
    world_.ForEach([&](const StoredObject& stored) {
      const std::string name = RefOf(stored.object).ToString();
      if (stored.ordinal < 1 || stored.ordinal > kMaxOrdinal) Fail(name, "ordinal out of range");
      Unique("ordinal", StrCat(stored.ordinal), name);
      if (stored.generation < 1) Fail(name, "generation 0");
      std::visit([&](const auto& o) { Check(name, o); }, stored.object);
    });
    return problem_;
  }

 private:
  void Fail(const std::string& name, const std::string& what) {
    if (problem_.empty()) problem_ = StrCat(name, ": ", what);
  }
  void Unique(const std::string& what, const std::string& value, const std::string& name) {
    auto [it, inserted] = seen_.try_emplace(StrCat(what, " ", value), name);
    if (!inserted) Fail(name, StrCat(it->first, " is also of ", it->second));
  }
  void Check(const std::string& name, const Vpc& vpc) {
    if (vpc.vni.has_value() + vpc.vlan.has_value() + vpc.flat != 1) Fail(name, "not one segment");
    Unique("segment", SegmentName(vpc), name);
    bool stateful = false;
    for (const std::string& id : world_.GroupsOfVpc(vpc.id)) {
      stateful |= !world_.FindSecurityGroup(id)->stateless;
    }
    if (vpc.ct_zone.has_value() != stateful)
      Fail(name, "a zone is of stateful groups, and only that");
    if (vpc.ct_zone) {
      Unique("zone", StrCat(*vpc.ct_zone), name);
      if (world_.left_zones().contains(*vpc.ct_zone)) Fail(name, "its zone was not emptied");
    }
  }
  void Check(const std::string& name, const Subnet& subnet) {
    if (world_.FindVpc(subnet.vpc) == nullptr) Fail(name, "no vpc");
    if (!subnet.prefix4 && !subnet.prefix6) Fail(name, "no prefix");
    const Vpc* vpc = world_.FindVpc(subnet.vpc);
    if (vpc != nullptr && vpc->is_provider() &&
        (subnet.gateway4 || subnet.gateway6 || !subnet.dns_servers.empty())) {
      Fail(name, "a gateway or DNS server in a provider network");
    }
    if (subnet.gateway4) Gateway(name, subnet, *subnet.gateway4, subnet.prefix4);
    if (subnet.gateway6) Gateway(name, subnet, *subnet.gateway6, subnet.prefix6);
    if (subnet.dns_servers.size() > 8) Fail(name, "too many DNS servers");
    for (const IpAddress& server : subnet.dns_servers) {
      if (server.IsMulticast() || server.IsUnspecified()) Fail(name, "a bad DNS server");
    }
    for (const std::string& id : world_.SubnetsOfVpc(subnet.vpc)) {
      const Subnet* other = world_.FindSubnet(id);
      if (id == subnet.id) continue;
      if ((subnet.prefix4 && other->prefix4 && subnet.prefix4->Overlaps(*other->prefix4)) ||
          (subnet.prefix6 && other->prefix6 && subnet.prefix6->Overlaps(*other->prefix6))) {
        Fail(name, StrCat("overlaps ", id));
      }
    }
  }
  void Check(const std::string& name, const Vm& vm) { Unique("uuid", vm.uuid.ToString(), name); }
  void Check(const std::string& name, const Port& port) {
    if (!port.vm.empty() && world_.FindVm(port.vm) == nullptr) Fail(name, "no vm");
    Station(name, port.vpc, port.subnet, port.addresses);
    if (port.mac) Mac(name, port.vpc, *port.mac);
    Groups(name, port.vpc, port.security_groups);
    if ((port.policy == 0) != port.security_groups.empty()) Fail(name, "a policy without groups");
    if (port.policy != 0) {
      if (world_.FindByOrdinal(port.policy) != nullptr) Fail(name, "its policy is an ordinal too");
      const std::string groups = StrCat(port.vpc, " ", StrJoin(port.security_groups, ","));
      const std::string number = StrCat(port.policy);
      if (policies_.try_emplace(number, groups).first->second != groups ||
          policies_.try_emplace(groups, number).first->second != number) {
        Fail(name, "a policy that is not its groups'");
      }
    }
    const bool of_vlan = port.spoof_check || port.trust;
    const Vpc* vpc = world_.FindVpc(port.vpc);
    if (vpc != nullptr && vpc->flat && port.trust) Fail(name, "settings of a VLAN when flat");
    if (of_vlan && vpc != nullptr && !vpc->is_provider())
      Fail(name, "settings of a VLAN in an overlay");
    if (port.allowed_pairs.size() > 32) Fail(name, "too many pairs");
    if (!port.allowed_pairs.empty() &&
        (port.function == FunctionSource::kHotplug || (vpc != nullptr && vpc->is_provider()))) {
      Fail(name, "pairs where nobody checks them");
    }
    std::set<AddressPair> pairs;
    for (const AddressPair& pair : port.allowed_pairs) {
      if (!pairs.insert(pair).second) Fail(name, "a pair twice");
      if (pair.mac && (!pair.mac->IsUnicast() || *pair.mac == kGatewayMac)) {
        Fail(name, "a pair's MAC is no NIC's");
      }
    }
  }
  void Check(const std::string& name, const Endpoint& endpoint) {
    Station(name, endpoint.vpc, endpoint.subnet, endpoint.addresses);
    Groups(name, endpoint.vpc, endpoint.security_groups);
    Mac(name, endpoint.vpc, endpoint.mac);
    if (endpoint.addresses.empty()) Fail(name, "no address");
    const Vpc* vpc = world_.FindVpc(endpoint.vpc);
    if (vpc != nullptr && vpc->is_provider()) Fail(name, "an endpoint in a provider network");
  }
  void Groups(const std::string& name, const std::string& vpc,
              const std::vector<std::string>& groups) {
    if (!std::is_sorted(groups.begin(), groups.end())) Fail(name, "groups that are not in order");
    for (const std::string& id : groups) {
      const SecurityGroup* group = world_.FindSecurityGroup(id);
      if (group == nullptr || group->vpc != vpc) Fail(name, "names a group that its vpc has not");
    }
  }
  void Check(const std::string& name, const SecurityGroup& group) {
    const Vpc* vpc = world_.FindVpc(group.vpc);
    if (vpc == nullptr || !vpc->vni) return Fail(name, "no overlay");
    for (const std::string& id : world_.GroupsOfVpc(group.vpc)) {
      if (world_.FindSecurityGroup(id)->stateless != group.stateless) Fail(name, "of two kinds");
    }
    for (const SecurityRule& rule : group.rules) {
      if (!rule.remote_group.empty()) Groups(name, group.vpc, {rule.remote_group});
    }
  }
  void Check(const std::string& name, const Route& route) {
    const Vpc* vpc = world_.FindVpc(route.vpc);
    if (vpc == nullptr || vpc->vlan) Fail(name, "no overlay");
    Unique(StrCat("prefix in ", route.vpc), route.prefix.ToString(), name);
    if (world_.RouteTo(route.vpc, route.prefix) != RefOf(route)) Fail(name, "not found by prefix");
    if (world_.RoutesBy(route.vpc, route.next_hop).count(std::string_view(route.id)) != 1) {
      Fail(name, "not found by next hop");
    }
    if (route.next_hop.is_v4() != route.prefix.address().is_v4()) Fail(name, "two families");
    bool reached = false;
    for (const std::string& id : world_.SubnetsOfVpc(route.vpc)) {
      const Subnet& subnet = *world_.FindSubnet(id);
      for (const auto& [prefix, gateway] : {std::pair(subnet.prefix4, subnet.gateway4),
                                            std::pair(subnet.prefix6, subnet.gateway6)}) {
        if (!prefix) continue;
        if (prefix->Overlaps(route.prefix) && prefix->length() <= route.prefix.length()) {
          Fail(name, "within a subnet");
        }
        reached |= prefix->Contains(route.next_hop) && gateway && *gateway != route.next_hop;
      }
    }
    if (!reached) Fail(name, "its next hop is in no routed subnet");
  }
  void Station(const std::string& name, const std::string& vpc, const std::string& subnet_id,
               const std::vector<IpAddress>& addresses) {
    if (world_.FindVpc(vpc) == nullptr) Fail(name, "no vpc");
    const Subnet* subnet = world_.FindSubnet(subnet_id);
    if (subnet == nullptr || subnet->vpc != vpc) return Fail(name, "no subnet in its vpc");
    for (const IpAddress& address : addresses) {
      if (!subnet->Contains(address)) Fail(name, StrCat(address.ToString(), " not in subnet"));
      Unique(StrCat("address in ", vpc), address.ToString(), name);
    }
  }
  void Gateway(const std::string& name, const Subnet& subnet, const IpAddress& gateway,
               const std::optional<IpPrefix>& prefix) {
    if (!prefix || !prefix->Contains(gateway)) Fail(name, "gateway not in its prefix");
    Unique(StrCat("address in ", subnet.vpc), gateway.ToString(), name);
    if (world_.OwnerOfAddress(subnet.vpc, gateway) != ObjectRef{ObjectKind::kSubnet, subnet.id}) {
      Fail(name, "gateway's owner is another");
    }
  }
  void Mac(const std::string& name, const std::string& vpc, const MacAddress& mac) {
    if (mac == kGatewayMac) Fail(name, "MAC is the gateway's");
    if (!mac.IsUnicast()) Fail(name, "MAC is not unicast");
    Unique(StrCat("mac in ", vpc), mac.ToString(), name);
  }

  const World& world_;
  std::map<std::string, std::string> policies_;  // groups by number, and number by groups
  std::string problem_;
  std::map<std::string, std::string> seen_;
};

}  // namespace

v1::Request RequestFromText(const std::string& text) {
  v1::Request request;
  if (!google::protobuf::TextFormat::ParseFromString(text, &request)) Die("bad request: " + text);
  request.set_protocol_version(kProtocolVersion);
  request.set_request_id("r1");
  request.set_controller_id("test");
  return request;
}

void MustApply(const std::string& text, World* world) {
  auto result = Admit(RequestFromText(text), *world, {}, {});
  if (const auto* violations = std::get_if<std::vector<Violation>>(&result)) {
    Die(StrCat("refused: ", violations->front().path, ": ", violations->front().reason));
  }
  world->Apply(std::get<Change>(result));
}

World SmallWorld() {
  World world;
  MustApply(
      R"pb(apply {
             upsert { vpc { id: "red" vni: 100 } }
             upsert { vpc { id: "blue" vni: 200 } }
             upsert {
               subnet { id: "red-1" vpc: "red" prefixes: "10.0.0.0/24" prefixes: "2001:db8::/64" }
             }
             upsert { subnet { id: "red-2" vpc: "red" prefixes: "10.0.1.0/24" } }
             upsert { subnet { id: "blue-1" vpc: "blue" prefixes: "10.0.0.0/24" } }
             upsert { vm { id: "a" uuid: "00000000-0000-4000-8000-00000000000a" } }
             upsert { vm { id: "b" uuid: "00000000-0000-4000-8000-00000000000b" } }
             upsert {
               port {
                 id: "a0"
                 vm: "a"
                 vpc: "red"
                 subnet: "red-1"
                 mac: "52:54:00:00:00:0a"
                 addresses: "10.0.0.5"
               }
             }
             upsert {
               endpoint {
                 id: "far"
                 vpc: "red"
                 mac: "52:54:00:00:00:0f"
                 addresses: "10.0.0.9"
                 vtep: "192.0.2.2"
               }
             }
           })pb",
      &world);
  return world;
}

std::string BrokenInvariant(const World& world) { return Inspector(world).Run(); }

std::string Dump(const World& world) {
  std::string text = StrCat("next ", world.next_ordinal(), "\n");
  world.ForEach([&](const StoredObject& stored) {
    v1::Object object;
    ToProto(stored.object, &object);
    StrAppend(&text, stored.generation, " ", stored.ordinal, " ", object.ShortDebugString(), "\n");
  });
  return text;
}

}  // namespace fairlead
