// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: the eswitch of a ConnectX is made as configured, while
// no VF there is in use, and kept so.
#include <errno.h>

#include <algorithm>
#include <atomic>

#include "agent/base/error.h"
#include "agent/ports/devlink/fake_devlink_port.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class EswitchTest : public AgentTest {
 protected:
  static FakeHostOptions Nic(EswitchMode mode, uint16_t pfs = 1) {
    FakeHostOptions options;
    options.eswitch = mode;
    options.pfs = pfs;
    return options;
  }
  static void WantSwitchdev(DaemonConfig& config) {
    config.engine.audit_every = std::chrono::hours(1);  // what is noticed is not by audit
    for (PfConfig& pf : config.providers.pfs) {
      pf.eswitch.mode = EswitchMode::kSwitchdev;
      pf.eswitch.encap_mode = EswitchEncapMode::kBasic;
    }
  }
  v1::HostState::Pf Pf() { return host->Host().pfs(0); }
  EswitchMode Mode() {
    return FakeDevlinkPort(host->devlink).GetEswitch(FakeHost::Nic())->mode.value();
  }
  // As an administrator would.
  void SetMode(EswitchMode mode) {
    EswitchSettings wanted;
    wanted.mode = mode;
    const absl::Status set = FakeDevlinkPort(host->devlink).SetEswitch(FakeHost::Nic(), wanted);
    ASSERT_TRUE(set.ok()) << set;
  }
  int TimesSet() {
    const std::vector<std::string> calls = host->network->Calls();
    return static_cast<int>(std::count_if(calls.begin(), calls.end(), [](const std::string& call) {
      return call.starts_with("SetEswitch(");
    }));
  }
  // VFs that were there before, driven by the host's driver.
  void MakeVfsOfTheHost(uint16_t pf = 0) {
    ASSERT_TRUE(host->pci.SetNumVfs(FakeHost::PfAddress(pf), 4).ok());
    for (uint32_t i = 0; i < 4; ++i) {
      LinkInfo link;
      link.name = StrCat("pf", pf, "v", i);
      link.ifindex = kVfLink + i;
      link.mac = FakeHost::VfMac(static_cast<uint16_t>(i), pf);
      link.up = i == 0;
      host->network->AddLink(link);
    }
  }
  void FailModeWith(const absl::Status& refusal, uint16_t pf = 0) {
    const std::string refused = StrCat("SetEswitch(", FakeHost::Nic(pf).ToString(), ")");
    host->network->FailWhen([refused](std::string_view call) { return call == refused; }, refusal,
                            1'000'000);
  }
  // Two NICs of one network: the first refuses its eswitch mode, the second's cannot be
  // changed yet, as the host uses its VF 0. Port "a-red" waits for it.
  void BeginWithOneRefusedAndOneToCome() {
    Begin(Nic(EswitchMode::kLegacy, 2), [this](DaemonConfig& config) {
      WantSwitchdev(config);
      MakeVfsOfTheHost(1);
      FailModeWith(SystemError(EOPNOTSUPP, "set eswitch mode", "the first says no"));
    });
    host->AddVm("a");
    host->Attach("a", "red", "10.0.0.5");
    const auto status = host->WaitPort("a-red", [](const auto& s) {
      return s && s->reason().find("the first says no") != std::string::npos &&
             s->reason().find("VF 0 is in use") != std::string::npos;
    });
    EXPECT_EQ(status->state(), v1::OBJECT_STATE_PENDING);
  }
  void LetTheSecondChange() {
    host->network->ChangeLink(kVfLink, [](LinkInfo& link) { link.up = false; });
  }

  static constexpr uint32_t kVfLink = 300;
};

TEST_F(EswitchTest, ANicInLegacyModeIsMadeReadyForAPort) {
  Begin(Nic(EswitchMode::kLegacy), WantSwitchdev);
  Attached("a", "red", "10.0.0.5");
  EXPECT_EQ(host->PortStatus("a-red")->representor(), "pf0r0");
  EXPECT_EQ(Mode(), EswitchMode::kSwitchdev);
  EXPECT_EQ(TimesSet(), 1) << "encap is basic already";
  const v1::HostState::Pf pf = Pf();
  EXPECT_EQ(pf.eswitch(), "switchdev");
  EXPECT_EQ(pf.eswitch_problem(), "");
  EXPECT_EQ(pf.eswitch_now().inline_(), "none");
  EXPECT_EQ(pf.eswitch_now().encap(), "basic");
  EXPECT_EQ(pf.eswitch_wanted().mode(), "switchdev");
  EXPECT_EQ(pf.eswitch_wanted().inline_(), "");
}

TEST_F(EswitchTest, APortsRatesAreDevlinksKeptAndClearedWithIt) {
  Begin(Nic(EswitchMode::kSwitchdev), WantSwitchdev);
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_max_tx_mbps(500);
  request.mutable_add_vm_to_vpc()->set_min_tx_mbps(100);
  ASSERT_TRUE(host->Send(request).has_accepted());
  host->WaitReady("a-red");
  FakeDevlinkPort devlink(host->devlink);
  const auto leaf = [&] {  // the one that has anything; there is one port
    DevlinkRate found;
    const auto rates = devlink.ListRates(FakeHost::Nic());
    for (const DevlinkRate& rate : *rates) {
      if (rate.max != 0 || rate.share != 0) found = rate;
    }
    return found;
  };
  const DevlinkRate first = leaf();
  EXPECT_EQ(first.max, 500U * kDevlinkMbit);
  EXPECT_EQ(first.share, 100U * kDevlinkMbit);
  EXPECT_EQ(Pf().vfs(0).max_tx_mbps(), 500U);

  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    v1::Port* port = FillPort(apply, "a-red", "a", "red");
                    port->add_addresses("10.0.0.5");
                    port->set_max_tx_mbps(700);
                    port->set_min_tx_mbps(100);
                  })
                  .has_accepted());
  host->WaitUntil("the new cap is set", [&] { return leaf().max == 700U * kDevlinkMbit; });
  EXPECT_EQ(leaf().share, first.share);
  host->WaitReady("a-red");

  host->Detach("a", "red");
  host->WaitGone("a-red");
  EXPECT_EQ(leaf(), DevlinkRate()) << "the next tenant has none of it";
}

TEST_F(EswitchTest, ARateThatTheNicRefusesFailsThePortInItsDriversWords) {
  Begin(Nic(EswitchMode::kSwitchdev), [](DaemonConfig& config) {
    WantSwitchdev(config);
    TryOnce(config);
  });
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_max_tx_mbps(200'000);
  ASSERT_TRUE(host->Send(request).has_accepted());
  EXPECT_THAT(host->WaitFailed("a-red").reason(),
              HasSubstr("exceed link maximum speed 100000Mbps"));
}

// A NIC whose VFs are just coming answers EINVAL (sriov-network-operator #1015), which by
// itself would be asked again at the next audit only.
TEST_F(EswitchTest, TheModeIsSetBeforeTheVfsAreMadeAsANicWithNewVfsRefusesIt) {
  std::atomic<bool> made = false;
  Begin(Nic(EswitchMode::kLegacy), [&](DaemonConfig& config) {
    WantSwitchdev(config);
    host->pci.SetHook([&](SysfsMethod method, const PciAddress&) {
      if (method == SysfsMethod::kSetNumVfs) made = true;
    });
    host->network->FailWhen(
        [&](std::string_view call) { return made && call.starts_with("SetEswitch("); },
        SystemError(EINVAL, "set eswitch mode", "mlx5_core: Failed setting eswitch to offloads"),
        1'000'000);
  });
  Attached("a", "red", "10.0.0.5");
  EXPECT_TRUE(made);
  EXPECT_EQ(TimesSet(), 1);
  host->Stop();
}

// After a boot: the store knows the lease, and the NIC has no VF and its first mode.
TEST_F(EswitchTest, ALeaseOnAVfThatIsNoMoreDoesNotHoldTheMode) {
  Begin(Nic(EswitchMode::kLegacy), WantSwitchdev);
  Attached("a", "red", "10.0.0.5");
  host->Stop();
  ASSERT_TRUE(host->pci.SetNumVfs(FakeHost::PfAddress(), 0).ok());
  SetMode(EswitchMode::kLegacy);
  host->Start();
  host->WaitUntil("switchdev mode again", [this] { return Mode() == EswitchMode::kSwitchdev; });
  host->WaitUntil("its VFs are there", [this] { return Pf().num_vfs() == 4U; });
  EXPECT_EQ(Pf().eswitch_problem(), "");
}

TEST_F(EswitchTest, WhatIsNotAskedForIsNotTouched) {
  Begin(Nic(EswitchMode::kLegacy));
  Quiet();
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_THAT(status.reason(),
              AllOf(HasSubstr("legacy mode"), HasSubstr("eswitch: {mode: switchdev}")));
  EXPECT_EQ(Mode(), EswitchMode::kLegacy);
  EXPECT_EQ(TimesSet(), 0);
}

TEST_F(EswitchTest, AModeThatTheNicRefusesFailsThePortInItsDriversWords) {
  Begin(Nic(EswitchMode::kLegacy), [this](DaemonConfig& config) {
    WantSwitchdev(config);
    config.engine.audit_every = std::chrono::milliseconds(300);
    FailModeWith(SystemError(EOPNOTSUPP, "set eswitch mode switchdev of pci/0000:01:00.0",
                             "mlx5_core: Failed setting eswitch to offloads"));
  });
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_EQ(status.peer_words(), "mlx5_core: Failed setting eswitch to offloads");
  EXPECT_EQ(status.step(), "pf update");
  EXPECT_TRUE(status.permanent());
  EXPECT_THAT(Pf().eswitch_problem(), AllOf(HasSubstr("mode legacy, wanted switchdev"),
                                            HasSubstr("Failed setting eswitch to offloads")));
  EXPECT_EQ(Pf().num_vfs(), 0U) << "VFs of another mode would serve nobody";
  // It is asked again, if not at once.
  host->network->ClearFaults();
  host->WaitReady("a-red");
  EXPECT_EQ(Pf().eswitch_problem(), "");
}

TEST_F(EswitchTest, ANicWithoutAnEswitchIsRefusedByName) {
  FakeHostOptions options;
  options.can_set_vf_mac = true;
  Begin(options, WantSwitchdev);
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_THAT(status.reason(),
              AllOf(HasSubstr("pci/0000:01:00.0"), HasSubstr("take 'eswitch' out")));
}

TEST_F(EswitchTest, WhileAVfIsInUseTheModeStaysAndItIsSaidWhichAndByWhom) {
  Begin(Nic(EswitchMode::kLegacy), [this](DaemonConfig& config) {
    WantSwitchdev(config);
    MakeVfsOfTheHost();
  });
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  const auto status = host->WaitPort("a-red", [](const auto& s) {
    return s && s->reason().find("VF 0 is in use") != std::string::npos;
  });
  EXPECT_EQ(status->state(), v1::OBJECT_STATE_PENDING);
  EXPECT_THAT(status->reason(), HasSubstr("its netdev pf0v0 of mlx5_core is up"));
  EXPECT_THAT(Pf().eswitch_problem(), AllOf(HasSubstr("mode legacy, wanted switchdev"),
                                            HasSubstr("VF 0 is in use by the host")));
  EXPECT_EQ(TimesSet(), 0);
  EXPECT_EQ(host->pci.Find(host->VfAddress(1))->driver, "mlx5_core");

  host->network->ChangeLink(kVfLink, [](LinkInfo& link) { link.up = false; });
  host->WaitReady("a-red");
  EXPECT_EQ(TimesSet(), 1);
  EXPECT_EQ(host->pci.Find(host->VfAddress(1))->driver, "") << "unbound before the mode changed";
}

TEST_F(EswitchTest, ANicThatCannotBeSetUpDoesNotFailAPortThatAnotherWillCarry) {
  BeginWithOneRefusedAndOneToCome();
  LetTheSecondChange();
  EXPECT_EQ(host->WaitReady("a-red").vf(), FakeHost::VfName(0, 1));
}

TEST_F(EswitchTest, WhenNoNicCouldBeSetUpThePortFailsWithWhatEachSaid) {
  BeginWithOneRefusedAndOneToCome();
  FailModeWith(SystemError(EOPNOTSUPP, "set eswitch mode", "so does the second"), 1);
  LetTheSecondChange();
  const v1::ObjectStatus status = host->WaitFailed("a-red");
  EXPECT_THAT(status.reason(), AllOf(HasSubstr(StrCat("PF ", FakeHost::PfMac(0).ToString(), ": ")),
                                     HasSubstr("the first says no"),
                                     HasSubstr(StrCat("PF ", FakeHost::PfMac(1).ToString(), ": ")),
                                     HasSubstr("so does the second")));
  EXPECT_EQ(status.step(), "pf update");
  EXPECT_TRUE(status.permanent());
}

TEST_F(EswitchTest, WhenTheNicToComeFailedThePortSaysOfTheOthersTooWhyNot) {
  Begin(Nic(EswitchMode::kLegacy, 2), [this](DaemonConfig& config) {
    WantSwitchdev(config);
    config.providers.pfs[1].eswitch = {};
    FailModeWith(SystemError(EOPNOTSUPP, "set eswitch mode", "the first says no"));
  });
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_THAT(
      host->WaitFailed("a-red").reason(),
      AllOf(HasSubstr("the first says no"), HasSubstr("pf1 (mlx5_core) has no switchdev eswitch")));
}

TEST_F(EswitchTest, AModeThatSomebodyChangedIsSetAgainWhileNoVfIsInUse) {
  Begin(Nic(EswitchMode::kLegacy), WantSwitchdev);
  host->WaitUntil("switchdev mode", [this] { return Pf().eswitch() == "switchdev"; });
  SetMode(EswitchMode::kLegacy);
  host->WaitUntil("switchdev mode again", [this] { return Mode() == EswitchMode::kSwitchdev; });
  Attached("a", "red", "10.0.0.5");
}

TEST_F(EswitchTest, AModeThatSomebodyChangedUnderAPortIsSaidAndSetAgainWithoutIt) {
  Begin(Nic(EswitchMode::kLegacy), WantSwitchdev);
  Attached("a", "red", "10.0.0.5");
  SetMode(EswitchMode::kLegacy);
  host->network->ClearCalls();
  const auto status = host->WaitPort("a-red", [](const auto& s) {
    return s && s->state() == v1::OBJECT_STATE_DEGRADED &&
           s->reason().find("legacy mode") != std::string::npos;
  });
  EXPECT_THAT(status->reason(), HasSubstr("the eswitch of pf0 is in legacy mode"));
  EXPECT_THAT(Pf().eswitch_problem(), HasSubstr("VF 0 is leased to port a-red"));
  EXPECT_EQ(host->pci.Find(host->VfAddress(0))->driver, "vfio-pci") << "never torn down by itself";
  EXPECT_EQ(TimesSet(), 0);
  host->Detach("a", "red");
  host->WaitGone("a-red");
  host->WaitUntil("switchdev mode again", [this] { return Mode() == EswitchMode::kSwitchdev; });
  host->WaitUntil("all is well", [this] { return Pf().eswitch_problem().empty(); });
}

TEST_F(EswitchTest, WhenSomebodySetsTheModeBackThePortServesAgain) {
  Begin(Nic(EswitchMode::kLegacy), WantSwitchdev);
  Attached("a", "red", "10.0.0.5");
  SetMode(EswitchMode::kLegacy);
  host->WaitPort("a-red",
                 [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  SetMode(EswitchMode::kSwitchdev);
  host->WaitReady("a-red");
  EXPECT_EQ(Pf().eswitch_problem(), "");
}

// There a VLAN is not enforced, and nothing drops what comes out of the representor.
TEST_F(EswitchTest, SwitchdevThatSomebodySetUnderAVlanPortIsSaidAndThePortServesAgainWithoutIt) {
  Begin(Nic(EswitchMode::kLegacy), [](DaemonConfig& config) {
    config.engine.audit_every = std::chrono::hours(1);  // what is noticed is not by audit
  });
  host->MakeVlan("lan", 100, "10.0.0.0/24");
  const std::shared_ptr<FakeVm> vm = Attached("a", "lan", "10.0.0.5");
  SetMode(EswitchMode::kSwitchdev);
  host->network->ClearCalls();
  const auto status = host->WaitPort(
      "a-lan", [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  EXPECT_THAT(status->reason(), HasSubstr("is not kept in VLAN 100: the eswitch of pf0 is in "
                                          "switchdev mode"));
  EXPECT_EQ(host->pci.Find(host->VfAddress(0))->driver, "vfio-pci") << "never torn down by itself";
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0);
  EXPECT_EQ(TimesSet(), 0) << "nobody asked for a mode";
  SetMode(EswitchMode::kLegacy);
  host->WaitReady("a-lan");
  EXPECT_EQ(vm->Calls(QmpMethod::kAddVfioDevice), 1);
}

TEST_F(EswitchTest, ARestartAdoptsTheEswitchWithoutAnyWrite) {
  Begin(Nic(EswitchMode::kLegacy), WantSwitchdev);
  Attached("a", "red", "10.0.0.5");
  host->Stop();
  host->network->ClearCalls();
  const int writes = PciWrites();
  host->Start();
  host->WaitReady("a-red");
  host->WaitUntil("the NIC was observed", [this] { return Pf().eswitch() == "switchdev"; });
  EXPECT_EQ(Pf().eswitch_problem(), "");
  ExpectNetworkUntouched();
  EXPECT_EQ(PciWrites(), writes);
}

// The leases of before are still there, and no VF.
TEST_F(EswitchTest, AfterARebootTheModeIsSetForThePortsThatTheStoreHolds) {
  Begin(Nic(EswitchMode::kLegacy), WantSwitchdev);
  Attached("a", "red", "10.0.0.5");
  host->Stop();
  host->RemoveVm("a");
  ASSERT_TRUE(host->pci.SetNumVfs(FakeHost::PfAddress(), 0).ok());
  SetMode(EswitchMode::kLegacy);
  const auto vm = host->AddVm("a");
  host->Start();
  host->WaitReady("a-red");
  EXPECT_EQ(Mode(), EswitchMode::kSwitchdev);
  EXPECT_EQ(vm->Calls(QmpMethod::kAddVfioDevice), 1);
}

TEST_F(EswitchTest, ANicThatCarriesTheDefaultRouteIsNotTouched) {
  Begin(Nic(EswitchMode::kLegacy), [this](DaemonConfig& config) {
    WantSwitchdev(config);
    RouteInfo route;
    route.ifindex = FakeHost::kPfLink;
    host->network->AddRoute(*IpPrefix::Parse("0.0.0.0/0"), route);
  });
  host->WaitUntil("it is refused", [this] { return !Pf().refused().empty(); });
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_THAT(host->WaitFailed("a-red").reason(), HasSubstr("carries the host's default route"));
  EXPECT_EQ(Mode(), EswitchMode::kLegacy);
  EXPECT_EQ(TimesSet(), 0);
  EXPECT_EQ(Pf().num_vfs(), 0U);
}

}  // namespace
}  // namespace fairlead
