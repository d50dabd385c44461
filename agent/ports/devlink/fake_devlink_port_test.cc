// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/devlink/fake_devlink_port.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <stdexcept>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/devlink/devlink_contract.h"
#include "agent/ports/devlink/devlink_rate_contract.h"
#include "agent/ports/devlink/fake_netdevsim_env.h"
#include "agent/ports/tc/fake_tc_port.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = DevlinkPort::Event::Kind;

INSTANTIATE_TEST_SUITE_P(Fake, DevlinkContract, ::testing::Values(FakeNetdevsimEnv::Make));
INSTANTIATE_TEST_SUITE_P(Fake, DevlinkRateContract, ::testing::Values(FakeNetdevsimEnv::Make));

// A ConnectX as mlx5_core drives it.
class FakeMlx5Test : public ::testing::Test {
 protected:
  void SetUp() override {
    FakeDevlinkOptions options;
    options.handle = kPf;
    options.pf = 1;
    devlink_->AddDevice(options);
    ASSERT_TRUE(devlink_->SetVfCount(kPf, 2).ok());
  }
  absl::Status SetMode(EswitchMode mode) {
    DevlinkEswitch wanted;
    wanted.mode = mode;
    return port_.SetEswitch(kPf, wanted);
  }
  absl::Status SetEncap(EswitchEncapMode mode) {
    DevlinkEswitch wanted;
    wanted.encap_mode = mode;
    return port_.SetEswitch(kPf, wanted);
  }
  uint32_t Representor(uint16_t vf) {
    return FindVfRepresentor(*port_.ListPorts(kPf), {.vf = vf, .pf = 1})->ifindex;
  }
  absl::Status PutRule(uint32_t ifindex) {
    TcChange change;
    change.at.ifindex = ifindex;
    change.filter.id = {.chain = 0, .priority = 1, .handle = 1};
    change.filter.actions = {TcGact{}};
    change.filter.flags = TcFilter::Flags::kSkipSw;
    return tc_.Apply(std::span<const TcChange>(&change, 1)).front();
  }

  const DevlinkHandle kPf{"pci", "0000:01:00.1"};
  std::shared_ptr<FakeNetwork> network_ = std::make_shared<FakeNetwork>();
  std::shared_ptr<FakeDevlink> devlink_ = std::make_shared<FakeDevlink>(network_);
  FakeDevlinkPort port_{devlink_};
  FakeTcPort tc_{network_};
};

TEST_F(FakeMlx5Test, RepresentorsAreLinksThatTakeRulesIntoHardware) {
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  const uint32_t ifindex = Representor(1);
  ASSERT_TRUE(tc_.AddClsact(ifindex, 0).ok());
  const absl::Status put = PutRule(ifindex);
  EXPECT_TRUE(put.ok()) << put;
}

TEST_F(FakeMlx5Test, RulesInHardwareHoldTheModeAndTheEncapsulation) {
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  const uint32_t ifindex = Representor(0);
  ASSERT_TRUE(tc_.AddClsact(ifindex, 0).ok());
  ASSERT_TRUE(PutRule(ifindex).ok());
  const absl::Status mode = SetMode(EswitchMode::kLegacy);
  EXPECT_EQ(ErrnoOf(mode), EBUSY) << mode;
  EXPECT_TRUE(IsTransient(mode));
  EXPECT_THAT(PeerWords(mode), HasSubstr("E-Switch is busy"));
  EXPECT_TRUE(SetEncap(EswitchEncapMode::kBasic).ok());  // it is so already
  const absl::Status encap = SetEncap(EswitchEncapMode::kNone);
  EXPECT_EQ(ErrnoOf(encap), EOPNOTSUPP) << encap;
  EXPECT_THAT(PeerWords(encap), HasSubstr("flows are configured"));
  EXPECT_EQ(port_.GetEswitch(kPf)->mode, EswitchMode::kSwitchdev);

  ASSERT_TRUE(tc_.DeleteClsact(ifindex).ok());
  EXPECT_TRUE(SetEncap(EswitchEncapMode::kNone).ok());
  EXPECT_TRUE(SetMode(EswitchMode::kLegacy).ok());
  EXPECT_TRUE(port_.ListPorts(kPf)->empty());
}

TEST_F(FakeMlx5Test, InactiveAndActiveKeepTheRepresentors) {
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdevInactive).ok());
  const auto before = port_.ListPorts(kPf);
  ASSERT_EQ(before->size(), 2u);
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  EXPECT_EQ(*port_.ListPorts(kPf), *before);
}

TEST_F(FakeMlx5Test, WithoutVfsTheModeStays) {
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  ASSERT_TRUE(devlink_->SetVfCount(kPf, 0).ok());
  EXPECT_TRUE(port_.ListPorts(kPf)->empty());
  EXPECT_EQ(port_.GetEswitch(kPf)->mode, EswitchMode::kSwitchdev);
}

TEST_F(FakeMlx5Test, OneNumberOfVfsDoesNotBecomeAnother) {
  EXPECT_EQ(ErrnoOf(devlink_->SetVfCount(kPf, 3)), EBUSY);
  EXPECT_TRUE(devlink_->SetVfCount(kPf, 2).ok());
}

TEST_F(FakeMlx5Test, FunctionsTakeAMacAndRoce) {
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  const uint32_t index = FindVfRepresentor(*port_.ListPorts(kPf), {.vf = 1, .pf = 1})->index;
  DevlinkPortFunction wanted;
  wanted.hw_addr = MacAddress({0x52, 0x54, 0, 0, 0, 9});
  wanted.roce = false;
  ASSERT_TRUE(port_.SetPortFunction(kPf, index, wanted).ok());
  const auto read = port_.GetPort(kPf, index)->function;
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->hw_addr, wanted.hw_addr);
  EXPECT_EQ(read->roce, false);
  wanted.hw_addr = MacAddress({0x01, 0, 0, 0, 0, 9});
  EXPECT_EQ(ErrnoOf(port_.SetPortFunction(kPf, index, wanted)), EINVAL);
  wanted = {};
  wanted.migratable = true;
  EXPECT_THAT(PeerWords(port_.SetPortFunction(kPf, index, wanted)),
              HasSubstr("doesn't support migration"));
}

TEST_F(FakeMlx5Test, ARepresentorThatWasRenamedIsFoundAllTheSame) {
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  const uint32_t ifindex = Representor(1);
  network_->ChangeLink(ifindex, [](LinkInfo& link) { link.name = "other"; });
  EXPECT_EQ(Representor(1), ifindex);
  EXPECT_EQ(FindVfRepresentor(*port_.ListPorts(kPf), {.vf = 1, .pf = 1})->netdev, "other");
}

TEST_F(FakeMlx5Test, FaultsAndTheListOfCallsAreTheNetworks) {
  network_->ClearCalls();
  network_->FailNext("SetEswitch", SystemError(EIO, "a test"));
  EXPECT_EQ(ErrnoOf(SetMode(EswitchMode::kSwitchdev)), EIO);
  EXPECT_EQ(port_.GetEswitch(kPf)->mode, EswitchMode::kLegacy);
  EXPECT_THAT(network_->Calls(),
              ElementsAre("SetEswitch(pci/0000:01:00.1)", "GetEswitch(pci/0000:01:00.1)"));
}

TEST_F(FakeMlx5Test, ASubscriberIsToldOfWhatWasLostAndMayCallThePorts) {
  std::vector<Kind> heard;
  size_t seen = 0;
  auto subscription = port_.Subscribe([&](const DevlinkPort::Event& event) {
    heard.push_back(event.kind);
    seen = port_.ListPorts(kPf)->size();
  });
  ASSERT_TRUE(subscription.ok());
  devlink_->LoseEvents();
  EXPECT_THAT(heard, ElementsAre(Kind::kLost));
  heard.clear();
  ASSERT_TRUE(SetMode(EswitchMode::kSwitchdev).ok());
  // Each without its netdev first, then with it.
  EXPECT_EQ(heard, std::vector<Kind>(4, Kind::kPortChanged));
  EXPECT_EQ(seen, 2u);
  subscription->reset();
  heard.clear();
  ASSERT_TRUE(SetMode(EswitchMode::kLegacy).ok());
  EXPECT_TRUE(heard.empty());
}

}  // namespace
}  // namespace fairlead
