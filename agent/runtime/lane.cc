// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/lane.h"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "agent/base/text.h"

namespace fairlead {
namespace {

std::atomic<size_t> abandoned_lanes{0};  // see ThreadLane::Abandoned

struct Item {
  std::string what;
  std::chrono::milliseconds deadline{0};
  // When it was queued, if it had not to wait; the lane's thread never asks the clock.
  std::optional<std::chrono::steady_clock::time_point> began;
  std::function<void()> work;
  std::function<void()> done;
};

}  // namespace

// Outlives the lane where its thread is abandoned.
struct ThreadLane::State : std::enable_shared_from_this<State> {
  std::string name;
  LaneOptions options;
  Poster poster;

  // On the loop thread only.
  const Clock* clock = nullptr;
  std::function<void(const LaneStats&)> on_parked;
  std::optional<std::thread> thread;
  bool destroyed = false;

  std::mutex mutex;
  std::condition_variable work_there;
  std::condition_variable progress;
  std::deque<Item> queue;
  bool stopping = false;
  bool posting = false;
  bool exited = false;
  // The work under way. Its `done` stays here, so that one that is never called
  // is destroyed on the loop thread.
  std::optional<Item> running;
  bool parked = false;

  bool Start();
  void ThreadMain();
  void Post(std::unique_lock<std::mutex>& lock);
  void Finished(const Item& item, bool was_parked);
  void NoteBeginning();
  LaneStats StatsLocked() const;
};

bool ThreadLane::State::Start() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // inherited by the new thread
  try {
    thread.emplace([self = shared_from_this()] { self->ThreadMain(); });
    // The kernel keeps 15 characters (TASK_COMM_LEN in linux/sched.h).
    pthread_setname_np(thread->native_handle(), name.substr(0, 15).c_str());
  } catch (const std::system_error&) {
    thread.reset();
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread.has_value();
}

void ThreadLane::State::ThreadMain() {
  std::unique_lock lock(mutex);
  while (true) {
    work_there.wait(lock, [this] { return stopping || !queue.empty(); });
    if (stopping) break;
    running = std::move(queue.front());
    queue.pop_front();
    {
      const std::function<void()> work = std::move(running->work);
      lock.unlock();
      if (work) work();
    }
    lock.lock();
    if (stopping) break;
    Post(lock);
  }
  exited = true;
  progress.notify_all();
}

void ThreadLane::State::Post(std::unique_lock<std::mutex>& lock) {
  auto item = std::make_shared<Item>(*std::move(running));
  running.reset();
  const bool was_parked = std::exchange(parked, false);
  // The destructor waits for this flag without a limit, so the poster is alive.
  posting = true;
  lock.unlock();
  // Moved, not copied: `done` is to be destroyed where it runs.
  poster([self = shared_from_this(), item = std::move(item), was_parked] {
    self->Finished(*item, was_parked);
  });
  lock.lock();
  posting = false;
  progress.notify_all();
}

void ThreadLane::State::Finished(const Item& item, bool was_parked) {
  if (destroyed) return;
  NoteBeginning();  // of the next one
  if (was_parked && on_parked) {
    LaneStats stats;
    {
      const std::lock_guard lock(mutex);
      stats = StatsLocked();
    }
    stats.running = item.what;
    stats.parked = false;
    stats.running_for = std::chrono::milliseconds(0);
    if (item.began) {
      stats.running_for =
          std::chrono::duration_cast<std::chrono::milliseconds>(clock->Now() - *item.began);
    }
    const auto callback = on_parked;  // it may replace itself, or destroy the lane
    callback(stats);
    if (destroyed) return;
  }
  if (item.done) item.done();
}

void ThreadLane::State::NoteBeginning() {
  const std::lock_guard lock(mutex);
  if (running && !running->began) running->began = clock->Now();
}

LaneStats ThreadLane::State::StatsLocked() const {
  LaneStats stats;
  stats.name = name;
  stats.queued = queue.size();
  stats.parked = parked;
  if (running) {
    stats.running = running->what;
    if (running->began) {
      stats.running_for =
          std::chrono::duration_cast<std::chrono::milliseconds>(clock->Now() - *running->began);
    }
  }
  return stats;
}

ThreadLane::ThreadLane(std::string name, Poster poster, const Clock* clock, LaneOptions options)
    : state_(std::make_shared<State>()) {
  state_->name = std::move(name);
  state_->poster = std::move(poster);
  state_->clock = clock;
  state_->options = options;
}

ThreadLane::~ThreadLane() {
  State& state = *state_;
  state.destroyed = true;
  // Destroyed after the mutex is free again, and on this thread.
  std::deque<Item> dropped;
  std::optional<Item> unfinished;
  std::unique_lock lock(state.mutex);
  state.stopping = true;
  dropped.swap(state.queue);
  state.work_there.notify_all();
  if (!state.thread) return;
  const auto exited = [&state] { return state.exited; };
  if (!state.progress.wait_for(lock, state.options.abandon_after, exited)) {
    // Posting does not block, and a thread that is not in a piece of work ends now.
    state.progress.wait(lock, [&state] { return state.exited || state.running.has_value(); });
  }
  unfinished.swap(state.running);
  if (state.exited) {
    lock.unlock();
    state.thread->join();
  } else {
    state.thread->detach();
    abandoned_lanes.fetch_add(1);
  }
}

absl::Status ThreadLane::Run(std::string what, std::chrono::milliseconds deadline,
                             std::function<void()> work, std::function<void()> done) {
  State& state = *state_;
  if (!state.thread && !state.Start()) {
    return absl::ResourceExhaustedError(
        StrCat("lane ", state.name, ": ", what, ": no thread could be made for it"));
  }
  state.NoteBeginning();
  const std::lock_guard lock(state.mutex);
  if (state.queue.size() >= state.options.capacity) {
    return absl::ResourceExhaustedError(StrCat(
        "lane ", state.name, ": ", what, ": ", state.queue.size(), " pieces of work wait already",
        state.running ? StrCat("; under way: ", state.running->what) : ""));
  }
  Item item{std::move(what), deadline, std::nullopt, std::move(work), std::move(done)};
  if (!state.running && state.queue.empty()) item.began = state.clock->Now();
  state.queue.push_back(std::move(item));
  state.work_there.notify_one();
  return absl::OkStatus();
}

LaneStats ThreadLane::Stats() const {
  state_->NoteBeginning();
  const std::lock_guard lock(state_->mutex);
  return state_->StatsLocked();
}

void ThreadLane::Tick() {
  const std::shared_ptr<State> state = state_;  // the callback may destroy the lane
  state->NoteBeginning();
  LaneStats stats;
  {
    const std::lock_guard lock(state->mutex);
    if (!state->running || state->parked) return;
    if (!state->running->began) return;  // it has just begun; the next Tick counts
    if (state->clock->Now() - *state->running->began <= state->running->deadline) return;
    state->parked = true;
    stats = state->StatsLocked();
  }
  const auto callback = state->on_parked;
  if (callback) callback(stats);
}

void ThreadLane::set_on_parked(std::function<void(const LaneStats&)> on_parked) {
  state_->on_parked = std::move(on_parked);
}

size_t ThreadLane::Abandoned() { return abandoned_lanes.load(); }

}  // namespace fairlead
