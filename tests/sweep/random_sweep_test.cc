// SPDX-License-Identifier: Apache-2.0
//
// Suite random-sweep: seeds of intents, faults of every port, lost answers and events, kills, VMs
// that come and go, VFs that cannot be reset, functions that a DPU plugs and pulls, an operator who
// releases VFs, a store that is lost, and hands of strangers on the host, in any order. When it is
// over and quiet, what is wanted is so, what is not ours is as it was, and after the last removal
// nothing is left.
//
// Environment: FAIRLEAD_SEED=N runs that seed alone, and says what it does;
//              FAIRLEAD_SEEDS=N runs so many (default 15), from FAIRLEAD_FIRST_SEED on (default 1).
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "agent/base/text.h"
#include "tests/sweep/random_check.h"
#include "tests/sweep/random_controller.h"
#include "tests/sweep/random_host.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class RandomSweep {
 public:
  RandomSweep(uint64_t seed, bool aloud) : on_(seed, aloud), controller_(&on_) {}

  int quarantined = 0;  // VFs that were, when it was over

  void Run() {
    on_.PutForeignThings();
    const std::string empty = on_.Picture(/*with_vfs=*/false);
    on_.host.Start();
    Calm();
    EXPECT_EQ(on_.Picture(/*with_vfs=*/false), empty);
    on_.TakeAVfByHand();
    const std::string idle = on_.Picture();
    controller_.MakeNetworks();
    on_.storm.rages = true;
    for (int i = 0; i < 50; ++i) Something();
    Calm();
    ExpectAsWanted(on_, controller_.wanted());
    ExpectNothingToDoAfterARestart(on_);
    controller_.RemoveAll();
    Calm();
    on_.TakeBack();
    on_.ExpectByHand();
    EXPECT_EQ(on_.Picture(), idle);
  }

 private:
  void Something() {
    if (!on_.host.running()) on_.Revive();
    switch (on_.dice.Below(24)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        return controller_.Attach();
      case 5:
      case 6:
        return controller_.Detach();
      case 7:
        return controller_.Endpoint();
      case 8:
        return controller_.ChangeVni();
      case 9:
        return controller_.Route();
      case 10:
        return controller_.ReleaseSomeVf();
      case 11:
      case 12:
        return on_.BreakOrMendReset();
      case 13:
      case 14:
      case 15:
        return on_.Stranger();
      case 16:
        return on_.Dpu();
      case 17:
        return on_.VmEvent();
      case 18:
        // Two in a run, or so, and in every third none.
        if (on_.dice.OneIn(2)) return controller_.LoseStore();
        return on_.Die();
      default:
        return Wait();
    }
  }

  void Wait() {
    const milliseconds time(on_.dice.OneIn(6) ? 70'000 : on_.dice.Below(800));
    on_.Say(StrCat("wait ", time.count(), " ms"));
    on_.host.RunFor(time);
  }

  // No fault any more, all VMs there and willing; two audits, then quiet.
  void Calm() {
    on_.storm.rages = false;
    on_.Say("calm");
    if (!on_.host.running()) on_.Revive();
    on_.MakeRight();
    on_.host.RunFor(milliseconds(260'000));  // what was held back for 200 s has come, too
    controller_.EndLostStores();
    quarantined += controller_.ReleaseAll();
    EXPECT_TRUE(on_.host.Settle(milliseconds(130'000))) << "it does not come to rest";
    ASSERT_TRUE(on_.host.running());
  }

  RandomHost on_;
  RandomController controller_;
};

TEST(RandomSweepTest, WhatIsWantedIsSoWhenItIsOver) {
  if (const uint64_t seed = FromEnvironment("FAIRLEAD_SEED", 0); seed != 0) {
    RandomSweep(seed, true).Run();
    return;
  }
  const uint64_t first = FromEnvironment("FAIRLEAD_FIRST_SEED", 1);
  const uint64_t count = FromEnvironment("FAIRLEAD_SEEDS", 15);
  int quarantined = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE(StrCat("FAIRLEAD_SEED=", seed));
    RandomSweep sweep(seed, false);
    sweep.Run();
    quarantined += sweep.quarantined;
    if (HasFailure()) {
      std::printf("failed with FAIRLEAD_SEED=%llu\n", static_cast<unsigned long long>(seed));
      return;
    }
  }
  if (count >= 15) {
    EXPECT_GT(quarantined, 0) << "no run was about a VF that is kept back";
  }
}

}  // namespace
}  // namespace fairlead
