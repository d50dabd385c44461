// SPDX-License-Identifier: Apache-2.0
//
// Suite crash-sweep: the agent is killed before and after every single thing that an attach or a
// detach changes, its own commits included. The cases are counted off a run without a crash. A
// started agent then ends in what that run ended in, or, where something cannot be done at all, in
// what was there before.
//
// Environment: FAIRLEAD_CRASHES=all: at each of them; else at every third.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <errno.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "tests/sweep/stepped_host.h"

namespace fairlead {
namespace {

// Crashes at one change, before or after it, if told so. From then on nothing has an effect and
// nothing is told, as of a process that is no more.
class Plan final : public FaultPlan {
 public:
  enum class When { kBefore, kAfter };
  explicit Plan(SteppedHost* host) : host_(host) {}

  void CrashAt(size_t change, When when) {
    at_ = change;
    when_ = when;
    seen_ = 0;
  }
  // This one is refused for good, each time.
  void Refuse(std::string method) { refused_ = std::move(method); }
  // The next agent meets no crash.
  void Over() { crashed_ = false; }

  absl::Status Before(const PortCall& call) override {
    if (!crashed_ && call.changes && at_ && seen_++ == *at_) {
      if (when_ == When::kBefore) Crash();
      armed_ = when_ == When::kAfter;
    }
    if (crashed_) return absl::CancelledError("the agent was killed");
    if (call.method == refused_) return SystemError(EINVAL, call.ToString(), "never");
    return absl::OkStatus();
  }
  absl::Status After(const PortCall&) override {
    if (armed_) Crash();
    return crashed_ ? absl::CancelledError("the agent was killed") : absl::OkStatus();
  }
  bool Tells(std::string_view) override { return !crashed_; }

  bool crashed() const { return crashed_; }
  bool crashed_once() const { return crashed_once_; }

 private:
  void Crash() {
    at_.reset();
    armed_ = false;
    crashed_ = crashed_once_ = true;
    host_->KillSoon();
  }

  SteppedHost* host_;
  std::optional<size_t> at_;
  When when_ = When::kBefore;
  size_t seen_ = 0;
  bool armed_ = false, crashed_ = false, crashed_once_ = false;
  std::string refused_;
};

struct Scenario {
  const char* name;
  FakeMachineOptions machine;
  // Comes before what is swept.
  std::function<void(SteppedHost&)> prepare;
  std::function<v1::Request(SteppedHost&)> request;
  // The port that it is about is ready at the end, or gone.
  bool ready;
};

void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }

constexpr char kPort[] = "a-red";

v1::Request Attach(SteppedHost& host) { return host.AddVmRequest("a", "red", "10.0.0.5"); }
// Where VFs have no MAC of their own.
v1::Request AttachWithMac(SteppedHost& host) {
  v1::Request request = Attach(host);
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:aa:01");
  return request;
}
v1::Request Detach(SteppedHost&) {
  v1::Request request;
  request.mutable_remove_vm_from_vpc()->set_vm("a");
  request.mutable_remove_vm_from_vpc()->set_vpc("red");
  return request;
}

// The port as an object: to where it is to be.
v1::Request PortIn(const std::string& vm, const std::string& vpc) {
  v1::Request request;
  v1::Port* port = request.mutable_apply()->add_upsert()->mutable_port();
  port->set_id(kPort);
  port->set_vm(vm);
  port->set_vpc(vpc);
  port->set_subnet(vpc + "-1");
  port->add_addresses("10.0.0.5");
  return request;
}
v1::Request ToAnotherVm(SteppedHost&) { return PortIn("b", "red"); }
v1::Request ToAnotherVpc(SteppedHost&) { return PortIn("a", "blue"); }

void Overlay(SteppedHost& host) {
  host.MakeVpc("red", 1000, "10.0.0.0/24");
  host.AddVm("a");
}
void OverlayWithNeighbour(SteppedHost& host) {
  Overlay(host);
  host.AddVm("b");
  host.Attach("b", "red", "10.0.0.6");
}
void TwoVpcs(SteppedHost& host) {
  Overlay(host);
  host.MakeVpc("blue", 2000, "10.0.0.0/24");
  v1::Request b;
  v1::Vm* vm = b.mutable_apply()->add_upsert()->mutable_vm();
  vm->set_id("b");
  vm->set_uuid(FakeMachine::UuidOf("b"));
  EXPECT_TRUE(host.Send(b).has_accepted());
  host.AddVm("b");
}
void Vlan(SteppedHost& host) {
  host.MakeVlan("red", 100, "10.0.0.0/24");
  host.AddVm("a");
}
constexpr PciAddress kFunction{0, 0x20, 0, 0};
// A function that a DPU brought, at the machine's hot-plug port.
void FunctionThere(SteppedHost& host) {
  Overlay(host);
  LinkInfo link;
  link.name = "hot0";
  link.ifindex = 500;
  link.mac = *MacAddress::Parse("52:54:00:00:04:00");
  host.network->AddLink(link);
  FakeFunctionOptions function;
  function.address = kFunction;
  function.netdev = link.name;
  host.pci.Plug(FakeMachine::kHotplugPort, function);
  host.uevents.Emit("add", "/devices/pci0000:00/0000:00:1c.0/0000:20:00.0", "pci");
}
v1::Request AttachFunction(SteppedHost& host) {
  v1::Request request = Attach(host);
  request.mutable_add_vm_to_vpc()->set_function(v1::FUNCTION_SOURCE_HOTPLUG);
  request.mutable_add_vm_to_vpc()->set_mac("52:54:00:00:04:00");
  return request;
}
std::function<void(SteppedHost&)> Then(void (*prepare)(SteppedHost&),
                                       v1::Request (*request)(SteppedHost&)) {
  return [=](SteppedHost& host) {
    prepare(host);
    const v1::Reply reply = host.Send(request(host));
    EXPECT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
  };
}

// Which it gives back dirty.
void VlanOnAVfWithoutReset(SteppedHost& host) {
  Then(Vlan, AttachWithMac)(host);
  EXPECT_TRUE(host.Settle());
  host.pci.SetResetFails(host.VfAddress(0), SystemError(EINVAL, "reset", "never"));
}
// And it could be cleaned now.
void Quarantine(SteppedHost& host) {
  VlanOnAVfWithoutReset(host);
  EXPECT_TRUE(host.Send(Detach(host)).has_accepted());
  EXPECT_TRUE(host.Settle());
  EXPECT_EQ(host.Host().pfs(0).vfs(0).state(), "quarantined");
  host.pci.SetResetFails(host.VfAddress(0), absl::OkStatus());
}
v1::Request ReleaseIt(SteppedHost&) {
  v1::Request request;
  request.mutable_release_vf()->set_vf(FakeMachine::VfName(0));
  return request;
}

class CrashSweep : public ::testing::TestWithParam<Scenario> {
 protected:
  struct Swept {
    std::unique_ptr<SteppedHost> host;
    std::unique_ptr<Plan> plan;
    v1::Request request;
  };
  // A host that is ready for the request, and quiet.
  Swept Prepared() {
    SteppedHostOptions options;
    options.machine = GetParam().machine;
    Swept swept;
    swept.host = std::make_unique<SteppedHost>(options);
    swept.plan = std::make_unique<Plan>(swept.host.get());
    SteppedHost& host = *swept.host;
    host.Start();
    EXPECT_TRUE(host.Settle());
    GetParam().prepare(host);
    EXPECT_TRUE(host.Settle());
    host.ClearChanges();
    host.set_plan(swept.plan.get());
    swept.plan->Refuse(refused);
    swept.request = GetParam().request(host);
    swept.request.set_protocol_version(1);
    swept.request.set_controller_id("test");
    swept.request.set_request_id("swept");
    return swept;
  }

  // Sends the request; a controller that had no answer sends the same one again.
  static void Ask(Swept& swept) {
    v1::Reply reply = swept.host->Repeat(swept.request);
    const auto busy = [&] {
      return reply.rejected().violations_size() == 1 &&
             reply.rejected().violations(0).code() == v1::Rejected::CODE_BUSY;
    };
    for (int i = 0; i < 10 && busy(); ++i) {
      swept.host->RunFor(std::chrono::milliseconds(100));
      reply = swept.host->Repeat(swept.request);
    }
    // A release of a VF keeps no answer: the second one says that it is done.
    const bool released =
        reply.has_vf_released() ||
        (swept.plan->crashed_once() && reply.rejected().violations_size() == 1 &&
         reply.rejected().violations(0).reason().find("it was found clean") != std::string::npos);
    EXPECT_TRUE(swept.request.has_release_vf() ? released : reply.has_accepted())
        << reply.ShortDebugString();
    EXPECT_TRUE(swept.host->Settle()) << "it does not come to rest";
  }

  void ExpectEnd(SteppedHost& host, const std::string& picture) {
    const auto status = host.PortStatus(kPort);
    if (!refused.empty()) {
      EXPECT_TRUE(status && status->state() == v1::OBJECT_STATE_FAILED && status->rolled_back())
          << (status ? status->ShortDebugString() : "it is gone");
    } else if (GetParam().ready) {
      EXPECT_TRUE(status && status->state() == v1::OBJECT_STATE_READY)
          << (status ? status->ShortDebugString() : "it is gone");
    } else {
      EXPECT_FALSE(status) << status->ShortDebugString();
    }
    EXPECT_EQ(Seen(host), picture);
  }

  // And what the agent says of the VFs.
  static std::string Seen(SteppedHost& host) {
    std::string seen = host.Picture();
    const v1::HostState state = host.Host();
    for (const auto& pf : state.pfs()) {
      for (const auto& vf : pf.vfs()) StrAppend(&seen, "vf ", vf.index(), " is ", vf.state(), "\n");
    }
    return seen;
  }

  void Sweep() {
    std::string wanted;
    std::vector<std::string> changes;
    {
      Swept plain = Prepared();
      const std::string before = Seen(*plain.host);
      Ask(plain);
      wanted = Seen(*plain.host);
      changes = plain.host->changes();
      ExpectEnd(*plain.host, refused.empty() ? wanted : before);
    }
    ASSERT_FALSE(HasFailure());
    ASSERT_FALSE(changes.empty());
    const bool all = std::getenv("FAIRLEAD_CRASHES") != nullptr;
    size_t kills = 0;
    for (size_t at = 0; at < changes.size(); ++at) {
      for (const Plan::When when : {Plan::When::kBefore, Plan::When::kAfter}) {
        // Now before and now after, and of each kind of change some: most are rules.
        if (!all && (2 * at + (when == Plan::When::kAfter ? 1 : 0)) % 3 != 0) continue;
        ++kills;
        SCOPED_TRACE(StrCat("killed ", when == Plan::When::kBefore ? "before " : "after ",
                            "change ", at, ": ", changes[at]));
        Swept swept = Prepared();
        SteppedHost& host = *swept.host;
        swept.plan->CrashAt(at, when);
        host.Repeat(swept.request);
        if (host.running()) host.Settle();
        ASSERT_TRUE(swept.plan->crashed());
        ASSERT_FALSE(host.running());
        swept.plan->Over();
        host.Start();
        Ask(swept);
        ExpectEnd(host, wanted);
        if (refused.empty()) ExpectNothingToDo(host);
        if (HasFailure()) return;  // one story is enough
      }
    }
    std::printf("%zu changes, %zu kills before or after them\n", changes.size(), kills);
  }

  // For the next agent.
  static void ExpectNothingToDo(SteppedHost& host) {
    host.Kill();
    host.ClearChanges();
    host.Start();
    EXPECT_TRUE(host.Settle());
    EXPECT_THAT(host.changes(), ::testing::IsEmpty());
  }

  std::string refused;  // a method
};

TEST_P(CrashSweep, EndsWhereARunWithoutACrashEnds) { Sweep(); }

// Of attaches only.
class CrashSweepRefused : public CrashSweep {};

TEST_P(CrashSweepRefused, OfAnAttachThatCannotSucceedNothingIsLeft) {
  refused = "AddVfioDevice";
  Sweep();
}

const FakeMachineOptions kSwitchdev{.offload_capable = true, .eswitch = EswitchMode::kSwitchdev};
const auto kAttaches = ::testing::Values(
    Scenario{"Attach", {}, Overlay, Attach, true},
    Scenario{"AttachBesideAnother", {}, OverlayWithNeighbour, Attach, true},
    Scenario{"AttachWithMac", {.can_set_vf_mac = true}, Overlay, AttachWithMac, true},
    Scenario{"AttachSwitchdev", kSwitchdev, Overlay, Attach, true},
    Scenario{"AttachVlan", {.first_igb = 0}, Vlan, AttachWithMac, true});
const auto kDetaches = ::testing::Values(
    Scenario{"Detach", {}, Then(Overlay, Attach), Detach, false},
    Scenario{"DetachBesideAnother", {}, Then(OverlayWithNeighbour, Attach), Detach, false},
    Scenario{"DetachSwitchdev", kSwitchdev, Then(Overlay, Attach), Detach, false},
    Scenario{"DetachVlan", {.first_igb = 0}, Then(Vlan, AttachWithMac), Detach, false},
    Scenario{"DetachDirty", {.first_igb = 0}, VlanOnAVfWithoutReset, Detach, false},
    Scenario{"Release", {.first_igb = 0}, Quarantine, ReleaseIt, false});
const auto kMoves = ::testing::Values(
    Scenario{"MoveToAnotherVm", {}, Then(TwoVpcs, Attach), ToAnotherVm, true},
    Scenario{"MoveToAnotherVpc", {}, Then(TwoVpcs, Attach), ToAnotherVpc, true},
    Scenario{"MoveToAnotherVpcSwitchdev", kSwitchdev, Then(TwoVpcs, Attach), ToAnotherVpc, true});
const auto kHotplugs = ::testing::Values(
    Scenario{"AttachFunction", {.hotplug_port = true}, FunctionThere, AttachFunction, true},
    Scenario{"DetachFunction",
             {.hotplug_port = true},
             Then(FunctionThere, AttachFunction),
             Detach,
             false});
const auto kName = [](const auto& info) { return std::string(info.param.name); };

INSTANTIATE_TEST_SUITE_P(Attach, CrashSweep, kAttaches, kName);
INSTANTIATE_TEST_SUITE_P(Detach, CrashSweep, kDetaches, kName);
INSTANTIATE_TEST_SUITE_P(Move, CrashSweep, kMoves, kName);
INSTANTIATE_TEST_SUITE_P(Hotplug, CrashSweep, kHotplugs, kName);
INSTANTIATE_TEST_SUITE_P(Attach, CrashSweepRefused, kAttaches, kName);

}  // namespace
}  // namespace fairlead
