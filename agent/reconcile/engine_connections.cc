// SPDX-License-Identifier: Apache-2.0
//
// Connections that conntrack knows. A rule judges the first packet of a connection; what was
// allowed once goes on by itself. So whenever less may be allowed than before, or a port or an
// address is gone, the connections of the VPC's zone are judged anew, once the rules stand as they
// are wanted, and those that would not be allowed any more are deleted. The same empties the zone
// of a VPC that is no more: nothing is allowed in it.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/compile/connections.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

constexpr std::chrono::milliseconds kJudgeAgain{1'000};

}  // namespace

void Engine::MarkConnections(const std::string& vpc) {
  const Vpc* object = world_.FindVpc(vpc);
  if (object != nullptr && object->ct_zone) MarkZone(*object->ct_zone, vpc);
}

void Engine::MarkZone(uint16_t zone, const std::string& vpc) {
  ZoneState& state = zones_[zone];
  state.vpc = vpc;
  state.due = true;
  ++state.asked;
  JudgeZonesSoon();
}

void Engine::JudgeZonesSoon() {
  if (zones_scheduled_) return;
  zones_scheduled_ = true;
  executor_->After(std::chrono::milliseconds(0), [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    zones_scheduled_ = false;
    JudgeZones();
  });
}

// What still makes, or may make, connections of the zone as they were allowed before.
bool Engine::MayJudge(const ZoneState& state) const {
  if (world_.FindVpc(state.vpc) != nullptr) return VpcSettled(state.vpc);
  // Of a VPC that is no more; after a restart it is not known of which.
  return std::all_of(leases_of_vpc_.begin(), leases_of_vpc_.end(), [&](const auto& leases) {
    return state.vpc.empty() ? world_.FindVpc(leases.first) != nullptr : leases.first != state.vpc;
  });
}

void Engine::JudgeZones() {
  for (auto& [zone, state] : zones_) {
    if (!state.due || state.in_flight || state.retry_due || !MayJudge(state)) continue;
    state.due = false;
    state.in_flight = true;
    executor_->ObserveConnections(
        zone, [this, alive = std::weak_ptr<bool>(alive_), zone = zone,
               asked = state.asked](absl::StatusOr<std::vector<Connection>> seen) {
          if (!alive.expired()) OnConnections(zone, asked, std::move(seen));
        });
  }
}

void Engine::OnConnections(uint16_t zone, uint64_t asked,
                           absl::StatusOr<std::vector<Connection>> seen) {
  ZoneState& state = zones_[zone];
  if (!seen.ok()) return ZoneFailed(zone, seen.status());
  const StoredObject* vpc = world_.Find({ObjectKind::kVpc, state.vpc});
  const bool of_vpc = vpc != nullptr && std::get<Vpc>(vpc->object).ct_zone == zone;
  const auto policies = policies_.find(state.vpc);
  const ConnectionHost host{&world_,
                            [this](const std::string& port) { return bound_.contains(port); }};
  std::vector<Connection> forbidden;
  for (Connection& connection : *seen) {
    if (connection.dying) continue;
    if (of_vpc && policies != policies_.end() &&
        IsAllowed(host, *vpc, policies->second, connection.original)) {
      continue;
    }
    forbidden.push_back(std::move(connection));
  }
  if (forbidden.empty()) return ZoneJudged(zone, asked);
  executor_->DeleteConnections(
      zone, std::move(forbidden),
      [this, alive = std::weak_ptr<bool>(alive_), zone, asked](absl::Status deleted) {
        if (alive.expired()) return;
        if (!deleted.ok()) return ZoneFailed(zone, deleted);
        ZoneJudged(zone, asked);
      });
}

void Engine::ZoneFailed(uint16_t zone, const absl::Status& why) {
  ZoneState& state = zones_[zone];
  state.in_flight = false;
  state.due = true;
  state.error = why;
  state.retry_due = true;
  AnnounceGroups(state.vpc);
  executor_->After(kJudgeAgain, [this, alive = std::weak_ptr<bool>(alive_), zone] {
    if (alive.expired()) return;
    zones_[zone].retry_due = false;
    JudgeZones();
  });
}

void Engine::ZoneJudged(uint16_t zone, uint64_t asked) {
  ZoneState& state = zones_[zone];
  state.in_flight = false;
  state.error = absl::OkStatus();
  state.judged = asked;
  const std::string vpc = state.vpc;
  if (world_.left_zones().contains(zone) && !state.due) {
    StoreBatch batch;
    batch.emptied_zones.push_back(zone);
    state.in_flight = true;
    executor_->Commit(std::move(batch), [this, alive = std::weak_ptr<bool>(alive_),
                                         zone](const absl::Status& stored) {
      if (alive.expired()) return;
      if (!stored.ok()) return ZoneFailed(zone, stored);
      world_.ForgetZone(zone);
      zones_.erase(zone);
    });
  } else if (state.due) {
    JudgeZonesSoon();
  }
  AnnounceGroups(vpc);
  for (const std::string& port : std::exchange(waiting_on_zone_[vpc], {})) {
    MarkDirty({UnitKind::kPort, port});
  }
}

std::string Engine::WhyConnectionsUnjudged(const std::string& vpc) const {
  for (const auto& [zone, state] : zones_) {
    if (state.vpc != vpc || state.judged == state.asked) continue;
    if (!state.error.ok()) {
      return absl::StrCat("connections that are not allowed any more may go on: ",
                          state.error.message());
    }
    return "connections that are not allowed any more are being ended";
  }
  return "";
}

// A port's lease does not end before what its connections left in conntrack is gone: the next one
// with its address would find them established.
std::string Engine::ConnectionsLeft(const Attachment& attachment) {
  const Vpc* vpc = world_.FindVpc(attachment.vpc);
  if (vpc == nullptr || !vpc->ct_zone) return "";
  const auto zone = zones_.find(*vpc->ct_zone);
  const auto asked = zone_of_release_.find(attachment.lease);
  if (asked == zone_of_release_.end()) {
    MarkZone(*vpc->ct_zone, attachment.vpc);
    zone_of_release_[attachment.lease] = zones_[*vpc->ct_zone].asked;
  } else if (zone != zones_.end() && zone->second.judged >= asked->second) {
    return "";
  }
  waiting_on_zone_[attachment.vpc].insert(attachment.port);
  return "its connections are being ended";
}

}  // namespace fairlead
