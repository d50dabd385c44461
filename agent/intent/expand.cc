// SPDX-License-Identifier: Apache-2.0
#include "agent/intent/expand.h"

#include <optional>
#include <utility>

#include "agent/base/text.h"
#include "agent/intent/admit.h"
#include "agent/intent/parse.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

constexpr char kAdd[] = "add_vm_to_vpc";
constexpr char kRemove[] = "remove_vm_from_vpc";

// "" and a violation when the VPC has none, or several.
std::string OnlySubnet(const std::string& vpc, const World& world, Violations* out) {
  const std::set<std::string>& subnets = world.SubnetsOfVpc(vpc);
  if (subnets.size() == 1) return *subnets.begin();
  std::vector<std::string> named;
  for (const std::string& id : subnets) {
    if (named.size() == 5) {
      named.push_back("...");
      break;
    }
    named.push_back(id);
  }
  out->Add(StrCat(kAdd, ".subnet"),
           subnets.empty() ? ViolationCode::kNotFound : ViolationCode::kInvalid,
           subnets.empty() ? StrCat("vpc/", vpc, " has no subnet")
                           : StrCat("vpc/", vpc, " has ", subnets.size(), " subnets (",
                                    StrJoin(named, ", "), "): say which"));
  return "";
}

// An id that already names another VM's port, or one in another VPC, is a
// mistake of the asker: "add" does not take a port away from anybody.
void CheckPortIsFree(const std::string& port, const v1::AddVmToVpc& intent, const World& world,
                     Violations* out) {
  const Port* before = world.FindPort(port);
  if (before == nullptr) return;
  if (!before->vm.empty() && before->vm != intent.vm().id()) {
    out->Add(StrCat(kAdd, ".port"), ViolationCode::kConflict,
             StrCat("port/", port, " belongs to vm/", before->vm,
                    "; give another port id, or move it with an apply"));
  } else if (before->vpc != intent.vpc()) {
    out->Add(StrCat(kAdd, ".port"), ViolationCode::kConflict,
             StrCat("port/", port, " is in vpc/", before->vpc,
                    "; give another port id, or move it with an apply"));
  }
}

// What the intent leaves unsaid stays as an existing port has it: saying "add"
// again must not change a NIC that is in use.
void KeepUnsaid(const Port* before, v1::Port* port) {
  if (before == nullptr) return;
  if (port->mac().empty() && before->mac) port->set_mac(before->mac->ToString());
  if (port->addresses().empty()) {
    for (const IpAddress& address : before->addresses) port->add_addresses(address.ToString());
  }
  if (port->network() == v1::NETWORK_KIND_UNSPECIFIED) {
    port->set_network(before->network == NetworkKind::kConverged ? v1::NETWORK_KIND_CONVERGED
                                                                 : v1::NETWORK_KIND_COMPUTE);
  }
  const bool was_brought = before->function == FunctionSource::kHotplug;
  if (port->function() == v1::FUNCTION_SOURCE_UNSPECIFIED) {
    port->set_function(was_brought ? v1::FUNCTION_SOURCE_HOTPLUG : v1::FUNCTION_SOURCE_VF);
  }
  // What is set on the host's VFs does not go along to a function that is brought.
  if (port->function() == v1::FUNCTION_SOURCE_HOTPLUG && !was_brought) return;
  if (port->offload() == v1::OFFLOAD_WISH_UNSPECIFIED) {
    port->set_offload(before->offload == OffloadWish::kMust  ? v1::OFFLOAD_WISH_MUST
                      : before->offload == OffloadWish::kOff ? v1::OFFLOAD_WISH_OFF
                                                             : v1::OFFLOAD_WISH_PREFER);
  }
  if (port->spoof_check() == v1::SPOOF_CHECK_UNSPECIFIED && before->spoof_check) {
    port->set_spoof_check(*before->spoof_check ? v1::SPOOF_CHECK_ON : v1::SPOOF_CHECK_OFF);
  }
  for (const AddressPair& pair : before->allowed_pairs) ToProto(pair, port->add_allowed_pairs());
  if (port->security_groups().empty()) {
    port->mutable_security_groups()->Assign(before->security_groups.begin(),
                                            before->security_groups.end());
  }
  if (!port->trust()) port->set_trust(before->trust);
  if (port->max_tx_mbps() == 0) port->set_max_tx_mbps(before->max_tx_mbps);
  if (port->min_tx_mbps() == 0) port->set_min_tx_mbps(before->min_tx_mbps);
}

}  // namespace

Draft Expand(const v1::AddVmToVpc& intent, const World& world, Violations* out) {
  Draft draft;
  const Origin vm_origin{StrCat(kAdd, ".vm")};
  const std::string& vm = intent.vm().id();
  const bool vm_ok = CheckId(vm, vm_origin.Field("id"), out);
  const bool vm_known = vm_ok && world.FindVm(vm) != nullptr;
  if (vm_known && !intent.vm().uuid().empty()) {
    const absl::StatusOr<Uuid> uuid = Uuid::Parse(intent.vm().uuid());
    if (uuid.ok() && *uuid != world.FindVm(vm)->uuid) {
      out->Add(vm_origin.Field("uuid"), ViolationCode::kConflict,
               StrCat("vm/", vm, " has the UUID ", world.FindVm(vm)->uuid.ToString(),
                      "; change it with an apply if it really is another VM now"));
    }
  }
  if (vm_ok && !intent.vm().uuid().empty()) {
    draft.upserts.push_back(ParseVm(intent.vm(), vm_origin, out));
  } else if (vm_ok && !vm_known) {
    out->Add(vm_origin.Field("uuid"), ViolationCode::kNotFound,
             StrCat("vm/", vm, " is not known yet, so its UUID is needed"));
  }

  const bool vpc_ok = CheckId(intent.vpc(), StrCat(kAdd, ".vpc"), out);
  const bool vpc_known = vpc_ok && world.FindVpc(intent.vpc()) != nullptr;
  if (vpc_ok && !vpc_known) {
    out->Add(StrCat(kAdd, ".vpc"), ViolationCode::kNotFound,
             StrCat("vpc/", intent.vpc(), " is not there"));
  }
  v1::Port port;
  port.set_subnet(intent.subnet());
  if (intent.subnet().empty() && vpc_known) {
    port.set_subnet(OnlySubnet(intent.vpc(), world, out));
  }
  const bool subnet_ok = !intent.subnet().empty() || !port.subnet().empty();
  port.set_id(intent.port());
  if (intent.port().empty() && vm_ok && subnet_ok) {
    port.set_id(StrCat(vm, "-", port.subnet()));
    if (port.id().size() > kMaxObjectIdLength && CheckObjectId(port.subnet()).ok()) {
      out->Add(StrCat(kAdd, ".port"), ViolationCode::kInvalid,
               StrCat("the default port id ", Quoted(port.id()), " has ", port.id().size(),
                      " characters, more than ", kMaxObjectIdLength, ": give a port id"));
      port.clear_id();
    }
  }
  port.set_vm(vm);
  port.set_vpc(intent.vpc());
  port.set_mac(intent.mac());
  *port.mutable_addresses() = intent.addresses();
  port.set_network(intent.network());
  port.set_offload(intent.offload());
  port.set_spoof_check(intent.spoof_check());
  port.set_trust(intent.trust());
  port.set_max_tx_mbps(intent.max_tx_mbps());
  port.set_min_tx_mbps(intent.min_tx_mbps());
  *port.mutable_security_groups() = intent.security_groups();
  port.set_function(intent.function());
  KeepUnsaid(world.FindPort(port.id()), &port);

  // Fields that are known to be bad by now must not be reported a second time:
  // they are read as if well, and named bad afterwards.
  std::vector<std::string_view> bad;
  const auto stand_in = [&](bool ok, std::string_view field, auto set) {
    if (ok) return;
    bad.push_back(field);
    set("x");
  };
  stand_in(vm_ok && (vm_known || !intent.vm().uuid().empty()), "vm",
           [&](const char* id) { port.set_vm(id); });
  stand_in(vpc_known, "vpc", [&](const char* id) { port.set_vpc(id); });
  stand_in(subnet_ok, "subnet", [&](const char* id) { port.set_subnet(id); });
  const bool id_made = intent.port().empty();
  // Of a default id only its parts can be bad, and these are reported already.
  stand_in(!id_made || CheckObjectId(port.id()).ok(), "id",
           [&](const char* id) { port.set_id(id); });
  if (std::find(bad.begin(), bad.end(), "id") == bad.end() && vm_ok && vpc_known) {
    CheckPortIsFree(port.id(), intent, world, out);
  }
  Candidate candidate = ParsePort(port, Origin{kAdd, true}, out);
  candidate.bad.insert(candidate.bad.end(), bad.begin(), bad.end());
  draft.upserts.push_back(std::move(candidate));
  return draft;
}

Draft Expand(const v1::RemoveVmFromVpc& intent, const World& world, Violations* out) {
  Draft draft;
  const bool vm_ok = CheckId(intent.vm(), StrCat(kRemove, ".vm"), out);
  const bool vpc_ok = CheckId(intent.vpc(), StrCat(kRemove, ".vpc"), out);
  const std::string port_path = StrCat(kRemove, ".port");
  const bool port_ok = intent.port().empty() || CheckId(intent.port(), port_path, out);
  if (!vm_ok || !vpc_ok || !port_ok) return draft;

  if (!intent.port().empty()) {
    const Port* port = world.FindPort(intent.port());
    if (port == nullptr) return draft;  // removing what is not there is success
    if (port->vm != intent.vm() || port->vpc != intent.vpc()) {
      out->Add(port_path, ViolationCode::kConflict,
               StrCat("port/", port->id, " is ",
                      port->vm.empty() ? "without a VM" : StrCat("of vm/", port->vm), " in vpc/",
                      port->vpc, ", not of vm/", intent.vm(), " in vpc/", intent.vpc()));
      return draft;
    }
    draft.removals.push_back({{ObjectKind::kPort, port->id}, port_path});
  } else {
    for (const std::string& id : world.PortsOfVm(intent.vm())) {
      const Port* port = world.FindPort(id);
      if (port == nullptr || port->vpc != intent.vpc()) continue;
      draft.removals.push_back({{ObjectKind::kPort, id}, StrCat(kRemove, ".vpc")});
    }
  }
  const bool last = draft.removals.size() == world.PortsOfVm(intent.vm()).size();
  if (!draft.removals.empty() && last) {
    draft.removals.push_back({{ObjectKind::kVm, intent.vm()}, StrCat(kRemove, ".vm")});
  }
  return draft;
}

}  // namespace fairlead
