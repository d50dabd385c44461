// SPDX-License-Identifier: Apache-2.0
//
// Static routes: a unit and a rule each. What a rule does hangs on who has the route's next hop,
// so whoever gets an address, or loses it, marks the routes that lead there.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {

absl::StatusOr<NextHop> Engine::NextHopOf(const Route& route) const {
  const std::optional<ObjectRef> owner = world_.OwnerOfAddress(route.vpc, route.next_hop);
  if (!owner || owner->kind == ObjectKind::kSubnet) {
    return absl::NotFoundError(absl::StrCat("no port or endpoint of VPC ", route.vpc,
                                            " has its next hop ", route.next_hop.ToString()));
  }
  const std::string name =
      absl::StrCat(owner->ToString(), ", which has its next hop ", route.next_hop.ToString(), ",");
  if (owner->kind == ObjectKind::kEndpoint) {
    const Endpoint& endpoint = *world_.FindEndpoint(owner->id);
    if (endpoint.vtep == config_.compile.tunnel.local) {
      return absl::NotFoundError(absl::StrCat(name, " is said to be behind this host's own VTEP"));
    }
    if (!facts_.tunnel) return &endpoint;
    if (const absl::Status why = WhyNotToEndpoint(endpoint); !why.ok()) {
      return absl::NotFoundError(absl::StrCat(name, " is not led to: ", why.message()));
    }
    return &endpoint;
  }
  if (const auto bound = bound_.find(owner->id); bound != bound_.end()) return &bound->second;
  const Attachment* attachment = AttachmentOf(owner->id);
  const bool stays = attachment != nullptr && (attachment->phase == AttachmentPhase::kReady ||
                                               attachment->phase == AttachmentPhase::kApplying);
  if (stays && attachment->vf.pf.is_hotplug_port()) {
    return absl::NotFoundError(
        absl::StrCat(name, " has a function that hot-plug brings: no rule here leads to it"));
  }
  if (stays && !ErrorOfNic(attachment->vf).ok()) {
    return absl::UnavailableError(
        absl::StrCat(name, " cannot be looked at: ", ErrorOfNic(attachment->vf).message()));
  }
  return absl::NotFoundError(absl::StrCat(name, " is not attached here"));
}

absl::StatusOr<std::vector<Resource>> Engine::CompileRouteUnit(const Unit& unit) const {
  const StoredObject* stored = world_.Find({ObjectKind::kRoute, unit.ref.id});
  absl::StatusOr<std::optional<EndpointContext>> context = EndpointContextOf(unit.vpc);
  if (!context.ok()) return context.status();
  if (stored == nullptr || !*context) return std::vector<Resource>{};
  const absl::StatusOr<NextHop> next_hop = NextHopOf(std::get<Route>(stored->object));
  return std::vector<Resource>{CompileRoute(
      (*context)->vpc, *stored, next_hop.ok() ? *next_hop : NextHop(), (*context)->any_vf)};
}

// The rule of a route to a port whose NIC does not answer is left as it is: after a restart it is
// not known what that would be. Whatever is learned of the NIC marks the route.
bool Engine::StandsStill(const Unit& unit) const {
  const Route* route = unit.ref.kind == UnitKind::kRoute ? world_.FindRoute(unit.ref.id) : nullptr;
  return route != nullptr && absl::IsUnavailable(NextHopOf(*route).status());
}

void Engine::MarkRoutesBy(const std::string& vpc, const std::vector<IpAddress>& next_hops) {
  for (const IpAddress& next_hop : next_hops) {
    for (const StoredObject* route : world_.RoutesBy(vpc, next_hop)) {
      const UnitRef ref{UnitKind::kRoute, IdOf(route->object)};
      UnitOf(ref, vpc).retry_at.reset();  // what failed was another rule
      MarkDirty(ref);
    }
  }
}

void Engine::MarkRoutesBy(const std::string& port) {
  if (const Port* object = world_.FindPort(port)) MarkRoutesBy(object->vpc, object->addresses);
}

void Engine::AnnounceRoutesBy(const Endpoint& endpoint) {
  for (const IpAddress& next_hop : endpoint.addresses) {
    for (const StoredObject* route : world_.RoutesBy(endpoint.vpc, next_hop)) {
      Announce(RefOf(route->object));
    }
  }
}

// Of a route whose rule stands as it is wanted.
void Engine::AddNextHop(const Route& route, ObjectStatus& status) const {
  const absl::StatusOr<NextHop> next_hop = NextHopOf(route);
  if (!next_hop.ok()) {
    const bool unknown = absl::IsUnavailable(next_hop.status());
    status.state = unknown ? ObjectState::kDegraded : ObjectState::kPending;
    status.reason = std::string(next_hop.status().message());
  } else if (const auto* endpoint = std::get_if<const Endpoint*>(&*next_hop)) {
    AddPeer(**endpoint, status);
  }
}

std::string Engine::RouteStillSentTo(const Attachment& attachment) const {
  if (!attachment.vni) return "";  // routes are of an overlay
  const RuleTable block{RuleTable::Kind::kVpcBlock, *attachment.vni};
  const Observed::Rules& rules = observed_.TableOf(block).rules;
  for (auto it = rules.begin(); it != rules.end();) {
    const uint32_t chain = it->first.chain;
    for (it = rules.lower_bound({chain, kPrioStatic4, 0});
         it != rules.end() && it->first.chain == chain && IsStaticRoute(it->first); ++it) {
      const RuleLocation at = At(block, it->first);
      if (MaySendTo(FlowRuleKey(at), attachment.vf)) return at.ToString();
    }
    it = rules.lower_bound({chain + 1, 0, 0});
  }
  return "";
}

}  // namespace fairlead
