// SPDX-License-Identifier: Apache-2.0
//
// Purpose: runs rules on abstract packets, for tests of the pipeline: who gets a
// frame, and who does not. As TC does it: lowest priority first, a miss in the
// last one drops (the table's default drop is added by the caller as a rule, as
// its provider does).
//
// Threading: plain values. Errors: what TC would not do the same way each time
// (two rules of one priority that both match) is noted in `faults`.
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
  MacAddress dst_mac;
  std::optional<IpAddress> src_ip;
  std::optional<IpAddress> arp_target;
  std::optional<uint8_t> icmpv6_type;
  // The outer header, while the packet carries one.
  std::optional<Vni> vni;
  std::optional<IpAddress> outer_dst;
  std::optional<uint16_t> outer_udp_port;
};

struct SimDelivery {
  DeviceRef to;
  // Out of the tunnel device: what was put around the packet.
  std::optional<Vni> vni;
  std::optional<IpAddress> remote;
  friend auto operator<=>(const SimDelivery&, const SimDelivery&) = default;
};

class PipelineSimulator {
 public:
  void Add(const std::vector<FlowRule>& rules);
  // Replaces nothing: a location used twice is a fault.
  std::vector<SimDelivery> Run(const RuleTable& table, SimPacket packet);
  const std::vector<std::string>& faults() const { return faults_; }
  const std::vector<FlowRule>& rules() const { return all_; }

 private:
  using Chain = std::map<uint16_t, std::vector<FlowRule>>;  // by priority
  std::map<std::pair<RuleTable, uint32_t>, Chain> chains_;
  std::map<RuleLocation, int> used_;
  std::vector<FlowRule> all_;
  std::vector<std::string> faults_;
};

}  // namespace fairlead
