// SPDX-License-Identifier: Apache-2.0
//
// Purpose: reads a file of settings out of a YAML tree: which keys there are, what
// each may hold, which must stand. Collects every mistake instead of stopping at
// the first. Map takes a Reader for each key; the functions that return a Reader
// say what a value may be.
//
// Threading: one thread at a time. Ownership: a Reader holds its YamlFields and
// what it writes to, and is used while both stand. Errors: Result(), with every
// mistake, one a line, in the order of the lines: "line 3: nics[0].mac is missing".
// Where a value is mistaken, what it was to be written to stays as it was.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/base/text.h"
#include "agent/yaml/yaml_tree.h"

namespace fairlead {

// Further mistakes are counted as one: "more mistakes are not listed".
inline constexpr size_t kMostYamlMistakes = 64;

// The one document of a file. kInvalidArgument: what is no YAML, each with its line;
// no document, or several.
absl::StatusOr<YamlNode> ParseOneYamlDocument(std::string_view text);

class YamlFields {
 public:
  // Reads one value; `path` names it: "nics[2].mac"; "" is the whole file.
  using Reader = std::function<void(const YamlNode& node, const std::string& path)>;

  // A mapping of no other keys than `readers` has, each once, and all of `required`.
  void Map(const YamlNode& node, const std::string& path,
           const std::map<std::string, Reader>& readers,
           const std::vector<std::string>& required = {});

  // A list of `most` elements at most.
  void List(const YamlNode& node, const std::string& path, size_t most, const Reader& element);

  // A single value that `parse` understands: absl::StatusOr<T>(const std::string&).
  // What `parse` says stands behind the path: "must be ...".
  template <typename T, typename Parse>
  Reader Value(T* out, Parse parse) {
    return [this, out, parse](const YamlNode& node, const std::string& path) {
      if (node.kind != YamlNode::Kind::kScalar) {
        return Mistake(node, path, "must be a single value");
      }
      absl::StatusOr<T> value = parse(node.scalar);
      if (!value.ok()) return Mistake(node, path, StdView(value.status().message()));
      *out = *std::move(value);
    };
  }
  // The same for what is absent where the key is.
  template <typename T, typename Parse>
  Reader Optional(std::optional<T>* out, Parse parse) {
    return Value<std::optional<T>>(
        out, [parse](const std::string& text) -> absl::StatusOr<std::optional<T>> {
          absl::StatusOr<T> value = parse(text);
          if (!value.ok()) return value.status();
          return std::optional<T>(*std::move(value));
        });
  }
  // Decimal, without a sign; `most` fits into T.
  template <typename T>
  Reader Number(T* out, uint64_t least, uint64_t most) {
    return Value<T>(out, [least, most](const std::string& text) -> absl::StatusOr<T> {
      const absl::StatusOr<uint64_t> value = ParseNumber(text, least, most);
      if (!value.ok()) return value.status();
      return static_cast<T>(*value);
    });
  }
  // The same for what is absent where the key is.
  template <typename T>
  Reader OptionalNumber(std::optional<T>* out, uint64_t least, uint64_t most) {
    return Optional<T>(out, [least, most](const std::string& text) -> absl::StatusOr<T> {
      const absl::StatusOr<uint64_t> value = ParseNumber(text, least, most);
      if (!value.ok()) return value.status();
      return static_cast<T>(*value);
    });
  }
  // 1 to 86400000, a day.
  Reader Millis(std::chrono::milliseconds* out);
  // true or false.
  Reader Bool(bool* out);

  // `line` from 1.
  void Mistake(int line, const std::string& path, std::string_view what);
  void Mistake(const YamlNode& node, const std::string& path, std::string_view what) {
    Mistake(node.line, path, what);
  }
  bool any_mistake() const { return total_ > 0; }
  absl::Status Result() const;

 private:
  static absl::StatusOr<uint64_t> ParseNumber(const std::string& text, uint64_t least,
                                              uint64_t most);

  std::multimap<int, std::string> mistakes_;  // by line
  size_t total_ = 0;
};

}  // namespace fairlead
