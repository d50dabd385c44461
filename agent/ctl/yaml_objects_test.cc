// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/yaml_objects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "agent/base/text.h"
#include "fairlead/v1/intent.pb.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// "line:column: text" of each problem.
std::vector<std::string> Problems(std::string_view text) {
  v1::Apply apply;
  std::vector<std::string> lines;
  for (const YamlProblem& p : ReadObjects(text, &apply)) {
    lines.push_back(StrCat(p.line, ":", p.column, ": ", p.text));
  }
  return lines;
}

TEST(ReadObjects, ReadsEveryFieldOfEveryKind) {
  v1::Apply apply;
  EXPECT_THAT(
      ReadObjects("kind: Vpc\nid: red\nvni: 100\n"
                  "---\nkind: Subnet\nid: s\nvpc: red\nprefixes: [10.0.0.0/24, 'fd00::/64']\n"
                  "---\nkind: Vm\nid: a\nuuid: u\n"
                  "---\nkind: Port\nid: 5\nvm: a\nvpc: red\nsubnet: s\nmac: '52:54:00:00:00:01'\n"
                  "addresses:\n- 10.0.0.5\n- 10.0.0.6\nnetwork: converged\noffload: off\nfunction: "
                  "hotplug\n"
                  "---\nkind: Endpoint\nid: e\nvpc: red\nmac: 52:54:00:00:00:02\n"
                  "addresses: []\nvtep: 192.0.2.1\n"
                  "---\nkind: Route\nid: r\nvpc: red\nprefix: ::/0\nnext_hop: fd00::5\n---\n",
                  &apply),
      IsEmpty());
  ASSERT_EQ(apply.upsert_size(), 6);
  EXPECT_EQ(apply.upsert(0).ShortDebugString(), R"(vpc { id: "red" vni: 100 })");
  EXPECT_EQ(apply.upsert(1).subnet().prefixes(1), "fd00::/64");
  EXPECT_EQ(apply.upsert(2).vm().uuid(), "u");
  const v1::Port& port = apply.upsert(3).port();
  EXPECT_EQ(port.id(), "5");
  EXPECT_EQ(port.addresses_size(), 2);
  EXPECT_EQ(port.network(), v1::NETWORK_KIND_CONVERGED);
  EXPECT_EQ(port.offload(), v1::OFFLOAD_WISH_OFF);
  EXPECT_EQ(port.function(), v1::FUNCTION_SOURCE_HOTPLUG);
  EXPECT_EQ(apply.upsert(4).endpoint().mac(), "52:54:00:00:00:02");
  EXPECT_EQ(apply.upsert(5).ShortDebugString(),
            R"(route { id: "r" vpc: "red" prefix: "::/0" next_hop: "fd00::5" })");
}

TEST(ReadObjects, KnowsWhereInTheTextAPathOfTheAgentIs) {
  v1::Apply apply;
  ObjectPlaces places;
  ASSERT_THAT(ReadObjects("# two\nkind: Vpc\nid: red\nvni: 5\n---\nid: a0\nmac: x\nkind: Port\n"
                          "addresses:\n  - 10.0.0.5\n  - y\n",
                          &apply, &places),
              IsEmpty());
  const std::pair<const char*, const char*> described[] = {
      {"apply.upsert[0].vpc.vni", "f:4:6: vpc.vni"},
      {"apply.upsert[1].port.mac", "f:7:6: port.mac"},
      {"apply.upsert[1].port.addresses", "f:10:3: port.addresses"},
      {"apply.upsert[1].port.addresses[1]", "f:11:5: port.addresses[1]"},
      // What is not there is missing in what stands around it.
      {"apply.upsert[1].port.addresses[7]", "f:10:3: port.addresses[7]"},
      {"apply.upsert[1].port.subnet", "f:6:1: port.subnet"},
      {"apply.upsert[1]", "f:6:1"},
      {"apply.upsert[2].port", "apply.upsert[2].port"},
      {"apply.remove[0]", "apply.remove[0]"},
      {"request_id", "request_id"},
      {"", ""},
  };
  for (const auto& [path, text] : described) EXPECT_EQ(places.Describe("f", path), text);
}

TEST(ReadObjects, ReadsWhatIsOfVlanNetworks) {
  v1::Apply apply;
  EXPECT_THAT(ReadObjects("kind: Vpc\nid: lan\nvlan: 100\n"
                          "---\nkind: Port\nid: p\nspoof_check: off\ntrust: true\n"
                          "max_tx_mbps: 500\nmin_tx_mbps: 100\n",
                          &apply),
              IsEmpty());
  EXPECT_EQ(apply.upsert(0).vpc().vlan(), 100U);
  EXPECT_EQ(apply.upsert(1).ShortDebugString(),
            R"(port { id: "p" spoof_check: SPOOF_CHECK_OFF trust: true max_tx_mbps: 500 )"
            R"(min_tx_mbps: 100 })");
  EXPECT_THAT(Problems("kind: Port\nid: p\nspoof_check: maybe\ntrust: yes\n"),
              ElementsAre(HasSubstr("3:14: spoof_check must be on or off"),
                          HasSubstr("4:8: trust must be true or false")));
}

TEST(ReadObjects, ReadsWhatIsOfRoutedVpcs) {
  v1::Apply apply;
  ObjectPlaces places;
  ASSERT_THAT(ReadObjects("kind: Subnet\nid: s\ngateways: [10.0.0.1, 'fd00::1']\n"
                          "dns_servers:\n- 10.0.0.2\n"
                          "---\nkind: Port\nid: p\nallowed_pairs:\n- prefix: 10.0.0.100\n"
                          "- {mac: '02:00:5e:00:01:07', prefix: 10.0.9.0/24}\n",
                          &apply, &places),
              IsEmpty());
  EXPECT_EQ(apply.upsert(0).subnet().ShortDebugString(),
            R"(id: "s" gateways: "10.0.0.1" gateways: "fd00::1" dns_servers: "10.0.0.2")");
  EXPECT_EQ(apply.upsert(1).port().ShortDebugString(),
            R"(id: "p" allowed_pairs { prefix: "10.0.0.100" } )"
            R"(allowed_pairs { mac: "02:00:5e:00:01:07" prefix: "10.0.9.0/24" })");
  EXPECT_EQ(places.Describe("f", "apply.upsert[0].subnet.gateways[1]"),
            "f:3:22: subnet.gateways[1]");
  EXPECT_EQ(places.Describe("f", "apply.upsert[1].port.allowed_pairs[0].prefix"),
            "f:10:11: port.allowed_pairs[0].prefix");
  EXPECT_EQ(places.Describe("f", "apply.upsert[1].port.allowed_pairs[0].mac"),
            "f:10:3: port.allowed_pairs[0].mac");
  EXPECT_EQ(places.Describe("f", "apply.upsert[1].port.allowed_pairs[1].mac"),
            "f:11:9: port.allowed_pairs[1].mac");
  EXPECT_THAT(
      Problems("kind: Port\nid: p\nallowed_pairs:\n- 10.0.0.100\n- {prefix: [a]}\n"
               "- {address: b}\n- {mac: x, prefix: y, mac: z}\n- {prefix: }\n-\n"),
      ElementsAre(HasSubstr("4:3: allowed_pairs must be a list of maps with mac, prefix"),
                  HasSubstr("5:12: prefix must be text"),
                  HasSubstr("6:4: an AddressPair has no field 'address'; it has mac, prefix"),
                  HasSubstr("7:23: key 'mac' is written twice; first in line 7"),
                  HasSubstr("prefix has no value"), HasSubstr("must be a list of maps")));
  EXPECT_THAT(Problems("kind: Port\nid: p\nallowed_pairs: {prefix: a}\n"),
              ElementsAre(HasSubstr("3:16: allowed_pairs must be a list")));
  EXPECT_THAT(Problems("kind: Subnet\nid: s\ngateways: 10.0.0.1\n"),
              ElementsAre(HasSubstr("3:11: gateways must be a list")));
}

TEST(ReadObjects, TheShippedExamplesAreGood) {
  for (const char* name : {"network.yaml", "vm.yaml", "vlan.yaml"}) {
    std::ifstream file(StrCat(FAIRLEAD_EXAMPLES, "/", name));
    std::stringstream text;
    text << file.rdbuf();
    v1::Apply apply;
    EXPECT_THAT(Problems(text.str()), IsEmpty()) << name;
    ReadObjects(text.str(), &apply);
    EXPECT_GE(apply.upsert_size(), 2) << name;
  }
}

TEST(ReadObjects, ListsEveryMistakeWithLineAndColumn) {
  EXPECT_THAT(
      Problems("kind: Vpc\nid: x\nvni: many\ncolour: red\nid: y\n---\nkind: Cow\n---\nid: z\n"
               "---\nkind: Port\nvm: [a]\naddresses: 10.0.0.1\nnetwork: lan\noffload: maybe\n"
               "function: pf\n"
               "mac:\n"),
      ElementsAre(HasSubstr("5:1: key 'id' is written twice; first in line 2"),
                  HasSubstr("3:6: vni must be a whole number"),
                  HasSubstr("4:1: a Vpc has no field 'colour'; it has id, vni, vlan"),
                  HasSubstr("7:7: kind 'Cow' is not known"), HasSubstr("9:1: no kind"),
                  HasSubstr("12:5: vm must be text"), HasSubstr("13:12: addresses must be a list"),
                  HasSubstr("14:10: network must be compute or converged"),
                  HasSubstr("15:10: offload must be must, prefer or off"),
                  HasSubstr("16:11: function must be vf or hotplug"), HasSubstr("mac has no value"),
                  HasSubstr("11:1: this Port has no id")));
}

TEST(ReadObjects, NumbersAreWholePlainAndInRange) {
  for (const char* vni : {"-1", "1.5", "4294967296", "'5'", "0x10", "5a", "[5]"}) {
    EXPECT_THAT(Problems(StrCat("kind: Vpc\nid: x\nvni: ", vni, "\n")),
                ElementsAre(HasSubstr("vni must be")))
        << vni;
  }
}

TEST(ReadObjects, SaysWhereTextIsNotYaml) {
  EXPECT_THAT(Problems("kind: Vpc\nid: x\nvni: 5\n---\nkind: [Vpc\n"), ElementsAre(HasSubstr(":")));
  EXPECT_THAT(Problems("- a\n- b\n"), ElementsAre(HasSubstr("1:1: an object is written as a map")));
  EXPECT_THAT(Problems(""), ElementsAre("0:0: holds no object"));
  EXPECT_THAT(Problems("# nothing\n---\n---\n"), ElementsAre("0:0: holds no object"));
  EXPECT_THAT(Problems(std::string_view("kind: Vpc\0", 10)), ElementsAre(HasSubstr("NUL")));
}

TEST(ReadObjects, RefusesAliasesSoThatNoBombGoesOff) {
  EXPECT_THAT(Problems("kind: Vm\nid: &a x\nuuid: *a\n"),
              ::testing::Contains(HasSubstr("3:7: aliases")));
}

TEST(ReadObjects, BoundsSizeDepthNodesAndProblems) {
  EXPECT_THAT(Problems(std::string(kMaxYamlBytes + 1, ' ')), ElementsAre(HasSubstr("4194304")));
  EXPECT_THAT(Problems(std::string(100'000, '[')), ElementsAre(HasSubstr("nested more than")));
  std::string many = "kind: Port\nid: x\naddresses: [";
  for (size_t i = 0; i <= kMaxYamlNodes; ++i) many += "a,";
  EXPECT_THAT(Problems(many + "]\n"), ::testing::Contains(HasSubstr("more than 200000 values")));
  std::string bad;
  for (int i = 0; i < 1000; ++i) bad += "kind: Cow\n---\n";
  EXPECT_EQ(Problems(bad).size(), kMaxYamlProblems);
}

TEST(ReadObjects, SaysThatOneMessageHoldsNoMore) {
  std::string text;
  for (int i = 0; i < 1030; ++i) text += StrCat("kind: Vpc\nid: v", i, "\nvni: ", i + 1, "\n---\n");
  EXPECT_THAT(Problems(text), ElementsAre(HasSubstr("more than 1024 objects")));
}

}  // namespace
}  // namespace fairlead
