// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/base/text.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"
#include "agent/providers/lease_table.h"
#include "agent/providers/net_provider.h"
#include "agent/providers/vm_provider.h"

namespace fairlead {
namespace {

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

}  // namespace
}  // namespace fairlead
