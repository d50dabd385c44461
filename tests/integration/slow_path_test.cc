// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: what the slow path is told, and when.
#include "tests/integration/agent_fixture.h"

#include "agent/base/test_types.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SlowPathTest : public AgentTest {
 protected:
  std::optional<SlowPathEntry> Told(SlowPathKey::Kind kind, const std::string& id,
                                    const std::string& address = "") {
    const FakeSlowPath::Entries entries = host->slow_path.entries();
    const auto it =
        entries.find({kind, id, address.empty() ? IpAddress() : *IpAddress::Parse(address)});
    if (it == entries.end()) return std::nullopt;
    return it->second;
  }
  std::string MacOf(const std::string& subnet, const std::string& address) {
    const auto told = Told(SlowPathKey::Kind::kNeighbour, subnet, address);
    return told ? std::get<SlowPathNeighbour>(*told).mac.ToString() : "";
  }
  void PutEndpoint(const std::string& id, const std::string& mac, const std::string& address,
                   const std::string& vpc = "red") {
    ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                      FillEndpoint(apply, id, vpc, mac, address, "192.0.2.2");
                    })
                    .has_accepted());
  }
};

TEST_F(SlowPathTest, ItIsToldOfAPortItsSubnetAndWhoElseIsInIt) {
  Begin();
  PutEndpoint("far", "52:54:00:00:09:01", "10.0.0.9");
  PutEndpoint("blue-far", "52:54:00:00:09:02", "10.0.0.8", "blue");
  EXPECT_THAT(host->slow_path.entries(), IsEmpty()) << "nobody here asks";
  Attached("a", "red", "10.0.0.5");
  const auto port = Told(SlowPathKey::Kind::kPort, "a-red");
  ASSERT_TRUE(port) << "before it is ready";
  EXPECT_EQ(std::get<SlowPathPort>(*port), (SlowPathPort{"a-red",
                                                         "red-1",
                                                         FakeHost::Representor(0),
                                                         "pf0rep0",
                                                         FakeHost::VfMac(0),
                                                         {Ip("10.0.0.5")},
                                                         {},
                                                         "a"}));
  const auto subnet = Told(SlowPathKey::Kind::kSubnet, "red-1");
  ASSERT_TRUE(subnet);
  EXPECT_EQ(std::get<SlowPathSubnet>(*subnet).gateway4, Ip("10.0.0.254"));
  EXPECT_EQ(std::get<SlowPathSubnet>(*subnet).mtu, 8950U) << "pf0 has 9000";
  host->WaitUntil("it knows the endpoint",
                  [&] { return MacOf("red-1", "10.0.0.9") == "52:54:00:00:09:01"; });
  EXPECT_EQ(MacOf("red-1", "10.0.0.5"), FakeHost::VfMac(0).ToString());
  EXPECT_EQ(MacOf("blue-1", "10.0.0.8"), "") << "no port of it is here";
}

TEST_F(SlowPathTest, ItFollowsWhatEndpointsSubnetsAndPortsBecome) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  PutEndpoint("far", "52:54:00:00:09:01", "10.0.0.9");
  host->WaitUntil("it knows the endpoint",
                  [&] { return MacOf("red-1", "10.0.0.9") == "52:54:00:00:09:01"; });
  PutEndpoint("far", "52:54:00:00:09:03", "10.0.0.10");
  host->WaitUntil("and where it has gone", [&] {
    return MacOf("red-1", "10.0.0.9").empty() && MacOf("red-1", "10.0.0.10") == "52:54:00:00:09:03";
  });
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    v1::Subnet* subnet = apply.add_upsert()->mutable_subnet();
                    subnet->set_id("red-1");
                    subnet->set_vpc("red");
                    subnet->add_prefixes("10.0.0.0/24");
                    subnet->add_dns_servers("10.0.0.53");
                  })
                  .has_accepted());
  host->WaitUntil("the gateway is gone and a DNS server told", [&] {
    const auto subnet = Told(SlowPathKey::Kind::kSubnet, "red-1");
    return subnet && !std::get<SlowPathSubnet>(*subnet).gateway4 &&
           std::get<SlowPathSubnet>(*subnet).dns_servers.size() == 1;
  });
  ASSERT_TRUE(
      host->Apply([](v1::Apply& apply) { FillRemove(apply, v1::OBJECT_KIND_ENDPOINT, "far"); })
          .has_accepted());
  host->WaitUntil("the endpoint is forgotten", [&] { return MacOf("red-1", "10.0.0.10").empty(); });
  Attached("b", "red", "10.0.0.6");
  host->Detach("a", "red");
  host->WaitGone("a-red");
  host->WaitUntil("a is forgotten, and b is not", [&] {
    return MacOf("red-1", "10.0.0.5").empty() && !Told(SlowPathKey::Kind::kPort, "a-red") &&
           !MacOf("red-1", "10.0.0.6").empty() && Told(SlowPathKey::Kind::kPort, "b-red");
  });
  host->Detach("b", "red");
  host->WaitGone("b-red");
  host->WaitUntil("nothing is left", [&] { return host->slow_path.entries().empty(); });
}

TEST_F(SlowPathTest, WhileNobodyAnswersThePortSaysSoAndIsWellWhenItIsThereAgain) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  const FakeSlowPath::Entries before = host->slow_path.entries();
  host->slow_path.SetReachable(false);
  host->slow_path.Restart();
  PutEndpoint("far", "52:54:00:00:09:01", "10.0.0.9");  // something to tell
  const auto status = host->WaitPort(
      "a-red", [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  EXPECT_THAT(status->reason(), HasSubstr("ARP, ND and DHCP are not answered"));
  EXPECT_THAT(status->reason(), HasSubstr("Connection refused"));
  EXPECT_THAT(host->Host().slow_path().problem(), HasSubstr("Connection refused"));
  EXPECT_EQ(host->vms().at("a")->Calls(QmpMethod::kRequestRemoval), 0) << "it is never torn down";
  host->slow_path.SetReachable(true);
  host->WaitReady("a-red");
  host->WaitUntil("it knows all again", [&] {
    FakeSlowPath::Entries now = host->slow_path.entries();
    now.erase({SlowPathKey::Kind::kNeighbour, "red-1", Ip("10.0.0.9")});
    return now == before;
  });
  EXPECT_EQ(host->Host().slow_path().problem(), "");
}

TEST_F(SlowPathTest, AnAttachWithoutItIsDegradedAndSaysWhy) {
  Begin();
  host->slow_path.SetReachable(false);
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  const auto status = host->WaitPort(
      "a-red", [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  EXPECT_EQ(status->step(), "slow path");
  host->slow_path.SetReachable(true);
  host->WaitReady("a-red");
}

TEST_F(SlowPathTest, OneThatWasStartedAnewIsToldAllWithoutAnyChange) {
  Begin({}, [](DaemonConfig& config) {
    config.engine.slow_path_check = std::chrono::milliseconds(50);
  });
  Attached("a", "red", "10.0.0.5");
  const FakeSlowPath::Entries before = host->slow_path.entries();
  host->slow_path.Restart();
  host->WaitUntil("it knows all again", [&] { return host->slow_path.entries() == before; });
  host->WaitReady("a-red");
}

TEST_F(SlowPathTest, APortWhoseNetdevItDoesNotHearIsDegraded) {
  Begin({}, [](DaemonConfig& config) {
    config.engine.slow_path_check = std::chrono::milliseconds(50);
  });
  Attached("a", "red", "10.0.0.5");
  host->slow_path.SetDeaf("a-red", "Operation not permitted");
  const auto status = host->WaitPort(
      "a-red", [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  EXPECT_THAT(status->reason(), HasSubstr("Operation not permitted"));
  host->slow_path.SetDeaf("a-red", "");
  host->WaitReady("a-red");
}

// dpservice 312, the other way round: what was told once is not unsaid because it is not known
// yet after a restart.
TEST_F(SlowPathTest, ARestartedAgentUnsaysNothingBeforeItHasSeenEveryNic) {
  Begin({.pfs = 2});
  Quiet();
  TwoAttached();
  ASSERT_EQ(host->PortStatus("b-red")->vf(), FakeHost::VfName(0, 1));
  const FakeSlowPath::Entries before = host->slow_path.entries();
  ASSERT_EQ(before.size(), 5U) << "a subnet, two ports and their addresses";
  host->Stop();
  std::atomic<bool> failing = true;
  host->network->FailWhen(
      [&failing](std::string_view call) {
        return failing && call == StrCat("GetLinkWithVfs(", FakeHost::kPfLink + 1, ")");
      },
      absl::UnavailableError("torn"), 1'000'000);
  const size_t told = host->slow_path.told_all();
  host->Start();
  host->WaitUntil("what is known already is told",
                  [&] { return host->slow_path.told_all() > told; });
  host->WaitPort("b-red", [](const auto& s) { return s && !s->reason().empty(); });
  EXPECT_EQ(host->slow_path.entries(), before);
  failing = false;
  host->WaitReady("a-red");
  host->WaitReady("b-red");
  host->WaitUntil("and all is told again", [&] { return host->slow_path.told_all() > told + 1; });
  EXPECT_EQ(host->slow_path.entries(), before);
}

TEST_F(SlowPathTest, WhatWentWhileNoAgentRanIsUnsaid) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  host->Stop();
  {
    // A port that nobody knows any more.
    FakeSlowPathSocket other(&host->slow_path);
    std::vector<SlowPathEntry> all;
    for (const auto& [key, entry] : host->slow_path.entries()) all.push_back(entry);
    all.push_back(SlowPathPort{"gone", "red-1", 77, "pf0rep9", FakeHost::VfMac(3), {}, {}, ""});
    ASSERT_TRUE(other.TellAll(all, true, {}).ok());
  }
  host->Start();
  host->WaitUntil("it is unsaid", [&] { return !Told(SlowPathKey::Kind::kPort, "gone"); });
  EXPECT_TRUE(Told(SlowPathKey::Kind::kPort, "a-red"));
}

// With no port here there is nothing else to tell it, by which it would hear of that.
TEST_F(SlowPathTest, WhatWentIsUnsaidToOneThatDidNotAnswerAtTheStart) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  const FakeSlowPath::Entries before = host->slow_path.entries();
  host->Detach("a", "red");
  host->WaitGone("a-red");
  host->Stop();
  {
    FakeSlowPathSocket other(&host->slow_path);
    std::vector<SlowPathEntry> all;
    for (const auto& [key, entry] : before) all.push_back(entry);
    ASSERT_TRUE(other.TellAll(all, true, {}).ok());
  }
  host->slow_path.SetReachable(false);
  host->Start();
  host->WaitUntil("the start is over", [&] { return host->Host().start().complete(); });
  host->WaitUntil("it was to be told", [&] { return host->slow_path.refused() > 0; });
  EXPECT_EQ(host->slow_path.entries(), before);
  host->slow_path.SetReachable(true);
  host->WaitUntil("it is unsaid", [&] { return host->slow_path.entries().empty(); });
}

}  // namespace
}  // namespace fairlead
