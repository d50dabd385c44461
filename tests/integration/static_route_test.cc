// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: static routes, and who has their next hops.
#include "agent/base/error.h"
#include "dataplane/pipeline/pipeline.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class StaticRouteTest : public AgentTest {
 protected:
  static void FillRoute(v1::Apply& apply, const std::string& id, const std::string& prefix,
                        const std::string& next_hop) {
    v1::Route* route = apply.add_upsert()->mutable_route();
    route->set_id(id);
    route->set_vpc("red");
    route->set_prefix(prefix);
    route->set_next_hop(next_hop);
  }
  void PutRoute(const std::string& id, const std::string& prefix, const std::string& next_hop) {
    const v1::Reply reply =
        host->Apply([&](v1::Apply& apply) { FillRoute(apply, id, prefix, next_hop); });
    ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
  }
  void PutFar(const std::string& mac = "52:54:00:00:09:01") {
    ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                      FillEndpoint(apply, "far", "red", mac, "10.0.0.9", "192.0.2.2");
                    })
                    .has_accepted());
  }
  void Remove(v1::ObjectKind kind, const std::string& id) {
    ASSERT_TRUE(host->Apply([&](v1::Apply& apply) { FillRemove(apply, kind, id); }).has_accepted());
  }
  v1::ObjectStatus RouteStatus(const std::string& id) {
    return host->Status(v1::OBJECT_KIND_ROUTE, id).value_or(v1::ObjectStatus());
  }
  v1::ObjectStatus WaitRoute(const std::string& id, v1::ObjectState state,
                             const std::string& reason = "") {
    v1::ObjectStatus status;
    host->WaitUntil(StrCat(id, " is in state ", v1::ObjectState_Name(state)), [&] {
      status = RouteStatus(id);
      return status.state() == state && status.reason().find(reason) != std::string::npos;
    });
    return status;
  }
  // What the rule of a route does: "drop", "encap 192.0.2.2", "to 7"; "none" = there is none.
  std::string Does(const std::string& prefix) {
    for (const TcFilter& filter : Block(1000)) {
      const bool of_route = filter.id.priority >= kPrioStatic4 &&
                            filter.id.priority <= kPrioLastStatic && filter.match.dst_ip;
      if (!of_route || filter.match.dst_ip->ToString() != prefix) continue;
      for (const TcAction& action : filter.actions) {
        if (const auto* tunnel = std::get_if<TcTunnelSet>(&action)) {
          return StrCat("encap ", tunnel->dst.ToString());
        }
      }
      const auto* out = std::get_if<TcMirred>(&filter.actions.back());
      return out == nullptr ? "drop" : StrCat("to ", out->ifindex);
    }
    return "none";
  }
  void WaitDoes(const std::string& prefix, const std::string& what) {
    host->WaitUntil(StrCat(prefix, ": ", what), [&] { return Does(prefix) == what; });
  }
  static std::string To(uint16_t vf) { return StrCat("to ", FakeHost::Representor(vf)); }
};

constexpr char kOut[] = "198.51.100.0/24";

TEST_F(StaticRouteTest, WhatItCoversIsDroppedUntilItsNextHopIsThere) {
  Begin();
  PutRoute("out", kOut, "10.0.0.9");
  WaitRoute("out", v1::OBJECT_STATE_PENDING,
            "no port or endpoint of VPC red has its next hop 10.0.0.9");
  Attached("a", "red", "10.0.0.5");  // which does not wait for it
  EXPECT_EQ(Does(kOut), "drop");
  PutFar();
  const v1::ObjectStatus ready = WaitRoute("out", v1::OBJECT_STATE_READY);
  EXPECT_EQ(ready.observed_generation(), ready.generation());
  EXPECT_EQ(ready.rules_wanted(), 1U);
  EXPECT_EQ(ready.rules_observed(), 1U);
  EXPECT_EQ(Does(kOut), "encap 192.0.2.2");
  Remove(v1::OBJECT_KIND_ENDPOINT, "far");
  WaitRoute("out", v1::OBJECT_STATE_PENDING);
  EXPECT_EQ(Does(kOut), "drop");
}

TEST_F(StaticRouteTest, ItFollowsItsNextHopFromAPortHereToAnEndpoint) {
  Begin();
  TwoAttached();
  PutRoute("out", "0.0.0.0/0", "10.0.0.6");
  WaitRoute("out", v1::OBJECT_STATE_READY);
  EXPECT_EQ(Does("0.0.0.0/0"), To(1));
  // The VM moves to another host, with its MAC and address.
  ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                    FillRemove(apply, v1::OBJECT_KIND_PORT, "b-red");
                    FillRemove(apply, v1::OBJECT_KIND_VM, "b");
                    FillEndpoint(apply, "far", "red", FakeHost::VfMac(1).ToString(), "10.0.0.6",
                                 "192.0.2.2");
                  })
                  .has_accepted());
  WaitDoes("0.0.0.0/0", "encap 192.0.2.2");
  WaitRoute("out", v1::OBJECT_STATE_READY);
  host->WaitGone("b-red");
  EXPECT_FALSE(Reaches(1000, FakeHost::Representor(1)));
  // And back, as another port.
  Remove(v1::OBJECT_KIND_ENDPOINT, "far");
  WaitDoes("0.0.0.0/0", "drop");
  Attached("c", "red", "10.0.0.6");
  WaitRoute("out", v1::OBJECT_STATE_READY);
  EXPECT_EQ(Does("0.0.0.0/0"), To(1));
}

// sonic-swss 3979: a removal and what made it again were not merged, and a route was left at a
// drop.
TEST_F(StaticRouteTest, ARouteWhoseNextHopGoesAndComesBackIsNotLeftAtADrop) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  PutFar();
  PutRoute("out", kOut, "10.0.0.9");
  WaitRoute("out", v1::OBJECT_STATE_READY);
  Gate gate(*host->network, StrCat("Put(block ", BlockIndex(1000)));
  Remove(v1::OBJECT_KIND_ENDPOINT, "far");
  PutFar();
  gate.Open();
  WaitRoute("out", v1::OBJECT_STATE_READY);
  EXPECT_EQ(Does(kOut), "encap 192.0.2.2");
}

TEST_F(StaticRouteTest, ANextHopThatIsNotLedToHereIsSaid) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  PutRoute("out", kOut, "10.0.0.6");
  host->AddVm("b")->SetUuid(*Uuid::Parse("11111111-2222-4333-8444-555555555555"));
  host->Attach("b", "red", "10.0.0.6");
  WaitRoute("out", v1::OBJECT_STATE_PENDING, "port/b-red, which has its next hop 10.0.0.6, is not");
  EXPECT_EQ(Does(kOut), "drop");
  // An endpoint with the MAC of a port here: the port comes first.
  Remove(v1::OBJECT_KIND_PORT, "b-red");
  ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                    FillEndpoint(apply, "twin", "red", "52:54:00:00:09:01", "10.0.0.6",
                                 host->config.engine.compile.tunnel.local.ToString());
                  })
                  .has_accepted());
  WaitRoute("out", v1::OBJECT_STATE_PENDING,
            "endpoint/twin, which has its next hop 10.0.0.6, is "
            "said to be behind this host's own VTEP");
  EXPECT_EQ(Does(kOut), "drop");
}

TEST_F(StaticRouteTest, AChangedAndARemovedRouteLeaveNothing) {
  Begin();
  TwoAttached();
  const std::vector<TcFilter> before = Block(1000);
  PutRoute("out", kOut, "10.0.0.6");
  WaitRoute("out", v1::OBJECT_STATE_READY);
  PutRoute("out", "203.0.113.0/24", "10.0.0.5");
  WaitDoes("203.0.113.0/24", To(0));
  host->WaitUntil("the former prefix is led nowhere", [&] { return Does(kOut) == "none"; });
  Remove(v1::OBJECT_KIND_ROUTE, "out");
  host->WaitUntil("the rules are as before", [&] { return Block(1000) == before; });
  host->WaitUntil("the route is gone", [&] { return !host->Status(v1::OBJECT_KIND_ROUTE, "out"); });
}

// Of one length they change where they are, of two each goes to where the other was.
TEST_F(StaticRouteTest, TwoRoutesMaySwapTheirPrefixes) {
  Begin();
  TwoAttached();
  for (const char* other : {"203.0.113.0/24", "203.0.113.0/28"}) {
    const auto put = [&](const std::string& first, const std::string& second) {
      const v1::Reply reply = host->Apply([&](v1::Apply& apply) {
        FillRoute(apply, "one", first, "10.0.0.5");
        FillRoute(apply, "two", second, "10.0.0.6");
      });
      ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
    };
    put(kOut, other);
    WaitDoes(kOut, To(0));
    WaitDoes(other, To(1));
    put(other, kOut);
    WaitDoes(other, To(0));
    WaitDoes(kOut, To(1));
    WaitRoute("one", v1::OBJECT_STATE_READY);
    WaitRoute("two", v1::OBJECT_STATE_READY);
  }
}

TEST_F(StaticRouteTest, ARestartAdoptsRoutesAndChangesNothing) {
  Begin();
  TwoAttached();
  PutFar();
  PutRoute("here", "0.0.0.0/0", "10.0.0.6");
  PutRoute("there", kOut, "10.0.0.9");
  PutRoute("nowhere", "203.0.113.0/24", "10.0.0.77");
  WaitRoute("here", v1::OBJECT_STATE_READY);
  WaitRoute("there", v1::OBJECT_STATE_READY);
  WaitRoute("nowhere", v1::OBJECT_STATE_PENDING);
  const std::vector<TcFilter> rules = Block(1000);
  host->Stop();
  host->network->ClearCalls();
  host->Start();
  host->WaitReady("a-red");
  host->WaitReady("b-red");
  WaitRoute("here", v1::OBJECT_STATE_READY);
  WaitRoute("there", v1::OBJECT_STATE_READY);
  WaitRoute("nowhere", v1::OBJECT_STATE_PENDING);
  host->WaitUntil("the start is over", [&] { return host->Host().start().complete(); });
  ExpectNetworkUntouched();
  EXPECT_EQ(Block(1000), rules);
}

// What is not known is left as it is: its rules may carry packets.
TEST_F(StaticRouteTest, ARestartWithoutTheNextHopsNicLeavesTheRuleAsItIs) {
  Begin({.pfs = 2}, [](DaemonConfig& config) {
    config.providers.sriov_deadline = config.providers.bind_deadline =
        std::chrono::milliseconds(200);
  });
  Quiet();
  TwoAttached();
  ASSERT_EQ(host->PortStatus("b-red")->vf(), FakeHost::VfName(0, 1));
  PutRoute("out", kOut, "10.0.0.6");
  WaitRoute("out", v1::OBJECT_STATE_READY);
  const std::string before = Does(kOut);
  ASSERT_EQ(before, StrCat("to ", FakeHost::Representor(0, 1)));
  host->Stop();
  Gate gate(*host->network, "GetLink(pf1rep0)");
  host->Start();
  WaitRoute("out", v1::OBJECT_STATE_DEGRADED,
            "port/b-red, which has its next hop 10.0.0.6, cannot");
  host->AddVm("c");  // nobody waits for it
  host->Attach("c", "red", "10.0.0.7");
  host->WaitReady("c-red");
  EXPECT_EQ(Does(kOut), before);
  gate.Open();
  WaitRoute("out", v1::OBJECT_STATE_READY);
  EXPECT_EQ(Does(kOut), before);
}

// Whoever got the VF next would get another tenant's packets.
TEST_F(StaticRouteTest, AVfIsNotGivenBackWhileARouteStillSendsToIt) {
  Begin();
  TwoAttached();
  PutRoute("out", kOut, "10.0.0.6");
  WaitRoute("out", v1::OBJECT_STATE_READY);
  const std::string place = StrCat(" prio ", kPrioStatic4 + 8, " ");
  host->network->FailWhen(
      [&](std::string_view call) {
        return call.starts_with("Put(") && call.find(place) != std::string_view::npos;
      },
      SystemError(ENOMEM, "put the rule"), 1000);
  host->Detach("b", "red");
  host->WaitPort("b-red", [](const auto& s) {
    return s && s->reason().find("may still send to its VF") != std::string::npos;
  });
  EXPECT_EQ(Does(kOut), To(1));
  host->network->ClearFaults();
  host->WaitGone("b-red");
  EXPECT_EQ(Does(kOut), "drop");
}

TEST_F(StaticRouteTest, ARuleThatSomebodyDeletesComesBack) {
  Begin();
  TwoAttached();
  PutRoute("out", kOut, "10.0.0.6");
  WaitRoute("out", v1::OBJECT_STATE_READY);
  for (const TcFilter& filter : Block(1000)) {
    if (filter.id.priority != kPrioStatic4 + 8) continue;
    FakeTcPort tc(host->network);
    const TcChange change{TcChange::Verb::kDelete, {BlockIndex(1000), 0}, filter};
    ASSERT_TRUE(tc.Apply({&change, 1}).front().ok());
  }
  WaitDoes(kOut, To(1));
}

TEST_F(StaticRouteTest, AnUnresolvedTunnelPeerMakesTheRouteDegraded) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  PutFar();
  PutRoute("out", kOut, "10.0.0.9");
  WaitRoute("out", v1::OBJECT_STATE_READY);
  host->network->SetStation(*IpAddress::Parse("192.0.2.2"), std::nullopt);
  WaitRoute("out", v1::OBJECT_STATE_DEGRADED, "not resolved: the next hop to 192.0.2.2");
}

TEST_F(StaticRouteTest, ARemovedSubnetIsTheRoutesAgain) {
  Begin();
  TwoAttached();
  PutRoute("out", "0.0.0.0/0", "10.0.0.6");
  WaitRoute("out", v1::OBJECT_STATE_READY);
  const std::vector<TcFilter> before = Block(1000);
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    v1::Subnet* subnet = apply.add_upsert()->mutable_subnet();
                    subnet->set_id("red-2");
                    subnet->set_vpc("red");
                    subnet->add_prefixes("10.0.1.0/24");
                  })
                  .has_accepted());
  host->WaitUntil("its addresses are its ports'", [&] {
    for (const TcFilter& filter : Block(1000)) {
      if (filter.id.priority == kPrioConnected4 &&
          filter.match.dst_ip->ToString() == "10.0.1.0/24") {
        return true;
      }
    }
    return false;
  });
  Remove(v1::OBJECT_KIND_SUBNET, "red-2");
  host->WaitUntil("nothing is left of it", [&] { return Block(1000) == before; });
}

TEST_F(StaticRouteTest, ADryRunShowsWhatBecomesOfARoute) {
  Begin();
  TwoAttached();
  const auto dry = [&](const std::function<void(v1::Apply&)>& fill) {
    v1::Request request;
    request.set_dry_run(true);
    fill(*request.mutable_apply());
    const v1::Reply reply = host->Send(request);
    EXPECT_TRUE(reply.has_plan()) << reply.ShortDebugString();
    return reply.plan();
  };
  v1::Plan plan = dry([](v1::Apply& apply) { FillRoute(apply, "out", kOut, "10.0.0.6"); });
  ASSERT_EQ(plan.steps_size(), 1) << plan.ShortDebugString();
  EXPECT_EQ(plan.steps(0).verb(), "create");
  EXPECT_EQ(plan.steps(0).owner(), "route/out");
  EXPECT_THAT(plan.steps(0).detail(), HasSubstr(kOut));
  EXPECT_EQ(plan.blocked_size(), 0);
  plan = dry([](v1::Apply& apply) { FillRoute(apply, "out", kOut, "10.0.0.7"); });
  ASSERT_EQ(plan.blocked_size(), 1) << plan.ShortDebugString();
  EXPECT_THAT(plan.blocked(0).reason(), HasSubstr("has its next hop 10.0.0.7"));
  EXPECT_EQ(Does(kOut), "none");
  // What a change of another object does to it.
  PutRoute("out", kOut, "10.0.0.6");
  WaitRoute("out", v1::OBJECT_STATE_READY);
  plan = dry([](v1::Apply& apply) { FillRemove(apply, v1::OBJECT_KIND_PORT, "b-red"); });
  bool changed = false;
  for (const v1::Plan::Step& step : plan.steps()) {
    changed |= step.owner() == "route/out" && step.verb() == "update";
  }
  EXPECT_TRUE(changed) << plan.ShortDebugString();
}

TEST_F(StaticRouteTest, ExplainFlowFollowsIt) {
  Begin();
  TwoAttached();
  PutRoute("out", "0.0.0.0/0", "10.0.0.6");
  WaitRoute("out", v1::OBJECT_STATE_READY);
  v1::Request request;
  request.mutable_explain_flow()->set_port("a-red");
  request.mutable_explain_flow()->set_to("198.51.100.7");
  const v1::FlowExplanation flow = host->Send(request).flow();
  EXPECT_EQ(flow.verdict().kind(), "delivered") << flow.ShortDebugString();
  EXPECT_EQ(flow.verdict().port(), "b-red");
  ASSERT_EQ(flow.steps_size(), 3);
  EXPECT_EQ(flow.steps(2).owner(), "route/out");
  EXPECT_THAT(flow.steps(2).does(),
              AllOf(HasSubstr("route/out, 0.0.0.0/0 by 10.0.0.6"), HasSubstr("port/b-red")));
}

// Of the port that it leads to, and of one that sends by it.
TEST_F(StaticRouteTest, ARouteInSoftwareShowsInTheStatusOfPortsThatMustHaveHardware) {
  Begin({.offload_capable = true});
  for (const char* vm : {"a", "b"}) {
    host->AddVm(vm);
    v1::Request request = host->AddVmRequest(vm, "red", vm[0] == 'a' ? "10.0.0.5" : "10.0.0.6");
    request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_MUST);
    ASSERT_TRUE(host->Send(request).has_accepted());
    host->WaitReady(StrCat(vm, "-red"));
  }
  PutRoute("out", kOut, "10.0.0.6");
  EXPECT_EQ(WaitRoute("out", v1::OBJECT_STATE_READY).rules_in_hardware(), 1U);
  EXPECT_EQ(host->PortStatus("a-red")->state(), v1::OBJECT_STATE_READY);
  EXPECT_EQ(host->PortStatus("b-red")->state(), v1::OBJECT_STATE_READY);
  for (TcFilter filter : Block(1000)) {
    if (filter.id.priority != kPrioStatic4 + 8) continue;
    filter.flags = TcFilter::Flags::kSkipHw;  // and else as it was
    FakeTcPort tc(host->network);
    const TcChange change{TcChange::Verb::kPut, {BlockIndex(1000), 0}, filter};
    ASSERT_TRUE(tc.Apply({&change, 1}).front().ok());
  }
  host->network->LoseRuleEvents();  // of what has its own mark nothing is expected
  const auto wait = [&](const std::string& port, const std::string& reason) {
    host->WaitPort(port, [&](const auto& s) {
      return s && s->state() == v1::OBJECT_STATE_DEGRADED &&
             s->reason().find(reason) != std::string::npos;
    });
  };
  wait("a-red", "of route/out runs in software");
  wait("b-red", "must run in hardware and does for 0 of the 1 other ports");
}

}  // namespace
}  // namespace fairlead
