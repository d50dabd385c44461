// SPDX-License-Identifier: Apache-2.0
//
// What the slow path is told: the subnets that have a bound port here, those ports, and who has
// which address in them. Nothing is kept for it but the keys that changed: what is told of a key
// is read off the intent and the facts when it is sent.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

// Entries and keys of one telling; the rest goes with the next.
constexpr size_t kMostTold = 8192;

}  // namespace

// In a provider network the fabric answers.
bool Engine::ServedBySlowPath(const std::string& port) const {
  const Attachment* attachment = AttachmentOf(port);
  return attachment != nullptr && attachment->vni.has_value();
}

bool Engine::HasAnsweredPorts(const Subnet* subnet) const {
  return subnet != nullptr && bound_of_subnet_.contains(subnet->id) &&
         !world_.FindVpc(subnet->vpc)->is_provider();
}

std::optional<SlowPathEntry> Engine::SlowPathEntryOf(const SlowPathKey& key) const {
  switch (key.kind) {
    case SlowPathKey::Kind::kPort: {
      const auto bound = bound_.find(key.id);
      if (bound == bound_.end() || !ServedBySlowPath(key.id)) return std::nullopt;
      const BoundPort& port = bound->second;
      SlowPathPort out{port.port,  port.subnet, port.representor_ifindex,
                       "",         port.mac,    port.addresses,
                       port.pairs, ""};
      if (const VfFacts* vf = facts_.FindVf(port.vf)) out.netdev = vf->representor;
      if (const Port* object = world_.FindPort(key.id)) out.host_name = object->vm;
      return out;
    }
    case SlowPathKey::Kind::kSubnet: {
      const Subnet* subnet = world_.FindSubnet(key.id);
      if (!HasAnsweredPorts(subnet)) return std::nullopt;
      // What the tunnel has: what it is to have becomes so in a moment, and is told then.
      const uint32_t mtu = facts_.tunnel ? facts_.tunnel->mtu
                                         : WorkOutMtu(config_.compile.tunnel, facts_.underlay).mtu;
      return SlowPathSubnet{subnet->id,
                            subnet->prefix4,
                            subnet->prefix6,
                            subnet->gateway4,
                            subnet->gateway6,
                            subnet->dns_servers,
                            mtu};
    }
    case SlowPathKey::Kind::kNeighbour:
      break;
  }
  const Subnet* subnet = world_.FindSubnet(key.id);
  if (!HasAnsweredPorts(subnet)) return std::nullopt;
  const std::optional<ObjectRef> owner = world_.OwnerOfAddress(subnet->vpc, key.address);
  if (!owner) return std::nullopt;
  if (owner->kind == ObjectKind::kEndpoint) {
    const Endpoint& endpoint = *world_.FindEndpoint(owner->id);
    if (endpoint.subnet != key.id) return std::nullopt;
    return SlowPathNeighbour{key.id, key.address, endpoint.mac};
  }
  // One that is not bound has no place here yet, and nothing leads to it.
  const auto bound = owner->kind == ObjectKind::kPort ? bound_.find(owner->id) : bound_.end();
  if (bound == bound_.end() || bound->second.subnet != key.id) return std::nullopt;
  return SlowPathNeighbour{key.id, key.address, bound->second.mac};
}

void Engine::MarkSlowPath(SlowPathKey key) {
  // Before the first telling, which tells all, there is nothing to remember.
  if (!slow_path_.told && !slow_path_.in_flight) return TellSlowPathSoon();
  slow_path_.dirty.insert(std::move(key));
  TellSlowPathSoon();
}

void Engine::MarkSlowPathNeighbours(const std::string& subnet,
                                    const std::vector<IpAddress>& addresses) {
  for (const IpAddress& address : addresses) {
    MarkSlowPath({SlowPathKey::Kind::kNeighbour, subnet, address});
  }
}

// Its first port came, or its last one went.
void Engine::MarkSlowPathSubnet(const std::string& subnet) {
  MarkSlowPath({SlowPathKey::Kind::kSubnet, subnet, {}});
  for (const StoredObject* stored : world_.EndpointsOfSubnet(subnet)) {
    MarkSlowPathNeighbours(subnet, std::get<Endpoint>(stored->object).addresses);
  }
}

void Engine::MarkSlowPathMtu() {
  for (const auto& [subnet, ports] : bound_of_subnet_) {
    MarkSlowPath({SlowPathKey::Kind::kSubnet, subnet, {}});
  }
}

void Engine::MarkSlowPath(const Object& object) {
  if (const auto* endpoint = std::get_if<Endpoint>(&object)) {
    if (bound_of_subnet_.contains(endpoint->subnet)) {
      MarkSlowPathNeighbours(endpoint->subnet, endpoint->addresses);
    }
  } else if (const auto* subnet = std::get_if<Subnet>(&object)) {
    if (bound_of_subnet_.contains(subnet->id)) {
      MarkSlowPath({SlowPathKey::Kind::kSubnet, subnet->id, {}});
    }
  } else if (const auto* port = std::get_if<Port>(&object)) {
    if (bound_.contains(port->id)) MarkSlowPath({SlowPathKey::Kind::kPort, port->id, {}});
  }
}

// Of an attachment that is not bound it is not known yet what is to be told: what an earlier
// telling said of it stays.
bool Engine::SlowPathWhole() const {
  if (!observed_once()) return false;
  return std::all_of(attachments_.begin(), attachments_.end(), [this](const auto& entry) {
    const Attachment& attachment = entry.second;
    if (!attachment.vni || attachment.phase != AttachmentPhase::kReady) return true;
    return bound_.contains(attachment.port) || ErrorOfNic(attachment.vf).ok();
  });
}

std::vector<SlowPathEntry> Engine::AllForSlowPath() const {
  std::vector<SlowPathEntry> all;
  const auto add = [&](SlowPathKey key) {
    if (auto entry = SlowPathEntryOf(key)) all.push_back(*std::move(entry));
  };
  for (const auto& [subnet, ports] : bound_of_subnet_) {
    add({SlowPathKey::Kind::kSubnet, subnet, {}});
    const auto add_neighbours = [&, &subnet = subnet](const std::vector<IpAddress>& addresses) {
      for (const IpAddress& address : addresses) {
        add({SlowPathKey::Kind::kNeighbour, subnet, address});
      }
    };
    for (const std::string& id : ports) {
      add({SlowPathKey::Kind::kPort, id, {}});
      add_neighbours(bound_.at(id).addresses);
    }
    for (const StoredObject* stored : world_.EndpointsOfSubnet(subnet)) {
      const auto& endpoint = std::get<Endpoint>(stored->object);
      for (const IpAddress& address : endpoint.addresses) {
        all.emplace_back(SlowPathNeighbour{subnet, address, endpoint.mac});
      }
    }
  }
  return all;
}

void Engine::TellSlowPathSoon() {
  if (slow_path_.in_flight || std::exchange(slow_path_.scheduled, true)) return;
  executor_->After(std::chrono::milliseconds(0), [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    slow_path_.scheduled = false;
    TellSlowPath();
  });
}

void Engine::TellSlowPath() {
  SlowPathState& state = slow_path_;
  if (state.in_flight || state.retry_due) return;
  SlowPathTelling telling;
  // Once it was told all, a change walks over nothing else.
  telling.whole = !state.whole && SlowPathWhole();
  telling.all = !state.told || telling.whole;
  if (telling.all) {
    telling.put = AllForSlowPath();
    // What another store's agent made serves on, its guests' ARP and ND too.
    for (const auto& [vf, representor] : foreign_representors_) {
      telling.keep.push_back(representor.ifindex);
    }
    state.dirty.clear();
    state.knows.clear();
    for (const auto& [id, port] : bound_) {
      if (ServedBySlowPath(id)) state.telling.insert(id);
    }
  } else {
    while (!state.dirty.empty() && telling.put.size() + telling.remove.size() < kMostTold) {
      SlowPathKey key = std::move(state.dirty.extract(state.dirty.begin()).value());
      if (auto entry = SlowPathEntryOf(key)) {
        if (key.kind == SlowPathKey::Kind::kPort) state.telling.insert(key.id);
        telling.put.push_back(*std::move(entry));
      } else {
        if (key.kind == SlowPathKey::Kind::kPort) state.knows.erase(key.id);
        telling.remove.push_back(std::move(key));
      }
    }
  }
  state.in_flight = true;
  const SlowPathSaid said{telling.whole, telling.put.empty() && telling.remove.empty()};
  executor_->TellSlowPath(std::move(telling), [this, alive = std::weak_ptr<bool>(alive_),
                                               said](absl::StatusOr<SlowPathReport> result) {
    if (!alive.expired()) OnSlowPathTold(said, std::move(result));
  });
}

void Engine::OnSlowPathTold(const SlowPathSaid& said, absl::StatusOr<SlowPathReport> result) {
  SlowPathState& state = slow_path_;
  state.in_flight = false;
  const std::map<std::string, std::string> before = std::exchange(state.deaf, {});
  const absl::Status error_before = std::exchange(state.error, result.status());
  std::set<std::string> changed;
  if (result.ok()) {
    state.whole = state.whole || said.whole;
    state.told = true;
    changed = std::exchange(state.telling, {});
    state.knows.insert(changed.begin(), changed.end());
    state.counters = result->counters;
    // It tells no more of them: any port may be one.
    if (result->deaf_ports.size() >= kMaxSlowPathTold) {
      state.error = absl::UnavailableError(absl::StrCat(
          kMaxSlowPathTold, " ports or more are not heard, of which ", result->deaf_ports.front()));
    }
    for (const std::string& deaf : result->deaf_ports) {
      const size_t colon = deaf.find(": ");
      if (!deaf.starts_with("port ") || colon == std::string::npos) continue;
      state.deaf[deaf.substr(5, colon - 5)] = deaf.substr(colon + 2);
    }
    // Of several one is told. It stands until something else is said.
    if (!result->problems.empty()) {
      state.error = absl::InvalidArgumentError(result->problems.front());
    } else if (said.nothing && absl::IsInvalidArgument(error_before)) {
      state.error = error_before;
    }
  } else {
    // All of it is told again, and the first time at once: it may have been started anew.
    state.telling.clear();
    state.whole = false;
    if (std::exchange(state.told, false)) {
      state.error = error_before;
      state.deaf = before;
      return TellSlowPathSoon();
    }
    state.knows.clear();
  }
  if (state.error != error_before) {
    for (const auto& [id, port] : bound_) changed.insert(id);
  }
  for (const auto& [id, why] : state.deaf) {
    const auto same = before.find(id);
    if (same == before.end() || same->second != why) changed.insert(id);
  }
  for (const auto& [id, why] : before) {
    if (!state.deaf.contains(id)) changed.insert(id);
  }
  for (const std::string& id : changed) {
    if (FindUnit({UnitKind::kPort, id}) != nullptr) MarkDirty({UnitKind::kPort, id});
    Announce({ObjectKind::kPort, id});
  }
  if (result.ok() && !state.dirty.empty()) return TellSlowPathSoon();
  // Whether it is there still shows only when it is asked.
  state.retry_due = !result.ok();
  if (std::exchange(state.check_due, true)) return;
  const auto delay = result.ok() ? config_.slow_path_check : config_.retry_first;
  executor_->After(delay, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    slow_path_.check_due = slow_path_.retry_due = false;
    if (!slow_path_.whole || AnyAnswered() || !slow_path_.dirty.empty()) TellSlowPath();
  });
}

std::string Engine::WhyNotAnswered(const Attachment& attachment) const {
  if (!attachment.vni || !bound_.contains(attachment.port)) return "";
  constexpr char kWhat[] = "its ARP, ND and DHCP are not answered: ";
  if (!slow_path_.error.ok()) return absl::StrCat(kWhat, slow_path_.error.message());
  const auto deaf = slow_path_.deaf.find(attachment.port);
  if (deaf != slow_path_.deaf.end()) return absl::StrCat(kWhat, deaf->second);
  return "";
}

bool Engine::SlowPathIsBeingTold(const std::string& port) const {
  return slow_path_.error.ok() && bound_.contains(port) && ServedBySlowPath(port) &&
         !slow_path_.knows.contains(port);
}

}  // namespace fairlead
