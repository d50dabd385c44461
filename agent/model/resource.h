// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the resources that intents compile to. The agent makes observed
// resources equal to wanted ones; agent/plan compares them attribute by
// attribute and agent/providers act on them.
//
// Keys survive reboots and renames. An optional attribute that a wanted
// resource leaves empty is not compared and not touched.
//
// Threading: plain values.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/base/counters.h"
#include "agent/base/eswitch.h"
#include "agent/base/types.h"
#include "agent/model/flow_rule.h"
#include "agent/model/intent.h"
#include "agent/model/tunnel.h"
#include "agent/model/vf_settings.h"

namespace fairlead {

// In the order in which things are made; they are taken away in reverse.
enum class ResourceKind : uint8_t {
  kVfPool,
  kPf,  // after its VFs: some eswitches go back to legacy mode without any
  kTunnel,
  kUplink,
  kNeighbour,
  kVf,
  kRepresentor,
  kFlowRule,
  kDriverBinding,
  kGuestDevice,
};
std::string_view ResourceKindName(ResourceKind kind);  // "vf-pool", "flow-rule", ...

struct ResourceKey {
  ResourceKind kind = ResourceKind::kVfPool;
  std::string name;  // of any other than a flow rule
  RuleLocation rule =
      {};  // of a flow rule: there are many, and a place is found faster than a name
  std::string ToString() const;  // "representor/52:54:00:00:00:01/3"
  friend auto operator<=>(const ResourceKey&, const ResourceKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const ResourceKey& k) {
    return H::combine(std::move(h), k.kind, k.name, k.rule.table, k.rule.chain, k.rule.priority,
                      k.rule.handle);
  }
};

ResourceKey VfPoolKey(const NicId& pf);
ResourceKey PfKey(const NicId& pf);
ResourceKey TunnelKey();
ResourceKey UplinkKey(const NicId& pf);
ResourceKey NeighbourKey(const IpAddress& outer);
ResourceKey VfKey(const VfId& vf);
ResourceKey RepresentorKey(const VfId& vf);
ResourceKey FlowRuleKey(const RuleLocation& location);
// The rules of a table stand side by side in whatever is ordered by key, from FirstRuleKey on.
ResourceKey FirstRuleKey(const RuleTable& table);
bool IsRuleOf(const ResourceKey& key, const RuleTable& table);
ResourceKey DriverBindingKey(const VfId& vf);
ResourceKey GuestDeviceKey(std::string_view vm, std::string_view port);

// The VFs of a PF. Shared: never undone by a failed attach.
struct VfPoolSpec {
  NicId pf;
  uint16_t count = 0;
  bool autoprobe = false;  // sriov_drivers_autoprobe
  friend bool operator==(const VfPoolSpec&, const VfPoolSpec&) = default;
};

// A NIC's eswitch. Shared: never undone by a failed attach, never taken away.
struct PfSpec {
  NicId pf;
  EswitchSettings eswitch;
  friend bool operator==(const PfSpec&, const PfSpec&) = default;
};

// What is set on a VF through its PF. Empty where the NIC has no such call, or where it
// is not asked for.
struct VfSpec {
  VfId vf;
  std::optional<MacAddress> mac = {};  // of one that is given back: what it then has
  VfSettings settings = {};
  friend bool operator==(const VfSpec&, const VfSpec&) = default;
};

// The host's end of a VF, bound to its VPC's block, which ends in a drop rule
// before the link goes up; no IPv6 link-local address (addrgenmode none).
struct RepresentorSpec {
  VfId vf;
  std::optional<RuleTable> block;  // that it is bound to; none: bound to no block
  bool up = true;
  bool default_drop = true;  // its block ends in the drop rule
  bool addr_gen_none = true;
  friend bool operator==(const RepresentorSpec&, const RepresentorSpec&) = default;
};

// The host's one overlay device (collect_md). Ends in a drop rule.
struct TunnelSpec {
  std::string device;  // netdev name
  IpAddress local;     // outer source address; must be an address of the host
  uint16_t udp_port = 4789;
  uint32_t mtu = 0;  // bytes, of the inner packet
  bool up = true;
  bool default_drop = true;  // its ingress ends in the drop rule
  Encapsulation encapsulation = Encapsulation::kVxlan;
  friend bool operator==(const TunnelSpec&, const TunnelSpec&) = default;
};

// The clsact qdisc of a PF's netdev, which the rules for what comes from the wire hang on. The
// host's own traffic uses the same device, and others may use the same qdisc: it goes only if
// this agent made it, and once nobody else's filter is there.
struct UplinkSpec {
  NicId pf;
  std::optional<bool> made;  // by this agent; none where it is wanted: whoever's it is
  friend bool operator==(const UplinkSpec&, const UplinkSpec&) = default;
};

// A tunnel peer's next hop, kept resolved by the kernel (NTF_EXT_MANAGED).
struct NeighbourSpec {
  IpAddress outer;
  friend bool operator==(const NeighbourSpec&, const NeighbourSpec&) = default;
};

struct FlowRuleSpec {
  FlowRule rule;
  friend bool operator==(const FlowRuleSpec&, const FlowRuleSpec&) = default;
};

struct DriverBindingSpec {
  VfId vf;
  std::string driver;                // "vfio-pci"
  std::optional<uint32_t> node_uid;  // owner of /dev/vfio/GROUP
  std::optional<uint32_t> node_gid;
  std::optional<uint32_t> node_mode;  // permission bits
  // A hot-plugged function is taken from its host driver only if its netdev shows this
  // MAC right then. Empty, and always in what was observed: not looked at.
  std::optional<MacAddress> shows_mac = std::nullopt;
  friend bool operator==(const DriverBindingSpec&, const DriverBindingSpec&) = default;
};

struct GuestDeviceSpec {
  std::string vm;
  Uuid uuid;
  std::string port;
  std::string device_id;  // see GuestDeviceId
  PciAddress host;
  std::string bus;  // QEMU id of the root port
  friend bool operator==(const GuestDeviceSpec&, const GuestDeviceSpec&) = default;
};

// "fairlead-<store id>-p<port ordinal>-l<lease>": whose it is can be read off the
// VM. Another store's numbers begin at 1 too, and its devices are not ours.
std::string GuestDeviceId(uint32_t store_id, uint32_t port_ordinal, Lease lease);
// What such an id says; none for any other text.
struct GuestDeviceName {
  uint32_t store = 0;
  uint32_t port_ordinal = 0;
  Lease lease = 0;
};
std::optional<GuestDeviceName> ParseGuestDeviceId(std::string_view id);
inline constexpr std::string_view kGuestDevicePrefix = "fairlead-";

using ResourceSpec =
    std::variant<VfPoolSpec, PfSpec, TunnelSpec, UplinkSpec, NeighbourSpec, VfSpec, RepresentorSpec,
                 FlowRuleSpec, DriverBindingSpec, GuestDeviceSpec>;

// A wanted resource.
struct Resource {
  ResourceKey key;
  ResourceSpec spec;
  std::vector<ResourceKey> depends;  // must be observed before this is made
  // The tenancy that this belongs to; 0 for what no VF carries. A provider
  // refuses an operation whose lease is not the VF's current one.
  Lease lease = 0;
  friend bool operator==(const Resource&, const Resource&) = default;
};

enum class RuleHardware : uint8_t { kUnknown, kInHardware, kSoftware };

// What is seen of a rule. What it matches and does is not: that shows in its cookie's hash.
struct RuleEvidence {
  // How many devices of its block took it is not known: it was not asked for.
  static constexpr uint32_t kNotCounted = UINT32_MAX;

  uint64_t content_hash = 0;  // of the cookie; 0: it has none of ours
  uint32_t match_hash = 0;    // of the cookie
  uint32_t mark = 0;          // id of the store whose cookie it has; 0: none
  uint32_t in_hw_count = 0;
  uint16_t ethertype = kEtherAll;
  bool ours = false;
  RuleHardware hardware = RuleHardware::kUnknown;
  friend bool operator==(const RuleEvidence&, const RuleEvidence&) = default;
};
struct ObservedRule {
  RulePlace place;
  RuleEvidence seen;
};
// All of a table.
struct ObservedRules {
  std::vector<ObservedRule> rules;           // ascending by place
  std::map<RulePlace, std::string> foreign;  // of those that are not ours: what and whose it is
};

// A rule whose counters are asked for. `ethertype`: of what stands there.
struct RuleToCount {
  RuleLocation location;
  uint16_t ethertype = kEtherAll;
};
// What came of it.
struct RuleReading {
  RuleCounters counters;
  uint32_t in_hw_count = 0;  // devices that have it in hardware
};

enum class NeighbourState : uint8_t { kUnknown, kResolved, kUnresolved, kNoRoute };

// What a provider found, in the same terms, with the evidence for "ready".
struct ObservedResource {
  ResourceKey key;
  ResourceSpec spec;
  // False for an object of somebody else in a place that we would use.
  bool ours = true;
  uint32_t mark = 0;        // id of the store whose mark it carries; 0: none
  std::string owner_words;  // of a foreign one: what it is and whose mark it carries, if known
  // Flow rules, as RuleEvidence has them:
  RuleHardware hardware = RuleHardware::kUnknown;
  uint32_t in_hw_count = 0;
  uint64_t content_hash = 0;
  uint32_t match_hash = 0;
  NeighbourState neighbour = NeighbourState::kUnknown;  // neighbours
  std::string neighbour_detail;  // "10.0.0.2 dev pf0 lladdr .. REACHABLE", "no route to 10.0.0.2"
  uint32_t ifindex = 0;          // representor, tunnel, uplink
  // Representors, of what a provider just did: its block was made anew, empty.
  bool table_is_new = false;
};

}  // namespace fairlead
