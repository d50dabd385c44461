// SPDX-License-Identifier: Apache-2.0
#include "agent/model/facts.h"

#include <algorithm>

#include "agent/base/text.h"
#include "agent/model/resource.h"

namespace fairlead {

bool InUse(const VfFacts& vf, const std::string& vf_driver) {
  // A host driver whose netdev is down serves nobody.
  return !vf.driver.empty() && (vf.driver == vf_driver || vf.netdev.empty() || vf.netdev_up);
}

std::string WhyInUse(const VfFacts& vf, const std::string& vf_driver) {
  if (!InUse(vf, vf_driver)) return "";
  if (vf.driver == vf_driver) return StrCat("in use by someone else (bound to ", vf.driver, ")");
  if (vf.netdev.empty()) {
    return StrCat("in use by the host (bound to ", vf.driver,
                  ", no netdev of it is visible in this network namespace)");
  }
  return StrCat("in use by the host (its netdev ", vf.netdev, " of ", vf.driver, " is up)");
}

PfFacts::Serves PfFacts::serves() const {
  const bool representors = std::any_of(vfs.begin(), vfs.end(), [](const VfFacts& vf) {
    return !vf.representor.empty() || !vf.representor_awaited.empty();
  });
  // One that is to be switched and is not yet has none of it to give.
  const EswitchMode mode =
      wanted_eswitch.mode.value_or(eswitch.mode.value_or(EswitchMode::kLegacy));
  if (mode == EswitchMode::kSwitchdevInactive) return Serves::kNothing;
  if (mode == EswitchMode::kSwitchdev || representors) return Serves::kByRules;
  return can_set_vf_mac || vfs.empty() ? Serves::kVlan : Serves::kNothing;
}

TunnelFacts TunnelFactsOf(const ObservedResource& tunnel) {
  const auto& spec = std::get<TunnelSpec>(tunnel.spec);
  return {spec.device, tunnel.ifindex, spec.local, spec.udp_port, spec.mtu, spec.encapsulation};
}

const VfFacts* HostFacts::FindVf(const VfId& id) const {
  auto pf = pfs.find(id.pf);
  if (pf == pfs.end()) return nullptr;
  // Not indexed directly: a VF that is just coming up may be missing.
  for (const VfFacts& vf : pf->second.vfs) {
    if (vf.index == id.index) return &vf;
  }
  return nullptr;
}

std::string_view AttachmentPhaseName(AttachmentPhase phase) {
  switch (phase) {
    case AttachmentPhase::kApplying:
      return "applying";
    case AttachmentPhase::kReady:
      return "ready";
    case AttachmentPhase::kRollingBack:
      return "rolling-back";
    case AttachmentPhase::kReleasing:
      return "releasing";
  }
  return "attachment";
}

std::optional<RuleTable> Attachment::block() const {
  if (vni) return RuleTable{.kind = RuleTable::Kind::kVpcBlock, .vni = *vni};
  if (!uplink) return std::nullopt;
  return RuleTable{.kind = RuleTable::Kind::kProviderBlock,
                   .pf = vf.pf,
                   .vlan = vlan ? vlan->value() : uint16_t{0}};
}

std::string GuestDeviceIdOf(uint32_t store_id, const Attachment& attachment) {
  if (!attachment.guest_id.empty()) return attachment.guest_id;
  return GuestDeviceId(store_id, attachment.port_ordinal, attachment.lease);
}

}  // namespace fairlead
