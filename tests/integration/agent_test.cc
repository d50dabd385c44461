// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: the main job, its failures, restarts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(AgentTest, AnAttachGivesTheVmAVfAndADetachLeavesNothing) {
  Begin();
  const auto vm = host->AddVm("a");
  const std::string before = Quiet();
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitReady("a-red");
  EXPECT_EQ(status.guest_bus(), "rp0");
  EXPECT_EQ(status.mac(), "52:54:00:00:01:00");
  EXPECT_EQ(status.generation(), status.observed_generation());
  EXPECT_EQ(status.rules_observed(), status.rules_wanted());
  EXPECT_GT(status.rules_wanted(), 0U);
  const std::optional<QmpDevice> device = vm->Find(status.guest_device());
  ASSERT_TRUE(device);
  EXPECT_EQ(device->host, host->VfAddress(0).ToString());
  EXPECT_EQ(host->pci.Find(host->VfAddress(0))->driver, "vfio-pci");

  host->Detach("a", "red");
  host->WaitGone("a-red");
  EXPECT_EQ(host->Leftovers(), before);
  EXPECT_FALSE(vm->Find(status.guest_device()));
  EXPECT_GE(host->pci.ResetCount(host->VfAddress(0)), 1);
}

TEST_F(AgentTest, AVmThatIsBeingCreatedIsAttachedCold) {
  Begin();
  const auto vm = host->AddVm("a");
  vm->SetRunState("prelaunch");
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_TRUE(vm->Find(host->WaitReady("a-red").guest_device()));
}

// What would be harmful if it came later: the drop rule, before the link is up
// and the VF is bound.
TEST_F(AgentTest, TheDropRuleStandsBeforeTheVfIsHandedOut) {
  Begin();
  host->AddVm("a");
  Quiet();
  host->network->ClearCalls();
  const std::string put_drop = StrCat("Put(block ", 0x46000000U | 1000, " chain 0 prio 65000");
  std::atomic<bool> handed_out_before = false;
  host->network->SetHook([&](std::string_view call) {
    if (call.starts_with(put_drop) && host->pci.Find(host->VfAddress(0))->driver == "vfio-pci") {
      handed_out_before = true;
    }
  });
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  host->network->SetHook(nullptr);
  EXPECT_FALSE(handed_out_before);
  const std::vector<std::string> calls = host->network->Calls();
  const auto find = [&](const std::string& part) {
    return std::find_if(calls.begin(), calls.end(), [&](const std::string& call) {
      return call.find(part) != std::string::npos;
    });
  };
  const auto drop = find(put_drop);
  const auto up = find("SetLinkUp(20, up)");
  ASSERT_NE(drop, calls.end()) << StrJoin(calls, "\n");
  ASSERT_NE(up, calls.end()) << StrJoin(calls, "\n");
  EXPECT_LT(drop - calls.begin(), up - calls.begin());
}

TEST_F(AgentTest, TenantsWithTheSameAddressesShareNoRule) {
  Begin();
  host->AddVm("a");
  host->AddVm("b");
  host->Attach("a", "red", "10.0.0.5");
  host->Attach("b", "blue", "10.0.0.5");
  const v1::ObjectStatus a = host->WaitReady("a-red"), b = host->WaitReady("b-blue");
  EXPECT_NE(a.representor(), b.representor());
  const uint32_t rep_b = b.representor() == "pf0rep1" ? host->Representor(1) : host->Representor(0);
  for (const TcFilter& filter : Block(1000)) {
    for (const TcAction& action : filter.actions) {
      if (const auto* mirred = std::get_if<TcMirred>(&action)) {
        EXPECT_NE(mirred->ifindex, rep_b);
      }
      if (const auto* tunnel = std::get_if<TcTunnelSet>(&action)) {
        EXPECT_EQ(tunnel->key_id, 1000U);
      }
    }
  }
}

TEST_F(AgentTest, AMissingMonitorFailsTheAttachAndItsArrivalMendsIt) {
  Begin();
  const std::string before = Quiet();
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_EQ(status.step(), "vm connect");
  EXPECT_THAT(status.reason(), HasSubstr("/vms/a.qmp"));
  EXPECT_FALSE(status.permanent());
  EXPECT_EQ(host->Host().pfs(0).vfs(0).state(), "free");
  host->AddVm("a");
  host->WaitReady("a-red");
}

TEST_F(AgentTest, AMonitorHeldByAnotherClientIsNamedAndWaitedFor) {
  Begin();
  const auto vm = host->AddVm("a");
  vm->SetHeldByOther(true);
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_EQ(status.step(), "vm connect");
  EXPECT_THAT(status.reason(), HasSubstr("another client"));
  vm->SetHeldByOther(false);
  host->WaitReady("a-red");
}

TEST_F(AgentTest, AnotherVmAtTheMonitorIsRefused) {
  Begin();
  const auto vm = host->AddVm("a");
  vm->SetUuid(*Uuid::Parse("11111111-2222-4333-8444-555555555555"));
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_THAT(host->WaitFailed("a-red").reason(),
              HasSubstr("11111111-2222-4333-8444-555555555555"));
  EXPECT_TRUE(vm->devices().size() == 2) << "only the root ports";
}

TEST_F(AgentTest, WithoutAFreeVfTheAttachFailsAndAFreedOneMendsIt) {
  Begin({.vfs = 1});
  host->AddVm("a");
  host->AddVm("b");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  host->Attach("b", "red", "10.0.0.6");
  const v1::ObjectStatus status = host->WaitFailed("b-red");
  EXPECT_EQ(status.step(), "vf placement");
  EXPECT_THAT(status.reason(), HasSubstr("leased"));
  EXPECT_TRUE(status.permanent());
  host->Detach("a", "red");
  host->WaitReady("b-red");
}

TEST_F(AgentTest, WithoutAFreeRootPortTheAttachFailsBeforeAnythingIsMade) {
  Begin();
  host->AddVm("a", /*root_ports=*/1)->AddDevice({"disk", "virtio-blk-pci", "rp0", ""});
  const std::string before = Quiet();
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_EQ(status.step(), "guest-device placement");
  EXPECT_THAT(status.reason(), HasSubstr("rp0"));
  EXPECT_EQ(host->Leftovers(), before);
}

TEST_F(AgentTest, AVfOfSomebodyElseIsLeftAlone) {
  Begin({.vfs = 1});
  Quiet();
  ASSERT_TRUE(host->pci.SetDriverOverride(host->VfAddress(0), "vfio-pci").ok());
  ASSERT_TRUE(host->pci.Probe(host->VfAddress(0)).ok());
  host->Stop();
  host->Start();  // observes it
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_THAT(status.reason(), HasSubstr("in use by someone else"));
  EXPECT_EQ(host->pci.Find(host->VfAddress(0))->driver, "vfio-pci");
}

TEST_F(AgentTest, AVfThatSomebodyTookSinceItWasLastSeenIsLeftAlone) {
  Begin({.vfs = 1});
  host->AddVm("a");
  Quiet();
  // No event tells of it: the agent still takes the VF for free.
  ASSERT_TRUE(host->pci.SetDriverOverride(host->VfAddress(0), "vfio-pci").ok());
  ASSERT_TRUE(host->pci.Probe(host->VfAddress(0)).ok());
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_THAT(host->WaitFailed("a-red").reason(), HasSubstr("in use by someone else"));
  EXPECT_EQ(host->pci.Find(host->VfAddress(0))->driver, "vfio-pci");
  EXPECT_EQ(host->pci.ResetCount(host->VfAddress(0)), 0);
}

TEST_F(AgentTest, ACorrectedIntentIsTriedAfterThePermanentFailureOfTheOldOne) {
  Begin();
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_MUST);
  ASSERT_TRUE(host->Send(request).has_accepted());
  host->WaitPort("a-red", [](const auto& s) {
    return s && s->state() == v1::OBJECT_STATE_FAILED;  // maybe still rolling back
  });
  request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_PREFER);
  ASSERT_TRUE(host->Send(request).has_accepted());
  EXPECT_EQ(host->WaitReady("a-red").generation(), 2U);
}

TEST_F(AgentTest, ARepresentorThatLosesItsQdiscIsMendedWithoutUnpluggingTheVm) {
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

TEST_F(AgentTest, APortThatIsBeingRemovedForwardsNothingWhileItsGuestHoldsOn) {
  Begin();
  const auto vm = host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  vm->SetRemoval(FakeVm::Removal::kNever);
  host->Detach("a", "red");
  host->WaitPort("a-red", [](const auto& s) {
    return s && s->reason().find("does not let go") != std::string::npos;
  });
  for (const TcFilter& filter : Block(1000)) {
    for (const TcAction& action : filter.actions) {
      const auto* verdict = std::get_if<TcGact>(&action);
      EXPECT_TRUE(verdict != nullptr && verdict->verdict == TcGact::Verdict::kDrop)
          << "chain " << filter.id.chain << " prio " << filter.id.priority;
    }
  }
  EXPECT_FALSE(Block(1000).empty()) << "the drop rule stands as long as the representor";
}

TEST_F(AgentTest, ARuleThatMustBeInHardwareAndIsRefusedRollsTheAttachBack) {
  Begin();
  host->AddVm("a");
  host->AddVm("b");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  const std::string before = host->Leftovers();
  const std::vector<TcFilter> rules = Block(1000);
  v1::Request request = host->AddVmRequest("b", "red", "10.0.0.6");
  request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_MUST);
  ASSERT_TRUE(host->Send(request).has_accepted());
  const v1::ObjectStatus status = host->WaitFailed("b-red");
  EXPECT_EQ(status.step(), "flow-rule create");
  EXPECT_THAT(status.reason(), HasSubstr("must run in hardware"));
  EXPECT_THAT(status.reason(), HasSubstr("Operation not supported"));
  EXPECT_TRUE(status.permanent());
  EXPECT_EQ(host->Leftovers(), before);
  EXPECT_EQ(Block(1000), rules) << "the other VM's rules are as they were";
  EXPECT_EQ(host->PortStatus("a-red")->state(), v1::OBJECT_STATE_READY);
}

TEST_F(AgentTest, QemusRefusalIsToldInItsOwnWordsAndRolledBack) {
  Begin();
  const auto vm = host->AddVm("a");
  const std::string before = Quiet();
  vm->SetHostCheck([](const PciAddress&) {
    return PeerError(absl::StatusCode::kFailedPrecondition, "add the device",
                     "vfio 0000:01:00.1: group 5 is not viable");
  });
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_EQ(status.step(), "guest-device create");
  EXPECT_THAT(status.peer_words(), HasSubstr("group 5 is not viable"));
  host->Detach("a", "red");
  host->WaitGone("a-red");
  EXPECT_EQ(host->Leftovers(), before);
}

TEST_F(AgentTest, EveryStepOfAnAttachThatFailsIsRolledBack) {
  for (const char* call : {"SetAlias", "SetAddrGenNone", "AddClsact", "Put", "SetLinkUp"}) {
    SCOPED_TRACE(call);
    Begin();
    host->AddVm("a");
    // The tunnel is the host's and stays: it is made by a first port.
    host->AddVm("z");
    host->Attach("z", "blue", "10.0.0.9");
    host->WaitReady("z-blue");
    const std::string before = host->Leftovers();
    host->network->FailNext(call, SystemError(EINVAL, "asked of the fake", "not like this"));
    host->Attach("a", "red", "10.0.0.5");
    EXPECT_EQ(host->WaitFailed("a-red").peer_words(), "not like this");
    EXPECT_EQ(host->Leftovers(), before);
    EXPECT_EQ(host->PortStatus("z-blue")->state(), v1::OBJECT_STATE_READY);
    host.reset();
  }
}

TEST_F(AgentTest, ADriverThatDoesNotBindRollsTheAttachBack) {
  Begin();
  host->AddVm("a");
  host->pci.SetDriverLoaded("vfio-pci", false);
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_EQ(status.step(), "driver-binding create");
  EXPECT_THAT(status.reason(), HasSubstr("vfio-pci"));
  EXPECT_EQ(host->pci.Find(host->VfAddress(0))->driver_override, "");
}

TEST_F(AgentTest, ADeviceDelThatIsNeverAnsweredKeepsTheVfAndSaysSo) {
  Begin();
  const auto vm = host->AddVm("a");
  host->AddVm("b");
  host->Attach("a", "red", "10.0.0.5");
  host->Attach("b", "red", "10.0.0.6");
  host->WaitReady("a-red");
  host->WaitReady("b-red");
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  host->Detach("a", "red");
  const auto status = host->WaitPort("a-red", [](const auto& s) {
    return s && s->reason().find("does not let go") != std::string::npos;
  });
  EXPECT_EQ(status->state(), v1::OBJECT_STATE_REMOVING);
  EXPECT_EQ(status->step(), "guest-device delete");
  EXPECT_EQ(host->Host().pfs(0).vfs(0).state(), "leased");
  EXPECT_EQ(host->pci.Find(host->VfAddress(0))->driver, "vfio-pci");
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 1) << "asking again could cancel the request";
  EXPECT_EQ(host->PortStatus("b-red")->state(), v1::OBJECT_STATE_READY);
  vm->CompleteRemovals();
  host->WaitGone("a-red");
}

TEST_F(AgentTest, ADeviceThatABootingGuestLostIsPluggedInAgain) {
  Begin();
  const auto vm = host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  const std::string device = host->WaitReady("a-red").guest_device();
  ASSERT_TRUE(vm->Unplug(device));
  host->WaitPort("a-red", [&](const auto& s) {
    return s && s->state() == v1::OBJECT_STATE_READY && vm->Find(device).has_value();
  });
}

TEST_F(AgentTest, ANewQemuWithTheSameUuidIsAttachedAgain) {
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

TEST_F(AgentTest, ARestartAdoptsWhatIsThereAndChangesNothing) {
  Begin();
  const auto vm = host->AddVm("a");
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    v1::Endpoint* e = apply.add_upsert()->mutable_endpoint();
                    e->set_id("far");
                    e->set_vpc("red");
                    e->set_mac("52:54:00:00:09:01");
                    e->add_addresses("10.0.0.9");
                    e->set_vtep("192.0.2.2");
                  })
                  .has_accepted());
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus ready = host->WaitReady("a-red");
  host->Stop();
  host->network->ClearCalls();
  const int adds = vm->Calls(QmpMethod::kAddVfioDevice);
  host->Start();
  const v1::ObjectStatus again = host->WaitReady("a-red");
  EXPECT_EQ(again.lease(), ready.lease());
  EXPECT_EQ(again.vf(), ready.vf());
  EXPECT_EQ(vm->Calls(QmpMethod::kAddVfioDevice), adds);
  for (const std::string& call : host->network->Calls()) {
    EXPECT_THAT(call, Not(::testing::StartsWith("Put"))) << "a rule was made again";
    EXPECT_THAT(call, Not(::testing::StartsWith("Delete")));
    EXPECT_THAT(call, Not(::testing::StartsWith("Set")));
    EXPECT_THAT(call, Not(::testing::StartsWith("Add")));
  }
}

TEST_F(AgentTest, APortRemovedWhileTheAgentWasDownIsTakenApart) {
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

TEST_F(AgentTest, AForeignRuleInOurPlaceIsReportedAndKept) {
  Begin();
  host->AddVm("a");
  host->AddVm("b");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  // b's rule will have the handle of its port's ordinal: after VM b's.
  uint32_t ordinal = 0;
  for (const TcFilter& filter : Block(1000)) {
    if (filter.id.priority == kPrioForward) ordinal = filter.id.handle + 2;
  }
  TcFilterInfo foreign;
  foreign.id = {0, kPrioForward, ordinal};
  foreign.ethertype = 0x0003;  // ETH_P_ALL
  foreign.kind = "flower";
  host->network->AddForeignFilter({0x46000000U | 1000, 0}, foreign);
  const std::string before = host->Leftovers();
  host->Attach("b", "red", "10.0.0.6");
  const v1::ObjectStatus status = host->WaitFailed("b-red");
  EXPECT_THAT(status.reason(), HasSubstr(StrCat("block-1000/0/", kPrioForward, "/", ordinal)));
  EXPECT_EQ(host->Leftovers(), before);
  EXPECT_EQ(host->PortStatus("a-red")->state(), v1::OBJECT_STATE_READY);
}

TEST_F(AgentTest, APortThatMustRunInHardwareDoesOnANicThatCan) {
  Begin({.offload_capable = true});
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_MUST);
  ASSERT_TRUE(host->Send(request).has_accepted());
  const v1::ObjectStatus status = host->WaitReady("a-red");
  EXPECT_GT(status.rules_in_hardware(), 0U);
}

TEST_F(AgentTest, ARuleThatSomebodyDeletesComesBack) {
  Begin();
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  const std::vector<TcFilter> rules = Block(1000);
  const auto forward = std::find_if(
      rules.begin(), rules.end(), [](const TcFilter& f) { return f.id.priority == kPrioForward; });
  ASSERT_NE(forward, rules.end());
  FakeTcPort tc(host->network);
  TcChange change{TcChange::Verb::kDelete, {0x46000000U | 1000, 0}, *forward};
  ASSERT_TRUE(tc.Apply({&change, 1}).front().ok());
  host->WaitPort("a-red", [&](const auto&) { return Block(1000) == rules; });
}

TEST_F(AgentTest, EndpointsSayWhetherTheirNextHopIsThere) {
  Begin();
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  const auto endpoint = [&](const std::string& id, int n, const std::string& vtep) {
    ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                      v1::Endpoint* e = apply.add_upsert()->mutable_endpoint();
                      e->set_id(id);
                      e->set_vpc("red");
                      e->set_mac(StrCat("52:54:00:00:09:0", n));
                      e->add_addresses(StrCat("10.0.0.1", n));
                      e->set_vtep(vtep);
                    })
                    .has_accepted());
  };
  endpoint("near", 1, "192.0.2.2");
  endpoint("silent", 2, "192.0.2.77");
  endpoint("nowhere", 3, "203.0.113.5");
  const auto state = [&](const std::string& id) {
    v1::Request request;
    request.mutable_get()->set_kind(v1::OBJECT_KIND_ENDPOINT);
    request.mutable_get()->set_id(id);
    return host->Send(request).get().objects(0).status();
  };
  host->WaitPort("a-red", [&](const auto&) {
    return state("near").state() == v1::OBJECT_STATE_READY &&
           state("silent").state() == v1::OBJECT_STATE_DEGRADED &&
           state("nowhere").state() == v1::OBJECT_STATE_DEGRADED;
  });
  EXPECT_THAT(state("silent").reason(), HasSubstr("192.0.2.77"));
  EXPECT_THAT(state("nowhere").reason(), HasSubstr("route"));
}

TEST_F(AgentTest, AMacThatAVirtioVfCannotHaveIsRefusedByName) {
  Begin();
  Quiet();
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:77:77");
  const v1::Reply reply = host->Send(request);
  ASSERT_EQ(reply.rejected().violations_size(), 1) << reply.ShortDebugString();
  EXPECT_EQ(reply.rejected().violations(0).path(), "add_vm_to_vpc.mac");
  EXPECT_EQ(reply.rejected().violations(0).code(), v1::Rejected::CODE_UNSUPPORTED);
  EXPECT_THAT(reply.rejected().violations(0).reason(), HasSubstr("52:54:00:00:01:00"));
}

TEST_F(AgentTest, WhereTheNicSetsMacsTheVfGetsTheOneAskedFor) {
  Begin({.can_set_vf_mac = true});
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:77:77");
  ASSERT_TRUE(host->Send(request).has_accepted());
  host->WaitReady("a-red");
  FakeRtnetlinkPort links(host->network);
  const auto pf = links.GetLinkWithVfs(FakeHost::kPfLink);
  ASSERT_TRUE(pf.ok());
  EXPECT_EQ(pf->vfs->at(0).mac.ToString(), "52:54:00:00:77:77");
  host->Detach("a", "red");
  host->WaitGone("a-red");
  EXPECT_TRUE(links.GetLinkWithVfs(FakeHost::kPfLink)->vfs->at(0).mac.IsZero());
}

TEST_F(AgentTest, BadIntentsAreRefusedWithEveryReasonAndChangeNothing) {
  Begin();
  const v1::Reply reply = host->Apply([](v1::Apply& apply) {
    v1::Port* p = apply.add_upsert()->mutable_port();
    p->set_id("x");
    p->set_vpc("green");
    p->set_subnet("red-1");
    p->add_addresses("10.9.9.9");
    p->set_mac("not a mac");
  });
  ASSERT_TRUE(reply.has_rejected());
  EXPECT_GE(reply.rejected().violations_size(), 3) << reply.ShortDebugString();
  EXPECT_FALSE(host->PortStatus("x"));
}

TEST_F(AgentTest, MalformedTruncatedAndOversizedMessagesGetAnAnswerAndLoseNothing) {
  Begin();
  const auto code = [](const v1::Reply& reply) {
    return reply.rejected().violations_size() > 0 ? reply.rejected().violations(0).code()
                                                  : v1::Rejected::CODE_UNSPECIFIED;
  };
  EXPECT_EQ(code(host->SendBytes("\xff\xff\xff garbage")), v1::Rejected::CODE_MALFORMED);
  v1::Request good = host->AddVmRequest("a", "red", "10.0.0.5");
  good.set_protocol_version(1);
  good.set_request_id("t");
  good.set_controller_id("test");
  const std::string bytes = good.SerializeAsString();
  EXPECT_EQ(code(host->SendBytes(bytes.substr(0, bytes.size() - 3))), v1::Rejected::CODE_MALFORMED);
  EXPECT_EQ(code(host->SendBytes(std::string(2 << 20, 'x'))), v1::Rejected::CODE_MALFORMED);
  EXPECT_FALSE(host->PortStatus("a-red"));
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
}

TEST_F(AgentTest, ARepeatedRequestGetsTheSameAnswerAndChangesNothing) {
  Begin();
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.set_request_id("once");
  const v1::Reply first = host->Send(request);
  ASSERT_TRUE(first.has_accepted());
  host->Detach("a", "red");
  const v1::Reply second = host->Send(request);
  EXPECT_EQ(first.SerializeAsString(), second.SerializeAsString());
  host->WaitGone("a-red");
  // The same id for something else would be told "accepted" and be lost.
  v1::Request other = host->AddVmRequest("b", "red", "10.0.0.6");
  other.set_request_id("once");
  const v1::Reply refused = host->Send(other);
  ASSERT_TRUE(refused.has_rejected());
  EXPECT_EQ(refused.rejected().violations(0).path(), "request_id");
}

TEST_F(AgentTest, AnOlderEpochOrRevisionIsRefusedByName) {
  Begin();
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.set_controller_id("sdn");
  request.set_epoch(7);
  request.set_revision(3);
  ASSERT_TRUE(host->Send(request).has_accepted());
  request.set_request_id("later");
  const v1::Reply stale = host->Send(request);
  ASSERT_TRUE(stale.has_rejected());
  EXPECT_EQ(stale.rejected().violations(0).path(), "revision");
  request.set_epoch(6);
  request.set_revision(9);
  const v1::Reply old = host->Send(request);
  ASSERT_TRUE(old.has_rejected());
  EXPECT_EQ(old.rejected().violations(0).path(), "epoch");
  EXPECT_EQ(old.rejected().violations(0).code(), v1::Rejected::CODE_STALE);
}

TEST_F(AgentTest, ADryRunShowsTheStepsAndTakesNone) {
  Begin();
  host->AddVm("a");
  const std::string before = Quiet();
  host->network->ClearCalls();
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.set_dry_run(true);
  const v1::Reply reply = host->Send(request);
  ASSERT_TRUE(reply.has_plan()) << reply.ShortDebugString();
  std::string steps;
  for (const v1::Plan::Step& step : reply.plan().steps()) {
    StrAppend(&steps, step.verb(), " ", step.resource(), "\n");
  }
  EXPECT_THAT(steps, AllOf(HasSubstr("create tunnel/"), HasSubstr("create representor/"),
                           HasSubstr("create flow-rule/"), HasSubstr("create driver-binding/"),
                           HasSubstr("create guest-device/a/a-red")));
  EXPECT_EQ(reply.plan().blocked_size(), 0) << reply.ShortDebugString();
  EXPECT_EQ(host->Leftovers(), before);
  EXPECT_FALSE(host->PortStatus("a-red"));
  for (const std::string& call : host->network->Calls()) {
    EXPECT_THAT(call, Not(::testing::StartsWith("Put")));
  }
}

TEST_F(AgentTest, ADryRunSaysWhatIsInTheWay) {
  Begin();
  Quiet();
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.set_dry_run(true);
  const v1::Reply reply = host->Send(request);
  ASSERT_TRUE(reply.has_plan()) << reply.ShortDebugString();
  ASSERT_GE(reply.plan().blocked_size(), 1);
  bool named = false;
  for (const v1::ObjectStatus& blocked : reply.plan().blocked()) {
    named = named || blocked.reason().find("/vms/a.qmp") != std::string::npos;
  }
  EXPECT_TRUE(named) << reply.ShortDebugString();
}

TEST_F(AgentTest, APortWithoutAVmIsKeptAndWaits) {
  Begin();
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    v1::Port* p = apply.add_upsert()->mutable_port();
                    p->set_id("waiting");
                    p->set_vpc("red");
                    p->set_subnet("red-1");
                  })
                  .has_accepted());
  host->WaitPort("waiting", [](const auto& s) {
    return s && s->state() == v1::OBJECT_STATE_PENDING &&
           s->reason().find("no VM") != std::string::npos;
  });
}

TEST_F(AgentTest, APfWithTheDefaultRouteIsNotTouched) {
  host = std::make_unique<FakeHost>();
  host->network->AddRoute(*IpPrefix::Parse("0.0.0.0/0"),
                          {FakeHost::kPfLink, *IpAddress::Parse("192.0.2.254"), {}, false});
  host->Start();
  host->MakeVpc("red", 1000, "10.0.0.0/24");
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_THAT(host->WaitFailed("a-red").reason(), HasSubstr("default route"));
  EXPECT_EQ(host->pci.Find(host->pf_address)->num_vfs, 0);
}

TEST_F(AgentTest, SixteenPortsOfOneSubnetAttachSideBySideAndGoAgain) {
  Begin({.vfs = 16});
  const std::string before = Quiet();
  for (int i = 0; i < 16; ++i) {
    host->AddVm(StrCat("vm", i));
    host->Attach(StrCat("vm", i), "red", StrCat("10.0.0.", 10 + i));
  }
  for (int i = 0; i < 16; ++i) host->WaitReady(StrCat("vm", i, "-red"));
  for (int i = 0; i < 16; ++i) host->Detach(StrCat("vm", i), "red");
  for (int i = 0; i < 16; ++i) host->WaitGone(StrCat("vm", i, "-red"));
  EXPECT_EQ(host->Leftovers(), before);
}

}  // namespace
}  // namespace fairlead
