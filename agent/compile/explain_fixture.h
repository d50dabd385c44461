// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the tests of explanations share: a world, what is compiled of it, and a kernel
// that has all of that in hardware until a test says otherwise.
//
// Threading: the test's thread.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "agent/compile/explain_flow.h"

namespace fairlead {

class ExplainFixture : public ::testing::Test {
 protected:
  static IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }
  static MacAddress Mac(uint8_t n) { return MacAddress({0x52, 0x54, 0, 0, 0, n}); }

  void Put(Object object, uint32_t ordinal) {
    Change change;
    change.upserts = {{std::move(object), 1, ordinal}};
    world_.Apply(change);
  }
  void AddCompiled(const std::vector<FlowRule>& rules) {
    compiled_.insert(compiled_.end(), rules.begin(), rules.end());
  }
  // What is compiled is what the kernel has.
  void Stand() {
    std::sort(compiled_.begin(), compiled_.end(),
              [](const FlowRule& a, const FlowRule& b) { return a.location < b.location; });
    seen_.clear();
    for (const FlowRule& rule : compiled_) PutInKernel(rule);
  }
  RuleEvidence& PutInKernel(const FlowRule& rule) {
    RuleEvidence& seen = seen_[rule.location.table]
                             .rules.emplace_back(ObservedRule{PlaceOf(rule.location), {}})
                             .seen;
    seen.ours = true;
    seen.ethertype = rule.match.ethertype;
    seen.content_hash = rule.ContentHash();
    seen.hardware = RuleHardware::kInHardware;
    seen.in_hw_count = 9;
    return seen;
  }

  RuleEvidence& At(const std::string& location) {
    for (auto& [table, seen] : seen_) {
      for (ObservedRule& rule : seen.rules) {
        if (fairlead::At(table, rule.place).ToString() == location) return rule.seen;
      }
    }
    ADD_FAILURE() << location << " is not there";
    return seen_.begin()->second.rules.front().seen;
  }
  void Remove(const std::string& location) {
    size_t removed = 0;
    for (auto& [table, seen] : seen_) {
      removed += std::erase_if(seen.rules, [&, &of = table](const ObservedRule& rule) {
        return fairlead::At(of, rule.place).ToString() == location;
      });
    }
    ASSERT_EQ(removed, 1U) << location;
  }
  void PutForeign(const RuleLocation& at, uint16_t ethertype = kEtherAll) {
    FlowRule rule;
    rule.location = at;
    rule.match.ethertype = ethertype;
    PutInKernel(rule).ours = false;
    seen_[at.table].foreign[PlaceOf(at)] = "a matchall rule that this agent did not make";
  }

  virtual FlowHost Host() {
    FlowHost host;
    host.world = &world_;
    host.bound = [this](const std::string& port) {
      const auto it = bound_.find(port);
      return it == bound_.end() ? nullptr : &it->second;
    };
    host.state = [this](const ObjectRef& ref) { return states_[ref]; };
    host.port_with_mac = [this](const std::string& vpc, const MacAddress& mac) {
      for (const auto& [id, port] : bound_) {
        if (port.vpc == vpc && port.mac == mac) return std::optional<std::string>(id);
      }
      return std::optional<std::string>();
    };
    host.not_answered = [this](const std::string&) { return not_answered_; };
    return host;
  }
  static FlowQuestion From(const std::string& port, const std::string& to) {
    FlowQuestion question;
    question.port = port;
    question.to = Ip(to);
    return question;
  }
  FlowExplanation ExplainWith(const FlowQuestion& question, const ObservedResource* next_hop) {
    const absl::StatusOr<FlowScene> scene = SceneOf(question, Host());
    EXPECT_TRUE(scene.ok()) << scene.status();
    if (!scene.ok()) return {};
    FlowExplanation out = ExplainFlow(*scene, compiled_, seen_[scene->table]);
    JudgePath(next_hop, out);
    return out;
  }
  absl::Status Refused(const FlowQuestion& question) { return SceneOf(question, Host()).status(); }

  World world_;
  std::map<std::string, BoundPort> bound_;
  std::map<ObjectRef, std::string> states_;
  std::string not_answered_;
  std::vector<FlowRule> compiled_;
  std::map<RuleTable, ObservedRules> seen_;
};

}  // namespace fairlead
