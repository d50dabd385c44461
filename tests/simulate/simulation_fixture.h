// SPDX-License-Identifier: Apache-2.0
//
// Purpose: whole agents on simulated hosts, and a controller of one of them, which knows it by its
// endpoint alone.
// Threading: the test's thread.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "agent/base/text.h"
#include "agent/ctl/yaml_objects.h"
#include "agent/simulate/simulation.h"
#include "agent/transport/client.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {

inline std::string Read(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

inline HostModel Shipped(const std::string& name) {
  return LoadHostModel(StrCat(FAIRLEAD_MODELS, "/", name, ".yaml")).value();
}

inline v1::Apply Intents(const std::string& path) {
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
  static constexpr std::chrono::seconds kPatience{30};
  static constexpr std::chrono::milliseconds kPoll{2};

  std::unique_ptr<Client> client_;
  int requests_ = 0;
};

// A VPC, a subnet, and a VM with ports in it, each with a MAC.
inline v1::Apply VmIn(const std::string& vpc, uint32_t vni, const std::string& vm, int number,
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

}  // namespace fairlead
