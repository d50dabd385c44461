// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/eswitch_provider.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/error.h"
#include "agent/ports/devlink/fake_netdevsim_env.h"
#include "agent/providers/eswitch_contract.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

INSTANTIATE_TEST_SUITE_P(Fake, EswitchContract, ::testing::Values(FakeNetdevsimEnv::Make));

// Writes down what is set, in order.
class Recorder final : public DevlinkPort {
 public:
  explicit Recorder(std::shared_ptr<FakeDevlink> devlink) : port_(std::move(devlink)) {}
  absl::StatusOr<std::vector<DevlinkDevice>> ListDevices() override { return port_.ListDevices(); }
  absl::StatusOr<DevlinkEswitch> GetEswitch(const DevlinkHandle& device) override {
    return port_.GetEswitch(device);
  }
  absl::Status SetEswitch(const DevlinkHandle& device, const DevlinkEswitch& wanted) override {
    set.push_back(wanted.ToString());
    return port_.SetEswitch(device, wanted);
  }
  absl::StatusOr<std::vector<DevlinkPortInfo>> ListPorts(const DevlinkHandle& device) override {
    return port_.ListPorts(device);
  }
  absl::StatusOr<DevlinkPortInfo> GetPort(const DevlinkHandle& device, uint32_t index) override {
    return port_.GetPort(device, index);
  }
  absl::Status SetPortFunction(const DevlinkHandle& device, uint32_t index,
                               const DevlinkPortFunction& wanted) override {
    return port_.SetPortFunction(device, index, wanted);
  }
  absl::StatusOr<std::vector<DevlinkRate>> ListRates(const DevlinkHandle& device) override {
    return port_.ListRates(device);
  }
  absl::Status SetRate(const DevlinkHandle& device, const DevlinkRateId& id,
                       const DevlinkRateSettings& wanted) override {
    return port_.SetRate(device, id, wanted);
  }
  absl::Status AddRateNode(const DevlinkHandle& device, const std::string& name) override {
    return port_.AddRateNode(device, name);
  }
  absl::Status DeleteRateNode(const DevlinkHandle& device, const std::string& name) override {
    return port_.DeleteRateNode(device, name);
  }
  absl::StatusOr<DevlinkInfo> GetInfo(const DevlinkHandle& device) override {
    return port_.GetInfo(device);
  }
  absl::Status Reload(const DevlinkHandle& device) override { return port_.Reload(device); }
  absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(
      std::function<void(const Event&)> on_event) override {
    return port_.Subscribe(std::move(on_event));
  }

  std::vector<std::string> set;

 private:
  FakeDevlinkPort port_;
};

// A ConnectX as mlx5_core drives it.
class ConnectxEswitchTest : public ::testing::Test {
 protected:
  ConnectxEswitchTest() {
    FakeDevlinkOptions options;
    options.handle = nic;
    devlink->AddDevice(options);
    EXPECT_TRUE(devlink->SetVfCount(nic, 2).ok());
  }

  const DevlinkHandle nic{"pci", "0000:01:00.0"};
  std::shared_ptr<FakeNetwork> network = std::make_shared<FakeNetwork>();
  std::shared_ptr<FakeDevlink> devlink = std::make_shared<FakeDevlink>(network);
  Recorder port{devlink};
  EswitchProvider provider{&port};
};

TEST_F(ConnectxEswitchTest, EncapAndInlineModeComeBeforeSwitchdevMode) {
  const EswitchSettings wanted{EswitchMode::kSwitchdev, EswitchInlineMode::kNone,
                               EswitchEncapMode::kNone};
  const auto set = provider.Put(nic, wanted);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(*set, wanted);
  EXPECT_THAT(port.set, ElementsAre("encap none", "mode switchdev")) << "inline mode is none";
}

TEST_F(ConnectxEswitchTest, OnTheWayBackToLegacyModeTheModeComesFirst) {
  ASSERT_TRUE(provider.Put(nic, {EswitchMode::kSwitchdev, {}, EswitchEncapMode::kNone}).ok());
  port.set.clear();
  ASSERT_TRUE(provider.Put(nic, {EswitchMode::kLegacy, {}, EswitchEncapMode::kBasic}).ok());
  EXPECT_THAT(port.set, ElementsAre("mode legacy", "encap basic"));
}

TEST_F(ConnectxEswitchTest, AnInlineModeThatTheNicCannotHaveIsRefusedInItsDriversWords) {
  const absl::Status refused =
      provider.Put(nic, {EswitchMode::kSwitchdev, EswitchInlineMode::kNetwork, {}}).status();
  EXPECT_EQ(PeerWords(refused), "mlx5_core: Inline mode can't be set");
  EXPECT_THAT(port.set, ElementsAre("inline network"));
  EXPECT_EQ(provider.Observe(nic)->settings.mode, EswitchMode::kLegacy);
}

TEST(EswitchProvider, AHostWithoutDevlinkHasNoEswitch) {
  EswitchProvider provider(nullptr);
  const DevlinkHandle nic{"pci", "0000:01:00.0"};
  EXPECT_TRUE(provider.Observe(nic)->settings.empty());
  const absl::Status refused = provider.Put(nic, {EswitchMode::kSwitchdev, {}, {}}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("pci/0000:01:00.0"));
}

}  // namespace
}  // namespace fairlead
