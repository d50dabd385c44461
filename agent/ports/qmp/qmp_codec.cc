// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/qmp/qmp_codec.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

using nlohmann::json;

absl::Status Junk(std::string_view what, std::string_view line) {
  return absl::DataLossError(StrCat("the monitor sent what is no QMP: ", what, ": ", Quoted(line)));
}

absl::Status BadAnswer(std::string_view command, std::string_view wanted) {
  return absl::DataLossError(
      StrCat("the monitor's answer to ", command, " is not as QMP defines it: no ", wanted));
}

// The member, or nullptr when `object` is no object or has none of that name.
const json* Member(const json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

const std::string* StringMember(const json& object, const char* name) {
  const json* member = Member(object, name);
  return member == nullptr ? nullptr : member->get_ptr<const json::string_t*>();
}

// Depth and number of values, without building any.
absl::Status CheckShape(std::string_view line) {
  int depth = 0;
  size_t values = 0;
  bool in_string = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
      continue;
    }
    if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxQmpDepth) return Junk("nested too deeply", line);
      ++values;
    } else if (c == '}' || c == ']') {
      --depth;
    } else if (c == ',') {
      ++values;
    }
    if (values > kMaxQmpValues) return Junk("too many values", line);
  }
  return absl::OkStatus();
}

std::optional<uint64_t> ReplyId(const json& message) {
  const std::string* text = StringMember(message, "id");
  if (text == nullptr) return std::nullopt;
  uint64_t id = 0;
  const auto [end, err] = std::from_chars(text->data(), text->data() + text->size(), id);
  if (err != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return id;
}

std::optional<QmpEvent::Kind> EventKind(std::string_view name) {
  using Kind = QmpEvent::Kind;
  if (name == "DEVICE_DELETED") return Kind::kDeviceDeleted;
  if (name == "DEVICE_UNPLUG_GUEST_ERROR") return Kind::kUnplugGuestError;
  if (name == "RESET") return Kind::kReset;
  if (name == "SHUTDOWN") return Kind::kShutdown;
  if (name == "STOP" || name == "RESUME" || name == "SUSPEND" || name == "WAKEUP") {
    return Kind::kRunState;
  }
  return std::nullopt;
}

absl::StatusOr<QmpMessage> DecodeEvent(const json& message, std::string_view name,
                                       std::string_view line) {
  QmpMessage out;
  const std::optional<QmpEvent::Kind> kind = EventKind(name);
  if (!kind.has_value()) return out;
  out.event.kind = *kind;
  if (*kind == QmpEvent::Kind::kDeviceDeleted || *kind == QmpEvent::Kind::kUnplugGuestError) {
    const json* data = Member(message, "data");
    if (data == nullptr) return Junk("device event without data", line);
    const json* device = Member(*data, "device");
    // Parts of a device (x/virtio-backend) and anonymous ones have events of
    // their own, with a path and no id.
    if (device == nullptr) return out;
    const std::string* id = device->get_ptr<const json::string_t*>();
    if (id == nullptr || id->empty()) return Junk("device event with a bad id", line);
    out.event.device = *id;
  }
  out.kind = QmpMessage::Kind::kEvent;
  return out;
}

}  // namespace

absl::Status QmpLines::Append(std::string_view bytes) {
  if (start_ > 0 && start_ == buffer_.size()) {
    buffer_.clear();
    start_ = scanned_ = 0;
  } else if (start_ > 64 * 1024) {
    buffer_.erase(0, start_);
    scanned_ -= start_;
    start_ = 0;
  }
  buffer_.append(bytes);
  // Only what is new is looked at: a long line comes in many pieces.
  size_t at = 0;
  for (size_t end; (end = bytes.find('\n', at)) != std::string_view::npos; at = end + 1) {
    too_long_ |= open_ + (end - at) > max_line_;
    open_ = 0;
  }
  open_ += bytes.size() - at;
  too_long_ |= open_ > max_line_;
  if (!too_long_) return absl::OkStatus();
  return absl::DataLossError(StrCat("the monitor sent a line of more than ", max_line_, " bytes"));
}

std::optional<std::string> QmpLines::Next() {
  while (true) {
    const size_t end = buffer_.find('\n', std::max(start_, scanned_));
    if (end == std::string::npos) {
      scanned_ = buffer_.size();
      return std::nullopt;
    }
    std::string_view line(buffer_.data() + start_, end - start_);
    if (line.ends_with('\r')) line.remove_suffix(1);
    std::string out(line);
    start_ = scanned_ = end + 1;
    if (!out.empty()) return out;
  }
}

absl::StatusOr<QmpValue> ParseQmpJson(std::string_view line) {
  if (line.size() > kMaxQmpLine) return Junk("too long", line);
  // The parser takes a zero byte for the end of the input and ignores the rest.
  if (line.find('\0') != std::string_view::npos) return Junk("a zero byte", line);
  FAIRLEAD_RETURN_IF_ERROR(CheckShape(line));
  auto value = std::make_shared<json>(
      json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false));
  if (value->is_discarded()) return Junk("not JSON", line);
  return QmpValue(std::move(value));
}

absl::StatusOr<std::string> DecodeQmpGreeting(std::string_view line) {
  FAIRLEAD_ASSIGN_OR_RETURN(const QmpValue greeting, ParseQmpJson(line));
  const json* qmp = Member(*greeting, "QMP");
  if (qmp == nullptr) return Junk("no greeting", line);
  const json* version = Member(*qmp, "version");
  const json* qemu = version == nullptr ? nullptr : Member(*version, "qemu");
  if (qemu == nullptr) return Junk("a greeting without QEMU's version", line);
  std::string out;
  for (const char* part : {"major", "minor", "micro"}) {
    const json* number = Member(*qemu, part);
    if (number == nullptr || !number->is_number_unsigned()) {
      return Junk("a greeting without QEMU's version", line);
    }
    if (!out.empty()) out += '.';
    StrAppend(&out, number->get<uint64_t>());
  }
  return out;
}

absl::StatusOr<QmpMessage> DecodeQmpMessage(std::string_view line) {
  FAIRLEAD_ASSIGN_OR_RETURN(const QmpValue message, ParseQmpJson(line));
  if (!message->is_object()) return Junk("not an object", line);
  const json* result = Member(*message, "return");
  const json* error = Member(*message, "error");
  const json* event = Member(*message, "event");
  if ((result != nullptr) + (error != nullptr) + (event != nullptr) != 1) {
    return Junk("neither a reply nor an event", line);
  }
  if (event != nullptr) {
    const std::string* name = event->get_ptr<const json::string_t*>();
    if (name == nullptr) return Junk("an event without a name", line);
    return DecodeEvent(*message, *name, line);
  }
  QmpMessage out;
  const std::optional<uint64_t> id = ReplyId(*message);
  if (!id.has_value()) return Junk("a reply to nothing that was asked", line);
  out.id = *id;
  if (result != nullptr) {
    out.kind = QmpMessage::Kind::kReturn;
    out.value = QmpValue(message, result);  // keeps the whole message alive
    return out;
  }
  const std::string* error_class = StringMember(*error, "class");
  const std::string* desc = StringMember(*error, "desc");
  if (error_class == nullptr || desc == nullptr) return Junk("an error without words", line);
  out.kind = QmpMessage::Kind::kError;
  out.error_class = *error_class;
  out.error_desc = *desc;
  return out;
}

absl::Status QmpErrorStatus(std::string_view error_class, std::string_view desc,
                            std::string_view asked) {
  absl::StatusCode code = absl::StatusCode::kFailedPrecondition;
  if (error_class == "DeviceNotFound") {
    code = absl::StatusCode::kNotFound;
  } else if (error_class == "CommandNotFound") {
    code = absl::StatusCode::kUnimplemented;
  } else if (desc.starts_with("Duplicate ")) {
    // "Duplicate device ID 'x'" (system/qdev-monitor.c); QEMU has no class for it.
    code = absl::StatusCode::kAlreadyExists;
  }
  return PeerError(code, asked, desc.empty() ? error_class : desc);
}

absl::StatusOr<Uuid> DecodeQueryUuid(const QmpValue& value) {
  const std::string* text = value == nullptr ? nullptr : StringMember(*value, "UUID");
  if (text == nullptr) return BadAnswer("query-uuid", "UUID");
  absl::StatusOr<Uuid> uuid = Uuid::Parse(*text);
  if (!uuid.ok()) return BadAnswer("query-uuid", "valid UUID");
  return uuid;
}

absl::StatusOr<std::string> DecodeQueryStatus(const QmpValue& value) {
  const std::string* text = value == nullptr ? nullptr : StringMember(*value, "status");
  if (text == nullptr || text->empty()) return BadAnswer("query-status", "status");
  return *text;
}

absl::StatusOr<std::string> DecodeQomString(const QmpValue& value) {
  const std::string* text = value == nullptr ? nullptr : value->get_ptr<const json::string_t*>();
  if (text == nullptr) return BadAnswer("qom-get", "string");
  return *text;
}

absl::StatusOr<std::vector<QomChild>> DecodeQomChildren(const QmpValue& value) {
  constexpr std::string_view kOpen = "child<";
  if (value == nullptr || !value->is_array()) return BadAnswer("qom-list", "list");
  std::vector<QomChild> children;
  for (const json& property : *value) {
    const std::string* name = StringMember(property, "name");
    const std::string* type = StringMember(property, "type");
    if (name == nullptr || type == nullptr) return BadAnswer("qom-list", "name and type");
    std::string_view inner = *type;
    if (!inner.starts_with(kOpen) || !inner.ends_with('>')) continue;
    inner.remove_prefix(kOpen.size());
    inner.remove_suffix(1);
    // The name becomes part of a path that is asked for next.
    if (name->empty() || inner.empty() || name->find('/') != std::string::npos) {
      return BadAnswer("qom-list", "usable name and type");
    }
    if (children.size() == kMaxQmpDevices) {
      return absl::DataLossError(
          StrCat("the monitor lists more than ", kMaxQmpDevices, " devices"));
    }
    children.push_back({*name, std::string(inner)});
  }
  return children;
}

std::string QmpBusOfPath(std::string_view path) {
  for (const std::string_view root : {kQmpPeripheral, kQmpAnonymous}) {
    if (!path.starts_with(root) || path.size() <= root.size() || path[root.size()] != '/') continue;
    const std::string_view rest = path.substr(root.size() + 1);
    const std::string_view name = rest.substr(0, rest.find('/'));
    return root == kQmpPeripheral ? std::string(name) : StrCat(root, "/", name);
  }
  return std::string(path.substr(path.rfind('/') + 1));  // npos + 1 is 0
}

absl::StatusOr<std::string> EncodeQmpCommand(
    uint64_t id, std::string_view command,
    const std::vector<std::pair<std::string, std::string>>& arguments) {
  json message;
  message["execute"] = command;
  message["id"] = StrCat(id);
  for (const auto& [name, value] : arguments) message["arguments"][name] = value;
  // "replace" is the handler that cannot throw; the check tells whether it had
  // anything to replace, since QEMU must get exactly what was meant.
  std::string line = message.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  const json back = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (back != message) {
    return absl::InvalidArgumentError(
        StrCat("QMP command ", command, ": an argument is not UTF-8"));
  }
  line += '\n';
  return line;
}

absl::Status CheckQmpId(std::string_view what, std::string_view id) {
  const bool printable =
      std::all_of(id.begin(), id.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (!id.empty() && id.size() <= 1024 && printable) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(Quoted(id), " is no ", what, " of a VM"));
}

}  // namespace fairlead
