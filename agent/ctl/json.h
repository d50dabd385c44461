// SPDX-License-Identifier: Apache-2.0
//
// Purpose: messages as JSON and YAML for scripts: protobuf's own JSON mapping,
// with the field names of the .proto files and every field present (64-bit
// numbers are text there). The YAML has the same structure.
// Threading: pure functions.
#pragma once

#include <string>
#include <string_view>

namespace google::protobuf {
class Message;
}

namespace fairlead {

std::string ToJson(const google::protobuf::Message& message);  // ends with a newline
bool IsUtf8(const std::string& text);
// Of a JSON text made by ToJson; any other text comes back as one string.
std::string JsonToYaml(std::string_view json);
// `json` is an object; adds (or replaces) `key` with the JSON text `value`.
std::string WithMember(std::string_view json, const std::string& key, std::string_view value);

}  // namespace fairlead
