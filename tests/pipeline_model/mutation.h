// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the tests of both models share: the model's verdict on random frames against that
// of the compiled rules, and compilers that get one thing wrong, as changes of the rules.
//
// Environment: FAIRLEAD_SEED=N runs that network alone and tells each frame;
//              FAIRLEAD_SEEDS=N runs so many (default 60).
// Threading: plain functions.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/text.h"
#include "agent/model/flow_rule.h"
#include "dataplane/pipeline/simulator.h"

namespace fairlead::pipeline_model {

inline constexpr uint64_t kFramesPerNetwork = 400;
// In so many networks a wrong compiler is seen.
inline constexpr uint64_t kNetworksPerMutation = 60;

using Rules = std::vector<FlowRule>;
using RuleChange = std::function<void(Rules&)>;

struct Mutation {
  const char* name;
  RuleChange apply;
};

// Changes every rule.
inline RuleChange Each(std::function<void(FlowRule&)> change) {
  return [change = std::move(change)](Rules& rules) {
    for (FlowRule& rule : rules) change(rule);
  };
}
inline RuleChange Without(std::function<bool(const FlowRule&)> which) {
  return [which = std::move(which)](Rules& rules) { std::erase_if(rules, which); };
}

// The first disagreement over a network's frames, or fault, in words; "" = none. `compiled` has
// the rules and says what a simulator with them makes of a frame.
template <typename Network, typename Compiled, typename NextFrame>
std::string FirstDisagreement(const Network& network, const Compiled& compiled,
                              const NextFrame& next, bool tell) {
  PipelineSimulator simulator;
  simulator.Add(compiled.rules);
  for (uint64_t i = 0; i < kFramesPerNetwork; ++i) {
    const auto frame = next();
    const auto wanted = Judge(network, frame);
    const auto got = compiled.Run(simulator, frame);
    if (tell) std::printf("%s: %s\n", frame.ToString().c_str(), wanted.ToString().c_str());
    if (wanted != got) {
      return StrCat(frame.ToString(), ": the model says ", wanted.ToString(), ", the rules ",
                    got.ToString());
    }
    if (!simulator.faults().empty()) {
      return StrCat(frame.ToString(), ": ", simulator.faults().front());
    }
  }
  return "";
}

// FirstDisagreement over the random network of a seed, whose rules `mutate`, unless it is null,
// has changed.
using Disagreement = std::string(uint64_t seed, const RuleChange& mutate, bool tell);

inline uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

inline void ExpectAgreement(Disagreement& disagreement) {
  if (const uint64_t seed = FromEnvironment("FAIRLEAD_SEED", 0); seed != 0) {
    EXPECT_EQ(disagreement(seed, nullptr, true), "");
    return;
  }
  for (uint64_t seed = 1; seed <= FromEnvironment("FAIRLEAD_SEEDS", 60); ++seed) {
    ASSERT_EQ(disagreement(seed, nullptr, false), "") << "FAIRLEAD_SEED=" << seed;
  }
}

inline void ExpectCaught(const Mutation& mutation, Disagreement& disagreement) {
  for (uint64_t seed = 1; seed <= kNetworksPerMutation; ++seed) {
    if (!disagreement(seed, mutation.apply, false).empty()) return;
  }
  ADD_FAILURE() << "a compiler that does this is not noticed: " << mutation.name;
}

}  // namespace fairlead::pipeline_model
