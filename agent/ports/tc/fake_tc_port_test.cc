// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/tc/fake_tc_port.h"

#include <errno.h>
#include <gtest/gtest.h>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/tc/tc_contract.h"
#include "agent/ports/tc/tc_offload_contract.h"

namespace fairlead {
namespace {

class FakeEnv final : public TcEnv {
 public:
  TcPort& port() override { return port_; }
  uint32_t AddEthernet(const std::string& name) override {
    LinkInfo info;
    info.name = name;
    return names_[name] = network_->AddLink(info);
  }
  void DeleteEthernet(const std::string& name) override { network_->RemoveLink(names_[name]); }
  void AddIngressQdisc(uint32_t ifindex) override { network_->AddForeignIngress(ifindex); }
  void AddMatchall(uint32_t block, uint16_t priority) override {
    TcFilterInfo info;
    info.id = {.chain = 0, .priority = priority, .handle = 1};
    info.ethertype = 0x0003;
    info.kind = "matchall";
    network_->AddForeignFilter({.block = block, .ifindex = 0}, info);
  }
  void Receive(const std::string& name, const MacAddress& to, int frames) override {
    const auto count = static_cast<uint64_t>(frames);
    const TcAttachPoint at{.block = port_.GetQdisc(names_.at(name))->ingress_block, .ifindex = 0};
    for (const TcFilter& filter : network_->Filters(at)) {
      if (filter.match.dst_mac == to) network_->Count(at, filter.id, {{count, count * 46}, {}});
    }
  }

 private:
  std::shared_ptr<FakeNetwork> network_ = std::make_shared<FakeNetwork>();
  FakeTcPort port_{network_};
  std::map<std::string, uint32_t> names_;
};

INSTANTIATE_TEST_SUITE_P(Fake, TcContract,
                         ::testing::Values([] { return std::make_unique<FakeEnv>(); }));

class FakeOffloadEnv final : public TcOffloadEnv {
 public:
  TcPort& port() override { return port_; }
  uint32_t Representor(uint16_t vf) override {
    const uint32_t ifindex = AddEthernet(StrCat("r", vf));
    network_->SetOffloadCapable(ifindex, true);
    return ifindex;
  }
  uint32_t AddEthernet(const std::string& name) override {
    LinkInfo info;
    info.name = name;
    return network_->AddLink(info);
  }

 private:
  std::shared_ptr<FakeNetwork> network_ = std::make_shared<FakeNetwork>();
  FakeTcPort port_{network_};
};

INSTANTIATE_TEST_SUITE_P(Fake, TcOffloadContract,
                         ::testing::Values([] { return std::make_unique<FakeOffloadEnv>(); }));

class FakeTcPortTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kBlock = 5;
  uint32_t AddLink(const std::string& name, bool offload) {
    LinkInfo info;
    info.name = name;
    const uint32_t ifindex = network_->AddLink(info);
    network_->SetOffloadCapable(ifindex, offload);
    return ifindex;
  }
  absl::Status Put(TcFilter::Flags flags, uint32_t handle = 1) {
    TcChange change;
    change.at.block = kBlock;
    change.filter.id = {.chain = 0, .priority = 1, .handle = handle};
    change.filter.match.dst_mac = MacAddress({2, 0, 0, 0, 0, static_cast<uint8_t>(handle)});
    change.filter.actions = {TcGact{}};
    change.filter.flags = flags;
    return port_.Apply(std::span<const TcChange>(&change, 1)).front();
  }
  absl::StatusOr<std::vector<TcFilterInfo>> Dump() {
    return port_.Dump({.block = kBlock, .ifindex = 0}, TcDumpDetail::kWithHardwareCount);
  }
  std::shared_ptr<FakeNetwork> network_ = std::make_shared<FakeNetwork>();
  FakeTcPort port_{network_};
};

TEST_F(FakeTcPortTest, ADeviceThatIsGoneCountsNoMore) {
  ASSERT_TRUE(port_.AddClsact(AddLink("r0", true), kBlock).ok());
  const uint32_t second = AddLink("r1", true);
  ASSERT_TRUE(port_.AddClsact(second, kBlock).ok());
  ASSERT_TRUE(Put(TcFilter::Flags::kSkipSw).ok());
  EXPECT_EQ(Dump()->front().in_hw_count, 2u);
  network_->RemoveLink(second);
  EXPECT_EQ(Dump()->front().in_hw_count, 1u);
}

TEST_F(FakeTcPortTest, AnInjectedFaultHitsOneChangeOfAMany) {
  ASSERT_TRUE(port_.AddClsact(AddLink("r0", false), kBlock).ok());
  network_->FailWhen([](std::string_view call) { return call.find("handle 2)") != call.npos; },
                     SystemError(ENOMEM, "injected"));
  EXPECT_TRUE(Put(TcFilter::Flags::kNone, 1).ok());
  EXPECT_EQ(ErrnoOf(Put(TcFilter::Flags::kNone, 2)), ENOMEM);
  EXPECT_TRUE(Put(TcFilter::Flags::kNone, 2).ok());
}

TEST_F(FakeTcPortTest, AForeignFilterIsInTheWay) {
  ASSERT_TRUE(port_.AddClsact(AddLink("r0", false), kBlock).ok());
  TcFilterInfo foreign;
  foreign.id = {.chain = 0, .priority = 1, .handle = 1};
  foreign.ethertype = 0x0003;
  foreign.kind = "matchall";
  network_->AddForeignFilter({.block = kBlock, .ifindex = 0}, foreign);
  EXPECT_EQ(ErrnoOf(Put(TcFilter::Flags::kNone)), EINVAL);
  auto dump = Dump();
  ASSERT_EQ(dump->size(), 1u);
  EXPECT_FALSE(dump->front().cookie.has_value());
}

}  // namespace
}  // namespace fairlead
