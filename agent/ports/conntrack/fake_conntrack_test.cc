// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/conntrack/fake_conntrack.h"
#include "agent/ports/conntrack/conntrack_contract.h"

namespace fairlead {
namespace {

class FakeEnv final : public ConntrackEnv {
 public:
  std::unique_ptr<ConntrackPort> Open() override {
    return std::make_unique<FakeConntrackPort>(&conntrack_);
  }
  void Connect(uint16_t zone, const ConnectionTuple& original) override {
    conntrack_.Add(zone, original);
  }

 private:
  FakeConntrack conntrack_;
};

INSTANTIATE_TEST_SUITE_P(Fake, ConntrackContract, ::testing::Values(+[] {
                           return std::unique_ptr<ConntrackEnv>(std::make_unique<FakeEnv>());
                         }));

}  // namespace
}  // namespace fairlead
