// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/eswitch_contract.h"

#include <errno.h>
#include <gmock/gmock.h>

#include <set>
#include <string>

#include "agent/base/error.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr EswitchSettings kLegacy{EswitchMode::kLegacy, {}, {}};
constexpr EswitchSettings kSwitchdev{EswitchMode::kSwitchdev, {}, {}};

std::string Text(const absl::Status& status) { return std::string(status.message()); }

TEST_P(EswitchContract, ADeviceInLegacyModeShowsItAndNoRepresentor) {
  env_->SetVfCount(device_, 2);
  const auto seen = provider_->Observe(device_);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->settings, kLegacy);
  EXPECT_TRUE(seen->ports.empty());
}

TEST_P(EswitchContract, SwitchdevIsReadBackAndEachVfsRepresentorIsFoundByItsNumber) {
  env_->SetVfCount(device_, 3);
  const auto set = provider_->Put(device_, kSwitchdev);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(*set, kSwitchdev);
  const auto seen = provider_->Observe(device_);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->settings, kSwitchdev);
  std::set<uint32_t> netdevs;
  for (uint16_t vf = 0; vf < 3; ++vf) {
    const auto port = FindVfRepresentor(seen->ports, {.vf = vf, .pf = {}});
    ASSERT_TRUE(port.ok()) << port.status();
    EXPECT_EQ(env_->NetdevName(port->ifindex), port->netdev);
    netdevs.insert(port->ifindex);
  }
  EXPECT_EQ(netdevs.size(), 3u);
  EXPECT_TRUE(absl::IsNotFound(FindVfRepresentor(seen->ports, {.vf = 3, .pf = {}}).status()));
}

TEST_P(EswitchContract, WhatIsAsWantedIsLeftAsItIs) {
  env_->SetVfCount(device_, 2);
  ASSERT_TRUE(provider_->Put(device_, kSwitchdev).ok());
  const auto before = provider_->Observe(device_);
  ASSERT_TRUE(before.ok()) << before.status();
  for (const EswitchSettings& wanted : {kSwitchdev, EswitchSettings{}}) {
    const auto again = provider_->Put(device_, wanted);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again, kSwitchdev);
  }
  EXPECT_EQ(provider_->Observe(device_)->ports, before->ports) << "no netdev was made anew";
}

TEST_P(EswitchContract, BackInLegacyModeTheRepresentorsAreGone) {
  env_->SetVfCount(device_, 2);
  ASSERT_TRUE(provider_->Put(device_, kSwitchdev).ok());
  const auto set = provider_->Put(device_, kLegacy);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(*set, kLegacy);
  EXPECT_TRUE(provider_->Observe(device_)->ports.empty());
}

// Before the mode: a NIC that cannot have all of it is left in the mode that it has.
TEST_P(EswitchContract, EncapAndInlineModeThatAreRefusedLeaveTheModeAsItIs) {
  env_->SetVfCount(device_, 2);
  EswitchSettings wanted = kSwitchdev;
  wanted.encap_mode = EswitchEncapMode::kBasic;
  absl::Status refused = provider_->Put(device_, wanted).status();
  EXPECT_EQ(ErrnoOf(refused), EOPNOTSUPP) << refused;
  EXPECT_THAT(Text(refused), AllOf(HasSubstr("encap mode basic"), HasSubstr(device_.ToString())));
  EXPECT_EQ(provider_->Observe(device_)->settings, kLegacy);
  wanted = kSwitchdev;
  wanted.inline_mode = EswitchInlineMode::kTransport;
  refused = provider_->Put(device_, wanted).status();
  EXPECT_EQ(ErrnoOf(refused), EOPNOTSUPP) << refused;
  EXPECT_THAT(Text(refused), HasSubstr("inline mode transport"));
  EXPECT_EQ(provider_->Observe(device_)->settings, kLegacy);
}

TEST_P(EswitchContract, WithTheWayBackToLegacyModeTheModeGoesFirst) {
  env_->SetVfCount(device_, 2);
  ASSERT_TRUE(provider_->Put(device_, kSwitchdev).ok());
  EswitchSettings wanted = kLegacy;
  wanted.encap_mode = EswitchEncapMode::kNone;
  EXPECT_EQ(ErrnoOf(provider_->Put(device_, wanted).status()), EOPNOTSUPP);
  EXPECT_EQ(provider_->Observe(device_)->settings, kLegacy);
}

// Of netdevsim: its reload takes the VFs, and with them the mode.
TEST_P(EswitchContract, AfterAReloadTheModeIsSetAgain) {
  env_->SetVfCount(device_, 2);
  ASSERT_TRUE(provider_->Put(device_, kSwitchdev).ok());
  ASSERT_TRUE(env_->port().Reload(device_).ok());
  EXPECT_EQ(provider_->Observe(device_)->settings, kLegacy);
  env_->SetVfCount(device_, 2);
  ASSERT_TRUE(provider_->Put(device_, kSwitchdev).ok());
  const auto seen = provider_->Observe(device_);
  EXPECT_TRUE(FindVfRepresentor(seen->ports, {.vf = 1, .pf = {}}).ok());
}

TEST_P(EswitchContract, AReloadThatFailedLeavesADeviceThatIsSetAgainAfterTheNext) {
  env_->SetVfCount(device_, 2);
  ASSERT_TRUE(provider_->Put(device_, kSwitchdev).ok());
  env_->SetReloadFails(device_, true);
  ASSERT_FALSE(env_->port().Reload(device_).ok());
  const auto seen = provider_->Observe(device_);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_TRUE(seen->ports.empty());
  env_->SetReloadFails(device_, false);
  ASSERT_TRUE(env_->port().Reload(device_).ok());
  env_->SetVfCount(device_, 2);
  const auto set = provider_->Put(device_, kSwitchdev);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_TRUE(FindVfRepresentor(provider_->Observe(device_)->ports, {.vf = 0, .pf = {}}).ok());
}

TEST_P(EswitchContract, ADeviceThatIsNotThereHasNoEswitch) {
  const DevlinkHandle nobody{"netdevsim", "netdevsim9999"};
  const auto seen = provider_->Observe(nobody);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_TRUE(seen->settings.empty());
  const absl::Status refused = provider_->Put(nobody, kSwitchdev).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(Text(refused), AllOf(HasSubstr(nobody.ToString()), HasSubstr("mode switchdev")));
}

}  // namespace
}  // namespace fairlead
