// SPDX-License-Identifier: Apache-2.0
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_gact.h>
#include <linux/tc_act/tc_mirred.h>
#include <linux/tc_act/tc_tunnel_key.h>
#include <netinet/in.h>

#include <algorithm>

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
    header.tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
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

void PutMatch(Message& message, const TcMatch& match) {
  if (match.indev) message.PutString(TCA_FLOWER_INDEV, *match.indev);
  if (match.ethertype != ETH_P_ALL) {
    message.PutBe16(TCA_FLOWER_KEY_ETH_TYPE, match.ethertype);
  }
  if (match.dst_mac) {
    message.Put(TCA_FLOWER_KEY_ETH_DST, AsBytes(*match.dst_mac))
        .Put(TCA_FLOWER_KEY_ETH_DST_MASK, AsBytes(match.dst_mac_mask));
  }
  if (match.icmpv6_type) {
    message.PutU8(TCA_FLOWER_KEY_IP_PROTO, IPPROTO_ICMPV6)
        .PutU8(TCA_FLOWER_KEY_ICMPV6_TYPE, *match.icmpv6_type)
        .PutU8(TCA_FLOWER_KEY_ICMPV6_TYPE_MASK, 0xff);
  }
  if (match.src_ip) {
    const bool v4 = match.src_ip->address().is_v4();
    message.PutIp(v4 ? TCA_FLOWER_KEY_IPV4_SRC : TCA_FLOWER_KEY_IPV6_SRC, match.src_ip->address())
        .Put(v4 ? TCA_FLOWER_KEY_IPV4_SRC_MASK : TCA_FLOWER_KEY_IPV6_SRC_MASK,
             MaskOf(*match.src_ip));
  }
  if (match.arp_target) {
    message.PutIp(TCA_FLOWER_KEY_ARP_TIP, match.arp_target->address())
        .Put(TCA_FLOWER_KEY_ARP_TIP_MASK, MaskOf(*match.arp_target));
  }
  if (match.enc_key_id) message.PutBe32(TCA_FLOWER_KEY_ENC_KEY_ID, *match.enc_key_id);
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
}

struct ActionWriter {
  Message& message;

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
  void operator()(const TcMirred& mirred) {
    tc_mirred parms{};
    parms.action = mirred.redirect ? TC_ACT_STOLEN : TC_ACT_PIPE;
    parms.eaction = mirred.redirect ? TCA_EGRESS_REDIR : TCA_EGRESS_MIRROR;
    parms.ifindex = mirred.ifindex;
    message.PutString(TCA_ACT_KIND, "mirred")
        .Begin(TCA_ACT_OPTIONS)
        .PutStruct(TCA_MIRRED_PARMS, parms)
        .End();
  }
  void operator()(const TcGact& gact) {
    tc_gact parms{};
    switch (gact.verdict) {
      case TcGact::Verdict::kDrop:
        parms.action = TC_ACT_SHOT;
        break;
      case TcGact::Verdict::kContinue:
        parms.action = TC_ACT_UNSPEC;
        break;
      case TcGact::Verdict::kGotoChain:
        parms.action = static_cast<int>(TC_ACT_GOTO_CHAIN | gact.chain);
        break;
    }
    message.PutString(TCA_ACT_KIND, "gact")
        .Begin(TCA_ACT_OPTIONS)
        .PutStruct(TCA_GACT_PARMS, parms)
        .End();
  }
};

bool IsVerdict(const TcAction& action) {
  if (const auto* mirred = std::get_if<TcMirred>(&action)) return mirred->redirect;
  return std::holds_alternative<TcGact>(action);
}

absl::Status Refuse(std::string_view why) {
  return absl::InvalidArgumentError(StrCat("TC cannot hold this filter: ", why));
}

absl::Status CheckActions(const std::vector<TcAction>& actions) {
  if (actions.empty() || actions.size() > TCA_ACT_MAX_PRIO) {
    return Refuse(StrCat("it has ", actions.size(), " actions, and 1 to ", TCA_ACT_MAX_PRIO,
                         " are possible"));
  }
  for (size_t i = 0; i < actions.size(); ++i) {
    if (IsVerdict(actions[i]) != (i + 1 == actions.size())) {
      return Refuse(
          "its last action, and only that, must redirect, drop, continue or go to a chain");
    }
    if (const auto* mirred = std::get_if<TcMirred>(&actions[i]);
        mirred != nullptr && (mirred->ifindex == 0 || mirred->ifindex > INT32_MAX)) {
      return Refuse("an action sends to no device");
    }
    if (const auto* set = std::get_if<TcTunnelSet>(&actions[i])) {
      if (set->src.is_v4() != set->dst.is_v4()) return Refuse("its tunnel mixes IPv4 and IPv6");
      if (set->key_id > Vni::kMax) return Refuse("its tunnel key has more than 24 bits");
    }
    if (const auto* gact = std::get_if<TcGact>(&actions[i]);
        gact != nullptr && gact->chain > TC_ACT_EXT_VAL_MASK) {
      return Refuse("it goes to a chain above 268435455");
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string Describe(const TcAttachPoint& at) {
  return at.block != 0 ? StrCat("TC block ", at.block)
                       : StrCat("the ingress of the device with ifindex ", at.ifindex);
}

std::string Describe(const TcAttachPoint& at, const TcFilterId& id) {
  return StrCat("filter chain ", id.chain, " prio ", id.priority, " handle ", id.handle, " on ",
                Describe(at));
}

absl::Status CheckAttachPoint(const TcAttachPoint& at) {
  // TCM_IFINDEX_MAGIC_BLOCK is a negative int, so no device has it.
  if ((at.block != 0) != (at.ifindex != 0) && at.ifindex <= INT32_MAX) return absl::OkStatus();
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
  if (match.src_ip &&
      match.ethertype != (match.src_ip->address().is_v4() ? ETH_P_IP : ETH_P_IPV6)) {
    return Refuse("its source address is not of its EtherType");
  }
  if (match.arp_target && (match.ethertype != ETH_P_ARP || match.arp_target->address().is_v6())) {
    return Refuse("an ARP target needs EtherType ARP and an IPv4 address");
  }
  if (match.icmpv6_type && match.ethertype != ETH_P_IPV6) {
    return Refuse("an ICMPv6 type needs EtherType IPv6");
  }
  if (match.enc_key_id && *match.enc_key_id > Vni::kMax) {
    return Refuse("the tunnel key that it matches has more than 24 bits");
  }
  return CheckActions(filter.actions);
}

absl::StatusOr<Message> PutFilterRequest(const TcAttachPoint& at, const TcFilter& filter,
                                         bool exclusive) {
  FAIRLEAD_RETURN_IF_ERROR(CheckAttachPoint(at));
  FAIRLEAD_RETURN_IF_ERROR(CheckFilter(filter));
  // Without NLM_F_EXCL a filter with this handle is replaced.
  Message message(RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | (exclusive ? NLM_F_EXCL : 0));
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
    std::visit(ActionWriter{message}, action);
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

Message DumpFiltersRequest(const TcAttachPoint& at) {
  // A full dump: a terse one has no in_hw_count, and fails on foreign kinds.
  Message message(RTM_GETTFILTER, NLM_F_DUMP);
  message.Header(FilterHeader(at));
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
