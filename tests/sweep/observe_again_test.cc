// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes, step by step: what it looks at again when messages of the kernel
// are lost, a table changes while it is read, or a monitor comes back. That, and nothing else: on
// a large host a look at everything takes long, and what is lost once is lost often.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/text.h"
#include "agent/ports/fault/fault_plan.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"
#include "dataplane/pipeline/pipeline.h"
#include "tests/sweep/stepped_host.h"

namespace fairlead {
namespace {

using ::testing::Each;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr char kTorn[] = "the kernel's table changed while it was read; ask again";

// Two NICs and a hot-plug port; VM "a" in "red" on the first NIC, "b" in "blue" on the second,
// an endpoint of "red" elsewhere. No audit comes in an hour.
class ObserveAgainTest : public ::testing::Test {
 protected:
  void SetUp() override {
    SteppedHostOptions options;
    options.machine = {.pfs = 2, .eswitch = EswitchMode::kSwitchdev, .hotplug_port = true};
    host_ = std::make_unique<SteppedHost>(options);
    host_->config.engine.audit_every = std::chrono::hours(24);
    host_->Start();
    ASSERT_TRUE(host_->Settle());
    host_->MakeVpc("red", kRed, "10.0.0.0/24");
    host_->MakeVpc("blue", kBlue, "10.0.0.0/24");
    for (const auto& [vm, vpc] : {std::pair("a", "red"), std::pair("b", "blue")}) {
      host_->AddVm(vm);
      host_->Attach(vm, vpc, "10.0.0.5");
      ASSERT_TRUE(host_->Settle());
      ASSERT_EQ(State(StrCat(vm, "-", vpc)), v1::OBJECT_STATE_READY);
    }
    ASSERT_EQ(host_->PortStatus("b-blue")->vf(), FakeMachine::VfName(0, 1));
    host_->Apply([](v1::Apply& apply) {
      v1::Endpoint* far = apply.add_upsert()->mutable_endpoint();
      far->set_id("far");
      far->set_vpc("red");
      far->set_mac("52:54:00:00:09:01");
      far->add_addresses("10.0.0.9");
      far->set_vtep("192.0.2.2");
    });
    Quiet();
  }

  v1::ObjectState State(const std::string& port) {
    const auto status = host_->PortStatus(port);
    return status ? status->state() : v1::OBJECT_STATE_UNSPECIFIED;
  }
  // Nothing is under way any more; what is looked at from now on counts.
  void Quiet() {
    ASSERT_TRUE(host_->Settle(std::chrono::seconds(10)));
    host_->network->ClearCalls();
    host_->ClearChanges();
    for (const auto& [id, vm] : host_->vms()) asked_[id] = vm->Calls(QmpMethod::kListDevices);
    behind_ = host_->pci.Calls(SysfsMethod::kBehind);
  }
  // How often each scope was looked at since, until nothing is under way; those not at all left
  // out.
  std::map<std::string, int> LookedAt() {
    host_->RunFor(std::chrono::seconds(10));
    EXPECT_THAT(host_->changes(), SizeIs(0)) << "a look changes nothing";
    std::map<std::string, int> looks;
    for (const std::string& call : host_->network->Calls()) {
      for (const auto& [scope, prefix] : scopes_) {
        if (call.starts_with(prefix)) ++looks[scope];
      }
    }
    for (const auto& [id, vm] : host_->vms()) {
      const int times = vm->Calls(QmpMethod::kListDevices) - asked_[id];
      if (times > 0) looks[StrCat("vm ", id)] = times;
    }
    const int behind = host_->pci.Calls(SysfsMethod::kBehind) - behind_;
    if (behind > 0) looks["hot-plug port"] = behind;
    return looks;
  }
  static std::string Dump(uint32_t vni) { return StrCat("Dump(block ", 0x46000000U | vni); }
  // The next two of such calls are torn.
  void Tear(const std::string& prefix) {
    host_->network->FailWhen([prefix](std::string_view call) { return call.starts_with(prefix); },
                             absl::UnavailableError(kTorn), 2);
  }
  // The agent is killed and starts; `then` happens when it has made the first such call, and
  // before it has the answer.
  void StartAgain(const std::string& call, std::function<void()> then) {
    struct Plan final : FaultPlan {
      absl::Status Before(const PortCall&) override { return absl::OkStatus(); }
      absl::Status After(const PortCall& made) override {
        if (then && made.ToString().starts_with(call)) std::exchange(then, nullptr)();
        return absl::OkStatus();
      }
      bool Tells(std::string_view) override { return true; }
      std::string call;
      std::function<void()> then;
    } plan;
    plan.call = call;
    plan.then = std::move(then);
    host_->Kill();
    host_->set_plan(&plan);
    host_->Start();
    EXPECT_TRUE(host_->Settle(std::chrono::seconds(10)));
    host_->set_plan(nullptr);
    EXPECT_FALSE(plan.then) << "it never called " << call;
  }
  std::vector<TcFilter> Block(uint32_t vni) {
    return host_->network->Filters({0x46000000U | vni, 0});
  }

  static constexpr uint32_t kRed = 1000, kBlue = 2000;

  std::unique_ptr<SteppedHost> host_;
  const std::map<std::string, std::string> scopes_ = {
      {"pf0", StrCat("GetLinkWithVfs(", FakeMachine::kPfLink, ")")},
      {"pf1", StrCat("GetLinkWithVfs(", FakeMachine::kPfLink + 1, ")")},
      {"tunnel", "Get(filter chain 0 prio 65000 handle 1 on the ingress "},
      {"peers", "ListOwnNeighbours()"},
      {"rules of red", Dump(kRed)},
      {"rules of blue", Dump(kBlue)},
      {"rules of the tunnel", "Dump(ifindex "}};
  std::map<std::string, int> asked_;
  int behind_ = 0;
};

using Looks = std::map<std::string, int>;

// ENOBUFS on the socket that tells of links, addresses, routes and neighbours.
TEST_F(ObserveAgainTest, LostEventsOfLinksHaveNicsTunnelAndPeersLookedAtAndNoRuleAndNoVm) {
  host_->network->LoseLinkEvents();
  EXPECT_EQ(LookedAt(),
            (Looks{{"pf0", 1}, {"pf1", 1}, {"hot-plug port", 1}, {"tunnel", 1}, {"peers", 1}}));
}

// ENOBUFS on the socket that tells of qdiscs and filters.
TEST_F(ObserveAgainTest, LostEventsOfRulesHaveRulesAndWhatTheyStandOnLookedAtAndNoVm) {
  host_->network->LoseRuleEvents();
  EXPECT_EQ(LookedAt(), (Looks{{"pf0", 1},
                               {"pf1", 1},
                               {"tunnel", 1},
                               {"rules of red", 1},
                               {"rules of blue", 1},
                               {"rules of the tunnel", 1}}));
}

TEST_F(ObserveAgainTest, LostEventsOfRulesDoNotHaveANicWithoutRulesLookedAt) {
  host_->Detach("b", "blue");
  ASSERT_TRUE(host_->Settle());
  Quiet();
  host_->network->LoseRuleEvents();
  EXPECT_EQ(LookedAt(),
            (Looks{{"pf0", 1}, {"tunnel", 1}, {"rules of red", 1}, {"rules of the tunnel", 1}}));
}

TEST_F(ObserveAgainTest, LostEventsOfDevlinkHaveTheNicsLookedAtAndNothingElse) {
  host_->devlink->LoseEvents();
  EXPECT_EQ(LookedAt(), (Looks{{"pf0", 1}, {"pf1", 1}}));
}

// ENOBUFS on the uevent socket.
TEST_F(ObserveAgainTest, LostUeventsHaveTheNicsAndHotplugPortsLookedAtAndNothingElse) {
  host_->uevents.Lose();
  EXPECT_EQ(LookedAt(), (Looks{{"hot-plug port", 1}, {"pf0", 1}, {"pf1", 1}}));
}

TEST_F(ObserveAgainTest, AMonitorThatComesBackHasItsVmLookedAtAndNothingElse) {
  host_->vms().at("a")->Disconnect();
  EXPECT_EQ(LookedAt(), (Looks{{"vm a", 1}}));
  EXPECT_TRUE(host_->vms().at("a")->has_session());
  EXPECT_EQ(State("a-red"), v1::OBJECT_STATE_READY);
}

// NLM_F_DUMP_INTR: what was torn is asked for again, and what was whole is not.
TEST_F(ObserveAgainTest, ATableOfRulesThatWasTornIsReadAgainAndNoOther) {
  Tear(Dump(kRed));
  host_->network->LoseRuleEvents();
  EXPECT_EQ(LookedAt(), (Looks{{"pf0", 1},
                               {"pf1", 1},
                               {"tunnel", 1},
                               {"rules of red", 3},
                               {"rules of blue", 1},
                               {"rules of the tunnel", 1}}));
  EXPECT_EQ(State("a-red"), v1::OBJECT_STATE_READY);
}

TEST_F(ObserveAgainTest, ANicWhoseLinkWasTornIsLookedAtAgainAndNoOther) {
  Tear(scopes_.at("pf1"));
  host_->devlink->LoseEvents();
  EXPECT_EQ(LookedAt(), (Looks{{"pf0", 1}, {"pf1", 3}}));
  EXPECT_EQ(State("b-blue"), v1::OBJECT_STATE_READY);
}

TEST_F(ObserveAgainTest, ATornListOfPeersIsReadAgainAndNothingElse) {
  Tear("ListOwnNeighbours()");
  host_->network->LoseLinkEvents();
  EXPECT_EQ(LookedAt(),
            (Looks{{"pf0", 1}, {"pf1", 1}, {"hot-plug port", 1}, {"tunnel", 1}, {"peers", 3}}));
}

// sonic-swss 3837: what was sent before somebody listened was lost.
TEST_F(ObserveAgainTest, AnAgentListensBeforeItLooksForTheFirstTime) {
  host_->Kill();
  host_->network->ClearCalls();
  host_->Start();
  EXPECT_THAT(host_->network->Calls(), SizeIs(3));
  EXPECT_THAT(host_->network->Calls(), Each(StartsWith("Subscribe(")));
}

// And what it hears before it knows what that is about is not taken for nothing.
TEST_F(ObserveAgainTest, ARuleThatGoesRightAfterTheFirstLookIsMadeAgain) {
  const std::vector<TcFilter> rules = Block(kRed);
  const auto victim = std::find_if(rules.begin(), rules.end(), [](const TcFilter& rule) {
    return rule.id.priority == kPrioDeliver;
  });
  ASSERT_NE(victim, rules.end());
  const TcChange change{TcChange::Verb::kDelete, {0x46000000U | kRed, 0}, *victim};
  // Before the agent has what it has read, and after.
  for (const std::string& call : {StrCat("tc ", Dump(kRed)), std::string("rtnetlink GetRoute(")}) {
    SCOPED_TRACE(call);
    StartAgain(call, [&] {
      ASSERT_TRUE(FakeTcPort(host_->network).Apply({&change, 1}).front().ok());
      ASSERT_EQ(Block(kRed).size(), rules.size() - 1);
    });
    EXPECT_EQ(Block(kRed), rules);
  }
}

TEST_F(ObserveAgainTest, ARepresentorThatGoesDownRightAfterTheFirstLookIsUpAgain) {
  FakeRtnetlinkPort links(host_->network);
  const uint32_t representor = links.GetLink(host_->PortStatus("b-blue")->representor())->ifindex;
  StartAgain(StrCat("tc GetQdisc(", representor, ")"),
             [&] { ASSERT_TRUE(links.SetLinkUp(representor, false).ok()); });
  EXPECT_TRUE(links.GetLink(representor)->up);
}

TEST_F(ObserveAgainTest, APeerThatFallsSilentRightAfterTheFirstLookIsTold) {
  StartAgain("rtnetlink ListOwnNeighbours(",
             [&] { host_->network->SetStation(*IpAddress::Parse("192.0.2.2"), std::nullopt); });
  EXPECT_EQ(host_->Status(v1::OBJECT_KIND_ENDPOINT, "far")->state(), v1::OBJECT_STATE_DEGRADED);
}

}  // namespace
}  // namespace fairlead
