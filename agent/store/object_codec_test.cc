// SPDX-License-Identifier: Apache-2.0
#include "agent/store/object_codec.h"

#include <gmock/gmock.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "agent/store/test_contents.h"
#include "fairlead/store/v1/body.pb.h"

namespace fairlead {
namespace {

std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  return text.replace(text.find(from), from.size(), to);
}

namespace pb = ::fairlead::store::v1;
using ::testing::HasSubstr;

const VfId kVf{MacAddress({0x52, 0x54, 0, 0, 0, 1}), 3};

// Protobuf's text form of a message as the bytes of a body.
template <typename Stored>
std::string Body(const std::string& text) {
  Stored message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message.SerializeAsString();
}

std::string Hex(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[static_cast<uint8_t>(c) >> 4];
    hex += kDigits[static_cast<uint8_t>(c) & 15];
  }
  return hex;
}

std::string Refusal(ObjectKind kind, std::string_view body) {
  const absl::StatusOr<Object> object = DecodeObject(kind, "x1", body);
  EXPECT_FALSE(object.ok()) << Hex(body);
  EXPECT_EQ(object.status().code(), absl::StatusCode::kDataLoss);
  return std::string(object.status().message());
}
std::string Refusal(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  return std::string(status.message());
}

TEST(ObjectCodec, EveryObjectComesBackAsItWas) {
  Random random(1);
  for (int i = 0; i < 2000; ++i) {
    const ObjectKind kind = kAllObjectKinds[Below(random, 5)];
    const Object object = RandomObject(random, kind, "x1");
    const std::string body = EncodeObject(object);
    const absl::StatusOr<Object> again = DecodeObject(kind, "x1", body);
    ASSERT_TRUE(again.ok()) << again.status() << Hex(body);
    EXPECT_TRUE(*again == object) << Hex(body);
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
    EXPECT_TRUE(*again == record) << Hex(EncodeSanitation(record));
  }
}

// The numbers of fields and enumerators are a file format: one that changed must not get by.
TEST(ObjectCodec, TheStoredFormStaysWhatItWas) {
  const auto expect = [](const Object& object, std::string_view hex) {
    EXPECT_EQ(Hex(EncodeObject(object)), hex) << RefOf(object).ToString();
  };
  expect(Vpc{"x1", *Vni::Make(1000)}, "08e807");
  expect(Vpc{"x1", {}, *VlanId::Make(100)}, "1064");
  Subnet subnet{"x1", "v", *IpPrefix::Parse("10.0.0.0/24"), *IpPrefix::Parse("2001:db8::/64")};
  subnet.gateway4 = *IpAddress::Parse("10.0.0.1");
  subnet.gateway6 = *IpAddress::Parse("2001:db8::1");
  subnet.dns_servers = {*IpAddress::Parse("10.0.0.2")};
  expect(subnet,
         "0a0176"
         "12050a00000018"
         "1a1120010db800000000000000000000000040"
         "22040a000001"
         "2a1020010db8000000000000000000000001"
         "32040a000002");
  expect(Vm{"x1", *Uuid::Parse("6f9619ff-8b86-4d01-b42d-00c04fc964ff")},
         "0a24"
         "36663936313966662d386238362d346430312d623432642d303063303466633936346666");
  Port port;
  port.id = "x1";
  port.vm = "a";
  port.vpc = "v";
  port.subnet = "s";
  expect(port,
         "0a0161120176"
         "1a0173"
         "3801"
         "4002"
         "4801");
  port.mac = *MacAddress::Parse("52:54:00:00:01:0a");
  port.addresses = {*IpAddress::Parse("10.0.0.5")};
  port.allowed_pairs = {{{}, *IpPrefix::Parse("10.0.0.100/32")},
                        {*MacAddress::Parse("02:00:5e:00:01:07"), *IpPrefix::Parse("10.0.0.0/8")}};
  port.network = NetworkKind::kConverged;
  port.offload = OffloadWish::kMust;
  port.function = FunctionSource::kHotplug;
  port.spoof_check = false;
  port.trust = true;
  port.max_tx_mbps = 500;
  port.min_tx_mbps = 100;
  expect(port,
         "0a0161"
         "120176"
         "1a0173"
         "220652540000010a"
         "2a040a000005"
         "320712050a00006420"
         "320f0a0602005e000107"
         "12050a00000008"
         "3802"
         "4001"
         "4802"
         "5000"
         "5801"
         "60f403"
         "6864");
  port.offload = OffloadWish::kOff;
  EXPECT_THAT(Hex(EncodeObject(port)), HasSubstr("380240034802"));
  expect(Endpoint{"x1",
                  "v",
                  "s",
                  *MacAddress::Parse("52:54:00:00:01:0a"),
                  {*IpAddress::Parse("10.0.0.5")},
                  *IpAddress::Parse("192.0.2.2")},
         "0a0176"
         "120173"
         "1a0652540000010a"
         "22040a000005"
         "2a04c0000202");
  expect(Route{"x1", "v", *IpPrefix::Parse("10.8.0.0/16"), *IpAddress::Parse("10.0.0.5")},
         "0a0176"
         "12050a08000010"
         "1a040a000005");
  expect(Route{"x1", "v", *IpPrefix::Parse("0.0.0.0/0"), *IpAddress::Parse("10.0.0.5")},
         "0a0176"
         "12050000000000"
         "1a040a000005");
}

TEST(ObjectCodec, TheStoredFormOfAnAttachmentStaysWhatItWas) {
  Attachment attachment;
  attachment.vf = kVf;
  attachment.lease = UINT64_MAX;
  attachment.transaction = 5;
  attachment.generation = 6;
  attachment.phase = AttachmentPhase::kRollingBack;
  attachment.port = "x1";
  attachment.port_ordinal = 7;
  attachment.vpc = "v";
  attachment.vni = *Vni::Make(1);
  EXPECT_EQ(Hex(EncodeAttachment(attachment)),
            "08ffffffffffffffffff01"
            "1005"
            "1806"
            "2003"
            "2a027831"
            "3007"
            "5a0176"
            "6001");
  attachment.vm = "a";
  attachment.vm_uuid = *Uuid::Parse("6f9619ff-8b86-4d01-b42d-00c04fc964ff");
  attachment.bus = "rp";
  attachment.guest_id = "fairlead-0a1b2c3d-p3-l7";
  attachment.vni.reset();
  attachment.vlan = *VlanId::Make(100);
  attachment.mac = *MacAddress::Parse("52:54:00:00:01:0a");
  attachment.vf_mac = *MacAddress::Parse("52:54:00:00:01:0b");
  attachment.mtu = 0;
  EXPECT_EQ(Hex(EncodeAttachment(attachment)),
            "08ffffffffffffffffff01"
            "1005"
            "1806"
            "2003"
            "2a027831"
            "3007"
            "3a0161"
            "422436663936313966662d386238362d346430312d623432642d303063303466633936346666"
            "4a027270"
            "5217666169726c6561642d30613162326333642d70332d6c37"
            "5a0176"
            "6864"
            "720652540000010a"
            "7a0652540000010b"
            "800100");
  const std::pair<AttachmentPhase, pb::Phase> phases[] = {
      {AttachmentPhase::kApplying, pb::PHASE_APPLYING},
      {AttachmentPhase::kReady, pb::PHASE_READY},
      {AttachmentPhase::kRollingBack, pb::PHASE_ROLLING_BACK},
      {AttachmentPhase::kReleasing, pb::PHASE_RELEASING}};
  for (const auto& [phase, number] : phases) {
    attachment.phase = phase;
    pb::Attachment stored;
    ASSERT_TRUE(stored.ParseFromString(EncodeAttachment(attachment)));
    EXPECT_EQ(stored.phase(), number);
    EXPECT_EQ(*DecodeAttachment(kVf, EncodeAttachment(attachment)), attachment);
  }
}

TEST(ObjectCodec, TheStoredFormOfARecordStaysWhatItWas) {
  SanitationRecord record;
  record.vf = kVf;
  record.verdict = Verdict::kReleased;
  record.reason = "vlan";
  record.findings = {{"vlan", FindingState::kDirty, "100", "no"},
                     {"guid", FindingState::kUnprovable, "", "x"},
                     {"mac", FindingState::kClean, "", ""}};
  record.checked_at = std::chrono::system_clock::time_point(std::chrono::nanoseconds(5));
  record.lease = 7;
  record.port = "a-lan";
  record.released_by = "ctl";
  record.released_at = record.checked_at;
  EXPECT_EQ(Hex(EncodeSanitation(record)),
            "0803"
            "1204766c616e"
            "1a110a04766c616e"
            "1003"
            "1a03313030"
            "22026e6f"
            "1a0b0a0467756964"
            "1002"
            "220178"
            "1a070a036d6163"
            "1001"
            "2005"
            "2807"
            "3205612d6c616e"
            "520363746c"
            "5805");
  record.verdict = Verdict::kQuarantined;
  record.vm = "a";
  record.own_mac = *MacAddress::Parse("52:54:00:00:01:0a");
  record.mtu = 0;
  EXPECT_EQ(Hex(EncodeSanitation(record)).substr(0, 4), "0802");
  EXPECT_THAT(Hex(EncodeSanitation(record)), HasSubstr("3a0161"
                                                       "420652540000010a"
                                                       "4800"
                                                       "52"));
  record.verdict = Verdict::kClean;
  EXPECT_EQ(Hex(EncodeSanitation(record)).substr(0, 4), "0801");
}

TEST(ObjectCodec, ADamagedBodyIsRefusedByNameAndField) {
  google::protobuf::LogSilencer quiet;  // it tells of text that is not UTF-8
  EXPECT_THAT(Refusal(ObjectKind::kVpc, ""), HasSubstr("vpc/x1 has neither 'vni' nor 'vlan'"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, "{\"vni\":5}"), HasSubstr("vpc/x1 is damaged"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, "\x08"), HasSubstr("is damaged"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, Body<pb::Vpc>("vni: 0")),
              HasSubstr("'vni' = 0, outside 1..16777215"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, Body<pb::Vpc>("vni: 16777216")), HasSubstr("'vni' ="));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, Body<pb::Vpc>("vlan: 4095")), HasSubstr("outside 1..4094"));
  const std::string vni = Body<pb::Vpc>("vni: 5");
  EXPECT_THAT(Refusal(ObjectKind::kVpc, vni + Body<pb::Vpc>("vni: 6")), HasSubstr("a field twice"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, vni + Body<pb::Vpc>("vlan: 6")),
              HasSubstr("a field twice"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, vni + Body<pb::Port>("allowed_pairs { mac: 'x' }")),
              HasSubstr("a field 6 that this version does not know"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, Body<pb::Vm>("uuid: 'x'")),
              HasSubstr("a 'vni' of another type"));
  // Five octets say 5 as well as one does.
  EXPECT_THAT(Refusal(ObjectKind::kVpc, std::string("\x08\x85\x80\x80\x80\x00", 6)),
              HasSubstr("in another form"));
  EXPECT_THAT(Refusal(ObjectKind::kVm, ""), HasSubstr("bad 'uuid'"));
  EXPECT_THAT(Refusal(ObjectKind::kVm, Body<pb::Vm>("uuid: 'nope'")), HasSubstr("bad 'uuid'"));
  EXPECT_THAT(Refusal(ObjectKind::kVm, "\x0a\x01\xff"), HasSubstr("not UTF-8"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, std::string(kMaxStoredBody + 1, ' ')),
              HasSubstr("more than 1048576"));
  EXPECT_THAT(Refusal(ObjectKind::kVpc, std::string(100000, '\x0b')), HasSubstr("is damaged"));
  EXPECT_FALSE(DecodeObject(ObjectKind::kVpc, "a/b", vni).ok());
  EXPECT_FALSE(DecodeObject(ObjectKind::kVpc, "", vni).ok());
}

TEST(ObjectCodec, EveryFieldOfASubnetIsChecked) {
  const auto refusal = [](const std::string& text) {
    return Refusal(ObjectKind::kSubnet, Body<pb::Subnet>(text));
  };
  EXPECT_THAT(refusal("vpc: 'v'"), HasSubstr("no prefix"));
  const std::string prefix = R"(prefix4: "\n\0\0\0\x18" )";
  EXPECT_TRUE(DecodeObject(ObjectKind::kSubnet, "x1", Body<pb::Subnet>("vpc: 'v' " + prefix)).ok());
  EXPECT_THAT(refusal(prefix), HasSubstr("no 'vpc'"));
  EXPECT_THAT(refusal("vpc: '../x' " + prefix), HasSubstr("bad 'vpc'"));
  EXPECT_THAT(refusal(R"(vpc: "v" prefix4: "\n\0\0\0")"), HasSubstr("4 octets, not 5 or 17"));
  EXPECT_THAT(refusal(R"(vpc: "v" prefix4: "\n\0\0\0\x21")"), HasSubstr("bad 'prefix4'"));
  EXPECT_THAT(refusal(R"(vpc: "v" prefix4: "\n\0\0\1\x18")"), HasSubstr("host bits"));
  EXPECT_THAT(refusal(R"(vpc: "v" prefix6: "\n\0\0\0\x18")"),
              HasSubstr("'prefix6' that is not IPv6"));
  const std::string sixteen = R"(\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\0)";
  EXPECT_THAT(refusal("vpc: 'v' prefix4: '" + sixteen + "\\x40'"),
              HasSubstr("'prefix4' that is not IPv4"));
  EXPECT_THAT(refusal("vpc: 'v' gateway4: '" + sixteen + "' " + prefix),
              HasSubstr("'gateway4' that is not IPv4"));
  EXPECT_THAT(refusal("vpc: 'v' gateway6: 'abcd' " + prefix),
              HasSubstr("'gateway6' that is not IPv6"));
  EXPECT_THAT(refusal("vpc: 'v' gateway4: 'abc' " + prefix),
              HasSubstr("bad 'gateway4': it has 3 octets, not 4 or 16"));
  EXPECT_THAT(refusal("vpc: 'v' dns_servers: 'abcd' dns_servers: 'abcde' " + prefix),
              HasSubstr("bad 'dns_servers'"));
  EXPECT_THAT(refusal("vpc: 'v' dns_servers: '' " + prefix), HasSubstr("no 'dns_servers'"));
}

TEST(ObjectCodec, EveryFieldOfAPortIsChecked) {
  const std::string good =
      "vpc: 'v' subnet: 's' network: NETWORK_COMPUTE offload: OFFLOAD_MUST "
      "function: FUNCTION_VF ";
  EXPECT_TRUE(DecodeObject(ObjectKind::kPort, "x1", Body<pb::Port>(good)).ok());
  const auto refusal = [](std::string text, std::string_view from, std::string_view to) {
    text.replace(text.find(from), from.size(), to);
    return Refusal(ObjectKind::kPort, Body<pb::Port>(text));
  };
  const auto with = [&](const std::string& more) {
    return Refusal(ObjectKind::kPort, Body<pb::Port>(good + more));
  };
  EXPECT_THAT(refusal(good, "vpc: 'v'", ""), HasSubstr("no 'vpc'"));
  EXPECT_THAT(refusal(good, "'s'", "'s s'"), HasSubstr("bad 'subnet'"));
  EXPECT_THAT(refusal(good, "network: NETWORK_COMPUTE", ""), HasSubstr("no 'network'"));
  EXPECT_THAT(refusal(good, "NETWORK_COMPUTE", "7"), HasSubstr("unknown 'network': 7"));
  EXPECT_THAT(refusal(good, "OFFLOAD_MUST", "-1"), HasSubstr("unknown 'offload': -1"));
  EXPECT_THAT(refusal(good, "FUNCTION_VF", "3"), HasSubstr("unknown 'function': 3"));
  EXPECT_THAT(with("vm: '/'"), HasSubstr("bad 'vm'"));
  EXPECT_THAT(with("mac: 'seven77'"), HasSubstr("bad 'mac': it has 7 octets, not 6"));
  EXPECT_THAT(with("addresses: 'abcde'"), HasSubstr("bad 'addresses'"));
  EXPECT_THAT(with("allowed_pairs {}"), HasSubstr("no 'allowed_pairs'"));
  EXPECT_THAT(with(R"(allowed_pairs { prefix: "\n\0\0\1\x18" })"),
              HasSubstr("bad 'allowed_pairs'"));
  EXPECT_THAT(with(R"(allowed_pairs { prefix: "\n\0\0\0\x18" mac: "abc" })"),
              HasSubstr("bad 'allowed_pairs'"));
  // What a newer version put into a pair, and a pair that has its MAC twice.
  const std::string pair = Body<pb::AddressPair>(R"(prefix: "\n\0\0\0\x18" mac: "abcdef")");
  const auto with_pair = [&](const std::string& bytes) {
    return Refusal(ObjectKind::kPort,
                   Body<pb::Port>(good) +
                       StrCat("\x32", std::string(1, static_cast<char>(bytes.size())), bytes));
  };
  EXPECT_THAT(with_pair(pair + Body<pb::Port>("vpc: '' subnet: 'new'")),
              HasSubstr("a field 3 that this version does not know"));
  EXPECT_THAT(with_pair(pair + Body<pb::AddressPair>("mac: 'abcdef'")), HasSubstr("a field twice"));
}

TEST(ObjectCodec, EveryFieldOfAnEndpointIsChecked) {
  const std::string good =
      "vpc: 'v' subnet: 's' mac: 'abcdef' addresses: 'abcd' addresses: 'efgh' vtep: 'ijkl' ";
  EXPECT_TRUE(DecodeObject(ObjectKind::kEndpoint, "x1", Body<pb::Endpoint>(good)).ok());
  const auto refusal = [&](std::string_view from, std::string_view to) {
    return Refusal(ObjectKind::kEndpoint, Body<pb::Endpoint>(Replaced(good, from, to)));
  };
  EXPECT_THAT(refusal("vpc: 'v'", ""), HasSubstr("endpoint/x1 has no 'vpc'"));
  EXPECT_THAT(refusal("'v'", "'-'"), HasSubstr("bad 'vpc'"));
  EXPECT_THAT(refusal("subnet: 's'", ""), HasSubstr("no 'subnet'"));
  EXPECT_THAT(refusal("mac: 'abcdef'", ""), HasSubstr("no 'mac'"));
  EXPECT_THAT(refusal("abcdef", "abcde"), HasSubstr("bad 'mac': it has 5 octets, not 6"));
  EXPECT_THAT(refusal("efgh", "efg"), HasSubstr("bad 'addresses'"));
  EXPECT_THAT(refusal("addresses: 'abcd' addresses: 'efgh'", ""), HasSubstr("no address"));
  EXPECT_THAT(refusal("vtep: 'ijkl'", ""), HasSubstr("no 'vtep'"));
  EXPECT_THAT(refusal("ijkl", "ijklm"), HasSubstr("bad 'vtep'"));
}

TEST(ObjectCodec, EveryFieldOfARouteIsChecked) {
  const std::string good = R"(vpc: 'v' prefix: "\n\b\0\0\x10" next_hop: 'abcd' )";
  EXPECT_TRUE(DecodeObject(ObjectKind::kRoute, "x1", Body<pb::Route>(good)).ok());
  const auto refusal = [&](std::string_view from, std::string_view to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return Refusal(ObjectKind::kRoute, Body<pb::Route>(text));
  };
  EXPECT_THAT(refusal("vpc: 'v'", ""), HasSubstr("route/x1 has no 'vpc'"));
  EXPECT_THAT(refusal(R"(prefix: "\n\b\0\0\x10")", ""), HasSubstr("no 'prefix'"));
  EXPECT_THAT(refusal(R"(\x10)", R"(\x04)"), HasSubstr("bad 'prefix'"));  // with host bits
  EXPECT_THAT(refusal("next_hop: 'abcd'", ""), HasSubstr("no 'next_hop'"));
  EXPECT_THAT(refusal("abcd", "abcde"), HasSubstr("bad 'next_hop'"));
  EXPECT_THAT(refusal("abcd", "abcdefghijklmnop"),
              HasSubstr("'next_hop' of another family than its 'prefix'"));
}

TEST(ObjectCodec, EveryFieldOfAnAttachmentIsChecked) {
  const std::string good = "lease: 1 phase: PHASE_READY port: 'p' port_ordinal: 7 vpc: 'v' vni: 1 ";
  EXPECT_TRUE(DecodeAttachment(kVf, Body<pb::Attachment>(good)).ok());
  const auto refusal = [&](std::string_view from, std::string_view to) {
    return Refusal(DecodeAttachment(kVf, Body<pb::Attachment>(Replaced(good, from, to))).status());
  };
  EXPECT_THAT(refusal("lease: 1", ""),
              HasSubstr("stored attachment of VF 52:54:00:00:00:01/3 has 'lease' = 0"));
  EXPECT_THAT(refusal("phase: PHASE_READY", ""), HasSubstr("no 'phase'"));
  EXPECT_THAT(refusal("PHASE_READY", "5"), HasSubstr("unknown 'phase': 5"));
  EXPECT_THAT(refusal("'p'", "''"), HasSubstr("no 'port'"));
  EXPECT_THAT(refusal("ordinal: 7", "ordinal: 0"), HasSubstr("'port_ordinal' = 0"));
  EXPECT_THAT(refusal("ordinal: 7", "ordinal: 268435456"), HasSubstr("'port_ordinal'"));
  EXPECT_THAT(refusal("vni: 1", "vni: 16777216"), HasSubstr("'vni'"));
  EXPECT_THAT(refusal("vni: 1", "vlan: 4095"), HasSubstr("'vlan'"));
  EXPECT_THAT(refusal("vni: 1", "vm: ' '"), HasSubstr("bad 'vm'"));
  EXPECT_THAT(refusal("vni: 1", "vm_uuid: '1'"), HasSubstr("bad 'vm_uuid'"));
  EXPECT_THAT(refusal("vni: 1", "guest_id: 'x'"), HasSubstr("bad 'guest_id'"));
  EXPECT_THAT(refusal("vni: 1", "mac: 'x'"), HasSubstr("bad 'mac'"));
  EXPECT_THAT(refusal("vni: 1", "vf_mac: 'x'"), HasSubstr("bad 'vf_mac'"));
}

TEST(ObjectCodec, EveryFieldOfARecordIsChecked) {
  const std::string good =
      "verdict: VERDICT_CLEAN findings { what: 'mac' state: FINDING_STATE_CLEAN } checked_at: 5 "
      "lease: 7 port: 'p' ";
  EXPECT_TRUE(DecodeSanitation(kVf, Body<pb::Sanitation>(good)).ok());
  const auto refusal = [&](std::string_view from, std::string_view to) {
    return Refusal(DecodeSanitation(kVf, Body<pb::Sanitation>(Replaced(good, from, to))).status());
  };
  EXPECT_THAT(refusal("verdict: VERDICT_CLEAN", ""),
              HasSubstr("stored record of VF 52:54:00:00:00:01/3 has no 'verdict'"));
  EXPECT_THAT(refusal("VERDICT_CLEAN", "4"), HasSubstr("unknown 'verdict': 4"));
  EXPECT_THAT(refusal("state: FINDING_STATE_CLEAN", ""), HasSubstr("no 'state'"));
  EXPECT_THAT(refusal("FINDING_STATE_CLEAN", "9"), HasSubstr("unknown 'state': 9"));
  EXPECT_THAT(refusal("checked_at: 5", "checked_at: 9223372036854775808"),
              HasSubstr("'checked_at'"));
  EXPECT_THAT(refusal("lease: 7", ""), HasSubstr("'lease' = 0"));
  EXPECT_THAT(refusal("'p'", "'../x'"), HasSubstr("bad 'port'"));
  EXPECT_THAT(refusal("checked_at: 5", "own_mac: 'x'"), HasSubstr("bad 'own_mac'"));
  EXPECT_THAT(refusal("checked_at: 5", "released_by: '/'"), HasSubstr("bad 'released_by'"));
  EXPECT_THAT(refusal("checked_at: 5", "released_at: 5"), HasSubstr("no 'released_by'"));
}

}  // namespace
}  // namespace fairlead
