// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/take_over.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_format.h"
#include "agent/base/text.h"
#include "dataplane/pipeline/pipeline.h"

namespace fairlead {
namespace {

// A VF that something of the store stands on.
struct FoundVf {
  VfId vf;
  const PfFacts* pf = nullptr;
  const VfFacts* facts = nullptr;
  const RepresentorSpec* representor = nullptr;  // null: it has none
  const FoundObjects::Device* device = nullptr;  // null: no VM has it
};

std::string Name(const FoundVf& found) {
  return StrCat("VF ", found.vf.ToString(),
                found.device == nullptr ? "" : StrCat(" of VM ", found.device->vm));
}

std::vector<FoundVf> FoundVfs(const FoundObjects& found, const OwnState& own,
                              std::vector<std::string>& left) {
  std::map<VfId, FoundVf> all;
  const auto with = [&](const VfId& vf) -> FoundVf* {
    const auto pf = own.facts->pfs.find(vf.pf);
    const VfFacts* facts = own.facts->FindVf(vf);
    if (pf == own.facts->pfs.end() || facts == nullptr) return nullptr;
    FoundVf& entry = all[vf];
    entry.vf = vf;
    entry.pf = &pf->second;
    entry.facts = facts;
    return &entry;
  };
  for (const auto& [vf, spec] : found.representors) {
    if (FoundVf* entry = with(vf)) entry->representor = &spec;
  }
  for (const FoundObjects::Device& device : found.devices) {
    FoundVf* entry = nullptr;
    for (const auto& [nic, pf] : own.facts->pfs) {
      for (const VfFacts& vf : pf.vfs) {
        if (vf.pci == device.host) entry = with({nic, vf.index});
      }
    }
    if (entry == nullptr) {
      left.push_back(StrCat("guest-device/", device.vm, "/", device.id, ": its VF ",
                            device.host.ToString(), " is of no PF that the configuration lists"));
    } else {
      entry->device = &device;
    }
  }
  std::vector<FoundVf> result;
  for (auto& [vf, entry] : all) {
    const auto mine = own.attachments->find(vf);
    if (mine == own.attachments->end()) {
      result.push_back(entry);
    } else {
      left.push_back(StrCat(Name(entry), ": port/", mine->second.port, " has it"));
    }
  }
  return result;
}

// The block that its ports on this PF join.
RuleTable BlockOn(const Vpc& vpc, const FoundVf& found) {
  Attachment attachment;
  attachment.vf = found.vf;
  attachment.vni = vpc.vni;
  attachment.vlan = vpc.vlan;
  attachment.uplink = vpc.is_provider();
  return *attachment.block();
}

bool Fits(const FoundVf& found, const Port& port, const Vpc& vpc) {
  if ((found.device == nullptr ? std::string() : found.device->vm) != port.vm) return false;
  // Without a device it may be that of a VM which was not asked: its MAC says whose it is.
  if (found.device == nullptr && (!port.mac || found.facts->mac != port.mac)) return false;
  if (found.pf->network != port.network) return false;
  if (found.pf->is_hotplug_port() != (port.function == FunctionSource::kHotplug)) return false;
  if (port.mac && found.facts->mac && *port.mac != *found.facts->mac) return false;
  if (found.pf->is_hotplug_port()) return true;
  if (found.representor == nullptr) {
    return vpc.vlan && found.facts->settings.vlan == vpc.vlan->value();
  }
  return found.representor->block == BlockOn(vpc, found);
}

class Adoption {
 public:
  Adoption(const FoundObjects& found, const OwnState& own) : found_(found), own_(own) {
    for (const FoundObjects::Rule& rule : found.rules) {
      const RuleLocation& at = rule.location;
      if (at.chain == 0 && at.priority == kPrioDefaultDrop) continue;
      places_[{at.table, at.priority, rule.match_hash}].insert({at.chain, at.handle});
      highest_ =
          std::max({highest_, fairlead::OwnerOf(fairlead::PlaceOf(at)), OrdinalOfChain(at.chain)});
    }
    for (const FoundObjects::Device& device : found.devices) {
      const auto name = ParseGuestDeviceId(device.id);
      if (name) highest_ = std::max(highest_, name->port_ordinal);
    }
    for (const auto& [vf, attachment] : *own.attachments) Keep(attachment);
    out_.left = found.not_asked;
    out_.next_lease = own.next_lease;
    out_.next_transaction = own.next_transaction;
  }

  absl::StatusOr<TakeOver> Run() {
    MatchPorts();
    MatchNetworks();
    if (!refused_.ok()) return refused_;
    if (absl::Status status = Renumber(); !status.ok()) return status;
    return std::move(out_);
  }

 private:
  // What is attached keeps its numbers: its device and its rules have them.
  void Keep(const Attachment& attachment) {
    const auto keep = [this](const ObjectRef& ref) {
      if (const StoredObject* object = own_.world->Find(ref)) kept_[object->ordinal] = ref;
    };
    keep({ObjectKind::kPort, attachment.port});
    if (!attachment.block()) return;
    keep({ObjectKind::kVpc, attachment.vpc});
    for (const std::string& id : own_.world->SubnetsOfVpc(attachment.vpc)) {
      keep({ObjectKind::kSubnet, id});
    }
    for (const StoredObject* endpoint : own_.world->EndpointsOfVpc(attachment.vpc)) {
      keep(RefOf(endpoint->object));
    }
    for (const StoredObject* route : own_.world->RoutesOfVpc(attachment.vpc)) {
      keep(RefOf(route->object));
    }
  }

  void MatchPorts() {
    std::set<std::string> attached;
    for (const auto& [vf, attachment] : *own_.attachments) attached.insert(attachment.port);
    std::map<std::string, std::vector<const FoundVf*>> of_port;
    std::map<VfId, std::vector<std::string>> of_vf;
    vfs_ = FoundVfs(found_, own_, out_.left);
    own_.world->ForEach([&](const StoredObject& stored) {
      const auto* port = std::get_if<Port>(&stored.object);
      const Vpc* vpc = port == nullptr ? nullptr : own_.world->FindVpc(port->vpc);
      if (vpc == nullptr || attached.contains(port->id)) return;
      for (const FoundVf& vf : vfs_) {
        if (!Fits(vf, *port, *vpc)) continue;
        of_port[port->id].push_back(&vf);
        of_vf[vf.vf].push_back(port->id);
      }
    });
    for (const FoundVf& vf : vfs_) {
      const std::vector<std::string>& ports = of_vf[vf.vf];
      if (ports.empty()) {
        out_.left.push_back(StrCat(Name(vf),
                                   ": no port fits it: none of this VM, network and MAC "
                                   "waits for a VF"));
      } else if (ports.size() > 1 || of_port[ports.front()].size() > 1) {
        out_.left.push_back(StrCat(Name(vf), ": which port it is of cannot be told (",
                                   StrJoin(ports, ", "), "): name the MAC in the port",
                                   vf.facts->mac ? StrCat(", ", vf.facts->mac->ToString()) : ""));
      } else {
        Take(vf, *own_.world->Find({ObjectKind::kPort, ports.front()}));
      }
    }
  }

  void Take(const FoundVf& found, const StoredObject& object) {
    const Port& port = std::get<Port>(object.object);
    const Vpc& vpc = *own_.world->FindVpc(port.vpc);
    Attachment attachment;
    attachment.vf = found.vf;
    attachment.lease = out_.next_lease++;
    attachment.transaction = out_.next_transaction++;
    attachment.generation = object.generation;
    attachment.phase = AttachmentPhase::kReady;
    attachment.port = port.id;
    attachment.vm = port.vm;
    if (found.device != nullptr) {
      attachment.vm_uuid = found.device->vm_uuid;
      attachment.bus = found.device->bus;
      attachment.guest_id = found.device->id;
      // No rule has the number of a port that its NIC alone carries.
      if (!found.pf->is_hotplug_port() && found.representor != nullptr) {
        Choose({ObjectKind::kPort, port.id}, ParseGuestDeviceId(found.device->id)->port_ordinal);
      }
    }
    attachment.vpc = port.vpc;
    if (!found.pf->is_hotplug_port()) {
      attachment.vni = vpc.vni;
      attachment.vlan = vpc.vlan;
      attachment.uplink = vpc.is_provider() && found.representor != nullptr;
    }
    attachment.mac = port.mac;
    if (!port.mac) attachment.vf_mac = found.facts->mac;  // else nobody knows which it came with
    out_.attachments.push_back(attachment);
    out_.taken.push_back(StrCat("port/", port.id, ": ", Name(found)));
  }

  // The objects of the VPCs that have a port here, by what their rules match.
  void MatchNetworks() {
    std::map<std::string, std::vector<BoundPort>> bound;  // by VPC
    for (const Attachment& attachment : out_.attachments) {
      if (!attachment.block()) continue;
      const StoredObject& object = *own_.world->Find({ObjectKind::kPort, attachment.port});
      absl::StatusOr<BoundPort> port = BindPort(object, attachment, *own_.facts);
      if (port.ok()) bound[attachment.vpc].push_back(*std::move(port));
    }
    for (const auto& [id, ports] : bound) {
      const StoredObject& stored = *own_.world->Find({ObjectKind::kVpc, id});
      std::get<Vpc>(stored.object).is_provider() ? MatchProvider(stored, ports)
                                                 : MatchOverlay(stored, ports);
    }
  }

  void MatchProvider(const StoredObject& stored, const std::vector<BoundPort>& ports) {
    for (const BoundPort& port : ports) {
      const auto vpc = ProviderContextOf(stored, port.vf.pf, *own_.facts);
      if (!vpc) continue;
      ChooseByRules(RefOf(stored.object), CompileProviderVpcRules(*vpc, {}));
      ChooseByRules({ObjectKind::kPort, port.port}, CompileProviderPortRules(*vpc, port));
    }
  }

  void MatchOverlay(const StoredObject& stored, const std::vector<BoundPort>& ports) {
    const std::optional<TunnelFacts>& tunnel = found_.tunnel ? found_.tunnel : own_.facts->tunnel;
    if (!tunnel) return;
    const std::string& id = IdOf(stored.object);
    const VpcContext vpc{*std::get<Vpc>(stored.object).vni, stored.ordinal, *tunnel};
    ChooseByRules({ObjectKind::kVpc, id}, CompileVpcRules(vpc));
    for (const std::string& subnet_id : own_.world->SubnetsOfVpc(id)) {
      const ObjectRef ref{ObjectKind::kSubnet, subnet_id};
      const StoredObject& stored_subnet = *own_.world->Find(ref);
      const auto& subnet = std::get<Subnet>(stored_subnet.object);
      const SubnetContext context = ContextOf(subnet, stored_subnet.ordinal);
      for (const BoundPort& port : ports) {
        if (port.subnet != subnet_id) continue;
        const std::vector<FlowRule> rules = CompilePortRules(vpc, context, port);
        ChooseByRules({ObjectKind::kPort, port.port}, rules);
        ChooseByChain(ref, rules);
      }
      for (const StoredObject* endpoint : own_.world->EndpointsOfSubnet(subnet_id)) {
        const std::vector<FlowRule> rules = CompileEndpointRules(
            vpc, context, std::get<Endpoint>(endpoint->object), endpoint->ordinal);
        ChooseByRules(RefOf(endpoint->object), rules);
        ChooseByChain(ref, rules);
      }
      ChooseByRules(ref, CompileSubnetRules(vpc, subnet, stored_subnet.ordinal));
    }
    for (const StoredObject* route : own_.world->RoutesOfVpc(id)) {
      // What it matches does not depend on where it leads.
      ChooseByRules(RefOf(route->object), CompileRouteRules(vpc, std::get<Route>(route->object),
                                                            route->ordinal, NextHop()));
    }
  }

  // The one place where such a rule was found; null if there is none, or several.
  const std::pair<uint32_t, uint32_t>* PlaceOf(const FlowRule& rule) const {
    const auto found =
        places_.find({rule.location.table, rule.location.priority, rule.MatchHash()});
    return found == places_.end() || found->second.size() != 1 ? nullptr : &*found->second.begin();
  }

  // A rule's handle is its owner's number.
  void ChooseByRules(const ObjectRef& ref, const std::vector<FlowRule>& rules) {
    for (const FlowRule& rule : rules) {
      if (const auto* place = PlaceOf(rule)) return Choose(ref, place->second);
    }
  }

  // The chain of a subnet, in which its ports and endpoints are delivered to, is its number.
  void ChooseByChain(const ObjectRef& subnet, const std::vector<FlowRule>& rules) {
    for (const FlowRule& rule : rules) {
      if (rule.location.table.kind != RuleTable::Kind::kVpcBlock) continue;
      if (rule.location.priority != kPrioDeliver) continue;
      if (const auto* place = PlaceOf(rule)) return Choose(subnet, place->first);
    }
  }

  void Choose(const ObjectRef& ref, uint32_t ordinal) {
    if (chosen_.contains(ref) || owners_.contains(ordinal)) return;
    if (const auto kept = kept_.find(ordinal); kept != kept_.end() && kept->second != ref) {
      refused_ = absl::FailedPreconditionError(StrCat(
          kept->second.ToString(), " is attached, or carries what is, under the number ", ordinal,
          ", which ", ref.ToString(), " has in that store: remove it, and adopt then"));
      return;
    }
    chosen_[ref] = ordinal;
    owners_[ordinal] = ref;
  }

  absl::Status Renumber() {
    uint32_t next = std::max(own_.world->next_ordinal(), highest_ + 1);
    absl::Status status;
    std::map<std::string, uint32_t> port_ordinals;
    std::map<uint32_t, uint32_t> policies;  // numbers that objects take: what they become
    own_.world->ForEach([&](const StoredObject& stored) {
      const ObjectRef ref = RefOf(stored.object);
      const auto chosen = chosen_.find(ref);
      const bool in_the_way = owners_.contains(stored.ordinal);
      uint32_t ordinal = stored.ordinal;
      if (chosen != chosen_.end()) {
        ordinal = chosen->second;
      } else if (in_the_way) {
        ordinal = next++;
      }
      if (ref.kind == ObjectKind::kPort) port_ordinals[ref.id] = ordinal;
      // A policy's number is nobody's ordinal.
      const auto* port = std::get_if<Port>(&stored.object);
      const uint32_t policy = port == nullptr ? 0 : port->policy;
      const bool takes_policy = policy != 0 && owners_.contains(policy);
      if (ordinal == stored.ordinal && !takes_policy) return;
      if (ordinal > kMaxOrdinal) {
        status = absl::FailedPreconditionError("the numbers of objects are used up");
      }
      StoredObject renumbered = stored;
      renumbered.ordinal = ordinal;
      if (takes_policy) {
        const auto [number, made] = policies.try_emplace(policy, next);
        next += made ? 1 : 0;
        std::get<Port>(renumbered.object).policy = number->second;
      }
      out_.change.upserts.push_back(std::move(renumbered));
    });
    out_.change.next_ordinal = next;
    for (Attachment& attachment : out_.attachments) {
      attachment.port_ordinal = port_ordinals[attachment.port];
    }
    return status;
  }

  const FoundObjects& found_;
  const OwnState& own_;
  std::vector<FoundVf> vfs_;
  // By table, priority and match: chain and handle of those that have them.
  using Places = std::set<std::pair<uint32_t, uint32_t>>;
  std::map<std::tuple<RuleTable, uint16_t, uint32_t>, Places> places_;
  uint32_t highest_ = 0;
  std::map<ObjectRef, uint32_t> chosen_;
  std::map<uint32_t, ObjectRef> owners_;
  std::map<uint32_t, ObjectRef> kept_;
  absl::Status refused_;
  TakeOver out_;
};

}  // namespace

const FoundObjects::Device* FindDeviceFor(const Port& port, const FoundObjects& found,
                                          const OwnState& own) {
  std::vector<std::string> left;
  const Vpc* vpc = own.world->FindVpc(port.vpc);
  for (const FoundVf& vf : FoundVfs(found, own, left)) {
    if (vpc != nullptr && vf.device != nullptr && Fits(vf, port, *vpc)) return vf.device;
  }
  return nullptr;
}

absl::StatusOr<TakeOver> PlanAdoption(const FoundObjects& found, const OwnState& own) {
  for (const auto& [vf, attachment] : *own.attachments) {
    if (!attachment.vni || found.tunnel == std::nullopt) continue;
    if (attachment.phase != AttachmentPhase::kReady) {
      return absl::UnavailableError(
          StrCat("port/", attachment.port, " is being attached, or taken apart; ask again"));
    }
    return absl::FailedPreconditionError(
        StrCat("port/", attachment.port,
               " is in an overlay of this store, which has a tunnel of its own: remove it, and "
               "adopt then"));
  }
  return Adoption(found, own).Run();
}

absl::StatusOr<TakeOver> PlanPurge(const FoundObjects& found, const OwnState& own) {
  TakeOver out;
  out.left = found.not_asked;
  out.next_lease = own.next_lease;
  out.next_transaction = own.next_transaction;
  out.change.next_ordinal = own.world->next_ordinal();
  for (const FoundVf& vf : FoundVfs(found, own, out.left)) {
    if (vf.device == nullptr && !vf.facts->driver.empty() && !found.not_asked.empty()) {
      out.left.push_back(StrCat(Name(vf), ": a VM that was not asked may have it"));
      continue;
    }
    Attachment attachment;
    attachment.vf = vf.vf;
    attachment.lease = out.next_lease++;
    attachment.transaction = out.next_transaction++;
    attachment.generation = 1;
    attachment.phase = AttachmentPhase::kReleasing;
    attachment.port = absl::StrFormat("purged-%08x-%d", found.store, attachment.lease);
    // None of the store's: its rules are nobody's, and are collected as that.
    attachment.port_ordinal = out.change.next_ordinal++;
    if (attachment.port_ordinal > kMaxOrdinal) {
      return absl::FailedPreconditionError("the numbers of objects are used up");
    }
    if (vf.device != nullptr) {
      attachment.vm = vf.device->vm;
      attachment.vm_uuid = vf.device->vm_uuid;
      attachment.bus = vf.device->bus;
      attachment.guest_id = vf.device->id;
    }
    attachment.vpc = attachment.port;
    if (vf.representor != nullptr && vf.representor->block) {
      const RuleTable& block = *vf.representor->block;
      attachment.uplink = block.kind == RuleTable::Kind::kProviderBlock;
      if (!attachment.uplink) attachment.vni = block.vni;
      if (const auto vlan = VlanId::Make(block.vlan); vlan.ok()) attachment.vlan = *vlan;
    }
    if (vf.representor == nullptr && vf.facts->settings.vlan.value_or(0) != 0) {
      const absl::StatusOr<VlanId> vlan = VlanId::Make(*vf.facts->settings.vlan);
      if (vlan.ok()) attachment.vlan = *vlan;
    }
    out.taken.push_back(StrCat("port/", attachment.port, ": ", Name(vf)));
    out.attachments.push_back(std::move(attachment));
  }
  return out;
}

}  // namespace fairlead
