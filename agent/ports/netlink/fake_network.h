// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the part of a kernel that FakeRtnetlinkPort and FakeTcPort share:
// links, addresses, routes, neighbours, qdiscs, blocks and filters in memory. It
// acts like the kernel where the ports' contracts say so, and plays hardware and
// administrator for tests and for runs without a kernel.
//
// It sees only the value types of the two ports (their headers), none of their
// code.
//
// Threading: safe from any thread. Subscribers are called on the thread that
// caused the event, after the change is visible; they must not destroy a
// subscription.
// Ownership: shared by the ports (std::shared_ptr).
// Errors: as the kernel's, by SystemError.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "agent/base/types.h"
#include "agent/ports/rtnetlink/rtnetlink_port.h"
#include "agent/ports/tc/tc_port.h"

namespace fairlead {

// What a PF's driver takes for its VFs (ndo_set_vf_*): EOPNOTSUPP where it has no such
// call, EINVAL where its NIC cannot. As made: all of it.
struct FakeVfDriver {
  bool mac = true, vlan = true, spoof_check = true, trust = true, rate = true, link_state = true;
  bool min_rate = true;
  bool keeps_trust = false;            // it says yes to taking it away, and does not
  bool spoof_check_needs_mac = false;  // mlx5 and mlx4: EPERM without one
  // Above this the maximum rate is refused, and without carrier every rate is. 0: any goes.
  uint32_t link_mbps = 0;
  VfInfo fresh{};  // how it shows a VF that nobody has set, for who makes one

  // drivers/net/ethernet/intel/igb/igb_main.c, of an 82576: igb_ndo_set_vf_bw, no
  // ndo_set_vf_link_state. RtnetlinkIgbVfContract holds it against the driver itself.
  static constexpr FakeVfDriver Igb() {
    return {.link_state = false,
            .min_rate = false,
            .link_mbps = 1000,
            .fresh = {.mac = {}, .spoof_check = true, .trust = false}};
  }
};

class FakeNetwork {
 public:
  FakeNetwork();  // has "lo", ifindex 1

  // --- What hardware, drivers and administrators do.
  // ifindex 0: the next free one. Returns the ifindex.
  uint32_t AddLink(LinkInfo info);
  void RemoveLink(uint32_t ifindex);
  void ChangeLink(uint32_t ifindex, const std::function<void(LinkInfo&)>& change);
  // Whether the device takes TC rules into hardware. New links do not.
  void SetOffloadCapable(uint32_t ifindex, bool capable);
  void SetVfDriver(uint32_t pf_ifindex, const FakeVfDriver& driver);
  // With the route to its network.
  void AddAddress(uint32_t ifindex, const IpAddress& address, const IpPrefix& network);
  // With that route.
  void RemoveAddress(uint32_t ifindex, const IpAddress& address);
  void AddRoute(const IpPrefix& destination, const RouteInfo& route);
  void RemoveRoute(const IpPrefix& destination);
  // Who answers ARP and ND: managed entries for `address` become REACHABLE, now
  // and later. Without: they turn FAILED.
  void SetStation(const IpAddress& address, std::optional<MacAddress> mac);
  // Whatever address of `network` is asked for answers, with a MAC made from it.
  void AddStations(const IpPrefix& network);
  void SetNeighbour(const NeighbourInfo& entry);
  // An ingress qdisc of somebody else, as Open vSwitch makes one. No clsact may be there.
  void AddForeignIngress(uint32_t ifindex);
  // A filter of somebody else; its table must be there.
  void AddForeignFilter(const TcAttachPoint& at, const TcFilterInfo& info);
  // So much more met a filter, which is there.
  void Count(const TcAttachPoint& at, const TcFilterId& id, const RuleCounters& more);
  // Subscribers of rtnetlink, or of TC, are told that messages were lost.
  void LoseLinkEvents();
  void LoseRuleEvents();
  // A table takes this many filters; one more is refused (ENOSPC). At first: any number.
  void SetMaxFilters(size_t most);

  // --- Faults.
  using CallPredicate = std::function<bool(std::string_view call)>;
  // The next `times` calls fail with `status` and do nothing. `method` is that
  // of the port ("SetMtu"); a change in TcPort::Apply is "Put" or "Delete".
  void FailNext(std::string method, absl::Status status, int times = 1);
  // The same for calls whose text (see Calls) the predicate takes.
  void FailWhen(CallPredicate predicate, absl::Status status, int times = 1);
  void ClearFaults();
  // Runs at the start of every call, without a lock: it may block the caller.
  void SetHook(std::function<void(std::string_view call)> hook);

  // --- What happened and what is there.
  // "SetMtu(3, 1450)", "Put(block 7 chain 0 prio 10 handle 1)", in order.
  std::vector<std::string> Calls() const;
  void ClearCalls();
  // Off for what runs long: the list of calls only grows.
  void KeepCalls(bool keep);
  std::vector<TcFilter> Filters(const TcAttachPoint& at) const;

  // --- For the fakes.
  struct Filter {
    TcFilterInfo info;               // hardware fields are worked out when asked
    std::optional<TcFilter> filter;  // absent: somebody else's
  };
  using FilterTable = std::map<TcFilterId, Filter>;
  struct Link {
    LinkInfo info;
    bool offload_capable = false;
    FakeVfDriver vf_driver;
    bool clsact = false;
    bool foreign_ingress = false;  // an ingress qdisc, in the place of clsact
    uint32_t ingress_block = 0;
    FilterTable filters;                       // of a clsact without a shared block
    std::vector<TcFilterInfo> egress_filters;  // somebody else's
    std::vector<IpAddress> addresses;
  };
  struct State {
    std::map<uint32_t, Link> links;
    // Where a name was found last: large hosts are simulated too.
    std::map<std::string, uint32_t, std::less<>> last_of_name;
    std::map<uint32_t, FilterTable> blocks;  // as long as a link uses them
    std::vector<std::pair<IpPrefix, RouteInfo>> routes;
    std::map<std::pair<uint32_t, IpAddress>, NeighbourInfo> neighbours;
    std::map<IpAddress, MacAddress> stations;
    std::vector<IpPrefix> station_networks;
    size_t max_filters = std::numeric_limits<size_t>::max();  // of one table
    // Told to subscribers when the lock is given up.
    std::vector<RtnetlinkEvent> link_events;
    std::vector<TcPort::Event> tc_events;

    Link* FindLink(uint32_t ifindex);
    Link* FindLink(std::string_view name);
    uint32_t NextIfIndex() const;
    void EraseLink(uint32_t ifindex);
    void EraseClsact(Link* link);
    void Resolve(NeighbourInfo* entry);
    void LinkEvent(RtnetlinkEvent::Kind kind, const Link& link);
  };
  // Logs the call, runs the hook, and answers an injected fault.
  absl::Status Enter(const std::string& call);
  // Runs `change` under the lock, then tells subscribers. Returns its result.
  template <typename F>
  auto With(F change) -> decltype(change(std::declval<State&>())) {
    struct Telling {  // after the lock is gone, whatever `change` returns
      FakeNetwork* network;
      ~Telling() { network->Tell(); }
    } telling{this};
    std::lock_guard<std::mutex> lock(mutex_);
    return change(state_);
  }
  using LinkCallback = std::function<void(const RtnetlinkEvent&)>;
  using TcCallback = std::function<void(const TcPort::Event&)>;
  uint64_t Subscribe(LinkCallback on_link, TcCallback on_tc);
  void Unsubscribe(uint64_t id);  // waits for a callback under way
  // Runs `tell` as subscribers are told, one teller at a time: for a model that has
  // subscribers of its own.
  template <typename F>
  void WhileTelling(F tell) {
    std::lock_guard<std::recursive_mutex> telling(telling_);
    tell();
  }

 private:
  struct Fault {
    CallPredicate predicate;
    absl::Status status;
    int times;
  };
  void Tell();

  mutable std::mutex mutex_;  // all below, up to telling_
  State state_;
  std::vector<Fault> faults_;
  std::vector<std::string> calls_;
  bool keep_calls_ = true;
  std::function<void(std::string_view)> hook_;

  // Recursive: a callback may call the port, which tells in turn.
  std::recursive_mutex telling_;
  std::map<uint64_t, std::pair<LinkCallback, TcCallback>> subscribers_;
  uint64_t next_subscriber_ = 1;
};

}  // namespace fairlead
