// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: endpoints that stand as they are wanted have no unit, and are
// noticed, said, repaired and taken away like everything else.
#include <errno.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_format.h"
#include "agent/base/error.h"
#include "dataplane/pipeline/pipeline.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class RestingTest : public AgentTest {
 protected:
  static constexpr int kMany = 600;  // more than a slice of a sweep

  static std::string Mac(int n) {
    return absl::StrFormat("52:54:00:01:%02x:%02x", n / 256, n % 256);
  }
  // "red" is routed; its endpoints are "e0", "e1", ... behind one VTEP.
  void BeginWith(int endpoints) {
    Begin();
    ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                      v1::Subnet* subnet = apply.add_upsert()->mutable_subnet();
                      subnet->set_id("red-1");
                      subnet->set_vpc("red");
                      subnet->add_prefixes("10.0.0.0/16");
                      subnet->add_gateways("10.0.255.254");
                    })
                    .has_accepted());
    for (int first = 0; first < endpoints; first += 1000) {
      ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                        for (int n = first; n < std::min(first + 1000, endpoints); ++n) {
                          FillEndpoint(apply, StrCat("e", n), "red", Mac(n),
                                       StrCat("10.0.", 1 + n / 256, ".", n % 256), "192.0.2.2");
                        }
                      })
                      .has_accepted());
    }
    Attached("a", "red", "10.0.0.5");
    WaitAllReady();
  }
  void WaitAllReady() {
    host->WaitUntil("all are ready", [&] {
      const v1::HostState state = host->Host();
      return state.objects_ready() == state.objects_total();
    });
  }
  // The rules of an endpoint in the kernel: its delivery, and its route.
  std::vector<TcFilter> RulesOf(const std::string& id) {
    std::set<std::string> places;
    for (const v1::RuleList::Rule& rule : host->Rules()) {
      if (rule.owner() == "endpoint/" + id) places.insert(rule.location());
    }
    std::vector<TcFilter> own;
    for (const TcFilter& filter : Block(1000)) {
      if (places.contains(StrCat("block-1000/", filter.id.chain, "/", filter.id.priority, "/",
                                 filter.id.handle))) {
        own.push_back(filter);
      }
    }
    return own;
  }
  void DeleteBehindTheAgent(const TcFilter& filter) {
    FakeTcPort tc(host->network);
    const TcChange change{TcChange::Verb::kDelete, {BlockIndex(1000), 0}, filter};
    ASSERT_TRUE(tc.Apply({&change, 1}).front().ok());
  }
  std::vector<std::string> Changes() {
    std::vector<std::string> changes;
    for (const std::string& call : host->network->Calls()) {
      if (call.starts_with("Put(") || call.starts_with("Delete(")) changes.push_back(call);
    }
    return changes;
  }
};

TEST_F(RestingTest, ARestartChangesNoRuleOfManyAndCountsThemAsAdopted) {
  BeginWith(kMany);
  const std::vector<TcFilter> rules = Block(1000);
  host->Stop();
  host->network->ClearCalls();
  host->Start();
  host->WaitUntil("all was looked at", [&] { return host->Host().start().complete(); });
  EXPECT_THAT(Changes(), SizeIs(0));
  EXPECT_EQ(Block(1000), rules);
  const v1::HostState::Start start = host->Host().start();
  EXPECT_GE(start.adopted(), 2 * kMany);
  EXPECT_EQ(start.repaired(), 0);
  EXPECT_EQ(start.removed(), 0);
  WaitAllReady();
  EXPECT_EQ(EndpointStatus("e7").rules_observed(), 2);
}

TEST_F(RestingTest, ARuleThatSomebodyDeletesIsToldAndMadeAgain) {
  BeginWith(3);
  const std::vector<TcFilter> before = Block(1000), own = RulesOf("e1");
  ASSERT_THAT(own, SizeIs(2));
  host->network->ClearCalls();
  DeleteBehindTheAgent(own.front());
  host->WaitUntil("it is told and repaired", [&] {
    const v1::HostState state = host->Host();
    for (const v1::Drift& drift : state.drifts()) {
      if (drift.owner() == "endpoint/e1" && drift.repaired_time() != 0) {
        EXPECT_THAT(drift.change(), HasSubstr(Mac(1)));
        return true;
      }
    }
    return false;
  });
  EXPECT_EQ(Block(1000), before);
  EXPECT_THAT(Changes(), SizeIs(2)) << "the deletion, and one rule made";
  DeleteBehindTheAgent(RulesOf("e1").back());
  host->WaitUntil("a second time, too", [&] { return Block(1000) == before; });
}

TEST_F(RestingTest, ARuleThatWasDeletedWhileTheAgentWasDownIsMadeAgainAndCounted) {
  BeginWith(3);
  const std::vector<TcFilter> before = Block(1000), own = RulesOf("e1");
  host->Stop();
  DeleteBehindTheAgent(own.back());
  host->network->ClearCalls();
  host->Start();
  host->WaitUntil("all was looked at", [&] { return host->Host().start().complete(); });
  EXPECT_EQ(Block(1000), before);
  EXPECT_THAT(Changes(), SizeIs(1));
  EXPECT_EQ(host->Host().start().repaired(), 1);
}

// What it had and does not want any more has nobody but the table to tell of it.
TEST_F(RestingTest, WhatIsNotWantedAnyMoreOfAllOfThemGoes) {
  BeginWith(kMany);
  const auto routes = [&] {
    size_t count = 0;
    for (const TcFilter& filter : Block(1000)) count += filter.id.priority == kPrioRoute4 ? 1 : 0;
    return count;
  };
  ASSERT_EQ(routes(), kMany + 1);  // the port has one, too
  host->Stop();
  host->Start();  // from now on no unit knows of them
  host->WaitUntil("all was looked at", [&] { return host->Host().start().complete(); });
  ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                    v1::Subnet* subnet = apply.add_upsert()->mutable_subnet();
                    subnet->set_id("red-1");
                    subnet->set_vpc("red");
                    subnet->add_prefixes("10.0.0.0/16");
                  })
                  .has_accepted());
  host->WaitUntil("nothing is routed", [&] { return routes() == 0; });
  WaitAllReady();
  EXPECT_EQ(EndpointStatus("e7").rules_wanted(), 1);
}

TEST_F(RestingTest, ARemovalAfterARestartTakesItsOwnRulesAndNoOthers) {
  BeginWith(3);
  host->Stop();
  host->Start();
  host->WaitUntil("all was looked at", [&] { return host->Host().start().complete(); });
  std::vector<TcFilter> rest = Block(1000);
  for (const TcFilter& gone : RulesOf("e1")) std::erase(rest, gone);
  v1::Request request;
  FillRemove(*request.mutable_apply(), v1::OBJECT_KIND_ENDPOINT, "e1");
  request.set_dry_run(true);
  const v1::Reply plan = host->Send(request);
  ASSERT_EQ(plan.plan().steps_size(), 2) << plan.ShortDebugString();
  for (const v1::Plan::Step& step : plan.plan().steps()) {
    EXPECT_EQ(step.verb(), "delete");
    EXPECT_EQ(step.owner(), "endpoint/e1");
  }
  request.set_dry_run(false);
  ASSERT_TRUE(host->Send(request).has_accepted());
  host->WaitUntil("its rules are gone", [&] { return Block(1000) == rest; });
  host->WaitUntil("it is gone",
                  [&] { return !host->Get(v1::OBJECT_KIND_ENDPOINT, "e1").has_value(); });
}

// Whoever asked while they were not known yet is told when they are.
TEST_F(RestingTest, WhoAskedTooEarlyIsToldLater) {
  BeginWith(3);
  host->Stop();
  Gate gate(*host->network, StrCat("Dump(block ", BlockIndex(1000)));
  host->Start();
  host->WaitUntil("it is not known yet",
                  [&] { return EndpointStatus("e1").state() == v1::OBJECT_STATE_APPLYING; });
  auto subscriber = Subscriber::Connect(host->config.server.events, "");
  ASSERT_TRUE(subscriber.ok()) << subscriber.status();
  // A subscription counts from some moment on.
  host->WaitUntil("an event is seen", [&] {
    host->Apply([](v1::Apply& apply) { FillPort(apply, "probe", "", "blue"); });
    host->Apply([](v1::Apply& apply) { FillRemove(apply, v1::OBJECT_KIND_PORT, "probe"); });
    return (*subscriber)->Next(std::chrono::milliseconds(50)).ok();
  });
  gate.Open();
  host->WaitUntil("it is told that it is ready", [&] {
    auto got = (*subscriber)->Next(std::chrono::milliseconds(200));
    v1::Event event;
    return got.ok() && got->first == "endpoint/e1" && event.ParseFromString(got->second) &&
           event.status().state() == v1::OBJECT_STATE_READY;
  });
}

TEST_F(RestingTest, WhatWentWrongOnceIsStillToldOfOneThatStandsAgain) {
  BeginWith(3);
  const std::vector<TcFilter> before = Block(1000);
  const auto error = [this] { return host->Get(v1::OBJECT_KIND_ENDPOINT, "e1")->last_error(); };
  EXPECT_EQ(error().times(), 0U);
  host->network->FailNext("Put", SystemError(EBUSY, "put a rule", "the NIC is busy"));
  DeleteBehindTheAgent(RulesOf("e1").front());
  const auto mended = [&] {
    return Block(1000) == before && error().times() == 1 &&
           EndpointStatus("e1").state() == v1::OBJECT_STATE_READY;
  };
  host->WaitUntil("it failed once, and was made again", mended);
  DeleteBehindTheAgent(RulesOf("e1").back());
  host->WaitUntil("it was made again at once", mended);
  EXPECT_THAT(error().reason(), HasSubstr("the NIC is busy"));
}

}  // namespace
}  // namespace fairlead
