// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the slow path's judgement: a frame that came from a port, and what goes back to it.
// README.md lists what is answered.
//
// Threading: pure functions. Errors: none; what cannot be read is counted malformed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "agent/model/slow_path.h"
#include "dataplane/slowpath/tables.h"

namespace fairlead::slowpath {

enum class Verdict : uint8_t {
  kAnswered,
  kQuiet,  // well-formed, and nothing is to be said
  kMalformed,
  kSpoofed,  // claims a MAC or an address that is not the port's
  kUnknown,  // asks for what nobody here knows
};

struct Answer {
  Verdict verdict = Verdict::kQuiet;
  std::vector<uint8_t> frame = {};  // kAnswered only: to be sent to the port
};

// `checksum_pending`: the transport checksum was left to hardware that this frame never saw, as
// a guest does whose NIC is emulated.
Answer Respond(const SlowPathPort& port, const Tables& tables, std::span<const uint8_t> frame,
               bool checksum_pending);

// A router advertisement that nobody asked for (RFC 4861 section 6.2.4), to all nodes. Empty
// where the port's subnet has no IPv6.
std::vector<uint8_t> UnsolicitedAdvertisement(const SlowPathPort& port, const Tables& tables);

}  // namespace fairlead::slowpath
