// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the one door to a VM's QMP monitor: connect, verify who it is, ask,
// act, hear events. One session per VM; a monitor serves one client at a time.
//
// Threading: calls block, up to their deadline; call from the VM's lane. Events
// come on a thread of the session's own. Destroying the session waits for an
// event callback under way.
// Errors: a QMP error keeps QEMU's "desc" as the peer's words. Input is bounded
// (16 MiB a line) and parsed strictly; junk ends the session with kDataLoss.
// kUnavailable: nothing listens at the path, or the connection went away.
// kDeadlineExceeded from Connect: something listens but sends no greeting,
// which is what a monitor does that another client holds.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/types.h"

namespace fairlead {

struct QmpEvent {
  enum class Kind : uint8_t {
    kDeviceDeleted,     // DEVICE_DELETED with a device id
    kUnplugGuestError,  // DEVICE_UNPLUG_GUEST_ERROR
    kReset,             // RESET
    kShutdown,          // SHUTDOWN
    kRunState,          // STOP, RESUME, SUSPEND, WAKEUP
    kDisconnected,      // the session is over; no event follows
  };
  Kind kind = Kind::kDisconnected;
  std::string device;  // QEMU id, device events only
};

// A device of the VM that has an id, and the bus that it sits on.
struct QmpDevice {
  std::string id;    // below /machine/peripheral; for anonymous ones the QOM path
  std::string type;  // "vfio-pci", "pcie-root-port"
  std::string bus;   // id of the device that provides its bus ("rp1"), or bus name ("pcie.0")
  std::string host;  // vfio-pci: "0000:01:00.1", else ""
};

class QmpSession {
 public:
  using Deadline = std::chrono::milliseconds;
  virtual ~QmpSession() = default;

  virtual absl::StatusOr<Uuid> QueryUuid(Deadline deadline) = 0;
  virtual absl::StatusOr<std::string> QueryRunState(Deadline deadline) = 0;
  // All devices below /machine/peripheral and /machine/peripheral-anon, with
  // their buses; works before the guest has enumerated its PCI buses.
  virtual absl::StatusOr<std::vector<QmpDevice>> ListDevices(Deadline deadline) = 0;
  // device_add of vfio-pci. Success: QEMU has it; the guest may not have seen it yet.
  virtual absl::Status AddVfioDevice(std::string_view id, const PciAddress& host,
                                     std::string_view bus, Deadline deadline) = 0;
  // Asks the guest to let go; QEMU's answer says only that it asked. The device
  // is gone with kDeviceDeleted. kNotFound when there is no such device.
  virtual absl::Status RequestRemoval(std::string_view id, Deadline deadline) = 0;
  virtual bool connected() const = 0;
};

class QmpPort {
 public:
  using Deadline = std::chrono::milliseconds;
  virtual ~QmpPort() = default;
  // Connects, checks the peer's uid (SO_PEERCRED) against `allowed_uids` unless
  // that is empty, reads the greeting, negotiates capabilities. Events flow from
  // before this returns.
  virtual absl::StatusOr<std::unique_ptr<QmpSession>> Connect(
      const std::string& path, const std::vector<uint32_t>& allowed_uids, Deadline deadline,
      std::function<void(const QmpEvent&)> on_event) = 0;
};

}  // namespace fairlead
