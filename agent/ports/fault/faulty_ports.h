// SPDX-License-Identifier: Apache-2.0
//
// Purpose: each port with the faults of a plan; what is wrapped may be a fake or the kernel's.
//
// Threading: as of what is wrapped; a plan that blocks, blocks the caller.
// Ownership: of the rtnetlink, tc, conntrack, devlink and slow path port with the wrapper; the
// others and the plan are borrowed and outlive it, and what it gave out. Errors: those of what is
// wrapped, and the plan's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/ports/conntrack/conntrack_port.h"
#include "agent/ports/devlink/devlink_port.h"
#include "agent/ports/fault/fault_plan.h"
#include "agent/ports/qmp/qmp_port.h"
#include "agent/ports/rtnetlink/rtnetlink_port.h"
#include "agent/ports/slow_path/slow_path_port.h"
#include "agent/ports/sysfs/sysfs_port.h"
#include "agent/ports/tc/tc_port.h"
#include "agent/ports/uevent/uevent_port.h"

namespace fairlead {

std::unique_ptr<RtnetlinkPort> WithFaults(std::unique_ptr<RtnetlinkPort> port, FaultPlan* plan);
std::unique_ptr<TcPort> WithFaults(std::unique_ptr<TcPort> port, FaultPlan* plan);
std::unique_ptr<ConntrackPort> WithFaults(std::unique_ptr<ConntrackPort> port, FaultPlan* plan);
std::unique_ptr<DevlinkPort> WithFaults(std::unique_ptr<DevlinkPort> port, FaultPlan* plan);
std::unique_ptr<SlowPathSocket> WithFaults(std::unique_ptr<SlowPathSocket> port, FaultPlan* plan);
std::unique_ptr<SysfsPort> WithFaults(SysfsPort* port, FaultPlan* plan);
std::unique_ptr<QmpPort> WithFaults(QmpPort* port, FaultPlan* plan);
std::unique_ptr<UeventPort> WithFaults(UeventPort* port, FaultPlan* plan);

}  // namespace fairlead
