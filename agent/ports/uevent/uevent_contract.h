// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what every UeventPort does, as tests. Instantiate with a factory and link
// uevent_contract.cc.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "agent/ports/uevent/uevent_port.h"

namespace fairlead {

class UeventContractHost {
 public:
  virtual ~UeventContractHost() = default;
  virtual UeventPort& port() = 0;
  // Has the kernel say `action` of the loopback device.
  virtual void Say(const std::string& action) = 0;
};

using UeventContractFactory = std::unique_ptr<UeventContractHost> (*)();

class UeventContract : public ::testing::TestWithParam<UeventContractFactory> {
 protected:
  void SetUp() override {
    host_ = GetParam()();
    ASSERT_NE(host_, nullptr);
  }
  std::unique_ptr<UeventContractHost> host_;
};

}  // namespace fairlead
