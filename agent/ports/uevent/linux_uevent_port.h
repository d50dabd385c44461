// SPDX-License-Identifier: Apache-2.0
//
// Purpose: UeventPort on NETLINK_KOBJECT_UEVENT, multicast group 1: the kernel's own
// messages, without udev. What another process sends to that group is dropped, as is
// what cannot be read.
//
// Threading, errors: as uevent_port.h.
#pragma once

#include "agent/ports/uevent/uevent_port.h"

namespace fairlead {

class LinuxUeventPort final : public UeventPort {
 public:
  absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(Handler handler) override;
};

}  // namespace fairlead
