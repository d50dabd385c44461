// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/explain.h"

#include <charconv>
#include <iterator>
#include <ostream>
#include <utility>

#include "agent/base/text.h"
#include "agent/base/types.h"
#include "agent/ctl/json.h"
#include "agent/ctl/render.h"
#include "agent/ctl/session.h"
#include "agent/ctl/table.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

constexpr char kTunnelSender[] = "vtep:";
constexpr char kUplinkSender[] = "uplink:";

struct Protocol {
  uint32_t number;  // IANA
  const char* name;
};
constexpr Protocol kProtocols[] = {{1, "ICMP"}, {6, "TCP"}, {17, "UDP"}, {58, "ICMPv6"}};

// What is named on the command line, by the field of the request.
constexpr std::pair<const char*, const char*> kOptionOfField[] = {
    {"port", "--from"},       {"vtep", "--from"},          {"vni", "--vni"},
    {"uplink", "--from"},     {"vlan", "--vlan"},          {"to", "--to"},
    {"src", "--src"},         {"src_mac", "--src-mac"},    {"dst_mac", "--dst-mac"},
    {"protocol", "--proto"},  {"src_port", "--sport"},     {"dst_port", "--dport"},
    {"ttl", "--ttl"},         {"fragment", "--fragment"},  {"neighbour", "--proto"},
    {"arp_mac", "--arp-mac"}, {"icmp_type", "--icmp-type"}};

std::string OptionOf(const std::string& path) {
  const std::string field = path.substr(path.find('.') + 1);
  for (const auto& [name, option] : kOptionOfField) {
    if (field == name) return option;
  }
  return "";
}

std::string ProtocolText(uint32_t number) {
  for (const Protocol& protocol : kProtocols) {
    if (protocol.number == number) return protocol.name;
  }
  return StrCat("protocol ", number);
}

void Indented(std::string* out, std::string_view indent, std::string_view text) {
  if (!text.empty()) StrAppend(out, indent, Printable(text), "\n");
}

std::string PacketText(const v1::FlowExplanation& flow) {
  const auto& packet = flow.packet();
  std::string out = flow.from();
  const std::string tag = packet.vlan() == 0 ? "" : StrCat(", tagged with VLAN ", packet.vlan());
  if (packet.dst().empty()) return StrCat(out, " -> ", packet.dst_mac(), tag);
  StrAppend(&out, " -> ", packet.dst(), ": ",
            !packet.neighbour()        ? ProtocolText(packet.protocol())
            : packet.arp_mac().empty() ? "ND, who has it?"
                                       : "ARP, who has it?");
  if (packet.has_icmp_type()) StrAppend(&out, " type ", packet.icmp_type());
  if (packet.has_src_port()) StrAppend(&out, " from port ", packet.src_port());
  if (packet.has_dst_port()) StrAppend(&out, " to port ", packet.dst_port());
  if (packet.fragment()) out += ", in fragments";
  StrAppend(&out, ", source ", packet.src(), " at ", packet.src_mac());
  if (!packet.arp_mac().empty() && packet.arp_mac() != packet.src_mac()) {
    StrAppend(&out, ", which calls itself ", packet.arp_mac());
  }
  if (packet.has_ttl()) StrAppend(&out, ", TTL ", packet.ttl());
  return out + tag;
}

std::string VerdictText(const v1::FlowExplanation::Verdict& verdict) {
  std::string out = verdict.kind();
  if (!verdict.port().empty()) StrAppend(&out, " to port/", verdict.port());
  if (!verdict.vtep().empty()) {
    StrAppend(&out, " to VTEP ", verdict.vtep(), " with VNI ", verdict.vni());
  }
  if (!verdict.uplink().empty()) {
    StrAppend(&out, " ", verdict.uplink(),
              verdict.vlan() == 0 ? " untagged" : StrCat(" with VLAN ", verdict.vlan()));
  }
  for (const std::string& port : verdict.copies()) StrAppend(&out, ", a copy to port/", port);
  if (!verdict.why().empty()) StrAppend(&out, ": ", verdict.why());
  return out;
}

std::string StepText(const v1::FlowExplanation::Step& step) {
  const bool stands = step.state() == "hardware" || step.state() == "software";
  std::string out =
      StrCat(stands ? "  " : "! ", step.stage(), ": ", step.location(), ", ", step.state());
  if (step.in_hw_count() != 0) StrAppend(&out, " on ", step.in_hw_count());
  if (!step.owner().empty()) StrAppend(&out, ", of ", step.owner());
  if (!step.reached()) StrAppend(&out, "; not reached");
  return out;
}

}  // namespace

std::string ReadFlow(FlowOptions* flow) {
  if (flow->from.starts_with(kTunnelSender)) {
    flow->vtep = flow->from.substr(std::size(kTunnelSender) - 1);
    if (flow->vtep.empty()) return "--from vtep: needs the address of the sending host";
  } else if (flow->from.starts_with(kUplinkSender)) {
    flow->uplink = flow->from.substr(std::size(kUplinkSender) - 1);
    if (flow->uplink.empty()) return "--from uplink: needs the name or the MAC of a PF";
  } else {
    std::string kind, id;
    flow->port = SplitRef(flow->from, &kind, &id) && kind == "port" ? id : flow->from;
    if (const absl::Status status = CheckObjectId(flow->port); !status.ok()) {
      return StrCat("--from ", Quoted(flow->from),
                    " is neither a port nor vtep:ADDRESS nor uplink:PF: ", status.message());
    }
    if (flow->to.empty()) return "--to is needed: the address that the packet is sent to";
  }
  if (flow->vlan == 0U) return "--vlan 0: leave it out for an untagged packet";
  const std::string& proto = flow->proto;
  if (proto.empty()) return "";
  const absl::StatusOr<IpAddress> to = IpAddress::Parse(flow->to);
  if (proto == "arp" || proto == "nd") {
    flow->neighbour = true;
    if (to.ok() && to->is_v4() != (proto == "arp")) {
      return StrCat("--proto ", proto, " asks for an ", proto == "arp" ? "IPv4" : "IPv6",
                    " address, and --to ", flow->to, " is none");
    }
  } else if (proto == "icmp") {
    flow->protocol = to.ok() && to->is_v6() ? 58 : 1;
  } else if (proto == "tcp" || proto == "udp") {
    flow->protocol = proto == "tcp" ? 6 : 17;
  } else {
    uint32_t number = 0;
    const char* end = proto.data() + proto.size();
    const auto [rest, error] = std::from_chars(proto.data(), end, number);
    if (error != std::errc() || rest != end || number > 255) {
      return StrCat("--proto ", Quoted(proto),
                    " is none of tcp, udp, icmp, arp and nd, and no number from 0 to 255");
    }
    flow->protocol = number;
  }
  return "";
}

std::string RenderFlow(const v1::FlowExplanation& flow) {
  std::string out = StrCat(Printable(PacketText(flow)), "\n");
  if (flow.has_lookup()) {
    const auto& lookup = flow.lookup();
    Indented(&out, "  ",
             StrCat("asks ", lookup.question(), " ",
                    lookup.mac().empty() ? "Nobody answers: " : StrCat(lookup.mac(), ", "),
                    lookup.why()));
  }
  if (!flow.packet().dst_mac().empty()) {
    Indented(&out, "  ", StrCat("sent to ", flow.packet().dst_mac()));
  }
  for (const auto& step : flow.steps()) {
    Indented(&out, "", StepText(step));
    Indented(&out, "      ", step.rule());
    Indented(&out, "      ", step.does());
    Indented(&out, "      ", step.detail());
    if (step.has_counters()) Indented(&out, "      met ", CountersText(step.counters()));
  }
  Indented(&out, "", VerdictText(flow.verdict()));
  if (flow.has_compiled()) {
    Indented(&out, "  ", StrCat("as compiled: ", VerdictText(flow.compiled())));
  }
  if (flow.has_out()) {
    Indented(&out, "  ",
             StrCat("comes out as ", flow.out().src_mac(), " -> ", flow.out().dst_mac(),
                    flow.out().ttl() == 0 ? "" : StrCat(", TTL ", flow.out().ttl())));
  }
  if (flow.has_header()) {
    const auto& header = flow.header();
    Indented(&out, "  ",
             StrCat("in one header: VNI ", header.vni(), ", ", header.local(), " -> ",
                    header.remote(), ", UDP port ", header.udp_port(), ", TTL ", header.ttl(),
                    header.next_hop().empty() ? "" : StrCat("; next hop ", header.next_hop())));
  }
  if (!flow.path().empty()) {
    Indented(&out, "",
             StrCat("path: ", flow.path() == "hardware" ? "hardware end to end" : flow.path(),
                    flow.path_why().empty() ? "" : StrCat(": ", flow.path_why())));
  }
  for (const std::string& text : flow.disagreements()) Indented(&out, "otherwise: ", text);
  for (const std::string& text : flow.notes()) Indented(&out, "note: ", text);
  if (!flow.counters_problem().empty()) {
    Indented(&out, "", StrCat("no counters: ", flow.counters_problem()));
  }
  return out;
}

int RunExplainFlow(Session& s) {
  const FlowOptions& flow = s.options().flow;
  v1::Request request;
  v1::ExplainFlow* ask = request.mutable_explain_flow();
  ask->set_port(flow.port);
  ask->set_vtep(flow.vtep);
  ask->set_uplink(flow.uplink);
  if (flow.vlan) ask->set_vlan(*flow.vlan);
  ask->set_to(flow.to);
  ask->set_src(flow.src);
  ask->set_src_mac(flow.src_mac);
  ask->set_dst_mac(flow.dst_mac);
  if (flow.protocol) ask->set_protocol(*flow.protocol);
  if (flow.src_port) ask->set_src_port(*flow.src_port);
  if (flow.dst_port) ask->set_dst_port(*flow.dst_port);
  if (flow.ttl) ask->set_ttl(*flow.ttl);
  ask->set_fragment(flow.fragment);
  ask->set_neighbour(flow.neighbour);
  ask->set_arp_mac(flow.arp_mac);
  if (flow.icmp_type) ask->set_icmp_type(*flow.icmp_type);
  if (flow.vni) ask->set_vni(*flow.vni);
  s.set_describe_path(OptionOf);
  v1::Reply reply;
  if (int code = s.Ask(std::move(request), &reply); code != kOk) return code;
  if (!reply.has_flow()) return s.Unexpected();
  if (s.table()) {
    *s.world().out << RenderFlow(reply.flow());
  } else {
    s.PrintDocument(ToJson(reply.flow()));
  }
  return kOk;
}

}  // namespace fairlead
