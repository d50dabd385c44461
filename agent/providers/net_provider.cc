// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/net_provider.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/providers/default_drop.h"

namespace fairlead {

absl::StatusOr<std::optional<ObservedResource>> NetProvider::ObserveTunnel() {
  const absl::StatusOr<LinkInfo> link = rtnetlink_->GetLink(config_->tunnel.device);
  if (absl::IsNotFound(link.status())) return std::nullopt;
  if (!link.ok()) return link.status();
  ObservedResource tunnel;
  tunnel.key = TunnelKey();
  TunnelSpec spec;
  spec.device = link->name;
  spec.local = config_->tunnel.local;  // the device has none: rules name it
  spec.udp_port = link->vxlan_port;
  spec.mtu = link->mtu;
  spec.up = link->up;
  tunnel.ours =
      link->kind == "vxlan" && link->vxlan_collect_md && link->alias == config_->OwnerMark();
  if (tunnel.ours) {
    FAIRLEAD_ASSIGN_OR_RETURN(spec.default_drop,
                              HasDefaultDrop(*tc_, {RuleTable::Kind::kTunnelIngress, {}},
                                             {0, link->ifindex}, config_->store_id));
  }
  tunnel.spec = std::move(spec);
  tunnel.ifindex = link->ifindex;
  return tunnel;
}

absl::StatusOr<ObservedResource> NetProvider::PutTunnel(const TunnelSpec& wanted) {
  const absl::StatusOr<RouteInfo> route = rtnetlink_->GetRoute(wanted.local);
  if (!route.ok() || !route->local) {
    return absl::FailedPreconditionError(
        absl::StrCat("the tunnel's local address ", wanted.local.ToString(),
                     " is not an address of this host: add it to the underlay's interface, or "
                     "correct tunnel.local in the configuration"));
  }
  absl::StatusOr<LinkInfo> link = rtnetlink_->GetLink(wanted.device);
  const bool made = absl::IsNotFound(link.status());
  if (made) {
    FAIRLEAD_ASSIGN_OR_RETURN(
        const uint32_t ifindex,
        rtnetlink_->CreateVxlan({wanted.device, wanted.udp_port, config_->OwnerMark()}));
    link = rtnetlink_->GetLink(ifindex);
  }
  if (!link.ok()) return link.status();
  if (link->alias != config_->OwnerMark() || link->kind != "vxlan") {
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
                                            {0, link->ifindex}, config_->store_id));
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
  if (link->alias != config_->OwnerMark()) {
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
      if (hops_.contains(peer)) {
        result.push_back(
            Describe(peer, nullptr, std::string(hop.status().message()), NeighbourState::kNoRoute));
      }
      continue;
    }
    const auto entry = std::find_if(own.begin(), own.end(), [&](const NeighbourInfo& n) {
      return n.ifindex == hop->first && n.address == hop->second;
    });
    if (entry == own.end()) continue;
    used.insert(*hop);
    hops_[peer] = *hop;
    result.push_back(Describe(peer, &*entry, "", NeighbourState::kUnknown));
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
    hops_[wanted.outer] = Hop{};
    return Describe(wanted.outer, nullptr, std::string(hop.status().message()),
                    NeighbourState::kNoRoute);
  }
  FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->ManageNeighbour(hop->first, hop->second));
  hops_[wanted.outer] = *hop;
  FAIRLEAD_ASSIGN_OR_RETURN(const NeighbourInfo entry,
                            rtnetlink_->GetNeighbour(hop->first, hop->second));
  return Describe(wanted.outer, &entry, "", NeighbourState::kUnknown);
}

absl::Status NetProvider::DeleteNeighbour(const NeighbourSpec& there) {
  Hop hop;
  if (const auto it = hops_.find(there.outer); it != hops_.end()) {
    hop = it->second;
    hops_.erase(it);
  } else {
    const absl::StatusOr<Hop> found = HopOf(there.outer);
    if (!found.ok()) return absl::OkStatus();
    hop = *found;
  }
  if (hop.first == 0) return absl::OkStatus();
  const bool shared = std::any_of(hops_.begin(), hops_.end(),
                                  [&](const auto& entry) { return entry.second == hop; });
  if (shared) return absl::OkStatus();
  return rtnetlink_->DeleteNeighbour(hop.first, hop.second);
}

}  // namespace fairlead
