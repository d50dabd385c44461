// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a whole agent on the in-memory fakes, as a controller meets it: the
// real daemon with its loop, lanes, store and endpoints, and a client of it.
//
// The host has one PF "pf0" whose VFs have representors pf0rep0, pf0rep1, ... and
// fixed MACs, as the lab's virtio face has; options make it another one.
//
// Threading: the agent runs on a thread of its own; everything here is called on
// the test's thread. The fakes may be changed while it runs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent/daemon/agent.h"
#include "agent/ports/netlink/fake_network.h"
#include "agent/ports/qmp/fake_qmp_port.h"
#include "agent/ports/sysfs/fake_pci_host.h"
#include "agent/ports/sysfs/fake_sysfs_port.h"
#include "agent/transport/client.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {

struct FakeHostOptions {
  uint16_t vfs = 4;
  bool can_set_vf_mac = false;
  bool offload_capable = false;
};

class FakeHost {
 public:
  explicit FakeHost(FakeHostOptions options = {});
  ~FakeHost();

  // The agent; Start fails the test when it does not come up. Stop ends it in
  // order, and the state on the fakes and in the store stays.
  void Start();
  void Stop();

  // A VM whose monitor is where the agent looks for it.
  std::shared_ptr<FakeVm> AddVm(const std::string& id, int root_ports = 2);
  void RemoveVm(const std::string& id);
  static std::string UuidOf(const std::string& id);

  // --- As a controller.
  v1::Reply Send(v1::Request request);  // fills in version, ids
  v1::Reply SendBytes(std::string_view bytes);
  v1::Reply Apply(const std::function<void(v1::Apply&)>& fill);
  // A VPC "red"-like with one subnet "<vpc>-1".
  void MakeVpc(const std::string& vpc, uint32_t vni, const std::string& prefix);
  v1::Request AddVmRequest(const std::string& vm, const std::string& vpc,
                           const std::string& address);
  void Attach(const std::string& vm, const std::string& vpc, const std::string& address);
  void Detach(const std::string& vm, const std::string& vpc);
  std::optional<v1::ObjectStatus> PortStatus(const std::string& port);
  // Polls until `done` likes the status (none: the port is gone), and returns
  // it. Gives up after half a minute and fails the test with the last status.
  std::optional<v1::ObjectStatus> WaitPort(
      const std::string& port,
      const std::function<bool(const std::optional<v1::ObjectStatus>&)>& done);
  v1::ObjectStatus WaitReady(const std::string& port);
  v1::ObjectStatus WaitFailed(const std::string& port);
  void WaitGone(const std::string& port);
  v1::HostState Host(bool rules = false);

  // What a host shows of Fairlead's work, as text, one thing a line; equal texts
  // mean that nothing was left. The VF pool, which is shared, is not in it.
  std::string Leftovers() const;

  const PciAddress pf_address{0, 1, 0, 0};
  static constexpr uint32_t kPfLink = 10;
  static constexpr uint32_t kFirstRepresentor = 20;
  static constexpr char kLocal[] = "192.0.2.1";
  MacAddress pf_mac;
  PciAddress VfAddress(uint16_t index) const;
  uint32_t Representor(uint16_t index) const { return kFirstRepresentor + index; }

  std::shared_ptr<FakeNetwork> network = std::make_shared<FakeNetwork>();
  FakePciHost pci;
  FakeQmpPort qmp;
  DaemonConfig config;

 private:
  FakeHostOptions options_;
  std::string folder_;
  SystemClock clock_;
  FakeSysfsPort sysfs_{pci};
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
  std::unique_ptr<Client> client_;
  int next_request_ = 1;
};

}  // namespace fairlead
