// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/rtnetlink/rtnetlink_vf_contract.h"

#include <errno.h>

#include "agent/base/error.h"

namespace fairlead {
namespace {

MacAddress Mac(const char* text) { return *MacAddress::Parse(text); }

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
  EXPECT_TRUE(port().SetVfRate(pf_, 1, 500, 100).ok());
  EXPECT_TRUE(port().SetVfLinkDisabled(pf_, 1, true).ok());
  const VfInfo set = Vf(1);
  EXPECT_EQ(set.mac, before.mac);
  EXPECT_EQ(set.vlan, 100);
  EXPECT_EQ(set.spoof_check, true);
  EXPECT_EQ(set.trust, true);
  EXPECT_EQ(set.max_tx_mbps, 500u);
  EXPECT_EQ(set.min_tx_mbps, 100u);
  EXPECT_TRUE(set.link_disabled);
  EXPECT_EQ(Vf(0), other);

  EXPECT_TRUE(port().SetVfVlan(pf_, 1, 0).ok());
  EXPECT_TRUE(port().SetVfSpoofCheck(pf_, 1, false).ok());
  EXPECT_TRUE(port().SetVfTrust(pf_, 1, false).ok());
  EXPECT_TRUE(port().SetVfRate(pf_, 1, 0, 0).ok());
  EXPECT_TRUE(port().SetVfLinkDisabled(pf_, 1, false).ok());
  const VfInfo cleared = Vf(1);
  EXPECT_EQ(cleared.vlan, 0);
  EXPECT_EQ(cleared.spoof_check, false);
  EXPECT_EQ(cleared.trust, false);
  EXPECT_EQ(cleared.max_tx_mbps, 0u);
  EXPECT_EQ(cleared.min_tx_mbps, 0u);
  EXPECT_FALSE(cleared.link_disabled);
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
  EXPECT_EQ(ErrnoOf(port().SetVfLinkDisabled(pf_, kVfs, true)), EINVAL);
}

}  // namespace
}  // namespace fairlead
