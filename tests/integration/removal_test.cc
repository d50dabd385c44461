// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: ports that go while something does not answer, and
// what stays with the others.
#include <gmock/gmock.h>

#include <algorithm>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

class RemovalTest : public AgentTest {
 protected:
  // Whether any rule of the block sends to this representor.
  bool Reaches(uint32_t vni, uint32_t ifindex) {
    for (const TcFilter& filter : Block(vni)) {
      for (const TcAction& action : filter.actions) {
        const auto* mirred = std::get_if<TcMirred>(&action);
        if (mirred != nullptr && mirred->ifindex == ifindex) return true;
      }
    }
    return false;
  }
  bool LinkUp(uint32_t ifindex) {
    FakeRtnetlinkPort links(host->network);
    const absl::StatusOr<LinkInfo> link = links.GetLink(ifindex);
    return link.ok() && link->up;
  }
  v1::Reply PutEndpoint(const std::string& id, int mac, const std::string& vtep,
                        const std::string& remove = "") {
    return host->Apply([&](v1::Apply& apply) {
      v1::Endpoint* e = apply.add_upsert()->mutable_endpoint();
      e->set_id(id);
      e->set_vpc("red");
      e->set_mac(StrCat("52:54:00:00:09:0", mac));
      e->add_addresses(StrCat("10.0.0.2", id.back() - '0'));
      e->set_vtep(vtep);
      if (remove.empty()) return;
      v1::ObjectRef* ref = apply.add_remove();
      ref->set_kind(v1::OBJECT_KIND_ENDPOINT);
      ref->set_id(remove);
    });
  }
  v1::ObjectStatus Status(v1::ObjectKind kind, const std::string& id) {
    v1::Request request;
    request.mutable_get()->set_kind(kind);
    request.mutable_get()->set_id(id);
    const v1::Reply reply = host->Send(request);
    return reply.get().objects_size() == 0 ? v1::ObjectStatus() : reply.get().objects(0).status();
  }
};

// The rules of the others match where a frame goes to, not where it comes from:
// with them alone a guest that keeps its device would still send into the VPC.
TEST_F(RemovalTest, AGuestThatKeepsItsDeviceReachesNobody) {
  Begin();
  const auto vm = host->AddVm("a");
  host->AddVm("b");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  host->Attach("b", "red", "10.0.0.6");
  host->WaitReady("b-red");
  vm->SetRemoval(FakeVm::Removal::kNever);
  host->Detach("a", "red");
  host->WaitPort("a-red", [](const auto& s) {
    return s && s->reason().find("does not let go") != std::string::npos;
  });
  EXPECT_FALSE(LinkUp(host->Representor(0)));
  EXPECT_FALSE(Reaches(1000, host->Representor(0)));
  EXPECT_TRUE(LinkUp(host->Representor(1)));
  EXPECT_TRUE(Reaches(1000, host->Representor(1)));
  EXPECT_EQ(host->PortStatus("b-red")->state(), v1::OBJECT_STATE_READY);
}

TEST_F(RemovalTest, ARemovedPortIsCutOffWhileItsMonitorIsHeld) {
  Begin();
  const auto vm = host->AddVm("a");
  host->AddVm("b");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  host->Attach("b", "red", "10.0.0.6");
  host->WaitReady("b-red");
  vm->SetHeldByOther(true);
  vm->Disconnect();
  host->WaitPort("a-red",
                 [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  host->Detach("a", "red");
  host->WaitPort("a-red", [&](const auto& s) {
    return s && !LinkUp(host->Representor(0)) && !Reaches(1000, host->Representor(0));
  });
  EXPECT_EQ(host->Host().pfs(0).vfs(0).state(), "leased") << "the VM may have it still";
  vm->SetHeldByOther(false);
  host->WaitGone("a-red");
}

// A jump to an empty chain is no verdict: the frame would pass to the host.
TEST_F(RemovalTest, AChainKeepsItsDropAsLongAsARuleLeadsThere) {
  Begin();
  const auto vm = host->AddVm("a");
  const std::string before = Quiet();
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  uint32_t chain = 0;
  for (const TcFilter& filter : Block(1000)) chain = std::max(chain, filter.id.chain);
  ASSERT_NE(chain, 0U);
  host->network->ClearCalls();
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                    const auto remove = [&](v1::ObjectKind kind, const std::string& id) {
                      v1::ObjectRef* ref = apply.add_remove();
                      ref->set_kind(kind);
                      ref->set_id(id);
                    };
                    remove(v1::OBJECT_KIND_PORT, "a-red");
                    remove(v1::OBJECT_KIND_SUBNET, "red-1");
                    remove(v1::OBJECT_KIND_VPC, "red");
                  })
                  .has_accepted());
  host->WaitPort("a-red", [](const auto& s) {
    return s && s->reason().find("does not let go") != std::string::npos;
  });
  vm->CompleteRemovals();
  host->WaitGone("a-red");
  host->WaitPort("a-red", [&](const auto&) { return host->Leftovers() == before; });
  int last_jump = -1, chain_drop = -1, at = 0;
  const std::string block = StrCat("Delete(block ", 0x46000000U | 1000, " chain ");
  for (const std::string& call : host->network->Calls()) {
    ++at;
    if (call.starts_with(StrCat(block, chain, " prio 65000"))) chain_drop = at;
    if (call.starts_with(StrCat(block, "0 prio ", kPrioArpFlood))) last_jump = at;
  }
  EXPECT_GT(last_jump, 0) << StrJoin(host->network->Calls(), "\n");
  // The kernel took it along with the block, or it went after what led there.
  if (chain_drop >= 0) {
    EXPECT_LT(last_jump, chain_drop);
  }
  host->WaitPort("a-red", [&](const auto&) {
    return !Status(v1::OBJECT_KIND_SUBNET, "red-1").has_ref() &&
           !Status(v1::OBJECT_KIND_VPC, "red").has_ref();
  });
}

TEST_F(RemovalTest, APortThatComesBackBeforeItIsGoneIsPendingAndThenAttached) {
  Begin();
  const auto vm = host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  vm->SetRemoval(FakeVm::Removal::kWhenTold);
  host->Detach("a", "red");
  host->WaitPort("a-red", [](const auto& s) {
    return s && s->reason().find("does not let go") != std::string::npos;
  });
  host->Attach("a", "red", "10.0.0.5");
  const auto status = host->WaitPort(
      "a-red", [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_PENDING; });
  EXPECT_LT(status->observed_generation(), status->generation());
  vm->SetRemoval(FakeVm::Removal::kImmediate);
  vm->CompleteRemovals();
  host->WaitReady("a-red");
}

TEST_F(RemovalTest, AnEndpointsMacMayGoToAnotherInOneChange) {
  Begin();
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  ASSERT_TRUE(PutEndpoint("e1", 1, "192.0.2.2").has_accepted());
  const auto ready = [&](const std::string& id) {
    return Status(v1::OBJECT_KIND_ENDPOINT, id).state() == v1::OBJECT_STATE_READY;
  };
  host->WaitPort("a-red", [&](const auto&) { return ready("e1"); });
  ASSERT_TRUE(PutEndpoint("e2", 1, "192.0.2.2", "e1").has_accepted());
  host->WaitPort("a-red", [&](const auto&) { return ready("e2"); });
}

TEST_F(RemovalTest, TwoEndpointsMaySwapTheirMacs) {
  Begin();
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  ASSERT_TRUE(PutEndpoint("e1", 1, "192.0.2.2").has_accepted());
  ASSERT_TRUE(PutEndpoint("e2", 2, "192.0.2.3").has_accepted());
  const auto settled = [&](const std::string& id, uint64_t generation) {
    const v1::ObjectStatus status = Status(v1::OBJECT_KIND_ENDPOINT, id);
    return status.rules_observed() == 1 && status.reason().find("exists") == std::string::npos &&
           status.generation() == generation;
  };
  host->WaitPort("a-red", [&](const auto&) { return settled("e1", 1) && settled("e2", 1); });
  ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                    for (const auto& [id, mac, vtep] :
                         {std::tuple("e1", 2, "192.0.2.2"), std::tuple("e2", 1, "192.0.2.3")}) {
                      v1::Endpoint* e = apply.add_upsert()->mutable_endpoint();
                      e->set_id(id);
                      e->set_vpc("red");
                      e->set_mac(StrCat("52:54:00:00:09:0", mac));
                      e->add_addresses(StrCat("10.0.0.2", id[1] - '0'));
                      e->set_vtep(vtep);
                    }
                  })
                  .has_accepted());
  // In the kernel each MAC leads to the other host now.
  const auto leads = [&](int mac, const std::string& vtep) {
    for (const TcFilter& filter : Block(1000)) {
      if (filter.id.priority != kPrioForward || !filter.match.dst_mac ||
          filter.match.dst_mac->ToString() != StrCat("52:54:00:00:09:0", mac)) {
        continue;
      }
      for (const TcAction& action : filter.actions) {
        const auto* tunnel = std::get_if<TcTunnelSet>(&action);
        if (tunnel != nullptr && tunnel->dst.ToString() == vtep) return true;
      }
    }
    return false;
  };
  host->WaitPort("a-red",
                 [&](const auto&) { return leads(2, "192.0.2.2") && leads(1, "192.0.2.3"); });
}

TEST_F(RemovalTest, AnEndpointOfTheOtherAddressFamilyHarmsNobodyElse) {
  Begin();
  host->AddVm("a");
  ASSERT_TRUE(PutEndpoint("e1", 1, "192.0.2.2").has_accepted());
  ASSERT_TRUE(PutEndpoint("e2", 2, "2001:db8::2").has_accepted());
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  const v1::ObjectStatus status = Status(v1::OBJECT_KIND_ENDPOINT, "e2");
  EXPECT_EQ(status.state(), v1::OBJECT_STATE_DEGRADED);
  EXPECT_THAT(status.reason(), HasSubstr("family"));
  // One that becomes such a one keeps no rule towards its old host.
  ASSERT_TRUE(PutEndpoint("e1", 1, "2001:db8::1").has_accepted());
  host->WaitPort("a-red", [&](const auto&) {
    return Status(v1::OBJECT_KIND_ENDPOINT, "e1").rules_observed() == 0;
  });
}

TEST_F(RemovalTest, WhatFailedForGoodIsTriedAgainAtTheAudit) {
  Begin({}, [](DaemonConfig& c) { c.engine.audit_every = std::chrono::milliseconds(300); });
  host->AddVm("a");
  host->pci.SetDriverLoaded("vfio-pci", false);
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_EQ(host->WaitFailed("a-red").step(), "driver-binding create");
  host->pci.SetDriverLoaded("vfio-pci", true);  // no event tells of that
  host->WaitReady("a-red");
}

TEST_F(RemovalTest, OneVfThatCannotBeUsedDoesNotHoldUpTheOthers) {
  Begin();
  host->AddVm("a");
  Quiet();
  host->network->ChangeLink(host->Representor(0),
                            [](LinkInfo& link) { link.alias = "somebody's"; });
  host->Attach("a", "red", "10.0.0.5");
  EXPECT_EQ(host->WaitReady("a-red").vf(), StrCat(host->pf_mac.ToString(), "/1"));
  FakeRtnetlinkPort links(host->network);
  EXPECT_EQ(links.GetLink(host->Representor(0))->alias, "somebody's");
}

TEST_F(RemovalTest, APortWhoseNicIsGoneIsNotCalledReady) {
  Begin();
  host->AddVm("a");
  host->Attach("a", "red", "10.0.0.5");
  host->WaitReady("a-red");
  host->network->FailWhen([](std::string_view call) { return call.starts_with("GetLink"); },
                          SystemError(ENODEV, "asked of the fake", "no such device"), 1000000);
  host->network->LoseEvents();
  const auto status = host->WaitPort(
      "a-red", [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_DEGRADED; });
  EXPECT_EQ(status->step(), "pf observe");
}

}  // namespace
}  // namespace fairlead
