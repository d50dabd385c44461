// SPDX-License-Identifier: Apache-2.0
//
// What `fairleadctl __complete` offers. The scripts themselves run in
// shell_test.cc.
#include "agent/ctl/completion.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "agent/ctl/command_tree.h"
#include "agent/ctl/commands.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class FixedClient final : public Client {
 public:
  absl::StatusOr<std::string> Call(std::string_view payload,
                                   std::chrono::milliseconds timeout) override {
    EXPECT_LE(timeout, kAgentTime);
    v1::Request request;
    EXPECT_TRUE(request.ParseFromString(std::string(payload)));
    v1::Reply reply;
    const char* text =
        request.has_get_host()
            ? "host { pfs { mac: '52:54:00:00:00:01' netdev: 'pf0' pci: '0000:01:00.0' "
              "vfs { pci: '0000:01:00.1' } } "
              "pfs { mac: '0000:00:04.0' pci: '0000:00:04.0' name: 'dpu0' hotplug: 'mac' } }"
        : request.get().kind() == v1::OBJECT_KIND_PORT
            ? "get { objects { object { port { id: 'web-0' } } } "
              "objects { object { port { id: 'db-0' } } } "
              "objects { object { port { id: 'x$(reboot)' } } } "
              "objects { status { ref { kind: OBJECT_KIND_PORT id: 'leaving' } } } }"
            : "get { objects { object { vm { id: 'web' } } } }";
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &reply));
    reply.set_request_id(request.request_id());
    return reply.SerializeAsString();
  }
};

class Completion : public ::testing::Test {
 protected:
  std::string Offered(std::vector<std::string> words) {
    CtlWorld world;
    world.defaults = defaults_;
    world.connect = [&](const std::string& endpoint) -> absl::StatusOr<std::unique_ptr<Client>> {
      endpoint_ = endpoint;
      if (!reachable_) return absl::UnavailableError("nobody there");
      return std::make_unique<FixedClient>();
    };
    return Complete(words, world);
  }

  Defaults defaults_;
  bool reachable_ = true;
  std::string endpoint_;
};

TEST_F(Completion, OffersCommandsWithWhatTheyDo) {
  EXPECT_THAT(Offered({""}), HasSubstr("attach\tAdd a VM to a VPC\n"));
  EXPECT_EQ(Offered({"det"}), "detach\tRemove a VM's ports from a VPC\n");
  EXPECT_EQ(Offered({"--timeout", "3s", "det"}), "detach\tRemove a VM's ports from a VPC\n");
  EXPECT_THAT(Offered({}), HasSubstr("attach\t"));
  EXPECT_THAT(Offered({""}), Not(HasSubstr("__complete")));
}

// So that an option that is added is completed without a line of its own.
TEST_F(Completion, OffersEveryOptionOfEveryCommand) {
  Options options;
  RawOptions raw;
  CommandTree tree(&options, &raw);
  const auto commands = tree.app.get_subcommands([](const CLI::App*) { return true; });
  EXPECT_GE(commands.size(), 10U);
  for (const CLI::App* command : commands) {
    const std::string offered = "\n" + Offered({command->get_name(), "--"});
    EXPECT_THAT(offered, HasSubstr("\n--endpoint\t"));
    for (const CLI::Option* option : command->get_options()) {
      if (!option->nonpositional()) continue;
      EXPECT_THAT(offered, HasSubstr("\n--" + option->get_lnames().front() + "\t"))
          << command->get_name();
    }
  }
}

TEST_F(Completion, OffersAnOptionOnceUnlessItMayBeRepeated) {
  const std::string offered = Offered({"attach", "--vm", "a", "--address", "10.0.0.1", "--"});
  EXPECT_THAT(offered, Not(HasSubstr("--vm\t")));
  EXPECT_THAT(offered, HasSubstr("--address\t"));
  EXPECT_THAT(offered, HasSubstr("--vpc\t"));
}

TEST_F(Completion, OffersFixedValues) {
  EXPECT_EQ(Offered({"get", "ports", "-o", ""}), "table\nwide\njson\nyaml\n");
  EXPECT_EQ(Offered({"get", "ports", "--output=j"}), "--output=json\n");
  EXPECT_EQ(Offered({"attach", "--offload", "m"}), "must\n");
  EXPECT_EQ(Offered({"get", "v"}), "vpcs\nvms\nvfs\n");
  EXPECT_EQ(Offered({"completion", ""}), "bash\nzsh\nfish\n");
  EXPECT_EQ(Offered({"watch", "--until", ""}), "ready\ngone\n");
}

TEST_F(Completion, OffersTheCommandsOfACommand) {
  EXPECT_THAT(Offered({"vf", ""}), HasSubstr("release\tFree a VF"));
  EXPECT_THAT(Offered({"vf", ""}), Not(HasSubstr("attach")));
  EXPECT_EQ(Offered({"vf", "release", "0000"}), "0000:01:00.1\n");
  EXPECT_THAT(Offered({"vf", "release", "--f"}), HasSubstr("--force\t"));
  EXPECT_THAT(Offered({"explain", ""}), HasSubstr("flow\tFollow a packet"));
  EXPECT_EQ(Offered({"explain", "flow", "--from", "w"}), "web-0\n");
  EXPECT_EQ(Offered({"explain", "flow", "--proto", ""}), "tcp\nudp\nicmp\narp\nnd\n");
  EXPECT_EQ(Offered({"explain", "flow", "-o", ""}), "text\njson\nyaml\n");
  EXPECT_THAT(Offered({"explain", "flow", "--"}), HasSubstr("--dst-mac\t"));
  EXPECT_EQ(Offered({"vf", "release", "0000:01:00.1", ""}), "");
}

TEST_F(Completion, OffersIdsOfWhatIsThere) {
  EXPECT_EQ(Offered({"get", "ports", ""}), "web-0\ndb-0\nleaving\n");
  EXPECT_EQ(Offered({"get", "port", "web"}), "web-0\n");
  EXPECT_EQ(Offered({"get", "vfs", ""}), "0000:01:00.1\n");
  EXPECT_EQ(Offered({"get", "pfs", ""}),
            "pf0\n0000:01:00.0\n52:54:00:00:00:01\ndpu0\n0000:00:04.0\n");
  EXPECT_EQ(Offered({"get", "rules", ""}), "");
  EXPECT_EQ(Offered({"detach", "--vm", ""}), "web\n");
  EXPECT_EQ(Offered({"detach", "--vm=w"}), "--vm=web\n");
  EXPECT_EQ(Offered({"delete", "vm/"}), "vm/web\n");
  EXPECT_EQ(Offered({"delete", "ports/w"}), "ports/web-0\n");
  EXPECT_EQ(Offered({"describe", "port/web-0", "vf/0000:01"}), "vf/0000:01:00.1\n");
}

TEST_F(Completion, OffersKindsFirstWithoutASpaceAfterThem) {
  EXPECT_EQ(Offered({"delete", "p"}), "port/\n:nospace\n");
  EXPECT_EQ(Offered({"describe", "p"}), "port/\npf/\n:nospace\n");
  EXPECT_EQ(Offered({"watch", "vm"}), "vms\nvm/\n:nospace\n");
  EXPECT_EQ(Offered({"watch", "vms"}), "vms\n");
}

TEST_F(Completion, AWaitTakesOnlyADuration) {
  EXPECT_EQ(Offered({"delete", "--wait", "port/w"}), "port/web-0\n");
  EXPECT_EQ(Offered({"delete", "--wait", "10s", "port/w"}), "port/web-0\n");
  EXPECT_THAT(Offered({"attach", "--wait", "--v"}), HasSubstr("--vpc\t"));
}

TEST_F(Completion, LeavesFilesToTheShell) {
  EXPECT_EQ(Offered({"apply", "-f", "ex"}), ":files\n");
  EXPECT_EQ(Offered({"apply", "--file=ex"}), ":files\n");
}

TEST_F(Completion, IsSilentAboutAnAgentThatIsNotThere) {
  reachable_ = false;
  EXPECT_EQ(Offered({"get", "ports", ""}), "");
  EXPECT_EQ(Offered({"get", "vfs", ""}), "");
  EXPECT_EQ(Offered({"delete", "port/"}), "");
}

TEST_F(Completion, AsksTheAgentThatTheLineNames) {
  defaults_.endpoint = "ipc:///e";
  Offered({"get", "ports", ""});
  EXPECT_EQ(endpoint_, "ipc:///e");
  Offered({"--endpoint", "ipc:///f", "get", "ports", ""});
  EXPECT_EQ(endpoint_, "ipc:///f");
  Offered({"get", "--endpoint=ipc:///g", "ports", ""});
  EXPECT_EQ(endpoint_, "ipc:///g");
}

TEST_F(Completion, NonsenseIsNoCrash) {
  EXPECT_EQ(Offered({"fly", "away", ""}), "");
  EXPECT_EQ(Offered({"get", "cows", ""}), "");
  EXPECT_EQ(Offered({"get", "ports", "a", "b", ""}), "");
  EXPECT_EQ(Offered({"get", "--cow", "--=", "-", "="}), "");
  EXPECT_EQ(Offered({"delete", "--", "--w"}), "");
}

}  // namespace
}  // namespace fairlead
