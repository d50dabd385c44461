// SPDX-License-Identifier: Apache-2.0
#include "agent/base/types.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// `text` must be hexadecimal digits only, at most eight of them.
std::optional<uint32_t> Hex(std::string_view text) {
  if (text.empty() || text.size() > 8) return std::nullopt;
  uint32_t value = 0;
  for (char c : text) {
    int digit = HexDigit(c);
    if (digit < 0) return std::nullopt;
    value = value << 4 | static_cast<uint32_t>(digit);
  }
  return value;
}

// Decimal digits only, at most three of them.
std::optional<int> SmallDecimal(std::string_view text) {
  if (text.empty() || text.size() > 3) return std::nullopt;
  int value = 0;
  for (char c : text) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

// `address` with all bits after the first `length` set to `one` or zero.
IpAddress WithHostBits(const IpAddress& address, int length, bool one) {
  std::array<uint8_t, 16> bytes{};
  auto from = address.bytes();
  std::copy(from.begin(), from.end(), bytes.begin());
  for (size_t i = 0; i < from.size(); ++i) {
    int kept = std::clamp(length - static_cast<int>(i) * 8, 0, 8);
    auto host = static_cast<uint8_t>(0xffU >> kept);
    bytes[i] = static_cast<uint8_t>(one ? (bytes[i] | host) : (bytes[i] & ~host));
  }
  return *IpAddress::FromBytes({bytes.data(), from.size()});
}

}  // namespace

absl::StatusOr<MacAddress> MacAddress::Parse(std::string_view text) {
  auto bad = [&] {
    return absl::InvalidArgumentError(
        StrCat(Quoted(text), " is not a MAC address: write six octets like 52:54:00:00:01:0a"));
  };
  if (text.size() != 17) return bad();
  std::array<uint8_t, 6> bytes{};
  for (size_t i = 0; i < 6; ++i) {
    if (i > 0 && text[i * 3 - 1] != ':') return bad();
    auto octet = Hex(text.substr(i * 3, 2));
    if (!octet) return bad();
    bytes[i] = static_cast<uint8_t>(*octet);
  }
  return MacAddress(bytes);
}

std::optional<MacAddress> MacAddress::FromBytes(std::span<const uint8_t> bytes) {
  if (bytes.size() != 6) return std::nullopt;
  std::array<uint8_t, 6> out{};
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return MacAddress(out);
}

std::string MacAddress::ToString() const {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text(17, ':');
  for (size_t i = 0; i < bytes_.size(); ++i) {
    text[3 * i] = kDigits[bytes_[i] >> 4];
    text[3 * i + 1] = kDigits[bytes_[i] & 15];
  }
  return text;
}

absl::StatusOr<IpAddress> IpAddress::Parse(std::string_view text) {
  // A zone index, a port or an embedded NUL must not slip through inet_pton.
  const std::string copy(text.substr(0, INET6_ADDRSTRLEN));
  const bool plausible =
      text.size() < INET6_ADDRSTRLEN && text.find('\0') == std::string_view::npos;
  std::array<uint8_t, 16> bytes{};
  if (plausible && inet_pton(AF_INET, copy.c_str(), bytes.data()) == 1) {
    return *FromBytes({bytes.data(), 4});
  }
  if (plausible && inet_pton(AF_INET6, copy.c_str(), bytes.data()) == 1) {
    return *FromBytes({bytes.data(), 16});
  }
  return absl::InvalidArgumentError(StrCat(Quoted(text), " is not an IPv4 or IPv6 address"));
}

std::optional<IpAddress> IpAddress::FromBytes(std::span<const uint8_t> bytes) {
  if (bytes.size() != 4 && bytes.size() != 16) return std::nullopt;
  IpAddress out;
  out.v4_ = bytes.size() == 4;
  std::copy(bytes.begin(), bytes.end(), out.bytes_.begin());
  return out;
}

bool IpAddress::IsUnspecified() const {
  return std::all_of(bytes_.begin(), bytes_.end(), [](uint8_t b) { return b == 0; });
}

bool IpAddress::IsMulticast() const {
  // RFC 5771 section 3 (224.0.0.0/4); RFC 4291 section 2.7 (ff00::/8).
  return v4_ ? (bytes_[0] & 0xf0) == 0xe0 : bytes_[0] == 0xff;
}

bool IpAddress::IsLoopback() const {
  // RFC 1122 section 3.2.1.3 (127.0.0.0/8); RFC 4291 section 2.5.3 (::1).
  if (v4_) return bytes_[0] == 127;
  return bytes_[15] == 1 &&
         std::all_of(bytes_.begin(), bytes_.begin() + 15, [](uint8_t b) { return b == 0; });
}

std::string IpAddress::ToString() const {
  if (v4_) return StrCat(bytes_[0], ".", bytes_[1], ".", bytes_[2], ".", bytes_[3]);
  char buffer[INET6_ADDRSTRLEN] = {};
  // Cannot fail: the family is known and the buffer is the largest there is.
  inet_ntop(AF_INET6, bytes_.data(), buffer, sizeof(buffer));
  return buffer;
}

IpAddress LinkLocalOf(const MacAddress& mac) {
  const std::array<uint8_t, 6>& m = mac.bytes();
  const uint8_t address[16] = {
      0xfe, 0x80, 0,    0,    0,    0,    0,   0, static_cast<uint8_t>(m[0] ^ 2),
      m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
  return *IpAddress::FromBytes(address);
}

bool IsLinkLocal6(const IpAddress& address) {
  return address.is_v6() && address.bytes()[0] == 0xfe && (address.bytes()[1] & 0xc0) == 0x80;
}

IpAddress SolicitedNodeOf(const IpAddress& target) {
  const auto t = target.bytes();
  const uint8_t address[16] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, t[13], t[14], t[15]};
  return *IpAddress::FromBytes(address);
}

MacAddress MulticastMac6(const IpAddress& group) {
  const auto g = group.bytes();
  return MacAddress({0x33, 0x33, g[12], g[13], g[14], g[15]});
}

absl::StatusOr<IpPrefix> IpPrefix::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    return absl::InvalidArgumentError(
        StrCat(Quoted(text), " has no prefix length: write a network like 10.1.0.0/24"));
  }
  auto address = IpAddress::Parse(text.substr(0, slash));
  if (!address.ok()) {
    return absl::InvalidArgumentError(
        StrCat(Quoted(text), " is not a network: ", address.status().message()));
  }
  auto length = SmallDecimal(text.substr(slash + 1));
  if (!length || *length > address->bits()) {
    return absl::InvalidArgumentError(StrCat(
        Quoted(text), " is not a network: the prefix length must be 0 to ", address->bits()));
  }
  IpPrefix out;
  out.address_ = WithHostBits(*address, *length, false);
  out.length_ = *length;
  if (out.address_ != *address) {
    return absl::InvalidArgumentError(
        StrCat(Quoted(text), " has host bits set: the network is ", out.ToString()));
  }
  return out;
}

IpPrefix IpPrefix::Host(const IpAddress& address) {
  IpPrefix out;
  out.address_ = address;
  out.length_ = address.bits();
  return out;
}

bool IpPrefix::Contains(const IpAddress& address) const {
  return address.is_v4() == address_.is_v4() && WithHostBits(address, length_, false) == address_;
}

bool IpPrefix::Overlaps(const IpPrefix& other) const {
  return length_ <= other.length_ ? Contains(other.address_) : other.Contains(address_);
}

IpAddress IpPrefix::Last() const { return WithHostBits(address_, length_, true); }

std::string IpPrefix::ToString() const { return StrCat(address_.ToString(), "/", length_); }

absl::StatusOr<PciAddress> PciAddress::Parse(std::string_view text) {
  auto bad = [&] {
    return absl::InvalidArgumentError(StrCat(
        Quoted(text), " is not a PCI address: write domain:bus:device.function like 0000:01:00.1"));
  };
  if (text.size() != 12 || text[4] != ':' || text[7] != ':' || text[10] != '.') return bad();
  auto domain = Hex(text.substr(0, 4));
  auto bus = Hex(text.substr(5, 2));
  auto device = Hex(text.substr(8, 2));
  auto function = Hex(text.substr(11, 1));
  if (!domain || !bus || !device || !function || *device > 31 || *function > 7) return bad();
  return PciAddress{static_cast<uint16_t>(*domain), static_cast<uint8_t>(*bus),
                    static_cast<uint8_t>(*device), static_cast<uint8_t>(*function)};
}

std::string PciAddress::ToString() const {
  return absl::StrFormat("%04x:%02x:%02x.%d", domain, bus, device, function);
}

absl::StatusOr<Vni> Vni::Make(uint64_t value) {
  if (value < kMin || value > kMax) {
    return absl::InvalidArgumentError(
        StrCat("VNI ", value, " is out of range: ", kMin, " to ", kMax));
  }
  Vni out;
  out.value_ = static_cast<uint32_t>(value);
  return out;
}

absl::StatusOr<VlanId> VlanId::Make(uint64_t value) {
  if (value < kMin || value > kMax) {
    return absl::InvalidArgumentError(
        StrCat("VLAN ", value, " is out of range: ", kMin, " to ", kMax));
  }
  VlanId out;
  out.value_ = static_cast<uint16_t>(value);
  return out;
}

absl::StatusOr<Uuid> Uuid::Parse(std::string_view text) {
  bool good = text.size() == 36;
  for (size_t i = 0; good && i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    good = dash ? text[i] == '-' : HexDigit(text[i]) >= 0;
  }
  if (!good) {
    return absl::InvalidArgumentError(
        StrCat(Quoted(text), " is not a UUID: write it like 123e4567-e89b-42d3-a456-426614174000"));
  }
  Uuid out;
  out.text_ = absl::AsciiStrToLower(AbslView(text));
  return out;
}

absl::StatusOr<NicId> NicId::Parse(std::string_view text) {
  if (text.find('.') == std::string_view::npos) {
    FAIRLEAD_ASSIGN_OR_RETURN(const MacAddress mac, MacAddress::Parse(text));
    return NicId(mac);
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const PciAddress port, PciAddress::Parse(text));
  return NicId(port);
}

std::string NicId::ToString() const {
  return std::visit([](const auto& id) { return id.ToString(); }, id_);
}

std::string VfId::ToString() const { return StrCat(pf.ToString(), "/", index); }

absl::StatusOr<VfId> VfId::Parse(std::string_view text) {
  const size_t slash = text.rfind('/');
  const std::string_view digits = slash == std::string_view::npos ? "" : text.substr(slash + 1);
  VfId out;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), out.index);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
    return absl::InvalidArgumentError(
        StrCat(Quoted(text), " is not a VF: write PF/INDEX, like 52:54:00:00:00:01/3"));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(out.pf, NicId::Parse(text.substr(0, slash)));
  return out;
}

absl::Status CheckObjectId(std::string_view id) {
  if (id.empty()) return absl::InvalidArgumentError("the id is empty");
  if (id.size() > kMaxObjectIdLength) {
    return absl::InvalidArgumentError(
        StrCat("the id ", Quoted(id), " is too long: at most ", kMaxObjectIdLength, " characters"));
  }
  auto alnum = [](char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)); };
  if (!alnum(id[0])) {
    return absl::InvalidArgumentError(
        StrCat("the id ", Quoted(id), " must begin with a letter or a digit"));
  }
  for (char c : id) {
    if (!alnum(c) && c != '.' && c != '_' && c != '-') {
      return absl::InvalidArgumentError(
          StrCat("the id ", Quoted(id), " may hold only letters, digits, '.', '_' and '-'"));
    }
  }
  return absl::OkStatus();
}

uint64_t StableHash(std::string_view bytes) {
  // FNV-1a, 64 bit: offset basis and prime from draft-eastlake-fnv, section 5.
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (char c : bytes) {
    hash ^= static_cast<uint8_t>(c);
    hash *= 0x00000100000001b3ULL;
  }
  return hash;
}

}  // namespace fairlead
