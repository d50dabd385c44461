// SPDX-License-Identifier: Apache-2.0
//
// LinuxSysfsPort on a tree of files in a temporary folder: what it reads out of
// them, what it refuses to believe, and writes that hang. A FIFO stands for an
// attribute whose write blocks in the kernel.
#include "agent/ports/sysfs/linux_sysfs_port.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "agent/base/error.h"
#include "agent/base/unique_fd.h"
#include "agent/ports/sysfs/sysfs_files.h"

namespace fairlead {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr PciAddress kPf{0, 0x01, 0, 0};
constexpr PciAddress kVf{0, 0x01, 0, 1};
constexpr SysfsPort::Deadline kLong{60000};
constexpr SysfsPort::Deadline kShort{50};

class LinuxSysfsPortTest : public ::testing::Test {
 protected:
  LinuxSysfsPortTest() {
    std::string pattern = (fs::temp_directory_path() / "sysfs_test.XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
    fs::create_directories(root_ / "bus/pci/devices");
    Write("bus/pci/drivers_probe", "");
    port_.emplace(Options());
  }
  ~LinuxSysfsPortTest() override { fs::remove_all(root_); }

  LinuxSysfsOptions Options(SysfsPort::Deadline lock_deadline = kLong) {
    return {root_.string(), (root_ / "dev").string(), FAIRLEAD_SYSFS_WRITE, lock_deadline};
  }
  void Write(const fs::path& path, std::string_view text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path, std::ios::binary) << text;
  }
  std::string Read(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(root_ / path, std::ios::binary).rdbuf();
    return text.str();
  }
  void Link(const fs::path& path, const fs::path& target) {
    fs::create_directories((root_ / path).parent_path());
    fs::create_symlink(target, root_ / path);
  }
  static fs::path Of(const PciAddress& address) {
    return fs::path("devices/pci0000:00/0000:00:01.0") / address.ToString();
  }
  // The folder under devices/, and the link in bus/pci/devices that leads there.
  void AddFunction(const PciAddress& address, std::string_view pci_class = "0x020000\n") {
    const fs::path at = Of(address);
    Write(at / "vendor", "0x15b3\n");
    Write(at / "device", "0x101d\n");
    Write(at / "class", pci_class);
    Write(at / "driver_override", "(null)\n");
    Write(at / "numa_node", "-1\n");
    Link(fs::path("bus/pci/devices") / address.ToString(), root_ / at);
  }
  void AddPf() {
    AddFunction(kPf);
    Write(Of(kPf) / "sriov_totalvfs", "16\n");
    Write(Of(kPf) / "sriov_numvfs", "0\n");
    Write(Of(kPf) / "sriov_drivers_autoprobe", "1\n");
  }
  // Lets what hangs on the FIFO go on, and waits until the port has seen it end.
  void Unblock(const fs::path& fifo, const PciAddress& address) {
    UniqueFd reader(::open((root_ / fifo).c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(reader.valid());
    while (port_->Outstanding(address)) ::usleep(1000);
  }

  fs::path root_;
  std::optional<LinuxSysfsPort> port_;
};

TEST_F(LinuxSysfsPortTest, ReadsEveryFieldOfAPf) {
  AddPf();
  Write(Of(kPf) / "numa_node", "1\n");
  Write(Of(kPf) / "driver_override", "mlx5_core\n");
  Write(Of(kPf) / "sriov_numvfs", "12\n");
  Write(Of(kPf) / "sriov_drivers_autoprobe", "0\n");
  Write(Of(kPf) / "net/pf0/address", "");
  Link(Of(kPf) / "driver", "../../../../bus/pci/drivers/mlx5_core");
  Link(Of(kPf) / "iommu_group", "../../../../kernel/iommu_groups/7");
  for (int i = 0; i < 12; ++i) {
    Link(Of(kPf) / ("virtfn" + std::to_string(i)),
         "../" + PciAddress{0, 0x01, static_cast<uint8_t>(1 + i / 8), static_cast<uint8_t>(i % 8)}
                     .ToString());
  }
  const absl::StatusOr<PciDevice> pf = port_->Device(kPf);
  ASSERT_TRUE(pf.ok()) << pf.status();
  EXPECT_EQ(pf->address, kPf);
  EXPECT_EQ(pf->vendor, 0x15b3);
  EXPECT_EQ(pf->device, 0x101d);
  EXPECT_EQ(pf->class_code, 0x020000U);
  EXPECT_EQ(pf->driver, "mlx5_core");
  EXPECT_EQ(pf->driver_override, "mlx5_core");
  EXPECT_EQ(pf->numa_node, 1);
  EXPECT_EQ(pf->iommu_group, 7U);
  EXPECT_THAT(pf->netdevs, ElementsAre("pf0"));
  EXPECT_FALSE(pf->physfn.has_value());
  EXPECT_EQ(pf->total_vfs, 16);
  EXPECT_EQ(pf->num_vfs, 12);
  EXPECT_FALSE(pf->autoprobe);
  ASSERT_EQ(pf->virtfns.size(), 12U);
  // virtfn10 comes after virtfn9, not after virtfn1.
  EXPECT_EQ(pf->virtfns[2], (PciAddress{0, 0x01, 1, 2}));
  EXPECT_EQ(pf->virtfns[10], (PciAddress{0, 0x01, 2, 2}));
}

TEST_F(LinuxSysfsPortTest, ReadsAVfWithoutAnythingBound) {
  AddFunction(kVf);
  Link(Of(kVf) / "physfn", "../0000:01:00.0");
  const absl::StatusOr<PciDevice> vf = port_->Device(kVf);
  ASSERT_TRUE(vf.ok()) << vf.status();
  EXPECT_EQ(vf->physfn, kPf);
  EXPECT_EQ(vf->driver, "");
  EXPECT_EQ(vf->driver_override, "");
  EXPECT_EQ(vf->numa_node, -1);
  EXPECT_FALSE(vf->iommu_group.has_value());
  EXPECT_FALSE(vf->total_vfs.has_value());
  EXPECT_THAT(vf->netdevs, IsEmpty());
}

TEST_F(LinuxSysfsPortTest, FindsAVirtioNetdevBelowItsVirtioDevice) {
  AddPf();
  Write(Of(kPf) / "virtio3/net/pf0/address", "");
  Link("class/net/pf0", root_ / Of(kPf) / "virtio3/net/pf0");
  Link(Of(kPf) / "virtio3/net/pf0/device", "../../../virtio3");
  EXPECT_THAT(port_->Device(kPf)->netdevs, ElementsAre("pf0"));
  const absl::StatusOr<PciAddress> address = port_->PciOfNetdev("pf0");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(*address, kPf);
}

TEST_F(LinuxSysfsPortTest, NetdevOffPciIsNotFoundAndABadNameIsRefused) {
  Write("devices/virtual/net/dummy0/address", "");
  Link("class/net/dummy0", root_ / "devices/virtual/net/dummy0");
  Write("devices/platform/eth/net/eth9/address", "");
  Link("class/net/eth9", root_ / "devices/platform/eth/net/eth9");
  Link("devices/platform/eth/net/eth9/device", "../../../eth");
  EXPECT_TRUE(absl::IsNotFound(port_->PciOfNetdev("dummy0").status()));
  EXPECT_TRUE(absl::IsNotFound(port_->PciOfNetdev("eth9").status()));
  for (const char* bad : {"", ".", "..", "../net/dummy0", "a b", "sixteen-letters-"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(port_->PciOfNetdev(bad).status())) << bad;
  }
}

TEST_F(LinuxSysfsPortTest, BehindABridgeAreItsChildrenAndNotItsServices) {
  constexpr PciAddress kBridge{0, 0, 1, 0};
  const fs::path at = "devices/pci0000:00/0000:00:01.0";
  Write(at / "class", "0x060400\n");
  Link("bus/pci/devices/0000:00:01.0", root_ / at);
  Write(at / "0000:00:01.0:pcie004/uevent", "");
  Write(at / "power/control", "");
  EXPECT_THAT(*port_->Behind(kBridge), IsEmpty());
  AddFunction(kVf);
  AddFunction(kPf);
  EXPECT_THAT(*port_->Behind(kBridge), ElementsAre(kPf, kVf));
  EXPECT_TRUE(absl::IsFailedPrecondition(port_->Behind(kPf).status()));
}

TEST_F(LinuxSysfsPortTest, JunkInAnyAttributeIsDataLossThatNamesTheFile) {
  struct Case {
    const char* file;
    std::string content;
  };
  const Case cases[] = {
      {"vendor", "15b3 \x1b[31m\n"},
      {"vendor", "0x115b3\n"},
      {"vendor", ""},
      {"device", "0x\n"},
      {"class", "0x1020000\n"},
      {"numa_node", "-2\n"},
      {"numa_node", "1x\n"},
      {"sriov_totalvfs", "65536\n"},
      {"sriov_numvfs", "-1\n"},
      {"sriov_drivers_autoprobe", "2\n"},
      {"vendor", std::string("0x15b3\0\0", 8)},
      {"driver_override", std::string(kMaxSysfsFile + 1, 'a')},
  };
  for (const Case& c : cases) {
    AddPf();
    Write(Of(kPf) / c.file, c.content);
    const absl::Status status = port_->Device(kPf).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << c.file << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.file));
    EXPECT_EQ(status.message().find('\x1b'), absl::string_view::npos);
    fs::remove(root_ / "bus/pci/devices" / kPf.ToString());
    fs::remove_all(root_ / Of(kPf));
  }
}

TEST_F(LinuxSysfsPortTest, JunkInLinksIsDataLoss) {
  AddPf();
  Link(Of(kPf) / "virtfn0", "../not-an-address");
  EXPECT_TRUE(absl::IsDataLoss(port_->Device(kPf).status()));
  fs::remove(root_ / Of(kPf) / "virtfn0");
  Link(Of(kPf) / "virtfn0x", "../0000:01:00.1");
  EXPECT_TRUE(absl::IsDataLoss(port_->Device(kPf).status()));
  fs::remove(root_ / Of(kPf) / "virtfn0x");
  Link(Of(kPf) / "iommu_group", "../seven");
  EXPECT_TRUE(absl::IsDataLoss(port_->Device(kPf).status()));
}

TEST_F(LinuxSysfsPortTest, VfsThatAreJustGoingAwayDoNotShiftIndices) {
  AddPf();
  Link(Of(kPf) / "virtfn1", "../0000:01:00.2");
  EXPECT_TRUE(absl::IsUnavailable(port_->Device(kPf).status()));
}

TEST_F(LinuxSysfsPortTest, IommuGroupLeavesBridgesAndForeignBusesOut) {
  AddFunction(kVf);
  AddFunction(kPf);
  constexpr PciAddress kBridge{0, 0, 1, 0};
  AddFunction(kBridge, "0x060400\n");
  for (const PciAddress& member : {kVf, kBridge, kPf}) {
    Link(fs::path("kernel/iommu_groups/7/devices") / member.ToString(), root_ / Of(member));
  }
  Write("kernel/iommu_groups/7/devices/serial8250/class", "");
  EXPECT_THAT(*port_->IommuGroup(7), ElementsAre(kPf, kVf));
  EXPECT_TRUE(absl::IsNotFound(port_->IommuGroup(8).status()));
}

TEST_F(LinuxSysfsPortTest, WritesLandInTheAttributesOfTheDevice) {
  AddPf();
  Link(Of(kPf) / "driver", root_ / "bus/pci/drivers/mlx5_core");
  Write("bus/pci/drivers/mlx5_core/unbind", "");
  Write(Of(kPf) / "reset", "");
  ASSERT_TRUE(port_->SetNumVfs(kPf, 5, kLong).ok());
  EXPECT_EQ(Read(Of(kPf) / "sriov_numvfs"), "5");
  ASSERT_TRUE(port_->SetAutoprobe(kPf, false).ok());
  EXPECT_EQ(Read(Of(kPf) / "sriov_drivers_autoprobe"), "0");
  ASSERT_TRUE(port_->SetDriverOverride(kPf, "vfio-pci").ok());
  EXPECT_EQ(Read(Of(kPf) / "driver_override"), "vfio-pci\n");
  ASSERT_TRUE(port_->SetDriverOverride(kPf, "").ok());
  EXPECT_EQ(Read(Of(kPf) / "driver_override"), "\n");
  ASSERT_TRUE(port_->Probe(kPf, kLong).ok());
  EXPECT_EQ(Read("bus/pci/drivers_probe"), "0000:01:00.0");
  ASSERT_TRUE(port_->Unbind(kPf, kLong).ok());
  EXPECT_EQ(Read("bus/pci/drivers/mlx5_core/unbind"), "0000:01:00.0");
  ASSERT_TRUE(port_->Reset(kPf, kLong).ok());
  EXPECT_EQ(Read(Of(kPf) / "reset"), "1");
}

TEST_F(LinuxSysfsPortTest, MissingAttributesAreUnimplementedAndMissingDevicesNotFound) {
  AddFunction(kVf);
  EXPECT_TRUE(absl::IsUnimplemented(port_->SetNumVfs(kVf, 1, kLong)));
  EXPECT_TRUE(absl::IsUnimplemented(port_->Reset(kVf, kLong)));
  EXPECT_TRUE(port_->Unbind(kVf, kLong).ok());
  EXPECT_TRUE(absl::IsNotFound(port_->Reset(kPf, kLong)));
  EXPECT_TRUE(absl::IsNotFound(port_->Device(kPf).status()));
}

TEST_F(LinuxSysfsPortTest, DriverNamesThatLeaveTheFileAreRefused) {
  AddFunction(kVf);
  for (const char* bad : {"a b", "../x", "x\ny", ".."}) {
    EXPECT_TRUE(absl::IsInvalidArgument(port_->SetDriverOverride(kVf, bad))) << bad;
  }
  EXPECT_EQ(Read(Of(kVf) / "driver_override"), "(null)\n");
}

TEST_F(LinuxSysfsPortTest, ErrnoOfTheChildComesBack) {
  AddPf();
  fs::remove(root_ / Of(kPf) / "sriov_numvfs");
  fs::create_directory(root_ / Of(kPf) / "sriov_numvfs");
  EXPECT_EQ(ErrnoOf(port_->SetNumVfs(kPf, 1, kLong)), EISDIR);
}

TEST_F(LinuxSysfsPortTest, HelperRefusesAPathThatLeadsOutOfSysfs) {
  AddPf();
  const fs::path outside = fs::path(root_.string() + ".outside");
  std::ofstream(outside) << "untouched";
  fs::remove(root_ / Of(kPf) / "sriov_numvfs");
  Link(Of(kPf) / "sriov_numvfs", outside);
  EXPECT_TRUE(absl::IsInternal(port_->SetNumVfs(kPf, 1, kLong)));
  std::ostringstream text;
  text << std::ifstream(outside).rdbuf();
  EXPECT_EQ(text.str(), "untouched");
  fs::remove(outside);
}

TEST_F(LinuxSysfsPortTest, MissingHelperIsSaidSo) {
  AddPf();
  LinuxSysfsPort port({root_.string(), (root_ / "dev").string(), "/nonexistent/helper", kLong});
  const absl::Status status = port.SetNumVfs(kPf, 1, kLong);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nonexistent/helper"));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_FALSE(port.Outstanding(kPf));
}

TEST_F(LinuxSysfsPortTest, HungWriteReturnsAtItsDeadlineAndStaysOutstanding) {
  AddPf();
  const fs::path numvfs = Of(kPf) / "sriov_numvfs";
  fs::remove(root_ / numvfs);
  ASSERT_EQ(::mkfifo((root_ / numvfs).c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsDeadlineExceeded(port_->SetNumVfs(kPf, 2, kShort)));
  EXPECT_TRUE(port_->Outstanding(kPf));
  EXPECT_FALSE(port_->Outstanding(kVf)) << "one hung device is not another's trouble";
  // Neither a second write nor a read that takes the same lock may hang as well.
  EXPECT_TRUE(absl::IsUnavailable(port_->SetNumVfs(kPf, 0, kLong)));
  EXPECT_TRUE(absl::IsUnavailable(port_->SetDriverOverride(kPf, "vfio-pci")));
  EXPECT_TRUE(port_->Device(kPf)->busy);
  Unblock(numvfs, kPf);
  EXPECT_FALSE(port_->Outstanding(kPf));
  // Reaped: this process has no child left at all.
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST_F(LinuxSysfsPortTest, AVfWithAHungWriteIsShownAsBusyWithoutAReadThatWouldHang) {
  AddFunction(kVf);
  Write(Of(kVf) / "driver_override", "vfio-pci\n");
  Link(Of(kVf) / "physfn", "../0000:01:00.0");
  Link(Of(kVf) / "iommu_group", "../../../../kernel/iommu_groups/7");
  const fs::path reset = Of(kVf) / "reset";
  ASSERT_EQ(::mkfifo((root_ / reset).c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsDeadlineExceeded(port_->Reset(kVf, kShort)));
  const absl::StatusOr<PciDevice> busy = port_->Device(kVf);
  ASSERT_TRUE(busy.ok()) << busy.status();
  EXPECT_TRUE(busy->busy);
  EXPECT_EQ(busy->driver_override, "") << "its read waits for the lock that the reset holds";
  EXPECT_EQ(busy->iommu_group, 7U);
  EXPECT_EQ(busy->physfn, kPf);
  Unblock(reset, kVf);
  EXPECT_FALSE(port_->Device(kVf)->busy);
  EXPECT_EQ(port_->Device(kVf)->driver_override, "vfio-pci");
}

// As the kernel removes a function that a VM does not let go of: a FIFO that nobody writes
// to is an attribute whose lock is not given.
TEST_F(LinuxSysfsPortTest, AFunctionWhoseLockIsHeldIsShownAsBusyAndTheOthersAreRead) {
  AddFunction(kVf);
  Link(Of(kVf) / "iommu_group", "../../../../kernel/iommu_groups/7");
  const fs::path override = Of(kVf) / "driver_override";
  fs::remove(root_ / override);
  ASSERT_EQ(::mkfifo((root_ / override).c_str(), 0600), 0);
  port_.emplace(Options(kShort));
  for (int round = 0; round < 100; ++round) {  // one child for all of them hangs
    const absl::StatusOr<PciDevice> busy = port_->Device(kVf);
    ASSERT_TRUE(busy.ok()) << busy.status();
    ASSERT_TRUE(busy->busy);
    EXPECT_EQ(busy->iommu_group, 7U);
  }
  EXPECT_FALSE(port_->Outstanding(kVf)) << "no write is";
  LinuxSysfsPort patient(Options());
  AddPf();
  Write(Of(kPf) / "driver_override", "mlx5_core\n");
  EXPECT_EQ(patient.Device(kPf)->driver_override, "mlx5_core");
  { UniqueFd writer(::open((root_ / override).c_str(), O_WRONLY | O_CLOEXEC)); }
  fs::remove(root_ / override);
  Write(override, "vfio-pci\n");
  while (port_->Device(kVf)->busy) ::usleep(1000);
  EXPECT_EQ(port_->Device(kVf)->driver_override, "vfio-pci");
}

TEST_F(LinuxSysfsPortTest, TheVfsOfAPfWhoseLockIsHeldAreNotReadEither) {
  AddPf();
  fs::remove(root_ / Of(kPf) / "sriov_numvfs");
  ASSERT_EQ(::mkfifo((root_ / Of(kPf) / "sriov_numvfs").c_str(), 0600), 0);
  port_.emplace(Options(kShort));
  EXPECT_TRUE(port_->Device(kPf)->busy);
  EXPECT_EQ(port_->Device(kPf)->total_vfs, 16);
}

TEST_F(LinuxSysfsPortTest, AReaderThatSomebodyEndsIsReplaced) {
  AddFunction(kVf);
  ASSERT_TRUE(port_->Device(kVf).ok());
  std::ifstream list("/proc/self/task/" + std::to_string(::gettid()) + "/children");
  pid_t reader = 0;
  ASSERT_TRUE(list >> reader);
  ASSERT_EQ(::kill(reader, SIGKILL), 0);
  EXPECT_TRUE(port_->Device(kVf).ok());
}

class VfioNodeTest : public LinuxSysfsPortTest {
 protected:
  // 0:0 is the one character device that anybody may make (a whiteout).
  void AddNode(const char* name) {
    fs::create_directories(root_ / "dev/vfio");
    ASSERT_EQ(::mknod((root_ / "dev/vfio" / name).c_str(), S_IFCHR | 0600, makedev(0, 0)), 0)
        << std::strerror(errno);
  }
};

TEST_F(VfioNodeTest, ReadsAndChangesTheNode) {
  ASSERT_NO_FATAL_FAILURE(AddNode("12"));
  const absl::StatusOr<VfioNode> node = port_->GetVfioNode(12);
  ASSERT_TRUE(node.ok()) << node.status();
  EXPECT_EQ(node->path, (root_ / "dev/vfio/12").string());
  EXPECT_EQ(node->uid, ::geteuid());
  EXPECT_EQ(node->mode, 0600U);
  const absl::Status status = port_->SetVfioNode(12, ::geteuid(), ::getegid(), 0660);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(port_->GetVfioNode(12)->mode, 0660U);
}

TEST_F(VfioNodeTest, LinksAndOtherFilesInItsPlaceAreNotFollowed) {
  ASSERT_NO_FATAL_FAILURE(AddNode("12"));
  Link("dev/vfio/13", "12");
  Write("dev/vfio/14", "");
  EXPECT_TRUE(absl::IsDataLoss(port_->GetVfioNode(13).status()));
  EXPECT_TRUE(absl::IsDataLoss(port_->SetVfioNode(13, {}, {}, 0666)));
  EXPECT_TRUE(absl::IsDataLoss(port_->SetVfioNode(14, {}, {}, 0666)));
  EXPECT_EQ(port_->GetVfioNode(12)->mode, 0600U);
  EXPECT_TRUE(absl::IsNotFound(port_->GetVfioNode(15).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(port_->SetVfioNode(12, UINT32_MAX, {}, {})));
}

}  // namespace
}  // namespace fairlead
