// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a process that is the agent of its host: what it needs of the process, the kernel's
// ports, and the agent's life until a signal ends it.
//
// Threading: the main thread. Ownership: the kernel's ports outlive the agent that runs on them.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "agent/daemon/config.h"
#include "agent/daemon/lane_executor.h"
#include "agent/ports/qmp/linux_qmp_port.h"
#include "agent/ports/sysfs/linux_sysfs_port.h"
#include "agent/ports/uevent/linux_uevent_port.h"

namespace fairlead {

class KernelPorts {
 public:
  KernelPorts();
  KernelPorts(const KernelPorts&) = delete;
  KernelPorts& operator=(const KernelPorts&) = delete;
  Ports ports();

 private:
  LinuxSysfsPort sysfs_;
  LinuxQmpPort qmp_;
  LinuxUeventPort uevent_;
};

// What every run of an agent needs of the process.
void SetUpProcess();

// As many as are allowed: libzmq ends the process when it accepts a connection and none is
// left for it (transport/server.h). Returns how many that is.
uint64_t RaiseFileLimit();

// Until SIGTERM or SIGINT.
absl::Status RunAgent(const DaemonConfig& config, const Ports& ports);

}  // namespace fairlead
