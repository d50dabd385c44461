// SPDX-License-Identifier: Apache-2.0
//
// Purpose: for tests only: a PF with two VFs and their representors on the fakes, and the provider
// that looks after it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "agent/base/test_types.h"
#include "agent/base/text.h"
#include "agent/ports/devlink/fake_devlink_port.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/sysfs/fake_sysfs_port.h"
#include "agent/ports/tc/fake_tc_port.h"
#include "agent/providers/pf_provider.h"

namespace fairlead {

class PfProviderTest : public ::testing::Test {
 protected:
  PfProviderTest() {
    PfConfig pf;
    pf.mac = kPf;
    pf.vfs = 2;
    for (uint16_t vf = 0; vf < 2; ++vf) {
      LinkInfo representor;
      representor.name = StrCat("rep", vf);
      representor.ifindex = 20U + vf;
      representor.up = true;
      network->AddLink(representor);
      pf.representors.push_back(
          {vf, representor.name, MacAddress({2, 0, 0, 0, 1, static_cast<uint8_t>(vf)})});
    }
    config.pfs.push_back(pf);
    config.marks = std::make_shared<OwnMarks>(7);
    config.management_address = Ip("192.0.2.1");
    FakePfOptions options;
    options.address = kPfPci;
    options.autoprobe = false;
    host.AddPf(options);
    AddLink("pf0", 10).mac = kPf;
    EXPECT_TRUE(sysfs.SetNumVfs(kPfPci, 2, SysfsPort::Deadline(1)).ok());
  }
  // The link may be changed until the next one is added.
  LinkInfo& AddLink(const std::string& name, uint32_t ifindex) {
    LinkInfo info;
    info.name = name;
    info.ifindex = ifindex;
    info.up = true;
    network->AddLink(info);
    LinkInfo* there = nullptr;
    network->ChangeLink(ifindex, [&](LinkInfo& link) { there = &link; });
    return *there;
  }
  std::string Refused() {
    const auto seen = pf.Observe(kPf);
    EXPECT_TRUE(seen.ok()) << seen.status();
    return seen.ok() ? seen->facts.refused : "not observed";
  }
  static bool Bound(const PfProvider::Observation& seen, uint16_t vf) {
    return std::any_of(seen.resources.begin(), seen.resources.end(), [&](const auto& resource) {
      return resource.key == DriverBindingKey({kPf, vf});
    });
  }

  static constexpr PciAddress kPfPci{0, 1, 0, 0};
  static constexpr PciAddress kVf0Pci{0, 1, 0, 1};
  static constexpr MacAddress kPf{{2, 0, 0, 0, 0, 1}};
  ProviderConfig config;
  FakePciHost host;
  FakeSysfsPort sysfs{host};
  std::shared_ptr<FakeNetwork> network = std::make_shared<FakeNetwork>();
  FakeRtnetlinkPort links{network};
  FakeTcPort tc{network};
  std::shared_ptr<FakeDevlink> eswitch = std::make_shared<FakeDevlink>(network);
  FakeDevlinkPort devlink{eswitch};
  PfProvider pf{&config, &sysfs, &links, &tc, &devlink};
};

}  // namespace fairlead
