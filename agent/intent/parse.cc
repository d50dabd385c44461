// SPDX-License-Identifier: Apache-2.0
#include "agent/intent/parse.h"

#include <array>
#include <optional>
#include <utility>

#include "agent/intent/kinds.h"
#include "fairlead/v1/intent.pb.h"

namespace fairlead {
namespace {

using Strings = google::protobuf::RepeatedPtrField<std::string>;

// Networks that no tenant subnet may reach into.
struct Reserved {
  const char* prefix;
  const char* what;
};
constexpr Reserved kReserved[] = {
    {"0.0.0.0/8", "\"this network\" (RFC 1122 section 3.2.1.3)"},
    {"127.0.0.0/8", "loopback (RFC 1122 section 3.2.1.3)"},
    {"224.0.0.0/4", "multicast (RFC 5771)"},
    {"240.0.0.0/4", "reserved (RFC 1112 section 4)"},
    {"::/127", "the unspecified and loopback addresses (RFC 4291 section 2.5)"},
    {"::ffff:0:0/96", "IPv4-mapped addresses (RFC 4291 section 2.5.5.2), which no wire carries"},
    {"fe80::/10", "link-local (RFC 4291 section 2.5.6)"},
    {"ff00::/8", "multicast (RFC 4291 section 2.7)"},
};

constexpr uint32_t kMaxMbps = 10'000'000;  // 10 Tbit/s, beyond any NIC

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// Reads one candidate's fields and notes which of them are bad.
class Reader {
 public:
  Reader(Candidate* candidate, Violations* out) : candidate_(*candidate), out_(*out) {}

  void Bad(std::string_view field, std::string path, std::string reason,
           ViolationCode code = ViolationCode::kInvalid) {
    candidate_.bad.push_back(field);
    out_.Add(std::move(path), code, std::move(reason));
  }

  std::string Id(std::string_view field, const std::string& text) {
    if (!CheckId(text, candidate_.origin.Field(field), &out_)) candidate_.bad.push_back(field);
    return text;
  }

  MacAddress Mac(const std::string& text) {
    std::string path = candidate_.origin.Field("mac");
    if (text.empty()) {
      Bad("mac", path, "is missing");
      return {};
    }
    return StationMac("mac", std::move(path), text);
  }

  // A MAC that a NIC may send from.
  MacAddress StationMac(std::string_view field, std::string path, const std::string& text) {
    absl::StatusOr<MacAddress> mac = MacAddress::Parse(text);
    if (!mac.ok()) {
      Bad(field, path, Message(mac.status()));
      return {};
    }
    if (!mac->IsUnicast()) {
      Bad(field, path,
          StrCat(mac->ToString(), mac->IsZero() ? " is the zero address" : " is multicast",
                 "; a NIC needs a unicast MAC"));
    } else if (*mac == kGatewayMac) {
      Bad(field, path,
          StrCat(mac->ToString(), " is the MAC of every subnet's gateway, and nobody else's"));
    }
    return *mac;
  }

  uint32_t Rate(std::string_view field, uint32_t mbps) {
    if (mbps <= kMaxMbps) return mbps;
    Bad(field, candidate_.origin.Field(field),
        StrCat(mbps, " Mbit/s is out of range: ", kMaxMbps, " at most"));
    return 0;
  }

  std::vector<IpAddress> Addresses(const Strings& texts) {
    std::vector<IpAddress> addresses;
    if (static_cast<size_t>(texts.size()) > kMaxAddresses) {
      Bad("addresses", candidate_.origin.Field("addresses"),
          StrCat(texts.size(), " addresses; ", kMaxAddresses, " are possible at most"));
      return addresses;
    }
    for (int i = 0; i < texts.size(); ++i) {
      std::string path = candidate_.origin.Element("addresses", i);
      absl::StatusOr<IpAddress> address = IpAddress::Parse(texts[i]);
      if (!address.ok()) {
        Bad("addresses", path, Message(address.status()));
        continue;
      }
      if (std::find(addresses.begin(), addresses.end(), *address) != addresses.end()) {
        Bad("addresses", path, StrCat(address->ToString(), " is in this list twice"));
        continue;
      }
      addresses.push_back(*address);
      candidate_.positions.push_back(i);
    }
    return addresses;
  }

  // Whether they fit the prefixes is a question of its own (agent/intent/check.h).
  void Gateways(const Strings& texts, Subnet* subnet) {
    constexpr std::string_view kField = "gateways";
    if (texts.size() > 2) {
      Bad(kField, candidate_.origin.Field(kField),
          StrCat(texts.size(), " gateways; one per address family is possible at most"));
    }
    size_t position4 = 0, position6 = 0;
    for (int i = 0; i < std::min(texts.size(), 2); ++i) {
      const std::string path = candidate_.origin.Element(kField, i);
      absl::StatusOr<IpAddress> gateway = IpAddress::Parse(texts[i]);
      if (!gateway.ok()) {
        Bad(kField, path, Message(gateway.status()));
        continue;
      }
      if (const char* what = WhyNotRoutable(*gateway)) {
        Bad(kField, path,
            StrCat(gateway->ToString(), " is ", what, "; a gateway needs a unicast address"));
        continue;
      }
      std::optional<IpAddress>& slot = gateway->is_v4() ? subnet->gateway4 : subnet->gateway6;
      if (slot) {
        Bad(kField, path,
            StrCat("a second ", gateway->is_v4() ? "IPv4" : "IPv6", " gateway beside ",
                   slot->ToString(), "; one per family is possible"));
        continue;
      }
      slot = *gateway;
      (gateway->is_v4() ? position4 : position6) = i;
    }
    if (subnet->gateway4) candidate_.gateway_positions.push_back(position4);
    if (subnet->gateway6) candidate_.gateway_positions.push_back(position6);
  }

  std::vector<IpAddress> DnsServers(const Strings& texts) {
    constexpr std::string_view kField = "dns_servers";
    std::vector<IpAddress> servers;
    if (static_cast<size_t>(texts.size()) > kMaxDnsServers) {
      Bad(kField, candidate_.origin.Field(kField),
          StrCat(texts.size(), " DNS servers; ", kMaxDnsServers, " are possible at most"));
      return servers;
    }
    for (int i = 0; i < texts.size(); ++i) {
      std::string path = candidate_.origin.Element(kField, i);
      absl::StatusOr<IpAddress> server = IpAddress::Parse(texts[i]);
      if (!server.ok()) {
        Bad(kField, path, Message(server.status()));
      } else if (const char* what = WhyNotRoutable(*server)) {
        Bad(kField, path,
            StrCat(server->ToString(), " is ", what,
                   "; a DNS server needs a routable unicast address"));
      } else if (std::find(servers.begin(), servers.end(), *server) != servers.end()) {
        Bad(kField, path, StrCat(server->ToString(), " is in this list twice"));
      } else {
        servers.push_back(*server);
      }
    }
    return servers;
  }

  std::vector<AddressPair> AllowedPairs(
      const google::protobuf::RepeatedPtrField<v1::AddressPair>& wires) {
    constexpr std::string_view kField = "allowed_pairs";
    std::vector<AddressPair> pairs;
    if (static_cast<size_t>(wires.size()) > kMaxAllowedPairs) {
      Bad(kField, candidate_.origin.Field(kField),
          StrCat(wires.size(), " pairs; ", kMaxAllowedPairs, " are possible at most"));
      return pairs;
    }
    for (int i = 0; i < wires.size(); ++i) {
      const std::string path = candidate_.origin.Element(kField, i);
      const size_t bad_before = candidate_.bad.size();
      AddressPair pair;
      if (!wires[i].mac().empty()) pair.mac = StationMac(kField, path + ".mac", wires[i].mac());
      absl::StatusOr<IpPrefix> prefix = ParsePrefixOrAddress(wires[i].prefix());
      if (!prefix.ok()) {
        Bad(kField, path + ".prefix",
            wires[i].prefix().empty() ? "is missing" : Message(prefix.status()));
      } else {
        pair.prefix = *prefix;
      }
      if (candidate_.bad.size() != bad_before) continue;
      if (std::find(pairs.begin(), pairs.end(), pair) != pairs.end()) {
        Bad(kField, path,
            StrCat(pair.prefix.ToString(), pair.mac ? " with " + pair.mac->ToString() : "",
                   " is in this list twice"));
        continue;
      }
      pairs.push_back(pair);
    }
    return pairs;
  }

 private:
  Candidate& candidate_;
  Violations& out_;
};

Candidate ParseVpc(const v1::Vpc& vpc, Origin origin, Violations* out) {
  Candidate c{.origin = std::move(origin), .object = {}, .bad = {}, .positions = {}};
  Reader reader(&c, out);
  Vpc result;
  result.id = reader.Id("id", vpc.id());
  // Whoever checks the segment asks for "vni", whichever of the three was meant.
  if (vpc.flat() && (vpc.vlan() != 0 || vpc.vni() != 0)) {
    reader.Bad("vni", c.origin.Field("flat"),
               StrCat(vpc.vlan() != 0 ? StrCat("VLAN ", vpc.vlan()) : StrCat("VNI ", vpc.vni()),
                      " is given too; a flat network is untagged on the NIC's own fabric"));
  } else if (vpc.flat()) {
    result.flat = true;
  } else if (vpc.vlan() != 0 && vpc.vni() != 0) {
    reader.Bad("vni", c.origin.Field("vlan"),
               StrCat("VLAN ", vpc.vlan(), " and VNI ", vpc.vni(),
                      " are both given; a VPC is an overlay (vni) or a network on the NIC's own "
                      "fabric (vlan)"));
  } else if (vpc.vlan() != 0) {
    absl::StatusOr<VlanId> vlan = VlanId::Make(vpc.vlan());
    if (vlan.ok()) {
      result.vlan = *vlan;
    } else {
      reader.Bad("vni", c.origin.Field("vlan"), Message(vlan.status()));
    }
  } else if (absl::StatusOr<Vni> vni = Vni::Make(vpc.vni()); vni.ok()) {
    result.vni = *vni;
  } else if (vpc.vni() == 0) {  // on the wire as if it had been left out, and so is a VLAN of 0
    reader.Bad("vni", c.origin.Field("vni"),
               StrCat("is missing or 0, and so is vlan, and flat is not set; one of them is "
                      "needed: a VNI is 1 to ",
                      Vni::kMax, ", a VLAN ", VlanId::kMin, " to ", VlanId::kMax));
  } else {
    reader.Bad("vni", c.origin.Field("vni"), Message(vni.status()));
  }
  c.object = std::move(result);
  return c;
}

Candidate ParseSubnet(const v1::Subnet& subnet, Origin origin, Violations* out) {
  Candidate c{.origin = std::move(origin), .object = {}, .bad = {}, .positions = {}};
  Reader reader(&c, out);
  Subnet result;
  result.id = reader.Id("id", subnet.id());
  result.vpc = reader.Id("vpc", subnet.vpc());
  if (subnet.prefixes_size() == 0) {
    reader.Bad("prefixes", c.origin.Field("prefixes"), "a subnet needs at least one prefix");
  }
  if (subnet.prefixes_size() > 2) {
    reader.Bad(
        "prefixes", c.origin.Field("prefixes"),
        StrCat(subnet.prefixes_size(), " prefixes; one per address family is possible at most"));
  }
  size_t position4 = 0, position6 = 0;
  for (int i = 0; i < std::min(subnet.prefixes_size(), 2); ++i) {
    std::string path = c.origin.Element("prefixes", i);
    absl::StatusOr<IpPrefix> prefix = IpPrefix::Parse(subnet.prefixes(i));
    if (!prefix.ok()) {
      reader.Bad("prefixes", path, Message(prefix.status()));
      continue;
    }
    if (prefix->length() == 0) {
      reader.Bad("prefixes", path,
                 StrCat(prefix->ToString(), " is every address there is; a subnet is less"));
      continue;
    }
    bool reserved = false;
    for (const Reserved& r : kReserved) {
      absl::StatusOr<IpPrefix> taken = IpPrefix::Parse(r.prefix);
      if (taken.ok() && taken->Overlaps(*prefix)) {
        reader.Bad("prefixes", path,
                   StrCat(prefix->ToString(), " reaches into ", r.prefix, ", ", r.what));
        reserved = true;
        break;
      }
    }
    if (reserved) continue;
    std::optional<IpPrefix>& slot = prefix->address().is_v4() ? result.prefix4 : result.prefix6;
    if (slot.has_value()) {
      reader.Bad("prefixes", path,
                 StrCat("a second ", prefix->address().is_v4() ? "IPv4" : "IPv6", " prefix beside ",
                        slot->ToString(), "; one per family is possible"));
      continue;
    }
    slot = *prefix;
    (prefix->address().is_v4() ? position4 : position6) = i;
  }
  if (result.prefix4) c.positions.push_back(position4);
  if (result.prefix6) c.positions.push_back(position6);
  reader.Gateways(subnet.gateways(), &result);
  result.dns_servers = reader.DnsServers(subnet.dns_servers());
  c.object = std::move(result);
  return c;
}

Candidate ParseEndpoint(const v1::Endpoint& endpoint, Origin origin, Violations* out) {
  Candidate c{.origin = std::move(origin), .object = {}, .bad = {}, .positions = {}};
  Reader reader(&c, out);
  Endpoint result;
  result.id = reader.Id("id", endpoint.id());
  result.vpc = reader.Id("vpc", endpoint.vpc());
  result.mac = reader.Mac(endpoint.mac());
  result.addresses = reader.Addresses(endpoint.addresses());
  if (endpoint.addresses_size() == 0) {
    reader.Bad("addresses", c.origin.Field("addresses"), "an endpoint needs at least one address");
  }
  std::string path = c.origin.Field("vtep");
  absl::StatusOr<IpAddress> vtep = IpAddress::Parse(endpoint.vtep());
  if (!vtep.ok()) {
    reader.Bad("vtep", path, endpoint.vtep().empty() ? "is missing" : Message(vtep.status()));
  } else {
    result.vtep = *vtep;
    if (const char* what = WhyNotRoutable(*vtep)) {
      reader.Bad("vtep", path,
                 StrCat(vtep->ToString(), " is ", what,
                        "; a tunnel peer needs a routable unicast address"));
    }
  }
  result.security_groups = ParseGroups(endpoint.security_groups(), &c, out);
  c.object = std::move(result);
  return c;
}

// The network that no route may lead into; null if it leads into none. One that contains such
// networks leads to what else it covers.
const Reserved* ReservedAround(const IpPrefix& prefix) {
  for (const Reserved& r : kReserved) {
    const absl::StatusOr<IpPrefix> taken = IpPrefix::Parse(r.prefix);
    if (taken.ok() && taken->length() <= prefix.length() && taken->Overlaps(prefix)) return &r;
  }
  return nullptr;
}

Candidate ParseRoute(const v1::Route& route, Origin origin, Violations* out) {
  Candidate c{.origin = std::move(origin), .object = {}, .bad = {}, .positions = {}};
  Reader reader(&c, out);
  Route result;
  result.id = reader.Id("id", route.id());
  result.vpc = reader.Id("vpc", route.vpc());
  const absl::StatusOr<IpPrefix> prefix = IpPrefix::Parse(route.prefix());
  if (!prefix.ok()) {
    reader.Bad("prefix", c.origin.Field("prefix"),
               route.prefix().empty() ? "is missing" : Message(prefix.status()));
  } else if (const Reserved* reserved = ReservedAround(*prefix)) {
    reader.Bad("prefix", c.origin.Field("prefix"),
               StrCat(prefix->ToString(), " lies in ", reserved->prefix, ", ", reserved->what));
  } else {
    result.prefix = *prefix;
  }
  const absl::StatusOr<IpAddress> next_hop = IpAddress::Parse(route.next_hop());
  if (!next_hop.ok()) {
    reader.Bad("next_hop", c.origin.Field("next_hop"),
               route.next_hop().empty() ? "is missing" : Message(next_hop.status()));
  } else if (prefix.ok() && next_hop->is_v4() != prefix->address().is_v4()) {
    reader.Bad("next_hop", c.origin.Field("next_hop"),
               StrCat(next_hop->ToString(), " is ", next_hop->is_v4() ? "IPv4" : "IPv6", ", and ",
                      prefix->ToString(), " is not: both are of one family"));
  } else {
    result.next_hop = *next_hop;
  }
  c.object = std::move(result);
  return c;
}

}  // namespace

const char* WhyNotRoutable(const IpAddress& address) {
  const auto bytes = address.bytes();
  const bool broadcast = address.is_v4() && std::all_of(bytes.begin(), bytes.end(),
                                                        [](uint8_t b) { return b == 255; });
  return address.IsUnspecified() ? "the unspecified address"
         : address.IsMulticast() ? "a multicast address"
         : address.IsLoopback()  ? "a loopback address"
         : broadcast             ? "the broadcast address"
         : IsLinkLocal6(address) ? "a link-local address"  // it says nothing without an interface
                                 : nullptr;
}

bool CheckId(std::string_view id, const std::string& path, Violations* out) {
  absl::Status status = CheckObjectId(id);
  if (status.ok()) return true;
  out->Add(path, ViolationCode::kInvalid, id.empty() ? "is missing" : Message(status));
  return false;
}

Candidate ParseVm(const v1::Vm& vm, Origin origin, Violations* out) {
  Candidate c{.origin = std::move(origin), .object = {}, .bad = {}, .positions = {}};
  Reader reader(&c, out);
  Vm result;
  result.id = reader.Id("id", vm.id());
  absl::StatusOr<Uuid> uuid = Uuid::Parse(vm.uuid());
  if (!uuid.ok()) {
    reader.Bad("uuid", c.origin.Field("uuid"), Message(uuid.status()));
  } else if (uuid->ToString().find_first_not_of("0-") == std::string::npos) {
    reader.Bad("uuid", c.origin.Field("uuid"),
               "the nil UUID names no VM: every QEMU that was started without -uuid shows it");
  } else {
    result.uuid = *uuid;
  }
  c.object = std::move(result);
  return c;
}

Candidate ParsePort(const v1::Port& port, Origin origin, Violations* out) {
  Candidate c{.origin = std::move(origin), .object = {}, .bad = {}, .positions = {}};
  Reader reader(&c, out);
  Port result;
  result.id = reader.Id("id", port.id());
  if (!port.vm().empty()) result.vm = reader.Id("vm", port.vm());
  result.vpc = reader.Id("vpc", port.vpc());
  result.subnet = reader.Id("subnet", port.subnet());
  if (!port.mac().empty()) result.mac = reader.Mac(port.mac());
  result.addresses = reader.Addresses(port.addresses());
  result.allowed_pairs = reader.AllowedPairs(port.allowed_pairs());
  result.security_groups = ParseGroups(port.security_groups(), &c, out);
  switch (port.network()) {
    case v1::NETWORK_KIND_UNSPECIFIED:
    case v1::NETWORK_KIND_COMPUTE:
      result.network = NetworkKind::kCompute;
      break;
    case v1::NETWORK_KIND_CONVERGED:
      result.network = NetworkKind::kConverged;
      break;
    default:
      reader.Bad("network", c.origin.Field("network"),
                 StrCat("network kind ", static_cast<int>(port.network()), " is not known"),
                 ViolationCode::kUnsupported);
  }
  switch (port.function()) {
    case v1::FUNCTION_SOURCE_UNSPECIFIED:
    case v1::FUNCTION_SOURCE_VF:
      result.function = FunctionSource::kVf;
      break;
    case v1::FUNCTION_SOURCE_HOTPLUG:
      result.function = FunctionSource::kHotplug;
      break;
    default:
      reader.Bad("function", c.origin.Field("function"),
                 StrCat("function source ", static_cast<int>(port.function()), " is not known"),
                 ViolationCode::kUnsupported);
  }
  switch (port.offload()) {
    case v1::OFFLOAD_WISH_MUST:
      result.offload = OffloadWish::kMust;
      break;
    case v1::OFFLOAD_WISH_UNSPECIFIED:
    case v1::OFFLOAD_WISH_PREFER:
      result.offload = OffloadWish::kPrefer;
      break;
    case v1::OFFLOAD_WISH_OFF:
      result.offload = OffloadWish::kOff;
      break;
    default:
      reader.Bad("offload", c.origin.Field("offload"),
                 StrCat("offload wish ", static_cast<int>(port.offload()), " is not known"),
                 ViolationCode::kUnsupported);
  }
  switch (port.spoof_check()) {
    case v1::SPOOF_CHECK_UNSPECIFIED:
      break;
    case v1::SPOOF_CHECK_ON:
    case v1::SPOOF_CHECK_OFF:
      result.spoof_check = port.spoof_check() == v1::SPOOF_CHECK_ON;
      break;
    default:
      reader.Bad("spoof_check", c.origin.Field("spoof_check"),
                 StrCat("spoof check ", static_cast<int>(port.spoof_check()), " is not known"),
                 ViolationCode::kUnsupported);
  }
  result.trust = port.trust();
  result.max_tx_mbps = reader.Rate("max_tx_mbps", port.max_tx_mbps());
  result.min_tx_mbps = reader.Rate("min_tx_mbps", port.min_tx_mbps());
  if (result.max_tx_mbps != 0 && result.min_tx_mbps > result.max_tx_mbps) {
    reader.Bad(
        "min_tx_mbps", c.origin.Field("min_tx_mbps"),
        StrCat(result.min_tx_mbps, " Mbit/s is more than max_tx_mbps, ", result.max_tx_mbps));
  }
  c.object = std::move(result);
  return c;
}

Draft ParseApply(const v1::Apply& apply, Violations* out) {
  Draft draft;
  draft.upserts.reserve(apply.upsert_size());
  for (int i = 0; i < apply.upsert_size(); ++i) {
    const v1::Object& object = apply.upsert(i);
    const std::string base = StrCat("apply.upsert[", i, "]");
    const auto at = [&](std::string_view kind) { return Origin{StrCat(base, ".", kind)}; };
    switch (object.object_case()) {
      case v1::Object::kVpc:
        draft.upserts.push_back(ParseVpc(object.vpc(), at("vpc"), out));
        break;
      case v1::Object::kSubnet:
        draft.upserts.push_back(ParseSubnet(object.subnet(), at("subnet"), out));
        break;
      case v1::Object::kVm:
        draft.upserts.push_back(ParseVm(object.vm(), at("vm"), out));
        break;
      case v1::Object::kPort:
        draft.upserts.push_back(ParsePort(object.port(), at("port"), out));
        break;
      case v1::Object::kEndpoint:
        draft.upserts.push_back(ParseEndpoint(object.endpoint(), at("endpoint"), out));
        break;
      case v1::Object::kRoute:
        draft.upserts.push_back(ParseRoute(object.route(), at("route"), out));
        break;
      case v1::Object::kSecurityGroup:
        draft.upserts.push_back(
            ParseSecurityGroup(object.security_group(), at("security_group"), out));
        break;
      case v1::Object::OBJECT_NOT_SET:
        out->Add(base, ViolationCode::kInvalid,
                 "holds no object (vpc, subnet, vm, port, endpoint, route or security_group)");
        break;
    }
  }
  for (int i = 0; i < apply.remove_size(); ++i) {
    const v1::ObjectRef& ref = apply.remove(i);
    Removal removal{{}, StrCat("apply.remove[", i, "]")};
    const std::optional<ObjectKind> kind = KindFromProto(ref.kind());
    if (kind) {
      removal.ref.kind = *kind;
    } else {
      out->Add(StrCat(removal.path, ".kind"),
               ref.kind() == v1::OBJECT_KIND_UNSPECIFIED ? ViolationCode::kInvalid
                                                         : ViolationCode::kUnsupported,
               ref.kind() == v1::OBJECT_KIND_UNSPECIFIED
                   ? "the kind of the object to remove is missing"
                   : StrCat("object kind ", static_cast<int>(ref.kind()), " is not known"));
    }
    const bool id_ok = CheckId(ref.id(), StrCat(removal.path, ".id"), out);
    if (!kind || !id_ok) continue;
    removal.ref.id = ref.id();
    draft.removals.push_back(std::move(removal));
  }
  return draft;
}

}  // namespace fairlead
