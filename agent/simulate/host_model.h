// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a host that does not exist, as a file tells it: NICs, hot-plug ports, GPUs,
// addresses, VMs, latencies and limits. packaging/simulate/gpu-host.yaml explains every key.
//
// Threading: plain values, free functions. Errors: kInvalidArgument with every mistake,
// one a line, each with line number and key.
// Limits, which the reader enforces: a file of kMaxHostModelBytes. NICs 256, with 64
// addresses each; VFs 16384 of all NICs together; hot-plug ports 256, with 64 functions each; GPUs,
// routes, answering networks and listed VMs 1024 of each kind. Root ports of a VM 0..256; NUMA node
// 0..1023; MTU 68..65535; rules of a table 0..100000000; a latency 0..600 s. The host's name has 40
// bytes at most, a netdev's 1..15, any other name 1..63, none with control characters.
// MACs, PCI functions, names of netdevs and GPUs, ids and UUIDs of VMs are there once.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/types.h"
#include "agent/model/intent.h"
#include "agent/ports/devlink/devlink_port.h"
#include "agent/yaml/yaml_tree.h"

namespace fairlead {

struct InterfaceAddress {
  IpAddress address;
  IpPrefix network;
};

// A NIC's physical function, or a plain NIC (total_vfs 0).
struct NicModel {
  std::string netdev;
  MacAddress mac;  // permanent
  PciAddress pci;
  std::string driver = "mlx5_core";
  uint16_t vendor = 0x15b3;  // pci.ids: Mellanox
  uint16_t device = 0x1021;  // ConnectX-7
  uint32_t mtu = 1500;
  int numa = -1;
  std::string pcie_switch;  // "" = at the root
  uint16_t total_vfs = 0;   // that the hardware can have
  uint16_t vf_offset = 1;   // First VF Offset of the SR-IOV capability
  uint16_t vfs = 0;         // that Fairlead shall make; 0: the NIC is none of Fairlead's
  NetworkKind network = NetworkKind::kCompute;
  bool can_set_vf_mac = true;
  bool offload = true;  // its representors take rules into hardware
  // Of an eswitch that devlink shows, the mode after boot; the configuration asks for
  // switchdev, and representors come with VFs and that mode. Absent: devlink knows nothing
  // of the NIC, its representors (if it has any) are always there, and the configuration says
  // which is whose.
  std::optional<EswitchMode> eswitch;
  bool allow_host_traffic = false;
  // Pattern of their names, with {vf}. "": the NIC has none and forwards by MAC and VLAN.
  std::string representors;
  std::vector<InterfaceAddress> addresses;

  // Of the VFs that there will be.
  std::string RepresentorName(uint16_t vf) const;
  // Of a NIC that can neither set nor show its VFs' MACs.
  MacAddress FixedVfMac(uint16_t vf) const;
};

// What a DPU brings by itself.
struct FunctionModel {
  std::string netdev;  // that its host driver makes of it
  MacAddress mac;
  PciAddress pci;
  std::string driver = "virtio-pci";
  uint16_t vendor = 0x1af4;  // pci.ids: Red Hat
  uint16_t device = 0x1041;  // a modern virtio NIC
  // How long after the start it comes, with latencies; without, it is there at once.
  std::chrono::microseconds after{3'000'000};
};

struct HotplugPortModel {
  PciAddress port;  // of the bridge
  std::string name;
  std::vector<FunctionModel> functions;
  YamlNode config;  // as the list `hotplug_ports` of fairleadd.yaml has it
};

struct GpuModel {
  std::string name;
  PciAddress pci;
  int numa = -1;
  std::string pcie_switch;
};

struct RouteModel {
  IpPrefix to;
  std::optional<IpAddress> via;
  std::string netdev;
};

struct VmModel {
  std::string id;
  Uuid uuid;
  uint16_t root_ports = 0;
};

// How long what blocks on a real host takes, each time.
struct LatencyModel {
  using Duration = std::chrono::microseconds;
  Duration sriov_numvfs{1'500'000};
  Duration eswitch{2'000'000};  // another mode
  Duration bind{60'000};
  Duration unbind{60'000};
  Duration reset{110'000};  // 100 ms after an FLR are the function's (PCIe 6.0, 6.6.2)
  Duration device_add{250'000};
  Duration device_del{400'000};  // from the request until the guest has let go
  Duration rule{300};            // one rule put or deleted
  Duration netlink{40};          // any other netlink request
};

struct HostModel {
  std::string name;
  std::vector<NicModel> nics;
  std::vector<HotplugPortModel> hotplug_ports;
  std::vector<GpuModel> gpus;
  std::vector<RouteModel> routes;
  std::vector<IpPrefix> answering;  // neighbours there have a link address; all others have none
  std::vector<VmModel> vms;
  std::optional<uint16_t> on_demand_root_ports;  // any other VM that is asked for exists too
  LatencyModel latency;
  std::optional<uint32_t> rules_per_table;  // absent: no limit
  YamlNode config;                          // keys of fairleadd.yaml; see host_config.h
  std::string log_level = "info";           // as it says

  const NicModel* FindNic(std::string_view netdev) const;
};

inline constexpr size_t kMaxHostModelBytes = 1 << 20;

absl::StatusOr<HostModel> ParseHostModel(std::string_view yaml);
absl::StatusOr<HostModel> LoadHostModel(const std::string& path);

// Host `number` of many like this one: its own name, MACs of PFs and hot-plugged functions,
// and addresses (all counted up). kInvalidArgument where an address would leave its network.
absl::StatusOr<HostModel> NumberedHost(const HostModel& model, uint32_t number);

// For people: the NICs, hot-plugged functions and GPUs, one a line, and which NIC and GPU
// share a PCIe switch.
std::string DescribeHost(const HostModel& model);

}  // namespace fairlead
