// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: dry runs show what would be done and do nothing.
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class DryRunTest : public AgentTest {
 protected:
  static std::string Steps(const v1::Plan& plan) {
    std::string steps;
    for (const v1::Plan::Step& step : plan.steps()) {
      StrAppend(&steps, step.verb(), " ", step.resource(), "\n");
    }
    return steps;
  }
};

TEST_F(DryRunTest, ADryRunShowsTheStepsAndTakesNone) {
  Begin();
  host->AddVm("a");
  const std::string before = Quiet();
  host->network->ClearCalls();
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.set_dry_run(true);
  const v1::Reply reply = host->Send(request);
  ASSERT_TRUE(reply.has_plan()) << reply.ShortDebugString();
  EXPECT_THAT(Steps(reply.plan()),
              AllOf(HasSubstr("create tunnel/"), HasSubstr("create representor/"),
                    HasSubstr("create flow-rule/"), HasSubstr("create driver-binding/"),
                    HasSubstr("create guest-device/a/a-red")));
  EXPECT_EQ(reply.plan().blocked_size(), 0) << reply.ShortDebugString();
  std::vector<std::string> stored;
  for (const v1::Accepted::Item& item : reply.plan().accepted().items()) {
    stored.push_back(StrCat(item.ref().id(), " ", item.generation()));
  }
  EXPECT_THAT(stored, ::testing::ElementsAre("a 1", "a-red 1"));
  EXPECT_EQ(host->Leftovers(), before);
  EXPECT_FALSE(host->PortStatus("a-red"));
  ExpectNetworkUntouched();
}

TEST_F(DryRunTest, ADryRunSaysWhatIsInTheWay) {
  Begin();
  Quiet();
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.set_dry_run(true);
  const v1::Reply reply = host->Send(request);
  ASSERT_TRUE(reply.has_plan()) << reply.ShortDebugString();
  ASSERT_GE(reply.plan().blocked_size(), 1);
  bool named = false;
  for (const v1::ObjectStatus& blocked : reply.plan().blocked()) {
    named = named || blocked.reason().find("/vms/a.qmp") != std::string::npos;
  }
  EXPECT_TRUE(named) << reply.ShortDebugString();
}

// To ask under the other UUID would end the conversation with a VM that has our
// device, and lose its events.
TEST_F(DryRunTest, AnotherUuidForAVmWithOurDeviceLeavesItsMonitorAlone) {
  Begin();
  Quiet();
  const auto vm = Attached("a", "red", "10.0.0.5");
  const std::string before = host->Leftovers();
  host->network->ClearCalls();
  const int connects = vm->Calls(QmpMethod::kConnect);
  v1::Request request;
  request.set_dry_run(true);
  v1::Vm* other = request.mutable_apply()->add_upsert()->mutable_vm();
  other->set_id("a");
  other->set_uuid("11111111-2222-4333-8444-555555555555");
  const v1::Reply reply = host->Send(request);
  ASSERT_TRUE(reply.has_plan()) << reply.ShortDebugString();
  EXPECT_THAT(Steps(reply.plan()),
              AllOf(HasSubstr("delete guest-device/a/a-red"), HasSubstr("delete driver-binding/"),
                    HasSubstr("delete flow-rule/"), HasSubstr("delete representor/"),
                    Not(HasSubstr("create guest-device/"))))
      << "the new VM was not asked";
  EXPECT_EQ(vm->Calls(QmpMethod::kConnect), connects);
  EXPECT_TRUE(vm->has_session());
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0);
  EXPECT_EQ(host->Leftovers(), before);
  ExpectNetworkUntouched();
  EXPECT_EQ(host->PortStatus("a-red")->state(), v1::OBJECT_STATE_READY);
}

// The host's only VF is free again in the plan before the port needs it in its new VPC.
TEST_F(DryRunTest, APortThatMovesMayGetTheVfThatItHad) {
  Begin({.vfs = 1});
  Attached("a", "red", "10.0.0.5");
  v1::Request request;
  request.set_dry_run(true);
  FillPort(*request.mutable_apply(), "a-red", "a", "blue")->add_addresses("10.0.0.5");
  const v1::Reply reply = host->Send(request);
  ASSERT_TRUE(reply.has_plan()) << reply.ShortDebugString();
  EXPECT_EQ(reply.plan().blocked_size(), 0) << reply.ShortDebugString();
  EXPECT_THAT(Steps(reply.plan()),
              AllOf(HasSubstr("delete driver-binding/"), HasSubstr("create driver-binding/")));
}

}  // namespace
}  // namespace fairlead
