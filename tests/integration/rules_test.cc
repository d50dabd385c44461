// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: which rules there are, where they run, and what they have met.
#include <map>
#include <set>

#include "dataplane/pipeline/pipeline.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::SizeIs;

using Rule = v1::RuleList::Rule;

class RulesTest : public AgentTest {
 protected:
  std::vector<Rule> RulesOf(const std::string& match, bool counters = false) {
    v1::ListRules question;
    question.set_match(match);
    question.set_counters(counters);
    return host->Rules(question);
  }
  v1::Reply Ask(const v1::ListRules& question) {
    v1::Request request;
    *request.mutable_list_rules() = question;
    return host->Send(request);
  }
  v1::ObjectWithStatus Counted(const std::string& port) {
    v1::Request request;
    request.mutable_get()->set_kind(v1::OBJECT_KIND_PORT);
    request.mutable_get()->set_id(port);
    request.mutable_get()->set_counters(true);
    const v1::Reply reply = host->Send(request);
    EXPECT_EQ(reply.get().objects_size(), 1) << reply.ShortDebugString();
    return reply.get().objects_size() == 1 ? reply.get().objects(0) : v1::ObjectWithStatus();
  }
  v1::Rejected::Violation Refused(const v1::Request& request) {
    const v1::Reply reply = host->Send(request);
    EXPECT_EQ(reply.rejected().violations_size(), 1) << reply.ShortDebugString();
    return reply.rejected().violations_size() > 0 ? reply.rejected().violations(0)
                                                  : v1::Rejected::Violation();
  }
  void PutEndpoint(const std::string& id, const std::string& address, const std::string& vtep,
                   v1::ObjectState state) {
    ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                      FillEndpoint(apply, id, "red", "52:54:00:00:09:01", address, vtep);
                    })
                    .has_accepted());
    host->WaitUntil(id, [&] { return EndpointStatus(id).state() == state; });
  }
  // As the kernel and the NIC would.
  void Count(const Rule& rule, const RuleCounters& more) {
    const bool tunnel = rule.table() == "tunnel";
    const TcAttachPoint at = tunnel ? TcAttachPoint{0, Tunnel()} : TcAttachPoint{BlockIndex(1000)};
    const auto priority = static_cast<uint16_t>(rule.priority());
    host->network->Count(at, {rule.chain(), priority, rule.handle()}, more);
  }
  uint32_t Tunnel() {
    FakeRtnetlinkPort links(host->network);
    return links.GetLink("fl-vxlan0")->ifindex;
  }
  static v1::ListRules OfPort(const std::string& port) {
    v1::ListRules question;
    question.set_port(port);
    return question;
  }
  static std::set<std::string> Stages(const std::vector<Rule>& rules) {
    std::set<std::string> stages;
    for (const Rule& rule : rules) stages.insert(rule.stage());
    return stages;
  }
};

TEST_F(RulesTest, OfAPortAreToldWithPlacePurposeAndWhereTheyRun) {
  Begin();
  TwoAttached();
  const std::vector<Rule> rules = host->Rules(OfPort("a-red"));
  EXPECT_THAT(Stages(rules), IsSupersetOf({"admit", "subnet red-1", "tunnel"}));
  for (const Rule& rule : rules) {
    EXPECT_EQ(rule.owner(), "port/a-red");
    EXPECT_EQ(rule.state(), "in software") << rule.ShortDebugString();
    EXPECT_EQ(rule.detail() + StrCat(rule.in_hw_count()), "0");
    EXPECT_THAT(rule.text(), HasSubstr(" -> "));
    EXPECT_EQ(rule.location(),
              StrCat(rule.table(), "/", rule.chain(), "/", rule.priority(), "/", rule.handle()));
    EXPECT_FALSE(rule.has_counters()) << "not asked for";
  }
  EXPECT_EQ(rules.size(), RulesOf("port/a-red").size());
  for (const Rule& rule : host->Rules()) EXPECT_NE(rule.state(), "missing");
}

TEST_F(RulesTest, InHardwareTheyAreSaidToBeThere) {
  Begin({.offload_capable = true});
  TwoAttached();
  for (const Rule& rule : RulesOf("port/a-red")) {
    if (rule.table() != "block-1000" || rule.chain() != 0) continue;
    EXPECT_EQ(rule.state(), "in hardware") << rule.ShortDebugString();
    EXPECT_GT(rule.in_hw_count(), 0U);
  }
}

TEST_F(RulesTest, ThatSendToAPeerWhoseNextHopIsMissingAreOnTheSlowPath) {
  Begin({.offload_capable = true});
  Attached("a", "red", "10.0.0.5");
  PutEndpoint("far", "10.0.0.20", "192.0.2.2", v1::OBJECT_STATE_READY);
  const std::vector<Rule> rules = RulesOf("endpoint/far");
  ASSERT_THAT(rules, ::testing::Not(IsEmpty()));
  for (const Rule& rule : rules) {
    EXPECT_EQ(rule.state(), "in hardware") << rule.ShortDebugString();
    EXPECT_THAT(rule.text(), HasSubstr("remote 192.0.2.2")) << "compiled for whoever asks";
  }
  PutEndpoint("far", "10.0.0.20", "192.0.2.77", v1::OBJECT_STATE_DEGRADED);
  for (const Rule& rule : RulesOf("endpoint/far")) {
    EXPECT_EQ(rule.state(), "slow path") << rule.ShortDebugString();
    EXPECT_THAT(rule.detail(), HasSubstr("the next hop to 192.0.2.77 is not resolved"));
  }
}

TEST_F(RulesTest, ThatTheKernelRefusedHaveItsWordsAndOthersOfTheirOwnerDoNot) {
  Begin({}, TryOnce);
  Attached("a", "red", "10.0.0.5");
  host->network->FailNext("Put", absl::ResourceExhaustedError("No space left: the table is full"));
  PutEndpoint("far", "10.0.0.20", "192.0.2.2", v1::OBJECT_STATE_DEGRADED);
  std::multiset<std::string> states;
  for (const Rule& rule : RulesOf("endpoint/far")) {
    states.insert(rule.state());
    if (rule.state() == "refused") EXPECT_THAT(rule.detail(), HasSubstr("the table is full"));
  }
  EXPECT_EQ(states.count("refused"), 1U) << ::testing::PrintToString(states);
  EXPECT_EQ(states.count("missing"), 0U);
}

TEST_F(RulesTest, TwoThatTheKernelRefusedHaveItsWordsEach) {
  Begin({}, TryOnce);
  Attached("a", "red", "10.0.0.5");
  host->network->FailNext("Put", absl::ResourceExhaustedError("the table is full"));
  host->network->FailNext("Put", absl::InvalidArgumentError("no such key"));
  PutEndpoint("far", "10.0.0.20", "192.0.2.2", v1::OBJECT_STATE_DEGRADED);
  std::vector<std::string> refused;
  for (const Rule& rule : RulesOf("endpoint/far")) {
    if (rule.state() == "refused") refused.push_back(rule.detail());
  }
  EXPECT_THAT(refused,
              UnorderedElementsAre(HasSubstr("the table is full"), HasSubstr("no such key")));
}

TEST_F(RulesTest, ThatFewerDevicesHaveThanWereOfferedThemAreInHardwareInPart) {
  Begin({.offload_capable = true});
  TwoAttached();
  Attached("c", "red", "10.0.0.7");
  const auto delivery = [&](bool counted) {
    for (const Rule& rule : RulesOf("port/a-red", counted)) {
      if (rule.stage() == "subnet red-1" && rule.text().find("redirect") != std::string::npos) {
        return rule;
      }
    }
    return Rule();
  };
  const Rule whole = delivery(/*counted=*/true);
  EXPECT_EQ(whole.state(), "in hardware") << whole.ShortDebugString();
  EXPECT_EQ(whole.in_hw_count(), 2U) << "its own VF does not take it";
  EXPECT_EQ(whole.offered(), 2U);
  FakeRtnetlinkPort links(host->network);
  host->network->SetOffloadCapable(links.GetLink("pf0rep2")->ifindex, false);
  const Rule part = delivery(/*counted=*/true);
  EXPECT_EQ(part.state(), "in hardware in part") << part.ShortDebugString();
  EXPECT_EQ(part.in_hw_count(), 1U);
  EXPECT_EQ(part.detail(), "in hardware for 1 of the 2 ports of its block");
}

TEST_F(RulesTest, OfOthersAreToldAsTheirs) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  TcFilterInfo stranger;
  stranger.id = {0, 777, 1};
  stranger.kind = "matchall";
  stranger.ethertype = kEtherAll;
  host->network->AddForeignFilter({BlockIndex(1000), 0}, stranger);
  host->WaitUntil("it is seen", [&] {
    host->network->LoseRuleEvents();
    return !RulesOf("block-1000/0/777/1").empty();
  });
  const Rule rule = RulesOf("block-1000/0/777/1").front();
  EXPECT_EQ(rule.state(), "somebody else's");
  EXPECT_THAT(rule.detail(), HasSubstr("matchall"));
  EXPECT_EQ(rule.text() + rule.owner(), "");
}

TEST_F(RulesTest, PagesHaveAllOfThemOnceAndInOrder) {
  Begin();
  TwoAttached();
  PutEndpoint("far", "10.0.0.20", "192.0.2.2", v1::OBJECT_STATE_READY);
  std::vector<std::string> whole;
  for (const Rule& rule : host->Rules()) whole.push_back(rule.location());
  ASSERT_GT(whole.size(), 10U);
  std::vector<std::string> paged;
  v1::ListRules question;
  question.set_limit(3);
  v1::Reply reply;
  do {
    reply = Ask(question);
    EXPECT_LE(reply.rules().rules_size(), 3);
    for (const Rule& rule : reply.rules().rules()) paged.push_back(rule.location());
    question.set_after(reply.rules().next());
  } while (!question.after().empty() && paged.size() <= whole.size());
  EXPECT_EQ(paged, whole);
  EXPECT_EQ(std::set<std::string>(whole.begin(), whole.end()).size(), whole.size());
  question.set_after("tunnel/4294967295/65535/4294967295");
  EXPECT_THAT(Ask(question).rules().rules(), IsEmpty());
}

TEST_F(RulesTest, CountersAreTheKernelsAndHardwaresShareIsApart) {
  Begin({.offload_capable = true});
  TwoAttached();
  const std::vector<Rule> before = RulesOf("port/a-red", /*counters=*/true);
  ASSERT_THAT(before, ::testing::Not(IsEmpty()));
  Count(before.front(), {{10, 840}, {8, 672}});
  for (const Rule& rule : RulesOf("port/a-red", /*counters=*/true)) {
    ASSERT_TRUE(rule.has_counters()) << rule.ShortDebugString();
    const bool met = rule.location() == before.front().location();
    EXPECT_EQ(rule.counters().packets(), met ? 10U : 0U);
    EXPECT_EQ(rule.counters().bytes(), met ? 840U : 0U);
    EXPECT_EQ(rule.counters().hardware_packets(), met ? 8U : 0U);
    EXPECT_EQ(rule.counters().hardware_bytes(), met ? 672U : 0U);
  }
}

TEST_F(RulesTest, OfAPortWhatItsRulesLetThroughIsItsTraffic) {
  Begin();
  TwoAttached();
  const v1::ObjectStatus before = *host->PortStatus("a-red");
  int delivering = 0;
  for (const Rule& rule : host->Rules(OfPort("a-red"))) {
    const bool admits = rule.stage() == "admit";
    const bool delivers = rule.text().find("redirect representor") != std::string::npos;
    EXPECT_NE(admits, delivers) << rule.ShortDebugString();
    if (delivers) ++delivering;
    Count(rule, admits ? RuleCounters{{10, 840}, {4, 336}} : RuleCounters{{3, 252}, {1, 84}});
  }
  ASSERT_GE(delivering, 2) << "from its subnet and by the tunnel";
  const v1::ObjectWithStatus object = Counted("a-red");
  const v1::Traffic& traffic = object.traffic();
  EXPECT_EQ(traffic.sent().packets(), 10U);
  EXPECT_EQ(traffic.sent().bytes(), 840U);
  EXPECT_EQ(traffic.sent().hardware_packets(), 4U);
  EXPECT_EQ(traffic.sent().hardware_bytes(), 336U);
  EXPECT_EQ(traffic.received().packets(), 3U * delivering);
  EXPECT_EQ(traffic.received().hardware_bytes(), 84U * delivering);
  EXPECT_EQ(traffic.problem(), "");
  EXPECT_EQ(object.status().SerializeAsString(), before.SerializeAsString())
      << "no status changes with a packet";
  EXPECT_EQ(Counted("b-red").traffic().sent().packets(), 0U);
  EXPECT_FALSE(host->Get(v1::OBJECT_KIND_PORT, "a-red")->has_traffic()) << "not asked for";
}

TEST_F(RulesTest, WhatARouteLeadsToAPortIsReceivedByIt) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                    v1::Route* route = apply.add_upsert()->mutable_route();
                    route->set_id("out");
                    route->set_vpc("red");
                    route->set_prefix("198.51.100.0/24");
                    route->set_next_hop("10.0.0.5");
                  })
                  .has_accepted());
  host->WaitUntil("the route stands", [&] {
    const auto status = host->Status(v1::OBJECT_KIND_ROUTE, "out");
    return status && status->state() == v1::OBJECT_STATE_READY;
  });
  const std::vector<Rule> rules = RulesOf("route/out");
  ASSERT_THAT(rules, SizeIs(1));
  Count(rules.front(), {{5, 420}, {}});
  EXPECT_EQ(Counted("a-red").traffic().received().packets(), 5U);
}

TEST_F(RulesTest, AnExplanationTellsWhatEachRuleOnTheWayHasMet) {
  Begin();
  TwoAttached();
  for (const Rule& rule : host->Rules()) {
    if (rule.table() == "block-1000") Count(rule, {{rule.priority(), 7}, {}});
  }
  v1::Request request;
  request.mutable_explain_flow()->set_port("a-red");
  request.mutable_explain_flow()->set_to("10.0.0.6");
  const v1::FlowExplanation flow = host->Send(request).flow();
  ASSERT_EQ(flow.steps_size(), 2) << flow.ShortDebugString();
  for (const auto& step : flow.steps()) {
    EXPECT_EQ(step.counters().packets(), step.priority()) << step.ShortDebugString();
  }
  EXPECT_EQ(flow.counters_problem(), "");
}

TEST_F(RulesTest, AnExplanationWhoseCountersAreLateIsTold) {
  Begin({}, [](DaemonConfig& config) {
    config.engine.explain_within = std::chrono::milliseconds(2'000);
    config.engine.count_within = std::chrono::milliseconds(60'000);
  });
  TwoAttached();
  v1::Request request;
  request.mutable_explain_flow()->set_port("a-red");
  request.mutable_explain_flow()->set_to("10.0.0.6");
  Gate gate(*host->network, "Get(filter");
  const v1::FlowExplanation flow = host->Send(request).flow();
  EXPECT_EQ(flow.verdict().kind(), "delivered") << flow.ShortDebugString();
  EXPECT_EQ(flow.counters_problem(), "they were not read within the 2000 ms of the question");
  for (const auto& step : flow.steps()) EXPECT_FALSE(step.has_counters());
}

// Where the kernel is held up, those who ask are told, and do not pile up behind it.
TEST_F(RulesTest, ThatCannotBeReadAreListedAndOneReadingServesAllWhoAsk) {
  Begin({},
        [](DaemonConfig& config) { config.engine.count_within = std::chrono::milliseconds(20); });
  Attached("a", "red", "10.0.0.5");
  v1::ListRules question = OfPort("a-red");
  question.set_counters(true);
  host->network->ClearCalls();
  {
    Gate gate(*host->network, "Get(filter");
    for (int i = 0; i < 3; ++i) {
      const v1::Reply reply = Ask(question);
      EXPECT_THAT(reply.rules().rules(), ::testing::Not(IsEmpty()));
      EXPECT_THAT(reply.rules().counters_problem(), HasSubstr("block-1000"));
      EXPECT_THAT(reply.rules().counters_problem(), HasSubstr("not read within 20 ms"));
      EXPECT_THAT(Counted("a-red").traffic().problem(), HasSubstr("not read within 20 ms"));
    }
  }
  int asked = 0;
  host->WaitUntil("they are read again", [&] {
    ++asked;
    return Ask(question).rules().counters_problem().empty();
  });
  std::map<std::string, int> readings;
  for (const std::string& call : host->network->Calls()) {
    if (call.starts_with("Get(filter")) ++readings[call];
  }
  for (const auto& [call, times] : readings) EXPECT_LE(times, 1 + asked) << call;
}

TEST_F(RulesTest, WhatCannotBeAskedIsRefusedByName) {
  Begin();
  v1::Request request;
  *request.mutable_list_rules() = OfPort("zz");
  EXPECT_EQ(Refused(request).reason(), "port/zz is not there");
  EXPECT_EQ(Refused(request).code(), v1::Rejected::CODE_NOT_FOUND);
  request.mutable_list_rules()->set_after("nowhere");
  EXPECT_EQ(Refused(request).path(), "list_rules.after");
  request.mutable_get()->set_kind(v1::OBJECT_KIND_PORT);
  request.mutable_get()->set_counters(true);
  EXPECT_EQ(Refused(request).path(), "get.counters") << "of all ports";
  request.mutable_get()->set_kind(v1::OBJECT_KIND_VM);
  request.mutable_get()->set_id("a");
  EXPECT_EQ(Refused(request).path(), "get.counters") << "of no port";
}

}  // namespace
}  // namespace fairlead
