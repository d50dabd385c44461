// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the fixture of the tests that run the whole agent on the fakes: two
// VPCs with the same addresses.
//
// Threading: the test's thread. Ownership: the fixture owns the host.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"
#include "tests/integration/fake_host.h"

namespace fairlead {

class AgentTest : public ::testing::Test {
 protected:
  void Begin(FakeHostOptions options = {},
             const std::function<void(DaemonConfig&)>& configure = nullptr) {
    host = std::make_unique<FakeHost>(options);
    if (configure) configure(host->config);
    host->Start();
    host->MakeVpc("red", 1000, "10.0.0.0/24");
    host->MakeVpc("blue", 2000, "10.0.0.0/24");
  }
  // The pool is made at the start; what an attach leaves is compared with this.
  std::string Quiet() {
    while (host->Host().pfs_size() == 0 || host->Host().pfs(0).num_vfs() == 0) {
    }
    return host->Leftovers();
  }
  std::vector<TcFilter> Block(uint32_t vni) {
    return host->network->Filters({0x46000000U | vni, 0});
  }
  std::unique_ptr<FakeHost> host;
};

}  // namespace fairlead
