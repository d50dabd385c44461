// SPDX-License-Identifier: Apache-2.0
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_csum.h>
#include <linux/tc_act/tc_ct.h>
#include <linux/tc_act/tc_gact.h>
#include <linux/tc_act/tc_mirred.h>
#include <linux/tc_act/tc_pedit.h>
#include <linux/tc_act/tc_tunnel_key.h>
#include <linux/tc_act/tc_vlan.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/tc/tc_codec.h"

namespace fairlead::netlink {
namespace {

// tc.h wants it in network order inside tcm_info.
uint32_t TcmInfo(uint16_t priority, uint16_t ethertype) {
  return TC_H_MAKE(uint32_t{priority} << 16, __builtin_bswap16(ethertype));
}

tcmsg FilterHeader(const TcAttachPoint& at) {
  tcmsg header{};
  if (at.block != 0) {
    header.tcm_ifindex = static_cast<int>(TCM_IFINDEX_MAGIC_BLOCK);
    header.tcm_block_index = at.block;
  } else {
    header.tcm_ifindex = static_cast<int>(at.ifindex);
    header.tcm_parent = TC_H_MAKE(TC_H_CLSACT, at.egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
  }
  return header;
}

tcmsg QdiscHeader(uint32_t ifindex) {
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(ifindex);
  header.tcm_parent = TC_H_CLSACT;
  return header;
}

Bytes AsBytes(const MacAddress& mac) { return mac.bytes(); }

// A mask of `length` leading ones, as long as an address of the prefix's family.
std::vector<uint8_t> MaskOf(const IpPrefix& prefix) {
  std::vector<uint8_t> mask(prefix.address().bytes().size(), 0);
  for (int bit = 0; bit < prefix.length(); ++bit) {
    mask[bit / 8] |= static_cast<uint8_t>(0x80 >> (bit % 8));
  }
  return mask;
}

constexpr std::array<uint8_t, 6> kWholeMac = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
// The group bit: the first of the address to be sent (IEEE 802 section 8.2.2).
constexpr std::array<uint8_t, 6> kGroupBit = {0x01, 0, 0, 0, 0, 0};
constexpr std::array<uint8_t, 6> kNoBit = {};

// The families' attributes for one thing, with and without mask.
struct IpKey {
  uint16_t v4, v4_mask, v6, v6_mask;
};
constexpr IpKey kSource = {TCA_FLOWER_KEY_IPV4_SRC, TCA_FLOWER_KEY_IPV4_SRC_MASK,
                           TCA_FLOWER_KEY_IPV6_SRC, TCA_FLOWER_KEY_IPV6_SRC_MASK};
constexpr IpKey kDestination = {TCA_FLOWER_KEY_IPV4_DST, TCA_FLOWER_KEY_IPV4_DST_MASK,
                                TCA_FLOWER_KEY_IPV6_DST, TCA_FLOWER_KEY_IPV6_DST_MASK};

constexpr IpKey kOuterSource = {TCA_FLOWER_KEY_ENC_IPV4_SRC, TCA_FLOWER_KEY_ENC_IPV4_SRC_MASK,
                                TCA_FLOWER_KEY_ENC_IPV6_SRC, TCA_FLOWER_KEY_ENC_IPV6_SRC_MASK};

void PutPrefix(Message& message, const IpKey& key, const IpPrefix& prefix) {
  const bool v4 = prefix.address().is_v4();
  message.PutIp(v4 ? key.v4 : key.v6, prefix.address())
      .Put(v4 ? key.v4_mask : key.v6_mask, MaskOf(prefix));
}

// The attributes of the fields of one IP protocol, with and without mask.
struct PortKey {
  uint16_t port, port_mask;
};
constexpr PortKey kTcp = {TCA_FLOWER_KEY_TCP_DST, TCA_FLOWER_KEY_TCP_DST_MASK};
constexpr PortKey kUdp = {TCA_FLOWER_KEY_UDP_DST, TCA_FLOWER_KEY_UDP_DST_MASK};

struct IcmpKey {
  uint16_t type, type_mask, code, code_mask;
};
constexpr IcmpKey kIcmp4 = {TCA_FLOWER_KEY_ICMPV4_TYPE, TCA_FLOWER_KEY_ICMPV4_TYPE_MASK,
                            TCA_FLOWER_KEY_ICMPV4_CODE, TCA_FLOWER_KEY_ICMPV4_CODE_MASK};
constexpr IcmpKey kIcmp6 = {TCA_FLOWER_KEY_ICMPV6_TYPE, TCA_FLOWER_KEY_ICMPV6_TYPE_MASK,
                            TCA_FLOWER_KEY_ICMPV6_CODE, TCA_FLOWER_KEY_ICMPV6_CODE_MASK};

static_assert(kCtNew == TCA_FLOWER_KEY_CT_FLAGS_NEW);
static_assert(kCtEstablished == TCA_FLOWER_KEY_CT_FLAGS_ESTABLISHED);
static_assert(kCtRelated == TCA_FLOWER_KEY_CT_FLAGS_RELATED);
static_assert(kCtTracked == TCA_FLOWER_KEY_CT_FLAGS_TRACKED);
static_assert(kCtInvalid == TCA_FLOWER_KEY_CT_FLAGS_INVALID);
static_assert(kCtReply == TCA_FLOWER_KEY_CT_FLAGS_REPLY);

// An IP protocol and what is looked at of its header.
void PutProtocol(Message& message, const TcMatch& match) {
  if (!match.ip_proto) return;
  message.PutU8(TCA_FLOWER_KEY_IP_PROTO, *match.ip_proto);
  const IcmpKey& icmp = *match.ip_proto == IPPROTO_ICMP ? kIcmp4 : kIcmp6;
  if (match.icmp_type) {
    message.PutU8(icmp.type, *match.icmp_type).PutU8(icmp.type_mask, 0xff);
  }
  if (match.icmp_code) {
    message.PutU8(icmp.code, *match.icmp_code).PutU8(icmp.code_mask, 0xff);
  }
  if (match.dst_port) {
    const PortKey& key = *match.ip_proto == IPPROTO_TCP ? kTcp : kUdp;
    message.PutBe16(key.port, match.dst_port->value).PutBe16(key.port_mask, match.dst_port->mask);
  }
}

void PutMatch(Message& message, const TcMatch& match) {
  if (match.indev) message.PutString(TCA_FLOWER_INDEV, *match.indev);
  if (match.ethertype != ETH_P_ALL) {
    message.PutBe16(TCA_FLOWER_KEY_ETH_TYPE, match.ethertype);
  }
  if (match.src_mac) {
    message.Put(TCA_FLOWER_KEY_ETH_SRC, AsBytes(*match.src_mac))
        .Put(TCA_FLOWER_KEY_ETH_SRC_MASK, kWholeMac);
  }
  if (match.dst_mac) {
    message.Put(TCA_FLOWER_KEY_ETH_DST, AsBytes(*match.dst_mac))
        .Put(TCA_FLOWER_KEY_ETH_DST_MASK, kWholeMac);
  }
  if (match.dst_group) {
    message.Put(TCA_FLOWER_KEY_ETH_DST, *match.dst_group ? kGroupBit : kNoBit)
        .Put(TCA_FLOWER_KEY_ETH_DST_MASK, kGroupBit);
  }
  if (match.vlan_id) message.PutU16(TCA_FLOWER_KEY_VLAN_ID, *match.vlan_id);
  if (match.arp_sender_mac) {
    message.Put(TCA_FLOWER_KEY_ARP_SHA, AsBytes(*match.arp_sender_mac))
        .Put(TCA_FLOWER_KEY_ARP_SHA_MASK, kWholeMac);
  }
  if (match.arp_sender_ip) {
    message.PutIp(TCA_FLOWER_KEY_ARP_SIP, match.arp_sender_ip->address())
        .Put(TCA_FLOWER_KEY_ARP_SIP_MASK, MaskOf(*match.arp_sender_ip));
  }
  PutProtocol(message, match);
  if (match.ttl_expiring) {  // 0 and 1: all bits but the lowest are clear
    message.PutU8(TCA_FLOWER_KEY_IP_TTL, 0).PutU8(TCA_FLOWER_KEY_IP_TTL_MASK, 0xfe);
  }
  if (match.src_ip) PutPrefix(message, kSource, *match.src_ip);
  if (match.dst_ip) PutPrefix(message, kDestination, *match.dst_ip);
  if (match.enc_key_id) message.PutBe32(TCA_FLOWER_KEY_ENC_KEY_ID, *match.enc_key_id);
  if (match.enc_src) PutPrefix(message, kOuterSource, *match.enc_src);
  if (match.enc_dst) {
    const bool v4 = match.enc_dst->is_v4();
    const std::vector<uint8_t> mask(match.enc_dst->bytes().size(), 0xff);
    message.PutIp(v4 ? TCA_FLOWER_KEY_ENC_IPV4_DST : TCA_FLOWER_KEY_ENC_IPV6_DST, *match.enc_dst)
        .Put(v4 ? TCA_FLOWER_KEY_ENC_IPV4_DST_MASK : TCA_FLOWER_KEY_ENC_IPV6_DST_MASK, mask);
  }
  if (match.enc_dst_port) {
    message.PutBe16(TCA_FLOWER_KEY_ENC_UDP_DST_PORT, *match.enc_dst_port)
        .PutBe16(TCA_FLOWER_KEY_ENC_UDP_DST_PORT_MASK, 0xffff);
  }
  if (match.ct_state) {
    message.PutU16(TCA_FLOWER_KEY_CT_STATE, match.ct_state->value)
        .PutU16(TCA_FLOWER_KEY_CT_STATE_MASK, match.ct_state->mask);
  }
}

// What a pedit writes, word by word: the kernel takes only offsets that 4 divides
// (tcf_pedit_init, net/sched/act_pedit.c). The values lie in network order.
class PeditKeys {
 public:
  // Another value for the bytes at `offset` of a header.
  void Set(pedit_header_type header, uint32_t offset, Bytes value) {
    for (size_t i = 0; i < value.size(); ++i) {
      const uint32_t at = offset + static_cast<uint32_t>(i);
      if (i == 0 || at % 4 == 0) Begin(header, TCA_PEDIT_KEY_EX_CMD_SET, at);
      Write(at, value[i]);
    }
  }
  // The byte at `offset` becomes larger; what it overflows by is cut off.
  void Add(pedit_header_type header, uint32_t offset, uint8_t value) {
    Begin(header, TCA_PEDIT_KEY_EX_CMD_ADD, offset);
    Write(offset, value);
  }
  void PutInto(Message& message) const {
    tc_pedit_sel selection{};
    selection.action = TC_ACT_PIPE;
    selection.nkeys = static_cast<uint8_t>(keys_.size());
    // The keys lie behind it.
    std::vector<uint8_t> parms(sizeof(selection) + keys_.size() * sizeof(tc_pedit_key));
    std::memcpy(parms.data(), &selection, sizeof(selection));
    std::memcpy(parms.data() + sizeof(selection), keys_.data(),
                keys_.size() * sizeof(tc_pedit_key));
    message.Put(TCA_PEDIT_PARMS_EX, parms).Begin(TCA_PEDIT_KEYS_EX);
    for (const Where& where : where_) {
      message.Begin(TCA_PEDIT_KEY_EX)
          .PutU16(TCA_PEDIT_KEY_EX_HTYPE, where.header)
          .PutU16(TCA_PEDIT_KEY_EX_CMD, where.command)
          .End();
    }
    message.End();
  }

 private:
  struct Where {
    uint16_t header, command;
  };
  void Begin(pedit_header_type header, pedit_cmd command, uint32_t offset) {
    tc_pedit_key key{};
    key.mask = ~uint32_t{0};  // what is kept
    key.off = offset / 4 * 4;
    keys_.push_back(key);
    where_.push_back({static_cast<uint16_t>(header), static_cast<uint16_t>(command)});
  }
  void Write(uint32_t at, uint8_t value) {
    tc_pedit_key& key = keys_.back();
    reinterpret_cast<uint8_t*>(&key.mask)[at % 4] = 0;
    reinterpret_cast<uint8_t*>(&key.val)[at % 4] = value;
  }

  std::vector<tc_pedit_key> keys_;
  std::vector<Where> where_;
};

// Offsets within the headers (uapi/linux/if_ether.h, RFC 791 section 3.1, RFC 8200 section 3).
constexpr uint32_t kEthDestination = 0;
constexpr uint32_t kEthSource = 6;
constexpr uint32_t kIpv4Ttl = 8;
constexpr uint32_t kIpv6HopLimit = 7;
constexpr uint8_t kMinusOne = 0xff;  // of a byte

class ActionWriter {
 public:
  explicit ActionWriter(Message& into) : message(into) {}

  void operator()(const TcTunnelSet& set) {
    message.PutString(TCA_ACT_KIND, "tunnel_key").Begin(TCA_ACT_OPTIONS);
    tc_tunnel_key parms{};
    parms.action = TC_ACT_PIPE;
    parms.t_action = TCA_TUNNEL_KEY_ACT_SET;
    message.PutStruct(TCA_TUNNEL_KEY_PARMS, parms).PutBe32(TCA_TUNNEL_KEY_ENC_KEY_ID, set.key_id);
    const bool v4 = set.dst.is_v4();
    message.PutIp(v4 ? TCA_TUNNEL_KEY_ENC_IPV4_SRC : TCA_TUNNEL_KEY_ENC_IPV6_SRC, set.src)
        .PutIp(v4 ? TCA_TUNNEL_KEY_ENC_IPV4_DST : TCA_TUNNEL_KEY_ENC_IPV6_DST, set.dst)
        .PutBe16(TCA_TUNNEL_KEY_ENC_DST_PORT, set.dst_port)
        .PutU8(TCA_TUNNEL_KEY_NO_CSUM, set.no_csum ? 1 : 0)
        .PutU8(TCA_TUNNEL_KEY_ENC_TTL, set.ttl)
        .End();
  }
  void operator()(const TcTunnelUnset&) {
    tc_tunnel_key parms{};
    parms.action = TC_ACT_PIPE;
    parms.t_action = TCA_TUNNEL_KEY_ACT_RELEASE;
    message.PutString(TCA_ACT_KIND, "tunnel_key")
        .Begin(TCA_ACT_OPTIONS)
        .PutStruct(TCA_TUNNEL_KEY_PARMS, parms)
        .End();
  }
  void operator()(const TcCt& ct) {
    tc_ct parms{};
    parms.action = TC_ACT_PIPE;
    message.PutString(TCA_ACT_KIND, "ct")
        .Begin(TCA_ACT_OPTIONS)
        .PutStruct(TCA_CT_PARMS, parms)
        .PutU16(TCA_CT_ACTION, ct.commit ? TCA_CT_ACT_COMMIT : 0)
        .PutU16(TCA_CT_ZONE, ct.zone)
        .End();
  }
  void operator()(const TcPedit& pedit) {
    PeditKeys keys;
    keys.Set(TCA_PEDIT_KEY_EX_HDR_TYPE_ETH, kEthSource, AsBytes(pedit.eth_src));
    keys.Set(TCA_PEDIT_KEY_EX_HDR_TYPE_ETH, kEthDestination, AsBytes(pedit.eth_dst));
    // mlx5 takes a rewrite of an IP header of any protocol only where nothing but
    // the TTL changes (modify_header_match_supported).
    if (pedit.v6) {
      keys.Add(TCA_PEDIT_KEY_EX_HDR_TYPE_IP6, kIpv6HopLimit, kMinusOne);
    } else {
      keys.Add(TCA_PEDIT_KEY_EX_HDR_TYPE_IP4, kIpv4Ttl, kMinusOne);
    }
    message.PutString(TCA_ACT_KIND, "pedit").Begin(TCA_ACT_OPTIONS);
    keys.PutInto(message);
    message.End();
  }
  void operator()(const TcCsum&) {
    tc_csum parms{};
    parms.action = TC_ACT_PIPE;
    parms.update_flags = TCA_CSUM_UPDATE_FLAG_IPV4HDR;
    message.PutString(TCA_ACT_KIND, "csum")
        .Begin(TCA_ACT_OPTIONS)
        .PutStruct(TCA_CSUM_PARMS, parms)
        .End();
  }
  void operator()(const TcVlanPush& push) {
    PutVlan(TCA_VLAN_ACT_PUSH);
    message.PutU16(TCA_VLAN_PUSH_VLAN_ID, push.id)
        .PutBe16(TCA_VLAN_PUSH_VLAN_PROTOCOL, ETH_P_8021Q)
        .End();
  }
  void operator()(const TcVlanPop&) {
    PutVlan(TCA_VLAN_ACT_POP);
    message.End();
  }
  void operator()(const TcMirror& mirror) {
    PutMirred(TC_ACT_PIPE, TCA_EGRESS_MIRROR, mirror.ifindex);
  }
  void operator()(const TcMirred& mirred) {
    PutMirred(TC_ACT_STOLEN, TCA_EGRESS_REDIR, mirred.ifindex);
  }
  void operator()(const TcGact& gact) {
    tc_gact parms{};
    switch (gact.verdict) {
      case TcGact::Verdict::kDrop:
        parms.action = TC_ACT_SHOT;
        break;
      case TcGact::Verdict::kTrap:
        parms.action = TC_ACT_TRAP;
        break;
      case TcGact::Verdict::kGotoChain:
        parms.action = static_cast<int>(TC_ACT_GOTO_CHAIN | gact.chain);
        break;
      case TcGact::Verdict::kContinue:
        parms.action = TC_ACT_UNSPEC;
        break;
    }
    message.PutString(TCA_ACT_KIND, "gact")
        .Begin(TCA_ACT_OPTIONS)
        .PutStruct(TCA_GACT_PARMS, parms)
        .End();
  }

 private:
  // The options, which the caller ends.
  void PutVlan(int what) {
    tc_vlan parms{};
    parms.action = TC_ACT_PIPE;
    parms.v_action = what;
    message.PutString(TCA_ACT_KIND, "vlan").Begin(TCA_ACT_OPTIONS).PutStruct(TCA_VLAN_PARMS, parms);
  }
  void PutMirred(int verdict, int what, uint32_t ifindex) {
    tc_mirred parms{};
    parms.action = verdict;
    parms.eaction = what;
    parms.ifindex = ifindex;
    message.PutString(TCA_ACT_KIND, "mirred")
        .Begin(TCA_ACT_OPTIONS)
        .PutStruct(TCA_MIRRED_PARMS, parms)
        .End();
  }

  Message& message;
};

absl::Status Refuse(std::string_view why) {
  return absl::InvalidArgumentError(StrCat("TC cannot hold this filter: ", why));
}

// The kernel would overlook what is outside of the mask.
absl::Status CheckMask(std::string_view what, uint16_t value, uint16_t mask) {
  if (mask == 0) return Refuse(StrCat("it looks at no bit of a ", what));
  return (value & ~mask) == 0 ? absl::OkStatus()
                              : Refuse(StrCat("a bit of its ", what, " is outside of the mask"));
}

struct ActionCheck {
  const TcMatch& match;

  absl::Status operator()(const TcTunnelSet& set) const {
    if (set.src.is_v4() != set.dst.is_v4()) return Refuse("its tunnel mixes IPv4 and IPv6");
    if (set.key_id > Vni::kMax) return Refuse("its tunnel key has more than 24 bits");
    return absl::OkStatus();
  }
  absl::Status operator()(const TcTunnelUnset&) const { return absl::OkStatus(); }
  absl::Status operator()(const TcCt& ct) const {
    if (ct.zone == 0) return Refuse("it tracks connections in zone 0, which is the host's own");
    return match.ethertype == ETH_P_IP || match.ethertype == ETH_P_IPV6
               ? absl::OkStatus()
               : Refuse("it tracks connections of another EtherType than IPv4 and IPv6");
  }
  absl::Status operator()(const TcPedit& pedit) const {
    if (match.ethertype != (pedit.v6 ? ETH_P_IPV6 : ETH_P_IP)) {
      return Refuse("it changes a TTL in packets of another EtherType");
    }
    if (!pedit.eth_src.IsUnicast() || !pedit.eth_dst.IsUnicast()) {
      return Refuse("it writes a MAC that no station can have");
    }
    return absl::OkStatus();
  }
  absl::Status operator()(const TcCsum&) const {
    return match.ethertype == ETH_P_IP
               ? absl::OkStatus()
               : Refuse("it mends an IPv4 checksum in packets of another EtherType");
  }
  absl::Status operator()(const TcVlanPush& push) const {
    return VlanId::Make(push.id).ok() ? absl::OkStatus()
                                      : Refuse("it pushes a VLAN that is not one of 1 to 4094");
  }
  absl::Status operator()(const TcVlanPop&) const {
    return match.ethertype == ETH_P_8021Q ? absl::OkStatus()
                                          : Refuse("it pops the tag of frames that have none");
  }
  absl::Status operator()(const TcMirror& mirror) const { return CheckDevice(mirror.ifindex); }
  absl::Status operator()(const TcMirred& mirred) const { return CheckDevice(mirred.ifindex); }
  static absl::Status CheckDevice(uint32_t ifindex) {
    return ifindex != 0 && ifindex <= INT32_MAX ? absl::OkStatus()
                                                : Refuse("an action sends to no device");
  }
  absl::Status operator()(const TcGact& gact) const {
    return gact.chain <= TC_ACT_EXT_VAL_MASK ? absl::OkStatus()
                                             : Refuse("it goes to a chain above 268435455");
  }
};

// Where an action stands among the others: an outer header goes first and comes last, the
// packet itself is changed in between.
struct Rank {
  static constexpr int kMirror = 4;
  static constexpr int kVerdict = 6;
  int operator()(const TcTunnelUnset&) const { return 0; }
  int operator()(const TcVlanPop&) const { return 0; }
  int operator()(const TcCt&) const { return 1; }
  int operator()(const TcPedit&) const { return 2; }
  int operator()(const TcCsum&) const { return 3; }
  int operator()(const TcMirror&) const { return kMirror; }
  int operator()(const TcTunnelSet&) const { return 5; }
  int operator()(const TcVlanPush&) const { return 5; }
  int operator()(const TcMirred&) const { return kVerdict; }
  int operator()(const TcGact&) const { return kVerdict; }
};

bool IsTrap(const TcAction& action) {
  const auto* gact = std::get_if<TcGact>(&action);
  return gact != nullptr && gact->verdict == TcGact::Verdict::kTrap;
}

absl::Status CheckActions(const TcMatch& match, const std::vector<TcAction>& actions) {
  if (actions.empty()) return Refuse("it has no actions");
  if (actions.size() > TCA_ACT_MAX_PRIO) {
    return Refuse(
        StrCat("it has ", actions.size(), " actions, and ", TCA_ACT_MAX_PRIO, " are the most"));
  }
  int before = -1;
  bool ttl_changed = false, checksum_mended = false;
  for (const TcAction& action : actions) {
    FAIRLEAD_RETURN_IF_ERROR(std::visit(ActionCheck{match}, action));
    const int rank = std::visit(Rank{}, action);
    if (rank < before || (rank == before && rank != Rank::kMirror)) {
      return Refuse(
          "its actions are not, each but a mirror at most once and in this order: tunnel_key unset "
          "or vlan pop, ct, pedit, csum, mirrors, tunnel_key set or vlan push, and a redirect, "
          "drop, "
          "trap, continue or jump to a chain");
    }
    before = rank;
    if (const auto* pedit = std::get_if<TcPedit>(&action)) ttl_changed = !pedit->v6;
    if (std::holds_alternative<TcCsum>(action)) checksum_mended = true;
  }
  if (before != Rank::kVerdict) {
    return Refuse("its last action must redirect, drop, trap, continue or go to a chain");
  }
  if (IsTrap(actions.back()) && actions.size() > 1) {
    return Refuse("what is trapped must be left as it came");  // mlx5: "as a sole action only"
  }
  // A receiver drops an IPv4 header whose checksum is wrong (RFC 1122 section 3.2.1.2).
  if (ttl_changed != checksum_mended) {
    return Refuse("a changed IPv4 header, and only that, needs its checksum mended");
  }
  return absl::OkStatus();
}

}  // namespace

std::string Describe(const TcAttachPoint& at) {
  return at.block != 0 ? StrCat("TC block ", at.block)
                       : StrCat("the ", at.egress ? "egress" : "ingress",
                                " of the device with ifindex ", at.ifindex);
}

std::string Describe(const TcAttachPoint& at, const TcFilterId& id) {
  return StrCat("filter chain ", id.chain, " prio ", id.priority, " handle ", id.handle, " on ",
                Describe(at));
}

absl::Status CheckAttachPoint(const TcAttachPoint& at) {
  // TCM_IFINDEX_MAGIC_BLOCK is a negative int, so no device has it.
  const bool one = (at.block != 0) != (at.ifindex != 0) && at.ifindex <= INT32_MAX;
  if (one && !(at.egress && at.block != 0)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("a filter hangs on a block or on a device, not on block ", at.block, " and ifindex ",
             at.ifindex));
}

absl::Status CheckFilterId(const TcFilterId& id) {
  if (id.priority == 0 || id.handle == 0) return Refuse("priority and handle must not be 0");
  if (id.chain > TC_ACT_EXT_VAL_MASK) return Refuse("chains end at 268435455");
  return absl::OkStatus();
}

absl::Status CheckFilter(const TcFilter& filter) {
  FAIRLEAD_RETURN_IF_ERROR(CheckFilterId(filter.id));
  const TcMatch& match = filter.match;
  if (match.indev && (match.indev->empty() || match.indev->size() > 15)) {  // IFNAMSIZ - 1
    return Refuse("the name of its input device has not 1 to 15 characters");
  }
  if (match.src_mac && !match.src_mac->IsUnicast()) {
    return Refuse("its source MAC is one that no station can have");
  }
  if (match.dst_mac && match.dst_mac->IsZero()) {
    return Refuse("its destination MAC is 00:00:00:00:00:00");
  }
  if (match.dst_mac && match.dst_group) {
    return Refuse("it matches a destination MAC and a kind of them");
  }
  if (match.vlan_id && (match.ethertype != ETH_P_8021Q || *match.vlan_id > 4095)) {
    return Refuse("a VLAN is a number up to 4095, and needs EtherType 802.1Q");
  }
  if ((match.arp_sender_mac || match.arp_sender_ip) && match.ethertype != ETH_P_ARP) {
    return Refuse("an ARP sender needs EtherType ARP");
  }
  if (match.arp_sender_ip && match.arp_sender_ip->address().is_v6()) {
    return Refuse("an ARP sender has no IPv6 address");
  }
  for (const auto* prefix : {&match.src_ip, &match.dst_ip}) {
    if (*prefix && match.ethertype != ((*prefix)->address().is_v4() ? ETH_P_IP : ETH_P_IPV6)) {
      return Refuse("an IP address that it matches is not of its EtherType");
    }
  }
  const bool ip = match.ethertype == ETH_P_IP || match.ethertype == ETH_P_IPV6;
  if (match.ttl_expiring && !ip) return Refuse("a TTL needs EtherType IPv4 or IPv6");
  if (match.ip_proto && !ip) return Refuse("an IP protocol needs EtherType IPv4 or IPv6");
  if (match.dst_port) {
    if (match.ip_proto != IPPROTO_TCP && match.ip_proto != IPPROTO_UDP) {
      return Refuse("a port needs the IP protocol TCP or UDP");
    }
    FAIRLEAD_RETURN_IF_ERROR(CheckMask("port", match.dst_port->value, match.dst_port->mask));
  }
  if (match.icmp_type || match.icmp_code) {
    // The kernel would overlook it elsewhere.
    const int icmp = match.ethertype == ETH_P_IP ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
    if (match.ip_proto != icmp) {
      return Refuse("an ICMP type or code needs IP protocol 1 with IPv4 or 58 with IPv6");
    }
  }
  if (match.ct_state) {
    FAIRLEAD_RETURN_IF_ERROR(
        CheckMask("connection state", match.ct_state->value, match.ct_state->mask));
    if (match.ct_state->mask >= kCtReply << 1) {
      return Refuse("a bit of its connection state has no meaning");
    }
  }
  if (match.enc_key_id && *match.enc_key_id > Vni::kMax) {
    return Refuse("the tunnel key that it matches has more than 24 bits");
  }
  if (match.enc_src && match.enc_dst &&
      match.enc_src->address().is_v4() != match.enc_dst->is_v4()) {
    return Refuse("the outer source and destination that it matches are of different families");
  }
  return CheckActions(match, filter.actions);
}

absl::StatusOr<Message> PutFilterRequest(const TcAttachPoint& at, const TcFilter& filter,
                                         bool exclusive, bool echo) {
  FAIRLEAD_RETURN_IF_ERROR(CheckAttachPoint(at));
  FAIRLEAD_RETURN_IF_ERROR(CheckFilter(filter));
  // Without NLM_F_EXCL a filter with this handle is replaced.
  Message message(RTM_NEWTFILTER,
                  (echo ? NLM_F_ECHO : NLM_F_ACK) | NLM_F_CREATE | (exclusive ? NLM_F_EXCL : 0));
  tcmsg header = FilterHeader(at);
  header.tcm_handle = filter.id.handle;
  header.tcm_info = TcmInfo(filter.id.priority, filter.match.ethertype);
  // Without TCA_KIND the kernel takes the rtnl lock to find it out.
  message.Header(header).PutString(TCA_KIND, "flower").PutU32(TCA_CHAIN, filter.id.chain);
  message.Begin(TCA_OPTIONS);
  PutMatch(message, filter.match);
  if (filter.flags != TcFilter::Flags::kNone) {
    message.PutU32(TCA_FLOWER_FLAGS, filter.flags == TcFilter::Flags::kSkipSw
                                         ? TCA_CLS_FLAGS_SKIP_SW
                                         : TCA_CLS_FLAGS_SKIP_HW);
  }
  message.Begin(TCA_FLOWER_ACT);
  uint16_t order = 0;
  for (const TcAction& action : filter.actions) {
    message.Begin(++order);
    std::visit(ActionWriter(message), action);
    if (order == 1) message.PutStruct(TCA_ACT_COOKIE, filter.cookie);
    message.End();
  }
  message.End().End();
  FAIRLEAD_RETURN_IF_ERROR(message.status());
  return message;
}

namespace {

// A request about one filter that names it by its place.
absl::StatusOr<Message> PlaceRequest(uint16_t type, const TcFilterRef& ref) {
  FAIRLEAD_RETURN_IF_ERROR(CheckAttachPoint(ref.at));
  FAIRLEAD_RETURN_IF_ERROR(CheckFilterId(ref.id));
  Message message(type, NLM_F_ACK);
  tcmsg header = FilterHeader(ref.at);
  header.tcm_handle = ref.id.handle;
  header.tcm_info = TcmInfo(ref.id.priority, ref.ethertype);
  message.Header(header).PutString(TCA_KIND, "flower").PutU32(TCA_CHAIN, ref.id.chain);
  return message;
}

}  // namespace

absl::StatusOr<Message> DeleteFilterRequest(const TcAttachPoint& at, const TcFilterId& id,
                                            uint16_t ethertype) {
  return PlaceRequest(RTM_DELTFILTER, {at, id, ethertype});
}

absl::StatusOr<Message> GetFilterRequest(const TcFilterRef& ref) {
  return PlaceRequest(RTM_GETTFILTER, ref);
}

Message DumpFiltersRequest(const TcAttachPoint& at, TcDumpDetail detail) {
  Message message(RTM_GETTFILTER, NLM_F_DUMP);
  message.Header(FilterHeader(at));
  if (detail == TcDumpDetail::kTerse) {
    message.PutStruct(TCA_DUMP_FLAGS, nla_bitfield32{.value = TCA_DUMP_FLAGS_TERSE,
                                                     .selector = TCA_DUMP_FLAGS_TERSE});
  }
  return message;
}

Message GetClsactRequest(uint32_t ifindex) {
  // The kernel answers as if it told of a change: whoever asks is left out
  // without NLM_F_ECHO (qdisc_notify, net/sched/sch_api.c).
  Message message(RTM_GETQDISC, NLM_F_ACK | NLM_F_ECHO);
  message.Header(QdiscHeader(ifindex));
  return message;
}

Message AddClsactRequest(uint32_t ifindex, uint32_t ingress_block) {
  Message message(RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  tcmsg header = QdiscHeader(ifindex);
  header.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
  message.Header(header).PutString(TCA_KIND, "clsact");
  if (ingress_block != 0) message.PutU32(TCA_INGRESS_BLOCK, ingress_block);
  return message;
}

Message DeleteClsactRequest(uint32_t ifindex) {
  Message message(RTM_DELQDISC, NLM_F_ACK);
  // The kind guards somebody else's "ingress" qdisc, which sits in the same place.
  message.Header(QdiscHeader(ifindex)).PutString(TCA_KIND, "clsact");
  return message;
}

}  // namespace fairlead::netlink
