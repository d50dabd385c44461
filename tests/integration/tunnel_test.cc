// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: the one tunnel, its MTU and what carries it, its kind, and who may
// send by it.
#include <errno.h>

#include <algorithm>

#include "agent/base/error.h"
#include "dataplane/pipeline/pipeline.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class TunnelTest : public AgentTest {
 protected:
  using Change = std::function<void(TunnelConfig&)>;
  static Configure Tunnel(const Change& change) {
    return [change](DaemonConfig& config) {
      change(config.providers.tunnel);
      config.engine.compile.tunnel = config.providers.tunnel;
    };
  }
  LinkInfo Device(const std::string& name = "fl-vxlan0") {
    FakeRtnetlinkPort links(host->network);
    return links.GetLink(name).value_or(LinkInfo());
  }
  void SetUnderlayMtu(uint32_t mtu) {
    host->network->ChangeLink(FakeHost::kPfLink, [mtu](LinkInfo& link) { link.mtu = mtu; });
  }
  uint32_t ToldMtu() {
    const FakeSlowPath::Entries entries = host->slow_path.entries();
    const auto it = entries.find({SlowPathKey::Kind::kSubnet, "red-1", {}});
    return it == entries.end() ? 0 : std::get<SlowPathSubnet>(it->second).mtu;
  }
  std::vector<TcFilter> TunnelRules() { return host->network->Filters({0, Device().ifindex}); }
  v1::HostState HostWithDrops() {
    v1::Request request;
    request.mutable_get_host()->set_tunnel_drops(true);
    return host->Send(request).host();
  }
};

TEST_F(TunnelTest, ItsMtuIsWhatTheUnderlayCarriesAndFollowsItAndGuestsAreTold) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  EXPECT_EQ(Device().mtu, 8950U);
  EXPECT_EQ(ToldMtu(), 8950U);
  SetUnderlayMtu(1500);
  host->WaitUntil("the tunnel follows", [&] { return Device().mtu == 1450; });
  host->WaitUntil("and guests are told", [&] { return ToldMtu() == 1450; });
  EXPECT_EQ(host->PortStatus("a-red")->state(), v1::OBJECT_STATE_READY);
  EXPECT_EQ(host->Host().tunnel(), "fl-vxlan0 vxlan local 192.0.2.1 port 4789 mtu 1450");
}

TEST_F(TunnelTest, APortIsRefusedWhereTheUnderlayIsTooSmallUntilItIsNot) {
  Begin({}, Tunnel([](TunnelConfig& t) { t.mtu = 9000; }));
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  const v1::ObjectStatus failed = host->WaitFailed("a-red");
  EXPECT_EQ(failed.step(), "tunnel mtu");
  EXPECT_THAT(failed.reason(), AllOf(HasSubstr("tunnel.mtu is 9000"), HasSubstr("pf0"),
                                     HasSubstr("carries 8950"), HasSubstr("to 9050")));
  EXPECT_EQ(Device().ifindex, 0U) << "no tunnel is made";
  EXPECT_THAT(host->Host().tunnel_problem(), HasSubstr("carries 8950"));
  SetUnderlayMtu(9050);
  host->WaitReady("a-red");
  EXPECT_EQ(Device().mtu, 9000U);
  EXPECT_EQ(host->Host().tunnel_problem(), "");
}

TEST_F(TunnelTest, APortThatWasReadyStaysAndSaysThatTheUnderlayShrank) {
  Begin({}, Tunnel([](TunnelConfig& t) { t.mtu = 8000; }));
  const auto vm = Attached("a", "red", "10.0.0.5");
  SetUnderlayMtu(1500);
  const auto degraded = host->WaitPort(
      "a-red", [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  EXPECT_EQ(degraded->step(), "tunnel mtu");
  EXPECT_THAT(degraded->reason(), HasSubstr("carries 1450"));
  EXPECT_EQ(Device().mtu, 8000U);
  EXPECT_TRUE(vm->Find(degraded->guest_device()));
  host->AddVm("b");
  host->Attach("b", "red", "10.0.0.6");
  EXPECT_EQ(host->WaitFailed("b-red").step(), "tunnel mtu");
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0);
  SetUnderlayMtu(9000);
  host->WaitReady("a-red");
  host->WaitReady("b-red");
}

// The agent that comes after finds the tunnel as it was, with an MTU that is refused now.
TEST_F(TunnelTest, ARestartWithAnMtuThatIsRefusedTakesNothingAway) {
  Begin();
  const auto vm = Attached("a", "red", "10.0.0.5");
  host->Stop();
  Tunnel([](TunnelConfig& t) { t.mtu = 9500; })(host->config);
  host->Start();
  const auto degraded = host->WaitPort(
      "a-red", [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  EXPECT_EQ(degraded->step(), "tunnel mtu");
  EXPECT_EQ(Device().mtu, 8950U);
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0);
}

TEST_F(TunnelTest, OrTheMtuIsClampedAndTheStatusSaysSo) {
  Begin({}, Tunnel([](TunnelConfig& t) {
          t.mtu = 9000;
          t.mtu_policy = TunnelMtuPolicy::kClamp;
        }));
  Attached("a", "red", "10.0.0.5");
  EXPECT_EQ(Device().mtu, 8950U);
  EXPECT_EQ(ToldMtu(), 8950U);
  EXPECT_THAT(host->Host().tunnel_note(), AllOf(HasSubstr("9000"), HasSubstr("8950 is used")));
  EXPECT_EQ(host->Host().tunnel_problem(), "");
}

TEST_F(TunnelTest, TheLocalAddressThatComesLaterIsNoticed) {
  Begin({}, [this](DaemonConfig&) {
    host->network->RemoveAddress(FakeHost::kPfLink, *IpAddress::Parse(FakeHost::kLocal));
  });
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_THAT(host->WaitFailed("a-red").reason(), HasSubstr("no device of this host has"));
  host->network->AddAddress(FakeHost::kPfLink, *IpAddress::Parse(FakeHost::kLocal),
                            *IpPrefix::Parse("192.0.2.0/24"));
  host->WaitReady("a-red");
}

TEST_F(TunnelTest, AnotherKindIsMadeInItsPlaceAndNoVmLosesItsDevice) {
  Begin();
  const auto vm = Attached("a", "red", "10.0.0.5");
  const std::string device = host->PortStatus("a-red")->guest_device();
  host->Stop();
  Tunnel([](TunnelConfig& t) {
    t.encapsulation = Encapsulation::kGeneve;
    t.device = DefaultTunnelDevice(Encapsulation::kGeneve);
    t.udp_port = DefaultUdpPort(Encapsulation::kGeneve);
  })(host->config);
  host->Start();
  host->WaitUntil("the other device stands with its rules", [&] {
    const LinkInfo geneve = Device("fl-geneve0");
    const std::vector<TcFilter> rules = host->network->Filters({0, geneve.ifindex});
    return geneve.up && std::any_of(rules.begin(), rules.end(), [](const TcFilter& rule) {
             return rule.id.priority == kPrioDeliver && rule.match.enc_dst_port == 6081;
           });
  });
  EXPECT_EQ(Device("fl-geneve0").kind, "geneve");
  EXPECT_EQ(Device("fl-vxlan0").ifindex, 0U);
  host->WaitReady("a-red");
  EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0);
  EXPECT_EQ(host->PortStatus("a-red")->guest_device(), device);
  EXPECT_THAT(host->Host().tunnel(), HasSubstr("fl-geneve0 geneve local"));
}

TEST_F(TunnelTest, OnlyPeersMaySendAndAnEndpointOfNoPeerSaysSo) {
  Begin({}, Tunnel([](TunnelConfig& t) {
          t.peers = {*IpPrefix::Parse("192.0.2.0/25"), *IpPrefix::Parse("198.51.100.0/24")};
        }));
  Attached("a", "red", "10.0.0.5");
  std::vector<std::string> senders;
  for (const TcFilter& rule : TunnelRules()) {
    if (!rule.match.dst_mac) continue;
    EXPECT_TRUE(rule.match.enc_src);
    senders.push_back(StrCat(rule.id.priority, " ", rule.match.enc_src->ToString()));
  }
  EXPECT_THAT(senders, ::testing::ElementsAre(StrCat(kPrioDeliver, " 192.0.2.0/25"),
                                              StrCat(kPrioDeliver + 1, " 198.51.100.0/24")));
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    FillEndpoint(apply, "far", "red", "52:54:00:00:09:01", "10.0.0.9", "192.0.2.2");
                    FillEndpoint(apply, "odd", "red", "52:54:00:00:09:02", "10.0.0.8",
                                 "192.0.2.200");
                  })
                  .has_accepted());
  host->WaitUntil("the endpoint of a peer is ready",
                  [&] { return EndpointStatus("far").state() == v1::OBJECT_STATE_READY; });
  host->WaitUntil("the other says why not", [&] {
    return EndpointStatus("odd").state() == v1::OBJECT_STATE_DEGRADED &&
           EndpointStatus("odd").step() == "tunnel peers";
  });
  EXPECT_THAT(EndpointStatus("odd").reason(), HasSubstr("192.0.2.200"));
}

TEST_F(TunnelTest, WhatItDropsIsCountedByVpcAndOfUnknownVnisTogether) {
  Begin();
  EXPECT_EQ(HostWithDrops().tunnel_drops().unknown_vni(), 0U) << "there is no tunnel yet";
  Attached("a", "red", "10.0.0.5");
  Attached("b", "blue", "10.0.0.5");
  const TcAttachPoint at{0, Device().ifindex};
  for (const TcFilter& rule : TunnelRules()) {
    if (rule.id.priority == kPrioDefaultDrop) host->network->Count(at, rule.id, {{3, 300}, {}});
    if (rule.id.priority == kPrioUntaken && rule.match.enc_key_id == 1000U) {
      host->network->Count(at, rule.id, {{12, 1200}, {}});
    }
    if (rule.id.priority == kPrioDeliver) host->network->Count(at, rule.id, {{1000, 90'000}, {}});
  }
  const v1::HostState state = HostWithDrops();
  ASSERT_TRUE(state.has_tunnel_drops());
  EXPECT_EQ(state.tunnel_drops().unknown_vni(), 3U);
  ASSERT_EQ(state.tunnel_drops().vpcs_size(), 2) << state.tunnel_drops().ShortDebugString();
  EXPECT_EQ(state.tunnel_drops().vpcs(0).vpc(), "blue");
  EXPECT_EQ(state.tunnel_drops().vpcs(0).packets(), 0U);
  EXPECT_EQ(state.tunnel_drops().vpcs(1).packets(), 12U);
  EXPECT_FALSE(host->Host().has_tunnel_drops()) << "not asked for";
}

TEST_F(TunnelTest, DropsThatCannotBeReadAreSaidToBeSo) {
  Begin({},
        [](DaemonConfig& config) { config.engine.count_within = std::chrono::milliseconds(20); });
  Attached("a", "red", "10.0.0.5");
  {
    Gate gate(*host->network, "Get(filter");
    EXPECT_THAT(HostWithDrops().tunnel_drops().problem(), HasSubstr("not read within 20 ms"));
    EXPECT_THAT(HostWithDrops().tunnel_drops().problem(), HasSubstr("not read within 20 ms"));
  }
  host->WaitUntil("they are read again",
                  [&] { return HostWithDrops().tunnel_drops().problem().empty(); });
}

TEST_F(TunnelTest, OneThatCannotBeTakenAwayIsSaidUntilItIs) {
  Begin();
  const std::string before = Quiet();
  Attached("a", "red", "10.0.0.5");
  EXPECT_EQ(host->Host().problems_size(), 0);
  host->network->FailWhen([](std::string_view call) { return call.starts_with("DeleteLink("); },
                          SystemError(EBUSY, "delete the link"), 1'000'000);
  host->Detach("a", "red");
  host->WaitGone("a-red");
  host->WaitUntil("it is said", [&] { return host->Host().problems_size() == 1; });
  EXPECT_THAT(host->Host().problems(0),
              AllOf(HasSubstr("host: tunnel delete: "), HasSubstr("resource busy")));
  host->network->ClearFaults();
  WaitNothingLeft(before);
  host->WaitUntil("nothing is wrong", [&] { return host->Host().problems_size() == 0; });
}

}  // namespace
}  // namespace fairlead
