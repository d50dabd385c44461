// SPDX-License-Identifier: Apache-2.0
#include "agent/intent/rule_question.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/intent/intent_test_util.h"
#include "agent/intent/question_test_util.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

auto Parse(const std::string& fields) {
  return ParseRuleQuestion(RequestFromText("list_rules { " + fields + " }").list_rules());
}

RuleQuestion Good(const std::string& fields) { return Taken(Parse(fields)); }
std::string Bad(const std::string& fields) { return Mistakes(Parse(fields)); }

TEST(RuleQuestion, NothingIsNeeded) {
  const RuleQuestion question = Good("");
  EXPECT_EQ(question.limit, kMostRulesListed);
  EXPECT_EQ(question.match + question.port, "");
  EXPECT_FALSE(question.after || question.counters);
}

TEST(RuleQuestion, EveryFieldIsTaken) {
  const RuleQuestion question =
      Good("match: 'block-1000' port: 'a0' after: 'block-1000/2/1000/7' limit: 20 counters: true");
  EXPECT_EQ(question.match, "block-1000");
  EXPECT_EQ(question.port, "a0");
  EXPECT_EQ(question.after->ToString(), "block-1000/2/1000/7");
  EXPECT_EQ(question.limit, 20U);
  EXPECT_TRUE(question.counters);
}

TEST(RuleQuestion, WhatIsWrongIsToldByField) {
  EXPECT_EQ(Bad("match: '" + std::string(129, 'x') + "' port: 'a b' after: 'block' limit: 1001"),
            "list_rules.match: has 129 bytes; 128 are possible at most\n"
            "list_rules.port: the id 'a b' may hold only letters, digits, '.', '_' and '-'\n"
            "list_rules.limit: 1001 is more than a page has, 1000\n"
            "list_rules.after: 'block' is no place of a rule, as block-1000/2/1000/7\n");
}

TEST(RuleQuestion, AListIsSaidWithPlacesStatesAndCounters) {
  RuleList list;
  RuleView view;
  view.location = *RuleLocation::Parse("block-1000/2/1000/7");
  view.state = RuleState::kSlowPath;
  view.counters = RuleCounters{{5, 420}, {3, 252}};
  list.rules = {view, RuleView()};
  list.next = view.location;
  list.counters_problem = "late";
  v1::RuleList out;
  ToProto(list, &out);
  EXPECT_EQ(out.rules(0).table(), "block-1000");
  EXPECT_EQ(out.rules(0).chain(), 2U);
  EXPECT_EQ(out.rules(0).priority(), 1000U);
  EXPECT_EQ(out.rules(0).handle(), 7U);
  EXPECT_EQ(out.rules(0).state(), "slow path");
  EXPECT_EQ(out.rules(0).counters().packets(), 5U);
  EXPECT_EQ(out.rules(0).counters().bytes(), 420U);
  EXPECT_EQ(out.rules(0).counters().hardware_packets(), 3U);
  EXPECT_EQ(out.rules(0).counters().hardware_bytes(), 252U);
  EXPECT_FALSE(out.rules(1).has_counters()) << "not read is not none";
  EXPECT_EQ(out.next(), "block-1000/2/1000/7");
  EXPECT_EQ(out.counters_problem(), "late");
}

}  // namespace
}  // namespace fairlead
