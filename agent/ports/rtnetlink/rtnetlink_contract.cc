// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/rtnetlink/rtnetlink_contract.h"

#include <errno.h>
#include <gmock/gmock.h>

#include <condition_variable>
#include <mutex>

#include "agent/base/error.h"
#include "agent/base/test_types.h"

namespace fairlead {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint32_t kNoSuchDevice = 0x7ffffff0;

IpPrefix Net(std::string_view text) { return *IpPrefix::Parse(text); }

TEST_P(RtnetlinkContract, ALinkIsFoundByNameAndByIndex) {
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  auto by_name = port().GetLink("fleth0");
  ASSERT_TRUE(by_name.ok()) << by_name.status();
  EXPECT_EQ(by_name->ifindex, ifindex);
  EXPECT_TRUE(by_name->mac.IsUnicast());
  EXPECT_FALSE(by_name->up);
  EXPECT_GT(by_name->mtu, 0u);
  EXPECT_TRUE(by_name->counters.has_value());
  auto by_index = port().GetLink(ifindex);
  ASSERT_TRUE(by_index.ok()) << by_index.status();
  EXPECT_EQ(by_index->name, "fleth0");
  EXPECT_TRUE(by_index->counters.has_value());
}

TEST_P(RtnetlinkContract, CountersAreReadOfOneLinkAlone) {
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  auto with_vfs = port().GetLinkWithVfs(ifindex);
  ASSERT_TRUE(with_vfs.ok()) << with_vfs.status();
  EXPECT_FALSE(with_vfs->counters.has_value());
  auto links = port().ListLinks();
  ASSERT_TRUE(links.ok()) << links.status();
  for (const LinkInfo& link : *links) EXPECT_FALSE(link.counters.has_value()) << link.name;
}

TEST_P(RtnetlinkContract, AMissingLinkIsNotFound) {
  EXPECT_EQ(port().GetLink("flnone").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(port().GetLink(kNoSuchDevice).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(port().GetLinkWithVfs(kNoSuchDevice).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(port().SetMtu(kNoSuchDevice, 1400).code(), absl::StatusCode::kNotFound);
}

TEST_P(RtnetlinkContract, ANameThatNoLinkCanHaveIsInvalid) {
  EXPECT_EQ(port().GetLink("").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(port().GetLink("a/b").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(port().GetLink("sixteencharacter").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(RtnetlinkContract, WhatIsSetOnALinkIsObserved) {
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  EXPECT_TRUE(port().SetLinkUp(ifindex, true).ok());
  EXPECT_TRUE(port().SetMtu(ifindex, 1400).ok());
  EXPECT_TRUE(port().SetAlias(ifindex, "fairlead:test").ok());
  EXPECT_TRUE(port().SetAddrGenNone(ifindex, true).ok());
  auto link = port().GetLink(ifindex);
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_TRUE(link->up);
  EXPECT_TRUE(link->carrier);
  EXPECT_EQ(link->mtu, 1400u);
  EXPECT_EQ(link->alias, "fairlead:test");
  EXPECT_TRUE(link->addr_gen_none);
  EXPECT_TRUE(port().SetLinkUp(ifindex, false).ok());
  EXPECT_TRUE(port().SetAlias(ifindex, "").ok());
  link = port().GetLink(ifindex);
  ASSERT_TRUE(link.ok());
  EXPECT_FALSE(link->up);
  EXPECT_EQ(link->alias, "");
  EXPECT_TRUE(link->addr_gen_none);
}

TEST_P(RtnetlinkContract, ARefusalCarriesTheKernelsWords) {
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  const absl::Status refused = port().SetMtu(ifindex, 10);
  EXPECT_EQ(ErrnoOf(refused), EINVAL);
  EXPECT_EQ(PeerWords(refused), "mtu less than device minimum");
}

TEST_P(RtnetlinkContract, AnAliasThatIsTooLongChangesNothing) {
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  ASSERT_TRUE(port().SetAlias(ifindex, "before").ok());
  EXPECT_EQ(port().SetAlias(ifindex, std::string(256, 'x')).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(port().GetLink(ifindex)->alias, "before");
}

TEST_P(RtnetlinkContract, DeletingALinkThatIsGoneIsSuccess) {
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  EXPECT_TRUE(port().DeleteLink(ifindex).ok());
  EXPECT_EQ(port().GetLink(ifindex).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(port().DeleteLink(ifindex).ok());
}

TEST_P(RtnetlinkContract, LinksAreListedInOrder) {
  const uint32_t a = env_->AddEthernet("fleth0");
  const uint32_t b = env_->AddEthernet("fleth1");
  auto links = port().ListLinks();
  ASSERT_TRUE(links.ok()) << links.status();
  std::vector<uint32_t> indices;
  for (const auto& link : *links) indices.push_back(link.ifindex);
  EXPECT_THAT(indices, Contains(a));
  EXPECT_THAT(indices, Contains(b));
  EXPECT_TRUE(std::is_sorted(indices.begin(), indices.end()));
}

TEST_P(RtnetlinkContract, ALinkWithoutVfsReportsNone) {
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  auto link = port().GetLinkWithVfs(ifindex);
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_FALSE(link->vfs.has_value());
  EXPECT_EQ(ErrnoOf(port().SetVfMac(ifindex, 0, *MacAddress::Parse("02:00:00:00:00:01"))),
            EOPNOTSUPP);
  EXPECT_EQ(ErrnoOf(port().SetVfVlan(ifindex, 0, 100)), EOPNOTSUPP);
  EXPECT_EQ(ErrnoOf(port().SetVfSpoofCheck(ifindex, 0, true)), EOPNOTSUPP);
  EXPECT_EQ(ErrnoOf(port().SetVfTrust(ifindex, 0, true)), EOPNOTSUPP);
  EXPECT_EQ(ErrnoOf(port().SetVfRate(ifindex, 0, 100, 0)), EOPNOTSUPP);
}

TEST_P(RtnetlinkContract, AddressesAndRoutesAreFound) {
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  ASSERT_TRUE(port().SetLinkUp(ifindex, true).ok());
  env_->AddAddress(ifindex, Ip("192.0.2.1"), Net("192.0.2.0/24"));
  auto addresses = port().LinkAddresses(ifindex);
  ASSERT_TRUE(addresses.ok()) << addresses.status();
  EXPECT_THAT(*addresses, Contains(Ip("192.0.2.1")));

  auto route = port().GetRoute(Ip("192.0.2.9"));
  ASSERT_TRUE(route.ok()) << route.status();
  EXPECT_EQ(route->ifindex, ifindex);
  EXPECT_FALSE(route->gateway.has_value());
  EXPECT_EQ(route->source, Ip("192.0.2.1"));
  EXPECT_FALSE(route->local);

  auto local = port().GetRoute(Ip("192.0.2.1"));
  ASSERT_TRUE(local.ok()) << local.status();
  EXPECT_TRUE(local->local);

  EXPECT_EQ(ErrnoOf(port().GetRoute(Ip("198.51.100.1")).status()), ENETUNREACH);
}

TEST_P(RtnetlinkContract, Ipv6IsFoundLikeIpv4) {
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  ASSERT_TRUE(port().SetLinkUp(ifindex, true).ok());
  env_->AddAddress(ifindex, Ip("2001:db8::1"), Net("2001:db8::/64"));
  EXPECT_THAT(*port().LinkAddresses(ifindex), Contains(Ip("2001:db8::1")));
  const auto owner = port().LinkOfAddress(Ip("2001:db8::1"));
  ASSERT_TRUE(owner.ok()) << owner.status();
  EXPECT_EQ(*owner, ifindex);
  const auto local = port().GetRoute(Ip("2001:db8::1"));
  ASSERT_TRUE(local.ok()) << local.status();
  EXPECT_TRUE(local->local);
  const auto route = port().GetRoute(Ip("2001:db8::9"));
  ASSERT_TRUE(route.ok()) << route.status();
  EXPECT_EQ(route->ifindex, ifindex);
  EXPECT_FALSE(route->local);
  const IpAddress peer = Ip("2001:db8::2");
  const absl::Status managed = port().ManageNeighbour(ifindex, peer);
  ASSERT_TRUE(managed.ok()) << managed;
  const auto entry = port().GetNeighbour(ifindex, peer);
  ASSERT_TRUE(entry.ok()) << entry.status();
  EXPECT_TRUE(entry->managed && entry->ours());
  EXPECT_TRUE(port().DeleteNeighbour(ifindex, peer).ok());
}

TEST_P(RtnetlinkContract, AddressesOfOneLinkAreNotThoseOfAnother) {
  const uint32_t a = env_->AddEthernet("fleth0");
  const uint32_t b = env_->AddEthernet("fleth1");
  env_->AddAddress(a, Ip("192.0.2.1"), Net("192.0.2.0/24"));
  auto addresses = port().LinkAddresses(b);
  ASSERT_TRUE(addresses.ok()) << addresses.status();
  EXPECT_THAT(*addresses, IsEmpty());
}

TEST_P(RtnetlinkContract, ALinkWithADefaultRouteIsKnown) {
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  ASSERT_TRUE(port().SetLinkUp(ifindex, true).ok());
  env_->AddAddress(ifindex, Ip("192.0.2.1"), Net("192.0.2.0/24"));
  EXPECT_THAT(*port().DefaultRouteLinks(), IsEmpty());
  env_->AddDefaultRoute(ifindex, Ip("192.0.2.254"));
  EXPECT_THAT(*port().DefaultRouteLinks(), ElementsAre(ifindex));
  auto route = port().GetRoute(Ip("198.51.100.1"));
  ASSERT_TRUE(route.ok()) << route.status();
  EXPECT_EQ(route->gateway, Ip("192.0.2.254"));
}

TEST_P(RtnetlinkContract, AManagedNeighbourIsMarkedAndListed) {
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  ASSERT_TRUE(port().SetLinkUp(ifindex, true).ok());
  env_->AddAddress(ifindex, Ip("192.0.2.1"), Net("192.0.2.0/24"));
  const IpAddress peer = Ip("192.0.2.2");
  EXPECT_EQ(port().GetNeighbour(ifindex, peer).status().code(), absl::StatusCode::kNotFound);
  const absl::Status managed = port().ManageNeighbour(ifindex, peer);
  ASSERT_TRUE(managed.ok()) << managed;
  auto entry = port().GetNeighbour(ifindex, peer);
  ASSERT_TRUE(entry.ok()) << entry.status();
  EXPECT_EQ(entry->ifindex, ifindex);
  EXPECT_EQ(entry->address, peer);
  EXPECT_TRUE(entry->managed);
  EXPECT_EQ(entry->protocol, kFairleadProtocol);
  auto own = port().ListOwnNeighbours();
  ASSERT_TRUE(own.ok()) << own.status();
  ASSERT_EQ(own->size(), 1u);
  EXPECT_EQ(own->front().address, peer);

  EXPECT_TRUE(port().DeleteNeighbour(ifindex, peer).ok());
  EXPECT_TRUE(port().ListOwnNeighbours()->empty());
  EXPECT_TRUE(port().DeleteNeighbour(ifindex, peer).ok());
  EXPECT_TRUE(port().DeleteNeighbour(kNoSuchDevice, peer).ok());
}

TEST_P(RtnetlinkContract, APermanentNeighbourOfAnOperatorIsLeftAlone) {
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  ASSERT_TRUE(port().SetLinkUp(ifindex, true).ok());
  const MacAddress mac = *MacAddress::Parse("02:00:00:00:00:09");
  env_->AddPermanentNeighbour(ifindex, Ip("192.0.2.2"), mac);
  EXPECT_TRUE(port().ManageNeighbour(ifindex, Ip("192.0.2.2")).ok());
  auto entry = port().GetNeighbour(ifindex, Ip("192.0.2.2"));
  ASSERT_TRUE(entry.ok()) << entry.status();
  EXPECT_EQ(entry->mac, mac);
  EXPECT_EQ(entry->state_name, "PERMANENT");
  EXPECT_EQ(entry->state, NudState::kValid);
  EXPECT_NE(entry->protocol, kFairleadProtocol);
  EXPECT_FALSE(entry->ours());

  const absl::Status deleted = port().DeleteNeighbour(ifindex, Ip("192.0.2.2"));
  EXPECT_TRUE(deleted.ok()) << deleted;
  entry = port().GetNeighbour(ifindex, Ip("192.0.2.2"));
  ASSERT_TRUE(entry.ok()) << entry.status();
  EXPECT_EQ(entry->mac, mac);
  EXPECT_EQ(entry->state_name, "PERMANENT");
}

TEST_P(RtnetlinkContract, AnEntryThatAnOperatorMadePermanentIsOursNoMore) {
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  ASSERT_TRUE(port().SetLinkUp(ifindex, true).ok());
  env_->AddAddress(ifindex, Ip("192.0.2.1"), Net("192.0.2.0/24"));
  const IpAddress peer = Ip("192.0.2.2");
  ASSERT_TRUE(port().ManageNeighbour(ifindex, peer).ok());
  ASSERT_EQ(port().ListOwnNeighbours()->size(), 1u);
  env_->AddPermanentNeighbour(ifindex, peer, *MacAddress::Parse("02:00:00:00:00:09"));
  EXPECT_TRUE(port().ListOwnNeighbours()->empty());
  EXPECT_TRUE(port().DeleteNeighbour(ifindex, peer).ok());
  auto entry = port().GetNeighbour(ifindex, peer);
  ASSERT_TRUE(entry.ok()) << entry.status();
  EXPECT_EQ(entry->state_name, "PERMANENT");
}

TEST_P(RtnetlinkContract, TheTunnelDeviceIsMadeWhole) {
  for (const Encapsulation kind : {Encapsulation::kVxlan, Encapsulation::kGeneve}) {
    SCOPED_TRACE(Name(kind));
    auto made = port().CreateTunnel({"flvx0", kind, 4790, "fairlead:t"});
    if (ErrnoOf(made.status()) == EOPNOTSUPP) GTEST_SKIP() << made.status();
    ASSERT_TRUE(made.ok()) << made.status();
    auto link = port().GetLink("flvx0");
    ASSERT_TRUE(link.ok()) << link.status();
    EXPECT_EQ(link->ifindex, *made);
    EXPECT_EQ(link->kind, Name(kind));
    EXPECT_TRUE(link->tunnel_collect_md);
    EXPECT_EQ(link->tunnel_port, 4790);
    EXPECT_EQ(link->alias, "fairlead:t");
    EXPECT_FALSE(link->up);
    EXPECT_TRUE(port().SetMtu(*made, 8950).ok());
    EXPECT_EQ(port().GetLink("flvx0")->mtu, 8950U);
    EXPECT_TRUE(port().DeleteLink(*made).ok());
  }
}

TEST_P(RtnetlinkContract, AUdpPortHasOneTunnelDeviceOfAKind) {
  for (const Encapsulation kind : {Encapsulation::kVxlan, Encapsulation::kGeneve}) {
    SCOPED_TRACE(Name(kind));
    auto made = port().CreateTunnel({"flvx0", kind, 4790, "fairlead:t"});
    if (ErrnoOf(made.status()) == EOPNOTSUPP) GTEST_SKIP() << made.status();
    ASSERT_TRUE(made.ok()) << made.status();
    const auto second = port().CreateTunnel({"flvx1", kind, 4790, "fairlead:t"});
    EXPECT_EQ(ErrnoOf(second.status()), kind == Encapsulation::kVxlan ? EEXIST : EBUSY)
        << second.status();
    EXPECT_EQ(port().GetLink("flvx1").status().code(), absl::StatusCode::kNotFound);
    EXPECT_TRUE(port().DeleteLink(*made).ok());
  }
}

TEST_P(RtnetlinkContract, ALinkIsFoundByItsAddress) {
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  ASSERT_TRUE(port().SetLinkUp(ifindex, true).ok());
  EXPECT_EQ(port().LinkOfAddress(Ip("192.0.2.1")).status().code(), absl::StatusCode::kNotFound);
  env_->AddAddress(ifindex, Ip("192.0.2.1"), Net("192.0.2.0/24"));
  const auto found = port().LinkOfAddress(Ip("192.0.2.1"));
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(*found, ifindex);
  EXPECT_FALSE(port().GetLink(ifindex)->loopback);
  EXPECT_TRUE(port().GetLink("lo")->loopback);
}

TEST_P(RtnetlinkContract, SomebodyElsesDeviceIsNotTakenForTheTunnel) {
  const uint32_t ifindex = env_->AddEthernet("flvx0");
  ASSERT_TRUE(port().SetAlias(ifindex, "theirs").ok());
  auto made = port().CreateTunnel({.name = "flvx0", .udp_port = 4790, .alias = "fairlead:t"});
  EXPECT_EQ(made.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(port().GetLink(ifindex)->alias, "theirs");
}

TEST_P(RtnetlinkContract, ASubscriberHearsOfChanges) {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<RtnetlinkEvent> events;
  auto subscription = port().Subscribe([&](const RtnetlinkEvent& event) {
    std::lock_guard<std::mutex> lock(mutex);
    events.push_back(event);
    changed.notify_all();
  });
  ASSERT_TRUE(subscription.ok()) << subscription.status();
  auto heard = [&](RtnetlinkEvent::Kind kind, uint32_t ifindex) {
    std::unique_lock<std::mutex> lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(30), [&] {
      return std::any_of(events.begin(), events.end(), [&](const RtnetlinkEvent& event) {
        return event.kind == kind && event.ifindex == ifindex;
      });
    });
  };
  const uint32_t ifindex = env_->AddEthernet("fleth0");
  EXPECT_TRUE(heard(RtnetlinkEvent::Kind::kLinkChanged, ifindex));
  ASSERT_TRUE(port().SetLinkUp(ifindex, true).ok());
  env_->AddAddress(ifindex, Ip("192.0.2.1"), Net("192.0.2.0/24"));
  EXPECT_TRUE(heard(RtnetlinkEvent::Kind::kAddressOrRouteChanged, ifindex));
  env_->AddPermanentNeighbour(ifindex, Ip("192.0.2.2"), *MacAddress::Parse("02:00:00:00:00:09"));
  EXPECT_TRUE(heard(RtnetlinkEvent::Kind::kNeighbourChanged, ifindex));
  ASSERT_TRUE(port().DeleteLink(ifindex).ok());
  EXPECT_TRUE(heard(RtnetlinkEvent::Kind::kLinkGone, ifindex));
  subscription->reset();
  size_t before;
  {
    std::lock_guard<std::mutex> lock(mutex);
    before = events.size();
  }
  env_->AddEthernet("fleth1");
  std::lock_guard<std::mutex> lock(mutex);
  EXPECT_EQ(events.size(), before);
}

}  // namespace
}  // namespace fairlead
