// SPDX-License-Identifier: Apache-2.0
//
// DHCPv6 (RFC 8415): the port's IPv6 addresses, all in its first IA_NA.
#include <algorithm>
#include <array>

#include "dataplane/slowpath/answers.h"

namespace fairlead::slowpath {
namespace {

constexpr uint16_t kServerPort = 547, kClientPort = 546;
constexpr uint32_t kLifetime = 86'400;  // seconds, preferred and valid
constexpr size_t kMostDuid = 130;       // RFC 8415 section 11.1: 128 and the type
constexpr size_t kMostAssociations = 8;

enum Type : uint8_t {  // section 7.3
  kSolicit = 1,
  kAdvertise = 2,
  kRequest = 3,
  kConfirm = 4,
  kRenew = 5,
  kRebind = 6,
  kReply = 7,
  kRelease = 8,
  kDecline = 9,
  kInformationRequest = 11,
};
enum Option : uint16_t {  // section 21, RFC 3646
  kClientId = 1,
  kServerId = 2,
  kIaNa = 3,
  kIaTa = 4,
  kIaAddr = 5,
  kStatusCode = 13,
  kRapidCommit = 14,
  kDnsServers = 23,
  kIaPd = 25,
};
enum Status : uint16_t {  // section 21.13
  kSuccess = 0,
  kNoAddrsAvail = 2,
  kNoBinding = 3,
  kNotOnLink = 4,
  kNoPrefixAvail = 6,
};

struct Association {
  uint16_t kind = kIaNa;
  uint32_t id = 0;
  std::vector<IpAddress> addresses;
};

struct Message {
  uint8_t type = 0;
  uint32_t transaction = 0;  // 24 bits
  Bytes client_id, server_id;
  bool rapid_commit = false;
  std::vector<Association> associations;
};

// DUID-LL (section 11.4) of the gateway's MAC.
std::vector<uint8_t> OurDuid() {
  Writer out;
  return out.U16(3).U16(1).Put(kGatewayMac).Take();
}

std::optional<Association> ReadAssociation(uint16_t kind, Reader in) {
  Association out;
  out.kind = kind;
  out.id = in.U32();
  if (kind != kIaTa) in.Skip(8);  // T1, T2
  while (in.ok() && in.left() > 0) {
    const uint16_t code = in.U16();
    Reader option(in.Take(in.U16()));
    if (!in.ok()) return std::nullopt;
    if (code != kIaAddr || kind == kIaPd) continue;
    const IpAddress address = option.Ip6();
    option.Skip(8);  // lifetimes
    // A hostile client's list is not to make our answer larger than its question.
    if (!option.ok() || out.addresses.size() >= 32) return std::nullopt;
    out.addresses.push_back(address);
  }
  if (!in.ok()) return std::nullopt;
  return out;
}

std::optional<Message> ReadMessage(Bytes bytes) {
  Reader in(bytes);
  Message out;
  const uint32_t head = in.U32();
  out.type = static_cast<uint8_t>(head >> 24);
  out.transaction = head & 0xffffff;
  while (in.ok() && in.left() > 0) {
    const uint16_t code = in.U16();
    Reader option(in.Take(in.U16()));
    if (!in.ok()) return std::nullopt;
    if (code == kClientId || code == kServerId) {
      Bytes& duid = code == kClientId ? out.client_id : out.server_id;
      if (!duid.empty() || option.left() < 3 || option.left() > kMostDuid) return std::nullopt;
      duid = option.Take(option.left());
    } else if (code == kRapidCommit) {
      if (option.left() != 0) return std::nullopt;
      out.rapid_commit = true;
    } else if (code == kIaNa || code == kIaTa || code == kIaPd) {
      std::optional<Association> association = ReadAssociation(code, option);
      if (!association || out.associations.size() >= kMostAssociations) return std::nullopt;
      out.associations.push_back(*std::move(association));
    }
  }
  if (!in.ok()) return std::nullopt;
  return out;
}

// Section 16: what a message must and must not have. False: to be discarded without a word.
bool MayAnswer(const Message& message) {
  const std::vector<uint8_t> ours = OurDuid();
  const bool client = !message.client_id.empty(), server = !message.server_id.empty();
  const bool is_ours =
      std::equal(message.server_id.begin(), message.server_id.end(), ours.begin(), ours.end());
  switch (message.type) {
    case kSolicit:
    case kConfirm:
    case kRebind:
      return client && !server;
    case kRequest:
    case kRenew:
    case kRelease:
    case kDecline:
      return client && is_ours;
    case kInformationRequest:
      return (!server || is_ours) && message.associations.empty();
    default:
      return false;
  }
}

void PutOption(Writer* out, uint16_t code, Bytes value) {
  out->U16(code).U16(static_cast<uint16_t>(value.size())).Put(value);
}

void PutStatus(Writer* out, Status status, std::string_view words) {
  Writer value;
  value.U16(status);
  value.Put(Bytes(reinterpret_cast<const uint8_t*>(words.data()), words.size()));
  PutOption(out, kStatusCode, value.bytes());
}

void PutAddress(Writer* out, const IpAddress& address, uint32_t lifetime) {
  Writer value;
  value.Put(address).U32(lifetime).U32(lifetime);
  PutOption(out, kIaAddr, value.bytes());
}

void PutAssociation(Writer* out, const Association& association, const Writer& options,
                    bool bound) {
  Writer value;
  value.U32(association.id);
  if (association.kind != kIaTa) {
    // Section 14.2: 0.5 and 0.8 of the preferred lifetime.
    value.U32(bound ? kLifetime / 2 : 0).U32(bound ? kLifetime / 10 * 8 : 0);
  }
  value.Put(options.bytes());
  PutOption(out, association.kind, value.bytes());
}

class Server {
 public:
  Server(const Query& query, const Message& message) : message_(message) {
    for (const IpAddress& address : query.port.addresses) {
      if (address.is_v6()) addresses_.push_back(address);
    }
  }

  // Solicit, Request, Renew, Rebind (sections 18.3.1, 18.3.2, 18.3.4, 18.3.5).
  void PutAssociations(Writer* out) const {
    const bool extends = message_.type == kRenew || message_.type == kRebind;
    bool first = true;
    for (const Association& association : message_.associations) {
      Writer options;
      const bool bound = association.kind == kIaNa && first && !addresses_.empty();
      if (association.kind == kIaNa) first = false;
      if (bound) {
        for (const IpAddress& address : addresses_) PutAddress(&options, address, kLifetime);
      }
      // An address that it may not have (any more) is told to be over.
      if (extends && association.kind == kIaNa) {
        for (const IpAddress& address : association.addresses) {
          if (!bound || !IsOurs(address)) PutAddress(&options, address, 0);
        }
      }
      if (!bound) PutRefusal(&options, association.kind, extends);
      PutAssociation(out, association, options, bound);
    }
  }

  bool AsksWithoutAnAddress() const {
    return std::all_of(message_.associations.begin(), message_.associations.end(),
                       [](const Association& a) { return a.addresses.empty(); });
  }
  bool AllOnLink(const IpPrefix& link) const {
    return std::all_of(
        message_.associations.begin(), message_.associations.end(), [&link](const Association& a) {
          return std::all_of(a.addresses.begin(), a.addresses.end(),
                             [&link](const IpAddress& x) { return link.Contains(x); });
        });
  }

 private:
  bool IsOurs(const IpAddress& address) const {
    return std::find(addresses_.begin(), addresses_.end(), address) != addresses_.end();
  }
  static void PutRefusal(Writer* options, uint16_t kind, bool extends) {
    if (kind == kIaPd) return PutStatus(options, kNoPrefixAvail, "no prefixes here");
    if (extends) return PutStatus(options, kNoBinding, "no such binding");
    PutStatus(options, kNoAddrsAvail, "no address for this association");
  }

  const Message& message_;
  std::vector<IpAddress> addresses_;
};

}  // namespace

IpAddress AllDhcpServers6() {
  std::array<uint8_t, 16> out{0xff, 0x02};
  out[13] = 1;
  out[15] = 2;
  return *IpAddress::FromBytes(out);
}

Answer AnswerDhcp6(const Query& query, const Ip6& ip) {
  const std::optional<Udp> udp =
      ParseUdp(ip.source, ip.destination, ip.payload, query.checksum_pending);
  if (!udp || udp->destination_port != kServerPort) return {Verdict::kMalformed};
  if (query.ethernet.source != query.port.mac || !query.MayClaim6(ip.source)) {
    return {Verdict::kSpoofed};
  }
  const std::optional<Message> message = ReadMessage(udp->payload);
  if (!message) return {Verdict::kMalformed};
  if (!MayAnswer(*message)) return {};
  if (!query.subnet.prefix6) return {Verdict::kUnknown};

  const Server server(query, *message);
  const bool rapid = message->type == kSolicit && message->rapid_commit;
  const Type type = message->type == kSolicit && !rapid ? kAdvertise : kReply;
  Writer out;
  out.U32(static_cast<uint32_t>(type) << 24 | message->transaction);
  PutOption(&out, kServerId, OurDuid());
  if (!message->client_id.empty()) PutOption(&out, kClientId, message->client_id);
  if (rapid) PutOption(&out, kRapidCommit, {});
  switch (message->type) {
    case kConfirm:
      // Section 18.3.3: without an address nothing can be said.
      if (server.AsksWithoutAnAddress()) return {};
      if (server.AllOnLink(*query.subnet.prefix6)) {
        PutStatus(&out, kSuccess, "on link");
      } else {
        PutStatus(&out, kNotOnLink, "not on this link");
      }
      break;
    case kRelease:
    case kDecline:
      // The address stays the port's, whatever the guest does.
      PutStatus(&out, kSuccess, "noted");
      break;
    case kInformationRequest:
      break;
    default:
      server.PutAssociations(&out);
  }
  Writer servers;
  for (const IpAddress& address : query.subnet.dns_servers) {
    if (address.is_v6()) servers.Put(address);
  }
  if (servers.size() > 0) PutOption(&out, kDnsServers, servers.bytes());
  return Answered(UdpFrame({kGatewayMac, query.ethernet.source, GatewayLinkLocal(), ip.source},
                           kServerPort, kClientPort, out.bytes()));
}

}  // namespace fairlead::slowpath
