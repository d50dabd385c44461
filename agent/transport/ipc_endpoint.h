// SPDX-License-Identifier: Apache-2.0
//
// Purpose: "ipc:///path" and what stands behind it: nothing, a socket file that a
// dead agent left, or an agent that listens.
//
// Threading: free functions; ProbeIpc makes one connection that it closes at
// once, and never waits. Errors: kInvalidArgument from PathOfEndpoint.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace fairlead {

// The absolute path of an ipc endpoint. Refused: other transports (tcp is not
// encrypted), abstract names (no file mode protects them), wildcards, relative
// paths, and paths longer than a socket address holds.
absl::StatusOr<std::string> PathOfEndpoint(const std::string& endpoint);

enum class IpcState {
  kNothing,  // no such file
  kStale,    // a socket that nobody listens on
  kListening,
  kDenied,    // the file's or a folder's mode keeps us out
  kNoSocket,  // the file is something else
  kUnknown,   // see `err`
};
struct IpcProbe {
  IpcState state = IpcState::kUnknown;
  int err = 0;
};
IpcProbe ProbeIpc(const std::string& path);

}  // namespace fairlead
