// SPDX-License-Identifier: Apache-2.0
//
// The contract on a real QEMU, the program that $LAB_QEMU names. It starts VMs
// of its own, in prelaunch. There is no skipping: without LAB_QEMU it fails.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "agent/ports/qmp/linux_qmp_port.h"
#include "agent/ports/qmp/qmp_codec.h"
#include "agent/ports/qmp/qmp_contract.h"
#include "agent/ports/qmp/qmp_socket.h"

namespace fairlead {
namespace {

namespace fs = std::filesystem;
constexpr char kUuid[] = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

class LabVm final : public QmpContractVm {
 public:
  explicit LabVm(const std::string& qemu) {
    std::string pattern = (fs::temp_directory_path() / "qmp_lab.XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    // Two monitors: one for the test's subject, one for the test itself.
    std::vector<std::string> args = {
        qemu, "-machine", "q35", "-accel", "tcg", "-m", "64", "-display", "none", "-nodefaults",
        "-no-user-config", "-S", "-uuid", kUuid,
        // Hot-plug of PCIe's own kind, for AddWillingDevice.
        "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off", "-qmp",
        "unix:" + path() + ",server=on,wait=off", "-qmp", "unix:" + Own() + ",server=on,wait=off"};
    for (const char* device :
         {"pcie-root-port,id=rp0,chassis=1,slot=1", "pcie-root-port,id=rp1,chassis=2,slot=2",
          "pcie-root-port,id=rp2,chassis=3,slot=3", "virtio-rng-pci,id=x,bus=rp0"}) {
      args.insert(args.end(), {"-device", device});
    }
    std::vector<char*> argv;
    for (std::string& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    EXPECT_EQ(::posix_spawn(&pid_, qemu.c_str(), nullptr, nullptr, argv.data(), environ), 0);
    // The last socket made is there: so are the others.
    for (int i = 0; i < 6000 && !fs::exists(Own()); ++i) ::usleep(10000);
    EXPECT_TRUE(fs::exists(Own())) << "QEMU did not start";
  }
  ~LabVm() override {
    End();
    fs::remove_all(folder_);
  }

  QmpPort& port() override { return port_; }
  std::string path() const override { return (folder_ / "qmp.sock").string(); }
  std::string absent_path() const override { return (folder_ / "none.sock").string(); }
  Uuid uuid() const override { return *Uuid::Parse(kUuid); }
  uint32_t peer_uid() const override { return ::geteuid(); }
  // Function 1 of a slot without a function 0 is not yet shown to the guest, and
  // QEMU takes such a one away without asking it (hw/pci/pcie.c).
  void AddWillingDevice() override {
    Tell(R"({"execute": "device_add", "arguments": {"driver": "virtio-rng-pci", "id": "gone",
             "bus": "rp1", "addr": "0.1"}})");
  }
  void Resume() override { Tell(R"({"execute": "cont"})"); }
  void End() override {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  std::string Own() const { return (folder_ / "own.sock").string(); }
  void Tell(const std::string& command);

  fs::path folder_;
  pid_t pid_ = -1;
  LinuxQmpPort port_;
};

// A connection for one command, with the codec and the socket of the port.
void LabVm::Tell(const std::string& command) {
  const SteadyTime until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  absl::StatusOr<UniqueFd> fd = ConnectMonitor(Own(), until);
  ASSERT_TRUE(fd.ok()) << fd.status();
  QmpLines lines;
  const auto ask = [&](const std::string& text) {
    size_t sent = 0;
    ASSERT_TRUE(SendAll(fd->get(), text, until, &sent).ok());
    while (true) {
      while (const std::optional<std::string> line = lines.Next()) {
        ASSERT_EQ(line->find("\"error\""), std::string::npos) << *line;
        if (line->find("\"return\"") != std::string::npos) return;
      }
      bool woken = false;
      ASSERT_TRUE(WaitReadable(fd->get(), -1, until, &woken).ok());
      const absl::StatusOr<std::string> bytes = ReceiveSome(fd->get(), 4096);
      ASSERT_TRUE(bytes.ok()) << bytes.status();
      ASSERT_TRUE(lines.Append(*bytes).ok());
    }
  };
  ask(R"({"execute": "qmp_capabilities"})");
  ask(command);
}

std::unique_ptr<QmpContractVm> MakeLab() {
  const char* qemu = std::getenv("LAB_QEMU");
  if (qemu == nullptr) {
    ADD_FAILURE() << "LAB_QEMU is not set: it names the qemu-system-x86_64 to test against";
    return nullptr;
  }
  return std::make_unique<LabVm>(qemu);
}

INSTANTIATE_TEST_SUITE_P(Lab, QmpContract, ::testing::Values(&MakeLab));

}  // namespace
}  // namespace fairlead
