// SPDX-License-Identifier: Apache-2.0
//
// DHCPv4 (RFC 2131, options RFC 2132): the port's first IPv4 address, and never another.
#include <algorithm>
#include <array>

#include "dataplane/slowpath/answers.h"

namespace fairlead::slowpath {
namespace {

constexpr uint16_t kServerPort = 67, kClientPort = 68;
constexpr uint32_t kCookie = 0x63825363;  // RFC 2131 section 3
constexpr size_t kMinBootp = 300;         // RFC 951 section 3; old clients and relays want it
// A client must take this much in options (RFC 2131 section 2): a datagram of 576 bytes.
constexpr size_t kMostOptions = 312;
constexpr uint32_t kLease = 86'400;  // seconds
constexpr uint16_t kBroadcastFlag = 0x8000;

enum Option : uint8_t {
  kPad = 0,
  kSubnetMask = 1,
  kRouter = 3,
  kDnsServers = 6,
  kHostName = 12,
  kInterfaceMtu = 26,
  kRequestedAddress = 50,
  kLeaseTime = 51,
  kOverload = 52,
  kMessageType = 53,
  kServerIdentifier = 54,
  kRenewalTime = 58,
  kRebindingTime = 59,
  kClientIdentifier = 61,
  kEnd = 255,
};
enum Type : uint8_t {
  kDiscover = 1,
  kOffer = 2,
  kRequest = 3,
  kDecline = 4,
  kAck = 5,
  kNak = 6,
  kRelease = 7,
  kInform = 8,
};

struct Message {
  uint32_t transaction = 0;
  uint16_t flags = 0;
  IpAddress client;  // ciaddr
  MacAddress mac;
  uint8_t type = 0;
  std::optional<IpAddress> requested, server;
  Bytes client_id;
};

// False: not well-formed. An option that is there twice has no meaning here (RFC 3396 would
// have the two be one, which none of ours is long enough for).
bool ReadOptions(Bytes bytes, Message* message, uint8_t* overload) {
  Reader in(bytes);
  while (in.left() > 0) {
    const uint8_t code = in.U8();
    if (code == kPad) continue;
    if (code == kEnd) return true;
    Reader option(in.Take(in.U8()));
    if (!in.ok()) return false;
    const size_t length = option.left();
    switch (code) {
      case kMessageType:
        if (length != 1 || message->type != 0) return false;
        message->type = option.U8();
        break;
      case kOverload:
        if (length != 1 || *overload != 0) return false;
        *overload = option.U8();
        if (*overload < 1 || *overload > 3) return false;
        break;
      case kRequestedAddress:
        if (length != 4 || message->requested) return false;
        message->requested = option.Ip4();
        break;
      case kServerIdentifier:
        if (length != 4 || message->server) return false;
        message->server = option.Ip4();
        break;
      case kClientIdentifier:
        // RFC 2132 section 9.14: two bytes at least, though some send less.
        if (length == 0 || !message->client_id.empty()) return false;
        message->client_id = option.Take(length);
        break;
      default:
        break;
    }
  }
  return true;  // without an end, which many forgive
}

std::optional<Message> ReadMessage(Bytes bytes) {
  Reader in(bytes);
  Message out;
  const uint8_t operation = in.U8(), hardware = in.U8(), hardware_size = in.U8();
  in.Skip(1);  // hops
  out.transaction = in.U32();
  in.Skip(2);  // seconds
  out.flags = in.U16();
  out.client = in.Ip4();
  in.Skip(8);  // yiaddr, siaddr: the server's to say
  const IpAddress relay = in.Ip4();
  out.mac = in.Mac();
  in.Skip(10);
  const Bytes server_name = in.Take(64), file = in.Take(128);
  const uint32_t cookie = in.U32();
  if (!in.ok() || operation != 1 || hardware != 1 || hardware_size != 6 || !relay.IsUnspecified() ||
      cookie != kCookie) {
    return std::nullopt;
  }
  uint8_t overload = 0;
  if (!ReadOptions(in.Take(in.left()), &out, &overload)) return std::nullopt;
  // RFC 2131 section 4.1: the options' own field first, then file, then sname.
  uint8_t again = overload;  // these two cannot be overloaded
  if ((overload & 1) != 0 && !ReadOptions(file, &out, &again)) return std::nullopt;
  if ((overload & 2) != 0 && !ReadOptions(server_name, &out, &again)) return std::nullopt;
  if (out.type == 0) return std::nullopt;
  return out;
}

// Options, as many as a client must take. Those that it cannot do without come first.
class Options {
 public:
  void Add(Option code, Bytes value) {
    if (value.empty() || value.size() > 255) return;
    if (out_.size() + 2 + value.size() + 1 + 4 > kMostOptions) return;  // end, cookie
    out_.U8(code).U8(static_cast<uint8_t>(value.size())).Put(value);
  }
  void Add(Option code, const IpAddress& address) { Add(code, address.bytes()); }
  void AddU8(Option code, uint8_t value) { Add(code, Bytes(&value, 1)); }
  void AddU32(Option code, uint32_t value) {
    Writer number;
    Add(code, number.U32(value).bytes());
  }
  Bytes Finish() { return out_.U8(kEnd).bytes(); }

 private:
  Writer out_;
};

void AddConfiguration(const Query& query, Options* options) {
  const SlowPathSubnet& subnet = query.subnet;
  if (subnet.prefix4) {
    const int length = subnet.prefix4->length();
    options->AddU32(kSubnetMask, length == 0 ? 0 : 0xffffffffU << (32 - length));
  }
  if (subnet.gateway4) options->Add(kRouter, *subnet.gateway4);
  Writer mtu;
  options->Add(kInterfaceMtu, mtu.U16(static_cast<uint16_t>(subnet.mtu)).bytes());
  Writer servers;
  for (const IpAddress& server : subnet.dns_servers) {
    if (server.is_v4()) servers.Put(server);
  }
  options->Add(kDnsServers, servers.bytes());
  const std::string& name = query.port.host_name;
  options->Add(kHostName, Bytes(reinterpret_cast<const uint8_t*>(name.data()), name.size()));
}

Answer Reply(const Query& query, const Message& message, Type type, const IpAddress& address) {
  const IpAddress none = Ip4Of(0, 0, 0, 0), all = Ip4Of(255, 255, 255, 255);
  const bool inform = message.type == kInform;
  const IpAddress server = ServerId(query.subnet);
  Options options;
  options.AddU8(kMessageType, type);
  options.Add(kServerIdentifier, server);
  if (type != kNak && !inform) {
    options.AddU32(kLeaseTime, kLease);
    options.AddU32(kRenewalTime, kLease / 2);        // RFC 2131 section 4.4.5
    options.AddU32(kRebindingTime, kLease / 8 * 7);  // likewise
  }
  // RFC 6842: always given back. Before what a client can do without.
  if (type == kNak) {
    options.Add(kClientIdentifier, message.client_id);
  } else {
    if (message.client_id.size() <= 64) options.Add(kClientIdentifier, message.client_id);
    AddConfiguration(query, &options);
    if (message.client_id.size() > 64) options.Add(kClientIdentifier, message.client_id);
  }
  Writer out;
  out.U8(2).U8(1).U8(6).U8(0).U32(message.transaction).U16(0).U16(message.flags);
  out.Put(type == kNak ? none : message.client);
  out.Put(type == kNak || inform ? none : address);
  out.Put(none).Put(none).Put(message.mac).Zeros(10 + 64 + 128).U32(kCookie);
  out.Put(options.Finish());
  if (out.size() < kMinBootp) out.Zeros(kMinBootp - out.size());

  // RFC 2131 section 4.1: where a reply goes that no relay asked for.
  IpAddress to = all;
  if (type != kNak) {
    if (!message.client.IsUnspecified()) {
      to = message.client;
    } else if ((message.flags & kBroadcastFlag) == 0) {
      to = address;
    }
  }
  const MacAddress to_mac = to == all ? kBroadcastMac : message.mac;
  return Answered(
      UdpFrame({kGatewayMac, to_mac, server, to}, kServerPort, kClientPort, out.bytes()));
}

Answer AnswerRequest(const Query& query, const Message& message, const IpAddress& address) {
  if (message.server) {  // it chose among offers
    if (*message.server != ServerId(query.subnet)) return {};
    if (!message.requested || !message.client.IsUnspecified()) return {Verdict::kMalformed};
    return Reply(query, message, *message.requested == address ? kAck : kNak, address);
  }
  if (message.requested) {  // it was restarted and remembers
    if (!message.client.IsUnspecified()) return {Verdict::kMalformed};
    return Reply(query, message, *message.requested == address ? kAck : kNak, address);
  }
  if (message.client.IsUnspecified()) return {Verdict::kMalformed};
  return Reply(query, message, message.client == address ? kAck : kNak, address);
}

}  // namespace

IpAddress ServerId(const SlowPathSubnet& subnet) {
  // Where there is no gateway some address must stand (RFC 2131 section 4.3.1). A link-local one
  // (RFC 3927) is nobody's in the subnet; a client that cannot reach it rebinds by broadcast.
  return subnet.gateway4 ? *subnet.gateway4 : Ip4Of(169, 254, 169, 253);
}

Answer AnswerDhcp4(const Query& query, const Ip4& ip) {
  const std::optional<Udp> udp =
      ParseUdp(ip.source, ip.destination, ip.payload, query.checksum_pending);
  if (!udp || udp->destination_port != kServerPort) return {Verdict::kMalformed};
  const std::optional<Message> message = ReadMessage(udp->payload);
  if (!message) return {Verdict::kMalformed};
  if (message->mac != query.port.mac || query.ethernet.source != query.port.mac) {
    return {Verdict::kSpoofed};
  }
  if (!ip.source.IsUnspecified() && !query.MayClaim(ip.source)) return {Verdict::kSpoofed};
  const auto address = std::find_if(query.port.addresses.begin(), query.port.addresses.end(),
                                    [](const IpAddress& a) { return a.is_v4(); });
  if (address == query.port.addresses.end()) return {Verdict::kUnknown};
  switch (message->type) {
    case kDiscover:
      if (!message->client.IsUnspecified()) return {Verdict::kMalformed};
      return Reply(query, *message, kOffer, *address);
    case kRequest:
      return AnswerRequest(query, *message, *address);
    case kInform:
      if (message->client.IsUnspecified()) return {Verdict::kMalformed};
      if (!query.MayClaim(message->client)) return {Verdict::kSpoofed};
      return Reply(query, *message, kAck, *address);
    case kDecline:
    case kRelease:
      return {};  // the address is the port's, whatever the guest does
    default:
      return {Verdict::kMalformed};
  }
}

}  // namespace fairlead::slowpath
