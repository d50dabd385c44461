// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/tc/tc_offload_contract.h"

#include <errno.h>

#include <vector>

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

// The kernel's core tells the driver of every action, or refuses it by itself.
TEST_P(TcOffloadContract, EveryActionCanBeInHardware) {
  ASSERT_TRUE(Join(first_).ok());
  const uint32_t out = env_->AddEthernet("fltcplain");
  const TcTunnelSet set{
      .key_id = 1000, .src = *IpAddress::Parse("192.0.2.1"), .dst = *IpAddress::Parse("192.0.2.2")};
  TcPedit route{.eth_src = *MacAddress::Parse("02:00:00:00:00:01"),
                .eth_dst = *MacAddress::Parse("52:54:00:00:01:0a")};
  TcPedit route6 = route;
  route6.v6 = true;
  const TcMirred redirect{.ifindex = out};
  struct Case {
    uint16_t ethertype;
    std::vector<TcAction> actions;
  };
  const Case cases[] = {
      {0x0003, {TcGact{}}},
      {0x0003, {TcGact{.verdict = TcGact::Verdict::kTrap, .chain = 0}}},
      {0x0003, {TcGact{.verdict = TcGact::Verdict::kGotoChain, .chain = 3}}},
      {0x0003, {set, redirect}},
      {0x0003, {TcTunnelUnset{}, redirect}},
      {0x0800, {route, TcCsum{}, redirect}},
      {0x0800, {route, TcCsum{}, set, redirect}},
      {0x86dd, {route6, redirect}},
      {0x86dd, {route6, set, redirect}},
  };
  uint16_t priority = 0;
  for (const Case& c : cases) {
    TcFilter filter = Drop(TcFilter::Flags::kSkipSw);
    filter.id.priority = ++priority;
    filter.match.ethertype = c.ethertype;
    filter.actions = c.actions;
    const absl::Status put = Put(filter);
    EXPECT_TRUE(put.ok()) << priority << ": " << put;
    const TcFilterRef ref{kBlock, filter.id, c.ethertype};
    const auto seen = port().Get({&ref, 1}).front();
    ASSERT_TRUE(seen.ok()) << priority << ": " << seen.status();
    EXPECT_TRUE(seen->in_hw) << priority;
  }
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
