// SPDX-License-Identifier: Apache-2.0
#include "agent/plan/sanitation.h"

#include <algorithm>
#include <utility>

#include "agent/base/text.h"

namespace fairlead {
namespace {

constexpr char kNicIsSilent[] = "the NIC reports nothing of its VFs";

// What comes from a kernel or a name in it is kept for long: plain characters only.
std::string Plain(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return text;
}

class Judge {
 public:
  explicit Judge(const SanitationEvidence& evidence) : e_(evidence) {}

  std::vector<Finding> Findings() {
    if (e_.seen.gone) {
      for (const char* what : kSanitationChecks) OfGone(what);
      return std::move(out_);
    }
    Driver();
    Reset();
    Mac();
    const VfSettings& set = e_.seen.settings;
    Setting("vlan", set.vlan, set.vlan == 0, set.vlan == 0 ? "none" : Text(set.vlan), "none");
    SpoofCheck();
    Setting("trust", set.trust, set.trust == false, set.trust == true ? "on" : "off", "off");
    Rate("max-rate", set.max_tx_mbps);
    Rate("min-rate", set.min_tx_mbps);
    Setting("link-state", set.link_disabled, set.link_disabled == false,
            set.link_disabled == true ? "disabled" : "not disabled", "not disabled");
    Representor();
    Mtu();
    Rules();
    Counters();
    Unprovable("guid", "", "this version reads no GUIDs");
    Unprovable("pkey", "", "this version reads no PKeys");
    return std::move(out_);
  }

 private:
  static std::string Text(const std::optional<uint16_t>& number) {
    return number ? StrCat(*number) : "";
  }
  void Add(const char* what, FindingState state, std::string value, std::string why) {
    out_.push_back({what, state, Plain(std::move(value)), Plain(std::move(why))});
  }
  void Clean(const char* what, std::string value) {
    Add(what, FindingState::kClean, std::move(value), "");
  }
  void Unprovable(const char* what, std::string value, std::string why) {
    Add(what, FindingState::kUnprovable, std::move(value), std::move(why));
  }
  void Dirty(const char* what, std::string value, std::string why) {
    Add(what, FindingState::kDirty, std::move(value), std::move(why));
  }
  static std::string ShouldBe(std::string_view wanted, std::string_view kept) {
    return StrCat("should be ", wanted, kept.empty() ? "" : "; ", kept);
  }

  // How one that is made anew begins is its NIC's matter.
  void OfGone(const char* what) {
    if (std::string_view(what) == "rules") return Rules();
    if (std::string_view(what) == "representor" && e_.seen.representor.empty()) return;
    Unprovable(what, "", "the VF is gone");
  }

  void Driver() {
    const std::string& driver = e_.seen.driver;
    if (!e_.binding_kept.empty() || driver == e_.vf_driver || driver == kBusyDriver) {
      return Dirty("driver", driver, ShouldBe("none", e_.binding_kept));
    }
    if (e_.seen.driver_override == e_.vf_driver) {
      return Dirty("driver", StrCat("none, with the override ", e_.vf_driver),
                   ShouldBe("none", ""));
    }
    if (!driver.empty()) {
      return Unprovable("driver", driver, "somebody else bound it: what that does is not seen");
    }
    Clean("driver", "none");
  }

  void Reset() {
    if (!e_.cleaning) return Dirty("reset", "not done", e_.settings_kept);
    switch (e_.cleaning->reset) {
      case VfCleaning::Reset::kDone:
        return Clean("reset", "done");
      case VfCleaning::Reset::kNone:
        return Unprovable("reset", "not done",
                          "it offers none: it is given on as its last user left it");
      case VfCleaning::Reset::kFailed:
        return Dirty("reset", "failed", e_.cleaning->reset_words);
    }
  }

  // Where a PF reports a VF at all, it reports the VLAN.
  bool Reported() const { return e_.seen.settings.vlan.has_value(); }
  bool NoCall(const char* what) const { return e_.cleaning && e_.cleaning->no_call.contains(what); }

  void Mac() {
    const MacAddress wanted = e_.own_mac.value_or(MacAddress());
    const auto name = [](const MacAddress& mac) {
      return mac.IsZero() ? std::string("none") : mac.ToString();
    };
    const std::string value = e_.seen.mac ? name(*e_.seen.mac) : "";
    if (!Reported() || !e_.seen.mac) return Unprovable("mac", value, kNicIsSilent);
    Compare("mac", *e_.seen.mac == wanted, value, name(wanted));
  }

  void Compare(const char* what, bool clean, const std::string& value, const std::string& wanted) {
    if (clean) return Clean(what, value);
    if (NoCall(what)) return Unprovable(what, value, "the NIC has no call to set it");
    Dirty(what, value, ShouldBe(wanted, e_.settings_kept));
  }

  template <typename T>
  void Setting(const char* what, const std::optional<T>& seen, bool clean, const std::string& value,
               const std::string& wanted) {
    if (!seen) {
      return Unprovable(what, "", Reported() ? "the NIC's driver does not say" : kNicIsSilent);
    }
    Compare(what, clean, value, wanted);
  }

  void SpoofCheck() {
    const std::optional<bool>& seen = e_.seen.settings.spoof_check;
    // Some NICs (mlx5) check nothing against no MAC, and refuse to be asked to.
    if (seen == false && e_.seen.mac && e_.seen.mac->IsZero() && NoCall("spoof-check")) {
      return Unprovable("spoof-check", "off", "it needs a MAC, and comes with the next tenant's");
    }
    Setting("spoof-check", seen, seen == true, seen == true ? "on" : "off", "on");
  }

  void Rate(const char* what, const std::optional<uint32_t>& mbps) {
    Setting(what, mbps, mbps == 0U, mbps == 0U ? "none" : StrCat(mbps.value_or(0), " Mbit/s"),
            "none");
  }

  void Representor() {
    const VfFacts& seen = e_.seen;
    if (seen.representor.empty()) return;
    if (e_.representor || !e_.representor_kept.empty()) {
      const std::string value =
          !e_.representor
              ? ""
              : StrCat(e_.representor->up ? "up" : "down",
                       e_.representor->block ? StrCat(", in ", e_.representor->block->ToString())
                                             : std::string(", with the mark of an agent"));
      return Dirty("representor", value, ShouldBe("down and in no block", e_.representor_kept));
    }
    if (seen.representor_ifindex == 0) {
      return Unprovable("representor", "", StrCat(seen.representor, " is not there"));
    }
    if (seen.representor_up) {
      return Unprovable("representor", "up, in no block", "somebody else has set it up");
    }
    Clean("representor", "down, in no block");
  }

  // The agent sets none, and a tenant's own goes with the reset.
  void Mtu() {
    const uint32_t now = e_.seen.representor_ifindex == 0 ? 0 : e_.seen.representor_mtu;
    if (now == 0) return Unprovable("mtu", "", "no representor shows it");
    if (!e_.mtu) return Unprovable("mtu", StrCat(now), "what it was before is not known");
    if (now != *e_.mtu) {
      return Unprovable("mtu", StrCat(now),
                        StrCat("it was ", *e_.mtu, " before, and this agent sets none"));
    }
    Clean("mtu", StrCat(now));
  }

  // A lease ends when the last one was seen to be gone.
  void Rules() { Clean("rules", "none names it"); }

  void Counters() {
    if (!e_.counters) {
      return Unprovable("counters", "", "no representor counts for it");
    }
    const TrafficCounters& c = *e_.counters;
    Clean("counters", StrCat("its representor received ", c.rx_packets, " packets, ", c.rx_bytes,
                             " bytes, and sent ", c.tx_packets, ", ", c.tx_bytes));
  }

  const SanitationEvidence& e_;
  std::vector<Finding> out_;
};

}  // namespace

std::vector<Finding> JudgeVf(const SanitationEvidence& evidence) {
  return Judge(evidence).Findings();
}

bool AnyDirty(const std::vector<Finding>& findings) {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding& finding) { return finding.state == FindingState::kDirty; });
}

std::string WhyQuarantined(const std::vector<Finding>& findings, const SanitationPolicy& policy) {
  std::vector<std::string> reasons;
  for (const Finding& finding : findings) {
    const bool counts = finding.state == FindingState::kDirty ||
                        (finding.state == FindingState::kUnprovable &&
                         policy.unprovable_quarantines && !policy.accepted.contains(finding.what));
    if (counts) reasons.push_back(finding.ToString());
  }
  return StrJoin(reasons, "; ");
}

}  // namespace fairlead
