// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the binding of a PCI function to the driver that VMs use (vfio-pci), and
// back: what all providers of functions have in common.
//
// Threading: blocks; belongs to the lane of its provider. Ownership: borrows.
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "agent/model/resource.h"
#include "agent/ports/sysfs/sysfs_port.h"
#include "agent/providers/config.h"

namespace fairlead {

class VfioBinding {
 public:
  VfioBinding(const ProviderConfig* config, SysfsPort* sysfs) : config_(config), sysfs_(sysfs) {}

  // kUnavailable while a write to the function that passed its deadline is on its way.
  absl::Status CheckIdle(const PciAddress& pci);
  // The same while the kernel does something of its own to it for long.
  absl::Status CheckIdle(const PciDevice& device);
  // What of it is, or may be, ours: bound, or left half done.
  std::optional<ObservedResource> Observe(const PciDevice& device, const VfId& vf);
  // Takes the function from whatever driver has it, and sets the node.
  absl::StatusOr<ObservedResource> Put(const PciAddress& pci, const DriverBindingSpec& wanted);
  // Unbinds from the VFIO driver, once no process holds the function.
  absl::Status Unbind(const PciAddress& pci);
  // That, and clears the override.
  absl::Status Delete(const PciAddress& pci);

 private:
  const ProviderConfig* config_;
  SysfsPort* sysfs_;
};

}  // namespace fairlead
