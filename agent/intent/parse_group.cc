// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>
#include <utility>

#include "agent/intent/parse.h"
#include "fairlead/v1/intent.pb.h"

namespace fairlead {
namespace {

// IP protocol numbers (IANA).
constexpr uint32_t kIcmp = 1, kTcp = 6, kUdp = 17, kIcmp6 = 58;

// One rule's fields. What is wrong is added at its path; the rule is of no use then.
class RuleReader {
 public:
  RuleReader(const v1::SecurityRule& wire, std::string path, Violations* out)
      : wire_(wire), path_(std::move(path)), out_(*out) {}

  std::optional<SecurityRule> Read() {
    ReadDirection();
    ReadProtocol();
    ReadPorts();
    ReadIcmp();
    ReadRemote();
    if (ok_) ReadFamily();
    if (!ok_) return std::nullopt;
    return std::move(rule_);
  }

 private:
  void Bad(std::string_view field, std::string why, ViolationCode code = ViolationCode::kInvalid) {
    out_.Add(StrCat(path_, ".", field), code, std::move(why));
    ok_ = false;
  }

  std::optional<uint8_t> Octet(std::string_view field, uint32_t value) {
    if (value <= 255) return static_cast<uint8_t>(value);
    Bad(field, StrCat(value, " is out of range: 0 to 255"));
    return std::nullopt;
  }

  void ReadDirection() {
    rule_.ingress = wire_.direction() == v1::DIRECTION_INGRESS;
    if (wire_.direction() == v1::DIRECTION_UNSPECIFIED) {
      Bad("direction", "is missing: INGRESS or EGRESS");
    } else if (!rule_.ingress && wire_.direction() != v1::DIRECTION_EGRESS) {
      Bad("direction", StrCat("direction ", static_cast<int>(wire_.direction()), " is not known"),
          ViolationCode::kUnsupported);
    }
  }

  void ReadProtocol() {
    if (wire_.has_protocol()) rule_.protocol = Octet("protocol", wire_.protocol());
  }

  void ReadPorts() {
    if (!wire_.has_port_min() && !wire_.has_port_max()) return;
    if (!wire_.has_port_min()) return Bad("port_min", "is missing, and port_max is there");
    if (wire_.protocol() != kTcp && wire_.protocol() != kUdp) {
      return Bad("port_min", "ports are of TCP (protocol 6) and UDP (17) only");
    }
    const uint32_t last = wire_.has_port_max() ? wire_.port_max() : wire_.port_min();
    if (wire_.port_min() > 65535) {
      return Bad("port_min", StrCat(wire_.port_min(), " is out of range: 0 to 65535"));
    }
    if (last > 65535 || last < wire_.port_min()) {
      return Bad("port_max",
                 StrCat(last, " is out of range: ", wire_.port_min(), " (port_min) to 65535"));
    }
    rule_.ports = {static_cast<uint16_t>(wire_.port_min()), static_cast<uint16_t>(last)};
    if (rule_.ports->first == 0 && rule_.ports->last == 65535) rule_.ports.reset();  // any
  }

  void ReadIcmp() {
    if (wire_.has_icmp_code() && !wire_.has_icmp_type()) {
      Bad("icmp_code", "is there without icmp_type");
    }
    if (!wire_.has_icmp_type()) return;
    if (wire_.protocol() != kIcmp && wire_.protocol() != kIcmp6) {
      return Bad("icmp_type", "a type is of ICMP (protocol 1) and ICMPv6 (58) only");
    }
    rule_.icmp_type = Octet("icmp_type", wire_.icmp_type());
    if (wire_.has_icmp_code()) rule_.icmp_code = Octet("icmp_code", wire_.icmp_code());
  }

  void ReadRemote() {
    if (!wire_.remote_group().empty()) {
      if (!wire_.remote_prefix().empty()) {
        Bad("remote_group", "is there beside remote_prefix: a rule has one of the two, or neither");
      }
      ok_ = CheckId(wire_.remote_group(), StrCat(path_, ".remote_group"), &out_) && ok_;
      rule_.remote_group = wire_.remote_group();
    }
    if (wire_.remote_prefix().empty()) return;
    const absl::StatusOr<IpPrefix> prefix = ParsePrefixOrAddress(wire_.remote_prefix());
    if (!prefix.ok()) return Bad("remote_prefix", std::string(prefix.status().message()));
    rule_.remote = *prefix;
  }

  // What is said of it in three places must agree.
  void ReadFamily() {
    if (wire_.family() == v1::ADDRESS_FAMILY_IPV4 || wire_.family() == v1::ADDRESS_FAMILY_IPV6) {
      rule_.v4 = wire_.family() == v1::ADDRESS_FAMILY_IPV4;
    } else if (wire_.family() != v1::ADDRESS_FAMILY_UNSPECIFIED) {
      return Bad("family", StrCat("family ", static_cast<int>(wire_.family()), " is not known"),
                 ViolationCode::kUnsupported);
    }
    const auto narrow = [&](std::string_view field, bool v4, std::string_view what) {
      if (rule_.v4 && *rule_.v4 != v4) {
        Bad(field, StrCat(what, " is of ", v4 ? "IPv4" : "IPv6", ", and the rule of ",
                          v4 ? "IPv6" : "IPv4"));
      }
      rule_.v4 = v4;
    };
    if (rule_.protocol == kIcmp) narrow("protocol", true, "ICMP");
    if (rule_.protocol == kIcmp6) narrow("protocol", false, "ICMPv6");
    if (rule_.remote) {
      narrow("remote_prefix", rule_.remote->address().is_v4(), rule_.remote->ToString());
      // Everybody of the family.
      if (rule_.remote->length() == 0) rule_.remote.reset();
    }
  }

  const v1::SecurityRule& wire_;
  const std::string path_;
  Violations& out_;
  SecurityRule rule_;
  bool ok_ = true;
};

}  // namespace

absl::StatusOr<IpPrefix> ParsePrefixOrAddress(const std::string& text) {
  const absl::StatusOr<IpAddress> address = IpAddress::Parse(text);
  return IpPrefix::Parse(address.ok() ? StrCat(text, "/", address->bits()) : text);
}

std::vector<std::string> ParseGroups(const google::protobuf::RepeatedPtrField<std::string>& texts,
                                     Candidate* candidate, Violations* out) {
  constexpr std::string_view kField = "security_groups";
  std::vector<std::string> groups;
  if (static_cast<size_t>(texts.size()) > kMaxSecurityGroups) {
    candidate->bad.push_back(kField);
    out->Add(candidate->origin.Field(kField), ViolationCode::kInvalid,
             StrCat(texts.size(), " groups; ", kMaxSecurityGroups, " are possible at most"));
    return groups;
  }
  for (int i = 0; i < texts.size(); ++i) {
    const std::string path = candidate->origin.Element(kField, static_cast<size_t>(i));
    if (!CheckId(texts[i], path, out)) {
      candidate->bad.push_back(kField);
    } else if (std::find(groups.begin(), groups.end(), texts[i]) != groups.end()) {
      candidate->bad.push_back(kField);
      out->Add(path, ViolationCode::kInvalid, StrCat(Quoted(texts[i]), " is in this list twice"));
    } else {
      groups.push_back(texts[i]);
    }
  }
  std::sort(groups.begin(), groups.end());
  return groups;
}

Candidate ParseSecurityGroup(const v1::SecurityGroup& group, Origin origin, Violations* out) {
  Candidate c{.origin = std::move(origin), .object = {}, .bad = {}, .positions = {}};
  SecurityGroup result;
  const auto id = [&](std::string_view field, const std::string& text) {
    if (!CheckId(text, c.origin.Field(field), out)) c.bad.push_back(field);
    return text;
  };
  result.id = id("id", group.id());
  result.vpc = id("vpc", group.vpc());
  result.stateless = group.stateless();
  const auto too_many = [&](size_t count, size_t most, std::string_view what) {
    if (count <= most) return;
    c.bad.push_back("rules");
    out->Add(c.origin.Field("rules"), ViolationCode::kInvalid,
             StrCat(count, " ", what, "; ", most, " are possible at most"));
  };
  too_many(static_cast<size_t>(group.rules_size()), kMaxSecurityRules, "rules");
  size_t masks = 0, of_members = 0;
  for (int i = 0; i < group.rules_size() && c.Ok("rules"); ++i) {
    std::optional<SecurityRule> rule =
        RuleReader(group.rules(i), c.origin.Element("rules", static_cast<size_t>(i)), out).Read();
    if (!rule) {
      c.bad.push_back("rules");
      continue;
    }
    const size_t of_rule = rule->ports ? MasksOf(*rule->ports).size() : 1;
    (rule->remote_group.empty() ? masks : of_members) += of_rule;
    result.rules.push_back(*std::move(rule));
  }
  too_many(masks, kMaxGroupMasks,
           "masks, which the rules' port ranges come to (a range that begins and ends at powers "
           "of two needs few)");
  too_many(of_members, kMaxMemberMasks,
           "masks, which the port ranges of rules with a remote_group come to");
  std::sort(result.rules.begin(), result.rules.end());
  result.rules.erase(std::unique(result.rules.begin(), result.rules.end()), result.rules.end());
  c.object = std::move(result);
  return c;
}

}  // namespace fairlead
