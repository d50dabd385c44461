// SPDX-License-Identifier: Apache-2.0
#include "agent/base/encapsulation.h"

#include "agent/base/text.h"

namespace fairlead {

std::string_view Name(Encapsulation encapsulation) {
  return encapsulation == Encapsulation::kVxlan ? "vxlan" : "geneve";
}

absl::StatusOr<Encapsulation> ParseEncapsulation(std::string_view text) {
  for (const Encapsulation one : {Encapsulation::kVxlan, Encapsulation::kGeneve}) {
    if (text == Name(one)) return one;
  }
  return absl::InvalidArgumentError(StrCat("must be vxlan or geneve, not ", Quoted(text)));
}

uint16_t DefaultUdpPort(Encapsulation encapsulation) {
  return encapsulation == Encapsulation::kVxlan ? 4789 : 6081;
}

std::string_view DefaultTunnelDevice(Encapsulation encapsulation) {
  return encapsulation == Encapsulation::kVxlan ? "fl-vxlan0" : "fl-geneve0";
}

}  // namespace fairlead
