// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what every SysfsPort does, as tests. Instantiate with a factory:
//   INSTANTIATE_TEST_SUITE_P(Fake, SysfsContract, ::testing::Values(&MakeFake));
// and link sysfs_contract.cc.
//
// The host given has one PF with SR-IOV, bound to its driver, with at least one
// VF to make, none made, none of which anybody uses; vfio-pci is loaded. Each
// test leaves it so.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "agent/ports/sysfs/sysfs_port.h"

namespace fairlead {

class SysfsContractHost {
 public:
  virtual ~SysfsContractHost() = default;
  virtual SysfsPort& port() = 0;
  virtual PciAddress pf() const = 0;
  virtual std::string pf_netdev() const = 0;
  // The bridge that the PF is behind.
  virtual PciAddress bridge() const = 0;
  // Has the function, the only one of its group, open as a VM does; and closes it again.
  virtual void Hold(const PciAddress& function, uint32_t group) = 0;
  virtual void LetGo() = 0;
};

using SysfsContractFactory = std::unique_ptr<SysfsContractHost> (*)();

class SysfsContract : public ::testing::TestWithParam<SysfsContractFactory> {
 protected:
  void SetUp() override;
  void TearDown() override;

  SysfsPort& port() { return host_->port(); }
  PciDevice Pf();
  // Makes one VF that no driver has taken.
  void MakeUnboundVf(PciAddress* vf);
  // Binds it to vfio-pci.
  void BindToVfio(const PciAddress& vf);

  std::unique_ptr<SysfsContractHost> host_;
};

}  // namespace fairlead
