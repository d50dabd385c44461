// SPDX-License-Identifier: Apache-2.0
#include "agent/intent/violations.h"

#include <utility>

#include "agent/base/text.h"

namespace fairlead {

void Violations::Add(std::string path, ViolationCode code, std::string reason) {
  ++total_;
  if (list_.size() < kMaxViolations) {
    list_.push_back({std::move(path), code, std::move(reason)});
  }
}

std::vector<Violation> Violations::Take() && {
  if (total_ > list_.size()) {
    list_.back() = {"", list_.back().code,
                    StrCat("and ", total_ - list_.size() + 1,
                           " or more further violations that are not listed")};
  }
  return std::move(list_);
}

}  // namespace fairlead
