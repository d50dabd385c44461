// SPDX-License-Identifier: Apache-2.0
//
// Purpose: one VM: the session with its monitor, what is in its root ports, and
// the devices that Fairlead plugs in.
//
// Threading: blocks; belongs to the VM's lane. Events come on the session's
// thread, to the listener.
// Ownership: borrows the port; owns the session.
// Errors: kUnavailable when nobody listens, kDeadlineExceeded when the monitor
// is held by another client, kFailedPrecondition when another VM (UUID) is there.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/model/facts.h"
#include "agent/model/resource.h"
#include "agent/ports/qmp/qmp_port.h"
#include "agent/providers/config.h"

namespace fairlead {

class VmProvider {
 public:
  using Listener = std::function<void(const QmpEvent&)>;
  VmProvider(const ProviderConfig* config, QmpPort* qmp, std::string vm, Listener listener)
      : config_(config), qmp_(qmp), vm_(std::move(vm)), listener_(std::move(listener)) {}

  struct Device {
    std::string id;
    PciAddress host;
    std::string bus;
  };
  struct Observation {
    VmFacts facts;
    std::vector<Device> devices;  // whose id has Fairlead's prefix
  };
  absl::StatusOr<Observation> Observe(const Uuid& uuid);

  absl::StatusOr<ObservedResource> PutDevice(const GuestDeviceSpec& wanted);
  // None: it is gone. Else QEMU was asked, and an event will tell.
  absl::StatusOr<std::optional<ObservedResource>> DeleteDevice(const GuestDeviceSpec& there);
  // Lets the monitor go, for whoever wants it next.
  void Disconnect() { session_.reset(); }

 private:
  absl::Status EnsureSession(const Uuid& uuid);
  absl::StatusOr<std::optional<Device>> FindDevice(const std::string& id);

  const ProviderConfig* config_;
  QmpPort* qmp_;
  std::string vm_;
  Listener listener_;
  std::unique_ptr<QmpSession> session_;
  Uuid session_uuid_;  // of the VM that the session was made for, and checked
};

// The monitor's path for a VM. kInvalidArgument for a template without "{vm}"
// and "{uuid}", or for an id that could leave the folder.
absl::StatusOr<std::string> MonitorPath(const std::string& monitor, const std::string& vm,
                                        const Uuid& uuid);
// Whether a root port's id is named by a list of names and prefixes ("rp*").
bool RootPortAllowed(const std::vector<std::string>& patterns, std::string_view id);
// "rp2" before "rp10".
bool NaturalLess(std::string_view a, std::string_view b);

}  // namespace fairlead
