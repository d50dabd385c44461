// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a question that somebody waits for: it is answered once, with what was found, or with
// that nothing was in time.
//
// Threading: owned by the loop thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "agent/reconcile/executor.h"

namespace fairlead {

template <typename T>
class Inquiry {
 public:
  using Done = std::function<void(absl::StatusOr<T>)>;
  explicit Inquiry(Done done) : done_(std::move(done)) {}
  bool over() const { return done_ == nullptr; }
  void End(absl::StatusOr<T> result) {
    if (done_ != nullptr) std::exchange(done_, nullptr)(std::move(result));
  }

 private:
  Done done_;
};

// Ends it with what `late` makes of it, unless it is over by then.
template <typename Asked, typename Late>
void EndAfter(Executor& executor, std::chrono::milliseconds within,
              const std::shared_ptr<Asked>& inquiry, Late late) {
  executor.After(within, [inquiry, late = std::move(late)] {
    if (!inquiry->over()) inquiry->End(late(*inquiry));
  });
}

}  // namespace fairlead
