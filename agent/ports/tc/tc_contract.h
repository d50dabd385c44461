// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what every TcPort does, the fake and the kernel's alike. Instantiate
// TcContract with a maker of an environment.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "agent/ports/tc/tc_port.h"

namespace fairlead {

// A host of its own, taken down with the object.
class TcEnv {
 public:
  virtual ~TcEnv() = default;
  virtual TcPort& port() = 0;
  // An Ethernet link without offload.
  virtual uint32_t AddEthernet(const std::string& name) = 0;
  virtual void DeleteEthernet(const std::string& name) = 0;
  // As Open vSwitch puts one on its ports.
  virtual void AddIngressQdisc(uint32_t ifindex) = 0;
  // Somebody's filter for every packet, of kind "matchall", with handle 1 and without actions.
  virtual void AddMatchall(uint32_t block, uint16_t priority) = 0;
  // So many frames of 60 bytes come in at one of the links above, for this MAC.
  virtual void Receive(const std::string& name, const MacAddress& to, int frames) = 0;
};

using TcEnvMaker = std::function<std::unique_ptr<TcEnv>()>;

class TcContract : public ::testing::TestWithParam<TcEnvMaker> {
 protected:
  static constexpr uint32_t kBlock = 0x460003e8;

  void SetUp() override {
    env_ = GetParam()();
    a_ = env_->AddEthernet("fltca");
    b_ = env_->AddEthernet("fltcb");
  }
  TcPort& port() { return env_->port(); }

  TcFilter Drop(uint32_t handle) const {
    TcFilter filter;
    filter.id = {.chain = 0, .priority = 2000, .handle = handle};
    filter.match.dst_mac =
        MacAddress({2, 0, static_cast<uint8_t>(handle >> 24), static_cast<uint8_t>(handle >> 16),
                    static_cast<uint8_t>(handle >> 8), static_cast<uint8_t>(handle)});
    filter.actions = {TcGact{.verdict = TcGact::Verdict::kDrop, .chain = 0}};
    filter.cookie = Cookie(static_cast<uint8_t>(handle));
    return filter;
  }
  static TcCookie Cookie(uint8_t mark) {
    TcCookie cookie{};
    cookie[0] = 0xfa;
    cookie[15] = mark;
    return cookie;
  }
  absl::Status Put(const TcAttachPoint& at, const TcFilter& filter) {
    const TcChange change{.verb = TcChange::Verb::kPut, .at = at, .filter = filter};
    return port().Apply(std::span<const TcChange>(&change, 1)).front();
  }
  absl::Status Delete(const TcAttachPoint& at, const TcFilter& filter) {
    const TcChange change{.verb = TcChange::Verb::kDelete, .at = at, .filter = filter};
    return port().Apply(std::span<const TcChange>(&change, 1)).front();
  }
  TcAttachPoint Block() const { return {.block = kBlock, .ifindex = 0}; }
  TcAttachPoint Ingress(uint32_t ifindex) const { return {.block = 0, .ifindex = ifindex}; }

  std::unique_ptr<TcEnv> env_;
  uint32_t a_ = 0;
  uint32_t b_ = 0;
};

}  // namespace fairlead
