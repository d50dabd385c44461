// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: security groups, who shares what, and connections that end.
#include "dataplane/pipeline/pipeline.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

v1::SecurityRule Ingress(uint32_t protocol, uint32_t port) {
  v1::SecurityRule rule;
  rule.set_direction(v1::DIRECTION_INGRESS);
  rule.set_protocol(protocol);
  rule.set_port_min(port);
  return rule;
}
v1::SecurityRule From(const std::string& group) {
  v1::SecurityRule rule;
  rule.set_direction(v1::DIRECTION_INGRESS);
  rule.set_remote_group(group);
  return rule;
}

class SecurityGroupTest : public AgentTest {
 protected:
  void PutGroup(const std::string& id, const std::vector<v1::SecurityRule>& rules,
                bool stateless = false) {
    const v1::Reply reply = host->Apply([&](v1::Apply& apply) {
      v1::SecurityGroup* group = apply.add_upsert()->mutable_security_group();
      group->set_id(id);
      group->set_vpc("red");
      group->set_stateless(stateless);
      for (const v1::SecurityRule& rule : rules) *group->add_rules() = rule;
    });
    ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
  }
  void RemoveGroup(const std::string& id) {
    const v1::Reply reply = host->Apply(
        [&](v1::Apply& apply) { FillRemove(apply, v1::OBJECT_KIND_SECURITY_GROUP, id); });
    ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
  }
  void AttachWith(const std::string& vm, const std::string& address,
                  const std::vector<std::string>& groups) {
    host->AddVm(vm);
    v1::Request request = host->AddVmRequest(vm, "red", address);
    for (const std::string& group : groups) {
      request.mutable_add_vm_to_vpc()->add_security_groups(group);
    }
    const v1::Reply reply = host->Send(request);
    ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
    host->WaitReady(StrCat(vm, "-red"));
  }
  void PutMember(const std::string& id, const std::string& address,
                 const std::vector<std::string>& groups) {
    const v1::Reply reply = host->Apply([&](v1::Apply& apply) {
      FillEndpoint(apply, id, "red", StrCat("52:54:00:00:09:", id.substr(id.size() - 2)), address,
                   "192.0.2.2");
      for (const std::string& group : groups) {
        apply.mutable_upsert(0)->mutable_endpoint()->add_security_groups(group);
      }
    });
    ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
  }
  void WaitGroup(const std::string& id) {
    host->WaitUntil(StrCat("group ", id, " is ready"), [&] {
      const auto status = host->Status(v1::OBJECT_KIND_SECURITY_GROUP, id);
      return status && status->state() == v1::OBJECT_STATE_READY;
    });
  }

  std::vector<TcFilter> Tunnel() {
    const std::optional<LinkInfo> link = TunnelLink();
    return link ? host->network->Filters({0, link->ifindex}) : std::vector<TcFilter>();
  }
  std::optional<LinkInfo> TunnelLink() {
    FakeRtnetlinkPort links(host->network);
    for (const LinkInfo& link : links.ListLinks().value_or(std::vector<LinkInfo>())) {
      if (link.tunnel_collect_md) return link;
    }
    return std::nullopt;
  }
  static size_t In(const std::vector<TcFilter>& filters, Stage stage) {
    return static_cast<size_t>(std::count_if(
        filters.begin(), filters.end(),
        [stage](const TcFilter& filter) { return StageOfChain(filter.id.chain) == stage; }));
  }
  static bool Has(const std::vector<TcFilter>& filters, Stage stage,
                  const std::function<bool(const TcMatch&)>& match) {
    return std::any_of(filters.begin(), filters.end(), [&](const TcFilter& filter) {
      return StageOfChain(filter.id.chain) == stage && match(filter.match);
    });
  }
  static bool Commits(const TcFilter& filter) {
    const auto* ct = std::get_if<TcCt>(&filter.actions.front());
    return ct != nullptr && ct->commit;
  }

  static ConnectionTuple Tcp(const std::string& src, const std::string& dst, uint16_t port) {
    return {.src = *IpAddress::Parse(src),
            .dst = *IpAddress::Parse(dst),
            .protocol = 6,
            .src_port = 40000,
            .dst_port = port};
  }
  std::vector<ConnectionTuple> Known(uint16_t zone = kFirstCtZone) {
    std::vector<ConnectionTuple> tuples;
    for (const Connection& connection : host->conntrack.In(zone)) {
      tuples.push_back(connection.original);
    }
    return tuples;
  }
};

TEST_F(SecurityGroupTest, APortsGroupsAreRulesOfItsPolicyAndGoWithIt) {
  Begin();
  const std::string before = Quiet();
  PutGroup("web", {Ingress(6, 443)});
  AttachWith("a", "10.0.0.5", {"web"});
  WaitGroup("web");
  const auto to_web = [](const TcMatch& match) {
    return match.ip_proto == 6 && match.dst_port == TcPortMask{443} &&
           match.ct_state == TcCtState{kCtTracked | kCtNew, kCtTracked | kCtNew};
  };
  EXPECT_TRUE(Has(Block(1000), Stage::kIngress, to_web));
  EXPECT_TRUE(Has(Tunnel(), Stage::kIngress, to_web));
  EXPECT_FALSE(Has(Block(1000), Stage::kEgress, to_web));
  for (const TcFilter& filter : Block(1000)) {
    if (Commits(filter)) EXPECT_EQ(std::get<TcCt>(filter.actions.front()).zone, kFirstCtZone);
  }
  host->Detach("a", "red");
  host->WaitGone("a-red");
  RemoveGroup("web");
  WaitNothingLeft(before);
}

// No step of a port's change walks what others have: a second port of the same groups makes no rule
// of a policy.
TEST_F(SecurityGroupTest, PortsWithTheSameGroupsShareTheirRules) {
  Begin();
  PutGroup("web", {Ingress(6, 443), Ingress(17, 53)});
  AttachWith("a", "10.0.0.5", {"web"});
  const size_t egress = In(Block(1000), Stage::kEgress), ingress = In(Block(1000), Stage::kIngress);
  const size_t tunnel = In(Tunnel(), Stage::kIngress);
  AttachWith("b", "10.0.0.6", {"web"});
  EXPECT_EQ(In(Block(1000), Stage::kEgress), egress);
  EXPECT_EQ(In(Block(1000), Stage::kIngress), ingress);
  EXPECT_EQ(In(Tunnel(), Stage::kIngress), tunnel);
}

TEST_F(SecurityGroupTest, ARevokedRuleEndsItsConnectionsAndNoOther) {
  Begin();
  PutGroup("web", {Ingress(6, 443), Ingress(6, 22)});
  AttachWith("a", "10.0.0.5", {"web"});
  WaitGroup("web");
  host->conntrack.Add(kFirstCtZone, Tcp("10.0.0.9", "10.0.0.5", 443));
  host->conntrack.Add(kFirstCtZone, Tcp("10.0.0.9", "10.0.0.5", 22));
  PutGroup("web", {Ingress(6, 443)});
  WaitGroup("web");
  EXPECT_THAT(Known(), ElementsAre(Tcp("10.0.0.9", "10.0.0.5", 443)));
}

TEST_F(SecurityGroupTest, WhoLeavesAGroupLosesItsConnectionsWhoJoinsMakesItsOwnRulesAlone) {
  Begin();
  PutGroup("peers", {From("peers")});
  AttachWith("a", "10.0.0.5", {"peers"});
  PutMember("e10", "10.0.0.10", {"peers"});
  PutMember("e11", "10.0.0.11", {});
  const auto from = [](const char* address) {
    return [address](const TcMatch& match) {
      return match.src_ip && match.src_ip->address().ToString() == address;
    };
  };
  host->WaitUntil("the member may come in",
                  [&] { return Has(Tunnel(), Stage::kIngress, from("10.0.0.10")); });
  EXPECT_FALSE(Has(Tunnel(), Stage::kIngress, from("10.0.0.11")));
  host->conntrack.Add(kFirstCtZone, Tcp("10.0.0.10", "10.0.0.5", 80));
  host->network->ClearCalls();
  PutMember("e11", "10.0.0.11", {"peers"});
  host->WaitUntil("the second may",
                  [&] { return Has(Tunnel(), Stage::kIngress, from("10.0.0.11")); });
  EXPECT_THAT(Known(), SizeIs(1));
  for (const std::string& call : host->network->Calls()) {
    EXPECT_EQ(call.find("Delete("), std::string::npos) << call;
  }
  PutMember("e10", "10.0.0.10", {});
  host->WaitUntil("the first may not",
                  [&] { return !Has(Tunnel(), Stage::kIngress, from("10.0.0.10")); });
  host->WaitUntil("its connection has ended", [&] { return Known().empty(); });
}

TEST_F(SecurityGroupTest, ALeaseEndsAfterItsConnections) {
  Begin();
  PutGroup("web", {Ingress(6, 443)});
  AttachWith("a", "10.0.0.5", {"web"});
  AttachWith("b", "10.0.0.6", {"web"});
  host->conntrack.Add(kFirstCtZone, Tcp("10.0.0.9", "10.0.0.5", 443));
  host->conntrack.Add(kFirstCtZone, Tcp("10.0.0.9", "10.0.0.6", 443));
  host->Detach("a", "red");
  host->WaitGone("a-red");
  EXPECT_THAT(Known(), ElementsAre(Tcp("10.0.0.9", "10.0.0.6", 443)));
}

TEST_F(SecurityGroupTest, ARestartAdoptsPoliciesMembersAndConnectionsAndChangesNothing) {
  Begin();
  PutGroup("web", {Ingress(6, 443), From("web")});
  AttachWith("a", "10.0.0.5", {"web"});
  AttachWith("b", "10.0.0.6", {});
  PutMember("e10", "10.0.0.10", {"web"});
  WaitGroup("web");
  host->WaitUntil("the member's rules are there", [&] {
    return EndpointStatus("e10").state() == v1::OBJECT_STATE_READY &&
           In(Tunnel(), Stage::kIngress) > 10;
  });
  host->conntrack.Add(kFirstCtZone, Tcp("10.0.0.9", "10.0.0.5", 443));
  const std::vector<TcFilter> block = Block(1000), tunnel = Tunnel();
  host->Stop();
  host->network->ClearCalls();
  host->Start();
  host->WaitReady("a-red");
  host->WaitReady("b-red");
  WaitGroup("web");
  host->WaitUntil("the start is complete", [&] { return host->Host().start().complete(); });
  ExpectNetworkUntouched();
  EXPECT_EQ(Block(1000), block);
  EXPECT_EQ(Tunnel(), tunnel);
  EXPECT_THAT(Known(), SizeIs(1));
}

// What passes meanwhile is lost in no chain that is not there yet: whatever admits leads to a chain
// with its end, and all of a port's way stands before it is led there.
TEST_F(SecurityGroupTest, GroupsComeAndGoUnderPortsThatServe) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  Attached("b", "red", "10.0.0.6");
  const std::vector<TcFilter> block = Block(1000), tunnel = Tunnel();
  std::atomic<int> holes = 0;
  host->network->SetHook([&](std::string_view call) {
    if (!call.starts_with("Put(") && !call.starts_with("Delete(")) return;
    for (const std::vector<TcFilter>& rules : {Block(1000), Tunnel()}) {
      for (const TcFilter& rule : rules) {
        const auto* verdict = std::get_if<TcGact>(&rule.actions.back());
        if (verdict == nullptr || verdict->verdict != TcGact::Verdict::kGotoChain) continue;
        const bool ends = std::any_of(rules.begin(), rules.end(), [&](const TcFilter& end) {
          return end.id.chain == verdict->chain && end.id.priority == kPrioDefaultDrop;
        });
        if (!ends) ++holes;
      }
    }
    size_t admitted = 0;
    for (const TcFilter& rule : Block(1000)) admitted += rule.match.src_mac.has_value() ? 1 : 0;
    if (admitted < 2) ++holes;
  });
  for (const bool stateless : {false, true}) {
    PutGroup("web", {Ingress(6, 443)}, stateless);
    WaitGroup("web");
    host->WaitUntil("frames are judged", [&] {
      return In(Block(1000), Stage::kReceiver) > 0 &&
             (In(Block(1000), Stage::kState) > 0) == !stateless &&
             host->PortStatus("a-red")->state() == v1::OBJECT_STATE_READY;
    });
  }
  RemoveGroup("web");
  host->WaitUntil("the rules are as before",
                  [&] { return Block(1000) == block && Tunnel() == tunnel; });
  host->network->SetHook(nullptr);
  EXPECT_EQ(holes, 0);
}

// A zone that is nobody's any more is emptied before it is somebody's.
TEST_F(SecurityGroupTest, AZoneThatIsLeftIsEmptiedAndUsedAgainThen) {
  Begin();
  PutGroup("web", {Ingress(6, 443)});
  AttachWith("a", "10.0.0.5", {"web"});
  host->conntrack.Add(kFirstCtZone, Tcp("10.0.0.9", "10.0.0.5", 443));
  host->Detach("a", "red");
  host->conntrack.Add(kFirstCtZone, Tcp("10.0.0.9", "10.0.0.7", 443));
  host->WaitGone("a-red");
  RemoveGroup("web");
  host->WaitUntil("the zone is empty", [&] { return Known().empty(); });
  PutGroup("web", {Ingress(6, 443)});
  AttachWith("a", "10.0.0.5", {"web"});
  WaitGroup("web");
  for (const TcFilter& filter : Block(1000)) {
    if (Commits(filter)) EXPECT_GE(std::get<TcCt>(filter.actions.front()).zone, kFirstCtZone);
  }
}

TEST_F(SecurityGroupTest, AMovedPortIsJudgedByItsNewGroups) {
  Begin();
  PutGroup("web", {Ingress(6, 443)});
  PutGroup("dns", {Ingress(17, 53)});
  AttachWith("a", "10.0.0.5", {"web"});
  const size_t with_one = Block(1000).size();
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    v1::Port* port = FillPort(apply, "a-red", "a", "red");
                    port->add_addresses("10.0.0.5");
                    port->add_security_groups("dns");
                  })
                  .has_accepted());
  const auto allows = [&](uint8_t protocol) {
    return Has(Block(1000), Stage::kIngress,
               [protocol](const TcMatch& match) { return match.ip_proto == protocol; });
  };
  host->WaitUntil("the new group judges", [&] { return allows(17) && !allows(6); });
  WaitGroup("dns");
  host->WaitUntil("as many rules as before", [&] { return Block(1000).size() == with_one; });
}

// Which group judges, and what conntrack knows of the connection.
TEST_F(SecurityGroupTest, AnExplanationNamesWhoForbidsItAndWhatConntrackKnows) {
  Begin();
  PutGroup("web", {Ingress(6, 443)});
  v1::SecurityRule out;
  out.set_direction(v1::DIRECTION_EGRESS);
  PutGroup("out", {out});
  AttachWith("a", "10.0.0.5", {"web"});
  AttachWith("b", "10.0.0.6", {"out"});
  WaitGroup("web");
  WaitGroup("out");
  const auto explain = [&](const std::string& port, const std::string& to, uint32_t dst_port) {
    v1::Request request;
    v1::ExplainFlow* question = request.mutable_explain_flow();
    question->set_port(port);
    question->set_to(to);
    question->set_protocol(6);
    question->set_dst_port(dst_port);
    const v1::Reply reply = host->Send(request);
    EXPECT_TRUE(reply.has_flow()) << reply.ShortDebugString();
    EXPECT_EQ(reply.flow().disagreements_size(), 0) << reply.ShortDebugString();
    return reply.flow();
  };
  const auto notes = [](const v1::FlowExplanation& flow) {
    std::string all;
    for (const std::string& note : flow.notes()) StrAppend(&all, note, "\n");
    return all;
  };
  EXPECT_EQ(explain("b-red", "10.0.0.5", 443).verdict().port(), "a-red");
  const v1::FlowExplanation wrong_port = explain("b-red", "10.0.0.5", 22);
  EXPECT_EQ(wrong_port.verdict().kind(), "dropped");
  EXPECT_THAT(wrong_port.ShortDebugString(), ::testing::HasSubstr("security groups web"));
  const v1::FlowExplanation outwards = explain("a-red", "10.0.0.6", 443);
  EXPECT_THAT(outwards.ShortDebugString(), ::testing::HasSubstr("port/a-red has security groups"));
  EXPECT_THAT(notes(outwards), ::testing::HasSubstr("it is the first of it"));
  // The answer of a connection that began at the other end.
  ConnectionTuple tuple = Tcp("10.0.0.6", "10.0.0.5", 443);
  host->conntrack.Add(kFirstCtZone, tuple);
  v1::Request request;
  v1::ExplainFlow* question = request.mutable_explain_flow();
  question->set_port("a-red");
  question->set_to("10.0.0.6");
  question->set_protocol(6);
  question->set_src_port(443);
  question->set_dst_port(40000);
  const v1::FlowExplanation answer = host->Send(request).flow();
  EXPECT_EQ(answer.verdict().port(), "b-red") << answer.ShortDebugString();
  EXPECT_THAT(notes(answer), ::testing::HasSubstr("it is an answer"));
}

}  // namespace
}  // namespace fairlead
