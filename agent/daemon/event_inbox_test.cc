// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/event_inbox.h"

#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "dataplane/tc/lower.h"

namespace fairlead {
namespace {

class EventInboxTest : public ::testing::Test {
 protected:
  void RunLoop() {
    for (; !posted_.empty(); posted_.pop_front()) posted_.front()();
  }
  static RtnetlinkEvent Link(uint32_t ifindex, const std::string& name) {
    return {RtnetlinkEvent::Kind::kLinkChanged, ifindex, name, std::nullopt};
  }
  static TcPort::Event Gone(uint32_t handle) {
    TcPort::Event event;
    event.deleted = true;
    event.at = {0x46000001, 0};
    event.id = {0, 100, handle};
    return event;
  }

  static constexpr uint32_t kStore = 0x01020304;

  std::deque<std::function<void()>> posted_;
  std::vector<EventInbox::Batch> got_;
  std::shared_ptr<EventInbox> inbox_ = std::make_shared<EventInbox>(
      kStore, [this](std::function<void()> fn) { posted_.push_back(std::move(fn)); },
      [this](EventInbox::Batch batch) { got_.push_back(std::move(batch)); });
};

TEST_F(EventInboxTest, ABurstIsOneDeliveryWithEachThingOnce) {
  for (int i = 0; i < 1000; ++i) {
    inbox_->Add(Link(7, i % 2 == 0 ? "old" : "new"));
    inbox_->Add(Gone(3));
    inbox_->Add({RtnetlinkEvent::Kind::kNeighbourChanged, 0, "", std::nullopt});
  }
  EXPECT_EQ(posted_.size(), 1U);
  RunLoop();
  ASSERT_EQ(got_.size(), 1U);
  EXPECT_EQ(got_[0].links, (std::map<uint32_t, std::string>{{7, "new"}}));
  EXPECT_EQ(got_[0].rules.size(), 1U);
  EXPECT_TRUE(got_[0].neighbours);
  EXPECT_TRUE(got_[0].lost.empty());
  inbox_->Add(Link(8, "x"));
  RunLoop();
  ASSERT_EQ(got_.size(), 2U);
  EXPECT_FALSE(got_[1].neighbours);
}

// sonic-buildimage 28576: a queue of messages without a bound or a merge grew to 25 GB.
TEST_F(EventInboxTest, MoreThanItHoldsIsSaidToBeLostOfThatSourceAlone) {
  inbox_->Add(Link(7, "eth7"));
  for (uint32_t i = 0; i <= EventInbox::kMost; ++i) inbox_->Add(Gone(i + 1));
  RunLoop();
  ASSERT_EQ(got_.size(), 1U);
  EXPECT_EQ(got_[0].lost, std::set{EventInbox::Source::kRules});
  EXPECT_TRUE(got_[0].rules.empty());
  EXPECT_EQ(got_[0].links, (std::map<uint32_t, std::string>{{7, "eth7"}}));
}

TEST_F(EventInboxTest, WhatASourceToldBesideALossIsNotKeptAndWhatOthersToldIs) {
  inbox_->Add(Link(7, "eth7"));
  inbox_->Add(Gone(1));
  inbox_->Add(RtnetlinkEvent{});
  inbox_->Add(Link(8, "eth8"));
  inbox_->AddLost(EventInbox::Source::kDevices);
  RunLoop();
  ASSERT_EQ(got_.size(), 1U);
  EXPECT_EQ(got_[0].lost, (std::set{EventInbox::Source::kLinks, EventInbox::Source::kDevices}));
  EXPECT_TRUE(got_[0].links.empty()) << "all links are looked at";
  EXPECT_EQ(got_[0].rules.size(), 1U);
}

TEST_F(EventInboxTest, ABurstOfADevlinkDeviceIsOneEntry) {
  const DevlinkHandle nic{"pci", "0000:01:00.0"}, other{"pci", "0000:02:00.0"};
  for (uint32_t i = 0; i < 1000; ++i) {
    DevlinkPort::Event event;
    event.kind =
        i % 2 == 0 ? DevlinkPort::Event::Kind::kPortChanged : DevlinkPort::Event::Kind::kPortGone;
    event.device.handle = nic;
    event.port.emplace();
    event.port->index = i;
    inbox_->Add(event);
  }
  DevlinkPort::Event event;
  event.kind = DevlinkPort::Event::Kind::kDeviceChanged;
  event.device.handle = other;
  inbox_->Add(event);
  EXPECT_EQ(posted_.size(), 1U);
  RunLoop();
  ASSERT_EQ(got_.size(), 1U);
  EXPECT_EQ(got_[0].devlink, (std::set<DevlinkHandle>{nic, other}));
  EXPECT_TRUE(got_[0].lost.empty());
}

TEST_F(EventInboxTest, LostDevlinkEventsAndTooManyAreSaidToBeLost) {
  inbox_->Add(DevlinkPort::Event{});
  RunLoop();
  ASSERT_EQ(got_.size(), 1U);
  EXPECT_EQ(got_[0].lost, std::set{EventInbox::Source::kDevlink});
  for (size_t i = 0; i <= EventInbox::kMost; ++i) {
    DevlinkPort::Event event;
    event.kind = DevlinkPort::Event::Kind::kDeviceGone;
    event.device.handle = {"auxiliary", std::to_string(i)};
    inbox_->Add(event);
  }
  RunLoop();
  ASSERT_EQ(got_.size(), 2U);
  EXPECT_EQ(got_[1].lost, std::set{EventInbox::Source::kDevlink});
  EXPECT_TRUE(got_[1].devlink.empty());
}

TEST_F(EventInboxTest, OfWhatWasAddedOnlySomebodyElsesIsAnEvent) {
  FlowRule rule;
  rule.actions = {ActionDrop{}};
  TcPort::Event event = Gone(1);
  event.deleted = false;
  event.cookie = MakeCookie(kStore, rule);
  inbox_->Add(event);
  EXPECT_TRUE(posted_.empty());
  event.cookie = MakeCookie(kStore + 1, rule);
  inbox_->Add(event);
  event.id.handle = 2;
  event.cookie.reset();
  inbox_->Add(event);
  RunLoop();
  ASSERT_EQ(got_.size(), 1U);
  EXPECT_EQ(got_[0].rules.size(), 2U);
}

TEST_F(EventInboxTest, AVmThatTellsTooMuchIsLookedAtInstead) {
  inbox_->Add("a", {QmpEvent::Kind::kDeviceDeleted, "fl-1"});
  inbox_->Add("a", {QmpEvent::Kind::kUnplugGuestError, "fl-2"});
  for (size_t i = 0; i <= EventInbox::kMostDevices; ++i) {
    inbox_->Add("b", {QmpEvent::Kind::kDeviceDeleted, std::to_string(i)});
  }
  for (int i = 0; i < 1000; ++i) inbox_->Add("c", {QmpEvent::Kind::kRunState, ""});
  inbox_->Add("c", {QmpEvent::Kind::kDisconnected, ""});
  RunLoop();
  ASSERT_EQ(got_.size(), 1U);
  EXPECT_EQ(got_[0].vms["a"].deleted, std::set<std::string>{"fl-1"});
  EXPECT_EQ(got_[0].vms["a"].unplug_errors, std::set<std::string>{"fl-2"});
  EXPECT_FALSE(got_[0].vms["a"].changed);
  EXPECT_TRUE(got_[0].vms["b"].deleted.empty());
  EXPECT_TRUE(got_[0].vms["b"].changed);
  EXPECT_TRUE(got_[0].vms["c"].changed);
  EXPECT_TRUE(got_[0].vms["c"].disconnected);
}

TEST_F(EventInboxTest, AfterCloseNothingIsDelivered) {
  inbox_->Add(Gone(1));
  inbox_->Close();
  RunLoop();
  inbox_->Add(Gone(2));
  RunLoop();
  EXPECT_TRUE(got_.empty());
}

}  // namespace
}  // namespace fairlead
