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

absl::StatusOr<TcAttachPoint> RuleProvider::PointOf(const RuleTable& table, Points& points) {
  if (table.is_block()) return PointOf(table);
  auto known = points.find(table);
  if (known == points.end()) known = points.emplace(table, PointOf(table)).first;
  return known->second;
}

absl::StatusOr<TcChange> RuleProvider::LowerPut(const FlowRule& rule, bool update, Points& points) {
  const DeviceNames names = [this](uint32_t ifindex) -> std::optional<std::string> {
    absl::StatusOr<LinkInfo> link = rtnetlink_->GetLink(ifindex);
    if (!link.ok()) return std::nullopt;
    return link->name;
  };
  TcChange out;
  FAIRLEAD_ASSIGN_OR_RETURN(out.at, PointOf(rule.location.table, points));
  FAIRLEAD_ASSIGN_OR_RETURN(out.filter, Lower(rule, names, config_->marks->store()));
  out.exclusive = !update;
  return out;
}

std::vector<absl::StatusOr<std::optional<ObservedResource>>> RuleProvider::Apply(
    std::span<const Change> changes) {
  std::vector<absl::StatusOr<std::optional<ObservedResource>>> results(
      changes.size(), std::optional<ObservedResource>());
  Points points;
  // What is alike and side by side travels together; the order stays.
  size_t end = 0;
  for (size_t begin = 0; begin < changes.size(); begin = end) {
    while (end < changes.size() && changes[end].remove == changes[begin].remove) ++end;
    std::vector<TcChange> lowered;
    std::vector<size_t> places;
    for (size_t i = begin; i < end; ++i) {
      const Change& change = changes[i];
      absl::StatusOr<TcChange> out = TcChange{};
      if (change.remove) {
        absl::StatusOr<TcAttachPoint> at = PointOf(change.rule.location.table, points);
        if (absl::IsNotFound(at.status())) continue;  // it is gone with its device
        out->verb = TcChange::Verb::kDelete;
        out->filter.id = {change.rule.location.chain, change.rule.location.priority,
                          change.rule.location.handle};
        out->filter.match.ethertype = change.rule.match.ethertype;
        if (at.ok()) {
          out->at = *at;
        } else {
          out = at.status();
        }
      } else {
        out = LowerPut(change.rule, change.update, points);
      }
      if (!out.ok()) {
        results[i] = out.status();
        continue;
      }
      lowered.push_back(*std::move(out));
      places.push_back(i);
    }
    if (changes[begin].remove) {
      const std::vector<absl::Status> answers = tc_->Apply(lowered);
      for (size_t k = 0; k < places.size(); ++k) {
        const std::string name = changes[places[k]].rule.location.ToString();
        if (!answers[k].ok()) {
          results[places[k]] = Annotate(answers[k], StrCat("remove the rule ", name));
        }
      }
      continue;
    }
    const std::vector<absl::StatusOr<TcFilterInfo>> seen = PutAll(lowered);
    for (size_t k = 0; k < places.size(); ++k) {
      const Change& change = changes[places[k]];
      const absl::StatusOr<RuleEvidence> judged =
          Judge(lowered[k], change.rule, change.update, seen[k]);
      if (!judged.ok()) {
        results[places[k]] = judged.status();
        continue;
      }
      ObservedResource observed;
      observed.key = FlowRuleKey(change.rule.location);
      observed.spec = FlowRuleSpec{change.rule};
      observed.content_hash = judged->content_hash;
      observed.match_hash = judged->match_hash;
      observed.mark = judged->mark;
      observed.hardware = judged->hardware;
      observed.in_hw_count = judged->in_hw_count;
      results[places[k]] = std::optional(std::move(observed));
    }
  }
  return results;
}

std::vector<absl::StatusOr<RuleEvidence>> RuleProvider::Put(std::span<const FlowRule> rules) {
  std::vector<absl::StatusOr<RuleEvidence>> results(rules.size(), RuleEvidence());
  Points points;
  std::vector<TcChange> lowered;
  std::vector<size_t> places;
  lowered.reserve(rules.size());
  places.reserve(rules.size());
  for (size_t i = 0; i < rules.size(); ++i) {
    absl::StatusOr<TcChange> out = LowerPut(rules[i], /*update=*/false, points);
    if (!out.ok()) {
      results[i] = out.status();
      continue;
    }
    lowered.push_back(*std::move(out));
    places.push_back(i);
  }
  const std::vector<absl::StatusOr<TcFilterInfo>> seen = PutAll(lowered);
  for (size_t k = 0; k < places.size(); ++k) {
    results[places[k]] = Judge(lowered[k], rules[places[k]], /*update=*/false, seen[k]);
  }
  return results;
}

std::vector<absl::StatusOr<TcFilterInfo>> RuleProvider::PutAll(std::span<TcChange> puts) {
  std::vector<absl::StatusOr<TcFilterInfo>> seen = tc_->Put(puts);
  for (size_t i = 0; i < puts.size(); ++i) {
    if (absl::IsAlreadyExists(seen[i].status())) seen[i] = Replace(puts[i], seen[i].status());
  }
  return seen;
}

// A new rule whose place is taken: what has our cookie there is an earlier one of
// this agent and makes way, all else stays.
absl::StatusOr<TcFilterInfo> RuleProvider::Replace(TcChange& put, const absl::Status& refusal) {
  const TcFilterRef place{put.at, put.filter.id, put.filter.match.ethertype};
  const auto there = tc_->Get({&place, 1});
  if (there.empty() || !there.front().ok()) return refusal;  // another rule has its match
  const std::optional<CookieParts> cookie =
      there.front()->cookie ? ParseCookie(*there.front()->cookie) : std::nullopt;
  if (!cookie || !config_->marks->Owns(cookie->store_id)) {
    return absl::AlreadyExistsError("somebody else's rule is in its place; remove it");
  }
  put.exclusive = false;
  return std::move(tc_->Put({&put, 1}).front());
}

// "Observed" is what the kernel shows, not what was sent.
absl::StatusOr<RuleEvidence> RuleProvider::Judge(const TcChange& sent, const FlowRule& rule,
                                                 bool update,
                                                 const absl::StatusOr<TcFilterInfo>& seen) {
  if (!seen.ok()) {
    return Annotate(
        seen.status(),
        StrCat("make the rule ", rule.location.ToString(),
               rule.offload == OffloadWish::kMust ? " (which must run in hardware)" : ""));
  }
  const TcFilterInfo& info = *seen;
  if (info.cookie != sent.filter.cookie) {
    return absl::UnavailableError(
        StrCat("the rule ", rule.location.ToString(), " was replaced by somebody else at once"));
  }
  // How many of a block's representors take a delivery depends on how many there are:
  // that is the engine's to judge.
  if (rule.offload == OffloadWish::kMust && !info.in_hw && !update && !SendsWithinBlock(rule)) {
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
  return EvidenceOf(info);
}

// A filter that carries no mark of this agent's is somebody else's.
RuleEvidence RuleProvider::EvidenceOf(const TcFilterInfo& info) const {
  RuleEvidence seen;
  if (const auto cookie = info.cookie ? ParseCookie(*info.cookie) : std::nullopt) {
    seen.ours = config_->marks->Owns(cookie->store_id);
    seen.mark = cookie->store_id;
    seen.match_hash = cookie->match_hash;
    seen.content_hash = cookie->content_hash;
  }
  seen.ethertype = info.ethertype;
  seen.hardware = info.in_hw ? RuleHardware::kInHardware : RuleHardware::kSoftware;
  seen.in_hw_count = info.in_hw_count;
  return seen;
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
    RuleEvidence& seen = rule.seen;
    seen = EvidenceOf(info);
    if (!seen.ours) {
      result.foreign[rule.place] =
          seen.mark != 0
              ? absl::StrFormat("a %s rule with the cookie of store %08x", info.kind, seen.mark)
              : StrCat("a ", info.kind, " rule that this agent did not make");
    }
    if (!counted) seen.in_hw_count = RuleEvidence::kNotCounted;
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
