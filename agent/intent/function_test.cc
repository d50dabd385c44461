// SPDX-License-Identifier: Apache-2.0
//
// Ports whose function hot-plug brings: what is admitted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/text.h"
#include "agent/intent/admit.h"
#include "agent/intent/intent_test_util.h"
#include "fairlead/v1/intent.pb.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

class FunctionAdmissionTest : public ::testing::Test {
 protected:
  auto Added(const World& world, const std::string& more) {
    return Admit(
        RequestFromText(StrCat(
            "add_vm_to_vpc { vm { id: 'a' } vpc: 'red' subnet: 'red-1' port: 'hot' ", more, " }")),
        world, {}, limits);
  }
  FunctionAdmissionTest() { limits.hotplug_ports = {{NetworkKind::kCompute, {}}}; }

  std::variant<Change, std::vector<Violation>> Asked(const World& world, const std::string& more) {
    return Admit(RequestFromText(StrCat("apply { upsert { port { id: 'hot' vpc: 'red' "
                                        "subnet: 'red-1' function: FUNCTION_SOURCE_HOTPLUG ",
                                        more, " } } }")),
                 world, {}, limits);
  }
  Port Accepted(const World& world, const std::string& more) {
    const auto result = Asked(world, more);
    if (const auto* refused = std::get_if<std::vector<Violation>>(&result)) {
      ADD_FAILURE() << refused->front().path << ": " << refused->front().reason;
      return {};
    }
    const Change& change = std::get<Change>(result);
    return change.upserts.empty() ? Port() : std::get<Port>(change.upserts[0].object);
  }
  Violation Refused(const World& world, const std::string& more) {
    const auto result = Asked(world, more);
    const auto* refused = std::get_if<std::vector<Violation>>(&result);
    if (refused == nullptr || refused->size() != 1) {
      ADD_FAILURE() << "not refused, or with more than one reason";
      return {};
    }
    return refused->front();
  }
  // A world that has the port, with this MAC.
  World WithPort(const std::string& mac) {
    World world = SmallWorld();
    world.Apply(std::get<Change>(Asked(world, mac)));
    return world;
  }

  static constexpr char kMac[] = "mac: '52:54:00:00:04:00'";
  AdmissionLimits limits;
};

TEST_F(FunctionAdmissionTest, APortSaysByItsMacWhichFunctionItMeans) {
  const Port port = Accepted(SmallWorld(), kMac);
  EXPECT_EQ(port.function, FunctionSource::kHotplug);
  v1::Object wire;
  ToProto(Object(port), &wire);
  EXPECT_EQ(wire.port().function(), v1::FUNCTION_SOURCE_HOTPLUG);
  const Violation without = Refused(SmallWorld(), "");
  EXPECT_EQ(without.path, "apply.upsert[0].port.mac");
  EXPECT_THAT(without.reason, HasSubstr("is missing"));
}

TEST_F(FunctionAdmissionTest, WhereASlotSaysItNoMacIsNeeded) {
  limits.hotplug_ports.push_back({NetworkKind::kConverged, FunctionIdentity::kSlot});
  EXPECT_EQ(Refused(SmallWorld(), "").path, "apply.upsert[0].port.mac");
  EXPECT_FALSE(Accepted(SmallWorld(), "network: NETWORK_KIND_CONVERGED").mac);
}

TEST_F(FunctionAdmissionTest, ANetworkWithoutAHotplugPortIsRefused) {
  const Violation violation =
      Refused(SmallWorld(), StrCat(kMac, " network: NETWORK_KIND_CONVERGED"));
  EXPECT_EQ(violation.path, "apply.upsert[0].port.function");
  EXPECT_EQ(violation.code, ViolationCode::kUnsupported);
  EXPECT_EQ(violation.reason,
            "this host has no hot-plug port of the converged network, but of the compute one: "
            "that is asked for with 'network: compute'");
  limits.hotplug_ports.clear();
  EXPECT_THAT(Refused(SmallWorld(), kMac).reason, HasSubstr("lists none (hotplug_ports)"));
}

TEST_F(FunctionAdmissionTest, AnOffloadWishIsRefusedByName) {
  for (const char* wish : {"MUST", "OFF"}) {
    const Violation violation =
        Refused(SmallWorld(), StrCat(kMac, " offload: OFFLOAD_WISH_", wish));
    EXPECT_EQ(violation.path, "apply.upsert[0].port.offload");
    EXPECT_EQ(violation.code, ViolationCode::kUnsupported);
  }
  Accepted(SmallWorld(), StrCat(kMac, " offload: OFFLOAD_WISH_PREFER"));
}

TEST_F(FunctionAdmissionTest, PairsAreRefusedByName) {
  const Violation violation =
      Refused(SmallWorld(), StrCat(kMac, " allowed_pairs { prefix: '10.0.0.100' }"));
  EXPECT_EQ(violation.path, "apply.upsert[0].port.allowed_pairs");
  EXPECT_EQ(violation.code, ViolationCode::kUnsupported);
  EXPECT_THAT(violation.reason, HasSubstr("whoever brings it sets that"));
}

TEST_F(FunctionAdmissionTest, TheMacCannotChangeUnderThePort) {
  const World world = WithPort(kMac);
  const Violation violation = Refused(world, "mac: '52:54:00:00:04:01'");
  EXPECT_EQ(violation.path, "apply.upsert[0].port.mac");
  EXPECT_EQ(violation.code, ViolationCode::kConflict);
  EXPECT_EQ(Refused(world, "").code, ViolationCode::kConflict);
}

TEST_F(FunctionAdmissionTest, WhatWasAcceptedOnceIsNotRefusedWhenItIsSentAgain) {
  const World world = WithPort(kMac);
  limits.hotplug_ports.clear();  // another configuration
  EXPECT_TRUE(std::get<Change>(Asked(world, kMac)).upserts.empty());
}

TEST_F(FunctionAdmissionTest, APortOfTheHostsVfsNeedsNoHotplugPort) {
  const auto result =
      Admit(RequestFromText("apply { upsert { port { id: 'hot' vpc: 'red' subnet: 'red-1' "
                            "function: FUNCTION_SOURCE_VF } } }"),
            SmallWorld(), {}, {});
  EXPECT_TRUE(std::holds_alternative<Change>(result));
}

TEST_F(FunctionAdmissionTest, AddingAgainWithoutASourceKeepsIt) {
  World world = SmallWorld();
  auto first = Added(world, StrCat("function: FUNCTION_SOURCE_HOTPLUG ", kMac));
  ASSERT_TRUE(std::holds_alternative<Change>(first))
      << std::get<std::vector<Violation>>(first)[0].reason;
  world.Apply(std::get<Change>(first));
  auto again = Added(world, "");
  ASSERT_TRUE(std::holds_alternative<Change>(again))
      << std::get<std::vector<Violation>>(again)[0].reason;
  EXPECT_TRUE(std::get<Change>(again).upserts.empty());
}

TEST_F(FunctionAdmissionTest, APortThatMovesToABroughtFunctionLeavesTheVfsSettingsBehind) {
  World world = SmallWorld();
  auto first = Admit(
      RequestFromText(StrCat("apply { upsert { port { id: 'hot' vm: 'a' vpc: 'red' subnet: 'red-1' "
                             "offload: OFFLOAD_WISH_MUST allowed_pairs { prefix: '10.0.0.100' } ",
                             kMac, " } } }")),
      world, {}, limits);
  ASSERT_TRUE(std::holds_alternative<Change>(first))
      << std::get<std::vector<Violation>>(first)[0].reason;
  world.Apply(std::get<Change>(first));
  auto moved = Added(world, "function: FUNCTION_SOURCE_HOTPLUG");
  ASSERT_TRUE(std::holds_alternative<Change>(moved))
      << std::get<std::vector<Violation>>(moved)[0].reason;
  const auto& port = std::get<Port>(std::get<Change>(moved).upserts.at(0).object);
  EXPECT_EQ(port.function, FunctionSource::kHotplug);
  EXPECT_EQ(port.offload, OffloadWish::kPrefer);
  EXPECT_TRUE(port.allowed_pairs.empty());
}

}  // namespace
}  // namespace fairlead
