// SPDX-License-Identifier: Apache-2.0
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "agent/ports/tc/tc_codec.h"

namespace fairlead::netlink {
namespace {

constexpr size_t kMaxKind = 64;

// The cookie of action 1; one of another length is somebody else's.
std::optional<TcCookie> DecodeCookie(const AttributeSet& actions) {
  const auto cookie = actions.Nested(1).Raw(TCA_ACT_COOKIE);
  TcCookie result;
  if (!cookie || cookie->size() != result.size()) return std::nullopt;
  std::copy(cookie->begin(), cookie->end(), result.begin());
  return result;
}

bool IsIngress(uint32_t parent) { return TC_H_MAJ(parent) == TC_H_MAJ(TC_H_CLSACT); }

}  // namespace

absl::StatusOr<DecodedFilter> DecodeFilter(Bytes payload) {
  DecodeError error;
  const auto header = ReadStruct<tcmsg>(payload);
  if (!header) {
    error.Set("it is cut short");
    return error.ToStatus("a filter");
  }
  const AttributeSet filter(AfterHeader(payload, sizeof(tcmsg)), &error);
  DecodedFilter result;
  if (static_cast<uint32_t>(header->tcm_ifindex) == TCM_IFINDEX_MAGIC_BLOCK) {
    result.at.block = header->tcm_block_index;
  } else {
    result.at.ifindex = static_cast<uint32_t>(header->tcm_ifindex);
  }
  TcFilterInfo& info = result.info;
  info.id.handle = header->tcm_handle;
  info.id.priority = static_cast<uint16_t>(header->tcm_info >> 16);
  info.ethertype = __builtin_bswap16(static_cast<uint16_t>(TC_H_MIN(header->tcm_info)));
  info.id.chain = filter.U32(TCA_CHAIN).value_or(0);
  info.kind = filter.String(TCA_KIND, kMaxKind).value_or("");
  if (info.kind == "flower") {
    const AttributeSet flower = filter.Nested(TCA_OPTIONS);
    info.in_hw = (flower.U32(TCA_FLOWER_FLAGS).value_or(0) & TCA_CLS_FLAGS_IN_HW) != 0;
    info.in_hw_count = flower.U32(TCA_FLOWER_IN_HW_COUNT).value_or(0);
    info.cookie = DecodeCookie(flower.Nested(TCA_FLOWER_ACT));
  }
  if (!error.ok()) return error.ToStatus("a filter");
  return result;
}

absl::StatusOr<std::optional<TcQdiscInfo>> DecodeQdisc(Bytes payload) {
  DecodeError error;
  const auto header = ReadStruct<tcmsg>(payload);
  if (!header) {
    error.Set("it is cut short");
    return error.ToStatus("a qdisc");
  }
  if (header->tcm_parent != TC_H_CLSACT) return std::nullopt;
  const AttributeSet qdisc(AfterHeader(payload, sizeof(tcmsg)), &error);
  TcQdiscInfo info;
  info.kind = qdisc.String(TCA_KIND, kMaxKind).value_or("");
  info.clsact = info.kind == "clsact";
  info.ingress_block = qdisc.U32(TCA_INGRESS_BLOCK).value_or(0);
  if (!error.ok()) return error.ToStatus("a qdisc");
  return info;
}

absl::StatusOr<std::optional<TcPort::Event>> DecodeTcEvent(const MessageView& message) {
  TcPort::Event event;
  if (message.type == RTM_NEWTFILTER || message.type == RTM_DELTFILTER) {
    const auto header = ReadStruct<tcmsg>(message.payload);
    // Filters of egress or of a classful qdisc are none of ours.
    if (header && static_cast<uint32_t>(header->tcm_ifindex) != TCM_IFINDEX_MAGIC_BLOCK &&
        !IsIngress(header->tcm_parent)) {
      return std::nullopt;
    }
    auto filter = DecodeFilter(message.payload);
    if (!filter.ok()) return filter.status();
    event.deleted = message.type == RTM_DELTFILTER;
    event.at = filter->at;
    event.id = filter->info.id;
    if (!event.deleted) event.cookie = filter->info.cookie;
    return event;
  }
  if (message.type == RTM_DELQDISC) {
    auto qdisc = DecodeQdisc(message.payload);
    if (!qdisc.ok()) return qdisc.status();
    if (!*qdisc) return std::nullopt;
    event.deleted = true;
    event.at.ifindex = static_cast<uint32_t>(ReadStruct<tcmsg>(message.payload)->tcm_ifindex);
    return event;
  }
  return std::nullopt;
}

}  // namespace fairlead::netlink
