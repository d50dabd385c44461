// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/test_types.h"
#include "agent/base/text.h"
#include "agent/compile/compile.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

VfFacts FreeVf(uint16_t index) {
  VfFacts vf;
  vf.index = index;
  vf.pci = {0, 1, 0, static_cast<uint8_t>(index % 8)};
  vf.iommu_group = 40 + index;
  vf.mac = Mac(0x100U + index);
  vf.representor = StrCat("rep", index);
  vf.representor_ifindex = 100U + index;
  return vf;
}
PfFacts MakePf(uint32_t n, uint16_t vfs) {
  PfFacts pf;
  pf.id = Mac(n);
  pf.netdev = StrCat("pf", n);
  pf.driver = "virtio";
  pf.num_vfs = pf.wanted_vfs = pf.total_vfs = vfs;
  for (uint16_t i = 0; i < vfs; ++i) pf.vfs.push_back(FreeVf(i));
  return pf;
}
HostFacts HostWith(std::vector<PfFacts> pfs) {
  HostFacts out;
  for (PfFacts& pf : pfs) out.pfs.emplace(pf.id, pf);
  return out;
}
Port MakePort() {
  Port port;
  port.id = "p";
  return port;
}

const Vpc kOverlay{"red", *Vni::Make(1000)};
const Vpc kVlanNet{"lan", std::nullopt, *VlanId::Make(100)};
const Vpc kFlat{"plain", std::nullopt, std::nullopt, true};

const MacOwner Nobody = [](const MacAddress&) { return std::nullopt; };

TEST(WhyNotFreeTest, SaysInPeoplesWordsWhatIsInTheWay) {
  const PfFacts pf = MakePf(1, 1);
  auto why = [&](void (*edit)(PfFacts&, VfFacts&), std::set<VfId> leased = {},
                 std::set<VfId> held = {}) {
    PfFacts p = pf;
    VfFacts vf = FreeVf(0);
    edit(p, vf);
    return WhyNotFree(p, vf, "vfio-pci", leased, held);
  };
  auto as_is = [](PfFacts&, VfFacts&) {};
  const VfId id{pf.id, 0};
  EXPECT_EQ(why(as_is), "");
  EXPECT_THAT(why([](PfFacts& p, VfFacts&) { p.refused = "it carries the default route"; }),
              HasSubstr("it carries the default route"));
  EXPECT_THAT(why(as_is, {id}), HasSubstr("leased"));
  EXPECT_THAT(why(as_is, {}, {id}), HasSubstr("failed a moment ago"));
  EXPECT_THAT(why([](PfFacts&, VfFacts& v) { v.representor.clear(); }), HasSubstr("representor"));
  EXPECT_THAT(why([](PfFacts&, VfFacts& v) { v.representor_ifindex = 0; }),
              HasSubstr("representor"));
  EXPECT_THAT(why([](PfFacts&, VfFacts& v) { v.iommu_group.reset(); }),
              HasSubstr("intel_iommu=on"));
  // kubevirt 6718: the refusal names the other devices, VFs of ours included.
  EXPECT_THAT(why([](PfFacts&, VfFacts& v) {
                v.group_peers = {{0, 1, 0, 2}, {0, 1, 0, 3}};
              }),
              AllOf(HasSubstr("group 40"), HasSubstr("0000:01:00.2, "), HasSubstr("ACS")));
  EXPECT_EQ(why([](PfFacts&, VfFacts& v) { v.driver = "vfio-pci"; }),
            "in use by someone else (bound to vfio-pci)");
  EXPECT_THAT(why([](PfFacts&, VfFacts& v) { v.driver = "virtio_net"; }),
              HasSubstr("no netdev of it is visible"));
  EXPECT_THAT(why([](PfFacts&, VfFacts& v) {
                v.driver = "virtio_net";
                v.netdev = "eth5";
                v.netdev_up = true;
              }),
              HasSubstr("eth5"));
  EXPECT_EQ(why([](PfFacts&, VfFacts& v) {
              v.driver = "virtio_net";
              v.netdev = "eth5";
            }),
            "");
}

// An igb-like PF: its VFs have no representors, and it can be told about them.
PfFacts LegacyPf(uint32_t n, uint16_t vfs) {
  PfFacts pf = MakePf(n, vfs);
  pf.driver = "igb";
  pf.can_set_vf_mac = true;
  for (VfFacts& vf : pf.vfs) {
    vf.representor.clear();
    vf.representor_ifindex = 0;
    vf.mac = MacAddress();
  }
  return pf;
}

TEST(PfServes, IsWhatItsVfsShow) {
  using Serves = PfFacts::Serves;
  EXPECT_EQ(MakePf(1, 2).serves(), Serves::kByRules) << "representors are known";
  PfFacts pf = LegacyPf(1, 2);
  EXPECT_EQ(pf.serves(), Serves::kVlan);
  pf.eswitch.mode = EswitchMode::kLegacy;
  EXPECT_EQ(pf.serves(), Serves::kVlan);
  pf.wanted_eswitch.mode = EswitchMode::kSwitchdev;
  EXPECT_EQ(pf.serves(), Serves::kByRules) << "it is still to be switched";
  pf.eswitch.mode = EswitchMode::kSwitchdev;
  pf.wanted_eswitch.mode.reset();
  EXPECT_EQ(pf.serves(), Serves::kByRules) << "its representors are still to come";
  pf = LegacyPf(1, 2);
  pf.vfs[1].representor_awaited = "has no netdev";
  EXPECT_EQ(pf.serves(), Serves::kByRules) << "of a NIC that tells no mode, too";
  pf = LegacyPf(1, 2);
  pf.can_set_vf_mac = false;
  EXPECT_EQ(pf.serves(), Serves::kNothing);
  pf = MakePf(1, 2);
  pf.eswitch.mode = EswitchMode::kSwitchdevInactive;
  EXPECT_EQ(pf.serves(), Serves::kNothing) << "no packet passes";
  pf.wanted_eswitch.mode = EswitchMode::kSwitchdev;
  EXPECT_EQ(pf.serves(), Serves::kByRules) << "it is still to be switched";
}

TEST(PlacePortTest, AVlanPortGoesToANicWithoutRepresentorsAndAnOverlayPortToOneWith) {
  const HostFacts facts = HostWith({MakePf(1, 2), LegacyPf(2, 2)});
  Port port = MakePort();
  port.mac = Mac(0x500);
  const auto vlan = PlacePort(port, kVlanNet, facts, "vfio-pci", {}, {}, Nobody);
  ASSERT_TRUE(vlan.ok()) << vlan.status();
  EXPECT_EQ(vlan->pf, NicId(Mac(2)));
  const auto overlay = PlacePort(MakePort(), kOverlay, facts, "vfio-pci", {}, {}, Nobody);
  ASSERT_TRUE(overlay.ok()) << overlay.status();
  EXPECT_EQ(overlay->pf, NicId(Mac(1)));
}

TEST(PlacePortTest, ANicThatDoesNotServeTheNetworkIsNamedWithTheReason) {
  Port port = MakePort();
  port.mac = Mac(0x500);
  const auto refusal = [&](const Vpc& vpc, const PfFacts& pf) {
    const auto placed = PlacePort(port, vpc, HostWith({pf}), "vfio-pci", {}, {}, Nobody);
    EXPECT_EQ(placed.status().code(), absl::StatusCode::kFailedPrecondition);
    return Message(placed.status());
  };
  PfFacts legacy = LegacyPf(2, 2);
  EXPECT_THAT(refusal(kOverlay, legacy),
              AllOf(HasSubstr("pf2 (igb) has no switchdev eswitch: it serves VLAN networks only"),
                    HasSubstr("vpc/red is VNI 1000")));
  legacy.eswitch.mode = EswitchMode::kLegacy;
  EXPECT_THAT(refusal(kOverlay, legacy), HasSubstr("'eswitch: {mode: switchdev}'"));
  legacy.eswitch.mode.reset();
  EXPECT_THAT(refusal(kFlat, legacy),
              AllOf(HasSubstr("pf2 (igb) has no switchdev eswitch: it serves VLAN networks only"),
                    HasSubstr("vpc/plain is flat, where a VF of it could send into any VLAN")));
  PfFacts plain = LegacyPf(2, 2);
  plain.can_set_vf_mac = false;
  EXPECT_THAT(refusal(kVlanNet, plain), HasSubstr("can set nothing on its VFs"));
  PfFacts inactive = MakePf(1, 2);
  inactive.eswitch.mode = EswitchMode::kSwitchdevInactive;
  for (const Vpc* vpc : {&kOverlay, &kVlanNet}) {
    EXPECT_THAT(refusal(*vpc, inactive),
                AllOf(HasSubstr("the eswitch of pf1 is in switchdev_inactive mode"),
                      HasSubstr("'eswitch: {mode: switchdev}'")));
  }
}

TEST(PlacePortTest, ANicWithoutRoomForThePortsRulesIsPassedOverAndSaysSo) {
  const auto place = [&](std::vector<PfFacts> pfs) {
    return PlacePort(MakePort(), kOverlay, HostWith(std::move(pfs)), "vfio-pci", {}, {}, Nobody, {},
                     {}, [](const PfFacts& pf) -> std::string {
                       return pf.id == NicId(Mac(1)) ? "it is full" : "";
                     });
  };
  EXPECT_EQ(place({MakePf(1, 2), MakePf(2, 2)})->pf, NicId(Mac(2)));
  const auto refused = place({MakePf(1, 2)});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(refused.status()), HasSubstr("pf1: it is full"));
}

TEST(PlacePortTest, AProviderNetworkIsCarriedByANicWithAnEswitchToo) {
  Port port = MakePort();
  port.mac = FreeVf(0).mac;
  const auto place = [&](const Vpc& vpc, std::vector<PfFacts> pfs) {
    return PlacePort(port, vpc, HostWith(std::move(pfs)), "vfio-pci", {}, {}, Nobody);
  };
  EXPECT_EQ(place(kVlanNet, {MakePf(1, 2)})->pf, NicId(Mac(1)));
  EXPECT_EQ(place(kFlat, {MakePf(1, 2)})->pf, NicId(Mac(1)));
  EXPECT_EQ(place(kVlanNet, {MakePf(1, 2), LegacyPf(2, 2)})->pf, NicId(Mac(2)))
      << "overlays need the other";
  EXPECT_EQ(place(kFlat, {MakePf(1, 2), LegacyPf(2, 2)})->pf, NicId(Mac(1)));
}

TEST(PlacePortTest, WhatANicWithAnEswitchCannotDoForAPortIsSaidByName) {
  struct Case {
    const char* field;
    void (*ask)(Port&);
  };
  const Case cases[] = {{"spoof_check: ", [](Port& p) { p.spoof_check = false; }},
                        {"trust: ", [](Port& p) { p.trust = true; }},
                        {"max_tx_mbps: ", [](Port& p) { p.max_tx_mbps = 5; }},
                        {"min_tx_mbps: ", [](Port& p) { p.min_tx_mbps = 5; }}};
  for (const Case& c : cases) {
    Port port = MakePort();
    c.ask(port);
    port.mac = Mac(0x500);
    const auto placed =
        PlacePort(port, kVlanNet, HostWith({MakePf(1, 2)}), "vfio-pci", {}, {}, Nobody);
    EXPECT_EQ(placed.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(Message(placed.status()), HasSubstr(StrCat(c.field, "pf1 has representors")));
    EXPECT_TRUE(PlacePort(port, kVlanNet, HostWith({MakePf(1, 2), LegacyPf(2, 2)}), "vfio-pci", {},
                          {}, Nobody)
                    .ok())
        << "another NIC can";
  }
  Port software = MakePort();
  software.mac = Mac(0x500);
  software.offload = OffloadWish::kOff;
  const auto placed =
      PlacePort(software, kVlanNet, HostWith({LegacyPf(2, 2)}), "vfio-pci", {}, {}, Nobody);
  EXPECT_THAT(Message(placed.status()), HasSubstr("offload: pf2 itself forwards in VLAN 100"));
}

TEST(PlacePortTest, RatesNeedANicWhoseRatesDevlinkShowsWhereRulesForward) {
  PfFacts with = MakePf(2, 2);
  for (VfFacts& vf : with.vfs) vf.has_rate_leaf = true;
  Port port = MakePort();
  port.min_tx_mbps = 5;
  for (const Vpc& vpc : {kOverlay, kVlanNet, kFlat}) {
    const auto place = [&](std::vector<PfFacts> pfs) {
      return PlacePort(port, vpc, HostWith(std::move(pfs)), "vfio-pci", {}, {}, Nobody);
    };
    EXPECT_THAT(Message(place({MakePf(1, 2)}).status()),
                AllOf(HasSubstr("min_tx_mbps: pf1 has representors"), HasSubstr("no rates")));
    const auto placed = place({MakePf(1, 2), with});
    ASSERT_TRUE(placed.ok()) << placed.status();
    EXPECT_EQ(placed->pf, NicId(Mac(2)));
  }
}

// The MAC of the second differs in what is not in a block's index.
TEST(PlacePortTest, OfTwoPfsWhoseBlocksCouldNotBeToldApartOnlyOneCarriesProviderNetworks) {
  PfFacts twin = MakePf(1, 2);
  twin.id = MacAddress({0x52, 0x54, 0, 9, 0, 1});
  twin.netdev = "twin";
  const HostFacts facts = HostWith({MakePf(1, 2), twin});
  const std::set<VfId> leased = {{Mac(1), 0}, {Mac(1), 1}};
  const auto placed = PlacePort(MakePort(), kVlanNet, facts, "vfio-pci", leased, {}, Nobody);
  EXPECT_THAT(Message(placed.status()),
              AllOf(HasSubstr("the MACs of twin and pf1 end in the same two octets"),
                    HasSubstr("only pf1 carries provider networks")));
  EXPECT_EQ(PlacePort(MakePort(), kOverlay, facts, "vfio-pci", leased, {}, Nobody)->pf,
            NicId(twin.id));
}

TEST(PlacePortTest, ABroadcastIsNotAskedOfANicForMorePortsThanItCopiesTo) {
  const HostFacts facts = HostWith({MakePf(1, 40)});
  std::set<VfId> of_vpc;
  for (uint16_t i = 0; i < kMostProviderPorts; ++i) of_vpc.insert({Mac(1), i});
  const auto place = [&](const Vpc& vpc) {
    return PlacePort(MakePort(), vpc, facts, "vfio-pci", of_vpc, {}, Nobody, {}, of_vpc);
  };
  EXPECT_EQ(place(kVlanNet).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(place(kVlanNet).status()), HasSubstr("pf1 carries 31 ports of vpc/lan"));
  EXPECT_TRUE(place(kOverlay).ok());
  of_vpc.erase({Mac(1), 0});
  EXPECT_TRUE(place(kVlanNet).ok());
}

TEST(PlacePortTest, AVfWithAMacThatIsSomebodyElsesInTheVpcIsPassedOver) {
  HostFacts facts = HostWith({MakePf(1, 2)});
  Port port = MakePort();
  port.vpc = "red";
  const MacAddress first = *facts.pfs[Mac(1)].vfs[0].mac;
  const auto of_far = [&](const MacAddress& mac) -> std::optional<ObjectRef> {
    if (mac != first) return std::nullopt;
    return ObjectRef{ObjectKind::kEndpoint, "far"};
  };
  EXPECT_EQ(PlacePort(port, kOverlay, facts, "vfio-pci", {}, {}, of_far)->index, 1);
  auto none = PlacePort(port, kOverlay, facts, "vfio-pci", {VfId{Mac(1), 1}}, {}, of_far);
  EXPECT_THAT(Message(none.status()), HasSubstr(StrCat("its MAC ", first.ToString(),
                                                       " is that of endpoint/far in vpc/red")));
  // Its own MAC is no obstacle.
  const auto own = [&](const MacAddress&) -> std::optional<ObjectRef> {
    return ObjectRef{ObjectKind::kPort, port.id};
  };
  EXPECT_EQ(PlacePort(port, kOverlay, facts, "vfio-pci", {}, {}, own)->index, 0);
}

TEST(PlacePortTest, AQuarantinedVfIsNobodysAndItsReasonIsSaid) {
  const PfFacts pf = MakePf(1, 2);
  const Quarantined one{{VfId{Mac(1), 0}, "trust is on"}};
  const auto place = [&](const Quarantined& quarantined) {
    return PlacePort(MakePort(), kOverlay, HostWith({pf}), "vfio-pci", {}, {}, Nobody, quarantined);
  };
  EXPECT_EQ(place({})->index, 0);
  EXPECT_EQ(place(one)->index, 1);
  EXPECT_EQ(WhyNotFree(pf, pf.vfs[0], "vfio-pci", {}, {}, one), "quarantined: trust is on");
  Quarantined all = one;
  all[VfId{Mac(1), 1}] = "mac is left";
  EXPECT_THAT(Message(place(all).status()),
              ::testing::AllOf(HasSubstr("VF 0: quarantined: trust is on"),
                               HasSubstr("VF 1: quarantined: mac is left")));
}

TEST(PlacePortTest, ThePfWithTheFewestLeasesThenTheLowestIndex) {
  HostFacts facts = HostWith({MakePf(1, 4), MakePf(2, 4)});
  std::set<VfId> leased;
  std::vector<std::string> order;
  for (int i = 0; i < 8; ++i) {
    auto vf = PlacePort(MakePort(), kOverlay, facts, "vfio-pci", leased, {}, Nobody);
    ASSERT_TRUE(vf.ok()) << vf.status();
    EXPECT_TRUE(leased.insert(*vf).second);
    order.push_back(vf->ToString().substr(16));  // what follows "52:54:00:00:00:0"
  }
  EXPECT_EQ(StrJoin(order, " "), "1/0 2/0 1/1 2/1 1/2 2/2 1/3 2/3");
  EXPECT_EQ(PlacePort(MakePort(), kOverlay, facts, "vfio-pci", leased, {}, Nobody).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(PlacePortTest, OnlyPfsOfThePortsNetworkAreTaken) {
  HostFacts facts = HostWith({MakePf(1, 1), MakePf(2, 1)});
  facts.pfs[Mac(2)].network = NetworkKind::kConverged;
  Port port = MakePort();
  port.network = NetworkKind::kConverged;
  EXPECT_EQ(PlacePort(port, kOverlay, facts, "vfio-pci", {}, {}, Nobody)->pf, Mac(2));
  facts.pfs.erase(Mac(2));
  auto none = PlacePort(port, kOverlay, facts, "vfio-pci", {}, {}, Nobody);
  EXPECT_EQ(none.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(none.status()), HasSubstr("converged"));
}

// A NIC that the configuration does not list is no fact, whatever it could carry.
TEST(PlacePortTest, WithoutAListedNicOfItsNetworkThePortIsToldToListOne) {
  const auto refused = PlacePort(MakePort(), kOverlay, HostFacts(), "vfio-pci", {}, {}, Nobody);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Message(refused.status()),
            "no PF of the compute network was found: list one in the configuration");
}

TEST(PlacePortTest, ANicThatCannotSetMacsGivesOnlyTheVfThatHasTheMac) {
  HostFacts facts = HostWith({MakePf(1, 4)});
  Port port = MakePort();
  port.mac = Mac(0x102);
  EXPECT_EQ(PlacePort(port, kOverlay, facts, "vfio-pci", {}, {}, Nobody)->index, 2);
  port.mac = Mac(0x999);
  auto none = PlacePort(port, kOverlay, facts, "vfio-pci", {}, {}, Nobody);
  EXPECT_THAT(Message(none.status()),
              HasSubstr("port asks for MAC 52:54:00:00:09:99; pf1 (virtio) cannot set VF MACs and "
                        "none of its free VFs has it"));
  facts.pfs[Mac(1)].can_set_vf_mac = true;
  EXPECT_EQ(PlacePort(port, kOverlay, facts, "vfio-pci", {}, {}, Nobody)->index, 0);
}

TEST(PlacePortTest, TheErrorSaysAReasonOnceForAllVfsOfANicThatHaveIt) {
  HostFacts facts = HostWith({MakePf(1, 200), MakePf(2, 4)});
  std::set<VfId> leased = {{Mac(1), 0}, {Mac(1), 3}, {Mac(2), 2}};
  for (auto& [id, pf] : facts.pfs) {
    for (VfFacts& vf : pf.vfs) {
      if (!leased.contains({id, vf.index})) vf.iommu_group.reset();
    }
  }
  const std::string words =
      Message(PlacePort(MakePort(), kOverlay, facts, "vfio-pci", leased, {}, Nobody).status());
  EXPECT_THAT(words, AllOf(HasSubstr("pf1 VF 0, 3: leased to another port"),
                           HasSubstr("pf1 VF 1-2, 4-199: no IOMMU group"),
                           HasSubstr("pf2 VF 2: leased to another port"),
                           HasSubstr("pf2 VF 0-1, 3: no IOMMU group")));
}

TEST(PlacePortTest, TheErrorIsBoundedWhereEveryVfHasAReasonOfItsOwn) {
  HostFacts facts = HostWith({MakePf(1, 200)});
  for (VfFacts& vf : facts.pfs[Mac(1)].vfs) vf.group_peers = {vf.pci};
  for (VfFacts& vf : facts.pfs[Mac(1)].vfs) vf.iommu_group = 1000 + vf.index;
  const auto none = PlacePort(MakePort(), kOverlay, facts, "vfio-pci", {}, {}, Nobody);
  EXPECT_EQ(none.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(none.status()),
              AllOf(HasSubstr("pf1 VF 0: shares IOMMU group 1000"), HasSubstr("and 184 more")));
  EXPECT_LT(none.status().message().size(), 4000U);
}

// neutron 1831622: no VFs at start is not the truth about the host.
TEST(PlacePortTest, VfsThatAreStillToComeAreWaitedFor) {
  HostFacts facts = HostWith({MakePf(1, 0)});
  facts.pfs[Mac(1)].wanted_vfs = 4;
  auto none = PlacePort(MakePort(), kOverlay, facts, "vfio-pci", {}, {}, Nobody);
  EXPECT_EQ(none.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Message(none.status()), HasSubstr("pf1"));
  facts.pfs[Mac(1)].refused = "it carries the default route";
  none = PlacePort(MakePort(), kOverlay, facts, "vfio-pci", {}, {}, Nobody);
  EXPECT_EQ(none.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(none.status()), HasSubstr("default route"));
}

TEST(PlacePortTest, WhileANicIsToComeTheErrorSaysOfTheOthersWhyNot) {
  HostFacts facts = HostWith({MakePf(1, 0), MakePf(2, 1)});
  facts.pfs[Mac(1)].wanted_vfs = 4;
  const auto none = PlacePort(MakePort(), kOverlay, facts, "vfio-pci", {{Mac(2), 0}}, {}, Nobody);
  EXPECT_TRUE(absl::IsUnavailable(none.status()));
  EXPECT_THAT(Message(none.status()),
              AllOf(HasSubstr("VFs are still to come on pf1"),
                    HasSubstr("pf2 VF 0: leased to another port"), Not(HasSubstr("has no VFs"))));
}

TEST(PlacePortTest, APfWhoseEswitchIsNotYetAsConfiguredIsWaitedFor) {
  PfFacts pf = MakePf(1, 2);
  pf.wanted_eswitch = {EswitchMode::kSwitchdev, {}, EswitchEncapMode::kBasic};
  pf.eswitch = {EswitchMode::kLegacy, {}, EswitchEncapMode::kBasic};
  const auto place = [](const HostFacts& host) {
    return PlacePort(MakePort(), kOverlay, host, "vfio-pci", {}, {}, Nobody);
  };
  auto waits = place(HostWith({pf}));
  EXPECT_TRUE(absl::IsUnavailable(waits.status()));
  EXPECT_THAT(Message(waits.status()),
              HasSubstr("the eswitch of pf1 is not yet as configured (mode legacy, wanted "
                        "switchdev)"));
  // Another NIC of the network is taken at once.
  EXPECT_EQ(place(HostWith({pf, MakePf(2, 1)}))->pf, NicId(Mac(2)));
  pf.eswitch.mode = EswitchMode::kSwitchdev;
  EXPECT_TRUE(place(HostWith({pf})).ok());
  // A VLAN network is carried by whatever it will be, and by what it becomes.
  const auto vlan = [&](PfFacts nic) {
    return PlacePort(MakePort(), kVlanNet, HostWith({std::move(nic)}), "vfio-pci", {}, {}, Nobody)
        .status()
        .code();
  };
  PfFacts to_be_switched = LegacyPf(1, 2);
  to_be_switched.eswitch.mode = EswitchMode::kLegacy;
  to_be_switched.wanted_eswitch.mode = EswitchMode::kSwitchdev;
  EXPECT_EQ(vlan(to_be_switched), absl::StatusCode::kUnavailable);
  PfFacts to_be_legacy = LegacyPf(1, 2);
  to_be_legacy.eswitch.mode = EswitchMode::kSwitchdev;
  to_be_legacy.wanted_eswitch.mode = EswitchMode::kLegacy;
  EXPECT_EQ(vlan(to_be_legacy), absl::StatusCode::kUnavailable);
  // A VF that serves somebody is what keeps the eswitch as it is.
  pf.eswitch.mode = EswitchMode::kLegacy;
  pf.vfs[0].driver = "vfio-pci";
  EXPECT_THAT(WhyNotFree(pf, pf.vfs[0], "vfio-pci", {}, {}), HasSubstr("in use by someone else"));
  EXPECT_THAT(WhyNotFree(pf, pf.vfs[1], "vfio-pci", {}, {}), HasSubstr("wanted switchdev"));
}

TEST(PlacePortTest, ARepresentorWhoseNetdevIsStillToComeIsWaitedForWhereItsVfCanBeHad) {
  PfFacts pf = MakePf(1, 2);
  pf.eswitch.mode = EswitchMode::kSwitchdev;
  const std::string awaited = "the representor of VF 0 (devlink port 2) has no netdev";
  pf.vfs[0].representor.clear();
  pf.vfs[0].representor_ifindex = 0;
  pf.vfs[0].representor_awaited = awaited;
  const VfId other{pf.id, 1};
  const auto place = [&](const Vpc& vpc, std::set<VfId> leased) {
    return PlacePort(MakePort(), vpc, HostWith({pf}), "vfio-pci", leased, {}, Nobody);
  };
  EXPECT_EQ(WhyNotFree(pf, pf.vfs[0], "vfio-pci", {}, {}), awaited);
  EXPECT_EQ(*place(kOverlay, {}), other) << "what is there is taken at once";
  const absl::Status waits = place(kOverlay, {other}).status();
  EXPECT_TRUE(absl::IsUnavailable(waits)) << waits;
  EXPECT_THAT(Message(waits), HasSubstr("pf1: " + awaited));
  EXPECT_TRUE(absl::IsUnavailable(place(kVlanNet, {other}).status()));
  pf.vfs[0].driver = "vfio-pci";
  EXPECT_EQ(place(kOverlay, {other}).status().code(), absl::StatusCode::kResourceExhausted)
      << "its VF is somebody's";
}

TEST(PlaceGuestDeviceTest, ItsOwnPlaceThenThePreviousThenTheFirstFree) {
  VmFacts vm;
  vm.vm = "vm";
  vm.root_ports = {{"rp1", "disk"}, {"rp2", ""}, {"rp3", ""}, {"rp4", ""}};
  EXPECT_EQ(*PlaceGuestDevice(vm, "fairlead-p1-l1", "", {}), "rp2");
  EXPECT_EQ(*PlaceGuestDevice(vm, "fairlead-p1-l1", "", {"rp2"}), "rp3");
  EXPECT_EQ(*PlaceGuestDevice(vm, "fairlead-p1-l1", "rp4", {}), "rp4");
  EXPECT_EQ(*PlaceGuestDevice(vm, "fairlead-p1-l1", "rp4", {"rp4"}), "rp2");
  EXPECT_EQ(*PlaceGuestDevice(vm, "fairlead-p1-l1", "rp1", {}), "rp2");
  EXPECT_EQ(*PlaceGuestDevice(vm, "fairlead-p1-l1", "gone", {}), "rp2");
  vm.root_ports[3].occupant = "fairlead-p1-l1";
  EXPECT_EQ(*PlaceGuestDevice(vm, "fairlead-p1-l1", "rp2", {}), "rp4");
  vm.root_ports[3].occupant = "/machine/peripheral/fairlead-p1-l1";
  EXPECT_EQ(*PlaceGuestDevice(vm, "fairlead-p1-l1", "rp2", {}), "rp4");
  // Another lease is another device, even where one name ends like the other.
  EXPECT_EQ(*PlaceGuestDevice(vm, "p1-l1", "", {}), "rp2");
}

TEST(PlaceGuestDeviceTest, WithoutAPlaceTheErrorSaysWhatIsInEach) {
  VmFacts vm;
  vm.vm = "vm";
  auto none = PlaceGuestDevice(vm, "fairlead-p1-l1", "", {});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kFailedPrecondition);
  vm.root_ports = {{"rp1", "disk"}, {"rp2", ""}};
  none = PlaceGuestDevice(vm, "fairlead-p1-l1", "", {"rp2"});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(none.status()),
              HasSubstr("rp1 holds 'disk'; rp2: meant for another port of this VM"));
  vm.root_ports = {
      {"rp1", "fairlead-x-p7-l1"}, {"rp2", ""}, {"rp3", "fairlead-x-p8-l2"}, {"rp4", ""}};
  none = PlaceGuestDevice(vm, "fairlead-p1-l1", "", {"rp2", "rp4"});
  EXPECT_THAT(Message(none.status()),
              AllOf(HasSubstr("rp1 holds 'fairlead-x-p7-l1', rp3 holds 'fairlead-x-p8-l2': of "
                              "Fairlead, and not of this port"),
                    HasSubstr("rp2, rp4: meant for another port")));
}

}  // namespace
}  // namespace fairlead
