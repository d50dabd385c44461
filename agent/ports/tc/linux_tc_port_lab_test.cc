// SPDX-License-Identifier: Apache-2.0
//
// The contracts on the real kernel, as root, in a network namespace of its own.
// Needs cls_flower, act_gact, act_mirred and act_tunnel_key; for hardware, netdevsim of
// a kernel whose simulated hardware takes flower rules (7.2, not 6.12).
#include <gtest/gtest.h>

#include "agent/ports/devlink/linux_devlink_port.h"
#include "agent/ports/devlink/test_netdevsim.h"
#include "agent/ports/netlink/test_namespace.h"
#include "agent/ports/tc/linux_tc_port.h"
#include "agent/ports/tc/tc_contract.h"
#include "agent/ports/tc/tc_offload_contract.h"

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

class NetdevsimEnv final : public TcOffloadEnv {
 public:
  NetdevsimEnv() : port_(*LinuxTcPort::Create()), representors_(MakeRepresentors(&netdevsim_, 2)) {}
  ~NetdevsimEnv() override { network_.DeleteLink("fltcplain"); }
  TcPort& port() override { return *port_; }
  uint32_t Representor(uint16_t vf) override { return representors_.at(vf); }
  uint32_t AddEthernet(const std::string& name) override { return network_.AddEthernet(name); }

 private:
  netlink::TestNetwork network_;
  std::unique_ptr<TcPort> port_;
  TestNetdevsim netdevsim_;
  const std::vector<uint32_t> representors_;
};

std::unique_ptr<TcOffloadEnv> MakeNetdevsim() {
  return TestNetdevsim::Available() ? std::make_unique<NetdevsimEnv>() : nullptr;
}

// None on a kernel whose netdevsim is known to take no flower rule.
std::vector<TcOffloadEnvMaker> Makers() {
  if (TestNetdevsim::Available() && !TestNetdevsim::TakesFlower()) return {};
  return {MakeNetdevsim};
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TcOffloadContract);
INSTANTIATE_TEST_SUITE_P(Netdevsim, TcOffloadContract, ::testing::ValuesIn(Makers()));

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  fairlead::netlink::EnterNewNetworkNamespace();
  return RUN_ALL_TESTS();
}
