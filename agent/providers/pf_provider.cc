// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/pf_provider.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <set>
#include <thread>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/model/flow_rule.h"
#include "agent/providers/default_drop.h"

namespace fairlead {
namespace {

constexpr std::chrono::milliseconds kGroupPoll{20};
// Stands for the driver of a VF that must not be taken for a free one.
constexpr char kBusy[] = "(busy)";

}  // namespace

absl::StatusOr<PfProvider::Pf> PfProvider::Find(const MacAddress& pf) {
  FAIRLEAD_ASSIGN_OR_RETURN(std::vector<LinkInfo> links, rtnetlink_->ListLinks());
  for (const LinkInfo& link : links) {
    if (!link.kind.empty()) continue;  // a bond or VLAN can show its NIC's address
    if (link.permanent_mac.value_or(link.mac) != pf) continue;
    absl::StatusOr<PciAddress> pci = sysfs_->PciOfNetdev(link.name);
    if (!pci.ok()) continue;
    FAIRLEAD_ASSIGN_OR_RETURN(PciDevice device, sysfs_->Device(*pci));
    if (device.physfn) continue;  // a VF, whatever MAC it shows
    FAIRLEAD_ASSIGN_OR_RETURN(LinkInfo with_vfs, rtnetlink_->GetLinkWithVfs(link.ifindex));
    return Pf{std::move(with_vfs), std::move(device), std::move(links)};
  }
  return absl::NotFoundError(StrCat("no PF with the permanent MAC ", pf.ToString(),
                                    " is on this host (is its driver loaded, is it in "
                                    "another network namespace?)"));
}

// The PF itself, and what stands on it: its bond or bridge, the VLANs and macvlans on
// any of these, and so on up.
std::vector<LinkInfo> PfProvider::WithUppers(const Pf& pf) {
  std::set<uint32_t> known = {pf.link.ifindex};
  // Every round finds one more at least, so there are no more rounds than links.
  for (size_t before = 0; before != known.size();) {
    before = known.size();
    for (const LinkInfo& link : pf.all_links) {
      if (known.contains(link.lower)) known.insert(link.ifindex);
      if (known.contains(link.ifindex) && link.master != 0) known.insert(link.master);
    }
  }
  std::vector<LinkInfo> result;
  std::copy_if(pf.all_links.begin(), pf.all_links.end(), std::back_inserter(result),
               [&](const LinkInfo& link) { return known.contains(link.ifindex); });
  return result;
}

std::string PfProvider::WhyRefused(const Pf& pf, const PfConfig& config) {
  if (config.allow_host_traffic) return "";
  const absl::StatusOr<std::vector<uint32_t>> defaults = rtnetlink_->DefaultRouteLinks();
  if (!defaults.ok()) {
    return StrCat("cannot tell whether it carries the default route: ",
                  std::string(defaults.status().message()));
  }
  const auto refuse = [&](const LinkInfo& link, std::string_view carries) {
    return StrCat(link.name, link.ifindex == pf.link.ifindex ? "" : StrCat(" on ", pf.link.name),
                  " carries the host's ", carries,
                  "; set allow_host_traffic: true for this PF if Fairlead may use it all the same");
  };
  for (const LinkInfo& link : WithUppers(pf)) {
    if (std::find(defaults->begin(), defaults->end(), link.ifindex) != defaults->end()) {
      return refuse(link, "default route");
    }
    if (!config_->management_address) continue;
    const absl::StatusOr<std::vector<IpAddress>> addresses =
        rtnetlink_->LinkAddresses(link.ifindex);
    if (!addresses.ok()) {
      return StrCat("cannot tell whether it carries the management address: ",
                    std::string(addresses.status().message()));
    }
    if (std::find(addresses->begin(), addresses->end(), *config_->management_address) !=
        addresses->end()) {
      return refuse(link, StrCat("management address ", config_->management_address->ToString()));
    }
  }
  return "";
}

const RepresentorConfig* PfProvider::RepresentorOf(const VfId& vf) const {
  const PfConfig* config = config_->FindPf(vf.pf);
  if (config == nullptr) return nullptr;
  for (const RepresentorConfig& representor : config->representors) {
    if (representor.vf == vf.index) return &representor;
  }
  return nullptr;
}

absl::StatusOr<PfProvider::Observation> PfProvider::Observe(const MacAddress& mac) {
  const PfConfig* config = config_->FindPf(mac);
  if (config == nullptr) {
    return absl::NotFoundError(StrCat("PF ", mac.ToString(), " is not configured"));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const Pf pf, Find(mac));
  Observation result;
  PfFacts& facts = result.facts;
  facts.mac = mac;
  facts.pci = pf.device.address;
  facts.netdev = pf.link.name;
  facts.ifindex = pf.link.ifindex;
  facts.driver = pf.device.driver;
  facts.network = config->network;
  facts.total_vfs = pf.device.total_vfs.value_or(0);
  facts.num_vfs = pf.device.num_vfs;
  facts.wanted_vfs = config->vfs;
  facts.autoprobe = pf.device.autoprobe;
  facts.can_set_vf_mac = pf.link.vfs.has_value() && !pf.link.vfs->empty();
  facts.numa_node = pf.device.numa_node;
  facts.refused = WhyRefused(pf, *config);
  if (!pf.device.total_vfs) {
    facts.refused = StrCat(pf.link.name, " (", facts.driver, ") has no SR-IOV capability");
  } else if (config->vfs > facts.total_vfs) {
    facts.refused = StrCat("the configuration asks for ", config->vfs, " VFs and ", pf.link.name,
                           " has ", facts.total_vfs);
  }
  if (facts.num_vfs > 0) {
    ObservedResource pool;
    pool.key = VfPoolKey(mac);
    pool.spec = VfPoolSpec{mac, facts.num_vfs, facts.autoprobe};
    result.resources.push_back(std::move(pool));
  }
  for (uint16_t index = 0; index < pf.device.virtfns.size(); ++index) {
    FAIRLEAD_ASSIGN_OR_RETURN(OneVf vf, Read(pf, mac, index));
    facts.vfs.push_back(std::move(vf.facts));
    std::move(vf.resources.begin(), vf.resources.end(), std::back_inserter(result.resources));
  }
  if (facts.vfs.size() != facts.num_vfs) {
    return absl::UnavailableError(StrCat(pf.link.name, " says that it has ", facts.num_vfs,
                                         " VFs and shows ", facts.vfs.size(),
                                         ": they are being made or taken away"));
  }
  return result;
}

absl::StatusOr<PfProvider::OneVf> PfProvider::ObserveVf(const VfId& vf) {
  FAIRLEAD_ASSIGN_OR_RETURN(const Pf pf, Find(vf.pf));
  if (vf.index < pf.device.virtfns.size()) return Read(pf, vf.pf, vf.index);
  // The VF is gone; its representor may still stand.
  OneVf gone;
  gone.facts.index = vf.index;
  FAIRLEAD_RETURN_IF_ERROR(ReadRepresentor(vf, gone));
  return gone;
}

absl::StatusOr<PfProvider::OneVf> PfProvider::Read(const Pf& pf, const MacAddress& mac,
                                                   uint16_t index) {
  const VfId id{mac, index};
  FAIRLEAD_ASSIGN_OR_RETURN(const PciDevice device, sysfs_->Device(pf.device.virtfns[index]));
  OneVf result;
  VfFacts& facts = result.facts;
  facts.index = index;
  facts.pci = device.address;
  facts.driver = device.busy ? kBusy : device.driver;
  facts.driver_override = device.driver_override;
  facts.iommu_group = device.iommu_group;
  if (device.iommu_group) {
    FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<PciAddress> members,
                              sysfs_->IommuGroup(*device.iommu_group));
    for (const PciAddress& member : members) {
      if (member != device.address) facts.group_peers.push_back(member);
    }
  }
  if (!device.busy && !device.netdevs.empty()) {
    absl::StatusOr<LinkInfo> link = rtnetlink_->GetLink(device.netdevs.front());
    if (link.ok()) {  // else it is in another namespace, or on its way
      facts.netdev = link->name;
      facts.netdev_up = link->up;
      facts.mac = link->mac;
    }
  }
  if (pf.link.vfs) {
    for (const VfInfo& info : *pf.link.vfs) {
      if (info.index == index) facts.mac = info.mac;
    }
  }
  FAIRLEAD_RETURN_IF_ERROR(ReadRepresentor(id, result));
  // The override alone is what an attempt leaves whose driver did not bind. Of a busy
  // VF it is not known, so nobody may take the binding for gone.
  if (device.driver == config_->vf_driver || device.driver_override == config_->vf_driver ||
      device.busy) {
    ObservedResource binding;
    binding.key = DriverBindingKey(id);
    DriverBindingSpec spec{id, device.driver, {}, {}, {}};
    if (device.iommu_group) {
      if (absl::StatusOr<VfioNode> node = sysfs_->GetVfioNode(*device.iommu_group); node.ok()) {
        spec.node_uid = node->uid;
        spec.node_gid = node->gid;
        spec.node_mode = node->mode;
      }
    }
    binding.spec = std::move(spec);
    result.resources.push_back(std::move(binding));
  }
  return result;
}

absl::Status PfProvider::ReadRepresentor(const VfId& id, OneVf& result) {
  VfFacts& facts = result.facts;
  const RepresentorConfig* named = RepresentorOf(id);
  if (named != nullptr) {
    if (!facts.mac) facts.mac = named->mac;
    absl::StatusOr<LinkInfo> link = rtnetlink_->GetLink(named->netdev);
    if (link.ok()) {
      facts.representor = link->name;
      facts.representor_ifindex = link->ifindex;
      FAIRLEAD_ASSIGN_OR_RETURN(const TcQdiscInfo qdisc, tc_->GetQdisc(link->ifindex));
      const bool ours = link->alias == config_->OwnerMark();
      const absl::StatusOr<Vni> vni = Vni::Make(qdisc.ingress_block & Vni::kMax);
      const bool in_block = qdisc.clsact && IsFairleadBlock(qdisc.ingress_block) && vni.ok();
      // The mark alone is what an attempt leaves that broke off before the qdisc.
      if (in_block || ours) {
        ObservedResource representor;
        representor.key = RepresentorKey(id);
        RepresentorSpec spec{id, std::nullopt, link->up, false};
        if (in_block) spec.vni = *vni;
        if (in_block) {
          FAIRLEAD_ASSIGN_OR_RETURN(spec.default_drop,
                                    HasDefaultDrop(*tc_, {RuleTable::Kind::kVpcBlock, *vni},
                                                   {qdisc.ingress_block, 0}, config_->store_id));
        }
        representor.spec = spec;
        representor.ours = ours;
        representor.ifindex = link->ifindex;
        result.resources.push_back(std::move(representor));
      }
    } else if (!absl::IsNotFound(link.status())) {
      return link.status();
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ObservedResource> PfProvider::PutPool(const VfPoolSpec& wanted) {
  FAIRLEAD_ASSIGN_OR_RETURN(const Pf pf, Find(wanted.pf));
  if (pf.device.autoprobe != wanted.autoprobe) {
    FAIRLEAD_RETURN_IF_ERROR(sysfs_->SetAutoprobe(pf.device.address, wanted.autoprobe));
  }
  if (pf.device.num_vfs != wanted.count) {
    FAIRLEAD_RETURN_IF_ERROR(
        sysfs_->SetNumVfs(pf.device.address, wanted.count, config_->sriov_deadline));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const PciDevice now, sysfs_->Device(pf.device.address));
  if (now.num_vfs != wanted.count || now.virtfns.size() != wanted.count) {
    return absl::UnavailableError(StrCat("asked for ", wanted.count, " VFs on ", pf.link.name,
                                         " and found ", now.virtfns.size()));
  }
  ObservedResource pool;
  pool.key = VfPoolKey(wanted.pf);
  pool.spec = VfPoolSpec{wanted.pf, now.num_vfs, now.autoprobe};
  return pool;
}

absl::Status PfProvider::DeletePool(const MacAddress& mac) {
  FAIRLEAD_ASSIGN_OR_RETURN(const Pf pf, Find(mac));
  if (pf.device.num_vfs == 0) return absl::OkStatus();
  return sysfs_->SetNumVfs(pf.device.address, 0, config_->sriov_deadline);
}

absl::StatusOr<PciAddress> PfProvider::VfAddress(const VfId& vf) {
  FAIRLEAD_ASSIGN_OR_RETURN(const Pf pf, Find(vf.pf));
  if (vf.index >= pf.device.virtfns.size()) {
    return absl::NotFoundError(StrCat("VF ", vf.ToString(), " is not there: ", pf.link.name,
                                      " has ", pf.device.virtfns.size(), " VFs"));
  }
  return pf.device.virtfns[vf.index];
}

absl::StatusOr<ObservedResource> PfProvider::PutVf(const VfSpec& wanted) {
  FAIRLEAD_ASSIGN_OR_RETURN(const Pf pf, Find(wanted.vf.pf));
  ObservedResource observed;
  observed.key = VfKey(wanted.vf);
  VfSpec spec{wanted.vf, std::nullopt};
  if (wanted.mac) {
    FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetVfMac(pf.link.ifindex, wanted.vf.index, *wanted.mac));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const LinkInfo now, rtnetlink_->GetLinkWithVfs(pf.link.ifindex));
  if (now.vfs) {
    for (const VfInfo& info : *now.vfs) {
      if (info.index == wanted.vf.index) spec.mac = info.mac;
    }
  }
  observed.spec = spec;
  return observed;
}

absl::Status PfProvider::CheckIdle(const PciAddress& vf) {
  if (!sysfs_->Outstanding(vf)) return absl::OkStatus();
  return absl::UnavailableError(StrCat("an operation on ", vf.ToString(),
                                       " that passed its deadline has not come back from the "
                                       "kernel yet"));
}

// The VF is given back without what its tenant had on it.
absl::Status PfProvider::DeleteVf(const VfId& vf) {
  const absl::StatusOr<Pf> found = Find(vf.pf);
  if (absl::IsNotFound(found.status())) return absl::OkStatus();
  if (!found.ok()) return found.status();
  const Pf& pf = *found;
  if (vf.index >= pf.device.virtfns.size()) return absl::OkStatus();
  // A write that hung must not come back when somebody else has the VF.
  FAIRLEAD_RETURN_IF_ERROR(CheckIdle(pf.device.virtfns[vf.index]));
  absl::Status reset = sysfs_->Reset(pf.device.virtfns[vf.index], config_->bind_deadline);
  if (!reset.ok() && !absl::IsUnimplemented(reset)) return reset;  // it may have none
  if (pf.link.vfs && !pf.link.vfs->empty()) {
    FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetVfMac(pf.link.ifindex, vf.index, MacAddress()));
  }
  return absl::OkStatus();
}

absl::StatusOr<LinkInfo> PfProvider::Representor(const VfId& vf) {
  const RepresentorConfig* named = RepresentorOf(vf);
  if (named == nullptr) {
    return absl::FailedPreconditionError(StrCat(
        "VF ", vf.ToString(), " has no representor: name it in the configuration of its PF"));
  }
  return rtnetlink_->GetLink(named->netdev);
}

absl::Status PfProvider::CheckOwner(const LinkInfo& link) const {
  if (link.alias.empty() || link.alias == config_->OwnerMark()) return absl::OkStatus();
  return absl::AlreadyExistsError(StrCat(link.name, " carries the mark '", link.alias,
                                         "', which is not this agent's ('", config_->OwnerMark(),
                                         "'): left alone"));
}

// Down until the drop rule stands, so that no frame of a tenant reaches the host.
absl::StatusOr<ObservedResource> PfProvider::PutRepresentor(const RepresentorSpec& wanted) {
  FAIRLEAD_ASSIGN_OR_RETURN(const LinkInfo link, Representor(wanted.vf));
  if (!wanted.vni) return absl::InternalError("a representor is wanted without a VPC");
  // What carries another mark is another agent's, or another store's.
  FAIRLEAD_RETURN_IF_ERROR(CheckOwner(link));
  const uint32_t block = BlockIndexOf(*wanted.vni);
  FAIRLEAD_ASSIGN_OR_RETURN(const TcQdiscInfo qdisc, tc_->GetQdisc(link.ifindex));
  const bool bound = qdisc.clsact && qdisc.ingress_block == block;
  if (!qdisc.kind.empty() && !bound) {
    return absl::AlreadyExistsError(
        StrCat(link.name, " has the qdisc ", qdisc.kind,
               ", which Fairlead did not make (Open vSwitch makes one for a port of its "
               "bridges); take ",
               link.name, " out of whatever uses it, and remove the qdisc with 'tc qdisc del dev ",
               link.name, " ", qdisc.kind, "' if it is still there"));
  }
  if (!bound) {
    FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetLinkUp(link.ifindex, false));
    FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetAlias(link.ifindex, config_->OwnerMark()));
    FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetAddrGenNone(link.ifindex, true));
    FAIRLEAD_RETURN_IF_ERROR(tc_->AddClsact(link.ifindex, block));
  }
  FAIRLEAD_RETURN_IF_ERROR(PutDefaultDrop(*tc_, {RuleTable::Kind::kVpcBlock, *wanted.vni},
                                          {block, 0}, config_->store_id));
  FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetLinkUp(link.ifindex, wanted.up));
  FAIRLEAD_ASSIGN_OR_RETURN(const LinkInfo now, rtnetlink_->GetLink(link.ifindex));
  ObservedResource observed;
  observed.key = RepresentorKey(wanted.vf);
  FAIRLEAD_ASSIGN_OR_RETURN(
      const bool drop, HasDefaultDrop(*tc_, {RuleTable::Kind::kVpcBlock, *wanted.vni}, {block, 0},
                                      config_->store_id));
  observed.spec = RepresentorSpec{wanted.vf, wanted.vni, now.up, drop};
  observed.ifindex = now.ifindex;
  return observed;
}

absl::Status PfProvider::DeleteRepresentor(const VfId& vf) {
  const absl::StatusOr<LinkInfo> link = Representor(vf);
  if (absl::IsNotFound(link.status())) return absl::OkStatus();
  if (!link.ok()) return link.status();
  FAIRLEAD_RETURN_IF_ERROR(CheckOwner(*link));
  FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetLinkUp(link->ifindex, false));
  FAIRLEAD_RETURN_IF_ERROR(tc_->DeleteClsact(link->ifindex));
  FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetAddrGenNone(link->ifindex, false));
  return rtnetlink_->SetAlias(link->ifindex, "");
}

absl::StatusOr<ObservedResource> PfProvider::PutBinding(const DriverBindingSpec& wanted) {
  FAIRLEAD_ASSIGN_OR_RETURN(const PciAddress pci, VfAddress(wanted.vf));
  FAIRLEAD_RETURN_IF_ERROR(CheckIdle(pci));
  FAIRLEAD_ASSIGN_OR_RETURN(PciDevice device, sysfs_->Device(pci));
  if (device.driver != wanted.driver) {
    if (!device.driver.empty()) {
      FAIRLEAD_RETURN_IF_ERROR(sysfs_->Unbind(pci, config_->bind_deadline));
    }
    // The pool's autoprobe is off: without an override no driver would bind at all.
    FAIRLEAD_RETURN_IF_ERROR(sysfs_->SetDriverOverride(pci, wanted.driver));
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

absl::Status PfProvider::DeleteBinding(const VfId& vf) {
  const absl::StatusOr<PciAddress> pci = VfAddress(vf);
  if (absl::IsNotFound(pci.status())) return absl::OkStatus();
  if (!pci.ok()) return pci.status();
  FAIRLEAD_RETURN_IF_ERROR(CheckIdle(*pci));
  FAIRLEAD_ASSIGN_OR_RETURN(const PciDevice device, sysfs_->Device(*pci));
  if (device.driver == config_->vf_driver) {
    // Unbinding a VF that a VM still holds open blocks in the kernel with locks
    // held: look first. QEMU closes the group a moment after it let the device go.
    const auto until = std::chrono::steady_clock::now() + config_->group_close_patience;
    while (device.iommu_group) {
      FAIRLEAD_ASSIGN_OR_RETURN(const bool open, sysfs_->VfioGroupInUse(*device.iommu_group));
      if (!open) break;
      if (std::chrono::steady_clock::now() >= until) {
        return absl::UnavailableError(
            StrCat("unbind ", pci->ToString(), ": a process still holds /dev/vfio/",
                   *device.iommu_group, " open; the VM has not let the VF go"));
      }
      std::this_thread::sleep_for(kGroupPoll);
    }
    FAIRLEAD_RETURN_IF_ERROR(sysfs_->Unbind(*pci, config_->bind_deadline));
  }
  if (!device.driver_override.empty()) return sysfs_->SetDriverOverride(*pci, "");
  return absl::OkStatus();
}

}  // namespace fairlead
