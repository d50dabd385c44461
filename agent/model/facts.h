// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what is so on this host and in its VMs, as the compiler reads it.
// Providers fill these from the kernel and QEMU; nothing here is wished.
//
// Threading: plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/base/eswitch.h"
#include "agent/base/types.h"
#include "agent/model/flow_rule.h"
#include "agent/model/intent.h"
#include "agent/model/tunnel.h"
#include "agent/model/vf_settings.h"

namespace fairlead {

// Stands for the driver of a function that must not be taken for a free one: the kernel
// is at work on it and shows only a part of it.
inline constexpr char kBusyDriver[] = "(busy)";

struct VfFacts {
  uint16_t index = 0;
  PciAddress pci;
  // Why it could not be looked at; all else is as it was before, or empty. "" = it was.
  std::string unreadable;
  std::string driver;           // "" = none bound
  std::string driver_override;  // "" = none
  bool can_reset = true;        // else it is given on as its last user left it
  std::optional<uint32_t> iommu_group;
  std::vector<PciAddress> group_peers;  // other devices in that group, bridges left out
  std::string netdev;                   // of a host driver, "" if none
  bool netdev_up = false;
  // The MAC that the VF will show. From the PF's VF info, the VF's netdev, or
  // (for NICs that cannot report it) the configuration.
  std::optional<MacAddress> mac;
  VfSettings settings;               // as the PF reports them
  bool has_rate_leaf = false;        // its rates are set and read by devlink
  std::string representor;           // netdev name, "" if none is known
  uint32_t representor_ifindex = 0;  // 0: it is not there
  uint32_t representor_mtu = 0;
  bool representor_up = false;
  std::string representor_refused;  // why that netdev may not be used; "" = it may
  std::string representor_awaited;  // why devlink's has no netdev yet; "" = none is to come
  // Of a hot-plugged function:
  uint16_t vendor = 0, device = 0;  // PCI ids
  std::string refused;              // why it may not be handed out; "" = it may
  bool leaving = false;             // it is being removed, which waits for the VM that has it
  // A single VF or function that was asked for is not there.
  bool gone = false;
  friend bool operator==(const VfFacts&, const VfFacts&) = default;
};

// Whether a driver serves somebody with the VF: `vf_driver` is the one that VFs are
// handed out with.
bool InUse(const VfFacts& vf, const std::string& vf_driver);
// By whom, for people; "" = nobody.
std::string WhyInUse(const VfFacts& vf, const std::string& vf_driver);

// By what the function is known that a port expects at a hot-plug port: by the MAC that
// its host driver's netdev shows, or by being there.
enum class FunctionIdentity : uint8_t { kMac, kSlot };

// What functions come from: a PF with its VFs, or a PCIe port that functions are
// hot-plugged into (see NicId), with those that are there now.
struct PfFacts {
  NicId id;
  bool is_hotplug_port() const { return id.is_hotplug_port(); }
  // Of a hot-plug port, from the configuration:
  std::string name;  // for people
  FunctionIdentity identity = FunctionIdentity::kMac;
  std::chrono::milliseconds deadline{0};  // how long a port waits for its function

  PciAddress pci;
  std::string netdev;
  uint32_t ifindex = 0;
  std::string driver;
  NetworkKind network = NetworkKind::kCompute;  // from the configuration
  uint16_t total_vfs = 0;
  uint16_t num_vfs = 0;
  uint16_t wanted_vfs = 0;          // from the configuration
  uint32_t max_hardware_rules = 0;  // likewise; 0 = no port is refused for what its rules take
  bool autoprobe = true;
  bool can_set_vf_mac = false;     // the PF reports VF info (IFLA_VFINFO_LIST)
  int numa_node = -1;              // -1 = unknown
  EswitchSettings eswitch;         // as devlink shows it; empty = the NIC has none
  EswitchSettings wanted_eswitch;  // from the configuration
  // Why this PF may not be used ("carries the default route", ...); "" = usable.
  std::string refused;
  std::vector<VfFacts> vfs;  // ascending index; of a PF, num_vfs of them

  // What its VFs can carry. Where the VFs have representors (an eswitch in switchdev
  // mode, or representors that the configuration names), rules forward: overlays, and
  // provider networks by its uplink, which is the PF's netdev. Any other NIC forwards by
  // MAC and VLAN alone, as it is told for each VF through the PF: VLAN networks. One that cannot be
  // told either carries nothing, and neither does one in switchdev_inactive mode. Of a PF without
  // VFs the former is not known: it shows only with them.
  enum class Serves : uint8_t { kNothing, kByRules, kVlan };
  Serves serves() const;
  friend bool operator==(const PfFacts&, const PfFacts&) = default;
};

struct TunnelFacts {
  std::string device;
  uint32_t ifindex = 0;
  IpAddress local;
  uint16_t udp_port = 4789;
  uint32_t mtu = 0;
  Encapsulation encapsulation = Encapsulation::kVxlan;
  friend bool operator==(const TunnelFacts&, const TunnelFacts&) = default;
};

struct ObservedResource;  // agent/model/resource.h
TunnelFacts TunnelFactsOf(const ObservedResource& tunnel);

struct HostFacts {
  std::map<NicId, PfFacts> pfs;       // only those that the configuration lists
  std::optional<TunnelFacts> tunnel;  // observed and ours
  UnderlayFacts underlay;             // of the tunnel

  const VfFacts* FindVf(const VfId& id) const;
};

// A VM as its monitor showed it.
struct VmFacts {
  std::string vm;
  Uuid uuid;
  std::string run_state;  // "running", "prelaunch", ...
  struct RootPort {
    std::string id;        // QEMU id of the pcie-root-port; matches the configuration
    std::string occupant;  // QEMU id (or QOM path) of what sits in it, "" = free
    friend bool operator==(const RootPort&, const RootPort&) = default;
  };
  std::vector<RootPort> root_ports;  // in natural order of id (rp2 before rp10)
  friend bool operator==(const VmFacts&, const VmFacts&) = default;
};

// How far an attachment has come; written to the store before the step that it
// names is begun, so that a restart knows what may lie around.
enum class AttachmentPhase : uint8_t {
  kApplying,     // leased; operations of the attach may have begun
  kReady,        // was ready once: repaired from now on, never torn down by itself
  kRollingBack,  // the attach failed; what it made is being taken apart
  kReleasing,    // the port was removed; its resources are being taken apart
};
std::string_view AttachmentPhaseName(AttachmentPhase phase);

// The tenancy of a VF by a port, and the journal of its transaction. It holds
// what is needed to take the attachment apart when the port itself is gone.
struct Attachment {
  VfId vf;
  Lease lease = 0;
  uint64_t transaction = 0;  // grows by one with every attach or release
  uint64_t generation = 0;   // of the port, when the transaction began
  AttachmentPhase phase = AttachmentPhase::kApplying;
  std::string port;
  uint32_t port_ordinal = 0;
  std::string vm;  // "" = none
  Uuid vm_uuid;
  std::string bus;  // root port chosen, "" = none
  std::string guest_id =
      {};  // of its device in QEMU, where another store gave it; "": GuestDeviceId
  std::string vpc;
  // Of the overlay whose block its representor joins.
  std::optional<Vni> vni = {};
  // Of the provider network. Set on its VF, unless `uplink`.
  std::optional<VlanId> vlan = {};
  // Rules carry its frames in the provider network, by the PF's uplink: in `vlan`, or untagged
  // without one.
  bool uplink = false;
  std::optional<MacAddress> mac = {};     // that the port asked for when it was attached
  std::optional<MacAddress> vf_mac = {};  // that the VF had when it was leased, and gets back
  std::optional<uint32_t> mtu = {};       // of its representor when it was leased
  // The block that its representor joins; none: no rule of this host carries it.
  std::optional<RuleTable> block() const;
  friend bool operator==(const Attachment&, const Attachment&) = default;
};

// The id of the attachment's device in QEMU.
std::string GuestDeviceIdOf(uint32_t store_id, const Attachment& attachment);

}  // namespace fairlead
