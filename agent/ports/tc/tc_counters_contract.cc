// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "agent/ports/tc/tc_contract.h"

namespace fairlead {
namespace {

// The kernel counts without the Ethernet header, and what hardware did apart: here it does nothing.
TEST_P(TcContract, AFilterCountsWhatMatchesItUntilItIsMadeAnew) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  TcFilter met = Drop(7);
  ASSERT_TRUE(Put(Block(), met).ok());
  ASSERT_TRUE(Put(Block(), Drop(8)).ok());
  env_->Receive("fltca", *met.match.dst_mac, 3);
  env_->Receive("fltca", MacAddress({2, 9, 9, 9, 9, 9}), 2);
  const auto counters = [this](uint32_t handle) {
    const TcFilterRef ref{Block(), Drop(handle).id, Drop(handle).match.ethertype};
    const auto seen = port().Get({&ref, 1}).front();
    EXPECT_TRUE(seen.ok()) << seen.status();
    return seen.ok() ? seen->counters : RuleCounters();
  };
  // They may still be under way.
  for (int i = 0; i < 500 && counters(7).all.packets < 3; ++i) ::usleep(10'000);
  EXPECT_EQ(counters(7), (RuleCounters{{3, 3 * 46}, {}}));
  EXPECT_EQ(counters(8), RuleCounters());
  for (const auto detail : {TcDumpDetail::kTerse, TcDumpDetail::kWithHardwareCount}) {
    const auto dump = port().Dump(Block(), detail);
    ASSERT_TRUE(dump.ok()) << dump.status();
    for (const TcFilterInfo& info : *dump) {
      EXPECT_EQ(info.counters, counters(info.id.handle)) << "handle " << info.id.handle;
    }
  }
  met.cookie = Cookie(99);
  ASSERT_TRUE(Put(Block(), met).ok());
  EXPECT_EQ(counters(7), RuleCounters());
}

}  // namespace
}  // namespace fairlead
