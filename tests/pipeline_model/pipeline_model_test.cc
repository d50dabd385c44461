// SPDX-License-Identifier: Apache-2.0
//
// The model says what becomes of a frame by the words of the intent language; the compiled
// rules, interpreted, say it too: for random networks and frames both say the same. And a
// compiler that gets one thing wrong is caught: each mutation here is one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "agent/base/text.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/pipeline/simulator.h"
#include "tests/pipeline_model/model.h"
#include "tests/pipeline_model/mutation.h"
#include "tests/pipeline_model/random_network.h"

namespace fairlead::pipeline_model {
namespace {

constexpr uint32_t kTunnelIfindex = 1000;
constexpr uint32_t kFirstRepresentor = 2000;
RuleTable Block(Vni vni) { return {RuleTable::Kind::kVpcBlock, vni}; }
const RuleTable kTunnelTable{RuleTable::Kind::kTunnelIngress, {}};

// A network as the engine has it compiled, each object with a number of its own.
class Compiled {
 public:
  explicit Compiled(const Network& network) : network_(network) {
    rules.push_back(DefaultDropRule(kTunnelTable));
    for (const Vpc& vpc : network.vpcs) {
      VpcContext context;
      context.vni = *vpc.vni;
      context.ordinal = next_++;
      context.tunnel.ifindex = kTunnelIfindex;
      context.tunnel.local = network.local;
      context.tunnel.udp_port = network.udp_port;
      context.peers = network.peers;
      const VpcPolicies policies = PoliciesIn(vpc, context.ordinal);
      if (policies.mode != SecurityMode::kNone) context.policies = &policies;
      rules.push_back(DefaultDropRule(Block(*vpc.vni)));
      Add(CompileVpcRules(context));
      for (const Subnet& subnet : network.subnets) {
        if (subnet.vpc == vpc.id) AddSubnet(context, subnet);
      }
      for (const Route& route : network.routes) {
        if (route.vpc == vpc.id) AddRoute(context, route);
      }
      for (const auto& [number, policy] : policies.by_number) {
        Add(CompilePolicyRules(context, number));
      }
    }
  }

  // What the rules make of a frame, in the model's words.
  Verdict Run(PipelineSimulator& simulator, const Frame& frame) const {
    FlowPacket packet;
    RuleTable table = kTunnelTable;
    if (frame.from_port.empty()) {
      packet.in = {DeviceRef::Kind::kTunnel, {}, kTunnelIfindex};
      packet.vni = frame.vni;
      packet.outer_src = frame.outer_src;
      packet.outer_dst = frame.outer_dst;
      packet.outer_udp_port = frame.outer_udp_port;
    } else {
      packet.in = {DeviceRef::Kind::kRepresentor, vfs_.at(frame.from_port),
                   kFirstRepresentor + vfs_.at(frame.from_port).index};
      table = Block(blocks_.at(frame.from_port));
    }
    constexpr uint16_t kEtherTypes[] = {kEtherIpv4, kEtherIpv6, kEtherArp,
                                        kEtherVlan, kEtherQinQ, 0x88cc};
    packet.ethertype = kEtherTypes[static_cast<size_t>(frame.kind)];
    packet.src_mac = frame.src_mac;
    packet.dst_mac = frame.dst_mac;
    packet.src_ip = frame.src_ip;
    packet.dst_ip = frame.dst_ip;
    packet.ttl = frame.ttl;
    packet.protocol = frame.protocol();
    packet.icmp_type = frame.icmpv6_type;
    packet.icmp_code = 0;
    packet.dst_port = frame.udp_dst_port ? frame.udp_dst_port : frame.tcp_dst_port;
    packet.connection = static_cast<CtState>(frame.state);
    const FlowOutcome outcome = simulator.Run(table, packet);
    Verdict out;
    out.known = outcome.committed.has_value();
    if (outcome.kind == FlowOutcome::Kind::kTrapped) out.kind = Verdict::Kind::kSlowPath;
    if (outcome.kind != FlowOutcome::Kind::kSent) return out;
    out.src_mac = outcome.src_mac;
    out.dst_mac = outcome.dst_mac;
    out.ttl = outcome.ttl;
    if (outcome.to.kind == DeviceRef::Kind::kTunnel) {
      out.kind = Verdict::Kind::kRemote;
      out.vni = outcome.header ? outcome.header->vni : Vni();
      out.vtep = outcome.header ? outcome.header->remote : IpAddress();
    } else {
      out.kind = Verdict::Kind::kPort;
      for (const auto& [id, vf] : vfs_) {
        if (vf == outcome.to.vf) out.port = id;
      }
    }
    return out;
  }

  std::vector<FlowRule> rules;

 private:
  // A number for each list of groups that ports of the VPC have, and the VPC as it is stored.
  VpcPolicies PoliciesIn(const Vpc& vpc, uint32_t ordinal) {
    std::vector<StoredObject> objects;
    const auto store = [&](Object object) { objects.push_back({std::move(object), 1, next_++}); };
    Vpc stored = vpc;
    for (const SecurityGroup& group : network_.groups) {
      if (group.vpc != vpc.id) continue;
      if (!group.stateless) stored.ct_zone = kFirstCtZone;
      store(group);
    }
    for (Port port : network_.ports) {
      if (port.vpc != vpc.id || port.security_groups.empty()) continue;
      const auto [number, added] = policies_.try_emplace({vpc.id, port.security_groups}, next_);
      next_ += added ? 1 : 0;
      port.policy = policy_of_[port.id] = number->second;
      store(port);
    }
    objects.push_back({stored, 1, ordinal});
    return PoliciesOf(World(std::move(objects), next_), {stored, 1, ordinal});
  }
  void Add(std::vector<FlowRule> more) {
    std::move(more.begin(), more.end(), std::back_inserter(rules));
  }
  void AddSubnet(const VpcContext& vpc, const Subnet& subnet) {
    const SubnetContext context = ContextOf(subnet, next_++);
    Add(CompileSubnetRules(vpc, subnet, context.ordinal));
    for (const Port& port : network_.ports) {
      if (port.subnet != subnet.id) continue;
      BoundPort bound;
      bound.port = port.id;
      bound.ordinal = next_++;
      bound.vpc = port.vpc;
      bound.subnet = port.subnet;
      bound.vf = {MacAddress({0x02, 0, 0, 0, 0, 1}), static_cast<uint16_t>(vfs_.size())};
      bound.representor_ifindex = kFirstRepresentor + bound.vf.index;
      bound.mac = *port.mac;
      bound.addresses = port.addresses;
      bound.pairs = port.allowed_pairs;
      bound.security_groups = port.security_groups;
      bound.policy = policy_of_[port.id];
      vfs_[port.id] = bound.vf;
      bound_[port.id] = bound;
      blocks_[port.id] = vpc.vni;
      Add(CompilePortRules(vpc, context, bound));
    }
    for (const Endpoint& endpoint : network_.endpoints) {
      if (endpoint.subnet == subnet.id) Add(CompileEndpointRules(vpc, context, endpoint, next_++));
    }
  }

  void AddRoute(const VpcContext& vpc, const Route& route) {
    NextHop next_hop;
    const auto has = [&](const auto& station) {
      return station.vpc == route.vpc &&
             std::find(station.addresses.begin(), station.addresses.end(), route.next_hop) !=
                 station.addresses.end();
    };
    for (const Port& port : network_.ports) {
      if (has(port)) next_hop = &bound_.at(port.id);
    }
    for (const Endpoint& endpoint : network_.endpoints) {
      if (has(endpoint)) next_hop = &endpoint;
    }
    for (FlowRule& rule : CompileRouteRules(vpc, route, next_++, next_hop)) {
      rules.push_back(std::move(rule));
    }
  }

  const Network& network_;
  uint32_t next_ = 2;
  std::map<std::string, BoundPort> bound_;
  std::map<std::string, VfId> vfs_;
  std::map<std::string, Vni> blocks_;
  std::map<std::pair<std::string, std::vector<std::string>>, uint32_t> policies_;
  std::map<std::string, uint32_t> policy_of_;
};

std::string DisagreementOf(uint64_t seed, const RuleChange& mutate, bool tell) {
  Random random(seed);
  const Network network = RandomNetwork(random);
  Compiled compiled(network);
  if (mutate) mutate(compiled.rules);
  return FirstDisagreement(
      network, compiled, [&] { return RandomFrame(network, random); }, tell);
}

TEST(PipelineModelTest, TheCompiledRulesDoWhatTheIntentSays) { ExpectAgreement(DisagreementOf); }

bool InSubnet(const Network& network, const IpAddress& address) {
  return std::any_of(network.subnets.begin(), network.subnets.end(),
                     [&](const Subnet& subnet) { return subnet.Contains(address); });
}

// The frames of a run reach every verdict, or agreement would say little.
TEST(PipelineModelTest, TheRandomFramesMeetEveryVerdict) {
  std::map<Verdict::Kind, int> seen;
  int routed = 0, by_routes = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Random random(seed);
    const Network network = RandomNetwork(random);
    for (uint64_t i = 0; i < kFramesPerNetwork; ++i) {
      const Frame frame = RandomFrame(network, random);
      const Verdict verdict = Judge(network, frame);
      ++seen[verdict.kind];
      const bool is_routed = verdict.kind != Verdict::Kind::kDropped &&
                             verdict.kind != Verdict::Kind::kSlowPath &&
                             verdict.src_mac == kGatewayMac;
      routed += is_routed;
      by_routes += is_routed && !InSubnet(network, frame.dst_ip);
    }
  }
  for (const Verdict::Kind kind : {Verdict::Kind::kDropped, Verdict::Kind::kSlowPath,
                                   Verdict::Kind::kPort, Verdict::Kind::kRemote}) {
    EXPECT_GT(seen[kind], 200) << static_cast<int>(kind);
  }
  EXPECT_GT(routed, 200);
  EXPECT_GT(by_routes, 100);
}

bool In(const FlowRule& rule, Stage stage) { return StageOfChain(rule.location.chain) == stage; }
bool Allows(const FlowRule& rule) {
  const bool ends = rule.location.priority == kPrioDefaultDrop;
  return (In(rule, Stage::kEgress) || In(rule, Stage::kIngress)) && !ends;
}
bool JumpsTo(const FlowRule& rule, Stage stage) {
  const auto* jump = std::get_if<ActionGotoChain>(&rule.actions.back());
  return jump != nullptr && StageOfChain(jump->chain) == stage;
}

bool InTunnel(const FlowRule& rule) {
  return rule.location.table.kind == RuleTable::Kind::kTunnelIngress;
}
bool Admits(const FlowRule& rule) { return rule.match.src_mac.has_value(); }
bool Routes(const FlowRule& rule) {
  return std::holds_alternative<ActionRoute>(rule.actions.front());
}
bool Traps(const FlowRule& rule) {
  return std::holds_alternative<ActionTrap>(rule.actions.front());
}
template <typename T>
T* ActionOf(FlowRule& rule) {
  for (RuleAction& action : rule.actions) {
    if (T* found = std::get_if<T>(&action)) return found;
  }
  return nullptr;
}

std::vector<Mutation> Mutations() {
  return {
      {"admits any address", Each([](FlowRule& r) {
         if (Admits(r)) r.match.src_ip.reset();
       })},
      {"admits any MAC", Each([](FlowRule& r) { r.match.src_mac.reset(); })},
      {"admits from any port", Each([](FlowRule& r) { r.match.in_device.reset(); })},
      {"forgets the second address of a port", Without([](const FlowRule& r) {
         return Admits(r) && r.location.priority == kPrioAdmit4 + 1;
       })},
      {"admits all of a pair's family", Each([](FlowRule& r) {
         if (Admits(r) && r.match.src_ip->length() == 24)
           r.match.src_ip = *IpPrefix::Parse("0.0.0.0/0");
       })},
      {"admits by another subnet's chain",
       [](Rules& rules) {
         std::map<RuleTable, uint32_t> chain;
         for (FlowRule& rule : rules) {
           auto* jump = ActionOf<ActionGotoChain>(rule);
           if (!Admits(rule) || jump == nullptr) continue;
           chain.try_emplace(rule.location.table, jump->chain);
           jump->chain = chain[rule.location.table];
         }
       }},
      {"no trap for ARP",
       Without([](const FlowRule& r) { return Traps(r) && r.match.ethertype == kEtherArp; })},
      {"no trap for solicitations",
       Without([](const FlowRule& r) { return MatchesIcmp6(r.match, 135); })},
      {"forwards neighbour advertisements",
       Without([](const FlowRule& r) { return MatchesIcmp6(r.match, 136); })},
      {"forwards router advertisements",
       Without([](const FlowRule& r) { return MatchesIcmp6(r.match, 134); })},
      {"DHCP by unicast is trapped", Each([](FlowRule& r) {
         if (r.match.dst_port) r.match.dst_mac.reset();
       })},
      {"guests may be DHCP servers",
       Without([](const FlowRule& r) { return MatchesUdp(r.match, 68); })},
      {"no DHCPv6", Without([](const FlowRule& r) { return MatchesUdp(r.match, 547); })},
      {"tagged frames pass from the tunnel",
       Without([](const FlowRule& r) { return InTunnel(r) && r.match.ethertype == kEtherVlan; })},
      {"double-tagged frames pass from the tunnel",
       Without([](const FlowRule& r) { return InTunnel(r) && r.match.ethertype == kEtherQinQ; })},
      {"the tunnel's VNI is not looked at", Each([](FlowRule& r) {
         if (InTunnel(r)) r.match.vni.reset();
       })},
      {"any host's frames are taken from the tunnel", Each([](FlowRule& r) {
         if (InTunnel(r)) r.match.outer_src.reset();
       })},
      {"only the first of the peers are taken from", Without([](const FlowRule& r) {
         return InTunnel(r) && r.location.priority == kPrioDeliver + 1;
       })},
      {"a wider prefix than the peers'", Each([](FlowRule& r) {
         if (r.match.outer_src && r.match.outer_src->length() == 31) {
           r.match.outer_src = *IpPrefix::Parse("192.0.2.0/24");
         }
       })},
      {"a VPC's drop stands before its ports", Each([](FlowRule& r) {
         if (r.location.priority == kPrioUntaken) r.location.priority = kPrioVlan - 1;
       })},
      {"the outer destination is not looked at", Each([](FlowRule& r) {
         if (InTunnel(r)) r.match.outer_dst.reset();
       })},
      {"the outer port is not looked at", Each([](FlowRule& r) {
         if (InTunnel(r)) r.match.outer_udp_port.reset();
       })},
      {"no decapsulation", Each([](FlowRule& r) {
         std::erase_if(r.actions,
                       [](const RuleAction& a) { return std::holds_alternative<ActionDecap>(a); });
       })},
      {"another tenant's VNI", Each([](FlowRule& r) {
         if (auto* encap = ActionOf<ActionEncap>(r))
           encap->vni = *Vni::Make(encap->vni.value() ^ 1);
       })},
      {"one VTEP for all", Each([](FlowRule& r) {
         if (auto* encap = ActionOf<ActionEncap>(r)) encap->remote = *IpAddress::Parse("192.0.2.2");
       })},
      {"passes on what has no hop left",
       Without([](const FlowRule& r) { return r.match.ttl_expiring; })},
      {"answers for no gateway",
       Without([](const FlowRule& r) { return Traps(r) && r.match.dst_ip.has_value(); })},
      {"routed frames go to the gateway's MAC", Each([](FlowRule& r) {
         if (auto* route = ActionOf<ActionRoute>(r)) route->dst_mac = kGatewayMac;
       })},
      {"keeps the sender's MAC when it routes", Each([](FlowRule& r) {
         if (auto* route = ActionOf<ActionRoute>(r)) route->src_mac = route->dst_mac;
       })},
      {"routes a neighbour's address, too", Each([](FlowRule& r) {
         if (Routes(r) && r.match.ethertype == kEtherIpv4 && r.match.dst_ip->length() == 32) {
           const std::string text = r.match.dst_ip->address().ToString();
           const int host = std::atoi(text.c_str() + text.rfind('.') + 1) & ~1;
           r.match.dst_ip =
               *IpPrefix::Parse(StrCat(text.substr(0, text.rfind('.') + 1), host, "/31"));
         }
       })},
      {"no way to the gateway in IPv6", Without([](const FlowRule& r) {
         return r.match.dst_mac == kGatewayMac && r.match.ethertype == kEtherIpv6;
       })},
      {"both families by one gateway", Each([](FlowRule& r) {
         if (r.match.dst_mac == kGatewayMac) r.match.ethertype = kEtherAll;
       })},
      {"routed frames keep MACs and hops", Each([](FlowRule& r) {
         if (Routes(r)) r.actions.erase(r.actions.begin());
       })},
      {"the shortest route first", Each([](FlowRule& r) {
         if (!IsStaticRoute(PlaceOf(r.location))) return;
         const int length = r.match.dst_ip->length();
         const bool v4 = r.match.ethertype == kEtherIpv4;
         r.location.priority = static_cast<uint16_t>((v4 ? kPrioStatic4 : kPrioStatic6) + length);
       })},
      {"routes carry unknown addresses of subnets", Without([](const FlowRule& r) {
         return r.location.priority == kPrioConnected4 || r.location.priority == kPrioConnected6;
       })},
      {"a route without a next hop is left out", Without([](const FlowRule& r) {
         return IsStaticRoute(PlaceOf(r.location)) &&
                std::holds_alternative<ActionDrop>(r.actions[0]);
       })},
      {"a sender's policy looks at no destination", Each([](FlowRule& r) {
         if (In(r, Stage::kEgress)) r.match.dst_ip.reset();
       })},
      {"a receiver's policy looks at no source", Each([](FlowRule& r) {
         if (In(r, Stage::kIngress) && !InTunnel(r)) r.match.src_ip.reset();
       })},
      {"the same, of what the tunnel brings", Each([](FlowRule& r) {
         if (In(r, Stage::kIngress) && InTunnel(r)) r.match.src_ip.reset();
       })},
      {"policies look at no protocol", Each([](FlowRule& r) {
         if (Allows(r)) r.match.protocol.reset();
       })},
      {"policies look at no port", Each([](FlowRule& r) {
         if (Allows(r)) r.match.dst_port.reset();
       })},
      {"a range of ports is its first mask", Without([](const FlowRule& r) {
         return r.match.dst_port && r.match.dst_port->mask < 0xfff0;
       })},
      {"policies look at no ICMP type", Each([](FlowRule& r) {
         if (Allows(r)) r.match.icmp_type.reset();
       })},
      {"members are left out", Without([](const FlowRule& r) {
         return r.location.priority >= kPrioMember4 &&
                r.location.priority < kPrioMember6 + kMemberSlots;
       })},
      {"a neighbour's policy is not asked",
       Without([](const FlowRule& r) { return r.location.priority == kPrioReceiver; })},
      {"the policy behind the gateway is not asked", Without([](const FlowRule& r) {
         return r.location.priority >= kPrioReceiver4 && r.location.priority < kPrioNoReceiver4;
       })},
      {"the policy behind a route is not asked", Without([](const FlowRule& r) {
         return r.location.priority >= kPrioReceiverStatic4 &&
                r.location.priority < kPrioElsewhere4 && JumpsTo(r, Stage::kIngress);
       })},
      {"a route's receiver judges what is for the subnets", Without([](const FlowRule& r) {
         return r.location.priority == kPrioNoReceiver4 || r.location.priority == kPrioNoReceiver6;
       })},
      {"what is new passes as established", Each([](FlowRule& r) {
         if (r.match.ct == CtState::kEstablished) r.match.ct.reset();
       })},
      {"what is established is judged",
       Without([](const FlowRule& r) { return r.match.ct == CtState::kEstablished; })},
      {"errors about connections are dropped",
       Without([](const FlowRule& r) { return r.match.ct == CtState::kRelated; })},
      {"a connection is known before its receiver was asked", Each([](FlowRule& r) {
         if (In(r, Stage::kEgress) && r.match.ct) {
           r.actions.insert(r.actions.begin(), ActionCt{kFirstCtZone, true});
         }
       })},
      {"no connection is known", Each([](FlowRule& r) {
         const auto* ct = ActionOf<ActionCt>(r);
         if (ct != nullptr && ct->commit) r.actions.erase(r.actions.begin());
       })},
      {"conntrack is not asked", Each([](FlowRule& r) {
         const auto* ct = ActionOf<ActionCt>(r);
         if (ct != nullptr && !ct->commit) r.actions.erase(r.actions.begin());
       })},
      {"one policy for all",
       [](Rules& rules) {
         std::map<std::pair<RuleTable, Stage>, uint32_t> first;
         for (FlowRule& rule : rules) {
           auto* jump = ActionOf<ActionGotoChain>(rule);
           if (jump == nullptr) continue;
           const Stage stage = StageOfChain(jump->chain);
           if (stage != Stage::kEgress && stage != Stage::kIngress) continue;
           jump->chain = first.try_emplace({rule.location.table, stage}, jump->chain).first->second;
         }
       }},
      {"a chain without its end", Without([](const FlowRule& r) {
         return r.location.chain != 0 && r.location.priority == kPrioDefaultDrop;
       })},
      {"delivers by MAC in every subnet",
       [](Rules& rules) {
         Rules more;
         std::map<RuleTable, std::vector<uint32_t>> chains;
         for (const FlowRule& r : rules) {
           if (r.location.priority == kPrioDefaultDrop && r.location.chain != 0) {
             chains[r.location.table].push_back(r.location.chain);
           }
         }
         for (const FlowRule& r : rules) {
           if (r.location.priority != kPrioDeliver || r.location.chain == 0) continue;
           for (uint32_t chain : chains[r.location.table]) {
             if (chain == r.location.chain) continue;
             more.push_back(r);
             more.back().location.chain = chain;
             more.back().location.priority += 1;
           }
         }
         rules.insert(rules.end(), more.begin(), more.end());
       }},
  };
}

class MutationTest : public ::testing::TestWithParam<size_t> {};

TEST_P(MutationTest, IsCaught) { ExpectCaught(Mutations()[GetParam()], DisagreementOf); }

INSTANTIATE_TEST_SUITE_P(All, MutationTest, ::testing::Range<size_t>(0, Mutations().size()));

}  // namespace
}  // namespace fairlead::pipeline_model
