// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/netlink/fake_network.h"

#include <algorithm>

namespace fairlead {

FakeNetwork::FakeNetwork() {
  LinkInfo lo;
  lo.name = "lo";
  lo.ifindex = 1;
  lo.mtu = 65536;
  lo.loopback = true;
  lo.up = true;
  lo.carrier = true;
  state_.links[1].info = lo;
}

FakeNetwork::Link* FakeNetwork::State::FindLink(uint32_t ifindex) {
  auto it = links.find(ifindex);
  return it == links.end() ? nullptr : &it->second;
}

FakeNetwork::Link* FakeNetwork::State::FindLink(std::string_view name) {
  const auto was = last_of_name.find(name);
  Link* link = was == last_of_name.end() ? nullptr : FindLink(was->second);
  if (link != nullptr && link->info.name == name) return link;
  for (auto& [ifindex, other] : links) {
    if (other.info.name != name) continue;
    last_of_name.insert_or_assign(std::string(name), ifindex);
    return &other;
  }
  return nullptr;
}

uint32_t FakeNetwork::State::NextIfIndex() const {
  return links.empty() ? 1 : links.rbegin()->first + 1;
}

void FakeNetwork::State::LinkEvent(RtnetlinkEvent::Kind kind, const Link& link) {
  link_events.push_back(
      {.kind = kind, .ifindex = link.info.ifindex, .name = link.info.name, .neighbour = {}});
}

void FakeNetwork::State::EraseClsact(Link* link) {
  if (!link->clsact) return;
  const uint32_t block = std::exchange(link->ingress_block, 0);
  link->clsact = false;
  link->filters.clear();
  link->egress_filters.clear();
  tc_events.push_back({.lost = false,
                       .deleted = true,
                       .at = {.block = 0, .ifindex = link->info.ifindex},
                       .id = {},
                       .cookie = {}});
  // A shared block dies with its last user and takes its filters along.
  const bool used = std::any_of(links.begin(), links.end(),
                                [&](const auto& l) { return l.second.ingress_block == block; });
  if (block != 0 && !used) blocks.erase(block);
}

void FakeNetwork::State::EraseLink(uint32_t ifindex) {
  Link* link = FindLink(ifindex);
  if (link == nullptr) return;
  EraseClsact(link);
  std::erase_if(neighbours, [&](const auto& n) { return n.first.first == ifindex; });
  std::erase_if(routes, [&](const auto& r) { return r.second.ifindex == ifindex; });
  LinkEvent(RtnetlinkEvent::Kind::kLinkGone, *link);
  links.erase(ifindex);
}

void FakeNetwork::State::Resolve(NeighbourInfo* entry) {
  if (entry->state_name == "PERMANENT" || entry->state_name == "NOARP") return;
  if (auto it = stations.find(entry->address); it != stations.end()) {
    entry->mac = it->second;
    entry->state = NudState::kValid;
    entry->state_name = "REACHABLE";
  } else if (std::any_of(station_networks.begin(), station_networks.end(),
                         [&](const IpPrefix& net) { return net.Contains(entry->address); })) {
    const auto bytes = entry->address.bytes().last<4>();
    entry->mac = MacAddress({0x02, 0x5a, bytes[0], bytes[1], bytes[2], bytes[3]});
    entry->state = NudState::kValid;
    entry->state_name = "REACHABLE";
  } else {
    entry->mac.reset();
    entry->state = NudState::kFailed;
    entry->state_name = "FAILED";
  }
  link_events.push_back({.kind = RtnetlinkEvent::Kind::kNeighbourChanged,
                         .ifindex = entry->ifindex,
                         .name = {},
                         .neighbour = entry->address});
}

uint32_t FakeNetwork::AddLink(LinkInfo info) {
  return With([&](State& state) {
    if (info.ifindex == 0) info.ifindex = state.NextIfIndex();
    info.ingress_block = 0;
    if (!info.counters) info.counters.emplace();  // every device counts
    Link& link = state.links[info.ifindex];
    link.info = std::move(info);
    state.LinkEvent(RtnetlinkEvent::Kind::kLinkChanged, link);
    return link.info.ifindex;
  });
}

void FakeNetwork::RemoveLink(uint32_t ifindex) {
  With([&](State& state) { state.EraseLink(ifindex); });
}

void FakeNetwork::ChangeLink(uint32_t ifindex, const std::function<void(LinkInfo&)>& change) {
  With([&](State& state) {
    Link* link = state.FindLink(ifindex);
    if (link == nullptr) return;
    change(link->info);
    link->info.ifindex = ifindex;
    state.LinkEvent(RtnetlinkEvent::Kind::kLinkChanged, *link);
  });
}

void FakeNetwork::SetOffloadCapable(uint32_t ifindex, bool capable) {
  With([&](State& state) {
    if (Link* link = state.FindLink(ifindex)) link->offload_capable = capable;
  });
}

void FakeNetwork::SetVfDriver(uint32_t pf_ifindex, const FakeVfDriver& driver) {
  With([&](State& state) {
    if (Link* link = state.FindLink(pf_ifindex)) link->vf_driver = driver;
  });
}

void FakeNetwork::AddAddress(uint32_t ifindex, const IpAddress& address, const IpPrefix& network) {
  With([&](State& state) {
    Link* link = state.FindLink(ifindex);
    if (link == nullptr) return;
    link->addresses.push_back(address);
    state.routes.emplace_back(
        network, RouteInfo{.ifindex = ifindex, .gateway = {}, .source = address, .local = false});
    state.link_events.push_back({.kind = RtnetlinkEvent::Kind::kAddressOrRouteChanged,
                                 .ifindex = ifindex,
                                 .name = {},
                                 .neighbour = {}});
  });
}

void FakeNetwork::RemoveAddress(uint32_t ifindex, const IpAddress& address) {
  With([&](State& state) {
    Link* link = state.FindLink(ifindex);
    if (link == nullptr) return;
    std::erase(link->addresses, address);
    std::erase_if(state.routes, [&](const auto& route) {
      return route.second.ifindex == ifindex && route.second.source == address;
    });
    state.link_events.push_back({.kind = RtnetlinkEvent::Kind::kAddressOrRouteChanged,
                                 .ifindex = ifindex,
                                 .name = {},
                                 .neighbour = {}});
  });
}

void FakeNetwork::AddRoute(const IpPrefix& destination, const RouteInfo& route) {
  With([&](State& state) {
    state.routes.emplace_back(destination, route);
    state.link_events.push_back({.kind = RtnetlinkEvent::Kind::kAddressOrRouteChanged,
                                 .ifindex = route.ifindex,
                                 .name = {},
                                 .neighbour = {}});
  });
}

void FakeNetwork::RemoveRoute(const IpPrefix& destination) {
  With([&](State& state) {
    std::erase_if(state.routes, [&](const auto& r) { return r.first == destination; });
    state.link_events.push_back({.kind = RtnetlinkEvent::Kind::kAddressOrRouteChanged,
                                 .ifindex = 0,
                                 .name = {},
                                 .neighbour = {}});
  });
}

void FakeNetwork::SetStation(const IpAddress& address, std::optional<MacAddress> mac) {
  With([&](State& state) {
    if (mac) {
      state.stations[address] = *mac;
    } else {
      state.stations.erase(address);
    }
    for (auto& [key, entry] : state.neighbours) {
      if (key.second == address) state.Resolve(&entry);
    }
  });
}

void FakeNetwork::AddStations(const IpPrefix& network) {
  With([&](State& state) {
    state.station_networks.push_back(network);
    for (auto& [key, entry] : state.neighbours) {
      if (network.Contains(key.second)) state.Resolve(&entry);
    }
  });
}

void FakeNetwork::SetNeighbour(const NeighbourInfo& entry) {
  With([&](State& state) {
    state.neighbours[{entry.ifindex, entry.address}] = entry;
    state.link_events.push_back({.kind = RtnetlinkEvent::Kind::kNeighbourChanged,
                                 .ifindex = entry.ifindex,
                                 .name = {},
                                 .neighbour = entry.address});
  });
}

void FakeNetwork::AddForeignIngress(uint32_t ifindex) {
  With([&](State& state) {
    Link* link = state.FindLink(ifindex);
    if (link != nullptr && !link->clsact) link->foreign_ingress = true;
  });
}

void FakeNetwork::AddForeignFilter(const TcAttachPoint& at, const TcFilterInfo& info) {
  With([&](State& state) {
    FilterTable* table = nullptr;
    if (at.block != 0) {
      if (auto it = state.blocks.find(at.block); it != state.blocks.end()) table = &it->second;
    } else if (Link* link = state.FindLink(at.ifindex); link != nullptr && link->clsact) {
      if (at.egress) {
        link->egress_filters.push_back(info);
        return;
      }
      table = &link->filters;
    }
    if (table == nullptr) return;
    (*table)[info.id] = Filter{.info = info, .filter = {}};
    state.tc_events.push_back(
        {.lost = false, .deleted = false, .at = at, .id = info.id, .cookie = info.cookie});
  });
}

void FakeNetwork::LoseLinkEvents() {
  With([](State& state) { state.link_events.push_back({}); });
}

void FakeNetwork::LoseRuleEvents() {
  With([](State& state) {
    state.tc_events.push_back({.lost = true, .deleted = false, .at = {}, .id = {}, .cookie = {}});
  });
}

void FakeNetwork::SetMaxFilters(size_t most) {
  With([&](State& state) { state.max_filters = most; });
}

void FakeNetwork::FailNext(std::string method, absl::Status status, int times) {
  FailWhen([prefix = std::move(method) + "("](
               std::string_view call) { return call.substr(0, prefix.size()) == prefix; },
           std::move(status), times);
}

void FakeNetwork::ClearFaults() {
  const std::lock_guard lock(mutex_);
  faults_.clear();
}

void FakeNetwork::FailWhen(CallPredicate predicate, absl::Status status, int times) {
  std::lock_guard<std::mutex> lock(mutex_);
  faults_.push_back({std::move(predicate), std::move(status), times});
}

void FakeNetwork::SetHook(std::function<void(std::string_view)> hook) {
  std::lock_guard<std::mutex> lock(mutex_);
  hook_ = std::move(hook);
}

std::vector<std::string> FakeNetwork::Calls() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return calls_;
}

void FakeNetwork::ClearCalls() {
  std::lock_guard<std::mutex> lock(mutex_);
  calls_.clear();
}

void FakeNetwork::KeepCalls(bool keep) {
  std::lock_guard<std::mutex> lock(mutex_);
  keep_calls_ = keep;
}

void FakeNetwork::Count(const TcAttachPoint& at, const TcFilterId& id, const RuleCounters& more) {
  With([&](State& state) {
    FilterTable& table =
        at.block != 0 ? state.blocks.at(at.block) : state.links.at(at.ifindex).filters;
    table.at(id).info.counters += more;
  });
}

std::vector<TcFilter> FakeNetwork::Filters(const TcAttachPoint& at) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const FilterTable* table = nullptr;
  if (at.block != 0) {
    if (auto it = state_.blocks.find(at.block); it != state_.blocks.end()) table = &it->second;
  } else if (auto it = state_.links.find(at.ifindex); it != state_.links.end()) {
    table = &it->second.filters;
  }
  std::vector<TcFilter> filters;
  if (table == nullptr) return filters;
  for (const auto& [id, entry] : *table) {
    if (entry.filter) filters.push_back(*entry.filter);
  }
  return filters;
}

absl::Status FakeNetwork::Enter(const std::string& call) {
  std::function<void(std::string_view)> hook;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    hook = hook_;
  }
  if (hook) hook(call);
  std::lock_guard<std::mutex> lock(mutex_);
  if (keep_calls_) calls_.push_back(call);
  for (auto fault = faults_.begin(); fault != faults_.end(); ++fault) {
    if (!fault->predicate(call)) continue;
    const absl::Status status = fault->status;
    if (--fault->times <= 0) faults_.erase(fault);
    return status;
  }
  return absl::OkStatus();
}

void FakeNetwork::Tell() {
  std::lock_guard<std::recursive_mutex> telling(telling_);
  std::vector<RtnetlinkEvent> links;
  std::vector<TcPort::Event> filters;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    links.swap(state_.link_events);
    filters.swap(state_.tc_events);
  }
  if (links.empty() && filters.empty()) return;
  const auto subscribers = subscribers_;  // a callback may subscribe
  for (const auto& [id, callbacks] : subscribers) {
    for (const auto& event : links) {
      if (callbacks.first) callbacks.first(event);
    }
    for (const auto& event : filters) {
      if (callbacks.second) callbacks.second(event);
    }
  }
}

uint64_t FakeNetwork::Subscribe(LinkCallback on_link, TcCallback on_tc) {
  std::lock_guard<std::recursive_mutex> telling(telling_);
  subscribers_[next_subscriber_] = {std::move(on_link), std::move(on_tc)};
  return next_subscriber_++;
}

void FakeNetwork::Unsubscribe(uint64_t id) {
  std::lock_guard<std::recursive_mutex> telling(telling_);
  subscribers_.erase(id);
}

}  // namespace fairlead
