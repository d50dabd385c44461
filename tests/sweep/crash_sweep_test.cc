// SPDX-License-Identifier: Apache-2.0
//
// Suite crash-sweep: the agent is killed before and after every single thing that an operation
// changes, its own commits included. The cases are counted off a run without a crash. A started
// agent then ends in what that run ended in, or, where something cannot be done at all, in what was
// there before.
//
// Environment: FAIRLEAD_CRASHES=all: at each of them; else at every third, or seventh where they
// are many, or one is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "agent/base/text.h"
#include "tests/sweep/scenarios.h"

namespace fairlead {
namespace {

class CrashSweep : public ::testing::TestWithParam<Scenario> {
 protected:
  void ExpectEnd(ScenarioRun& run, const std::string& picture) {
    const auto status = run.host.PortStatus(kSweptPort);
    const std::string words = status ? status->ShortDebugString() : "it is gone";
    if (!refused.empty()) {
      EXPECT_TRUE(status && status->state() == v1::OBJECT_STATE_FAILED && status->rolled_back())
          << words;
    } else if (GetParam().ready) {
      EXPECT_TRUE(status && status->state() == v1::OBJECT_STATE_READY) << words;
    } else {
      EXPECT_FALSE(status) << words;
    }
    EXPECT_EQ(run.Seen(), picture);
  }

  void Refuse(ScenarioRun& run) {
    if (refused.empty()) return;
    run.plan.Refuse([this](const PortCall& call) { return call.method == refused; });
  }

  void Sweep() {
    std::string wanted;
    std::vector<std::string> changes;
    {
      ScenarioRun plain(GetParam());
      Refuse(plain);
      const std::string before = plain.Seen();
      plain.AskAndSettle();
      wanted = plain.Seen();
      changes = plain.host.changes();
      ExpectEnd(plain, refused.empty() ? wanted : before);
    }
    ASSERT_FALSE(HasFailure());
    ASSERT_FALSE(changes.empty());
    const bool all = std::getenv("FAIRLEAD_CRASHES") != nullptr;
    using When = PlannedFaults::When;
    size_t kills = 0;
    for (size_t at = 0; at < changes.size(); ++at) {
      for (const When when : {When::kBefore, When::kAfter}) {
        // Now before and now after, and of each kind of change some: most are rules.
        const size_t each = refused.empty() && changes.size() < 60 ? 3 : 7;
        if (!all && (2 * at + (when == When::kAfter ? 1 : 0)) % each != 0) continue;
        ++kills;
        SCOPED_TRACE(StrCat("killed ", when == When::kBefore ? "before " : "after ", "change ", at,
                            ": ", changes[at]));
        ScenarioRun run(GetParam());
        Refuse(run);
        run.plan.CrashAt(at, when);
        run.host.Repeat(run.request);
        if (run.host.running()) run.host.Settle();
        ASSERT_TRUE(run.plan.crashed());
        ASSERT_FALSE(run.host.running());
        run.plan.Over();
        run.host.Start();
        run.AskAndSettle();
        ExpectEnd(run, wanted);
        if (refused.empty()) ExpectNothingToDo(run.host);
        if (HasFailure()) return;  // one story is enough
      }
    }
    std::printf("%zu changes, %zu kills before or after them\n", changes.size(), kills);
  }

  // For the next agent.
  static void ExpectNothingToDo(SteppedHost& host) {
    host.Kill();
    host.ClearChanges();
    host.Start();
    EXPECT_TRUE(host.Settle());
    EXPECT_THAT(host.changes(), ::testing::IsEmpty());
  }

  std::string refused;  // a method
};

TEST_P(CrashSweep, EndsWhereARunWithoutACrashEnds) { Sweep(); }

// Of attaches only.
class CrashSweepRefused : public CrashSweep {};

TEST_P(CrashSweepRefused, OfAnAttachThatCannotSucceedNothingIsLeft) {
  refused = "AddVfioDevice";
  Sweep();
}

const auto kName = [](const auto& info) { return std::string(info.param.name); };

INSTANTIATE_TEST_SUITE_P(Attach, CrashSweep, ::testing::ValuesIn(Attaches()), kName);
INSTANTIATE_TEST_SUITE_P(Detach, CrashSweep, ::testing::ValuesIn(Detaches()), kName);
INSTANTIATE_TEST_SUITE_P(Quarantine, CrashSweep, ::testing::ValuesIn(Quarantines()), kName);
INSTANTIATE_TEST_SUITE_P(Move, CrashSweep, ::testing::ValuesIn(Moves()), kName);
INSTANTIATE_TEST_SUITE_P(Hotplug, CrashSweep, ::testing::ValuesIn(Hotplugs()), kName);
INSTANTIATE_TEST_SUITE_P(TakeOver, CrashSweep, ::testing::ValuesIn(TakeOvers()), kName);
INSTANTIATE_TEST_SUITE_P(Attach, CrashSweepRefused, ::testing::ValuesIn(Attaches()), kName);

}  // namespace
}  // namespace fairlead
