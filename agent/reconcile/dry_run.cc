// SPDX-License-Identifier: Apache-2.0
//
// A dry run is the engine itself on a copy of its state, with an executor that
// does nothing, succeeds at once, and writes down what it was asked to do. So a
// plan cannot differ from what would really be done, but by what the outside
// answers. The copy shares nothing with the engine: it runs beside the loop.
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

// Steps after which a dry run is cut off, far above any real change.
constexpr int kMostSteps = 2'000'000;

class PlanningExecutor final : public Executor {
 public:
  // `rules` stand, and no longer than this.
  PlanningExecutor(const Engine& real, const HostFacts& facts, Observed rules,
                   const std::map<std::string, absl::StatusOr<VmObservation>>& vms)
      : facts_(facts), vms_(vms), rules_(std::move(rules)) {
    for (const auto& [vf, attachment] : real.attachments()) {
      const Port* port = real.world().FindPort(attachment.port);
      const Object* removed = real.RemovedObject({ObjectKind::kPort, attachment.port});
      if (port == nullptr && removed != nullptr) port = &std::get<Port>(*removed);
      if (port != nullptr && port->mac) macs_[vf] = *port->mac;
    }
  }

  void Apply(const std::string& /*lane*/, std::vector<Operation> operations,
             ApplyDone done) override {
    std::vector<ApplyResult> results;
    for (const Operation& operation : operations) {
      ApplyResult result;
      if (operation.verb != Operation::Verb::kDelete) {
        ObservedResource observed;
        observed.key = operation.resource.key;
        observed.spec = operation.resource.spec;
        observed.neighbour = NeighbourState::kResolved;
        if (const auto* rule = std::get_if<FlowRuleSpec>(&operation.resource.spec)) {
          observed.content_hash = rule->rule.ContentHash();
          // What the NIC takes is not known before it is asked.
          observed.hardware = RuleHardware::kInHardware;
          observed.in_hw_count = RuleEvidence::kNotCounted;
        }
        if (operation.resource.key.kind == ResourceKind::kTunnel) observed.ifindex = UINT32_MAX;
        if (const auto* rep = std::get_if<RepresentorSpec>(&operation.resource.spec)) {
          if (const VfFacts* vf = facts_.FindVf(rep->vf)) {
            observed.ifindex = vf->representor_ifindex;
          }
        }
        result.observed = observed;
      }
      if (operation.resource.key.kind == ResourceKind::kFlowRule) {
        if (result.observed) {
          rules_.Set(operation.resource.key, *result.observed);
        } else {
          rules_.Erase(operation.resource.key);
        }
      }
      if (operation.verb == Operation::Verb::kDelete) {
        if (const auto* binding = std::get_if<DriverBindingSpec>(&operation.resource.spec)) {
          GiveBack(binding->vf);
        }
        if (const auto* vf = std::get_if<VfSpec>(&operation.resource.spec)) {
          result.cleaning = Clean(*vf);
        }
      }
      results.push_back(std::move(result));
      applied.push_back(operation);
    }
    Later([done = std::move(done), results]() mutable { done(std::move(results)); });
  }
  void PutRules(const RuleTable& /*table*/, std::vector<FlowRule> rules,
                std::function<void(std::vector<absl::StatusOr<RuleEvidence>>)> done) override {
    std::vector<absl::StatusOr<RuleEvidence>> results;
    for (FlowRule& rule : rules) {
      RuleEvidence seen;
      seen.content_hash = rule.ContentHash();
      seen.ethertype = rule.match.ethertype;
      seen.ours = true;
      seen.hardware = RuleHardware::kInHardware;  // as above
      seen.in_hw_count = RuleEvidence::kNotCounted;
      rules_.SetRule(rule.location, seen);
      results.emplace_back(seen);
      Operation create;
      create.resource.key = FlowRuleKey(rule.location);
      create.resource.spec = FlowRuleSpec{std::move(rule)};
      create.detail = Summary(create.resource.spec);
      applied.push_back(std::move(create));
    }
    Later([done = std::move(done), results = std::move(results)]() mutable {
      done(std::move(results));
    });
  }
  void ObservePf(const NicId& pf,
                 std::function<void(absl::StatusOr<PfObservation>)> done) override {
    const auto it = facts_.pfs.find(pf);
    if (it == facts_.pfs.end()) {
      Later([done, pf] { done(absl::NotFoundError(absl::StrCat("no PF ", pf.ToString()))); });
      return;
    }
    PfObservation observation{it->second, {}};
    Later([done, observation] { done(observation); });
  }
  void ObserveVf(const VfId& vf, std::function<void(absl::StatusOr<VfObservation>)> done) override {
    const VfFacts* facts = facts_.FindVf(vf);
    VfObservation observation;
    if (facts != nullptr) observation.facts = *facts;
    if (facts != nullptr && facts->representor_ifindex != 0) observation.counters.emplace();
    Later([done, observation] { done(observation); });
  }
  void ObserveTunnel(std::function<void(absl::StatusOr<TunnelObservation>)> /*done*/) override {}
  void ObserveNeighbours(
      std::vector<IpAddress>,
      std::function<void(absl::StatusOr<std::vector<ObservedResource>>)> /*done*/) override {}
  void ObserveTable(const RuleTable& table, bool /*counted*/,
                    std::function<void(absl::StatusOr<ObservedRules>)> done) override {
    const Observed::Table& seen = rules_.TableOf(table);
    ObservedRules rules;
    for (const auto& [place, rule] : seen.rules) rules.rules.push_back({place, rule});
    rules.foreign = seen.foreign;
    Later([done, rules] { done(rules); });
  }
  void CountRules(const RuleTable&, std::vector<RuleToCount>,
                  std::function<void(absl::StatusOr<RuleCounts>)> /*done*/) override {}
  // What becomes of connections is no part of a plan: none is known to it.
  void ObserveConnections(
      uint16_t, std::function<void(absl::StatusOr<std::vector<Connection>>)> done) override {
    Later([done = std::move(done)] { done(std::vector<Connection>()); });
  }
  void DeleteConnections(uint16_t, std::vector<Connection>,
                         std::function<void(absl::Status)> done) override {
    Later([done = std::move(done)] { done(absl::OkStatus()); });
  }
  void ObserveVm(const std::string& vm, const Uuid&,
                 std::function<void(absl::StatusOr<VmObservation>)> done) override {
    const auto it = vms_.find(vm);
    absl::StatusOr<VmObservation> result =
        it == vms_.end()
            ? absl::UnavailableError(absl::StrCat(
                  "VM ", vm, " was not asked: what it was before is still being served"))
            : it->second;
    Later([done, result] { done(result); });
  }
  void Commit(StoreBatch, std::function<void(absl::Status)> done) override {
    Later([done] { done(absl::OkStatus()); });
  }
  void After(std::chrono::milliseconds delay, std::function<void()> fn) override {
    // What waits for time is not part of a plan.
    if (delay.count() == 0) Later(std::move(fn));
  }
  void Compute(std::function<void()>, std::function<void(absl::Status)>) override {}
  void TellSlowPath(SlowPathTelling /*telling*/,
                    std::function<void(absl::StatusOr<SlowPathReport>)> done) override {
    Later([done = std::move(done)] { done(SlowPathReport()); });
  }
  void LeaseGranted(Lease) override {}
  void LeaseEnded(Lease) override {}
  void TakeOver(uint32_t /*store*/) override {}
  void ReleaseVm(const std::string&) override {}

  void RunUntilIdle() {
    for (int i = 0; i < kMostSteps && !queue_.empty(); ++i) {
      std::function<void()> next = std::move(queue_.front());
      queue_.pop_front();
      next();
    }
    queue_.clear();
  }

  std::vector<Operation> applied;

 private:
  void Later(std::function<void()> fn) { queue_.push_back(std::move(fn)); }

  // It is as before it was bound: a function that hot-plug brought shows its MAC again.
  void GiveBack(const VfId& id) {
    const auto pf = facts_.pfs.find(id.pf);
    if (pf == facts_.pfs.end()) return;
    for (VfFacts& vf : pf->second.vfs) {
      if (vf.index != id.index) continue;
      vf.driver.clear();
      vf.driver_override.clear();
      const auto mac = macs_.find(id);
      if (id.pf.is_hotplug_port() && mac != macs_.end()) vf.mac = mac->second;
    }
  }

  // As its NIC takes it: what is reported of it is as nobody's.
  VfCleaning Clean(const VfSpec& as) {
    VfCleaning cleaning;
    const auto pf = facts_.pfs.find(as.vf.pf);
    if (pf == facts_.pfs.end()) return cleaning;
    for (VfFacts& vf : pf->second.vfs) {
      if (vf.index != as.vf.index) continue;
      cleaning.reset = vf.can_reset ? VfCleaning::Reset::kDone : VfCleaning::Reset::kNone;
      vf.representor_up = false;
      VfSettings& set = vf.settings;
      if (set.vlan) vf.mac = as.mac.value_or(MacAddress());
      const auto put = [](auto& setting, auto value) {
        if (setting) setting = value;
      };
      put(set.vlan, uint16_t{0});
      put(set.spoof_check, true);
      put(set.trust, false);
      put(set.max_tx_mbps, 0U);
      put(set.min_tx_mbps, 0U);
      put(set.link_disabled, false);
    }
    return cleaning;
  }

  HostFacts facts_;
  std::map<VfId, MacAddress> macs_;  // that the ports asked for
  std::map<std::string, absl::StatusOr<VmObservation>> vms_;
  Observed rules_;
  std::deque<std::function<void()>> queue_;
};

}  // namespace

class DryRunner : private Engine::Listener {
 public:
  // On the loop thread: takes the copy.
  DryRunner(const Engine& real, Change change,
            std::map<std::string, absl::StatusOr<VmObservation>> vms)
      : change_(std::move(change)),
        executor_(real, real.facts_, Uncounted(real.observed_), vms),
        copy_(real.config_, &executor_, real.clock_, this),
        claimant_before_(real.claimant_) {
    for (const ObjectRef& ref : change_.removes) {
      const StoredObject* stored = real.world_.Find(ref);
      if (stored != nullptr) removed_by_ordinal_[stored->ordinal] = ref;
    }
    Engine& copy = copy_;
    copy.world_ = real.world_;
    copy.facts_ = real.facts_;
    copy.attachments_ = real.attachments_;
    copy.sanitation_ = real.sanitation_;
    copy.quarantined_ = real.quarantined_;
    copy.vf_of_port_ = real.vf_of_port_;
    copy.leases_of_vpc_ = real.leases_of_vpc_;
    copy.leases_of_vm_ = real.leases_of_vm_;
    copy.leases_of_block_ = real.leases_of_block_;
    copy.bound_ = real.bound_;
    copy.bound_of_vpc_ = real.bound_of_vpc_;
    copy.bound_of_subnet_ = real.bound_of_subnet_;
    copy.bound_macs_ = real.bound_macs_;
    copy.next_lease_ = real.next_lease_;
    copy.next_transaction_ = real.next_transaction_;
    copy.observed_ = Uncounted(real.observed_);
    copy.sweeps_ = real.sweeps_;
    copy.policies_ = real.policies_;
    copy.wanted_ = real.wanted_;
    copy.claimant_ = real.claimant_;
    copy.start_.complete = true;
    copy.kept_ = real.kept_;
    copy.units_ = real.units_;
    copy.announced_ = real.announced_;
    copy.failed_ports_ = real.failed_ports_;
    copy.pf_scope_ = real.pf_scope_;
    copy.table_scope_ = real.table_scope_;
    copy.tunnel_scope_ = real.tunnel_scope_;
    copy.neighbour_scope_ = real.neighbour_scope_;
    for (auto& [ref, unit] : copy.units_) {
      unit.queued = false;
      unit.in_flight = false;
      unit.refresh = unit.refreshing = false;  // a leased VF is as it was last seen
      const bool of_endpoints = ref.kind == UnitKind::kEndpoints || ref.kind == UnitKind::kArrivals;
      if (of_endpoints && !unit.settled) unswept_.push_back(ref.id);
      unit.settled = true;
    }
    for (auto& [pf, scope] : copy.pf_scope_) scope.in_flight = scope.again = scope.stale = false;
    for (auto& [table, scope] : copy.table_scope_) {
      scope.in_flight = scope.again = scope.stale = false;
    }
    copy.tunnel_scope_.in_flight = copy.neighbour_scope_.in_flight = false;
    copy.slow_path_.told = copy.slow_path_.whole = true;
    for (const auto& [id, port] : copy.bound_) copy.slow_path_.knows.insert(id);
    for (const auto& [vm, state] : real.vms_) {
      if (!vms.contains(vm)) copy.vms_[vm] = state;
      copy.vms_[vm].asking = copy.vms_[vm].ask_again = false;
    }
  }

  // On any thread, once.
  Engine::DryRun Run() {
    for (const std::string& vpc : unswept_) copy_.MarkEndpoints(vpc);
    copy_.OnChange(change_);
    executor_.RunUntilIdle();
    Engine::DryRun result;
    for (Operation& operation : executor_.applied) {
      std::string owner = OwnerOf(operation.resource.key);
      result.steps.push_back({std::move(operation), std::move(owner)});
    }
    for (const auto& [ref, status] : last_) {
      if (status.state != ObjectState::kReady && status.state != ObjectState::kRemoving) {
        result.blocked.push_back(status);
      }
    }
    return result;
  }

 private:
  // Who takes a rule when the plan is done is not known.
  static Observed Uncounted(Observed observed) {
    observed.CountNone();
    return observed;
  }

  std::string OwnerOf(const ResourceKey& key) const {
    const auto now = copy_.claimant_.find(key);
    if (now != copy_.claimant_.end()) return now->second.ToString();
    const auto before = claimant_before_.find(key);
    if (before != claimant_before_.end()) return before->second.ToString();
    // An endpoint at rest, before the plan or after it.
    if (key.kind != ResourceKind::kFlowRule) return "";
    if (const Endpoint* endpoint = copy_.EndpointOfRule(key.rule)) {
      return absl::StrCat("endpoint/", endpoint->id);
    }
    const auto removed = removed_by_ordinal_.find(fairlead::OwnerOf(PlaceOf(key.rule)));
    return removed == removed_by_ordinal_.end() ? "" : removed->second.ToString();
  }

  void OnStatus(const ObjectStatus& status, bool gone) override {
    if (gone) {
      last_.erase(status.ref);
    } else {
      last_[status.ref] = status;
    }
  }
  void OnDrift(const Drift& /*drift*/) override {}
  void OnStarted(const StartReport& /*report*/) override {}

  Change change_;
  PlanningExecutor executor_;
  std::map<ObjectRef, ObjectStatus> last_;
  Engine copy_;
  std::map<ResourceKey, UnitRef> claimant_before_;
  std::map<uint32_t, ObjectRef> removed_by_ordinal_;
  std::vector<std::string> unswept_;  // VPCs
};

void Engine::PlanOn(const Change& change, std::map<std::string, absl::StatusOr<VmObservation>> vms,
                    std::function<void(absl::StatusOr<DryRun>)> done) {
  auto runner = std::make_shared<DryRunner>(*this, change, std::move(vms));
  auto result = std::make_shared<DryRun>();
  executor_->Compute([runner, result] { *result = runner->Run(); },
                     [result, done = std::move(done)](const absl::Status& status) {
                       if (status.ok()) {
                         done(std::move(*result));
                       } else {
                         done(status);
                       }
                     });
}

void Engine::PlanFor(const Change& change, std::function<void(absl::StatusOr<DryRun>)> done) {
  // The VMs whose ports the change adds are asked first; asking changes nothing.
  std::map<std::string, Uuid> ask;
  for (const StoredObject& stored : change.upserts) {
    const auto* port = std::get_if<Port>(&stored.object);
    if (port == nullptr || port->vm.empty()) continue;
    if (std::optional<Uuid> uuid = UuidOf(port->vm)) ask[port->vm] = *uuid;
  }
  for (const StoredObject& stored : change.upserts) {
    const auto* vm = std::get_if<Vm>(&stored.object);
    if (vm == nullptr) continue;
    // To ask under another UUID would end the conversation with a VM that has our
    // devices.
    const std::optional<Uuid> now = UuidOf(vm->id);
    if (vms_.contains(vm->id) && now && *now != vm->uuid) {
      ask.erase(vm->id);
    } else {
      ask[vm->id] = vm->uuid;
    }
  }
  if (ask.empty()) return PlanOn(change, {}, std::move(done));
  struct Pending {
    std::map<std::string, absl::StatusOr<VmObservation>> vms;
    size_t left = 0;
    Change change;
    std::function<void(absl::StatusOr<DryRun>)> done;
  };
  auto pending = std::make_shared<Pending>();
  pending->left = ask.size();
  pending->change = change;
  pending->done = std::move(done);
  for (const auto& [vm, uuid] : ask) {
    executor_->ObserveVm(vm, uuid,
                         [this, alive = std::weak_ptr<bool>(alive_), pending,
                          vm = vm](absl::StatusOr<VmObservation> result) {
                           if (alive.expired()) return;
                           pending->vms.emplace(vm, std::move(result));
                           if (!vms_.contains(vm)) executor_->ReleaseVm(vm);
                           if (--pending->left > 0) return;
                           PlanOn(pending->change, std::move(pending->vms),
                                  std::move(pending->done));
                         });
  }
}

}  // namespace fairlead
