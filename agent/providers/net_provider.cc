// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/net_provider.h"

#include <errno.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/providers/default_drop.h"
#include "agent/providers/tunnel_device.h"

namespace fairlead {
namespace {

// No packet leaves the host by it: whatever MTU it has says nothing.
bool HoldsAddressesOnly(const LinkInfo& link) {
  return link.loopback || link.kind == "dummy" || link.kind == "vrf";
}

}  // namespace

absl::StatusOr<std::optional<ObservedResource>> NetProvider::ObserveTunnel() {
  const absl::StatusOr<LinkInfo> link = FindTunnelDevice(*rtnetlink_, *config_);
  if (absl::IsNotFound(link.status())) return std::nullopt;
  if (!link.ok()) return link.status();
  ObservedResource tunnel;
  tunnel.key = TunnelKey();
  TunnelSpec spec;
  spec.device = link->name;
  spec.local = config_->tunnel.local;  // the device has none: rules name it
  spec.udp_port = link->tunnel_port;
  spec.mtu = link->mtu;
  spec.up = link->up;
  const std::optional<Encapsulation> kind = OwnTunnelKind(*link, *config_->marks);
  tunnel.ours = kind.has_value();
  spec.encapsulation = kind.value_or(spec.encapsulation);
  tunnel.mark = StoreOfAlias(link->alias);
  if (!tunnel.ours) {
    tunnel.owner_words = absl::StrCat(
        "the link ", link->name,
        link->alias.empty() ? std::string(" without a mark")
                            : absl::StrCat(" with the mark '", link->alias, "'"),
        link->alias.starts_with("fairlead ") ? ", of a Fairlead with another store" : "");
  }
  if (tunnel.ours) {
    FAIRLEAD_ASSIGN_OR_RETURN(spec.default_drop,
                              HasDefaultDrop(*tc_, {RuleTable::Kind::kTunnelIngress, {}},
                                             {0, link->ifindex}, *config_->marks));
  }
  tunnel.spec = std::move(spec);
  tunnel.ifindex = link->ifindex;
  return tunnel;
}

absl::StatusOr<UnderlayFacts> NetProvider::ObserveUnderlay() {
  const IpAddress& local = config_->tunnel.local;
  UnderlayFacts underlay;
  const absl::StatusOr<uint32_t> owner = rtnetlink_->LinkOfAddress(local);
  if (absl::IsNotFound(owner.status())) {
    underlay.unknown = absl::StrCat("no device of this host has tunnel.local, ", local.ToString());
    return underlay;
  }
  if (!owner.ok()) return owner.status();
  FAIRLEAD_ASSIGN_OR_RETURN(const LinkInfo link, rtnetlink_->GetLink(*owner));
  underlay.links = {link.ifindex};
  if (!HoldsAddressesOnly(link)) {
    underlay.netdev = link.name;
    underlay.mtu = link.mtu;
    return underlay;
  }
  // Where hosts are routed to, several NICs share the way to others.
  FAIRLEAD_ASSIGN_OR_RETURN(underlay.links, rtnetlink_->DefaultRouteLinks());
  for (const uint32_t ifindex : underlay.links) {
    const absl::StatusOr<LinkInfo> one = rtnetlink_->GetLink(ifindex);
    if (absl::IsNotFound(one.status())) continue;
    if (!one.ok()) return one.status();
    if (underlay.mtu != 0 && one->mtu >= underlay.mtu) continue;
    underlay.netdev = one->name;
    underlay.mtu = one->mtu;
  }
  if (underlay.mtu == 0) {
    underlay.unknown = absl::StrCat("tunnel.local, ", local.ToString(), ", is on ", link.name,
                                    ", and no default route leads out of the host");
  }
  return underlay;
}

absl::StatusOr<ObservedResource> NetProvider::PutTunnel(const TunnelSpec& wanted) {
  const absl::StatusOr<RouteInfo> route = rtnetlink_->GetRoute(wanted.local);
  if (!route.ok() && !absl::IsNotFound(route.status()) && ErrnoOf(route.status()) != ENETUNREACH) {
    return route.status();
  }
  if (!route.ok() || !route->local) {
    return absl::FailedPreconditionError(
        absl::StrCat("the tunnel's local address ", wanted.local.ToString(),
                     " is not an address of this host: add it to the underlay's interface, or "
                     "correct tunnel.local in the configuration"));
  }
  absl::StatusOr<LinkInfo> link = rtnetlink_->GetLink(wanted.device);
  const bool made = absl::IsNotFound(link.status());
  if (made) {
    FAIRLEAD_ASSIGN_OR_RETURN(const uint32_t ifindex,
                              rtnetlink_->CreateTunnel({wanted.device, wanted.encapsulation,
                                                        wanted.udp_port, config_->marks->Alias()}));
    link = rtnetlink_->GetLink(ifindex);
  }
  if (!link.ok()) return link.status();
  if (OwnTunnelKind(*link, *config_->marks) != wanted.encapsulation) {
    return absl::AlreadyExistsError(
        absl::StrCat("a link named ", wanted.device,
                     " is there that this agent did not make; remove it, or give the tunnel "
                     "another name in the configuration (tunnel.device)"));
  }
  const absl::Status status = [&]() -> absl::Status {
    FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetAddrGenNone(link->ifindex, true));
    if (link->mtu != wanted.mtu) {
      FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetMtu(link->ifindex, wanted.mtu));
    }
    FAIRLEAD_ASSIGN_OR_RETURN(const TcQdiscInfo qdisc, tc_->GetQdisc(link->ifindex));
    if (!qdisc.clsact) {
      FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetLinkUp(link->ifindex, false));
      FAIRLEAD_RETURN_IF_ERROR(tc_->AddClsact(link->ifindex, 0));
    }
    FAIRLEAD_RETURN_IF_ERROR(PutDefaultDrop(*tc_, {RuleTable::Kind::kTunnelIngress, {}},
                                            {0, link->ifindex}, *config_->marks));
    return rtnetlink_->SetLinkUp(link->ifindex, true);
  }();
  if (!status.ok()) {
    // A device that did not come to stand is not left behind.
    if (made) rtnetlink_->DeleteLink(link->ifindex).IgnoreError();
    return status;
  }
  FAIRLEAD_ASSIGN_OR_RETURN(std::optional<ObservedResource> now, ObserveTunnel());
  if (!now) return absl::UnavailableError(absl::StrCat(wanted.device, " vanished again"));
  return *std::move(now);
}

absl::Status NetProvider::DeleteTunnel(const TunnelSpec& there) {
  const absl::StatusOr<LinkInfo> link = rtnetlink_->GetLink(there.device);
  if (absl::IsNotFound(link.status())) return absl::OkStatus();
  if (!link.ok()) return link.status();
  if (!config_->marks->OwnsAlias(link->alias)) {
    return absl::AlreadyExistsError(
        absl::StrCat(there.device, " is not this agent's any more: left alone"));
  }
  return rtnetlink_->DeleteLink(link->ifindex);
}

absl::StatusOr<NetProvider::Hop> NetProvider::HopOf(const IpAddress& outer) {
  FAIRLEAD_ASSIGN_OR_RETURN(const RouteInfo route, rtnetlink_->GetRoute(outer));
  if (route.local) {
    return absl::NotFoundError(absl::StrCat(outer.ToString(), " is an address of this host"));
  }
  if (route.ifindex == 0) {
    return absl::NotFoundError(absl::StrCat("no unicast route to ", outer.ToString()));
  }
  return Hop{route.ifindex, route.gateway.value_or(outer)};
}

ObservedResource NetProvider::Describe(const IpAddress& outer, const NeighbourInfo* entry,
                                       const std::string& detail, NeighbourState state) const {
  ObservedResource observed;
  observed.key = NeighbourKey(outer);
  observed.spec = NeighbourSpec{outer};
  observed.neighbour = state;
  observed.neighbour_detail = detail;
  if (entry != nullptr) {
    observed.neighbour =
        entry->state == NudState::kValid ? NeighbourState::kResolved : NeighbourState::kUnresolved;
    observed.neighbour_detail =
        absl::StrCat(entry->address.ToString(), " ",
                     entry->mac ? absl::StrCat("lladdr ", entry->mac->ToString(), " ") : "",
                     // REACHABLE, STALE, DELAY and PROBE follow one another all the
                     // time and mean the same here.
                     entry->state == NudState::kValid ? "resolved" : entry->state_name);
  }
  return observed;
}

absl::StatusOr<std::vector<ObservedResource>> NetProvider::ObserveNeighbours(
    std::span<const IpAddress> outer) {
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<NeighbourInfo> own, rtnetlink_->ListOwnNeighbours());
  std::vector<ObservedResource> result;
  std::set<Hop> used;
  for (const IpAddress& peer : outer) {
    const absl::StatusOr<Hop> hop = HopOf(peer);
    if (!hop.ok()) {
      if (const auto known = hops_.find(peer); known != hops_.end()) {
        used.insert(known->second);
        result.push_back(
            Describe(peer, nullptr, std::string(hop.status().message()), NeighbourState::kNoRoute));
      }
      continue;
    }
    const auto entry = std::find_if(own.begin(), own.end(), [&](const NeighbourInfo& n) {
      return n.ifindex == hop->first && n.address == hop->second;
    });
    if (entry == own.end()) {
      // Somebody else's entry serves as well as one of ours.
      const absl::StatusOr<NeighbourInfo> there = rtnetlink_->GetNeighbour(hop->first, hop->second);
      if (!there.ok() || !there->kept_by_others()) continue;
      result.push_back(Describe(peer, &*there, "", NeighbourState::kUnknown));
    } else {
      result.push_back(Describe(peer, &*entry, "", NeighbourState::kUnknown));
    }
    used.insert(*hop);
    hops_[peer] = *hop;
  }
  for (const NeighbourInfo& entry : own) {
    if (used.contains({entry.ifindex, entry.address})) continue;
    const bool listed = std::find(outer.begin(), outer.end(), entry.address) != outer.end();
    if (!listed) result.push_back(Describe(entry.address, &entry, "", NeighbourState::kUnknown));
  }
  return result;
}

absl::StatusOr<ObservedResource> NetProvider::PutNeighbour(const NeighbourSpec& wanted) {
  const absl::StatusOr<Hop> hop = HopOf(wanted.outer);
  if (!hop.ok()) {
    hops_.try_emplace(wanted.outer);  // what is known of it stays, to be deleted some day
    return Describe(wanted.outer, nullptr, std::string(hop.status().message()),
                    NeighbourState::kNoRoute);
  }
  FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->ManageNeighbour(hop->first, hop->second));
  const Hop before = std::exchange(hops_[wanted.outer], *hop);
  FAIRLEAD_RETURN_IF_ERROR(Release(before));  // its route has changed
  FAIRLEAD_ASSIGN_OR_RETURN(const NeighbourInfo entry,
                            rtnetlink_->GetNeighbour(hop->first, hop->second));
  return Describe(wanted.outer, &entry, "", NeighbourState::kUnknown);
}

absl::Status NetProvider::Release(const Hop& hop) {
  if (hop.first == 0) return absl::OkStatus();
  const bool needed = std::any_of(hops_.begin(), hops_.end(),
                                  [&](const auto& entry) { return entry.second == hop; });
  return needed ? absl::OkStatus() : rtnetlink_->DeleteNeighbour(hop.first, hop.second);
}

absl::Status NetProvider::DeleteNeighbour(const NeighbourSpec& there) {
  if (const auto known = hops_.extract(there.outer)) return Release(known.mapped());
  // Left by an earlier run. The link is the one that the entry is on, wherever a route
  // to its address leads today.
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<NeighbourInfo> own, rtnetlink_->ListOwnNeighbours());
  for (const NeighbourInfo& entry : own) {
    if (entry.address != there.outer) continue;
    FAIRLEAD_RETURN_IF_ERROR(Release({entry.ifindex, entry.address}));
  }
  return absl::OkStatus();
}

}  // namespace fairlead
