// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ParseDuration, TakesUnitsAndRefusesTheRest) {
  EXPECT_EQ(ParseDuration("500ms"), milliseconds(500));
  EXPECT_EQ(ParseDuration("30"), milliseconds(30000));
  EXPECT_EQ(ParseDuration("2m"), milliseconds(120000));
  EXPECT_EQ(ParseDuration("24h"), milliseconds(86'400'000));
  for (const char* bad : {"", "0", "-1s", "1d", "s", "1 s", "25h", "99999999999999999999s"}) {
    EXPECT_FALSE(ParseDuration(bad).has_value()) << bad;
  }
}

TEST(CommandLine, ReadsAnAttach) {
  ParsedLine line = ParseCommandLine(
      {"attach",     "--vm",      "a",        "--vpc",     "red",       "--uuid",     "u",
       "--subnet",   "s",         "--port",   "p",         "--mac",     "m",          "--address",
       "10.0.0.5",   "--address", "10.0.0.6", "--network", "converged", "--offload",  "off",
       "--wait=30s", "-o",        "json",     "--timeout", "3s",        "--endpoint", "ipc:///x"},
      {});
  ASSERT_TRUE(line.options) << line.err;
  EXPECT_EQ(line.options->command, Options::Command::kAttach);
  EXPECT_THAT(line.options->addresses, ElementsAre("10.0.0.5", "10.0.0.6"));
  EXPECT_EQ(line.options->wait, milliseconds(30000));
  EXPECT_EQ(line.options->output, Output::kJson);
  EXPECT_EQ(line.options->timeout, milliseconds(3000));
  EXPECT_EQ(line.options->endpoint, "ipc:///x");
  EXPECT_EQ(line.options->offload, "off");
}

TEST(CommandLine, AWideTableIsATable) {
  ParsedLine line = ParseCommandLine({"get", "pfs", "-o", "wide"}, {});
  ASSERT_TRUE(line.options) << line.err;
  EXPECT_EQ(line.options->output, Output::kTable);
  EXPECT_TRUE(line.options->wide);
  EXPECT_FALSE(ParseCommandLine({"get", "pfs"}, {}).options->wide);
  EXPECT_FALSE(ParseCommandLine({"describe", "pf/pf0", "-o", "wide"}, {}).options);
}

TEST(CommandLine, WaitNeedsNoTime) {
  ParsedLine line = ParseCommandLine({"attach", "--vm", "a", "--wait", "--vpc", "red"}, {});
  ASSERT_TRUE(line.options) << line.err;
  EXPECT_EQ(line.options->wait, milliseconds(120000));
  EXPECT_EQ(line.options->vpc, "red");
  line = ParseCommandLine({"detach", "--vm", "a", "--vpc", "red"}, {});
  ASSERT_TRUE(line.options) << line.err;
  EXPECT_FALSE(line.options->wait);
}

TEST(CommandLine, OnlyADurationIsTheValueOfWait) {
  ParsedLine line = ParseCommandLine({"delete", "--wait", "port/a0", "vm/a"}, {});
  ASSERT_TRUE(line.options) << line.err;
  EXPECT_EQ(line.options->wait, milliseconds(120000));
  EXPECT_THAT(line.options->refs, ElementsAre("port/a0", "vm/a"));
  line = ParseCommandLine({"delete", "--wait", "10s", "port/a0"}, {});
  ASSERT_TRUE(line.options) << line.err;
  EXPECT_EQ(line.options->wait, milliseconds(10000));
  EXPECT_THAT(line.options->refs, ElementsAre("port/a0"));
  line = ParseCommandLine({"apply", "-f", "x", "--wait"}, {});
  ASSERT_TRUE(line.options) << line.err;
  EXPECT_EQ(line.options->wait, milliseconds(120000));
}

TEST(CommandLine, AWordThatIsNoTimeIsToldWhatIs) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"attach", "--vm", "a", "--vpc", "b", "--wait", "abc"},
                                             {"attach", "--vm", "a", "--vpc", "b", "--wait=abc"},
                                             {"apply", "--wait", "0", "-f", "x"},
                                             {"delete", "--wait", "25h", "port/a0"},
                                             {"watch", "--until", "ready", "--within", "abc"},
                                             {"--timeout", "abc", "status"}}) {
    const ParsedLine line = ParseCommandLine(args, {});
    EXPECT_FALSE(line.options) << ::testing::PrintToString(args);
    EXPECT_EQ(line.exit_code, kUsage);
    EXPECT_THAT(line.err, ::testing::ContainsRegex("--(wait|within|timeout) '(abc|0|25h)' is no "
                                                   "time: .*ms, s, m or h.*24h at most"));
  }
}

TEST(CommandLine, GetTakesNoIdThatNothingCanHave) {
  for (const char* kind : {"ports", "vfs", "rules"}) {
    const ParsedLine line = ParseCommandLine({"get", kind, ""}, {});
    EXPECT_FALSE(line.options) << kind;
    EXPECT_EQ(line.exit_code, kUsage) << kind;
    EXPECT_THAT(line.err, HasSubstr("the id is empty: it has 1 to 63 characters")) << kind;
  }
  EXPECT_THAT(ParseCommandLine({"get", "ports", std::string(64, 'a')}, {}).err,
              HasSubstr("at most 63 characters"));
  EXPECT_TRUE(ParseCommandLine({"get", "ports", std::string(63, 'a')}, {}).options);
  EXPECT_TRUE(ParseCommandLine({"get", "vfs", "52:54:00:00:00:01/3"}, {}).options);
}

TEST(CommandLine, AnIdThatNoObjectCanHaveIsToldByEveryCommand) {
  for (const char* command : {"describe", "delete", "watch"}) {
    for (const char* ref : {"port/h2/x", "port/a b"}) {
      const ParsedLine line = ParseCommandLine({command, "vm/a", ref}, {});
      EXPECT_EQ(line.exit_code, kUsage) << command << " " << ref;
      EXPECT_THAT(line.err, HasSubstr("may hold only letters, digits, '.', '_' and '-'"));
    }
  }
  EXPECT_TRUE(ParseCommandLine({"describe", "vf/52:54:00:00:00:01/3"}, {}).options);
}

TEST(CommandLine, AKindThatTheCommandDoesNotTakeIsToldWithThoseItTakes) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"delete", "pf/gpu0"},
                                             {"describe", "rule/1"},
                                             {"describe", "host/x"},
                                             {"watch", "pf/gpu0"},
                                             {"watch", "pfs"},
                                             {"watch", "host/x"}}) {
    const ParsedLine line = ParseCommandLine(args, {});
    EXPECT_EQ(line.exit_code, kUsage) << ::testing::PrintToString(args);
    EXPECT_EQ(line.err,
              "fairleadctl: '" + args[1] +
                  "' is of no kind that this command takes, which are vpc, subnet, vm, port, "
                  "endpoint, route, security-group" +
                  (args[0] == "describe" ? ", pf, vf\n" : "\n"));
  }
}

TEST(CommandLine, WatchTakesKindsAndObjects) {
  ParsedLine line =
      ParseCommandLine({"watch", "ports", "vm/a", "--until", "gone", "--within", "5s"}, {});
  ASSERT_TRUE(line.options) << line.err;
  ASSERT_EQ(line.options->watched.size(), 2U);
  EXPECT_EQ(line.options->watched[0].kind, "port");
  EXPECT_EQ(line.options->watched[0].id, "");
  EXPECT_EQ(line.options->watched[1].kind, "vm");
  EXPECT_EQ(line.options->watched[1].id, "a");
  EXPECT_EQ(line.options->until, "gone");
  EXPECT_EQ(line.options->wait, milliseconds(5000));
  line = ParseCommandLine({"watch"}, {});
  ASSERT_TRUE(line.options) << line.err;
  EXPECT_TRUE(line.options->watched.empty());
  EXPECT_FALSE(line.options->wait);
}

TEST(CommandLine, EventsComeFromBesideTheRequestsUnlessSaid) {
  const auto events = [](std::vector<std::string> args, const Defaults& defaults) {
    return ParseCommandLine(std::move(args), defaults).options->events;
  };
  EXPECT_EQ(events({"watch"}, {}), "ipc:///run/fairlead/events.sock");
  EXPECT_EQ(events({"--endpoint", "ipc:///x/y.sock", "watch"}, {}), "ipc:///x/events.sock");
  EXPECT_EQ(events({"watch"}, {"", "ipc:///e"}), "ipc:///e");
  EXPECT_EQ(events({"watch", "--events", "ipc:///f"}, {"", "ipc:///e"}), "ipc:///f");
}

TEST(CommandLine, TheEndpointComesFromTheEnvironmentUnlessSaid) {
  EXPECT_EQ(ParseCommandLine({"version"}, {}).options->endpoint, "ipc:///run/fairlead/agent.sock");
  EXPECT_EQ(ParseCommandLine({"version"}, {"ipc:///e", ""}).options->endpoint, "ipc:///e");
  EXPECT_EQ(
      ParseCommandLine({"--endpoint", "ipc:///f", "version"}, {"ipc:///e", ""}).options->endpoint,
      "ipc:///f");
}

TEST(CommandLine, KindsMayBeSingularOrPlural) {
  EXPECT_EQ(ParseCommandLine({"get", "ports", "p"}, {}).options->kind, "port");
  EXPECT_EQ(ParseCommandLine({"get", "port", "p"}, {}).options->id, "p");
  EXPECT_EQ(ParseCommandLine({"describe", "vf/52:54:00:00:00:01/3"}, {}).options->refs.size(), 1U);
}

TEST(CommandLine, BytesThatAreNotUtf8AreToldWithTheirOption) {
  const std::pair<std::vector<std::string>, const char*> lines[] = {
      {{"attach", "--vm", "a", "--vpc", "b", "--port", "a\xff"}, "--port"},
      {{"attach", "--vm", "a", "--vpc", "b", "--address", "::1", "--address", "\xc3"}, "--address"},
      {{"--controller", "\xff", "status"}, "--controller"},
      {{"describe", "port/a\xff"}, "KIND/ID"},
      {{"get", "vfs", "\xff"}, "ID"}};
  for (const auto& [args, option] : lines) {
    const ParsedLine line = ParseCommandLine(args, {});
    EXPECT_EQ(line.exit_code, kUsage) << option;
    EXPECT_EQ(line.err, std::string("fairleadctl: ") + option + ": is not UTF-8\n");
  }
  EXPECT_TRUE(ParseCommandLine({"apply", "-f", "\xff"}, {}).options);
  EXPECT_TRUE(ParseCommandLine({"get", "vfs", "\xc3\xa9"}, {}).options);
}

TEST(CommandLine, AWordThatNothingTakesIsNamedBeforeWhatIsMissing) {
  const std::pair<std::vector<std::string>, const char*> lines[] = {
      {{"bogus"}, "there is no command 'bogus'; `fairleadctl --help`"},
      {{"bogus", "--wild"}, "there is no command 'bogus'; `fairleadctl --help`"},
      {{"--bogus"}, "there is no option '--bogus'; `fairleadctl --help`"},
      {{"apply", "--bogus"}, "there is no option '--bogus'; `fairleadctl apply --help`"},
      {{"get", "ports", "--bogus"}, "there is no option '--bogus'; `fairleadctl get --help`"},
      {{"get", "ports", "a", "b"}, "there is no use for the word 'b'; `fairleadctl get --help`"}};
  for (const auto& [args, words] : lines) {
    const ParsedLine line = ParseCommandLine(args, {});
    EXPECT_EQ(line.exit_code, kUsage);
    EXPECT_EQ(line.err, std::string("fairleadctl: ") + words + " lists what there is\n");
  }
  EXPECT_THAT(ParseCommandLine({"apply"}, {}).err, HasSubstr("--file is required"));
  EXPECT_EQ(ParseCommandLine({"apply", "--bogus", "--help"}, {}).exit_code, kOk);
}

TEST(CommandLine, WrongUseIsExitCode2) {
  const std::vector<std::vector<std::string>> lines = {
      {},
      {"fly"},
      {"apply"},
      {"attach", "--vm", "a"},
      {"get", "cows"},
      {"get"},
      {"delete"},
      {"delete", "a0"},
      {"delete", "cow/a0"},
      {"delete", "port/"},
      {"delete", "pf/x"},
      {"attach", "--vm", "a", "--vpc", "b", "--wait=soon"},
      {"status", "-o", "xml"},
      {"attach", "--vm", "a", "--vpc", "b", "--offload", "maybe"},
      {"status", "--timeout", "x"},
      {"status", "--timeout", ""},
      {"detach", "--vm", "a", "--vpc", "b", "--port", ""},
      {"controller", "forget", "c", "--epoch", ""},
      {"detach", "--vm", "a", "--vpc", "b", "--port=", "--ignore-missing"},
      {"watch", "port/a", "--until", "ready", "--within=", "3s"},
      {"attach", "--vm", "a", "--vpc", "b", "--max-tx-mbps", ""},
      {"attach", "--vm", "a", "--vpc", "b", "--max-tx-mbps", "010"},
      {"attach", "--vm", "a", "--vpc", "b", "--max-tx-mbps", "0x10"},
      {"explain", "flow", "--from", "a", "--to", "10.0.0.6", "--proto", ""},
      {"explain", "flow", "--from", "a", "--to", "10.0.0.6", "--vlan", "0"},
      {"attach", "--vm", "a", "--vpc", "b", "--wait", "--dry-run"},
      {"delete", "port/a", "--wait", "--dry-run"},
      {"watch", "pfs"},
      {"watch", "cow"},
      {"watch", "port/"},
      {"watch", "rule/x"},
      {"watch", "--within", "3s"},
      {"watch", "--until", "ready", "--within", "soon"},
      {"watch", "--until", "ready", "--within", ""},
      {"watch", "--until", "failed"},
      {"watch", "-o", "yaml"},
      {"completion"},
      {"completion", "tcsh"}};
  for (const auto& args : lines) {
    ParsedLine line = ParseCommandLine(args, {});
    EXPECT_FALSE(line.options) << ::testing::PrintToString(args);
    EXPECT_EQ(line.exit_code, kUsage) << ::testing::PrintToString(args);
    EXPECT_FALSE(line.err.empty()) << ::testing::PrintToString(args);
  }
}

TEST(CommandLine, EveryHelpNamesTheExitCodes) {
  for (const char* command : {"apply", "attach", "detach", "delete", "get", "describe", "watch",
                              "status", "version", "completion"}) {
    ParsedLine line = ParseCommandLine({command, "--help"}, {});
    EXPECT_EQ(line.exit_code, kOk) << command;
    EXPECT_THAT(line.out, HasSubstr("Exit codes:")) << command;
    EXPECT_THAT(line.out, HasSubstr("\n  6  the output could not be written")) << command;
  }
  EXPECT_THAT(ParseCommandLine({"--help"}, {}).out, HasSubstr("attach"));
}

}  // namespace
}  // namespace fairlead
