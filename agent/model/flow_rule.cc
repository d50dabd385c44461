// SPDX-License-Identifier: Apache-2.0
#include "agent/model/flow_rule.h"

#include <charconv>
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
  if (device.kind == DeviceRef::Kind::kUplink) {
    return StrCat("uplink(", device.vf.pf.ToString(), ")@", device.ifindex);
  }
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
  std::string operator()(const ActionVlanPush& a) const {
    return StrCat("push vlan ", a.vlan.value());
  }
  std::string operator()(const ActionVlanPop&) const { return "pop vlan"; }
  std::string operator()(const ActionMirror& a) const {
    return StrCat("mirror ", DeviceName(a.to));
  }
  std::string operator()(const ActionPass&) const { return "pass"; }
  std::string operator()(const ActionCt& a) const {
    return StrCat(a.commit ? "ct commit zone " : "ct zone ", a.zone);
  }
};

std::string ProtocolName(uint8_t protocol) {
  switch (protocol) {
    case kProtocolIcmp4:
      return "icmp";
    case kProtocolTcp:
      return "tcp";
    case kProtocolUdp:
      return "udp";
    case kProtocolIcmp6:
      return "icmpv6";
    default:
      return StrCat("protocol ", protocol);
  }
}

// "443", "1024-2047"
std::string PortsText(const PortMask& ports) {
  const int last = ports.value | (~ports.mask & 0xffff);
  return last == ports.value ? StrCat(last) : StrCat(ports.value, "-", last);
}

std::string_view CtStateName(CtState state) {
  switch (state) {
    case CtState::kNew:
      return "new";
    case CtState::kEstablished:
      return "established";
    case CtState::kRelated:
      break;
  }
  return "related";
}

std::string MatchText(const RuleMatch& match) {
  std::string out = EtherName(match.ethertype);
  if (match.vlan) StrAppend(&out, " vlan ", match.vlan->value());
  if (match.in_device) StrAppend(&out, " in ", DeviceName(*match.in_device));
  if (match.src_mac) StrAppend(&out, " src_mac ", match.src_mac->ToString());
  if (match.dst_mac) StrAppend(&out, " dst_mac ", match.dst_mac->ToString());
  if (match.dst_group) StrAppend(&out, *match.dst_group ? " to a group" : " to one station");
  if (match.arp_sender_mac) StrAppend(&out, " arp_sha ", match.arp_sender_mac->ToString());
  if (match.arp_sender_ip) StrAppend(&out, " arp_sip ", match.arp_sender_ip->ToString());
  if (match.src_ip) StrAppend(&out, " src_ip ", match.src_ip->ToString());
  if (match.dst_ip) StrAppend(&out, " dst_ip ", match.dst_ip->ToString());
  if (match.ttl_expiring) StrAppend(&out, " ttl <2");
  if (match.protocol) StrAppend(&out, " ", ProtocolName(*match.protocol));
  if (match.icmp_type) StrAppend(&out, " type ", *match.icmp_type);
  if (match.icmp_code) StrAppend(&out, " code ", *match.icmp_code);
  if (match.dst_port) StrAppend(&out, " port ", PortsText(*match.dst_port));
  if (match.ct) StrAppend(&out, " ct ", CtStateName(*match.ct));
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
    if (device.kind == DeviceRef::Kind::kTunnel) return;
    AddText(device.kind == DeviceRef::Kind::kUplink ? device.vf.pf.ToString()
                                                    : device.vf.ToString());
  }
  template <typename T>
  void Add(const std::optional<T>& value) {
    Add(static_cast<uint8_t>(value.has_value()));
    if (value) Add(*value);
  }
  void Add(const RuleTable& table) {
    Add(static_cast<uint8_t>(table.kind));
    if (table.kind == RuleTable::Kind::kVpcBlock) Add(table.vni);
    if (table.kind == RuleTable::Kind::kProviderBlock) Add(table.vlan);
    if (table.pf != NicId()) AddText(table.pf.ToString());
  }
  void Add(const RuleMatch& match) {
    Add(match.ethertype);
    Add(match.in_device);
    Add(match.src_mac);
    Add(match.dst_mac);
    Add(match.src_ip);
    Add(match.dst_ip);
    Add(static_cast<uint8_t>(match.ttl_expiring));
    Add(false);  // the place of two matches that are no more
    Add(false);
    Add(match.vni);
    Add(match.outer_dst);
    Add(match.outer_udp_port);
    // What came later is told by a mark of its own, and only where it is there: rules without it
    // have the hash that they had before.
    AddLater(0xff, match.outer_src);
    AddLater(0xf0, match.dst_group);
    AddLater(0xf1, match.vlan);
    AddLater(0xf2, match.arp_sender_mac);
    AddLater(0xf3, match.arp_sender_ip);
    AddLater(0xf4, match.protocol);
    AddLater(0xf5, match.dst_port);
    AddLater(0xf6, match.icmp_type);
    AddLater(0xf7, match.icmp_code);
    AddLater(0xf8, match.ct);
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
  void Add(const ActionVlanPush& a) { Add(a.vlan); }
  void Add(const ActionVlanPop&) {}
  void Add(const ActionMirror& a) { Add(a.to); }
  void Add(const ActionPass&) {}
  void Add(const ActionCt& a) { Add(a.zone).Add(static_cast<uint8_t>(a.commit)); }

  std::string_view view() const { return {bytes_.data(), bytes_.size()}; }

 private:
  void Add(const PortMask& port) { Add(port.value).Add(port.mask); }
  void Add(CtState state) { Add(static_cast<uint8_t>(state)); }
  void Add(bool value) { Add(static_cast<uint8_t>(value)); }
  void Add(const VlanId& vlan) { Add(vlan.value()); }
  void AddText(const std::string& text) {
    Add(static_cast<uint8_t>(text.size()));
    bytes_.insert(bytes_.end(), text.begin(), text.end());
  }
  template <typename T>
  void AddLater(uint8_t mark, const std::optional<T>& value) {
    if (!value) return;
    Add(mark);
    Add(*value);
  }

  absl::InlinedVector<char, 192> bytes_;
};

}  // namespace

std::string RuleTable::ToString() const {
  switch (kind) {
    case Kind::kVpcBlock:
      return StrCat("block-", vni.value());
    case Kind::kTunnelIngress:
      return "tunnel";
    case Kind::kProviderBlock:
      return StrCat(vlan == 0 ? std::string("flat") : StrCat("vlan-", vlan), "@", pf.ToString());
    case Kind::kUplinkIngress:
      break;
  }
  return StrCat("uplink@", pf.ToString());
}

std::string RuleLocation::ToString() const {
  return StrCat(table.ToString(), "/", chain, "/", priority, "/", handle);
}

namespace {

// All of `text`, in the one form that ToString gives it.
template <typename T>
bool ParseNumber(std::string_view text, T* out) {
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, *out);
  return error == std::errc() && rest == end && (text == "0" || text.front() != '0');
}

std::optional<RuleTable> ParseTable(std::string_view text) {
  constexpr std::string_view kBlock = "block-", kVlan = "vlan-";
  if (text == "tunnel") return RuleTable{.kind = RuleTable::Kind::kTunnelIngress};
  RuleTable table;
  if (text.starts_with(kBlock)) {
    uint32_t number = 0;
    if (!ParseNumber(text.substr(kBlock.size()), &number)) return std::nullopt;
    const absl::StatusOr<Vni> vni = Vni::Make(number);
    if (!vni.ok()) return std::nullopt;
    table.vni = *vni;
    return table;
  }
  const size_t at = text.find('@');
  if (at == std::string_view::npos) return std::nullopt;
  const absl::StatusOr<NicId> pf = NicId::Parse(text.substr(at + 1));
  if (!pf.ok()) return std::nullopt;
  table.pf = *pf;
  const std::string_view name = text.substr(0, at);
  if (name == "uplink") {
    table.kind = RuleTable::Kind::kUplinkIngress;
    return table;
  }
  table.kind = RuleTable::Kind::kProviderBlock;
  if (name == "flat") return table;
  const bool vlan = name.starts_with(kVlan) && ParseNumber(name.substr(kVlan.size()), &table.vlan);
  return vlan && VlanId::Make(table.vlan).ok() ? std::optional(table) : std::nullopt;
}

}  // namespace

absl::StatusOr<RuleLocation> RuleLocation::Parse(std::string_view text) {
  RuleLocation location;
  std::string_view rest = text;
  const auto last = [&rest] {
    const size_t slash = rest.rfind('/');
    if (slash == std::string_view::npos) return std::string_view();
    const std::string_view part = rest.substr(slash + 1);
    rest = rest.substr(0, slash);
    return part;
  };
  const bool numbers = ParseNumber(last(), &location.handle) &&
                       ParseNumber(last(), &location.priority) &&
                       ParseNumber(last(), &location.chain);
  const std::optional<RuleTable> table = numbers ? ParseTable(rest) : std::nullopt;
  if (!table) {
    return absl::InvalidArgumentError(
        StrCat(Quoted(text), " is no place of a rule, as block-1000/2/1000/7"));
  }
  location.table = *table;
  return location;
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

namespace {
constexpr uint32_t kProviderBlocks = 0x50000000U;
constexpr uint32_t kProviderBlockMask = 0xf0000000U;
// A chain that no rule of Fairlead's leads to, and hardly one of anybody's.
constexpr uint32_t kMarkChain = 0x0fa171ea;
}  // namespace

uint16_t BlockTagOf(const NicId& pf) {
  const std::optional<MacAddress> mac = pf.mac();
  return mac ? static_cast<uint16_t>(mac->bytes()[4] << 8 | mac->bytes()[5]) : 0;
}

uint32_t BlockIndexOf(const RuleTable& block) {
  if (block.kind == RuleTable::Kind::kVpcBlock) return BlockIndexOf(block.vni);
  if (block.kind != RuleTable::Kind::kProviderBlock) return 0;
  return kProviderBlocks | uint32_t{block.vlan} << 16 | BlockTagOf(block.pf);
}

std::optional<RuleTable> BlockOfIndex(uint32_t index, const NicId& pf) {
  RuleTable block;
  if ((index & kProviderBlockMask) == kProviderBlocks) {
    block.kind = RuleTable::Kind::kProviderBlock;
    block.pf = pf;
    block.vlan = static_cast<uint16_t>(index >> 16 & 0xfff);
    if (block.vlan > VlanId::kMax) return std::nullopt;
  } else {
    const absl::StatusOr<Vni> vni = Vni::Make(index & Vni::kMax);
    if (!vni.ok()) return std::nullopt;
    block.vni = *vni;
  }
  return BlockIndexOf(block) == index ? std::optional(block) : std::nullopt;
}

FlowRule UplinkMarkRule(const NicId& pf) {
  FlowRule rule;
  rule.location = {UplinkTable(pf), kMarkChain, 65000, 1};
  rule.actions = {ActionPass{}};
  rule.offload = OffloadWish::kOff;
  return rule;
}

const DeviceRef* OutputOf(const FlowRule& rule) {
  for (const RuleAction& action : rule.actions) {
    if (const auto* redirect = std::get_if<ActionRedirect>(&action)) return &redirect->to;
  }
  return nullptr;
}

}  // namespace fairlead
