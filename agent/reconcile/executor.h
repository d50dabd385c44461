// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the engine asks of the world outside: act, observe, make
// durable, wait. The engine itself does no I/O and has no thread.
//
// Threading: every call is made on the loop thread and returns at once; every
// `done` runs on the loop thread later, never inside the call. What is asked of
// one lane is done in the order of asking.
// Errors: as statuses in the results; an executor never drops a `done`, except
// when it is destroyed.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/connection.h"
#include "agent/model/facts.h"
#include "agent/model/resource.h"
#include "agent/model/sanitation.h"
#include "agent/model/slow_path.h"
#include "agent/plan/plan.h"
#include "agent/store/store.h"

namespace fairlead {

// The outcome of one operation: on success `observed` is what was read back
// (none: the resource is gone).
struct ApplyResult {
  absl::Status status;
  std::optional<ObservedResource> observed;
  // A guest device whose removal was asked for and not yet answered: `observed`
  // still shows it, and an event will come.
  bool removal_pending = false;
  // Of a VF that was given back, also when that failed; none: it was not there.
  std::optional<VfCleaning> cleaning = {};
};

// What a PF showed: itself, its VFs, and the resources of both, whoever made them.
struct PfObservation {
  PfFacts facts;
  std::vector<ObservedResource> resources;  // vf-pool, pf, representor, driver-binding
};
struct VfObservation {
  VfFacts facts;
  std::vector<ObservedResource> resources;       // representor, driver-binding
  std::optional<TrafficCounters> counters = {};  // of its representor
};
struct TunnelObservation {
  // None: there is no device of the tunnel's; it may be somebody else's.
  std::optional<ObservedResource> device;
  UnderlayFacts underlay;
};
struct GuestDeviceInfo {
  std::string id;  // QEMU id, with kGuestDevicePrefix
  PciAddress host;
  std::string bus;
};
struct VmObservation {
  VmFacts facts;
  std::vector<GuestDeviceInfo> devices;
};

// What the slow path is to know: `all` of it (and, if `whole`, nothing else but of the ports at
// the representors `keep`), or a change.
struct SlowPathTelling {
  bool all = false;
  bool whole = false;
  std::vector<uint32_t> keep;
  std::vector<SlowPathEntry> put;
  std::vector<SlowPathKey> remove;
};

class Executor {
 public:
  using ApplyDone = std::function<void(std::vector<ApplyResult>)>;

  virtual ~Executor() = default;

  // All operations of one call belong to one lane (see LaneOf); result i belongs
  // to operation i.
  virtual void Apply(const std::string& lane, std::vector<Operation> operations,
                     ApplyDone done) = 0;

  // New rules of one table, under no lease; result i belongs to rule i: what was read back.
  virtual void PutRules(const RuleTable& table, std::vector<FlowRule> rules,
                        std::function<void(std::vector<absl::StatusOr<RuleEvidence>>)> done) = 0;

  virtual void ObservePf(const NicId& pf,
                         std::function<void(absl::StatusOr<PfObservation>)> done) = 0;
  virtual void ObserveVf(const VfId& vf,
                         std::function<void(absl::StatusOr<VfObservation>)> done) = 0;
  virtual void ObserveTunnel(std::function<void(absl::StatusOr<TunnelObservation>)> done) = 0;
  virtual void ObserveNeighbours(
      std::vector<IpAddress> outer,
      std::function<void(absl::StatusOr<std::vector<ObservedResource>>)> done) = 0;
  // `counted`: with how many devices took each rule, which takes longer.
  virtual void ObserveTable(const RuleTable& table, bool counted,
                            std::function<void(absl::StatusOr<ObservedRules>)> done) = 0;
  // Of rules of one table; result i belongs to rule i, none: it is not there.
  using RuleCounts = std::vector<std::optional<RuleReading>>;
  virtual void CountRules(const RuleTable& table, std::vector<RuleToCount> rules,
                          std::function<void(absl::StatusOr<RuleCounts>)> done) = 0;
  // All that conntrack knows in a zone.
  virtual void ObserveConnections(
      uint16_t zone, std::function<void(absl::StatusOr<std::vector<Connection>>)> done) = 0;
  // Those that are gone already are as good as deleted.
  virtual void DeleteConnections(uint16_t zone, std::vector<Connection> connections,
                                 std::function<void(absl::Status)> done) = 0;
  // Connects first when there is no session.
  virtual void ObserveVm(const std::string& vm, const Uuid& uuid,
                         std::function<void(absl::StatusOr<VmObservation>)> done) = 0;

  // Connects first when `all` is told.
  virtual void TellSlowPath(SlowPathTelling telling,
                            std::function<void(absl::StatusOr<SlowPathReport>)> done) = 0;

  virtual void Commit(StoreBatch batch, std::function<void(absl::Status)> done) = 0;
  virtual void After(std::chrono::milliseconds delay, std::function<void()> fn) = 0;

  // Runs `work`, which shares nothing with the loop thread, beside it.
  virtual void Compute(std::function<void()> work, std::function<void(absl::Status)> done) = 0;

  // The leases under which providers may act; told before the first operation
  // of a lease and after its last.
  virtual void LeaseGranted(Lease lease) = 0;
  virtual void LeaseEnded(Lease lease) = 0;
  // From now on what carries this store's mark is this agent's, too.
  virtual void TakeOver(uint32_t store) = 0;
  // No attachment asks for this VM any more: its monitor is let go.
  virtual void ReleaseVm(const std::string& vm) = 0;
};

// The lane that a resource's operations go to: "rules tunnel", "rules uplink@<mac>", "rules <n>" of
// a block, "net", "pf <mac>", "vm <id>". Blocks share kBlockLanes lanes, each of them always the
// same: a host may have thousands, and each lane is a thread.
inline constexpr uint64_t kBlockLanes = 64;
std::string LaneOf(const Resource& resource);
std::string RulesLane(const RuleTable& table);

}  // namespace fairlead
