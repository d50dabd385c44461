// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/compile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/base/text.h"
#include "agent/compile/test_host.h"

namespace fairlead {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

const Vpc kVpc{"v", *Vni::Make(1000)};

struct PortCase {
  HostFacts facts = Facts();
  StoredObject object;
  Attachment attachment;
  StoredObject vpc{kVpc, 1, 4};
  StoredObject subnet{Subnet{"s", "v", *IpPrefix::Parse("10.0.0.0/16"), {}, Ip("10.0.0.1")}, 1, 5};
  PortCase() {
    Port port;
    port.id = "p";
    port.vm = "vm";
    port.vpc = "v";
    port.subnet = "s";
    port.mac = Mac(7);
    port.addresses = {Ip("10.0.0.7")};
    object = {port, 1, 17};
    attachment.vf = {Mac(0xff01), 2};
    attachment.lease = 42;
    attachment.port = "p";
    attachment.port_ordinal = 17;
    attachment.vm = "vm";
    attachment.vm_uuid = *Uuid::Parse("123e4567-e89b-42d3-a456-426614174000");
    attachment.bus = "rp1";
    attachment.vni = kVpc.vni;
  }
  Port& port() { return std::get<Port>(object.object); }
  PfFacts& pf() { return facts.pfs.begin()->second; }
  absl::StatusOr<std::vector<Resource>> Compile() {
    return CompilePort(Config(), {&object, &vpc, &subnet, &attachment}, facts);
  }
};

const Resource* FindKind(const std::vector<Resource>& all, ResourceKind kind) {
  auto it =
      std::find_if(all.begin(), all.end(), [&](const Resource& r) { return r.key.kind == kind; });
  return it == all.end() ? nullptr : &*it;
}

// sriov-network-operator 1033: from one number of VFs to another is EBUSY; what is there is
// adopted.
TEST(CompileHostTest, PoolsOfUsablePfsAndTheTunnel) {
  HostFacts facts = Facts();
  PfFacts empty = facts.pfs.begin()->second;
  empty.id = Mac(0xff02);
  empty.num_vfs = 0;
  empty.wanted_vfs = 8;
  empty.vfs.clear();
  PfFacts refused = empty;
  refused.id = Mac(0xff03);
  refused.refused = "carries the default route";
  PfFacts unasked = empty;
  unasked.id = Mac(0xff04);
  unasked.wanted_vfs = 0;
  facts.pfs.begin()->second.wanted_vfs = 16;  // but it has 4: adopted
  for (const PfFacts& pf : {empty, refused, unasked}) facts.pfs.emplace(pf.id, pf);
  auto out = CompileHost(Config(), facts, true);
  ASSERT_EQ(out.size(), 3U);
  EXPECT_EQ(std::get<VfPoolSpec>(out[0].spec), (VfPoolSpec{Mac(0xff01), 4, false}));
  EXPECT_EQ(std::get<VfPoolSpec>(out[1].spec), (VfPoolSpec{Mac(0xff02), 8, false}));
  EXPECT_EQ(std::get<TunnelSpec>(out[2].spec),
            (TunnelSpec{"fl-vxlan0", Ip("192.0.2.1"), 4789, 1450}));
  EXPECT_EQ(CompileHost(Config(), facts, false).size(), 2U);
}

TEST(CompileHostTest, ATunnelThatTheUnderlayDoesNotCarryIsNotMadeAndOneThatStandsIsLeftAsItIs) {
  HostFacts facts = Facts();
  facts.underlay = {{10}, "pf0", 1500, ""};
  CompileConfig config = Config();
  config.tunnel.mtu = 9000;
  const auto mtu = [&]() -> std::optional<uint32_t> {
    const std::vector<Resource> out = CompileHost(config, facts, true);
    const Resource* tunnel = FindKind(out, ResourceKind::kTunnel);
    return tunnel == nullptr ? std::nullopt : std::optional(std::get<TunnelSpec>(tunnel->spec).mtu);
  };
  facts.tunnel->mtu = 8950;
  EXPECT_EQ(mtu(), 8950U);
  config.tunnel.encapsulation = Encapsulation::kGeneve;
  const std::vector<Resource> kept = CompileHost(config, facts, true);
  EXPECT_EQ(std::get<TunnelSpec>(FindKind(kept, ResourceKind::kTunnel)->spec).encapsulation,
            Encapsulation::kVxlan)
      << "it would not be made again";
  facts.tunnel.reset();
  EXPECT_EQ(mtu(), std::nullopt);
  config.tunnel.mtu_policy = TunnelMtuPolicy::kClamp;
  EXPECT_EQ(mtu(), 1450U);
  config.tunnel.mtu.reset();
  EXPECT_EQ(mtu(), 1450U);
}

TEST(CompileHostTest, AnEswitchIsWantedAfterAPoolThatIsThereAndOnlyWhereItIsAskedFor) {
  HostFacts facts = Facts();
  PfFacts& pf = facts.pfs.begin()->second;
  pf.wanted_vfs = 4;
  pf.wanted_eswitch.mode = EswitchMode::kSwitchdev;
  PfFacts unasked = pf;
  unasked.id = Mac(0xff02);
  unasked.wanted_eswitch = {};
  PfFacts refused = pf;
  refused.id = Mac(0xff03);
  refused.refused = "carries the default route";
  for (const PfFacts& other : {unasked, refused}) facts.pfs.emplace(other.id, other);
  const auto out = CompileHost(Config(), facts, false);
  ASSERT_EQ(out.size(), 3U);
  EXPECT_EQ(out[0].key, VfPoolKey(Mac(0xff01)));
  EXPECT_EQ(out[1].key, PfKey(Mac(0xff01)));
  EXPECT_EQ(std::get<PfSpec>(out[1].spec),
            (PfSpec{Mac(0xff01), {EswitchMode::kSwitchdev, {}, {}}}));
  EXPECT_EQ(out[1].depends, std::vector<ResourceKey>{VfPoolKey(Mac(0xff01))});
  EXPECT_EQ(out[2].key, VfPoolKey(Mac(0xff02)));
}

TEST(CompileHostTest, VfsThatAreYetToBeMadeWaitForTheEswitch) {
  HostFacts facts = Facts();
  PfFacts& pf = facts.pfs.begin()->second;
  pf.wanted_vfs = 4;
  pf.num_vfs = 0;
  pf.vfs.clear();
  pf.wanted_eswitch.mode = EswitchMode::kSwitchdev;
  const auto out = CompileHost(Config(), facts, false);
  ASSERT_EQ(out.size(), 2U);
  EXPECT_EQ(out[0].key, VfPoolKey(Mac(0xff01)));
  EXPECT_EQ(out[0].depends, std::vector<ResourceKey>{PfKey(Mac(0xff01))});
  EXPECT_EQ(out[1].key, PfKey(Mac(0xff01)));
  EXPECT_TRUE(out[1].depends.empty());
}

TEST(CompilePortTest, TheVfIsHandedOutAfterEverythingThatKeepsItApart) {
  PortCase c;
  auto out = c.Compile();
  ASSERT_TRUE(out.ok()) << out.status();
  const VfId vf = c.attachment.vf;
  std::vector<ResourceKey> rules;
  for (const Resource& r : *out) {
    EXPECT_EQ(r.lease, 42U) << r.key.ToString();
    if (r.key.kind != ResourceKind::kFlowRule) continue;
    rules.push_back(r.key);
    EXPECT_THAT(r.depends, Contains(RepresentorKey(vf)));
    const auto& rule = std::get<FlowRuleSpec>(r.spec).rule;
    if (rule.location.table.kind == RuleTable::Kind::kTunnelIngress) {
      EXPECT_THAT(r.depends, Contains(TunnelKey()));
    }
  }
  EXPECT_EQ(rules.size(), 4U);
  EXPECT_EQ(std::get<VfSpec>(FindKind(*out, ResourceKind::kVf)->spec).mac, Mac(7));
  EXPECT_THAT(FindKind(*out, ResourceKind::kRepresentor)->depends,
              ElementsAre(VfKey(vf), TunnelKey()));
  const Resource* binding = FindKind(*out, ResourceKind::kDriverBinding);
  ASSERT_NE(binding, nullptr);
  EXPECT_THAT(binding->depends, IsSupersetOf(rules));
  EXPECT_THAT(binding->depends, Contains(VfKey(vf)));
  EXPECT_EQ(std::get<DriverBindingSpec>(binding->spec).node_uid, 64055U);
  const Resource* guest = FindKind(*out, ResourceKind::kGuestDevice);
  ASSERT_NE(guest, nullptr);
  EXPECT_THAT(guest->depends, ElementsAre(binding->key));
  const auto& spec = std::get<GuestDeviceSpec>(guest->spec);
  EXPECT_EQ(spec.device_id, "fairlead-00000000-p17-l42");
  EXPECT_EQ(spec.host.ToString(), "0000:01:00.2");
  EXPECT_EQ(spec.bus, "rp1");
}

TEST(CompilePortTest, WithoutAVmNothingIsBoundOrPlugged) {
  PortCase c;
  c.attachment.vm.clear();
  auto out = c.Compile();
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(FindKind(*out, ResourceKind::kDriverBinding), nullptr);
  EXPECT_EQ(FindKind(*out, ResourceKind::kGuestDevice), nullptr);
  EXPECT_NE(FindKind(*out, ResourceKind::kRepresentor), nullptr);
}

TEST(CompilePortTest, AVfThatTakesNoMacStillCarriesTheLease) {
  PortCase c;
  c.pf().can_set_vf_mac = false;
  c.port().mac.reset();
  auto out = c.Compile();
  ASSERT_TRUE(out.ok()) << out.status();
  const Resource* vf = FindKind(*out, ResourceKind::kVf);
  ASSERT_NE(vf, nullptr);
  EXPECT_FALSE(std::get<VfSpec>(vf->spec).mac);
  EXPECT_EQ(vf->lease, 42U);
  EXPECT_TRUE(
      std::get<RepresentorSpec>(FindKind(*out, ResourceKind::kRepresentor)->spec).default_drop);
}

TEST(CompilePortTest, WhatIsStillToComeIsUnavailableAndNamed) {
  auto unavailable = [](PortCase& c, const char* words) {
    auto status = c.Compile().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(Message(status), HasSubstr(words));
  };
  PortCase tunnel, vf, representor, bus;
  tunnel.facts.tunnel.reset();
  unavailable(tunnel, "fl-vxlan0");
  vf.pf().vfs.clear();
  unavailable(vf, "52:54:00:00:ff:01/2");
  representor.pf().vfs[2].representor_ifindex = 0;
  unavailable(representor, "representor");
  bus.attachment.bus.clear();
  unavailable(bus, "root port of VM vm");
}

TEST(CompilePortTest, APortWhoseEswitchForwardsNothingIsNotServed) {
  PortCase c;
  c.pf().eswitch.mode = EswitchMode::kSwitchdevInactive;
  const absl::Status refused = c.Compile().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(refused), HasSubstr("the eswitch of pf0 is in switchdev_inactive mode"));
}

TEST(PortMacTest, TheWantedOneOrTheVfsOwn) {
  PortCase c;
  EXPECT_EQ(*PortMac(c.port(), c.facts, c.attachment.vf), Mac(7));
  c.port().mac.reset();
  EXPECT_EQ(*PortMac(c.port(), c.facts, c.attachment.vf), Mac(0x8002));
  c.pf().can_set_vf_mac = false;
  EXPECT_EQ(*PortMac(c.port(), c.facts, c.attachment.vf), Mac(0x8002));
  c.port().mac = Mac(7);
  EXPECT_EQ(PortMac(c.port(), c.facts, c.attachment.vf).status().code(),
            absl::StatusCode::kFailedPrecondition);
  c.port().mac = Mac(0x8002);
  EXPECT_TRUE(PortMac(c.port(), c.facts, c.attachment.vf).ok());
  c.port().mac.reset();
  for (std::optional<MacAddress> none : {std::optional<MacAddress>(), std::optional(Mac(0))}) {
    c.pf().vfs[2].mac = none;
    if (none) c.pf().vfs[2].mac = MacAddress();
    EXPECT_EQ(PortMac(c.port(), c.facts, c.attachment.vf).status().code(),
              absl::StatusCode::kFailedPrecondition);
  }
}

TEST(CompileEndpointTest, RulesOfItsVpcsBlockAndNoneForWhatIsBehindThisHost) {
  Endpoint endpoint{"e", "v", "s", Mac(9), {Ip("10.0.0.9")}, Ip("192.0.2.7")};
  const HostFacts facts = Facts();
  const VfId vf{Mac(0xff01), 0};
  const VpcContext vpc{*kVpc.vni, 4, *facts.tunnel};
  for (const bool routed : {true, false}) {
    const auto out = CompileEndpoint(vpc, {5, routed, false}, {endpoint, 1, 30}, vf);
    ASSERT_EQ(out.size(), routed ? 2U : 1U);
    for (const Resource& rule : out) {
      EXPECT_THAT(rule.depends, ElementsAre(RepresentorKey(vf), TunnelKey()));
    }
  }
  endpoint.vtep = facts.tunnel->local;
  EXPECT_THAT(CompileEndpoint(vpc, {5, true, true}, {endpoint, 1, 30}, vf), IsEmpty());
}

TEST(CompileRouteTest, ARuleStandsOnWhatItSendsTo) {
  PortCase c;
  const BoundPort port = *BindPort(c.object, c.attachment, c.facts);
  const Endpoint endpoint{"e", "v", "s", Mac(9), {Ip("10.0.0.9")}, Ip("192.0.2.7")};
  const VpcContext vpc{*kVpc.vni, 4, *c.facts.tunnel};
  const VfId any{Mac(0xff01), 0};
  const auto compile = [&](const char* prefix, const NextHop& next_hop) {
    return CompileRoute(vpc, {Route{"r", "v", *IpPrefix::Parse(prefix), {}}, 1, 40}, next_hop, any)
        .at(0);
  };
  const RuleTable block{RuleTable::Kind::kVpcBlock, *kVpc.vni};
  const Resource to_port = compile("10.8.0.0/16", &port);
  EXPECT_EQ(to_port.key, FlowRuleKey({block, 4, kPrioStatic4 + 16, 40}));
  EXPECT_THAT(to_port.depends, ElementsAre(RepresentorKey(c.attachment.vf)));
  const Resource to_endpoint = compile("fd00:8::/32", &endpoint);
  EXPECT_EQ(to_endpoint.key, FlowRuleKey({block, 4, kPrioStatic6 + 96, 40}));
  EXPECT_THAT(to_endpoint.depends, ElementsAre(RepresentorKey(any), TunnelKey()));
  const Resource nowhere = compile("0.0.0.0/0", NextHop());
  EXPECT_EQ(nowhere.key, FlowRuleKey({block, 4, kPrioStatic4 + 32, 40}));
  EXPECT_THAT(nowhere.depends, ElementsAre(RepresentorKey(any)));
  EXPECT_THAT(std::get<FlowRuleSpec>(nowhere.spec).rule.actions,
              ElementsAre(RuleAction(ActionDrop{})));
}

// A frame that is sent to a chain without an end would pass to the host.
TEST(CompileSubnetTest, TheWayToTheGatewayComesAfterTheEndOfTheChainThatItLeadsTo) {
  PortCase c;
  const VpcContext vpc{*kVpc.vni, 4, *c.facts.tunnel};
  const auto out = CompileSubnet(vpc, c.subnet, c.attachment.vf);
  const RuleTable block{RuleTable::Kind::kVpcBlock, *kVpc.vni};
  int jumps = 0;
  for (const Resource& rule : out) {
    if (!std::holds_alternative<ActionGotoChain>(
            std::get<FlowRuleSpec>(rule.spec).rule.actions.back())) {
      continue;
    }
    ++jumps;
    EXPECT_THAT(rule.depends, Contains(FlowRuleKey({block, 4, kPrioDefaultDrop, 4})));
  }
  EXPECT_EQ(jumps, 1);
}

// --- VLAN networks.
HostFacts LegacyFacts() {
  HostFacts facts = Facts();
  facts.tunnel.reset();
  for (auto& [nic, pf] : facts.pfs) {
    pf.can_set_vf_mac = true;
    for (VfFacts& vf : pf.vfs) {
      vf.representor.clear();
      vf.representor_ifindex = 0;
      vf.settings = {0, true, false, 0, 0};
    }
  }
  return facts;
}

class CompileVlanPort : public ::testing::Test {
 protected:
  CompileVlanPort() {
    Port port;
    port.id = "p";
    port.vm = "a";
    port.vpc = "lan";
    port.subnet = "lan-1";
    port.mac = Mac(0x500);
    object_ = {port, 1, 7};
    attachment_.vf = {facts_.pfs.begin()->first, 1};
    attachment_.lease = 5;
    attachment_.port = "p";
    attachment_.port_ordinal = 7;
    attachment_.vm = "a";
    attachment_.bus = "rp0";
    attachment_.vpc = "lan";
    attachment_.vlan = vpc_.vlan;
  }
  Port& port() { return std::get<Port>(object_.object); }
  absl::StatusOr<std::vector<Resource>> Compile() {
    PortContext context;
    context.object = &object_;
    const StoredObject vpc{vpc_, 1, 1}, subnet{Subnet{"lan-1", "lan", {}, {}}, 1, 2};
    context.vpc = &vpc;
    context.subnet = &subnet;
    context.attachment = &attachment_;
    return CompilePort(Config(), context, facts_);
  }
  VfSpec Vf() {
    const auto wanted = Compile();
    EXPECT_TRUE(wanted.ok()) << wanted.status();
    return std::get<VfSpec>(wanted->at(0).spec);
  }

  HostFacts facts_ = LegacyFacts();
  Vpc vpc_{"lan", {}, *VlanId::Make(100)};
  StoredObject object_;
  Attachment attachment_;
};

TEST_F(CompileVlanPort, IsAVfWithItsVlanABindingAndADeviceAndNeedsNoTunnel) {
  const auto wanted = Compile();
  ASSERT_TRUE(wanted.ok()) << wanted.status();
  ASSERT_EQ(wanted->size(), 3u);
  EXPECT_EQ(std::get<VfSpec>(wanted->at(0).spec),
            (VfSpec{attachment_.vf, Mac(0x500), VfSettings{100, true, false, 0, 0}}));
  EXPECT_EQ(wanted->at(1).key, DriverBindingKey(attachment_.vf));
  EXPECT_THAT(wanted->at(1).depends, ElementsAre(VfKey(attachment_.vf)))
      << "what keeps it apart is observed before the VF is handed out";
  EXPECT_EQ(wanted->at(2).key, GuestDeviceKey("a", "p"));
  for (const Resource& resource : *wanted) EXPECT_EQ(resource.lease, 5u);
}

// On a NIC whose VFs have representors.
TEST(CompileProviderPort, ItsRulesStandOnTheUplinkAndItsBlockAndNeedNoTunnel) {
  PortCase c;
  c.vpc.object = Vpc{"v", {}, *VlanId::Make(100)};
  c.attachment.vni.reset();
  c.attachment.vlan = *VlanId::Make(100);
  c.attachment.uplink = true;
  c.facts.tunnel.reset();
  c.pf().ifindex = 10;
  const auto wanted = c.Compile();
  ASSERT_TRUE(wanted.ok()) << wanted.status();
  const NicId pf = c.attachment.vf.pf;
  const Resource* representor = FindKind(*wanted, ResourceKind::kRepresentor);
  EXPECT_EQ(std::get<RepresentorSpec>(representor->spec).block,
            (RuleTable{.kind = RuleTable::Kind::kProviderBlock, .pf = pf, .vlan = 100}));
  EXPECT_THAT(representor->depends, ElementsAre(VfKey(c.attachment.vf), UplinkKey(pf)));
  const Resource* binding = FindKind(*wanted, ResourceKind::kDriverBinding);
  size_t at_uplink = 0;
  for (const Resource& resource : *wanted) {
    EXPECT_THAT(resource.depends, Not(Contains(TunnelKey()))) << resource.key.ToString();
    if (resource.key.kind != ResourceKind::kFlowRule) continue;
    EXPECT_THAT(binding->depends, Contains(resource.key)) << "the VF is handed out after it";
    if (resource.key.rule.table != UplinkTable(pf)) continue;
    ++at_uplink;
    EXPECT_THAT(resource.depends, Contains(UplinkKey(pf)));
  }
  EXPECT_EQ(at_uplink, 1u);
  EXPECT_EQ(std::get<VfSpec>(wanted->at(0).spec).settings, VfSettings())
      << "of a VF whose rates devlink does not show nothing is set";
}

TEST_F(CompileVlanPort, SetsWhatThePortAsksFor) {
  port().spoof_check = false;
  port().trust = true;
  port().max_tx_mbps = 500;
  port().min_tx_mbps = 100;
  EXPECT_EQ(Vf().settings, (VfSettings{100, false, true, 500, 100}));
}

TEST_F(CompileVlanPort, AsksForProofOfTheSpoofCheckAndNotOfWhatANicWithoutItCannotHave) {
  for (auto& [nic, pf] : facts_.pfs) {
    for (VfFacts& vf : pf.vfs) vf.settings.spoof_check = vf.settings.trust = std::nullopt;
  }
  EXPECT_EQ(Vf().settings.spoof_check, true);
  EXPECT_EQ(Vf().settings.trust, std::nullopt);
  port().spoof_check = false;
  port().trust = true;
  EXPECT_EQ(Vf().settings.spoof_check, std::nullopt);
  EXPECT_EQ(Vf().settings.trust, true);
}

TEST_F(CompileVlanPort, NeedsAMacThatOneOfThePortOrTheVfNames) {
  port().mac.reset();
  for (auto& [nic, pf] : facts_.pfs) {
    for (VfFacts& vf : pf.vfs) vf.mac = MacAddress();
  }
  EXPECT_THAT(Message(Compile().status()), HasSubstr("give the port one"));
}

}  // namespace
}  // namespace fairlead
