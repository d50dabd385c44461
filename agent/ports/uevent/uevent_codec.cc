// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/uevent/uevent_codec.h"

#include <algorithm>
#include <string_view>

#include "agent/base/text.h"

namespace fairlead {
namespace {

absl::Status Bad(std::string_view what) {
  return absl::DataLossError(StrCat("a uevent of the kernel ", what));
}

// kobject_actions, lib/kobject_uevent.c: lower case words.
bool IsWord(std::string_view text) {
  return !text.empty() && text.size() <= 16 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

bool IsPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

absl::StatusOr<Uevent> ParseUevent(std::span<const uint8_t> datagram) {
  if (datagram.size() > kMaxUeventBytes) return Bad("is longer than any is");
  std::string_view rest(reinterpret_cast<const char*>(datagram.data()), datagram.size());
  if (rest.empty() || rest.back() != '\0') return Bad("is cut off");
  const auto next = [&rest] {
    const size_t end = rest.find('\0');  // there is one: the last byte
    const std::string_view text = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    return text;
  };
  const std::string_view header = next();
  const size_t at = header.find('@');
  if (at == std::string_view::npos) return Bad("does not begin with ACTION@DEVPATH");
  Uevent event;
  event.action = std::string(header.substr(0, at));
  event.devpath = std::string(header.substr(at + 1));
  if (!IsWord(event.action)) return Bad("has no action");
  if (event.devpath.empty() || event.devpath[0] != '/' || !IsPrintable(event.devpath)) {
    return Bad("has no path of a device");
  }
  bool action_seen = false, path_seen = false;
  while (!rest.empty()) {
    const std::string_view pair = next();
    const size_t equals = pair.find('=');
    if (equals == 0 || equals == std::string_view::npos) return Bad("has a line without KEY=");
    const std::string_view key = pair.substr(0, equals), value = pair.substr(equals + 1);
    // What the header says stands in the environment too, and must be the same.
    if (key == "ACTION") {
      if (value != event.action) return Bad("names two actions");
      action_seen = true;
    } else if (key == "DEVPATH") {
      if (value != event.devpath) return Bad("names two devices");
      path_seen = true;
    } else if (key == "SUBSYSTEM") {
      if (!IsPrintable(value)) return Bad("has a subsystem that is no name");
      event.subsystem = std::string(value);
    }
  }
  if (!action_seen || !path_seen) return Bad("lacks ACTION or DEVPATH");
  return event;
}

}  // namespace fairlead
