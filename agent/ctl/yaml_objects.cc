// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/yaml_objects.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "agent/base/text.h"
#include "fairlead/v1/intent.pb.h"

namespace fairlead {
namespace {

bool ParseDirection(std::string_view text, int* out);
bool ParseFamily(std::string_view text, int* out);

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// As many as one message may hold (agent.proto).
constexpr int kMaxObjects = 1024;
// How the path of an object begins.
constexpr std::string_view kUpsert = "apply.upsert[";

class ObjectReader {
 public:
  ObjectReader(v1::Apply* apply, ObjectPlaces* places, std::vector<YamlProblem>* problems)
      : apply_(*apply), places_(*places), problems_(*problems) {}

  void Read(const YamlNode& document) {
    if (document.kind != YamlNode::Kind::kMap) {
      return Problem(document, "an object is written as a map: kind: Port, id: ...");
    }
    std::map<std::string, const YamlNode*> keys;  // with values
    const YamlNode* kind = nullptr;
    for (size_t i = 0; i + 1 < document.items.size(); i += 2) {
      const YamlNode& key = document.items[i];
      if (key.kind != YamlNode::Kind::kScalar) {
        Problem(key, "a key must be a word");
        continue;
      }
      auto [it, inserted] = keys.try_emplace(key.scalar, &key);
      if (!inserted) {
        Twice(key, *it->second);
      } else if (key.scalar == "kind") {
        kind = &document.items[i + 1];
      }
    }
    if (kind == nullptr) return Problem(document, StrCat("no kind; one of ", kKinds));
    v1::Object object;
    Message* message =
        kind->kind == YamlNode::Kind::kScalar ? Make(kind->scalar, &object) : nullptr;
    if (message == nullptr) {
      return Problem(*kind,
                     StrCat("kind ", Quoted(kind->scalar), " is not known; one of ", kKinds));
    }
    const std::string path = StrCat(kUpsert, apply_.upsert_size(), "]");
    const std::string base = StrCat(path, ".", absl::AsciiStrToLower(kind->scalar));
    places_.Add(path, document);
    places_.Add(base, document);
    for (size_t i = 0; i + 1 < document.items.size(); i += 2) {
      const YamlNode& key = document.items[i];
      if (key.kind != YamlNode::Kind::kScalar || keys[key.scalar] != &key || key.scalar == "kind") {
        continue;
      }
      const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(key.scalar);
      if (field == nullptr) {
        NoField(key, *message);
      } else {
        Set(message, field, StrCat(base, ".", key.scalar), document.items[i + 1]);
      }
    }
    if (!keys.contains("id")) Problem(document, StrCat("this ", kind->scalar, " has no id"));
    if (apply_.upsert_size() == kMaxObjects) {
      if (!too_many_) {
        Problem(document, StrCat("more than ", kMaxObjects,
                                 " objects; one message holds no more, and a file is applied as a "
                                 "whole or not at all: use several files"));
      }
      too_many_ = true;
      return;
    }
    *apply_.add_upsert() = std::move(object);
  }

 private:
  static constexpr char kKinds[] = "Vpc, Subnet, Vm, Port, Endpoint, Route, SecurityGroup";

  static Message* Make(const std::string& kind, v1::Object* object) {
    if (kind == "Vpc") return object->mutable_vpc();
    if (kind == "Subnet") return object->mutable_subnet();
    if (kind == "Vm") return object->mutable_vm();
    if (kind == "Port") return object->mutable_port();
    if (kind == "Endpoint") return object->mutable_endpoint();
    if (kind == "Route") return object->mutable_route();
    if (kind == "SecurityGroup") return object->mutable_security_group();
    return nullptr;
  }

  static std::string FieldsOf(const Message& message) {
    std::vector<std::string> names;
    for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
      names.push_back(message.GetDescriptor()->field(i)->name());
    }
    return StrJoin(names, ", ");
  }

  // `key` is to be a field of `message`, and is none.
  void NoField(const YamlNode& key, const Message& message) {
    const std::string& name = message.GetDescriptor()->name();
    const bool vowel = name.starts_with("E") || name.starts_with("A");
    Problem(key, StrCat(vowel ? "an " : "a ", name, " has no field ", Quoted(key.scalar),
                        "; it has ", FieldsOf(message)));
  }

  void AddPlaces(const std::string& path, const YamlNode& value) {
    places_.Add(path, value);
    if (value.kind != YamlNode::Kind::kSequence) return;
    for (size_t i = 0; i < value.items.size(); ++i) {
      places_.Add(StrCat(path, "[", i, "]"), value.items[i]);
    }
  }

  // One of a list of messages, at `path`.
  void SetItem(Message* message, const std::string& list, const std::string& path,
               const YamlNode& value) {
    if (value.kind != YamlNode::Kind::kMap) {
      const std::string fields = FieldsOf(*message);
      return Problem(value, StrCat(list, " must be a list of maps with ", fields));
    }
    std::map<std::string, const YamlNode*> keys;
    for (size_t i = 0; i + 1 < value.items.size(); i += 2) {
      const YamlNode& key = value.items[i];
      const FieldDescriptor* field = key.kind == YamlNode::Kind::kScalar
                                         ? message->GetDescriptor()->FindFieldByName(key.scalar)
                                         : nullptr;
      if (field == nullptr) {
        NoField(key, *message);
      } else if (auto [it, inserted] = keys.try_emplace(key.scalar, &key); !inserted) {
        Twice(key, *it->second);
      } else {
        Set(message, field, StrCat(path, ".", key.scalar), value.items[i + 1]);
      }
    }
  }

  void Twice(const YamlNode& key, const YamlNode& first) {
    Problem(key,
            StrCat("key ", Quoted(key.scalar), " is written twice; first in line ", first.line));
  }

  // `path` is the field's.
  void Set(Message* message, const FieldDescriptor* field, const std::string& path,
           const YamlNode& value) {
    AddPlaces(path, value);
    const Reflection* reflection = message->GetReflection();
    if (field->is_repeated()) {
      if (value.kind != YamlNode::Kind::kSequence) {
        return Problem(value, StrCat(field->name(), " must be a list: [ ... ]"));
      }
      for (size_t i = 0; i < value.items.size(); ++i) {
        const YamlNode& item = value.items[i];
        if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
          SetItem(reflection->AddMessage(message, field), field->name(), StrCat(path, "[", i, "]"),
                  item);
        } else if (Text(field->name(), item)) {
          reflection->AddString(message, field, item.scalar);
        }
      }
      return;
    }
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        if (Text(field->name(), value)) reflection->SetString(message, field, value.scalar);
        return;
      case FieldDescriptor::CPPTYPE_UINT32: {
        uint32_t number = 0;
        const std::string& text = value.scalar;
        auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        // With a zero before it some would read it as octal.
        const bool zero = text.size() > 1 && text.front() == '0';
        if (value.kind != YamlNode::Kind::kScalar || !value.plain || text.empty() || zero ||
            error != std::errc() || end != text.data() + text.size()) {
          return Problem(value, StrCat(field->name(), " must be a whole number from 0 to ",
                                       UINT32_MAX, zero ? ", without zeros before it" : ""));
        }
        reflection->SetUInt32(message, field, number);
        return;
      }
      case FieldDescriptor::CPPTYPE_ENUM: {
        struct Words {
          const char* field;
          bool (*parse)(std::string_view, int*);
          const char* list;
        };
        static constexpr Words kWords[] = {
            {"network", ParseNetwork, "compute or converged"},
            {"offload", ParseOffload, "must, prefer or off"},
            {"spoof_check", ParseSpoofCheck, "on or off"},
            {"function", ParseFunction, "vf or hotplug"},
            {"direction", ParseDirection, "ingress or egress"},
            {"family", ParseFamily, "ipv4 or ipv6"},
        };
        const auto* words = std::find_if(std::begin(kWords), std::end(kWords),
                                         [&](const Words& w) { return field->name() == w.field; });
        if (words == std::end(kWords)) break;
        int number = 0;
        if (value.kind != YamlNode::Kind::kScalar || !words->parse(value.scalar, &number)) {
          return Problem(value, StrCat(field->name(), " must be ", words->list));
        }
        reflection->SetEnumValue(message, field, number);
        return;
      }
      case FieldDescriptor::CPPTYPE_BOOL: {
        const bool yes = value.scalar == "true";
        if (value.kind != YamlNode::Kind::kScalar || (!yes && value.scalar != "false")) {
          return Problem(value, StrCat(field->name(), " must be true or false"));
        }
        reflection->SetBool(message, field, yes);
        return;
      }
      default:
        break;
    }
    Problem(value, StrCat(field->name(), " cannot be written in a file"));
  }

  bool Text(const std::string& field, const YamlNode& value) {
    if (value.kind == YamlNode::Kind::kScalar) return true;
    Problem(value, value.kind == YamlNode::Kind::kNull ? StrCat(field, " has no value")
                                                       : StrCat(field, " must be text"));
    return false;
  }

  void Problem(const YamlNode& at, std::string text) {
    if (problems_.size() < kMaxYamlProblems) {
      problems_.push_back({at.line, at.column, std::move(text)});
    }
  }

  v1::Apply& apply_;
  ObjectPlaces& places_;
  std::vector<YamlProblem>& problems_;
  bool too_many_ = false;
};

bool ParseDirection(std::string_view text, int* out) {
  *out = text == "ingress"  ? v1::DIRECTION_INGRESS
         : text == "egress" ? v1::DIRECTION_EGRESS
                            : v1::DIRECTION_UNSPECIFIED;
  return *out != v1::DIRECTION_UNSPECIFIED;
}

bool ParseFamily(std::string_view text, int* out) {
  *out = text == "ipv4"   ? v1::ADDRESS_FAMILY_IPV4
         : text == "ipv6" ? v1::ADDRESS_FAMILY_IPV6
                          : v1::ADDRESS_FAMILY_UNSPECIFIED;
  return *out != v1::ADDRESS_FAMILY_UNSPECIFIED;
}

}  // namespace

bool ParseNetwork(std::string_view text, int* out) {
  *out = text == "compute"     ? v1::NETWORK_KIND_COMPUTE
         : text == "converged" ? v1::NETWORK_KIND_CONVERGED
                               : v1::NETWORK_KIND_UNSPECIFIED;
  return *out != v1::NETWORK_KIND_UNSPECIFIED;
}

bool ParseOffload(std::string_view text, int* out) {
  *out = text == "must"     ? v1::OFFLOAD_WISH_MUST
         : text == "prefer" ? v1::OFFLOAD_WISH_PREFER
         : text == "off"    ? v1::OFFLOAD_WISH_OFF
                            : v1::OFFLOAD_WISH_UNSPECIFIED;
  return *out != v1::OFFLOAD_WISH_UNSPECIFIED;
}

bool ParseSpoofCheck(std::string_view text, int* out) {
  *out = text == "on"    ? v1::SPOOF_CHECK_ON
         : text == "off" ? v1::SPOOF_CHECK_OFF
                         : v1::SPOOF_CHECK_UNSPECIFIED;
  return *out != v1::SPOOF_CHECK_UNSPECIFIED;
}

bool ParseFunction(std::string_view text, int* out) {
  *out = text == "vf"        ? v1::FUNCTION_SOURCE_VF
         : text == "hotplug" ? v1::FUNCTION_SOURCE_HOTPLUG
                             : v1::FUNCTION_SOURCE_UNSPECIFIED;
  return *out != v1::FUNCTION_SOURCE_UNSPECIFIED;
}

std::string ObjectPlaces::Describe(std::string_view name, const std::string& path) const {
  if (!path.starts_with(kUpsert)) return path;
  std::string_view part = path;
  auto found = places_.find(part);
  while (found == places_.end()) {
    const size_t end = part.find_last_of(".[");
    if (end == std::string_view::npos) return path;
    part = part.substr(0, end);
    found = places_.find(part);
  }
  const size_t field = path.find('.', kUpsert.size());
  return StrCat(name, ":", found->second.line, ":", found->second.column,
                field == std::string::npos ? std::string() : StrCat(": ", path.substr(field + 1)));
}

std::vector<YamlProblem> ReadObjects(std::string_view text, v1::Apply* out, ObjectPlaces* places) {
  std::vector<YamlProblem> problems;
  ObjectPlaces unused;
  const std::vector<YamlNode> documents = ParseYaml(text, &problems);
  ObjectReader reader(out, places == nullptr ? &unused : places, &problems);
  for (const YamlNode& document : documents) reader.Read(document);
  if (documents.empty() && problems.empty()) problems.push_back({0, 0, "holds no object"});
  return problems;
}

}  // namespace fairlead
