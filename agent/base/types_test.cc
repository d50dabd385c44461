// SPDX-License-Identifier: Apache-2.0
#include "agent/base/types.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

constexpr int kRounds = 2000;

template <size_t N>
std::array<uint8_t, N> RandomBytes(std::mt19937& random) {
  std::array<uint8_t, N> out{};
  // Sparse ones too: they exercise the "::" of IPv6 text.
  const bool sparse = random() % 2 == 0;
  for (uint8_t& b : out) b = sparse && random() % 3 != 0 ? 0 : static_cast<uint8_t>(random());
  return out;
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(MacAddressTest, EveryAddressParsesBackFromItsText) {
  std::mt19937 random(1);
  for (int i = 0; i < kRounds; ++i) {
    MacAddress mac(RandomBytes<6>(random));
    auto parsed = MacAddress::Parse(mac.ToString());
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, mac);
    EXPECT_EQ(MacAddress::FromBytes(mac.bytes()), mac);
  }
}

TEST(MacAddressTest, EitherCaseIsReadAndLowerCaseIsWritten) {
  EXPECT_EQ(MacAddress::Parse("52:54:00:AB:cD:0e")->ToString(), "52:54:00:ab:cd:0e");
}

TEST(MacAddressTest, WhatIsNoAddressIsRefusedAndQuoted) {
  for (const char* bad :
       {"", "52:54:00:00:01", "52:54:00:00:01:0a:", "52-54-00-00-01-0a", "525400:0001:0a:00",
        "g2:54:00:00:01:0a", "52:54:00:00:01:0a ", " 2:54:00:00:01:0a", "+2:54:00:00:01:0a"}) {
    auto parsed = MacAddress::Parse(bad);
    ASSERT_FALSE(parsed.ok()) << bad;
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Message(parsed.status()), HasSubstr(std::string("'") + bad + "'"));
  }
}

TEST(MacAddressTest, OnlySixOctetsOfAnAttributeAreAnAddress) {
  std::vector<uint8_t> bytes(20, 0x52);  // IPoIB has 20
  for (size_t n = 0; n <= bytes.size(); ++n) {
    EXPECT_EQ(MacAddress::FromBytes({bytes.data(), n}).has_value(), n == 6) << n;
  }
}

TEST(MacAddressTest, BroadcastMulticastAndZeroAreNoStationsAddress) {
  EXPECT_FALSE(MacAddress::Parse("ff:ff:ff:ff:ff:ff")->IsUnicast());
  EXPECT_FALSE(MacAddress::Parse("33:33:00:00:00:01")->IsUnicast());
  EXPECT_FALSE(MacAddress().IsUnicast());
  EXPECT_TRUE(MacAddress::Parse("52:54:00:00:00:01")->IsUnicast());
}

TEST(ErrorTextTest, LongAndHostileInputIsCutAndEscaped) {
  auto status = MacAddress::Parse(std::string(100000, 'x')).status();
  EXPECT_LT(status.message().size(), 400U);
  status = MacAddress::Parse("\x1b[2J").status();
  EXPECT_EQ(Message(status).find('\x1b'), std::string::npos);
}

TEST(IpAddressTest, EveryAddressParsesBackFromItsText) {
  std::mt19937 random(2);
  for (int i = 0; i < kRounds; ++i) {
    auto v4 = *IpAddress::FromBytes(RandomBytes<4>(random));
    auto v6 = *IpAddress::FromBytes(RandomBytes<16>(random));
    for (const IpAddress& address : {v4, v6}) {
      auto parsed = IpAddress::Parse(address.ToString());
      ASSERT_TRUE(parsed.ok()) << parsed.status();
      EXPECT_EQ(*parsed, address) << address.ToString();
    }
    EXPECT_NE(v4, v6);
  }
}

TEST(IpAddressTest, WhatIsNoAddressIsRefused) {
  for (std::string bad : {"", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1/24", "fe80::1%eth0",
                          "::1::", "1.2.3.4.5", "localhost", "10.0.0.1 "}) {
    EXPECT_FALSE(IpAddress::Parse(bad).ok()) << bad;
  }
  EXPECT_FALSE(IpAddress::Parse(std::string("10.0.0.1\0x", 10)).ok());
  EXPECT_FALSE(IpAddress::Parse("10.0.0.1" + std::string(60, '0')).ok());
}

TEST(IpAddressTest, KindsOfAddresses) {
  EXPECT_TRUE(IpAddress::Parse("239.1.2.3")->IsMulticast());
  EXPECT_FALSE(IpAddress::Parse("240.0.0.1")->IsMulticast());
  EXPECT_TRUE(IpAddress::Parse("ff02::1")->IsMulticast());
  EXPECT_TRUE(IpAddress::Parse("127.9.9.9")->IsLoopback());
  EXPECT_TRUE(IpAddress::Parse("::1")->IsLoopback());
  EXPECT_FALSE(IpAddress::Parse("::2")->IsLoopback());
  EXPECT_TRUE(IpAddress::Parse("::")->IsUnspecified());
  EXPECT_TRUE(IpAddress::Parse("0.0.0.0")->IsUnspecified());
  EXPECT_NE(*IpAddress::Parse("::"), *IpAddress::Parse("0.0.0.0"));
}

TEST(IpPrefixTest, EveryNetworkParsesBackFromItsText) {
  std::mt19937 random(3);
  for (int i = 0; i < kRounds; ++i) {
    auto address = random() % 2 == 0 ? *IpAddress::FromBytes(RandomBytes<4>(random))
                                     : *IpAddress::FromBytes(RandomBytes<16>(random));
    int length = static_cast<int>(random() % static_cast<uint32_t>(address.bits() + 1));
    std::string text = address.ToString() + "/" + std::to_string(length);
    auto prefix = IpPrefix::Parse(text);
    if (!prefix.ok()) {
      // The message names the network; what it names must parse and hold the address.
      std::string message = Message(prefix.status());
      const std::string_view lead = "the network is ";
      size_t at = message.find(lead);
      ASSERT_NE(at, std::string::npos) << message;
      prefix = IpPrefix::Parse(message.substr(at + lead.size()));
    }
    ASSERT_TRUE(prefix.ok()) << text << ": " << prefix.status();
    EXPECT_EQ(prefix->length(), length);
    EXPECT_TRUE(prefix->Contains(address));
    EXPECT_TRUE(prefix->Contains(prefix->Last()));
    EXPECT_EQ(*IpPrefix::Parse(prefix->ToString()), *prefix);
  }
}

TEST(IpPrefixTest, HostBitsAreRefusedWithTheNetworkThatIsMeant) {
  auto prefix = IpPrefix::Parse("10.1.0.77/24");
  ASSERT_FALSE(prefix.ok());
  EXPECT_THAT(Message(prefix.status()), HasSubstr("the network is 10.1.0.0/24"));
}

TEST(IpPrefixTest, WhatIsNoNetworkIsRefused) {
  for (const char* bad :
       {"10.1.0.0", "10.1.0.0/", "10.1.0.0/33", "fd00::/129", "10.1.0.0/-1", "10.1.0.0/+8",
        "10.1.0.0/ 8", "/8", "10.1.0.0/8/8", "x/8", "10.1.0.0/0x8", "10.1.0.0/99999999999"}) {
    EXPECT_FALSE(IpPrefix::Parse(bad).ok()) << bad;
  }
}

TEST(IpPrefixTest, ContainsOverlapsAndLastAtOddLengths) {
  auto p = *IpPrefix::Parse("10.0.0.128/25");
  EXPECT_EQ(p.Last().ToString(), "10.0.0.255");
  EXPECT_TRUE(p.Contains(*IpAddress::Parse("10.0.0.200")));
  EXPECT_FALSE(p.Contains(*IpAddress::Parse("10.0.0.127")));
  EXPECT_FALSE(p.Contains(*IpAddress::Parse("::a00:80")));
  EXPECT_TRUE(p.Overlaps(*IpPrefix::Parse("10.0.0.0/8")));
  EXPECT_TRUE(IpPrefix::Parse("10.0.0.0/8")->Overlaps(p));
  EXPECT_FALSE(p.Overlaps(*IpPrefix::Parse("10.0.0.0/25")));
  EXPECT_FALSE(IpPrefix::Parse("0.0.0.0/0")->Overlaps(*IpPrefix::Parse("::/0")));
  EXPECT_EQ(IpPrefix::Parse("fd00::/127")->Last().ToString(), "fd00::1");
}

TEST(PciAddressTest, EveryAddressParsesBackFromItsText) {
  std::mt19937 random(4);
  for (int i = 0; i < kRounds; ++i) {
    PciAddress pci{static_cast<uint16_t>(random()), static_cast<uint8_t>(random()),
                   static_cast<uint8_t>(random() % 32), static_cast<uint8_t>(random() % 8)};
    auto parsed = PciAddress::Parse(pci.ToString());
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, pci);
  }
}

TEST(PciAddressTest, WhatIsNoAddressIsRefused) {
  for (const char* bad : {"", "01:00.1", "0000:01:20.0", "0000:01:00.8", "0000-01:00.1",
                          "10000:01:00.1", "0000:01:00.1/../x", "0000:01:0x.1"}) {
    EXPECT_FALSE(PciAddress::Parse(bad).ok()) << bad;
  }
}

TEST(VniTest, ZeroAndMoreThan24BitsAreRefused) {
  EXPECT_FALSE(Vni::Make(0).ok());
  EXPECT_EQ(Vni::Make(1)->value(), 1U);
  EXPECT_EQ(Vni::Make(0xffffff)->value(), 0xffffffU);
  auto status = Vni::Make(0x1000000).status();
  EXPECT_THAT(Message(status), HasSubstr("1 to 16777215"));
  EXPECT_FALSE(Vni::Make((uint64_t{1} << 32) + 5).ok());  // must not wrap to 5
}

TEST(UuidTest, TextFormIsCheckedAndKeptInLowerCase) {
  auto uuid = Uuid::Parse("123E4567-e89b-42d3-a456-426614174000");
  ASSERT_TRUE(uuid.ok()) << uuid.status();
  EXPECT_EQ(uuid->ToString(), "123e4567-e89b-42d3-a456-426614174000");
  EXPECT_EQ(*Uuid::Parse(uuid->ToString()), *uuid);
  EXPECT_TRUE(Uuid().empty());
  for (const char* bad :
       {"", "123e4567e89b42d3a456426614174000", "123e4567-e89b-42d3-a456-42661417400",
        "123e4567-e89b-42d3-a456-42661417400g", "{23e4567-e89b-42d3-a456-426614174000",
        "123e4567-e89b-42d3-a456_426614174000"}) {
    EXPECT_FALSE(Uuid::Parse(bad).ok()) << bad;
  }
}

TEST(ObjectIdTest, OnlyNamesThatAreSafeEverywhereAreTaken) {
  for (const char* good : {"a", "0", "web-0", "A.b_c-d"}) {
    EXPECT_TRUE(CheckObjectId(good).ok()) << good;
  }
  EXPECT_TRUE(CheckObjectId(std::string(63, 'x')).ok());
  EXPECT_FALSE(CheckObjectId(std::string(64, 'x')).ok());
  for (const char* bad : {"", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "\xc3\xa4", "a,b"}) {
    EXPECT_FALSE(CheckObjectId(bad).ok()) << bad;
  }
  EXPECT_FALSE(CheckObjectId(std::string_view("a\0b", 3)).ok());
}

TEST(StableHashTest, HasThePublishedValues) {
  // draft-eastlake-fnv, appendix C: test vectors for 64-bit FNV-1a.
  EXPECT_EQ(StableHash(""), 0xcbf29ce484222325ULL);
  EXPECT_EQ(StableHash("a"), 0xaf63dc4c8601ec8cULL);
  EXPECT_EQ(StableHash("foobar"), 0x85944171f73967e8ULL);
}

TEST(VfIdTest, IsItsNicAndANumber) {
  for (const char* text : {"52:54:00:00:00:01/0", "52:54:00:00:00:01/65535", "0000:00:04.0/3"}) {
    const absl::StatusOr<VfId> vf = VfId::Parse(text);
    ASSERT_TRUE(vf.ok()) << vf.status();
    EXPECT_EQ(vf->ToString(), text);
  }
  for (const char* bad :
       {"", "/", "/3", "3", "52:54:00:00:00:01", "52:54:00:00:00:01/", "52:54:00:00:00:01/65536",
        "52:54:00:00:00:01/-1", "52:54:00:00:00:01/3 ", "52:54:00:00:00:01/+3", "pf0/3"}) {
    EXPECT_FALSE(VfId::Parse(bad).ok()) << bad;
  }
}

TEST(NicIdTest, IsAPfsMacOrTheAddressOfAHotplugPort) {
  const auto pf = NicId::Parse("52:54:00:00:00:01");
  const auto port = NicId::Parse("0000:00:04.0");
  ASSERT_TRUE(pf.ok() && port.ok());
  EXPECT_FALSE(pf->is_hotplug_port());
  EXPECT_TRUE(port->is_hotplug_port());
  EXPECT_EQ(pf->ToString(), "52:54:00:00:00:01");
  EXPECT_EQ(port->ToString(), "0000:00:04.0");
  EXPECT_NE(*pf, *port);
  for (const char* bad : {"", "pf0", "52:54:00:00:00", "0000:00:04", "00:04.0.1"}) {
    EXPECT_FALSE(NicId::Parse(bad).ok()) << bad;
  }
}

TEST(ValueTypesTest, HashInSetsByValue) {
  absl::flat_hash_set<VfId> vfs;
  auto pf = *MacAddress::Parse("52:54:00:00:00:01");
  vfs.insert({pf, 3});
  EXPECT_TRUE(vfs.contains(VfId{pf, 3}));
  EXPECT_FALSE(vfs.contains(VfId{pf, 4}));
  EXPECT_EQ((VfId{pf, 3}).ToString(), "52:54:00:00:00:01/3");
}

}  // namespace
}  // namespace fairlead
