// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/tc/tc_contract.h"

#include <errno.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

constexpr uint32_t kNoSuchDevice = 0x7ffffff0;
constexpr uint32_t kNoSuchBlock = 0x46fffff0;

TcMirred Redirect(uint32_t ifindex) { return {.ifindex = ifindex}; }

TEST_P(TcContract, AQdiscIsAddedOnceAndDeletedAsOftenAsOneLikes) {
  EXPECT_FALSE(port().GetQdisc(a_)->clsact);
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  auto qdisc = port().GetQdisc(a_);
  ASSERT_TRUE(qdisc.ok()) << qdisc.status();
  EXPECT_TRUE(qdisc->clsact);
  EXPECT_EQ(qdisc->ingress_block, kBlock);
  EXPECT_EQ(port().AddClsact(a_, kBlock + 1).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(port().GetQdisc(a_)->ingress_block, kBlock);
  for (int i = 0; i < 2; ++i) {
    const absl::Status deleted = port().DeleteClsact(a_);
    EXPECT_TRUE(deleted.ok()) << deleted;
    auto after = port().GetQdisc(a_);
    ASSERT_TRUE(after.ok()) << after.status();
    EXPECT_FALSE(after->clsact);
    EXPECT_EQ(after->ingress_block, 0u);
  }
}

TEST_P(TcContract, AnIngressQdiscOfSomebodyElseIsSeenAndLeftAlone) {
  EXPECT_EQ(port().GetQdisc(a_)->kind, "");
  env_->AddIngressQdisc(a_);
  auto qdisc = port().GetQdisc(a_);
  ASSERT_TRUE(qdisc.ok()) << qdisc.status();
  EXPECT_EQ(qdisc->kind, "ingress");
  EXPECT_FALSE(qdisc->clsact);
  EXPECT_EQ(port().AddClsact(a_, kBlock).code(), absl::StatusCode::kAlreadyExists);
  const absl::Status deleted = port().DeleteClsact(a_);
  EXPECT_TRUE(deleted.ok()) << deleted;
  EXPECT_EQ(port().GetQdisc(a_)->kind, "ingress");
  ASSERT_TRUE(port().AddClsact(b_, 0).ok());
  EXPECT_EQ(port().GetQdisc(b_)->kind, "clsact");
}

TEST_P(TcContract, ADeviceThatIsGoneHasNoQdisc) {
  EXPECT_EQ(ErrnoOf(port().GetQdisc(kNoSuchDevice).status()), ENODEV);
  EXPECT_EQ(ErrnoOf(port().AddClsact(kNoSuchDevice, 0)), ENODEV);
  EXPECT_TRUE(port().DeleteClsact(kNoSuchDevice).ok());
}

TEST_P(TcContract, AQdiscOfItsOwnSharesNoBlock) {
  ASSERT_TRUE(port().AddClsact(a_, 0).ok());
  EXPECT_TRUE(port().GetQdisc(a_)->clsact);
  EXPECT_EQ(port().GetQdisc(a_)->ingress_block, 0u);
}

TEST_P(TcContract, AQdiscComesWithItsMarkOrNotAtAll) {
  TcFilter mark = Drop(7);
  mark.id.chain = 12;
  ASSERT_TRUE(port().AddMarkedClsact(a_, mark).ok());
  EXPECT_TRUE(port().GetQdisc(a_)->clsact);
  auto dump = port().Dump({.ifindex = a_});
  ASSERT_TRUE(dump.ok()) << dump.status();
  ASSERT_EQ(dump->size(), 1u);
  EXPECT_EQ(dump->front().id, mark.id);
  EXPECT_EQ(dump->front().cookie, mark.cookie);

  // Where one is, it stays as it is.
  ASSERT_TRUE(port().AddClsact(b_, 0).ok());
  EXPECT_EQ(port().AddMarkedClsact(b_, mark).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(port().GetQdisc(b_)->clsact);
  EXPECT_EQ(port().Dump({.ifindex = b_})->size(), 0u);

  ASSERT_TRUE(port().DeleteClsact(b_).ok());
  TcFilter refused = mark;
  refused.actions = {TcMirred{kNoSuchDevice}};
  EXPECT_FALSE(port().AddMarkedClsact(b_, refused).ok());
  EXPECT_FALSE(port().GetQdisc(b_)->clsact);
}

TEST_P(TcContract, AFilterIsFoundWithItsCookie) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  TcFilter filter = Drop(7);
  filter.id.chain = 12;
  filter.match.ethertype = 0x86dd;
  const absl::Status put = Put(Block(), filter);
  ASSERT_TRUE(put.ok()) << put;
  auto dump = port().Dump(Block());
  ASSERT_TRUE(dump.ok()) << dump.status();
  ASSERT_EQ(dump->size(), 1u);
  EXPECT_EQ(dump->front().id, filter.id);
  EXPECT_EQ(dump->front().ethertype, 0x86dd);
  EXPECT_EQ(dump->front().kind, "flower");
  EXPECT_EQ(dump->front().cookie, filter.cookie);
  EXPECT_FALSE(dump->front().in_hw);
  EXPECT_EQ(dump->front().in_hw_count, 0u);
}

TEST_P(TcContract, FiltersAreReadBackOneByOne) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  ASSERT_TRUE(Put(Block(), Drop(7)).ok());
  const TcFilter there = Drop(7), absent = Drop(8);
  const TcFilterRef refs[] = {{Block(), there.id, there.match.ethertype},
                              {Block(), absent.id, absent.match.ethertype},
                              {{kBlock + 1, 0}, there.id, there.match.ethertype}};
  const auto seen = port().Get(refs);
  ASSERT_EQ(seen.size(), 3u);
  ASSERT_TRUE(seen[0].ok()) << seen[0].status();
  EXPECT_EQ(seen[0]->id, there.id);
  EXPECT_EQ(seen[0]->cookie, there.cookie);
  EXPECT_TRUE(absl::IsNotFound(seen[1].status())) << seen[1].status();
  EXPECT_TRUE(absl::IsNotFound(seen[2].status())) << seen[2].status();
}

std::string Shown(const TcFilterInfo& info) {
  return StrCat(info.id.chain, "/", info.id.priority, "/", info.id.handle, " ", info.ethertype, " ",
                info.kind, " ", info.in_hw ? "hw" : "sw", " cookie ",
                info.cookie ? static_cast<int>(info.cookie->back()) : -1);
}

// The full dump, which a terse one must be like in all but the count.
std::vector<std::string> ShownByBoth(TcPort& port, const TcAttachPoint& at) {
  const auto full = port.Dump(at, TcDumpDetail::kWithHardwareCount);
  const auto terse = port.Dump(at, TcDumpDetail::kTerse);
  EXPECT_TRUE(full.ok()) << full.status();
  EXPECT_TRUE(terse.ok()) << terse.status();
  if (!full.ok() || !terse.ok()) return {};
  std::vector<std::string> shown, tersely;
  for (const TcFilterInfo& info : *full) shown.push_back(Shown(info));
  for (const TcFilterInfo& info : *terse) {
    tersely.push_back(Shown(info));
    EXPECT_EQ(info.in_hw_count, 0u);
  }
  EXPECT_EQ(tersely, shown);
  return shown;
}

TEST_P(TcContract, ATerseDumpShowsWhatAFullOneDoes) {
  EXPECT_TRUE(ShownByBoth(port(), Block()).empty()) << "no such block";
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  EXPECT_TRUE(ShownByBoth(port(), Block()).empty());
  TcFilter other = Drop(7);
  other.id = {.chain = 5, .priority = 9, .handle = 0x01000007};
  other.match.ethertype = 0x0806;
  other.actions = {TcTunnelSet{.key_id = 5,
                               .src = *IpAddress::Parse("192.0.2.1"),
                               .dst = *IpAddress::Parse("192.0.2.2")},
                   Redirect(b_)};
  ASSERT_TRUE(Put(Block(), Drop(1)).ok());
  ASSERT_TRUE(Put(Block(), Drop(2)).ok());
  ASSERT_TRUE(Put(Block(), other).ok());
  EXPECT_THAT(ShownByBoth(port(), Block()),
              ::testing::UnorderedElementsAre("0/2000/1 3 flower sw cookie 1",
                                              "0/2000/2 3 flower sw cookie 2",
                                              "5/9/16777223 2054 flower sw cookie 7"));
  EXPECT_EQ(ShownByBoth(port(), Ingress(a_)).size(), 3u);
}

// The kernel leaves them out of a terse dump, or breaks it off at one.
TEST_P(TcContract, ATerseDumpShowsFiltersOfOtherKindsToo) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  ASSERT_TRUE(Put(Block(), Drop(1)).ok());
  env_->AddMatchall(kBlock, 1000);
  env_->AddMatchall(kBlock, 3000);
  EXPECT_THAT(ShownByBoth(port(), Block()),
              ::testing::UnorderedElementsAre("0/1000/1 3 matchall sw cookie -1",
                                              "0/2000/1 3 flower sw cookie 1",
                                              "0/3000/1 3 matchall sw cookie -1"));
}

TEST_P(TcContract, ABlockIsSharedAndDiesWithItsLastUser) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  ASSERT_TRUE(port().AddClsact(b_, kBlock).ok());
  ASSERT_TRUE(Put(Block(), Drop(1)).ok());
  ASSERT_TRUE(port().DeleteClsact(a_).ok());
  EXPECT_EQ(port().Dump(Block())->size(), 1u);
  env_->DeleteEthernet("fltcb");
  auto gone = port().Dump(Block());
  ASSERT_TRUE(gone.ok()) << gone.status();
  EXPECT_TRUE(gone->empty());
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  EXPECT_TRUE(port().Dump(Block())->empty());
}

TEST_P(TcContract, APutReplacesInPlace) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  TcFilter filter = Drop(7);
  ASSERT_TRUE(Put(Block(), filter).ok());
  filter.actions = {Redirect(b_)};
  filter.cookie = Cookie(99);
  const absl::Status put = Put(Block(), filter);
  ASSERT_TRUE(put.ok()) << put;
  auto dump = port().Dump(Block());
  ASSERT_EQ(dump->size(), 1u);
  EXPECT_EQ(dump->front().cookie, Cookie(99));
}

TEST_P(TcContract, APutReplacesAFilterThatLooksAtOtherFields) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  TcFilter filter = Drop(7);
  ASSERT_TRUE(Put(Block(), filter).ok());
  filter.match.src_mac = *MacAddress::Parse("52:54:00:00:00:01");
  filter.cookie = Cookie(98);
  const absl::Status put = Put(Block(), filter);
  ASSERT_TRUE(put.ok()) << put;
  auto dump = port().Dump(Block());
  ASSERT_EQ(dump->size(), 1u);
  EXPECT_EQ(dump->front().cookie, Cookie(98));
}

TEST_P(TcContract, ASecondFilterWithTheSameKeyInOnePriorityIsRefused) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  const TcFilter first = Drop(7);
  ASSERT_TRUE(Put(Block(), first).ok());
  TcFilter second = first;
  second.id.handle = 8;
  second.cookie = Cookie(8);
  const absl::Status refused = Put(Block(), second);
  EXPECT_EQ(ErrnoOf(refused), EEXIST) << refused;
  EXPECT_EQ(refused.code(), absl::StatusCode::kAlreadyExists);
  auto dump = port().Dump(Block());
  ASSERT_TRUE(dump.ok()) << dump.status();
  ASSERT_EQ(dump->size(), 1u);
  EXPECT_EQ(dump->front().id, first.id);
  EXPECT_EQ(dump->front().cookie, first.cookie);

  // Its own place may be filled with the same key again, and the key is that of one
  // priority in one chain only.
  EXPECT_TRUE(Put(Block(), first).ok()) << Put(Block(), first);
  TcFilter other_chain = second;
  other_chain.id.chain = 5;
  TcFilter other_priority = second;
  other_priority.id.priority = 9;
  EXPECT_TRUE(Put(Block(), other_chain).ok()) << Put(Block(), other_chain);
  EXPECT_TRUE(Put(Block(), other_priority).ok()) << Put(Block(), other_priority);
  // When the first is gone there is room for the second.
  ASSERT_TRUE(Delete(Block(), first).ok());
  EXPECT_TRUE(Put(Block(), second).ok()) << Put(Block(), second);
}

TEST_P(TcContract, KeysAreTheSameWhenTheirMaskedBitsAre) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  uint32_t handle = 0;
  const auto put = [&](const std::function<void(TcMatch&)>& name) {
    TcFilter filter = Drop(++handle);
    filter.match = {};
    filter.match.ethertype = 0x0800;
    name(filter.match);
    return ErrnoOf(Put(Block(), filter));
  };
  const auto src = [](const char* prefix) {
    return [=](TcMatch& m) { m.src_ip = *IpPrefix::Parse(prefix); };
  };
  const auto dst = [](const char* prefix) {
    return [=](TcMatch& m) { m.dst_ip = *IpPrefix::Parse(prefix); };
  };
  EXPECT_EQ(put(src("10.0.0.0/8")), 0);
  EXPECT_EQ(put(src("10.0.0.0/8")), EEXIST);
  EXPECT_EQ(put(src("10.0.0.0/9")), 0);
  EXPECT_EQ(put(src("11.0.0.0/8")), 0);
  EXPECT_EQ(put(dst("10.0.0.0/8")), 0);
  // A prefix of everything is of both, and not the same as none.
  EXPECT_EQ(put([](TcMatch&) {}), 0);
  EXPECT_EQ(put(src("0.0.0.0/0")), 0);
  EXPECT_EQ(put(dst("0.0.0.0/0")), EEXIST);
  EXPECT_EQ(put([](TcMatch& m) { m.ttl_expiring = true; }), 0);
  EXPECT_EQ(put([](TcMatch& m) { m.ttl_expiring = true; }), EEXIST);
  const auto port = [](uint8_t protocol, uint16_t value, uint16_t mask = 0xffff) {
    return [=](TcMatch& m) {
      m.ip_proto = protocol;
      m.dst_port = TcPortMask{value, mask};
    };
  };
  EXPECT_EQ(put(port(17, 67)), 0);
  EXPECT_EQ(put(port(17, 68)), 0);
  EXPECT_EQ(put(port(17, 67)), EEXIST);
  EXPECT_EQ(put(port(6, 67)), 0);
  EXPECT_EQ(put(port(6, 64, 0xfff0)), 0);
  EXPECT_EQ(put(port(6, 64, 0xfff0)), EEXIST);
  EXPECT_EQ(put(port(6, 64, 0xffe0)), 0);
  const auto icmp = [](std::optional<uint8_t> type, std::optional<uint8_t> code) {
    return [=](TcMatch& m) {
      m.ip_proto = 1;
      m.icmp_type = type;
      m.icmp_code = code;
    };
  };
  EXPECT_EQ(put(icmp({}, {})), 0);
  EXPECT_EQ(put(icmp(0, {})), 0);
  EXPECT_EQ(put(icmp(0, 0)), 0);
  EXPECT_EQ(put(icmp({}, 0)), 0);
  EXPECT_EQ(put(icmp(3, 0)), 0);
  EXPECT_EQ(put(icmp(3, 1)), 0);
  EXPECT_EQ(put(icmp(3, 0)), EEXIST);
  const auto state = [](uint16_t value, uint16_t mask) {
    return [=](TcMatch& m) { m.ct_state = TcCtState{value, mask}; };
  };
  EXPECT_EQ(put(state(kCtTracked, kCtTracked)), 0);
  EXPECT_EQ(put(state(0, kCtTracked)), 0);
  EXPECT_EQ(put(state(kCtTracked, kCtTracked | kCtNew)), 0);
  EXPECT_EQ(put(state(kCtTracked, kCtTracked | kCtNew)), EEXIST);
  const auto mac = [](const char* text) {
    return [=](TcMatch& m) { m.src_mac = *MacAddress::Parse(text); };
  };
  EXPECT_EQ(put(mac("52:54:00:00:00:01")), 0);
  EXPECT_EQ(put(mac("52:54:00:00:00:02")), 0);
  EXPECT_EQ(put(mac("52:54:00:00:00:01")), EEXIST);
  EXPECT_EQ(put([](TcMatch& m) { m.dst_mac = *MacAddress::Parse("52:54:00:00:00:01"); }), 0);
}

TEST_P(TcContract, DeletingWhatIsGoneIsSuccess) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  ASSERT_TRUE(Put(Block(), Drop(7)).ok());
  TcFilter other_protocol = Drop(7);
  other_protocol.match.ethertype = 0x0806;
  TcFilter other_chain = Drop(7);
  other_chain.id.chain = 5;
  TcFilter other_priority = Drop(7);
  other_priority.id.priority = 9;
  EXPECT_TRUE(Delete(Block(), other_protocol).ok()) << Delete(Block(), other_protocol);
  EXPECT_TRUE(Delete(Block(), other_chain).ok()) << Delete(Block(), other_chain);
  EXPECT_TRUE(Delete(Block(), other_priority).ok()) << Delete(Block(), other_priority);
  EXPECT_TRUE(Delete(Block(), Drop(8)).ok()) << Delete(Block(), Drop(8));
  EXPECT_EQ(port().Dump(Block())->size(), 1u);
  EXPECT_TRUE(Delete(Block(), Drop(7)).ok());
  EXPECT_TRUE(port().Dump(Block())->empty());
  EXPECT_TRUE(Delete(Block(), Drop(7)).ok());
  const TcAttachPoint no_block{.block = kNoSuchBlock, .ifindex = 0};
  EXPECT_TRUE(Delete(no_block, Drop(7)).ok()) << Delete(no_block, Drop(7));
  EXPECT_TRUE(Delete(Ingress(b_), Drop(7)).ok()) << Delete(Ingress(b_), Drop(7));
  EXPECT_TRUE(Delete(Ingress(kNoSuchDevice), Drop(7)).ok());
}

TEST_P(TcContract, ADumpOfNothingIsEmpty) {
  EXPECT_TRUE(port().Dump({.block = kNoSuchBlock, .ifindex = 0})->empty());
  EXPECT_TRUE(port().Dump(Ingress(a_))->empty());
  EXPECT_TRUE(port().Dump(Ingress(kNoSuchDevice))->empty());
}

TEST_P(TcContract, APutWithoutATableSaysWhy) {
  const absl::Status refused = Put({.block = kNoSuchBlock, .ifindex = 0}, Drop(1));
  EXPECT_EQ(ErrnoOf(refused), EINVAL);
  EXPECT_EQ(PeerWords(refused), "Block of given index was not found");
  EXPECT_EQ(ErrnoOf(Put(Ingress(kNoSuchDevice), Drop(1))), ENODEV);
  EXPECT_EQ(ErrnoOf(Put(Ingress(a_), Drop(1))), EINVAL);
}

TEST_P(TcContract, AHandleOrPriorityOfZeroNeverReachesTheKernel) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  ASSERT_TRUE(Put(Block(), Drop(7)).ok());
  TcFilter no_handle = Drop(0);
  TcFilter no_priority = Drop(7);
  no_priority.id.priority = 0;
  EXPECT_EQ(Delete(Block(), no_handle).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Delete(Block(), no_priority).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(port().Dump(Block())->size(), 1u);
}

TEST_P(TcContract, ManyChangesAreAnsweredEachForItself) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  std::vector<TcChange> changes;
  for (uint32_t i = 1; i <= 1000; ++i) {
    changes.push_back({.verb = TcChange::Verb::kPut, .at = Block(), .filter = Drop(i)});
  }
  changes[500].filter.actions = {Redirect(kNoSuchDevice)};
  changes[600].filter.actions.clear();
  const auto results = port().Apply(changes);
  ASSERT_EQ(results.size(), changes.size());
  for (size_t i = 0; i < results.size(); ++i) {
    if (i == 500) {
      EXPECT_EQ(ErrnoOf(results[i]), ENODEV) << results[i];
    } else if (i == 600) {
      EXPECT_EQ(results[i].code(), absl::StatusCode::kInvalidArgument);
    } else {
      ASSERT_TRUE(results[i].ok()) << i << ": " << results[i];
    }
  }
  EXPECT_EQ(port().Dump(Block())->size(), 998u);
  for (TcChange& change : changes) change.verb = TcChange::Verb::kDelete;
  for (const absl::Status& status : port().Apply(changes)) EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(port().Dump(Block())->empty());
}

TEST_P(TcContract, ChangesOfOneSpanAreMadeInOrder) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  TcFilter second = Drop(1);
  second.cookie = Cookie(50);
  const std::vector<TcChange> changes = {
      {.verb = TcChange::Verb::kPut, .at = Block(), .filter = Drop(1)},
      {.verb = TcChange::Verb::kDelete, .at = Block(), .filter = Drop(1)},
      {.verb = TcChange::Verb::kPut, .at = Block(), .filter = second}};
  for (const absl::Status& status : port().Apply(changes)) EXPECT_TRUE(status.ok()) << status;
  auto dump = port().Dump(Block());
  ASSERT_EQ(dump->size(), 1u);
  EXPECT_EQ(dump->front().cookie, Cookie(50));
}

TEST_P(TcContract, AnExclusivePutLeavesWhatHasItsPlace) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  TcChange first{.verb = TcChange::Verb::kPut, .at = Block(), .filter = Drop(7), .exclusive = true};
  ASSERT_TRUE(port().Apply({&first, 1}).front().ok());
  TcChange second = first;
  second.filter.cookie = Cookie(50);
  EXPECT_EQ(ErrnoOf(port().Apply({&second, 1}).front()), EEXIST);
  auto dump = port().Dump(Block());
  ASSERT_EQ(dump->size(), 1u);
  EXPECT_EQ(dump->front().cookie, first.filter.cookie);
}

TEST_P(TcContract, OneProtocolPerPriority) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  ASSERT_TRUE(Put(Block(), Drop(7)).ok());
  TcFilter arp = Drop(8);
  arp.match.ethertype = 0x0806;
  EXPECT_EQ(ErrnoOf(Put(Block(), arp)), EINVAL);
}

TEST_P(TcContract, SkipSwIsRefusedWithoutOffload) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  TcFilter filter = Drop(7);
  filter.flags = TcFilter::Flags::kSkipSw;
  EXPECT_EQ(ErrnoOf(Put(Block(), filter)), EOPNOTSUPP);
  EXPECT_TRUE(port().Dump(Block())->empty());
  filter.flags = TcFilter::Flags::kSkipHw;
  EXPECT_TRUE(Put(Block(), filter).ok());
}

TEST_P(TcContract, ASharedBlockIsShownButNotChangedThroughItsDevice) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  ASSERT_TRUE(Put(Block(), Drop(7)).ok());
  EXPECT_EQ(port().Dump(Ingress(a_))->size(), 1u);
  EXPECT_EQ(ErrnoOf(Put(Ingress(a_), Drop(8))), EOPNOTSUPP);
  EXPECT_EQ(ErrnoOf(Delete(Ingress(a_), Drop(7))), EOPNOTSUPP);
}

TEST_P(TcContract, EveryKeyAndActionIsTaken) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  ASSERT_TRUE(port().AddClsact(b_, 0).ok());
  const TcGact drop{.verdict = TcGact::Verdict::kDrop, .chain = 0};
  const TcTunnelSet v4{.key_id = 1000,
                       .src = *IpAddress::Parse("192.0.2.1"),
                       .dst = *IpAddress::Parse("192.0.2.2"),
                       .dst_port = 4789,
                       .ttl = 64,
                       .no_csum = true};
  TcTunnelSet v6 = v4;
  v6.src = *IpAddress::Parse("2001:db8::1");
  v6.dst = *IpAddress::Parse("2001:db8::2");
  auto put = [&](const TcAttachPoint& at, uint16_t priority, const TcMatch& match,
                 std::vector<TcAction> actions) {
    TcFilter filter;
    filter.id = {.chain = 0, .priority = priority, .handle = 1};
    filter.match = match;
    filter.actions = std::move(actions);
    filter.cookie = Cookie(static_cast<uint8_t>(priority));
    const absl::Status status = Put(at, filter);
    EXPECT_TRUE(status.ok()) << "priority " << priority << ": " << status;
  };
  const TcGact trap{.verdict = TcGact::Verdict::kTrap, .chain = 0};
  TcPedit route{.eth_src = *MacAddress::Parse("02:00:00:00:00:01"),
                .eth_dst = *MacAddress::Parse("52:54:00:00:01:0a"),
                .v6 = false};
  TcPedit route6 = route;
  route6.v6 = true;
  TcMatch match;
  put(Block(), 1, match, {drop});
  put(Block(), 2, match, {trap});
  put(Block(), 3, match, {TcGact{.verdict = TcGact::Verdict::kGotoChain, .chain = 0x00ffffff}});
  match.ethertype = 0x8100;
  put(Block(), 4, match, {drop});
  match.ethertype = 0x88a8;
  put(Block(), 5, match, {drop});
  match = {};
  match.indev = "fltca";
  match.src_mac = *MacAddress::Parse("52:54:00:00:01:0b");
  match.dst_mac = *MacAddress::Parse("ff:ff:ff:ff:ff:ff");
  match.ethertype = 0x0806;
  put(Block(), 6, match, {trap});
  match = {};
  match.ethertype = 0x86dd;
  match.ip_proto = 58;
  match.icmp_type = 135;
  match.src_ip = *IpPrefix::Parse("2001:db8::/64");
  put(Block(), 7, match, {trap});
  match = {};
  match.ethertype = 0x86dd;
  match.ttl_expiring = true;
  match.ip_proto = 17;
  match.dst_port = TcPortMask{547};
  match.dst_ip = *IpPrefix::Parse("ff02::1:2/128");
  put(Block(), 8, match, {trap});
  match = {};
  match.ethertype = 0x0800;
  match.src_ip = *IpPrefix::Parse("10.0.0.7/32");
  match.src_mac = *MacAddress::Parse("52:54:00:00:01:0b");
  match.dst_ip = *IpPrefix::Parse("0.0.0.0/0");
  match.ttl_expiring = true;
  match.ip_proto = 17;
  match.dst_port = TcPortMask{67};
  put(Block(), 9, match, {trap});
  match = {};
  match.ethertype = 0x0800;
  match.dst_ip = *IpPrefix::Parse("10.1.0.0/16");
  put(Block(), 10, match, {route, TcCsum{}, Redirect(b_)});
  put(Block(), 11, match, {route, TcCsum{}, v4, Redirect(b_)});
  put(Block(), 12, match, {route, TcCsum{}, v6, Redirect(b_)});
  match = {};
  match.ethertype = 0x86dd;
  match.dst_ip = *IpPrefix::Parse("2001:db8:1::/48");
  put(Block(), 13, match, {route6, Redirect(b_)});
  put(Block(), 14, match, {route6, v6, Redirect(b_)});
  match = {};
  match.dst_mac = *MacAddress::Parse("02:00:00:00:00:01");
  put(Block(), 15, match, {v4, Redirect(b_)});
  match = {};
  match.indev = "fltca";
  match.dst_group = true;
  std::vector<TcAction> copies(29, TcMirror{b_});
  copies.push_back(TcMirror{a_});
  copies.push_back(TcVlanPush{100});
  copies.push_back(Redirect(b_));  // 32: the most
  put(Block(), 16, match, copies);
  match = {};
  match.dst_group = false;
  put(Block(), 17, match, {TcVlanPush{4094}, Redirect(b_)});
  match = {};
  match.ethertype = 0x0806;
  match.src_mac = *MacAddress::Parse("52:54:00:00:01:0b");
  match.arp_sender_mac = match.src_mac;
  match.arp_sender_ip = *IpPrefix::Parse("10.0.0.7/32");
  put(Block(), 18, match, {TcGact{.verdict = TcGact::Verdict::kGotoChain, .chain = 7}});
  // Connections.
  const TcGact next{.verdict = TcGact::Verdict::kGotoChain, .chain = 8};
  match = {};
  match.ethertype = 0x0800;
  match.ip_proto = 6;
  match.dst_port = TcPortMask{0x1f80, 0xff80};
  put(Block(), 19, match, {TcCt{.zone = 65535}, next});
  match.ct_state = TcCtState{kCtTracked | kCtNew, kCtTracked | kCtNew | kCtInvalid};
  put(Block(), 20, match, {TcCt{.zone = 1, .commit = true}, next});
  match.ip_proto = 1;
  match.dst_port.reset();
  match.icmp_type = 3;
  match.icmp_code = 4;
  match.ct_state = TcCtState{kCtTracked | kCtRelated | kCtReply, 0x3f};
  put(Block(), 21, match, {TcCt{.zone = 1}, route, TcCsum{}, TcMirror{b_}, v4, Redirect(b_)});
  match.ethertype = 0x86dd;
  match.ip_proto = 58;
  match.ct_state = TcCtState{0, kCtTracked};
  put(Block(), 22, match, {TcCt{.zone = 1}, next});
  // From an uplink.
  match = {};
  match.ethertype = 0x8100;
  match.vlan_id = 100;
  match.dst_mac = *MacAddress::Parse("52:54:00:00:01:0b");
  put(Ingress(b_), 3, match, {TcVlanPop{}, Redirect(a_)});
  match.dst_mac.reset();
  match.dst_group = true;
  put(Ingress(b_), 4, match, {TcVlanPop{}, TcMirror{a_}, Redirect(a_)});
  match.ethertype = 0x0806;
  match.vlan_id.reset();
  put(Ingress(b_), 5, match,
      {TcMirror{a_}, TcGact{.verdict = TcGact::Verdict::kContinue, .chain = 0}});
  // From a tunnel: the outer header.
  match = {};
  match.enc_key_id = 1000;
  match.enc_dst = *IpAddress::Parse("192.0.2.1");
  match.enc_dst_port = 4789;
  match.dst_mac = *MacAddress::Parse("02:00:00:00:00:01");
  put(Ingress(b_), 1, match, {TcTunnelUnset{}, Redirect(a_)});
  match.enc_dst = *IpAddress::Parse("2001:db8::1");
  match.ethertype = 0x0800;
  match.dst_ip = *IpPrefix::Parse("10.1.0.0/16");
  put(Ingress(b_), 2, match, {TcTunnelUnset{}, route, TcCsum{}, Redirect(a_)});
  put(Ingress(b_), 6, match, {TcTunnelUnset{}, TcCt{.zone = 1}, route, TcCsum{}, Redirect(a_)});

  auto dump = port().Dump(Block());
  ASSERT_TRUE(dump.ok()) << dump.status();
  EXPECT_EQ(dump->size(), 22u);
  for (const TcFilterInfo& info : *dump) {
    EXPECT_EQ(info.cookie, Cookie(static_cast<uint8_t>(info.id.priority)))
        << "priority " << info.id.priority;
  }
  EXPECT_EQ(port().Dump(Ingress(b_))->size(), 6u);
  TcAttachPoint egress = Ingress(b_);
  egress.egress = true;
  EXPECT_EQ(port().Dump(egress)->size(), 0u);
}

TEST_P(TcContract, AStateThatNoPacketHasIsRefusedWithTheKernelsWords) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  const auto put = [&](uint16_t value, uint16_t mask = 0x3f) {
    TcFilter filter = Drop(7);
    filter.match.ct_state = TcCtState{value, mask};
    const absl::Status status = Put(Block(), filter);
    if (!status.ok()) EXPECT_EQ(ErrnoOf(status), EINVAL) << status;
    return PeerWords(status);
  };
  EXPECT_EQ(put(kCtNew), "no trk, so no other flag can be set");
  EXPECT_EQ(put(kCtTracked | kCtNew | kCtEstablished), "new and est are mutually exclusive");
  EXPECT_EQ(put(kCtTracked | kCtInvalid | kCtReply), "when inv is set, only trk may be set");
  EXPECT_EQ(put(kCtTracked | kCtNew | kCtReply), "new and rpl are mutually exclusive");
  EXPECT_TRUE(port().Dump(Block())->empty());
  for (const uint16_t value : {0 | 0, kCtTracked | 0, kCtTracked | kCtNew | kCtRelated,
                               kCtTracked | kCtEstablished | kCtReply, kCtTracked | kCtInvalid}) {
    EXPECT_EQ(put(value), "") << value;
  }
}

// Fairlead's own and somebody else's rule of one priority: two keys that differ in what came with
// provider networks are two, and the same one is refused.
TEST_P(TcContract, TwoRulesOfAPriorityDifferInVlanArpSenderOrKindOfDestination) {
  ASSERT_TRUE(port().AddClsact(b_, 0).ok());
  const auto put = [&](uint16_t priority, uint32_t handle, const TcMatch& match) {
    TcFilter filter = Drop(7);
    filter.id = {.chain = 0, .priority = priority, .handle = handle};
    filter.match = match;
    return Put(Ingress(b_), filter);
  };
  TcMatch tagged;
  tagged.ethertype = 0x8100;
  tagged.vlan_id = 100;
  TcMatch other = tagged;
  other.vlan_id = 101;
  EXPECT_TRUE(put(1, 1, tagged).ok());
  EXPECT_TRUE(put(1, 2, other).ok());
  EXPECT_EQ(put(1, 3, other).code(), absl::StatusCode::kAlreadyExists);
  TcMatch arp;
  arp.ethertype = 0x0806;
  arp.arp_sender_ip = *IpPrefix::Parse("10.0.0.7/32");
  TcMatch other_arp = arp;
  other_arp.arp_sender_ip = *IpPrefix::Parse("10.0.0.8/32");
  EXPECT_TRUE(put(2, 1, arp).ok());
  EXPECT_TRUE(put(2, 2, other_arp).ok());
  EXPECT_EQ(put(2, 3, arp).code(), absl::StatusCode::kAlreadyExists);
  TcMatch group, station;
  group.dst_group = true;
  station.dst_group = false;
  EXPECT_TRUE(put(3, 1, group).ok());
  EXPECT_TRUE(put(3, 2, station).ok());
  EXPECT_EQ(put(3, 3, group).code(), absl::StatusCode::kAlreadyExists);
}

TEST_P(TcContract, ASubscriberHearsOfFilters) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<TcPort::Event> events;
  auto subscription = port().Subscribe([&](const TcPort::Event& event) {
    std::lock_guard<std::mutex> lock(mutex);
    events.push_back(event);
    changed.notify_all();
  });
  ASSERT_TRUE(subscription.ok()) << subscription.status();
  auto heard = [&](bool deleted) {
    std::unique_lock<std::mutex> lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(30), [&] {
      return std::any_of(events.begin(), events.end(), [&](const TcPort::Event& event) {
        return !event.lost && event.deleted == deleted && event.at == Block() &&
               event.id == Drop(7).id &&
               event.cookie == (deleted ? std::nullopt : std::optional(Drop(7).cookie));
      });
    });
  };
  ASSERT_TRUE(Put(Block(), Drop(6)).ok());  // the last of a priority is told otherwise
  ASSERT_TRUE(Put(Block(), Drop(7)).ok());
  EXPECT_TRUE(heard(false));
  ASSERT_TRUE(Delete(Block(), Drop(7)).ok());
  EXPECT_TRUE(heard(true));
}

}  // namespace
}  // namespace fairlead
