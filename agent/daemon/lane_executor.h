// SPDX-License-Identifier: Apache-2.0
//
// Purpose: carries out what the engine asks: each lane has a worker thread, ports
// of its own, and providers on them.
//
// Threading: all calls on the loop thread; the work runs on the lanes.
// Ownership: owns lanes, netlink ports and providers; borrows scheduler, store,
// sysfs and QMP ports, which outlive it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ports/conntrack/conntrack_port.h"
#include "agent/ports/devlink/devlink_port.h"
#include "agent/ports/qmp/qmp_port.h"
#include "agent/ports/rtnetlink/rtnetlink_port.h"
#include "agent/ports/slow_path/slow_path_port.h"
#include "agent/ports/sysfs/sysfs_port.h"
#include "agent/ports/tc/tc_port.h"
#include "agent/ports/uevent/uevent_port.h"
#include "agent/providers/config.h"
#include "agent/providers/lease_table.h"
#include "agent/reconcile/executor.h"
#include "agent/runtime/scheduler.h"
#include "agent/store/store.h"

namespace fairlead {

// How ports are come by: the real kernel's, or fakes.
struct Ports {
  SysfsPort* sysfs = nullptr;
  QmpPort* qmp = nullptr;
  UeventPort* uevent = nullptr;  // none: what comes by hot-plug is found by audits only
  std::function<absl::StatusOr<std::unique_ptr<RtnetlinkPort>>()> rtnetlink;
  std::function<absl::StatusOr<std::unique_ptr<TcPort>>()> tc;
  std::function<absl::StatusOr<std::unique_ptr<DevlinkPort>>()> devlink;  // may be empty
  std::function<absl::StatusOr<std::unique_ptr<ConntrackPort>>()> conntrack;
  // To the slow path whose control socket has this path.
  std::function<absl::StatusOr<std::unique_ptr<SlowPathSocket>>(const std::string& path)> slow_path;
};

// What a VM's monitor said; called on a thread of the port's.
using VmEventListener = std::function<void(const std::string& vm, const QmpEvent& event)>;
using LaneListener = std::function<void(const LaneStats& stats)>;

inline constexpr std::string_view kStoreLane = "store";

class LaneExecutor final : public Executor {
 public:
  LaneExecutor(Scheduler* scheduler, const Clock* clock, ProviderConfig config, Ports ports,
               Store* store, VmEventListener on_vm_event, LaneListener on_parked);
  ~LaneExecutor() override;

  void Apply(const std::string& lane, std::vector<Operation> operations, ApplyDone done) override;
  void PutRules(const RuleTable& table, std::vector<FlowRule> rules,
                std::function<void(std::vector<absl::StatusOr<RuleEvidence>>)> done) override;
  void ObservePf(const NicId& pf, std::function<void(absl::StatusOr<PfObservation>)> done) override;
  void ObserveVf(const VfId& vf, std::function<void(absl::StatusOr<VfObservation>)> done) override;
  void ObserveTunnel(std::function<void(absl::StatusOr<TunnelObservation>)> done) override;
  void ObserveNeighbours(
      std::vector<IpAddress> outer,
      std::function<void(absl::StatusOr<std::vector<ObservedResource>>)> done) override;
  void ObserveTable(const RuleTable& table, bool counted,
                    std::function<void(absl::StatusOr<ObservedRules>)> done) override;
  void CountRules(const RuleTable& table, std::vector<RuleToCount> rules,
                  std::function<void(absl::StatusOr<RuleCounts>)> done) override;
  void ObserveConnections(
      uint16_t zone, std::function<void(absl::StatusOr<std::vector<Connection>>)> done) override;
  void DeleteConnections(uint16_t zone, std::vector<Connection> connections,
                         std::function<void(absl::Status)> done) override;
  void ObserveVm(const std::string& vm, const Uuid& uuid,
                 std::function<void(absl::StatusOr<VmObservation>)> done) override;
  void TellSlowPath(SlowPathTelling telling,
                    std::function<void(absl::StatusOr<SlowPathReport>)> done) override;
  void Commit(StoreBatch batch, std::function<void(absl::Status)> done) override;
  void After(std::chrono::milliseconds delay, std::function<void()> fn) override;
  void Compute(std::function<void()> work, std::function<void(absl::Status)> done) override;
  void LeaseGranted(Lease lease) override;
  void LeaseEnded(Lease lease) override;
  void TakeOver(uint32_t store) override;
  void ReleaseVm(const std::string& vm) override;

  std::vector<LaneStats> Lanes() const;
  // Why the last commit failed, or that one hangs; "" = neither.
  std::string store_problem() const;
  // To be called about ten times a second.
  void Tick();

 private:
  struct LaneContext;
  absl::StatusOr<LaneContext*> LaneOf(const std::string& name);
  template <typename T>
  void Ask(const std::string& lane, std::string what, std::chrono::milliseconds deadline,
           std::function<absl::StatusOr<T>(LaneContext&)> work,
           std::function<void(absl::StatusOr<T>)> done);
  static ApplyResult ApplyOne(LaneContext& lane, const Operation& operation);
  static std::vector<ApplyResult> ApplyAll(LaneContext& lane,
                                           const std::vector<Operation>& operations);
  std::chrono::milliseconds DeadlineOf(const std::string& lane) const;
  void LookAtStore();

  Scheduler* scheduler_;
  const Clock* clock_;
  std::shared_ptr<const ProviderConfig> config_;
  Ports ports_;
  Store* store_;
  VmEventListener on_vm_event_;
  absl::Status store_refused_;    // of the last commit
  absl::Status store_misplaced_;  // what the last look at its file found
  bool looking_at_store_ = false;
  std::chrono::steady_clock::time_point look_at_store_;  // not before
  LaneListener on_parked_;
  std::shared_ptr<LeaseTable> leases_ = std::make_shared<LeaseTable>();
  std::map<std::string, std::unique_ptr<LaneContext>> lanes_;
  std::map<NicId, std::string> said_of_pf_;  // what the log says is wrong with it
};

}  // namespace fairlead
