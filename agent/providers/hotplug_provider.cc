// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/hotplug_provider.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

std::string IdsText(const PciIds& ids) {
  return absl::StrFormat("%04x:%04x", ids.vendor, ids.device);
}

// An address that the kernel gives to every link that is up says nothing about its use.
bool IsOfTheLinkItself(const IpAddress& address) {
  static const IpPrefix kLinkLocal = *IpPrefix::Parse("fe80::/10");
  return kLinkLocal.Contains(address);
}

}  // namespace

absl::StatusOr<const HotplugPortConfig*> HotplugProvider::ConfigOf(const NicId& port) const {
  const HotplugPortConfig* config = config_->FindHotplugPort(port);
  if (config != nullptr) return config;
  return absl::NotFoundError(StrCat("hot-plug port ", port.ToString(), " is not configured"));
}

absl::StatusOr<std::map<uint16_t, PciAddress>> HotplugProvider::Functions(
    const HotplugPortConfig& port) {
  absl::StatusOr<std::vector<PciAddress>> behind = sysfs_->Behind(port.port);
  if (!behind.ok()) return Annotate(behind.status(), StrCat("hot-plug port ", port.name));
  std::map<uint16_t, PciAddress> functions;
  // Below a port is device 0 alone; with ARI the device bits count functions on (PCIe
  // base specification 6.0, 6.13).
  for (const PciAddress& address : *behind) {
    functions[static_cast<uint16_t>(address.device * 8 + address.function)] = address;
  }
  return functions;
}

// The kernel takes the link to the driver away first and then has the driver let go,
// which waits for whoever has the group open (__device_release_driver, drivers/base/dd.c,
// and vfio_unregister_group_dev). Of a group with others nothing can be said without the
// lock: the node may be theirs.
absl::StatusOr<bool> HotplugProvider::Leaving(const PciDevice& device) {
  if (!device.driver.empty() || !device.iommu_group || sysfs_->Outstanding(device.address)) {
    return false;
  }
  const absl::StatusOr<std::vector<PciAddress>> members = sysfs_->IommuGroup(*device.iommu_group);
  if (!device.busy && (!members.ok() || members->size() != 1)) return false;
  return sysfs_->VfioGroupInUse(*device.iommu_group);
}

// Whether the lock is held meanwhile, and shows it as busy, depends on the kernel.
absl::StatusOr<PciDevice> HotplugProvider::Look(const PciAddress& address) {
  FAIRLEAD_ASSIGN_OR_RETURN(PciDevice device, sysfs_->Device(address));
  FAIRLEAD_ASSIGN_OR_RETURN(const bool leaving, Leaving(device));
  device.busy |= leaving;
  return device;
}

absl::StatusOr<PciDevice> HotplugProvider::Find(const VfId& id) {
  FAIRLEAD_ASSIGN_OR_RETURN(const HotplugPortConfig* port, ConfigOf(id.pf));
  FAIRLEAD_ASSIGN_OR_RETURN(const auto functions, Functions(*port));
  const auto at = functions.find(id.index);
  if (at != functions.end()) {
    absl::StatusOr<PciDevice> device = Look(at->second);
    if (!absl::IsNotFound(device.status())) {
      last_seen_[id] = at->second;
      return device;
    }
  }
  return absl::NotFoundError(
      StrCat("there is no function ", id.index, " at hot-plug port ", port->name));
}

absl::Status HotplugProvider::CheckNothingOutstanding(const VfId& id) {
  const auto last = last_seen_.find(id);
  return last == last_seen_.end() ? absl::OkStatus() : binding_.CheckIdle(last->second);
}

absl::StatusOr<HotplugProvider::Observation> HotplugProvider::Observe(const NicId& nic) {
  FAIRLEAD_ASSIGN_OR_RETURN(const HotplugPortConfig* port, ConfigOf(nic));
  Observation result;
  PfFacts& facts = result.facts;
  facts.id = nic;
  facts.name = port->name;
  facts.pci = port->port;
  facts.network = port->network;
  facts.identity = port->identity;
  facts.deadline = port->deadline;
  const auto functions = Functions(*port);
  if (absl::IsNotFound(functions.status()) || absl::IsFailedPrecondition(functions.status())) {
    // It went with all that was behind it, or never was one.
    facts.refused = std::string(functions.status().message());
    return result;
  }
  if (!functions.ok()) return functions.status();
  for (const auto& [index, address] : *functions) {
    const absl::StatusOr<PciDevice> device = Look(address);
    if (absl::IsNotFound(device.status())) continue;  // it just went
    if (!device.ok()) return device.status();
    // What leads on to others, and what its physical function makes, is not brought by
    // the port.
    if (device->class_code >> 8 == kPciClassBridge || device->physfn) continue;
    const VfId id{nic, index};
    last_seen_[id] = address;
    FAIRLEAD_ASSIGN_OR_RETURN(OneFunction function, Read(*port, id, *device));
    facts.vfs.push_back(std::move(function.facts));
    std::move(function.resources.begin(), function.resources.end(),
              std::back_inserter(result.resources));
  }
  facts.num_vfs = static_cast<uint16_t>(facts.vfs.size());
  return result;
}

absl::StatusOr<HotplugProvider::OneFunction> HotplugProvider::ObserveFunction(const VfId& id) {
  FAIRLEAD_ASSIGN_OR_RETURN(const HotplugPortConfig* port, ConfigOf(id.pf));
  const absl::StatusOr<PciDevice> device = Find(id);
  if (device.ok()) return Read(*port, id, *device);
  if (!absl::IsNotFound(device.status())) return device.status();
  // Its lease must not end before what was begun on it has come back.
  FAIRLEAD_RETURN_IF_ERROR(CheckNothingOutstanding(id));
  OneFunction gone;
  gone.facts.index = id.index;
  gone.facts.gone = true;
  return gone;
}

std::string HotplugProvider::WhyNotToTake(const HotplugPortConfig& port,
                                          const PciDevice& device) const {
  if (device.num_vfs > 0 && device.driver != config_->vf_driver) {
    return StrCat("it has ", device.num_vfs,
                  " VFs, which would go with its driver; take them away (sriov_numvfs)");
  }
  const PciIds ids{device.vendor, device.device};
  if (port.devices.empty()) {
    if (device.class_code >> 16 == kPciBaseClassNetwork) return "";
    return StrCat("it is no network function (", IdsText(ids), ", class ",
                  absl::StrFormat("%06x", device.class_code), ")");
  }
  if (std::find(port.devices.begin(), port.devices.end(), ids) != port.devices.end()) return "";
  std::vector<std::string> listed;
  for (const PciIds& one : port.devices) listed.push_back(IdsText(one));
  return StrCat(IdsText(ids), " is not among the devices that the configuration lists for it (",
                StrJoin(listed, ", "), ")");
}

// All or none: one that is not there is in another namespace, or on its way, and whom it
// serves cannot be seen.
absl::StatusOr<std::vector<LinkInfo>> HotplugProvider::LinksOf(const PciDevice& device) {
  std::vector<LinkInfo> links;
  if (device.busy) return links;
  for (const std::string& netdev : device.netdevs) {
    absl::StatusOr<LinkInfo> link = rtnetlink_->GetLink(netdev);
    if (absl::IsNotFound(link.status())) return std::vector<LinkInfo>();
    if (!link.ok()) return link.status();
    links.push_back(*std::move(link));
  }
  return links;
}

// A host driver takes what arrives at once: that it has a netdev is no sign of use.
absl::StatusOr<std::string> HotplugProvider::WhyHostUses(const LinkInfo& link) {
  const auto uses = [&link](std::string_view how) {
    return StrCat("the host uses it: its netdev ", link.name, " ", how,
                  "; take that away from it, and have the host leave it alone");
  };
  for (const PfConfig& pf : config_->pfs) {
    if (link.permanent_mac.value_or(link.mac) == pf.mac) {
      return StrCat("it is the PF ", pf.mac.ToString(), " of this host");
    }
    for (const RepresentorConfig& representor : pf.representors) {
      if (representor.netdev == link.name) return StrCat(link.name, " is a VF's representor");
    }
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<uint32_t> routes, rtnetlink_->DefaultRouteLinks());
  if (std::binary_search(routes.begin(), routes.end(), link.ifindex)) {
    return uses("carries the default route");
  }
  const absl::StatusOr<std::vector<IpAddress>> addresses = rtnetlink_->LinkAddresses(link.ifindex);
  if (!addresses.ok() && !absl::IsNotFound(addresses.status())) return addresses.status();
  for (const IpAddress& address : addresses.value_or(std::vector<IpAddress>())) {
    if (!IsOfTheLinkItself(address)) return uses(StrCat("has the address ", address.ToString()));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<LinkInfo> links, rtnetlink_->ListLinks());
  for (const LinkInfo& other : links) {
    if (link.master != 0 && other.ifindex == link.master) {
      return uses(StrCat("is a part of ", other.name));
    }
    if (other.lower == link.ifindex) return uses(StrCat("carries ", other.name));
  }
  return "";
}

absl::StatusOr<HotplugProvider::OneFunction> HotplugProvider::Read(const HotplugPortConfig& port,
                                                                   const VfId& id,
                                                                   const PciDevice& device) {
  OneFunction result;
  VfFacts& facts = result.facts;
  facts.index = id.index;
  facts.pci = device.address;
  facts.vendor = device.vendor;
  facts.device = device.device;
  facts.driver = device.busy ? kBusyDriver : device.driver;
  facts.driver_override = device.driver_override;
  facts.can_reset = device.can_reset;
  facts.iommu_group = device.iommu_group;
  if (device.iommu_group) {
    const absl::StatusOr<std::vector<PciAddress>> members = sysfs_->IommuGroup(*device.iommu_group);
    if (!members.ok() && !absl::IsNotFound(members.status())) return members.status();
    for (const PciAddress& member : members.value_or(std::vector<PciAddress>())) {
      if (member != device.address) facts.group_peers.push_back(member);
    }
  }
  FAIRLEAD_ASSIGN_OR_RETURN(facts.leaving, Leaving(device));
  facts.refused = facts.leaving ? std::string("it is being pulled, and a VM still holds it")
                                : WhyNotToTake(port, device);
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<LinkInfo> links, LinksOf(device));
  if (!links.empty()) {
    const LinkInfo& link = links.front();
    facts.netdev = link.name;
    facts.netdev_up = link.up;
    facts.mac = link.permanent_mac.value_or(link.mac);
  }
  for (const LinkInfo& link : links) {
    if (!facts.refused.empty()) break;
    FAIRLEAD_ASSIGN_OR_RETURN(facts.refused, WhyHostUses(link));
  }
  if (std::optional<ObservedResource> binding = binding_.Observe(device, id)) {
    result.resources.push_back(*std::move(binding));
  }
  return result;
}

absl::StatusOr<ObservedResource> HotplugProvider::PutFunction(const VfSpec& wanted) {
  const absl::StatusOr<PciDevice> device = Find(wanted.vf);
  if (absl::IsNotFound(device.status())) {
    return absl::UnavailableError(StrCat("the function went away: ", device.status().message()));
  }
  if (!device.ok()) return device.status();
  ObservedResource observed;
  observed.key = VfKey(wanted.vf);
  observed.spec = VfSpec{wanted.vf, std::nullopt};
  return observed;
}

absl::StatusOr<ObservedResource> HotplugProvider::PutBinding(const DriverBindingSpec& wanted) {
  FAIRLEAD_ASSIGN_OR_RETURN(const HotplugPortConfig* port, ConfigOf(wanted.vf.pf));
  const auto gone = [](const absl::Status& status) {
    return absl::UnavailableError(StrCat("the function went away: ", status.message()));
  };
  const absl::StatusOr<PciDevice> device = Find(wanted.vf);
  if (absl::IsNotFound(device.status())) return gone(device.status());
  if (!device.ok()) return device.status();
  FAIRLEAD_RETURN_IF_ERROR(binding_.CheckIdle(*device));
  const bool taken_before = device->driver == wanted.driver ||
                            (device->driver.empty() && device->driver_override == wanted.driver);
  if (!taken_before) {
    // It may be another one than was looked at when it was chosen, or serve the host now.
    FAIRLEAD_ASSIGN_OR_RETURN(const OneFunction now, Read(*port, wanted.vf, *device));
    if (!now.facts.refused.empty()) {
      return absl::FailedPreconditionError(
          StrCat(device->address.ToString(), ": ", now.facts.refused));
    }
    // A netdev that is seen was looked at for `refused`.
    const std::string in_use =
        now.facts.netdev.empty() ? WhyInUse(now.facts, wanted.driver) : std::string();
    if (!in_use.empty()) {
      return absl::UnavailableError(StrCat(device->address.ToString(), ": ", in_use));
    }
    if (wanted.shows_mac && now.facts.mac != wanted.shows_mac) {
      return absl::UnavailableError(StrCat(
          device->address.ToString(), " shows ",
          now.facts.mac ? StrCat("the MAC ", now.facts.mac->ToString()) : std::string("no MAC"),
          ", not ", wanted.shows_mac->ToString(),
          ": it is another function than was there before"));
    }
  }
  absl::StatusOr<ObservedResource> bound = binding_.Put(device->address, wanted);
  if (absl::IsNotFound(bound.status())) return gone(bound.status());
  return bound;
}

absl::Status HotplugProvider::DeleteFunction(const VfId& id) {
  const absl::StatusOr<PciDevice> device = Find(id);
  if (!device.ok() && !absl::IsNotFound(device.status())) return device.status();
  return CheckNothingOutstanding(id);
}

absl::Status HotplugProvider::DeleteBinding(const VfId& id) {
  const absl::StatusOr<PciDevice> device = Find(id);
  if (absl::IsNotFound(device.status())) return CheckNothingOutstanding(id);
  if (!device.ok()) return device.status();
  FAIRLEAD_RETURN_IF_ERROR(binding_.CheckIdle(*device));
  const absl::Status given_back = GiveBack(*device);
  return absl::IsNotFound(given_back) ? absl::OkStatus() : given_back;
}

absl::Status HotplugProvider::GiveBack(const PciDevice& device) {
  const PciAddress& pci = device.address;
  FAIRLEAD_RETURN_IF_ERROR(binding_.Unbind(pci));
  // What never was taken is another one that came in its place, or has its driver still.
  const bool taken = device.driver == config_->vf_driver ||
                     (device.driver.empty() && device.driver_override == config_->vf_driver);
  if (taken) {
    const absl::Status reset = sysfs_->Reset(pci, config_->bind_deadline);
    if (!reset.ok() && !absl::IsUnimplemented(reset)) return reset;  // it may have none
  }
  // Until here the override says whose it is: an attempt that breaks off is gone on with.
  if (device.driver_override == config_->vf_driver) {
    FAIRLEAD_RETURN_IF_ERROR(sysfs_->SetDriverOverride(pci, ""));
  }
  if (!taken) return absl::OkStatus();
  const absl::Status probed = sysfs_->Probe(pci, config_->bind_deadline);
  if (!probed.ok()) sysfs_->SetDriverOverride(pci, config_->vf_driver).IgnoreError();
  return probed;
}

}  // namespace fairlead
