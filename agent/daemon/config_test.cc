// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

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

TEST(ConfigTest, AHotplugPortIsReadWithItsDefaults) {
  const absl::StatusOr<DaemonConfig> config = ParseConfig(
      "hotplug_ports:\n"
      "  - {port: 0000:00:04.0}\n"
      "  - {port: \"0000:00:05.0\", name: dpu1, network: converged, identity: slot,\n"
      "     devices: [\"1af4:1041\", \"15b3:101E\"], deadline_ms: 500}\n"
      "tunnel: {local: 192.0.2.1}\n");
  ASSERT_TRUE(config.ok()) << config.status();  // a host may have no PF at all
  ASSERT_EQ(config->providers.hotplug_ports.size(), 2U);
  const HotplugPortConfig& plain = config->providers.hotplug_ports[0];
  EXPECT_EQ(plain.name, "0000:00:04.0");
  EXPECT_EQ(plain.network, NetworkKind::kCompute);
  EXPECT_EQ(plain.identity, FunctionIdentity::kMac);
  EXPECT_TRUE(plain.devices.empty());
  EXPECT_EQ(plain.deadline, std::chrono::seconds(30));
  const HotplugPortConfig& full = config->providers.hotplug_ports[1];
  EXPECT_EQ(full.name, "dpu1");
  EXPECT_EQ(full.network, NetworkKind::kConverged);
  EXPECT_EQ(full.identity, FunctionIdentity::kSlot);
  EXPECT_EQ(full.devices, (std::vector<PciIds>{{0x1af4, 0x1041}, {0x15b3, 0x101e}}));
  EXPECT_EQ(full.deadline, std::chrono::milliseconds(500));
  EXPECT_EQ(config->engine.pfs, (std::vector<NicId>{plain.port, full.port}));
}

TEST(ConfigTest, MistakesOfHotplugPortsAreAllListed) {
  EXPECT_THAT(ErrorOf("hotplug_ports:\n"
                      "  - {port: 4.0, identity: serial, network: lan}\n"
                      "  - {name: a}\n"
                      "  - {port: 0000:00:04.0, name: a}\n"
                      "  - {port: 0000:00:04.0, devices: [1af4, \"1af4:104g\", \"+af4:1041\"]}\n"
                      "tunnel: {local: 192.0.2.1}\n"),
              AllOf(HasSubstr("line 2: hotplug_ports[0].port"),
                    HasSubstr("line 2: hotplug_ports[0].identity must be mac or slot"),
                    HasSubstr("line 2: hotplug_ports[0].network"),
                    HasSubstr("line 3: hotplug_ports[1].port is missing"),
                    HasSubstr("line 4: hotplug_ports[2] has the name of a hot-plug port"),
                    HasSubstr("line 5: hotplug_ports[3] has the address of a hot-plug port"),
                    AllOf(HasSubstr("devices[0] must be"), HasSubstr("devices[1] must be"),
                          HasSubstr("devices[2] must be"))));
  EXPECT_THAT(ErrorOf("hotplug_ports: []\ntunnel: {local: 192.0.2.1}\n"),
              HasSubstr("hotplug_ports no port"));
}

TEST(ConfigTest, WhatCannotBeProvenOfAVfIsAcceptedUnlessSaidOtherwise) {
  EXPECT_EQ(ParseConfig(kLeast)->engine.sanitation, SanitationPolicy());
  const absl::StatusOr<DaemonConfig> strict = ParseConfig(
      std::string(kLeast) + "sanitation: {unprovable: quarantine, accept: [guid, counters]}\n");
  ASSERT_TRUE(strict.ok()) << strict.status();
  EXPECT_EQ(strict->engine.sanitation, (SanitationPolicy{true, {"guid", "counters"}}));
  EXPECT_THAT(
      ErrorOf(std::string(kLeast) + "sanitation: {unprovable: ignore, accept: [mkey], on: no}\n"),
      AllOf(HasSubstr("sanitation.unprovable must be accept or quarantine, not 'ignore'"),
            HasSubstr("sanitation.accept[0] 'mkey' is none of driver, reset, mac"),
            HasSubstr("sanitation.on")));
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
  EXPECT_EQ(config->engine.compile.tunnel.device, "fl-vxlan0");
  EXPECT_EQ(config->engine.compile.tunnel.udp_port, 4789);
  EXPECT_EQ(config->engine.compile.tunnel.local.ToString(), "192.0.2.1");
  EXPECT_EQ(config->engine.pfs.size(), 1U);
  EXPECT_FALSE(config->providers.pfs[0].allow_host_traffic);
  EXPECT_EQ(config->providers.pfs[0].max_hardware_rules, 0U);
}

TEST(ConfigTest, TheRulesThatANicMayHoldAreANumberFromOneOn) {
  const auto with = [](const std::string& value) {
    return ParseConfig(
        absl::StrCat("pfs:\n  - {mac: \"52:54:00:00:00:01\", vfs: 4, max_hardware_rules: ", value,
                     "}\ntunnel: {local: 192.0.2.1}\n"));
  };
  const auto config = with("100000");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->providers.pfs[0].max_hardware_rules, 100'000U);
  for (const char* wrong : {"0", "-1", "many", "4294967296"}) {
    EXPECT_THAT(std::string(with(wrong).status().message()), HasSubstr("max_hardware_rules"))
        << wrong;
  }
}

TEST(ConfigTest, TheTunnelsKindBringsItsPortAndName) {
  const std::string begin = "pfs:\n  - {mac: \"52:54:00:00:00:01\", vfs: 4}\ntunnel: {local: ";
  const auto geneve = ParseConfig(begin + "192.0.2.1, encapsulation: geneve}\n");
  ASSERT_TRUE(geneve.ok()) << geneve.status();
  const TunnelConfig& tunnel = geneve->providers.tunnel;
  EXPECT_EQ(tunnel.encapsulation, Encapsulation::kGeneve);
  EXPECT_EQ(tunnel.udp_port, 6081);
  EXPECT_EQ(tunnel.device, "fl-geneve0");
  EXPECT_EQ(tunnel.mtu, std::nullopt);
  EXPECT_EQ(tunnel.mtu_policy, TunnelMtuPolicy::kRefuse);
  EXPECT_EQ(geneve->engine.compile.tunnel, tunnel);
  const auto named = ParseConfig(begin +
                                 "2001:db8::1, device: ovl0, port: 8472, mtu: 4000, mtu_policy: "
                                 "clamp, peers: [\"2001:db8::/48\", \"2001:db8:1::7/128\"]}\n");
  ASSERT_TRUE(named.ok()) << named.status();
  TunnelConfig wanted;
  wanted.device = "ovl0";
  wanted.local = *IpAddress::Parse("2001:db8::1");
  wanted.udp_port = 8472;
  wanted.mtu = 4000;
  wanted.mtu_policy = TunnelMtuPolicy::kClamp;
  wanted.peers = {*IpPrefix::Parse("2001:db8::/48"), *IpPrefix::Parse("2001:db8:1::7/128")};
  EXPECT_EQ(named->providers.tunnel, wanted);
}

TEST(ConfigTest, MistakesOfTheTunnelAreAllListed) {
  const std::string begin = "pfs:\n  - {mac: \"52:54:00:00:00:01\", vfs: 4}\ntunnel:\n";
  EXPECT_THAT(
      ErrorOf(begin + "  encapsulation: gre\n  peers: [\"10.0.0.0/8\", \"10.1.0.0/16\", "
                      "\"2001:db8::/32\", \"10.0.0.1/8\", \"0.0.0.0/0\"]\n  mtu_policy: fragment\n"
                      "  mtu: 65486\n  local: 192.0.2.1\n"),
      AllOf(HasSubstr("line 4: tunnel.encapsulation must be vxlan or geneve, not 'gre'"),
            HasSubstr("line 5: tunnel.peers[1] 10.1.0.0/16 overlaps with 10.0.0.0/8"),
            HasSubstr("tunnel.peers[2] 2001:db8::/32 is of another address family"),
            AllOf(HasSubstr("tunnel.peers[3]"), HasSubstr("tunnel.peers[4] is every host"),
                  HasSubstr("line 6: tunnel.mtu_policy must be refuse or clamp, not 'fragment'"),
                  HasSubstr("line 7: tunnel.mtu must be"))));
  EXPECT_THAT(ErrorOf(begin + "  local: 192.0.2.1\n  peers: [224.0.0.0/4]\n"),
              HasSubstr("tunnel.peers[0] is multicast"));
  std::string nine = "  local: 192.0.2.1\n  peers: [";
  for (int i = 1; i <= 9; ++i) nine += "\"10." + std::to_string(i) + ".0.0/16\",";
  EXPECT_THAT(ErrorOf(begin + nine + "]\n"), HasSubstr("tunnel.peers has 9 elements, more than 8"));
  EXPECT_THAT(ErrorOf(begin + "  local: 192.0.2.1\n  peers: []\n"), HasSubstr("names nobody"));
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

// kata 10362: and nobody could make it more.
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

TEST(ConfigTest, NoTwoFunctionsOfAHostHaveOneMac) {
  const auto with = [](const std::string& macs) {
    return "pfs:\n  - mac: \"52:54:00:00:00:01\"\n    vfs: 4\n    representors: [" + macs +
           "]\ntunnel: {local: 192.0.2.1}\n";
  };
  EXPECT_THAT(ErrorOf(with("{vf: 0, netdev: a, mac: \"52:54:00:00:01:00\"},"
                           "{vf: 1, netdev: b, mac: \"52:54:00:00:01:00\"}")),
              HasSubstr("which another VF has"));
  EXPECT_THAT(ErrorOf(with("{vf: 0, netdev: a, mac: \"52:54:00:00:00:01\"}")),
              HasSubstr("a VF and a PF have one MAC"));
  EXPECT_THAT(ErrorOf(with("{vf: 0, netdev: a, mac: \"53:54:00:00:00:01\"}")),
              HasSubstr("pfs[0].representors[0].mac"));
}

TEST(ConfigTest, OfAnEswitchOnlyWhatIsNamedIsAskedFor) {
  const auto pf = [](const std::string& eswitch) {
    return "pfs:\n  - {mac: \"52:54:00:00:00:01\", vfs: 4, eswitch: " + eswitch +
           "}\ntunnel: {local: 192.0.2.1}\n";
  };
  EXPECT_TRUE(ParseConfig(kLeast)->providers.pfs[0].eswitch.empty());
  auto config = ParseConfig(pf("{mode: switchdev}"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->providers.pfs[0].eswitch, (EswitchSettings{EswitchMode::kSwitchdev, {}, {}}));
  config = ParseConfig(pf("{mode: legacy, inline: transport, encap: none}"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->providers.pfs[0].eswitch,
            (EswitchSettings{EswitchMode::kLegacy, EswitchInlineMode::kTransport,
                             EswitchEncapMode::kNone}));
  EXPECT_THAT(
      ErrorOf(pf("{mode: switchdev_inactive, inline: l2, encap: vxlan, rates: on}")),
      AllOf(HasSubstr("pfs[0].eswitch.mode must be one of switchdev, legacy"),
            HasSubstr("pfs[0].eswitch.inline must be one of none, link, network, transport"),
            HasSubstr("pfs[0].eswitch.encap must be one of basic, none"),
            HasSubstr("pfs[0].eswitch.rates")));
}

TEST(ConfigTest, AMissingFileIsNamed) {
  const absl::StatusOr<DaemonConfig> config = LoadConfig("/nonexistent/fairleadd.yaml");
  EXPECT_THAT(std::string(config.status().message()), HasSubstr("/nonexistent/fairleadd.yaml"));
}

}  // namespace
}  // namespace fairlead
