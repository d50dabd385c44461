// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/slow_path/fake_slow_path.h"

#include <gtest/gtest.h>

#include "agent/ports/slow_path/slow_path_contract.h"

namespace fairlead {
namespace {

class FakeHost final : public SlowPathContractHost {
 public:
  FakeHost() { process_.SetAbsent(404); }
  std::unique_ptr<SlowPathSocket> NewSocket() override {
    return std::make_unique<FakeSlowPathSocket>(&process_);
  }
  bool Knows(const SlowPathEntry& entry) override {
    const FakeSlowPath::Entries entries = process_.entries();
    const auto it = entries.find(KeyOf(entry));
    return it != entries.end() && it->second == entry;
  }
  bool Knows(const SlowPathKey& key) override { return process_.entries().contains(key); }
  void Stop() override { process_.SetReachable(false); }
  void Start() override {
    process_.Restart();
    process_.SetReachable(true);
  }

 private:
  FakeSlowPath process_;
};

std::unique_ptr<SlowPathContractHost> MakeFake() { return std::make_unique<FakeHost>(); }
INSTANTIATE_TEST_SUITE_P(Fake, SlowPathContract, ::testing::Values(&MakeFake));

TEST(FakeSlowPathTest, GoesOnWithWhatItKnowsWhileNobodyReachesIt) {
  FakeSlowPath process;
  FakeSlowPathSocket socket(&process);
  const SlowPathNeighbour neighbour{"s", *IpAddress::Parse("10.0.0.7"),
                                    MacAddress({0x52, 0x54, 0, 0, 0, 7})};
  ASSERT_TRUE(socket.TellAll(std::vector<SlowPathEntry>{neighbour}, true, {}).ok());
  process.SetReachable(false);
  EXPECT_FALSE(socket.Tell({}, {}).ok());
  EXPECT_EQ(process.entries().size(), 1U);
  process.SetReachable(true);
  process.SetCounters({.received = 3});
  const auto report = socket.TellAll({}, false, {});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->counters.received, 3U);
  EXPECT_EQ(process.told_all(), 2U);
  EXPECT_EQ(process.told(), 0U);
}

}  // namespace
}  // namespace fairlead
