// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the eswitch of one devlink device: what it is, its representors, the rates of its
// functions, and making it as wanted. Knows the order in which drivers take settings; decides
// nothing.
//
// Threading: blocks, maybe for minutes (a driver makes its representors in the call);
// belongs to the lane of the device's PF. Ownership: borrows the port, which may be
// null (a host without devlink).
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/eswitch.h"
#include "agent/ports/devlink/devlink_port.h"

namespace fairlead {

class EswitchProvider {
 public:
  explicit EswitchProvider(DevlinkPort* devlink) : devlink_(devlink) {}

  struct Seen {
    EswitchSettings settings;            // empty: it has no eswitch, or there is no devlink
    std::vector<DevlinkPortInfo> ports;  // none in legacy mode, which has no representors
    std::vector<DevlinkRate> rates;      // likewise; none, too, where the driver has none
  };
  absl::StatusOr<Seen> Observe(const DevlinkHandle& device);

  // Changes what is not as wanted, and returns what it then reads back, which is for
  // the caller to judge. The first refusal ends it and is carried in the kernel's own
  // words; what was set before it stays. kUnimplemented where there is no eswitch.
  // To switchdev mode goes: encapsulation, inline mode, then the mode, since some
  // drivers take the first two only before there are rules. Back to legacy mode: the
  // mode first.
  absl::StatusOr<EswitchSettings> Put(const DevlinkHandle& device, const EswitchSettings& wanted);

  // Of a function's leaf; what is not there stays as it is.
  absl::Status PutRate(const DevlinkHandle& device, const DevlinkRateId& leaf,
                       const DevlinkRateSettings& wanted);

 private:
  DevlinkPort* devlink_;
};

}  // namespace fairlead
