// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/rtnetlink/rtnetlink_vf_contract.h"

#include <errno.h>

#include "agent/base/error.h"
#include "agent/base/test_types.h"

namespace fairlead {

// A program has the one or the other.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RtnetlinkNetdevsimVfContract);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RtnetlinkIgbVfContract);

namespace {

TEST_P(RtnetlinkVfContract, EveryVfIsShown) {
  const auto link = port().GetLinkWithVfs(pf_);
  ASSERT_TRUE(link.ok()) << link.status();
  ASSERT_TRUE(link->vfs.has_value());
  ASSERT_EQ(link->vfs->size(), size_t{kVfs});
  for (uint16_t i = 0; i < kVfs; ++i) EXPECT_EQ((*link->vfs)[i].index, i);
}

TEST_P(RtnetlinkVfContract, AMacIsSetReadBackAndTakenAway) {
  const MacAddress other = Vf(0).mac;
  absl::Status set = port().SetVfMac(pf_, 1, Mac("52:54:00:00:01:01"));
  ASSERT_TRUE(set.ok()) << set;
  EXPECT_EQ(Vf(1).mac, Mac("52:54:00:00:01:01"));
  EXPECT_EQ(Vf(0).mac, other);
  set = port().SetVfMac(pf_, 1, MacAddress());
  ASSERT_TRUE(set.ok()) << set;
  EXPECT_EQ(Vf(1).mac, MacAddress());
}

TEST_P(RtnetlinkVfContract, AMacThatIsNotOneStationsIsRefused) {
  const MacAddress before = Vf(1).mac;
  const absl::Status refused = port().SetVfMac(pf_, 1, Mac("01:00:5e:00:00:01"));
  EXPECT_EQ(ErrnoOf(refused), EINVAL) << refused;
  EXPECT_EQ(Vf(1).mac, before);
}

TEST_P(RtnetlinkVfContract, EverySettingIsReadBackOnThatVfAloneAndTakenAway) {
  const VfInfo other = Vf(0), before = Vf(1);
  EXPECT_TRUE(port().SetVfVlan(pf_, 1, 100).ok());
  EXPECT_TRUE(port().SetVfSpoofCheck(pf_, 1, true).ok());
  EXPECT_TRUE(port().SetVfTrust(pf_, 1, true).ok());
  EXPECT_TRUE(port().SetVfRate(pf_, 1, 500, 0).ok());
  const VfInfo set = Vf(1);
  EXPECT_EQ(set.mac, before.mac);
  EXPECT_EQ(set.vlan, 100);
  EXPECT_EQ(set.spoof_check, true);
  EXPECT_EQ(set.trust, true);
  EXPECT_EQ(set.max_tx_mbps, 500u);
  EXPECT_EQ(Vf(0), other);

  EXPECT_TRUE(port().SetVfVlan(pf_, 1, 0).ok());
  EXPECT_TRUE(port().SetVfSpoofCheck(pf_, 1, false).ok());
  EXPECT_TRUE(port().SetVfTrust(pf_, 1, false).ok());
  EXPECT_TRUE(port().SetVfRate(pf_, 1, 0, 0).ok());
  const VfInfo cleared = Vf(1);
  EXPECT_EQ(cleared.vlan, 0);
  EXPECT_EQ(cleared.spoof_check, false);
  EXPECT_EQ(cleared.trust, false);
  EXPECT_EQ(cleared.max_tx_mbps, 0u);
}

TEST_P(RtnetlinkVfContract, AValueThatCannotBeIsRefusedAndNothingIsSet) {
  const VfInfo before = Vf(0);
  EXPECT_EQ(ErrnoOf(port().SetVfVlan(pf_, 0, 4096)), EINVAL);
  EXPECT_EQ(ErrnoOf(port().SetVfRate(pf_, 0, 100, 200)), EINVAL);
  EXPECT_EQ(Vf(0), before);
}

TEST_P(RtnetlinkVfContract, AVfThatIsNotThereIsRefused) {
  const absl::Status refused = port().SetVfMac(pf_, kVfs, Mac("52:54:00:00:01:01"));
  EXPECT_EQ(ErrnoOf(refused), EINVAL) << refused;
  EXPECT_EQ(ErrnoOf(port().SetVfVlan(pf_, kVfs, 100)), EINVAL);
  EXPECT_EQ(ErrnoOf(port().SetVfSpoofCheck(pf_, kVfs, true)), EINVAL);
  EXPECT_EQ(ErrnoOf(port().SetVfTrust(pf_, kVfs, true)), EINVAL);
  EXPECT_EQ(ErrnoOf(port().SetVfRate(pf_, kVfs, 100, 0)), EINVAL);
}

TEST_P(RtnetlinkNetdevsimVfContract, AMinimumRateAndTheLinkStateAreReadBackAndTakenAway) {
  const VfInfo other = Vf(0);
  EXPECT_TRUE(port().SetVfRate(pf_, 1, 500, 100).ok());
  EXPECT_TRUE(port().SetVfLinkDisabled(pf_, 1, true).ok());
  EXPECT_EQ(Vf(1).max_tx_mbps, 500u);
  EXPECT_EQ(Vf(1).min_tx_mbps, 100u);
  EXPECT_TRUE(Vf(1).link_disabled);
  EXPECT_EQ(Vf(0), other);

  EXPECT_TRUE(port().SetVfRate(pf_, 1, 0, 0).ok());
  EXPECT_TRUE(port().SetVfLinkDisabled(pf_, 1, false).ok());
  EXPECT_EQ(Vf(1).min_tx_mbps, 0u);
  EXPECT_FALSE(Vf(1).link_disabled);
  EXPECT_EQ(ErrnoOf(port().SetVfLinkDisabled(pf_, kVfs, true)), EINVAL);
}

TEST_P(RtnetlinkIgbVfContract, AFreshVfHasASpoofCheckAndNothingElse) {
  for (uint16_t i = 0; i < kVfs; ++i) {
    EXPECT_EQ(Vf(i), (VfInfo{.index = i, .mac = {}, .spoof_check = true, .trust = false})) << i;
  }
}

TEST_P(RtnetlinkIgbVfContract, ARateUpToTheLinksSpeedIsTakenAndNoMinimum) {
  EXPECT_TRUE(port().SetVfRate(pf_, 1, 1000, 0).ok());
  EXPECT_EQ(ErrnoOf(port().SetVfRate(pf_, 1, 1001, 0)), EINVAL);
  EXPECT_EQ(ErrnoOf(port().SetVfRate(pf_, 1, 100, 10)), EINVAL);
  EXPECT_EQ(ErrnoOf(port().SetVfRate(pf_, 1, 0, 10)), EINVAL);
  EXPECT_EQ(Vf(1).max_tx_mbps, 1000u);
  EXPECT_EQ(Vf(1).min_tx_mbps, 0u);
}

TEST_P(RtnetlinkIgbVfContract, TheLinkStateIsNotSupported) {
  const VfInfo before = Vf(1);
  EXPECT_EQ(ErrnoOf(port().SetVfLinkDisabled(pf_, 1, true)), EOPNOTSUPP);
  EXPECT_EQ(ErrnoOf(port().SetVfLinkDisabled(pf_, 1, false)), EOPNOTSUPP);
  EXPECT_EQ(ErrnoOf(port().SetVfLinkDisabled(pf_, kVfs, true)), EOPNOTSUPP);
  EXPECT_EQ(Vf(1), before);
}

// Of its rate 0 nothing is said: igb asks the NIC for its link, and QEMU's 82576 has one
// even then, which a real one has not.
TEST_P(RtnetlinkIgbVfContract, WithoutALinkARateIsRefusedAndAllElseTaken) {
  ASSERT_TRUE(port().SetLinkUp(pf_, false).ok());
  EXPECT_EQ(ErrnoOf(port().SetVfRate(pf_, 1, 100, 0)), EINVAL);
  EXPECT_TRUE(port().SetVfMac(pf_, 1, Mac("52:54:00:00:01:01")).ok());
  EXPECT_TRUE(port().SetVfVlan(pf_, 1, 100).ok());
  EXPECT_TRUE(port().SetVfSpoofCheck(pf_, 1, false).ok());
  EXPECT_TRUE(port().SetVfTrust(pf_, 1, true).ok());
  const VfInfo set{.index = 1,
                   .mac = Mac("52:54:00:00:01:01"),
                   .vlan = 100,
                   .spoof_check = false,
                   .trust = true};
  EXPECT_EQ(Vf(1), set);
  ASSERT_TRUE(port().SetLinkUp(pf_, true).ok());
  WaitForLink(&port(), pf_);
  EXPECT_EQ(Vf(1), set);
  EXPECT_TRUE(port().SetVfRate(pf_, 1, 100, 0).ok());
}

TEST_P(RtnetlinkIgbVfContract, ARateOutlivesTheLink) {
  ASSERT_TRUE(port().SetVfRate(pf_, 1, 500, 0).ok());
  ASSERT_TRUE(port().SetLinkUp(pf_, false).ok());
  EXPECT_EQ(Vf(1).max_tx_mbps, 500u);
  ASSERT_TRUE(port().SetLinkUp(pf_, true).ok());
  WaitForLink(&port(), pf_);
  EXPECT_EQ(Vf(1).max_tx_mbps, 500u);
}

}  // namespace
}  // namespace fairlead
