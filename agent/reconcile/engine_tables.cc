// SPDX-License-Identifier: Apache-2.0
//
// Rule tables: which of them stand, what is known of them, and the ports that are
// bound to a VPC's block.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/reconcile/engine.h"

namespace fairlead {

bool Engine::BlockBeingRead(const Attachment& attachment) const {
  const std::optional<RuleTable> block = attachment.block();
  if (!block) return false;
  const auto scope = table_scope_.find(*block);
  return scope != table_scope_.end() && scope->second.in_flight;
}

size_t Engine::BoundOn(const RuleTable& block) const {
  const auto leases = leases_of_block_.find(block);
  if (leases == leases_of_block_.end()) return 0;
  return static_cast<size_t>(
      std::count_if(leases->second.begin(), leases->second.end(),
                    [&](const VfId& vf) { return bound_.contains(attachments_.at(vf).port); }));
}

bool Engine::BlockInUse(const RuleTable& block) const {
  const auto leases = leases_of_block_.find(block);
  if (leases == leases_of_block_.end()) return false;
  return std::any_of(leases->second.begin(), leases->second.end(), [&](const VfId& vf) {
    const auto nic = pf_scope_.find(vf.pf);
    const bool seen = nic != pf_scope_.end() && nic->second.known && facts_.pfs.contains(vf.pf) &&
                      ErrorOfNic(vf).ok();
    if (!seen) return true;  // it may stand
    const ObservedResource* representor = observed_.Find(RepresentorKey(vf));
    return representor != nullptr && std::get<RepresentorSpec>(representor->spec).block == block;
  });
}

bool Engine::TablesKnown(const std::optional<RuleTable>& block) const {
  for (const RuleTable& table : TablesOf(block)) {
    const auto scope = table_scope_.find(table);
    if (scope == table_scope_.end() || !scope->second.known) return false;
  }
  return true;
}

bool Engine::LeadsToChain(const RuleTable& table, uint32_t chain) const {
  for (const auto& [at, seen] : observed_.TableOf(table).rules) {
    if (!seen.ours || at.chain == chain || at.priority == kPrioDefaultDrop) continue;
    // Of an endpoint: it delivers, or is a member's.
    if (seen.claimed && StageOfChain(at.chain) == Stage::kDeliver) continue;
    // What a rule does shows in its hash alone: one that is not as wanted may lead
    // anywhere.
    const auto wanted = wanted_.find(FlowRuleKey(At(table, at)));
    if (wanted == wanted_.end()) return true;
    const FlowRule& rule = std::get<FlowRuleSpec>(wanted->second.spec).rule;
    if (rule.ContentHash() != seen.content_hash) return true;
    for (const RuleAction& action : rule.actions) {
      const auto* jump = std::get_if<ActionGotoChain>(&action);
      if (jump != nullptr && jump->chain == chain) return true;
    }
  }
  return false;
}

// A bound port: its representor stands in its VPC's block, and it is not being
// taken apart.
void Engine::UpdateBound(const std::string& port) {
  std::optional<BoundPort> now;
  std::string vpc;
  const Attachment* attachment = AttachmentOf(port);
  const StoredObject* object = world_.Find({ObjectKind::kPort, port});
  const std::optional<RuleTable> block = attachment == nullptr ? std::nullopt : attachment->block();
  if (block && object != nullptr && !Outdated(*object, *attachment) &&
      (attachment->phase == AttachmentPhase::kApplying ||
       attachment->phase == AttachmentPhase::kReady)) {
    const ObservedResource* representor = observed_.Find(RepresentorKey(attachment->vf));
    if (representor != nullptr && representor->ours &&
        std::get<RepresentorSpec>(representor->spec).block == block) {
      absl::StatusOr<BoundPort> bound = BindPort(*object, *attachment, facts_);
      if (bound.ok()) now = *std::move(bound);
    }
  }
  const auto old = bound_.find(port);
  if (now ? (old != bound_.end() && old->second == *now) : old == bound_.end()) return;

  std::string emptied, filled;  // subnets
  bool first = false;
  const auto leave = [&port](auto& index, const std::string& id) {
    const auto it = index.find(id);
    if (it == index.end()) return;
    it->second.erase(port);
    if (it->second.empty()) index.erase(it);
  };
  // An endpoint that has the MAC of a port here waits until that one is gone.
  const auto look_at_endpoint = [this](const std::string& in_vpc, const MacAddress& mac) {
    const std::optional<ObjectRef> owner = world_.OwnerOfMac(in_vpc, mac);
    if (owner && owner->kind == ObjectKind::kEndpoint) {
      WakeEndpoint(*world_.Find(*owner)).retry_at.reset();
      MarkDirty({UnitKind::kEndpoint, owner->id});
      MarkRoutesBy(in_vpc, world_.FindEndpoint(owner->id)->addresses);
    }
  };
  const bool answered = attachment == nullptr || !attachment->uplink;
  if (old != bound_.end()) {
    vpc = old->second.vpc;
    MarkRoutesBy(vpc, old->second.addresses);
    if (answered) MarkSlowPathNeighbours(old->second.subnet, old->second.addresses);
    emptied = old->second.subnet;
    leave(bound_of_subnet_, old->second.subnet);
    leave(bound_of_vpc_, vpc);
    bound_macs_.erase({vpc, old->second.mac});
    look_at_endpoint(vpc, old->second.mac);
    bound_.erase(old);
  }
  if (now) {
    vpc = now->vpc;
    first = !bound_of_subnet_.contains(now->subnet);
    filled = now->subnet;
    MarkRoutesBy(vpc, now->addresses);
    if (answered) MarkSlowPathNeighbours(now->subnet, now->addresses);
    bound_of_subnet_[now->subnet].insert(port);
    bound_of_vpc_[vpc].insert(port);
    bound_macs_[{vpc, now->mac}] = port;
    look_at_endpoint(vpc, now->mac);
    bound_[port] = *std::move(now);
  }
  MarkDirty({UnitKind::kPort, port});
  if (answered) {
    MarkSlowPath({SlowPathKey::Kind::kPort, port, {}});
    if (!emptied.empty() && !bound_of_subnet_.contains(emptied)) MarkSlowPathSubnet(emptied);
    if (first) MarkSlowPathSubnet(filled);
  }
  ReadBlockIfMust(vpc);
  // What is sent to a group in a provider network is copied to each of its ports.
  if (const Vpc* network = world_.FindVpc(vpc); network != nullptr && network->is_provider()) {
    MarkDirty({UnitKind::kVpc, vpc});
  }
  // The first port of a VPC brings its network here, the last one takes it away.
  const auto of_vpc = bound_of_vpc_.find(vpc);
  if (of_vpc == bound_of_vpc_.end() || of_vpc->second.size() == 1) MarkVpcNetwork(vpc);
}

// The kernel offers a block's rules to a representor that joins, and tells nobody who
// took them: where a port must be served by hardware, that is read.
void Engine::ReadBlockIfMust(const std::string& vpc) {
  const auto ports = bound_of_vpc_.find(vpc);
  if (ports == bound_of_vpc_.end()) return;
  for (const std::string& id : ports->second) {
    if (bound_.at(id).offload != OffloadWish::kMust) continue;
    const Attachment* attachment = AttachmentOf(id);
    const auto block = attachment == nullptr ? std::nullopt : attachment->block();
    if (block) ObserveTable(*block);
    if (!block || block->kind == RuleTable::Kind::kVpcBlock) return;  // that is all of them
  }
}

void Engine::DistrustTable(const RuleTable& table) {
  Scope& scope = table_scope_[table];
  scope.known = false;
  scope.stale = scope.in_flight;
  ObserveTable(table);
}

void Engine::OnBlockMadeAnew(const RuleTable& block) {
  if (!observed_.TableOf(block).rules.empty()) DistrustTable(block);
}

void Engine::ObserveTable(const RuleTable& table) {
  Scope& scope = table_scope_[table];
  if (scope.in_flight) {
    scope.again = true;
    return;
  }
  scope.in_flight = true;
  executor_->ObserveTable(
      table, HasMustPorts(table),
      [this, alive = std::weak_ptr<bool>(alive_), table](absl::StatusOr<ObservedRules> result) {
        if (alive.expired()) return;
        Scope& scope = table_scope_[table];
        scope.in_flight = false;
        if (std::exchange(scope.stale, false)) {
          scope.again = false;
          ObserveTable(table);
          return;
        }
        scope.error = result.status();
        scope.failures = result.ok() ? 0 : scope.failures + 1;
        if (result.ok()) {
          const bool first = !scope.known;
          scope.known = true;
          // A dump that was overtaken by the end of its block; only where it is known
          // which representors stand.
          const bool known = std::all_of(config_.pfs.begin(), config_.pfs.end(),
                                         [this](const auto& pf) { return pf_scope_[pf].known; });
          if (table.is_block() && known && !BlockInUse(table)) {
            *result = {};
          }
          TakeTable(table, *result);
          orphans_pending_ = true;
          if (first) {
            for (const auto& [vpc, leases] : leases_of_vpc_) {
              const std::set<RuleTable> blocks = BlocksOf(vpc);
              if (std::any_of(blocks.begin(), blocks.end(), [&](const RuleTable& block) {
                    const std::vector<RuleTable> tables = TablesOf(block);
                    return std::find(tables.begin(), tables.end(), table) != tables.end();
                  })) {
                MarkVpcNetwork(vpc);
              }
            }
          }
          WakeWaitingPorts();
          AnnounceMustPorts(table);
          SchedulePump();
        } else {
          // A dump that was torn is asked for again.
          if (!std::exchange(scope.retry_due, true)) {
            executor_->After(BackOff(table.ToString(), scope.failures - 1),
                             [this, alive = std::weak_ptr<bool>(alive_), table] {
                               if (alive.expired()) return;
                               const auto it = table_scope_.find(table);
                               if (it == table_scope_.end()) return;  // forgotten meanwhile
                               it->second.retry_due = false;
                               ObserveTable(table);
                             });
          }
        }
        if (std::exchange(scope.again, false)) ObserveTable(table);
      });
}

void Engine::TakeTable(const RuleTable& table, const ObservedRules& now) {
  std::vector<RulePlace> gone;
  auto next = now.rules.begin();
  for (const auto& [place, rule] : observed_.TableOf(table).rules) {
    while (next != now.rules.end() && next->place < place) ++next;
    if (next == now.rules.end() || next->place != place) gone.push_back(place);
  }
  for (const RulePlace& place : gone) TakeRule(At(table, place), nullptr, "", /*saw=*/true);
  for (const ObservedRule& rule : now.rules) {
    const auto foreign = rule.seen.ours ? now.foreign.end() : now.foreign.find(rule.place);
    TakeRule(At(table, rule.place), &rule.seen,
             foreign == now.foreign.end() ? std::string() : foreign->second, /*saw=*/true);
  }
}

void Engine::ForgetTable(const RuleTable& table) {
  observed_.ClaimNone(table);  // endpoints at rest are swept
  std::vector<RulePlace> gone;
  for (const auto& [place, rule] : observed_.TableOf(table).rules) gone.push_back(place);
  for (const RulePlace& place : gone) TakeRule(At(table, place), nullptr, "", /*saw=*/false);
}

bool Engine::HasMustPorts(const RuleTable& table) const {
  const auto leases = leases_of_block_.find(table);
  if (leases == leases_of_block_.end()) return false;
  return std::any_of(leases->second.begin(), leases->second.end(), [this](const VfId& vf) {
    const Port* port = world_.FindPort(attachments_.at(vf).port);
    return port != nullptr && port->offload == OffloadWish::kMust;
  });
}

void Engine::OnTableChanged(const RuleTable& table) {
  if (table_scope_.contains(table)) ObserveTable(table);
}

void Engine::OnBlockChanged(const RuleTable& block) {
  if (!BlockInUse(block)) return;  // it went with the last representor, as it should
  std::set<NicId> pfs;
  for (const VfId& vf : leases_of_block_.at(block)) pfs.insert(vf.pf);
  for (const NicId& pf : pfs) ObservePf(pf);
}

}  // namespace fairlead
