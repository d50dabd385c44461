// SPDX-License-Identifier: Apache-2.0
//
// Purpose: wanted against observed -> an ordered list of operations. Applying
// the plan and observing again makes the next plan empty.
//
// Threading: pure functions on values.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/model/resource.h"

namespace fairlead {

struct Operation {
  enum class Verb : uint8_t { kCreate, kUpdate, kDelete };
  Verb verb = Verb::kCreate;
  // What is wanted; of a kDelete, what is there (spec as observed).
  Resource resource;
  // What was observed before, if anything was.
  std::optional<ObservedResource> current;
  // For people: "mtu 1500 -> 9000", the rule's text, ...
  std::string detail;
};
// Its attributes, for people: "driver vfio-pci", the text of a rule, ...
std::string Summary(const ResourceSpec& spec);
std::string_view VerbName(Operation::Verb verb);   // "create", "update", "delete"
std::string StepName(const Operation& operation);  // "flow-rule create"
std::string Describe(const Operation& operation);  // "create flow-rule/...: <detail>"

// The attributes that differ, as "name observed -> wanted"; empty when the
// observed resource is as wanted. Attributes that `wanted` leaves open and
// evidence (in_hw, neighbour state) do not count. Flow rules are compared by
// content hash. Kinds must be equal.
std::vector<std::string> Differences(const ResourceSpec& wanted, const ObservedResource& observed);

using WantedSet = std::map<ResourceKey, Resource>;
using ObservedSet = std::map<ResourceKey, ObservedResource>;

struct DiffOptions {
  // Whether resources that are observed, ours, and not wanted are deleted.
  // False until wanted and observed are both known to be complete.
  bool prune = true;
};

struct DiffResult {
  // Deletions first (dependants before what they depend on: reverse kind order),
  // then creations and updates in kind order with dependencies first. A change
  // that the kernel cannot make in place (a guest device on another bus or host,
  // a representor in another block, a tunnel with another port or name) is a
  // kDelete followed by a kCreate, among which the dependants of the deleted
  // resource that are observed are deleted and created again too (of the
  // tunnel's dependants only the flow rules: plan.cc says why).
  std::vector<Operation> operations;
  // Wanted keys whose place is taken by somebody else's object.
  std::vector<ResourceKey> conflicts;
  // Wanted keys that are not made or changed, because they depend, maybe through
  // others, on one of `conflicts`: nothing is built on a foreign object.
  std::vector<ResourceKey> blocked;
};
DiffResult Diff(const WantedSet& wanted, const ObservedSet& observed, const DiffOptions& options);

}  // namespace fairlead
