// SPDX-License-Identifier: Apache-2.0
#include "dataplane/slowpath/wire/slow_path_wire.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <type_traits>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "fairlead/v1/slow_path.pb.h"

namespace fairlead {
namespace {

// One reply stays far below a message's size.
constexpr size_t kMaxToldText = 256;
// An update's fields beside entries and keys, and a tag and length each of those.
constexpr size_t kFrameBytes = 64, kItemBytes = 8;
constexpr size_t kMostInOne = 1000;  // ours; a reader takes kMaxSlowPathEntries

absl::Status Bad(std::string_view what) { return absl::InvalidArgumentError(AbslView(what)); }

std::span<const uint8_t> AsBytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

bool IsPrintable(char c) { return c > 0x20 && c < 0x7f; }

// The kernel takes nearly any byte in a name; protobuf takes UTF-8, and a log wants less.
std::string Printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return !IsPrintable(c); }, '?');
  return text;
}

std::string AsString(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

// ---- from protobuf --------------------------------------------------------------------------

absl::StatusOr<IpAddress> ReadAddress(const std::string& bytes, std::string_view what) {
  if (const auto address = IpAddress::FromBytes(AsBytes(bytes))) return *address;
  return Bad(StrCat(what, " has ", bytes.size(), " bytes; 4 or 16 are an address"));
}

absl::StatusOr<std::optional<IpAddress>> ReadOptionalAddress(const std::string& bytes,
                                                             std::string_view what) {
  if (bytes.empty()) return std::optional<IpAddress>();
  FAIRLEAD_ASSIGN_OR_RETURN(const IpAddress address, ReadAddress(bytes, what));
  return std::optional<IpAddress>(address);
}

absl::StatusOr<IpPrefix> ReadPrefix(const std::string& bytes, uint32_t length,
                                    std::string_view what) {
  FAIRLEAD_ASSIGN_OR_RETURN(const IpAddress address, ReadAddress(bytes, what));
  absl::StatusOr<IpPrefix> prefix = IpPrefix::Parse(StrCat(address.ToString(), "/", length));
  if (!prefix.ok()) return Annotate(prefix.status(), what);
  return prefix;
}

absl::StatusOr<std::optional<IpPrefix>> ReadOptionalPrefix(const std::string& bytes,
                                                           uint32_t length, std::string_view what) {
  if (bytes.empty() && length == 0) return std::optional<IpPrefix>();
  FAIRLEAD_ASSIGN_OR_RETURN(const IpPrefix prefix, ReadPrefix(bytes, length, what));
  return std::optional<IpPrefix>(prefix);
}

absl::StatusOr<MacAddress> ReadMac(const std::string& bytes) {
  if (const auto mac = MacAddress::FromBytes(AsBytes(bytes))) return *mac;
  return Bad(StrCat("the MAC has ", bytes.size(), " bytes; it must have 6"));
}

absl::Status TooMany(std::string_view what, size_t count, size_t most) {
  return Bad(StrCat(count, " ", what, "; ", most, " are possible at most"));
}

template <typename Field>
absl::StatusOr<std::vector<IpAddress>> ReadAddresses(const Field& field, std::string_view what,
                                                     size_t most) {
  // Before anything is made of them.
  if (static_cast<size_t>(field.size()) > most) return TooMany(what, field.size(), most);
  std::vector<IpAddress> out;
  for (const std::string& bytes : field) {
    FAIRLEAD_ASSIGN_OR_RETURN(const IpAddress address, ReadAddress(bytes, what));
    out.push_back(address);
  }
  return out;
}

absl::StatusOr<SlowPathEntry> Read(const v1::SlowPathSubnet& in) {
  SlowPathSubnet out;
  out.id = in.id();
  FAIRLEAD_ASSIGN_OR_RETURN(
      out.prefix4, ReadOptionalPrefix(in.prefix4(), in.prefix4_length(), "the IPv4 prefix"));
  FAIRLEAD_ASSIGN_OR_RETURN(
      out.prefix6, ReadOptionalPrefix(in.prefix6(), in.prefix6_length(), "the IPv6 prefix"));
  FAIRLEAD_ASSIGN_OR_RETURN(out.gateway4, ReadOptionalAddress(in.gateway4(), "the IPv4 gateway"));
  FAIRLEAD_ASSIGN_OR_RETURN(out.gateway6, ReadOptionalAddress(in.gateway6(), "the IPv6 gateway"));
  FAIRLEAD_ASSIGN_OR_RETURN(out.dns_servers,
                            ReadAddresses(in.dns_servers(), "DNS servers", kMaxSlowPathDnsServers));
  out.mtu = in.mtu();
  return SlowPathEntry(std::move(out));
}

absl::StatusOr<SlowPathEntry> Read(const v1::SlowPathPort& in) {
  SlowPathPort out;
  out.id = in.id();
  out.subnet = in.subnet();
  out.ifindex = in.ifindex();
  if (!std::all_of(in.netdev().begin(), in.netdev().end(), IsPrintable)) {
    return Bad(StrCat("the netdev's name ", Quoted(in.netdev()), " cannot be printed"));
  }
  out.netdev = in.netdev();
  FAIRLEAD_ASSIGN_OR_RETURN(out.mac, ReadMac(in.mac()));
  FAIRLEAD_ASSIGN_OR_RETURN(out.addresses,
                            ReadAddresses(in.addresses(), "addresses", kMaxSlowPathAddresses));
  if (static_cast<size_t>(in.pairs_size()) > kMaxSlowPathPairs) {
    return TooMany("address pairs", in.pairs_size(), kMaxSlowPathPairs);
  }
  for (const v1::SlowPathPort::Pair& pair : in.pairs()) {
    AddressPair& to = out.pairs.emplace_back();
    if (!pair.mac().empty()) {
      FAIRLEAD_ASSIGN_OR_RETURN(to.mac, ReadMac(pair.mac()));
    }
    FAIRLEAD_ASSIGN_OR_RETURN(
        to.prefix, ReadPrefix(pair.prefix(), pair.prefix_length(), "an address pair's prefix"));
  }
  out.host_name = in.host_name();
  return SlowPathEntry(std::move(out));
}

absl::StatusOr<SlowPathEntry> Read(const v1::SlowPathNeighbour& in) {
  SlowPathNeighbour out;
  out.subnet = in.subnet();
  FAIRLEAD_ASSIGN_OR_RETURN(out.address, ReadAddress(in.address(), "the address"));
  FAIRLEAD_ASSIGN_OR_RETURN(out.mac, ReadMac(in.mac()));
  return SlowPathEntry(std::move(out));
}

absl::StatusOr<SlowPathEntry> Read(const v1::SlowPathEntry& in) {
  absl::StatusOr<SlowPathEntry> out = Bad("says nothing that this slow path knows");
  switch (in.entry_case()) {
    case v1::SlowPathEntry::kSubnet:
      out = Read(in.subnet());
      break;
    case v1::SlowPathEntry::kPort:
      out = Read(in.port());
      break;
    case v1::SlowPathEntry::kNeighbour:
      out = Read(in.neighbour());
      break;
    case v1::SlowPathEntry::ENTRY_NOT_SET:
      break;
  }
  if (out.ok()) FAIRLEAD_RETURN_IF_ERROR(CheckSlowPathEntry(*out));
  return out;
}

absl::StatusOr<SlowPathKey> Read(const v1::SlowPathKey& in) {
  SlowPathKey out;
  switch (in.key_case()) {
    case v1::SlowPathKey::kSubnet:
      out = {SlowPathKey::Kind::kSubnet, in.subnet(), {}};
      break;
    case v1::SlowPathKey::kPort:
      out = {SlowPathKey::Kind::kPort, in.port(), {}};
      break;
    case v1::SlowPathKey::kNeighbour: {
      FAIRLEAD_ASSIGN_OR_RETURN(const IpAddress address,
                                ReadAddress(in.neighbour().address(), "the address"));
      out = {SlowPathKey::Kind::kNeighbour, in.neighbour().subnet(), address};
      break;
    }
    case v1::SlowPathKey::KEY_NOT_SET:
      return Bad("names nothing that this slow path knows");
  }
  FAIRLEAD_RETURN_IF_ERROR(CheckSlowPathKey(out));
  return out;
}

// What an entry that could not be read was.
std::string NameOf(const v1::SlowPathEntry& in) {
  switch (in.entry_case()) {
    case v1::SlowPathEntry::kSubnet:
      return StrCat("subnet ", Quoted(in.subnet().id()));
    case v1::SlowPathEntry::kPort:
      return StrCat("port ", Quoted(in.port().id()));
    case v1::SlowPathEntry::kNeighbour:
      return StrCat("a neighbour in subnet ", Quoted(in.neighbour().subnet()));
    default:
      return "an entry";
  }
}

// ---- to protobuf ----------------------------------------------------------------------------

void Write(const SlowPathEntry& entry, v1::SlowPathEntry* out) {
  if (const auto* subnet = std::get_if<SlowPathSubnet>(&entry)) {
    v1::SlowPathSubnet& to = *out->mutable_subnet();
    to.set_id(subnet->id);
    if (subnet->prefix4) {
      to.set_prefix4(AsString(subnet->prefix4->address().bytes()));
      to.set_prefix4_length(subnet->prefix4->length());
    }
    if (subnet->prefix6) {
      to.set_prefix6(AsString(subnet->prefix6->address().bytes()));
      to.set_prefix6_length(subnet->prefix6->length());
    }
    if (subnet->gateway4) to.set_gateway4(AsString(subnet->gateway4->bytes()));
    if (subnet->gateway6) to.set_gateway6(AsString(subnet->gateway6->bytes()));
    for (const IpAddress& server : subnet->dns_servers) {
      to.add_dns_servers(AsString(server.bytes()));
    }
    to.set_mtu(subnet->mtu);
  } else if (const auto* port = std::get_if<SlowPathPort>(&entry)) {
    v1::SlowPathPort& to = *out->mutable_port();
    to.set_id(port->id);
    to.set_subnet(port->subnet);
    to.set_ifindex(port->ifindex);
    to.set_netdev(Printable(port->netdev));
    to.set_mac(AsString(port->mac.bytes()));
    for (const IpAddress& address : port->addresses) to.add_addresses(AsString(address.bytes()));
    for (const AddressPair& pair : port->pairs) {
      v1::SlowPathPort::Pair& other = *to.add_pairs();
      if (pair.mac) other.set_mac(AsString(pair.mac->bytes()));
      other.set_prefix(AsString(pair.prefix.address().bytes()));
      other.set_prefix_length(pair.prefix.length());
    }
    to.set_host_name(port->host_name);
  } else {
    const auto& neighbour = std::get<SlowPathNeighbour>(entry);
    v1::SlowPathNeighbour& to = *out->mutable_neighbour();
    to.set_subnet(neighbour.subnet);
    to.set_address(AsString(neighbour.address.bytes()));
    to.set_mac(AsString(neighbour.mac.bytes()));
  }
}

void Write(const SlowPathKey& key, v1::SlowPathKey* out) {
  switch (key.kind) {
    case SlowPathKey::Kind::kSubnet:
      out->set_subnet(key.id);
      return;
    case SlowPathKey::Kind::kPort:
      out->set_port(key.id);
      return;
    case SlowPathKey::Kind::kNeighbour:
      out->mutable_neighbour()->set_subnet(key.id);
      out->mutable_neighbour()->set_address(AsString(key.address.bytes()));
      return;
  }
}

// Splits what is put into messages of bounded size.
class Splitter {
 public:
  explicit Splitter(uint64_t first) : sequence_(first) { update_.set_sequence(first); }

  template <typename Item>
  void Add(const Item& item) {
    MakeRoom(item.ByteSizeLong() + kItemBytes);
    if constexpr (std::is_same_v<Item, v1::SlowPathEntry>) {
      *update_.add_put() = item;
    } else {
      *update_.add_remove() = item;
    }
  }
  void Keep(uint32_t ifindex) {
    MakeRoom(kItemBytes);
    update_.add_keep_ifindex(ifindex);
  }
  void Begin() { update_.set_begin(true); }
  void Whole() { update_.set_whole(true); }
  std::vector<std::string> Finish() {
    End();
    return std::move(out_);
  }

 private:
  void MakeRoom(size_t size) {
    if (items_ >= kMostInOne || bytes_ + size > kMaxSlowPathMessage) End();
    ++items_;
    bytes_ += size;
  }
  void End() {
    out_.push_back(update_.SerializeAsString());
    update_.Clear();
    update_.set_sequence(++sequence_);
    items_ = 0;
    bytes_ = kFrameBytes;
  }

  uint64_t sequence_;
  v1::SlowPathUpdate update_;
  size_t items_ = 0, bytes_ = kFrameBytes;
  std::vector<std::string> out_;
};

// ---- what entries must be -------------------------------------------------------------------

absl::Status CheckMac(const MacAddress& mac, std::string_view what) {
  if (mac.IsUnicast()) return absl::OkStatus();
  return Bad(StrCat(what, " ", mac.ToString(), " is not a station's"));
}

absl::Status CheckFamily(const std::optional<IpPrefix>& prefix,
                         const std::optional<IpAddress>& gateway, bool v4) {
  const std::string_view name = v4 ? "IPv4" : "IPv6";
  if (prefix && prefix->address().is_v4() != v4) {
    return Bad(StrCat("the ", name, " prefix ", prefix->ToString(), " is of the other family"));
  }
  if (!gateway) return absl::OkStatus();
  if (gateway->is_v4() != v4 || !prefix || !prefix->Contains(*gateway)) {
    return Bad(StrCat("the ", name, " gateway ", gateway->ToString(), " is not in an ", name,
                      " prefix of the subnet"));
  }
  return absl::OkStatus();
}

absl::Status Check(const SlowPathSubnet& subnet) {
  FAIRLEAD_RETURN_IF_ERROR(CheckObjectId(subnet.id));
  if (!subnet.prefix4 && !subnet.prefix6) return Bad("has no prefix");
  FAIRLEAD_RETURN_IF_ERROR(CheckFamily(subnet.prefix4, subnet.gateway4, true));
  FAIRLEAD_RETURN_IF_ERROR(CheckFamily(subnet.prefix6, subnet.gateway6, false));
  if (subnet.dns_servers.size() > kMaxSlowPathDnsServers) {
    return TooMany("DNS servers", subnet.dns_servers.size(), kMaxSlowPathDnsServers);
  }
  if (subnet.mtu < kMinSlowPathMtu || subnet.mtu > kMaxSlowPathMtu) {
    return Bad(StrCat("the MTU ", subnet.mtu, " is out of range: ", kMinSlowPathMtu, " to ",
                      kMaxSlowPathMtu));
  }
  return absl::OkStatus();
}

absl::Status Check(const SlowPathPort& port) {
  FAIRLEAD_RETURN_IF_ERROR(CheckObjectId(port.id));
  FAIRLEAD_RETURN_IF_ERROR(Annotate(CheckObjectId(port.subnet), "its subnet"));
  if (port.ifindex == 0 || port.ifindex > std::numeric_limits<int32_t>::max()) {
    return Bad(StrCat(port.ifindex, " is not the index of a netdev"));
  }
  // Alternative names (ALTIFNAMSIZ) are the longest there are.
  if (port.netdev.size() > 127) return Bad("the netdev's name has more than 127 characters");
  FAIRLEAD_RETURN_IF_ERROR(CheckMac(port.mac, "its MAC"));
  if (port.addresses.size() > kMaxSlowPathAddresses) {
    return TooMany("addresses", port.addresses.size(), kMaxSlowPathAddresses);
  }
  if (port.pairs.size() > kMaxSlowPathPairs) {
    return TooMany("address pairs", port.pairs.size(), kMaxSlowPathPairs);
  }
  for (const AddressPair& pair : port.pairs) {
    if (pair.mac) FAIRLEAD_RETURN_IF_ERROR(CheckMac(*pair.mac, "an address pair's MAC"));
  }
  if (!port.host_name.empty()) {
    FAIRLEAD_RETURN_IF_ERROR(Annotate(CheckObjectId(port.host_name), "its host name"));
  }
  return absl::OkStatus();
}

absl::Status Check(const SlowPathNeighbour& neighbour) {
  FAIRLEAD_RETURN_IF_ERROR(CheckObjectId(neighbour.subnet));
  if (neighbour.address.IsUnspecified() || neighbour.address.IsMulticast()) {
    return Bad(StrCat(neighbour.address.ToString(), " is nobody's address"));
  }
  return CheckMac(neighbour.mac, "its MAC");
}

template <typename Texts>
void WriteTold(const std::vector<std::string>& from, Texts* to) {
  for (size_t i = 0; i < std::min(from.size(), kMaxSlowPathTold); ++i) {
    *to->Add() = from[i].substr(0, kMaxToldText);
  }
}

}  // namespace

absl::Status CheckSlowPathEntry(const SlowPathEntry& entry) {
  return std::visit([](const auto& value) { return Check(value); }, entry);
}

absl::Status CheckSlowPathKey(const SlowPathKey& key) { return CheckObjectId(key.id); }

std::string SlowPathKeyName(const SlowPathKey& key) {
  switch (key.kind) {
    case SlowPathKey::Kind::kSubnet:
      return StrCat("subnet ", key.id);
    case SlowPathKey::Kind::kPort:
      return StrCat("port ", key.id);
    case SlowPathKey::Kind::kNeighbour:
      return StrCat("neighbour ", key.address.ToString(), " in ", key.id);
  }
  return {};
}

absl::StatusOr<SlowPathUpdate> DecodeSlowPathUpdate(std::string_view message,
                                                    std::vector<std::string>* problems) {
  if (message.size() > kMaxSlowPathMessage) {
    return Bad(StrCat("an update of ", message.size(), " bytes; ", kMaxSlowPathMessage,
                      " are possible at most"));
  }
  v1::SlowPathUpdate in;
  if (!in.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    return Bad("what came is not an update");
  }
  const size_t items = static_cast<size_t>(in.put_size()) + static_cast<size_t>(in.remove_size()) +
                       static_cast<size_t>(in.keep_ifindex_size());
  if (items > kMaxSlowPathEntries) return TooMany("entries", items, kMaxSlowPathEntries);
  const auto tell = [problems](const std::string& name, const absl::Status& status) {
    if (problems->size() < kMaxSlowPathTold) {
      problems->push_back(StrCat(name, ": ", status.message()));
    }
  };
  SlowPathUpdate out;
  out.sequence = in.sequence();
  out.begin = in.begin();
  out.whole = in.whole();
  out.keep.assign(in.keep_ifindex().begin(), in.keep_ifindex().end());
  for (const v1::SlowPathEntry& entry : in.put()) {
    absl::StatusOr<SlowPathEntry> value = Read(entry);
    if (value.ok()) {
      out.put.push_back(*std::move(value));
    } else {
      tell(NameOf(entry), value.status());
    }
  }
  for (const v1::SlowPathKey& key : in.remove()) {
    absl::StatusOr<SlowPathKey> value = Read(key);
    if (value.ok()) {
      out.remove.push_back(*std::move(value));
    } else {
      tell("a key to be removed", value.status());
    }
  }
  return out;
}

absl::StatusOr<std::vector<std::string>> EncodeSlowPathUpdates(uint64_t first, bool begin,
                                                               bool whole,
                                                               std::span<const SlowPathEntry> put,
                                                               std::span<const SlowPathKey> remove,
                                                               std::span<const uint32_t> keep) {
  Splitter splitter(first);
  if (begin) splitter.Begin();
  // What is removed makes place for what is put.
  for (const SlowPathKey& key : remove) {
    FAIRLEAD_RETURN_IF_ERROR(CheckSlowPathKey(key));
    v1::SlowPathKey item;
    Write(key, &item);
    splitter.Add(item);
  }
  for (const SlowPathEntry& entry : put) {
    FAIRLEAD_RETURN_IF_ERROR(Annotate(CheckSlowPathEntry(entry), SlowPathKeyName(KeyOf(entry))));
    v1::SlowPathEntry item;
    Write(entry, &item);
    splitter.Add(item);
  }
  for (const uint32_t ifindex : keep) splitter.Keep(ifindex);
  if (whole) splitter.Whole();
  return splitter.Finish();
}

std::string EncodeSlowPathReply(const SlowPathReply& reply) {
  v1::SlowPathReply out;
  out.set_sequence(reply.sequence);
  WriteTold(reply.report.problems, out.mutable_problems());
  WriteTold(reply.report.deaf_ports, out.mutable_deaf_ports());
  const SlowPathCounters& from = reply.report.counters;
  v1::SlowPathCounters& to = *out.mutable_counters();
  to.set_received(from.received);
  to.set_answered(from.answered);
  to.set_over_rate(from.over_rate);
  to.set_malformed(from.malformed);
  to.set_spoofed(from.spoofed);
  to.set_unknown(from.unknown);
  to.set_not_sent(from.not_sent);
  return out.SerializeAsString();
}

absl::StatusOr<SlowPathReply> DecodeSlowPathReply(std::string_view message) {
  v1::SlowPathReply in;
  if (message.size() > kMaxSlowPathMessage ||
      !in.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    return Bad("what came is not a reply");
  }
  if (static_cast<size_t>(in.problems_size()) > kMaxSlowPathTold ||
      static_cast<size_t>(in.deaf_ports_size()) > kMaxSlowPathTold) {
    return Bad("the reply tells more than it may");
  }
  SlowPathReply out;
  out.sequence = in.sequence();
  for (const std::string& text : in.problems()) {
    out.report.problems.push_back(text.substr(0, kMaxToldText));
  }
  for (const std::string& text : in.deaf_ports()) {
    out.report.deaf_ports.push_back(text.substr(0, kMaxToldText));
  }
  const v1::SlowPathCounters& from = in.counters();
  out.report.counters = {from.received(), from.answered(), from.over_rate(), from.malformed(),
                         from.spoofed(),  from.unknown(),  from.not_sent()};
  return out;
}

}  // namespace fairlead
