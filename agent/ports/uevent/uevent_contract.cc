// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/uevent/uevent_contract.h"

#include <gmock/gmock.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace fairlead {
namespace {

constexpr char kLoopback[] = "/devices/virtual/net/lo";

// What a subscription was told of the loopback device, whatever else happens on the host.
class Told {
 public:
  UeventPort::Handler Handler() {
    return [this](const Uevent& event) {
      const std::lock_guard lock(mutex_);
      if (event.devpath == kLoopback) events_.push_back(event);
      changed_.notify_all();
    };
  }
  std::vector<Uevent> WaitFor(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(30), [&] { return events_.size() >= count; });
    return events_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Uevent> events_;
};

Uevent OfLoopback(const std::string& action) {
  Uevent event;
  event.action = action;
  event.devpath = kLoopback;
  event.subsystem = "net";
  return event;
}

}  // namespace

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(UeventContract);

TEST_P(UeventContract, WhatTheKernelSaysComesInOrderWithActionPathAndSubsystem) {
  Told told;
  const auto subscription = host_->port().Subscribe(told.Handler());
  ASSERT_TRUE(subscription.ok()) << subscription.status();
  host_->Say("add");
  host_->Say("remove");
  host_->Say("bind");
  EXPECT_THAT(told.WaitFor(3),
              ::testing::ElementsAre(OfLoopback("add"), OfLoopback("remove"), OfLoopback("bind")));
}

TEST_P(UeventContract, EverySubscriptionIsToldAndOneThatEndedIsNot) {
  Told first, second;
  auto ends = host_->port().Subscribe(first.Handler());
  const auto stays = host_->port().Subscribe(second.Handler());
  ASSERT_TRUE(ends.ok() && stays.ok());
  host_->Say("change");
  EXPECT_EQ(first.WaitFor(1).size(), 1U);
  EXPECT_EQ(second.WaitFor(1).size(), 1U);
  ends->reset();
  host_->Say("change");
  EXPECT_EQ(second.WaitFor(2).size(), 2U);
  EXPECT_EQ(first.WaitFor(1).size(), 1U);
}

}  // namespace fairlead
