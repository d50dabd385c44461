// SPDX-License-Identifier: Apache-2.0
//
// Whole agents on simulated hosts, as a controller meets them: by their endpoints alone.
#include "agent/simulate/simulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "absl/strings/str_format.h"
#include "agent/base/text.h"
#include "agent/ctl/yaml_objects.h"
#include "agent/transport/client.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::milliseconds kPoll{2};

std::string Read(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

HostModel Shipped(const std::string& name) {
  return LoadHostModel(StrCat(FAIRLEAD_MODELS, "/", name, ".yaml")).value();
}

v1::Apply Intents(const std::string& path) {
  v1::Apply apply;
  for (const YamlProblem& problem : ReadObjects(Read(path), &apply)) {
    ADD_FAILURE() << path << ":" << problem.line << ": " << problem.text;
  }
  return apply;
}

// As a controller of one host.
class Controller {
 public:
  explicit Controller(const Simulation::Host& host)
      : client_(Client::Connect(host.requests).value()) {}

  v1::Reply Send(v1::Request request) {
    request.set_protocol_version(1);
    request.set_request_id(StrCat("r", ++requests_));
    request.set_controller_id("test");
    v1::Reply reply;
    const absl::StatusOr<std::string> answer =
        client_->Call(request.SerializeAsString(), kPatience);
    EXPECT_TRUE(answer.ok()) << answer.status();
    EXPECT_TRUE(answer.ok() && reply.ParseFromString(*answer));
    return reply;
  }
  void Apply(const v1::Apply& apply) {
    v1::Request request;
    *request.mutable_apply() = apply;
    const v1::Reply reply = Send(std::move(request));
    ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
  }
  void Remove(const v1::Apply& upserted) {
    v1::Apply apply;
    for (const v1::Object& object : upserted.upsert()) {
      v1::ObjectRef* ref = apply.add_remove();
      if (object.has_vpc()) {
        ref->set_kind(v1::OBJECT_KIND_VPC);
        ref->set_id(object.vpc().id());
      } else if (object.has_subnet()) {
        ref->set_kind(v1::OBJECT_KIND_SUBNET);
        ref->set_id(object.subnet().id());
      } else if (object.has_vm()) {
        ref->set_kind(v1::OBJECT_KIND_VM);
        ref->set_id(object.vm().id());
      } else if (object.has_port()) {
        ref->set_kind(v1::OBJECT_KIND_PORT);
        ref->set_id(object.port().id());
      } else {
        ref->set_kind(v1::OBJECT_KIND_ENDPOINT);
        ref->set_id(object.endpoint().id());
      }
    }
    Apply(apply);
  }
  std::vector<v1::ObjectStatus> Status(v1::ObjectKind kind, const std::string& id = "") {
    v1::Request request;
    request.mutable_get()->set_kind(kind);
    request.mutable_get()->set_id(id);
    std::vector<v1::ObjectStatus> all;
    const v1::Reply reply = Send(std::move(request));
    for (const auto& object : reply.get().objects()) {
      all.push_back(object.status());
    }
    return all;
  }
  std::vector<v1::ObjectStatus> Ports() { return Status(v1::OBJECT_KIND_PORT); }
  v1::HostState Host() {
    v1::Request request;
    request.mutable_get_host();
    return Send(std::move(request)).host();
  }
  int CountRules() {
    v1::Request request;
    request.mutable_list_rules();
    return Send(std::move(request)).rules().rules_size();
  }
  // Without hot-plug ports.
  std::vector<v1::HostState::Pf> Nics() {
    std::vector<v1::HostState::Pf> nics;
    const v1::HostState host = Host();
    std::copy_if(host.pfs().begin(), host.pfs().end(), std::back_inserter(nics),
                 [](const v1::HostState::Pf& pf) { return pf.hotplug().empty(); });
    return nics;
  }
  // That hot-plug has brought.
  std::optional<v1::HostState::Vf> Function(const std::string& pci) {
    const v1::HostState host = Host();
    for (const v1::HostState::Pf& pf : host.pfs()) {
      for (const v1::HostState::Vf& vf : pf.vfs()) {
        if (!pf.hotplug().empty() && vf.pci() == pci) return vf;
      }
    }
    return std::nullopt;
  }

  void WaitUntil(const std::string& what, const std::function<bool()>& done) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!done()) {
      if (std::chrono::steady_clock::now() < until) {
        std::this_thread::sleep_for(kPoll);
        continue;
      }
      ADD_FAILURE() << "it did not come to this: " << what;
      for (const v1::ObjectStatus& port : Ports()) std::cout << port.ShortDebugString() << "\n";
      return;
    }
  }
  void WaitPools() {
    WaitUntil("every PF has its VFs", [this] {
      const std::vector<v1::HostState::Pf> nics = Nics();
      return !nics.empty() && std::all_of(nics.begin(), nics.end(),
                                          [](const auto& pf) { return pf.vfs_size() > 0; });
    });
  }
  void WaitReady(size_t ports) {
    WaitUntil(StrCat(ports, " ports are ready"), [this, ports] {
      const std::vector<v1::ObjectStatus> all = Ports();
      size_t ready = 0;
      for (const auto& port : all) ready += port.state() == v1::OBJECT_STATE_READY;
      return ready == ports && all.size() == ports;
    });
  }
  void WaitNoPorts() {
    WaitUntil("all ports are gone", [this] { return Ports().empty(); });
  }
  v1::ObjectStatus WaitPort(const std::string& id,
                            const std::function<bool(const v1::ObjectStatus&)>& done) {
    v1::ObjectStatus last;
    WaitUntil(id, [&] {
      const std::vector<v1::ObjectStatus> found = Status(v1::OBJECT_KIND_PORT, id);
      if (!found.empty()) last = found[0];
      return !found.empty() && done(last);
    });
    return last;
  }
  // That no VF is leased, no rule stands, and no object is left.
  void ExpectEmpty() {
    const v1::HostState host = Host();
    for (const auto& pf : host.pfs()) {
      for (const auto& vf : pf.vfs()) {
        EXPECT_NE(vf.state(), "leased") << vf.ShortDebugString();
        EXPECT_NE(vf.driver(), "vfio-pci") << vf.ShortDebugString();
      }
    }
    EXPECT_EQ(host.objects_total(), 0U);
  }

 private:
  std::unique_ptr<Client> client_;
  int requests_ = 0;
};

// A VPC, a subnet, and a VM with ports in it, each with a MAC.
v1::Apply VmIn(const std::string& vpc, uint32_t vni, const std::string& vm, int number,
               int ports = 1) {
  v1::Apply apply;
  v1::Vpc* v = apply.add_upsert()->mutable_vpc();
  v->set_id(vpc);
  v->set_vni(vni);
  v1::Subnet* s = apply.add_upsert()->mutable_subnet();
  s->set_id(StrCat(vpc, "-1"));
  s->set_vpc(vpc);
  s->add_prefixes("10.0.0.0/16");
  v1::Vm* m = apply.add_upsert()->mutable_vm();
  m->set_id(vm);
  m->set_uuid(absl::StrFormat("00000000-0000-4000-8000-%012x", number));
  for (int i = 0; i < ports; ++i) {
    v1::Port* p = apply.add_upsert()->mutable_port();
    p->set_id(StrCat(vm, "-", i));
    p->set_vm(vm);
    p->set_vpc(vpc);
    p->set_subnet(StrCat(vpc, "-1"));
    p->set_mac(absl::StrFormat("52:54:00:0a:%02x:%02x", number, i));
    p->add_addresses(absl::StrFormat("10.0.%d.%d", number, 10 + i));
  }
  return apply;
}

class SimulationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fairlead-sim-test-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  void TearDown() override {
    simulation_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  absl::Status TryStart(const HostModel& model, uint32_t hosts = 1, bool latency = false) {
    simulation_.reset();
    absl::StatusOr<std::unique_ptr<Simulation>> started =
        Simulation::Start(model, {folder_, hosts, latency});
    if (started.ok()) simulation_ = *std::move(started);
    return started.status();
  }
  void Start(const HostModel& model, uint32_t hosts = 1, bool latency = false) {
    const absl::Status status = TryStart(model, hosts, latency);
    ASSERT_TRUE(status.ok()) << status;
  }
  const Simulation::Host& Host(size_t i = 0) { return simulation_->hosts().at(i); }

  // How long `work` took. For people: it decides nothing.
  int64_t Timed(const std::string& what, const std::function<void()>& work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const int64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                           std::chrono::steady_clock::now() - begin)
                           .count();
    std::cout << "[   TIME   ] " << what << ": " << ms << " ms\n";
    return ms;
  }

  std::string folder_;
  std::unique_ptr<Simulation> simulation_;
};

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
