// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the host's one tunnel device, and the next hops of tunnel peers.
//
// Threading: blocks; belongs to the "net" lane. Ownership: borrows the ports.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/model/resource.h"
#include "agent/ports/rtnetlink/rtnetlink_port.h"
#include "agent/ports/tc/tc_port.h"
#include "agent/providers/config.h"

namespace fairlead {

class NetProvider {
 public:
  NetProvider(const ProviderConfig* config, RtnetlinkPort* rtnetlink, TcPort* tc)
      : config_(config), rtnetlink_(rtnetlink), tc_(tc) {}

  absl::StatusOr<std::optional<ObservedResource>> ObserveTunnel();
  // Not to be found is no error, but what is observed.
  absl::StatusOr<UnderlayFacts> ObserveUnderlay();
  absl::StatusOr<ObservedResource> PutTunnel(const TunnelSpec& wanted);
  absl::Status DeleteTunnel(const TunnelSpec& there);

  // Those of `outer` that the kernel keeps resolved for us or an operator made
  // permanent, and entries of ours that belong to none of them.
  absl::StatusOr<std::vector<ObservedResource>> ObserveNeighbours(std::span<const IpAddress> outer);
  // A missing route or an unresolved hop is no error but what is observed.
  absl::StatusOr<ObservedResource> PutNeighbour(const NeighbourSpec& wanted);
  absl::Status DeleteNeighbour(const NeighbourSpec& there);

 private:
  using Hop = std::pair<uint32_t, IpAddress>;  // ifindex, next hop
  absl::StatusOr<Hop> HopOf(const IpAddress& outer);
  // Deletes the entry, unless a peer in use needs it.
  absl::Status Release(const Hop& hop);
  ObservedResource Describe(const IpAddress& outer, const NeighbourInfo* entry,
                            const std::string& detail, NeighbourState state) const;

  const ProviderConfig* config_;
  RtnetlinkPort* rtnetlink_;
  TcPort* tc_;
  std::map<IpAddress, Hop> hops_;  // of the peers in use; many may share a gateway
};

}  // namespace fairlead
