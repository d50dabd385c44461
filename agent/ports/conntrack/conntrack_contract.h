// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what every ConntrackPort does, on the fake and on a kernel.
// Threading: tests.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "agent/ports/conntrack/conntrack_port.h"

namespace fairlead {

// A place with connections.
class ConntrackEnv {
 public:
  virtual ~ConntrackEnv() = default;
  virtual std::unique_ptr<ConntrackPort> Open() = 0;
  virtual void Connect(uint16_t zone, const ConnectionTuple& original) = 0;
};
using MakeConntrackEnv = std::unique_ptr<ConntrackEnv> (*)();

class ConntrackContract : public ::testing::TestWithParam<MakeConntrackEnv> {};

}  // namespace fairlead
