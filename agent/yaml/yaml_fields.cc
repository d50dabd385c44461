// SPDX-License-Identifier: Apache-2.0
#include "agent/yaml/yaml_fields.h"

#include <charconv>
#include <set>
#include <system_error>

namespace fairlead {
namespace {

constexpr uint64_t kMostMillis = 24ULL * 3600 * 1000;

std::string Below(const std::string& path, const std::string& key) {
  return path.empty() ? key : StrCat(path, ".", key);
}

std::string Line(int line, std::string_view text) {
  return line == 0 ? std::string(text) : StrCat("line ", line, ": ", text);
}

}  // namespace

absl::StatusOr<YamlNode> ParseOneYamlDocument(std::string_view text) {
  std::vector<YamlProblem> problems;
  std::vector<YamlNode> documents = ParseYaml(text, &problems);
  if (!problems.empty()) {
    std::vector<std::string> lines;
    for (const YamlProblem& problem : problems) lines.push_back(Line(problem.line, problem.text));
    return absl::InvalidArgumentError(StrJoin(lines, "\n"));
  }
  if (documents.empty()) return absl::InvalidArgumentError("the file is empty");
  if (documents.size() > 1) {
    return absl::InvalidArgumentError("the file holds more than one YAML document");
  }
  return std::move(documents.front());
}

void YamlFields::Map(const YamlNode& node, const std::string& path,
                     const std::map<std::string, Reader>& readers,
                     const std::vector<std::string>& required) {
  if (node.kind != YamlNode::Kind::kMap) {
    return Mistake(node, path, "must be a mapping of keys to values");
  }
  std::set<std::string> seen;
  for (size_t i = 0; i + 1 < node.items.size(); i += 2) {
    const YamlNode& key = node.items[i];
    if (key.kind != YamlNode::Kind::kScalar) {
      Mistake(key, path, "has a key that is not a word");
      continue;
    }
    const std::string here = Below(path, key.scalar);
    const auto reader = readers.find(key.scalar);
    if (!seen.insert(key.scalar).second) {
      Mistake(key, here, "stands twice");
    } else if (reader == readers.end()) {
      std::vector<std::string> known;
      for (const auto& [name, unused] : readers) known.push_back(name);
      Mistake(key, here, StrCat("is no known key; known are ", StrJoin(known, ", ")));
    } else {
      reader->second(node.items[i + 1], here);
    }
  }
  for (const std::string& key : required) {
    if (!seen.contains(key)) Mistake(node, Below(path, key), "is missing");
  }
}

void YamlFields::List(const YamlNode& node, const std::string& path, size_t most,
                      const Reader& element) {
  if (node.kind != YamlNode::Kind::kSequence) return Mistake(node, path, "must be a list");
  if (node.items.size() > most) {
    return Mistake(node, path, StrCat("has ", node.items.size(), " elements, more than ", most));
  }
  for (size_t i = 0; i < node.items.size(); ++i) {
    element(node.items[i], StrCat(path, "[", i, "]"));
  }
}

YamlFields::Reader YamlFields::Millis(std::chrono::milliseconds* out) {
  return Value<std::chrono::milliseconds>(
      out, [](const std::string& text) -> absl::StatusOr<std::chrono::milliseconds> {
        const absl::StatusOr<uint64_t> value = ParseNumber(text, 1, kMostMillis);
        if (!value.ok()) return value.status();
        return std::chrono::milliseconds(*value);
      });
}

YamlFields::Reader YamlFields::Bool(bool* out) {
  return Value<bool>(out, [](const std::string& text) -> absl::StatusOr<bool> {
    if (text == "true") return true;
    if (text == "false") return false;
    return absl::InvalidArgumentError(StrCat("must be true or false, not ", Quoted(text)));
  });
}

void YamlFields::Mistake(int line, const std::string& path, std::string_view what) {
  if (total_++ >= kMostYamlMistakes) return;
  mistakes_.emplace(line, StrCat(path.empty() ? std::string("the file") : path, " ", what));
}

absl::Status YamlFields::Result() const {
  if (total_ == 0) return absl::OkStatus();
  std::vector<std::string> lines;
  for (const auto& [line, text] : mistakes_) lines.push_back(Line(line, text));
  if (total_ > kMostYamlMistakes) lines.push_back("more mistakes are not listed");
  return absl::InvalidArgumentError(StrJoin(lines, "\n"));
}

absl::StatusOr<uint64_t> YamlFields::ParseNumber(const std::string& text, uint64_t least,
                                                 uint64_t most) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // With a zero before it some would read it as octal.
  const bool zero = text.size() > 1 && text.front() == '0';
  if (error != std::errc() || end != text.data() + text.size() || zero || value < least ||
      value > most) {
    return absl::InvalidArgumentError(
        StrCat("must be a whole number from ", least, " to ", most, ", not ", Quoted(text)));
  }
  return value;
}

}  // namespace fairlead
