// SPDX-License-Identifier: Apache-2.0
//
// Purpose: forwarding rules -> TC flower filters, and the cookie by which a
// filter tells whose it is and what it holds.
//
// Actions are taken in the rule's order, which must be one that a ConnectX
// takes: decapsulation, or the tag off, first, then what a router does, then copies,
// encapsulation right before the redirect to the tunnel device, or the tag on right before that
// to an uplink, a verdict last. A jump, a trap and a drop stand alone.
//
// On the ingress of a PF's netdev, where the host's own traffic passes, a rule that does anything
// names a VLAN, or untagged ARP, IPv4 or IPv6, and a destination; none drops, traps or jumps.
//
// Threading: pure functions.
// Errors: kInvalidArgument for a rule that has no such order, would redirect
// everything or route what is no IP packet (a bug of the pipeline), kFailedPrecondition when a
// device that the rule names is not there.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "agent/model/flow_rule.h"
#include "agent/ports/tc/tc_port.h"

namespace fairlead {

// The name of the netdev with this ifindex; nothing when there is none.
using DeviceNames = std::function<std::optional<std::string>(uint32_t ifindex)>;

// The 16 bytes of an action cookie, big endian: store id (4), FlowRule::MatchHash (4),
// FlowRule::ContentHash (8).
struct CookieParts {
  uint32_t store_id = 0;
  uint32_t match_hash = 0;
  uint64_t content_hash = 0;
  friend bool operator==(const CookieParts&, const CookieParts&) = default;
};
TcCookie MakeCookie(uint32_t store_id, const FlowRule& rule);
// Nothing when it cannot be one of Fairlead's: a store id is never 0.
std::optional<CookieParts> ParseCookie(const TcCookie& cookie);

// Where the rules of `table` hang. `ifindex`: of the device whose ingress it is, if it is one's.
TcAttachPoint AttachPointOf(const RuleTable& table, uint32_t ifindex);

// Whether the rule of a block sends to a representor, which may be the one that a frame comes from.
bool SendsWithinBlock(const FlowRule& rule);

// The filter for `rule`, without its attach point. `store_id` is not 0.
absl::StatusOr<TcFilter> Lower(const FlowRule& rule, const DeviceNames& names, uint32_t store_id);

}  // namespace fairlead
