// SPDX-License-Identifier: Apache-2.0
#include "agent/model/flow_rule.h"

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
  if (match.outer_dst) StrAppend(&out, " outer_dst ", match.outer_dst->ToString());
  if (match.outer_udp_port) StrAppend(&out, " outer_port ", *match.outer_udp_port);
  return out;
}

}  // namespace

std::string RuleTable::ToString() const {
  return kind == Kind::kTunnelIngress ? "tunnel" : StrCat("block-", vni.value());
}

std::string RuleLocation::ToString() const {
  return StrCat(table.ToString(), "/", chain, "/", priority, "/", handle);
}

// Changing this text changes every content hash, and with it makes the agent
// replace every rule of a host at the next start: model_test pins it.
std::string FlowRule::ToString() const {
  std::string out = StrCat(location.ToString(), " ", MatchText(match), " ->");
  for (size_t i = 0; i < actions.size(); ++i) {
    StrAppend(&out, i == 0 ? " " : ", ", std::visit(ActionText(), actions[i]));
  }
  StrAppend(&out, " [offload ", OffloadWishName(offload), "]");
  return out;
}

uint64_t FlowRule::ContentHash() const { return StableHash(ToString()); }

uint32_t FlowRule::MatchHash() const {
  return static_cast<uint32_t>(
      StableHash(StrCat(location.table.ToString(), " ", location.priority, " ", MatchText(match))));
}

const DeviceRef* OutputOf(const FlowRule& rule) {
  for (const RuleAction& action : rule.actions) {
    if (const auto* redirect = std::get_if<ActionRedirect>(&action)) return &redirect->to;
  }
  return nullptr;
}

}  // namespace fairlead
