// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: what a VF's next tenant, and what a rollback, must
// not meet, whatever failed meanwhile.
#include <atomic>
#include <future>

#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

class IsolationTest : public AgentTest {
 protected:
  void AttachMust(const std::string& vm, const std::string& vpc, const std::string& address) {
    host->AddVm(vm);
    v1::Request request = host->AddVmRequest(vm, vpc, address);
    request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_MUST);
    ASSERT_TRUE(host->Send(request).has_accepted());
  }
  std::vector<std::string> Drops(uint32_t vni) {
    std::vector<std::string> drops;
    for (const TcFilter& filter : Block(vni)) {
      const auto* verdict =
          filter.actions.size() == 1 ? std::get_if<TcGact>(&filter.actions[0]) : nullptr;
      if (verdict == nullptr || verdict->verdict != TcGact::Verdict::kDrop) continue;
      drops.push_back(StrCat(filter.id.chain, "/", filter.id.priority));
    }
    return drops;
  }
};

TEST_F(IsolationTest, AVfIsNotGivenOnWhileARuleSendsToIt) {
  Begin();
  TwoAttached();
  std::atomic<bool> failing = true;
  host->network->FailWhen(
      [&failing](std::string_view call) {
        return failing && call.starts_with("Delete(block ") &&
               call.find(StrCat(" prio ", kPrioRoute4, " ")) != std::string_view::npos;
      },
      absl::UnavailableError("no memory"), 1'000'000);
  host->Detach("a", "red");
  host->WaitPort("a-red", [](const auto& s) {
    return s && s->reason().find("no memory") != std::string::npos;
  });
  EXPECT_TRUE(Reaches(1000, FakeHost::Representor(0)));
  EXPECT_EQ(host->Host().pfs(0).vfs(0).state(), "leased");
  Attached("c", "blue", "10.0.0.5");
  EXPECT_EQ(host->PortStatus("c-blue")->vf(), FakeHost::VfName(2));
  failing = false;
  host->WaitGone("a-red");
  EXPECT_FALSE(Reaches(1000, FakeHost::Representor(0)));
}

TEST_F(IsolationTest, APortWhoseMonitorIsAwayIsReachedWhileItsSubnetChanges) {
  Begin();
  const TwoVms vms = TwoAttached();
  host->Stop();
  vms.b->SetHeldByOther(true);
  host->Start();
  host->WaitReady("a-red");
  host->WaitPort("b-red",
                 [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  host->Detach("a", "red");
  host->WaitGone("a-red");
  EXPECT_FALSE(Reaches(1000, FakeHost::Representor(0)));
  Attached("c", "red", "10.0.0.7");
  EXPECT_TRUE(Reaches(1000, FakeHost::Representor(1)));
  EXPECT_EQ(host->PortStatus("b-red")->state(), v1::OBJECT_STATE_DEGRADED);
}

TEST_F(IsolationTest, ARuleThatWasTakenAndCouldNotBeReadBackIsRolledBack) {
  const std::string before = BeginBesideAnother({}, TryOnce);
  host->network->FailWhen(
      [](std::string_view call) {
        return call.starts_with("Get(") &&
               call.find(StrCat(BlockIndex(1000))) != std::string_view::npos &&
               call.find(StrCat(" prio ", kPrioDeliver, " ")) != std::string_view::npos;
      },
      absl::UnavailableError("no buffer space"));
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_THAT(host->WaitFailed("a-red").reason(), HasSubstr("no buffer space"));
  ExpectAsBefore(before);
}

TEST_F(IsolationTest, AMacThatWasSetAndCouldNotBeReadBackIsClearedAgain) {
  Begin({.can_set_vf_mac = true}, TryOnce);
  Quiet();
  auto set = std::make_shared<std::atomic<bool>>(false);
  host->network->FailWhen(
      [set](std::string_view call) {
        if (call.starts_with("SetVfMac(") && call.find("aa:05") != std::string_view::npos) {
          *set = true;
        }
        return *set && call.starts_with("GetLinkWithVfs(");
      },
      absl::UnavailableError("interrupted"));
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:aa:05");
  ASSERT_TRUE(host->Send(request).has_accepted());
  EXPECT_THAT(host->WaitFailed("a-red").reason(), HasSubstr("interrupted"));
  ASSERT_TRUE(*set);
  FakeRtnetlinkPort links(host->network);
  const absl::StatusOr<LinkInfo> pf = links.GetLinkWithVfs(FakeHost::kPfLink);
  ASSERT_TRUE(pf.ok() && pf->vfs);
  for (const VfInfo& vf : *pf->vfs) {
    EXPECT_NE(vf.mac.ToString(), "52:54:00:00:aa:05") << "VF " << vf.index;
  }
}

// Taken without an error and not done: the VM would talk as somebody else.
TEST_F(IsolationTest, AMacThatReadsBackOtherwiseFailsTheAttach) {
  Begin({.can_set_vf_mac = true}, TryOnce);
  const std::string before = Quiet();
  std::atomic<bool> set = false;
  host->network->SetHook([&](std::string_view call) {
    if (call.starts_with("SetVfMac(") && call.find("aa:05") != std::string_view::npos) set = true;
    if (!set || !call.starts_with("GetLinkWithVfs(")) return;
    host->ChangeVf(0, 0, [](VfInfo& vf) {
      if (!vf.mac.IsZero()) vf.mac = *MacAddress::Parse("52:54:00:00:aa:06");
    });
  });
  const auto vm = host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:aa:05");
  ASSERT_TRUE(host->Send(request).has_accepted());
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_EQ(status.step(), "vf create");
  EXPECT_THAT(status.reason(), HasSubstr("reads back otherwise: mac 52:54:00:00:aa:06 -> "
                                         "52:54:00:00:aa:05"));
  EXPECT_EQ(vm->Calls(QmpMethod::kAddVfioDevice), 0) << "the VF was never handed out";
  WaitNothingLeft(before);
  host->network->SetHook(nullptr);
}

TEST_F(IsolationTest, ANicThatIsTornAtTheFirstLookIsNotTakenForEmpty) {
  Begin({.pfs = 2});
  Quiet();
  TwoAttached();
  ASSERT_EQ(host->PortStatus("b-red")->vf(), FakeHost::VfName(0, 1));
  host->Stop();
  host->network->ClearCalls();
  host->network->FailWhen(
      [](std::string_view call) {
        return call == StrCat("GetLinkWithVfs(", FakeHost::kPfLink + 1, ")");
      },
      absl::UnavailableError("the kernel's table changed while it was read; ask again"), 3);
  host->Start();
  host->WaitReady("a-red");
  host->WaitReady("b-red");
  ExpectNetworkUntouched();
}

// After a restart nobody may have claimed a rule that sends to the VF yet.
TEST_F(IsolationTest, AVfIsNotGivenOnWhileANicOfItsVpcWasNotSeen) {
  Begin({.pfs = 2});
  Quiet();
  const TwoVms vms = TwoAttached();
  ASSERT_EQ(host->PortStatus("b-red")->vf(), FakeHost::VfName(0, 1));
  vms.a->SetRemoval(FakeVm::Removal::kWhenTold);
  host->Detach("a", "red");
  WaitDoesNotLetGo("a-red");
  host->Stop();
  std::atomic<bool> failing = true;
  host->network->FailWhen(
      [&failing](std::string_view call) {
        return failing && call == StrCat("GetLinkWithVfs(", FakeHost::kPfLink + 1, ")");
      },
      absl::UnavailableError("torn"), 1'000'000);
  host->Start();
  vms.a->SetRemoval(FakeVm::Removal::kImmediate);
  vms.a->CompleteRemovals();
  host->WaitPort("a-red", [](const auto& s) {
    return s && s->reason().find("may still send to its VF") != std::string::npos;
  });
  EXPECT_EQ(host->Host().pfs(0).vfs(0).state(), "leased");
  Attached("c", "blue", "10.0.0.5");
  EXPECT_EQ(host->PortStatus("c-blue")->vf(), FakeHost::VfName(1));
  failing = false;
  host->WaitGone("a-red");
  host->WaitReady("b-red");
  EXPECT_FALSE(Reaches(1000, FakeHost::Representor(0)));
}

TEST_F(IsolationTest, ATunnelThatAnEarlierRunCouldNotTakeAwayGoes) {
  Begin();
  const std::string before = Quiet();
  Attached("a", "red", "10.0.0.5");
  host->network->FailNext("DeleteLink", absl::UnavailableError("busy"), 1'000'000);
  host->Detach("a", "red");
  host->WaitGone("a-red");
  EXPECT_NE(host->Leftovers(), before);
  host->Stop();
  host->network->ClearFaults();
  host->Start();
  host->WaitUntil("the tunnel is gone", [&] { return host->Leftovers() == before; });
}

TEST_F(IsolationTest, MustIsProvenForEveryOtherPortOfTheVpc) {
  Begin({.offload_capable = true});
  AttachMust("a", "red", "10.0.0.5");
  host->WaitReady("a-red");  // on VF 0
  AttachMust("b", "red", "10.0.0.6");
  host->WaitReady("b-red");
  int proofs = 0;
  for (const TcFilter& filter : Block(1000)) {
    const bool sends = std::any_of(
        filter.actions.begin(), filter.actions.end(),
        [](const TcAction& action) { return std::holds_alternative<TcMirred>(action); });
    if (sends) {
      EXPECT_NE(filter.flags, TcFilter::Flags::kSkipSw) << "a NIC would refuse it all";
    }
    if (filter.flags == TcFilter::Flags::kSkipSw) ++proofs;
  }
  EXPECT_EQ(proofs, 2);
  // b's representor gives its rules back: a is not reached from there in hardware.
  host->network->SetOffloadCapable(FakeHost::Representor(1), false);
  host->network->LoseRuleEvents();
  const auto status = host->WaitPort(
      "a-red", [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  EXPECT_THAT(status->reason(), HasSubstr("0 of the 1 other ports"));
}

// What the kernel hands to a representor that comes later counts too.
TEST_F(IsolationTest, MustIsJudgedWithThePortsThatCameMeanwhile) {
  Begin({.offload_capable = true});
  Quiet();
  std::promise<void> let_go;
  std::shared_future<void> gone_on = let_go.get_future();
  std::atomic<bool> there = false;
  host->AddVm("a")->SetHook([&there, gone_on](QmpMethod method, std::string_view) {
    if (method != QmpMethod::kAddVfioDevice) return;
    there = true;
    gone_on.wait();
  });
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_MUST);
  EXPECT_TRUE(host->Send(request).has_accepted());
  host->WaitUntil("a's device is being added", [&] { return there.load(); });
  AttachMust("b", "red", "10.0.0.6");
  host->WaitReady("b-red");
  let_go.set_value();
  host->WaitReady("a-red");
  host->WaitReady("b-red");
}

TEST_F(IsolationTest, ADryRunOfMustPortsDoesNotGuessWhatTheNicTakes) {
  Begin({.offload_capable = true});
  AttachMust("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  host->AddVm("b");
  v1::Request request = host->AddVmRequest("b", "red", "10.0.0.6");
  request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_MUST);
  request.set_dry_run(true);
  const v1::Reply reply = host->Send(request);
  ASSERT_TRUE(reply.has_plan()) << reply.ShortDebugString();
  EXPECT_EQ(reply.plan().blocked_size(), 0) << reply.ShortDebugString();
  bool bound = false;
  for (const v1::Plan::Step& step : reply.plan().steps()) {
    bound = bound || step.resource().starts_with("driver-binding/");
    EXPECT_NE(step.verb(), "delete") << step.resource();
  }
  EXPECT_TRUE(bound);
}

TEST_F(IsolationTest, MustOnANicThatOffloadsNothingIsRefused) {
  const std::string before = BeginBesideAnother({}, TryOnce);
  AttachMust("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_EQ(status.step(), "flow-rule create");
  // The kernel says no more of it.
  EXPECT_THAT(status.reason(), HasSubstr("Operation not supported"));
  ExpectAsBefore(before);
}

TEST_F(IsolationTest, ACorrectedEndpointIsTriedAtOnce) {
  Begin({}, TryOnce);
  Attached("a", "red", "10.0.0.5");
  host->network->FailWhen(
      [](std::string_view call) {
        return call.starts_with("Put(") &&
               call.find(StrCat(" prio ", kPrioDeliver, " ")) != std::string_view::npos;
      },
      absl::InvalidArgumentError("no such thing"));
  const auto put = [&](const char* mac) {
    ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                      FillEndpoint(apply, "far", "red", mac, "10.0.0.9", "192.0.2.2");
                    })
                    .has_accepted());
  };
  put("52:54:00:00:09:01");
  host->WaitUntil("the endpoint is degraded",
                  [&] { return EndpointStatus("far").state() == v1::OBJECT_STATE_DEGRADED; });
  put("52:54:00:00:09:02");
  host->WaitUntil("the endpoint is ready",
                  [&] { return EndpointStatus("far").state() == v1::OBJECT_STATE_READY; });
  EXPECT_EQ(EndpointStatus("far").reason(), "");
}

// Its representor stands until the guest lets go: what ends in a drop there does so too.
TEST_F(IsolationTest, ABlockKeepsItsDropsWhileItsVpcBecomesAVlan) {
  Begin({.pfs = 2, .first_igb = 1});
  Quiet();
  const auto vm = host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_mac(FakeHost::VfMac(0).ToString());
  ASSERT_TRUE(host->Send(request).has_accepted());
  host->WaitReady("a-red");
  const std::vector<std::string> drops = Drops(1000);
  ASSERT_GE(drops.size(), 3U) << "those of the representor, the VPC and the subnet's chain";
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    v1::Vpc* vpc = apply.add_upsert()->mutable_vpc();
                    vpc->set_id("red");
                    vpc->set_vlan(100);
                    v1::Subnet* subnet = apply.add_upsert()->mutable_subnet();
                    subnet->set_id("red-1");  // whose gateway the overlay had
                    subnet->set_vpc("red");
                    subnet->add_prefixes("10.0.0.0/24");
                    FillPort(apply, "a-red", "a", "red")->set_mac(FakeHost::VfMac(0).ToString());
                  })
                  .has_accepted());
  WaitDoesNotLetGo("a-red");
  EXPECT_EQ(Drops(1000), drops);
  ExpectOnlyDrops(1000);
  vm->CompleteRemovals();
  EXPECT_EQ(host->WaitReady("a-red").vlan(), 100U);
  EXPECT_THAT(Block(1000), ::testing::IsEmpty());
}

TEST_F(IsolationTest, ABlockKeepsItsDropsWhileThePortsOfItsVpcMoveToAnotherVni) {
  Begin();
  Quiet();
  const TwoVms vms = TwoAttached();
  const std::vector<std::string> drops = Drops(1000);
  vms.a->SetRemoval(FakeVm::Removal::kWhenTold);
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    v1::Vpc* vpc = apply.add_upsert()->mutable_vpc();
                    vpc->set_id("red");
                    vpc->set_vni(3000);
                    FillPort(apply, "a-red", "a", "red");
                    FillPort(apply, "b-red", "b", "red");
                  })
                  .has_accepted());
  WaitDoesNotLetGo("a-red");
  host->WaitReady("b-red");
  EXPECT_EQ(Drops(3000), drops) << "as in the old block";
  EXPECT_EQ(Drops(1000), drops);
  ExpectOnlyDrops(1000);
  vms.a->CompleteRemovals();
  host->WaitReady("a-red");
  EXPECT_THAT(Block(1000), ::testing::IsEmpty());
}

}  // namespace
}  // namespace fairlead
