// SPDX-License-Identifier: Apache-2.0
//
// Purpose: objects as people write them in files, to the wire's Apply:
//
//   kind: Port            # Vpc, Subnet, Vm, Port, Endpoint, Route
//   id: a0                # then the fields of that message, by the same names
//   vm: a
//   vpc: red
//   subnet: red-1
//   addresses: [10.0.0.5]
//   allowed_pairs:        # what it may send from beside these
//     - {prefix: 10.0.0.100}                           # mac: its own
//     - {mac: "02:00:5e:00:01:07", prefix: 10.0.9.0/24}
//   network: compute      # or converged
//   offload: prefer       # or must, off
//   spoof_check: on       # or off; with trust: in a VLAN network
//   max_tx_mbps: 10000    # what it may send; min_tx_mbps: its share
//   function: vf          # or hotplug
//   ---
//   kind: ...
//
// Only the form is checked here; what the values mean is the agent's to judge.
//
// Threading: pure functions. Errors: as problems with line and column, all that
// were found, at most kMaxYamlProblems.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/yaml/yaml_tree.h"

namespace fairlead::v1 {
class Apply;
}  // namespace fairlead::v1

namespace fairlead {

// Where each part of an Apply stands in its text, by the path that the agent's
// refusals name it by: "apply.upsert[2].port.addresses[0]".
class ObjectPlaces {
 public:
  void Add(std::string path, const YamlNode& at) {
    places_[std::move(path)] = {at.line, at.column};
  }
  // "NAME:LINE:COLUMN: port.addresses[0]", of the text `name`; of what is not there, the
  // place of what it would be in. A path that is of no object is returned as it is.
  std::string Describe(std::string_view name, const std::string& path) const;

 private:
  struct Place {
    int line = 0;
    int column = 0;
  };
  std::map<std::string, Place, std::less<>> places_;
};

// `out` and `places`, which may be null, are complete only when no problem is returned.
std::vector<YamlProblem> ReadObjects(std::string_view text, v1::Apply* out,
                                     ObjectPlaces* places = nullptr);

// "compute", "converged"; "must", "prefer", "off"; "on", "off"; "vf", "hotplug". False for
// any other text.
bool ParseNetwork(std::string_view text, int* out);
bool ParseOffload(std::string_view text, int* out);
bool ParseSpoofCheck(std::string_view text, int* out);
bool ParseFunction(std::string_view text, int* out);

}  // namespace fairlead
