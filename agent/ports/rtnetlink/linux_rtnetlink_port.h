// SPDX-License-Identifier: Apache-2.0
//
// Purpose: RtnetlinkPort on the kernel of the network namespace that the
// creating thread is in. See rtnetlink_port.h for threading and errors.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "agent/ports/netlink/socket.h"
#include "agent/ports/rtnetlink/rtnetlink_port.h"

namespace fairlead {

class LinuxRtnetlinkPort final : public RtnetlinkPort {
 public:
  static absl::StatusOr<std::unique_ptr<RtnetlinkPort>> Create();

  absl::StatusOr<LinkInfo> GetLink(std::string_view name) override;
  absl::StatusOr<LinkInfo> GetLink(uint32_t ifindex) override;
  absl::StatusOr<LinkInfo> GetLinkWithVfs(uint32_t ifindex) override;
  absl::StatusOr<std::vector<LinkInfo>> ListLinks() override;
  absl::Status SetLinkUp(uint32_t ifindex, bool up) override;
  absl::Status SetMtu(uint32_t ifindex, uint32_t mtu) override;
  absl::Status SetAlias(uint32_t ifindex, std::string_view alias) override;
  absl::Status SetAddrGenNone(uint32_t ifindex, bool none) override;
  absl::Status SetVfMac(uint32_t pf_ifindex, uint16_t vf, const MacAddress& mac) override;
  absl::Status SetVfVlan(uint32_t pf_ifindex, uint16_t vf, uint16_t vlan) override;
  absl::Status SetVfSpoofCheck(uint32_t pf_ifindex, uint16_t vf, bool on) override;
  absl::Status SetVfTrust(uint32_t pf_ifindex, uint16_t vf, bool on) override;
  absl::Status SetVfRate(uint32_t pf_ifindex, uint16_t vf, uint32_t max_tx_mbps,
                         uint32_t min_tx_mbps) override;
  absl::Status SetVfLinkDisabled(uint32_t pf_ifindex, uint16_t vf, bool disabled) override;
  absl::StatusOr<uint32_t> CreateTunnel(const TunnelParams& params) override;
  absl::Status DeleteLink(uint32_t ifindex) override;
  absl::StatusOr<RouteInfo> GetRoute(const IpAddress& destination) override;
  absl::StatusOr<uint32_t> LinkOfAddress(const IpAddress& address) override;
  absl::StatusOr<std::vector<uint32_t>> DefaultRouteLinks() override;
  absl::StatusOr<std::vector<IpAddress>> LinkAddresses(uint32_t ifindex) override;
  absl::StatusOr<NeighbourInfo> GetNeighbour(uint32_t ifindex, const IpAddress& address) override;
  absl::Status ManageNeighbour(uint32_t ifindex, const IpAddress& address) override;
  absl::Status DeleteNeighbour(uint32_t ifindex, const IpAddress& address) override;
  absl::StatusOr<std::vector<NeighbourInfo>> ListOwnNeighbours() override;
  absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(
      std::function<void(const RtnetlinkEvent&)> on_event) override;

 private:
  explicit LinuxRtnetlinkPort(std::unique_ptr<netlink::RequestSocket> socket)
      : socket_(std::move(socket)) {}
  absl::StatusOr<LinkInfo> GetLink(netlink::Message request, std::string_view asked);
  absl::Status Do(netlink::Message request, std::string_view asked);

  std::unique_ptr<netlink::RequestSocket> socket_;
};

}  // namespace fairlead
