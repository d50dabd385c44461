// SPDX-License-Identifier: Apache-2.0
//
// Rules as the agent makes them, on representors of the kernel's simulated NIC: as root,
// in a network namespace of its own. Its hardware takes every flower rule on 7.2 and
// none on 6.12, so the same wish ends differently, and each end is tested.
#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/error.h"
#include "agent/ports/devlink/test_netdevsim.h"
#include "agent/ports/netlink/test_namespace.h"
#include "agent/ports/rtnetlink/linux_rtnetlink_port.h"
#include "agent/ports/tc/linux_tc_port.h"
#include "agent/providers/rule_provider.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

constexpr char kRefusal[] = "netdevsim: only offload of BPF classifiers supported";

class RuleProviderLabTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!TestNetdevsim::Available()) GTEST_SKIP() << "this kernel has no netdevsim";
    config_.marks = std::make_shared<OwnMarks>(0x0a1b2c3d);
    table_ = {RuleTable::Kind::kVpcBlock, *Vni::Make(1000)};
    links_ = *LinuxRtnetlinkPort::Create();
    tc_ = *LinuxTcPort::Create();
    provider_.emplace(&config_, /*sysfs=*/nullptr, links_.get(), tc_.get());
    representors_ = MakeRepresentors(&netdevsim_, 2);
    for (const uint32_t ifindex : representors_) {
      ASSERT_TRUE(tc_->AddClsact(ifindex, BlockIndexOf(table_.vni)).ok());
    }
  }
  FlowRule Drop(OffloadWish wish) const {
    FlowRule rule;
    rule.location = {table_, 0, 2000, 1};
    rule.match.dst_mac = MacAddress({2, 0, 0, 0, 0, 1});
    rule.actions = {ActionDrop{}};
    rule.offload = wish;
    return rule;
  }
  // From VF 0 to VF 1.
  FlowRule Deliver(OffloadWish wish) const {
    FlowRule rule = Drop(wish);
    DeviceRef to;
    to.vf.index = 1;
    to.ifindex = representors_[1];
    rule.actions = {ActionRedirect{to}};
    return rule;
  }
  absl::StatusOr<std::optional<ObservedResource>> Make(const FlowRule& rule) {
    RuleProvider::Change change;
    change.rule = rule;
    return provider_->Apply({&change, 1}).front();
  }
  absl::Status Remove(const FlowRule& rule) {
    RuleProvider::Change removal;
    removal.remove = true;
    removal.rule = rule;
    return provider_->Apply({&removal, 1}).front().status();
  }
  std::vector<ObservedRule> Observed(bool counted = true) {
    auto observed = provider_->Observe(table_, counted);
    EXPECT_TRUE(observed.ok()) << observed.status();
    return observed.ok() ? std::move(observed->rules) : std::vector<ObservedRule>();
  }

  ProviderConfig config_;
  RuleTable table_;
  TestNetdevsim netdevsim_;
  std::vector<uint32_t> representors_;
  std::unique_ptr<RtnetlinkPort> links_;
  std::unique_ptr<TcPort> tc_;
  std::optional<RuleProvider> provider_;
};

TEST_F(RuleProviderLabTest, UnderMustARuleIsInHardwareOrRefusedInTheKernelsWords) {
  const FlowRule rule = Drop(OffloadWish::kMust);
  const auto made = Make(rule);
  if (TestNetdevsim::TakesFlower()) {
    ASSERT_TRUE(made.ok()) << made.status();
    ASSERT_TRUE(made->has_value());
    EXPECT_EQ((*made)->hardware, RuleHardware::kInHardware);
    EXPECT_EQ((*made)->in_hw_count, 2u);
    const auto observed = Observed();
    ASSERT_EQ(observed.size(), 1u);
    EXPECT_TRUE(observed[0].seen.ours);
    EXPECT_EQ(observed[0].seen.content_hash, rule.ContentHash());
    EXPECT_EQ(observed[0].seen.in_hw_count, 2u);
    const auto uncounted = Observed(/*counted=*/false);
    ASSERT_EQ(uncounted.size(), 1u);
    EXPECT_EQ(uncounted[0].place, observed[0].place);
    EXPECT_EQ(uncounted[0].seen.content_hash, rule.ContentHash());
    EXPECT_EQ(uncounted[0].seen.hardware, RuleHardware::kInHardware);
    EXPECT_EQ(uncounted[0].seen.in_hw_count, RuleEvidence::kNotCounted);
  } else {
    EXPECT_EQ(ErrnoOf(made.status()), EOPNOTSUPP) << made.status();
    EXPECT_EQ(PeerWords(made.status()), kRefusal);
    EXPECT_THAT(std::string(made.status().message()), HasSubstr("which must run in hardware"));
  }
  const absl::Status removed = Remove(rule);
  EXPECT_TRUE(removed.ok()) << removed;
  EXPECT_TRUE(Observed().empty());
}

// It can be in no hardware but that of the other representors, so it is not refused
// here: the engine judges it by what is shown.
TEST_F(RuleProviderLabTest, ADeliveryUnderMustIsShownWhereItRuns) {
  const auto made = Make(Deliver(OffloadWish::kMust));
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_TRUE(made->has_value());
  const bool hardware = TestNetdevsim::TakesFlower();
  EXPECT_EQ((*made)->hardware, hardware ? RuleHardware::kInHardware : RuleHardware::kSoftware);
  EXPECT_EQ((*made)->in_hw_count, hardware ? 2u : 0u);
}

TEST_F(RuleProviderLabTest, UnderPreferItIsTakenAndShownWhereItRuns) {
  const auto made = Make(Drop(OffloadWish::kPrefer));
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_TRUE(made->has_value());
  const bool hardware = TestNetdevsim::TakesFlower();
  EXPECT_EQ((*made)->hardware, hardware ? RuleHardware::kInHardware : RuleHardware::kSoftware);
  EXPECT_EQ((*made)->in_hw_count, hardware ? 2u : 0u);
}

TEST_F(RuleProviderLabTest, WhatIsNotForHardwareStaysOutOfIt) {
  const auto made = Make(Drop(OffloadWish::kOff));
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ((*made)->hardware, RuleHardware::kSoftware);
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  fairlead::netlink::EnterNewNetworkNamespace();
  return RUN_ALL_TESTS();
}
