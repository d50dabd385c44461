// SPDX-License-Identifier: Apache-2.0
//
// Whole agents on simulated hosts: NICs of each kind, and functions that come by hot-plug.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/simulate/simulation_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

TEST_F(SimulationTest, ANicThatCarriesTheDefaultRouteIsRefusedWithTheReason) {
  HostModel model = Shipped("two-nics");
  model.routes = {
      {IpPrefix::Parse("0.0.0.0/0").value(), IpAddress::Parse("192.0.2.254").value(), "ens1"}};
  Start(model);
  Controller controller(Host());
  v1::Apply apply = VmIn("red", 7, "a", 1);
  apply.mutable_upsert(3)->mutable_port()->clear_mac();
  controller.Apply(apply);
  controller.WaitPort("a-0", [](const auto& s) {
    return s.reason().find("carries the host's default route") != std::string::npos;
  });
}

TEST_F(SimulationTest, ANicBootsInLegacyModeAndTheAgentBringsItToSwitchdevForAPort) {
  HostModel model = Shipped("gpu-host");
  for (const NicModel& nic : model.nics) {
    if (nic.vfs > 0) {
      EXPECT_EQ(nic.eswitch, EswitchMode::kLegacy) << nic.netdev;
    }
  }
  model.latency.eswitch = std::chrono::minutes(10);
  Start(model, 1, true);
  Controller controller(Host());
  controller.Apply(VmIn("red", 7, "a", 1));
  controller.WaitPort("a-0", [](const auto& s) {
    return s.reason().find("mode legacy, wanted switchdev") != std::string::npos;
  });
  for (const v1::HostState::Pf& pf : controller.Nics()) {
    EXPECT_EQ(pf.eswitch(), "legacy") << pf.netdev();
    for (const v1::HostState::Vf& vf : pf.vfs()) EXPECT_EQ(vf.representor(), "") << pf.netdev();
  }
  Start(model);  // booted again, with an eswitch that takes no time
  Controller again(Host());
  again.WaitReady(1);
  EXPECT_THAT(again.Ports().at(0).representor(), ::testing::MatchesRegex("gpu[0-7]_[0-9]+"));
}

TEST_F(SimulationTest, RepresentorsComeWithTheVfsAndSwitchdevWhateverTheModeAfterBoot) {
  HostModel model = Shipped("gpu-host");
  model.nics[0].eswitch = EswitchMode::kSwitchdev;
  Start(model);
  Controller controller(Host());
  controller.WaitUntil("every NIC is in switchdev mode with its VFs", [&] {
    const std::vector<v1::HostState::Pf> nics = controller.Nics();
    return std::all_of(nics.begin(), nics.end(), [](const v1::HostState::Pf& pf) {
      return pf.eswitch() == "switchdev" && pf.vfs_size() == 16 &&
             !pf.vfs(15).representor().empty();
    });
  });
  const std::vector<v1::HostState::Pf> nics = controller.Nics();
  EXPECT_EQ(nics.size(), 10U);
  for (const v1::HostState::Pf& pf : nics) {
    EXPECT_EQ(pf.eswitch_wanted().mode(), "switchdev") << pf.netdev();
    EXPECT_EQ(pf.eswitch_problem(), "") << pf.netdev();
    for (const v1::HostState::Vf& vf : pf.vfs()) {
      EXPECT_EQ(vf.representor(), StrCat(pf.netdev(), "_", vf.index()));
    }
  }
}

TEST_F(SimulationTest, ANicWithoutAnEswitchIsAskedForNone) {
  Start(Shipped("two-nics"));
  Controller controller(Host());
  controller.WaitPools();
  const v1::HostState host = controller.Host();
  EXPECT_EQ(host.pfs_size(), 2);
  for (const v1::HostState::Pf& pf : host.pfs()) {
    EXPECT_EQ(pf.eswitch(), "") << pf.netdev();
    EXPECT_EQ(pf.eswitch_wanted().mode(), "") << pf.netdev();
  }
}

TEST_F(SimulationTest, APortOfAVlanIsSetOnThePlainNicReadBackAndTakenApart) {
  const v1::Apply intents = Intents(StrCat(FAIRLEAD_EXAMPLES, "/vlan.yaml"));
  Start(Shipped("two-nics"));
  Controller controller(Host());
  controller.WaitPools();
  const auto plain_vf = [&]() -> v1::HostState::Vf {
    for (const v1::HostState::Pf& pf : controller.Nics()) {
      if (pf.netdev() == "ens2") return pf.vfs(0);
    }
    return {};
  };
  const v1::HostState::Vf before = plain_vf();
  EXPECT_EQ(before.state(), "free");
  EXPECT_TRUE(before.has_vlan() && before.has_spoof_check() && before.has_trust());
  controller.Apply(intents);
  controller.WaitReady(1);
  const v1::ObjectStatus port = controller.Ports().at(0);
  EXPECT_EQ(port.vf(), "52:54:00:00:00:02/0");
  EXPECT_EQ(port.vlan(), 100U);
  EXPECT_EQ(port.representor(), "");
  EXPECT_EQ(port.rules_wanted(), 0U);
  const v1::HostState::Vf vf = plain_vf();
  EXPECT_EQ(vf.state(), "leased");
  EXPECT_EQ(vf.mac(), "52:54:00:00:0d:b0");
  EXPECT_EQ(vf.vlan(), 100U);
  EXPECT_TRUE(vf.spoof_check());
  EXPECT_FALSE(vf.trust());
  EXPECT_EQ(vf.max_tx_mbps(), 500U);
  controller.Remove(intents);
  controller.WaitNoPorts();
  controller.ExpectEmpty();
  v1::HostState::Vf after = plain_vf();
  EXPECT_EQ(after.sanitation().verdict(), "clean");
  after.clear_sanitation();
  EXPECT_EQ(after.ShortDebugString(), before.ShortDebugString());
}

TEST_F(SimulationTest, AnOverlayPortOnANicWithoutSwitchdevIsRefusedByName) {
  HostModel model = Shipped("two-nics");
  model.nics[0].network = NetworkKind::kConverged;  // the one with representors
  Start(model);
  Controller controller(Host());
  controller.Apply(VmIn("red", 7, "a", 1));
  const v1::ObjectStatus refused = controller.WaitPort(
      "a-0", [](const auto& s) { return s.state() == v1::OBJECT_STATE_FAILED; });
  EXPECT_THAT(refused.reason(),
              HasSubstr("ens2 (igb) has no switchdev eswitch: it serves VLAN networks only"));
}

// A port that asks for the function of a MAC, in the storage network.
v1::Apply HotplugPort(const MacAddress& mac) {
  v1::Apply apply = VmIn("red", 7, "a", 1);
  v1::Port* port = apply.mutable_upsert(3)->mutable_port();
  port->set_function(v1::FUNCTION_SOURCE_HOTPLUG);
  port->set_network(v1::NETWORK_KIND_CONVERGED);
  port->set_mac(mac.ToString());
  return apply;
}

TEST_F(SimulationTest, AFunctionThatComesIsAttachedToTheVmThatWaitsForItAndGivenBack) {
  HostModel model = Shipped("gpu-host");
  FunctionModel& function = model.hotplug_ports.at(0).functions.at(0);
  function.after = std::chrono::minutes(10);
  const std::string pci = function.pci.ToString();
  const v1::Apply intents = HotplugPort(function.mac);
  Start(model, 1, true);
  {
    Controller controller(Host());
    controller.Apply(intents);
    const v1::ObjectStatus waits = controller.WaitPort("a-0", [](const auto& s) {
      return s.reason().find("waits for the function with MAC 94:6d:ae:00:02:00") !=
             std::string::npos;
    });
    EXPECT_EQ(waits.state(), v1::OBJECT_STATE_PENDING);
    EXPECT_FALSE(controller.Function(pci).has_value());
  }
  // It comes while the agent runs; an audit would see it too late.
  function.after = std::chrono::seconds(1);
  Start(model, 1, true);
  Controller controller(Host());
  controller.WaitReady(1);
  const v1::ObjectStatus ready = controller.Ports().at(0);
  EXPECT_EQ(ready.vf_pci(), pci);
  EXPECT_EQ(ready.guest_bus(), "fairlead0");
  EXPECT_EQ(ready.rules_wanted(), 0U);
  EXPECT_EQ(controller.Function(pci)->driver(), "vfio-pci");
  controller.Remove(intents);
  controller.WaitNoPorts();
  controller.ExpectEmpty();
  EXPECT_EQ(controller.Function(pci)->driver(), "virtio-pci");
  EXPECT_EQ(controller.Function(pci)->state(), "free");
}

TEST_F(SimulationTest, WithoutLatencyAFunctionIsThereFromTheStart) {
  const HostModel model = Shipped("gpu-host");
  const FunctionModel& function = model.hotplug_ports.at(0).functions.at(1);
  Start(model);
  Controller controller(Host());
  controller.WaitUntil("it is seen",
                       [&] { return controller.Function(function.pci.ToString()).has_value(); });
  controller.Apply(HotplugPort(function.mac));
  controller.WaitReady(1);
  EXPECT_EQ(controller.Ports().at(0).vf_pci(), function.pci.ToString());
}

}  // namespace
}  // namespace fairlead
