// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: what it says becomes of a packet, with the rules as the kernel
// has them at that moment.
#include "dataplane/pipeline/pipeline.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ExplainTest : public AgentTest {
 protected:
  static v1::Request Ask(const std::string& port, const std::string& to) {
    v1::Request request;
    request.mutable_explain_flow()->set_port(port);
    request.mutable_explain_flow()->set_to(to);
    return request;
  }
  v1::FlowExplanation Explain(const v1::Request& request) {
    const v1::Reply reply = host->Send(request);
    EXPECT_TRUE(reply.has_flow()) << reply.ShortDebugString();
    return reply.flow();
  }
  v1::FlowExplanation Explain(const std::string& port, const std::string& to) {
    return Explain(Ask(port, to));
  }
  v1::Rejected::Violation Refused(const v1::Request& request) {
    const v1::Reply reply = host->Send(request);
    EXPECT_EQ(reply.rejected().violations_size(), 1) << reply.ShortDebugString();
    return reply.rejected().violations_size() > 0 ? reply.rejected().violations(0)
                                                  : v1::Rejected::Violation();
  }
  void PutEndpoint(const std::string& id, const std::string& mac, const std::string& address,
                   const std::string& vtep, v1::ObjectState state) {
    ASSERT_TRUE(
        host->Apply([&](v1::Apply& apply) { FillEndpoint(apply, id, "red", mac, address, vtep); })
            .has_accepted());
    host->WaitUntil(id, [&] { return EndpointStatus(id).state() == state; });
  }
  // The rule of the block that delivers to a representor within a subnet.
  TcFilter Delivery(uint32_t vni, uint32_t representor) {
    for (const TcFilter& filter : Block(vni)) {
      const auto* out = std::get_if<TcMirred>(&filter.actions.back());
      if (filter.id.priority == kPrioDeliver && out != nullptr && out->ifindex == representor) {
        return filter;
      }
    }
    ADD_FAILURE() << "no delivery to " << representor;
    return {};
  }
  void Tamper(TcChange::Verb verb, const TcFilter& filter) {
    FakeTcPort tc(host->network);
    const TcChange change{verb, {BlockIndex(1000), 0}, filter};
    ASSERT_TRUE(tc.Apply({&change, 1}).front().ok());
  }
};

TEST_F(ExplainTest, WithinASubnetOfThisHost) {
  Begin({.offload_capable = true});
  TwoAttached();
  const v1::FlowExplanation flow = Explain("a-red", "10.0.0.6");
  EXPECT_EQ(flow.verdict().kind(), "delivered") << flow.ShortDebugString();
  EXPECT_EQ(flow.verdict().port(), "b-red");
  EXPECT_FALSE(flow.has_compiled());
  EXPECT_EQ(flow.from(), "port/a-red");
  EXPECT_EQ(flow.lookup().question(), "ARP: who has 10.0.0.6?");
  EXPECT_EQ(flow.lookup().mac(), FakeHost::VfMac(1).ToString());
  EXPECT_EQ(flow.packet().dst_mac(), FakeHost::VfMac(1).ToString());
  ASSERT_EQ(flow.steps_size(), 2);
  EXPECT_EQ(flow.steps(0).owner(), "port/a-red");
  EXPECT_EQ(flow.steps(1).owner(), "port/b-red");
  EXPECT_EQ(flow.steps(1).priority(), kPrioDeliver);
  EXPECT_EQ(flow.steps(1).state(), "hardware");
  EXPECT_EQ(flow.path(), "hardware") << flow.path_why();
  EXPECT_THAT(flow.disagreements(), IsEmpty());
  EXPECT_THAT(flow.notes(), IsEmpty());
}

TEST_F(ExplainTest, ANicThatOffloadsNothingForwardsInSoftware) {
  Begin();
  TwoAttached();
  const v1::FlowExplanation flow = Explain("a-red", "10.0.0.6");
  EXPECT_EQ(flow.verdict().port(), "b-red");
  EXPECT_EQ(flow.path(), "software");
  EXPECT_THAT(flow.path_why(), HasSubstr("runs in software"));
}

TEST_F(ExplainTest, ToAnotherSubnetAndToOneThatIsNotRouted) {
  Begin();
  PutSecondSubnet("10.0.1.1");
  AttachIn("a", "red-1", "10.0.0.5");
  AttachIn("b", "red-2", "10.0.1.5");
  v1::FlowExplanation flow = Explain("a-red", "10.0.1.5");
  EXPECT_EQ(flow.verdict().port(), "b-red") << flow.ShortDebugString();
  EXPECT_EQ(flow.lookup().mac(), kGatewayMac.ToString());
  ASSERT_EQ(flow.steps_size(), 3);
  EXPECT_EQ(flow.steps(2).stage(), "routes of VPC red");
  EXPECT_EQ(flow.out().ttl(), 63U);
  v1::Request spent = Ask("a-red", "10.0.1.5");
  spent.mutable_explain_flow()->set_ttl(1);
  flow = Explain(spent);
  EXPECT_EQ(flow.verdict().kind(), "slow path");
  EXPECT_THAT(flow.verdict().why(), HasSubstr("TTL of 1"));
  EXPECT_EQ(flow.path(), "slow path");
  PutSecondSubnet("");
  host->WaitUntil("it is routed no more",
                  [&] { return Explain("a-red", "10.0.1.5").verdict().kind() == "dropped"; });
  EXPECT_THAT(Explain("a-red", "10.0.1.5").verdict().why(), HasSubstr("red-2, which has no IPv4"));
  EXPECT_EQ(Explain("b-red", "10.0.0.5").verdict().kind(), "not sent");
}

TEST_F(ExplainTest, ToAnEndpointWhoseNextHopIsResolvedOrNot) {
  Begin({.offload_capable = true});
  Attached("a", "red", "10.0.0.5");
  PutEndpoint("far", "52:54:00:00:09:01", "10.0.0.20", "192.0.2.2", v1::OBJECT_STATE_READY);
  PutEndpoint("silent", "52:54:00:00:09:02", "10.0.0.21", "192.0.2.77", v1::OBJECT_STATE_DEGRADED);
  v1::FlowExplanation flow = Explain("a-red", "10.0.0.20");
  EXPECT_EQ(flow.verdict().kind(), "encapsulated") << flow.ShortDebugString();
  EXPECT_EQ(flow.verdict().vtep(), "192.0.2.2");
  EXPECT_EQ(flow.verdict().vni(), 1000U);
  EXPECT_EQ(flow.header().local(), FakeHost::kLocal);
  EXPECT_THAT(flow.header().next_hop(), HasSubstr("resolved"));
  EXPECT_EQ(flow.lookup().why(), "endpoint/far");
  EXPECT_EQ(flow.path(), "hardware") << flow.path_why();
  flow = Explain("a-red", "10.0.0.21");
  EXPECT_EQ(flow.verdict().kind(), "encapsulated");
  EXPECT_EQ(flow.path(), "slow path");
  EXPECT_THAT(flow.path_why(), HasSubstr("the next hop to 192.0.2.77 is not resolved"));
}

TEST_F(ExplainTest, ASpoofedSourceAndAnUnknownDestination) {
  Begin();
  TwoAttached();
  v1::Request request = Ask("a-red", "10.0.0.6");
  request.mutable_explain_flow()->set_src("10.0.0.6");
  v1::FlowExplanation flow = Explain(request);
  EXPECT_EQ(flow.verdict().kind(), "dropped");
  EXPECT_THAT(flow.verdict().why(), HasSubstr("the source address 10.0.0.6 is not the port's"));
  ASSERT_EQ(flow.steps_size(), 1);
  EXPECT_EQ(flow.steps(0).location(), "block-1000/0/65000/1");
  EXPECT_EQ(flow.steps(0).state(), "software") << "the block's own end is read back too";
  flow = Explain("a-red", "10.0.0.9");
  EXPECT_EQ(flow.verdict().kind(), "not sent");
  EXPECT_THAT(flow.verdict().why(), HasSubstr("no port or endpoint of VPC red has 10.0.0.9"));
  request = Ask("a-red", "10.0.0.9");
  request.mutable_explain_flow()->set_dst_mac("52:54:00:00:77:77");
  EXPECT_EQ(Explain(request).verdict().kind(), "dropped");
}

TEST_F(ExplainTest, TheSameAddressInAnotherVpc) {
  Begin();
  TwoAttached();
  Attached("c", "blue", "10.0.0.6");
  Attached("d", "blue", "10.0.0.7");
  EXPECT_EQ(Explain("a-red", "10.0.0.6").verdict().port(), "b-red");
  EXPECT_EQ(Explain("d-blue", "10.0.0.6").verdict().port(), "c-blue");
  EXPECT_THAT(Explain("a-red", "10.0.0.7").verdict().why(), HasSubstr("of VPC red has 10.0.0.7"));
}

TEST_F(ExplainTest, ByTheTunnel) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  v1::Request request;
  v1::ExplainFlow* ask = request.mutable_explain_flow();
  ask->set_vtep("192.0.2.2");
  ask->set_vni(1000);
  ask->set_dst_mac(FakeHost::VfMac(0).ToString());
  const v1::FlowExplanation flow = Explain(request);
  EXPECT_EQ(flow.verdict().port(), "a-red") << flow.ShortDebugString();
  EXPECT_EQ(flow.steps(0).table(), "tunnel");
  EXPECT_EQ(flow.from(), "vtep/192.0.2.2");
  ask->set_vni(2000);
  EXPECT_EQ(Explain(request).verdict().kind(), "dropped");
}

TEST_F(ExplainTest, ARuleThatSomebodyDeletedIsMissing) {
  Begin();
  TwoAttached();
  const TcFilter delivery = Delivery(1000, FakeHost::Representor(1));
  // It cannot be repaired meanwhile.
  host->network->FailWhen([](std::string_view call) { return call.starts_with("Put("); },
                          absl::UnavailableError("no memory"), 1'000'000);
  Tamper(TcChange::Verb::kDelete, delivery);
  const v1::FlowExplanation flow = Explain("a-red", "10.0.0.6");
  const std::string place =
      StrCat("block-1000/", delivery.id.chain, "/", kPrioDeliver, "/", delivery.id.handle);
  EXPECT_EQ(flow.verdict().kind(), "dropped") << flow.ShortDebugString();
  EXPECT_THAT(flow.verdict().why(), HasSubstr(place));
  EXPECT_EQ(flow.compiled().kind(), "delivered");
  ASSERT_EQ(flow.steps_size(), 3);
  EXPECT_EQ(flow.steps(1).location(), place);
  EXPECT_EQ(flow.steps(1).state(), "missing");
  EXPECT_FALSE(flow.steps(1).reached());
  EXPECT_THAT(flow.disagreements(), ::testing::ElementsAre(place + " is missing"));
  host->network->ClearFaults();
  host->WaitUntil("it is mended",
                  [&] { return Explain("a-red", "10.0.0.6").verdict().kind() == "delivered"; });
}

TEST_F(ExplainTest, ARuleOfSomebodyElseIsToldAndNotJudged) {
  Begin();
  TwoAttached();
  TcFilter foreign = Delivery(1000, FakeHost::Representor(1));
  foreign.id = {0, 1, 77};
  foreign.cookie = {};
  Tamper(TcChange::Verb::kPut, foreign);
  const v1::FlowExplanation flow = Explain("a-red", "10.0.0.6");
  EXPECT_EQ(flow.verdict().kind(), "unknown") << flow.ShortDebugString();
  EXPECT_THAT(flow.verdict().why(), HasSubstr("block-1000/0/1/77 is somebody else's"));
  EXPECT_EQ(flow.compiled().port(), "b-red");
  EXPECT_FALSE(flow.steps(0).reached());
}

TEST_F(ExplainTest, WhatCannotBeExplainedIsRefusedInWords) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  v1::Rejected::Violation bad = Refused(Ask("zz", "10.0.0.6"));
  EXPECT_EQ(bad.path(), "explain_flow.port");
  EXPECT_EQ(bad.code(), v1::Rejected::CODE_NOT_FOUND);
  EXPECT_EQ(bad.reason(), "port/zz is not there");
  bad = Refused(Ask("a-red", "2001:db8::1"));
  EXPECT_EQ(bad.code(), v1::Rejected::CODE_INVALID);
  EXPECT_THAT(bad.reason(), HasSubstr("2001:db8::1 is IPv6, and subnet red-1 of port/a-red"));
  v1::Request request = Ask("a-red", "10.0.0.6");
  request.mutable_explain_flow()->set_dst_port(80);
  bad = Refused(request);
  EXPECT_EQ(bad.path(), "explain_flow.dst_port");
  request.mutable_explain_flow()->set_protocol(6);
  EXPECT_TRUE(host->Send(request).has_flow());

  host->Attach("b", "red", "10.0.0.6");  // a VM whose monitor is not there
  host->WaitUntil("it says why it waits",
                  [&] { return !host->PortStatus("b-red")->reason().empty(); });
  bad = Refused(Ask("b-red", "10.0.0.5"));
  EXPECT_EQ(bad.code(), v1::Rejected::CODE_CONFLICT);
  EXPECT_THAT(bad.reason(), HasSubstr("port/b-red is not attached here ("));
  EXPECT_THAT(Explain("a-red", "10.0.0.6").verdict().why(),
              HasSubstr("port/b-red is not attached here ("));
}

TEST_F(ExplainTest, APortInAVlanMeetsNoRule) {
  Begin({.pfs = 2, .first_igb = 1});
  host->MakeVlan("lan", 100, "10.9.0.0/24");
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "lan", "10.9.0.5");
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:0a:05");
  ASSERT_TRUE(host->Send(request).has_accepted());
  host->WaitReady("a-lan");
  EXPECT_THAT(Refused(Ask("a-lan", "10.9.0.6")).reason(), HasSubstr("port/a-lan is in VLAN 100"));
}

TEST_F(ExplainTest, AKernelThatDoesNotAnswerIsNotWaitedForForEver) {
  Begin({}, [](DaemonConfig& config) {
    config.engine.explain_within = std::chrono::milliseconds(300);
    config.engine.audit_every = std::chrono::hours(1);
  });
  TwoAttached();
  {
    Gate gate(*host->network, "Dump(");
    const v1::Rejected::Violation bad = Refused(Ask("a-red", "10.0.0.6"));
    EXPECT_EQ(bad.code(), v1::Rejected::CODE_BUSY);
    EXPECT_THAT(bad.reason(), HasSubstr("block-1000 were not read and compared within 300 ms"));
  }
  EXPECT_EQ(Explain("a-red", "10.0.0.6").verdict().kind(), "delivered");
  host->network->FailWhen([](std::string_view call) { return call.starts_with("Dump("); },
                          absl::UnavailableError("interrupted"), 1'000'000);
  EXPECT_THAT(Refused(Ask("a-red", "10.0.0.6")).reason(), HasSubstr("300 ms: interrupted"));
}

}  // namespace
}  // namespace fairlead
