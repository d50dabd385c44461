// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the one door to traffic control: clsact qdiscs, shared blocks, and
// flower filters with the actions that Fairlead uses.
//
// Threading: calls block; call from a lane. One instance belongs to one thread
// at a time (its own netlink socket).
// Errors: SystemError with the kernel's errno and its extended-ACK text.
// Messages from the kernel are validated; a malformed one is kDataLoss.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/counters.h"
#include "agent/base/types.h"

namespace fairlead {

// 16 bytes that the kernel keeps with the first action of a filter
// (TCA_ACT_COOKIE, at most TC_COOKIE_MAX_SIZE = 16, uapi/linux/pkt_cls.h).
using TcCookie = std::array<uint8_t, 16>;

// Where a filter hangs: a shared block, or the ingress of a device's own clsact, or its egress.
struct TcAttachPoint {
  uint32_t block = 0;    // != 0: the block with this index
  uint32_t ifindex = 0;  // else: this device's clsact
  bool egress = false;   // of that; for Dump only
  friend auto operator<=>(const TcAttachPoint&, const TcAttachPoint&) = default;
};

// Ports of which the bits of `mask` are those of `value`; a range of ports is one or more of these.
struct TcPortMask {
  uint16_t value = 0;  // none of its bits is outside of the mask
  uint16_t mask = 0xffff;
  friend bool operator==(const TcPortMask&, const TcPortMask&) = default;
};

// What connection tracking says of a packet that went through TcCt, bit by bit
// (uapi/linux/pkt_cls.h TCA_FLOWER_KEY_CT_FLAGS_*).
inline constexpr uint16_t kCtNew = 1 << 0;          // of a connection that is not committed yet
inline constexpr uint16_t kCtEstablished = 1 << 1;  // of one that is
inline constexpr uint16_t kCtRelated = 1 << 2;      // an ICMP error about one
inline constexpr uint16_t kCtTracked = 1 << 3;  // it went through; of none of the others without
inline constexpr uint16_t kCtInvalid = 1 << 4;  // it can be of none
inline constexpr uint16_t kCtReply = 1 << 5;    // against the direction of the first packet
struct TcCtState {
  uint16_t value = 0;  // none of its bits is outside of the mask
  uint16_t mask = 0;   // the bits that are looked at, at least one
  friend bool operator==(const TcCtState&, const TcCtState&) = default;
};

// Flower keys (uapi/linux/pkt_cls.h TCA_FLOWER_*); an absent one is not sent.
struct TcMatch {
  uint16_t ethertype = 0x0003;       // host order; ETH_P_ALL: the filter's protocol is "all"
  std::optional<std::string> indev;  // netdev name (TCA_FLOWER_INDEV)
  std::optional<MacAddress> src_mac;
  std::optional<MacAddress> dst_mac;
  std::optional<bool> dst_group;             // the group bit of the destination MAC alone
  std::optional<uint16_t> vlan_id;           // of the outermost tag, 0 to 4095; EtherType 802.1Q
  std::optional<MacAddress> arp_sender_mac;  // EtherType ARP, like the next
  std::optional<IpPrefix> arp_sender_ip;     // IPv4
  std::optional<IpPrefix> src_ip;
  std::optional<IpPrefix> dst_ip;
  bool ttl_expiring = false;           // TTL or hop limit: key 0, mask 0xfe
  std::optional<uint8_t> ip_proto;     // EtherType IPv4 or IPv6
  std::optional<TcPortMask> dst_port;  // ip_proto 6 or 17; no fragment has ports
  std::optional<uint8_t> icmp_type;    // ip_proto 1 with IPv4, 58 with IPv6; like the next
  std::optional<uint8_t> icmp_code;
  // The kernel refuses what no packet can be: "new and est are mutually exclusive".
  std::optional<TcCtState> ct_state;
  std::optional<uint32_t> enc_key_id;
  std::optional<IpPrefix> enc_src;
  std::optional<IpAddress> enc_dst;
  std::optional<uint16_t> enc_dst_port;
  friend bool operator==(const TcMatch&, const TcMatch&) = default;
};

struct TcTunnelSet {  // tunnel_key set
  uint32_t key_id = 0;
  IpAddress src;
  IpAddress dst;
  uint16_t dst_port = 4789;
  uint8_t ttl = 64;
  bool no_csum = true;
  friend bool operator==(const TcTunnelSet&, const TcTunnelSet&) = default;
};
struct TcTunnelUnset {
  friend bool operator==(const TcTunnelUnset&, const TcTunnelUnset&) = default;
};
struct TcVlanPush {  // one 802.1Q tag, priority 0
  uint16_t id = 0;   // 1 to 4094
  friend bool operator==(const TcVlanPush&, const TcVlanPush&) = default;
};
struct TcVlanPop {  // the outermost tag
  friend bool operator==(const TcVlanPop&, const TcVlanPop&) = default;
};
// Connection tracking (act_ct): looks the packet up among the connections of a zone, so that the
// filters after it can match its ct_state; `commit` makes a new connection one that is known.
// EtherType IPv4 or IPv6: what is neither is dropped (tcf_ct_act, net/sched/act_ct.c).
struct TcCt {
  uint16_t zone = 0;  // 1 to 65535; zone 0 is the host's own
  bool commit = false;
  friend bool operator==(const TcCt&, const TcCt&) = default;
};
struct TcMirror {  // a copy to the egress of a device; the packet goes on to the next action
  uint32_t ifindex = 0;
  friend bool operator==(const TcMirror&, const TcMirror&) = default;
};
struct TcMirred {  // a redirect to the egress of a device
  uint32_t ifindex = 0;
  friend bool operator==(const TcMirred&, const TcMirred&) = default;
};
// pedit ex: other MACs, and one less TTL or hop limit (ttl add 255, as `tc` has "ttl dec"),
// whose IPv4 checksum a csum action after it mends.
struct TcPedit {
  MacAddress eth_src;
  MacAddress eth_dst;
  bool v6 = false;  // which header the TTL is in
  friend bool operator==(const TcPedit&, const TcPedit&) = default;
};
struct TcCsum {  // of the IPv4 header
  friend bool operator==(const TcCsum&, const TcCsum&) = default;
};
struct TcGact {
  // kTrap (TC_ACT_TRAP): a NIC hands the packet to the CPU; the kernel's own rules take it
  // away, after packet sockets have seen it.
  // kContinue (TC_ACT_UNSPEC): as if the filter had not matched; the next is asked.
  enum class Verdict : uint8_t { kDrop, kTrap, kGotoChain, kContinue };
  Verdict verdict = Verdict::kDrop;
  uint32_t chain = 0;
  friend bool operator==(const TcGact&, const TcGact&) = default;
};
using TcAction = std::variant<TcTunnelUnset, TcVlanPop, TcCt, TcPedit, TcCsum, TcMirror,
                              TcTunnelSet, TcVlanPush, TcMirred, TcGact>;

struct TcFilterId {
  uint32_t chain = 0;
  uint16_t priority = 0;
  uint32_t handle = 0;
  friend auto operator<=>(const TcFilterId&, const TcFilterId&) = default;
};

struct TcFilter {
  TcFilterId id;
  TcMatch match;
  // 1 to 32 (TCA_ACT_MAX_PRIO), each kind but TcMirror at most once, in the order of TcAction;
  // TcVlanPop in TcTunnelUnset's stead, TcVlanPush in TcTunnelSet's, TcGact in TcMirred's.
  std::vector<TcAction> actions;
  enum class Flags : uint8_t { kNone, kSkipSw, kSkipHw };
  Flags flags = Flags::kNone;
  TcCookie cookie{};
  friend bool operator==(const TcFilter&, const TcFilter&) = default;
};

// What a dump shows of a filter. Foreign filters of any kind appear with their
// location and no cookie.
struct TcFilterInfo {
  TcFilterId id;
  uint16_t ethertype = 0;          // host order
  std::string kind;                // "flower", ...
  std::optional<TcCookie> cookie;  // of the first action
  bool in_hw = false;              // TCA_CLS_FLAGS_IN_HW
  uint32_t in_hw_count = 0;
  RuleCounters counters;  // of its first action, which all that matches passes
};

// How much a dump shows. A terse one costs less and has no in_hw_count (it is 0).
enum class TcDumpDetail : uint8_t { kTerse, kWithHardwareCount };

struct TcChange {
  enum class Verb : uint8_t { kPut, kDelete };  // kPut creates, or replaces in place
  Verb verb = Verb::kPut;
  TcAttachPoint at;
  TcFilter filter;  // kDelete needs only id and match.ethertype
  // kPut: refused with EEXIST when a filter has the place already.
  bool exclusive = false;
};

// One filter, by its place.
struct TcFilterRef {
  TcAttachPoint at;
  TcFilterId id;
  uint16_t ethertype = 0x0003;  // host order
};

// What sits at a device's ingress, where only one qdisc has room.
struct TcQdiscInfo {
  bool clsact = false;         // a clsact qdisc is there
  uint32_t ingress_block = 0;  // 0 = none shared
  std::string kind;            // "clsact", "ingress" (Open vSwitch), "" = none
};

class TcPort {
 public:
  virtual ~TcPort() = default;

  virtual absl::StatusOr<TcQdiscInfo> GetQdisc(uint32_t ifindex) = 0;
  // Adds clsact, bound to a shared ingress block unless `ingress_block` is 0.
  // kAlreadyExists when one is there (the kernel cannot change its block), or an
  // ingress qdisc.
  virtual absl::Status AddClsact(uint32_t ifindex, uint32_t ingress_block) = 0;
  // Adds clsact without a block, and `mark` to its ingress, in one system call: a caller that is
  // killed leaves both or none. Errors: as of AddClsact, or why the mark was refused; then neither
  // is there. With the answer lost, both may be.
  virtual absl::Status AddMarkedClsact(uint32_t ifindex, const TcFilter& mark) = 0;
  // With all its filters (a shared block dies with its last user). Gone is success;
  // an ingress qdisc is left alone.
  virtual absl::Status DeleteClsact(uint32_t ifindex) = 0;

  // Sends the changes in order, many messages a system call, and answers each
  // one for itself: a refused one does not stop the next. Result i belongs to
  // change i. Deleting what is gone (the block or device included) is success.
  virtual std::vector<absl::Status> Apply(std::span<const TcChange> changes) = 0;

  // The same for changes that are all kPut, with what the kernel then shows of each filter. Unless
  // a port can do better, it is read back.
  virtual std::vector<absl::StatusOr<TcFilterInfo>> Put(std::span<const TcChange> changes);

  // Reads filters back, many messages a system call; result i belongs to ref i.
  // kNotFound when the filter, or what it hung at, is not there.
  virtual std::vector<absl::StatusOr<TcFilterInfo>> Get(std::span<const TcFilterRef> refs) = 0;

  // All filters of all chains. An empty list when block or qdisc is not there.
  // kUnavailable when the kernel's table changed under the dump
  // (NLM_F_DUMP_INTR): ask again.
  virtual absl::StatusOr<std::vector<TcFilterInfo>> Dump(
      const TcAttachPoint& at, TcDumpDetail detail = TcDumpDetail::kWithHardwareCount) = 0;

  // Told from a thread of the port's own when a filter of somebody or ours was
  // added or deleted (RTNLGRP_TC); `lost` when messages were lost. A handle of 0
  // stands for all of a priority, a priority of 0 for all that hung there (the
  // clsact qdisc was deleted).
  class Subscription {
   public:
    virtual ~Subscription() = default;
  };
  struct Event {
    bool lost = false;
    bool deleted = false;
    TcAttachPoint at;
    TcFilterId id;
    std::optional<TcCookie> cookie;  // of the first action; only of what was added
  };
  virtual absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(
      std::function<void(const Event&)> on_event) = 0;
};

}  // namespace fairlead
