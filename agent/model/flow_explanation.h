// SPDX-License-Identifier: Apache-2.0
//
// Purpose: one packet that somebody asks about, and what becomes of it: each rule that takes it,
// whether that stands in the kernel as compiled, and where the packet ends. agent/compile
// finds it out (explain_flow.h); proto/fairlead/v1/agent.proto says what each field means to a
// reader.
//
// Threading: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/counters.h"
#include "agent/base/types.h"
#include "agent/model/flow_rule.h"

namespace fairlead {

inline constexpr uint8_t kDefaultTtl = 64;
// Of routers and neighbours (RFC 4861 sections 4.1 to 4.5), with the hop limit that shows that no
// router has forwarded it.
inline constexpr uint8_t kRouterSolicitation = 133, kNeighbourSolicitation = 135, kRedirect = 137;
inline constexpr uint8_t kNdHopLimit = 255;

struct FlowQuestion {
  std::string port;  // whose guest sends; "": it comes by the tunnel, or an uplink
  std::optional<IpAddress> to;
  std::optional<IpAddress> src;
  std::optional<MacAddress> src_mac, dst_mac;
  std::optional<uint8_t> protocol;  // none: a ping
  std::optional<uint16_t> src_port, dst_port;
  bool fragment = false;  // without ports
  uint8_t ttl = kDefaultTtl;
  std::optional<uint8_t> icmp_type;  // none: an echo request
  bool neighbour = false;            // it asks who has `to`, by ARP or ND, and is none of the above
  std::optional<MacAddress> arp_mac;  // the sender's in the ARP; none: src_mac
  // By the tunnel:
  std::optional<IpAddress> vtep;  // who sent it
  std::optional<Vni> vni;
  // By a PF's uplink:
  std::string uplink;  // name of the PF's netdev, or its id

  std::optional<VlanId> vlan;  // by an uplink, or the guest has put it there; none: untagged
};

// A compiled rule, compared with what was read from the kernel.
enum class RuleStanding : uint8_t { kHardware, kSoftware, kMissing, kOtherContent, kForeign };
std::string_view RuleStandingName(RuleStanding standing);  // "hardware", "another content", ...
inline bool StandsAsCompiled(RuleStanding s) { return s <= RuleStanding::kSoftware; }

struct FlowStep {
  std::string stage;
  RuleLocation location;
  std::string rule;
  std::string does;
  bool to_cpu = false;  // it takes the packet out of the NIC, to the host
  std::string owner;
  RuleStanding standing = RuleStanding::kMissing;
  uint32_t in_hw_count = 0;
  size_t offered = 0;  // devices that it is offered to and that can take it; 0: not known
  std::string detail;
  bool reached = false;
  std::optional<uint16_t> ethertype;     // of what stands there; none: nothing does
  std::optional<RuleCounters> counters;  // none: they were not read
};

struct FlowVerdict {
  enum class Kind : uint8_t {
    kDelivered,
    kEncapsulated,
    kUplink,
    kSlowPath,
    kDropped,
    kNotSent,
    kToHost,
    kUnknown
  };
  Kind kind = Kind::kUnknown;
  std::string port;               // kDelivered
  std::optional<IpAddress> vtep;  // kEncapsulated
  std::optional<Vni> vni;         // kEncapsulated
  std::string why;
  std::string uplink = {};               // kUplink: name of the PF's netdev
  std::optional<VlanId> vlan = {};       // kUplink: none: untagged
  std::vector<std::string> copies = {};  // ports that get a copy, whatever becomes of the packet
  friend bool operator==(const FlowVerdict&, const FlowVerdict&) = default;
};
std::string_view FlowVerdictName(FlowVerdict::Kind kind);  // "delivered", "slow path", ...

enum class FlowPath : uint8_t { kNone, kHardware, kPartly, kSoftware, kSlowPath };
std::string_view FlowPathName(FlowPath path);  // "", "hardware", "hardware in part", ...

struct FlowExplanation {
  struct Packet {
    std::optional<MacAddress> src_mac, dst_mac;
    std::optional<IpAddress> src, dst;
    std::optional<uint8_t> protocol;
    std::optional<uint16_t> src_port, dst_port;
    bool fragment = false;
    uint8_t ttl = kDefaultTtl;
    std::optional<uint8_t> icmp_type;
    bool neighbour = false;
    std::optional<MacAddress> arp_mac;
    std::optional<VlanId> vlan;
  };
  struct Lookup {
    std::string question;
    std::optional<MacAddress> mac;
    std::string why;
  };
  struct Out {
    MacAddress src_mac, dst_mac;
    uint8_t ttl = 0;  // 0: it has none
  };
  std::string from;
  Packet packet;
  std::optional<Lookup> lookup;
  std::vector<FlowStep> steps;
  FlowVerdict verdict, compiled;
  std::optional<Out> out;
  std::optional<ActionEncap> header;
  std::string next_hop;  // of the header's remote end; "" = nothing is known of it
  FlowPath path = FlowPath::kNone;
  std::string path_why;
  std::vector<std::string> disagreements;
  std::vector<std::string> notes;
  std::string counters_problem;
};

}  // namespace fairlead
