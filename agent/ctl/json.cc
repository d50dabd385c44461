// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/json.h"

#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace fairlead {
namespace {

using Json = nlohmann::ordered_json;

// Words that some YAML reader takes for something else than text, and anything
// that is not a plain word, is quoted; a JSON string is a YAML string.
std::string Scalar(const Json& value) {
  if (!value.is_string()) return value.dump();
  const std::string& text = value.get_ref<const std::string&>();
  static constexpr const char* kWords[] = {"y",   "n",    "yes",  "no",   "on",
                                           "off", "true", "null", "false"};
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  }) && std::none_of(std::begin(kWords), std::end(kWords), [&](std::string_view word) {
    return std::equal(text.begin(), text.end(), word.begin(), word.end(),
                      [](char a, char b) { return (a | 0x20) == b; });
  });
  return plain ? text : value.dump(-1, ' ', true);
}

void Emit(const Json& value, const std::string& indent, std::string* out) {
  const bool map = value.is_object();
  for (auto it = value.begin(); it != value.end(); ++it) {
    *out += indent;
    *out += map ? Scalar(Json(it.key())) + ":" : "-";
    if (!it->is_structured()) {
      *out += " " + Scalar(*it) + "\n";
    } else if (it->empty()) {
      *out += it->is_object() ? " {}\n" : " []\n";
    } else {
      *out += "\n";
      Emit(*it, indent + "  ", out);
    }
  }
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string compact;
  if (!google::protobuf::util::MessageToJsonString(message, &compact, options).ok()) return "{}\n";
  // Protobuf's own indentation has a stray space; parse and print alike for all.
  Json json = Json::parse(compact, nullptr, false);
  return json.is_discarded() ? compact + "\n" : json.dump(2) + "\n";
}

bool IsUtf8(const std::string& text) {
  try {
    (void)Json(text).dump();  // which takes nothing else
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

std::string JsonToYaml(std::string_view json) {
  Json value = Json::parse(json, nullptr, false);
  if (value.is_discarded()) return Json(std::string(json)).dump() + "\n";
  if (!value.is_structured()) return Scalar(value) + "\n";
  if (value.empty()) return value.is_object() ? "{}\n" : "[]\n";
  std::string out;
  Emit(value, "", &out);
  return out;
}

std::string WithMember(std::string_view json, const std::string& key, std::string_view value) {
  Json whole = Json::parse(json, nullptr, false);
  Json member = Json::parse(value, nullptr, false);
  if (!whole.is_object() || member.is_discarded()) return std::string(json);
  whole[key] = std::move(member);
  return whole.dump(2) + "\n";
}

}  // namespace fairlead
