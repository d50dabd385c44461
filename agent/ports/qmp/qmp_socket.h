// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a non-blocking unix stream socket to a monitor, with deadlines.
//
// Threading: one reader and one writer at a time. Errors: kUnavailable when
// nothing listens or the peer is gone, kDeadlineExceeded, kFailedPrecondition
// for a peer that is not allowed.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/base/unique_fd.h"

namespace fairlead {

using SteadyTime = std::chrono::steady_clock::time_point;

// Milliseconds for poll(2), rounded up, never negative.
int PollTimeout(SteadyTime until);

absl::StatusOr<UniqueFd> ConnectMonitor(const std::string& path, SteadyTime until);

// SO_PEERCRED: who made the listening socket, as the kernel noted it. An empty
// list allows everybody.
absl::Status CheckPeer(int fd, const std::string& path, const std::vector<uint32_t>& allowed_uids);

// kDeadlineExceeded with `*sent` bytes gone: a stream cut in the middle of a
// message is of no use any more.
absl::Status SendAll(int fd, std::string_view bytes, SteadyTime until, size_t* sent);

// Waits until there is something to read (or the end) or, if `wake_fd` is not
// -1, until that is readable; then *woken is set.
absl::Status WaitReadable(int fd, int wake_fd, SteadyTime until, bool* woken);

// Bytes that are there, at most `max`; empty when none is; kUnavailable at the end.
absl::StatusOr<std::string> ReceiveSome(int fd, size_t max);

// What a monitor that says nothing means.
absl::Status NoGreeting(const std::string& path);

}  // namespace fairlead
