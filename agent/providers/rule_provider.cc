// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/rule_provider.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/providers/tunnel_device.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/tc/lower.h"

namespace fairlead {
namespace {

RuleHardware HardwareOf(const TcFilterInfo& info) {
  return info.in_hw ? RuleHardware::kInHardware : RuleHardware::kSoftware;
}

}  // namespace

absl::StatusOr<TcAttachPoint> RuleProvider::PointOf(const RuleTable& table, bool to_read) {
  uint32_t ifindex = 0;
  if (table.kind == RuleTable::Kind::kTunnelIngress) {
    FAIRLEAD_ASSIGN_OR_RETURN(const LinkInfo tunnel, FindTunnelDevice(*rtnetlink_, *config_));
    // What is in another store's tunnel is read, for whoever may adopt it.
    const bool readable = to_read && StoreOfAlias(tunnel.alias) != 0;
    if (!readable && !config_->marks->OwnsAlias(tunnel.alias)) {
      return absl::NotFoundError(
          StrCat("the tunnel ", config_->tunnel.device, " of this agent is not there"));
    }
    ifindex = tunnel.ifindex;
  }
  if (table.kind == RuleTable::Kind::kUplinkIngress) {
    FAIRLEAD_ASSIGN_OR_RETURN(const LinkInfo uplink, pfs_.Find(table.pf));
    ifindex = uplink.ifindex;
  }
  return AttachPointOf(table, ifindex);
}

std::vector<absl::StatusOr<std::optional<ObservedResource>>> RuleProvider::Apply(
    std::span<const Change> changes) {
  std::vector<absl::StatusOr<std::optional<ObservedResource>>> results(
      changes.size(), std::optional<ObservedResource>());
  const DeviceNames names = [this](uint32_t ifindex) -> std::optional<std::string> {
    absl::StatusOr<LinkInfo> link = rtnetlink_->GetLink(ifindex);
    if (!link.ok()) return std::nullopt;
    return link->name;
  };
  std::map<RuleTable, absl::StatusOr<TcAttachPoint>> devices;  // each looked up once a batch
  std::vector<TcChange> lowered;
  std::vector<size_t> places;
  for (size_t i = 0; i < changes.size(); ++i) {
    const Change& change = changes[i];
    const RuleTable& table = change.rule.location.table;
    absl::StatusOr<TcAttachPoint> at = TcAttachPoint{};
    if (table.is_block()) {
      at = PointOf(table);
    } else {
      auto known = devices.find(table);
      if (known == devices.end()) known = devices.emplace(table, PointOf(table)).first;
      at = known->second;
    }
    if (!at.ok()) {
      // A rule of a device that is gone is gone with it.
      if (!change.remove || !absl::IsNotFound(at.status())) results[i] = at.status();
      continue;
    }
    TcChange out;
    out.at = *at;
    if (change.remove) {
      out.verb = TcChange::Verb::kDelete;
      out.filter.id = {change.rule.location.chain, change.rule.location.priority,
                       change.rule.location.handle};
      out.filter.match.ethertype = change.rule.match.ethertype;
    } else {
      absl::StatusOr<TcFilter> filter = Lower(change.rule, names, config_->marks->store());
      if (!filter.ok()) {
        results[i] = filter.status();
        continue;
      }
      out.filter = *std::move(filter);
      out.exclusive = !change.update;
    }
    lowered.push_back(std::move(out));
    places.push_back(i);
  }
  std::vector<absl::Status> answers = tc_->Apply(lowered);
  for (size_t k = 0; k < places.size() && k < answers.size(); ++k) {
    if (absl::IsAlreadyExists(answers[k])) answers[k] = Replace(lowered[k], answers[k]);
  }
  std::vector<TcFilterRef> made;
  for (size_t k = 0; k < places.size() && k < answers.size(); ++k) {
    if (!changes[places[k]].remove && answers[k].ok()) {
      made.push_back({lowered[k].at, lowered[k].filter.id, lowered[k].filter.match.ethertype});
    }
  }
  const std::vector<absl::StatusOr<TcFilterInfo>> seen = tc_->Get(made);
  size_t next_seen = 0;
  for (size_t k = 0; k < places.size(); ++k) {
    const Change& change = changes[places[k]];
    absl::StatusOr<std::optional<ObservedResource>>& result = results[places[k]];
    const std::string name = change.rule.location.ToString();
    if (k >= answers.size()) {
      result = absl::InternalError(StrCat("no answer for the rule ", name));
    } else if (!answers[k].ok()) {
      result = Annotate(
          answers[k],
          StrCat(change.remove ? "remove" : "make", " the rule ", name,
                 change.rule.offload == OffloadWish::kMust ? " (which must run in hardware)" : ""));
    } else if (!change.remove) {
      result = next_seen < seen.size()
                   ? Judge(lowered[k], change, seen[next_seen])
                   : absl::InternalError(StrCat("the rule ", name, " could not be read back"));
      ++next_seen;
    }
  }
  return results;
}

// A new rule whose place is taken: what has our cookie there is an earlier one of
// this agent and makes way, all else stays.
absl::Status RuleProvider::Replace(TcChange& put, const absl::Status& refusal) {
  const TcFilterRef place{put.at, put.filter.id, put.filter.match.ethertype};
  const auto there = tc_->Get({&place, 1});
  if (there.empty() || !there.front().ok()) return refusal;  // another rule has its match
  const std::optional<CookieParts> cookie =
      there.front()->cookie ? ParseCookie(*there.front()->cookie) : std::nullopt;
  if (!cookie || !config_->marks->Owns(cookie->store_id)) {
    return absl::AlreadyExistsError("somebody else's rule is in its place; remove it");
  }
  put.exclusive = false;
  return tc_->Apply({&put, 1}).front();
}

// "Observed" is what the kernel shows, not what was sent.
absl::StatusOr<std::optional<ObservedResource>> RuleProvider::Judge(
    const TcChange& sent, const Change& change, const absl::StatusOr<TcFilterInfo>& seen) {
  const FlowRule& rule = change.rule;
  if (!seen.ok()) return seen.status();
  const TcFilterInfo& info = *seen;
  if (info.cookie != sent.filter.cookie) {
    return absl::UnavailableError(
        StrCat("the rule ", rule.location.ToString(), " was replaced by somebody else at once"));
  }
  // How many of a block's representors take a delivery depends on how many there are:
  // that is the engine's to judge.
  if (rule.offload == OffloadWish::kMust && !info.in_hw && !change.update &&
      !SendsWithinBlock(rule)) {
    TcChange remove = sent;
    remove.verb = TcChange::Verb::kDelete;
    const absl::Status removed = tc_->Apply({&remove, 1}).front();
    if (!removed.ok()) {
      return Annotate(removed, StrCat("take away the rule ", rule.location.ToString(),
                                      ", which the kernel took in software only"));
    }
    return absl::FailedPreconditionError(
        StrCat("the rule ", rule.location.ToString(),
               " must run in hardware, and the kernel took it in software only"));
  }
  ObservedResource observed;
  observed.key = FlowRuleKey(rule.location);
  observed.spec = FlowRuleSpec{rule};
  observed.content_hash = rule.ContentHash();
  observed.hardware = HardwareOf(info);
  observed.in_hw_count = info.in_hw_count;
  return observed;
}

absl::StatusOr<ObservedRules> RuleProvider::Observe(const RuleTable& table, bool counted) {
  const absl::StatusOr<TcAttachPoint> at = PointOf(table, /*to_read=*/true);
  if (absl::IsNotFound(at.status())) return ObservedRules{};
  if (!at.ok()) return at.status();
  FAIRLEAD_ASSIGN_OR_RETURN(
      const std::vector<TcFilterInfo> filters,
      tc_->Dump(*at, counted ? TcDumpDetail::kWithHardwareCount : TcDumpDetail::kTerse));
  ObservedRules result;
  result.rules.reserve(filters.size());
  const RuleLocation mark = UplinkMarkRule(table.pf).location;  // the qdisc's, no rule of the table
  for (const TcFilterInfo& info : filters) {
    const bool is_mark = table == mark.table && info.id.chain == mark.chain;
    if (is_mark && info.id.priority == mark.priority && info.id.handle == mark.handle) continue;
    ObservedRule rule;
    rule.place = {info.id.chain, info.id.priority, info.id.handle};
    const std::optional<CookieParts> cookie =
        info.cookie ? ParseCookie(*info.cookie) : std::nullopt;
    RuleEvidence& seen = rule.seen;
    if (cookie) {
      seen.ours = config_->marks->Owns(cookie->store_id);
      seen.mark = cookie->store_id;
      seen.match_hash = cookie->match_hash;
      seen.content_hash = cookie->content_hash;
    }
    if (!seen.ours) {
      result.foreign[rule.place] =
          cookie ? absl::StrFormat("a %s rule with the cookie of store %08x", info.kind,
                                   cookie->store_id)
                 : StrCat("a ", info.kind, " rule that this agent did not make");
    }
    seen.ethertype = info.ethertype;
    seen.hardware = HardwareOf(info);
    seen.in_hw_count = counted ? info.in_hw_count : RuleEvidence::kNotCounted;
    result.rules.push_back(rule);
  }
  // The kernel lists chains as they were made, and what is in them by priority.
  std::sort(result.rules.begin(), result.rules.end(),
            [](const ObservedRule& a, const ObservedRule& b) { return a.place < b.place; });
  return result;
}

absl::StatusOr<std::vector<std::optional<RuleReading>>> RuleProvider::Count(
    const RuleTable& table, std::span<const RuleToCount> rules) {
  std::vector<std::optional<RuleReading>> counts(rules.size());
  const absl::StatusOr<TcAttachPoint> at = PointOf(table, /*to_read=*/true);
  if (absl::IsNotFound(at.status())) return counts;
  if (!at.ok()) return at.status();
  std::vector<TcFilterRef> refs;
  for (const RuleToCount& rule : rules) {
    const RuleLocation& place = rule.location;
    refs.push_back({*at, {place.chain, place.priority, place.handle}, rule.ethertype});
  }
  const std::vector<absl::StatusOr<TcFilterInfo>> seen = tc_->Get(refs);
  for (size_t i = 0; i < counts.size() && i < seen.size(); ++i) {
    if (absl::IsNotFound(seen[i].status())) continue;
    if (!seen[i].ok()) return seen[i].status();
    counts[i] = RuleReading{seen[i]->counters, seen[i]->in_hw_count};
  }
  return counts;
}

}  // namespace fairlead
