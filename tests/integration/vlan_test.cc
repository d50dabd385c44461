// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: VLAN provider networks on a NIC that forwards by
// itself, as an Intel 82576 does.
#include <errno.h>

#include <atomic>

#include "agent/base/error.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kMac[] = "52:54:00:00:aa:05";
constexpr char kOtherMac[] = "52:54:00:00:aa:06";

class VlanTest : public AgentTest {
 protected:
  using Fill = std::function<void(v1::AddVmToVpc&)>;

  // One PF like igb, VPC "lan" on VLAN 100, and nothing else.
  void BeginVlan(const Configure& configure = nullptr) {
    host = std::make_unique<FakeHost>(FakeHostOptions{.first_igb = 0});
    if (configure) configure(host->config);
    host->Start();
    host->MakeVlan("lan", 100, "10.0.0.0/24");
    before_ = Quiet();
  }
  v1::Request Request(const std::string& vm, const Fill& fill = nullptr) {
    v1::Request request = host->AddVmRequest(vm, "lan", vm == "a" ? "10.0.0.5" : "10.0.0.6");
    request.mutable_add_vm_to_vpc()->set_mac(vm == "a" ? kMac : kOtherMac);
    if (fill) fill(*request.mutable_add_vm_to_vpc());
    return request;
  }
  // VM "a" in "lan"; its port is "a-lan", on VF 0.
  std::shared_ptr<FakeVm> AddA(const Fill& fill = nullptr) {
    std::shared_ptr<FakeVm> vm = host->AddVm("a");
    const v1::Reply reply = host->Send(Request("a", fill));
    EXPECT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
    return vm;
  }
  static VfInfo Tenants() {
    VfInfo vf;
    vf.mac = *MacAddress::Parse(kMac);
    vf.vlan = 100;
    vf.spoof_check = true;
    vf.trust = false;
    return vf;
  }
  static bool HasReason(const v1::ObjectStatus& status, std::string_view words) {
    return status.reason().find(words) != std::string::npos;
  }
  // Puts `wrong` in the place of what was set, each time that it is read back.
  void Undo(std::string_view call, const std::function<void(VfInfo&)>& wrong) {
    undone_ = false;
    host->network->SetHook([this, call = std::string(call), wrong](std::string_view now) {
      if (now.starts_with(call)) undone_ = true;
      if (undone_ && now.starts_with("GetLinkWithVfs(")) host->ChangeVf(0, 0, wrong);
    });
  }

  std::string before_;
  std::atomic<bool> undone_ = false;
};

TEST_F(VlanTest, APortIsAVfWithItsMacVlanAndSpoofCheckAndNoTunnelNorRule) {
  BeginVlan();
  std::atomic<bool> set_before_handed_out = false;
  host->AddVm("a")->SetHook([&](QmpMethod method, std::string_view) {
    if (method == QmpMethod::kAddVfioDevice) set_before_handed_out = host->Vf(0) == Tenants();
  });
  ASSERT_TRUE(host->Send(Request("a")).has_accepted());
  const v1::ObjectStatus status = host->WaitReady("a-lan");
  EXPECT_TRUE(set_before_handed_out);
  EXPECT_EQ(status.vlan(), 100u);
  EXPECT_EQ(status.vf(), FakeHost::VfName(0));
  EXPECT_EQ(status.mac(), kMac);
  EXPECT_EQ(status.representor(), "");
  EXPECT_EQ(status.rules_wanted(), 0u);
  EXPECT_EQ(host->Vf(0), Tenants());
  EXPECT_EQ(host->Status(v1::OBJECT_KIND_VPC, "lan")->state(), v1::OBJECT_STATE_READY);
  EXPECT_EQ(host->Status(v1::OBJECT_KIND_SUBNET, "lan-1")->state(), v1::OBJECT_STATE_READY);
  const v1::HostState state = host->Host();
  EXPECT_EQ(state.tunnel(), "");
  EXPECT_THAT(host->Rules(), IsEmpty());
  const v1::HostState::Vf& vf = state.pfs(0).vfs(0);
  EXPECT_EQ(vf.vlan(), 100u);
  EXPECT_TRUE(vf.spoof_check());
  EXPECT_TRUE(vf.has_trust());
  EXPECT_FALSE(vf.trust());
  EXPECT_EQ(state.pfs(0).vfs(1).state(), "free");

  host->Detach("a", "lan");
  host->WaitGone("a-lan");
  WaitNothingLeft(before_);
}

TEST_F(VlanTest, WhatThePortAsksForIsSetAndTakenAwayAgain) {
  BeginVlan();
  AddA([](v1::AddVmToVpc& add) {
    add.set_spoof_check(v1::SPOOF_CHECK_OFF);
    add.set_trust(true);
    add.set_max_tx_mbps(500);
  });
  host->WaitReady("a-lan");
  EXPECT_EQ(host->Vf(0).spoof_check, false);
  EXPECT_EQ(host->Vf(0).trust, true);
  EXPECT_EQ(host->Vf(0).max_tx_mbps, 500u);
  EXPECT_EQ(host->Host().pfs(0).vfs(0).max_tx_mbps(), 500u);
  host->Detach("a", "lan");
  host->WaitGone("a-lan");
  WaitNothingLeft(before_);
}

TEST_F(VlanTest, AChangedWishIsSetWhereThePortStands) {
  BeginVlan();
  const auto vm = AddA();
  const uint64_t lease = host->WaitReady("a-lan").lease();
  ASSERT_TRUE(host->Send(Request("a", [](v1::AddVmToVpc& add) { add.set_max_tx_mbps(200); }))
                  .has_accepted());
  host->WaitUntil("the rate is set", [&] { return host->Vf(0).max_tx_mbps == 200; });
  EXPECT_EQ(host->WaitReady("a-lan").lease(), lease);
  EXPECT_EQ(vm->Calls(QmpMethod::kAddVfioDevice), 1);
}

TEST_F(VlanTest, AnotherMacAttachesThePortAnew) {
  BeginVlan();
  const auto vm = AddA();
  host->WaitReady("a-lan");
  const v1::Request change = Request("a", [](auto& add) { add.set_mac(kOtherMac); });
  const v1::ObjectStatus anew = ExpectAttachedAnew(change, *vm, "a-lan");
  EXPECT_EQ(anew.mac(), kOtherMac);
  EXPECT_EQ(host->Vf(0).mac.ToString(), kOtherMac);
}

TEST_F(VlanTest, ARateThatTheNicRefusesIsSaidInTheKernelsWordsAndRolledBack) {
  BeginVlan(TryOnce);
  const auto vm = AddA([](v1::AddVmToVpc& add) {
    add.set_max_tx_mbps(500);
    add.set_min_tx_mbps(100);
  });
  const v1::ObjectStatus status = host->WaitFailed("a-lan");
  EXPECT_EQ(status.step(), "vf create");
  EXPECT_THAT(status.reason(), HasSubstr("Invalid argument"));
  EXPECT_TRUE(status.permanent());
  EXPECT_EQ(vm->Calls(QmpMethod::kAddVfioDevice), 0);
  WaitNothingLeft(before_);
  // What can be done is, as soon as it is asked for.
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    v1::Port* port = FillPort(apply, "a-lan", "a", "lan");
                    port->set_mac(kMac);
                    port->set_max_tx_mbps(500);
                  })
                  .has_accepted());
  const std::string vf = host->WaitReady("a-lan").vf();
  EXPECT_EQ(host->Vf(vf == FakeHost::VfName(0) ? 0 : 1).max_tx_mbps, 500u);
}

TEST_F(VlanTest, AnOverlayIsRefusedByNameOnANicThatKeepsVlansAlone) {
  Begin({.pfs = 2, .first_igb = 1}, [](DaemonConfig& config) {
    TryOnce(config);
    config.providers.pfs[1].network = NetworkKind::kConverged;
  });
  before_ = Quiet();
  host->AddVm("b");
  v1::Request overlay = host->AddVmRequest("b", "red", "10.0.0.6");
  overlay.mutable_add_vm_to_vpc()->set_network(v1::NETWORK_KIND_CONVERGED);
  ASSERT_TRUE(host->Send(overlay).has_accepted());
  const v1::ObjectStatus refused = host->WaitFailed("b-red");
  EXPECT_EQ(refused.step(), "vf placement");
  EXPECT_THAT(refused.reason(),
              HasSubstr("pf1 (igb) has no switchdev eswitch: it serves VLAN networks only"));
  EXPECT_EQ(host->Leftovers(), before_);
}

TEST_F(VlanTest, OnAHostWithBothEachPortFindsItsNic) {
  Begin({.pfs = 2, .first_igb = 1});
  host->MakeVlan("lan", 100, "10.0.0.0/24");
  Quiet();
  AddA();
  EXPECT_EQ(host->WaitReady("a-lan").vf(), FakeHost::VfName(0, 1));
  Attached("b", "red", "10.0.0.6");
  EXPECT_EQ(host->PortStatus("b-red")->vf(), FakeHost::VfName(0));
  EXPECT_FALSE(Block(1000).empty());
}

TEST_F(VlanTest, WhatIsChangedBehindItsBackIsSetAgainAndTheVmKeepsItsDevice) {
  BeginVlan();
  host->network->SetVfDriver(FakeHost::kPfLink, {});
  const auto vm = AddA();
  host->WaitReady("a-lan");
  const std::function<void(VfInfo&)> changes[] = {
      [](VfInfo& vf) { vf.mac = *MacAddress::Parse(kOtherMac); },
      [](VfInfo& vf) { vf.vlan = 0; },
      [](VfInfo& vf) { vf.spoof_check = false; },
      [](VfInfo& vf) { vf.trust = true; },
      [](VfInfo& vf) { vf.max_tx_mbps = 10; },
      [](VfInfo& vf) { vf.link_disabled = true; }};
  for (const auto& change : changes) {
    host->ChangeVf(0, 0, change);
    host->WaitUntil("the VF is as wanted again", [&] { return host->Vf(0) == Tenants(); });
  }
  host->WaitReady("a-lan");
  EXPECT_EQ(vm->Calls(QmpMethod::kAddVfioDevice), 1);
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0);
}

// dpservice 768: a guest had another MAC after its boot loader, and its replies were dropped.
TEST_F(VlanTest, ATrustedVmMayTakeAnotherMacAndKeepsItOverARestart) {
  BeginVlan();
  AddA([](v1::AddVmToVpc& add) { add.set_trust(true); });
  host->WaitReady("a-lan");
  host->ChangeVf(0, 0, [](VfInfo& vf) { vf.mac = *MacAddress::Parse(kOtherMac); });
  host->WaitUntil("the agent has seen it",
                  [&] { return host->Host().pfs(0).vfs(0).mac() == kOtherMac; });
  host->WaitReady("a-lan");
  host->Stop();
  host->network->ClearCalls();
  host->Start();
  host->WaitReady("a-lan");
  EXPECT_EQ(host->Vf(0).mac.ToString(), kOtherMac);
  ExpectNetworkUntouched();
  host->Detach("a", "lan");
  host->WaitGone("a-lan");
  WaitNothingLeft(before_);
}

TEST_F(VlanTest, ATrustedVmKeepsTheMacThatItTookWhenAnotherWishOfItsPortChanges) {
  BeginVlan();
  const auto vm = AddA([](v1::AddVmToVpc& add) { add.set_trust(true); });
  const uint64_t lease = host->WaitReady("a-lan").lease();
  host->ChangeVf(0, 0, [](VfInfo& vf) { vf.mac = *MacAddress::Parse(kOtherMac); });
  host->WaitUntil("the agent has seen it",
                  [&] { return host->Host().pfs(0).vfs(0).mac() == kOtherMac; });
  ASSERT_TRUE(host->Send(Request("a", [](v1::AddVmToVpc& add) { add.set_max_tx_mbps(200); }))
                  .has_accepted());
  host->WaitUntil("the rate is set", [&] { return host->Vf(0).max_tx_mbps == 200; });
  EXPECT_EQ(host->WaitReady("a-lan").lease(), lease);
  EXPECT_EQ(host->Vf(0).mac.ToString(), kOtherMac);
  EXPECT_EQ(vm->Calls(QmpMethod::kAddVfioDevice), 1);
}

TEST_F(VlanTest, TheMacOfARemovedPortIsWaitedForUntilItsGuestLetsGo) {
  BeginVlan([](DaemonConfig& config) {
    config.engine.removal_ask_again = std::chrono::milliseconds(100);
  });
  const auto vm = AddA();
  host->WaitReady("a-lan");
  vm->SetRemoval(FakeVm::Removal::kNever);
  host->Detach("a", "lan");
  host->AddVm("b");
  const v1::Reply reply = host->Send(Request("b", [](auto& add) { add.set_mac(kMac); }));
  ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
  const auto waits = host->WaitPort(
      "b-lan", [](const auto& s) { return s && HasReason(*s, "which is being taken apart"); });
  EXPECT_EQ(waits->state(), v1::OBJECT_STATE_PENDING);
  vm->SetRemoval(FakeVm::Removal::kImmediate);
  host->WaitReady("b-lan");
  int with_it = 0;
  for (uint16_t vf = 0; vf < 4; ++vf) with_it += host->Vf(vf).mac.ToString() == kMac ? 1 : 0;
  EXPECT_EQ(with_it, 1);
}

// Its guest reaches nobody in the VLAN any more, whatever it does.
TEST_F(VlanTest, ARemovedPortWhoseGuestDoesNotLetGoIsCutOff) {
  BeginVlan();
  host->network->SetVfDriver(FakeHost::kPfLink, {});
  const auto vm = AddA();
  host->WaitReady("a-lan");
  EXPECT_FALSE(host->Vf(0).link_disabled);
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  host->Detach("a", "lan");
  WaitDoesNotLetGo("a-lan");
  EXPECT_TRUE(host->Vf(0).link_disabled);
  EXPECT_THAT(host->PortStatus("a-lan")->reason(), Not(HasSubstr("cut off")));
  // It stays so over a restart, and whoever gets the VF next has a link.
  host->Stop();
  host->Start();
  WaitDoesNotLetGo("a-lan");
  EXPECT_TRUE(host->Vf(0).link_disabled);
  vm->CompleteRemovals();
  host->WaitGone("a-lan");
  WaitNothingLeft(before_);
}

TEST_F(VlanTest, ANicThatCannotCutAVfOffSaysSoAndTheRemovalGoesOn) {
  BeginVlan();
  const auto vm = AddA();
  host->WaitReady("a-lan");
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  host->Detach("a", "lan");
  WaitDoesNotLetGo("a-lan");
  EXPECT_THAT(host->PortStatus("a-lan")->reason(),
              AllOf(HasSubstr("cannot be cut off on this NIC"), HasSubstr("not supported")));
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 1);
  vm->CompleteRemovals();
  host->WaitGone("a-lan");
  WaitNothingLeft(before_);
}

// That it cannot be done is one thing, that it was not done just now another.
TEST_F(VlanTest, ACutOffThatFailsForAMomentIsTriedAgainBeforeTheGuestIsAsked) {
  BeginVlan();
  host->network->SetVfDriver(FakeHost::kPfLink, {});
  const auto vm = AddA();
  host->WaitReady("a-lan");
  std::atomic<bool> asked_while_linked = false;
  vm->SetHook([&](QmpMethod method, std::string_view) {
    if (method == QmpMethod::kRequestRemoval && !host->Vf(0).link_disabled) {
      asked_while_linked = true;
    }
  });
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  host->network->FailNext("SetVfLinkDisabled", SystemError(EBUSY, "take VF 0 of pf0 down"), 2);
  host->Detach("a", "lan");
  WaitDoesNotLetGo("a-lan");
  EXPECT_FALSE(asked_while_linked);
  EXPECT_TRUE(host->Vf(0).link_disabled);
  EXPECT_THAT(host->PortStatus("a-lan")->reason(), Not(HasSubstr("cut off")));
  vm->CompleteRemovals();
  host->WaitGone("a-lan");
  WaitNothingLeft(before_);
}

TEST_F(VlanTest, ACutOffThatKeepsFailingDoesNotHoldTheRemovalUp) {
  BeginVlan();
  host->network->SetVfDriver(FakeHost::kPfLink, {});
  const auto vm = AddA();
  host->WaitReady("a-lan");
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  host->network->FailNext("SetVfLinkDisabled", SystemError(EBUSY, "take VF 0 of pf0 down"), 1000);
  host->Detach("a", "lan");
  WaitDoesNotLetGo("a-lan");
  EXPECT_THAT(host->PortStatus("a-lan")->reason(),
              AllOf(HasSubstr("cannot be cut off"), HasSubstr("busy")));
  host->network->ClearFaults();
  vm->CompleteRemovals();
  host->WaitGone("a-lan");
  WaitNothingLeft(before_);
}

TEST_F(VlanTest, AnotherVlanOfTheVpcAttachesItsPortsAnew) {
  BeginVlan();
  AddA();
  const uint64_t lease = host->WaitReady("a-lan").lease();
  const auto change_vlan = [&](bool with_port) {
    return host->Apply([&](v1::Apply& apply) {
      v1::Vpc* vpc = apply.add_upsert()->mutable_vpc();
      vpc->set_id("lan");
      vpc->set_vlan(200);
      if (!with_port) return;
      v1::Port* port = FillPort(apply, "a-lan", "a", "lan");  // as it is
      port->set_mac(kMac);
      port->add_addresses("10.0.0.5");
    });
  };
  const v1::Reply refused = change_vlan(false);
  ASSERT_TRUE(refused.has_rejected());
  EXPECT_THAT(refused.rejected().violations(0).reason(),
              HasSubstr("cannot change from VLAN 100 to VLAN 200 while it has ports (port/a-lan)"));
  ASSERT_TRUE(change_vlan(true).has_accepted());
  host->WaitPort("a-lan", [&](const auto& s) {
    return s && s->state() == v1::OBJECT_STATE_READY && s->lease() != lease;
  });
  EXPECT_EQ(host->PortStatus("a-lan")->vlan(), 200u);
  EXPECT_EQ(host->Vf(0).vlan, 200);
}

// Its old tenant's VM still sends into it.
TEST_F(VlanTest, AVlanIsNotGivenOnWhileAPortOfItsOldVpcIsThere) {
  BeginVlan();
  const auto vm = AddA();
  host->WaitReady("a-lan");
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    FillRemove(apply, v1::OBJECT_KIND_PORT, "a-lan");
                    FillRemove(apply, v1::OBJECT_KIND_SUBNET, "lan-1");
                    FillRemove(apply, v1::OBJECT_KIND_VPC, "lan");
                  })
                  .has_accepted());
  host->MakeVlan("green", 100, "10.0.0.0/24");
  host->AddVm("b");
  v1::Request request = host->AddVmRequest("b", "green", "10.0.0.6");
  request.mutable_add_vm_to_vpc()->set_mac(kOtherMac);
  ASSERT_TRUE(host->Send(request).has_accepted());
  host->WaitPort("b-green", [](const auto& s) {
    return s && s->reason().find("VLAN 100 is still used by port a-lan") != std::string::npos;
  });
  host->WaitUntil("QEMU was asked", [&] { return vm->Calls(QmpMethod::kRequestRemoval) > 0; });
  vm->CompleteRemovals();
  host->WaitGone("a-lan");
  host->WaitReady("b-green");
}

TEST_F(VlanTest, ARestartAdoptsThePortAndSetsNothing) {
  BeginVlan();
  const auto vm = AddA();
  const v1::ObjectStatus ready = host->WaitReady("a-lan");
  host->Stop();
  host->network->ClearCalls();
  const int writes = PciWrites();
  host->Start();
  const v1::ObjectStatus again = host->WaitReady("a-lan");
  EXPECT_EQ(again.lease(), ready.lease());
  EXPECT_EQ(again.vlan(), 100u);
  EXPECT_EQ(vm->Calls(QmpMethod::kAddVfioDevice), 1);
  EXPECT_EQ(PciWrites(), writes);
  ExpectNetworkUntouched();
}

TEST_F(VlanTest, WhatWasChangedWhileTheAgentWasAwayIsSetAgain) {
  BeginVlan();
  AddA();
  host->WaitReady("a-lan");
  host->Stop();
  host->ChangeVf(0, 0, [](VfInfo& vf) {
    vf.vlan = 200;
    vf.spoof_check = false;
  });
  host->Start();
  host->WaitUntil("the VF is as wanted again", [&] { return host->Vf(0) == Tenants(); });
  host->WaitReady("a-lan");
}

TEST_F(VlanTest, AVlanThatReadsBackOtherwiseFailsTheAttach) {
  BeginVlan(TryOnce);
  Undo("SetVfVlan(10, 0, 100)", [](VfInfo& vf) {
    if (vf.vlan == 100) vf.vlan = 0;
  });
  const auto vm = AddA();
  const v1::ObjectStatus status = host->WaitFailed("a-lan");
  EXPECT_EQ(status.step(), "vf create");
  EXPECT_THAT(status.reason(), HasSubstr("reads back otherwise: vlan 0 -> 100"));
  EXPECT_EQ(vm->Calls(QmpMethod::kAddVfioDevice), 0) << "the VF was never handed out";
  host->network->SetHook(nullptr);
  WaitNothingLeft(before_);
}

TEST_F(VlanTest, ASpoofCheckThatTheNicDoesNotHaveFailsTheAttach) {
  BeginVlan(TryOnce);
  for (uint16_t i = 0; i < 4; ++i) {
    host->ChangeVf(i, 0, [](VfInfo& vf) { vf.spoof_check.reset(); });
  }
  host->network->SetVfDriver(FakeHost::kPfLink, {.spoof_check = false});
  AddA();
  EXPECT_THAT(host->WaitFailed("a-lan").reason(), HasSubstr("not supported"));
  host->network->SetHook(nullptr);
  WaitNothingLeft(before_);
}

TEST_F(VlanTest, AVfThatDoesNotComeCleanIsNotGivenOn) {
  BeginVlan();
  AddA();
  host->WaitReady("a-lan");
  Undo("SetVfVlan(10, 0, 0)", [](VfInfo& vf) { vf.vlan = 100; });
  host->Detach("a", "lan");
  host->WaitPort("a-lan", [](const auto& s) {
    return s && s->reason().find("the VLAN of VF 0 of pf0") != std::string::npos;
  });
  EXPECT_EQ(host->Host().pfs(0).vfs(0).state(), "leased");
  host->AddVm("b");
  ASSERT_TRUE(host->Send(Request("b")).has_accepted());
  EXPECT_EQ(host->WaitReady("b-lan").vf(), FakeHost::VfName(1));
  host->WaitGone("a-lan");
  host->network->SetHook(nullptr);
  EXPECT_EQ(host->Host().pfs(0).vfs(0).state(), "quarantined");
  EXPECT_THAT(host->Host().pfs(0).vfs(0).detail(), HasSubstr("vlan is 100: should be none"));
}

// igb takes a rate, 0 too, only with link.
TEST_F(VlanTest, ARateThatCannotBeClearedWithoutLinkIsNamedAndAllElseIsCleared) {
  BeginVlan();
  AddA([](v1::AddVmToVpc& add) { add.set_max_tx_mbps(500); });
  host->WaitReady("a-lan");
  const auto set_carrier = [&](bool carrier) {
    host->network->ChangeLink(FakeHost::kPfLink, [=](LinkInfo& pf) { pf.carrier = carrier; });
  };
  set_carrier(false);
  host->Detach("a", "lan");
  const auto status = host->WaitPort("a-lan", [](const auto& s) {
    return s && s->reason().find("clear the rate of VF 0 of pf0") != std::string::npos;
  });
  EXPECT_THAT(status->reason(), HasSubstr("pf0 has no link"));
  EXPECT_EQ(host->Vf(0).mac, MacAddress());
  EXPECT_EQ(host->Vf(0).vlan, 0);
  EXPECT_EQ(host->Host().pfs(0).vfs(0).state(), "leased");
  set_carrier(true);
  host->WaitGone("a-lan");
  WaitNothingLeft(before_);
}

TEST_F(VlanTest, ADryRunSaysWhatWouldBeSet) {
  BeginVlan();
  host->AddVm("a");
  v1::Request request = Request("a");
  request.set_dry_run(true);
  const v1::Reply reply = host->Send(request);
  ASSERT_TRUE(reply.has_plan()) << reply.ShortDebugString();
  EXPECT_EQ(reply.plan().blocked_size(), 0) << reply.ShortDebugString();
  std::vector<std::string> steps;
  for (const v1::Plan::Step& step : reply.plan().steps()) {
    steps.push_back(StrCat(step.resource(), ": ", step.detail()));
  }
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_THAT(steps[0], HasSubstr("mac 52:54:00:00:aa:05, vlan 100, spoof check on, trust off"));
  EXPECT_THAT(steps[1], HasSubstr("driver-binding/"));
  EXPECT_THAT(steps[2], HasSubstr("guest-device/a/a-lan"));
  EXPECT_EQ(host->Leftovers(), before_);
}

TEST_F(VlanTest, AMacThatCameWithAVfIsTaken) {
  BeginVlan();
  host->ChangeVf(0, 0, [](VfInfo& vf) { vf.mac = *MacAddress::Parse(kOtherMac); });
  host->WaitUntil("the agent has seen it",
                  [&] { return host->Host().pfs(0).vfs(0).mac() == kOtherMac; });
  AddA([](v1::AddVmToVpc& add) { add.clear_mac(); });
  EXPECT_EQ(host->WaitReady("a-lan").mac(), kOtherMac);
  host->AddVm("b");
  const v1::Reply refused = host->Send(Request("b"));
  ASSERT_TRUE(refused.has_rejected()) << refused.ShortDebugString();
  EXPECT_THAT(refused.rejected().violations(0).reason(), HasSubstr("port/a-lan"));
}

// An operator's, as a port without a MAC takes it: whoever has the VF next finds it too.
TEST_F(VlanTest, TheMacThatAVfCameWithIsItsOwnAgainWhenItIsGivenBack) {
  BeginVlan();
  host->ChangeVf(0, 0, [](VfInfo& vf) { vf.mac = *MacAddress::Parse(kOtherMac); });
  host->WaitUntil("the agent has seen it",
                  [&] { return host->Host().pfs(0).vfs(0).mac() == kOtherMac; });
  before_ = host->Leftovers();
  AddA();  // with a MAC
  host->WaitReady("a-lan");
  EXPECT_EQ(host->Vf(0).mac.ToString(), kMac);
  host->Stop();
  host->Start();
  host->WaitReady("a-lan");
  host->Detach("a", "lan");
  host->WaitGone("a-lan");
  WaitNothingLeft(before_);
  for (int i = 0; i < 2; ++i) {
    AddA([](v1::AddVmToVpc& add) { add.clear_mac(); });
    EXPECT_EQ(host->WaitReady("a-lan").mac(), kOtherMac);
    host->Detach("a", "lan");
    host->WaitGone("a-lan");
    WaitNothingLeft(before_);
  }
}

}  // namespace
}  // namespace fairlead
