// SPDX-License-Identifier: Apache-2.0
//
// Purpose: QMP's messages as pure functions on bytes: lines, greeting, replies,
// events, and the answers that Fairlead asks for.
//
// Threading: free functions and plain values. Nothing here throws or blocks,
// whatever the input.
// Errors: kDataLoss for what is no valid QMP. A message is bounded in length,
// depth and number of values before it is parsed, so that none costs more
// memory than some multiple of kMaxQmpLine.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/ports/qmp/qmp_port.h"

namespace fairlead {

inline constexpr size_t kMaxQmpLine = 16 * 1024 * 1024;
// QEMU's own parser stops at 1024 (MAX_NESTING, qobject/json-streamer.c); what
// Fairlead asks for is less than 10 deep.
inline constexpr int kMaxQmpDepth = 64;
inline constexpr size_t kMaxQmpValues = 1 << 20;
// Children of /machine/peripheral; a VM has tens.
inline constexpr size_t kMaxQmpDevices = 4096;

// Cuts a stream of bytes into lines.
class QmpLines {
 public:
  explicit QmpLines(size_t max_line = kMaxQmpLine) : max_line_(max_line) {}
  // kDataLoss when a line is too long; the stream is unusable from then on.
  absl::Status Append(std::string_view bytes);
  // The next whole line without its end (CR LF or LF); nullopt when there is
  // none yet. Empty lines are left out.
  std::optional<std::string> Next();
  // Bytes of a line that has begun and not ended.
  size_t pending() const { return open_; }

 private:
  const size_t max_line_;
  std::string buffer_;
  size_t start_ = 0;    // of the next line
  size_t scanned_ = 0;  // no line end before this
  size_t open_ = 0;
  bool too_long_ = false;
};

// A parsed JSON value that this header need not know.
using QmpValue = std::shared_ptr<const nlohmann::json>;

// Strict JSON (RFC 8259) of one line, within the bounds above.
absl::StatusOr<QmpValue> ParseQmpJson(std::string_view line);

// "11.1.3" of {"QMP": {"version": {"qemu": ...}}}.
absl::StatusOr<std::string> DecodeQmpGreeting(std::string_view line);

struct QmpMessage {
  enum class Kind : uint8_t {
    kReturn,        // id, value
    kError,         // id, error_class, error_desc
    kEvent,         // event
    kIgnoredEvent,  // one that Fairlead has no use for
  };
  Kind kind = Kind::kIgnoredEvent;
  uint64_t id = 0;
  QmpValue value;
  std::string error_class;  // "GenericError"
  std::string error_desc;
  QmpEvent event;
};

// A reply must carry an id that Fairlead could have sent.
absl::StatusOr<QmpMessage> DecodeQmpMessage(std::string_view line);

// What QEMU's error means in Fairlead's terms, its "desc" as the peer's words.
absl::Status QmpErrorStatus(std::string_view error_class, std::string_view desc,
                            std::string_view asked);

// Answers, by the command that they belong to.
absl::StatusOr<Uuid> DecodeQueryUuid(const QmpValue& value);
absl::StatusOr<std::string> DecodeQueryStatus(const QmpValue& value);
absl::StatusOr<std::string> DecodeQomString(const QmpValue& value);  // qom-get of a string or link
struct QomChild {
  std::string name;  // "rp1", "device[0]"
  std::string type;  // "pcie-root-port"
  friend bool operator==(const QomChild&, const QomChild&) = default;
};
// qom-list: only the children, not the properties.
absl::StatusOr<std::vector<QomChild>> DecodeQomChildren(const QmpValue& value);

inline constexpr std::string_view kQmpPeripheral = "/machine/peripheral";
inline constexpr std::string_view kQmpAnonymous = "/machine/peripheral-anon";

// Who provides the bus with this QOM path (parent_bus of a device):
//   /machine/peripheral/rp1/rp1             -> "rp1"
//   /machine/peripheral-anon/device[0]/x    -> "/machine/peripheral-anon/device[0]"
//   /machine/q35/pcie.0                     -> "pcie.0"
std::string QmpBusOfPath(std::string_view path);

// One command with string arguments, its line end included. Text that is not
// UTF-8 cannot be sent: kInvalidArgument.
absl::StatusOr<std::string> EncodeQmpCommand(
    uint64_t id, std::string_view command,
    const std::vector<std::pair<std::string, std::string>>& arguments);

// What may be sent as the id of a device or bus: 1 to 1024 printable ASCII
// characters. Which of them are well-formed, QEMU says.
absl::Status CheckQmpId(std::string_view what, std::string_view id);

}  // namespace fairlead
