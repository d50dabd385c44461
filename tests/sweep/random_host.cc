// SPDX-License-Identifier: Apache-2.0
#include "tests/sweep/random_host.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/devlink/fake_devlink_port.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;

constexpr char kOthersMark[] = "fairlead 0badcafe";
// Somebody else's, of the second PF: a VF of a VM of his, and a representor with another
// store's mark.
constexpr uint16_t kOthersPf = 1, kHandVf = 3, kMarkedVf = 2;

PciAddress FunctionAddress(uint8_t n) { return {0, 0x20, 0, n}; }

}  // namespace

RandomHost::RandomHost(uint64_t seed, bool aloud)
    : nics(seed), dice(seed), storm(&dice, aloud), host(Options()), aloud_(aloud) {
  storm.host = &host;
  host.set_plan(&storm);
  host.config.engine.retry_most = milliseconds(5'000);
  if (nics.eswitch) {
    for (PfConfig& pf : host.config.providers.pfs) {
      if (nics.igb && pf.mac == FakeMachine::PfMac(1)) continue;
      pf.eswitch.mode = EswitchMode::kSwitchdev;
      pf.eswitch.encap_mode = EswitchEncapMode::kBasic;
    }
  }
}

SteppedHostOptions RandomHost::Options() {
  SteppedHostOptions options;
  options.machine.pfs = 2;
  options.machine.vfs = kVfs;
  options.machine.offload_capable = nics.offload;
  if (nics.eswitch) options.machine.eswitch = EswitchMode::kLegacy;
  if (nics.igb) options.machine.first_igb = 1;
  options.machine.hotplug_port = nics.hotplug;
  options.choose = [this](size_t count) { return dice.Below(count); };
  options.hold = [this](const std::string&, const std::string&) {
    if (!storm.rages || !dice.OneIn(10)) return milliseconds(0);
    // Mostly slow, now and then past any deadline.
    return milliseconds(dice.OneIn(20) ? 200'000 : dice.Below(500));
  };
  return options;
}

void RandomHost::Say(const std::string& what) const {
  if (aloud_) std::printf("%s\n", what.c_str());
}

void RandomHost::Revive() {
  Say("start");
  storm.Revive();
  const bool rages = std::exchange(storm.rages, false);
  host.Start();
  storm.rages = rages;
}

void RandomHost::Die() {
  Say("kill -9");
  host.Kill();
  Revive();
}

void RandomHost::LoseStore() {
  Say(StrCat("the store ", host.StoreId(), " is lost"));
  host.LoseStore();
  lost_ = true;
  Revive();
}

void RandomHost::PutForeignThings() {
  TcFilterInfo filter;
  filter.id = {0, 7, 1};
  filter.ethertype = 0x0800;
  filter.kind = "flower";
  host.network->SetStation(*IpAddress::Parse("192.0.2.3"), *MacAddress::Parse("52:54:00:00:00:03"));
  const uint32_t uplink = FakeMachine::kPfLink + kOthersPf;
  ASSERT_TRUE(FakeTcPort(host.network).AddClsact(uplink, 0).ok());
  host.network->AddForeignFilter({.ifindex = uplink}, filter);
  for (const std::string& vm : vm_names) AddVm(vm);
  PlugMissingFunctions();
}

void RandomHost::TakeAVfByHand() {
  const PciAddress vf = host.VfAddress(kHandVf, kOthersPf);
  ASSERT_TRUE(host.pci.SetDriverOverride(vf, "vfio-pci").ok());
  ASSERT_TRUE(host.pci.Probe(vf).ok());
  resets_ = host.pci.ResetCount(vf);
  // A representor that comes and goes with the mode of its eswitch keeps no mark.
  if (nics.eswitch || nics.igb) return;
  const auto marked = Named(StrCat("pf", kOthersPf, "rep", kMarkedVf));
  ASSERT_TRUE(marked);
  ASSERT_TRUE(FakeRtnetlinkPort(host.network).SetAlias(marked->ifindex, kOthersMark).ok());
}

void RandomHost::ExpectByHand() {
  const PciAddress vf = host.VfAddress(kHandVf, kOthersPf);
  const auto function = host.pci.Find(vf);
  ASSERT_TRUE(function);
  EXPECT_EQ(function->driver, "vfio-pci") << "somebody else's VF";
  EXPECT_EQ(host.pci.ResetCount(vf), resets_);
  const auto rules = FakeTcPort(host.network)
                         .Dump({.ifindex = FakeMachine::kPfLink + kOthersPf}, TcDumpDetail::kTerse);
  ASSERT_TRUE(rules.ok());
  EXPECT_THAT(*rules, ::testing::SizeIs(1)) << "somebody else's rule";
  std::vector<std::string> foreign;
  const v1::HostState state = host.Host();
  for (const auto& object : state.foreign()) foreign.push_back(object.store_id());
  if (nics.eswitch || nics.igb) {
    EXPECT_THAT(foreign, ::testing::IsEmpty());
  } else {
    EXPECT_THAT(foreign, ::testing::ElementsAre(kOthersStore));
  }
}

void RandomHost::AddVm(const std::string& vm) {
  const std::shared_ptr<FakeVm> added = host.AddVm(vm, 6);
  added->AddDevice({"disk", "virtio-blk-pci", "pcie.0", ""});
  added->SetHostCheck([this](const PciAddress& address) {
    const std::optional<PciDevice> device = host.pci.Find(address);
    return device && device->driver == "vfio-pci"
               ? absl::OkStatus()
               : absl::FailedPreconditionError("vfio: no such host device");
  });
}

void RandomHost::VmEvent() {
  const std::string vm = dice.Of(vm_names);
  const auto it = host.vms().find(vm);
  if (it == host.vms().end()) {
    Say(StrCat("VM ", vm, " is back"));
    return AddVm(vm);
  }
  switch (dice.Below(5)) {
    case 0:
      Say(StrCat("VM ", vm, " ends"));
      return host.RemoveVm(vm);
    case 1:
      Say(StrCat("the monitor of ", vm, " disconnects"));
      return it->second->Disconnect();
    case 2: {
      using Removal = FakeVm::Removal;
      const Removal how =
          dice.Of(std::vector<Removal>{Removal::kImmediate, Removal::kNever, Removal::kGuestError});
      Say(StrCat("VM ", vm, " lets go: ", static_cast<int>(how)));
      return it->second->SetRemoval(how);
    }
    case 3:
      Say(StrCat("VM ", vm, " is another QEMU with its UUID"));
      return AddVm(vm);
    default:
      Say(StrCat("VM ", vm, " is reset"));
      return it->second->Emit({QmpEvent::Kind::kReset, ""});
  }
}

std::vector<std::pair<uint16_t, uint16_t>> RandomHost::Leased() {
  std::vector<std::pair<uint16_t, uint16_t>> leased;
  const v1::HostState state = host.running() ? host.Host() : v1::HostState();
  for (const auto& of : state.pfs()) {
    for (const auto& one : of.vfs()) {
      for (uint16_t pf = 0; pf < 2 && one.state() == "leased"; ++pf) {
        const auto vf = static_cast<uint16_t>(one.index());
        if (StrCat(of.mac(), "/", vf) == FakeMachine::VfName(vf, pf)) leased.push_back({vf, pf});
      }
    }
  }
  return leased;
}

std::pair<uint16_t, uint16_t> RandomHost::AnyVf() {
  return {static_cast<uint16_t>(dice.Below(kVfs)), static_cast<uint16_t>(dice.Below(2))};
}

// A VF's reset, which from now on fails for good, or does not any more.
void RandomHost::BreakOrMendReset() {
  const auto leased = Leased();
  const auto [vf, pf] = leased.empty() ? AnyVf() : dice.Of(leased);
  const bool breaks = !dice.OneIn(3);
  Say(StrCat(breaks ? "no" : "a", " reset of VF ", vf, " of PF ", pf));
  host.pci.SetResetFails(host.VfAddress(vf, pf),
                         breaks ? SystemError(EINVAL, "reset", "never") : absl::OkStatus());
}

void RandomHost::Plug(uint8_t n) {
  const PciAddress address = FunctionAddress(n);
  if (host.pci.Find(address)) return;
  Say(StrCat("the DPU plugs function ", n));
  LinkInfo link;
  link.name = StrCat("hot", n);
  link.ifindex = next_link_ += 1000;  // a number that no other link has had
  link.mac = FunctionMac(n);
  host.network->AddLink(link);
  FakeFunctionOptions function;
  function.address = address;
  function.netdev = link.name;
  host.pci.Plug(FakeMachine::kHotplugPort, function);
  const std::string path =
      StrCat("/devices/pci0000:00/", FakeMachine::kHotplugPort.ToString(), "/", address.ToString());
  host.uevents.Emit("add", path, "pci");
  host.uevents.Emit("bind", path, "pci");
}

// The kernel waits for a VM that has it, and asks its QEMU, which asks its guest.
void RandomHost::Pull(uint8_t n) {
  const PciAddress address = FunctionAddress(n);
  Say(StrCat("the DPU pulls function ", n));
  for (const auto& [id, vm] : host.vms()) {
    for (const QmpDevice& device : vm->devices()) {
      if (device.host == address.ToString() && (!storm.rages || dice.OneIn(2))) {
        vm->Unplug(device.id);
      }
    }
  }
  if (const auto link = Named(StrCat("hot", n))) host.network->RemoveLink(link->ifindex);
  host.pci.RemoveDevice(address);
  const std::string path =
      StrCat("/devices/pci0000:00/", FakeMachine::kHotplugPort.ToString(), "/", address.ToString());
  host.uevents.Emit("unbind", path, "pci");
  if (!host.pci.Find(address)) host.uevents.Emit("remove", path, "pci");
}

void RandomHost::Dpu() {
  if (!nics.hotplug) return;
  const auto n = static_cast<uint8_t>(dice.Below(kFunctions));
  if (host.pci.Find(FunctionAddress(n))) return Pull(n);
  Plug(n);
}

std::set<std::string> RandomHost::HeldByVms() const {
  std::set<std::string> held;
  for (const auto& [id, vm] : host.vms()) {
    for (const QmpDevice& device : vm->devices()) held.insert(device.host);
  }
  return held;
}

void RandomHost::PlugMissingFunctions() {
  if (!nics.hotplug) return;
  const std::set<std::string> held = HeldByVms();
  for (uint8_t n = 0; n < kFunctions; ++n) {
    const std::optional<PciDevice> there = host.pci.Find(FunctionAddress(n));
    // One that is still being pulled: its guest lets go now. And of one that a lost store's agent
    // had bound for a VM nobody knows any more whose it is, until it is plugged anew.
    const bool leaves = there && !Named(StrCat("hot", n));
    const bool nobodys = there && lost_ && there->driver == "vfio-pci" &&
                         !held.contains(FunctionAddress(n).ToString());
    if (leaves || nobodys) {
      Pull(n);
      host.RunFor(milliseconds(100));
    }
    Plug(n);
  }
}

void RandomHost::MakeRight() {
  for (const std::string& vm : vm_names) {
    if (!host.vms().contains(vm)) AddVm(vm);
    host.vms().at(vm)->SetRemoval(FakeVm::Removal::kImmediate);
  }
  for (uint16_t pf = 0; pf < 2; ++pf) {
    const std::optional<PciDevice> function = host.pci.Find(FakeMachine::PfAddress(pf));
    for (const PciAddress& vf : function->virtfns) host.pci.SetResetFails(vf, absl::OkStatus());
    if (nics.eswitch && (pf == 0 || !nics.igb)) SwitchEswitch(pf, EswitchMode::kSwitchdev);
  }
  for (const auto& [ifindex, name] : std::exchange(renamed_, {})) {
    for (uint16_t pf = 0; pf < 2; ++pf) {
      if (ifindex == FakeMachine::kPfLink + pf) {
        host.pci.SetNetdevs(FakeMachine::PfAddress(pf), {name});
      }
    }
    if (!FakeRtnetlinkPort(host.network).GetLink(ifindex).ok()) continue;
    host.network->ChangeLink(ifindex, [old = name](LinkInfo& link) { link.name = old; });
  }
  PlugMissingFunctions();
}

void RandomHost::TakeBack() {
  const std::set<std::string> held = HeldByVms();
  std::set<PciAddress> doubtful = std::exchange(rebound_, {});
  for (uint16_t pf = 0; pf < 2 && lost_; ++pf) {
    for (uint16_t vf = 0; vf < kVfs; ++vf) {
      if (pf == kOthersPf && vf == kHandVf) continue;
      doubtful.insert(host.VfAddress(vf, pf));
      if (pf == 1 ? !nics.CanSetMac() : !nics.eswitch) continue;
      const bool has_own = nics.eswitch && !(nics.igb && pf == 1);
      host.ChangeVf(vf, pf, [&](VfInfo& info) {
        info.mac = has_own ? FakeMachine::VfMac(vf, pf) : MacAddress();
        if (!has_own) info.vlan = 0;
      });
    }
  }
  for (const PciAddress& vf : doubtful) {
    const std::optional<PciDevice> function = host.pci.Find(vf);
    if (!function || function->driver.empty() || held.contains(vf.ToString())) continue;
    Say(StrCat("an administrator takes ", vf.ToString(), " from ", function->driver));
    ASSERT_TRUE(host.pci.SetDriverOverride(vf, "").ok());
    ASSERT_TRUE(host.pci.Unbind(vf).ok());
  }
}

std::string RandomHost::Picture(bool with_vfs) const {
  std::vector<std::string> lines = absl::StrSplit(host.Picture(), '\n');
  std::sort(lines.begin(), lines.end());
  if (!with_vfs) {
    std::erase_if(lines, [](const std::string& line) {
      return line.starts_with("vf ") || line.starts_with("link pf0r") ||
             line.starts_with("link pf1r");
    });
  }
  return absl::StrJoin(lines, "\n");
}

std::optional<LinkInfo> RandomHost::Named(const std::string& name) const {
  FakeRtnetlinkPort links(host.network);
  const absl::StatusOr<LinkInfo> link = links.GetLink(name);
  return link.ok() ? std::optional<LinkInfo>(*link) : std::nullopt;
}

}  // namespace fairlead
