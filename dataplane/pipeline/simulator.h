// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a set of rules on which tests run packets: where a frame comes out, and as what. Each
// chain is to end in a drop; that of chain 0 is added by the caller, as its provider makes it.
//
// Threading: plain values. Errors: what the interpreter finds wrong, and rules that TC would not
// take together, are noted in `faults`.
#pragma once

#include <string>
#include <vector>

#include "dataplane/pipeline/interpreter.h"

namespace fairlead {

class PipelineSimulator {
 public:
  // Replaces nothing: a location used twice is a fault.
  void Add(const std::vector<FlowRule>& rules);
  FlowOutcome Run(const RuleTable& table, const FlowPacket& packet);
  const std::vector<std::string>& faults() const { return faults_; }

 private:
  std::vector<FlowRule> rules_;
  std::vector<std::string> faults_;
};

}  // namespace fairlead
