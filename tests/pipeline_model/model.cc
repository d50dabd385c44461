// SPDX-License-Identifier: Apache-2.0
#include "tests/pipeline_model/model.h"

#include "agent/base/text.h"

namespace fairlead::pipeline_model {
namespace {

constexpr MacAddress kBroadcast({0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
constexpr MacAddress kDhcpServers({0x33, 0x33, 0, 1, 0, 2});

template <typename T>
const T* ById(const std::vector<T>& all, const std::string& id) {
  for (const T& one : all) {
    if (one.id == id) return &one;
  }
  return nullptr;
}

bool HasFamily(const Subnet& subnet, bool v4) {
  return v4 ? subnet.gateway4.has_value() : subnet.gateway6.has_value();
}

// Who is meant by a MAC within a subnet, or by an address within a VPC.
struct Owner {
  const Port* port = nullptr;
  const Endpoint* endpoint = nullptr;
  MacAddress mac() const { return port != nullptr ? *port->mac : endpoint->mac; }
  const std::string& subnet() const { return port != nullptr ? port->subnet : endpoint->subnet; }
  explicit operator bool() const { return port != nullptr || endpoint != nullptr; }
};

bool Has(const std::vector<IpAddress>& addresses, const IpAddress& address) {
  for (const IpAddress& one : addresses) {
    if (one == address) return true;
  }
  return false;
}

// Who is at the other end of a frame, as a rule of a group may name it: an address, and the groups
// of its owner, if that is where the frame comes from or goes to.
struct OtherEnd {
  IpAddress address;
  std::vector<std::string> groups;
};

bool Allows(const SecurityRule& rule, const Frame& frame, const OtherEnd& other) {
  const bool v4 = frame.kind == Frame::Kind::kIpv4;
  if (rule.v4 && *rule.v4 != v4) return false;
  if (rule.protocol && *rule.protocol != frame.protocol()) return false;
  if (rule.ports) {
    const std::optional<uint16_t> port =
        frame.protocol() == 6 ? frame.tcp_dst_port : frame.udp_dst_port;
    if (!port || *port < rule.ports->first || *port > rule.ports->last) return false;
  }
  if (rule.icmp_type && (!frame.icmpv6_type || *frame.icmpv6_type != *rule.icmp_type)) return false;
  if (rule.remote && !rule.remote->Contains(other.address)) return false;
  if (rule.remote_group.empty()) return true;
  for (const std::string& group : other.groups) {
    if (group == rule.remote_group) return true;
  }
  return false;
}

// "What the rules of these groups allow together, and nothing else. None: whatever its VPC
// carries."
bool PortAllows(const Network& network, const Port& port, bool ingress, const Frame& frame,
                const OtherEnd& other) {
  if (port.security_groups.empty()) return true;
  for (const std::string& id : port.security_groups) {
    for (const SecurityRule& rule : ById(network.groups, id)->rules) {
      if (rule.ingress == ingress && Allows(rule, frame, other)) return true;
    }
  }
  return false;
}

bool HasGroups(const Network& network, const Vpc& vpc) {
  for (const SecurityGroup& group : network.groups) {
    if (group.vpc == vpc.id) return true;
  }
  return false;
}
bool Stateful(const Network& network, const Vpc& vpc) {
  for (const SecurityGroup& group : network.groups) {
    if (group.vpc == vpc.id) return !group.stateless;
  }
  return false;
}

Verdict Deliver(const Network& network, const Vpc& vpc, const Owner& owner, const Frame& frame) {
  Verdict out;
  out.src_mac = frame.src_mac;
  out.dst_mac = frame.dst_mac;
  out.ttl = frame.ttl;
  if (owner.port != nullptr) {
    out.kind = Verdict::Kind::kPort;
    out.port = owner.port->id;
  } else if (owner.endpoint->vtep == network.local) {
    return {};  // said to be here, and is not
  } else {
    out.kind = Verdict::Kind::kRemote;
    out.vni = *vpc.vni;
    out.vtep = owner.endpoint->vtep;
  }
  return out;
}

bool Owns(const Port& port, const MacAddress& mac, const IpAddress& address) {
  if (mac == *port.mac && Has(port.addresses, address)) return true;
  for (const AddressPair& pair : port.allowed_pairs) {
    if (pair.mac.value_or(*port.mac) == mac && pair.prefix.Contains(address)) return true;
  }
  return false;
}

// Who has an address in the VPC, of those that frames are led to.
Owner OwnerOf(const Network& network, const Vpc& vpc, const IpAddress& address) {
  Owner owner;
  for (const Port& port : network.ports) {
    if (port.vpc == vpc.id && Has(port.addresses, address)) owner.port = &port;
  }
  for (const Endpoint& endpoint : network.endpoints) {
    if (endpoint.vpc == vpc.id && Has(endpoint.addresses, address)) owner.endpoint = &endpoint;
  }
  return owner;
}

// "Of several routes that cover a destination the one with the longest prefix counts. An address
// of the VPC's own subnets is led by none. As long as no port or endpoint has the next hop, what
// it covers is dropped."
Owner NextHopOf(const Network& network, const Vpc& vpc, const IpAddress& destination) {
  for (const Subnet& subnet : network.subnets) {
    if (subnet.vpc == vpc.id && subnet.Contains(destination)) return {};
  }
  const Route* longest = nullptr;
  for (const Route& route : network.routes) {
    if (route.vpc != vpc.id || !route.prefix.Contains(destination)) continue;
    if (longest == nullptr || route.prefix.length() > longest->prefix.length()) longest = &route;
  }
  return longest == nullptr ? Owner() : OwnerOf(network, vpc, longest->next_hop);
}

// "Frames to the gateway's MAC are routed by the host that they are sent on, between the
// subnets of the VPC that have one", and by its routes.
Verdict Route(const Network& network, const Vpc& vpc, const Subnet& from, const Frame& frame) {
  const bool v4 = frame.kind == Frame::Kind::kIpv4;
  if (!HasFamily(from, v4)) return {};
  if (frame.ttl <= 1) return {.kind = Verdict::Kind::kSlowPath};
  for (const Subnet& subnet : network.subnets) {
    if (subnet.vpc == vpc.id &&
        (subnet.gateway4 == frame.dst_ip || subnet.gateway6 == frame.dst_ip)) {
      return {.kind = Verdict::Kind::kSlowPath};
    }
  }
  Owner owner = OwnerOf(network, vpc, frame.dst_ip);
  if (owner && !HasFamily(*ById(network.subnets, owner.subnet()), v4)) return {};
  if (!owner) owner = NextHopOf(network, vpc, frame.dst_ip);
  if (!owner) return {};
  Frame routed = frame;
  routed.src_mac = kGatewayMac;
  routed.dst_mac = owner.mac();
  --routed.ttl;
  return Deliver(network, vpc, owner, routed);
}

// The port of this host that it would come to, were there no groups: by its MAC, or behind the
// gateway.
const Port* ReceiverHere(const Network& network, const Vpc& vpc, const Frame& frame) {
  if (frame.dst_mac != kGatewayMac) {
    for (const Port& other : network.ports) {
      if (other.vpc == vpc.id && *other.mac == frame.dst_mac) return &other;
    }
    return nullptr;
  }
  Owner owner = OwnerOf(network, vpc, frame.dst_ip);
  if (!owner) owner = NextHopOf(network, vpc, frame.dst_ip);
  return owner.port;
}

// "A rule allows connections": both ends judge the first packet, by who is at the other.
bool AllowedHere(const Network& network, const Vpc& vpc, const Port& from, const Frame& frame) {
  OtherEnd to{frame.dst_ip, {}};
  const Owner owner = OwnerOf(network, vpc, frame.dst_ip);
  if (owner.port != nullptr) to.groups = owner.port->security_groups;
  if (owner.endpoint != nullptr && owner.endpoint->vtep != network.local) {
    to.groups = owner.endpoint->security_groups;
  }
  if (!PortAllows(network, from, /*ingress=*/false, frame, to)) return false;
  const Port* receiver = ReceiverHere(network, vpc, frame);
  if (receiver == nullptr) return true;
  OtherEnd sender{frame.src_ip, {}};
  const Owner source = OwnerOf(network, vpc, frame.src_ip);
  if (source.port != nullptr) sender.groups = source.port->security_groups;
  return PortAllows(network, *receiver, /*ingress=*/true, frame, sender);
}

Verdict FromAdmitted(const Network& network, const Vpc& vpc, const Port& port, const Frame& frame);

Verdict FromPort(const Network& network, const Frame& frame) {
  const Port& port = *ById(network.ports, frame.from_port);
  const Vpc& vpc = *ById(network.vpcs, port.vpc);
  constexpr Verdict::Kind kSlowPath = Verdict::Kind::kSlowPath;
  switch (frame.kind) {
    case Frame::Kind::kArp:
      return {.kind = kSlowPath};
    case Frame::Kind::kIpv4:
      if (frame.dst_mac == kBroadcast && frame.udp_dst_port == 67) return {.kind = kSlowPath};
      if (frame.udp_dst_port == 68) return {};  // no guest is a DHCP server
      break;
    case Frame::Kind::kIpv6:
      if (frame.icmpv6_type == 133 || frame.icmpv6_type == 135) return {.kind = kSlowPath};
      if (frame.icmpv6_type == 134 || frame.icmpv6_type == 136 || frame.icmpv6_type == 137) {
        return {};
      }
      if (frame.dst_mac == kDhcpServers && frame.udp_dst_port == 547) return {.kind = kSlowPath};
      if (frame.udp_dst_port == 546) return {};
      break;
    default:
      return {};
  }
  if (!Owns(port, frame.src_mac, frame.src_ip)) return {};
  const bool stateful = Stateful(network, vpc);
  const bool judged = HasGroups(network, vpc) && (!stateful || frame.state == Frame::State::kNew);
  if (judged && !AllowedHere(network, vpc, port, frame)) return {.known = false};
  Verdict out = FromAdmitted(network, vpc, port, frame);
  if (out.kind == Verdict::Kind::kPort || out.kind == Verdict::Kind::kRemote) {
    out.known = stateful && judged;
  }
  return out;
}

Verdict FromAdmitted(const Network& network, const Vpc& vpc, const Port& port, const Frame& frame) {
  if (frame.dst_mac == kGatewayMac) {
    return Route(network, vpc, *ById(network.subnets, port.subnet), frame);
  }
  for (const Port& other : network.ports) {
    if (other.subnet == port.subnet && *other.mac == frame.dst_mac) {
      return Deliver(network, vpc, {&other, nullptr}, frame);
    }
  }
  for (const Endpoint& other : network.endpoints) {
    if (other.subnet == port.subnet && other.mac == frame.dst_mac) {
      return Deliver(network, vpc, {nullptr, &other}, frame);
    }
  }
  return {};
}

Verdict ToPort(const Network& network, const Vpc& vpc, const Port& port, const Frame& frame) {
  Verdict out = Deliver(network, vpc, {&port, nullptr}, frame);
  out.known = false;
  if (!HasGroups(network, vpc)) return out;
  const bool ip = frame.kind == Frame::Kind::kIpv4 || frame.kind == Frame::Kind::kIpv6;
  if (!ip) return {.known = false};
  if (Stateful(network, vpc) && frame.state != Frame::State::kNew) return out;
  OtherEnd sender{frame.src_ip, {}};
  const Owner source = OwnerOf(network, vpc, frame.src_ip);
  if (source.endpoint != nullptr && source.endpoint->vtep != network.local) {
    sender.groups = source.endpoint->security_groups;
  }
  if (!PortAllows(network, port, /*ingress=*/true, frame, sender)) return {.known = false};
  out.known = Stateful(network, vpc);
  return out;
}

}  // namespace

uint8_t Frame::protocol() const {
  if (icmpv6_type) return 58;
  if (udp_dst_port) return 17;
  return tcp_dst_port ? 6 : 47;
}

Verdict Judge(const Network& network, const Frame& frame) {
  if (!frame.from_port.empty()) return FromPort(network, frame);
  if (frame.kind == Frame::Kind::kVlan || frame.kind == Frame::Kind::kQinQ) return {};
  if (frame.outer_dst != network.local || frame.outer_udp_port != network.udp_port) return {};
  bool of_peer = network.peers.empty();
  for (const IpPrefix& peers : network.peers) {
    if (peers.Contains(frame.outer_src)) of_peer = true;
  }
  if (!of_peer) return {};
  for (const Vpc& vpc : network.vpcs) {
    if (vpc.vni != frame.vni) continue;
    for (const Port& port : network.ports) {
      if (port.vpc == vpc.id && *port.mac == frame.dst_mac)
        return ToPort(network, vpc, port, frame);
    }
  }
  return {};
}

std::string Frame::ToString() const {
  constexpr std::string_view kKinds[] = {"ipv4", "ipv6", "arp", "vlan", "qinq", "other"};
  return StrCat(
      kKinds[static_cast<size_t>(kind)], " from ",
      from_port.empty() ? StrCat("the tunnel, vni ", vni.value(), " from ", outer_src.ToString(),
                                 " to ", outer_dst.ToString(), " port ", outer_udp_port)
                        : from_port,
      ": ", src_mac.ToString(), " > ", dst_mac.ToString(), ", ", src_ip.ToString(), " > ",
      dst_ip.ToString(), " ttl ", ttl, icmpv6_type ? StrCat(" icmpv6 ", *icmpv6_type) : "",
      udp_dst_port ? StrCat(" udp ", *udp_dst_port) : "",
      tcp_dst_port ? StrCat(" tcp ", *tcp_dst_port) : "",
      state == State::kNew       ? ""
      : state == State::kRelated ? " related"
                                 : " established");
}

std::string Verdict::ToString() const {
  const std::string as = StrCat(" from ", src_mac.ToString(), " to ", dst_mac.ToString(), " ttl ",
                                static_cast<int>(ttl), known == true ? ", and known" : "");
  switch (kind) {
    case Kind::kDropped:
      return known == true ? "dropped, and known" : "dropped";
    case Kind::kSlowPath:
      return "to the slow path";
    case Kind::kPort:
      return StrCat("to port ", port, as);
    case Kind::kRemote:
      break;
  }
  return StrCat("to ", vtep.ToString(), " with vni ", vni.value(), as);
}

}  // namespace fairlead::pipeline_model
