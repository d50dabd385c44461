// SPDX-License-Identifier: Apache-2.0
#include "agent/base/eswitch.h"

#include <initializer_list>
#include <vector>

#include "agent/base/text.h"

namespace fairlead {
namespace {

template <typename Mode>
absl::StatusOr<Mode> ParseOneOf(std::string_view text, std::initializer_list<Mode> modes) {
  std::vector<std::string> names;
  for (const Mode mode : modes) {
    if (text == Name(mode)) return mode;
    names.emplace_back(Name(mode));
  }
  return absl::InvalidArgumentError(
      StrCat("must be one of ", StrJoin(names, ", "), ", not ", Quoted(text)));
}

template <typename Mode>
void AddDifference(std::string_view what, const std::optional<Mode>& wanted,
                   const std::optional<Mode>& seen, std::vector<std::string>* out) {
  if (!wanted || wanted == seen) return;
  out->push_back(
      StrCat(what, " ", seen ? Name(*seen) : "not reported", ", wanted ", Name(*wanted)));
}

}  // namespace

std::string_view Name(EswitchMode mode) {
  switch (mode) {
    case EswitchMode::kLegacy:
      return "legacy";
    case EswitchMode::kSwitchdev:
      return "switchdev";
    case EswitchMode::kSwitchdevInactive:
      return "switchdev_inactive";
  }
  return "unknown";
}

std::string_view Name(EswitchInlineMode mode) {
  switch (mode) {
    case EswitchInlineMode::kNone:
      return "none";
    case EswitchInlineMode::kLink:
      return "link";
    case EswitchInlineMode::kNetwork:
      return "network";
    case EswitchInlineMode::kTransport:
      return "transport";
  }
  return "unknown";
}

std::string_view Name(EswitchEncapMode mode) {
  return mode == EswitchEncapMode::kNone ? "none" : "basic";
}

absl::StatusOr<EswitchMode> ParseEswitchMode(std::string_view text) {
  return ParseOneOf(text, {EswitchMode::kSwitchdev, EswitchMode::kLegacy});
}

absl::StatusOr<EswitchInlineMode> ParseEswitchInlineMode(std::string_view text) {
  return ParseOneOf(text, {EswitchInlineMode::kNone, EswitchInlineMode::kLink,
                           EswitchInlineMode::kNetwork, EswitchInlineMode::kTransport});
}

absl::StatusOr<EswitchEncapMode> ParseEswitchEncapMode(std::string_view text) {
  return ParseOneOf(text, {EswitchEncapMode::kBasic, EswitchEncapMode::kNone});
}

std::string EswitchSettings::ToString() const {
  std::vector<std::string> parts;
  if (mode) parts.push_back(StrCat("mode ", Name(*mode)));
  if (inline_mode) parts.push_back(StrCat("inline ", Name(*inline_mode)));
  if (encap_mode) parts.push_back(StrCat("encap ", Name(*encap_mode)));
  return parts.empty() ? "nothing" : StrJoin(parts, ", ");
}

std::string EswitchDifference(const EswitchSettings& wanted, const EswitchSettings& seen) {
  std::vector<std::string> out;
  AddDifference("mode", wanted.mode, seen.mode, &out);
  AddDifference("inline", wanted.inline_mode, seen.inline_mode, &out);
  AddDifference("encap", wanted.encap_mode, seen.encap_mode, &out);
  return StrJoin(out, "; ");
}

}  // namespace fairlead
