// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what becomes of a frame of a provider network on NICs with an eswitch, as the intent
// language has it, without a rule, a table or a chain. It links nothing of dataplane/. Networks
// and frames by chance, the same ones for the same seed.
//
// Threading: plain values, pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "agent/base/types.h"
#include "agent/model/intent.h"

namespace fairlead::pipeline_model {

// One host's view: provider networks alone, and on which of its PFs a port has its VF.
struct ProviderNetwork {
  std::vector<Vpc> vpcs;
  std::vector<Port> ports;
  std::map<std::string, int> pf_of_port;
  static constexpr int kPfs = 2;
};

struct ProviderFrame {
  std::string from_port;  // "" = by the uplink of `pf`
  int pf = 0;
  std::optional<VlanId> vlan;  // its tag
  enum class Kind : uint8_t { kIpv4, kIpv6, kArp, kQinQ, kOther };
  Kind kind = Kind::kIpv4;  // of what is behind the tag
  MacAddress src_mac, dst_mac;
  IpAddress src_ip;  // of ARP: the sender's
  MacAddress arp_sender_mac;
  std::optional<uint8_t> icmpv6_type;
  std::optional<uint16_t> udp_dst_port;
  std::string ToString() const;
};

struct ProviderVerdict {
  std::set<std::string> ports;  // whose guests get it, untagged
  std::optional<int> uplink;    // PF by which it leaves
  std::optional<VlanId> vlan;   // its tag then
  bool host = false;            // the host's own network stack gets it
  std::string ToString() const;
  friend bool operator==(const ProviderVerdict&, const ProviderVerdict&) = default;
};

ProviderVerdict Judge(const ProviderNetwork& network, const ProviderFrame& frame);

ProviderNetwork RandomProviderNetwork(std::mt19937_64& random);
ProviderFrame RandomProviderFrame(const ProviderNetwork& network, std::mt19937_64& random);

}  // namespace fairlead::pipeline_model
