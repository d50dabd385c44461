// SPDX-License-Identifier: Apache-2.0
#include "agent/yaml/yaml_fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::Eq;
using ::testing::Optional;
using ::testing::SizeIs;

struct Settings {
  uint16_t port = 7;
  bool fast = false;
  std::chrono::milliseconds wait{5};
  std::optional<std::string> name;
  std::vector<uint32_t> numbers;
};

absl::StatusOr<std::string> ShortWord(const std::string& text) {
  if (text.size() > 3) return absl::InvalidArgumentError("is too long");
  return text;
}

// What is said against the text; "" where it is good.
std::string Read(std::string_view yaml, Settings* out) {
  const absl::StatusOr<YamlNode> root = ParseOneYamlDocument(yaml);
  if (!root.ok()) return std::string(root.status().message());
  YamlFields fields;
  fields.Map(*root, "",
             {{"port", fields.Number(&out->port, 1, 65535)},
              {"fast", fields.Bool(&out->fast)},
              {"wait", fields.Millis(&out->wait)},
              {"name", fields.Optional(&out->name, ShortWord)},
              {"inner",
               [&](const YamlNode& node, const std::string& path) {
                 fields.Map(node, path, {{"port", fields.Number(&out->port, 1, 65535)}}, {"port"});
               }},
              {"numbers",
               [&](const YamlNode& node, const std::string& path) {
                 fields.List(node, path, 100, [&](const YamlNode& e, const std::string& at) {
                   uint32_t number = 0;
                   fields.Number(&number, 0, 9)(e, at);
                   out->numbers.push_back(number);
                 });
               }}},
             {"port"});
  EXPECT_EQ(fields.any_mistake(), !fields.Result().ok());
  return std::string(fields.Result().message());
}
std::string Read(std::string_view yaml) {
  Settings ignored;
  return Read(yaml, &ignored);
}

TEST(YamlFields, ReadsEveryKindOfValue) {
  Settings read;
  EXPECT_EQ(Read("port: 65535\nfast: true\nwait: 250\nname: abc\nnumbers: [3, 0, 9]\n", &read), "");
  EXPECT_EQ(read.port, 65535);
  EXPECT_TRUE(read.fast);
  EXPECT_EQ(read.wait, std::chrono::milliseconds(250));
  EXPECT_THAT(read.name, Optional(Eq("abc")));
  EXPECT_THAT(read.numbers, ElementsAre(3, 0, 9));
}

TEST(YamlFields, WhatIsNotThereOrMistakenStaysAsItWas) {
  Settings read;
  EXPECT_NE(Read("port: 65536\nname: abcd\nwait: 0\nfast: yes\n", &read), "");
  EXPECT_EQ(read.port, 7);
  EXPECT_EQ(read.name, std::nullopt);
  EXPECT_EQ(read.wait, std::chrono::milliseconds(5));
  EXPECT_FALSE(read.fast);
}

TEST(YamlFields, TellsAllMistakesInTheOrderOfTheLines) {
  // 'port' is found missing last, and belongs to the first line.
  EXPECT_EQ(Read("fast: no\nwait: 86400001\nname: abcd\ninner: {}\n"
                 "numbers:\n  - 1\n  - 10\n  - [1]\n"),
            "line 1: fast must be true or false, not 'no'\n"
            "line 1: port is missing\n"
            "line 2: wait must be a whole number from 1 to 86400000, not '86400001'\n"
            "line 3: name is too long\n"
            "line 4: inner.port is missing\n"
            "line 7: numbers[1] must be a whole number from 0 to 9, not '10'\n"
            "line 8: numbers[2] must be a single value");
}

TEST(YamlFields, AKeyStandsOnceAndIsKnown) {
  EXPECT_EQ(Read("port: 1\nport: 2\ncolour: red\n[a]: 1\ninner: {port: 1, b: 2}\n"),
            "line 2: port stands twice\n"
            "line 3: colour is no known key; known are fast, inner, name, numbers, port, wait\n"
            "line 4: the file has a key that is not a word\n"
            "line 5: inner.b is no known key; known are port");
}

TEST(YamlFields, AMapOrAListIsWhatItIs) {
  EXPECT_EQ(Read("[]\n"), "line 1: the file must be a mapping of keys to values");
  EXPECT_EQ(Read("port: 1\ninner: 5\n"), "line 2: inner must be a mapping of keys to values");
  EXPECT_EQ(Read("port: 1\nnumbers: 5\n"), "line 2: numbers must be a list");
}

TEST(YamlFields, ANumberIsDecimalAndWhole) {
  for (const char* bad : {"-1", "+1", "0x1", "1.0", "1 ", "99999999999999999999", "''", "~"}) {
    EXPECT_THAT(Read(std::string("port: \"") + bad + "\"\n"), testing::StartsWith("line 1: port "))
        << bad;
  }
}

TEST(YamlFields, AListThatIsTooLongIsRefusedUnread) {
  std::string yaml = "port: 1\nnumbers: [0";
  for (int i = 0; i < 100; ++i) yaml += ",0";
  Settings read;
  EXPECT_EQ(Read(yaml + "]\n", &read), "line 2: numbers has 101 elements, more than 100");
  EXPECT_THAT(read.numbers, SizeIs(0));
}

TEST(YamlFields, MistakesAreKeptUpToABound) {
  const auto with = [](size_t mistakes) {
    std::string yaml = "port: 1\nnumbers: [0";
    for (size_t i = 0; i < mistakes; ++i) yaml += ",x";
    return Read(yaml + "]\n");
  };
  const auto lines = [](const std::string& text) {
    return std::count(text.begin(), text.end(), '\n') + 1;
  };
  EXPECT_EQ(lines(with(kMostYamlMistakes)), kMostYamlMistakes);
  EXPECT_EQ(lines(with(kMostYamlMistakes + 1)), kMostYamlMistakes + 1);
  EXPECT_THAT(with(kMostYamlMistakes + 1), EndsWith("\nmore mistakes are not listed"));
}

TEST(YamlFields, AFileHoldsOneDocument) {
  EXPECT_EQ(Read(""), "the file is empty");
  EXPECT_EQ(Read("port: 1\n---\nport: 2\n"), "the file holds more than one YAML document");
  EXPECT_THAT(Read("port: &a 1\nwait: *a\n"), testing::StartsWith("line 2: aliases"));
  EXPECT_THAT(Read(std::string_view("port: 1\0", 8)), testing::StartsWith("the text holds a NUL"));
}

}  // namespace
}  // namespace fairlead
