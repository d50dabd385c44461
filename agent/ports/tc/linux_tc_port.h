// SPDX-License-Identifier: Apache-2.0
//
// Purpose: TcPort on the kernel of the network namespace that the creating
// thread is in. See tc_port.h for threading and errors.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/ports/netlink/socket.h"
#include "agent/ports/tc/tc_port.h"

namespace fairlead {

class LinuxTcPort final : public TcPort {
 public:
  static absl::StatusOr<std::unique_ptr<TcPort>> Create();

  absl::StatusOr<TcQdiscInfo> GetQdisc(uint32_t ifindex) override;
  absl::Status AddClsact(uint32_t ifindex, uint32_t ingress_block) override;
  absl::Status AddMarkedClsact(uint32_t ifindex, const TcFilter& mark) override;
  absl::Status DeleteClsact(uint32_t ifindex) override;
  // The kernel cannot replace a filter by one that looks at other fields (EINVAL
  // without a word); such a one is deleted and made anew.
  std::vector<absl::Status> Apply(std::span<const TcChange> changes) override;
  // The kernel tells each filter back as it stands, in_hw included, in the same call that made it
  // (NLM_F_ECHO); one whose news did not come is read.
  std::vector<absl::StatusOr<TcFilterInfo>> Put(std::span<const TcChange> changes) override;
  std::vector<absl::StatusOr<TcFilterInfo>> Get(std::span<const TcFilterRef> refs) override;
  absl::StatusOr<std::vector<TcFilterInfo>> Dump(const TcAttachPoint& at,
                                                 TcDumpDetail detail) override;
  absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(
      std::function<void(const Event&)> on_event) override;

 private:
  explicit LinuxTcPort(std::unique_ptr<netlink::RequestSocket> socket)
      : socket_(std::move(socket)) {}
  // `seen`: null, or where to keep what is told back of each.
  std::vector<absl::Status> Send(std::span<const TcChange> changes,
                                 std::vector<std::optional<TcFilterInfo>>* seen);
  absl::Status Recreate(const TcChange& change, std::string_view asked,
                        const netlink::Answer& refusal);

  std::unique_ptr<netlink::RequestSocket> socket_;
};

}  // namespace fairlead
