// SPDX-License-Identifier: Apache-2.0
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

ObjectRef Ref(const Route& route) { return {ObjectKind::kRoute, route.id}; }

class RouteChecker {
 public:
  RouteChecker(const Draft& draft, Overlay* overlay, Violations* out)
      : draft_(draft), overlay_(*overlay), world_(overlay->world()), out_(*out) {}

  void Run() {
    std::set<std::string> vpcs, resubnetted;
    for (const Candidate& c : draft_.upserts) {
      if (const auto* subnet = std::get_if<Subnet>(&c.object)) {
        if (!c.Ok("vpc")) continue;
        resubnetted.insert(subnet->vpc);
        if (!c.Ok("prefixes")) unsure_.insert(subnet->vpc);
      } else if (const auto* route = std::get_if<Route>(&c.object)) {
        if (!c.Ok("id") || !c.Ok("vpc") || overlay_.Upserted(Ref(*route)) != &c) continue;
        if (CheckVpc(c, *route)) vpcs.insert(route->vpc);
        if (c.Ok("prefix")) ClaimPrefix(c, *route);
      }
    }
    for (const Removal& removal : draft_.removals) {
      const Subnet* subnet =
          removal.ref.kind == ObjectKind::kSubnet ? world_.FindSubnet(removal.ref.id) : nullptr;
      if (subnet != nullptr) resubnetted.insert(subnet->vpc);
    }
    for (const std::string& vpc : vpcs) CheckNew(vpc);
    for (const std::string& vpc : resubnetted) CheckStanding(vpc);
  }

 private:
  bool CheckVpc(const Candidate& c, const Route& route) {
    const ObjectRef ref{ObjectKind::kVpc, route.vpc};
    if (!overlay_.Exists(ref)) {
      const Removal* removal = overlay_.Removed(ref);
      out_.Add(c.origin.Field("vpc"), ViolationCode::kNotFound,
               removal == nullptr ? StrCat(ref.ToString(), " is not there")
                                  : StrCat(ref.ToString(), " is removed by ", removal->path));
      return false;
    }
    const Vpc* vpc = overlay_.FindVpc(route.vpc);
    if (vpc == nullptr || !vpc->vlan) return vpc != nullptr;
    out_.Add(c.origin.Field("vpc"), ViolationCode::kUnsupported,
             StrCat("vpc/", vpc->id, " is ", SegmentName(*vpc),
                    " of the NIC's own fabric, whose router is not this host: a route is of an "
                    "overlay (vni) only"));
    return false;
  }

  // Hardware spreads nothing over several next hops.
  void ClaimPrefix(const Candidate& c, const Route& route) {
    const std::string what = StrCat(route.prefix.ToString(), " in vpc/", route.vpc);
    constexpr char kOne[] = "; a prefix has one next hop";
    const auto [it, inserted] = claims_.try_emplace({route.vpc, route.prefix}, &c);
    if (!inserted) {
      out_.Add(c.origin.Field("prefix"), ViolationCode::kConflict,
               StrCat(what, " is also that of ", RefOf(it->second->object).ToString(), " (",
                      it->second->origin.base, ")", kOne));
      return;
    }
    const std::optional<ObjectRef> owner = world_.RouteTo(route.vpc, route.prefix);
    if (!owner || *owner == Ref(route) || overlay_.Touched(*owner)) return;
    out_.Add(c.origin.Field("prefix"), ViolationCode::kConflict,
             StrCat(what, " is that of ", owner->ToString(), kOne));
  }

  void CheckNew(const std::string& vpc) {
    size_t standing = 0;
    for (const StoredObject* stored : world_.RoutesOfVpc(vpc)) {
      standing += overlay_.Touched(RefOf(stored->object)) ? 0 : 1;
    }
    const Candidate* last = nullptr;
    size_t asked = 0;
    for (const Candidate& c : draft_.upserts) {
      const auto* route = std::get_if<Route>(&c.object);
      if (out_.full()) return;
      if (route == nullptr || route->vpc != vpc || overlay_.Upserted(Ref(*route)) != &c) continue;
      ++asked;
      last = &c;
      if (unsure_.contains(vpc)) continue;
      if (c.Ok("prefix")) {
        if (const auto problem = ProblemOfPrefix(*route)) {
          out_.Add(c.origin.Field("prefix"), problem->code, problem->words);
        }
      }
      if (c.Ok("next_hop")) {
        if (const auto problem = ProblemOfNextHop(*route)) {
          out_.Add(c.origin.Field("next_hop"), problem->code, problem->words);
        }
      }
    }
    if (standing + asked <= kMaxRoutes) return;
    out_.Add(last->origin.base, ViolationCode::kInvalid,
             StrCat("vpc/", vpc, " would have ", standing + asked, " routes; ", kMaxRoutes,
                    " are possible at most"));
  }

  // Routes that the message leaves as they are, beside subnets that it changes.
  void CheckStanding(const std::string& vpc) {
    // That a VPC goes which still has routes is said of the VPC.
    if (unsure_.contains(vpc) || !overlay_.Exists({ObjectKind::kVpc, vpc})) return;
    for (const StoredObject* stored : world_.RoutesOfVpc(vpc)) {
      const auto& route = std::get<Route>(stored->object);
      if (out_.full()) return;
      if (overlay_.Touched(Ref(route))) continue;
      std::optional<Problem> problem = ProblemOfPrefix(route);
      if (!problem) problem = ProblemOfNextHop(route);
      if (!problem) continue;
      out_.Add(PathOf(problem->subnet, problem->field), ViolationCode::kConflict,
               StrCat("route/", route.id, " would no longer fit: ", problem->words));
    }
  }

  struct Problem {
    std::string subnet;      // whose it is
    std::string_view field;  // of that
    ViolationCode code;
    std::string words;
  };

  std::optional<Problem> ProblemOfPrefix(const Route& route) {
    const Subnet* subnet = overlay_.SubnetOf(route.vpc, route.prefix.address());
    if (subnet == nullptr) return std::nullopt;
    const IpPrefix& own = *(route.prefix.address().is_v4() ? subnet->prefix4 : subnet->prefix6);
    if (own.length() > route.prefix.length()) return std::nullopt;
    return Problem{subnet->id, "prefixes", ViolationCode::kConflict,
                   StrCat(route.prefix.ToString(), own == route.prefix ? " is " : " lies in ",
                          own == route.prefix ? "that" : own.ToString(), " of subnet/", subnet->id,
                          ", whose addresses are its ports' and endpoints'")};
  }

  std::optional<Problem> ProblemOfNextHop(const Route& route) {
    const IpAddress& hop = route.next_hop;
    const Subnet* subnet = overlay_.SubnetOf(route.vpc, hop);
    if (subnet == nullptr) {
      return Problem{FormerSubnetOf(route.vpc, hop), "prefixes", ViolationCode::kNotFound,
                     StrCat("no subnet of vpc/", route.vpc, " has the next hop ", hop.ToString())};
    }
    const Candidate* c = overlay_.Upserted({ObjectKind::kSubnet, subnet->id});
    if (c != nullptr && !c->Ok("gateways")) return std::nullopt;
    const std::optional<IpAddress>& gateway = hop.is_v4() ? subnet->gateway4 : subnet->gateway6;
    if (!gateway) {
      return Problem{
          subnet->id, "gateways", ViolationCode::kInvalid,
          StrCat("subnet/", subnet->id, ", which has the next hop ", hop.ToString(), ", has no ",
                 hop.is_v4() ? "IPv4" : "IPv6", " gateway: nothing is routed there")};
    }
    if (hop == *gateway) {
      return Problem{subnet->id, "gateways", ViolationCode::kInvalid,
                     StrCat("the next hop ", hop.ToString(), " is the gateway of subnet/",
                            subnet->id, "; it is to be a port's or an endpoint's address")};
    }
    std::optional<std::string> misfit = Misfit(*subnet, hop);
    if (!misfit) return std::nullopt;
    return Problem{subnet->id, "prefixes", ViolationCode::kInvalid, *std::move(misfit)};
  }

  std::string FormerSubnetOf(const std::string& vpc, const IpAddress& address) const {
    for (const std::string& id : world_.SubnetsOfVpc(vpc)) {
      if (world_.FindSubnet(id)->Contains(address)) return id;
    }
    return "";
  }

  // Where the message speaks of a subnet.
  std::string PathOf(const std::string& subnet, std::string_view field) const {
    const ObjectRef ref{ObjectKind::kSubnet, subnet};
    if (const Candidate* c = overlay_.Upserted(ref)) return c->origin.Field(field);
    const Removal* removal = overlay_.Removed(ref);
    return removal == nullptr ? "" : removal->path;
  }

  const Draft& draft_;
  Overlay& overlay_;
  const World& world_;
  Violations& out_;
  std::set<std::string> unsure_;  // VPCs of which the message has a subnet that cannot be read
  std::map<std::pair<std::string, IpPrefix>, const Candidate*> claims_;
};

}  // namespace

void CheckRoutes(const Draft& draft, Overlay* overlay, Violations* out) {
  RouteChecker(draft, overlay, out).Run();
}

}  // namespace fairlead
