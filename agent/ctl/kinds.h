// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the kinds that `get` and the others know, by their names.
// Threading: constants. Errors: none.
#pragma once

#include <string>
#include <string_view>

namespace fairlead {

struct KindName {
  const char* plural;
  const char* singular;
  bool object;  // a controller makes it, and it has a status and events
};

inline constexpr KindName kKinds[] = {{"vpcs", "vpc", true},
                                      {"subnets", "subnet", true},
                                      {"vms", "vm", true},
                                      {"ports", "port", true},
                                      {"endpoints", "endpoint", true},
                                      {"routes", "route", true},
                                      {"security-groups", "security-group", true},
                                      {"pfs", "pf", false},
                                      {"vfs", "vf", false},
                                      {"rules", "rule", false},
                                      {"drifts", "drift", false},
                                      {"foreign", "foreign", false}};

// The singular of either form, "" if there is no such kind.
inline std::string Singular(std::string_view kind) {
  for (const KindName& name : kKinds) {
    if (kind == name.plural || kind == name.singular) return name.singular;
  }
  return "";
}

// Whether objects of this kind (singular) are made by controllers.
inline bool IsObjectKind(std::string_view kind) {
  for (const KindName& name : kKinds) {
    if (kind == name.singular) return name.object;
  }
  return false;
}

}  // namespace fairlead
