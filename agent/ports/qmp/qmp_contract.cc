// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/qmp/qmp_contract.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "agent/base/error.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

// Long: an emulated VM may be slow, and no test waits for it to pass.
constexpr QmpSession::Deadline kDeadline{60000};
constexpr PciAddress kNoDevice{0xfffe, 0xfe, 0x1e, 6};

const QmpDevice* Named(const std::vector<QmpDevice>& devices, std::string_view id) {
  const auto found = std::find_if(devices.begin(), devices.end(),
                                  [&](const QmpDevice& device) { return device.id == id; });
  return found == devices.end() ? nullptr : &*found;
}

}  // namespace

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(QmpContract);

void QmpContract::SetUp() {
  vm_ = GetParam()();
  ASSERT_NE(vm_, nullptr);
}

std::unique_ptr<QmpSession> QmpContract::Connect() {
  absl::StatusOr<std::unique_ptr<QmpSession>> session =
      vm_->port().Connect(vm_->path(), {vm_->peer_uid()}, kDeadline, [this](const QmpEvent& event) {
        std::lock_guard lock(mutex_);
        events_.push_back(event);
        changed_.notify_all();
      });
  EXPECT_TRUE(session.ok()) << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}

QmpEvent QmpContract::WaitFor(QmpEvent::Kind kind) {
  std::unique_lock lock(mutex_);
  QmpEvent found;
  const bool came = changed_.wait_for(lock, kDeadline, [&] {
    const auto it = std::find_if(events_.begin(), events_.end(),
                                 [&](const QmpEvent& event) { return event.kind == kind; });
    if (it == events_.end()) return false;
    found = *it;
    return true;
  });
  EXPECT_TRUE(came) << "no event of kind " << static_cast<int>(kind);
  return found;
}

size_t QmpContract::CountOf(QmpEvent::Kind kind) {
  std::lock_guard lock(mutex_);
  return static_cast<size_t>(std::count_if(
      events_.begin(), events_.end(), [&](const QmpEvent& event) { return event.kind == kind; }));
}

TEST_P(QmpContract, TellsUuidAndRunState) {
  const auto session = Connect();
  ASSERT_NE(session, nullptr);
  EXPECT_TRUE(session->connected());
  EXPECT_EQ(*session->QueryUuid(kDeadline), vm_->uuid());
  EXPECT_EQ(*session->QueryRunState(kDeadline), "prelaunch");
  vm_->Resume();
  WaitFor(QmpEvent::Kind::kRunState);
  EXPECT_EQ(*session->QueryRunState(kDeadline), "running");
}

TEST_P(QmpContract, ListsDevicesWithTheBusThatTheySitOn) {
  const auto session = Connect();
  ASSERT_NE(session, nullptr);
  const absl::StatusOr<std::vector<QmpDevice>> devices = session->ListDevices(kDeadline);
  ASSERT_TRUE(devices.ok()) << devices.status();
  for (const char* port : {"rp0", "rp1", "rp2"}) {
    const QmpDevice* device = Named(*devices, port);
    ASSERT_NE(device, nullptr) << port;
    EXPECT_EQ(device->type, "pcie-root-port");
    EXPECT_EQ(device->bus, "pcie.0");
    EXPECT_EQ(device->host, "");
  }
  const QmpDevice* occupant = Named(*devices, "x");
  ASSERT_NE(occupant, nullptr);
  EXPECT_EQ(occupant->bus, "rp0");
}

TEST_P(QmpContract, SecondClientGetsNoGreetingUntilTheFirstHasLeft) {
  auto first = Connect();
  ASSERT_NE(first, nullptr);
  const auto second = vm_->port().Connect(vm_->path(), {}, QmpPort::Deadline(200), nullptr);
  EXPECT_TRUE(absl::IsDeadlineExceeded(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("another client"));
  first.reset();
  EXPECT_NE(Connect(), nullptr);
}

TEST_P(QmpContract, NothingAtThePathIsUnavailable) {
  const auto session = vm_->port().Connect(vm_->absent_path(), {}, kDeadline, nullptr);
  EXPECT_TRUE(absl::IsUnavailable(session.status())) << session.status();
}

TEST_P(QmpContract, PeerThatIsNotAllowedIsRefused) {
  const auto session = vm_->port().Connect(vm_->path(), {vm_->peer_uid() + 1}, kDeadline, nullptr);
  EXPECT_TRUE(absl::IsFailedPrecondition(session.status())) << session.status();
}

TEST_P(QmpContract, RefusalsToAddCarryQemusWords) {
  const auto session = Connect();
  ASSERT_NE(session, nullptr);
  const absl::Status no_bus = session->AddVfioDevice("new", kNoDevice, "nosuchbus", kDeadline);
  EXPECT_TRUE(absl::IsFailedPrecondition(no_bus)) << no_bus;
  EXPECT_EQ(PeerWords(no_bus), "Bus 'nosuchbus' not found");
  const absl::Status duplicate = session->AddVfioDevice("x", kNoDevice, "rp1", kDeadline);
  EXPECT_TRUE(absl::IsAlreadyExists(duplicate)) << duplicate;
  const absl::Status occupied = session->AddVfioDevice("new", kNoDevice, "rp0", kDeadline);
  EXPECT_TRUE(absl::IsFailedPrecondition(occupied)) << occupied;
  EXPECT_THAT(PeerWords(occupied), HasSubstr("PCI: slot 0 function 0 already occupied by"));
  const absl::Status no_host = session->AddVfioDevice("new", kNoDevice, "rp1", kDeadline);
  EXPECT_TRUE(absl::IsFailedPrecondition(no_host)) << no_host;
  EXPECT_THAT(PeerWords(no_host), HasSubstr(kNoDevice.ToString()));
  EXPECT_EQ(Named(*session->ListDevices(kDeadline), "new"), nullptr);
}

TEST_P(QmpContract, IdsThatNoMonitorCouldTakeAreInvalid) {
  const auto session = Connect();
  ASSERT_NE(session, nullptr);
  EXPECT_TRUE(absl::IsInvalidArgument(session->AddVfioDevice("", kNoDevice, "rp1", kDeadline)));
  EXPECT_TRUE(absl::IsInvalidArgument(session->AddVfioDevice("a\n", kNoDevice, "rp1", kDeadline)));
  EXPECT_TRUE(absl::IsInvalidArgument(session->RequestRemoval("\xff", kDeadline)));
}

TEST_P(QmpContract, RemovingWhatIsNotThereIsNotFound) {
  const auto session = Connect();
  ASSERT_NE(session, nullptr);
  EXPECT_TRUE(absl::IsNotFound(session->RequestRemoval("nobody", kDeadline)));
}

TEST_P(QmpContract, RemovalEndsWithItsEvent) {
  const auto session = Connect();
  ASSERT_NE(session, nullptr);
  vm_->AddWillingDevice();
  ASSERT_NE(Named(*session->ListDevices(kDeadline), "gone"), nullptr);
  const absl::Status status = session->RequestRemoval("gone", kDeadline);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(WaitFor(QmpEvent::Kind::kDeviceDeleted).device, "gone");
  EXPECT_EQ(Named(*session->ListDevices(kDeadline), "gone"), nullptr);
}

TEST_P(QmpContract, EndOfTheVmIsToldOnceAndCallsAreUnavailable) {
  const auto session = Connect();
  ASSERT_NE(session, nullptr);
  vm_->End();
  WaitFor(QmpEvent::Kind::kDisconnected);
  EXPECT_FALSE(session->connected());
  EXPECT_TRUE(absl::IsUnavailable(session->QueryUuid(kDeadline).status()));
  EXPECT_TRUE(absl::IsUnavailable(session->RequestRemoval("x", kDeadline)));
  EXPECT_EQ(CountOf(QmpEvent::Kind::kDisconnected), 1U);
}

}  // namespace fairlead
