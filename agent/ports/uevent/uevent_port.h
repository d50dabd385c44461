// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the one door to the kernel's uevents: what devices come, go, get a driver
// or lose it. A hint to look at sysfs again, never a fact by itself.
//
// Threading: Subscribe from any thread. Handlers run on a thread of the
// subscription's, one after the other; they must not destroy it.
// Errors: as agent/base/error.h.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace fairlead {

struct Uevent {
  // Messages were lost: everything that is watched is to be looked at again. The
  // other fields are empty then.
  bool lost = false;
  std::string action;     // "add", "remove", "bind", "unbind", "change", "move"
  std::string devpath;    // below /sys: "/devices/pci0000:00/0000:00:1c.0/0000:02:00.0"
  std::string subsystem;  // "pci", "net"; may be empty
  friend bool operator==(const Uevent&, const Uevent&) = default;
};

class UeventPort {
 public:
  class Subscription {
   public:
    virtual ~Subscription() = default;  // waits for a handler under way
  };
  using Handler = std::function<void(const Uevent& event)>;

  virtual ~UeventPort() = default;

  // Everything that the kernel says from now on, as long as the subscription lives.
  virtual absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(Handler handler) = 0;
};

}  // namespace fairlead
