// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/tc/fake_tc_port.h"

#include <errno.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/tc/tc_codec.h"

namespace fairlead {
namespace {

using State = FakeNetwork::State;
using FilterTable = FakeNetwork::FilterTable;

std::string CallText(const TcChange& change) {
  const TcFilterId& id = change.filter.id;
  return StrCat(change.verb == TcChange::Verb::kPut ? "Put(" : "Delete(",
                change.at.block != 0 ? "block " : "ifindex ",
                change.at.block != 0 ? change.at.block : change.at.ifindex, " chain ", id.chain,
                " prio ", id.priority, " handle ", id.handle, ")");
}

// The table that requests for `at` reach, or the kernel's refusal.
absl::StatusOr<FilterTable*> FindTable(State& state, const TcAttachPoint& at,
                                       std::string_view asked) {
  if (at.block != 0) {
    auto it = state.blocks.find(at.block);
    if (it == state.blocks.end()) {
      return SystemError(EINVAL, asked, "Block of given index was not found");
    }
    return &it->second;
  }
  auto* link = state.FindLink(at.ifindex);
  if (link == nullptr) return SystemError(ENODEV, asked);
  if (!link->clsact) return SystemError(EINVAL, asked, "Parent Qdisc doesn't exists");
  if (link->ingress_block != 0) {
    return SystemError(
        EOPNOTSUPP, asked,
        "This filter block is shared. Please use the block index to manipulate the filters");
  }
  return &link->filters;
}

// The links whose ingress goes through a table, and how many NICs offload at all.
struct Users {
  std::vector<const FakeNetwork::Link*> links;
  uint32_t nics = 0;
};
Users UsersOf(State& state, const TcAttachPoint& at) {
  Users users;
  for (const auto& [ifindex, link] : state.links) {
    users.nics += link.offload_capable ? 1 : 0;
    if (!link.clsact) continue;
    if (at.block != 0 ? link.ingress_block == at.block : ifindex == at.ifindex) {
      users.links.push_back(&link);
    }
  }
  return users;
}

// The device that it sends to; 0 = none.
uint32_t OutputOf(const TcAction& action) {
  if (const auto* mirror = std::get_if<TcMirror>(&action)) return mirror->ifindex;
  const auto* mirred = std::get_if<TcMirred>(&action);
  return mirred == nullptr ? 0 : mirred->ifindex;
}

bool SendsTo(const TcFilter& filter, uint32_t ifindex) {
  return std::any_of(filter.actions.begin(), filter.actions.end(),
                     [&](const TcAction& action) { return OutputOf(action) == ifindex; });
}

// How many users of the table take the filter into hardware. A rule of one
// input device is refused by the others (mlx5: "indev" is the own device only), and
// one that sends to a VF by that VF.
uint32_t HardwareCount(const Users& users, const TcFilter& filter) {
  if (filter.flags == TcFilter::Flags::kSkipHw) return 0;
  uint32_t count = 0;
  for (const auto* link : users.links) {
    const bool other = filter.match.indev && *filter.match.indev != link->info.name;
    if (link->offload_capable && !other && !SendsTo(filter, link->info.ifindex)) ++count;
    // NICs take the rules of a tunnel device too (flow_indr_dev_register,
    // net/core/flow_offload.c).
    if (link->info.tunnel_collect_md) count += users.nics;
  }
  return count;
}

// States that no packet can have (fl_validate_ct_state, net/sched/cls_flower.c).
absl::Status CheckCtState(const TcMatch& match, std::string_view asked) {
  if (!match.ct_state) return absl::OkStatus();
  const uint16_t state = match.ct_state->value;
  const auto refuse = [&](std::string_view words) { return SystemError(EINVAL, asked, words); };
  if (state != 0 && (state & kCtTracked) == 0) return refuse("no trk, so no other flag can be set");
  const bool is_new = (state & kCtNew) != 0;
  if (is_new && (state & kCtEstablished) != 0) return refuse("new and est are mutually exclusive");
  if ((state & kCtInvalid) != 0 && (state & ~(kCtTracked | kCtInvalid)) != 0) {
    return refuse("when inv is set, only trk may be set");
  }
  if (is_new && (state & kCtReply) != 0) return refuse("new and rpl are mutually exclusive");
  return absl::OkStatus();
}

absl::Status CheckDevices(State& state, const TcFilter& filter, std::string_view asked) {
  if (filter.match.indev && state.FindLink(*filter.match.indev) == nullptr) {
    return SystemError(ENODEV, asked, "Interface name not found");
  }
  for (const TcAction& action : filter.actions) {
    const uint32_t to = OutputOf(action);
    if (to != 0 && state.FindLink(to) == nullptr) return SystemError(ENODEV, asked);
  }
  return absl::OkStatus();
}

absl::Status CheckOffload(State& state, const TcAttachPoint& at, const TcFilter& filter,
                          std::string_view asked) {
  if (filter.flags != TcFilter::Flags::kSkipSw) return absl::OkStatus();
  const Users users = UsersOf(state, at);
  // One user that cannot is enough for a refusal, and a tunnel device never can
  // (skip_sw there is refused by the core).
  const bool all = std::all_of(users.links.begin(), users.links.end(), [](const auto* link) {
    return link->offload_capable && !link->info.tunnel_collect_md;
  });
  if (!all) return SystemError(EOPNOTSUPP, asked);
  if (HardwareCount(users, filter) == users.links.size()) return absl::OkStatus();
  return SystemError(EOPNOTSUPP, asked, "Driver doesn't support the rule in hardware");
}

// Which bits of an address a filter looks at; nothing is like a prefix of length 0.
int LengthOf(const std::optional<IpPrefix>& prefix) { return prefix ? prefix->length() : 0; }

// Whether both look at the same bits. (The family of the addresses is looked at too:
// fl_set_key, net/sched/cls_flower.c. Of two filters of one priority it is the same.)
bool SameMask(const TcMatch& a, const TcMatch& b) {
  const auto mask = [](const TcMatch& match) {
    return std::tuple(match.indev.has_value(), match.src_mac.has_value(), match.dst_mac.has_value(),
                      match.dst_group.has_value(), match.vlan_id.has_value(),
                      match.arp_sender_mac.has_value(), match.arp_sender_ip.has_value(),
                      LengthOf(match.arp_sender_ip), match.src_ip || match.dst_ip,
                      LengthOf(match.src_ip), LengthOf(match.dst_ip), match.ttl_expiring,
                      match.ip_proto.has_value(), match.dst_port ? match.dst_port->mask : 0,
                      match.icmp_type.has_value(), match.icmp_code.has_value(),
                      match.ct_state ? match.ct_state->mask : 0, match.enc_key_id.has_value(),
                      LengthOf(match.enc_src), match.enc_dst && match.enc_dst->is_v4(),
                      match.enc_dst && match.enc_dst->is_v6(), match.enc_dst_port.has_value());
  };
  return mask(a) == mask(b);
}

// Of two filters of one priority, which have one EtherType.
bool SameKey(const TcMatch& a, const TcMatch& b) {
  const auto same = [](const std::optional<IpPrefix>& x, const std::optional<IpPrefix>& y) {
    return LengthOf(x) == 0 || x == y;
  };
  return a.dst_mac == b.dst_mac && SameMask(a, b) && a.indev == b.indev && a.src_mac == b.src_mac &&
         a.dst_group == b.dst_group && a.vlan_id == b.vlan_id &&
         a.arp_sender_mac == b.arp_sender_mac && same(a.arp_sender_ip, b.arp_sender_ip) &&
         same(a.src_ip, b.src_ip) && same(a.dst_ip, b.dst_ip) && a.ip_proto == b.ip_proto &&
         a.dst_port == b.dst_port && a.icmp_type == b.icmp_type && a.icmp_code == b.icmp_code &&
         a.ct_state == b.ct_state && a.enc_key_id == b.enc_key_id && same(a.enc_src, b.enc_src) &&
         a.enc_dst == b.enc_dst && a.enc_dst_port == b.enc_dst_port;
}

// Flower keeps the filters of a priority in one hash table per mask, and refuses a
// new one whose key is in it. (fl_ht_insert_unique, net/sched/cls_flower.c: one
// that takes an old one's place with the same mask is not refused.)
absl::Status CheckKey(FilterTable& table, const TcFilter& filter, std::string_view asked) {
  const auto old = table.find(filter.id);
  if (old != table.end() && old->second.filter &&
      SameMask(old->second.filter->match, filter.match)) {
    return absl::OkStatus();
  }
  const TcFilterId first{filter.id.chain, filter.id.priority, 0};
  for (auto it = table.lower_bound(first); it != table.end(); ++it) {
    const auto& [id, there] = *it;
    if (id.chain != filter.id.chain || id.priority != filter.id.priority) break;
    if (id == filter.id || !there.filter) continue;
    if (there.filter->match.dst_mac != filter.match.dst_mac) continue;  // most, and soon told
    if (!SameKey(there.filter->match, filter.match)) continue;
    // The port makes a filter with another mask anew; its old one is gone by now.
    if (old != table.end()) table.erase(old);
    return SystemError(EEXIST, asked);
  }
  return absl::OkStatus();
}

class FakeSubscription final : public TcPort::Subscription {
 public:
  FakeSubscription(std::shared_ptr<FakeNetwork> network, uint64_t id)
      : network_(std::move(network)), id_(id) {}
  ~FakeSubscription() override { network_->Unsubscribe(id_); }

 private:
  std::shared_ptr<FakeNetwork> network_;
  uint64_t id_;
};

// What the kernel shows of a filter, its hardware state worked out.
TcFilterInfo InfoOf(const Users& users, const FakeNetwork::Filter& entry) {
  TcFilterInfo info = entry.info;
  if (entry.filter) {
    info.in_hw_count = HardwareCount(users, *entry.filter);
    info.in_hw = info.in_hw_count > 0;
  }
  return info;
}

absl::Status AddQdisc(State& state, uint32_t ifindex, uint32_t ingress_block,
                      const std::string& call) {
  auto* link = state.FindLink(ifindex);
  if (link == nullptr) return SystemError(ENODEV, call);
  if (link->clsact || link->foreign_ingress) {
    return SystemError(EEXIST, call, "Exclusivity flag on, cannot modify");
  }
  if (ingress_block != 0) {
    const auto block = state.blocks.find(ingress_block);
    const Users users = UsersOf(state, {.block = ingress_block, .ifindex = 0});
    const bool in_hardware =
        block != state.blocks.end() &&
        std::any_of(block->second.begin(), block->second.end(), [&](const auto& entry) {
          return entry.second.filter && HardwareCount(users, *entry.second.filter) > 0;
        });
    // The kernel binds no device that cannot offload to a block that does.
    if (in_hardware && !link->offload_capable) return SystemError(EOPNOTSUPP, call);
    state.blocks.try_emplace(ingress_block);
  }
  link->clsact = true;
  link->ingress_block = ingress_block;
  return absl::OkStatus();
}

absl::Status MakeChange(State& state, const TcChange& change, const std::string& call) {
  const bool put = change.verb == TcChange::Verb::kPut;
  const TcFilter& filter = change.filter;
  auto found = FindTable(state, change.at, call);
  if (!found.ok()) {
    // A device that shares its block refuses deletions too; all else is gone.
    return put || ErrnoOf(found.status()) == EOPNOTSUPP ? found.status() : absl::OkStatus();
  }
  FilterTable& table = **found;
  for (const auto& [id, there] : table) {
    if (id.chain != filter.id.chain || id.priority != filter.id.priority) continue;
    if (there.info.ethertype != filter.match.ethertype) {
      return put ? SystemError(EINVAL, call, "Filter with specified priority/protocol not found")
                 : absl::OkStatus();
    }
    if (there.info.kind != "flower") {
      return SystemError(EINVAL, call, "Specified filter kind does not match existing one");
    }
  }
  if (put) {
    if (change.exclusive && table.contains(filter.id)) {
      return SystemError(EEXIST, call, "Filter already exists");
    }
    if (!table.contains(filter.id) && table.size() >= state.max_filters) {
      return SystemError(ENOSPC, call, "The table is full");
    }
    FAIRLEAD_RETURN_IF_ERROR(CheckCtState(filter.match, call));
    FAIRLEAD_RETURN_IF_ERROR(CheckDevices(state, filter, call));
    FAIRLEAD_RETURN_IF_ERROR(CheckKey(table, filter, call));
    FAIRLEAD_RETURN_IF_ERROR(CheckOffload(state, change.at, filter, call));
    FakeNetwork::Filter& entry = table[filter.id];
    entry.filter = filter;
    entry.info = TcFilterInfo{.id = filter.id,
                              .ethertype = filter.match.ethertype,
                              .kind = "flower",
                              .cookie = filter.cookie,
                              .in_hw = false,
                              .in_hw_count = 0,
                              .counters = {}};
  } else if (table.erase(filter.id) == 0) {
    return absl::OkStatus();
  }
  state.tc_events.push_back({.lost = false,
                             .deleted = !put,
                             .at = change.at,
                             .id = filter.id,
                             .cookie = put ? std::optional(filter.cookie) : std::nullopt});
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TcQdiscInfo> FakeTcPort::GetQdisc(uint32_t ifindex) {
  const std::string call = StrCat("GetQdisc(", ifindex, ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return network_->With([&](State& state) -> absl::StatusOr<TcQdiscInfo> {
    const auto* link = state.FindLink(ifindex);
    if (link == nullptr) return SystemError(ENODEV, call);
    return TcQdiscInfo{link->clsact, link->ingress_block,
                       link->clsact ? "clsact" : (link->foreign_ingress ? "ingress" : "")};
  });
}

absl::Status FakeTcPort::AddClsact(uint32_t ifindex, uint32_t ingress_block) {
  const std::string call = StrCat("AddClsact(", ifindex, ", ", ingress_block, ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  return network_->With(
      [&](State& state) { return AddQdisc(state, ifindex, ingress_block, call); });
}

absl::Status FakeTcPort::AddMarkedClsact(uint32_t ifindex, const TcFilter& mark) {
  const std::string call = StrCat("AddMarkedClsact(", ifindex, ")");
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  FAIRLEAD_RETURN_IF_ERROR(netlink::CheckFilter(mark));
  return network_->With([&](State& state) -> absl::Status {
    FAIRLEAD_RETURN_IF_ERROR(AddQdisc(state, ifindex, 0, call));
    const TcChange put{TcChange::Verb::kPut, {.ifindex = ifindex}, mark};
    const absl::Status marked = MakeChange(state, put, call);
    if (!marked.ok()) state.EraseClsact(state.FindLink(ifindex));
    return marked;
  });
}

absl::Status FakeTcPort::DeleteClsact(uint32_t ifindex) {
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(StrCat("DeleteClsact(", ifindex, ")")));
  network_->With([&](State& state) {
    if (auto* link = state.FindLink(ifindex)) state.EraseClsact(link);
  });
  return absl::OkStatus();
}

absl::Status FakeTcPort::ApplyOne(const TcChange& change) {
  const std::string call = CallText(change);
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
  const bool put = change.verb == TcChange::Verb::kPut;
  FAIRLEAD_RETURN_IF_ERROR(netlink::CheckAttachPoint(change.at));
  FAIRLEAD_RETURN_IF_ERROR(put ? netlink::CheckFilter(change.filter)
                               : netlink::CheckFilterId(change.filter.id));
  return network_->With([&](State& state) { return MakeChange(state, change, call); });
}

std::vector<absl::Status> FakeTcPort::Apply(std::span<const TcChange> changes) {
  std::vector<absl::Status> results;
  results.reserve(changes.size());
  for (const TcChange& change : changes) results.push_back(ApplyOne(change));
  return results;
}

std::vector<absl::StatusOr<TcFilterInfo>> FakeTcPort::Get(std::span<const TcFilterRef> refs) {
  std::vector<absl::StatusOr<TcFilterInfo>> results;
  for (const TcFilterRef& ref : refs) {
    results.push_back([&]() -> absl::StatusOr<TcFilterInfo> {
      FAIRLEAD_RETURN_IF_ERROR(netlink::CheckAttachPoint(ref.at));
      FAIRLEAD_RETURN_IF_ERROR(netlink::CheckFilterId(ref.id));
      const std::string call = StrCat("Get(", netlink::Describe(ref.at, ref.id), ")");
      FAIRLEAD_RETURN_IF_ERROR(network_->Enter(call));
      return network_->With([&](State& state) -> absl::StatusOr<TcFilterInfo> {
        auto table = FindTable(state, ref.at, call);
        if (!table.ok()) return absl::NotFoundError(StrCat(call, ": it is not there"));
        const auto it = (*table)->find(ref.id);
        if (it == (*table)->end() || it->second.info.ethertype != ref.ethertype) {
          return absl::NotFoundError(StrCat(call, ": it is not there"));
        }
        return InfoOf(UsersOf(state, ref.at), it->second);
      });
    }());
  }
  return results;
}

absl::StatusOr<std::vector<TcFilterInfo>> FakeTcPort::Dump(const TcAttachPoint& at,
                                                           TcDumpDetail detail) {
  FAIRLEAD_RETURN_IF_ERROR(netlink::CheckAttachPoint(at));
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter(StrCat("Dump(", at.block != 0 ? "block " : "ifindex ",
                                                  at.block != 0 ? at.block : at.ifindex, ")")));
  return network_->With([&](State& state) {
    std::vector<TcFilterInfo> filters;
    if (at.egress) {
      const auto* link = state.FindLink(at.ifindex);
      return link == nullptr || !link->clsact ? filters : link->egress_filters;
    }
    TcAttachPoint table_at = at;
    // The kernel shows a shared block through the devices that use it.
    if (const auto* link = state.FindLink(at.ifindex);
        link != nullptr && link->ingress_block != 0) {
      table_at = {.block = link->ingress_block, .ifindex = 0};
    }
    auto table = FindTable(state, table_at, "");
    if (!table.ok()) return filters;
    const Users users = UsersOf(state, table_at);
    for (const auto& [id, entry] : **table) {
      filters.push_back(InfoOf(users, entry));
      if (detail == TcDumpDetail::kTerse) filters.back().in_hw_count = 0;
    }
    return filters;
  });
}

absl::StatusOr<std::unique_ptr<TcPort::Subscription>> FakeTcPort::Subscribe(
    std::function<void(const Event&)> on_event) {
  FAIRLEAD_RETURN_IF_ERROR(network_->Enter("Subscribe(filters)"));
  return std::make_unique<FakeSubscription>(network_,
                                            network_->Subscribe(nullptr, std::move(on_event)));
}

}  // namespace fairlead
