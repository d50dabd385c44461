// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/vfio_binding.h"

#include <chrono>
#include <thread>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

constexpr std::chrono::milliseconds kGroupPoll{20};

}  // namespace

absl::Status VfioBinding::CheckIdle(const PciAddress& pci) {
  if (!sysfs_->Outstanding(pci)) return absl::OkStatus();
  return absl::UnavailableError(StrCat("an operation on ", pci.ToString(),
                                       " that passed its deadline has not come back from the "
                                       "kernel yet"));
}

absl::Status VfioBinding::CheckIdle(const PciDevice& device) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIdle(device.address));
  if (!device.busy) return absl::OkStatus();
  return absl::UnavailableError(StrCat("the kernel is at work on ", device.address.ToString(),
                                       ": a driver or VFs come or go, or it is being removed"));
}

std::optional<ObservedResource> VfioBinding::Observe(const PciDevice& device, const VfId& vf) {
  // The override alone is what an attempt leaves whose driver did not bind. Of a busy
  // function it is not known, so nobody may take the binding for gone.
  if (device.driver != config_->vf_driver && device.driver_override != config_->vf_driver &&
      !device.busy) {
    return std::nullopt;
  }
  ObservedResource binding;
  binding.key = DriverBindingKey(vf);
  DriverBindingSpec spec{vf, device.busy ? kBusyDriver : device.driver, {}, {}, {}};
  if (device.iommu_group) {
    if (absl::StatusOr<VfioNode> node = sysfs_->GetVfioNode(*device.iommu_group); node.ok()) {
      spec.node_uid = node->uid;
      spec.node_gid = node->gid;
      spec.node_mode = node->mode;
    }
  }
  binding.spec = std::move(spec);
  return binding;
}

absl::StatusOr<ObservedResource> VfioBinding::Put(const PciAddress& pci,
                                                  const DriverBindingSpec& wanted) {
  FAIRLEAD_ASSIGN_OR_RETURN(PciDevice device, sysfs_->Device(pci));
  FAIRLEAD_RETURN_IF_ERROR(CheckIdle(device));
  if (device.driver != wanted.driver) {
    // Where autoprobe is off, without an override no driver would bind at all. It comes
    // first: a function that has it and no driver was taken by us, and from then on no
    // other driver binds. One that came before, and be it just now, is unbound.
    FAIRLEAD_RETURN_IF_ERROR(sysfs_->SetDriverOverride(pci, wanted.driver));
    FAIRLEAD_RETURN_IF_ERROR(sysfs_->Unbind(pci, config_->bind_deadline));
    FAIRLEAD_RETURN_IF_ERROR(sysfs_->Probe(pci, config_->bind_deadline));
    FAIRLEAD_ASSIGN_OR_RETURN(device, sysfs_->Device(pci));
  }
  if (device.driver != wanted.driver) {
    return absl::FailedPreconditionError(
        StrCat(pci.ToString(), " was offered to ", wanted.driver, " and is bound to ",
               device.driver.empty() ? std::string("no driver") : device.driver, "; is the module ",
               wanted.driver, " loaded, and the IOMMU on?"));
  }
  ObservedResource observed;
  observed.key = DriverBindingKey(wanted.vf);
  DriverBindingSpec spec{wanted.vf, device.driver, {}, {}, {}};
  if (device.iommu_group) {
    if (wanted.node_uid || wanted.node_gid || wanted.node_mode) {
      FAIRLEAD_RETURN_IF_ERROR(sysfs_->SetVfioNode(*device.iommu_group, wanted.node_uid,
                                                   wanted.node_gid, wanted.node_mode));
    }
    if (absl::StatusOr<VfioNode> node = sysfs_->GetVfioNode(*device.iommu_group); node.ok()) {
      spec.node_uid = node->uid;
      spec.node_gid = node->gid;
      spec.node_mode = node->mode;
    }
  }
  observed.spec = std::move(spec);
  return observed;
}

absl::Status VfioBinding::Unbind(const PciAddress& pci) {
  FAIRLEAD_ASSIGN_OR_RETURN(const PciDevice device, sysfs_->Device(pci));
  FAIRLEAD_RETURN_IF_ERROR(CheckIdle(device));
  if (device.driver == config_->vf_driver) {
    // Unbinding a VF that a VM still holds open blocks in the kernel with locks
    // held: look first. QEMU closes the group a moment after it let the device go.
    const auto until = std::chrono::steady_clock::now() + config_->group_close_patience;
    while (device.iommu_group) {
      FAIRLEAD_ASSIGN_OR_RETURN(const bool open, sysfs_->VfioGroupInUse(*device.iommu_group));
      if (!open) break;
      if (std::chrono::steady_clock::now() >= until) {
        return absl::UnavailableError(
            StrCat("unbind ", pci.ToString(), ": a process still holds /dev/vfio/",
                   *device.iommu_group, " open; the VM has not let the VF go"));
      }
      std::this_thread::sleep_for(kGroupPoll);
    }
    return sysfs_->Unbind(pci, config_->bind_deadline);
  }
  return absl::OkStatus();
}

absl::Status VfioBinding::Delete(const PciAddress& pci) {
  FAIRLEAD_RETURN_IF_ERROR(Unbind(pci));
  return sysfs_->SetDriverOverride(pci, "");
}

}  // namespace fairlead
