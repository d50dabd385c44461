// SPDX-License-Identifier: Apache-2.0
//
// QMP's decoders on any bytes: must neither throw, crash nor read past the end.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "agent/ports/qmp/qmp_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fairlead::QmpMessage;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  // In two pieces, as a stream may come; the limit is small so that it is reached.
  fairlead::QmpLines lines(4096);
  for (const std::string_view piece : {input.substr(0, size / 2), input.substr(size / 2)}) {
    if (!lines.Append(piece).ok()) return 0;
    while (const std::optional<std::string> line = lines.Next()) {
      if (line->empty() || line->size() > 4096) std::abort();
      (void)fairlead::DecodeQmpGreeting(*line);
      const absl::StatusOr<QmpMessage> message = fairlead::DecodeQmpMessage(*line);
      if (!message.ok()) continue;
      if (message->kind == QmpMessage::Kind::kError) {
        if (fairlead::QmpErrorStatus(message->error_class, message->error_desc, "asked").ok()) {
          std::abort();
        }
      }
      if (message->kind != QmpMessage::Kind::kReturn) continue;
      (void)fairlead::DecodeQueryUuid(message->value);
      (void)fairlead::DecodeQueryStatus(message->value);
      (void)fairlead::DecodeQomChildren(message->value);
      if (const absl::StatusOr<std::string> path = fairlead::DecodeQomString(message->value);
          path.ok()) {
        (void)fairlead::QmpBusOfPath(*path);
        (void)fairlead::EncodeQmpCommand(1, "qom-get", {{"path", *path}});
      }
    }
  }
  (void)fairlead::EncodeQmpCommand(1, "device_del", {{"id", std::string(input)}});
  return 0;
}
