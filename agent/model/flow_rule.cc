// SPDX-License-Identifier: Apache-2.0
#include "agent/model/flow_rule.h"

#include <span>
#include <string_view>
#include <type_traits>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_format.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

// With the ifindex: a recreated netdev is another device to the kernel.
std::string DeviceName(const DeviceRef& device) {
  if (device.kind == DeviceRef::Kind::kTunnel) return StrCat("tunnel@", device.ifindex);
  return StrCat("representor(", device.vf.ToString(), ")@", device.ifindex);
}

std::string EtherName(uint16_t ethertype) {
  switch (ethertype) {
    case kEtherAll:
      return "all";
    case kEtherIpv4:
      return "ip";
    case kEtherArp:
      return "arp";
    case kEtherVlan:
      return "802.1q";
    case kEtherIpv6:
      return "ipv6";
    case kEtherQinQ:
      return "802.1ad";
    default:
      return absl::StrFormat("0x%04x", ethertype);
  }
}

struct ActionText {
  std::string operator()(const ActionEncap& a) const {
    return StrCat("encap vni ", a.vni.value(), " local ", a.local.ToString(), " remote ",
                  a.remote.ToString(), " port ", a.udp_port, " ttl ", a.ttl);
  }
  std::string operator()(const ActionDecap&) const { return "decap"; }
  std::string operator()(const ActionRoute& a) const {
    return StrCat("route src ", a.src_mac.ToString(), " dst ", a.dst_mac.ToString());
  }
  std::string operator()(const ActionRedirect& a) const {
    return StrCat("redirect ", DeviceName(a.to));
  }
  std::string operator()(const ActionGotoChain& a) const { return StrCat("goto ", a.chain); }
  std::string operator()(const ActionTrap&) const { return "trap"; }
  std::string operator()(const ActionDrop&) const { return "drop"; }
};

std::string MatchText(const RuleMatch& match) {
  std::string out = EtherName(match.ethertype);
  if (match.in_device) StrAppend(&out, " in ", DeviceName(*match.in_device));
  if (match.src_mac) StrAppend(&out, " src_mac ", match.src_mac->ToString());
  if (match.dst_mac) StrAppend(&out, " dst_mac ", match.dst_mac->ToString());
  if (match.src_ip) StrAppend(&out, " src_ip ", match.src_ip->ToString());
  if (match.dst_ip) StrAppend(&out, " dst_ip ", match.dst_ip->ToString());
  if (match.ttl_expiring) StrAppend(&out, " ttl <2");
  if (match.icmpv6_type) StrAppend(&out, " icmpv6_type ", *match.icmpv6_type);
  if (match.udp_dst_port) StrAppend(&out, " udp_port ", *match.udp_dst_port);
  if (match.vni) StrAppend(&out, " vni ", match.vni->value());
  if (match.outer_src) StrAppend(&out, " outer_src ", match.outer_src->ToString());
  if (match.outer_dst) StrAppend(&out, " outer_dst ", match.outer_dst->ToString());
  if (match.outer_udp_port) StrAppend(&out, " outer_port ", *match.outer_udp_port);
  return out;
}

// What a hash is made of: each field in order and in big-endian bytes, and before an optional one
// whether it is there. Changing this changes every hash, and makes the agent replace every rule of
// a host at the next start: model_test pins it.
class Canonical {
 public:
  template <typename T>
  requires std::is_unsigned_v<T> Canonical& Add(T value) {
    for (int shift = 8 * (sizeof(T) - 1); shift >= 0; shift -= 8) {
      bytes_.push_back(static_cast<char>(static_cast<uint64_t>(value) >> shift));
    }
    return *this;
  }
  void Add(std::span<const uint8_t> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void Add(const MacAddress& mac) { Add(mac.bytes()); }
  void Add(const IpAddress& address) {
    Add(static_cast<uint8_t>(address.bits()));
    Add(address.bytes());
  }
  void Add(const IpPrefix& prefix) {
    Add(static_cast<uint8_t>(prefix.length()));
    Add(prefix.address());
  }
  void Add(const Vni& vni) { Add(vni.value()); }
  void Add(const DeviceRef& device) {
    Add(static_cast<uint8_t>(device.kind));
    Add(device.ifindex);
    if (device.kind != DeviceRef::Kind::kRepresentor) return;
    const std::string vf = device.vf.ToString();
    Add(static_cast<uint8_t>(vf.size()));
    bytes_.insert(bytes_.end(), vf.begin(), vf.end());
  }
  template <typename T>
  void Add(const std::optional<T>& value) {
    Add(static_cast<uint8_t>(value.has_value()));
    if (value) Add(*value);
  }
  void Add(const RuleTable& table) {
    Add(static_cast<uint8_t>(table.kind));
    if (table.kind == RuleTable::Kind::kVpcBlock) Add(table.vni);
  }
  void Add(const RuleMatch& match) {
    Add(match.ethertype);
    Add(match.in_device);
    Add(match.src_mac);
    Add(match.dst_mac);
    Add(match.src_ip);
    Add(match.dst_ip);
    Add(static_cast<uint8_t>(match.ttl_expiring));
    Add(match.icmpv6_type);
    Add(match.udp_dst_port);
    Add(match.vni);
    Add(match.outer_dst);
    Add(match.outer_udp_port);
    if (!match.outer_src) return;
    Add(kOuterSource);
    Add(*match.outer_src);
  }
  void Add(const ActionEncap& a) {
    Add(a.vni);
    Add(a.local);
    Add(a.remote);
    Add(a.udp_port).Add(a.ttl);
  }
  void Add(const ActionRoute& a) {
    Add(a.src_mac);
    Add(a.dst_mac);
  }
  void Add(const ActionRedirect& a) { Add(a.to); }
  void Add(const ActionGotoChain& a) { Add(a.chain); }
  void Add(const ActionDecap&) {}
  void Add(const ActionTrap&) {}
  void Add(const ActionDrop&) {}

  std::string_view view() const { return {bytes_.data(), bytes_.size()}; }

 private:
  // Behind a match, where no action has this number: a rule without it kept its hash when it came.
  static constexpr uint8_t kOuterSource = 0xff;

  absl::InlinedVector<char, 192> bytes_;
};

}  // namespace

std::string RuleTable::ToString() const {
  return kind == Kind::kTunnelIngress ? "tunnel" : StrCat("block-", vni.value());
}

std::string RuleLocation::ToString() const {
  return StrCat(table.ToString(), "/", chain, "/", priority, "/", handle);
}

std::string FlowRule::ToString() const {
  std::string out = StrCat(location.ToString(), " ", MatchText(match), " ->");
  for (size_t i = 0; i < actions.size(); ++i) {
    StrAppend(&out, i == 0 ? " " : ", ", std::visit(ActionText(), actions[i]));
  }
  StrAppend(&out, " [offload ", OffloadWishName(offload), "]");
  return out;
}

uint64_t FlowRule::ContentHash() const {
  Canonical bytes;
  bytes.Add(location.table);
  bytes.Add(location.chain).Add(location.priority).Add(location.handle);
  bytes.Add(match);
  for (const RuleAction& action : actions) {
    bytes.Add(static_cast<uint8_t>(action.index()));
    std::visit([&bytes](const auto& a) { bytes.Add(a); }, action);
  }
  bytes.Add(static_cast<uint8_t>(offload));
  return StableHash(bytes.view());
}

uint32_t FlowRule::MatchHash() const {
  Canonical bytes;
  bytes.Add(location.table);
  bytes.Add(location.priority);
  bytes.Add(match);
  return static_cast<uint32_t>(StableHash(bytes.view()));
}

const DeviceRef* OutputOf(const FlowRule& rule) {
  for (const RuleAction& action : rule.actions) {
    if (const auto* redirect = std::get_if<ActionRedirect>(&action)) return &redirect->to;
  }
  return nullptr;
}

}  // namespace fairlead
