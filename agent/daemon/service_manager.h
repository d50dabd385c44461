// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what systemd is told of a running agent (sd_notify(3)): that it serves, how it
// stands, that its loop turns, and that it ends. Does nothing without NOTIFY_SOCKET.
//
// Threading: all on the loop thread. Ownership: borrows scheduler and clock; `standing` is
// called until the destructor.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "agent/base/clock.h"
#include "agent/daemon/host_view.h"
#include "agent/runtime/scheduler.h"

namespace fairlead {

class ServiceManager {
 public:
  // An agent that has observed everything is ready. One that could not by then serves what
  // it can: whoever waits for it (an upgrade, say) must not wait for a broken NIC.
  static constexpr std::chrono::seconds kReadyPatience{30};

  // The endpoints answer as soon as the scheduler runs.
  ServiceManager(Scheduler* scheduler, const Clock* clock, std::function<Standing()> standing);
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

 private:
  void Look();
  void Beat();
  void After(std::chrono::milliseconds delay, void (ServiceManager::*fn)());
  void Tell(const std::string& message);

  Scheduler* scheduler_;
  const Clock* clock_;
  std::function<Standing()> standing_;
  const bool enabled_;
  const std::chrono::steady_clock::time_point begin_;
  std::chrono::milliseconds beat_{0};  // 0 = no watchdog is asked for
  bool ready_ = false;
  std::string told_;  // the last status
  bool complained_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace fairlead
