// SPDX-License-Identifier: Apache-2.0
//
// Purpose: for tests only: what is refused of a request, and shorthands for the objects of
// SmallWorld's VPC red.
// Threading: pure functions.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <variant>
#include <vector>

#include "agent/base/text.h"
#include "agent/intent/admit.h"
#include "agent/intent/intent_test_util.h"

namespace fairlead {

inline constexpr auto kInvalid = ViolationCode::kInvalid;
inline constexpr auto kConflict = ViolationCode::kConflict;
inline constexpr auto kNotFound = ViolationCode::kNotFound;
inline constexpr auto kUnsupported = ViolationCode::kUnsupported;

#define PORT(rest) "upsert { port { id: 'p' vpc: 'red' subnet: 'red-1' " rest " } }"
#define ENDPOINT(rest) "upsert { endpoint { id: 'e' vpc: 'red' " rest " } }"
#define MAC1 "mac: '52:54:00:00:00:01' "
#define ADDR1 "addresses: '10.0.0.7' "
#define VTEP1 "vtep: '192.0.2.3' "

// What is refused of a request in protobuf text form; empty when it is accepted.
inline std::vector<Violation> Refusal(const std::string& request, const World& world,
                                      const HostKnowledge& host = {},
                                      const AdmissionLimits& limits = {}) {
  auto result = Admit(RequestFromText(request), world, host, limits);
  auto* violations = std::get_if<std::vector<Violation>>(&result);
  return violations == nullptr ? std::vector<Violation>() : *violations;
}

inline std::string Print(const std::vector<Violation>& list) {
  std::string text;
  for (const Violation& v : list) StrAppend(&text, v.path, ": ", v.reason, "\n");
  return text;
}

// That a request is refused for one reason, told at this field, and leaves the world as it is.
inline void ExpectRefused(const std::string& request, const std::string& path, ViolationCode code,
                          const std::string& words, const World& world = SmallWorld()) {
  const std::string before = Dump(world);
  const std::vector<Violation> list = Refusal(request, world);
  ASSERT_EQ(list.size(), 1U) << request << "\n" << Print(list);
  EXPECT_EQ(list[0].path, path);
  EXPECT_EQ(list[0].code, code) << list[0].reason;
  EXPECT_THAT(list[0].reason, ::testing::HasSubstr(words));
  EXPECT_EQ(Dump(world), before);
}

// A change that, by itself, gives exactly one violation, at its own field.
struct Mistake {
  const char* name;
  const char* apply;
  const char* path;
  ViolationCode code;
  const char* words;
};
inline void PrintTo(const Mistake& mistake, std::ostream* os) { *os << mistake.apply; }

inline void ExpectRefused(const Mistake& mistake, const World& world) {
  ExpectRefused(StrCat("apply { ", mistake.apply, " }"), mistake.path, mistake.code, mistake.words,
                world);
}

}  // namespace fairlead
