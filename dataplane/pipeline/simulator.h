// SPDX-License-Identifier: Apache-2.0
//
// Purpose: runs rules on abstract packets, for tests of the pipeline: where a frame
// comes out, and as what. As TC does it: lowest priority first; a frame that no rule
// of a chain takes passes to the host, which is noted as a fault (each chain is to
// end in a drop; that of chain 0 is added by the caller, as its provider makes it).
//
// Threading: plain values. Errors: what TC would not do the same way each time, or
// what no NIC takes, is noted in `faults`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/model/flow_rule.h"

namespace fairlead {

struct SimPacket {
  DeviceRef in;  // the sender's representor, or the tunnel
  uint16_t ethertype = kEtherIpv4;
  MacAddress src_mac;
  MacAddress dst_mac;
  IpAddress src_ip, dst_ip;  // of IPv4 and IPv6
  uint8_t ttl = 64;
  std::optional<uint8_t> icmpv6_type;
  std::optional<uint16_t> udp_dst_port;
  // The outer header, while the packet carries one.
  std::optional<Vni> vni;
  std::optional<IpAddress> outer_dst;
  std::optional<uint16_t> outer_udp_port;
};

struct SimOutcome {
  enum class Kind : uint8_t { kDropped, kTrapped, kSent, kPassedToHost };
  Kind kind = Kind::kDropped;
  // kSent:
  DeviceRef to;
  MacAddress src_mac, dst_mac;  // as it comes out
  uint8_t ttl = 0;
  std::optional<Vni> vni;  // out of the tunnel device: what was put around it
  std::optional<IpAddress> remote;
  std::string ToString() const;
  friend bool operator==(const SimOutcome&, const SimOutcome&) = default;
};

class PipelineSimulator {
 public:
  // Replaces nothing: a location used twice is a fault.
  void Add(const std::vector<FlowRule>& rules);
  SimOutcome Run(const RuleTable& table, SimPacket packet);
  const std::vector<std::string>& faults() const { return faults_; }
  const std::vector<FlowRule>& rules() const { return all_; }

 private:
  using Chain = std::map<uint16_t, std::vector<FlowRule>>;  // by priority
  const FlowRule* Hit(const std::vector<FlowRule>& rules, const SimPacket& packet);
  // What the rule does; the chain that it goes on to, if any.
  std::optional<uint32_t> Do(const FlowRule& rule, SimPacket& packet, SimOutcome& out);

  std::map<std::pair<RuleTable, uint32_t>, Chain> chains_;
  std::map<RuleLocation, int> used_;
  std::vector<FlowRule> all_;
  std::vector<std::string> faults_;
};

}  // namespace fairlead
