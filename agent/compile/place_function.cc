// SPDX-License-Identifier: Apache-2.0
//
// The choice of a function that hot-plug brings: it is not picked from a pool, but
// recognised.
#include <algorithm>

#include "agent/base/text.h"
#include "agent/compile/compile.h"
#include "agent/compile/words.h"

namespace fairlead {
namespace {

// Why it is not the function that the port means; "" = it is.
std::string WhyNotTheOne(const Port& port, const PfFacts& pf, const VfFacts& vf,
                         const std::string& vf_driver) {
  if (vf.leaving) return vf.refused;
  if (vf.mac && port.mac && *vf.mac != *port.mac) return StrCat("shows MAC ", vf.mac->ToString());
  if (pf.identity == FunctionIdentity::kSlot || vf.mac) return "";
  if (vf.driver.empty()) return "shows no MAC: no driver of the host has it";
  if (vf.driver == vf_driver) return StrCat("shows no MAC: it is bound to ", vf.driver);
  return StrCat("shows no MAC yet: its driver ", vf.driver,
                " has made no netdev that is visible here");
}

// What hinders it passes by itself.
bool WillPass(const VfId& id, const VfFacts& vf, const std::string& vf_driver,
              const std::set<VfId>& leased, const std::set<VfId>& shunned) {
  const bool on_its_way = !vf.driver.empty() && vf.driver != vf_driver && vf.netdev.empty();
  return leased.contains(id) || shunned.contains(id) || (vf.refused.empty() && on_its_way);
}

}  // namespace

absl::StatusOr<VfId> PlaceFunction(const Port& port, const HostFacts& facts,
                                   const std::string& vf_driver, const std::set<VfId>& leased,
                                   const std::set<VfId>& shunned) {
  std::vector<std::string> ports, others, hindered;
  for (const auto& [id, pf] : facts.pfs) {
    if (!pf.is_hotplug_port() || pf.network != port.network) continue;
    if (pf.identity == FunctionIdentity::kMac && !port.mac) continue;
    ports.push_back(PfName(pf));
    if (!pf.refused.empty()) others.push_back(StrCat(PfName(pf), " is not used: ", pf.refused));
    for (const VfFacts& vf : pf.vfs) {
      const VfId function{id, vf.index};
      std::string why = WhyNotTheOne(port, pf, vf, vf_driver);
      const bool is_it = why.empty();
      if (is_it) why = WhyNotFree(pf, vf, vf_driver, leased, shunned);
      if (why.empty()) return function;
      why = StrCat(PfName(pf), ", ", vf.pci.ToString(), ": ", why);
      const bool waits = !is_it || WillPass(function, vf, vf_driver, leased, shunned);
      (waits ? others : hindered).push_back(std::move(why));
    }
  }
  if (ports.empty()) {
    return absl::FailedPreconditionError(
        StrCat("no hot-plug port of the ", NetworkKindName(port.network), " network ",
               port.mac ? "was found" : "that knows functions by their slot was found",
               ": list one in the configuration (hotplug_ports)"));
  }
  if (!hindered.empty()) {
    return absl::FailedPreconditionError(
        StrCat("the function is there and cannot be used: ", StrJoin(hindered, "; ")));
  }
  return absl::UnavailableError(StrCat(
      "waits for the function ", port.mac ? StrCat("with MAC ", port.mac->ToString(), " ") : "",
      "at ", StrJoin(ports, ", "), others.empty() ? "" : StrCat(" (", StrJoin(others, "; "), ")")));
}

std::chrono::milliseconds FunctionDeadline(const Port& port, const HostFacts& facts) {
  std::chrono::milliseconds most{0};
  for (const auto& [id, pf] : facts.pfs) {
    if (pf.is_hotplug_port() && pf.network == port.network) most = std::max(most, pf.deadline);
  }
  return most;
}

std::string WhyFunctionLost(const Port& port, const Attachment& attachment, const HostFacts& facts,
                            const std::string& vf_driver) {
  const VfFacts* vf = facts.FindVf(attachment.vf);
  if (vf == nullptr) return "the function went away";
  // Bound, or on its way to be: nobody but us does that to a function of this lease.
  if (vf->driver == vf_driver || vf->driver_override == vf_driver) return "";
  if (vf->driver == kBusyDriver) return "";  // not known now
  const PfFacts& pf = facts.pfs.at(attachment.vf.pf);
  if (attachment.phase == AttachmentPhase::kReady) {
    return StrCat(
        "the function went away, or was taken from ", vf_driver, " (", vf->pci.ToString(), " is ",
        vf->driver.empty() ? std::string("without a driver") : StrCat("bound to ", vf->driver),
        ")");
  }
  const bool another = pf.identity == FunctionIdentity::kMac && vf->mac && vf->mac != port.mac;
  if (!another) return "";
  return StrCat("the function went away, and one with MAC ", vf->mac->ToString(),
                " came in its place");
}

}  // namespace fairlead
