// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile/table_reads.h"

#include <algorithm>
#include <utility>

namespace fairlead {

void TableReads::Read(const RuleTable& table, Over over, Seen done) {
  const auto [reading, is_new] = reading_.try_emplace(table);
  std::erase_if(reading->second, [](const Reader& other) { return other.over(); });
  reading->second.push_back({std::move(over), std::move(done)});
  if (!is_new) return;
  executor_->ObserveTable(table, /*counted=*/true,
                          [this, alive = std::weak_ptr<bool>(alive_),
                           table](const absl::StatusOr<ObservedRules>& seen) {
                            if (alive.expired()) return;
                            const auto asked = reading_.extract(table);
                            for (const Reader& reader : asked.mapped()) {
                              if (!reader.over()) reader.done(seen);
                            }
                          });
}

void TableReads::Count(const RuleTable& table, std::vector<RuleToCount> rules, Over over,
                       Counted done) {
  Counting& counting = counting_[table];
  std::erase_if(counting.waiting, [](const Counter& other) { return other.over(); });
  counting.waiting.push_back({std::move(rules), std::move(over), std::move(done)});
  if (!counting.under_way) CountNext(table);
}

void TableReads::CountNext(const RuleTable& table) {
  const auto counting = counting_.find(table);
  auto asked = std::make_shared<std::vector<Counter>>();
  for (Counter& counter : std::exchange(counting->second.waiting, {})) {
    if (!counter.over()) asked->push_back(std::move(counter));
  }
  if (asked->empty()) {
    counting_.erase(counting);
    return;
  }
  counting->second.under_way = true;
  std::vector<RuleToCount> rules;
  for (const Counter& counter : *asked) {
    rules.insert(rules.end(), counter.rules.begin(), counter.rules.end());
  }
  executor_->CountRules(table, std::move(rules),
                        [this, alive = std::weak_ptr<bool>(alive_), table,
                         asked](const absl::StatusOr<Executor::RuleCounts>& counts) {
                          if (alive.expired()) return;
                          CountNext(table);
                          Share(*asked, counts);
                        });
}

// The counts come in the order in which they were asked for.
void TableReads::Share(const std::vector<Counter>& asked,
                       const absl::StatusOr<Executor::RuleCounts>& counts) {
  size_t next = 0;
  for (const Counter& counter : asked) {
    const size_t first = std::exchange(next, next + counter.rules.size());
    if (counter.over()) continue;
    if (!counts.ok()) {
      counter.done(counts.status());
      continue;
    }
    counter.done(Executor::RuleCounts(counts->begin() + static_cast<ptrdiff_t>(first),
                                      counts->begin() + static_cast<ptrdiff_t>(next)));
  }
}

}  // namespace fairlead
