// SPDX-License-Identifier: Apache-2.0
#include "tests/pipeline_model/provider_model.h"

#include <algorithm>
#include <iterator>

#include "agent/base/text.h"

namespace fairlead::pipeline_model {
namespace {

using Kind = ProviderFrame::Kind;

constexpr MacAddress kBroadcast({0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
constexpr MacAddress kDhcpServers({0x33, 0x33, 0, 1, 0, 2});
constexpr MacAddress kAllRouters({0x33, 0x33, 0, 0, 0, 2});

const Vpc& VpcOf(const ProviderNetwork& network, const Port& port) {
  return *std::find_if(network.vpcs.begin(), network.vpcs.end(),
                       [&](const Vpc& vpc) { return vpc.id == port.vpc; });
}

// The ports of a VPC on a PF.
std::vector<const Port*> PortsOn(const ProviderNetwork& network, const Vpc& vpc, int pf) {
  std::vector<const Port*> out;
  for (const Port& port : network.ports) {
    if (port.vpc == vpc.id && network.pf_of_port.at(port.id) == pf) out.push_back(&port);
  }
  return out;
}

// The link-local address of a MAC: ff:fe in its midst, and its universal bit turned (RFC 4291).
IpAddress LinkLocal(const MacAddress& mac) {
  std::vector<uint8_t> bytes = {0xfe, 0x80, 0, 0, 0, 0, 0, 0};
  for (size_t i = 0; i < 6; ++i) {
    if (i == 3) bytes.insert(bytes.end(), {0xff, 0xfe});
    bytes.push_back(mac.bytes()[i]);
  }
  bytes[8] ^= 0x02;
  return *IpAddress::FromBytes(bytes);
}

// What a guest may send, and how far.
enum class Reach : uint8_t { kNowhere, kSegment, kFabric };

Reach ReachOf(const Port& port, const ProviderFrame& frame) {
  if (frame.vlan || frame.src_mac != *port.mac) return Reach::kNowhere;
  const bool own =
      std::find(port.addresses.begin(), port.addresses.end(), frame.src_ip) != port.addresses.end();
  switch (frame.kind) {
    case Kind::kArp:
      if (frame.arp_sender_mac != *port.mac) return Reach::kNowhere;
      return own || frame.src_ip == IpAddress() ? Reach::kSegment : Reach::kNowhere;
    case Kind::kIpv4:
      if (frame.udp_dst_port == 68) return Reach::kNowhere;  // no guest is a DHCP server
      if (own) return Reach::kSegment;
      return frame.src_ip == IpAddress() && frame.dst_mac == kBroadcast && frame.udp_dst_port == 67
                 ? Reach::kFabric
                 : Reach::kNowhere;
    case Kind::kIpv6:
      break;
    default:
      return Reach::kNowhere;
  }
  if (frame.udp_dst_port == 546) return Reach::kNowhere;
  if (frame.icmpv6_type == 134 || frame.icmpv6_type == 137) return Reach::kNowhere;
  if (own) return Reach::kSegment;
  if (frame.src_ip == *IpAddress::Parse("::")) {
    return frame.icmpv6_type == 135 ? Reach::kSegment : Reach::kNowhere;
  }
  if (frame.src_ip != LinkLocal(*port.mac)) return Reach::kNowhere;
  if (frame.icmpv6_type == 135 || frame.icmpv6_type == 136 || frame.icmpv6_type == 143) {
    return Reach::kSegment;
  }
  const bool asks = (frame.icmpv6_type == 133 && frame.dst_mac == kAllRouters) ||
                    (frame.udp_dst_port == 547 && frame.dst_mac == kDhcpServers);
  return asks ? Reach::kFabric : Reach::kNowhere;
}

ProviderVerdict FromPort(const ProviderNetwork& network, const ProviderFrame& frame) {
  const Port& port = *std::find_if(network.ports.begin(), network.ports.end(),
                                   [&](const Port& p) { return p.id == frame.from_port; });
  const Vpc& vpc = VpcOf(network, port);
  const int pf = network.pf_of_port.at(port.id);
  const Reach reach = ReachOf(port, frame);
  ProviderVerdict out;
  if (reach == Reach::kNowhere) return out;
  if (reach == Reach::kSegment) {
    for (const Port* other : PortsOn(network, vpc, pf)) {
      if (*other->mac == frame.dst_mac) {
        out.ports.insert(other->id);
        return out;
      }
      if (frame.dst_mac.IsMulticast() && other->id != port.id) out.ports.insert(other->id);
    }
  }
  out.uplink = pf;
  out.vlan = vpc.vlan;
  return out;
}

ProviderVerdict FromUplink(const ProviderNetwork& network, const ProviderFrame& frame) {
  const bool plain =
      frame.kind == Kind::kIpv4 || frame.kind == Kind::kIpv6 || frame.kind == Kind::kArp;
  ProviderVerdict out;
  out.host = true;
  for (const Vpc& vpc : network.vpcs) {
    if (frame.vlan ? vpc.vlan != frame.vlan : !vpc.flat || !plain) continue;
    for (const Port* port : PortsOn(network, vpc, frame.pf)) {
      const bool group = frame.dst_mac.IsMulticast();
      if (!group && *port->mac != frame.dst_mac) continue;
      out.ports.insert(port->id);
      if (!group || vpc.vlan) out.host = false;
    }
  }
  return out;
}

uint64_t Below(std::mt19937_64& random, uint64_t limit) { return random() % limit; }
bool Chance(std::mt19937_64& random, int percent) {
  return Below(random, 100) < static_cast<uint64_t>(percent);
}
template <typename T>
const T& OneOf(const std::vector<T>& all, std::mt19937_64& random) {
  return all[Below(random, all.size())];
}

MacAddress Mac(uint64_t n) {
  return MacAddress({0x52, 0x54, 0, 0, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)});
}
IpAddress V4(uint64_t n) { return *IpAddress::Parse(StrCat("10.0.0.", n)); }
IpAddress V6(uint64_t n) { return *IpAddress::Parse(StrCat("fd00::", n)); }

}  // namespace

ProviderVerdict Judge(const ProviderNetwork& network, const ProviderFrame& frame) {
  return frame.from_port.empty() ? FromUplink(network, frame) : FromPort(network, frame);
}

// VPCs share MACs and addresses.
ProviderNetwork RandomProviderNetwork(std::mt19937_64& random) {
  ProviderNetwork out;
  for (uint64_t v = 0; v < 1 + Below(random, 3); ++v) {
    Vpc vpc;
    vpc.id = StrCat("v", v);
    vpc.flat = v == 2 || Chance(random, 25);
    for (const Vpc& other : out.vpcs) vpc.flat &= !other.flat;
    if (!vpc.flat) vpc.vlan = *VlanId::Make(100 + v);
    for (uint64_t n = 0; n < Below(random, 6); ++n) {
      Port port;
      port.id = StrCat(vpc.id, "-p", n);
      port.vpc = vpc.id;
      port.mac = Mac(n);
      for (uint64_t i = Below(random, 3); i > 0; --i) port.addresses.push_back(V4(10 * n + i));
      for (uint64_t i = Below(random, 3); i > 0; --i) port.addresses.push_back(V6(10 * n + i));
      out.pf_of_port[port.id] = static_cast<int>(Below(random, ProviderNetwork::kPfs));
      out.ports.push_back(port);
    }
    out.vpcs.push_back(vpc);
  }
  return out;
}

ProviderFrame RandomProviderFrame(const ProviderNetwork& network, std::mt19937_64& random) {
  ProviderFrame frame;
  const uint64_t kind = Below(random, 100);
  frame.kind = kind < 40   ? Kind::kIpv4
               : kind < 75 ? Kind::kIpv6
               : kind < 95 ? Kind::kArp
               : kind < 97 ? Kind::kQinQ
                           : Kind::kOther;
  const std::vector<MacAddress> macs = {
      kBroadcast, kDhcpServers, kAllRouters, MacAddress({0x33, 0x33, 0xff, 0, 0, 1}),
      Mac(0),     Mac(1),       Mac(2),      Mac(3),
      Mac(4),     Mac(0xbad)};
  frame.src_mac = OneOf(macs, random);
  frame.dst_mac = OneOf(macs, random);
  frame.arp_sender_mac = OneOf(macs, random);
  const std::vector<IpAddress> fours = {IpAddress(), V4(1), V4(11), V4(12), V4(21), V4(99)};
  const std::vector<IpAddress> sixes = {*IpAddress::Parse("::"),
                                        *IpAddress::Parse("fe80::1"),
                                        LinkLocal(Mac(1)),
                                        V6(1),
                                        V6(11),
                                        V6(12),
                                        V6(99)};
  const bool v6 = frame.kind == Kind::kIpv6;
  frame.src_ip = OneOf(v6 ? sixes : fours, random);
  if (v6 && Chance(random, 50)) {
    frame.icmpv6_type = static_cast<uint8_t>(Chance(random, 80) ? 132 + Below(random, 7) : 143);
  } else if (frame.kind != Kind::kArp && Chance(random, 50)) {
    constexpr uint16_t kPorts[] = {67, 68, 547, 546, 443};
    frame.udp_dst_port = kPorts[Below(random, std::size(kPorts))];
  }
  if (Chance(random, 15)) frame.vlan = *VlanId::Make(100 + Below(random, 4));
  if (network.ports.empty() || Chance(random, 25)) {
    frame.pf = static_cast<int>(Below(random, ProviderNetwork::kPfs));
    if (Chance(random, 50)) frame.vlan = *VlanId::Make(100 + Below(random, 4));
    return frame;
  }
  const Port& port = OneOf(network.ports, random);
  frame.from_port = port.id;
  // Mostly what the port owns: else hardly anything would get past the first table.
  if (Chance(random, 85)) frame.src_mac = *port.mac;
  if (Chance(random, 85)) frame.arp_sender_mac = *port.mac;
  if (Chance(random, 60)) {
    std::vector<IpAddress> own;
    if (v6) own.push_back(LinkLocal(*port.mac));
    for (const IpAddress& a : port.addresses) {
      if (a.is_v6() == v6) own.push_back(a);
    }
    if (!own.empty()) frame.src_ip = OneOf(own, random);
  }
  return frame;
}

std::string ProviderFrame::ToString() const {
  constexpr std::string_view kKinds[] = {"ipv4", "ipv6", "arp", "qinq", "other"};
  return StrCat(kKinds[static_cast<size_t>(kind)], vlan ? StrCat(" vlan ", vlan->value()) : "",
                " from ", from_port.empty() ? StrCat("uplink ", pf) : from_port, ": ",
                src_mac.ToString(), " > ", dst_mac.ToString(), ", ", src_ip.ToString(),
                kind == Kind::kArp ? StrCat(" sha ", arp_sender_mac.ToString()) : "",
                icmpv6_type ? StrCat(" icmpv6 ", *icmpv6_type) : "",
                udp_dst_port ? StrCat(" udp ", *udp_dst_port) : "");
}

std::string ProviderVerdict::ToString() const {
  std::string out = host ? "to the host;" : "";
  for (const std::string& port : ports) StrAppend(&out, " to ", port);
  if (uplink) StrAppend(&out, " out of uplink ", *uplink);
  if (vlan) StrAppend(&out, " vlan ", vlan->value());
  return out.empty() ? "dropped" : out;
}

}  // namespace fairlead::pipeline_model
