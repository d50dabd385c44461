// SPDX-License-Identifier: Apache-2.0
//
// Purpose: one PCIe hot-plug port and the functions that are behind it now. The agent
// makes none of them: it says what is there and who it seems to be, takes one from the
// host's driver when told to, and gives it back as it came.
//
// Given back means: unbound from the VFIO driver, reset, the override cleared, and
// offered to the host's driver again. That is how it arrived, and only a host driver
// shows the MAC by which the next port recognises it.
//
// Threading: blocks; belongs to the port's lane. Ownership: borrows the ports.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/model/facts.h"
#include "agent/model/resource.h"
#include "agent/ports/rtnetlink/rtnetlink_port.h"
#include "agent/ports/sysfs/sysfs_port.h"
#include "agent/providers/config.h"
#include "agent/providers/vfio_binding.h"

namespace fairlead {

class HotplugProvider {
 public:
  HotplugProvider(const ProviderConfig* config, SysfsPort* sysfs, RtnetlinkPort* rtnetlink)
      : config_(config), sysfs_(sysfs), rtnetlink_(rtnetlink), binding_(config, sysfs) {}

  struct Observation {
    PfFacts facts;
    std::vector<ObservedResource> resources;  // driver-binding
  };
  // A port that is not there, or is no bridge, is refused and has no functions.
  absl::StatusOr<Observation> Observe(const NicId& port);
  struct OneFunction {
    VfFacts facts;  // `gone` when it is not there
    std::vector<ObservedResource> resources;
  };
  absl::StatusOr<OneFunction> ObserveFunction(const VfId& id);

  // Nothing is set on a function: whoever brings it has done that. It carries the lease.
  absl::StatusOr<ObservedResource> PutFunction(const VfSpec& wanted);
  // Refused where the host uses the function, or where it is not the one that `wanted`
  // means. kUnavailable: it went away, or whether the host uses it cannot be seen.
  absl::StatusOr<ObservedResource> PutBinding(const DriverBindingSpec& wanted);
  // Gone is success, once nothing that was begun on it is on its way.
  absl::Status DeleteFunction(const VfId& id);
  // Gives back what was taken, and nothing else. Gone is success.
  absl::Status DeleteBinding(const VfId& id);

 private:
  absl::StatusOr<const HotplugPortConfig*> ConfigOf(const NicId& port) const;
  absl::StatusOr<std::map<uint16_t, PciAddress>> Functions(const HotplugPortConfig& port);
  // kNotFound when it is not there.
  absl::StatusOr<PciDevice> Find(const VfId& id);
  absl::StatusOr<OneFunction> Read(const HotplugPortConfig& port, const VfId& id,
                                   const PciDevice& device);
  // It is being removed, and that waits for the VM that has it open.
  absl::StatusOr<bool> Leaving(const PciDevice& device);
  // sysfs's, and one that is leaving is busy.
  absl::StatusOr<PciDevice> Look(const PciAddress& address);
  std::string WhyNotToTake(const HotplugPortConfig& port, const PciDevice& device) const;
  absl::StatusOr<std::vector<LinkInfo>> LinksOf(const PciDevice& device);
  absl::StatusOr<std::string> WhyHostUses(const LinkInfo& link);
  absl::Status GiveBack(const PciDevice& device);
  // An operation of ours on the function that was last there is on its way still.
  absl::Status CheckNothingOutstanding(const VfId& id);

  const ProviderConfig* config_;
  SysfsPort* sysfs_;
  RtnetlinkPort* rtnetlink_;
  VfioBinding binding_;
  std::map<VfId, PciAddress> last_seen_;
};

}  // namespace fairlead
