// SPDX-License-Identifier: Apache-2.0
//
// Purpose: netdevsim devices of the fake, as an environment of contract suites.
//
// Threading: one thread. Errors: what cannot be done throws, which fails the test.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "agent/base/text.h"
#include "agent/ports/devlink/devlink_contract.h"
#include "agent/ports/devlink/fake_devlink_port.h"

namespace fairlead {

class FakeNetdevsimEnv final : public DevlinkEnv {
 public:
  static std::unique_ptr<DevlinkEnv> Make() { return std::make_unique<FakeNetdevsimEnv>(); }

  DevlinkPort& port() override { return port_; }
  DevlinkHandle AddDevice() override {
    FakeDevlinkOptions options;
    options.handle = {"netdevsim", StrCat("netdevsim", next_)};
    options.nic = FakeNic::kNetdevsim;
    options.netdev = StrCat("eni", next_++);
    options.physical_ports = 2;
    devlink_->AddDevice(options);
    return options.handle;
  }
  void RemoveDevice(const DevlinkHandle& device) override { devlink_->RemoveDevice(device); }
  void SetVfCount(const DevlinkHandle& device, int count) override {
    const absl::Status set = devlink_->SetVfCount(device, static_cast<uint16_t>(count));
    if (!set.ok()) throw std::runtime_error(set.ToString());
  }
  void SetReloadFails(const DevlinkHandle& device, bool fails) override {
    devlink_->SetReloadFails(device, fails);
  }
  void SetReloadForbidden(const DevlinkHandle& device, bool forbidden) override {
    devlink_->SetReloadForbidden(device, forbidden);
  }
  std::string NetdevName(uint32_t ifindex) override {
    return network_->With([&](FakeNetwork::State& state) {
      const FakeNetwork::Link* link = state.FindLink(ifindex);
      return link == nullptr ? std::string() : link->info.name;
    });
  }

 private:
  std::shared_ptr<FakeNetwork> network_ = std::make_shared<FakeNetwork>();
  std::shared_ptr<FakeDevlink> devlink_ = std::make_shared<FakeDevlink>(network_);
  FakeDevlinkPort port_{devlink_};
  int next_ = 1;
};

}  // namespace fairlead
