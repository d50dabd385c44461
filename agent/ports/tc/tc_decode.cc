// SPDX-License-Identifier: Apache-2.0
#include <linux/gen_stats.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "agent/ports/tc/tc_codec.h"

namespace fairlead::netlink {
namespace {

constexpr size_t kMaxKind = 64;
constexpr std::string_view kFlower = "flower";

bool IsIngress(uint32_t parent) { return TC_H_MAJ(parent) == TC_H_MAJ(TC_H_CLSACT); }

// Of TCA_ACT_STATS: TCA_STATS_BASIC counts all, TCA_STATS_BASIC_HW what of it hardware handled.
// Each has 32 bits of the packets; where those do not suffice, TCA_STATS_PKT64 with all of them
// follows right behind (___gnet_stats_copy_basic, net/core/gen_stats.c).
RuleCounters DecodeCounters(Bytes stats, DecodeError* error) {
  RuleCounters counters;
  PacketCount* last = nullptr;
  ForEachAttribute(stats, error, [&](uint16_t type, Bytes payload) {
    if (type == TCA_STATS_PKT64) {
      const uint64_t packets = ReadNumber<uint64_t>(type, payload, error).value_or(0);
      if (last != nullptr) last->packets = packets;
    } else if (type == TCA_STATS_BASIC || type == TCA_STATS_BASIC_HW) {
      last = type == TCA_STATS_BASIC ? &counters.all : &counters.hardware;
      const auto basic = ReadStruct<gnet_stats_basic>(payload);
      if (basic) *last = {basic->packets, basic->bytes};
    }
  });
  return counters;
}

// Of action 1. A cookie of another length is somebody else's.
void DecodeFirstAction(Bytes actions, DecodeError* error, TcFilterInfo* info) {
  Bytes first;
  ForEachAttribute(actions, error, [&](uint16_t type, Bytes payload) {
    if (type == 1) first = payload;
  });
  ForEachAttribute(first, error, [&](uint16_t type, Bytes payload) {
    if (type == TCA_ACT_COOKIE) {
      info->cookie = ReadStruct<TcCookie>(payload);
      if (payload.size() != sizeof(TcCookie)) info->cookie.reset();
    } else if (type == TCA_ACT_STATS) {
      info->counters = DecodeCounters(payload, error);
    }
  });
}

void DecodeFlower(Bytes options, DecodeError* error, TcFilterInfo* info) {
  ForEachAttribute(options, error, [&](uint16_t type, Bytes payload) {
    if (type == TCA_FLOWER_FLAGS) {
      const uint32_t flags = ReadNumber<uint32_t>(type, payload, error).value_or(0);
      info->in_hw = (flags & TCA_CLS_FLAGS_IN_HW) != 0;
    } else if (type == TCA_FLOWER_IN_HW_COUNT) {
      info->in_hw_count = ReadNumber<uint32_t>(type, payload, error).value_or(0);
    } else if (type == TCA_FLOWER_ACT) {
      DecodeFirstAction(payload, error, info);
    }
  });
}

// There may be hundreds of thousands of filters: each attribute is looked at once.
void DecodeInfo(const tcmsg& header, Bytes attributes, DecodeError* error, TcFilterInfo* info) {
  info->id.handle = header.tcm_handle;
  info->id.priority = static_cast<uint16_t>(header.tcm_info >> 16);
  info->ethertype = __builtin_bswap16(static_cast<uint16_t>(TC_H_MIN(header.tcm_info)));
  Bytes options;
  ForEachAttribute(attributes, error, [&](uint16_t type, Bytes payload) {
    if (type == TCA_CHAIN) {
      info->id.chain = ReadNumber<uint32_t>(type, payload, error).value_or(0);
    } else if (type == TCA_KIND) {
      info->kind = ReadString(type, payload, kMaxKind, error).value_or("");
    } else if (type == TCA_OPTIONS) {
      options = payload;
    }
  });
  if (info->kind == kFlower) DecodeFlower(options, error, info);
}

}  // namespace

absl::StatusOr<DecodedFilter> DecodeFilter(Bytes payload) {
  DecodeError error;
  const auto header = ReadStruct<tcmsg>(payload);
  if (!header) {
    error.Set("it is cut short");
    return error.ToStatus("a filter");
  }
  DecodedFilter result;
  if (static_cast<uint32_t>(header->tcm_ifindex) == TCM_IFINDEX_MAGIC_BLOCK) {
    result.at.block = header->tcm_block_index;
  } else {
    result.at.ifindex = static_cast<uint32_t>(header->tcm_ifindex);
  }
  DecodeInfo(*header, AfterHeader(payload, sizeof(tcmsg)), &error, &result.info);
  if (!error.ok()) return error.ToStatus("a filter");
  return result;
}

void FilterDump::Take(const MessageView& message) {
  if (message.type != RTM_NEWTFILTER || !status.ok()) return;
  auto filter = DecodeFilter(message.payload);
  if (!filter.ok()) {
    status = filter.status();
    return;
  }
  others |= filter->info.kind != kFlower;
  // The kernel first tells each priority by itself.
  if (filter->info.id.handle != 0) filters.push_back(std::move(filter->info));
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
