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
  auto places = std::make_shared<Places>();
  std::vector<RuleToCount> rules;  // each once, whoever asks
  for (const Counter& counter : *asked) {
    for (const RuleToCount& rule : counter.rules) {
      if (places->try_emplace(rule.location, rules.size()).second) rules.push_back(rule);
    }
  }
  executor_->CountRules(table, std::move(rules),
                        [this, alive = std::weak_ptr<bool>(alive_), table, asked,
                         places](const absl::StatusOr<Executor::RuleCounts>& counts) {
                          if (alive.expired()) return;
                          CountNext(table);
                          Share(*asked, *places, counts);
                        });
}

void TableReads::Share(const std::vector<Counter>& asked, const Places& places,
                       const absl::StatusOr<Executor::RuleCounts>& counts) {
  for (const Counter& counter : asked) {
    if (counter.over()) continue;
    if (!counts.ok()) {
      counter.done(counts.status());
      continue;
    }
    Executor::RuleCounts own;
    for (const RuleToCount& rule : counter.rules) {
      const size_t place = places.at(rule.location);
      own.push_back(place < counts->size() ? (*counts)[place] : std::nullopt);
    }
    counter.done(std::move(own));
  }
}

}  // namespace fairlead
