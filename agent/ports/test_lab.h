// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the lab's guest says of itself ($LAB_FACTS, tests/lab/README.md). Test code.
//
// Errors: throws std::runtime_error outside of the lab, which fails the test at hand:
// there is no skipping.
#pragma once

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace fairlead {

inline nlohmann::json LabFacts() {
  const char* path = std::getenv("LAB_FACTS");
  if (path == nullptr) {
    throw std::runtime_error("LAB_FACTS is not set: run this in the lab's guest (tests/lab/run)");
  }
  std::ifstream file(path);
  nlohmann::json facts = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!facts.is_object()) throw std::runtime_error(std::string(path) + " holds no facts");
  return facts;
}

}  // namespace fairlead
