// SPDX-License-Identifier: Apache-2.0
#include "agent/base/eswitch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(EswitchTest, WhatIsWishedForIsReadAsDevlinkPrintsIt) {
  for (const EswitchMode mode : {EswitchMode::kLegacy, EswitchMode::kSwitchdev}) {
    EXPECT_EQ(*ParseEswitchMode(Name(mode)), mode);
  }
  for (const EswitchInlineMode mode :
       {EswitchInlineMode::kNone, EswitchInlineMode::kLink, EswitchInlineMode::kNetwork,
        EswitchInlineMode::kTransport}) {
    EXPECT_EQ(*ParseEswitchInlineMode(Name(mode)), mode);
  }
  for (const EswitchEncapMode mode : {EswitchEncapMode::kNone, EswitchEncapMode::kBasic}) {
    EXPECT_EQ(*ParseEswitchEncapMode(Name(mode)), mode);
  }
}

TEST(EswitchTest, AModeInWhichNothingPassesCannotBeWishedFor) {
  const auto refused = ParseEswitchMode(Name(EswitchMode::kSwitchdevInactive));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()),
              AllOf(HasSubstr("switchdev, legacy"), HasSubstr("switchdev_inactive")));
  EXPECT_FALSE(ParseEswitchMode("").ok());
  EXPECT_FALSE(ParseEswitchEncapMode("Basic").ok());
}

TEST(EswitchTest, OnlyWhatIsWantedCanDiffer) {
  EswitchSettings seen{EswitchMode::kLegacy, EswitchInlineMode::kLink, EswitchEncapMode::kNone};
  EXPECT_EQ(EswitchDifference({}, seen), "");
  EXPECT_EQ(EswitchDifference({EswitchMode::kLegacy, {}, {}}, seen), "");
  EXPECT_EQ(EswitchDifference({EswitchMode::kSwitchdev, {}, EswitchEncapMode::kBasic}, seen),
            "mode legacy, wanted switchdev; encap none, wanted basic");
  EXPECT_EQ(EswitchDifference({{}, EswitchInlineMode::kNone, {}}, {}),
            "inline not reported, wanted none");
}

TEST(EswitchTest, SettingsAreNamed) {
  EXPECT_EQ(EswitchSettings{}.ToString(), "nothing");
  EXPECT_TRUE(EswitchSettings{}.empty());
  const EswitchSettings some{EswitchMode::kSwitchdev, {}, EswitchEncapMode::kBasic};
  EXPECT_FALSE(some.empty());
  EXPECT_EQ(some.ToString(), "mode switchdev, encap basic");
}

}  // namespace
}  // namespace fairlead
