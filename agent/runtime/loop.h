// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the event loop whose thread owns all state: posted functions, timers,
// signals, descriptors that become readable.
//
// Threading: everything on the thread that calls Run, but what poster() and
// Stop() do, which any thread may. Callbacks run on that thread and must not
// block. The posted functions are not bounded here: who posts (a lane, the
// transport) has a bounded queue of its own.
// Ownership: callbacks are destroyed with the loop at the latest. Errors: as
// statuses; a callback must not throw.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/runtime/scheduler.h"

namespace asio {
class io_context;
}

namespace fairlead {

class Loop final : public Scheduler {
 public:
  using WatchId = uint64_t;

  Loop();
  ~Loop() override;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Callable from any thread and for ever: after the loop is destroyed it drops
  // what it gets.
  Poster poster() const override;
  void After(std::chrono::milliseconds delay, std::function<void()> fn) override;
  std::unique_ptr<Lane> MakeLane(std::string name, const Clock* clock,
                                 LaneOptions options) override;  // with a thread of its own

  // Calls `fn` for every arrival of one of `signals`; they lose their usual
  // effect while the loop lives. To be called once.
  absl::Status OnSignals(std::initializer_list<int> signals, std::function<void(int)> fn);

  // Calls `fn` whenever `fd` is readable, until Unwatch. The caller keeps owning
  // `fd`; it must stay open until Unwatch.
  absl::StatusOr<WatchId> WatchReadable(int fd, std::function<void()> fn);
  void Unwatch(WatchId id);

  // Runs until Stop; may be called again afterwards.
  void Run();
  // Runs what is ready now and returns, without waiting; for tests.
  void Poll();
  void Stop();

  // For what does I/O of its own (agent/transport).
  asio::io_context& context();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead
