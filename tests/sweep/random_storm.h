// SPDX-License-Identifier: Apache-2.0
//
// Purpose: chance, and what goes wrong by it: errors, lost answers and events, kills.
// Threading: one thread. Ownership: dice and host are borrowed.
#pragma once

#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

#include "tests/sweep/stepped_host.h"

namespace fairlead {

// The same seed throws the same.
class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  size_t Below(size_t count) { return engine_() % count; }
  bool OneIn(size_t count) { return Below(count) == 0; }
  template <typename T>
  const T& Of(const std::vector<T>& items) {
    return items[Below(items.size())];
  }

 private:
  std::mt19937_64 engine_;
};

// What goes wrong by itself, while `rages`.
class Storm final : public FaultPlan {
 public:
  Storm(Dice* dice, bool aloud) : dice_(dice), aloud_(aloud) {}

  absl::Status Before(const PortCall& call) override;
  absl::Status After(const PortCall& call) override;
  bool Tells(std::string_view) override { return !killed_ && !(rages && dice_->OneIn(10)); }

  // The next agent is another process.
  void Revive() { killed_ = false; }
  SteppedHost* host = nullptr;
  bool rages = false;

 private:
  void Kill();
  void Say(const char* what, const PortCall& call) const;

  Dice* dice_;
  const bool aloud_;
  bool killed_ = false;
};

}  // namespace fairlead
