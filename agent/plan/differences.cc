// SPDX-License-Identifier: Apache-2.0
//
// What differs between a wanted and an observed resource, attribute by attribute.
#include <type_traits>

#include "absl/strings/str_format.h"
#include "agent/base/text.h"
#include "agent/plan/plan.h"

namespace fairlead {
namespace {

std::string Text(const std::string& v) { return v.empty() ? "none" : v; }
std::string Text(bool v) { return v ? "yes" : "no"; }
std::string Text(uint16_t v) { return std::to_string(v); }
std::string Text(uint32_t v) { return std::to_string(v); }
std::string Text(const RuleTable& v) { return v.ToString(); }
std::string Text(const Uuid& v) { return Text(v.ToString()); }
std::string Text(const IpAddress& v) { return v.ToString(); }
std::string Text(const MacAddress& v) { return v.ToString(); }
std::string Text(const PciAddress& v) { return v.ToString(); }
std::string Text(Encapsulation v) { return std::string(Name(v)); }
std::string Text(EswitchMode v) { return std::string(Name(v)); }
std::string Text(EswitchInlineMode v) { return std::string(Name(v)); }
std::string Text(EswitchEncapMode v) { return std::string(Name(v)); }
template <typename T>
std::string Text(const std::optional<T>& v) {
  return v ? Text(*v) : "unknown";
}

class Comparison {
 public:
  template <typename T>
  void Compare(std::string_view name, const T& wanted, const T& observed) {
    if (wanted == observed) return;
    out_.push_back(StrCat(name, " ", Text(observed), " -> ", Text(wanted)));
  }
  // An attribute that `wanted` leaves open is not compared.
  template <typename T>
  void CompareIfSet(std::string_view name, const std::optional<T>& wanted,
                    const std::optional<T>& observed) {
    if (wanted) Compare(name, wanted, observed);
  }
  void CompareMode(const std::optional<uint32_t>& wanted, const std::optional<uint32_t>& observed) {
    if (!wanted || wanted == observed) return;
    out_.push_back(StrCat("node_mode ", observed ? absl::StrFormat("%04o", *observed) : "unknown",
                          " -> ", absl::StrFormat("%04o", *wanted)));
  }
  void Add(std::string difference) { out_.push_back(std::move(difference)); }
  std::vector<std::string> Take() { return std::move(out_); }

 private:
  std::vector<std::string> out_;
};

void CompareSpecs(Comparison& c, const VfPoolSpec& wanted, const VfPoolSpec& observed) {
  c.Compare("count", uint32_t{wanted.count}, uint32_t{observed.count});
  c.Compare("autoprobe", wanted.autoprobe, observed.autoprobe);
}
void CompareSpecs(Comparison& c, const PfSpec& wanted, const PfSpec& observed) {
  c.CompareIfSet("eswitch mode", wanted.eswitch.mode, observed.eswitch.mode);
  c.CompareIfSet("inline", wanted.eswitch.inline_mode, observed.eswitch.inline_mode);
  c.CompareIfSet("encap", wanted.eswitch.encap_mode, observed.eswitch.encap_mode);
}
void CompareSpecs(Comparison& c, const TunnelSpec& wanted, const TunnelSpec& observed) {
  c.Compare("device", wanted.device, observed.device);
  c.Compare("encapsulation", wanted.encapsulation, observed.encapsulation);
  c.Compare("local", wanted.local, observed.local);
  c.Compare("udp_port", uint32_t{wanted.udp_port}, uint32_t{observed.udp_port});
  c.Compare("mtu", wanted.mtu, observed.mtu);
  c.Compare("up", wanted.up, observed.up);
  c.Compare("default_drop", wanted.default_drop, observed.default_drop);
}
void CompareSpecs(Comparison& c, const UplinkSpec& wanted, const UplinkSpec& observed) {
  c.CompareIfSet("made", wanted.made, observed.made);
}
void CompareSpecs(Comparison& c, const NeighbourSpec& wanted, const NeighbourSpec& observed) {
  c.Compare("outer", wanted.outer, observed.outer);
}
void CompareSpecs(Comparison& c, const VfSpec& wanted, const VfSpec& observed) {
  c.CompareIfSet("mac", wanted.mac, observed.mac);
  c.CompareIfSet("vlan", wanted.settings.vlan, observed.settings.vlan);
  c.CompareIfSet("spoof_check", wanted.settings.spoof_check, observed.settings.spoof_check);
  c.CompareIfSet("trust", wanted.settings.trust, observed.settings.trust);
  c.CompareIfSet("max_tx_mbps", wanted.settings.max_tx_mbps, observed.settings.max_tx_mbps);
  c.CompareIfSet("min_tx_mbps", wanted.settings.min_tx_mbps, observed.settings.min_tx_mbps);
  c.CompareIfSet("link_disabled", wanted.settings.link_disabled, observed.settings.link_disabled);
}
void CompareSpecs(Comparison& c, const RepresentorSpec& wanted, const RepresentorSpec& observed) {
  c.CompareIfSet("block", wanted.block, observed.block);
  c.Compare("up", wanted.up, observed.up);
  c.Compare("default_drop", wanted.default_drop, observed.default_drop);
  c.Compare("addr_gen_none", wanted.addr_gen_none, observed.addr_gen_none);
}
void CompareSpecs(Comparison& c, const DriverBindingSpec& wanted,
                  const DriverBindingSpec& observed) {
  c.Compare("driver", wanted.driver, observed.driver);
  c.CompareIfSet("node_uid", wanted.node_uid, observed.node_uid);
  c.CompareIfSet("node_gid", wanted.node_gid, observed.node_gid);
  c.CompareMode(wanted.node_mode, observed.node_mode);
}
void CompareSpecs(Comparison& c, const GuestDeviceSpec& wanted, const GuestDeviceSpec& observed) {
  if (!wanted.uuid.empty()) c.Compare("uuid", wanted.uuid, observed.uuid);
  if (!wanted.device_id.empty()) c.Compare("device_id", wanted.device_id, observed.device_id);
  c.Compare("host", wanted.host, observed.host);
  if (!wanted.bus.empty()) c.Compare("bus", wanted.bus, observed.bus);
}

}  // namespace

std::vector<std::string> Differences(const ResourceSpec& wanted, const ObservedResource& observed) {
  Comparison comparison;
  if (wanted.index() != observed.spec.index()) {
    comparison.Add("it is a resource of another kind");
    return comparison.Take();
  }
  std::visit(
      [&](const auto& spec) {
        using Spec = std::decay_t<decltype(spec)>;
        if constexpr (std::is_same_v<Spec, FlowRuleSpec>) {
          const uint64_t hash = spec.rule.ContentHash();
          if (hash != observed.content_hash) {
            comparison.Add(absl::StrFormat("content %016x -> %016x", observed.content_hash, hash));
          }
        } else {
          CompareSpecs(comparison, spec, std::get<Spec>(observed.spec));
        }
      },
      wanted);
  return comparison.Take();
}

}  // namespace fairlead
