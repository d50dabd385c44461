// SPDX-License-Identifier: Apache-2.0
//
// Purpose: all of a host's ports with the faults of one plan.
// Threading: as of the ports. Ownership: what `plain` points to and the plan are borrowed and
// outlive it, and what it gave out.
#pragma once

#include <memory>

#include "agent/daemon/lane_executor.h"
#include "agent/ports/fault/faulty_ports.h"

namespace fairlead {

class PortsWithFaults {
 public:
  PortsWithFaults(const Ports& plain, FaultPlan* plan);
  const Ports& ports() const { return ports_; }

 private:
  std::unique_ptr<SysfsPort> sysfs_;
  std::unique_ptr<QmpPort> qmp_;
  std::unique_ptr<UeventPort> uevent_;
  Ports ports_;
};

}  // namespace fairlead
