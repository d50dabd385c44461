// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pipeline/provider.h"

#include <iterator>
#include <utility>

namespace fairlead {
namespace {

constexpr MacAddress kBroadcast({0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
// ff02::1:2 (RFC 8415 section 7.1) and ff02::2 (RFC 4291 section 2.7.1) over Ethernet (RFC 2464
// section 7).
constexpr MacAddress kDhcp6Multicast({0x33, 0x33, 0x00, 0x01, 0x00, 0x02});
constexpr MacAddress kAllRouters({0x33, 0x33, 0x00, 0x00, 0x00, 0x02});
// RFC 2131 section 4.1 and RFC 8415 section 7.2.
constexpr uint16_t kDhcp4ServerPort = 67, kDhcp4ClientPort = 68;
constexpr uint16_t kDhcp6ServerPort = 547, kDhcp6ClientPort = 546;
// RFC 4861 sections 4.1 to 4.5, RFC 3810 section 5.2.
constexpr uint8_t kRouterSolicitation = 133, kRouterAdvertisement = 134;
constexpr uint8_t kNeighbourSolicitation = 135, kNeighbourAdvertisement = 136, kRedirect = 137;
constexpr uint8_t kListenerReport = 143;
// Of what a guest sends, and what reaches it untagged: no other EtherType does.
constexpr uint16_t kEtherTypes[] = {kEtherIpv4, kEtherIpv6, kEtherArp};

IpPrefix Unspecified4() { return IpPrefix::Host(IpAddress()); }
IpPrefix Unspecified6() { return *IpPrefix::Parse("::/128"); }

DeviceRef Representor(const BoundPort& port) {
  return {DeviceRef::Kind::kRepresentor, port.vf, port.representor_ifindex};
}
DeviceRef Uplink(const ProviderContext& vpc) {
  return {DeviceRef::Kind::kUplink, {vpc.pf, 0}, vpc.uplink_ifindex};
}

FlowRule Rule(const RuleLocation& location, uint16_t ethertype, std::vector<RuleAction> actions) {
  FlowRule rule;
  rule.location = location;
  rule.match.ethertype = ethertype;
  rule.actions = std::move(actions);
  return rule;
}

// Out of the NIC, as the fabric has the network.
void AddOut(const ProviderContext& vpc, std::vector<RuleAction>& actions) {
  if (vpc.vlan) actions.push_back(ActionVlanPush{*vpc.vlan});
  actions.push_back(ActionRedirect{Uplink(vpc)});
}
std::vector<RuleAction> Out(const ProviderContext& vpc) {
  std::vector<RuleAction> actions;
  AddOut(vpc, actions);
  return actions;
}

// The rules of a port in chain 0: each matches its representor and its MAC.
class Admission {
 public:
  Admission(const ProviderContext& vpc, const BoundPort& port, std::vector<FlowRule>& out)
      : vpc_(vpc), port_(port), out_(out) {}

  void AddAll() {
    std::vector<AddressPair> owned;
    for (const IpAddress& address : port_.addresses) {
      owned.push_back({port_.mac, IpPrefix::Host(address)});
    }
    owned.insert(owned.end(), port_.pairs.begin(), port_.pairs.end());
    uint16_t next4 = kPrioAdmit4, next6 = kPrioAdmit6, next_arp = kPrioArpOwn;
    for (const AddressPair& pair : owned) {
      const bool v4 = pair.prefix.address().is_v4();
      FlowRule& own = Add(v4 ? next4++ : next6++, v4 ? kEtherIpv4 : kEtherIpv6, Deliver());
      own.match.src_mac = pair.mac.value_or(port_.mac);
      own.match.src_ip = pair.prefix;
      if (v4) AddArp(next_arp++, pair.mac.value_or(port_.mac), pair.prefix);
    }
    // Whether an address is in use (RFC 5227 section 2.1.1), which tells nobody whose it is.
    AddArp(kPrioArpProbe, port_.mac, Unspecified4());
    AddNd();
    FlowRule& dhcp4 = Add(kPrioDhcp4Out, kEtherIpv4, Out(vpc_));
    dhcp4.match.src_ip = Unspecified4();
    dhcp4.match.dst_mac = kBroadcast;
    MatchUdp(dhcp4.match, kDhcp4ServerPort);
    FlowRule& dhcp6 = Add(kPrioDhcp6Out, kEtherIpv6, Out(vpc_));
    dhcp6.match.src_ip = own_link_local_;
    dhcp6.match.dst_mac = kDhcp6Multicast;
    MatchUdp(dhcp6.match, kDhcp6ServerPort);
  }

 private:
  std::vector<RuleAction> Deliver() const { return {ActionGotoChain{vpc_.ordinal}}; }

  FlowRule& Add(uint16_t priority, uint16_t ethertype, std::vector<RuleAction> actions) {
    out_.push_back(
        Rule({BlockOf(vpc_), 0, priority, port_.ordinal}, ethertype, std::move(actions)));
    FlowRule& rule = out_.back();
    rule.match.in_device = Representor(port_);
    rule.match.src_mac = port_.mac;
    rule.offload = port_.offload;
    return rule;
  }

  void AddArp(uint16_t priority, const MacAddress& mac, const IpPrefix& sender) {
    FlowRule& rule = Add(priority, kEtherArp, Deliver());
    rule.match.src_mac = rule.match.arp_sender_mac = mac;
    rule.match.arp_sender_ip = sender;
    rule.offload = OffloadWish::kOff;  // no ConnectX looks into ARP
  }

  void AddNd() {
    struct Kind {
      uint8_t type;
      IpPrefix from;
    };
    // Neighbours on this PF are to hear it too: the fabric's switch sends no frame back by the
    // port that it came by.
    const Kind kinds[] = {{kNeighbourSolicitation, own_link_local_},
                          {kNeighbourSolicitation, Unspecified6()},  // RFC 4862 section 5.4.2
                          {kNeighbourAdvertisement, own_link_local_},
                          {kListenerReport, own_link_local_}};
    uint16_t priority = kPrioNdOwn;
    for (const Kind& kind : kinds) {
      FlowRule& rule = Add(priority++, kEtherIpv6, Deliver());
      MatchIcmp6(rule.match, kind.type);
      rule.match.src_ip = kind.from;
    }
    FlowRule& solicitation = Add(priority, kEtherIpv6, Out(vpc_));
    MatchIcmp6(solicitation.match, kRouterSolicitation);
    solicitation.match.src_ip = own_link_local_;
    solicitation.match.dst_mac = kAllRouters;
  }

  const ProviderContext& vpc_;
  const BoundPort& port_;
  // The one of its MAC. Of any other it could say that it is the fabric's router.
  const IpPrefix own_link_local_ = IpPrefix::Host(LinkLocalOf(port_.mac));
  std::vector<FlowRule>& out_;
};

// What a guest sends to a group: a copy to each other port, and out.
FlowRule GroupOf(const ProviderContext& vpc, const BoundPort& sender,
                 const std::vector<const BoundPort*>& ports) {
  FlowRule rule = Rule({BlockOf(vpc), vpc.ordinal, kPrioGroup, sender.ordinal}, kEtherAll, {});
  rule.match.in_device = Representor(sender);
  rule.match.dst_group = true;
  for (const BoundPort* other : ports) {
    if (other->vf != sender.vf) rule.actions.push_back(ActionMirror{Representor(*other)});
  }
  AddOut(vpc, rule.actions);
  return rule;
}

// What the fabric sends to a group.
void AddGroupsFromUplink(const ProviderContext& vpc, const std::vector<const BoundPort*>& ports,
                         std::vector<FlowRule>& out) {
  if (ports.empty()) return;
  std::vector<RuleAction> copies;
  for (const BoundPort* port : ports) copies.push_back(ActionMirror{Representor(*port)});
  if (vpc.vlan) {
    copies.insert(copies.begin(), ActionVlanPop{});
    copies.back() = ActionRedirect{Representor(*ports.back())};
    FlowRule rule =
        Rule({UplinkTable(vpc.pf), 0, kPrioUplinkVlanGroup, vpc.ordinal}, kEtherVlan, copies);
    rule.match.vlan = vpc.vlan;
    rule.match.dst_group = true;
    out.push_back(std::move(rule));
    return;
  }
  copies.push_back(ActionPass{});
  uint16_t priority = kPrioUplinkFlatGroup;
  for (const uint16_t ethertype : kEtherTypes) {
    FlowRule rule = Rule({UplinkTable(vpc.pf), 0, priority++, vpc.ordinal}, ethertype, copies);
    rule.match.dst_group = true;
    // mlx5 makes no copies of what it passes on, and does not say so.
    rule.offload = OffloadWish::kOff;
    out.push_back(std::move(rule));
  }
}

void AddFromUplink(const ProviderContext& vpc, const BoundPort& port, std::vector<FlowRule>& out) {
  const auto add = [&](uint16_t priority, uint16_t ethertype) -> FlowRule& {
    out.push_back(Rule({UplinkTable(vpc.pf), 0, priority, port.ordinal}, ethertype,
                       {ActionRedirect{Representor(port)}}));
    out.back().match.dst_mac = port.mac;
    out.back().offload = port.offload;
    return out.back();
  };
  if (vpc.vlan) {
    FlowRule& rule = add(kPrioUplinkVlan, kEtherVlan);
    rule.match.vlan = vpc.vlan;
    rule.actions.insert(rule.actions.begin(), ActionVlanPop{});
    return;
  }
  // "All protocols" would take tagged frames too, of whatever VLAN.
  uint16_t priority = kPrioUplinkFlat;
  for (const uint16_t ethertype : kEtherTypes) add(priority++, ethertype);
}

}  // namespace

RuleTable BlockOf(const ProviderContext& vpc) {
  return {.kind = RuleTable::Kind::kProviderBlock,
          .pf = vpc.pf,
          .vlan = vpc.vlan ? vpc.vlan->value() : uint16_t{0}};
}

std::vector<FlowRule> CompileProviderVpcRules(const ProviderContext& vpc,
                                              const std::vector<const BoundPort*>& ports) {
  std::vector<FlowRule> out;
  const auto add = [&](uint32_t chain, uint16_t priority, uint16_t ethertype,
                       std::vector<RuleAction> actions) -> RuleMatch& {
    out.push_back(
        Rule({BlockOf(vpc), chain, priority, vpc.ordinal}, ethertype, std::move(actions)));
    return out.back().match;
  };
  add(0, kPrioVlan, kEtherVlan, {ActionDrop{}});
  add(0, kPrioQinQ, kEtherQinQ, {ActionDrop{}});
  // What only a router, or a DHCP server, sends; in a provider network the fabric has them.
  MatchIcmp6(add(0, kPrioNd + 2, kEtherIpv6, {ActionDrop{}}), kRouterAdvertisement);
  MatchIcmp6(add(0, kPrioNd + 4, kEtherIpv6, {ActionDrop{}}), kRedirect);
  MatchUdp(add(0, kPrioDhcpReply4, kEtherIpv4, {ActionDrop{}}), kDhcp4ClientPort);
  MatchUdp(add(0, kPrioDhcpReply6, kEtherIpv6, {ActionDrop{}}), kDhcp6ClientPort);
  // A NIC that has the drop at the end of the chain, and cannot look into ARP, hands all of it to
  // the software, which has asked its own rules before this one: nobody listens there.
  add(0, kPrioArpOther, kEtherArp, {ActionTrap{}});

  for (const BoundPort* port : ports) out.push_back(GroupOf(vpc, *port, ports));
  // Likewise of a NIC that does not take a rule with so many copies.
  add(vpc.ordinal, kPrioGroupByHost, kEtherAll, {ActionTrap{}}).dst_group = true;
  // The one place where a frame goes on and no rule names its destination: the fabric's switch
  // knows it. Only what chain 0 has admitted comes here.
  add(vpc.ordinal, kPrioToUplink, kEtherAll, Out(vpc)).dst_group = false;
  out.push_back(
      Rule({BlockOf(vpc), vpc.ordinal, kPrioDefaultDrop, vpc.ordinal}, kEtherAll, {ActionDrop{}}));
  AddGroupsFromUplink(vpc, ports, out);
  return out;
}

std::vector<FlowRule> CompileProviderPortRules(const ProviderContext& vpc, const BoundPort& port) {
  std::vector<FlowRule> out;
  FlowRule deliver = Rule({BlockOf(vpc), vpc.ordinal, kPrioDeliver, port.ordinal}, kEtherAll,
                          {ActionRedirect{Representor(port)}});
  deliver.match.dst_mac = port.mac;
  deliver.offload = port.offload;
  out.push_back(deliver);
  if (port.offload == OffloadWish::kMust) {  // as CompilePortRules has it
    deliver.location.priority = kPrioHardwareProof;
    deliver.actions = {ActionDrop{}};
    out.push_back(std::move(deliver));
  }
  AddFromUplink(vpc, port, out);
  Admission(vpc, port, out).AddAll();
  return out;
}

}  // namespace fairlead
