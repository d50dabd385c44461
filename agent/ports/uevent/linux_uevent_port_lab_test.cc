// SPDX-License-Identifier: Apache-2.0
//
// The contract on a real kernel: needs root, who may have a device say something
// (writing to its `uevent`), and send to the group as if it was the kernel.
#include "agent/ports/uevent/linux_uevent_port.h"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <mutex>
#include <vector>

#include "agent/base/unique_fd.h"
#include "agent/ports/uevent/uevent_contract.h"

namespace fairlead {
namespace {

class KernelOfUevents final : public UeventContractHost {
 public:
  UeventPort& port() override { return port_; }
  void Say(const std::string& action) override {
    std::ofstream file("/sys/class/net/lo/uevent");
    file << action << std::flush;
    ASSERT_TRUE(file.good()) << "needs root and a sysfs that can be written";
  }

 private:
  LinuxUeventPort port_;
};

std::unique_ptr<UeventContractHost> MakeKernel() { return std::make_unique<KernelOfUevents>(); }
INSTANTIATE_TEST_SUITE_P(Lab, UeventContract, ::testing::Values(&MakeKernel));

TEST(LinuxUeventPortTest, WhatAProcessSendsToTheGroupIsNotTakenForTheKernels) {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> actions;
  LinuxUeventPort port;
  const auto subscription = port.Subscribe([&](const Uevent& event) {
    const std::lock_guard lock(mutex);
    if (event.devpath == "/devices/virtual/net/lo") actions.push_back(event.action);
    changed.notify_all();
  });
  ASSERT_TRUE(subscription.ok()) << subscription.status();
  const UniqueFd socket(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT));
  ASSERT_TRUE(socket.valid());
  const char forged[] =
      "remove@/devices/virtual/net/lo\0ACTION=remove\0DEVPATH=/devices/virtual/net/lo\0"
      "SUBSYSTEM=net";
  sockaddr_nl group{};
  group.nl_family = AF_NETLINK;
  group.nl_groups = 1;
  ASSERT_EQ(::sendto(socket.get(), forged, sizeof(forged), 0,
                     reinterpret_cast<const sockaddr*>(&group), sizeof(group)),
            static_cast<ssize_t>(sizeof(forged)))
      << std::strerror(errno);
  KernelOfUevents kernel;
  kernel.Say("change");  // behind the forged one
  std::unique_lock lock(mutex);
  changed.wait_for(lock, std::chrono::seconds(30), [&] { return !actions.empty(); });
  EXPECT_EQ(actions, std::vector<std::string>{"change"});
}

// ENOBUFS: the subscriber does not come to read while far more is told than its buffer holds.
TEST(LinuxUeventPortTest, ASubscriberWhoseBufferRanOverIsToldOfTheLoss) {
  std::mutex mutex;
  std::condition_variable changed;
  bool reads = false, lost = false;
  LinuxUeventPort port;
  const auto subscription = port.Subscribe([&](const Uevent& event) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return reads; });
    lost = lost || event.lost;
    changed.notify_all();
  });
  ASSERT_TRUE(subscription.ok()) << subscription.status();
  KernelOfUevents kernel;
  // 2 MiB, which the kernel counts twice, and more than 512 bytes for each message.
  for (int i = 0; i < 10'000; ++i) kernel.Say("change");
  std::unique_lock lock(mutex);
  reads = true;
  changed.notify_all();
  EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(60), [&] { return lost; }));
}

}  // namespace
}  // namespace fairlead
