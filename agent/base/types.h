// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the value types that the whole agent speaks in. Each parses from
// text with an error that says what was wrong, prints back to the same text,
// compares, and hashes (absl::flat_hash_map). No type holds an invalid value
// once parsed.
//
// Threading: plain values. Errors: Parse returns kInvalidArgument.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "absl/status/statusor.h"

namespace fairlead {

// An Ethernet address (IEEE 802), six octets in transmission order.
class MacAddress {
 public:
  constexpr MacAddress() = default;  // 00:00:00:00:00:00
  constexpr explicit MacAddress(std::array<uint8_t, 6> bytes) : bytes_(bytes) {}

  // "52:54:00:00:01:0a", either case.
  static absl::StatusOr<MacAddress> Parse(std::string_view text);
  // Exactly six octets, as a netlink attribute carries them.
  static std::optional<MacAddress> FromBytes(std::span<const uint8_t> bytes);

  std::string ToString() const;  // lower case
  const std::array<uint8_t, 6>& bytes() const { return bytes_; }
  bool IsZero() const { return *this == MacAddress(); }
  bool IsMulticast() const { return (bytes_[0] & 1) != 0; }  // broadcast included
  // An address that a station may own: neither zero nor multicast.
  bool IsUnicast() const { return !IsZero() && !IsMulticast(); }

  friend auto operator<=>(const MacAddress&, const MacAddress&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const MacAddress& m) {
    return H::combine(std::move(h), m.bytes_);
  }

 private:
  std::array<uint8_t, 6> bytes_{};
};

// An IPv4 or IPv6 address, network order. No zone index.
class IpAddress {
 public:
  IpAddress() = default;  // 0.0.0.0
  static absl::StatusOr<IpAddress> Parse(std::string_view text);
  // 4 or 16 octets in network order.
  static std::optional<IpAddress> FromBytes(std::span<const uint8_t> bytes);

  bool is_v4() const { return v4_; }
  bool is_v6() const { return !v4_; }
  int bits() const { return v4_ ? 32 : 128; }
  std::span<const uint8_t> bytes() const { return {bytes_.data(), v4_ ? 4U : 16U}; }
  bool IsUnspecified() const;
  bool IsMulticast() const;
  bool IsLoopback() const;
  std::string ToString() const;

  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const IpAddress& a) {
    return H::combine(std::move(h), a.v4_, a.bytes_);
  }

 private:
  bool v4_ = true;
  std::array<uint8_t, 16> bytes_{};
};

// The link-local IPv6 address that a station makes of its MAC (RFC 4291 section 2.5.6 and
// appendix A: the modified EUI-64).
IpAddress LinkLocalOf(const MacAddress& mac);
bool IsLinkLocal6(const IpAddress& address);  // fe80::/10, RFC 4291 section 2.5.6
// The group that is asked for the MAC of an IPv6 address (RFC 4291 section 2.7.1), and the MAC
// that packets to an IPv6 group are sent to (RFC 2464 section 7).
IpAddress SolicitedNodeOf(const IpAddress& target);
MacAddress MulticastMac6(const IpAddress& group);

// A network: address with all host bits zero, and a prefix length.
class IpPrefix {
 public:
  IpPrefix() = default;
  // "10.1.0.0/24". Host bits that are set are an error which names the network.
  static absl::StatusOr<IpPrefix> Parse(std::string_view text);
  // The one address alone.
  static IpPrefix Host(const IpAddress& address);

  const IpAddress& address() const { return address_; }
  int length() const { return length_; }
  bool Contains(const IpAddress& address) const;
  bool Overlaps(const IpPrefix& other) const;
  // The highest address: the directed broadcast address in IPv4.
  IpAddress Last() const;
  std::string ToString() const;

  friend auto operator<=>(const IpPrefix&, const IpPrefix&) = default;

 private:
  IpAddress address_;
  int length_ = 0;
};

// domain:bus:device.function, as sysfs names it ("0000:01:00.1").
struct PciAddress {
  uint16_t domain = 0;
  uint8_t bus = 0;
  uint8_t device = 0;    // 0..31
  uint8_t function = 0;  // 0..7

  static absl::StatusOr<PciAddress> Parse(std::string_view text);
  std::string ToString() const;
  friend auto operator<=>(const PciAddress&, const PciAddress&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const PciAddress& p) {
    return H::combine(std::move(h), p.domain, p.bus, p.device, p.function);
  }
};

// A VXLAN or Geneve network identifier: 24 bits (RFC 7348 section 5, RFC 8926
// section 3.4). Fairlead does not use 0.
class Vni {
 public:
  static constexpr uint32_t kMin = 1;
  static constexpr uint32_t kMax = (1U << 24) - 1;
  constexpr Vni() = default;  // 1
  static absl::StatusOr<Vni> Make(uint64_t value);
  constexpr uint32_t value() const { return value_; }
  friend auto operator<=>(const Vni&, const Vni&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Vni& v) {
    return H::combine(std::move(h), v.value_);
  }

 private:
  uint32_t value_ = kMin;
};

// IEEE 802.1Q VLAN id: 1 to 4094.
class VlanId {
 public:
  static constexpr uint16_t kMin = 1;
  static constexpr uint16_t kMax = 4094;
  constexpr VlanId() = default;  // 1
  static absl::StatusOr<VlanId> Make(uint64_t value);
  constexpr uint16_t value() const { return value_; }
  friend auto operator<=>(const VlanId&, const VlanId&) = default;

 private:
  uint16_t value_ = kMin;
};

// RFC 9562 text form, kept in lower case. Empty when default-constructed.
class Uuid {
 public:
  Uuid() = default;
  static absl::StatusOr<Uuid> Parse(std::string_view text);
  const std::string& ToString() const { return text_; }
  bool empty() const { return text_.empty(); }
  friend auto operator<=>(const Uuid&, const Uuid&) = default;

 private:
  std::string text_;
};

// What functions come from, named so that the name survives reboots and renames: a
// PF by its permanent MAC, or a PCIe port that functions are hot-plugged into by the
// address of its bridge. That is fixed for a root port only: below a switch it has a bus
// number in it, which follows from what else was found at boot.
class NicId {
 public:
  NicId() = default;                                            // 00:00:00:00:00:00
  NicId(const MacAddress& pf) : id_(pf) {}                      // NOLINT: a PF's MAC is its name
  NicId(const PciAddress& hotplug_port) : id_(hotplug_port) {}  // NOLINT: likewise
  // "52:54:00:00:00:01" or "0000:00:04.0".
  static absl::StatusOr<NicId> Parse(std::string_view text);

  bool is_hotplug_port() const { return std::holds_alternative<PciAddress>(id_); }
  // Of a PF; none: it is a hot-plug port.
  std::optional<MacAddress> mac() const {
    const auto* mac = std::get_if<MacAddress>(&id_);
    return mac == nullptr ? std::nullopt : std::optional(*mac);
  }
  std::string ToString() const;

  friend auto operator<=>(const NicId&, const NicId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const NicId& n) {
    return std::visit([&h](const auto& id) { return H::combine(std::move(h), id); }, n.id_);
  }

 private:
  std::variant<MacAddress, PciAddress> id_;
};

// The identity of a function that is handed out, for as long as its NIC lives. Of a
// VF the index is 0-based, as `ip link ... vf N` counts; of a hot-plugged function it
// is the PCI function number behind its port.
struct VfId {
  NicId pf;
  uint16_t index = 0;

  // "52:54:00:00:00:01/3", and back.
  std::string ToString() const;
  static absl::StatusOr<VfId> Parse(std::string_view text);
  friend auto operator<=>(const VfId&, const VfId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const VfId& v) {
    return H::combine(std::move(h), v.pf, v.index);
  }
};

// What a device has counted, as it sees it: what a VF sends its representor receives.
struct TrafficCounters {
  uint64_t rx_packets = 0, tx_packets = 0, rx_bytes = 0, tx_bytes = 0;
  friend bool operator==(const TrafficCounters&, const TrafficCounters&) = default;
};

// The fencing token of one tenancy of a VF. Larger is newer; 0 is "none".
// Allocated by the store, never reused, so a late operation is recognised.
using Lease = uint64_t;

// Names that users give to objects: 1..63 characters of [A-Za-z0-9._-], the
// first alphanumeric. Safe in file names, TC and QEMU ids.
absl::Status CheckObjectId(std::string_view id);
inline constexpr size_t kMaxObjectIdLength = 63;

// A 64-bit FNV-1a hash of bytes: stable across hosts, builds and restarts,
// which std::hash and absl::Hash are not. For content hashes, not for security.
uint64_t StableHash(std::string_view bytes);

}  // namespace fairlead
