// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: endpoints whose rules are not there yet go to the kernel many at
// a time, without a unit each; one that is refused, changed or removed meanwhile is looked after.
#include <errno.h>

#include <algorithm>
#include <limits>

#include "absl/strings/str_format.h"
#include "agent/base/error.h"
#include "dataplane/pipeline/pipeline.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

class ArrivalsTest : public AgentTest {
 protected:
  static std::string Mac(int n) {
    return absl::StrFormat("52:54:00:01:%02x:%02x", n / 256, n % 256);
  }
  static void Fill(v1::Apply& apply, int n, const std::string& vtep) {
    FillEndpoint(apply, StrCat("e", n), "red", Mac(n), StrCat("10.0.0.", 16 + n), vtep);
  }
  void Put(int first, int last, const std::string& vtep = "192.0.2.2") {
    ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                      for (int n = first; n < last; ++n) Fill(apply, n, vtep);
                    })
                    .has_accepted());
  }
  void Remove(int n) {
    ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                      FillRemove(apply, v1::OBJECT_KIND_ENDPOINT, StrCat("e", n));
                    })
                    .has_accepted());
  }
  void WaitEndpoint(int n, v1::ObjectState state) {
    host->WaitUntil(StrCat("e", n, " is ", v1::ObjectState_Name(state)),
                    [&] { return EndpointStatus(StrCat("e", n)).state() == state; });
  }
  void WaitAllReady() {
    host->WaitUntil("all are ready", [&] {
      const v1::HostState state = host->Host();
      return state.objects_ready() == state.objects_total();
    });
  }
  // Where frames to each endpoint's MAC go: "" = nowhere.
  std::string LeadsTo(int n) {
    for (const TcFilter& filter : Block(1000)) {
      if (filter.id.priority != kPrioDeliver || !filter.match.dst_mac ||
          filter.match.dst_mac->ToString() != Mac(n)) {
        continue;
      }
      for (const TcAction& action : filter.actions) {
        const auto* tunnel = std::get_if<TcTunnelSet>(&action);
        if (tunnel != nullptr) return tunnel->dst.ToString();
      }
    }
    return "";
  }
};

TEST_F(ArrivalsTest, NewEndpointsAreReadyOneByOneAndTheVpcsOthersStayReady) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  Put(0, 1);
  WaitEndpoint(0, v1::OBJECT_STATE_READY);
  {
    Gate gate(*host->network, "Put(");
    Put(1, 100);
    host->WaitUntil("one is on its way",
                    [&] { return EndpointStatus("e1").state() == v1::OBJECT_STATE_APPLYING; });
    EXPECT_EQ(EndpointStatus("e0").state(), v1::OBJECT_STATE_READY);
    EXPECT_EQ(EndpointStatus("e99").state(), v1::OBJECT_STATE_APPLYING);
  }
  WaitAllReady();
  for (int n = 0; n < 100; ++n) EXPECT_EQ(LeadsTo(n), "192.0.2.2") << n;
  EXPECT_EQ(EndpointStatus("e99").rules_observed(), EndpointStatus("e99").rules_wanted());
}

TEST_F(ArrivalsTest, WhatTheKernelRefusesIsItsEndpointsErrorAndNoOthers) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  Put(0, 3);
  WaitAllReady();
  const std::vector<TcFilter> before = Block(1000);
  const auto last = std::max_element(
      before.begin(), before.end(),
      [](const TcFilter& a, const TcFilter& b) { return a.id.handle < b.id.handle; });
  // The third that comes now.
  const std::string handle = StrCat(" handle ", last->id.handle + 3, ")");
  host->network->FailWhen(
      [&](std::string_view call) { return call.starts_with("Put(") && call.ends_with(handle); },
      SystemError(EOPNOTSUPP, "asked of the fake", "no room for this one"),
      std::numeric_limits<int>::max());
  Put(3, 10);  // numbered in the order of their ids
  WaitEndpoint(5, v1::OBJECT_STATE_DEGRADED);
  const v1::ObjectStatus status = EndpointStatus("e5");
  EXPECT_THAT(status.reason(), HasSubstr("no room for this one"));
  EXPECT_EQ(status.rules_observed(), 0U);
  EXPECT_GT(status.rules_wanted(), 0U);
  for (const int n : {0, 3, 4, 6, 9}) WaitEndpoint(n, v1::OBJECT_STATE_READY);
  EXPECT_EQ(LeadsTo(5), "");
  host->network->ClearFaults();
  WaitAllReady();
  EXPECT_EQ(LeadsTo(5), "192.0.2.2");
}

TEST_F(ArrivalsTest, WhatIsChangedOrRemovedOnItsWayEndsAsItIsWantedThen) {
  Begin();
  host->network->SetStation(*IpAddress::Parse("192.0.2.3"),
                            *MacAddress::Parse("52:54:00:00:00:03"));
  Attached("a", "red", "10.0.0.5");
  {
    Gate gate(*host->network, "Put(");
    Put(0, 10);
    host->WaitUntil("they are on their way",
                    [&] { return EndpointStatus("e3").state() == v1::OBJECT_STATE_APPLYING; });
    Remove(3);
    Put(4, 5, "192.0.2.3");
    Remove(6);
    Put(6, 7, "192.0.2.3");
    EXPECT_EQ(EndpointStatus("e4").state(), v1::OBJECT_STATE_APPLYING);
  }
  WaitAllReady();
  host->WaitUntil("e3 leaves nothing", [&] { return LeadsTo(3).empty(); });
  EXPECT_EQ(LeadsTo(4), "192.0.2.3");
  EXPECT_EQ(LeadsTo(6), "192.0.2.3");
  EXPECT_EQ(LeadsTo(9), "192.0.2.2");
}

TEST_F(ArrivalsTest, TheFirstPortBringsTheRulesOfAllEndpointsAndTheLastTakesThemAway) {
  Begin();
  Put(0, 100);
  WaitAllReady();
  const std::string before = Quiet();
  Attached("a", "red", "10.0.0.5");
  WaitAllReady();
  EXPECT_EQ(LeadsTo(99), "192.0.2.2");
  host->Detach("a", "red");
  host->WaitGone("a-red");
  EXPECT_EQ(host->Leftovers(), before);
}

TEST_F(ArrivalsTest, ADryRunOfManyShowsTheirRules) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  v1::Request dry;
  for (int n = 0; n < 20; ++n) Fill(*dry.mutable_apply(), n, "192.0.2.2");
  dry.set_dry_run(true);
  const v1::Reply plan = host->Send(dry);
  const auto& steps = plan.plan().steps();
  EXPECT_GE(std::count_if(steps.begin(), steps.end(),
                          [](const v1::Plan::Step& step) {
                            return step.verb() == "create" && step.owner() == "endpoint/e7" &&
                                   step.detail().find("52:54:00:01:00:07") != std::string::npos;
                          }),
            1)
      << plan.ShortDebugString();
}

// Hardware pays for a rule of a shared block once for each representor.
TEST_F(ArrivalsTest, RulesOfASharedBlockCountOnceForEachRepresentorOnThePf) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  const auto of_pf = [&] { return host->Host().pfs(0).hardware_rules(); };
  const uint64_t others = of_pf() - Block(1000).size();  // of the tunnel
  EXPECT_GT(others, 0U);
  Put(0, 50);
  WaitAllReady();
  EXPECT_EQ(of_pf(), Block(1000).size() + others);
  Attached("b", "red", "10.0.0.6");
  EXPECT_GE(of_pf(), 2 * Block(1000).size() + others);
  EXPECT_LE(of_pf(), 2 * Block(1000).size() + 2 * others);
}

TEST_F(ArrivalsTest, APortThatWouldTakeMoreRulesThanThePfMayHoldIsRefusedByNumber) {
  Begin();
  Put(0, 50);
  Attached("a", "red", "10.0.0.5");
  const uint64_t one = host->Host().pfs(0).hardware_rules();
  host->Stop();
  host.reset();
  Begin({}, [&](DaemonConfig& config) {
    config.providers.pfs[0].max_hardware_rules = static_cast<uint32_t>(one);
  });
  Put(0, 50);
  Attached("a", "red", "10.0.0.5");  // what it takes is known before its rules are there
  EXPECT_EQ(host->Host().pfs(0).hardware_rules(), one);
  EXPECT_EQ(host->Host().pfs(0).max_hardware_rules(), one);
  host->AddVm("b");
  host->Attach("b", "red", "10.0.0.6");
  const v1::ObjectStatus status = host->WaitFailed("b-red");
  EXPECT_EQ(status.step(), "vf placement");
  EXPECT_THAT(status.reason(), HasSubstr(StrCat("it holds ", one, " hardware rules")));
  EXPECT_THAT(status.reason(), HasSubstr(StrCat("max_hardware_rules is ", one)));
  EXPECT_EQ(host->PortStatus("a-red")->state(), v1::OBJECT_STATE_READY);
  host->Detach("a", "red");
  host->WaitReady("b-red");
}

}  // namespace
}  // namespace fairlead
