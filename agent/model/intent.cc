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
  }
  return "object";
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
  if (vpc.vlan) return StrCat("VLAN ", vpc.vlan->value());
  return vpc.vni ? StrCat("VNI ", vpc.vni->value()) : std::string("no segment");
}

std::string ObjectRef::ToString() const { return StrCat(ObjectKindName(kind), "/", id); }

ObjectRef RefOf(const Object& object) {
  return std::visit(
      [](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        ObjectKind kind = ObjectKind::kEndpoint;
        if constexpr (std::is_same_v<T, Vpc>) {
          kind = ObjectKind::kVpc;
        } else if constexpr (std::is_same_v<T, Subnet>) {
          kind = ObjectKind::kSubnet;
        } else if constexpr (std::is_same_v<T, Vm>) {
          kind = ObjectKind::kVm;
        } else if constexpr (std::is_same_v<T, Port>) {
          kind = ObjectKind::kPort;
        } else {
          static_assert(std::is_same_v<T, Endpoint>);
        }
        return ObjectRef{kind, value.id};
      },
      object);
}

}  // namespace fairlead
