// SPDX-License-Identifier: Apache-2.0
//
// Suite refusal-sweep: each single thing that an operation changes is refused for good, in turn.
// The cases are counted off a run without a fault, on a host that has no other VF to go to. Of an
// attach nothing is left, and it is said why; what was to be removed comes to the same end without
// that, or is said to be there, and why, or its VF is kept back. And when it is refused no more, a
// removal ends as a run without a fault does.
//
// Environment: FAIRLEAD_CRASHES=all: each of them; else of the rules every third.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_replace.h"
#include "agent/base/text.h"
#include "tests/sweep/scenarios.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

class RefusalSweep : public ::testing::TestWithParam<Scenario> {
 protected:
  // All that the agent says of objects and of the host.
  static std::string Said(SteppedHost& host) {
    v1::Request all;
    all.mutable_get();
    return StrCat(host.Send(all).ShortDebugString(), host.Host().ShortDebugString());
  }

  // A change in words that are the same in each run and for each lease.
  static std::string Plain(const SteppedHost& host, std::string change) {
    absl::StrReplaceAll({{host.StoreId(), "STORE"}}, &change);
    return std::regex_replace(change, std::regex("-l[0-9]+"), "");
  }

  void ExpectNothingLeft(ScenarioRun& run, const std::string& before) {
    auto status = run.host.PortStatus(kSweptPort);
    ASSERT_TRUE(status);
    EXPECT_EQ(status->state(), v1::OBJECT_STATE_FAILED) << status->ShortDebugString();
    EXPECT_THAT(status->reason(), HasSubstr("never")) << "it is not said why";
    if (!status->rolled_back()) {  // what is refused is needed for that, too
      EXPECT_THAT(status->reason(), HasSubstr("being rolled back"));
      run.plan.Refuse([](const PortCall& call) { return call.method == "AddVfioDevice"; });
      run.host.RunFor(milliseconds(10'000));
      status = run.host.PortStatus(kSweptPort);
      EXPECT_TRUE(status && status->rolled_back());
    }
    EXPECT_EQ(run.Seen(), before);
  }

  void ExpectRemoved(ScenarioRun& run, const std::string& wanted) {
    if (run.Seen() != wanted) {
      EXPECT_THAT(Said(run.host), HasSubstr("never")) << "it is not said what is left, and why";
    }
    run.plan.Refuse(nullptr);
    run.host.RunFor(milliseconds(130'000));  // two audits
    ReleaseAll(run.host);
    EXPECT_TRUE(run.host.Settle());
    EXPECT_EQ(run.Seen(), wanted);
  }

  // An operator has a VF checked again that was kept back.
  static void ReleaseAll(SteppedHost& host) {
    const v1::HostState state = host.Host();
    for (const auto& pf : state.pfs()) {
      for (const auto& vf : pf.vfs()) {
        if (vf.state() != "quarantined") continue;
        v1::Request request;
        request.mutable_release_vf()->set_vf(StrCat(pf.mac(), "/", vf.index()));
        const v1::Reply reply = host.Send(request);
        EXPECT_TRUE(reply.has_vf_released()) << reply.ShortDebugString();
      }
    }
  }
};

TEST_P(RefusalSweep, EndsInNothingOrSaysWhatIsLeft) {
  std::string wanted;
  std::vector<std::string> changes;
  {
    ScenarioRun plain(GetParam());
    plain.AskAndSettle();
    wanted = plain.Seen();
    for (const std::string& change : plain.host.changes()) {
      changes.push_back(Plain(plain.host, change));
    }
  }
  ASSERT_FALSE(changes.empty());
  const bool all = std::getenv("FAIRLEAD_CRASHES") != nullptr;
  std::set<std::string> refused;
  for (size_t at = 0; at < changes.size(); ++at) {
    // What the store refuses is refused to its asker, see durability_test.
    if (changes[at].starts_with("store ")) continue;
    if (!all && changes[at].starts_with("tc ") && at % 3 != 0) continue;
    if (!refused.insert(changes[at]).second) continue;
    SCOPED_TRACE(StrCat("refused: ", changes[at]));
    ScenarioRun run(GetParam());
    const std::string before = run.Seen();
    run.plan.Refuse([&](const PortCall& call) {
      return call.changes && Plain(run.host, call.ToString()) == changes[at];
    });
    run.Ask();
    run.host.RunFor(milliseconds(5'000));  // a removal is tried again and again
    GetParam().ready ? ExpectNothingLeft(run, before) : ExpectRemoved(run, wanted);
    if (HasFailure()) return;  // one story is enough
  }
  std::printf("%zu changes, %zu refused\n", changes.size(), refused.size());
}

std::vector<Scenario> WithoutASpareVf(std::vector<Scenario> scenarios) {
  for (Scenario& scenario : scenarios) {
    const std::string_view name = scenario.name;
    scenario.machine.vfs = name.ends_with("BesideAnother") ? 2 : 1;
  }
  return scenarios;
}

const auto kName = [](const auto& info) { return std::string(info.param.name); };

INSTANTIATE_TEST_SUITE_P(Attach, RefusalSweep, ::testing::ValuesIn(WithoutASpareVf(Attaches())),
                         kName);
INSTANTIATE_TEST_SUITE_P(Detach, RefusalSweep, ::testing::ValuesIn(WithoutASpareVf(Detaches())),
                         kName);
INSTANTIATE_TEST_SUITE_P(Hotplug, RefusalSweep, ::testing::ValuesIn(Hotplugs()), kName);

}  // namespace
}  // namespace fairlead
