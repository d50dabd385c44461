// SPDX-License-Identifier: Apache-2.0
//
// The contract on the real kernel, as root, in a network namespace of its own.
// Needs cls_flower, act_gact, act_mirred and act_tunnel_key.
#include <gtest/gtest.h>

#include "agent/ports/netlink/test_namespace.h"
#include "agent/ports/tc/linux_tc_port.h"
#include "agent/ports/tc/tc_contract.h"

namespace fairlead {
namespace {

class LinuxEnv final : public TcEnv {
 public:
  LinuxEnv() : port_(*LinuxTcPort::Create()) {}
  ~LinuxEnv() override {
    for (const char* name : {"fltca", "fltcb"}) network_.DeleteLink(name);
  }
  TcPort& port() override { return *port_; }
  uint32_t AddEthernet(const std::string& name) override { return network_.AddEthernet(name); }
  void DeleteEthernet(const std::string& name) override { network_.DeleteLink(name); }
  void AddIngressQdisc(uint32_t ifindex) override { network_.AddIngressQdisc(ifindex); }

 private:
  netlink::TestNetwork network_;
  std::unique_ptr<TcPort> port_;
};

INSTANTIATE_TEST_SUITE_P(Linux, TcContract,
                         ::testing::Values([] { return std::make_unique<LinuxEnv>(); }));

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  fairlead::netlink::EnterNewNetworkNamespace();
  return RUN_ALL_TESTS();
}
