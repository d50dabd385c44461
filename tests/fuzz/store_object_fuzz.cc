// SPDX-License-Identifier: Apache-2.0
//
// The bodies that the store reads from its file: the first byte chooses the kind,
// the rest is the body. What decodes must encode to something that decodes to
// the same.
#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string_view>

#include "agent/store/object_codec.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);  // says so for each text that is not UTF-8
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead;
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  const unsigned kind = data[0] % 8U;  // '0' is the first
  if (kind < std::size(kAllObjectKinds)) {
    const ObjectKind which = kAllObjectKinds[kind];
    const absl::StatusOr<Object> object = DecodeObject(which, "x1", body);
    if (!object.ok()) return 0;
    const absl::StatusOr<Object> again = DecodeObject(which, "x1", EncodeObject(*object));
    if (!again.ok() || !(*again == *object)) std::abort();
    return 0;
  }
  const VfId vf{MacAddress({0x52, 0x54, 0, 0, 0, 1}), 3};
  if (kind == 7) {
    const absl::StatusOr<SanitationRecord> record = DecodeSanitation(vf, body);
    if (!record.ok()) return 0;
    const absl::StatusOr<SanitationRecord> again = DecodeSanitation(vf, EncodeSanitation(*record));
    if (!again.ok() || !(*again == *record)) std::abort();
    return 0;
  }
  const absl::StatusOr<Attachment> attachment = DecodeAttachment(vf, body);
  if (!attachment.ok()) return 0;
  const absl::StatusOr<Attachment> again = DecodeAttachment(vf, EncodeAttachment(*attachment));
  if (!again.ok() || !(*again == *attachment)) std::abort();
  return 0;
}
