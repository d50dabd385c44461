// SPDX-License-Identifier: Apache-2.0
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

std::string RulesText(const v1::ObjectStatus& status) {
  if (status.rules_wanted() == 0) return "";
  return StrCat(status.rules_observed(), "/", status.rules_wanted(), " (",
                status.rules_in_hardware(), " hw)");
}

std::vector<std::string> Header(int kind) {
  switch (kind) {
    case v1::OBJECT_KIND_VPC:
      return {"ID", "VNI", "STATE", "REASON"};
    case v1::OBJECT_KIND_SUBNET:
      return {"ID", "VPC", "PREFIXES", "STATE", "REASON"};
    case v1::OBJECT_KIND_VM:
      return {"ID", "UUID", "STATE", "REASON"};
    case v1::OBJECT_KIND_PORT:
      return {"ID", "VM", "VPC", "SUBNET", "MAC", "ADDRESSES", "STATE", "VF", "RULES", "REASON"};
    default:
      return {"ID", "VPC", "MAC", "ADDRESSES", "VTEP", "STATE", "REASON"};
  }
}

std::vector<std::string> Cells(const v1::Object& object, const v1::ObjectStatus& status) {
  const std::string state = StateText(status.state());
  switch (object.object_case()) {
    case v1::Object::kVpc:
      return {object.vpc().id(), StrCat(object.vpc().vni()), state, status.reason()};
    case v1::Object::kSubnet:
      return {object.subnet().id(), object.subnet().vpc(), Text(object.subnet().prefixes()), state,
              status.reason()};
    case v1::Object::kVm:
      return {object.vm().id(), object.vm().uuid(), state, status.reason()};
    case v1::Object::kPort: {
      const v1::Port& port = object.port();
      return {port.id(),
              port.vm(),
              port.vpc(),
              port.subnet(),
              status.mac().empty() ? port.mac() : status.mac(),
              Text(port.addresses()),
              state,
              status.vf_pci().empty() ? status.vf() : status.vf_pci(),
              RulesText(status),
              status.reason()};
    }
    case v1::Object::kEndpoint: {
      const v1::Endpoint& endpoint = object.endpoint();
      return {endpoint.id(),   endpoint.vpc(), endpoint.mac(), Text(endpoint.addresses()),
              endpoint.vtep(), state,          status.reason()};
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
    case v1::Object::OBJECT_NOT_SET:
      break;
  }
  return "";
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

std::string RenderRejected(const v1::Rejected& rejected) {
  std::string out;
  for (const auto& violation : rejected.violations()) {
    if (!violation.path().empty()) StrAppend(&out, Printable(violation.path()), ": ");
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

std::string RenderPlan(const v1::Plan& plan) {
  std::string out;
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
  if (out.empty()) out = "nothing would be done\n";
  return out;
}

std::string RenderObjects(const v1::GetReply& reply, int kind) {
  Table table(Header(kind));
  for (const auto& item : reply.objects()) {
    // The numbers of the oneof and of ObjectKind are the same (intent.proto).
    if (item.object().object_case() == kind) table.Row(Cells(item.object(), item.status()));
  }
  return table.Print();
}

std::string RenderPfs(const v1::HostState& host, std::string_view id) {
  Table table({"MAC", "PCI", "NETDEV", "DRIVER", "NETWORK", "VFS", "FREE", "VF-MAC", "PROBLEM"});
  for (const auto& pf : host.pfs()) {
    if (!id.empty() && id != pf.mac() && id != pf.pci() && id != pf.netdev()) continue;
    int free = 0;
    for (const auto& vf : pf.vfs()) free += vf.state() == "free";
    table.Row({pf.mac(), pf.pci(), pf.netdev(), pf.driver(), NetworkText(pf.network()),
               StrCat(pf.num_vfs(), "/", pf.total_vfs()), StrCat(free),
               pf.can_set_vf_mac() ? "settable" : "fixed", pf.refused()});
  }
  return table.Print();
}

std::string RenderVfs(const v1::HostState& host, std::string_view id) {
  Table table({"VF", "PCI", "DRIVER", "MAC", "REPRESENTOR", "STATE", "PORT", "LEASE", "DETAIL"});
  for (const auto& pf : host.pfs()) {
    for (const auto& vf : pf.vfs()) {
      const std::string name = StrCat(pf.mac(), "/", vf.index());
      if (!id.empty() && id != name && id != vf.pci()) continue;
      table.Row({name, vf.pci(), vf.driver(), vf.mac(), vf.representor(), vf.state(), vf.port(),
                 vf.lease() == 0 ? "" : StrCat(vf.lease()), vf.detail()});
    }
  }
  return table.Print();
}

std::string RenderRules(const v1::HostState& host, std::string_view id) {
  Table table({"LOCATION", "OWNER", "STATE", "IN-HW", "RULE"});
  for (const auto& rule : host.rules()) {
    if (!id.empty() && rule.location().find(id) == std::string::npos &&
        rule.owner().find(id) == std::string::npos) {
      continue;
    }
    table.Row(
        {rule.location(), rule.owner(), rule.state(), StrCat(rule.in_hw_count()), rule.text()});
  }
  return table.Print();
}

Health RenderStatus(const v1::HostState& host, const v1::GetReply& all) {
  Health health;
  Facts facts;
  facts.Add("Agent", host.version());
  facts.Add("Store", host.store_id());
  facts.Add("Tunnel", host.tunnel().empty() ? "none" : host.tunnel());
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
  facts.Add("Objects", counts.empty() ? "none" : StrJoin(counts, ", "));
  for (const auto& pf : host.pfs()) {
    int free = 0;
    for (const auto& vf : pf.vfs()) free += vf.state() == "free";
    facts.Add("PF", StrCat(pf.netdev().empty() ? pf.mac() : pf.netdev(), " ", pf.pci(), " ",
                           NetworkText(pf.network()), ", ", pf.num_vfs(), " VFs, ", free, " free",
                           pf.refused().empty() ? "" : StrCat(", NOT USED: ", pf.refused())));
    if (!pf.refused().empty()) health.troubled = true;
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
