// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what was observed of this host. Rules are many and are held in a few dozen bytes
// each, table by table; all else as providers found it.
//
// Threading: owned by the loop thread. Ownership: pointers live until the next change of what
// they point into.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/container/btree_map.h"
#include "agent/model/resource.h"
#include "agent/plan/plan.h"

namespace fairlead {

class Observed {
 public:
  struct Rule : RuleEvidence {
    // An endpoint without a unit wants it, and as it is (engine_endpoints.cc); and the sweep that
    // is under way has seen that it still does.
    bool claimed = false, renewed = false;
  };
  using Rules = absl::btree_map<RulePlace, Rule>;
  struct Table {
    Rules rules;
    std::map<RulePlace, std::string> foreign;  // of those that are not ours: what and whose it is
    size_t in_software = 0;                    // of the rules
  };

  // Of any kind.
  bool Contains(const ResourceKey& key) const;
  bool IsOurs(const ResourceKey& key) const;  // it is there, and ours
  // Of any kind; of a rule as RuleResource puts it together.
  std::optional<ObservedResource> Get(const ResourceKey& key) const;
  void Set(const ResourceKey& key, ObservedResource observed);
  void Erase(const ResourceKey& key);

  // Of any kind but rules.
  const ObservedResource* Find(const ResourceKey& key) const;
  const ObservedSet& others() const { return others_; }

  const Rule* FindRule(const RuleLocation& at) const;
  const std::map<RuleTable, Table>& tables() const { return tables_; }
  // An empty one where none was observed.
  const Table& TableOf(const RuleTable& table) const;
  void SetRule(const RuleLocation& at, const RuleEvidence& seen, std::string foreign = {});
  void EraseRule(const RuleLocation& at);
  // Of a rule that is there; `claimed` renews it, too.
  void Claim(const RuleLocation& at, bool claimed);
  void ClaimNone(const RuleTable& table);
  void RenewNone(const RuleTable& table);
  void RenewNone(const RuleTable& table, const std::function<bool(const RulePlace&)>& of);
  // How many took a rule is no more known.
  void CountNone();

 private:
  ObservedSet others_;
  std::map<RuleTable, Table> tables_;
};

RuleEvidence RuleEvidenceOf(const ObservedResource& rule);
// And back; its spec has location and EtherType alone.
ObservedResource RuleResource(const RuleLocation& at, const RuleEvidence& seen,
                              std::string foreign);

}  // namespace fairlead
