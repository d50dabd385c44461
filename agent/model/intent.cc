// SPDX-License-Identifier: Apache-2.0
#include "agent/model/intent.h"

#include <type_traits>

#include "agent/base/text.h"

namespace fairlead {

std::string_view ObjectKindName(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::kVpc:
      return "vpc";
    case ObjectKind::kSubnet:
      return "subnet";
    case ObjectKind::kVm:
      return "vm";
    case ObjectKind::kPort:
      return "port";
    case ObjectKind::kEndpoint:
      return "endpoint";
    case ObjectKind::kRoute:
      return "route";
    case ObjectKind::kSecurityGroup:
      return "security-group";
  }
  return "object";
}

std::vector<PortMask> MasksOf(const PortRange& range) {
  std::vector<PortMask> masks;
  uint32_t next = range.first;
  while (next <= range.last) {
    // The largest power of two that begins here and does not reach beyond the end.
    uint32_t size = next == 0 ? 0x10000 : next & (~next + 1);
    while (next + size - 1 > range.last) size >>= 1;
    masks.push_back({static_cast<uint16_t>(next), static_cast<uint16_t>(~(size - 1))});
    next += size;
  }
  return masks;
}

std::string_view NetworkKindName(NetworkKind kind) {
  switch (kind) {
    case NetworkKind::kCompute:
      return "compute";
    case NetworkKind::kConverged:
      return "converged";
  }
  return "network";
}

std::string_view FunctionSourceName(FunctionSource source) {
  return source == FunctionSource::kHotplug ? "hotplug" : "vf";
}

std::string_view OffloadWishName(OffloadWish wish) {
  switch (wish) {
    case OffloadWish::kMust:
      return "must";
    case OffloadWish::kPrefer:
      return "prefer";
    case OffloadWish::kOff:
      return "off";
  }
  return "offload";
}

std::string SegmentName(const Vpc& vpc) {
  if (vpc.flat) return "flat";
  if (vpc.vlan) return StrCat("VLAN ", vpc.vlan->value());
  return vpc.vni ? StrCat("VNI ", vpc.vni->value()) : std::string("no segment");
}

const std::string& VpcOf(const Object& object) {
  static const std::string kNone;
  if (const auto* vpc = std::get_if<Vpc>(&object)) return vpc->id;
  return std::visit(
      [](const auto& value) -> const std::string& {
        if constexpr (requires { value.vpc; }) {
          return value.vpc;
        } else {
          return kNone;
        }
      },
      object);
}

std::string ObjectRef::ToString() const { return StrCat(ObjectKindName(kind), "/", id); }

ObjectRef RefOf(const Object& object) { return {KindOf(object), IdOf(object)}; }

template <ObjectKind kKind>
using OfKind = std::variant_alternative_t<static_cast<size_t>(kKind), Object>;
static_assert(std::is_same_v<OfKind<ObjectKind::kVpc>, Vpc>);
static_assert(std::is_same_v<OfKind<ObjectKind::kSubnet>, Subnet>);
static_assert(std::is_same_v<OfKind<ObjectKind::kVm>, Vm>);
static_assert(std::is_same_v<OfKind<ObjectKind::kPort>, Port>);
static_assert(std::is_same_v<OfKind<ObjectKind::kEndpoint>, Endpoint>);
static_assert(std::is_same_v<OfKind<ObjectKind::kRoute>, Route>);
static_assert(std::is_same_v<OfKind<ObjectKind::kSecurityGroup>, SecurityGroup>);

}  // namespace fairlead
