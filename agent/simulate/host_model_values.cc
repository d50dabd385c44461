// SPDX-License-Identifier: Apache-2.0
#include "agent/simulate/host_model_values.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <vector>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead::host_model_values {
namespace {

constexpr size_t kMostNameBytes = 40;   // it is a folder, and a part of a socket's path
constexpr size_t kMostDeviceName = 15;  // IFNAMSIZ without the final zero

absl::Status Bad(std::string text) { return absl::InvalidArgumentError(std::move(text)); }

// Of ASCII, and U+0080 to U+009F, which a terminal takes for such too.
bool HasControl(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7f) return true;
    if (byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      return true;
    }
  }
  return false;
}

// Of one host, that others can send to.
bool IsStation(const IpAddress& address) {
  const auto bytes = address.bytes();
  const bool broadcast = address.is_v4() && std::all_of(bytes.begin(), bytes.end(),
                                                        [](uint8_t b) { return b == 255; });
  return !address.IsUnspecified() && !address.IsMulticast() && !address.IsLoopback() && !broadcast;
}

}  // namespace

absl::StatusOr<std::string> ParseId(const std::string& text) {
  FAIRLEAD_RETURN_IF_ERROR(Annotate(CheckObjectId(text), "is no id"));
  return text;
}

absl::StatusOr<std::string> ParseName(const std::string& text) {
  FAIRLEAD_RETURN_IF_ERROR(ParseId(text).status());
  if (text.size() > kMostNameBytes) {
    return Bad(StrCat("must have ", kMostNameBytes, " bytes at most"));
  }
  return text;
}

bool IsDeviceName(const std::string& text) {
  return !text.empty() && text.size() <= kMostDeviceName && text != "." && text != ".." &&
         text.find_first_of("/: ") == std::string::npos && !HasControl(text);
}

absl::StatusOr<std::string> ParseDeviceName(const std::string& text) {
  if (IsDeviceName(text)) return text;
  return Bad(
      StrCat("must be the name of a netdev (1 to 15 characters without '/', ':', spaces and "
             "control characters), not ",
             Quoted(text)));
}

absl::StatusOr<std::string> ParsePattern(const std::string& text) {
  if (text == "none") return std::string();
  const size_t at = text.find("{vf}");
  if (at != std::string::npos && text.find_first_of("{}", at + 4) == std::string::npos &&
      text.find_first_of("{}") == at) {
    return text;
  }
  return Bad(
      StrCat("must be the name of a netdev with {vf} in it once and no other brace, or none, "
             "not ",
             Quoted(text)));
}

absl::StatusOr<std::string> ParseWord(const std::string& text) {
  if (!text.empty() && text.size() <= kMaxObjectIdLength && !HasControl(text)) return text;
  return Bad(StrCat("must have 1 to 63 characters and no control characters, not ", Quoted(text)));
}

absl::StatusOr<std::string> ParseDriver(const std::string& text) {
  FAIRLEAD_ASSIGN_OR_RETURN(std::string word, ParseWord(text));
  if (word != "." && word != ".." && word.find('/') == std::string::npos) return word;
  return Bad(StrCat("must be the name of a driver, not ", Quoted(text)));
}

absl::StatusOr<MacAddress> ParseStationMac(const std::string& text) {
  FAIRLEAD_ASSIGN_OR_RETURN(const MacAddress mac, MacAddress::Parse(text));
  if (mac.IsUnicast()) return mac;
  return Bad(StrCat(Quoted(text), " is not the MAC of a single NIC"));
}

absl::StatusOr<NetworkKind> ParseNetwork(const std::string& text) {
  if (text == "compute") return NetworkKind::kCompute;
  if (text == "converged") return NetworkKind::kConverged;
  return Bad(StrCat("must be compute or converged, not ", Quoted(text)));
}

absl::StatusOr<std::optional<EswitchMode>> ParseEswitch(const std::string& text) {
  if (text == "none") return std::optional<EswitchMode>();
  for (const EswitchMode mode : {EswitchMode::kLegacy, EswitchMode::kSwitchdev}) {
    if (text == Name(mode)) return std::optional(mode);
  }
  return Bad(StrCat("must be none, legacy or switchdev, not ", Quoted(text)));
}

absl::StatusOr<std::pair<uint16_t, uint16_t>> ParsePciId(const std::string& text) {
  const auto hex = [&](size_t at, uint16_t* out) {
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + at + 4, *out, 16);
    return error == std::errc() && end == text.data() + at + 4;
  };
  std::pair<uint16_t, uint16_t> id;
  if (text.size() == 9 && text[4] == ':' && hex(0, &id.first) && hex(5, &id.second)) return id;
  return Bad(StrCat("must be vendor and device as in '15b3:1021', not ", Quoted(text)));
}

bool IsStationThere(const InterfaceAddress& at) {
  if (!IsStation(at.address) || !at.network.Contains(at.address)) return false;
  return at.address.is_v6() || at.network.length() >= 31 ||
         (at.address != at.network.address() && at.address != at.network.Last());
}

absl::StatusOr<IpAddress> ParseStation(const std::string& text) {
  FAIRLEAD_ASSIGN_OR_RETURN(const IpAddress address, IpAddress::Parse(text));
  if (IsStation(address)) return address;
  return Bad(StrCat(Quoted(text), " is not the address of one host"));
}

absl::StatusOr<InterfaceAddress> ParseInterfaceAddress(const std::string& text) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos) {
    return Bad(StrCat("must be an address and the length of its network, as in 192.0.2.1/24, not ",
                      Quoted(text)));
  }
  InterfaceAddress result;
  FAIRLEAD_ASSIGN_OR_RETURN(result.address, ParseStation(text.substr(0, slash)));
  uint32_t length = 0;
  const auto [end, error] =
      std::from_chars(text.data() + slash + 1, text.data() + text.size(), length);
  if (error != std::errc() || end != text.data() + text.size() ||
      length > static_cast<uint32_t>(result.address.bits())) {
    return Bad(StrCat("has no good length of a network: ", Quoted(text)));
  }
  std::vector<uint8_t> bytes(result.address.bytes().begin(), result.address.bytes().end());
  for (size_t bit = length; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] &= static_cast<uint8_t>(~(0x80U >> (bit % 8)));
  }
  const std::string network = StrCat(IpAddress::FromBytes(bytes)->ToString(), "/", length);
  FAIRLEAD_ASSIGN_OR_RETURN(result.network, IpPrefix::Parse(network));
  if (!IsStationThere(result)) {
    return Bad(StrCat(Quoted(text), " is not the address of one host in ", network));
  }
  return result;
}

absl::StatusOr<std::chrono::microseconds> ParseDuration(const std::string& text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  const uint64_t scale = unit == "us" ? 1 : unit == "ms" ? 1'000 : unit == "s" ? 1'000'000 : 0;
  if (error != std::errc() || scale == 0 || number > 600'000'000 / scale) {
    return Bad(StrCat("must be a whole number of us, ms or s, 600s at most, not ", Quoted(text)));
  }
  return std::chrono::microseconds(number * scale);
}

}  // namespace fairlead::host_model_values
