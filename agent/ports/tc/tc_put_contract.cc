// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/tc/tc_contract.h"

namespace fairlead {
namespace {

// In parts, and system calls, of far fewer.
constexpr uint32_t kMany = 400;
constexpr uint32_t kTaken = 130;  // its place is, by a filter of somebody else's

TEST_P(TcContract, WhatIsPutIsToldBackAsItStandsEachForItself) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  TcFilter taken = Drop(kTaken);
  taken.cookie = Cookie(0xee);
  ASSERT_TRUE(Put(Block(), taken).ok());
  std::vector<TcChange> puts;
  std::vector<TcFilterRef> refs;
  for (uint32_t handle = 1; handle <= kMany; ++handle) {
    puts.push_back({TcChange::Verb::kPut, Block(), Drop(handle), /*exclusive=*/true});
    refs.push_back({Block(), puts.back().filter.id, puts.back().filter.match.ethertype});
  }
  puts[6].filter.actions.clear();  // TC cannot hold it: it is not sent
  const auto told = port().Put(puts);
  const auto seen = port().Get(refs);
  ASSERT_EQ(told.size(), kMany);
  for (uint32_t i = 0; i < kMany; ++i) {
    if (i == 6) {
      EXPECT_EQ(told[i].status().code(), absl::StatusCode::kInvalidArgument);
    } else if (i == kTaken - 1) {
      EXPECT_EQ(told[i].status().code(), absl::StatusCode::kAlreadyExists);
    } else {
      ASSERT_TRUE(told[i].ok()) << i << ": " << told[i].status();
      ASSERT_TRUE(seen[i].ok()) << i << ": " << seen[i].status();
      EXPECT_EQ(told[i]->id, seen[i]->id);
      EXPECT_EQ(told[i]->ethertype, seen[i]->ethertype);
      EXPECT_EQ(told[i]->kind, "flower");
      EXPECT_EQ(told[i]->cookie, puts[i].filter.cookie);
      EXPECT_EQ(told[i]->in_hw, seen[i]->in_hw);
      EXPECT_EQ(told[i]->in_hw_count, seen[i]->in_hw_count);
    }
  }
}

// The second looks at other fields: the kernel cannot make that of the first in its place.
TEST_P(TcContract, WhatTakesAnOldOnesPlaceIsToldBackAsItIsNow) {
  ASSERT_TRUE(port().AddClsact(a_, kBlock).ok());
  TcChange put{TcChange::Verb::kPut, Block(), Drop(7)};
  ASSERT_TRUE(port().Put({&put, 1}).front().ok());
  put.filter.cookie = Cookie(8);
  const auto same = port().Put({&put, 1}).front();
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(same->cookie, Cookie(8));
  put.filter.cookie = Cookie(9);
  put.filter.match.src_mac = MacAddress({2, 1, 1, 1, 1, 1});
  const auto other = port().Put({&put, 1}).front();
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->cookie, Cookie(9));
}

}  // namespace
}  // namespace fairlead
