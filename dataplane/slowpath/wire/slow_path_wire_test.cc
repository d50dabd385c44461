// SPDX-License-Identifier: Apache-2.0
#include "dataplane/slowpath/wire/slow_path_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "agent/base/test_types.h"
#include "agent/base/text.h"
#include "fairlead/v1/slow_path.pb.h"

namespace fairlead {
namespace {

using Kind = SlowPathKey::Kind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

SlowPathSubnet Subnet() {
  SlowPathSubnet out;
  out.id = "s";
  out.prefix4 = *IpPrefix::Parse("10.0.0.0/24");
  out.prefix6 = *IpPrefix::Parse("2001:db8::/64");
  out.gateway4 = Ip("10.0.0.1");
  out.gateway6 = Ip("2001:db8::1");
  out.dns_servers = {Ip("10.0.0.53"), Ip("2001:db8::53")};
  out.mtu = 1450;
  return out;
}

SlowPathPort Port() {
  SlowPathPort out;
  out.id = "web";
  out.subnet = "s";
  out.ifindex = 12;
  out.netdev = "pf0rep0";
  out.mac = MacAddress({0x52, 0x54, 0, 0, 0, 5});
  out.addresses = {Ip("10.0.0.5"), Ip("2001:db8::5")};
  out.pairs = {{std::nullopt, *IpPrefix::Parse("10.0.1.0/24")},
               {MacAddress({0x00, 0, 0x5e, 0, 1, 1}), *IpPrefix::Parse("::/0")}};
  out.host_name = "web-0";
  return out;
}

SlowPathNeighbour Neighbour(uint32_t i = 7) {
  const std::array<uint8_t, 4> address{10, static_cast<uint8_t>(i >> 16),
                                       static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)};
  return {"s", *IpAddress::FromBytes(address), MacAddress({0x52, 0x54, 0, 0, 0, 7})};
}

SlowPathUpdate Decode(const std::string& message, std::vector<std::string>* problems) {
  const absl::StatusOr<SlowPathUpdate> update = DecodeSlowPathUpdate(message, problems);
  EXPECT_TRUE(update.ok()) << update.status();
  return update.ok() ? *update : SlowPathUpdate{};
}

TEST(SlowPathWireTest, WhatIsWrittenIsRead) {
  SlowPathSubnet four = Subnet();
  four.id = "four";
  four.prefix6.reset();
  four.gateway6.reset();
  four.dns_servers.clear();
  SlowPathPort bare = Port();
  bare.pairs.clear();
  bare.addresses.clear();
  bare.host_name = bare.netdev = "";
  const std::vector<SlowPathEntry> put = {Subnet(), four, Port(), bare, Neighbour()};
  const std::vector<SlowPathKey> remove = {
      {Kind::kSubnet, "a", {}}, {Kind::kPort, "b", {}}, {Kind::kNeighbour, "c", Ip("2001:db8::7")}};
  const std::vector<uint32_t> keep = {7, 0xffffffff};
  const auto messages = EncodeSlowPathUpdates(5, true, false, put, remove, keep);
  ASSERT_TRUE(messages.ok()) << messages.status();
  ASSERT_EQ(messages->size(), 1U);
  std::vector<std::string> problems;
  const SlowPathUpdate update = Decode(messages->front(), &problems);
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_EQ(update.sequence, 5U);
  EXPECT_TRUE(update.begin);
  EXPECT_FALSE(update.whole);
  EXPECT_EQ(update.put, put);
  EXPECT_EQ(update.remove, remove);
  EXPECT_EQ(update.keep, keep);
}

TEST(SlowPathWireTest, ALongTellingIsCutIntoMessages) {
  std::vector<SlowPathEntry> put;
  for (uint32_t i = 1; i <= 3500; ++i) put.emplace_back(Neighbour(i));
  const auto messages = EncodeSlowPathUpdates(1, true, true, put, {});
  ASSERT_TRUE(messages.ok());
  ASSERT_EQ(messages->size(), 4U);
  std::vector<std::string> problems;
  std::vector<SlowPathEntry> got;
  for (size_t i = 0; i < 4; ++i) {
    SlowPathUpdate update = Decode((*messages)[i], &problems);
    EXPECT_EQ(update.sequence, i + 1);
    EXPECT_EQ(update.begin, i == 0);
    EXPECT_EQ(update.whole, i == 3);
    got.insert(got.end(), update.put.begin(), update.put.end());
  }
  EXPECT_EQ(got, put);
}

TEST(SlowPathWireTest, MessagesOfTheLargestPortsKeepToTheirSize) {
  SlowPathPort large = Port();
  large.id = large.subnet = large.host_name = std::string(63, 'x');
  large.netdev = std::string(127, 'n');
  large.addresses.assign(16, Ip("2001:db8::5"));
  large.pairs.assign(32, {large.mac, *IpPrefix::Parse("2001:db8::/128")});
  const std::vector<SlowPathEntry> put(1000, large);
  const auto messages = EncodeSlowPathUpdates(1, false, false, put, {});
  ASSERT_TRUE(messages.ok());
  EXPECT_GT(messages->size(), 1U);
  size_t entries = 0;
  for (const std::string& message : *messages) {
    EXPECT_LE(message.size(), kMaxSlowPathMessage);
    std::vector<std::string> problems;
    entries += Decode(message, &problems).put.size();
    EXPECT_THAT(problems, IsEmpty());
  }
  EXPECT_EQ(entries, put.size());
}

TEST(SlowPathWireTest, NothingToTellIsAMessageAllTheSame) {
  const auto messages = EncodeSlowPathUpdates(9, true, true, {}, {});
  ASSERT_TRUE(messages.ok());
  EXPECT_EQ(messages->size(), 1U);
}

TEST(SlowPathWireTest, Replies) {
  SlowPathReply reply;
  reply.sequence = 3;
  reply.report.problems = {"a", "b"};
  reply.report.deaf_ports = {"port web: netdev 'x': gone"};
  reply.report.counters = {1, 2, 3, 4, 5, 6, 7};
  const auto read = DecodeSlowPathReply(EncodeSlowPathReply(reply));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->sequence, 3U);
  EXPECT_EQ(read->report.problems, reply.report.problems);
  EXPECT_EQ(read->report.deaf_ports, reply.report.deaf_ports);
  EXPECT_EQ(read->report.counters, reply.report.counters);
  EXPECT_FALSE(DecodeSlowPathReply("\xff\xff").ok());
}

TEST(SlowPathWireTest, ARepliesTextsAreBounded) {
  SlowPathReply reply;
  reply.report.problems.assign(1000, std::string(1000, 'x'));
  const auto read = DecodeSlowPathReply(EncodeSlowPathReply(reply));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->report.problems.size(), kMaxSlowPathTold);
  EXPECT_LE(read->report.problems[0].size(), 256U);
}

struct BadEntry {
  const char* name;
  std::function<void(v1::SlowPathUpdate*)> make;
  const char* words;
};

v1::SlowPathUpdate Good() {
  v1::SlowPathUpdate out;
  const std::vector<SlowPathEntry> put = {Subnet(), Port(), Neighbour()};
  EXPECT_TRUE(out.ParseFromString(EncodeSlowPathUpdates(1, true, true, put, {})->front()));
  return out;
}

TEST(SlowPathWireTest, EveryFieldIsChecked) {
  const auto subnet = [](v1::SlowPathUpdate* u) { return u->mutable_put(0)->mutable_subnet(); };
  const auto port = [](v1::SlowPathUpdate* u) { return u->mutable_put(1)->mutable_port(); };
  const auto neighbour = [](v1::SlowPathUpdate* u) {
    return u->mutable_put(2)->mutable_neighbour();
  };
  const std::string group("\x01\0\0\0\0\0", 6), six("\0\0\0\0\0\0", 6);
  const BadEntry cases[] = {
      {"subnet id", [&](auto* u) { subnet(u)->set_id(""); }, "the id is empty"},
      {"subnet id", [&](auto* u) { subnet(u)->set_id(std::string(64, 'x')); }, "too long"},
      {"prefix4", [&](auto* u) { subnet(u)->set_prefix4("abc"); }, "has 3 bytes"},
      {"prefix4 length", [&](auto* u) { subnet(u)->set_prefix4_length(33); }, "0 to 32"},
      {"prefix6 length", [&](auto* u) { subnet(u)->set_prefix6_length(4000000000U); }, "0 to 128"},
      {"host bits", [&](auto* u) { subnet(u)->set_prefix4_length(4); }, "host bits"},
      {"prefix family",
       [&](auto* u) {
         subnet(u)->set_prefix4(subnet(u)->prefix6()), subnet(u)->set_prefix4_length(32);
       },
       "of the other family"},
      {"no prefix",
       [&](auto* u) {
         subnet(u)->Clear();
         subnet(u)->set_id("s");
         subnet(u)->set_mtu(1500);
       },
       "has no prefix"},
      {"a length without prefix", [&](auto* u) { subnet(u)->clear_prefix4(); }, "has 0 bytes"},
      {"gateway", [&](auto* u) { subnet(u)->set_gateway4("\x0a\x01\x01\x01"); }, "is not in"},
      {"gateway", [&](auto* u) { subnet(u)->set_gateway6("x"); }, "has 1 bytes"},
      {"gateway family", [&](auto* u) { subnet(u)->set_gateway6(subnet(u)->gateway4()); },
       "is not in"},
      {"DNS", [&](auto* u) { subnet(u)->add_dns_servers("x"); }, "has 1 bytes"},
      {"DNS",
       [&](auto* u) {
         for (int i = 0; i < 7; ++i) subnet(u)->add_dns_servers("abcd");
       },
       "9 DNS servers; 8"},
      {"MTU", [&](auto* u) { subnet(u)->set_mtu(575); }, "MTU 575"},
      {"MTU", [&](auto* u) { subnet(u)->set_mtu(65536); }, "MTU 65536"},
      {"port id", [&](auto* u) { port(u)->set_id("a b"); }, "may hold only"},
      {"port's subnet", [&](auto* u) { port(u)->set_subnet("-"); }, "its subnet"},
      {"ifindex", [&](auto* u) { port(u)->set_ifindex(0); }, "index of a netdev"},
      {"ifindex", [&](auto* u) { port(u)->set_ifindex(0x80000000U); }, "index of a netdev"},
      {"netdev", [&](auto* u) { port(u)->set_netdev(std::string(128, 'x')); }, "127"},
      {"netdev", [&](auto* u) { port(u)->set_netdev("a b"); }, "cannot be printed"},
      {"MAC", [&](auto* u) { port(u)->set_mac("abc"); }, "has 3 bytes"},
      {"MAC", [&](auto* u) { port(u)->set_mac(group); }, "not a station's"},
      {"MAC", [&](auto* u) { port(u)->set_mac(six); }, "not a station's"},
      {"address", [&](auto* u) { port(u)->add_addresses("abcde"); }, "has 5 bytes"},
      {"addresses",
       [&](auto* u) {
         for (int i = 0; i < 15; ++i) port(u)->add_addresses("abcd");
       },
       "17 addresses; 16"},
      {"pairs",
       [&](auto* u) {
         for (int i = 0; i < 31; ++i) port(u)->add_pairs()->set_prefix("abcd");
       },
       "33 address pairs; 32"},
      {"pair", [&](auto* u) { port(u)->add_pairs(); }, "has 0 bytes"},
      {"pair's MAC", [&](auto* u) { port(u)->mutable_pairs(0)->set_mac(group); },
       "not a station's"},
      {"pair's MAC", [&](auto* u) { port(u)->mutable_pairs(0)->set_mac("x"); }, "has 1 bytes"},
      {"host name", [&](auto* u) { port(u)->set_host_name("a\nb"); }, "its host name"},
      {"neighbour's subnet", [&](auto* u) { neighbour(u)->set_subnet("/"); }, "must begin"},
      {"neighbour's address", [&](auto* u) { neighbour(u)->set_address(""); }, "has 0 bytes"},
      {"neighbour's address", [&](auto* u) { neighbour(u)->set_address("\xe0zzz"); },
       "nobody's address"},
      {"neighbour's MAC", [&](auto* u) { neighbour(u)->set_mac(six); }, "not a station's"},
      {"nothing", [&](auto* u) { u->mutable_put(2)->clear_entry(); }, "says nothing"},
  };
  for (const BadEntry& bad : cases) {
    SCOPED_TRACE(StrCat(bad.name, ": ", bad.words));
    v1::SlowPathUpdate message = Good();
    bad.make(&message);
    std::vector<std::string> problems;
    const SlowPathUpdate update = Decode(message.SerializeAsString(), &problems);
    EXPECT_EQ(update.put.size(), 2U);  // the others stand
    EXPECT_THAT(problems, ElementsAre(HasSubstr(bad.words)));
  }
}

TEST(SlowPathWireTest, ANetdevOfWhateverNameCanBeTold) {
  SlowPathPort port = Port();
  port.netdev = "rep\xff\n\xc3";
  const auto messages = EncodeSlowPathUpdates(1, true, true, std::vector<SlowPathEntry>{port}, {});
  ASSERT_TRUE(messages.ok());
  std::vector<std::string> problems;
  const SlowPathUpdate update = Decode(messages->front(), &problems);
  ASSERT_EQ(update.put.size(), 1U);
  EXPECT_EQ(std::get<SlowPathPort>(update.put[0]).netdev, "rep???");
}

TEST(SlowPathWireTest, KeysAreChecked) {
  v1::SlowPathUpdate message;
  message.add_remove();
  message.add_remove()->set_port("");
  message.add_remove()->set_subnet("a/b");
  message.add_remove()->mutable_neighbour()->set_subnet("s");
  message.add_remove()->set_port("good");
  std::vector<std::string> problems;
  const SlowPathUpdate update = Decode(message.SerializeAsString(), &problems);
  EXPECT_THAT(update.remove, ElementsAre(SlowPathKey{Kind::kPort, "good", {}}));
  EXPECT_EQ(problems.size(), 4U);
}

TEST(SlowPathWireTest, WhatIsNoUpdate) {
  std::vector<std::string> problems;
  EXPECT_FALSE(DecodeSlowPathUpdate("\xff", &problems).ok());
  EXPECT_FALSE(DecodeSlowPathUpdate(std::string(kMaxSlowPathMessage + 1, 0), &problems).ok());
  v1::SlowPathUpdate many;
  for (size_t i = 0; i <= kMaxSlowPathEntries; ++i) many.add_put();
  EXPECT_FALSE(DecodeSlowPathUpdate(many.SerializeAsString(), &problems).ok());
  v1::SlowPathUpdate bad;
  for (size_t i = 0; i < kMaxSlowPathEntries; ++i) bad.add_put();
  EXPECT_TRUE(DecodeSlowPathUpdate(bad.SerializeAsString(), &problems).ok());
  EXPECT_EQ(problems.size(), kMaxSlowPathTold);
}

TEST(SlowPathWireTest, WhatNoMessageHoldsIsNotWritten) {
  SlowPathPort port = Port();
  port.ifindex = 0;
  const auto messages = EncodeSlowPathUpdates(1, true, true, std::vector<SlowPathEntry>{port}, {});
  EXPECT_EQ(messages.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(messages.status().message()), HasSubstr("port web"));
  EXPECT_FALSE(
      EncodeSlowPathUpdates(1, false, false, {}, std::vector<SlowPathKey>{{Kind::kPort, "", {}}})
          .ok());
}

}  // namespace
}  // namespace fairlead
