// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: the main job, and where a port is placed.
#include <algorithm>
#include <atomic>

#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

class AttachTest : public AgentTest {};

TEST_F(AttachTest, AnAttachGivesTheVmAVfAndADetachLeavesNothing) {
  Begin();
  const auto vm = host->AddVm("a");
  const std::string before = Quiet();
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus status = host->WaitReady("a-red");
  EXPECT_EQ(status.guest_bus(), "rp0");
  EXPECT_EQ(status.mac(), "52:54:00:00:01:00");
  EXPECT_EQ(status.generation(), status.observed_generation());
  EXPECT_EQ(status.rules_observed(), status.rules_wanted());
  EXPECT_GT(status.rules_wanted(), 0U);
  const std::optional<QmpDevice> device = vm->Find(status.guest_device());
  ASSERT_TRUE(device);
  EXPECT_EQ(device->host, host->VfAddress(0).ToString());
  EXPECT_EQ(host->pci.Find(host->VfAddress(0))->driver, "vfio-pci");

  host->Detach("a", "red");
  host->WaitGone("a-red");
  WaitNothingLeft(before);
  EXPECT_FALSE(vm->Find(status.guest_device()));
  EXPECT_GE(host->pci.ResetCount(host->VfAddress(0)), 1);
}

TEST_F(AttachTest, AVmThatIsBeingCreatedIsAttachedCold) {
  Begin();
  const auto vm = host->AddVm("a");
  vm->SetRunState("prelaunch");
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_TRUE(vm->Find(host->WaitReady("a-red").guest_device()));
}

// What would be harmful if it came later: the drop rule, before the link is up
// and the VF is bound.
TEST_F(AttachTest, TheDropRuleStandsBeforeTheVfIsHandedOut) {
  Begin();
  host->AddVm("a");
  Quiet();
  host->network->ClearCalls();
  const std::string put_drop = StrCat("Put(block ", 0x46000000U | 1000, " chain 0 prio 65000");
  std::atomic<bool> handed_out_before = false;
  host->network->SetHook([&](std::string_view call) {
    if (call.starts_with(put_drop) && host->pci.Find(host->VfAddress(0))->driver == "vfio-pci") {
      handed_out_before = true;
    }
  });
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  host->network->SetHook(nullptr);
  EXPECT_FALSE(handed_out_before);
  const std::vector<std::string> calls = host->network->Calls();
  const auto find = [&](const std::string& part) {
    return std::find_if(calls.begin(), calls.end(), [&](const std::string& call) {
      return call.find(part) != std::string::npos;
    });
  };
  const auto drop = find(put_drop);
  const auto up = find("SetLinkUp(20, up)");
  ASSERT_NE(drop, calls.end()) << StrJoin(calls, "\n");
  ASSERT_NE(up, calls.end()) << StrJoin(calls, "\n");
  EXPECT_LT(drop - calls.begin(), up - calls.begin());
}

TEST_F(AttachTest, TenantsWithTheSameAddressesShareNoRule) {
  Begin();
  host->AddVm("a");
  host->AddVm("b");
  host->Attach("a", "red", "10.0.0.5");
  host->Attach("b", "blue", "10.0.0.5");
  const v1::ObjectStatus a = host->WaitReady("a-red"), b = host->WaitReady("b-blue");
  EXPECT_NE(a.representor(), b.representor());
  const uint32_t rep_b = b.representor() == "pf0rep1" ? host->Representor(1) : host->Representor(0);
  for (const TcFilter& filter : Block(1000)) {
    for (const TcAction& action : filter.actions) {
      if (const auto* mirred = std::get_if<TcMirred>(&action)) {
        EXPECT_NE(mirred->ifindex, rep_b);
      }
      if (const auto* tunnel = std::get_if<TcTunnelSet>(&action)) {
        EXPECT_EQ(tunnel->key_id, 1000U);
      }
    }
  }
}

TEST_F(AttachTest, APortThatMustRunInHardwareDoesOnANicThatCan) {
  Begin({.offload_capable = true});
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_MUST);
  ASSERT_TRUE(host->Send(request).has_accepted());
  const v1::ObjectStatus status = host->WaitReady("a-red");
  EXPECT_GT(status.rules_in_hardware(), 0U);
}

// ovs: filters that were in hardware when offload was switched off went on catching traffic.
TEST_F(AttachTest, OfAPortThatIsToLeaveHardwareNoRuleIsLeftThere) {
  Begin({.offload_capable = true});
  const auto vm = Attached("a", "red", "10.0.0.5");
  const v1::ObjectStatus before = host->WaitReady("a-red");
  ASSERT_GT(before.rules_in_hardware(), 0U);
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_OFF);
  ASSERT_TRUE(host->Send(request).has_accepted());
  const auto after = host->WaitPort("a-red", [](const auto& s) {
    return s && s->state() == v1::OBJECT_STATE_READY && s->observed_generation() == 2;
  });
  EXPECT_EQ(after->rules_in_hardware(), 0U);
  EXPECT_EQ(after->rules_observed(), before.rules_observed());
  FakeRtnetlinkPort links(host->network);
  const uint32_t tunnel = links.GetLink("fl-vxlan0")->ifindex;
  std::vector<TcFilter> rules = Block(1000);
  for (const TcFilter& rule : host->network->Filters({0, tunnel})) rules.push_back(rule);
  for (const TcFilter& rule : rules) {
    if (rule.id.priority != kPrioDeliver) continue;  // the others are of the VPC and the subnet
    EXPECT_EQ(rule.flags, TcFilter::Flags::kSkipHw) << "handle " << rule.id.handle;
  }
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0);
}

// nova 1808252: a MAC that stayed on a VF partitioned the network.
TEST_F(AttachTest, WhereTheNicSetsMacsTheVfGetsTheOneAskedFor) {
  Begin({.can_set_vf_mac = true});
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:77:77");
  ASSERT_TRUE(host->Send(request).has_accepted());
  host->WaitReady("a-red");
  FakeRtnetlinkPort links(host->network);
  const auto pf = links.GetLinkWithVfs(FakeHost::kPfLink);
  ASSERT_TRUE(pf.ok());
  EXPECT_EQ(pf->vfs->at(0).mac.ToString(), "52:54:00:00:77:77");
  host->Detach("a", "red");
  host->WaitGone("a-red");
  EXPECT_TRUE(links.GetLinkWithVfs(FakeHost::kPfLink)->vfs->at(0).mac.IsZero());
}

TEST_F(AttachTest, AnotherMacAttachesThePortAnew) {
  Begin({.can_set_vf_mac = true});
  const auto vm = host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:77:77");
  ASSERT_TRUE(host->Send(request).has_accepted());
  host->WaitReady("a-red");
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:77:78");
  EXPECT_EQ(ExpectAttachedAnew(request, *vm, "a-red").mac(), "52:54:00:00:77:78");
  EXPECT_EQ(host->Vf(0).mac.ToString(), "52:54:00:00:77:78");
}

// It asks by name for what it has.
TEST_F(AttachTest, AskingForTheMacThatThePortHasChangesNothing) {
  Begin();
  const auto vm = Attached("a", "red", "10.0.0.5");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_mac(FakeHost::VfMac(0).ToString());
  ASSERT_TRUE(host->Send(request).has_accepted());
  host->WaitPort("a-red", [](const auto& s) {
    return s && s->generation() == 2 && s->observed_generation() == 2;
  });
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0);
}

TEST_F(AttachTest, APortWithoutAVmIsKeptAndWaits) {
  Begin();
  ASSERT_TRUE(
      host->Apply([](v1::Apply& apply) { FillPort(apply, "waiting", "", "red"); }).has_accepted());
  host->WaitPort("waiting", [](const auto& s) {
    return s && s->state() == v1::OBJECT_STATE_PENDING &&
           s->reason().find("no VM") != std::string::npos;
  });
}

TEST_F(AttachTest, SixteenPortsOfOneSubnetAttachSideBySideAndGoAgain) {
  Begin({.vfs = 16});
  const std::string before = Quiet();
  for (int i = 0; i < 16; ++i) {
    host->AddVm(StrCat("vm", i));
    host->Attach(StrCat("vm", i), "red", StrCat("10.0.0.", 10 + i));
  }
  for (int i = 0; i < 16; ++i) host->WaitReady(StrCat("vm", i, "-red"));
  for (int i = 0; i < 16; ++i) host->Detach(StrCat("vm", i), "red");
  for (int i = 0; i < 16; ++i) host->WaitGone(StrCat("vm", i, "-red"));
  WaitNothingLeft(before);
}

TEST_F(AttachTest, ThePfWithFewerLeasesGetsTheNextPort) {
  Begin({.pfs = 2});
  Quiet();
  TwoAttached();
  EXPECT_EQ(host->PortStatus("a-red")->vf(), FakeHost::VfName(0, 0));
  EXPECT_EQ(host->PortStatus("b-red")->vf(), FakeHost::VfName(0, 1));
  Attached("c", "blue", "10.0.0.7");
  EXPECT_EQ(host->PortStatus("c-blue")->vf(), FakeHost::VfName(1, 0));
  // One subnet on two NICs: the ports know each other.
  EXPECT_TRUE(Reaches(1000, FakeHost::Representor(0, 0)));
  EXPECT_TRUE(Reaches(1000, FakeHost::Representor(0, 1)));
}

// Its frames, and those of the endpoint, would be mistaken for each other.
TEST_F(AttachTest, AVfWhoseMacAnEndpointOfTheVpcHasIsNotGivenToItsPorts) {
  Begin();
  Quiet();
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    FillEndpoint(apply, "far", "red", FakeHost::VfMac(0).ToString(), "10.0.0.20",
                                 "192.0.2.2");
                  })
                  .has_accepted());
  Attached("a", "red", "10.0.0.5");
  EXPECT_EQ(host->PortStatus("a-red")->vf(), FakeHost::VfName(1));
  Attached("b", "blue", "10.0.0.5");
  EXPECT_EQ(host->PortStatus("b-blue")->vf(), FakeHost::VfName(0)) << "another VPC may have it";
  EXPECT_EQ(EndpointStatus("far").state(), v1::OBJECT_STATE_READY);
}

}  // namespace
}  // namespace fairlead
