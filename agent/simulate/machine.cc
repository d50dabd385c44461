// SPDX-License-Identifier: Apache-2.0
#include "agent/simulate/machine.h"

#include <algorithm>
#include <utility>

#include "agent/base/text.h"
#include "agent/ports/devlink/fake_devlink_port.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"
#include "agent/simulate/host_config.h"

namespace fairlead {
namespace {

// Of GPUs, which are in groups of their own.
constexpr uint32_t kFirstGpuGroup = 100'000;
constexpr uint16_t kNvidia = 0x10de;  // pci.ids
constexpr uint16_t kH100 = 0x2330;

MacAddress RepresentorMac(const NicModel& nic, uint16_t vf) {
  std::array<uint8_t, 6> bytes = nic.FixedVfMac(vf).bytes();
  bytes[0] = 0x06;
  return MacAddress(bytes);
}

// QEMU keeps a VM that is used: connected, or with a device of ours.
bool Idle(const FakeVm& vm) {
  if (vm.has_session()) return false;
  const std::vector<QmpDevice> devices = vm.devices();
  return std::none_of(devices.begin(), devices.end(),
                      [](const QmpDevice& device) { return device.type == "vfio-pci"; });
}

}  // namespace

Machine::Machine(const HostModel& model, bool with_latency, After after)
    : with_latency_(with_latency),
      latency_(model.latency),
      on_demand_root_ports_(model.on_demand_root_ports),
      after_(std::move(after)) {
  network_->KeepCalls(false);
  if (model.rules_per_table) network_->SetMaxFilters(*model.rules_per_table);
  for (const NicModel& nic : model.nics) AddNic(nic);
  for (const HotplugPortModel& port : model.hotplug_ports) AddHotplugPort(port);
  pci_.SetVfsChanged([this](const PciAddress& pf, uint16_t count) { ShowVfs(pf, count); });
  uint32_t group = kFirstGpuGroup;
  for (const GpuModel& gpu : model.gpus) {
    PciDevice device;
    device.address = gpu.pci;
    device.vendor = kNvidia;
    device.device = kH100;
    device.driver = "vfio-pci";
    device.numa_node = gpu.numa;
    device.iommu_group = group++;
    pci_.AddDevice(device);
  }
  FakeRtnetlinkPort links(network_);
  for (const RouteModel& route : model.routes) {
    const absl::StatusOr<LinkInfo> link = links.GetLink(route.netdev);
    RouteInfo info;
    if (link.ok()) info.ifindex = link->ifindex;
    info.gateway = route.via;
    network_->AddRoute(route.to, info);
  }
  for (const IpPrefix& prefix : model.answering) network_->AddStations(prefix);
  for (const VmModel& vm : model.vms) listed_[vm.id] = MakeVm(vm.uuid, vm.root_ports);
  qmp_.SetFinder([this](const std::string& path) { return FindVm(path); });
  if (with_latency_) AddLatency();
}

void Machine::AddNic(const NicModel& nic) {
  pci_.SetDriverLoaded(nic.driver, true);
  FakePfOptions pf;
  pf.address = nic.pci;
  pf.netdev = nic.netdev;
  pf.total_vfs = nic.total_vfs;
  pf.sriov = nic.total_vfs > 0;
  pf.driver = pf.vf_driver = nic.driver;
  pf.vendor = nic.vendor;
  pf.device = nic.device;
  pf.numa_node = nic.numa;
  pf.vf_offset = nic.vf_offset;
  pci_.AddPf(pf);

  LinkInfo link;
  link.name = nic.netdev;
  link.up = link.carrier = true;
  link.mtu = nic.mtu;
  link.mac = nic.mac;
  link.permanent_mac = nic.mac;
  const uint32_t ifindex = network_->AddLink(link);
  if (nic.driver == "igb") network_->SetVfDriver(ifindex, FakeVfDriver::Igb());
  if (nic.can_set_vf_mac) {
    Settable& settable = settable_[nic.pci];
    settable.ifindex = ifindex;
    if (nic.representors.empty()) settable.fresh = FakeVfDriver::Igb().fresh;
  }
  for (const InterfaceAddress& address : nic.addresses) {
    network_->AddAddress(ifindex, address.address, address.network);
  }
  if (nic.eswitch) return AddEswitch(nic, *nic.eswitch);
  for (uint16_t i = 0; i < nic.vfs && !nic.representors.empty(); ++i) {
    LinkInfo representor;
    representor.name = nic.RepresentorName(i);
    representor.mtu = nic.mtu;
    representor.mac = RepresentorMac(nic, i);
    const uint32_t index = network_->AddLink(representor);
    if (nic.offload) network_->SetOffloadCapable(index, true);
  }
}

void Machine::AddEswitch(const NicModel& nic, EswitchMode mode) {
  FakeDevlinkOptions options;
  options.handle = DevlinkHandle::Pci(nic.pci);
  options.nic = FakeNic::kMlx5;
  options.pf = nic.pci.function;
  options.netdev = nic.netdev;
  options.representors = nic.representors;
  options.mtu = nic.mtu;
  options.offload = nic.offload;
  options.mode = mode;
  options.info.driver = nic.driver;
  devlink_->AddDevice(options);
}

void Machine::AddHotplugPort(const HotplugPortModel& port) {
  pci_.AddBridge(port.port);
  for (const FunctionModel& function : port.functions) {
    pci_.SetDriverLoaded(function.driver, true);
    if (!with_latency_) {
      Plug(port.port, function);
      continue;
    }
    after_(std::chrono::ceil<std::chrono::milliseconds>(function.after),
           [this, bridge = port.port, function] { Plug(bridge, function); });
  }
}

void Machine::Plug(const PciAddress& port, const FunctionModel& function) {
  LinkInfo link;
  link.name = function.netdev;
  link.mac = link.permanent_mac.emplace(function.mac);
  network_->AddLink(link);
  FakeFunctionOptions options;
  options.address = function.pci;
  options.vendor = function.vendor;
  options.device = function.device;
  options.driver = function.driver;
  options.netdev = function.netdev;
  pci_.Plug(port, options);
  const std::string at = port.ToString();
  const std::string root = at.substr(0, at.rfind(':'));  // "0000:e0"
  const std::string device = StrCat("/devices/pci", root, "/", at, "/", function.pci.ToString());
  uevents_.Emit("add", device, "pci");
  uevents_.Emit("bind", device, "pci");
  uevents_.Emit("add", StrCat(device, "/net/", function.netdev), "net");
}

void Machine::ShowVfs(const PciAddress& pf, uint16_t count) {
  if (const auto it = settable_.find(pf); it != settable_.end()) {
    const Settable& pf_side = it->second;
    network_->ChangeLink(pf_side.ifindex, [count, &pf_side](LinkInfo& link) {
      link.vfs.emplace(count, pf_side.fresh);
      for (uint16_t i = 0; i < count; ++i) (*link.vfs)[i].index = i;
    });
  }
  // A NIC without an eswitch is not known there.
  (void)devlink_->SetVfCount(DevlinkHandle::Pci(pf), count);
}

void Machine::AddLatency() {
  network_->SetHook([this](std::string_view call) {
    if (call.starts_with("Subscribe(")) return;
    if (call.starts_with("SetEswitch(")) return Pause(latency_.eswitch);
    const bool rule = call.starts_with("Put(") || call.starts_with("Delete(");
    Pause(rule ? latency_.rule : latency_.netlink);
  });
  pci_.SetHook([this](SysfsMethod method, const PciAddress&) {
    if (method == SysfsMethod::kSetDriverOverride) return;
    Pause(method == SysfsMethod::kSetNumVfs ? latency_.sriov_numvfs
          : method == SysfsMethod::kProbe   ? latency_.bind
          : method == SysfsMethod::kUnbind  ? latency_.unbind
                                            : latency_.reset);
  });
}

void Machine::Pause(Duration duration) {
  std::unique_lock lock(pause_mutex_);
  pause_over_.wait_for(lock, duration, [this] { return no_more_pauses_; });
}

void Machine::EndLatency() {
  const std::lock_guard lock(pause_mutex_);
  no_more_pauses_ = true;
  pause_over_.notify_all();
}

std::shared_ptr<FakeVm> Machine::MakeVm(const Uuid& uuid, uint16_t root_ports) {
  auto vm = std::make_shared<FakeVm>(uuid);
  for (uint16_t i = 0; i < root_ports; ++i) vm->AddRootPort(StrCat(kRootPortPrefix, i));
  vm->SetHostCheck([this](const PciAddress& host) -> absl::Status {
    const std::optional<PciDevice> device = pci_.Find(host);
    if (device && device->driver == "vfio-pci") return absl::OkStatus();
    return absl::FailedPreconditionError("the device is not bound to vfio-pci");
  });
  if (!with_latency_) return vm;
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  vm->SetHook([this, weak = std::weak_ptr(vm)](QmpMethod method, std::string_view device) {
    if (method == QmpMethod::kAddVfioDevice) return Pause(latency_.device_add);
    // QEMU answers at once; the guest lets go later.
    const auto delay = std::chrono::ceil<std::chrono::milliseconds>(latency_.device_del);
    after_(delay, [weak, id = std::string(device)] {
      if (const std::shared_ptr<FakeVm> alive = weak.lock()) alive->Unplug(id);
    });
  });
  return vm;
}

std::shared_ptr<FakeVm> Machine::FindVm(const std::string& path) {
  // "/simulated/VM/UUID"
  const std::string_view prefix = kMonitorPrefix;
  const size_t slash = path.rfind('/');
  if (!path.starts_with(prefix) || slash < prefix.size()) return nullptr;
  const std::string id = path.substr(prefix.size(), slash - prefix.size());
  const absl::StatusOr<Uuid> uuid = Uuid::Parse(path.substr(slash + 1));
  const std::lock_guard lock(vms_mutex_);
  if (const auto found = listed_.find(id); found != listed_.end()) return found->second;
  if (!on_demand_root_ports_ || !uuid.ok()) return nullptr;
  if (const auto found = on_demand_.find(id); found != on_demand_.end()) {
    if (found->second.uuid == *uuid) return found->second.vm;
    found->second.vm->Disconnect();  // another VM of that name has taken its place
    on_demand_.erase(found);
  }
  std::erase_if(on_demand_, [](const auto& entry) { return Idle(*entry.second.vm); });
  std::shared_ptr<FakeVm> vm = MakeVm(*uuid, *on_demand_root_ports_);
  on_demand_[id] = {*uuid, vm};
  return vm;
}

Ports Machine::ports() {
  Ports ports;
  ports.sysfs = &sysfs_;
  ports.qmp = &qmp_;
  ports.uevent = &uevent_port_;
  ports.rtnetlink = [network = network_] {
    return absl::StatusOr<std::unique_ptr<RtnetlinkPort>>(
        std::make_unique<FakeRtnetlinkPort>(network));
  };
  ports.devlink = [devlink = devlink_] {
    return absl::StatusOr<std::unique_ptr<DevlinkPort>>(std::make_unique<FakeDevlinkPort>(devlink));
  };
  ports.tc = [network = network_] {
    return absl::StatusOr<std::unique_ptr<TcPort>>(std::make_unique<FakeTcPort>(network));
  };
  ports.conntrack = [this] {
    return absl::StatusOr<std::unique_ptr<ConntrackPort>>(
        std::make_unique<FakeConntrackPort>(&conntrack_));
  };
  ports.slow_path = [this](const std::string& /*path*/) {
    return absl::StatusOr<std::unique_ptr<SlowPathSocket>>(
        std::make_unique<FakeSlowPathSocket>(&slow_path_));
  };
  return ports;
}

}  // namespace fairlead
