// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/service_manager.h"

#include <spdlog/spdlog.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <utility>

#include "agent/base/text.h"

namespace fairlead {
namespace {

constexpr std::chrono::milliseconds kLookUntilReady{100};
constexpr std::chrono::milliseconds kLook{5000};

// systemd gives a service up when nothing came in the whole of its time.
std::chrono::milliseconds BeatEvery() {
  uint64_t microseconds = 0;
  if (::sd_watchdog_enabled(0, &microseconds) <= 0) return std::chrono::milliseconds(0);
  return std::chrono::milliseconds(std::max<uint64_t>(microseconds / 2000, 1));
}

}  // namespace

ServiceManager::ServiceManager(Scheduler* scheduler, const Clock* clock,
                               std::function<Standing()> standing)
    : scheduler_(scheduler),
      clock_(clock),
      standing_(std::move(standing)),
      enabled_(::getenv("NOTIFY_SOCKET") != nullptr),
      begin_(clock->Now()) {
  if (!enabled_) return;
  beat_ = BeatEvery();
  After(std::chrono::milliseconds(0), &ServiceManager::Look);
  if (beat_.count() > 0) After(std::chrono::milliseconds(0), &ServiceManager::Beat);
}

ServiceManager::~ServiceManager() {
  if (enabled_) Tell("STOPPING=1");
}

void ServiceManager::Look() {
  const Standing now = standing_();
  std::string message;
  if (!ready_ && (now.unobserved.empty() || clock_->Now() - begin_ >= kReadyPatience)) {
    ready_ = true;
    message = "READY=1\n";
  }
  std::string status = now.counts;
  if (!now.unobserved.empty()) StrAppend(&status, "; not observed yet: ", now.unobserved);
  std::replace(status.begin(), status.end(), '\n', ' ');  // a line is a field
  if (!message.empty() || status != told_) Tell(StrCat(message, "STATUS=", status));
  told_ = std::move(status);
  After(ready_ ? kLook : kLookUntilReady, &ServiceManager::Look);
}

void ServiceManager::Beat() {
  Tell("WATCHDOG=1");
  After(beat_, &ServiceManager::Beat);
}

void ServiceManager::After(std::chrono::milliseconds delay, void (ServiceManager::*fn)()) {
  scheduler_->After(delay, [this, fn, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) (this->*fn)();
  });
}

void ServiceManager::Tell(const std::string& message) {
  const int result = ::sd_notify(0, message.c_str());
  if (result < 0 && !std::exchange(complained_, true)) {
    spdlog::warn("systemd cannot be told how this agent stands: {}", strerrordesc_np(-result));
  }
}

}  // namespace fairlead
