// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/default_drop.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/tc/lower.h"

namespace fairlead {

namespace {

// The rule names no device.
absl::StatusOr<TcFilter> Lowered(const FlowRule& rule, const OwnMarks& marks) {
  const DeviceNames no_names = [](uint32_t) { return std::optional<std::string>(); };
  return Lower(rule, no_names, marks.store());
}

// Of the store whose agent put the rule there; 0: it is not there, or another one is.
absl::StatusOr<uint32_t> StoreOf(TcPort& tc, const FlowRule& rule, const TcAttachPoint& at) {
  const TcFilterRef ref{at,
                        {rule.location.chain, rule.location.priority, rule.location.handle},
                        rule.match.ethertype};
  const std::vector<absl::StatusOr<TcFilterInfo>> found = tc.Get({&ref, 1});
  if (found.size() != 1) {
    return absl::InternalError(StrCat("no answer about the rule ", rule.location.ToString()));
  }
  if (absl::IsNotFound(found[0].status())) return 0;
  if (!found[0].ok()) return found[0].status();
  const std::optional<CookieParts> cookie =
      found[0]->cookie ? ParseCookie(*found[0]->cookie) : std::nullopt;
  return cookie && cookie->content_hash == rule.ContentHash() ? cookie->store_id : 0;
}

}  // namespace

absl::Status PutDefaultDrop(TcPort& tc, const RuleTable& table, const TcAttachPoint& at,
                            const OwnMarks& marks) {
  constexpr char kWhat[] = "the drop rule that ends";
  const FlowRule rule = DefaultDropRule(table);
  FAIRLEAD_ASSIGN_OR_RETURN(TcFilter filter, Lowered(rule, marks));
  const TcFilterRef ref{at, filter.id, filter.match.ethertype};
  const std::vector<absl::StatusOr<TcFilterInfo>> there = tc.Get({&ref, 1});
  if (there.size() == 1 && there[0].ok()) {
    const std::optional<CookieParts> cookie =
        there[0]->cookie ? ParseCookie(*there[0]->cookie) : std::nullopt;
    if (!cookie || !marks.Owns(cookie->store_id)) {
      return absl::AlreadyExistsError(StrCat("the place of ", kWhat, " ", rule.location.ToString(),
                                             " holds somebody else's rule: left alone"));
    }
    if (cookie->content_hash == rule.ContentHash()) return absl::OkStatus();  // it stands
  }
  const TcChange change{TcChange::Verb::kPut, at, std::move(filter)};
  const std::vector<absl::Status> results = tc.Apply({&change, 1});
  if (results.size() != 1) return absl::InternalError(StrCat("no answer for ", kWhat));
  return Annotate(results.front(), StrCat(kWhat, " ", rule.location.ToString()));
}

absl::StatusOr<bool> HasDefaultDrop(TcPort& tc, const RuleTable& table, const TcAttachPoint& at,
                                    const OwnMarks& marks) {
  FAIRLEAD_ASSIGN_OR_RETURN(const uint32_t store, StoreOf(tc, DefaultDropRule(table), at));
  return store != 0 && marks.Owns(store);
}

absl::Status AddUplinkQdisc(TcPort& tc, const NicId& pf, uint32_t ifindex, const OwnMarks& marks) {
  FAIRLEAD_ASSIGN_OR_RETURN(const TcFilter mark, Lowered(UplinkMarkRule(pf), marks));
  return tc.AddMarkedClsact(ifindex, mark);
}

absl::StatusOr<uint32_t> StoreOfUplinkQdisc(TcPort& tc, const NicId& pf, uint32_t ifindex) {
  return StoreOf(tc, UplinkMarkRule(pf), {.ifindex = ifindex});
}

}  // namespace fairlead
