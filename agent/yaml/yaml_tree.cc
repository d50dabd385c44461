// SPDX-License-Identifier: Apache-2.0
#include "agent/yaml/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

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

}  // namespace

std::vector<YamlNode> ParseYaml(std::string_view text, std::vector<YamlProblem>* problems) {
  std::vector<YamlNode> documents;
  if (text.size() > kMaxYamlBytes) {
    problems->push_back(
        {0, 0,
         StrCat("the text has ", text.size(), " bytes; ", kMaxYamlBytes, " are possible at most")});
    return documents;
  }
  if (text.find('\0') != std::string_view::npos) {
    problems->push_back({0, 0, "the text holds a NUL byte and is no YAML"});
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
