// SPDX-License-Identifier: Apache-2.0
//
// Purpose: flow rules in TC. Lowers them, sends them in batches, reads back.
//
// Threading: blocks; each instance belongs to a table's lane. Ownership: borrows the ports.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/model/resource.h"
#include "agent/ports/rtnetlink/rtnetlink_port.h"
#include "agent/ports/tc/tc_port.h"
#include "agent/providers/config.h"
#include "agent/providers/pf_links.h"

namespace fairlead {

class RuleProvider {
 public:
  RuleProvider(const ProviderConfig* config, SysfsPort* sysfs, RtnetlinkPort* rtnetlink, TcPort* tc)
      : config_(config), rtnetlink_(rtnetlink), tc_(tc), pfs_(sysfs, rtnetlink) {}

  struct Change {
    bool remove = false;
    bool update = false;  // of a rule that serves already: kept, whatever it runs on
    FlowRule rule;        // of a removal: location and match.ethertype
  };
  // Result i belongs to change i; the observed resource of a removal is empty.
  std::vector<absl::StatusOr<std::optional<ObservedResource>>> Apply(
      std::span<const Change> changes);

  // New rules, as they then stand; result i belongs to rule i. What Apply does of those, for many.
  std::vector<absl::StatusOr<RuleEvidence>> Put(std::span<const FlowRule> rules);

  // All of a table, ours and foreign; none when the table does not exist. `counted`: with how
  // many devices took each rule, which takes the kernel longer.
  absl::StatusOr<ObservedRules> Observe(const RuleTable& table, bool counted);
  // What rules of that table have met; result i belongs to rule i, none: it is not there.
  absl::StatusOr<std::vector<std::optional<RuleReading>>> Count(const RuleTable& table,
                                                                std::span<const RuleToCount> rules);

 private:
  // What a device's table hangs at, looked up once a batch.
  using Points = std::map<RuleTable, absl::StatusOr<TcAttachPoint>>;
  absl::StatusOr<TcChange> LowerPut(const FlowRule& rule, bool update, Points& points);
  absl::StatusOr<TcAttachPoint> PointOf(const RuleTable& table, Points& points);
  // Makes way where an earlier rule of this agent has a new one's place.
  std::vector<absl::StatusOr<TcFilterInfo>> PutAll(std::span<TcChange> puts);
  absl::StatusOr<TcFilterInfo> Replace(TcChange& put, const absl::Status& refusal);
  absl::StatusOr<RuleEvidence> Judge(const TcChange& sent, const FlowRule& rule, bool update,
                                     const absl::StatusOr<TcFilterInfo>& seen);
  RuleEvidence EvidenceOf(const TcFilterInfo& info) const;
  absl::StatusOr<TcAttachPoint> PointOf(const RuleTable& table, bool to_read = false);

  const ProviderConfig* config_;
  RtnetlinkPort* rtnetlink_;
  TcPort* tc_;
  PfLinks pfs_;
};

}  // namespace fairlead
