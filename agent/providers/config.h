// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the configuration tells the providers. They do not choose; these
// are the facts that no kernel interface shows.
// Threading: plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/base/eswitch.h"
#include "agent/base/types.h"
#include "agent/model/facts.h"
#include "agent/model/intent.h"
#include "agent/model/tunnel.h"
#include "agent/providers/own_marks.h"

namespace fairlead {

// For NICs whose representors have no devlink port.
struct RepresentorConfig {
  uint16_t vf = 0;
  std::string netdev;
  std::optional<MacAddress> mac;  // of the VF, where the NIC can neither set nor show it
};

struct PfConfig {
  MacAddress mac;  // permanent
  uint16_t vfs = 0;
  NetworkKind network = NetworkKind::kCompute;
  // Use the PF even though it carries the default route or the management address.
  bool allow_host_traffic = false;
  uint32_t max_hardware_rules = 0;  // that ports' rules may take of it; 0 = as many as there are
  std::vector<RepresentorConfig> representors;
  EswitchSettings eswitch;  // what it is to be; what is absent is left as it is
};

// What a PCI function says that it is (pci.ids).
struct PciIds {
  uint16_t vendor = 0;
  uint16_t device = 0;
  friend bool operator==(const PciIds&, const PciIds&) = default;
};

// A PCIe port that functions are hot-plugged into, as a DPU does.
struct HotplugPortConfig {
  PciAddress port;   // of the bridge
  std::string name;  // for people; the address unless given
  NetworkKind network = NetworkKind::kCompute;
  FunctionIdentity identity = FunctionIdentity::kMac;
  std::vector<PciIds> devices;                 // that may arrive; empty: any network function
  std::chrono::milliseconds deadline{30'000};  // how long a port of a VM waits for one
};

struct HypervisorConfig {
  // "{vm}" and "{uuid}" are replaced; both are checked ids, so that the path
  // cannot leave its folder.
  std::string monitor = "/run/fairlead/vm/{vm}/qmp.sock";
  std::vector<uint32_t> peer_uids;      // empty: anyone
  std::vector<std::string> root_ports;  // names, or prefixes that end in '*'
};

struct ProviderConfig {
  std::vector<PfConfig> pfs;
  std::vector<HotplugPortConfig> hotplug_ports;
  TunnelConfig tunnel;
  HypervisorConfig hypervisor;
  std::string slow_path_socket = "/run/fairlead-slowpath/control.sock";
  std::optional<IpAddress> management_address;
  std::string vf_driver = "vfio-pci";
  std::shared_ptr<OwnMarks> marks;                    // filled in when the store is open
  std::chrono::milliseconds sriov_deadline{120'000};  // sriov_numvfs
  std::chrono::milliseconds bind_deadline{10'000};    // unbind, probe, reset
  std::chrono::milliseconds qmp_deadline{10'000};
  // QEMU pins all memory of the guest before it answers, which takes minutes for a
  // large one.
  std::chrono::milliseconds device_add_deadline{120'000};
  // How long QEMU may take, after it let a device go, to close its VFIO group.
  std::chrono::milliseconds group_close_patience{3'000};

  const PfConfig* FindPf(const NicId& pf) const;
  const HotplugPortConfig* FindHotplugPort(const NicId& port) const;
};

}  // namespace fairlead
