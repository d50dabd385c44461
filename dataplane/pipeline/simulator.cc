// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/simulator.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "agent/base/text.h"

namespace fairlead {

void PipelineSimulator::Add(const std::vector<FlowRule>& rules) {
  rules_.insert(rules_.end(), rules.begin(), rules.end());
  std::stable_sort(rules_.begin(), rules_.end(),
                   [](const FlowRule& a, const FlowRule& b) { return a.location < b.location; });
  for (size_t i = 1; i < rules_.size(); ++i) {
    const RuleLocation& before = rules_[i - 1].location;
    const RuleLocation& at = rules_[i].location;
    if (at == before) faults_.push_back(StrCat("location used twice: ", rules_[i].ToString()));
    if (at.table == before.table && at.chain == before.chain && at.priority == before.priority &&
        rules_[i].match.ethertype != rules_[i - 1].match.ethertype) {
      faults_.push_back(StrCat("two protocols in one priority: ", rules_[i].ToString()));
    }
  }
}

FlowOutcome PipelineSimulator::Run(const RuleTable& table, const FlowPacket& packet) {
  FlowWalk walk = WalkRules(rules_, table, packet);
  std::move(walk.faults.begin(), walk.faults.end(), std::back_inserter(faults_));
  return std::move(walk.outcome);
}

}  // namespace fairlead
