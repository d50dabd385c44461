// SPDX-License-Identifier: Apache-2.0
//
// A uevent made of any bytes: it is read, or refused; what is read says only what a
// kernel's can.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "agent/ports/uevent/uevent_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead;
  const absl::StatusOr<Uevent> event = ParseUevent({data, size});
  if (!event.ok()) return 0;
  if (event->lost || event->action.empty() || event->devpath.empty()) std::abort();
  for (const char c : event->devpath + event->action + event->subsystem) {
    if (c <= ' ' || c >= 0x7f) std::abort();
  }
  return 0;
}
