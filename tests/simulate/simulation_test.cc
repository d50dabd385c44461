// SPDX-License-Identifier: Apache-2.0
//
// Whole agents on simulated hosts: VMs, hosts, what they share, and where they keep what is theirs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <set>

#include "tests/simulate/simulation_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

TEST_F(SimulationTest, AVmWithTenNicsComesByOneMessageAndGoesByOne) {
  const v1::Apply intents = Intents(StrCat(FAIRLEAD_MODELS, "/vm-ten-nics.yaml"));
  Start(Shipped("gpu-host"));
  Controller controller(Host());
  controller.WaitPools();
  Timed("attach of 10 ports", [&] {
    controller.Apply(intents);
    controller.WaitReady(10);
  });
  std::set<std::string> pfs, root_ports;
  for (const v1::ObjectStatus& port : controller.Ports()) {
    EXPECT_GT(port.rules_wanted(), 0U);
    EXPECT_EQ(port.rules_observed(), port.rules_wanted());
    pfs.insert(port.vf().substr(0, port.vf().find('/')));
    root_ports.insert(port.guest_bus());
  }
  EXPECT_EQ(pfs.size(), 10U) << "one VF of each NIC";
  EXPECT_EQ(root_ports.size(), 10U);
  const std::vector<v1::ObjectStatus> peer =
      controller.Status(v1::OBJECT_KIND_ENDPOINT, "peer-gpu0");
  ASSERT_EQ(peer.size(), 1U);
  EXPECT_EQ(peer[0].state(), v1::OBJECT_STATE_READY) << peer[0].ShortDebugString();
  Timed("detach of 10 ports", [&] {
    controller.Remove(intents);
    controller.WaitNoPorts();
  });
  controller.WaitUntil("nothing is left", [&] { return controller.CountRules() == 0; });
  controller.ExpectEmpty();
}

TEST_F(SimulationTest, SixtyFourVmsComeAndGoInTurn) {
  Start(Shipped("gpu-host"));
  Controller controller(Host());
  controller.WaitPools();
  Timed("64 VMs in turn, attached and detached", [&] {
    for (int i = 0; i < 64 && !HasFailure(); ++i) {
      const v1::Apply vm = VmIn("red", 7, StrCat("vm", i), i);
      controller.Apply(vm);
      controller.WaitReady(1);
      controller.Remove(vm);
      controller.WaitNoPorts();
    }
  });
  controller.WaitUntil("nothing is left", [&] { return controller.CountRules() == 0; });
  controller.ExpectEmpty();
}

TEST_F(SimulationTest, SixtyFourVmsAreThereAtOnce) {
  Start(Shipped("gpu-host"));
  Controller controller(Host());
  controller.WaitPools();
  Timed("64 VMs at once", [&] {
    for (int i = 0; i < 64 && !HasFailure(); ++i) {
      controller.Apply(VmIn("red", 7, StrCat("vm", i), i));
    }
    controller.WaitReady(64);
  });
}

TEST_F(SimulationTest, FourHostsShareNothingButTheProcess) {
  Start(Shipped("gpu-host"), 4);
  std::set<std::string> tunnels, pfs;
  size_t all_pfs = 0;
  std::vector<std::unique_ptr<Controller>> controllers;
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(Host(i).name, StrCat("gpu-host-", i));
    tunnels.insert(Host(i).tunnel);
    controllers.push_back(std::make_unique<Controller>(Host(i)));
    controllers[i]->WaitPools();
    const std::vector<v1::HostState::Pf> nics = controllers[i]->Nics();
    for (const auto& pf : nics) pfs.insert(pf.mac());
    all_pfs += nics.size();
  }
  EXPECT_EQ(tunnels.size(), 4U);
  EXPECT_EQ(pfs.size(), all_pfs);
  // The same names, UUIDs, MACs and addresses on each; and each knows the next host's.
  for (size_t i = 0; i < 4; ++i) {
    v1::Apply apply = VmIn("red", 7, "a", 1);
    v1::Endpoint* other = apply.add_upsert()->mutable_endpoint();
    other->set_id("next");
    other->set_vpc("red");
    other->set_mac("52:54:00:0b:00:01");
    other->add_addresses("10.0.9.9");
    other->set_vtep(Host((i + 1) % 4).tunnel);
    controllers[i]->Apply(apply);
  }
  for (const auto& controller : controllers) {
    controller->WaitReady(1);
    controller->WaitUntil("the next host resolves", [&] {
      return controller->Status(v1::OBJECT_KIND_ENDPOINT, "next").at(0).state() ==
             v1::OBJECT_STATE_READY;
    });
  }
  v1::Apply gone = VmIn("red", 7, "a", 1);
  gone.add_upsert()->mutable_endpoint()->set_id("next");
  controllers[0]->Remove(gone);
  controllers[0]->WaitNoPorts();
  for (size_t i = 1; i < 4; ++i) {
    const std::vector<v1::ObjectStatus> ports = controllers[i]->Ports();
    ASSERT_EQ(ports.size(), 1U);
    EXPECT_EQ(ports[0].state(), v1::OBJECT_STATE_READY);
  }
}

TEST_F(SimulationTest, TheExamplesOfARealHostRunAsTheyAre) {
  Start(Shipped("two-nics"));
  Controller controller(Host());
  controller.Apply(Intents(StrCat(FAIRLEAD_EXAMPLES, "/network.yaml")));
  controller.Apply(Intents(StrCat(FAIRLEAD_EXAMPLES, "/vm.yaml")));
  controller.Apply(Intents(StrCat(FAIRLEAD_EXAMPLES, "/vlan.yaml")));
  controller.WaitReady(2);
}

// What a store holds comes back with the next start, as after a reboot of the host, whose
// NICs are in the mode after boot again.
TEST_F(SimulationTest, AnotherRunTakesUpWhatTheStoreHolds) {
  Start(Shipped("gpu-host"));
  Controller before(Host());
  before.Apply(VmIn("red", 7, "a", 1, 3));
  before.WaitReady(3);
  Start(Shipped("gpu-host"));
  Controller controller(Host());
  controller.WaitReady(3);
  EXPECT_THAT(Read(StrCat(Host().folder, "/fairleadd.yaml")), HasSubstr("94:6d:ae:00:00:01"));
}

TEST_F(SimulationTest, OnlyPeersInTheNetworksOfTheModelAnswer) {
  HostModel model = Shipped("two-nics");
  model.answering = {IpPrefix::Parse("192.0.2.8/29").value()};
  Start(model);
  Controller controller(Host());
  v1::Apply apply = VmIn("red", 7, "a", 1);
  apply.mutable_upsert(3)->mutable_port()->clear_mac();
  for (int i = 0; i < 2; ++i) {
    v1::Endpoint* e = apply.add_upsert()->mutable_endpoint();
    e->set_id(i == 0 ? "there" : "silent");
    e->set_vpc("red");
    e->set_mac(StrCat("52:54:00:0b:00:0", i));
    e->add_addresses(StrCat("10.0.9.", 1 + i));
    e->set_vtep(i == 0 ? "192.0.2.9" : "192.0.2.77");
  }
  controller.Apply(apply);
  const auto state = [&](const char* id) {
    return controller.Status(v1::OBJECT_KIND_ENDPOINT, id).at(0).state();
  };
  controller.WaitUntil("one answers", [&] { return state("there") == v1::OBJECT_STATE_READY; });
  controller.WaitUntil("one does not",
                       [&] { return state("silent") == v1::OBJECT_STATE_DEGRADED; });
}

TEST_F(SimulationTest, LatenciesDelayAndChangeNothingElse) {
  HostModel model = Shipped("gpu-host");
  using std::chrono::microseconds;
  using std::chrono::milliseconds;
  model.latency = {.sriov_numvfs = milliseconds(20),
                   .eswitch = milliseconds(5),
                   .bind = milliseconds(2),
                   .unbind = milliseconds(2),
                   .reset = milliseconds(2),
                   .device_add = milliseconds(5),
                   .device_del = milliseconds(5),
                   .rule = microseconds(50),
                   .netlink = microseconds(10)};
  Start(model, 1, true);
  Controller controller(Host());
  controller.WaitPools();
  const v1::Apply vm = VmIn("red", 7, "a", 1, 4);
  Timed("attach of 4 ports with small latencies", [&] {
    controller.Apply(vm);
    controller.WaitReady(4);
  });
  controller.Remove(vm);
  controller.WaitNoPorts();
  controller.ExpectEmpty();
}

// It would be waited for until the test is killed.
TEST_F(SimulationTest, TheEndDoesNotWaitForALatency) {
  HostModel model = Shipped("gpu-host");
  model.latency.sriov_numvfs = std::chrono::minutes(10);
  Start(model, 1, true);
  Controller controller(Host());
  controller.WaitUntil("a PF's lane is at it", [&] {
    const v1::HostState host = controller.Host();
    for (const auto& lane : host.lanes()) {
      if (lane.name().starts_with("pf ") && lane.running_ms() > 20) return true;
    }
    return false;
  });
  simulation_.reset();
}

TEST_F(SimulationTest, WhatTheHardwareDoesNotTakeFailsWithItsWords) {
  HostModel model = Shipped("gpu-host");
  model.rules_per_table = 2;
  Start(model);
  Controller controller(Host());
  controller.WaitPools();
  controller.Apply(VmIn("red", 7, "a", 1));
  const v1::ObjectStatus status = controller.WaitPort("a-0", [](const auto& s) {
    return s.reason().find("The table is full") != std::string::npos;
  });
  EXPECT_NE(status.state(), v1::OBJECT_STATE_READY);
}

TEST_F(SimulationTest, AVmHasNoMoreNicsThanRootPorts) {
  HostModel model = Shipped("gpu-host");
  model.on_demand_root_ports = 2;
  Start(model);
  Controller controller(Host());
  controller.WaitPools();
  controller.Apply(VmIn("red", 7, "a", 1, 3));
  controller.WaitUntil("one is refused", [&] {
    size_t ready = 0, refused = 0;
    for (const v1::ObjectStatus& port : controller.Ports()) {
      ready += port.state() == v1::OBJECT_STATE_READY;
      refused += port.reason().find("no free root port") != std::string::npos;
    }
    return ready == 2 && refused == 1;
  });
}

TEST_F(SimulationTest, AListedVmHasItsOwnUuidAndOthersAreNotThere) {
  HostModel model = Shipped("gpu-host");
  model.on_demand_root_ports.reset();
  model.vms = {{"a", Uuid::Parse("00000000-0000-4000-8000-0000000000ff").value(), 2}};
  Start(model);
  Controller controller(Host());
  controller.WaitPools();
  controller.Apply(VmIn("red", 7, "a", 1));
  controller.Apply(VmIn("red", 7, "b", 2));
  controller.WaitPort("a-0", [](const auto& s) {
    return s.reason().find("has the UUID 00000000-0000-4000-8000-0000000000ff") !=
           std::string::npos;
  });
  controller.WaitPort("b-0", [](const auto& s) {
    return s.reason().find("is the VM running") != std::string::npos;
  });
}

TEST_F(SimulationTest, SeveralHostsCannotHaveOneEndpoint) {
  std::string text = Read(StrCat(FAIRLEAD_MODELS, "/two-nics.yaml"));
  StrAppend(&text, "config: {endpoint: {requests: \"ipc://", folder_, "/x.sock\"}}\n");
  const absl::StatusOr<HostModel> model = ParseHostModel(text);
  ASSERT_TRUE(model.ok()) << model.status();
  Start(*model);
  EXPECT_EQ(Host().requests, StrCat("ipc://", folder_, "/x.sock"));
  const absl::Status status = TryStart(*model, 2);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("x.sock"));
  EXPECT_EQ(SimulatedHosts(*model, {folder_, 2}).status(), status) << "what --check says";
}

TEST_F(SimulationTest, TheHostsThatWouldRunAreKnownBeforeAnythingIsMade) {
  const std::string folder = StrCat(folder_, "/not-made");
  const auto hosts = SimulatedHosts(Shipped("gpu-host"), {folder, 3});
  ASSERT_TRUE(hosts.ok()) << hosts.status();
  ASSERT_EQ(hosts->size(), 3U);
  EXPECT_EQ(hosts->at(2).name, "gpu-host-2");
  EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST_F(SimulationTest, ARunFolderThatOthersMayWriteIsRefused) {
  ASSERT_EQ(::chmod(folder_.c_str(), 0777), 0);
  const absl::Status status = TryStart(Shipped("two-nics"));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder_));
}

TEST_F(SimulationTest, AStoreOutsideOfTheRunFolderIsRefusedWithItsLine) {
  const auto with = [](const std::string& state_dir) {
    return ParseHostModel(StrCat("name: h\nnics:\n  - {netdev: n0, mac: 52:54:00:00:00:01, pci: "
                                 "\"0000:01:00.0\", total_vfs: 1, vfs: 1}\n"
                                 "vms: {on_demand: {root_ports: 1}}\n"
                                 "config:\n  tunnel: {local: 192.0.2.1}\n  state_dir: ",
                                 state_dir, "\n"))
        .value();
  };
  for (const std::string& outside :
       {StrCat(folder_, "-beside"), StrCat(folder_, "/../x"), folder_}) {
    const auto simulation = Simulation::Start(with(outside), {folder_});
    ASSERT_FALSE(simulation.ok()) << outside;
    EXPECT_EQ(simulation.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(simulation.status().message()), HasSubstr("line 7: config.state_dir"));
  }
  EXPECT_FALSE(std::filesystem::exists(StrCat(folder_, "-beside")));
  EXPECT_TRUE(Simulation::Start(with(StrCat(folder_, "/kept/store")), {folder_}).ok());
}

TEST_F(SimulationTest, ASecondRunInTheSameFolderIsRefused) {
  Start(Shipped("two-nics"));
  const absl::StatusOr<std::unique_ptr<Simulation>> second =
      Simulation::Start(Shipped("two-nics"), {folder_});
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("simulated host two-nics"));
  Controller(Host()).WaitPools();
}

TEST_F(SimulationTest, TheFolderOfAHostIsForItsOwnerAlone) {
  const std::string below = StrCat(folder_, "/below/it");
  simulation_ = Simulation::Start(Shipped("two-nics"), {below}).value();
  for (const std::string& path : {below, Host().folder, StrCat(Host().folder, "/store")}) {
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0) << path;
    EXPECT_EQ(info.st_mode & 0777, 0700U) << path;
  }
}

}  // namespace
}  // namespace fairlead
