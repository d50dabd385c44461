// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/loop.h"

#include <errno.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

// What a poster holds on to, so that it may outlive the loop.
struct Door {
  std::mutex mutex;
  asio::io_context* context = nullptr;  // null once the loop is gone
};

struct Watch {
  explicit Watch(asio::io_context& context) : descriptor(context) {}
  // The descriptor belongs to the caller.
  ~Watch() { descriptor.release(); }
  asio::posix::stream_descriptor descriptor;
  std::function<void()> fn;
};

}  // namespace

struct Loop::Impl {
  asio::io_context context{1};
  std::shared_ptr<Door> door = std::make_shared<Door>();
  uint64_t last_id = 0;
  struct Timer {
    asio::steady_timer timer;
    std::function<void()> fn;
  };
  std::map<uint64_t, Timer> timers;
  std::map<WatchId, std::shared_ptr<Watch>> watches;
  std::optional<asio::signal_set> signals;
  std::function<void(int)> on_signal;

  void WaitSignal() {
    signals->async_wait([this](const asio::error_code& error, int signal) {
      if (error) return;
      on_signal(signal);
      WaitSignal();
    });
  }

  void WaitReadable(WatchId id, const std::shared_ptr<Watch>& watch) {
    watch->descriptor.async_wait(asio::posix::descriptor_base::wait_read,
                                 [this, id, watch](const asio::error_code& error) {
                                   if (error || !watches.contains(id)) return;
                                   watch->fn();
                                   if (watches.contains(id)) WaitReadable(id, watch);
                                 });
  }
};

Loop::Loop() : impl_(std::make_unique<Impl>()) { impl_->door->context = &impl_->context; }

Loop::~Loop() {
  {
    const std::lock_guard lock(impl_->door->mutex);
    impl_->door->context = nullptr;
  }
  // Pending waits own their watches and die with the context, too late for this.
  for (auto& [id, watch] : impl_->watches) watch->descriptor.release();
}

Poster Loop::poster() const {
  return [door = impl_->door](std::function<void()> fn) {
    const std::lock_guard lock(door->mutex);
    if (door->context != nullptr) asio::post(*door->context, std::move(fn));
  };
}

void Loop::After(std::chrono::milliseconds delay, std::function<void()> fn) {
  const uint64_t id = ++impl_->last_id;
  const auto it =
      impl_->timers
          .emplace(id, Impl::Timer{asio::steady_timer(impl_->context, delay), std::move(fn)})
          .first;
  it->second.timer.async_wait([impl = impl_.get(), id](const asio::error_code& error) {
    if (error) return;
    auto node = impl->timers.extract(id);
    if (!node.empty()) node.mapped().fn();
  });
}

std::unique_ptr<Lane> Loop::MakeLane(std::string name, const Clock* clock, LaneOptions options) {
  return std::make_unique<ThreadLane>(std::move(name), poster(), clock, options);
}

absl::Status Loop::OnSignals(std::initializer_list<int> signals, std::function<void(int)> fn) {
  if (impl_->signals) return absl::InternalError("Loop::OnSignals was called twice");
  impl_->on_signal = std::move(fn);
  impl_->signals.emplace(impl_->context);
  for (const int signal : signals) {
    asio::error_code error;
    impl_->signals->add(signal, error);
    if (error) return SystemError(error.value(), StrCat("catch signal ", signal));
  }
  impl_->WaitSignal();
  return absl::OkStatus();
}

absl::StatusOr<Loop::WatchId> Loop::WatchReadable(int fd, std::function<void()> fn) {
  auto watch = std::make_shared<Watch>(impl_->context);
  watch->fn = std::move(fn);
  asio::error_code error;
  watch->descriptor.assign(fd, error);
  if (error) return SystemError(error.value(), StrCat("wait for descriptor ", fd));
  const WatchId id = ++impl_->last_id;
  impl_->watches.emplace(id, watch);
  impl_->WaitReadable(id, watch);
  return id;
}

void Loop::Unwatch(WatchId id) {
  const auto node = impl_->watches.extract(id);
  // Out of epoll now, not when the pending wait ends: the caller may close it.
  if (!node.empty()) node.mapped()->descriptor.release();
}

void Loop::Run() {
  impl_->context.restart();
  const auto guard = asio::make_work_guard(impl_->context);
  impl_->context.run();
}

void Loop::Poll() {
  impl_->context.restart();
  impl_->context.poll();
}

void Loop::Stop() { impl_->context.stop(); }

asio::io_context& Loop::context() { return impl_->context; }

}  // namespace fairlead
