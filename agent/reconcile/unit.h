// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a unit is what is compiled, compared and repaired as one: a PF's VF
// pool and eswitch, its uplink, the host (its tunnel), a VPC, a subnet, a route, an endpoint, a
// tunnel peer, a port.
//
// Threading: plain values of the loop thread.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "agent/model/resource.h"
#include "agent/model/sanitation.h"
#include "agent/model/status.h"

namespace fairlead {

// kEndpoint: one that is awake; kEndpoints: those of a VPC, all of them (engine_endpoints.cc);
// kArrivals: those of them that are new (engine_arrivals.cc); kPolicy: what the security groups of
// some of a VPC's ports allow together (engine_policies.cc).
enum class UnitKind : uint8_t {
  kPool,
  kHost,
  kUplink,
  kVtep,
  kVpc,
  kSubnet,
  kRoute,
  kEndpoint,
  kEndpoints,
  kPolicy,
  kArrivals,
  kPort,
  kOrphans
};

inline bool OfHost(UnitKind kind) {
  return kind == UnitKind::kPool || kind == UnitKind::kHost || kind == UnitKind::kUplink;
}

struct UnitRef {
  UnitKind kind = UnitKind::kHost;
  std::string id;  // of the object; a kPool's or kUplink's PF; a kVtep's outer address; of
                   // kEndpoints and kArrivals the VPC; of kPolicy that, '/' and its number;
                   // "" for the others
  std::string ToString() const;  // "port/web-0", "vtep/10.0.0.2", "host"
  friend auto operator<=>(const UnitRef&, const UnitRef&) = default;
};

// How far a VF has come on its way back from a port.
struct GivingBack {
  std::optional<VfCleaning> did;  // the last cleaning; none: none was done, or it is gone
  bool cleaned = false;           // it was, without an error
  struct Refusal {
    int times = 0;  // for good
    std::string words;
  };
  std::map<ResourceKey, Refusal> refused;
  int dirty_looks = 0;  // that found it dirty all the same
  std::optional<TrafficCounters> counters;
};

struct Unit {
  UnitRef ref;
  std::string vpc;             // VPC, subnet, route, endpoint and port units
  std::set<ResourceKey> keys;  // claimed: wanted now, or made and not yet taken away
  uint32_t wanted_rules = 0;
  bool queued = false;     // is in the dirty queue
  bool in_flight = false;  // something was asked of the executor
  bool settled = false;    // the last comparison found nothing to do, or gave up
  int attempts = 0;        // failures in a row
  std::optional<std::chrono::steady_clock::time_point> retry_at;
  absl::Status error;                                 // of the last failure; OK when there is none
  std::map<RuleLocation, std::string> rules_refused;  // by the kernel, with its words; last try
  std::string step;                                   // what failed or is under way
  std::string waits_for;                              // what it waits for, for people
  ErrorRecord last_error;
  uint32_t drifts = 0;       // that were noticed and not mended yet
  bool since_start = false;  // the store knew it when the agent started

  // Ports only.
  bool scanned = false;     // what an earlier run of the agent left was claimed
  bool refresh = false;     // an operation failed: observe the VF before going on
  bool refreshing = false;  // that was asked and not answered yet
  uint64_t ready_generation = 0;
  bool fresh_lease = false;  // nothing was done yet: is the VF still free?
  bool verified = false;     // teardown: the VF was observed afresh and nothing is left
  GivingBack giving_back;    // teardown
  std::string not_cut_off;   // teardown: why its VF or function still reaches others
  absl::Status cause;        // why an attach is, or was, rolled back
  std::string cause_step;
  bool failed = false;  // stays so until retry_at, a new generation or a changed fact
  uint64_t failed_generation = 0;
  uint64_t failed_facts = 0;  // fingerprint of the facts then
  std::chrono::steady_clock::time_point failed_at;
  // Of one whose function hot-plug brings (engine_hotplug.cc):
  std::string function_lost;  // why it has none any more; until the next lease
  std::optional<std::chrono::steady_clock::time_point> function_due;  // what it waits until
  uint64_t function_generation = 0;                                   // that waits so
  std::optional<std::chrono::steady_clock::time_point> removal_asked;
  bool removal_overdue = false;
};

inline const RuleTable kTunnelTable{RuleTable::Kind::kTunnelIngress, {}};

// The tables that rules of a block's ports are in: the block, and where frames come to it from
// elsewhere.
inline std::vector<RuleTable> TablesOf(const std::optional<RuleTable>& block) {
  if (!block) return {};
  const bool overlay = block->kind == RuleTable::Kind::kVpcBlock;
  return {*block, overlay ? kTunnelTable : UplinkTable(block->pf)};
}

}  // namespace fairlead
