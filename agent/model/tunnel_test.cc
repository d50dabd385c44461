// SPDX-License-Identifier: Apache-2.0
#include "agent/model/tunnel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

UnderlayFacts Underlay(uint32_t mtu) { return {{3}, "pf0", mtu, ""}; }
TunnelConfig Config(const char* local, std::optional<uint32_t> mtu = std::nullopt,
                    TunnelMtuPolicy policy = TunnelMtuPolicy::kRefuse) {
  TunnelConfig config;
  config.local = *IpAddress::Parse(local);
  config.mtu = mtu;
  config.mtu_policy = policy;
  return config;
}

TEST(TunnelMtuTest, WhatIsNotGivenIsWhatTheUnderlayCarries) {
  EXPECT_EQ(WorkOutMtu(Config("192.0.2.1"), Underlay(1500)), (TunnelMtu{1450, "", ""}));
  EXPECT_EQ(WorkOutMtu(Config("2001:db8::1"), Underlay(9000)), (TunnelMtu{8930, "", ""}));
}

TEST(TunnelMtuTest, WhatIsGivenAndFitsIsTaken) {
  EXPECT_EQ(WorkOutMtu(Config("192.0.2.1", 1450), Underlay(1500)), (TunnelMtu{1450, "", ""}));
  EXPECT_EQ(WorkOutMtu(Config("192.0.2.1", 1300), Underlay(1500)).mtu, 1300U);
}

TEST(TunnelMtuTest, MoreThanTheUnderlayCarriesIsRefusedWithWhatToDo) {
  const TunnelMtu over = WorkOutMtu(Config("192.0.2.1", 1451), Underlay(1500));
  EXPECT_THAT(over.problem,
              AllOf(HasSubstr("tunnel.mtu is 1451"), HasSubstr("pf0 has an MTU of 1500"),
                    HasSubstr("carries 1450 (50 bytes are outer headers)"),
                    HasSubstr("raise the MTU of pf0 to 1501"),
                    HasSubstr("lower tunnel.mtu to 1450"), HasSubstr("mtu_policy be clamp")));
  EXPECT_NE(WorkOutMtu(Config("2001:db8::1", 1431), Underlay(1500)).problem, "");
  EXPECT_EQ(WorkOutMtu(Config("2001:db8::1", 1430), Underlay(1500)).problem, "");
}

TEST(TunnelMtuTest, OrIsClampedAndSaid) {
  const TunnelMtu over =
      WorkOutMtu(Config("192.0.2.1", 9000, TunnelMtuPolicy::kClamp), Underlay(1500));
  EXPECT_EQ(over.mtu, 1450U);
  EXPECT_EQ(over.problem, "");
  EXPECT_THAT(over.note, AllOf(HasSubstr("9000"), HasSubstr("1450 is used")));
}

TEST(TunnelMtuTest, LessThanIpv6NeedsIsNeverClampedTo) {
  for (const TunnelMtuPolicy policy : {TunnelMtuPolicy::kRefuse, TunnelMtuPolicy::kClamp}) {
    const TunnelMtu low = WorkOutMtu(Config("192.0.2.1", std::nullopt, policy), Underlay(1329));
    EXPECT_THAT(low.problem, AllOf(HasSubstr("carries 1279"), HasSubstr("to 1330 or more")));
    EXPECT_EQ(WorkOutMtu(Config("192.0.2.1", std::nullopt, policy), Underlay(1330)).problem, "");
  }
  EXPECT_EQ(TunnelMtuOver(20, false), 0U);
}

TEST(TunnelMtuTest, AnUnderlayThatIsNotKnownAsksForAnMtuAndChecksNone) {
  const UnderlayFacts unknown{{}, "", 0, "no device has it"};
  EXPECT_THAT(WorkOutMtu(Config("192.0.2.1"), unknown).problem,
              AllOf(HasSubstr("no device has it"), HasSubstr("set tunnel.mtu")));
  const TunnelMtu given = WorkOutMtu(Config("192.0.2.1", 4000), unknown);
  EXPECT_EQ(given.mtu, 4000U);
  EXPECT_EQ(given.problem, "");
  EXPECT_THAT(given.note, HasSubstr("is not checked"));
}

TEST(TunnelPeersTest, WithoutAnyEverybodyMaySend) {
  TunnelConfig config = Config("192.0.2.1");
  EXPECT_TRUE(IsPeer(config, *IpAddress::Parse("203.0.113.1")));
  config.peers = {*IpPrefix::Parse("192.0.2.0/25"), *IpPrefix::Parse("198.51.100.7/32")};
  EXPECT_TRUE(IsPeer(config, *IpAddress::Parse("192.0.2.127")));
  EXPECT_TRUE(IsPeer(config, *IpAddress::Parse("198.51.100.7")));
  EXPECT_FALSE(IsPeer(config, *IpAddress::Parse("192.0.2.128")));
  EXPECT_FALSE(IsPeer(config, *IpAddress::Parse("2001:db8::1")));
}

TEST(EncapsulationTest, NamesPortsAndOverheadAreThoseOfTheRfcs) {
  for (const Encapsulation one : {Encapsulation::kVxlan, Encapsulation::kGeneve}) {
    EXPECT_EQ(*ParseEncapsulation(Name(one)), one);
  }
  EXPECT_THAT(std::string(ParseEncapsulation("gre").status().message()),
              HasSubstr("vxlan or geneve, not 'gre'"));
  EXPECT_EQ(DefaultUdpPort(Encapsulation::kVxlan), 4789);
  EXPECT_EQ(DefaultUdpPort(Encapsulation::kGeneve), 6081);
  EXPECT_EQ(TunnelOverhead(false), 50U);
  EXPECT_EQ(TunnelOverhead(true), 70U);
}

}  // namespace
}  // namespace fairlead
