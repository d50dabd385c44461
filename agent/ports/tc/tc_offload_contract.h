// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what every TcPort does on devices that take rules into hardware, the fake
// and the kernel's alike. Instantiate TcOffloadContract with a maker of an environment.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "agent/ports/tc/tc_port.h"

namespace fairlead {

// A host of its own, taken down with the object.
class TcOffloadEnv {
 public:
  virtual ~TcOffloadEnv() = default;
  virtual TcPort& port() = 0;
  // The representor of a VF of one NIC, which takes every rule. Two can be had.
  virtual uint32_t Representor(uint16_t vf) = 0;
  // An Ethernet link without offload.
  virtual uint32_t AddEthernet(const std::string& name) = 0;
};

// Null: the environment is not to be had; the test is skipped.
using TcOffloadEnvMaker = std::function<std::unique_ptr<TcOffloadEnv>()>;

class TcOffloadContract : public ::testing::TestWithParam<TcOffloadEnvMaker> {
 protected:
  static constexpr TcAttachPoint kBlock{.block = 0x460003e9, .ifindex = 0};

  void SetUp() override {
    env_ = GetParam()();
    if (env_ == nullptr) GTEST_SKIP() << "this kernel has no NIC that takes rules";
    first_ = env_->Representor(0);
    second_ = env_->Representor(1);
  }
  TcPort& port() { return env_->port(); }
  absl::Status Join(uint32_t ifindex) { return port().AddClsact(ifindex, kBlock.block); }
  static TcFilter Drop(TcFilter::Flags flags, uint32_t handle = 1) {
    TcFilter filter;
    filter.id = {.chain = 0, .priority = 2000, .handle = handle};
    filter.match.dst_mac = MacAddress({2, 0, 0, 0, 0, static_cast<uint8_t>(handle)});
    filter.actions = {TcGact{}};
    filter.flags = flags;
    filter.cookie[0] = 0xfa;
    return filter;
  }
  absl::Status Put(TcFilter::Flags flags, uint32_t handle = 1) { return Put(Drop(flags, handle)); }
  absl::Status Put(TcFilter filter) {
    TcChange change;
    change.at = kBlock;
    change.filter = std::move(filter);
    return port().Apply({&change, 1}).front();
  }
  // Whether a terse dump shows it so too, but for the count.
  bool ShownTersely(const TcFilterInfo& full) {
    const auto terse = port().Dump(kBlock, TcDumpDetail::kTerse);
    return terse.ok() && std::any_of(terse->begin(), terse->end(), [&](const TcFilterInfo& info) {
             return info.id == full.id && info.in_hw == full.in_hw && info.cookie == full.cookie &&
                    info.in_hw_count == 0;
           });
  }
  // In how many devices' hardware the rule is; -1: it is not there, or it is shown
  // otherwise one by one than among all.
  int InHardware(uint32_t handle = 1) {
    const TcFilterRef ref{kBlock, {.chain = 0, .priority = 2000, .handle = handle}};
    const auto seen = port().Get({&ref, 1}).front();
    const auto dump = port().Dump(kBlock);
    if (!seen.ok() || !dump.ok()) return -1;
    for (const TcFilterInfo& info : *dump) {
      if (info.id != ref.id) continue;
      const bool same = info.in_hw_count == seen->in_hw_count && info.in_hw == seen->in_hw &&
                        info.in_hw == (info.in_hw_count > 0) && ShownTersely(info);
      return same ? static_cast<int>(info.in_hw_count) : -1;
    }
    return -1;
  }

  std::unique_ptr<TcOffloadEnv> env_;
  uint32_t first_ = 0;
  uint32_t second_ = 0;
};

}  // namespace fairlead
