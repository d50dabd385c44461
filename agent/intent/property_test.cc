// SPDX-License-Identifier: Apache-2.0
//
// Random changes, good and bad, over a small space of values, so that they meet.
#include <gtest/gtest.h>

#include <random>

#include "agent/base/text.h"
#include "agent/intent/intent_test_util.h"

namespace fairlead {
namespace {

class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {}

  // For `world`, so that what needs something there finds it often enough.
  v1::Request Next(const World& world) {
    world_ = &world;
    v1::Request request = RequestFromText("");
    switch (Below(6)) {
      case 0:
        AddVm(request.mutable_add_vm_to_vpc());
        break;
      case 1: {
        v1::RemoveVmFromVpc* remove = request.mutable_remove_vm_from_vpc();
        remove->set_vm(Id("m"));
        remove->set_vpc(Id("v"));
        if (Below(2) == 0) remove->set_port(Id("p"));
        break;
      }
      default: {
        const bool one = Below(2) == 0;
        const int upserts = one ? 1 : Below(5), removes = one ? 0 : Below(4);
        request.mutable_apply();
        for (int i = 0; i < upserts; ++i) Upsert(request.mutable_apply()->add_upsert());
        for (int i = 0; i < removes; ++i) Remove(request.mutable_apply()->add_remove());
      }
    }
    return request;
  }

 private:
  int Below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }
  std::string Id(const char* prefix) { return Below(60) == 0 ? "!" : StrCat(prefix, Below(4)); }
  std::string Address() { return StrCat("10.0.", Below(4), ".", Below(5)); }
  std::string Mac() { return StrCat("52:54:00:00:00:0", Below(5)); }
  std::string Uuid() { return StrCat("00000000-0000-4000-8000-00000000000", 1 + Below(5)); }
  std::string Subnet() { return StrCat("s", Below(5)); }

  void AddVm(v1::AddVmToVpc* add) {
    add->mutable_vm()->set_id(Id("m"));
    if (Below(2) == 0) add->mutable_vm()->set_uuid(Uuid());
    add->set_vpc(Id("v"));
    if (Below(2) == 0) add->set_subnet(Subnet());
    if (Below(2) == 0) add->set_port(Id("p"));
    if (Below(2) == 0) add->set_mac(Mac());
    if (Below(2) == 0) add->add_addresses(Address());
  }

  void Prefixes(v1::Subnet* subnet) {
    const int third = Below(4);
    subnet->add_prefixes(Below(5) == 0 ? "10.0.0.0/23" : StrCat("10.0.", third, ".0/24"));
    if (Below(3) == 0) subnet->add_prefixes(StrCat("2001:db8:", third, "::/64"));
    if (Below(2) == 0) subnet->add_gateways(StrCat("10.0.", third, ".", Below(5)));
    if (Below(4) == 0) subnet->add_gateways(StrCat("2001:db8:", third, "::", Below(3)));
    if (Below(4) == 0) subnet->add_dns_servers(Address());
    if (Below(20) == 0) subnet->add_dns_servers("224.0.0.1");
  }

  void Pairs(v1::Port* port) {
    static constexpr const char* kPrefixes[] = {"10.0.0.0/24", "10.0.0.3", "10.0.0.3/32", "::/0",
                                                "2001:db8::1"};
    for (int i = Below(4); i > 0; --i) {
      v1::AddressPair* pair = port->add_allowed_pairs();
      if (Below(2) == 0) pair->set_mac(Below(12) == 0 ? kGatewayMac.ToString() : Mac());
      pair->set_prefix(Below(20) == 0 ? "10.0.0.3/24" : kPrefixes[Below(5)]);
    }
  }

  void Upsert(v1::Object* object) {
    switch (Below(11) / 2) {
      case 0:
        object->mutable_vpc()->set_id(Id("v"));
        if (Below(3) == 0) {
          if (const uint32_t vlan = Below(8); vlan < 6) {
            object->mutable_vpc()->set_vlan(vlan);
          } else {
            object->mutable_vpc()->set_flat(true);
          }
        } else {
          object->mutable_vpc()->set_vni(Below(6));
        }
        break;
      case 1:
        object->mutable_subnet()->set_id(Subnet());
        object->mutable_subnet()->set_vpc(Id("v"));
        Prefixes(object->mutable_subnet());
        break;
      case 2:
        object->mutable_vm()->set_id(Id("m"));
        object->mutable_vm()->set_uuid(Uuid());
        break;
      case 3: {
        v1::Port* port = object->mutable_port();
        port->set_id(Id("p"));
        if (Below(4) == 0) port->set_vm(Id("m"));
        port->set_vpc(Id("v"));
        port->set_subnet(Subnet());
        if (const auto* there = world_->FindSubnet(port->subnet())) {
          if (Below(3) != 0) port->set_vpc(there->vpc);
        }
        if (Below(2) == 0) port->set_mac(Mac());
        if (Below(40) == 0) port->set_mac(kGatewayMac.ToString());
        for (int i = std::max(0, Below(4) - 1); i > 0; --i) port->add_addresses(Address());
        if (Below(2) == 0) Pairs(port);
        if (Below(8) == 0) port->set_spoof_check(static_cast<v1::SpoofCheck>(Below(3)));
        if (Below(8) == 0) port->set_trust(true);
        if (Below(8) == 0) port->set_max_tx_mbps(Below(3));
        if (Below(8) == 0) port->set_min_tx_mbps(Below(3));
        break;
      }
      case 5: {
        static constexpr const char* kPrefixes[] = {"0.0.0.0/0",   "10.0.0.0/8",  "10.0.0.0/23",
                                                    "10.0.1.0/24", "10.0.2.4/30", "::/0"};
        v1::Route* route = object->mutable_route();
        route->set_id(Id("r"));
        route->set_vpc(Id("v"));
        route->set_prefix(kPrefixes[Below(6)]);
        route->set_next_hop(Below(5) == 0 ? StrCat("2001:db8:", Below(4), "::2") : Address());
        const auto* there = world_->FindSubnet(Subnet());
        if (there != nullptr && there->gateway4) {
          const std::string gateway = there->gateway4->ToString();
          route->set_vpc(there->vpc);
          route->set_next_hop(StrCat(gateway.substr(0, gateway.rfind('.')), ".", Below(5)));
        }
        break;
      }
      default: {
        v1::Endpoint* endpoint = object->mutable_endpoint();
        endpoint->set_id(Id("e"));
        endpoint->set_vpc(Id("v"));
        endpoint->set_mac(Mac());
        endpoint->add_addresses(Address());
        endpoint->set_vtep("192.0.2.1");
      }
    }
  }

  void Remove(v1::ObjectRef* ref) {
    static constexpr const char* kPrefixes[] = {"v", "s", "m", "p", "e", "r"};
    const int kind = Below(6);
    ref->set_kind(static_cast<v1::ObjectKind>(kind + 1));
    ref->set_id(Id(kPrefixes[kind]));
  }

  std::mt19937 random_;
  const World* world_ = nullptr;
};

TEST(AdmitProperty, AdmittedKeepsEveryInvariantAndRefusedChangesNothing) {
  int admitted = 0, refused = 0, changed = 0, with_gateway = 0, with_pairs = 0, routes = 0;
  size_t largest = 0;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    Generator generator(seed);
    World world;
    for (int step = 0; step < 400; ++step) {
      const v1::Request request = generator.Next(world);
      const std::string before = Dump(world);
      auto result = Admit(request, world, {}, {});
      ASSERT_EQ(Dump(world), before);
      if (auto* list = std::get_if<std::vector<Violation>>(&result)) {
        ++refused;
        ASSERT_FALSE(list->empty());
        for (const Violation& v : *list) ASSERT_FALSE(v.reason.empty());
        continue;
      }
      ++admitted;
      changed += !std::get<Change>(result).empty();
      world.Apply(std::get<Change>(result));
      ASSERT_EQ(BrokenInvariant(world), "") << request.ShortDebugString() << "\n" << Dump(world);
      largest = std::max(largest, world.size());
      for (const StoredObject& stored : std::get<Change>(result).upserts) {
        const auto* subnet = std::get_if<Subnet>(&stored.object);
        const auto* port = std::get_if<Port>(&stored.object);
        with_gateway += subnet != nullptr && (subnet->gateway4 || subnet->gateway6);
        routes += std::holds_alternative<Route>(stored.object);
        with_pairs += port != nullptr && !port->allowed_pairs.empty();
      }
      // The same again asks for nothing new.
      auto again = Admit(request, world, {}, {});
      if (auto* change = std::get_if<Change>(&again)) {
        ASSERT_TRUE(change->empty()) << request.ShortDebugString();
      } else {
        ADD_FAILURE() << "refused the second time: " << request.ShortDebugString() << "\n"
                      << std::get<std::vector<Violation>>(again).front().reason;
        return;
      }
    }
  }
  // The generator is worth something only if it comes by both, and by full worlds.
  EXPECT_GT(admitted, 500);
  EXPECT_GT(refused, 500);
  EXPECT_GT(changed, 300);
  EXPECT_GT(largest, 10U);
  EXPECT_GT(with_gateway, 50);
  EXPECT_GT(with_pairs, 20);
  EXPECT_GT(routes, 20);
}

}  // namespace
}  // namespace fairlead
