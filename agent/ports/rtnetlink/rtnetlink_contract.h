// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what every RtnetlinkPort does, the fake and the kernel's alike.
// Instantiate RtnetlinkContract with a maker of an environment.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "agent/ports/rtnetlink/rtnetlink_port.h"

namespace fairlead {

// A host of its own, taken down with the object.
class RtnetlinkEnv {
 public:
  virtual ~RtnetlinkEnv() = default;
  virtual RtnetlinkPort& port() = 0;
  // An Ethernet link that is down, whose peer is there and up.
  virtual uint32_t AddEthernet(const std::string& name) = 0;
  virtual void AddAddress(uint32_t ifindex, const IpAddress& address, const IpPrefix& network) = 0;
  virtual void AddPermanentNeighbour(uint32_t ifindex, const IpAddress& address,
                                     const MacAddress& mac) = 0;
  virtual void AddDefaultRoute(uint32_t ifindex, const IpAddress& gateway) = 0;
};

using RtnetlinkEnvMaker = std::function<std::unique_ptr<RtnetlinkEnv>()>;

class RtnetlinkContract : public ::testing::TestWithParam<RtnetlinkEnvMaker> {
 protected:
  void SetUp() override { env_ = GetParam()(); }
  RtnetlinkPort& port() { return env_->port(); }
  std::unique_ptr<RtnetlinkEnv> env_;
};

}  // namespace fairlead
