// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a scheduler without threads and without waiting: every step, of the loop or of a lane,
// is taken when the test says so, in an order that the test chooses, and time moves only when
// there is nothing else to do. The same choices give the same run.
//
// Threading: one thread. Ownership: outlives what runs on it; lanes belong to who made them.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/base/clock.h"
#include "agent/runtime/scheduler.h"

namespace fairlead {

class SteppedScheduler final : public Scheduler {
 public:
  // Which of `count` things is next.
  using Choose = std::function<size_t(size_t count)>;
  // How long a piece of work takes: it begins at once and its end is held back so long.
  using Hold =
      std::function<std::chrono::milliseconds(const std::string& lane, const std::string& what)>;

  SteppedScheduler(ManualClock* clock, Choose choose, Hold hold = nullptr);
  ~SteppedScheduler() override;

  Poster poster() const override;
  void After(std::chrono::milliseconds delay, std::function<void()> fn) override;
  std::unique_ptr<Lane> MakeLane(std::string name, const Clock* clock,
                                 LaneOptions options) override;

  // Takes one step that can be taken now; false: there is none.
  bool Step();
  // Moves the clock to what comes next, at most by `most`; false: nothing comes by then, and
  // the clock moved by `most`.
  bool Wait(std::chrono::milliseconds most);

 private:
  class SteppedLane;
  using Time = std::chrono::steady_clock::time_point;
  struct Shared;

  ManualClock* clock_;
  const Choose choose_;
  const Hold hold_;
  std::shared_ptr<Shared> shared_;  // with posters and lanes
};

}  // namespace fairlead
