// SPDX-License-Identifier: Apache-2.0
//
// Purpose: one running agent, put together from its parts. Everything is built
// here by constructor; whoever has ports (the kernel's or fakes) can have one.
//
// Threading: construct, use and destroy on the thread that runs the loop.
// Ownership: owns store, executor, engine, service and server; borrows the loop,
// the clock and what Ports points to.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "agent/daemon/config.h"
#include "agent/daemon/event_inbox.h"
#include "agent/daemon/lane_executor.h"
#include "agent/daemon/service.h"
#include "agent/reconcile/engine.h"
#include "agent/runtime/loop.h"
#include "agent/store/store.h"
#include "agent/transport/server.h"

namespace fairlead {

class Agent {
 public:
  // Opens the store and the endpoints and starts. Errors name what to do.
  static absl::StatusOr<std::unique_ptr<Agent>> Start(Loop* loop, const Clock* clock,
                                                      DaemonConfig config, Ports ports);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  const Engine& engine() const { return *engine_; }

 private:
  Agent(Loop* loop, const Clock* clock);
  void OnStatus(const ObjectStatus& status, bool gone);
  void FlushEvents();
  void OnVmEvents(const std::string& vm, const EventInbox::VmEvents& events);
  void OnEvents(const EventInbox::Batch& batch);
  void OnRuleTouched(const EventInbox::RuleTouched& event);
  void OnDevlinkChanged(const std::set<DevlinkHandle>& devices);
  absl::Status Subscribe(const Ports& ports, const ProviderConfig& config);
  void Tick();

  Loop* loop_;
  const Clock* clock_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<LaneExecutor> executor_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<Server> server_;
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
  struct Waiting {
    ObjectStatus status;
    bool gone = false;
  };
  std::map<ObjectRef, Waiting> waiting_;  // merged per object until sent
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace fairlead
