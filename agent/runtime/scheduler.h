// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what an agent runs on: the thread that owns its state, timers of that thread, and
// lanes beside it. The loop is the one of the product; a test can bring one that takes every
// step when told to.
//
// Threading: all on the thread that owns the state, but what poster() returns, which any
// thread may call. Ownership: outlives what runs on it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "agent/runtime/lane.h"

namespace fairlead {

class Scheduler {
 public:
  virtual ~Scheduler() = default;

  // Callable for ever: after the scheduler is destroyed it drops what it gets.
  virtual Poster poster() const = 0;
  virtual void After(std::chrono::milliseconds delay, std::function<void()> fn) = 0;
  virtual std::unique_ptr<Lane> MakeLane(std::string name, const Clock* clock,
                                         LaneOptions options) = 0;
};

}  // namespace fairlead
