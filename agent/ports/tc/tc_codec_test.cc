// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a rule, attribute by attribute, as uapi/linux/pkt_cls.h and
// `tc` have them.
#include "agent/ports/tc/tc_codec.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_gact.h>
#include <linux/tc_act/tc_mirred.h>
#include <linux/tc_act/tc_tunnel_key.h>

namespace fairlead::netlink {
namespace {

Bytes Payload(const Message& message) { return message.bytes().subspan(sizeof(nlmsghdr)); }

TcFilter Sample() {
  TcFilter filter;
  filter.id = {.chain = 3, .priority = 2000, .handle = 0x12};
  filter.match.ethertype = 0x0800;
  filter.match.indev = "rep0";
  filter.match.dst_mac = *MacAddress::Parse("52:54:00:00:00:02");
  filter.match.src_ip = *IpPrefix::Parse("10.1.0.0/20");
  filter.match.enc_key_id = 1000;
  filter.match.enc_dst = *IpAddress::Parse("192.0.2.1");
  filter.match.enc_dst_port = 4789;
  filter.actions = {TcTunnelSet{.key_id = 1000,
                                .src = *IpAddress::Parse("192.0.2.1"),
                                .dst = *IpAddress::Parse("192.0.2.2"),
                                .dst_port = 4789,
                                .ttl = 64,
                                .no_csum = true},
                    TcMirred{.ifindex = 9, .redirect = false}, TcTunnelUnset{},
                    TcMirred{.ifindex = 10, .redirect = true}};
  filter.flags = TcFilter::Flags::kSkipSw;
  for (size_t i = 0; i < filter.cookie.size(); ++i) filter.cookie[i] = static_cast<uint8_t>(i);
  return filter;
}

TEST(PutFilterRequest, HasTheHeaderOfABlock) {
  auto message = PutFilterRequest({.block = 77, .ifindex = 0}, Sample());
  ASSERT_TRUE(message.ok()) << message.status();
  const auto netlink = *ReadStruct<nlmsghdr>(message->bytes());
  EXPECT_EQ(netlink.nlmsg_type, RTM_NEWTFILTER);
  EXPECT_EQ(netlink.nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE);
  const auto header = *ReadStruct<tcmsg>(Payload(*message));
  EXPECT_EQ(static_cast<uint32_t>(header.tcm_ifindex), TCM_IFINDEX_MAGIC_BLOCK);
  EXPECT_EQ(header.tcm_block_index, 77u);
  EXPECT_EQ(header.tcm_handle, 0x12u);
  EXPECT_EQ(header.tcm_info, (2000u << 16) | htons(0x0800));
}

TEST(PutFilterRequest, HasTheHeaderOfADevicesIngress) {
  auto message = PutFilterRequest({.block = 0, .ifindex = 5}, Sample());
  ASSERT_TRUE(message.ok());
  const auto header = *ReadStruct<tcmsg>(Payload(*message));
  EXPECT_EQ(header.tcm_ifindex, 5);
  EXPECT_EQ(header.tcm_parent, 0xfffffff2u);  // ffff:fff2, as `tc ... ingress`
}

TEST(PutFilterRequest, HasEveryKeyAndAction) {
  auto message = PutFilterRequest({.block = 77, .ifindex = 0}, Sample());
  ASSERT_TRUE(message.ok());
  DecodeError error;
  AttributeSet top(AfterHeader(Payload(*message), sizeof(tcmsg)), &error);
  EXPECT_EQ(top.String(TCA_KIND, 15), "flower");
  EXPECT_EQ(top.U32(TCA_CHAIN), 3u);
  AttributeSet flower = top.Nested(TCA_OPTIONS);
  EXPECT_EQ(flower.String(TCA_FLOWER_INDEV, 15), "rep0");
  EXPECT_EQ(flower.Be16(TCA_FLOWER_KEY_ETH_TYPE), 0x0800);
  EXPECT_EQ(flower.Mac(TCA_FLOWER_KEY_ETH_DST), Sample().match.dst_mac);
  EXPECT_EQ(flower.Mac(TCA_FLOWER_KEY_ETH_DST_MASK), *MacAddress::Parse("ff:ff:ff:ff:ff:ff"));
  EXPECT_EQ(flower.Ip(TCA_FLOWER_KEY_IPV4_SRC), *IpAddress::Parse("10.1.0.0"));
  EXPECT_EQ(flower.Ip(TCA_FLOWER_KEY_IPV4_SRC_MASK), *IpAddress::Parse("255.255.240.0"));
  EXPECT_EQ(flower.Be32(TCA_FLOWER_KEY_ENC_KEY_ID), 1000u);
  EXPECT_EQ(flower.Ip(TCA_FLOWER_KEY_ENC_IPV4_DST), *IpAddress::Parse("192.0.2.1"));
  EXPECT_EQ(flower.Be16(TCA_FLOWER_KEY_ENC_UDP_DST_PORT), 4789);
  EXPECT_EQ(flower.Be16(TCA_FLOWER_KEY_ENC_UDP_DST_PORT_MASK), 0xffff);
  EXPECT_EQ(flower.U32(TCA_FLOWER_FLAGS), uint32_t{TCA_CLS_FLAGS_SKIP_SW});

  AttributeSet actions = flower.Nested(TCA_FLOWER_ACT);
  AttributeSet set = actions.Nested(1);
  EXPECT_EQ(set.String(TCA_ACT_KIND, 15), "tunnel_key");
  AttributeSet options = set.Nested(TCA_ACT_OPTIONS);
  const auto tunnel = *options.Struct<tc_tunnel_key>(TCA_TUNNEL_KEY_PARMS);
  EXPECT_EQ(tunnel.action, TC_ACT_PIPE);
  EXPECT_EQ(tunnel.t_action, TCA_TUNNEL_KEY_ACT_SET);
  EXPECT_EQ(options.Be32(TCA_TUNNEL_KEY_ENC_KEY_ID), 1000u);
  EXPECT_EQ(options.Ip(TCA_TUNNEL_KEY_ENC_IPV4_DST), *IpAddress::Parse("192.0.2.2"));
  EXPECT_EQ(options.Be16(TCA_TUNNEL_KEY_ENC_DST_PORT), 4789);
  EXPECT_EQ(options.U8(TCA_TUNNEL_KEY_NO_CSUM), 1);
  EXPECT_EQ(options.U8(TCA_TUNNEL_KEY_ENC_TTL), 64);
  EXPECT_EQ(set.Struct<TcCookie>(TCA_ACT_COOKIE), Sample().cookie);

  const auto mirror =
      *actions.Nested(2).Nested(TCA_ACT_OPTIONS).Struct<tc_mirred>(TCA_MIRRED_PARMS);
  EXPECT_EQ(mirror.action, TC_ACT_PIPE);
  EXPECT_EQ(mirror.eaction, TCA_EGRESS_MIRROR);
  EXPECT_EQ(mirror.ifindex, 9u);
  EXPECT_FALSE(actions.Nested(2).Has(TCA_ACT_COOKIE));
  const auto release =
      *actions.Nested(3).Nested(TCA_ACT_OPTIONS).Struct<tc_tunnel_key>(TCA_TUNNEL_KEY_PARMS);
  EXPECT_EQ(release.t_action, TCA_TUNNEL_KEY_ACT_RELEASE);
  const auto redirect =
      *actions.Nested(4).Nested(TCA_ACT_OPTIONS).Struct<tc_mirred>(TCA_MIRRED_PARMS);
  EXPECT_EQ(redirect.action, TC_ACT_STOLEN);
  EXPECT_EQ(redirect.eaction, TCA_EGRESS_REDIR);
  EXPECT_TRUE(error.ok());
}

TEST(PutFilterRequest, VerdictsAreTheKernels) {
  auto action = [](const TcGact& gact) {
    TcFilter filter;
    filter.id = {.chain = 0, .priority = 1, .handle = 1};
    filter.actions = {gact};
    auto message = PutFilterRequest({.block = 1, .ifindex = 0}, filter);
    DecodeError error;
    AttributeSet top(AfterHeader(Payload(*message), sizeof(tcmsg)), &error);
    return top.Nested(TCA_OPTIONS)
        .Nested(TCA_FLOWER_ACT)
        .Nested(1)
        .Nested(TCA_ACT_OPTIONS)
        .Struct<tc_gact>(TCA_GACT_PARMS)
        ->action;
  };
  EXPECT_EQ(action({.verdict = TcGact::Verdict::kDrop, .chain = 0}), TC_ACT_SHOT);
  EXPECT_EQ(action({.verdict = TcGact::Verdict::kContinue, .chain = 0}), TC_ACT_UNSPEC);
  EXPECT_EQ(action({.verdict = TcGact::Verdict::kGotoChain, .chain = 5}), TC_ACT_GOTO_CHAIN | 5);
}

TEST(PutFilterRequest, WhatIsPutIsReadBack) {
  auto message = PutFilterRequest({.block = 77, .ifindex = 0}, Sample());
  auto filter = DecodeFilter(Payload(*message));
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->at, (TcAttachPoint{77, 0}));
  EXPECT_EQ(filter->info.id, Sample().id);
  EXPECT_EQ(filter->info.ethertype, 0x0800);
  EXPECT_EQ(filter->info.kind, "flower");
  EXPECT_EQ(filter->info.cookie, Sample().cookie);
  EXPECT_FALSE(filter->info.in_hw);
}

TEST(CheckFilter, KeysMustGoTogether) {
  auto refused = [](const std::function<void(TcFilter&)>& change) {
    TcFilter filter = Sample();
    change(filter);
    return CheckFilter(filter).code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_FALSE(refused([](TcFilter&) {}));
  EXPECT_TRUE(refused([](TcFilter& f) { f.match.ethertype = 0x86dd; }));
  EXPECT_TRUE(refused([](TcFilter& f) { f.match.arp_target = *IpPrefix::Parse("10.0.0.0/8"); }));
  EXPECT_TRUE(refused([](TcFilter& f) { f.match.icmpv6_type = 135; }));
  EXPECT_TRUE(refused([](TcFilter& f) { f.match.indev = "sixteencharacter"; }));
  EXPECT_TRUE(refused([](TcFilter& f) { f.match.enc_key_id = 1U << 24; }));
  EXPECT_TRUE(refused([](TcFilter& f) { f.id.handle = 0; }));
  EXPECT_TRUE(refused([](TcFilter& f) { f.id.chain = 0x10000000; }));
  EXPECT_TRUE(refused([](TcFilter& f) { f.actions.pop_back(); }));
  EXPECT_TRUE(refused([](TcFilter& f) { f.actions = {TcMirred{.ifindex = 0, .redirect = true}}; }));
  EXPECT_TRUE(refused([](TcFilter& f) {
    std::get<TcTunnelSet>(f.actions[0]).src = *IpAddress::Parse("2001:db8::1");
  }));
}

TEST(DecodeFilter, ReadsWhatHardwareTook) {
  Message message(RTM_NEWTFILTER, 0);
  tcmsg header{};
  header.tcm_ifindex = 5;
  message.Header(header)
      .PutString(TCA_KIND, "flower")
      .Begin(TCA_OPTIONS)
      .PutU32(TCA_FLOWER_FLAGS, TCA_CLS_FLAGS_IN_HW)
      .PutU32(TCA_FLOWER_IN_HW_COUNT, 3)
      .End();
  auto filter = DecodeFilter(Payload(message));
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_TRUE(filter->info.in_hw);
  EXPECT_EQ(filter->info.in_hw_count, 3u);
}

TEST(DecodeFilter, ACookieOfAnotherLengthIsForeign) {
  Message message(RTM_NEWTFILTER, 0);
  message.Header(tcmsg{})
      .PutString(TCA_KIND, "flower")
      .Begin(TCA_OPTIONS)
      .Begin(TCA_FLOWER_ACT)
      .Begin(1)
      .PutU32(TCA_ACT_COOKIE, 1)
      .End()
      .End()
      .End();
  auto filter = DecodeFilter(Payload(message));
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_FALSE(filter->info.cookie.has_value());
}

TEST(DecodeFilter, OptionsOfAForeignKindAreNotRead) {
  Message message(RTM_NEWTFILTER, 0);
  // What would be a broken flower filter.
  message.Header(tcmsg{}).PutString(TCA_KIND, "bpf").PutU8(TCA_OPTIONS, 1);
  auto filter = DecodeFilter(Payload(message));
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(filter->info.kind, "bpf");
}

TEST(DecodeTcEvent, AFilterAtEgressIsNoneOfOurs) {
  Message message(RTM_NEWTFILTER, 0);
  tcmsg header{};
  header.tcm_ifindex = 5;
  header.tcm_parent = 0x00010000;  // a classful qdisc 1:
  message.Header(header).PutString(TCA_KIND, "flower");
  auto event = DecodeTcEvent(SplitDatagram(message.bytes())->front());
  ASSERT_TRUE(event.ok());
  EXPECT_FALSE(event->has_value());
}

}  // namespace
}  // namespace fairlead::netlink
