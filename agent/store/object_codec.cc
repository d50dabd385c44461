// SPDX-License-Identifier: Apache-2.0
#include "agent/store/object_codec.h"

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "agent/base/text.h"
#include "agent/model/resource.h"
#include "fairlead/store/v1/body.pb.h"

namespace fairlead {
namespace {

namespace pb = ::fairlead::store::v1;

constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();

// The enumerators of the model and those of the file, which stay what they are.
constexpr std::pair<NetworkKind, pb::Network> kNetworks[] = {
    {NetworkKind::kCompute, pb::NETWORK_COMPUTE}, {NetworkKind::kConverged, pb::NETWORK_CONVERGED}};
constexpr std::pair<OffloadWish, pb::Offload> kWishes[] = {
    {OffloadWish::kMust, pb::OFFLOAD_MUST},
    {OffloadWish::kPrefer, pb::OFFLOAD_PREFER},
    {OffloadWish::kOff, pb::OFFLOAD_OFF}};
constexpr std::pair<FunctionSource, pb::Function> kSources[] = {
    {FunctionSource::kVf, pb::FUNCTION_VF}, {FunctionSource::kHotplug, pb::FUNCTION_HOTPLUG}};
constexpr std::pair<AttachmentPhase, pb::Phase> kPhases[] = {
    {AttachmentPhase::kApplying, pb::PHASE_APPLYING},
    {AttachmentPhase::kReady, pb::PHASE_READY},
    {AttachmentPhase::kRollingBack, pb::PHASE_ROLLING_BACK},
    {AttachmentPhase::kReleasing, pb::PHASE_RELEASING}};
constexpr std::pair<FindingState, pb::FindingState> kStates[] = {
    {FindingState::kClean, pb::FINDING_STATE_CLEAN},
    {FindingState::kUnprovable, pb::FINDING_STATE_UNPROVABLE},
    {FindingState::kDirty, pb::FINDING_STATE_DIRTY}};
constexpr std::pair<Verdict, pb::Verdict> kVerdicts[] = {
    {Verdict::kClean, pb::VERDICT_CLEAN},
    {Verdict::kQuarantined, pb::VERDICT_QUARANTINED},
    {Verdict::kReleased, pb::VERDICT_RELEASED}};

template <typename Value, typename Stored, size_t kCount>
Stored StoredOf(const std::pair<Value, Stored> (&all)[kCount], Value value) {
  for (const auto& [ours, stored] : all) {
    if (ours == value) return stored;
  }
  return Stored{};  // "unspecified", which does not decode
}

using WallTime = std::chrono::system_clock::time_point;

uint64_t Nanoseconds(WallTime time) {
  const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch());
  return since.count() < 0 ? 0 : static_cast<uint64_t>(since.count());
}

// Makes values of a message's fields and remembers the first that is wrong, so that a decoder
// reads as a list of fields.
class Fields {
 public:
  bool ok() const { return error_.empty(); }
  absl::Status Error(std::string_view name) const {
    return absl::DataLossError(StrCat("stored ", name, " ", error_));
  }

  void Fail(std::string_view what) {
    if (error_.empty()) error_ = what;
  }

  bool Parse(std::string_view bytes, google::protobuf::Message* out) {
    if (bytes.size() > kMaxStoredBody) {
      Fail(StrCat("is ", bytes.size(), " bytes long, more than ", kMaxStoredBody));
    } else if (!out->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      Fail("is damaged: it is no protobuf message, or a text in it is not UTF-8");
    } else if (CheckKnown(*out) && out->ByteSizeLong() != bytes.size()) {
      // protobuf keeps the last of two in silence. What it writes has each once, as short as can
      // be.
      Fail("has a field twice, or one in another form than it is written in");
    }
    return ok();
  }

  // To be asked of messages in messages, too.
  bool CheckKnown(const google::protobuf::Message& message) {
    const auto& unknown = message.GetReflection()->GetUnknownFields(message);
    if (unknown.empty()) return true;
    const int number = unknown.field(0).number();
    const auto* known = message.GetDescriptor()->FindFieldByNumber(number);
    Fail(known != nullptr ? StrCat("has a '", known->name(), "' of another type")
                          : StrCat("has a field ", number, " that this version does not know"));
    return false;
  }

  // An object id, taken out of the message, or "" where `may_be_empty`.
  std::string Id(const char* name, std::string* text, bool may_be_empty = false) {
    if (text->empty()) {
      if (!may_be_empty) Fail(StrCat("has no '", name, "'"));
    } else if (const absl::Status status = CheckObjectId(*text); !status.ok()) {
      Bad(name, status);
    }
    return std::move(*text);
  }

  uint64_t Number(const char* name, uint64_t value, uint64_t least, uint64_t most) {
    if (value >= least && value <= most) return value;
    Fail(StrCat("has '", name, "' = ", value, ", outside ", least, "..", most));
    return least;
  }

  template <typename T>
  T Small(const char* name, uint32_t value) {
    return static_cast<T>(Number(name, value, 0, std::numeric_limits<T>::max()));
  }

  // Ids, ascending, each once.
  std::vector<std::string> Ids(const char* name,
                               google::protobuf::RepeatedPtrField<std::string>* list) {
    std::vector<std::string> ids;
    for (std::string& id : *list) {
      ids.push_back(Id(name, &id));
      if (ids.size() > 1 && !(ids[ids.size() - 2] < ids.back())) {
        Fail(StrCat("has '", name, "' that are not in order, or one twice"));
      }
    }
    return ids;
  }

  Vni VniOf(uint32_t number) {
    return Vni::Make(Number("vni", number, Vni::kMin, Vni::kMax)).value_or(Vni());
  }
  VlanId VlanOf(uint32_t number) {
    return VlanId::Make(Number("vlan", number, VlanId::kMin, VlanId::kMax)).value_or(VlanId());
  }
  WallTime Time(const char* name, uint64_t ns) {
    ns = Number(name, ns, 0, std::numeric_limits<int64_t>::max());
    return WallTime(std::chrono::duration_cast<WallTime::duration>(
        std::chrono::nanoseconds(static_cast<int64_t>(ns))));
  }

  template <typename Value, typename Stored, size_t kCount>
  Value Named(const char* name, const std::pair<Value, Stored> (&all)[kCount], Stored stored) {
    for (const auto& [value, number] : all) {
      if (number == stored) return value;
    }
    Fail(stored == Stored{} ? StrCat("has no '", name, "'")
                            : StrCat("has an unknown '", name, "': ", static_cast<int>(stored)));
    return all[0].first;
  }

  MacAddress Mac(const char* name, const std::string& bytes) {
    const std::optional<MacAddress> mac = MacAddress::FromBytes(Octets(bytes));
    if (!mac) BadSize(name, bytes, "6");
    return mac.value_or(MacAddress());
  }
  std::optional<MacAddress> OptionalMac(const char* name, const std::string& bytes) {
    if (bytes.empty()) return std::nullopt;
    return Mac(name, bytes);
  }

  IpAddress Address(const char* name, const std::string& bytes) {
    const std::optional<IpAddress> address = IpAddress::FromBytes(Octets(bytes));
    if (!address) BadSize(name, bytes, "4 or 16");
    return address.value_or(IpAddress());
  }
  std::vector<IpAddress> Addresses(const char* name,
                                   const google::protobuf::RepeatedPtrField<std::string>& list) {
    std::vector<IpAddress> addresses;
    addresses.reserve(static_cast<size_t>(list.size()));
    for (const std::string& bytes : list) {
      addresses.push_back(Address(name, bytes));
      if (!ok()) break;
    }
    return addresses;
  }

  IpPrefix Prefix(const char* name, const std::string& bytes) {
    const std::span<const uint8_t> octets = Octets(bytes);
    const auto address = IpAddress::FromBytes(octets.first(octets.empty() ? 0 : octets.size() - 1));
    if (!address) {
      BadSize(name, bytes, "5 or 17");
      return IpPrefix();
    }
    const auto prefix = IpPrefix::Parse(StrCat(address->ToString(), "/", octets.back()));
    if (!prefix.ok()) Bad(name, prefix.status());
    return prefix.value_or(IpPrefix());
  }

  // Of the named family, if there is one.
  std::optional<IpPrefix> OptionalPrefix(const char* name, const std::string& bytes, bool v4) {
    if (bytes.empty()) return std::nullopt;
    const IpPrefix prefix = Prefix(name, bytes);
    CheckFamily(name, prefix.address(), v4);
    return prefix;
  }
  std::optional<IpAddress> OptionalAddress(const char* name, const std::string& bytes, bool v4) {
    if (bytes.empty()) return std::nullopt;
    const IpAddress address = Address(name, bytes);
    CheckFamily(name, address, v4);
    return address;
  }

  Uuid UuidOf(const char* name, const std::string& text) {
    absl::StatusOr<Uuid> uuid = Uuid::Parse(text);
    if (!uuid.ok()) Bad(name, uuid.status());
    return std::move(uuid).value_or(Uuid());
  }

 private:
  static std::span<const uint8_t> Octets(const std::string& bytes) {
    return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  }

  void CheckFamily(const char* name, const IpAddress& address, bool v4) {
    if (address.is_v4() != v4) Fail(StrCat("has a '", name, "' that is not IPv", v4 ? "4" : "6"));
  }

  void Bad(const char* name, const absl::Status& why) {
    Fail(StrCat("has a bad '", name, "': ", why.message()));
  }
  void BadSize(const char* name, const std::string& bytes, std::string_view expected) {
    Fail(bytes.empty()
             ? StrCat("has no '", name, "'")
             : StrCat("has a bad '", name, "': it has ", bytes.size(), " octets, not ", expected));
  }

  std::string error_;
};

// Of a MAC or an address.
template <typename Value>
std::string OctetsOf(const Value& value) {
  return std::string(value.bytes().begin(), value.bytes().end());
}

std::string OctetsOf(const IpPrefix& prefix) {
  std::string octets = OctetsOf(prefix.address());
  octets.push_back(static_cast<char>(prefix.length()));
  return octets;
}

void Put(const Vpc& from, pb::Vpc* to) {
  if (from.flat) {
    to->set_flat(true);
  } else if (from.vlan) {
    to->set_vlan(from.vlan->value());
  } else if (from.vni) {
    to->set_vni(from.vni->value());
  }
  to->set_ct_zone(from.ct_zone.value_or(0));
}

void Take(Fields& fields, pb::Vpc& from, Vpc* to) {
  if (from.has_vlan()) {
    to->vlan = fields.VlanOf(from.vlan());
  } else if (from.has_vni()) {
    to->vni = fields.VniOf(from.vni());
  } else if (from.flat()) {
    to->flat = true;
  } else {
    fields.Fail("has neither 'vni' nor 'vlan' nor 'flat'");
  }
  if (from.ct_zone() == 0) return;
  to->ct_zone = fields.Small<uint16_t>("ct_zone", from.ct_zone());
  if (!to->vni) fields.Fail("has a 'ct_zone', but no 'vni'");
}

void Put(const Subnet& from, pb::Subnet* to) {
  to->set_vpc(from.vpc);
  if (from.prefix4) to->set_prefix4(OctetsOf(*from.prefix4));
  if (from.prefix6) to->set_prefix6(OctetsOf(*from.prefix6));
  if (from.gateway4) to->set_gateway4(OctetsOf(*from.gateway4));
  if (from.gateway6) to->set_gateway6(OctetsOf(*from.gateway6));
  for (const IpAddress& server : from.dns_servers) to->add_dns_servers(OctetsOf(server));
}

void Take(Fields& fields, pb::Subnet& from, Subnet* to) {
  to->vpc = fields.Id("vpc", from.mutable_vpc());
  to->prefix4 = fields.OptionalPrefix("prefix4", from.prefix4(), /*v4=*/true);
  to->prefix6 = fields.OptionalPrefix("prefix6", from.prefix6(), /*v4=*/false);
  if (!to->prefix4 && !to->prefix6) fields.Fail("has no prefix");
  to->gateway4 = fields.OptionalAddress("gateway4", from.gateway4(), /*v4=*/true);
  to->gateway6 = fields.OptionalAddress("gateway6", from.gateway6(), /*v4=*/false);
  to->dns_servers = fields.Addresses("dns_servers", from.dns_servers());
}

void Put(const Vm& from, pb::Vm* to) { to->set_uuid(from.uuid.ToString()); }

void Take(Fields& fields, pb::Vm& from, Vm* to) { to->uuid = fields.UuidOf("uuid", from.uuid()); }

void Put(const Port& from, pb::Port* to) {
  to->set_vm(from.vm);
  to->set_vpc(from.vpc);
  to->set_subnet(from.subnet);
  if (from.mac) to->set_mac(OctetsOf(*from.mac));
  for (const IpAddress& address : from.addresses) to->add_addresses(OctetsOf(address));
  for (const AddressPair& pair : from.allowed_pairs) {
    pb::AddressPair* stored = to->add_allowed_pairs();
    if (pair.mac) stored->set_mac(OctetsOf(*pair.mac));
    stored->set_prefix(OctetsOf(pair.prefix));
  }
  to->set_network(StoredOf(kNetworks, from.network));
  to->set_offload(StoredOf(kWishes, from.offload));
  to->set_function(StoredOf(kSources, from.function));
  if (from.spoof_check) to->set_spoof_check(*from.spoof_check);
  to->set_trust(from.trust);
  to->set_max_tx_mbps(from.max_tx_mbps);
  to->set_min_tx_mbps(from.min_tx_mbps);
  to->mutable_security_groups()->Assign(from.security_groups.begin(), from.security_groups.end());
  to->set_policy(from.policy);
}

void Take(Fields& fields, pb::Port& from, Port* to) {
  to->vm = fields.Id("vm", from.mutable_vm(), /*may_be_empty=*/true);
  to->vpc = fields.Id("vpc", from.mutable_vpc());
  to->subnet = fields.Id("subnet", from.mutable_subnet());
  to->mac = fields.OptionalMac("mac", from.mac());
  to->addresses = fields.Addresses("addresses", from.addresses());
  for (const pb::AddressPair& stored : from.allowed_pairs()) {
    if (!fields.CheckKnown(stored)) return;
    AddressPair& pair = to->allowed_pairs.emplace_back();
    pair.mac = fields.OptionalMac("allowed_pairs", stored.mac());
    pair.prefix = fields.Prefix("allowed_pairs", stored.prefix());
    if (!fields.ok()) return;
  }
  to->network = fields.Named("network", kNetworks, from.network());
  to->offload = fields.Named("offload", kWishes, from.offload());
  to->function = fields.Named("function", kSources, from.function());
  if (from.has_spoof_check()) to->spoof_check = from.spoof_check();
  to->trust = from.trust();
  to->max_tx_mbps = from.max_tx_mbps();
  to->min_tx_mbps = from.min_tx_mbps();
  to->security_groups = fields.Ids("security_groups", from.mutable_security_groups());
  to->policy = static_cast<uint32_t>(fields.Number("policy", from.policy(), 0, kMaxOrdinal));
  if ((to->policy == 0) != to->security_groups.empty()) {
    fields.Fail("has a 'policy' without 'security_groups', or these without it");
  }
}

void Put(const Endpoint& from, pb::Endpoint* to) {
  to->set_vpc(from.vpc);
  to->set_subnet(from.subnet);
  to->set_mac(OctetsOf(from.mac));
  for (const IpAddress& address : from.addresses) to->add_addresses(OctetsOf(address));
  to->set_vtep(OctetsOf(from.vtep));
  to->mutable_security_groups()->Assign(from.security_groups.begin(), from.security_groups.end());
}

void Take(Fields& fields, pb::Endpoint& from, Endpoint* to) {
  to->vpc = fields.Id("vpc", from.mutable_vpc());
  to->subnet = fields.Id("subnet", from.mutable_subnet());
  to->mac = fields.Mac("mac", from.mac());
  to->addresses = fields.Addresses("addresses", from.addresses());
  if (to->addresses.empty()) fields.Fail("has no address");
  to->vtep = fields.Address("vtep", from.vtep());
  to->security_groups = fields.Ids("security_groups", from.mutable_security_groups());
}

void Put(const Route& from, pb::Route* to) {
  to->set_vpc(from.vpc);
  to->set_prefix(OctetsOf(from.prefix));
  to->set_next_hop(OctetsOf(from.next_hop));
}

void Take(Fields& fields, pb::Route& from, Route* to) {
  to->vpc = fields.Id("vpc", from.mutable_vpc());
  to->prefix = fields.Prefix("prefix", from.prefix());
  to->next_hop = fields.Address("next_hop", from.next_hop());
  if (to->next_hop.is_v4() != to->prefix.address().is_v4()) {
    fields.Fail("has a 'next_hop' of another family than its 'prefix'");
  }
}

void Put(const SecurityRule& from, pb::SecurityRule* to) {
  to->set_ingress(from.ingress);
  if (from.v4) to->set_family(*from.v4 ? 4 : 6);
  if (from.protocol) to->set_protocol(*from.protocol);
  if (from.ports) {
    to->set_port_min(from.ports->first);
    to->set_port_max(from.ports->last);
  }
  if (from.icmp_type) to->set_icmp_type(*from.icmp_type);
  if (from.icmp_code) to->set_icmp_code(*from.icmp_code);
  if (from.remote) to->set_remote_prefix(OctetsOf(*from.remote));
  to->set_remote_group(from.remote_group);
}

SecurityRule Take(Fields& fields, pb::SecurityRule& from) {
  SecurityRule to;
  to.ingress = from.ingress();
  if (from.family() != 0) to.v4 = from.family() == 4;
  if (from.family() != 0 && from.family() != 4 && from.family() != 6) {
    fields.Fail("has a 'family' that is none");
  }
  if (from.has_protocol()) to.protocol = fields.Small<uint8_t>("protocol", from.protocol());
  if (from.has_port_min() != from.has_port_max() || from.port_min() > from.port_max()) {
    fields.Fail("has a 'port_min' that does not fit its 'port_max'");
  }
  if (from.has_port_min()) {
    to.ports = {fields.Small<uint16_t>("port_min", from.port_min()),
                fields.Small<uint16_t>("port_max", from.port_max())};
  }
  if (from.has_icmp_type()) to.icmp_type = fields.Small<uint8_t>("icmp_type", from.icmp_type());
  if (from.has_icmp_code()) to.icmp_code = fields.Small<uint8_t>("icmp_code", from.icmp_code());
  if (!from.remote_prefix().empty())
    to.remote = fields.Prefix("remote_prefix", from.remote_prefix());
  to.remote_group = fields.Id("remote_group", from.mutable_remote_group(), /*may_be_empty=*/true);
  return to;
}

void Put(const SecurityGroup& from, pb::SecurityGroup* to) {
  to->set_vpc(from.vpc);
  to->set_stateless(from.stateless);
  for (const SecurityRule& rule : from.rules) Put(rule, to->add_rules());
}

void Take(Fields& fields, pb::SecurityGroup& from, SecurityGroup* to) {
  to->vpc = fields.Id("vpc", from.mutable_vpc());
  to->stateless = from.stateless();
  for (pb::SecurityRule& rule : *from.mutable_rules()) {
    if (!fields.CheckKnown(rule)) return;
    to->rules.push_back(Take(fields, rule));
    if (!fields.ok()) return;
  }
}

void Put(const Attachment& from, pb::Attachment* to) {
  to->set_lease(from.lease);
  to->set_transaction(from.transaction);
  to->set_generation(from.generation);
  to->set_phase(StoredOf(kPhases, from.phase));
  to->set_port(from.port);
  to->set_port_ordinal(from.port_ordinal);
  to->set_vm(from.vm);
  to->set_vm_uuid(from.vm_uuid.ToString());
  to->set_bus(from.bus);
  to->set_guest_id(from.guest_id);
  to->set_vpc(from.vpc);
  if (from.vni) to->set_vni(from.vni->value());
  if (from.vlan) to->set_vlan(from.vlan->value());
  to->set_uplink(from.uplink);
  if (from.mac) to->set_mac(OctetsOf(*from.mac));
  if (from.vf_mac) to->set_vf_mac(OctetsOf(*from.vf_mac));
  if (from.mtu) to->set_mtu(*from.mtu);
}

void Take(Fields& fields, pb::Attachment& from, Attachment* to) {
  to->lease = fields.Number("lease", from.lease(), 1, kAny);
  to->transaction = from.transaction();
  to->generation = from.generation();
  to->phase = fields.Named("phase", kPhases, from.phase());
  to->port = fields.Id("port", from.mutable_port());
  to->port_ordinal =
      static_cast<uint32_t>(fields.Number("port_ordinal", from.port_ordinal(), 1, kMaxOrdinal));
  to->vm = fields.Id("vm", from.mutable_vm(), /*may_be_empty=*/true);
  if (!from.vm_uuid().empty()) to->vm_uuid = fields.UuidOf("vm_uuid", from.vm_uuid());
  to->bus = from.bus();
  to->guest_id = from.guest_id();
  if (!to->guest_id.empty() && !ParseGuestDeviceId(to->guest_id)) {
    fields.Fail("has a bad 'guest_id'");
  }
  to->vpc = fields.Id("vpc", from.mutable_vpc());
  if (from.vni() != 0) to->vni = fields.VniOf(from.vni());
  if (from.vlan() != 0) to->vlan = fields.VlanOf(from.vlan());
  to->uplink = from.uplink();
  if (to->uplink && to->vni) fields.Fail("has both a 'vni' and an 'uplink'");
  to->mac = fields.OptionalMac("mac", from.mac());
  to->vf_mac = fields.OptionalMac("vf_mac", from.vf_mac());
  if (from.has_mtu()) to->mtu = from.mtu();
}

void Put(const SanitationRecord& from, pb::Sanitation* to) {
  to->set_verdict(StoredOf(kVerdicts, from.verdict));
  to->set_reason(from.reason);
  for (const Finding& finding : from.findings) {
    pb::Finding* stored = to->add_findings();
    stored->set_what(finding.what);
    stored->set_state(StoredOf(kStates, finding.state));
    stored->set_value(finding.value);
    stored->set_why(finding.why);
  }
  to->set_checked_at(Nanoseconds(from.checked_at));
  to->set_lease(from.lease);
  to->set_port(from.port);
  to->set_vm(from.vm);
  if (from.own_mac) to->set_own_mac(OctetsOf(*from.own_mac));
  if (from.mtu) to->set_mtu(*from.mtu);
  to->set_released_by(from.released_by);
  to->set_released_at(Nanoseconds(from.released_at));
}

void Take(Fields& fields, pb::Sanitation& from, SanitationRecord* to) {
  to->verdict = fields.Named("verdict", kVerdicts, from.verdict());
  to->reason = from.reason();
  for (const pb::Finding& stored : from.findings()) {
    if (!fields.CheckKnown(stored)) return;
    const FindingState state = fields.Named("state", kStates, stored.state());
    to->findings.push_back({stored.what(), state, stored.value(), stored.why()});
  }
  to->checked_at = fields.Time("checked_at", from.checked_at());
  to->lease = fields.Number("lease", from.lease(), 1, kAny);
  to->port = fields.Id("port", from.mutable_port());
  to->vm = fields.Id("vm", from.mutable_vm(), /*may_be_empty=*/true);
  to->own_mac = fields.OptionalMac("own_mac", from.own_mac());
  if (from.has_mtu()) to->mtu = from.mtu();
  to->released_by = fields.Id("released_by", from.mutable_released_by(), /*may_be_empty=*/true);
  to->released_at = fields.Time("released_at", from.released_at());
  if (to->released_by.empty() && from.released_at() != 0) {
    fields.Fail("has a 'released_at', but no 'released_by'");
  }
}

template <typename Stored, typename Value>
std::string Encode(const Value& value) {
  Stored message;
  Put(value, &message);
  return message.SerializeAsString();
}

template <typename Stored, typename Value>
void Decode(Fields& fields, std::string_view bytes, Value* out) {
  Stored message;
  if (fields.Parse(bytes, &message)) Take(fields, message, out);
}

template <typename Stored, typename Value>
Value DecodeNamed(Fields& fields, std::string_view id, std::string_view bytes) {
  Value value;
  value.id = id;
  Decode<Stored>(fields, bytes, &value);
  return value;
}

Object DecodeKind(Fields& fields, ObjectKind kind, std::string_view id, std::string_view bytes) {
  switch (kind) {
    case ObjectKind::kVpc:
      return DecodeNamed<pb::Vpc, Vpc>(fields, id, bytes);
    case ObjectKind::kSubnet:
      return DecodeNamed<pb::Subnet, Subnet>(fields, id, bytes);
    case ObjectKind::kVm:
      return DecodeNamed<pb::Vm, Vm>(fields, id, bytes);
    case ObjectKind::kPort:
      return DecodeNamed<pb::Port, Port>(fields, id, bytes);
    case ObjectKind::kEndpoint:
      return DecodeNamed<pb::Endpoint, Endpoint>(fields, id, bytes);
    case ObjectKind::kRoute:
      return DecodeNamed<pb::Route, Route>(fields, id, bytes);
    case ObjectKind::kSecurityGroup:
      return DecodeNamed<pb::SecurityGroup, SecurityGroup>(fields, id, bytes);
  }
  fields.Fail("is of an unknown kind");
  return Vpc();
}

}  // namespace

std::string EncodeObject(const Object& object) {
  struct Encoder {
    std::string operator()(const Vpc& vpc) const { return Encode<pb::Vpc>(vpc); }
    std::string operator()(const Subnet& subnet) const { return Encode<pb::Subnet>(subnet); }
    std::string operator()(const Vm& vm) const { return Encode<pb::Vm>(vm); }
    std::string operator()(const Port& port) const { return Encode<pb::Port>(port); }
    std::string operator()(const Endpoint& endpoint) const {
      return Encode<pb::Endpoint>(endpoint);
    }
    std::string operator()(const Route& route) const { return Encode<pb::Route>(route); }
    std::string operator()(const SecurityGroup& group) const {
      return Encode<pb::SecurityGroup>(group);
    }
  };
  return std::visit(Encoder(), object);
}

absl::StatusOr<Object> DecodeObject(ObjectKind kind, std::string_view id, std::string_view body) {
  Fields fields;
  if (!CheckObjectId(id).ok()) fields.Fail("has an id that no object may have");
  absl::StatusOr<Object> object = DecodeKind(fields, kind, id, body);
  if (!fields.ok()) object = fields.Error(ObjectRef{kind, std::string(id)}.ToString());
  return object;
}

std::string EncodeAttachment(const Attachment& attachment) {
  return Encode<pb::Attachment>(attachment);
}

absl::StatusOr<Attachment> DecodeAttachment(const VfId& vf, std::string_view body) {
  Fields fields;
  Attachment attachment;
  attachment.vf = vf;
  Decode<pb::Attachment>(fields, body, &attachment);
  if (!fields.ok()) return fields.Error(StrCat("attachment of VF ", vf.ToString()));
  return attachment;
}

std::string EncodeSanitation(const SanitationRecord& record) {
  return Encode<pb::Sanitation>(record);
}

absl::StatusOr<SanitationRecord> DecodeSanitation(const VfId& vf, std::string_view body) {
  Fields fields;
  SanitationRecord record;
  record.vf = vf;
  Decode<pb::Sanitation>(fields, body, &record);
  if (!fields.ok()) return fields.Error(StrCat("record of VF ", vf.ToString()));
  return record;
}

}  // namespace fairlead
