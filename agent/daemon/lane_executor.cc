// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/lane_executor.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/providers/hotplug_provider.h"
#include "agent/providers/net_provider.h"
#include "agent/providers/pf_provider.h"
#include "agent/providers/rule_provider.h"
#include "agent/providers/vm_provider.h"

namespace fairlead {
namespace {

constexpr std::chrono::milliseconds kStoreDeadline{5'000};
constexpr std::chrono::milliseconds kLookAtStoreEvery{2'000};
constexpr std::chrono::milliseconds kNetDeadline{10'000};
constexpr std::chrono::milliseconds kRulesDeadline{30'000};
constexpr std::chrono::milliseconds kPlanDeadline{60'000};
// More than the port takes for itself (run.cc).
constexpr std::chrono::milliseconds kSlowPathDeadline{60'000};
constexpr std::string_view kSlowPathLane = "slow path";
constexpr std::string_view kConnectionsLane = "connections";
constexpr std::string_view kRulesLane = "rules ";  // and which (RulesLane)
// Its worker and sockets are let go then, so that those of many VPCs do not outlive an audit.
constexpr std::chrono::seconds kIdleRulesLane{15};
// To look at a NIC with all its VFs, which takes no second. What changes one may take minutes.
constexpr std::chrono::milliseconds kObserveNicDeadline{10'000};
// The engine keeps few requests per lane under way; far more would be a bug.
constexpr size_t kLaneCapacity = 65536;

}  // namespace

// What belongs to one lane. The worker's functions share it, so that it outlives
// a lane which had to be abandoned with its work under way.
struct LaneExecutor::LaneContext {
  struct Work {
    std::shared_ptr<const ProviderConfig> config;
    std::shared_ptr<LeaseTable> leases;
    std::unique_ptr<RtnetlinkPort> rtnetlink;
    std::unique_ptr<TcPort> tc;
    std::unique_ptr<DevlinkPort> devlink;
    std::unique_ptr<PfProvider> pf;
    std::unique_ptr<HotplugProvider> hotplug;  // of a lane of a hot-plug port, in place of pf
    std::unique_ptr<NetProvider> net;
    std::unique_ptr<RuleProvider> rules;
    std::unique_ptr<VmProvider> vm;
    std::unique_ptr<SlowPathSocket> slow_path;
    std::unique_ptr<ConntrackPort> conntrack;
  };
  std::shared_ptr<Work> work = std::make_shared<Work>();
  std::unique_ptr<Lane> lane;
  size_t unanswered = 0;  // asked, and `done` has not run yet
  std::chrono::steady_clock::time_point last_asked;
};

LaneExecutor::LaneExecutor(Scheduler* scheduler, const Clock* clock, ProviderConfig config,
                           Ports ports, Store* store, VmEventListener on_vm_event,
                           LaneListener on_parked)
    : scheduler_(scheduler),
      clock_(clock),
      config_(std::make_shared<const ProviderConfig>(std::move(config))),
      ports_(std::move(ports)),
      store_(store),
      on_vm_event_(std::move(on_vm_event)),
      on_parked_(std::move(on_parked)) {}

LaneExecutor::~LaneExecutor() = default;

absl::StatusOr<LaneExecutor::LaneContext*> LaneExecutor::LaneOf(const std::string& name) {
  if (const auto it = lanes_.find(name); it != lanes_.end()) return it->second.get();
  auto context = std::make_unique<LaneContext>();
  LaneContext::Work& work = *context->work;
  work.config = config_;
  work.leases = leases_;
  if (name.starts_with("vm ")) {
    const std::string vm = name.substr(3);
    work.vm = std::make_unique<VmProvider>(
        config_.get(), ports_.qmp, vm,
        [listener = on_vm_event_, vm](const QmpEvent& event) { listener(vm, event); });
  } else if (name == kSlowPathLane) {
    FAIRLEAD_ASSIGN_OR_RETURN(work.slow_path, ports_.slow_path(config_->slow_path_socket));
  } else if (name == kConnectionsLane) {
    FAIRLEAD_ASSIGN_OR_RETURN(work.conntrack, ports_.conntrack());
  } else if (name != kStoreLane && name != "plan") {
    FAIRLEAD_ASSIGN_OR_RETURN(work.rtnetlink, ports_.rtnetlink());
    FAIRLEAD_ASSIGN_OR_RETURN(work.tc, ports_.tc());
    if (name == "net") {
      work.net = std::make_unique<NetProvider>(config_.get(), work.rtnetlink.get(), work.tc.get());
    } else if (name.starts_with(kRulesLane)) {
      work.rules = std::make_unique<RuleProvider>(config_.get(), ports_.sysfs, work.rtnetlink.get(),
                                                  work.tc.get());
    } else if (const absl::StatusOr<NicId> nic = NicId::Parse(name.substr(name.find(' ') + 1));
               nic.ok() && nic->is_hotplug_port()) {
      work.hotplug =
          std::make_unique<HotplugProvider>(config_.get(), ports_.sysfs, work.rtnetlink.get());
    } else {
      if (ports_.devlink) {
        FAIRLEAD_ASSIGN_OR_RETURN(work.devlink, ports_.devlink());
      }
      work.pf = std::make_unique<PfProvider>(config_.get(), ports_.sysfs, work.rtnetlink.get(),
                                             work.tc.get(), work.devlink.get());
    }
  }
  LaneOptions options;
  options.capacity = kLaneCapacity;
  context->lane = scheduler_->MakeLane(name, clock_, options);
  context->lane->set_on_parked(on_parked_);
  return lanes_.emplace(name, std::move(context)).first->second.get();
}

std::chrono::milliseconds LaneExecutor::DeadlineOf(const std::string& lane) const {
  if (lane == kStoreLane) return kStoreDeadline;
  if (lane == "net") return kNetDeadline;
  if (lane.starts_with(kRulesLane)) return kRulesDeadline;
  if (lane == "plan") return kPlanDeadline;
  if (lane == kSlowPathLane) return kSlowPathDeadline;
  if (lane.starts_with("vm ")) return 3 * config_->qmp_deadline;
  return config_->sriov_deadline + config_->bind_deadline;
}

template <typename T>
void LaneExecutor::Ask(const std::string& lane, std::string what,
                       std::chrono::milliseconds deadline,
                       std::function<absl::StatusOr<T>(LaneContext&)> work,
                       std::function<void(absl::StatusOr<T>)> done) {
  const auto fail = [&](const absl::Status& status) {
    scheduler_->poster()([done, status] { done(status); });
  };
  absl::StatusOr<LaneContext*> context = LaneOf(lane);
  if (!context.ok()) return fail(context.status());
  auto result = std::make_shared<absl::StatusOr<T>>(absl::UnavailableError("not run"));
  // A copy of the shared work: the lane's own structure may go away before it.
  auto shared = std::make_shared<LaneContext>();
  shared->work = (*context)->work;
  const absl::Status queued = (*context)->lane->Run(
      std::move(what), deadline,
      [result, shared, work = std::move(work)] { *result = work(*shared); },
      // The lane lives as long as something is unanswered, and so does the context.
      [result, done, context = *context] {
        --context->unanswered;
        done(std::move(*result));
      });
  if (queued.ok()) {
    ++(*context)->unanswered;
    (*context)->last_asked = clock_->Now();
  } else {
    fail(absl::UnavailableError(queued.message()));
  }
}

ApplyResult LaneExecutor::ApplyOne(LaneContext& lane, const Operation& operation) {
  LaneContext::Work& work = *lane.work;
  ApplyResult result;
  result.status = work.leases->Check(operation.resource.lease);
  if (!result.status.ok()) return result;
  const bool remove = operation.verb == Operation::Verb::kDelete;
  const auto put = [&](absl::StatusOr<ObservedResource> observed) {
    result.status = observed.status();
    if (observed.ok()) result.observed = *std::move(observed);
  };
  struct Visitor {
    LaneContext::Work& work;
    bool remove;
    ApplyResult& result;
    const decltype(put)& keep;

    // All ports of the NIC hang on it, and none of them tells of it.
    void Tell(const NicId& pf, const std::string& done) {
      if (result.status.ok()) {
        spdlog::info("PF {}: {}", pf.ToString(), done);
      } else {
        spdlog::warn("PF {}: {}", pf.ToString(), std::string(result.status.message()));
      }
    }
    void operator()(const VfPoolSpec& s) {
      if (!remove) {
        keep(work.pf->PutPool(s));
        return Tell(s.pf, StrCat(s.count, " VFs are there"));
      }
      result.status = absl::InternalError("a pool is shared: it is never taken away");
    }
    void operator()(const PfSpec& s) {
      if (!remove) {
        keep(work.pf->PutPf(s));
        return Tell(s.pf, StrCat("eswitch set to ", s.eswitch.ToString()));
      }
      result.status = absl::InternalError("a NIC is shared: its eswitch is never taken back");
    }
    void operator()(const UplinkSpec& s) {
      remove ? void(result.status = work.pf->DeleteUplink(s.pf)) : keep(work.pf->PutUplink(s));
    }
    void operator()(const VfSpec& s) {
      if (HotplugProvider* hotplug = work.hotplug.get(); hotplug != nullptr) {
        remove ? void(result.status = hotplug->DeleteFunction(s.vf))
               : keep(hotplug->PutFunction(s));
        return;
      }
      remove ? void(result.status = work.pf->DeleteVf(s, &result.cleaning))
             : keep(work.pf->PutVf(s));
    }
    void operator()(const RepresentorSpec& s) {
      remove ? void(result.status = work.pf->DeleteRepresentor(s.vf))
             : keep(work.pf->PutRepresentor(s));
    }
    void operator()(const DriverBindingSpec& s) {
      if (HotplugProvider* hotplug = work.hotplug.get(); hotplug != nullptr) {
        remove ? void(result.status = hotplug->DeleteBinding(s.vf)) : keep(hotplug->PutBinding(s));
        return;
      }
      remove ? void(result.status = work.pf->DeleteBinding(s.vf)) : keep(work.pf->PutBinding(s));
    }
    void operator()(const TunnelSpec& s) {
      remove ? void(result.status = work.net->DeleteTunnel(s)) : keep(work.net->PutTunnel(s));
    }
    void operator()(const NeighbourSpec& s) {
      remove ? void(result.status = work.net->DeleteNeighbour(s)) : keep(work.net->PutNeighbour(s));
    }
    void operator()(const GuestDeviceSpec& s) {
      if (!remove) return keep(work.vm->PutDevice(s));
      absl::StatusOr<std::optional<ObservedResource>> left = work.vm->DeleteDevice(s);
      result.status = left.status();
      if (left.ok() && left->has_value()) {
        result.observed = **left;
        result.removal_pending = true;
      }
    }
    void operator()(const FlowRuleSpec&) {
      result.status = absl::InternalError("a flow rule outside its lane");
    }
  };
  std::visit(Visitor{work, remove, result, put}, operation.resource.spec);
  return result;
}

std::vector<ApplyResult> LaneExecutor::ApplyAll(LaneContext& lane,
                                                const std::vector<Operation>& operations) {
  std::vector<ApplyResult> results(operations.size());
  if (lane.work->rules == nullptr) {
    for (size_t i = 0; i < operations.size(); ++i) results[i] = ApplyOne(lane, operations[i]);
    return results;
  }
  std::vector<RuleProvider::Change> changes;
  std::vector<size_t> places;
  for (size_t i = 0; i < operations.size(); ++i) {
    results[i].status = lane.work->leases->Check(operations[i].resource.lease);
    const auto* spec = std::get_if<FlowRuleSpec>(&operations[i].resource.spec);
    if (!results[i].status.ok() || spec == nullptr) continue;
    changes.push_back({operations[i].verb == Operation::Verb::kDelete,
                       operations[i].verb == Operation::Verb::kUpdate, spec->rule});
    places.push_back(i);
  }
  std::vector<absl::StatusOr<std::optional<ObservedResource>>> outcomes =
      lane.work->rules->Apply(changes);
  for (size_t k = 0; k < places.size(); ++k) {
    results[places[k]].status = outcomes[k].status();
    if (outcomes[k].ok()) results[places[k]].observed = *std::move(outcomes[k]);
  }
  return results;
}

void LaneExecutor::Apply(const std::string& lane, std::vector<Operation> operations,
                         ApplyDone done) {
  std::string what = operations.empty() ? std::string("nothing") : Describe(operations.front());
  if (operations.size() > 1) StrAppend(&what, " and ", operations.size() - 1, " more");
  const size_t count = operations.size();
  std::chrono::milliseconds deadline = DeadlineOf(lane);
  for (const Operation& operation : operations) {
    if (operation.verb != Operation::Verb::kDelete &&
        std::holds_alternative<GuestDeviceSpec>(operation.resource.spec)) {
      deadline += config_->device_add_deadline;
    }
  }
  Ask<std::vector<ApplyResult>>(
      lane, std::move(what), deadline,
      [operations = std::move(operations)](LaneContext& context) {
        return absl::StatusOr<std::vector<ApplyResult>>(ApplyAll(context, operations));
      },
      [done = std::move(done), count](absl::StatusOr<std::vector<ApplyResult>> results) {
        done(results.ok() ? *std::move(results)
                          : std::vector<ApplyResult>(
                                count, ApplyResult{results.status(), std::nullopt, false}));
      });
}

void LaneExecutor::PutRules(const RuleTable& table, std::vector<FlowRule> rules,
                            std::function<void(std::vector<absl::StatusOr<RuleEvidence>>)> done) {
  using Results = std::vector<absl::StatusOr<RuleEvidence>>;
  const size_t count = rules.size();
  Ask<Results>(
      RulesLane(table), StrCat("make ", count, " rules of ", table.ToString()), kRulesDeadline,
      [rules = std::move(rules)](LaneContext& context) -> absl::StatusOr<Results> {
        return context.work->rules->Put(rules);
      },
      [done = std::move(done), count](absl::StatusOr<Results> results) {
        done(results.ok() ? *std::move(results) : Results(count, results.status()));
      });
}

void LaneExecutor::ObservePf(const NicId& pf,
                             std::function<void(absl::StatusOr<PfObservation>)> done) {
  const std::string lane = StrCat("pf ", pf.ToString());
  Ask<PfObservation>(
      lane, "observe the PF", std::min(DeadlineOf(lane), kObserveNicDeadline),
      [pf](LaneContext& context) -> absl::StatusOr<PfObservation> {
        if (HotplugProvider* hotplug = context.work->hotplug.get(); hotplug != nullptr) {
          FAIRLEAD_ASSIGN_OR_RETURN(HotplugProvider::Observation seen, hotplug->Observe(pf));
          return PfObservation{std::move(seen.facts), std::move(seen.resources)};
        }
        FAIRLEAD_ASSIGN_OR_RETURN(PfProvider::Observation seen, context.work->pf->Observe(pf));
        return PfObservation{std::move(seen.facts), std::move(seen.resources)};
      },
      [this, pf, done = std::move(done)](absl::StatusOr<PfObservation> result) {
        // Said once each time that it changes.
        const std::string words =
            result.ok() ? result->facts.refused : std::string(result.status().message());
        if (words != std::exchange(said_of_pf_[pf], words)) {
          if (words.empty()) {
            spdlog::info("{} {}: {} is well", pf.is_hotplug_port() ? "hot-plug port" : "PF",
                         pf.ToString(),
                         pf.is_hotplug_port() ? result->facts.name : result->facts.netdev);
          } else {
            spdlog::warn("{} {}: {}", pf.is_hotplug_port() ? "hot-plug port" : "PF", pf.ToString(),
                         words);
          }
        }
        done(std::move(result));
      });
}

void LaneExecutor::ObserveVf(const VfId& vf,
                             std::function<void(absl::StatusOr<VfObservation>)> done) {
  const std::string lane = StrCat("pf ", vf.pf.ToString());
  Ask<VfObservation>(
      lane, "observe a VF", std::min(DeadlineOf(lane), kObserveNicDeadline),
      [vf](LaneContext& context) -> absl::StatusOr<VfObservation> {
        if (HotplugProvider* hotplug = context.work->hotplug.get(); hotplug != nullptr) {
          FAIRLEAD_ASSIGN_OR_RETURN(HotplugProvider::OneFunction seen,
                                    hotplug->ObserveFunction(vf));
          return VfObservation{std::move(seen.facts), std::move(seen.resources)};
        }
        FAIRLEAD_ASSIGN_OR_RETURN(PfProvider::OneVf seen, context.work->pf->ObserveVf(vf));
        return VfObservation{std::move(seen.facts), std::move(seen.resources), seen.counters};
      },
      std::move(done));
}

void LaneExecutor::ObserveTunnel(std::function<void(absl::StatusOr<TunnelObservation>)> done) {
  Ask<TunnelObservation>(
      "net", "observe the tunnel", kNetDeadline,
      [](LaneContext& context) -> absl::StatusOr<TunnelObservation> {
        NetProvider& net = *context.work->net;
        TunnelObservation seen;
        FAIRLEAD_ASSIGN_OR_RETURN(seen.device, net.ObserveTunnel());
        FAIRLEAD_ASSIGN_OR_RETURN(seen.underlay, net.ObserveUnderlay());
        return seen;
      },
      std::move(done));
}

void LaneExecutor::ObserveNeighbours(
    std::vector<IpAddress> outer,
    std::function<void(absl::StatusOr<std::vector<ObservedResource>>)> done) {
  Ask<std::vector<ObservedResource>>(
      "net", "observe neighbours", kNetDeadline,
      [outer = std::move(outer)](LaneContext& context) {
        return context.work->net->ObserveNeighbours(outer);
      },
      std::move(done));
}

void LaneExecutor::ObserveTable(const RuleTable& table, bool counted,
                                std::function<void(absl::StatusOr<ObservedRules>)> done) {
  Ask<ObservedRules>(
      RulesLane(table), StrCat("observe the rules of ", table.ToString()), kRulesDeadline,
      [table, counted](LaneContext& context) {
        return context.work->rules->Observe(table, counted);
      },
      std::move(done));
}

void LaneExecutor::CountRules(const RuleTable& table, std::vector<RuleToCount> rules,
                              std::function<void(absl::StatusOr<RuleCounts>)> done) {
  Ask<RuleCounts>(
      RulesLane(table), StrCat("count the rules of ", table.ToString()), kRulesDeadline,
      [table, rules = std::move(rules)](LaneContext& context) {
        return context.work->rules->Count(table, rules);
      },
      std::move(done));
}

void LaneExecutor::ObserveConnections(
    uint16_t zone, std::function<void(absl::StatusOr<std::vector<Connection>>)> done) {
  Ask<std::vector<Connection>>(
      std::string(kConnectionsLane), StrCat("list the connections of zone ", zone), kRulesDeadline,
      [zone](LaneContext& context) { return context.work->conntrack->Dump(zone); },
      std::move(done));
}

void LaneExecutor::DeleteConnections(uint16_t zone, std::vector<Connection> connections,
                                     std::function<void(absl::Status)> done) {
  struct Deleted {};
  Ask<Deleted>(
      std::string(kConnectionsLane), StrCat("delete connections of zone ", zone), kRulesDeadline,
      [connections = std::move(connections)](LaneContext& context) -> absl::StatusOr<Deleted> {
        for (const absl::Status& deleted : context.work->conntrack->Delete(connections)) {
          FAIRLEAD_RETURN_IF_ERROR(deleted);
        }
        return Deleted();
      },
      [done = std::move(done)](const absl::StatusOr<Deleted>& deleted) { done(deleted.status()); });
}

void LaneExecutor::TellSlowPath(SlowPathTelling telling,
                                std::function<void(absl::StatusOr<SlowPathReport>)> done) {
  const std::string lane(kSlowPathLane);
  Ask<SlowPathReport>(
      lane, "tell the slow path", DeadlineOf(lane),
      [telling = std::move(telling)](LaneContext& context) {
        SlowPathSocket& socket = *context.work->slow_path;
        return telling.all ? socket.TellAll(telling.put, telling.whole, telling.keep)
                           : socket.Tell(telling.put, telling.remove);
      },
      std::move(done));
}

void LaneExecutor::ObserveVm(const std::string& vm, const Uuid& uuid,
                             std::function<void(absl::StatusOr<VmObservation>)> done) {
  const std::string lane = StrCat("vm ", vm);
  Ask<VmObservation>(
      lane, "ask the monitor", DeadlineOf(lane),
      [uuid](LaneContext& context) -> absl::StatusOr<VmObservation> {
        FAIRLEAD_ASSIGN_OR_RETURN(VmProvider::Observation seen, context.work->vm->Observe(uuid));
        VmObservation observation;
        observation.facts = std::move(seen.facts);
        for (VmProvider::Device& device : seen.devices) {
          observation.devices.push_back({device.id, device.host, device.bus});
        }
        return observation;
      },
      std::move(done));
}

void LaneExecutor::Commit(StoreBatch batch, std::function<void(absl::Status)> done) {
  // No object's status tells of it: its port is gone.
  std::vector<std::string> told;
  for (const SanitationRecord& record : batch.sanitation) {
    const std::string vf = StrCat("VF ", record.vf.ToString());
    if (record.verdict == Verdict::kQuarantined) {
      told.push_back(StrCat("quarantined ", vf, ": ", record.reason));
    } else if (record.verdict == Verdict::kReleased) {
      told.push_back(StrCat(vf, " was freed by ", record.released_by,
                            " as it is, not proven clean: ", record.reason));
    }
  }
  Ask<bool>(
      std::string(kStoreLane), "commit", kStoreDeadline,
      [store = store_, batch = std::move(batch)](LaneContext&) -> absl::StatusOr<bool> {
        FAIRLEAD_RETURN_IF_ERROR(store->Commit(batch));
        return true;
      },
      [this, done = std::move(done), told = std::move(told)](absl::StatusOr<bool> result) {
        store_refused_ = result.status();
        if (result.ok()) store_misplaced_ = absl::OkStatus();
        if (!result.ok()) spdlog::error("the store: {}", std::string(result.status().message()));
        for (const std::string& line : result.ok() ? told : std::vector<std::string>{}) {
          spdlog::warn("{}", line);
        }
        done(result.status());
      });
}

void LaneExecutor::After(std::chrono::milliseconds delay, std::function<void()> fn) {
  scheduler_->After(delay, std::move(fn));
}

void LaneExecutor::Compute(std::function<void()> work, std::function<void(absl::Status)> done) {
  Ask<bool>(
      "plan", "plan", kPlanDeadline,
      [work = std::move(work)](LaneContext&) -> absl::StatusOr<bool> {
        work();
        return true;
      },
      [done = std::move(done)](absl::StatusOr<bool> result) { done(result.status()); });
}

void LaneExecutor::LeaseGranted(Lease lease) { leases_->Grant(lease); }
void LaneExecutor::LeaseEnded(Lease lease) { leases_->End(lease); }

void LaneExecutor::TakeOver(uint32_t store) { config_->marks->TakeOver(store); }

void LaneExecutor::ReleaseVm(const std::string& vm) {
  const std::string name = StrCat("vm ", vm);
  const auto it = lanes_.find(name);
  if (it == lanes_.end()) return;
  // The session ends on its own lane; then the lane goes too, unless somebody
  // asked for the VM again meanwhile.
  Ask<bool>(
      name, "let the monitor go", DeadlineOf(name),
      [](LaneContext& context) -> absl::StatusOr<bool> {
        context.work->vm->Disconnect();
        return true;
      },
      [this, name](const absl::StatusOr<bool>&) {
        // Not from inside the lane's own callback.
        scheduler_->After(std::chrono::milliseconds(0), [this, name] {
          const auto it = lanes_.find(name);
          if (it == lanes_.end()) return;
          if (it->second->unanswered == 0) lanes_.erase(it);
        });
      });
}

// What becomes of its file shows before a change is lost with it, and that it takes changes again
// before one is sent. What is not a matter of trying again (a damaged page) another change alone
// shows mended.
void LaneExecutor::LookAtStore() {
  if (looking_at_store_ || clock_->Now() < look_at_store_) return;
  look_at_store_ = clock_->Now() + kLookAtStoreEvery;
  looking_at_store_ = true;
  Ask<bool>(
      std::string(kStoreLane), "look at the file", kStoreDeadline,
      [store = store_, try_it = IsTransient(store_refused_)](LaneContext&) -> absl::StatusOr<bool> {
        FAIRLEAD_RETURN_IF_ERROR(try_it ? store->Probe() : store->CheckInPlace());
        return try_it;
      },
      [this](const absl::StatusOr<bool>& result) {
        looking_at_store_ = false;
        if (result.ok() && *result) store_refused_ = absl::OkStatus();
        if (!result.ok() && store_misplaced_.ok()) {
          spdlog::error("the store: {}", std::string(result.status().message()));
        }
        store_misplaced_ = result.status();
      });
}

std::string LaneExecutor::store_problem() const {
  const auto lane = lanes_.find(std::string(kStoreLane));
  const absl::Status& known = store_refused_.ok() ? store_misplaced_ : store_refused_;
  const LaneStats stats = lane == lanes_.end() ? LaneStats{} : lane->second->lane->Stats();
  if (!stats.parked) return std::string(known.message());
  return StrCat("it has not answered for ", stats.running_for.count(), " ms");
}

std::vector<LaneStats> LaneExecutor::Lanes() const {
  std::vector<LaneStats> result;
  for (const auto& [name, context] : lanes_) result.push_back(context->lane->Stats());
  return result;
}

void LaneExecutor::Tick() {
  for (const auto& [name, context] : lanes_) context->lane->Tick();
  LookAtStore();
  // Of tables there are as many as VPCs have been here.
  std::erase_if(lanes_, [now = clock_->Now()](const auto& entry) {
    const LaneContext& context = *entry.second;
    return entry.first.starts_with(kRulesLane) && context.unanswered == 0 &&
           now - context.last_asked > kIdleRulesLane;
  });
}

}  // namespace fairlead
