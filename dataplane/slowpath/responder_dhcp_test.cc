// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "dataplane/slowpath/responder.h"
#include "dataplane/slowpath/test_frames.h"
#include "dataplane/slowpath/test_golden.h"

namespace fairlead::slowpath {
namespace {

Answer Ask(const Octets& frame, const SlowPathPort& port = TestPort(),
           const SlowPathSubnet& subnet = TestSubnet()) {
  Tables tables = TestTables();
  EXPECT_TRUE(tables.Put(subnet).ok());
  return Respond(port, tables, frame, false);
}

void ExpectAnswer(const Answer& answer, const char* wanted) {
  EXPECT_EQ(static_cast<int>(answer.verdict), static_cast<int>(Verdict::kAnswered));
  EXPECT_EQ(ToHex(answer.frame), ToHex(Hex(wanted)));
}

void ExpectVerdict(const Answer& answer, Verdict verdict) {
  EXPECT_EQ(static_cast<int>(answer.verdict), static_cast<int>(verdict));
  EXPECT_TRUE(answer.frame.empty()) << ToHex(answer.frame);
}

// ---- DHCPv4 -------------------------------------------------------------------------------------

enum : uint8_t { kDiscover = 1, kRequest = 3, kDecline = 4, kRelease = 7, kInform = 8 };

Octets Type(uint8_t type) { return DhcpOption(53, {type}); }
Octets ClientId() { return DhcpOption(61, Hex("01525400000005")); }
Octets Requested(std::string_view address) { return DhcpOption(50, Ip(address)); }
Octets ServerIdOf(std::string_view address) { return DhcpOption(54, Ip(address)); }

TEST(Dhcp4Test, Discover) {
  ExpectAnswer(Ask(Dhcp4(Type(kDiscover) + ClientId())), golden::kOffer);
  ExpectAnswer(Ask(Dhcp4(Type(kDiscover) + ClientId(), {.flags = 0x8000})), golden::kOfferToAll);
}

TEST(Dhcp4Test, RequestInEachState) {
  // Selecting, after a restart, renewing (to the server alone), rebinding.
  ExpectAnswer(
      Ask(Dhcp4(Type(kRequest) + Requested(kGuest4) + ServerIdOf("10.0.0.1") + ClientId())),
      golden::kAck);
  ExpectAnswer(Ask(Dhcp4(Type(kRequest) + Requested(kGuest4) + ClientId())), golden::kAck);
  ExpectAnswer(
      Ask(Dhcp4(Type(kRequest) + ClientId(),
                {.client = kGuest4, .from = kGuest4, .to = "10.0.0.1", .to_mac = kGatewayText})),
      golden::kAckRenewed);
  ExpectAnswer(Ask(Dhcp4(Type(kRequest) + ClientId(), {.client = kGuest4, .from = kGuest4})),
               golden::kAckRenewed);
}

TEST(Dhcp4Test, AnotherAddressIsRefused) {
  ExpectAnswer(
      Ask(Dhcp4(Type(kRequest) + Requested("10.0.0.9") + ServerIdOf("10.0.0.1") + ClientId())),
      golden::kNak);
  ExpectAnswer(Ask(Dhcp4(Type(kRequest) + Requested("10.0.0.9") + ClientId())), golden::kNak);
  ExpectAnswer(Ask(Dhcp4(Type(kRequest) + ClientId(), {.client = "10.0.0.9"})), golden::kNak);
}

TEST(Dhcp4Test, WhoChoseAnotherServerIsLeftAlone) {
  ExpectVerdict(Ask(Dhcp4(Type(kRequest) + Requested(kGuest4) + ServerIdOf("10.0.0.2"))),
                Verdict::kQuiet);
}

TEST(Dhcp4Test, InformReleaseDecline) {
  ExpectAnswer(Ask(Dhcp4(Type(kInform) + ClientId(), {.client = kGuest4, .from = kGuest4})),
               golden::kAckInform);
  ExpectVerdict(
      Ask(Dhcp4(Type(kRelease),
                {.client = kGuest4, .from = kGuest4, .to = "10.0.0.1", .to_mac = kGatewayText})),
      Verdict::kQuiet);
  ExpectVerdict(Ask(Dhcp4(Type(kDecline) + Requested(kGuest4))), Verdict::kQuiet);
}

TEST(Dhcp4Test, WithoutAGatewayTheServerHasAnAddressOfItsOwn) {
  SlowPathSubnet subnet = TestSubnet();
  subnet.gateway4.reset();
  const Answer answer = Ask(Dhcp4(Type(kDiscover)), TestPort(), subnet);
  ASSERT_EQ(answer.verdict, Verdict::kAnswered);
  const std::string text = ToHex(answer.frame);
  EXPECT_EQ(text.substr(52, 8), "a9fea9fd");                // from
  EXPECT_NE(text.find("3604a9fea9fd"), std::string::npos);  // server identifier
  EXPECT_EQ(text.find("03040a000001"), std::string::npos);  // no router
}

TEST(Dhcp4Test, SubnetMasks) {
  for (const auto& [prefix, option] :
       {std::pair("10.0.0.0/8", "0104ff000000"), std::pair("10.0.0.0/29", "0104fffffff8")}) {
    SlowPathSubnet subnet = TestSubnet();
    subnet.prefix4 = *IpPrefix::Parse(prefix);
    EXPECT_NE(ToHex(Ask(Dhcp4(Type(kDiscover)), TestPort(), subnet).frame).find(option),
              std::string::npos);
  }
}

TEST(Dhcp4Test, APortWithoutAnIpv4Address) {
  SlowPathPort port = TestPort();
  port.addresses = {*IpAddress::Parse(kGuest6)};
  ExpectVerdict(Ask(Dhcp4(Type(kDiscover)), port), Verdict::kUnknown);
}

TEST(Dhcp4Test, Spoofed) {
  ExpectVerdict(Ask(Dhcp4(Type(kDiscover), {.mac = kOtherMac})), Verdict::kSpoofed);
  ExpectVerdict(Ask(Dhcp4(Type(kDiscover), {.from = "10.0.0.7"})), Verdict::kSpoofed);
  ExpectVerdict(Ask(Dhcp4(Type(kInform), {.client = "10.0.0.7"})), Verdict::kSpoofed);
}

TEST(Dhcp4Test, OptionsInTheFieldsOfNames) {
  // Overload: the requested address stands in `file`.
  Octets frame = Dhcp4(Type(kRequest) + DhcpOption(52, {1}) + ClientId());
  const Octets option = Requested(kGuest4) + Octets{255};
  std::copy(option.begin(), option.end(), frame.begin() + 14 + 28 + 108);
  frame[40] = frame[41] = 0;  // no UDP checksum
  ExpectAnswer(Ask(frame), golden::kAck);
  // And says there that it is overloaded again.
  const Octets again = DhcpOption(52, {1}) + Octets{255};
  std::copy(again.begin(), again.end(), frame.begin() + 14 + 28 + 108);
  ExpectVerdict(Ask(frame), Verdict::kMalformed);
}

TEST(Dhcp4Test, TheLongestAnswerFitsWhatEveryClientTakes) {
  SlowPathPort port = TestPort();
  port.host_name = std::string(63, 'h');
  SlowPathSubnet subnet = TestSubnet();
  subnet.dns_servers.assign(8, *IpAddress::Parse("10.0.0.53"));
  const Answer answer =
      Ask(Dhcp4(Type(kDiscover) + DhcpOption(61, Octets(255, 0x41))), port, subnet);
  ASSERT_EQ(answer.verdict, Verdict::kAnswered);
  EXPECT_LE(answer.frame.size(), 14 + 576U);
}

TEST(Dhcp4Test, Malformed) {
  const struct {
    const char* name;
    Octets frame;
  } cases[] = {
      {"no type", Dhcp4(ClientId())},
      {"a type of two bytes", Dhcp4(DhcpOption(53, {1, 1}))},
      {"two types", Dhcp4(Type(1) + Type(1))},
      {"a server's type", Dhcp4(Type(5))},
      {"an address of three bytes", Dhcp4(Type(3) + DhcpOption(50, {10, 0, 0}))},
      {"an option that is too long", Dhcp4(Type(1) + Hex("3dff01"))},
      {"overload of nothing", Dhcp4(Type(1) + DhcpOption(52, {4}))},
      {"a request for nothing", Dhcp4(Type(3))},
      {"a request for two", Dhcp4(Type(3) + Requested(kGuest4), {.client = kGuest4})},
      {"a discovery with an address", Dhcp4(Type(1), {.client = kGuest4})},
      {"an inform without one", Dhcp4(Type(8))},
      {"no options", Dhcp4({})},
  };
  for (const auto& bad : cases) {
    SCOPED_TRACE(bad.name);
    ExpectVerdict(Ask(bad.frame), Verdict::kMalformed);
  }
  // Of the fixed part: operation, hardware, its length, relay, cookie.
  for (const size_t at : {0, 1, 2, 24, 236}) {
    Octets frame = Dhcp4(Type(1));
    frame[14 + 28 + at] ^= 0x40;
    frame[40] = frame[41] = 0;  // no UDP checksum
    ExpectVerdict(Ask(frame), Verdict::kMalformed);
  }
  Octets frame = Dhcp4(Type(1));
  frame[60] ^= 1;  // its checksum is wrong
  ExpectVerdict(Ask(frame), Verdict::kMalformed);
}

// ---- DHCPv6 -------------------------------------------------------------------------------------

constexpr uint32_t kIaid = 0x01020304;
Octets Ids() { return Dhcp6ClientId() + Dhcp6ServerId(); }

TEST(Dhcp6Test, SolicitAndRequest) {
  ExpectAnswer(Ask(Dhcp6(1, Dhcp6ClientId() + Dhcp6Ia(3, kIaid, {}))), golden::kAdvertise);
  ExpectAnswer(Ask(Dhcp6(1, Dhcp6ClientId() + Dhcp6Option(14, {}) + Dhcp6Ia(3, kIaid, {}))),
               golden::kReplyRapid);
  ExpectAnswer(Ask(Dhcp6(3, Ids() + Dhcp6Ia(3, kIaid, {kGuest6}))), golden::kReply6);
}

TEST(Dhcp6Test, RenewAndRebindEndWhatIsNotTheGuests) {
  const Octets ia = Dhcp6Ia(3, kIaid, {kGuest6, "2001:db8::bad"});
  ExpectAnswer(Ask(Dhcp6(5, Ids() + ia)), golden::kReplyRenew);
  ExpectAnswer(Ask(Dhcp6(6, Dhcp6ClientId() + ia)), golden::kReplyRenew);
}

TEST(Dhcp6Test, Confirm) {
  ExpectAnswer(Ask(Dhcp6(4, Dhcp6ClientId() + Dhcp6Ia(3, kIaid, {kGuest6}))),
               golden::kReplyConfirm);
  ExpectAnswer(Ask(Dhcp6(4, Dhcp6ClientId() + Dhcp6Ia(3, kIaid, {"2001:db8:1::5"}))),
               golden::kReplyConfirmNot);
  ExpectVerdict(Ask(Dhcp6(4, Dhcp6ClientId() + Dhcp6Ia(3, kIaid, {}))), Verdict::kQuiet);
}

TEST(Dhcp6Test, ReleaseDeclineInformation) {
  ExpectAnswer(Ask(Dhcp6(8, Ids() + Dhcp6Ia(3, kIaid, {kGuest6}))), golden::kReplyRelease);
  ExpectAnswer(Ask(Dhcp6(9, Ids() + Dhcp6Ia(3, kIaid, {kGuest6}))), golden::kReplyRelease);
  ExpectAnswer(Ask(Dhcp6(11, {})), golden::kReplyInformation);
}

TEST(Dhcp6Test, PrefixesTemporaryAddressesAndASecondAssociationAreRefused) {
  ExpectAnswer(Ask(Dhcp6(1, Dhcp6ClientId() + Dhcp6Ia(25, 8, {}) + Dhcp6Ia(4, 9, {}) +
                                Dhcp6Ia(3, kIaid, {}) + Dhcp6Ia(3, 7, {}))),
               golden::kAdvertiseOthers);
}

TEST(Dhcp6Test, APortWithoutAnIpv6Address) {
  SlowPathPort port = TestPort();
  port.addresses = {*IpAddress::Parse(kGuest4)};
  const std::string solicited =
      ToHex(Ask(Dhcp6(1, Dhcp6ClientId() + Dhcp6Ia(3, 1, {})), port).frame);
  EXPECT_NE(solicited.find("000d00210002"), std::string::npos) << solicited;  // NoAddrsAvail
  const std::string renewed = ToHex(Ask(Dhcp6(5, Ids() + Dhcp6Ia(3, 1, {kGuest6})), port).frame);
  EXPECT_NE(renewed.find("000d00110003"), std::string::npos) << renewed;  // NoBinding
}

TEST(Dhcp6Test, WhatIsToBeDiscarded) {
  const Octets ia = Dhcp6Ia(3, kIaid, {kGuest6});
  const Octets other = Dhcp6Option(2, Hex("00030001525400000007"));
  const struct {
    const char* name;
    Octets frame;
  } cases[] = {
      {"a solicit of nobody", Dhcp6(1, ia)},
      {"a solicit of one server", Dhcp6(1, Ids() + ia)},
      {"a request of another server", Dhcp6(3, Dhcp6ClientId() + other + ia)},
      {"a request of no server", Dhcp6(3, Dhcp6ClientId() + ia)},
      {"a renewal of another server", Dhcp6(5, Dhcp6ClientId() + other + ia)},
      {"a rebinding of one server", Dhcp6(6, Ids() + ia)},
      {"a confirmation of one server", Dhcp6(4, Ids() + ia)},
      {"information with an association", Dhcp6(11, ia)},
      {"a server's message", Dhcp6(2, Ids() + ia)},
      {"a relay's message", Dhcp6(12, Ids() + ia)},
  };
  for (const auto& discarded : cases) {
    SCOPED_TRACE(discarded.name);
    ExpectVerdict(Ask(discarded.frame), Verdict::kQuiet);
  }
}

TEST(Dhcp6Test, Malformed) {
  Octets many;
  for (uint32_t i = 0; i < 9; ++i) many = many + Dhcp6Ia(3, i, {});
  const struct {
    const char* name;
    Octets frame;
  } cases[] = {
      {"an option that is too long", Dhcp6(1, Dhcp6ClientId() + Hex("000300ff00"))},
      {"a DUID of 131 bytes", Dhcp6(1, Dhcp6Option(1, Octets(131)))},
      {"a DUID of two", Dhcp6(1, Dhcp6Option(1, Octets(2)))},
      {"two DUIDs", Dhcp6(1, Dhcp6ClientId() + Dhcp6ClientId())},
      {"a short association", Dhcp6(1, Dhcp6ClientId() + Dhcp6Option(3, Octets(11)))},
      {"a short address",
       Dhcp6(1, Dhcp6ClientId() + Dhcp6Option(3, Octets(12) + Dhcp6Option(5, Octets(23))))},
      {"nine associations", Dhcp6(1, Dhcp6ClientId() + many)},
      {"rapid commit with a value", Dhcp6(1, Dhcp6ClientId() + Dhcp6Option(14, {0}))},
  };
  for (const auto& bad : cases) {
    SCOPED_TRACE(bad.name);
    ExpectVerdict(Ask(bad.frame), Verdict::kMalformed);
  }
  Octets frame = Dhcp6(1, Dhcp6ClientId());
  frame[60] = frame[61] = 0;  // no checksum, which IPv6 does not know
  ExpectVerdict(Ask(frame), Verdict::kMalformed);
}

TEST(Dhcp6Test, TheLongestDuidIsGivenBack) {
  const Octets id = Dhcp6Option(1, Octets(130, 0x42));
  const Answer answer = Ask(Dhcp6(1, id + Dhcp6Ia(3, kIaid, {})));
  ASSERT_EQ(answer.verdict, Verdict::kAnswered);
  EXPECT_NE(ToHex(answer.frame).find(ToHex(id)), std::string::npos);
}

TEST(Dhcp6Test, Spoofed) {
  const Octets message = Octets{1, 0, 0, 1} + Dhcp6ClientId();
  ExpectVerdict(Ask(EthernetFrame("33:33:00:01:00:02", kGuestMac, 0x86dd,
                                  Udp6Packet("2001:db8::7", "ff02::1:2", 546, 547, message))),
                Verdict::kSpoofed);
}

}  // namespace
}  // namespace fairlead::slowpath
