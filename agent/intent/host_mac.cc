// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <optional>
#include <set>

#include "agent/base/text.h"
#include "agent/intent/check.h"

namespace fairlead {
namespace {

// What the NICs of one network can give, once for all ports of a message.
struct FixedMacs {
  bool any_mac_possible = true;  // or not known
  std::set<MacAddress> macs;
  std::vector<std::string> nics;  // "pf0 (0000:01:00.0, driver igb)"
};

FixedMacs Survey(NetworkKind network, const HostFacts& facts) {
  FixedMacs result;
  bool found = false;
  for (const auto& [mac, pf] : facts.pfs) {
    if (pf.is_hotplug_port() || pf.network != network || !pf.refused.empty()) continue;
    found = true;
    if (pf.can_set_vf_mac || pf.vfs.empty()) return {};
    for (const VfFacts& vf : pf.vfs) {
      if (!vf.mac) return {};
      result.macs.insert(*vf.mac);
    }
    result.nics.push_back(StrCat(pf.netdev.empty() ? mac.ToString() : pf.netdev, " (",
                                 pf.pci.ToString(), ", driver ", pf.driver, ")"));
  }
  result.any_mac_possible = !found;
  return result;
}

std::string List(const std::set<MacAddress>& macs) {
  constexpr size_t kMaxNamed = 16;
  std::vector<std::string> named;
  for (const MacAddress& mac : macs) {
    if (named.size() == kMaxNamed) {
      return StrCat(StrJoin(named, ", "), " and ", macs.size() - kMaxNamed, " more");
    }
    named.push_back(mac.ToString());
  }
  return StrJoin(named, ", ");
}

}  // namespace

void CheckMacAgainstHost(const Draft& draft, const World& world, const HostFacts& facts,
                         Violations* out) {
  std::map<NetworkKind, FixedMacs> surveys;
  for (const Candidate& c : draft.upserts) {
    const Port* port = std::get_if<Port>(&c.object);
    if (port == nullptr || !port->mac || !c.Ok("mac") || !c.Ok("network")) continue;
    if (port->function != FunctionSource::kVf) continue;
    const Port* before = world.FindPort(port->id);
    // What was accepted once is not refused when it is sent again.
    if (before != nullptr && before->mac == port->mac && before->network == port->network) continue;
    auto [it, inserted] = surveys.try_emplace(port->network);
    if (inserted) it->second = Survey(port->network, facts);
    const FixedMacs& fixed = it->second;
    if (fixed.any_mac_possible || fixed.macs.contains(*port->mac)) continue;
    out->Add(c.origin.Field("mac"), ViolationCode::kUnsupported,
             StrCat("no VF of the ", NetworkKindName(port->network), " network can have MAC ",
                    port->mac->ToString(), ": NIC ", StrJoin(fixed.nics, ", "),
                    " cannot set a VF's MAC, and its VFs have ", List(fixed.macs),
                    "; use one of these, or leave the MAC empty"));
  }
}

}  // namespace fairlead
