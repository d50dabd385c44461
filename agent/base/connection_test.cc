// SPDX-License-Identifier: Apache-2.0
#include "agent/base/connection.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

TEST(ConnectionTuple, IsSaidInWords) {
  ConnectionTuple tuple;
  tuple.src = *IpAddress::Parse("10.0.0.1");
  tuple.dst = *IpAddress::Parse("10.0.0.2");
  tuple.src_port = 4660;
  tuple.dst_port = 80;
  tuple.icmp_id = 258;
  const auto as = [&](uint8_t protocol) {
    tuple.protocol = protocol;
    return tuple.ToString();
  };
  EXPECT_EQ(as(6), "TCP 10.0.0.1:4660 -> 10.0.0.2:80");
  EXPECT_EQ(as(132), "SCTP 10.0.0.1:4660 -> 10.0.0.2:80");
  EXPECT_EQ(as(136), "protocol 136 10.0.0.1:4660 -> 10.0.0.2:80");
  EXPECT_EQ(as(1), "ICMP 10.0.0.1 -> 10.0.0.2 type 0 code 0 id 258");
  tuple.src = *IpAddress::Parse("2001:db8::1");
  tuple.dst = *IpAddress::Parse("2001:db8::2");
  tuple.icmp_type = 128;
  EXPECT_EQ(as(17), "UDP [2001:db8::1]:4660 -> [2001:db8::2]:80");
  EXPECT_EQ(as(58), "ICMPv6 2001:db8::1 -> 2001:db8::2 type 128 code 0 id 258");
  tuple.src_port = tuple.dst_port = 0;
  EXPECT_EQ(as(50), "protocol 50 2001:db8::1 -> 2001:db8::2");
}

}  // namespace
}  // namespace fairlead
