// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: a NIC that does not answer holds up its own ports
// and nobody else's.
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

class HangTest : public AgentTest {
 protected:
  v1::HostState::Lane LaneOf(const std::string& name) {
    const v1::HostState state = host->Host();
    for (const v1::HostState::Lane& lane : state.lanes()) {
      if (lane.name() == name) return lane;
    }
    return {};
  }
  v1::HostState::Lane LaneOf(uint16_t pf) {
    return LaneOf(StrCat("pf ", FakeHost::PfMac(pf).ToString()));
  }
};

// dpservice 27, openvswitch 381: one call that was stuck froze all the others.
TEST_F(HangTest, ANicWhoseCallsDoNotComeBackIsParkedAndTheOtherNicGoesOn) {
  Begin({.pfs = 2}, [](DaemonConfig& config) {
    config.providers.sriov_deadline = config.providers.bind_deadline =
        std::chrono::milliseconds(200);
  });
  Quiet();
  Gate gate(*host->network, StrCat("SetAlias(", FakeHost::Representor(0, 0), ","));
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitUntil("the lane of pf0 is parked", [&] { return LaneOf(0).parked(); });
  EXPECT_THAT(LaneOf(0).running(), HasSubstr("create representor/"));
  const auto hangs = host->PortStatus("a-red");
  ASSERT_TRUE(hangs);
  EXPECT_EQ(hangs->state(), v1::OBJECT_STATE_APPLYING);
  EXPECT_EQ(hangs->step(), "representor create");
  Attached("b", "red", "10.0.0.6");
  EXPECT_EQ(host->PortStatus("b-red")->vf(), FakeHost::VfName(0, 1));
  Attached("c", "red", "10.0.0.7");
  EXPECT_EQ(host->PortStatus("c-red")->vf(), FakeHost::VfName(1, 1))
      << "though the NIC that hangs has as few leases";
  EXPECT_TRUE(LaneOf(0).parked());
  gate.Open();
  host->WaitReady("a-red");
  Attached("d", "red", "10.0.0.8");
  EXPECT_EQ(host->PortStatus("d-red")->vf(), FakeHost::VfName(1, 0)) << "which is well again";
  host->WaitUntil("the lane of pf0 goes on", [&] { return !LaneOf(0).parked(); });
}

// Nothing was done to its VF yet, so nothing of it has to be taken apart there.
TEST_F(HangTest, APortThatWasJustPlacedOnANicThatHangsGoesToTheOther) {
  Begin({.pfs = 2}, [](DaemonConfig& config) {
    config.providers.sriov_deadline = config.providers.bind_deadline =
        std::chrono::milliseconds(200);
  });
  Quiet();
  Gate gate(*host->network, "GetLink(pf0rep0)");
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitReady("a-red");
  EXPECT_EQ(status.vf(), FakeHost::VfName(0, 1));
  EXPECT_EQ(status.lease(), 2) << "the first, on the NIC that hangs, was given up";
  EXPECT_TRUE(LaneOf(0).parked());
}

// A NIC's driver takes rules in the call that makes them.
TEST_F(HangTest, RulesOfOneVpcThatDoNotComeBackHoldUpNoOther) {
  Begin({.pfs = 2});
  Quiet();
  Gate gate(*host->network, StrCat("Put(block ", BlockIndex(1000), " chain 0 prio 10 "));
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitUntil("its rules are being made",
                  [&] { return !LaneOf(RulesLane({.vni = *Vni::Make(1000)})).running().empty(); });
  Attached("b", "blue", "10.0.0.5");
  host->Detach("b", "blue");
  host->WaitGone("b-blue");
  EXPECT_NE(host->PortStatus("a-red")->state(), v1::OBJECT_STATE_READY);
  gate.Open();
  host->WaitReady("a-red");
}

// sriov-network-operator 1033, doca-platform 58 and 62: writing sriov_numvfs did not come back for
// minutes, or never.
TEST_F(HangTest, ANicWhoseVfsAreNeverMadeIsSaidAndTheOtherNicServes) {
  Begin({.pfs = 2}, [this](DaemonConfig&) {
    host->pci.HangNext(SysfsMethod::kSetNumVfs, FakeHost::PfAddress(0));
  });
  Attached("a", "red", "10.0.0.5");
  EXPECT_EQ(host->PortStatus("a-red")->vf(), FakeHost::VfName(0, 1));
  host->WaitUntil("it is said", [&] {
    return host->Host().pfs(0).pool_problem().find("has not come back from the kernel") !=
           std::string::npos;
  });
  ASSERT_TRUE(host->pci.Release(FakeHost::PfAddress(0)));  // and makes them after all
  Quiet();
  host->WaitUntil("it is over", [&] { return host->Host().pfs(0).pool_problem().empty(); });
  EXPECT_EQ(host->pci.Calls(SysfsMethod::kSetNumVfs), 2) << "once for each NIC";
  Attached("b", "red", "10.0.0.6");
  EXPECT_EQ(host->PortStatus("b-red")->vf(), FakeHost::VfName(0, 0));
}

// sriov-cni 219 and 313: what came late reset a VF that had another owner by then.
TEST_F(HangTest, AVfWhoseProbeHangsIsKeptUntilItComesBackAndTheOtherNicGoesOn) {
  Begin({.pfs = 2});
  Quiet();
  host->AddVm("a");
  const PciAddress vf = host->VfAddress(0, 0);
  host->pci.HangNext(SysfsMethod::kProbe, vf);
  host->Attach("a", "red", "10.0.0.5");
  const auto status = host->WaitPort("a-red", [](const auto& s) {
    return s && s->reason().find("the kernel has not answered in time") != std::string::npos &&
           s->reason().find("being rolled back") != std::string::npos;
  });
  EXPECT_EQ(status->state(), v1::OBJECT_STATE_FAILED);
  EXPECT_FALSE(status->rolled_back());
  EXPECT_EQ(status->step(), "driver-binding create");
  Attached("b", "red", "10.0.0.6");
  EXPECT_EQ(host->PortStatus("b-red")->vf(), FakeHost::VfName(0, 1));
  const v1::HostState::Vf held = host->Host().pfs(0).vfs(0);
  EXPECT_EQ(held.state(), "leased");
  EXPECT_EQ(held.port(), "a-red");
  EXPECT_EQ(host->pci.ResetCount(vf), 0) << "nothing is done to it while a write hangs";
  ASSERT_TRUE(host->pci.Release(vf));  // and binds the driver after all
  host->WaitReady("a-red");
  EXPECT_EQ(host->PortStatus("b-red")->state(), v1::OBJECT_STATE_READY);
  EXPECT_GE(host->pci.ResetCount(vf), 1) << "taken apart before it was used again";
}

TEST_F(HangTest, APortIsTriedAgainWhileTheKernelIsAtWorkOnItsNic) {
  Begin();
  Quiet();
  host->Stop();
  host->pci.HangNext(SysfsMethod::kProbe, FakeHost::PfAddress());
  ASSERT_FALSE(host->pci.Probe(FakeHost::PfAddress()).ok());
  host->Start();
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_EQ(status.step(), "vf placement");
  EXPECT_THAT(status.reason(), HasSubstr("has not come back from the kernel yet"));
  EXPECT_FALSE(status.permanent());
  ASSERT_TRUE(host->pci.Release(FakeHost::PfAddress()));
  host->WaitReady("a-red");
}

}  // namespace
}  // namespace fairlead
