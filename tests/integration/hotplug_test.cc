// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: functions that come by PCIe hot-plug, as a DPU brings them.
#include "tests/integration/hotplug_fixture.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(HotplugTest, APortWaitsForItsFunctionAndTakesItFromTheHostWhenItComes) {
  BeginWithPort();
  const auto vm = AskForOne();
  const v1::ObjectStatus waiting = WaitWaiting();
  EXPECT_THAT(waiting.reason(),
              HasSubstr("waits for the function with MAC 52:54:00:00:04:00 at hot-plug port dpu0 "
                        "(0000:00:1c.0)"));
  EXPECT_EQ(waiting.step(), "function");
  EXPECT_EQ(waiting.lease(), 0U);
  Plug();
  const v1::ObjectStatus ready = host->WaitReady("a-red");
  EXPECT_EQ(Function()->driver, "vfio-pci");
  EXPECT_EQ(ready.vf(), "0000:00:1c.0/0");
  EXPECT_EQ(ready.vf_pci(), Pci().ToString());
  EXPECT_EQ(ready.mac(), Mac(0).ToString());
  ASSERT_TRUE(vm->Find(ready.guest_device()));
  EXPECT_EQ(vm->Find(ready.guest_device())->host, Pci().ToString());
  EXPECT_EQ(ready.rules_wanted(), 0U);
  EXPECT_EQ(host->Rules().size(), 0U);
  EXPECT_THAT(host->Leftovers(), Not(HasSubstr("fl-vxlan0"))) << "the DPU forwards";
  const v1::HostState::Vf shown = ShownPort().vfs(0);
  EXPECT_EQ(shown.state(), "leased");
  EXPECT_EQ(shown.port(), "a-red");
  EXPECT_EQ(shown.ids(), "1af4:1041");

  host->Detach("a", "red");
  host->WaitGone("a-red");
  ExpectGivenBack(*vm);
  EXPECT_EQ(host->pci.ResetCount(Pci()), 1);
}

TEST_F(HotplugTest, AFunctionThatNobodyAskedForIsLeftAloneUntilSomebodyDoes) {
  BeginWithPort();
  const int writes = PciWrites();
  Plug();
  host->WaitUntil("it is seen", [&] { return ShownPort().vfs_size() == 1; });
  EXPECT_EQ(PciWrites(), writes);
  const v1::HostState::Pf port = ShownPort();
  EXPECT_EQ(port.name(), "dpu0");
  EXPECT_EQ(port.hotplug(), "mac");
  EXPECT_EQ(port.vfs(0).state(), "free");
  EXPECT_EQ(port.vfs(0).netdev(), "hot0");
  EXPECT_EQ(port.vfs(0).mac(), Mac(0).ToString());
  Attached("b", "red", "10.0.0.6");  // on a VF: a port that asks for none gets no function
  EXPECT_EQ(host->PortStatus("b-red")->vf(), FakeHost::VfName(0));
  EXPECT_EQ(Function()->driver, "virtio-pci");
  host->Detach("b", "red");
  host->WaitGone("b-red");
  EXPECT_EQ(Function()->driver_override, "");
  EXPECT_EQ(host->pci.ResetCount(Pci()), 0);
  AskForOne();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, ItFailsWhenTheDeadlinePassesAndIsAttachedWhenItComesAllTheSame) {
  BeginWithPort([](DaemonConfig& config) {
    PortOf(config).deadline = std::chrono::milliseconds(30);
    TryOnce(config);  // what wakes it is the function
  });
  AskForOne();
  const v1::ObjectStatus failed =
      WaitReason(v1::OBJECT_STATE_FAILED, "it did not come within 30 ms");
  EXPECT_THAT(failed.reason(), HasSubstr("waits for the function with MAC"));
  EXPECT_FALSE(failed.permanent());
  EXPECT_EQ(failed.step(), "function");
  Plug();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionWithAnotherMacIsNotTaken) {
  BeginWithPort();
  AskForOne();
  WaitWaiting();
  Plug(0, Mac(9));
  const v1::ObjectStatus waiting =
      WaitReason(v1::OBJECT_STATE_PENDING, "0000:20:00.0: shows MAC 52:54:00:00:04:09");
  EXPECT_EQ(Function()->driver, "virtio-pci");
  Plug(1, Mac(0));
  EXPECT_EQ(host->WaitReady("a-red").vf(), "0000:00:1c.0/1");
  EXPECT_EQ(Function(0)->driver, "virtio-pci");
}

TEST_F(HotplugTest, AFunctionThatNoHostDriverShowsIsNotIdentifiedAndThatIsSaid) {
  BeginWithPort();
  AskForOne();
  FakeFunctionOptions driverless;
  driverless.driver = "";
  Plug(0, Mac(0), driverless);
  WaitReason(v1::OBJECT_STATE_PENDING, "shows no MAC: no driver of the host has it");
  EXPECT_EQ(Function()->driver_override, "");
}

TEST_F(HotplugTest, OfAPortThatKnowsItsFunctionByTheSlotWhateverComesIsIt) {
  BeginWithPort([](DaemonConfig& config) { PortOf(config).identity = FunctionIdentity::kSlot; });
  host->AddVm("a");
  ASSERT_TRUE(Ask("a", "10.0.0.5", std::nullopt).has_accepted());
  WaitWaiting();
  FakeFunctionOptions driverless;
  driverless.driver = "";
  Plug(0, Mac(7), driverless);
  host->WaitReady("a-red");
  EXPECT_EQ(Function()->driver, "vfio-pci");
  host->Detach("a", "red");
  host->WaitGone("a-red");
  EXPECT_EQ(Function()->driver, "") << "as it came";
  EXPECT_EQ(Function()->driver_override, "");
}

TEST_F(HotplugTest, AFunctionWithoutAResetIsGivenBackAndShownAsThat) {
  BeginWithPort();
  const auto vm = AskForOne();
  FakeFunctionOptions without;
  without.resettable = false;
  Plug(0, Mac(0), without);
  host->WaitReady("a-red");
  host->Detach("a", "red");
  host->WaitGone("a-red");
  ExpectGivenBack(*vm);
  EXPECT_THAT(ShownPort().vfs(0).detail(), HasSubstr("offers no reset"));
}

TEST_F(HotplugTest, ADeviceThatIsNotOnTheListIsRefusedByName) {
  BeginWithPort([](DaemonConfig& config) { PortOf(config).devices = {{0x15b3, 0x101e}}; });
  AskForOne();
  WaitWaiting();
  Plug();
  const v1::ObjectStatus failed = host->WaitFailed("a-red");
  EXPECT_THAT(failed.reason(), HasSubstr("1af4:1041 is not among the devices"));
  EXPECT_EQ(Function()->driver, "virtio-pci");
  EXPECT_THAT(ShownPort().vfs(0).detail(), HasSubstr("not among the devices"));
}

TEST_F(HotplugTest, AFunctionThatTheHostUsesIsRefusedUntilItDoesNot) {
  BeginWithPort();
  PlugUntold(0, Mac(0));
  host->network->ChangeLink(Link(0), [](LinkInfo& link) { link.up = true; });
  host->network->AddAddress(Link(0), *IpAddress::Parse("198.51.100.7"),
                            *IpPrefix::Parse("198.51.100.0/24"));
  host->uevents.Emit("add", DevPath(0), "pci");
  AskForOne();
  const v1::ObjectStatus failed = host->WaitFailed("a-red");
  EXPECT_THAT(failed.reason(), AllOf(HasSubstr("the host uses it"), HasSubstr("198.51.100.7")));
  EXPECT_EQ(Function()->driver, "virtio-pci");
  host->network->RemoveAddress(Link(0), *IpAddress::Parse("198.51.100.7"));
  host->network->ChangeLink(Link(0), [](LinkInfo& link) { link.up = false; });  // is noticed
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionBehindAPortThatIsNotConfiguredIsNeverTouched) {
  BeginWithPort();
  constexpr PciAddress kOther{0, 0, 0x1d, 0};
  host->pci.AddBridge(kOther);
  LinkInfo link;
  link.name = "other";
  link.ifindex = 600;
  link.mac = Mac(0);
  host->network->AddLink(link);
  FakeFunctionOptions options;
  options.address = {0, 0x21, 0, 0};
  options.netdev = "other";
  host->pci.Plug(kOther, options);
  host->uevents.Emit("add", "/devices/pci0000:00/0000:00:1d.0/0000:21:00.0", "pci");
  AskForOne();
  WaitWaiting();
  EXPECT_EQ(host->pci.Find({0, 0x21, 0, 0})->driver, "virtio-pci");
}

TEST_F(HotplugTest, WhatItCannotPromiseIsRefusedWhenItIsAsked) {
  BeginWithPort();
  host->AddVm("a");
  const v1::Reply without = Ask("a", "10.0.0.5", std::nullopt);
  ASSERT_TRUE(without.has_rejected());
  EXPECT_EQ(without.rejected().violations(0).path(), "add_vm_to_vpc.mac");
  v1::Request must = host->AddVmRequest("a", "red", "10.0.0.5");
  must.mutable_add_vm_to_vpc()->set_function(v1::FUNCTION_SOURCE_HOTPLUG);
  must.mutable_add_vm_to_vpc()->set_mac(Mac(0).ToString());
  must.mutable_add_vm_to_vpc()->set_offload(v1::OFFLOAD_WISH_MUST);
  const v1::Reply refused = host->Send(must);
  ASSERT_TRUE(refused.has_rejected());
  EXPECT_EQ(refused.rejected().violations(0).path(), "add_vm_to_vpc.offload");
  must.mutable_add_vm_to_vpc()->clear_offload();
  must.mutable_add_vm_to_vpc()->set_network(v1::NETWORK_KIND_CONVERGED);
  const v1::Reply elsewhere = host->Send(must);
  ASSERT_TRUE(elsewhere.has_rejected());
  EXPECT_EQ(elsewhere.rejected().violations(0).path(), "add_vm_to_vpc.function");
}

TEST_F(HotplugTest, TwoVmsGetEachItsOwnFunctionOfOneSlot) {
  BeginWithPort();
  AskForOne();
  host->AddVm("b");
  ASSERT_TRUE(Ask("b", "10.0.0.6", Mac(1)).has_accepted());
  WaitWaiting();
  Plug(0, Mac(1));
  EXPECT_EQ(host->WaitReady("b-red").vf(), "0000:00:1c.0/0");
  Plug(1, Mac(0));
  EXPECT_EQ(host->WaitReady("a-red").vf(), "0000:00:1c.0/1");
}

TEST_F(HotplugTest, WhatWasLostOfTheUeventsIsFoundByLookingAgain) {
  BeginWithPort();
  AskForOne();
  WaitWaiting();
  PlugUntold(0, Mac(0));
  host->uevents.Lose();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionWhoseOperationHangsIsNotGivenOnBeforeThatIsBack) {
  BeginWithPort();
  const auto vm = ReadyOne();
  host->pci.HangNext(SysfsMethod::kReset, Pci());
  host->Detach("a", "red");
  WaitReason(v1::OBJECT_STATE_REMOVING, "has not come back");
  EXPECT_EQ(ShownPort().vfs(0).state(), "leased");
  ASSERT_TRUE(host->pci.Release(Pci()));
  host->WaitGone("a-red");
  ExpectGivenBack(*vm);
}

TEST_F(HotplugTest, ARestartAdoptsAReadyFunctionWithoutTouchingIt) {
  BeginWithPort();
  const auto vm = ReadyOne();
  const v1::ObjectStatus ready = *host->PortStatus("a-red");
  host->Stop();
  const int writes = PciWrites(), adds = vm->Calls(QmpMethod::kAddVfioDevice);
  host->network->ClearCalls();
  host->Start();
  const v1::ObjectStatus again = host->WaitReady("a-red");
  EXPECT_EQ(again.lease(), ready.lease());
  EXPECT_EQ(again.guest_device(), ready.guest_device());
  EXPECT_EQ(PciWrites(), writes);
  EXPECT_EQ(vm->Calls(QmpMethod::kAddVfioDevice), adds);
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0);
  ExpectNetworkUntouched();
}

TEST_F(HotplugTest, ARestartOfAPortThatWaitsWaitsOnAndOneWhileItComesTakesIt) {
  BeginWithPort();
  AskForOne();
  WaitWaiting();
  host->Stop();
  host->Start();
  WaitWaiting();
  host->Stop();
  Plug();
  host->Start();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, ARestartDuringTheReleaseEndsIt) {
  BeginWithPort();
  const auto vm = ReadyOne();
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  host->Detach("a", "red");
  WaitReason(v1::OBJECT_STATE_REMOVING, "");
  host->Stop();
  vm->SetRemoval(FakeVm::Removal::kImmediate);
  vm->CompleteRemovals();
  host->Start();
  host->WaitUntil("it is free again", [&] {
    return ShownPort().vfs_size() == 1 && ShownPort().vfs(0).state() == "free";
  });
  ExpectGivenBack(*vm);
}

TEST_F(HotplugTest, ARestartDuringTheAttachLeavesItReadyOrWaitingNeverInBetween) {
  BeginWithPort();
  const auto vm = AskForOne();
  WaitWaiting();
  host->pci.HangNext(SysfsMethod::kProbe, Pci());  // driverless, with our override
  Plug();
  host->WaitUntil("it is taken from its driver", [&] {
    const auto function = Function();
    return function && function->driver.empty();
  });
  host->Stop();
  host->network->RemoveLink(Link(0));
  ASSERT_TRUE(host->pci.Release(Pci()));  // the kernel ends it late
  AddNetdev(0, Mac(0));
  host->Start();
  host->WaitReady("a-red");
  EXPECT_EQ(Devices(*vm), 1U);
}

std::vector<std::string> Steps(const v1::Plan& plan) {
  std::vector<std::string> steps;
  for (const v1::Plan::Step& step : plan.steps()) {
    steps.push_back(StrCat(step.verb(), " ", step.resource()));
  }
  return steps;
}

TEST_F(HotplugTest, ADryRunSaysWhatItWouldDoAndForWhatItWouldWait) {
  BeginWithPort();
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_function(v1::FUNCTION_SOURCE_HOTPLUG);
  request.mutable_add_vm_to_vpc()->set_mac(Mac(0).ToString());
  request.set_dry_run(true);
  v1::Reply reply = host->Send(request);
  ASSERT_EQ(reply.plan().blocked_size(), 1) << reply.ShortDebugString();
  EXPECT_THAT(reply.plan().blocked(0).reason(), HasSubstr("waits for the function"));
  Plug();
  host->WaitUntil("it is seen", [&] { return ShownPort().vfs_size() == 1; });
  request.clear_request_id();
  reply = host->Send(request);
  EXPECT_THAT(Steps(reply.plan()), ::testing::ElementsAre("create vf/0000:00:1c.0/0",
                                                          "create driver-binding/0000:00:1c.0/0",
                                                          "create guest-device/a/a-red"));
  EXPECT_EQ(Function()->driver, "virtio-pci");
}

// Both are ready, and nothing here carries what one sends to the other.
TEST_F(HotplugTest, APortOfItsVpcOnAVfHereIsNamedAsOneThatItDoesNotReach) {
  BeginWithPort();
  ReadyOne();
  EXPECT_EQ(host->PortStatus("a-red")->reason(), "");
  Attached("b", "red", "10.0.0.6");
  const std::optional<v1::ObjectStatus> status = host->PortStatus("a-red");
  EXPECT_EQ(status->state(), v1::OBJECT_STATE_READY);
  EXPECT_THAT(status->reason(), AllOf(HasSubstr("no rule"), HasSubstr("b-red")));
  EXPECT_EQ(host->PortStatus("b-red")->reason(), "");
  host->Detach("b", "red");
  host->WaitGone("b-red");
  EXPECT_EQ(host->PortStatus("a-red")->reason(), "");
}

// The function that is given back in the plan is the one that the new port gets.
TEST_F(HotplugTest, ADryRunOfAPortThatIsMadeAgainDoesNotWaitForItsFunction) {
  BeginWithPort();
  ReadyOne();
  // Its netdev went with its driver, and with that the MAC that it is known by.
  host->uevents.Emit("bind", DevPath(0), "pci");
  host->WaitUntil("it is seen without a MAC", [&] {
    const v1::HostState::Pf shown = ShownPort();
    return shown.vfs_size() == 1 && shown.vfs(0).mac().empty();
  });
  v1::Request request;
  request.set_dry_run(true);
  v1::Apply& apply = *request.mutable_apply();
  FillRemove(apply, v1::OBJECT_KIND_PORT, "a-red");
  v1::Port* port = FillPort(apply, "a-again", "a", "red");
  port->set_function(v1::FUNCTION_SOURCE_HOTPLUG);
  port->set_mac(Mac(0).ToString());
  const v1::Reply reply = host->Send(request);
  ASSERT_TRUE(reply.has_plan()) << reply.ShortDebugString();
  EXPECT_EQ(reply.plan().blocked_size(), 0) << reply.ShortDebugString();
  EXPECT_THAT(Steps(reply.plan()),
              ::testing::ElementsAre(
                  "delete guest-device/a/a-red", "delete driver-binding/0000:00:1c.0/0",
                  "delete vf/0000:00:1c.0/0", "create vf/0000:00:1c.0/0",
                  "create driver-binding/0000:00:1c.0/0", "create guest-device/a/a-again"));
  EXPECT_EQ(Function()->driver, "vfio-pci");
}

}  // namespace
}  // namespace fairlead
