// SPDX-License-Identifier: Apache-2.0
//
// Provider networks: the model and the compiled rules agree on random networks and frames, and a
// compiler that gets one thing wrong is caught (as pipeline_model_test.cc does for overlays).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "agent/base/text.h"
#include "dataplane/pipeline/provider.h"
#include "dataplane/pipeline/simulator.h"
#include "tests/pipeline_model/mutation.h"
#include "tests/pipeline_model/provider_model.h"

namespace fairlead::pipeline_model {
namespace {

constexpr uint32_t kFirstUplink = 100;
constexpr uint32_t kFirstRepresentor = 2000;

NicId Pf(int pf) { return MacAddress({0x02, 0, 0, 0, 0, static_cast<uint8_t>(pf)}); }

class Compiled {
 public:
  explicit Compiled(const ProviderNetwork& network) {
    uint32_t next = 2;
    for (const Vpc& vpc : network.vpcs) {
      const uint32_t ordinal = next++;
      for (int pf = 0; pf < ProviderNetwork::kPfs; ++pf) {
        const ProviderContext context{vpc.vlan, ordinal, Pf(pf),
                                      kFirstUplink + static_cast<uint32_t>(pf)};
        std::vector<BoundPort> ports;
        for (const Port& port : network.ports) {
          if (port.vpc == vpc.id && network.pf_of_port.at(port.id) == pf) {
            ports.push_back(Bind(port, pf, next++));
            tables_[port.id] = BlockOf(context);
          }
        }
        if (ports.empty()) continue;  // the block is not there
        std::vector<const BoundPort*> all;
        for (const BoundPort& port : ports) all.push_back(&port);
        rules.push_back(DefaultDropRule(BlockOf(context)));
        Add(CompileProviderVpcRules(context, all));
        for (const BoundPort& port : ports) Add(CompileProviderPortRules(context, port));
      }
    }
  }

  // What the rules make of a frame, in the model's words.
  ProviderVerdict Run(PipelineSimulator& simulator, const ProviderFrame& frame) const {
    FlowPacket packet;
    RuleTable table = UplinkTable(Pf(frame.pf));
    if (frame.from_port.empty()) {
      packet.in = {DeviceRef::Kind::kUplink,
                   {Pf(frame.pf), 0},
                   kFirstUplink + static_cast<uint32_t>(frame.pf)};
    } else {
      packet.in = representors_.at(frame.from_port);
      table = tables_.at(frame.from_port);
    }
    constexpr uint16_t kEtherTypes[] = {kEtherIpv4, kEtherIpv6, kEtherArp, kEtherQinQ, 0x88cc};
    packet.ethertype = frame.vlan ? kEtherVlan : kEtherTypes[static_cast<size_t>(frame.kind)];
    packet.vlan = frame.vlan;
    packet.src_mac = frame.src_mac;
    packet.dst_mac = frame.dst_mac;
    packet.src_ip = frame.src_ip;
    if (frame.icmpv6_type) packet.protocol = kProtocolIcmp6;
    if (frame.udp_dst_port) packet.protocol = kProtocolUdp;
    packet.icmp_type = frame.icmpv6_type;
    packet.dst_port = frame.udp_dst_port;
    packet.arp_sender_mac = frame.arp_sender_mac;
    packet.arp_sender_ip = frame.src_ip;
    const FlowOutcome outcome = simulator.Run(table, packet);
    ProviderVerdict out;
    const auto reach = [&](const DeviceRef& to, const std::optional<VlanId>& vlan) {
      if (to.kind == DeviceRef::Kind::kUplink) {
        out.uplink = static_cast<int>(to.ifindex - kFirstUplink);
        out.vlan = vlan;
        return;
      }
      for (const auto& [id, representor] : representors_) {
        if (representor == to) out.ports.insert(id);
      }
    };
    for (const FlowOutcome::Copy& copy : outcome.copies) reach(copy.to, copy.vlan);
    if (outcome.kind == FlowOutcome::Kind::kSent) reach(outcome.to, outcome.vlan);
    // What is trapped is looked at by nobody: no slow path listens in a provider network.
    out.host = outcome.kind == FlowOutcome::Kind::kPassedToHost;
    return out;
  }

  Rules rules;

 private:
  void Add(Rules more) { std::move(more.begin(), more.end(), std::back_inserter(rules)); }
  BoundPort Bind(const Port& port, int pf, uint32_t ordinal) {
    BoundPort bound;
    bound.port = port.id;
    bound.ordinal = ordinal;
    bound.vpc = port.vpc;
    bound.vf = {Pf(pf), static_cast<uint16_t>(representors_.size())};
    bound.representor_ifindex = kFirstRepresentor + ordinal;
    bound.mac = *port.mac;
    bound.addresses = port.addresses;
    representors_[port.id] = {DeviceRef::Kind::kRepresentor, bound.vf, bound.representor_ifindex};
    return bound;
  }

  std::map<std::string, DeviceRef> representors_;
  std::map<std::string, RuleTable> tables_;
};

std::string DisagreementOf(uint64_t seed, const RuleChange& mutate, bool tell) {
  std::mt19937_64 random(seed);
  const ProviderNetwork network = RandomProviderNetwork(random);
  Compiled compiled(network);
  if (mutate) mutate(compiled.rules);
  return FirstDisagreement(
      network, compiled, [&] { return RandomProviderFrame(network, random); }, tell);
}

TEST(ProviderModelTest, TheCompiledRulesDoWhatTheIntentSays) { ExpectAgreement(DisagreementOf); }

// Agreement would say little if the frames did not get everywhere.
TEST(ProviderModelTest, TheRandomFramesMeetEveryVerdict) {
  std::map<std::string, int> seen;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    std::mt19937_64 random(seed);
    const ProviderNetwork network = RandomProviderNetwork(random);
    for (uint64_t i = 0; i < kFramesPerNetwork; ++i) {
      const ProviderFrame frame = RandomProviderFrame(network, random);
      const ProviderVerdict verdict = Judge(network, frame);
      const bool from_port = !frame.from_port.empty();
      if (verdict == ProviderVerdict()) ++seen["dropped"];
      if (from_port && verdict.uplink && verdict.vlan) ++seen["out, tagged"];
      if (from_port && verdict.uplink && !verdict.vlan) ++seen["out, untagged"];
      if (from_port && verdict.uplink && !verdict.ports.empty()) ++seen["out, and to neighbours"];
      if (from_port && !verdict.uplink && !verdict.ports.empty()) ++seen["to a neighbour"];
      if (!from_port && verdict.ports.size() == 1) ++seen["in"];
      if (!from_port && verdict.ports.size() > 1) ++seen["in, to several"];
      if (!from_port && verdict.host && !verdict.ports.empty()) ++seen["in, and to the host"];
    }
  }
  EXPECT_EQ(seen.size(), 8u);
  for (const auto& [what, times] : seen) EXPECT_GT(times, 50) << what;
}

bool AtUplink(const FlowRule& rule) {
  return rule.location.table.kind == RuleTable::Kind::kUplinkIngress;
}
bool Out(const FlowRule& rule) {
  const DeviceRef* to = OutputOf(rule);
  return to != nullptr && to->kind == DeviceRef::Kind::kUplink;
}
template <typename T>
void Drop(FlowRule& rule) {
  std::erase_if(rule.actions, [](const RuleAction& a) { return std::holds_alternative<T>(a); });
}

std::vector<Mutation> Mutations() {
  return {
      {"VLAN not pushed", Each(Drop<ActionVlanPush>)},
      {"VLAN not taken off", Each(Drop<ActionVlanPop>)},
      {"another VLAN", Each([](FlowRule& r) {
         for (RuleAction& action : r.actions) {
           if (auto* push = std::get_if<ActionVlanPush>(&action)) push->vlan = *VlanId::Make(103);
         }
       })},
      {"the uplink's VLAN is not looked at", Each([](FlowRule& r) { r.match.vlan.reset(); })},
      {"admit does not check the ARP sender's address",
       Each([](FlowRule& r) { r.match.arp_sender_ip.reset(); })},
      {"admit does not check the ARP sender's MAC",
       Each([](FlowRule& r) { r.match.arp_sender_mac.reset(); })},
      {"admits any address", Each([](FlowRule& r) { r.match.src_ip.reset(); })},
      {"admits ND from any link-local address", Each([](FlowRule& r) {
         const bool own = r.match.src_ip && !r.match.src_ip->address().IsUnspecified();
         if (r.match.icmp_type && own) r.match.src_ip = *IpPrefix::Parse("fe80::/10");
       })},
      {"admits any MAC", Each([](FlowRule& r) { r.match.src_mac.reset(); })},
      {"admits from any port", Each([](FlowRule& r) { r.match.in_device.reset(); })},
      {"tagged frames of guests pass", Each([](FlowRule& r) {
         if (r.match.ethertype == kEtherVlan && !AtUplink(r)) r.actions = {ActionPass{}};
       })},
      {"double-tagged frames of guests pass", Each([](FlowRule& r) {
         if (r.match.ethertype == kEtherQinQ) r.actions = {ActionPass{}};
       })},
      {"no ARP probes",
       Without([](const FlowRule& r) { return r.location.priority == kPrioArpProbe; })},
      {"other ARP goes to the host", Each([](FlowRule& r) {
         if (r.location.priority == kPrioArpOther) r.actions = {ActionPass{}};
       })},
      {"forwards router advertisements",
       Without([](const FlowRule& r) { return MatchesIcmp6(r.match, 134); })},
      {"forwards redirects", Without([](const FlowRule& r) { return MatchesIcmp6(r.match, 137); })},
      {"no duplicate address detection", Without([](const FlowRule& r) {
         return MatchesIcmp6(r.match, 135) && r.match.src_ip->address().IsUnspecified();
       })},
      {"guests may be DHCP servers",
       Without([](const FlowRule& r) { return MatchesUdp(r.match, 68); })},
      {"guests may be DHCPv6 servers",
       Without([](const FlowRule& r) { return MatchesUdp(r.match, 546); })},
      {"no DHCP", Without([](const FlowRule& r) { return MatchesUdp(r.match, 67); })},
      {"DHCP to one station", Each([](FlowRule& r) {
         if (MatchesUdp(r.match, 67)) r.match.dst_mac.reset();
       })},
      {"neighbours hear what is asked of a router",
       [](Rules& rules) {
         std::map<RuleTable, uint32_t> deliver;
         for (const FlowRule& r : rules) {
           if (r.location.priority == kPrioDeliver) deliver[r.location.table] = r.location.chain;
         }
         for (FlowRule& r : rules) {
           if (MatchesIcmp6(r.match, 133)) r.actions = {ActionGotoChain{deliver[r.location.table]}};
         }
       }},
      {"no copies to neighbours", Each([](FlowRule& r) {
         if (!AtUplink(r)) Drop<ActionMirror>(r);
       })},
      {"groups do not leave", Each([](FlowRule& r) {
         if (r.match.dst_group == true && Out(r)) r.actions = {ActionDrop{}};
       })},
      {"stations of the fabric are not reached",
       Without([](const FlowRule& r) { return r.match.dst_group == false; })},
      {"neighbours only by the fabric",
       Without([](const FlowRule& r) { return r.location.priority == kPrioDeliver; })},
      {"only one port hears the fabric's groups", Each([](FlowRule& r) {
         if (AtUplink(r)) Drop<ActionMirror>(r);
       })},
      {"the host misses groups", Each([](FlowRule& r) {
         if (std::holds_alternative<ActionPass>(r.actions.back())) r.actions.back() = ActionDrop{};
       })},
      {"a flat port hears every VLAN", Each([](FlowRule& r) {
         if (AtUplink(r) && !r.match.vlan) r.match.ethertype = kEtherAll;
       })},
      {"a flat port hears no ARP",
       Without([](const FlowRule& r) { return AtUplink(r) && r.match.ethertype == kEtherArp; })},
  };
}

class ProviderMutationTest : public ::testing::TestWithParam<size_t> {};

TEST_P(ProviderMutationTest, IsCaught) { ExpectCaught(Mutations()[GetParam()], DisagreementOf); }

INSTANTIATE_TEST_SUITE_P(All, ProviderMutationTest,
                         ::testing::Range<size_t>(0, Mutations().size()));

}  // namespace
}  // namespace fairlead::pipeline_model
