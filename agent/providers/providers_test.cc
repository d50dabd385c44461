// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/devlink/fake_devlink_port.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/sysfs/fake_sysfs_port.h"
#include "agent/ports/tc/fake_tc_port.h"
#include "agent/providers/lease_table.h"
#include "agent/providers/net_provider.h"
#include "agent/providers/pf_provider.h"
#include "agent/providers/rule_provider.h"
#include "agent/providers/vm_provider.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

// sriov-cni 219 and 313: a late removal reset a VF that had another owner by then.
TEST(LeaseTableTest, AnOperationOfALeaseThatEndedIsRefused) {
  LeaseTable leases;
  leases.Grant(5);
  EXPECT_TRUE(leases.Check(5).ok());
  leases.End(5);
  leases.Grant(6);  // the VF's next tenant
  const absl::Status late = leases.Check(5);
  EXPECT_TRUE(absl::IsFailedPrecondition(late));
  EXPECT_THAT(std::string(late.message()), HasSubstr("lease 5"));
  EXPECT_TRUE(leases.Check(6).ok());
  EXPECT_TRUE(leases.Check(0).ok()) << "what no VF carries needs no lease";
}

TEST(MonitorPathTest, AVmsNameCannotLeaveTheFolder) {
  const Uuid uuid = *Uuid::Parse("6f9619ff-8b86-4d01-b42d-00c04fc964ff");
  EXPECT_EQ(*MonitorPath("/vms/{vm}/{uuid}.qmp", "a", uuid),
            "/vms/a/6f9619ff-8b86-4d01-b42d-00c04fc964ff.qmp");
  EXPECT_FALSE(MonitorPath("/vms/{vm}.qmp", "../etc/x", uuid).ok());
  EXPECT_FALSE(MonitorPath("/vms/all.qmp", "a", uuid).ok());
}

TEST(RootPortTest, OnlyConfiguredNamesAndPrefixesAreUsed) {
  EXPECT_TRUE(RootPortAllowed({"fairlead*"}, "fairlead3"));
  EXPECT_TRUE(RootPortAllowed({"rp1"}, "rp1"));
  EXPECT_FALSE(RootPortAllowed({"rp1"}, "rp10"));
  EXPECT_FALSE(RootPortAllowed({}, "rp1"));
}

TEST(NaturalLessTest, NumbersCountAsNumbers) {
  EXPECT_TRUE(NaturalLess("rp2", "rp10"));
  EXPECT_FALSE(NaturalLess("rp10", "rp2"));
  EXPECT_TRUE(NaturalLess("a", "b"));
  EXPECT_TRUE(NaturalLess("rp", "rp1"));
  EXPECT_FALSE(NaturalLess("rp1", "rp1"));
}

class NetProviderTest : public ::testing::Test {
 protected:
  NetProviderTest() {
    config.tunnel.local = Ip("192.0.2.1");
    config.marks = std::make_shared<OwnMarks>(7);
    LinkInfo underlay;
    underlay.name = "eth0";
    underlay.ifindex = 10;
    underlay.up = true;
    network->AddLink(underlay);
    network->AddAddress(10, Ip("192.0.2.1"), *IpPrefix::Parse("192.0.2.0/24"));
  }
  TunnelSpec Spec() { return {"fl-vxlan0", Ip("192.0.2.1"), 4789, 1450}; }

  ProviderConfig config;
  std::shared_ptr<FakeNetwork> network = std::make_shared<FakeNetwork>();
  FakeRtnetlinkPort links{network};
  FakeTcPort tc{network};
  NetProvider net{&config, &links, &tc};
};

TEST_F(NetProviderTest, ATunnelWithAnAddressThatIsNotOursIsRefusedBeforeAnythingIsMade) {
  TunnelSpec spec = Spec();
  spec.local = Ip("192.0.2.99");
  const auto tunnel = net.PutTunnel(spec);
  EXPECT_THAT(std::string(tunnel.status().message()), HasSubstr("192.0.2.99"));
  EXPECT_TRUE(absl::IsNotFound(links.GetLink("fl-vxlan0").status()));
}

TEST_F(NetProviderTest, ATunnelThatComesToNothingIsNotLeftBehind) {
  network->FailNext("AddClsact", absl::UnavailableError("not now"));
  EXPECT_FALSE(net.PutTunnel(Spec()).ok());
  EXPECT_TRUE(absl::IsNotFound(links.GetLink("fl-vxlan0").status()));
}

TEST_F(NetProviderTest, AForeignDeviceOfTheTunnelsNameIsNotTouched) {
  LinkInfo foreign;
  foreign.name = "fl-vxlan0";
  foreign.ifindex = 30;
  foreign.kind = "vxlan";
  network->AddLink(foreign);
  EXPECT_TRUE(absl::IsAlreadyExists(net.PutTunnel(Spec()).status()));
  const auto seen = net.ObserveTunnel();
  ASSERT_TRUE(seen.ok() && seen->has_value());
  EXPECT_FALSE((*seen)->ours);
  EXPECT_TRUE(absl::IsAlreadyExists(net.DeleteTunnel(Spec())));
}

TEST_F(NetProviderTest, ATunnelOfAnotherKindAndNameIsFoundByItsMarkAndMakesWay) {
  ASSERT_TRUE(net.PutTunnel(Spec()).ok());
  config.tunnel.device = "fl-geneve0";  // as after another start
  const auto seen = net.ObserveTunnel();
  ASSERT_TRUE(seen.ok() && seen->has_value()) << seen.status();
  const auto& old = std::get<TunnelSpec>((*seen)->spec);
  EXPECT_TRUE((*seen)->ours);
  EXPECT_EQ(old.device, "fl-vxlan0");
  EXPECT_EQ(old.encapsulation, Encapsulation::kVxlan);
  ASSERT_TRUE(net.DeleteTunnel(old).ok());
  TunnelSpec spec{"fl-geneve0", Ip("192.0.2.1"), 6081, 1450};
  spec.encapsulation = Encapsulation::kGeneve;
  const auto made = net.PutTunnel(spec);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(std::get<TunnelSpec>(made->spec), spec);
  EXPECT_EQ(links.GetLink("fl-geneve0")->kind, "geneve");
  EXPECT_TRUE(absl::IsNotFound(links.GetLink("fl-vxlan0").status()));
}

TEST_F(NetProviderTest, ARepresentorOfOursIsNotTakenForTheTunnel) {
  LinkInfo representor;
  representor.name = "pf0rep0";
  representor.alias = config.marks->Alias();
  network->AddLink(representor);
  const auto seen = net.ObserveTunnel();
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_FALSE(seen->has_value());
}

TEST_F(NetProviderTest, TheUnderlayIsTheLinkThatHasTheLocalAddress) {
  network->ChangeLink(10, [](LinkInfo& link) { link.mtu = 9000; });
  EXPECT_EQ(*net.ObserveUnderlay(), (UnderlayFacts{{10}, "eth0", 9000, ""}));
  network->RemoveAddress(10, Ip("192.0.2.1"));
  const auto gone = net.ObserveUnderlay();
  ASSERT_TRUE(gone.ok()) << gone.status();
  EXPECT_EQ(gone->mtu, 0U);
  EXPECT_THAT(gone->unknown, HasSubstr("192.0.2.1"));
}

TEST_F(NetProviderTest, OfALocalAddressOnTheLoopbackItIsTheDefaultRoutesLeastMtu) {
  network->RemoveAddress(10, Ip("192.0.2.1"));
  network->AddAddress(1, Ip("192.0.2.1"), *IpPrefix::Parse("192.0.2.1/32"));
  EXPECT_THAT(net.ObserveUnderlay()->unknown, HasSubstr("is on lo"));
  network->ChangeLink(10, [](LinkInfo& link) { link.mtu = 9000; });
  LinkInfo other;
  other.name = "eth1";
  other.ifindex = 11;
  other.up = true;
  other.mtu = 4000;
  network->AddLink(other);
  for (const uint32_t link : {10U, 11U}) {
    network->AddRoute(*IpPrefix::Parse("0.0.0.0/0"), {link, Ip("198.51.100.1"), {}, false});
  }
  EXPECT_EQ(*net.ObserveUnderlay(), (UnderlayFacts{{10, 11}, "eth1", 4000, ""}));
}

TEST_F(NetProviderTest, ATunnelWhoseDropRuleIsGoneShowsIt) {
  ASSERT_TRUE(net.PutTunnel(Spec()).ok());
  const uint32_t ifindex = links.GetLink("fl-vxlan0")->ifindex;
  ASSERT_TRUE(tc.DeleteClsact(ifindex).ok());
  const auto seen = net.ObserveTunnel();
  ASSERT_TRUE(seen.ok() && seen->has_value());
  EXPECT_FALSE(std::get<TunnelSpec>((*seen)->spec).default_drop);
  ASSERT_TRUE(net.PutTunnel(Spec()).ok());
  EXPECT_TRUE(std::get<TunnelSpec>((*net.ObserveTunnel())->spec).default_drop);
}

TEST_F(NetProviderTest, AGatewayIsKeptAsLongAsOnePeerIsBehindIt) {
  network->AddRoute(*IpPrefix::Parse("198.51.100.0/24"), {10, Ip("192.0.2.254"), {}, false});
  network->SetStation(Ip("192.0.2.254"), MacAddress({2, 0, 0, 0, 0, 1}));
  for (const char* peer : {"198.51.100.1", "198.51.100.2"}) {
    const auto made = net.PutNeighbour({Ip(peer)});
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(made->neighbour, NeighbourState::kResolved);
  }
  ASSERT_TRUE(net.DeleteNeighbour({Ip("198.51.100.1")}).ok());
  EXPECT_EQ(links.ListOwnNeighbours()->size(), 1U);
  ASSERT_TRUE(net.DeleteNeighbour({Ip("198.51.100.2")}).ok());
  EXPECT_EQ(links.ListOwnNeighbours()->size(), 0U);
}

TEST_F(NetProviderTest, APeerWithoutARouteIsObservedAsSuchAndNoError) {
  const auto made = net.PutNeighbour({Ip("203.0.113.1")});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->neighbour, NeighbourState::kNoRoute);
  EXPECT_TRUE(net.DeleteNeighbour({Ip("203.0.113.1")}).ok());
}

TEST_F(NetProviderTest, APermanentEntryOfAnOperatorServesAndOutlivesThePeer) {
  const IpAddress peer = Ip("192.0.2.2");
  NeighbourInfo permanent;
  permanent.ifindex = 10;
  permanent.address = peer;
  permanent.mac = MacAddress({2, 0, 0, 0, 0, 1});
  permanent.state = NudState::kValid;
  permanent.state_name = "PERMANENT";
  network->SetNeighbour(permanent);
  const auto made = net.PutNeighbour({peer});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->neighbour, NeighbourState::kResolved);
  const auto seen = net.ObserveNeighbours({&peer, 1});
  ASSERT_TRUE(seen.ok() && seen->size() == 1) << seen.status();
  EXPECT_EQ(seen->front().key, NeighbourKey(peer));
  EXPECT_EQ(seen->front().neighbour, NeighbourState::kResolved);
  ASSERT_TRUE(net.DeleteNeighbour({peer}).ok());
  const auto there = links.GetNeighbour(10, peer);
  ASSERT_TRUE(there.ok()) << there.status();
  EXPECT_EQ(there->mac, permanent.mac);
}

TEST_F(NetProviderTest, WhatAnEarlierRunLeftIsDeletedWhereItIsAndNotWhereTheRouteLeads) {
  LinkInfo other;
  other.name = "eth1";
  other.ifindex = 11;
  other.up = true;
  network->AddLink(other);
  network->AddAddress(11, Ip("203.0.113.1"), *IpPrefix::Parse("203.0.113.0/24"));
  ASSERT_TRUE(net.PutNeighbour({Ip("192.0.2.2")}).ok());
  ASSERT_TRUE(net.PutNeighbour({Ip("203.0.113.9")}).ok());
  network->AddRoute(*IpPrefix::Parse("192.0.2.2/32"), {11, Ip("203.0.113.9"), {}, false});
  NetProvider later(&config, &links, &tc);  // the agent was started anew
  ASSERT_TRUE(later.DeleteNeighbour({Ip("192.0.2.2")}).ok());
  EXPECT_TRUE(absl::IsNotFound(links.GetNeighbour(10, Ip("192.0.2.2")).status()));
  EXPECT_TRUE(links.GetNeighbour(11, Ip("203.0.113.9")).ok());
}

TEST_F(NetProviderTest, APeerWhoseRouteChangesLeavesNoEntryBehind) {
  network->AddRoute(*IpPrefix::Parse("198.51.100.0/24"), {10, Ip("192.0.2.254"), {}, false});
  ASSERT_TRUE(net.PutNeighbour({Ip("198.51.100.1")}).ok());
  network->AddRoute(*IpPrefix::Parse("198.51.100.1/32"), {10, Ip("192.0.2.253"), {}, false});
  ASSERT_TRUE(net.PutNeighbour({Ip("198.51.100.1")}).ok());
  ASSERT_EQ(links.ListOwnNeighbours()->size(), 1U);
  EXPECT_EQ(links.ListOwnNeighbours()->front().address, Ip("192.0.2.253"));
}

class PfProviderTest : public ::testing::Test {
 protected:
  PfProviderTest() {
    PfConfig pf;
    pf.mac = kPf;
    pf.vfs = 2;
    for (uint16_t vf = 0; vf < 2; ++vf) {
      LinkInfo representor;
      representor.name = StrCat("rep", vf);
      representor.ifindex = 20U + vf;
      representor.up = true;
      network->AddLink(representor);
      pf.representors.push_back(
          {vf, representor.name, MacAddress({2, 0, 0, 0, 1, static_cast<uint8_t>(vf)})});
    }
    config.pfs.push_back(pf);
    config.marks = std::make_shared<OwnMarks>(7);
    config.management_address = Ip("192.0.2.1");
    FakePfOptions options;
    options.address = kPfPci;
    options.autoprobe = false;
    host.AddPf(options);
    AddLink("pf0", 10).mac = kPf;
    EXPECT_TRUE(sysfs.SetNumVfs(kPfPci, 2, SysfsPort::Deadline(1)).ok());
  }
  // The link may be changed until the next one is added.
  LinkInfo& AddLink(const std::string& name, uint32_t ifindex) {
    LinkInfo info;
    info.name = name;
    info.ifindex = ifindex;
    info.up = true;
    network->AddLink(info);
    LinkInfo* there = nullptr;
    network->ChangeLink(ifindex, [&](LinkInfo& link) { there = &link; });
    return *there;
  }
  std::string Refused() {
    const auto seen = pf.Observe(kPf);
    EXPECT_TRUE(seen.ok()) << seen.status();
    return seen.ok() ? seen->facts.refused : "not observed";
  }
  static bool Bound(const PfProvider::Observation& seen, uint16_t vf) {
    return std::any_of(seen.resources.begin(), seen.resources.end(), [&](const auto& resource) {
      return resource.key == DriverBindingKey({kPf, vf});
    });
  }

  static constexpr PciAddress kPfPci{0, 1, 0, 0};
  static constexpr PciAddress kVf0Pci{0, 1, 0, 1};
  static constexpr MacAddress kPf{{2, 0, 0, 0, 0, 1}};
  ProviderConfig config;
  FakePciHost host;
  FakeSysfsPort sysfs{host};
  std::shared_ptr<FakeNetwork> network = std::make_shared<FakeNetwork>();
  FakeRtnetlinkPort links{network};
  FakeTcPort tc{network};
  std::shared_ptr<FakeDevlink> eswitch = std::make_shared<FakeDevlink>(network);
  FakeDevlinkPort devlink{eswitch};
  PfProvider pf{&config, &sysfs, &links, &tc, &devlink};
};

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
  network->FailNext("Put", absl::UnavailableError("not now"));
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

// VFs of a NIC that forwards by itself, as an 82576 (igb) has them.
class LegacyPfTest : public PfProviderTest {
 protected:
  LegacyPfTest() {
    config.pfs[0].representors.clear();
    network->ChangeLink(10, [](LinkInfo& link) {
      link.carrier = true;
      link.vfs.emplace(2, FakeVfDriver::Igb().fresh);
      (*link.vfs)[1].index = 1;
    });
    network->SetVfDriver(10, FakeVfDriver::Igb());
    network->ClearCalls();
  }
  VfInfo Vf(uint16_t index) { return links.GetLinkWithVfs(10)->vfs->at(index); }
  void ChangeVf(const std::function<void(VfInfo&)>& change) {
    network->ChangeLink(10, [&](LinkInfo& link) { change(link.vfs->at(0)); });
  }
  std::vector<std::string> Sets() {
    std::vector<std::string> sets;
    for (const std::string& call : network->Calls()) {
      if (call.starts_with("Set")) sets.push_back(call);
    }
    return sets;
  }
  static constexpr MacAddress kTenant{{2, 0, 0, 0, 9, 9}};
  VfSpec Wanted() { return {{kPf, 0}, kTenant, {100, true, false, 0, 0, false}}; }
};

TEST_F(LegacyPfTest, OnlyWhatDiffersIsSetOnAVfAndThenReadBack) {
  const auto put = pf.PutVf(Wanted());
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(std::get<VfSpec>(put->spec), Wanted());
  EXPECT_THAT(Sets(), ::testing::ElementsAre("SetVfMac(10, 0, 02:00:00:00:09:09)",
                                             "SetVfVlan(10, 0, 100)"));
  network->ClearCalls();
  ASSERT_TRUE(pf.PutVf(Wanted()).ok());
  EXPECT_THAT(Sets(), ::testing::IsEmpty());
  const auto seen = pf.ObserveVf({kPf, 0});
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->facts.settings, Wanted().settings);
  EXPECT_EQ(pf.Observe(kPf)->facts.serves(), PfFacts::Serves::kVlan);
}

TEST_F(LegacyPfTest, WhatTheNicRefusesIsSaidInTheKernelsWords) {
  VfSpec spec = Wanted();
  spec.settings.max_tx_mbps = 500;
  spec.settings.min_tx_mbps = 100;
  const absl::Status refused = pf.PutVf(spec).status();
  EXPECT_THAT(std::string(refused.message()), HasSubstr("Invalid argument"));
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << "the same again would be refused again";
}

TEST_F(LegacyPfTest, AVfIsGivenBackAsNobodysWhateverWasSetOnIt) {
  ChangeVf([](VfInfo& vf) {
    vf.mac = kTenant;
    vf.vlan = 100;
    vf.spoof_check = false;
    vf.trust = true;
    vf.max_tx_mbps = 500;
  });
  const absl::Status deleted = pf.DeleteVf({{kPf, 0}});
  EXPECT_TRUE(deleted.ok()) << deleted;
  VfInfo clean = Vf(1);
  clean.index = 0;
  EXPECT_EQ(Vf(0), clean);
  network->ClearCalls();
  EXPECT_TRUE(pf.DeleteVf({{kPf, 0}}).ok());
  EXPECT_THAT(Sets(), ::testing::IsEmpty()) << "there is nothing to take away";
}

TEST_F(LegacyPfTest, ALinkThatWasDisabledIsTheNextTenantsAgain) {
  network->SetVfDriver(10, {});
  for (const bool given_back : {true, false}) {
    const auto off = pf.PutVf({{kPf, 0}, {}, {.link_disabled = true}});
    ASSERT_TRUE(off.ok()) << off.status();
    EXPECT_EQ(std::get<VfSpec>(off->spec).settings.link_disabled, true);
    EXPECT_TRUE(Vf(0).link_disabled);
    EXPECT_TRUE(given_back ? pf.DeleteVf({{kPf, 0}}).ok() : pf.PutVf(Wanted()).ok());
    EXPECT_FALSE(Vf(0).link_disabled);
  }
}

TEST_F(LegacyPfTest, AValueThatDoesNotReadBackCleanKeepsTheVfAndIsNamed) {
  ChangeVf([](VfInfo& vf) { vf.vlan = 100; });
  bool cleared = false;
  network->SetHook([&](std::string_view call) {
    if (call.starts_with("SetVfVlan")) cleared = true;
    if (cleared && call.starts_with("GetLinkWithVfs")) ChangeVf([](VfInfo& vf) { vf.vlan = 100; });
  });
  const absl::Status deleted = pf.DeleteVf({{kPf, 0}});
  EXPECT_THAT(std::string(deleted.message()),
              AllOf(HasSubstr("the VLAN of VF 0 of pf0"), HasSubstr("does not read back clean")));
  network->SetHook(nullptr);
}

TEST_F(LegacyPfTest, ARateThatCannotBeClearedIsSaidAndAllElseIsCleared) {
  ChangeVf([](VfInfo& vf) {
    vf.max_tx_mbps = 500;
    vf.mac = kTenant;
  });
  network->ChangeLink(10, [](LinkInfo& link) { link.carrier = false; });
  EXPECT_THAT(std::string(pf.DeleteVf({{kPf, 0}}).message()),
              AllOf(HasSubstr("clear the rate of VF 0"), HasSubstr("pf0 has no link")));
  EXPECT_TRUE(absl::IsUnavailable(pf.DeleteVf({{kPf, 0}}))) << "it may come";
  EXPECT_TRUE(Vf(0).mac.IsZero());
}

TEST_F(LegacyPfTest, WhatTheNicHasNoCallForIsNobodysToClear) {
  network->SetVfDriver(10, {.spoof_check = false, .trust = false, .rate = false});
  ChangeVf([](VfInfo& vf) {
    vf.spoof_check = false;  // as some drivers report without being able to change it
    vf.vlan = 100;
  });
  const absl::Status deleted = pf.DeleteVf({{kPf, 0}});
  EXPECT_TRUE(deleted.ok()) << deleted;
  EXPECT_EQ(Vf(0).vlan, 0);
}

TEST_F(LegacyPfTest, WhatGivingAVfBackDidIsSaid) {
  using Reset = VfCleaning::Reset;
  std::optional<VfCleaning> did;
  EXPECT_TRUE(pf.DeleteVf({{kPf, 0}}, &did).ok());
  EXPECT_EQ(did, (VfCleaning{Reset::kDone, "", {}}));
  network->SetVfDriver(10, {.spoof_check = false, .trust = false});
  ChangeVf([](VfInfo& vf) { vf.trust = true; });
  EXPECT_TRUE(pf.DeleteVf({{kPf, 0}}, &did).ok());
  EXPECT_EQ(did, (VfCleaning{Reset::kDone, "", {"trust"}}));
  did.reset();
  EXPECT_TRUE(pf.DeleteVf({{kPf, 7}}, &did).ok());
  EXPECT_EQ(did, std::nullopt) << "there is no such VF";
}

TEST_F(LegacyPfTest, OfAVfWhoseResetIsRefusedTheRestIsClearedAllTheSame) {
  host.SetResetFails(kVf0Pci, SystemError(EPERM, "reset", "never"));
  ChangeVf([](VfInfo& vf) {
    vf.mac = kTenant;
    vf.vlan = 100;
  });
  std::optional<VfCleaning> did;
  EXPECT_THAT(std::string(pf.DeleteVf({{kPf, 0}}, &did).message()), HasSubstr("never"));
  ASSERT_TRUE(did);
  EXPECT_EQ(did->reset, VfCleaning::Reset::kFailed);
  EXPECT_THAT(did->reset_words, HasSubstr("never"));
  EXPECT_TRUE(Vf(0).mac.IsZero());
  EXPECT_EQ(Vf(0).vlan, 0);
}

// Of mlx5 in legacy mode: no MAC with the check, and no check without a MAC.
TEST_F(LegacyPfTest, ASpoofCheckThatNeedsAMacGoesWithIt) {
  network->SetVfDriver(10, {.spoof_check_needs_mac = true});
  ChangeVf([](VfInfo& vf) {
    vf.mac = kTenant;
    vf.vlan = 100;
  });
  const absl::Status deleted = pf.DeleteVf({{kPf, 0}});
  EXPECT_TRUE(deleted.ok()) << deleted;
  EXPECT_TRUE(Vf(0).mac.IsZero());
  EXPECT_EQ(Vf(0).vlan, 0);
  const auto put = pf.PutVf(Wanted());
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(std::get<VfSpec>(put->spec), Wanted()) << "the next tenant has the check again";
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

// A monitor that notes how long it is given for what.
class PatienceMonitor final : public QmpPort, public QmpSession {
 public:
  using Deadline = std::chrono::milliseconds;
  absl::StatusOr<std::unique_ptr<QmpSession>> Connect(
      const std::string&, const std::vector<uint32_t>&, Deadline,
      std::function<void(const QmpEvent&)>) override {
    auto session = std::make_unique<PatienceMonitor>();
    session->given = given;
    session->uuid = uuid;
    return session;
  }
  absl::StatusOr<Uuid> QueryUuid(Deadline) override { return uuid; }
  absl::StatusOr<std::string> QueryRunState(Deadline) override { return "running"; }
  absl::StatusOr<std::vector<QmpDevice>> ListDevices(Deadline deadline) override {
    given->push_back(deadline);
    return std::vector<QmpDevice>{{"fl-1", "vfio-pci", "rp1", "0000:01:00.1"}};
  }
  absl::Status AddVfioDevice(std::string_view, const PciAddress&, std::string_view,
                             Deadline deadline) override {
    given->push_back(deadline);
    return absl::OkStatus();
  }
  absl::Status RequestRemoval(std::string_view, Deadline) override { return absl::OkStatus(); }
  bool connected() const override { return true; }

  Uuid uuid = *Uuid::Parse("6f9619ff-8b86-4d01-b42d-00c04fc964ff");
  std::shared_ptr<std::vector<Deadline>> given = std::make_shared<std::vector<Deadline>>();
};

// kata 10362: 5 s for each answer of QEMU failed slow hosts.
TEST(VmProviderTest, QemuHasTimeToPinTheGuestsMemoryWhenADeviceIsAdded) {
  ProviderConfig config;
  config.qmp_deadline = std::chrono::milliseconds(10);
  config.device_add_deadline = std::chrono::milliseconds(1000);
  PatienceMonitor monitor;
  VmProvider vm(&config, &monitor, "vm1", [](const QmpEvent&) {});
  GuestDeviceSpec spec;
  spec.vm = "vm1";
  spec.uuid = monitor.uuid;
  spec.port = "port1";
  spec.device_id = "fl-1";
  spec.host = {0, 1, 0, 1};
  spec.bus = "rp1";
  const auto made = vm.PutDevice(spec);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_THAT(*monitor.given,
              ::testing::ElementsAre(config.device_add_deadline, config.qmp_deadline));
}

}  // namespace
}  // namespace fairlead
