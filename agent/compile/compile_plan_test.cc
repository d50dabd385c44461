// SPDX-License-Identifier: Apache-2.0
//
// Compile and plan together, over random worlds.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "agent/base/text.h"
#include "agent/compile/test_host.h"
#include "agent/plan/plan.h"

namespace fairlead {
namespace {

struct Unit {
  ObjectRef owner;
  std::vector<Resource> resources;
};

// A world with a few VPCs, subnets, attached ports and endpoints, and the units
// that the engine would compile of it.
class RandomHost {
 public:
  explicit RandomHost(uint32_t seed) : random_(seed), facts_(Facts(24)) {
    std::vector<StoredObject> objects;
    uint32_t ordinal = 1;
    uint16_t vf = 0;
    uint32_t mac = 1;
    for (uint32_t v = 0; v < 2 + Pick(2); ++v) {
      Vpc vpc{StrCat("v", v), *Vni::Make(100 + v)};
      objects.push_back({vpc, 1, ordinal++});
      for (uint32_t s = 0; s < 1 + Pick(2); ++s) {
        Subnet subnet{
            StrCat(vpc.id, "-s", s), vpc.id, *IpPrefix::Parse(StrCat("10.", s, ".0.0/16")), {}};
        if (Pick(2) == 0) subnet.prefix6 = *IpPrefix::Parse(StrCat("fd00:0:0:", s, "::/64"));
        if (Pick(2) == 0) subnet.gateway4 = Ip(StrCat("10.", s, ".0.1"));
        objects.push_back({subnet, 1, ordinal++});
        for (uint32_t p = Pick(4); p > 0 && vf < 24; --p) {
          Port port;
          port.id = StrCat(subnet.id, "-p", p);
          port.vm = Pick(3) == 0 ? "" : "vm";
          port.vpc = vpc.id;
          port.subnet = subnet.id;
          if (Pick(2) == 0) port.mac = Mac(mac++);
          if (Pick(3) != 0) port.addresses = {Ip(StrCat("10.", s, ".6.", p))};
          Attachment attachment;
          attachment.vf = {Mac(0xff01), vf++};
          attachment.lease = vf;
          attachment.port = port.id;
          attachment.port_ordinal = ordinal;
          attachment.vm = port.vm;
          attachment.bus = StrCat("rp", vf);
          attachment.vni = vpc.vni;
          attachments_[port.id] = attachment;
          objects.push_back({port, 1, ordinal++});
        }
        for (uint32_t e = Pick(5); e > 0; --e) {
          objects.push_back({Endpoint{StrCat(subnet.id, "-e", e),
                                      vpc.id,
                                      subnet.id,
                                      Mac(0x4000 + mac++),
                                      {Ip(StrCat("10.", s, ".5.", e))},
                                      Ip(StrCat("192.0.2.", 1 + Pick(4)))},
                             1, ordinal++});
        }
      }
    }
    world_ = World(std::move(objects), ordinal);
  }

  uint32_t Pick(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
  World& world() { return world_; }

  std::vector<Unit> Compile() const {
    std::vector<Unit> out;
    out.push_back({{ObjectKind::kVm, "host"}, CompileHost(Config(), facts_, true)});
    world_.ForEach([&](const StoredObject& object) {
      Unit unit{RefOf(object.object), {}};
      if (const auto* port = std::get_if<Port>(&object.object)) {
        auto resources = CompilePort(
            Config(),
            {&object, world_.Find({ObjectKind::kVpc, port->vpc}),
             world_.Find({ObjectKind::kSubnet, port->subnet}), &attachments_.at(port->id)},
            facts_);
        EXPECT_TRUE(resources.ok()) << resources.status();
        unit.resources = *resources;
      } else if (const auto* vpc = std::get_if<Vpc>(&object.object)) {
        if (auto any = AnyVf(vpc->id)) {
          unit.resources = CompileVpc(Context(vpc->id), *any);
        }
      } else if (const auto* subnet = std::get_if<Subnet>(&object.object)) {
        if (auto any = AnyVf(subnet->vpc)) {
          unit.resources = CompileSubnet(Context(subnet->vpc), object, *any);
        }
      } else if (const auto* endpoint = std::get_if<Endpoint>(&object.object)) {
        if (auto any = AnyVf(endpoint->vpc)) {
          const StoredObject& of = *world_.Find({ObjectKind::kSubnet, endpoint->subnet});
          unit.resources =
              CompileEndpoint(Context(endpoint->vpc),
                              ContextOf(std::get<Subnet>(of.object), of.ordinal), object, *any);
        }
      }
      out.push_back(std::move(unit));
    });
    return out;
  }

 private:
  VpcContext Context(const std::string& vpc) const {
    const StoredObject& stored = *world_.Find({ObjectKind::kVpc, vpc});
    return {*std::get<Vpc>(stored.object).vni, stored.ordinal, *facts_.tunnel};
  }
  std::optional<VfId> AnyVf(const std::string& vpc) const {
    const auto& ports = world_.PortsOfVpc(vpc);
    if (ports.empty()) return std::nullopt;
    return attachments_.at(*ports.begin()).vf;
  }

  std::mt19937 random_;
  HostFacts facts_;
  World world_;
  std::map<std::string, Attachment> attachments_;
};

WantedSet Join(const std::vector<Unit>& units) {
  WantedSet out;
  for (const Unit& unit : units) {
    for (const Resource& resource : unit.resources) {
      EXPECT_TRUE(out.emplace(resource.key, resource).second) << resource.key.ToString();
    }
  }
  return out;
}

void Apply(ObservedSet& model, const DiffResult& diff) {
  for (const Operation& operation : diff.operations) {
    const Resource& resource = operation.resource;
    if (operation.verb == Operation::Verb::kDelete) {
      ASSERT_EQ(model.erase(resource.key), 1U) << Describe(operation);
      continue;
    }
    for (const ResourceKey& dependency : resource.depends) {
      ASSERT_TRUE(model.contains(dependency))
          << Describe(operation) << " before " << dependency.ToString();
    }
    ObservedResource seen;
    seen.key = resource.key;
    seen.spec = resource.spec;
    if (const auto* rule = std::get_if<FlowRuleSpec>(&resource.spec)) {
      seen.content_hash = rule->rule.ContentHash();
    }
    model.insert_or_assign(resource.key, seen);
  }
}

TEST(CompileAndPlanTest, AppliedOnceNothingIsLeftToDo) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    RandomHost host(seed);
    const WantedSet wanted = Join(host.Compile());
    ObservedSet model;
    Apply(model, Diff(wanted, model, {}));
    ASSERT_FALSE(HasFatalFailure()) << "seed " << seed;
    DiffResult again = Diff(wanted, model, {});
    ASSERT_TRUE(again.operations.empty()) << Describe(again.operations[0]);
    ASSERT_TRUE(again.conflicts.empty());
    // Bit for bit the same from the same inputs.
    ASSERT_EQ(Join(host.Compile()), wanted);
  }
}

// ovs PR 404: deleting one port flushed other ports' rules.
TEST(CompileAndPlanTest, RemovingAPortDeletesOnlyWhatIsItsOwn) {
  int removed = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    RandomHost host(seed);
    const std::vector<Unit> units = host.Compile();
    ObservedSet model;
    Apply(model, Diff(Join(units), model, {}));
    std::vector<StoredObject> leaves;
    host.world().ForEach([&](const StoredObject& object) {
      if (RefOf(object.object).kind == ObjectKind::kPort ||
          RefOf(object.object).kind == ObjectKind::kEndpoint) {
        leaves.push_back(object);
      }
    });
    if (leaves.empty()) continue;
    const StoredObject victim = leaves[host.Pick(static_cast<uint32_t>(leaves.size()))];
    const ObjectRef ref = RefOf(victim.object);
    const auto* port = std::get_if<Port>(&victim.object);
    const auto* endpoint = std::get_if<Endpoint>(&victim.object);
    const std::string vpc = port ? port->vpc : endpoint->vpc;
    host.world().Apply({{}, {ref}, host.world().next_ordinal()});

    // What may change: the object's own keys, and all of the VPC's when its last port here
    // has gone.
    const bool vpc_ends = host.world().PortsOfVpc(vpc).empty();
    std::set<ResourceKey> own, may_change;
    for (const Unit& unit : units) {
      const bool shared = vpc_ends && (unit.owner == ObjectRef{ObjectKind::kVpc, vpc} ||
                                       unit.owner.id.starts_with(vpc + "-"));
      for (const Resource& resource : unit.resources) {
        if (unit.owner == ref) own.insert(resource.key);
        if (unit.owner == ref || shared) may_change.insert(resource.key);
      }
    }
    DiffResult diff = Diff(Join(host.Compile()), model, {});
    for (const Operation& operation : diff.operations) {
      ASSERT_TRUE(may_change.contains(operation.resource.key))
          << "seed " << seed << " " << ref.ToString() << ": " << Describe(operation);
      ASSERT_EQ(operation.verb, Operation::Verb::kDelete) << Describe(operation);
    }
    if (port != nullptr) {
      ++removed;
      std::set<ResourceKey> deleted;
      for (const Operation& o : diff.operations) {
        if (o.verb == Operation::Verb::kDelete) deleted.insert(o.resource.key);
      }
      EXPECT_TRUE(std::includes(deleted.begin(), deleted.end(), own.begin(), own.end()))
          << "something of the port stayed, seed " << seed;
    }
    Apply(model, diff);
    ASSERT_TRUE(Diff(Join(host.Compile()), model, {}).operations.empty());
  }
  EXPECT_GT(removed, 10);
}

}  // namespace
}  // namespace fairlead
