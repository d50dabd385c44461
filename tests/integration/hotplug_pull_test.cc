// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: functions that a DPU pulls, at any time.
#include <atomic>

#include "tests/integration/hotplug_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

TEST_F(HotplugTest, AFunctionThatIsPulledFromAReadyPortIsWaitedForAndTakenAgain) {
  BeginWithPort();
  const auto vm = ReadyOne();
  const uint64_t lease = host->PortStatus("a-red")->lease();
  Pull(0, vm);
  WaitWentAway();
  ExpectNothingLeft(*vm);
  Plug();
  const v1::ObjectStatus again = host->WaitReady("a-red");
  EXPECT_GT(again.lease(), lease);
  EXPECT_EQ(Devices(*vm), 1U);
  EXPECT_EQ(Function()->driver, "vfio-pci");
  host->Detach("a", "red");
  host->WaitGone("a-red");
  ExpectGivenBack(*vm);
}

// spdk 3205: the removal of a device and its release by VFIO waited for each other.
// The guest is paused, or does not hear its hot-plug port.
TEST_F(HotplugTest, AFunctionThatIsPulledAndThatItsGuestDoesNotLetGoIsSaidAndWaitedFor) {
  BeginWithPort();
  const auto vm = ReadyOne();
  const uint32_t group = *Function()->iommu_group;
  host->pci.SetGroupOpen(group, true);
  host->network->RemoveLink(Link(0));
  host->pci.RemoveDevice(Pci());
  host->uevents.Lose();  // the kernel says nothing before it is gone: an audit finds it
  const v1::ObjectStatus said = WaitReason(v1::OBJECT_STATE_DEGRADED,
                                           "the function is being pulled, and VM a still holds it");
  EXPECT_EQ(said.step(), "function");
  EXPECT_THAT(ShownPort().vfs(0).detail(), HasSubstr("being pulled"));
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0) << "the kernel has asked it";
  host->Stop();
  host->Start();
  WaitReason(v1::OBJECT_STATE_DEGRADED, "VM a still holds it");
  for (const QmpDevice& device : vm->devices()) {
    if (!device.host.empty()) vm->Unplug(device.id);
  }
  host->pci.SetGroupOpen(group, false);
  host->uevents.Emit("remove", DevPath(0), "pci");
  WaitWentAway();
  ExpectNothingLeft(*vm);
  Plug();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, ADeviceThatQemuKeepsOfAPulledFunctionIsRemoved) {
  BeginWithPort();
  const auto vm = ReadyOne();
  Pull();  // QEMU did nothing by itself
  WaitWentAway();
  ExpectNothingLeft(*vm);
}

TEST_F(HotplugTest, AnotherFunctionThatComesAtOnceInItsPlaceIsNotTakenForIt) {
  BeginWithPort();
  const auto vm = ReadyOne();
  for (const QmpDevice& device : vm->devices()) {
    if (!device.host.empty()) vm->Unplug(device.id);
  }
  host->network->RemoveLink(Link(0));
  host->pci.RemoveDevice(Pci());
  Plug(0, Mac(9));
  WaitReason(v1::OBJECT_STATE_PENDING, "shows MAC 52:54:00:00:04:09");
  EXPECT_EQ(Function()->driver, "virtio-pci");
  EXPECT_EQ(Devices(*vm), 0U);
  EXPECT_EQ(host->pci.ResetCount(Pci()), 0);
}

TEST_F(HotplugTest, AFunctionThatIsPulledBeforeItIsBoundIsWaitedFor) {
  PulledAt(SysfsMethod::kUnbind);
}

TEST_F(HotplugTest, AFunctionThatIsPulledWhileItIsBoundIsWaitedFor) {
  PulledAt(SysfsMethod::kProbe);
}

TEST_F(HotplugTest, AFunctionThatIsPulledWhileQemuTakesItIsWaitedFor) {
  BeginWithPort();
  const auto vm = AskForOne();
  WaitWaiting();
  std::atomic<bool> pulled = false;
  vm->SetHook([&](QmpMethod method, std::string_view) {
    if (method == QmpMethod::kAddVfioDevice && !pulled.exchange(true)) Pull();
  });
  Plug();
  WaitWentAway();
  EXPECT_TRUE(pulled);
  vm->SetHook(nullptr);
  ExpectNothingLeft(*vm);
  Plug();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionThatIsPulledDuringTheRollbackIsWaitedFor) {
  BeginWithPort();
  const auto vm = AskForOne();
  WaitWaiting();
  vm->FailNext(QmpMethod::kAddVfioDevice, absl::UnavailableError("not now"));
  std::atomic<int> unbinds = 0;
  host->pci.SetHook([&](SysfsMethod method, const PciAddress& address) {
    // The first takes it from the host's driver, the second is the rollback.
    if (method == SysfsMethod::kUnbind && address == Pci() && ++unbinds == 2) Pull();
  });
  Plug();
  WaitWentAway();
  host->pci.SetHook(nullptr);
  ExpectNothingLeft(*vm);
  Plug();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionThatIsPulledWhileItIsReleasedLeavesNothing) {
  BeginWithPort();
  const auto vm = ReadyOne();
  vm->SetRemoval(FakeVm::Removal::kNever);
  host->Detach("a", "red");
  WaitDoesNotLetGo("a-red");
  EXPECT_THAT(host->PortStatus("a-red")->reason(), HasSubstr("this host cannot cut it off"));
  Pull(0, vm);  // this the guest cannot refuse
  host->WaitGone("a-red");
  ExpectNothingLeft(*vm);
}

TEST_F(HotplugTest, AFunctionThatIsPulledBeforeItIsResetLeavesNothing) {
  PulledWhileGivenBackAt(SysfsMethod::kReset);
}

TEST_F(HotplugTest, AFunctionThatIsPulledBetweenItsResetAndItsDriverLeavesNothing) {
  PulledWhileGivenBackAt(SysfsMethod::kProbe);
}

TEST_F(HotplugTest, AFunctionThatComesAndGoesWithoutEndComesToRest) {
  BeginWithPort();
  const auto vm = AskForOne();
  for (int round = 0; round < 20; ++round) {
    Plug();
    Pull(0, vm);
  }
  WaitWaiting();
  EXPECT_EQ(Devices(*vm), 0U);
  Plug();
  host->WaitReady("a-red");
  host->Detach("a", "red");
  host->WaitGone("a-red");
  ExpectGivenBack(*vm);
}

TEST_F(HotplugTest, TheWholePortThatGoesTakesItsFunctionsAlong) {
  BeginWithPort();
  const auto vm = ReadyOne();
  host->pci.RemoveDevice(kPort);
  Pull(0, vm);
  WaitReason(v1::OBJECT_STATE_PENDING, "is not used");
  EXPECT_THAT(ShownPort().refused(), HasSubstr("0000:00:1c.0"));
  EXPECT_EQ(Devices(*vm), 0U);
  host->pci.AddBridge(kPort);
  Plug();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionThatWasPulledWhileTheAgentWasDownIsWaitedFor) {
  BeginWithPort();
  const auto vm = ReadyOne();
  host->Stop();
  Pull();  // QEMU keeps the device until it is asked
  host->Start();
  WaitWentAway();
  ExpectNothingLeft(*vm);
  Plug();
  host->WaitReady("a-red");
}

TEST_F(HotplugTest, AFunctionThatWasPulledAndPluggedWhileTheAgentWasDownIsAttachedAgain) {
  BeginWithPort();
  const auto vm = ReadyOne();
  const uint64_t lease = host->PortStatus("a-red")->lease();
  host->Stop();
  Pull(0, vm);
  Plug();
  host->Start();
  EXPECT_GT(host->WaitPort("a-red",
                           [&](const auto& s) {
                             return s && s->state() == v1::OBJECT_STATE_READY && s->lease() > lease;
                           })
                ->lease(),
            lease);
  EXPECT_EQ(Devices(*vm), 1U);
  EXPECT_EQ(Function()->driver, "vfio-pci");
}

}  // namespace
}  // namespace fairlead
