// SPDX-License-Identifier: Apache-2.0
//
// The bytes of messages of connection tracking, as uapi/linux/netfilter/nfnetlink_conntrack.h has
// them.
#include "agent/ports/conntrack/conntrack_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <functional>
#include <string>

#include "absl/strings/escaping.h"

namespace fairlead::netlink {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr uint16_t kZone = 0xfa05;

std::string Hex(Bytes bytes) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

// Behind the netlink header.
Bytes Payload(const Message& message) { return message.bytes().subspan(sizeof(nlmsghdr)); }

ConnectionTuple Web() {
  ConnectionTuple tuple;
  tuple.src = *IpAddress::Parse("10.0.0.1");
  tuple.dst = *IpAddress::Parse("10.0.0.2");
  tuple.protocol = IPPROTO_TCP;
  tuple.src_port = 0x1234;
  tuple.dst_port = 80;
  return tuple;
}

ConnectionTuple Ping6() {
  ConnectionTuple tuple;
  tuple.src = *IpAddress::Parse("2001:db8::1");
  tuple.dst = *IpAddress::Parse("2001:db8::2");
  tuple.protocol = IPPROTO_ICMPV6;
  tuple.icmp_type = 128;
  tuple.icmp_id = 0x0102;
  return tuple;
}

TEST(ConnectionRequests, ADumpAsksForItsZone) {
  auto message = DumpConnectionsRequest(kZone);
  ASSERT_TRUE(message.ok()) << message.status();
  const auto header = *ReadStruct<nlmsghdr>(message->bytes());
  EXPECT_EQ(header.nlmsg_type, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET);
  EXPECT_EQ(header.nlmsg_flags, NLM_F_REQUEST | NLM_F_DUMP);
  EXPECT_TRUE(message->is_dump());
  EXPECT_EQ(Hex(Payload(*message)),
            "00000000"            // any family, version 0
            "06001200fa050000");  // CTA_ZONE
}

TEST(ConnectionRequests, AConnectionIsLookedForByItsTuple) {
  auto message = FindConnectionRequest(kZone, Web());
  ASSERT_TRUE(message.ok()) << message.status();
  const auto header = *ReadStruct<nlmsghdr>(message->bytes());
  EXPECT_EQ(header.nlmsg_type, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET);
  EXPECT_EQ(header.nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
  EXPECT_EQ(Hex(Payload(*message)),
            "02000000"            // IPv4
            "06001200fa050000"    // CTA_ZONE
            "34000180"            // CTA_TUPLE_ORIG
            "14000180"            // CTA_TUPLE_IP
            "080001000a000001"    // CTA_IP_V4_SRC
            "080002000a000002"    // CTA_IP_V4_DST
            "1c000280"            // CTA_TUPLE_PROTO
            "0500010006000000"    // CTA_PROTO_NUM
            "0600020012340000"    // CTA_PROTO_SRC_PORT
            "0600030000500000");  // CTA_PROTO_DST_PORT
}

TEST(ConnectionRequests, ADeletionHasTupleAndId) {
  Connection connection;
  connection.zone = kZone;
  connection.original = Ping6();
  connection.id = 0x01020304;
  auto message = DeleteConnectionRequest(connection);
  ASSERT_TRUE(message.ok()) << message.status();
  const auto header = *ReadStruct<nlmsghdr>(message->bytes());
  EXPECT_EQ(header.nlmsg_type, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE);
  EXPECT_EQ(header.nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
  EXPECT_EQ(Hex(Payload(*message)),
            "0a000000"                                  // IPv6
            "06001200fa050000"                          // CTA_ZONE
            "54000180"                                  // CTA_TUPLE_ORIG
            "2c000180"                                  // CTA_TUPLE_IP
            "1400030020010db8000000000000000000000001"  // CTA_IP_V6_SRC
            "1400040020010db8000000000000000000000002"  // CTA_IP_V6_DST
            "24000280"                                  // CTA_TUPLE_PROTO
            "050001003a000000"                          // CTA_PROTO_NUM
            "0600070001020000"                          // CTA_PROTO_ICMPV6_ID
            "0500080080000000"                          // CTA_PROTO_ICMPV6_TYPE
            "0500090000000000"                          // CTA_PROTO_ICMPV6_CODE
            "08000c0001020304");                        // CTA_ID
}

TEST(ConnectionRequests, WhatMustNotBeAskedIsRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(DumpConnectionsRequest(0).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(FindConnectionRequest(0, Web()).status()));
  ConnectionTuple mixed = Web();
  mixed.src = Ping6().src;
  EXPECT_TRUE(absl::IsInvalidArgument(FindConnectionRequest(kZone, mixed).status()));
  Connection connection;
  connection.original = Web();
  EXPECT_TRUE(absl::IsInvalidArgument(DeleteConnectionRequest(connection).status()));
  connection.zone = kZone;
  EXPECT_TRUE(DeleteConnectionRequest(connection).ok());
  connection.original = mixed;
  EXPECT_TRUE(absl::IsInvalidArgument(DeleteConnectionRequest(connection).status()));
}

// What the kernel says of a connection; a test changes a part of it.
struct Told {
  std::function<void(Message&)> original = [](Message& m) { Tuple(m, 1, 2, IPPROTO_TCP); };
  std::function<void(Message&)> reply = [](Message& m) { Tuple(m, 2, 1, IPPROTO_TCP); };
  std::optional<uint16_t> zone = kZone;
  std::optional<uint32_t> status = IPS_CONFIRMED;
  std::optional<uint32_t> id = 7;
  std::optional<uint8_t> tcp_state = 3;
  std::optional<uint32_t> timeout = 100;

  static void Tuple(Message& m, uint8_t from, uint8_t to, uint8_t protocol) {
    const uint8_t src[] = {10, 0, 0, from}, dst[] = {10, 0, 0, to};
    m.Begin(CTA_TUPLE_IP).Put(CTA_IP_V4_SRC, src).Put(CTA_IP_V4_DST, dst).End();
    m.Begin(CTA_TUPLE_PROTO).PutU8(CTA_PROTO_NUM, protocol);
    m.PutBe16(CTA_PROTO_SRC_PORT, from).PutBe16(CTA_PROTO_DST_PORT, to).End();
  }
  Message Make() const {
    Message m(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW, 0);
    m.Header(nfgenmsg{.nfgen_family = AF_INET, .version = NFNETLINK_V0, .res_id = 0});
    m.Begin(CTA_TUPLE_ORIG);
    original(m);
    m.End().Begin(CTA_TUPLE_REPLY);
    reply(m);
    m.End();
    if (zone) m.PutBe16(CTA_ZONE, *zone);
    if (status) m.PutBe32(CTA_STATUS, *status);
    if (id) m.PutBe32(CTA_ID, *id);
    if (timeout) m.PutBe32(CTA_TIMEOUT, *timeout);
    if (tcp_state) {
      m.Begin(CTA_PROTOINFO).Begin(CTA_PROTOINFO_TCP);
      m.PutU8(CTA_PROTOINFO_TCP_STATE, *tcp_state).End().End();
    }
    return m;
  }
  absl::StatusOr<std::optional<Connection>> Decoded() const {
    const Message message = Make();
    return DecodeConnection(Payload(message), kZone);
  }
};

TEST(DecodeConnection, ReadsAllOfIt) {
  Told told;
  told.status = IPS_CONFIRMED | IPS_SEEN_REPLY | IPS_ASSURED;
  auto decoded = told.Decoded();
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  ASSERT_TRUE(*decoded);
  Connection want;
  want.zone = kZone;
  want.original.src = want.reply.dst = *IpAddress::Parse("10.0.0.1");
  want.original.dst = want.reply.src = *IpAddress::Parse("10.0.0.2");
  want.original.protocol = want.reply.protocol = IPPROTO_TCP;
  want.original.src_port = want.reply.dst_port = 1;
  want.original.dst_port = want.reply.src_port = 2;
  want.confirmed = want.seen_reply = want.assured = true;
  want.tcp_state = "ESTABLISHED";
  want.timeout_s = 100;
  want.id = 7;
  EXPECT_EQ(**decoded, want);
}

TEST(DecodeConnection, OneInAFlowTableHasNoTimeAndNoTcp) {
  Told told;
  told.status = IPS_CONFIRMED | IPS_OFFLOAD | IPS_HW_OFFLOAD | IPS_DYING;
  told.timeout.reset();
  told.tcp_state.reset();
  auto decoded = told.Decoded();
  ASSERT_TRUE(decoded.ok() && *decoded) << decoded.status();
  EXPECT_TRUE((*decoded)->offloaded);
  EXPECT_TRUE((*decoded)->in_hardware);
  EXPECT_TRUE((*decoded)->dying);
  EXPECT_FALSE((*decoded)->seen_reply);
  EXPECT_FALSE((*decoded)->assured);
  EXPECT_EQ((*decoded)->timeout_s, 0u);
  EXPECT_EQ((*decoded)->tcp_state, "");
}

TEST(DecodeConnection, OfAnotherZoneNothingIsRead) {
  Told told;
  told.original = [](Message&) {};
  told.zone = kZone + 1;
  auto decoded = told.Decoded();
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_FALSE(*decoded);
  told.zone.reset();  // the host's own
  decoded = told.Decoded();
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_FALSE(*decoded);
}

TEST(DecodeConnection, ATcpStateThatIsNotKnownIsAsNone) {
  Told told;
  told.tcp_state = 9;
  EXPECT_EQ((**told.Decoded()).tcp_state, "SYN_SENT2");
  for (const uint8_t state : {10, 255}) {
    told.tcp_state = state;
    EXPECT_EQ((**told.Decoded()).tcp_state, "");
  }
}

TEST(DecodeConnection, WhatIsMalformedIsRefusedWithItsReason) {
  const auto refusal = [](const std::function<void(Told&)>& change) {
    Told told;
    change(told);
    const auto decoded = told.Decoded();
    EXPECT_TRUE(absl::IsDataLoss(decoded.status())) << decoded.status();
    return std::string(decoded.status().message());
  };
  EXPECT_THAT(refusal([](Told& t) { t.status.reset(); }), HasSubstr("no status"));
  EXPECT_THAT(refusal([](Told& t) { t.id.reset(); }), HasSubstr("no id"));
  EXPECT_THAT(refusal([](Told& t) { t.original = [](Message&) {}; }), HasSubstr("no address"));
  EXPECT_THAT(refusal([](Told& t) { t.reply = [](Message&) {}; }), HasSubstr("no address"));
  EXPECT_THAT(refusal([](Told& t) {
                t.reply = [](Message& m) {
                  const uint8_t v6[16] = {};
                  m.Begin(CTA_TUPLE_IP).Put(CTA_IP_V4_SRC, v6).Put(CTA_IP_V4_DST, v6).End();
                };
              }),
              HasSubstr("of another family"));
  EXPECT_THAT(refusal([](Told& t) {
                t.reply = [](Message& m) {
                  const uint8_t v4[4] = {}, v6[16] = {};
                  m.Begin(CTA_TUPLE_IP).Put(CTA_IP_V4_SRC, v4).Put(CTA_IP_V6_DST, v6).End();
                };
              }),
              HasSubstr("two families"));
  EXPECT_THAT(refusal([](Told& t) {
                t.reply = [](Message& m) {
                  const uint8_t v4[4] = {};
                  m.Begin(CTA_TUPLE_IP).Put(CTA_IP_V4_SRC, v4).Put(CTA_IP_V4_DST, v4).End();
                };
              }),
              HasSubstr("no protocol"));
  EXPECT_TRUE(absl::IsDataLoss(DecodeConnection({}, kZone).status()));
  // Cut anywhere it is read or refused, and nothing else.
  const Message whole = Told().Make();
  for (size_t size = 0; size < Payload(whole).size(); ++size) {
    (void)DecodeConnection(Payload(whole).first(size), kZone);
  }
}

MessageView ViewOf(const Message& message) {
  const auto header = *ReadStruct<nlmsghdr>(message.bytes());
  return {header.nlmsg_type, header.nlmsg_flags, header.nlmsg_seq, Payload(message)};
}

TEST(ConnectionDump, IsInOrderAndTellsOfEachOnce) {
  Told first, second, again, other;
  first.original = [](Message& m) { Told::Tuple(m, 9, 2, IPPROTO_TCP); };
  again.timeout = 50;
  other.zone = 3;
  Told same_tuple;
  same_tuple.id = 8;
  ConnectionDump dump(kZone);
  for (const Told& told : {first, second, again, other, same_tuple}) {
    const Message message = told.Make();
    dump.Take(ViewOf(message));
  }
  EXPECT_TRUE(dump.status.ok()) << dump.status;
  std::vector<std::pair<uint16_t, uint32_t>> seen;
  for (const Connection& connection : dump.Finish()) {
    seen.emplace_back(connection.original.src_port, connection.id);
  }
  EXPECT_THAT(seen, ElementsAre(std::pair(1, 7), std::pair(1, 8), std::pair(9, 7)));
}

TEST(ConnectionDump, EndsAtTheFirstThatIsMalformed) {
  Told good, bad;
  bad.id.reset();
  ConnectionDump dump(kZone);
  for (const Told& told : {good, bad, good}) {
    const Message message = told.Make();
    dump.Take(ViewOf(message));
  }
  EXPECT_TRUE(absl::IsDataLoss(dump.status)) << dump.status;
  EXPECT_THAT(dump.connections, SizeIs(1));
}

}  // namespace
}  // namespace fairlead::netlink
