// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes, step by step: a NIC is its permanent MAC and a VF its number there,
// whatever a boot, a driver or an administrator makes of addresses, names and numbers of
// interfaces; a VM is its UUID, whichever process it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/base/text.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "tests/sweep/stepped_host.h"

namespace fairlead {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class IdentityTest : public ::testing::Test {
 protected:
  // NICs that a boot finds in legacy mode and without VFs.
  static FakeMachineOptions ConnectX() { return {.pfs = 2, .eswitch = EswitchMode::kLegacy}; }
  static FakeMachineOptions Igb() { return {.pfs = 2, .first_igb = 0}; }

  void Begin(const FakeMachineOptions& machine) {
    SteppedHostOptions options;
    options.machine = machine;
    host_ = std::make_unique<SteppedHost>(options);
    for (PfConfig& pf : host_->config.providers.pfs) {
      if (machine.eswitch) pf.eswitch.mode = EswitchMode::kSwitchdev;
    }
    host_->Start();
    ASSERT_TRUE(host_->Settle());
    if (machine.eswitch) {
      host_->MakeVpc("red", kVni, "10.0.0.0/24");
    } else {
      host_->MakeVlan("red", kVlan, "10.0.0.0/24");
    }
    empty_ = host_->Leftovers();
  }
  // VMs "a", "b" and "c": on VF 0 of each NIC, and on VF 1 of the first.
  void AttachThree() {
    for (const auto& [vm, last] : {std::pair("a", 5), std::pair("b", 6), std::pair("c", 7)}) {
      host_->AddVm(vm);
      Attach(vm, last);
    }
    ASSERT_THAT(Places(), ElementsAre(FakeMachine::VfName(0, 0), FakeMachine::VfName(0, 1),
                                      FakeMachine::VfName(1, 0)));
    SetBefore();
  }
  void Attach(const std::string& vm, int last) {
    v1::Request request = host_->AddVmRequest(vm, "red", StrCat("10.0.0.", last));
    request.mutable_add_vm_to_vpc()->set_mac(Mac(last));
    const v1::Reply reply = host_->Send(request);
    ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
    ASSERT_TRUE(host_->Settle());
  }
  static std::string Mac(int last) { return StrCat("52:54:00:00:aa:0", last); }
  v1::ObjectStatus Port(const std::string& vm) {
    return host_->PortStatus(StrCat(vm, "-red")).value_or(v1::ObjectStatus());
  }
  std::vector<std::string> Places() { return {Port("a").vf(), Port("b").vf(), Port("c").vf()}; }

  // What must be the same afterwards: VF, lease, MAC and state of each port, and the number
  // of rules.
  void SetBefore() { before_ = WhatCounts(); }
  std::vector<std::string> WhatCounts() {
    std::vector<std::string> said;
    for (const char* vm : {"a", "b", "c"}) {
      const v1::ObjectStatus port = Port(vm);
      said.push_back(StrCat(vm, ": ", v1::ObjectState_Name(port.state()), " ", port.vf(), " lease ",
                            port.lease(), " mac ", port.mac(), " rules ", port.rules_observed()));
    }
    return said;
  }
  // Each VM has one function, and it is that VF.
  void ExpectEachVmHasItsVf() {
    for (const auto& [vm, vf] : {std::pair("a", VfId{FakeMachine::PfMac(0), 0}),
                                 std::pair("b", VfId{FakeMachine::PfMac(1), 0}),
                                 std::pair("c", VfId{FakeMachine::PfMac(0), 1})}) {
      const uint16_t pf = vf.pf == NicId(FakeMachine::PfMac(0)) ? 0 : 1;
      EXPECT_THAT(Functions(vm), ElementsAre(host_->VfAddress(vf.index, pf).ToString())) << vm;
      EXPECT_EQ(host_->pci.Find(host_->VfAddress(vf.index, pf))->driver, "vfio-pci") << vm;
    }
  }
  std::vector<std::string> Functions(const std::string& vm) {
    std::vector<std::string> functions;
    for (const QmpDevice& device : host_->vms().at(vm)->devices()) {
      if (!device.host.empty()) functions.push_back(device.host);
    }
    return functions;
  }
  // The power goes, and the host comes back with its VMs.
  void Reboot(std::vector<NicPlace> places) {
    host_->Kill();
    host_->Reboot(std::move(places));
    for (const char* vm : {"a", "b", "c"}) host_->AddVm(vm);
    host_->Start();
    ASSERT_TRUE(host_->Settle());
  }
  // Where NIC 1 was NIC 0 is now, and the other way round, names and numbers too.
  static std::vector<NicPlace> Swapped() {
    return {{FakeMachine::PfAddress(1), "pf1", FakeMachine::kPfLink + 1},
            {FakeMachine::PfAddress(0), "pf0", FakeMachine::kPfLink}};
  }
  static std::vector<NicPlace> Elsewhere() {
    return {{{0, 0x81, 0, 0}, "enp129s0f0np0", 71}, {{1, 0x21, 0, 1}, "eth0", 70}};
  }
  // As udev, or an administrator, does; the kernel tells of the link.
  void RenamePf(const std::string& name) {
    host_->pci.SetNetdevs(FakeMachine::PfAddress(), {name});
    host_->network->ChangeLink(FakeMachine::kPfLink, [&](LinkInfo& link) { link.name = name; });
  }
  uint32_t RepresentorOf(const std::string& vm) {
    FakeRtnetlinkPort links(host_->network);
    const absl::StatusOr<LinkInfo> link = links.GetLink(Port(vm).representor());
    return link.ok() ? link->ifindex : 0;
  }
  // Links that rules of the VPC send to, or look for.
  std::set<uint32_t> LinksInRules() {
    std::set<uint32_t> links;
    for (const TcFilter& rule : host_->network->Filters({0x46000000U | kVni, 0})) {
      for (const TcAction& action : rule.actions) {
        if (const auto* to = std::get_if<TcMirred>(&action)) links.insert(to->ifindex);
      }
    }
    return links;
  }
  int Removals() {
    int asked = 0;
    for (const auto& [id, vm] : host_->vms()) asked += vm->Calls(QmpMethod::kRequestRemoval);
    return asked;
  }

  static constexpr uint32_t kVni = 1000, kVlan = 100;

  std::unique_ptr<SteppedHost> host_;
  std::string empty_;
  std::vector<std::string> before_;
};

// sriov-network-operator 668, sriov-cni 445: after a boot the address, the name and the numbers
// of a NIC are others, or another NIC's.
TEST_F(IdentityTest, AfterABootThatNumbersTheNicsOtherwiseEachPortHasItsVf) {
  Begin(ConnectX());
  AttachThree();
  for (const auto& places : {Swapped(), Elsewhere(), Swapped()}) {
    SCOPED_TRACE(places[0].netdev);
    Reboot(places);
    EXPECT_EQ(WhatCounts(), before_);
    ExpectEachVmHasItsVf();
    EXPECT_EQ(Port("a").representor(), StrCat(places[0].netdev, "r0"));
    EXPECT_EQ(Port("b").representor(), StrCat(places[1].netdev, "r0"));
    EXPECT_THAT(LinksInRules(), Contains(RepresentorOf("a")));
  }
}

// And what is set on a VF through its PF is set on that VF.
TEST_F(IdentityTest, AfterSuchABootEachVfOfAVlanIsSetAgainThroughItsOwnNic) {
  Begin(Igb());
  AttachThree();
  for (const auto& places : {Swapped(), Elsewhere()}) {
    SCOPED_TRACE(places[0].netdev);
    Reboot(places);
    EXPECT_EQ(WhatCounts(), before_);
    ExpectEachVmHasItsVf();
    EXPECT_EQ(host_->Vf(0, 0).mac.ToString(), Mac(5));
    EXPECT_EQ(host_->Vf(0, 1).mac.ToString(), Mac(6));
    EXPECT_EQ(host_->Vf(1, 0).mac.ToString(), Mac(7));
    EXPECT_EQ(host_->Vf(0, 0).vlan, kVlan);
    EXPECT_TRUE(host_->Vf(1, 1).mac.IsZero());
    EXPECT_EQ(host_->Vf(1, 1).vlan, 0U);
  }
}

TEST_F(IdentityTest, AnotherNicInItsPlaceIsNotTakenForIt) {
  Begin(ConnectX());
  AttachThree();
  host_->Kill();
  host_->Reboot({{FakeMachine::PfAddress(0), "pf0", FakeMachine::kPfLink},
                 {FakeMachine::PfAddress(1), "pf1", FakeMachine::kPfLink + 1}});
  host_->network->ChangeLink(FakeMachine::kPfLink, [](LinkInfo& link) {
    link.mac = *MacAddress::Parse("52:54:00:00:ee:01");
    link.permanent_mac = link.mac;
  });
  for (const char* vm : {"a", "b", "c"}) host_->AddVm(vm);
  host_->Start();
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(Port("a").state(), v1::OBJECT_STATE_DEGRADED);
  EXPECT_THAT(Port("a").reason(), HasSubstr(FakeMachine::PfMac(0).ToString()));
  EXPECT_THAT(Functions("a"), IsEmpty());
  EXPECT_EQ(Port("b").state(), v1::OBJECT_STATE_READY);
  EXPECT_EQ(host_->pci.Find(FakeMachine::PfAddress(0))->num_vfs, 0) << "it is not on the list";
}

// What an administrator has given its netdev as an address is not what a NIC is known by.
TEST_F(IdentityTest, ANicWhoseAddressSomebodySetIsStillKnown) {
  Begin(ConnectX());
  AttachThree();
  host_->Kill();
  host_->ClearChanges();
  host_->network->ChangeLink(FakeMachine::kPfLink,
                             [](LinkInfo& link) { link.mac = FakeMachine::PfMac(1); });
  host_->Start();
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(WhatCounts(), before_);
  EXPECT_THAT(host_->changes(), IsEmpty());
}

TEST_F(IdentityTest, ANicThatIsRenamedIsKnownAndNothingIsChanged) {
  Begin(ConnectX());
  AttachThree();
  host_->ClearChanges();
  RenamePf("while-it-ran");
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(host_->Host().pfs(0).netdev(), "while-it-ran");
  host_->Kill();
  RenamePf("while-away");
  host_->Start();
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(host_->Host().pfs(0).netdev(), "while-away");
  EXPECT_EQ(WhatCounts(), before_);
  EXPECT_THAT(host_->changes(), IsEmpty());
}

TEST_F(IdentityTest, ARepresentorThatIsRenamedIsKnownAndNothingIsChanged) {
  Begin(ConnectX());
  AttachThree();
  const uint32_t representor = RepresentorOf("a");
  host_->ClearChanges();
  const auto rename = [&](const char* name) {
    host_->network->ChangeLink(representor, [&](LinkInfo& link) { link.name = name; });
  };
  rename("while-it-ran");
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(Port("a").representor(), "while-it-ran");
  host_->Kill();
  rename("while-away");
  host_->Start();
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(Port("a").representor(), "while-away");
  EXPECT_EQ(WhatCounts(), before_);
  EXPECT_THAT(host_->changes(), IsEmpty());
}

// ovs f9507c1ea: an ifindex that changed left a rule that could not be deleted.
TEST_F(IdentityTest, ARepresentorWithAnotherIfindexHasNoRuleOfTheOldOneLeft) {
  Begin(ConnectX());
  AttachThree();
  const uint32_t old = RepresentorOf("a");
  FakeRtnetlinkPort links(host_->network);
  LinkInfo link = *links.GetLink(old);
  host_->network->RemoveLink(old);
  link.ifindex = 900;
  link.alias.clear();
  link.up = false;
  host_->network->AddLink(link);
  host_->devlink->SetRepresentorNetdev(FakeMachine::Nic(), 0, link.ifindex);
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(RepresentorOf("a"), 900U);
  EXPECT_THAT(LinksInRules(), Contains(900U));
  EXPECT_THAT(LinksInRules(), Not(Contains(old)));
  EXPECT_EQ(WhatCounts(), before_);
  EXPECT_EQ(Removals(), 0);
}

// sriov-network-operator 1107: a moment without a driver was read as drift, and drained the node.
TEST_F(IdentityTest, ANicWithoutANetdevForAMomentLosesNothing) {
  Begin(ConnectX());
  AttachThree();
  host_->ClearChanges();
  const auto tell = [&] { host_->network->ChangeLink(FakeMachine::kPfLink, [](LinkInfo&) {}); };
  host_->pci.SetNetdevs(FakeMachine::PfAddress(), {});
  tell();
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(Port("a").state(), v1::OBJECT_STATE_DEGRADED);
  host_->pci.SetNetdevs(FakeMachine::PfAddress(), {"pf0"});
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(WhatCounts(), before_);
  EXPECT_THAT(host_->changes(), IsEmpty());
  EXPECT_EQ(host_->Host().drifts_noticed(), 0U);
}

TEST_F(IdentityTest, AVfWithoutADriverForAMomentIsBoundAgainAndItsVmKeepsIt) {
  Begin(ConnectX());
  AttachThree();
  ASSERT_TRUE(host_->pci.Unbind(host_->VfAddress(0)).ok());
  host_->network->LoseLinkEvents();
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(WhatCounts(), before_);
  ExpectEachVmHasItsVf();
  EXPECT_EQ(Removals(), 0);
}

// sriov-network-operator 307: code unbound the PF in place of the VF.
TEST_F(IdentityTest, NoPfIsEverBoundUnboundOrReset) {
  Begin(ConnectX());
  std::set<PciAddress> touched;
  host_->pci.SetHook([&](SysfsMethod method, const PciAddress& address) {
    if (method != SysfsMethod::kSetNumVfs) touched.insert(address);
  });
  AttachThree();
  const std::set<PciAddress> vfs = {host_->VfAddress(0, 0), host_->VfAddress(0, 1),
                                    host_->VfAddress(1, 0)};
  for (const char* vm : {"a", "b", "c"}) host_->Detach(vm, "red");
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(host_->Leftovers(), empty_);
  EXPECT_EQ(touched, vfs);
  host_->pci.SetHook(nullptr);
}

// sriov-network-operator 1124: what was removed around a boot left stale VFs, and was said to be
// done.
TEST_F(IdentityTest, APortThatIsRemovedRightBeforeABootIsGoneAfterIt) {
  Begin(ConnectX());
  AttachThree();
  host_->vms().at("a")->SetRemoval(FakeVm::Removal::kNever);
  host_->Detach("a", "red");
  ASSERT_TRUE(host_->Settle());
  ASSERT_EQ(Port("a").state(), v1::OBJECT_STATE_REMOVING);
  Reboot(Swapped());
  EXPECT_FALSE(host_->PortStatus("a-red"));
  EXPECT_THAT(Functions("a"), IsEmpty());
  EXPECT_EQ(host_->pci.Find(host_->VfAddress(0))->driver, "");
  EXPECT_EQ(host_->Host().pfs(0).vfs(0).state(), "free");
  const std::vector<std::string> now = WhatCounts();
  EXPECT_EQ(now[1].substr(0, now[1].find("rules")), before_[1].substr(0, before_[1].find("rules")));
}

TEST_F(IdentityTest, AVmThatAnotherProcessRunsMeanwhileGetsItsVfAgain) {
  Begin(ConnectX());
  AttachThree();
  host_->Kill();
  host_->AddVm("a");  // in the place of the other
  host_->Start();
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(WhatCounts(), before_);
  ExpectEachVmHasItsVf();
}

TEST_F(IdentityTest, OfAVmThatIsGoneForGoodNothingIsLeftWhenItsPortIsRemoved) {
  Begin(ConnectX());
  AttachThree();
  host_->RemoveVm("a");
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(Port("a").state(), v1::OBJECT_STATE_DEGRADED);
  EXPECT_EQ(Port("a").vf(), FakeMachine::VfName(0)) << "it may come back";
  host_->Kill();
  host_->Start();
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(Port("a").vf(), FakeMachine::VfName(0));
  host_->Detach("a", "red");
  ASSERT_TRUE(host_->Settle());
  EXPECT_FALSE(host_->PortStatus("a-red"));
  EXPECT_EQ(host_->Host().pfs(0).vfs(0).state(), "free");
  for (const char* vm : {"b", "c"}) {
    EXPECT_EQ(Port(vm).state(), v1::OBJECT_STATE_READY);
    host_->Detach(vm, "red");
  }
  ASSERT_TRUE(host_->Settle());
  EXPECT_EQ(host_->Leftovers(), empty_);
}

}  // namespace
}  // namespace fairlead
