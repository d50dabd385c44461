// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what agent and slow path say to each other, between values and bytes
// (proto/fairlead/v1/slow_path.proto). Both sides check what they read: no entry that comes out
// of here breaks a limit.
//
// Threading: pure functions. Errors: kInvalidArgument, for people; of an update that can be
// read, what is wrong with an entry is a problem of that entry, and the others stand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/model/slow_path.h"

namespace fairlead {

// slow_path.proto. A message is a datagram: it must fit a socket's buffer, which is 208 KiB on a
// Linux that nobody changed (net.core.wmem_default).
inline constexpr size_t kMaxSlowPathEntries = 4096;
inline constexpr size_t kMaxSlowPathMessage = 192 * 1024;
// As agent/intent has them for ports and subnets.
inline constexpr size_t kMaxSlowPathAddresses = 16;
inline constexpr size_t kMaxSlowPathPairs = 32;
inline constexpr size_t kMaxSlowPathDnsServers = 8;
inline constexpr uint32_t kMinSlowPathMtu = 576;  // RFC 791: what every host takes
inline constexpr uint32_t kMaxSlowPathMtu = 65535;

struct SlowPathUpdate {
  uint64_t sequence = 0;
  bool begin = false, whole = false;
  std::vector<SlowPathEntry> put;
  std::vector<SlowPathKey> remove;
  std::vector<uint32_t> keep;  // ifindexes
};

struct SlowPathReply {
  uint64_t sequence = 0;
  SlowPathReport report;
};

absl::Status CheckSlowPathEntry(const SlowPathEntry& entry);
absl::Status CheckSlowPathKey(const SlowPathKey& key);
std::string SlowPathKeyName(const SlowPathKey& key);  // "port web", "neighbour 10.0.0.5 in s"

// `problems`: of entries and keys that were left out, kMaxSlowPathTold at most.
absl::StatusOr<SlowPathUpdate> DecodeSlowPathUpdate(std::string_view message,
                                                    std::vector<std::string>* problems);
// As many messages as it takes, one at least. Their sequence begins at `first`; the first has
// `begin` and the last has `whole`, where these are to be set. kInvalidArgument: an entry that
// no message holds.
absl::StatusOr<std::vector<std::string>> EncodeSlowPathUpdates(uint64_t first, bool begin,
                                                               bool whole,
                                                               std::span<const SlowPathEntry> put,
                                                               std::span<const SlowPathKey> remove,
                                                               std::span<const uint32_t> keep = {});

std::string EncodeSlowPathReply(const SlowPathReply& reply);
absl::StatusOr<SlowPathReply> DecodeSlowPathReply(std::string_view message);

}  // namespace fairlead
