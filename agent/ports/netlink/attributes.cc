// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/netlink/attributes.h"

#include <arpa/inet.h>

#include <algorithm>

#include "agent/base/text.h"

namespace fairlead::netlink {
namespace {

constexpr size_t Align(size_t length) { return NLMSG_ALIGN(length); }

}  // namespace

void DecodeError::SetAttribute(uint16_t type, size_t length, std::string_view wanted) {
  if (ok()) Set(StrCat("attribute ", type, " has ", length, " bytes, expected ", wanted));
}

void DecodeError::SetLength(uint16_t type, size_t length, size_t left) {
  if (!ok()) return;
  Set(StrCat("attribute ", type, " says that it has ", length, " bytes where ", left, " are left"));
}

absl::Status DecodeError::ToStatus(std::string_view message) const {
  if (ok()) return absl::OkStatus();
  return absl::DataLossError(
      StrCat("the kernel's message about ", message, " is malformed: ", what_));
}

Bytes AfterHeader(Bytes bytes, size_t size) {
  const size_t aligned = Align(size);
  return bytes.size() <= aligned ? Bytes() : bytes.subspan(aligned);
}

std::optional<std::string> ReadString(uint16_t type, Bytes payload, size_t max,
                                      DecodeError* error) {
  const auto end = std::find(payload.begin(), payload.end(), 0);
  if (static_cast<size_t>(end - payload.begin()) > max) {
    error->SetAttribute(type, payload.size(), StrCat("a text of at most ", max));
    return std::nullopt;
  }
  return std::string(payload.begin(), end);
}

AttributeSet::AttributeSet(Bytes bytes, DecodeError* error) : error_(error) {
  size_t used = 0;
  ForEachAttribute(bytes, error, [&](uint16_t, Bytes payload) {
    const auto end = static_cast<size_t>(payload.data() + payload.size() - bytes.data());
    used = std::min(Align(end), bytes.size());
  });
  bytes_ = bytes.first(used);
}

std::optional<Bytes> AttributeSet::Raw(uint16_t wanted) const {
  std::optional<Bytes> found;
  ForEach([&](uint16_t type, Bytes payload) {
    if (type == wanted) found = payload;
  });
  return found;
}

std::optional<uint16_t> AttributeSet::Be16(uint16_t type) const {
  auto value = U16(type);
  if (value) value = ntohs(*value);
  return value;
}

std::optional<uint32_t> AttributeSet::Be32(uint16_t type) const {
  auto value = U32(type);
  if (value) value = ntohl(*value);
  return value;
}

std::optional<std::string> AttributeSet::String(uint16_t type, size_t max) const {
  auto raw = Raw(type);
  return raw ? ReadString(type, *raw, max, error_) : std::nullopt;
}

std::optional<IpAddress> AttributeSet::Ip(uint16_t type) const {
  auto raw = Raw(type);
  if (!raw) return std::nullopt;
  auto address = IpAddress::FromBytes(*raw);
  if (!address) error_->SetAttribute(type, raw->size(), "an IP address");
  return address;
}

std::optional<MacAddress> AttributeSet::Mac(uint16_t type) const {
  auto raw = Raw(type);
  return raw ? MacAddress::FromBytes(*raw) : std::nullopt;
}

AttributeSet AttributeSet::Nested(uint16_t type) const {
  auto raw = Raw(type);
  return raw ? AttributeSet(*raw, error_) : AttributeSet();
}

std::string CleanText(Bytes bytes, size_t max) {
  std::string text;
  for (uint8_t byte : bytes.first(std::min(bytes.size(), max))) {
    if (byte == 0) break;
    text.push_back(byte >= 0x20 && byte < 0x7f ? static_cast<char>(byte) : '?');
  }
  return text;
}

}  // namespace fairlead::netlink
