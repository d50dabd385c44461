// SPDX-License-Identifier: Apache-2.0
//
// Messages as the kernel has them, made byte by byte.
#include <gtest/gtest.h>
#include <linux/gen_stats.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "agent/ports/tc/tc_codec.h"

namespace fairlead::netlink {
namespace {

Bytes Payload(const Message& message) { return message.bytes().subspan(sizeof(nlmsghdr)); }

TEST(DecodeFilter, ReadsWhatHardwareTook) {
  Message message(RTM_NEWTFILTER, 0);
  tcmsg header{};
  header.tcm_ifindex = 5;
  message.Header(header)
      .PutString(TCA_KIND, "flower")
      .Begin(TCA_OPTIONS)
      .PutU32(TCA_FLOWER_FLAGS, TCA_CLS_FLAGS_IN_HW)
      .PutU32(TCA_FLOWER_IN_HW_COUNT, 3)
      .End();
  auto filter = DecodeFilter(Payload(message));
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_TRUE(filter->info.in_hw);
  EXPECT_EQ(filter->info.in_hw_count, 3u);
}

// A flower filter, its actions' TCA_ACT_STATS as `put` makes them.
absl::StatusOr<DecodedFilter> WithStats(const std::vector<std::function<void(Message&)>>& put) {
  Message message(RTM_NEWTFILTER, 0);
  message.Header(tcmsg{}).PutString(TCA_KIND, "flower").Begin(TCA_OPTIONS).Begin(TCA_FLOWER_ACT);
  uint16_t action = 0;
  for (const auto& stats : put) {
    message.Begin(++action).Begin(TCA_ACT_STATS);
    stats(message);
    message.End().End();
  }
  message.End().End();
  return DecodeFilter(Payload(message));
}

void PutBasic(Message& message, uint16_t type, uint32_t packets, uint64_t bytes) {
  gnet_stats_basic basic{};
  basic.packets = packets;
  basic.bytes = bytes;
  message.PutStruct(type, basic);
}

TEST(DecodeFilter, CountersAreThoseOfItsFirstAction) {
  const auto filter = WithStats({[](Message& m) {
                                   PutBasic(m, TCA_STATS_BASIC, 7, 588);
                                   PutBasic(m, TCA_STATS_BASIC_HW, 3, 252);
                                 },
                                 [](Message& m) { PutBasic(m, TCA_STATS_BASIC, 14, 1000); }});
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->info.counters, (RuleCounters{{7, 588}, {3, 252}}));
}

// ___gnet_stats_copy_basic, net/core/gen_stats.c: where 32 bits of packets do not suffice, the
// whole number comes right behind what it is of, twice under the same name.
TEST(DecodeFilter, WholeNumbersOfPacketsAreOfWhatTheyFollow) {
  constexpr uint64_t kAll = (uint64_t{5} << 32) + 7, kHardware = (uint64_t{2} << 32) + 3;
  const auto whole = [](Message& m, uint64_t packets) { m.PutStruct(TCA_STATS_PKT64, packets); };
  const auto both = WithStats({[&](Message& m) {
    PutBasic(m, TCA_STATS_BASIC, 7, 588);
    whole(m, kAll);
    PutBasic(m, TCA_STATS_BASIC_HW, 3, 252);
    whole(m, kHardware);
  }});
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_EQ(both->info.counters, (RuleCounters{{kAll, 588}, {kHardware, 252}}));
  const auto one = WithStats({[&](Message& m) {
    PutBasic(m, TCA_STATS_BASIC, 7, 588);
    whole(m, kAll);
    PutBasic(m, TCA_STATS_BASIC_HW, 3, 252);
  }});
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(one->info.counters, (RuleCounters{{kAll, 588}, {3, 252}}));
}

TEST(DecodeFilter, CountersThatAreCutShortOrOfNothingCountNothing) {
  const auto alone = WithStats({[](Message& m) { m.PutStruct(TCA_STATS_PKT64, uint64_t{9}); }});
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_EQ(alone->info.counters, RuleCounters());
  const auto cut = WithStats({[](Message& m) { m.PutU32(TCA_STATS_BASIC, 9); }});
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_EQ(cut->info.counters, RuleCounters());
  const auto narrow = WithStats({[](Message& m) { m.PutU32(TCA_STATS_PKT64, 9); }});
  EXPECT_EQ(narrow.status().code(), absl::StatusCode::kDataLoss);
}

TEST(DecodeFilter, ACookieOfAnotherLengthIsForeign) {
  Message message(RTM_NEWTFILTER, 0);
  message.Header(tcmsg{})
      .PutString(TCA_KIND, "flower")
      .Begin(TCA_OPTIONS)
      .Begin(TCA_FLOWER_ACT)
      .Begin(1)
      .PutU32(TCA_ACT_COOKIE, 1)
      .End()
      .End()
      .End();
  auto filter = DecodeFilter(Payload(message));
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_FALSE(filter->info.cookie.has_value());
}

TEST(DumpFiltersRequest, ATerseOneSaysSo) {
  const TcAttachPoint at{.block = 77, .ifindex = 0};
  for (const TcDumpDetail detail : {TcDumpDetail::kTerse, TcDumpDetail::kWithHardwareCount}) {
    Message message = DumpFiltersRequest(at, detail);
    EXPECT_TRUE(message.is_dump());
    DecodeError error;
    AttributeSet set(AfterHeader(Payload(message), sizeof(tcmsg)), &error);
    const auto flags = set.Struct<nla_bitfield32>(TCA_DUMP_FLAGS);
    ASSERT_EQ(flags.has_value(), detail == TcDumpDetail::kTerse);
    if (!flags) continue;
    EXPECT_EQ(flags->value, uint32_t{TCA_DUMP_FLAGS_TERSE});
    EXPECT_EQ(flags->selector, uint32_t{TCA_DUMP_FLAGS_TERSE});
  }
}

Message DumpedFilter(const char* kind, uint32_t handle) {
  Message message(RTM_NEWTFILTER, NLM_F_MULTI);
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(TCM_IFINDEX_MAGIC_BLOCK);
  header.tcm_handle = handle;
  message.Header(header).PutString(TCA_KIND, kind).PutU32(TCA_CHAIN, 9);
  return message;
}

TEST(FilterDump, TakesFiltersAndNoticesOtherKinds) {
  FilterDump dump;
  const auto take = [&](const Message& message) {
    dump.Take(SplitDatagram(message.bytes())->front());
  };
  take(DumpedFilter("flower", 0));  // a priority
  EXPECT_TRUE(dump.filters.empty());
  take(DumpedFilter("flower", 7));
  take(Message(RTM_NEWQDISC, 0));  // of no interest
  ASSERT_EQ(dump.filters.size(), 1u);
  EXPECT_EQ(dump.filters[0].id, (TcFilterId{.chain = 9, .priority = 0, .handle = 7}));
  EXPECT_FALSE(dump.others);
  take(DumpedFilter("u32", 0));
  EXPECT_TRUE(dump.others) << "its priority is all that a terse dump has of it";
  EXPECT_EQ(dump.filters.size(), 1u);
  EXPECT_TRUE(dump.status.ok());
  Message broken = DumpedFilter("flower", 8);
  broken.PutU8(TCA_CHAIN, 1);
  take(broken);
  EXPECT_EQ(dump.status.code(), absl::StatusCode::kDataLoss);
  take(DumpedFilter("flower", 9));
  EXPECT_EQ(dump.filters.size(), 1u) << "after what is malformed nothing is taken";
}

TEST(DecodeFilter, OfWhatIsThereTwiceTheLastCounts) {
  Message message(RTM_NEWTFILTER, 0);
  message.Header(tcmsg{}).PutString(TCA_KIND, "bpf").PutU32(TCA_CHAIN, 1);
  message.PutString(TCA_KIND, "flower").PutU32(TCA_CHAIN, 2).Begin(TCA_OPTIONS);
  message.PutU32(TCA_FLOWER_FLAGS, TCA_CLS_FLAGS_IN_HW).PutU32(TCA_FLOWER_FLAGS, 0);
  message.PutU32(TCA_FLOWER_IN_HW_COUNT, 1).PutU32(TCA_FLOWER_IN_HW_COUNT, 2).End();
  const auto filter = DecodeFilter(Payload(message));
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->info.kind, "flower");
  EXPECT_EQ(filter->info.id.chain, 2u);
  EXPECT_FALSE(filter->info.in_hw);
  EXPECT_EQ(filter->info.in_hw_count, 2u);
}

TEST(DecodeFilter, OptionsOfAForeignKindAreNotRead) {
  Message message(RTM_NEWTFILTER, 0);
  // What would be a broken flower filter.
  message.Header(tcmsg{}).PutString(TCA_KIND, "bpf").PutU8(TCA_OPTIONS, 1);
  auto filter = DecodeFilter(Payload(message));
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->info.kind, "bpf");
}

TEST(DecodeTcEvent, AFilterAtEgressIsNoneOfOurs) {
  Message message(RTM_NEWTFILTER, 0);
  tcmsg header{};
  header.tcm_ifindex = 5;
  header.tcm_parent = 0x00010000;  // a classful qdisc 1:
  message.Header(header).PutString(TCA_KIND, "flower");
  auto event = DecodeTcEvent(SplitDatagram(message.bytes())->front());
  ASSERT_TRUE(event.ok());
  EXPECT_FALSE(event->has_value());
}

}  // namespace
}  // namespace fairlead::netlink
