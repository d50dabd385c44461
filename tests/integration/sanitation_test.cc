// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: what becomes of a VF that is given back. Proven clean, or
// kept back until an operator lets it go.
#include <errno.h>

#include <atomic>

#include "agent/base/error.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

using Vf = v1::HostState::Vf;
using Finding = Vf::Sanitation::Finding;

class SanitationTest : public AgentTest {
 protected:
  // One PF like igb, VPC "lan" on VLAN 100.
  void BeginVlan(const Configure& configure = nullptr) {
    host = std::make_unique<FakeHost>(FakeHostOptions{.vfs = 2, .first_igb = 0});
    if (configure) configure(host->config);
    host->Start();
    host->MakeVlan("lan", 100, "10.0.0.0/24");
    before_ = Quiet();
  }
  v1::Request Request(const std::string& vm, bool trust = false) {
    v1::Request request = host->AddVmRequest(vm, "lan", vm == "a" ? "10.0.0.5" : "10.0.0.6");
    v1::AddVmToVpc* add = request.mutable_add_vm_to_vpc();
    add->set_mac(vm == "a" ? "52:54:00:00:aa:05" : "52:54:00:00:aa:06");
    add->set_trust(trust);
    return request;
  }
  void Add(const std::string& vm, bool trust = false) {
    host->AddVm(vm);
    const v1::Reply reply = host->Send(Request(vm, trust));
    ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
    host->WaitReady(vm + "-lan");
  }
  void Remove(const std::string& vm) {
    host->Detach(vm, "lan");
    host->WaitGone(vm + "-lan");
  }
  // VM "a" was on VF 0, which its NIC does not take trust from.
  void QuarantineVf0() {
    FakeVfDriver driver = FakeVfDriver::Igb();
    driver.keeps_trust = true;
    host->network->SetVfDriver(FakeHost::kPfLink, driver);
    Add("a", /*trust=*/true);
    Remove("a");
    ASSERT_EQ(Vf0().state(), "quarantined");
  }
  void Mend() { host->network->SetVfDriver(FakeHost::kPfLink, FakeVfDriver::Igb()); }

  Vf Vf0() { return host->Host().pfs(0).vfs(0); }
  static Finding Of(const Vf::Sanitation& record, const std::string& what) {
    for (const Finding& finding : record.findings()) {
      if (finding.what() == what) return finding;
    }
    return Finding();
  }
  v1::Reply Release(const std::string& vf, bool force = false) {
    v1::Request request;
    request.mutable_release_vf()->set_vf(vf);
    request.mutable_release_vf()->set_force(force);
    return host->Send(request);
  }
  std::string Refusal(const v1::Reply& reply, v1::Rejected::Code code) {
    EXPECT_EQ(reply.rejected().violations_size(), 1) << reply.ShortDebugString();
    if (reply.rejected().violations_size() != 1) return "";
    EXPECT_EQ(reply.rejected().violations(0).code(), code) << reply.ShortDebugString();
    return reply.rejected().violations(0).reason();
  }

  std::string before_;
};

// sriov-cni 397 and 417: what the former tenant had stayed on a VF.
TEST_F(SanitationTest, AVfThatIsGivenBackIsSeenToBeCleanAndSaysSo) {
  BeginVlan();
  EXPECT_FALSE(Vf0().has_sanitation()) << "nobody had it yet";
  Add("a", /*trust=*/true);
  const uint64_t lease = host->PortStatus("a-lan")->lease();
  Remove("a");
  const Vf vf = Vf0();
  EXPECT_EQ(vf.state(), "free");
  const Vf::Sanitation& record = vf.sanitation();
  EXPECT_EQ(record.verdict(), "clean") << record.ShortDebugString();
  EXPECT_EQ(record.reason(), "");
  EXPECT_EQ(record.lease(), lease);
  EXPECT_EQ(record.port(), "a-lan");
  EXPECT_EQ(record.vm(), "a");
  EXPECT_GT(record.checked_at(), 1'600'000'000'000'000'000U);
  for (const char* what : {"driver", "reset", "mac", "vlan", "spoof-check", "trust", "max-rate",
                           "min-rate", "link-state", "rules"}) {
    EXPECT_EQ(Of(record, what).state(), "clean") << what;
  }
  for (const char* what : {"mtu", "counters", "guid", "pkey"}) {
    EXPECT_EQ(Of(record, what).state(), "unprovable") << what;
    EXPECT_NE(Of(record, what).why(), "") << what;
  }
  WaitNothingLeft(before_);
  host->Stop();
  host->Start();
  Quiet();
  EXPECT_EQ(Vf0().sanitation().ShortDebugString(), record.ShortDebugString());
}

TEST_F(SanitationTest, InAnOverlayItsRepresentorIsLookedAtTooAndWhatTheNicHidesIsNamed) {
  Begin();
  Quiet();
  host->network->ChangeLink(FakeHost::Representor(0),
                            [](LinkInfo& link) { link.counters->rx_packets = 12; });
  Attached("a", "red", "10.0.0.5");
  host->Detach("a", "red");
  host->WaitGone("a-red");
  const Vf::Sanitation record = Vf0().sanitation();
  EXPECT_EQ(record.verdict(), "clean") << record.ShortDebugString();
  EXPECT_EQ(Of(record, "representor").value(), "down, in no block");
  EXPECT_EQ(Of(record, "mtu").state(), "clean");
  EXPECT_EQ(Of(record, "mtu").value(), "1500");
  EXPECT_THAT(Of(record, "counters").value(), HasSubstr("received 12 packets"));
  EXPECT_EQ(Of(record, "rules").state(), "clean");
  EXPECT_EQ(Of(record, "trust").state(), "unprovable");
  EXPECT_EQ(Of(record, "mac").state(), "unprovable");
}

TEST_F(SanitationTest, AVfThatStaysDirtyIsQuarantinedAndNobodyGetsIt) {
  BeginVlan();
  QuarantineVf0();
  const Vf vf = Vf0();
  EXPECT_THAT(vf.detail(), AllOf(HasSubstr("trust is on"), HasSubstr("should be off")));
  EXPECT_EQ(vf.sanitation().verdict(), "quarantined");
  EXPECT_EQ(Of(vf.sanitation(), "trust").state(), "dirty");
  EXPECT_EQ(vf.driver(), "");
  EXPECT_EQ(host->Vf(0).vlan, 0) << "the rest is cleaned all the same";
  Add("b");
  EXPECT_EQ(host->PortStatus("b-lan")->vf(), FakeHost::VfName(1));
  host->AddVm("a");
  ASSERT_TRUE(host->Send(Request("a")).has_accepted());
  EXPECT_THAT(host->WaitFailed("a-lan").reason(),
              AllOf(HasSubstr("VF 0: quarantined: trust is on"), HasSubstr("VF 1: leased")));
  host->Stop();
  host->Start();
  host->WaitReady("b-lan");
  EXPECT_EQ(Vf0().sanitation().ShortDebugString(), vf.sanitation().ShortDebugString());
  EXPECT_THAT(host->WaitFailed("a-lan").reason(), HasSubstr("quarantined"));
  Mend();
  const v1::Reply reply = Release(FakeHost::VfName(0));
  ASSERT_TRUE(reply.has_vf_released()) << reply.ShortDebugString();
  EXPECT_EQ(host->WaitReady("a-lan").vf(), FakeHost::VfName(0)) << "it waited for a VF";
}

TEST_F(SanitationTest, AVfWhoseResetFailsForGoodIsQuarantinedWithTheRestCleaned) {
  BeginVlan();
  Add("a");
  host->pci.SetResetFails(host->VfAddress(0), SystemError(EPERM, "reset", "FLR timed out"));
  Remove("a");
  const Vf vf = Vf0();
  EXPECT_EQ(vf.state(), "quarantined");
  EXPECT_THAT(Of(vf.sanitation(), "reset").why(), HasSubstr("FLR timed out"));
  EXPECT_EQ(Of(vf.sanitation(), "mac").state(), "clean");
  EXPECT_EQ(Of(vf.sanitation(), "vlan").state(), "clean");
  WaitNothingLeft(before_);
}

// A moment's trouble is none of the VF's: it is tried until it is over.
TEST_F(SanitationTest, WhatFailsForAMomentQuarantinesNothing) {
  BeginVlan();
  Add("a");
  host->pci.SetResetFails(host->VfAddress(0), SystemError(EBUSY, "reset", "not now"));
  host->Detach("a", "lan");
  const int resets = host->pci.Calls(SysfsMethod::kReset);
  host->WaitUntil("it is tried ten times more",
                  [&] { return host->pci.Calls(SysfsMethod::kReset) >= resets + 10; });
  EXPECT_EQ(Vf0().state(), "leased");
  host->pci.SetResetFails(host->VfAddress(0), absl::OkStatus());
  host->WaitGone("a-lan");
  EXPECT_EQ(Vf0().sanitation().verdict(), "clean");
}

TEST_F(SanitationTest, AGuestThatDoesNotLetGoIsWaitedForAndNotQuarantined) {
  BeginVlan([](DaemonConfig& config) {
    config.engine.removal_ask_again = std::chrono::milliseconds(20);
  });
  Add("a");
  const auto vm = host->vms().at("a");
  vm->SetRemoval(FakeVm::Removal::kGuestError);
  host->Detach("a", "lan");
  host->WaitUntil("it was asked many times",
                  [&] { return vm->Calls(QmpMethod::kRequestRemoval) >= 8; });
  EXPECT_EQ(Vf0().state(), "leased");
  vm->SetRemoval(FakeVm::Removal::kImmediate);
  host->WaitGone("a-lan");
  EXPECT_EQ(Vf0().sanitation().verdict(), "clean");
}

TEST_F(SanitationTest, ARepresentorThatCannotBeTakenOutOfItsBlockKeepsTheVfBack) {
  Begin();
  Quiet();
  Attached("a", "red", "10.0.0.5");
  host->network->FailWhen(
      [](std::string_view call) { return call.starts_with(StrCat("DeleteClsact(", 20)); },
      SystemError(EPERM, "delete the clsact", "not yours"), 1000);
  host->Detach("a", "red");
  host->WaitGone("a-red");
  const Vf vf = Vf0();
  EXPECT_EQ(vf.state(), "quarantined");
  EXPECT_THAT(Of(vf.sanitation(), "representor").value(), HasSubstr("down, in block-1000"));
  EXPECT_THAT(Of(vf.sanitation(), "representor").why(), HasSubstr("not yours"));
  EXPECT_EQ(Of(vf.sanitation(), "driver").state(), "clean");
  // The VPC goes on on other VFs, and the operator's way out takes the rest away.
  Attached("b", "red", "10.0.0.6");
  EXPECT_EQ(host->PortStatus("b-red")->vf(), FakeHost::VfName(1));
  host->network->ClearFaults();
  ASSERT_TRUE(Release(FakeHost::VfName(0)).has_vf_released());
  EXPECT_EQ(Vf0().state(), "free");
  EXPECT_EQ(host->PortStatus("b-red")->state(), v1::OBJECT_STATE_READY);
}

TEST_F(SanitationTest, ADriverThatCannotBeUnboundIsNamedAndTheRestIsCleaned) {
  BeginVlan();
  Add("a");
  for (int i = 0; i < 5; ++i) {
    host->pci.FailNext(SysfsMethod::kUnbind, SystemError(EPERM, "unbind"), host->VfAddress(0));
  }
  Remove("a");
  const Vf vf = Vf0();
  EXPECT_EQ(vf.state(), "quarantined");
  EXPECT_EQ(Of(vf.sanitation(), "driver").value(), "vfio-pci");
  EXPECT_EQ(host->Vf(0).mac, MacAddress());
  ASSERT_TRUE(Release(FakeHost::VfName(0)).has_vf_released());
  EXPECT_EQ(Vf0().state(), "free");
  WaitNothingLeft(before_);
}

TEST_F(SanitationTest, PolicyMayKeepBackWhatCannotBeProven) {
  BeginVlan([](DaemonConfig& config) {
    config.engine.sanitation = {true, {"guid", "pkey", "counters"}};
  });
  Add("a");
  Remove("a");
  EXPECT_EQ(Vf0().state(), "quarantined");
  EXPECT_EQ(Vf0().detail(), "mtu (unprovable): no representor shows it");
  host->Stop();
  host->config.engine.sanitation.accepted.insert("mtu");
  host->Start();
  Quiet();
  EXPECT_EQ(Vf0().state(), "quarantined") << "until somebody looks again";
  ASSERT_TRUE(Release(FakeHost::VfName(0)).has_vf_released());
  EXPECT_EQ(Vf0().state(), "free");
}

TEST_F(SanitationTest, AReleaseCleansAndChecksAgainAndIsRefusedWhileItIsDirty) {
  BeginVlan();
  QuarantineVf0();
  const uint64_t checked = Vf0().sanitation().checked_at();
  const int resets = host->pci.ResetCount(host->VfAddress(0));
  EXPECT_THAT(Refusal(Release(FakeHost::VfName(0)), v1::Rejected::CODE_CONFLICT),
              AllOf(HasSubstr("stays quarantined"), HasSubstr("trust is on")));
  EXPECT_EQ(host->pci.ResetCount(host->VfAddress(0)), resets + 1);
  EXPECT_GT(Vf0().sanitation().checked_at(), checked);
  EXPECT_EQ(Vf0().state(), "quarantined");
  Mend();
  const v1::Reply reply = Release(FakeHost::VfName(0));
  ASSERT_TRUE(reply.has_vf_released()) << reply.ShortDebugString();
  EXPECT_EQ(reply.vf_released().vf(), FakeHost::VfName(0));
  const Vf::Sanitation record = Vf0().sanitation();
  EXPECT_EQ(reply.vf_released().sanitation().ShortDebugString(), record.ShortDebugString());
  EXPECT_EQ(record.verdict(), "clean");
  EXPECT_EQ(Of(record, "trust").state(), "clean");
  EXPECT_EQ(record.released_by(), "test");
  EXPECT_THAT(record.reason(), HasSubstr("trust is on")) << "why it was";
  EXPECT_EQ(record.port(), "a-lan");
  WaitNothingLeft(before_);
  host->Stop();  // it was durable before it was answered
  host->Start();
  Quiet();
  EXPECT_EQ(Vf0().sanitation().ShortDebugString(), record.ShortDebugString());
  Add("b");
  EXPECT_EQ(host->PortStatus("b-lan")->vf(), FakeHost::VfName(0));
}

TEST_F(SanitationTest, ByForceItIsFreedAsItIsAndTheRecordSaysSo) {
  BeginVlan();
  QuarantineVf0();
  const int resets = host->pci.ResetCount(host->VfAddress(0));
  const v1::Reply reply = Release(FakeHost::VfName(0), /*force=*/true);
  ASSERT_TRUE(reply.has_vf_released()) << reply.ShortDebugString();
  EXPECT_EQ(host->pci.ResetCount(host->VfAddress(0)), resets);
  const Vf vf = Vf0();
  EXPECT_EQ(vf.state(), "free");
  EXPECT_EQ(vf.sanitation().verdict(), "released");
  EXPECT_EQ(vf.sanitation().released_by(), "test");
  EXPECT_GT(vf.sanitation().released_at(), vf.sanitation().checked_at());
  EXPECT_EQ(Of(vf.sanitation(), "trust").state(), "dirty");
  host->Stop();
  host->Start();
  Quiet();
  EXPECT_EQ(Vf0().state(), "free");
  // What is left of its tenant is set right by the attach. (Trust is: the NIC is mended.)
  Mend();
  Add("b");
  EXPECT_EQ(host->PortStatus("b-lan")->vf(), FakeHost::VfName(0));
  EXPECT_EQ(host->Vf(0).trust, false);
}

TEST_F(SanitationTest, WhatIsNotQuarantinedCannotBeReleased) {
  BeginVlan();
  Add("a");
  for (const bool force : {false, true}) {
    EXPECT_THAT(Refusal(Release(FakeHost::VfName(0), force), v1::Rejected::CODE_CONFLICT),
                HasSubstr("leased to port a-lan"));
    EXPECT_THAT(Refusal(Release(FakeHost::VfName(1), force), v1::Rejected::CODE_CONFLICT),
                HasSubstr("is not quarantined"));
    EXPECT_THAT(Refusal(Release(FakeHost::VfName(9), force), v1::Rejected::CODE_NOT_FOUND),
                HasSubstr("is not on this host"));
    EXPECT_THAT(Refusal(Release("pf0", force), v1::Rejected::CODE_INVALID),
                HasSubstr("'pf0' is not a VF"));
  }
  Remove("a");
  EXPECT_THAT(Refusal(Release(FakeHost::VfName(0)), v1::Rejected::CODE_CONFLICT),
              HasSubstr("it was found clean"));
  v1::Request request;
  request.mutable_release_vf()->set_vf(FakeHost::VfName(0));
  request.set_dry_run(true);
  EXPECT_THAT(Refusal(host->Send(request), v1::Rejected::CODE_UNSUPPORTED), HasSubstr("dry run"));
  request.set_dry_run(false);
  request.set_revision(5);
  EXPECT_THAT(Refusal(host->Send(request), v1::Rejected::CODE_UNSUPPORTED),
              HasSubstr("no revision"));
}

TEST_F(SanitationTest, AQuarantinedVfThatTheHostUsesNowIsLeftAlone) {
  BeginVlan();
  QuarantineVf0();
  Mend();
  const PciAddress vf = host->VfAddress(0);
  ASSERT_TRUE(host->pci.SetDriverOverride(vf, "igbvf").ok());
  ASSERT_TRUE(host->pci.Probe(vf).ok());
  const int resets = host->pci.ResetCount(vf);
  EXPECT_THAT(Refusal(Release(FakeHost::VfName(0)), v1::Rejected::CODE_CONFLICT),
              HasSubstr("in use by the host"));
  EXPECT_EQ(host->pci.ResetCount(vf), resets);
  EXPECT_EQ(Vf0().state(), "quarantined");
}

TEST_F(SanitationTest, AQuarantinedVfThatAnotherToolsVmHasIsLeftAlone) {
  BeginVlan();
  QuarantineVf0();
  Mend();
  const PciAddress vf = host->VfAddress(0);
  ASSERT_TRUE(host->pci.SetDriverOverride(vf, "vfio-pci").ok());
  ASSERT_TRUE(host->pci.Probe(vf).ok());
  host->pci.SetGroupOpen(*host->pci.Find(vf)->iommu_group, true);
  host->ChangeVf(0, 0, [](VfInfo& info) { info.vlan = 7; });
  const int resets = host->pci.ResetCount(vf);
  EXPECT_THAT(Refusal(Release(FakeHost::VfName(0)), v1::Rejected::CODE_CONFLICT),
              HasSubstr("open"));
  EXPECT_EQ(host->pci.ResetCount(vf), resets);
  EXPECT_EQ(host->Vf(0).vlan, 7);
  EXPECT_EQ(Vf0().state(), "quarantined");
}

TEST_F(SanitationTest, AVfIsReleasedOnceAtATime) {
  BeginVlan();
  QuarantineVf0();
  Mend();
  host->pci.HangNext(SysfsMethod::kReset, host->VfAddress(0));
  // The reset comes back after its deadline: what was begun on the VF is not over.
  EXPECT_THAT(Refusal(Release(FakeHost::VfName(0)), v1::Rejected::CODE_CONFLICT),
              HasSubstr("reset"));
  EXPECT_THAT(Refusal(Release(FakeHost::VfName(0)), v1::Rejected::CODE_CONFLICT),
              HasSubstr("has not come back from the kernel"));
  ASSERT_TRUE(host->pci.Release(host->VfAddress(0)));
  EXPECT_TRUE(Release(FakeHost::VfName(0)).has_vf_released());
}

// The former tenant's MAC, VLAN or trust, put back by somebody after the VF was found clean.
TEST_F(SanitationTest, WhatSomebodySetOnAFreeVfIsSetRightBeforeItIsHandedOut) {
  BeginVlan();
  Add("a");
  Remove("a");
  host->ChangeVf(0, 0, [](VfInfo& vf) {
    vf.trust = true;
    vf.vlan = 200;
    vf.max_tx_mbps = 10;
  });
  std::atomic<bool> right = false;
  host->AddVm("b")->SetHook([&](QmpMethod method, std::string_view) {
    if (method != QmpMethod::kAddVfioDevice) return;
    const VfInfo vf = host->Vf(0);
    right = vf.vlan == 100 && vf.trust == false && vf.max_tx_mbps == 0 &&
            vf.mac.ToString() == "52:54:00:00:aa:06";
  });
  ASSERT_TRUE(host->Send(Request("b")).has_accepted());
  EXPECT_EQ(host->WaitReady("b-lan").vf(), FakeHost::VfName(0));
  EXPECT_TRUE(right);
}

// An attach that was rolled back is a tenancy too.
TEST_F(SanitationTest, ARolledBackAttachLeavesARecord) {
  BeginVlan(TryOnce);
  host->AddVm("a")->FailNext(QmpMethod::kAddVfioDevice,
                             SystemError(EINVAL, "device_add", "no such bus"));
  ASSERT_TRUE(host->Send(Request("a")).has_accepted());
  host->WaitFailed("a-lan");
  EXPECT_EQ(Vf0().sanitation().verdict(), "clean") << Vf0().ShortDebugString();
  EXPECT_EQ(Vf0().sanitation().port(), "a-lan");
}

}  // namespace
}  // namespace fairlead
