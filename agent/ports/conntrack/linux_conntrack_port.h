// SPDX-License-Identifier: Apache-2.0
//
// Purpose: ConntrackPort on the kernel of the network namespace that the creating thread is in. See
// conntrack_port.h for threading and errors. Needs the module nf_conntrack_netlink, which the
// kernel loads by itself, and CAP_NET_ADMIN.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/ports/conntrack/conntrack_port.h"
#include "agent/ports/netlink/socket.h"

namespace fairlead {

class LinuxConntrackPort final : public ConntrackPort {
 public:
  static absl::StatusOr<std::unique_ptr<ConntrackPort>> Create();

  absl::StatusOr<std::vector<Connection>> Dump(uint16_t zone) override;
  absl::StatusOr<std::optional<Connection>> Find(uint16_t zone,
                                                 const ConnectionTuple& tuple) override;
  std::vector<absl::Status> Delete(std::span<const Connection> connections) override;

 private:
  explicit LinuxConntrackPort(std::unique_ptr<netlink::RequestSocket> socket)
      : socket_(std::move(socket)) {}

  std::unique_ptr<netlink::RequestSocket> socket_;
};

}  // namespace fairlead
