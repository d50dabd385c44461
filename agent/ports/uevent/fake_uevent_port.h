// SPDX-License-Identifier: Apache-2.0
//
// Purpose: UeventPort without a kernel: FakeUevents says what a test, or a simulated
// machine, has it say, to every subscription.
//
// Threading: safe from any thread. Handlers run on the thread that calls Emit or
// Lose, after each other; a subscription's destructor waits for its handler.
// Ownership: FakeUevents outlives ports and subscriptions.
#pragma once

#include <list>
#include <mutex>

#include "agent/ports/uevent/uevent_port.h"

namespace fairlead {

class FakeUevents {
 public:
  void Emit(const std::string& action, const std::string& devpath, const std::string& subsystem);
  // The socket's buffer was full.
  void Lose();

 private:
  friend class FakeUeventPort;
  class Listening;
  void Say(const Uevent& event);

  std::mutex mutex_;
  std::list<UeventPort::Handler> handlers_;
};

class FakeUeventPort final : public UeventPort {
 public:
  explicit FakeUeventPort(FakeUevents* uevents) : uevents_(uevents) {}
  absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(Handler handler) override;

 private:
  FakeUevents* uevents_;
};

}  // namespace fairlead
