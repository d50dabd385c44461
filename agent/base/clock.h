// SPDX-License-Identifier: Apache-2.0
//
// Purpose: time as an injected dependency, so that no test waits for it.
// Threading: implementations are safe from any thread.
#pragma once

#include <chrono>

namespace fairlead {

class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic; for deadlines and durations.
  virtual std::chrono::steady_clock::time_point Now() const = 0;
  // Wall clock, for people and records; may jump.
  virtual std::chrono::system_clock::time_point WallNow() const = 0;
};

class SystemClock final : public Clock {
 public:
  std::chrono::steady_clock::time_point Now() const override {
    return std::chrono::steady_clock::now();
  }
  std::chrono::system_clock::time_point WallNow() const override {
    return std::chrono::system_clock::now();
  }
};

// Stands still until told to move. Not thread-safe; for single-threaded tests.
class ManualClock final : public Clock {
 public:
  std::chrono::steady_clock::time_point Now() const override { return now_; }
  std::chrono::system_clock::time_point WallNow() const override { return wall_; }
  void Advance(std::chrono::nanoseconds by) {
    now_ += std::chrono::duration_cast<std::chrono::steady_clock::duration>(by);
    wall_ += std::chrono::duration_cast<std::chrono::system_clock::duration>(by);
  }

 private:
  std::chrono::steady_clock::time_point now_{std::chrono::seconds(1000)};
  std::chrono::system_clock::time_point wall_{std::chrono::seconds(1700000000)};
};

}  // namespace fairlead
