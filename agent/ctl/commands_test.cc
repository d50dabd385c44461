// SPDX-License-Identifier: Apache-2.0
//
// Whole command lines against an agent that answers from a script.
#include "agent/ctl/commands.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <deque>
#include <nlohmann/json.hpp>
#include <sstream>

#include "agent/ctl/fd_stream.h"
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
    std::istringstream text(input);
    FdInputbuf closed(-1);
    std::istream in(input_is_closed_ ? static_cast<std::streambuf*>(&closed) : text.rdbuf());
    std::ostringstream out, err;
    CtlWorld world;
    world.in = &in;
    world.out = &out;
    world.err = &err;
    world.connect = [&](const std::string& endpoint) -> absl::StatusOr<std::unique_ptr<Client>> {
      endpoint_ = endpoint;
      return std::make_unique<ScriptedClient>(&agent_);
    };
    world.subscribe =
        [&](const std::string& endpoint) -> absl::StatusOr<std::unique_ptr<Subscriber>> {
      events_endpoint_ = endpoint;
      return absl::UnavailableError("no events at " + endpoint);
    };
    world.now = [&] { return now_; };
    world.wall = [] { return std::chrono::system_clock::time_point(); };
    world.sleep = [&](std::chrono::milliseconds time) { now_ += time; };
    world.catch_signals = [] {};
    world.stopped = [] { return false; };
    if (output_is_full_) out.setstate(std::ios::badbit);
    world.out_error = [&] { return output_is_full_ ? ENOSPC : 0; };
    const int code = RunCtl(std::move(args), world);
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  ScriptedAgent agent_;
  std::string out_, err_, endpoint_, events_endpoint_;
  bool output_is_full_ = false, input_is_closed_ = false;
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

constexpr char kVfs[] =
    "host { pfs { mac: '52:54:00:00:00:01' netdev: 'pf0' pci: '0000:01:00.0' "
    "vfs { index: 1 pci: '0000:01:00.2' state: 'quarantined' sanitation { verdict: 'quarantined' "
    "findings { what: 'trust' state: 'dirty' value: 'on' } } } } }";

TEST_F(Commands, AVfIsReleasedByAnyOfItsNames) {
  for (const char* name : {"52:54:00:00:00:01/1", "pf0/1", "0000:01:00.2"}) {
    agent_.requests.clear();
    agent_.replies = {kVfs,
                      "vf_released { vf: '52:54:00:00:00:01/1' sanitation { verdict: 'clean' } }"};
    EXPECT_EQ(Run({"vf", "release", name}), kOk) << err_;
    EXPECT_EQ(out_, "vf/52:54:00:00:00:01/1 is free: cleaned, checked again and found clean\n");
    ASSERT_EQ(agent_.requests.size(), 2U);
    EXPECT_EQ(agent_.requests[1].release_vf().vf(), "52:54:00:00:00:01/1");
    EXPECT_FALSE(agent_.requests[1].release_vf().force());
  }
}

TEST_F(Commands, AVfIsReleasedByForceAlsoWhenTheHostDoesNotShowIt) {
  agent_.replies = {kVfs,
                    "vf_released { vf: '52:54:00:00:00:09/0' sanitation { verdict: 'released' "
                    "findings { what: 'mac' state: 'clean' } "
                    "findings { what: 'trust' state: 'dirty' } "
                    "findings { what: 'guid' state: 'unprovable' } } }"};
  EXPECT_EQ(Run({"vf", "release", "--force", "52:54:00:00:00:09/0"}), kOk) << err_;
  EXPECT_EQ(out_, "vf/52:54:00:00:00:09/0 is free: as it is; not proven clean: trust, guid\n");
  EXPECT_TRUE(agent_.requests[1].release_vf().force());
}

TEST_F(Commands, AVfThatIsNotThereIsNotAskedToBeReleased) {
  for (const char* name : {"pf0/99", "pf9/0", "0000:99:00.0", "x"}) {
    agent_.requests.clear();
    agent_.replies = {kVfs};
    EXPECT_EQ(Run({"vf", "release", name}), kRejected);
    EXPECT_THAT(err_, HasSubstr("no VF of this host is '"));
    EXPECT_EQ(agent_.requests.size(), 1U);
  }
}

TEST_F(Commands, ControllersAreListedWithTheirEpochs) {
  agent_.replies = {
      "controllers { controllers { id: 'old' epoch: 3 revision: 8 answers: 2 } most: 256 }"};
  EXPECT_EQ(Run({"controller", "list"}), kOk) << err_;
  EXPECT_TRUE(agent_.requests[0].has_get_controllers());
  EXPECT_EQ(out_,
            "CONTROLLER  EPOCH  REVISION  ANSWERS KEPT\n"
            "old         3      8         2\n"
            "1 of 256 places taken\n");
  EXPECT_EQ(Run({"controller", "list", "-o", "json"}), kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("\"epoch\""));
}

TEST_F(Commands, AControllerIsForgottenByItsIdAndTheEpochThatIsNamed) {
  agent_.replies = {"controller_forgotten { controller { id: 'old' epoch: 3 } }"};
  EXPECT_EQ(Run({"controller", "forget", "old", "--epoch", "3"}), kOk) << err_;
  EXPECT_EQ(agent_.requests[0].forget_controller().id(), "old");
  EXPECT_EQ(agent_.requests[0].forget_controller().epoch(), 3U);
  EXPECT_EQ(out_,
            "controller old is forgotten: whoever speaks next under that id is taken for new\n");
  EXPECT_EQ(Run({"controller", "forget", "old"}), kUsage);
  agent_.replies = {
      "rejected { violations { path: 'forget_controller.epoch' code: CODE_CONFLICT "
      "reason: 'controller old is in epoch 4, not 3' } }"};
  EXPECT_EQ(Run({"controller", "forget", "old", "--epoch", "3"}), kRejected);
  EXPECT_EQ(err_, "controller old is in epoch 4, not 3\n");
}

TEST_F(Commands, AReleaseThatIsRefusedIsExitCode1WithTheReason) {
  agent_.replies = {kVfs,
                    "rejected { violations { path: 'release_vf.vf' code: CODE_CONFLICT "
                    "reason: 'VF x stays quarantined: trust is on' } }"};
  EXPECT_EQ(Run({"vf", "release", "pf0/1"}), kRejected);
  EXPECT_EQ(err_, "VF x stays quarantined: trust is on\n");
  EXPECT_EQ(Run({"vf", "release", "pf0/1", "-o", "json"}), kRejected);
  agent_.replies = {kVfs, kAccepted};
  EXPECT_EQ(Run({"vf", "release", "pf0/1"}), kUnreachable);
  EXPECT_EQ(Run({"vf", "release"}), kUsage);
  EXPECT_EQ(Run({"vf", "release", ""}), kUsage);
  EXPECT_EQ(Run({"vf"}), kUsage);
  EXPECT_EQ(Run({"vf", "free", "pf0/1"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("there is no command 'free'; `fairleadctl vf --help`"));
}

TEST_F(Commands, AVfIsDescribedByKindAndIdOrBothInOneWord) {
  agent_.replies = {kVfs};
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"vf/pf0/1"}, {"vf", "pf0/1"}, {"vfs", "0000:01:00.2"}}) {
    std::vector<std::string> args = {"describe"};
    args.insert(args.end(), words.begin(), words.end());
    EXPECT_EQ(Run(args), kOk) << err_;
    EXPECT_THAT(out_, HasSubstr("dirty, on"));
  }
  EXPECT_EQ(Run({"describe", "vf", "pf0/1", "-o", "json"}), kOk);
  const nlohmann::json vf = nlohmann::json::parse(out_)["vfs"][0];
  EXPECT_EQ(vf["sanitation"]["findings"][0]["state"], "dirty");
  EXPECT_EQ(Run({"describe", "vf", "pf0/1", "pf0/9"}), kRejected);
  EXPECT_THAT(err_, HasSubstr("vf/pf0/9 is not there"));
  EXPECT_EQ(Run({"describe", "vf"}), kUsage);
}

TEST_F(Commands, ABadFileIsExitCode2AndNothingIsSent) {
  EXPECT_EQ(Run({"apply", "-f", "-"}, "kind: Vpc\nid: red\nvni: x\n"), kUsage);
  EXPECT_THAT(err_, HasSubstr("standard input:3:6: vni must be"));
  EXPECT_EQ(Run({"apply", "-f", "/does/not/exist"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("cannot read /does/not/exist"));
  EXPECT_EQ(Run({"apply", "-f", "/"}), kUsage);
  EXPECT_THAT(agent_.requests, IsEmpty());
}

TEST_F(Commands, AnInputThatCannotBeReadIsNotTakenForAnEmptyOne) {
  input_is_closed_ = true;
  EXPECT_EQ(Run({"apply", "-f", "-"}), kUsage);
  EXPECT_EQ(err_, "fairleadctl: cannot read standard input: Bad file descriptor\n");
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

TEST_F(Commands, ARefusalOfAFileNamesItsLine) {
  agent_.replies = {
      "rejected { violations { path: 'apply.upsert[1].port.mac' reason: 'is taken' } "
      "violations { path: 'epoch' reason: 'is old' } violations { reason: 'busy' } }"};
  const std::string file = "kind: Vpc\nid: red\nvni: 5\n---\nkind: Port\nid: a0\nmac: x\n";
  EXPECT_EQ(Run({"apply", "-f", "-"}, file), kRejected);
  EXPECT_EQ(err_, "standard input:7:6: port.mac: is taken\nepoch: is old\nbusy\n");
  // What programs read keeps the path.
  EXPECT_EQ(Run({"apply", "-f", "-", "-o", "json"}, file), kRejected);
  EXPECT_EQ(nlohmann::json::parse(out_)["rejected"]["violations"][0]["path"],
            "apply.upsert[1].port.mac");
}

TEST_F(Commands, AnAgentThatDoesNotAnswerIsExitCode3) {
  agent_.reachable = false;
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"status"},
                                             {"get", "ports"},
                                             {"describe", "vm/a"},
                                             {"delete", "vm/a"},
                                             {"delete", "vm/a", "--ignore-missing"},
                                             {"detach", "--vm", "a", "--vpc", "b"}}) {
    EXPECT_EQ(Run(args), kUnreachable);
    EXPECT_THAT(err_, HasSubstr("nothing answers at ipc:///x"));
  }
}

TEST_F(Commands, AttachSendsEveryOptionAndWaits) {
  agent_.replies = {kAccepted, Port("APPLYING"), Port("READY")};
  EXPECT_EQ(
      Run({"attach",   "--vm",       "a",         "--uuid",    "u",     "--vpc",  "red",
           "--subnet", "s",          "--port",    "a0",        "--mac", "m",      "--address",
           "10.0.0.5", "--network",  "converged", "--offload", "must",  "--wait", "--controller",
           "me",       "--function", "hotplug"}),
      kOk)
      << err_;
  EXPECT_EQ(out_, "port/a0 accepted, generation 2\nready\n");
  ASSERT_EQ(agent_.requests.size(), 3U);
  EXPECT_EQ(agent_.requests[0].controller_id(), "me");
  EXPECT_EQ(agent_.requests[0].add_vm_to_vpc().ShortDebugString(),
            "vm { id: \"a\" uuid: \"u\" } vpc: \"red\" subnet: \"s\" port: \"a0\" mac: \"m\" "
            "addresses: \"10.0.0.5\" network: NETWORK_KIND_CONVERGED offload: OFFLOAD_WISH_MUST "
            "function: FUNCTION_SOURCE_HOTPLUG");
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
  agent_.replies = {Port("READY"), Port("READY"),
                    "plan { steps { verb: 'create' resource: 'vf/x' } }"};
  EXPECT_EQ(Run({"delete", "port/a0", "vms/a", "--dry-run"}), kOk) << err_;
  EXPECT_EQ(out_, "create vf/x\n");
  ASSERT_EQ(agent_.requests.size(), 3U);
  EXPECT_TRUE(agent_.requests[2].dry_run());
  EXPECT_EQ(agent_.requests[2].apply().remove(1).kind(), v1::OBJECT_KIND_VM);
}

TEST_F(Commands, ApplyWaitsForThePortsOfTheFileThatHaveAVm) {
  constexpr char kFile[] =
      "kind: Port\nid: a0\nvm: a\nvpc: red\nsubnet: s\n---\n"
      "kind: Port\nid: lonely\nvpc: red\nsubnet: s\n";
  agent_.replies = {
      "accepted { items { ref { kind: OBJECT_KIND_PORT id: 'a0' } generation: 2 } "
      "items { ref { kind: OBJECT_KIND_PORT id: 'lonely' } generation: 1 } }",
      Port("APPLYING"), Port("READY")};
  EXPECT_EQ(Run({"apply", "-f", "-", "--wait"}, kFile), kOk) << err_;
  EXPECT_EQ(out_, "port/a0 accepted, generation 2\nport/lonely accepted, generation 1\nready\n");
  ASSERT_EQ(agent_.requests.size(), 3U);
  EXPECT_EQ(agent_.requests[1].get().id(), "a0");
  agent_.replies = {kAccepted, Port("FAILED")};
  EXPECT_EQ(Run({"apply", "-f", "-", "--wait"}, kFile), kFailed);
  agent_.replies = {kAccepted, Port("PENDING")};
  EXPECT_EQ(Run({"apply", "-f", "-", "--wait=1s"}, kFile), kTimedOut);
}

TEST_F(Commands, ApplyOfNoPortHasNothingToWaitFor) {
  agent_.replies = {"accepted { items { ref { kind: OBJECT_KIND_VPC id: 'red' } generation: 1 } }"};
  EXPECT_EQ(Run({"apply", "-f", "-", "--wait"}, "kind: Vpc\nid: red\nvni: 5\n"), kOk) << err_;
  EXPECT_EQ(agent_.requests.size(), 1U);
}

TEST_F(Commands, DeleteWaitsUntilAllThatWasNamedIsGone) {
  agent_.replies = {Port("READY"), Port("READY"), kPortGone, Port("REMOVING"), "get { }"};
  EXPECT_EQ(Run({"delete", "--wait", "port/a0", "vm/a"}), kOk) << err_;
  EXPECT_EQ(out_, "port/a0 removed\ngone\n");
  ASSERT_EQ(agent_.requests.size(), 5U);
  EXPECT_EQ(agent_.requests[3].get().kind(), v1::OBJECT_KIND_UNSPECIFIED);
  agent_.replies = {Port("READY"), kPortGone, Port("REMOVING")};
  EXPECT_EQ(Run({"delete", "--wait=1s", "port/a0"}), kTimedOut);
  EXPECT_THAT(err_, HasSubstr("not gone after 1000 ms: port/a0 is removing: why"));
}

TEST_F(Commands, DeleteOfWhatIsNotThereSaysSoAndChangesNothing) {
  agent_.replies = {Port("READY"), "get { }"};
  EXPECT_EQ(Run({"delete", "port/a0", "port/zz"}), kRejected);
  EXPECT_EQ(err_, "fairleadctl: port/zz is not there\nNothing was deleted.\n");
  EXPECT_EQ(agent_.requests.size(), 2U);
  EXPECT_FALSE(agent_.requests.back().has_apply());
  agent_.replies = {"accepted { }"};
  EXPECT_EQ(Run({"delete", "port/zz", "--ignore-missing"}), kOk) << err_;
  EXPECT_EQ(out_, "nothing to change\n");
}

TEST_F(Commands, DetachOfWhatIsNotThereSaysWhat) {
  agent_.replies = {"accepted { }", "get { }"};
  EXPECT_EQ(Run({"detach", "--vm", "zz", "--vpc", "red"}), kRejected);
  EXPECT_EQ(err_, "fairleadctl: vm/zz is not there\n");
  EXPECT_EQ(out_, "");
  const std::string vm = "get { objects { object { vm { id: 'a' } } } }";
  agent_.replies = {"accepted { }", "get { }", vm};
  EXPECT_EQ(Run({"detach", "--vm", "a", "--vpc", "blue", "--wait"}), kRejected);
  EXPECT_EQ(err_, "fairleadctl: vm/a has no port in vpc/blue\n");
  agent_.replies = {"plan { }", "get { }", vm};
  EXPECT_EQ(Run({"detach", "--vm", "a", "--vpc", "blue", "--port", "p", "--dry-run"}), kRejected);
  EXPECT_EQ(err_, "fairleadctl: vm/a has no port/p in vpc/blue\n");
  agent_.replies = {"accepted { }", "get { }"};
  EXPECT_EQ(Run({"detach", "--vm", "zz", "--vpc", "red", "--ignore-missing"}), kOk) << err_;
}

TEST_F(Commands, DetachAskedASecondTimeWaitsForTheRemovalUnderWay) {
  agent_.replies = {"accepted { }", Port("REMOVING"), Port("REMOVING"), "get { }"};
  EXPECT_EQ(Run({"detach", "--vm", "a", "--vpc", "red", "--wait"}), kOk) << err_;
  EXPECT_EQ(out_, "nothing to change\ngone\n");
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

constexpr char kHost[] =
    "host { store_id: 's' pfs { mac: '52:54:00:00:00:01' netdev: 'pf0' vfs { index: 0 pci: "
    "'0000:01:00.1' state: 'free' } vfs { index: 1 pci: '0000:01:00.2' state: 'leased' } } "
    "pfs { mac: '52:54:00:00:00:02' netdev: 'pf1' } }";

TEST_F(Commands, ADocumentOfPfsOrVfsHasOnlyThose) {
  agent_.replies = {kHost};
  EXPECT_EQ(Run({"get", "pfs", "-o", "json"}), kOk) << err_;
  auto json = nlohmann::json::parse(out_);
  EXPECT_EQ(json.size(), 1U);
  ASSERT_EQ(json["pfs"].size(), 2U);
  EXPECT_FALSE(json["pfs"][0].contains("vfs"));
  EXPECT_EQ(json["pfs"][0]["free_vfs"], 1);
  EXPECT_EQ(Run({"get", "pfs", "pf1", "-o", "json"}), kOk) << err_;
  EXPECT_EQ(nlohmann::json::parse(out_)["pfs"].size(), 1U);
  EXPECT_EQ(Run({"get", "vfs", "0000:01:00.2", "-o", "json"}), kOk) << err_;
  json = nlohmann::json::parse(out_);
  EXPECT_EQ(json.size(), 1U);
  ASSERT_EQ(json["vfs"].size(), 1U);
  EXPECT_EQ(json["vfs"][0]["pf"], "52:54:00:00:00:01");
  EXPECT_EQ(json["vfs"][0]["index"], 1);
  for (const char* kind : {"pfs", "vfs"}) {
    EXPECT_EQ(Run({"get", kind, "zz", "-o", "json"}), kRejected);
    EXPECT_EQ(out_, "");
  }
}

TEST_F(Commands, DescribeAsADocumentHasWhatBelongsToItAndWhatToDo) {
  agent_.replies = {
      "get { objects { object { vm { id: 'a' } } status { ref { kind: OBJECT_KIND_VM id: 'a' } "
      "state: OBJECT_STATE_READY } } objects { object { port { id: 'a0' vm: 'a' } } status { "
      "ref { kind: OBJECT_KIND_PORT id: 'a0' } state: OBJECT_STATE_FAILED permanent: true "
      "reason: 'lease a VF: EBUSY' peer_words: 'EBUSY' } } }",
      kHost};
  EXPECT_EQ(Run({"describe", "vm/a", "vf/0000:01:00.1", "-o", "json"}), kOk) << err_;
  auto json = nlohmann::json::parse(out_);
  EXPECT_EQ(json["objects"][0]["object"]["vm"]["id"], "a");
  EXPECT_EQ(json["objects"][0]["holds"][0]["status"]["reason"], "lease a VF: EBUSY");
  EXPECT_EQ(json["vfs"][0]["pf"], "52:54:00:00:00:01");
  agent_.replies = {
      "get { objects { object { port { id: 'a0' vm: 'a' } } status { state: OBJECT_STATE_FAILED "
      "permanent: true reason: 'lease a VF: EBUSY' peer_words: 'EBUSY' } } }"};
  EXPECT_EQ(Run({"describe", "port/a0", "-o", "yaml"}), kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("asked_for: \"lease a VF\""));
  EXPECT_THAT(out_, HasSubstr("next: \"correct what"));
}

TEST_F(Commands, DescribeTellsOfTheOthersWhenOneIsNotThere) {
  agent_.replies = {"get { }", kHost};
  EXPECT_EQ(Run({"describe", "port/zz", "pf/pf0"}), kRejected);
  EXPECT_EQ(err_, "fairleadctl: port/zz is not there\n");
  EXPECT_THAT(out_, HasSubstr("pf/52:54:00:00:00:01"));
}

TEST_F(Commands, OutputThatCannotBeWrittenIsExitCode6) {
  output_is_full_ = true;
  agent_.replies = {Port("READY")};
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"get", "ports"}, {"version"}, {"--help"}}) {
    EXPECT_EQ(Run(args), kOutput);
    EXPECT_EQ(err_, "fairleadctl: the output could not be written: No space left on device\n");
  }
}

TEST_F(Commands, OutputThatCannotBeWrittenDoesNotHideWhatCameFirst) {
  output_is_full_ = true;
  agent_.replies = {"rejected { violations { reason: 'no' } }"};
  EXPECT_EQ(Run({"get", "ports"}), kRejected);
  EXPECT_THAT(err_, HasSubstr("could not be written"));
}

TEST_F(Commands, WatchWithoutEventsIsExitCode3AndNamesTheOption) {
  EXPECT_EQ(Run({"watch", "--endpoint", "ipc:///x/agent.sock"}), kUnreachable);
  EXPECT_EQ(events_endpoint_, "ipc:///x/events.sock");
  EXPECT_THAT(err_, HasSubstr("--events names"));
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
