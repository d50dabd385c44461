// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: endpoints, and MACs that go from one object to
// another.
#include <algorithm>

#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class EndpointTest : public AgentTest {
 protected:
  static std::string Mac(int n) { return StrCat("52:54:00:00:09:0", n); }
  // Endpoint "e<n>" of "red", at 10.0.0.2<n>.
  v1::Reply PutEndpoint(const std::string& id, const std::string& mac, const std::string& vtep,
                        const std::string& remove = "") {
    return host->Apply([&](v1::Apply& apply) {
      FillEndpoint(apply, id, "red", mac, StrCat("10.0.0.2", id.back() - '0'), vtep);
      if (!remove.empty()) FillRemove(apply, v1::OBJECT_KIND_ENDPOINT, remove);
    });
  }
  void WaitEndpoint(const std::string& id, v1::ObjectState state) {
    host->WaitUntil(StrCat(id, " is ", v1::ObjectState_Name(state)),
                    [&] { return EndpointStatus(id).state() == state; });
  }
  // Whether frames to this MAC go to that host.
  bool Leads(const std::string& mac, const std::string& vtep) {
    for (const TcFilter& filter : Block(1000)) {
      if (filter.id.priority != kPrioDeliver || !filter.match.dst_mac ||
          filter.match.dst_mac->ToString() != mac) {
        continue;
      }
      for (const TcAction& action : filter.actions) {
        const auto* tunnel = std::get_if<TcTunnelSet>(&action);
        if (tunnel != nullptr && tunnel->dst.ToString() == vtep) return true;
      }
    }
    return false;
  }
};

TEST_F(EndpointTest, EndpointsSayWhetherTheirNextHopIsThere) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  ASSERT_TRUE(PutEndpoint("near1", Mac(1), "192.0.2.2").has_accepted());
  ASSERT_TRUE(PutEndpoint("silent2", Mac(2), "192.0.2.77").has_accepted());
  ASSERT_TRUE(PutEndpoint("nowhere3", Mac(3), "203.0.113.5").has_accepted());
  WaitEndpoint("near1", v1::OBJECT_STATE_READY);
  WaitEndpoint("silent2", v1::OBJECT_STATE_DEGRADED);
  WaitEndpoint("nowhere3", v1::OBJECT_STATE_DEGRADED);
  EXPECT_THAT(EndpointStatus("silent2").reason(), HasSubstr("192.0.2.77"));
  EXPECT_THAT(EndpointStatus("nowhere3").reason(), HasSubstr("route"));
}

// The kernel refuses a second rule with the MAC of a first: what goes is taken away
// before what comes is made, so that nothing has to be tried twice.
TEST_F(EndpointTest, AnEndpointsMacMayGoToAnotherInOneChange) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  ASSERT_TRUE(PutEndpoint("e1", Mac(1), "192.0.2.2").has_accepted());
  WaitEndpoint("e1", v1::OBJECT_STATE_READY);
  host->network->ClearCalls();
  ASSERT_TRUE(PutEndpoint("e2", Mac(1), "192.0.2.2", "e1").has_accepted());
  WaitEndpoint("e2", v1::OBJECT_STATE_READY);
  const std::string block = StrCat("(block ", BlockIndex(1000), " ");
  const std::string deliver = StrCat(" prio ", kPrioDeliver, " ");
  std::vector<std::string> changes;
  for (const std::string& call : host->network->Calls()) {
    for (const char* verb : {"Put", "Delete"}) {
      if (call.starts_with(StrCat(verb, block)) && call.find(deliver) != std::string::npos) {
        changes.push_back(call);
      }
    }
  }
  EXPECT_THAT(changes, ::testing::ElementsAre(StartsWith("Delete"), StartsWith("Put")))
      << StrJoin(changes, "\n");
  EXPECT_TRUE(Leads(Mac(1), "192.0.2.2"));
}

TEST_F(EndpointTest, TwoEndpointsMaySwapTheirMacs) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  ASSERT_TRUE(PutEndpoint("e1", Mac(1), "192.0.2.2").has_accepted());
  ASSERT_TRUE(PutEndpoint("e2", Mac(2), "192.0.2.3").has_accepted());
  host->WaitUntil("each MAC leads to its host",
                  [&] { return Leads(Mac(1), "192.0.2.2") && Leads(Mac(2), "192.0.2.3"); });
  ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                    FillEndpoint(apply, "e1", "red", Mac(2), "10.0.0.21", "192.0.2.2");
                    FillEndpoint(apply, "e2", "red", Mac(1), "10.0.0.22", "192.0.2.3");
                  })
                  .has_accepted());
  host->WaitUntil("each MAC leads to the other host",
                  [&] { return Leads(Mac(2), "192.0.2.2") && Leads(Mac(1), "192.0.2.3"); });
}

// sonic-swss 3979: a removal and what made it again were not merged, and a drop was left.
TEST_F(EndpointTest, AnEndpointThatIsMadeAgainWhileItIsBeingRemovedIsReached) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  ASSERT_TRUE(PutEndpoint("e1", Mac(1), "192.0.2.2").has_accepted());
  WaitEndpoint("e1", v1::OBJECT_STATE_READY);
  const std::vector<TcFilter> rules = Block(1000);
  Gate gate(*host->network, StrCat("Delete(block ", BlockIndex(1000)));
  ASSERT_TRUE(
      host->Apply([](v1::Apply& apply) { FillRemove(apply, v1::OBJECT_KIND_ENDPOINT, "e1"); })
          .has_accepted());
  ASSERT_TRUE(PutEndpoint("e1", Mac(1), "192.0.2.2").has_accepted());
  gate.Open();
  host->WaitUntil("it is reached again", [&] {
    return EndpointStatus("e1").state() == v1::OBJECT_STATE_READY && Leads(Mac(1), "192.0.2.2");
  });
  EXPECT_EQ(Block(1000).size(), rules.size());
}

TEST_F(EndpointTest, AVtepOfTheOtherAddressFamilyIsRefusedByName) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  ASSERT_TRUE(PutEndpoint("e1", Mac(1), "192.0.2.2").has_accepted());
  for (const char* id : {"e2", "e1"}) {  // a new one, and one that would become such
    const v1::Reply reply = PutEndpoint(id, Mac(id[1] - '0'), "2001:db8::2");
    ASSERT_EQ(reply.rejected().violations_size(), 1) << reply.ShortDebugString();
    EXPECT_EQ(reply.rejected().violations(0).path(), "apply.upsert[0].endpoint.vtep");
    EXPECT_EQ(reply.rejected().violations(0).code(), v1::Rejected::CODE_UNSUPPORTED);
    EXPECT_THAT(reply.rejected().violations(0).reason(), HasSubstr("192.0.2.1"));
  }
  EXPECT_FALSE(host->Status(v1::OBJECT_KIND_ENDPOINT, "e2"));
  WaitEndpoint("e1", v1::OBJECT_STATE_READY);
  EXPECT_TRUE(Leads(Mac(1), "192.0.2.2"));
}

// The port asked for no MAC, so that only the host knows which one it has.
TEST_F(EndpointTest, TheMacThatAPortGotWithItsVfIsRefusedToOthersUntilItIsGone) {
  Begin();
  TwoAttached();
  const std::string mac = host->PortStatus("a-red")->mac();
  ASSERT_EQ(mac, FakeHost::VfMac(0).ToString());
  const v1::Reply reply = PutEndpoint("e1", mac, "192.0.2.2");
  ASSERT_EQ(reply.rejected().violations_size(), 1) << reply.ShortDebugString();
  EXPECT_EQ(reply.rejected().violations(0).path(), "apply.upsert[0].endpoint.mac");
  EXPECT_EQ(reply.rejected().violations(0).code(), v1::Rejected::CODE_CONFLICT);
  EXPECT_THAT(reply.rejected().violations(0).reason(), HasSubstr("port/a-red"));
  v1::Request request = host->AddVmRequest("c", "red", "10.0.0.7");
  request.mutable_add_vm_to_vpc()->set_mac(mac);
  const v1::Reply port = host->Send(request);
  ASSERT_EQ(port.rejected().violations_size(), 1) << port.ShortDebugString();
  EXPECT_EQ(port.rejected().violations(0).path(), "add_vm_to_vpc.mac");
  EXPECT_THAT(port.rejected().violations(0).reason(), HasSubstr("port/a-red"));
  EXPECT_FALSE(Leads(mac, "192.0.2.2"));
  host->Detach("a", "red");
  host->WaitGone("a-red");
  ASSERT_TRUE(PutEndpoint("e1", mac, "192.0.2.2").has_accepted());
  WaitEndpoint("e1", v1::OBJECT_STATE_READY);
  EXPECT_TRUE(Leads(mac, "192.0.2.2"));
  EXPECT_EQ(host->PortStatus("b-red")->state(), v1::OBJECT_STATE_READY);
}

// Right after a start nobody knows yet which MAC the port has.
TEST_F(EndpointTest, AnEndpointThatWasAcceptedWithTheMacOfAPortWaitsUntilThatIsGone) {
  Begin();
  TwoAttached();
  const std::string mac = host->PortStatus("a-red")->mac();
  host->Stop();
  Gate nic(*host->network, "GetLink(pf0rep0)");
  host->Start();
  ASSERT_TRUE(PutEndpoint("e1", mac, "192.0.2.2").has_accepted());
  nic.Open();
  WaitEndpoint("e1", v1::OBJECT_STATE_DEGRADED);
  EXPECT_THAT(EndpointStatus("e1").reason(), HasSubstr("that of port a-red"));
  EXPECT_FALSE(Leads(mac, "192.0.2.2"));
  host->WaitReady("a-red");
  host->Detach("a", "red");
  host->WaitGone("a-red");
  WaitEndpoint("e1", v1::OBJECT_STATE_READY);
  EXPECT_TRUE(Leads(mac, "192.0.2.2"));
  EXPECT_EQ(host->PortStatus("b-red")->state(), v1::OBJECT_STATE_READY);
}

}  // namespace
}  // namespace fairlead
