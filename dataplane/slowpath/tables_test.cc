// SPDX-License-Identifier: Apache-2.0
#include "dataplane/slowpath/tables.h"

#include <gtest/gtest.h>

#include "agent/base/test_types.h"

namespace fairlead::slowpath {
namespace {

using Kind = SlowPathKey::Kind;

SlowPathSubnet Subnet(const std::string& id) {
  SlowPathSubnet out;
  out.id = id;
  out.prefix4 = *IpPrefix::Parse("10.0.0.0/24");
  out.mtu = 1500;
  return out;
}

SlowPathPort Port(const std::string& id, uint32_t ifindex) {
  SlowPathPort out;
  out.id = id;
  out.subnet = "s";
  out.ifindex = ifindex;
  out.mac = Mac(static_cast<uint8_t>(ifindex));
  return out;
}

TEST(TablesTest, PutFindRemove) {
  Tables tables;
  EXPECT_TRUE(tables.Put(Subnet("s")).ok());
  EXPECT_TRUE(tables.Put(Port("p", 3)).ok());
  EXPECT_TRUE(tables.Put(SlowPathNeighbour{"s", Ip("10.0.0.7"), Mac(7)}).ok());
  EXPECT_EQ(*tables.FindSubnet("s"), Subnet("s"));
  EXPECT_EQ(*tables.FindPort("p"), Port("p", 3));
  EXPECT_EQ(tables.FindNeighbour("s", Ip("10.0.0.7")), Mac(7));
  EXPECT_EQ(tables.FindNeighbour("t", Ip("10.0.0.7")), std::nullopt);

  EXPECT_TRUE(tables.Put(SlowPathNeighbour{"s", Ip("10.0.0.7"), Mac(8)}).ok());
  EXPECT_EQ(tables.FindNeighbour("s", Ip("10.0.0.7")), Mac(8));
  EXPECT_EQ(tables.neighbours(), 1U);

  // A subnet's neighbours stay when it goes.
  tables.Remove({Kind::kSubnet, "s", {}});
  EXPECT_EQ(tables.FindSubnet("s"), nullptr);
  EXPECT_EQ(tables.FindNeighbour("s", Ip("10.0.0.7")), Mac(8));
  tables.Remove({Kind::kNeighbour, "s", Ip("10.0.0.7")});
  tables.Remove({Kind::kPort, "p", {}});
  EXPECT_EQ(tables.FindNeighbour("s", Ip("10.0.0.7")), std::nullopt);
  EXPECT_EQ(tables.FindPort("p"), nullptr);
  EXPECT_EQ(tables.neighbours() + tables.subnets() + tables.ports().size(), 0U);
  for (const Kind kind : {Kind::kSubnet, Kind::kPort, Kind::kNeighbour}) {
    tables.Remove({kind, "nothing", Ip("10.0.0.7")});  // is success
  }
}

TEST(TablesTest, TheSameAddressInTwoSubnets) {
  Tables tables;
  EXPECT_TRUE(tables.Put(SlowPathNeighbour{"red", Ip("10.0.0.7"), Mac(1)}).ok());
  EXPECT_TRUE(tables.Put(SlowPathNeighbour{"blue", Ip("10.0.0.7"), Mac(2)}).ok());
  EXPECT_EQ(tables.FindNeighbour("red", Ip("10.0.0.7")), Mac(1));
  EXPECT_EQ(tables.FindNeighbour("blue", Ip("10.0.0.7")), Mac(2));
}

TEST(TablesTest, WhatWasNotToldGoesWhenAllWasTold) {
  Tables tables;
  for (const char* subnet : {"s", "old"}) {
    ASSERT_TRUE(tables.Put(Subnet(subnet)).ok());
    ASSERT_TRUE(tables.Put(SlowPathNeighbour{subnet, Ip("10.0.0.7"), Mac(7)}).ok());
    ASSERT_TRUE(tables.Put(SlowPathNeighbour{subnet, Ip("10.0.0.8"), Mac(8)}).ok());
  }
  ASSERT_TRUE(tables.Put(Port("p", 1)).ok());
  ASSERT_TRUE(tables.Put(Port("q", 2)).ok());

  tables.Begin();
  ASSERT_TRUE(tables.Put(Subnet("s")).ok());
  ASSERT_TRUE(tables.Put(SlowPathNeighbour{"s", Ip("10.0.0.8"), Mac(9)}).ok());
  ASSERT_TRUE(tables.Put(Port("q", 2)).ok());
  // Until then all is there.
  EXPECT_NE(tables.FindSubnet("old"), nullptr);
  EXPECT_NE(tables.FindPort("p"), nullptr);
  EXPECT_EQ(tables.FindNeighbour("s", Ip("10.0.0.7")), Mac(7));
  EXPECT_EQ(tables.neighbours(), 4U);
  tables.Whole();
  EXPECT_EQ(tables.FindSubnet("old"), nullptr);
  EXPECT_EQ(tables.FindPort("p"), nullptr);
  EXPECT_NE(tables.FindPort("q"), nullptr);
  EXPECT_EQ(tables.FindNeighbour("s", Ip("10.0.0.7")), std::nullopt);
  EXPECT_EQ(tables.FindNeighbour("s", Ip("10.0.0.8")), Mac(9));
  EXPECT_EQ(tables.neighbours(), 1U);
  EXPECT_EQ(tables.subnets(), 1U);
}

TEST(TablesTest, WhatIsToBeKeptOutlivesATellingThatDoesNotNameIt) {
  Tables tables;
  for (const char* subnet : {"kept", "old"}) {
    ASSERT_TRUE(tables.Put(Subnet(subnet)).ok());
    ASSERT_TRUE(tables.Put(SlowPathNeighbour{subnet, Ip("10.0.0.7"), Mac(7)}).ok());
  }
  SlowPathPort kept = Port("k", 1);
  kept.subnet = "kept";
  ASSERT_TRUE(tables.Put(kept).ok());
  ASSERT_TRUE(tables.Put(Port("p", 2)).ok());
  tables.Begin();
  tables.Keep(1);
  tables.Keep(404);
  tables.Whole();
  EXPECT_NE(tables.FindPort("k"), nullptr);
  EXPECT_NE(tables.FindSubnet("kept"), nullptr);
  EXPECT_EQ(tables.FindNeighbour("kept", Ip("10.0.0.7")), Mac(7));
  EXPECT_EQ(tables.FindPort("p"), nullptr);
  EXPECT_EQ(tables.FindSubnet("old"), nullptr);
  EXPECT_EQ(tables.neighbours(), 1U);
}

TEST(TablesTest, ATellingThatWasBrokenOffEndsWithTheNext) {
  Tables tables;
  ASSERT_TRUE(tables.Put(Port("p", 1)).ok());
  tables.Begin();
  ASSERT_TRUE(tables.Put(Port("q", 2)).ok());
  tables.Begin();  // another connection
  ASSERT_TRUE(tables.Put(Port("r", 3)).ok());
  EXPECT_EQ(tables.ports().size(), 3U);
  tables.Whole();
  ASSERT_EQ(tables.ports().size(), 1U);
  EXPECT_NE(tables.FindPort("r"), nullptr);
}

TEST(TablesTest, WhatWasPutAfterAWholeStaysAtTheSame) {
  Tables tables;
  tables.Begin();
  tables.Whole();
  ASSERT_TRUE(tables.Put(Port("p", 1)).ok());
  EXPECT_NE(tables.FindPort("p"), nullptr);
  tables.Begin();
  tables.Whole();
  EXPECT_EQ(tables.FindPort("p"), nullptr);
}

TEST(TablesTest, ANetdevIsThePortsThatWasToldLast) {
  Tables tables;
  ASSERT_TRUE(tables.Put(Port("old", 1)).ok());
  ASSERT_TRUE(tables.Put(Port("new", 1)).ok());
  EXPECT_EQ(tables.FindPort("old"), nullptr);
  EXPECT_NE(tables.FindPort("new"), nullptr);
  // Moved away, its place is free.
  ASSERT_TRUE(tables.Put(Port("new", 2)).ok());
  ASSERT_TRUE(tables.Put(Port("old", 1)).ok());
  EXPECT_EQ(tables.ports().size(), 2U);
  tables.Remove({Kind::kPort, "new", {}});
  ASSERT_TRUE(tables.Put(Port("other", 2)).ok());
  EXPECT_EQ(tables.ports().size(), 2U);
}

TEST(TablesTest, Limits) {
  Tables tables({.subnets = 1, .ports = 1, .neighbours = 1});
  EXPECT_TRUE(tables.Put(Subnet("s")).ok());
  EXPECT_EQ(tables.Put(Subnet("t")).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(tables.Put(Subnet("s")).ok());
  EXPECT_TRUE(tables.Put(Port("p", 1)).ok());
  EXPECT_EQ(tables.Put(Port("q", 2)).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(tables.Put(SlowPathNeighbour{"s", Ip("10.0.0.7"), Mac(7)}).ok());
  EXPECT_EQ(tables.Put(SlowPathNeighbour{"u", Ip("10.0.0.8"), Mac(7)}).code(),
            absl::StatusCode::kResourceExhausted);
  tables.Remove({Kind::kNeighbour, "s", Ip("10.0.0.7")});
  EXPECT_TRUE(tables.Put(SlowPathNeighbour{"u", Ip("10.0.0.8"), Mac(7)}).ok());
}

TEST(TablesTest, TwoHundredThousandNeighbours) {
  Tables tables;
  for (uint32_t i = 0; i < 200'000; ++i) {
    const std::array<uint8_t, 4> address{10, static_cast<uint8_t>(i >> 16),
                                         static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)};
    ASSERT_TRUE(tables.Put(SlowPathNeighbour{"s", *IpAddress::FromBytes(address), Mac(1)}).ok());
  }
  EXPECT_EQ(tables.neighbours(), 200'000U);
  tables.Begin();
  tables.Whole();
  EXPECT_EQ(tables.neighbours(), 0U);
}

}  // namespace
}  // namespace fairlead::slowpath
