// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/base/error.h"
#include "agent/providers/test_pf_host.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// VFs of a NIC that forwards by itself, as an 82576 (igb) has them.
class LegacyPfTest : public PfProviderTest {
 protected:
  LegacyPfTest() {
    config.pfs[0].representors.clear();
    network->ChangeLink(10, [](LinkInfo& link) {
      link.carrier = true;
      link.vfs.emplace(2, FakeVfDriver::Igb().fresh);
      (*link.vfs)[1].index = 1;
    });
    network->SetVfDriver(10, FakeVfDriver::Igb());
    network->ClearCalls();
  }
  VfInfo Vf(uint16_t index) { return links.GetLinkWithVfs(10)->vfs->at(index); }
  void ChangeVf(const std::function<void(VfInfo&)>& change) {
    network->ChangeLink(10, [&](LinkInfo& link) { change(link.vfs->at(0)); });
  }
  std::vector<std::string> Sets() {
    std::vector<std::string> sets;
    for (const std::string& call : network->Calls()) {
      if (call.starts_with("Set")) sets.push_back(call);
    }
    return sets;
  }
  static constexpr MacAddress kTenant{{2, 0, 0, 0, 9, 9}};
  VfSpec Wanted() { return {{kPf, 0}, kTenant, {100, true, false, 0, 0, false}}; }
};

TEST_F(LegacyPfTest, OnlyWhatDiffersIsSetOnAVfAndThenReadBack) {
  const auto put = pf.PutVf(Wanted());
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(std::get<VfSpec>(put->spec), Wanted());
  EXPECT_THAT(Sets(), ::testing::ElementsAre("SetVfMac(10, 0, 02:00:00:00:09:09)",
                                             "SetVfVlan(10, 0, 100)"));
  network->ClearCalls();
  ASSERT_TRUE(pf.PutVf(Wanted()).ok());
  EXPECT_THAT(Sets(), ::testing::IsEmpty());
  const auto seen = pf.ObserveVf({kPf, 0});
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->facts.settings, Wanted().settings);
  EXPECT_EQ(pf.Observe(kPf)->facts.serves(), PfFacts::Serves::kVlan);
}

TEST_F(LegacyPfTest, WhatTheNicRefusesIsSaidInTheKernelsWords) {
  VfSpec spec = Wanted();
  spec.settings.max_tx_mbps = 500;
  spec.settings.min_tx_mbps = 100;
  const absl::Status refused = pf.PutVf(spec).status();
  EXPECT_THAT(std::string(refused.message()), HasSubstr("Invalid argument"));
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << "the same again would be refused again";
}

TEST_F(LegacyPfTest, AVfIsGivenBackAsNobodysWhateverWasSetOnIt) {
  ChangeVf([](VfInfo& vf) {
    vf.mac = kTenant;
    vf.vlan = 100;
    vf.spoof_check = false;
    vf.trust = true;
    vf.max_tx_mbps = 500;
  });
  const absl::Status deleted = pf.DeleteVf({{kPf, 0}});
  EXPECT_TRUE(deleted.ok()) << deleted;
  VfInfo clean = Vf(1);
  clean.index = 0;
  EXPECT_EQ(Vf(0), clean);
  network->ClearCalls();
  EXPECT_TRUE(pf.DeleteVf({{kPf, 0}}).ok());
  EXPECT_THAT(Sets(), ::testing::IsEmpty()) << "there is nothing to take away";
}

TEST_F(LegacyPfTest, ALinkThatWasDisabledIsTheNextTenantsAgain) {
  network->SetVfDriver(10, {});
  for (const bool given_back : {true, false}) {
    const auto off = pf.PutVf({{kPf, 0}, {}, {.link_disabled = true}});
    ASSERT_TRUE(off.ok()) << off.status();
    EXPECT_EQ(std::get<VfSpec>(off->spec).settings.link_disabled, true);
    EXPECT_TRUE(Vf(0).link_disabled);
    EXPECT_TRUE(given_back ? pf.DeleteVf({{kPf, 0}}).ok() : pf.PutVf(Wanted()).ok());
    EXPECT_FALSE(Vf(0).link_disabled);
  }
}

TEST_F(LegacyPfTest, AValueThatDoesNotReadBackCleanKeepsTheVfAndIsNamed) {
  ChangeVf([](VfInfo& vf) { vf.vlan = 100; });
  bool cleared = false;
  network->SetHook([&](std::string_view call) {
    if (call.starts_with("SetVfVlan")) cleared = true;
    if (cleared && call.starts_with("GetLinkWithVfs")) ChangeVf([](VfInfo& vf) { vf.vlan = 100; });
  });
  const absl::Status deleted = pf.DeleteVf({{kPf, 0}});
  EXPECT_THAT(std::string(deleted.message()),
              AllOf(HasSubstr("the VLAN of VF 0 of pf0"), HasSubstr("does not read back clean")));
  network->SetHook(nullptr);
}

TEST_F(LegacyPfTest, ARateThatCannotBeClearedIsSaidAndAllElseIsCleared) {
  ChangeVf([](VfInfo& vf) {
    vf.max_tx_mbps = 500;
    vf.mac = kTenant;
  });
  network->ChangeLink(10, [](LinkInfo& link) { link.carrier = false; });
  EXPECT_THAT(std::string(pf.DeleteVf({{kPf, 0}}).message()),
              AllOf(HasSubstr("clear the rate of VF 0"), HasSubstr("pf0 has no link")));
  EXPECT_TRUE(absl::IsUnavailable(pf.DeleteVf({{kPf, 0}}))) << "it may come";
  EXPECT_TRUE(Vf(0).mac.IsZero());
}

TEST_F(LegacyPfTest, WhatTheNicHasNoCallForIsNobodysToClear) {
  network->SetVfDriver(10, {.spoof_check = false, .trust = false, .rate = false});
  ChangeVf([](VfInfo& vf) {
    vf.spoof_check = false;  // as some drivers report without being able to change it
    vf.vlan = 100;
  });
  const absl::Status deleted = pf.DeleteVf({{kPf, 0}});
  EXPECT_TRUE(deleted.ok()) << deleted;
  EXPECT_EQ(Vf(0).vlan, 0);
}

TEST_F(LegacyPfTest, WhatGivingAVfBackDidIsSaid) {
  using Reset = VfCleaning::Reset;
  std::optional<VfCleaning> did;
  EXPECT_TRUE(pf.DeleteVf({{kPf, 0}}, &did).ok());
  EXPECT_EQ(did, (VfCleaning{Reset::kDone, "", {}}));
  network->SetVfDriver(10, {.spoof_check = false, .trust = false});
  ChangeVf([](VfInfo& vf) { vf.trust = true; });
  EXPECT_TRUE(pf.DeleteVf({{kPf, 0}}, &did).ok());
  EXPECT_EQ(did, (VfCleaning{Reset::kDone, "", {"trust"}}));
  did.reset();
  EXPECT_TRUE(pf.DeleteVf({{kPf, 7}}, &did).ok());
  EXPECT_EQ(did, std::nullopt) << "there is no such VF";
}

TEST_F(LegacyPfTest, OfAVfWhoseResetIsRefusedTheRestIsClearedAllTheSame) {
  host.SetResetFails(kVf0Pci, SystemError(EPERM, "reset", "never"));
  ChangeVf([](VfInfo& vf) {
    vf.mac = kTenant;
    vf.vlan = 100;
  });
  std::optional<VfCleaning> did;
  EXPECT_THAT(std::string(pf.DeleteVf({{kPf, 0}}, &did).message()), HasSubstr("never"));
  ASSERT_TRUE(did);
  EXPECT_EQ(did->reset, VfCleaning::Reset::kFailed);
  EXPECT_THAT(did->reset_words, HasSubstr("never"));
  EXPECT_TRUE(Vf(0).mac.IsZero());
  EXPECT_EQ(Vf(0).vlan, 0);
}

// Of mlx5 in legacy mode: no MAC with the check, and no check without a MAC.
TEST_F(LegacyPfTest, ASpoofCheckThatNeedsAMacGoesWithIt) {
  network->SetVfDriver(10, {.spoof_check_needs_mac = true});
  ChangeVf([](VfInfo& vf) {
    vf.mac = kTenant;
    vf.vlan = 100;
  });
  const absl::Status deleted = pf.DeleteVf({{kPf, 0}});
  EXPECT_TRUE(deleted.ok()) << deleted;
  EXPECT_TRUE(Vf(0).mac.IsZero());
  EXPECT_EQ(Vf(0).vlan, 0);
  const auto put = pf.PutVf(Wanted());
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(std::get<VfSpec>(put->spec), Wanted()) << "the next tenant has the check again";
}

// VFs of a ConnectX in switchdev mode.
class PfRateTest : public PfProviderTest {
 protected:
  PfRateTest() {
    config.pfs[0].representors.clear();
    FakeDevlinkOptions nic;
    nic.handle = kNic;
    nic.mode = EswitchMode::kSwitchdev;
    eswitch->AddDevice(nic);
    EXPECT_TRUE(eswitch->SetVfCount(kNic, 2).ok());
  }
  DevlinkRate Leaf(uint16_t vf) {
    const auto ports = devlink.ListPorts(kNic);
    const auto port = FindVfRepresentor(*ports, {.vf = vf, .pf = {}});
    const auto rates = devlink.ListRates(kNic);
    const auto leaf = std::find_if(rates->begin(), rates->end(), [&](const DevlinkRate& rate) {
      return rate.id == DevlinkRateId::Leaf(port->index);
    });
    return leaf == rates->end() ? DevlinkRate() : *leaf;
  }
  void SetLeaf(uint16_t vf, uint64_t share, uint64_t max) {
    DevlinkRateSettings rates;
    rates.share = share;
    rates.max = max;
    ASSERT_TRUE(devlink.SetRate(kNic, Leaf(vf).id, rates).ok());
  }
  static VfSpec Rates(std::optional<uint32_t> max, std::optional<uint32_t> min) {
    return {{kPf, 1}, {}, {.max_tx_mbps = max, .min_tx_mbps = min}};
  }

  const DevlinkHandle kNic = DevlinkHandle::Pci(kPfPci);
};

// neutron 1962844: a max rate zeroed the min rate.
TEST_F(PfRateTest, CapAndShareAreSetByDevlinkAndReadBackEachByItself) {
  EXPECT_TRUE(pf.Observe(kPf)->facts.vfs[1].has_rate_leaf);
  auto put = pf.PutVf(Rates(500, 100));
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(std::get<VfSpec>(put->spec), Rates(500, 100));
  EXPECT_EQ(Leaf(1).max, 500U * kDevlinkMbit);
  EXPECT_EQ(Leaf(1).share, 100U * kDevlinkMbit);
  EXPECT_EQ(Leaf(0).max, 0U) << "another VF's";
  put = pf.PutVf(Rates(700, std::nullopt));
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(Leaf(1).share, 100U * kDevlinkMbit) << "a new cap leaves the share";
  const auto seen = pf.ObserveVf({kPf, 1});
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->facts.settings, Rates(700, 100).settings);
  network->ClearCalls();
  ASSERT_TRUE(pf.PutVf(Rates(700, 100)).ok());
  for (const std::string& call : network->Calls()) EXPECT_FALSE(call.starts_with("Set")) << call;
}

TEST_F(PfRateTest, MoreThanTheLinkCarriesIsRefusedInTheDriversWords) {
  const absl::Status refused = pf.PutVf(Rates(200'000, 0)).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(refused.message(), HasSubstr("exceed link maximum speed 100000Mbps"));
}

TEST_F(PfRateTest, AVfIsGivenBackWithoutRates) {
  SetLeaf(1, 125'000, 250'000);
  SetLeaf(0, 125'000, 0);
  const absl::Status deleted = pf.DeleteVf({{kPf, 1}});
  EXPECT_TRUE(deleted.ok()) << deleted;
  EXPECT_EQ(Leaf(1).max, 0U);
  EXPECT_EQ(Leaf(1).share, 0U);
  EXPECT_EQ(Leaf(0).share, 125'000U);
}

TEST_F(PfRateTest, RatesThatCannotBeClearedOrDoNotReadBackCleanKeepTheVf) {
  SetLeaf(1, 125'000, 250'000);
  network->FailWhen([](std::string_view call) { return call.starts_with("SetRate("); },
                    SystemError(EBUSY, "set", "not now"), 1);
  EXPECT_THAT(pf.DeleteVf({{kPf, 1}}).message(),
              AllOf(HasSubstr("clear the rate of VF 1 of pf0"), HasSubstr("not now")));
  bool cleared = false;
  network->SetHook([&](std::string_view call) {
    if (call.starts_with("SetRate(")) cleared = true;
    if (!cleared || !call.starts_with("ListRates(")) return;
    cleared = false;
    network->SetHook(nullptr);
    SetLeaf(1, 0, 125'000);
  });
  EXPECT_THAT(pf.DeleteVf({{kPf, 1}}).message(), HasSubstr("does not read back clean"));
  network->SetHook(nullptr);
}

}  // namespace
}  // namespace fairlead
