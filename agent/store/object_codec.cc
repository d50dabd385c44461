// SPDX-License-Identifier: Apache-2.0
#include "agent/store/object_codec.h"

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "agent/base/text.h"
#include "agent/model/resource.h"
#include "nlohmann/json.hpp"

namespace fairlead {
namespace {

using Json = nlohmann::json;

constexpr AttachmentPhase kAllPhases[] = {AttachmentPhase::kApplying, AttachmentPhase::kReady,
                                          AttachmentPhase::kRollingBack,
                                          AttachmentPhase::kReleasing};
constexpr NetworkKind kAllNetworks[] = {NetworkKind::kCompute, NetworkKind::kConverged};
constexpr FunctionSource kAllSources[] = {FunctionSource::kVf, FunctionSource::kHotplug};
constexpr OffloadWish kAllWishes[] = {OffloadWish::kMust, OffloadWish::kPrefer, OffloadWish::kOff};

// The keys of one flat JSON object, each taken once. Remembers the first error,
// so that a decoder reads as a list of fields.
class Fields {
 public:
  Fields(std::string name, std::string_view body) : name_(std::move(name)) { Parse(body); }

  std::optional<std::string> OptionalText(const char* key) {
    if (!error_.empty()) return std::nullopt;
    const auto it = json_.find(key);
    if (it == json_.end()) return std::nullopt;
    if (!it->is_string()) {
      Fail(StrCat("has a '", key, "' that is no string"));
      return std::nullopt;
    }
    std::string text = it->get<std::string>();
    json_.erase(it);
    return text;
  }

  std::string Text(const char* key) {
    std::optional<std::string> text = OptionalText(key);
    if (!text) Fail(StrCat("has no '", key, "'"));
    return std::move(text).value_or("");
  }

  // An object id, or "" where `may_be_empty`.
  std::string Id(const char* key, bool may_be_empty = false) {
    std::string id = Text(key);
    if (id.empty() && may_be_empty) return id;
    if (const absl::Status status = CheckObjectId(id); !status.ok()) Bad(key, status);
    return id;
  }

  std::vector<std::string> Texts(const char* key) {
    std::vector<std::string> texts;
    if (!error_.empty()) return texts;
    const auto it = json_.find(key);
    if (it == json_.end() || !it->is_array()) {
      Fail(StrCat("has no list '", key, "'"));
      return texts;
    }
    for (const Json& item : *it) {
      if (!item.is_string()) {
        Fail(StrCat("has something in '", key, "' that is no string"));
        return texts;
      }
      texts.push_back(item.get<std::string>());
    }
    json_.erase(it);
    return texts;
  }

  bool ok() const { return error_.empty(); }
  bool Has(const char* key) const { return error_.empty() && json_.contains(key); }

  std::optional<bool> OptionalBool(const char* key) {
    if (!Has(key)) return std::nullopt;
    const auto it = json_.find(key);
    if (!it->is_boolean()) {
      Fail(StrCat("has a '", key, "' that is neither true nor false"));
      return std::nullopt;
    }
    const bool value = it->get<bool>();
    json_.erase(it);
    return value;
  }

  uint64_t Number(const char* key, uint64_t least, uint64_t most) {
    if (!error_.empty()) return least;
    const auto it = json_.find(key);
    if (it == json_.end() || !it->is_number_unsigned()) {
      Fail(StrCat("has no number '", key, "'"));
      return least;
    }
    const uint64_t value = it->get<uint64_t>();
    if (value < least || value > most) {
      Fail(StrCat("has '", key, "' = ", value, ", outside ", least, "..", most));
      return least;
    }
    json_.erase(it);
    return value;
  }

  template <typename T>
  T Parsed(const char* key) {
    return ParseText<T>(key, Text(key));
  }

  template <typename T>
  std::optional<T> OptionalParsed(const char* key) {
    const std::optional<std::string> text = OptionalText(key);
    if (!text) return std::nullopt;
    return ParseText<T>(key, *text);
  }

  template <typename T>
  std::vector<T> ParsedList(const char* key) {
    std::vector<T> values;
    for (const std::string& text : Texts(key)) values.push_back(ParseText<T>(key, text));
    return values;
  }

  template <typename Enum, size_t kCount>
  Enum Named(const char* key, const Enum (&all)[kCount], std::string_view (*name)(Enum)) {
    return OneOf(key, Text(key), all, name);
  }

  template <typename Enum, size_t kCount>
  Enum OneOf(const char* key, const std::string& text, const Enum (&all)[kCount],
             std::string_view (*name)(Enum)) {
    for (const Enum value : all) {
      if (text == name(value)) return value;
    }
    Fail(StrCat("has an unknown '", key, "'"));
    return all[0];
  }

  template <typename T>
  T ParseText(const char* key, const std::string& text) {
    if (!error_.empty()) return T();
    absl::StatusOr<T> value = T::Parse(text);
    if (value.ok()) return *std::move(value);
    Bad(key, value.status());
    return T();
  }

  void Fail(std::string_view what) {
    if (error_.empty()) error_ = StrCat("stored ", name_, " ", what);
  }

  // To be called last: whatever was not taken is unknown.
  absl::Status Finish() {
    if (error_.empty() && !json_.empty()) {
      Fail(StrCat("has a key '", json_.begin().key(), "' that this version does not know"));
    }
    return error_.empty() ? absl::OkStatus() : absl::DataLossError(error_);
  }

 private:
  void Parse(std::string_view body) {
    if (body.size() > kMaxStoredBody) {
      return Fail(StrCat("is ", body.size(), " bytes long, more than ", kMaxStoredBody));
    }
    // nlohmann keeps the last of two equal keys in silence, hence the callback.
    std::set<std::string> seen;
    bool twice = false;
    bool nested = false;
    const auto callback = [&](int depth, Json::parse_event_t event, Json& parsed) {
      if (event == Json::parse_event_t::object_start && depth > 0) nested = true;
      if (event == Json::parse_event_t::key && !seen.insert(parsed.get<std::string>()).second) {
        twice = true;
      }
      return true;
    };
    json_ = Json::parse(body, callback, /*allow_exceptions=*/false);
    if (json_.is_discarded()) return Fail("is no JSON text");
    if (!json_.is_object()) return Fail("is no JSON object");
    if (nested) return Fail("has an object within the object");
    if (twice) return Fail("has a key twice");
  }

  void Bad(const char* key, const absl::Status& why) {
    Fail(StrCat("has a bad '", key, "': ", why.message()));
  }

  std::string name_;
  std::string error_;
  Json json_;
};

Vni TakeVni(Fields& fields) {
  const uint64_t number = fields.Number("vni", Vni::kMin, Vni::kMax);
  return Vni::Make(number).value_or(Vni());
}

// Keys that a store of an earlier version does not have.
std::optional<VlanId> TakeVlan(Fields& fields) {
  if (!fields.Has("vlan")) return std::nullopt;
  return VlanId::Make(fields.Number("vlan", VlanId::kMin, VlanId::kMax)).value_or(VlanId());
}

std::optional<IpAddress> TakeGateway(Fields& fields, const char* key, bool v4) {
  const std::optional<IpAddress> gateway = fields.OptionalParsed<IpAddress>(key);
  if (gateway && gateway->is_v4() != v4) {
    fields.Fail(StrCat("has a '", key, "' that is not IPv", v4 ? "4" : "6"));
  }
  return gateway;
}

// "10.0.0.100/32", or "52:54:00:00:01:0a 10.0.0.100/32": a body has no object within the object.
std::string PairText(const AddressPair& pair) {
  return StrCat(pair.mac ? pair.mac->ToString() + " " : "", pair.prefix.ToString());
}

std::vector<AddressPair> TakePairs(Fields& fields) {
  constexpr char kKey[] = "allowed_pairs";
  std::vector<AddressPair> pairs;
  if (!fields.Has(kKey)) return pairs;
  for (const std::string& text : fields.Texts(kKey)) {
    AddressPair pair;
    const size_t space = text.find(' ');
    if (space != std::string::npos) {
      pair.mac = fields.ParseText<MacAddress>(kKey, text.substr(0, space));
    }
    pair.prefix = fields.ParseText<IpPrefix>(
        kKey, space == std::string::npos ? text : text.substr(space + 1));
    pairs.push_back(pair);
  }
  return pairs;
}

uint32_t TakeRate(Fields& fields, const char* key) {
  if (!fields.Has(key)) return 0;
  return static_cast<uint32_t>(fields.Number(key, 1, std::numeric_limits<uint32_t>::max()));
}

std::optional<uint32_t> TakeMtu(Fields& fields) {
  if (!fields.Has("mtu")) return std::nullopt;
  return static_cast<uint32_t>(fields.Number("mtu", 0, std::numeric_limits<uint32_t>::max()));
}

using WallTime = std::chrono::system_clock::time_point;

uint64_t Nanoseconds(WallTime time) {
  const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch());
  return since.count() < 0 ? 0 : static_cast<uint64_t>(since.count());
}

WallTime TakeTime(Fields& fields, const char* key) {
  const uint64_t ns = fields.Number(key, 0, std::numeric_limits<int64_t>::max());
  return WallTime(std::chrono::duration_cast<WallTime::duration>(
      std::chrono::nanoseconds(static_cast<int64_t>(ns))));
}

// 0 stands for none.
std::optional<Vni> TakeOptionalVni(Fields& fields) {
  const uint64_t number = fields.Number("vni", 0, Vni::kMax);
  const absl::StatusOr<Vni> vni = Vni::Make(number);
  return vni.ok() ? std::optional<Vni>(*vni) : std::nullopt;
}

Json Texts(const std::vector<IpAddress>& addresses) {
  Json list = Json::array();
  for (const IpAddress& address : addresses) list.push_back(address.ToString());
  return list;
}

// Replaces what is not UTF-8 instead of throwing; see the header on Encode.
std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json ToJson(const Vpc& vpc) {
  if (vpc.vlan) return {{"vlan", vpc.vlan->value()}};
  return {{"vni", vpc.vni ? vpc.vni->value() : 0}};  // 0 does not decode
}

Json ToJson(const Subnet& subnet) {
  Json json = {{"vpc", subnet.vpc}};
  if (subnet.prefix4) json["prefix4"] = subnet.prefix4->ToString();
  if (subnet.prefix6) json["prefix6"] = subnet.prefix6->ToString();
  // An object that an earlier version could have written is written as it did.
  if (subnet.gateway4) json["gateway4"] = subnet.gateway4->ToString();
  if (subnet.gateway6) json["gateway6"] = subnet.gateway6->ToString();
  if (!subnet.dns_servers.empty()) json["dns_servers"] = Texts(subnet.dns_servers);
  return json;
}

Json ToJson(const Vm& vm) { return {{"uuid", vm.uuid.ToString()}}; }

Json ToJson(const Port& port) {
  Json json = {{"vm", port.vm},
               {"vpc", port.vpc},
               {"subnet", port.subnet},
               {"addresses", Texts(port.addresses)},
               {"network", NetworkKindName(port.network)},
               {"offload", OffloadWishName(port.offload)}};
  if (port.mac) json["mac"] = port.mac->ToString();
  if (port.spoof_check) json["spoof_check"] = *port.spoof_check;
  if (port.trust) json["trust"] = true;
  if (port.max_tx_mbps != 0) json["max_tx_mbps"] = port.max_tx_mbps;
  if (port.min_tx_mbps != 0) json["min_tx_mbps"] = port.min_tx_mbps;
  // As of a subnet.
  for (const AddressPair& pair : port.allowed_pairs) {
    json["allowed_pairs"].push_back(PairText(pair));
  }
  if (port.function != FunctionSource::kVf) json["function"] = FunctionSourceName(port.function);
  return json;
}

Json ToJson(const Endpoint& endpoint) {
  return {{"vpc", endpoint.vpc},
          {"subnet", endpoint.subnet},
          {"mac", endpoint.mac.ToString()},
          {"addresses", Texts(endpoint.addresses)},
          {"vtep", endpoint.vtep.ToString()}};
}

Object TakeObject(const ObjectRef& ref, Fields& fields) {
  switch (ref.kind) {
    case ObjectKind::kVpc: {
      Vpc vpc;
      vpc.id = ref.id;
      vpc.vlan = TakeVlan(fields);
      if (!vpc.vlan) vpc.vni = TakeVni(fields);
      return vpc;
    }
    case ObjectKind::kSubnet: {
      Subnet subnet;
      subnet.id = ref.id;
      subnet.vpc = fields.Id("vpc");
      subnet.prefix4 = fields.OptionalParsed<IpPrefix>("prefix4");
      subnet.prefix6 = fields.OptionalParsed<IpPrefix>("prefix6");
      if (!subnet.prefix4 && !subnet.prefix6) fields.Fail("has no prefix");
      if (subnet.prefix4 && !subnet.prefix4->address().is_v4()) {
        fields.Fail("has a 'prefix4' that is not IPv4");
      }
      if (subnet.prefix6 && !subnet.prefix6->address().is_v6()) {
        fields.Fail("has a 'prefix6' that is not IPv6");
      }
      subnet.gateway4 = TakeGateway(fields, "gateway4", /*v4=*/true);
      subnet.gateway6 = TakeGateway(fields, "gateway6", /*v4=*/false);
      if (fields.Has("dns_servers")) {
        subnet.dns_servers = fields.ParsedList<IpAddress>("dns_servers");
      }
      return subnet;
    }
    case ObjectKind::kVm: {
      Vm vm;
      vm.id = ref.id;
      vm.uuid = fields.Parsed<Uuid>("uuid");
      return vm;
    }
    case ObjectKind::kPort: {
      Port port;
      port.id = ref.id;
      port.vm = fields.Id("vm", /*may_be_empty=*/true);
      port.vpc = fields.Id("vpc");
      port.subnet = fields.Id("subnet");
      port.mac = fields.OptionalParsed<MacAddress>("mac");
      port.addresses = fields.ParsedList<IpAddress>("addresses");
      port.allowed_pairs = TakePairs(fields);
      port.network = fields.Named("network", kAllNetworks, NetworkKindName);
      port.offload = fields.Named("offload", kAllWishes, OffloadWishName);
      port.spoof_check = fields.OptionalBool("spoof_check");
      port.trust = fields.OptionalBool("trust").value_or(false);
      port.max_tx_mbps = TakeRate(fields, "max_tx_mbps");
      port.min_tx_mbps = TakeRate(fields, "min_tx_mbps");
      if (fields.Has("function")) {
        port.function = fields.Named("function", kAllSources, FunctionSourceName);
      }
      return port;
    }
    case ObjectKind::kEndpoint: {
      Endpoint endpoint;
      endpoint.id = ref.id;
      endpoint.vpc = fields.Id("vpc");
      endpoint.subnet = fields.Id("subnet");
      endpoint.mac = fields.Parsed<MacAddress>("mac");
      endpoint.addresses = fields.ParsedList<IpAddress>("addresses");
      endpoint.vtep = fields.Parsed<IpAddress>("vtep");
      if (endpoint.addresses.empty()) fields.Fail("has no address");
      return endpoint;
    }
  }
  fields.Fail("is of an unknown kind");
  return Vpc();
}

}  // namespace

std::string EncodeObject(const Object& object) {
  return std::visit([](const auto& value) { return Dump(ToJson(value)); }, object);
}

absl::StatusOr<Object> DecodeObject(const ObjectRef& ref, std::string_view body) {
  Fields fields(ref.ToString(), body);
  if (!CheckObjectId(ref.id).ok()) fields.Fail("has an id that no object may have");
  Object object = TakeObject(ref, fields);
  if (absl::Status status = fields.Finish(); !status.ok()) return status;
  return object;
}

std::string EncodeAttachment(const Attachment& attachment) {
  Json json = {{"lease", attachment.lease},
               {"transaction", attachment.transaction},
               {"generation", attachment.generation},
               {"phase", AttachmentPhaseName(attachment.phase)},
               {"port", attachment.port},
               {"port_ordinal", attachment.port_ordinal},
               {"vm", attachment.vm},
               {"vm_uuid", attachment.vm_uuid.ToString()},
               {"bus", attachment.bus},
               {"vpc", attachment.vpc},
               {"vni", attachment.vni ? attachment.vni->value() : 0}};
  if (!attachment.guest_id.empty()) json["guest_id"] = attachment.guest_id;
  if (attachment.vlan) json["vlan"] = attachment.vlan->value();
  if (attachment.mac) json["mac"] = attachment.mac->ToString();
  if (attachment.vf_mac) json["vf_mac"] = attachment.vf_mac->ToString();
  if (attachment.mtu) json["mtu"] = *attachment.mtu;
  return Dump(json);
}

absl::StatusOr<Attachment> DecodeAttachment(const VfId& vf, std::string_view body) {
  constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();
  Fields fields(StrCat("attachment of VF ", vf.ToString()), body);
  Attachment attachment;
  attachment.vf = vf;
  attachment.lease = fields.Number("lease", 1, kAny);
  attachment.transaction = fields.Number("transaction", 0, kAny);
  attachment.generation = fields.Number("generation", 0, kAny);
  attachment.phase = fields.Named("phase", kAllPhases, AttachmentPhaseName);
  attachment.port = fields.Id("port");
  attachment.port_ordinal = static_cast<uint32_t>(fields.Number("port_ordinal", 1, kMaxOrdinal));
  attachment.vm = fields.Id("vm", /*may_be_empty=*/true);
  if (const std::string uuid = fields.Text("vm_uuid"); !uuid.empty()) {
    absl::StatusOr<Uuid> parsed = Uuid::Parse(uuid);
    if (!parsed.ok()) fields.Fail(StrCat("has a bad 'vm_uuid': ", parsed.status().message()));
    attachment.vm_uuid = std::move(parsed).value_or(Uuid());
  }
  attachment.bus = fields.Text("bus");
  attachment.guest_id = fields.OptionalText("guest_id").value_or("");
  if (!attachment.guest_id.empty() && !ParseGuestDeviceId(attachment.guest_id)) {
    fields.Fail("has a bad 'guest_id'");
  }
  attachment.vpc = fields.Id("vpc");
  attachment.vni = TakeOptionalVni(fields);
  attachment.vlan = TakeVlan(fields);
  attachment.mac = fields.OptionalParsed<MacAddress>("mac");
  attachment.vf_mac = fields.OptionalParsed<MacAddress>("vf_mac");
  attachment.mtu = TakeMtu(fields);
  if (absl::Status status = fields.Finish(); !status.ok()) return status;
  return attachment;
}

// Findings as one list of each of their parts: a body has no object within the object.
std::string EncodeSanitation(const SanitationRecord& record) {
  Json what = Json::array(), state = Json::array(), value = Json::array(), why = Json::array();
  for (const Finding& finding : record.findings) {
    what.push_back(finding.what);
    state.push_back(FindingStateName(finding.state));
    value.push_back(finding.value);
    why.push_back(finding.why);
  }
  Json json = {{"verdict", VerdictName(record.verdict)},
               {"reason", record.reason},
               {"what", what},
               {"state", state},
               {"value", value},
               {"why", why},
               {"checked_at", Nanoseconds(record.checked_at)},
               {"lease", record.lease},
               {"port", record.port},
               {"vm", record.vm}};
  if (record.own_mac) json["own_mac"] = record.own_mac->ToString();
  if (record.mtu) json["mtu"] = *record.mtu;
  if (!record.released_by.empty()) {
    json["released_by"] = record.released_by;
    json["released_at"] = Nanoseconds(record.released_at);
  }
  return Dump(json);
}

absl::StatusOr<SanitationRecord> DecodeSanitation(const VfId& vf, std::string_view body) {
  Fields fields(StrCat("record of VF ", vf.ToString()), body);
  SanitationRecord record;
  record.vf = vf;
  record.verdict = fields.Named("verdict", kAllVerdicts, VerdictName);
  record.reason = fields.Text("reason");
  const std::vector<std::string> what = fields.Texts("what"), state = fields.Texts("state"),
                                 value = fields.Texts("value"), why = fields.Texts("why");
  if (state.size() != what.size() || value.size() != what.size() || why.size() != what.size()) {
    fields.Fail("has lists of different lengths");
  }
  for (size_t i = 0; fields.ok() && i < what.size(); ++i) {
    const FindingState named = fields.OneOf("state", state[i], kAllFindingStates, FindingStateName);
    record.findings.push_back({what[i], named, value[i], why[i]});
  }
  record.checked_at = TakeTime(fields, "checked_at");
  record.lease = fields.Number("lease", 1, std::numeric_limits<uint64_t>::max());
  record.port = fields.Id("port");
  record.vm = fields.Id("vm", /*may_be_empty=*/true);
  record.own_mac = fields.OptionalParsed<MacAddress>("own_mac");
  record.mtu = TakeMtu(fields);
  if (fields.Has("released_by")) {
    record.released_by = fields.Id("released_by");
    record.released_at = TakeTime(fields, "released_at");
  }
  if (absl::Status status = fields.Finish(); !status.ok()) return status;
  return record;
}

}  // namespace fairlead
