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

class ControllerTest : public RequestTest {
 protected:
  v1::Reply Vpc(const std::string& controller, uint64_t epoch, const std::string& id = "") {
    v1::Request request;
    request.set_controller_id(controller);
    request.set_epoch(epoch);
    request.set_request_id(id);
    v1::Vpc* vpc = request.mutable_apply()->add_upsert()->mutable_vpc();
    vpc->set_id("of-" + controller);
    const auto number = static_cast<uint32_t>(vnis_.size());
    vpc->set_vni(vnis_.try_emplace(controller, 5000 + number).first->second);
    return host->Send(request);
  }
  static v1::Request ForgetRequest(const std::string& id, uint64_t epoch) {
    v1::Request request;
    request.set_controller_id("fairleadctl");
    request.mutable_forget_controller()->set_id(id);
    request.mutable_forget_controller()->set_epoch(epoch);
    return request;
  }
  v1::Reply Forget(const std::string& id, uint64_t epoch) {
    return host->Send(ForgetRequest(id, epoch));
  }
  std::map<std::string, v1::Controller> Known() {
    v1::Request request;
    request.mutable_get_controllers();
    const v1::Reply reply = host->Send(request);
    EXPECT_EQ(reply.controllers().most(), 256U);
    std::map<std::string, v1::Controller> known;
    for (const auto& controller : reply.controllers().controllers()) {
      known[controller.id()] = controller;
    }
    return known;
  }
  static std::string RefusedPath(const v1::Reply& reply) {
    EXPECT_EQ(reply.rejected().violations_size(), 1) << reply.ShortDebugString();
    return reply.rejected().violations_size() == 1 ? reply.rejected().violations(0).path() : "";
  }

 private:
  std::map<std::string, uint32_t> vnis_;
};

TEST_F(ControllerTest, ThatIsForgottenMakesRoomForAnotherOverARestartToo) {
  Begin();
  int i = 0;
  while (Vpc(StrCat("pod-", i), 0).has_accepted() || i == 0) ASSERT_LT(++i, 300);
  const v1::Reply full = Vpc("another", 1);
  EXPECT_EQ(RefusedPath(full), "controller_id");
  EXPECT_THAT(full.rejected().violations(0).reason(), HasSubstr("fairleadctl controller forget"));
  EXPECT_TRUE(Forget("pod-0", 0).has_controller_forgotten());
  host->Stop();
  host->Start();
  EXPECT_FALSE(Known().contains("pod-0"));
  EXPECT_TRUE(Vpc("another", 1).has_accepted());
}

TEST_F(ControllerTest, ThatIsForgottenIsNewWithItsEpochAndItsAnswers) {
  Begin();
  const v1::Reply first = Vpc("sdn", 7, "the-vpc");
  ASSERT_TRUE(first.has_accepted());
  EXPECT_EQ(RefusedPath(Vpc("sdn", 6)), "epoch");
  const v1::Controller shown = Known()["sdn"];
  EXPECT_EQ(shown.epoch(), 7U);
  EXPECT_EQ(shown.answers(), 1U);
  v1::Request request = ForgetRequest("sdn", 7);
  request.set_request_id("forget-it");
  const v1::Reply forgotten = host->Send(request);
  ASSERT_TRUE(forgotten.has_controller_forgotten()) << forgotten.ShortDebugString();
  EXPECT_EQ(forgotten.controller_forgotten().controller().epoch(), 7U);
  EXPECT_FALSE(Known().contains("sdn"));
  EXPECT_TRUE(host->Status(v1::OBJECT_KIND_VPC, "of-sdn")) << "what was accepted stays";
  EXPECT_EQ(host->Send(request).SerializeAsString(), forgotten.SerializeAsString())
      << "a repetition gets the same answer";
  // As another request: nothing of the first one is known.
  EXPECT_TRUE(Vpc("sdn", 6, "the-vpc").has_accepted());
  EXPECT_EQ(Known()["sdn"].epoch(), 6U);
}

TEST_F(ControllerTest, IsNotForgottenByMistake) {
  Begin();
  ASSERT_TRUE(Vpc("sdn", 7).has_accepted());
  EXPECT_EQ(RefusedPath(Forget("nobody", 0)), "forget_controller.id");
  EXPECT_EQ(RefusedPath(Forget("sdn", 6)), "forget_controller.epoch");
  ASSERT_TRUE(Vpc("sdn", 8).has_accepted());
  const v1::Reply spoke = Forget("sdn", 7);
  EXPECT_EQ(RefusedPath(spoke), "forget_controller.epoch");
  EXPECT_THAT(spoke.rejected().violations(0).reason(), HasSubstr("is in epoch 8, not 7"));
  v1::Request own = ForgetRequest("sdn", 8);
  own.set_controller_id("sdn");
  own.set_epoch(8);
  EXPECT_EQ(RefusedPath(host->Send(own)), "forget_controller.id");
  v1::Request tried = ForgetRequest("sdn", 8);
  tried.set_dry_run(true);
  EXPECT_EQ(RefusedPath(host->Send(tried)), "dry_run");
  v1::Request numbered = ForgetRequest("sdn", 8);
  numbered.set_revision(1);
  EXPECT_EQ(RefusedPath(host->Send(numbered)), "revision");
  EXPECT_EQ(RefusedPath(Vpc("sdn", 7)), "epoch");
}

}  // namespace
}  // namespace fairlead
