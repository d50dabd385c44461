// SPDX-License-Identifier: Apache-2.0
//
// The guest's part of a flow, and what the intent says about where it can end.
#include <algorithm>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/compile/explain_flow.h"
#include "dataplane/pipeline/provider.h"

namespace fairlead {
namespace {

constexpr uint8_t kEchoRequest4 = 8;    // RFC 792
constexpr uint8_t kEchoRequest6 = 128;  // RFC 4443 section 4.1
constexpr MacAddress kBroadcast({0xff, 0xff, 0xff, 0xff, 0xff, 0xff});

std::string_view Family(const IpAddress& address) { return address.is_v4() ? "IPv4" : "IPv6"; }

const std::optional<IpPrefix>& PrefixOf(const Subnet& subnet, const IpAddress& like) {
  return like.is_v4() ? subnet.prefix4 : subnet.prefix6;
}
const std::optional<IpAddress>& GatewayOf(const Subnet& subnet, const IpAddress& like) {
  return like.is_v4() ? subnet.gateway4 : subnet.gateway6;
}

// The MAC that a group's packets go to (RFC 1112 section 6.4, RFC 2464 section 7), or that of a
// broadcast; none: the address is one station's.
std::optional<MacAddress> GroupMac(const IpAddress& to, const Subnet& subnet) {
  const std::span<const uint8_t> b = to.bytes();
  if (to.is_v6()) return to.IsMulticast() ? std::optional(MulticastMac6(to)) : std::nullopt;
  if (to.IsMulticast()) {
    return MacAddress({0x01, 0x00, 0x5e, static_cast<uint8_t>(b[1] & 0x7f), b[2], b[3]});
  }
  const bool limited = std::all_of(b.begin(), b.end(), [](uint8_t octet) { return octet == 0xff; });
  const bool directed = subnet.prefix4 && subnet.prefix4->length() < 31 &&  // RFC 3021
                        to == subnet.prefix4->Last();
  return limited || directed ? std::optional(kBroadcast) : std::nullopt;
}

std::string PeersText(const std::vector<IpPrefix>& peers) {
  std::vector<std::string> words;
  for (const IpPrefix& prefix : peers) words.push_back(prefix.ToString());
  return StrJoin(words, ", ");
}

class SceneBuilder {
 public:
  SceneBuilder(const FlowQuestion& question, const FlowHost& host)
      : q_(question), host_(host), world_(*host.world) {}

  absl::StatusOr<FlowScene> Build() {
    FAIRLEAD_RETURN_IF_ERROR(q_.vtep              ? FromTunnel()
                             : !q_.uplink.empty() ? FromUplink()
                                                  : FromPort());
    return std::move(scene_);
  }

 private:
  // "port/b is not attached here (pending: no free VF)", "endpoint/far is failed: ..."; "" = it
  // is as it should be.
  std::string Trouble(const ObjectRef& ref) const {
    const std::string state = host_.state(ref);
    if (ref.kind == ObjectKind::kPort && host_.bound(ref.id) == nullptr) {
      return StrCat(ref.ToString(), " is not attached here",
                    state.empty() ? "" : StrCat(" (", state, ")"));
    }
    return state.empty() ? "" : StrCat(ref.ToString(), " is ", state);
  }
  // Unless another note has the same words in it.
  void Note(const std::string& words) {
    std::vector<std::string>& notes = scene_.begun.notes;
    const bool said = std::any_of(notes.begin(), notes.end(), [&](const std::string& note) {
      return note.find(words) != std::string::npos;
    });
    if (!words.empty() && !said) notes.push_back(words);
  }
  std::string SubnetOf(const ObjectRef& ref) const {
    if (ref.kind == ObjectKind::kPort) return world_.FindPort(ref.id)->subnet;
    return ref.kind == ObjectKind::kEndpoint ? world_.FindEndpoint(ref.id)->subnet : ref.id;
  }
  bool InSubnet(const IpAddress& address) const {
    const auto& subnets = world_.SubnetsOfVpc(vpc_->id);
    return std::any_of(subnets.begin(), subnets.end(), [&](const std::string& id) {
      return world_.FindSubnet(id)->Contains(address);
    });
  }
  std::string Nobody(std::string_view what) const {
    return StrCat("no port or endpoint of VPC ", vpc_->id, " has ", what);
  }
  // `pf`: where they are the only ones that a rule can lead to.
  void TakePorts(const std::optional<NicId>& pf = std::nullopt) {
    for (const std::string& id : world_.PortsOfVpc(vpc_->id)) {
      const BoundPort* port = host_.bound(id);
      if (port != nullptr && (!pf || port->vf.pf == *pf)) scene_.ports[port->vf] = id;
    }
  }

  // Of the scene's table. `why`: as FlowScene::Chain.
  void AddChain(uint32_t chain, std::string why) {
    scene_.chains[chain] = {StageOf(world_, scene_.table, chain), std::move(why)};
  }

  absl::Status FromPort();
  absl::Status FromTunnel();
  // In a provider network:
  absl::Status FromProviderPort();
  absl::Status FromUplink();
  bool AsksNobody();
  void AskFabric();
  absl::Status TakePacket();
  void TakeNeighbourQuestion();
  void AnswerNeighbourQuestion();
  void AnswerRouterSolicitation();
  void NoteTarget();
  void FindNextHop();
  FlowExplanation::Lookup AskFor(const IpAddress& next_hop);
  std::string WhyNotAdmitted() const;
  std::string WhyNotAnswered() const;
  std::string WhyNotTold(const IpAddress& to, const FlowExplanation::Lookup& known) const;
  bool OwnsMac(const MacAddress& mac) const;
  std::string WhyNotDelivered() const;
  std::string WhyNotRouted() const;
  void TakeRoutes();
  bool IsIcmpError() const;
  void SayWhatIsAnswered();

  const FlowQuestion& q_;
  const FlowHost& host_;
  const World& world_;
  FlowScene scene_;
  const Vpc* vpc_ = nullptr;
  const Subnet* subnet_ = nullptr;
  const BoundPort* from_ = nullptr;
};

absl::Status SceneBuilder::FromPort() {
  const ObjectRef ref{ObjectKind::kPort, q_.port};
  const Port* port = world_.FindPort(q_.port);
  if (port == nullptr) return absl::NotFoundError(StrCat(ref.ToString(), " is not there"));
  vpc_ = world_.FindVpc(port->vpc);
  subnet_ = world_.FindSubnet(port->subnet);
  if (vpc_->vlan && host_.bound(q_.port) == nullptr && host_.state(ref).empty()) {
    return absl::FailedPreconditionError(
        StrCat(ref.ToString(), " is in ", SegmentName(*vpc_),
               ", where its NIC forwards by MAC and VLAN: its packets meet no rule of this host"));
  }
  if (port->function == FunctionSource::kHotplug) {
    return absl::FailedPreconditionError(
        StrCat(ref.ToString(),
               " has a function that hot-plug brings, and whoever brings it "
               "forwards for it: its packets meet no rule of this host"));
  }
  from_ = host_.bound(q_.port);
  if (from_ == nullptr) {
    return absl::FailedPreconditionError(
        StrCat(Trouble(ref), ": there is no rule for what its guest sends"));
  }
  scene_.begun.from = ref.ToString();
  scene_.packet.in = {DeviceRef::Kind::kRepresentor, from_->vf, from_->representor_ifindex};
  Note(Trouble(ref));
  if (vpc_->is_provider()) return FromProviderPort();
  scene_.table = {RuleTable::Kind::kVpcBlock, *vpc_->vni};
  TakePorts();
  FAIRLEAD_RETURN_IF_ERROR(TakePacket());
  if (q_.neighbour) {
    AnswerNeighbourQuestion();
  } else {
    NoteTarget();
    const FlowPacket& packet = scene_.packet;
    if (packet.protocol == kProtocolIcmp6 && packet.icmp_type == kRouterSolicitation)
      AnswerRouterSolicitation();
    if (!scene_.begun.packet.dst_mac) FindNextHop();
    if (!scene_.not_sent.empty()) return absl::OkStatus();
  }
  scene_.packet.dst_mac = *scene_.begun.packet.dst_mac;
  AddChain(0, WhyNotAdmitted());
  AddChain(world_.Find({ObjectKind::kSubnet, subnet_->id})->ordinal, WhyNotDelivered());
  AddChain(world_.Find({ObjectKind::kVpc, vpc_->id})->ordinal, WhyNotRouted());
  TakeRoutes();
  SayWhatIsAnswered();
  AddSecurity(host_, *world_.Find({ObjectKind::kVpc, vpc_->id}),
              *world_.Find({ObjectKind::kSubnet, subnet_->id}), *from_, scene_);
  return absl::OkStatus();
}

// What its guest's own stack makes of the packet, as far as this host can know: the router and
// the neighbours on other hosts are the fabric's.
absl::Status SceneBuilder::FromProviderPort() {
  const NicId& pf = from_->vf.pf;
  scene_.table = BlockOf(ProviderContext{vpc_->vlan, 0, pf, 0});
  if (const auto nic = host_.pfs->find(pf); nic != host_.pfs->end()) {
    scene_.uplink = nic->second.netdev;
  }
  TakePorts(pf);
  FAIRLEAD_RETURN_IF_ERROR(TakePacket());
  if (!scene_.begun.packet.dst_mac) AskFabric();
  if (!scene_.not_sent.empty()) return absl::OkStatus();
  // One that no port has stands for all that this host does not know.
  constexpr MacAddress kSomebody({0x02, 0, 0, 0, 0, 0});
  scene_.packet.dst_mac = scene_.begun.packet.dst_mac.value_or(kSomebody);
  AddChain(0, WhyNotAdmitted());
  AddChain(world_.Find({ObjectKind::kVpc, vpc_->id})->ordinal, "");
  return absl::OkStatus();
}

// Whether the guest sends to a group, or to itself.
bool SceneBuilder::AsksNobody() {
  const IpAddress& to = *q_.to;
  if (const std::optional<MacAddress> group = GroupMac(to, *subnet_)) {
    scene_.begun.packet.dst_mac = group;
    return true;
  }
  const auto& own = from_->addresses;
  if (std::find(own.begin(), own.end(), to) == own.end()) return false;
  scene_.not_sent = StrCat(to.ToString(), " is the port's own address: its guest keeps the packet");
  return true;
}

void SceneBuilder::AskFabric() {
  if (AsksNobody()) return;
  const IpAddress& to = *q_.to;
  if (!PrefixOf(*subnet_, to)->Contains(to)) {
    Note(StrCat(to.ToString(), " is in another subnet than ", subnet_->id,
                ": the guest sends to its router, which is the fabric's"));
    return;
  }
  FlowExplanation::Lookup& lookup = scene_.begun.lookup.emplace();
  lookup.question = StrCat(to.is_v4() ? "ARP" : "ND", ": who has ", to.ToString(), "?");
  const std::optional<ObjectRef> owner = world_.OwnerOfAddress(vpc_->id, to);
  const BoundPort* port =
      owner && owner->kind == ObjectKind::kPort ? host_.bound(owner->id) : nullptr;
  if (port == nullptr) {
    lookup.why = StrCat("whoever has it on the fabric answers", owner ? "; here " : "",
                        owner ? Trouble(*owner) : "");
    return;
  }
  lookup.mac = scene_.begun.packet.dst_mac = port->mac;
  lookup.why = StrCat("the guest of ", owner->ToString(), " answers");
}

absl::Status SceneBuilder::FromUplink() {
  const PfFacts* pf = nullptr;
  for (const auto& [nic, facts] : *host_.pfs) {
    const bool named = facts.netdev == q_.uplink || nic.ToString() == q_.uplink;
    if (named && !facts.is_hotplug_port()) pf = &facts;
  }
  if (pf == nullptr) {
    return absl::NotFoundError(
        StrCat(Quoted(q_.uplink), " is no PF that the configuration lists and this host has"));
  }
  if (!q_.dst_mac) return absl::InvalidArgumentError("a packet by an uplink has a MAC");
  if (pf->serves() == PfFacts::Serves::kVlan) {
    return absl::FailedPreconditionError(
        StrCat(pf->netdev, " forwards by MAC and VLAN: its packets meet no rule of this host"));
  }
  scene_.uplink = pf->netdev;
  scene_.begun.from = StrCat("uplink/", pf->netdev);
  scene_.begun.packet.dst_mac = q_.dst_mac;
  scene_.table = UplinkTable(pf->id);
  FlowPacket& packet = scene_.packet;
  packet.in = {DeviceRef::Kind::kUplink, {pf->id, 0}, pf->ifindex};
  packet.dst_mac = *q_.dst_mac;
  scene_.begun.packet.vlan = packet.vlan = q_.vlan;
  packet.ethertype = q_.vlan ? kEtherVlan : kEtherIpv4;
  const std::optional<ObjectRef> vpc = q_.vlan ? world_.OwnerOfVlan(*q_.vlan) : world_.FlatVpc();
  if (!vpc) {
    AddChain(0, q_.vlan ? StrCat("no VPC of this host has the VLAN ", q_.vlan->value())
                        : std::string("no VPC of this host is flat"));
    return absl::OkStatus();
  }
  vpc_ = world_.FindVpc(vpc->id);
  TakePorts(pf->id);
  AddChain(0, StrCat("no port of VPC ", vpc_->id, " on ", pf->netdev,
                     q_.dst_mac->IsMulticast() ? std::string(" is there")
                                               : StrCat(" has the MAC ", q_.dst_mac->ToString())));
  return absl::OkStatus();
}

absl::Status SceneBuilder::FromTunnel() {
  if (host_.tunnel == nullptr) {
    return absl::FailedPreconditionError(
        "this host has no tunnel: no port of an overlay is attached here");
  }
  const TunnelFacts& tunnel = *host_.tunnel;
  if (!q_.vni || !q_.dst_mac) {
    return absl::InvalidArgumentError("a packet by the tunnel has a VNI and an inner MAC");
  }
  if (*q_.vtep == tunnel.local) {
    return absl::InvalidArgumentError(
        StrCat("the VTEP ", q_.vtep->ToString(), " is this host's own"));
  }
  if (q_.vtep->is_v4() != tunnel.local.is_v4()) {
    return absl::InvalidArgumentError(StrCat("the VTEP ", q_.vtep->ToString(),
                                             " is of another address family than this host's, ",
                                             tunnel.local.ToString()));
  }
  scene_.begun.from = StrCat("vtep/", q_.vtep->ToString());
  scene_.begun.packet.dst_mac = q_.dst_mac;
  scene_.table = {RuleTable::Kind::kTunnelIngress, {}};
  FlowPacket& packet = scene_.packet;
  packet.in = {DeviceRef::Kind::kTunnel, {}, tunnel.ifindex};
  packet.dst_mac = *q_.dst_mac;
  packet.vni = q_.vni;
  packet.outer_src = q_.vtep;
  packet.outer_dst = tunnel.local;
  packet.outer_udp_port = tunnel.udp_port;
  scene_.begun.packet.vlan = packet.vlan = q_.vlan;
  if (q_.vlan) packet.ethertype = kEtherVlan;
  const std::optional<ObjectRef> vpc = world_.OwnerOfVni(*q_.vni);
  if (!vpc) {
    AddChain(0, StrCat("no VPC of this host has the VNI ", q_.vni->value()));
    return absl::OkStatus();
  }
  vpc_ = world_.FindVpc(vpc->id);
  if (world_.SecurityModeOf(vpc_->id) != SecurityMode::kNone) {
    return absl::UnimplementedError(
        StrCat("VPC ", vpc_->id,
               " has security groups, which ask for more of a packet than its MAC: "
               "ask about what a port sends"));
  }
  TakePorts();
  const std::optional<ObjectRef> owner = world_.OwnerOfMac(vpc_->id, *q_.dst_mac);
  const bool port = owner && owner->kind == ObjectKind::kPort;
  std::string why = port ? Trouble(*owner)
                         : StrCat("no port of VPC ", vpc_->id, " has the MAC ",
                                  q_.dst_mac->ToString(), " on this host");
  if (host_.tunnel_config != nullptr && !IsPeer(*host_.tunnel_config, *q_.vtep)) {
    why = StrCat("the VTEP ", q_.vtep->ToString(),
                 " is none of the hosts that may send by the tunnel (tunnel.peers: ",
                 PeersText(host_.tunnel_config->peers), ")");
  }
  AddChain(0, std::move(why));
  return absl::OkStatus();
}

// What does not depend on the next hop.
absl::Status SceneBuilder::TakePacket() {
  if (!q_.to) return absl::InvalidArgumentError("the packet has no destination");
  const IpAddress& to = *q_.to;
  if (to.IsUnspecified() || to.IsLoopback()) {
    return absl::InvalidArgumentError(StrCat(to.ToString(), " is no address to send to"));
  }
  if (IsLinkLocal6(to)) {
    return absl::UnimplementedError(
        StrCat(to.ToString(), " is link-local: nobody tells this host who has such an address"));
  }
  if (!PrefixOf(*subnet_, to)) {
    return absl::InvalidArgumentError(StrCat(to.ToString(), " is ", Family(to), ", and subnet ",
                                             subnet_->id, " of port/", q_.port,
                                             " has no such prefix"));
  }
  std::optional<IpAddress> src = q_.src;
  if (!src) {
    const auto own = std::find_if(from_->addresses.begin(), from_->addresses.end(),
                                  [&](const IpAddress& a) { return a.is_v4() == to.is_v4(); });
    if (own == from_->addresses.end()) {
      return absl::InvalidArgumentError(
          StrCat("port/", q_.port, " has no ", Family(to), " address: a source has to be named"));
    }
    src = *own;
  }
  if (src->is_v4() != to.is_v4()) {
    return absl::InvalidArgumentError(StrCat("the source ", src->ToString(), " is ", Family(*src),
                                             ", the destination ", to.ToString(), " ", Family(to)));
  }
  FlowExplanation::Packet& out = scene_.begun.packet;
  out.src = src;
  out.dst = to;
  out.src_mac = q_.src_mac.value_or(from_->mac);
  out.dst_mac = q_.dst_mac;
  out.protocol = q_.protocol.value_or(to.is_v4() ? kProtocolIcmp4 : kProtocolIcmp6);
  out.src_port = q_.src_port;
  out.dst_port = q_.dst_port;
  out.fragment = q_.fragment;
  out.ttl = q_.ttl;
  out.icmp_type = q_.icmp_type;
  out.vlan = q_.vlan;
  FlowPacket& packet = scene_.packet;
  packet.ethertype = to.is_v4() ? kEtherIpv4 : kEtherIpv6;
  packet.src_mac = *out.src_mac;
  packet.src_ip = *src;
  packet.dst_ip = to;
  packet.ttl = q_.ttl;
  packet.protocol = out.protocol;
  if (q_.neighbour) TakeNeighbourQuestion();
  if (!q_.neighbour && !q_.fragment) {  // flower sees no further than to that header
    if (out.protocol == (to.is_v4() ? kProtocolIcmp4 : kProtocolIcmp6)) {
      packet.icmp_type = q_.icmp_type.value_or(to.is_v4() ? kEchoRequest4 : kEchoRequest6);
      packet.icmp_code = 0;
    }
    if (out.protocol == kProtocolUdp || out.protocol == kProtocolTcp) packet.dst_port = q_.dst_port;
  }
  if (q_.vlan) {
    packet.ethertype = kEtherVlan;
    packet.vlan = q_.vlan;
  }
  return absl::OkStatus();
}

// ARP (RFC 826), or a neighbour solicitation (RFC 4861 section 4.3).
void SceneBuilder::TakeNeighbourQuestion() {
  const IpAddress& to = *q_.to;
  FlowExplanation::Packet& out = scene_.begun.packet;
  FlowPacket& packet = scene_.packet;
  out.neighbour = true;
  if (to.is_v4()) {
    out.protocol.reset();
    packet.protocol.reset();
    out.arp_mac = q_.arp_mac.value_or(*out.src_mac);
    if (!out.dst_mac) out.dst_mac = kBroadcast;
    packet.ethertype = kEtherArp;
    packet.arp_sender_mac = out.arp_mac;
    packet.arp_sender_ip = out.src;
    return;
  }
  packet.dst_ip = SolicitedNodeOf(to);
  packet.protocol = kProtocolIcmp6;
  packet.icmp_type = kNeighbourSolicitation;
  packet.ttl = out.ttl = kNdHopLimit;
  if (!out.dst_mac) out.dst_mac = MulticastMac6(packet.dst_ip);
}

bool SceneBuilder::OwnsMac(const MacAddress& mac) const {
  const auto& pairs = from_->pairs;
  return mac == from_->mac || std::any_of(pairs.begin(), pairs.end(),
                                          [&mac](const AddressPair& p) { return p.mac == mac; });
}

// Why the slow path is asked nothing that counts, by whom the question names; "" if it is asked.
// As it does it itself, here and below: dataplane/slowpath/arp_nd.cc.
std::string SceneBuilder::WhyNotAnswered() const {
  const FlowExplanation::Packet& packet = scene_.begun.packet;
  if (packet.vlan) return "it takes no frame with a tag";
  const bool anonymous = packet.src->IsUnspecified();  // RFC 5227 2.1.1, RFC 4862 5.4.2
  const bool lies = packet.arp_mac && packet.arp_mac != packet.src_mac;
  if (!lies && OwnsMac(*packet.src_mac) && (anonymous || IsLinkLocal6(*packet.src))) return "";
  return WhyNotAdmitted();
}

// Why a port that may ask is not told who has the address, though that is known; "" if it is.
std::string SceneBuilder::WhyNotTold(const IpAddress& to,
                                     const FlowExplanation::Lookup& known) const {
  const IpPrefix& prefix = *PrefixOf(*subnet_, to);
  if (!prefix.Contains(to)) {
    return StrCat(to.ToString(), " is not in ", prefix.ToString(), " of subnet ", subnet_->id);
  }
  const auto& own = from_->addresses;
  if (std::find(own.begin(), own.end(), to) != own.end()) return "it is the port's own";
  if (scene_.begun.packet.src == to) {
    return "who asks for the address that it sends from announces it";
  }
  return known.mac && OwnsMac(*known.mac) ? "it is behind the port itself" : "";
}

void SceneBuilder::AnswerNeighbourQuestion() {
  const IpAddress& to = *q_.to;
  FlowExplanation::Lookup lookup = AskFor(to);
  std::string why = WhyNotAnswered();
  if (why.empty()) why = WhyNotTold(to, lookup);
  if (!why.empty()) {
    lookup.mac.reset();
    lookup.why = why;
  }
  scene_.asked = StrCat("the slow path answers",
                        lookup.mac ? StrCat(": ", lookup.mac->ToString()) : " nothing: ",
                        lookup.mac ? "" : lookup.why);
  scene_.begun.lookup = std::move(lookup);
}

void SceneBuilder::AnswerRouterSolicitation() {
  std::string why = WhyNotAnswered();
  if (why.empty() && q_.ttl != kNdHopLimit) {
    why = StrCat("its hop limit is ", q_.ttl, " and not ", kNdHopLimit);
  }
  scene_.asked = why.empty() ? "the slow path answers with a router advertisement"
                             : StrCat("the slow path answers nothing: ", why);
}

// What may keep the packet from arriving though rules lead there.
void SceneBuilder::NoteTarget() {
  const std::optional<ObjectRef> owner = world_.OwnerOfAddress(vpc_->id, *q_.to);
  if (!owner || owner->kind == ObjectKind::kSubnet) return;
  const bool there = owner->kind != ObjectKind::kPort || host_.bound(owner->id) != nullptr;
  if (there) Note(Trouble(*owner));
}

// As the guest's stack does it: by its own prefix, or its gateway.
void SceneBuilder::FindNextHop() {
  if (AsksNobody()) return;
  const IpAddress& to = *q_.to;
  const IpPrefix& prefix = *PrefixOf(*subnet_, to);
  const std::optional<IpAddress>& gateway = GatewayOf(*subnet_, to);
  if (!prefix.Contains(to) && !gateway) {
    scene_.not_sent = StrCat(to.ToString(), " is not in ", prefix.ToString(), " of subnet ",
                             subnet_->id, ", which has no ", Family(to), " gateway");
    return;
  }
  FlowExplanation::Lookup lookup = AskFor(prefix.Contains(to) ? to : *gateway);
  scene_.begun.packet.dst_mac = lookup.mac;
  if (!lookup.mac) scene_.not_sent = StrCat(lookup.why, ", so nobody answers the guest");
  scene_.begun.lookup = std::move(lookup);
}

// What fairlead-slowpath answers (dataplane/slowpath), which is told the same.
FlowExplanation::Lookup SceneBuilder::AskFor(const IpAddress& next_hop) {
  FlowExplanation::Lookup lookup;
  lookup.question = StrCat(next_hop.is_v4() ? "ARP" : "ND", ": who has ", next_hop.ToString(), "?");
  Note(host_.not_answered(q_.port));
  const std::optional<ObjectRef> owner = world_.OwnerOfAddress(vpc_->id, next_hop);
  if (next_hop == GatewayOf(*subnet_, next_hop)) {
    lookup.mac = kGatewayMac;
    lookup.why = StrCat("the gateway of subnet ", subnet_->id);
  } else if (owner && owner->kind == ObjectKind::kEndpoint) {
    lookup.mac = world_.FindEndpoint(owner->id)->mac;
    lookup.why = owner->ToString();
  } else if (owner && owner->kind == ObjectKind::kPort) {
    const BoundPort* port = host_.bound(owner->id);
    if (port != nullptr) lookup.mac = port->mac;
    lookup.why = port != nullptr ? owner->ToString() : Trouble(*owner);
  } else {
    lookup.why = Nobody(next_hop.ToString());
  }
  return lookup;
}

std::string SceneBuilder::WhyNotAdmitted() const {
  const FlowExplanation::Packet& packet = scene_.begun.packet;
  if (packet.arp_mac && packet.arp_mac != packet.src_mac) {
    return StrCat("the sender's MAC in the ARP, ", packet.arp_mac->ToString(),
                  ", is not the frame's, ", packet.src_mac->ToString());
  }
  std::vector<AddressPair> owned = from_->pairs;
  for (const IpAddress& address : from_->addresses) {
    owned.push_back({from_->mac, IpPrefix::Host(address)});
  }
  bool mac = false, address = false;
  for (const AddressPair& pair : owned) {
    const bool same_mac = pair.mac.value_or(from_->mac) == *packet.src_mac;
    const bool same_address = pair.prefix.Contains(*packet.src);
    if (same_mac && same_address) return "";
    mac = mac || same_mac;
    address = address || same_address;
  }
  if (address && mac) {
    return StrCat("the port may not send from ", packet.src->ToString(), " with the MAC ",
                  packet.src_mac->ToString());
  }
  if (!mac && *packet.src_mac != from_->mac) {
    return StrCat("the source MAC ", packet.src_mac->ToString(), " is not the port's, ",
                  from_->mac.ToString(), ", nor of its allowed pairs");
  }
  return StrCat("the source address ", packet.src->ToString(),
                " is not the port's, nor in its allowed pairs");
}

std::string SceneBuilder::WhyNotDelivered() const {
  const MacAddress& mac = *scene_.begun.packet.dst_mac;
  if (mac == kGatewayMac) {
    return StrCat("subnet ", subnet_->id, " has no ", Family(*q_.to), " gateway");
  }
  if (mac.IsMulticast()) return "broadcasts and multicasts go to nobody";
  std::optional<ObjectRef> owner = world_.OwnerOfMac(vpc_->id, mac);
  if (const auto port = host_.port_with_mac(vpc_->id, mac)) {
    owner = ObjectRef{ObjectKind::kPort, *port};
  }
  if (!owner) return Nobody(StrCat("the MAC ", mac.ToString()));
  if (const std::string subnet = SubnetOf(*owner); subnet != subnet_->id) {
    return StrCat("the MAC ", mac.ToString(), " is that of ", owner->ToString(), " in subnet ",
                  subnet, ", which is reached by the gateway alone");
  }
  if (owner->kind == ObjectKind::kEndpoint && host_.tunnel != nullptr &&
      world_.FindEndpoint(owner->id)->vtep == host_.tunnel->local) {
    return StrCat(owner->ToString(),
                  " is said to be behind this host's own VTEP, and no port "
                  "here has its MAC");
  }
  return Trouble(*owner);
}

std::string SceneBuilder::WhyNotRouted() const {
  const IpAddress& to = *q_.to;
  const std::optional<ObjectRef> owner = world_.OwnerOfAddress(vpc_->id, to);
  if (!owner) {
    return InSubnet(to) ? Nobody(to.ToString())
                        : StrCat("no subnet of VPC ", vpc_->id, " has ", to.ToString(),
                                 ", and none of its routes leads there");
  }
  const Subnet& subnet = *world_.FindSubnet(SubnetOf(*owner));
  if (!GatewayOf(subnet, to)) {
    return StrCat(to.ToString(), " is that of ", owner->ToString(), " in subnet ", subnet.id,
                  ", which has no ", Family(to), " gateway");
  }
  return Trouble(*owner);
}

// Those of addresses in subnets lead nowhere: no static route is asked about them.
void SceneBuilder::TakeRoutes() {
  const IpAddress& to = *q_.to;
  if (InSubnet(to)) return;
  const Route* longest = nullptr;
  for (const StoredObject* stored : world_.RoutesOfVpc(vpc_->id)) {
    const auto& route = std::get<Route>(stored->object);
    if (!route.prefix.Contains(to)) continue;
    const ObjectRef ref = RefOf(stored->object);
    scene_.routes[stored->ordinal] = {
        StrCat(ref.ToString(), ", ", route.prefix.ToString(), " by ", route.next_hop.ToString()),
        Trouble(ref)};
    if (longest == nullptr || longest->prefix.length() < route.prefix.length()) longest = &route;
  }
  if (longest == nullptr) return;
  Note(Trouble({ObjectKind::kRoute, longest->id}));
  const std::optional<ObjectRef> owner = world_.OwnerOfAddress(vpc_->id, longest->next_hop);
  if (owner && owner->kind != ObjectKind::kSubnet) Note(Trouble(*owner));
}

// As dataplane/slowpath/icmp.cc does it, here and below.
bool SceneBuilder::IsIcmpError() const {
  if (!q_.icmp_type) return false;
  const uint8_t type = *q_.icmp_type;
  if (q_.to->is_v6()) return type < kEchoRequest6 || type == kRedirect;
  constexpr uint8_t kEchoReply4 = 0, kTimestamp = 13, kAddressMaskReply = 18;  // RFC 792, RFC 950
  return type != kEchoReply4 && type != kEchoRequest4 &&
         (type < kTimestamp || type > kAddressMaskReply);
}

void SceneBuilder::SayWhatIsAnswered() {
  const IpAddress& to = *q_.to;
  const bool ping =
      scene_.begun.packet.protocol == (to.is_v4() ? kProtocolIcmp4 : kProtocolIcmp6) &&
      q_.icmp_type.value_or(to.is_v4() ? kEchoRequest4 : kEchoRequest6) ==
          (to.is_v4() ? kEchoRequest4 : kEchoRequest6);
  const std::optional<IpAddress>& gateway = GatewayOf(*subnet_, to);
  const std::string ends = StrCat("its ", to.is_v4() ? "TTL" : "hop limit", " of ", q_.ttl,
                                  " ends at the gateway, which says ");
  if (gateway && IsLinkLocal6(*scene_.begun.packet.src)) {
    scene_.expired = StrCat(ends, "nothing: a link-local address never leaves its link");
  } else if (gateway && IsIcmpError()) {
    scene_.expired = StrCat(ends, "nothing: no error is answered with an error");
  } else if (gateway) {
    scene_.expired = StrCat(ends, "so: the slow path answers",
                            q_.fragment ? " the first fragment" : "", ", as ", gateway->ToString());
  }
  if (to != gateway) {
    scene_.for_gateway = StrCat(to.ToString(),
                                " is a gateway of another subnet: the slow path "
                                "takes it and answers nothing");
  } else if (ping && q_.fragment) {
    scene_.for_gateway = "the gateway answers no ping that comes in fragments";
  } else if (ping) {
    scene_.for_gateway = "the slow path answers the ping, as the gateway";
  } else {
    scene_.for_gateway = "the gateway answers pings and nothing else";
  }
  if (to == gateway) scene_.expired = scene_.for_gateway;  // it has arrived
}

}  // namespace

// Of the chains that security groups have: Stage::kState of a subnet, kEgress and kIngress of a
// policy, the others of a VPC.
std::string StageOfSecurity(const World& world, Stage stage, uint32_t ordinal) {
  const StoredObject* owner = world.FindByOrdinal(ordinal);
  const std::string of = owner == nullptr ? "" : IdOf(owner->object);
  const std::string policy = owner == nullptr ? StrCat("policy ", ordinal) : "ports without groups";
  switch (stage) {
    case Stage::kState:
      return StrCat("connections of subnet ", of);
    case Stage::kEgress:
      return StrCat("egress of ", policy);
    case Stage::kIngress:
      return StrCat("ingress of ", policy);
    case Stage::kReceiver:
      return StrCat("receivers in VPC ", of);
    case Stage::kOnward:
      return StrCat("onward in VPC ", of);
    case Stage::kDeliver:
      break;
  }
  return "";
}

std::string StageOf(const World& world, const RuleTable& table, uint32_t chain) {
  if (StageOfChain(chain) != Stage::kDeliver) {
    return StageOfSecurity(world, StageOfChain(chain), OrdinalOfChain(chain));
  }
  if (table.kind == RuleTable::Kind::kTunnelIngress) return "tunnel";
  if (table.kind == RuleTable::Kind::kUplinkIngress) return "uplink";
  if (chain == 0) return "admit";
  const StoredObject* owner = world.FindByOrdinal(chain);
  if (owner == nullptr) return "";
  const ObjectRef ref = RefOf(owner->object);
  if (ref.kind == ObjectKind::kSubnet) return StrCat("subnet ", ref.id);
  if (ref.kind != ObjectKind::kVpc) return "";
  const bool provider = table.kind == RuleTable::Kind::kProviderBlock;
  return StrCat(provider ? "deliver in VPC " : "routes of VPC ", ref.id);
}

absl::StatusOr<FlowScene> SceneOf(const FlowQuestion& question, const FlowHost& host) {
  return SceneBuilder(question, host).Build();
}

}  // namespace fairlead
