// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/qmp/fake_qmp_port.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "agent/base/error.h"
#include "agent/ports/qmp/qmp_contract.h"

namespace fairlead {
namespace {

using ::testing::IsEmpty;
using Kind = QmpEvent::Kind;

constexpr QmpSession::Deadline kDeadline{10};
constexpr PciAddress kHost{0, 0x01, 0, 1};
constexpr char kUuid[] = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

template <FakeQmpPort::Delivery delivery>
class FakeContractVm final : public QmpContractVm {
 public:
  FakeContractVm() : vm_(port_.AddVm("/run/vm.sock", *Uuid::Parse(kUuid))) {
    for (const char* id : {"rp0", "rp1", "rp2"}) vm_->AddRootPort(id);
    vm_->AddDevice({"x", "virtio-net-pci", "rp0", ""});
    vm_->SetRunState("prelaunch");
    vm_->SetHostCheck([](const PciAddress& host) {
      return absl::NotFoundError("no such host device " + host.ToString());
    });
  }
  QmpPort& port() override { return port_; }
  std::string path() const override { return "/run/vm.sock"; }
  std::string absent_path() const override { return "/run/no.sock"; }
  Uuid uuid() const override { return *Uuid::Parse(kUuid); }
  uint32_t peer_uid() const override { return 0; }
  void AddWillingDevice() override { vm_->AddDevice({"gone", "virtio-net-pci", "rp1", ""}); }
  void Resume() override { vm_->SetRunState("running"); }
  void End() override { port_.RemoveVm("/run/vm.sock"); }

 private:
  FakeQmpPort port_{delivery};
  std::shared_ptr<FakeVm> vm_;
};

template <FakeQmpPort::Delivery delivery>
std::unique_ptr<QmpContractVm> Make() {
  return std::make_unique<FakeContractVm<delivery>>();
}
INSTANTIATE_TEST_SUITE_P(FakeOwnThread, QmpContract,
                         ::testing::Values(&Make<FakeQmpPort::Delivery::kOwnThread>));
INSTANTIATE_TEST_SUITE_P(FakeCallingThread, QmpContract,
                         ::testing::Values(&Make<FakeQmpPort::Delivery::kCallingThread>));

class FakeQmpPortTest : public ::testing::Test {
 protected:
  FakeQmpPortTest() : vm_(port_.AddVm("/run/vm.sock", *Uuid::Parse(kUuid))) {
    vm_->AddRootPort("rp0");
    vm_->AddRootPort("rp1");
    session_ = Connect();
  }
  std::unique_ptr<QmpSession> Connect() {
    auto session = port_.Connect("/run/vm.sock", {}, kDeadline,
                                 [this](const QmpEvent& event) { events_.push_back(event); });
    EXPECT_TRUE(session.ok()) << session.status();
    return session.ok() ? *std::move(session) : nullptr;
  }
  std::vector<QmpEvent> events_;
  FakeQmpPort port_{FakeQmpPort::Delivery::kCallingThread};
  std::shared_ptr<FakeVm> vm_;
  std::unique_ptr<QmpSession> session_;
};

TEST_F(FakeQmpPortTest, AddedDeviceShowsItsBusAndHost) {
  ASSERT_TRUE(session_->AddVfioDevice("nic0", kHost, "rp0", kDeadline).ok());
  const QmpDevice device = *vm_->Find("nic0");
  EXPECT_EQ(device.type, "vfio-pci");
  EXPECT_EQ(device.bus, "rp0");
  EXPECT_EQ(device.host, "0000:01:00.1");
}

TEST_F(FakeQmpPortTest, HostDeviceThatTheVmHasAlreadyIsRefused) {
  ASSERT_TRUE(session_->AddVfioDevice("nic0", kHost, "rp0", kDeadline).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(session_->AddVfioDevice("nic1", kHost, "rp1", kDeadline)));
}

TEST_F(FakeQmpPortTest, RemovalWaitsUntilTheGuestIsToldToObey) {
  ASSERT_TRUE(session_->AddVfioDevice("nic0", kHost, "rp0", kDeadline).ok());
  vm_->SetRemoval(FakeVm::Removal::kWhenTold);
  EXPECT_TRUE(session_->RequestRemoval("nic0", kDeadline).ok());
  EXPECT_TRUE(session_->RequestRemoval("nic0", kDeadline).ok()) << "asked already is success";
  EXPECT_THAT(events_, IsEmpty());
  EXPECT_TRUE(vm_->Find("nic0").has_value());
  vm_->CompleteRemovals();
  ASSERT_EQ(events_.size(), 1U);
  EXPECT_EQ(events_[0].kind, Kind::kDeviceDeleted);
  EXPECT_EQ(events_[0].device, "nic0");
  EXPECT_FALSE(vm_->Find("nic0").has_value());
}

TEST_F(FakeQmpPortTest, GuestMayIgnoreOrRefuseARemoval) {
  ASSERT_TRUE(session_->AddVfioDevice("nic0", kHost, "rp0", kDeadline).ok());
  vm_->SetRemoval(FakeVm::Removal::kNever);
  EXPECT_TRUE(session_->RequestRemoval("nic0", kDeadline).ok());
  EXPECT_THAT(events_, IsEmpty());
  vm_->SetRemoval(FakeVm::Removal::kGuestError);
  EXPECT_TRUE(session_->RequestRemoval("nic0", kDeadline).ok());
  ASSERT_EQ(events_.size(), 1U);
  EXPECT_EQ(events_[0].kind, Kind::kUnplugGuestError);
  EXPECT_TRUE(vm_->Find("nic0").has_value());
}

TEST_F(FakeQmpPortTest, HotAddThatBecomesAnUnplugIsAnUnaskedEvent) {
  ASSERT_TRUE(session_->AddVfioDevice("nic0", kHost, "rp0", kDeadline).ok());
  EXPECT_TRUE(vm_->Unplug("nic0"));
  EXPECT_FALSE(vm_->Unplug("nic0"));
  ASSERT_EQ(events_.size(), 1U);
  EXPECT_EQ(events_[0].kind, Kind::kDeviceDeleted);
}

TEST_F(FakeQmpPortTest, LostAnswerLeavesTheEffect) {
  vm_->LoseAnswerNext(QmpMethod::kAddVfioDevice);
  EXPECT_TRUE(absl::IsDeadlineExceeded(session_->AddVfioDevice("nic0", kHost, "rp0", kDeadline)));
  EXPECT_TRUE(vm_->Find("nic0").has_value());
}

TEST_F(FakeQmpPortTest, FailNextHitsOneCallAndDoesNothing) {
  vm_->FailNext(QmpMethod::kAddVfioDevice, absl::UnavailableError("later"));
  EXPECT_TRUE(absl::IsUnavailable(session_->AddVfioDevice("nic0", kHost, "rp0", kDeadline)));
  EXPECT_FALSE(vm_->Find("nic0").has_value());
  EXPECT_TRUE(session_->AddVfioDevice("nic0", kHost, "rp0", kDeadline).ok());
  EXPECT_EQ(vm_->Calls(QmpMethod::kAddVfioDevice), 2);
}

TEST_F(FakeQmpPortTest, DisconnectLeavesTheMonitorForTheNextSession) {
  vm_->Disconnect();
  ASSERT_EQ(events_.size(), 1U);
  EXPECT_EQ(events_[0].kind, Kind::kDisconnected);
  EXPECT_FALSE(vm_->has_session());
  const auto again = Connect();
  ASSERT_NE(again, nullptr);
  EXPECT_TRUE(again->connected());
  EXPECT_FALSE(session_->connected());
  session_.reset();
  EXPECT_TRUE(vm_->has_session()) << "the old session's end must not take the new one's place";
}

TEST_F(FakeQmpPortTest, NewQemuAtThePathEndsTheSessionWithTheOld) {
  const auto fresh = port_.AddVm("/run/vm.sock", *Uuid::Parse(kUuid));
  ASSERT_EQ(events_.size(), 1U);
  EXPECT_FALSE(session_->connected());
  EXPECT_THAT(fresh->devices(), IsEmpty());
}

TEST_F(FakeQmpPortTest, HeldMonitorGivesNoGreeting) {
  session_.reset();
  vm_->SetHeldByOther(true);
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(port_.Connect("/run/vm.sock", {}, kDeadline, nullptr).status()));
  vm_->SetHeldByOther(false);
  EXPECT_NE(Connect(), nullptr);
}

TEST(FakeQmpPortThreads, EventsComeOnTheSessionsOwnThreadAndCanBeWaitedFor) {
  FakeQmpPort port;
  const auto vm = port.AddVm("/run/vm.sock", *Uuid::Parse(kUuid));
  std::atomic<int> count = 0;
  std::atomic<bool> same_thread = false;
  const std::thread::id here = std::this_thread::get_id();
  auto session = port.Connect("/run/vm.sock", {}, kDeadline, [&](const QmpEvent&) {
    same_thread = same_thread || std::this_thread::get_id() == here;
    ++count;
  });
  ASSERT_TRUE(session.ok());
  for (int i = 0; i < 100; ++i) vm->Emit({Kind::kReset, ""});
  vm->WaitDelivered();
  EXPECT_EQ(count, 100);
  EXPECT_FALSE(same_thread);
  vm->Disconnect();
  vm->WaitDelivered();
  EXPECT_EQ(count, 101);
}

}  // namespace
}  // namespace fairlead
