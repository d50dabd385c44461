// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/base/text.h"
#include "dataplane/pipeline/simulator.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAreArray;

const MacAddress kBroadcast({0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
const MacAddress kSolicitedNode({0x33, 0x33, 0xff, 0, 0, 1});

MacAddress Mac(uint32_t n) {
  return MacAddress({0x52, 0x54, 0, 0, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)});
}
IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }
RuleTable Block(const Vpc& vpc) { return {RuleTable::Kind::kVpcBlock, *vpc.vni}; }
const RuleTable kTunnelTable{RuleTable::Kind::kTunnelIngress, {}};

// A host as the units see it: VPCs with subnets, ports and endpoints. Every port
// has the MAC Mac(its number in the VPC), so that VPCs share MACs.
class Host {
 public:
  Host() {
    tunnel.device = "fl-vxlan0";
    tunnel.ifindex = 1000;
    tunnel.local = Ip("192.0.2.1");
  }

  struct SubnetSide {
    Subnet subnet;
    uint32_t ordinal = 0;
    std::vector<BoundPort> ports;
    std::vector<Endpoint> endpoints;
    std::vector<IpAddress> vteps;
  };
  struct VpcSide {
    Vpc vpc;
    uint32_t ordinal = 0;
    uint32_t next_mac = 1;
    std::vector<SubnetSide> subnets;
  };

  // Subnet n of every VPC has the same ranges: tenants may overlap.
  VpcSide& AddVpc(uint32_t vni, int subnets, int ports, int endpoints) {
    VpcSide side{{StrCat("vpc", vni), *Vni::Make(vni)}, next_ordinal_++, 1, {}};
    for (int s = 0; s < subnets; ++s) {
      SubnetSide sub;
      sub.subnet = {StrCat("s", vni, "-", s), side.vpc.id,
                    *IpPrefix::Parse(StrCat("10.", s, ".0.0/16")),
                    *IpPrefix::Parse(StrCat("fd00:0:0:", s, "::/64"))};
      sub.ordinal = next_ordinal_++;
      for (int p = 0; p < ports; ++p) {
        BoundPort port;
        port.port = StrCat("p", vni, "-", s, "-", p);
        port.ordinal = next_ordinal_++;
        port.subnet = sub.subnet.id;
        port.vf = {Mac(0xff01), next_vf_++};
        port.representor_ifindex = 2000U + port.vf.index;
        port.mac = Mac(side.next_mac++);
        port.offload = OffloadWish::kMust;
        sub.ports.push_back(port);
      }
      for (int e = 0; e < endpoints; ++e) {
        Endpoint endpoint{StrCat("e", vni, "-", s, "-", e),
                          side.vpc.id,
                          sub.subnet.id,
                          Mac(side.next_mac++),
                          {Ip(StrCat("10.", s, ".9.", e % 250))},
                          Ip(StrCat("192.0.", 3 + e / 250, ".", e % 250))};
        sub.endpoints.push_back(endpoint);
        sub.vteps.push_back(endpoint.vtep);
      }
      side.subnets.push_back(sub);
    }
    vpcs.push_back(side);
    return vpcs.back();
  }

  PipelineSimulator Compile() {
    PipelineSimulator sim;
    sim.Add({DefaultDropRule(kTunnelTable)});
    for (const VpcSide& v : vpcs) {
      sim.Add({DefaultDropRule(Block(v.vpc))});
      sim.Add(CompileVpcRules(v.vpc, v.ordinal, tunnel));
      for (const SubnetSide& s : v.subnets) {
        sim.Add(CompileSubnetRules(v.vpc, s.subnet, s.ordinal, s.ports, s.vteps, tunnel));
        for (const BoundPort& port : s.ports) {
          std::vector<BoundPort> peers;
          for (const BoundPort& peer : s.ports) {
            if (peer.vf != port.vf) peers.push_back(peer);
          }
          sim.Add(CompilePortRules(v.vpc, s.ordinal, port, peers, tunnel));
        }
        for (const Endpoint& e : s.endpoints) {
          sim.Add(CompileEndpointRules(v.vpc, e, next_ordinal_++, tunnel));
        }
      }
    }
    return sim;
  }

  SimPacket From(const BoundPort& port, const MacAddress& dst) const {
    SimPacket p;
    p.in = Ref(port);
    p.dst_mac = dst;
    return p;
  }
  SimPacket FromTunnel(const Vpc& vpc, const MacAddress& dst) const {
    SimPacket p;
    p.in = TunnelRef();
    p.dst_mac = dst;
    p.vni = vpc.vni;
    p.outer_dst = tunnel.local;
    p.outer_udp_port = tunnel.udp_port;
    return p;
  }
  static DeviceRef Ref(const BoundPort& port) {
    return {DeviceRef::Kind::kRepresentor, port.vf, port.representor_ifindex};
  }
  DeviceRef TunnelRef() const { return {DeviceRef::Kind::kTunnel, {}, tunnel.ifindex}; }
  SimDelivery To(const BoundPort& port) const { return {Ref(port), {}, {}}; }
  SimDelivery To(const Vpc& vpc, const IpAddress& vtep) const {
    return {TunnelRef(), vpc.vni, vtep};
  }
  // Who must hear a flood: all local ports but `sender`, and all VTEPs.
  std::vector<SimDelivery> FloodOf(const VpcSide& v, const SubnetSide& s,
                                   const BoundPort* sender) const {
    std::vector<SimDelivery> out;
    for (const BoundPort& p : s.ports) {
      if (sender == nullptr || p.vf != sender->vf) out.push_back(To(p));
    }
    if (sender != nullptr) {
      for (const IpAddress& vtep : s.vteps) out.push_back(To(v.vpc, vtep));
    }
    return out;
  }

  TunnelFacts tunnel;
  std::vector<VpcSide> vpcs;

 private:
  uint32_t next_ordinal_ = 1;
  uint16_t next_vf_ = 0;
};

void MakeArp(SimPacket& p, const std::string& target) {
  p.ethertype = kEtherArp;
  p.arp_target = Ip(target);
}
void MakeNd(SimPacket& p, uint8_t type, const std::string& source) {
  p.ethertype = kEtherIpv6;
  p.icmpv6_type = type;
  p.src_ip = Ip(source);
}

TEST(PipelineTest, UnicastReachesItsOwnerAndNeverAnotherVpcWithTheSameMac) {
  Host host;
  host.AddVpc(100, 2, 3, 2);
  host.AddVpc(200, 2, 3, 2);  // the same MACs, addresses and VTEPs
  PipelineSimulator sim = host.Compile();
  for (const auto& v : host.vpcs) {
    for (const auto& from : v.subnets) {
      for (const BoundPort& sender : from.ports) {
        for (const auto& to : v.subnets) {
          for (const BoundPort& owner : to.ports) {
            EXPECT_THAT(sim.Run(Block(v.vpc), host.From(sender, owner.mac)),
                        ElementsAre(host.To(owner)));
          }
          for (const Endpoint& e : to.endpoints) {
            EXPECT_THAT(sim.Run(Block(v.vpc), host.From(sender, e.mac)),
                        ElementsAre(host.To(v.vpc, e.vtep)));
          }
        }
      }
      for (const BoundPort& owner : from.ports) {
        EXPECT_THAT(sim.Run(kTunnelTable, host.FromTunnel(v.vpc, owner.mac)),
                    ElementsAre(host.To(owner)));
      }
      // What comes from the network never goes back into it.
      for (const Endpoint& e : from.endpoints) {
        EXPECT_THAT(sim.Run(kTunnelTable, host.FromTunnel(v.vpc, e.mac)), IsEmpty());
      }
    }
  }
  EXPECT_THAT(sim.faults(), IsEmpty());
}

TEST(PipelineTest, FloodsReachExactlyTheSendersSubnet) {
  Host host;
  host.AddVpc(100, 2, 3, 2);
  host.AddVpc(200, 2, 3, 2);
  PipelineSimulator sim = host.Compile();
  for (const auto& v : host.vpcs) {
    for (size_t n = 0; n < v.subnets.size(); ++n) {
      const auto& s = v.subnets[n];
      const std::string v6 = StrCat("fd00:0:0:", n, "::5");
      for (const BoundPort& sender : s.ports) {
        SimPacket arp = host.From(sender, kBroadcast);
        MakeArp(arp, StrCat("10.", n, ".0.5"));
        EXPECT_THAT(sim.Run(Block(v.vpc), arp),
                    UnorderedElementsAreArray(host.FloodOf(v, s, &sender)));
        for (uint8_t type : {135, 136}) {
          SimPacket nd = host.From(sender, kSolicitedNode);
          MakeNd(nd, type, v6);
          EXPECT_THAT(sim.Run(Block(v.vpc), nd),
                      UnorderedElementsAreArray(host.FloodOf(v, s, &sender)));
        }
      }
      SimPacket arp = host.FromTunnel(v.vpc, kBroadcast);
      MakeArp(arp, StrCat("10.", n, ".0.5"));
      EXPECT_THAT(sim.Run(kTunnelTable, arp),
                  UnorderedElementsAreArray(host.FloodOf(v, s, nullptr)));
      for (uint8_t type : {135, 136}) {
        SimPacket nd = host.FromTunnel(v.vpc, kSolicitedNode);
        MakeNd(nd, type, v6);
        EXPECT_THAT(sim.Run(kTunnelTable, nd),
                    UnorderedElementsAreArray(host.FloodOf(v, s, nullptr)));
      }
    }
  }
  EXPECT_THAT(sim.faults(), IsEmpty());
}

TEST(PipelineTest, AUnicastArpReplyIsNotFlooded) {
  Host host;
  auto& v = host.AddVpc(100, 1, 3, 1);
  PipelineSimulator sim = host.Compile();
  const auto& ports = v.subnets[0].ports;
  SimPacket reply = host.FromTunnel(v.vpc, ports[1].mac);
  MakeArp(reply, "10.0.0.5");
  EXPECT_THAT(sim.Run(kTunnelTable, reply), ElementsAre(host.To(ports[1])));
  reply = host.From(ports[0], ports[1].mac);
  MakeArp(reply, "10.0.0.5");
  EXPECT_THAT(sim.Run(Block(v.vpc), reply), ElementsAre(host.To(ports[1])));
}

TEST(PipelineTest, WhatNobodyOwnsIsDropped) {
  Host host;
  auto& v = host.AddVpc(100, 1, 3, 2);
  PipelineSimulator sim = host.Compile();
  const BoundPort& sender = v.subnets[0].ports[0];
  EXPECT_THAT(sim.Run(Block(v.vpc), host.From(sender, Mac(0x7777))), IsEmpty());
  EXPECT_THAT(sim.Run(kTunnelTable, host.FromTunnel(v.vpc, Mac(0x7777))), IsEmpty());
  // Broadcast and multicast that is neither ARP nor ND.
  EXPECT_THAT(sim.Run(Block(v.vpc), host.From(sender, kBroadcast)), IsEmpty());
  SimPacket router = host.From(sender, kSolicitedNode);
  MakeNd(router, 134, "fe80::1");  // a router advertisement of a tenant
  EXPECT_THAT(sim.Run(Block(v.vpc), router), IsEmpty());
  SimPacket arp = host.FromTunnel(v.vpc, kBroadcast);
  MakeArp(arp, "172.16.0.1");  // for no subnet of the VPC
  EXPECT_THAT(sim.Run(kTunnelTable, arp), IsEmpty());
  EXPECT_THAT(sim.faults(), IsEmpty());
}

TEST(PipelineTest, ForeignOuterHeadersAreDropped) {
  Host host;
  auto& v = host.AddVpc(100, 1, 1, 1);
  PipelineSimulator sim = host.Compile();
  const MacAddress owner = v.subnets[0].ports[0].mac;
  SimPacket p = host.FromTunnel(v.vpc, owner);
  p.vni = *Vni::Make(101);
  EXPECT_THAT(sim.Run(kTunnelTable, p), IsEmpty());
  p = host.FromTunnel(v.vpc, owner);
  p.outer_dst = Ip("192.0.2.2");
  EXPECT_THAT(sim.Run(kTunnelTable, p), IsEmpty());
  p = host.FromTunnel(v.vpc, owner);
  p.outer_udp_port = 8472;
  EXPECT_THAT(sim.Run(kTunnelTable, p), IsEmpty());
}

TEST(PipelineTest, VlanTaggedFramesAreDroppedEvenForAKnownMac) {
  Host host;
  auto& v = host.AddVpc(100, 1, 2, 1);
  PipelineSimulator sim = host.Compile();
  const auto& ports = v.subnets[0].ports;
  for (uint16_t tag : {kEtherVlan, kEtherQinQ}) {
    SimPacket p = host.From(ports[0], ports[1].mac);
    p.ethertype = tag;
    EXPECT_THAT(sim.Run(Block(v.vpc), p), IsEmpty());
    p = host.FromTunnel(v.vpc, ports[1].mac);
    p.ethertype = tag;
    EXPECT_THAT(sim.Run(kTunnelTable, p), IsEmpty());
  }
  EXPECT_THAT(sim.faults(), IsEmpty());
}

TEST(PipelineTest, FloodListsLongerThanOneRuleReachEverybodyOnce) {
  for (int n : {1, 2, 15, 16, 30, 31, 32, 33, 61, 62, 63, 100}) {
    Host host;
    auto& v = host.AddVpc(100, 1, n, n);
    PipelineSimulator sim = host.Compile();
    const auto& s = v.subnets[0];
    const BoundPort& sender = s.ports[static_cast<size_t>(n) / 2];
    SimPacket arp = host.From(sender, kBroadcast);
    MakeArp(arp, "10.0.0.5");
    EXPECT_THAT(sim.Run(Block(v.vpc), arp), UnorderedElementsAreArray(host.FloodOf(v, s, &sender)))
        << n;
    arp = host.FromTunnel(v.vpc, kBroadcast);
    MakeArp(arp, "10.0.0.5");
    EXPECT_THAT(sim.Run(kTunnelTable, arp), UnorderedElementsAreArray(host.FloodOf(v, s, nullptr)))
        << n;
    for (const FlowRule& rule : sim.rules()) {
      ASSERT_LE(rule.actions.size(), kMaxRuleActions) << rule.ToString();
    }
    EXPECT_THAT(sim.faults(), IsEmpty());
  }
}

bool Redirects(const FlowRule& rule) {
  return std::any_of(rule.actions.begin(), rule.actions.end(),
                     [](const RuleAction& a) { return std::holds_alternative<ActionRedirect>(a); });
}

TEST(PipelineTest, EveryRuleKeepsTheShapeThatHardwareAndIsolationAskFor) {
  Host host;
  host.AddVpc(100, 2, 40, 40);
  host.AddVpc(200, 1, 2, 2);
  const PipelineSimulator sim = host.Compile();
  for (const FlowRule& rule : sim.rules()) {
    const bool default_drop =
        rule.location.handle == kTableHandle && rule.location.priority == kPrioDefaultDrop;
    if (Redirects(rule)) {
      ASSERT_TRUE(rule.match.dst_mac.has_value()) << rule.ToString();
    }
    if (rule.location.table.kind == RuleTable::Kind::kTunnelIngress && !default_drop) {
      ASSERT_TRUE(rule.match.vni && rule.match.outer_dst && rule.match.outer_udp_port)
          << rule.ToString();
      ASSERT_FALSE(rule.match.in_device) << rule.ToString();
    } else {
      ASSERT_FALSE(rule.match.vni) << rule.ToString();
    }
    // "must" is the wish of a delivery and its proof only, and the proof forwards nothing.
    if (rule.offload == OffloadWish::kMust) {
      ASSERT_NE(Redirects(rule), rule.location.priority == kPrioHardwareProof) << rule.ToString();
    }
    ASSERT_GT(rule.location.priority, 0);
    ASSERT_GT(rule.location.handle, 0U);
  }
}

TEST(PipelineTest, TheNumberOfRulesIsTheSumOfPortsAndEndpointsNotTheirProduct) {
  auto count = [](int ports, int endpoints) {
    Host host;
    host.AddVpc(100, 1, ports, endpoints);
    return host.Compile().rules().size();
  };
  const size_t base = count(1, 0);
  // With lists that fit one rule: 6 rules a "must" port, 1 an endpoint, a VTEP chunk.
  EXPECT_EQ(count(11, 0), base + 10 * 6);
  EXPECT_EQ(count(11, 15), base + 10 * 6 + 15 + 1);
  EXPECT_EQ(count(1, 150), base + 150 + 10);
}

TEST(PipelineTest, ASubnetWithoutPortsHereHasNoRules) {
  Host host;
  auto& v = host.AddVpc(100, 1, 0, 3);
  const auto& s = v.subnets[0];
  EXPECT_THAT(CompileSubnetRules(v.vpc, s.subnet, s.ordinal, {}, s.vteps, host.tunnel), IsEmpty());
}

TEST(PipelineTest, TheChainOfASubnetWithoutVtepsStillEndsInADrop) {
  Host host;
  auto& v = host.AddVpc(100, 1, 1, 0);
  const auto& s = v.subnets[0];
  auto rules = CompileSubnetRules(v.vpc, s.subnet, s.ordinal, s.ports, {}, host.tunnel);
  auto in_chain = std::count_if(rules.begin(), rules.end(), [&](const FlowRule& r) {
    return r.location.chain == s.ordinal && std::holds_alternative<ActionDrop>(r.actions.back());
  });
  EXPECT_EQ(in_chain, 1);
}

TEST(PipelineTest, ThisHostIsNoVtepOfItsOwn) {
  Host host;
  auto& v = host.AddVpc(100, 1, 1, 1);
  auto& s = v.subnets[0];
  s.endpoints[0].vtep = host.tunnel.local;
  s.vteps = {host.tunnel.local};
  EXPECT_THAT(CompileEndpointRules(v.vpc, s.endpoints[0], 99, host.tunnel), IsEmpty());
  PipelineSimulator sim = host.Compile();
  SimPacket arp = host.From(s.ports[0], kBroadcast);
  MakeArp(arp, "10.0.0.5");
  EXPECT_THAT(sim.Run(Block(v.vpc), arp), IsEmpty());
}

TEST(PipelineTest, APortThatIsToStayInSoftwareDoesSoInAllItsRules) {
  Host host;
  auto& v = host.AddVpc(100, 1, 2, 0);
  BoundPort port = v.subnets[0].ports[0];
  port.offload = OffloadWish::kOff;
  for (const FlowRule& rule : CompilePortRules(v.vpc, 2, port, {}, host.tunnel)) {
    EXPECT_EQ(rule.offload, OffloadWish::kOff) << rule.ToString();
  }
}

}  // namespace
}  // namespace fairlead
