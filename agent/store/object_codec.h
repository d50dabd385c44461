// SPDX-License-Identifier: Apache-2.0
//
// Purpose: objects, attachments and records of VFs as the bodies that the store keeps of them,
// protobuf messages of fairlead/store/v1/body.proto. The format is the store's own; a change of it
// needs a new schema version in sqlite_store.cc, but for the one that body.proto names.
//
// Decoding is strict: a field that is unknown, missing or twice there, a value of
// another type or out of range, all are errors, because a store that is read
// "as far as possible" would make the agent take things apart.
//
// Threading: free functions on values. Errors: kDataLoss, with the object's name
// and the field. Encode never fails; what cannot be encoded faithfully (text that
// is not UTF-8) does not decode to the same, which the store checks at Commit.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "agent/model/facts.h"
#include "agent/model/intent.h"
#include "agent/model/sanitation.h"

namespace fairlead {

// Longest body that Decode reads, bytes.
inline constexpr size_t kMaxStoredBody = 1 << 20;

// Everything but kind and id, which are the row's key.
std::string EncodeObject(const Object& object);
absl::StatusOr<Object> DecodeObject(ObjectKind kind, std::string_view id, std::string_view body);

// Everything but the VF, which is the row's key.
std::string EncodeAttachment(const Attachment& attachment);
absl::StatusOr<Attachment> DecodeAttachment(const VfId& vf, std::string_view body);

// The same.
std::string EncodeSanitation(const SanitationRecord& record);
absl::StatusOr<SanitationRecord> DecodeSanitation(const VfId& vf, std::string_view body);

}  // namespace fairlead
