// SPDX-License-Identifier: Apache-2.0
//
// Purpose: netlink attributes read from bytes that may be anything. Every read
// is bounded by the payload that it was given; the first thing wrong is kept in
// a DecodeError that a whole message shares, so that a decoder reads what it
// needs and asks once at its end.
//
// Threading: plain values. Ownership: views; the bytes must outlive them.
// Errors: DecodeError::ToStatus is kDataLoss.
#pragma once

#include <linux/netlink.h>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/status/status.h"
#include "agent/base/types.h"

namespace fairlead::netlink {

using Bytes = std::span<const uint8_t>;

// The first thing that is wrong with a message, "" while nothing is.
class DecodeError {
 public:
  void Set(std::string_view what) {
    if (what_.empty()) what_ = what;
  }
  void SetAttribute(uint16_t type, size_t length, std::string_view wanted);
  void SetLength(uint16_t type, size_t length, size_t left);
  bool ok() const { return what_.empty(); }
  // `message` names the message in words, "a link".
  absl::Status ToStatus(std::string_view message) const;

 private:
  std::string what_;
};

// A fixed structure at the head of `bytes`, copied: netlink promises no more
// than 4-byte alignment. Nothing when it is cut short.
template <typename T>
requires std::is_trivially_copyable_v<T> std::optional<T> ReadStruct(Bytes bytes) {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

// What follows a structure of `size` bytes (padded to 4), empty when nothing does.
Bytes AfterHeader(Bytes bytes, size_t size);

// Calls visit(type, payload) for each attribute of `bytes`, in order. A length that is too
// small or points past the end is an error, and ends it.
template <typename Visit>
void ForEachAttribute(Bytes bytes, DecodeError* error, Visit visit) {
  while (bytes.size() >= NLA_HDRLEN) {
    const auto header = *ReadStruct<nlattr>(bytes);
    const uint16_t type = header.nla_type & NLA_TYPE_MASK;
    if (header.nla_len < NLA_HDRLEN || header.nla_len > bytes.size()) {
      return error->SetLength(type, header.nla_len, bytes.size());
    }
    visit(type, bytes.subspan(NLA_HDRLEN, header.nla_len - NLA_HDRLEN));
    // The last attribute may come without its padding.
    bytes = bytes.subspan(std::min<size_t>(NLA_ALIGN(header.nla_len), bytes.size()));
  }
}

// The integer that is the whole of an attribute's payload; another size is an error.
template <std::unsigned_integral T>
std::optional<T> ReadNumber(uint16_t type, Bytes payload, DecodeError* error) {
  if (payload.size() == sizeof(T)) return ReadStruct<T>(payload);
  error->SetAttribute(type, payload.size(), "an integer of another size");
  return std::nullopt;
}

// Up to the first NUL; longer than `max` is an error.
std::optional<std::string> ReadString(uint16_t type, Bytes payload, size_t max, DecodeError* error);

class AttributeSet {
 public:
  AttributeSet() = default;  // empty
  // Walks `bytes` once: a length that is too small or points past the end is an
  // error, and the attributes before it stay readable.
  AttributeSet(Bytes bytes, DecodeError* error);

  // Of an attribute that is there twice the last one counts, as in the kernel.
  std::optional<Bytes> Raw(uint16_t type) const;
  bool Has(uint16_t type) const { return Raw(type).has_value(); }
  std::optional<uint8_t> U8(uint16_t type) const { return Number<uint8_t>(type); }
  std::optional<uint16_t> U16(uint16_t type) const { return Number<uint16_t>(type); }
  std::optional<uint32_t> U32(uint16_t type) const { return Number<uint32_t>(type); }
  std::optional<uint64_t> U64(uint16_t type) const { return Number<uint64_t>(type); }
  std::optional<uint16_t> Be16(uint16_t type) const;
  std::optional<uint32_t> Be32(uint16_t type) const;
  // Up to the first NUL; longer than `max` is an error.
  std::optional<std::string> String(uint16_t type, size_t max) const;
  // 4 or 16 octets; another length is an error.
  std::optional<IpAddress> Ip(uint16_t type) const;
  // Absent too when the link layer has addresses of another length (InfiniBand,
  // tunnels over IP).
  std::optional<MacAddress> Mac(uint16_t type) const;
  template <typename T>
  std::optional<T> Struct(uint16_t type) const {
    auto raw = Raw(type);
    if (!raw) return std::nullopt;
    auto value = ReadStruct<T>(*raw);
    if (!value) error_->SetAttribute(type, raw->size(), "a longer structure");
    return value;
  }
  // Empty when absent.
  AttributeSet Nested(uint16_t type) const;

  // Calls visit(type, payload) in order.
  template <typename Visit>
  void ForEach(Visit visit) const {
    ForEachAttribute(bytes_, error_, visit);
  }

 private:
  template <std::unsigned_integral T>
  std::optional<T> Number(uint16_t type) const {
    auto raw = Raw(type);
    return raw ? ReadNumber<T>(type, *raw, error_) : std::nullopt;
  }

  Bytes bytes_;  // only whole attributes
  DecodeError* error_ = nullptr;
};

// Text from the kernel, made fit for a message to people: cut at the first NUL
// and at `max`, anything unprintable replaced.
std::string CleanText(Bytes bytes, size_t max);

}  // namespace fairlead::netlink
