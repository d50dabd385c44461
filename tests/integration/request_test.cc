// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: requests that are refused or repeated.
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

class RequestTest : public AgentTest {};

TEST_F(RequestTest, AMacThatAVirtioVfCannotHaveIsRefusedByName) {
  BeginBesideAnother();  // so that the host is known
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:77:77");
  const v1::Reply reply = host->Send(request);
  ASSERT_EQ(reply.rejected().violations_size(), 1) << reply.ShortDebugString();
  EXPECT_EQ(reply.rejected().violations(0).path(), "add_vm_to_vpc.mac");
  EXPECT_EQ(reply.rejected().violations(0).code(), v1::Rejected::CODE_UNSUPPORTED);
  EXPECT_THAT(reply.rejected().violations(0).reason(), HasSubstr("52:54:00:00:01:00"));
}

TEST_F(RequestTest, BadIntentsAreRefusedWithEveryReasonAndChangeNothing) {
  Begin();
  const v1::Reply reply = host->Apply([](v1::Apply& apply) {
    v1::Port* p = apply.add_upsert()->mutable_port();
    p->set_id("x");
    p->set_vpc("green");
    p->set_subnet("red-1");
    p->add_addresses("10.9.9.9");
    p->set_mac("not a mac");
  });
  ASSERT_TRUE(reply.has_rejected());
  EXPECT_GE(reply.rejected().violations_size(), 3) << reply.ShortDebugString();
  EXPECT_FALSE(host->PortStatus("x"));
}

TEST_F(RequestTest, MalformedTruncatedAndOversizedMessagesGetAnAnswerAndLoseNothing) {
  Begin();
  const auto code = [](const v1::Reply& reply) {
    return reply.rejected().violations_size() > 0 ? reply.rejected().violations(0).code()
                                                  : v1::Rejected::CODE_UNSPECIFIED;
  };
  EXPECT_EQ(code(host->SendBytes("\xff\xff\xff garbage")), v1::Rejected::CODE_MALFORMED);
  v1::Request good = host->AddVmRequest("a", "red", "10.0.0.5");
  good.set_protocol_version(1);
  good.set_request_id("t");
  good.set_controller_id("test");
  const std::string bytes = good.SerializeAsString();
  EXPECT_EQ(code(host->SendBytes(bytes.substr(0, bytes.size() - 3))), v1::Rejected::CODE_MALFORMED);
  EXPECT_EQ(code(host->SendBytes(std::string(2 << 20, 'x'))), v1::Rejected::CODE_MALFORMED);
  EXPECT_FALSE(host->PortStatus("a-red"));
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
}

TEST_F(RequestTest, ARepeatedRequestGetsTheSameAnswerAndChangesNothing) {
  Begin();
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.set_request_id("once");
  const v1::Reply first = host->Send(request);
  ASSERT_TRUE(first.has_accepted());
  host->Detach("a", "red");
  const v1::Reply second = host->Send(request);
  EXPECT_EQ(first.SerializeAsString(), second.SerializeAsString());
  host->WaitGone("a-red");
  // The same id for something else would be told "accepted" and be lost.
  v1::Request other = host->AddVmRequest("b", "red", "10.0.0.6");
  other.set_request_id("once");
  const v1::Reply refused = host->Send(other);
  ASSERT_TRUE(refused.has_rejected());
  EXPECT_EQ(refused.rejected().violations(0).path(), "request_id");
}

TEST_F(RequestTest, AnOlderEpochOrRevisionIsRefusedByName) {
  Begin();
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.set_controller_id("sdn");
  request.set_epoch(7);
  request.set_revision(3);
  ASSERT_TRUE(host->Send(request).has_accepted());
  request.set_request_id("later");
  const v1::Reply stale = host->Send(request);
  ASSERT_TRUE(stale.has_rejected());
  EXPECT_EQ(stale.rejected().violations(0).path(), "revision");
  request.set_epoch(6);
  request.set_revision(9);
  const v1::Reply old = host->Send(request);
  ASSERT_TRUE(old.has_rejected());
  EXPECT_EQ(old.rejected().violations(0).path(), "epoch");
  EXPECT_EQ(old.rejected().violations(0).code(), v1::Rejected::CODE_STALE);
  host->Stop();
  host->Start();
  const v1::Reply restarted = host->Send(request);
  ASSERT_TRUE(restarted.has_rejected()) << "a restart forgets no epoch";
  EXPECT_EQ(restarted.rejected().violations(0).path(), "epoch");
}

TEST_F(RequestTest, AnOperatorComesInWhateverAControllerHasDone) {
  Begin();
  const auto vpc = [this](const std::string& controller, int i) {
    v1::Request request;
    request.set_controller_id(controller);
    v1::Vpc* vpc = request.mutable_apply()->add_upsert()->mutable_vpc();
    vpc->set_id(StrCat("v", i));
    vpc->set_vni(5000 + i);
    return host->Send(request);
  };
  int i = 0;
  while (vpc(StrCat("pod-", i), i).has_accepted()) ASSERT_LT(++i, 300);
  const v1::Reply refused = vpc("another", 301);
  ASSERT_TRUE(refused.has_rejected());
  EXPECT_EQ(refused.rejected().violations(0).path(), "controller_id");
  EXPECT_TRUE(vpc("fairleadctl", 302).has_accepted());
}

}  // namespace
}  // namespace fairlead
