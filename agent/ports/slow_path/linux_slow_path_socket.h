// SPDX-License-Identifier: Apache-2.0
//
// Purpose: SlowPathSocket on the Unix socket of a running fairlead-slowpath.
//
// Threading, errors: as slow_path_port.h. After an error the connection is gone.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "agent/base/unique_fd.h"
#include "agent/ports/slow_path/slow_path_port.h"

namespace fairlead {

inline constexpr char kSlowPathControlSocket[] = "/run/fairlead-slowpath/control.sock";

class LinuxSlowPathSocket final : public SlowPathSocket {
 public:
  struct Options {
    std::string path = kSlowPathControlSocket;
    // For one call, however many messages it takes.
    std::chrono::milliseconds deadline{5000};
  };

  explicit LinuxSlowPathSocket(Options options) : options_(std::move(options)) {}

  absl::StatusOr<SlowPathReport> TellAll(std::span<const SlowPathEntry> all, bool whole,
                                         std::span<const uint32_t> keep) override;
  absl::StatusOr<SlowPathReport> Tell(std::span<const SlowPathEntry> put,
                                      std::span<const SlowPathKey> remove) override;

 private:
  using Time = std::chrono::steady_clock::time_point;
  absl::Status Connect(Time until);
  absl::StatusOr<SlowPathReport> Send(const std::vector<std::string>& messages, Time until);
  absl::StatusOr<SlowPathReport> Ask(const std::string& message, Time until);
  absl::Status Wait(short events, Time until) const;

  const Options options_;
  UniqueFd connection_;
  uint64_t sequence_ = 0;  // of the connection's last message
};

}  // namespace fairlead
