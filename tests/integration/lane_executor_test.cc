// SPDX-License-Identifier: Apache-2.0
//
// What the agent asks of a NIC waits in a lane, and the lease that it was asked under may be over
// when its turn comes.
#include "agent/daemon/lane_executor.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include "agent/reconcile/executor.h"
#include "agent/runtime/loop.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

class LaneExecutorTest : public ::testing::Test {
 protected:
  // Asks for the representor of a VF, up and in a VPC's block.
  void AskForRepresentor(uint16_t vf, Lease lease, std::optional<absl::Status>* result) {
    Operation operation;
    operation.verb = Operation::Verb::kCreate;
    const VfId id{FakeMachine::PfMac(), vf};
    operation.resource = {
        RepresentorKey(id),
        RepresentorSpec{id, RuleTable{RuleTable::Kind::kVpcBlock, *Vni::Make(1000)}},
        {},
        lease};
    executor_.Apply(
        LaneOf(operation.resource), {operation},
        [result](std::vector<ApplyResult> results) { *result = results.front().status; });
  }
  void WaitFor(const std::function<bool()>& done) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!done() && std::chrono::steady_clock::now() < until) {
      loop_.Poll();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_TRUE(done());
  }
  bool WasTouched(uint16_t vf) {  // the first of what is done to it
    for (const std::string& call : machine_.network->Calls()) {
      if (call.starts_with(StrCat("SetLinkUp(", FakeMachine::Representor(vf), ","))) return true;
    }
    return false;
  }

  FakeMachine machine_{{}};
  SystemClock clock_;
  Loop loop_;
  LaneExecutor executor_{&loop_,
                         &clock_,
                         [this] {
                           machine_.config.providers.marks =
                               std::make_shared<OwnMarks>(7, std::set<uint32_t>{});
                           return machine_.config.providers;
                         }(),
                         machine_.ports(),
                         nullptr,
                         [](const std::string&, const QmpEvent&) {},
                         [](const LaneStats&) {}};
};

TEST(RulesLane, OfBlocksThereAreAFewAndEachIsAlwaysTheSame) {
  std::set<std::string> lanes;
  for (uint32_t vni = 1; vni <= 2000; ++vni) {
    const RuleTable block{RuleTable::Kind::kVpcBlock, *Vni::Make(vni)};
    EXPECT_EQ(RulesLane(block), RulesLane(block));
    lanes.insert(RulesLane(block));
  }
  EXPECT_EQ(lanes.size(), kBlockLanes) << "2000 VPCs use all of them";
  const std::string tunnel = RulesLane({RuleTable::Kind::kTunnelIngress});
  EXPECT_EQ(tunnel, "rules tunnel");
  EXPECT_FALSE(lanes.contains(tunnel));
}

// sriov-cni 219 and 313: what came late was done to a VF that had another owner by then.
TEST_F(LaneExecutorTest, WhatWaitedLongerThanItsLeaseIsRefusedAndDoneToNothing) {
  machine_.pci.SetNumVfs(FakeMachine::PfAddress(), 2).IgnoreError();
  std::optional<absl::Status> first, late, next;
  executor_.LeaseGranted(5);
  {
    Gate gate(*machine_.network, StrCat("SetAlias(", FakeMachine::Representor(0), ","));
    AskForRepresentor(0, 5, &first);
    AskForRepresentor(1, 5, &late);
    WaitFor([&] { return WasTouched(0); });
    executor_.LeaseEnded(5);
    executor_.LeaseGranted(6);
  }
  AskForRepresentor(0, 6, &next);
  WaitFor([&] { return first && late && next; });
  EXPECT_TRUE(first->ok()) << *first;
  EXPECT_EQ(late->code(), absl::StatusCode::kFailedPrecondition) << *late;
  EXPECT_FALSE(WasTouched(1));
  EXPECT_TRUE(next->ok()) << *next;
}

}  // namespace
}  // namespace fairlead
