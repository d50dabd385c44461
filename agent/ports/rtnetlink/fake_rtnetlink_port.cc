// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"

#include <errno.h>

#include <algorithm>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/rtnetlink/rtnetlink_codec.h"

namespace fairlead {
namespace {

using State = FakeNetwork::State;
using Kind = RtnetlinkEvent::Kind;

std::string Call(std::string_view method, uint32_t ifindex, std::string_view rest = {}) {
  return StrCat(method, "(", ifindex, rest.empty() ? "" : ", ", rest, ")");
}

// GetLink answers without VFs, as the kernel does unless asked.
LinkInfo WithoutVfs(LinkInfo info) {
  info.vfs.reset();
  return info;
}

class FakeSubscription final : public RtnetlinkPort::Subscription {
 public:
  FakeSubscription(std::shared_ptr<FakeNetwork> network, uint64_t id)
      : network_(std::move(network)), id_(id) {}
  ~FakeSubscription() override { network_->Unsubscribe(id_); }

 private:
  std::shared_ptr<FakeNetwork> network_;
  uint64_t id_;
};

}  // namespace

absl::StatusOr<LinkInfo> FakeRtnetlinkPort::GetLink(std::string_view name) {
  FAIRLEAD_RETURN_IF_ERROR(netlink::CheckIfName(name));
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(StrCat("GetLink(", name, ")")));
  return network_->With([&](State& state) -> absl::StatusOr<LinkInfo> {
    const auto* link = state.FindLink(name);
    if (link == nullptr) return SystemError(ENODEV, StrCat("look up network device ", name));
    return WithoutVfs(link->info);
  });
}

absl::StatusOr<LinkInfo> FakeRtnetlinkPort::GetLink(uint32_t ifindex) {
  FAIRLEAD_ASSIGN_OR_RETURN(LinkInfo info, Look("GetLink", ifindex));
  return WithoutVfs(std::move(info));
}

absl::StatusOr<LinkInfo> FakeRtnetlinkPort::GetLinkWithVfs(uint32_t ifindex) {
  FAIRLEAD_ASSIGN_OR_RETURN(LinkInfo info, Look("GetLinkWithVfs", ifindex));
  info.counters.reset();
  return info;
}

absl::StatusOr<LinkInfo> FakeRtnetlinkPort::Look(std::string_view method, uint32_t ifindex) {
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(Call(method, ifindex)));
  return network_->With([&](State& state) -> absl::StatusOr<LinkInfo> {
    const auto* link = state.FindLink(ifindex);
    if (link == nullptr) {
      return SystemError(ENODEV, StrCat("look up network device with ifindex ", ifindex));
    }
    return link->info;
  });
}

absl::StatusOr<std::vector<LinkInfo>> FakeRtnetlinkPort::ListLinks() {
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter("ListLinks()"));
  return network_->With([](State& state) {
    std::vector<LinkInfo> links;
    for (const auto& [ifindex, link] : state.links) {
      links.push_back(WithoutVfs(link.info));
      links.back().counters.reset();
    }
    return links;
  });
}

absl::Status FakeRtnetlinkPort::Change(const std::string& call, uint32_t ifindex,
                                       const std::function<absl::Status(LinkInfo&)>& change) {
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return network_->With([&](State& state) -> absl::Status {
    auto* link = state.FindLink(ifindex);
    if (link == nullptr) return SystemError(ENODEV, call);
    const LinkInfo before = link->info;
    FAIRLEAD_RETURN_IF_ERROR(change(link->info));
    if (link->info != before) state.LinkEvent(Kind::kLinkChanged, *link);
    return absl::OkStatus();
  });
}

absl::Status FakeRtnetlinkPort::SetLinkUp(uint32_t ifindex, bool up) {
  return Change(Call("SetLinkUp", ifindex, up ? "up" : "down"), ifindex, [&](LinkInfo& info) {
    info.up = up;
    info.carrier = up;
    return absl::OkStatus();
  });
}

absl::Status FakeRtnetlinkPort::SetMtu(uint32_t ifindex, uint32_t mtu) {
  const std::string call = Call("SetMtu", ifindex, StrCat(mtu));
  return Change(call, ifindex, [&](LinkInfo& info) -> absl::Status {
    // ETH_MIN_MTU and ETH_MAX_MTU (uapi/linux/if_ether.h).
    if (mtu < 68) return SystemError(EINVAL, call, "mtu less than device minimum");
    if (mtu > 65535) return SystemError(EINVAL, call, "mtu greater than device maximum");
    info.mtu = mtu;
    return absl::OkStatus();
  });
}

absl::Status FakeRtnetlinkPort::SetAlias(uint32_t ifindex, std::string_view alias) {
  if (alias.size() > netlink::kMaxIfAlias) {
    return absl::InvalidArgumentError("an interface alias has at most 255 bytes");
  }
  return Change(Call("SetAlias", ifindex, alias), ifindex, [&](LinkInfo& info) {
    info.alias = alias;
    return absl::OkStatus();
  });
}

absl::Status FakeRtnetlinkPort::SetAddrGenNone(uint32_t ifindex, bool none) {
  return Change(Call("SetAddrGenNone", ifindex, none ? "none" : "eui64"), ifindex,
                [&](LinkInfo& info) {
                  info.addr_gen_none = none;
                  return absl::OkStatus();
                });
}

absl::Status FakeRtnetlinkPort::ChangeVf(
    std::string_view method, uint32_t pf_ifindex, uint16_t vf, std::string_view value,
    bool FakeVfDriver::*takes,
    const std::function<bool(const FakeNetwork::Link& pf, VfInfo& info)>& change) {
  const std::string call = Call(method, pf_ifindex, StrCat(vf, ", ", value));
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return network_->With([&](State& state) -> absl::Status {
    auto* link = state.FindLink(pf_ifindex);
    if (link == nullptr) return SystemError(ENODEV, call);
    if (!link->info.vfs || !(link->vf_driver.*takes)) return SystemError(EOPNOTSUPP, call);
    auto it = std::find_if(link->info.vfs->begin(), link->info.vfs->end(),
                           [&](const VfInfo& v) { return v.index == vf; });
    if (it == link->info.vfs->end()) return SystemError(EINVAL, call);
    VfInfo changed = *it;
    if (!change(*link, changed)) return SystemError(EINVAL, call);
    if (link->vf_driver.spoof_check_needs_mac && changed.spoof_check == true &&
        changed.mac.IsZero()) {
      return SystemError(EPERM, call);
    }
    if (changed == *it) return absl::OkStatus();
    *it = changed;
    state.LinkEvent(Kind::kLinkChanged, *link);
    return absl::OkStatus();
  });
}

absl::Status FakeRtnetlinkPort::SetVfMac(uint32_t pf_ifindex, uint16_t vf, const MacAddress& mac) {
  return ChangeVf("SetVfMac", pf_ifindex, vf, mac.ToString(), &FakeVfDriver::mac,
                  [&](const FakeNetwork::Link&, VfInfo& info) {
                    info.mac = mac;
                    return !mac.IsMulticast();
                  });
}

absl::Status FakeRtnetlinkPort::SetVfVlan(uint32_t pf_ifindex, uint16_t vf, uint16_t vlan) {
  return ChangeVf("SetVfVlan", pf_ifindex, vf, StrCat(vlan), &FakeVfDriver::vlan,
                  [&](const FakeNetwork::Link&, VfInfo& info) {
                    if (vlan > 4095) return false;
                    info.vlan = vlan;
                    return true;
                  });
}

absl::Status FakeRtnetlinkPort::SetVfSpoofCheck(uint32_t pf_ifindex, uint16_t vf, bool on) {
  return ChangeVf("SetVfSpoofCheck", pf_ifindex, vf, on ? "on" : "off", &FakeVfDriver::spoof_check,
                  [&](const FakeNetwork::Link&, VfInfo& info) {
                    info.spoof_check = on;
                    return true;
                  });
}

absl::Status FakeRtnetlinkPort::SetVfTrust(uint32_t pf_ifindex, uint16_t vf, bool on) {
  return ChangeVf("SetVfTrust", pf_ifindex, vf, on ? "on" : "off", &FakeVfDriver::trust,
                  [&](const FakeNetwork::Link& pf, VfInfo& info) {
                    if (on || !pf.vf_driver.keeps_trust) info.trust = on;
                    return true;
                  });
}

absl::Status FakeRtnetlinkPort::SetVfRate(uint32_t pf_ifindex, uint16_t vf, uint32_t max_tx_mbps,
                                          uint32_t min_tx_mbps) {
  return ChangeVf(
      "SetVfRate", pf_ifindex, vf, StrCat(max_tx_mbps, ", ", min_tx_mbps), &FakeVfDriver::rate,
      [&](const FakeNetwork::Link& pf, VfInfo& info) {
        // rtnl_set_vf_rate (net/core/rtnetlink.c), then the driver.
        if (max_tx_mbps != 0 && min_tx_mbps > max_tx_mbps) return false;
        const FakeVfDriver& driver = pf.vf_driver;
        if (min_tx_mbps != 0 && !driver.min_rate) return false;
        if (driver.link_mbps != 0 && (!pf.info.carrier || max_tx_mbps > driver.link_mbps)) {
          return false;
        }
        info.max_tx_mbps = max_tx_mbps;
        info.min_tx_mbps = min_tx_mbps;
        return true;
      });
}

absl::Status FakeRtnetlinkPort::SetVfLinkDisabled(uint32_t pf_ifindex, uint16_t vf, bool disabled) {
  return ChangeVf("SetVfLinkDisabled", pf_ifindex, vf, disabled ? "yes" : "no",
                  &FakeVfDriver::link_state, [&](const FakeNetwork::Link&, VfInfo& info) {
                    info.link_disabled = disabled;
                    return true;
                  });
}

absl::StatusOr<uint32_t> FakeRtnetlinkPort::CreateTunnel(const TunnelParams& params) {
  FAIRLEAD_RETURN_IF_ERROR(netlink::CheckIfName(params.name));
  const std::string call = StrCat("CreateTunnel(", params.name, ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return network_->With([&](State& state) -> absl::StatusOr<uint32_t> {
    if (state.FindLink(params.name) != nullptr) return SystemError(EEXIST, call);
    for (const auto& [ifindex, link] : state.links) {
      if (!link.info.tunnel_collect_md || link.info.tunnel_port != params.udp_port) continue;
      if (link.info.kind != Name(params.encapsulation)) continue;
      if (params.encapsulation == Encapsulation::kVxlan) {
        return SystemError(EEXIST, call, "A VXLAN device with the specified VNI already exists");
      }
      return SystemError(EBUSY, call);  // geneve_configure, drivers/net/geneve.c
    }
    const uint32_t ifindex = state.NextIfIndex();
    auto& link = state.links[ifindex];
    link.info.name = params.name;
    link.info.ifindex = ifindex;
    link.info.mtu = 1450;
    link.info.mac = MacAddress({0x02, 0xfa, 0x1e, 0xad, 0x00, static_cast<uint8_t>(ifindex)});
    link.info.alias = params.alias;
    link.info.kind = Name(params.encapsulation);
    link.info.tunnel_collect_md = true;
    link.info.tunnel_port = params.udp_port;
    state.LinkEvent(Kind::kLinkChanged, link);
    return ifindex;
  });
}

absl::Status FakeRtnetlinkPort::DeleteLink(uint32_t ifindex) {
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(Call("DeleteLink", ifindex)));
  return network_->With([&](State& state) -> absl::Status {
    const auto* link = state.FindLink(ifindex);
    if (link == nullptr) return absl::OkStatus();
    // Only links of a software kind can be deleted.
    if (link->info.kind.empty()) return SystemError(EOPNOTSUPP, Call("DeleteLink", ifindex));
    state.EraseLink(ifindex);
    return absl::OkStatus();
  });
}

absl::StatusOr<RouteInfo> FakeRtnetlinkPort::GetRoute(const IpAddress& destination) {
  const std::string call = StrCat("GetRoute(", destination.ToString(), ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return network_->With([&](State& state) -> absl::StatusOr<RouteInfo> {
    for (const auto& [ifindex, link] : state.links) {
      for (const IpAddress& own : link.addresses) {
        if (own == destination) {
          // The kernel answers with the loopback device.
          return RouteInfo{.ifindex = 1, .gateway = {}, .source = own, .local = true};
        }
      }
    }
    const std::pair<IpPrefix, RouteInfo>* best = nullptr;
    for (const auto& route : state.routes) {
      const auto* link = state.FindLink(route.second.ifindex);
      if (!route.first.Contains(destination) || link == nullptr || !link->info.up) continue;
      if (best == nullptr || route.first.length() > best->first.length()) best = &route;
    }
    if (best == nullptr) return SystemError(ENETUNREACH, call);
    return best->second;
  });
}

absl::StatusOr<uint32_t> FakeRtnetlinkPort::LinkOfAddress(const IpAddress& address) {
  const std::string call = StrCat("LinkOfAddress(", address.ToString(), ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return network_->With([&](State& state) -> absl::StatusOr<uint32_t> {
    for (const auto& [ifindex, link] : state.links) {
      const auto& own = link.addresses;
      if (std::find(own.begin(), own.end(), address) != own.end()) return ifindex;
    }
    return absl::NotFoundError(StrCat(call, ": none has it"));
  });
}

absl::StatusOr<std::vector<uint32_t>> FakeRtnetlinkPort::DefaultRouteLinks() {
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter("DefaultRouteLinks()"));
  return network_->With([](State& state) {
    std::vector<uint32_t> links;
    for (const auto& [prefix, route] : state.routes) {
      if (prefix.length() == 0 && route.ifindex != 0) links.push_back(route.ifindex);
    }
    std::sort(links.begin(), links.end());
    links.erase(std::unique(links.begin(), links.end()), links.end());
    return links;
  });
}

absl::StatusOr<std::vector<IpAddress>> FakeRtnetlinkPort::LinkAddresses(uint32_t ifindex) {
  const std::string call = Call("LinkAddresses", ifindex);
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return network_->With([&](State& state) -> absl::StatusOr<std::vector<IpAddress>> {
    const auto* link = state.FindLink(ifindex);
    if (link == nullptr) return SystemError(ENODEV, call);
    return link->addresses;
  });
}

absl::StatusOr<NeighbourInfo> FakeRtnetlinkPort::GetNeighbour(uint32_t ifindex,
                                                              const IpAddress& address) {
  const std::string call = Call("GetNeighbour", ifindex, address.ToString());
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return network_->With([&](State& state) -> absl::StatusOr<NeighbourInfo> {
    auto it = state.neighbours.find({ifindex, address});
    if (it == state.neighbours.end()) return SystemError(ENOENT, call);
    return it->second;
  });
}

absl::Status FakeRtnetlinkPort::ManageNeighbour(uint32_t ifindex, const IpAddress& address) {
  const std::string call = Call("ManageNeighbour", ifindex, address.ToString());
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return network_->With([&](State& state) -> absl::Status {
    if (state.FindLink(ifindex) == nullptr) return SystemError(ENODEV, call);
    auto [it, created] = state.neighbours.try_emplace({ifindex, address});
    NeighbourInfo& entry = it->second;
    if (!created && entry.permanent()) return absl::OkStatus();
    entry.ifindex = ifindex;
    entry.address = address;
    entry.managed = true;
    entry.protocol = kFairleadProtocol;
    if (created || entry.state != NudState::kValid) state.Resolve(&entry);
    return absl::OkStatus();
  });
}

absl::Status FakeRtnetlinkPort::DeleteNeighbour(uint32_t ifindex, const IpAddress& address) {
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(Call("DeleteNeighbour", ifindex, address.ToString())));
  network_->With([&](State& state) {
    const auto it = state.neighbours.find({ifindex, address});
    if (it == state.neighbours.end() || !it->second.ours()) return;
    state.neighbours.erase(it);
    state.link_events.push_back(
        {.kind = Kind::kNeighbourChanged, .ifindex = ifindex, .name = {}, .neighbour = address});
  });
  return absl::OkStatus();
}

absl::StatusOr<std::vector<NeighbourInfo>> FakeRtnetlinkPort::ListOwnNeighbours() {
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter("ListOwnNeighbours()"));
  return network_->With([](State& state) {
    std::vector<NeighbourInfo> own;
    for (const auto& [key, entry] : state.neighbours) {
      if (entry.ours()) own.push_back(entry);
    }
    return own;
  });
}

absl::StatusOr<std::unique_ptr<RtnetlinkPort::Subscription>> FakeRtnetlinkPort::Subscribe(
    std::function<void(const RtnetlinkEvent&)> on_event) {
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter("Subscribe(links)"));
  return std::make_unique<FakeSubscription>(network_,
                                            network_->Subscribe(std::move(on_event), nullptr));
}

}  // namespace fairlead
