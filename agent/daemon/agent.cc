// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/agent.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "agent/base/error.h"
#include "agent/base/text.h"
#include "dataplane/pipeline/pipeline.h"
#include "fairlead/v1/agent.pb.h"
#include "fairlead/v1/status.pb.h"

namespace fairlead {
namespace {

constexpr std::chrono::milliseconds kTick{100};

uint64_t Nanoseconds(std::chrono::system_clock::time_point time) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
}

std::string MalformedAnswer() {
  v1::Reply reply;
  reply.set_protocol_version(kProtocolVersion);
  v1::Rejected::Violation* violation = reply.mutable_rejected()->add_violations();
  violation->set_code(v1::Rejected::CODE_MALFORMED);
  violation->set_reason("a request is one frame (after an empty one, if any)");
  return reply.SerializeAsString();
}

}  // namespace

Agent::Agent(Loop* loop, const Clock* clock) : loop_(loop), clock_(clock) {}

Agent::~Agent() = default;

absl::StatusOr<std::unique_ptr<Agent>> Agent::Start(Loop* loop, const Clock* clock,
                                                    DaemonConfig config, Ports ports) {
  auto agent = std::unique_ptr<Agent>(new Agent(loop, clock));
  agent->start_ns_ = Nanoseconds(clock->WallNow());
  FAIRLEAD_ASSIGN_OR_RETURN(agent->store_,
                            OpenSqliteStore({StrCat(config.state_dir, "/store.sqlite")}));
  FAIRLEAD_ASSIGN_OR_RETURN(StoreContents contents, agent->store_->Load());
  config.providers.store_id = config.engine.compile.store_id = agent->store_->id();

  // The endpoint is bound before anything is touched: a second agent stops here.
  Agent* self = agent.get();
  FAIRLEAD_ASSIGN_OR_RETURN(
      agent->server_,
      Server::Create(loop->context(), config.server,
                     [self](const ReplyAddress& from, std::string_view payload, bool malformed) {
                       if (malformed) {
                         self->server_->Reply(from, MalformedAnswer());
                         return;
                       }
                       self->service_->Handle(payload, [self, from](const std::string& answer) {
                         self->server_->Reply(from, answer);
                       });
                     }));

  agent->executor_ = std::make_unique<LaneExecutor>(
      loop, clock, config.providers, ports, agent->store_.get(),
      [self, alive = std::weak_ptr<bool>(agent->alive_)](const std::string& vm,
                                                         const QmpEvent& event) {
        if (!alive.expired()) self->OnVmEvent(vm, event);
      },
      [self, alive = std::weak_ptr<bool>(agent->alive_)](const LaneStats& stats) {
        if (alive.expired()) return;
        if (stats.parked) {
          if (stats.name.starts_with("pf ")) {
            const absl::StatusOr<MacAddress> pf = MacAddress::Parse(stats.name.substr(3));
            if (pf.ok()) self->engine_->OnPfHung(*pf);
          }
          spdlog::error(
              "lane '{}' is past its deadline in '{}' ({} ms); it is parked until that "
              "comes back",
              stats.name, stats.running, stats.running_for.count());
        } else {
          spdlog::info("lane '{}' goes on", stats.name);
        }
      });
  agent->engine_ = std::make_unique<Engine>(
      config.engine, agent->executor_.get(), clock,
      [self](const ObjectStatus& status, bool gone) { self->OnStatus(status, gone); });
  agent->service_ =
      std::make_unique<Service>(agent->engine_.get(), agent->executor_.get(), ServiceOptions{},
                                agent->store_->id(), [self] { return self->executor_->Lanes(); });
  agent->service_->Restore(std::move(contents.controllers), std::move(contents.answers));
  spdlog::info("store {:08x}: {} objects, {} attachments", agent->store_->id(),
               contents.objects.size(), contents.attachments.size());
  // Events first, then observation: nothing that happens in between is missed.
  FAIRLEAD_RETURN_IF_ERROR(agent->Subscribe(ports));
  agent->engine_->Start(std::move(contents));
  agent->Tick();
  return agent;
}

absl::Status Agent::Subscribe(const Ports& ports) {
  FAIRLEAD_ASSIGN_OR_RETURN(events_rtnetlink_, ports.rtnetlink());
  FAIRLEAD_ASSIGN_OR_RETURN(link_events_,
                            events_rtnetlink_->Subscribe(
                                [this, post = loop_->poster(),
                                 alive = std::weak_ptr<bool>(alive_)](const RtnetlinkEvent& event) {
                                  post([this, alive, event] {
                                    if (!alive.expired()) OnLink(event);
                                  });
                                }));
  FAIRLEAD_ASSIGN_OR_RETURN(events_tc_, ports.tc());
  FAIRLEAD_ASSIGN_OR_RETURN(
      rule_events_,
      events_tc_->Subscribe([this, post = loop_->poster(),
                             alive = std::weak_ptr<bool>(alive_)](const TcPort::Event& event) {
        if (!event.deleted && !event.lost) return;  // what is added never breaks ours
        post([this, alive, event] {
          if (!alive.expired()) OnRule(event);
        });
      }));
  return absl::OkStatus();
}

void Agent::Tick() {
  executor_->Tick();
  loop_->After(kTick, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) Tick();
  });
}

void Agent::OnStatus(const ObjectStatus& status, bool gone) {
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
    loop_->After(std::chrono::milliseconds(0), [this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) FlushEvents();
    });
  }
  waiting_[status.ref] = {status, gone};
}

void Agent::FlushEvents() {
  for (const auto& [ref, waiting] : std::exchange(waiting_, {})) {
    v1::Event event;
    event.set_sequence(++sequence_);
    event.set_agent_start(start_ns_);
    event.set_time(Nanoseconds(clock_->WallNow()));
    event.set_gone(waiting.gone);
    ToProto(waiting.status, event.mutable_status());
    server_->Publish(ref.ToString(), event.SerializeAsString());
  }
}

void Agent::OnVmEvent(const std::string& vm, const QmpEvent& event) {
  switch (event.kind) {
    case QmpEvent::Kind::kDeviceDeleted:
      engine_->OnGuestDeviceDeleted(vm, event.device);
      break;
    case QmpEvent::Kind::kUnplugGuestError:
      engine_->OnGuestUnplugError(vm, event.device);
      break;
    case QmpEvent::Kind::kDisconnected:
      spdlog::info("vm/{}: its monitor went away", vm);
      engine_->OnVmChanged(vm);
      break;
    case QmpEvent::Kind::kReset:
    case QmpEvent::Kind::kShutdown:
    case QmpEvent::Kind::kRunState:
      engine_->OnVmChanged(vm);
      break;
  }
}

void Agent::OnLink(const RtnetlinkEvent& event) {
  switch (event.kind) {
    case RtnetlinkEvent::Kind::kLinkChanged:
    case RtnetlinkEvent::Kind::kLinkGone:
      engine_->OnLinkChanged(event.ifindex, event.name);
      break;
    case RtnetlinkEvent::Kind::kNeighbourChanged:
    case RtnetlinkEvent::Kind::kAddressOrRouteChanged:
      engine_->OnNeighbourChanged();
      break;
    case RtnetlinkEvent::Kind::kLost:
      spdlog::warn("the kernel dropped messages to us: everything is observed again");
      engine_->Audit();
      break;
  }
}

void Agent::OnRule(const TcPort::Event& event) {
  if (event.lost) {
    engine_->Audit();
    return;
  }
  // A flush, a removed qdisc, or the drop rule by name: the device that ends in it
  // is looked at, not only the table.
  if (event.id.chain == 0 && (event.id.priority == 0 || event.id.priority == kPrioDefaultDrop)) {
    if (event.at.block == 0) {
      engine_->OnLinkChanged(event.at.ifindex, "");
    } else if (IsFairleadBlock(event.at.block)) {
      if (const auto vni = Vni::Make(event.at.block & Vni::kMax); vni.ok()) {
        engine_->OnBlockChanged(*vni);
      }
    }
  }
  RuleTable table;
  if (event.at.block != 0) {
    if (!IsFairleadBlock(event.at.block)) return;
    const absl::StatusOr<Vni> vni = Vni::Make(event.at.block & Vni::kMax);
    if (!vni.ok()) return;
    table = {RuleTable::Kind::kVpcBlock, *vni};
  } else {
    const auto& tunnel = engine_->facts().tunnel;
    if (!tunnel || event.at.ifindex != tunnel->ifindex) return;
    table = {RuleTable::Kind::kTunnelIngress, {}};
  }
  // Our own removals are of rules that are no longer wanted.
  if (!engine_->Wants({table, event.id.chain, event.id.priority, event.id.handle})) return;
  engine_->OnTableChanged(table);
}

}  // namespace fairlead
