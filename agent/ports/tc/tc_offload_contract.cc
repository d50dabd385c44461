// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/tc/tc_offload_contract.h"

#include <errno.h>

#include "agent/base/error.h"

namespace fairlead {
namespace {

TEST_P(TcOffloadContract, ARuleForHardwareAloneIsInHardware) {
  ASSERT_TRUE(Join(first_).ok());
  const absl::Status put = Put(TcFilter::Flags::kSkipSw);
  ASSERT_TRUE(put.ok()) << put;
  EXPECT_EQ(InHardware(), 1);
}

TEST_P(TcOffloadContract, ARuleForBothIsInHardwareAndOneForSoftwareIsNot) {
  ASSERT_TRUE(Join(first_).ok());
  ASSERT_TRUE(Put(TcFilter::Flags::kNone, 1).ok());
  ASSERT_TRUE(Put(TcFilter::Flags::kSkipHw, 2).ok());
  EXPECT_EQ(InHardware(1), 1);
  EXPECT_EQ(InHardware(2), 0);
}

TEST_P(TcOffloadContract, EachDeviceOfABlockIsCounted) {
  ASSERT_TRUE(Join(first_).ok());
  ASSERT_TRUE(Join(second_).ok());
  ASSERT_TRUE(Put(TcFilter::Flags::kSkipSw).ok());
  EXPECT_EQ(InHardware(), 2);
}

TEST_P(TcOffloadContract, ADeviceThatJoinsTakesTheRulesThatAreThere) {
  ASSERT_TRUE(Join(first_).ok());
  ASSERT_TRUE(Put(TcFilter::Flags::kSkipSw).ok());
  const absl::Status joined = Join(second_);
  ASSERT_TRUE(joined.ok()) << joined;
  EXPECT_EQ(InHardware(), 2);
  ASSERT_TRUE(port().DeleteClsact(first_).ok());
  EXPECT_EQ(InHardware(), 1);
}

TEST_P(TcOffloadContract, ADeviceWithoutOffloadCannotJoinABlockThatIsInHardware) {
  const uint32_t plain = env_->AddEthernet("fltcplain");
  ASSERT_TRUE(Join(first_).ok());
  ASSERT_TRUE(Put(TcFilter::Flags::kNone).ok());
  const absl::Status refused = Join(plain);
  EXPECT_EQ(ErrnoOf(refused), EOPNOTSUPP) << refused;
  EXPECT_FALSE(port().GetQdisc(plain)->clsact);
  EXPECT_EQ(InHardware(), 1);
}

TEST_P(TcOffloadContract, OneDeviceWithoutOffloadKeepsRulesOutOfHardware) {
  ASSERT_TRUE(Join(first_).ok());
  ASSERT_TRUE(Join(env_->AddEthernet("fltcplain")).ok());
  const absl::Status refused = Put(TcFilter::Flags::kSkipSw, 1);
  EXPECT_EQ(ErrnoOf(refused), EOPNOTSUPP) << refused;
  EXPECT_EQ(PeerWords(refused), "");  // it is the kernel's core that refuses, not the driver
  EXPECT_EQ(InHardware(1), -1);
  ASSERT_TRUE(Put(TcFilter::Flags::kNone, 2).ok());
  EXPECT_EQ(InHardware(2), 1);
}

}  // namespace
}  // namespace fairlead
