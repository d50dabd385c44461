// SPDX-License-Identifier: Apache-2.0
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "agent/base/text.h"
#include "agent/ctl/render.h"
#include "agent/ctl/table.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

std::string KindText(int kind) {
  switch (kind) {
    case v1::OBJECT_KIND_VPC:
      return "vpc";
    case v1::OBJECT_KIND_SUBNET:
      return "subnet";
    case v1::OBJECT_KIND_VM:
      return "vm";
    case v1::OBJECT_KIND_PORT:
      return "port";
    case v1::OBJECT_KIND_ENDPOINT:
      return "endpoint";
    case v1::OBJECT_KIND_ROUTE:
      return "route";
    case v1::OBJECT_KIND_SECURITY_GROUP:
      return "security-group";
    default:
      return StrCat("kind-", kind);
  }
}

std::string NetworkText(int network) {
  return network == v1::NETWORK_KIND_CONVERGED ? "converged" : "compute";
}

std::string Text(const google::protobuf::RepeatedPtrField<std::string>& list) {
  return StrJoin(list, ",");
}

std::string NumberText(uint64_t number) { return number == 0 ? "" : StrCat(number); }

std::string RulesText(const v1::ObjectStatus& status) {
  if (status.rules_wanted() == 0) return "";
  return StrCat(status.rules_observed(), "/", status.rules_wanted(), " (",
                status.rules_in_hardware(), " hw)");
}

std::vector<std::string> Header(int kind, bool wide) {
  switch (kind) {
    case v1::OBJECT_KIND_VPC:
      return {"ID", "VNI", "VLAN", "STATE", "REASON"};
    case v1::OBJECT_KIND_SUBNET:
      if (wide) return {"ID", "VPC", "PREFIXES", "GATEWAYS", "DNS", "STATE", "REASON"};
      return {"ID", "VPC", "PREFIXES", "GATEWAYS", "STATE", "REASON"};
    case v1::OBJECT_KIND_VM:
      return {"ID", "UUID", "STATE", "REASON"};
    case v1::OBJECT_KIND_PORT:
      if (wide) {
        return {"ID",    "VM",    "VPC", "SUBNET", "MAC",   "ADDRESSES",
                "PAIRS", "STATE", "VF",  "RULES",  "REASON"};
      }
      return {"ID", "VM", "VPC", "SUBNET", "MAC", "ADDRESSES", "STATE", "VF", "RULES", "REASON"};
    case v1::OBJECT_KIND_ROUTE:
      return {"ID", "VPC", "PREFIX", "NEXT-HOP", "STATE", "REASON"};
    case v1::OBJECT_KIND_SECURITY_GROUP:
      return {"ID", "VPC", "KIND", "RULES", "STATE", "REASON"};
    default:
      return {"ID", "VPC", "MAC", "ADDRESSES", "VTEP", "STATE", "REASON"};
  }
}

std::vector<std::string> Cells(const v1::Object& object, const v1::ObjectStatus& status,
                               bool wide) {
  const std::string state = StateText(status.state());
  switch (object.object_case()) {
    case v1::Object::kVpc:
      return {object.vpc().id(), NumberText(object.vpc().vni()),
              object.vpc().flat() ? "flat" : NumberText(object.vpc().vlan()), state,
              status.reason()};
    case v1::Object::kSubnet: {
      const v1::Subnet& subnet = object.subnet();
      std::vector<std::string> row{subnet.id(), subnet.vpc(), Text(subnet.prefixes()),
                                   Text(subnet.gateways())};
      if (wide) row.push_back(Text(subnet.dns_servers()));
      row.insert(row.end(), {state, status.reason()});
      return row;
    }
    case v1::Object::kVm:
      return {object.vm().id(), object.vm().uuid(), state, status.reason()};
    case v1::Object::kPort: {
      const v1::Port& port = object.port();
      std::vector<std::string> row{port.id(),
                                   port.vm(),
                                   port.vpc(),
                                   port.subnet(),
                                   status.mac().empty() ? port.mac() : status.mac(),
                                   Text(port.addresses())};
      if (wide) row.push_back(StrJoin(PairTexts(port), ","));
      row.insert(row.end(), {state, status.vf_pci().empty() ? status.vf() : status.vf_pci(),
                             RulesText(status), status.reason()});
      return row;
    }
    case v1::Object::kEndpoint: {
      const v1::Endpoint& endpoint = object.endpoint();
      return {endpoint.id(),   endpoint.vpc(), endpoint.mac(), Text(endpoint.addresses()),
              endpoint.vtep(), state,          status.reason()};
    }
    case v1::Object::kRoute: {
      const v1::Route& route = object.route();
      return {route.id(), route.vpc(), route.prefix(), route.next_hop(), state, status.reason()};
    }
    case v1::Object::kSecurityGroup: {
      const v1::SecurityGroup& group = object.security_group();
      return {group.id(),
              group.vpc(),
              group.stateless() ? "stateless" : "stateful",
              StrCat(group.rules_size()),
              state,
              status.reason()};
    }
    case v1::Object::OBJECT_NOT_SET:
      break;
  }
  return {status.ref().id()};
}

}  // namespace

std::string RefText(const v1::ObjectRef& ref) {
  return StrCat(KindText(ref.kind()), "/", ref.id());
}

std::string RefTextOf(const v1::Object& object) {
  switch (object.object_case()) {
    case v1::Object::kVpc:
      return "vpc/" + object.vpc().id();
    case v1::Object::kSubnet:
      return "subnet/" + object.subnet().id();
    case v1::Object::kVm:
      return "vm/" + object.vm().id();
    case v1::Object::kPort:
      return "port/" + object.port().id();
    case v1::Object::kEndpoint:
      return "endpoint/" + object.endpoint().id();
    case v1::Object::kRoute:
      return "route/" + object.route().id();
    case v1::Object::kSecurityGroup:
      return "security-group/" + object.security_group().id();
    case v1::Object::OBJECT_NOT_SET:
      break;
  }
  return "";
}

std::string RefTextOf(const v1::ObjectWithStatus& item) {
  std::string ref = RefTextOf(item.object());
  return ref.empty() ? RefText(item.status().ref()) : ref;
}

std::string ReasonWithWords(const v1::ObjectStatus& status) {
  const std::string& words = status.peer_words();
  if (words.empty() || status.reason().find(words) != std::string::npos) return status.reason();
  return status.reason().empty() ? words : StrCat(status.reason(), " (", words, ")");
}

std::string StoryOf(std::string_view ref, const v1::ObjectStatus& status) {
  const std::string reason = ReasonWithWords(status);
  return StrCat(ref, " is ", StateText(status.state()), reason.empty() ? "" : ": ", reason);
}

std::string FirstOf(const std::vector<std::string>& stories) {
  constexpr size_t kMost = 5;
  if (stories.size() <= kMost) return StrJoin(stories, "; ");
  return StrCat(StrJoin(std::vector<std::string>(stories.begin(), stories.begin() + kMost), "; "),
                "; and ", stories.size() - kMost, " more");
}

std::string TimeText(uint64_t unix_ns) {
  const auto seconds = static_cast<time_t>(unix_ns / 1'000'000'000);
  struct tm utc {};
  ::gmtime_r(&seconds, &utc);
  char when[64];
  const size_t length = std::strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(when + length, sizeof(when) - length, ".%03uZ",
                static_cast<unsigned>(unix_ns / 1'000'000 % 1000));
  return when;
}

std::string RenderChange(uint64_t unix_ns, std::string_view ref, const v1::ObjectStatus& status,
                         bool gone) {
  std::string out = TimeText(unix_ns);
  const auto column = [&out](std::string text, size_t width) {
    if (text.empty()) text = "-";
    text = Printable(text);
    text.resize(std::max(text.size(), width), ' ');
    StrAppend(&out, "  ", text);
  };
  column(std::string(ref), 20);
  column(gone ? "gone" : StateText(status.state()), 8);
  column(gone ? "" : status.step(), 20);
  column(gone ? "" : ReasonWithWords(status), 0);
  return out;
}

std::string StateText(int state) {
  switch (state) {
    case v1::OBJECT_STATE_PENDING:
      return "pending";
    case v1::OBJECT_STATE_APPLYING:
      return "applying";
    case v1::OBJECT_STATE_READY:
      return "ready";
    case v1::OBJECT_STATE_DEGRADED:
      return "degraded";
    case v1::OBJECT_STATE_FAILED:
      return "failed";
    case v1::OBJECT_STATE_REMOVING:
      return "removing";
    default:
      return "unknown";
  }
}

std::string RenderRejected(const v1::Rejected& rejected, const DescribePath& describe) {
  std::string out;
  for (const auto& violation : rejected.violations()) {
    const std::string path = describe ? describe(violation.path()) : violation.path();
    if (!path.empty()) StrAppend(&out, Printable(path), ": ");
    StrAppend(&out, Printable(violation.reason()), "\n");
  }
  return out;
}

std::string RenderAccepted(const v1::Accepted& accepted) {
  if (accepted.items().empty()) return "nothing to change\n";
  std::string out;
  for (const auto& item : accepted.items()) {
    StrAppend(&out, Printable(RefText(item.ref())),
              item.generation() == 0 ? std::string(" removed")
                                     : StrCat(" accepted, generation ", item.generation()),
              "\n");
  }
  return out;
}

std::string RenderReleased(const v1::VfReleased& released) {
  const v1::HostState::Vf::Sanitation& record = released.sanitation();
  std::string out = StrCat("vf/", Printable(released.vf()), " is free: ");
  if (record.verdict() == "clean") return out + "cleaned, checked again and found clean\n";
  std::vector<std::string> unproven;
  for (const auto& finding : record.findings()) {
    if (finding.state() != "clean") unproven.push_back(finding.what());
  }
  StrAppend(&out, "as it is; not proven clean: ", Printable(StrJoin(unproven, ", ")), "\n");
  return out;
}

std::string RenderPlan(const v1::Plan& plan) {
  std::string out;
  for (const auto& item : plan.accepted().items()) {
    StrAppend(&out, item.generation() == 0 ? "would remove " : "would store ",
              Printable(RefText(item.ref())), "\n");
  }
  const bool stored = !out.empty();
  for (const auto& step : plan.steps()) {
    StrAppend(&out, Printable(step.verb()), " ", Printable(step.resource()));
    if (!step.detail().empty()) StrAppend(&out, ": ", Printable(step.detail()));
    if (!step.owner().empty()) StrAppend(&out, "  (", Printable(step.owner()), ")");
    out += '\n';
  }
  for (const auto& blocked : plan.blocked()) {
    StrAppend(&out, "blocked ", Printable(RefText(blocked.ref())), ": ",
              Printable(blocked.reason()), "\n");
  }
  if (!stored && out.empty()) return "nothing would be done\n";
  if (plan.steps().empty() && plan.blocked().empty()) out += "nothing to do on the host\n";
  return out;
}

std::vector<std::string> PairTexts(const v1::Port& port) {
  std::vector<std::string> texts;
  for (const v1::AddressPair& pair : port.allowed_pairs()) {
    texts.push_back(StrCat(pair.prefix(), pair.mac().empty() ? "" : " from ", pair.mac()));
  }
  return texts;
}

std::string RenderObjects(const v1::GetReply& reply, int kind, bool wide) {
  Table table(Header(kind, wide));
  for (const auto& item : reply.objects()) {
    // The numbers of the oneof and of ObjectKind are the same (intent.proto).
    if (item.object().object_case() == kind) {
      table.Row(Cells(item.object(), item.status(), wide));
    }
  }
  return table.Print();
}

bool MatchesPf(const v1::HostState::Pf& pf, std::string_view id) {
  return id.empty() || id == pf.mac() || id == pf.pci() || id == pf.netdev() || id == pf.name();
}

bool MatchesVf(const v1::HostState::Pf& pf, const v1::HostState::Vf& vf, std::string_view id) {
  if (id.empty() || id == vf.pci()) return true;
  const size_t slash = id.rfind('/');
  return slash != std::string_view::npos && slash != 0 && MatchesPf(pf, id.substr(0, slash)) &&
         id.substr(slash + 1) == StrCat(vf.index());
}

bool MatchesDrift(const v1::Drift& drift, std::string_view id) {
  return id.empty() || drift.resource().find(id) != std::string::npos ||
         drift.owner().find(id) != std::string::npos;
}

bool MatchesForeign(const v1::HostState::Foreign& object, std::string_view id) {
  return id.empty() || object.resource().find(id) != std::string::npos || object.store_id() == id;
}

int FreeVfs(const v1::HostState::Pf& pf) {
  return static_cast<int>(std::count_if(pf.vfs().begin(), pf.vfs().end(),
                                        [](const auto& vf) { return vf.state() == "free"; }));
}

std::string EswitchText(const v1::HostState::Pf::Eswitch& eswitch) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : {std::pair("mode ", eswitch.mode()),
                                    {"inline ", eswitch.inline_()},
                                    {"encap ", eswitch.encap()}}) {
    if (!value.empty()) parts.push_back(StrCat(name, value));
  }
  return StrJoin(parts, ", ");
}

std::string PfProblem(const v1::HostState::Pf& pf) {
  if (!pf.refused().empty()) return pf.refused();
  std::vector<std::string> problems;
  if (!pf.eswitch_problem().empty()) problems.push_back(StrCat("eswitch ", pf.eswitch_problem()));
  if (!pf.pool_problem().empty()) problems.push_back(StrCat("VFs: ", pf.pool_problem()));
  return StrJoin(problems, "; ");
}

std::string RenderPfs(const v1::HostState& host, std::string_view id, bool wide) {
  std::vector<std::string> header{"MAC",     "PCI", "NETDEV", "DRIVER",
                                  "NETWORK", "VFS", "FREE",   "VF-MAC"};
  if (wide) header.insert(header.end(), {"ESWITCH", "ESWITCH-WANTED"});
  header.push_back("PROBLEM");
  Table table(std::move(header));
  for (const auto& pf : host.pfs()) {
    if (!MatchesPf(pf, id)) continue;
    if (!pf.hotplug().empty()) {
      std::vector<std::string> row{pf.name(),
                                   pf.pci(),
                                   "",
                                   "hot-plug",
                                   NetworkText(pf.network()),
                                   StrCat(pf.num_vfs()),
                                   StrCat(FreeVfs(pf)),
                                   "fixed"};
      if (wide) row.resize(row.size() + 2);
      row.push_back(pf.refused());
      table.Row(std::move(row));
      continue;
    }
    std::vector<std::string> row{pf.mac(),
                                 pf.pci(),
                                 pf.netdev(),
                                 pf.driver(),
                                 NetworkText(pf.network()),
                                 StrCat(pf.num_vfs(), "/", pf.total_vfs()),
                                 StrCat(FreeVfs(pf)),
                                 pf.can_set_vf_mac() ? "settable" : "fixed"};
    if (wide) {
      row.push_back(EswitchText(pf.eswitch_now()));
      row.push_back(EswitchText(pf.eswitch_wanted()));
    }
    row.push_back(PfProblem(pf));
    table.Row(std::move(row));
  }
  return table.Print();
}

std::string VfSettingsText(const v1::HostState::Vf& vf) {
  std::vector<std::string> words;
  if (vf.has_spoof_check()) {
    words.push_back(vf.spoof_check() ? "spoof check on" : "spoof check off");
  }
  if (vf.trust()) words.push_back("trusted");
  if (vf.max_tx_mbps() != 0) words.push_back(StrCat("at most ", vf.max_tx_mbps(), " Mbit/s"));
  if (vf.min_tx_mbps() != 0) words.push_back(StrCat("at least ", vf.min_tx_mbps(), " Mbit/s"));
  return StrJoin(words, ", ");
}

std::string RenderVfs(const v1::HostState& host, std::string_view id) {
  Table table({"VF", "PCI", "DRIVER", "MAC", "VLAN", "SETTINGS", "REPRESENTOR", "STATE", "PORT",
               "LEASE", "DETAIL"});
  for (const auto& pf : host.pfs()) {
    for (const auto& vf : pf.vfs()) {
      if (!MatchesVf(pf, vf, id)) continue;
      table.Row({StrCat(pf.mac(), "/", vf.index()), vf.pci(), vf.driver(), vf.mac(),
                 NumberText(vf.vlan()), VfSettingsText(vf), vf.representor(), vf.state(), vf.port(),
                 NumberText(vf.lease()), vf.detail()});
    }
  }
  return table.Print();
}

std::string RenderDrifts(const v1::HostState& host, std::string_view id) {
  Table table({"NOTICED", "OWNER", "RESOURCE", "REPAIRED", "CHANGE"});
  for (const auto& drift : host.drifts()) {
    if (!MatchesDrift(drift, id)) continue;
    table.Row({TimeText(drift.noticed_time()), drift.owner(), drift.resource(),
               drift.repaired_time() == 0 ? "not yet" : TimeText(drift.repaired_time()),
               drift.change()});
  }
  return table.Print();
}

std::string RenderForeign(const v1::HostState& host, std::string_view id) {
  Table table({"STORE", "RESOURCE", "DETAIL"});
  for (const auto& object : host.foreign()) {
    if (MatchesForeign(object, id)) {
      table.Row({object.store_id(), object.resource(), object.detail()});
    }
  }
  return table.Print();
}

std::string RenderTakenOver(const v1::TakenOver& taken_over) {
  std::string out = taken_over.taken().empty() ? "nothing was there to take\n" : "";
  for (const std::string& text : taken_over.taken())
    StrAppend(&out, "taken  ", Printable(text), "\n");
  for (const std::string& text : taken_over.left())
    StrAppend(&out, "left   ", Printable(text), "\n");
  return out;
}

// "512 adopted, 1 repaired, 0 removed; 40 ms"
std::string StartText(const v1::HostState::Start& start) {
  if (!start.complete()) return "still looking at what was there";
  return StrCat(start.adopted(), " adopted, ", start.repaired(), " repaired, ", start.removed(),
                " removed, ", start.foreign(), " of other stores left alone; took ",
                start.took_ms(), " ms");
}

// "3 of an unknown VNI, 12 in vpc red"; "" = nothing, or it was not asked for.
std::string DropsText(const v1::HostState::TunnelDrops& drops) {
  if (!drops.problem().empty()) return StrCat("not known: ", Printable(drops.problem()));
  std::vector<std::string> parts;
  if (drops.unknown_vni() != 0) parts.push_back(StrCat(drops.unknown_vni(), " of an unknown VNI"));
  for (const auto& vpc : drops.vpcs()) {
    if (vpc.packets() == 0) continue;
    parts.push_back(StrCat(vpc.packets(), " in vpc ", Printable(vpc.vpc())));
  }
  return parts.empty() ? "" : StrCat(StrJoin(parts, ", "), ": for nobody here, or of no peer");
}

Health RenderStatus(const v1::HostState& host, const v1::GetReply& all) {
  Health health;
  Facts facts;
  facts.Add("Agent", host.version());
  facts.Add("Store", host.store_id());
  facts.Add("At its start", StartText(host.start()));
  if (!host.store_problem().empty()) {
    health.troubled = true;
    facts.Add("NOT STORED", Printable(host.store_problem()));
  }
  facts.Add("Tunnel", host.tunnel().empty() ? "none" : host.tunnel());
  if (!host.tunnel_problem().empty()) {
    health.troubled = true;
    facts.Add("TUNNEL MTU", Printable(host.tunnel_problem()));
  }
  for (const std::string& problem : host.problems()) {
    health.troubled = true;
    facts.Add("NOT DONE", Printable(problem));
  }
  if (!host.tunnel_note().empty()) facts.Add("Tunnel MTU", Printable(host.tunnel_note()));
  if (const std::string dropped = DropsText(host.tunnel_drops()); !dropped.empty()) {
    facts.Add("Tunnel dropped", dropped);
  }
  const auto& slow_path = host.slow_path();
  if (!slow_path.problem().empty()) {
    health.troubled = true;
    facts.Add("SLOW PATH", Printable(slow_path.problem()));
  } else if (slow_path.received() != 0) {
    facts.Add("Slow path", StrCat(slow_path.answered(), " answered of ", slow_path.received(),
                                  " frames; ", slow_path.spoofed(), " spoofed, ",
                                  slow_path.malformed(), " malformed, ", slow_path.over_rate(),
                                  " over the rate, ", slow_path.unknown(), " for nobody here"));
  }
  std::map<int, int> states;
  std::string trouble;
  for (const auto& item : all.objects()) {
    const int state = item.status().state();
    ++states[state];
    if (state != v1::OBJECT_STATE_FAILED && state != v1::OBJECT_STATE_DEGRADED) continue;
    health.troubled = true;
    StrAppend(&trouble, "  ", Printable(RefTextOf(item.object())), " ", StateText(state), ": ",
              Printable(item.status().reason()), "\n");
  }
  std::vector<std::string> counts;
  for (const auto& [state, count] : states) counts.push_back(StrCat(count, " ", StateText(state)));
  if (host.drifts_noticed() != 0) {
    facts.Add("Changed by others", StrCat(host.drifts_noticed(), " noticed, ",
                                          host.drifts_repaired(), " repaired since the start"));
  }
  if (!host.foreign().empty()) {
    facts.Add("Of other stores",
              StrCat(host.foreign().size(), " objects, left alone (fairleadctl get foreign)"));
  }
  facts.Add("Objects", counts.empty() ? "none" : StrJoin(counts, ", "));
  for (const auto& pf : host.pfs()) {
    const bool hotplug = !pf.hotplug().empty();
    facts.Add(hotplug ? "Hot-plug" : "PF",
              StrCat(hotplug               ? pf.name()
                     : pf.netdev().empty() ? pf.mac()
                                           : pf.netdev(),
                     " ", pf.pci(), " ", NetworkText(pf.network()), ", ", pf.num_vfs(),
                     hotplug ? " functions, " : " VFs, ", FreeVfs(pf), " free",
                     pf.refused().empty() ? "" : StrCat(", NOT USED: ", pf.refused()),
                     pf.eswitch_problem().empty() ? "" : StrCat(", ESWITCH ", pf.eswitch_problem()),
                     pf.pool_problem().empty() ? "" : StrCat(", VFs: ", pf.pool_problem())));
    if (!PfProblem(pf).empty()) health.troubled = true;
  }
  for (const auto& pf : host.pfs()) {
    for (const auto& vf : pf.vfs()) {
      if (vf.state() != "quarantined") continue;
      health.troubled = true;
      StrAppend(&trouble, "  vf/", Printable(pf.mac()), "/", vf.index(),
                " quarantined: ", Printable(vf.detail()), "\n");
    }
  }
  for (const auto& lane : host.lanes()) {
    if (lane.parked()) health.troubled = true;
    if (lane.queued() == 0 && lane.running().empty()) continue;
    facts.Add("Lane", StrCat(lane.name(), ": ", lane.queued(), " waiting",
                             lane.running().empty() ? ""
                                                    : StrCat(", running ", lane.running(), " for ",
                                                             lane.running_ms(), " ms"),
                             lane.parked() ? ", PARKED past its deadline" : ""));
  }
  health.text = facts.Print();
  if (!trouble.empty()) health.text += "Not well:\n" + trouble;
  return health;
}

}  // namespace fairlead
