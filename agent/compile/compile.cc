// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/compile.h"

#include <algorithm>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/compile/words.h"

namespace fairlead {
namespace {

const PfFacts* FindPf(const HostFacts& facts, const VfId& vf) {
  auto it = facts.pfs.find(vf.pf);
  return it == facts.pfs.end() ? nullptr : &it->second;
}

bool OnTunnelTable(const FlowRule& rule) {
  return rule.location.table.kind == RuleTable::Kind::kTunnelIngress;
}

bool OnUplinkTable(const FlowRule& rule) {
  return rule.location.table.kind == RuleTable::Kind::kUplinkIngress;
}

bool SendsToTunnel(const FlowRule& rule) {
  const DeviceRef* output = OutputOf(rule);
  return output != nullptr && output->kind == DeviceRef::Kind::kTunnel;
}

// The drop at the end of the chain that a rule jumps to: without it a frame would pass to the
// host. None for a rule that does not jump.
std::optional<ResourceKey> EndOfJump(const FlowRule& rule) {
  const auto* jump = std::get_if<ActionGotoChain>(&rule.actions.back());
  if (jump == nullptr) return std::nullopt;
  return FlowRuleKey({rule.location.table, jump->chain, kPrioDefaultDrop, jump->chain});
}

// A rule that no VF carries. A block is there once one of its representors is
// bound to it.
Resource SharedRule(FlowRule rule, const VfId& block_vf) {
  Resource out;
  out.key = FlowRuleKey(rule.location);
  if (rule.location.table.is_block()) out.depends.push_back(RepresentorKey(block_vf));
  if (OnUplinkTable(rule)) out.depends.push_back(UplinkKey(rule.location.table.pf));
  if (OnTunnelTable(rule) || SendsToTunnel(rule)) out.depends.push_back(TunnelKey());
  if (const auto end = EndOfJump(rule)) out.depends.push_back(*end);
  out.spec = FlowRuleSpec{std::move(rule)};
  return out;
}

std::vector<Resource> SharedRules(std::vector<FlowRule> rules, const VfId& block_vf) {
  std::vector<Resource> out;
  out.reserve(rules.size());
  for (FlowRule& rule : rules) out.push_back(SharedRule(std::move(rule), block_vf));
  return out;
}

struct Adder {
  std::vector<Resource>& out;
  Lease lease;
  void operator()(ResourceKey key, ResourceSpec spec, std::vector<ResourceKey> depends) const {
    out.push_back({std::move(key), std::move(spec), std::move(depends), lease});
  }
};

// The VF is handed out after everything that keeps it apart from others. `shows_mac`: see
// DriverBindingSpec.
absl::Status AddHandOut(const CompileConfig& config, const Port& port, const Attachment& attachment,
                        const PciAddress& vf, std::vector<ResourceKey> before_binding,
                        const Adder& add,
                        const std::optional<MacAddress>& shows_mac = std::nullopt) {
  if (attachment.vm.empty()) return absl::OkStatus();
  if (attachment.bus.empty()) {
    return absl::UnavailableError(
        StrCat("no root port of VM ", attachment.vm, " is chosen yet for port ", port.id));
  }
  const ResourceKey binding = DriverBindingKey(attachment.vf);
  DriverBindingSpec bound{attachment.vf, config.vf_driver, config.node_uid, config.node_gid,
                          config.node_mode};
  bound.shows_mac = shows_mac;
  add(binding, bound, std::move(before_binding));
  GuestDeviceSpec guest;
  guest.vm = attachment.vm;
  guest.uuid = attachment.vm_uuid;
  guest.port = port.id;
  guest.device_id = GuestDeviceIdOf(config.store_id, attachment);
  guest.host = vf;
  guest.bus = attachment.bus;
  add(GuestDeviceKey(attachment.vm, port.id), guest, {binding});
  return absl::OkStatus();
}

// Where the underlay does not carry it none is made, and one that stands serves on as it is.
std::optional<TunnelSpec> WantedTunnel(const TunnelConfig& config, const HostFacts& facts) {
  const TunnelMtu mtu = WorkOutMtu(config, facts.underlay);
  TunnelFacts wanted{config.device,   0,       config.local,
                     config.udp_port, mtu.mtu, config.encapsulation};
  if (!mtu.problem.empty()) {
    if (!facts.tunnel) return std::nullopt;
    wanted = *facts.tunnel;
  }
  TunnelSpec spec{wanted.device, wanted.local, wanted.udp_port, wanted.mtu};
  spec.encapsulation = wanted.encapsulation;
  return spec;
}

absl::Status NoSuchVf(const VfId& vf) {
  return absl::UnavailableError(StrCat("VF ", vf.ToString(), " is not there yet"));
}

// Why the NIC does not enforce a VLAN that is set on this VF, now; "" = it does. What the
// NIC is yet to become (PfFacts::serves) takes nothing from a port that stands.
std::string WhyNoVlan(const PfFacts& pf, const VfFacts& vf) {
  if (pf.eswitch.mode.value_or(EswitchMode::kLegacy) != EswitchMode::kLegacy) {
    return StrCat("the eswitch of ", PfName(pf), " is in ", Name(*pf.eswitch.mode), " mode");
  }
  return vf.representor_ifindex == 0 ? "" : StrCat("it has the representor ", vf.representor);
}

// What the NIC forwards by itself: all that keeps the port apart is set on its VF.
absl::StatusOr<std::vector<Resource>> CompileVlanPort(const CompileConfig& config,
                                                      const PortContext& context,
                                                      const HostFacts& facts) {
  const Attachment& attachment = *context.attachment;
  const auto& port = std::get<Port>(context.object->object);
  const VfFacts* vf_facts = facts.FindVf(attachment.vf);
  if (vf_facts == nullptr) return NoSuchVf(attachment.vf);
  if (const std::string why = WhyNoVlan(*FindPf(facts, attachment.vf), *vf_facts); !why.empty()) {
    return absl::FailedPreconditionError(StrCat("VF ", attachment.vf.ToString(), " is not kept in ",
                                                SegmentName(std::get<Vpc>(context.vpc->object)),
                                                ": ", why));
  }
  FAIRLEAD_RETURN_IF_ERROR(PortMac(port, facts, attachment.vf).status());

  VfSpec spec{attachment.vf, port.mac, {}};
  // A trusted VM may have taken another MAC: that is left as it is.
  const bool serves = attachment.phase == AttachmentPhase::kReady;
  if (serves && port.trust && vf_facts->settings.trust == true) spec.mac.reset();
  spec.settings.vlan = attachment.vlan->value();
  // What a NIC has no word of cannot be on; what is to be on must be seen to be.
  const auto settle = [](bool wanted, bool needs_proof, const std::optional<bool>& reported) {
    return needs_proof || reported ? std::optional<bool>(wanted) : std::nullopt;
  };
  const bool spoof_check = port.spoof_check.value_or(true);
  spec.settings.spoof_check = settle(spoof_check, spoof_check, vf_facts->settings.spoof_check);
  spec.settings.trust = settle(port.trust, port.trust, vf_facts->settings.trust);
  spec.settings.max_tx_mbps = port.max_tx_mbps;
  spec.settings.min_tx_mbps = port.min_tx_mbps;
  spec.settings.link_disabled = settle(false, false, vf_facts->settings.link_disabled);

  std::vector<Resource> out;
  const Adder add{out, attachment.lease};
  const ResourceKey vf = VfKey(attachment.vf);
  add(vf, spec, {});
  FAIRLEAD_RETURN_IF_ERROR(AddHandOut(config, port, attachment, vf_facts->pci, {vf}, add));
  return out;
}

// Of a function that hot-plug brings: it is leased, taken for VFIO and plugged on.
absl::StatusOr<std::vector<Resource>> CompileFunction(const CompileConfig& config,
                                                      const StoredObject& object,
                                                      const Attachment& attachment,
                                                      const HostFacts& facts) {
  const PfFacts* port_facts = FindPf(facts, attachment.vf);
  const VfFacts* function = facts.FindVf(attachment.vf);
  if (port_facts == nullptr || function == nullptr) {
    return absl::UnavailableError(
        StrCat("the function ", attachment.vf.ToString(), " is not there"));
  }
  const auto& port = std::get<Port>(object.object);
  std::vector<Resource> out;
  const Adder add{out, attachment.lease};
  const ResourceKey vf = VfKey(attachment.vf);
  add(vf, VfSpec{attachment.vf, std::nullopt, {}}, {});
  const bool by_mac = port_facts->identity == FunctionIdentity::kMac;
  FAIRLEAD_RETURN_IF_ERROR(AddHandOut(config, port, attachment, function->pci, {vf}, add,
                                      by_mac ? port.mac : std::nullopt));
  return out;
}

}  // namespace

std::string PfName(const PfFacts& pf) {
  if (pf.is_hotplug_port()) {
    const std::string address = pf.id.ToString();
    return StrCat("hot-plug port ", pf.name,
                  pf.name == address ? std::string() : StrCat(" (", address, ")"));
  }
  return pf.netdev.empty() ? StrCat("PF ", pf.id.ToString()) : pf.netdev;
}

std::string FixedMacWords(const PfFacts& pf) {
  return StrCat(PfName(pf), pf.driver.empty() ? "" : StrCat(" (", pf.driver, ")"),
                " cannot set VF MACs and none of its free VFs has it");
}

std::string WhyEswitchInactive(const PfFacts& pf) {
  if (pf.eswitch.mode != EswitchMode::kSwitchdevInactive) return "";
  return StrCat("the eswitch of ", PfName(pf), " is in ", Name(*pf.eswitch.mode),
                " mode, in which no packet passes");
}

std::string WhyEswitchOtherwise(const PfFacts& pf) {
  const std::string differs = EswitchDifference(pf.wanted_eswitch, pf.eswitch);
  if (differs.empty()) return "";
  return StrCat("the eswitch of ", PfName(pf), " is not yet as configured (", differs, ")");
}

std::vector<Resource> CompileHost(const CompileConfig& config, const HostFacts& facts,
                                  bool tunnel_wanted) {
  std::vector<Resource> out;
  for (const auto& [mac, pf] : facts.pfs) {
    if (!pf.refused.empty() || pf.wanted_vfs == 0) continue;
    Resource pool;
    pool.key = VfPoolKey(mac);
    // A pool that is there is adopted: another count would first have to take
    // away every VF, those in use too.
    pool.spec = VfPoolSpec{mac, pf.num_vfs != 0 ? pf.num_vfs : pf.wanted_vfs, false};
    if (pf.wanted_eswitch.empty()) {
      out.push_back(std::move(pool));
      continue;
    }
    Resource eswitch;
    eswitch.key = PfKey(mac);
    eswitch.spec = PfSpec{mac, pf.wanted_eswitch};
    // The mode before the VFs: a ConnectX whose VFs are just coming, or are there at all,
    // refuses the change with EINVAL, and VFs of another mode would serve nobody.
    if (pf.num_vfs == 0) {
      pool.depends = {eswitch.key};
    } else {
      eswitch.depends = {pool.key};
    }
    out.push_back(std::move(pool));
    out.push_back(std::move(eswitch));
  }
  if (tunnel_wanted) {
    if (auto spec = WantedTunnel(config.tunnel, facts)) {
      out.push_back({TunnelKey(), *std::move(spec), {}, 0});
    }
  }
  return out;
}

absl::StatusOr<MacAddress> PortMac(const Port& port, const HostFacts& facts, const VfId& vf_id) {
  const PfFacts* pf = FindPf(facts, vf_id);
  const VfFacts* vf = facts.FindVf(vf_id);
  if (pf == nullptr || vf == nullptr) return NoSuchVf(vf_id);
  if (port.mac) {
    if (pf->can_set_vf_mac || vf->mac == port.mac) return *port.mac;
    return absl::FailedPreconditionError(
        StrCat("mac: port asks for MAC ", port.mac->ToString(), "; ", PfName(*pf), " (", pf->driver,
               ") cannot set VF MACs and VF ", vf_id.index, " has ",
               vf->mac ? vf->mac->ToString() : "one that is not known"));
  }
  if (vf->mac && vf->mac->IsUnicast()) return *vf->mac;
  return absl::FailedPreconditionError(
      StrCat("mac: the port asks for no MAC and VF ", vf_id.index, " of ", PfName(*pf),
             pf->can_set_vf_mac ? " has none of its own: give the port one"
                                : " shows none: name the MACs of its VFs in the configuration"));
}

absl::StatusOr<BoundPort> BindPort(const StoredObject& object, const Attachment& attachment,
                                   const HostFacts& facts) {
  const auto* port = std::get_if<Port>(&object.object);
  if (port == nullptr) {
    return absl::InternalError(
        StrCat("BindPort was given ", RefOf(object.object).ToString(), ", which is no port"));
  }
  const VfFacts* vf = facts.FindVf(attachment.vf);
  if (vf == nullptr) return NoSuchVf(attachment.vf);
  if (vf->representor_ifindex == 0) {
    const PfFacts* pf = FindPf(facts, attachment.vf);
    const bool legacy = pf->eswitch.mode == EswitchMode::kLegacy;
    return absl::UnavailableError(
        StrCat("the representor of VF ", attachment.vf.ToString(), " is not there yet",
               legacy ? StrCat(": the eswitch of ", PfName(*pf), " is in legacy mode") : ""));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(MacAddress mac, PortMac(*port, facts, attachment.vf));
  BoundPort out;
  out.port = port->id;
  out.ordinal = object.ordinal;
  out.vpc = attachment.vpc;
  out.subnet = port->subnet;
  out.vf = attachment.vf;
  out.representor_ifindex = vf->representor_ifindex;
  out.mac = mac;
  out.addresses = port->addresses;
  out.pairs = port->allowed_pairs;
  out.offload = port->offload;
  out.security_groups = port->security_groups;
  out.policy = port->policy;
  return out;
}

namespace {

VpcContext OverlayOf(const CompileConfig& config, const PortContext& context,
                     const HostFacts& facts) {
  return {*std::get<Vpc>(context.vpc->object).vni, context.vpc->ordinal, *facts.tunnel,
          config.tunnel.peers, context.policies};
}

// What is in place before a frame is led through the chains of security groups, so that none of
// the frames that pass meanwhile is lost there.
std::vector<ResourceKey> BeforeAdmission(const CompileConfig& config, const PortContext& context,
                                         const HostFacts& facts, const BoundPort& bound,
                                         const std::vector<FlowRule>& own) {
  std::vector<ResourceKey> keys;
  if (context.policies == nullptr) return keys;
  const auto add = [&keys](const FlowRule& rule) {
    const bool ends = rule.location.priority == kPrioDefaultDrop;
    if (rule.location.chain != 0 && !ends) keys.push_back(FlowRuleKey(rule.location));
  };
  const VpcContext vpc = OverlayOf(config, context, facts);
  const auto& subnet = std::get<Subnet>(context.subnet->object);
  for (const FlowRule& rule : own) add(rule);
  for (const FlowRule& rule : CompileVpcRules(vpc)) add(rule);
  for (const FlowRule& rule : CompileSubnetRules(vpc, subnet, context.subnet->ordinal)) add(rule);
  const uint32_t policy = bound.policy == 0 ? vpc.ordinal : bound.policy;
  for (const FlowRule& rule : CompilePolicyRules(vpc, policy)) add(rule);
  return keys;
}

// Those of a port that has a representor in a block.
absl::StatusOr<std::vector<FlowRule>> CompileRulesOf(const CompileConfig& config,
                                                     const PortContext& context,
                                                     const BoundPort& bound,
                                                     const HostFacts& facts) {
  if (context.attachment->uplink) {
    const auto vpc = ProviderContextOf(*context.vpc, bound.vf.pf, facts);
    if (!vpc) return NoSuchVf(bound.vf);
    return CompileProviderPortRules(*vpc, bound);
  }
  if (!facts.tunnel) {
    return absl::UnavailableError(
        StrCat("the tunnel device ", config.tunnel.device, " is not there yet"));
  }
  const auto& subnet = std::get<Subnet>(context.subnet->object);
  return CompilePortRules(OverlayOf(config, context, facts),
                          ContextOf(subnet, context.subnet->ordinal), bound);
}

}  // namespace

absl::StatusOr<std::vector<Resource>> CompilePort(const CompileConfig& config,
                                                  const PortContext& context,
                                                  const HostFacts& facts) {
  if (context.object == nullptr || context.vpc == nullptr || context.subnet == nullptr ||
      context.attachment == nullptr) {
    return absl::InternalError("CompilePort needs a port, its VPC, its subnet and its attachment");
  }
  const Attachment& attachment = *context.attachment;
  if (attachment.vf.pf.is_hotplug_port()) {
    return CompileFunction(config, *context.object, attachment, facts);
  }
  if (!attachment.block()) {
    if (attachment.vlan) return CompileVlanPort(config, context, facts);
    return absl::InternalError("CompilePort was given an attachment in no network");
  }
  FAIRLEAD_ASSIGN_OR_RETURN(BoundPort bound, BindPort(*context.object, attachment, facts));
  FAIRLEAD_ASSIGN_OR_RETURN(std::vector<FlowRule> rules,
                            CompileRulesOf(config, context, bound, facts));
  const auto& port = std::get<Port>(context.object->object);
  const PfFacts& pf = *FindPf(facts, attachment.vf);
  const VfFacts& vf_facts = *facts.FindVf(attachment.vf);
  if (const std::string why = WhyEswitchInactive(pf); !why.empty()) {
    return absl::FailedPreconditionError(StrCat("VF ", attachment.vf.ToString(), ": ", why));
  }

  std::vector<Resource> out;
  const Adder add{out, attachment.lease};

  // Also where there is nothing to set: the VF carries the lease.
  const ResourceKey vf = VfKey(attachment.vf);
  VfSpec spec{attachment.vf, pf.can_set_vf_mac ? port.mac : std::nullopt, {}};
  const auto rate = [&vf_facts](uint32_t wanted) {
    return wanted != 0 || vf_facts.has_rate_leaf ? std::optional(wanted) : std::nullopt;
  };
  spec.settings.max_tx_mbps = rate(port.max_tx_mbps);
  spec.settings.min_tx_mbps = rate(port.min_tx_mbps);
  add(vf, spec, {});

  const ResourceKey representor = RepresentorKey(attachment.vf);
  const ResourceKey way_out = attachment.uplink ? UplinkKey(attachment.vf.pf) : TunnelKey();
  add(representor, RepresentorSpec{attachment.vf, attachment.block()}, {vf, way_out});

  std::vector<ResourceKey> before_binding{vf};
  const auto proof = std::find_if(rules.begin(), rules.end(), [](const FlowRule& rule) {
    return rule.location.priority == kPrioHardwareProof;
  });
  std::optional<ResourceKey> proven;
  if (proof != rules.end()) proven = FlowRuleKey(proof->location);
  const std::vector<ResourceKey> before_admission =
      BeforeAdmission(config, context, facts, bound, rules);
  for (FlowRule& rule : rules) {
    const ResourceKey key = FlowRuleKey(rule.location);
    std::vector<ResourceKey> depends{representor};
    if (rule.location.chain == 0) {
      depends.insert(depends.end(), before_admission.begin(), before_admission.end());
    }
    // A NIC that takes nothing says so in words of its own; of the others it just takes none.
    if (proven && key != *proven) depends.push_back(*proven);
    if (!rule.location.table.is_block()) depends.push_back(way_out);
    if (const auto end = EndOfJump(rule)) depends.push_back(*end);
    before_binding.push_back(key);
    add(key, FlowRuleSpec{std::move(rule)}, std::move(depends));
  }
  FAIRLEAD_RETURN_IF_ERROR(
      AddHandOut(config, port, attachment, vf_facts.pci, std::move(before_binding), add));
  return out;
}

std::optional<ProviderContext> ProviderContextOf(const StoredObject& vpc, const NicId& pf,
                                                 const HostFacts& facts) {
  const auto seen = facts.pfs.find(pf);
  if (seen == facts.pfs.end()) return std::nullopt;
  return ProviderContext{std::get<Vpc>(vpc.object).vlan, vpc.ordinal, pf, seen->second.ifindex};
}

std::vector<Resource> CompileProviderVpc(const ProviderContext& vpc,
                                         const std::vector<const BoundPort*>& ports) {
  return SharedRules(CompileProviderVpcRules(vpc, ports), ports.front()->vf);
}

std::vector<Resource> CompileVpc(const VpcContext& vpc, const VfId& any_bound_vf) {
  return SharedRules(CompileVpcRules(vpc), any_bound_vf);
}

std::vector<Resource> CompileSubnet(const VpcContext& vpc, const StoredObject& subnet,
                                    const VfId& any_bound_vf) {
  return SharedRules(CompileSubnetRules(vpc, std::get<Subnet>(subnet.object), subnet.ordinal),
                     any_bound_vf);
}

std::vector<Resource> CompileEndpoint(const VpcContext& vpc, const SubnetContext& subnet,
                                      const StoredObject& endpoint, const VfId& any_bound_vf) {
  return SharedRules(
      CompileEndpointRules(vpc, subnet, std::get<Endpoint>(endpoint.object), endpoint.ordinal),
      any_bound_vf);
}

std::vector<Resource> CompileRoute(const VpcContext& vpc, const StoredObject& route,
                                   const NextHop& next_hop, const VfId& any_bound_vf) {
  const auto* port = std::get_if<const BoundPort*>(&next_hop);
  return SharedRules(CompileRouteRules(vpc, std::get<Route>(route.object), route.ordinal, next_hop),
                     port == nullptr ? any_bound_vf : (*port)->vf);
}

std::vector<Resource> CompilePolicy(const VpcContext& vpc, uint32_t number,
                                    const VfId& any_bound_vf) {
  return SharedRules(CompilePolicyRules(vpc, number), any_bound_vf);
}

}  // namespace fairlead
