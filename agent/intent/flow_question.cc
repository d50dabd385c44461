// SPDX-License-Identifier: Apache-2.0
#include "agent/intent/flow_question.h"

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "agent/base/text.h"
#include "agent/intent/parse.h"
#include "agent/intent/rule_question.h"
#include "agent/intent/violations.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

// Of a netdev at most 15 (IFNAMSIZ - 1, uapi/linux/if.h), of a MAC 17.
constexpr size_t kMostUplinkName = 17;

std::string Path(std::string_view field) { return StrCat("explain_flow.", field); }

class Reader {
 public:
  explicit Reader(Violations* out) : out_(*out) {}

  void Bad(std::string_view field, std::string reason,
           ViolationCode code = ViolationCode::kInvalid) {
    out_.Add(Path(field), code, std::move(reason));
  }

  // Of a text that may be missing.
  template <typename T>
  std::optional<T> Value(std::string_view field, const std::string& text) {
    if (text.empty()) return std::nullopt;
    absl::StatusOr<T> value = T::Parse(text);
    if (value.ok()) return *value;
    Bad(field, std::string(value.status().message()));
    return std::nullopt;
  }

  template <typename T>
  std::optional<T> Number(std::string_view field, uint32_t value) {
    constexpr uint32_t kMost = std::numeric_limits<T>::max();
    if (value <= kMost) return static_cast<T>(value);
    Bad(field, StrCat(value, " is out of range: 0 to ", kMost));
    return std::nullopt;
  }

 private:
  Violations& out_;
};

void ReadVlan(const v1::ExplainFlow& wire, Reader& in, FlowQuestion& question) {
  if (wire.vlan() == 0) return;
  const absl::StatusOr<VlanId> vlan = VlanId::Make(wire.vlan());
  if (vlan.ok()) question.vlan = *vlan;
  if (!vlan.ok()) in.Bad("vlan", std::string(vlan.status().message()));
}

// What comes from elsewhere is told by its destination MAC, and by nothing that only a guest has.
void ReadArriving(const v1::ExplainFlow& wire, std::string_view by, Reader& in,
                  FlowQuestion& question) {
  question.dst_mac = in.Value<MacAddress>("dst_mac", wire.dst_mac());
  if (wire.dst_mac().empty()) in.Bad("dst_mac", "is missing: the packet's inner destination");
  const std::pair<const char*, bool> others[] = {{"to", !wire.to().empty()},
                                                 {"src", !wire.src().empty()},
                                                 {"src_mac", !wire.src_mac().empty()},
                                                 {"protocol", wire.has_protocol()},
                                                 {"src_port", wire.has_src_port()},
                                                 {"dst_port", wire.has_dst_port()},
                                                 {"ttl", wire.has_ttl()},
                                                 {"fragment", wire.fragment()},
                                                 {"neighbour", wire.neighbour()},
                                                 {"arp_mac", !wire.arp_mac().empty()},
                                                 {"icmp_type", wire.has_icmp_type()}};
  for (const auto& [field, set] : others) {
    if (!set) continue;
    in.Bad(field, StrCat("makes no difference by the ", by, " and MAC alone"),
           ViolationCode::kUnsupported);
  }
}

// A question for a MAC is ARP or ND, and nothing else.
void ReadNeighbour(const v1::ExplainFlow& wire, Reader& in, FlowQuestion& question) {
  question.neighbour = wire.neighbour();
  question.arp_mac = in.Value<MacAddress>("arp_mac", wire.arp_mac());
  const bool arp = wire.neighbour() && question.to && question.to->is_v4();
  if (question.arp_mac && !arp) {
    in.Bad("arp_mac", "is of ARP alone: of a question (neighbour) for an IPv4 address");
  }
  const std::pair<const char*, bool> others[] = {
      {"protocol", wire.has_protocol()}, {"src_port", wire.has_src_port()},
      {"dst_port", wire.has_dst_port()}, {"ttl", wire.has_ttl()},
      {"fragment", wire.fragment()},     {"icmp_type", wire.has_icmp_type()}};
  for (const auto& [field, set] : others) {
    if (set && wire.neighbour()) in.Bad(field, "is not of a question for a MAC (neighbour)");
  }
}

void ReadIcmpType(const v1::ExplainFlow& wire, Reader& in, FlowQuestion& question) {
  if (!wire.has_icmp_type() || wire.neighbour()) return;
  question.icmp_type = in.Number<uint8_t>("icmp_type", wire.icmp_type());
  const bool v6 = question.to && question.to->is_v6();
  const bool discovery =
      v6 && question.icmp_type >= kRouterSolicitation && question.icmp_type <= kRedirect;
  if (discovery && !wire.has_ttl()) question.ttl = kNdHopLimit;
  const uint8_t icmp = v6 ? kProtocolIcmp6 : kProtocolIcmp4;
  if (wire.has_protocol() && wire.protocol() != icmp) {
    in.Bad("icmp_type", StrCat("is of ", v6 ? "ICMPv6" : "ICMP", " (", icmp,
                               ") alone, not of protocol ", wire.protocol()));
  } else if (wire.fragment()) {
    in.Bad("icmp_type", "no rule is told the type of a fragment, not even of the first");
  } else if (v6 && wire.icmp_type() == kNeighbourSolicitation) {
    in.Bad("icmp_type", StrCat(kNeighbourSolicitation, " is a question for a MAC: set neighbour"));
  }
}

void ReadTunnel(const v1::ExplainFlow& wire, Reader& in, FlowQuestion& question) {
  question.vtep = in.Value<IpAddress>("vtep", wire.vtep());
  const char* what = question.vtep ? WhyNotRoutable(*question.vtep) : nullptr;
  if (what != nullptr) in.Bad("vtep", StrCat("is ", what, ": no host sends from there"));
  if (!wire.has_vni()) {
    in.Bad("vni", StrCat("is missing: that of the packet, ", Vni::kMin, " to ", Vni::kMax));
  } else if (const absl::StatusOr<Vni> vni = Vni::Make(wire.vni()); vni.ok()) {
    question.vni = *vni;
  } else {
    in.Bad("vni", std::string(vni.status().message()));
  }
  ReadVlan(wire, in, question);
  ReadArriving(wire, "tunnel, whose rules ask for sender, VNI, tag", in, question);
}

void ReadUplink(const v1::ExplainFlow& wire, Reader& in, FlowQuestion& question) {
  question.uplink = wire.uplink();
  if (wire.uplink().size() > kMostUplinkName) in.Bad("uplink", "is no netdev's name and no MAC");
  ReadVlan(wire, in, question);
  if (wire.has_vni()) {
    in.Bad("vni", "is of a packet by the tunnel", ViolationCode::kUnsupported);
  }
  ReadArriving(wire, "uplink, whose rules ask for VLAN", in, question);
}

void ReadPort(const v1::ExplainFlow& wire, Reader& in, FlowQuestion& question) {
  question.to = in.Value<IpAddress>("to", wire.to());
  if (wire.to().empty()) in.Bad("to", "is missing: the address that the packet is sent to");
  question.src = in.Value<IpAddress>("src", wire.src());
  question.src_mac = in.Value<MacAddress>("src_mac", wire.src_mac());
  question.dst_mac = in.Value<MacAddress>("dst_mac", wire.dst_mac());
  if (wire.has_protocol()) question.protocol = in.Number<uint8_t>("protocol", wire.protocol());
  if (wire.has_src_port()) question.src_port = in.Number<uint16_t>("src_port", wire.src_port());
  if (wire.has_dst_port()) question.dst_port = in.Number<uint16_t>("dst_port", wire.dst_port());
  if (wire.has_ttl()) question.ttl = in.Number<uint8_t>("ttl", wire.ttl()).value_or(kDefaultTtl);
  question.fragment = wire.fragment();
  ReadNeighbour(wire, in, question);
  ReadIcmpType(wire, in, question);
  ReadVlan(wire, in, question);
  const bool ports = wire.protocol() == kProtocolTcp || wire.protocol() == kProtocolUdp;
  for (const auto& [field, set] :
       {std::pair("src_port", wire.has_src_port()), {"dst_port", wire.has_dst_port()}}) {
    if (set && !ports && !wire.neighbour()) {
      in.Bad(field,
             StrCat("is of TCP (", kProtocolTcp, ") and UDP (", kProtocolUdp, ") alone, not of ",
                    wire.has_protocol() ? StrCat("protocol ", wire.protocol())
                                        : "the echo request that is asked about by default"));
    } else if (set && wire.fragment()) {
      in.Bad(field, "no rule is told a port of a fragment, not even of the first");
    }
  }
  if (wire.has_vni()) {
    in.Bad("vni", "is of a packet by the tunnel; that of a port is its VPC's",
           ViolationCode::kUnsupported);
  }
}

template <typename T>
std::string Text(const std::optional<T>& value) {
  return value ? value->ToString() : "";
}

void ToProto(const FlowVerdict& verdict, v1::FlowExplanation::Verdict* out) {
  out->set_kind(std::string(FlowVerdictName(verdict.kind)));
  out->set_port(verdict.port);
  out->set_vtep(Text(verdict.vtep));
  if (verdict.vni) out->set_vni(verdict.vni->value());
  out->set_why(verdict.why);
  out->set_uplink(verdict.uplink);
  if (verdict.vlan) out->set_vlan(verdict.vlan->value());
  for (const std::string& port : verdict.copies) out->add_copies(port);
}

void ToProto(const FlowStep& step, v1::FlowExplanation::Step* out) {
  out->set_stage(step.stage);
  out->set_location(step.location.ToString());
  out->set_table(step.location.table.ToString());
  out->set_chain(step.location.chain);
  out->set_priority(step.location.priority);
  out->set_handle(step.location.handle);
  out->set_rule(step.rule);
  out->set_does(step.does);
  out->set_owner(step.owner);
  out->set_state(std::string(RuleStandingName(step.standing)));
  out->set_in_hw_count(step.in_hw_count);
  out->set_detail(step.detail);
  out->set_reached(step.reached);
  if (step.counters) ToProto(*step.counters, out->mutable_counters());
}

}  // namespace

std::variant<FlowQuestion, std::vector<Violation>> ParseFlowQuestion(const v1::ExplainFlow& wire) {
  Violations violations;
  Reader in(&violations);
  FlowQuestion question;
  const bool port = !wire.port().empty(), tunnel = !wire.vtep().empty();
  const bool uplink = !wire.uplink().empty();
  if (!port && !tunnel && !uplink) {
    in.Bad("port", "is missing, and so are vtep and uplink: who sends the packet?");
  } else if (port + tunnel + uplink > 1) {
    in.Bad(tunnel ? "vtep" : "uplink",
           StrCat("excludes ", port ? "port" : "uplink", ": the packet has one sender"));
  } else if (uplink) {
    ReadUplink(wire, in, question);
  } else if (tunnel) {
    ReadTunnel(wire, in, question);
  } else {
    question.port = wire.port();
    CheckId(wire.port(), Path("port"), &violations);
    ReadPort(wire, in, question);
  }
  if (!violations.empty()) return std::move(violations).Take();
  return question;
}

void ToProto(const FlowExplanation& explanation, v1::FlowExplanation* out) {
  out->set_from(explanation.from);
  const FlowExplanation::Packet& packet = explanation.packet;
  v1::FlowExplanation::Packet* sent = out->mutable_packet();
  sent->set_src_mac(Text(packet.src_mac));
  sent->set_dst_mac(Text(packet.dst_mac));
  sent->set_src(Text(packet.src));
  sent->set_dst(Text(packet.dst));
  if (packet.protocol) sent->set_protocol(*packet.protocol);
  if (packet.src_port) sent->set_src_port(*packet.src_port);
  if (packet.dst_port) sent->set_dst_port(*packet.dst_port);
  sent->set_fragment(packet.fragment);
  // Of one by the tunnel it is not known, and ARP has none.
  if (packet.dst && !packet.arp_mac) sent->set_ttl(packet.ttl);
  sent->set_neighbour(packet.neighbour);
  sent->set_arp_mac(Text(packet.arp_mac));
  if (packet.icmp_type) sent->set_icmp_type(*packet.icmp_type);
  if (packet.vlan) sent->set_vlan(packet.vlan->value());
  if (const auto& lookup = explanation.lookup) {
    out->mutable_lookup()->set_question(lookup->question);
    out->mutable_lookup()->set_mac(Text(lookup->mac));
    out->mutable_lookup()->set_why(lookup->why);
  }
  for (const FlowStep& step : explanation.steps) ToProto(step, out->add_steps());
  ToProto(explanation.verdict, out->mutable_verdict());
  if (explanation.compiled != explanation.verdict) {
    ToProto(explanation.compiled, out->mutable_compiled());
  }
  if (const auto& as_sent = explanation.out) {
    out->mutable_out()->set_src_mac(as_sent->src_mac.ToString());
    out->mutable_out()->set_dst_mac(as_sent->dst_mac.ToString());
    out->mutable_out()->set_ttl(as_sent->ttl);
  }
  if (const auto& around = explanation.header) {
    v1::FlowExplanation::Header* header = out->mutable_header();
    header->set_vni(around->vni.value());
    header->set_local(around->local.ToString());
    header->set_remote(around->remote.ToString());
    header->set_udp_port(around->udp_port);
    header->set_ttl(around->ttl);
    header->set_next_hop(explanation.next_hop);
  }
  out->set_path(std::string(FlowPathName(explanation.path)));
  out->set_path_why(explanation.path_why);
  for (const std::string& text : explanation.disagreements) out->add_disagreements(text);
  for (const std::string& text : explanation.notes) out->add_notes(text);
  out->set_counters_problem(explanation.counters_problem);
}

}  // namespace fairlead
