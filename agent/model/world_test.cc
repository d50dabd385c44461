// SPDX-License-Identifier: Apache-2.0
#include "agent/model/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "agent/base/test_types.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

IpAddress Ip(uint32_t n) {
  const uint8_t bytes[] = {10, 0, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)};
  return *IpAddress::FromBytes(bytes);
}
IpAddress Ip6(uint32_t n) { return *IpAddress::Parse(StrCat("2001:db8::", n)); }
IpPrefix Prefix(uint32_t n) { return *IpPrefix::Parse(StrCat("10.", n, ".0.0/16")); }
Uuid UuidOf(uint32_t n) {
  std::string tail = std::to_string(n);
  return *Uuid::Parse("123e4567-e89b-42d3-a456-" + std::string(12 - tail.size(), '0') + tail);
}

std::string Ids(const ObjectSet& objects) {
  std::vector<std::string> ids;
  for (const StoredObject* stored : objects) ids.push_back(IdOf(stored->object));
  return StrJoin(ids, ",");
}

// Everything that a World answers, asked over small universes of ids, as text.
std::string Dump(const World& world) {
  std::string out;
  auto owner = [](const std::optional<ObjectRef>& ref) { return ref ? ref->ToString() : "-"; };
  world.ForEach([&](const StoredObject& o) {
    StrAppend(&out, RefOf(o.object).ToString(), "#", o.generation, "@", o.ordinal, " ");
  });
  for (int i = 0; i < 12; ++i) {
    std::string id = StrCat("o", i);
    StrAppend(&out, "\n", id, " ", StrJoin(world.SubnetsOfVpc(id), ","), "|",
              StrJoin(world.PortsOfVpc(id), ","), "|", StrJoin(world.PortsOfSubnet(id), ","), "|",
              StrJoin(world.PortsOfVm(id), ","), "|", Ids(world.EndpointsOfVpc(id)), "|",
              Ids(world.EndpointsOfSubnet(id)), "|", Ids(world.RoutesOfVpc(id)), "|");
    for (uint32_t n = 0; n < 40; ++n) {
      StrAppend(&out, owner(world.OwnerOfMac(id, Mac(n))), owner(world.OwnerOfAddress(id, Ip(n))),
                owner(world.OwnerOfAddress(id, Ip6(n))), owner(world.RouteTo(id, Prefix(n))),
                Ids(world.RoutesBy(id, Ip(n))));
    }
  }
  for (uint32_t n = 0; n < 40; ++n) {
    StrAppend(&out, "\n", n, owner(world.OwnerOfVni(*Vni::Make(n + 1))),
              owner(world.OwnerOfUuid(UuidOf(n))), Ids(world.EndpointsOfVtep(Ip(n))));
  }
  for (uint32_t n = 0; n < 4000; ++n) {
    const StoredObject* object = world.FindByOrdinal(n);
    EXPECT_EQ(world.OrdinalInUse(n), object != nullptr);
    if (object == nullptr) continue;
    StrAppend(&out, " ", n, "=", RefOf(object->object).ToString());
    EXPECT_EQ(object, world.Find(RefOf(object->object)));
    EXPECT_EQ(object->ordinal, n);
  }
  return out;
}

// Draws admissible objects: unique keys are drawn from what is free in `world`.
class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {}
  uint32_t Pick(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
  std::string Id() { return StrCat("o", Pick(12)); }

  std::optional<Object> Draw(const World& world) {
    std::string id = Id();
    switch (Pick(6)) {
      case 0: {
        Vpc vpc{id, *Vni::Make(Pick(40) + 1)};
        if (Pick(2) == 0) {
          vpc.vni.reset();
          vpc.vlan = *VlanId::Make(Pick(40) + 1);
          return Free(world.OwnerOfVlan(*vpc.vlan), vpc) ? std::optional<Object>(vpc)
                                                         : std::nullopt;
        }
        return Free(world.OwnerOfVni(*vpc.vni), vpc) ? std::optional<Object>(vpc) : std::nullopt;
      }
      case 1: {
        Subnet subnet{id, Id(), IpPrefix::Parse("10.0.0.0/8").value(), {}};
        if (Pick(2) == 0) subnet.gateway4 = Ip(Pick(40));
        if (Pick(2) == 0) subnet.gateway6 = Ip6(Pick(40));
        for (const auto& gateway : {subnet.gateway4, subnet.gateway6}) {
          if (gateway && !Free(world.OwnerOfAddress(subnet.vpc, *gateway), subnet)) {
            return std::nullopt;
          }
        }
        return subnet;
      }
      case 2: {
        Vm vm{id, UuidOf(Pick(40))};
        return Free(world.OwnerOfUuid(vm.uuid), vm) ? std::optional<Object>(vm) : std::nullopt;
      }
      case 3: {
        Port port;
        port.id = id;
        port.vm = Pick(3) == 0 ? "" : Id();
        port.vpc = Id();
        port.subnet = Id();
        if (Pick(2) == 0) port.mac = Mac(Pick(40));
        uint32_t first = Pick(38);
        for (uint32_t i = 0; i < Pick(3); ++i) port.addresses.push_back(Ip(first + i));
        if (port.mac && !Free(world.OwnerOfMac(port.vpc, *port.mac), port)) return std::nullopt;
        for (const auto& a : port.addresses) {
          if (!Free(world.OwnerOfAddress(port.vpc, a), port)) return std::nullopt;
        }
        return port;
      }
      case 4: {
        Route route{id, Id(), Prefix(Pick(40)), Ip(Pick(40))};
        return Free(world.RouteTo(route.vpc, route.prefix), route) ? std::optional<Object>(route)
                                                                   : std::nullopt;
      }
      default: {
        Endpoint e{id, Id(), Id(), Mac(Pick(40)), {Ip(Pick(40))}, Ip(Pick(6))};
        if (!Free(world.OwnerOfMac(e.vpc, e.mac), e) ||
            !Free(world.OwnerOfAddress(e.vpc, e.addresses[0]), e)) {
          return std::nullopt;
        }
        return e;
      }
    }
  }

 private:
  static bool Free(const std::optional<ObjectRef>& owner, const Object& who) {
    return !owner || *owner == RefOf(who);
  }
  std::mt19937 random_;
};

TEST(WorldTest, AfterAnyChangesAllIndicesEqualThoseOfAFreshWorld) {
  for (uint32_t seed = 0; seed < 30; ++seed) {
    Generator draw(seed);
    World world;
    for (int step = 0; step < 120; ++step) {
      Change change;
      change.next_ordinal = world.next_ordinal();
      if (draw.Pick(3) == 0) {
        ObjectRef ref{kAllObjectKinds[draw.Pick(6)], draw.Id()};
        change.removes.push_back(ref);  // of one that may be absent: ignored
      } else if (auto object = draw.Draw(world)) {
        const StoredObject* old = world.Find(RefOf(*object));
        StoredObject stored{*object, old ? old->generation + 1 : 1,
                            old ? old->ordinal : change.next_ordinal++};
        change.upserts.push_back(stored);
      }
      world.Apply(change);
      if (step % 10 != 9) continue;
      std::vector<StoredObject> all;
      world.ForEach([&](const StoredObject& o) { all.push_back(o); });
      // In whatever order, and an object that is there twice counts as it is there last.
      if (!all.empty() && draw.Pick(2) == 0) {
        std::shuffle(all.begin(), all.end(), std::mt19937(seed));
        StoredObject stale = all.back();
        stale.generation += 7;
        all.insert(all.begin(), stale);
      }
      World fresh(all, world.next_ordinal());
      ASSERT_EQ(Dump(world), Dump(fresh)) << "seed " << seed << " step " << step;
    }
    // And nothing is left of it when all has gone.
    Change change;
    change.next_ordinal = world.next_ordinal();
    world.ForEach([&](const StoredObject& o) { change.removes.push_back(RefOf(o.object)); });
    world.Apply(change);
    EXPECT_EQ(world.size(), 0U);
    EXPECT_EQ(Dump(world), Dump(World({}, world.next_ordinal())));
  }
}

TEST(WorldTest, EndpointsAreInTheOrderOfTheirIdsAndFoundByThem) {
  const auto endpoint = [](const std::string& id, uint32_t n, const std::string& vpc) {
    return StoredObject{Endpoint{id, vpc, vpc + "-s", Mac(n), {Ip(n)}, Ip(100 + n % 2)}, 1, n};
  };
  World made(
      {endpoint("c", 1, "v"), endpoint("a", 2, "v"), endpoint("e", 3, "v"), endpoint("b", 4, "w")},
      5);
  World moved = std::move(made);  // what points into it stays right
  const World world = moved;      // and what points into a copy is its own
  EXPECT_NE(world.FindByOrdinal(1), moved.FindByOrdinal(1));
  moved.Apply({{}, {{ObjectKind::kEndpoint, "c"}}, 5});
  EXPECT_EQ(Ids(moved.EndpointsOfVpc("v")), "a,e");
  EXPECT_EQ(Ids(world.EndpointsOfVpc("v")), "a,c,e");
  EXPECT_EQ(Ids(world.EndpointsOfSubnet("w-s")), "b");
  EXPECT_EQ(Ids(world.EndpointsOfVtep(Ip(100))), "a,b");
  EXPECT_EQ(Ids(world.EndpointsOfVpc("nowhere")), "");
  const EndpointSet& endpoints = world.EndpointsOfVpc("v");
  EXPECT_EQ(*endpoints.lower_bound(std::string_view("b")), world.FindByOrdinal(1));
  EXPECT_EQ(*endpoints.upper_bound(std::string_view("c")), world.FindByOrdinal(3));
  EXPECT_EQ(endpoints.lower_bound(std::string_view("f")), endpoints.end());
  EXPECT_TRUE(endpoints.contains(std::string_view("a")));
  EXPECT_FALSE(endpoints.contains(std::string_view("b")));
  EXPECT_EQ(world.FindByOrdinal(4), world.Find({ObjectKind::kEndpoint, "b"}));
  EXPECT_EQ(world.FindByOrdinal(5), nullptr);
}

TEST(WorldTest, AMacMovesBetweenTwoObjectsInOneChange) {
  Endpoint a{"a", "v", "s", Mac(1), {Ip(1)}, Ip(100)};
  Endpoint b{"b", "v", "s", Mac(2), {Ip(2)}, Ip(100)};
  World world({{a, 1, 1}, {b, 1, 2}}, 3);
  std::swap(a.mac, b.mac);
  std::swap(a.addresses, b.addresses);
  world.Apply({{{a, 2, 1}, {b, 2, 2}}, {}, 3});
  EXPECT_EQ(world.OwnerOfMac("v", Mac(1))->id, "b");
  EXPECT_EQ(world.OwnerOfMac("v", Mac(2))->id, "a");
  EXPECT_EQ(world.OwnerOfAddress("v", Ip(1))->id, "b");
}

TEST(WorldTest, AGatewaysAddressIsItsSubnetsAndMovesInOneChange) {
  Subnet s{"s", "v", *IpPrefix::Parse("10.0.0.0/8"), *IpPrefix::Parse("2001:db8::/64")};
  s.gateway4 = Ip(1);
  s.gateway6 = *IpAddress::Parse("2001:db8::1");
  Endpoint e{"e", "v", "s", Mac(1), {Ip(2)}, Ip(100)};
  World world({{s, 1, 1}, {e, 1, 2}}, 3);
  const auto owner = [&](const IpAddress& address) {
    const auto ref = world.OwnerOfAddress("v", address);
    return ref ? ref->ToString() : "nobody";
  };
  EXPECT_EQ(owner(Ip(1)), "subnet/s");
  EXPECT_EQ(owner(*s.gateway6), "subnet/s");
  EXPECT_FALSE(world.OwnerOfAddress("w", Ip(1)));
  s.gateway4 = Ip(2);
  s.gateway6.reset();
  e.addresses = {Ip(1)};
  world.Apply({{{e, 2, 2}, {s, 2, 1}}, {}, 3});
  EXPECT_EQ(owner(Ip(1)), "endpoint/e");
  EXPECT_EQ(owner(Ip(2)), "subnet/s");
  EXPECT_EQ(owner(*IpAddress::Parse("2001:db8::1")), "nobody");
  world.Apply({{}, {{ObjectKind::kSubnet, "s"}}, 3});
  EXPECT_EQ(owner(Ip(2)), "nobody");
}

TEST(WorldTest, ARouteIsFoundByItsPrefixAndByItsNextHop) {
  const Route a{"a", "v", Prefix(1), Ip(1)}, b{"b", "v", Prefix(2), Ip(1)};
  Route other{"o", "w", Prefix(1), Ip(1)};
  World world({{a, 1, 1}, {b, 1, 2}, {other, 1, 3}}, 4);
  EXPECT_EQ(Ids(world.RoutesBy("v", Ip(1))), "a,b");
  EXPECT_EQ(Ids(world.RoutesOfVpc("w")), "o");
  EXPECT_EQ(world.RouteTo("v", Prefix(1))->id, "a");
  EXPECT_FALSE(world.RouteTo("v", *IpPrefix::Parse("10.1.0.0/17")));
  other.next_hop = Ip(2);
  other.vpc = "v";
  other.prefix = Prefix(2);  // which b gives up
  world.Apply({{{other, 2, 3}}, {{ObjectKind::kRoute, "b"}}, 4});
  EXPECT_EQ(Ids(world.RoutesBy("v", Ip(1))), "a");
  EXPECT_EQ(Ids(world.RoutesBy("v", Ip(2))), "o");
  EXPECT_EQ(world.RouteTo("v", Prefix(2))->id, "o");
  EXPECT_EQ(Ids(world.RoutesOfVpc("w")), "");
}

TEST(WorldTest, AKeyOfARemovedObjectGoesToItsHeirInOneChange) {
  World world({{Vpc{"old", *Vni::Make(7)}, 1, 1}}, 2);
  world.Apply({{{Vpc{"new", *Vni::Make(7)}, 1, 2}}, {{ObjectKind::kVpc, "old"}}, 3});
  EXPECT_EQ(world.OwnerOfVni(*Vni::Make(7))->id, "new");
  EXPECT_EQ(world.FindVpc("old"), nullptr);
  EXPECT_FALSE(world.OrdinalInUse(1));
  EXPECT_TRUE(world.OrdinalInUse(2));
  EXPECT_EQ(world.next_ordinal(), 3U);
}

TEST(WorldTest, ItIsKnownWhetherAnyVpcIsAnOverlay) {
  World world({{Vpc{"lan", {}, *VlanId::Make(7)}, 1, 1}, {Vpc{"v", *Vni::Make(7)}, 1, 2}}, 3);
  EXPECT_TRUE(world.HasOverlays());
  world.Apply({{}, {{ObjectKind::kVpc, "v"}}, 3});
  EXPECT_FALSE(world.HasOverlays());
}

TEST(WorldTest, TheSameMacAndAddressMayBeInTwoVpcs) {
  Endpoint a{"a", "v1", "s1", Mac(1), {Ip(1)}, Ip(100)};
  Endpoint b{"b", "v2", "s2", Mac(1), {Ip(1)}, Ip(100)};
  World world({{a, 1, 1}, {b, 1, 2}}, 3);
  EXPECT_EQ(world.OwnerOfMac("v1", Mac(1))->id, "a");
  EXPECT_EQ(world.OwnerOfMac("v2", Mac(1))->id, "b");
  EXPECT_FALSE(world.OwnerOfMac("v3", Mac(1)));
}

}  // namespace
}  // namespace fairlead
