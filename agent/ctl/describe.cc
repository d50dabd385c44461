// SPDX-License-Identifier: Apache-2.0
#include "agent/base/text.h"
#include "agent/ctl/render.h"
#include "agent/ctl/table.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

std::string Number(uint64_t value) { return value == 0 ? "" : StrCat(value); }

void AddObject(const v1::Object& object, Facts* facts) {
  switch (object.object_case()) {
    case v1::Object::kVpc:
      facts->Add("VNI", StrCat(object.vpc().vni()));
      break;
    case v1::Object::kSubnet:
      facts->Add("VPC", object.subnet().vpc());
      facts->Add("Prefixes", StrJoin(object.subnet().prefixes(), ", "));
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
      facts->Add("Network", port.network() == v1::NETWORK_KIND_CONVERGED ? "converged" : "compute");
      facts->Add("Offload", port.offload() == v1::OFFLOAD_WISH_MUST  ? "must"
                            : port.offload() == v1::OFFLOAD_WISH_OFF ? "off"
                                                                     : "prefer");
      break;
    }
    case v1::Object::kEndpoint:
      facts->Add("VPC", object.endpoint().vpc());
      facts->Add("MAC", object.endpoint().mac());
      facts->Add("Addresses", StrJoin(object.endpoint().addresses(), ", "));
      facts->Add("VTEP", object.endpoint().vtep());
      break;
    case v1::Object::OBJECT_NOT_SET:
      break;
  }
}

void AddStatus(const v1::ObjectStatus& status, Facts* facts) {
  facts->Add("State", StateText(status.state()));
  facts->Add("Reason", status.reason());
  facts->Add("Step", status.step());
  facts->Add("In its own words", status.peer_words());
  if (status.state() == v1::OBJECT_STATE_FAILED) {
    facts->Add("Tried again", status.permanent() ? "when the object or the host changes"
                                                 : "by itself, after a while");
    facts->Add("Rolled back", status.rolled_back() ? "yes, nothing of it is left" : "no");
  }
  facts->Add("Generation", StrCat(status.generation(),
                                  status.observed_generation() == 0
                                      ? std::string(", none was ready yet")
                                      : StrCat(", last ready ", status.observed_generation())));
  facts->Add("VF", status.vf());
  facts->Add("VF PCI", status.vf_pci());
  facts->Add("VF MAC", status.mac());
  facts->Add("Lease", Number(status.lease()));
  facts->Add("Representor", status.representor());
  facts->Add("Guest device", status.guest_device());
  facts->Add("Guest root port", status.guest_bus());
  if (status.rules_wanted() != 0) {
    facts->Add("Rules", StrCat(status.rules_wanted(), " wanted, ", status.rules_observed(),
                               " there, ", status.rules_in_hardware(), " in hardware"));
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
             (child.has_endpoint() && child.endpoint().vpc() == id);
    }
    case v1::Object::kSubnet:
      return child.has_port() && port.subnet() == parent.subnet().id();
    case v1::Object::kVm:
      return child.has_port() && port.vm() == parent.vm().id();
    default:
      return false;
  }
}

}  // namespace

std::string DescribeObject(const v1::ObjectWithStatus& object, const v1::GetReply& all) {
  Facts facts;
  AddObject(object.object(), &facts);
  AddStatus(object.status(), &facts);
  std::string out = Printable(RefTextOf(object.object())) + "\n" + facts.Print("  ");
  std::string members;
  for (const auto& other : all.objects()) {
    if (!Belongs(other.object(), object.object())) continue;
    StrAppend(&members, "    ", Printable(RefTextOf(other.object())), " ",
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
    if (id != pf.mac() && id != pf.pci() && id != pf.netdev()) continue;
    Facts facts;
    facts.Add("PCI", pf.pci());
    facts.Add("Netdev", pf.netdev());
    facts.Add("Driver", pf.driver());
    facts.Add("Network", pf.network() == v1::NETWORK_KIND_CONVERGED ? "converged" : "compute");
    facts.Add("VFs", StrCat(pf.num_vfs(), " of ", pf.total_vfs(), " possible"));
    facts.Add("MAC of a VF", pf.can_set_vf_mac() ? "can be set" : "cannot be set by this NIC");
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

std::string DescribeVf(const v1::HostState& host, std::string_view id) {
  for (const auto& pf : host.pfs()) {
    for (const auto& vf : pf.vfs()) {
      const std::string name = StrCat(pf.mac(), "/", vf.index());
      if (id != name && id != vf.pci()) continue;
      Facts facts;
      facts.Add("PF", StrCat(pf.netdev(), " ", pf.pci()));
      facts.Add("PCI", vf.pci());
      facts.Add("Driver", vf.driver().empty() ? "none bound" : vf.driver());
      facts.Add("MAC", vf.mac());
      facts.Add("Representor", vf.representor());
      facts.Add("IOMMU group", vf.iommu_group() < 0 ? "none" : StrCat(vf.iommu_group()));
      facts.Add("State", vf.state());
      facts.Add("Why", vf.detail());
      facts.Add("Port", vf.port());
      facts.Add("Lease", Number(vf.lease()));
      return StrCat("vf/", Printable(name), "\n", facts.Print("  "));
    }
  }
  return "";
}

}  // namespace fairlead
