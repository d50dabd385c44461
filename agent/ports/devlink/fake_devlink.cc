// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/devlink/fake_devlink.h"

#include <errno.h>

#include <algorithm>

#include "absl/strings/str_replace.h"
#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/devlink/devlink_codec.h"

namespace fairlead {
namespace {

using State = FakeNetwork::State;

// drivers/net/netdevsim/netdevsim.h NSIM_DEV_VF_PORT_INDEX_BASE.
constexpr uint32_t kNetdevsimVfIndex = 128;
// mlx5 counts vports from the PF's, 0; VF i is vport i + 1 (mlx5/vport.h).
constexpr uint32_t kMlx5VfIndex = 1;

bool InHardware(const FakeNetwork::FilterTable& table) {
  return std::any_of(table.begin(), table.end(), [](const auto& entry) {
    return entry.second.filter && entry.second.filter->flags != TcFilter::Flags::kSkipHw;
  });
}

// Whether rules of the device's representors are in hardware.
bool HasFlows(State& state, const std::map<uint32_t, DevlinkPortInfo>& ports) {
  return std::any_of(ports.begin(), ports.end(), [&](const auto& entry) {
    const FakeNetwork::Link* link = state.FindLink(entry.second.ifindex);
    if (link == nullptr || !link->offload_capable) return false;
    if (link->ingress_block == 0) return InHardware(link->filters);
    const auto block = state.blocks.find(link->ingress_block);
    return block != state.blocks.end() && InHardware(block->second);
  });
}

// With what its netdev is now.
DevlinkPortInfo Shown(State& state, DevlinkPortInfo port) {
  if (const FakeNetwork::Link* link = state.FindLink(port.ifindex)) {
    port.netdev = link->info.name;
  } else {
    port.ifindex = 0;
    port.netdev.clear();
    port.type = DevlinkPortType::kNotSet;
  }
  return port;
}

// net/devlink/port.c devlink_port_function_validate, and what follows.
absl::Status SetNetdevsimFunction(const DevlinkPortFunction& one, std::string_view asked) {
  std::string_view words = "Port doesn't support function attributes";
  if (one.roce) words = "Port doesn't support RoCE function attribute";
  if (one.migratable) words = "Port doesn't support migratable function attribute";
  if (one.ipsec_crypto) words = "Port doesn't support ipsec_crypto function attribute";
  if (one.ipsec_packet) words = "Port doesn't support ipsec_packet function attribute";
  if (one.max_io_eqs) words = "Function does not support max_io_eqs setting";
  if (one.active) words = "Function does not support state setting";
  return SystemError(EOPNOTSUPP, asked, words);
}

absl::Status SetMlx5Function(DevlinkPortFunction* function, const DevlinkPortFunction& one,
                             std::string_view asked) {
  if (one.hw_addr) {
    if (one.hw_addr->IsMulticast()) {
      return SystemError(EINVAL, asked, "Non-unicast hardware address unsupported");
    }
    function->hw_addr = one.hw_addr;
  }
  if (one.roce) function->roce = one.roce;
  if (one.migratable) {
    return SystemError(EOPNOTSUPP, asked, "mlx5_core: Device doesn't support migration");
  }
  if (one.ipsec_crypto || one.ipsec_packet) {
    // A kernel without CONFIG_XFRM_OFFLOAD.
    return SystemError(EOPNOTSUPP, asked,
                       one.ipsec_crypto ? "Port doesn't support ipsec_crypto function attribute"
                                        : "Port doesn't support ipsec_packet function attribute");
  }
  if (one.max_io_eqs) {
    return SystemError(EOPNOTSUPP, asked, "Function does not support max_io_eqs setting");
  }
  if (one.active) {
    return SystemError(EOPNOTSUPP, asked, "Function does not support state setting");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FakeDevlink::Device*> FakeDevlink::Find(const DevlinkHandle& handle,
                                                       std::string_view asked) {
  auto it = devices_.find(handle);
  if (it == devices_.end()) return SystemError(ENODEV, asked);
  return &it->second;
}

void FakeDevlink::Changed(const Device& device) {
  DevlinkPort::Event event;
  event.kind = DevlinkPort::Event::Kind::kDeviceChanged;
  event.device = {device.options.handle, device.reload_failed};
  events_.push_back(std::move(event));
}

void FakeDevlink::AddPort(State& state, Device& device, DevlinkPortInfo port, std::string netdev,
                          bool offload) {
  port.device = device.options.handle;
  DevlinkPort::Event event;
  event.kind = DevlinkPort::Event::Kind::kPortChanged;
  event.device.handle = port.device;
  event.port = port;
  events_.push_back(event);

  LinkInfo link;
  link.name = std::move(netdev);
  link.ifindex = state.NextIfIndex();
  link.mtu = device.options.mtu;
  link.mac = MacAddress(
      {0x02, 0xde, 0, 0, static_cast<uint8_t>(next_mac_ >> 8), static_cast<uint8_t>(next_mac_)});
  ++next_mac_;
  FakeNetwork::Link& there = state.links[link.ifindex];
  there.info = std::move(link);
  there.offload_capable = offload;
  state.LinkEvent(RtnetlinkEvent::Kind::kLinkChanged, there);

  port.type = DevlinkPortType::kEthernet;
  port.ifindex = there.info.ifindex;
  event.port = Shown(state, port);
  events_.push_back(std::move(event));
  if (port.flavour == DevlinkFlavour::kPciVf) {
    const DevlinkRateId leaf = DevlinkRateId::Leaf(port.index);
    device.rates[leaf] = {leaf, 0, 0, ""};
  }
  device.ports[port.index] = std::move(port);
}

void FakeDevlink::AddPhysicalPorts(State& state, Device& device) {
  if (device.options.nic != FakeNic::kNetdevsim) return;
  for (uint32_t i = 0; i < device.options.physical_ports; ++i) {
    DevlinkPortInfo port;
    port.index = i;
    port.flavour = DevlinkFlavour::kPhysical;
    port.port_number = i + 1;
    AddPort(state, device, std::move(port), StrCat(device.options.netdev, "p", i), false);
  }
}

void FakeDevlink::AddRepresentors(State& state, Device& device) {
  const bool mlx5 = device.options.nic == FakeNic::kMlx5;
  for (uint16_t i = 0; i < device.vfs; ++i) {
    DevlinkPortInfo port;
    port.index = (mlx5 ? kMlx5VfIndex : kNetdevsimVfIndex) + i;
    port.flavour = DevlinkFlavour::kPciVf;
    port.controller = 0;
    port.pf = mlx5 ? device.options.pf : 0;
    port.vf = i;
    if (mlx5) {
      port.function = DevlinkPortFunction{};
      port.function->hw_addr = MacAddress();
      port.function->roce = true;
    }
    AddPort(state, device, std::move(port),
            absl::StrReplaceAll(device.options.representors, {{"{vf}", StrCat(i)}}),
            device.options.offload);
  }
}

void FakeDevlink::RemovePorts(State& state, Device& device, std::optional<DevlinkFlavour> flavour) {
  for (auto it = device.ports.begin(); it != device.ports.end();) {
    if (flavour && it->second.flavour != *flavour) {
      ++it;
      continue;
    }
    state.EraseLink(it->second.ifindex);
    device.rates.erase(DevlinkRateId::Leaf(it->first));
    DevlinkPort::Event event;
    event.kind = DevlinkPort::Event::Kind::kPortGone;
    event.device.handle = device.options.handle;
    event.port = Shown(state, it->second);
    events_.push_back(std::move(event));
    it = device.ports.erase(it);
  }
}

void FakeDevlink::AddDevice(const FakeDevlinkOptions& options) {
  With([&](State& state) {
    Device& device = devices_[options.handle];
    device.options = options;
    if (options.representors.empty()) device.options.representors = StrCat(options.netdev, "r{vf}");
    device.eswitch.mode = options.mode;
    if (options.nic == FakeNic::kMlx5) {
      device.eswitch.inline_mode = EswitchInlineMode::kNone;
      device.eswitch.encap_mode = EswitchEncapMode::kBasic;
    }
    if (device.options.info.driver.empty()) {
      device.options.info.driver =
          options.nic == FakeNic::kMlx5 ? std::string("mlx5_core") : std::string("netdevsim");
    }
    Changed(device);
    AddPhysicalPorts(state, device);
  });
}

void FakeDevlink::RemoveDevice(const DevlinkHandle& handle) {
  With([&](State& state) {
    auto it = devices_.find(handle);
    if (it == devices_.end()) return;
    RemovePorts(state, it->second, std::nullopt);
    DevlinkPort::Event event;
    event.kind = DevlinkPort::Event::Kind::kDeviceGone;
    event.device = {handle, it->second.reload_failed};
    events_.push_back(std::move(event));
    devices_.erase(it);
  });
}

absl::Status FakeDevlink::SetVfCount(const DevlinkHandle& handle, uint16_t count) {
  const std::string asked = StrCat("make ", count, " VFs of ", handle.ToString());
  return With([&](State& state) -> absl::Status {
    FAIRLEAD_ASSIGN_OR_RETURN(Device * device, Find(handle, asked));
    if (device->vfs == count) return absl::OkStatus();
    if (device->vfs != 0 && count != 0) return SystemError(EBUSY, asked);
    device->vfs = count;
    if (*device->eswitch.mode == EswitchMode::kLegacy) return absl::OkStatus();
    if (count != 0) {
      AddRepresentors(state, *device);
    } else {
      RemovePorts(state, *device, DevlinkFlavour::kPciVf);
      if (device->options.nic == FakeNic::kNetdevsim) device->eswitch.mode = EswitchMode::kLegacy;
    }
    return absl::OkStatus();
  });
}

void FakeDevlink::SetRepresentorNetdev(const DevlinkHandle& handle, uint16_t vf, uint32_t ifindex) {
  With([&](State& state) {
    const auto device = devices_.find(handle);
    if (device == devices_.end()) return;
    for (auto& [index, port] : device->second.ports) {
      if (port.flavour != DevlinkFlavour::kPciVf || port.vf != vf) continue;
      port.ifindex = ifindex;
      port.type = DevlinkPortType::kEthernet;
      DevlinkPort::Event event;
      event.kind = DevlinkPort::Event::Kind::kPortChanged;
      event.device.handle = handle;
      event.port = Shown(state, port);
      events_.push_back(std::move(event));
    }
  });
}

void FakeDevlink::SetReloadFails(const DevlinkHandle& handle, bool fails) {
  With([&](State&) {
    if (auto it = devices_.find(handle); it != devices_.end()) it->second.reload_fails = fails;
  });
}

void FakeDevlink::SetReloadForbidden(const DevlinkHandle& handle, bool forbidden) {
  With([&](State&) {
    if (auto it = devices_.find(handle); it != devices_.end()) {
      it->second.reload_forbidden = forbidden;
    }
  });
}

void FakeDevlink::LoseEvents() {
  With([&](State&) { events_.emplace_back(); });
}

absl::StatusOr<std::vector<DevlinkDevice>> FakeDevlink::ListDevices() {
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter("ListDevices()"));
  return With([&](State&) -> absl::StatusOr<std::vector<DevlinkDevice>> {
    std::vector<DevlinkDevice> devices;
    for (const auto& [handle, device] : devices_) devices.push_back({handle, device.reload_failed});
    return devices;
  });
}

absl::StatusOr<DevlinkEswitch> FakeDevlink::GetEswitch(const DevlinkHandle& handle) {
  const std::string call = StrCat("GetEswitch(", handle.ToString(), ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return With([&](State&) -> absl::StatusOr<DevlinkEswitch> {
    FAIRLEAD_ASSIGN_OR_RETURN(const Device* device, Find(handle, call));
    return device->eswitch;
  });
}

absl::Status FakeDevlink::SetMode(State& state, Device& device, EswitchMode mode,
                                  std::string_view asked) {
  const EswitchMode old = *device.eswitch.mode;
  // net/devlink/rate.c devlink_rate_nodes_check, before the driver is asked.
  if (std::any_of(device.rates.begin(), device.rates.end(),
                  [](const auto& rate) { return !rate.first.port; })) {
    return SystemError(EBUSY, asked, "Rate node(s) exists.");
  }
  if (mode == old) return absl::OkStatus();
  if (device.options.nic == FakeNic::kNetdevsim) {
    if (mode == EswitchMode::kSwitchdevInactive) return SystemError(EINVAL, asked);
  } else if (mode != EswitchMode::kLegacy && old != EswitchMode::kLegacy) {
    device.eswitch.mode = mode;  // active or not: nothing else changes
    return absl::OkStatus();
  } else if (HasFlows(state, device.ports)) {
    return SystemError(EBUSY, asked, "mlx5_core: Can't change mode, E-Switch is busy");
  }
  device.eswitch.mode = mode;
  if (mode == EswitchMode::kLegacy) {
    RemovePorts(state, device, DevlinkFlavour::kPciVf);
  } else {
    AddRepresentors(state, device);
  }
  return absl::OkStatus();
}

absl::Status FakeDevlink::SetOne(State& state, Device& device, const DevlinkEswitch& one,
                                 std::string_view asked) {
  if (one.mode) return SetMode(state, device, *one.mode, asked);
  if (device.options.nic == FakeNic::kNetdevsim) return SystemError(EOPNOTSUPP, asked);
  if (one.inline_mode && *one.inline_mode != EswitchInlineMode::kNone) {
    return SystemError(EOPNOTSUPP, asked, "mlx5_core: Inline mode can't be set");
  }
  if (one.encap_mode && one.encap_mode != device.eswitch.encap_mode) {
    if (HasFlows(state, device.ports)) {
      return SystemError(EOPNOTSUPP, asked,
                         "mlx5_core: Can't set encapsulation when flows are configured");
    }
    device.eswitch.encap_mode = one.encap_mode;
  }
  return absl::OkStatus();
}

absl::Status FakeDevlink::SetEswitch(const DevlinkHandle& handle, const DevlinkEswitch& wanted) {
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(StrCat("SetEswitch(", handle.ToString(), ")")));
  return With([&](State& state) -> absl::Status {
    for (const auto& one : netlink::OneByOne(wanted)) {
      const std::string asked = StrCat("set ", one.what, " of ", handle.ToString());
      FAIRLEAD_ASSIGN_OR_RETURN(Device * device, Find(handle, asked));
      FAIRLEAD_RETURN_IF_ERROR(SetOne(state, *device, one.value, asked));
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<DevlinkPortInfo>> FakeDevlink::ListPorts(const DevlinkHandle& handle) {
  const std::string call = StrCat("ListPorts(", handle.ToString(), ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return With([&](State& state) -> absl::StatusOr<std::vector<DevlinkPortInfo>> {
    FAIRLEAD_ASSIGN_OR_RETURN(const Device* device, Find(handle, call));
    std::vector<DevlinkPortInfo> ports;
    for (const auto& [index, port] : device->ports) ports.push_back(Shown(state, port));
    return ports;
  });
}

absl::StatusOr<DevlinkPortInfo> FakeDevlink::GetPort(const DevlinkHandle& handle, uint32_t index) {
  const std::string call = StrCat("GetPort(", handle.ToString(), ", ", index, ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return With([&](State& state) -> absl::StatusOr<DevlinkPortInfo> {
    FAIRLEAD_ASSIGN_OR_RETURN(const Device* device, Find(handle, call));
    const auto port = device->ports.find(index);
    if (port == device->ports.end()) return SystemError(ENODEV, call);
    return Shown(state, port->second);
  });
}

absl::Status FakeDevlink::SetPortFunction(const DevlinkHandle& handle, uint32_t index,
                                          const DevlinkPortFunction& wanted) {
  const std::string call = StrCat("SetPortFunction(", handle.ToString(), ", ", index, ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  FAIRLEAD_RETURN_IF_ERROR(CheckSettable(wanted));
  return With([&](State& state) -> absl::Status {
    for (const auto& one : netlink::OneByOne(wanted)) {
      const std::string asked =
          StrCat("set ", one.what, " of port ", index, " of ", handle.ToString());
      FAIRLEAD_ASSIGN_OR_RETURN(Device * device, Find(handle, asked));
      const auto port = device->ports.find(index);
      if (port == device->ports.end()) return SystemError(ENODEV, asked);
      if (!port->second.function) return SetNetdevsimFunction(one.value, asked);
      FAIRLEAD_RETURN_IF_ERROR(SetMlx5Function(&*port->second.function, one.value, asked));
      DevlinkPort::Event event;
      event.kind = DevlinkPort::Event::Kind::kPortChanged;
      event.device.handle = handle;
      event.port = Shown(state, port->second);
      events_.push_back(std::move(event));
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<DevlinkRate>> FakeDevlink::ListRates(const DevlinkHandle& handle) {
  const std::string call = StrCat("ListRates(", handle.ToString(), ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return With([&](State&) -> absl::StatusOr<std::vector<DevlinkRate>> {
    FAIRLEAD_ASSIGN_OR_RETURN(const Device* device, Find(handle, call));
    std::vector<DevlinkRate> rates;
    for (const auto& [id, rate] : device->rates) rates.push_back(rate);
    return rates;
  });
}

// drivers/net/netdevsim/dev.c nsim_rate_bytes_to_units, mlx5/core/esw/qos.c
// esw_qos_devlink_rate_to_mbps; then net/devlink/rate.c devlink_nl_rate_parent_node_set.
absl::Status FakeDevlink::SetOne(Device& device, DevlinkRate& rate, const DevlinkRateSettings& one,
                                 std::string_view asked) {
  const bool netdevsim = device.options.nic == FakeNic::kNetdevsim;
  const std::string driver = netdevsim ? "netdevsim: " : "mlx5_core: ";
  const uint64_t most = netdevsim ? 5000 : 100'000;
  for (const std::optional<uint64_t>& bytes : {one.share, one.max}) {
    if (!bytes) continue;
    if (*bytes % kDevlinkMbit != 0) {
      return SystemError(EINVAL, asked,
                         StrCat(driver, "TX rate value not in link speed units of 1Mbps."));
    }
    if (*bytes / kDevlinkMbit > most) {
      return SystemError(EINVAL, asked,
                         StrCat(driver, "TX rate value exceed link maximum speed ", most, "Mbps."));
    }
  }
  if (one.share) rate.share = *one.share;
  if (one.max) rate.max = *one.max;
  if (!one.parent) return absl::OkStatus();
  const bool node = !rate.id.port;
  if (node && !netdevsim) {
    return SystemError(EOPNOTSUPP, asked, "Parent set isn't supported for the nodes");
  }
  if (!one.parent->empty()) {
    if (!device.rates.contains({{}, *one.parent})) return SystemError(ENODEV, asked);
    if (node && *one.parent == rate.id.node) {
      return SystemError(EINVAL, asked, "Parent to self is not allowed");
    }
    const std::string* above = &device.rates.at({{}, *one.parent}).parent;
    for (; node && !above->empty(); above = &device.rates.at({{}, *above}).parent) {
      if (*above == rate.id.node) {
        return SystemError(EEXIST, asked, "Node is already a parent of parent node.");
      }
    }
  }
  rate.parent = *one.parent;
  return absl::OkStatus();
}

absl::Status FakeDevlink::SetRate(const DevlinkHandle& handle, const DevlinkRateId& id,
                                  const DevlinkRateSettings& wanted) {
  FAIRLEAD_RETURN_IF_ERROR(
      network_->Enter(StrCat("SetRate(", handle.ToString(), ", ", id.ToString(), ")")));
  return With([&](State&) -> absl::Status {
    for (const auto& one : netlink::OneByOne(wanted)) {
      const std::string asked =
          StrCat("set ", one.what, " of the rate ", id.ToString(), " of ", handle.ToString());
      FAIRLEAD_ASSIGN_OR_RETURN(Device * device, Find(handle, asked));
      const auto rate = device->rates.find(id);
      if (rate == device->rates.end()) return SystemError(ENODEV, asked);
      FAIRLEAD_RETURN_IF_ERROR(SetOne(*device, rate->second, one.value, asked));
    }
    return absl::OkStatus();
  });
}

absl::Status FakeDevlink::AddRateNode(const DevlinkHandle& handle, const std::string& name) {
  const std::string call = StrCat("AddRateNode(", handle.ToString(), ", ", name, ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  FAIRLEAD_ASSIGN_OR_RETURN(const DevlinkRateId id, DevlinkRateId::Node(name));
  return With([&](State&) -> absl::Status {
    FAIRLEAD_ASSIGN_OR_RETURN(Device * device, Find(handle, call));
    if (device->rates.contains(id)) return SystemError(EEXIST, call);
    if (*device->eswitch.mode == EswitchMode::kLegacy) {
      return SystemError(EOPNOTSUPP, call,
                         device->options.nic == FakeNic::kNetdevsim
                             ? "netdevsim: Node creation allowed only in switchdev mode."
                             : "mlx5_core: Rate node creation supported only in switchdev mode");
    }
    device->rates[id] = {id, 0, 0, ""};
    return absl::OkStatus();
  });
}

absl::Status FakeDevlink::DeleteRateNode(const DevlinkHandle& handle, const std::string& name) {
  const std::string call = StrCat("DeleteRateNode(", handle.ToString(), ", ", name, ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  FAIRLEAD_ASSIGN_OR_RETURN(const DevlinkRateId id, DevlinkRateId::Node(name));
  return With([&](State&) -> absl::Status {
    FAIRLEAD_ASSIGN_OR_RETURN(Device * device, Find(handle, call));
    if (!device->rates.contains(id)) return SystemError(ENODEV, call);
    if (std::any_of(device->rates.begin(), device->rates.end(),
                    [&](const auto& rate) { return rate.second.parent == name; })) {
      return SystemError(EBUSY, call, "Node has children. Cannot delete node.");
    }
    device->rates.erase(id);
    return absl::OkStatus();
  });
}

absl::StatusOr<DevlinkInfo> FakeDevlink::GetInfo(const DevlinkHandle& handle) {
  const std::string call = StrCat("GetInfo(", handle.ToString(), ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return With([&](State&) -> absl::StatusOr<DevlinkInfo> {
    FAIRLEAD_ASSIGN_OR_RETURN(const Device* device, Find(handle, call));
    return device->options.info;
  });
}

absl::Status FakeDevlink::Reload(const DevlinkHandle& handle) {
  const std::string call = StrCat("Reload(", handle.ToString(), ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return With([&](State& state) -> absl::Status {
    FAIRLEAD_ASSIGN_OR_RETURN(Device * device, Find(handle, call));
    const bool netdevsim = device->options.nic == FakeNic::kNetdevsim;
    if (device->reload_forbidden) {
      return SystemError(EOPNOTSUPP, call,
                         netdevsim ? "netdevsim: User forbid the reload for testing purposes" : "");
    }
    RemovePorts(state, *device, std::nullopt);
    if (netdevsim && device->vfs != 0) {
      device->vfs = 0;
      device->eswitch.mode = EswitchMode::kLegacy;
    }
    if (device->reload_failed != device->reload_fails) {
      device->reload_failed = device->reload_fails;
      Changed(*device);
    }
    if (device->reload_fails) {
      return SystemError(
          EINVAL, call,
          netdevsim ? "netdevsim: User setup the reload to fail for testing purposes" : "");
    }
    AddPhysicalPorts(state, *device);
    if (*device->eswitch.mode != EswitchMode::kLegacy) AddRepresentors(state, *device);
    return absl::OkStatus();
  });
}

uint64_t FakeDevlink::Subscribe(Callback on_event) {
  uint64_t id = 0;
  network_->WhileTelling([&] {
    id = next_subscriber_++;
    subscribers_[id] = std::move(on_event);
  });
  return id;
}

void FakeDevlink::Unsubscribe(uint64_t id) {
  network_->WhileTelling([&] { subscribers_.erase(id); });
}

void FakeDevlink::Tell() {
  network_->WhileTelling([&] {
    std::vector<DevlinkPort::Event> events;
    network_->With([&](State&) { events.swap(events_); });
    const auto subscribers = subscribers_;  // a callback may subscribe
    for (const auto& event : events) {
      for (const auto& [id, callback] : subscribers) callback(event);
    }
  });
}

}  // namespace fairlead
