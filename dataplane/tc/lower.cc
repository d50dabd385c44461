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

bool IsVerdict(const RuleAction& action) {
  return std::holds_alternative<ActionRedirect>(action) ||
         std::holds_alternative<ActionGotoChain>(action) ||
         std::holds_alternative<ActionContinue>(action) ||
         std::holds_alternative<ActionDrop>(action);
}

// Where a copy or a redirect goes; null for other actions.
const DeviceRef* TargetOf(const RuleAction& action) {
  if (const auto* mirror = std::get_if<ActionMirror>(&action)) return &mirror->to;
  if (const auto* redirect = std::get_if<ActionRedirect>(&action)) return &redirect->to;
  return nullptr;
}

// The order that an mlx5 eswitch takes (tc_acts_fdb; the list of its refusals is
// longer, this is what Fairlead's rules can get wrong).
absl::Status CheckOrder(const FlowRule& rule) {
  const auto& actions = rule.actions;
  if (actions.empty() || actions.size() > kMaxRuleActions) {
    return Refuse(rule, StrCat("it has ", actions.size(), " actions, 1 to ", kMaxRuleActions,
                               " are possible"));
  }
  bool forwards = false;
  for (size_t i = 0; i < actions.size(); ++i) {
    const bool last = i + 1 == actions.size();
    if (IsVerdict(actions[i]) != last) {
      return Refuse(rule, "a verdict must be its last action, and only that");
    }
    if (std::holds_alternative<ActionDecap>(actions[i])) {
      if (i != 0) return Refuse(rule, "decapsulation must come first");
      if (std::holds_alternative<ActionGotoChain>(actions.back())) {
        return Refuse(rule, "decapsulation does not go with a jump to another chain");
      }
    }
    const bool encap = std::holds_alternative<ActionEncap>(actions[i]);
    const DeviceRef* next = last ? nullptr : TargetOf(actions[i + 1]);
    if (encap && (next == nullptr || next->kind != DeviceRef::Kind::kTunnel)) {
      return Refuse(rule, "encapsulation must come right before the tunnel device");
    }
    if (const DeviceRef* target = TargetOf(actions[i])) {
      forwards = true;
      const bool encapsulated = i > 0 && std::holds_alternative<ActionEncap>(actions[i - 1]);
      if (target->kind == DeviceRef::Kind::kTunnel && !encapsulated) {
        return Refuse(rule, "what goes to the tunnel device must be encapsulated");
      }
      if (target->ifindex == 0) return NoDevice(rule, "a device that it sends to");
    }
  }
  const RuleMatch& match = rule.match;
  const bool names_target = match.dst_mac || match.arp_target || match.icmpv6_type;
  if (forwards && !names_target) {
    return Refuse(rule, "it would forward whatever comes; a forwarding rule names a destination");
  }
  return absl::OkStatus();
}

struct ActionLowerer {
  TcAction operator()(const ActionEncap& a) const {
    // The outer UDP checksum is 0: mlx5 makes no other.
    return TcTunnelSet{.key_id = a.vni.value(),
                       .src = a.local,
                       .dst = a.remote,
                       .dst_port = a.udp_port,
                       .ttl = a.ttl,
                       .no_csum = true};
  }
  TcAction operator()(const ActionDecap&) const { return TcTunnelUnset{}; }
  TcAction operator()(const ActionMirror& a) const {
    return TcMirred{.ifindex = a.to.ifindex, .redirect = false};
  }
  TcAction operator()(const ActionRedirect& a) const {
    return TcMirred{.ifindex = a.to.ifindex, .redirect = true};
  }
  TcAction operator()(const ActionGotoChain& a) const {
    return TcGact{.verdict = TcGact::Verdict::kGotoChain, .chain = a.chain};
  }
  TcAction operator()(const ActionContinue&) const {
    return TcGact{.verdict = TcGact::Verdict::kContinue, .chain = 0};
  }
  TcAction operator()(const ActionDrop&) const {
    return TcGact{.verdict = TcGact::Verdict::kDrop, .chain = 0};
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
  // representors of a block, for ARP fields, and for what goes to a representor on
  // that one itself. There "must" is proven by reading back in_hw.
  const bool takes_skip_sw = rule.location.table.kind == RuleTable::Kind::kVpcBlock &&
                             !rule.match.in_device && !rule.match.arp_target &&
                             !SendsWithinBlock(rule);
  return takes_skip_sw ? TcFilter::Flags::kSkipSw : TcFilter::Flags::kNone;
}

}  // namespace

bool SendsWithinBlock(const FlowRule& rule) {
  if (rule.location.table.kind != RuleTable::Kind::kVpcBlock) return false;
  const std::vector<DeviceRef> outputs = OutputsOf(rule);
  return std::any_of(outputs.begin(), outputs.end(),
                     [](const DeviceRef& to) { return to.kind == DeviceRef::Kind::kRepresentor; });
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

TcAttachPoint AttachPointOf(const RuleTable& table, uint32_t tunnel_ifindex) {
  if (table.kind == RuleTable::Kind::kVpcBlock) {
    return {.block = BlockIndexOf(table.vni), .ifindex = 0};
  }
  return {.block = 0, .ifindex = tunnel_ifindex};
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
  filter.match.dst_mac = match.dst_mac;
  filter.match.dst_mac_mask = match.dst_mac_mask;
  filter.match.src_ip = match.src_ip;
  filter.match.arp_target = match.arp_target;
  filter.match.icmpv6_type = match.icmpv6_type;
  if (match.vni) filter.match.enc_key_id = match.vni->value();
  filter.match.enc_dst = match.outer_dst;
  filter.match.enc_dst_port = match.outer_udp_port;
  filter.actions.reserve(rule.actions.size());
  for (const RuleAction& action : rule.actions) {
    filter.actions.push_back(std::visit(ActionLowerer{}, action));
  }
  filter.flags = FlagsOf(rule);
  filter.cookie = MakeCookie(store_id, rule);
  return filter;
}

}  // namespace fairlead
