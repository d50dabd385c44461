// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what becomes of a frame, as the intent language has it: the protocol files'
// words, without a rule, a table or a chain. It links nothing of dataplane/.
//
// Threading: plain values, pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/base/types.h"
#include "agent/model/intent.h"

namespace fairlead::pipeline_model {

// One host's view: every object of the intent, ports of this host with the MAC that they have.
struct Network {
  std::vector<Vpc> vpcs;
  std::vector<Subnet> subnets;
  std::vector<Port> ports;
  std::vector<Endpoint> endpoints;
  std::vector<Route> routes;
  std::vector<SecurityGroup> groups;
  IpAddress local;  // this host's VTEP
  uint16_t udp_port = 4789;
  std::vector<IpPrefix> peers = {};  // whose frames are taken from the tunnel; none: anyone's
};

struct Frame {
  std::string from_port;  // "" = out of the tunnel, with the header below
  enum class Kind : uint8_t { kIpv4, kIpv6, kArp, kVlan, kQinQ, kOther };
  Kind kind = Kind::kIpv4;
  MacAddress src_mac, dst_mac;
  IpAddress src_ip, dst_ip;
  uint8_t ttl = 64;
  std::optional<uint8_t> icmpv6_type;
  std::optional<uint16_t> udp_dst_port;
  std::optional<uint16_t> tcp_dst_port;
  // What it is of a connection, where connections are followed.
  enum class State : uint8_t { kNew, kEstablished, kRelated };
  State state = State::kNew;
  uint8_t protocol() const;  // of the header that it has, or one that nothing else says of it
  Vni vni;
  IpAddress outer_src, outer_dst;
  uint16_t outer_udp_port = 0;
  std::string ToString() const;
};

struct Verdict {
  enum class Kind : uint8_t { kDropped, kSlowPath, kPort, kRemote };
  Kind kind = Kind::kDropped;
  std::string port;  // kPort
  Vni vni;           // kRemote
  IpAddress vtep;
  MacAddress src_mac, dst_mac;  // kPort, kRemote: as it arrives
  uint8_t ttl = 0;
  // Whether its connection is known from then on, where that is not all the same: of what is
  // delivered, and of what a group does not allow.
  std::optional<bool> known;
  std::string ToString() const;
  friend bool operator==(const Verdict& a, const Verdict& b) {
    return a.kind == b.kind && a.port == b.port && a.vni == b.vni && a.vtep == b.vtep &&
           a.src_mac == b.src_mac && a.dst_mac == b.dst_mac && a.ttl == b.ttl &&
           (!a.known || !b.known || a.known == b.known);
  }
};

Verdict Judge(const Network& network, const Frame& frame);

}  // namespace fairlead::pipeline_model
