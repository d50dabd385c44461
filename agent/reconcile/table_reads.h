// SPDX-License-Identifier: Apache-2.0
//
// Purpose: reads rule tables from the kernel for whoever asks. Of each table one reading of a kind
// is under way at a time, and serves many: where it is held up, those who ask do not pile up in
// the table's lane.
//
// Threading: owned by the loop thread. Ownership: does not own the executor, which outlives it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/model/resource.h"
#include "agent/reconcile/executor.h"

namespace fairlead {

class TableReads {
 public:
  // Whether whoever asked waits no longer: nothing is read for him, nor is he answered.
  using Over = std::function<bool()>;
  using Seen = std::function<void(const absl::StatusOr<ObservedRules>&)>;
  using Counted = std::function<void(absl::StatusOr<Executor::RuleCounts>)>;

  explicit TableReads(Executor* executor) : executor_(executor) {}

  // All of a table, with how many devices took each rule. Of a reading that is under way he gets
  // the result, too.
  void Read(const RuleTable& table, Over over, Seen done);
  // The counters of rules of one table; result i belongs to rule i. What is asked for while others
  // are read is read behind them, all of it together.
  void Count(const RuleTable& table, std::vector<RuleToCount> rules, Over over, Counted done);

 private:
  struct Reader {
    Over over;
    Seen done;
  };
  struct Counter {
    std::vector<RuleToCount> rules;
    Over over;
    Counted done;
  };
  struct Counting {
    bool under_way = false;
    std::vector<Counter> waiting;
  };
  void CountNext(const RuleTable& table);
  using Places = std::map<RuleLocation, size_t>;  // of each rule, among those that are read
  static void Share(const std::vector<Counter>& asked, const Places& places,
                    const absl::StatusOr<Executor::RuleCounts>& counts);

  Executor* executor_;
  std::map<RuleTable, std::vector<Reader>> reading_;
  std::map<RuleTable, Counting> counting_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace fairlead
