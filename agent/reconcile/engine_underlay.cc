// SPDX-License-Identifier: Apache-2.0
//
// What the engine learns of the tunnel, of what carries it, and of the outer neighbours.
#include <utility>

#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

// Events that come together are answered by one look.
constexpr std::chrono::milliseconds kNeighbourPause{100};

}  // namespace

void Engine::ObserveTunnel() {
  if (tunnel_scope_.in_flight) {
    tunnel_scope_.again = true;
    return;
  }
  tunnel_scope_.in_flight = true;
  executor_->ObserveTunnel(
      [this, alive = std::weak_ptr<bool>(alive_)](absl::StatusOr<TunnelObservation> result) {
        if (alive.expired()) return;
        tunnel_scope_.in_flight = false;
        tunnel_scope_.error = result.status();
        tunnel_scope_.failures = result.ok() ? 0 : tunnel_scope_.failures + 1;
        if (result.ok()) {
          tunnel_scope_.known = true;
          if (result->device && result->device->ours) {
            // Also one that an earlier run had no time to take away.
            claimant_[TunnelKey()] = {UnitKind::kHost, ""};
            UnitOf({UnitKind::kHost, ""}).keys.insert(TunnelKey());
          }
          TakeUnderlay(std::move(result->underlay));
          Saw(TunnelKey(), std::move(result->device));
        } else {
          if (!std::exchange(tunnel_scope_.retry_due, true)) {
            const auto delay = BackOff("tunnel", tunnel_scope_.failures - 1);
            executor_->After(delay, [this, alive = std::weak_ptr<bool>(alive_)] {
              if (alive.expired()) return;
              tunnel_scope_.retry_due = false;
              ObserveTunnel();
            });
          }
        }
        MarkHost();
        if (std::exchange(tunnel_scope_.again, false)) ObserveTunnel();
      });
}

void Engine::TunnelChanged() {
  const ObservedResource* tunnel = observed_.Find(TunnelKey());
  std::optional<TunnelFacts> now;
  if (tunnel != nullptr && tunnel->ours) now = TunnelFactsOf(*tunnel);
  if (now == facts_.tunnel) return;
  // Rules go with their device. (The first observation is no change of device.)
  const bool another_device = facts_.tunnel && (!now || now->ifindex != facts_.tunnel->ifindex);
  const bool another_mtu = facts_.tunnel && now && facts_.tunnel->mtu != now->mtu;
  facts_.tunnel = now;
  if (another_mtu) MarkSlowPathMtu();
  if (another_device && table_scope_[kTunnelTable].known) ForgetTable(kTunnelTable);
  for (const auto& [vpc, ports] : bound_of_vpc_) MarkVpcNetwork(vpc);
  for (const auto& [vf, attachment] : attachments_) MarkDirty({UnitKind::kPort, attachment.port});
}

// The host's unit follows it; of ports those that it keeps, or kept, from being attached.
void Engine::TakeUnderlay(UnderlayFacts now) {
  if (now == facts_.underlay) return;
  const std::string before = tunnel_problem();
  facts_.underlay = std::move(now);
  if (tunnel_problem() == before) return;
  WakeFailedPorts();
  for (const auto& [vf, attachment] : attachments_) {
    if (!attachment.vni) continue;
    if (Unit* unit = FindUnit({UnitKind::kPort, attachment.port})) unit->retry_at.reset();
    MarkDirty({UnitKind::kPort, attachment.port});
    Announce({ObjectKind::kPort, attachment.port});
  }
}

void Engine::ObserveNeighbours() {
  if (neighbour_scope_.in_flight) {
    neighbour_scope_.again = true;
    return;
  }
  neighbour_scope_.in_flight = true;
  std::vector<IpAddress> outer;
  for (const auto& [ref, unit] : units_) {
    if (ref.kind != UnitKind::kVtep) continue;
    if (absl::StatusOr<IpAddress> address = IpAddress::Parse(ref.id); address.ok()) {
      outer.push_back(*address);
    }
  }
  executor_->ObserveNeighbours(
      std::move(outer), [this, alive = std::weak_ptr<bool>(alive_)](
                            absl::StatusOr<std::vector<ObservedResource>> result) {
        if (alive.expired()) return;
        neighbour_scope_.in_flight = false;
        neighbour_scope_.error = result.status();
        neighbour_scope_.failures = result.ok() ? 0 : neighbour_scope_.failures + 1;
        if (result.ok()) {
          std::set<ResourceKey> present;
          for (const ObservedResource& neighbour : *result) {
            present.insert(neighbour.key);
            Saw(neighbour.key, neighbour);
          }
          std::vector<ResourceKey> gone;
          for (const auto& [key, observed] : observed_.others()) {
            if (key.kind == ResourceKind::kNeighbour && !present.contains(key)) {
              gone.push_back(key);
            }
          }
          for (const ResourceKey& key : gone) Saw(key, std::nullopt);
          if (!std::exchange(neighbour_scope_.known, true)) {
            for (const auto& [ref, unit] : units_) {
              if (ref.kind == UnitKind::kVtep) MarkDirty(UnitRef(ref));
            }
          }
          orphans_pending_ = true;
          SchedulePump();
        } else {
          if (!std::exchange(neighbour_scope_.retry_due, true)) {
            const auto delay = BackOff("neighbours", neighbour_scope_.failures - 1);
            executor_->After(delay, [this, alive = std::weak_ptr<bool>(alive_)] {
              if (alive.expired()) return;
              neighbour_scope_.retry_due = false;
              ObserveNeighbours();
            });
          }
        }
        if (std::exchange(neighbour_scope_.again, false)) ObserveNeighbours();
      });
}

// The tunnel's local address may have come, gone, or moved to another link.
void Engine::OnAddressChanged() {
  if (std::exchange(tunnel_due_, true)) return;
  executor_->After(kNeighbourPause, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    tunnel_due_ = false;
    ObserveTunnel();
  });
}

void Engine::OnNeighbourChanged() {
  // The entry that changed may be a gateway of many peers: all are looked at, a
  // moment later, so that a host with many neighbours is not read for each of them.
  const ObservedSet& known = observed_.others();
  const auto first = known.lower_bound({ResourceKind::kNeighbour, ""});
  const bool any = first != known.end() && first->first.kind == ResourceKind::kNeighbour;
  if (!any && neighbour_scope_.known) return;
  if (std::exchange(neighbours_due_, true)) return;
  executor_->After(kNeighbourPause, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    neighbours_due_ = false;
    ObserveNeighbours();
  });
}

}  // namespace fairlead
