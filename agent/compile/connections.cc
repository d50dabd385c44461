// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/connections.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "agent/model/flow_rule.h"

namespace fairlead {
namespace {

class Judge {
 public:
  Judge(const ConnectionHost& host, const StoredObject& vpc, const VpcPolicies& policies)
      : host_(host), world_(*host.world), vpc_(vpc), policies_(policies) {}

  bool Allows(const ConnectionTuple& tuple) const {
    const std::vector<const Port*> senders = Senders(tuple.src);
    const std::vector<const Port*> receivers = Receivers(tuple.dst);
    if (senders.empty() && receivers.empty()) return false;
    return AnyAllows(senders, /*ingress=*/false, tuple) &&
           AnyAllows(receivers, /*ingress=*/true, tuple);
  }

 private:
  const std::string& Id() const { return IdOf(vpc_.object); }

  // Who may send from that address.
  std::vector<const Port*> Senders(const IpAddress& address) const {
    if (const Port* port = OwnerOf(address)) return {port};
    std::vector<const Port*> ports;
    if (world_.OwnerOfAddress(Id(), address)) return ports;  // an endpoint's
    for (const std::string& id : world_.PortsOfVpc(Id())) {
      const Port* port = world_.FindPort(id);
      const bool pair =
          std::any_of(port->allowed_pairs.begin(), port->allowed_pairs.end(),
                      [&](const AddressPair& allowed) { return allowed.prefix.Contains(address); });
      if (pair && host_.bound(id)) ports.push_back(port);
    }
    return ports;
  }

  // Who is sent what is addressed so: whose it is, or the next hop of the longest route there.
  std::vector<const Port*> Receivers(const IpAddress& address) const {
    if (const Port* port = OwnerOf(address)) return {port};
    if (world_.OwnerOfAddress(Id(), address)) return {};
    const Route* longest = nullptr;
    for (const StoredObject* stored : world_.RoutesOfVpc(Id())) {
      const auto& route = std::get<Route>(stored->object);
      if (!route.prefix.Contains(address)) continue;
      if (longest == nullptr || longest->prefix.length() < route.prefix.length()) longest = &route;
    }
    const Port* port = longest == nullptr ? nullptr : OwnerOf(longest->next_hop);
    return port == nullptr ? std::vector<const Port*>() : std::vector<const Port*>{port};
  }

  // The port here that has the address.
  const Port* OwnerOf(const IpAddress& address) const {
    const std::optional<ObjectRef> owner = world_.OwnerOfAddress(Id(), address);
    if (!owner || owner->kind != ObjectKind::kPort || !host_.bound(owner->id)) return nullptr;
    return world_.FindPort(owner->id);
  }

  std::vector<std::string> GroupsOf(const IpAddress& address) const {
    const std::optional<ObjectRef> owner = world_.OwnerOfAddress(Id(), address);
    if (!owner) return {};
    if (const Port* port = world_.FindPort(owner->id); port && owner->kind == ObjectKind::kPort) {
      return port->security_groups;
    }
    const Endpoint* endpoint =
        owner->kind == ObjectKind::kEndpoint ? world_.FindEndpoint(owner->id) : nullptr;
    return endpoint == nullptr ? std::vector<std::string>() : endpoint->security_groups;
  }

  bool AnyAllows(const std::vector<const Port*>& ports, bool ingress,
                 const ConnectionTuple& tuple) const {
    PolicyQuestion question;
    question.protocol = tuple.protocol;
    question.other = ingress ? tuple.src : tuple.dst;
    if (tuple.protocol == kProtocolTcp || tuple.protocol == kProtocolUdp) {
      question.dst_port = tuple.dst_port;
    } else if (tuple.protocol == kProtocolIcmp4 || tuple.protocol == kProtocolIcmp6) {
      question.icmp_type = tuple.icmp_type;
      question.icmp_code = tuple.icmp_code;
    }
    question.groups = GroupsOf(question.other);
    return ports.empty() || std::any_of(ports.begin(), ports.end(), [&](const Port* port) {
             const uint32_t number = port->policy == 0 ? vpc_.ordinal : port->policy;
             const auto policy = policies_.by_number.find(number);
             if (policy == policies_.by_number.end()) return false;
             return fairlead::Allows(ingress ? policy->second.ingress : policy->second.egress,
                                     question);
           });
  }

  const ConnectionHost& host_;
  const World& world_;
  const StoredObject& vpc_;
  const VpcPolicies& policies_;
};

}  // namespace

bool IsAllowed(const ConnectionHost& host, const StoredObject& vpc, const VpcPolicies& policies,
               const ConnectionTuple& tuple) {
  return Judge(host, vpc, policies).Allows(tuple);
}

}  // namespace fairlead
