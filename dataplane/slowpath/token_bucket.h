// SPDX-License-Identifier: Apache-2.0
//
// Purpose: how much of one guest is worked on: `rate` frames a second, `burst` at once.
//
// Threading: one thread. Errors: none. Time is handed in.
#pragma once

#include <algorithm>
#include <chrono>

namespace fairlead::slowpath {

class TokenBucket {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // `burst` is 1 at least.
  TokenBucket(double rate, double burst, Time now)
      : rate_(rate), burst_(burst), tokens_(burst), filled_(now) {}

  bool Take(Time now) {
    const std::chrono::duration<double> passed = now - filled_;
    tokens_ = std::min(burst_, tokens_ + std::max(passed.count(), 0.0) * rate_);
    filled_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  double rate_, burst_, tokens_;
  Time filled_;
};

}  // namespace fairlead::slowpath
