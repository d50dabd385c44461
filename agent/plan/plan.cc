// SPDX-License-Identifier: Apache-2.0
#include "agent/plan/plan.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_format.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

struct SummaryText {
  std::string operator()(const VfPoolSpec& s) const {
    return StrCat(s.count, " VFs, autoprobe ", s.autoprobe ? "on" : "off");
  }
  std::string operator()(const PfSpec& s) const { return StrCat("eswitch ", s.eswitch.ToString()); }
  std::string operator()(const TunnelSpec& s) const {
    return StrCat(s.device, " ", Name(s.encapsulation), " local ", s.local.ToString(), " udp port ",
                  s.udp_port, " mtu ", s.mtu);
  }
  std::string operator()(const UplinkSpec& s) const {
    return StrCat("clsact qdisc on the netdev of PF ", s.pf.ToString());
  }
  std::string operator()(const NeighbourSpec& s) const { return s.outer.ToString(); }
  std::string operator()(const VfSpec& s) const {
    std::vector<std::string> words;
    const VfSettings& set = s.settings;
    if (s.mac) words.push_back(StrCat("mac ", s.mac->ToString()));
    if (set.vlan) words.push_back(StrCat("vlan ", *set.vlan));
    if (set.spoof_check) words.push_back(*set.spoof_check ? "spoof check on" : "spoof check off");
    if (set.trust) words.push_back(*set.trust ? "trust on" : "trust off");
    if (set.max_tx_mbps) words.push_back(StrCat("max_tx_mbps ", *set.max_tx_mbps));
    if (set.min_tx_mbps) words.push_back(StrCat("min_tx_mbps ", *set.min_tx_mbps));
    if (set.link_disabled.value_or(false)) words.push_back("link disabled");
    return words.empty() ? std::string("no attributes") : StrJoin(words, ", ");
  }
  std::string operator()(const RepresentorSpec& s) const {
    return StrCat(s.block ? s.block->ToString() : std::string("no block"), s.up ? ", up" : ", down",
                  s.default_drop ? ", ends in a drop rule" : "");
  }
  std::string operator()(const FlowRuleSpec& s) const { return s.rule.ToString(); }
  std::string operator()(const DriverBindingSpec& s) const {
    std::string out = StrCat("driver ", s.driver.empty() ? "none" : s.driver);
    if (s.node_uid) StrAppend(&out, ", node uid ", *s.node_uid);
    if (s.node_gid) StrAppend(&out, ", node gid ", *s.node_gid);
    if (s.node_mode) StrAppend(&out, ", node mode ", absl::StrFormat("%04o", *s.node_mode));
    return out;
  }
  std::string operator()(const GuestDeviceSpec& s) const {
    return StrCat(s.device_id, " host ", s.host.ToString(), " bus ", s.bus);
  }
};

// Whether the kernel or QEMU can change the observed one into the wanted one
// where it is. Both are of one kind and differ.
bool ChangesInPlace(const ResourceSpec& wanted, const ResourceSpec& observed) {
  if (wanted.index() != observed.index()) return false;
  if (const auto* tunnel = std::get_if<TunnelSpec>(&wanted)) {
    const auto& old = std::get<TunnelSpec>(observed);
    // vxlan_changelink refuses another port, and a local address of another family;
    // geneve_changelink another port.
    return tunnel->device == old.device && tunnel->encapsulation == old.encapsulation &&
           tunnel->udp_port == old.udp_port && tunnel->local.is_v4() == old.local.is_v4();
  }
  if (const auto* representor = std::get_if<RepresentorSpec>(&wanted)) {
    // One that lost its qdisc is bound again where it stands.
    const std::optional<RuleTable>& old = std::get<RepresentorSpec>(observed).block;
    return !old || representor->block == old;
  }
  // Nothing of an assigned device can be changed in a running VM.
  return !std::holds_alternative<GuestDeviceSpec>(wanted);
}

using DependantMap = std::map<ResourceKey, std::vector<ResourceKey>>;

DependantMap DependantsOf(const WantedSet& wanted) {
  DependantMap out;
  for (const auto& [key, resource] : wanted) {
    for (const ResourceKey& dependency : resource.depends) out[dependency].push_back(key);
  }
  return out;
}

using Causes = std::map<ResourceKey, ResourceKey>;  // what is concerned, and by which root

// Adds everything that hangs on `root`, directly or through others.
void AddBelow(const ResourceKey& root, const DependantMap& dependants, Causes& out) {
  std::vector<ResourceKey> todo{root};
  while (!todo.empty()) {
    const ResourceKey key = std::move(todo.back());
    todo.pop_back();
    auto it = dependants.find(key);
    if (it == dependants.end()) continue;
    for (const ResourceKey& dependant : it->second) {
      if (out.emplace(dependant, root).second) todo.push_back(dependant);
    }
  }
}

// Adds what must go when `root` is deleted to be made again. What hangs on the
// tunnel or a representor by more than order are the rules that sit on the device
// or send to it. A VM keeps its device meanwhile: its frames meet a drop rule or
// a link that is down, and a ready port is never torn down by the agent itself.
void AddFalling(const ResourceKey& root, const DependantMap& dependants, Causes& out) {
  if (root.kind != ResourceKind::kTunnel && root.kind != ResourceKind::kRepresentor) {
    return AddBelow(root, dependants, out);
  }
  auto it = dependants.find(root);
  if (it == dependants.end()) return;
  for (const ResourceKey& dependant : it->second) {
    if (dependant.kind == ResourceKind::kFlowRule) out.emplace(dependant, root);
  }
}

// Operations by key, each after those of what its resource depends on; kind
// order and then key order where dependencies leave it open.
class Ordering {
 public:
  explicit Ordering(std::map<ResourceKey, Operation> operations)
      : operations_(std::move(operations)) {}

  std::vector<Operation> Take() {
    out_.reserve(operations_.size());
    for (auto& [key, operation] : operations_) Visit(key, operation);
    return std::move(out_);
  }

 private:
  void Visit(const ResourceKey& key, Operation& operation) {
    // Marked before its dependencies: a cycle, which no compiler makes, ends here.
    if (!visited_.insert(key).second) return;
    for (const ResourceKey& dependency : operation.resource.depends) {
      auto it = operations_.find(dependency);
      if (it != operations_.end()) Visit(it->first, it->second);
    }
    out_.push_back(std::move(operation));
  }

  std::map<ResourceKey, Operation> operations_;
  std::set<ResourceKey> visited_;
  std::vector<Operation> out_;
};

Operation DeleteOf(const ObservedResource& observed, const Resource* wanted, std::string detail) {
  Operation out;
  out.verb = Operation::Verb::kDelete;
  out.resource.key = observed.key;
  out.resource.spec = observed.spec;
  if (wanted != nullptr) {
    out.resource.depends = wanted->depends;
    out.resource.lease = wanted->lease;
  }
  out.current = observed;
  out.detail = std::move(detail);
  return out;
}

Operation CreateOf(const Resource& wanted) {
  return {Operation::Verb::kCreate, wanted, std::nullopt, Summary(wanted.spec)};
}

}  // namespace

std::string Summary(const ResourceSpec& spec) { return std::visit(SummaryText(), spec); }

std::string_view VerbName(Operation::Verb verb) {
  switch (verb) {
    case Operation::Verb::kCreate:
      return "create";
    case Operation::Verb::kUpdate:
      return "update";
    case Operation::Verb::kDelete:
      return "delete";
  }
  return "touch";
}

std::string StepName(const Operation& operation) {
  return StrCat(ResourceKindName(operation.resource.key.kind), " ", VerbName(operation.verb));
}

std::string Describe(const Operation& operation) {
  std::string out = StrCat(VerbName(operation.verb), " ", operation.resource.key.ToString());
  if (!operation.detail.empty()) StrAppend(&out, ": ", operation.detail);
  return out;
}

DiffResult Diff(const WantedSet& wanted, const ObservedSet& observed, const DiffOptions& options) {
  DiffResult result;
  std::map<ResourceKey, Operation> deletes, makes;
  std::vector<ResourceKey> replaced;

  for (const auto& [key, resource] : wanted) {
    auto it = observed.find(key);
    if (it == observed.end()) {
      makes.emplace(key, CreateOf(resource));
      continue;
    }
    if (!it->second.ours) {
      result.conflicts.push_back(key);
      continue;
    }
    std::vector<std::string> differences = Differences(resource.spec, it->second);
    if (differences.empty()) continue;
    std::string detail = StrJoin(differences, ", ");
    if (ChangesInPlace(resource.spec, it->second.spec)) {
      if (key.kind == ResourceKind::kFlowRule) StrAppend(&detail, ": ", Summary(resource.spec));
      makes.emplace(key, Operation{Operation::Verb::kUpdate, resource, it->second, detail});
      continue;
    }
    replaced.push_back(key);
    deletes.emplace(key, DeleteOf(it->second, &resource, StrCat("to be replaced: ", detail)));
    makes.emplace(key, CreateOf(resource));
  }

  // Built only when it has something to tell: it walks all that is wanted.
  if (!result.conflicts.empty() || !replaced.empty()) {
    const DependantMap dependants = DependantsOf(wanted);
    Causes blocked, falling;
    for (const ResourceKey& key : result.conflicts) AddBelow(key, dependants, blocked);
    std::set<ResourceKey> left_alone;
    for (const auto& [key, cause] : blocked) {
      if (makes.erase(key) + deletes.erase(key) > 0) left_alone.insert(key);
    }
    // The tunnel, first in key order, goes last: whatever a representor takes
    // down with it must be followed to its end.
    std::reverse(replaced.begin(), replaced.end());
    for (const ResourceKey& key : replaced) {
      if (!blocked.contains(key)) AddFalling(key, dependants, falling);
    }
    for (const auto& [key, cause] : falling) {
      auto it = observed.find(key);
      if (it == observed.end() || !it->second.ours || deletes.contains(key)) continue;
      const Resource& resource = wanted.at(key);
      deletes.emplace(key,
                      DeleteOf(it->second, &resource,
                               StrCat("to be made again: ", cause.ToString(), " is replaced")));
      if (blocked.contains(key)) {
        left_alone.insert(key);
      } else {
        makes.insert_or_assign(key, CreateOf(resource));
      }
    }
    result.blocked.assign(left_alone.begin(), left_alone.end());
  }

  if (options.prune) {
    for (const auto& [key, resource] : observed) {
      if (!resource.ours || wanted.contains(key)) continue;
      deletes.emplace(key, DeleteOf(resource, nullptr, "not wanted"));
    }
  }

  // A delete is a make seen backwards.
  result.operations = Ordering(std::move(deletes)).Take();
  std::reverse(result.operations.begin(), result.operations.end());
  std::vector<Operation> making = Ordering(std::move(makes)).Take();
  std::move(making.begin(), making.end(), std::back_inserter(result.operations));
  return result;
}

}  // namespace fairlead
