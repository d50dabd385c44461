// SPDX-License-Identifier: Apache-2.0
//
// Purpose: YAML text to a small bounded tree with line and column of every node.
// Made from the parser's events and not from YAML::Node, which follows aliases
// and keeps only one of two equal keys.
//
// Threading: pure functions on values. Errors: as problems with their place; a
// text that is not YAML gives what was read before the place of the error.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fairlead {

inline constexpr size_t kMaxYamlBytes = 4 << 20;
inline constexpr size_t kMaxYamlNodes = 200'000;
inline constexpr int kMaxYamlDepth = 16;
inline constexpr size_t kMaxYamlProblems = 256;

struct YamlProblem {
  int line = 0;  // from 1; 0: of the whole text
  int column = 0;
  std::string text;
  friend bool operator==(const YamlProblem&, const YamlProblem&) = default;
};

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };
  Kind kind = Kind::kNull;
  int line = 0;
  int column = 0;
  bool plain = false;  // scalar: without quotes
  std::string scalar;
  std::vector<YamlNode> items;  // sequence; map: key, value, key, value ...
};

// One node a document; empty documents are left out.
std::vector<YamlNode> ParseYaml(std::string_view text, std::vector<YamlProblem>* problems);

}  // namespace fairlead
