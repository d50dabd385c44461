// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/conntrack/conntrack_codec.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "agent/ports/conntrack/fake_conntrack.h"

namespace fairlead {
namespace {

using netlink::Message;

IpAddress Ip(const char* text) { return *IpAddress::Parse(text); }

// What the kernel would say of a connection, built of the same attributes.
std::vector<uint8_t> Said(const ConnectionTuple& original, uint16_t zone, bool with_reply = true) {
  Message message(0, 0);
  nfgenmsg header{};
  header.nfgen_family = original.src.is_v4() ? AF_INET : AF_INET6;
  message.Header(header);
  const auto tuple = [&](uint16_t type, const ConnectionTuple& t) {
    const bool v4 = t.src.is_v4();
    message.Begin(type)
        .Begin(CTA_TUPLE_IP)
        .PutIp(v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, t.src)
        .PutIp(v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, t.dst)
        .End()
        .Begin(CTA_TUPLE_PROTO)
        .PutU8(CTA_PROTO_NUM, t.protocol);
    if (t.protocol == 58) {
      message.PutBe16(CTA_PROTO_ICMPV6_ID, t.icmp_id).PutU8(CTA_PROTO_ICMPV6_TYPE, t.icmp_type);
    } else {
      message.PutBe16(CTA_PROTO_SRC_PORT, t.src_port).PutBe16(CTA_PROTO_DST_PORT, t.dst_port);
    }
    message.End().End();
  };
  tuple(CTA_TUPLE_ORIG, original);
  if (with_reply) tuple(CTA_TUPLE_REPLY, ReplyOf(original));
  message.PutBe32(CTA_STATUS, 2 | 4 | 8 | 1U << 14).PutBe32(CTA_TIMEOUT, 99).PutBe32(CTA_ID, 7);
  if (zone != 0) message.PutBe16(CTA_ZONE, zone);
  message.Begin(CTA_PROTOINFO)
      .Begin(CTA_PROTOINFO_TCP)
      .PutU8(CTA_PROTOINFO_TCP_STATE, 3)
      .End()
      .End();
  const netlink::Bytes bytes = message.bytes().subspan(sizeof(nlmsghdr));
  return {bytes.begin(), bytes.end()};
}

ConnectionTuple Web() {
  return {.src = Ip("10.0.0.5"),
          .dst = Ip("10.0.0.6"),
          .protocol = 6,
          .src_port = 40000,
          .dst_port = 443};
}

TEST(ConntrackCodec, AConnectionIsReadWithItsStateAndItsPlace) {
  const auto seen = netlink::DecodeConnection(Said(Web(), 0x4601));
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->zone, 0x4601);
  EXPECT_EQ(seen->original, Web());
  EXPECT_EQ(seen->reply, ReplyOf(Web()));
  EXPECT_TRUE(seen->seen_reply && seen->assured && seen->confirmed && seen->offloaded);
  EXPECT_FALSE(seen->in_hardware || seen->dying);
  EXPECT_EQ(seen->tcp_state, "ESTABLISHED");
  EXPECT_EQ(seen->id, 7U);
  EXPECT_EQ(seen->timeout_s, 99U);
}

TEST(ConntrackCodec, APingOfIpv6IsReadByItsIdentifier) {
  const ConnectionTuple ping{
      .src = Ip("fd00::5"), .dst = Ip("fd00::6"), .protocol = 58, .icmp_type = 128, .icmp_id = 17};
  const auto seen = netlink::DecodeConnection(Said(ping, 1));
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->original, ping);
  EXPECT_EQ(seen->reply.icmp_type, 129);
}

TEST(ConntrackCodec, WhatIsMalformedIsRefusedWithWhatIsMissing) {
  const std::vector<uint8_t> whole = Said(Web(), 1);
  for (size_t size = 0; size < whole.size(); ++size) {
    (void)netlink::DecodeConnection(std::span(whole).first(size));
  }
  const auto half = netlink::DecodeConnection(Said(Web(), 1, /*with_reply=*/false));
  EXPECT_EQ(half.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(half.status().message().find("addresses"), std::string::npos) << half.status();
  EXPECT_EQ(netlink::DecodeConnection({}).status().code(), absl::StatusCode::kDataLoss);
}

// What the kernel would find by a request is what the request was made of.
TEST(ConntrackCodec, ADeletionNamesZoneTupleAndId) {
  Connection connection;
  connection.zone = 0x4602;
  connection.original = Web();
  connection.reply = ReplyOf(Web());
  connection.id = 0x12345678;
  Message request = netlink::DeleteConnectionRequest(connection);
  ASSERT_TRUE(request.status().ok());
  netlink::DecodeError error;
  const netlink::Bytes payload = request.bytes().subspan(sizeof(nlmsghdr));
  EXPECT_EQ(payload[0], AF_INET);
  const netlink::AttributeSet attributes(netlink::AfterHeader(payload, sizeof(nfgenmsg)), &error);
  EXPECT_EQ(attributes.Be16(CTA_ZONE), 0x4602);
  EXPECT_EQ(attributes.Be32(CTA_ID), 0x12345678U);
  const auto proto = attributes.Nested(CTA_TUPLE_ORIG).Nested(CTA_TUPLE_PROTO);
  EXPECT_EQ(proto.Be16(CTA_PROTO_SRC_PORT), 40000);
  EXPECT_EQ(proto.Be16(CTA_PROTO_DST_PORT), 443);
  EXPECT_TRUE(error.ok());
}

TEST(FakeConntrackPort, TheHostsOwnZoneIsRefused) {
  FakeConntrack conntrack;
  FakeConntrackPort port(&conntrack);
  EXPECT_EQ(port.Dump(0).status().code(), absl::StatusCode::kInvalidArgument);
  Connection host;
  EXPECT_EQ(port.Delete({&host, 1}).front().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace fairlead
