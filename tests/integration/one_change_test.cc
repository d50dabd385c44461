// SPDX-License-Identifier: Apache-2.0
//
// What one port's change asks of the kernel, with few ports present and with many: the same. Also
// benchmark "one-change" (tests/bench/run): FAIRLEAD_PORTS is how many, and a line tells the
// counts.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <thread>

#include "absl/strings/numbers.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

constexpr int kOfAVm = 16;    // ports; each VM has a VPC of its own
constexpr int kOfANic = 500;  // VFs
constexpr int kFew = 16;

class OneChangeTest : public AgentTest {
 protected:
  static std::string PortOf(int n) { return StrCat("p", n); }
  static std::string AddressOf(int n) { return StrCat("10.0.0.", 1 + n % kOfAVm); }
  static void FillPort(v1::Port& port, int n, const std::string& address) {
    const std::string vpc = StrCat("v", n / kOfAVm);
    port.set_id(PortOf(n));
    port.set_vm(StrCat("m", n / kOfAVm));
    port.set_vpc(vpc);
    port.set_subnet(vpc + "-1");
    port.set_network(v1::NETWORK_KIND_COMPUTE);
    port.add_addresses(address);
  }
  void WaitAllReady() {
    for (int patience = 0; patience < 40; ++patience) {
      const v1::HostState state = host->Host();
      if (state.objects_ready() == state.objects_total()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
    ADD_FAILURE() << "not all are ready";
  }
  // A host where all of `ports` are ready, and one VF is free.
  void BeginWith(int ports) {
    const auto nics = static_cast<uint16_t>(ports / kOfANic + 1);
    host = std::make_unique<FakeHost>(FakeHostOptions{
        .pfs = nics, .vfs = static_cast<uint16_t>(ports < kOfANic ? ports + 1 : kOfANic)});
    host->config.engine.audit_every = std::chrono::hours(10);
    host->network->KeepCalls(false);
    host->Start();
    Quiet();
    for (int first = 0; first < ports; first += kOfAVm) {
      const std::string vm = StrCat("m", first / kOfAVm), vpc = StrCat("v", first / kOfAVm);
      host->AddVm(vm, kOfAVm + 1);
      host->MakeVpc(vpc, static_cast<uint32_t>(1000 + first), "10.0.0.0/24");
      ASSERT_TRUE(host->Apply([&](v1::Apply& apply) {
                        v1::Vm* machine = apply.add_upsert()->mutable_vm();
                        machine->set_id(vm);
                        machine->set_uuid(FakeMachine::UuidOf(vm));
                        for (int n = first; n < std::min(first + kOfAVm, ports); ++n) {
                          FillPort(*apply.add_upsert()->mutable_port(), n, AddressOf(n));
                        }
                      })
                      .has_accepted());
      if (first % (8 * kOfAVm) == 0) WaitAllReady();
    }
    WaitAllReady();
  }
  // How often each call of the kernel's interfaces was made for a change of a port.
  std::map<std::string, int> CountOneChange(int n, const std::string& address) {
    host->network->ClearCalls();
    host->network->KeepCalls(true);
    EXPECT_TRUE(host->Apply([&](v1::Apply& apply) {
                      FillPort(*apply.add_upsert()->mutable_port(), n, address);
                    })
                    .has_accepted());
    const uint64_t generation = host->Get(v1::OBJECT_KIND_PORT, PortOf(n))->status().generation();
    host->WaitPort(PortOf(n), [&](const auto& status) {
      return status && status->state() == v1::OBJECT_STATE_READY &&
             status->observed_generation() == generation;
    });
    size_t before = 0;
    do {  // what follows it, too
      before = host->network->Calls().size();
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
    } while (host->network->Calls().size() != before);
    std::map<std::string, int> counts;
    for (const std::string& call : host->network->Calls()) ++counts[call.substr(0, call.find('('))];
    host->network->KeepCalls(false);
    return counts;
  }
};

int SumOf(const std::map<std::string, int>& counts) {
  int sum = 0;
  for (const auto& [call, count] : counts) sum += count;
  return sum;
}

TEST_F(OneChangeTest, AsksTheKernelAsMuchWithManyPortsAsWithFew) {
  int many = 96;
  if (const char* asked = std::getenv("FAIRLEAD_PORTS")) {
    ASSERT_TRUE(absl::SimpleAtoi(asked, &many) && many > kFew) << asked;
  }
  BeginWith(kFew);
  const std::map<std::string, int> with_few = CountOneChange(3, "10.0.0.77");
  host->Stop();
  host.reset();
  BeginWith(many);
  const std::map<std::string, int> with_many = CountOneChange(3, "10.0.0.77");
  EXPECT_EQ(with_many, with_few);
  EXPECT_GT(SumOf(with_few), 0);
  std::printf("one-change %d %d %d %d\n", kFew, SumOf(with_few), many, SumOf(with_many));
}

}  // namespace
}  // namespace fairlead
