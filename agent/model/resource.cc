// SPDX-License-Identifier: Apache-2.0
#include "agent/model/resource.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
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
    case ResourceKind::kUplink:
      return "uplink";
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

std::string ResourceKey::ToString() const {
  return StrCat(ResourceKindName(kind), "/",
                kind == ResourceKind::kFlowRule ? rule.ToString() : name);
}

ResourceKey VfPoolKey(const NicId& pf) { return {ResourceKind::kVfPool, pf.ToString()}; }
ResourceKey PfKey(const NicId& pf) { return {ResourceKind::kPf, pf.ToString()}; }
ResourceKey TunnelKey() { return {ResourceKind::kTunnel, "host"}; }
ResourceKey UplinkKey(const NicId& pf) { return {ResourceKind::kUplink, pf.ToString()}; }
ResourceKey NeighbourKey(const IpAddress& outer) {
  return {ResourceKind::kNeighbour, outer.ToString()};
}
ResourceKey VfKey(const VfId& vf) { return {ResourceKind::kVf, vf.ToString()}; }
ResourceKey RepresentorKey(const VfId& vf) { return {ResourceKind::kRepresentor, vf.ToString()}; }
ResourceKey FlowRuleKey(const RuleLocation& location) {
  return {ResourceKind::kFlowRule, "", location};
}
ResourceKey FirstRuleKey(const RuleTable& table) { return FlowRuleKey({table, 0, 0, 0}); }
bool IsRuleOf(const ResourceKey& key, const RuleTable& table) {
  return key.kind == ResourceKind::kFlowRule && key.rule.table == table;
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

std::optional<GuestDeviceName> ParseGuestDeviceId(std::string_view id) {
  if (!id.starts_with(kGuestDevicePrefix)) return std::nullopt;
  const std::vector<std::string> parts = absl::StrSplit(
      absl::string_view(id.data(), id.size()).substr(kGuestDevicePrefix.size()), '-');
  GuestDeviceName name;
  if (parts.size() != 3 || !absl::SimpleHexAtoi(parts[0], &name.store) ||
      !absl::SimpleAtoi(parts[1].substr(std::min<size_t>(1, parts[1].size())),
                        &name.port_ordinal) ||
      !absl::SimpleAtoi(parts[2].substr(std::min<size_t>(1, parts[2].size())), &name.lease)) {
    return std::nullopt;
  }
  // Only what GuestDeviceId makes, to the letter.
  if (id != GuestDeviceId(name.store, name.port_ordinal, name.lease)) return std::nullopt;
  return name;
}

}  // namespace fairlead
