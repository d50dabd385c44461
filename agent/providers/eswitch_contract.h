// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what EswitchProvider does on a device that behaves as netdevsim does, the
// fake and the kernel's alike. Instantiate EswitchContract with a maker of an
// environment of the devlink port's contract.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "agent/ports/devlink/devlink_contract.h"
#include "agent/providers/eswitch_provider.h"

namespace fairlead {

class EswitchContract : public ::testing::TestWithParam<DevlinkEnvMaker> {
 protected:
  void SetUp() override {
    env_ = GetParam()();
    if (env_ == nullptr) GTEST_SKIP() << "this kernel has no netdevsim";
    device_ = env_->AddDevice();
    provider_.emplace(&env_->port());
  }

  std::unique_ptr<DevlinkEnv> env_;
  DevlinkHandle device_;
  std::optional<EswitchProvider> provider_;
};

}  // namespace fairlead
