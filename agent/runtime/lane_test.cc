// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/lane.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace fairlead {
namespace {

using std::chrono::milliseconds;

// The loop's end of a poster, run by the test's thread.
class Inbox {
 public:
  Poster poster() {
    return [this](std::function<void()> fn) {
      const std::lock_guard lock(mutex_);
      functions_.push_back(std::move(fn));
      there_.notify_one();
    };
  }
  void RunOne() {
    std::function<void()> fn;
    {
      std::unique_lock lock(mutex_);
      there_.wait(lock, [this] { return !functions_.empty(); });
      fn = std::move(functions_.front());
      functions_.pop_front();
    }
    fn();
  }
  size_t size() {
    const std::lock_guard lock(mutex_);
    return functions_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable there_;
  std::deque<std::function<void()>> functions_;
};

// Work that says that it began, and ends when told to. The work may outlive it.
class Gate {
 public:
  std::function<void()> Work() {
    return [state = state_] {
      state->began.set_value();
      state->end.get_future().wait();
    };
  }
  void AwaitBegin() { state_->began.get_future().wait(); }
  void Open() { state_->end.set_value(); }

 private:
  struct State {
    std::promise<void> began;
    std::promise<void> end;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

class LaneTest : public ::testing::Test {
 protected:
  std::unique_ptr<Lane> Make(const std::string& name, LaneOptions options = {}) {
    return std::make_unique<ThreadLane>(name, inbox_.poster(), &clock_, options);
  }

  ManualClock clock_;
  Inbox inbox_;
  const milliseconds long_{60000};
};

TEST_F(LaneTest, WorkRunsInOrderAndItsEndIsToldOnTheLoop) {
  auto lane = Make("pf0");
  std::vector<int> worked;
  std::vector<int> told;
  std::atomic<int> count{0};
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(lane->Run(
                        "step", long_,
                        [&, i] {
                          worked.push_back(i);
                          ++count;
                        },
                        [&, i] {
                          told.push_back(i);
                          EXPECT_GE(count, static_cast<int>(told.size()));
                        })
                    .ok());
  }
  const auto loop_thread = std::this_thread::get_id();
  for (int i = 0; i < 200; ++i) inbox_.RunOne();
  EXPECT_EQ(std::this_thread::get_id(), loop_thread);
  std::vector<int> all(200);
  for (int i = 0; i < 200; ++i) all[static_cast<size_t>(i)] = i;
  EXPECT_EQ(worked, all);
  EXPECT_EQ(told, all);
}

// A hung NIC never delays another NIC's ports.
TEST_F(LaneTest, AHungLaneDoesNotHoldUpAnother) {
  auto hung = Make("pf0");
  auto other = Make("pf1");
  Gate gate;
  ASSERT_TRUE(hung->Run("hang", long_, gate.Work(), nullptr).ok());
  gate.AwaitBegin();
  bool told = false;
  ASSERT_TRUE(other
                  ->Run(
                      "go", long_, [] {}, [&] { told = true; })
                  .ok());
  inbox_.RunOne();
  EXPECT_TRUE(told);
  EXPECT_EQ(hung->Stats().running, "hang");
  gate.Open();
}

TEST_F(LaneTest, AFullQueueSaysSo) {
  auto lane = Make("pf0", {.capacity = 2});
  Gate gate;
  ASSERT_TRUE(lane->Run("slow", long_, gate.Work(), nullptr).ok());
  gate.AwaitBegin();
  ASSERT_TRUE(lane->Run(
                      "a", long_, [] {}, nullptr)
                  .ok());
  ASSERT_TRUE(lane->Run(
                      "b", long_, [] {}, nullptr)
                  .ok());
  bool ran = false;
  const absl::Status full = lane->Run(
      "c", long_, [&] { ran = true; }, [&] { ran = true; });
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), ::testing::HasSubstr("under way: slow"));
  EXPECT_EQ(lane->Stats().queued, 2U);
  gate.Open();
  for (int i = 0; i < 3; ++i) inbox_.RunOne();
  EXPECT_TRUE(lane->Run(
                      "d", long_, [] {}, nullptr)
                  .ok());
  inbox_.RunOne();
  EXPECT_FALSE(ran);
}

TEST_F(LaneTest, WorkPastItsDeadlineIsSaidToBeParkedOnceAndThenUnparked) {
  auto lane = Make("pf0");
  std::vector<LaneStats> said;
  lane->set_on_parked([&](const LaneStats& stats) { said.push_back(stats); });
  Gate gate;
  std::vector<std::string> order;
  ASSERT_TRUE(lane->Run("bind", milliseconds(100), gate.Work(),
                        [&] { order.push_back("done after " + std::to_string(said.size())); })
                  .ok());
  gate.AwaitBegin();
  clock_.Advance(milliseconds(100));
  lane->Tick();
  EXPECT_TRUE(said.empty());  // at the deadline, not past it
  clock_.Advance(milliseconds(1));
  lane->Tick();
  lane->Tick();
  ASSERT_EQ(said.size(), 1U);
  EXPECT_TRUE(said[0].parked);
  EXPECT_EQ(said[0].running, "bind");
  EXPECT_EQ(said[0].running_for, milliseconds(101));
  EXPECT_TRUE(lane->Stats().parked);
  gate.Open();
  inbox_.RunOne();
  ASSERT_EQ(said.size(), 2U);
  EXPECT_FALSE(said[1].parked);
  EXPECT_EQ(said[1].running, "bind");
  EXPECT_THAT(order, ::testing::ElementsAre("done after 2"));
  EXPECT_FALSE(lane->Stats().parked);
}

TEST_F(LaneTest, TimeInTheQueueDoesNotCountAgainstTheDeadline) {
  auto lane = Make("pf0");
  int parked = 0;
  lane->set_on_parked([&](const LaneStats& stats) { parked += stats.parked ? 1 : 0; });
  Gate first;
  Gate second;
  ASSERT_TRUE(lane->Run("first", long_, first.Work(), nullptr).ok());
  ASSERT_TRUE(lane->Run("second", milliseconds(100), second.Work(), nullptr).ok());
  first.AwaitBegin();
  clock_.Advance(milliseconds(5000));
  lane->Tick();
  first.Open();
  inbox_.RunOne();
  second.AwaitBegin();
  lane->Tick();
  EXPECT_EQ(parked, 0);
  clock_.Advance(milliseconds(101));
  lane->Tick();
  EXPECT_EQ(parked, 1);
  second.Open();
  inbox_.RunOne();
}

TEST_F(LaneTest, DestructionAwaitsWhatRunsAndTellsNothingAnyMore) {
  auto token = std::make_shared<int>(0);
  bool told = false;
  bool finished = false;
  Gate gate;
  auto lane = Make("pf0", {.abandon_after = milliseconds(60000)});
  ASSERT_TRUE(lane->Run(
                      "slow", long_,
                      [&, work = gate.Work()] {
                        work();
                        finished = true;
                      },
                      [&, token] { told = true; })
                  .ok());
  gate.AwaitBegin();
  ASSERT_TRUE(lane->Run(
                      "queued", long_, [token] {}, [&, token] { told = true; })
                  .ok());
  const size_t abandoned = ThreadLane::Abandoned();
  std::thread opener([&gate] { gate.Open(); });
  lane.reset();
  opener.join();
  while (inbox_.size() > 0) inbox_.RunOne();
  EXPECT_TRUE(finished);
  EXPECT_FALSE(told);
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_EQ(ThreadLane::Abandoned(), abandoned);
}

TEST_F(LaneTest, ADoneThatIsOnItsWayDoesNotRunAfterDestruction) {
  auto lane = Make("pf0");
  bool told = false;
  ASSERT_TRUE(lane->Run(
                      "a", long_, [] {}, [&] { told = true; })
                  .ok());
  while (inbox_.size() == 0) std::this_thread::yield();
  lane.reset();
  inbox_.RunOne();
  EXPECT_FALSE(told);
}

TEST_F(LaneTest, ALaneWhoseWorkNeverEndsIsAbandonedDropsItsQueueAndPostsNothing) {
  const size_t before = ThreadLane::Abandoned();
  auto gate = std::make_shared<Gate>();
  auto token = std::make_shared<int>(0);
  std::promise<void> over;
  {
    auto lane = Make("pf0", {.abandon_after = milliseconds(1)});
    ASSERT_TRUE(lane->Run(
                        "hang", long_,
                        [gate, &over] {
                          gate->Work()();
                          over.set_value();
                        },
                        [token] {})
                    .ok());
    gate->AwaitBegin();
    ASSERT_TRUE(lane->Run(
                        "queued", long_, [token] { FAIL(); }, [token] { FAIL(); })
                    .ok());
  }
  EXPECT_EQ(ThreadLane::Abandoned(), before + 1);
  EXPECT_EQ(token.use_count(), 1);  // all was destroyed here, not over there
  gate->Open();
  over.get_future().wait();
  EXPECT_EQ(inbox_.size(), 0U);
}

TEST_F(LaneTest, ALaneMayBeDestroyedByItsOwnDone) {
  auto lane = Make("pf0");
  ASSERT_TRUE(lane->Run(
                      "last", long_, [] {}, [&] { lane.reset(); })
                  .ok());
  inbox_.RunOne();
  EXPECT_EQ(lane, nullptr);
}

// SIGTERM is for the loop, and must not end a system call of the lane early.
TEST_F(LaneTest, SignalsAreBlockedInTheLaneOnly) {
  auto lane = Make("pf0");
  sigset_t inside;
  sigemptyset(&inside);
  ASSERT_TRUE(lane->Run(
                      "mask", long_, [&] { pthread_sigmask(SIG_SETMASK, nullptr, &inside); }, [] {})
                  .ok());
  inbox_.RunOne();
  EXPECT_EQ(sigismember(&inside, SIGTERM), 1);
  sigset_t outside;
  pthread_sigmask(SIG_SETMASK, nullptr, &outside);
  EXPECT_EQ(sigismember(&outside, SIGTERM), 0);
}

}  // namespace
}  // namespace fairlead
