// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what every DevlinkPort does, the fake and the kernel's alike, on a device
// that behaves as netdevsim does. Instantiate DevlinkContract with a maker of an
// environment.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/ports/devlink/devlink_port.h"

namespace fairlead {

// A host of its own with netdevsim devices, taken down with the object.
class DevlinkEnv {
 public:
  virtual ~DevlinkEnv() = default;
  virtual DevlinkPort& port() = 0;
  // A netdevsim device with two physical ports and no VFs.
  virtual DevlinkHandle AddDevice() = 0;
  virtual void RemoveDevice(const DevlinkHandle& device) = 0;
  virtual void SetVfCount(const DevlinkHandle& device, int count) = 0;
  virtual void SetReloadFails(const DevlinkHandle& device, bool fails) = 0;
  // The driver refuses a reload before it begins.
  virtual void SetReloadForbidden(const DevlinkHandle& device, bool forbidden) = 0;
  // The name of a netdev, "" when there is none.
  virtual std::string NetdevName(uint32_t ifindex) = 0;
};

// Null: the environment is not to be had; the test is skipped.
using DevlinkEnvMaker = std::function<std::unique_ptr<DevlinkEnv>()>;

class DevlinkContract : public ::testing::TestWithParam<DevlinkEnvMaker> {
 protected:
  void SetUp() override {
    env_ = GetParam()();
    if (env_ == nullptr) GTEST_SKIP() << "this kernel has no netdevsim";
    device_ = env_->AddDevice();
  }
  DevlinkPort& port() { return env_->port(); }
  absl::Status SetMode(EswitchMode mode) {
    DevlinkEswitch wanted;
    wanted.mode = mode;
    return port().SetEswitch(device_, wanted);
  }
  std::vector<DevlinkPortInfo> Ports(DevlinkFlavour flavour) {
    auto ports = port().ListPorts(device_);
    EXPECT_TRUE(ports.ok()) << ports.status();
    std::vector<DevlinkPortInfo> those;
    if (!ports.ok()) return those;
    for (const DevlinkPortInfo& port : *ports) {
      if (port.flavour == flavour) those.push_back(port);
    }
    return those;
  }

  std::unique_ptr<DevlinkEnv> env_;
  DevlinkHandle device_;
};

}  // namespace fairlead
