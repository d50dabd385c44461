// SPDX-License-Identifier: Apache-2.0
//
// Objects of another store: found, and taken over when an operator says so, either to be
// kept by whom they fit (adopt) or to be taken apart (purge). Both are durable first and
// then handed to the machinery that a restart uses.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

constexpr std::chrono::milliseconds kAskAgain{200};

std::string ForeignName(std::string_view vm, std::string_view device) {
  return absl::StrCat("guest-device/", std::string(vm), "/", std::string(device));
}

}  // namespace

bool Engine::OfOurs(const ResourceKey& key) const {
  const bool claimed =
      key.kind == ResourceKind::kFlowRule ? Claimed(key.rule) : claimant_.contains(key);
  return claimed && observed_.IsOurs(key);
}

void Engine::NoteForeign(const VfId& vf, const ObservedResource* representor) {
  const bool foreign = representor != nullptr && representor->mark != 0 &&
                       representor->mark != config_.compile.store_id;
  if (foreign && !attachments_.contains(vf)) {
    foreign_representors_[vf] = *representor;
  } else if (foreign_representors_.erase(vf) > 0) {
    slow_path_.whole = false;  // which kept what it was told of it
    TellSlowPathSoon();
  }
}

void Engine::NoteForeignDevices(const std::string& vm,
                                const std::vector<GuestDeviceInfo>& devices) {
  foreign_devices_.erase(vm);
  for (const GuestDeviceInfo& device : devices) {
    const std::optional<GuestDeviceName> name = ParseGuestDeviceId(device.id);
    if (!name || name->store == config_.compile.store_id || PortOfDevice(vm, device.id)) continue;
    foreign_devices_[vm].push_back(device);
  }
}

uint32_t Engine::StoreOfForeignUplink(const NicId& pf) const {
  const ObservedResource* uplink = observed_.Find(UplinkKey(pf));
  if (uplink == nullptr || std::get<UplinkSpec>(uplink->spec).made == true) return 0;
  return uplink->mark;
}

std::vector<ForeignObject> Engine::Foreign() const {
  std::vector<ForeignObject> all;
  std::set<uint32_t> stores(kept_.begin(), kept_.end());  // of those what fitted nobody
  const auto add = [&](uint32_t store, std::string resource, std::string words) {
    stores.insert(store);
    all.push_back({store, std::move(resource), std::move(words)});
  };
  const ObservedResource* tunnel = observed_.Find(TunnelKey());
  if (tunnel != nullptr && tunnel->mark != 0 && tunnel->mark != config_.compile.store_id &&
      !OfOurs(TunnelKey())) {
    add(tunnel->mark, TunnelKey().ToString(), Summary(tunnel->spec));
  }
  for (const auto& [vf, representor] : foreign_representors_) {
    add(representor.mark, RepresentorKey(vf).ToString(), Summary(representor.spec));
  }
  for (const auto& [vm, devices] : foreign_devices_) {
    for (const GuestDeviceInfo& device : devices) {
      add(ParseGuestDeviceId(device.id)->store, ForeignName(vm, device.id),
          absl::StrCat("VF ", device.host.ToString(), " in the root port ", device.bus));
    }
  }
  for (const auto& [pf, scope] : pf_scope_) {
    if (const uint32_t store = StoreOfForeignUplink(pf); store != 0) {
      add(store, UplinkKey(pf).ToString(), "a qdisc that it made");
    }
  }
  // Cookies are not Fairlead's alone: only those of stores that are known otherwise count.
  std::map<std::pair<uint32_t, RuleTable>, uint64_t> rules;
  for (const auto& [table, seen] : observed_.tables()) {
    if (stores.empty()) break;
    for (const auto& [place, rule] : seen.rules) {
      if (!stores.contains(rule.mark) || OfOurs(FlowRuleKey(At(table, place)))) continue;
      ++rules[{rule.mark, table}];
    }
  }
  for (const auto& [of, count] : rules) {
    all.push_back({of.first, absl::StrCat("flow-rule/", of.second.ToString(), "/*"),
                   absl::StrCat(count, count == 1 ? " rule" : " rules")});
  }
  return all;
}

std::string Engine::WhyMayBeFound(const Port& port) const {
  const auto devices = foreign_devices_.find(port.vm);
  if (devices == foreign_devices_.end()) return "";
  FoundObjects found;
  for (const auto& [vf, representor] : foreign_representors_) {
    found.representors[vf] = std::get<RepresentorSpec>(representor.spec);
  }
  for (const GuestDeviceInfo& device : devices->second) {
    found.devices.push_back({port.vm, {}, device.id, device.host, device.bus});
  }
  const OwnState own{&world_, &facts_, &attachments_, next_lease_, next_transaction_};
  const FoundObjects::Device* device = FindDeviceFor(port, found, own);
  if (device == nullptr) return "";
  const std::string store = absl::StrFormat("%08x", ParseGuestDeviceId(device->id)->store);
  return absl::StrCat("VM ", port.vm, " has a NIC by a Fairlead with another store (", device->id,
                      "), which may be this port's: `fairleadctl adopt ", store,
                      "` gives it to its port, `fairleadctl purge ", store, "` takes it away");
}

// What is asked of several lanes, and comes back one by one.
struct Engine::Survey {
  FoundObjects found;
  int open = 1;
  std::function<void(absl::StatusOr<FoundObjects>)> done;
  absl::Status error;
  void Done() {
    if (--open > 0) return;
    done(error.ok() ? absl::StatusOr<FoundObjects>(std::move(found)) : error);
  }
};

void Engine::Find(uint32_t store, std::function<void(absl::StatusOr<FoundObjects>)> done) {
  auto survey = std::make_shared<Survey>();
  survey->done = [this, done = std::move(done)](absl::StatusOr<FoundObjects> found) {
    std::vector<std::string> asked;
    for (const auto& [vm, state] : vms_) asked.push_back(vm);
    for (const std::string& vm : asked) ReleaseVmIfUnused(vm);
    done(std::move(found));
  };
  survey->found.store = store;
  if (!observed_once()) {
    survey->error = absl::UnavailableError("the host is still being observed; ask again");
    return survey->Done();
  }
  std::set<RuleTable> tables = {kTunnelTable};
  for (const auto& [vf, representor] : foreign_representors_) {
    if (representor.mark != store) continue;
    const auto& spec = std::get<RepresentorSpec>(representor.spec);
    survey->found.representors[vf] = spec;
    for (const RuleTable& table : TablesOf(spec.block)) tables.insert(table);
  }
  for (const auto& [pf, scope] : pf_scope_) {
    if (StoreOfForeignUplink(pf) != store) continue;
    survey->found.uplinks.push_back(pf);
    tables.insert(UplinkTable(pf));
  }
  const ObservedResource* tunnel = observed_.Find(TunnelKey());
  if (tunnel != nullptr && tunnel->mark == store && !tunnel->ours) {
    survey->found.tunnel = TunnelFactsOf(*tunnel);
  }
  for (const RuleTable& table : tables) {
    ++survey->open;
    executor_->ObserveTable(table, /*counted=*/false,
                            [this, alive = std::weak_ptr<bool>(alive_), survey, store,
                             table](absl::StatusOr<ObservedRules> rules) {
                              if (alive.expired()) return;
                              if (!rules.ok()) survey->error = rules.status();
                              if (rules.ok()) {
                                for (const ObservedRule& rule : rules->rules) {
                                  const RuleLocation at = At(table, rule.place);
                                  const bool in_use =
                                      Claimed(at) && observed_.FindRule(at) != nullptr;
                                  if (rule.seen.mark == store && !in_use) {
                                    survey->found.rules.push_back({at, rule.seen.match_hash});
                                  }
                                }
                              }
                              survey->Done();
                            });
  }
  world_.ForEach([&](const StoredObject& stored) {
    const auto* vm = std::get_if<Vm>(&stored.object);
    if (vm == nullptr) return;
    ++survey->open;
    vms_.try_emplace(vm->id);  // so that its monitor is let go below
    executor_->ObserveVm(
        vm->id, vm->uuid,
        [this, alive = std::weak_ptr<bool>(alive_), survey, store, id = vm->id,
         uuid = vm->uuid](absl::StatusOr<VmObservation> result) {
          if (alive.expired()) return;
          if (!result.ok()) {
            survey->found.not_asked.push_back(
                absl::StrCat("vm/", id, ": it was not asked: ", result.status().message()));
          } else {
            NoteForeignDevices(id, result->devices);
            for (const GuestDeviceInfo& device : foreign_devices_[id]) {
              if (ParseGuestDeviceId(device.id)->store != store) continue;
              survey->found.devices.push_back({id, uuid, device.id, device.host, device.bus});
            }
          }
          survey->Done();
        });
  });
  survey->Done();
}

bool Engine::AnyLeftOf(uint32_t store) const {
  const auto of_store = [store](const auto& found) { return found.second.mark == store; };
  if (std::any_of(foreign_representors_.begin(), foreign_representors_.end(), of_store)) {
    return true;
  }
  for (const auto& [vm, devices] : foreign_devices_) {
    for (const GuestDeviceInfo& device : devices) {
      if (ParseGuestDeviceId(device.id)->store == store) return true;
    }
  }
  const auto& tables = observed_.tables();
  return std::any_of(tables.begin(), tables.end(), [&](const auto& table) {
    const Observed::Rules& rules = table.second.rules;
    return std::any_of(rules.begin(), rules.end(), [&](const auto& seen) {
      const RulePlace& at = seen.first;
      return of_store(seen) && !Claimed(At(table.first, at)) &&
             (at.chain != 0 || at.priority != kPrioDefaultDrop);
    });
  });
}

void Engine::TakeOverStore(uint32_t store, TakeOverMode mode, bool dry_run, SignTakeOver sign,
                           std::function<void(absl::StatusOr<TakeOver>)> done, int tries) {
  if (store == config_.compile.store_id) {
    return done(absl::InvalidArgumentError(
        "that is this agent's own store: what it made is its own already"));
  }
  Find(store, [this, store, mode, dry_run, tries, sign = std::move(sign),
               done = std::move(done)](absl::StatusOr<FoundObjects> found) {
    if (!found.ok()) return done(found.status());
    const bool nothing = found->representors.empty() && found->devices.empty() &&
                         found->rules.empty() && found->uplinks.empty() && !found->tunnel;
    if (nothing && !kept_.contains(store)) {
      return done(absl::NotFoundError(
          absl::StrCat("nothing on this host carries the mark of store ",
                       absl::StrFormat("%08x", store), " (fairleadctl get foreign)")));
    }
    OwnState own{&world_, &facts_, &attachments_, next_lease_, next_transaction_};
    absl::StatusOr<TakeOver> plan =
        mode == TakeOverMode::kAdopt ? PlanAdoption(*found, own) : PlanPurge(*found, own);
    if (absl::IsUnavailable(plan.status()) && tries > 1) {
      executor_->After(kAskAgain, [this, alive = std::weak_ptr<bool>(alive_), store, mode, dry_run,
                                   tries, sign, done] {
        if (!alive.expired()) TakeOverStore(store, mode, dry_run, sign, done, tries - 1);
      });
      return;
    }
    if (!plan.ok() || dry_run) return done(std::move(plan));
    StoreBatch batch;
    batch.change = plan->change;
    batch.attachments = plan->attachments;
    next_lease_ = plan->next_lease;
    next_transaction_ = plan->next_transaction;
    batch.next_lease = next_lease_;
    batch.next_transaction = next_transaction_;
    batch.taken_over = TakenOverStore{store, mode == TakeOverMode::kAdopt};
    sign(*plan, batch);
    executor_->Commit(std::move(batch), [this, alive = std::weak_ptr<bool>(alive_), store, mode,
                                         plan = *std::move(plan), done](absl::Status status) {
      if (alive.expired()) return;
      if (!status.ok()) return done(absl::AbortedError(status.message()));
      OnTakenOver(store, mode, plan);
      done(plan);
    });
  });
}

// From here on it is as after a restart: what is observed is compared with what is wanted.
void Engine::OnTakenOver(uint32_t store, TakeOverMode mode, const TakeOver& plan) {
  if (mode == TakeOverMode::kAdopt) {
    kept_.insert(store);
  } else {
    kept_.erase(store);
  }
  executor_->TakeOver(store);
  world_.Apply(plan.change);
  for (const Attachment& attachment : plan.attachments) {
    executor_->LeaseGranted(attachment.lease);
    UnitOf({UnitKind::kPort, attachment.port}, attachment.vpc).scanned = false;
    failed_ports_.erase(attachment.port);
    TakeLease(attachment);
    // What was seen of it was judged by whose it was, its device too.
    if (!attachment.vm.empty()) vms_[attachment.vm].known = false;
    if (const auto nic = pf_scope_.find(attachment.vf.pf); nic != pf_scope_.end()) {
      nic->second.known = nic->second.hangs;  // who waits for one that hangs waits for long
      nic->second.stale = nic->second.in_flight;
    }
  }
  foreign_devices_.clear();
  for (auto& [ref, unit] : units_) {
    unit.retry_at.reset();
    unit.failed = false;
    MarkDirty(UnitRef(ref));
  }
  world_.ForEach([this](const StoredObject& stored) {
    if (const auto* vpc = std::get_if<Vpc>(&stored.object)) MarkEndpoints(vpc->id);
  });
  for (auto& [table, scope] : table_scope_) DistrustTable(RuleTable(table));
  for (const auto& [vm, state] : vms_) ObserveVm(vm);
  Audit();
}

}  // namespace fairlead
