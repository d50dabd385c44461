// SPDX-License-Identifier: Apache-2.0
#include "dataplane/slowpath/packet.h"

#include <algorithm>
#include <array>

#include "agent/model/intent.h"

namespace fairlead::slowpath {

Bytes Reader::Take(size_t count) {
  if (count > bytes_.size()) {
    ok_ = false;
    bytes_ = {};
    return {};
  }
  const Bytes taken = bytes_.first(count);
  bytes_ = bytes_.subspan(count);
  return taken;
}

uint8_t Reader::U8() {
  const Bytes b = Take(1);
  return b.empty() ? 0 : b[0];
}

uint16_t Reader::U16() {
  const Bytes b = Take(2);
  return b.empty() ? 0 : static_cast<uint16_t>(b[0] << 8 | b[1]);
}

uint32_t Reader::U32() {
  const Bytes b = Take(4);
  if (b.empty()) return 0;
  return static_cast<uint32_t>(b[0]) << 24 | static_cast<uint32_t>(b[1]) << 16 |
         static_cast<uint32_t>(b[2]) << 8 | b[3];
}

IpAddress Reader::Ip4() { return IpAddress::FromBytes(Take(4)).value_or(IpAddress()); }

IpAddress Reader::Ip6() {
  constexpr std::array<uint8_t, 16> kNone{};
  const Bytes b = Take(16);
  return *IpAddress::FromBytes(b.empty() ? Bytes(kNone) : b);
}

MacAddress Reader::Mac() { return MacAddress::FromBytes(Take(6)).value_or(MacAddress()); }

Writer& Writer::U8(uint8_t value) {
  bytes_.push_back(value);
  return *this;
}

Writer& Writer::U16(uint16_t value) {
  return U8(static_cast<uint8_t>(value >> 8)).U8(static_cast<uint8_t>(value));
}

Writer& Writer::U32(uint32_t value) {
  return U16(static_cast<uint16_t>(value >> 16)).U16(static_cast<uint16_t>(value));
}

Writer& Writer::Put(Bytes bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  return *this;
}

Writer& Writer::Zeros(size_t count) {
  bytes_.resize(bytes_.size() + count);
  return *this;
}

void Writer::SetU16(size_t at, uint16_t value) {
  bytes_.at(at) = static_cast<uint8_t>(value >> 8);
  bytes_.at(at + 1) = static_cast<uint8_t>(value);
}

uint16_t Checksum(Bytes bytes, uint32_t sum) {
  uint64_t total = sum;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) total += bytes[i] << 8 | bytes[i + 1];
  if (bytes.size() % 2 != 0) total += bytes.back() << 8;
  while (total > 0xffff) total = (total & 0xffff) + (total >> 16);
  return static_cast<uint16_t>(~total);
}

uint32_t PseudoSum(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                   size_t length) {
  uint32_t sum = protocol;
  for (const Bytes b : {source.bytes(), destination.bytes()}) {
    for (size_t i = 0; i < b.size(); i += 2) sum += b[i] << 8 | b[i + 1];
  }
  return sum + static_cast<uint32_t>(length >> 16) + static_cast<uint32_t>(length & 0xffff);
}

std::optional<Ethernet> ParseEthernet(Bytes frame) {
  Reader in(frame);
  Ethernet out;
  out.destination = in.Mac();
  out.source = in.Mac();
  out.type = in.U16();
  out.payload = in.Take(in.left());
  if (!in.ok()) return std::nullopt;
  return out;
}

std::optional<Ip4> ParseIp4(Bytes bytes) {
  Reader in(bytes);
  Ip4 out;
  const uint8_t first = in.U8();
  const size_t header = (first & 15U) * 4U;
  out.tos = in.U8();
  const size_t total = in.U16();
  in.Skip(2);  // identification
  const uint16_t fragment = in.U16();
  out.more_fragments = (fragment & 0x2000) != 0;
  out.fragment_offset = fragment & 0x1fff;
  out.ttl = in.U8();
  out.protocol = in.U8();
  in.Skip(2);
  out.source = in.Ip4();
  out.destination = in.Ip4();
  if (!in.ok() || first >> 4 != 4 || header < kIp4Header || total < header ||
      total > bytes.size() || Checksum(bytes.first(header)) != 0) {
    return std::nullopt;
  }
  out.packet = bytes.first(total);
  out.payload = out.packet.subspan(header);
  return out;
}

std::optional<Ip6> ParseIp6(Bytes bytes) {
  Reader in(bytes);
  Ip6 out;
  const uint32_t first = in.U32();
  const size_t length = in.U16();
  out.next_header = in.U8();
  out.hop_limit = in.U8();
  out.source = in.Ip6();
  out.destination = in.Ip6();
  out.payload = in.Take(length);
  if (!in.ok() || first >> 28 != 6) return std::nullopt;
  out.packet = bytes.first(kIp6Header + length);
  return out;
}

std::optional<Udp> ParseUdp(const IpAddress& source, const IpAddress& destination, Bytes segment,
                            bool checksum_pending) {
  Reader in(segment);
  Udp out;
  out.source_port = in.U16();
  out.destination_port = in.U16();
  const size_t length = in.U16();
  const uint16_t checksum = in.U16();
  if (!in.ok() || length < 8 || length > segment.size()) return std::nullopt;
  // None is allowed in IPv4 alone (RFC 768, RFC 8200 section 8.1).
  const bool none = checksum == 0 && source.is_v4();
  if (!checksum_pending && !none &&
      Checksum(segment.first(length), PseudoSum(source, destination, kProtocolUdp, length)) != 0) {
    return std::nullopt;
  }
  if (!checksum_pending && checksum == 0 && source.is_v6()) return std::nullopt;
  out.payload = segment.first(length).subspan(8);
  return out;
}

bool Icmp4Good(Bytes message, bool checksum_pending) {
  return message.size() >= 8 && (checksum_pending || Checksum(message) == 0);
}

bool Icmp6Good(const Ip6& ip, bool checksum_pending) {
  if (ip.payload.size() < 4) return false;
  return checksum_pending ||
         Checksum(ip.payload,
                  PseudoSum(ip.source, ip.destination, kProtocolIcmp6, ip.payload.size())) == 0;
}

namespace {

Writer EthernetHeader(const Addressing& to, uint16_t type) {
  Writer out;
  out.Put(to.destination_mac).Put(to.source_mac).U16(type);
  return out;
}

}  // namespace

std::vector<uint8_t> Ip4Frame(const Addressing& to, uint8_t tos, uint8_t protocol, Bytes payload) {
  Writer header;
  // No identification: what is never fragmented needs none (RFC 6864 section 4.1).
  header.U8(0x45).U8(tos).U16(static_cast<uint16_t>(kIp4Header + payload.size())).U16(0);
  header.U16(0x4000).U8(kTtl).U8(protocol).U16(0).Put(to.source).Put(to.destination);
  header.SetU16(10, Checksum(header.bytes()));
  Writer out = EthernetHeader(to, kEtherTypeIp4);
  return out.Put(header.bytes()).Put(payload).Take();
}

std::vector<uint8_t> Ip6Frame(const Addressing& to, uint8_t hop_limit, uint8_t next_header,
                              Bytes payload) {
  Writer out = EthernetHeader(to, kEtherTypeIp6);
  out.U32(6U << 28).U16(static_cast<uint16_t>(payload.size())).U8(next_header).U8(hop_limit);
  return out.Put(to.source).Put(to.destination).Put(payload).Take();
}

std::vector<uint8_t> UdpFrame(const Addressing& to, uint16_t source_port, uint16_t destination_port,
                              Bytes payload) {
  const size_t length = payload.size() + 8;
  Writer segment;
  segment.U16(source_port).U16(destination_port).U16(static_cast<uint16_t>(length)).U16(0);
  segment.Put(payload);
  const uint16_t checksum =
      Checksum(segment.bytes(), PseudoSum(to.source, to.destination, kProtocolUdp, length));
  segment.SetU16(6, checksum == 0 ? 0xffff : checksum);  // RFC 768: 0 says that there is none
  return to.source.is_v4() ? Ip4Frame(to, 0, kProtocolUdp, segment.bytes())
                           : Ip6Frame(to, kTtl, kProtocolUdp, segment.bytes());
}

std::vector<uint8_t> Icmp4Frame(const Addressing& to, uint8_t tos, Writer message) {
  message.SetU16(2, Checksum(message.bytes()));
  return Ip4Frame(to, tos, kProtocolIcmp4, message.bytes());
}

std::vector<uint8_t> Icmp6Frame(const Addressing& to, uint8_t hop_limit, Writer message) {
  message.SetU16(2, Checksum(message.bytes(),
                             PseudoSum(to.source, to.destination, kProtocolIcmp6, message.size())));
  return Ip6Frame(to, hop_limit, kProtocolIcmp6, message.bytes());
}

IpAddress GatewayLinkLocal() {
  const std::array<uint8_t, 6>& mac = kGatewayMac.bytes();
  std::array<uint8_t, 16> out{0xfe, 0x80};
  out[8] = mac[0] ^ 2;  // the universal/local bit is turned
  out[9] = mac[1];
  out[10] = mac[2];
  out[11] = 0xff;
  out[12] = 0xfe;
  std::copy(mac.begin() + 3, mac.end(), out.begin() + 13);
  return *IpAddress::FromBytes(out);
}

IpAddress AllNodes() {
  std::array<uint8_t, 16> out{0xff, 0x02};
  out[15] = 1;
  return *IpAddress::FromBytes(out);
}

IpAddress Ip4Of(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
  const std::array<uint8_t, 4> out{a, b, c, d};
  return *IpAddress::FromBytes(out);
}

}  // namespace fairlead::slowpath
