// SPDX-License-Identifier: Apache-2.0
//
// Purpose: intent + facts -> wanted resources, unit by unit; and the choice of a
// VF and a root port. Pure: the same inputs give the same outputs, bit for bit.
//
// Threading: pure functions.
// Errors: kUnavailable = something is still to come (its name is in the
// message; not a failure of the port); kResourceExhausted, kFailedPrecondition,
// kInvalidArgument as in agent/base/error.h, with what to do about it.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/model/facts.h"
#include "agent/model/intent.h"
#include "agent/model/resource.h"
#include "agent/model/world.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/pipeline/provider.h"

namespace fairlead {

// What the configuration says, as the compiler needs it.
struct CompileConfig {
  uint32_t store_id = 0;  // whose guest devices they are; filled in when the store is open
  TunnelConfig tunnel;
  std::string vf_driver = "vfio-pci";
  std::optional<uint32_t> node_uid, node_gid, node_mode;
};

// --- The host as a whole: VF pools and eswitches of the configured PFs, and the tunnel.
std::vector<Resource> CompileHost(const CompileConfig& config, const HostFacts& facts,
                                  bool tunnel_wanted);

// --- Placement.
// "the eswitch of pf0 is not yet as configured (mode legacy, wanted switchdev)"; "" = it
// is, or nothing is asked of it.
std::string WhyEswitchOtherwise(const PfFacts& pf);
// What of a PF that will carry such networks is still to be made, or to be seen; "" =
// nothing, or it will carry none.
std::string WhatIsToCome(const Vpc& vpc, const PfFacts& pf, const std::string& vf_driver);
// VFs that nobody may get, and why.
using Quarantined = std::map<VfId, std::string>;
// Why a VF cannot be leased now; "" = it can. `leased` and `shunned` (an attach on it
// failed a moment ago: another is better) are the agent's own knowledge.
std::string WhyNotFree(const PfFacts& pf, const VfFacts& vf, const std::string& vf_driver,
                       const std::set<VfId>& leased, const std::set<VfId>& shunned,
                       const Quarantined& quarantined = {});

// Who has a MAC in the port's VPC; none if nobody.
using MacOwner = std::function<std::optional<ObjectRef>(const MacAddress&)>;

// Why a PF has no room for the rules of the port; "" = it has.
using NoRoom = std::function<std::string(const PfFacts&)>;

// The VF for a port of `vpc`: on a usable PF of the port's network kind that carries
// such networks (PfFacts::serves) and all that the port asks for in them, free, where
// rules forward with a representor, with the wanted MAC where the NIC cannot set one, and
// without one that is somebody else's in the VPC; in a VLAN a PF that keeps it by itself
// first, then the PF with the fewest leases, then the lowest index. `of_vpc`: those of `leased`
// that ports of the VPC have. `no_room` is asked of PFs where rules forward. The error says for
// each PF or VF why not; kUnavailable: a PF is to come (WhatIsToCome).
absl::StatusOr<VfId> PlacePort(const Port& port, const Vpc& vpc, const HostFacts& facts,
                               const std::string& vf_driver, const std::set<VfId>& leased,
                               const std::set<VfId>& shunned, const MacOwner& mac_owner,
                               const Quarantined& quarantined = {},
                               const std::set<VfId>& of_vpc = {}, const NoRoom& no_room = {});

// The same for a port whose function hot-plug brings: the one that is there and is it.
// kUnavailable: it is to come yet; kFailedPrecondition: it is there and may not be
// used. PlacePort comes here by itself.
absl::StatusOr<VfId> PlaceFunction(const Port& port, const HostFacts& facts,
                                   const std::string& vf_driver, const std::set<VfId>& leased,
                                   const std::set<VfId>& shunned);
// How long such a port may wait for it.
std::chrono::milliseconds FunctionDeadline(const Port& port, const HostFacts& facts);
// Why an attachment's function is not there any more; "" = it is.
std::string WhyFunctionLost(const Port& port, const Attachment& attachment, const HostFacts& facts,
                            const std::string& vf_driver);

// The root port for the device `device_id`: the one that it sits in, else
// `previous` if free, else the first free one. `taken` are root ports of this VM
// that other attachments of ours have chosen.
absl::StatusOr<std::string> PlaceGuestDevice(const VmFacts& vm, const std::string& device_id,
                                             const std::string& previous,
                                             const std::set<std::string>& taken);

// --- Units. Each returns what its owner wants.
struct PortContext {
  const StoredObject* object = nullptr;  // a Port
  const StoredObject* vpc = nullptr;
  const StoredObject* subnet = nullptr;
  const Attachment* attachment = nullptr;
  const VpcPolicies* policies = nullptr;  // of the VPC; null: it has no security groups
};
// The port's MAC: the wanted one, or the VF's own. kFailedPrecondition when the
// NIC can neither set nor show one.
absl::StatusOr<MacAddress> PortMac(const Port& port, const HostFacts& facts, const VfId& vf);
absl::StatusOr<BoundPort> BindPort(const StoredObject& object, const Attachment& attachment,
                                   const HostFacts& facts);
// VF, representor, rules, driver binding, guest device (the last two only when
// the attachment has a VM). In an overlay needs facts.tunnel: kUnavailable without. In a
// VLAN that the NIC itself keeps, neither representor nor rules: that is set on the VF.
absl::StatusOr<std::vector<Resource>> CompilePort(const CompileConfig& config,
                                                  const PortContext& context,
                                                  const HostFacts& facts);
// What a provider network on a PF is compiled with; none while the PF is not there.
std::optional<ProviderContext> ProviderContextOf(const StoredObject& vpc, const NicId& pf,
                                                 const HostFacts& facts);
// Of a provider network on one PF, with the ports that are bound there: one at least.
std::vector<Resource> CompileProviderVpc(const ProviderContext& vpc,
                                         const std::vector<const BoundPort*>& ports);
// The rules of the other units, of overlays only; none while the VPC has no bound port here (its
// block does not exist then). `any_bound_vf` is one of the VPC's bound VFs.
std::vector<Resource> CompileVpc(const VpcContext& vpc, const VfId& any_bound_vf);
std::vector<Resource> CompileSubnet(const VpcContext& vpc, const StoredObject& subnet,
                                    const VfId& any_bound_vf);
// Its rules. The neighbour of its VTEP is not part of it: many endpoints share one.
std::vector<Resource> CompileEndpoint(const VpcContext& vpc, const SubnetContext& subnet,
                                      const StoredObject& endpoint, const VfId& any_bound_vf);
std::vector<Resource> CompileRoute(const VpcContext& vpc, const StoredObject& route,
                                   const NextHop& next_hop, const VfId& any_bound_vf);
std::vector<Resource> CompilePolicy(const VpcContext& vpc, uint32_t number,
                                    const VfId& any_bound_vf);

}  // namespace fairlead
