// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: functions that come and go by PCIe hot-plug, as a DPU
// brings them.
#include <atomic>

#include "absl/strings/str_format.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class HotplugTest : public AgentTest {
 protected:
  static constexpr PciAddress kPort = FakeMachine::kHotplugPort;
  static constexpr PciAddress Pci(uint8_t function = 0) { return {0, 0x20, 0, function}; }
  static constexpr uint32_t Link(uint8_t function) { return 500U + function; }
  static MacAddress Mac(uint8_t n) { return MacAddress({0x52, 0x54, 0, 0, 4, n}); }
  static std::string Netdev(uint8_t function) { return StrCat("hot", function); }
  static std::string DevPath(uint8_t function) {
    return StrCat("/devices/pci0000:00/", kPort.ToString(), "/", Pci(function).ToString());
  }

  void BeginWithPort(const Configure& configure = nullptr) {
    Begin({.hotplug_port = true}, configure);
    before_ = Quiet();
  }
  static HotplugPortConfig& PortOf(DaemonConfig& config) {
    return config.providers.hotplug_ports[0];
  }

  // What a DPU does, with what the kernel says about it.
  void Plug(uint8_t function, const MacAddress& mac, FakeFunctionOptions options = {}) {
    LinkInfo link;
    link.name = Netdev(function);
    link.ifindex = Link(function);
    link.mac = mac;
    host->network->AddLink(link);
    options.address = Pci(function);
    options.netdev = link.name;
    host->pci.Plug(kPort, options);
    host->uevents.Emit("add", DevPath(function), "pci");
    host->uevents.Emit("bind", DevPath(function), "pci");
    host->uevents.Emit("add", StrCat(DevPath(function), "/virtio7/net/", link.name), "net");
  }
  void Plug() { Plug(0, Mac(0)); }
  // The kernel has a VM let go of the function first, by QEMU, and tells when it is gone.
  void Pull(uint8_t function = 0, const std::shared_ptr<FakeVm>& holder = nullptr) {
    if (holder) {
      for (const QmpDevice& device : holder->devices()) {
        if (device.host == Pci(function).ToString()) holder->Unplug(device.id);
      }
    }
    host->network->RemoveLink(Link(function));
    host->pci.RemoveDevice(Pci(function));
    host->uevents.Emit("unbind", DevPath(function), "pci");
    host->uevents.Emit("remove", DevPath(function), "pci");
  }

  v1::Reply Ask(const std::string& vm, const std::string& address,
                const std::optional<MacAddress>& mac) {
    v1::Request request = host->AddVmRequest(vm, "red", address);
    request.mutable_add_vm_to_vpc()->set_function(v1::FUNCTION_SOURCE_HOTPLUG);
    if (mac) request.mutable_add_vm_to_vpc()->set_mac(mac->ToString());
    return host->Send(std::move(request));
  }
  // VM "a" with a port that expects the function of Mac(0).
  std::shared_ptr<FakeVm> AskForOne() {
    std::shared_ptr<FakeVm> vm = host->AddVm("a");
    // As QEMU does: it takes only what is bound to the VFIO driver.
    vm->SetHostCheck([this](const PciAddress& address) {
      const std::optional<PciDevice> device = host->pci.Find(address);
      return device && device->driver == "vfio-pci"
                 ? absl::OkStatus()
                 : absl::FailedPreconditionError("vfio: no such host device");
    });
    const v1::Reply reply = Ask("a", "10.0.0.5", Mac(0));
    EXPECT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
    return vm;
  }
  std::shared_ptr<FakeVm> ReadyOne() {
    std::shared_ptr<FakeVm> vm = AskForOne();
    Plug();
    host->WaitReady("a-red");
    return vm;
  }
  v1::ObjectStatus WaitReason(v1::ObjectState state, const std::string& words) {
    return host
        ->WaitPort("a-red",
                   [&](const auto& s) {
                     return s && s->state() == state &&
                            s->reason().find(words) != std::string::npos;
                   })
        .value_or(v1::ObjectStatus());
  }
  v1::ObjectStatus WaitWaiting() {
    return WaitReason(v1::OBJECT_STATE_PENDING, "waits for the function");
  }
  v1::ObjectStatus WaitWentAway() {
    return WaitReason(v1::OBJECT_STATE_PENDING, "the function went away; waits for the function");
  }
  std::optional<PciDevice> Function(uint8_t function = 0) { return host->pci.Find(Pci(function)); }
  static size_t Devices(const FakeVm& vm) {
    size_t count = 0;
    for (const QmpDevice& device : vm.devices()) count += device.host.empty() ? 0 : 1;
    return count;
  }
  v1::HostState::Pf ShownPort() {
    const v1::HostState state = host->Host();
    for (const v1::HostState::Pf& pf : state.pfs()) {
      if (!pf.hotplug().empty()) return pf;
    }
    return {};
  }
  // The function is there as it came, and nothing else of ours.
  void ExpectGivenBack(const FakeVm& vm) {
    ASSERT_TRUE(Function());
    EXPECT_EQ(Function()->driver, "virtio-pci");
    EXPECT_EQ(Function()->driver_override, "");
    EXPECT_EQ(Devices(vm), 0U);
    EXPECT_EQ(ShownPort().vfs(0).state(), "free");
  }
  // Nothing of ours is left on the host, which has no function any more.
  void ExpectNothingLeft(const FakeVm& vm) {
    EXPECT_EQ(host->Leftovers(), before_);
    EXPECT_EQ(Devices(vm), 0U);
    EXPECT_EQ(ShownPort().vfs_size(), 0);
  }

  std::string before_;

  void PulledAt(SysfsMethod method);
  void PulledWhileGivenBackAt(SysfsMethod method);
};

TEST_F(HotplugTest, APortWaitsForItsFunctionAndTakesItFromTheHostWhenItComes) {
  BeginWithPort();
  const auto vm = AskForOne();
  const v1::ObjectStatus waiting = WaitWaiting();
  EXPECT_THAT(waiting.reason(),
              HasSubstr("waits for the function with MAC 52:54:00:00:04:00 at hot-plug port dpu0 "
                        "(0000:00:1c.0)"));
  EXPECT_EQ(waiting.step(), "function");
  EXPECT_EQ(waiting.lease(), 0U);
  Plug();
  const v1::ObjectStatus ready = host->WaitReady("a-red");
  EXPECT_EQ(Function()->driver, "vfio-pci");
  EXPECT_EQ(ready.vf(), "0000:00:1c.0/0");
  EXPECT_EQ(ready.vf_pci(), Pci().ToString());
  EXPECT_EQ(ready.mac(), Mac(0).ToString());
  ASSERT_TRUE(vm->Find(ready.guest_device()));
  EXPECT_EQ(vm->Find(ready.guest_device())->host, Pci().ToString());
  EXPECT_EQ(ready.rules_wanted(), 0U);
  EXPECT_EQ(host->Rules().size(), 0U);
  EXPECT_THAT(host->Leftovers(), Not(HasSubstr("fl-vxlan0"))) << "the DPU forwards";
  const v1::HostState::Vf shown = ShownPort().vfs(0);
  EXPECT_EQ(shown.state(), "leased");
  EXPECT_EQ(shown.port(), "a-red");
  EXPECT_EQ(shown.ids(), "1af4:1041");

  host->Detach("a", "red");
  host->WaitGone("a-red");
  ExpectGivenBack(*vm);
  EXPECT_EQ(host->pci.ResetCount(Pci()), 1);
}

TEST_F(HotplugTest, AFunctionThatNobodyAskedForIsLeftAloneUntilSomebodyDoes) {
  BeginWithPort();
  const int writes = PciWrites();
  Plug();
  host->WaitUntil("it is seen", [&] { return ShownPort().vfs_size() == 1; });
  EXPECT_EQ(PciWrites(), writes);
  const v1::HostState::Pf port = ShownPort();
  EXPECT_EQ(port.name(), "dpu0");
  EXPECT_EQ(port.hotplug(), "mac");
  EXPECT_EQ(port.vfs(0).state(), "free");
  EXPECT_EQ(port.vfs(0).netdev(), "hot0");
  EXPECT_EQ(port.vfs(0).mac(), Mac(0).ToString());
  Attached("b", "red", "10.0.0.6");  // on a VF: a port that asks for none gets no function
  EXPECT_EQ(host->PortStatus("b-red")->vf(), FakeHost::VfName(0));
  EXPECT_EQ(Function()->driver, "virtio-pci");
  host->Detach("b", "red");
  host->WaitGone("b-red");
  EXPECT_EQ(Function()->driver_override, "");
  EXPECT_EQ(host->pci.ResetCount(Pci()), 0);
  AskForOne();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, ItFailsWhenTheDeadlinePassesAndIsAttachedWhenItComesAllTheSame) {
  BeginWithPort([](DaemonConfig& config) {
    PortOf(config).deadline = std::chrono::milliseconds(30);
    TryOnce(config);  // what wakes it is the function
  });
  AskForOne();
  const v1::ObjectStatus failed =
      WaitReason(v1::OBJECT_STATE_FAILED, "it did not come within 30 ms");
  EXPECT_THAT(failed.reason(), HasSubstr("waits for the function with MAC"));
  EXPECT_FALSE(failed.permanent());
  EXPECT_EQ(failed.step(), "function");
  Plug();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionWithAnotherMacIsNotTaken) {
  BeginWithPort();
  AskForOne();
  WaitWaiting();
  Plug(0, Mac(9));
  const v1::ObjectStatus waiting =
      WaitReason(v1::OBJECT_STATE_PENDING, "0000:20:00.0: shows MAC 52:54:00:00:04:09");
  EXPECT_EQ(Function()->driver, "virtio-pci");
  Plug(1, Mac(0));
  EXPECT_EQ(host->WaitReady("a-red").vf(), "0000:00:1c.0/1");
  EXPECT_EQ(Function(0)->driver, "virtio-pci");
}

TEST_F(HotplugTest, AFunctionThatNoHostDriverShowsIsNotIdentifiedAndThatIsSaid) {
  BeginWithPort();
  AskForOne();
  FakeFunctionOptions driverless;
  driverless.driver = "";
  Plug(0, Mac(0), driverless);
  WaitReason(v1::OBJECT_STATE_PENDING, "shows no MAC: no driver of the host has it");
  EXPECT_EQ(Function()->driver_override, "");
}

TEST_F(HotplugTest, OfAPortThatKnowsItsFunctionByTheSlotWhateverComesIsIt) {
  BeginWithPort([](DaemonConfig& config) { PortOf(config).identity = FunctionIdentity::kSlot; });
  host->AddVm("a");
  ASSERT_TRUE(Ask("a", "10.0.0.5", std::nullopt).has_accepted());
  WaitWaiting();
  FakeFunctionOptions driverless;
  driverless.driver = "";
  Plug(0, Mac(7), driverless);
  host->WaitReady("a-red");
  EXPECT_EQ(Function()->driver, "vfio-pci");
  host->Detach("a", "red");
  host->WaitGone("a-red");
  EXPECT_EQ(Function()->driver, "") << "as it came";
  EXPECT_EQ(Function()->driver_override, "");
}

TEST_F(HotplugTest, AFunctionWithoutAResetIsGivenBackAndShownAsThat) {
  BeginWithPort();
  const auto vm = AskForOne();
  FakeFunctionOptions without;
  without.resettable = false;
  Plug(0, Mac(0), without);
  host->WaitReady("a-red");
  host->Detach("a", "red");
  host->WaitGone("a-red");
  ExpectGivenBack(*vm);
  EXPECT_THAT(ShownPort().vfs(0).detail(), HasSubstr("offers no reset"));
}

TEST_F(HotplugTest, ADeviceThatIsNotOnTheListIsRefusedByName) {
  BeginWithPort([](DaemonConfig& config) { PortOf(config).devices = {{0x15b3, 0x101e}}; });
  AskForOne();
  WaitWaiting();
  Plug();
  const v1::ObjectStatus failed = host->WaitFailed("a-red");
  EXPECT_THAT(failed.reason(), HasSubstr("1af4:1041 is not among the devices"));
  EXPECT_EQ(Function()->driver, "virtio-pci");
  EXPECT_THAT(ShownPort().vfs(0).detail(), HasSubstr("not among the devices"));
}

TEST_F(HotplugTest, AFunctionThatTheHostUsesIsRefusedUntilItDoesNot) {
  BeginWithPort();
  host->network->AddAddress(host->network->AddLink([] {
    LinkInfo link;
    link.name = Netdev(0);
    link.ifindex = Link(0);
    link.up = true;
    link.mac = Mac(0);
    return link;
  }()),
                            *IpAddress::Parse("198.51.100.7"), *IpPrefix::Parse("198.51.100.0/24"));
  FakeFunctionOptions options;
  options.address = Pci();
  options.netdev = Netdev(0);
  host->pci.Plug(kPort, options);
  host->uevents.Emit("add", DevPath(0), "pci");
  AskForOne();
  const v1::ObjectStatus failed = host->WaitFailed("a-red");
  EXPECT_THAT(failed.reason(), AllOf(HasSubstr("the host uses it"), HasSubstr("198.51.100.7")));
  EXPECT_EQ(Function()->driver, "virtio-pci");
  host->network->RemoveAddress(Link(0), *IpAddress::Parse("198.51.100.7"));
  host->network->ChangeLink(Link(0), [](LinkInfo& link) { link.up = false; });  // is noticed
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionBehindAPortThatIsNotConfiguredIsNeverTouched) {
  BeginWithPort();
  constexpr PciAddress kOther{0, 0, 0x1d, 0};
  host->pci.AddBridge(kOther);
  LinkInfo link;
  link.name = "other";
  link.ifindex = 600;
  link.mac = Mac(0);
  host->network->AddLink(link);
  FakeFunctionOptions options;
  options.address = {0, 0x21, 0, 0};
  options.netdev = "other";
  host->pci.Plug(kOther, options);
  host->uevents.Emit("add", "/devices/pci0000:00/0000:00:1d.0/0000:21:00.0", "pci");
  AskForOne();
  WaitWaiting();
  EXPECT_EQ(host->pci.Find({0, 0x21, 0, 0})->driver, "virtio-pci");
}

TEST_F(HotplugTest, WhatItCannotPromiseIsRefusedWhenItIsAsked) {
  BeginWithPort();
  host->AddVm("a");
  const v1::Reply without = Ask("a", "10.0.0.5", std::nullopt);
  ASSERT_TRUE(without.has_rejected());
  EXPECT_EQ(without.rejected().violations(0).path(), "add_vm_to_vpc.mac");
  v1::Request must = host->AddVmRequest("a", "red", "10.0.0.5");
  must.mutable_add_vm_to_vpc()->set_function(v1::FUNCTION_SOURCE_HOTPLUG);
  must.mutable_add_vm_to_vpc()->set_mac(Mac(0).ToString());
  must.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_MUST);
  const v1::Reply refused = host->Send(must);
  ASSERT_TRUE(refused.has_rejected());
  EXPECT_EQ(refused.rejected().violations(0).path(), "add_vm_to_vpc.offload");
  must.mutable_add_vm_to_vpc()->clear_offload();
  must.mutable_add_vm_to_vpc()->set_network(v1::NETWORK_KIND_CONVERGED);
  const v1::Reply elsewhere = host->Send(must);
  ASSERT_TRUE(elsewhere.has_rejected());
  EXPECT_EQ(elsewhere.rejected().violations(0).path(), "add_vm_to_vpc.function");
}

TEST_F(HotplugTest, TwoVmsGetEachItsOwnFunctionOfOneSlot) {
  BeginWithPort();
  AskForOne();
  host->AddVm("b");
  ASSERT_TRUE(Ask("b", "10.0.0.6", Mac(1)).has_accepted());
  WaitWaiting();
  Plug(0, Mac(1));
  EXPECT_EQ(host->WaitReady("b-red").vf(), "0000:00:1c.0/0");
  Plug(1, Mac(0));
  EXPECT_EQ(host->WaitReady("a-red").vf(), "0000:00:1c.0/1");
}

TEST_F(HotplugTest, WhatWasLostOfTheUeventsIsFoundByLookingAgain) {
  BeginWithPort();
  AskForOne();
  WaitWaiting();
  LinkInfo link;
  link.name = Netdev(0);
  link.ifindex = Link(0);
  link.mac = Mac(0);
  host->network->AddLink(link);
  FakeFunctionOptions options;
  options.address = Pci();
  options.netdev = link.name;
  host->pci.Plug(kPort, options);
  host->uevents.Lose();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionThatIsPulledFromAReadyPortIsWaitedForAndTakenAgain) {
  BeginWithPort();
  const auto vm = ReadyOne();
  const uint64_t lease = host->PortStatus("a-red")->lease();
  Pull(0, vm);
  WaitWentAway();
  ExpectNothingLeft(*vm);
  Plug();
  const v1::ObjectStatus again = host->WaitReady("a-red");
  EXPECT_GT(again.lease(), lease);
  EXPECT_EQ(Devices(*vm), 1U);
  EXPECT_EQ(Function()->driver, "vfio-pci");
  host->Detach("a", "red");
  host->WaitGone("a-red");
  ExpectGivenBack(*vm);
}

// spdk 3205: the removal of a device and its release by VFIO waited for each other.
// The guest is paused, or does not hear its hot-plug port.
TEST_F(HotplugTest, AFunctionThatIsPulledAndThatItsGuestDoesNotLetGoIsSaidAndWaitedFor) {
  BeginWithPort();
  const auto vm = ReadyOne();
  const uint32_t group = *Function()->iommu_group;
  host->pci.SetGroupOpen(group, true);
  host->network->RemoveLink(Link(0));
  host->pci.RemoveDevice(Pci());
  host->uevents.Lose();  // the kernel says nothing before it is gone: an audit finds it
  const v1::ObjectStatus said = WaitReason(v1::OBJECT_STATE_DEGRADED,
                                           "the function is being pulled, and VM a still holds it");
  EXPECT_EQ(said.step(), "function");
  EXPECT_THAT(ShownPort().vfs(0).detail(), HasSubstr("being pulled"));
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0) << "the kernel has asked it";
  host->Stop();
  host->Start();
  WaitReason(v1::OBJECT_STATE_DEGRADED, "VM a still holds it");
  for (const QmpDevice& device : vm->devices()) {
    if (!device.host.empty()) vm->Unplug(device.id);
  }
  host->pci.SetGroupOpen(group, false);
  host->uevents.Emit("remove", DevPath(0), "pci");
  WaitWentAway();
  ExpectNothingLeft(*vm);
  Plug();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, ADeviceThatQemuKeepsOfAPulledFunctionIsRemoved) {
  BeginWithPort();
  const auto vm = ReadyOne();
  Pull();  // QEMU did nothing by itself
  WaitWentAway();
  ExpectNothingLeft(*vm);
}

TEST_F(HotplugTest, AnotherFunctionThatComesAtOnceInItsPlaceIsNotTakenForIt) {
  BeginWithPort();
  const auto vm = ReadyOne();
  for (const QmpDevice& device : vm->devices()) {
    if (!device.host.empty()) vm->Unplug(device.id);
  }
  host->network->RemoveLink(Link(0));
  host->pci.RemoveDevice(Pci());
  Plug(0, Mac(9));
  WaitReason(v1::OBJECT_STATE_PENDING, "shows MAC 52:54:00:00:04:09");
  EXPECT_EQ(Function()->driver, "virtio-pci");
  EXPECT_EQ(Devices(*vm), 0U);
  EXPECT_EQ(host->pci.ResetCount(Pci()), 0);
}

// Its function is pulled when it is first asked for `method`, and plugged in again.
void HotplugTest::PulledAt(SysfsMethod method) {
  BeginWithPort();
  std::atomic<bool> pulled = false;
  host->pci.SetHook([&](SysfsMethod asked, const PciAddress& address) {
    if (asked == method && address == Pci() && !pulled.exchange(true)) Pull();
  });
  const auto vm = AskForOne();
  Plug();
  WaitWentAway();
  EXPECT_TRUE(pulled);
  host->pci.SetHook(nullptr);
  ExpectNothingLeft(*vm);
  Plug();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionThatIsPulledBeforeItIsBoundIsWaitedFor) {
  PulledAt(SysfsMethod::kUnbind);
}

TEST_F(HotplugTest, AFunctionThatIsPulledWhileItIsBoundIsWaitedFor) {
  PulledAt(SysfsMethod::kProbe);
}

TEST_F(HotplugTest, AFunctionThatIsPulledWhileQemuTakesItIsWaitedFor) {
  BeginWithPort();
  const auto vm = AskForOne();
  WaitWaiting();
  std::atomic<bool> pulled = false;
  vm->SetHook([&](QmpMethod method, std::string_view) {
    if (method == QmpMethod::kAddVfioDevice && !pulled.exchange(true)) Pull();
  });
  Plug();
  WaitWentAway();
  EXPECT_TRUE(pulled);
  vm->SetHook(nullptr);
  ExpectNothingLeft(*vm);
  Plug();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionThatIsPulledDuringTheRollbackIsWaitedFor) {
  BeginWithPort();
  const auto vm = AskForOne();
  WaitWaiting();
  vm->FailNext(QmpMethod::kAddVfioDevice, absl::UnavailableError("not now"));
  std::atomic<int> unbinds = 0;
  host->pci.SetHook([&](SysfsMethod method, const PciAddress& address) {
    // The first takes it from the host's driver, the second is the rollback.
    if (method == SysfsMethod::kUnbind && address == Pci() && ++unbinds == 2) Pull();
  });
  Plug();
  WaitWentAway();
  host->pci.SetHook(nullptr);
  ExpectNothingLeft(*vm);
  Plug();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionThatIsPulledWhileItIsReleasedLeavesNothing) {
  BeginWithPort();
  const auto vm = ReadyOne();
  vm->SetRemoval(FakeVm::Removal::kNever);
  host->Detach("a", "red");
  WaitDoesNotLetGo("a-red");
  EXPECT_THAT(host->PortStatus("a-red")->reason(), HasSubstr("this host cannot cut it off"));
  Pull(0, vm);  // this the guest cannot refuse
  host->WaitGone("a-red");
  ExpectNothingLeft(*vm);
}

// Its function is pulled when it is given back and is first asked for `method`.
void HotplugTest::PulledWhileGivenBackAt(SysfsMethod method) {
  BeginWithPort();
  const auto vm = ReadyOne();
  std::atomic<bool> pulled = false;
  host->pci.SetHook([&](SysfsMethod asked, const PciAddress& address) {
    if (asked == method && address == Pci() && !pulled.exchange(true)) Pull();
  });
  host->Detach("a", "red");
  host->WaitGone("a-red");
  EXPECT_TRUE(pulled);
  host->pci.SetHook(nullptr);
  ExpectNothingLeft(*vm);
  Plug();
  host->WaitUntil("the next one is free", [&] {
    return ShownPort().vfs_size() == 1 && ShownPort().vfs(0).state() == "free";
  });
}

TEST_F(HotplugTest, AFunctionThatIsPulledBeforeItIsResetLeavesNothing) {
  PulledWhileGivenBackAt(SysfsMethod::kReset);
}

TEST_F(HotplugTest, AFunctionThatIsPulledBetweenItsResetAndItsDriverLeavesNothing) {
  PulledWhileGivenBackAt(SysfsMethod::kProbe);
}

TEST_F(HotplugTest, AFunctionThatComesAndGoesWithoutEndComesToRest) {
  BeginWithPort();
  const auto vm = AskForOne();
  for (int round = 0; round < 20; ++round) {
    Plug();
    Pull(0, vm);
  }
  WaitWaiting();
  EXPECT_EQ(Devices(*vm), 0U);
  Plug();
  host->WaitReady("a-red");
  host->Detach("a", "red");
  host->WaitGone("a-red");
  ExpectGivenBack(*vm);
}

TEST_F(HotplugTest, TheWholePortThatGoesTakesItsFunctionsAlong) {
  BeginWithPort();
  const auto vm = ReadyOne();
  host->pci.RemoveDevice(kPort);
  Pull(0, vm);
  WaitReason(v1::OBJECT_STATE_PENDING, "is not used");
  EXPECT_THAT(ShownPort().refused(), HasSubstr("0000:00:1c.0"));
  EXPECT_EQ(Devices(*vm), 0U);
  host->pci.AddBridge(kPort);
  Plug();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionWhoseOperationHangsIsNotGivenOnBeforeThatIsBack) {
  BeginWithPort();
  const auto vm = ReadyOne();
  host->pci.HangNext(SysfsMethod::kReset, Pci());
  host->Detach("a", "red");
  WaitReason(v1::OBJECT_STATE_REMOVING, "has not come back");
  EXPECT_EQ(ShownPort().vfs(0).state(), "leased");
  ASSERT_TRUE(host->pci.Release(Pci()));
  host->WaitGone("a-red");
  ExpectGivenBack(*vm);
}

TEST_F(HotplugTest, ARestartAdoptsAReadyFunctionWithoutTouchingIt) {
  BeginWithPort();
  const auto vm = ReadyOne();
  const v1::ObjectStatus ready = *host->PortStatus("a-red");
  host->Stop();
  const int writes = PciWrites(), adds = vm->Calls(QmpMethod::kAddVfioDevice);
  host->network->ClearCalls();
  host->Start();
  const v1::ObjectStatus again = host->WaitReady("a-red");
  EXPECT_EQ(again.lease(), ready.lease());
  EXPECT_EQ(again.guest_device(), ready.guest_device());
  EXPECT_EQ(PciWrites(), writes);
  EXPECT_EQ(vm->Calls(QmpMethod::kAddVfioDevice), adds);
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0);
  ExpectNetworkUntouched();
}

TEST_F(HotplugTest, ARestartOfAPortThatWaitsWaitsOnAndOneWhileItComesTakesIt) {
  BeginWithPort();
  AskForOne();
  WaitWaiting();
  host->Stop();
  host->Start();
  WaitWaiting();
  host->Stop();
  Plug();
  host->Start();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionThatWasPulledWhileTheAgentWasDownIsWaitedFor) {
  BeginWithPort();
  const auto vm = ReadyOne();
  host->Stop();
  Pull();  // QEMU keeps the device until it is asked
  host->Start();
  WaitWentAway();
  ExpectNothingLeft(*vm);
  Plug();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionThatWasPulledAndPluggedWhileTheAgentWasDownIsAttachedAgain) {
  BeginWithPort();
  const auto vm = ReadyOne();
  const uint64_t lease = host->PortStatus("a-red")->lease();
  host->Stop();
  Pull(0, vm);
  Plug();
  host->Start();
  EXPECT_GT(host->WaitPort("a-red",
                           [&](const auto& s) {
                             return s && s->state() == v1::OBJECT_STATE_READY && s->lease() > lease;
                           })
                ->lease(),
            lease);
  EXPECT_EQ(Devices(*vm), 1U);
  EXPECT_EQ(Function()->driver, "vfio-pci");
}

TEST_F(HotplugTest, ARestartDuringTheReleaseEndsIt) {
  BeginWithPort();
  const auto vm = ReadyOne();
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  host->Detach("a", "red");
  WaitReason(v1::OBJECT_STATE_REMOVING, "");
  host->Stop();
  vm->SetRemoval(FakeVm::Removal::kImmediate);
  vm->CompleteRemovals();
  host->Start();
  host->WaitUntil("it is free again", [&] {
    return ShownPort().vfs_size() == 1 && ShownPort().vfs(0).state() == "free";
  });
  ExpectGivenBack(*vm);
}

TEST_F(HotplugTest, ARestartDuringTheAttachLeavesItReadyOrWaitingNeverInBetween) {
  BeginWithPort();
  const auto vm = AskForOne();
  WaitWaiting();
  host->pci.HangNext(SysfsMethod::kProbe, Pci());  // driverless, with our override
  Plug();
  host->WaitUntil("it is taken from its driver", [&] {
    const auto function = Function();
    return function && function->driver.empty();
  });
  host->Stop();
  host->network->RemoveLink(Link(0));
  ASSERT_TRUE(host->pci.Release(Pci()));  // the kernel ends it late
  host->network->AddLink([] {
    LinkInfo link;
    link.name = Netdev(0);
    link.ifindex = Link(0);
    link.mac = Mac(0);
    return link;
  }());
  host->Start();
  host->WaitReady("a-red");
  EXPECT_EQ(Devices(*vm), 1U);
}

TEST_F(HotplugTest, ADryRunSaysWhatItWouldDoAndForWhatItWouldWait) {
  BeginWithPort();
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_function(v1::FUNCTION_SOURCE_HOTPLUG);
  request.mutable_add_vm_to_vpc()->set_mac(Mac(0).ToString());
  request.set_dry_run(true);
  v1::Reply reply = host->Send(request);
  ASSERT_EQ(reply.plan().blocked_size(), 1) << reply.ShortDebugString();
  EXPECT_THAT(reply.plan().blocked(0).reason(), HasSubstr("waits for the function"));
  Plug();
  host->WaitUntil("it is seen", [&] { return ShownPort().vfs_size() == 1; });
  request.clear_request_id();
  reply = host->Send(request);
  std::vector<std::string> steps;
  for (const auto& step : reply.plan().steps()) {
    steps.push_back(StrCat(step.verb(), " ", step.resource()));
  }
  EXPECT_THAT(steps, ::testing::ElementsAre("create vf/0000:00:1c.0/0",
                                            "create driver-binding/0000:00:1c.0/0",
                                            "create guest-device/a/a-red"));
  EXPECT_EQ(Function()->driver, "virtio-pci");
}

// Both are ready, and nothing here carries what one sends to the other.
TEST_F(HotplugTest, APortOfItsVpcOnAVfHereIsNamedAsOneThatItDoesNotReach) {
  BeginWithPort();
  ReadyOne();
  EXPECT_EQ(host->PortStatus("a-red")->reason(), "");
  Attached("b", "red", "10.0.0.6");
  const std::optional<v1::ObjectStatus> status = host->PortStatus("a-red");
  EXPECT_EQ(status->state(), v1::OBJECT_STATE_READY);
  EXPECT_THAT(status->reason(), AllOf(HasSubstr("no rule"), HasSubstr("b-red")));
  EXPECT_EQ(host->PortStatus("b-red")->reason(), "");
  host->Detach("b", "red");
  host->WaitGone("b-red");
  EXPECT_EQ(host->PortStatus("a-red")->reason(), "");
}

// The function that is given back in the plan is the one that the new port gets.
TEST_F(HotplugTest, ADryRunOfAPortThatIsMadeAgainDoesNotWaitForItsFunction) {
  BeginWithPort();
  ReadyOne();
  // Its netdev went with its driver, and with that the MAC that it is known by.
  host->uevents.Emit("bind", DevPath(0), "pci");
  host->WaitUntil("it is seen without a MAC", [&] {
    const v1::HostState::Pf shown = ShownPort();
    return shown.vfs_size() == 1 && shown.vfs(0).mac().empty();
  });
  v1::Request request;
  request.set_dry_run(true);
  v1::Apply& apply = *request.mutable_apply();
  FillRemove(apply, v1::OBJECT_KIND_PORT, "a-red");
  v1::Port* port = apply.add_upsert()->mutable_port();
  port->set_id("a-again");
  port->set_vm("a");
  port->set_vpc("red");
  port->set_subnet("red-1");
  port->set_function(v1::FUNCTION_SOURCE_HOTPLUG);
  port->set_mac(Mac(0).ToString());
  const v1::Reply reply = host->Send(request);
  ASSERT_TRUE(reply.has_plan()) << reply.ShortDebugString();
  EXPECT_EQ(reply.plan().blocked_size(), 0) << reply.ShortDebugString();
  std::vector<std::string> steps;
  for (const auto& step : reply.plan().steps()) {
    steps.push_back(StrCat(step.verb(), " ", step.resource()));
  }
  EXPECT_THAT(steps, ::testing::ElementsAre(
                         "delete guest-device/a/a-red", "delete driver-binding/0000:00:1c.0/0",
                         "delete vf/0000:00:1c.0/0", "create vf/0000:00:1c.0/0",
                         "create driver-binding/0000:00:1c.0/0", "create guest-device/a/a-again"));
  EXPECT_EQ(Function()->driver, "vfio-pci");
}

}  // namespace
}  // namespace fairlead
