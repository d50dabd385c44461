// SPDX-License-Identifier: Apache-2.0
#include "agent/intent/admit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/text.h"
#include "agent/intent/intent_test_util.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

std::vector<Violation> Refusal(const std::string& text, const World& world,
                               const HostFacts* facts = nullptr, AdmissionLimits limits = {}) {
  auto result = Admit(RequestFromText(text), world, {facts, {}}, limits);
  auto* violations = std::get_if<std::vector<Violation>>(&result);
  return violations == nullptr ? std::vector<Violation>() : *violations;
}

Change Accepted(const std::string& text, const World& world, const HostFacts* facts = nullptr) {
  auto result = Admit(RequestFromText(text), world, {facts, {}}, {});
  if (auto* violations = std::get_if<std::vector<Violation>>(&result)) {
    for (const Violation& v : *violations) ADD_FAILURE() << v.path << ": " << v.reason;
    return {};
  }
  return std::get<Change>(result);
}

std::string Print(const std::vector<Violation>& list) {
  std::string text;
  for (const Violation& v : list) StrAppend(&text, v.path, ": ", v.reason, "\n");
  return text;
}

class OneMistake : public ::testing::TestWithParam<Mistake> {};

TEST_P(OneMistake, IsNamedAtItsFieldAndNothingElseIs) {
  const World world = SmallWorld();
  const std::string before = Dump(world);
  auto list = Refusal(StrCat("apply { ", GetParam().apply, " }"), world);
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, GetParam().path);
  EXPECT_EQ(list[0].code, GetParam().code) << list[0].reason;
  EXPECT_THAT(list[0].reason, HasSubstr(GetParam().words));
  EXPECT_EQ(Dump(world), before);
}

constexpr auto kInvalid = ViolationCode::kInvalid;
constexpr auto kConflict = ViolationCode::kConflict;
constexpr auto kNotFound = ViolationCode::kNotFound;
constexpr auto kUnsupported = ViolationCode::kUnsupported;

// Shorthands for the tables below.
#define PORT(rest) "upsert { port { id: 'p' vpc: 'red' subnet: 'red-1' " rest " } }"
#define ENDPOINT(rest) "upsert { endpoint { id: 'e' vpc: 'red' " rest " } }"
#define SUBNET(rest)                                                                               \
  "upsert { subnet { id: 's' vpc: 'red' prefixes: '10.2.0.0/24' prefixes: '2001:db8:2::/64' " rest \
  " } }"
// What is in a VLAN VPC, which comes first in the message.
#define LAN "upsert { vpc { id: 'lan' vlan: 7 } } "
#define LAN_SUBNET(rest) \
  "upsert { subnet { id: 'lan-1' vpc: 'lan' prefixes: '10.9.0.0/24' " rest " } } "
#define FLAT "upsert { vpc { id: 'lan' flat: true } } "
#define FLAT_PORT(rest) \
  FLAT LAN_SUBNET("") "upsert { port { id: 'p' vpc: 'lan' subnet: 'lan-1' " rest " } }"
#define GATEWAY4 "gateways: '10.2.0.1' "
#define GATEWAY6 "gateways: '2001:db8:2::1' "
#define MAC1 "mac: '52:54:00:00:00:01' "
#define ADDR1 "addresses: '10.0.0.7' "
#define VTEP1 "vtep: '192.0.2.3' "

INSTANTIATE_TEST_SUITE_P(
    Fields, OneMistake,
    ::testing::Values(
        Mistake{"EmptyObject", "upsert { }", "apply.upsert[0]", kInvalid, "no object"},
        Mistake{"VpcId", "upsert { vpc { id: '-x' vni: 5 } }", "apply.upsert[0].vpc.id", kInvalid,
                "'-x'"},
        Mistake{"VpcIdEmpty", "upsert { vpc { vni: 5 } }", "apply.upsert[0].vpc.id", kInvalid,
                "missing"},
        Mistake{"VniZero", "upsert { vpc { id: 'x' } }", "apply.upsert[0].vpc.vni", kInvalid, "0"},
        Mistake{"VlanZero", "upsert { vpc { id: 'x' vlan: 0 } }", "apply.upsert[0].vpc.vni",
                kInvalid, "and so is vlan"},
        Mistake{"VniTooLarge", "upsert { vpc { id: 'x' vni: 16777216 } }",
                "apply.upsert[0].vpc.vni", kInvalid, "16777216"},
        Mistake{"VlanTooLarge", "upsert { vpc { id: 'x' vlan: 4095 } }", "apply.upsert[0].vpc.vlan",
                kInvalid, "1 to 4094"},
        Mistake{"VlanAndVni", "upsert { vpc { id: 'x' vni: 5 vlan: 5 } }",
                "apply.upsert[0].vpc.vlan", kInvalid, "both given"},
        Mistake{"FlatAndVlan", "upsert { vpc { id: 'x' flat: true vlan: 5 } }",
                "apply.upsert[0].vpc.flat", kInvalid, "VLAN 5 is given too"},
        Mistake{"FlatAndVni", "upsert { vpc { id: 'x' flat: true vni: 5 } }",
                "apply.upsert[0].vpc.flat", kInvalid, "VNI 5 is given too"},
        Mistake{"SpoofCheck", PORT("spoof_check: 7"), "apply.upsert[0].port.spoof_check",
                kUnsupported, "7"},
        Mistake{"RateTooHigh",
                "upsert { vpc { id: 'lan' vlan: 7 } } upsert { subnet { id: 'lan-1' vpc: 'lan' "
                "prefixes: '10.0.0.0/24' } } upsert { port { id: 'p' vpc: 'lan' subnet: 'lan-1' "
                "max_tx_mbps: 4294967295 } }",
                "apply.upsert[2].port.max_tx_mbps", kInvalid, "10000000 at most"},
        Mistake{"MinAboveMax",
                "upsert { vpc { id: 'lan' vlan: 7 } } upsert { subnet { id: 'lan-1' vpc: 'lan' "
                "prefixes: '10.0.0.0/24' } } upsert { port { id: 'p' vpc: 'lan' subnet: 'lan-1' "
                "max_tx_mbps: 100 min_tx_mbps: 101 } }",
                "apply.upsert[2].port.min_tx_mbps", kInvalid, "101 Mbit/s is more than"},
        Mistake{"NoPrefix", "upsert { subnet { id: 's' vpc: 'red' } }",
                "apply.upsert[0].subnet.prefixes", kInvalid, "at least one"},
        Mistake{"TwoOfAFamily",
                "upsert { subnet { id: 's' vpc: 'red' prefixes: '10.2.0.0/24' "
                "prefixes: '10.3.0.0/24' } }",
                "apply.upsert[0].subnet.prefixes[1]", kInvalid, "second IPv4 prefix"},
        Mistake{"ThreePrefixes",
                "upsert { subnet { id: 's' vpc: 'red' prefixes: '10.2.0.0/24' "
                "prefixes: '2001:db8:1::/64' prefixes: '10.3.0.0/24' } }",
                "apply.upsert[0].subnet.prefixes", kInvalid, "one per address family"},
        Mistake{"HostBits", "upsert { subnet { id: 's' vpc: 'red' prefixes: '10.2.0.1/24' } }",
                "apply.upsert[0].subnet.prefixes[0]", kInvalid, "10.2.0.0/24"},
        Mistake{"Everything", "upsert { subnet { id: 's' vpc: 'red' prefixes: '0.0.0.0/0' } }",
                "apply.upsert[0].subnet.prefixes[0]", kInvalid, "every address"},
        Mistake{"Loopback", "upsert { subnet { id: 's' vpc: 'red' prefixes: '127.1.0.0/16' } }",
                "apply.upsert[0].subnet.prefixes[0]", kInvalid, "loopback"},
        Mistake{"MulticastInside",
                "upsert { subnet { id: 's' vpc: 'red' prefixes: '192.0.0.0/2' } }",
                "apply.upsert[0].subnet.prefixes[0]", kInvalid, "multicast"},
        Mistake{"Multicast6", "upsert { subnet { id: 's' vpc: 'red' prefixes: 'ff02::/16' } }",
                "apply.upsert[0].subnet.prefixes[0]", kInvalid, "multicast"},
        Mistake{"Loopback6", "upsert { subnet { id: 's' vpc: 'red' prefixes: '::1/128' } }",
                "apply.upsert[0].subnet.prefixes[0]", kInvalid, "loopback"},
        Mistake{"Uuid", "upsert { vm { id: 'v' uuid: 'x' } }", "apply.upsert[0].vm.uuid", kInvalid,
                "'x'"},
        Mistake{"NilUuid", "upsert { vm { id: 'v' uuid: '00000000-0000-0000-0000-000000000000' } }",
                "apply.upsert[0].vm.uuid", kInvalid, "nil"},
        Mistake{"PortMac", PORT("mac: 'zz'"), "apply.upsert[0].port.mac", kInvalid, "zz"},
        Mistake{"PortMacZero", PORT("mac: '00:00:00:00:00:00'"), "apply.upsert[0].port.mac",
                kInvalid, "zero"},
        Mistake{"PortMacMulticast", PORT("mac: '01:00:5e:00:00:01'"), "apply.upsert[0].port.mac",
                kInvalid, "multicast"},
        Mistake{"PortAddress", PORT("addresses: '10.0.0.7' addresses: '10.0.0'"),
                "apply.upsert[0].port.addresses[1]", kInvalid, "10.0.0"},
        Mistake{"PortAddressTwice", PORT(ADDR1 "addresses: '10.0.0.7'"),
                "apply.upsert[0].port.addresses[1]", kInvalid, "twice"},
        Mistake{"PortNetwork", PORT("network: 7"), "apply.upsert[0].port.network", kUnsupported,
                "7"},
        Mistake{"PortOffload", PORT("offload: 9"), "apply.upsert[0].port.offload", kUnsupported,
                "9"},
        Mistake{"PortMacOfTheGateway", PORT("mac: '02:66:6C:00:00:01'"), "apply.upsert[0].port.mac",
                kInvalid, "02:66:6c:00:00:01 is the MAC of every subnet's gateway"},
        Mistake{"EndpointMacOfTheGateway", ENDPOINT(ADDR1 VTEP1 "mac: '02:66:6c:00:00:01'"),
                "apply.upsert[0].endpoint.mac", kInvalid, "every subnet's gateway"},
        Mistake{"Gateway", SUBNET("gateways: '10.2.0'"), "apply.upsert[0].subnet.gateways[0]",
                kInvalid, "'10.2.0' is not an IPv4"},
        Mistake{"GatewayEmpty", SUBNET("gateways: ''"), "apply.upsert[0].subnet.gateways[0]",
                kInvalid, "not an IPv4"},
        Mistake{"ThreeGateways", SUBNET(GATEWAY4 GATEWAY6 "gateways: '10.2.0.2'"),
                "apply.upsert[0].subnet.gateways", kInvalid, "3 gateways; one per address family"},
        Mistake{"TwoGatewaysOfAFamily", SUBNET(GATEWAY4 "gateways: '10.2.0.2'"),
                "apply.upsert[0].subnet.gateways[1]", kInvalid,
                "a second IPv4 gateway beside 10.2.0.1"},
        Mistake{"TwoGatewaysOfAFamily6", SUBNET(GATEWAY6 "gateways: '2001:db8:2::2'"),
                "apply.upsert[0].subnet.gateways[1]", kInvalid, "a second IPv6 gateway"},
        Mistake{"GatewayMulticast", SUBNET("gateways: '224.0.0.1'"),
                "apply.upsert[0].subnet.gateways[0]", kInvalid, "a multicast address"},
        Mistake{"GatewayUnspecified", SUBNET("gateways: '::'"),
                "apply.upsert[0].subnet.gateways[0]", kInvalid, "the unspecified address"},
        Mistake{"GatewayLinkLocal", SUBNET(GATEWAY4 "gateways: 'fe80::1'"),
                "apply.upsert[0].subnet.gateways[1]", kInvalid, "a link-local address"},
        Mistake{"DnsServer", SUBNET("dns_servers: '10.0.0.2' dns_servers: 'ns.example'"),
                "apply.upsert[0].subnet.dns_servers[1]", kInvalid, "'ns.example'"},
        Mistake{"DnsServerMulticast", SUBNET("dns_servers: 'ff02::fb'"),
                "apply.upsert[0].subnet.dns_servers[0]", kInvalid, "a multicast address"},
        Mistake{"DnsServerUnspecified", SUBNET("dns_servers: '0.0.0.0'"),
                "apply.upsert[0].subnet.dns_servers[0]", kInvalid, "the unspecified address"},
        Mistake{"DnsServerLoopback", SUBNET("dns_servers: '127.0.0.53'"),
                "apply.upsert[0].subnet.dns_servers[0]", kInvalid, "a loopback address"},
        Mistake{"DnsServerBroadcast", SUBNET("dns_servers: '255.255.255.255'"),
                "apply.upsert[0].subnet.dns_servers[0]", kInvalid, "the broadcast address"},
        Mistake{"DnsServerTwice", SUBNET("dns_servers: 'fd00::1' dns_servers: 'FD00:0::1'"),
                "apply.upsert[0].subnet.dns_servers[1]", kInvalid, "fd00::1 is in this list twice"},
        Mistake{"PairPrefixMissing", PORT("allowed_pairs { }"),
                "apply.upsert[0].port.allowed_pairs[0].prefix", kInvalid, "is missing"},
        Mistake{"PairPrefix", PORT("allowed_pairs { prefix: '10.0.0.0/33' }"),
                "apply.upsert[0].port.allowed_pairs[0].prefix", kInvalid, "0 to 32"},
        Mistake{"PairHostBits",
                PORT("allowed_pairs { prefix: '10.0.0.9' } allowed_pairs { prefix: "
                     "'10.0.0.9/24' }"),
                "apply.upsert[0].port.allowed_pairs[1].prefix", kInvalid,
                "host bits set: the network is 10.0.0.0/24"},
        Mistake{"PairMac", PORT("allowed_pairs { mac: 'm' prefix: '10.0.0.9' }"),
                "apply.upsert[0].port.allowed_pairs[0].mac", kInvalid, "'m'"},
        Mistake{"PairMacMulticast",
                PORT("allowed_pairs { mac: '01:00:5e:00:00:01' prefix: '10.0.0.9' }"),
                "apply.upsert[0].port.allowed_pairs[0].mac", kInvalid, "multicast"},
        Mistake{"PairMacZero",
                PORT("allowed_pairs { mac: '00:00:00:00:00:00' prefix: '10.0.0.9' }"),
                "apply.upsert[0].port.allowed_pairs[0].mac", kInvalid, "zero"},
        Mistake{"PairMacOfTheGateway",
                PORT("allowed_pairs { mac: '02:66:6c:00:00:01' prefix: '10.0.0.9' }"),
                "apply.upsert[0].port.allowed_pairs[0].mac", kInvalid, "every subnet's gateway"},
        Mistake{"PairTwice",
                PORT("allowed_pairs { prefix: '10.0.0.9' } allowed_pairs { prefix: "
                     "'10.0.0.9/32' }"),
                "apply.upsert[0].port.allowed_pairs[1]", kInvalid,
                "10.0.0.9/32 is in this list twice"},
        Mistake{"PairTwiceWithAMac",
                PORT("allowed_pairs { mac: '52:54:00:00:00:0C' prefix: 'fd00::1' } "
                     "allowed_pairs { prefix: 'fd00::1' } "
                     "allowed_pairs { mac: '52:54:00:00:00:0c' prefix: 'fd00::1' }"),
                "apply.upsert[0].port.allowed_pairs[2]", kInvalid,
                "fd00::1/128 with 52:54:00:00:00:0c is in this list twice"},
        Mistake{"NoAddress", ENDPOINT(MAC1 VTEP1), "apply.upsert[0].endpoint.addresses", kInvalid,
                "at least one"},
        Mistake{"EndpointMac", ENDPOINT(ADDR1 VTEP1), "apply.upsert[0].endpoint.mac", kInvalid, ""},
        Mistake{"VtepForm", ENDPOINT(MAC1 ADDR1), "apply.upsert[0].endpoint.vtep", kInvalid, ""},
        Mistake{"VtepMulticast", ENDPOINT(MAC1 ADDR1 "vtep: '239.0.0.1'"),
                "apply.upsert[0].endpoint.vtep", kInvalid, "multicast"},
        Mistake{"VtepLoopback", ENDPOINT(MAC1 ADDR1 "vtep: '127.0.0.1'"),
                "apply.upsert[0].endpoint.vtep", kInvalid, "loopback"},
        Mistake{"VtepUnspecified", ENDPOINT(MAC1 ADDR1 "vtep: '::'"),
                "apply.upsert[0].endpoint.vtep", kInvalid, "unspecified"},
        Mistake{"VtepBroadcast", ENDPOINT(MAC1 ADDR1 "vtep: '255.255.255.255'"),
                "apply.upsert[0].endpoint.vtep", kInvalid, "broadcast"},
        Mistake{"VtepLinkLocal", ENDPOINT(MAC1 ADDR1 "vtep: 'fe80::1'"),
                "apply.upsert[0].endpoint.vtep", kInvalid, "link-local"},
        Mistake{"RemoveKindMissing", "remove { id: 'x' }", "apply.remove[0].kind", kInvalid,
                "missing"},
        Mistake{"RemoveKindUnknown", "remove { kind: 77 id: 'x' }", "apply.remove[0].kind",
                kUnsupported, "77"},
        Mistake{"RemoveId", "remove { kind: OBJECT_KIND_VM id: 'x/y' }", "apply.remove[0].id",
                kInvalid, "x/y"}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Relations, OneMistake,
    ::testing::Values(
        Mistake{"VniTaken", "upsert { vpc { id: 'x' vni: 100 } }", "apply.upsert[0].vpc.vni",
                kConflict, "taken by vpc/red"},
        Mistake{"VniTwiceInMessage",
                "upsert { vpc { id: 'x' vni: 5 } } upsert { vpc { id: 'y' vni: 5 } }",
                "apply.upsert[1].vpc.vni", kConflict, "vpc/x (apply.upsert[0].vpc)"},
        Mistake{"VniOfVpcWithPorts", "upsert { vpc { id: 'red' vni: 101 } }",
                "apply.upsert[0].vpc.vni", kConflict, "port/a0"},
        Mistake{"VlanTwiceInMessage",
                "upsert { vpc { id: 'x' vlan: 5 } } upsert { vpc { id: 'y' vlan: 5 } }",
                "apply.upsert[1].vpc.vlan", kConflict, "VLAN 5 is also asked for by vpc/x"},
        Mistake{"ToAVlanWithEndpoints",
                "upsert { vpc { id: 'red' vlan: 5 } } upsert { port { id: 'a0' vpc: 'red' subnet: "
                "'red-1' } }",
                "apply.upsert[0].vpc.vlan", kConflict, "endpoints (endpoint/far)"},
        Mistake{"EndpointInAVlan",
                "upsert { vpc { id: 'lan' vlan: 7 } } upsert { subnet { id: 'lan-1' vpc: 'lan' "
                "prefixes: '10.9.0.0/24' } } upsert { endpoint { id: 'e' vpc: 'lan' " MAC1 VTEP1
                "addresses: '10.9.0.7' } }",
                "apply.upsert[2].endpoint.vpc", kUnsupported, "VLAN 7"},
        Mistake{"EndpointInAFlatNetwork",
                FLAT LAN_SUBNET("") "upsert { endpoint { id: 'e' vpc: 'lan' " MAC1 VTEP1
                                    "addresses: '10.9.0.7' } }",
                "apply.upsert[2].endpoint.vpc", kUnsupported, "the untagged network"},
        Mistake{"GatewayInAFlatNetwork", FLAT LAN_SUBNET("gateways: '10.9.0.1'"),
                "apply.upsert[1].subnet.gateways", kUnsupported, "vpc/lan is flat: the router"},
        Mistake{"SpoofCheckOffInAFlatNetwork", FLAT_PORT("spoof_check: SPOOF_CHECK_OFF"),
                "apply.upsert[2].port.spoof_check", kUnsupported, "always check"},
        Mistake{"TrustInAFlatNetwork", FLAT_PORT("trust: true"), "apply.upsert[2].port.trust",
                kUnsupported, "NIC with an eswitch"},
        Mistake{"MaxRateInAFlatNetwork", FLAT_PORT("max_tx_mbps: 5"),
                "apply.upsert[2].port.max_tx_mbps", kUnsupported, "NIC with an eswitch"},
        Mistake{"MinRateInAFlatNetwork", FLAT_PORT("min_tx_mbps: 5"),
                "apply.upsert[2].port.min_tx_mbps", kUnsupported, "NIC with an eswitch"},
        Mistake{"FlatTwiceInMessage", FLAT "upsert { vpc { id: 'y' flat: true } }",
                "apply.upsert[1].vpc.flat", kConflict,
                "the host's flat network is also asked for by vpc/lan"},
        Mistake{"ToFlatWithEndpoints",
                "upsert { vpc { id: 'red' flat: true } } upsert { port { id: 'a0' vpc: 'red' "
                "subnet: 'red-1' } }",
                "apply.upsert[0].vpc.flat", kConflict, "endpoints (endpoint/far)"},
        Mistake{"SpoofCheckInAnOverlay", PORT("spoof_check: SPOOF_CHECK_ON"),
                "apply.upsert[0].port.spoof_check", kUnsupported, "vpc/red is VNI 100"},
        Mistake{"TrustInAnOverlay", PORT("trust: true"), "apply.upsert[0].port.trust", kUnsupported,
                "VLAN networks only"},
        Mistake{"MaxRateInAnOverlay", PORT("max_tx_mbps: 5"), "apply.upsert[0].port.max_tx_mbps",
                kUnsupported, "VLAN networks only"},
        Mistake{"MinRateInAnOverlay", PORT("min_tx_mbps: 5"), "apply.upsert[0].port.min_tx_mbps",
                kUnsupported, "VLAN networks only"},
        Mistake{"SubnetVpcUnknown",
                "upsert { subnet { id: 's' vpc: 'no' prefixes: '10.2.0.0/24' } }",
                "apply.upsert[0].subnet.vpc", kNotFound, "vpc/no is not there"},
        Mistake{"SubnetMoves",
                "upsert { subnet { id: 'red-2' vpc: 'blue' prefixes: '10.0.1.0/24' } }",
                "apply.upsert[0].subnet.vpc", kConflict, "belongs to vpc/red"},
        Mistake{"SubnetOverlaps",
                "upsert { subnet { id: 's' vpc: 'red' prefixes: '10.0.0.128/25' } }",
                "apply.upsert[0].subnet.prefixes[0]", kConflict,
                "overlaps 10.0.0.0/24 of subnet/red-1"},
        Mistake{"SubnetOverlaps6",
                "upsert { subnet { id: 's' vpc: 'red' prefixes: '10.2.0.0/24' "
                "prefixes: '2001:db8::/48' } }",
                "apply.upsert[0].subnet.prefixes[1]", kConflict, "subnet/red-1"},
        Mistake{"SubnetsOverlapInMessage",
                "upsert { subnet { id: 's' vpc: 'red' prefixes: '10.2.0.0/24' } } "
                "upsert { subnet { id: 't' vpc: 'red' prefixes: '10.2.0.0/16' } }",
                "apply.upsert[1].subnet.prefixes[0]", kConflict, "subnet/s"},
        Mistake{"SubnetLeavesEndpointOut",
                "upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/29' } }",
                "apply.upsert[0].subnet.prefixes", kConflict, "endpoint/far would no longer fit"},
        Mistake{"UuidTaken",
                "upsert { vm { id: 'c' uuid: '00000000-0000-4000-8000-00000000000A' } }",
                "apply.upsert[0].vm.uuid", kConflict, "taken by vm/a"},
        Mistake{"PortVmUnknown", PORT("vm: 'zz'"), "apply.upsert[0].port.vm", kNotFound, "vm/zz"},
        Mistake{"PortVpcUnknown",
                "upsert { port { id: 'p' vpc: 'no' subnet: 'none' } } "
                "upsert { subnet { id: 'none' vpc: 'red' prefixes: '10.3.0.0/24' } } "
                "remove { kind: OBJECT_KIND_PORT id: 'a0' }",
                "apply.upsert[0].port.vpc", kNotFound, "vpc/no"},
        Mistake{"PortSubnetUnknown", "upsert { port { id: 'p' vpc: 'red' subnet: 'no' } }",
                "apply.upsert[0].port.subnet", kNotFound, "subnet/no"},
        Mistake{"PortSubnetOfOtherVpc", "upsert { port { id: 'p' vpc: 'blue' subnet: 'red-1' } }",
                "apply.upsert[0].port.subnet", kInvalid, "subnet/red-1 is in vpc/red"},
        Mistake{"PortAddressOutside", PORT("addresses: '10.0.1.5'"),
                "apply.upsert[0].port.addresses[0]", kInvalid, "not in 10.0.0.0/24"},
        Mistake{"PortAddressNoFamily",
                "upsert { port { id: 'p' vpc: 'red' subnet: 'red-2' addresses: '2001:db8::5' } }",
                "apply.upsert[0].port.addresses[0]", kInvalid, "no IPv6 prefix"},
        Mistake{"PortNetworkAddress", PORT("addresses: '10.0.0.0'"),
                "apply.upsert[0].port.addresses[0]", kInvalid, "network address"},
        Mistake{"PortBroadcastAddress", PORT("addresses: '10.0.0.255'"),
                "apply.upsert[0].port.addresses[0]", kInvalid, "broadcast address"},
        Mistake{"PortAddressTaken", PORT(ADDR1 "addresses: '10.0.0.5'"),
                "apply.upsert[0].port.addresses[1]", kConflict, "taken by port/a0"},
        Mistake{"PortAddressOfEndpoint", PORT("addresses: '10.0.0.9'"),
                "apply.upsert[0].port.addresses[0]", kConflict, "taken by endpoint/far"},
        Mistake{"PortMacTaken", PORT("mac: '52:54:00:00:00:0a'"), "apply.upsert[0].port.mac",
                kConflict, "taken by port/a0"},
        Mistake{"PortMacOfEndpoint", PORT("mac: '52:54:00:00:00:0f'"), "apply.upsert[0].port.mac",
                kConflict, "taken by endpoint/far"},
        Mistake{"AddressTwiceInMessage", PORT(ADDR1) ENDPOINT(MAC1 ADDR1 VTEP1),
                "apply.upsert[1].endpoint.addresses[0]", kConflict,
                "port/p (apply.upsert[0].port)"},
        Mistake{"GatewayOutside", SUBNET(GATEWAY6 "gateways: '10.3.0.1'"),
                "apply.upsert[0].subnet.gateways[1]", kInvalid, "not in 10.2.0.0/24 of subnet/s"},
        Mistake{"GatewayWithoutPrefix",
                "upsert { subnet { id: 's' vpc: 'red' prefixes: '10.2.0.0/24' " GATEWAY6 "} }",
                "apply.upsert[0].subnet.gateways[0]", kInvalid, "has no IPv6 prefix"},
        Mistake{"GatewayNetworkAddress", SUBNET("gateways: '10.2.0.0'"),
                "apply.upsert[0].subnet.gateways[0]", kInvalid, "network address"},
        Mistake{"GatewayBroadcastAddress", SUBNET("gateways: '10.2.0.255'"),
                "apply.upsert[0].subnet.gateways[0]", kInvalid, "broadcast address"},
        Mistake{"GatewayAnycastAddress", SUBNET("gateways: '2001:db8:2::'"),
                "apply.upsert[0].subnet.gateways[0]", kInvalid, "subnet-router anycast address"},
        Mistake{"GatewayOfAPort",
                "upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/24' prefixes: "
                "'2001:db8::/64' gateways: '2001:db8::1' gateways: '10.0.0.5' } }",
                "apply.upsert[0].subnet.gateways[1]", kConflict,
                "10.0.0.5 in vpc/red is taken by port/a0"},
        Mistake{"GatewayOfAnEndpoint",
                "upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/24' prefixes: "
                "'2001:db8::/64' gateways: '10.0.0.9' } }",
                "apply.upsert[0].subnet.gateways[0]", kConflict, "taken by endpoint/far"},
        Mistake{"GatewayAfterThePort",
                "upsert { port { id: 'p' vpc: 'red' subnet: 's' addresses: '10.2.0.1' } } " SUBNET(
                    GATEWAY4),
                "apply.upsert[1].subnet.gateways[0]", kConflict,
                "also asked for by port/p (apply.upsert[0].port)"},
        Mistake{"GatewayBeforeThePort",
                SUBNET(GATEWAY4) "upsert { port { id: 'p' vpc: 'red' subnet: 's' addresses: "
                                 "'10.2.0.1' } }",
                "apply.upsert[1].port.addresses[0]", kConflict,
                "also asked for by subnet/s (apply.upsert[0].subnet)"},
        Mistake{"GatewayBeforeTheEndpoint",
                SUBNET(GATEWAY6) ENDPOINT(MAC1 VTEP1 "addresses: '2001:db8:2::1'"),
                "apply.upsert[1].endpoint.addresses[0]", kConflict,
                "also asked for by subnet/s (apply.upsert[0].subnet)"},
        Mistake{"GatewayAfterTheEndpoint",
                ENDPOINT(MAC1 VTEP1 "addresses: '2001:db8:2::1'") SUBNET(GATEWAY6),
                "apply.upsert[1].subnet.gateways[0]", kConflict, "also asked for by endpoint/e"},
        Mistake{"GatewayInAVlan", LAN LAN_SUBNET("gateways: '10.9.0.1'"),
                "apply.upsert[1].subnet.gateways", kUnsupported, "vpc/lan is VLAN 7: the router"},
        Mistake{"DnsServerInAVlan", LAN_SUBNET("dns_servers: '10.9.0.2'") LAN,
                "apply.upsert[0].subnet.dns_servers", kUnsupported, "vpc/lan is VLAN 7: who"},
        Mistake{"PairsInAVlan",
                LAN LAN_SUBNET("") "upsert { port { id: 'p' vpc: 'lan' subnet: 'lan-1' "
                                   "allowed_pairs { prefix: '10.9.0.9' } } }",
                "apply.upsert[2].port.allowed_pairs", kUnsupported, "vpc/lan is VLAN 7: "},
        Mistake{"EndpointNoSubnet", ENDPOINT(MAC1 VTEP1 "addresses: '10.9.0.1'"),
                "apply.upsert[0].endpoint.addresses[0]", kNotFound, "no subnet of vpc/red"},
        Mistake{"EndpointTwoSubnets", ENDPOINT(MAC1 VTEP1 ADDR1 "addresses: '10.0.1.7'"),
                "apply.upsert[0].endpoint.addresses[1]", kInvalid, "one endpoint is in one subnet"},
        Mistake{"EndpointBroadcast", ENDPOINT(MAC1 VTEP1 "addresses: '10.0.0.255'"),
                "apply.upsert[0].endpoint.addresses[0]", kInvalid, "broadcast"},
        Mistake{"RemoveUsedVm", "remove { kind: OBJECT_KIND_VM id: 'a' }", "apply.remove[0]",
                kConflict, "port/a0"},
        Mistake{"RemoveUsedSubnet", "remove { kind: OBJECT_KIND_SUBNET id: 'red-1' }",
                "apply.remove[0]", kConflict, "port/a0, endpoint/far"},
        Mistake{"RemoveUsedVpc", "remove { kind: OBJECT_KIND_VPC id: 'blue' }", "apply.remove[0]",
                kConflict, "subnet/blue-1"},
        Mistake{"UseWhatIsRemoved", PORT("vm: 'b'") "remove { kind: OBJECT_KIND_VM id: 'b' }",
                "apply.upsert[0].port.vm", kNotFound, "removed by apply.remove[0]"},
        Mistake{"UpsertTwice",
                "upsert { vpc { id: 'x' vni: 5 } } upsert { vpc { id: 'x' vni: 6 } }",
                "apply.upsert[1].vpc", kInvalid, "first at apply.upsert[0].vpc"},
        Mistake{"RemoveTwice",
                "remove { kind: OBJECT_KIND_VM id: 'b' } remove { kind: OBJECT_KIND_VM id: 'b' }",
                "apply.remove[1]", kInvalid, "removed twice"},
        Mistake{"UpsertAndRemove",
                "upsert { vm { id: 'b' uuid: '00000000-0000-4000-8000-00000000000b' } } "
                "remove { kind: OBJECT_KIND_VM id: 'b' }",
                "apply.remove[0]", kInvalid, "both removed and asked for"}),
    [](const auto& info) { return info.param.name; });

TEST(Admit, ListsEveryMistakeOfAMessage) {
  auto list = Refusal(
      "apply { upsert { vpc { id: '!' vni: 0 } } "
      "upsert { port { id: 'p' vpc: 'no' subnet: 'no' mac: 'x' addresses: 'y' } } "
      "remove { id: '' } }",
      SmallWorld());
  std::vector<std::string> paths;
  for (const Violation& v : list) paths.push_back(v.path);
  EXPECT_THAT(paths,
              ::testing::UnorderedElementsAre(
                  "apply.upsert[0].vpc.id", "apply.upsert[0].vpc.vni", "apply.upsert[1].port.mac",
                  "apply.upsert[1].port.addresses[0]", "apply.upsert[1].port.vpc",
                  "apply.upsert[1].port.subnet", "apply.remove[0].kind", "apply.remove[0].id"));
}

TEST(Admit, BoundsTheListAndSaysHowManyMore) {
  std::string text = "apply {";
  for (int i = 0; i < 400; ++i) text += " upsert { }";
  auto list = Refusal(text + "}", World());
  ASSERT_EQ(list.size(), kMaxViolations);
  EXPECT_THAT(list.back().reason, HasSubstr("145 or more"));
}

TEST(Admit, RefusesMoreItemsThanAMessageMayHold) {
  std::string text = "apply { remove { kind: OBJECT_KIND_VM id: 'x' }";
  for (size_t i = 0; i < kMaxItemsPerMessage; ++i) {
    text += StrCat(" upsert { vpc { id: 'v", i, "' vni: ", i + 1, " } }");
  }
  auto list = Refusal(text + "}", World());
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].path, "apply");
  EXPECT_THAT(list[0].reason, HasSubstr("1024"));
}

TEST(Admit, RefusesMoreAddressesThanAnObjectMayHave) {
  std::string addresses;
  for (int i = 1; i <= 17; ++i) addresses += StrCat("addresses: '10.0.0.", 20 + i, "' ");
  auto list = Refusal(
      StrCat("apply { upsert { endpoint { id: 'e' vpc: 'red' ", addresses, MAC1, VTEP1, " } } }"),
      SmallWorld());
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].endpoint.addresses");
  EXPECT_THAT(list[0].reason, HasSubstr("17 addresses"));
}

TEST(Admit, RefusesMorePairsAndDnsServersThanAnObjectMayHave) {
  std::string pairs, servers;
  for (int i = 1; i <= 32; ++i) StrAppend(&pairs, "allowed_pairs { prefix: '10.0.0.", i, "' } ");
  for (int i = 1; i <= 8; ++i) StrAppend(&servers, "dns_servers: '10.0.0.", i, "' ");
  const auto message = [&](const char* pair, const char* server) {
    return StrCat("apply { upsert { port { id: 'p' vpc: 'red' subnet: 'red-1' ", pairs, pair,
                  "} } upsert { subnet { id: 's' vpc: 'red' prefixes: '10.2.0.0/24' ", servers,
                  server, "} } }");
  };
  const World world = SmallWorld();
  const Change change = Accepted(message("", ""), world);
  ASSERT_EQ(change.upserts.size(), 2U);
  EXPECT_EQ(std::get<Subnet>(change.upserts[0].object).dns_servers.size(), 8U);
  EXPECT_EQ(std::get<Port>(change.upserts[1].object).allowed_pairs.size(), 32U);
  auto list = Refusal(message("allowed_pairs { } ", "dns_servers: '' "), world);
  ASSERT_EQ(list.size(), 2U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].port.allowed_pairs");
  EXPECT_THAT(list[0].reason, HasSubstr("33 pairs; 32 are possible"));
  EXPECT_EQ(list[1].path, "apply.upsert[1].subnet.dns_servers");
  EXPECT_THAT(list[1].reason, HasSubstr("9 DNS servers; 8 are possible"));
}

TEST(Admit, RefusesAVtepOfTheOtherFamilyThanTheHostsTunnel) {
  AdmissionLimits limits;
  limits.tunnel_local = *IpAddress::Parse("192.0.2.1");
  const auto endpoint = [](const std::string& vtep) {
    return StrCat("apply { upsert { endpoint { id: 'e' vpc: 'red' " ADDR1 MAC1 "vtep: '", vtep,
                  "' } } }");
  };
  auto list = Refusal(endpoint("2001:db8::7"), SmallWorld(), nullptr, limits);
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].endpoint.vtep");
  EXPECT_EQ(list[0].code, ViolationCode::kUnsupported);
  EXPECT_THAT(list[0].reason, HasSubstr("192.0.2.1"));
  EXPECT_TRUE(Refusal(endpoint("192.0.2.7"), SmallWorld(), nullptr, limits).empty());
}

TEST(Admit, RefusesTheMacThatAPortGotWithItsVf) {
  HostKnowledge host;
  host.port_with_mac = [](const std::string& vpc,
                          const MacAddress& mac) -> std::optional<std::string> {
    if (vpc != "red" || mac != *MacAddress::Parse("52:54:00:00:0f:0f")) return std::nullopt;
    return "a0";
  };
  const auto refusal = [&](const std::string& rest) {
    auto result =
        Admit(RequestFromText(StrCat("apply { upsert { endpoint { id: 'e' " ADDR1 VTEP1, rest)),
              SmallWorld(), host, {});
    const auto* list = std::get_if<std::vector<Violation>>(&result);
    return list == nullptr ? std::vector<Violation>{} : *list;
  };
  auto list = refusal("vpc: 'red' mac: '52:54:00:00:0f:0f' } } }");
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].endpoint.mac");
  EXPECT_THAT(list[0].reason, HasSubstr("port/a0"));
  EXPECT_TRUE(refusal("vpc: 'blue' mac: '52:54:00:00:0f:0f' } } }").empty()) << "another VPC";
  EXPECT_TRUE(refusal("vpc: 'red' mac: '52:54:00:00:0f:0f' } } "
                      "remove { kind: OBJECT_KIND_PORT id: 'a0' } }")
                  .empty())
      << "the port goes in the same message";
}

TEST(Admit, RefusesMoreObjectsThanTheHostMayHold) {
  const World world = SmallWorld();
  AdmissionLimits limits;
  limits.max_objects = world.size();
  auto list = Refusal("apply { upsert { vpc { id: 'x' vni: 5 } } }", world, nullptr, limits);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].path, "apply");
  EXPECT_TRUE(Refusal("apply { upsert { vpc { id: 'x' vni: 5 } } "
                      "remove { kind: OBJECT_KIND_VM id: 'b' } }",
                      world, nullptr, limits)
                  .empty());
  EXPECT_TRUE(
      Refusal("apply { upsert { vpc { id: 'red' vni: 100 } } }", world, nullptr, limits).empty());
}

TEST(Admit, NamesOnlyAFewOfManyUsers) {
  World world = SmallWorld();
  std::string text = "apply {";
  for (int i = 0; i < 20; ++i) {
    text += StrCat(" upsert { port { id: 'b", i, "' vm: 'b' vpc: 'red' subnet: 'red-2' } }");
  }
  MustApply(text + "}", &world);
  auto list = Refusal("apply { remove { kind: OBJECT_KIND_VM id: 'b' } }", world);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_THAT(list[0].reason, HasSubstr("and more"));
  EXPECT_LT(list[0].reason.size(), 300U);
}

TEST(Admit, TwoPortsMaySwapAddressesAndMacsInOneMessage) {
  World world = SmallWorld();
  MustApply("apply { " PORT("addresses: '10.0.0.6' mac: '52:54:00:00:00:06'") " }", &world);
  Change change = Accepted(
      "apply { upsert { port { id: 'a0' vm: 'a' vpc: 'red' subnet: 'red-1' addresses: '10.0.0.6' "
      "mac: '52:54:00:00:00:06' } } " PORT("addresses: '10.0.0.5' mac: '52:54:00:00:00:0a'") " }",
      world);
  EXPECT_EQ(change.upserts.size(), 2U);
  world.Apply(change);
  EXPECT_EQ(BrokenInvariant(world), "");
}

TEST(Admit, AnAddressMovesFromARemovedPortOrEndpointToANewPort) {
  World world = SmallWorld();
  world.Apply(
      Accepted("apply { remove { kind: OBJECT_KIND_PORT id: 'a0' } "
               "remove { kind: OBJECT_KIND_ENDPOINT id: 'far' } " PORT(
                   "addresses: '10.0.0.5' addresses: '10.0.0.9' mac: '52:54:00:00:00:0f'") " }",
               world));
  EXPECT_EQ(BrokenInvariant(world), "");
  EXPECT_EQ(world.OwnerOfAddress("red", *IpAddress::Parse("10.0.0.9"))->id, "p");
}

// red-1 with gateways, at 10.0.0.1 and 2001:db8::1.
World RoutedWorld() {
  World world = SmallWorld();
  MustApply(
      "apply { upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/24' prefixes: "
      "'2001:db8::/64' gateways: '10.0.0.1' gateways: '2001:db8::1' } } }",
      &world);
  return world;
}

TEST(Admit, AStoredGatewaysAddressIsNobodyElses) {
  const World world = RoutedWorld();
  auto list = Refusal("apply { " PORT(ADDR1 "addresses: '10.0.0.1'") " }", world);
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].port.addresses[1]");
  EXPECT_EQ(list[0].code, kConflict);
  EXPECT_EQ(list[0].reason, "10.0.0.1 in vpc/red is taken by subnet/red-1 as its gateway");
  list = Refusal("apply { " ENDPOINT(MAC1 VTEP1 "addresses: '2001:db8::1'") " }", world);
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].endpoint.addresses[0]");
  EXPECT_EQ(list[0].reason, "2001:db8::1 in vpc/red is taken by subnet/red-1 as its gateway");
  list = Refusal(
      "add_vm_to_vpc { vm { id: 'b' } vpc: 'red' subnet: 'red-1' addresses: '10.0.0.1' }", world);
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "add_vm_to_vpc.addresses[0]");
  EXPECT_TRUE(Refusal("apply { upsert { port { id: 'p' vpc: 'blue' subnet: 'blue-1' addresses: "
                      "'10.0.0.1' } } }",
                      world)
                  .empty())
      << "another VPC";
}

TEST(Admit, AnAddressMayMoveBetweenAPortAndTheGatewayInOneMessage) {
  World world = RoutedWorld();
  const std::string subnet =
      "upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/24' prefixes: '2001:db8::/64' "
      "gateways: '10.0.0.5' } } ";
  const std::string port =
      "upsert { port { id: 'a0' vm: 'a' vpc: 'red' subnet: 'red-1' addresses: '10.0.0.1' } } ";
  World other = world;
  MustApply(StrCat("apply { ", subnet, port, "}"), &world);
  MustApply(StrCat("apply { ", port, subnet, "}"), &other);
  EXPECT_EQ(Dump(world), Dump(other));
  EXPECT_EQ(BrokenInvariant(world), "");
  const auto owner = [&](const char* address) {
    const auto ref = world.OwnerOfAddress("red", *IpAddress::Parse(address));
    return ref ? ref->ToString() : "nobody";
  };
  EXPECT_EQ(owner("10.0.0.5"), "subnet/red-1");
  EXPECT_EQ(owner("10.0.0.1"), "port/a0");
  EXPECT_EQ(owner("2001:db8::1"), "nobody");
}

TEST(Admit, ASubnetThatLosesAGatewaysPrefixMustLoseTheGateway) {
  const World world = RoutedWorld();
  auto list = Refusal(
      "apply { upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/24' gateways: "
      "'10.0.0.1' gateways: '2001:db8::1' } } }",
      world);
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].subnet.gateways[1]");
  EXPECT_EQ(Accepted("apply { upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/24' "
                     "gateways: '10.0.0.1' } } }",
                     world)
                .upserts.size(),
            1U);
}

TEST(Admit, AVpcWithGatewaysOrDnsServersDoesNotBecomeAVlan) {
  World world;
  MustApply(
      "apply { upsert { vpc { id: 'v' vni: 5 } } upsert { subnet { id: 's' vpc: 'v' prefixes: "
      "'10.0.0.0/24' gateways: '10.0.0.1' } } upsert { subnet { id: 't' vpc: 'v' prefixes: "
      "'10.0.1.0/24' dns_servers: '10.0.0.2' } } upsert { subnet { id: 'u' vpc: 'v' "
      "prefixes: '10.0.2.0/24' } } }",
      &world);
  const std::string vlan = "apply { upsert { vpc { id: 'v' vlan: 5 } } ";
  auto list = Refusal(vlan + "}", world);
  ASSERT_EQ(list.size(), 1U) << Print(list);
  EXPECT_EQ(list[0].path, "apply.upsert[0].vpc.vlan");
  EXPECT_EQ(list[0].code, kConflict);
  EXPECT_THAT(list[0].reason, HasSubstr("(subnet/s, subnet/t)"));
  EXPECT_TRUE(Refusal(vlan + "upsert { subnet { id: 's' vpc: 'v' prefixes: '10.0.0.0/24' } } "
                             "remove { kind: OBJECT_KIND_SUBNET id: 't' } }",
                      world)
                  .empty());
}

TEST(Admit, ASlash31AndASlash127HaveRoomForAGatewayAndOnePort) {
  EXPECT_TRUE(
      Refusal("apply { upsert { vpc { id: 'v' vni: 5 } } upsert { subnet { id: 's' vpc: 'v' "
              "prefixes: '10.0.0.0/31' prefixes: '2001:db8::/127' gateways: '10.0.0.0' "
              "gateways: '2001:db8::' } } upsert { port { id: 'p' vpc: 'v' subnet: 's' "
              "addresses: '10.0.0.1' addresses: '2001:db8::1' } } }",
              World())
          .empty());
}

TEST(Admit, AWholeVpcGoesInOneMessage) {
  World world = SmallWorld();
  Change change = Accepted(
      "apply { remove { kind: OBJECT_KIND_VPC id: 'red' } "
      "remove { kind: OBJECT_KIND_SUBNET id: 'red-1' } "
      "remove { kind: OBJECT_KIND_SUBNET id: 'red-2' } "
      "remove { kind: OBJECT_KIND_PORT id: 'a0' } "
      "remove { kind: OBJECT_KIND_ENDPOINT id: 'far' } "
      "remove { kind: OBJECT_KIND_VM id: 'gone-before' } }",
      world);
  EXPECT_EQ(change.removes.size(), 5U);  // what is not there is left out
  world.Apply(change);
  EXPECT_EQ(BrokenInvariant(world), "");
}

TEST(Admit, OrderWithinAMessageHasNoEffect) {
  const char* vpc = "upsert { vpc { id: 'v' vni: 5 } } ";
  const char* subnet = "upsert { subnet { id: 's' vpc: 'v' prefixes: '10.0.0.0/24' } } ";
  const char* port = "upsert { port { id: 'p' vpc: 'v' subnet: 's' addresses: '10.0.0.4' } } ";
  const char* endpoint =
      "upsert { endpoint { id: 'e' vpc: 'v' addresses: '10.0.0.5' "
      "mac: '52:54:00:00:00:01' vtep: '192.0.2.1' } } ";
  World forward, backward;
  MustApply(StrCat("apply { ", vpc, subnet, port, endpoint, "}"), &forward);
  MustApply(StrCat("apply { ", endpoint, port, subnet, vpc, "}"), &backward);
  EXPECT_EQ(Dump(forward), Dump(backward));
  EXPECT_EQ(forward.FindEndpoint("e")->subnet, "s");
}

TEST(Admit, AnUpsertWithoutChangesIsLeftOut) {
  const World world = SmallWorld();
  Change change = Accepted(
      "apply { upsert { vpc { id: 'red' vni: 100 } } upsert { endpoint { "
      "id: 'far' vpc: 'red' mac: '52:54:00:00:00:0F' addresses: '10.0.0.9' "
      "vtep: '192.0.2.2' } } }",
      world);
  EXPECT_TRUE(change.empty());
  EXPECT_EQ(change.next_ordinal, world.next_ordinal());
}

TEST(Admit, AChangedObjectKeepsItsOrdinalAndGetsTheNextGeneration) {
  const World world = SmallWorld();
  const StoredObject* before = world.Find({ObjectKind::kPort, "a0"});
  Change change = Accepted(
      "apply { upsert { port { id: 'a0' vm: 'b' vpc: 'blue' "
      "subnet: 'blue-1' } } }",
      world);
  ASSERT_EQ(change.upserts.size(), 1U);
  EXPECT_EQ(change.upserts[0].generation, before->generation + 1);
  EXPECT_EQ(change.upserts[0].ordinal, before->ordinal);
}

TEST(Admit, OrdinalsWrapAndSkipThoseInUse) {
  World world({{Vpc{"one", *Vni::Make(1)}, 1, 1}, {Vpc{"last", *Vni::Make(2)}, 1, kMaxOrdinal}},
              kMaxOrdinal);
  Change change = Accepted(
      "apply { upsert { vpc { id: 'x' vni: 5 } } "
      "upsert { vpc { id: 'y' vni: 6 } } "
      "remove { kind: OBJECT_KIND_VPC id: 'one' } }",
      world);
  ASSERT_EQ(change.upserts.size(), 2U);
  // 1 is of an object that only this change removes.
  EXPECT_EQ(change.upserts[0].ordinal, 2U);
  EXPECT_EQ(change.upserts[1].ordinal, 3U);
  EXPECT_EQ(change.next_ordinal, 4U);
}

TEST(Admit, ASubnetMayGrowAndAVpcWithoutPortsMayChangeItsVni) {
  World world = SmallWorld();
  Change change = Accepted(
      "apply { upsert { subnet { id: 'red-1' vpc: 'red' "
      "prefixes: '2001:db8::/60' prefixes: '10.0.0.0/24' } } "
      "upsert { vpc { id: 'blue' vni: 201 } } }",
      world);
  EXPECT_EQ(change.upserts.size(), 2U);
}

TEST(Admit, ASlash31HasNoNetworkAddress) {
  EXPECT_TRUE(Refusal("apply { upsert { vpc { id: 'v' vni: 5 } } "
                      "upsert { subnet { id: 's' vpc: 'v' prefixes: '10.0.0.0/31' } } "
                      "upsert { port { id: 'p' vpc: 'v' subnet: 's' addresses: '10.0.0.0' "
                      "addresses: '10.0.0.1' } } }",
                      World())
                  .empty());
}

TEST(Admit, RefusesARequestThatIsNoChange) {
  EXPECT_EQ(Refusal("get { }", World()).size(), 1U);
  EXPECT_EQ(Refusal("", World()).size(), 1U);
}

// A NIC like the lab's: its PF cannot set the MAC of a VF.
HostFacts FixedMacHost() {
  HostFacts facts;
  PfFacts pf;
  pf.id = *MacAddress::Parse("52:54:00:00:01:00");
  pf.pci = *PciAddress::Parse("0000:01:00.0");
  pf.netdev = "pf0";
  pf.driver = "virtio-pci";
  for (uint16_t i = 0; i < 2; ++i) {
    VfFacts vf;
    vf.index = i;
    vf.mac = MacAddress({0x52, 0x54, 0, 0, 2, static_cast<uint8_t>(i)});
    pf.vfs.push_back(vf);
  }
  facts.pfs[pf.id] = pf;
  return facts;
}

constexpr char kOtherMac[] = "apply { " PORT("mac: '52:54:00:00:09:09'") " }";

TEST(HostMac, AMacThatNoVfCanHaveIsRefusedByName) {
  HostFacts facts = FixedMacHost();
  auto list = Refusal(kOtherMac, SmallWorld(), &facts);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].path, "apply.upsert[0].port.mac");
  EXPECT_EQ(list[0].code, ViolationCode::kUnsupported);
  EXPECT_THAT(list[0].reason, HasSubstr("pf0"));
  EXPECT_THAT(list[0].reason, HasSubstr("cannot set a VF's MAC"));
  EXPECT_THAT(list[0].reason, HasSubstr("52:54:00:00:02:00, 52:54:00:00:02:01"));
}

TEST(HostMac, OneOfTheVfsMacsIsAccepted) {
  HostFacts facts = FixedMacHost();
  EXPECT_TRUE(
      Refusal("apply { " PORT("mac: '52:54:00:00:02:01'") " }", SmallWorld(), &facts).empty());
}

TEST(HostMac, NothingIsSaidWhileItIsNotKnownOrAnotherNicCan) {
  const World world = SmallWorld();
  const MacAddress key = *MacAddress::Parse("52:54:00:00:01:00");
  HostFacts facts = FixedMacHost();
  facts.pfs[key].vfs[1].mac.reset();
  EXPECT_TRUE(Refusal(kOtherMac, world, &facts).empty());
  facts = FixedMacHost();
  facts.pfs[key].vfs.clear();
  EXPECT_TRUE(Refusal(kOtherMac, world, &facts).empty());
  facts = FixedMacHost();
  facts.pfs[key].can_set_vf_mac = true;
  EXPECT_TRUE(Refusal(kOtherMac, world, &facts).empty());
  facts = FixedMacHost();
  facts.pfs[key].network = NetworkKind::kConverged;
  EXPECT_TRUE(Refusal(kOtherMac, world, &facts).empty());
}

TEST(HostMac, ANicThatMayNotBeUsedDoesNotCount) {
  HostFacts facts = FixedMacHost();
  PfFacts other;
  other.id = *MacAddress::Parse("52:54:00:00:01:01");
  other.can_set_vf_mac = true;
  other.refused = "carries the default route";
  facts.pfs[other.id] = other;
  EXPECT_EQ(Refusal(kOtherMac, SmallWorld(), &facts).size(), 1U);
}

TEST(HostMac, APortThatWasAcceptedIsNotRefusedWhenSentAgain) {
  const World world = SmallWorld();
  HostFacts facts = FixedMacHost();
  Change change = Accepted(
      "apply { upsert { port { id: 'a0' vm: 'a' vpc: 'red' subnet: 'red-1' "
      "mac: '52:54:00:00:00:0a' addresses: '10.0.0.6' } } }",
      world, &facts);
  EXPECT_EQ(change.upserts.size(), 1U);
}

}  // namespace
}  // namespace fairlead
