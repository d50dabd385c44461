// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a whole agent on the in-memory fakes, as a controller meets it: the
// real daemon with its loop, lanes, store and endpoints, and a client of it.
//
// The host has one PF "pf0" whose VFs have representors pf0rep0, pf0rep1, ... and
// fixed MACs, as the lab's virtio face has; options give it more PFs ("pf1"), or
// other ones.
//
// Threading: the agent runs on a thread of its own; everything here is called on
// the test's thread. The fakes may be changed while it runs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "agent/daemon/agent.h"
#include "agent/ports/devlink/fake_devlink.h"
#include "agent/ports/netlink/fake_network.h"
#include "agent/ports/qmp/fake_qmp_port.h"
#include "agent/ports/sysfs/fake_pci_host.h"
#include "agent/ports/sysfs/fake_sysfs_port.h"
#include "agent/ports/uevent/fake_uevent_port.h"
#include "agent/transport/client.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {

struct FakeHostOptions {
  uint16_t pfs = 1;
  uint16_t vfs = 4;  // of each PF
  bool can_set_vf_mac = false;
  bool offload_capable = false;
  // NICs as mlx5_core drives them: an eswitch that begins in this mode, representors
  // that devlink tells (none is configured), VFs whose MAC can be set.
  std::optional<EswitchMode> eswitch = std::nullopt;
  // PFs from this number on are as an Intel 82576 (igb): no representors, everything of a
  // VF but a minimum rate can be set.
  uint16_t first_igb = UINT16_MAX;
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
  // The same in a VLAN.
  void MakeVlan(const std::string& vpc, uint32_t vlan, const std::string& prefix);
  v1::Request AddVmRequest(const std::string& vm, const std::string& vpc,
                           const std::string& address);
  void Attach(const std::string& vm, const std::string& vpc, const std::string& address);
  void Detach(const std::string& vm, const std::string& vpc);
  std::optional<v1::ObjectWithStatus> Get(v1::ObjectKind kind, const std::string& id);
  std::optional<v1::ObjectStatus> PortStatus(const std::string& port);
  std::optional<v1::ObjectStatus> Status(v1::ObjectKind kind, const std::string& id);
  // Polls until `done`. Gives up after half a minute and fails the test.
  void WaitUntil(const std::string& what, const std::function<bool()>& done);
  // The same for a port's status (none: the port is gone), which it returns.
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
  // True once every PF has the VFs that its configuration asks for.
  bool HasItsVfs();

  static constexpr uint32_t kPfLink = 10;  // of pf0, which has the tunnel's local address
  static constexpr char kLocal[] = "192.0.2.1";
  static PciAddress PfAddress(uint16_t pf = 0);
  static MacAddress PfMac(uint16_t pf = 0);
  static DevlinkHandle Nic(uint16_t pf = 0) { return DevlinkHandle::Pci(PfAddress(pf)); }
  static MacAddress VfMac(uint16_t index, uint16_t pf = 0);
  PciAddress VfAddress(uint16_t index, uint16_t pf = 0) const;
  // As a port's status names it.
  static std::string VfName(uint16_t index, uint16_t pf = 0);
  static uint32_t Representor(uint16_t index, uint16_t pf = 0);
  // As the PF reports it.
  VfInfo Vf(uint16_t index, uint16_t pf = 0) const;
  void ChangeVf(uint16_t index, uint16_t pf, const std::function<void(VfInfo&)>& change);

  std::shared_ptr<FakeNetwork> network = std::make_shared<FakeNetwork>();
  std::shared_ptr<FakeDevlink> devlink = std::make_shared<FakeDevlink>(network);
  FakePciHost pci;
  FakeUevents uevents;
  FakeQmpPort qmp;
  DaemonConfig config;

 private:
  void AddPf(uint16_t pf);
  void AddRepresentors(uint16_t pf, PfConfig& configured);
  void MakeNetwork(const std::string& vpc, const std::function<void(v1::Vpc&)>& segment,
                   const std::string& prefix);

  FakeHostOptions options_;
  std::string folder_;
  SystemClock clock_;
  FakeSysfsPort sysfs_{pci};
  FakeUeventPort uevent_{&uevents};
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
  std::unique_ptr<Client> client_;
  int next_request_ = 1;
};

}  // namespace fairlead
