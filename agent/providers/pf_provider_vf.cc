// SPDX-License-Identifier: Apache-2.0
//
// What is set on a VF through its PF, and cleared when it is given back.
#include <errno.h>

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/providers/pf_provider.h"

namespace fairlead {
namespace {

// What somebody set that is no whole number of them is more than the next lower one.
uint32_t ToMbps(uint64_t bytes) {
  const uint64_t mbps = bytes / kDevlinkMbit + (bytes % kDevlinkMbit != 0 ? 1 : 0);
  return static_cast<uint32_t>(std::min<uint64_t>(mbps, UINT32_MAX));
}

}  // namespace

// mlx5 programs one limit by devlink and by `ip link set vf rate`: only one of them is used.
VfSettings PfProvider::SettingsOf(const std::optional<VfInfo>& info,
                                  const std::optional<DevlinkRate>& leaf) {
  VfSettings settings;
  if (info) {
    settings = {info->vlan,        info->spoof_check, info->trust,
                info->max_tx_mbps, info->min_tx_mbps, info->link_disabled};
  }
  if (leaf) {
    settings.max_tx_mbps = ToMbps(leaf->max);
    settings.min_tx_mbps = ToMbps(leaf->share);
  }
  return settings;
}

std::optional<DevlinkRate> PfProvider::LeafOf(const Pf& pf, const VfId& vf) {
  const absl::StatusOr<DevlinkPortInfo> port = FindRepresentorPort(pf, vf);
  if (!port.ok()) return std::nullopt;
  const DevlinkRateId id = DevlinkRateId::Leaf(port->index);
  const auto& rates = pf.eswitch.rates;
  const auto leaf = std::find_if(rates.begin(), rates.end(),
                                 [&id](const DevlinkRate& rate) { return rate.id == id; });
  return leaf == rates.end() ? std::nullopt : std::optional<DevlinkRate>(*leaf);
}

absl::StatusOr<std::optional<DevlinkRate>> PfProvider::ReadLeaf(Pf& pf, const VfId& vf) {
  FAIRLEAD_RETURN_IF_ERROR(ReadEswitch(pf));
  return LeafOf(pf, vf);
}

// Each by itself: a new cap leaves the share as it is.
absl::Status PfProvider::PutRates(const Pf& pf, const DevlinkRate& leaf, const VfSettings& wanted) {
  DevlinkRateSettings rates;
  if (wanted.max_tx_mbps && *wanted.max_tx_mbps * kDevlinkMbit != leaf.max) {
    rates.max = *wanted.max_tx_mbps * kDevlinkMbit;
  }
  if (wanted.min_tx_mbps && *wanted.min_tx_mbps * kDevlinkMbit != leaf.share) {
    rates.share = *wanted.min_tx_mbps * kDevlinkMbit;
  }
  if (!rates.max && !rates.share) return absl::OkStatus();
  return eswitch_.PutRate(DevlinkHandle::Pci(pf.device.address), leaf.id, rates);
}

std::optional<VfInfo> PfProvider::InfoOf(const LinkInfo& pf, uint16_t index) {
  if (!pf.vfs) return std::nullopt;
  const auto found = std::find_if(pf.vfs->begin(), pf.vfs->end(),
                                  [&](const VfInfo& info) { return info.index == index; });
  return found == pf.vfs->end() ? std::nullopt : std::optional<VfInfo>(*found);
}

absl::StatusOr<std::optional<VfInfo>> PfProvider::ReadVf(const Pf& pf, uint16_t index) {
  FAIRLEAD_ASSIGN_OR_RETURN(const LinkInfo now, rtnetlink_->GetLinkWithVfs(pf.link.ifindex));
  return InfoOf(now, index);
}

// Each by a call of its own, and only what differs: a NIC may refuse what it need not
// be told.
absl::StatusOr<ObservedResource> PfProvider::PutVf(const VfSpec& wanted) {
  FAIRLEAD_ASSIGN_OR_RETURN(Pf pf, Find(wanted.vf.pf, WithVfs::kYes));
  const uint32_t link = pf.link.ifindex;
  const uint16_t index = wanted.vf.index;
  const VfSettings& set = wanted.settings;
  std::optional<DevlinkRate> leaf;
  if (set.max_tx_mbps || set.min_tx_mbps) {
    FAIRLEAD_ASSIGN_OR_RETURN(leaf, ReadLeaf(pf, wanted.vf));
  }
  if (leaf) {
    FAIRLEAD_RETURN_IF_ERROR(PutRates(pf, *leaf, set));
    FAIRLEAD_ASSIGN_OR_RETURN(leaf, ReadLeaf(pf, wanted.vf));
  }
  std::optional<VfInfo> seen = InfoOf(pf.link, index);
  // A NIC that reports nothing can be told nothing; where something is wanted, that
  // shows as a difference.
  if (seen) {
    const auto differs = [](const auto& wish, const auto& is) { return wish && wish != is; };
    // What opens comes after what closes.
    if (differs(set.link_disabled, seen->link_disabled) && *set.link_disabled) {
      FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetVfLinkDisabled(link, index, true));
    }
    if (differs(set.trust, seen->trust) && !*set.trust) {
      FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetVfTrust(link, index, false));
    }
    if (differs(wanted.mac, seen->mac)) {
      FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetVfMac(link, index, *wanted.mac));
    }
    if (differs(set.spoof_check, seen->spoof_check)) {
      FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetVfSpoofCheck(link, index, *set.spoof_check));
    }
    if (differs(set.vlan, seen->vlan)) {
      FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetVfVlan(link, index, *set.vlan));
    }
    if (differs(set.trust, seen->trust) && *set.trust) {
      FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetVfTrust(link, index, true));
    }
    if (!leaf && (differs(set.max_tx_mbps, seen->max_tx_mbps) ||
                  differs(set.min_tx_mbps, seen->min_tx_mbps))) {
      FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetVfRate(link, index,
                                                     set.max_tx_mbps.value_or(seen->max_tx_mbps),
                                                     set.min_tx_mbps.value_or(seen->min_tx_mbps)));
    }
    if (differs(set.link_disabled, seen->link_disabled) && !*set.link_disabled) {
      FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetVfLinkDisabled(link, index, false));
    }
    FAIRLEAD_ASSIGN_OR_RETURN(seen, ReadVf(pf, index));
  }
  ObservedResource observed;
  observed.key = VfKey(wanted.vf);
  observed.spec =
      VfSpec{wanted.vf, seen ? std::optional(seen->mac) : std::nullopt, SettingsOf(seen, leaf)};
  return observed;
}

// Nothing is reset under a VM that has it, or under the host.
absl::Status PfProvider::CheckUnused(const Pf& pf, const VfId& vf) {
  FAIRLEAD_ASSIGN_OR_RETURN(const OneVf now, Read(pf, vf.pf, vf.index));
  const std::string name = StrCat("VF ", vf.ToString(), " (", now.facts.pci.ToString(), ")");
  if (now.facts.driver != config_->vf_driver) {
    const std::string why = WhyInUse(now.facts, config_->vf_driver);
    return why.empty() ? absl::OkStatus()
                       : absl::FailedPreconditionError(StrCat(name, " is ", why));
  }
  if (!now.facts.iommu_group) return absl::OkStatus();
  FAIRLEAD_ASSIGN_OR_RETURN(const bool open, sysfs_->VfioGroupInUse(*now.facts.iommu_group));
  if (!open) return absl::OkStatus();
  return absl::FailedPreconditionError(
      StrCat(name, ": a process holds /dev/vfio/", *now.facts.iommu_group, " open"));
}

// The VF is given back without what its tenant had on it.
absl::Status PfProvider::DeleteVf(const VfSpec& as, std::optional<VfCleaning>* did) {
  const VfId& vf = as.vf;
  absl::StatusOr<Pf> found = Find(vf.pf, WithVfs::kNo);
  if (absl::IsNotFound(found.status())) return absl::OkStatus();
  if (!found.ok()) return found.status();
  Pf& pf = *found;
  if (vf.index >= pf.device.virtfns.size()) return absl::OkStatus();
  // A write that hung must not come back when somebody else has the VF.
  FAIRLEAD_RETURN_IF_ERROR(binding_.CheckIdle(pf.device.virtfns[vf.index]));
  FAIRLEAD_RETURN_IF_ERROR(CheckUnused(pf, vf));
  VfCleaning cleaning;
  const absl::Status reset = sysfs_->Reset(pf.device.virtfns[vf.index], config_->bind_deadline);
  const bool none = absl::IsUnimplemented(reset);
  cleaning.reset = reset.ok() ? VfCleaning::Reset::kDone
                   : none     ? VfCleaning::Reset::kNone
                              : VfCleaning::Reset::kFailed;
  if (!reset.ok()) cleaning.reset_words = std::string(reset.message());
  // A write that goes on in the kernel is left alone. Else the rest is cleared all the same.
  const bool hangs = absl::IsDeadlineExceeded(reset);
  // By devlink first: what it has cleared need not be by the VF's rate.
  absl::Status cleared = hangs ? reset : ClearRates(pf, vf);
  if (!hangs) cleared.Update(ClearVf(pf, vf.index, as.mac.value_or(MacAddress()), cleaning));
  if (did != nullptr) *did = std::move(cleaning);
  return reset.ok() || none ? cleared : reset;
}

absl::Status PfProvider::ClearRates(Pf& pf, const VfId& vf) {
  FAIRLEAD_ASSIGN_OR_RETURN(std::optional<DevlinkRate> leaf, ReadLeaf(pf, vf));
  if (!leaf || (leaf->max == 0 && leaf->share == 0)) return absl::OkStatus();
  const std::string what = StrCat("the rate of VF ", vf.index, " of ", pf.link.name);
  VfSettings none;
  none.max_tx_mbps = none.min_tx_mbps = 0;
  if (absl::Status cleared = PutRates(pf, *leaf, none); !cleared.ok()) {
    return Annotate(cleared, StrCat("clear ", what));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(leaf, ReadLeaf(pf, vf));
  if (!leaf || (leaf->max == 0 && leaf->share == 0)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      StrCat(what,
             " was cleared without an error and does not read back clean: the VF is not "
             "given on"));
}

// What the PF tells the VF is made as nobody's, and seen to be. What the NIC has no
// call for, nobody can have set through it. A MAC that it came with is its own.
absl::Status PfProvider::ClearVf(const Pf& pf, uint16_t index, const MacAddress& own_mac,
                                 VfCleaning& did) {
  FAIRLEAD_ASSIGN_OR_RETURN(std::optional<VfInfo> seen, ReadVf(pf, index));
  if (!seen) return absl::OkStatus();
  const uint32_t link = pf.link.ifindex;
  struct Setting {
    const char* name;
    std::set<std::string> checks;  // as a record of it names them
    std::function<bool(const VfInfo&)> clean;
    std::function<absl::Status()> clear;
    bool needs_mac = false;
    bool settable = true;
  };
  std::vector<Setting> settings = {
      {"trust",
       {"trust"},
       [](const VfInfo& vf) { return !vf.trust.value_or(false); },
       [&] { return rtnetlink_->SetVfTrust(link, index, false); }},
      {"VLAN",
       {"vlan"},
       [](const VfInfo& vf) { return vf.vlan == 0; },
       [&] { return rtnetlink_->SetVfVlan(link, index, 0); }},
      {"rate",
       {"max-rate", "min-rate"},
       [](const VfInfo& vf) { return vf.max_tx_mbps == 0 && vf.min_tx_mbps == 0; },
       [&] {
         const absl::Status cleared = rtnetlink_->SetVfRate(link, index, 0, 0);
         if (cleared.ok() || absl::IsUnimplemented(cleared) || pf.link.carrier) return cleared;
         return absl::UnavailableError(StrCat(pf.link.name,
                                              " has no link, without which some NICs (igb's) take "
                                              "no rate; it is tried again: ",
                                              cleared.message()));
       }},
      {"MAC",
       {"mac"},
       [&](const VfInfo& vf) { return vf.mac == own_mac; },
       [&] {
         absl::Status cleared = rtnetlink_->SetVfMac(link, index, own_mac);
         // mlx5 and mlx4 check nothing against no MAC, and refuse to be asked to.
         if (ErrnoOf(cleared) == EPERM && seen->spoof_check == true) {
           FAIRLEAD_RETURN_IF_ERROR(rtnetlink_->SetVfSpoofCheck(link, index, false));
           seen->spoof_check = false;
           cleared = rtnetlink_->SetVfMac(link, index, own_mac);
         }
         return cleared;
       }},
      {"spoof check",
       {"spoof-check"},
       [](const VfInfo& vf) { return vf.spoof_check.value_or(true); },
       [&] { return rtnetlink_->SetVfSpoofCheck(link, index, true); },
       /*needs_mac=*/true},
      {"link state",
       {"link-state"},
       [](const VfInfo& vf) { return !vf.link_disabled; },
       [&] { return rtnetlink_->SetVfLinkDisabled(link, index, false); }},
  };
  absl::Status failed;  // the first; the rest is cleared all the same
  for (Setting& setting : settings) {
    if (setting.clean(*seen)) continue;
    const absl::Status cleared = setting.clear();
    if (cleared.ok()) continue;
    // A spoof check that is refused for want of a MAC comes with the next tenant's.
    setting.settable =
        !absl::IsUnimplemented(cleared) && !(ErrnoOf(cleared) == EPERM && setting.needs_mac);
    if (!setting.settable) did.no_call.insert(setting.checks.begin(), setting.checks.end());
    if (setting.settable && failed.ok()) {
      failed = Annotate(cleared,
                        StrCat("clear the ", setting.name, " of VF ", index, " of ", pf.link.name));
    }
  }
  FAIRLEAD_RETURN_IF_ERROR(failed);
  FAIRLEAD_ASSIGN_OR_RETURN(seen, ReadVf(pf, index));
  for (const Setting& setting : settings) {
    if (!seen || !setting.settable || setting.clean(*seen)) continue;
    return absl::FailedPreconditionError(StrCat(
        "the ", setting.name, " of VF ", index, " of ", pf.link.name,
        " was cleared without an error and does not read back clean: the VF is not given on"));
  }
  return absl::OkStatus();
}

}  // namespace fairlead
