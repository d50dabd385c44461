// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/tc/tc_port.h"

#include <utility>

namespace fairlead {

std::vector<absl::StatusOr<TcFilterInfo>> TcPort::Put(std::span<const TcChange> changes) {
  std::vector<absl::StatusOr<TcFilterInfo>> results;
  results.reserve(changes.size());
  std::vector<TcFilterRef> made;
  std::vector<size_t> places;
  for (absl::Status& answer : Apply(changes)) {
    const TcChange& change = changes[results.size()];
    if (answer.ok()) {
      places.push_back(results.size());
      made.push_back({change.at, change.filter.id, change.filter.match.ethertype});
      answer = absl::InternalError("it was not read back");
    }
    results.emplace_back(std::move(answer));
  }
  std::vector<absl::StatusOr<TcFilterInfo>> seen = Get(made);
  for (size_t i = 0; i < seen.size() && i < places.size(); ++i) {
    results[places[i]] = std::move(seen[i]);
  }
  return results;
}

}  // namespace fairlead
