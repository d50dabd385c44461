// SPDX-License-Identifier: Apache-2.0
#include "agent/intent/kinds.h"

namespace fairlead {

v1::ObjectKind KindToProto(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::kVpc:
      return v1::OBJECT_KIND_VPC;
    case ObjectKind::kSubnet:
      return v1::OBJECT_KIND_SUBNET;
    case ObjectKind::kVm:
      return v1::OBJECT_KIND_VM;
    case ObjectKind::kPort:
      return v1::OBJECT_KIND_PORT;
    case ObjectKind::kEndpoint:
      return v1::OBJECT_KIND_ENDPOINT;
    case ObjectKind::kRoute:
      return v1::OBJECT_KIND_ROUTE;
    case ObjectKind::kSecurityGroup:
      return v1::OBJECT_KIND_SECURITY_GROUP;
  }
  return v1::OBJECT_KIND_UNSPECIFIED;
}

std::optional<ObjectKind> KindFromProto(v1::ObjectKind kind) {
  for (const ObjectKind known : kAllObjectKinds) {
    if (KindToProto(known) == kind) return known;
  }
  return std::nullopt;
}

}  // namespace fairlead
