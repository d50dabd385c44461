// SPDX-License-Identifier: Apache-2.0
#include "agent/intent/check.h"

#include <optional>
#include <set>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "agent/base/text.h"

namespace fairlead {

std::optional<std::string> Misfit(const Subnet& subnet, const IpAddress& address) {
  const std::optional<IpPrefix>& prefix = address.is_v4() ? subnet.prefix4 : subnet.prefix6;
  if (!prefix) {
    return StrCat("subnet/", subnet.id, " has no ", address.is_v4() ? "IPv4" : "IPv6",
                  " prefix for ", address.ToString());
  }
  if (!prefix->Contains(address)) {
    return StrCat(address.ToString(), " is not in ", prefix->ToString(), " of subnet/", subnet.id);
  }
  // RFC 4291 section 2.6.1; a /127 has none (RFC 6164), and a /128 is one station.
  if (address.is_v6() && prefix->length() <= 126 && address == prefix->address()) {
    return StrCat(address.ToString(), " is the subnet-router anycast address of ",
                  prefix->ToString());
  }
  // A /31 has neither (RFC 3021), and a /32 is one station.
  if (address.is_v4() && prefix->length() <= 30) {
    if (address == prefix->address()) {
      return StrCat(address.ToString(), " is the network address of ", prefix->ToString());
    }
    if (address == prefix->Last()) {
      return StrCat(address.ToString(), " is the broadcast address of ", prefix->ToString());
    }
  }
  return std::nullopt;
}

namespace {

class Checker {
 public:
  Checker(const Draft& draft, const HostKnowledge& host, Overlay* overlay, Violations* out)
      : draft_(draft), host_(host), overlay_(*overlay), world_(overlay->world()), out_(*out) {}

  void Run() {
    for (const Candidate& c : draft_.upserts) {
      if (out_.full()) return;
      self_ = RefOf(c.object);
      std::visit([&](const auto& object) { Check(c, object); }, c.object);
    }
    for (const std::string& vpc : changed_vpcs_) CheckOverlaps(vpc);
    for (const Removal& removal : draft_.removals) {
      if (out_.full()) return;
      CheckUnused(removal);
    }
  }

 private:
  void Check(const Candidate& c, const Vpc& vpc) {
    if (!c.Ok("vni") || !c.Ok("id")) return;
    const std::string_view field = vpc.flat ? "flat" : vpc.vlan ? "vlan" : "vni";
    if (vpc.flat) {
      Claim(&flat_, true, c, field, "the host's flat network", world_.FlatVpc());
    } else if (vpc.vlan) {
      Claim(&vlans_, vpc.vlan->value(), c, field, SegmentName(vpc), world_.OwnerOfVlan(*vpc.vlan));
    } else {
      Claim(&vnis_, vpc.vni->value(), c, field, SegmentName(vpc), world_.OwnerOfVni(*vpc.vni));
    }
    const Vpc* before = world_.FindVpc(vpc.id);
    if (before == nullptr ||
        (before->vni == vpc.vni && before->vlan == vpc.vlan && before->flat == vpc.flat)) {
      return;
    }
    const std::string change = StrCat("vpc/", vpc.id, " cannot change from ", SegmentName(*before),
                                      " to ", SegmentName(vpc), " while it has ");
    if (std::string ports = Users({{{ObjectKind::kPort, &world_.PortsOfVpc(vpc.id)}}});
        !ports.empty()) {
      out_.Add(c.origin.Field(field), ViolationCode::kConflict,
               StrCat(change, "ports (", ports, ")"));
    }
    if (!vpc.is_provider()) return;
    if (std::string subnets = SubnetsOfOverlay(vpc.id); !subnets.empty()) {
      out_.Add(c.origin.Field(field), ViolationCode::kConflict,
               StrCat(change, "subnets with gateways or DNS servers (", subnets,
                      "), which are of an overlay only"));
    }
    if (std::string endpoints = Users({{}, {&world_.EndpointsOfVpc(vpc.id)}}); !endpoints.empty()) {
      out_.Add(c.origin.Field(field), ViolationCode::kConflict,
               StrCat(change, "endpoints (", endpoints, "), which need a tunnel"));
    }
    if (std::string routes = Users({{}, {&world_.RoutesOfVpc(vpc.id)}}); !routes.empty()) {
      out_.Add(c.origin.Field(field), ViolationCode::kConflict,
               StrCat(change, "routes (", routes, "), which are of an overlay only"));
    }
    if (std::string groups = Users({{{ObjectKind::kSecurityGroup, &world_.GroupsOfVpc(vpc.id)}}});
        !groups.empty()) {
      out_.Add(c.origin.Field(field), ViolationCode::kConflict,
               StrCat(change, "security groups (", groups, "), which are of an overlay only"));
    }
  }

  void Check(const Candidate& c, const Subnet& subnet) {
    if (!c.Ok("id") || !c.Ok("vpc")) return;
    if (Resolve(c, "vpc", {ObjectKind::kVpc, subnet.vpc})) CheckServed(c, subnet);
    if (c.Ok("gateways")) ClaimGateways(c, subnet);
    if (!c.Ok("prefixes")) return;
    changed_vpcs_.insert(subnet.vpc);
    const Subnet* before = world_.FindSubnet(subnet.id);
    if (before == nullptr) return;
    if (before->vpc != subnet.vpc) {
      out_.Add(c.origin.Field("vpc"), ViolationCode::kConflict,
               StrCat("subnet/", subnet.id, " belongs to vpc/", before->vpc,
                      " and cannot move to vpc/", subnet.vpc, "; remove it and create another"));
      return;
    }
    if (before->prefix4 == subnet.prefix4 && before->prefix6 == subnet.prefix6) return;
    CheckTenantsFit(c, subnet);
  }

  void Check(const Candidate& c, const Vm& vm) {
    if (!c.Ok("uuid") || !c.Ok("id")) return;
    Claim(&uuids_, vm.uuid.ToString(), c, "uuid", StrCat("UUID ", vm.uuid.ToString()),
          world_.OwnerOfUuid(vm.uuid));
  }

  void Check(const Candidate& c, const Port& port) {
    const bool vpc_there = c.Ok("vpc") && Resolve(c, "vpc", {ObjectKind::kVpc, port.vpc});
    if (c.Ok("vm") && !port.vm.empty()) Resolve(c, "vm", {ObjectKind::kVm, port.vm});
    if (c.Ok("subnet") && Resolve(c, "subnet", {ObjectKind::kSubnet, port.subnet})) {
      const Subnet* subnet = overlay_.FindSubnet(port.subnet);
      if (subnet != nullptr && vpc_there && subnet->vpc != port.vpc) {
        out_.Add(
            c.origin.Field("subnet"), ViolationCode::kInvalid,
            StrCat("subnet/", subnet->id, " is in vpc/", subnet->vpc, ", not in vpc/", port.vpc));
      } else if (subnet != nullptr) {
        for (size_t i = 0; i < port.addresses.size(); ++i) {
          CheckFits(c, *subnet, i, port.addresses[i]);
        }
      }
    }
    if (vpc_there) CheckServed(c, port);
    if (!c.Ok("vpc") || !c.Ok("id")) return;
    if (port.mac && c.Ok("mac")) ClaimMac(c, port.vpc, *port.mac);
    ClaimAddresses(c, port.vpc, port.addresses);
  }

  void Check(const Candidate& c, const Endpoint& endpoint) {
    if (!c.Ok("vpc")) return;
    Resolve(c, "vpc", {ObjectKind::kVpc, endpoint.vpc});
    if (const Vpc* vpc = overlay_.FindVpc(endpoint.vpc); vpc != nullptr && vpc->is_provider()) {
      out_.Add(c.origin.Field("vpc"), ViolationCode::kUnsupported,
               StrCat("vpc/", vpc->id, " is ", SegmentName(*vpc),
                      vpc->flat ? ", the untagged network" : "",
                      " of the NIC's own fabric, which has no tunnel: an endpoint is of an overlay "
                      "(vni) only"));
    }
    if (!endpoint.subnet.empty()) {
      const Subnet* subnet = overlay_.FindSubnet(endpoint.subnet);
      for (size_t i = 0; subnet != nullptr && i < endpoint.addresses.size(); ++i) {
        // One that is in no subnet, or in another, has its violation already.
        if (subnet->Contains(endpoint.addresses[i])) {
          CheckFits(c, *subnet, i, endpoint.addresses[i]);
        }
      }
    }
    if (!c.Ok("id")) return;
    if (c.Ok("mac")) ClaimMac(c, endpoint.vpc, endpoint.mac);
    ClaimAddresses(c, endpoint.vpc, endpoint.addresses);
  }

  void Check(const Candidate&, const Route&) {}          // CheckRoutes
  void Check(const Candidate&, const SecurityGroup&) {}  // CheckSecurityGroups

  void Refuse(const Candidate& c, std::string_view field, const Vpc& vpc, std::string_view why) {
    out_.Add(c.origin.Field(field), ViolationCode::kUnsupported,
             StrCat("vpc/", vpc.id, " is ", SegmentName(vpc), ": ", why));
  }

  // What the subnet asks for that its kind of network does not have.
  void CheckServed(const Candidate& c, const Subnet& subnet) {
    const Vpc* vpc = overlay_.FindVpc(subnet.vpc);
    if (vpc == nullptr || !vpc->is_provider()) return;
    if (subnet.gateway4 || subnet.gateway6) {
      Refuse(c, "gateways", *vpc,
             "the router of a provider network is the fabric's, not this host; leave it out");
    }
    if (!subnet.dns_servers.empty()) {
      Refuse(c, "dns_servers", *vpc,
             "who answers DHCP in a provider network is the fabric's matter; leave it out");
    }
  }

  // Only rules carry it, and nothing of this can be set where they do.
  void CheckFlat(const Candidate& c, const Port& port, const Vpc& vpc) {
    constexpr std::string_view kWhy =
        "only a NIC with an eswitch carries it, where rules always check what a port sends; leave "
        "it out";
    if (port.spoof_check == false) Refuse(c, "spoof_check", vpc, kWhy);
    if (port.trust) Refuse(c, "trust", vpc, kWhy);
  }

  // What the port asks for that its kind of network does not have in this version.
  void CheckServed(const Candidate& c, const Port& port) {
    const Vpc* vpc = overlay_.FindVpc(port.vpc);
    if (vpc == nullptr) return;
    const auto refuse = [&](std::string_view field, std::string_view why) {
      Refuse(c, field, *vpc, why);
    };
    const bool brought = port.function == FunctionSource::kHotplug;
    if (vpc->is_provider() && !brought) {
      // What a NIC cannot do of the rest is said when the port is given its VF.
      if (!port.allowed_pairs.empty()) {
        refuse("allowed_pairs", "this version knows them in overlays only; leave it out");
      }
      if (vpc->flat) CheckFlat(c, port, *vpc);
      return;
    }
    const std::string_view why =
        brought ? "the port's function is brought by hot-plug, and whoever brings it sets that; "
                  "leave it out"
                : "this version sets it on ports of VLAN networks only; leave it out";
    if (brought && !port.allowed_pairs.empty()) refuse("allowed_pairs", why);
    if (port.spoof_check) refuse("spoof_check", why);
    if (port.trust) refuse("trust", why);
    if (brought && port.max_tx_mbps != 0) refuse("max_tx_mbps", why);
    if (brought && port.min_tx_mbps != 0) refuse("min_tx_mbps", why);
  }

  bool Resolve(const Candidate& c, std::string_view field, const ObjectRef& ref) {
    if (overlay_.Exists(ref)) return true;
    const Removal* removal = overlay_.Removed(ref);
    out_.Add(c.origin.Field(field), ViolationCode::kNotFound,
             removal == nullptr ? StrCat(ref.ToString(), " is not there")
                                : StrCat(ref.ToString(), " is removed by ", removal->path));
    return false;
  }

  // `value` is to be one object's only. `owner` is who has it in the world; that
  // counts unless the message speaks about that object too.
  template <typename Map, typename Key>
  void ClaimAt(Map* claims, Key value, const Candidate& c, std::string path,
               const std::string& what, const std::optional<ObjectRef>& owner) {
    auto [it, inserted] = claims->try_emplace(std::move(value), &c);
    if (!inserted && RefOf(it->second->object) != self_) {
      out_.Add(std::move(path), ViolationCode::kConflict,
               StrCat(what, " is also asked for by ", RefOf(it->second->object).ToString(), " (",
                      it->second->origin.base, ")"));
      return;
    }
    if (!owner || *owner == self_ || overlay_.Touched(*owner)) return;
    out_.Add(std::move(path), ViolationCode::kConflict,
             StrCat(what, " is taken by ", owner->ToString(),
                    owner->kind == ObjectKind::kSubnet ? " as its gateway" : ""));
  }
  template <typename Map, typename Key>
  void Claim(Map* claims, Key value, const Candidate& c, std::string_view field,
             const std::string& what, const std::optional<ObjectRef>& owner) {
    ClaimAt(claims, std::move(value), c, c.origin.Field(field), what, owner);
  }

  void ClaimMac(const Candidate& c, const std::string& vpc, const MacAddress& mac) {
    Claim(&macs_, std::make_pair(vpc, mac), c, "mac",
          StrCat("MAC ", mac.ToString(), " in vpc/", vpc), world_.OwnerOfMac(vpc, mac));
    if (!host_.port_with_mac || world_.OwnerOfMac(vpc, mac)) return;
    const std::optional<std::string> port = host_.port_with_mac(vpc, mac);
    if (!port) return;
    const ObjectRef ref{ObjectKind::kPort, *port};
    if (ref == self_ || overlay_.Touched(ref)) return;
    if (world_.Find(ref) == nullptr) return;  // removed: its end is waited for
    out_.Add(c.origin.Field("mac"), ViolationCode::kConflict,
             StrCat("MAC ", mac.ToString(), " in vpc/", vpc, " is that of the VF which ",
                    ref.ToString(), " has"));
  }

  void ClaimAddresses(const Candidate& c, const std::string& vpc,
                      const std::vector<IpAddress>& addresses) {
    for (size_t i = 0; i < addresses.size(); ++i) {
      ClaimAt(&addresses_, std::make_pair(vpc, addresses[i]), c,
              c.origin.Element("addresses", c.positions[i]),
              StrCat(addresses[i].ToString(), " in vpc/", vpc),
              world_.OwnerOfAddress(vpc, addresses[i]));
    }
  }

  // They fit their prefixes, and are nobody else's.
  void ClaimGateways(const Candidate& c, const Subnet& subnet) {
    size_t i = 0;
    for (const std::optional<IpAddress>& gateway : {subnet.gateway4, subnet.gateway6}) {
      if (!gateway) continue;
      const std::string path = c.origin.Element("gateways", c.gateway_positions[i++]);
      std::optional<std::string> misfit;
      if (c.Ok("prefixes")) misfit = Misfit(subnet, *gateway);
      if (misfit) {
        out_.Add(path, ViolationCode::kInvalid, *std::move(misfit));
        continue;
      }
      ClaimAt(&addresses_, std::make_pair(subnet.vpc, *gateway), c, path,
              StrCat(gateway->ToString(), " in vpc/", subnet.vpc),
              world_.OwnerOfAddress(subnet.vpc, *gateway));
    }
  }

  void CheckFits(const Candidate& c, const Subnet& subnet, size_t i, const IpAddress& address) {
    if (std::optional<std::string> misfit = Misfit(subnet, address)) {
      out_.Add(c.origin.Element("addresses", c.positions[i]), ViolationCode::kInvalid,
               *std::move(misfit));
    }
  }

  // A subnet's prefixes change: what is in it and not in the message must fit.
  void CheckTenantsFit(const Candidate& c, const Subnet& subnet) {
    const auto check = [&](const ObjectRef& ref, const std::vector<IpAddress>& addresses) {
      if (out_.full() || overlay_.Touched(ref)) return;
      for (const IpAddress& address : addresses) {
        if (std::optional<std::string> misfit = Misfit(subnet, address)) {
          out_.Add(c.origin.Field("prefixes"), ViolationCode::kConflict,
                   StrCat(ref.ToString(), " would no longer fit: ", *misfit));
        }
      }
    };
    for (const std::string& id : world_.PortsOfSubnet(subnet.id)) {
      if (const Port* p = world_.FindPort(id)) check({ObjectKind::kPort, id}, p->addresses);
    }
    for (const StoredObject* stored : world_.EndpointsOfSubnet(subnet.id)) {
      check(RefOf(stored->object), std::get<Endpoint>(stored->object).addresses);
    }
  }

  // Prefixes nest or are disjoint: sorted by address, what overlaps one follows
  // it directly.
  void CheckOverlaps(const std::string& vpc) {
    const std::vector<SubnetPrefix>& list = overlay_.PrefixesOf(vpc);
    for (size_t i = 0; i < list.size(); ++i) {
      for (size_t j = i + 1; j < list.size() && list[j].prefix.Overlaps(list[i].prefix); ++j) {
        if (out_.full()) return;
        const bool report_j = list[j].candidate > list[i].candidate;  // later in the message
        const SubnetPrefix& mine = report_j ? list[j] : list[i];
        const SubnetPrefix& other = report_j ? list[i] : list[j];
        if (mine.candidate == nullptr || mine.subnet == other.subnet) continue;
        const bool second = mine.prefix.address().is_v6() && mine.subnet->prefix4.has_value();
        out_.Add(mine.candidate->origin.Element("prefixes", mine.candidate->positions[second]),
                 ViolationCode::kConflict,
                 StrCat(mine.prefix.ToString(), " overlaps ", other.prefix.ToString(),
                        " of subnet/", other.subnet->id, " in vpc/", vpc));
      }
    }
  }

  struct Referrers {
    std::vector<std::pair<ObjectKind, const std::set<std::string>*>> ids = {};
    std::vector<const ObjectSet*> objects = {};
  };

  // The first few of these that stay as they are, for a sentence; "" if none.
  std::string Users(const Referrers& referrers) {
    constexpr size_t kMaxNamed = 5;
    std::vector<std::string> named;
    bool more = false;
    const auto name = [&](const ObjectRef& ref) {
      if (overlay_.Touched(ref)) return;
      more = named.size() == kMaxNamed;
      if (!more) named.push_back(ref.ToString());
    };
    for (const auto& [kind, ids] : referrers.ids) {
      for (auto id = ids->begin(); id != ids->end() && !more; ++id) name({kind, *id});
    }
    for (const ObjectSet* all : referrers.objects) {
      for (auto it = all->begin(); it != all->end() && !more; ++it) name(RefOf((*it)->object));
    }
    return StrCat(StrJoin(named, ", "), more ? " and more" : "");
  }

  // The VPC's subnets that stay as they are, of those that ask for what only an overlay has.
  std::string SubnetsOfOverlay(const std::string& vpc) {
    std::set<std::string> ids;
    for (const std::string& id : world_.SubnetsOfVpc(vpc)) {
      const Subnet* subnet = world_.FindSubnet(id);
      if (subnet != nullptr &&
          (subnet->gateway4 || subnet->gateway6 || !subnet->dns_servers.empty())) {
        ids.insert(id);
      }
    }
    return Users({{{ObjectKind::kSubnet, &ids}}});
  }

  // Upserts that use what is removed get a violation of their own (Resolve).
  void CheckUnused(const Removal& removal) {
    const std::string& id = removal.ref.id;
    Referrers referrers;
    switch (removal.ref.kind) {
      case ObjectKind::kVpc:
        referrers.ids = {{ObjectKind::kSubnet, &world_.SubnetsOfVpc(id)},
                         {ObjectKind::kPort, &world_.PortsOfVpc(id)},
                         {ObjectKind::kSecurityGroup, &world_.GroupsOfVpc(id)}};
        referrers.objects = {&world_.EndpointsOfVpc(id), &world_.RoutesOfVpc(id)};
        break;
      case ObjectKind::kSubnet:
        referrers.ids = {{ObjectKind::kPort, &world_.PortsOfSubnet(id)}};
        referrers.objects = {&world_.EndpointsOfSubnet(id)};
        break;
      case ObjectKind::kVm:
        referrers.ids = {{ObjectKind::kPort, &world_.PortsOfVm(id)}};
        break;
      case ObjectKind::kPort:
      case ObjectKind::kEndpoint:
      case ObjectKind::kRoute:
      case ObjectKind::kSecurityGroup:  // CheckSecurityGroups
        return;
    }
    std::string users = Users(referrers);
    if (users.empty()) return;
    out_.Add(removal.path, ViolationCode::kConflict,
             StrCat(removal.ref.ToString(), " is still used by ", users,
                    "; remove these first or in the same message"));
  }

  const Draft& draft_;
  const HostKnowledge& host_;
  Overlay& overlay_;
  const World& world_;
  Violations& out_;
  ObjectRef self_;
  std::set<std::string> changed_vpcs_;
  absl::flat_hash_map<uint32_t, const Candidate*> vnis_, vlans_;
  absl::flat_hash_map<bool, const Candidate*> flat_;
  absl::flat_hash_map<std::string, const Candidate*> uuids_;
  absl::flat_hash_map<std::pair<std::string, MacAddress>, const Candidate*> macs_;
  absl::flat_hash_map<std::pair<std::string, IpAddress>, const Candidate*> addresses_;
};

}  // namespace

void CheckDuplicates(const Draft& draft, const Overlay& overlay, Violations* out) {
  for (const Candidate& c : draft.upserts) {
    if (!c.Ok("id")) continue;
    const Candidate* first = overlay.Upserted(RefOf(c.object));
    if (first == &c) continue;
    out->Add(c.origin.base, ViolationCode::kInvalid,
             StrCat(RefOf(c.object).ToString(), " is in this message twice; first at ",
                    first->origin.base));
  }
  for (const Removal& r : draft.removals) {
    const Removal* first = overlay.Removed(r.ref);
    if (first != &r) {
      out->Add(r.path, ViolationCode::kInvalid,
               StrCat(r.ref.ToString(), " is removed twice; first at ", first->path));
    } else if (const Candidate* upsert = overlay.Upserted(r.ref)) {
      out->Add(r.path, ViolationCode::kInvalid,
               StrCat(r.ref.ToString(), " is both removed and asked for at ", upsert->origin.base));
    }
  }
}

void DeriveEndpointSubnets(Draft* draft, Overlay* overlay, Violations* out) {
  for (Candidate& c : draft->upserts) {
    Endpoint* endpoint = std::get_if<Endpoint>(&c.object);
    if (endpoint == nullptr || !c.Ok("vpc")) continue;
    if (!overlay->Exists({ObjectKind::kVpc, endpoint->vpc})) continue;  // Resolve says so
    for (size_t i = 0; i < endpoint->addresses.size(); ++i) {
      const IpAddress& address = endpoint->addresses[i];
      const Subnet* subnet = overlay->SubnetOf(endpoint->vpc, address);
      const std::string path = c.origin.Element("addresses", c.positions[i]);
      if (subnet == nullptr) {
        out->Add(path, ViolationCode::kNotFound,
                 StrCat("no subnet of vpc/", endpoint->vpc, " has ", address.ToString()));
      } else if (endpoint->subnet.empty()) {
        endpoint->subnet = subnet->id;
      } else if (endpoint->subnet != subnet->id) {
        out->Add(path, ViolationCode::kInvalid,
                 StrCat(address.ToString(), " is in subnet/", subnet->id,
                        ", other addresses of this endpoint in subnet/", endpoint->subnet,
                        "; one endpoint is in one subnet"));
      }
    }
  }
}

void CheckResult(const Draft& draft, const HostKnowledge& host, Overlay* overlay, Violations* out) {
  Checker(draft, host, overlay, out).Run();
}

void CheckVtepFamilies(const Draft& draft, const IpAddress& tunnel_local, Violations* out) {
  for (const Candidate& c : draft.upserts) {
    const auto* endpoint = std::get_if<Endpoint>(&c.object);
    if (endpoint == nullptr || !c.Ok("vtep")) continue;
    if (endpoint->vtep.is_v4() == tunnel_local.is_v4()) continue;
    out->Add(c.origin.Field("vtep"), ViolationCode::kUnsupported,
             StrCat(endpoint->vtep.ToString(), " is ", endpoint->vtep.is_v4() ? "IPv4" : "IPv6",
                    ", and this host's tunnel ends at ", tunnel_local.ToString(),
                    ": give the endpoint's VTEP in that family"));
  }
}

}  // namespace fairlead
