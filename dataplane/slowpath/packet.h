// SPDX-License-Identifier: Apache-2.0
//
// Purpose: reading what guests send, who are hostile, and writing answers. Every read goes
// through Reader, which gives zeros behind the end and remembers it.
//
// Threading: plain values; views point into the frame that they were parsed from.
// Errors: nullopt: not a well-formed header, a wrong length, or a wrong checksum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "agent/base/types.h"

namespace fairlead::slowpath {

using Bytes = std::span<const uint8_t>;

inline constexpr uint16_t kEtherTypeIp4 = 0x0800;  // RFC 894
inline constexpr uint16_t kEtherTypeArp = 0x0806;  // RFC 826
inline constexpr uint16_t kEtherTypeIp6 = 0x86dd;  // RFC 2464 section 3
inline constexpr size_t kEthernetHeader = 14;
inline constexpr size_t kIp4Header = 20;  // RFC 791 section 3.1, without options
inline constexpr size_t kIp6Header = 40;  // RFC 8200 section 3
inline constexpr uint8_t kProtocolIcmp4 = 1;
inline constexpr uint8_t kProtocolUdp = 17;
inline constexpr uint8_t kProtocolIcmp6 = 58;
inline constexpr MacAddress kBroadcastMac({0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
inline constexpr uint8_t kTtl = 64;          // RFC 1700's recommendation
inline constexpr uint8_t kNdHopLimit = 255;  // RFC 4861 section 7.1.1: it crossed no router

// Numbers are in network order.
class Reader {
 public:
  explicit Reader(Bytes bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }  // nothing was read that is not there
  size_t left() const { return bytes_.size(); }
  uint8_t U8();
  uint16_t U16();
  uint32_t U32();
  // Empty, and no longer ok, when there are fewer.
  Bytes Take(size_t count);
  void Skip(size_t count) { Take(count); }
  IpAddress Ip4();
  IpAddress Ip6();
  MacAddress Mac();

 private:
  Bytes bytes_;
  bool ok_ = true;
};

class Writer {
 public:
  Writer& U8(uint8_t value);
  Writer& U16(uint16_t value);
  Writer& U32(uint32_t value);
  Writer& Put(Bytes bytes);
  Writer& Zeros(size_t count);
  Writer& Put(const MacAddress& mac) { return Put(Bytes(mac.bytes())); }
  Writer& Put(const IpAddress& address) { return Put(address.bytes()); }
  void SetU16(size_t at, uint16_t value);
  size_t size() const { return bytes_.size(); }
  Bytes bytes() const { return bytes_; }
  std::vector<uint8_t> Take() { return std::move(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

// The internet checksum (RFC 1071) of `bytes` behind what `sum` holds already. 0 over
// what has its right checksum in it.
uint16_t Checksum(Bytes bytes, uint32_t sum = 0);
// The pseudo header's part (RFC 768, RFC 8200 section 8.1), for `sum` above.
uint32_t PseudoSum(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                   size_t length);

struct Ethernet {
  MacAddress destination, source;
  uint16_t type = 0;
  Bytes payload;
};
std::optional<Ethernet> ParseEthernet(Bytes frame);

// Checked: version, both lengths, header checksum. What an Ethernet frame has behind the
// packet is cut off.
struct Ip4 {
  uint8_t tos = 0, ttl = 0, protocol = 0;
  bool more_fragments = false;
  uint16_t fragment_offset = 0;
  IpAddress source, destination;
  Bytes packet, payload;
  bool IsFragment() const { return more_fragments || fragment_offset != 0; }
};
std::optional<Ip4> ParseIp4(Bytes bytes);

// Checked: version and length.
struct Ip6 {
  uint8_t hop_limit = 0, next_header = 0;
  IpAddress source, destination;
  Bytes packet, payload;
};
std::optional<Ip6> ParseIp6(Bytes bytes);

struct Udp {
  uint16_t source_port = 0, destination_port = 0;
  Bytes payload;
};
// `checksum_pending`: the sender left the checksum to a NIC that never sent it.
std::optional<Udp> ParseUdp(const IpAddress& source, const IpAddress& destination, Bytes segment,
                            bool checksum_pending);

// A whole ICMP or ICMPv6 message is unharmed.
bool Icmp4Good(Bytes message, bool checksum_pending);
bool Icmp6Good(const Ip6& ip, bool checksum_pending);

// Whole frames, with checksums of IP and, of a UDP datagram, of that.
struct Addressing {
  MacAddress source_mac, destination_mac;
  IpAddress source, destination;
};
std::vector<uint8_t> Ip4Frame(const Addressing& to, uint8_t tos, uint8_t protocol, Bytes payload);
std::vector<uint8_t> Ip6Frame(const Addressing& to, uint8_t hop_limit, uint8_t next_header,
                              Bytes payload);
std::vector<uint8_t> UdpFrame(const Addressing& to, uint16_t source_port, uint16_t destination_port,
                              Bytes payload);
// `message` has zeros where its checksum goes.
std::vector<uint8_t> Icmp4Frame(const Addressing& to, uint8_t tos, Writer message);
std::vector<uint8_t> Icmp6Frame(const Addressing& to, uint8_t hop_limit, Writer message);

// fe80:: and the modified EUI-64 of kGatewayMac (RFC 4291 appendix A): the router's own address
// on every link.
IpAddress GatewayLinkLocal();
IpAddress AllNodes();  // ff02::1
IpAddress Ip4Of(uint8_t a, uint8_t b, uint8_t c, uint8_t d);

}  // namespace fairlead::slowpath
