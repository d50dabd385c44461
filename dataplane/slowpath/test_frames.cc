// SPDX-License-Identifier: Apache-2.0
#include "dataplane/slowpath/test_frames.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdlib>

namespace fairlead::slowpath {
namespace {

Octets Sum(const Octets& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) sum += i % 2 == 0 ? bytes[i] << 8U : bytes[i];
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  return U16(~sum & 0xffff);
}

Octets WithSum(Octets bytes, size_t at, const Octets& pseudo = {}) {
  const Octets sum = Sum(pseudo + bytes);
  std::copy(sum.begin(), sum.end(), bytes.begin() + static_cast<ptrdiff_t>(at));
  return bytes;
}

Octets Pseudo(std::string_view from, std::string_view to, uint8_t protocol, size_t length) {
  return Ip(from) + Ip(to) + U32(static_cast<uint32_t>(length)) + U32(protocol);
}

Octets Udp(std::string_view from, std::string_view to, uint16_t source_port, uint16_t port,
           const Octets& payload) {
  const size_t length = payload.size() + 8;
  return WithSum(
      U16(source_port) + U16(port) + U16(static_cast<uint32_t>(length)) + U16(0) + payload, 6,
      Pseudo(from, to, 17, length));
}

std::string MulticastMac(std::string_view group) {
  const Octets b = Ip(group);
  return "33:33:" + MacAddress({b[12], b[13], b[14], b[15], 0, 0}).ToString().substr(0, 11);
}

}  // namespace

Octets Hex(std::string_view text) {
  Octets out;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '[') {
      const size_t end = text.find(']', i);
      out.resize(out.size() + std::stoul(std::string(text.substr(i + 1, end - i - 1))));
      i = end + 1;
    } else {
      out.push_back(static_cast<uint8_t>(std::stoul(std::string(text.substr(i, 2)), nullptr, 16)));
      i += 2;
    }
  }
  return out;
}

std::string ToHex(const Octets& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const uint8_t b : bytes) {
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}

Octets operator+(Octets a, const Octets& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Octets U16(uint32_t value) {
  return {static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
}
Octets U32(uint32_t value) { return U16(value >> 16) + U16(value & 0xffff); }
Octets Text(std::string_view text) { return {text.begin(), text.end()}; }

Octets Mac(std::string_view text) {
  const auto mac = MacAddress::Parse(text)->bytes();
  return {mac.begin(), mac.end()};
}

Octets Ip(std::string_view text) {
  const IpAddress address = *IpAddress::Parse(text);
  return {address.bytes().begin(), address.bytes().end()};
}

SlowPathSubnet TestSubnet() {
  SlowPathSubnet out;
  out.id = "s";
  out.prefix4 = *IpPrefix::Parse("10.0.0.0/24");
  out.prefix6 = *IpPrefix::Parse("2001:db8::/64");
  out.gateway4 = *IpAddress::Parse("10.0.0.1");
  out.gateway6 = *IpAddress::Parse("2001:db8::1");
  out.dns_servers = {*IpAddress::Parse("10.0.0.53"), *IpAddress::Parse("2001:db8::53")};
  out.mtu = 1450;
  return out;
}

SlowPathPort TestPort() {
  SlowPathPort out;
  out.id = "web";
  out.subnet = "s";
  out.ifindex = 7;
  out.netdev = "pf0rep0";
  out.mac = *MacAddress::Parse(kGuestMac);
  out.addresses = {*IpAddress::Parse(kGuest4), *IpAddress::Parse(kGuest6)};
  out.pairs = {{std::nullopt, *IpPrefix::Parse("10.0.0.100/32")},
               {*MacAddress::Parse("00:00:5e:00:01:01"), *IpPrefix::Parse("10.0.0.200/32")}};
  out.host_name = "web";
  return out;
}

std::vector<SlowPathEntry> TestNetwork() {
  const MacAddress own = *MacAddress::Parse(kGuestMac), other = *MacAddress::Parse(kOtherMac);
  return {TestSubnet(),
          TestPort(),
          SlowPathNeighbour{"s", *IpAddress::Parse(kGuest4), own},
          SlowPathNeighbour{"s", *IpAddress::Parse(kGuest6), own},
          SlowPathNeighbour{"s", *IpAddress::Parse("10.0.0.7"), other},
          SlowPathNeighbour{"s", *IpAddress::Parse("2001:db8::7"), other}};
}

Tables TestTables() {
  Tables out;
  for (const SlowPathEntry& entry : TestNetwork()) {
    if (!out.Put(entry).ok()) std::abort();
  }
  return out;
}

Octets EthernetFrame(std::string_view to, std::string_view from, uint16_t type,
                     const Octets& payload) {
  return Mac(to) + Mac(from) + U16(type) + payload;
}

Octets Arp(uint16_t operation, std::string_view sender_mac, std::string_view sender,
           std::string_view target) {
  return Hex("000108000604") + U16(operation) + Mac(sender_mac) + Ip(sender) + Octets(6) +
         Ip(target);
}

Octets ArpRequest(std::string_view target, std::string_view sender, std::string_view sender_mac) {
  return EthernetFrame(kAllMac, sender_mac, 0x0806, Arp(1, sender_mac, sender, target));
}

Octets Ip4Packet(std::string_view from, std::string_view to, uint8_t protocol,
                 const Octets& payload, const Ip4Options& options) {
  const Octets header =
      Octets{0x45, options.tos} + U16(static_cast<uint32_t>(20 + payload.size())) + U16(0) +
      U16(options.fragment) + Octets{options.ttl, protocol} + U16(0) + Ip(from) + Ip(to);
  return WithSum(header, 10) + payload;
}

Octets Ip6Packet(std::string_view from, std::string_view to, uint8_t next, const Octets& payload,
                 uint8_t hop_limit) {
  return U32(0x60000000) + U16(static_cast<uint32_t>(payload.size())) + Octets{next, hop_limit} +
         Ip(from) + Ip(to) + payload;
}

Octets Icmp4(const Octets& message) { return WithSum(message, 2); }

Octets Icmp6Packet(std::string_view from, std::string_view to, const Octets& message,
                   uint8_t hop_limit) {
  return Ip6Packet(from, to, 58, WithSum(message, 2, Pseudo(from, to, 58, message.size())),
                   hop_limit);
}

Octets Udp4Packet(std::string_view from, std::string_view to, uint16_t source_port, uint16_t port,
                  const Octets& payload) {
  return Ip4Packet(from, to, 17, Udp(from, to, source_port, port, payload));
}

Octets Udp6Packet(std::string_view from, std::string_view to, uint16_t source_port, uint16_t port,
                  const Octets& payload) {
  return Ip6Packet(from, to, 17, Udp(from, to, source_port, port, payload));
}

Octets NeighbourSolicitation(std::string_view from, std::string_view target, bool with_source,
                             std::string_view from_mac) {
  Octets node = Hex("ff02[9]01ff");
  const Octets address = Ip(target);
  node.insert(node.end(), address.end() - 3, address.end());
  const std::string group = IpAddress::FromBytes(node)->ToString();
  Octets message = Octets{135, 0} + U16(0) + U32(0) + address;
  if (with_source) message = message + Octets{1, 1} + Mac(from_mac);
  return EthernetFrame(MulticastMac(group), from_mac, 0x86dd, Icmp6Packet(from, group, message));
}

Octets RouterSolicitation(std::string_view from, bool with_source) {
  Octets message = Octets{133, 0} + U16(0) + U32(0);
  if (with_source) message = message + Octets{1, 1} + Mac(kGuestMac);
  return EthernetFrame("33:33:00:00:00:02", kGuestMac, 0x86dd,
                       Icmp6Packet(from, "ff02::2", message));
}

Octets DhcpOption(uint8_t code, const Octets& value) {
  return Octets{code, static_cast<uint8_t>(value.size())} + value;
}

Octets Dhcp4(const Octets& options, const Dhcp4Options& how) {
  const Octets message = Octets{1, 1, 6, 0} + U32(0x12345678) + U16(0) + U16(how.flags) +
                         Ip(how.client) + Octets(12) + Mac(how.mac) + Octets(10 + 64 + 128) +
                         Hex("63825363") + options + Octets{255};
  return EthernetFrame(how.to_mac, kGuestMac, 0x0800,
                       Udp4Packet(how.from, how.to, 68, 67, message));
}

Octets Dhcp6Option(uint16_t code, const Octets& value) {
  return U16(code) + U16(static_cast<uint32_t>(value.size())) + value;
}
Octets Dhcp6ClientId() { return Dhcp6Option(1, Hex("00030001") + Mac(kGuestMac)); }
Octets Dhcp6ServerId() { return Dhcp6Option(2, Hex("00030001") + Mac(kGatewayText)); }

Octets Dhcp6Ia(uint16_t kind, uint32_t id, const std::vector<std::string_view>& addresses) {
  Octets value = U32(id);
  if (kind != 4) value = value + U32(0) + U32(0);
  for (const std::string_view address : addresses) {
    value = value + Dhcp6Option(5, Ip(address) + U32(100) + U32(200));
  }
  return Dhcp6Option(kind, value);
}

Octets Dhcp6(uint8_t type, const Octets& options) {
  return EthernetFrame(
      "33:33:00:01:00:02", kGuestMac, 0x86dd,
      Udp6Packet(kGuestLinkLocal, "ff02::1:2", 546, 547, Octets{type, 0xab, 0xcd, 0xef} + options));
}

Octets Ping4(std::string_view to) {
  const Octets message = Octets{8, 0, 0, 0} + U16(7) + U16(1) + Text("fairlead!");
  return EthernetFrame(kGatewayText, kGuestMac, 0x0800,
                       Ip4Packet(kGuest4, to, 1, Icmp4(message), {.tos = 0x10}));
}

Octets Ping6(std::string_view to) {
  const Octets message = Octets{128, 0, 0, 0} + U16(7) + U16(1) + Text("fairlead!");
  return EthernetFrame(kGatewayText, kGuestMac, 0x86dd, Icmp6Packet(kGuest6, to, message, 64));
}

Octets LastHop4() {
  const Octets udp = U16(4000) + U16(33434) + U16(12) + U16(0) + Text("abcd");
  return EthernetFrame(kGatewayText, kGuestMac, 0x0800,
                       Ip4Packet(kGuest4, "192.0.2.9", 17, udp, {.ttl = 1, .fragment = 0x4000}));
}

Octets LastHop6() {
  const Octets udp = U16(4000) + U16(33434) + U16(12) + U16(1) + Text("abcd");
  return EthernetFrame(kGatewayText, kGuestMac, 0x86dd,
                       Ip6Packet(kGuest6, "2001:db8:9::9", 17, udp, 1));
}

std::vector<Octets> AllQuestions() {
  const Octets client_id = DhcpOption(61, Hex("01525400000005"));
  const Octets ids = Dhcp6ClientId() + Dhcp6ServerId();
  return {ArpRequest("10.0.0.1"),
          ArpRequest("10.0.0.7", "0.0.0.0"),
          NeighbourSolicitation(kGuest6, "2001:db8::1"),
          NeighbourSolicitation("::", "2001:db8::7", false),
          RouterSolicitation(kGuestLinkLocal, true),
          RouterSolicitation("::", false),
          Dhcp4(DhcpOption(53, {1}) + client_id),
          Dhcp4(DhcpOption(53, {3}) + DhcpOption(50, Ip(kGuest4)) + DhcpOption(54, Ip("10.0.0.1"))),
          Dhcp4(DhcpOption(53, {3}) + DhcpOption(50, Ip("10.0.0.9")) + client_id),
          Dhcp4(DhcpOption(53, {8}), {.client = kGuest4, .from = kGuest4}),
          Dhcp6(1, Dhcp6ClientId() + Dhcp6Ia(3, 1, {})),
          Dhcp6(3, ids + Dhcp6Ia(3, 1, {kGuest6})),
          Dhcp6(4, Dhcp6ClientId() + Dhcp6Ia(3, 1, {"2001:db8:1::5"})),
          Dhcp6(5, ids + Dhcp6Ia(3, 1, {kGuest6, "2001:db8::bad"}) + Dhcp6Ia(25, 2, {})),
          Dhcp6(8, ids + Dhcp6Ia(3, 1, {kGuest6})),
          Dhcp6(11, {}),
          Ping4(),
          Ping6(),
          LastHop4(),
          LastHop6()};
}

}  // namespace fairlead::slowpath
