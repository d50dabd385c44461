// SPDX-License-Identifier: Apache-2.0
#include "agent/store/object_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/store/test_contents.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

std::string Refusal(ObjectKind kind, std::string_view body) {
  const absl::StatusOr<Object> object = DecodeObject({kind, "x1"}, body);
  EXPECT_FALSE(object.ok()) << body;
  EXPECT_EQ(object.status().code(), absl::StatusCode::kDataLoss);
  return std::string(object.status().message());
}

TEST(ObjectCodec, EveryObjectComesBackAsItWas) {
  Random random(1);
  for (int i = 0; i < 2000; ++i) {
    const ObjectKind kind = kAllObjectKinds[Below(random, 5)];
    const Object object = RandomObject(random, kind, "x1");
    const absl::StatusOr<Object> again = DecodeObject({kind, "x1"}, EncodeObject(object));
    ASSERT_TRUE(again.ok()) << again.status() << EncodeObject(object);
    EXPECT_TRUE(*again == object) << EncodeObject(object);
  }
}

TEST(ObjectCodec, EveryAttachmentComesBackAsItWas) {
  Random random(2);
  for (int i = 0; i < 500; ++i) {
    const Attachment attachment = RandomAttachment(random, static_cast<uint16_t>(i));
    const auto again = DecodeAttachment(attachment.vf, EncodeAttachment(attachment));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(*again == attachment);
  }
}

TEST(ObjectCodec, EveryRecordOfAVfComesBackAsItWas) {
  Random random(3);
  for (int i = 0; i < 500; ++i) {
    const SanitationRecord record = RandomSanitation(random, static_cast<uint16_t>(i));
    const auto again = DecodeSanitation(record.vf, EncodeSanitation(record));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(*again == record) << EncodeSanitation(record);
  }
}

TEST(ObjectCodec, TheStoredFormOfARecordStaysWhatItWas) {
  const VfId vf{*MacAddress::Parse("52:54:00:00:00:01"), 3};
  SanitationRecord record;
  record.vf = vf;
  record.verdict = Verdict::kReleased;
  record.reason = "vlan is 100: should be none";
  record.findings = {{"vlan", FindingState::kDirty, "100", "should be none"},
                     {"guid", FindingState::kUnprovable, "", "x"}};
  record.checked_at = std::chrono::system_clock::time_point(std::chrono::nanoseconds(5));
  record.lease = 7;
  record.port = "a-lan";
  record.released_by = "fairleadctl";
  record.released_at = record.checked_at;
  const std::string text =
      R"({"checked_at":5,"lease":7,"port":"a-lan","reason":"vlan is 100: should be none",)"
      R"("released_at":5,"released_by":"fairleadctl","state":["dirty","unprovable"],)"
      R"("value":["100",""],"verdict":"released","vm":"","what":["vlan","guid"],)"
      R"("why":["should be none","x"]})";
  EXPECT_EQ(EncodeSanitation(record), text);
  const auto refusal = [&](std::string_view from, std::string_view to) {
    std::string damaged = text;
    damaged.replace(damaged.find(from), from.size(), to);
    return std::string(DecodeSanitation(vf, damaged).status().message());
  };
  EXPECT_THAT(refusal(R"(["100",""])", R"(["100"])"), HasSubstr("lists of different lengths"));
  EXPECT_THAT(refusal("unprovable", "unlikely"), HasSubstr("unknown 'state'"));
  EXPECT_THAT(refusal(R"("verdict":"released")", R"("verdict":"freed")"),
              HasSubstr("unknown 'verdict'"));
  EXPECT_THAT(refusal("a-lan", "../x"), HasSubstr("bad 'port'"));
}

// The names of enumerators are a file format: a renamed one must not get by.
TEST(ObjectCodec, TheStoredFormStaysWhatItWas) {
  Port port;
  port.id = "x1";
  port.vm = "vm-1";
  port.vpc = "v";
  port.subnet = "s";
  port.mac = *MacAddress::Parse("52:54:00:00:01:0a");
  port.addresses = {*IpAddress::Parse("10.0.0.5"), *IpAddress::Parse("2001:db8::5")};
  port.network = NetworkKind::kConverged;
  port.offload = OffloadWish::kMust;
  EXPECT_EQ(EncodeObject(port),
            R"({"addresses":["10.0.0.5","2001:db8::5"],"mac":"52:54:00:00:01:0a",)"
            R"("network":"converged","offload":"must","subnet":"s","vm":"vm-1","vpc":"v"})");
  port.function = FunctionSource::kHotplug;  // unsaid for a VF, as before there was it
  EXPECT_THAT(EncodeObject(port), HasSubstr(R"("function":"hotplug","mac")"));
  Attachment attachment;
  attachment.vf = {*MacAddress::Parse("52:54:00:00:00:01"), 3};
  attachment.lease = UINT64_MAX;
  attachment.phase = AttachmentPhase::kRollingBack;
  attachment.port = "x1";
  attachment.port_ordinal = 7;
  attachment.vpc = "v";
  attachment.vni = *Vni::Make(1);
  EXPECT_EQ(EncodeAttachment(attachment),
            R"({"bus":"","generation":0,"lease":18446744073709551615,"phase":"rolling-back",)"
            R"("port":"x1","port_ordinal":7,"transaction":0,"vm":"","vm_uuid":"","vni":1,)"
            R"("vpc":"v"})");
  attachment.vni.reset();
  EXPECT_THAT(EncodeAttachment(attachment), HasSubstr(R"("vni":0,)"));
  EXPECT_EQ(*DecodeAttachment(attachment.vf, EncodeAttachment(attachment)), attachment);
}

// What an earlier version wrote has no key of VLAN networks.
TEST(ObjectCodec, VlanNetworksAddKeysWhoseAbsenceIsTheDefault) {
  EXPECT_EQ(EncodeObject(Vpc{"x1", {}, *VlanId::Make(100)}), R"({"vlan":100})");
  EXPECT_THAT(Refusal(ObjectKind::kVpc, R"({"vlan":4095})"), HasSubstr("outside 1..4094"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, R"({"vlan":7,"vni":7})"), HasSubstr("a key 'vni'"));
  Port port;
  port.id = "x1";
  port.vpc = "v";
  port.subnet = "s";
  const std::string plain = EncodeObject(port);
  port.spoof_check = false;
  port.trust = true;
  port.max_tx_mbps = 500;
  port.min_tx_mbps = 100;
  EXPECT_EQ(EncodeObject(port),
            R"({"addresses":[],"max_tx_mbps":500,"min_tx_mbps":100,"network":"compute",)"
            R"("offload":"prefer","spoof_check":false,"subnet":"s","trust":true,"vm":"",)"
            R"("vpc":"v"})");
  const absl::StatusOr<Object> before = DecodeObject({ObjectKind::kPort, "x1"}, plain);
  ASSERT_TRUE(before.ok()) << before.status();
  EXPECT_EQ(std::get<Port>(*before).spoof_check, std::nullopt);
  EXPECT_EQ(std::get<Port>(*before).max_tx_mbps, 0u);
  Attachment attachment;
  attachment.vf = {*MacAddress::Parse("52:54:00:00:00:01"), 3};
  attachment.lease = 1;
  attachment.port = "x1";
  attachment.port_ordinal = 7;
  attachment.vpc = "v";
  attachment.vlan = *VlanId::Make(100);
  EXPECT_THAT(EncodeAttachment(attachment), HasSubstr(R"("vlan":100,)"));
  EXPECT_EQ(*DecodeAttachment(attachment.vf, EncodeAttachment(attachment)), attachment);
}

// The literal bodies are those of a store that was written before subnets had gateways.
TEST(ObjectCodec, RoutedVpcsAddKeysWhoseAbsenceIsTheDefault) {
  const std::string old_subnet = R"({"prefix4":"10.0.0.0/24","prefix6":"2001:db8::/64","vpc":"v"})";
  const absl::StatusOr<Object> subnet_before =
      DecodeObject({ObjectKind::kSubnet, "x1"}, old_subnet);
  ASSERT_TRUE(subnet_before.ok()) << subnet_before.status();
  Subnet subnet{"x1", "v", *IpPrefix::Parse("10.0.0.0/24"), *IpPrefix::Parse("2001:db8::/64")};
  EXPECT_EQ(std::get<Subnet>(*subnet_before), subnet);
  EXPECT_EQ(EncodeObject(subnet), old_subnet);
  subnet.gateway4 = *IpAddress::Parse("10.0.0.1");
  subnet.gateway6 = *IpAddress::Parse("2001:db8::1");
  subnet.dns_servers = {*IpAddress::Parse("10.0.0.2"), *IpAddress::Parse("2001:db8:5::53")};
  const std::string new_subnet =
      R"({"dns_servers":["10.0.0.2","2001:db8:5::53"],"gateway4":"10.0.0.1",)"
      R"("gateway6":"2001:db8::1","prefix4":"10.0.0.0/24","prefix6":"2001:db8::/64","vpc":"v"})";
  EXPECT_EQ(EncodeObject(subnet), new_subnet);
  EXPECT_EQ(std::get<Subnet>(*DecodeObject({ObjectKind::kSubnet, "x1"}, new_subnet)), subnet);

  const std::string old_port =
      R"({"addresses":["10.0.0.5"],"network":"compute","offload":"prefer","subnet":"s","vm":"",)"
      R"("vpc":"v"})";
  const absl::StatusOr<Object> port_before = DecodeObject({ObjectKind::kPort, "x1"}, old_port);
  ASSERT_TRUE(port_before.ok()) << port_before.status();
  Port port = std::get<Port>(*port_before);
  EXPECT_TRUE(port.allowed_pairs.empty());
  EXPECT_EQ(EncodeObject(port), old_port);
  port.allowed_pairs = {{{}, *IpPrefix::Parse("10.0.0.100/32")},
                        {*MacAddress::Parse("02:00:5e:00:01:07"), *IpPrefix::Parse("fd00::/64")}};
  const std::string new_port =
      StrCat(R"({"addresses":["10.0.0.5"],)",
             R"("allowed_pairs":["10.0.0.100/32","02:00:5e:00:01:07 fd00::/64"],)",
             old_port.substr(old_port.find(R"("network")")));
  EXPECT_EQ(EncodeObject(port), new_port);
  EXPECT_EQ(std::get<Port>(*DecodeObject({ObjectKind::kPort, "x1"}, new_port)), port);

  const auto refusal = [](ObjectKind kind, std::string text, std::string_view from,
                          std::string_view to) {
    text.replace(text.find(from), from.size(), to);
    return Refusal(kind, text);
  };
  EXPECT_THAT(refusal(ObjectKind::kSubnet, new_subnet, "10.0.0.1", "2001:db8::9"),
              HasSubstr("a 'gateway4' that is not IPv4"));
  EXPECT_THAT(refusal(ObjectKind::kSubnet, new_subnet, "2001:db8::1", "10.0.0.9"),
              HasSubstr("a 'gateway6' that is not IPv6"));
  EXPECT_THAT(refusal(ObjectKind::kSubnet, new_subnet, "10.0.0.1", "nowhere"),
              HasSubstr("bad 'gateway4'"));
  EXPECT_THAT(refusal(ObjectKind::kSubnet, new_subnet, "10.0.0.2", "nowhere"),
              HasSubstr("bad 'dns_servers'"));
  for (const char* pair : {"10.0.0.100", "10.0.0.100/24", "02:00 10.0.0.0/24", " 10.0.0.0/24",
                           "02:00:5e:00:01:07  10.0.0.0/24", "02:00:5e:00:01:07", ""}) {
    EXPECT_THAT(refusal(ObjectKind::kPort, new_port, "10.0.0.100/32", pair),
                HasSubstr("bad 'allowed_pairs'"))
        << pair;
  }
  EXPECT_THAT(refusal(ObjectKind::kPort, new_port, R"("10.0.0.100/32")", "7"),
              HasSubstr("something in 'allowed_pairs' that is no string"));
}

TEST(ObjectCodec, ADamagedBodyIsRefusedByNameAndKey) {
  EXPECT_THAT(Refusal(ObjectKind::kVpc, ""), HasSubstr("vpc/x1 is no JSON text"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, "[1]"), HasSubstr("is no JSON object"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, "{}"), HasSubstr("no number 'vni'"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, R"({"vni":0})"),
              HasSubstr("'vni' = 0, outside 1..16777215"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, R"({"vni":-1})"), HasSubstr("'vni'"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, R"({"vni":1.5})"), HasSubstr("'vni'"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, R"({"vni":1e3})"), HasSubstr("'vni'"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, R"({"vni":5,"color":"red"})"),
              HasSubstr("key 'color' that this version does not know"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, R"({"vni":5,"vni":6})"), HasSubstr("a key twice"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, R"({"vni":{"a":1}})"), HasSubstr("within the object"));
  EXPECT_THAT(Refusal(ObjectKind::kVm, R"({"uuid":"nope"})"), HasSubstr("bad 'uuid'"));
  EXPECT_THAT(Refusal(ObjectKind::kSubnet, R"({"vpc":"v"})"), HasSubstr("no prefix"));
  EXPECT_THAT(Refusal(ObjectKind::kSubnet, R"({"vpc":"v","prefix4":"2001:db8::/32"})"),
              HasSubstr("not IPv4"));
  EXPECT_THAT(Refusal(ObjectKind::kSubnet, R"({"vpc":"../x","prefix4":"10.0.0.0/8"})"),
              HasSubstr("bad 'vpc'"));
  EXPECT_THAT(Refusal(ObjectKind::kPort,
                      R"({"addresses":[1],"network":"compute","offload":"must","subnet":"s",)"
                      R"("vm":"","vpc":"v"})"),
              HasSubstr("'addresses'"));
  EXPECT_THAT(Refusal(ObjectKind::kPort,
                      R"({"addresses":[],"network":"warp","offload":"must","subnet":"s",)"
                      R"("vm":"","vpc":"v"})"),
              HasSubstr("unknown 'network'"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, std::string(kMaxStoredBody + 1, ' ')),
              HasSubstr("more than 1048576"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, std::string(100000, '[')), HasSubstr("no JSON text"));
  EXPECT_FALSE(DecodeObject({ObjectKind::kVpc, "a/b"}, R"({"vni":5})").ok());
}

}  // namespace
}  // namespace fairlead
