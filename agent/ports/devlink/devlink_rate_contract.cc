// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/devlink/devlink_rate_contract.h"

#include <errno.h>
#include <gmock/gmock.h>

#include "agent/base/error.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

std::string Text(const absl::Status& status) { return std::string(status.message()); }

TEST_P(DevlinkRateContract, EachVfHasALeafThatIsFree) {
  const auto rates = Rates();
  ASSERT_EQ(rates.size(), 2U);
  for (const DevlinkRateId& leaf : leaves_) {
    ASSERT_TRUE(rates.contains(leaf)) << leaf.ToString();
    EXPECT_EQ(rates.at(leaf), (DevlinkRate{leaf, 0, 0, ""}));
  }
  ASSERT_TRUE(SetMode(EswitchMode::kLegacy).ok());
  EXPECT_TRUE(Rates().empty()) << "no leaf without a representor";
}

TEST_P(DevlinkRateContract, ShareAndCapAreReadBackAndEachLeavesTheOtherAlone) {
  ASSERT_TRUE(
      port().SetRate(device_, leaves_[0], {100 * kDevlinkMbit, 1000 * kDevlinkMbit, {}}).ok());
  EXPECT_EQ(Rates()[leaves_[0]],
            (DevlinkRate{leaves_[0], 100 * kDevlinkMbit, 1000 * kDevlinkMbit, ""}));
  ASSERT_TRUE(port().SetRate(device_, leaves_[0], {{}, 2000 * kDevlinkMbit, {}}).ok());
  EXPECT_EQ(Rates()[leaves_[0]],
            (DevlinkRate{leaves_[0], 100 * kDevlinkMbit, 2000 * kDevlinkMbit, ""}));
  ASSERT_TRUE(port().SetRate(device_, leaves_[0], {200 * kDevlinkMbit, {}, {}}).ok());
  EXPECT_EQ(Rates()[leaves_[0]],
            (DevlinkRate{leaves_[0], 200 * kDevlinkMbit, 2000 * kDevlinkMbit, ""}));
  EXPECT_EQ(Rates()[leaves_[1]], (DevlinkRate{leaves_[1], 0, 0, ""})) << "another's";
  ASSERT_TRUE(port().SetRate(device_, leaves_[0], {0, 0, {}}).ok());
  EXPECT_EQ(Rates()[leaves_[0]], (DevlinkRate{leaves_[0], 0, 0, ""}));
}

TEST_P(DevlinkRateContract, WhatIsNoMultipleOfTheUnitOrMoreThanTheLinkIsRefusedInTheKernelsWords) {
  const absl::Status odd = port().SetRate(device_, leaves_[0], {{}, kDevlinkMbit + 1, {}});
  EXPECT_EQ(ErrnoOf(odd), EINVAL) << odd;
  EXPECT_THAT(Text(odd), HasSubstr("TX rate value not in link speed units of 1Mbps"));
  EXPECT_THAT(Text(odd), HasSubstr("tx_max 125001 bytes/s"));
  const absl::Status much = port().SetRate(device_, leaves_[0], {1'000'000 * kDevlinkMbit, {}, {}});
  EXPECT_EQ(ErrnoOf(much), EINVAL) << much;
  EXPECT_THAT(Text(much), HasSubstr("exceed link maximum speed 5000Mbps"));
  EXPECT_EQ(Rates()[leaves_[0]], (DevlinkRate{leaves_[0], 0, 0, ""}));
}

TEST_P(DevlinkRateContract, ANodeIsMadeSetAndTakenAway) {
  ASSERT_TRUE(port().AddRateNode(device_, "tenant-1").ok());
  EXPECT_EQ(Rates()[Node("tenant-1")], (DevlinkRate{Node("tenant-1"), 0, 0, ""}));
  ASSERT_TRUE(
      port().SetRate(device_, Node("tenant-1"), {10 * kDevlinkMbit, 50 * kDevlinkMbit, {}}).ok());
  EXPECT_EQ(Rates()[Node("tenant-1")],
            (DevlinkRate{Node("tenant-1"), 10 * kDevlinkMbit, 50 * kDevlinkMbit, ""}));
  EXPECT_EQ(ErrnoOf(port().AddRateNode(device_, "tenant-1")), EEXIST);
  ASSERT_TRUE(port().DeleteRateNode(device_, "tenant-1").ok());
  EXPECT_EQ(Rates().size(), 2U);
  EXPECT_TRUE(absl::IsNotFound(port().DeleteRateNode(device_, "tenant-1")));
  EXPECT_TRUE(absl::IsNotFound(port().SetRate(device_, Node("tenant-1"), {0, {}, {}})));
}

TEST_P(DevlinkRateContract, LeavesGoBelowNodesMoveAndComeBack) {
  for (const char* node : {"tenant-1", "tenant-2"}) {
    ASSERT_TRUE(port().AddRateNode(device_, node).ok());
  }
  for (const DevlinkRateId& leaf : leaves_) {
    ASSERT_TRUE(port().SetRate(device_, leaf, {{}, 20 * kDevlinkMbit, "tenant-1"}).ok());
    EXPECT_EQ(Rates()[leaf], (DevlinkRate{leaf, 0, 20 * kDevlinkMbit, "tenant-1"}));
  }
  const absl::Status busy = port().DeleteRateNode(device_, "tenant-1");
  EXPECT_EQ(ErrnoOf(busy), EBUSY) << busy;
  EXPECT_THAT(Text(busy), HasSubstr("Node has children"));
  ASSERT_TRUE(port().SetRate(device_, leaves_[0], Below("tenant-2")).ok());
  EXPECT_EQ(Rates()[leaves_[0]].parent, "tenant-2");
  EXPECT_EQ(Rates()[leaves_[1]].parent, "tenant-1");
  ASSERT_TRUE(port().SetRate(device_, leaves_[1], Below("")).ok());
  EXPECT_EQ(Rates()[leaves_[1]], (DevlinkRate{leaves_[1], 0, 20 * kDevlinkMbit, ""}));
  EXPECT_TRUE(port().DeleteRateNode(device_, "tenant-1").ok());
  const absl::Status nowhere = port().SetRate(device_, leaves_[1], Below("tenant-1"));
  EXPECT_TRUE(absl::IsNotFound(nowhere)) << nowhere;
  EXPECT_THAT(Text(nowhere), HasSubstr("parent tenant-1"));
}

TEST_P(DevlinkRateContract, NodesAreATreeWithoutACircle) {
  for (const char* node : {"gold", "tenant-1"}) {
    ASSERT_TRUE(port().AddRateNode(device_, node).ok());
  }
  ASSERT_TRUE(port().SetRate(device_, Node("tenant-1"), Below("gold")).ok());
  EXPECT_EQ(Rates()[Node("tenant-1")].parent, "gold");
  EXPECT_EQ(ErrnoOf(port().SetRate(device_, Node("gold"), Below("gold"))), EINVAL);
  EXPECT_EQ(ErrnoOf(port().DeleteRateNode(device_, "gold")), EBUSY);
  ASSERT_TRUE(port().SetRate(device_, Node("tenant-1"), Below("")).ok());
  EXPECT_TRUE(port().DeleteRateNode(device_, "gold").ok());
}

TEST_P(DevlinkRateContract, ADeviceWithNodesChangesNoMode) {
  ASSERT_TRUE(port().AddRateNode(device_, "tenant-1").ok());
  const absl::Status refused = SetMode(EswitchMode::kLegacy);
  EXPECT_EQ(ErrnoOf(refused), EBUSY) << refused;
  EXPECT_THAT(Text(refused), HasSubstr("Rate node(s) exists"));
  ASSERT_TRUE(port().DeleteRateNode(device_, "tenant-1").ok());
  ASSERT_TRUE(SetMode(EswitchMode::kLegacy).ok());
  EXPECT_EQ(ErrnoOf(port().AddRateNode(device_, "tenant-1")), EOPNOTSUPP);
}

TEST_P(DevlinkRateContract, WhatIsNotThereIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(port().SetRate(device_, DevlinkRateId::Leaf(4711), {0, {}, {}})));
  env_->RemoveDevice(device_);
  EXPECT_TRUE(absl::IsNotFound(port().ListRates(device_).status()));
  EXPECT_TRUE(absl::IsNotFound(port().AddRateNode(device_, "tenant-1")));
}

}  // namespace
}  // namespace fairlead
