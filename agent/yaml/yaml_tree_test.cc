// SPDX-License-Identifier: Apache-2.0
#include "agent/yaml/yaml_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;

auto Says(const std::string& words) { return Field(&YamlProblem::text, HasSubstr(words)); }

TEST(YamlTree, KeepsBothOfTwoEqualKeysAndTheirPlaces) {
  std::vector<YamlProblem> problems;
  const std::vector<YamlNode> documents = ParseYaml("a: 1\na: \"2\"\n---\n- x\n", &problems);
  EXPECT_THAT(problems, ElementsAre());
  ASSERT_EQ(documents.size(), 2u);
  const YamlNode& map = documents[0];
  ASSERT_EQ(map.items.size(), 4u);
  EXPECT_EQ(map.items[2].scalar, "a");
  EXPECT_EQ(map.items[2].line, 2);
  EXPECT_TRUE(map.items[1].plain);
  EXPECT_FALSE(map.items[3].plain);
  EXPECT_EQ(documents[1].kind, YamlNode::Kind::kSequence);
  EXPECT_EQ(documents[1].items[0].column, 3);
}

TEST(YamlTree, RefusesAliasesAndForeignTags) {
  std::vector<YamlProblem> problems;
  ParseYaml("a: &x 1\nb: *x\nc: !!binary aaaa\n", &problems);
  EXPECT_THAT(problems, ElementsAre(Says("aliases"), Says("the tag")));
}

TEST(YamlTree, EndsWhereTheParserWouldFindDocumentsForEver) {
  for (const char* text : {"a: [b]]\n", "]", "- a\n}\n", "[a,b] c: d", ",a,b:\n- `&a ,"}) {
    std::vector<YamlProblem> problems;
    ParseYaml(text, &problems);
    EXPECT_FALSE(problems.empty()) << text;
    EXPECT_LT(problems.size(), 5u) << text;
  }
}

}  // namespace
}  // namespace fairlead
