// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a request to an agent with a small world: a refusal with reasons,
// or a change that leaves a consistent world, or a question that can be asked.
#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "agent/intent/flow_question.h"
#include "agent/intent/intent_test_util.h"
#include "agent/intent/rule_question.h"
#include "fairlead/v1/agent.pb.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);  // says so for each text that is not UTF-8
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fairlead::World small = fairlead::SmallWorld();
  fairlead::v1::Request request;
  const auto refused =
      fairlead::DecodeRequest({reinterpret_cast<const char*>(data), size}, &request);
  if (refused.size() > fairlead::kMaxViolations) std::abort();
  auto flow = fairlead::ParseFlowQuestion(request.explain_flow());
  if (auto* violations = std::get_if<std::vector<fairlead::Violation>>(&flow)) {
    if (violations->empty() || violations->size() > fairlead::kMaxViolations) std::abort();
  } else if (const auto& question = std::get<fairlead::FlowQuestion>(flow);
             question.port.empty() ? !question.vtep || !question.vni || !question.dst_mac
                                   : !question.to || question.vtep || question.vni) {
    std::abort();
  }
  auto rules = fairlead::ParseRuleQuestion(request.list_rules());
  if (auto* violations = std::get_if<std::vector<fairlead::Violation>>(&rules)) {
    if (violations->empty()) std::abort();
  } else if (const auto& page = std::get<fairlead::RuleQuestion>(rules);
             page.limit == 0 || page.limit > fairlead::kMostRulesListed ||
             (page.after ? page.after->ToString() : "") != request.list_rules().after()) {
    std::abort();
  }
  // Also what a decoder should have refused must not break the world.
  auto result = fairlead::Admit(request, small, {}, {});
  if (auto* violations = std::get_if<std::vector<fairlead::Violation>>(&result)) {
    if (violations->empty() || violations->size() > fairlead::kMaxViolations) std::abort();
    return 0;
  }
  fairlead::World world = small;
  world.Apply(std::get<fairlead::Change>(result));
  if (!fairlead::BrokenInvariant(world).empty()) std::abort();
  return 0;
}
