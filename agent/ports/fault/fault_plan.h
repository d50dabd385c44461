// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what goes wrong, and when, for ports that are wrapped (faulty_ports.h): each call of
// each port comes by here before it takes effect and again before its answer is given. That is
// enough for an errno, an answer that is lost, a latency, a hang, an event that never comes, and
// a crash between any two calls.
//
// Threading: called from whatever thread calls the port; an implementation that is used by
// several locks by itself, and may block the caller.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace fairlead {

struct PortCall {
  std::string_view port;  // "rtnetlink"
  std::string_view
      method;            // as the port calls it; "Put" and "Delete" for a change of TcPort::Apply
  std::string about;     // its arguments, for people
  bool changes = false;  // it means to change something

  std::string ToString() const;  // "rtnetlink SetMtu(3, 1450)"
};

class FaultPlan {
 public:
  virtual ~FaultPlan() = default;
  // An error: the call has no effect and answers with it.
  virtual absl::Status Before(const PortCall& call) = 0;
  // The call took effect. An error is answered in place of what it returned.
  virtual absl::Status After(const PortCall& call) = 0;
  // False: this event of the port is never told.
  virtual bool Tells(std::string_view port) = 0;
};

}  // namespace fairlead
