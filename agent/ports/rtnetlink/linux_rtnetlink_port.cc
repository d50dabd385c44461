// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/rtnetlink/linux_rtnetlink_port.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/rtnetlink/rtnetlink_codec.h"

namespace fairlead {
namespace {

using netlink::Answer;
using netlink::Message;

std::string Device(uint32_t ifindex) { return StrCat("network device with ifindex ", ifindex); }

std::string VfOf(uint32_t pf_ifindex, uint16_t vf) {
  return StrCat("VF ", vf, " of ", Device(pf_ifindex));
}

absl::Status CheckIfIndex(uint32_t ifindex) {
  // ifindex is a positive int in the kernel; 0 would name a device by other means.
  if (ifindex != 0 && ifindex <= INT32_MAX) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("ifindex ", ifindex, " is not one of a device"));
}

// Decodes every reply of `type`; those of no interest are left out.
template <typename T, typename Decode>
absl::Status DecodeAll(const Answer& answer, uint16_t type, std::string_view asked, Decode decode,
                       std::vector<T>* out) {
  FAIRLEAD_RETURN_IF_ERROR(answer.ToStatus(asked));
  for (const auto& reply : answer.replies) {
    if (reply.type != type) continue;
    auto decoded = decode(reply.payload);
    if (!decoded.ok()) return Annotate(decoded.status(), asked);
    if (*decoded) out->push_back(**std::move(decoded));
  }
  return absl::OkStatus();
}

// A dump that the kernel says was torn by a change meanwhile is asked for again: on
// a host where links come and go that must not fail what needs it.
constexpr int kDumpTries = 5;

template <typename Make>
Answer Dump(netlink::RequestSocket& socket, const Make& make) {
  for (int tries = 1;; ++tries) {
    Message request = make();
    Answer answer = socket.Transact(request);
    if (!absl::IsUnavailable(answer.transport) || tries == kDumpTries) return answer;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<RtnetlinkPort>> LinuxRtnetlinkPort::Create() {
  FAIRLEAD_ASSIGN_OR_RETURN(auto socket, netlink::RequestSocket::Open());
  return std::unique_ptr<RtnetlinkPort>(new LinuxRtnetlinkPort(std::move(socket)));
}

absl::Status LinuxRtnetlinkPort::Do(Message request, std::string_view asked) {
  return socket_->Transact(request).ToStatus(asked);
}

absl::StatusOr<LinkInfo> LinuxRtnetlinkPort::GetLink(Message request, std::string_view asked) {
  std::vector<LinkInfo> links;
  FAIRLEAD_RETURN_IF_ERROR(
      DecodeAll(socket_->Transact(request), RTM_NEWLINK, asked, netlink::DecodeLink, &links));
  if (links.empty()) {
    return absl::DataLossError(StrCat(asked, ": the kernel answered without the device"));
  }
  return std::move(links.front());
}

absl::StatusOr<LinkInfo> LinuxRtnetlinkPort::GetLink(std::string_view name) {
  FAIRLEAD_RETURN_IF_ERROR(netlink::CheckIfName(name));
  return GetLink(netlink::GetLinkRequest(0, name, false), StrCat("look up network device ", name));
}

absl::StatusOr<LinkInfo> LinuxRtnetlinkPort::GetLink(uint32_t ifindex) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(ifindex));
  return GetLink(netlink::GetLinkRequest(ifindex, {}, false), StrCat("look up ", Device(ifindex)));
}

absl::StatusOr<LinkInfo> LinuxRtnetlinkPort::GetLinkWithVfs(uint32_t ifindex) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(ifindex));
  FAIRLEAD_ASSIGN_OR_RETURN(LinkInfo info, GetLink(netlink::GetLinkRequest(ifindex, {}, true),
                                                   StrCat("look up the VFs of ", Device(ifindex))));
  info.counters.reset();
  return info;
}

absl::StatusOr<std::vector<LinkInfo>> LinuxRtnetlinkPort::ListLinks() {
  std::vector<LinkInfo> links;
  FAIRLEAD_RETURN_IF_ERROR(DecodeAll(Dump(*socket_, netlink::ListLinksRequest), RTM_NEWLINK,
                                     "list network devices", netlink::DecodeLink, &links));
  for (LinkInfo& link : links) link.counters.reset();
  std::sort(links.begin(), links.end(),
            [](const LinkInfo& a, const LinkInfo& b) { return a.ifindex < b.ifindex; });
  return links;
}

absl::Status LinuxRtnetlinkPort::SetLinkUp(uint32_t ifindex, bool up) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(ifindex));
  return Do(netlink::SetFlagRequest(ifindex, IFF_UP, up),
            StrCat("set ", Device(ifindex), up ? " up" : " down"));
}

absl::Status LinuxRtnetlinkPort::SetMtu(uint32_t ifindex, uint32_t mtu) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(ifindex));
  return Do(netlink::SetMtuRequest(ifindex, mtu), StrCat("set MTU ", mtu, " on ", Device(ifindex)));
}

absl::Status LinuxRtnetlinkPort::SetAlias(uint32_t ifindex, std::string_view alias) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(ifindex));
  if (alias.size() > netlink::kMaxIfAlias) {
    return absl::InvalidArgumentError(StrCat("an interface alias has at most ",
                                             netlink::kMaxIfAlias, " bytes, not ", alias.size()));
  }
  return Do(netlink::SetAliasRequest(ifindex, {}, alias),
            StrCat("set the alias of ", Device(ifindex)));
}

absl::Status LinuxRtnetlinkPort::SetAddrGenNone(uint32_t ifindex, bool none) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(ifindex));
  Message request = netlink::SetAddrGenRequest(ifindex, none);
  const Answer answer = socket_->Transact(request);
  // A device without IPv6 (disabled, or an MTU below 1280) makes no address;
  // DecodeLink says so too.
  if (none && answer.error == EAFNOSUPPORT) return absl::OkStatus();
  return answer.ToStatus(StrCat("set the IPv6 address generation of ", Device(ifindex), " to ",
                                none ? "none" : "EUI-64"));
}

absl::Status LinuxRtnetlinkPort::SetVfMac(uint32_t pf_ifindex, uint16_t vf, const MacAddress& mac) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(pf_ifindex));
  return Do(netlink::SetVfMacRequest(pf_ifindex, vf, mac),
            StrCat("set MAC ", mac.ToString(), " on ", VfOf(pf_ifindex, vf)));
}

absl::Status LinuxRtnetlinkPort::SetVfVlan(uint32_t pf_ifindex, uint16_t vf, uint16_t vlan) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(pf_ifindex));
  return Do(netlink::SetVfVlanRequest(pf_ifindex, vf, vlan),
            StrCat("set VLAN ", vlan, " on ", VfOf(pf_ifindex, vf)));
}

absl::Status LinuxRtnetlinkPort::SetVfSpoofCheck(uint32_t pf_ifindex, uint16_t vf, bool on) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(pf_ifindex));
  return Do(netlink::SetVfSpoofCheckRequest(pf_ifindex, vf, on),
            StrCat("switch the spoof check ", on ? "on" : "off", " on ", VfOf(pf_ifindex, vf)));
}

absl::Status LinuxRtnetlinkPort::SetVfTrust(uint32_t pf_ifindex, uint16_t vf, bool on) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(pf_ifindex));
  return Do(netlink::SetVfTrustRequest(pf_ifindex, vf, on),
            StrCat("switch trust ", on ? "on" : "off", " on ", VfOf(pf_ifindex, vf)));
}

absl::Status LinuxRtnetlinkPort::SetVfRate(uint32_t pf_ifindex, uint16_t vf, uint32_t max_tx_mbps,
                                           uint32_t min_tx_mbps) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(pf_ifindex));
  return Do(netlink::SetVfRateRequest(pf_ifindex, vf, max_tx_mbps, min_tx_mbps),
            StrCat("set max_tx_rate ", max_tx_mbps, " and min_tx_rate ", min_tx_mbps,
                   " (Mbit/s) on ", VfOf(pf_ifindex, vf)));
}

absl::Status LinuxRtnetlinkPort::SetVfLinkDisabled(uint32_t pf_ifindex, uint16_t vf,
                                                   bool disabled) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(pf_ifindex));
  return Do(
      netlink::SetVfLinkDisabledRequest(pf_ifindex, vf, disabled),
      StrCat("set the link state ", disabled ? "disable" : "auto", " on ", VfOf(pf_ifindex, vf)));
}

absl::StatusOr<uint32_t> LinuxRtnetlinkPort::CreateTunnel(const TunnelParams& params) {
  FAIRLEAD_RETURN_IF_ERROR(netlink::CheckIfName(params.name));
  if (params.alias.size() > netlink::kMaxIfAlias) {
    return absl::InvalidArgumentError("the alias of the tunnel device is too long");
  }
  const std::string asked = StrCat("create ", Name(params.encapsulation), " device ", params.name);
  // The kernel takes no alias with the creation. Both requests go in one system
  // call, so that no death of the agent leaves a device that nobody owns; the
  // look-up before keeps the second one from marking a device of somebody else.
  if (auto there = GetLink(params.name); there.ok()) {
    return SystemError(EEXIST, asked);
  } else if (ErrnoOf(there.status()) != ENODEV) {
    return Annotate(there.status(), asked);
  }
  std::array<Message, 2> requests{netlink::CreateTunnelRequest(params),
                                  netlink::SetAliasRequest(0, params.name, params.alias)};
  const std::vector<Answer> answers = socket_->Transact(requests);
  FAIRLEAD_RETURN_IF_ERROR(answers[0].ToStatus(asked));
  auto link = GetLink(params.name);
  if (!link.ok()) return Annotate(link.status(), asked);
  if (absl::Status alias = answers[1].ToStatus(asked); !alias.ok()) {
    (void)DeleteLink(link->ifindex);  // the alias's failure is the one to tell
    return alias;
  }
  return link->ifindex;
}

absl::Status LinuxRtnetlinkPort::DeleteLink(uint32_t ifindex) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(ifindex));
  Message request = netlink::DeleteLinkRequest(ifindex);
  const Answer answer = socket_->Transact(request);
  if (answer.error == ENODEV) return absl::OkStatus();
  return answer.ToStatus(StrCat("delete ", Device(ifindex)));
}

absl::StatusOr<RouteInfo> LinuxRtnetlinkPort::GetRoute(const IpAddress& destination) {
  const std::string asked = StrCat("look up the route to ", destination.ToString());
  Message request = netlink::GetRouteRequest(destination);
  std::vector<netlink::DecodedRoute> routes;
  FAIRLEAD_RETURN_IF_ERROR(
      DecodeAll(socket_->Transact(request), RTM_NEWROUTE, asked, netlink::DecodeRoute, &routes));
  if (routes.empty()) {
    return absl::DataLossError(StrCat(asked, ": the kernel answered without a route"));
  }
  switch (routes.front().type) {
    case RTN_UNREACHABLE:
    case RTN_BLACKHOLE:
    case RTN_PROHIBIT:
    case RTN_THROW:
      return SystemError(ENETUNREACH, asked);
    default:
      return routes.front().info;
  }
}

absl::StatusOr<uint32_t> LinuxRtnetlinkPort::LinkOfAddress(const IpAddress& address) {
  const std::string asked = StrCat("look up the device that has ", address.ToString());
  std::vector<netlink::DecodedAddress> addresses;
  FAIRLEAD_RETURN_IF_ERROR(
      DecodeAll(Dump(*socket_, [&] { return netlink::ListAddressesRequest(address.is_v6(), 0); }),
                RTM_NEWADDR, asked, netlink::DecodeAddress, &addresses));
  for (const netlink::DecodedAddress& one : addresses) {
    if (one.address == address) return one.ifindex;
  }
  return absl::NotFoundError(StrCat(asked, ": none has it"));
}

absl::StatusOr<std::vector<uint32_t>> LinuxRtnetlinkPort::DefaultRouteLinks() {
  std::vector<uint32_t> links;
  for (bool ipv6 : {false, true}) {
    std::vector<netlink::DecodedRoute> routes;
    const Answer answer = Dump(*socket_, [&] { return netlink::ListRoutesRequest(ipv6); });
    // A kernel without IPv6 has no such routes.
    if (ipv6 && (answer.error == EOPNOTSUPP || answer.error == EAFNOSUPPORT)) continue;
    FAIRLEAD_RETURN_IF_ERROR(
        DecodeAll(answer, RTM_NEWROUTE, "list routes", netlink::DecodeRoute, &routes));
    for (const auto& route : routes) {
      // In any table: policy routing may send the host's own traffic there.
      if (route.prefix_length != 0 || route.type != RTN_UNICAST) continue;
      links.insert(links.end(), route.links.begin(), route.links.end());
    }
  }
  std::sort(links.begin(), links.end());
  links.erase(std::unique(links.begin(), links.end()), links.end());
  return links;
}

absl::StatusOr<std::vector<IpAddress>> LinuxRtnetlinkPort::LinkAddresses(uint32_t ifindex) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(ifindex));
  const std::string asked = StrCat("list the addresses of ", Device(ifindex));
  std::vector<IpAddress> result;
  for (bool ipv6 : {false, true}) {
    std::vector<netlink::DecodedAddress> addresses;
    const Answer answer =
        Dump(*socket_, [&] { return netlink::ListAddressesRequest(ipv6, ifindex); });
    if (ipv6 && (answer.error == EOPNOTSUPP || answer.error == EAFNOSUPPORT)) continue;
    FAIRLEAD_RETURN_IF_ERROR(
        DecodeAll(answer, RTM_NEWADDR, asked, netlink::DecodeAddress, &addresses));
    // Without strict checking the kernel sends those of all links.
    for (const auto& address : addresses) {
      if (address.ifindex == ifindex) result.push_back(address.address);
    }
  }
  return result;
}

absl::StatusOr<NeighbourInfo> LinuxRtnetlinkPort::GetNeighbour(uint32_t ifindex,
                                                               const IpAddress& address) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(ifindex));
  const std::string asked =
      StrCat("look up neighbour ", address.ToString(), " on ", Device(ifindex));
  Message request = netlink::GetNeighbourRequest(ifindex, address);
  std::vector<netlink::DecodedNeighbour> entries;
  FAIRLEAD_RETURN_IF_ERROR(DecodeAll(socket_->Transact(request), RTM_NEWNEIGH, asked,
                                     netlink::DecodeNeighbour, &entries));
  if (entries.empty()) {
    return absl::DataLossError(StrCat(asked, ": the kernel answered without the entry"));
  }
  return std::move(entries.front().info);
}

absl::Status LinuxRtnetlinkPort::ManageNeighbour(uint32_t ifindex, const IpAddress& address) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(ifindex));
  // Managing a permanent entry would take away its permanence, and our mark on one
  // that somebody else keeps would have us delete it some day: both are kept valid
  // without us.
  if (auto there = GetNeighbour(ifindex, address); there.ok() && there->kept_by_others()) {
    return absl::OkStatus();
  }
  return Do(netlink::ManageNeighbourRequest(ifindex, address),
            StrCat("keep neighbour ", address.ToString(), " on ", Device(ifindex), " resolved"));
}

absl::Status LinuxRtnetlinkPort::DeleteNeighbour(uint32_t ifindex, const IpAddress& address) {
  const absl::StatusOr<NeighbourInfo> there = GetNeighbour(ifindex, address);
  if (absl::IsNotFound(there.status())) return absl::OkStatus();
  if (!there.ok()) return there.status();
  if (!there->ours()) return absl::OkStatus();
  Message request = netlink::DeleteNeighbourRequest(ifindex, address);
  const Answer answer = socket_->Transact(request);
  if (answer.error == ENOENT || answer.error == ENODEV) return absl::OkStatus();
  return answer.ToStatus(StrCat("delete neighbour ", address.ToString(), " on ", Device(ifindex)));
}

absl::StatusOr<std::vector<NeighbourInfo>> LinuxRtnetlinkPort::ListOwnNeighbours() {
  std::vector<netlink::DecodedNeighbour> entries;
  FAIRLEAD_RETURN_IF_ERROR(DecodeAll(Dump(*socket_, netlink::ListNeighboursRequest), RTM_NEWNEIGH,
                                     "list neighbours", netlink::DecodeNeighbour, &entries));
  std::vector<NeighbourInfo> own;
  for (auto& entry : entries) {
    if (entry.info.ours()) own.push_back(std::move(entry.info));
  }
  return own;
}

absl::StatusOr<std::unique_ptr<RtnetlinkPort::Subscription>> LinuxRtnetlinkPort::Subscribe(
    std::function<void(const RtnetlinkEvent&)> on_event) {
  static constexpr int kGroups[] = {RTNLGRP_LINK,        RTNLGRP_NEIGH,      RTNLGRP_IPV4_IFADDR,
                                    RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};
  auto lost = [on_event] { on_event(RtnetlinkEvent{}); };
  auto message = [on_event](const netlink::MessageView& view) {
    auto event = netlink::DecodeEvent(view);
    if (!event.ok()) return on_event(RtnetlinkEvent{});
    if (*event) on_event(**event);
  };
  FAIRLEAD_ASSIGN_OR_RETURN(auto listener,
                            netlink::Listener::Start(kGroups, std::move(message), std::move(lost)));
  return std::make_unique<netlink::ListenerSubscription<Subscription>>(std::move(listener));
}

}  // namespace fairlead
