// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what a controller wants, as validated values. These are the objects
// that the store keeps and that the compiler reads. agent/intent makes them
// from protobuf messages; nothing else does.
//
// Threading: plain values. Every id passed CheckObjectId.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/base/types.h"

namespace fairlead {

// A tenant network with address ranges of its own: an overlay, or a provider network
// on the NIC's own fabric, in a VLAN or untagged. One of `vni`, `vlan` and `flat` is there.
struct Vpc {
  std::string id;
  std::optional<Vni> vni = {};      // unique on the host
  std::optional<VlanId> vlan = {};  // unique on the host
  bool flat = false;                // one VPC of the host
  // Where its connections are followed, since it has a stateful security group. Chosen by the agent
  // (Admit), unique on the host, and nobody else's before it was emptied.
  std::optional<uint16_t> ct_zone = {};
  bool is_provider() const { return vlan.has_value() || flat; }
  friend bool operator==(const Vpc&, const Vpc&) = default;
};

// An L2 segment of a VPC. At most one prefix per family, at least one in all.
struct Subnet {
  std::string id;  // unique on the host
  std::string vpc;
  std::optional<IpPrefix> prefix4;
  std::optional<IpPrefix> prefix6;
  // The router's address on it, in the prefix of its family; nobody else's in the VPC. Without one
  // the subnet is not routed in that family.
  std::optional<IpAddress> gateway4 = {};
  std::optional<IpAddress> gateway6 = {};
  // What DHCP and router advertisements tell the guests.
  std::vector<IpAddress> dns_servers = {};

  bool Contains(const IpAddress& a) const {
    return (prefix4 && prefix4->Contains(a)) || (prefix6 && prefix6->Contains(a));
  }
  friend bool operator==(const Subnet&, const Subnet&) = default;
};

// A virtual machine that the hypervisor runs. Its QMP monitor's path comes from
// the configuration's template, never from here.
struct Vm {
  std::string id;
  Uuid uuid;  // QEMU's -uuid; checked at every connection
  friend bool operator==(const Vm&, const Vm&) = default;
};

// Which of the host's networks a port's NIC belongs to.
enum class NetworkKind : uint8_t { kCompute, kConverged };

// must: rules run in hardware or the port fails. prefer: hardware if it takes
// them. off: software only (skip_hw).
enum class OffloadWish : uint8_t { kMust, kPrefer, kOff };

// Where a port's function comes from. vf: one of the host's VFs, forwarded by rules of
// this host. hotplug: it is brought by PCIe hot-plug, as a DPU does; the DPU forwards
// for it, and this host makes no rule.
enum class FunctionSource : uint8_t { kVf, kHotplug };

// The MAC of every subnet's gateway, on every host: a frame to it is routed by the host that
// it was sent on. Locally administered (IEEE 802 section 8.4); never a port's or an endpoint's.
inline constexpr MacAddress kGatewayMac({0x02, 0x66, 0x6c, 0x00, 0x00, 0x01});

// Addresses beside its own that a port may send from.
struct AddressPair {
  std::optional<MacAddress> mac;  // none: the port's own
  IpPrefix prefix;
  friend auto operator<=>(const AddressPair&, const AddressPair&) = default;
};

struct PortRange {  // of TCP or UDP; first <= last
  uint16_t first = 0, last = 0;
  friend auto operator<=>(const PortRange&, const PortRange&) = default;
};

// Ports as a NIC can match them.
struct PortMask {
  uint16_t value = 0, mask = 0xffff;
  bool Matches(uint16_t port) const { return (port & mask) == value; }
  friend auto operator<=>(const PortMask&, const PortMask&) = default;
};
// The fewest masks that together match just this range: 30 at most, ascending by value.
std::vector<PortMask> MasksOf(const PortRange& range);

// Zones of the kernel's conntrack that this agent uses, 'F' in the upper octet: as many VPCs can
// have stateful groups. A ConnectX tells no more of them apart (mlx5: 8 bits, one of the values is
// for none).
inline constexpr uint16_t kFirstCtZone = 0x4601;
inline constexpr uint16_t kCtZones = 255;

// What a rule of a security group allows. An absent part is not asked for; the parts fit each
// other (Admit): ports with TCP and UDP only, an ICMP type with ICMP of the rule's family.
struct SecurityRule {
  bool ingress = false;    // what begins towards the group's ports; else what they begin
  std::optional<bool> v4;  // of one family only: IPv4, or IPv6
  std::optional<uint8_t> protocol;
  std::optional<PortRange> ports;  // that it is addressed to
  std::optional<uint8_t> icmp_type, icmp_code;
  std::optional<IpPrefix> remote;  // who is at the other end
  std::string remote_group;        // likewise; "" = none
  friend auto operator<=>(const SecurityRule&, const SecurityRule&) = default;
};

// What may pass to and from the ports that name it.
struct SecurityGroup {
  std::string id;
  std::string vpc;
  bool stateless = false;           // as all groups of its VPC
  std::vector<SecurityRule> rules;  // sorted, without doubles
  friend bool operator==(const SecurityGroup&, const SecurityGroup&) = default;
};

// One NIC of a VM in a subnet. A port without a VM is kept and waits for one.
struct Port {
  std::string id;
  std::string vm;  // "" = none yet
  std::string vpc;
  std::string subnet;
  std::optional<MacAddress> mac;                // none: the VF's own
  std::vector<IpAddress> addresses;             // in the subnet, unique in the VPC
  std::vector<AddressPair> allowed_pairs = {};  // in an overlay; without doubles
  NetworkKind network = NetworkKind::kCompute;
  OffloadWish offload = OffloadWish::kPrefer;
  // Of a port in a provider network only, on a NIC without an eswitch. Rates in Mbit/s; 0: none;
  // min <= max where both are.
  std::optional<bool> spoof_check;  // none: on
  bool trust = false;
  uint32_t max_tx_mbps = 0;
  uint32_t min_tx_mbps = 0;
  FunctionSource function = FunctionSource::kVf;
  std::vector<std::string> security_groups = {};  // of its VPC; sorted, without doubles
  // A number for what these groups allow together, chosen by the agent (Admit): the same for all
  // ports of the VPC that name the same groups, else an ordinal that nothing else has. 0: no
  // groups.
  uint32_t policy = 0;
  friend bool operator==(const Port&, const Port&) = default;
};

// Another host's port as this host must know it.
struct Endpoint {
  std::string id;
  std::string vpc;
  std::string subnet;  // derived from the address; never ambiguous, see Subnet
  MacAddress mac;
  std::vector<IpAddress> addresses;               // at least one
  IpAddress vtep;                                 // outer address of the host that has it
  std::vector<std::string> security_groups = {};  // that it is a member of; as a port's
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// What a VPC's router sends to one of its ports or endpoints, though no subnet of the VPC has it.
struct Route {
  std::string id;
  std::string vpc;
  IpPrefix prefix;     // one route each in a VPC; in no subnet of it
  IpAddress next_hop;  // of that family, in a routed subnet of the VPC; maybe nobody's yet
  friend bool operator==(const Route&, const Route&) = default;
};

enum class ObjectKind : uint8_t { kVpc, kSubnet, kVm, kPort, kEndpoint, kRoute, kSecurityGroup };
inline constexpr ObjectKind kAllObjectKinds[] = {
    ObjectKind::kVpc,      ObjectKind::kSubnet, ObjectKind::kVm,           ObjectKind::kPort,
    ObjectKind::kEndpoint, ObjectKind::kRoute,  ObjectKind::kSecurityGroup};
std::string_view ObjectKindName(ObjectKind kind);  // "vpc", "subnet", ... "security-group"
std::string_view NetworkKindName(NetworkKind kind);
std::string_view OffloadWishName(OffloadWish wish);
std::string SegmentName(const Vpc& vpc);                     // "VNI 1000", "VLAN 100", "flat"
std::string_view FunctionSourceName(FunctionSource source);  // "vf", "hotplug"

struct ObjectRef {
  ObjectKind kind = ObjectKind::kVpc;
  std::string id;
  std::string ToString() const;  // "port/web-0"
  friend auto operator<=>(const ObjectRef&, const ObjectRef&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const ObjectRef& r) {
    return H::combine(std::move(h), r.kind, r.id);
  }
};

using Object =
    std::variant<Vpc, Subnet, Vm, Port, Endpoint, Route, SecurityGroup>;  // as kAllObjectKinds
ObjectRef RefOf(const Object& object);
// The VPC that it is, or is of; "" for a VM.
const std::string& VpcOf(const Object& object);
inline ObjectKind KindOf(const Object& object) { return kAllObjectKinds[object.index()]; }
inline const std::string& IdOf(const Object& object) {
  return std::visit([](const auto& value) -> const std::string& { return value.id; }, object);
}

// An object as the store keeps it.
struct StoredObject {
  Object object;
  // Grows by one with every accepted change of this object; first is 1.
  uint64_t generation = 1;
  // A small number, unique among all living objects of this host, that stays
  // the object's own until it is removed: rule handles and chains are made of
  // it. 1 .. kMaxOrdinal.
  uint32_t ordinal = 0;
  friend bool operator==(const StoredObject&, const StoredObject&) = default;
};
// A TC chain index has 28 bits (uapi/linux/pkt_cls.h, TC_ACT_EXT_VAL_MASK), and the topmost three
// of them say which of an object's chains it is (dataplane/pipeline).
inline constexpr int kOrdinalBits = 25;
inline constexpr uint32_t kMaxOrdinal = (1U << kOrdinalBits) - 1;

}  // namespace fairlead
