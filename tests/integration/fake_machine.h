// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a host of the in-memory fakes, and the configuration of an agent for it.
//
// The host has one PF "pf0" whose VFs have representors pf0rep0, pf0rep1, ... and
// fixed MACs, as the lab's virtio face has; options give it more PFs ("pf1"), or
// other ones.
//
// Threading: as of the fakes: they may be changed while an agent runs.
// Ownership: outlives the agent; the folder of its state goes with it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/daemon/config.h"
#include "agent/daemon/lane_executor.h"
#include "agent/ports/conntrack/fake_conntrack.h"
#include "agent/ports/devlink/fake_devlink.h"
#include "agent/ports/netlink/fake_network.h"
#include "agent/ports/qmp/fake_qmp_port.h"
#include "agent/ports/slow_path/fake_slow_path.h"
#include "agent/ports/sysfs/fake_pci_host.h"
#include "agent/ports/sysfs/fake_sysfs_port.h"
#include "agent/ports/uevent/fake_uevent_port.h"

namespace fairlead {

struct FakeMachineOptions {
  uint16_t pfs = 1;
  uint16_t vfs = 4;  // of each PF
  bool can_set_vf_mac = false;
  bool offload_capable = false;
  // NICs as mlx5_core drives them: an eswitch that begins in this mode, representors
  // that devlink tells (none is configured), VFs whose MAC can be set.
  std::optional<EswitchMode> eswitch = std::nullopt;
  // PFs from this number on are as an Intel 82576 (igb): no representors, everything of a
  // VF but a minimum rate can be set.
  uint16_t first_igb = UINT16_MAX;
  // Functions may come by hot-plug, at kHotplugPort, known by their MACs.
  bool hotplug_port = false;
};

// Where a NIC is found and how it is called, which a boot may change.
struct NicPlace {
  PciAddress address;
  std::string netdev;
  uint32_t ifindex = 0;
};

class FakeMachine {
 public:
  // `events`: whether QEMU's events are told by a thread of their own.
  explicit FakeMachine(FakeMachineOptions options,
                       FakeQmpPort::Delivery events = FakeQmpPort::Delivery::kOwnThread);
  ~FakeMachine();
  FakeMachine(const FakeMachine&) = delete;
  FakeMachine& operator=(const FakeMachine&) = delete;

  Ports ports();

  // A VM whose monitor is where the agent looks for it.
  std::shared_ptr<FakeVm> AddVm(const std::string& id, int root_ports = 2);
  void RemoveVm(const std::string& id);
  const std::map<std::string, std::shared_ptr<FakeVm>>& vms() const { return vms_; }
  static std::string UuidOf(const std::string& id);

  // The host boots, without VMs, VFs and rules, and finds its NICs at these places: the
  // first is that of pf0. No agent may be running.
  void Reboot(std::vector<NicPlace> places);

  // What a host shows of Fairlead's work, as text, one thing a line; equal texts
  // mean that nothing was left. The VF pool, which is shared, is not in it.
  std::string Leftovers() const;

  // As long as it has not been booted otherwise.
  static constexpr uint32_t kPfLink = 10;  // of pf0, which has the tunnel's local address
  static constexpr char kLocal[] = "192.0.2.1";
  static constexpr PciAddress kHotplugPort{0, 0, 0x1c, 0};
  static PciAddress PfAddress(uint16_t pf = 0);
  static MacAddress PfMac(uint16_t pf = 0);
  static DevlinkHandle Nic(uint16_t pf = 0) { return DevlinkHandle::Pci(PfAddress(pf)); }
  static MacAddress VfMac(uint16_t index, uint16_t pf = 0);
  PciAddress VfAddress(uint16_t index, uint16_t pf = 0) const;
  // As a port's status names it.
  static std::string VfName(uint16_t index, uint16_t pf = 0);
  static uint32_t Representor(uint16_t index, uint16_t pf = 0);
  // As the PF reports it.
  VfInfo Vf(uint16_t index, uint16_t pf = 0) const;
  void ChangeVf(uint16_t index, uint16_t pf, const std::function<void(VfInfo&)>& change);

  std::shared_ptr<FakeNetwork> network = std::make_shared<FakeNetwork>();
  std::shared_ptr<FakeDevlink> devlink = std::make_shared<FakeDevlink>(network);
  FakePciHost pci;
  FakeUevents uevents;
  FakeQmpPort qmp;
  FakeConntrack conntrack;
  FakeSlowPath slow_path;
  DaemonConfig config;

 protected:
  PciAddress NicAddress(uint16_t pf) const { return places_.at(pf).address; }

  const FakeMachineOptions options_;

 private:
  bool IsIgb(uint16_t pf) const { return pf >= options_.first_igb; }
  bool IsMlx5(uint16_t pf) const { return options_.eswitch && !IsIgb(pf); }
  void Configure(uint16_t pf);
  void Boot();
  void AddPf(uint16_t pf);
  void AddRepresentors(uint16_t pf);

  std::vector<NicPlace> places_;
  std::string folder_;
  std::map<std::string, std::shared_ptr<FakeVm>> vms_;
  FakeSysfsPort sysfs_{pci};
  FakeUeventPort uevent_{&uevents};
};

}  // namespace fairlead
