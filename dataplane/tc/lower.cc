// SPDX-License-Identifier: Apache-2.0
#include "dataplane/tc/lower.h"

#include <algorithm>
#include <vector>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

void PutBe(uint64_t value, size_t size, uint8_t* out) {
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<uint8_t>(value >> (8 * (size - 1 - i)));
}

uint64_t GetBe(const uint8_t* bytes, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value = value << 8 | bytes[i];
  return value;
}

absl::Status Refuse(const FlowRule& rule, std::string_view why) {
  return absl::InvalidArgumentError(
      StrCat("rule ", rule.location.ToString(), " cannot be lowered to TC: ", why));
}

absl::Status NoDevice(const FlowRule& rule, std::string_view what) {
  return absl::FailedPreconditionError(
      StrCat("rule ", rule.location.ToString(), ": ", what, " is not there"));
}

// Where an action stands among the others.
struct Rank {
  static constexpr int kCopy = 3;
  static constexpr int kVerdict = 5;
  int operator()(const ActionDecap&) const { return 0; }
  int operator()(const ActionVlanPop&) const { return 0; }
  int operator()(const ActionCt&) const { return 1; }
  int operator()(const ActionRoute&) const { return 2; }
  int operator()(const ActionMirror&) const { return kCopy; }
  int operator()(const ActionEncap&) const { return 4; }
  int operator()(const ActionVlanPush&) const { return 4; }
  int operator()(const ActionRedirect&) const { return kVerdict; }
  int operator()(const ActionGotoChain&) const { return kVerdict; }
  int operator()(const ActionTrap&) const { return kVerdict; }
  int operator()(const ActionDrop&) const { return kVerdict; }
  int operator()(const ActionPass&) const { return kVerdict; }
};
int RankOf(const RuleAction& action) { return std::visit(Rank{}, action); }

template <typename Action>
bool BeforeLast(const FlowRule& rule) {
  const auto& actions = rule.actions;
  return actions.size() > 1 && std::holds_alternative<Action>(actions[actions.size() - 2]);
}

bool IsCt(const RuleAction& action) { return std::holds_alternative<ActionCt>(action); }

// A packet that a NIC did not find goes on in software, where it would not be if rules of hardware
// alone led there.
bool UsesCt(const FlowRule& rule) {
  return rule.match.ct || std::any_of(rule.actions.begin(), rule.actions.end(), IsCt);
}

absl::Status CheckVlan(const FlowRule& rule) {
  const RuleMatch& match = rule.match;
  const bool pops = std::holds_alternative<ActionVlanPop>(rule.actions.front());
  if (match.vlan && match.ethertype != kEtherVlan) {
    return Refuse(rule, "a VLAN is matched in tagged frames only");
  }
  if (pops && !match.vlan) return Refuse(rule, "it takes off the tag of whatever VLAN");
  const DeviceRef* to = OutputOf(rule);
  const bool out = to != nullptr && to->kind == DeviceRef::Kind::kUplink;
  if (BeforeLast<ActionVlanPush>(rule) && !out) {
    return Refuse(rule, "a tag must come right before an uplink");
  }
  return absl::OkStatus();
}

absl::Status CheckUplinkIngress(const FlowRule& rule) {
  const RuleMatch& match = rule.match;
  if (rule == UplinkMarkRule(rule.location.table.pf)) return absl::OkStatus();
  const bool untagged = match.ethertype == kEtherIpv4 || match.ethertype == kEtherIpv6 ||
                        match.ethertype == kEtherArp;
  if (!match.vlan && !untagged) {
    return Refuse(rule, "at an uplink it would take the host's own frames of whatever VLAN");
  }
  const DeviceRef* to = OutputOf(rule);
  const bool passes = std::holds_alternative<ActionPass>(rule.actions.back());
  if (!passes && (to == nullptr || to->kind != DeviceRef::Kind::kRepresentor)) {
    return Refuse(rule, "at an uplink it may deliver and nothing else");
  }
  // What it takes away for good names one station, or a VLAN that is not the host's.
  if (!match.dst_mac && !(match.dst_group == true && (match.vlan || passes))) {
    return Refuse(rule, "at an uplink it would take what is the host's own");
  }
  return absl::OkStatus();
}

// The order that an mlx5 eswitch takes (tc_acts_fdb; the list of its refusals is
// longer, this is what Fairlead's rules can get wrong).
absl::Status CheckOrder(const FlowRule& rule) {
  const auto& actions = rule.actions;
  if (actions.empty()) return Refuse(rule, "it has no actions");
  bool routes = false;
  for (size_t i = 0; i < actions.size(); ++i) {
    const int rank = RankOf(actions[i]);
    if ((rank == Rank::kVerdict) != (i + 1 == actions.size())) {
      return Refuse(rule, "a verdict must be its last action, and only that");
    }
    const int before = i == 0 ? -1 : RankOf(actions[i - 1]);
    if (rank < before || (rank == before && rank != Rank::kCopy)) {
      return Refuse(rule,
                    "it must decapsulate or take the tag off, ask conntrack, route, copy, and "
                    "encapsulate or put "
                    "a tag on in this order, and each but copies at most once");
    }
    const auto* mirror = std::get_if<ActionMirror>(&actions[i]);
    if (mirror != nullptr && mirror->to.ifindex == 0) {
      return NoDevice(rule, "a device that it copies to");
    }
    if (std::holds_alternative<ActionRoute>(actions[i])) routes = true;
  }
  FAIRLEAD_RETURN_IF_ERROR(CheckVlan(rule));
  if (rule.location.table.kind == RuleTable::Kind::kUplinkIngress) {
    FAIRLEAD_RETURN_IF_ERROR(CheckUplinkIngress(rule));
  }
  const DeviceRef* to = OutputOf(rule);
  if (to != nullptr && std::any_of(actions.begin(), actions.end(), IsCt)) {
    // mlx5: on a miss there a packet by the tunnel would lose what it came with.
    return Refuse(rule, "after conntrack it must go on to a chain");
  }
  if (to == nullptr) {  // mlx5: a decapsulation goes with no jump to a chain, nor with a trap
    const bool copies = std::holds_alternative<ActionPass>(actions.back()) &&
                        std::holds_alternative<ActionMirror>(actions.front());
    const bool asks = actions.size() == 2 && std::holds_alternative<ActionCt>(actions.front()) &&
                      std::holds_alternative<ActionGotoChain>(actions.back());
    return actions.size() == 1 || copies || asks
               ? absl::OkStatus()
               : Refuse(rule,
                        "a jump to a chain, but for conntrack before it, a trap or a drop must be "
                        "its only action");
  }
  const bool encap = BeforeLast<ActionEncap>(rule);
  const bool to_tunnel = to->kind == DeviceRef::Kind::kTunnel;
  if (encap && !to_tunnel) {
    return Refuse(rule, "encapsulation must come right before the tunnel device");
  }
  if (!encap && to_tunnel) {
    return Refuse(rule, "what goes to the tunnel device must be encapsulated");
  }
  if (to->ifindex == 0) return NoDevice(rule, "a device that it sends to");
  const RuleMatch& match = rule.match;
  // Who is behind a provider network's uplink the fabric knows; and a group has many.
  const bool out = to->kind == DeviceRef::Kind::kUplink;
  const bool named =
      match.dst_mac || match.dst_ip || (match.dst_group && (out || *match.dst_group));
  if (!named) {
    return Refuse(rule, "it would forward whatever comes; a forwarding rule names a destination");
  }
  if (routes && match.ethertype != kEtherIpv4 && match.ethertype != kEtherIpv6) {
    return Refuse(rule, "only IPv4 and IPv6 packets can be routed");
  }
  if (routes && !match.dst_ip) return Refuse(rule, "a rule that routes names where to");
  return absl::OkStatus();
}

uint16_t CtBitOf(CtState state) {
  switch (state) {
    case CtState::kNew:
      return kCtNew;
    case CtState::kEstablished:
      return kCtEstablished;
    case CtState::kRelated:
      break;
  }
  return kCtRelated;
}

struct ActionLowerer {
  const RuleMatch& match;
  std::vector<TcAction>* out;

  void operator()(const ActionEncap& a) const {
    // The outer UDP checksum is 0: mlx5 makes no other.
    out->push_back(TcTunnelSet{.key_id = a.vni.value(),
                               .src = a.local,
                               .dst = a.remote,
                               .dst_port = a.udp_port,
                               .ttl = a.ttl,
                               .no_csum = true});
  }
  void operator()(const ActionDecap&) const { out->push_back(TcTunnelUnset{}); }
  void operator()(const ActionRoute& a) const {
    const bool v6 = match.ethertype == kEtherIpv6;
    out->push_back(TcPedit{.eth_src = a.src_mac, .eth_dst = a.dst_mac, .v6 = v6});
    if (!v6) out->push_back(TcCsum{});  // an IPv6 header has no checksum
  }
  void operator()(const ActionRedirect& a) const {
    out->push_back(TcMirred{.ifindex = a.to.ifindex});
  }
  void operator()(const ActionGotoChain& a) const {
    out->push_back(TcGact{.verdict = TcGact::Verdict::kGotoChain, .chain = a.chain});
  }
  void operator()(const ActionTrap&) const {
    out->push_back(TcGact{.verdict = TcGact::Verdict::kTrap, .chain = 0});
  }
  void operator()(const ActionDrop&) const {
    out->push_back(TcGact{.verdict = TcGact::Verdict::kDrop, .chain = 0});
  }
  void operator()(const ActionVlanPush& a) const { out->push_back(TcVlanPush{a.vlan.value()}); }
  void operator()(const ActionVlanPop&) const { out->push_back(TcVlanPop{}); }
  void operator()(const ActionMirror& a) const { out->push_back(TcMirror{a.to.ifindex}); }
  void operator()(const ActionCt& a) const { out->push_back(TcCt{a.zone, a.commit}); }
  void operator()(const ActionPass&) const {
    out->push_back(TcGact{.verdict = TcGact::Verdict::kContinue, .chain = 0});
  }
};

TcFilter::Flags FlagsOf(const FlowRule& rule) {
  switch (rule.offload) {
    case OffloadWish::kOff:
      return TcFilter::Flags::kSkipHw;
    case OffloadWish::kPrefer:
      return TcFilter::Flags::kNone;
    case OffloadWish::kMust:
      break;
  }
  // skip_sw only where every device that the rule is offered to can take it.
  // Refused by the core on a tunnel device; by mlx5 for "indev" on the other
  // representors of a block, and for what goes to a representor on that one itself.
  // There "must" is proven by reading back in_hw.
  const bool takes_skip_sw = rule.location.table.is_block() && !rule.match.in_device &&
                             !SendsWithinBlock(rule) && !UsesCt(rule);
  return takes_skip_sw ? TcFilter::Flags::kSkipSw : TcFilter::Flags::kNone;
}

}  // namespace

bool SendsWithinBlock(const FlowRule& rule) {
  if (!rule.location.table.is_block()) return false;
  const DeviceRef* to = OutputOf(rule);
  return to != nullptr && to->kind == DeviceRef::Kind::kRepresentor;
}

TcCookie MakeCookie(uint32_t store_id, const FlowRule& rule) {
  TcCookie cookie;
  PutBe(store_id, 4, cookie.data());
  PutBe(rule.MatchHash(), 4, cookie.data() + 4);
  PutBe(rule.ContentHash(), 8, cookie.data() + 8);
  return cookie;
}

std::optional<CookieParts> ParseCookie(const TcCookie& cookie) {
  CookieParts parts;
  parts.store_id = static_cast<uint32_t>(GetBe(cookie.data(), 4));
  parts.match_hash = static_cast<uint32_t>(GetBe(cookie.data() + 4, 4));
  parts.content_hash = GetBe(cookie.data() + 8, 8);
  if (parts.store_id == 0) return std::nullopt;
  return parts;
}

TcAttachPoint AttachPointOf(const RuleTable& table, uint32_t ifindex) {
  if (table.is_block()) return {.block = BlockIndexOf(table), .ifindex = 0};
  return {.block = 0, .ifindex = ifindex};
}

absl::StatusOr<TcFilter> Lower(const FlowRule& rule, const DeviceNames& names, uint32_t store_id) {
  if (store_id == 0) return absl::InternalError("a store id is never 0");
  FAIRLEAD_RETURN_IF_ERROR(CheckOrder(rule));
  const RuleMatch& match = rule.match;
  TcFilter filter;
  filter.id = {.chain = rule.location.chain,
               .priority = rule.location.priority,
               .handle = rule.location.handle};
  filter.match.ethertype = match.ethertype;
  if (match.in_device) {
    filter.match.indev = names(match.in_device->ifindex);
    if (!filter.match.indev) return NoDevice(rule, "its input device");
  }
  filter.match.src_mac = match.src_mac;
  filter.match.dst_mac = match.dst_mac;
  filter.match.dst_group = match.dst_group;
  if (match.vlan) filter.match.vlan_id = match.vlan->value();
  filter.match.arp_sender_mac = match.arp_sender_mac;
  filter.match.arp_sender_ip = match.arp_sender_ip;
  filter.match.src_ip = match.src_ip;
  filter.match.dst_ip = match.dst_ip;
  filter.match.ttl_expiring = match.ttl_expiring;
  filter.match.ip_proto = match.protocol;
  if (match.dst_port) filter.match.dst_port = {match.dst_port->value, match.dst_port->mask};
  filter.match.icmp_type = match.icmp_type;
  filter.match.icmp_code = match.icmp_code;
  if (match.ct) {
    const uint16_t state = CtBitOf(*match.ct);
    filter.match.ct_state = TcCtState{static_cast<uint16_t>(kCtTracked | state),
                                      static_cast<uint16_t>(kCtTracked | state)};
  }
  if (match.vni) filter.match.enc_key_id = match.vni->value();
  filter.match.enc_src = match.outer_src;
  filter.match.enc_dst = match.outer_dst;
  filter.match.enc_dst_port = match.outer_udp_port;
  for (const RuleAction& action : rule.actions) {
    std::visit(ActionLowerer{match, &filter.actions}, action);
  }
  filter.flags = FlagsOf(rule);
  filter.cookie = MakeCookie(store_id, rule);
  return filter;
}

}  // namespace fairlead
