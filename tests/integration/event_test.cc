// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes: what it publishes.
#include <algorithm>
#include <map>

#include "agent/ports/devlink/fake_devlink_port.h"
#include "fairlead/v1/status.pb.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class EventTest : public AgentTest {
 protected:
  static constexpr std::chrono::seconds kLong{30};

  struct Told {
    std::string topic;
    v1::Event event;
  };

  // A subscription counts from some moment after it was asked for: a port that
  // waits for a VM comes and goes until one of its events is seen.
  std::unique_ptr<Subscriber> Subscribed(const std::string& prefix) {
    absl::StatusOr<std::unique_ptr<Subscriber>> subscriber =
        Subscriber::Connect(host->config.server.events, prefix);
    EXPECT_TRUE(subscriber.ok()) << subscriber.status();
    if (!subscriber.ok()) return nullptr;
    host->WaitUntil("an event is seen", [&] {
      host->Apply([](v1::Apply& apply) { FillPort(apply, "probe", "", "red"); });
      host->Apply([](v1::Apply& apply) { FillRemove(apply, v1::OBJECT_KIND_PORT, "probe"); });
      return (*subscriber)->Next(std::chrono::milliseconds(50)).ok();
    });
    return *std::move(subscriber);
  }
  Told Next(Subscriber& subscriber) {
    Told told;
    auto got = subscriber.Next(kLong);
    EXPECT_TRUE(got.ok()) << got.status();
    if (!got.ok()) return told;
    told.topic = got->first;
    EXPECT_TRUE(told.event.ParseFromString(got->second));
    EXPECT_GT(told.event.time(), 0U);
    return told;
  }
  // Reads on until the object's event that `done` likes; all that comes is checked.
  using Check = std::function<void(const Told&)>;
  Told Until(Subscriber& subscriber, const std::string& topic,
             const std::function<bool(const v1::Event&)>& done, const Check& check) {
    while (!HasFailure()) {
      Told told = Next(subscriber);
      check(told);
      if (told.topic == topic && done(told.event)) return told;
    }
    return {};
  }
  static bool Ready(const v1::Event& event) {
    return event.status().state() == v1::OBJECT_STATE_READY;
  }
  static bool Gone(const v1::Event& event) { return event.gone(); }
};

TEST_F(EventTest, EveryEventHasTheNextNumberUntilTheAgentIsAnotherOne) {
  Begin();
  host->AddVm("a");
  std::unique_ptr<Subscriber> all = Subscribed("");
  ASSERT_TRUE(all);
  uint64_t sequence = 0, start = 0;
  const Check in_order = [&](const Told& told) {
    if (sequence != 0) {
      EXPECT_EQ(told.event.sequence(), sequence + 1) << told.topic;
      EXPECT_EQ(told.event.agent_start(), start) << told.topic;
    }
    sequence = told.event.sequence();
    start = told.event.agent_start();
    EXPECT_GT(start, 0U);
  };
  host->Attach("a", "red", "10.0.0.5");
  Until(*all, "port/a-red", Ready, in_order);
  host->Detach("a", "red");
  Until(*all, "port/a-red", Gone, in_order);
  ASSERT_FALSE(HasFailure());

  host->Stop();
  host->Start();
  std::unique_ptr<Subscriber> later = Subscribed("");
  ASSERT_TRUE(later);
  EXPECT_GT(Next(*later).event.agent_start(), start);
}

TEST_F(EventTest, ASubscriberOfPortsIsToldOfAnAttachAndADetachAndOfNothingElse) {
  Begin();
  host->AddVm("a");
  std::unique_ptr<Subscriber> ports = Subscribed("port/");
  ASSERT_TRUE(ports);
  uint64_t sequence = 0;
  const Check of_ports = [&](const Told& told) {
    EXPECT_THAT(told.topic, StartsWith("port/"));
    EXPECT_EQ(told.event.status().ref().kind(), v1::OBJECT_KIND_PORT);
    EXPECT_EQ(told.topic, StrCat("port/", told.event.status().ref().id()));
    EXPECT_GT(told.event.sequence(), sequence);
    sequence = told.event.sequence();
  };
  host->Attach("a", "red", "10.0.0.5");
  const Told ready = Until(*ports, "port/a-red", Ready, of_ports);
  EXPECT_FALSE(ready.event.gone());
  EXPECT_EQ(ready.event.status().vf(), FakeHost::VfName(0));
  host->Detach("a", "red");
  const Told gone = Until(*ports, "port/a-red", Gone, of_ports);
  EXPECT_EQ(gone.event.status().state(), v1::OBJECT_STATE_REMOVING);
  EXPECT_EQ(gone.event.agent_start(), ready.event.agent_start());
  host->WaitGone("a-red");
}

TEST_F(EventTest, WhatBecomesOfARoutesNextHopIsToldOfTheRoute) {
  Begin();
  Attached("a", "red", "10.0.0.5");
  std::unique_ptr<Subscriber> all = Subscribed("");
  ASSERT_TRUE(all);
  const auto until = [&](const std::function<bool(const v1::Event&)>& done) {
    return Until(*all, "route/out", done, [](const Told&) {}).event.status();
  };
  const auto in_state = [](v1::ObjectState state) {
    return [state](const v1::Event& event) { return event.status().state() == state; };
  };
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    v1::Route* route = apply.add_upsert()->mutable_route();
                    route->set_id("out");
                    route->set_vpc("red");
                    route->set_prefix("0.0.0.0/0");
                    route->set_next_hop("10.0.0.9");
                  })
                  .has_accepted());
  EXPECT_THAT(until(in_state(v1::OBJECT_STATE_PENDING)).reason(), HasSubstr("10.0.0.9"));
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) {
                    FillEndpoint(apply, "far", "red", "52:54:00:00:09:01", "10.0.0.9", "192.0.2.2");
                  })
                  .has_accepted());
  until(in_state(v1::OBJECT_STATE_READY));
  host->network->SetStation(*IpAddress::Parse("192.0.2.2"), std::nullopt);
  EXPECT_THAT(until(in_state(v1::OBJECT_STATE_DEGRADED)).reason(), HasSubstr("192.0.2.2"));
  ASSERT_TRUE(host->Apply([](v1::Apply& apply) { FillRemove(apply, v1::OBJECT_KIND_ROUTE, "out"); })
                  .has_accepted());
  until(Gone);
}

// A driver registers a representor's netdev first and binds it to its devlink port a
// moment later, of which devlink alone tells.
TEST_F(EventTest, ARepresentorThatAppearsByDevlinkAloneIsNoticedAtOnce) {
  FakeHostOptions options;
  options.eswitch = EswitchMode::kSwitchdev;
  Begin(options, [](DaemonConfig& config) { config.engine.audit_every = std::chrono::hours(1); });
  Quiet();
  const auto representor = [&](int vf) { return host->Host().pfs(0).vfs(vf).representor(); };
  host->WaitUntil("each VF has its representor", [&] { return representor(1) == "pf0r1"; });
  const auto seen = FakeDevlinkPort(host->devlink).ListPorts(FakeHost::Nic());
  ASSERT_TRUE(seen.ok()) << seen.status();
  const uint32_t ifindex = FindVfRepresentor(*seen, {.vf = 1, .pf = {}})->ifindex;
  host->devlink->SetRepresentorNetdev(FakeHost::Nic(), 1, 0);
  host->WaitUntil("it is gone", [&] { return representor(1).empty(); });
  host->devlink->SetRepresentorNetdev(FakeHost::Nic(), 1, ifindex);
  host->WaitUntil("it is back", [&] { return representor(1) == "pf0r1"; });
  EXPECT_EQ(representor(0), "pf0r0");
}

TEST_F(EventTest, WhenDevlinksEventsAreLostTheNicIsLookedAtAgain) {
  FakeHostOptions options;
  options.eswitch = EswitchMode::kSwitchdev;
  Begin(options, [](DaemonConfig& config) { config.engine.audit_every = std::chrono::hours(1); });
  Quiet();
  host->WaitUntil("the NIC is in switchdev mode",
                  [&] { return host->Host().pfs(0).eswitch() == "switchdev"; });
  host->network->ClearCalls();
  host->devlink->LoseEvents();
  host->WaitUntil("the eswitch is read again", [&] {
    const std::vector<std::string> calls = host->network->Calls();
    return std::any_of(calls.begin(), calls.end(), [](const std::string& call) {
      return call == StrCat("GetEswitch(", FakeHost::Nic().ToString(), ")");
    });
  });
}

// No event told of it: the session was gone, and another client had the monitor meanwhile.
TEST_F(EventTest, ADeviceThatWentWhileTheMonitorWasAwayIsPluggedInAgain) {
  Begin({}, [](DaemonConfig& config) { config.engine.audit_every = std::chrono::hours(1); });
  const auto vm = Attached("a", "red", "10.0.0.5");
  const std::string device = host->WaitReady("a-red").guest_device();
  vm->SetHeldByOther(true);
  vm->Disconnect();
  ASSERT_TRUE(vm->Unplug(device));
  vm->SetHeldByOther(false);
  host->WaitUntil("it is in the VM again", [&] { return vm->Find(device).has_value(); });
  host->WaitReady("a-red");
}

// A kernel without devlink: a NIC's representors are configured, and nothing is heard.
TEST_F(EventTest, AHostWhoseKernelHasNoDevlinkStarts) {
  FakeHostOptions options;
  options.eswitch = EswitchMode::kSwitchdev;
  host = std::make_unique<FakeHost>(options);
  host->network->FailWhen([](std::string_view call) { return call == "Subscribe(devlink)"; },
                          absl::UnimplementedError("this kernel has no devlink"));
  host->Start();
  host->WaitUntil("it answers", [this] { return host->HasItsVfs(); });
}

}  // namespace
}  // namespace fairlead
