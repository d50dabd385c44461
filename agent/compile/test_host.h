// SPDX-License-Identifier: Apache-2.0
//
// Purpose: for tests only: a host as the compiler sees it.
// Threading: pure functions.
#pragma once

#include <cstdint>

#include "agent/base/test_types.h"
#include "agent/base/text.h"
#include "agent/compile/compile.h"

namespace fairlead {

inline CompileConfig Config() {
  CompileConfig config;
  config.tunnel.local = Ip("192.0.2.1");
  config.node_uid = 64055;
  return config;
}

// A NIC with representors, and a tunnel.
inline HostFacts Facts(uint16_t vfs = 4) {
  PfFacts pf;
  pf.id = Mac(0xff01);
  pf.netdev = "pf0";
  pf.driver = "mlx5_core";
  pf.num_vfs = pf.wanted_vfs = pf.total_vfs = vfs;
  pf.can_set_vf_mac = true;
  for (uint16_t i = 0; i < vfs; ++i) {
    VfFacts vf;
    vf.index = i;
    vf.pci = {0, 1, static_cast<uint8_t>(i / 8), static_cast<uint8_t>(i % 8)};
    vf.iommu_group = i;
    vf.mac = Mac(0x8000U + i);
    vf.representor = StrCat("rep", i);
    vf.representor_ifindex = 100U + i;
    pf.vfs.push_back(vf);
  }
  HostFacts facts;
  facts.pfs.emplace(pf.id, pf);
  facts.tunnel = TunnelFacts{"fl-vxlan0", 99, Ip("192.0.2.1"), 4789, 1450};
  return facts;
}

}  // namespace fairlead
