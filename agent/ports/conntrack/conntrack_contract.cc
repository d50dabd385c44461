// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/conntrack/conntrack_contract.h"

#include <gmock/gmock.h>
#include <netinet/in.h>

#include <algorithm>

#include "agent/base/text.h"

namespace fairlead {

std::vector<Connection> ConntrackContract::Dumped(uint16_t zone) {
  auto dump = port().Dump(zone);
  EXPECT_TRUE(dump.ok()) << dump.status();
  if (!dump.ok()) return {};
  for (Connection& connection : *dump) {
    EXPECT_NE(connection.id, 0u);
    EXPECT_GT(connection.timeout_s, 0u);
    EXPECT_LE(connection.timeout_s, 300u);
    connection.id = connection.timeout_s = 0;
  }
  return *dump;
}

Connection ConntrackContract::Get(uint16_t zone, const ConnectionTuple& original) {
  auto found = port().Find(zone, original);
  EXPECT_TRUE(found.ok()) << found.status();
  if (!found.ok() || !*found) {
    ADD_FAILURE() << original.ToString() << " is not there";
    return {};
  }
  return **found;
}

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint16_t kOtherZone = 0x05fa;

ConnectionTuple Tuple(uint8_t protocol, const char* src, uint16_t src_port, const char* dst,
                      uint16_t dst_port) {
  ConnectionTuple tuple;
  tuple.src = *IpAddress::Parse(src);
  tuple.dst = *IpAddress::Parse(dst);
  tuple.protocol = protocol;
  tuple.src_port = src_port;
  tuple.dst_port = dst_port;
  return tuple;
}

// One whose answers come from where its packets go.
Connection Of(uint16_t zone, const ConnectionTuple& original) {
  Connection connection;
  connection.zone = zone;
  connection.original = connection.reply = original;
  std::swap(connection.reply.src, connection.reply.dst);
  std::swap(connection.reply.src_port, connection.reply.dst_port);
  connection.confirmed = true;
  connection.timeout_s = 300;
  return connection;
}

Connection Web(uint16_t zone, uint16_t port = 40000) {
  Connection web = Of(zone, Tuple(IPPROTO_TCP, "10.0.0.1", port, "10.0.0.2", 80));
  web.seen_reply = web.assured = true;
  web.tcp_state = "ESTABLISHED";
  return web;
}

Connection Dns6(uint16_t zone) {
  return Of(zone, Tuple(IPPROTO_UDP, "2001:db8::1", 5353, "2001:db8::2", 53));
}

Connection Ping(uint16_t zone) {
  Connection ping = Of(zone, Tuple(IPPROTO_ICMP, "10.0.0.1", 0, "10.0.0.2", 0));
  ping.original.icmp_id = ping.reply.icmp_id = 0x1234;
  ping.original.icmp_type = 8;
  ping.seen_reply = true;
  return ping;
}

Connection Ping6(uint16_t zone) {
  Connection ping = Of(zone, Tuple(IPPROTO_ICMPV6, "2001:db8::1", 0, "2001:db8::2", 0));
  ping.original.icmp_id = ping.reply.icmp_id = 7;
  ping.original.icmp_type = 128;
  ping.reply.icmp_type = 129;
  return ping;
}

// As it is shown.
Connection Shown(Connection connection) {
  connection.id = connection.timeout_s = 0;
  return connection;
}

TEST_P(ConntrackContract, AZoneHasConnectionsOfItsOwn) {
  const Connection web = Web(kZone), dns = Dns6(kZone), ping = Ping(kZone), ping6 = Ping6(kZone);
  for (const Connection& one : {dns, web, ping6, ping}) env_->Add(one);
  env_->Add(Web(kOtherZone));  // the same tuples are another connection there
  env_->Add(Dns6(0));          // the host's own
  EXPECT_THAT(Dumped(kZone), ElementsAre(Shown(dns), Shown(ping6), Shown(ping), Shown(web)));
  EXPECT_THAT(Dumped(kOtherZone), ElementsAre(Shown(Web(kOtherZone))));
  EXPECT_THAT(Dumped(1), IsEmpty());
}

TEST_P(ConntrackContract, EachProtocolAndTcpStateIsTold) {
  std::vector<Connection> all;
  uint16_t port = 1000;
  for (const char* state : {"SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT",
                            "LAST_ACK", "TIME_WAIT", "CLOSE"}) {
    all.push_back(Web(kZone, ++port));
    all.back().tcp_state = state;
  }
  for (const int protocol : {IPPROTO_UDP, IPPROTO_SCTP}) {
    all.push_back(
        Of(kZone, Tuple(static_cast<uint8_t>(protocol), "10.0.0.1", 40000, "10.0.0.2", 80)));
  }
  all.push_back(Of(kZone, Tuple(IPPROTO_ESP, "10.0.0.1", 0, "10.0.0.2", 0)));
  for (Connection& one : all) {
    env_->Add(one);
    EXPECT_EQ(Shown(Get(kZone, one.original)), Shown(one)) << one.original.ToString();
    one = Shown(one);
  }
  std::sort(all.begin(), all.end(),
            [](const Connection& a, const Connection& b) { return a.original < b.original; });
  EXPECT_EQ(Dumped(kZone), all);
}

TEST_P(ConntrackContract, AConnectionIsFoundByEitherTuple) {
  Connection web = Web(kZone);
  web.reply.dst_port = 41000;  // as behind a translator of addresses
  env_->Add(web);
  env_->Add(Ping6(kZone));
  for (const ConnectionTuple& tuple : {web.original, web.reply}) {
    const Connection found = Get(kZone, tuple);
    EXPECT_EQ(Shown(found), Shown(web));
    EXPECT_EQ(found.id, Get(kZone, web.original).id);
  }
  for (const ConnectionTuple& tuple : {Ping6(kZone).original, Ping6(kZone).reply}) {
    EXPECT_EQ(Shown(Get(kZone, tuple)), Shown(Ping6(kZone)));
  }
}

TEST_P(ConntrackContract, WhatIsNotThereIsNotFound) {
  env_->Add(Web(kZone));
  env_->Add(Dns6(0));
  const auto none = [&](uint16_t zone, const ConnectionTuple& tuple) {
    auto found = port().Find(zone, tuple);
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() && !*found;
  };
  EXPECT_TRUE(none(kOtherZone, Web(kZone).original));
  EXPECT_TRUE(none(kZone, Web(kZone, 40001).original));
  EXPECT_TRUE(none(kZone, Dns6(kZone).original)) << "one of the host";
  ConnectionTuple udp = Web(kZone).original;
  udp.protocol = IPPROTO_UDP;
  EXPECT_TRUE(none(kZone, udp));
  EXPECT_TRUE(none(kZone, Ping(kZone).original));
  ConnectionTuple unreachable = Ping(kZone).original;
  unreachable.icmp_type = 3;
  EXPECT_TRUE(none(kZone, unreachable)) << "an error is of no connection of its own";
  ConnectionTuple too_big = Ping6(kZone).original;
  too_big.icmp_type = 2;
  EXPECT_TRUE(none(kZone, too_big));
}

TEST_P(ConntrackContract, ADeletedOneIsGoneAndTheOthersAreNot) {
  for (const Connection& one : {Web(kZone), Dns6(kZone), Ping(kZone), Web(kOtherZone)}) {
    env_->Add(one);
  }
  const Connection web = Get(kZone, Web(kZone).original);
  for (int i = 0; i < 2; ++i) {  // what is gone already is success
    const absl::Status deleted = Delete(web);
    EXPECT_TRUE(deleted.ok()) << deleted;
  }
  EXPECT_THAT(Dumped(kZone), ElementsAre(Shown(Dns6(kZone)), Shown(Ping(kZone))));
  EXPECT_THAT(Dumped(kOtherZone), SizeIs(1));
  for (const ConnectionTuple& tuple : {Ping(kZone).original, Dns6(kZone).original}) {
    EXPECT_TRUE(Delete(Get(kZone, tuple)).ok());
  }
  EXPECT_THAT(Dumped(kZone), IsEmpty());
  EXPECT_THAT(Dumped(kOtherZone), SizeIs(1));
}

TEST_P(ConntrackContract, AnotherConnectionWithTheSameTupleIsNotHit) {
  env_->Add(Web(kZone));
  Connection ended = Get(kZone, Web(kZone).original);
  ended.id ^= 1;
  EXPECT_TRUE(Delete(ended).ok());
  EXPECT_THAT(Dumped(kZone), SizeIs(1));
  ended.id ^= 1;
  EXPECT_TRUE(Delete(ended).ok());
  EXPECT_THAT(Dumped(kZone), IsEmpty());
}

TEST_P(ConntrackContract, TheHostsOwnAreNeitherShownNorDeleted) {
  env_->Add(Web(0));
  EXPECT_TRUE(absl::IsInvalidArgument(port().Dump(0).status())) << port().Dump(0).status();
  const auto found = port().Find(0, Web(0).original);
  EXPECT_TRUE(absl::IsInvalidArgument(found.status())) << found.status();
  const absl::Status deleted = Delete(Web(0));
  EXPECT_TRUE(absl::IsInvalidArgument(deleted)) << deleted;
}

TEST_P(ConntrackContract, AddressesOfTwoFamiliesAreRefused) {
  env_->Add(Web(kZone));
  Connection mixed = Web(kZone);
  mixed.original.dst = *IpAddress::Parse("2001:db8::2");
  const auto found = port().Find(kZone, mixed.original);
  EXPECT_TRUE(absl::IsInvalidArgument(found.status())) << found.status();
  EXPECT_TRUE(absl::IsInvalidArgument(Delete(mixed)));
  EXPECT_THAT(Dumped(kZone), SizeIs(1));
}

TEST_P(ConntrackContract, ManyAreAnsweredEachForItself) {
  for (uint16_t port = 1; port <= 1000; ++port) env_->Add(Web(kZone, port));
  env_->Add(Dns6(kZone));
  auto all = port().Dump(kZone);
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_THAT(*all, SizeIs(1001));
  ASSERT_EQ((*all)[0].original, Dns6(kZone).original);
  (*all)[500].zone = 0;
  (*all)[600].id ^= 1;
  const std::vector<absl::Status> results = port().Delete(*all);
  ASSERT_THAT(results, SizeIs(1001));
  for (size_t i = 0; i < results.size(); ++i) {
    if (i == 500) {
      EXPECT_TRUE(absl::IsInvalidArgument(results[i])) << results[i];
    } else {
      EXPECT_TRUE(results[i].ok()) << i << ": " << results[i];
    }
  }
  const std::vector<Connection> left = Dumped(kZone);
  ASSERT_THAT(left, SizeIs(2));
  EXPECT_EQ(left[0].original, (*all)[500].original);
  EXPECT_EQ(left[1].original, (*all)[600].original);
  EXPECT_THAT(port().Delete({}), IsEmpty());
}

}  // namespace
}  // namespace fairlead
