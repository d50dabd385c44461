// SPDX-License-Identifier: Apache-2.0
//
// Purpose: objects as people write them in files, to the wire's Apply:
//
//   kind: Port            # Vpc, Subnet, Vm, Port, Endpoint
//   id: a0                # then the fields of that message, by the same names
//   vm: a
//   vpc: red
//   subnet: red-1
//   addresses: [10.0.0.5]
//   network: compute      # or converged
//   offload: prefer       # or must, off
//   ---
//   kind: ...
//
// Only the form is checked here; what the values mean is the agent's to judge.
//
// Threading: pure functions. Errors: as problems with line and column, all that
// were found, at most kMaxYamlProblems.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/yaml/yaml_tree.h"

namespace fairlead::v1 {
class Apply;
}  // namespace fairlead::v1

namespace fairlead {

// `out` is complete only when no problem is returned.
std::vector<YamlProblem> ReadObjects(std::string_view text, v1::Apply* out);

// "compute", "converged"; "must", "prefer", "off". False for any other text.
bool ParseNetwork(std::string_view text, int* out);
bool ParseOffload(std::string_view text, int* out);

}  // namespace fairlead
