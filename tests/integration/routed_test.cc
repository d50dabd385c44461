// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: a VPC whose subnets are routed, and what may leave a port.
#include "dataplane/pipeline/pipeline.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

class RoutedTest : public AgentTest {
 protected:
  // Whether a frame to the gateway's MAC and this address is routed.
  bool Routes(const std::string& address) {
    for (const TcFilter& filter : Block(1000)) {
      if (filter.match.dst_ip && filter.match.dst_ip->address().ToString() == address &&
          std::holds_alternative<TcPedit>(filter.actions.front())) {
        return true;
      }
    }
    return false;
  }
  std::vector<std::string> Admitted(uint32_t vni) {
    std::vector<std::string> out;
    for (const TcFilter& filter : Block(vni)) {
      if (!filter.match.src_mac) continue;
      out.push_back(StrCat(*filter.match.indev, " ", filter.match.src_mac->ToString(), " ",
                           filter.match.src_ip->ToString()));
    }
    return out;
  }
};

TEST_F(RoutedTest, AGatewayThatComesAndGoesTakesTheRoutesOfItsSubnetAlong) {
  Begin();
  PutSecondSubnet("");
  AttachIn("a", "red-1", "10.0.0.5");
  AttachIn("b", "red-2", "10.0.1.5");
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    FillEndpoint(apply, "far", "red", "52:54:00:00:09:01", "10.0.1.9", "192.0.2.2");
                  })
                  .has_accepted());
  host->WaitUntil("the endpoint is reached",
                  [&] { return EndpointStatus("far").state() == v1::OBJECT_STATE_READY; });
  EXPECT_TRUE(Routes("10.0.0.5"));
  EXPECT_FALSE(Routes("10.0.1.5"));
  EXPECT_FALSE(Routes("10.0.1.9"));
  const std::vector<TcFilter> before = Block(1000);
  PutSecondSubnet("10.0.1.1");
  host->WaitUntil("both are routed", [&] { return Routes("10.0.1.5") && Routes("10.0.1.9"); });
  PutSecondSubnet("");
  host->WaitUntil("the rules are as before", [&] { return Block(1000) == before; });
}

TEST_F(RoutedTest, OnlyWhatThePortOwnsMayLeaveIt) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  const std::string own = StrCat("pf0rep0 ", FakeHost::VfMac(0).ToString(), " ");
  EXPECT_THAT(Admitted(1000), ::testing::ElementsAre(own + "10.0.0.5/32"));
  const auto put = [&](const std::vector<std::pair<std::string, std::string>>& pairs) {
    ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                      v1::Port* port = FillPort(apply, "a-red", "a", "red");
                      port->add_addresses("10.0.0.5");
                      for (const auto& [mac, prefix] : pairs) {
                        v1::AddressPair* pair = port->add_allowed_pairs();
                        pair->set_mac(mac);
                        pair->set_prefix(prefix);
                      }
                    })
                    .has_accepted());
  };
  put({{"", "10.0.0.100/32"}, {"00:00:5e:00:01:07", "10.0.0.100/32"}, {"", "fd00::/64"}});
  const std::vector<std::string> wanted = {own + "10.0.0.5/32", own + "10.0.0.100/32",
                                           "pf0rep0 00:00:5e:00:01:07 10.0.0.100/32",
                                           own + "fd00::/64"};
  host->WaitUntil("the pairs may leave", [&] {
    return ::testing::Matches(::testing::UnorderedElementsAreArray(wanted))(Admitted(1000));
  });
  put({});
  host->WaitUntil("only its own may", [&] { return Admitted(1000).size() == 1; });
  EXPECT_EQ(host->vms().at("a")->Calls(QmpMethod::kRequestRemoval), 0)
      << "none of this unplugs its NIC";
}

TEST_F(RoutedTest, APortOfNoAddressIsAdmittedWithNone) {
  Begin();
  host->AddVm("a");
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.mutable_add_vm_to_vpc()->clear_addresses();
  ASSERT_TRUE(host->Send(request).has_accepted());
  host->WaitReady("a-red");
  EXPECT_THAT(Admitted(1000), ::testing::IsEmpty());
}

TEST_F(RoutedTest, AnAttachTouchesNoRuleOfAnotherPort) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  const std::vector<TcFilter> before = Block(1000);
  host->network->ClearCalls();
  Attached("b", "red", "10.0.0.6");
  std::set<TcFilterId> old;
  for (const TcFilter& filter : before) old.insert(filter.id);
  for (const TcFilter& filter : Block(1000)) {
    if (!old.contains(filter.id)) continue;
    for (const std::string& call : host->network->Calls()) {
      const std::string place = StrCat(" chain ", filter.id.chain, " prio ", filter.id.priority,
                                       " handle ", filter.id.handle, ")");
      EXPECT_FALSE((call.starts_with("Put(") || call.starts_with("Delete(")) &&
                   call.find(StrCat("block ", BlockIndex(1000))) != std::string::npos &&
                   call.find(place) != std::string::npos)
          << call;
    }
  }
}

// A chain that leads nowhere would let what is sent there pass to the host.
TEST_F(RoutedTest, NoRuleLeadsToAChainWithoutItsEndAtAnyMoment) {
  Begin();
  PutSecondSubnet("10.0.1.1");
  std::atomic<int> holes = 0;
  host->network->SetHook([&](std::string_view call) {
    if (!call.starts_with("Put(") && !call.starts_with("Delete(")) return;
    const std::vector<TcFilter> rules = Block(1000);
    for (const TcFilter& rule : rules) {
      const auto* verdict = std::get_if<TcGact>(&rule.actions.back());
      if (verdict == nullptr || verdict->verdict != TcGact::Verdict::kGotoChain) continue;
      const bool ends = std::any_of(rules.begin(), rules.end(), [&](const TcFilter& end) {
        return end.id.chain == verdict->chain && end.id.priority == kPrioDefaultDrop;
      });
      if (!ends) ++holes;
    }
  });
  AttachIn("a", "red-1", "10.0.0.5");
  AttachIn("b", "red-2", "10.0.1.5");
  PutSecondSubnet("");
  PutSecondSubnet("10.0.1.1");
  host->Detach("b", "red");
  host->WaitGone("b-red");
  ASSERT_TRUE(
      host->Apply([](v1::Apply& apply) { FillRemove(apply, v1::OBJECT_KIND_SUBNET, "red-2"); })
          .has_accepted());
  host->WaitUntil("the subnet is gone",
                  [&] { return !host->Status(v1::OBJECT_KIND_SUBNET, "red-2"); });
  host->Detach("a", "red");
  host->WaitGone("a-red");
  host->network->SetHook(nullptr);
  EXPECT_EQ(holes, 0);
}

}  // namespace
}  // namespace fairlead
