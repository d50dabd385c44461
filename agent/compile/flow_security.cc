// SPDX-License-Identifier: Apache-2.0
//
// What security groups have to say about a packet that a port sends: the chains that it may meet,
// who judges there and by which groups, and what conntrack knows of its connection.
#include <algorithm>

#include "agent/base/text.h"
#include "agent/compile/explain_flow.h"
#include "dataplane/pipeline/pipeline.h"

namespace fairlead {
namespace {

std::string Groups(const std::vector<std::string>& groups) {
  return groups.empty() ? "no security group" : StrCat("security groups ", StrJoin(groups, ", "));
}

// Whether it is a packet of that direction of a connection. A port that is not asked for fits any.
bool Fits(const FlowExplanation::Packet& packet, const ConnectionTuple& tuple) {
  if (packet.src != tuple.src || packet.dst != tuple.dst || packet.protocol != tuple.protocol) {
    return false;
  }
  return (!packet.src_port || *packet.src_port == tuple.src_port) &&
         (!packet.dst_port || *packet.dst_port == tuple.dst_port);
}

// "ESTABLISHED, assured, in the kernel's flow table"
std::string StateText(const Connection& connection) {
  std::string text = connection.tcp_state;
  const auto add = [&text](std::string_view word) {
    StrAppend(&text, text.empty() ? "" : ", ", word);
  };
  add(connection.assured ? "assured" : connection.seen_reply ? "answered" : "not answered yet");
  if (connection.in_hardware) {
    add("in the NIC's flow table");
  } else if (connection.offloaded) {
    add("in the kernel's flow table");
  }
  return text;
}

void TakeConnection(const FlowHost& host, FlowScene& scene) {
  const FlowExplanation::Packet& packet = scene.begun.packet;
  std::vector<std::string>& notes = scene.begun.notes;
  if (host.connections == nullptr) return;
  if (!host.connections->ok()) {
    notes.push_back(
        StrCat("what conntrack knows could not be read, so it is taken for the first of "
               "its connection: ",
               host.connections->status().message()));
    return;
  }
  for (const Connection& connection : **host.connections) {
    const bool reply = Fits(packet, connection.reply);
    if (connection.dying || (!reply && !Fits(packet, connection.original))) continue;
    // The first of a connection is new as long as nothing came back.
    if (reply || connection.seen_reply) scene.packet.connection = CtState::kEstablished;
    notes.push_back(StrCat("conntrack zone ", connection.zone, " has its connection: ",
                           StateText(connection), reply ? "; it is an answer" : ""));
    return;
  }
  notes.push_back("conntrack does not know its connection: it is the first of it");
}

}  // namespace

void AddSecurity(const FlowHost& host, const StoredObject& vpc, const StoredObject& subnet,
                 const BoundPort& from, FlowScene& scene) {
  const World& world = *host.world;
  const std::string& vpc_id = IdOf(vpc.object);
  const SecurityMode mode = world.SecurityModeOf(vpc_id);
  if (mode == SecurityMode::kNone) return;
  const bool stateful = mode == SecurityMode::kStateful;
  const auto add = [&](Stage stage, uint32_t ordinal, std::string why) {
    const uint32_t chain = ChainOf(stage, ordinal);
    scene.chains[chain] = {StageOf(world, scene.table, chain), std::move(why)};
  };
  if (stateful) {
    TakeConnection(host, scene);
    const bool icmp =
        scene.packet.protocol == kProtocolIcmp4 || scene.packet.protocol == kProtocolIcmp6;
    if (icmp) {
      scene.begun.notes.push_back(
          "no NIC follows ICMP: in a VPC with stateful security groups it goes through software");
    }
    add(Stage::kState, subnet.ordinal,
        "conntrack takes it for invalid, or does not know its state");
  }
  const std::string_view what = stateful ? "connection" : "packet";
  add(Stage::kEgress, from.policy == 0 ? vpc.ordinal : from.policy,
      StrCat("port/", from.port, " has ", Groups(from.security_groups), ", which do not allow the ",
             what, " to begin there"));
  add(Stage::kReceiver, vpc.ordinal, "it is neither IPv4 nor IPv6");
  add(Stage::kOnward, vpc.ordinal, "");
  for (const std::string& id : world.PortsOfVpc(vpc_id)) {
    const BoundPort* port = host.bound(id);
    if (port == nullptr) continue;
    add(Stage::kIngress, port->policy == 0 ? vpc.ordinal : port->policy,
        StrCat("its receiver has ", Groups(port->security_groups), ", which do not allow the ",
               what));
  }
}

}  // namespace fairlead
