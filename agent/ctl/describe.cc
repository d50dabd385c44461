// SPDX-License-Identifier: Apache-2.0
#include "agent/base/text.h"
#include "agent/ctl/render.h"
#include "agent/ctl/table.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

std::string Number(uint64_t value) { return value == 0 ? "" : StrCat(value); }
std::string Rate(uint32_t mbps) { return mbps == 0 ? "" : StrCat(mbps, " Mbit/s"); }

// "ingress tcp 22 from 10.0.0.0/8"
std::string AllowedText(const v1::SecurityRule& rule) {
  const bool ingress = rule.direction() == v1::DIRECTION_INGRESS;
  std::string text = ingress ? "ingress" : "egress";
  if (rule.family() != v1::ADDRESS_FAMILY_UNSPECIFIED && rule.remote_prefix().empty()) {
    text += rule.family() == v1::ADDRESS_FAMILY_IPV4 ? " ipv4" : " ipv6";
  }
  const uint32_t protocol = rule.protocol();
  StrAppend(&text, !rule.has_protocol() ? " any"
                   : protocol == 1      ? " icmp"
                   : protocol == 6      ? " tcp"
                   : protocol == 17     ? " udp"
                   : protocol == 58     ? " icmpv6"
                                        : StrCat(" protocol ", protocol));
  if (rule.has_port_min()) StrAppend(&text, " ", rule.port_min());
  if (rule.has_port_max() && rule.port_max() != rule.port_min()) {
    StrAppend(&text, "-", rule.port_max());
  }
  if (rule.has_icmp_type()) StrAppend(&text, " type ", rule.icmp_type());
  if (rule.has_icmp_code()) StrAppend(&text, " code ", rule.icmp_code());
  StrAppend(&text, ingress ? " from " : " to ",
            !rule.remote_group().empty()    ? "security-group/" + rule.remote_group()
            : !rule.remote_prefix().empty() ? rule.remote_prefix()
                                            : "anybody");
  return text;
}

void AddObject(const v1::Object& object, Facts* facts) {
  switch (object.object_case()) {
    case v1::Object::kVpc:
      facts->Add("VNI", Number(object.vpc().vni()));
      facts->Add("VLAN", Number(object.vpc().vlan()));
      if (object.vpc().flat()) facts->Add("Flat", "yes");
      break;
    case v1::Object::kSubnet:
      facts->Add("VPC", object.subnet().vpc());
      facts->Add("Prefixes", StrJoin(object.subnet().prefixes(), ", "));
      facts->Add("Gateways", StrJoin(object.subnet().gateways(), ", "));
      facts->Add("DNS servers", StrJoin(object.subnet().dns_servers(), ", "));
      break;
    case v1::Object::kVm:
      facts->Add("UUID", object.vm().uuid());
      break;
    case v1::Object::kPort: {
      const v1::Port& port = object.port();
      facts->Add("VM", port.vm().empty() ? "none yet" : port.vm());
      facts->Add("VPC", port.vpc());
      facts->Add("Subnet", port.subnet());
      facts->Add("MAC asked for", port.mac().empty() ? "the VF's own" : port.mac());
      facts->Add("Addresses", StrJoin(port.addresses(), ", "));
      facts->Add("May send as", StrJoin(PairTexts(port), ", "));
      facts->Add("Network", port.network() == v1::NETWORK_KIND_CONVERGED ? "converged" : "compute");
      facts->Add("Offload", port.offload() == v1::OFFLOAD_WISH_MUST  ? "must"
                            : port.offload() == v1::OFFLOAD_WISH_OFF ? "off"
                                                                     : "prefer");
      facts->Add("Spoof check", port.spoof_check() == v1::SPOOF_CHECK_ON    ? "on"
                                : port.spoof_check() == v1::SPOOF_CHECK_OFF ? "off"
                                                                            : "");
      facts->Add("Groups", StrJoin(port.security_groups(), ", "));
      facts->Add("Trust", port.trust() ? "on" : "");
      facts->Add("At most", Rate(port.max_tx_mbps()));
      facts->Add("At least", Rate(port.min_tx_mbps()));
      if (port.function() == v1::FUNCTION_SOURCE_HOTPLUG) {
        facts->Add("Function", "brought by hot-plug; whoever brings it forwards for it");
      }
      break;
    }
    case v1::Object::kEndpoint:
      facts->Add("VPC", object.endpoint().vpc());
      facts->Add("MAC", object.endpoint().mac());
      facts->Add("Addresses", StrJoin(object.endpoint().addresses(), ", "));
      facts->Add("VTEP", object.endpoint().vtep());
      facts->Add("Groups", StrJoin(object.endpoint().security_groups(), ", "));
      break;
    case v1::Object::kRoute:
      facts->Add("VPC", object.route().vpc());
      facts->Add("Prefix", object.route().prefix());
      facts->Add("Next hop", object.route().next_hop());
      break;
    case v1::Object::kSecurityGroup:
      facts->Add("VPC", object.security_group().vpc());
      facts->Add("Kind", object.security_group().stateless() ? "stateless" : "stateful");
      for (const v1::SecurityRule& rule : object.security_group().rules()) {
        facts->Add("Allows", AllowedText(rule));
      }
      break;
    case v1::Object::OBJECT_NOT_SET:
      break;
  }
}

void AddStatus(std::string_view ref, const v1::ObjectStatus& status, Facts* facts) {
  facts->Add("State", StateText(status.state()));
  facts->Add("Reason", status.reason());
  facts->Add("Step", status.step());
  facts->Add("Asked for", AskedOf(status));
  facts->Add("In its own words", status.peer_words());
  if (status.state() == v1::OBJECT_STATE_FAILED || status.permanent()) {
    facts->Add("Permanent", status.permanent()
                                ? "yes, tried again when the object or the host changes"
                                : "no, tried again by itself, after a while");
  }
  if (status.state() == v1::OBJECT_STATE_FAILED) {
    facts->Add("Rolled back", status.rolled_back() ? "yes, nothing of it is left"
                                                   : "no, something of it is still there");
  }
  facts->Add("What next", NextStep(ref, status));
  facts->Add("Generation", StrCat(status.generation(),
                                  status.observed_generation() == 0
                                      ? std::string(", none was ready yet")
                                      : StrCat(", last ready ", status.observed_generation())));
  facts->Add("VF", status.vf());
  facts->Add("VF PCI", status.vf_pci());
  facts->Add("VF MAC", status.mac());
  facts->Add("VLAN", Number(status.vlan()));
  facts->Add("Lease", Number(status.lease()));
  facts->Add("Representor", status.representor());
  facts->Add("Guest device", status.guest_device());
  facts->Add("Guest root port", status.guest_bus());
  if (status.rules_wanted() != 0) {
    facts->Add("Rules", StrCat(status.rules_wanted(), " wanted, ", status.rules_observed(),
                               " there, ", status.rules_in_hardware(), " in hardware"));
  }
}

// Also when it is over, or the next try has begun: then the status has lost its words.
void AddLastError(const v1::LastError& error, const v1::ObjectStatus& status, Facts* facts) {
  if (error.times() == 0) return;
  const bool shown = error.reason() == status.reason();
  facts->Add("Last error", shown ? std::string("the reason above") : error.reason());
  if (!shown) {
    facts->Add("  step", error.step());
    facts->Add("  in its own words", error.peer_words());
  }
  facts->Add("  seen", error.times() == 1 ? StrCat("once, ", TimeText(error.last_time()))
                                          : StrCat(error.times(), " times in a row, first ",
                                                   TimeText(error.first_time()), ", last ",
                                                   TimeText(error.last_time())));
  facts->Add("  of generation", Number(error.generation()));
  facts->Add("  now", status.state() == v1::OBJECT_STATE_READY
                          ? std::string("over: the object is ready")
                      : error.retry_in_ms() != 0
                          ? StrCat("tried again in ", (error.retry_in_ms() + 999) / 1000, " s")
                          : "");
}

void AddTraffic(const v1::Traffic& traffic, Facts* facts) {
  facts->Add("Traffic", traffic.problem().empty() ? "" : StrCat("not known: ", traffic.problem()));
  if (traffic.has_sent()) facts->Add("Sent", CountersText(traffic.sent()));
  if (traffic.has_received()) facts->Add("Received", CountersText(traffic.received()));
}

void AddDrifts(const v1::ObjectWithStatus& object, Facts* facts) {
  for (const v1::Drift& drift : object.drifts()) {
    facts->Add("Changed by others",
               StrCat(TimeText(drift.noticed_time()), " ", drift.resource(), ": ", drift.change(),
                      drift.repaired_time() == 0
                          ? std::string("; not repaired yet")
                          : StrCat("; repaired ", TimeText(drift.repaired_time()))));
  }
}

}  // namespace

std::string AskedOf(const v1::ObjectStatus& status) {
  // agent/base/error.h: "<asked>: <the peer's words>".
  if (status.peer_words().empty()) return "";
  const size_t at = status.reason().find(": " + status.peer_words());
  return at == std::string::npos ? "" : status.reason().substr(0, at);
}

std::string NextStep(std::string_view ref, const v1::ObjectStatus& status) {
  const std::string look = StrCat("; `fairleadctl watch ", ref, "` shows how far it is");
  switch (status.state()) {
    case v1::OBJECT_STATE_PENDING:
      return StrCat("it goes on by itself once what the reason names is there", look);
    case v1::OBJECT_STATE_APPLYING:
      return StrCat("nothing: it is under way", look);
    case v1::OBJECT_STATE_REMOVING:
      return StrCat("nothing: the agent goes on taking it apart", look);
    case v1::OBJECT_STATE_FAILED:
    case v1::OBJECT_STATE_DEGRADED:
      if (status.permanent()) {
        return "correct what the reason names, in the object (apply or attach it again) or on the "
               "host; the agent notices both and tries again";
      }
      return StrCat("the agent tries again by itself; what the reason names may need a hand", look);
    default:
      return "";
  }
}

// What belongs to a VPC, a subnet or a VM.
bool Belongs(const v1::Object& child, const v1::Object& parent) {
  const v1::Port& port = child.port();
  switch (parent.object_case()) {
    case v1::Object::kVpc: {
      const std::string& id = parent.vpc().id();
      return (child.has_subnet() && child.subnet().vpc() == id) ||
             (child.has_port() && port.vpc() == id) ||
             (child.has_endpoint() && child.endpoint().vpc() == id) ||
             (child.has_route() && child.route().vpc() == id);
    }
    case v1::Object::kSubnet:
      return child.has_port() && port.subnet() == parent.subnet().id();
    case v1::Object::kVm:
      return child.has_port() && port.vm() == parent.vm().id();
    default:
      return false;
  }
}

std::string DescribeObject(const v1::ObjectWithStatus& object, const v1::GetReply& all) {
  Facts facts;
  AddObject(object.object(), &facts);
  const std::string ref = RefTextOf(object);
  AddStatus(ref, object.status(), &facts);
  AddTraffic(object.traffic(), &facts);
  AddLastError(object.last_error(), object.status(), &facts);
  AddDrifts(object, &facts);
  std::string out = Printable(ref) + "\n" + facts.Print("  ");
  std::string members;
  for (const auto& other : all.objects()) {
    if (!Belongs(other.object(), object.object())) continue;
    StrAppend(&members, "    ", Printable(RefTextOf(other)), " ",
              StateText(other.status().state()));
    if (!other.status().reason().empty()) {
      StrAppend(&members, ": ", Printable(other.status().reason()));
    }
    members += '\n';
  }
  if (!members.empty()) out += "  Holds:\n" + members;
  return out;
}

std::string DescribePf(const v1::HostState& host, std::string_view id) {
  for (const auto& pf : host.pfs()) {
    if (!MatchesPf(pf, id)) continue;
    Facts facts;
    const bool hotplug = !pf.hotplug().empty();
    facts.Add("PCI", pf.pci());
    facts.Add("Hot-plug port", pf.name());
    if (hotplug) facts.Add("Functions known by", pf.hotplug() == "slot" ? "their slot" : "MAC");
    facts.Add("Netdev", pf.netdev());
    facts.Add("Driver", pf.driver());
    facts.Add("Network", pf.network() == v1::NETWORK_KIND_CONVERGED ? "converged" : "compute");
    if (hotplug) {
      facts.Add("Functions", StrCat(pf.num_vfs(), " there now"));
    } else {
      facts.Add("VFs", StrCat(pf.num_vfs(), " of ", pf.total_vfs(), " possible"));
      facts.Add("MAC of a VF", pf.can_set_vf_mac() ? "can be set" : "cannot be set by this NIC");
    }
    if (pf.hardware_rules() != 0 || pf.max_hardware_rules() != 0) {
      facts.Add(
          "Hardware rules",
          StrCat(pf.hardware_rules(),
                 pf.max_hardware_rules() == 0 ? "" : StrCat(" of ", pf.max_hardware_rules())));
    }
    facts.Add("Eswitch", EswitchText(pf.eswitch_now()));
    facts.Add("To be", EswitchText(pf.eswitch_wanted()));
    facts.Add("Not as configured", pf.eswitch_problem());
    facts.Add("VFs failed", pf.pool_problem());
    facts.Add("Not used", pf.refused());
    std::string out = StrCat("pf/", Printable(pf.mac()), "\n", facts.Print("  "));
    for (const auto& vf : pf.vfs()) {
      StrAppend(&out, "    vf ", vf.index(), " ", Printable(vf.pci()), " ", Printable(vf.state()),
                vf.port().empty() ? "" : StrCat(", port/", Printable(vf.port())),
                vf.detail().empty() ? "" : StrCat(": ", Printable(vf.detail())), "\n");
    }
    return out;
  }
  return "";
}

// What was found when its last lease ended, each check in a line of its own.
std::string SanitationText(std::string_view name, const v1::HostState::Vf::Sanitation& record) {
  const bool clean = record.verdict() == "clean", quarantined = record.verdict() == "quarantined";
  Facts facts;
  facts.Add("Last tenant", StrCat("port/", record.port(),
                                  record.vm().empty() ? "" : StrCat(" of vm/", record.vm()),
                                  ", lease ", record.lease()));
  facts.Add("Given back", clean ? "clean" : "not proven clean");
  facts.Add("Checked", TimeText(record.checked_at()));
  if (!record.released_by().empty()) {
    facts.Add("Released", StrCat("by ", record.released_by(), ", ", TimeText(record.released_at()),
                                 clean ? ", cleaned and checked again" : ", as it was"));
  }
  facts.Add(quarantined ? "Quarantined for" : "Was quarantined for", record.reason());
  if (quarantined) {
    facts.Add("What next", StrCat("nobody gets it; `fairleadctl vf release ", name,
                                  "` cleans and checks it again, --force frees it as it is"));
  }
  for (const auto& finding : record.findings()) {
    facts.Add(StrCat("  ", finding.what()),
              StrCat(finding.state(), finding.value().empty() ? "" : StrCat(", ", finding.value()),
                     finding.why().empty() ? "" : StrCat(": ", finding.why())));
  }
  return facts.Print("  ");
}

std::string DescribeVf(const v1::HostState& host, std::string_view id) {
  for (const auto& pf : host.pfs()) {
    for (const auto& vf : pf.vfs()) {
      if (!MatchesVf(pf, vf, id)) continue;
      Facts facts;
      if (pf.hotplug().empty()) {
        facts.Add("PF", StrCat(pf.netdev(), " ", pf.pci()));
      } else {
        facts.Add("Hot-plug port", StrCat(pf.name(), " ", pf.pci()));
      }
      facts.Add("PCI", vf.pci());
      facts.Add("Device", vf.ids());
      facts.Add("Netdev", vf.netdev());
      facts.Add("Driver", vf.driver().empty() ? "none bound" : vf.driver());
      facts.Add("MAC", vf.mac());
      facts.Add("VLAN", Number(vf.vlan()));
      facts.Add("Settings", VfSettingsText(vf));
      facts.Add("Representor", vf.representor());
      facts.Add("IOMMU group", vf.iommu_group() < 0 ? "none" : StrCat(vf.iommu_group()));
      facts.Add("State", vf.state());
      facts.Add("Why", vf.detail());
      facts.Add("Port", vf.port());
      facts.Add("Lease", Number(vf.lease()));
      const std::string name = StrCat(Printable(pf.mac()), "/", vf.index());
      return StrCat("vf/", name, "\n", facts.Print("  "),
                    vf.has_sanitation() ? SanitationText(name, vf.sanitation()) : "");
    }
  }
  return "";
}

}  // namespace fairlead
