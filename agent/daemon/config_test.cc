// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kLeast[] =
    "pfs:\n  - {mac: \"52:54:00:00:00:01\", vfs: 4}\ntunnel: {local: 192.0.2.1}\n";

std::string ErrorOf(std::string_view yaml) {
  const absl::StatusOr<DaemonConfig> config = ParseConfig(yaml);
  return config.ok() ? "" : std::string(config.status().message());
}

TEST(ConfigTest, TheShippedFileIsGood) {
  const absl::StatusOr<DaemonConfig> config =
      LoadConfig(FAIRLEAD_SOURCE_DIR "/packaging/fairleadd.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->providers.pfs.size(), 1U);
  EXPECT_EQ(config->providers.pfs[0].representors.size(), 2U);
}

TEST(ConfigTest, TheLeastFileTakesTheDefaults) {
  const absl::StatusOr<DaemonConfig> config = ParseConfig(kLeast);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->engine.compile.tunnel_device, "fl-vxlan0");
  EXPECT_EQ(config->engine.compile.tunnel_port, 4789);
  EXPECT_EQ(config->engine.compile.tunnel_local.ToString(), "192.0.2.1");
  EXPECT_EQ(config->engine.pfs.size(), 1U);
  EXPECT_FALSE(config->providers.pfs[0].allow_host_traffic);
}

TEST(ConfigTest, EveryMistakeIsListedWithItsLine) {
  EXPECT_THAT(ErrorOf("pfs:\n  - {mac: nonsense, vfs: 70000, colour: red}\n"
                      "tunnel:\n  local: 192.0.2.300\n  mtu: 12\nlog_level: loud\n"),
              AllOf(HasSubstr("line 2: pfs[0].mac"), HasSubstr("line 2: pfs[0].vfs"),
                    HasSubstr("line 2: pfs[0].colour"), HasSubstr("line 4: tunnel.local"),
                    HasSubstr("line 5: tunnel.mtu"), HasSubstr("line 6: log_level")));
}

TEST(ConfigTest, WhatIsMissingIsNamed) {
  EXPECT_THAT(ErrorOf("log_level: info\n"),
              AllOf(HasSubstr("pfs is missing"), HasSubstr("tunnel is missing")));
}

TEST(ConfigTest, AMonitorPathMustTellVmsApart) {
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "hypervisor: {monitor: /run/qmp.sock}\n"),
              HasSubstr("{vm} or {uuid}"));
}

TEST(ConfigTest, AMonitorPathHasNoUnknownPlaceholder) {
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "hypervisor: {monitor: \"/run/{name}/{vm}.sock\"}\n"),
              HasSubstr("no other braces"));
}

TEST(ConfigTest, ARootPortPatternHasItsStarAtTheEnd) {
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "hypervisor: {root_ports: [\"a*b\"]}\n"),
              HasSubstr("hypervisor.root_ports[0] must be the id"));
}

TEST(ConfigTest, AddingADeviceHasADeadlineOfItsOwn) {
  const auto config = ParseConfig(std::string(kLeast) +
                                  "timing_ms: {qmp_deadline: 1000, device_add_deadline: 2000}\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->providers.qmp_deadline, std::chrono::milliseconds(1000));
  EXPECT_EQ(config->providers.device_add_deadline, std::chrono::milliseconds(2000));
  EXPECT_GE(ParseConfig(kLeast)->providers.device_add_deadline, std::chrono::minutes(2));
}

TEST(ConfigTest, MistakesAreListedUpToABound) {
  std::string yaml = "pfs:\n  - representors: [";
  for (int i = 0; i < 1000; ++i) yaml += "a,";
  const std::string error = ErrorOf(yaml + "a]\n");
  EXPECT_THAT(error, HasSubstr("more mistakes are not listed"));
  EXPECT_LT(error.size(), 16384);
}

TEST(ConfigTest, ThingsThatAreNotYamlGetALine) {
  EXPECT_THAT(ErrorOf("pfs: [\n"), HasSubstr("line 2"));
  EXPECT_THAT(ErrorOf("just words"), HasSubstr("must be a mapping"));
  EXPECT_THAT(ErrorOf(std::string(kMaxConfigBytes + 1, ' ')), HasSubstr("bytes"));
}

TEST(ConfigTest, APfOrRepresentorStandsOnce) {
  EXPECT_THAT(ErrorOf("pfs:\n  - {mac: \"52:54:00:00:00:01\", vfs: 4}\n"
                      "  - {mac: \"52:54:00:00:00:01\", vfs: 2}\ntunnel: {local: 192.0.2.1}\n"),
              HasSubstr("stands above already"));
  EXPECT_THAT(ErrorOf("pfs:\n  - mac: \"52:54:00:00:00:01\"\n    vfs: 4\n    representors:\n"
                      "      - {vf: 0, netdev: a}\n      - {vf: 0, netdev: b}\n"
                      "tunnel: {local: 192.0.2.1}\n"),
              HasSubstr("stands above already"));
}

TEST(ConfigTest, AMissingFileIsNamed) {
  const absl::StatusOr<DaemonConfig> config = LoadConfig("/nonexistent/fairleadd.yaml");
  EXPECT_THAT(std::string(config.status().message()), HasSubstr("/nonexistent/fairleadd.yaml"));
}

}  // namespace
}  // namespace fairlead
