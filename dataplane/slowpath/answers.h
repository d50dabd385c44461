// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the responder's parts, one a protocol, have in common. Not for other folders.
//
// Threading: pure functions on what they are given.
#pragma once

#include <optional>

#include "dataplane/slowpath/packet.h"
#include "dataplane/slowpath/responder.h"

namespace fairlead::slowpath {

// A frame whose source MAC is the port's or a pair's, and where it came from.
struct Query {
  const SlowPathPort& port;
  const SlowPathSubnet& subnet;
  const Tables& tables;
  Ethernet ethernet;
  bool checksum_pending = false;

  // The frame's source MAC may send from this address.
  bool MayClaim(const IpAddress& address) const;
  // Or it is a link-local address, which guests give themselves (RFC 4862 section 5.3).
  bool MayClaim6(const IpAddress& address) const;
  // The port has this address itself: nobody else is to answer for it.
  bool IsOwn(const IpAddress& address) const;
  // Who answers for an address of the subnet: the gateway, or a neighbour.
  std::optional<MacAddress> OwnerOf(const IpAddress& address) const;
};

bool IsMacOf(const SlowPathPort& port, const MacAddress& mac);

inline Answer Answered(std::vector<uint8_t> frame) {
  return {Verdict::kAnswered, std::move(frame)};
}

// Every part is given what was parsed so far.
Answer AnswerArp(const Query& query);
Answer AnswerNeighbourSolicitation(const Query& query, const Ip6& ip);
Answer AnswerRouterSolicitation(const Query& query, const Ip6& ip);
Answer AnswerDhcp4(const Query& query, const Ip4& ip);
Answer AnswerDhcp6(const Query& query, const Ip6& ip);
// To the gateway's MAC: echo requests, and what must not be forwarded any further.
Answer AnswerRouted4(const Query& query, const Ip4& ip);
Answer AnswerRouted6(const Query& query, const Ip6& ip);

std::vector<uint8_t> RouterAdvertisement(const SlowPathSubnet& subnet, const MacAddress& to_mac,
                                         const IpAddress& to);
// What the port's DHCP server calls itself in IPv4.
IpAddress ServerId(const SlowPathSubnet& subnet);
IpAddress AllDhcpServers6();  // ff02::1:2, RFC 8415 section 7.1

}  // namespace fairlead::slowpath
