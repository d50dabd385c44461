// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what became of a question that a test asked, for the tests of this folder.
//
// Threading: pure functions.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "agent/intent/violations.h"

namespace fairlead {

// What a question was read as.
template <typename Question>
Question Taken(const std::variant<Question, std::vector<Violation>>& read) {
  const auto* question = std::get_if<Question>(&read);
  EXPECT_NE(question, nullptr) << "it is refused";
  return question == nullptr ? Question() : *question;
}
// "path: reason", a line each; "" = it was taken.
template <typename Question>
std::string Mistakes(const std::variant<Question, std::vector<Violation>>& read) {
  std::string out;
  if (const auto* list = std::get_if<std::vector<Violation>>(&read)) {
    for (const Violation& violation : *list) out += violation.path + ": " + violation.reason + "\n";
  }
  return out;
}

}  // namespace fairlead
