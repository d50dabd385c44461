// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes, and a DPU that brings functions by PCIe hot-plug and takes them.
#pragma once

#include "tests/integration/agent_fixture.h"

namespace fairlead {

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

  // The netdev that the host's driver makes of a function.
  void AddNetdev(uint8_t function, const MacAddress& mac) {
    LinkInfo link;
    link.name = Netdev(function);
    link.ifindex = Link(function);
    link.mac = mac;
    host->network->AddLink(link);
  }
  // What a DPU does, of which no uevent tells.
  void PlugUntold(uint8_t function, const MacAddress& mac, FakeFunctionOptions options = {}) {
    AddNetdev(function, mac);
    options.address = Pci(function);
    options.netdev = Netdev(function);
    host->pci.Plug(kPort, options);
  }
  // With what the kernel says about it.
  void Plug(uint8_t function, const MacAddress& mac, FakeFunctionOptions options = {}) {
    PlugUntold(function, mac, std::move(options));
    host->uevents.Emit("add", DevPath(function), "pci");
    host->uevents.Emit("bind", DevPath(function), "pci");
    host->uevents.Emit("add", StrCat(DevPath(function), "/virtio7/net/", Netdev(function)), "net");
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

  // Its function is pulled when it is first asked for `method`, and plugged in again.
  void PulledAt(SysfsMethod method) {
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
  // Its function is pulled when it is given back and is first asked for `method`.
  void PulledWhileGivenBackAt(SysfsMethod method) {
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

  std::string before_;
};

}  // namespace fairlead
