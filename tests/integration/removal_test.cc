// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: ports that go while something does not answer, and
// what stays with the others.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>

#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

class RemovalTest : public AgentTest {
 protected:
  static void AskAgainSoon(DaemonConfig& config) {
    config.engine.removal_ask_again = std::chrono::milliseconds(100);
  }
  // A jump to an empty chain is no verdict: the frame would pass to the host. Looked
  // at before every single call to the network, that is between any two changes.
  void LookForHoles() {
    host->network->SetHook([this](std::string_view call) {
      const std::vector<TcFilter> rules = Block(1000);
      for (const TcFilter& rule : rules) {
        for (const TcAction& action : rule.actions) {
          const auto* jump = std::get_if<TcGact>(&action);
          if (jump == nullptr || jump->verdict != TcGact::Verdict::kGotoChain) continue;
          ++jumps_;
          const bool ends = std::any_of(rules.begin(), rules.end(), [&](const TcFilter& other) {
            return other.id.chain == jump->chain && other.id.priority == kPrioDefaultDrop;
          });
          if (ends) continue;
          const std::lock_guard lock(mutex_);
          holes_.push_back(StrCat("before ", call, ": a jump to chain ", jump->chain));
        }
      }
    });
  }
  void ExpectNoHoles() {
    host->network->SetHook(nullptr);
    host->Stop();  // no call is under way any more
    EXPECT_GT(jumps_, 0);
    EXPECT_EQ(StrJoin(holes_, "\n"), "");
  }

  static constexpr char kAnotherUuid[] = "11111111-2222-4333-8444-555555555555";
  // And the VM gets one more port, in "blue".
  void GiveAnotherUuid(const std::string& id, const std::string& port) {
    const v1::Reply reply = host->Apply([&](v1::Apply& apply) {
      v1::Vm* vm = apply.add_upsert()->mutable_vm();
      vm->set_id(id);
      vm->set_uuid(kAnotherUuid);
      FillPort(apply, port, id, "blue");
    });
    ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
  }

 private:
  std::atomic<int> jumps_ = 0;
  std::mutex mutex_;
  std::vector<std::string> holes_;  // behind mutex_
};

TEST_F(RemovalTest, ADeviceDelThatIsNeverAnsweredKeepsTheVfAndSaysSo) {
  Begin();
  const auto vm = TwoAttached().a;
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  host->Detach("a", "red");
  WaitDoesNotLetGo("a-red");
  const auto status = host->PortStatus("a-red");
  ASSERT_TRUE(status);
  EXPECT_EQ(status->state(), v1::OBJECT_STATE_REMOVING);
  EXPECT_EQ(status->step(), "guest-device delete");
  EXPECT_EQ(host->Host().pfs(0).vfs(0).state(), "leased");
  EXPECT_EQ(host->pci.Find(host->VfAddress(0))->driver, "vfio-pci");
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 1) << "asking again could cancel the request";
  EXPECT_EQ(host->PortStatus("b-red")->state(), v1::OBJECT_STATE_READY);
  vm->CompleteRemovals();
  host->WaitGone("a-red");
}

TEST_F(RemovalTest, AGuestThatDidNotAnswerIsAskedOnceMoreInTheEnd) {
  Begin({}, AskAgainSoon);
  const std::string before = Quiet();
  const auto vm = Attached("a", "red", "10.0.0.5");
  vm->SetRemoval(FakeVm::Removal::kNever);
  host->Detach("a", "red");
  host->WaitUntil("device_del is asked for again",
                  [&] { return vm->Calls(QmpMethod::kRequestRemoval) >= 2; });
  EXPECT_EQ(host->Host().pfs(0).vfs(0).state(), "leased");
  vm->SetRemoval(FakeVm::Removal::kImmediate);
  host->WaitGone("a-red");
  WaitNothingLeft(before);
}

TEST_F(RemovalTest, AGuestThatRefusesToLetGoKeepsTheVfUntilItDoes) {
  Begin({}, AskAgainSoon);
  const std::string before = Quiet();
  const auto vm = TwoAttached().a;
  vm->SetRemoval(FakeVm::Removal::kGuestError);
  host->Detach("a", "red");
  const auto status = host->WaitPort("a-red", [](const auto& s) {
    return s && s->peer_words().find("DEVICE_UNPLUG_GUEST_ERROR") != std::string::npos;
  });
  EXPECT_EQ(status->state(), v1::OBJECT_STATE_REMOVING);
  EXPECT_EQ(status->step(), "guest-device delete");
  EXPECT_THAT(status->reason(), HasSubstr("the guest refused"));
  const v1::HostState::Vf vf = host->Host().pfs(0).vfs(0);
  EXPECT_EQ(vf.state(), "leased");
  EXPECT_EQ(vf.port(), "a-red");
  EXPECT_EQ(host->pci.Find(host->VfAddress(0))->driver, "vfio-pci");
  EXPECT_FALSE(LinkUp(FakeHost::Representor(0))) << "it reaches nobody meanwhile";
  EXPECT_EQ(host->PortStatus("b-red")->state(), v1::OBJECT_STATE_READY);
  vm->SetRemoval(FakeVm::Removal::kImmediate);
  host->WaitGone("a-red");
  EXPECT_EQ(host->pci.Find(host->VfAddress(0))->driver, "");
  host->Detach("b", "red");
  host->WaitGone("b-red");
  WaitNothingLeft(before);
}

TEST_F(RemovalTest, APortThatIsBeingRemovedForwardsNothingWhileItsGuestHoldsOn) {
  Begin();
  const auto vm = Attached("a", "red", "10.0.0.5");
  vm->SetRemoval(FakeVm::Removal::kNever);
  host->Detach("a", "red");
  WaitDoesNotLetGo("a-red");
  ExpectOnlyDrops(1000);
  EXPECT_FALSE(Block(1000).empty()) << "the drop rule stands as long as the representor";
}

// The rules of the others match where a frame goes to, not where it comes from:
// with them alone a guest that keeps its device would still send into the VPC.
TEST_F(RemovalTest, AGuestThatKeepsItsDeviceReachesNobody) {
  Begin();
  const auto vm = TwoAttached().a;
  vm->SetRemoval(FakeVm::Removal::kNever);
  host->Detach("a", "red");
  WaitDoesNotLetGo("a-red");
  EXPECT_FALSE(LinkUp(FakeHost::Representor(0)));
  EXPECT_FALSE(Reaches(1000, FakeHost::Representor(0)));
  EXPECT_TRUE(LinkUp(FakeHost::Representor(1)));
  EXPECT_TRUE(Reaches(1000, FakeHost::Representor(1)));
  EXPECT_EQ(host->PortStatus("b-red")->state(), v1::OBJECT_STATE_READY);
}

TEST_F(RemovalTest, ARemovedPortIsCutOffWhileItsMonitorIsHeld) {
  Begin();
  const auto vm = TwoAttached().a;
  vm->SetHeldByOther(true);
  vm->Disconnect();
  host->WaitPort("a-red",
                 [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  host->Detach("a", "red");
  host->WaitPort("a-red", [&](const auto& s) {
    return s && !LinkUp(FakeHost::Representor(0)) && !Reaches(1000, FakeHost::Representor(0));
  });
  EXPECT_EQ(host->Host().pfs(0).vfs(0).state(), "leased") << "the VM may have it still";
  vm->SetHeldByOther(false);
  host->WaitGone("a-red");
}

// ovs 5292eb50a: a rule stood without the one that it goes on from.
TEST_F(RemovalTest, AChainKeepsItsDropAsLongAsARuleLeadsThere) {
  Begin();
  const auto vm = host->AddVm("a");
  const std::string before = Quiet();
  LookForHoles();
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                    FillRemove(apply, v1::OBJECT_KIND_PORT, "a-red");
                    FillRemove(apply, v1::OBJECT_KIND_SUBNET, "red-1");
                    FillRemove(apply, v1::OBJECT_KIND_VPC, "red");
                  })
                  .has_accepted());
  WaitDoesNotLetGo("a-red");
  vm->CompleteRemovals();
  host->WaitGone("a-red");
  WaitNothingLeft(before);
  host->WaitUntil("subnet and VPC are gone", [&] {
    return !host->Status(v1::OBJECT_KIND_SUBNET, "red-1") &&
           !host->Status(v1::OBJECT_KIND_VPC, "red");
  });
  ExpectNoHoles();
}

// ovs 47e73f7f0: only chain 0 was flushed.
// The block stays, because a port of another subnet is in it.
TEST_F(RemovalTest, AChainKeepsItsDropWhenItsSubnetGoesAndTheVpcStays) {
  Begin();
  Quiet();
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    v1::Subnet* other = apply.add_upsert()->mutable_subnet();
                    other->set_id("red-2");
                    other->set_vpc("red");
                    other->add_prefixes("10.0.1.0/24");
                  })
                  .has_accepted());
  for (const auto& [vm, subnet] : {std::pair("a", "red-1"), std::pair("b", "red-2")}) {
    host->AddVm(vm);
    v1::Request request = host->AddVmRequest(vm, "red", "");
    request.mutable_add_vm_to_vpc()->clear_addresses();
    request.mutable_add_vm_to_vpc()->set_subnet(subnet);
    ASSERT_TRUE(host->Send(request).has_accepted());
    host->WaitReady(StrCat(vm, "-red"));
  }
  LookForHoles();
  ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                    FillRemove(apply, v1::OBJECT_KIND_PORT, "a-red");
                    FillRemove(apply, v1::OBJECT_KIND_SUBNET, "red-1");
                  })
                  .has_accepted());
  host->WaitGone("a-red");
  host->WaitUntil("the subnet is gone",
                  [&] { return !host->Status(v1::OBJECT_KIND_SUBNET, "red-1"); });
  std::set<uint32_t> chains;
  for (const TcFilter& rule : Block(1000)) chains.insert(rule.id.chain);
  EXPECT_EQ(chains.size(), 3U) << "the chain of red-1 is gone; 0, red's and red-2's are there";
  EXPECT_EQ(host->PortStatus("b-red")->state(), v1::OBJECT_STATE_READY);
  ExpectNoHoles();
}

// sonic-swss 3979: a removal and what made it again were not merged.
TEST_F(RemovalTest, APortThatComesBackBeforeItIsGoneIsPendingAndThenAttached) {
  Begin();
  const auto vm = Attached("a", "red", "10.0.0.5");
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  host->Detach("a", "red");
  WaitDoesNotLetGo("a-red");
  host->Attach("a", "red", "10.0.0.5");
  const auto status = host->WaitPort(
      "a-red", [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_PENDING; });
  EXPECT_LT(status->observed_generation(), status->generation());
  vm->SetRemoval(FakeVm::Removal::kImmediate);
  vm->CompleteRemovals();
  host->WaitReady("a-red");
}

// The block of a VNI is the old VPC's until its last port is gone: a port of the new
// one would be bound to it beside a guest of the old one.
TEST_F(RemovalTest, AVniIsNotGivenOnWhileAPortOfItsOldVpcIsThere) {
  Begin();
  const auto vm = Attached("a", "red", "10.0.0.5");
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    FillRemove(apply, v1::OBJECT_KIND_PORT, "a-red");
                    FillRemove(apply, v1::OBJECT_KIND_SUBNET, "red-1");
                    FillRemove(apply, v1::OBJECT_KIND_VPC, "red");
                  })
                  .has_accepted());
  host->MakeVpc("green", 1000, "10.0.0.0/24");
  host->AddVm("b");
  host->Attach("b", "green", "10.0.0.5");
  const auto waits = host->WaitPort("b-green", [](const auto& s) {
    return s && s->reason().find("VNI 1000 is still used") != std::string::npos;
  });
  EXPECT_EQ(waits->state(), v1::OBJECT_STATE_PENDING);
  EXPECT_THAT(waits->reason(), HasSubstr("a-red"));
  WaitDoesNotLetGo("a-red");
  EXPECT_EQ(host->PortStatus("b-green")->lease(), 0U);
  EXPECT_EQ(host->Host().pfs(0).vfs(1).state(), "free");
  ExpectOnlyDrops(1000);
  vm->CompleteRemovals();
  host->WaitGone("a-red");
  host->WaitReady("b-green");
  EXPECT_FALSE(Block(1000).empty());
}

// What QEMU "a" once said is of another VM now: neither its root ports nor its
// answer count for a port of the new one.
TEST_F(RemovalTest, AVmWithAnotherUuidGetsNoLeaseOnWhatTheOldOneSaid) {
  const std::string before = BeginBesideAnother();
  const auto old = Attached("a", "red", "10.0.0.5");
  const uint64_t first = host->PortStatus("a-red")->lease();
  old->SetRemoval(FakeVm::Removal::kWhenTold);
  GiveAnotherUuid("a", "a-blue");
  host->WaitPort("a-blue", [](const auto& s) {
    return s && s->reason().find("still being taken out of the VM") != std::string::npos;
  });
  WaitDoesNotLetGo("a-red");
  EXPECT_EQ(host->PortStatus("a-blue")->lease(), 0U);
  host->RemoveVm("a");
  host->WaitUntil("nothing of it is left", [&] { return host->Leftovers() == before; });
  host->AddVm("a")->SetUuid(*Uuid::Parse(kAnotherUuid));
  const uint64_t red = host->WaitReady("a-red").lease(), blue = host->WaitReady("a-blue").lease();
  EXPECT_EQ(std::max(red, blue), first + 2) << "one lease each, and none before";
}

TEST_F(RemovalTest, AVmWithAnotherUuidWaitsForItsQemuAndSaysWhoIsThereInstead) {
  const std::string before = BeginBesideAnother();
  const auto old = Attached("a", "red", "10.0.0.5");
  GiveAnotherUuid("a", "a-blue");
  for (const char* port : {"a-red", "a-blue"}) {
    const v1::ObjectStatus status = host->WaitFailed(port);
    ASSERT_EQ(status.step(), "vm connect");
    EXPECT_THAT(status.reason(), HasSubstr(FakeHost::UuidOf("a")));
    EXPECT_THAT(status.reason(), HasSubstr(kAnotherUuid));
    EXPECT_EQ(status.lease(), 0U);
  }
  EXPECT_EQ(old->devices().size(), 2U) << "only the root ports";
  ExpectAsBefore(before);
  host->RemoveVm("a");
  host->AddVm("a")->SetUuid(*Uuid::Parse(kAnotherUuid));
  host->WaitReady("a-red");
  host->WaitReady("a-blue");
}

}  // namespace
}  // namespace fairlead
