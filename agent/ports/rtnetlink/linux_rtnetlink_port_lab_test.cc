// SPDX-License-Identifier: Apache-2.0
//
// The contract on the real kernel, as root, in a network namespace of its own.
#include <gtest/gtest.h>

#include "agent/ports/netlink/test_namespace.h"
#include "agent/ports/rtnetlink/linux_rtnetlink_port.h"
#include "agent/ports/rtnetlink/rtnetlink_contract.h"

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

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  fairlead::netlink::EnterNewNetworkNamespace();
  return RUN_ALL_TESTS();
}
