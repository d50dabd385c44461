// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/core.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/daemon/hotplug_events.h"
#include "dataplane/pipeline/pipeline.h"
#include "fairlead/v1/agent.pb.h"
#include "fairlead/v1/status.pb.h"

namespace fairlead {
namespace {

constexpr std::chrono::milliseconds kTick{100};
constexpr int kDriftLinesPerTick = 10;
constexpr std::chrono::milliseconds kReconnectPause{200};

std::optional<NicId> NicOfLane(std::string_view lane) {
  if (!lane.starts_with("pf ")) return std::nullopt;
  const absl::StatusOr<NicId> nic = NicId::Parse(lane.substr(3));
  return nic.ok() ? std::optional(*nic) : std::nullopt;
}

}  // namespace

Core::Core(Scheduler* scheduler, const Clock* clock, Publish publish)
    : scheduler_(scheduler), clock_(clock), publish_(std::move(publish)) {}

Core::~Core() {
  if (inbox_ != nullptr) inbox_->Close();
}

absl::StatusOr<std::unique_ptr<Core>> Core::Start(Scheduler* scheduler, const Clock* clock,
                                                  DaemonConfig config, Ports ports,
                                                  std::unique_ptr<Store> store,
                                                  StoreContents contents, Publish publish) {
  auto core = std::unique_ptr<Core>(new Core(scheduler, clock, std::move(publish)));
  Core* self = core.get();
  core->start_ns_ = UnixNanoseconds(clock->WallNow());
  core->store_ = std::move(store);
  config.engine.compile.store_id = core->store_->id();
  std::set<uint32_t> taken_over;
  for (const TakenOverStore& taken : contents.taken_over) taken_over.insert(taken.id);
  config.providers.marks = std::make_shared<OwnMarks>(core->store_->id(), std::move(taken_over));

  core->inbox_ = std::make_shared<EventInbox>(
      core->store_->id(), scheduler->poster(),
      [self](const EventInbox::Batch& batch) { self->OnEvents(batch); });
  core->executor_ = std::make_unique<LaneExecutor>(
      scheduler, clock, config.providers, ports, core->store_.get(),
      [inbox = core->inbox_](const std::string& vm, const QmpEvent& event) {
        inbox->Add(vm, event);
      },
      [self, alive = std::weak_ptr<bool>(core->alive_)](const LaneStats& stats) {
        if (alive.expired()) return;
        if (stats.name == kStoreLane) self->service_->OnStoreHangs(stats.parked);
        if (stats.parked) {
          if (const std::optional<NicId> pf = NicOfLane(stats.name)) self->engine_->OnPfHung(*pf);
          spdlog::error(
              "lane '{}' is past its deadline in '{}' ({} ms); it is parked until that "
              "comes back",
              stats.name, stats.running, stats.running_for.count());
        } else {
          spdlog::info("lane '{}' goes on", stats.name);
          if (const std::optional<NicId> pf = NicOfLane(stats.name))
            self->engine_->OnPfChanged(*pf);
        }
      });
  Engine::Listener* listener = self;
  core->engine_ = std::make_unique<Engine>(config.engine, core->executor_.get(), clock, listener);
  ServiceOptions service;
  service.agent_start = core->start_ns_;
  service.limits.tunnel_local = config.engine.compile.tunnel.local;
  for (const HotplugPortConfig& port : config.providers.hotplug_ports) {
    service.limits.hotplug_ports.push_back({port.network, port.identity});
  }
  core->service_ = std::make_unique<Service>(
      core->engine_.get(), core->executor_.get(), service, core->store_->id(),
      [self] { return self->executor_->Lanes(); },
      [self] { return self->executor_->store_problem(); });
  core->service_->Restore(std::move(contents.controllers), std::move(contents.answers));
  if (contents.objects.empty() && contents.next_ordinal == 1 && contents.next_lease == 1) {
    spdlog::warn("store {:08x} is new: what an agent with another one made is somebody else's",
                 core->store_->id());
  }
  spdlog::info("store {:08x}: {} objects, {} attachments", core->store_->id(),
               contents.objects.size(), contents.attachments.size());
  // Events first, then observation: nothing that happens in between is missed.
  FAIRLEAD_RETURN_IF_ERROR(core->Subscribe(ports, config.providers));
  core->engine_->Start(std::move(contents));
  core->Tick();
  return core;
}

void Core::Handle(std::string_view request, Service::Answer answer) {
  service_->Handle(request, std::move(answer));
}

absl::Status Core::Subscribe(const Ports& ports, const ProviderConfig& config) {
  if (ports.uevent != nullptr) {
    FAIRLEAD_ASSIGN_OR_RETURN(
        device_events_,
        ports.uevent->Subscribe(
            [inbox = inbox_, hotplug = HotplugEvents(config.hotplug_ports)](const Uevent& event) {
              if (event.lost) inbox->AddLost(EventInbox::Source::kDevices);
              if (const std::optional<NicId> nic = hotplug.PortOf(event)) inbox->AddNic(*nic);
              if (const std::optional<PciAddress> pci = DriverChangeOf(event)) inbox->AddPci(*pci);
            }));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(events_rtnetlink_, ports.rtnetlink());
  FAIRLEAD_ASSIGN_OR_RETURN(
      link_events_, events_rtnetlink_->Subscribe(
                        [inbox = inbox_](const RtnetlinkEvent& event) { inbox->Add(event); }));
  FAIRLEAD_ASSIGN_OR_RETURN(events_tc_, ports.tc());
  FAIRLEAD_ASSIGN_OR_RETURN(
      rule_events_,
      events_tc_->Subscribe([inbox = inbox_](const TcPort::Event& event) { inbox->Add(event); }));
  if (!ports.devlink) return absl::OkStatus();
  FAIRLEAD_ASSIGN_OR_RETURN(events_devlink_, ports.devlink());
  auto devlink_events = events_devlink_->Subscribe(
      [inbox = inbox_](const DevlinkPort::Event& event) { inbox->Add(event); });
  if (absl::IsUnimplemented(devlink_events.status())) {
    spdlog::info("no events of devlink: {}", std::string(devlink_events.status().message()));
    return absl::OkStatus();
  }
  if (!devlink_events.ok()) return devlink_events.status();
  devlink_events_ = *std::move(devlink_events);
  return absl::OkStatus();
}

const Standing& Core::standing() {
  const auto begin = clock_->Now();
  if (begin < standing_due_) return standing_;
  standing_ = StandingOf(*engine_);
  if (const std::string& problem = executor_->store_problem(); !problem.empty()) {
    StrAppend(&standing_.counts, "; the store took nothing of late: ", problem);
  }
  const auto end = clock_->Now();
  standing_due_ = end + 20 * (end - begin);
  return standing_;
}

void Core::Tick() {
  if (drift_lines_ > kDriftLinesPerTick) {
    spdlog::warn("and {} more changes of this kind (fairleadctl get drifts)",
                 drift_lines_ - kDriftLinesPerTick);
  }
  drift_lines_ = 0;
  executor_->Tick();
  scheduler_->After(kTick, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) Tick();
  });
}

void Core::OnStatus(const ObjectStatus& status, bool gone) {
  const std::string name = status.ref.ToString();
  if (gone) {
    spdlog::info("{}: gone", name);
  } else if (status.state == ObjectState::kFailed || status.state == ObjectState::kDegraded) {
    spdlog::warn("{}: {} at {}: {}", name, ObjectStateName(status.state), status.step,
                 status.reason);
  } else {
    spdlog::debug("{}: {} {} {}", name, ObjectStateName(status.state), status.step, status.reason);
  }
  if (waiting_.empty()) {
    scheduler_->After(std::chrono::milliseconds(0), [this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) FlushEvents();
    });
  }
  waiting_[status.ref] = {status, gone};
}

// Somebody who flushes a table changes thousands of rules at once.
void Core::OnDrift(const Drift& drift) {
  if (++drift_lines_ > kDriftLinesPerTick) return;
  if (drift.repaired) {
    spdlog::info("{}: {} is as wanted again", drift.owner, drift.resource);
  } else {
    spdlog::warn("{}: somebody changed {}: {}", drift.owner, drift.resource, drift.change);
  }
}

void Core::OnStarted(const StartReport& report) {
  spdlog::info(
      "what was found at the start: {} resources adopted, {} repaired, {} removed, {} of other "
      "stores left alone; {} ms",
      report.adopted, report.repaired, report.removed, report.foreign, report.took.count());
}

void Core::FlushEvents() {
  for (const auto& [ref, waiting] : std::exchange(waiting_, {})) {
    v1::Event event;
    event.set_sequence(++sequence_);
    event.set_agent_start(start_ns_);
    event.set_time(UnixNanoseconds(clock_->WallNow()));
    event.set_gone(waiting.gone);
    ToProto(waiting.status, event.mutable_status());
    publish_(ref.ToString(), event.SerializeAsString());
  }
}

void Core::OnVmEvents(const std::string& vm, const EventInbox::VmEvents& events) {
  for (const std::string& device : events.unplug_errors) engine_->OnGuestUnplugError(vm, device);
  for (const std::string& device : events.deleted) engine_->OnGuestDeviceDeleted(vm, device);
  if (events.disconnected) {
    spdlog::info("vm/{}: its monitor went away", vm);
    // Not at once: one that takes every client and drops it would be asked for ever.
    scheduler_->After(kReconnectPause, [this, vm, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) engine_->OnVmChanged(vm);
    });
  } else if (events.changed) {
    engine_->OnVmChanged(vm);
  }
}

void Core::OnEvents(const EventInbox::Batch& batch) {
  for (const auto& [vm, events] : batch.vms) OnVmEvents(vm, events);
  for (const EventInbox::Source source : batch.lost) OnLost(source);
  for (const NicId& nic : batch.nics) engine_->OnPfChanged(nic);
  for (const PciAddress& pci : batch.drivers) engine_->OnDriverChanged(pci);
  for (const auto& [ifindex, name] : batch.links) engine_->OnLinkChanged(ifindex, name);
  if (batch.neighbours) engine_->OnNeighbourChanged();
  if (batch.addresses) engine_->OnAddressChanged();
  for (const EventInbox::RuleTouched& rule : batch.rules) OnRuleTouched(rule);
  OnDevlinkChanged(batch.devlink);
}

void Core::OnLost(EventInbox::Source source) {
  const auto say = [](const char* what, const char* where) {
    spdlog::warn("messages of the kernel about {} were lost: {} observed again", what, where);
  };
  switch (source) {
    case EventInbox::Source::kLinks:
      say("links", "NICs, the tunnel and its peers are");
      return engine_->ObserveLinks();
    case EventInbox::Source::kRules:
      say("rules", "rules and what they stand on are");
      return engine_->ObserveRules();
    case EventInbox::Source::kDevlink:
      say("eswitches", "NICs are");
      return engine_->ObserveNics();
    case EventInbox::Source::kDevices:
      say("devices", "NICs and hot-plug ports are");
      engine_->ObserveNics();
      return engine_->ObserveHotplugPorts();
  }
}

// Of the NICs that Fairlead may use; each is looked at once, however much it told.
void Core::OnDevlinkChanged(const std::set<DevlinkHandle>& devices) {
  if (devices.empty()) return;
  std::vector<NicId> changed;
  for (const auto& [nic, pf] : engine_->facts().pfs) {
    if (devices.contains(DevlinkHandle::Pci(pf.pci))) changed.push_back(nic);
  }
  for (const NicId& nic : changed) engine_->OnPfChanged(nic);
  engine_->OnUnknownNicChanged();
}

void Core::OnRuleTouched(const EventInbox::RuleTouched& event) {
  // A flush, a removed qdisc, or the drop rule by name: the device that ends in it
  // is looked at, not only the table.
  if (event.id.chain == 0 && (event.id.priority == 0 || event.id.priority == kPrioDefaultDrop)) {
    if (event.at.block == 0) {
      engine_->OnLinkChanged(event.at.ifindex, "");
    } else if (const auto block = TableAt(event.at)) {
      engine_->OnBlockChanged(*block);
    }
  }
  const std::optional<RuleTable> table = TableAt(event.at);
  if (!table) return;
  // Our own removals are of rules that are no longer wanted.
  if (!engine_->Misses({*table, event.id.chain, event.id.priority, event.id.handle})) return;
  engine_->OnTableChanged(*table);
}

// The table that hangs there; none: it is none of Fairlead's.
std::optional<RuleTable> Core::TableAt(const TcAttachPoint& at) const {
  const HostFacts& facts = engine_->facts();
  for (const auto& [nic, pf] : facts.pfs) {
    if (at.block != 0) {
      if (const auto block = BlockOfIndex(at.block, nic)) return block;
    } else if (pf.ifindex == at.ifindex) {
      return UplinkTable(nic);
    }
  }
  const bool tunnel = at.block == 0 && (!facts.tunnel || facts.tunnel->ifindex == at.ifindex);
  return tunnel ? std::optional(RuleTable{RuleTable::Kind::kTunnelIngress, {}}) : std::nullopt;
}

}  // namespace fairlead
