// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what every ConntrackPort does, the fake and the kernel's alike. Instantiate
// ConntrackContract with a maker of an environment.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <vector>

#include "agent/ports/conntrack/conntrack_port.h"

namespace fairlead {

// As a failed test shows it.
inline void PrintTo(const Connection& connection, std::ostream* out) {
  *out << connection.original.ToString() << " / " << connection.reply.ToString() << " zone "
       << connection.zone << " id " << connection.id << " " << connection.tcp_state << " "
       << connection.timeout_s << " s" << (connection.seen_reply ? " seen_reply" : "")
       << (connection.assured ? " assured" : "") << (connection.confirmed ? " confirmed" : "")
       << (connection.dying ? " dying" : "") << (connection.offloaded ? " offloaded" : "")
       << (connection.in_hardware ? " in_hardware" : "");
}

// A host of its own, taken down with the object. Its table of connections is empty.
class ConntrackEnv {
 public:
  virtual ~ConntrackEnv() = default;
  virtual ConntrackPort& port() = 0;
  // As packets would make one: what it says of zone, tuples, replies, TCP and time. The kernel
  // gives it an id.
  virtual void Add(const Connection& connection) = 0;
};

using ConntrackEnvMaker = std::function<std::unique_ptr<ConntrackEnv>()>;

class ConntrackContract : public ::testing::TestWithParam<ConntrackEnvMaker> {
 protected:
  static constexpr uint16_t kZone = 0xfa05;  // the bytes of it are two

  void SetUp() override { env_ = GetParam()(); }
  ConntrackPort& port() { return env_->port(); }

  // Without their ids and the time they have left, which runs.
  std::vector<Connection> Dumped(uint16_t zone);
  // The one of a zone that has this original tuple, which must be there.
  Connection Get(uint16_t zone, const ConnectionTuple& original);
  absl::Status Delete(const Connection& connection) {
    return port().Delete(std::span(&connection, 1)).front();
  }

  std::unique_ptr<ConntrackEnv> env_;
};

}  // namespace fairlead
