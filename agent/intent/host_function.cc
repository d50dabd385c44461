// SPDX-License-Identifier: Apache-2.0
//
// Ports whose function hot-plug brings: what such a port may ask of this host.
#include <algorithm>

#include "agent/base/text.h"
#include "agent/intent/check.h"

namespace fairlead {
namespace {

std::string WhyNoneFits(NetworkKind network,
                        const std::vector<AdmissionLimits::HotplugPort>& here) {
  if (here.empty()) {
    return "this host has no hot-plug port: its configuration lists none (hotplug_ports)";
  }
  // There are two networks: what is not of the one is of the other.
  const std::string_view other = NetworkKindName(here.front().network);
  return StrCat("this host has no hot-plug port of the ", NetworkKindName(network),
                " network, but of the ", other, " one: that is asked for with 'network: ", other,
                "'");
}

}  // namespace

void CheckHotplugPorts(const Draft& draft, const World& world,
                       const std::vector<AdmissionLimits::HotplugPort>& here, Violations* out) {
  for (const Candidate& c : draft.upserts) {
    const Port* port = std::get_if<Port>(&c.object);
    if (port == nullptr || port->function != FunctionSource::kHotplug || !c.Ok("function")) {
      continue;
    }
    if (c.Ok("offload") && port->offload != OffloadWish::kPrefer) {
      out->Add(c.origin.Field("offload"), ViolationCode::kUnsupported,
               StrCat("offload ", OffloadWishName(port->offload),
                      " cannot be promised: whoever brings the function (a DPU) forwards for it, "
                      "and this host makes no rule; leave it out"));
    }
    const Port* before = c.Ok("id") ? world.FindPort(port->id) : nullptr;
    if (before != nullptr && before->function == FunctionSource::kHotplug && c.Ok("mac") &&
        before->mac != port->mac) {
      out->Add(c.origin.Field("mac"), ViolationCode::kConflict,
               StrCat("the MAC of port/", port->id, " cannot change from ",
                      before->mac ? before->mac->ToString() : "none", " to ",
                      port->mac ? port->mac->ToString() : "none",
                      ": it says which function is meant; remove the port and add another"));
      continue;
    }
    // What was accepted once is not refused when it is sent again.
    if (before != nullptr && before->function == FunctionSource::kHotplug && c.Ok("network") &&
        before->network == port->network) {
      continue;
    }
    if (!c.Ok("network")) continue;
    const auto fits = [&](const AdmissionLimits::HotplugPort& one) {
      return one.network == port->network;
    };
    if (std::none_of(here.begin(), here.end(), fits)) {
      out->Add(c.origin.Field("function"), ViolationCode::kUnsupported,
               WhyNoneFits(port->network, here));
      continue;
    }
    const auto by_slot = [&](const AdmissionLimits::HotplugPort& one) {
      return fits(one) && one.identity == FunctionIdentity::kSlot;
    };
    if (!port->mac && c.Ok("mac") && std::none_of(here.begin(), here.end(), by_slot)) {
      out->Add(c.origin.Field("mac"), ViolationCode::kInvalid,
               "is missing: the hot-plug ports of this host know a function by its MAC");
    }
  }
}

}  // namespace fairlead
