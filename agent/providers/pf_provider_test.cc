// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/pf_provider.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/providers/rule_provider.h"
#include "agent/providers/test_pf_host.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST_F(PfProviderTest, RepresentorsAreFoundByDevlinkNumbersWhateverTheirNames) {
  config.pfs[0].representors.clear();
  FakeDevlinkOptions nic;
  nic.handle = DevlinkHandle::Pci(kPfPci);
  eswitch->AddDevice(nic);
  ASSERT_TRUE(eswitch->SetVfCount(nic.handle, 2).ok());
  auto seen = pf.Observe(kPf);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->facts.eswitch.mode, EswitchMode::kLegacy);
  EXPECT_EQ(seen->facts.vfs[0].representor, "") << "in legacy mode there is none";

  DevlinkEswitch switchdev;
  switchdev.mode = EswitchMode::kSwitchdev;
  ASSERT_TRUE(devlink.SetEswitch(nic.handle, switchdev).ok());
  const auto ports = devlink.ListPorts(nic.handle);
  ASSERT_TRUE(ports.ok());
  const auto second = FindVfRepresentor(*ports, {.vf = 1, .pf = {}});
  ASSERT_TRUE(second.ok()) << second.status();
  network->ChangeLink(second->ifindex, [](LinkInfo& link) { link.name = "udev17"; });
  seen = pf.Observe(kPf);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->facts.eswitch.mode, EswitchMode::kSwitchdev);
  EXPECT_NE(seen->facts.vfs[0].representor_ifindex, 0U);
  EXPECT_EQ(seen->facts.vfs[1].representor_ifindex, second->ifindex);
  EXPECT_EQ(seen->facts.vfs[1].representor, "udev17");

  const auto made = pf.PutRepresentor({{kPf, 1}, RuleTable{.vni = *Vni::Make(100)}});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->ifindex, second->ifindex);
  EXPECT_TRUE(pf.DeleteRepresentor({kPf, 1}).ok());
}

TEST_F(PfProviderTest, AConfiguredRepresentorCountsBeforeDevlinks) {
  FakeDevlinkOptions nic;
  nic.handle = DevlinkHandle::Pci(kPfPci);
  nic.mode = EswitchMode::kSwitchdev;
  eswitch->AddDevice(nic);
  ASSERT_TRUE(eswitch->SetVfCount(nic.handle, 2).ok());
  const auto seen = pf.Observe(kPf);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->facts.vfs[1].representor, "rep1");
}

// --- The qdisc of the uplink, which is the host's too.

TEST_F(PfProviderTest, AnUplinkThatThisAgentMadeIsMarkedAndGoes) {
  const auto made = pf.PutUplink({kPf, std::nullopt});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(std::get<UplinkSpec>(made->spec).made, true);
  EXPECT_EQ(made->ifindex, 10U);
  const auto seen = pf.Observe(kPf);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_TRUE(std::any_of(seen->resources.begin(), seen->resources.end(), [](const auto& r) {
    return r.key == UplinkKey(kPf) && std::get<UplinkSpec>(r.spec).made == true;
  }));
  EXPECT_TRUE(pf.DeleteUplink(kPf).ok());
  EXPECT_FALSE(tc.GetQdisc(10)->clsact);
  EXPECT_TRUE(pf.DeleteUplink(kPf).ok()) << "gone is success";
}

TEST_F(PfProviderTest, AnUplinkOfAnotherStoreIsSomebodyElses) {
  ASSERT_TRUE(pf.PutUplink({kPf, std::nullopt}).ok());
  config.marks = std::make_shared<OwnMarks>(8);
  const auto there = pf.PutUplink({kPf, std::nullopt});
  ASSERT_TRUE(there.ok()) << there.status();
  EXPECT_EQ(std::get<UplinkSpec>(there->spec).made, false);
  EXPECT_TRUE(pf.DeleteUplink(kPf).ok());
  EXPECT_TRUE(tc.GetQdisc(10)->clsact) << "left alone";
}

TEST_F(PfProviderTest, AnUplinkWithRulesOfThisAgentStaysUntilTheyAreGone) {
  ASSERT_TRUE(pf.PutUplink({kPf, std::nullopt}).ok());
  RuleProvider rules{&config, &sysfs, &links, &tc};
  FlowRule rule;
  rule.location = {UplinkTable(kPf), 0, 17920, 7};
  rule.match.ethertype = kEtherVlan;
  rule.match.vlan = *VlanId::Make(100);
  rule.match.dst_mac = MacAddress({0x52, 0x54, 0, 0, 0, 1});
  rule.actions = {ActionVlanPop{}, ActionRedirect{{DeviceRef::Kind::kRepresentor, {kPf, 0}, 20}}};
  const RuleProvider::Change put{.rule = rule};
  ASSERT_TRUE(rules.Apply({&put, 1}).front().ok());
  const auto table = rules.Observe(UplinkTable(kPf), /*counted=*/false);
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->rules.size(), 1u) << "the mark of the qdisc is no rule of the table";
  EXPECT_TRUE(absl::IsUnavailable(pf.DeleteUplink(kPf)));
  const RuleProvider::Change remove{.remove = true, .rule = rule};
  ASSERT_TRUE(rules.Apply({&remove, 1}).front().ok());
  EXPECT_TRUE(pf.DeleteUplink(kPf).ok());
  EXPECT_FALSE(tc.GetQdisc(10)->clsact);
}

TEST_F(PfProviderTest, AnUplinkThatCouldNotBeMarkedIsNotLeftBehind) {
  network->SetMaxFilters(0);
  EXPECT_FALSE(pf.PutUplink({kPf, std::nullopt}).ok());
  EXPECT_FALSE(tc.GetQdisc(10)->clsact);
}

TEST_F(PfProviderTest, AnUplinkInSomebodyElsesBlockIsRefusedByName) {
  ASSERT_TRUE(tc.AddClsact(10, 33).ok());
  const auto refused = pf.PutUplink({kPf, std::nullopt});
  EXPECT_TRUE(absl::IsAlreadyExists(refused.status()));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("the shared block 33"));
}

TEST_F(PfProviderTest, ARepresentorIsSeenInTheBlockOfItsProviderNetworkAndOfNoOtherPfs) {
  const RuleTable block{.kind = RuleTable::Kind::kProviderBlock, .pf = kPf, .vlan = 100};
  const auto made = pf.PutRepresentor({{kPf, 0}, block});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(std::get<RepresentorSpec>(made->spec).block, block);
  RuleTable other = block;
  other.pf = MacAddress({2, 0, 0, 0, 0, 9});
  ASSERT_TRUE(tc.AddClsact(21, BlockIndexOf(other)).ok());
  const auto seen = pf.Observe(kPf);
  ASSERT_TRUE(seen.ok()) << seen.status();
  for (const ObservedResource& resource : seen->resources) {
    if (resource.key == RepresentorKey({kPf, 0})) {
      EXPECT_EQ(std::get<RepresentorSpec>(resource.spec).block, block);
    }
    EXPECT_NE(resource.key, RepresentorKey({kPf, 1})) << "that is none of this agent's";
  }
}

// A host has thousands of links where it has thousands of VFs: one that is looked at or
// changed must not ask for them all.
TEST_F(PfProviderTest, WhatIsAskedForOneVfDoesNotDependOnHowManyLinksThereAre) {
  const auto calls = [&] {
    network->ClearCalls();
    EXPECT_TRUE(pf.ObserveVf({kPf, 1}).ok());
    EXPECT_TRUE(pf.PutVf({{kPf, 1}, MacAddress({2, 0, 0, 0, 9, 9}), {}}).ok());
    EXPECT_TRUE(pf.PutBinding({{kPf, 1}, "vfio-pci", {}, {}, {}}).ok());
    EXPECT_TRUE(pf.PutRepresentor({{kPf, 1}, RuleTable{.vni = *Vni::Make(100)}}).ok());
    EXPECT_TRUE(pf.DeleteRepresentor({kPf, 1}).ok());
    EXPECT_TRUE(pf.DeleteBinding({kPf, 1}).ok());
    EXPECT_TRUE(pf.DeleteVf({{kPf, 1}, {}, {}}).ok());
    return network->Calls();
  };
  ASSERT_TRUE(pf.Observe(kPf).ok());
  const std::vector<std::string> alone = calls();
  EXPECT_THAT(alone, ::testing::Not(::testing::Contains("ListLinks()")));
  EXPECT_EQ(std::count(alone.begin(), alone.end(), "GetLinkWithVfs(10)"), 3)
      << "what it tells of all its VFs is asked for where one's settings are looked at";
  for (uint32_t i = 0; i < 100; ++i) AddLink(StrCat("other", i), 100 + i);
  EXPECT_EQ(calls(), alone);
}

TEST_F(PfProviderTest, APfThatIsNotTheLinkThatItWasIsFoundAnew) {
  ASSERT_TRUE(pf.ObserveVf({kPf, 0}).ok());
  const auto listed = [&] {
    network->ClearCalls();
    EXPECT_TRUE(pf.ObserveVf({kPf, 0}).ok());
    return ::testing::Value(network->Calls(), ::testing::Contains("ListLinks()"));
  };
  // Another name is no other link.
  network->ChangeLink(10, [](LinkInfo& link) { link.name = "renamed"; });
  host.SetNetdevs(kPfPci, {"renamed"});
  EXPECT_FALSE(listed());
  EXPECT_EQ(pf.Observe(kPf)->facts.netdev, "renamed");
  // Its driver was bound anew, and its old number is another NIC's by now.
  network->RemoveLink(10);
  EXPECT_TRUE(absl::IsNotFound(pf.ObserveVf({kPf, 0}).status()));
  AddLink("other", 10).mac = MacAddress({2, 0, 0, 0, 0, 9});
  AddLink("renamed", 50).mac = kPf;
  EXPECT_TRUE(listed());
  EXPECT_EQ(pf.Observe(kPf)->facts.ifindex, 50U);
  EXPECT_FALSE(listed());
  // The number stayed, and the NIC did not.
  network->ChangeLink(50, [](LinkInfo& link) {
    link.permanent_mac = MacAddress({2, 0, 0, 0, 0, 8});
  });
  EXPECT_TRUE(absl::IsNotFound(pf.ObserveVf({kPf, 0}).status()));
  network->ChangeLink(50, [](LinkInfo& link) { link.permanent_mac = kPf; });
  EXPECT_TRUE(listed());
}

TEST_F(PfProviderTest, ABlockThatIsMadeAnewIsSaid) {
  const auto first = pf.PutRepresentor({{kPf, 0}, RuleTable{.vni = *Vni::Make(100)}});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(first->table_is_new);
  const auto second = pf.PutRepresentor({{kPf, 1}, RuleTable{.vni = *Vni::Make(100)}});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_FALSE(second->table_is_new) << "its rules are there";
  EXPECT_FALSE(pf.PutRepresentor({{kPf, 1}, RuleTable{.vni = *Vni::Make(100)}})->table_is_new);
}

TEST_F(PfProviderTest, AVfWhoseResetHangsIsBusyAndTheRestOfThePfIsObserved) {
  host.HangNext(SysfsMethod::kReset, kVf0Pci);
  EXPECT_TRUE(absl::IsDeadlineExceeded(pf.DeleteVf({{kPf, 0}})));
  auto seen = pf.Observe(kPf);
  ASSERT_TRUE(seen.ok()) << seen.status();
  ASSERT_EQ(seen->facts.vfs.size(), 2U);
  EXPECT_EQ(seen->facts.vfs[0].driver, "(busy)") << "not taken for a free one";
  EXPECT_TRUE(seen->facts.vfs[0].iommu_group.has_value());
  EXPECT_EQ(seen->facts.vfs[0].representor, "rep0");
  EXPECT_TRUE(Bound(*seen, 0)) << "what cannot be seen is not taken for gone";
  EXPECT_EQ(seen->facts.vfs[1].driver, "");
  EXPECT_FALSE(Bound(*seen, 1));
  // Nothing else is done to it meanwhile.
  EXPECT_TRUE(absl::IsUnavailable(pf.PutBinding({{kPf, 0}, "vfio-pci", {}, {}, {}}).status()));
  EXPECT_TRUE(absl::IsUnavailable(pf.DeleteBinding({kPf, 0})));
  EXPECT_TRUE(absl::IsUnavailable(pf.DeleteVf({{kPf, 0}})));
  EXPECT_TRUE(pf.PutBinding({{kPf, 1}, "vfio-pci", {}, {}, {}}).ok());

  EXPECT_TRUE(host.Release(kVf0Pci));
  seen = pf.Observe(kPf);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->facts.vfs[0].driver, "");
  EXPECT_FALSE(Bound(*seen, 0));
  EXPECT_TRUE(pf.DeleteBinding({kPf, 0}).ok());
}

TEST_F(PfProviderTest, AVfThatCannotBeReadSaysWhyAndTheOthersAreRead) {
  host.SetUnreadable(kVf0Pci, SystemError(EIO, "read", "bus error"));
  const auto seen = pf.Observe(kPf);
  ASSERT_TRUE(seen.ok()) << seen.status();
  ASSERT_EQ(seen->facts.vfs.size(), 2U);
  EXPECT_EQ(seen->facts.vfs[0].pci, kVf0Pci);
  EXPECT_THAT(seen->facts.vfs[0].unreadable, HasSubstr("bus error"));
  EXPECT_EQ(seen->facts.vfs[1].unreadable, "");
  EXPECT_TRUE(seen->facts.vfs[1].iommu_group.has_value());
}

TEST_F(PfProviderTest, ABusyVfWithAHostDriverIsNotTakenForFreeEither) {
  ASSERT_TRUE(sysfs.SetDriverOverride(kVf0Pci, "mlx5_core").ok());
  ASSERT_TRUE(sysfs.Probe(kVf0Pci, SysfsPort::Deadline(1)).ok());
  LinkInfo& netdev = AddLink("pf0v0", 30);
  netdev.up = false;  // free for whoever wants it, if it were not busy
  ASSERT_EQ(pf.Observe(kPf)->facts.vfs[0].netdev, "pf0v0");
  host.HangNext(SysfsMethod::kUnbind, kVf0Pci);
  EXPECT_TRUE(absl::IsDeadlineExceeded(pf.PutBinding({{kPf, 0}, "vfio-pci", {}, {}, {}}).status()));
  const auto seen = pf.Observe(kPf);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->facts.vfs[0].driver, "(busy)");
  EXPECT_EQ(seen->facts.vfs[0].netdev, "");
}

TEST_F(PfProviderTest, APfThatCarriesTheHostsTrafficIsRefused) {
  EXPECT_EQ(Refused(), "");
  network->AddRoute(*IpPrefix::Parse("0.0.0.0/0"), {10, Ip("192.0.2.254"), {}, false});
  EXPECT_THAT(Refused(), AllOf(HasSubstr("pf0 carries the host's default route"),
                               HasSubstr("allow_host_traffic")));
  config.pfs[0].allow_host_traffic = true;
  EXPECT_EQ(Refused(), "");
}

TEST_F(PfProviderTest, APfOfABondThatCarriesTheHostsTrafficIsRefused) {
  AddLink("bond0", 40).kind = "bond";
  network->ChangeLink(10, [](LinkInfo& link) { link.master = 40; });
  EXPECT_EQ(Refused(), "") << "the bond carries nothing of the host";
  network->AddRoute(*IpPrefix::Parse("0.0.0.0/0"), {40, Ip("192.0.2.254"), {}, false});
  EXPECT_THAT(Refused(), HasSubstr("bond0 on pf0 carries the host's default route"));
}

TEST_F(PfProviderTest, ThePfBelowAVlanOfABondInABridgeIsRefusedForWhatTheBridgeCarries) {
  // Indices against the order of the stack: one walk over the list is not enough.
  network->ChangeLink(10, [](LinkInfo& link) { link.master = 43; });
  AddLink("bond0", 43).kind = "bond";
  LinkInfo& vlan = AddLink("bond0.5", 42);
  vlan.kind = "vlan";
  vlan.lower = 43;
  vlan.master = 41;
  AddLink("br0", 41).kind = "bridge";
  AddLink("other", 44).master = 41;  // beside the PF, not on it
  network->AddAddress(44, Ip("198.51.100.1"), *IpPrefix::Parse("198.51.100.0/24"));
  EXPECT_EQ(Refused(), "");
  network->AddAddress(41, Ip("192.0.2.1"), *IpPrefix::Parse("192.0.2.0/24"));
  EXPECT_THAT(Refused(), HasSubstr("br0 on pf0 carries the host's management address 192.0.2.1"));
}

TEST_F(PfProviderTest, ARepresentorWithSomebodyElsesIngressQdiscIsNotTouched) {
  network->AddForeignIngress(20);
  const auto made = pf.PutRepresentor({{kPf, 0}, RuleTable{.vni = *Vni::Make(1000)}, true, true});
  EXPECT_TRUE(absl::IsAlreadyExists(made.status())) << made.status();
  EXPECT_THAT(std::string(made.status().message()),
              AllOf(HasSubstr("rep0"), HasSubstr("tc qdisc del dev rep0 ingress")));
  const auto link = links.GetLink("rep0");
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_TRUE(link->up);
  EXPECT_EQ(link->alias, "");
  EXPECT_FALSE(link->addr_gen_none);
  EXPECT_TRUE(pf.PutRepresentor({{kPf, 1}, RuleTable{.vni = *Vni::Make(1000)}, true, true}).ok());
}

class PfEswitchTest : public PfProviderTest {
 protected:
  PfEswitchTest() {
    config.pfs[0].representors.clear();
    FakeDevlinkOptions nic;
    nic.handle = DevlinkHandle::Pci(kPfPci);
    eswitch->AddDevice(nic);
    EXPECT_TRUE(eswitch->SetVfCount(nic.handle, 2).ok());
  }
  EswitchMode Mode() { return *devlink.GetEswitch(DevlinkHandle::Pci(kPfPci))->mode; }
  // A host driver on VF 0.
  void BindHostDriver(bool up) {
    ASSERT_TRUE(sysfs.SetDriverOverride(kVf0Pci, "mlx5_core").ok());
    ASSERT_TRUE(sysfs.Probe(kVf0Pci, SysfsPort::Deadline(1000)).ok());
    AddLink(host.Find(kVf0Pci)->netdevs.at(0), 40).up = up;
  }

  const PfSpec kSwitchdev{kPf, {EswitchMode::kSwitchdev, {}, {}}};
};

TEST_F(PfProviderTest, OfANicWithoutAnEswitchNoDriverIsTouchedForItsMode) {
  ASSERT_TRUE(sysfs.SetDriverOverride(kVf0Pci, "mlx5_core").ok());
  ASSERT_TRUE(sysfs.Probe(kVf0Pci, SysfsPort::Deadline(1000)).ok());
  AddLink(host.Find(kVf0Pci)->netdevs.at(0), 40).up = false;
  EXPECT_FALSE(pf.PutPf({kPf, {EswitchMode::kSwitchdev, {}, {}}}).ok());
  EXPECT_EQ(sysfs.Device(kVf0Pci)->driver, "mlx5_core");
}

TEST_F(PfEswitchTest, TheModeIsSetAndReadBackAndRepresentorsAreThere) {
  const auto set = pf.PutPf(kSwitchdev);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->key, PfKey(kPf));
  const EswitchSettings now{EswitchMode::kSwitchdev, EswitchInlineMode::kNone,
                            EswitchEncapMode::kBasic};
  EXPECT_EQ(std::get<PfSpec>(set->spec).eswitch, now);
  const auto seen = pf.Observe(kPf);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->facts.eswitch, now);
  EXPECT_NE(seen->facts.vfs[1].representor_ifindex, 0U);
  EXPECT_TRUE(std::any_of(seen->resources.begin(), seen->resources.end(), [&](const auto& r) {
    return r.key == PfKey(kPf) && std::get<PfSpec>(r.spec).eswitch == now;
  }));
}

TEST_F(PfEswitchTest, ARepresentorWhoseNetdevIsNotThereYetIsAwaitedInDevlinksWords) {
  ASSERT_TRUE(pf.PutPf(kSwitchdev).ok());
  const auto first = [&] { return pf.Observe(kPf)->facts.vfs.at(0); };
  EXPECT_EQ(first().representor_awaited, "");
  const uint32_t netdev = first().representor_ifindex;
  eswitch->SetRepresentorNetdev(DevlinkHandle::Pci(kPfPci), 0, 0);
  EXPECT_THAT(first().representor_awaited,
              AllOf(HasSubstr("the representor of VF 0"), HasSubstr("has no netdev")));
  EXPECT_EQ(first().representor, "");
  EXPECT_EQ(pf.Observe(kPf)->facts.vfs.at(1).representor_awaited, "") << "it has one";
  // The port names one that the kernel does not know any more.
  eswitch->SetRepresentorNetdev(DevlinkHandle::Pci(kPfPci), 0, 999);
  EXPECT_NE(first().representor_awaited, "");
  eswitch->SetRepresentorNetdev(DevlinkHandle::Pci(kPfPci), 0, netdev);
  EXPECT_EQ(first().representor_awaited, "");
  EXPECT_EQ(first().representor_ifindex, netdev);
}

TEST_F(PfEswitchTest, ARepresentorThatDevlinkDoesNotKnowIsNotAwaited) {
  ASSERT_TRUE(pf.PutPf(kSwitchdev).ok());
  const VfFacts unknown = pf.ObserveVf({kPf, 7})->facts;
  EXPECT_EQ(unknown.representor, "");
  EXPECT_EQ(unknown.representor_awaited, "");
}

TEST_F(PfEswitchTest, AVfThatServesTheHostIsFoundRightBeforeTheChange) {
  BindHostDriver(/*up=*/true);
  const absl::Status held = pf.PutPf(kSwitchdev).status();
  EXPECT_TRUE(absl::IsUnavailable(held)) << held;
  EXPECT_THAT(std::string(held.message()),
              AllOf(HasSubstr("pf0 to mode switchdev"), HasSubstr("VF 0 is in use by the host")));
  EXPECT_EQ(Mode(), EswitchMode::kLegacy);
  EXPECT_EQ(host.Find(kVf0Pci)->driver, "mlx5_core");
}

TEST_F(PfEswitchTest, DriversThatServeNobodyAreUnboundBeforeTheModeChangesAndOnlyThen) {
  BindHostDriver(/*up=*/false);
  PfSpec encap{kPf, {EswitchMode::kLegacy, {}, EswitchEncapMode::kNone}};
  ASSERT_TRUE(pf.PutPf(encap).ok());
  EXPECT_EQ(host.Find(kVf0Pci)->driver, "mlx5_core");
  ASSERT_TRUE(pf.PutPf(kSwitchdev).ok());
  EXPECT_EQ(host.Find(kVf0Pci)->driver, "");
}

TEST_F(PfEswitchTest, APfThatCameToCarryTheDefaultRouteIsNotTouched) {
  RouteInfo route;
  route.ifindex = 10;
  network->AddRoute(*IpPrefix::Parse("0.0.0.0/0"), route);
  const absl::Status refused = pf.PutPf(kSwitchdev).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("default route"));
  EXPECT_EQ(Mode(), EswitchMode::kLegacy);
}

TEST_F(PfEswitchTest, WhatIsAsWantedAsksForNothing) {
  ASSERT_TRUE(pf.PutPf(kSwitchdev).ok());
  BindHostDriver(/*up=*/true);
  network->ClearCalls();
  EXPECT_TRUE(pf.PutPf(kSwitchdev).ok());
  for (const std::string& call : network->Calls()) {
    EXPECT_THAT(call, ::testing::Not(HasSubstr("SetEswitch")));
  }
}

}  // namespace
}  // namespace fairlead
