// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what every SlowPathSocket does, as tests. Instantiate with a factory and link
// slow_path_contract.cc.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "agent/ports/slow_path/slow_path_port.h"

namespace fairlead {

// A process that runs. No netdev there has the index 404; every other one is there.
class SlowPathContractHost {
 public:
  virtual ~SlowPathContractHost() = default;
  // Another socket to the same process.
  virtual std::unique_ptr<SlowPathSocket> NewSocket() = 0;
  // Whether the process answers by that entry just now.
  virtual bool Knows(const SlowPathEntry& entry) = 0;
  virtual bool Knows(const SlowPathKey& key) = 0;
  virtual void Stop() = 0;
  // Anew, after Stop: knows nothing.
  virtual void Start() = 0;
};

using SlowPathContractFactory = std::unique_ptr<SlowPathContractHost> (*)();

class SlowPathContract : public ::testing::TestWithParam<SlowPathContractFactory> {
 protected:
  void SetUp() override {
    host_ = GetParam()();
    ASSERT_NE(host_, nullptr);
    socket_ = host_->NewSocket();
  }
  std::unique_ptr<SlowPathContractHost> host_;
  std::unique_ptr<SlowPathSocket> socket_;
};

}  // namespace fairlead
