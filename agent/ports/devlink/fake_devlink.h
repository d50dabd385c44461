// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the devlink side of a host in memory, behind FakeDevlinkPort: devices,
// their eswitch and ports. The netdevs of the ports are links of a FakeNetwork, so
// that the fakes of rtnetlink and TC see the same representors.
//
// What it imitates of the drivers:
//   both        switchdev brings a representor for each VF, legacy takes them away;
//               VFs that come or go in switchdev bring and take theirs
//   kNetdevsim  (drivers/net/netdevsim/dev.c, bus.c) ports of indices 0.. and, of
//               VFs, 128..; PF number 0; only the mode can be set of the eswitch and
//               nothing of functions; without VFs switchdev falls back to legacy; a
//               reload takes the VFs, and may be told to fail; nodes below nodes, in a
//               link of 5 Gbit/s
//   kMlx5       (mlx5/core/eswitch_offloads.c, en_tc.c, esw/devlink_port.c) rules in
//               hardware refuse another mode (EBUSY) and another encapsulation;
//               inline mode "none" only; MAC and RoCE of functions; no migration,
//               IPsec or state of VFs; without VFs it stays as it is. Its uplink is
//               no port of the PF's device. What a reload does is a guess. No node
//               below a node (esw/qos.c of 6.12), in a link of 100 Gbit/s
//
// Threading: safe from any thread; its state is under the network's lock.
// Subscribers are called on the thread that caused the event, after the change is
// visible; they must not destroy a subscription.
// Ownership: shared by the ports (std::shared_ptr); shares the network.
// Errors: as the kernel's, by SystemError. Faults, hook and the list of calls are
// the network's ("SetEswitch(pci/0000:01:00.0)").
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/ports/devlink/devlink_port.h"
#include "agent/ports/netlink/fake_network.h"

namespace fairlead {

enum class FakeNic : uint8_t { kNetdevsim, kMlx5 };

struct FakeDevlinkOptions {
  DevlinkHandle handle;
  FakeNic nic = FakeNic::kMlx5;
  uint16_t pf = 0;              // that VF ports show; not of netdevsim
  std::string netdev = "pf0";   // physical ports are "<netdev>p<n>"
  std::string representors;     // their names, with {vf}; "": "<netdev>r{vf}"
  uint32_t mtu = 1500;          // of representors and physical ports
  uint32_t physical_ports = 1;  // netdevsim's
  bool offload = true;          // representors take TC rules into hardware
  EswitchMode mode = EswitchMode::kLegacy;
  DevlinkInfo info;
};

class FakeDevlink {
 public:
  explicit FakeDevlink(std::shared_ptr<FakeNetwork> network) : network_(std::move(network)) {}

  // --- What hardware, drivers and administrators do.
  void AddDevice(const FakeDevlinkOptions& options);
  void RemoveDevice(const DevlinkHandle& handle);
  // The driver's side of sriov_numvfs: EBUSY from one number to another, ENODEV.
  absl::Status SetVfCount(const DevlinkHandle& handle, uint16_t count);
  // What the port of a VF's representor shows as its netdev, 0: none (yet). Drivers
  // register the netdev first and bind it to its port a moment later.
  void SetRepresentorNetdev(const DevlinkHandle& handle, uint16_t vf, uint32_t ifindex);
  // netdevsim's debugfs knobs fail_reload and dont_allow_reload.
  void SetReloadFails(const DevlinkHandle& handle, bool fails);
  void SetReloadForbidden(const DevlinkHandle& handle, bool forbidden);
  void LoseEvents();
  FakeNetwork& network() { return *network_; }

  // --- The operations of FakeDevlinkPort; contracts in devlink_port.h.
  absl::StatusOr<std::vector<DevlinkDevice>> ListDevices();
  absl::StatusOr<DevlinkEswitch> GetEswitch(const DevlinkHandle& handle);
  absl::Status SetEswitch(const DevlinkHandle& handle, const DevlinkEswitch& wanted);
  absl::StatusOr<std::vector<DevlinkPortInfo>> ListPorts(const DevlinkHandle& handle);
  absl::StatusOr<DevlinkPortInfo> GetPort(const DevlinkHandle& handle, uint32_t index);
  absl::Status SetPortFunction(const DevlinkHandle& handle, uint32_t index,
                               const DevlinkPortFunction& wanted);
  absl::StatusOr<std::vector<DevlinkRate>> ListRates(const DevlinkHandle& handle);
  absl::Status SetRate(const DevlinkHandle& handle, const DevlinkRateId& id,
                       const DevlinkRateSettings& wanted);
  absl::Status AddRateNode(const DevlinkHandle& handle, const std::string& name);
  absl::Status DeleteRateNode(const DevlinkHandle& handle, const std::string& name);
  absl::StatusOr<DevlinkInfo> GetInfo(const DevlinkHandle& handle);
  absl::Status Reload(const DevlinkHandle& handle);
  using Callback = std::function<void(const DevlinkPort::Event&)>;
  uint64_t Subscribe(Callback on_event);
  void Unsubscribe(uint64_t id);  // waits for a callback under way

 private:
  struct Device {
    FakeDevlinkOptions options;
    DevlinkEswitch eswitch;
    uint16_t vfs = 0;
    bool reload_failed = false;
    bool reload_fails = false;
    bool reload_forbidden = false;
    std::map<uint32_t, DevlinkPortInfo> ports;  // name of the netdev: the network's
    std::map<DevlinkRateId, DevlinkRate> rates;
  };
  using State = FakeNetwork::State;

  // Runs `change` under the network's lock, then tells subscribers.
  template <typename F>
  auto With(F change) -> decltype(change(std::declval<State&>())) {
    struct Telling {
      FakeDevlink* self;
      ~Telling() { self->Tell(); }
    } telling{this};
    return network_->With(change);
  }
  absl::StatusOr<Device*> Find(const DevlinkHandle& handle, std::string_view asked);
  absl::Status SetMode(State& state, Device& device, EswitchMode mode, std::string_view asked);
  absl::Status SetOne(State& state, Device& device, const DevlinkEswitch& one,
                      std::string_view asked);
  static absl::Status SetOne(Device& device, DevlinkRate& rate, const DevlinkRateSettings& one,
                             std::string_view asked);
  void AddPort(State& state, Device& device, DevlinkPortInfo port, std::string netdev,
               bool offload);
  void AddPhysicalPorts(State& state, Device& device);
  void AddRepresentors(State& state, Device& device);
  // Those of a flavour, or all.
  void RemovePorts(State& state, Device& device, std::optional<DevlinkFlavour> flavour);
  void Changed(const Device& device);
  void Tell();

  std::shared_ptr<FakeNetwork> network_;
  // Under the network's lock.
  std::map<DevlinkHandle, Device> devices_;
  uint16_t next_mac_ = 1;
  std::vector<DevlinkPort::Event> events_;

  // Used while the network tells: a callback may call any port on it.
  std::map<uint64_t, Callback> subscribers_;
  uint64_t next_subscriber_ = 1;
};

}  // namespace fairlead
