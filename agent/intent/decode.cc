// SPDX-License-Identifier: Apache-2.0
//
// From a frame to a Request of which every byte is understood. Protobuf itself
// keeps what it does not know, and of a oneof the last one; both would be asked
// for and ignored, so both are refused here.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/unknown_field_set.h>
#include <google/protobuf/wire_format_lite.h>

#include <utility>

#include "agent/base/text.h"
#include "agent/intent/admit.h"
#include "agent/intent/parse.h"
#include "agent/intent/violations.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;
using google::protobuf::Reflection;
using google::protobuf::UnknownFieldSet;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr size_t kMaxRequestId = 128;
// The schema nests four deep; a message type that contains itself would not.
constexpr int kMaxDepth = 16;

std::string Join(const std::string& path, std::string_view field) {
  return path.empty() ? std::string(field) : StrCat(path, ".", field);
}

// Fields and enum values that this version does not know, anywhere.
void CheckKnown(const Message& message, const std::string& path, int depth, Violations* out) {
  if (out->full()) return;
  if (depth > kMaxDepth) {
    out->Add(path, ViolationCode::kMalformed, "nested too deeply");
    return;
  }
  const Reflection* reflection = message.GetReflection();
  const UnknownFieldSet& unknown = reflection->GetUnknownFields(message);
  for (int i = 0; i < unknown.field_count() && !out->full(); ++i) {
    out->Add(
        path, ViolationCode::kUnsupported,
        StrCat("field number ", unknown.field(i).number(), " of ", message.GetDescriptor()->name(),
               " is not known to this agent, which cannot honour it"));
  }
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string here = Join(path, field->name());
    const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
    for (int i = 0; i < count && !out->full(); ++i) {
      const std::string element = field->is_repeated() ? StrCat(here, "[", i, "]") : here;
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        CheckKnown(field->is_repeated() ? reflection->GetRepeatedMessage(message, field, i)
                                        : reflection->GetMessage(message, field),
                   element, depth + 1, out);
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
        const int value = field->is_repeated() ? reflection->GetRepeatedEnumValue(message, field, i)
                                               : reflection->GetEnumValue(message, field);
        if (field->enum_type()->FindValueByNumber(value) == nullptr) {
          out->Add(element, ViolationCode::kUnsupported,
                   StrCat("value ", value, " of ", field->enum_type()->name(),
                          " is not known to this agent"));
        }
      }
    }
  }
}

// Several members of one oneof on the wire. `bytes` parsed as `type` before.
void CheckOneofs(std::string_view bytes, const Descriptor& type, const std::string& path, int depth,
                 Violations* out) {
  if (depth > kMaxDepth) return;  // CheckKnown says so
  CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                      static_cast<int>(bytes.size()));
  std::vector<const FieldDescriptor*> seen(type.oneof_decl_count(), nullptr);
  std::vector<int> counts(type.field_count(), 0);
  while (const uint32_t tag = in.ReadTag()) {
    const FieldDescriptor* field = type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
    const bool delimited =
        WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
    if (field != nullptr && field->real_containing_oneof() != nullptr) {
      const FieldDescriptor*& first = seen[field->real_containing_oneof()->index()];
      if (first != nullptr) {
        out->Add(path, ViolationCode::kMalformed,
                 StrCat("holds ", first->name(), " and ", field->name(), "; exactly one ",
                        field->real_containing_oneof()->name(), " is possible"));
        return;
      }
      first = field;
    }
    if (field == nullptr || !delimited || field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      if (!WireFormatLite::SkipField(&in, tag)) return;
      continue;
    }
    uint32_t length = 0;
    const int at = in.ReadVarint32(&length) ? in.CurrentPosition() : -1;
    if (at < 0 || length > bytes.size() - static_cast<size_t>(at)) return;
    const std::string name = Join(path, field->name());
    CheckOneofs(bytes.substr(at, length), *field->message_type(),
                field->is_repeated() ? StrCat(name, "[", counts[field->index()]++, "]") : name,
                depth + 1, out);
    if (!in.Skip(static_cast<int>(length))) return;
  }
}

// The id for the answer to a frame that is not parsed, where one can be found.
void ReadRequestId(std::string_view frame, v1::Request* out) {
  CodedInputStream in(reinterpret_cast<const uint8_t*>(frame.data()),
                      static_cast<int>(std::min<size_t>(frame.size(), kMaxMessageBytes)));
  while (const uint32_t tag = in.ReadTag()) {
    if (tag != WireFormatLite::MakeTag(v1::Request::kRequestIdFieldNumber,
                                       WireFormatLite::WIRETYPE_LENGTH_DELIMITED)) {
      if (!WireFormatLite::SkipField(&in, tag)) return;
      continue;
    }
    uint32_t length = 0;
    std::string id;
    if (in.ReadVarint32(&length) && length <= kMaxRequestId &&
        in.ReadString(&id, static_cast<int>(length)) &&
        std::all_of(id.begin(), id.end(), [](char c) { return c >= 0x20 && c <= 0x7e; })) {
      out->set_request_id(id);
    }
    return;
  }
}

void CheckHeader(const v1::Request& request, Violations* out) {
  if (request.protocol_version() != kProtocolVersion) {
    out->Add("protocol_version", ViolationCode::kUnsupported,
             StrCat("version ", request.protocol_version(), " is not spoken; this agent speaks ",
                    kProtocolVersion));
  }
  const std::string& id = request.request_id();
  if (id.empty() || id.size() > kMaxRequestId) {
    out->Add("request_id", ViolationCode::kInvalid,
             StrCat("has ", id.size(), " characters; 1 to ", kMaxRequestId, " are needed"));
  } else if (!std::all_of(id.begin(), id.end(), [](char c) { return c >= 0x20 && c <= 0x7e; })) {
    out->Add("request_id", ViolationCode::kInvalid,
             StrCat(Quoted(id), " holds a character that is not printable ASCII"));
  }
  CheckId(request.controller_id(), "controller_id", out);
  if (request.body_case() == v1::Request::BODY_NOT_SET) {
    out->Add(
        "", ViolationCode::kMalformed,
        "asks for nothing (apply, add_vm_to_vpc, remove_vm_from_vpc, get, get_host, "
        "take_over, release_vf, explain_flow, list_rules, get_controllers or forget_controller)");
  }
  if (request.has_get() && !request.get().id().empty()) {
    CheckId(request.get().id(), "get.id", out);
  }
}

}  // namespace

std::vector<Violation> DecodeRequest(std::string_view frame, v1::Request* out) {
  out->Clear();
  Violations violations;
  if (frame.size() > kMaxMessageBytes) {
    ReadRequestId(frame, out);
    violations.Add("", ViolationCode::kMalformed,
                   StrCat("the message has ", frame.size(), " bytes; ", kMaxMessageBytes,
                          " are possible at most"));
    return std::move(violations).Take();
  }
  if (!out->ParseFromArray(frame.data(), static_cast<int>(frame.size()))) {
    if (out->request_id().empty()) ReadRequestId(frame, out);
    violations.Add("", ViolationCode::kMalformed,
                   "not a fairlead.v1.Request: the bytes are no protobuf message of this form, or "
                   "a text in it is not UTF-8");
    return std::move(violations).Take();
  }
  CheckHeader(*out, &violations);
  CheckKnown(*out, "", 0, &violations);
  CheckOneofs(frame, *v1::Request::descriptor(), "", 0, &violations);
  return std::move(violations).Take();
}

}  // namespace fairlead
