// SPDX-License-Identifier: Apache-2.0
//
// Purpose: one datagram of NETLINK_KOBJECT_UEVENT as a value. The kernel writes
// "ACTION@DEVPATH", then KEY=VALUE strings, each ended by a NUL
// (lib/kobject_uevent.c); the bytes may be anything all the same.
//
// Threading: a pure function. Errors: kDataLoss for what no kernel writes, udevd's
// own messages ("libudev") among it.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "agent/ports/uevent/uevent_port.h"

namespace fairlead {

// UEVENT_BUFFER_SIZE, uapi/linux/kobject.h, and room for the header before it.
inline constexpr size_t kMaxUeventBytes = 8192;

absl::StatusOr<Uevent> ParseUevent(std::span<const uint8_t> datagram);

}  // namespace fairlead
