// SPDX-License-Identifier: Apache-2.0
//
// Purpose: TcPort on a FakeNetwork.
// Threading: safe from any thread, unlike the real one; see fake_network.h for
// the thread of callbacks.
// Ownership: shares the network.
#pragma once

#include <memory>

#include "agent/ports/netlink/fake_network.h"
#include "agent/ports/tc/tc_port.h"

namespace fairlead {

class FakeTcPort final : public TcPort {
 public:
  explicit FakeTcPort(std::shared_ptr<FakeNetwork> network) : network_(std::move(network)) {}

  absl::StatusOr<TcQdiscInfo> GetQdisc(uint32_t ifindex) override;
  absl::Status AddClsact(uint32_t ifindex, uint32_t ingress_block) override;
  absl::Status AddMarkedClsact(uint32_t ifindex, const TcFilter& mark) override;
  absl::Status DeleteClsact(uint32_t ifindex) override;
  std::vector<absl::Status> Apply(std::span<const TcChange> changes) override;
  std::vector<absl::StatusOr<TcFilterInfo>> Get(std::span<const TcFilterRef> refs) override;
  absl::StatusOr<std::vector<TcFilterInfo>> Dump(const TcAttachPoint& at,
                                                 TcDumpDetail detail) override;
  absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(
      std::function<void(const Event&)> on_event) override;

 private:
  absl::Status ApplyOne(const TcChange& change);

  std::shared_ptr<FakeNetwork> network_;
};

}  // namespace fairlead
