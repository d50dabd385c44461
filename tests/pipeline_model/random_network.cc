// SPDX-License-Identifier: Apache-2.0
#include "tests/pipeline_model/random_network.h"

#include <iterator>

#include "agent/base/text.h"

namespace fairlead::pipeline_model {
namespace {

// The library's distributions differ between implementations; a remainder does not.
uint64_t Below(Random& random, uint64_t limit) { return random() % limit; }
bool Chance(Random& random, int percent) {
  return Below(random, 100) < static_cast<uint64_t>(percent);
}
template <typename T>
const T& OneOf(const std::vector<T>& all, Random& random) {
  return all[Below(random, all.size())];
}

MacAddress Mac(uint64_t n) {
  return MacAddress({0x52, 0x54, 0, 0, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)});
}
IpAddress V4(uint64_t subnet, uint64_t host) {
  return *IpAddress::Parse(StrCat("10.0.", subnet, ".", host));
}
IpAddress V6(uint64_t subnet, uint64_t host) {
  return *IpAddress::Parse(StrCat("fd00:0:0:", subnet, "::", host));
}

// Addresses of host number n: none, one or two of each family.
std::vector<IpAddress> Addresses(uint64_t subnet, uint64_t n, bool one_at_least, Random& random) {
  std::vector<IpAddress> out;
  const uint64_t fours = Below(random, 3), sixes = Below(random, 3);
  for (uint64_t i = 0; i < fours; ++i) out.push_back(V4(subnet, 10 + 2 * n + i));
  for (uint64_t i = 0; i < sixes; ++i) out.push_back(V6(subnet, 10 + 2 * n + i));
  if (out.empty() && one_at_least) out.push_back(V4(subnet, 10 + 2 * n));
  return out;
}

AddressPair RandomPair(uint64_t subnet, Random& random) {
  AddressPair pair;
  if (Chance(random, 50)) pair.mac = Mac(0x900 + Below(random, 2));
  const bool v4 = Chance(random, 60);
  pair.prefix = Chance(random, 50) ? IpPrefix::Host(v4 ? V4(subnet, 200) : V6(subnet, 200))
                : v4               ? *IpPrefix::Parse("10.0.99.0/24")
                                   : *IpPrefix::Parse("fd00:0:0:99::/64");
  return pair;
}

void AddSubnet(const Vpc& vpc, uint64_t number, Random& random, Network& out) {
  Subnet subnet;
  subnet.id = StrCat(vpc.id, "-s", number);
  subnet.vpc = vpc.id;
  subnet.prefix4 = *IpPrefix::Parse(StrCat("10.0.", number, ".0/24"));
  subnet.prefix6 = *IpPrefix::Parse(StrCat("fd00:0:0:", number, "::/64"));
  if (Chance(random, 70)) subnet.gateway4 = V4(number, 1);
  if (Chance(random, 70)) subnet.gateway6 = V6(number, 1);
  const uint64_t ports = Below(random, 4), endpoints = Below(random, 4);
  for (uint64_t n = 0; n < ports + endpoints; ++n) {
    const MacAddress mac = Mac(number * 16 + n);
    if (n < ports) {
      Port port;
      port.id = StrCat(subnet.id, "-p", n);
      port.vpc = vpc.id;
      port.subnet = subnet.id;
      port.mac = mac;
      port.addresses = Addresses(number, n, false, random);
      for (uint64_t i = Below(random, 3); i > 0; --i) {
        const AddressPair pair = RandomPair(number, random);
        if (port.allowed_pairs.empty() || port.allowed_pairs[0] != pair) {
          port.allowed_pairs.push_back(pair);
        }
      }
      out.ports.push_back(port);
    } else {
      Endpoint endpoint;
      endpoint.id = StrCat(subnet.id, "-e", n);
      endpoint.vpc = vpc.id;
      endpoint.subnet = subnet.id;
      endpoint.mac = mac;
      endpoint.addresses = Addresses(number, n, true, random);
      endpoint.vtep = Chance(random, 10)
                          ? out.local
                          : *IpAddress::Parse(StrCat("192.0.2.", 2 + Below(random, 3)));
      out.endpoints.push_back(endpoint);
    }
  }
  out.subnets.push_back(subnet);
}

// Any prefix that lies in no subnet, by an address of a routed one that is somebody's or nobody's.
void AddRoutes(const Vpc& vpc, Random& random, Network& out) {
  constexpr const char* kPrefixes[] = {
      "0.0.0.0/0",    "10.0.0.0/8",       "10.0.0.0/16", "10.0.99.0/24",  "10.0.99.4/30",
      "10.0.99.7/32", "8.0.0.0/7",        "8.8.8.0/24",  "::/0",          "fd00::/16",
      "fd00::/48",    "fd00:0:0:99::/64", "8.8.8.8/32",  "2001:db8::/32", "fd00:0:0:99::7/128"};
  std::vector<IpAddress> four, six;
  for (const Subnet& subnet : out.subnets) {
    if (subnet.vpc != vpc.id) continue;
    if (subnet.gateway4) four.push_back(V4(subnet.prefix4->address().bytes()[2], 66));
    if (subnet.gateway6) six.push_back(V6(subnet.prefix6->address().bytes()[7], 66));
    const auto add = [&](const std::vector<IpAddress>& addresses) {
      for (const IpAddress& address : addresses) {
        if (address.is_v4() ? !subnet.gateway4 : !subnet.gateway6) continue;
        for (int often = 0; often < 3; ++often) (address.is_v4() ? four : six).push_back(address);
      }
    };
    for (const Port& port : out.ports) {
      if (port.subnet == subnet.id) add(port.addresses);
    }
    for (const Endpoint& endpoint : out.endpoints) {
      if (endpoint.subnet == subnet.id) add(endpoint.addresses);
    }
  }
  for (const char* text : kPrefixes) {
    if (!Chance(random, 30)) continue;
    const IpPrefix prefix = *IpPrefix::Parse(text);
    const std::vector<IpAddress>& hops = prefix.address().is_v4() ? four : six;
    if (hops.empty()) continue;
    out.routes.push_back({StrCat(vpc.id, "-r", text), vpc.id, prefix, OneOf(hops, random)});
  }
}

MacAddress RandomMac(const Network& network, Random& random) {
  std::vector<MacAddress> all = {kGatewayMac,
                                 Mac(0x900),
                                 Mac(0x901),
                                 Mac(0xbad),
                                 MacAddress({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}),
                                 MacAddress({0x33, 0x33, 0, 1, 0, 2}),
                                 MacAddress({0x33, 0x33, 0, 0, 0, 1})};
  for (const Port& port : network.ports) all.push_back(*port.mac);
  for (const Endpoint& endpoint : network.endpoints) all.push_back(endpoint.mac);
  return OneOf(all, random);
}

IpAddress RandomAddress(const Network& network, bool v4, Random& random) {
  std::vector<IpAddress> all = {V4(99, 7),  V4(0, 200), V4(0, 250), *IpAddress::Parse("8.8.8.8"),
                                V6(99, 7),  V6(0, 200), V6(0, 250), *IpAddress::Parse("fe80::1"),
                                V4(0, 201), V6(0, 201)};
  const auto add = [&all](const std::vector<IpAddress>& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  for (const Port& port : network.ports) add(port.addresses);
  for (const Endpoint& endpoint : network.endpoints) add(endpoint.addresses);
  for (const Subnet& subnet : network.subnets) {
    if (subnet.gateway4) all.push_back(*subnet.gateway4);
    if (subnet.gateway6) all.push_back(*subnet.gateway6);
  }
  std::erase_if(all, [v4](const IpAddress& address) { return address.is_v4() != v4; });
  return OneOf(all, random);
}

// In no subnet; some routes lead there.
IpAddress Outside(bool v4, Random& random) {
  constexpr const char* kFour[] = {"10.0.99.5", "10.0.99.7", "10.9.9.9", "8.8.8.8",
                                   "8.8.8.9",   "9.9.9.9",   "11.0.0.1"};
  constexpr const char* kSix[] = {"fd00:0:0:99::5", "fd00:0:0:99::7", "fd00:1::1", "2001:db8::1",
                                  "2001:db9::1"};
  return *IpAddress::Parse(v4 ? kFour[Below(random, std::size(kFour))]
                              : kSix[Below(random, std::size(kSix))]);
}

SecurityRule RandomRule(const std::string& vpc, uint64_t groups, Random& random) {
  SecurityRule rule;
  rule.ingress = Chance(random, 50);
  if (Chance(random, 30)) rule.v4 = Chance(random, 50);
  if (Chance(random, 75)) {
    constexpr uint8_t kProtocols[] = {6, 6, 6, 17, 47, 58, 58};
    rule.protocol = kProtocols[Below(random, std::size(kProtocols))];
    if (rule.protocol == 58) rule.v4 = false;
    if (rule.protocol == 58 && Chance(random, 70)) rule.icmp_type = 128;
    if ((rule.protocol == 6 || rule.protocol == 17) && Chance(random, 75)) {
      constexpr PortRange kRanges[] = {
          {443, 443}, {80, 443}, {1024, 65535}, {1024, 65535}, {0, 444}};
      rule.ports = kRanges[Below(random, std::size(kRanges))];
    }
  }
  if (Chance(random, 30)) {
    rule.remote_group = StrCat(vpc, "-g", Below(random, groups));
  } else if (Chance(random, 30)) {
    const bool v4 = rule.v4.value_or(Chance(random, 50));
    const uint64_t subnet = Below(random, 3);
    rule.v4 = v4;
    rule.remote = v4 ? *IpPrefix::Parse(StrCat("10.0.", subnet, ".0/24"))
                     : *IpPrefix::Parse(StrCat("fd00:0:0:", subnet, "::/64"));
  }
  return rule;
}

// Groups of one kind, and who is in them.
void AddGroups(const Vpc& vpc, Random& random, Network& out) {
  const uint64_t groups = Below(random, 4);
  const bool stateless = Chance(random, 40);
  for (uint64_t g = 0; g < groups; ++g) {
    SecurityGroup group{StrCat(vpc.id, "-g", g), vpc.id, stateless, {}};
    for (uint64_t n = Below(random, 6); n > 0; --n) {
      group.rules.push_back(RandomRule(vpc.id, groups, random));
    }
    out.groups.push_back(group);
  }
  const auto join = [&](auto& station) {
    if (station.vpc != vpc.id) return;
    for (uint64_t g = 0; g < groups; ++g) {
      if (Chance(random, 40)) station.security_groups.push_back(StrCat(vpc.id, "-g", g));
    }
  };
  for (Port& port : out.ports) join(port);
  for (Endpoint& endpoint : out.endpoints) join(endpoint);
}

}  // namespace

Network RandomNetwork(Random& random) {
  Network out;
  out.local = *IpAddress::Parse("192.0.2.1");
  if (Chance(random, 50)) {
    out.peers = {*IpPrefix::Parse("192.0.2.2/31"), *IpPrefix::Parse("198.51.100.0/24")};
  }
  const uint64_t vpcs = 1 + Below(random, 3);
  for (uint64_t v = 0; v < vpcs; ++v) {
    const Vpc vpc{StrCat("v", v), *Vni::Make(static_cast<uint32_t>(100 + v))};
    const uint64_t subnets = 1 + Below(random, 3);
    for (uint64_t s = 0; s < subnets; ++s) AddSubnet(vpc, s, random, out);
    AddRoutes(vpc, random, out);
    AddGroups(vpc, random, out);
    out.vpcs.push_back(vpc);
  }
  return out;
}

Frame RandomFrame(const Network& network, Random& random) {
  Frame frame;
  const Port* port = network.ports.empty() ? nullptr : &OneOf(network.ports, random);
  const uint64_t kind = Below(random, 100);
  frame.kind = kind < 45   ? Frame::Kind::kIpv4
               : kind < 88 ? Frame::Kind::kIpv6
               : kind < 92 ? Frame::Kind::kArp
               : kind < 95 ? Frame::Kind::kVlan
               : kind < 97 ? Frame::Kind::kQinQ
                           : Frame::Kind::kOther;
  const bool v4 = frame.kind != Frame::Kind::kIpv6;
  frame.src_mac = RandomMac(network, random);
  frame.dst_mac = RandomMac(network, random);
  frame.src_ip = RandomAddress(network, v4, random);
  frame.dst_ip = RandomAddress(network, v4, random);
  constexpr uint8_t kTtls[] = {0, 1, 2, 64, 64, 64, 255};
  frame.ttl = kTtls[Below(random, std::size(kTtls))];
  if (!v4 && Chance(random, 25)) {
    frame.icmpv6_type =
        static_cast<uint8_t>(Chance(random, 50) ? 132 + Below(random, 7) : 128 + Below(random, 2));
  } else if (Chance(random, 30)) {
    constexpr uint16_t kPorts[] = {67, 68, 547, 546, 443};
    frame.udp_dst_port = kPorts[Below(random, std::size(kPorts))];
  } else if (Chance(random, 60)) {
    constexpr uint16_t kPorts[] = {22, 443, 444, 1024, 50000};
    frame.tcp_dst_port = kPorts[Below(random, std::size(kPorts))];
  }
  frame.state = Chance(random, 70)   ? Frame::State::kNew
                : Chance(random, 70) ? Frame::State::kEstablished
                                     : Frame::State::kRelated;
  if (port != nullptr && Chance(random, 75)) {
    frame.from_port = port->id;
    // Mostly what the port owns: else hardly anything would get past the first table.
    if (Chance(random, 80)) frame.src_mac = *port->mac;
    if (Chance(random, 70)) {
      std::vector<IpAddress> own;
      for (const IpAddress& a : port->addresses) {
        if (a.is_v4() == v4) own.push_back(a);
      }
      if (!own.empty()) frame.src_ip = OneOf(own, random);
    } else if (!port->allowed_pairs.empty() && Chance(random, 50)) {
      const AddressPair& pair = OneOf(port->allowed_pairs, random);
      if (pair.prefix.address().is_v4() == v4) {
        frame.src_ip = pair.prefix.Last();
        frame.src_mac = pair.mac.value_or(*port->mac);
      }
    }
    if (Chance(random, 35)) {
      frame.dst_mac = kGatewayMac;
      if (Chance(random, 35)) frame.dst_ip = Outside(v4, random);
    }
    return frame;
  }
  frame.vni = *Vni::Make(static_cast<uint32_t>(100 + Below(random, 4)));
  constexpr const char* kSenders[] = {"192.0.2.2", "192.0.2.3", "192.0.2.4", "198.51.100.255",
                                      "198.51.101.1"};
  frame.outer_src = *IpAddress::Parse(kSenders[Below(random, std::size(kSenders))]);
  frame.outer_dst = Chance(random, 90) ? network.local : *IpAddress::Parse("192.0.2.2");
  frame.outer_udp_port = Chance(random, 90) ? network.udp_port : 8472;
  return frame;
}

}  // namespace fairlead::pipeline_model
