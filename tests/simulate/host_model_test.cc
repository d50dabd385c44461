// SPDX-License-Identifier: Apache-2.0
#include "agent/simulate/host_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "agent/base/text.h"
#include "agent/simulate/host_config.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Line 1 is "name"; a NIC of its own stands in lines 3 to 7.
std::string Model(const std::string& more_of_nic = "", const std::string& rest = "") {
  return StrCat(
      "name: h\n"
      "nics:\n"
      "  - netdev: n0\n"
      "    mac: 52:54:00:00:00:01\n"
      "    pci: \"0000:01:00.0\"\n"
      "    total_vfs: 4\n"
      "    vfs: 4\n",
      more_of_nic,
      rest.find("vms:") == std::string::npos ? "vms: {on_demand: {root_ports: 2}}\n" : "",
      rest.find("config:") == std::string::npos ? "config: {tunnel: {local: 192.0.2.1}}\n" : "",
      rest);
}

struct Wrong {
  std::string yaml;
  std::vector<std::string> says;
};

TEST(HostModel, EveryMistakeIsNamedWithItsLineAndReason) {
  const Wrong wrong[] = {
      {"", {"empty"}},
      {"a: [", {"line 1"}},
      {"name: h\n---\nname: i\n", {"more than one YAML document"}},
      {"- x\n", {"line 1: the file must be a mapping"}},
      {"name: h\n", {"line 1: nics is missing", "line 1: vms is missing"}},
      {"name: h\nnics:\n  - {netdev: n0, mac: 52:54:00:00:00:01, pci: \"0000:01:00.0\", vfs: 8}\n"
       "vms: {on_demand: {root_ports: 1}}\nconfig: {tunnel: {local: 192.0.2.1}}\n",
       {"line 3: nics[0] is to have 8 VFs, and its hardware can have 0: see 'vfs' and"}},
      {Model("    driver: a/../b\n"),
       {"line 8: nics[0].driver must be the name of a driver, not 'a/../b'"}},
      {Model("    speed: 400\n"), {"line 8: nics[0].speed is no known key; known are addresses"}},
      {Model("    vfs: 2\n"), {"line 8: nics[0].vfs stands twice"}},
      {Model("    numa: -1\n"), {"line 8: nics[0].numa must be a whole number from 0"}},
      {Model("    id: 15b3\n"), {"line 8: nics[0].id must be vendor and device"}},
      {Model("    network: storage\n"), {"line 8: nics[0].network must be compute or converged"}},
      {Model("    offload: yes\n"), {"line 8: nics[0].offload must be true or false"}},
      {Model("    eswitch: on\n"), {"line 8: nics[0].eswitch must be none, legacy or switchdev"}},
      {Model("    eswitch: legacy\n    can_set_vf_mac: false\n"),
       {"line 3: nics[0] has an eswitch and VFs whose MACs cannot be set"}},
      {Model("    representors: rep0\n"), {"line 8: nics[0].representors must be", "{vf}"}},
      {Model("    representors: \"{vf}{vf}\"\n"),
       {"line 8: nics[0].representors must be the name of a netdev with {vf} in it once"}},
      {Model("    representors: a-name-too-long{vf}\n"),
       {"line 3: nics[0] gives a representor the name 'a-name-too-long0'"}},
      {Model("    addresses: [192.0.2.1]\n"),
       {"line 8: nics[0].addresses[0] must be an address and the length of its network"}},
      {Model("    addresses: [192.0.2.1/33]\n"),
       {"line 8: nics[0].addresses[0] has no good length"}},
      {Model("    addresses: [224.0.0.1/4]\n"), {"line 8", "not the address of one host"}},
      {Model("    addresses: [192.0.2.255/24]\n"),
       {"line 8: nics[0].addresses[0]", "not the address of one host in 192.0.2.0/24"}},
      {Model("    addresses: [192.0.2.0/24]\n"),
       {"line 8: nics[0].addresses[0]", "not the address"}},
      {Model("    addresses: [255.255.255.255/32]\n"), {"line 8: nics[0].addresses[0]"}},
      {Model("    addresses: [\"::1/128\", \"ff02::1/16\"]\n"),
       {"line 8: nics[0].addresses[0]", "line 8: nics[0].addresses[1]"}},
      {Model("    driver: \"mlx5\\ecore\"\n    switch: \"a\\u009bb\"\n"),
       {"line 8: nics[0].driver must have", "line 9: nics[0].switch must have", "control"}},
      {Model("    representors: \"a\\t{vf}\"\n"), {"line 3: nics[0] gives a representor the name"}},
      {Model("  - {netdev: \"a\\x1b[1m\", mac: ff:ff:ff:ff:ff:ff, pci: \"0000:02:00.0\"}\n"),
       {"line 8: nics[1].netdev must be the name of a netdev", "line 8: nics[1].mac"}},
      {Model("    vf_offset: 65535\n"), {"line 3: nics[0] has VFs behind the last bus"}},
      {Model("  - {netdev: n0, mac: 52:54:00:00:00:01, pci: \"0000:01:00.1\"}\n"),
       {"line 8: nics[1] has the MAC of a NIC that stands above",
        "gives a second netdev the name n0", "has a function at 0000:01:00.1"}},
      {Model("  - {netdev: n1, mac: 01:00:5e:00:00:01, pci: \"02:00.0\"}\n"),
       {"line 8: nics[1].mac", "is not the MAC of a single NIC", "line 8: nics[1].pci"}},
      {Model("  - {netdev: n0_1, mac: 52:54:00:00:00:02, pci: \"0000:02:00.0\"}\n"),
       {"line 8: nics[1] gives a second netdev the name n0_1"}},
      {Model("", "gpus: [{name: g}]\n"), {"line 10: gpus[0].pci is missing"}},
      {Model("", "gpus: [{name: g, pci: \"0000:01:00.2\"}]\n"),
       {"line 10: gpus[0] has a function at 0000:01:00.2"}},
      {Model("",
             "gpus:\n  - {name: g, pci: \"0000:02:00.0\"}\n  - {name: g, pci: \"0000:03:00.0\"}\n"),
       {"line 12: gpus[1] has the name of a GPU that stands above"}},
      {Model("", "gpus: [{name: \"g\\n\", pci: \"0000:02:00.0\"}]\n"),
       {"line 10: gpus[0].name must"}},
      {Model("", "routes: [{to: 10.0.0.0/8, via: 224.0.0.1, netdev: n0}]\n"),
       {"line 10: routes[0].via", "not the address of one host"}},
      {Model("", "routes: [{to: 10.0.0.1/8, netdev: n0}]\n"),
       {"line 10: routes[0].to", "10.0.0.0/8"}},
      {Model("", "routes: [{to: 10.0.0.0/8, netdev: n7}]\n"),
       {"line 10: routes[0] goes through n7, which is no NIC above"}},
      {Model("", "neighbours: {answer: [all]}\n"), {"line 10: neighbours.answer[0]"}},
      {Model("", "vms: {}\n"), {"line 9: vms names no VM"}},
      {Model("", "vms: {on_demand: {}}\n"), {"line 9: vms.on_demand.root_ports is missing"}},
      {Model("",
             "vms:\n  listed:\n    - {id: a, uuid: 1, root_ports: 1}\n    - {id: /, uuid: "
             "6f1d2a5e-0c7b-4b1e-9a55-0d8f4f3a7c11, root_ports: 999}\n"),
       {"line 11: vms.listed[0].uuid", "line 12: vms.listed[1].id is no id: the id '/' must begin",
        "line 12: vms.listed[1].root_ports"}},
      {Model("",
             "vms:\n  listed:\n"
             "    - {id: a, uuid: 6f1d2a5e-0c7b-4b1e-9a55-0d8f4f3a7c11, root_ports: 1}\n"
             "    - {id: b, uuid: 6F1D2A5E-0c7b-4b1e-9a55-0d8f4f3a7c11, root_ports: 1}\n"),
       {"line 12: vms.listed[1] has the UUID of a VM that stands above"}},
      {Model("", "latency: {reset: 100}\n"),
       {"line 10: latency.reset must be a whole number of us, ms"}},
      {Model("", "latency: {reset: 601s}\n"), {"line 10: latency.reset", "600s at most"}},
      {Model("", "limits: {rules: 5}\n"), {"line 10: limits.rules is no known key"}},
      {Model("", "config: []\n"), {"line 9: config must be a mapping"}},
      {Model("", "config:\n  tunnel: {local: 192.0.2.1}\n  pfs: []\n  hypervisor: {}\n"),
       {"line 11: config.pfs follows from nics, hotplug_ports and vms",
        "line 12: config.hypervisor follows"}},
      // What the daemon's own reader finds has the model's lines too.
      {Model("",
             "config:\n  tunnel:\n    local: here\n    mtu: 3\n  timing_ms: {replug_after: 0}\n"
             "  colour: red\n"),
       {"line 11: config.tunnel.local", "line 12: config.tunnel.mtu must be",
        "line 13: config.timing_ms.replug_after must be",
        "line 14: config.colour is no known key"}},
      {Model("", "config:\n  tunnel: 192.0.2.1\n"), {"line 10: config.tunnel must be a mapping"}},
      {Model("",
             "config:\n  tunnel: {local: 192.0.2.1}\n  endpoint: {requests: tcp://0.0.0.0:1}\n"),
       {"line 11: config.endpoint.requests", "tcp is refused"}},
      {Model("", "config: {log_level: info}\n"), {"config.tunnel.local is missing"}},
      {"name: h\nnics:\n  - {netdev: n0, mac: 52:54:00:00:00:01, pci: \"0000:01:00.0\"}\n"
       "vms: {on_demand: {root_ports: 1}}\n",
       {"line 1: nics holds no NIC with 'vfs', and there are no hotplug_ports"}},
      {Model("    eswitch: legacy\n    representors: none\n"),
       {"line 3: nics[0] has an eswitch and no representors"}},
      {Model("", "hotplug_ports: [x]\n"), {"line 10: hotplug_ports[0] must be a mapping"}},
      {Model("", "hotplug_ports:\n  - {port: \"0000:09:00.0\", slot: 3}\n"),
       {"line 11: hotplug_ports[0].slot is no known key; known are deadline_ms, devices, "
        "functions"}},
      // The daemon's own reader again.
      {Model("",
             "hotplug_ports:\n  - network: storage\n    name: /\n    identity: slots\n"
             "    devices: [virtio]\n    deadline_ms: 0\n"),
       {"line 11: hotplug_ports[0].network must be compute", "line 11: hotplug_ports[0].port is",
        "line 12: hotplug_ports[0].name", "line 13: hotplug_ports[0].identity must be mac or slot",
        "line 14: hotplug_ports[0].devices[0]", "line 15: hotplug_ports[0].deadline_ms"}},
      {Model("", "hotplug_ports: [{port: \"0000:01:00.0\"}]\n"),
       {"line 10: hotplug_ports[0] has a function at 0000:01:00.0, where one that stands above"}},
      {Model("", "hotplug_ports: [{port: \"0000:09:00.0\", name: n0}]\n"),
       {"line 10: hotplug_ports[0] has the name of the NIC n0"}},
      {Model("",
             "hotplug_ports:\n  - port: \"0000:09:00.0\"\n    functions:\n"
             "      - {netdev: n0_1, mac: 52:54:00:00:00:01, pci: \"0000:01:00.1\"}\n"
             "      - {netdev: /, mac: ff:ff:ff:ff:ff:ff, pci: 1, id: 1, after: 3}\n"
             "      - {mac: 52:54:00:00:00:09}\n"),
       {"line 13: hotplug_ports[0].functions[0] has the MAC of a NIC that stands above",
        "functions[0] gives a second netdev the name n0_1",
        "functions[0] has a function at 0000:01:00.1",
        "line 13: hotplug_ports[0].functions[0].pci is not behind the port",
        "line 14: hotplug_ports[0].functions[1].netdev must", "functions[1].mac",
        "functions[1].pci", "functions[1].id must", "functions[1].after must be a whole number",
        "line 15: hotplug_ports[0].functions[2].netdev is missing", "functions[2].pci is missing"}},
      {Model("",
             "hotplug_ports:\n  - port: \"0000:09:00.0\"\n    functions:\n"
             "      - {netdev: f0, mac: 52:54:00:00:00:09, pci: \"0000:0a:00.0\"}\n"
             "      - {netdev: f1, mac: 52:54:00:00:00:0a, pci: \"0000:0b:00.0\"}\n"),
       {"line 14: hotplug_ports[0].functions[1].pci is not behind the port"}},
      {Model("", "config:\n  tunnel: {local: 192.0.2.1}\n  hotplug_ports: []\n"),
       {"line 11: config.hotplug_ports follows from nics, hotplug_ports and vms"}},
  };
  for (const Wrong& one : wrong) {
    SCOPED_TRACE(one.yaml);
    const absl::StatusOr<HostModel> model = ParseHostModel(one.yaml);
    ASSERT_FALSE(model.ok());
    EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
    for (const std::string& words : one.says) {
      EXPECT_THAT(std::string(model.status().message()), HasSubstr(words));
    }
  }
}

// RFC 3021: both addresses of a /31 are hosts'.
TEST(HostModel, EveryAddressOfOneHostIsTaken) {
  for (const char* good : {"192.0.2.0/31", "192.0.2.1/31", "192.0.2.255/32", "192.0.2.254/24",
                           "2001:db8::/64", "fe80::1/64"}) {
    const auto model = ParseHostModel(Model(StrCat("    addresses: [\"", good, "\"]\n")));
    EXPECT_TRUE(model.ok()) << model.status();
  }
}

TEST(HostModel, MistakesOfAllSectionsAreListedAtOnceInTheOrderOfTheirLines) {
  const absl::StatusOr<HostModel> model =
      ParseHostModel("name: /\nnics: 5\nvms: {}\nconfig: {log_level: loud}\n");
  ASSERT_FALSE(model.ok());
  const std::string text(model.status().message());
  size_t at = 0;
  for (const char* words : {"line 1: name ", "line 2: nics must be a list",
                            "line 3: vms names no VM", "line 4: config.log_level must be"}) {
    const size_t next = text.find(words);
    ASSERT_NE(next, std::string::npos) << words << " is not in:\n" << text;
    EXPECT_GE(next, at);
    at = next;
  }
  EXPECT_THAT(text, Not(HasSubstr("config.pfs"))) << "that follows from the others";
}

TEST(HostModel, TheConfigurationFollowsFromTheModelAndItsConfigSectionOverrides) {
  const absl::StatusOr<HostModel> model = ParseHostModel(
      Model("    network: converged\n    can_set_vf_mac: false\n    addresses: [192.0.2.7/24]\n",
            "config:\n  tunnel: {mtu: 8000}\n  endpoint: {events: ipc:///x/e.sock}\n"
            "  timing_ms: {retry_first: 7}\n"));
  ASSERT_TRUE(model.ok()) << model.status();
  const absl::StatusOr<DaemonConfig> config = ConfigOf(*model, "/run/sim/h");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->state_dir, "/run/sim/h/store");
  EXPECT_EQ(config->server.requests, "ipc:///run/sim/h/agent.sock");
  EXPECT_EQ(config->server.events, "ipc:///x/e.sock");
  EXPECT_EQ(config->providers.tunnel.local.ToString(), "192.0.2.7");
  EXPECT_EQ(config->providers.tunnel.mtu, 8000U);
  EXPECT_EQ(config->engine.retry_first.count(), 7);
  ASSERT_EQ(config->providers.pfs.size(), 1U);
  const PfConfig& pf = config->providers.pfs[0];
  EXPECT_EQ(pf.network, NetworkKind::kConverged);
  ASSERT_EQ(pf.representors.size(), 4U);
  EXPECT_EQ(pf.representors[3].netdev, "n0_3");
  std::set<MacAddress> macs;
  for (const RepresentorConfig& representor : pf.representors) {
    ASSERT_TRUE(representor.mac && representor.mac->IsUnicast());
    macs.insert(*representor.mac);
  }
  EXPECT_EQ(macs.size(), 4U);
}

TEST(HostModel, ANicWithAnEswitchIsAskedForSwitchdevAndOneWithoutForNothing) {
  for (const auto& [eswitch, mode] :
       {std::pair("legacy", EswitchMode::kLegacy), {"switchdev", EswitchMode::kSwitchdev}}) {
    const absl::StatusOr<HostModel> model =
        ParseHostModel(Model(StrCat("    eswitch: ", eswitch, "\n")));
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->nics[0].eswitch, mode);
    const PfConfig pf = ConfigOf(*model, "/run")->providers.pfs[0];
    EXPECT_EQ(pf.eswitch.ToString(), "mode switchdev, encap basic");
    EXPECT_TRUE(pf.representors.empty());
  }
  const absl::StatusOr<HostModel> plain = ParseHostModel(Model("    eswitch: none\n"));
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_FALSE(plain->nics[0].eswitch.has_value());
  const PfConfig pf = ConfigOf(*plain, "/run")->providers.pfs[0];
  EXPECT_TRUE(pf.eswitch.empty());
  EXPECT_EQ(pf.representors.size(), 4U);
}

TEST(HostModel, OfANicThatForwardsByItselfNoRepresentorIsConfigured) {
  const absl::StatusOr<HostModel> model = ParseHostModel(Model("    representors: none\n"));
  ASSERT_TRUE(model.ok()) << model.status();
  const PfConfig pf = ConfigOf(*model, "/run")->providers.pfs[0];
  EXPECT_EQ(pf.vfs, 4);
  EXPECT_TRUE(pf.representors.empty());
  EXPECT_TRUE(pf.eswitch.empty());
}

TEST(HostModel, AHotplugPortIsConfiguredAsItStandsAndMayBeAllThatAHostHas) {
  const absl::StatusOr<HostModel> model = ParseHostModel(
      "name: h\nnics: []\nvms: {on_demand: {root_ports: 1}}\n"
      "config: {tunnel: {local: 192.0.2.1}}\n"
      "hotplug_ports:\n"
      "  - port: \"0000:09:00.0\"\n    name: dpu\n    network: converged\n    identity: slot\n"
      "    devices: [\"15b3:101e\"]\n    deadline_ms: 1500\n"
      "    functions: [{netdev: f0, mac: 52:54:00:00:00:09, pci: \"0000:0a:00.0\", after: 5ms}]\n"
      "  - {port: \"0000:09:01.0\"}\n");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->hotplug_ports[0].functions[0].after, std::chrono::milliseconds(5));
  const absl::StatusOr<DaemonConfig> config = ConfigOf(*model, "/run");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->providers.pfs.empty());
  ASSERT_EQ(config->providers.hotplug_ports.size(), 2U);
  const HotplugPortConfig& port = config->providers.hotplug_ports[0];
  EXPECT_EQ(port.port.ToString(), "0000:09:00.0");
  EXPECT_EQ(port.name, "dpu");
  EXPECT_EQ(port.network, NetworkKind::kConverged);
  EXPECT_EQ(port.identity, FunctionIdentity::kSlot);
  EXPECT_EQ(port.devices, (std::vector<PciIds>{{0x15b3, 0x101e}}));
  EXPECT_EQ(port.deadline.count(), 1500);
  EXPECT_THAT(
      DescribeHost(*model),
      ::testing::ContainsRegex("f0 +52:54:00:00:00:09 +0000:0a:00.0 +dpu\n.*0000:09:01.0\n"));
  const MacAddress next = NumberedHost(*model, 1)->hotplug_ports[0].functions[0].mac;
  EXPECT_EQ(next.ToString(), "52:54:00:01:00:09");
}

TEST(HostModel, HostsOfANumberHaveNamesMacsAndAddressesOfTheirOwn) {
  const absl::StatusOr<HostModel> model = LoadHostModel(StrCat(FAIRLEAD_MODELS, "/gpu-host.yaml"));
  ASSERT_TRUE(model.ok()) << model.status();
  std::set<MacAddress> macs;
  std::set<IpAddress> tunnels, management;
  for (uint32_t i = 0; i < 100; ++i) {
    const absl::StatusOr<HostModel> host = NumberedHost(*model, i);
    ASSERT_TRUE(host.ok()) << host.status();
    EXPECT_EQ(host->name, StrCat("gpu-host-", i));
    const absl::StatusOr<DaemonConfig> config = ConfigOf(*host, "/run");
    ASSERT_TRUE(config.ok()) << config.status();
    tunnels.insert(config->providers.tunnel.local);
    management.insert(config->providers.management_address.value());
    bool has_tunnel_address = false;
    for (const NicModel& nic : host->nics) {
      macs.insert(nic.mac);
      for (const InterfaceAddress& address : nic.addresses) {
        has_tunnel_address |= address.address == config->providers.tunnel.local;
      }
    }
    EXPECT_TRUE(has_tunnel_address) << "host " << i;
  }
  EXPECT_EQ(macs.size(), 100 * model->nics.size());
  EXPECT_EQ(tunnels.size(), 100U);
  EXPECT_EQ(management.size(), 100U);
  // 198.51.100.7 + 248 is the broadcast address of its network.
  const absl::StatusOr<HostModel> too_far = NumberedHost(*model, 248);
  ASSERT_FALSE(too_far.ok());
  EXPECT_THAT(std::string(too_far.status().message()), HasSubstr("198.51.100.255"));
}

TEST(HostModel, TheShippedModelsAreGoodAndShowWhatIsNearWhat) {
  for (const char* name : {"gpu-host", "two-nics"}) {
    const absl::StatusOr<HostModel> model =
        LoadHostModel(StrCat(FAIRLEAD_MODELS, "/", name, ".yaml"));
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->name, name);
  }
  const HostModel model = *LoadHostModel(StrCat(FAIRLEAD_MODELS, "/gpu-host.yaml"));
  EXPECT_EQ(model.gpus.size(), 8U);
  int compute = 0, converged = 0;
  for (const NicModel& nic : model.nics) {
    if (nic.vfs > 0) (nic.network == NetworkKind::kCompute ? compute : converged)++;
  }
  EXPECT_EQ(compute, 8);
  EXPECT_EQ(converged, 2);
  EXPECT_THAT(DescribeHost(model),
              ::testing::ContainsRegex("gpu3 .* sw3 +16/16 +legacy +compute +gpu3\n"));
}

TEST(HostModel, AFileThatCannotBeReadIsNamed) {
  EXPECT_THAT(std::string(LoadHostModel("/nonexistent/x.yaml").status().message()),
              HasSubstr("/nonexistent/x.yaml"));
  EXPECT_THAT(std::string(LoadHostModel("/tmp").status().message()), HasSubstr("not a file"));
}

TEST(HostModel, AFileThatIsTooLongIsToldTheLimit) {
  EXPECT_EQ(ParseHostModel(std::string(kMaxHostModelBytes + 7, ' ')).status().message(),
            "the host model has more than 1048576 bytes");
}

}  // namespace
}  // namespace fairlead
