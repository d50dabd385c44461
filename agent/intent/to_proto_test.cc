// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "agent/intent/intent_test_util.h"
#include "agent/model/status.h"

namespace fairlead {
namespace {

TEST(ToProto, WhatIsShownCanBeAppliedAgainAndChangesNothing) {
  World world = SmallWorld();
  MustApply(
      "apply { upsert { port { id: 'q' vpc: 'red' subnet: 'red-1' network: "
      "NETWORK_KIND_CONVERGED offload: OFFLOAD_WISH_OFF addresses: '2001:db8::7' "
      "allowed_pairs { prefix: '10.0.0.100' } "
      "allowed_pairs { mac: '02:00:5e:00:01:07' prefix: '2001:db8::/80' } } } "
      "upsert { subnet { id: 'red-1' vpc: 'red' prefixes: '10.0.0.0/24' prefixes: '2001:db8::/64' "
      "gateways: '2001:db8::1' gateways: '10.0.0.1' dns_servers: '10.0.0.2' "
      "dns_servers: '2001:db8:5::53' } } }",
      &world);
  v1::Request request = RequestFromText("apply { }");
  world.ForEach([&](const StoredObject& stored) {
    ToProto(stored.object, request.mutable_apply()->add_upsert());
  });
  EXPECT_EQ(request.apply().upsert_size(), 10);
  auto result = Admit(request, world, {}, {});
  ASSERT_TRUE(std::holds_alternative<Change>(result));
  EXPECT_TRUE(std::get<Change>(result).empty());
  v1::Object wire;
  ToProto(*world.FindSubnet("red-1"), &wire);
  EXPECT_EQ(wire.subnet().ShortDebugString(),
            R"(id: "red-1" vpc: "red" prefixes: "10.0.0.0/24" prefixes: "2001:db8::/64" )"
            R"(gateways: "10.0.0.1" gateways: "2001:db8::1" dns_servers: "10.0.0.2" )"
            R"(dns_servers: "2001:db8:5::53")");
  ToProto(*world.FindPort("q"), &wire);
  EXPECT_EQ(wire.port().allowed_pairs(0).ShortDebugString(), R"(prefix: "10.0.0.100/32")");
  EXPECT_EQ(wire.port().allowed_pairs(1).ShortDebugString(),
            R"(mac: "02:00:5e:00:01:07" prefix: "2001:db8::/80")");
}

// A field that is added to the message and forgotten in ToProto stays empty.
void ExpectAllSet(const google::protobuf::Message& wire) {
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  wire.GetReflection()->ListFields(wire, &fields);
  EXPECT_EQ(static_cast<int>(fields.size()), wire.GetDescriptor()->field_count());
}

TEST(ToProto, CarriesEveryFieldOfAStatus) {
  ObjectStatus status;
  status.ref = {ObjectKind::kPort, "p"};
  status.generation = 2;
  status.observed_generation = 1;
  status.state = ObjectState::kRemoving;
  status.reason = "r";
  status.step = "s";
  status.peer_words = "w";
  status.permanent = status.rolled_back = true;
  status.vf = "vf";
  status.vf_pci = "pci";
  status.representor = "rep";
  status.mac = "mac";
  status.vlan = 100;
  status.guest_device = "dev";
  status.guest_bus = "bus";
  status.lease = 9;
  status.rules_wanted = 3;
  status.rules_observed = 4;
  status.rules_in_hardware = 5;
  v1::ObjectStatus wire;
  ToProto(status, &wire);
  ExpectAllSet(wire);
  EXPECT_EQ(wire.state(), v1::OBJECT_STATE_REMOVING);
  EXPECT_EQ(wire.ref().kind(), v1::OBJECT_KIND_PORT);
  EXPECT_EQ(wire.rules_in_hardware(), 5U);
}

TEST(ToProto, CarriesEveryFieldOfAnError) {
  using std::chrono::seconds;
  const ErrorRecord record{.reason = "r",
                           .step = "s",
                           .peer_words = "w",
                           .permanent = true,
                           .generation = 2,
                           .times = 3,
                           .first = std::chrono::system_clock::time_point(seconds(4)),
                           .last = std::chrono::system_clock::time_point(seconds(5)),
                           .retry_in = std::chrono::milliseconds(6)};
  v1::LastError wire;
  ToProto(record, &wire);
  ExpectAllSet(wire);
  EXPECT_EQ(wire.times(), 3U);
  EXPECT_EQ(wire.first_time(), 4'000'000'000U);
  EXPECT_EQ(wire.last_time(), 5'000'000'000U);
  EXPECT_EQ(wire.retry_in_ms(), 6U);
}

}  // namespace
}  // namespace fairlead
