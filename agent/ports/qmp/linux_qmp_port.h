// SPDX-License-Identifier: Apache-2.0
//
// Purpose: QmpPort on unix sockets, to real QEMUs.
//
// Threading: Connect from any thread. A session has one thread of its own, which
// reads and calls `on_event`; so an event callback must not call the session
// (its answer would never be read) nor destroy it: post instead.
// Errors: as qmp_port.h says, and:
//   kFailedPrecondition  the peer's uid is not allowed; QEMU's GenericError
//   kAlreadyExists       a device of that id is there
//   kUnimplemented       this QEMU has no such command
// If Connect fails, `on_event` is never called. A call past its deadline leaves
// the session usable; its late answer is dropped.
// A device_del that QEMU refuses because one is pending is success: the guest
// has been asked, and was not asked again (which could cancel the first).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/ports/qmp/qmp_port.h"

namespace fairlead {

class LinuxQmpPort final : public QmpPort {
 public:
  absl::StatusOr<std::unique_ptr<QmpSession>> Connect(
      const std::string& path, const std::vector<uint32_t>& allowed_uids, Deadline deadline,
      std::function<void(const QmpEvent&)> on_event) override;
};

}  // namespace fairlead
