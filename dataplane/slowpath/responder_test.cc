// SPDX-License-Identifier: Apache-2.0
//
// ARP, neighbour and router discovery, ICMP. DHCP: responder_dhcp_test.cc.
#include "dataplane/slowpath/responder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dataplane/slowpath/test_frames.h"
#include "dataplane/slowpath/test_golden.h"

namespace fairlead::slowpath {
namespace {

Answer Ask(const Octets& frame, const SlowPathPort& port = TestPort()) {
  const Tables tables = TestTables();
  return Respond(port, tables, frame, false);
}

Answer AskIn(const SlowPathSubnet& subnet, const Octets& frame) {
  Tables tables = TestTables();
  EXPECT_TRUE(tables.Put(subnet).ok());
  return Respond(TestPort(), tables, frame, false);
}

#define EXPECT_ANSWER(answer, wanted)                                                   \
  do {                                                                                  \
    const Answer answer_ = (answer);                                                    \
    EXPECT_EQ(static_cast<int>(answer_.verdict), static_cast<int>(Verdict::kAnswered)); \
    EXPECT_EQ(ToHex(answer_.frame), ToHex(Hex(golden::wanted)));                        \
  } while (false)

#define EXPECT_VERDICT(answer, wanted)                                               \
  do {                                                                               \
    const Answer answer_ = (answer);                                                 \
    EXPECT_EQ(static_cast<int>(answer_.verdict), static_cast<int>(Verdict::wanted)); \
    EXPECT_TRUE(answer_.frame.empty()) << ToHex(answer_.frame);                      \
  } while (false)

// ---- ARP ----------------------------------------------------------------------------------------

TEST(ArpTest, GatewayAndNeighbours) {
  EXPECT_ANSWER(Ask(ArpRequest("10.0.0.1")), kArpGateway);
  EXPECT_ANSWER(Ask(ArpRequest("10.0.0.7")), kArpNeighbour);
}

TEST(ArpTest, AFrameThatWasFilledUpIsReadAllTheSame) {
  EXPECT_ANSWER(Ask(ArpRequest("10.0.0.1") + Octets(18)), kArpGateway);
}

TEST(ArpTest, AskedOfOneStationAlone) {
  Octets frame = ArpRequest("10.0.0.7");
  const Octets to = Mac(kOtherMac);
  std::copy(to.begin(), to.end(), frame.begin());
  EXPECT_ANSWER(Ask(frame), kArpNeighbour);
}

TEST(ArpTest, AProbeForAnAddressOfSomebodyElseIsAConflict) {
  EXPECT_ANSWER(Ask(ArpRequest("10.0.0.7", "0.0.0.0")), kArpProbe);
}

TEST(ArpTest, OfItsOwnAddressNothingIsSaid) {
  EXPECT_VERDICT(Ask(ArpRequest(kGuest4, "0.0.0.0")), kQuiet);  // probe
  EXPECT_VERDICT(Ask(ArpRequest(kGuest4)), kQuiet);             // announcement
  EXPECT_VERDICT(Ask(ArpRequest("10.0.0.100", "10.0.0.100")), kQuiet);
}

TEST(ArpTest, AReplyAsksNothing) {
  EXPECT_VERDICT(
      Ask(EthernetFrame(kAllMac, kGuestMac, 0x0806, Arp(2, kGuestMac, kGuest4, "10.0.0.1"))),
      kQuiet);
}

TEST(ArpTest, WhatNobodyHas) {
  EXPECT_VERDICT(Ask(ArpRequest("10.0.0.9")), kUnknown);
  EXPECT_VERDICT(Ask(ArpRequest("192.0.2.1")), kUnknown);
}

TEST(ArpTest, NoGatewayNoAnswer) {
  SlowPathSubnet subnet = TestSubnet();
  subnet.gateway4.reset();
  EXPECT_VERDICT(AskIn(subnet, ArpRequest("10.0.0.1")), kUnknown);
}

TEST(ArpTest, PairsMayAsk) {
  EXPECT_EQ(Ask(ArpRequest("10.0.0.1", "10.0.0.100")).verdict, Verdict::kAnswered);
  EXPECT_EQ(Ask(ArpRequest("10.0.0.1", "10.0.0.200", "00:00:5e:00:01:01")).verdict,
            Verdict::kAnswered);
}

TEST(ArpTest, WhoIsSpoofedIsNotAnswered) {
  EXPECT_VERDICT(Ask(ArpRequest("10.0.0.1", "10.0.0.7")), kSpoofed);
  EXPECT_VERDICT(Ask(ArpRequest("10.0.0.1", kGuest4, kOtherMac)), kSpoofed);
  // Each pair's MAC has its own addresses.
  EXPECT_VERDICT(Ask(ArpRequest("10.0.0.1", "10.0.0.200")), kSpoofed);
  EXPECT_VERDICT(Ask(ArpRequest("10.0.0.1", kGuest4, "00:00:5e:00:01:01")), kSpoofed);
  // Ethernet and ARP say different things.
  EXPECT_VERDICT(
      Ask(EthernetFrame(kAllMac, kGuestMac, 0x0806, Arp(1, kOtherMac, kGuest4, "10.0.0.1"))),
      kSpoofed);
}

TEST(ArpTest, Malformed) {
  Octets frame = ArpRequest("10.0.0.1");
  frame[15] = 6;  // not Ethernet
  EXPECT_VERDICT(Ask(frame), kMalformed);
  frame = ArpRequest("10.0.0.1");
  frame[18] = 8;  // a longer MAC
  EXPECT_VERDICT(Ask(frame), kMalformed);
}

// ---- neighbour discovery ------------------------------------------------------------------------

TEST(NdTest, GatewayAndNeighbours) {
  EXPECT_ANSWER(Ask(NeighbourSolicitation(kGuest6, "2001:db8::1")), kNaGateway);
  EXPECT_ANSWER(Ask(NeighbourSolicitation(kGuestLinkLocal, "2001:db8::7")), kNaNeighbour);
  EXPECT_ANSWER(Ask(NeighbourSolicitation(kGuestLinkLocal, kGatewayLinkLocalText)), kNaLinkLocal);
}

TEST(NdTest, ASolicitationOfOneStationWithoutItsMac) {
  const Octets message = Octets{135, 0} + U16(0) + U32(0) + Ip("2001:db8::7");
  EXPECT_ANSWER(Ask(EthernetFrame(kOtherMac, kGuestMac, 0x86dd,
                                  Icmp6Packet(kGuestLinkLocal, "2001:db8::7", message))),
                kNaNeighbour);
}

TEST(NdTest, DuplicateDetectionIsAnsweredToAllWhereThereIsADouble) {
  EXPECT_ANSWER(Ask(NeighbourSolicitation("::", "2001:db8::7", false)), kNaProbe);
  EXPECT_VERDICT(Ask(NeighbourSolicitation("::", kGuest6, false)), kQuiet);
  EXPECT_VERDICT(Ask(NeighbourSolicitation("::", kGuestLinkLocal, false)), kQuiet);
  EXPECT_VERDICT(Ask(NeighbourSolicitation("::", "2001:db8::9", false)), kUnknown);
}

TEST(NdTest, WithoutAGatewayNobodyIsARouter) {
  SlowPathSubnet subnet = TestSubnet();
  subnet.gateway6.reset();
  EXPECT_VERDICT(AskIn(subnet, NeighbourSolicitation(kGuest6, "2001:db8::1")), kUnknown);
  const Answer answer =
      AskIn(subnet, NeighbourSolicitation(kGuestLinkLocal, kGatewayLinkLocalText));
  ASSERT_EQ(answer.verdict, Verdict::kAnswered);
  EXPECT_EQ(answer.frame[58], 0x60);  // solicited, override
}

TEST(NdTest, Spoofed) {
  EXPECT_VERDICT(Ask(NeighbourSolicitation("2001:db8::7", "2001:db8::1")), kSpoofed);
  EXPECT_VERDICT(Ask(NeighbourSolicitation(kGuest6, "2001:db8::1", true, kOtherMac)), kSpoofed);
  const Octets message = Octets{135, 0} + U16(0) + U32(0) + Ip("2001:db8::1") + Octets{1, 1} +
                         Mac(kOtherMac);  // another MAC in the option alone
  EXPECT_VERDICT(Ask(EthernetFrame("33:33:ff:00:00:01", kGuestMac, 0x86dd,
                                   Icmp6Packet(kGuest6, "ff02::1:ff00:1", message))),
                 kSpoofed);
}

struct BadNd {
  const char* name;
  uint8_t code = 0, hop_limit = 255;
  const char* from = kGuest6;
  const char* to = "ff02::1:ff00:1";
  const char* target = "2001:db8::1";
  const char* options = "";
};

TEST(NdTest, Malformed) {
  const BadNd cases[] = {
      {.name = "code", .code = 1},
      {.name = "it crossed a router", .hop_limit = 254},
      {.name = "another group", .to = "ff02::1:ff00:2"},
      {.name = "multicast target", .to = "ff02::1:ff00:1", .target = "ff02::1"},
      {.name = "an option of no length", .options = "0e00000000000000"},
      {.name = "an option that is too long", .options = "0102525400000005"},
      {.name = "half an option", .options = "0e"},
      {.name = "a MAC of 16 bytes", .options = "0102525400000005[8]"},
      {.name = "a probe with a MAC", .from = "::", .options = "0101525400000005"},
      {.name = "a probe to one", .from = "::", .to = "2001:db8::1"},
  };
  for (const BadNd& bad : cases) {
    SCOPED_TRACE(bad.name);
    const Octets message =
        Octets{135, bad.code} + U16(0) + U32(0) + Ip(bad.target) + Hex(bad.options);
    EXPECT_VERDICT(Ask(EthernetFrame("33:33:ff:00:00:01", kGuestMac, 0x86dd,
                                     Icmp6Packet(bad.from, bad.to, message, bad.hop_limit))),
                   kMalformed);
  }
}

TEST(NdTest, AWrongChecksumCountsUnlessTheSenderLeftItToHardware) {
  Octets frame = NeighbourSolicitation(kGuest6, "2001:db8::1");
  frame[57] ^= 0x5a;
  EXPECT_VERDICT(Ask(frame), kMalformed);
  const Tables tables = TestTables();
  EXPECT_ANSWER(Respond(TestPort(), tables, frame, true), kNaGateway);
}

// ---- router discovery ---------------------------------------------------------------------------

TEST(RouterTest, Advertisements) {
  EXPECT_ANSWER(Ask(RouterSolicitation(kGuestLinkLocal, true)), kRa);
  EXPECT_ANSWER(Ask(RouterSolicitation(kGuestLinkLocal, false)), kRa);
  EXPECT_ANSWER(Ask(RouterSolicitation("::", false)), kRaAll);
}

TEST(RouterTest, Unsolicited) {
  const Tables tables = TestTables();
  EXPECT_EQ(ToHex(UnsolicitedAdvertisement(TestPort(), tables)), ToHex(Hex(golden::kRaAll)));
}

TEST(RouterTest, WithoutAGatewayTheRouterIsNone) {
  SlowPathSubnet subnet = TestSubnet();
  subnet.gateway6.reset();
  EXPECT_ANSWER(AskIn(subnet, RouterSolicitation("::", false)), kRaNoRouter);
}

TEST(RouterTest, WithoutIpv6ThereIsNothingToAdvertise) {
  SlowPathSubnet subnet = TestSubnet();
  subnet.gateway6.reset();
  subnet.prefix6.reset();
  EXPECT_VERDICT(AskIn(subnet, RouterSolicitation("::", false)), kUnknown);
  Tables tables;
  ASSERT_TRUE(tables.Put(subnet).ok());
  EXPECT_TRUE(UnsolicitedAdvertisement(TestPort(), tables).empty());
}

TEST(RouterTest, AnMtuThatIpv6DoesNotKnowIsNotTold) {
  SlowPathSubnet subnet = TestSubnet();
  subnet.mtu = 1000;
  const Answer answer = AskIn(subnet, RouterSolicitation("::", false));
  EXPECT_EQ(answer.frame.size(), Hex(golden::kRaAll).size() - 8);
}

TEST(RouterTest, RefusedSolicitations) {
  EXPECT_VERDICT(Ask(RouterSolicitation("::", true)), kMalformed);
  EXPECT_VERDICT(Ask(RouterSolicitation("2001:db8::7", true)), kSpoofed);
}

// ---- echo and time exceeded
// -----------------------------------------------------------------------

TEST(IcmpTest, TheGatewayAnswersEcho) {
  EXPECT_ANSWER(Ask(Ping4()), kEcho4);
  EXPECT_ANSWER(Ask(Ping6()), kEcho6);
  EXPECT_VERDICT(Ask(Ping6(kGatewayLinkLocalText)), kUnknown);  // no rule traps it
}

TEST(IcmpTest, OtherAddressesAreNotOurs) {
  EXPECT_VERDICT(Ask(Ping4("10.1.0.1")), kUnknown);
  EXPECT_VERDICT(Ask(Ping6("2001:db8:1::1")), kUnknown);
}

TEST(IcmpTest, EchoOfSomebodyElse) {
  const Octets echo = Icmp4(Octets{8, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_VERDICT(Ask(EthernetFrame(kGatewayText, kGuestMac, 0x0800,
                                   Ip4Packet("10.0.0.7", "10.0.0.1", 1, echo))),
                 kSpoofed);
  EXPECT_VERDICT(Ask(EthernetFrame(kGatewayText, kGuestMac, 0x0800,
                                   Ip4Packet("0.0.0.0", "10.0.0.1", 1, echo))),
                 kSpoofed);
}

TEST(IcmpTest, FragmentsOfAnEcho) {
  const Octets echo = Icmp4(Octets{8, 0, 0, 0, 0, 0, 0, 0});
  for (const uint16_t fragment : {0x2000, 0x0001}) {
    EXPECT_VERDICT(
        Ask(EthernetFrame(kGatewayText, kGuestMac, 0x0800,
                          Ip4Packet(kGuest4, "10.0.0.1", 1, echo, {.fragment = fragment}))),
        kQuiet);
  }
}

TEST(IcmpTest, WhatIsAtItsLastHop) {
  EXPECT_ANSWER(Ask(LastHop4()), kExceeded4);
  EXPECT_ANSWER(Ask(LastHop6()), kExceeded6);
}

TEST(IcmpTest, ALongPacketIsQuotedInPart) {
  const Octets far4 = Ip4Packet(kGuest4, "192.0.2.9", 17, Octets(1400), {.ttl = 1});
  EXPECT_EQ(Ask(EthernetFrame(kGatewayText, kGuestMac, 0x0800, far4)).frame.size(), 14 + 576U);
  const Octets far6 = Ip6Packet(kGuest6, "2001:db8:9::9", 17, Octets(1400), 1);
  EXPECT_EQ(Ask(EthernetFrame(kGatewayText, kGuestMac, 0x86dd, far6)).frame.size(), 14 + 1280U);
}

TEST(IcmpTest, ErrorsFragmentsAndGroupsCauseNoError) {
  const auto four = [](std::string_view to, uint8_t protocol, const Octets& payload,
                       uint16_t fragment = 0) {
    return EthernetFrame(
        kGatewayText, kGuestMac, 0x0800,
        Ip4Packet(kGuest4, to, protocol, payload, {.ttl = 1, .fragment = fragment}));
  };
  EXPECT_VERDICT(Ask(four("192.0.2.9", 1, Icmp4(Hex("0b00[26]")))), kQuiet);
  EXPECT_VERDICT(Ask(four("192.0.2.9", 1, {})), kQuiet);
  EXPECT_VERDICT(Ask(four("192.0.2.9", 17, Octets(8), 1)), kQuiet);
  EXPECT_VERDICT(Ask(four("224.0.0.5", 17, Octets(8))), kQuiet);
  EXPECT_VERDICT(Ask(four("255.255.255.255", 17, Octets(8))), kQuiet);
  EXPECT_VERDICT(Ask(four("127.0.0.1", 17, Octets(8))), kQuiet);
  EXPECT_EQ(Ask(four("192.0.2.9", 1, Icmp4(Hex("0800[6]")))).verdict, Verdict::kAnswered);
  EXPECT_EQ(Ask(four("192.0.2.9", 17, Octets(8), 0x2000)).verdict, Verdict::kAnswered);

  const auto six = [](std::string_view to, uint8_t next, const Octets& payload,
                      std::string_view from = kGuest6) {
    return EthernetFrame(kGatewayText, kGuestMac, 0x86dd, Ip6Packet(from, to, next, payload, 1));
  };
  constexpr char kFar[] = "2001:db8:9::9";
  EXPECT_VERDICT(Ask(six(kFar, 58, Hex("0100[6]"))), kQuiet);
  EXPECT_VERDICT(Ask(six(kFar, 58, Hex("8900[6]"))), kQuiet);           // a redirect
  EXPECT_VERDICT(Ask(six(kFar, 0, Hex("3a00[6]0300[6]"))), kQuiet);     // an error behind options
  EXPECT_VERDICT(Ask(six(kFar, 44, Hex("110000080000[10]"))), kQuiet);  // not the first fragment
  EXPECT_VERDICT(Ask(six("ff0e::5", 17, Octets(8))), kQuiet);
  EXPECT_VERDICT(Ask(six(kFar, 17, Octets(8), kGuestLinkLocal)), kQuiet);
  EXPECT_VERDICT(Ask(six(kFar, 60, Hex("3cff"))), kQuiet);
  EXPECT_EQ(Ask(six(kFar, 58, Hex("8000[6]"))).verdict, Verdict::kAnswered);
  EXPECT_EQ(Ask(six(kFar, 44, Hex("110000010000[10]"))).verdict, Verdict::kAnswered);
}

TEST(IcmpTest, WithoutAGatewayThereIsNoRouter) {
  SlowPathSubnet subnet = TestSubnet();
  subnet.gateway4.reset();
  subnet.gateway6.reset();
  EXPECT_VERDICT(AskIn(subnet, Ping4()), kQuiet);
  EXPECT_VERDICT(AskIn(subnet, LastHop4()), kQuiet);
  EXPECT_VERDICT(AskIn(subnet, LastHop6()), kQuiet);
}

// ---- all of them
// ----------------------------------------------------------------------------------

TEST(RespondTest, OfAnUnknownSubnetNothingIsKnown) {
  SlowPathPort port = TestPort();
  port.subnet = "elsewhere";
  for (const Octets& frame : AllQuestions()) EXPECT_VERDICT(Ask(frame, port), kUnknown);
}

TEST(RespondTest, OfAnotherMacNothingIsTaken) {
  SlowPathPort port = TestPort();
  port.mac = *MacAddress::Parse("52:54:00:00:00:99");
  for (const Octets& frame : AllQuestions()) EXPECT_VERDICT(Ask(frame, port), kSpoofed);
}

TEST(RespondTest, OtherFramesAreLeftAlone) {
  EXPECT_VERDICT(Ask(EthernetFrame(kAllMac, kGuestMac, 0x88cc, Octets(40))), kQuiet);
  EXPECT_VERDICT(Ask(EthernetFrame(kOtherMac, kGuestMac, 0x0800,
                                   Ip4Packet(kGuest4, "10.0.0.7", 17, Octets(8)))),
                 kQuiet);
  EXPECT_VERDICT(Ask(EthernetFrame("33:33:00:00:00:fb", kGuestMac, 0x86dd,
                                   Ip6Packet(kGuestLinkLocal, "ff02::fb", 17, Octets(8)))),
                 kQuiet);
}

}  // namespace
}  // namespace fairlead::slowpath
