// SPDX-License-Identifier: Apache-2.0
#include "agent/plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "agent/base/text.h"

namespace fairlead {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Verb = Operation::Verb;

VfId Vf(uint32_t n) { return {MacAddress({0x52, 0x54, 0, 0, 0, 1}), static_cast<uint16_t>(n)}; }
IpAddress Ip(uint8_t n) {
  const uint8_t bytes[] = {10, 0, 0, n};
  return *IpAddress::FromBytes(bytes);
}
Vni VniOf(uint32_t n) { return *Vni::Make(n); }
RuleTable BlockOf(uint32_t n) { return {.kind = RuleTable::Kind::kVpcBlock, .vni = VniOf(n)}; }

Resource MakeResource(ResourceSpec spec, std::vector<ResourceKey> depends = {}, Lease lease = 0) {
  struct Key {
    ResourceKey operator()(const VfPoolSpec& s) const { return VfPoolKey(s.pf); }
    ResourceKey operator()(const PfSpec& s) const { return PfKey(s.pf); }
    ResourceKey operator()(const TunnelSpec&) const { return TunnelKey(); }
    ResourceKey operator()(const UplinkSpec& s) const { return UplinkKey(s.pf); }
    ResourceKey operator()(const NeighbourSpec& s) const { return NeighbourKey(s.outer); }
    ResourceKey operator()(const VfSpec& s) const { return VfKey(s.vf); }
    ResourceKey operator()(const RepresentorSpec& s) const { return RepresentorKey(s.vf); }
    ResourceKey operator()(const FlowRuleSpec& s) const { return FlowRuleKey(s.rule.location); }
    ResourceKey operator()(const DriverBindingSpec& s) const { return DriverBindingKey(s.vf); }
    ResourceKey operator()(const GuestDeviceSpec& s) const { return GuestDeviceKey(s.vm, s.port); }
  };
  ResourceKey key = std::visit(Key(), spec);
  return {key, std::move(spec), std::move(depends), lease};
}
ObservedResource Seen(const Resource& resource, bool ours = true) {
  ObservedResource out;
  out.key = resource.key;
  out.spec = resource.spec;
  out.ours = ours;
  if (const auto* rule = std::get_if<FlowRuleSpec>(&resource.spec)) {
    out.content_hash = rule->rule.ContentHash();
    out.spec = FlowRuleSpec{};  // the kernel gives back a hash, not our rule
    std::get<FlowRuleSpec>(out.spec).rule.location = rule->rule.location;
  }
  return out;
}
WantedSet Wanted(std::vector<Resource> resources) {
  WantedSet out;
  for (Resource& r : resources) out.emplace(r.key, r);
  return out;
}
ObservedSet Observed(std::vector<ObservedResource> resources) {
  ObservedSet out;
  for (ObservedResource& r : resources) out.emplace(r.key, r);
  return out;
}
std::vector<std::string> Steps(const DiffResult& diff) {
  std::vector<std::string> out;
  for (const Operation& o : diff.operations) {
    out.push_back(StrCat(VerbName(o.verb), " ", o.resource.key.ToString()));
  }
  return out;
}
FlowRule Rule(uint32_t handle, uint32_t ifindex = 5) {
  FlowRule rule;
  rule.location = {{RuleTable::Kind::kVpcBlock, VniOf(7)}, 0, 2000, handle};
  rule.match.dst_mac = MacAddress({2, 0, 0, 0, 0, 1});
  rule.actions = {ActionRedirect{{DeviceRef::Kind::kRepresentor, Vf(1), ifindex}}};
  return rule;
}
TunnelSpec Tunnel() { return {"fl-vxlan0", Ip(1), 4789, 1450}; }
GuestDeviceSpec Guest() {
  GuestDeviceSpec spec;
  spec.vm = "vm";
  spec.port = "p";
  spec.device_id = GuestDeviceId(9, 1, 2);
  spec.bus = "rp1";
  return spec;
}

TEST(DifferencesTest, NameObservedAndWantedOfEveryAttribute) {
  auto differences = [](ResourceSpec wanted, ResourceSpec observed) {
    ObservedResource seen;
    seen.spec = observed;
    return Differences(wanted, seen);
  };
  EXPECT_THAT(differences(VfPoolSpec{{}, 4, false}, VfPoolSpec{{}, 0, true}),
              ElementsAre("count 0 -> 4", "autoprobe yes -> no"));
  EXPECT_THAT(differences(PfSpec{{}, {EswitchMode::kSwitchdev, {}, EswitchEncapMode::kBasic}},
                          PfSpec{{}, {EswitchMode::kLegacy, EswitchInlineMode::kLink, {}}}),
              ElementsAre("eswitch mode legacy -> switchdev", "encap unknown -> basic"));
  TunnelSpec other{"vx", Ip(2), 8472, 9000};
  EXPECT_THAT(differences(Tunnel(), other),
              ElementsAre("device vx -> fl-vxlan0", "local 10.0.0.2 -> 10.0.0.1",
                          "udp_port 8472 -> 4789", "mtu 9000 -> 1450"));
  EXPECT_THAT(differences(RepresentorSpec{Vf(1), BlockOf(1), true, true},
                          RepresentorSpec{Vf(1), BlockOf(2), false, false, false}),
              ElementsAre("block block-2 -> block-1", "up no -> yes", "default_drop no -> yes",
                          "addr_gen_none no -> yes"));
  EXPECT_THAT(differences(VfSpec{Vf(1), {}, {100, true, false, 500, 0, false}},
                          VfSpec{Vf(1), {}, {101, false, true, 0, 1, true}}),
              ElementsAre("vlan 101 -> 100", "spoof_check no -> yes", "trust yes -> no",
                          "max_tx_mbps 0 -> 500", "min_tx_mbps 1 -> 0", "link_disabled yes -> no"));
  EXPECT_THAT(differences(VfSpec{Vf(1), MacAddress({2, 0, 0, 0, 0, 1})}, VfSpec{Vf(1)}),
              ElementsAre("mac unknown -> 02:00:00:00:00:01"));
  EXPECT_THAT(differences(DriverBindingSpec{Vf(1), "vfio-pci", 1, 2, 0660},
                          DriverBindingSpec{Vf(1), "", 0, 0, 0600}),
              ElementsAre("driver none -> vfio-pci", "node_uid 0 -> 1", "node_gid 0 -> 2",
                          "node_mode 0600 -> 0660"));
  GuestDeviceSpec guest = Guest(), moved = Guest();
  moved.bus = "rp2";
  moved.host = {0, 1, 0, 1};
  moved.device_id = "fairlead-p1-l1";
  EXPECT_THAT(differences(guest, moved),
              ElementsAre("device_id fairlead-p1-l1 -> fairlead-00000009-p1-l2",
                          "host 0000:01:00.1 -> 0000:00:00.0", "bus rp2 -> rp1"));
  EXPECT_EQ(differences(Tunnel(), VfPoolSpec{}).size(), 1U);
}

// Whose the qdisc of an uplink is makes no difference to whoever needs one.
TEST(DifferencesTest, AnUplinkIsAsWantedWhoeverMadeIt) {
  const NicId pf = MacAddress({2, 0, 0, 0, 0, 1});
  ObservedResource seen;
  seen.spec = UplinkSpec{pf, false};
  EXPECT_THAT(Differences(UplinkSpec{pf, std::nullopt}, seen), IsEmpty());
}

TEST(DifferencesTest, WhatWantedLeavesOpenIsNotCompared) {
  ObservedResource seen;
  seen.spec = VfSpec{Vf(1), MacAddress({2, 0, 0, 0, 0, 1})};
  EXPECT_THAT(Differences(VfSpec{Vf(1), {}}, seen), IsEmpty());
  seen.spec = DriverBindingSpec{Vf(1), "vfio-pci", 64, 65, 0600};
  EXPECT_THAT(Differences(DriverBindingSpec{Vf(1), "vfio-pci", {}, {}, {}}, seen), IsEmpty());
}

TEST(DifferencesTest, EvidenceIsNoAttribute) {
  Resource rule = MakeResource(FlowRuleSpec{Rule(1)});
  ObservedResource seen = Seen(rule);
  seen.hardware = RuleHardware::kSoftware;
  seen.in_hw_count = 3;
  EXPECT_THAT(Differences(rule.spec, seen), IsEmpty());
  Resource neighbour = MakeResource(NeighbourSpec{Ip(9)});
  seen = Seen(neighbour);
  seen.neighbour = NeighbourState::kNoRoute;
  EXPECT_THAT(Differences(neighbour.spec, seen), IsEmpty());
}

// ovs f9507c1ea: an ifindex that changed left a rule that could not be deleted.
TEST(DifferencesTest, ARuleThatNamesARecreatedNetdevIsAnotherRule) {
  Resource old = MakeResource(FlowRuleSpec{Rule(1, 5)});
  EXPECT_EQ(Differences(FlowRuleSpec{Rule(1, 6)}, Seen(old)).size(), 1U);
}

// A VF has no existence of its own to delete; the provider cleans it then.
TEST(DiffTest, AVfThatNobodyWantsAnyMoreIsDeleted) {
  Resource vf = MakeResource(VfSpec{Vf(1), {}});
  EXPECT_THAT(Steps(Diff({}, Observed({Seen(vf)}), {})),
              ElementsAre("delete vf/52:54:00:00:00:01/1"));
}

TEST(DiffTest, WithoutPruneNothingIsDeletedForBeingAbsent) {
  Resource vf = MakeResource(VfSpec{Vf(1), {}});
  EXPECT_THAT(Steps(Diff({}, Observed({Seen(vf)}), {.prune = false})), IsEmpty());
}

TEST(DiffTest, AForeignObjectInOurPlaceIsAConflictAndNothingIsBuiltOnIt) {
  Resource tunnel = MakeResource(Tunnel());
  Resource rule = MakeResource(FlowRuleSpec{Rule(1)}, {tunnel.key});
  Resource binding = MakeResource(DriverBindingSpec{Vf(1), "vfio-pci", {}, {}, {}}, {rule.key});
  Resource other = MakeResource(VfSpec{Vf(2), {}});
  auto diff = Diff(Wanted({tunnel, rule, binding, other}), Observed({Seen(tunnel, false)}), {});
  EXPECT_THAT(diff.conflicts, ElementsAre(tunnel.key));
  EXPECT_THAT(diff.blocked, ElementsAre(rule.key, binding.key));
  EXPECT_THAT(Steps(diff), ElementsAre("create vf/52:54:00:00:00:01/2"));
}

TEST(DiffTest, AGuestDeviceOnAnotherBusIsUnpluggedAndPluggedAgain) {
  Resource wanted = MakeResource(Guest(), {}, 2);
  Resource old = wanted;
  std::get<GuestDeviceSpec>(old.spec).bus = "rp2";
  auto diff = Diff(Wanted({wanted}), Observed({Seen(old)}), {.prune = false});
  EXPECT_THAT(Steps(diff), ElementsAre("delete guest-device/vm/p", "create guest-device/vm/p"));
  EXPECT_EQ(std::get<GuestDeviceSpec>(diff.operations[0].resource.spec).bus, "rp2");
  EXPECT_EQ(std::get<GuestDeviceSpec>(diff.operations[1].resource.spec).bus, "rp1");
  EXPECT_EQ(diff.operations[0].resource.lease, 2U);
  EXPECT_THAT(diff.operations[0].detail, HasSubstr("bus rp2 -> rp1"));
}

TEST(DiffTest, ARepresentorInAnotherBlockRemakesItsRulesButUnplugsNoVm) {
  Resource representor = MakeResource(RepresentorSpec{Vf(1), BlockOf(1)});
  Resource rule = MakeResource(FlowRuleSpec{Rule(1)}, {representor.key});
  Resource binding = MakeResource(DriverBindingSpec{Vf(1), "vfio-pci", {}, {}, {}}, {rule.key});
  Resource guest = MakeResource(Guest(), {binding.key});
  Resource old = representor;
  std::get<RepresentorSpec>(old.spec).block->vni = VniOf(2);
  // The guest device is not there: it is made, but nothing of it is deleted.
  auto diff = Diff(Wanted({representor, rule, binding, guest}),
                   Observed({Seen(old), Seen(rule), Seen(binding)}), {});
  EXPECT_THAT(
      Steps(diff),
      ElementsAre("delete flow-rule/block-7/0/2000/1", "delete representor/52:54:00:00:00:01/1",
                  "create representor/52:54:00:00:00:01/1", "create flow-rule/block-7/0/2000/1",
                  "create guest-device/vm/p"));
}

TEST(DiffTest, ARepresentorThatLostItsBlockIsMendedWhereItStands) {
  Resource representor = MakeResource(RepresentorSpec{Vf(1), BlockOf(1)});
  Resource old = representor;
  std::get<RepresentorSpec>(old.spec).block.reset();
  EXPECT_THAT(Steps(Diff(Wanted({representor}), Observed({Seen(old)}), {})),
              ElementsAre("update representor/52:54:00:00:00:01/1"));
}

TEST(DiffTest, AnotherTunnelRemakesItsRulesButUnplugsNoVm) {
  Resource tunnel = MakeResource(Tunnel());
  Resource representor = MakeResource(RepresentorSpec{Vf(1), BlockOf(1)}, {tunnel.key});
  Resource rule = MakeResource(FlowRuleSpec{Rule(1)}, {representor.key, tunnel.key});
  Resource binding = MakeResource(DriverBindingSpec{Vf(1), "vfio-pci", {}, {}, {}}, {rule.key});
  Resource old = tunnel;
  std::get<TunnelSpec>(old.spec).udp_port = 8472;
  auto diff = Diff(Wanted({tunnel, representor, rule, binding}),
                   Observed({Seen(old), Seen(representor), Seen(rule), Seen(binding)}), {});
  EXPECT_THAT(Steps(diff), ElementsAre("delete flow-rule/block-7/0/2000/1", "delete tunnel/host",
                                       "create tunnel/host", "create flow-rule/block-7/0/2000/1"));
}

TEST(DiffTest, AnotherTunnelAndAnotherBlockAtTheSameTimeUnplugNoVm) {
  Resource tunnel = MakeResource(Tunnel());
  Resource representor = MakeResource(RepresentorSpec{Vf(1), BlockOf(1)}, {tunnel.key});
  Resource rule = MakeResource(FlowRuleSpec{Rule(1)}, {representor.key, tunnel.key});
  Resource binding = MakeResource(DriverBindingSpec{Vf(1), "vfio-pci", {}, {}, {}}, {rule.key});
  Resource old_tunnel = tunnel, old_representor = representor;
  std::get<TunnelSpec>(old_tunnel.spec).udp_port = 8472;
  std::get<RepresentorSpec>(old_representor.spec).block->vni = VniOf(2);
  auto diff =
      Diff(Wanted({tunnel, representor, rule, binding}),
           Observed({Seen(old_tunnel), Seen(old_representor), Seen(rule), Seen(binding)}), {});
  EXPECT_THAT(Steps(diff), Not(Contains("delete driver-binding/52:54:00:00:00:01/1")));
  EXPECT_EQ(diff.operations.size(), 6U);
}

TEST(DiffTest, AnMtuIsChangedInPlace) {
  Resource tunnel = MakeResource(Tunnel());
  Resource old = tunnel;
  std::get<TunnelSpec>(old.spec).mtu = 1500;
  auto diff = Diff(Wanted({tunnel}), Observed({Seen(old)}), {});
  ASSERT_EQ(diff.operations.size(), 1U);
  EXPECT_EQ(Describe(diff.operations[0]), "update tunnel/host: mtu 1500 -> 1450");
  ASSERT_TRUE(diff.operations[0].current.has_value());
  EXPECT_EQ(std::get<TunnelSpec>(diff.operations[0].current->spec).mtu, 1500U);
}

TEST(DiffTest, AResourceWhoseDependencyIsUnknownIsStillPlanned) {
  Resource rule = MakeResource(FlowRuleSpec{Rule(1)}, {RepresentorKey(Vf(9))});
  EXPECT_THAT(Steps(Diff(Wanted({rule}), {}, {})),
              ElementsAre("create flow-rule/block-7/0/2000/1"));
}

TEST(DescribeTest, ACreatedRuleIsPrintedAsItWillBe) {
  Resource rule = MakeResource(FlowRuleSpec{Rule(1)});
  auto diff = Diff(Wanted({rule}), {}, {});
  EXPECT_EQ(Describe(diff.operations.at(0)),
            StrCat("create flow-rule/block-7/0/2000/1: ", Rule(1).ToString()));
}

// --- Properties over random wanted and observed sets.

class Draw {
 public:
  explicit Draw(uint32_t seed) : random_(seed) {}
  uint32_t Pick(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

  ResourceSpec Spec(uint32_t kind, uint32_t n) {
    switch (static_cast<ResourceKind>(kind)) {
      case ResourceKind::kVfPool:
        return VfPoolSpec{MacAddress({2, 0, 0, 0, 0, static_cast<uint8_t>(n)}),
                          static_cast<uint16_t>(Pick(2)), Pick(2) == 0};
      case ResourceKind::kPf: {
        PfSpec spec{MacAddress({2, 0, 0, 0, 0, static_cast<uint8_t>(n)}), {}};
        if (Pick(3) != 0) spec.eswitch.mode = static_cast<EswitchMode>(Pick(2));
        if (Pick(2) != 0) spec.eswitch.encap_mode = static_cast<EswitchEncapMode>(Pick(2));
        return spec;
      }
      case ResourceKind::kTunnel:
        return TunnelSpec{"t", Ip(static_cast<uint8_t>(Pick(2))),
                          static_cast<uint16_t>(4789 + Pick(2)), 1450 + Pick(2)};
      case ResourceKind::kUplink:
        return UplinkSpec{MacAddress({2, 0, 0, 0, 0, static_cast<uint8_t>(n)}), std::nullopt};
      case ResourceKind::kNeighbour:
        return NeighbourSpec{Ip(static_cast<uint8_t>(n))};
      case ResourceKind::kVf:
        return VfSpec{
            Vf(n),
            Pick(3) == 0
                ? std::nullopt
                : std::optional(MacAddress({2, 0, 0, 0, 0, static_cast<uint8_t>(Pick(2))})),
            VfSettings{static_cast<uint16_t>(Pick(2)), Pick(2) == 0, {}, {}, {}}};
      case ResourceKind::kRepresentor:
        return RepresentorSpec{Vf(n), BlockOf(1 + Pick(2)), Pick(2) == 0, Pick(2) == 0};
      case ResourceKind::kFlowRule:
        return FlowRuleSpec{Rule(n + 1, Pick(2))};
      case ResourceKind::kDriverBinding:
        return DriverBindingSpec{Vf(n), Pick(2) == 0 ? "vfio-pci" : "", {}, {}, {}};
      case ResourceKind::kGuestDevice: {
        GuestDeviceSpec spec = Guest();
        spec.port = StrCat("p", n);
        spec.bus = StrCat("rp", Pick(2));
        return spec;
      }
    }
    return VfPoolSpec{};
  }

  // Dependencies go from a kind to lower ones, as compilers make them; some lead
  // to keys that nobody wants.
  void Sets(WantedSet& wanted, ObservedSet& observed) {
    std::vector<ResourceKey> below;
    for (uint32_t kind = 0; kind < 10; ++kind) {
      std::vector<ResourceKey> here;
      for (uint32_t n = 0; n < 4; ++n) {
        Resource resource = MakeResource(Spec(kind, n));
        for (uint32_t d = Pick(3); d > 0 && !below.empty(); --d) {
          resource.depends.push_back(below[Pick(static_cast<uint32_t>(below.size()))]);
        }
        here.push_back(resource.key);
        if (Pick(3) != 0) wanted.insert_or_assign(resource.key, resource);
        if (Pick(2) == 0) {
          Resource other = MakeResource(Spec(kind, n));
          observed.insert_or_assign(other.key, Seen(other, Pick(8) != 0));
        }
      }
      below.insert(below.end(), here.begin(), here.end());
    }
  }

 private:
  std::mt19937 random_;
};

void ApplyTo(ObservedSet& model, const Operation& operation) {
  const ResourceKey& key = operation.resource.key;
  auto it = model.find(key);
  switch (operation.verb) {
    case Verb::kCreate:
      ASSERT_EQ(it, model.end()) << "created although it is there: " << Describe(operation);
      model.emplace(key, Seen(operation.resource));
      break;
    case Verb::kUpdate: {
      ASSERT_NE(it, model.end()) << Describe(operation);
      ASSERT_TRUE(it->second.ours) << Describe(operation);
      it->second = Seen(operation.resource);
      break;
    }
    case Verb::kDelete:
      ASSERT_NE(it, model.end()) << Describe(operation);
      ASSERT_TRUE(it->second.ours) << Describe(operation);
      model.erase(it);
      break;
  }
}

TEST(DiffPropertyTest, AfterApplyingThePlanTheNextOneIsEmpty) {
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    Draw draw(seed);
    WantedSet wanted;
    ObservedSet observed;
    draw.Sets(wanted, observed);
    ObservedSet model = observed;
    DiffResult diff = Diff(wanted, observed, {});
    for (const Operation& operation : diff.operations) ApplyTo(model, operation);
    if (HasFatalFailure()) FAIL() << "seed " << seed;
    DiffResult again = Diff(wanted, model, {});
    ASSERT_THAT(Steps(again), IsEmpty()) << "seed " << seed;
    ASSERT_EQ(again.conflicts, diff.conflicts);
    // What is neither in conflict nor blocked by one is now there, as wanted.
    for (const auto& [key, resource] : wanted) {
      if (std::count(diff.conflicts.begin(), diff.conflicts.end(), key) != 0) continue;
      if (std::count(diff.blocked.begin(), diff.blocked.end(), key) != 0) continue;
      ASSERT_TRUE(model.contains(key)) << key.ToString();
    }
    // And nothing foreign was touched.
    for (const auto& [key, resource] : observed) {
      if (resource.ours) continue;
      ASSERT_FALSE(model.at(key).ours);
      ASSERT_EQ(model.at(key).spec, resource.spec);
      ASSERT_EQ(std::count(diff.conflicts.begin(), diff.conflicts.end(), key),
                wanted.contains(key) ? 1 : 0);
    }
  }
}

TEST(DiffPropertyTest, CreatesFollowWhatTheyDependOnAndDeletesPrecedeIt) {
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    Draw draw(seed);
    WantedSet wanted;
    ObservedSet observed;
    draw.Sets(wanted, observed);
    DiffResult diff = Diff(wanted, observed, {});
    std::map<ResourceKey, size_t> made, deleted;
    size_t last_delete = 0, first_make = diff.operations.size();
    for (size_t i = 0; i < diff.operations.size(); ++i) {
      const Operation& operation = diff.operations[i];
      auto& where = operation.verb == Verb::kDelete ? deleted : made;
      ASSERT_TRUE(where.emplace(operation.resource.key, i).second) << "twice in one plan";
      if (operation.verb == Verb::kDelete) {
        last_delete = i + 1;
      } else {
        first_make = std::min(first_make, i);
      }
    }
    EXPECT_LE(last_delete, first_make);
    for (const auto& [key, resource] : wanted) {
      for (const ResourceKey& dependency : resource.depends) {
        if (made.contains(key) && made.contains(dependency)) {
          ASSERT_LT(made[dependency], made[key]) << "seed " << seed;
        }
        if (deleted.contains(key) && deleted.contains(dependency)) {
          ASSERT_GT(deleted[dependency], deleted[key]) << "seed " << seed;
        }
      }
    }
  }
}

TEST(DiffPropertyTest, WithoutPruneOnlyWantedKeysAreTouched) {
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    Draw draw(seed);
    WantedSet wanted;
    ObservedSet observed;
    draw.Sets(wanted, observed);
    for (const Operation& o : Diff(wanted, observed, {.prune = false}).operations) {
      ASSERT_TRUE(wanted.contains(o.resource.key)) << Describe(o);
    }
  }
}

}  // namespace
}  // namespace fairlead
