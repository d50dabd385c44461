// SPDX-License-Identifier: Apache-2.0
#include "agent/model/resource.h"

#include "absl/strings/str_format.h"
#include "agent/base/text.h"

namespace fairlead {

std::string_view ResourceKindName(ResourceKind kind) {
  switch (kind) {
    case ResourceKind::kVfPool:
      return "vf-pool";
    case ResourceKind::kPf:
      return "pf";
    case ResourceKind::kTunnel:
      return "tunnel";
    case ResourceKind::kNeighbour:
      return "neighbour";
    case ResourceKind::kVf:
      return "vf";
    case ResourceKind::kRepresentor:
      return "representor";
    case ResourceKind::kFlowRule:
      return "flow-rule";
    case ResourceKind::kDriverBinding:
      return "driver-binding";
    case ResourceKind::kGuestDevice:
      return "guest-device";
  }
  return "resource";
}

std::string ResourceKey::ToString() const { return StrCat(ResourceKindName(kind), "/", name); }

ResourceKey VfPoolKey(const NicId& pf) { return {ResourceKind::kVfPool, pf.ToString()}; }
ResourceKey PfKey(const NicId& pf) { return {ResourceKind::kPf, pf.ToString()}; }
ResourceKey TunnelKey() { return {ResourceKind::kTunnel, "host"}; }
ResourceKey NeighbourKey(const IpAddress& outer) {
  return {ResourceKind::kNeighbour, outer.ToString()};
}
ResourceKey VfKey(const VfId& vf) { return {ResourceKind::kVf, vf.ToString()}; }
ResourceKey RepresentorKey(const VfId& vf) { return {ResourceKind::kRepresentor, vf.ToString()}; }
ResourceKey FlowRuleKey(const RuleLocation& location) {
  return {ResourceKind::kFlowRule, location.ToString()};
}
ResourceKey DriverBindingKey(const VfId& vf) {
  return {ResourceKind::kDriverBinding, vf.ToString()};
}
ResourceKey GuestDeviceKey(std::string_view vm, std::string_view port) {
  // Object ids hold no '/', so the name cannot be ambiguous.
  return {ResourceKind::kGuestDevice, StrCat(vm, "/", port)};
}

std::string GuestDeviceId(uint32_t store_id, uint32_t port_ordinal, Lease lease) {
  return StrCat(kGuestDevicePrefix, absl::StrFormat("%08x", store_id), "-p", port_ordinal, "-l",
                lease);
}

}  // namespace fairlead
