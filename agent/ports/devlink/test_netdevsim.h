// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what lab tests make of the kernel's simulated NIC: devices, their VFs, the
// faults that its debugfs has. Test code.
//
// Threading: the calling thread's namespaces: a device belongs to the network namespace
// of who makes it. Errors: throws std::runtime_error, which fails the test at hand.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>

#include <vector>

#include "agent/base/text.h"
#include "agent/ports/devlink/linux_devlink_port.h"

namespace fairlead {

class TestNetdevsim {
 public:
  // Whether the module is there. Without it a test may be skipped, unless
  // FAIRLEAD_NETDEVSIM is set: then this throws.
  static bool Available() {
    if (::access((std::string(kBus) + "/new_device").c_str(), F_OK) == 0) return true;
    if (std::getenv("FAIRLEAD_NETDEVSIM") != nullptr) {
      throw std::runtime_error("the module netdevsim is not loaded");
    }
    return false;
  }
  // Before the first device: the knobs, in a mount namespace of the test's own, so that
  // nothing of it is left behind.
  static void MountKnobs() {
    if (::access((std::string(kDebug) + "/netdevsim").c_str(), F_OK) == 0) return;
    if (::unshare(CLONE_NEWNS) == 0 &&
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0) {
      ::mount("debugfs", kDebug, "debugfs", 0, nullptr);
    }
  }
  // Whether its hardware takes flower rules: that of 7.2 does, that of 6.12 does not.
  static bool TakesFlower() {
    utsname name{};
    ::uname(&name);
    return std::atoi(name.release) >= 7;
  }

  TestNetdevsim() = default;
  TestNetdevsim(const TestNetdevsim&) = delete;
  TestNetdevsim& operator=(const TestNetdevsim&) = delete;
  ~TestNetdevsim() {
    while (!ids_.empty()) Remove(*ids_.begin());
  }

  DevlinkHandle Add(int physical_ports) {
    static int next = 7000;  // far from what anybody else has
    const int id = next++;
    Write(StrCat(kBus, "/new_device"), StrCat(id, " ", physical_ports));
    ids_.insert(id);
    return {"netdevsim", StrCat("netdevsim", id)};
  }
  void Remove(const DevlinkHandle& device) {
    Remove(std::atoi(device.device.c_str() + std::strlen("netdevsim")));
  }
  void SetVfCount(const DevlinkHandle& device, int count) {
    Write(StrCat(kBus, "/devices/", device.device, "/sriov_numvfs"), StrCat(count));
  }
  // A file of the device's folder in debugfs: "fail_reload".
  void SetKnob(const DevlinkHandle& device, const std::string& knob, const std::string& value) {
    Write(StrCat(kDebug, "/netdevsim/", device.device, "/", knob), value);
  }
  // What a knob reads now, its first word.
  std::string Knob(const DevlinkHandle& device, const std::string& knob) {
    std::string word;
    std::ifstream(StrCat(kDebug, "/netdevsim/", device.device, "/", knob)) >> word;
    return word;
  }

 private:
  static constexpr char kBus[] = "/sys/bus/netdevsim";
  static constexpr char kDebug[] = "/sys/kernel/debug";

  static void Write(const std::string& path, const std::string& text) {
    std::ofstream file(path);
    file << text << std::flush;
    if (!file) throw std::runtime_error(StrCat("cannot write '", text, "' to ", path));
  }
  void Remove(int id) {
    ids_.erase(id);
    Write(StrCat(kBus, "/del_device"), StrCat(id));
  }

  std::set<int> ids_;
};

// The representors' netdevs (ifindex), by VF, of a new device in switchdev mode, told to
// offload, as a ConnectX's are from the start: else none joins a block that is in hardware.
inline std::vector<uint32_t> MakeRepresentors(TestNetdevsim* netdevsim, uint16_t vfs) {
  const DevlinkHandle device = netdevsim->Add(1);
  netdevsim->SetVfCount(device, vfs);
  const auto port = LinuxDevlinkPort::Create();
  DevlinkEswitch switchdev;
  switchdev.mode = EswitchMode::kSwitchdev;
  if (const absl::Status set = (*port)->SetEswitch(device, switchdev); !set.ok()) {
    throw std::runtime_error(set.ToString());
  }
  const auto ports = (*port)->ListPorts(device);
  std::vector<uint32_t> netdevs;
  for (uint16_t vf = 0; vf < vfs; ++vf) {
    const auto found = FindVfRepresentor(*ports, {.vf = vf, .pf = std::nullopt});
    if (!found.ok()) throw std::runtime_error(found.status().ToString());
    const std::string offload = StrCat("ethtool -K ", found->netdev, " hw-tc-offload on");
    if (std::system(offload.c_str()) != 0) throw std::runtime_error(StrCat(offload, " failed"));
    netdevs.push_back(found->ifindex);
  }
  return netdevs;
}

}  // namespace fairlead
