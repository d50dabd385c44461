// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/own_marks.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

namespace fairlead {

OwnMarks::OwnMarks(uint32_t store, std::set<uint32_t> taken_over)
    : store_(store), taken_over_(std::move(taken_over)) {}

std::string OwnMarks::Alias() const { return absl::StrFormat("fairlead %08x", store_); }

bool OwnMarks::Owns(uint32_t store) const {
  if (store == 0) return false;
  const std::lock_guard lock(mutex_);
  return store == store_ || taken_over_.contains(store);
}

bool OwnMarks::OwnsAlias(std::string_view alias) const { return Owns(StoreOfAlias(alias)); }

void OwnMarks::TakeOver(uint32_t store) {
  const std::lock_guard lock(mutex_);
  taken_over_.insert(store);
}

uint32_t StoreOfAlias(std::string_view alias) {
  constexpr std::string_view kHead = "fairlead ";
  uint32_t id = 0;
  if (!alias.starts_with(kHead) || alias.size() != kHead.size() + 8 ||
      !absl::SimpleHexAtoi(absl::string_view(alias.data() + kHead.size(), 8), &id)) {
    return 0;
  }
  return id;
}

}  // namespace fairlead
