// SPDX-License-Identifier: Apache-2.0
//
// What rules take of a NIC. A rule in a block that representors share is one rule of the kernel's
// and one instance in the NIC for each of its representors there, with a counter each. The agent
// counts what is offered, whether the NIC took it or not: what it took today is no measure of
// what it has to hold.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "agent/reconcile/engine.h"
#include "dataplane/pipeline/provider.h"

namespace fairlead {
namespace {

uint64_t OursOf(const Observed::Table& table) { return table.rules.size() - table.foreign.size(); }

uint64_t CountIn(const std::vector<FlowRule>& rules, const RuleTable& table) {
  return static_cast<uint64_t>(std::count_if(
      rules.begin(), rules.end(), [&](const FlowRule& r) { return r.location.table == table; }));
}

}  // namespace

uint64_t Engine::LeasesOn(const RuleTable& block, const NicId& pf) const {
  const auto leases = leases_of_block_.find(block);
  if (leases == leases_of_block_.end()) return 0;
  return static_cast<uint64_t>(std::count_if(leases->second.begin(), leases->second.end(),
                                             [&](const VfId& vf) { return vf.pf == pf; }));
}

uint64_t Engine::HardwareRulesOf(const NicId& pf) const {
  uint64_t rules = OursOf(observed_.TableOf(UplinkTable(pf)));
  bool overlay = false;
  for (const auto& [block, leases] : leases_of_block_) {
    const uint64_t on_pf = LeasesOn(block, pf);
    rules += on_pf * OursOf(observed_.TableOf(block));
    overlay |= on_pf > 0 && block.kind == RuleTable::Kind::kVpcBlock;
  }
  // The tunnel's rules are offered to every NIC that has part in it.
  return rules + (overlay ? OursOf(observed_.TableOf(kTunnelTable)) : 0);
}

uint64_t Engine::HardwareRulesOfOneMore(const StoredObject& object, const PfFacts& pf) const {
  const auto& port = std::get<Port>(object.object);
  const StoredObject& stored_vpc = *world_.Find({ObjectKind::kVpc, port.vpc});
  const auto& vpc = std::get<Vpc>(stored_vpc.object);
  BoundPort bound;
  bound.port = port.id;
  bound.ordinal = object.ordinal;
  bound.vpc = port.vpc;
  bound.subnet = port.subnet;
  bound.vf = {pf.id, 0};
  bound.representor_ifindex = 1;  // whichever it gets: it is counted, not made
  bound.mac = port.mac.value_or(MacAddress({2, 0, 0, 0, 0, 1}));
  bound.addresses = port.addresses;
  bound.pairs = port.allowed_pairs;
  bound.offload = port.offload;
  bound.security_groups = port.security_groups;
  bound.policy = port.policy;

  if (vpc.is_provider()) {
    const auto context = ProviderContextOf(stored_vpc, pf.id, facts_);
    if (!context) return 0;
    const std::vector<FlowRule> own = CompileProviderPortRules(*context, bound);
    const std::vector<FlowRule> common = CompileProviderVpcRules(*context, {&bound});
    const RuleTable block{.kind = RuleTable::Kind::kProviderBlock,
                          .pf = pf.id,
                          .vlan = vpc.vlan ? vpc.vlan->value() : uint16_t{0}};
    const uint64_t stand = std::max(OursOf(observed_.TableOf(block)), CountIn(common, block));
    const uint64_t in_block = CountIn(own, block);
    return stand + in_block * (1 + LeasesOn(block, pf.id)) + own.size() - in_block;
  }
  const StoredObject* subnet = world_.Find({ObjectKind::kSubnet, port.subnet});
  if (!vpc.vni || subnet == nullptr) return 0;
  TunnelFacts tunnel = facts_.tunnel.value_or(TunnelFacts());
  if (!facts_.tunnel) tunnel.local = config_.compile.tunnel.local;
  VpcContext context = OverlayContextOf(stored_vpc, tunnel);
  context.peers = config_.compile.tunnel.peers;
  const RuleTable block{RuleTable::Kind::kVpcBlock, *vpc.vni};
  const std::vector<FlowRule> own = CompilePortRules(
      context, ContextOf(std::get<Subnet>(subnet->object), subnet->ordinal), bound);
  const uint64_t in_block = CountIn(own, block);
  uint64_t common = OursOf(observed_.TableOf(block));
  if (LeasesOn(block, pf.id) == 0 || !VpcSettled(port.vpc)) {
    common = std::max(common, RulesInCommon(port.vpc, context));
  }
  const bool first_here =
      std::none_of(leases_of_block_.begin(), leases_of_block_.end(), [&](const auto& other) {
        return other.first.kind == RuleTable::Kind::kVpcBlock && LeasesOn(other.first, pf.id) > 0;
      });
  return common + in_block * (1 + LeasesOn(block, pf.id)) + own.size() - in_block +
         (first_here ? OursOf(observed_.TableOf(kTunnelTable)) : 0);
}

// What the ports of an overlay share once it is whole, without those of its ports.
uint64_t Engine::RulesInCommon(const std::string& vpc, const VpcContext& context) const {
  const RuleTable block{RuleTable::Kind::kVpcBlock, context.vni};
  const uint64_t of_route = context.policies == nullptr ? 1 : 2;
  uint64_t rules = CompileVpcRules(context).size() + of_route * world_.RoutesOfVpc(vpc).size();
  if (context.policies != nullptr) {
    for (const auto& [number, policy] : context.policies->by_number) {
      rules += CountIn(CompilePolicyRules(context, number), block);
    }
  }
  for (const std::string& id : world_.SubnetsOfVpc(vpc)) {
    const StoredObject* subnet = world_.Find({ObjectKind::kSubnet, id});
    rules += CompileSubnetRules(context, std::get<Subnet>(subnet->object), subnet->ordinal).size();
  }
  for (const StoredObject* stored : world_.EndpointsOfVpc(vpc)) {
    const auto& endpoint = std::get<Endpoint>(stored->object);
    if (endpoint.vtep == context.tunnel.local) continue;
    const SubnetContext subnet = SubnetContextOf(endpoint.subnet);
    ++rules;
    rules += CountIn(CompileMemberRules(context, endpoint.security_groups, endpoint.addresses,
                                        stored->ordinal, /*here=*/false),
                     block);
    for (const IpAddress& address : endpoint.addresses) {
      rules += (address.is_v4() ? subnet.routed4 : subnet.routed6) ? 1 : 0;
    }
  }
  return rules;
}

std::string Engine::WhyFull(const Port& port, const PfFacts& pf) const {
  if (pf.max_hardware_rules == 0) return "";
  const StoredObject* object = world_.Find({ObjectKind::kPort, port.id});
  if (object == nullptr) return "";
  const uint64_t now = HardwareRulesOf(pf.id);
  const uint64_t more = HardwareRulesOfOneMore(*object, pf);
  if (now + more <= pf.max_hardware_rules) return "";
  return absl::StrCat("it holds ", now, " hardware rules, the port takes ", more,
                      " more of it, and max_hardware_rules is ", pf.max_hardware_rules);
}

}  // namespace fairlead
