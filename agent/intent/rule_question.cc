// SPDX-License-Identifier: Apache-2.0
#include "agent/intent/rule_question.h"

#include <string>
#include <utility>

#include "agent/base/text.h"
#include "agent/intent/parse.h"
#include "agent/intent/violations.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

constexpr size_t kMostMatched = 128;

}  // namespace

std::variant<RuleQuestion, std::vector<Violation>> ParseRuleQuestion(const v1::ListRules& wire) {
  Violations violations;
  const auto bad = [&violations](const char* field, std::string why) {
    violations.Add(StrCat("list_rules.", field), ViolationCode::kInvalid, std::move(why));
  };
  RuleQuestion question;
  question.match = wire.match();
  question.port = wire.port();
  question.counters = wire.counters();
  if (wire.match().size() > kMostMatched) {
    bad("match",
        StrCat("has ", wire.match().size(), " bytes; ", kMostMatched, " are possible at most"));
  }
  if (!wire.port().empty()) CheckId(wire.port(), "list_rules.port", &violations);
  if (wire.limit() > kMostRulesListed) {
    bad("limit", StrCat(wire.limit(), " is more than a page has, ", kMostRulesListed));
  } else if (wire.limit() != 0) {
    question.limit = wire.limit();
  }
  if (!wire.after().empty()) {
    const absl::StatusOr<RuleLocation> after = RuleLocation::Parse(wire.after());
    if (after.ok()) {
      question.after = *after;
    } else {
      bad("after", std::string(after.status().message()));
    }
  }
  if (!violations.empty()) return std::move(violations).Take();
  return question;
}

void ToProto(const RuleCounters& counters, v1::Counters* out) {
  out->set_packets(counters.all.packets);
  out->set_bytes(counters.all.bytes);
  out->set_hardware_packets(counters.hardware.packets);
  out->set_hardware_bytes(counters.hardware.bytes);
}

void ToProto(const PortTraffic& traffic, v1::Traffic* out) {
  ToProto(traffic.sent, out->mutable_sent());
  ToProto(traffic.received, out->mutable_received());
}

void ToProto(const RuleList& list, v1::RuleList* out) {
  for (const RuleView& rule : list.rules) {
    v1::RuleList::Rule* item = out->add_rules();
    item->set_location(rule.location.ToString());
    item->set_table(rule.location.table.ToString());
    item->set_chain(rule.location.chain);
    item->set_priority(rule.location.priority);
    item->set_handle(rule.location.handle);
    item->set_stage(rule.stage);
    item->set_text(rule.text);
    item->set_owner(rule.owner);
    item->set_state(std::string(RuleStateName(rule.state)));
    item->set_detail(rule.detail);
    item->set_in_hw_count(rule.in_hw_count);
    item->set_offered(rule.offered);
    if (rule.counters) ToProto(*rule.counters, item->mutable_counters());
  }
  if (list.next) out->set_next(list.next->ToString());
  out->set_counters_problem(list.counters_problem);
}

}  // namespace fairlead
