// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/base/text.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/sysfs/fake_sysfs_port.h"
#include "agent/ports/tc/fake_tc_port.h"
#include "agent/providers/lease_table.h"
#include "agent/providers/net_provider.h"
#include "agent/providers/pf_provider.h"
#include "agent/providers/vm_provider.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

TEST(LeaseTableTest, AnOperationOfALeaseThatEndedIsRefused) {
  LeaseTable leases;
  leases.Grant(5);
  EXPECT_TRUE(leases.Check(5).ok());
  leases.End(5);
  leases.Grant(6);  // the VF's next tenant
  const absl::Status late = leases.Check(5);
  EXPECT_TRUE(absl::IsFailedPrecondition(late));
  EXPECT_THAT(std::string(late.message()), HasSubstr("lease 5"));
  EXPECT_TRUE(leases.Check(6).ok());
  EXPECT_TRUE(leases.Check(0).ok()) << "what no VF carries needs no lease";
}

TEST(MonitorPathTest, AVmsNameCannotLeaveTheFolder) {
  const Uuid uuid = *Uuid::Parse("6f9619ff-8b86-4d01-b42d-00c04fc964ff");
  EXPECT_EQ(*MonitorPath("/vms/{vm}/{uuid}.qmp", "a", uuid),
            "/vms/a/6f9619ff-8b86-4d01-b42d-00c04fc964ff.qmp");
  EXPECT_FALSE(MonitorPath("/vms/{vm}.qmp", "../etc/x", uuid).ok());
  EXPECT_FALSE(MonitorPath("/vms/all.qmp", "a", uuid).ok());
}

TEST(RootPortTest, OnlyConfiguredNamesAndPrefixesAreUsed) {
  EXPECT_TRUE(RootPortAllowed({"fairlead*"}, "fairlead3"));
  EXPECT_TRUE(RootPortAllowed({"rp1"}, "rp1"));
  EXPECT_FALSE(RootPortAllowed({"rp1"}, "rp10"));
  EXPECT_FALSE(RootPortAllowed({}, "rp1"));
}

TEST(NaturalLessTest, NumbersCountAsNumbers) {
  EXPECT_TRUE(NaturalLess("rp2", "rp10"));
  EXPECT_FALSE(NaturalLess("rp10", "rp2"));
  EXPECT_TRUE(NaturalLess("a", "b"));
  EXPECT_TRUE(NaturalLess("rp", "rp1"));
  EXPECT_FALSE(NaturalLess("rp1", "rp1"));
}

class NetProviderTest : public ::testing::Test {
 protected:
  NetProviderTest() {
    config.tunnel.local = Ip("192.0.2.1");
    config.store_id = 7;
    LinkInfo underlay;
    underlay.name = "eth0";
    underlay.ifindex = 10;
    underlay.up = true;
    network->AddLink(underlay);
    network->AddAddress(10, Ip("192.0.2.1"), *IpPrefix::Parse("192.0.2.0/24"));
  }
  TunnelSpec Spec() { return {"fl-vxlan0", Ip("192.0.2.1"), 4789, 1450}; }

  ProviderConfig config;
  std::shared_ptr<FakeNetwork> network = std::make_shared<FakeNetwork>();
  FakeRtnetlinkPort links{network};
  FakeTcPort tc{network};
  NetProvider net{&config, &links, &tc};
};

TEST_F(NetProviderTest, ATunnelWithAnAddressThatIsNotOursIsRefusedBeforeAnythingIsMade) {
  TunnelSpec spec = Spec();
  spec.local = Ip("192.0.2.99");
  const auto tunnel = net.PutTunnel(spec);
  EXPECT_THAT(std::string(tunnel.status().message()), HasSubstr("192.0.2.99"));
  EXPECT_TRUE(absl::IsNotFound(links.GetLink("fl-vxlan0").status()));
}

TEST_F(NetProviderTest, ATunnelThatComesToNothingIsNotLeftBehind) {
  network->FailNext("AddClsact", absl::UnavailableError("not now"));
  EXPECT_FALSE(net.PutTunnel(Spec()).ok());
  EXPECT_TRUE(absl::IsNotFound(links.GetLink("fl-vxlan0").status()));
}

TEST_F(NetProviderTest, AForeignDeviceOfTheTunnelsNameIsNotTouched) {
  LinkInfo foreign;
  foreign.name = "fl-vxlan0";
  foreign.ifindex = 30;
  foreign.kind = "vxlan";
  network->AddLink(foreign);
  EXPECT_TRUE(absl::IsAlreadyExists(net.PutTunnel(Spec()).status()));
  const auto seen = net.ObserveTunnel();
  ASSERT_TRUE(seen.ok() && seen->has_value());
  EXPECT_FALSE((*seen)->ours);
  EXPECT_TRUE(absl::IsAlreadyExists(net.DeleteTunnel(Spec())));
}

TEST_F(NetProviderTest, ATunnelWhoseDropRuleIsGoneShowsIt) {
  ASSERT_TRUE(net.PutTunnel(Spec()).ok());
  const uint32_t ifindex = links.GetLink("fl-vxlan0")->ifindex;
  ASSERT_TRUE(tc.DeleteClsact(ifindex).ok());
  const auto seen = net.ObserveTunnel();
  ASSERT_TRUE(seen.ok() && seen->has_value());
  EXPECT_FALSE(std::get<TunnelSpec>((*seen)->spec).default_drop);
  ASSERT_TRUE(net.PutTunnel(Spec()).ok());
  EXPECT_TRUE(std::get<TunnelSpec>((*net.ObserveTunnel())->spec).default_drop);
}

TEST_F(NetProviderTest, AGatewayIsKeptAsLongAsOnePeerIsBehindIt) {
  network->AddRoute(*IpPrefix::Parse("198.51.100.0/24"), {10, Ip("192.0.2.254"), {}, false});
  network->SetStation(Ip("192.0.2.254"), MacAddress({2, 0, 0, 0, 0, 1}));
  for (const char* peer : {"198.51.100.1", "198.51.100.2"}) {
    const auto made = net.PutNeighbour({Ip(peer)});
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(made->neighbour, NeighbourState::kResolved);
  }
  ASSERT_TRUE(net.DeleteNeighbour({Ip("198.51.100.1")}).ok());
  EXPECT_EQ(links.ListOwnNeighbours()->size(), 1U);
  ASSERT_TRUE(net.DeleteNeighbour({Ip("198.51.100.2")}).ok());
  EXPECT_EQ(links.ListOwnNeighbours()->size(), 0U);
}

TEST_F(NetProviderTest, APeerWithoutARouteIsObservedAsSuchAndNoError) {
  const auto made = net.PutNeighbour({Ip("203.0.113.1")});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->neighbour, NeighbourState::kNoRoute);
  EXPECT_TRUE(net.DeleteNeighbour({Ip("203.0.113.1")}).ok());
}

TEST_F(NetProviderTest, APermanentEntryOfAnOperatorServesAndOutlivesThePeer) {
  const IpAddress peer = Ip("192.0.2.2");
  NeighbourInfo permanent;
  permanent.ifindex = 10;
  permanent.address = peer;
  permanent.mac = MacAddress({2, 0, 0, 0, 0, 1});
  permanent.state = NudState::kValid;
  permanent.state_name = "PERMANENT";
  network->SetNeighbour(permanent);
  const auto made = net.PutNeighbour({peer});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->neighbour, NeighbourState::kResolved);
  const auto seen = net.ObserveNeighbours({&peer, 1});
  ASSERT_TRUE(seen.ok() && seen->size() == 1) << seen.status();
  EXPECT_EQ(seen->front().key, NeighbourKey(peer));
  EXPECT_EQ(seen->front().neighbour, NeighbourState::kResolved);
  ASSERT_TRUE(net.DeleteNeighbour({peer}).ok());
  const auto there = links.GetNeighbour(10, peer);
  ASSERT_TRUE(there.ok()) << there.status();
  EXPECT_EQ(there->mac, permanent.mac);
}

TEST_F(NetProviderTest, WhatAnEarlierRunLeftIsDeletedWhereItIsAndNotWhereTheRouteLeads) {
  LinkInfo other;
  other.name = "eth1";
  other.ifindex = 11;
  other.up = true;
  network->AddLink(other);
  network->AddAddress(11, Ip("203.0.113.1"), *IpPrefix::Parse("203.0.113.0/24"));
  ASSERT_TRUE(net.PutNeighbour({Ip("192.0.2.2")}).ok());
  ASSERT_TRUE(net.PutNeighbour({Ip("203.0.113.9")}).ok());
  network->AddRoute(*IpPrefix::Parse("192.0.2.2/32"), {11, Ip("203.0.113.9"), {}, false});
  NetProvider later(&config, &links, &tc);  // the agent was started anew
  ASSERT_TRUE(later.DeleteNeighbour({Ip("192.0.2.2")}).ok());
  EXPECT_TRUE(absl::IsNotFound(links.GetNeighbour(10, Ip("192.0.2.2")).status()));
  EXPECT_TRUE(links.GetNeighbour(11, Ip("203.0.113.9")).ok());
}

TEST_F(NetProviderTest, APeerWhoseRouteChangesLeavesNoEntryBehind) {
  network->AddRoute(*IpPrefix::Parse("198.51.100.0/24"), {10, Ip("192.0.2.254"), {}, false});
  ASSERT_TRUE(net.PutNeighbour({Ip("198.51.100.1")}).ok());
  network->AddRoute(*IpPrefix::Parse("198.51.100.1/32"), {10, Ip("192.0.2.253"), {}, false});
  ASSERT_TRUE(net.PutNeighbour({Ip("198.51.100.1")}).ok());
  ASSERT_EQ(links.ListOwnNeighbours()->size(), 1U);
  EXPECT_EQ(links.ListOwnNeighbours()->front().address, Ip("192.0.2.253"));
}

class PfProviderTest : public ::testing::Test {
 protected:
  PfProviderTest() {
    PfConfig pf;
    pf.mac = kPf;
    pf.vfs = 2;
    for (uint16_t vf = 0; vf < 2; ++vf) {
      LinkInfo representor;
      representor.name = StrCat("rep", vf);
      representor.ifindex = 20U + vf;
      representor.up = true;
      network->AddLink(representor);
      pf.representors.push_back(
          {vf, representor.name, MacAddress({2, 0, 0, 0, 1, static_cast<uint8_t>(vf)})});
    }
    config.pfs.push_back(pf);
    config.store_id = 7;
    config.management_address = Ip("192.0.2.1");
    FakePfOptions options;
    options.address = kPfPci;
    options.autoprobe = false;
    host.AddPf(options);
    AddLink("pf0", 10).mac = kPf;
    EXPECT_TRUE(sysfs.SetNumVfs(kPfPci, 2, SysfsPort::Deadline(1)).ok());
  }
  // The link may be changed until the next one is added.
  LinkInfo& AddLink(const std::string& name, uint32_t ifindex) {
    LinkInfo info;
    info.name = name;
    info.ifindex = ifindex;
    info.up = true;
    network->AddLink(info);
    LinkInfo* there = nullptr;
    network->ChangeLink(ifindex, [&](LinkInfo& link) { there = &link; });
    return *there;
  }
  std::string Refused() {
    const auto seen = pf.Observe(kPf);
    EXPECT_TRUE(seen.ok()) << seen.status();
    return seen.ok() ? seen->facts.refused : "not observed";
  }
  static bool Bound(const PfProvider::Observation& seen, uint16_t vf) {
    return std::any_of(seen.resources.begin(), seen.resources.end(), [&](const auto& resource) {
      return resource.key == DriverBindingKey({kPf, vf});
    });
  }

  static constexpr PciAddress kPfPci{0, 1, 0, 0};
  static constexpr PciAddress kVf0Pci{0, 1, 0, 1};
  static constexpr MacAddress kPf{{2, 0, 0, 0, 0, 1}};
  ProviderConfig config;
  FakePciHost host;
  FakeSysfsPort sysfs{host};
  std::shared_ptr<FakeNetwork> network = std::make_shared<FakeNetwork>();
  FakeRtnetlinkPort links{network};
  FakeTcPort tc{network};
  PfProvider pf{&config, &sysfs, &links, &tc};
};

TEST_F(PfProviderTest, AVfWhoseResetHangsIsBusyAndTheRestOfThePfIsObserved) {
  host.HangNext(SysfsMethod::kReset, kVf0Pci);
  EXPECT_TRUE(absl::IsDeadlineExceeded(pf.DeleteVf({kPf, 0})));
  auto seen = pf.Observe(kPf);
  ASSERT_TRUE(seen.ok()) << seen.status();
  ASSERT_EQ(seen->facts.vfs.size(), 2U);
  EXPECT_EQ(seen->facts.vfs[0].driver, "(busy)") << "not taken for a free one";
  EXPECT_TRUE(seen->facts.vfs[0].iommu_group.has_value());
  EXPECT_EQ(seen->facts.vfs[0].representor, "rep0");
  EXPECT_TRUE(Bound(*seen, 0)) << "what cannot be seen is not taken for gone";
  EXPECT_EQ(seen->facts.vfs[1].driver, "");
  EXPECT_FALSE(Bound(*seen, 1));
  // Nothing else is done to it meanwhile.
  EXPECT_TRUE(absl::IsUnavailable(pf.PutBinding({{kPf, 0}, "vfio-pci", {}, {}, {}}).status()));
  EXPECT_TRUE(absl::IsUnavailable(pf.DeleteBinding({kPf, 0})));
  EXPECT_TRUE(absl::IsUnavailable(pf.DeleteVf({kPf, 0})));
  EXPECT_TRUE(pf.PutBinding({{kPf, 1}, "vfio-pci", {}, {}, {}}).ok());

  EXPECT_TRUE(host.Release(kVf0Pci));
  seen = pf.Observe(kPf);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->facts.vfs[0].driver, "");
  EXPECT_FALSE(Bound(*seen, 0));
  EXPECT_TRUE(pf.DeleteBinding({kPf, 0}).ok());
}

TEST_F(PfProviderTest, ABusyVfWithAHostDriverIsNotTakenForFreeEither) {
  ASSERT_TRUE(sysfs.SetDriverOverride(kVf0Pci, "mlx5_core").ok());
  ASSERT_TRUE(sysfs.Probe(kVf0Pci, SysfsPort::Deadline(1)).ok());
  LinkInfo& netdev = AddLink("pf0v0", 30);
  netdev.up = false;  // free for whoever wants it, if it were not busy
  ASSERT_EQ(pf.Observe(kPf)->facts.vfs[0].netdev, "pf0v0");
  host.HangNext(SysfsMethod::kUnbind, kVf0Pci);
  EXPECT_TRUE(absl::IsDeadlineExceeded(pf.PutBinding({{kPf, 0}, "vfio-pci", {}, {}, {}}).status()));
  const auto seen = pf.Observe(kPf);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->facts.vfs[0].driver, "(busy)");
  EXPECT_EQ(seen->facts.vfs[0].netdev, "");
}

TEST_F(PfProviderTest, APfThatCarriesTheHostsTrafficIsRefused) {
  EXPECT_EQ(Refused(), "");
  network->AddRoute(*IpPrefix::Parse("0.0.0.0/0"), {10, Ip("192.0.2.254"), {}, false});
  EXPECT_THAT(Refused(), AllOf(HasSubstr("pf0 carries the host's default route"),
                               HasSubstr("allow_host_traffic")));
  config.pfs[0].allow_host_traffic = true;
  EXPECT_EQ(Refused(), "");
}

TEST_F(PfProviderTest, APfOfABondThatCarriesTheHostsTrafficIsRefused) {
  AddLink("bond0", 40).kind = "bond";
  network->ChangeLink(10, [](LinkInfo& link) { link.master = 40; });
  EXPECT_EQ(Refused(), "") << "the bond carries nothing of the host";
  network->AddRoute(*IpPrefix::Parse("0.0.0.0/0"), {40, Ip("192.0.2.254"), {}, false});
  EXPECT_THAT(Refused(), HasSubstr("bond0 on pf0 carries the host's default route"));
}

TEST_F(PfProviderTest, ThePfBelowAVlanOfABondInABridgeIsRefusedForWhatTheBridgeCarries) {
  // Indices against the order of the stack: one walk over the list is not enough.
  network->ChangeLink(10, [](LinkInfo& link) { link.master = 43; });
  AddLink("bond0", 43).kind = "bond";
  LinkInfo& vlan = AddLink("bond0.5", 42);
  vlan.kind = "vlan";
  vlan.lower = 43;
  vlan.master = 41;
  AddLink("br0", 41).kind = "bridge";
  AddLink("other", 44).master = 41;  // beside the PF, not on it
  network->AddAddress(44, Ip("198.51.100.1"), *IpPrefix::Parse("198.51.100.0/24"));
  EXPECT_EQ(Refused(), "");
  network->AddAddress(41, Ip("192.0.2.1"), *IpPrefix::Parse("192.0.2.0/24"));
  EXPECT_THAT(Refused(), HasSubstr("br0 on pf0 carries the host's management address 192.0.2.1"));
}

TEST_F(PfProviderTest, ARepresentorWithSomebodyElsesIngressQdiscIsNotTouched) {
  network->AddForeignIngress(20);
  const auto made = pf.PutRepresentor({{kPf, 0}, *Vni::Make(1000), true, true});
  EXPECT_TRUE(absl::IsAlreadyExists(made.status())) << made.status();
  EXPECT_THAT(std::string(made.status().message()),
              AllOf(HasSubstr("rep0"), HasSubstr("tc qdisc del dev rep0 ingress")));
  const auto link = links.GetLink("rep0");
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_TRUE(link->up);
  EXPECT_EQ(link->alias, "");
  EXPECT_FALSE(link->addr_gen_none);
  EXPECT_TRUE(pf.PutRepresentor({{kPf, 1}, *Vni::Make(1000), true, true}).ok());
}

// A monitor that notes how long it is given for what.
class PatienceMonitor final : public QmpPort, public QmpSession {
 public:
  using Deadline = std::chrono::milliseconds;
  absl::StatusOr<std::unique_ptr<QmpSession>> Connect(
      const std::string&, const std::vector<uint32_t>&, Deadline,
      std::function<void(const QmpEvent&)>) override {
    auto session = std::make_unique<PatienceMonitor>();
    session->given = given;
    session->uuid = uuid;
    return session;
  }
  absl::StatusOr<Uuid> QueryUuid(Deadline) override { return uuid; }
  absl::StatusOr<std::string> QueryRunState(Deadline) override { return "running"; }
  absl::StatusOr<std::vector<QmpDevice>> ListDevices(Deadline deadline) override {
    given->push_back(deadline);
    return std::vector<QmpDevice>{{"fl-1", "vfio-pci", "rp1", "0000:01:00.1"}};
  }
  absl::Status AddVfioDevice(std::string_view, const PciAddress&, std::string_view,
                             Deadline deadline) override {
    given->push_back(deadline);
    return absl::OkStatus();
  }
  absl::Status RequestRemoval(std::string_view, Deadline) override { return absl::OkStatus(); }
  bool connected() const override { return true; }

  Uuid uuid = *Uuid::Parse("6f9619ff-8b86-4d01-b42d-00c04fc964ff");
  std::shared_ptr<std::vector<Deadline>> given = std::make_shared<std::vector<Deadline>>();
};

TEST(VmProviderTest, QemuHasTimeToPinTheGuestsMemoryWhenADeviceIsAdded) {
  ProviderConfig config;
  config.qmp_deadline = std::chrono::milliseconds(10);
  config.device_add_deadline = std::chrono::milliseconds(1000);
  PatienceMonitor monitor;
  VmProvider vm(&config, &monitor, "vm1", [](const QmpEvent&) {});
  GuestDeviceSpec spec;
  spec.vm = "vm1";
  spec.uuid = monitor.uuid;
  spec.port = "port1";
  spec.device_id = "fl-1";
  spec.host = {0, 1, 0, 1};
  spec.bus = "rp1";
  const auto made = vm.PutDevice(spec);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_THAT(*monitor.given,
              ::testing::ElementsAre(config.device_add_deadline, config.qmp_deadline));
}

}  // namespace
}  // namespace fairlead
