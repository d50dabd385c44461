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
#include <linux/tc_act/tc_csum.h>
#include <linux/tc_act/tc_ct.h>
#include <linux/tc_act/tc_gact.h>
#include <linux/tc_act/tc_mirred.h>
#include <linux/tc_act/tc_pedit.h>
#include <linux/tc_act/tc_tunnel_key.h>
#include <linux/tc_act/tc_vlan.h>

#include <functional>
#include <map>
#include <string>

#include "absl/strings/escaping.h"
#include "agent/base/text.h"

namespace fairlead::netlink {
namespace {

Bytes Payload(const Message& message) { return message.bytes().subspan(sizeof(nlmsghdr)); }

TcPedit Route(bool v6) {
  return {.eth_src = *MacAddress::Parse("02:00:00:00:00:01"),
          .eth_dst = *MacAddress::Parse("52:54:00:00:01:0a"),
          .v6 = v6};
}
TcTunnelSet Tunnel() {
  return {.key_id = 1000,
          .src = *IpAddress::Parse("192.0.2.1"),
          .dst = *IpAddress::Parse("192.0.2.2"),
          .dst_port = 4789,
          .ttl = 64,
          .no_csum = true};
}

TcFilter Sample() {
  TcFilter filter;
  filter.id = {.chain = 3, .priority = 2000, .handle = 0x12};
  filter.match.ethertype = 0x0800;
  filter.match.indev = "rep0";
  filter.match.src_mac = *MacAddress::Parse("52:54:00:00:00:01");
  filter.match.dst_mac = *MacAddress::Parse("52:54:00:00:00:02");
  filter.match.src_ip = *IpPrefix::Parse("10.1.0.0/20");
  filter.match.dst_ip = *IpPrefix::Parse("10.2.0.0/15");
  filter.match.ttl_expiring = true;
  filter.match.ip_proto = 17;
  filter.match.dst_port = TcPortMask{53};
  filter.match.enc_key_id = 1000;
  filter.match.enc_src = *IpPrefix::Parse("192.0.2.0/25");
  filter.match.enc_dst = *IpAddress::Parse("192.0.2.1");
  filter.match.enc_dst_port = 4789;
  filter.actions = {TcTunnelUnset{}, Route(false), TcCsum{}, Tunnel(), TcMirred{.ifindex = 10}};
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
  EXPECT_EQ(flower.Mac(TCA_FLOWER_KEY_ETH_SRC), Sample().match.src_mac);
  EXPECT_EQ(flower.Mac(TCA_FLOWER_KEY_ETH_SRC_MASK), *MacAddress::Parse("ff:ff:ff:ff:ff:ff"));
  EXPECT_EQ(flower.Mac(TCA_FLOWER_KEY_ETH_DST), Sample().match.dst_mac);
  EXPECT_EQ(flower.Mac(TCA_FLOWER_KEY_ETH_DST_MASK), *MacAddress::Parse("ff:ff:ff:ff:ff:ff"));
  EXPECT_EQ(flower.Ip(TCA_FLOWER_KEY_IPV4_SRC), *IpAddress::Parse("10.1.0.0"));
  EXPECT_EQ(flower.Ip(TCA_FLOWER_KEY_IPV4_SRC_MASK), *IpAddress::Parse("255.255.240.0"));
  EXPECT_EQ(flower.Ip(TCA_FLOWER_KEY_IPV4_DST), *IpAddress::Parse("10.2.0.0"));
  EXPECT_EQ(flower.Ip(TCA_FLOWER_KEY_IPV4_DST_MASK), *IpAddress::Parse("255.254.0.0"));
  EXPECT_EQ(flower.U8(TCA_FLOWER_KEY_IP_TTL), 0);
  EXPECT_EQ(flower.U8(TCA_FLOWER_KEY_IP_TTL_MASK), 0xfe);
  EXPECT_EQ(flower.U8(TCA_FLOWER_KEY_IP_PROTO), 17);
  EXPECT_EQ(flower.Be16(TCA_FLOWER_KEY_UDP_DST), 53);
  EXPECT_EQ(flower.Be16(TCA_FLOWER_KEY_UDP_DST_MASK), 0xffff);
  EXPECT_EQ(flower.Be32(TCA_FLOWER_KEY_ENC_KEY_ID), 1000u);
  EXPECT_EQ(flower.Ip(TCA_FLOWER_KEY_ENC_IPV4_SRC), *IpAddress::Parse("192.0.2.0"));
  EXPECT_EQ(flower.Ip(TCA_FLOWER_KEY_ENC_IPV4_SRC_MASK), *IpAddress::Parse("255.255.255.128"));
  EXPECT_EQ(flower.Ip(TCA_FLOWER_KEY_ENC_IPV4_DST), *IpAddress::Parse("192.0.2.1"));
  EXPECT_EQ(flower.Be16(TCA_FLOWER_KEY_ENC_UDP_DST_PORT), 4789);
  EXPECT_EQ(flower.Be16(TCA_FLOWER_KEY_ENC_UDP_DST_PORT_MASK), 0xffff);
  EXPECT_EQ(flower.U32(TCA_FLOWER_FLAGS), uint32_t{TCA_CLS_FLAGS_SKIP_SW});

  AttributeSet actions = flower.Nested(TCA_FLOWER_ACT);
  const auto release =
      *actions.Nested(1).Nested(TCA_ACT_OPTIONS).Struct<tc_tunnel_key>(TCA_TUNNEL_KEY_PARMS);
  EXPECT_EQ(release.t_action, TCA_TUNNEL_KEY_ACT_RELEASE);
  EXPECT_EQ(actions.Nested(1).Struct<TcCookie>(TCA_ACT_COOKIE), Sample().cookie);
  EXPECT_FALSE(actions.Nested(2).Has(TCA_ACT_COOKIE));
  EXPECT_EQ(actions.Nested(2).String(TCA_ACT_KIND, 15), "pedit");
  AttributeSet pedit = actions.Nested(2).Nested(TCA_ACT_OPTIONS);
  const auto selection = *pedit.Struct<tc_pedit_sel>(TCA_PEDIT_PARMS_EX);
  EXPECT_EQ(selection.action, TC_ACT_PIPE);
  EXPECT_EQ(selection.nkeys, 5);
  EXPECT_EQ(pedit.Raw(TCA_PEDIT_PARMS_EX)->size(), sizeof(tc_pedit_sel) + 5 * sizeof(tc_pedit_key));
  EXPECT_EQ(actions.Nested(3).String(TCA_ACT_KIND, 15), "csum");
  const auto csum = *actions.Nested(3).Nested(TCA_ACT_OPTIONS).Struct<tc_csum>(TCA_CSUM_PARMS);
  EXPECT_EQ(csum.action, TC_ACT_PIPE);
  EXPECT_EQ(csum.update_flags, uint32_t{TCA_CSUM_UPDATE_FLAG_IPV4HDR});

  AttributeSet set = actions.Nested(4);
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
  const auto redirect =
      *actions.Nested(5).Nested(TCA_ACT_OPTIONS).Struct<tc_mirred>(TCA_MIRRED_PARMS);
  EXPECT_EQ(redirect.action, TC_ACT_STOLEN);
  EXPECT_EQ(redirect.eaction, TCA_EGRESS_REDIR);
  EXPECT_EQ(redirect.ifindex, 10u);
  EXPECT_TRUE(error.ok());
}

// The kernel keeps a VLAN in host order, and its protocol as it is on the wire
// (fl_set_key_vlan, net/sched/cls_flower.c; tcf_vlan_init, net/sched/act_vlan.c).
TEST(PutFilterRequest, HasTheKeysAndActionsOfAProviderNetwork) {
  const auto flower_of = [](const TcFilter& filter, DecodeError* error) {
    auto message = PutFilterRequest({.block = 0, .ifindex = 3}, filter);
    EXPECT_TRUE(message.ok()) << message.status();
    // Outlives what is read from it.
    static std::vector<uint8_t> bytes;
    const Bytes payload = Payload(*message);
    bytes.assign(payload.begin(), payload.end());
    return AttributeSet(AfterHeader(bytes, sizeof(tcmsg)), error).Nested(TCA_OPTIONS);
  };
  DecodeError error;
  TcFilter filter;
  filter.id = {.chain = 0, .priority = 1, .handle = 1};
  filter.match.ethertype = 0x8100;
  filter.match.vlan_id = 0x123;
  filter.match.dst_group = true;
  filter.actions = {TcVlanPop{}, TcMirror{5}, TcMirred{6}};
  AttributeSet in = flower_of(filter, &error);
  EXPECT_EQ(in.U16(TCA_FLOWER_KEY_VLAN_ID), 0x123);
  EXPECT_EQ(in.Mac(TCA_FLOWER_KEY_ETH_DST), *MacAddress::Parse("01:00:00:00:00:00"));
  EXPECT_EQ(in.Mac(TCA_FLOWER_KEY_ETH_DST_MASK), *MacAddress::Parse("01:00:00:00:00:00"));
  AttributeSet actions = in.Nested(TCA_FLOWER_ACT);
  const auto pop = *actions.Nested(1).Nested(TCA_ACT_OPTIONS).Struct<tc_vlan>(TCA_VLAN_PARMS);
  EXPECT_EQ(pop.v_action, TCA_VLAN_ACT_POP);
  EXPECT_EQ(pop.action, TC_ACT_PIPE);
  const auto copy = *actions.Nested(2).Nested(TCA_ACT_OPTIONS).Struct<tc_mirred>(TCA_MIRRED_PARMS);
  EXPECT_EQ(copy.eaction, TCA_EGRESS_MIRROR);
  EXPECT_EQ(copy.action, TC_ACT_PIPE);
  EXPECT_EQ(copy.ifindex, 5u);

  filter.match = {};
  filter.match.ethertype = 0x0806;
  filter.match.arp_sender_mac = *MacAddress::Parse("52:54:00:00:00:01");
  filter.match.arp_sender_ip = *IpPrefix::Parse("10.1.0.0/20");
  filter.match.dst_group = false;
  filter.actions = {TcVlanPush{0x123}, TcMirred{6}};
  AttributeSet out = flower_of(filter, &error);
  EXPECT_EQ(out.Mac(TCA_FLOWER_KEY_ARP_SHA), filter.match.arp_sender_mac);
  EXPECT_EQ(out.Mac(TCA_FLOWER_KEY_ARP_SHA_MASK), *MacAddress::Parse("ff:ff:ff:ff:ff:ff"));
  EXPECT_EQ(out.Ip(TCA_FLOWER_KEY_ARP_SIP), *IpAddress::Parse("10.1.0.0"));
  EXPECT_EQ(out.Ip(TCA_FLOWER_KEY_ARP_SIP_MASK), *IpAddress::Parse("255.255.240.0"));
  EXPECT_EQ(out.Mac(TCA_FLOWER_KEY_ETH_DST), MacAddress());
  AttributeSet push = out.Nested(TCA_FLOWER_ACT).Nested(1).Nested(TCA_ACT_OPTIONS);
  EXPECT_EQ(push.Struct<tc_vlan>(TCA_VLAN_PARMS)->v_action, TCA_VLAN_ACT_PUSH);
  EXPECT_EQ(push.U16(TCA_VLAN_PUSH_VLAN_ID), 0x123);
  EXPECT_EQ(push.Be16(TCA_VLAN_PUSH_VLAN_PROTOCOL), 0x8100);
  EXPECT_TRUE(error.ok());
}

TEST(PutFilterRequest, OfAProviderNetworkWhatTcCannotHoldIsRefused) {
  const auto refused = [](const std::function<void(TcFilter&)>& change) {
    TcFilter filter;
    filter.id = {.chain = 0, .priority = 1, .handle = 1};
    filter.match.ethertype = 0x8100;
    filter.actions = {TcMirred{6}};
    change(filter);
    return !CheckFilter(filter).ok();
  };
  EXPECT_FALSE(refused([](TcFilter&) {}));
  EXPECT_TRUE(refused([](TcFilter& f) { f.match.vlan_id = 4096; }));
  EXPECT_TRUE(refused([](TcFilter& f) {
    f.match.vlan_id = 5;
    f.match.ethertype = 0x0800;
  }));
  EXPECT_TRUE(refused([](TcFilter& f) {
    f.match.dst_group = true;
    f.match.dst_mac = *MacAddress::Parse("52:54:00:00:00:01");
  }));
  EXPECT_TRUE(
      refused([](TcFilter& f) { f.match.arp_sender_ip = *IpPrefix::Parse("10.0.0.1/32"); }));
  EXPECT_TRUE(refused([](TcFilter& f) {
    f.match.ethertype = 0x0806;
    f.match.arp_sender_ip = *IpPrefix::Parse("fd00::1/128");
  }));
  EXPECT_TRUE(refused([](TcFilter& f) { f.actions = {TcVlanPush{4095}, TcMirred{6}}; }));
  EXPECT_TRUE(refused([](TcFilter& f) { f.actions = {TcVlanPush{5}, TcMirror{6}, TcMirred{6}}; }));
  EXPECT_TRUE(refused([](TcFilter& f) {
    f.match.ethertype = 0x0003;
    f.actions = {TcVlanPop{}, TcMirred{6}};
  }));
  EXPECT_TRUE(refused([](TcFilter& f) { f.actions = {TcMirror{0}, TcMirred{6}}; }));
  EXPECT_TRUE(refused([](TcFilter& f) { f.actions.assign(33, TcMirror{6}); }));
}

// Attribute by attribute, as path and bytes: the kernel does not mind their order.
// `kind` says what `set` is, and so which of its attributes have others in them.
using Attributes = std::map<std::string, std::string>;
void Flatten(const AttributeSet& set, const std::string& path, const std::string& kind,
             Attributes* out) {
  DecodeError error;
  std::map<uint16_t, int> seen;
  set.ForEach([&](uint16_t type, Bytes payload) {
    const std::string name = StrCat(path, "/", type, "#", seen[type]++);
    const auto into = [&](const char* inner) {
      Flatten(AttributeSet(payload, &error), name, inner, out);
    };
    if (kind == "flower" && type == TCA_FLOWER_ACT) return into("list");
    if (kind == "list") return into("action");
    if (kind == "action" && type == TCA_ACT_OPTIONS) return into("options");
    if (kind == "action" && type == TCA_ACT_COOKIE) return;  // given by Fairlead alone
    // Other actions have no attribute of this number with attributes in it.
    if (kind == "options" && type == TCA_PEDIT_KEYS_EX && set.Has(TCA_PEDIT_PARMS_EX)) {
      return into("keys");
    }
    if (kind == "keys") return into("key");
    (*out)[name] =
        absl::BytesToHexString({reinterpret_cast<const char*>(payload.data()), payload.size()});
  });
  EXPECT_TRUE(error.ok());
}

struct Golden {
  const char* name;
  TcFilter filter;
  // What `tc` of iproute2 6.15 (and 6.1 alike) sends as TCA_OPTIONS of the same filter.
  const char* options;
};
class LikeTc : public ::testing::TestWithParam<Golden> {};

TEST_P(LikeTc, AttributesAreTheSame) {
  auto message = PutFilterRequest({.block = 0, .ifindex = 3}, GetParam().filter);
  ASSERT_TRUE(message.ok()) << message.status();
  DecodeError error;
  Attributes ours, theirs;
  AttributeSet top(AfterHeader(Payload(*message), sizeof(tcmsg)), &error);
  Flatten(top.Nested(TCA_OPTIONS), "", "flower", &ours);
  const std::string bytes = absl::HexStringToBytes(GetParam().options);
  const Bytes golden(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  Flatten(AttributeSet(golden, &error), "", "flower", &theirs);
  const std::string flags = StrCat("/", int{TCA_FLOWER_FLAGS}, "#0");
  ASSERT_EQ(theirs[flags], "00000000");  // the same as none
  theirs.erase(flags);
  EXPECT_EQ(ours, theirs);
  EXPECT_TRUE(error.ok());
}

TcFilter Like(const std::function<void(TcFilter&)>& change) {
  TcFilter filter;
  filter.id = {.chain = 3, .priority = 20, .handle = 7};
  filter.match.ethertype = 0x0800;
  change(filter);
  return filter;
}

// d0 and d1 are a veth pair; d1 has ifindex 2. ROUTE stands for "pedit ex munge eth src set
// 02:00:00:00:00:01 munge eth dst set 52:54:00:00:01:0a munge".
INSTANTIATE_TEST_SUITE_P(
    Table, LikeTc,
    ::testing::Values(
        // protocol ip flower indev d0 src_mac 52:54:00:00:01:0a src_ip 10.1.0.7
        // action goto chain 3
        Golden{"admit", Like([](TcFilter& f) {
                 f.match.indev = "d0";
                 f.match.src_mac = *MacAddress::Parse("52:54:00:00:01:0a");
                 f.match.src_ip = *IpPrefix::Parse("10.1.0.7/32");
                 f.actions = {TcGact{.verdict = TcGact::Verdict::kGotoChain, .chain = 3}};
               }),
               "07000200643000000a00060052540000010a00000a000700ffffffffffff000008000a000a010007080"
               "00b00"
               "ffffffff300003002c0001000900010067616374000000001c000280180002000000000000000000030"
               "00020"
               "000000000000000008001600000000000600080008000000"},
        // protocol ip flower dst_ip 10.1.0.0/16 action ROUTE ip ttl dec pipe
        // action csum ip4h pipe action mirred egress redirect dev d1
        Golden{"route", Like([](TcFilter& f) {
                 f.match.dst_ip = *IpPrefix::Parse("10.1.0.0/16");
                 f.actions = {Route(false), TcCsum{}, TcMirred{.ifindex = 2}};
               }),
               "08000c000a01000008000d00ffff000078010300100101000a000100706564697400000000010280940"
               "00400"
               "000000000000000003000000000000000000000005000000ffff0000000002000400000000000000000"
               "00000"
               "00000000000000000000000108000000000000000000000000000000000000005254000000000000000"
               "00000"
               "00000000000000000000ffff010a00000400000000000000000000000000000000ffffffff000000080"
               "00000"
               "00000000000000000000000068000580140006800600010001000000060002000000000014000680060"
               "00100"
               "01000000060002000000000014000680060001000100000006000200000000001400068006000100010"
               "00000"
               "0600020000000000140006800600010002000000060002000100000030000200090001006373756d000"
               "00000"
               "200002801c000100000000000000000003000000000000000000000001000000340003000b0001006d6"
               "97272"
               "65640000240002802000020000000000000000000400000000000000000000000100000002000000080"
               "01600"
               "000000000600080008000000"},
        // As before, with "action tunnel_key set src_ip 192.0.2.1 dst_ip 192.0.2.2 id 1000
        // dst_port 4789 ttl 64 nocsum pipe" before the redirect
        Golden{"route_and_encap", Like([](TcFilter& f) {
                 f.match.dst_ip = *IpPrefix::Parse("10.1.0.0/16");
                 f.actions = {Route(false), TcCsum{}, Tunnel(), TcMirred{.ifindex = 2}};
               }),
               "08000c000a01000008000d00ffff0000dc010300100101000a000100706564697400000000010280940"
               "00400"
               "000000000000000003000000000000000000000005000000ffff0000000002000400000000000000000"
               "00000"
               "00000000000000000000000108000000000000000000000000000000000000005254000000000000000"
               "00000"
               "00000000000000000000ffff010a00000400000000000000000000000000000000ffffffff000000080"
               "00000"
               "00000000000000000000000068000580140006800600010001000000060002000000000014000680060"
               "00100"
               "01000000060002000000000014000680060001000100000006000200000000001400068006000100010"
               "00000"
               "0600020000000000140006800600010002000000060002000100000030000200090001006373756d000"
               "00000"
               "200002801c000100000000000000000003000000000000000000000001000000640003000f000100747"
               "56e6e"
               "656c5f6b657900005000028008000300c000020108000400c000020208000700000003e80600090012b"
               "50000"
               "05000d004000000005000a00010000001c0002000000000000000000030000000000000000000000010"
               "00000"
               "340004000b0001006d69727265640000240002802000020000000000000000000400000000000000000"
               "00000"
               "010000000200000008001600000000000600080008000000"},
        // protocol ipv6 flower dst_ip 2001:db8:1::/48 action ROUTE ip6 hoplimit dec pipe
        // action mirred egress redirect dev d1
        Golden{"route_ipv6", Like([](TcFilter& f) {
                 f.match.ethertype = 0x86dd;
                 f.match.dst_ip = *IpPrefix::Parse("2001:db8:1::/48");
                 f.actions = {Route(true), TcMirred{.ifindex = 2}};
               }),
               "1400100020010db800010000000000000000000014001100ffffffffffff00000000000000000000480"
               "10300"
               "100101000a0001007065646974000000000102809400040000000000000000000300000000000000000"
               "00000"
               "05000000ffff00000000020004000000000000000000000000000000000000000000000108000000000"
               "00000"
               "00000000000000000000000052540000000000000000000000000000000000000000ffff010a0000040"
               "00000"
               "000000000000000000000000ffffff00000000ff0400000000000000000000000000000068000580140"
               "00680"
               "06000100010000000600020000000000140006800600010001000000060002000000000014000680060"
               "00100"
               "01000000060002000000000014000680060001000100000006000200000000001400068006000100030"
               "00000"
               "0600020001000000340002000b0001006d6972726564000024000280200002000000000000000000040"
               "00000"
               "0000000000000000010000000200000008001600000000000600080086dd0000"},
        // protocol ip flower ip_ttl 0/0xfe action trap
        Golden{"trap_ttl", Like([](TcFilter& f) {
                 f.match.ttl_expiring = true;
                 f.actions = {TcGact{.verdict = TcGact::Verdict::kTrap, .chain = 0}};
               }),
               "05004b000000000005004c00fe000000300003002c0001000900010067616374000000001c000280180"
               "00200"
               "000000000000000008000000000000000000000008001600000000000600080008000000"},
        // protocol ip flower ip_proto udp dst_port 67/0xffff action trap
        Golden{"trap_udp", Like([](TcFilter& f) {
                 f.match.ip_proto = 17;
                 f.match.dst_port = TcPortMask{67};
                 f.actions = {TcGact{.verdict = TcGact::Verdict::kTrap, .chain = 0}};
               }),
               "0500090011000000060015000043000006002600ffff0000300003002c0001000900010067616374000"
               "00000"
               "1c000280180002000000000000000000080000000000000000000000080016000000000006000800080"
               "00000"},
        // protocol ipv6 flower src_ip 2001:db8::7 ip_proto icmpv6 type 135 action drop
        Golden{"drop_icmpv6", Like([](TcFilter& f) {
                 f.match.ethertype = 0x86dd;
                 f.match.src_ip = *IpPrefix::Parse("2001:db8::7/128");
                 f.match.ip_proto = 58;
                 f.match.icmp_type = 135;
                 f.actions = {TcGact{}};
               }),
               "14000e0020010db800000000000000000000000714000f00ffffffffffffffffffffffffffffffff050"
               "00900"
               "3a000000050037008700000005003800ff000000300003002c0001000900010067616374000000001c0"
               "00280"
               "18000200000000000000000002000000000000000000000008001600000000000600080086dd0000"},
        // protocol ip flower ip_proto tcp dst_port 8080/65520 action ct zone 5 pipe
        // action goto chain 4
        Golden{
            "track_ports", Like([](TcFilter& f) {
              f.match.ip_proto = 6;
              f.match.dst_port = TcPortMask{0x1f90, 0xfff0};
              f.actions = {TcCt{.zone = 5},
                           TcGact{.verdict = TcGact::Verdict::kGotoChain, .chain = 4}};
            }),
            "0500090006000000060013001f90000006002400fff00000680003003800010007000100637400002c0002"
            "80060004000500000006000300000000001800010000000000000000000300000000000000000000002c00"
            "02000900010067616374000000001c00028018000200000000000000000004000020000000000000000008"
            "001600000000000600080008000000"},
        // protocol ip flower ct_state +trk+new-rel action ct commit zone 5 pipe action goto chain 4
        Golden{
            "commit", Like([](TcFilter& f) {
              f.match.ct_state = TcCtState{kCtTracked | kCtNew, kCtTracked | kCtNew | kCtRelated};
              f.actions = {TcCt{.zone = 5, .commit = true},
                           TcGact{.verdict = TcGact::Verdict::kGotoChain, .chain = 4}};
            }),
            "06005b000900000006005c000d000000680003003800010007000100637400002c00028006000400050000"
            "0006000300010000001800010000000000000000000300000000000000000000002c000200090001006761"
            "6374000000001c000280180002000000000000000000040000200000000000000000080016000000000006"
            "00080008000000"},
        // protocol ip flower ip_proto icmp type 8 code 0 action drop
        Golden{
            "icmp_type_and_code", Like([](TcFilter& f) {
              f.match.ip_proto = 1;
              f.match.icmp_type = 8;
              f.match.icmp_code = 0;
              f.actions = {TcGact{}};
            }),
            "0500090001000000050033000800000005003400ff000000050031000000000005003200ff000000300003"
            "002c0001000900010067616374000000001c00028018000200000000000000000002000000000000000000"
            "000008001600000000000600080008000000"},
        // protocol ipv6 flower ct_state +trk+est ip_proto icmpv6 type 1 code 4 action goto chain 4
        Golden{
            "established_icmpv6", Like([](TcFilter& f) {
              f.match.ethertype = 0x86dd;
              f.match.ct_state =
                  TcCtState{kCtTracked | kCtEstablished, kCtTracked | kCtEstablished};
              f.match.ip_proto = 58;
              f.match.icmp_type = 1;
              f.match.icmp_code = 4;
              f.actions = {TcGact{.verdict = TcGact::Verdict::kGotoChain, .chain = 4}};
            }),
            "06005b000a00000006005c000a000000050009003a000000050037000100000005003800ff000000050035"
            "000400000005003600ff000000300003002c0001000900010067616374000000001c000280180002000000"
            "00000000000004000020000000000000000008001600000000000600080086dd0000"}),
    [](const auto& param_info) { return param_info.param.name; });

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
  EXPECT_EQ(action({.verdict = TcGact::Verdict::kTrap, .chain = 0}), TC_ACT_TRAP);
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

bool Refused(const std::function<void(TcFilter&)>& change) {
  TcFilter filter = Sample();
  change(filter);
  return CheckFilter(filter).code() == absl::StatusCode::kInvalidArgument;
}

TEST(CheckFilter, KeysMustGoTogether) {
  EXPECT_FALSE(Refused([](TcFilter&) {}));
  EXPECT_TRUE(Refused([](TcFilter& f) { f.match.indev = "sixteencharacter"; }));
  EXPECT_TRUE(Refused([](TcFilter& f) { f.match.enc_key_id = 1U << 24; }));
  EXPECT_TRUE(Refused([](TcFilter& f) {
    f.match.enc_src = *IpPrefix::Parse("2001:db8::/32");
    f.match.enc_dst = *IpAddress::Parse("192.0.2.1");
  }));
  EXPECT_TRUE(Refused([](TcFilter& f) { f.id.handle = 0; }));
  EXPECT_TRUE(Refused([](TcFilter& f) { f.id.chain = 0x10000000; }));
  EXPECT_TRUE(Refused([](TcFilter& f) { f.match.icmp_type = 8; })) << "UDP has none";
  EXPECT_TRUE(Refused([](TcFilter& f) { f.match.icmp_code = 0; }));
  EXPECT_FALSE(Refused([](TcFilter& f) { f.match.dst_port = TcPortMask{0x1f90, 0xfff0}; }));
  EXPECT_FALSE(Refused([](TcFilter& f) { f.match.ip_proto = 6; }));
  EXPECT_TRUE(Refused([](TcFilter& f) { f.match.ip_proto = 132; })) << "SCTP";
  EXPECT_TRUE(Refused([](TcFilter& f) { f.match.ip_proto.reset(); }));
  EXPECT_TRUE(Refused([](TcFilter& f) { f.match.dst_port = TcPortMask{0x1f91, 0xfff0}; }));
  EXPECT_TRUE(Refused([](TcFilter& f) { f.match.dst_port = TcPortMask{0, 0}; }));
  EXPECT_FALSE(Refused([](TcFilter& f) { f.match.ct_state = TcCtState{0, kCtTracked}; }));
  EXPECT_FALSE(Refused([](TcFilter& f) {
    f.match.ct_state = TcCtState{0x3f, 0x3f};
  })) << "the kernel says itself that no packet is like that";
  EXPECT_TRUE(Refused([](TcFilter& f) { f.match.ct_state = TcCtState{}; }));
  EXPECT_TRUE(Refused([](TcFilter& f) { f.match.ct_state = TcCtState{kCtNew, kCtTracked}; }));
  EXPECT_TRUE(Refused([](TcFilter& f) { f.match.ct_state = TcCtState{0, 0x40}; }));
  EXPECT_TRUE(Refused([](TcFilter& f) { f.match.src_mac = MacAddress(); }));
  EXPECT_TRUE(
      Refused([](TcFilter& f) { f.match.src_mac = *MacAddress::Parse("01:00:5e:00:00:01"); }));
  EXPECT_TRUE(Refused([](TcFilter& f) { f.match.dst_mac = MacAddress(); }));
  EXPECT_FALSE(
      Refused([](TcFilter& f) { f.match.dst_mac = *MacAddress::Parse("ff:ff:ff:ff:ff:ff"); }));
}

TEST(CheckFilter, FieldsOfAPacketNeedItsEtherType) {
  const auto refused = [](uint16_t ethertype, const std::function<void(TcMatch&)>& name) {
    return Refused([&](TcFilter& f) {
      f.match = {};
      f.match.ethertype = ethertype;
      f.actions = {TcGact{}};
      name(f.match);
    });
  };
  struct Case {
    std::function<void(TcMatch&)> name;
    bool v4, v6;
  };
  const Case cases[] = {
      {[](TcMatch& m) { m.src_ip = *IpPrefix::Parse("10.0.0.0/8"); }, true, false},
      {[](TcMatch& m) { m.dst_ip = *IpPrefix::Parse("10.0.0.0/8"); }, true, false},
      {[](TcMatch& m) { m.src_ip = *IpPrefix::Parse("fd00::/8"); }, false, true},
      {[](TcMatch& m) { m.dst_ip = *IpPrefix::Parse("fd00::/8"); }, false, true},
      {[](TcMatch& m) { m.ttl_expiring = true; }, true, true},
      {[](TcMatch& m) { m.ip_proto = 50; }, true, true},
      {[](TcMatch& m) {
         m.ip_proto = 17;
         m.dst_port = TcPortMask{67};
       },
       true, true},
      {[](TcMatch& m) { m.dst_port = TcPortMask{67}; }, false, false},
      {[](TcMatch& m) {
         m.ip_proto = 1;
         m.icmp_type = 8;
       },
       true, false},
      {[](TcMatch& m) {
         m.ip_proto = 58;
         m.icmp_type = 135;
       },
       false, true},
      {[](TcMatch& m) {
         m.ip_proto = 58;
         m.icmp_code = 4;
       },
       false, true},
      {[](TcMatch& m) { m.icmp_type = 135; }, false, false},
      {[](TcMatch& m) {
         m.ip_proto = 58;
         m.icmp_type = 135;
         m.dst_port = TcPortMask{67};
       },
       false, false}};
  for (size_t i = 0; i < std::size(cases); ++i) {
    EXPECT_EQ(refused(0x0800, cases[i].name), !cases[i].v4) << i;
    EXPECT_EQ(refused(0x86dd, cases[i].name), !cases[i].v6) << i;
    EXPECT_TRUE(refused(0x0806, cases[i].name)) << i;
    EXPECT_TRUE(refused(0x0003, cases[i].name)) << i;
  }
}

TEST(CheckFilter, ActionsHaveOneOrder) {
  const auto refused = [](uint16_t ethertype, std::vector<TcAction> actions) {
    return Refused([&](TcFilter& f) {
      f.match = {};
      f.match.ethertype = ethertype;
      f.actions = std::move(actions);
    });
  };
  const TcMirred out{.ifindex = 10};
  const TcGact trap{.verdict = TcGact::Verdict::kTrap, .chain = 0};
  const TcPedit v4 = Route(false), v6 = Route(true);
  const TcTunnelSet set = Tunnel();
  const TcTunnelUnset unset;
  EXPECT_FALSE(refused(0x0800, {v4, TcCsum{}, set, out}));
  EXPECT_FALSE(refused(0x0800, {unset, v4, TcCsum{}, out}));
  EXPECT_FALSE(refused(0x86dd, {unset, v6, out}));
  EXPECT_FALSE(refused(0x86dd, {v6, set, out}));
  EXPECT_FALSE(refused(0x0003, {trap}));
  EXPECT_FALSE(refused(0x0003, {set, out}));
  const TcCt track{.zone = 5};
  EXPECT_FALSE(refused(0x0800, {unset, track, v4, TcCsum{}, TcMirror{10}, out}));
  EXPECT_FALSE(refused(0x86dd, {track, TcGact{.verdict = TcGact::Verdict::kGotoChain}}));
  EXPECT_TRUE(refused(0x0800, {track, unset, out}));
  EXPECT_TRUE(refused(0x0800, {v4, track, TcCsum{}, out}));
  EXPECT_TRUE(refused(0x0800, {TcMirror{10}, track, out}));
  EXPECT_TRUE(refused(0x0800, {track, track, out}));
  EXPECT_TRUE(refused(0x0800, {track, trap}));
  EXPECT_TRUE(refused(0x0800, {track}));
  EXPECT_TRUE(refused(0x0800, {TcCt{.zone = 0}, out})) << "the host's own";
  EXPECT_TRUE(refused(0x0003, {track, out})) << "what is not IP is dropped";
  EXPECT_TRUE(refused(0x0806, {track, out}));

  EXPECT_TRUE(refused(0x0800, {}));
  EXPECT_TRUE(refused(0x0800, {v4, TcCsum{}}));
  EXPECT_TRUE(refused(0x0800, {out, out}));
  EXPECT_TRUE(refused(0x0800, {out, TcGact{}}));
  EXPECT_TRUE(refused(0x0800, {set, set, out}));
  EXPECT_TRUE(refused(0x0800, {set, v4, TcCsum{}, out}));
  EXPECT_TRUE(refused(0x0800, {TcCsum{}, v4, out}));
  EXPECT_TRUE(refused(0x0800, {v4, TcCsum{}, unset, out}));
  EXPECT_TRUE(refused(0x0800, {v4, TcCsum{}, v4, TcCsum{}, out}));
  EXPECT_TRUE(refused(0x0800, {TcMirred{.ifindex = 0}}));
  EXPECT_TRUE(refused(0x0800, {unset, trap}));
  EXPECT_TRUE(refused(0x0800, {v4, TcCsum{}, trap}));
  // The checksum is mended where the TTL is changed, and nowhere else.
  EXPECT_TRUE(refused(0x0800, {v4, out}));
  EXPECT_TRUE(refused(0x0800, {TcCsum{}, out}));
  EXPECT_TRUE(refused(0x86dd, {v6, TcCsum{}, out}));
  // The header that is changed must be there.
  EXPECT_TRUE(refused(0x86dd, {v4, TcCsum{}, out}));
  EXPECT_TRUE(refused(0x0800, {v6, out}));
  EXPECT_TRUE(refused(0x0003, {v4, TcCsum{}, out}));
  TcPedit nobody = v4;
  nobody.eth_dst = MacAddress();
  EXPECT_TRUE(refused(0x0800, {nobody, TcCsum{}, out}));
  nobody = v4;
  nobody.eth_src = *MacAddress::Parse("ff:ff:ff:ff:ff:ff");
  EXPECT_TRUE(refused(0x0800, {nobody, TcCsum{}, out}));
  TcTunnelSet mixed = set;
  mixed.src = *IpAddress::Parse("2001:db8::1");
  EXPECT_TRUE(refused(0x0800, {mixed, out}));
}

}  // namespace
}  // namespace fairlead::netlink
