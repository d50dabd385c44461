// SPDX-License-Identifier: Apache-2.0
#include "tests/sweep/stepped_scheduler.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "agent/base/text.h"

namespace fairlead {

struct SteppedScheduler::Shared {
  bool ended = false;
  std::deque<std::function<void()>> posted;
  std::multimap<Time, std::function<void()>> timers;
  std::vector<SteppedLane*> lanes;
};

class SteppedScheduler::SteppedLane final : public Lane {
 public:
  SteppedLane(std::string name, SteppedScheduler* scheduler, LaneOptions options)
      : name_(std::move(name)),
        scheduler_(scheduler),
        shared_(scheduler->shared_),
        options_(options) {
    shared_->lanes.push_back(this);
  }
  ~SteppedLane() override { std::erase(shared_->lanes, this); }

  absl::Status Run(std::string what, std::chrono::milliseconds deadline, std::function<void()> work,
                   std::function<void()> done) override {
    if (queue_.size() >= options_.capacity) {
      return absl::ResourceExhaustedError(StrCat("lane ", name_, ": ", what, ": it is full"));
    }
    queue_.push_back({std::move(what), deadline, std::move(work), std::move(done)});
    return absl::OkStatus();
  }

  LaneStats Stats() const override {
    LaneStats stats;
    stats.name = name_;
    stats.queued = queue_.size() - (running() ? 1 : 0);
    stats.parked = parked_;
    if (running()) {
      stats.running = queue_.front().what;
      stats.running_for = Since(*began_);
    }
    return stats;
  }

  void Tick() override {
    if (!running() || parked_ || Since(*began_) <= queue_.front().deadline) return;
    parked_ = true;
    const auto callback = on_parked_;
    if (callback) callback(Stats());
  }

  void set_on_parked(std::function<void(const LaneStats&)> on_parked) override {
    on_parked_ = std::move(on_parked);
  }

  bool running() const { return began_.has_value(); }
  // Whether a step can be taken now: to begin, or to end what is under way.
  bool Ready() const { return running() ? scheduler_->clock_->Now() >= ends_ : !queue_.empty(); }
  std::optional<Time> EndsAt() const {
    return running() ? std::optional<Time>(ends_) : std::nullopt;
  }

  void Step() {
    if (!running()) {
      began_ = ends_ = scheduler_->clock_->Now();
      if (scheduler_->hold_) ends_ += scheduler_->hold_(name_, queue_.front().what);
      if (!Ready()) return;
    }
    Item item = std::move(queue_.front());
    queue_.pop_front();
    LaneStats stats;
    stats.name = name_;
    stats.running = item.what;
    stats.running_for = Since(*began_);
    began_.reset();
    const bool was_parked = std::exchange(parked_, false);
    item.work();
    const std::weak_ptr<bool> alive = alive_;  // its `done` may come after this lane's end
    shared_->posted.push_back([this, alive, was_parked, stats, done = std::move(item.done)] {
      if (alive.expired()) return;
      if (was_parked && on_parked_) {
        const auto callback = on_parked_;
        callback(stats);
        if (alive.expired()) return;
      }
      if (done) done();
    });
  }

 private:
  struct Item {
    std::string what;
    std::chrono::milliseconds deadline;
    std::function<void()> work, done;
  };
  std::chrono::milliseconds Since(Time time) const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(scheduler_->clock_->Now() - time);
  }

  const std::string name_;
  SteppedScheduler* scheduler_;
  std::shared_ptr<Shared> shared_;
  const LaneOptions options_;
  std::deque<Item> queue_;  // the one under way first
  std::optional<Time> began_;
  Time ends_;
  bool parked_ = false;
  std::function<void(const LaneStats&)> on_parked_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

SteppedScheduler::SteppedScheduler(ManualClock* clock, Choose choose, Hold hold)
    : clock_(clock),
      choose_(std::move(choose)),
      hold_(std::move(hold)),
      shared_(std::make_shared<Shared>()) {}

SteppedScheduler::~SteppedScheduler() {
  shared_->ended = true;
  // What they hold may post, and is destroyed with nothing half-gone.
  const auto posted = std::exchange(shared_->posted, {});
  const auto timers = std::exchange(shared_->timers, {});
}

Poster SteppedScheduler::poster() const {
  return [shared = shared_](std::function<void()> fn) {
    if (!shared->ended) shared->posted.push_back(std::move(fn));
  };
}

void SteppedScheduler::After(std::chrono::milliseconds delay, std::function<void()> fn) {
  shared_->timers.emplace(clock_->Now() + delay, std::move(fn));
}

std::unique_ptr<Lane> SteppedScheduler::MakeLane(std::string name, const Clock*,
                                                 LaneOptions options) {
  return std::make_unique<SteppedLane>(std::move(name), this, options);
}

bool SteppedScheduler::Step() {
  std::vector<SteppedLane*> lanes;
  for (SteppedLane* lane : shared_->lanes) {
    if (lane->Ready()) lanes.push_back(lane);
  }
  const bool posted = !shared_->posted.empty();
  const bool timer = !shared_->timers.empty() && shared_->timers.begin()->first <= clock_->Now();
  const size_t count = lanes.size() + (posted ? 1 : 0) + (timer ? 1 : 0);
  if (count == 0) return false;
  size_t chosen = count == 1 ? 0 : choose_(count);
  if (chosen < lanes.size()) {
    lanes[chosen]->Step();
    return true;
  }
  chosen -= lanes.size();
  std::function<void()> fn;
  if (posted && chosen == 0) {
    fn = std::move(shared_->posted.front());
    shared_->posted.pop_front();
  } else {
    fn = std::move(shared_->timers.begin()->second);
    shared_->timers.erase(shared_->timers.begin());
  }
  fn();
  return true;
}

bool SteppedScheduler::Wait(std::chrono::milliseconds most) {
  const Time until = clock_->Now() + most;
  std::optional<Time> next;
  if (!shared_->timers.empty()) next = shared_->timers.begin()->first;
  for (const SteppedLane* lane : shared_->lanes) {
    const std::optional<Time> ends = lane->EndsAt();
    if (ends && (!next || *ends < *next)) next = ends;
  }
  const bool comes = next && *next <= until;
  const Time to = comes ? *next : until;
  if (to > clock_->Now()) clock_->Advance(to - clock_->Now());
  return comes;
}

}  // namespace fairlead
