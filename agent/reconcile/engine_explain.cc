// SPDX-License-Identifier: Apache-2.0
//
// What becomes of one packet: the table that it meets is read from the kernel for it, and
// compared with what is compiled beside the loop, on a copy.
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/text.h"
#include "agent/compile/explain_flow.h"
#include "agent/reconcile/engine.h"

namespace fairlead {
namespace {

constexpr std::chrono::milliseconds kReadAgain{100};

}  // namespace

// Of the loop thread alone.
struct Engine::FlowInquiry : Inquiry<FlowExplanation> {
  using Inquiry::Inquiry;
  FlowQuestion question;
  RuleTable table;
  absl::Status error;  // of the last reading
  // Of its VPC's conntrack zone, if it has one.
  std::optional<absl::StatusOr<std::vector<Connection>>> connections;
  std::optional<FlowExplanation> walked;  // all but counters
};

FlowHost Engine::HostOfFlow() const {
  FlowHost host;
  host.world = &world_;
  host.tunnel = facts_.tunnel ? &*facts_.tunnel : nullptr;
  host.tunnel_config = &config_.compile.tunnel;
  host.pfs = &facts_.pfs;
  host.bound = [this](const std::string& port) {
    const auto it = bound_.find(port);
    return it == bound_.end() ? nullptr : &it->second;
  };
  host.state = [this](const ObjectRef& ref) -> std::string {
    const std::optional<ObjectStatus> status = StatusOf(ref);
    if (!status || status->state == ObjectState::kReady) return "";
    return StrCat(ObjectStateName(status->state), status->reason.empty() ? "" : ": ",
                  status->reason);
  };
  host.port_with_mac = [this](const std::string& vpc, const MacAddress& mac) {
    return PortWithMac(vpc, mac);
  };
  host.not_answered = [this](const std::string& port) {
    const Attachment* attachment = AttachmentOf(port);
    return attachment == nullptr ? "" : WhyNotAnswered(*attachment);
  };
  return host;
}

// What is wanted of the scene's chains, in the order of their places; of endpoints at rest only
// those that the packet may be for, and whose rules stand otherwise.
std::vector<FlowRule> Engine::CompiledForFlow(const FlowScene& scene, ObservedRules& seen) const {
  std::vector<FlowRule> rules;
  for (const auto& [chain, words] : scene.chains) {
    for (auto it = wanted_.lower_bound(FlowRuleKey({scene.table, chain, 0, 0}));
         it != wanted_.end() && IsRuleOf(it->first, scene.table) && it->first.rule.chain == chain;
         ++it) {
      rules.push_back(std::get<FlowRuleSpec>(it->second.spec).rule);
    }
    // It belongs to the device.
    const bool at_uplink = scene.table.kind == RuleTable::Kind::kUplinkIngress;
    if (chain == 0 && !at_uplink) rules.push_back(DefaultDropRule(scene.table));
  }
  std::optional<ObjectRef> vpc;
  if (scene.table.kind == RuleTable::Kind::kVpcBlock) vpc = world_.OwnerOfVni(scene.table.vni);
  if (!vpc) return rules;
  std::set<const StoredObject*, ById> endpoints;
  for (const std::optional<ObjectRef>& owner :
       {world_.OwnerOfMac(vpc->id, scene.packet.dst_mac),
        world_.OwnerOfAddress(vpc->id, scene.packet.dst_ip)}) {
    if (owner && owner->kind == ObjectKind::kEndpoint) endpoints.insert(world_.Find(*owner));
  }
  const Observed::Rules& known = observed_.TableOf(scene.table).rules;
  for (const auto& [place, rule] : known) {
    if (!rule.claimed) continue;
    const auto now = std::lower_bound(
        seen.rules.begin(), seen.rules.end(), place,
        [](const ObservedRule& one, const RulePlace& at) { return one.place < at; });
    const bool there = now != seen.rules.end() && now->place == place;
    if (there && now->seen.ours && now->seen.content_hash == rule.content_hash) continue;
    if (EndpointOfRule(At(scene.table, place)) != nullptr) {
      endpoints.insert(world_.FindByOrdinal(OwnerOf(place)));
    }
  }
  const auto asked_of = [&](const RulePlace& place) {
    const auto rule = known.find(place);
    return rule == known.end() || !rule->second.claimed ||
           EndpointOfRule(At(scene.table, place)) == nullptr ||
           endpoints.contains(world_.FindByOrdinal(OwnerOf(place)));
  };
  std::erase_if(seen.rules, [&](const ObservedRule& rule) { return !asked_of(rule.place); });
  const absl::StatusOr<std::optional<EndpointContext>> context = EndpointContextOf(vpc->id);
  if (!context.ok() || !*context) return rules;
  for (const StoredObject* stored : endpoints) {
    const auto& endpoint = std::get<Endpoint>(stored->object);
    if (units_.contains({UnitKind::kEndpoint, endpoint.id})) continue;  // among the wanted
    for (FlowRule& rule : CompileEndpointRules((*context)->vpc, SubnetContextOf(endpoint.subnet),
                                               endpoint, stored->ordinal)) {
      if (scene.chains.contains(rule.location.chain)) rules.push_back(std::move(rule));
    }
  }
  std::sort(rules.begin(), rules.end(),
            [](const FlowRule& a, const FlowRule& b) { return a.location < b.location; });
  return rules;
}

void Engine::ExplainFlow(const FlowQuestion& question,
                         std::function<void(absl::StatusOr<FlowExplanation>)> done) {
  absl::StatusOr<FlowScene> scene = SceneOf(question, HostOfFlow());
  if (!scene.ok()) return done(scene.status());
  if (!scene->not_sent.empty()) return done(fairlead::ExplainFlow(*scene, {}, {}));
  auto inquiry = std::make_shared<FlowInquiry>(std::move(done));
  inquiry->question = question;
  inquiry->table = scene->table;
  EndAfter(*executor_, config_.explain_within, inquiry,
           [within = config_.explain_within](FlowInquiry& late) -> absl::StatusOr<FlowExplanation> {
             if (late.walked) {
               late.walked->counters_problem =
                   StrCat("they were not read within the ", within.count(), " ms of the question");
               return *std::move(late.walked);
             }
             return absl::DeadlineExceededError(
                 StrCat("the kernel's rules of ", late.table.ToString(),
                        " were not read and compared within ", within.count(), " ms",
                        late.error.ok() ? "; the agent's status says which of its lanes is held up"
                                        : StrCat(": ", late.error.message())));
           });
  const std::optional<ObjectRef> vpc = scene->table.kind == RuleTable::Kind::kVpcBlock
                                           ? world_.OwnerOfVni(scene->table.vni)
                                           : std::nullopt;
  const std::optional<uint16_t> zone = vpc ? world_.FindVpc(vpc->id)->ct_zone : std::nullopt;
  if (!zone) return ReadForFlow(inquiry);
  executor_->ObserveConnections(*zone, [this, alive = std::weak_ptr<bool>(alive_),
                                        inquiry](absl::StatusOr<std::vector<Connection>> seen) {
    if (alive.expired() || inquiry->over()) return;
    inquiry->connections = std::move(seen);
    ReadForFlow(inquiry);
  });
}

// A table that changes under the reading is read again.
void Engine::ReadForFlow(const std::shared_ptr<FlowInquiry>& inquiry) {
  table_reads_.Read(
      inquiry->table, [inquiry] { return inquiry->over(); },
      [this, inquiry](const absl::StatusOr<ObservedRules>& seen) {
        seen.ok() ? WalkFlow(inquiry, *seen) : ReadLater(inquiry, seen.status());
      });
}

void Engine::ReadLater(const std::shared_ptr<FlowInquiry>& inquiry, absl::Status why) {
  inquiry->error = std::move(why);
  executor_->After(kReadAgain, [this, alive = std::weak_ptr<bool>(alive_), inquiry] {
    if (!alive.expired() && !inquiry->over()) ReadForFlow(inquiry);
  });
}

void Engine::WalkFlow(const std::shared_ptr<FlowInquiry>& inquiry, ObservedRules seen) {
  // Meanwhile it may have become another one.
  FlowHost host = HostOfFlow();
  if (inquiry->connections) host.connections = &*inquiry->connections;
  absl::StatusOr<FlowScene> scene = SceneOf(inquiry->question, host);
  if (!scene.ok()) return inquiry->End(scene.status());
  if (scene->table != inquiry->table) {
    return inquiry->End(absl::UnavailableError("its VPC was changed meanwhile; ask again"));
  }
  if (scene->table.kind == RuleTable::Kind::kVpcBlock) {
    // Before that it is not known which rules are wanted.
    const std::optional<ObjectRef> vpc = world_.OwnerOfVni(scene->table.vni);
    const absl::Status known = vpc ? EndpointContextOf(vpc->id).status() : absl::OkStatus();
    if (!known.ok()) return ReadLater(inquiry, known);
    if (vpc && !SweptEndpointsOf(vpc->id)) {
      return ReadLater(inquiry, absl::UnavailableError("the rules of its VPC are being compared"));
    }
  }
  struct Work {
    FlowScene scene;
    std::vector<FlowRule> compiled;
    ObservedRules seen;
    FlowExplanation explanation;
  };
  auto work = std::make_shared<Work>();
  work->compiled = CompiledForFlow(*scene, seen);
  work->scene = *std::move(scene);
  work->seen = std::move(seen);
  executor_->Compute(
      [work] {
        work->explanation = fairlead::ExplainFlow(work->scene, work->compiled, work->seen);
      },
      [this, alive = std::weak_ptr<bool>(alive_), inquiry, work](const absl::Status& status) {
        if (alive.expired() || inquiry->over()) return;
        status.ok() ? EndFlow(inquiry, std::move(work->explanation)) : inquiry->End(status);
      });
}

void Engine::EndFlow(const std::shared_ptr<FlowInquiry>& inquiry, FlowExplanation explanation) {
  std::vector<RuleToCount> there;
  for (FlowStep& step : explanation.steps) {
    if (step.ethertype) there.push_back({step.location, *step.ethertype});
    const auto claimant = claimant_.find(FlowRuleKey(step.location));
    if (claimant == claimant_.end()) {
      const Endpoint* endpoint = EndpointOfRule(step.location);
      if (endpoint != nullptr) step.owner = StrCat("endpoint/", endpoint->id);
      continue;
    }
    step.owner = claimant->second.ToString();
    const Unit* unit = FindUnit(claimant->second);
    const bool at_work = unit != nullptr && (unit->queued || unit->in_flight);
    if (at_work && !StandsAsCompiled(step.standing)) step.detail = "the agent is at work on it";
  }
  JudgePath(explanation.header ? observed_.Find(NeighbourKey(explanation.header->remote)) : nullptr,
            explanation);
  // What nobody has told of is repaired now, not with the next audit.
  if (!explanation.disagreements.empty()) OnTableChanged(inquiry->table);
  inquiry->walked = std::move(explanation);
  CountRules(there, [inquiry](const absl::StatusOr<Counts>& counts) {
    if (inquiry->over()) return;
    FlowExplanation explanation = *std::move(inquiry->walked);
    if (!counts.ok()) explanation.counters_problem = std::string(counts.status().message());
    for (FlowStep& step : explanation.steps) {
      if (!counts.ok()) break;
      const auto met = counts->find(step.location);
      if (met != counts->end()) step.counters = met->second.counters;
    }
    inquiry->End(std::move(explanation));
  });
}

}  // namespace fairlead
