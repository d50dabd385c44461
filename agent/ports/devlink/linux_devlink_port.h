// SPDX-License-Identifier: Apache-2.0
//
// Purpose: DevlinkPort on the kernel of the network namespace that the creating
// thread is in. See devlink_port.h for threading and errors.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/ports/devlink/devlink_codec.h"
#include "agent/ports/devlink/devlink_port.h"
#include "agent/ports/netlink/generic.h"
#include "agent/ports/netlink/socket.h"

namespace fairlead {

class LinuxDevlinkPort final : public DevlinkPort {
 public:
  // Works on a kernel without devlink too; then every call is kUnimplemented.
  static absl::StatusOr<std::unique_ptr<DevlinkPort>> Create();

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
  explicit LinuxDevlinkPort(std::unique_ptr<netlink::RequestSocket> socket)
      : socket_(std::move(socket)) {}
  // A dump of one device's things.
  template <typename T>
  absl::StatusOr<std::vector<T>> List(netlink::Message request, const DevlinkHandle& device,
                                      const std::string& asked,
                                      absl::StatusOr<T> (*decode)(netlink::Bytes));
  // Asks the kernel once; a failure is asked again.
  absl::StatusOr<netlink::GenericFamily> Family();

  std::unique_ptr<netlink::RequestSocket> socket_;
  std::optional<netlink::GenericFamily> family_;
};

}  // namespace fairlead
