// SPDX-License-Identifier: Apache-2.0
//
// Whole command lines against an agent that answers from a script.
#include "agent/ctl/commands.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <deque>
#include <nlohmann/json.hpp>
#include <sstream>

#include "agent/ctl/options.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ScriptedAgent {
 public:
  // Replies in protobuf text form, one a request; the last one stays.
  std::deque<std::string> replies;
  std::vector<v1::Request> requests;
  bool reachable = true;

  absl::StatusOr<std::string> Answer(std::string_view bytes) {
    if (!reachable) return absl::UnavailableError("nothing answers at ipc:///x");
    v1::Request request;
    EXPECT_TRUE(request.ParseFromString(std::string(bytes)));
    requests.push_back(request);
    v1::Reply reply;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(replies.front(), &reply));
    if (replies.size() > 1) replies.pop_front();
    reply.set_request_id(request.request_id());
    return reply.SerializeAsString();
  }
};

class ScriptedClient final : public Client {
 public:
  explicit ScriptedClient(ScriptedAgent* agent) : agent_(*agent) {}
  absl::StatusOr<std::string> Call(std::string_view payload, std::chrono::milliseconds) override {
    return agent_.Answer(payload);
  }

 private:
  ScriptedAgent& agent_;
};

class Commands : public ::testing::Test {
 protected:
  int Run(std::vector<std::string> args, const std::string& input = "") {
    std::istringstream in(input);
    std::ostringstream out, err;
    CtlWorld world;
    world.in = &in;
    world.out = &out;
    world.err = &err;
    world.connect = [&](const std::string& endpoint) -> absl::StatusOr<std::unique_ptr<Client>> {
      endpoint_ = endpoint;
      return std::make_unique<ScriptedClient>(&agent_);
    };
    world.now = [&] { return now_; };
    world.sleep = [&](std::chrono::milliseconds time) { now_ += time; };
    const int code = RunCtl(std::move(args), world);
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  ScriptedAgent agent_;
  std::string out_, err_, endpoint_;
  std::chrono::steady_clock::time_point now_{};
};

constexpr char kAccepted[] =
    "accepted { items { ref { kind: OBJECT_KIND_PORT id: 'a0' } generation: 2 } }";
constexpr char kPortGone[] = "accepted { items { ref { kind: OBJECT_KIND_PORT id: 'a0' } } }";

std::string Port(const char* state) {
  return std::string(
             "get { objects { object { port { id: 'a0' vm: 'a' vpc: 'red' } } status { "
             "ref { kind: OBJECT_KIND_PORT id: 'a0' } generation: 2 reason: 'why' "
             "permanent: true state: OBJECT_STATE_") +
         state + " } } }";
}

TEST_F(Commands, ApplySendsTheFileAndPrintsWhatWasAccepted) {
  agent_.replies = {kAccepted};
  EXPECT_EQ(Run({"apply", "-f", "-"}, "kind: Vpc\nid: red\nvni: 5\n"), kOk) << err_;
  EXPECT_EQ(out_, "port/a0 accepted, generation 2\n");
  ASSERT_EQ(agent_.requests.size(), 1U);
  EXPECT_EQ(agent_.requests[0].apply().upsert(0).vpc().vni(), 5U);
  EXPECT_EQ(agent_.requests[0].protocol_version(), 1U);
  EXPECT_EQ(agent_.requests[0].controller_id(), "fairleadctl");
  EXPECT_FALSE(agent_.requests[0].dry_run());
}

TEST_F(Commands, ABadFileIsExitCode2AndNothingIsSent) {
  EXPECT_EQ(Run({"apply", "-f", "-"}, "kind: Vpc\nid: red\nvni: x\n"), kUsage);
  EXPECT_THAT(err_, HasSubstr("standard input:3:6: vni must be"));
  EXPECT_EQ(Run({"apply", "-f", "/does/not/exist"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("cannot read /does/not/exist"));
  EXPECT_EQ(Run({"apply", "-f", "/"}), kUsage);
  EXPECT_THAT(agent_.requests, IsEmpty());
}

TEST_F(Commands, ARejectionIsExitCode1AndEveryReasonIsPrinted) {
  agent_.replies = {
      "rejected { violations { path: 'add_vm_to_vpc.mac' code: CODE_INVALID "
      "reason: 'bad' } violations { path: 'add_vm_to_vpc.vpc' reason: 'worse' } }"};
  EXPECT_EQ(Run({"attach", "--vm", "a", "--vpc", "red"}), kRejected);
  EXPECT_EQ(err_, "add_vm_to_vpc.mac: bad\nadd_vm_to_vpc.vpc: worse\n");
  EXPECT_EQ(Run({"attach", "--vm", "a", "--vpc", "red", "-o", "json"}), kRejected);
  EXPECT_EQ(nlohmann::json::parse(out_)["rejected"]["violations"].size(), 2U);
}

TEST_F(Commands, AnAgentThatDoesNotAnswerIsExitCode3) {
  agent_.reachable = false;
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"status"}, {"get", "ports"}, {"describe", "vm/a"}, {"delete", "vm/a"}}) {
    EXPECT_EQ(Run(args), kUnreachable);
    EXPECT_THAT(err_, HasSubstr("nothing answers at ipc:///x"));
  }
}

TEST_F(Commands, AttachSendsEveryOptionAndWaits) {
  agent_.replies = {kAccepted, Port("APPLYING"), Port("READY")};
  EXPECT_EQ(
      Run({"attach",   "--vm",      "a",         "--uuid",    "u",     "--vpc",  "red",
           "--subnet", "s",         "--port",    "a0",        "--mac", "m",      "--address",
           "10.0.0.5", "--network", "converged", "--offload", "must",  "--wait", "--controller",
           "me"}),
      kOk)
      << err_;
  EXPECT_EQ(out_, "port/a0 accepted, generation 2\nready\n");
  ASSERT_EQ(agent_.requests.size(), 3U);
  EXPECT_EQ(agent_.requests[0].controller_id(), "me");
  EXPECT_EQ(agent_.requests[0].add_vm_to_vpc().ShortDebugString(),
            "vm { id: \"a\" uuid: \"u\" } vpc: \"red\" subnet: \"s\" port: \"a0\" mac: \"m\" "
            "addresses: \"10.0.0.5\" network: NETWORK_KIND_CONVERGED offload: OFFLOAD_WISH_MUST");
  EXPECT_NE(agent_.requests[0].request_id(), agent_.requests[1].request_id());
}

TEST_F(Commands, AWaitThatFailsIsExitCode4AndOneThatIsTooLongIs5) {
  agent_.replies = {kAccepted, Port("FAILED")};
  EXPECT_EQ(Run({"attach", "--vm", "a", "--vpc", "red", "--wait"}), kFailed);
  EXPECT_THAT(err_, HasSubstr("port/a0 is failed: why"));
  agent_.replies = {kAccepted, Port("PENDING")};
  EXPECT_EQ(Run({"attach", "--vm", "a", "--vpc", "red", "--wait=2s"}), kTimedOut);
  EXPECT_THAT(err_, HasSubstr("not ready after 2000 ms: port/a0 is pending: why"));
}

TEST_F(Commands, AnAttachThatChangedNothingWaitsForThePortsThatAreThere) {
  agent_.replies = {"accepted { }", Port("READY")};
  EXPECT_EQ(Run({"attach", "--vm", "a", "--vpc", "red", "--wait", "-o", "json"}), kOk) << err_;
  auto json = nlohmann::json::parse(out_);
  EXPECT_EQ(json["waited"]["objects"][0]["status"]["state"], "OBJECT_STATE_READY");
}

TEST_F(Commands, DetachWaitsUntilThePortIsGone) {
  agent_.replies = {kPortGone, Port("REMOVING"), "get { }"};
  EXPECT_EQ(Run({"detach", "--vm", "a", "--vpc", "red", "--wait"}), kOk) << err_;
  EXPECT_EQ(out_, "port/a0 removed\ngone\n");
  EXPECT_EQ(agent_.requests.size(), 3U);
  agent_.replies = {kPortGone, Port("REMOVING")};
  EXPECT_EQ(Run({"detach", "--vm", "a", "--vpc", "red", "--wait=1s"}), kTimedOut);
}

TEST_F(Commands, ADryRunPrintsThePlan) {
  agent_.replies = {"plan { steps { verb: 'create' resource: 'vf/x' } }"};
  EXPECT_EQ(Run({"delete", "port/a0", "vms/a", "--dry-run"}), kOk) << err_;
  EXPECT_EQ(out_, "create vf/x\n");
  EXPECT_TRUE(agent_.requests[0].dry_run());
  EXPECT_EQ(agent_.requests[0].apply().remove(1).kind(), v1::OBJECT_KIND_VM);
}

TEST_F(Commands, GetPrintsATableOrADocument) {
  agent_.replies = {Port("READY")};
  EXPECT_EQ(Run({"get", "ports"}), kOk);
  EXPECT_THAT(out_, HasSubstr("a0  a   red"));
  EXPECT_EQ(Run({"get", "ports", "-o", "json"}), kOk);
  EXPECT_EQ(nlohmann::json::parse(out_)["objects"][0]["object"]["port"]["id"], "a0");
  EXPECT_EQ(Run({"get", "ports", "-o", "yaml"}), kOk);
  EXPECT_THAT(out_, HasSubstr("state: OBJECT_STATE_READY"));
}

TEST_F(Commands, WhatIsNotThereIsExitCode1) {
  agent_.replies = {"get { }"};
  EXPECT_EQ(Run({"get", "ports", "zz"}), kRejected);
  EXPECT_THAT(err_, HasSubstr("port/zz is not there"));
  EXPECT_EQ(Run({"describe", "vm/zz"}), kRejected);
  agent_.replies = {"host { }"};
  EXPECT_EQ(Run({"get", "vfs", "zz"}), kRejected);
  EXPECT_EQ(Run({"describe", "pf/zz"}), kRejected);
  EXPECT_EQ(Run({"get", "vfs"}), kOk);
}

TEST_F(Commands, StatusIsExitCode4WhenNotAllIsWell) {
  agent_.replies = {"host { version: '1' }", Port("READY")};
  EXPECT_EQ(Run({"status"}), kOk) << err_;
  agent_.replies = {"host { version: '1' }", Port("DEGRADED")};
  EXPECT_EQ(Run({"status"}), kFailed);
  EXPECT_THAT(out_, HasSubstr("port/a0 degraded: why"));
}

TEST_F(Commands, AnAnswerOfTheWrongFormIsNoCrash) {
  agent_.replies = {"host { }"};
  EXPECT_EQ(Run({"get", "ports"}), kUnreachable);
  EXPECT_EQ(Run({"detach", "--vm", "a", "--vpc", "b"}), kUnreachable);
  EXPECT_THAT(err_, HasSubstr("something else"));
}

TEST_F(Commands, VersionNeedsNoAgent) {
  agent_.reachable = false;
  EXPECT_EQ(Run({"version"}), kOk);
  EXPECT_THAT(out_, HasSubstr("fairleadctl 0."));
}

}  // namespace
}  // namespace fairlead
