// SPDX-License-Identifier: Apache-2.0
//
// Purpose: netdevsim devices of the real kernel, as an environment of contract suites.
// For programs that run as root in the lab, in a network namespace of their own.
//
// Threading: one thread. Errors: what cannot be done throws, which fails the test.
#pragma once

#include <net/if.h>

#include <memory>
#include <string>

#include "agent/ports/devlink/devlink_contract.h"
#include "agent/ports/devlink/linux_devlink_port.h"
#include "agent/ports/devlink/test_netdevsim.h"

namespace fairlead {

class NetdevsimEnv final : public DevlinkEnv {
 public:
  NetdevsimEnv() : port_(*LinuxDevlinkPort::Create()) {}
  static std::unique_ptr<DevlinkEnv> Make() {
    return TestNetdevsim::Available() ? std::make_unique<NetdevsimEnv>() : nullptr;
  }

  DevlinkPort& port() override { return *port_; }
  DevlinkHandle AddDevice() override { return netdevsim_.Add(2); }
  void RemoveDevice(const DevlinkHandle& device) override { netdevsim_.Remove(device); }
  void SetVfCount(const DevlinkHandle& device, int count) override {
    netdevsim_.SetVfCount(device, count);
  }
  void SetReloadFails(const DevlinkHandle& device, bool fails) override {
    netdevsim_.SetKnob(device, "fail_reload", fails ? "Y" : "N");
  }
  void SetReloadForbidden(const DevlinkHandle& device, bool forbidden) override {
    netdevsim_.SetKnob(device, "dont_allow_reload", forbidden ? "Y" : "N");
  }
  std::string NetdevName(uint32_t ifindex) override {
    char name[IF_NAMESIZE];
    return ::if_indextoname(ifindex, name) == nullptr ? "" : name;
  }

 private:
  std::unique_ptr<DevlinkPort> port_;
  TestNetdevsim netdevsim_;
};

}  // namespace fairlead
