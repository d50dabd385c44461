// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: provider networks on NICs whose VFs have representors, where
// rules carry them by the PF's netdev.
#include <algorithm>
#include <atomic>

#include "agent/model/flow_rule.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class UplinkTest : public AgentTest {
 protected:
  // PFs with representors, VPC "lan" on VLAN 100, "plain" untagged, and nothing else.
  void BeginUplink(FakeHostOptions options = {}, const Configure& configure = nullptr) {
    host = std::make_unique<FakeHost>(options);
    if (configure) configure(host->config);
    host->Start();
    host->MakeVlan("lan", 100, "10.0.0.0/24");
    host->MakeFlat("plain", "10.0.0.0/24");
    before_ = Quiet();
  }
  static uint32_t UplinkOf(uint16_t pf) { return FakeHost::kPfLink + pf; }
  static TcAttachPoint BlockOf(uint16_t vlan, uint16_t pf = 0) {
    return {BlockIndexOf(RuleTable{
                .kind = RuleTable::Kind::kProviderBlock, .pf = FakeHost::PfMac(pf), .vlan = vlan}),
            0};
  }
  std::vector<TcFilter> Rules(uint16_t vlan, uint16_t pf = 0) {
    return host->network->Filters(BlockOf(vlan, pf));
  }
  // At the PF's ingress, without the mark of the qdisc.
  std::vector<TcFilter> AtUplink(uint16_t pf = 0) {
    std::vector<TcFilter> filters = host->network->Filters({0, UplinkOf(pf)});
    std::erase_if(filters, [](const TcFilter& filter) { return filter.id.chain != 0; });
    return filters;
  }
  bool Clsact(uint16_t pf = 0) { return FakeTcPort(host->network).GetQdisc(UplinkOf(pf))->clsact; }
  // To whom what the fabric sends to a group in VLAN 100 is copied.
  std::vector<uint32_t> HearsGroups(uint16_t pf = 0) {
    std::vector<uint32_t> to;
    for (const TcFilter& filter : AtUplink(pf)) {
      if (filter.match.vlan_id != 100 || filter.match.dst_group != true) continue;
      for (const TcAction& action : filter.actions) {
        if (const auto* copy = std::get_if<TcMirror>(&action)) to.push_back(copy->ifindex);
        if (const auto* last = std::get_if<TcMirred>(&action)) to.push_back(last->ifindex);
      }
    }
    return to;
  }
  // Whether any rule, anywhere, sends to a link.
  bool AnySendsTo(uint32_t ifindex) {
    std::vector<TcFilter> all = AtUplink();
    for (const uint16_t vlan : {0, 100}) {
      const std::vector<TcFilter> more = Rules(vlan);
      all.insert(all.end(), more.begin(), more.end());
    }
    return std::any_of(all.begin(), all.end(), [&](const TcFilter& filter) {
      return std::any_of(filter.actions.begin(), filter.actions.end(), [&](const TcAction& action) {
        const auto* copy = std::get_if<TcMirror>(&action);
        const auto* last = std::get_if<TcMirred>(&action);
        return (copy && copy->ifindex == ifindex) || (last && last->ifindex == ifindex);
      });
    });
  }
  void AddForeign(uint32_t ifindex, bool egress = false) {
    TcFilterInfo info;
    info.id = {.chain = 0, .priority = 49152, .handle = 1};
    info.ethertype = 0x0003;
    info.kind = "matchall";
    host->network->AddForeignFilter({.ifindex = ifindex, .egress = egress}, info);
  }

  std::string before_;
};

TEST_F(UplinkTest, APortInAVlanIsServedByRulesOnTheUplinkWithoutATunnel) {
  BeginUplink();
  std::atomic<bool> ruled_before_handed_out = false;
  host->AddVm("a")->SetHook([&](QmpMethod method, std::string_view) {
    if (method == QmpMethod::kAddVfioDevice) {
      ruled_before_handed_out = HearsGroups().size() == 1 && Rules(100).size() > 5;
    }
  });
  host->Attach("a", "lan", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitReady("a-lan");
  EXPECT_TRUE(ruled_before_handed_out);
  EXPECT_EQ(status.vlan(), 100u);
  EXPECT_EQ(status.representor(), "pf0rep0");
  EXPECT_GT(status.rules_wanted(), 0u);
  EXPECT_EQ(status.rules_observed(), status.rules_wanted());
  EXPECT_EQ(host->Host().tunnel(), "");
  EXPECT_EQ(host->Status(v1::OBJECT_KIND_VPC, "lan")->state(), v1::OBJECT_STATE_READY);
  EXPECT_TRUE(Clsact());
  for (const TcFilter& filter : AtUplink()) EXPECT_EQ(filter.match.vlan_id, 100);
  EXPECT_EQ(AtUplink().size(), 2u) << "the port, and groups";

  host->Detach("a", "lan");
  host->WaitGone("a-lan");
  WaitNothingLeft(before_);
  EXPECT_FALSE(Clsact());
}

TEST_F(UplinkTest, TheSlowPathIsNotToldOfIt) {
  BeginUplink();
  Attached("a", "lan", "10.0.0.5");
  EXPECT_TRUE(host->slow_path.entries().empty());
}

TEST_F(UplinkTest, ASecondPortHearsGroupsAndIsForgottenBeforeItsVfIsGivenOn) {
  BeginUplink({.vfs = 2});
  Attached("a", "lan", "10.0.0.5");
  Attached("b", "lan", "10.0.0.6");
  EXPECT_THAT(HearsGroups(),
              UnorderedElementsAre(FakeHost::Representor(0), FakeHost::Representor(1)));
  // As long as a rule of the VPC copies to it, it is nobody else's.
  host->AddVm("z");
  host->MakeVpc("red", 1000, "10.0.0.0/24");
  std::atomic<bool> copied_to_another = false;
  host->network->SetHook([&](std::string_view call) {
    if (call.starts_with("AddClsact(") && call.find("1174406120") != std::string_view::npos) {
      copied_to_another = AnySendsTo(FakeHost::Representor(1));
    }
  });
  host->Attach("z", "red", "10.0.0.9");
  host->network->FailWhen(
      [](std::string_view call) { return call.starts_with("Put(ifindex 10 chain 0 prio 17921"); },
      absl::UnavailableError("not now"), 5);
  host->Detach("b", "lan");
  EXPECT_EQ(host->WaitReady("z-red").representor(), "pf0rep1");
  host->network->SetHook(nullptr);
  EXPECT_FALSE(copied_to_another);
  EXPECT_THAT(HearsGroups(), ElementsAre(FakeHost::Representor(0)));
  EXPECT_EQ(host->PortStatus("a-lan")->state(), v1::OBJECT_STATE_READY);
}

TEST_F(UplinkTest, ARestartChangesNothing) {
  BeginUplink();
  Attached("a", "lan", "10.0.0.5");
  Attached("b", "lan", "10.0.0.6");
  Attached("c", "plain", "10.0.0.7");
  const std::vector<TcFilter> rules = Rules(100), flat = Rules(0), uplink = AtUplink();
  host->Stop();
  host->network->ClearCalls();
  host->Start();
  for (const char* port : {"a-lan", "b-lan", "c-plain"}) host->WaitReady(port);
  host->WaitUntil("the start is over", [&] { return host->Host().start().complete(); });
  EXPECT_EQ(host->Host().start().repaired(), 0u);
  EXPECT_EQ(host->Host().start().removed(), 0u);
  ExpectNetworkUntouched();
  EXPECT_EQ(Rules(100), rules);
  EXPECT_EQ(Rules(0), flat);
  EXPECT_EQ(AtUplink(), uplink);
  for (const char* vm : {"a", "b"}) host->Detach(vm, "lan");
  host->Detach("c", "plain");
  for (const char* port : {"a-lan", "b-lan", "c-plain"}) host->WaitGone(port);
  WaitNothingLeft(before_);
}

TEST_F(UplinkTest, WhatALastRunLeftWithoutAPortIsTakenAway) {
  BeginUplink();
  Attached("a", "lan", "10.0.0.5");
  host->network->SetHook([](std::string_view) {});
  // The agent dies when the port is gone and the qdisc not yet.
  host->network->FailWhen(
      [](std::string_view call) { return call == StrCat("DeleteClsact(", UplinkOf(0), ")"); },
      absl::UnavailableError("not now"), 1000);
  host->Detach("a", "lan");
  host->WaitGone("a-lan");
  host->Stop();
  host->network->ClearFaults();
  EXPECT_TRUE(Clsact());
  host->Start();
  WaitNothingLeft(before_);
}

TEST_F(UplinkTest, ARuleOfTheUplinkThatSomebodyDeletesIsMadeAgain) {
  BeginUplink();
  const auto vm = Attached("a", "lan", "10.0.0.5");
  const std::vector<TcFilter> before = AtUplink();
  for (const TcFilter& filter : before) {
    FakeTcPort port(host->network);
    const TcChange remove{TcChange::Verb::kDelete, {0, UplinkOf(0)}, filter};
    ASSERT_TRUE(port.Apply({&remove, 1}).front().ok());
    host->WaitUntil("it is there again", [&] { return AtUplink() == before; });
  }
  host->WaitReady("a-lan");
  EXPECT_GE(host->Host().drifts_noticed(), 2u);
  EXPECT_EQ(vm->Calls(QmpMethod::kAddVfioDevice), 1);
}

TEST_F(UplinkTest, AQdiscOfTheUplinkThatSomebodyDeletesIsMadeAgainWithItsRules) {
  BeginUplink();
  const auto vm = Attached("a", "lan", "10.0.0.5");
  Attached("c", "plain", "10.0.0.7");
  const std::vector<TcFilter> before = AtUplink();
  ASSERT_TRUE(FakeTcPort(host->network).DeleteClsact(UplinkOf(0)).ok());
  host->WaitUntil("all is there again", [&] { return Clsact() && AtUplink() == before; });
  host->WaitReady("a-lan");
  host->WaitReady("c-plain");
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0);
  host->Detach("a", "lan");
  host->Detach("c", "plain");
  host->WaitGone("a-lan");
  host->WaitGone("c-plain");
  WaitNothingLeft(before_);
}

// A driver that is loaded anew: the netdev is another one, and its rules went with the old one.
TEST_F(UplinkTest, AnUplinkThatIsAnotherNetdevGetsItsRulesAgain) {
  BeginUplink({.pfs = 2});
  Attached("a", "lan", "10.0.0.5");
  Attached("b", "lan", "10.0.0.6");
  const size_t before = AtUplink(1).size();
  LinkInfo link = *FakeRtnetlinkPort(host->network).GetLink(UplinkOf(1));
  host->network->RemoveLink(UplinkOf(1));
  link.ifindex = 700;
  host->network->AddLink(link);
  host->WaitUntil("its rules are there again", [&] {
    const std::vector<TcFilter> now = host->network->Filters({0, 700});
    return now.size() == before + 1;  // with the mark
  });
  host->WaitUntil("what leaves goes to it", [&] {
    const std::vector<TcFilter> rules = Rules(100, 1);
    return std::any_of(rules.begin(), rules.end(), [](const TcFilter& filter) {
      const auto* to = std::get_if<TcMirred>(&filter.actions.back());
      return filter.match.dst_group == false && to != nullptr && to->ifindex == 700;
    });
  });
  host->WaitReady("b-lan");
}

TEST_F(UplinkTest, AQdiscOfSomebodyElseIsUsedAndStays) {
  BeginUplink();
  ASSERT_TRUE(FakeTcPort(host->network).AddClsact(UplinkOf(0), 0).ok());
  AddForeign(UplinkOf(0));
  before_ = host->Leftovers();
  Attached("a", "lan", "10.0.0.5");
  EXPECT_EQ(AtUplink().size(), 2u);
  host->Detach("a", "lan");
  host->WaitGone("a-lan");
  WaitNothingLeft(before_);
  EXPECT_TRUE(Clsact());
  EXPECT_THAT(AtUplink(), IsEmpty());
  FakeTcPort tc(host->network);
  EXPECT_EQ(tc.Dump({0, UplinkOf(0)}, TcDumpDetail::kTerse)->size(), 1u) << "theirs";
}

TEST_F(UplinkTest, AQdiscThatSomebodyElseCameToUseStays) {
  for (const bool egress : {false, true}) {
    BeginUplink();
    Attached("a", "lan", "10.0.0.5");
    AddForeign(UplinkOf(0), egress);
    host->Detach("a", "lan");
    host->WaitGone("a-lan");
    host->WaitUntil("no rule of ours is there", [&] {
      return host->network->Filters({0, UplinkOf(0)}).empty();
    });
    EXPECT_TRUE(Clsact()) << (egress ? "egress" : "ingress");
    host->Stop();
  }
}

TEST_F(UplinkTest, AnUplinkInABridgeOfOpenVSwitchIsRefusedByName) {
  BeginUplink({}, TryOnce);
  host->network->AddForeignIngress(UplinkOf(0));
  host->AddVm("a");
  host->Attach("a", "lan", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-lan");
  EXPECT_EQ(status.step(), "uplink create");
  EXPECT_THAT(status.reason(),
              AllOf(HasSubstr("the uplink pf0 has the qdisc ingress"), HasSubstr("Open vSwitch")));
  WaitNothingLeft(before_);
}

TEST_F(UplinkTest, PortsOnTwoPfsHaveABlockEachAndMeetOverTheFabric) {
  BeginUplink({.pfs = 2});
  Attached("a", "lan", "10.0.0.5");
  Attached("b", "lan", "10.0.0.6");
  EXPECT_EQ(host->PortStatus("a-lan")->vf(), FakeHost::VfName(0, 0));
  EXPECT_EQ(host->PortStatus("b-lan")->vf(), FakeHost::VfName(0, 1));
  EXPECT_THAT(HearsGroups(0), ElementsAre(FakeHost::Representor(0, 0)));
  EXPECT_THAT(HearsGroups(1), ElementsAre(FakeHost::Representor(0, 1)));
  for (const TcFilter& filter : Rules(100, 0)) {
    for (const TcAction& action : filter.actions) {
      const auto* to = std::get_if<TcMirred>(&action);
      if (to == nullptr) continue;
      EXPECT_TRUE(to->ifindex == FakeHost::Representor(0, 0) || to->ifindex == UplinkOf(0));
    }
  }
  host->Detach("b", "lan");
  host->WaitGone("b-lan");
  host->WaitUntil("its uplink is free", [&] { return !Clsact(1); });
  EXPECT_THAT(Rules(100, 1), IsEmpty());
  EXPECT_TRUE(Clsact(0));
  EXPECT_EQ(host->PortStatus("a-lan")->state(), v1::OBJECT_STATE_READY);
}

TEST_F(UplinkTest, TheFlatNetworkLeavesTheHostItsOwnBroadcasts) {
  BeginUplink();
  Attached("c", "plain", "10.0.0.7");
  int groups = 0;
  for (const TcFilter& filter : AtUplink()) {
    EXPECT_FALSE(filter.match.vlan_id);
    EXPECT_THAT(filter.match.ethertype, ::testing::AnyOf(0x0800, 0x0806, 0x86dd));
    if (filter.match.dst_group != true) continue;
    ++groups;
    EXPECT_EQ(std::get<TcGact>(filter.actions.back()).verdict, TcGact::Verdict::kContinue);
    EXPECT_EQ(filter.flags, TcFilter::Flags::kSkipHw);
  }
  EXPECT_EQ(groups, 3);
  for (const TcFilter& filter : Rules(0)) {
    for (const TcAction& action : filter.actions) {
      EXPECT_FALSE(std::holds_alternative<TcVlanPush>(action));
    }
  }
}

TEST_F(UplinkTest, WhatTheNicCannotDoIsRefusedByNameAndTriedAgainWhenItIsNotAskedFor) {
  BeginUplink({}, TryOnce);
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "lan", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_max_tx_mbps(500);
  ASSERT_TRUE(host->Send(request).has_accepted());
  const v1::ObjectStatus status = host->WaitFailed("a-lan");
  EXPECT_EQ(status.step(), "vf placement");
  EXPECT_THAT(status.reason(), HasSubstr("max_tx_mbps: pf0 has representors"));
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    FillPort(apply, "a-lan", "a", "lan")->add_addresses("10.0.0.5");
                  })
                  .has_accepted());
  host->WaitReady("a-lan");
}

TEST_F(UplinkTest, APortThatMustBeServedByHardwareIs) {
  BeginUplink({.offload_capable = true});
  host->network->SetOffloadCapable(UplinkOf(0), true);
  for (const char* vm : {"a", "b"}) {
    host->AddVm(vm);
    v1::Request request = host->AddVmRequest(vm, "lan", *vm == 'a' ? "10.0.0.5" : "10.0.0.6");
    request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_MUST);
    ASSERT_TRUE(host->Send(request).has_accepted());
  }
  for (const char* port : {"a-lan", "b-lan"}) {
    EXPECT_GT(host->WaitReady(port).rules_in_hardware(), 0u);
  }
}

TEST_F(UplinkTest, APortThatMustBeServedByHardwareFailsWhereTheUplinkTakesNothing) {
  BeginUplink({.offload_capable = true}, TryOnce);
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "lan", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_MUST);
  ASSERT_TRUE(host->Send(request).has_accepted());
  EXPECT_THAT(host->WaitFailed("a-lan").reason(), HasSubstr("must run in hardware"));
  WaitNothingLeft(before_);
}

TEST_F(UplinkTest, APacketIsFollowedToTheUplinkAndFromIt) {
  BeginUplink();
  Attached("a", "lan", "10.0.0.5");
  Attached("b", "lan", "10.0.0.6");
  const auto explain = [this](const std::function<void(v1::ExplainFlow&)>& ask) {
    v1::Request request;
    ask(*request.mutable_explain_flow());
    return host->Send(request).flow();
  };
  const v1::FlowExplanation out = explain([](v1::ExplainFlow& ask) {
    ask.set_port("a-lan");
    ask.set_to("10.0.0.99");
  });
  EXPECT_EQ(out.verdict().kind(), "leaves by the uplink") << out.ShortDebugString();
  EXPECT_EQ(out.verdict().uplink(), "pf0");
  EXPECT_EQ(out.verdict().vlan(), 100u);
  EXPECT_EQ(out.disagreements_size(), 0) << out.ShortDebugString();
  EXPECT_EQ(out.steps(0).owner(), "port/a-lan");
  EXPECT_EQ(out.steps(1).owner(), "vpc/lan");
  const v1::FlowExplanation in = explain([&](v1::ExplainFlow& ask) {
    ask.set_uplink("pf0");
    ask.set_vlan(100);
    ask.set_dst_mac(host->PortStatus("b-lan")->mac());
  });
  EXPECT_EQ(in.verdict().port(), "b-lan") << in.ShortDebugString();
  EXPECT_EQ(in.disagreements_size(), 0);
}

TEST_F(UplinkTest, ADryRunSaysWhatIsMadeOnTheUplink) {
  BeginUplink();
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "lan", "10.0.0.5");
  request.set_dry_run(true);
  const v1::Reply plan = host->Send(request);
  int uplinks = 0, rules = 0;
  for (const v1::Plan::Step& step : plan.plan().steps()) {
    uplinks += step.resource().starts_with("uplink/");
    rules += step.resource().starts_with("flow-rule/uplink@");
  }
  EXPECT_EQ(uplinks, 1) << plan.ShortDebugString();
  EXPECT_EQ(rules, 2);
  EXPECT_EQ(plan.plan().blocked_size(), 0) << plan.ShortDebugString();
  EXPECT_EQ(host->Leftovers(), before_);
}

}  // namespace
}  // namespace fairlead
