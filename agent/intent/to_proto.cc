// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <variant>

#include "agent/intent/admit.h"
#include "agent/intent/kinds.h"
#include "agent/model/status.h"
#include "fairlead/v1/intent.pb.h"
#include "fairlead/v1/status.pb.h"

namespace fairlead {
namespace {

v1::ObjectState WireState(ObjectState state) {
  switch (state) {
    case ObjectState::kPending:
      return v1::OBJECT_STATE_PENDING;
    case ObjectState::kApplying:
      return v1::OBJECT_STATE_APPLYING;
    case ObjectState::kReady:
      return v1::OBJECT_STATE_READY;
    case ObjectState::kDegraded:
      return v1::OBJECT_STATE_DEGRADED;
    case ObjectState::kFailed:
      return v1::OBJECT_STATE_FAILED;
    case ObjectState::kRemoving:
      return v1::OBJECT_STATE_REMOVING;
  }
  return v1::OBJECT_STATE_UNSPECIFIED;
}

v1::OffloadWish WireOffload(OffloadWish wish) {
  switch (wish) {
    case OffloadWish::kMust:
      return v1::OFFLOAD_WISH_MUST;
    case OffloadWish::kPrefer:
      return v1::OFFLOAD_WISH_PREFER;
    case OffloadWish::kOff:
      return v1::OFFLOAD_WISH_OFF;
  }
  return v1::OFFLOAD_WISH_UNSPECIFIED;
}

void Fill(const Vpc& vpc, v1::Object* out) {
  out->mutable_vpc()->set_id(vpc.id);
  if (vpc.vni) out->mutable_vpc()->set_vni(vpc.vni->value());
  if (vpc.vlan) out->mutable_vpc()->set_vlan(vpc.vlan->value());
  out->mutable_vpc()->set_flat(vpc.flat);
}

void Fill(const Subnet& subnet, v1::Object* out) {
  v1::Subnet* wire = out->mutable_subnet();
  wire->set_id(subnet.id);
  wire->set_vpc(subnet.vpc);
  if (subnet.prefix4) wire->add_prefixes(subnet.prefix4->ToString());
  if (subnet.prefix6) wire->add_prefixes(subnet.prefix6->ToString());
  if (subnet.gateway4) wire->add_gateways(subnet.gateway4->ToString());
  if (subnet.gateway6) wire->add_gateways(subnet.gateway6->ToString());
  for (const IpAddress& server : subnet.dns_servers) wire->add_dns_servers(server.ToString());
}

void Fill(const Vm& vm, v1::Object* out) {
  out->mutable_vm()->set_id(vm.id);
  out->mutable_vm()->set_uuid(vm.uuid.ToString());
}

void Fill(const Port& port, v1::Object* out) {
  v1::Port* wire = out->mutable_port();
  wire->set_id(port.id);
  wire->set_vm(port.vm);
  wire->set_vpc(port.vpc);
  wire->set_subnet(port.subnet);
  if (port.mac) wire->set_mac(port.mac->ToString());
  for (const IpAddress& address : port.addresses) wire->add_addresses(address.ToString());
  for (const AddressPair& pair : port.allowed_pairs) ToProto(pair, wire->add_allowed_pairs());
  wire->set_network(port.network == NetworkKind::kConverged ? v1::NETWORK_KIND_CONVERGED
                                                            : v1::NETWORK_KIND_COMPUTE);
  wire->set_offload(WireOffload(port.offload));
  if (port.spoof_check) {
    wire->set_spoof_check(*port.spoof_check ? v1::SPOOF_CHECK_ON : v1::SPOOF_CHECK_OFF);
  }
  wire->set_trust(port.trust);
  wire->set_max_tx_mbps(port.max_tx_mbps);
  wire->set_min_tx_mbps(port.min_tx_mbps);
  wire->mutable_security_groups()->Assign(port.security_groups.begin(), port.security_groups.end());
  wire->set_function(port.function == FunctionSource::kHotplug ? v1::FUNCTION_SOURCE_HOTPLUG
                                                               : v1::FUNCTION_SOURCE_VF);
}

void Fill(const Endpoint& endpoint, v1::Object* out) {
  v1::Endpoint* wire = out->mutable_endpoint();
  wire->set_id(endpoint.id);
  wire->set_vpc(endpoint.vpc);
  wire->set_mac(endpoint.mac.ToString());
  for (const IpAddress& address : endpoint.addresses) wire->add_addresses(address.ToString());
  wire->set_vtep(endpoint.vtep.ToString());
  wire->mutable_security_groups()->Assign(endpoint.security_groups.begin(),
                                          endpoint.security_groups.end());
}

void Fill(const Route& route, v1::Object* out) {
  v1::Route* wire = out->mutable_route();
  wire->set_id(route.id);
  wire->set_vpc(route.vpc);
  wire->set_prefix(route.prefix.ToString());
  wire->set_next_hop(route.next_hop.ToString());
}

void Fill(const SecurityGroup& group, v1::Object* out) {
  v1::SecurityGroup* wire = out->mutable_security_group();
  wire->set_id(group.id);
  wire->set_vpc(group.vpc);
  wire->set_stateless(group.stateless);
  for (const SecurityRule& rule : group.rules) {
    v1::SecurityRule* to = wire->add_rules();
    to->set_direction(rule.ingress ? v1::DIRECTION_INGRESS : v1::DIRECTION_EGRESS);
    if (rule.v4) {
      to->set_family(*rule.v4 ? v1::ADDRESS_FAMILY_IPV4 : v1::ADDRESS_FAMILY_IPV6);
    }
    if (rule.protocol) to->set_protocol(*rule.protocol);
    if (rule.ports) {
      to->set_port_min(rule.ports->first);
      to->set_port_max(rule.ports->last);
    }
    if (rule.icmp_type) to->set_icmp_type(*rule.icmp_type);
    if (rule.icmp_code) to->set_icmp_code(*rule.icmp_code);
    if (rule.remote) to->set_remote_prefix(rule.remote->ToString());
    to->set_remote_group(rule.remote_group);
  }
}

}  // namespace

uint64_t UnixNanoseconds(std::chrono::system_clock::time_point time) {
  return static_cast<uint64_t>(std::chrono::nanoseconds(time.time_since_epoch()).count());
}

void ToProto(const AddressPair& pair, v1::AddressPair* out) {
  out->Clear();
  if (pair.mac) out->set_mac(pair.mac->ToString());
  out->set_prefix(pair.prefix.ToString());
}

void ToProto(const Object& object, v1::Object* out) {
  out->Clear();
  std::visit([&](const auto& o) { Fill(o, out); }, object);
}

void ToProto(const ObjectStatus& status, v1::ObjectStatus* out) {
  out->Clear();
  out->mutable_ref()->set_kind(KindToProto(status.ref.kind));
  out->mutable_ref()->set_id(status.ref.id);
  out->set_generation(status.generation);
  out->set_observed_generation(status.observed_generation);
  out->set_state(WireState(status.state));
  out->set_reason(status.reason);
  out->set_step(status.step);
  out->set_peer_words(status.peer_words);
  out->set_permanent(status.permanent);
  out->set_rolled_back(status.rolled_back);
  out->set_vf(status.vf);
  out->set_vf_pci(status.vf_pci);
  out->set_representor(status.representor);
  out->set_mac(status.mac);
  out->set_vlan(status.vlan);
  out->set_guest_device(status.guest_device);
  out->set_guest_bus(status.guest_bus);
  out->set_lease(status.lease);
  out->set_rules_wanted(status.rules_wanted);
  out->set_rules_observed(status.rules_observed);
  out->set_rules_in_hardware(status.rules_in_hardware);
}

void ToProto(const ErrorRecord& record, v1::LastError* out) {
  out->Clear();
  out->set_reason(record.reason);
  out->set_step(record.step);
  out->set_peer_words(record.peer_words);
  out->set_permanent(record.permanent);
  out->set_generation(record.generation);
  out->set_times(record.times);
  out->set_first_time(UnixNanoseconds(record.first));
  out->set_last_time(UnixNanoseconds(record.last));
  if (record.retry_in) out->set_retry_in_ms(static_cast<uint32_t>(record.retry_in->count()));
}

void ToProto(const Drift& drift, v1::Drift* out) {
  out->Clear();
  out->set_owner(drift.owner);
  out->set_resource(drift.resource);
  out->set_change(drift.change);
  out->set_noticed_time(UnixNanoseconds(drift.noticed));
  if (drift.repaired) out->set_repaired_time(UnixNanoseconds(*drift.repaired));
}

}  // namespace fairlead
