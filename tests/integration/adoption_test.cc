// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: it takes over what is there after a restart, and
// mends what changes behind its back.
#include <algorithm>

#include "agent/base/error.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

class AdoptionTest : public AgentTest {};

// ovn 247, 252 and 261: a restart of the agent lost traffic.
TEST_F(AdoptionTest, ARestartAdoptsWhatIsThereAndChangesNothing) {
  Begin();
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    FillEndpoint(apply, "far", "red", "52:54:00:00:09:01", "10.0.0.9", "192.0.2.2");
                  })
                  .has_accepted());
  const auto vm = Attached("a", "red", "10.0.0.5");
  const v1::ObjectStatus ready = host->WaitReady("a-red");
  host->Stop();
  host->network->ClearCalls();
  const int adds = vm->Calls(QmpMethod::kAddVfioDevice);
  const int writes = PciWrites();
  host->Start();
  const v1::ObjectStatus again = host->WaitReady("a-red");
  EXPECT_EQ(again.lease(), ready.lease());
  EXPECT_EQ(again.vf(), ready.vf());
  EXPECT_EQ(vm->Calls(QmpMethod::kAddVfioDevice), adds);
  EXPECT_EQ(PciWrites(), writes);
  ExpectNetworkUntouched();
}

// One NIC answers before the other: what one subnet's ports share must not lose the
// rest meanwhile.
TEST_F(AdoptionTest, PortsOnTwoNicsAreAdoptedByARestartWithNoChange) {
  Begin({.pfs = 2});
  Quiet();
  const TwoVms vms = TwoAttached();
  const v1::ObjectStatus a = host->WaitReady("a-red"), b = host->WaitReady("b-red");
  ASSERT_EQ(b.vf(), FakeHost::VfName(0, 1));
  const std::string before = host->Leftovers();
  const std::vector<TcFilter> rules = Block(1000);
  host->Stop();
  host->network->ClearCalls();
  const int adds =
      vms.a->Calls(QmpMethod::kAddVfioDevice) + vms.b->Calls(QmpMethod::kAddVfioDevice);
  const int writes = PciWrites();
  Gate other_nic(*host->network, "GetLink(pf1rep0)");
  host->Start();
  host->WaitPort("a-red", [](const auto& s) {
    return s && s->reason().find("of port b-red is being observed") != std::string::npos;
  });
  other_nic.Open();
  EXPECT_EQ(host->WaitReady("a-red").lease(), a.lease());
  EXPECT_EQ(host->WaitReady("b-red").lease(), b.lease());
  EXPECT_EQ(host->PortStatus("a-red")->vf(), a.vf());
  EXPECT_EQ(host->PortStatus("b-red")->vf(), b.vf());
  EXPECT_EQ(vms.a->Calls(QmpMethod::kAddVfioDevice) + vms.b->Calls(QmpMethod::kAddVfioDevice),
            adds);
  EXPECT_EQ(vms.a->Calls(QmpMethod::kRequestRemoval), 0);
  EXPECT_EQ(PciWrites(), writes);
  ExpectNetworkUntouched();
  EXPECT_EQ(host->Leftovers(), before);
  EXPECT_EQ(Block(1000), rules);
}

// nova 1981813: one bad port stopped the whole service at its start.
TEST_F(AdoptionTest, BadPortsAtAStartHoldUpNobodyElse) {
  Begin({.pfs = 2});
  Quiet();
  const TwoVms vms = TwoAttached();
  Attached("c", "blue", "10.0.0.5");
  const uint64_t lease = host->PortStatus("c-blue")->lease();
  host->Stop();
  // Another VM is at the monitor of a, and the representor of b is somebody's.
  vms.a->SetUuid(*Uuid::Parse("11111111-2222-4333-8444-555555555555"));
  host->network->ChangeLink(FakeHost::Representor(0, 1),
                            [](LinkInfo& link) { link.alias = "somebody's"; });
  host->Start();
  EXPECT_EQ(host->WaitReady("c-blue").lease(), lease);
  for (const char* port : {"a-red", "b-red"}) {
    const auto status = host->WaitPort(
        port, [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
    EXPECT_NE(status->reason(), "") << port;
  }
  Attached("d", "blue", "10.0.0.6");
}

// Their rules stand, and are known, though nobody answers for them.
TEST_F(AdoptionTest, APortGoesWhileOtherVmsOfItsVpcAreOff) {
  Begin();
  const TwoVms vms = TwoAttached();
  Attached("c", "red", "10.0.0.7");
  host->Stop();
  vms.a->SetUuid(*Uuid::Parse("11111111-2222-4333-8444-555555555555"));
  vms.b->SetUuid(*Uuid::Parse("11111111-2222-4333-8444-666666666666"));
  host->Start();
  for (const char* port : {"a-red", "b-red"}) {
    host->WaitPort(port,
                   [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  }
  host->Detach("c", "red");
  host->WaitGone("c-red");
  host->WaitUntil("the start is over", [&] { return host->Host().start().complete(); });
}

TEST_F(AdoptionTest, APortThatIsBeingRemovedIsStillFoundByItsVmAfterARestart) {
  Begin();
  const auto vm = Attached("a", "red", "10.0.0.5");
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  host->Detach("a", "red");
  host->WaitPort("a-red", [](const auto& s) { return s && !s->reason().empty(); });
  host->Stop();
  host->Start();
  const auto object = host->Get(v1::OBJECT_KIND_PORT, "a-red");
  ASSERT_TRUE(object);
  EXPECT_EQ(object->object().port().vm(), "a");
  EXPECT_EQ(object->object().port().vpc(), "red");
  EXPECT_EQ(object->status().state(), v1::OBJECT_STATE_REMOVING);
  vm->SetRemoval(FakeVm::Removal::kImmediate);
  vm->CompleteRemovals();
  host->WaitGone("a-red");
}

// sriov-network-operator 1124: what was removed while nobody looked was left, and said to be done.
TEST_F(AdoptionTest, APortRemovedWhileTheAgentWasDownIsTakenApart) {
  Begin();
  const auto vm = host->AddVm("a");
  const std::string before = Quiet();
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  host->Detach("a", "red");
  host->WaitPort("a-red", [](const auto& s) { return s && !s->reason().empty(); });
  host->Stop();
  vm->SetRemoval(FakeVm::Removal::kImmediate);
  vm->CompleteRemovals();
  host->Start();
  host->WaitPort("a-red", [&](const auto& s) { return !s && host->Leftovers() == before; });
}

TEST_F(AdoptionTest, ARepresentorThatLosesItsQdiscIsMendedWithoutUnpluggingTheVm) {
  Begin();
  const auto vm = host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus ready = host->WaitReady("a-red");
  const std::vector<TcFilter> rules = Block(1000);
  FakeTcPort tc(host->network);
  ASSERT_TRUE(tc.DeleteClsact(host->Representor(0)).ok());
  host->Stop();
  host->Start();
  host->WaitPort("a-red", [&](const auto& s) {
    return s && s->state() == v1::OBJECT_STATE_READY && Block(1000) == rules;
  });
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0);
  EXPECT_TRUE(vm->Find(ready.guest_device()));
}

TEST_F(AdoptionTest, ARuleThatSomebodyDeletesComesBack) {
  Begin();
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  const std::vector<TcFilter> rules = Block(1000);
  const auto forward = std::find_if(
      rules.begin(), rules.end(), [](const TcFilter& f) { return f.id.priority == kPrioDeliver; });
  ASSERT_NE(forward, rules.end());
  FakeTcPort tc(host->network);
  TcChange change{TcChange::Verb::kDelete, {0x46000000U | 1000, 0}, *forward};
  ASSERT_TRUE(tc.Apply({&change, 1}).front().ok());
  host->WaitPort("a-red", [&](const auto&) { return Block(1000) == rules; });
}

// kata 2890: a hot-add while the guest boots became an unplug.
TEST_F(AdoptionTest, ADeviceThatABootingGuestLostIsPluggedInAgain) {
  Begin();
  const auto vm = host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  const std::string device = host->WaitReady("a-red").guest_device();
  ASSERT_TRUE(vm->Unplug(device));
  host->WaitPort("a-red", [&](const auto& s) {
    return s && s->state() == v1::OBJECT_STATE_READY && vm->Find(device).has_value();
  });
}

// kubevirt 6581: what was tried once only left VMs without NICs.
TEST_F(AdoptionTest, ANewQemuWithTheSameUuidIsAttachedAgain) {
  Begin();
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  const std::string device = host->WaitReady("a-red").guest_device();
  host->RemoveVm("a");
  host->WaitPort("a-red",
                 [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  EXPECT_EQ(host->pci.Find(host->VfAddress(0))->driver, "vfio-pci") << "never torn down by itself";
  const auto vm = host->AddVm("a");
  host->WaitReady("a-red");
  EXPECT_TRUE(vm->Find(device));
}

TEST_F(AdoptionTest, APortWhoseNicIsGoneIsNotCalledReady) {
  Begin();
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  host->network->FailWhen([](std::string_view call) { return call.starts_with("GetLink"); },
                          SystemError(ENODEV, "asked of the fake", "no such device"), 1000000);
  host->network->LoseLinkEvents();
  const auto status = host->WaitPort(
      "a-red", [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  EXPECT_EQ(status->step(), "pf observe");
}

TEST_F(AdoptionTest, APortWhoseNicIsNotListedAnyMoreSaysSoAndGoesOnOnceItIs) {
  Begin({.pfs = 2, .vfs = 1});
  Quiet();
  TwoAttached();
  ASSERT_EQ(host->PortStatus("b-red")->vf(), FakeHost::VfName(0, 1));
  const std::string before = host->Leftovers();
  host->Stop();
  const DaemonConfig both = host->config;
  host->config.providers.pfs.pop_back();
  host->config.engine.pfs.pop_back();
  host->Start();
  const auto status = host->WaitPort(
      "b-red", [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  EXPECT_THAT(status->reason(), HasSubstr("is not in the configuration any more"));
  EXPECT_THAT(status->reason(), HasSubstr("list it again"));
  EXPECT_TRUE(status->permanent());
  EXPECT_EQ(status->observed_generation(), 1U) << "it was ready, as the journal knows";
  host->Stop();
  host->config = both;
  host->Start();
  host->WaitReady("a-red");
  host->WaitReady("b-red");
  EXPECT_EQ(host->Leftovers(), before);
}

}  // namespace
}  // namespace fairlead
