// SPDX-License-Identifier: Apache-2.0
//
// The contract on the real kernel, as root, in a network namespace of its own. It
// needs the module netdevsim; without it nothing is tested, unless FAIRLEAD_NETDEVSIM
// is set: then that is a failure.
#include <gtest/gtest.h>

#include "agent/ports/devlink/test_netdevsim_env.h"
#include "agent/ports/netlink/test_namespace.h"
#include "agent/providers/eswitch_contract.h"

namespace fairlead {
namespace {

INSTANTIATE_TEST_SUITE_P(Linux, EswitchContract, ::testing::Values(NetdevsimEnv::Make));

// So that a kernel without netdevsim has one test to show that the program runs.
TEST(LinuxEswitch, ANicThatIsNotThereHasNoEswitch) {
  auto port = LinuxDevlinkPort::Create();
  ASSERT_TRUE(port.ok()) << port.status();
  const auto seen = EswitchProvider(port->get()).Observe({"pci", "0000:ff:1f.7"});
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_TRUE(seen->settings.empty());
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  fairlead::netlink::EnterNewNetworkNamespace();
  fairlead::TestNetdevsim::MountKnobs();
  return RUN_ALL_TESTS();
}
