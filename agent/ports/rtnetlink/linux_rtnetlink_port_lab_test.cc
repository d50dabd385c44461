// SPDX-License-Identifier: Apache-2.0
//
// The contracts on the real kernel, as root, in a network namespace of its own. That of
// VFs needs the module netdevsim.
#include <errno.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "agent/ports/devlink/test_netdevsim.h"
#include "agent/ports/netlink/test_namespace.h"
#include "agent/ports/rtnetlink/linux_rtnetlink_port.h"
#include "agent/ports/rtnetlink/rtnetlink_contract.h"
#include "agent/ports/rtnetlink/rtnetlink_vf_contract.h"

namespace fairlead {
namespace {

class LinuxEnv final : public RtnetlinkEnv {
 public:
  LinuxEnv() : port_(*LinuxRtnetlinkPort::Create()) {}
  ~LinuxEnv() override {
    for (const char* name : {"fleth0", "fleth1", "flvx0"}) network_.DeleteLink(name);
  }
  RtnetlinkPort& port() override { return *port_; }
  uint32_t AddEthernet(const std::string& name) override { return network_.AddEthernet(name); }
  void AddAddress(uint32_t ifindex, const IpAddress& address, const IpPrefix& network) override {
    network_.AddAddress(ifindex, address, network);
  }
  void AddPermanentNeighbour(uint32_t ifindex, const IpAddress& address,
                             const MacAddress& mac) override {
    network_.AddPermanentNeighbour(ifindex, address, mac);
  }
  void AddDefaultRoute(uint32_t ifindex, const IpAddress& gateway) override {
    network_.AddDefaultRoute(ifindex, gateway);
  }

 private:
  netlink::TestNetwork network_;
  std::unique_ptr<RtnetlinkPort> port_;
};

INSTANTIATE_TEST_SUITE_P(Linux, RtnetlinkContract,
                         ::testing::Values([] { return std::make_unique<LinuxEnv>(); }));

class NetdevsimEnv final : public RtnetlinkVfEnv {
 public:
  NetdevsimEnv() : port_(*LinuxRtnetlinkPort::Create()) {
    const DevlinkHandle device = netdevsim_.Add(1);
    netdevsim_.SetVfCount(device, RtnetlinkVfContract::kVfs);
    // In legacy mode its one port is the PF.
    pf_ = (*LinuxDevlinkPort::Create())->ListPorts(device)->at(0).ifindex;
  }
  RtnetlinkPort& port() override { return *port_; }
  uint32_t Pf() override { return pf_; }

 private:
  std::unique_ptr<RtnetlinkPort> port_;
  TestNetdevsim netdevsim_;
  uint32_t pf_ = 0;
};

std::unique_ptr<RtnetlinkVfEnv> MakeNetdevsim() {
  return TestNetdevsim::Available() ? std::make_unique<NetdevsimEnv>() : nullptr;
}

INSTANTIATE_TEST_SUITE_P(Netdevsim, RtnetlinkVfContract, ::testing::Values(MakeNetdevsim));
INSTANTIATE_TEST_SUITE_P(Netdevsim, RtnetlinkNetdevsimVfContract, ::testing::Values(MakeNetdevsim));

// Each NIC is told of the tunnel's UDP port, and may say no: the tunnel works all the same.
TEST(LinuxRtnetlinkPort, ATunnelComesUpThoughANicRefusesItsUdpPort) {
  if (!TestNetdevsim::Available()) GTEST_SKIP() << "this kernel has no netdevsim";
  constexpr char kInjectError[] = "ports/0/udp_ports/inject_error";
  TestNetdevsim netdevsim;
  const DevlinkHandle device = netdevsim.Add(1);
  auto port = *LinuxRtnetlinkPort::Create();
  const uint32_t nic = (*LinuxDevlinkPort::Create())->ListPorts(device)->at(0).ifindex;
  ASSERT_TRUE(port->SetLinkUp(nic, true).ok());
  netdevsim.SetKnob(device, kInjectError, StrCat(ENOSPC));
  const auto tunnel =
      port->CreateTunnel({.name = "flvx1", .udp_port = 4791, .alias = "fairlead:t"});
  ASSERT_TRUE(tunnel.ok()) << tunnel.status();
  const absl::Status up = port->SetLinkUp(*tunnel, true);
  EXPECT_TRUE(up.ok()) << up;
  // The error is given out once: the knob goes back by itself when the NIC has been asked,
  // which the kernel does in the background.
  for (int i = 0; i < 3000 && netdevsim.Knob(device, kInjectError) != "0"; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(netdevsim.Knob(device, kInjectError), "0") << "the NIC was not asked";
  EXPECT_TRUE(port->GetLink(*tunnel)->up);
  EXPECT_TRUE(port->DeleteLink(*tunnel).ok());
}

// ENOBUFS: the subscriber does not come to read while far more is told than its buffer holds.
TEST(LinuxRtnetlinkPort, ASubscriberWhoseBufferRanOverIsToldOfTheLoss) {
  netlink::TestNetwork network;
  auto port = *LinuxRtnetlinkPort::Create();
  const uint32_t link = network.AddEthernet("fleth2");
  ASSERT_TRUE(port->SetLinkUp(link, true).ok());  // of a link that is down less is told
  std::mutex mutex;
  std::condition_variable changed;
  bool reads = false, lost = false;
  const auto subscription = port->Subscribe([&](const RtnetlinkEvent& event) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return reads; });
    lost = lost || event.kind == RtnetlinkEvent::Kind::kLost;
    changed.notify_all();
  });
  ASSERT_TRUE(subscription.ok()) << subscription.status();
  // 8 MiB, which the kernel counts twice, and more than 1 KiB for each message.
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(port->SetAlias(link, i % 2 == 0 ? "one" : "other").ok());
  }
  std::unique_lock lock(mutex);
  reads = true;
  changed.notify_all();
  EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(60), [&] { return lost; }));
  lock.unlock();
  network.DeleteLink("fleth2");
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  fairlead::netlink::EnterNewNetworkNamespace();
  fairlead::TestNetdevsim::MountKnobs();
  return RUN_ALL_TESTS();
}
