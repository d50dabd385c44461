// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/pf_provider.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/model/flow_rule.h"
#include "agent/providers/default_drop.h"
#include "agent/providers/pf_links.h"

namespace fairlead {

absl::StatusOr<LinkInfo> PfProvider::PfLink(uint32_t ifindex, WithVfs with_vfs) {
  return with_vfs == WithVfs::kYes ? rtnetlink_->GetLinkWithVfs(ifindex)
                                   : rtnetlink_->GetLink(ifindex);
}

// None: that link is another's.
absl::StatusOr<std::optional<PciDevice>> PfProvider::DeviceOf(const LinkInfo& link,
                                                              const NicId& pf) {
  FAIRLEAD_ASSIGN_OR_RETURN(std::optional<PciDevice> device, PfLinks::DeviceOf(*sysfs_, link, pf));
  if (device) FAIRLEAD_RETURN_IF_ERROR(binding_.CheckIdle(*device));
  return device;
}

// The host may have thousands of links: they are listed only where the PF is not, or not any
// more, the link that it was.
absl::StatusOr<PfProvider::Pf> PfProvider::Find(const NicId& pf, WithVfs with_vfs) {
  if (const auto known = ifindices_.find(pf); known != ifindices_.end()) {
    absl::StatusOr<LinkInfo> link = PfLink(known->second, with_vfs);
    if (!link.ok() && !absl::IsNotFound(link.status())) return link.status();
    if (link.ok()) {
      FAIRLEAD_ASSIGN_OR_RETURN(std::optional<PciDevice> device, DeviceOf(*link, pf));
      if (device) return Pf{*std::move(link), *std::move(device), {}};
    }
    ifindices_.erase(known);
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<LinkInfo> links, rtnetlink_->ListLinks());
  for (const LinkInfo& listed : links) {
    FAIRLEAD_ASSIGN_OR_RETURN(std::optional<PciDevice> device, DeviceOf(listed, pf));
    if (!device) continue;
    FAIRLEAD_ASSIGN_OR_RETURN(LinkInfo link, PfLink(listed.ifindex, with_vfs));
    ifindices_[pf] = link.ifindex;
    return Pf{std::move(link), *std::move(device), {}};
  }
  return absl::NotFoundError(StrCat("no PF with the permanent MAC ", pf.ToString(),
                                    " is on this host (is its driver loaded, is it in "
                                    "another network namespace?)"));
}

absl::Status PfProvider::ReadEswitch(Pf& pf) {
  FAIRLEAD_ASSIGN_OR_RETURN(pf.eswitch, eswitch_.Observe(DevlinkHandle::Pci(pf.device.address)));
  return absl::OkStatus();
}

// The PF itself, and what stands on it: its bond or bridge, the VLANs and macvlans on
// any of these, and so on up.
absl::StatusOr<std::vector<LinkInfo>> PfProvider::WithUppers(const Pf& pf) {
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<LinkInfo> links, rtnetlink_->ListLinks());
  std::set<uint32_t> known = {pf.link.ifindex};
  // Every round finds one more at least, so there are no more rounds than links.
  for (size_t before = 0; before != known.size();) {
    before = known.size();
    for (const LinkInfo& link : links) {
      if (known.contains(link.lower)) known.insert(link.ifindex);
      if (known.contains(link.ifindex) && link.master != 0) known.insert(link.master);
    }
  }
  std::vector<LinkInfo> result;
  std::copy_if(links.begin(), links.end(), std::back_inserter(result),
               [&](const LinkInfo& link) { return known.contains(link.ifindex); });
  return result;
}

absl::StatusOr<std::string> PfProvider::WhyRefused(const Pf& pf, const PfConfig& config) {
  if (config.allow_host_traffic) return "";
  const auto refuse = [&](const LinkInfo& link, std::string_view carries) {
    return StrCat(link.name, link.ifindex == pf.link.ifindex ? "" : StrCat(" on ", pf.link.name),
                  " carries the host's ", carries,
                  "; set allow_host_traffic: true for this PF if Fairlead may use it all the same");
  };
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<LinkInfo> links, WithUppers(pf));
  for (const LinkInfo& link : links) {
    if (std::binary_search(default_links_.begin(), default_links_.end(), link.ifindex)) {
      return refuse(link, "default route");
    }
    if (!config_->management_address) continue;
    const absl::StatusOr<std::vector<IpAddress>> addresses =
        rtnetlink_->LinkAddresses(link.ifindex);
    if (absl::IsNotFound(addresses.status())) continue;  // gone meanwhile
    if (!addresses.ok()) return addresses.status();
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

absl::StatusOr<PfProvider::Observation> PfProvider::Observe(const NicId& nic) {
  const PfConfig* config = config_->FindPf(nic);
  if (config == nullptr) {
    return absl::NotFoundError(StrCat("PF ", nic.ToString(), " is not configured"));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(Pf pf, Find(nic, WithVfs::kYes));
  FAIRLEAD_RETURN_IF_ERROR(ReadEswitch(pf));
  Observation result;
  PfFacts& facts = result.facts;
  facts.id = config->mac;
  facts.pci = pf.device.address;
  facts.netdev = pf.link.name;
  facts.ifindex = pf.link.ifindex;
  facts.driver = pf.device.driver;
  facts.network = config->network;
  facts.total_vfs = pf.device.total_vfs.value_or(0);
  facts.num_vfs = pf.device.num_vfs;
  facts.wanted_vfs = config->vfs;
  facts.max_hardware_rules = config->max_hardware_rules;
  facts.autoprobe = pf.device.autoprobe;
  facts.can_set_vf_mac = pf.link.vfs.has_value() && !pf.link.vfs->empty();
  facts.numa_node = pf.device.numa_node;
  facts.eswitch = pf.eswitch.settings;
  facts.wanted_eswitch = config->eswitch;
  FAIRLEAD_ASSIGN_OR_RETURN(default_links_, rtnetlink_->DefaultRouteLinks());
  FAIRLEAD_ASSIGN_OR_RETURN(facts.refused, WhyRefused(pf, *config));
  if (!pf.device.total_vfs) {
    facts.refused = StrCat(pf.link.name, " (", facts.driver, ") has no SR-IOV capability");
  } else if (config->vfs > facts.total_vfs) {
    facts.refused = StrCat("the configuration asks for ", config->vfs, " VFs and ", pf.link.name,
                           " has ", facts.total_vfs);
  }
  if (facts.num_vfs > 0) {
    ObservedResource pool;
    pool.key = VfPoolKey(nic);
    pool.spec = VfPoolSpec{nic, facts.num_vfs, facts.autoprobe};
    result.resources.push_back(std::move(pool));
  }
  ObservedResource eswitch;
  eswitch.key = PfKey(nic);
  eswitch.spec = PfSpec{nic, facts.eswitch};
  result.resources.push_back(std::move(eswitch));
  FAIRLEAD_ASSIGN_OR_RETURN(std::optional<ObservedResource> uplink, ReadUplink(pf, nic));
  if (uplink) result.resources.push_back(*std::move(uplink));
  for (uint16_t index = 0; index < pf.device.virtfns.size(); ++index) {
    absl::StatusOr<OneVf> vf = Read(pf, nic, index);
    if (!vf.ok()) {  // the others serve on
      VfFacts unreadable;
      unreadable.index = index;
      unreadable.pci = pf.device.virtfns[index];
      unreadable.unreadable = std::string(vf.status().message());
      facts.vfs.push_back(std::move(unreadable));
      continue;
    }
    facts.vfs.push_back(std::move(vf->facts));
    std::move(vf->resources.begin(), vf->resources.end(), std::back_inserter(result.resources));
  }
  if (facts.vfs.size() != facts.num_vfs) {
    return absl::UnavailableError(StrCat(pf.link.name, " says that it has ", facts.num_vfs,
                                         " VFs and shows ", facts.vfs.size(),
                                         ": they are being made or taken away"));
  }
  return result;
}

absl::StatusOr<PfProvider::OneVf> PfProvider::ObserveVf(const VfId& vf) {
  FAIRLEAD_ASSIGN_OR_RETURN(Pf pf, Find(vf.pf, WithVfs::kYes));
  if (RepresentorOf(vf) == nullptr) FAIRLEAD_RETURN_IF_ERROR(ReadEswitch(pf));
  if (vf.index < pf.device.virtfns.size()) return Read(pf, vf.pf, vf.index);
  // The VF is gone; its representor may still stand.
  OneVf gone;
  gone.facts.index = vf.index;
  gone.facts.gone = true;
  FAIRLEAD_RETURN_IF_ERROR(ReadRepresentor(pf, vf, gone));
  return gone;
}

absl::StatusOr<PfProvider::OneVf> PfProvider::Read(const Pf& pf, const NicId& nic, uint16_t index) {
  const VfId id{nic, index};
  FAIRLEAD_ASSIGN_OR_RETURN(const PciDevice device, sysfs_->Device(pf.device.virtfns[index]));
  OneVf result;
  VfFacts& facts = result.facts;
  facts.index = index;
  facts.pci = device.address;
  facts.driver = device.busy ? kBusyDriver : device.driver;
  facts.driver_override = device.driver_override;
  facts.can_reset = device.can_reset;
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
  const std::optional<VfInfo> info = InfoOf(pf.link, index);
  const std::optional<DevlinkRate> leaf = LeafOf(pf, id);
  if (info) facts.mac = info->mac;
  facts.settings = SettingsOf(info, leaf);
  facts.has_rate_leaf = leaf.has_value();
  FAIRLEAD_RETURN_IF_ERROR(ReadRepresentor(pf, id, result));
  if (std::optional<ObservedResource> binding = binding_.Observe(device, id)) {
    result.resources.push_back(*std::move(binding));
  }
  return result;
}

absl::StatusOr<DevlinkPortInfo> PfProvider::FindRepresentorPort(const Pf& pf, const VfId& vf) {
  DevlinkVf wanted{vf.index, std::nullopt};
  // mlx5 numbers the PFs of a card by their PCI function (mlx5.md: esw/devlink_port.c);
  // of other drivers nothing is known, and two matches are an error, not a guess.
  if (pf.device.driver == "mlx5_core") wanted.pf = pf.device.address.function;
  return FindVfRepresentor(pf.eswitch.ports, wanted);
}

absl::StatusOr<LinkInfo> PfProvider::FindRepresentor(const Pf& pf, const VfId& vf) {
  if (const RepresentorConfig* named = RepresentorOf(vf)) {
    return rtnetlink_->GetLink(named->netdev);
  }
  const absl::StatusOr<DevlinkPortInfo> port = FindRepresentorPort(pf, vf);
  if (absl::IsUnavailable(port.status())) return absl::NotFoundError(port.status().message());
  if (!port.ok()) return port.status();
  return rtnetlink_->GetLink(port->ifindex);
}

absl::Status PfProvider::ReadRepresentor(const Pf& pf, const VfId& id, OneVf& result) {
  VfFacts& facts = result.facts;
  const RepresentorConfig* named = RepresentorOf(id);
  if (named != nullptr) {
    if (!facts.mac) facts.mac = named->mac;
    facts.representor = named->netdev;  // that it comes is noticed by its name
  }
  if (named != nullptr || !pf.eswitch.ports.empty()) {
    absl::StatusOr<LinkInfo> link = FindRepresentor(pf, id);
    if (link.ok()) {
      facts.representor = link->name;
      facts.representor_refused = WhyNoRepresentor(*link);
      const bool others = StoreOfAlias(link->alias) != 0 && !config_->marks->OwnsAlias(link->alias);
      if (others && facts.representor_refused.empty()) {
        facts.representor_refused =
            StrCat("it carries the mark '", link->alias, "', of a Fairlead with another store");
      }
      facts.representor_ifindex = link->ifindex;
      facts.representor_mtu = link->mtu;
      facts.representor_up = link->up;
      result.counters = link->counters;
      FAIRLEAD_ASSIGN_OR_RETURN(const TcQdiscInfo qdisc, tc_->GetQdisc(link->ifindex));
      const bool ours = config_->marks->OwnsAlias(link->alias);
      std::optional<RuleTable> block;
      if (qdisc.clsact) block = BlockOfIndex(qdisc.ingress_block, id.pf);
      // The mark alone is what an attempt leaves that broke off before the qdisc.
      if (block || ours || others) {
        ObservedResource representor;
        representor.key = RepresentorKey(id);
        RepresentorSpec spec{id, block, link->up, false, link->addr_gen_none};
        if (block) {
          FAIRLEAD_ASSIGN_OR_RETURN(
              spec.default_drop,
              HasDefaultDrop(*tc_, *block, {qdisc.ingress_block, 0}, *config_->marks));
        }
        representor.spec = spec;
        representor.ours = ours;
        representor.mark = StoreOfAlias(link->alias);
        if (!ours) {
          representor.owner_words =
              StrCat("the netdev ", link->name, " with the mark '", link->alias, "'");
        }
        representor.ifindex = link->ifindex;
        result.resources.push_back(std::move(representor));
      }
    } else if (!absl::IsNotFound(link.status())) {
      return link.status();
    } else if (named == nullptr && !absl::IsNotFound(FindRepresentorPort(pf, id).status())) {
      facts.representor_awaited = std::string(link.status().message());
    }
  }
  return absl::OkStatus();
}

// Fairlead takes a representor down and ends it in a drop: a mistake in the
// configuration must not do that to what the host lives by.
std::string PfProvider::WhyNoRepresentor(const LinkInfo& link) const {
  if (link.name == config_->tunnel.device) return "it is the tunnel device";
  for (const PfConfig& pf : config_->pfs) {
    if (link.permanent_mac.value_or(link.mac) != pf.mac) continue;
    const absl::StatusOr<PciAddress> pci = sysfs_->PciOfNetdev(link.name);
    if (pci.ok()) return StrCat("it is the PF ", pf.mac.ToString());
  }
  const bool default_route =
      std::binary_search(default_links_.begin(), default_links_.end(), link.ifindex);
  return default_route ? "it carries the host's default route" : "";
}

absl::StatusOr<ObservedResource> PfProvider::PutPool(const VfPoolSpec& wanted) {
  FAIRLEAD_ASSIGN_OR_RETURN(const Pf pf, Find(wanted.pf, WithVfs::kNo));
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

// What was known when the plan was made may be old: who would be cut off is looked
// for once more, right before.
absl::StatusOr<ObservedResource> PfProvider::PutPf(const PfSpec& wanted) {
  const PfConfig* config = config_->FindPf(wanted.pf);
  if (config == nullptr) {
    return absl::NotFoundError(StrCat("PF ", wanted.pf.ToString(), " is not configured"));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(Pf pf, Find(wanted.pf, WithVfs::kNo));
  FAIRLEAD_RETURN_IF_ERROR(ReadEswitch(pf));
  ObservedResource observed;
  observed.key = PfKey(wanted.pf);
  const std::string asked =
      StrCat("change the eswitch of ", pf.link.name, " to ", wanted.eswitch.ToString());
  // Of a NIC without an eswitch nothing is touched; Put says so.
  const bool has_one = !pf.eswitch.settings.empty();
  if (has_one && !EswitchDifference(wanted.eswitch, pf.eswitch.settings).empty()) {
    FAIRLEAD_ASSIGN_OR_RETURN(default_links_, rtnetlink_->DefaultRouteLinks());
    FAIRLEAD_ASSIGN_OR_RETURN(const std::string refused, WhyRefused(pf, *config));
    if (!refused.empty()) return absl::FailedPreconditionError(StrCat(asked, ": ", refused));
    std::vector<PciAddress> bound;  // to drivers that serve nobody
    for (uint16_t index = 0; index < pf.device.virtfns.size(); ++index) {
      FAIRLEAD_ASSIGN_OR_RETURN(const OneVf vf, Read(pf, wanted.pf, index));
      if (const std::string in_use = WhyInUse(vf.facts, config_->vf_driver); !in_use.empty()) {
        return absl::UnavailableError(StrCat(asked, ": VF ", index, " is ", in_use));
      }
      if (!vf.facts.driver.empty()) bound.push_back(vf.facts.pci);
    }
    if (wanted.eswitch.mode && wanted.eswitch.mode != pf.eswitch.settings.mode) {
      for (const PciAddress& vf : bound) {
        FAIRLEAD_RETURN_IF_ERROR(sysfs_->Unbind(vf, config_->bind_deadline));
      }
    }
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const EswitchSettings now,
                            eswitch_.Put(DevlinkHandle::Pci(pf.device.address), wanted.eswitch));
  observed.spec = PfSpec{wanted.pf, now};
  return observed;
}

absl::StatusOr<PciAddress> PfProvider::VfAddress(const VfId& vf) {
  FAIRLEAD_ASSIGN_OR_RETURN(const Pf pf, Find(vf.pf, WithVfs::kNo));
  if (vf.index >= pf.device.virtfns.size()) {
    return absl::NotFoundError(StrCat("VF ", vf.ToString(), " is not there: ", pf.link.name,
                                      " has ", pf.device.virtfns.size(), " VFs"));
  }
  return pf.device.virtfns[vf.index];
}

absl::StatusOr<LinkInfo> PfProvider::Representor(const VfId& vf) {
  if (const RepresentorConfig* named = RepresentorOf(vf)) {
    return rtnetlink_->GetLink(named->netdev);
  }
  FAIRLEAD_ASSIGN_OR_RETURN(Pf pf, Find(vf.pf, WithVfs::kNo));
  FAIRLEAD_RETURN_IF_ERROR(ReadEswitch(pf));
  return FindRepresentor(pf, vf);
}

absl::Status PfProvider::CheckOwner(const LinkInfo& link) const {
  if (link.alias.empty() || config_->marks->OwnsAlias(link.alias)) return absl::OkStatus();
  return absl::AlreadyExistsError(StrCat(link.name, " carries the mark '", link.alias,
                                         "', which is not this agent's ('", config_->marks->Alias(),
                                         "'): left alone"));
}

// Down until the drop rule stands, so that no frame of a tenant reaches the host.
absl::StatusOr<ObservedResource> PfProvider::PutRepresentor(const RepresentorSpec& wanted) {
  FAIRLEAD_ASSIGN_OR_RETURN(const LinkInfo link, Representor(wanted.vf));
  if (!wanted.block && wanted.up) {
    return absl::InternalError("a representor is wanted without a VPC");
  }
  // What carries another mark is another agent's, or another store's.
  FAIRLEAD_RETURN_IF_ERROR(CheckOwner(link));
  if (!wanted.block) return TakeDown(wanted.vf, link.ifindex);
  const uint32_t block = BlockIndexOf(*wanted.block);
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
    FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetAlias(link.ifindex, config_->marks->Alias()));
  }
  if (!link.addr_gen_none) {
    FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetAddrGenNone(link.ifindex, true));
  }
  if (!bound) FAIRLEAD_RETURN_IF_ERROR(tc_->AddClsact(link.ifindex, block));
  const RuleTable& table = *wanted.block;
  FAIRLEAD_ASSIGN_OR_RETURN(const bool stood,
                            HasDefaultDrop(*tc_, table, {block, 0}, *config_->marks));
  FAIRLEAD_RETURN_IF_ERROR(PutDefaultDrop(*tc_, table, {block, 0}, *config_->marks));
  FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetLinkUp(link.ifindex, wanted.up));
  FAIRLEAD_ASSIGN_OR_RETURN(const LinkInfo now, rtnetlink_->GetLink(link.ifindex));
  ObservedResource observed;
  observed.key = RepresentorKey(wanted.vf);
  FAIRLEAD_ASSIGN_OR_RETURN(const bool drop,
                            HasDefaultDrop(*tc_, table, {block, 0}, *config_->marks));
  observed.spec = RepresentorSpec{wanted.vf, wanted.block, now.up, drop, now.addr_gen_none};
  observed.ifindex = now.ifindex;
  observed.table_is_new = !bound && !stood;
  return observed;
}

// One that is given back, and that somebody took out of its block.
absl::StatusOr<ObservedResource> PfProvider::TakeDown(const VfId& vf, uint32_t ifindex) {
  FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetLinkUp(ifindex, false));
  FAIRLEAD_ASSIGN_OR_RETURN(const LinkInfo now, rtnetlink_->GetLink(ifindex));
  ObservedResource observed;
  observed.key = RepresentorKey(vf);
  observed.spec = RepresentorSpec{vf, std::nullopt, now.up, false, now.addr_gen_none};
  observed.ifindex = ifindex;
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
  return binding_.Put(pci, wanted);
}

absl::Status PfProvider::DeleteBinding(const VfId& vf) {
  const absl::StatusOr<PciAddress> pci = VfAddress(vf);
  if (absl::IsNotFound(pci.status())) return absl::OkStatus();
  if (!pci.ok()) return pci.status();
  return binding_.Delete(*pci);
}

}  // namespace fairlead
