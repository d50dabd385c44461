// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what every QmpPort does, as tests. Instantiate with a factory:
//   INSTANTIATE_TEST_SUITE_P(Fake, QmpContract, ::testing::Values(&MakeFake));
// and link qmp_contract.cc.
//
// The VM given has: root ports "rp0", "rp1", "rp2" on pcie.0; a device "x" that
// is no vfio-pci on rp0; rp1 and rp2 free; run state "prelaunch"; no client on
// its monitor.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent/ports/qmp/qmp_port.h"

namespace fairlead {

class QmpContractVm {
 public:
  virtual ~QmpContractVm() = default;
  virtual QmpPort& port() = 0;
  virtual std::string path() const = 0;
  virtual std::string absent_path() const = 0;  // nothing listens there
  virtual Uuid uuid() const = 0;
  virtual uint32_t peer_uid() const = 0;
  // Adds a device "gone" that goes away at once when it is asked to.
  virtual void AddWillingDevice() = 0;
  virtual void Resume() = 0;  // run state becomes "running"
  virtual void End() = 0;     // the VM ends
};

using QmpContractFactory = std::unique_ptr<QmpContractVm> (*)();

class QmpContract : public ::testing::TestWithParam<QmpContractFactory> {
 protected:
  void SetUp() override;
  std::unique_ptr<QmpSession> Connect();
  // Waits for an event of that kind, for as long as the test's own limit allows.
  QmpEvent WaitFor(QmpEvent::Kind kind);
  size_t CountOf(QmpEvent::Kind kind);

  std::unique_ptr<QmpContractVm> vm_;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<QmpEvent> events_;
};

}  // namespace fairlead
