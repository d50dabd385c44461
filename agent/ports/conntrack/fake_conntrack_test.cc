// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/conntrack/fake_conntrack.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <stdexcept>
#include <string>

#include "agent/base/error.h"
#include "agent/ports/conntrack/conntrack_contract.h"
#include "agent/ports/fault/faulty_ports.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class FakeEnv : public ConntrackEnv {
 public:
  ConntrackPort& port() override { return *port_; }
  void Add(const Connection& connection) override {
    if (auto added = table_.Add(connection); !added.ok()) {
      throw std::runtime_error(added.status().ToString());
    }
  }

 protected:
  FakeConntrack table_;
  std::unique_ptr<ConntrackPort> port_ = std::make_unique<FakeConntrackPort>(&table_);
};

struct NoFaults final : FaultPlan {
  absl::Status Before(const PortCall&) override { return absl::OkStatus(); }
  absl::Status After(const PortCall&) override { return absl::OkStatus(); }
  bool Tells(std::string_view) override { return true; }
};

// A plan without faults changes nothing.
class WrappedEnv final : public FakeEnv {
 public:
  WrappedEnv() { port_ = WithFaults(std::move(port_), &plan_); }

 private:
  NoFaults plan_;
};

INSTANTIATE_TEST_SUITE_P(Fake, ConntrackContract,
                         ::testing::Values([] { return std::make_unique<FakeEnv>(); }));
INSTANTIATE_TEST_SUITE_P(Wrapped, ConntrackContract,
                         ::testing::Values([] { return std::make_unique<WrappedEnv>(); }));

Connection Sample(uint16_t port) {
  Connection connection;
  connection.zone = 5;
  connection.original.src = connection.reply.dst = *IpAddress::Parse("10.0.0.1");
  connection.original.dst = connection.reply.src = *IpAddress::Parse("10.0.0.2");
  connection.original.protocol = connection.reply.protocol = IPPROTO_UDP;
  connection.original.src_port = connection.reply.dst_port = port;
  connection.original.dst_port = connection.reply.src_port = 53;
  return connection;
}

class FakeConntrackTest : public ::testing::Test {
 protected:
  std::shared_ptr<FakeNetwork> network_ = std::make_shared<FakeNetwork>();
  FakeConntrack table_{network_};
  FakeConntrackPort port_{&table_};
};

TEST_F(FakeConntrackTest, TwoOfAZoneShareNoTuple) {
  ASSERT_TRUE(table_.Add(Sample(1)).ok());
  EXPECT_EQ(ErrnoOf(table_.Add(Sample(1)).status()), EEXIST);
  Connection back = Sample(2);
  back.reply = Sample(1).original;
  EXPECT_EQ(ErrnoOf(table_.Add(back).status()), EEXIST);
  EXPECT_THAT(table_.In(5), SizeIs(1));
}

TEST_F(FakeConntrackTest, OneOfBothDirectionsIsAddedOnce) {
  ConnectionTuple tuple = Sample(1).original;
  tuple.protocol = IPPROTO_TCP;
  table_.Add(5, tuple);
  const Connection first = table_.In(5).front();
  EXPECT_EQ(first.reply, ReplyOf(tuple));
  EXPECT_EQ(first.tcp_state, "ESTABLISHED");
  EXPECT_TRUE(first.seen_reply && first.assured && first.confirmed);
  table_.Add(5, tuple);
  EXPECT_THAT(table_.In(5), ElementsAre(first));
  ConnectionTuple ping = tuple;
  ping.protocol = IPPROTO_ICMP;
  ping.icmp_type = 8;
  EXPECT_EQ(ReplyOf(ping).icmp_type, 0);
  ping.protocol = IPPROTO_ICMPV6;
  ping.icmp_type = 128;
  EXPECT_EQ(ReplyOf(ping).icmp_type, 129);
  EXPECT_EQ(ReplyOf(ping).src, ping.dst);
}

TEST_F(FakeConntrackTest, ANewOneHasAnIdOfItsOwn) {
  const auto first = table_.Add(Sample(1));
  ASSERT_TRUE(first.ok());
  table_.Remove(5, Sample(1).original);
  EXPECT_THAT(table_.In(5), IsEmpty());
  const auto second = table_.Add(Sample(1));
  ASSERT_TRUE(second.ok());
  EXPECT_NE(*first, *second);
  EXPECT_EQ((*port_.Find(5, Sample(1).reply))->id, *second);
  table_.Remove(5, Sample(2).original);  // nothing
}

TEST_F(FakeConntrackTest, WhatChangesIsSeenAndTheTuplesStay) {
  ASSERT_TRUE(table_.Add(Sample(1)).ok());
  const uint32_t id = table_.In(5).front().id;
  table_.Change(5, Sample(1).original, [](Connection& c) {
    c.offloaded = c.in_hardware = true;
    c.id = 99;
    c.reply = {};
  });
  table_.Change(5, Sample(2).original, [](Connection&) { FAIL() << "it is not there"; });
  Connection want = Sample(1);
  want.offloaded = want.in_hardware = true;
  want.id = id;
  EXPECT_THAT(*port_.Dump(5), ElementsAre(want));
}

TEST_F(FakeConntrackTest, CallsAndFaultsAreTheNetworks) {
  ASSERT_TRUE(table_.Add(Sample(1)).ok());
  network_->FailNext("Delete", SystemError(ENOBUFS, "delete"));
  const Connection one = table_.In(5).front();
  const Connection both[] = {one, one};
  const auto results = port_.Delete(both);
  EXPECT_EQ(ErrnoOf(results[0]), ENOBUFS);
  EXPECT_TRUE(results[1].ok());
  network_->FailNext("Dump", absl::UnavailableError("ask again"));
  EXPECT_TRUE(absl::IsUnavailable(port_.Dump(5).status()));
  EXPECT_FALSE(port_.Find(5, one.original)->has_value());
  EXPECT_THAT(network_->Calls(),
              ElementsAre("Delete(zone 5 UDP 10.0.0.1:1 -> 10.0.0.2:53)",
                          "Delete(zone 5 UDP 10.0.0.1:1 -> 10.0.0.2:53)", "Dump(zone 5)",
                          "Find(zone 5 UDP 10.0.0.1:1 -> 10.0.0.2:53)"));
}

// The first change of what passes by it is refused; it is told of each call.
struct OneFault final : FaultPlan {
  absl::Status Before(const PortCall& call) override {
    calls.push_back(call.ToString());
    return call.changes && calls.size() == 2 ? absl::UnavailableError("no") : absl::OkStatus();
  }
  absl::Status After(const PortCall&) override { return absl::OkStatus(); }
  bool Tells(std::string_view) override { return true; }
  std::vector<std::string> calls;
};

TEST_F(FakeConntrackTest, APlanComesBetweenAnyTwoDeletions) {
  ASSERT_TRUE(table_.Add(Sample(1)).ok());
  ASSERT_TRUE(table_.Add(Sample(2)).ok());
  OneFault plan;
  const auto port = WithFaults(std::make_unique<FakeConntrackPort>(&table_), &plan);
  const auto all = port->Dump(5);
  ASSERT_THAT(*all, SizeIs(2));
  const auto results = port->Delete(*all);
  EXPECT_TRUE(absl::IsUnavailable(results[0]));
  EXPECT_TRUE(results[1].ok());
  EXPECT_THAT(table_.In(5), ElementsAre((*all)[0]));
  EXPECT_THAT(plan.calls, ElementsAre("conntrack Dump(zone 5)",
                                      "conntrack Delete(zone 5 UDP 10.0.0.1:1 -> 10.0.0.2:53)",
                                      "conntrack Delete(zone 5 UDP 10.0.0.1:2 -> 10.0.0.2:53)"));
}

}  // namespace
}  // namespace fairlead
