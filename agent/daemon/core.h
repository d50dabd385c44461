// SPDX-License-Identifier: Apache-2.0
//
// Purpose: one running agent without its endpoints, put together from its parts: lanes,
// engine, the conversation with controllers, and the way of events to the engine.
//
// Threading: construct, use and destroy on the scheduler's thread.
// Ownership: owns the store, executor, engine and service; borrows the scheduler, the clock and
// what Ports points to.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "agent/daemon/config.h"
#include "agent/daemon/event_inbox.h"
#include "agent/daemon/host_view.h"
#include "agent/daemon/lane_executor.h"
#include "agent/daemon/service.h"
#include "agent/reconcile/engine.h"
#include "agent/runtime/scheduler.h"
#include "agent/store/store.h"

namespace fairlead {

class Core : private Engine::Listener {
 public:
  // A serialised v1.Event, under its topic.
  using Publish = std::function<void(const std::string& topic, const std::string& event)>;

  // Subscribes to the ports' events, then begins to observe. `contents`: what the store held.
  static absl::StatusOr<std::unique_ptr<Core>> Start(Scheduler* scheduler, const Clock* clock,
                                                     DaemonConfig config, Ports ports,
                                                     std::unique_ptr<Store> store,
                                                     StoreContents contents, Publish publish);
  ~Core() override;
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // A serialised v1.Request; `answer` is called once with the v1.Reply, maybe later.
  void Handle(std::string_view request, Service::Answer answer);

  // At most a twentieth of the loop's time is spent on it: it may be of a while ago.
  const Standing& standing();

 private:
  Core(Scheduler* scheduler, const Clock* clock, Publish publish);
  void OnStatus(const ObjectStatus& status, bool gone) override;
  void OnDrift(const Drift& drift) override;
  void OnStarted(const StartReport& report) override;
  void FlushEvents();
  void OnVmEvents(const std::string& vm, const EventInbox::VmEvents& events);
  void OnEvents(const EventInbox::Batch& batch);
  void OnLost(EventInbox::Source source);
  void OnRuleTouched(const EventInbox::RuleTouched& event);
  std::optional<RuleTable> TableAt(const TcAttachPoint& at) const;
  void OnDevlinkChanged(const std::set<DevlinkHandle>& devices);
  absl::Status Subscribe(const Ports& ports, const ProviderConfig& config);
  void Tick();

  Scheduler* scheduler_;
  const Clock* clock_;
  Publish publish_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<LaneExecutor> executor_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Service> service_;
  std::shared_ptr<EventInbox> inbox_;
  std::unique_ptr<RtnetlinkPort> events_rtnetlink_;
  std::unique_ptr<TcPort> events_tc_;
  std::unique_ptr<DevlinkPort> events_devlink_;  // none: the host has no devlink
  std::unique_ptr<UeventPort::Subscription> device_events_;
  std::unique_ptr<RtnetlinkPort::Subscription> link_events_;
  std::unique_ptr<TcPort::Subscription> rule_events_;
  std::unique_ptr<DevlinkPort::Subscription> devlink_events_;
  uint64_t start_ns_ = 0;
  uint64_t sequence_ = 0;
  int drift_lines_ = 0;  // in this tick
  Standing standing_;
  std::chrono::steady_clock::time_point standing_due_;  // until then it is as it was
  struct Waiting {
    ObjectStatus status;
    bool gone = false;
  };
  std::map<ObjectRef, Waiting> waiting_;  // merged per object until sent
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace fairlead
