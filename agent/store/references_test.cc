// SPDX-License-Identifier: Apache-2.0
#include "agent/store/references.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace fairlead {
namespace {

using ::testing::HasSubstr;

std::vector<StoredObject> Whole() {
  Port port;
  port.id = "p";
  port.vm = "m";
  port.vpc = "red";
  port.subnet = "red-1";
  Endpoint endpoint;
  endpoint.id = "e";
  endpoint.vpc = "red";
  endpoint.subnet = "red-1";
  return {{Vpc{"red", *Vni::Make(1000)}},
          {Vpc{"blue", *Vni::Make(2000)}},
          {Subnet{"red-1", "red", *IpPrefix::Parse("10.0.0.0/24"), {}}},
          {Vm{"m", Uuid()}},
          {port},
          {endpoint}};
}

std::string Refusal(const std::vector<StoredObject>& objects) {
  const absl::Status status = CheckReferences(objects);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  return std::string(status.message());
}

TEST(ReferencesTest, WhatWasAcceptedFits) {
  EXPECT_TRUE(CheckReferences(Whole()).ok());
  EXPECT_TRUE(CheckReferences({}).ok());
  std::vector<StoredObject> waiting = Whole();
  std::get<Port>(waiting[4].object).vm.clear();
  EXPECT_TRUE(CheckReferences(waiting).ok()) << "a port without a VM waits for one";
}

TEST(ReferencesTest, WhatNamesSomethingThatIsNotThereIsNamed) {
  const std::vector<StoredObject> all = Whole();
  const auto without = [&](size_t i) {
    std::vector<StoredObject> some = all;
    some.erase(some.begin() + static_cast<ptrdiff_t>(i));
    return Refusal(some);
  };
  EXPECT_THAT(without(0), HasSubstr("subnet/red-1 names vpc/red, which is not stored"));
  EXPECT_THAT(without(2), HasSubstr("port/p names subnet/red-1, which is not stored"));
  EXPECT_THAT(without(3), HasSubstr("port/p names vm/m, which is not stored"));
}

TEST(ReferencesTest, ASubnetOfAnotherVpcIsNamed) {
  std::vector<StoredObject> all = Whole();
  std::get<Endpoint>(all[5].object).vpc = "blue";
  EXPECT_THAT(Refusal(all),
              HasSubstr("endpoint/e is in vpc/blue, and its subnet/red-1 in vpc/red"));
}

}  // namespace
}  // namespace fairlead
