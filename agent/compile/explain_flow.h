// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what becomes of one packet, from what the guest's own stack makes of it to where the
// rules lead it, as compiled and as they stand in the kernel. In three steps, so that the one
// that walks over many rules can run on a copy of them beside the loop: SceneOf, ExplainFlow,
// JudgePath.
//
// Of a rule in the kernel its place, its mark and the hash of its content are known, not what it
// matches: where one stands that was not compiled so, and is asked before the packet is taken,
// the verdict is "unknown".
//
// Threading: pure functions.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/connection.h"
#include "agent/model/facts.h"
#include "agent/model/flow_explanation.h"
#include "agent/model/resource.h"
#include "agent/model/world.h"
#include "dataplane/pipeline/interpreter.h"
#include "dataplane/pipeline/pipeline.h"

namespace fairlead {

// What is known where the question is answered.
struct FlowHost {
  const World* world = nullptr;
  const TunnelFacts* tunnel = nullptr;          // null: there is none
  const TunnelConfig* tunnel_config = nullptr;  // who may send by it
  const std::map<NicId, PfFacts>* pfs = nullptr;
  // A port that is attached here and has rules; null: it is not.
  std::function<const BoundPort*(const std::string& port)> bound;
  // Of an object that is not ready, what its status says: "pending: no free VF"; else "".
  std::function<std::string(const ObjectRef& ref)> state;
  // The port here that has a MAC in a VPC, also one that came with its VF.
  std::function<std::optional<std::string>(const std::string& vpc, const MacAddress& mac)>
      port_with_mac;
  // Why the slow path does not answer what a port's guest asks; "" = it does.
  std::function<std::string(const std::string& port)> not_answered;
  // Of the packet's VPC, where its connections are followed; null: they are not, or not yet known.
  const absl::StatusOr<std::vector<Connection>>* connections = nullptr;
};

// The packet as it meets the first rule, and what can be said of its end.
struct FlowScene {
  FlowExplanation begun;  // from, packet, lookup and notes
  std::string not_sent;   // why the guest sends nothing; "" = it does
  RuleTable table;
  FlowPacket packet;
  struct Chain {
    std::string name;  // "subnet red-1"
    std::string why;   // why its end drops the packet, if it does; "" = not by what is asked for
  };
  std::map<uint32_t, Chain> chains;  // that the packet may meet
  // What the slow path does about such a packet; `asked`: for a MAC, or a router.
  std::string expired, for_gateway, asked;
  struct StaticRoute {
    std::string words;  // "route/nat, 0.0.0.0/0 by 10.0.0.9"
    std::string why;    // why it leads nowhere; "" = it does
  };
  std::map<uint32_t, StaticRoute> routes;  // that cover the destination, by their numbers
  std::map<VfId, std::string> ports;  // of the VPC, attached here; in a provider network on the PF
  std::string uplink;                 // name of that PF's netdev, in a provider network
};

// What a chain of a table is for: "admit", "subnet red-1", "routes of VPC red", "tunnel"; "" where
// that is not known any more.
std::string StageOf(const World& world, const RuleTable& table, uint32_t chain);

// kNotFound, kFailedPrecondition: of the port, which is not there, or whose packets meet no rule
// here; kInvalidArgument, kUnimplemented: of what is asked about it.
absl::StatusOr<FlowScene> SceneOf(const FlowQuestion& question, const FlowHost& host);

// The part of SceneOf that security groups have: `from` sends the packet.
void AddSecurity(const FlowHost& host, const StoredObject& vpc, const StoredObject& subnet,
                 const BoundPort& from, FlowScene& scene);

// `compiled`: of the scene's table and chains, in the order of locations; `seen`: that table as it
// was read, maybe without rules that are in `compiled` no more than they are here, and cannot take
// the packet. Without owners and path.
FlowExplanation ExplainFlow(const FlowScene& scene, std::span<const FlowRule> compiled,
                            const ObservedRules& seen);

// Devices that `rule` is offered to, where `ports` of its block are attached; 0: how many is not
// known. A block's rules are offered to each of its representors. One that asks where the packet
// came in is taken by that one alone (a ConnectX takes no other's), and a delivery by all but the
// one that it leads to: a NIC sends no frame back to the VF that it came from.
size_t OfferedTo(const FlowRule& rule, size_t ports);

// How the packet goes. `next_hop`: of the header's remote end; null: nothing is known of it.
void JudgePath(const ObservedResource* next_hop, FlowExplanation& explanation);

}  // namespace fairlead
