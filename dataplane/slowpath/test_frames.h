// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what a guest sends, built without the product's own reading and writing; and the
// network that the slow path's tests have. Test code.
//
// Threading: free functions on values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/model/slow_path.h"
#include "dataplane/slowpath/tables.h"

namespace fairlead::slowpath {

using Octets = std::vector<uint8_t>;

// "0a00[3]ff": hexadecimal, and three zero bytes.
Octets Hex(std::string_view text);
std::string ToHex(const Octets& bytes);  // no brackets
Octets operator+(Octets a, const Octets& b);
Octets U16(uint32_t value);
Octets U32(uint32_t value);
Octets Text(std::string_view text);
Octets Mac(std::string_view text);
Octets Ip(std::string_view text);

inline constexpr char kGatewayText[] = "02:66:6c:00:00:01";
inline constexpr char kGuestMac[] = "52:54:00:00:00:05";
inline constexpr char kOtherMac[] = "52:54:00:00:00:07";
inline constexpr char kAllMac[] = "ff:ff:ff:ff:ff:ff";
inline constexpr char kGuest4[] = "10.0.0.5";
inline constexpr char kGuest6[] = "2001:db8::5";
inline constexpr char kGuestLinkLocal[] = "fe80::5054:ff:fe00:5";
inline constexpr char kGatewayLinkLocalText[] = "fe80::66:6cff:fe00:1";

// Subnet "s": 10.0.0.0/24 by 10.0.0.1, 2001:db8::/64 by 2001:db8::1, DNS at .53, MTU 1450. Port
// "web" with the guest's addresses, pairs 10.0.0.100 and, of the MAC 00:00:5e:00:01:01,
// 10.0.0.200. Neighbours: itself, and .7 with kOtherMac.
SlowPathSubnet TestSubnet();
SlowPathPort TestPort();
std::vector<SlowPathEntry> TestNetwork();
Tables TestTables();

Octets EthernetFrame(std::string_view to, std::string_view from, uint16_t type,
                     const Octets& payload);
Octets Arp(uint16_t operation, std::string_view sender_mac, std::string_view sender,
           std::string_view target);
// "Who has `target`?", of the guest, to all.
Octets ArpRequest(std::string_view target, std::string_view sender = kGuest4,
                  std::string_view sender_mac = kGuestMac);

struct Ip4Options {
  uint8_t tos = 0, ttl = 64;
  uint16_t fragment = 0;
};
Octets Ip4Packet(std::string_view from, std::string_view to, uint8_t protocol,
                 const Octets& payload, const Ip4Options& options = {});
Octets Ip6Packet(std::string_view from, std::string_view to, uint8_t next, const Octets& payload,
                 uint8_t hop_limit = 64);
Octets Icmp4(const Octets& message);  // with its checksum put in
Octets Icmp6Packet(std::string_view from, std::string_view to, const Octets& message,
                   uint8_t hop_limit = 255);
Octets Udp4Packet(std::string_view from, std::string_view to, uint16_t source_port, uint16_t port,
                  const Octets& payload);
Octets Udp6Packet(std::string_view from, std::string_view to, uint16_t source_port, uint16_t port,
                  const Octets& payload);

// Frames of the guest.
Octets NeighbourSolicitation(std::string_view from, std::string_view target,
                             bool with_source = true, std::string_view from_mac = kGuestMac);
Octets RouterSolicitation(std::string_view from, bool with_source);
Octets DhcpOption(uint8_t code, const Octets& value);
struct Dhcp4Options {
  uint16_t flags = 0;
  std::string_view client = "0.0.0.0", from = "0.0.0.0", to = "255.255.255.255";
  std::string_view to_mac = kAllMac, mac = kGuestMac;
};
Octets Dhcp4(const Octets& options, const Dhcp4Options& how = {});
Octets Dhcp6Option(uint16_t code, const Octets& value);
Octets Dhcp6ClientId();
Octets Dhcp6ServerId();
Octets Dhcp6Ia(uint16_t kind, uint32_t id, const std::vector<std::string_view>& addresses);
Octets Dhcp6(uint8_t type, const Octets& options);
Octets Ping4(std::string_view to = "10.0.0.1");
Octets Ping6(std::string_view to = "2001:db8::1");
Octets LastHop4();  // a UDP datagram to 192.0.2.9 with a TTL of 1
Octets LastHop6();

// One of each that is answered.
std::vector<Octets> AllQuestions();

}  // namespace fairlead::slowpath
