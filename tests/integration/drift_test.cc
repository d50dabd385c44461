// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: what others change is noticed, repaired, and told with
// before and after; what a start found is counted.
#include <algorithm>

#include "agent/ports/devlink/fake_devlink_port.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

class DriftTest : public AgentTest {
 protected:
  // A drift of that owner and resource that was repaired.
  v1::Drift WaitRepaired(const std::string& owner, const std::string& resource,
                         const std::string& change) {
    v1::Drift found;
    host->WaitUntil(owner + "'s " + resource + " was changed and repaired", [&] {
      const v1::HostState state = host->Host();
      for (const v1::Drift& drift : state.drifts()) {
        if (drift.owner() != owner || !drift.resource().starts_with(resource)) continue;
        if (drift.change().find(change) == std::string::npos) continue;
        found = drift;
        if (drift.repaired_time() != 0) return true;
      }
      return false;
    });
    EXPECT_GE(found.repaired_time(), found.noticed_time());
    return found;
  }
};

TEST_F(DriftTest, ADeletedRuleIsToldWithWhatItWas) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  const std::vector<TcFilter> rules = Block(1000);
  const auto forward = std::find_if(
      rules.begin(), rules.end(), [](const TcFilter& f) { return f.id.priority == kPrioDeliver; });
  ASSERT_NE(forward, rules.end());
  FakeTcPort tc(host->network);
  const TcChange change{TcChange::Verb::kDelete, {BlockIndex(1000), 0}, *forward};
  ASSERT_TRUE(tc.Apply({&change, 1}).front().ok());
  const v1::Drift drift = WaitRepaired(
      "port/a-red", StrCat("flow-rule/block-1000/", forward->id.chain, "/", kPrioDeliver, "/"),
      "-> gone");
  EXPECT_THAT(drift.change(), HasSubstr("dst_mac " + FakeHost::VfMac(0).ToString()));
  EXPECT_EQ(Block(1000), rules);
  const auto object = host->Get(v1::OBJECT_KIND_PORT, "a-red");
  ASSERT_TRUE(object);
  ASSERT_EQ(object->drifts_size(), 1) << "the port's own story has it";
  EXPECT_EQ(object->drifts(0).resource(), drift.resource());
}

TEST_F(DriftTest, ARepresentorThatIsTakenDownIsToldAndUpAgain) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  FakeRtnetlinkPort links(host->network);
  ASSERT_TRUE(links.SetLinkUp(host->Representor(0), false).ok());
  WaitRepaired("port/a-red", "representor/" + FakeHost::VfName(0), "up yes -> no");
  EXPECT_TRUE(LinkUp(host->Representor(0)));
}

// libvirt's own monitor, or an operator's, is no reason to leave a tenant without its network.
TEST_F(DriftTest, WhatIsOnTheHostIsRepairedAlsoWhileTheMonitorIsHeld) {
  Begin();
  const auto vm = Attached("a", "red", "10.0.0.5");
  vm->SetHeldByOther(true);
  vm->Disconnect();
  host->WaitPort("a-red",
                 [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  const std::vector<TcFilter> rules = Block(1000);
  FakeRtnetlinkPort links(host->network);
  ASSERT_TRUE(links.SetLinkUp(FakeHost::Representor(0), false).ok());
  host->WaitUntil("the representor is up again",
                  [&] { return links.GetLink(FakeHost::Representor(0))->up; });
  ASSERT_TRUE(links.SetAddrGenNone(FakeHost::Representor(0), false).ok());
  host->WaitUntil("it makes no address again",
                  [&] { return links.GetLink(FakeHost::Representor(0))->addr_gen_none; });
  EXPECT_EQ(Block(1000), rules);
  vm->SetHeldByOther(false);
  host->WaitReady("a-red");
}

TEST_F(DriftTest, AMacThatSomebodySetsIsToldAndSetBack) {
  Begin({.can_set_vf_mac = true});
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:0a:01");
  ASSERT_TRUE(host->Send(request).has_accepted());
  host->WaitReady("a-red");
  host->ChangeVf(0, 0, [](VfInfo& vf) { vf.mac = *MacAddress::Parse("52:54:00:00:0a:99"); });
  WaitRepaired("port/a-red", "vf/", "mac 52:54:00:00:0a:01 -> 52:54:00:00:0a:99");
  EXPECT_EQ(host->Vf(0).mac.ToString(), "52:54:00:00:0a:01");
}

TEST_F(DriftTest, ADeviceThatIsUnpluggedInQemuIsToldAndPluggedInAgain) {
  Begin();
  const auto vm = Attached("a", "red", "10.0.0.5");
  const std::string device = host->WaitReady("a-red").guest_device();
  ASSERT_TRUE(vm->Unplug(device));
  WaitRepaired("port/a-red", "guest-device/a/a-red", "-> gone");
  EXPECT_TRUE(vm->Find(device));
}

// QEMU says nothing of it: the kernel's own event does, long before the audit.
TEST_F(DriftTest, ADriverThatSomebodyUnbindsIsToldAndBoundAgain) {
  Begin({}, [](DaemonConfig& config) { config.engine.audit_every = std::chrono::hours(1); });
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  const PciAddress vf = host->VfAddress(0);
  host->pci.SetGroupOpen(*host->pci.Find(vf)->iommu_group, false);
  ASSERT_TRUE(host->pci.Unbind(vf).ok());
  host->uevents.Emit("unbind", "/devices/pci0000:00/0000:00:01.0/" + vf.ToString(), "pci");
  WaitRepaired("port/a-red", "driver-binding/" + FakeHost::VfName(0), "driver vfio-pci -> none");
  EXPECT_EQ(host->pci.Find(vf)->driver, "vfio-pci");
}

TEST_F(DriftTest, AnEswitchModeThatSomebodySetsIsTold) {
  Begin({.eswitch = EswitchMode::kLegacy}, [](DaemonConfig& config) {
    config.providers.pfs[0].eswitch.mode = EswitchMode::kSwitchdev;
  });
  host->WaitUntil("the eswitch is as configured", [&] {
    return host->Host().pfs_size() == 1 && host->Host().pfs(0).eswitch() == "switchdev" &&
           host->HasItsVfs();
  });
  EswitchSettings legacy;
  legacy.mode = EswitchMode::kLegacy;
  ASSERT_TRUE(FakeDevlinkPort(host->devlink).SetEswitch(FakeHost::Nic(), legacy).ok());
  WaitRepaired("pool/" + FakeHost::PfMac().ToString(), "pf/", "eswitch mode switchdev -> legacy");
}

TEST_F(DriftTest, WhatTheAgentDoesItselfIsNoDrift) {
  Begin({.pfs = 2});
  SCOPED_TRACE("attach, detach, restart");
  const TwoVms vms = TwoAttached();
  host->Detach("a", "red");
  host->WaitGone("a-red");
  host->Stop();
  host->Start();
  host->WaitReady("b-red");
  host->Detach("b", "red");
  host->WaitGone("b-red");
  const v1::HostState state = host->Host();
  EXPECT_EQ(state.drifts_noticed(), 0U) << state.ShortDebugString();
}

// dpservice 312: after a restart all looked whole, and what was gone from the kernel was not
// missed.
TEST_F(DriftTest, AStartCountsWhatItAdoptsRepairsRemovesAndLeavesAlone) {
  Begin();
  const TwoVms vms = TwoAttached();
  const std::vector<TcFilter> rules = Block(1000);
  host->Stop();
  host->Start();
  host->WaitReady("a-red");
  host->WaitReady("b-red");
  const auto complete = [&] { return host->Host().start().complete(); };
  host->WaitUntil("the start is over", complete);
  const v1::HostState::Start whole = host->Host().start();
  EXPECT_GT(whole.adopted(), 15U) << whole.ShortDebugString();
  EXPECT_EQ(whole.repaired(), 0U);
  EXPECT_EQ(whole.removed(), 0U);
  EXPECT_EQ(whole.foreign(), 0U);

  // Three things happen while it is down.
  host->Stop();
  FakeTcPort tc(host->network);
  const auto forward = std::find_if(rules.begin(), rules.end(),
                                    [](const TcFilter& f) { return f.id.priority == 2000; });
  const TcChange lost{TcChange::Verb::kDelete, {BlockIndex(1000), 0}, *forward};
  ASSERT_TRUE(tc.Apply({&lost, 1}).front().ok());
  TcFilter stale = *forward;  // as if of an object that is no more
  stale.id.handle = 900;
  stale.match.dst_mac = *MacAddress::Parse("52:54:00:00:0a:77");
  const TcChange left{TcChange::Verb::kPut, {BlockIndex(1000), 0}, stale};
  ASSERT_TRUE(tc.Apply({&left, 1}).front().ok());
  FakeRtnetlinkPort links(host->network);
  ASSERT_TRUE(links.SetAlias(host->Representor(3), "fairlead 0badcafe").ok());
  host->Start();
  host->WaitUntil("the start is over", complete);
  const v1::HostState::Start found = host->Host().start();
  EXPECT_EQ(found.adopted(), whole.adopted() - 1) << found.ShortDebugString();
  EXPECT_EQ(found.repaired(), 1U);
  EXPECT_EQ(found.removed(), 1U);
  EXPECT_EQ(found.foreign(), 1U);
  EXPECT_EQ(Block(1000), rules);
}

}  // namespace
}  // namespace fairlead
