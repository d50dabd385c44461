// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a worker for calls that block. Each lane (one PF, one VM, the rules,
// the store) has one thread and a bounded queue; work in a lane runs in order,
// lanes run side by side. Results come back to the loop.
//
// Threading: construct, Run and destroy on the loop thread; `work` runs on the
// lane's thread (of a ThreadLane, its own); `done` and `on_parked` run on the loop thread (through
// the poster, which must not call it at once). The destructor drops queued work without calling
// `done`, and waits for the work under way; a lane whose work never ends is abandoned with its
// thread instead after `abandon_after` (Abandoned() counts these, process-wide, for good). No
// `done` and no `on_parked` runs after the destructor, and the poster is not called. The thread
// starts with the first work and blocks all signals: a child process made in
// `work` must unblock them. `work` must not throw. The clock is asked on the loop
// thread only, so a piece of work that had to wait counts from when the loop
// learns that it began, at the latest from the next Tick.
// Errors: Run answers kResourceExhausted when the queue is full or no thread can
// be made.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "agent/base/clock.h"

namespace fairlead {

// Hands a function to the loop thread; callable from any thread.
using Poster = std::function<void(std::function<void()>)>;

struct LaneStats {
  std::string name;
  size_t queued = 0;    // waiting, without the running one
  std::string running;  // what is under way, "" = idle
  std::chrono::milliseconds running_for{0};
  bool parked = false;  // the running work is past its deadline
};

struct LaneOptions {
  size_t capacity = 1024;
  std::chrono::milliseconds abandon_after{2000};
};

class Lane {
 public:
  virtual ~Lane() = default;

  // Queues `work`; afterwards `done` runs on the loop.
  virtual absl::Status Run(std::string what, std::chrono::milliseconds deadline,
                           std::function<void()> work, std::function<void()> done) = 0;

  virtual LaneStats Stats() const = 0;

  // To be called by the loop from time to time (about 10 times a second): finds
  // out that the running work is past its deadline. Calls `on_parked` once per
  // such work, and again with `parked` false when it came back after all.
  virtual void Tick() = 0;
  virtual void set_on_parked(std::function<void(const LaneStats&)> on_parked) = 0;
};

class ThreadLane final : public Lane {
 public:
  ThreadLane(std::string name, Poster poster, const Clock* clock, LaneOptions options);
  ~ThreadLane() override;
  ThreadLane(const ThreadLane&) = delete;
  ThreadLane& operator=(const ThreadLane&) = delete;

  absl::Status Run(std::string what, std::chrono::milliseconds deadline, std::function<void()> work,
                   std::function<void()> done) override;
  LaneStats Stats() const override;
  void Tick() override;
  void set_on_parked(std::function<void(const LaneStats&)> on_parked) override;

  static size_t Abandoned();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace fairlead
