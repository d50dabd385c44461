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
      "");
  ASSERT_TRUE(line.options) << line.err;
  EXPECT_EQ(line.options->command, Options::Command::kAttach);
  EXPECT_THAT(line.options->addresses, ElementsAre("10.0.0.5", "10.0.0.6"));
  EXPECT_EQ(line.options->wait, milliseconds(30000));
  EXPECT_EQ(line.options->output, Output::kJson);
  EXPECT_EQ(line.options->timeout, milliseconds(3000));
  EXPECT_EQ(line.options->endpoint, "ipc:///x");
  EXPECT_EQ(line.options->offload, "off");
}

TEST(CommandLine, WaitNeedsNoTime) {
  ParsedLine line = ParseCommandLine({"attach", "--vm", "a", "--wait", "--vpc", "red"}, "");
  ASSERT_TRUE(line.options) << line.err;
  EXPECT_EQ(line.options->wait, milliseconds(120000));
  EXPECT_EQ(line.options->vpc, "red");
  line = ParseCommandLine({"detach", "--vm", "a", "--vpc", "red"}, "");
  ASSERT_TRUE(line.options) << line.err;
  EXPECT_FALSE(line.options->wait);
}

TEST(CommandLine, TheEndpointComesFromTheEnvironmentUnlessSaid) {
  EXPECT_EQ(ParseCommandLine({"version"}, "").options->endpoint, "ipc:///run/fairlead/agent.sock");
  EXPECT_EQ(ParseCommandLine({"version"}, "ipc:///e").options->endpoint, "ipc:///e");
  EXPECT_EQ(ParseCommandLine({"--endpoint", "ipc:///f", "version"}, "ipc:///e").options->endpoint,
            "ipc:///f");
}

TEST(CommandLine, KindsMayBeSingularOrPlural) {
  EXPECT_EQ(ParseCommandLine({"get", "ports", "p"}, "").options->kind, "port");
  EXPECT_EQ(ParseCommandLine({"get", "port", "p"}, "").options->id, "p");
  EXPECT_EQ(ParseCommandLine({"describe", "vf/52:54:00:00:00:01/3"}, "").options->refs.size(), 1U);
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
      {"attach", "--vm", "a", "--vpc", "b", "--wait", "--dry-run"}};
  for (const auto& args : lines) {
    ParsedLine line = ParseCommandLine(args, "");
    EXPECT_FALSE(line.options) << ::testing::PrintToString(args);
    EXPECT_EQ(line.exit_code, kUsage) << ::testing::PrintToString(args);
    EXPECT_FALSE(line.err.empty()) << ::testing::PrintToString(args);
  }
}

TEST(CommandLine, EveryHelpNamesTheExitCodes) {
  for (const char* command :
       {"apply", "attach", "detach", "delete", "get", "describe", "status", "version"}) {
    ParsedLine line = ParseCommandLine({command, "--help"}, "");
    EXPECT_EQ(line.exit_code, kOk) << command;
    EXPECT_THAT(line.out, HasSubstr("Exit codes:")) << command;
  }
  EXPECT_THAT(ParseCommandLine({"--help"}, "").out, HasSubstr("attach"));
}

}  // namespace
}  // namespace fairlead
