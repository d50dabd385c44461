// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the fixture of the tests that run the whole agent on the fakes: two
// VPCs with the same addresses.
//
// Threading: the test's thread. Ownership: the fixture owns the host.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent/base/text.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"
#include "tests/integration/fake_host.h"

namespace fairlead {

// Calls of the fake network that do not come back until they are let go, at the latest
// with this.
class Gate {
 public:
  Gate(FakeNetwork& network, std::string prefix)
      : network_(network), state_(std::make_shared<State>()) {
    network_.SetHook([state = state_, prefix = std::move(prefix)](std::string_view call) {
      if (!call.starts_with(prefix)) return;
      std::unique_lock lock(state->mutex);
      state->opened.wait(lock, [&] { return state->open; });
    });
  }
  ~Gate() { Open(); }
  void Open() {
    network_.SetHook(nullptr);
    const std::lock_guard lock(state_->mutex);
    state_->open = true;
    state_->opened.notify_all();
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable opened;
    bool open = false;
  };
  FakeNetwork& network_;
  std::shared_ptr<State> state_;
};

class AgentTest : public ::testing::Test {
 protected:
  // Before what a derived fixture has, which hooks may use.
  void TearDown() override {
    if (host) host->Stop();
    host.reset();
  }

  using Configure = std::function<void(DaemonConfig&)>;

  void Begin(FakeHostOptions options = {}, const Configure& configure = nullptr) {
    host = std::make_unique<FakeHost>(options);
    if (configure) configure(host->config);
    host->Start();
    host->MakeVpc("red", 1000, "10.0.0.0/24");
    host->MakeVpc("blue", 2000, "10.0.0.0/24");
  }
  // The pool is made at the start; what an attach leaves is compared with this.
  std::string Quiet() {
    host->WaitUntil("every PF has its VFs", [this] { return host->HasItsVfs(); });
    return host->Leftovers();
  }

  // A VM whose port "<vm>-<vpc>" is ready.
  std::shared_ptr<FakeVm> Attached(const std::string& vm, const std::string& vpc,
                                   const std::string& address) {
    std::shared_ptr<FakeVm> added = host->AddVm(vm);
    host->Attach(vm, vpc, address);
    host->WaitReady(StrCat(vm, "-", vpc));
    return added;
  }
  // The same in one of several subnets of "red".
  void AttachIn(const std::string& vm, const std::string& subnet, const std::string& address) {
    host->AddVm(vm);
    v1::Request request = host->AddVmRequest(vm, "red", address);
    request.mutable_add_vm_to_vpc()->set_subnet(subnet);
    ASSERT_TRUE(host->Send(request).has_accepted());
    host->WaitReady(StrCat(vm, "-red"));
  }
  // VMs "a" and "b" in "red", ready, on VFs 0 and 1 of a host with one PF.
  struct TwoVms {
    std::shared_ptr<FakeVm> a, b;
  };
  TwoVms TwoAttached() {
    TwoVms vms;
    vms.a = Attached("a", "red", "10.0.0.5");
    vms.b = Attached("b", "red", "10.0.0.6");
    return vms;
  }

  // For attaches that fail: VM "z" is ready in "blue", on VF 0. What the host shows
  // then, its tunnel included, is what a failure must leave.
  std::string BeginBesideAnother(FakeHostOptions options = {},
                                 const Configure& configure = nullptr) {
    Begin(options, configure);
    Quiet();
    Attached("z", "blue", "10.0.0.9");
    other_rules_ = Block(2000);
    return host->Leftovers();
  }
  void ExpectAsBefore(const std::string& before) {
    EXPECT_EQ(host->Leftovers(), before);
    EXPECT_EQ(Block(2000), other_rules_) << "the other VM's rules are as they were";
    const auto other = host->PortStatus("z-blue");
    ASSERT_TRUE(other);
    EXPECT_EQ(other->state(), v1::OBJECT_STATE_READY) << other->ShortDebugString();
  }
  // That `change` of a ready port gives the VM its device anew: the dry run says so, and no
  // MAC is set while the VM has the old one. A running guest is not told of another.
  v1::ObjectStatus ExpectAttachedAnew(const v1::Request& change, FakeVm& vm,
                                      const std::string& port) {
    const std::optional<v1::ObjectStatus> old = host->PortStatus(port);
    v1::Request dry = change;
    dry.set_dry_run(true);
    const v1::Reply plan = host->Send(dry);
    std::vector<std::string> steps;
    for (const v1::Plan::Step& step : plan.plan().steps()) {
      if (step.resource().starts_with("guest-device/")) steps.push_back(step.verb());
    }
    EXPECT_THAT(steps, ::testing::ElementsAre("delete", "create")) << plan.ShortDebugString();
    EXPECT_EQ(plan.plan().blocked_size(), 0) << plan.ShortDebugString();
    std::atomic<bool> under_a_guest = false;
    host->network->SetHook([&](std::string_view call) {
      if (call.starts_with("SetVfMac(") && vm.Find(old->guest_device())) under_a_guest = true;
    });
    const v1::Reply reply = host->Send(change);
    EXPECT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
    const auto anew = host->WaitPort(port, [&](const auto& s) {
      return s && s->state() == v1::OBJECT_STATE_READY && s->lease() != old->lease();
    });
    host->network->SetHook(nullptr);
    EXPECT_FALSE(under_a_guest);
    EXPECT_EQ(vm.Calls(QmpMethod::kRequestRemoval), 1);
    return anew.value_or(v1::ObjectStatus());
  }
  // After the last port: the host's tunnel goes a moment later.
  void WaitNothingLeft(const std::string& before) {
    host->WaitUntil("nothing is left", [&] { return host->Leftovers() == before; });
    EXPECT_EQ(host->Leftovers(), before);
  }
  // No second attempt while the test looks at what the first one left.
  static void TryOnce(DaemonConfig& config) {
    config.engine.retry_first = config.engine.retry_most = std::chrono::hours(1);
  }

  // --- Requests.
  static void FillEndpoint(v1::Apply& apply, const std::string& id, const std::string& vpc,
                           const std::string& mac, const std::string& address,
                           const std::string& vtep) {
    v1::Endpoint* e = apply.add_upsert()->mutable_endpoint();
    e->set_id(id);
    e->set_vpc(vpc);
    e->set_mac(mac);
    e->add_addresses(address);
    e->set_vtep(vtep);
  }
  // In "<vpc>-1". VM "": of none.
  static v1::Port* FillPort(v1::Apply& apply, const std::string& id, const std::string& vm,
                            const std::string& vpc) {
    v1::Port* port = apply.add_upsert()->mutable_port();
    port->set_id(id);
    port->set_vm(vm);
    port->set_vpc(vpc);
    port->set_subnet(vpc + "-1");
    return port;
  }
  static void FillRemove(v1::Apply& apply, v1::ObjectKind kind, const std::string& id) {
    v1::ObjectRef* ref = apply.add_remove();
    ref->set_kind(kind);
    ref->set_id(id);
  }
  // "red-2" beside "red-1", "10.0.1.0/24"; with a gateway or without.
  void PutSecondSubnet(const std::string& gateway) {
    ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                      v1::Subnet* subnet = apply.add_upsert()->mutable_subnet();
                      subnet->set_id("red-2");
                      subnet->set_vpc("red");
                      subnet->add_prefixes("10.0.1.0/24");
                      if (!gateway.empty()) subnet->add_gateways(gateway);
                    })
                    .has_accepted());
  }
  v1::ObjectStatus EndpointStatus(const std::string& id) {
    return host->Status(v1::OBJECT_KIND_ENDPOINT, id).value_or(v1::ObjectStatus());
  }
  void WaitDoesNotLetGo(const std::string& port) {
    host->WaitPort(port, [](const auto& s) {
      return s && s->reason().find("does not let go") != std::string::npos;
    });
  }

  // --- What the fakes show.
  static constexpr uint32_t BlockIndex(uint32_t vni) { return 0x46000000U | vni; }
  std::vector<TcFilter> Block(uint32_t vni) { return host->network->Filters({BlockIndex(vni), 0}); }
  // Whether any rule of the block sends to this link.
  bool Reaches(uint32_t vni, uint32_t ifindex) {
    for (const TcFilter& filter : Block(vni)) {
      for (const TcAction& action : filter.actions) {
        const auto* mirred = std::get_if<TcMirred>(&action);
        if (mirred != nullptr && mirred->ifindex == ifindex) return true;
      }
    }
    return false;
  }
  void ExpectOnlyDrops(uint32_t vni) {
    for (const TcFilter& filter : Block(vni)) {
      for (const TcAction& action : filter.actions) {
        const auto* verdict = std::get_if<TcGact>(&action);
        EXPECT_TRUE(verdict != nullptr && verdict->verdict == TcGact::Verdict::kDrop)
            << "chain " << filter.id.chain << " prio " << filter.id.priority;
      }
    }
  }
  bool LinkUp(uint32_t ifindex) {
    FakeRtnetlinkPort links(host->network);
    const absl::StatusOr<LinkInfo> link = links.GetLink(ifindex);
    return link.ok() && link->up;
  }
  // That nothing was made, changed or taken away since the network's ClearCalls.
  void ExpectNetworkUntouched() {
    for (const std::string& call : host->network->Calls()) {
      for (const char* verb : {"Put", "Delete", "Set", "Add", "Create"}) {
        EXPECT_THAT(call, ::testing::Not(::testing::StartsWith(verb)));
      }
    }
  }
  int PciWrites() {
    int writes = 0;
    for (const SysfsMethod method :
         {SysfsMethod::kSetNumVfs, SysfsMethod::kSetAutoprobe, SysfsMethod::kSetDriverOverride,
          SysfsMethod::kProbe, SysfsMethod::kUnbind, SysfsMethod::kReset,
          SysfsMethod::kSetVfioNode}) {
      writes += host->pci.Calls(method);
    }
    return writes;
  }

  std::unique_ptr<FakeHost> host;

 private:
  std::vector<TcFilter> other_rules_;
};

}  // namespace fairlead
