// SPDX-License-Identifier: Apache-2.0
//
// Purpose: columns for a terminal. Text from elsewhere is made harmless: bytes
// that a terminal would act on are shown as \xNN.
// Threading: plain values.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fairlead {

// Control bytes as \xNN; UTF-8 is left as it is.
std::string Printable(std::string_view text);

class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  // An empty cell is shown as "-".
  void Row(std::vector<std::string> cells);
  size_t rows() const { return rows_.size() - 1; }
  std::string Print() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "Name:    value" lines; those without a value are left out.
class Facts {
 public:
  void Add(std::string name, std::string_view value);
  std::string Print(std::string_view indent = "") const;

 private:
  std::vector<std::pair<std::string, std::string>> lines_;
};

}  // namespace fairlead
