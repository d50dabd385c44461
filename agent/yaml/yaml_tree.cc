// SPDX-License-Identifier: Apache-2.0
#include "agent/yaml/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <sstream>

#include "agent/base/text.h"

namespace fairlead {
namespace {

// Thrown through the parser, which has no other way to be stopped; does not
// leave this file.
struct Stop {};

class Builder final : public YAML::EventHandler {
 public:
  Builder(std::vector<YamlNode>* documents, std::vector<YamlProblem>* problems)
      : documents_(*documents), problems_(*problems) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    stack_.clear();
    root_ = {};
    // The parser does not pass a token that cannot begin a document: without this
    // it would find documents there for ever.
    if (mark.pos == document_at_) {
      Problem(mark, "this cannot stand here: a bracket that was not opened, or text after the end");
      throw Stop();
    }
    document_at_ = mark.pos;
  }
  void OnDocumentEnd() override {
    if (root_.kind != YamlNode::Kind::kNull) documents_.push_back(std::move(root_));
    root_ = {};
    stack_.clear();
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override {
    Add(mark, YamlNode::Kind::kNull, "?");
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    // A few of them can stand for billions of nodes; a file for people needs none.
    Problem(mark, "aliases (*name) are not possible here; write the value out");
    Add(mark, YamlNode::Kind::kNull, "?");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    YamlNode* node = Add(mark, YamlNode::Kind::kScalar, tag);
    node->scalar = value;
    node->plain = tag == "?";
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    Open(mark, Add(mark, YamlNode::Kind::kSequence, tag));
  }
  void OnSequenceEnd() override { stack_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    Open(mark, Add(mark, YamlNode::Kind::kMap, tag));
  }
  void OnMapEnd() override { stack_.pop_back(); }

 private:
  void Problem(const YAML::Mark& mark, std::string text) {
    if (problems_.size() >= kMaxYamlProblems) throw Stop();
    problems_.push_back({mark.line + 1, mark.column + 1, std::move(text)});
  }
  YamlNode* Add(const YAML::Mark& mark, YamlNode::Kind kind, const std::string& tag) {
    if (++count_ > kMaxYamlNodes) {
      Problem(mark, StrCat("more than ", kMaxYamlNodes, " values"));
      throw Stop();
    }
    if (!tag.empty() && tag != "?" && tag != "!") {
      Problem(mark, StrCat("the tag ", Quoted(tag), " is not possible here"));
    }
    YamlNode* node = &root_;
    if (!stack_.empty()) {
      stack_.back()->items.emplace_back();
      node = &stack_.back()->items.back();
    }
    node->kind = kind;
    node->line = mark.line + 1;
    node->column = mark.column + 1;
    return node;
  }
  // A node on the stack stays where it is: only its own items grow meanwhile.
  void Open(const YAML::Mark& mark, YamlNode* node) {
    if (static_cast<int>(stack_.size()) >= kMaxYamlDepth) {
      Problem(mark, StrCat("nested more than ", kMaxYamlDepth, " deep"));
      throw Stop();
    }
    stack_.push_back(node);
  }

  std::vector<YamlNode>& documents_;
  std::vector<YamlProblem>& problems_;
  YamlNode root_;
  std::vector<YamlNode*> stack_;
  size_t count_ = 0;
  int document_at_ = -1;
};

// The place of the first byte that begins no character of UTF-8 (RFC 3629), or the
// text's size.
size_t FirstBadUtf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  for (size_t i = 0; i < text.size();) {
    const unsigned char lead = byte(i);
    const size_t length = lead < 0x80                    ? 1
                          : lead >= 0xc2 && lead <= 0xdf ? 2
                          : lead >= 0xe0 && lead <= 0xef ? 3
                          : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                         : 0;
    if (length == 0 || i + length > text.size()) return i;
    for (size_t k = 1; k < length; ++k) {
      // The second byte is narrower: no overlong forms, surrogates, or above U+10FFFF.
      const unsigned char least = k > 1 ? 0x80 : lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
      const unsigned char most = k > 1 ? 0xbf : lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
      if (byte(i + k) < least || byte(i + k) > most) return i;
    }
    i += length;
  }
  return text.size();
}

}  // namespace

std::vector<YamlNode> ParseYaml(std::string_view text, std::vector<YamlProblem>* problems) {
  std::vector<YamlNode> documents;
  if (text.size() > kMaxYamlBytes) {
    problems->push_back(
        {0, 0,
         StrCat("the text has more than ", kMaxYamlBytes, " bytes, which is the most possible")});
    return documents;
  }
  if (text.find('\0') != std::string_view::npos) {
    problems->push_back({0, 0, "the text holds a NUL byte and is no YAML"});
    return documents;
  }
  if (const size_t bad = FirstBadUtf8(text); bad < text.size()) {
    const std::string_view before = text.substr(0, bad);
    const auto line = std::count(before.begin(), before.end(), '\n');
    const size_t start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
    problems->push_back({static_cast<int>(line) + 1, static_cast<int>(bad - start) + 1,
                         "the text is not UTF-8 here"});
    return documents;
  }
  try {
    std::istringstream in{std::string(text)};
    YAML::Parser parser(in);
    Builder builder(&documents, problems);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Stop&) {
  } catch (const YAML::Exception& e) {
    problems->push_back({e.mark.line + 1, e.mark.column + 1, e.msg});
  } catch (const std::exception& e) {
    problems->push_back({0, 0, StrCat("cannot be read as YAML: ", e.what())});
  }
  return documents;
}

}  // namespace fairlead
