// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a whole agent on the in-memory fakes that takes every step when told to: no thread, no
// waiting, the same choices give the same run. It can be killed at any moment, and started again on
// what it left. All that it asks of its ports and its store passes a plan of faults.
//
// Threading: one thread. Ownership: the plan is borrowed.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/base/clock.h"
#include "agent/daemon/core.h"
#include "agent/store/volatile_vfs.h"
#include "tests/integration/controller.h"
#include "tests/integration/fake_machine.h"
#include "tests/sweep/ports_with_faults.h"
#include "tests/sweep/stepped_scheduler.h"

namespace fairlead {

struct SteppedHostOptions {
  FakeMachineOptions machine = {};
  SteppedScheduler::Choose choose = [](size_t) { return size_t{0}; };
  SteppedScheduler::Hold hold = nullptr;
};

class SteppedHost : public FakeMachine, public Controller {
 public:
  explicit SteppedHost(SteppedHostOptions options = {});
  ~SteppedHost() override;

  // Null: nothing goes wrong.
  void set_plan(FaultPlan* plan) { watch_.plan = plan; }

  // On what is on the disk; fails the test when it does not come up.
  void Start();
  // As SIGKILL does: whatever is under way ends here, and nothing is put in order.
  void Kill();
  bool running() const { return core_ != nullptr; }
  // The same, and the next agent finds an empty store.
  void LoseStore();
  // As requests and marks name it; `ago`: one that was lost, counted backwards.
  std::string StoreId(size_t ago = 0) const;
  // The plan may say so in the middle of a step; the agent ends before the next one.
  void KillSoon() { kill_soon_ = true; }

  // Takes what steps there are, for so long as time goes by. Ends early when the agent does.
  void RunFor(std::chrono::milliseconds time);
  // Until nothing has been changed for `quiet`; false: that does not come within ten minutes.
  bool Settle(std::chrono::milliseconds quiet = std::chrono::seconds(3));

  // All that was asked for and means to change something, the store's commits included, since
  // the last ClearChanges.
  const std::vector<std::string>& changes() const { return watch_.changes; }
  void ClearChanges() { watch_.changes.clear(); }

  // What the store holds of VFs that were given back.
  const std::map<VfId, SanitationRecord>& records() const { return records_; }

  // What the host shows of Fairlead's work, VMs' devices and rules included; stores are told apart
  // by their order, not by their ids, which are random.
  std::string Picture() const;

  // As it stands, with its own id: a controller that had no answer sends the same one again.
  v1::Reply Repeat(const v1::Request& request) { return Call(request); }

 private:
  struct Watch final : FaultPlan {
    absl::Status Before(const PortCall& call) override;
    absl::Status After(const PortCall& call) override;
    bool Tells(std::string_view port) override { return plan == nullptr || plan->Tells(port); }
    FaultPlan* plan = nullptr;
    std::vector<std::string> changes;
  };

  v1::Reply Call(const v1::Request& request) override;
  // Holds in every run: nobody gets a VF that is quarantined, and none that a VM may have had
  // is freed without a record of it.
  void OnCommitted(const StoreBatch& batch);
  void VmsHoldGroups();
  // False: there is nothing to do now, or no agent any more.
  bool Step();

  ManualClock clock_;
  const SteppedHostOptions options_;
  Watch watch_;
  PortsWithFaults faulty_;
  std::unique_ptr<VolatileDisk> disk_ = std::make_unique<VolatileDisk>();
  std::unique_ptr<SteppedScheduler> scheduler_;
  std::unique_ptr<Core> core_;
  std::vector<uint32_t> stores_;  // ids; the one in use last
  std::map<VfId, SanitationRecord> records_;
  std::map<VfId, Lease> leases_;
  std::set<Lease> begun_;       // a VM had, or may have had, their VFs
  std::set<std::string> held_;  // functions, by a VM
  bool kill_soon_ = false;
};

}  // namespace fairlead
