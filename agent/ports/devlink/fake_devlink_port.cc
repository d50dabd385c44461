// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/devlink/fake_devlink_port.h"

#include "agent/base/error.h"

namespace fairlead {
namespace {

class FakeSubscription final : public DevlinkPort::Subscription {
 public:
  FakeSubscription(std::shared_ptr<FakeDevlink> devlink, uint64_t id)
      : devlink_(std::move(devlink)), id_(id) {}
  ~FakeSubscription() override { devlink_->Unsubscribe(id_); }

 private:
  std::shared_ptr<FakeDevlink> devlink_;
  uint64_t id_;
};

}  // namespace

absl::StatusOr<std::vector<DevlinkDevice>> FakeDevlinkPort::ListDevices() {
  return devlink_->ListDevices();
}

absl::StatusOr<DevlinkEswitch> FakeDevlinkPort::GetEswitch(const DevlinkHandle& device) {
  return devlink_->GetEswitch(device);
}

absl::Status FakeDevlinkPort::SetEswitch(const DevlinkHandle& device,
                                         const DevlinkEswitch& wanted) {
  return devlink_->SetEswitch(device, wanted);
}

absl::StatusOr<std::vector<DevlinkPortInfo>> FakeDevlinkPort::ListPorts(
    const DevlinkHandle& device) {
  return devlink_->ListPorts(device);
}

absl::StatusOr<DevlinkPortInfo> FakeDevlinkPort::GetPort(const DevlinkHandle& device,
                                                         uint32_t index) {
  return devlink_->GetPort(device, index);
}

absl::Status FakeDevlinkPort::SetPortFunction(const DevlinkHandle& device, uint32_t index,
                                              const DevlinkPortFunction& wanted) {
  return devlink_->SetPortFunction(device, index, wanted);
}

absl::StatusOr<std::vector<DevlinkRate>> FakeDevlinkPort::ListRates(const DevlinkHandle& device) {
  return devlink_->ListRates(device);
}

absl::Status FakeDevlinkPort::SetRate(const DevlinkHandle& device, const DevlinkRateId& id,
                                      const DevlinkRateSettings& wanted) {
  return devlink_->SetRate(device, id, wanted);
}

absl::Status FakeDevlinkPort::AddRateNode(const DevlinkHandle& device, const std::string& name) {
  return devlink_->AddRateNode(device, name);
}

absl::Status FakeDevlinkPort::DeleteRateNode(const DevlinkHandle& device, const std::string& name) {
  return devlink_->DeleteRateNode(device, name);
}

absl::StatusOr<DevlinkInfo> FakeDevlinkPort::GetInfo(const DevlinkHandle& device) {
  return devlink_->GetInfo(device);
}

absl::Status FakeDevlinkPort::Reload(const DevlinkHandle& device) {
  return devlink_->Reload(device);
}

absl::StatusOr<std::unique_ptr<DevlinkPort::Subscription>> FakeDevlinkPort::Subscribe(
    std::function<void(const Event&)> on_event) {
  FAIRLEAD_RETURN_IF_ERROR(devlink_->network().Enter("Subscribe(devlink)"));
  return std::make_unique<FakeSubscription>(devlink_, devlink_->Subscribe(std::move(on_event)));
}

}  // namespace fairlead
