// SPDX-License-Identifier: Apache-2.0
#include "agent/plan/sanitation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "agent/base/text.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

const MacAddress kTenant = *MacAddress::Parse("52:54:00:00:aa:05");
const VfId kVf{*MacAddress::Parse("52:54:00:00:00:01"), 0};

// A VF of a NIC that shows all there is to show, after a release that left nothing.
SanitationEvidence Clean() {
  SanitationEvidence e;
  e.seen.can_reset = true;
  e.seen.mac = MacAddress();
  e.seen.settings = {.vlan = 0,
                     .spoof_check = true,
                     .trust = false,
                     .max_tx_mbps = 0,
                     .min_tx_mbps = 0,
                     .link_disabled = false};
  e.seen.representor = "rep0";
  e.seen.representor_ifindex = 20;
  e.seen.representor_mtu = 1500;
  e.vf_driver = "vfio-pci";
  e.mtu = 1500;
  e.cleaning = VfCleaning{VfCleaning::Reset::kDone, "", {}};
  e.counters = TrafficCounters{1, 2, 3, 4};
  return e;
}

const Finding& Of(const std::vector<Finding>& findings, std::string_view what) {
  static const Finding kNone{"none", FindingState::kDirty, "", ""};
  for (const Finding& finding : findings) {
    if (finding.what == what) return finding;
  }
  ADD_FAILURE() << "nothing is said of " << what;
  return kNone;
}

TEST(SanitationTest, OfAVfThatShowsAllOnlyWhatIsOfInfiniBandIsUnproven) {
  const std::vector<Finding> findings = JudgeVf(Clean());
  size_t i = 0;
  ASSERT_EQ(findings.size(), std::size(kSanitationChecks));
  for (const Finding& finding : findings) {
    EXPECT_EQ(finding.what, kSanitationChecks[i++]);
    EXPECT_EQ(finding.state, finding.what == "guid" || finding.what == "pkey"
                                 ? FindingState::kUnprovable
                                 : FindingState::kClean)
        << finding.ToString();
  }
  EXPECT_EQ(Of(findings, "mtu").value, "1500");
  EXPECT_THAT(Of(findings, "counters").value, HasSubstr("received 1 packets, 3 bytes"));
  EXPECT_EQ(WhyQuarantined(findings, {}), "");
}

// sriov-cni 397 and 417: MAC, VLAN, trust or rate of the former tenant stayed on a VF.
// What is left of a tenant, whatever it is, is dirty, named, and keeps the VF back.
TEST(SanitationTest, WhatIsLeftOfATenantIsDirty) {
  const std::pair<const char*, std::function<void(SanitationEvidence&)>> cases[] = {
      {"driver", [](auto& e) { e.seen.driver = "vfio-pci"; }},
      {"driver", [](auto& e) { e.seen.driver = kBusyDriver; }},
      {"driver", [](auto& e) { e.seen.driver_override = "vfio-pci"; }},
      {"driver", [](auto& e) { e.binding_kept = "unbind: Operation not permitted"; }},
      {"reset", [](auto& e) { e.cleaning.reset(); }},
      {"reset",
       [](auto& e) {
         e.cleaning = {VfCleaning::Reset::kFailed, "no", {}};
       }},
      {"mac", [](auto& e) { e.seen.mac = kTenant; }},
      {"mac", [](auto& e) { e.own_mac = kTenant; }},
      {"vlan", [](auto& e) { e.seen.settings.vlan = 100; }},
      {"spoof-check", [](auto& e) { e.seen.settings.spoof_check = false; }},
      {"trust", [](auto& e) { e.seen.settings.trust = true; }},
      {"max-rate", [](auto& e) { e.seen.settings.max_tx_mbps = 5; }},
      {"min-rate", [](auto& e) { e.seen.settings.min_tx_mbps = 5; }},
      {"link-state", [](auto& e) { e.seen.settings.link_disabled = true; }},
      {"representor",
       [](auto& e) {
         e.representor = RepresentorSpec{kVf, RuleTable{.vni = *Vni::Make(7)}};
       }},
      {"representor", [](auto& e) { e.representor_kept = "no"; }}};
  for (const auto& [what, change] : cases) {
    SanitationEvidence evidence = Clean();
    change(evidence);
    const std::vector<Finding> findings = JudgeVf(evidence);
    const Finding& finding = Of(findings, what);
    EXPECT_EQ(finding.state, FindingState::kDirty) << finding.ToString();
    EXPECT_TRUE(AnyDirty(findings));
    for (const bool strict : {false, true}) {
      // Not even what may be unprovable may be dirty.
      EXPECT_THAT(WhyQuarantined(findings, {strict, {what, "guid", "pkey"}}), HasSubstr(what));
    }
  }
}

TEST(SanitationTest, WhatTheNicCannotShowIsNeverTakenForClean) {
  SanitationEvidence silent = Clean();
  silent.seen.settings = {};
  silent.seen.mac = kTenant;  // from the configuration
  silent.seen.representor.clear();
  silent.seen.representor_ifindex = 0;
  silent.counters.reset();
  silent.cleaning->reset = VfCleaning::Reset::kNone;
  const std::vector<Finding> findings = JudgeVf(silent);
  for (const char* what : {"reset", "mac", "vlan", "spoof-check", "trust", "max-rate", "min-rate",
                           "link-state", "mtu", "counters", "guid", "pkey"}) {
    const Finding& finding = Of(findings, what);
    EXPECT_EQ(finding.state, FindingState::kUnprovable) << finding.ToString();
    EXPECT_NE(finding.why, "") << what;
  }
  EXPECT_FALSE(AnyDirty(findings));
  EXPECT_EQ(WhyQuarantined(findings, {}), "");
  EXPECT_THAT(WhyQuarantined(findings, {.unprovable_quarantines = true}), HasSubstr("trust"));
}

TEST(SanitationTest, WhatTheNicHasNoCallForIsUnprovable) {
  SanitationEvidence evidence = Clean();
  evidence.seen.settings.spoof_check = false;
  evidence.seen.settings.trust = true;
  evidence.cleaning->no_call = {"spoof-check", "trust"};
  const std::vector<Finding> findings = JudgeVf(evidence);
  EXPECT_EQ(Of(findings, "trust").state, FindingState::kUnprovable);
  EXPECT_THAT(Of(findings, "spoof-check").why, HasSubstr("needs a MAC"));
  evidence.seen.mac = evidence.own_mac = kTenant;
  EXPECT_THAT(Of(JudgeVf(evidence), "spoof-check").why, HasSubstr("no call"));
}

TEST(SanitationTest, AMacThatItCameWithIsItsOwn) {
  SanitationEvidence evidence = Clean();
  evidence.seen.mac = evidence.own_mac = kTenant;
  EXPECT_EQ(Of(JudgeVf(evidence), "mac").state, FindingState::kClean);
  EXPECT_EQ(Of(JudgeVf(evidence), "mac").value, kTenant.ToString());
}

TEST(SanitationTest, AnotherMtuIsSaidAndIsNoTenants) {
  SanitationEvidence evidence = Clean();
  evidence.mtu = 9000;
  EXPECT_EQ(Of(JudgeVf(evidence), "mtu").ToString(),
            "mtu is 1500 (unprovable): it was 9000 before, and this agent sets none");
  evidence.mtu.reset();
  EXPECT_EQ(Of(JudgeVf(evidence), "mtu").state, FindingState::kUnprovable);
}

TEST(SanitationTest, ADriverThatSomebodyElseBoundIsNotThisVfsDirt) {
  SanitationEvidence evidence = Clean();
  evidence.seen.driver = "igbvf";
  EXPECT_EQ(Of(JudgeVf(evidence), "driver").state, FindingState::kUnprovable);
}

TEST(SanitationTest, AVfThatIsGoneIsNotProvenClean) {
  SanitationEvidence gone;
  gone.seen.gone = true;
  const std::vector<Finding> findings = JudgeVf(gone);
  EXPECT_EQ(Of(findings, "rules").state, FindingState::kClean);
  EXPECT_EQ(Of(findings, "reset").state, FindingState::kUnprovable);
  EXPECT_FALSE(AnyDirty(findings));
}

TEST(SanitationTest, APolicyNamesWhatMayBeUnprovable) {
  const std::vector<Finding> findings = JudgeVf(Clean());
  EXPECT_EQ(WhyQuarantined(findings, {true, {"pkey"}}),
            "guid (unprovable): this version reads no GUIDs");
  EXPECT_EQ(WhyQuarantined(findings, {true, {"guid", "pkey"}}), "");
}

TEST(SanitationTest, WordsOfOthersAreMadePlain) {
  SanitationEvidence evidence = Clean();
  evidence.cleaning = {VfCleaning::Reset::kFailed, "no\xff\n\x1b[2J", {}};
  EXPECT_EQ(Of(JudgeVf(evidence), "reset").why, "no???[2J");
}

// Of any evidence: each check is judged once and in order, a reason is given for all that is
// not clean, and what is said clean was seen to be so.
TEST(SanitationTest, AnyEvidenceIsJudgedWholeAndNothingUnseenIsCalledClean) {
  std::mt19937 random(5);
  const auto one_in = [&](unsigned n) { return random() % n == 0; };
  int clean = 0, dirty = 0;
  for (int i = 0; i < 20'000; ++i) {
    SanitationEvidence e = Clean();
    VfSettings& set = e.seen.settings;
    if (one_in(4)) e.seen.driver = one_in(2) ? "vfio-pci" : "igbvf";
    if (one_in(4)) set.vlan = one_in(2) ? std::optional<uint16_t>() : 7;
    if (one_in(4)) set.spoof_check = one_in(2) ? std::optional<bool>() : false;
    if (one_in(4)) set.trust = one_in(2) ? std::optional<bool>() : true;
    if (one_in(4)) set.max_tx_mbps = one_in(2) ? std::optional<uint32_t>() : 9;
    if (one_in(4)) set.link_disabled = one_in(2) ? std::optional<bool>() : true;
    if (one_in(4)) e.seen.mac = one_in(2) ? std::optional<MacAddress>() : kTenant;
    if (one_in(4)) e.seen.representor_ifindex = 0;
    if (one_in(4)) e.representor = RepresentorSpec{kVf, RuleTable{.vni = *Vni::Make(7)}};
    if (one_in(4)) e.cleaning.reset();
    if (one_in(4)) e.settings_kept = "no";
    if (one_in(4) && e.cleaning) e.cleaning->no_call = {"trust", "vlan", "mac"};
    if (one_in(4)) e.counters.reset();
    const std::vector<Finding> findings = JudgeVf(e);
    ASSERT_EQ(findings.size(), std::size(kSanitationChecks));
    for (size_t k = 0; k < findings.size(); ++k) {
      ASSERT_EQ(findings[k].what, kSanitationChecks[k]);
      ASSERT_EQ(findings[k].state == FindingState::kUnprovable && findings[k].why.empty(), false);
    }
    const auto is_clean = [&](const char* what) {
      return Of(findings, what).state == FindingState::kClean;
    };
    ASSERT_EQ(is_clean("trust"), set.trust == false);
    ASSERT_EQ(is_clean("vlan"), set.vlan == 0);
    ASSERT_EQ(is_clean("spoof-check"), set.spoof_check == true);
    ASSERT_EQ(is_clean("max-rate"), set.max_tx_mbps == 0U);
    ASSERT_EQ(is_clean("link-state"), set.link_disabled == false);
    ASSERT_EQ(is_clean("mac"), set.vlan.has_value() && e.seen.mac == MacAddress());
    ASSERT_EQ(is_clean("driver"), e.seen.driver.empty());
    ASSERT_EQ(is_clean("reset"), e.cleaning.has_value());
    ASSERT_EQ(AnyDirty(findings), !WhyQuarantined(findings, {}).empty());
    ASSERT_NE(WhyQuarantined(findings, {true, {}}), "");
    ++(AnyDirty(findings) ? dirty : clean);
  }
  EXPECT_GT(clean, 100);
  EXPECT_GT(dirty, 100);
}

}  // namespace
}  // namespace fairlead
