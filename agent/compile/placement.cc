// SPDX-License-Identifier: Apache-2.0
//
// The choice of a VF and of a root port.
#include <algorithm>
#include <span>
#include <tuple>

#include "agent/base/text.h"
#include "agent/compile/compile.h"
#include "agent/compile/words.h"

namespace fairlead {
namespace {

// An error gives this many reasons, or names; a host may have thousands of VFs.
constexpr size_t kMaxReasons = 16;

std::string JoinBounded(const std::vector<std::string>& reasons, std::string_view separator) {
  const size_t shown = std::min(reasons.size(), kMaxReasons);
  std::string out = StrJoin(std::span(reasons).first(shown), separator);
  if (shown < reasons.size()) StrAppend(&out, separator, "and ", reasons.size() - shown, " more");
  return out;
}

// Why VFs of one PF do not fit, each reason once with the VFs that it holds for, in the
// order in which they were found.
class VfReasons {
 public:
  void Add(uint32_t index, const std::string& why) {
    auto it = std::find_if(list_.begin(), list_.end(), [&](const auto& r) { return r.why == why; });
    if (it == list_.end()) it = list_.insert(it, Reason{why, {}});
    if (!it->runs.empty() && it->runs.back().second + 1 == index) {
      it->runs.back().second = index;
    } else {
      it->runs.emplace_back(index, index);
    }
  }

  // "pf0 VF 0-15, 17: leased to another port"
  std::vector<std::string> Words(const std::string& pf) const {
    std::vector<std::string> out;
    for (const Reason& reason : list_) {
      std::vector<std::string> runs;
      for (const auto& [first, last] : reason.runs) {
        runs.push_back(StrCat(first, first == last ? "" : StrCat("-", last)));
      }
      out.push_back(StrCat(pf, " VF ", JoinBounded(runs, ", "), ": ", reason.why));
    }
    return out;
  }

 private:
  struct Reason {
    std::string why;
    std::vector<std::pair<uint32_t, uint32_t>> runs;  // first and last index
  };
  std::vector<Reason> list_;
};

// Why rules cannot carry a provider network by this PF's uplink; "" = they can.
std::string WhyNoUplink(const PfFacts& pf, const HostFacts& facts) {
  for (const auto& [id, other] : facts.pfs) {
    if (id == pf.id) break;  // the first of them may
    if (other.is_hotplug_port() || BlockTagOf(id) != BlockTagOf(pf.id)) continue;
    return StrCat("the MACs of ", PfName(pf), " and ", PfName(other),
                  " end in the same two octets, by which blocks of rules are told apart: of the "
                  "two only ",
                  PfName(other), " carries provider networks");
  }
  return "";
}

// Why no VF of a PF can carry a port of this VPC; "" = one can.
std::string WhyNotForVpc(const Vpc& vpc, const PfFacts& pf, const HostFacts& facts) {
  const PfFacts::Serves serves = pf.serves();
  const std::string who = StrCat(PfName(pf), pf.driver.empty() ? "" : StrCat(" (", pf.driver, ")"));
  if (const std::string why = WhyEswitchInactive(pf);
      !why.empty() && serves == PfFacts::Serves::kNothing) {
    return StrCat(why, "; ask for 'eswitch: {mode: switchdev}' in the configuration of its PF");
  }
  if (!vpc.vlan && serves == PfFacts::Serves::kVlan) {
    return StrCat(
        who, " has no switchdev eswitch: it serves VLAN networks only, and vpc/", vpc.id, " is ",
        SegmentName(vpc), vpc.flat ? ", where a VF of it could send into any VLAN; " : "; ",
        pf.eswitch.mode ? StrCat("its eswitch is in ", Name(*pf.eswitch.mode),
                                 " mode, ask for 'eswitch: {mode: switchdev}' in the configuration "
                                 "of its PF")
                        : std::string("put the port in a VPC with a VLAN, or on another NIC"));
  }
  if (vpc.is_provider() && serves == PfFacts::Serves::kByRules) return WhyNoUplink(pf, facts);
  if (vpc.vlan && serves == PfFacts::Serves::kNothing) {
    return StrCat(who, " can set nothing on its VFs, so vpc/", vpc.id, ", which is ",
                  SegmentName(vpc), ", cannot be kept apart on it");
  }
  return "";
}

// Whether a PF can carry the VPC once it is as configured: only then it is waited for.
bool WillServe(const Vpc& vpc, const PfFacts& pf) {
  const EswitchMode now = pf.eswitch.mode.value_or(EswitchMode::kLegacy);
  const EswitchMode then = pf.wanted_eswitch.mode.value_or(now);
  if (then == EswitchMode::kSwitchdevInactive) return false;
  if (vpc.vlan) return true;
  return pf.wanted_eswitch.mode != EswitchMode::kLegacy;
}

// Why a PF cannot do for a port all that it asks for; "" = it can.
std::string WhyNotAsAsked(const Port& port, const Vpc& vpc, const PfFacts& pf) {
  const bool by_rules = pf.serves() == PfFacts::Serves::kByRules;
  if (!by_rules && vpc.is_provider() && port.offload == OffloadWish::kOff) {
    return StrCat("offload: ", PfName(pf), " itself forwards in ", SegmentName(vpc),
                  ", which cannot be switched off");
  }
  if (!by_rules) return "";
  const auto refuse = [&](std::string_view field, std::string_view why) {
    return StrCat(
        field, ": ", PfName(pf), " has ",
        pf.eswitch.mode == EswitchMode::kSwitchdev ? "a switchdev eswitch" : "representors",
        ", where ", why, "; leave it out, or put the port on another NIC");
  };
  if (port.spoof_check == false) {
    return refuse("spoof_check", "rules always check what a port sends");
  }
  if (port.trust) return refuse("trust", "it cannot be set on a VF");
  const bool limits =
      std::any_of(pf.vfs.begin(), pf.vfs.end(), [](const VfFacts& vf) { return vf.has_rate_leaf; });
  constexpr std::string_view kNoRates =
      "devlink shows no rates of its VFs (`devlink port function "
      "rate show`), so nothing limits what one sends";
  if (port.max_tx_mbps != 0 && !limits) return refuse("max_tx_mbps", kNoRates);
  if (port.min_tx_mbps != 0 && !limits) return refuse("min_tx_mbps", kNoRates);
  return "";
}

// Why a VF that is free does not fit this port; "" = it does.
std::string WhyNotForPort(const Port& port, const PfFacts& pf, const VfFacts& vf,
                          const MacOwner& mac_owner) {
  if (!port.mac && vf.mac) {
    const std::optional<ObjectRef> owner = mac_owner(*vf.mac);
    if (owner && *owner != ObjectRef{ObjectKind::kPort, port.id}) {
      return StrCat("its MAC ", vf.mac->ToString(), " is that of ", owner->ToString(), " in vpc/",
                    port.vpc);
    }
  }
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

std::string WhatIsToCome(const Vpc& vpc, const PfFacts& pf, const std::string& vf_driver) {
  if (!pf.refused.empty() || !WillServe(vpc, pf)) return "";
  if (std::string differs = WhyEswitchOtherwise(pf); !differs.empty()) return differs;
  const size_t expected = pf.num_vfs != 0 ? pf.num_vfs : pf.wanted_vfs;
  if (pf.vfs.size() < expected) return StrCat("VFs are still to come on ", PfName(pf));
  const auto awaited = std::find_if(pf.vfs.begin(), pf.vfs.end(), [&](const VfFacts& vf) {
    return !vf.representor_awaited.empty() && !InUse(vf, vf_driver);
  });
  return awaited == pf.vfs.end() ? "" : StrCat(PfName(pf), ": ", awaited->representor_awaited);
}

std::string WhyNotFree(const PfFacts& pf, const VfFacts& vf, const std::string& vf_driver,
                       const std::set<VfId>& leased, const std::set<VfId>& shunned,
                       const Quarantined& quarantined) {
  const VfId id{pf.id, vf.index};
  if (!pf.refused.empty()) return StrCat("its PF is not used: ", pf.refused);
  if (leased.contains(id)) return "leased to another port";
  if (const auto why = quarantined.find(id); why != quarantined.end()) {
    return StrCat("quarantined: ", why->second);
  }
  if (shunned.contains(id)) return "an attach on it failed a moment ago";
  if (!vf.unreadable.empty()) return StrCat("it cannot be observed: ", vf.unreadable);
  if (pf.is_hotplug_port()) {
    if (!vf.refused.empty()) return vf.refused;
  } else if (const std::string differs = WhyEswitchOtherwise(pf); !differs.empty()) {
    // A lease would keep the eswitch as it is.
    const std::string in_use = WhyInUse(vf, vf_driver);
    return in_use.empty() ? differs : in_use;
  } else if (!vf.representor_awaited.empty()) {
    return vf.representor_awaited;
  } else if (vf.representor.empty() && pf.serves() != PfFacts::Serves::kVlan) {
    return pf.eswitch.mode == EswitchMode::kLegacy
               ? StrCat("it has no representor: the eswitch of ", PfName(pf),
                        " is in legacy mode; ask for 'eswitch: {mode: switchdev}' in the "
                        "configuration of its PF")
               : "no representor is known for it: name it in the configuration of its PF";
  }
  if (!vf.representor.empty() && vf.representor_ifindex == 0) {
    return StrCat("its representor ", vf.representor, " is not there");
  }
  if (!vf.representor_refused.empty()) {
    return StrCat(vf.representor, " cannot be its representor: ", vf.representor_refused);
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
  // A host driver takes at once what hot-plug brings, and something brings its netdev up:
  // what `refused` does not say is no use.
  if (pf.is_hotplug_port() && !vf.netdev.empty()) return "";
  return WhyInUse(vf, vf_driver);
}

absl::StatusOr<VfId> PlacePort(const Port& port, const Vpc& vpc, const HostFacts& facts,
                               const std::string& vf_driver, const std::set<VfId>& leased,
                               const std::set<VfId>& shunned, const MacOwner& mac_owner,
                               const Quarantined& quarantined, const std::set<VfId>& of_vpc,
                               const NoRoom& no_room) {
  if (port.function == FunctionSource::kHotplug) {
    return PlaceFunction(port, facts, vf_driver, leased, shunned);
  }
  struct Candidate {
    bool spared;  // for overlays, which no other NIC carries
    size_t leases;
    const PfFacts* pf;
  };
  std::vector<Candidate> candidates;
  for (const auto& [mac, facts_of_pf] : facts.pfs) {
    const PfFacts& pf = facts_of_pf;  // clang 14 captures no structured binding
    if (pf.is_hotplug_port() || pf.network != port.network) continue;
    auto leases =
        std::count_if(leased.begin(), leased.end(), [&](const VfId& vf) { return vf.pf == pf.id; });
    const bool spared = vpc.vlan && pf.serves() == PfFacts::Serves::kByRules;
    candidates.push_back({spared, static_cast<size_t>(leases), &pf});
  }
  const std::string network(NetworkKindName(port.network));
  if (candidates.empty()) {
    return absl::FailedPreconditionError(
        StrCat("no PF of the ", network, " network was found: list one in the configuration"));
  }
  // Stable: PFs with as many leases stay in the order of their MACs.
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) {
                     return std::tuple(a.spared, a.leases) < std::tuple(b.spared, b.leases);
                   });

  std::vector<std::string> reasons, to_come, fixed_macs;
  bool any_serves = false;
  for (const Candidate& candidate : candidates) {
    const PfFacts& pf = *candidate.pf;
    const std::string coming = WhatIsToCome(vpc, pf, vf_driver);
    if (!coming.empty()) to_come.push_back(coming);
    const auto say = [&](std::string why) {  // of a NIC to come, that is said already
      if (coming.empty()) reasons.push_back(std::move(why));
    };
    if (pf.vfs.empty()) {
      say(pf.refused.empty() ? StrCat(PfName(pf), " has no VFs")
                             : StrCat(PfName(pf), " is not used: ", pf.refused));
    }
    std::string why = WhyNotForVpc(vpc, pf, facts);
    if (why.empty()) why = WhyNotAsAsked(port, vpc, pf);
    if (!pf.vfs.empty() && !why.empty()) {
      say(std::move(why));
      continue;
    }
    any_serves = true;
    const auto ports_here =
        std::count_if(of_vpc.begin(), of_vpc.end(), [&](const VfId& vf) { return vf.pf == pf.id; });
    if (vpc.is_provider() && pf.serves() == PfFacts::Serves::kByRules &&
        static_cast<size_t>(ports_here) >= kMostProviderPorts) {
      say(StrCat(PfName(pf), " carries ", ports_here, " ports of vpc/", vpc.id,
                 ", and a broadcast is copied to no more"));
      continue;
    }
    const bool by_rules = pf.serves() == PfFacts::Serves::kByRules;
    if (std::string full = by_rules && no_room ? no_room(pf) : ""; !full.empty()) {
      say(StrCat(PfName(pf), ": ", full));
      continue;
    }
    std::vector<const VfFacts*> vfs;
    for (const VfFacts& vf : pf.vfs) vfs.push_back(&vf);
    std::sort(vfs.begin(), vfs.end(),
              [](const VfFacts* a, const VfFacts* b) { return a->index < b->index; });
    VfReasons of_vfs;
    bool free_with_other_mac = false;
    for (const VfFacts* vf : vfs) {
      std::string why = WhyNotFree(pf, *vf, vf_driver, leased, shunned, quarantined);
      if (why.empty()) {
        why = WhyNotForPort(port, pf, *vf, mac_owner);
        if (why.empty()) return VfId{pf.id, vf->index};
        free_with_other_mac |= port.mac.has_value() && !pf.can_set_vf_mac;
      }
      of_vfs.Add(vf->index, why);
    }
    for (std::string& why : of_vfs.Words(PfName(pf))) say(std::move(why));
    if (free_with_other_mac) fixed_macs.push_back(FixedMacWords(pf));
  }

  if (!to_come.empty()) {
    to_come.insert(to_come.end(), reasons.begin(), reasons.end());
    return absl::UnavailableError(
        StrCat("no free VF on the ", network, " network yet: ", JoinBounded(to_come, "; ")));
  }
  const std::string list = JoinBounded(reasons, "; ");
  if (!any_serves) {
    return absl::FailedPreconditionError(
        StrCat("vpc: no NIC of the ", network, " network serves this port: ", list));
  }
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
  std::vector<std::string> foreign, ours, meant;
  for (const VmFacts::RootPort& port : vm.root_ports) {
    if (!port.occupant.empty()) {
      const bool fairlead =
          StdView(port.occupant).find(kGuestDevicePrefix) != std::string_view::npos;
      (fairlead ? ours : foreign).push_back(StrCat(port.id, " holds ", Quoted(port.occupant)));
    } else if (taken.contains(port.id)) {
      meant.push_back(port.id);
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
  std::vector<std::string> reasons;
  const auto say = [&](const std::vector<std::string>& which, std::string_view why) {
    if (!which.empty()) reasons.push_back(StrCat(JoinBounded(which, ", "), why));
  };
  say(foreign, "");
  say(ours, ": of Fairlead, and not of this port (but of another, or of a store that was lost)");
  say(meant, ": meant for another port of this VM");
  return absl::ResourceExhaustedError(StrCat("VM ", vm.vm,
                                             " has no free root port: ", StrJoin(reasons, "; "),
                                             "; start it with more pcie-root-ports"));
}

}  // namespace fairlead
