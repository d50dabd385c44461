// SPDX-License-Identifier: Apache-2.0
//
// The contract on the real kernel, as root, in a network namespace of its own. It
// needs the module netdevsim; without it only what holds for any kernel is tested,
// unless FAIRLEAD_NETDEVSIM is set: then that is a failure.
#include <errno.h>
#include <gtest/gtest.h>

#include "agent/base/error.h"
#include "agent/ports/devlink/devlink_contract.h"
#include "agent/ports/devlink/devlink_rate_contract.h"
#include "agent/ports/devlink/linux_devlink_port.h"
#include "agent/ports/devlink/test_netdevsim_env.h"
#include "agent/ports/netlink/test_namespace.h"

namespace fairlead {
namespace {

INSTANTIATE_TEST_SUITE_P(Linux, DevlinkContract, ::testing::Values(NetdevsimEnv::Make));
INSTANTIATE_TEST_SUITE_P(Linux, DevlinkRateContract, ::testing::Values(NetdevsimEnv::Make));

TEST(LinuxDevlinkPort, ANamespaceWithoutDevicesHasNone) {
  auto port = LinuxDevlinkPort::Create();
  ASSERT_TRUE(port.ok()) << port.status();
  const auto devices = (*port)->ListDevices();
  ASSERT_TRUE(devices.ok()) << devices.status();
  EXPECT_TRUE(devices->empty());
}

TEST(LinuxDevlinkPort, ADeviceThatIsNotThereIsNotFound) {
  auto port = LinuxDevlinkPort::Create();
  ASSERT_TRUE(port.ok()) << port.status();
  const DevlinkHandle nobody{"pci", "0000:ff:1f.7"};
  EXPECT_EQ(ErrnoOf((*port)->GetEswitch(nobody).status()), ENODEV);
  EXPECT_EQ(ErrnoOf((*port)->ListPorts(nobody).status()), ENODEV);
}

TEST(LinuxDevlinkPort, TheKernelCanBeListenedTo) {
  auto port = LinuxDevlinkPort::Create();
  ASSERT_TRUE(port.ok()) << port.status();
  const auto subscription = (*port)->Subscribe([](const DevlinkPort::Event&) {});
  EXPECT_TRUE(subscription.ok()) << subscription.status();
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  fairlead::netlink::EnterNewNetworkNamespace();
  fairlead::TestNetdevsim::MountKnobs();
  return RUN_ALL_TESTS();
}
