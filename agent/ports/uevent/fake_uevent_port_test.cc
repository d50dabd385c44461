// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/uevent/fake_uevent_port.h"

#include <gtest/gtest.h>

#include <vector>

#include "agent/ports/uevent/uevent_contract.h"

namespace fairlead {
namespace {

class FakeHostOfUevents final : public UeventContractHost {
 public:
  UeventPort& port() override { return port_; }
  void Say(const std::string& action) override {
    uevents_.Emit(action, "/devices/virtual/net/lo", "net");
  }

 private:
  FakeUevents uevents_;
  FakeUeventPort port_{&uevents_};
};

std::unique_ptr<UeventContractHost> MakeFake() { return std::make_unique<FakeHostOfUevents>(); }
INSTANTIATE_TEST_SUITE_P(Fake, UeventContract, ::testing::Values(&MakeFake));

TEST(FakeUeventPortTest, LostMessagesAreTold) {
  FakeUevents uevents;
  FakeUeventPort port(&uevents);
  std::vector<Uevent> told;
  const auto subscription = port.Subscribe([&told](const Uevent& event) { told.push_back(event); });
  ASSERT_TRUE(subscription.ok());
  uevents.Lose();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_TRUE(told[0].lost);
}

}  // namespace
}  // namespace fairlead
