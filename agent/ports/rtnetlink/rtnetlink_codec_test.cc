// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/rtnetlink/rtnetlink_codec.h"

#include <gtest/gtest.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>

namespace fairlead::netlink {
namespace {

// The payload of a message that Message built, as if the kernel had sent it.
Bytes Payload(const Message& message) { return message.bytes().subspan(sizeof(nlmsghdr)); }

Message Link(uint32_t flags = 0) {
  Message message(RTM_NEWLINK, 0);
  ifinfomsg header{};
  header.ifi_index = 7;
  header.ifi_flags = flags;
  message.Header(header).PutString(IFLA_IFNAME, "pf0").PutU32(IFLA_MTU, 9000);
  return message;
}

TEST(DecodeLink, ReadsVfs) {
  Message message = Link(IFF_UP);
  message.Begin(IFLA_VFINFO_LIST);
  for (uint32_t vf = 0; vf < 2; ++vf) {
    ifla_vf_mac mac{};
    mac.vf = vf;
    mac.mac[5] = static_cast<uint8_t>(vf + 1);
    ifla_vf_vlan vlan{};
    vlan.vf = vf;
    vlan.vlan = 100;
    ifla_vf_spoofchk check{vf, 1};
    ifla_vf_trust trust{vf, 0xffffffff};  // the driver does not say
    ifla_vf_rate rate{vf, 100, 500};
    ifla_vf_link_state link{vf, IFLA_VF_LINK_STATE_AUTO + 2 * vf};
    message.Begin(IFLA_VF_INFO)
        .PutStruct(IFLA_VF_MAC, mac)
        .PutStruct(IFLA_VF_RATE, rate)
        .PutStruct(IFLA_VF_VLAN, vlan)
        .PutStruct(IFLA_VF_SPOOFCHK, check)
        .PutStruct(IFLA_VF_LINK_STATE, link)
        .PutStruct(IFLA_VF_TRUST, trust)
        .End();
  }
  message.End();
  auto link = DecodeLink(Payload(message));
  ASSERT_TRUE(link.ok()) << link.status();
  ASSERT_TRUE((*link)->vfs.has_value());
  ASSERT_EQ((*link)->vfs->size(), 2u);
  const VfInfo& vf = (*link)->vfs->at(1);
  EXPECT_EQ(vf.index, 1);
  EXPECT_EQ(vf.mac, *MacAddress::Parse("00:00:00:00:00:02"));
  EXPECT_EQ(vf.vlan, 100);
  EXPECT_EQ(vf.spoof_check, true);
  EXPECT_EQ(vf.trust, std::nullopt);
  EXPECT_EQ(vf.max_tx_mbps, 500u);
  EXPECT_EQ(vf.min_tx_mbps, 100u);
  EXPECT_TRUE(vf.link_disabled);
  EXPECT_FALSE((*link)->vfs->at(0).link_disabled);
  EXPECT_TRUE((*link)->up);
  EXPECT_EQ((*link)->mtu, 9000u);
}

TEST(DecodeLink, ABridgesViewOfALinkSaysNothingAboutTheLink) {
  Message message(RTM_DELLINK, 0);
  ifinfomsg header{};
  header.ifi_family = AF_BRIDGE;
  header.ifi_index = 7;
  message.Header(header).PutString(IFLA_IFNAME, "pf0");
  auto views = SplitDatagram(message.bytes());
  auto event = DecodeEvent(views->front());
  ASSERT_TRUE(event.ok());
  EXPECT_FALSE(event->has_value());
}

TEST(DecodeLink, ReadsWhatALinkIsAPartOfAndWhatItStandsOn) {
  Message slave = Link();
  slave.PutU32(IFLA_MASTER, 9);
  auto link = DecodeLink(Payload(slave));
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_EQ((*link)->master, 9u);
  EXPECT_EQ((*link)->lower, 0u);

  Message vlan = Link();
  vlan.PutU32(IFLA_LINK, 3);
  link = DecodeLink(Payload(vlan));
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_EQ((*link)->master, 0u);
  EXPECT_EQ((*link)->lower, 3u);
}

TEST(DecodeLink, ALinkThatStandsOnOneOfAnotherNamespaceStandsOnNoneOfOurs) {
  Message veth = Link();
  veth.PutU32(IFLA_LINK, 3).PutU32(IFLA_LINK_NETNSID, 0);
  auto link = DecodeLink(Payload(veth));
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_EQ((*link)->lower, 0u);
}

// Of whatever length: kernels append to it.
TEST(DecodeLink, CountersAreTheHeadOfTheStatistics) {
  for (const size_t length : {4U, 24U, 26U}) {
    std::vector<uint64_t> numbers(length);
    for (size_t i = 0; i < length; ++i) numbers[i] = i + 1;
    const auto* bytes = reinterpret_cast<const uint8_t*>(numbers.data());
    Message message = Link();
    message.Put(IFLA_STATS64, std::vector<uint8_t>(bytes, bytes + length * sizeof(uint64_t)));
    auto link = DecodeLink(Payload(message));
    ASSERT_TRUE(link.ok()) << link.status();
    EXPECT_EQ((*link)->counters, (TrafficCounters{1, 2, 3, 4}));
  }
  EXPECT_EQ((*DecodeLink(Payload(Link())))->counters, std::nullopt);
  Message cut = Link();
  cut.Put(IFLA_STATS64, std::vector<uint8_t>(31));
  EXPECT_FALSE(DecodeLink(Payload(cut)).ok());
}

TEST(DecodeLink, AnInfiniBandAddressIsNoMac) {
  Message message = Link();
  message.Put(IFLA_ADDRESS, std::vector<uint8_t>(20, 1));
  auto link = DecodeLink(Payload(message));
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_TRUE((*link)->mac.IsZero());
}

TEST(DecodeLink, EveryTruncationIsRefusedOrHarmless) {
  Message message = Link();
  message.Begin(IFLA_LINKINFO).PutString(IFLA_INFO_KIND, "vxlan").End();
  const Bytes whole = Payload(message);
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<uint8_t> cut(whole.begin(), whole.begin() + size);
    auto link = DecodeLink(cut);
    EXPECT_TRUE(link.ok() || link.status().code() == absl::StatusCode::kDataLoss);
  }
  EXPECT_FALSE(DecodeLink(whole.first(10)).ok());
  EXPECT_FALSE(DecodeLink(whole.first(sizeof(ifinfomsg) + 6)).ok());
}

TEST(DecodeNeighbour, StatesOfUseAreValid) {
  for (auto [state, want] : {std::pair<int, NudState>{NUD_REACHABLE, NudState::kValid},
                             {NUD_STALE, NudState::kValid},
                             {NUD_DELAY, NudState::kValid},
                             {NUD_PROBE, NudState::kValid},
                             {NUD_PERMANENT, NudState::kValid},
                             {NUD_NOARP, NudState::kValid},
                             {NUD_INCOMPLETE, NudState::kIncomplete},
                             {NUD_FAILED, NudState::kFailed},
                             {NUD_NONE, NudState::kNone}}) {
    Message message(RTM_NEWNEIGH, 0);
    ndmsg header{};
    header.ndm_family = AF_INET6;
    header.ndm_ifindex = 3;
    header.ndm_state = static_cast<uint16_t>(state);
    message.Header(header).PutIp(NDA_DST, *IpAddress::Parse("2001:db8::2"));
    auto entry = DecodeNeighbour(Payload(message));
    ASSERT_TRUE(entry.ok()) << entry.status();
    EXPECT_EQ((*entry)->info.state, want) << (*entry)->info.state_name;
  }
}

TEST(DecodeNeighbour, AnAddressOfAnotherFamilyIsRefused) {
  Message message(RTM_NEWNEIGH, 0);
  ndmsg header{};
  header.ndm_family = AF_INET6;
  header.ndm_ifindex = 3;
  message.Header(header).PutIp(NDA_DST, *IpAddress::Parse("192.0.2.1"));
  EXPECT_EQ(DecodeNeighbour(Payload(message)).status().code(), absl::StatusCode::kDataLoss);
}

TEST(DecodeRoute, NamesEveryNextHopsLink) {
  Message message(RTM_NEWROUTE, 0);
  rtmsg header{};
  header.rtm_family = AF_INET;
  header.rtm_type = RTN_UNICAST;
  std::vector<uint8_t> hops;
  for (int ifindex : {4, 5}) {
    rtnexthop hop{};
    hop.rtnh_len = sizeof(hop);
    hop.rtnh_ifindex = ifindex;
    const auto* raw = reinterpret_cast<const uint8_t*>(&hop);
    hops.insert(hops.end(), raw, raw + sizeof(hop));
  }
  message.Header(header).Put(RTA_MULTIPATH, hops);
  auto route = DecodeRoute(Payload(message));
  ASSERT_TRUE(route.ok()) << route.status();
  EXPECT_EQ((*route)->links, (std::vector<uint32_t>{4, 5}));
  EXPECT_EQ((*route)->prefix_length, 0);
}

TEST(DecodeRoute, AnIpv4RouteMayHaveAnIpv6Gateway) {
  Message message(RTM_NEWROUTE, 0);
  rtmsg header{};
  header.rtm_family = AF_INET;
  std::vector<uint8_t> via{AF_INET6, 0};
  const IpAddress gateway = *IpAddress::Parse("fe80::1");
  via.insert(via.end(), gateway.bytes().begin(), gateway.bytes().end());
  message.Header(header).Put(RTA_VIA, via);
  auto route = DecodeRoute(Payload(message));
  ASSERT_TRUE(route.ok()) << route.status();
  EXPECT_EQ((*route)->info.gateway, gateway);
}

TEST(DecodeRoute, ANextHopPastTheEndIsRefused) {
  Message message(RTM_NEWROUTE, 0);
  rtmsg header{};
  header.rtm_family = AF_INET;
  rtnexthop hop{};
  hop.rtnh_len = 40;
  message.Header(header).PutStruct(RTA_MULTIPATH, hop);
  EXPECT_EQ(DecodeRoute(Payload(message)).status().code(), absl::StatusCode::kDataLoss);
}

TEST(CreateTunnelRequest, CarriesWhatVxlanNeeds) {
  Message message = CreateTunnelRequest({.name = "fl0", .udp_port = 4789, .alias = "x"});
  DecodeError error;
  AttributeSet link(AfterHeader(Payload(message), sizeof(ifinfomsg)), &error);
  EXPECT_EQ(link.String(IFLA_IFNAME, 15), "fl0");
  AttributeSet data = link.Nested(IFLA_LINKINFO).Nested(IFLA_INFO_DATA);
  EXPECT_EQ(data.U8(IFLA_VXLAN_COLLECT_METADATA), 1);
  EXPECT_EQ(data.Be16(IFLA_VXLAN_PORT), 4789);
  EXPECT_EQ(data.U8(IFLA_VXLAN_LEARNING), 0);
  EXPECT_EQ(data.U8(IFLA_VXLAN_UDP_ZERO_CSUM6_RX), 1);
  EXPECT_FALSE(data.Has(IFLA_VXLAN_ID));
  EXPECT_TRUE(error.ok());
}

TEST(CreateTunnelRequest, CarriesWhatGeneveNeeds) {
  Message message = CreateTunnelRequest({"fl0", Encapsulation::kGeneve, 6081, "x"});
  DecodeError error;
  AttributeSet link(AfterHeader(Payload(message), sizeof(ifinfomsg)), &error);
  EXPECT_EQ(link.Nested(IFLA_LINKINFO).String(IFLA_INFO_KIND, 15), "geneve");
  AttributeSet data = link.Nested(IFLA_LINKINFO).Nested(IFLA_INFO_DATA);
  EXPECT_TRUE(data.Has(IFLA_GENEVE_COLLECT_METADATA));
  EXPECT_EQ(data.Raw(IFLA_GENEVE_COLLECT_METADATA)->size(), 0U);
  EXPECT_EQ(data.Be16(IFLA_GENEVE_PORT), 6081);
  EXPECT_EQ(data.U8(IFLA_GENEVE_UDP_ZERO_CSUM6_RX), 1);
  EXPECT_FALSE(data.Has(IFLA_GENEVE_ID));
  EXPECT_TRUE(error.ok());
}

TEST(DecodeLink, ATunnelDeviceIsReadBackAsItIsMade) {
  for (const Encapsulation kind : {Encapsulation::kVxlan, Encapsulation::kGeneve}) {
    Message message = CreateTunnelRequest({"fl0", kind, 6081, ""});
    std::vector<uint8_t> payload(Payload(message).begin(), Payload(message).end());
    ifinfomsg header{};
    header.ifi_index = 7;
    header.ifi_flags = IFF_LOOPBACK;
    std::memcpy(payload.data(), &header, sizeof(header));
    const auto link = DecodeLink(payload);
    ASSERT_TRUE(link.ok() && *link) << link.status();
    EXPECT_EQ((*link)->kind, Name(kind));
    EXPECT_TRUE((*link)->tunnel_collect_md);
    EXPECT_EQ((*link)->tunnel_port, 6081);
    EXPECT_TRUE((*link)->loopback);
  }
}

// What iproute2 sends for `ip link set pf0 vf 1 vlan 100`, `spoofchk on`, `trust on`,
// `min_tx_rate 0 max_tx_rate 500` and `state disable`, less what it adds of its own
// (IFLA_IFNAME, its flags).
TEST(SetVfRequests, AreOneSettingOfOneVf) {
  const auto setting = [](const Message& message) {
    const Bytes payload = Payload(message);
    const auto header = ReadStruct<ifinfomsg>(payload);
    EXPECT_EQ(header->ifi_index, 7);
    const Bytes rest = AfterHeader(payload, sizeof(ifinfomsg));
    return std::vector<uint8_t>(rest.begin(), rest.end());
  };
  using Golden = std::vector<uint8_t>;
  const auto bytes = [](uint8_t size, uint8_t type, std::vector<uint8_t> value) {
    Golden golden{static_cast<uint8_t>(size + 8), 0, IFLA_VFINFO_LIST, 0x80};
    golden.insert(golden.end(), {static_cast<uint8_t>(size + 4), 0, IFLA_VF_INFO, 0x80});
    golden.insert(golden.end(), {size, 0, type, 0, 1, 0, 0, 0});
    golden.insert(golden.end(), value.begin(), value.end());
    return golden;
  };
  EXPECT_EQ(setting(SetVfVlanRequest(7, 1, 100)),
            bytes(16, IFLA_VF_VLAN, {100, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(setting(SetVfSpoofCheckRequest(7, 1, true)), bytes(12, IFLA_VF_SPOOFCHK, {1, 0, 0, 0}));
  EXPECT_EQ(setting(SetVfTrustRequest(7, 1, false)), bytes(12, IFLA_VF_TRUST, {0, 0, 0, 0}));
  EXPECT_EQ(setting(SetVfRateRequest(7, 1, 500, 100)),
            bytes(16, IFLA_VF_RATE, {100, 0, 0, 0, 0xf4, 1, 0, 0}));
  EXPECT_EQ(setting(SetVfLinkDisabledRequest(7, 1, true)),
            bytes(12, IFLA_VF_LINK_STATE, {2, 0, 0, 0}));
  EXPECT_EQ(setting(SetVfLinkDisabledRequest(7, 1, false)),
            bytes(12, IFLA_VF_LINK_STATE, {0, 0, 0, 0}));
}

TEST(GetLinkRequest, AsksForVfsOnlyWhenTold) {
  auto mask = [](const Message& message) {
    DecodeError error;
    return AttributeSet(AfterHeader(Payload(message), sizeof(ifinfomsg)), &error)
        .U32(IFLA_EXT_MASK)
        .value_or(0);
  };
  EXPECT_EQ(mask(GetLinkRequest(3, {}, false)) & RTEXT_FILTER_VF, 0u);
  EXPECT_EQ(mask(ListLinksRequest()) & RTEXT_FILTER_VF, 0u);
  EXPECT_NE(mask(GetLinkRequest(3, {}, true)) & RTEXT_FILTER_VF, 0u);
  EXPECT_EQ(mask(GetLinkRequest(3, {}, false)) & RTEXT_FILTER_SKIP_STATS, 0u);
}

}  // namespace
}  // namespace fairlead::netlink
