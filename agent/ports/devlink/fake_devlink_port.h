// SPDX-License-Identifier: Apache-2.0
//
// Purpose: DevlinkPort on a FakeDevlink.
// Threading: safe from any thread, unlike the real one; see fake_devlink.h for the
// thread of callbacks.
// Ownership: shares the model.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "agent/ports/devlink/devlink_port.h"
#include "agent/ports/devlink/fake_devlink.h"

namespace fairlead {

class FakeDevlinkPort final : public DevlinkPort {
 public:
  explicit FakeDevlinkPort(std::shared_ptr<FakeDevlink> devlink) : devlink_(std::move(devlink)) {}

  absl::StatusOr<std::vector<DevlinkDevice>> ListDevices() override;
  absl::StatusOr<DevlinkEswitch> GetEswitch(const DevlinkHandle& device) override;
  absl::Status SetEswitch(const DevlinkHandle& device, const DevlinkEswitch& wanted) override;
  absl::StatusOr<std::vector<DevlinkPortInfo>> ListPorts(const DevlinkHandle& device) override;
  absl::StatusOr<DevlinkPortInfo> GetPort(const DevlinkHandle& device, uint32_t index) override;
  absl::Status SetPortFunction(const DevlinkHandle& device, uint32_t index,
                               const DevlinkPortFunction& wanted) override;
  absl::StatusOr<std::vector<DevlinkRate>> ListRates(const DevlinkHandle& device) override;
  absl::Status SetRate(const DevlinkHandle& device, const DevlinkRateId& id,
                       const DevlinkRateSettings& wanted) override;
  absl::Status AddRateNode(const DevlinkHandle& device, const std::string& name) override;
  absl::Status DeleteRateNode(const DevlinkHandle& device, const std::string& name) override;
  absl::StatusOr<DevlinkInfo> GetInfo(const DevlinkHandle& device) override;
  absl::Status Reload(const DevlinkHandle& device) override;
  absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(
      std::function<void(const Event&)> on_event) override;

 private:
  std::shared_ptr<FakeDevlink> devlink_;
};

}  // namespace fairlead
