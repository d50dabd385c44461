// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/conntrack/conntrack_contract.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "agent/ports/conntrack/fake_conntrack.h"

namespace fairlead {
namespace {

constexpr uint16_t kZone = 0x46fe, kOther = 0x46fd;

IpAddress Ip(const char* text) { return *IpAddress::Parse(text); }

ConnectionTuple Udp(uint16_t src_port) {
  return {.src = Ip("10.9.0.5"),
          .dst = Ip("10.9.0.6"),
          .protocol = 17,
          .src_port = src_port,
          .dst_port = 53};
}
ConnectionTuple Udp6(uint16_t src_port) {
  return {.src = Ip("fd00:9::5"),
          .dst = Ip("fd00:9::6"),
          .protocol = 17,
          .src_port = src_port,
          .dst_port = 53};
}

std::vector<ConnectionTuple> Originals(const std::vector<Connection>& connections) {
  std::vector<ConnectionTuple> tuples;
  for (const Connection& connection : connections) tuples.push_back(connection.original);
  std::sort(tuples.begin(), tuples.end());
  return tuples;
}

TEST_P(ConntrackContract, AZoneShowsItsOwnConnectionsOfBothFamilies) {
  const auto env = GetParam()();
  const auto port = env->Open();
  ASSERT_EQ(port->Dump(kZone)->size(), 0U);
  env->Connect(kZone, Udp(1000));
  env->Connect(kZone, Udp6(1000));
  env->Connect(kOther, Udp(2000));
  const auto seen = port->Dump(kZone);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(Originals(*seen), (std::vector{Udp6(1000), Udp(1000)}));
  for (const Connection& connection : *seen) {
    EXPECT_EQ(connection.zone, kZone);
    EXPECT_EQ(connection.reply, ReplyOf(connection.original));
    EXPECT_NE(connection.id, 0U);
  }
  EXPECT_EQ(port->Delete(*seen), (std::vector<absl::Status>(2)));
  EXPECT_EQ(port->Delete(*port->Dump(kOther)), std::vector<absl::Status>(1));
}

TEST_P(ConntrackContract, OneIsFoundByEitherDirectionAndInItsZoneOnly) {
  const auto env = GetParam()();
  const auto port = env->Open();
  env->Connect(kZone, Udp(1001));
  for (const ConnectionTuple& tuple : {Udp(1001), ReplyOf(Udp(1001))}) {
    const auto found = port->Find(kZone, tuple);
    ASSERT_TRUE(found.ok()) << found.status();
    ASSERT_TRUE(found->has_value());
    EXPECT_EQ((*found)->original, Udp(1001));
  }
  EXPECT_FALSE((*port->Find(kZone, Udp(1))).has_value());
  EXPECT_FALSE((*port->Find(kOther, Udp(1001))).has_value());
  EXPECT_TRUE(port->Delete(*port->Dump(kZone)).front().ok());
}

TEST_P(ConntrackContract, ADeletionTakesOneAndIsSuccessWhenItIsGone) {
  const auto env = GetParam()();
  const auto port = env->Open();
  env->Connect(kZone, Udp(1002));
  env->Connect(kZone, Udp(1003));
  const std::optional<Connection> one = *port->Find(kZone, Udp(1002));
  ASSERT_TRUE(one.has_value());
  for (int times = 0; times < 2; ++times) {
    EXPECT_EQ(port->Delete({&*one, 1}), std::vector<absl::Status>(1));
    EXPECT_EQ(Originals(*port->Dump(kZone)), std::vector{Udp(1003)});
  }
  EXPECT_TRUE(port->Delete(*port->Dump(kZone)).front().ok());
}

// A late deletion hits no connection that has the same tuple by now.
TEST_P(ConntrackContract, AnotherConnectionInItsPlaceIsLeftAlone) {
  const auto env = GetParam()();
  const auto port = env->Open();
  env->Connect(kZone, Udp(1004));
  Connection stale = **port->Find(kZone, Udp(1004));
  stale.id ^= 0x5a5a5a5a;
  EXPECT_EQ(port->Delete({&stale, 1}), std::vector<absl::Status>(1));
  EXPECT_EQ(port->Dump(kZone)->size(), 1U);
  EXPECT_TRUE(port->Delete(*port->Dump(kZone)).front().ok());
}

TEST_P(ConntrackContract, TheHostsOwnZoneIsRefused) {
  const auto env = GetParam()();
  const auto port = env->Open();
  EXPECT_EQ(port->Dump(0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(port->Find(0, Udp(1)).status().code(), absl::StatusCode::kInvalidArgument);
  Connection host;
  host.original = Udp(1);
  EXPECT_EQ(port->Delete({&host, 1}).front().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace fairlead
