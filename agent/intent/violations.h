// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the list of reasons why a message is refused, kept bounded.
// Threading: a plain value. Errors: none; beyond kMaxViolations reasons are
// counted and the last entry says how many are not listed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/intent/admit.h"

namespace fairlead {

class Violations {
 public:
  void Add(std::string path, ViolationCode code, std::string reason);
  bool empty() const { return total_ == 0; }
  // True when more would only be counted: a long walk may stop.
  bool full() const { return total_ > kMaxViolations; }
  std::vector<Violation> Take() &&;

 private:
  std::vector<Violation> list_;
  size_t total_ = 0;
};

}  // namespace fairlead
