// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what every RtnetlinkPort does to the VFs of a PF, the fake and the kernel's
// alike. Instantiate RtnetlinkVfContract with a maker of an environment, and with the same
// the suite of what its driver takes beyond that, or refuses.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "agent/ports/rtnetlink/rtnetlink_port.h"

namespace fairlead {

// A host of its own with a NIC, taken down with the object.
class RtnetlinkVfEnv {
 public:
  virtual ~RtnetlinkVfEnv() = default;
  virtual RtnetlinkPort& port() = 0;
  // Its PF, with VFs 0 to kVfs - 1 that nobody has set. It has a link, if its driver asks
  // for one.
  virtual uint32_t Pf() = 0;
};

// Long: the driver looks at the link every now and then, and an emulated host may be slow.
inline void WaitForLink(RtnetlinkPort* port, uint32_t pf) {
  for (int i = 0; i < 3000 && !port->GetLink(pf)->carrier; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(port->GetLink(pf)->carrier) << "the PF has no link";
}

// Null: the environment is not to be had; the test is skipped.
using RtnetlinkVfEnvMaker = std::function<std::unique_ptr<RtnetlinkVfEnv>()>;

class RtnetlinkVfContract : public ::testing::TestWithParam<RtnetlinkVfEnvMaker> {
 public:
  static constexpr uint16_t kVfs = 3;

 protected:
  void SetUp() override {
    env_ = GetParam()();
    if (env_ == nullptr) GTEST_SKIP() << "this kernel has no NIC whose VFs can be set";
    pf_ = env_->Pf();
  }
  RtnetlinkPort& port() { return env_->port(); }
  // As the kernel shows it now.
  VfInfo Vf(uint16_t index) {
    const auto link = port().GetLinkWithVfs(pf_);
    EXPECT_TRUE(link.ok()) << link.status();
    if (link.ok() && link->vfs) {
      for (const VfInfo& vf : *link->vfs) {
        if (vf.index == index) return vf;
      }
    }
    ADD_FAILURE() << "VF " << index << " is not shown";
    return {};
  }

  std::unique_ptr<RtnetlinkVfEnv> env_;
  uint32_t pf_ = 0;
};

// A driver that takes all that there is, as netdevsim does.
class RtnetlinkNetdevsimVfContract : public RtnetlinkVfContract {};

// Intel's igb with an 82576.
class RtnetlinkIgbVfContract : public RtnetlinkVfContract {};

}  // namespace fairlead
