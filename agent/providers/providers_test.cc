// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/providers/lease_table.h"
#include "agent/providers/pf_provider.h"
#include "agent/providers/vm_provider.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

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
