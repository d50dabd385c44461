// SPDX-License-Identifier: Apache-2.0
//
// The choice of a VF and of a root port.
#include <algorithm>
#include <span>

#include "agent/base/text.h"
#include "agent/compile/compile.h"
#include "agent/compile/words.h"

namespace fairlead {
namespace {

// An error names this many VFs or root ports; a host may have thousands.
constexpr size_t kMaxReasons = 16;

std::string JoinBounded(const std::vector<std::string>& reasons, std::string_view separator) {
  const size_t shown = std::min(reasons.size(), kMaxReasons);
  std::string out = StrJoin(std::span(reasons).first(shown), separator);
  if (shown < reasons.size()) StrAppend(&out, separator, "and ", reasons.size() - shown, " more");
  return out;
}

// Why a VF that is free does not fit this port; "" = it does.
std::string WhyNotForPort(const Port& port, const PfFacts& pf, const VfFacts& vf) {
  if (pf.can_set_vf_mac) {
    if (port.mac || (vf.mac && vf.mac->IsUnicast())) return "";
    return "it has no MAC of its own, and the port asks for none";
  }
  if (!vf.mac || !vf.mac->IsUnicast()) {
    return "its MAC is not known: name it in the configuration";
  }
  if (port.mac && *port.mac != *vf.mac) {
    return StrCat("its MAC is ", vf.mac->ToString(), " and cannot be set");
  }
  return "";
}

// Whether QEMU's name for what sits in a root port means this device: its id,
// or the QOM path that ends in it.
bool IsOccupant(std::string_view occupant, std::string_view device_id) {
  if (device_id.empty() || !occupant.ends_with(device_id)) return false;
  return occupant.size() == device_id.size() ||
         occupant[occupant.size() - device_id.size() - 1] == '/';
}

}  // namespace

std::string WhyNotFree(const PfFacts& pf, const VfFacts& vf, const std::string& vf_driver,
                       const std::set<VfId>& leased, const std::set<VfId>& held) {
  const VfId id{pf.mac, vf.index};
  if (!pf.refused.empty()) return StrCat("its PF is not used: ", pf.refused);
  if (leased.contains(id)) return "leased to another port";
  if (held.contains(id)) return "held: an operation on it is outstanding, or it is not yet clean";
  if (vf.representor.empty() || vf.representor_ifindex == 0) {
    return "no representor was found for it";
  }
  if (!vf.iommu_group) {
    return "no IOMMU group: boot with intel_iommu=on or amd_iommu=on, and switch the IOMMU on in "
           "the firmware";
  }
  if (!vf.group_peers.empty()) {
    std::vector<std::string> names;
    for (const PciAddress& peer : vf.group_peers) names.push_back(peer.ToString());
    return StrCat("shares IOMMU group ", *vf.iommu_group, " with ", JoinBounded(names, ", "),
                  ": a VM would get them all; enable ACS on the ports above it");
  }
  if (vf.driver == vf_driver && !vf.driver.empty()) {
    return StrCat("in use by someone else (bound to ", vf.driver, ")");
  }
  if (!vf.driver.empty()) {
    if (vf.netdev.empty()) {
      return StrCat("in use by the host (bound to ", vf.driver,
                    ", no netdev of it is visible in this network namespace)");
    }
    if (vf.netdev_up) {
      return StrCat("in use by the host (its netdev ", vf.netdev, " of ", vf.driver, " is up)");
    }
  }
  return "";
}

absl::StatusOr<VfId> PlacePort(const Port& port, const HostFacts& facts,
                               const std::string& vf_driver, const std::set<VfId>& leased,
                               const std::set<VfId>& held) {
  struct Candidate {
    size_t leases;
    const PfFacts* pf;
  };
  std::vector<Candidate> candidates;
  for (const auto& [mac, facts_of_pf] : facts.pfs) {
    const PfFacts& pf = facts_of_pf;  // clang 14 captures no structured binding
    if (pf.network != port.network) continue;
    auto leases = std::count_if(leased.begin(), leased.end(),
                                [&](const VfId& vf) { return vf.pf == pf.mac; });
    candidates.push_back({static_cast<size_t>(leases), &pf});
  }
  const std::string network(NetworkKindName(port.network));
  if (candidates.empty()) {
    return absl::FailedPreconditionError(
        StrCat("no PF of the ", network, " network was found: list one in the configuration"));
  }
  // Stable: PFs with as many leases stay in the order of their MACs.
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.leases < b.leases; });

  std::vector<std::string> reasons, to_come, fixed_macs;
  for (const Candidate& candidate : candidates) {
    const PfFacts& pf = *candidate.pf;
    const size_t expected = pf.num_vfs != 0 ? pf.num_vfs : pf.wanted_vfs;
    if (pf.refused.empty() && pf.vfs.size() < expected) {
      to_come.push_back(PfName(pf));
    }
    if (pf.vfs.empty()) {
      if (!pf.refused.empty()) {
        reasons.push_back(StrCat(PfName(pf), " is not used: ", pf.refused));
      } else {
        reasons.push_back(StrCat(PfName(pf), " has no VFs"));
      }
    }
    std::vector<const VfFacts*> vfs;
    for (const VfFacts& vf : pf.vfs) vfs.push_back(&vf);
    std::sort(vfs.begin(), vfs.end(),
              [](const VfFacts* a, const VfFacts* b) { return a->index < b->index; });
    bool free_with_other_mac = false;
    for (const VfFacts* vf : vfs) {
      std::string why = WhyNotFree(pf, *vf, vf_driver, leased, held);
      if (why.empty()) {
        why = WhyNotForPort(port, pf, *vf);
        if (why.empty()) return VfId{pf.mac, vf->index};
        free_with_other_mac |= port.mac.has_value() && !pf.can_set_vf_mac;
      }
      reasons.push_back(StrCat(PfName(pf), " VF ", vf->index, ": ", why));
    }
    if (free_with_other_mac) fixed_macs.push_back(FixedMacWords(pf));
  }

  if (!to_come.empty()) {
    return absl::UnavailableError(StrCat("no free VF on the ", network,
                                         " network yet: VFs are still to come on ",
                                         StrJoin(to_come, ", ")));
  }
  const std::string list = JoinBounded(reasons, "; ");
  if (!fixed_macs.empty()) {
    return absl::FailedPreconditionError(StrCat("mac: port asks for MAC ", port.mac->ToString(),
                                                "; ", StrJoin(fixed_macs, "; "), " (", list, ")"));
  }
  return absl::ResourceExhaustedError(StrCat("no free VF on the ", network, " network: ", list));
}

absl::StatusOr<std::string> PlaceGuestDevice(const VmFacts& vm, const std::string& device_id,
                                             const std::string& previous,
                                             const std::set<std::string>& taken) {
  for (const VmFacts::RootPort& port : vm.root_ports) {
    if (IsOccupant(port.occupant, device_id)) return port.id;
  }
  const VmFacts::RootPort* choice = nullptr;
  std::vector<std::string> reasons;
  for (const VmFacts::RootPort& port : vm.root_ports) {
    if (!port.occupant.empty()) {
      reasons.push_back(StrCat(port.id, " holds ", Quoted(port.occupant)));
    } else if (taken.contains(port.id)) {
      reasons.push_back(StrCat(port.id, " is meant for another port of this VM"));
    } else if (choice == nullptr || (!previous.empty() && port.id == previous)) {
      choice = &port;
    }
  }
  if (choice != nullptr) return choice->id;
  if (vm.root_ports.empty()) {
    return absl::FailedPreconditionError(
        StrCat("VM ", vm.vm, " has no pcie-root-port that the configuration lets Fairlead use: ",
               "start it with one, or name it in the configuration"));
  }
  return absl::ResourceExhaustedError(StrCat("VM ", vm.vm,
                                             " has no free root port: ", JoinBounded(reasons, "; "),
                                             "; start it with more pcie-root-ports"));
}

}  // namespace fairlead
