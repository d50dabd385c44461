// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes, its store lost: what the old store's agent made stays and
// is listed, until it is adopted or purged.
#include <algorithm>
#include <filesystem>

#include "agent/ports/devlink/fake_devlink_port.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class TakeOverTest : public AgentTest {
 protected:
  void SendEndpoint() {
    ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                      FillEndpoint(apply, "far", "red", "52:54:00:00:09:01", "10.0.0.9",
                                   "192.0.2.2");
                    })
                    .has_accepted());
  }

  // The agent starts with an empty store; what it finds is another's.
  void LoseStore() {
    host->Stop();
    store_ = host_store_;
    for (const auto& entry : std::filesystem::directory_iterator(host->config.state_dir)) {
      if (entry.path().filename().string().starts_with("store.sqlite")) {
        std::filesystem::remove(entry.path());
      }
    }
    host->Start();
  }
  // Where a VF has no MAC of its own.
  void AttachC() {
    v1::Request request = host->AddVmRequest("c", "prov", "10.1.0.5");
    request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:0c:01");
    const v1::Reply reply = host->Send(request);
    ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
  }
  void SendVm(const std::string& id) {
    ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                      v1::Vm* vm = apply.add_upsert()->mutable_vm();
                      vm->set_id(id);
                      vm->set_uuid(FakeHost::UuidOf(id));
                    })
                    .has_accepted());
  }
  void NoteStore() { host_store_ = host->Host().store_id(); }
  // Of TwoAttached: the store is lost, and since then VM a's port was sent again, and of VM b only
  // that there is one.
  void LoseStoreAndSendOnlyA() {
    NoteStore();
    LoseStore();
    host->MakeVpc("red", 1000, "10.0.0.0/24");
    host->Attach("a", "red", "10.0.0.5");
    SendVm("b");
    WaitForeign("tunnel/");
    WaitForeign("representor/");
  }
  // An attached VM's store is lost, and since then all of the host was looked at. The purge of
  // what it left, as a controller asks for it.
  v1::Request PurgeOfLostStore(uint64_t epoch, const std::string& id) {
    Begin();
    Attached("a", "red", "10.0.0.5");
    NoteStore();
    LoseStore();
    SendVm("a");
    WaitForeign("representor/");
    host->WaitUntil("all was looked at", [&] { return host->Host().start().complete(); });
    v1::Request request;
    request.set_controller_id("sdn");
    request.set_epoch(epoch);
    request.set_request_id(id);
    request.mutable_take_over()->set_mode(v1::TakeOver::MODE_PURGE);
    request.mutable_take_over()->set_store_id(store_);
    return request;
  }

  v1::Reply TakeOver(v1::TakeOver::Mode mode, const std::string& store, bool dry_run = false) {
    v1::Request request;
    request.set_dry_run(dry_run);
    request.mutable_take_over()->set_mode(mode);
    request.mutable_take_over()->set_store_id(store);
    v1::Reply reply;
    host->WaitUntil("the host was observed", [&] {
      reply = host->Send(request);
      return reply.rejected().violations_size() != 1 ||
             reply.rejected().violations(0).code() != v1::Rejected::CODE_BUSY;
    });
    return reply;
  }
  v1::TakenOver Adopt(bool dry_run = false) {
    return Done(TakeOver(v1::TakeOver::MODE_ADOPT, store_, dry_run));
  }
  v1::TakenOver Purge() { return Done(TakeOver(v1::TakeOver::MODE_PURGE, store_)); }
  static v1::TakenOver Done(const v1::Reply& reply) {
    EXPECT_TRUE(reply.has_taken_over()) << reply.ShortDebugString();
    return reply.taken_over();
  }

  std::vector<std::string> Foreign() {
    std::vector<std::string> names;
    const v1::HostState state = host->Host();
    for (const auto& object : state.foreign()) {
      EXPECT_EQ(object.store_id(), store_);
      names.push_back(object.resource());
    }
    return names;
  }
  void WaitForeign(const std::string& what) {
    host->WaitUntil(what + " is listed as another store's", [&] {
      const auto names = Foreign();
      return std::any_of(names.begin(), names.end(),
                         [&](const std::string& name) { return name.starts_with(what); });
    });
  }
  std::vector<TcFilter> TunnelRules() {
    FakeRtnetlinkPort links(host->network);
    const absl::StatusOr<LinkInfo> tunnel = links.GetLink("fl-vxlan0");
    return tunnel.ok() ? host->network->Filters({0, tunnel->ifindex}) : std::vector<TcFilter>();
  }

  std::string store_;  // that was lost
  std::string host_store_;
};

// The controller sends everything again, in another order than before: every object gets
// another number, until what is found gives it back the old one.
TEST_F(TakeOverTest, WhatIsAdoptedServesOnUntouched) {
  Begin({.pfs = 2, .first_igb = 1});
  host->MakeVlan("prov", 100, "10.1.0.0/24");
  SendEndpoint();
  const auto a = Attached("a", "red", "10.0.0.5");
  const auto b = Attached("b", "red", "10.0.0.6");
  const auto c = host->AddVm("c");
  AttachC();
  host->WaitReady("c-prov");
  std::map<std::string, v1::ObjectStatus> before;
  for (const char* port : {"a-red", "b-red", "c-prov"}) before[port] = host->WaitReady(port);
  const std::vector<TcFilter> block = Block(1000), tunnel = TunnelRules();
  const std::string leftovers = host->Leftovers();
  const FakeSlowPath::Entries answers = host->slow_path.entries();
  const size_t told = host->slow_path.told_whole();
  NoteStore();
  LoseStore();

  host->MakeVpc("blue", 2000, "10.0.0.0/24");
  host->MakeVlan("prov", 100, "10.1.0.0/24");
  AttachC();
  host->MakeVpc("red", 1000, "10.0.0.0/24");
  SendEndpoint();
  host->Attach("b", "red", "10.0.0.6");
  host->Attach("a", "red", "10.0.0.5");
  WaitForeign("tunnel/");
  WaitForeign("representor/");
  WaitForeign("guest-device/c/");
  WaitForeign("flow-rule/tunnel/");
  EXPECT_EQ(Block(1000), block) << "what is another store's is never touched";
  host->WaitUntil("all was told", [&] { return host->slow_path.told_whole() > told; });
  EXPECT_EQ(host->slow_path.entries(), answers) << "its guests still find their neighbours";

  const v1::TakenOver plan = Adopt(/*dry_run=*/true);
  EXPECT_EQ(plan.taken_size(), 3) << plan.DebugString();
  EXPECT_THAT(Foreign(), Not(IsEmpty())) << "a dry run takes nothing";

  host->network->ClearCalls();
  const int writes = PciWrites();
  const auto plugged = [&] {
    std::vector<int> calls;
    for (const auto& vm : {a, b, c}) calls.push_back(vm->Calls(QmpMethod::kAddVfioDevice));
    return calls;
  };
  const std::vector<int> before_it = plugged();
  const v1::TakenOver taken = Adopt();
  EXPECT_THAT(taken.taken(), Contains(HasSubstr("port/a-red: VF " + before["a-red"].vf())));
  EXPECT_THAT(taken.taken(), Contains(HasSubstr("port/c-prov: VF " + before["c-prov"].vf())));
  EXPECT_THAT(taken.left(), IsEmpty());
  for (const auto& [port, status] : before) {
    const v1::ObjectStatus now = host->WaitReady(port);
    EXPECT_EQ(now.vf(), status.vf()) << port;
    EXPECT_EQ(now.guest_device(), status.guest_device()) << port;
  }
  host->WaitUntil("nothing is another's", [&] { return Foreign().empty(); });
  EXPECT_EQ(Block(1000), block);
  EXPECT_EQ(TunnelRules(), tunnel);
  EXPECT_EQ(host->Leftovers(), leftovers);
  EXPECT_EQ(PciWrites(), writes);
  ExpectNetworkUntouched();
  for (const auto& vm : {a, b, c}) EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0);
  EXPECT_EQ(plugged(), before_it) << "a device that is there was added again";

  // It is its own from now on: over a restart, and when it goes.
  host->Stop();
  host->network->ClearCalls();
  host->Start();
  for (const auto& [port, status] : before) EXPECT_EQ(host->WaitReady(port).vf(), status.vf());
  ExpectNetworkUntouched();
  EXPECT_EQ(host->Host().start().repaired(), 0U);
  for (const char* vm : {"a", "b"}) host->Detach(vm, "red");
  host->Detach("c", "prov");
  for (const auto& [port, status] : before) host->WaitGone(port);
  EXPECT_FALSE(a->Find(before["a-red"].guest_device()));
  EXPECT_THAT(Block(1000), IsEmpty());
}

// A port's rules name the other ports of its subnet: none may count as gone meanwhile.
// A port in a VLAN whose rules hang on the uplink, too, and the mark of whose qdisc it is.
TEST_F(TakeOverTest, AProviderNetworkOnAnUplinkIsAdoptedWithItsRulesOrPurged) {
  for (const bool adopt : {true, false}) {
    Begin();
    const std::string before = Quiet();
    host->MakeVlan("prov", 100, "10.1.0.0/24");
    const auto c = Attached("c", "prov", "10.1.0.5");
    const std::string device = host->WaitReady("c-prov").guest_device();
    const RuleTable block{
        .kind = RuleTable::Kind::kProviderBlock, .pf = FakeHost::PfMac(), .vlan = 100};
    const auto rules = [&] {
      std::vector<TcFilter> all = host->network->Filters({BlockIndexOf(block), 0});
      const std::vector<TcFilter> uplink = host->network->Filters({0, FakeHost::kPfLink});
      all.insert(all.end(), uplink.begin(), uplink.end());
      return all;
    };
    const std::vector<TcFilter> made = rules();
    NoteStore();
    LoseStore();
    if (adopt) {
      host->MakeVpc("red", 1000, "10.0.0.0/24");  // the numbers are others
      host->MakeVlan("prov", 100, "10.1.0.0/24");
      host->Attach("c", "prov", "10.1.0.5");
    } else {
      SendVm("c");
    }
    WaitForeign("representor/");
    EXPECT_EQ(rules(), made);
    if (adopt) {
      WaitForeign("guest-device/c/");
      EXPECT_EQ(Adopt().taken_size(), 1);
      EXPECT_EQ(host->WaitReady("c-prov").guest_device(), device);
      EXPECT_EQ(c->Calls(QmpMethod::kRequestRemoval), 0);
      EXPECT_EQ(rules(), made);
      host->Detach("c", "prov");
      host->WaitGone("c-prov");
    } else {
      EXPECT_EQ(Purge().taken_size(), 1);
    }
    WaitNothingLeft(before);
    host->Stop();
  }
}

TEST_F(TakeOverTest, RatesOfALostStoresPortAreKeptByAnAdoptionAndTakenByAPurge) {
  for (const bool adopt : {true, false}) {
    FakeHostOptions nic;
    nic.eswitch = EswitchMode::kSwitchdev;
    Begin(nic);
    host->AddVm("a");
    v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
    request.mutable_add_vm_to_vpc()->set_max_tx_mbps(500);
    ASSERT_TRUE(host->Send(request).has_accepted());
    host->WaitReady("a-red");
    NoteStore();
    LoseStore();
    const auto capped = [&] {
      const auto rates = FakeDevlinkPort(host->devlink).ListRates(FakeHost::Nic());
      return std::any_of(rates->begin(), rates->end(),
                         [](const DevlinkRate& rate) { return rate.max == 500U * kDevlinkMbit; });
    };
    EXPECT_TRUE(capped());
    if (adopt) {
      host->MakeVpc("red", 1000, "10.0.0.0/24");
      ASSERT_TRUE(host->Send(request).has_accepted());
      EXPECT_TRUE(Adopt().taken_size() > 0);
      host->WaitReady("a-red");
      EXPECT_TRUE(capped());
    } else {
      SendVm("a");
      EXPECT_GT(Purge().taken_size(), 0);
      host->WaitUntil("the purge is done", [&] { return !capped(); });
    }
    host.reset();
  }
}

// The last port is gone, and the qdisc that was made for it not yet.
TEST_F(TakeOverTest, AnUplinkThatALostStoreLeftWithoutAPortIsListedAndPurged) {
  Begin();
  const std::string before = Quiet();
  host->MakeVlan("prov", 100, "10.1.0.0/24");
  Attached("c", "prov", "10.1.0.5");
  host->network->FailWhen(
      [](std::string_view call) { return call == StrCat("DeleteClsact(", FakeHost::kPfLink, ")"); },
      absl::UnavailableError("not now"), 1'000'000);
  host->Detach("c", "prov");
  host->WaitGone("c-prov");
  NoteStore();
  LoseStore();
  WaitForeign("uplink/" + FakeHost::PfMac().ToString());
  host->network->ClearFaults();
  EXPECT_NE(host->Leftovers(), before) << "what is another store's is never touched";
  Purge();
  WaitNothingLeft(before);
  host->WaitUntil("nothing is another's", [&] { return Foreign().empty(); });
}

TEST_F(TakeOverTest, RulesThatAreReadBeforeTheirNicIsAreAdoptedAllTheSame) {
  Begin({},
        [](DaemonConfig& config) { config.engine.audit_every = std::chrono::milliseconds(100); });
  const TwoVms vms = TwoAttached();
  const std::vector<TcFilter> block = Block(1000);
  NoteStore();
  LoseStore();
  host->MakeVpc("red", 1000, "10.0.0.0/24");
  host->Attach("a", "red", "10.0.0.5");
  host->Attach("b", "red", "10.0.0.6");
  WaitForeign("representor/");
  WaitForeign("guest-device/a/");
  WaitForeign("guest-device/b/");
  Gate nic(*host->network, "GetLinkWithVfs(");
  EXPECT_EQ(Adopt().taken_size(), 2);
  host->network->ClearCalls();
  // The next one is asked for when the last one was taken.
  host->WaitUntil("the block was read, and what it shows was acted on", [&] {
    const std::vector<std::string> calls = host->network->Calls();
    return std::count_if(calls.begin(), calls.end(), [](const std::string& call) {
             return call.starts_with(StrCat("Dump(block ", BlockIndex(1000)));
           }) >= 3;
  });
  nic.Open();
  host->WaitReady("a-red");
  host->WaitReady("b-red");
  EXPECT_EQ(Block(1000), block);
  ExpectNetworkUntouched();
}

TEST_F(TakeOverTest, WhatFitsNobodyIsKeptUntilAPurge) {
  Begin();
  SendEndpoint();
  Quiet();
  const TwoVms vms = TwoAttached();
  const std::string device_b = host->WaitReady("b-red").guest_device();
  LoseStoreAndSendOnlyA();
  const std::vector<TcFilter> block = Block(1000);
  const v1::TakenOver taken = Adopt();
  EXPECT_EQ(taken.taken_size(), 1) << taken.DebugString();
  EXPECT_THAT(taken.left(), Contains(HasSubstr("of VM b: no port fits it")));
  host->WaitReady("a-red");
  EXPECT_TRUE(vms.b->Find(device_b));
  WaitForeign("representor/" + FakeHost::VfName(1));
  EXPECT_GE(Block(1000).size(), block.size()) << "b's rules, and those of its endpoint, stand";

  // Its controller comes late: the port waits for the operator, and a second adoption gives it
  // what is its own.
  host->Attach("b", "red", "10.0.0.6");
  const auto waits = host->WaitPort("b-red", [&](const auto& s) {
    return s && s->reason().find("fairleadctl adopt " + store_) != std::string::npos;
  });
  EXPECT_EQ(waits->state(), v1::OBJECT_STATE_PENDING);
  EXPECT_EQ(Adopt().taken_size(), 1);
  EXPECT_EQ(host->WaitReady("b-red").guest_device(), device_b);
  EXPECT_EQ(Block(1000).size(), block.size());
  EXPECT_EQ(vms.b->Calls(QmpMethod::kRequestRemoval), 0);
}

TEST_F(TakeOverTest, APurgeAfterAnAdoptionTakesWhatIsLeft) {
  Begin();
  const std::string idle = Quiet();
  const TwoVms vms = TwoAttached();
  const std::string device_b = host->WaitReady("b-red").guest_device();
  LoseStoreAndSendOnlyA();
  EXPECT_EQ(Adopt().taken_size(), 1);
  host->WaitReady("a-red");
  EXPECT_TRUE(vms.b->Find(device_b));
  const v1::TakenOver purged = Purge();
  EXPECT_EQ(purged.taken_size(), 1) << purged.DebugString();
  host->WaitUntil("nothing is another's", [&] { return Foreign().empty(); });
  host->WaitUntil("b's device is gone", [&] { return !vms.b->Find(device_b); });
  EXPECT_EQ(host->WaitReady("a-red").vf(), FakeHost::VfName(0));
  host->Detach("a", "red");
  host->WaitGone("a-red");
  WaitNothingLeft(idle);
}

// Else nobody would know that a purge is left to do.
TEST_F(TakeOverTest, RulesThatFitNobodyAreListedAfterAnAdoptionToo) {
  Begin();
  const std::string idle = Quiet();
  SendEndpoint();
  const auto a = Attached("a", "red", "10.0.0.5");
  NoteStore();
  LoseStore();
  host->MakeVpc("red", 1000, "10.0.0.0/24");
  host->Attach("a", "red", "10.0.0.5");  // and not the endpoint
  WaitForeign("tunnel/");
  WaitForeign("representor/");
  EXPECT_EQ(Adopt().taken_size(), 1);
  host->WaitReady("a-red");
  WaitForeign("flow-rule/block-1000/");
  const size_t kept = Block(1000).size();
  Purge();
  host->WaitUntil("nothing is another's", [&] { return Foreign().empty(); });
  host->WaitUntil("they are gone", [&] { return Block(1000).size() < kept; });
  host->WaitReady("a-red");
  EXPECT_EQ(a->Calls(QmpMethod::kRequestRemoval), 0);
  host->Detach("a", "red");
  host->WaitGone("a-red");
  WaitNothingLeft(idle);
}

TEST_F(TakeOverTest, ARepresentorThatSomebodyTookOutOfItsBlockIsPurged) {
  Begin();
  const std::string idle = Quiet();
  const auto a = Attached("a", "red", "10.0.0.5");
  NoteStore();
  host->Stop();
  ASSERT_TRUE(FakeTcPort(host->network).DeleteClsact(FakeHost::Representor(0)).ok());
  LoseStore();
  SendVm("a");
  WaitForeign("representor/");
  Purge();
  WaitNothingLeft(idle);
}

TEST_F(TakeOverTest, APurgeTakesEverythingOfALostStoreApart) {
  Begin();
  const std::string idle = Quiet();
  SendEndpoint();
  const TwoVms vms = TwoAttached();
  NoteStore();
  LoseStore();
  SendVm("a");
  SendVm("b");
  WaitForeign("tunnel/");
  WaitForeign("representor/");
  host->WaitUntil("all was looked at", [&] { return host->Host().start().complete(); });
  EXPECT_THAT(host->Leftovers(), HasSubstr("neighbour 192.0.2.2")) << "its VMs send to that peer";
  EXPECT_FALSE(host->slow_path.entries().empty()) << "and find it";
  EXPECT_EQ(Purge().taken_size(), 2);
  WaitNothingLeft(idle);
  host->WaitUntil("nobody is answered any more", [&] { return host->slow_path.entries().empty(); });
  EXPECT_THAT(Foreign(), IsEmpty());
}

// Both stores count from 1: what is attached here keeps its numbers.
TEST_F(TakeOverTest, WhatIsAttachedAlreadyStaysAsItIs) {
  Begin({.pfs = 2, .first_igb = 1});
  host->MakeVlan("prov", 100, "10.1.0.0/24");
  const auto c = host->AddVm("c");
  AttachC();
  const std::string device_c = host->WaitReady("c-prov").guest_device();
  NoteStore();
  LoseStore();
  host->MakeVlan("prov", 100, "10.1.0.0/24");
  const auto d = host->AddVm("d");
  v1::Request request = host->AddVmRequest("d", "prov", "10.1.0.6");
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:0d:01");
  ASSERT_TRUE(host->Send(request).has_accepted());
  const v1::ObjectStatus before = host->WaitReady("d-prov");
  AttachC();
  WaitForeign("guest-device/c/");
  EXPECT_EQ(Adopt().taken_size(), 1);
  EXPECT_EQ(host->WaitReady("c-prov").guest_device(), device_c);
  const v1::ObjectStatus now = host->WaitReady("d-prov");
  EXPECT_EQ(now.guest_device(), before.guest_device());
  EXPECT_EQ(now.lease(), before.lease());
  for (const auto& vm : {c, d}) EXPECT_EQ(vm->Calls(QmpMethod::kRequestRemoval), 0);
}

TEST_F(TakeOverTest, ATakeOverCountsForItsControllersEpochAndIsAnsweredOnce) {
  v1::Request request = PurgeOfLostStore(8, "the-purge");
  const v1::Reply first = host->Send(request);
  ASSERT_TRUE(first.has_taken_over()) << first.ShortDebugString();
  EXPECT_EQ(host->Send(request).SerializeAsString(), first.SerializeAsString());
  host->Stop();
  host->Start();
  EXPECT_EQ(host->Send(request).SerializeAsString(), first.SerializeAsString());
  request.set_epoch(7);
  request.set_request_id("of-another-instance");
  const v1::Reply old = host->Send(request);
  ASSERT_EQ(old.rejected().violations_size(), 1) << old.ShortDebugString();
  EXPECT_EQ(old.rejected().violations(0).path(), "epoch");
}

TEST_F(TakeOverTest, ATakeOverThatIsOnlyTriedFencesNobody) {
  v1::Request request = PurgeOfLostStore(9, "what-would-go");
  request.set_dry_run(true);
  const v1::Reply tried = host->Send(request);
  ASSERT_TRUE(tried.has_taken_over()) << tried.ShortDebugString();
  request.set_epoch(7);
  request.set_request_id("the-purge");
  request.set_dry_run(false);
  const v1::Reply done = host->Send(request);
  EXPECT_TRUE(done.has_taken_over()) << done.ShortDebugString();
  // What is committed is of the epoch that asked, not of the one that tried.
  request.set_epoch(8);
  request.set_request_id("again");
  const v1::Reply later = host->Send(request);
  for (const auto& violation : later.rejected().violations()) {
    EXPECT_NE(violation.path(), "epoch") << later.ShortDebugString();
  }
}

TEST_F(TakeOverTest, WhatCannotBeMeantIsRefusedByName) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  NoteStore();
  const auto refused = [&](v1::TakeOver::Mode mode, const std::string& store) {
    const v1::Reply reply = TakeOver(mode, store);
    EXPECT_TRUE(reply.has_rejected()) << reply.ShortDebugString();
    return reply.rejected().violations_size() == 0 ? "" : reply.rejected().violations(0).reason();
  };
  EXPECT_THAT(refused(v1::TakeOver::MODE_ADOPT, host_store_), HasSubstr("own store"));
  EXPECT_THAT(refused(v1::TakeOver::MODE_PURGE, "0badcafe"), HasSubstr("nothing on this host"));
  EXPECT_THAT(refused(v1::TakeOver::MODE_PURGE, "0x0badca"), HasSubstr("eight hexadecimal"));
  EXPECT_THAT(refused(v1::TakeOver::MODE_PURGE, "00000000"), HasSubstr("not 0"));
  EXPECT_THAT(refused(v1::TakeOver::MODE_UNSPECIFIED, "0badcafe"), HasSubstr("MODE_ADOPT"));
  EXPECT_EQ(host->WaitReady("a-red").state(), v1::OBJECT_STATE_READY);
}

}  // namespace
}  // namespace fairlead
