// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the machine that a host model tells of, made of the ports' in-memory doubles:
// PCI functions, links, addresses, neighbours, VMs; with latencies if wanted.
//
// Threading: construct on one thread; ports() may be used from any. What a latency
// delays blocks its caller, as the kernel would.
// Ownership: outlives the agent that uses its ports, and holds no thread of its own.
// Errors: none of its own: a model that was read can be made. Its ports fail as the
// kernel and QEMU would, with their words.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "agent/daemon/lane_executor.h"
#include "agent/ports/conntrack/fake_conntrack.h"
#include "agent/ports/devlink/fake_devlink.h"
#include "agent/ports/netlink/fake_network.h"
#include "agent/ports/qmp/fake_qmp_port.h"
#include "agent/ports/slow_path/fake_slow_path.h"
#include "agent/ports/sysfs/fake_pci_host.h"
#include "agent/ports/sysfs/fake_sysfs_port.h"
#include "agent/ports/uevent/fake_uevent_port.h"
#include "agent/simulate/host_model.h"

namespace fairlead {

class Machine {
 public:
  // Has a function run later; callable from any thread. Used with latencies only.
  using After = std::function<void(std::chrono::milliseconds delay, std::function<void()> fn)>;

  Machine(const HostModel& model, bool with_latency, After after);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  Ports ports();
  // From now on nothing is delayed, what is under way included: before the agent ends.
  void EndLatency();

 private:
  using Duration = LatencyModel::Duration;
  void AddNic(const NicModel& nic);
  void AddEswitch(const NicModel& nic, EswitchMode mode);
  void AddHotplugPort(const HotplugPortModel& port);
  // What a DPU does, and what the kernel says about it.
  void Plug(const PciAddress& port, const FunctionModel& function);
  // The driver's side of VFs that have come, or gone (0).
  void ShowVfs(const PciAddress& pf, uint16_t count);
  void AddLatency();
  void Pause(Duration duration);
  std::shared_ptr<FakeVm> MakeVm(const Uuid& uuid, uint16_t root_ports);
  // The VM whose monitor would be at this path; null: none.
  std::shared_ptr<FakeVm> FindVm(const std::string& path);

  const bool with_latency_;
  const LatencyModel latency_;
  const std::optional<uint16_t> on_demand_root_ports_;
  const After after_;

  std::mutex pause_mutex_;
  std::condition_variable pause_over_;
  bool no_more_pauses_ = false;

  std::shared_ptr<FakeNetwork> network_ = std::make_shared<FakeNetwork>();
  std::shared_ptr<FakeDevlink> devlink_ = std::make_shared<FakeDevlink>(network_);
  FakePciHost pci_;
  struct Settable {
    uint32_t ifindex = 0;  // of the PF's netdev
    VfInfo fresh;          // what it shows of a new VF
  };
  std::map<PciAddress, Settable> settable_;  // PFs that can set their VFs' MACs
  FakeSysfsPort sysfs_{pci_};
  FakeUevents uevents_;
  FakeUeventPort uevent_port_{&uevents_};
  FakeQmpPort qmp_;
  FakeConntrack conntrack_;
  FakeSlowPath slow_path_;

  std::mutex vms_mutex_;
  std::map<std::string, std::shared_ptr<FakeVm>> listed_;  // by id
  struct OnDemand {
    Uuid uuid;
    std::shared_ptr<FakeVm> vm;
  };
  std::map<std::string, OnDemand> on_demand_;  // by id
};

}  // namespace fairlead
