// SPDX-License-Identifier: Apache-2.0
#include "tests/sweep/scenarios.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

v1::Request Attach(SteppedHost& host) { return host.AddVmRequest("a", "red", "10.0.0.5"); }
// Where VFs have no MAC of their own.
v1::Request AttachWithMac(SteppedHost& host) {
  v1::Request request = Attach(host);
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:aa:01");
  return request;
}
// Where devlink shows rates.
v1::Request AttachWithRates(SteppedHost& host) {
  v1::Request request = Attach(host);
  request.mutable_add_vm_to_vpc()->set_max_tx_mbps(500);
  request.mutable_add_vm_to_vpc()->set_min_tx_mbps(100);
  return request;
}
v1::Request Detach(SteppedHost&) {
  v1::Request request;
  request.mutable_remove_vm_from_vpc()->set_vm("a");
  request.mutable_remove_vm_from_vpc()->set_vpc("red");
  return request;
}

// The port as an object: to where it is to be.
v1::Request PortIn(const std::string& vm, const std::string& vpc) {
  v1::Request request;
  v1::Port* port = request.mutable_apply()->add_upsert()->mutable_port();
  port->set_id(kSweptPort);
  port->set_vm(vm);
  port->set_vpc(vpc);
  port->set_subnet(vpc + "-1");
  port->add_addresses("10.0.0.5");
  return request;
}
v1::Request ToAnotherVm(SteppedHost&) { return PortIn("b", "red"); }
v1::Request ToAnotherVpc(SteppedHost&) { return PortIn("a", "blue"); }

// Which may be there already.
void Vm(SteppedHost& host, const std::string& id) {
  if (!host.vms().contains(id)) host.AddVm(id);
}
void Overlay(SteppedHost& host) {
  host.MakeVpc("red", 1000, "10.0.0.0/24");
  Vm(host, "a");
}
void OverlayWithNeighbour(SteppedHost& host) {
  Overlay(host);
  Vm(host, "b");
  host.Attach("b", "red", "10.0.0.6");
}
void TwoVpcs(SteppedHost& host) {
  Overlay(host);
  host.MakeVpc("blue", 2000, "10.0.0.0/24");
  v1::Request b;
  v1::Vm* vm = b.mutable_apply()->add_upsert()->mutable_vm();
  vm->set_id("b");
  vm->set_uuid(FakeMachine::UuidOf("b"));
  EXPECT_TRUE(host.Send(b).has_accepted());
  Vm(host, "b");
}
void Vlan(SteppedHost& host) {
  host.MakeVlan("red", 100, "10.0.0.0/24");
  Vm(host, "a");
}
void Flat(SteppedHost& host) {
  host.MakeFlat("red", "10.0.0.0/24");
  Vm(host, "a");
}
constexpr PciAddress kFunction{0, 0x20, 0, 0};
// A function that a DPU brought, at the machine's hot-plug port.
void FunctionThere(SteppedHost& host) {
  Overlay(host);
  LinkInfo link;
  link.name = "hot0";
  link.ifindex = 500;
  link.mac = *MacAddress::Parse("52:54:00:00:04:00");
  host.network->AddLink(link);
  FakeFunctionOptions function;
  function.address = kFunction;
  function.netdev = link.name;
  host.pci.Plug(FakeMachine::kHotplugPort, function);
  host.uevents.Emit("add", "/devices/pci0000:00/0000:00:1c.0/0000:20:00.0", "pci");
}
v1::Request AttachFunction(SteppedHost& host) {
  v1::Request request = Attach(host);
  request.mutable_add_vm_to_vpc()->set_function(v1::FUNCTION_SOURCE_HOTPLUG);
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:04:00");
  return request;
}
std::function<void(SteppedHost&)> Then(void (*prepare)(SteppedHost&),
                                       v1::Request (*request)(SteppedHost&)) {
  return [=](SteppedHost& host) {
    prepare(host);
    const v1::Reply reply = host.Send(request(host));
    EXPECT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
  };
}

// Which it gives back dirty.
void VlanOnAVfWithoutReset(SteppedHost& host) {
  Then(Vlan, AttachWithMac)(host);
  EXPECT_TRUE(host.Settle());
  host.pci.SetResetFails(host.VfAddress(0), SystemError(EINVAL, "reset", "never"));
}
// And it could be cleaned now.
void Quarantine(SteppedHost& host) {
  VlanOnAVfWithoutReset(host);
  EXPECT_TRUE(host.Send(Detach(host)).has_accepted());
  EXPECT_TRUE(host.Settle());
  EXPECT_EQ(host.Host().pfs(0).vfs(0).state(), "quarantined");
  host.pci.SetResetFails(host.VfAddress(0), absl::OkStatus());
}
v1::Request ReleaseIt(SteppedHost&) {
  v1::Request request;
  request.mutable_release_vf()->set_vf(FakeMachine::VfName(0));
  return request;
}

// The port's store is lost, and its controller has sent it again; or nothing but its VM.
std::function<void(SteppedHost&)> LostStore(void (*prepare)(SteppedHost&),
                                            v1::Request (*request)(SteppedHost&), bool again) {
  return [=](SteppedHost& host) {
    Then(prepare, request)(host);
    EXPECT_TRUE(host.Settle());
    EXPECT_EQ(host.PortStatus(kSweptPort)->state(), v1::OBJECT_STATE_READY);
    host.LoseStore();
    host.Start();
    EXPECT_TRUE(host.Settle());
    if (again) return Then(prepare, request)(host);
    v1::Request vm;
    vm.mutable_apply()->add_upsert()->mutable_vm()->set_id("a");
    vm.mutable_apply()->mutable_upsert(0)->mutable_vm()->set_uuid(FakeMachine::UuidOf("a"));
    EXPECT_TRUE(host.Send(vm).has_accepted());
  };
}
v1::Request TakeOver(SteppedHost& host, v1::TakeOver::Mode mode) {
  v1::Request request;
  request.mutable_take_over()->set_mode(mode);
  request.mutable_take_over()->set_store_id(host.StoreId(/*ago=*/1));
  return request;
}
v1::Request Adopt(SteppedHost& host) { return TakeOver(host, v1::TakeOver::MODE_ADOPT); }
v1::Request Purge(SteppedHost& host) { return TakeOver(host, v1::TakeOver::MODE_PURGE); }

const FakeMachineOptions kSwitchdev{.offload_capable = true, .eswitch = EswitchMode::kSwitchdev};

}  // namespace

void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }

std::vector<Scenario> Attaches() {
  return {{"Attach", {}, Overlay, Attach, true},
          {"AttachBesideAnother", {}, OverlayWithNeighbour, Attach, true},
          {"AttachWithMac", {.can_set_vf_mac = true}, Overlay, AttachWithMac, true},
          {"AttachSwitchdev", kSwitchdev, Overlay, AttachWithRates, true},
          {"AttachVlan", {.first_igb = 0}, Vlan, AttachWithMac, true},
          {"AttachVlanByUplink", {}, Vlan, Attach, true}};
}

std::vector<Scenario> Detaches() {
  return {{"Detach", {}, Then(Overlay, Attach), Detach, false},
          {"DetachBesideAnother", {}, Then(OverlayWithNeighbour, Attach), Detach, false},
          {"DetachSwitchdev", kSwitchdev, Then(Overlay, AttachWithRates), Detach, false},
          {"DetachVlan", {.first_igb = 0}, Then(Vlan, AttachWithMac), Detach, false},
          {"DetachFlatByUplink", {}, Then(Flat, Attach), Detach, false}};
}

std::vector<Scenario> Quarantines() {
  return {{"DetachDirty", {.first_igb = 0}, VlanOnAVfWithoutReset, Detach, false},
          {"Release", {.first_igb = 0}, Quarantine, ReleaseIt, false}};
}

std::vector<Scenario> Moves() {
  return {{"MoveToAnotherVm", {}, Then(TwoVpcs, Attach), ToAnotherVm, true},
          {"MoveToAnotherVpc", {}, Then(TwoVpcs, Attach), ToAnotherVpc, true},
          {"MoveToAnotherVpcSwitchdev", kSwitchdev, Then(TwoVpcs, AttachWithRates), ToAnotherVpc,
           true}};
}

std::vector<Scenario> Hotplugs() {
  const FakeMachineOptions port{.hotplug_port = true};
  return {{"AttachFunction", port, FunctionThere, AttachFunction, true},
          {"DetachFunction", port, Then(FunctionThere, AttachFunction), Detach, false}};
}

std::vector<Scenario> TakeOvers() {
  const FakeMachineOptions igb{.first_igb = 0};
  return {{"Adopt", {}, LostStore(Overlay, Attach, true), Adopt, true},
          {"AdoptVlan", igb, LostStore(Vlan, AttachWithMac, true), Adopt, true},
          {"AdoptVlanByUplink", {}, LostStore(Vlan, Attach, true), Adopt, true},
          {"Purge", {}, LostStore(Overlay, Attach, false), Purge, false},
          {"PurgeSwitchdev", kSwitchdev, LostStore(Overlay, AttachWithRates, false), Purge, false},
          {"PurgeVlan", igb, LostStore(Vlan, AttachWithMac, false), Purge, false},
          {"PurgeVlanByUplink", {}, LostStore(Vlan, Attach, false), Purge, false}};
}

void PlannedFaults::CrashAt(size_t change, When when) {
  at_ = change;
  when_ = when;
  seen_ = 0;
}

absl::Status PlannedFaults::Before(const PortCall& call) {
  if (!crashed_ && call.changes && at_ && seen_++ == *at_) {
    if (when_ == When::kBefore) Crash();
    armed_ = when_ == When::kAfter;
  }
  if (crashed_) return absl::CancelledError("the agent was killed");
  if (refused_ && refused_(call)) return SystemError(EINVAL, call.ToString(), "never");
  return absl::OkStatus();
}

absl::Status PlannedFaults::After(const PortCall&) {
  if (armed_) Crash();
  return crashed_ ? absl::CancelledError("the agent was killed") : absl::OkStatus();
}

void PlannedFaults::Crash() {
  at_.reset();
  armed_ = false;
  crashed_ = crashed_once_ = true;
  host_->KillSoon();
}

ScenarioRun::ScenarioRun(const Scenario& scenario)
    : host({.machine = scenario.machine}), plan(&host) {
  host.Start();
  EXPECT_TRUE(host.Settle());
  scenario.prepare(host);
  EXPECT_TRUE(host.Settle());
  host.ClearChanges();
  host.set_plan(&plan);
  request = scenario.request(host);
  request.set_protocol_version(1);
  request.set_controller_id("test");
  request.set_request_id("swept");
}

void ScenarioRun::Ask() {
  v1::Reply reply = host.Repeat(request);
  const auto busy = [&] {
    return reply.rejected().violations_size() == 1 &&
           reply.rejected().violations(0).code() == v1::Rejected::CODE_BUSY;
  };
  for (int i = 0; i < 10 && busy(); ++i) {
    host.RunFor(std::chrono::milliseconds(100));
    reply = host.Repeat(request);
  }
  // A release of a VF keeps no answer: the second one says that it is done.
  const bool released =
      reply.has_vf_released() ||
      (plan.crashed_once() && reply.rejected().violations_size() == 1 &&
       reply.rejected().violations(0).reason().find("it was found clean") != std::string::npos);
  EXPECT_TRUE(request.has_release_vf() ? released : reply.has_accepted() || reply.has_taken_over())
      << reply.ShortDebugString();
}

void ScenarioRun::AskAndSettle() {
  Ask();
  EXPECT_TRUE(host.Settle()) << "it does not come to rest";
}

std::string ScenarioRun::Seen() {
  std::string seen = host.Picture();
  const v1::HostState state = host.Host();
  for (const auto& pf : state.pfs()) {
    for (const auto& vf : pf.vfs()) StrAppend(&seen, "vf ", vf.index(), " is ", vf.state(), "\n");
  }
  return seen;
}

}  // namespace fairlead
