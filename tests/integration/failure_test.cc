// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: attaches that fail, what they say, and that nothing
// of them is left beside a VM that is not concerned.
#include <errno.h>

#include <algorithm>

#include "agent/base/error.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

class FailureTest : public AgentTest {};

// kubevirt 6581: what was tried once only left VMs without NICs.
TEST_F(FailureTest, AMissingMonitorFailsTheAttachAndItsArrivalMendsIt) {
  const std::string before = BeginBesideAnother();
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_EQ(status.step(), "vm connect");
  EXPECT_THAT(status.reason(), HasSubstr("/vms/a.qmp"));
  EXPECT_FALSE(status.permanent());
  EXPECT_EQ(host->Host().pfs(0).vfs(1).state(), "free");
  ExpectAsBefore(before);
  host->AddVm("a");
  host->WaitReady("a-red");
}

TEST_F(FailureTest, AMonitorHeldByAnotherClientIsNamedAndWaitedFor) {
  const std::string before = BeginBesideAnother();
  const auto vm = host->AddVm("a");
  vm->SetHeldByOther(true);
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_EQ(status.step(), "vm connect");
  EXPECT_THAT(status.reason(), HasSubstr("another client"));
  ExpectAsBefore(before);
  vm->SetHeldByOther(false);
  host->WaitReady("a-red");
}

TEST_F(FailureTest, TheLastErrorIsToldWhileItIsTriedAgainAndWhenItIsOver) {
  BeginBesideAnother();
  const auto vm = host->AddVm("a");
  vm->SetHeldByOther(true);
  host->Attach("a", "red", "10.0.0.5");
  v1::LastError error;
  host->WaitUntil("it failed twice and says when it is tried again", [&] {
    error = host->Get(v1::OBJECT_KIND_PORT, "a-red")->last_error();
    return error.times() >= 2 && error.retry_in_ms() > 0;
  });
  EXPECT_EQ(error.step(), "vm connect");
  EXPECT_THAT(error.reason(), HasSubstr("another client"));
  EXPECT_EQ(error.generation(), 1U);
  EXPECT_FALSE(error.permanent());
  EXPECT_GT(error.first_time(), 0U);
  EXPECT_GT(error.last_time(), error.first_time());
  EXPECT_THAT(host->Get(v1::OBJECT_KIND_VM, "a")->last_error().reason(),
              HasSubstr("another client"));
  vm->SetHeldByOther(false);
  host->WaitReady("a-red");
  const v1::LastError over = host->Get(v1::OBJECT_KIND_PORT, "a-red")->last_error();
  EXPECT_THAT(over.reason(), HasSubstr("another client"));
  EXPECT_GE(over.times(), error.times());
  EXPECT_EQ(over.retry_in_ms(), 0U);
  EXPECT_FALSE(host->Get(v1::OBJECT_KIND_PORT, "z-blue")->has_last_error());
}

TEST_F(FailureTest, AFailedAttachIsOneErrorHoweverLongItsRollbackTakes) {
  BeginBesideAnother({}, TryOnce);
  const auto vm = host->AddVm("a");
  host->qmp.Find("/vms/a.qmp")
      ->FailNext(QmpMethod::kAddVfioDevice,
                 SystemError(EINVAL, "asked of the fake", "not like this"));
  host->Attach("a", "red", "10.0.0.5");
  host->WaitFailed("a-red");
  const v1::LastError error = host->Get(v1::OBJECT_KIND_PORT, "a-red")->last_error();
  EXPECT_EQ(error.times(), 1U);
  EXPECT_EQ(error.step(), "guest-device create");
  EXPECT_EQ(error.peer_words(), "not like this");
}

TEST_F(FailureTest, AnotherVmAtTheMonitorIsRefused) {
  const std::string before = BeginBesideAnother();
  const auto vm = host->AddVm("a");
  vm->SetUuid(*Uuid::Parse("11111111-2222-4333-8444-555555555555"));
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_THAT(host->WaitFailed("a-red").reason(),
              HasSubstr("11111111-2222-4333-8444-555555555555"));
  EXPECT_EQ(vm->devices().size(), 2U) << "only the root ports";
  ExpectAsBefore(before);
}

TEST_F(FailureTest, WithoutAFreeVfTheAttachFailsAndAFreedOneMendsIt) {
  BeginBesideAnother({.vfs = 2});
  Attached("a", "red", "10.0.0.5");
  const std::string before = host->Leftovers();
  host->AddVm("b");
  host->Attach("b", "red", "10.0.0.6");
  const v1::ObjectStatus status = host->WaitFailed("b-red");
  EXPECT_EQ(status.step(), "vf placement");
  EXPECT_THAT(status.reason(), HasSubstr("leased"));
  EXPECT_TRUE(status.permanent());
  ExpectAsBefore(before);
  EXPECT_EQ(host->PortStatus("a-red")->state(), v1::OBJECT_STATE_READY);
  host->Detach("a", "red");
  host->WaitReady("b-red");
}

TEST_F(FailureTest, WithoutAFreeRootPortTheAttachFailsBeforeAnythingIsMade) {
  const std::string before = BeginBesideAnother();
  host->AddVm("a", /*root_ports=*/1)->AddDevice({"disk", "virtio-blk-pci", "rp0", ""});
  host->network->ClearCalls();
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_EQ(status.step(), "guest-device placement");
  EXPECT_THAT(status.reason(), HasSubstr("rp0"));
  ExpectNetworkUntouched();
  ExpectAsBefore(before);
}

TEST_F(FailureTest, AVfOfSomebodyElseIsLeftAlone) {
  BeginBesideAnother({.vfs = 2});
  ASSERT_TRUE(host->pci.SetDriverOverride(host->VfAddress(1), "vfio-pci").ok());
  ASSERT_TRUE(host->pci.Probe(host->VfAddress(1)).ok());
  host->Stop();
  host->Start();  // observes it
  host->WaitReady("z-blue");
  const std::string before = host->Leftovers();
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_THAT(status.reason(), HasSubstr("in use by someone else"));
  EXPECT_EQ(host->pci.Find(host->VfAddress(1))->driver, "vfio-pci");
  ExpectAsBefore(before);
}

TEST_F(FailureTest, AVfThatSomebodyTookSinceItWasLastSeenIsLeftAlone) {
  BeginBesideAnother({.vfs = 2}, TryOnce);
  host->AddVm("a");
  // No event tells of it: the agent still takes the VF for free.
  ASSERT_TRUE(host->pci.SetDriverOverride(host->VfAddress(1), "vfio-pci").ok());
  ASSERT_TRUE(host->pci.Probe(host->VfAddress(1)).ok());
  const std::string before = host->Leftovers();
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_THAT(host->WaitFailed("a-red").reason(), HasSubstr("in use by someone else"));
  EXPECT_EQ(host->pci.Find(host->VfAddress(1))->driver, "vfio-pci");
  EXPECT_EQ(host->pci.ResetCount(host->VfAddress(1)), 0);
  ExpectAsBefore(before);
}

TEST_F(FailureTest, ACorrectedIntentIsTriedAfterThePermanentFailureOfTheOldOne) {
  const std::string before = BeginBesideAnother({}, TryOnce);
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_MUST);
  ASSERT_TRUE(host->Send(request).has_accepted());
  EXPECT_TRUE(host->WaitFailed("a-red").permanent());
  ExpectAsBefore(before);
  request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_PREFER);
  ASSERT_TRUE(host->Send(request).has_accepted());
  EXPECT_EQ(host->WaitReady("a-red").generation(), 2U);
}

TEST_F(FailureTest, ARuleThatMustBeInHardwareAndIsRefusedRollsTheAttachBack) {
  BeginBesideAnother();
  Attached("a", "red", "10.0.0.5");
  const std::string before = host->Leftovers();
  const std::vector<TcFilter> rules = Block(1000);
  host->AddVm("b");
  v1::Request request = host->AddVmRequest("b", "red", "10.0.0.6");
  request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_MUST);
  ASSERT_TRUE(host->Send(request).has_accepted());
  const v1::ObjectStatus status = host->WaitFailed("b-red");
  EXPECT_EQ(status.step(), "flow-rule create");
  EXPECT_THAT(status.reason(), HasSubstr("must run in hardware"));
  EXPECT_THAT(status.reason(), HasSubstr("Operation not supported"));
  EXPECT_TRUE(status.permanent());
  ExpectAsBefore(before);
  EXPECT_EQ(Block(1000), rules) << "the rules of its own VPC are as they were";
  EXPECT_EQ(host->PortStatus("a-red")->state(), v1::OBJECT_STATE_READY);
}

// alcor: errors of the host came back as "your intent is wrong".
TEST_F(FailureTest, QemusRefusalIsToldInItsOwnWordsAndRolledBack) {
  const std::string before = BeginBesideAnother({}, TryOnce);
  const auto vm = host->AddVm("a");
  vm->SetHostCheck([](const PciAddress&) {
    return PeerError(absl::StatusCode::kFailedPrecondition, "add the device",
                     "vfio 0000:01:00.2: group 5 is not viable");
  });
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_EQ(status.step(), "guest-device create");
  EXPECT_THAT(status.peer_words(), HasSubstr("group 5 is not viable"));
  ExpectAsBefore(before);
  host->Detach("a", "red");
  host->WaitGone("a-red");
  ExpectAsBefore(before);
}

TEST_F(FailureTest, EveryStepOfAnAttachThatFailsIsRolledBack) {
  const auto error = [] { return SystemError(EINVAL, "asked of the fake", "not like this"); };
  const auto network = [&](const std::string& prefix, const std::string& part) {
    return [=, this] {
      host->network->FailWhen(
          [=](std::string_view call) {
            return call.starts_with(prefix) && call.find(part) != std::string_view::npos;
          },
          error());
    };
  };
  const auto pci = [&](SysfsMethod method) {
    return [=, this] { host->pci.FailNext(method, error(), host->VfAddress(1)); };
  };
  const std::pair<const char*, std::function<void()>> steps[] = {
      {"alias", network("SetAlias(", "")},
      {"link-local", network("SetAddrGenNone(", "")},
      {"qdisc", network("AddClsact(", "")},
      {"drop rule", network("Put(block ", StrCat(" prio ", kPrioDefaultDrop, " "))},
      {"link up", network("SetLinkUp(", ", up)")},
      {"delivery", network("Put(block ", StrCat(" prio ", kPrioDeliver, " "))},
      {"delivery from the tunnel", network("Put(ifindex ", StrCat(" prio ", kPrioDeliver, " "))},
      {"route", network("Put(block ", StrCat(" prio ", kPrioRoute4, " "))},
      {"admission", network("Put(block ", StrCat(" prio ", kPrioAdmit4, " "))},
      {"driver override", pci(SysfsMethod::kSetDriverOverride)},
      {"probe", pci(SysfsMethod::kProbe)},
      {"device_add",
       [&] { host->qmp.Find("/vms/a.qmp")->FailNext(QmpMethod::kAddVfioDevice, error()); }}};
  for (const auto& [step, arm] : steps) {
    SCOPED_TRACE(step);
    const std::string before = BeginBesideAnother({}, TryOnce);
    host->AddVm("a");
    arm();
    host->Attach("a", "red", "10.0.0.5");
    EXPECT_EQ(host->WaitFailed("a-red").peer_words(), "not like this");
    ExpectAsBefore(before);
    host.reset();
  }
}

TEST_F(FailureTest, ADriverThatDoesNotBindRollsTheAttachBack) {
  const std::string before = BeginBesideAnother();
  host->AddVm("a");
  host->pci.SetDriverLoaded("vfio-pci", false);
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_EQ(status.step(), "driver-binding create");
  EXPECT_THAT(status.reason(), HasSubstr("vfio-pci"));
  ExpectAsBefore(before);
}

TEST_F(FailureTest, AForeignRuleInOurPlaceIsReportedAndKept) {
  BeginBesideAnother();
  Attached("a", "red", "10.0.0.5");
  // b's rule will have the handle of its port's ordinal: after VM b's.
  TcFilterInfo foreign;
  for (const TcFilter& filter : Block(1000)) {
    if (filter.id.priority == kPrioDeliver) foreign.id = filter.id;
  }
  foreign.id.handle += 2;
  foreign.ethertype = 0x0003;  // ETH_P_ALL
  foreign.kind = "flower";
  host->network->AddForeignFilter({BlockIndex(1000), 0}, foreign);
  const std::string before = host->Leftovers();
  host->AddVm("b");
  host->Attach("b", "red", "10.0.0.6");
  const v1::ObjectStatus status = host->WaitFailed("b-red");
  EXPECT_THAT(status.reason(), HasSubstr(StrCat("block-1000/", foreign.id.chain, "/", kPrioDeliver,
                                                "/", foreign.id.handle)));
  ExpectAsBefore(before);
  EXPECT_EQ(host->PortStatus("a-red")->state(), v1::OBJECT_STATE_READY);
}

// No port waits for them: nobody else would tell.
TEST_F(FailureTest, VfsThatCannotBeMadeAreAProblemOfTheirNic) {
  Begin({}, [this](DaemonConfig& config) {
    TryOnce(config);
    host->pci.FailNext(SysfsMethod::kSetNumVfs, SystemError(ENOMEM, "make 4 VFs on pf0"));
  });
  host->WaitUntil("it is told", [this] {
    return host->Host().pfs(0).pool_problem() == "make 4 VFs on pf0: Cannot allocate memory";
  });
  host->Stop();
  host->Start();
  Quiet();
  EXPECT_EQ(host->Host().pfs(0).pool_problem(), "");
}

TEST_F(FailureTest, APfWithTheDefaultRouteIsNotTouched) {
  host = std::make_unique<FakeHost>();
  host->network->AddRoute(*IpPrefix::Parse("0.0.0.0/0"),
                          {FakeHost::kPfLink, *IpAddress::Parse("192.0.2.254"), {}, false});
  const std::string before = host->Leftovers();
  host->Start();
  host->MakeVpc("red", 1000, "10.0.0.0/24");
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_THAT(host->WaitFailed("a-red").reason(), HasSubstr("default route"));
  EXPECT_EQ(host->pci.Find(FakeHost::PfAddress())->num_vfs, 0);
  EXPECT_EQ(host->Leftovers(), before);
}

TEST_F(FailureTest, AVfThatCannotBeReadConcernsItsPortAlone) {
  Begin({},
        [](DaemonConfig& config) { config.engine.audit_every = std::chrono::milliseconds(100); });
  TwoAttached();
  const std::vector<TcFilter> block = Block(1000);
  host->pci.SetUnreadable(host->VfAddress(0), SystemError(EIO, "read", "bus error"));
  host->WaitUntil("the port says why", [&] {
    const auto status = host->PortStatus("a-red");
    return status->state() == v1::OBJECT_STATE_DEGRADED &&
           status->reason().find("bus error") != std::string::npos;
  });
  EXPECT_EQ(Block(1000), block) << "what it is made of stands";
  EXPECT_EQ(host->PortStatus("b-red")->state(), v1::OBJECT_STATE_READY);
  Attached("c", "blue", "10.0.0.5");

  host->pci.SetUnreadable(host->VfAddress(0), absl::OkStatus());
  host->WaitReady("a-red");
  EXPECT_EQ(Block(1000), block);
}

TEST_F(FailureTest, AVfThatCannotBeReadAtTheStartHoldsUpNobodyForLong) {
  Begin();
  TwoAttached();
  host->Stop();
  host->pci.SetUnreadable(host->VfAddress(0), SystemError(EIO, "read", "bus error"));
  host->Start();
  host->WaitReady("b-red");
  Attached("c", "red", "10.0.0.7");
  const auto status = host->PortStatus("a-red");
  EXPECT_EQ(status->state(), v1::OBJECT_STATE_DEGRADED);
  EXPECT_THAT(status->reason(), HasSubstr("bus error"));
  host->pci.SetUnreadable(host->VfAddress(0), absl::OkStatus());
  host->WaitReady("a-red");
}

// A cure that no event tells of: the audit tries again, and nothing does before it.
TEST_F(FailureTest, WhatFailedForGoodIsTriedAgainAtTheAuditAndNotBefore) {
  const auto fail = [this](std::chrono::milliseconds audit_every) {
    // One VF beside z's: there is no other to be tried.
    BeginBesideAnother({.vfs = 2}, [=](DaemonConfig& config) {
      config.engine.audit_every = audit_every;
      config.engine.retry_most = config.engine.retry_first;
    });
    host->AddVm("a");
    host->pci.SetDriverLoaded("vfio-pci", false);
    host->Attach("a", "red", "10.0.0.5");
    EXPECT_EQ(host->WaitFailed("a-red").step(), "driver-binding create");
  };
  fail(std::chrono::hours(1));
  const int probes = host->pci.Calls(SysfsMethod::kProbe);
  host->pci.SetDriverLoaded("vfio-pci", true);
  std::this_thread::sleep_for(10 * host->config.engine.retry_most);
  EXPECT_EQ(host->PortStatus("a-red")->state(), v1::OBJECT_STATE_FAILED);
  EXPECT_EQ(host->pci.Calls(SysfsMethod::kProbe), probes);
  host.reset();

  fail(std::chrono::milliseconds(300));
  host->pci.SetDriverLoaded("vfio-pci", true);
  host->WaitReady("a-red");
}

// Alone on the host: its tunnel came with it and went with it, which is no news.
TEST_F(FailureTest, WhatFailedForGoodIsNotTriedAgainForWhatItChangedItself) {
  Begin({}, [](DaemonConfig& config) {
    config.engine.audit_every = std::chrono::hours(1);
    config.engine.retry_most = config.engine.retry_first;
  });
  host->AddVm("a");
  Quiet();
  host->pci.SetDriverLoaded("vfio-pci", false);
  host->Attach("a", "red", "10.0.0.5");
  host->WaitFailed("a-red");
  std::this_thread::sleep_for(20 * host->config.engine.retry_most);
  EXPECT_LE(host->pci.Calls(SysfsMethod::kProbe), 4) << "each VF once";
}

TEST_F(FailureTest, OneVfThatCannotBeUsedDoesNotHoldUpTheOthers) {
  Begin();
  host->AddVm("a");
  Quiet();
  host->network->ChangeLink(host->Representor(0),
                            [](LinkInfo& link) { link.alias = "somebody's"; });
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_EQ(host->WaitReady("a-red").vf(), FakeHost::VfName(1));
  FakeRtnetlinkPort links(host->network);
  EXPECT_EQ(links.GetLink(host->Representor(0))->alias, "somebody's");
}

}  // namespace
}  // namespace fairlead
