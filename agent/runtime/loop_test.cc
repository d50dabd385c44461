// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/loop.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "agent/base/unique_fd.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;

TEST(LoopTest, FunctionsPostedByManyThreadsRunOnTheLoopInEachOnesOrder) {
  Loop loop;
  const Poster post = loop.poster();
  std::vector<std::vector<int>> seen(4);
  int left = 4;
  const auto loop_thread = std::this_thread::get_id();
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        post([&, t, i] {
          EXPECT_EQ(std::this_thread::get_id(), loop_thread);
          seen[t].push_back(i);
          if (i == 99 && --left == 0) loop.Stop();
        });
      }
    });
  }
  loop.Run();
  for (std::thread& thread : threads) thread.join();
  for (const auto& numbers : seen) {
    ASSERT_EQ(numbers.size(), 100U);
    EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
  }
}

TEST(LoopTest, APosterMayOutliveTheLoop) {
  Poster post;
  auto token = std::make_shared<int>(0);
  {
    Loop loop;
    post = loop.poster();
    post([token] { FAIL() << "the loop never ran"; });
  }
  EXPECT_EQ(token.use_count(), 1);
  post([token] { FAIL() << "there is no loop"; });
  EXPECT_EQ(token.use_count(), 1);
}

TEST(LoopTest, TimersRunInTheOrderOfTheirTimes) {
  Loop loop;
  std::vector<int> ran;
  loop.After(milliseconds(20), [&] {
    ran.push_back(3);
    loop.Stop();
  });
  loop.After(milliseconds(2), [&] { ran.push_back(2); });
  loop.After(milliseconds(1), [&] { ran.push_back(1); });
  std::this_thread::sleep_for(milliseconds(3));  // so that two are due when Run begins
  loop.Run();
  EXPECT_EQ(ran, (std::vector<int>{1, 2, 3}));
}

TEST(LoopTest, ATimerMayStartTheNextOne) {
  Loop loop;
  int ticks = 0;
  std::function<void()> tick = [&] {
    if (++ticks == 3) return loop.Stop();
    loop.After(milliseconds(1), tick);
  };
  loop.After(milliseconds(1), tick);
  loop.Run();
  EXPECT_EQ(ticks, 3);
}

TEST(LoopTest, SignalsArriveAsCallsAndMoreThanOnce) {
  Loop loop;
  std::vector<int> signals;
  ASSERT_TRUE(loop.OnSignals({SIGTERM, SIGINT},
                             [&](int signal) {
                               signals.push_back(signal);
                               if (signals.size() == 2) return loop.Stop();
                               ::raise(SIGINT);
                             })
                  .ok());
  EXPECT_FALSE(loop.OnSignals({SIGHUP}, [](int) {}).ok());
  ::raise(SIGTERM);
  loop.Run();
  EXPECT_EQ(signals, (std::vector<int>{SIGTERM, SIGINT}));
}

TEST(LoopTest, AReadableDescriptorCallsUntilItIsNoLongerWatched) {
  Loop loop;
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd in(ends[0]);
  const UniqueFd out(ends[1]);
  int calls = 0;
  Loop::WatchId id = 0;
  const auto watch = loop.WatchReadable(in.get(), [&] {
    char byte = 0;
    EXPECT_EQ(::read(in.get(), &byte, 1), 1);  // one of two: it must be called again
    if (++calls < 2) return;
    loop.Unwatch(id);
    EXPECT_EQ(::write(out.get(), "c", 1), 1);
    loop.After(milliseconds(1), [&] { loop.Stop(); });
  });
  ASSERT_TRUE(watch.ok()) << watch.status();
  id = *watch;
  ASSERT_EQ(::write(out.get(), "ab", 2), 2);
  loop.Run();
  EXPECT_EQ(calls, 2);
  char byte = 0;
  EXPECT_EQ(::read(in.get(), &byte, 1), 1);  // still open, still the caller's
}

TEST(LoopTest, DestructionWithAWatchLeavesTheDescriptorOpen) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd in(ends[0]);
  const UniqueFd out(ends[1]);
  {
    Loop loop;
    ASSERT_TRUE(loop.WatchReadable(in.get(), [] {}).ok());
    loop.After(std::chrono::hours(1), [] {});
    loop.Poll();
  }
  ASSERT_EQ(::write(out.get(), "a", 1), 1);
  char byte = 0;
  EXPECT_EQ(::read(in.get(), &byte, 1), 1);
}

}  // namespace
}  // namespace fairlead
