// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what every DevlinkPort does with rates, the fake and the kernel's alike, on a device
// that behaves as netdevsim does: two VFs' leaves, and nodes above them. Instantiate
// DevlinkRateContract with a maker of an environment.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "agent/ports/devlink/devlink_contract.h"

namespace fairlead {

class DevlinkRateContract : public DevlinkContract {
 protected:
  void SetUp() override {
    DevlinkContract::SetUp();
    if (IsSkipped()) return;
    env_->SetVfCount(device_, 2);
    ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
    for (const DevlinkPortInfo& port : Ports(DevlinkFlavour::kPciVf)) {
      leaves_.push_back(DevlinkRateId::Leaf(port.index));
    }
    ASSERT_EQ(leaves_.size(), 2U);
  }
  void TearDown() override {
    if (env_ == nullptr) return;
    for (const DevlinkRateId& leaf : leaves_) (void)port().SetRate(device_, leaf, Below(""));
    for (int depth = 0; depth < 3; ++depth) {
      for (const char* node : {"gold", "tenant-1", "tenant-2"}) {
        (void)port().DeleteRateNode(device_, node);
      }
    }
  }
  static DevlinkRateId Node(const char* name) { return *DevlinkRateId::Node(name); }
  static DevlinkRateSettings Below(const char* parent) { return {{}, {}, parent}; }
  std::map<DevlinkRateId, DevlinkRate> Rates() {
    const auto rates = port().ListRates(device_);
    EXPECT_TRUE(rates.ok()) << rates.status();
    std::map<DevlinkRateId, DevlinkRate> found;
    if (!rates.ok()) return found;
    for (const DevlinkRate& rate : *rates) found[rate.id] = rate;
    return found;
  }

  std::vector<DevlinkRateId> leaves_;
};

}  // namespace fairlead
