// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/slow_path/slow_path_contract.h"

#include <gmock/gmock.h>

#include <vector>

namespace fairlead {
namespace {

using Entries = std::vector<SlowPathEntry>;
using Keys = std::vector<SlowPathKey>;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

SlowPathSubnet ASubnet(const std::string& id) {
  SlowPathSubnet out;
  out.id = id;
  out.prefix4 = *IpPrefix::Parse("10.0.0.0/8");
  out.mtu = 1500;
  return out;
}

SlowPathPort APort(const std::string& id, uint32_t ifindex) {
  SlowPathPort out;
  out.id = id;
  out.subnet = "s";
  out.ifindex = ifindex;
  out.netdev = "rep0";
  out.mac = MacAddress({0x52, 0x54, 0, 0, 0, 1});
  return out;
}

SlowPathNeighbour ANeighbour(uint32_t i) {
  const std::array<uint8_t, 4> address{10, static_cast<uint8_t>(i >> 16),
                                       static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)};
  return {"s", *IpAddress::FromBytes(address), MacAddress({0x52, 0x54, 0, 0, 0, 7})};
}

}  // namespace

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SlowPathContract);

TEST_P(SlowPathContract, WhatIsToldIsKnown) {
  const Entries all = {ASubnet("s"), APort("p", 1), ANeighbour(1)};
  const auto report = socket_->TellAll(all, true, {});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->problems, IsEmpty());
  EXPECT_THAT(report->deaf_ports, IsEmpty());
  for (const SlowPathEntry& entry : all) EXPECT_TRUE(host_->Knows(entry));
}

TEST_P(SlowPathContract, ChangesAreTaken) {
  ASSERT_TRUE(socket_->TellAll(Entries{ASubnet("s"), APort("p", 1), ANeighbour(1)}, true, {}).ok());
  SlowPathPort moved = APort("p", 2);
  ASSERT_TRUE(socket_->Tell(Entries{moved, ANeighbour(2)}, Keys{KeyOf(ANeighbour(1))}).ok());
  EXPECT_TRUE(host_->Knows(SlowPathEntry(moved)));
  EXPECT_TRUE(host_->Knows(SlowPathEntry(ANeighbour(2))));
  EXPECT_FALSE(host_->Knows(KeyOf(ANeighbour(1))));
  EXPECT_TRUE(host_->Knows(SlowPathEntry(ASubnet("s"))));
  // Removing what is not there is success; so is saying nothing.
  EXPECT_TRUE(socket_->Tell({}, Keys{KeyOf(ANeighbour(1))}).ok());
  EXPECT_TRUE(socket_->Tell({}, {}).ok());
}

TEST_P(SlowPathContract, WhatAWholeTellingDoesNotNameGoes) {
  ASSERT_TRUE(socket_->TellAll(Entries{ASubnet("s"), APort("p", 1), ANeighbour(1)}, true, {}).ok());
  ASSERT_TRUE(socket_->TellAll(Entries{ASubnet("s"), ANeighbour(2)}, true, {}).ok());
  EXPECT_TRUE(host_->Knows(KeyOf(ASubnet("s"))));
  EXPECT_TRUE(host_->Knows(KeyOf(ANeighbour(2))));
  EXPECT_FALSE(host_->Knows(KeyOf(ANeighbour(1))));
  EXPECT_FALSE(host_->Knows(KeyOf(APort("p", 1))));
}

TEST_P(SlowPathContract, APortThatIsToBeKeptStaysWithItsSubnet) {
  SlowPathPort gone = APort("gone", 2);
  gone.subnet = "other";
  ASSERT_TRUE(
      socket_
          ->TellAll(Entries{ASubnet("s"), ASubnet("other"), APort("p", 1), gone, ANeighbour(1)},
                    true, {})
          .ok());
  const uint32_t kept[] = {1};
  ASSERT_TRUE(socket_->TellAll(Entries{ANeighbour(2)}, true, kept).ok());
  EXPECT_TRUE(host_->Knows(KeyOf(ASubnet("s"))));
  EXPECT_TRUE(host_->Knows(KeyOf(APort("p", 1))));
  EXPECT_TRUE(host_->Knows(KeyOf(ANeighbour(1))));
  EXPECT_TRUE(host_->Knows(KeyOf(ANeighbour(2))));
  EXPECT_FALSE(host_->Knows(KeyOf(ASubnet("other"))));
  EXPECT_FALSE(host_->Knows(KeyOf(gone)));
}

TEST_P(SlowPathContract, WhatAPartialTellingDoesNotNameStaysUntilAWholeOne) {
  ASSERT_TRUE(socket_->TellAll(Entries{APort("p", 1), ANeighbour(1)}, true, {}).ok());
  const auto other = host_->NewSocket();  // another agent
  ASSERT_TRUE(other->TellAll(Entries{ANeighbour(2)}, false, {}).ok());
  ASSERT_TRUE(other->Tell(Entries{ANeighbour(3)}, {}).ok());
  for (const uint32_t i : {1, 2, 3}) EXPECT_TRUE(host_->Knows(KeyOf(ANeighbour(i)))) << i;
  EXPECT_TRUE(host_->Knows(KeyOf(APort("p", 1))));
  ASSERT_TRUE(other->TellAll(Entries{ANeighbour(3)}, true, {}).ok());
  EXPECT_FALSE(host_->Knows(KeyOf(APort("p", 1))));
  EXPECT_FALSE(host_->Knows(KeyOf(ANeighbour(2))));
  EXPECT_TRUE(host_->Knows(KeyOf(ANeighbour(3))));
}

TEST_P(SlowPathContract, WhatWasToldStaysWhenTheAgentGoes) {
  ASSERT_TRUE(socket_->TellAll(Entries{ANeighbour(1)}, true, {}).ok());
  socket_.reset();
  EXPECT_TRUE(host_->Knows(KeyOf(ANeighbour(1))));
}

TEST_P(SlowPathContract, ManyNeighbours) {
  Entries all;
  for (uint32_t i = 1; i <= 5000; ++i) all.emplace_back(ANeighbour(i));
  ASSERT_TRUE(socket_->TellAll(all, true, {}).ok());
  EXPECT_TRUE(host_->Knows(KeyOf(ANeighbour(1))));
  EXPECT_TRUE(host_->Knows(KeyOf(ANeighbour(5000))));
  Keys keys;
  for (uint32_t i = 1; i <= 5000; ++i) keys.push_back(KeyOf(ANeighbour(i)));
  ASSERT_TRUE(socket_->Tell({}, keys).ok());
  EXPECT_FALSE(host_->Knows(KeyOf(ANeighbour(1))));
  EXPECT_FALSE(host_->Knows(KeyOf(ANeighbour(5000))));
}

TEST_P(SlowPathContract, TheNewestConnectionCounts) {
  ASSERT_TRUE(socket_->TellAll(Entries{ANeighbour(1)}, true, {}).ok());
  const auto newer = host_->NewSocket();
  ASSERT_TRUE(newer->TellAll(Entries{ANeighbour(1)}, true, {}).ok());
  EXPECT_EQ(socket_->Tell(Entries{ANeighbour(2)}, {}).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_FALSE(host_->Knows(KeyOf(ANeighbour(2))));
  EXPECT_TRUE(newer->Tell(Entries{ANeighbour(3)}, {}).ok());
  // Which is over then.
  EXPECT_EQ(socket_->Tell({}, {}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_P(SlowPathContract, WithoutAConnectionThereIsNothingToChange) {
  EXPECT_EQ(socket_->Tell({}, {}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_P(SlowPathContract, AProcessThatIsNotThereAndComesBack) {
  ASSERT_TRUE(socket_->TellAll(Entries{ANeighbour(1)}, true, {}).ok());
  host_->Stop();
  EXPECT_EQ(socket_->Tell({}, {}).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(socket_->TellAll({}, true, {}).status().code(), absl::StatusCode::kUnavailable);
  host_->Start();
  EXPECT_FALSE(host_->Knows(KeyOf(ANeighbour(1))));
  EXPECT_EQ(socket_->Tell({}, {}).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(socket_->TellAll(Entries{ANeighbour(1)}, true, {}).ok());
  EXPECT_TRUE(host_->Knows(KeyOf(ANeighbour(1))));
}

TEST_P(SlowPathContract, APortWithoutANetdevIsDeafAndSaysSo) {
  const auto report = socket_->TellAll(Entries{APort("p", 404), APort("q", 1)}, true, {});
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->deaf_ports, ElementsAre(HasSubstr("port p: netdev 'rep0': ")));
  const auto later = socket_->Tell(Entries{APort("p", 2)}, {});
  ASSERT_TRUE(later.ok());
  EXPECT_THAT(later->deaf_ports, IsEmpty());
}

TEST_P(SlowPathContract, ANetdevIsThePortsThatWasToldLast) {
  ASSERT_TRUE(socket_->TellAll(Entries{APort("old", 1)}, true, {}).ok());
  ASSERT_TRUE(socket_->Tell(Entries{APort("new", 1)}, {}).ok());
  EXPECT_FALSE(host_->Knows(KeyOf(APort("old", 1))));
  EXPECT_TRUE(host_->Knows(KeyOf(APort("new", 1))));
}

TEST_P(SlowPathContract, WhatNoMessageHoldsIsRefused) {
  SlowPathPort bad = APort("p", 1);
  bad.mac = MacAddress();
  EXPECT_EQ(socket_->TellAll(Entries{bad}, true, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(socket_->TellAll({}, true, {}).ok());
  EXPECT_EQ(socket_->Tell(Entries{bad}, {}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(socket_->Tell({}, Keys{{SlowPathKey::Kind::kPort, "/", {}}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(socket_->Tell({}, {}).ok());  // the connection is as it was
}

}  // namespace fairlead
